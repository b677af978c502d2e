//! Which calls exist, who may make them, and the shape of their parameters. The table is `endpoints.txt`, and
//! `qemu/endpoints.txt` for virtual machines.
//!
//! The parameters, their bounds and the privileges are those of the Proxmox VE 9.2 API description; the words of the
//! errors are those of PVE::JSONSchema, as recorded from a node of that version.

mod property;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proxmox::config::GuestKind;
use proxmox::exchange::Method;

pub(crate) use property::Property;

use super::error::ApiError;
use super::formats;

/// How many `netN` there may be (PVE::LXC::Config, `MAX_LXC_NETWORKS`).
const MAX_NETWORKS: u32 = 32;
/// How many `mpN`, `devN`, `unusedN` there may be.
const MAX_DEVICES: u32 = 256;
/// The same of what only virtual machines have (PVE::QemuServer, `$MAX_SERIAL_PORTS` and so on).
const MAX_OF_VMS: [(&str, u32); 11] = [
    ("scsi", 31),
    ("virtio", 16),
    ("sata", 6),
    ("ide", 4),
    ("ipconfig", MAX_NETWORKS),
    ("hostpci", 16),
    ("usb", 14),
    ("serial", 4),
    ("parallel", 3),
    ("numa", 8),
    ("virtiofs", 10),
];

/// The shape of one value.
#[derive(Debug, Clone)]
pub(crate) enum Type {
    Bool,
    Int {
        min: Option<i64>,
        max: Option<i64>,
    },
    Num {
        min: Option<f64>,
        max: Option<f64>,
    },
    Str {
        min: Option<usize>,
        max: Option<usize>,
    },
    Enum(Vec<&'static str>),
    Format(&'static str),
    Property(&'static str),
    /// Several values; given by a name that repeats. They are kept with a NUL between them.
    List,
    /// In a property string: another name of this key. With `of`, the name itself is the value of that key
    /// (`virtio=BC:24:…` is `model=virtio,macaddr=BC:24:…`).
    Alias {
        to: &'static str,
        of: Option<&'static str>,
    },
}

/// One named value.
#[derive(Debug, Clone)]
pub(crate) struct Param {
    pub name: &'static str,
    pub numbered: bool,
    pub required: bool,
    /// In a property string: the key may be left out.
    pub default_key: bool,
    pub shape: Type,
}

/// Who may call.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    World,
    User,
    /// One of the privileges on the path, whose `{…}` are filled in.
    Any(&'static str, Vec<&'static str>),
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    segments: Vec<&'static str>,
    pub who: Who,
    pub params: Vec<Param>,
}

#[derive(Debug, Default)]
struct Table {
    endpoints: Vec<Endpoint>,
    formats: BTreeMap<&'static str, Vec<Param>>,
    sets: BTreeMap<&'static str, Vec<Param>>,
    path: Vec<Param>,
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| table(concat!(include_str!("endpoints.txt"), "\n", include_str!("qemu/endpoints.txt"))));

fn table(text: &'static str) -> Table {
    let mut out = Table::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        match first {
            "PATH" => out.path = params(&out, words),
            "FORMAT" | "SET" => {
                let name = words.next().unwrap_or_default();
                let all = params(&out, words);
                if first == "SET" {
                    out.sets.insert(name, all)
                } else {
                    out.formats.insert(name, all)
                };
            }
            method => {
                let path = words.next().unwrap_or_default();
                let who = match words.next().unwrap_or_default() {
                    "world" => Who::World,
                    "user" => Who::User,
                    other => {
                        let (path, privileges) = other.rsplit_once(':').unwrap_or((other, ""));
                        Who::Any(path, privileges.split('|').collect())
                    }
                };
                let method = match method {
                    "GET" => Method::Get,
                    "POST" => Method::Post,
                    "PUT" => Method::Put,
                    _ => Method::Delete,
                };
                let params = params(&out, words);
                out.endpoints.push(Endpoint {
                    method,
                    path,
                    segments: segments(path).collect(),
                    who,
                    params,
                });
            }
        }
    }
    out
}

fn params(table: &Table, words: impl Iterator<Item = &'static str>) -> Vec<Param> {
    let mut out = Vec::new();
    for word in words {
        if let Some(set) = word.strip_prefix('@') {
            out.extend(table.sets.get(set).into_iter().flatten().cloned());
            continue;
        }
        let (name, shape) = word.split_once('=').unwrap_or((word, "str"));
        let (name, default_key) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
        let (name, required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
        let (name, numbered) = name.strip_suffix("[n]").map_or((name, false), |name| (name, true));
        out.push(Param { name, numbered, required, default_key, shape: shape_of(table, shape) });
    }
    out
}

fn shape_of(table: &Table, word: &'static str) -> Type {
    let (kind, bounds) = word.split_once(':').unwrap_or((word, ""));
    let (min, max) = bounds.split_once("..").unwrap_or(("", ""));
    match kind {
        "bool" => Type::Bool,
        "int" => Type::Int { min: min.parse().ok(), max: max.parse().ok() },
        "num" => Type::Num { min: min.parse().ok(), max: max.parse().ok() },
        "str" => Type::Str { min: min.parse().ok(), max: max.parse().ok() },
        "enum" => Type::Enum(bounds.split('|').collect()),
        "list" => Type::List,
        "alias" => {
            let (to, of) = bounds.split_once('@').map_or((bounds, None), |(to, of)| (to, Some(of)));
            Type::Alias { to, of }
        }
        name if table.formats.contains_key(name) => Type::Property(name),
        name => Type::Format(name),
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// Finds the call, and the values of its path's parameters (decoded).
pub(crate) fn find(
    method: Method,
    path: &str,
) -> Option<(&'static Endpoint, BTreeMap<&'static str, String>)> {
    let asked: Vec<&str> = segments(path).collect();
    let endpoint = TABLE.endpoints.iter().find(|endpoint| {
        endpoint.method == method
            && endpoint.segments.len() == asked.len()
            && endpoint
                .segments
                .iter()
                .zip(&asked)
                .all(|(ours, theirs)| ours.starts_with('{') || ours == theirs)
    })?;
    let vars = endpoint
        .segments
        .iter()
        .zip(&asked)
        .filter_map(|(ours, theirs)| Some((ours.strip_prefix('{')?.strip_suffix('}')?, decode(theirs))))
        .collect();
    Some((endpoint, vars))
}

/// Percent-decoding of a path's segment or of a form's value. What is no valid escape stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escape {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What may be in the configuration of a guest of this kind.
fn options(kind: GuestKind) -> &'static [Param] {
    let set = match kind {
        GuestKind::Container => "guest",
        GuestKind::Vm => "vm",
    };
    TABLE.sets.get(set).map_or(&[], Vec::as_slice)
}

/// Whether `key` is a known option of such a guest's configuration (`net3`, `memory`, …).
pub(crate) fn is_guest_option(kind: GuestKind, key: &str) -> bool {
    lookup(options(kind), key).is_some()
}

/// Whether the API hands the option out as a number (booleans are 0 and 1).
pub(crate) fn is_numeric_option(kind: GuestKind, key: &str) -> bool {
    lookup(options(kind), key).is_some_and(|param| matches!(param.shape, Type::Bool | Type::Int { .. }))
}

fn lookup<'a>(params: &'a [Param], key: &str) -> Option<&'a Param> {
    params.iter().find(|param| {
        if !param.numbered {
            return param.name == key;
        }
        let of_vms = MAX_OF_VMS.iter().find(|(name, _)| *name == param.name).map(|(_, limit)| *limit);
        let limit = of_vms.unwrap_or(if param.name == "net" { MAX_NETWORKS } else { MAX_DEVICES });
        let Some(digits) = key.strip_prefix(param.name) else { return false };
        digits.parse::<u32>().is_ok_and(|n| n < limit && n.to_string() == digits)
    })
}

/// Checks every parameter and returns them by name, booleans as `0` and `1`; repeated ones joined with commas.
///
/// # Errors
/// 400 `Parameter verification failed.` with one entry per parameter, all at once.
pub(crate) fn verify(
    endpoint: &Endpoint,
    vars: &BTreeMap<&'static str, String>,
    given: &[(String, String)],
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in given {
        values
            .entry(key.clone())
            .and_modify(|all| {
                let list =
                    lookup(&endpoint.params, key).is_some_and(|param| matches!(param.shape, Type::List));
                all.push(if list { '\0' } else { ',' });
                all.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    let mut errors = BTreeMap::new();
    for (key, value) in vars {
        let shape = TABLE.path.iter().find(|param| param.name == *key).map(|param| &param.shape);
        if let Some(Err(error)) = shape.map(|shape| check(shape, key, value)) {
            errors.insert((*key).to_owned(), error);
        }
    }
    for (key, value) in &mut values {
        if vars.contains_key(key.as_str()) {
            continue;
        }
        match lookup(&endpoint.params, key) {
            None => {
                let text =
                    "property is not defined in schema and the schema does not allow additional properties";
                errors.insert(key.clone(), text.to_owned());
            }
            Some(param) => match check(&param.shape, key, value) {
                Ok(Some(better)) => *value = better,
                Ok(None) => {}
                Err(error) => {
                    errors.insert(key.clone(), error);
                }
            },
        }
    }
    for param in endpoint.params.iter().filter(|param| param.required && !values.contains_key(param.name)) {
        errors.insert(param.name.to_owned(), "property is missing and it is not optional".to_owned());
    }
    if !errors.is_empty() {
        return Err(ApiError::parameters(errors));
    }
    values.extend(vars.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Ok(values)
}

/// Checks one value. `Ok(Some(…))` is the same in its normal spelling.
fn check(shape: &Type, key: &str, value: &str) -> Result<Option<String>, String> {
    match shape {
        Type::Bool => match value.to_ascii_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => Ok(Some("1".to_owned())),
            "0" | "off" | "no" | "false" => Ok(Some("0".to_owned())),
            _ => Err(format!("type check ('boolean') failed - got '{value}'")),
        },
        Type::Int { min, max } => {
            let number: i64 =
                value.parse().map_err(|_| format!("type check ('integer') failed - got '{value}'"))?;
            within(number as f64, min.map(|n| n as f64), max.map(|n| n as f64))
        }
        Type::Num { min, max } => {
            let number: f64 = value
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite())
                .ok_or_else(|| format!("type check ('number') failed - got '{value}'"))?;
            within(number, *min, *max)
        }
        Type::Str { min, max } => {
            let length = value.chars().count();
            match (min, max) {
                (Some(min), _) if length < *min => {
                    Err(format!("value must be at least {min} characters long"))
                }
                (_, Some(max)) if length > *max => Err(format!("value may only be {max} characters long")),
                _ => Ok(None),
            }
        }
        Type::Enum(allowed) if allowed.contains(&value) => Ok(None),
        Type::Enum(allowed) => {
            Err(format!("value '{value}' does not have a value in the enumeration '{}'", allowed.join(", ")))
        }
        Type::Format(name) => {
            if *name == "vmid" && value.parse::<i64>().is_err() {
                return Err(format!("type check ('integer') failed - got '{value}'"));
            }
            formats::check(name, value).map(|()| None).map_err(|error| match error {
                formats::Error::Format(text) => format!("invalid format - {text}\n"),
                formats::Error::Pattern => "value does not match the regex pattern".to_owned(),
            })
        }
        Type::Property(name) => {
            Property::parse(name, key, value).map(|_| None).map_err(|text| format!("invalid format - {text}"))
        }
        Type::List | Type::Alias { .. } => Ok(None),
    }
}

fn within(number: f64, min: Option<f64>, max: Option<f64>) -> Result<Option<String>, String> {
    match (min, max) {
        (Some(min), _) if number < min => Err(format!("value must have a minimum value of {min}")),
        (_, Some(max)) if number > max => Err(format!("value must have a maximum value of {max}")),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_means_something() {
        assert!(TABLE.endpoints.len() > 60);
        for endpoint in &TABLE.endpoints {
            assert!(endpoint.path.starts_with('/'), "{}", endpoint.path);
            if let Who::Any(_, privileges) = &endpoint.who {
                for privilege in privileges {
                    assert!(super::super::access::Privileges::named(privilege).is_some(), "{privilege}");
                }
            }
            for param in &endpoint.params {
                if let Type::Format(name) = param.shape {
                    assert!(formats::is_known(name), "{}: unknown format {name}", endpoint.path);
                }
            }
        }
    }

    #[test]
    fn numbers_end_where_a_real_nodes_do() {
        for (key, known) in
            [("scsi30", true), ("scsi31", false), ("net31", true), ("net32", false), ("ipconfig99", false)]
        {
            assert_eq!(is_guest_option(GuestKind::Vm, key), known, "{key}");
        }
        assert!(!is_guest_option(GuestKind::Container, "scsi0"));
        assert!(is_numeric_option(GuestKind::Vm, "cores") && !is_numeric_option(GuestKind::Vm, "memory"));
    }

    #[test]
    fn escapes_are_decoded_and_nonsense_kept() {
        assert_eq!(decode("UPID%3Apve1%21"), "UPID:pve1!");
        assert_eq!(decode("50%"), "50%");
        assert_eq!(decode("%zz"), "%zz");
        assert_eq!(decode("%é"), "%é");
    }
}
