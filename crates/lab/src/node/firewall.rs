//! The firewall's files, and what the API says of them. It only reads them: they are changed as files, on the node.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use proxmox::firewall::{FirewallFile, Range, Rule, What};
use proxmox::inventory::{firewall_path, host_fw};
use serde_json::{Map, Value};
use sha1::{Digest as _, Sha1};

use super::error::{ApiError, Outcome};
use super::etc::hex;
use super::guest_read::conf_of;
use super::lock;
use super::router::Call;

/// The firewall's files, those of all nodes of a cluster, by the names of [`proxmox::inventory::Guests::firewall`]. Where
/// there is a folder they are read anew each time: whoever is on the node may change them.
#[derive(Debug, Default)]
pub(crate) struct FirewallFiles {
    /// What stands for `/etc/pve`.
    place: Option<Utf8PathBuf>,
    memory: Arc<Mutex<BTreeMap<String, String>>>,
}

impl FirewallFiles {
    pub(crate) fn in_folder(etc: &camino::Utf8Path) -> Self {
        Self { place: Some(etc.to_owned()), memory: Arc::default() }
    }

    pub(crate) fn in_memory(memory: Arc<Mutex<BTreeMap<String, String>>>) -> Self {
        Self { place: None, memory }
    }

    /// All that are there.
    pub(crate) fn all(&self) -> io::Result<BTreeMap<String, String>> {
        let Some(etc) = &self.place else { return Ok(lock(&self.memory).clone()) };
        let nodes: Vec<_> = etc.join("nodes").read_dir_utf8()?.collect::<io::Result<_>>()?;
        let mut names: Vec<String> = nodes.iter().map(|node| host_fw(node.file_name())).collect();
        match etc.join("firewall").read_dir_utf8() {
            Ok(entries) => {
                let entries: Vec<_> = entries.collect::<io::Result<_>>()?;
                let names_of = entries.iter().map(|entry| entry.file_name().to_owned());
                names.extend(names_of.filter(|name| is_name(name)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut files = BTreeMap::new();
        for name in names {
            if let Some(text) = self.get(&name)? {
                files.insert(name, text);
            }
        }
        Ok(files)
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> io::Result<Option<String>> {
        let Some(etc) = &self.place else { return Ok(lock(&self.memory).get(name).cloned()) };
        match fs_err::read_to_string(etc.join(firewall_path(name))) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes one whole, or removes it.
    pub(crate) fn write(&mut self, name: &str, text: Option<&str>) -> io::Result<()> {
        let Some(etc) = &self.place else {
            let mut memory = lock(&self.memory);
            match text {
                Some(text) => memory.insert(name.to_owned(), text.to_owned()),
                None => memory.remove(name),
            };
            return Ok(());
        };
        let path = etc.join(firewall_path(name));
        let Some(text) = text else {
            return match fs_err::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        super::write_file(&path, text.as_bytes(), 0o644)
    }
}

/// `cluster.fw`, `101.fw`.
fn is_name(file: &str) -> bool {
    file.strip_suffix(".fw").is_some_and(|name| {
        name == "cluster" || (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// The words for whoever wants to change it by the API.
pub(crate) fn read_only() -> ApiError {
    ApiError::refused(
        501,
        "the lab's API only reads the firewall: change its files on the node, /etc/pve/firewall/cluster.fw, \
         /etc/pve/firewall/ID.fw and /etc/pve/nodes/NODE/host.fw",
    )
}

/// `…/firewall/options` and `…/firewall/rules` of the cluster, the node, a guest.
pub(crate) fn get(call: &Call<'_>, path: &str) -> Outcome {
    let name = if path.starts_with("/cluster") {
        "cluster.fw".to_owned()
    } else if path.contains("{vmid}") {
        conf_of(call)?;
        format!("{}.fw", call.vmid())
    } else {
        host_fw(&call.node.name)
    };
    let text = call.node.state().etc.firewall.get(&name).map_err(|error| ApiError::die(error.to_string()))?;
    let file = FirewallFile::parse(&text.unwrap_or_default());
    if path.ends_with("/options") {
        return Ok(options(&file).into());
    }
    Ok(Value::Array(rules(&file)).into())
}

/// Numbers as numbers, and the digest over all of them (`copy_opject_with_digest` of pve-firewall).
fn options(file: &FirewallFile) -> Value {
    let mut sha = Sha1::new();
    let mut out = Map::new();
    for (key, value) in file.options() {
        sha.update(format!("{key}:{value}\n"));
        let number = value.parse::<i64>().ok().filter(|_| key != "log_ratelimit");
        out.insert(key.to_owned(), number.map_or_else(|| value.into(), Value::from));
    }
    out.insert("digest".to_owned(), hex(&sha.finalize()).into());
    Value::Object(out)
}

/// The rules with their positions and the digest of the whole list (`copy_list_with_digest`).
fn rules(file: &FirewallFile) -> Vec<Value> {
    let mut list: Vec<Map<String, Value>> = file.rules().map(fields).collect();
    let mut sha = Sha1::new();
    for fields in &list {
        for (key, value) in fields {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            sha.update(format!("{key}:{text}\n"));
        }
    }
    let digest = hex(&sha.finalize());
    for (pos, fields) in list.iter_mut().enumerate() {
        fields.insert("pos".to_owned(), pos.into());
        fields.insert("digest".to_owned(), digest.as_str().into());
    }
    list.into_iter().map(Value::Object).collect()
}

fn fields(rule: &Rule) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| drop(out.insert(key.to_owned(), value));
    put("enable", u8::from(rule.enable).into());
    match &rule.what {
        What::Group(name) => {
            put("type", "group".into());
            put("action", name.as_str().into());
        }
        What::Packets { direction, macro_name, action } => {
            put("type", direction.as_str().to_ascii_lowercase().into());
            put("action", action.as_str().into());
            if let Some(name) = macro_name {
                put("macro", name.as_str().into());
            }
        }
    }
    for (key, value) in [
        ("iface", &rule.iface),
        ("source", &rule.source),
        ("dest", &rule.dest),
        ("proto", &rule.proto),
        ("dport", &rule.dport),
        ("sport", &rule.sport),
        ("log", &rule.log),
        ("icmp-type", &rule.icmp_type),
        ("comment", &rule.comment),
    ] {
        if let Some(value) = value {
            put(key, value.as_str().into());
        }
    }
    // Known where an address or the protocol tells.
    let version = |text: &str| {
        Range::parse(text.split(',').next().unwrap_or_default())
            .map(|range| if range.first.is_ipv4() { 4 } else { 6 })
    };
    let by_proto = match rule.proto.as_deref() {
        Some("icmp") => Some(4),
        Some("icmpv6" | "ipv6-icmp") => Some(6),
        _ => None,
    };
    let known = [&rule.source, &rule.dest].into_iter().flatten().find_map(|text| version(text)).or(by_proto);
    if let Some(version) = known {
        put("ipversion", version.into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a real node to the same rules and options.
    #[test]
    fn digests_and_fields_are_those_of_a_real_node() {
        let file = FirewallFile::parse(
            "[OPTIONS]\nenable: 1\npolicy_in: DROP\n[RULES]\nIN SSH(ACCEPT) # four\nOUT DROP -dest 10.1.0.0/16 # three\n\
             |IN ACCEPT -p icmp -icmp-type echo-request # two\nIN ACCEPT -source 10.99.0.0/24 -p tcp -dport 443 # one\n",
        );
        assert_eq!(
            options(&file),
            serde_json::json!({"policy_in": "DROP", "enable": 1, "digest": "b5b4b38b0ccd39fc3c426236926bf532647addaf"})
        );
        let rules = rules(&file);
        assert_eq!(
            rules[1],
            serde_json::json!({
                "type": "out", "ipversion": 4, "digest": "297b83f0a26418237e38c33e730522ac2b301929",
                "comment": "three", "enable": 1, "action": "DROP", "dest": "10.1.0.0/16", "pos": 1
            })
        );
        assert_eq!(rules[0]["macro"], "SSH");
        assert_eq!(rules[2]["enable"], 0);
    }
}
