//! The small values of a blueprint that are written as text: sizes, lives, addresses, names. Each is read from text
//! and prints back as the same text, and knows its pattern for the JSON Schema.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Why a text is not a value of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong, naming the text.
    pub message: String,
    /// How to write it.
    pub hint: Option<String>,
}

fn wrong<T>(message: String, hint: &str) -> Result<T, ValueError> {
    Err(ValueError { message, hint: (!hint.is_empty()).then(|| hint.to_owned()) })
}

/// Makes a value a JSON string with a pattern: `x-parse` is how the structural check finds the reading function.
macro_rules! text_values {
    ($($name:ident, $key:literal, $pattern:expr, $expects:literal, $example:literal;)*) => {
        $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(D::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "pattern": $pattern, "examples": [$example],
                    "x-parse": $key, "x-expects": $expects,
                })
            }
        }
        )*
        /// Reads a text as the kind of value a schema names; an unknown kind accepts everything.
        pub(crate) fn check(kind: &str, text: &str) -> Result<(), ValueError> {
            match kind {
                $($key => text.parse::<$name>().map(drop),)*
                _ => Ok(()),
            }
        }
    };
}

const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

text_values! {
    MemorySize, "memory", "^(0|[1-9][0-9]{0,11})[MGT]$", "a size such as \"512M\" or \"2G\"", "2G";
    DiskSize, "disk", "^[1-9][0-9]{0,8}[GT]$", "a size such as \"8G\"", "8G";
    Life, "life", "^[1-9][0-9]{0,6}(m|h|d|w|y)$", "a time such as \"90d\"", "90d";
    Mac, "mac", "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$", "a MAC address such as \"BC:24:11:00:00:01\"", "BC:24:11:00:00:01";
    Ipv4, "ipv4", format!(r"^{OCTET}(\.{OCTET}){{3}}$"), "an IPv4 address such as \"10.0.0.1\"", "10.0.0.1";
    Subnet, "subnet", format!(r"^{OCTET}(\.{OCTET}){{3}}/([0-9]|[12][0-9]|3[0-2])$"), "a subnet such as \"10.0.0.0/24\"", "10.0.0.0/24";
    Address, "address", format!(r"^(dhcp|{OCTET}(\.{OCTET}){{3}})$"), "an address such as \"10.0.0.5\", or \"dhcp\"", "10.0.0.5";
    Label, "label", LABEL, "a name of lower-case letters, digits and hyphens", "notes";
    Domain, "domain", r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$", "a domain such as \"workshop.internal\"", "workshop.internal";
    Bridge, "bridge", r"^[A-Za-z][A-Za-z0-9_.-]{0,14}$", "a bridge of the node such as \"vmbr0\"", "vmbr0";
    GuestPath, "guest-path", r"^/", "an absolute path such as \"/srv/data\"", "/srv/data";
    SitePath, "site-path", r"^[^/]", "a path below the site's folder such as \"pages/\"", "pages/";
    UrlPath, "url-path", r"^/", "a path such as \"/health\"", "/health";
    Endpoint, "endpoint", r"^https://[^/@\s]+/?$", "an address such as \"https://10.0.0.13:8006\"", "https://10.0.0.13:8006";
    Fingerprint, "fingerprint", r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}$", "a SHA-256 fingerprint, 32 pairs of hexadecimal digits with colons", "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";
    Variable, "variable", r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of an environment variable such as \"PHOENIX_PVE_TOKEN\"", "PHOENIX_PVE_TOKEN";
    SecretName, "secret-name", r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "a name of letters, digits, `.`, `_` and `-`", "database-password";
    User, "user", r"^[^@\s]+@[a-z][a-z0-9._-]*$", "a user with its realm such as \"root@pam\"", "root@pam";
    Tag, "tag", r"^[a-z0-9_][a-z0-9_+.-]*$", "a tag of lower-case letters, digits and `_+.-`", "office";
    Timezone, "timezone", r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", "an IANA time zone such as \"Europe/Berlin\"", "Europe/Berlin";
    SshDestination, "ssh", r"^([^@\s:-][^@\s:]*@)?[^@\s:-][^@\s:]*(:[0-9]{1,5})?$", "a destination such as \"root@10.0.0.13\" or \"root@10.0.0.13:22\"", "root@10.0.0.13";
    DeviceName, "device-name", r"^[A-Za-z][A-Za-z0-9_.-]{1,14}$", "the name of a device such as \"eth0\"", "eth0";
    Text, "text", r"\S", "a text that is not empty", "local-zfs";
}

/// An amount of memory. `512M` and `2G` mean MiB and GiB, as everywhere in Proxmox VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    /// In MiB.
    pub mib: u64,
}

/// The size of a disk. `8G` means GiB, as everywhere in Proxmox VE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiskSize {
    /// In GiB.
    pub gib: u64,
}

fn number_and_unit(text: &str, what: &str, hint: &str, units: &[(&str, u64)]) -> Result<u64, ValueError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return wrong(format!("`{text}` is not {what}"), hint);
    };
    if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
        return wrong(format!("`{text}` is not {what}"), hint);
    }
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)) {
        Some(n) if n < 1 << 40 => Ok(n),
        _ => wrong(format!("`{text}` is too large"), ""),
    }
}

impl FromStr for MemorySize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `M` (MiB), `G` (GiB) or `T` (TiB), such as \"512M\" or \"2G\"";
        let units = [("M", 1), ("G", 1024), ("T", 1024 * 1024)];
        number_and_unit(text, "a size", hint, &units).map(|mib| Self { mib })
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mib {
            n if n != 0 && n % (1024 * 1024) == 0 => write!(f, "{}T", n / (1024 * 1024)),
            n if n != 0 && n % 1024 == 0 => write!(f, "{}G", n / 1024),
            n => write!(f, "{n}M"),
        }
    }
}

impl FromStr for DiskSize {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `G` (GiB) or `T` (TiB), such as \"8G\"";
        match number_and_unit(text, "the size of a disk", hint, &[("G", 1), ("T", 1024)])? {
            0 => wrong(format!("`{text}` is not the size of a disk"), hint),
            gib => Ok(Self { gib }),
        }
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.gib {
            n if n % 1024 == 0 => write!(f, "{}T", n / 1024),
            n => write!(f, "{n}G"),
        }
    }
}

/// How long a certificate lives: `90d`. A year has 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life(pub Duration);

const LIFE_UNITS: [(&str, u64); 5] =
    [("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60)];

impl FromStr for Life {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write a whole number with `m`, `h`, `d`, `w` or `y`, such as \"90d\"";
        let seconds = number_and_unit(text, "a time", hint, &LIFE_UNITS)?;
        // Shorter than a renewal takes, or longer than any authority lives.
        if !(300..=20 * 31_536_000).contains(&seconds) {
            return wrong(
                format!("`{text}` is out of range"),
                "between 5 minutes (\"5m\") and 20 years (\"20y\")",
            );
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (unit, length) =
            LIFE_UNITS.into_iter().find(|(_, length)| seconds.is_multiple_of(*length)).unwrap_or(("m", 60));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// The MAC address of a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl FromStr for Mac {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "six pairs of hexadecimal digits with colons, such as \"BC:24:11:00:00:01\"";
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            match part.and_then(|p| u8::from_str_radix(p, 16).ok()) {
                Some(value) => *byte = value,
                None => return wrong(format!("`{text}` is not a MAC address"), hint),
            }
        }
        if parts.next().is_some() {
            return wrong(format!("`{text}` is not a MAC address"), hint);
        }
        // IEEE 802: the lowest bit of the first byte marks a group of devices, which no single device can be.
        if bytes[0] & 1 == 1 {
            return wrong(
                format!("`{text}` is a multicast address, not a device's"),
                "the second digit must be even, such as in \"BC:24:11:00:00:01\"",
            );
        }
        if bytes == [0; 6] {
            return wrong(format!("`{text}` is no device's address"), hint);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

/// An IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ipv4(pub Ipv4Addr);

impl FromStr for Ipv4 {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let hint = match text.split_once('/') {
            Some((address, _)) if address.parse::<Ipv4Addr>().is_ok() => {
                format!("write \"{address}\": the prefix length is the network's")
            }
            _ => "four numbers from 0 to 255 with dots, such as \"10.0.0.5\"".to_owned(),
        };
        wrong(format!("`{text}` is not an IPv4 address"), &hint)
    }
}

impl fmt::Display for Ipv4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subnet: its first address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet(pub cidr::Ipv4Cidr);

impl FromStr for Subnet {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write it with the prefix length, such as \"10.0.0.0/24\"";
        if !text.contains('/') {
            return wrong(format!("`{text}` is not a subnet"), hint);
        }
        let Ok(inet) = text.parse::<cidr::Ipv4Inet>() else {
            return wrong(format!("`{text}` is not a subnet"), hint);
        };
        if inet.address() != inet.network().first_address() {
            let hint =
                format!("the subnet it is in is \"{}/{}\"", inet.first_address(), inet.network_length());
            return wrong(format!("`{text}` is an address in a subnet, not a subnet"), &hint);
        }
        if inet.network_length() > 30 {
            return wrong(format!("`{text}` has no room for guests"), "at most /30");
        }
        Ok(Self(inet.network()))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.first_address(), self.0.network_length())
    }
}

/// Where a device has its address from: a fixed one, or `dhcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// This address.
    Static(Ipv4Addr),
    /// Whatever the network's DHCP server gives.
    Dhcp,
}

impl FromStr for Address {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "dhcp" => Ok(Self::Dhcp),
            _ => text.parse::<Ipv4>().map(|a| Self::Static(a.0)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(address) => address.fmt(f),
            Self::Dhcp => f.write_str("dhcp"),
        }
    }
}

/// Makes a checked text: a string that was found to have the right form.
macro_rules! checked_texts {
    ($($(#[$doc:meta])* $name:ident => $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub String);

        impl FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<Self, ValueError> {
                let check: fn(&str) -> Result<(), ValueError> = $check;
                if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                    return wrong(format!("`{}` has control characters in it", text.escape_debug()), "");
                }
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

checked_texts! {
    /// One part of a DNS name (RFC 1123): lower-case letters, digits, hyphens inside; 1 to 63 characters.
    Label => label;
    /// A DNS name: labels with dots; at most 253 characters (RFC 1035 2.3.4).
    Domain => |text| {
        if text.len() > 253 {
            return wrong(format!("the name `{text}` has {} characters", text.len()), "a DNS name has at most 253");
        }
        text.split('.').try_for_each(|part| label(part).map_err(|e| ValueError {
            message: if part == text { e.message } else { format!("`{text}` is not a domain: {}", e.message) }, hint: e.hint,
        }))
    };
    /// A bridge of the node: a Linux interface name (at most 15 characters).
    Bridge => |text| all(text, 15, "the name of a bridge", "such as \"vmbr0\"", true, |c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    /// A device's name inside a guest; Proxmox VE wants 2 to 15 characters.
    DeviceName => |text| {
        if text.len() < 2 {
            return wrong(format!("`{text}` is too short for the name of a device"), "at least 2 characters, such as \"eth0\"");
        }
        all(text, 15, "the name of a device", "such as \"eth0\"", true, |c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    /// An absolute path inside a guest or on the node.
    GuestPath => |text| {
        if !text.starts_with('/') {
            return wrong(format!("`{text}` is not an absolute path"), "begin it with `/`");
        }
        if text == "/" || text.split('/').any(|part| part == ".." || part == ".") || text.contains(',') {
            return wrong(format!("`{text}` cannot be used as a path"), "no `..`, no `.`, no comma, and not `/` itself");
        }
        Ok(())
    };
    /// A path below the site's folder.
    SitePath => |text| {
        let hint = "name it relative to the site's folder, such as \"pages/\"";
        if text.trim().is_empty() || text.starts_with('/') || text.starts_with('~') {
            return wrong(format!("`{text}` is not a path below the site's folder"), hint);
        }
        if text.split('/').any(|part| part == "..") {
            return wrong(format!("`{text}` leads outside the site's folder"), hint);
        }
        Ok(())
    };
    /// The path of a web address.
    UrlPath => |text| {
        if !text.starts_with('/') {
            return wrong(format!("`{text}` is not a path"), "begin it with `/`");
        }
        if text.chars().any(char::is_whitespace) {
            return wrong(format!("`{text}` has spaces in it"), "write a space as `%20`");
        }
        Ok(())
    };
    /// The address of a node's API, `https://host:port`.
    Endpoint => |text| {
        let hint = "such as \"https://10.0.0.13:8006\"";
        let Some(rest) = text.strip_prefix("https://") else {
            return wrong(format!("`{text}` is not an https address"), hint);
        };
        if rest.contains('@') {
            return wrong("an address must not hold a user or a password".to_owned(), "use `token`, or `user` and `password`");
        }
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let good_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
        if name.is_empty() || !good_port || host.contains(['/', '?', '#']) || host.contains(char::is_whitespace) {
            return wrong(format!("`{text}` is not the address of a node"), hint);
        }
        Ok(())
    };
    /// The SHA-256 fingerprint of a certificate, `AA:BB:…`.
    Fingerprint => |text| {
        let good = text.split(':').filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit())).count();
        if good != 32 || text.len() != 95 {
            return wrong(
                "this is not a SHA-256 fingerprint".to_owned(),
                "32 pairs of hexadecimal digits with colons, as `pvenode cert info` shows on the node",
            );
        }
        Ok(())
    };
    /// The name of an environment variable.
    Variable => |text| all(text, 256, "the name of an environment variable", "such as \"PHOENIX_PVE_TOKEN\"", true, |c| c.is_ascii_alphanumeric() || c == '_');
    /// The name of a generated secret, which is also a file name.
    SecretName => |text| {
        if text.starts_with(['.', '-', '_']) {
            return wrong(format!("`{text}` cannot be the name of a secret"), "begin it with a letter or a digit");
        }
        all(text, 64, "the name of a secret", "letters, digits, `.`, `_` and `-`", false, |c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    /// A user of Proxmox VE with its realm.
    User => |text| match text.rsplit_once('@') {
        Some((name, realm)) if !name.is_empty() && !realm.is_empty() && !text.contains(char::is_whitespace) && !name.contains('@') => Ok(()),
        _ => wrong(format!("`{text}` is not a user with its realm"), "such as \"root@pam\""),
    };
    /// A tag, as Proxmox VE allows it.
    Tag => |text| {
        if text.starts_with(['+', '.', '-']) {
            return wrong(format!("`{text}` cannot be a tag"), "begin it with a letter or a digit");
        }
        all(text, 124, "a tag", "lower-case letters, digits and `_+.-`", false, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+.-".contains(c))
    };
    /// An IANA time zone.
    Timezone => |text| {
        let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c));
        if text.split('/').all(good) { Ok(()) } else { wrong(format!("`{text}` is not a time zone"), "such as \"Europe/Berlin\" or \"UTC\"") }
    };
    /// Where ssh connects to: `user@host` or `user@host:port`.
    SshDestination => |text| ssh_destination(text).map(drop);
    /// A text that says something.
    Text => |text| if text.trim().is_empty() { wrong("the text is empty".to_owned(), "") } else { Ok(()) };
}

fn label(text: &str) -> Result<(), ValueError> {
    if text.is_empty() {
        return wrong("a name is empty".to_owned(), "");
    }
    if text.len() > 63 {
        return wrong(
            format!("the name `{text}` has {} characters", text.len()),
            "a part of a DNS name has at most 63",
        );
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        let fixed: String = text.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let fixed = fixed.trim_matches('-');
        let hint = if fixed.is_empty() { String::new() } else { format!("such as `{fixed}`") };
        return wrong(
            format!("`{}` cannot be a DNS name because of `{}`", text.escape_debug(), c.escape_debug()),
            &hint,
        );
    }
    if text.starts_with('-') || text.ends_with('-') {
        return wrong(format!("`{text}` cannot be a DNS name: a hyphen stands at its end"), "");
    }
    Ok(())
}

fn all(
    text: &str,
    most: usize,
    what: &str,
    hint: &str,
    letter_first: bool,
    allowed: fn(char) -> bool,
) -> Result<(), ValueError> {
    let first = text.chars().next().is_some_and(|c| !letter_first || c.is_ascii_alphabetic() || c == '_');
    if first && text.len() <= most && text.chars().all(allowed) {
        return Ok(());
    }
    wrong(format!("`{text}` cannot be {what}"), hint)
}

/// Splits `user@host:port`; the port is 22 where none is given, the user `root`.
pub(crate) fn ssh_destination(text: &str) -> Result<(String, u16), ValueError> {
    let hint = "such as \"root@10.0.0.13\" or \"root@10.0.0.13:22\"";
    let (destination, port) = match text.split_once(':') {
        None => (text, 22),
        Some((destination, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => (destination, port),
            _ => return wrong(format!("`{port}` is not a port"), hint),
        },
    };
    let (user, host) = destination.split_once('@').unwrap_or(("root", destination));
    // A leading hyphen would be read as an option by ssh.
    let good = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.contains(['@', '/'])
            && !part.contains(char::is_whitespace)
    };
    if good(user) && good(host) {
        Ok((format!("{user}@{host}"), port))
    } else {
        wrong(format!("`{text}` is not a destination for ssh"), hint)
    }
}

/// Reads a text as the kind of value that a schema names with `x-parse`; an unknown kind accepts everything.
pub(crate) fn check_text(kind: &str, text: &str) -> Result<(), ValueError> {
    match kind {
        "net-slot" => slot("net", 31, text).map(drop),
        "mount-slot" => slot("mp", 255, text).map(drop),
        _ => check(kind, text),
    }
}

/// Reads a slot such as `net0`.
pub(crate) fn slot(prefix: &str, highest: u8, text: &str) -> Result<u8, ValueError> {
    let number = text.strip_prefix(prefix).filter(|n| *n == "0" || !n.starts_with(['0', '+']));
    match number.and_then(|n| n.parse::<u8>().ok()) {
        Some(number) if number <= highest => Ok(number),
        _ => wrong(
            format!("`{}` is not a slot", text.escape_debug()),
            &format!("from `{prefix}0` to `{prefix}{highest}`"),
        ),
    }
}
