//! Property strings: `name=eth0,bridge=vmbr0`.

use std::collections::BTreeMap;

use super::{TABLE, Type, check, lookup};

/// What a cloud-init address's keys require (PVE::QemuServer, `$ipconfig_fmt`).
const REQUIRED: [(&str, &str); 2] = [("gw", "ip"), ("gw6", "ip6")];

/// A property string taken apart: `name=eth0,bridge=vmbr0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Property(pub BTreeMap<String, String>);

impl Property {
    /// Takes `value` apart and checks it against the FORMAT `name`; `key` is what errors call it.
    pub(crate) fn parse(name: &str, key: &str, value: &str) -> Result<Self, String> {
        let fields = TABLE.formats.get(name).map_or(&[][..], Vec::as_slice);
        let mut out = BTreeMap::new();
        for part in value.split(',').filter(|part| !part.is_empty()) {
            let (field, content) = match part.split_once('=') {
                Some((field, content)) if !field.contains('/') => (field, content),
                _ => match fields.iter().find(|field| field.default_key) {
                    Some(field) => (field.name, part),
                    None => {
                        return Err(
                            "value without key, but schema does not define a default key\n".to_owned()
                        );
                    }
                },
            };
            let mut pairs = vec![(field, content)];
            if let Some(Type::Alias { to, of }) = lookup(fields, field).map(|param| &param.shape) {
                pairs = vec![(*to, content)];
                pairs.extend(of.map(|of| (of, field)));
            }
            for (field, content) in pairs {
                if out.insert(field.to_owned(), content.to_owned()).is_some() {
                    return Err(format!("duplicate key in comma-separated list property: {field}\n"));
                }
            }
        }
        let mut errors = BTreeMap::new();
        for (field, content) in &mut out {
            match lookup(fields, field) {
                None => {
                    let text = "property is not defined in schema and the schema does not allow additional properties";
                    errors.insert(field.clone(), text.to_owned());
                }
                Some(param) => match check(&param.shape, field, content) {
                    Ok(Some(better)) => *content = better,
                    Ok(None) => {}
                    Err(error) => {
                        errors.insert(field.clone(), error);
                    }
                },
            }
        }
        for (of, needs) in REQUIRED.iter().filter(|_| name == "vmipconfig") {
            if out.contains_key(*of) && !out.contains_key(*needs) {
                errors.insert((*needs).to_owned(), format!("missing property required by '{key}.{of}'"));
            }
        }
        for field in fields.iter().filter(|field| field.required && !out.contains_key(field.name)) {
            errors.insert(field.name.to_owned(), "property is missing and it is not optional".to_owned());
        }
        if errors.is_empty() {
            return Ok(Self(out));
        }
        let lines: Vec<String> =
            errors.iter().map(|(field, error)| format!("{key}.{field}: {error}\n")).collect();
        Err(format!("format error\n{}", lines.concat()))
    }

    /// Prints it the way Proxmox VE writes it: the default key bare, then what is required, then the rest by name.
    pub(crate) fn print(&self, name: &str) -> String {
        let fields = TABLE.formats.get(name).map_or(&[][..], Vec::as_slice);
        let rank = |key: &str| match fields.iter().find(|field| field.name == key) {
            Some(field) if field.default_key => 0,
            Some(field) if field.required => 1,
            _ => 2,
        };
        // `virtio=BC:24:…` where the model is a key.
        let short = fields.iter().find_map(|field| match &field.shape {
            Type::Alias { to, of: Some(of) } if self.get(of) == Some(field.name) => {
                Some((*to, *of, format!("{}={}", field.name, self.get(to)?)))
            }
            _ => None,
        });
        let spoken = |key: &str| short.as_ref().is_some_and(|(to, of, _)| key == *to || key == *of);
        let mut keys: Vec<&String> = self.0.keys().filter(|key| !spoken(key)).collect();
        keys.sort_by_key(|key| (rank(key), key.as_str()));
        let print = |key: &String| {
            let value = self.0.get(key).map_or("", String::as_str);
            if rank(key) == 0 { value.to_owned() } else { format!("{key}={value}") }
        };
        let first = short.as_ref().map(|(_, _, text)| text.clone());
        first.into_iter().chain(keys.into_iter().map(print)).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn property_strings_print_in_the_nodes_order() {
        let net =
            Property::parse("net", "net0", "name=eth0,bridge=vmbr0,ip=10.0.0.2/24,gw=10.0.0.1,firewall=1");
        let net = net.expect("valid");
        assert_eq!(net.print("net"), "name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,ip=10.0.0.2/24");
        let mount = Property::parse("mp", "mp0", "tank:201/vm-201-disk-1.raw,size=1G,backup=1,mp=/srv")
            .expect("valid");
        assert_eq!(mount.print("mp"), "tank:201/vm-201-disk-1.raw,mp=/srv,backup=1,size=1G");
    }

    #[test]
    fn property_errors_are_the_nodes_words() {
        assert_eq!(
            Property::parse("net", "net0", "name=eth0,bridge=vmbr0,foo=1"),
            Err("format error\nnet0.foo: property is not defined in schema and the schema does not allow additional \
                 properties\n"
                .to_owned())
        );
        assert_eq!(
            Property::parse("net", "net0", "name=eth0,ip=10.0.0.300/24"),
            Err("format error\nnet0.ip: invalid format - value does not look like a valid ipv4 network \
                 configuration\n\n"
                .to_owned())
        );
        assert_eq!(
            Property::parse("net", "net0", "bogus"),
            Err("value without key, but schema does not define a default key\n".to_owned())
        );
    }

    #[test]
    fn a_network_card_has_its_model_as_a_key() {
        for text in
            ["virtio=BC:24:11:00:07:1E,bridge=vmbr0", "e1000=BC:24:11:00:07:1E,bridge=vmbr0,firewall=1"]
        {
            let net = Property::parse("vmnet", "net0", text).expect("valid");
            assert_eq!(net.get("macaddr"), Some("BC:24:11:00:07:1E"));
            assert_eq!(net.print("vmnet"), text);
        }
        let long = Property::parse("vmnet", "net0", "model=virtio,macaddr=BC:24:11:00:07:1E").expect("valid");
        assert_eq!(long.print("vmnet"), "virtio=BC:24:11:00:07:1E");
        assert_eq!(
            Property::parse("vmnet", "net0", "virtio=BD:24:11:00:07:1E,bridge=vmbr0"),
            Err("format error\nnet0.macaddr: invalid format - value does not look like a valid unicast MAC address\n\n"
                .to_owned())
        );
    }
}
