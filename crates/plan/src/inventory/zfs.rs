//! Pools, datasets and disks of a node, as they were seen there.

use std::collections::{BTreeMap, BTreeSet};

/// What a node has of ZFS, and its disks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zfs {
    /// The pools that are imported, by name.
    pub pools: BTreeMap<String, Pool>,
    /// The pools that are on disks of the node and are not imported. Looked for only where a disk says that there is one.
    pub importable: Vec<Importable>,
    /// All datasets, by name, the first one of each pool among them; not their snapshots.
    pub datasets: BTreeMap<String, Dataset>,
    /// The disks, by the name that the kernel has for each today.
    pub disks: BTreeMap<String, Disk>,
    /// What each name of `/dev/disk/by-id` leads to: a disk, or a partition.
    pub ids: BTreeMap<String, String>,
    /// The disk that each partition, and whatever is made of one, is on.
    pub parts: BTreeMap<String, String>,
}

/// A pool that is imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// Its number, which no other pool has.
    pub guid: String,
    /// Bytes of its disks, redundancy included.
    pub size: u64,
    /// Bytes of them in use.
    pub allocated: u64,
    /// `ONLINE`, `DEGRADED`, `FAULTED`, …
    pub health: String,
    /// Its disks, by what they are there for.
    pub groups: Vec<Group>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// What it says of its last scrub or of one that goes on, in its own words.
    pub scan: Option<String>,
    /// What it says of errors in data, where there are any.
    pub errors: Option<String>,
}

/// A pool that could be imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Importable {
    /// Its name.
    pub name: String,
    /// Its number.
    pub guid: String,
    /// `ONLINE`, `DEGRADED`, `UNAVAIL`, …
    pub state: String,
    /// Whether another system had it last, so that importing it takes a word more.
    pub elsewhere: bool,
    /// Its disks.
    pub groups: Vec<Group>,
}

/// What disks are there for in a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// They hold its data.
    #[default]
    Data,
    /// They hold its metadata.
    Special,
    /// They hold what is written synchronously.
    Log,
    /// They hold copies.
    Cache,
    /// They step in.
    Spare,
}

/// Disks that stand in for each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// What they are there for.
    pub class: Class,
    /// As the pool calls it: `raidz1-0`; the disk's own name where it stands alone.
    pub name: String,
    /// `mirror`, `raidz1`, …; none where a disk stands alone.
    pub layout: Option<String>,
    /// `ONLINE`, `DEGRADED`, …
    pub state: String,
    /// The disks.
    pub members: Vec<Member>,
}

/// A disk of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// As the pool calls it: a path, or a number where it is not there.
    pub name: String,
    /// Where it is, or was: `/dev/disk/by-id/…-part1`.
    pub path: String,
    /// `ONLINE`, `UNAVAIL`, `FAULTED`, `AVAIL`, …
    pub state: String,
    /// Reads, writes and checksums that failed.
    pub errors: u64,
    /// The disk whose place it takes, while its data is copied: as the pool calls that.
    pub replaces: Option<String>,
}

/// A dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Whether it is a volume and no file system.
    pub volume: bool,
    /// Bytes in use, its snapshots and all in it included.
    pub used: u64,
    /// Bytes that may still be written.
    pub available: u64,
    /// The properties that are said of itself, rather than of the one that it is in.
    pub local: BTreeMap<String, String>,
    /// Its key, where it is encrypted.
    pub key: Option<Key>,
}

/// The key of an encrypted dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// The dataset whose key it is: itself, or one that it is in.
    pub root: String,
    /// Whether it is loaded.
    pub loaded: bool,
    /// Whether the dataset is mounted.
    pub mounted: bool,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes.
    pub size: u64,
    /// Its serial number, where it says one.
    pub serial: Option<String>,
    /// What is on it, in words, and nothing where it is empty: `a partition table (gpt)`, `ext4 \`root\` on sda2`.
    pub holds: Vec<String>,
    /// Why it cannot be anything else now, in words: `mounted at /`, `crypt on sda3`.
    pub busy: Option<String>,
    /// Whether all that is on it is what ZFS itself writes to a disk that it takes.
    pub labels_only: bool,
    /// The pools that its labels name: number and name. They may be long gone.
    pub labels: BTreeMap<String, String>,
}

impl Zfs {
    /// The disk that a name of `/dev/disk/by-id` leads to; the name itself where it leads to nothing. Two names of one disk are
    /// the same then.
    pub fn disk_named<'a>(&'a self, name: &'a str) -> &'a str {
        let there = self.ids.get(name).map_or(name, String::as_str);
        self.parts.get(there).map_or(there, String::as_str)
    }

    /// The disk of a pool's member. What is not there and had only the kernel's name is nothing that can be found again.
    pub fn disk_of<'a>(&'a self, member: &'a Member) -> &'a str {
        // What could be imported is told of without the folder.
        let bare = (!member.path.contains('/')).then_some(member.path.as_str());
        if let Some(name) = member.path.strip_prefix("/dev/disk/by-id/").or(bare) {
            if let Some(there) = self.ids.get(name) {
                return self.parts.get(there).map_or(there, String::as_str);
            }
            return self.disk_named(without_part(name));
        }
        let gone = member.name != member.path;
        match member.path.rsplit_once('/') {
            Some((_, name)) if !gone => self.parts.get(name).map_or(name, String::as_str),
            _ => &member.path,
        }
    }

    /// The pool, imported or not, that a disk is in, with what is to be said of it.
    pub fn pool_of(&self, disk: &str) -> Option<(&str, bool)> {
        let has =
            |groups: &[Group]| groups.iter().flat_map(|it| &it.members).any(|it| self.disk_of(it) == disk);
        let imported =
            self.pools.iter().find(|(_, pool)| has(&pool.groups)).map(|(name, _)| (name.as_str(), true));
        imported.or_else(|| {
            let there = self.importable.iter().find(|pool| has(&pool.groups));
            there.map(|pool| (pool.name.as_str(), false))
        })
    }

    /// A name of `/dev/disk/by-id` for a disk: the one that says most to a person.
    pub fn id_of<'a>(&'a self, disk: &'a str) -> &'a str {
        let all = self.ids.iter().filter(|(_, there)| *there == disk).map(|(id, _)| id.as_str());
        let rank = |id: &&str| (id.starts_with("wwn-") || id.starts_with("nvme-eui."), id.len());
        all.min_by_key(rank).unwrap_or(disk)
    }

    /// The datasets in one, at any depth.
    pub fn below<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = (&'a str, &'a Dataset)> {
        let inside = move |name: &str| name.strip_prefix(dataset).is_some_and(|rest| rest.starts_with('/'));
        self.datasets.iter().filter(move |(name, _)| inside(name)).map(|(name, it)| (name.as_str(), it))
    }
}

impl Pool {
    /// How full it is, in percent.
    pub fn percent(&self) -> u64 {
        self.allocated.saturating_mul(100).checked_div(self.size).unwrap_or(0)
    }
}

/// A disk's name without the partition that ZFS makes on it.
fn without_part(name: &str) -> &str {
    match name.rsplit_once("-part") {
        Some((disk, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => disk,
        _ => name,
    }
}

/// The disks of some groups, as [`Zfs::disk_of`] calls them.
pub fn disks<'a>(zfs: &'a Zfs, groups: &'a [Group]) -> BTreeSet<&'a str> {
    groups.iter().flat_map(|group| &group.members).map(|member| zfs.disk_of(member)).collect()
}
