//! Storages of Proxmox VE, as a blueprint declares them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Location, SecretRef};

/// A storage of the datacenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Its name.
    pub name: String,
    /// What it is and where, which cannot be changed.
    pub place: Place,
    /// What may lie on it, by Proxmox VE's words: `images`, `rootdir`, …
    pub content: BTreeSet<String>,
    /// The nodes that have it; all where empty.
    pub nodes: BTreeSet<String>,
    /// Whether it can be used.
    pub enabled: bool,
    /// Whether the node makes the folder that is not there.
    pub create: bool,
    /// What else is said of it, by the names of Proxmox VE's own configuration, in the form in which it is written there; what is
    /// not here has Proxmox VE's default.
    pub options: BTreeMap<String, String>,
    /// What is said of it under `settings`.
    pub settings: BTreeMap<String, String>,
    /// The password with which the nodes log in there.
    pub password: Option<SecretRef>,
    /// Where it is declared.
    pub declared: Location,
}

/// What a storage is, and where: the part of its definition that cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Proxmox VE's word for its type: `dir`, `zfspool`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The fixed options of that type: `path`; `pool`; `server` and `export`; …
    pub options: BTreeMap<String, String>,
}

/// The types there are, with the options of each that cannot be changed, what may lie on it, and whether its nodes see the same
/// (PVE::Storage, the plugins of 9.2: `fixed => 1`, `plugindata`).
pub static STORAGE_TYPES: [StorageType; 8] = [
    StorageType::new("dir", &["path"], FILES, false),
    StorageType::new("btrfs", &["path"], FILES, false),
    StorageType::new("zfspool", &["pool"], DISKS, false),
    StorageType::new("lvm", &["vgname"], DISKS, false),
    StorageType::new("lvmthin", &["vgname", "thinpool"], DISKS, false),
    StorageType::new("nfs", &["server", "export"], FILES, true),
    StorageType::new("cifs", &["server", "share"], FILES, true),
    StorageType::new("pbs", &["server", "datastore"], &["backup"], true),
];

const FILES: &[&str] = &["images", "rootdir", "vztmpl", "iso", "import", "snippets", "backup"];
const DISKS: &[&str] = &["images", "rootdir"];

/// A type of storage.
#[derive(Debug, Clone, Copy)]
pub struct StorageType {
    /// Proxmox VE's word for it.
    pub name: &'static str,
    /// The options that cannot be changed.
    pub fixed: &'static [&'static str],
    /// What may lie on it.
    pub holds: &'static [&'static str],
    /// Whether its nodes always see the same.
    pub shared: bool,
}

impl StorageType {
    const fn new(
        name: &'static str,
        fixed: &'static [&'static str],
        holds: &'static [&'static str],
        shared: bool,
    ) -> Self {
        Self { name, fixed, holds, shared }
    }

    /// The type of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        STORAGE_TYPES.iter().find(|one| one.name == name)
    }
}

impl Place {
    /// As people say it: `zfspool tank/vms`, `nfs 10.0.0.20:/srv/backups`.
    pub fn shown(&self) -> String {
        let value = |key: &str| self.options.get(key).map_or("", String::as_str);
        let at = match self.kind.as_str() {
            "dir" | "btrfs" => value("path").to_owned(),
            "zfspool" => value("pool").to_owned(),
            "lvm" => value("vgname").to_owned(),
            "lvmthin" => format!("{}/{}", value("vgname"), value("thinpool")),
            "nfs" => format!("{}:{}", value("server"), value("export")),
            "cifs" => format!("//{}/{}", value("server"), value("share")),
            "pbs" => format!("{}:{}", value("server"), value("datastore")),
            _ => self.options.values().cloned().collect::<Vec<_>>().join(" "),
        };
        format!("{} {at}", self.kind)
    }
}

impl Storage {
    /// Whether `content` may lie on it.
    pub fn holds(&self, content: &str) -> bool {
        self.content.contains(content)
    }

    /// Whether a node has it, as far as the blueprint says.
    pub fn is_on(&self, node: &str) -> bool {
        self.enabled && (self.nodes.is_empty() || self.nodes.contains(node))
    }

    /// Its definition as Proxmox VE writes it, but for what cannot be changed: every option that a value follows from.
    pub fn written(&self) -> BTreeMap<String, String> {
        let list = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(",");
        let mut out = self.options.clone();
        out.extend(self.settings.clone());
        out.insert("content".to_owned(), list(&self.content));
        if !self.nodes.is_empty() {
            out.insert("nodes".to_owned(), list(&self.nodes));
        }
        if !self.enabled {
            out.insert("disable".to_owned(), "1".to_owned());
        }
        out
    }
}
