//! Pools and datasets of ZFS, as a blueprint declares them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Location, SecretRef};

/// The property of a pool's first dataset that says how often the pool is to be read and compared.
pub const SCRUB: &str = "phoenix:scrub";
/// The property that says how long a dataset's snapshots stay.
pub const SNAPSHOTS: &str = "phoenix:snapshots";
/// The property that says where a dataset's snapshots are copied to, and how long they stay there: `backup/media 90d`.
pub const REPLICA: &str = "phoenix:replica";
/// The feature of the node that makes snapshots and scrubs as those properties say.
pub const SCHEDULE: &str = "zfs-schedule";
/// The feature of the node that loads keys of datasets at its start.
pub const KEYS: &str = "zfs-keys";
/// Where those keys lie.
const KEY_FOLDER: &str = "/etc/phoenix/zfs-keys";

/// How the disks of a group stand in for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Not at all.
    Stripe,
    /// Each has the same.
    Mirror,
    /// One may fail.
    Raidz1,
    /// Two may fail.
    Raidz2,
    /// Three may fail.
    Raidz3,
}

impl Layout {
    /// The word of `zpool`; none for what is written without one.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Stripe => None,
            Self::Mirror => Some("mirror"),
            Self::Raidz1 => Some("raidz1"),
            Self::Raidz2 => Some("raidz2"),
            Self::Raidz3 => Some("raidz3"),
        }
    }

    /// As blueprints say it.
    pub fn as_str(self) -> &'static str {
        self.word().unwrap_or("stripe")
    }

    /// The fewest disks of a group.
    pub fn least(self) -> usize {
        match self {
            Self::Stripe => 1,
            Self::Mirror | Self::Raidz1 => 2,
            Self::Raidz2 => 3,
            Self::Raidz3 => 4,
        }
    }
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How the disks of a group stand in for each other.
    pub layout: Layout,
    /// The groups of disks that hold its data, by their names in `/dev/disk/by-id`.
    pub groups: Vec<Vec<String>>,
    /// Disks for metadata.
    pub special: Vec<String>,
    /// Disks for synchronous writes.
    pub log: Vec<String>,
    /// Disks for copies of what is read often.
    pub cache: Vec<String>,
    /// Disks that step in.
    pub spare: Vec<String>,
    /// The size of sectors, as a power of two.
    pub ashift: u8,
    /// The serial numbers of disks that may be emptied.
    pub wipe: BTreeSet<String>,
    /// Properties of the pool that are said, by their names.
    pub properties: BTreeMap<String, String>,
    /// The same of its first dataset, which all others have from it.
    pub root: BTreeMap<String, String>,
    /// Its datasets, by whole name: `tank/media`.
    pub datasets: BTreeMap<String, Dataset>,
    /// Where it is declared.
    pub declared: Location,
}

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its whole name: `tank/media`.
    pub name: String,
    /// The properties that are said, by their names.
    pub properties: BTreeMap<String, String>,
    /// How it is encrypted, where it has a key of its own.
    pub encryption: Option<Encryption>,
    /// Where it is declared.
    pub declared: Location,
}

/// How a dataset is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// Its key.
    pub key: SecretRef,
    /// Whether the key lies nowhere on the node, and is loaded after each start of it.
    pub by_hand: bool,
}

impl Encryption {
    /// The file on the node in which the key of a dataset lies. No dataset's name has a `+`.
    pub fn file(dataset: &str) -> String {
        format!("{KEY_FOLDER}/{}", dataset.replace('/', "+"))
    }

    /// What the property `keylocation` of a dataset says (zfsprops(7)).
    pub fn location(&self, dataset: &str) -> String {
        if self.by_hand { "prompt".to_owned() } else { format!("file://{}", Self::file(dataset)) }
    }
}

impl Dataset {
    /// Where its snapshots are copied to, and how long they stay there where that is said.
    pub fn replica(&self) -> Option<(&str, Option<&str>)> {
        let said = self.properties.get(REPLICA)?;
        Some(said.split_once(' ').map_or((said.as_str(), None), |(to, keep)| (to, Some(keep))))
    }
}

impl Pool {
    /// Whether snapshots are made of a dataset: it says so itself, or one does that it is in.
    pub fn has_snapshots(&self, dataset: &str) -> bool {
        let own = self.datasets.get(dataset).is_some_and(|it| it.properties.contains_key(SNAPSHOTS));
        own || dataset.rsplit_once('/').is_some_and(|(above, _)| self.has_snapshots(above))
    }

    /// All its disks.
    pub fn disks(&self) -> impl Iterator<Item = &str> {
        let more = [&self.special, &self.log, &self.cache, &self.spare];
        self.groups.iter().chain(more).flatten().map(String::as_str)
    }

    /// Whether anything is to be done at times.
    pub fn is_scheduled(&self) -> bool {
        self.root.contains_key(SCRUB)
            || self.datasets.values().any(|it| it.properties.contains_key(SNAPSHOTS))
    }

    /// Whether a key is to be loaded at the node's start.
    pub fn has_keys(&self) -> bool {
        let mut all = self.datasets.values().filter_map(|it| it.encryption.as_ref());
        all.any(|it| !it.by_hand)
    }

    /// Where a dataset of it is mounted, or the pool itself; nothing where it is not.
    pub fn mountpoint(&self, dataset: &str) -> Option<String> {
        let own = self.datasets.get(dataset).and_then(|it| it.properties.get("mountpoint"));
        match own.map(String::as_str) {
            Some("none" | "legacy") => None,
            Some(path) => Some(path.to_owned()),
            None => match dataset.rsplit_once('/') {
                Some((above, name)) => Some(format!("{}/{name}", self.mountpoint(above)?)),
                None => Some(format!("/{dataset}")),
            },
        }
    }
}
