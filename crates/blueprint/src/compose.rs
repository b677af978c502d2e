//! Reading a compose file as far as paper goes: whether it is YAML, which variables it wants, and which ports it publishes. What it
//! means, Docker Compose itself says, in the guest, before anything is changed there.
//!
//! The form is that of the Compose Specification (compose-spec.io): `services.NAME.ports`, interpolation, `extends`, `include`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Names of compose files that Compose looks for by itself, the first one that is there (Compose Specification, "The Compose file").
pub(crate) const NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Names of files that it reads over the first one, likewise.
pub(crate) const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What a compose file says, as far as it is looked at here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Compose {
    /// The names of its services.
    pub services: BTreeSet<String>,
    /// Variables without a value for where nobody sets them.
    pub wants: BTreeSet<String>,
    /// All variables.
    pub reads: BTreeSet<String>,
    /// What is published.
    pub ports: Ports,
    /// The images of its services that are not built, by service, with the variables in them that are known.
    pub images: BTreeMap<String, String>,
    /// Whether it takes in other files, or hands an environment on, so that what is not seen here may be there.
    pub open: bool,
}

/// The ports of the guest that containers publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// On all addresses.
    pub everywhere: BTreeSet<u16>,
    /// On its loopback address alone.
    pub loopback: BTreeSet<u16>,
    /// Whether there are some that cannot be told on paper.
    pub unknown: bool,
}

/// What is wrong with a compose file, and where, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub line: u64,
    pub column: u64,
    pub message: String,
}

impl Compose {
    /// Reads one. `env` is what variables stand for, as far as that is known: ports may be such.
    pub(crate) fn read(text: &str, env: &BTreeMap<String, String>) -> Result<Self, Wrong> {
        let whole: Value = serde_saphyr::from_str(text).map_err(|error| wrong(&error))?;
        let mut compose = Self::default();
        let at_top = |message: &str| Wrong { line: 1, column: 1, message: message.to_owned() };
        let Some(top) = whole.as_object() else {
            return Err(at_top("a compose file is an object with `services`"));
        };
        compose.open = top.contains_key("include");
        match top.get("services") {
            Some(Value::Object(services)) if !services.is_empty() => {
                services.iter().for_each(|(name, service)| compose.service(name, service, env));
            }
            _ if compose.open => {}
            _ => return Err(at_top("it has no `services`")),
        }
        compose.variables(&whole);
        Ok(compose)
    }

    /// Takes in what another file says over this one.
    pub(crate) fn over(&mut self, other: Self) {
        self.services.extend(other.services);
        self.wants.extend(other.wants);
        self.reads.extend(other.reads);
        self.ports.everywhere.extend(other.ports.everywhere);
        self.ports.loopback.extend(other.ports.loopback);
        self.ports.unknown |= other.ports.unknown;
        self.images.extend(other.images);
        self.open |= other.open;
    }

    fn service(&mut self, name: &str, service: &Value, env: &BTreeMap<String, String>) {
        self.services.insert(name.to_owned());
        let has = |key: &str| service.get(key).is_some();
        self.open |= has("extends") || has("env_file");
        if let Some(image) = service.get("image").and_then(Value::as_str).filter(|_| !has("build")) {
            let image = known(image, env);
            if !image.contains('$') {
                self.images.insert(name.to_owned(), image);
            }
        }
        self.ports.unknown |= has("extends") || has("network_mode") || has("deploy") && has("expose");
        for port in service.get("ports").and_then(Value::as_array).into_iter().flatten() {
            match Published::read(port, env) {
                Some(Published { ports, loopback: true }) => self.ports.loopback.extend(ports),
                Some(Published { ports, .. }) => self.ports.everywhere.extend(ports),
                None => self.ports.unknown = true,
            }
        }
    }

    fn variables(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                for variable in variables(text) {
                    if variable.wanted {
                        self.wants.insert(variable.name.clone());
                    }
                    self.reads.insert(variable.name);
                }
            }
            Value::Array(all) => all.iter().for_each(|one| self.variables(one)),
            // Keys are not interpolated.
            Value::Object(all) => all.values().for_each(|one| self.variables(one)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn wrong(error: &serde_saphyr::Error) -> Wrong {
    let place = error.location();
    let (line, column) = place.map_or((1, 1), |place| (place.line(), place.column()));
    // Beside the place, it draws a picture of it.
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    let message = message.lines().next().unwrap_or_default().trim_end_matches(['.', ':']).to_owned();
    Wrong { line, column, message }
}

/// What an entry of `ports` publishes.
struct Published {
    ports: Vec<u16>,
    loopback: bool,
}

impl Published {
    /// `None` where that cannot be told, as where a variable is in it.
    fn read(port: &Value, env: &BTreeMap<String, String>) -> Option<Self> {
        match port {
            // Only the container's: Docker chooses the other one.
            Value::Number(_) => Some(Self { ports: Vec::new(), loopback: false }),
            Value::String(text) => Self::short(&known(text, env)),
            Value::Object(long) => {
                let text = |value: &Value| match value {
                    Value::String(text) => Some(known(text, env)),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                };
                let host = long.get("host_ip").and_then(Value::as_str).unwrap_or_default();
                let ports = match long.get("published") {
                    Some(published) => range(&text(published)?)?,
                    None => Vec::new(),
                };
                Some(Self { ports, loopback: is_loopback(host) })
            }
            _ => None,
        }
    }

    /// `[ADDRESS:][PUBLISHED:]CONTAINER[/PROTOCOL]`.
    fn short(text: &str) -> Option<Self> {
        if text.contains('$') {
            return None;
        }
        let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Some((rest, _)) = text.rsplit_once(':') else {
            return Some(Self { ports: Vec::new(), loopback: false });
        };
        let (address, published) = rest.rsplit_once(':').unwrap_or(("", rest));
        let ports = if published.is_empty() || protocol != "tcp" { Vec::new() } else { range(published)? };
        Some(Self { ports, loopback: is_loopback(address) })
    }
}

/// A text with the variables in it that are known.
fn known(text: &str, env: &BTreeMap<String, String>) -> String {
    let filled =
        |text: String, (name, value): (&String, &String)| text.replace(&format!("${{{name}}}"), value);
    env.iter().fold(text.to_owned(), filled)
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("127.") || ["localhost", "::1", "[::1]"].contains(&address)
}

/// `8080`, or `8080-8090`.
fn range(text: &str) -> Option<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?..=last.parse().ok()?).collect())
}

/// A variable that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    name: String,
    /// Whether nothing stands for it where nobody sets it.
    wanted: bool,
}

/// The variables of a text: `$NAME`, `${NAME}`, `${NAME:-value}` and the like; `$$` is a sign. Those within another's value, too.
fn variables(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (braced, inside) = match after.strip_prefix('{') {
            Some(inside) => (true, inside),
            None => (false, after),
        };
        let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let (name, more) = inside.split_at(end);
        if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) {
            // `:?` and `?` end it all where nobody sets it.
            let has_value = braced && [":-", "-", ":+", "+"].iter().any(|sign| more.starts_with(sign));
            found.push(Named { name: name.to_owned(), wanted: !has_value });
        }
        rest = more;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTES: &str = r#"
services:
  web:
    image: "notes:${VERSION:-1.2}"
    ports: ["8080:80", "127.0.0.1:9000:9000", "53:53/udp", "7000-7002:7000-7002", 5000]
    environment: &shared
      TZ: $TZ
      PRICE: "5 $$"
      URL: "https://${HOST:?say which}/"
  worker:
    image: notes
    environment:
      <<: *shared
    ports:
      - target: 80
        published: "8081"
      - target: 81
        published: 8082
        host_ip: 127.0.0.1
"#;

    fn ports(all: &[u16]) -> BTreeSet<u16> {
        all.iter().copied().collect()
    }

    #[test]
    fn images_that_nobody_builds_are_known_by_service() {
        let text = "services:\n  web: { image: 'web:${VERSION}' }\n  own: { image: own, build: . }\n  other: { image: '${X:-a}' }\n";
        let env = BTreeMap::from([("VERSION".to_owned(), "17".to_owned())]);
        let mut read = Compose::read(text, &env).unwrap();
        assert_eq!(read.images, BTreeMap::from([("web".to_owned(), "web:17".to_owned())]));
        read.over(Compose::read("services:\n  web: { image: 'web:18' }\n", &env).unwrap());
        assert_eq!(read.images["web"], "web:18");
    }

    #[test]
    fn what_it_wants_and_publishes_is_read() {
        let compose = Compose::read(NOTES, &BTreeMap::new()).unwrap();
        assert_eq!(compose.services, ["web".to_owned(), "worker".to_owned()].into());
        assert_eq!(compose.wants, ["HOST".to_owned(), "TZ".to_owned()].into());
        assert!(compose.reads.contains("VERSION"));
        assert_eq!(compose.ports.everywhere, ports(&[7000, 7001, 7002, 8080, 8081]));
        assert_eq!(compose.ports.loopback, ports(&[8082, 9000]));
        assert!(!compose.ports.unknown && !compose.open);
    }

    #[test]
    fn a_port_may_be_a_variable_that_is_known() {
        let env = BTreeMap::from([("PORT".to_owned(), "8010".to_owned())]);
        let text =
            "services:\n  a: { image: x, ports: ['${PORT}:80', { target: 81, published: '${PORT}' }] }\n";
        let compose = Compose::read(text, &env).unwrap();
        assert_eq!((compose.ports.everywhere, compose.ports.unknown), (ports(&[8010]), false));
        let other = "services:\n  a: { image: x, ports: ['${PORT:-8010}:80'] }\n";
        assert!(Compose::read(other, &env).unwrap().ports.unknown);
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        for service in ["ports: ['${PORT}:80']", "network_mode: host", "extends: {service: b}"] {
            let compose =
                Compose::read(&format!("services:\n  a:\n    image: x\n    {service}\n"), &BTreeMap::new())
                    .unwrap();
            assert!(compose.ports.unknown, "{service}");
        }
        let including = Compose::read("include: [other.yaml]\n", &BTreeMap::new()).unwrap();
        assert!(including.open);
    }

    #[test]
    fn what_is_no_compose_file_is_told_with_its_place() {
        let wrong =
            Compose::read("services:\n  web:\n    image: x\n   ports: [\n", &BTreeMap::new()).unwrap_err();
        assert_eq!(wrong.line, 4, "{wrong:?}");
        assert!(!wrong.message.is_empty() && !wrong.message.contains('\n'), "{wrong:?}");
        for (text, why) in
            [("[]", "an object"), ("volumes: {}", "no `services`"), ("services: {}", "no `services`")]
        {
            assert!(Compose::read(text, &BTreeMap::new()).unwrap_err().message.contains(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall_over(text in "(services|:| |\n|\\$|\\{|\\}|[a-z]|-|&|\\*|\"){0,60}") {
            let _ = Compose::read(&text, &BTreeMap::new());
        }

        #[test]
        fn a_variable_is_found_wherever_it_stands(name in "[A-Z_][A-Z0-9_]{0,8}", before in "[a-z :/]{0,5}", after in "[ :/.]{0,5}") {
            for text in [format!("{before}${name}{after}"), format!("{before}${{{name}}}{after}")] {
                prop_assert_eq!(variables(&text), vec![Named { name: name.clone(), wanted: true }]);
            }
            let sign = format!("{before}$${name}{after}");
            prop_assert!(variables(&sign).is_empty());
        }
    }
}
