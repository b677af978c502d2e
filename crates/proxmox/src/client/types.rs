//! What the node answers, as far as Phoenix reads it. Unknown fields are ignored; what is absent, and what is null, is
//! the same; numbers and booleans are read in every form Perl gives them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use crate::config::GuestKind;
use crate::lenient;

/// `/version`.
#[derive(Debug, Clone, Deserialize)]
pub struct Version {
    /// As in `9.2.11`.
    pub version: String,
    /// As in `9.2`.
    #[serde(default)]
    pub release: String,
}

/// A line of `/nodes`.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Its name.
    pub node: String,
    /// `online`, `offline` or `unknown`.
    #[serde(default)]
    pub status: String,
    /// Memory in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub maxmem: Option<u64>,
    /// Threads.
    #[serde(default, deserialize_with = "lenient::number")]
    pub maxcpu: Option<u64>,
    /// Seconds since it started.
    #[serde(default, deserialize_with = "lenient::number")]
    pub uptime: Option<u64>,
    /// SHA-256 of its certificate.
    pub ssl_fingerprint: Option<String>,
}

/// A node as a line of `/cluster/status` tells of it. A node that is no cluster's has one line, of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The address that the cluster knows it under; absent where its name cannot be resolved.
    pub address: Option<IpAddr>,
    /// Whether the cluster sees it.
    pub online: bool,
    /// Whether it is the one that answers.
    pub local: bool,
}

/// The nodes in an answer of `/cluster/status`, by name. Lines about anything else, and lines without a name, are left out.
pub fn members(answer: &Value) -> Vec<Member> {
    let flag = |value: &Value| lenient::as_flag(value).unwrap_or_default();
    let lines = answer.as_array().into_iter().flatten().filter(|line| line["type"] == "node");
    let member = |line: &Value| {
        Some(Member {
            name: line["name"].as_str().filter(|name| !name.is_empty())?.to_owned(),
            address: line["ip"].as_str().and_then(|ip| ip.parse().ok()),
            online: flag(&line["online"]),
            local: flag(&line["local"]),
        })
    };
    let mut members: Vec<Member> = lines.filter_map(member).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members.dedup_by(|a, b| a.name == b.name);
    members
}

/// A line of `/cluster/resources`: a guest, a node, a storage, a pool.
#[derive(Debug, Clone, Deserialize)]
pub struct Resource {
    /// As in `lxc/101`.
    pub id: String,
    /// `lxc`, `qemu`, `node`, `storage`, `sdn`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The node it is on.
    pub node: Option<String>,
    /// A guest's number.
    #[serde(default, deserialize_with = "lenient::maybe_id")]
    pub vmid: Option<u32>,
    /// A guest's name.
    pub name: Option<String>,
    /// `running`, `stopped`, `unknown`, `available`, …
    pub status: Option<String>,
    /// A guest's tags, joined by `;`.
    pub tags: Option<String>,
    /// Whether a guest is a template.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub template: bool,
    /// What holds a guest, as in `backup`.
    pub lock: Option<String>,
    /// A guest's pool.
    pub pool: Option<String>,
    /// A storage's name.
    pub storage: Option<String>,
    /// What may be on a storage, as in `rootdir,images`.
    pub content: Option<String>,
    /// Memory in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub maxmem: Option<u64>,
    /// Disk in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub maxdisk: Option<u64>,
    /// Disk in use, in bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub disk: Option<u64>,
    /// Seconds since it started.
    #[serde(default, deserialize_with = "lenient::number")]
    pub uptime: Option<u64>,
}

impl Resource {
    /// The kind of a guest; none for what is no guest.
    pub fn guest_kind(&self) -> Option<GuestKind> {
        match self.kind.as_str() {
            "lxc" => Some(GuestKind::Container),
            "qemu" => Some(GuestKind::Vm),
            _ => None,
        }
    }

    /// Whether `content` (`rootdir`, `vztmpl`, …) may be on a storage.
    pub fn holds(&self, content: &str) -> bool {
        self.content.as_deref().is_some_and(|all| all.split(',').any(|held| held.trim() == content))
    }
}

/// `status/current` of a guest.
#[derive(Debug, Clone, Deserialize)]
pub struct GuestStatus {
    /// `running` or `stopped`.
    pub status: String,
    /// The number.
    #[serde(deserialize_with = "lenient::id")]
    pub vmid: u32,
    /// The name.
    pub name: Option<String>,
    /// Seconds since it started.
    #[serde(default, deserialize_with = "lenient::number")]
    pub uptime: Option<u64>,
    /// What holds it.
    pub lock: Option<String>,
    /// What QEMU says, as in `paused`.
    pub qmpstatus: Option<String>,
}

impl GuestStatus {
    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.status == "running"
    }
}

/// A line of a guest's `/pending`: what is, and what a restart makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PendingEntry {
    /// The key.
    pub key: String,
    /// The value in force.
    #[serde(default, deserialize_with = "lenient::text")]
    pub value: Option<String>,
    /// The value after a restart.
    #[serde(default, deserialize_with = "lenient::text")]
    pub pending: Option<String>,
    /// Whether a restart removes it (the API says 2 when it is forced).
    #[serde(default, deserialize_with = "lenient::flag")]
    pub delete: bool,
}

/// A line of a node's `/storage`.
#[derive(Debug, Clone, Deserialize)]
pub struct Storage {
    /// Its name.
    pub storage: String,
    /// As in `zfspool`, `dir`, `btrfs`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What may be on it, as in `rootdir,images`.
    #[serde(default)]
    pub content: String,
    /// Whether it can be used now.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub active: bool,
    /// Whether it is turned on.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub enabled: bool,
    /// Whether all nodes see the same.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub shared: bool,
    /// Bytes in all.
    #[serde(default, deserialize_with = "lenient::number")]
    pub total: Option<u64>,
    /// Bytes free.
    #[serde(default, deserialize_with = "lenient::number")]
    pub avail: Option<u64>,
}

impl Storage {
    /// Whether `content` (`rootdir`, `vztmpl`, …) may be on it.
    pub fn holds(&self, content: &str) -> bool {
        self.content.split(',').any(|held| held.trim() == content)
    }
}

/// The definition of a storage, as the cluster has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "serde_json::Map<String, Value>")]
pub struct Definition {
    /// Its name.
    pub storage: String,
    /// As in `zfspool`, `dir`, `btrfs`.
    pub kind: String,
    /// Its options, as they stand in `storage.cfg`; passwords are not among them.
    pub options: BTreeMap<String, String>,
}

impl From<serde_json::Map<String, Value>> for Definition {
    fn from(line: serde_json::Map<String, Value>) -> Self {
        let mut options: BTreeMap<String, String> = line
            .into_iter()
            .filter_map(|(key, value)| {
                let text = match value {
                    // `content-dirs` comes taken apart (recorded, "read rec-b9").
                    Value::Object(parts) => {
                        let parts = parts
                            .into_iter()
                            .filter_map(|(k, v)| Some(format!("{k}={}", lenient::as_text(&v)?)));
                        parts.collect::<Vec<_>>().join(",")
                    }
                    other => lenient::as_text(&other)?,
                };
                Some((key, text))
            })
            .collect();
        options.remove("digest");
        let mut take = |key: &str| options.remove(key).unwrap_or_default();
        Self { storage: take("storage"), kind: take("type"), options }
    }
}

/// Something that a storage can be made of.
#[derive(Debug, Clone, Deserialize)]
pub struct Offer {
    /// What it is called: a pool or dataset of ZFS, a volume group, a thin pool, the path of an export.
    #[serde(alias = "pool", alias = "vg", alias = "lv", alias = "path")]
    pub name: String,
}

/// The options of the datacenter, as far as they are of interest here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Options {
    /// Its notes; not there where the caller is not shown them (recorded: "no privileges | cluster options").
    #[serde(default)]
    pub description: Option<String>,
}

/// A line of a storage's `/content`.
#[derive(Debug, Clone, Deserialize)]
pub struct Volume {
    /// As in `local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst`.
    pub volid: String,
    /// `vztmpl`, `rootdir`, `images`, `iso`, `backup`, …
    #[serde(default)]
    pub content: String,
    /// Its format.
    pub format: Option<String>,
    /// Bytes.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// The guest it belongs to.
    #[serde(default, deserialize_with = "lenient::maybe_id")]
    pub vmid: Option<u32>,
}

/// A resource mapping of the cluster: a name for a device or a folder of its nodes.
#[derive(Debug, Clone, Deserialize)]
pub struct Mapping {
    /// Its name.
    pub id: String,
    /// What it is on each node: `node=pve1,path=0000:01:00.0,id=8086:7000`.
    #[serde(default)]
    pub map: Vec<String>,
}

impl Mapping {
    /// Whether it has something on a node.
    pub fn is_on(&self, node: &str) -> bool {
        self.map.iter().any(|entry| entry.split(',').any(|part| part.strip_prefix("node=") == Some(node)))
    }
}

/// A line of a node's `/aplinfo`: a template that can be had.
#[derive(Debug, Clone, Deserialize)]
pub struct Appliance {
    /// Its file's name, `debian-13-standard_13.6-1_amd64.tar.zst`.
    pub template: String,
    /// `system`, `turnkeylinux`, `mail`.
    #[serde(default)]
    pub section: String,
}

/// A task's status.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskStatus {
    /// Its number.
    pub upid: String,
    /// `running` or `stopped`.
    pub status: String,
    /// `OK`, `WARNINGS: 1` or what went wrong, once it has stopped.
    pub exitstatus: Option<String>,
}

/// A line of a task's log.
#[derive(Debug, Clone, Deserialize)]
pub struct LogLine {
    /// Its number, from 1.
    #[serde(default, deserialize_with = "lenient::number")]
    pub n: Option<u64>,
    /// The text.
    #[serde(default)]
    pub t: String,
}

/// A line of a node's `/tasks`, and of `/cluster/tasks`.
#[derive(Debug, Clone, Deserialize)]
pub struct TaskEntry {
    /// Its number.
    pub upid: String,
    /// How it ended; absent while it runs.
    pub status: Option<String>,
    /// What it does.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What it is about.
    #[serde(default, deserialize_with = "lenient::text")]
    pub id: Option<String>,
}

/// Privileges by path.
pub type Permissions = BTreeMap<String, BTreeMap<String, Privilege>>;

/// A privilege that is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Privilege {
    /// Whether it holds for what is below the path, too.
    #[serde(deserialize_with = "lenient::flag")]
    pub propagates: bool,
}

/// A line of `/pools`.
#[derive(Debug, Clone, Deserialize)]
pub struct Pool {
    /// Its name.
    pub poolid: String,
    /// A remark.
    pub comment: Option<String>,
    /// What is in it; only when one pool is asked for.
    #[serde(default)]
    pub members: Vec<Resource>,
}

/// A line of a node's `/network`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeInterface {
    /// Its name, as in `vmbr0`.
    pub iface: String,
    /// `bridge`, `eth`, `bond`, `vlan`, `OVSBridge`, …
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Whether it is up.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub active: bool,
    /// Its address with the prefix length.
    pub cidr: Option<String>,
}

/// A line of a running container's `/interfaces`.
#[derive(Debug, Clone, Deserialize)]
pub struct GuestInterface {
    /// Its name inside.
    pub name: String,
    /// Its MAC.
    pub hwaddr: Option<String>,
    /// Its IPv4 address with the prefix length.
    pub inet: Option<String>,
    /// Its IPv6 address with the prefix length.
    pub inet6: Option<String>,
}

/// A line of a guest's `/snapshot`. The last one, `current`, is what runs now.
#[derive(Debug, Clone, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The one before it.
    pub parent: Option<String>,
    /// A remark.
    pub description: Option<String>,
    /// Seconds since 1970.
    #[serde(default, deserialize_with = "lenient::number")]
    pub snaptime: Option<u64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_nodes_of_a_recorded_answer() {
        // Recorded from a real node; the second line is that of a cluster, after the API's schema.
        let answer = json!([
            {"name": "pve1", "ip": "10.77.0.2", "id": "node/pve1", "online": 1, "type": "node", "nodeid": 0,
             "local": 1, "level": ""},
            {"id": "cluster", "type": "cluster", "name": "home", "nodes": 2, "quorate": 1, "version": 2},
        ]);
        let address = Some([10, 77, 0, 2].into());
        let pve1 = Member { name: "pve1".to_owned(), address, online: true, local: true };
        assert_eq!(members(&answer), [pve1]);
    }

    proptest! {
        #[test]
        fn every_node_is_found_whatever_else_the_answer_holds(
            nodes in proptest::collection::btree_map("[a-z][a-z0-9-]{0,9}", (any::<[u8; 4]>(), any::<bool>()), 0..6),
            noise in proptest::collection::vec("[ -~]{0,12}", 0..6),
        ) {
            let line = |(name, (ip, online)): (&String, &([u8; 4], bool))| {
                json!({"type": "node", "name": name, "ip": IpAddr::from(*ip).to_string(), "online": u8::from(*online)})
            };
            let mut lines: Vec<Value> = nodes.iter().map(line).collect();
            for text in &noise {
                lines.insert(lines.len() / 2, json!({"type": text, "name": text, "ip": [text]}));
                lines.push(json!({"type": "node", "name": "", "online": text}));
                lines.push(json!(text));
            }
            let found = members(&Value::Array(lines));
            let expected = nodes.iter().map(|(name, (ip, online))| Member {
                name: name.clone(), address: Some(IpAddr::from(*ip)), online: *online, local: false,
            });
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
        }
    }
}
