//! Pools and datasets of ZFS.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSource;
use super::share::DatasetShareSource;
use crate::values::{DatasetPath, DiskName, Keep, Text, ZfsSize};

/// A pool of ZFS: disks that hold datasets together. Phoenix makes it, grows it, replaces its disks, and imports it where it is
/// there already; it never makes one out of disks that have something on them, unless `wipe` says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PoolSource {
    /// How the disks of a group stand in for each other. It cannot be changed later.
    #[schemars(extend("default" = "stripe"))]
    pub layout: Option<LayoutSource>,
    /// Its disks, by their names in `/dev/disk/by-id`: a list is one group, a list of lists are several. A group that is added
    /// makes the pool larger; a disk that takes another's place is a replacement, and its data is copied to it.
    #[schemars(extend("examples" = [["ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0AAAAAA", "ata-WDC_WD40EFRX-68N32N0_WD-WCC7K0BBBBBB"]]))]
    #[schemars(length(min = 1))]
    pub disks: Vec<DisksForm>,
    /// Disks for metadata and small files. Several are a mirror. The pool is lost with them.
    #[schemars(length(min = 1))]
    pub special: Option<Vec<DiskName>>,
    /// Disks for synchronous writes. Several are a mirror.
    #[schemars(length(min = 1))]
    pub log: Option<Vec<DiskName>>,
    /// Disks that keep copies of what is read often.
    #[schemars(length(min = 1))]
    pub cache: Option<Vec<DiskName>>,
    /// Disks that step in when another fails.
    #[schemars(length(min = 1))]
    pub spare: Option<Vec<DiskName>>,
    /// The size of the disks' sectors, as a power of two: 12 is 4 KiB. It cannot be changed later. Where absent: 12.
    #[schemars(range(min = 9, max = 16), extend("default" = 12))]
    pub ashift: Option<u8>,
    /// The serial numbers of disks whose content may be destroyed, where they are new to the pool and have something on them. A
    /// disk that is in use, or in another pool, stays as it is all the same.
    #[schemars(extend("examples" = [["WD-WCC7K0AAAAAA"]]))]
    pub wipe: Option<Vec<Text>>,
    /// How often all that is on it is read and compared.
    #[schemars(extend("default" = "monthly"))]
    pub scrub: Option<ScrubSource>,
    /// Whether disks are told at once what is free on them.
    #[schemars(extend("default" = false))]
    pub autotrim: Option<bool>,
    /// How its data is compressed, where a dataset says nothing else.
    #[schemars(extend("examples" = ["zstd"]))]
    pub compression: Option<Text>,
    /// Properties of the pool under the names that ZFS has for them (zpoolprops(7)). What is removed here keeps its value.
    #[schemars(extend("examples" = [{ "failmode": "continue" }]))]
    pub properties: Option<BTreeMap<String, Text>>,
    /// Its datasets, by name: `media`, and `media/films` in it.
    #[schemars(extend("propertyNames" = dataset_name()))]
    pub datasets: Option<BTreeMap<String, DatasetSource>>,
}

/// The schema of a pool's name.
pub(super) fn pool_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z][A-Za-z0-9_.-]*$", "x-parse": "zfs-pool" })
}

/// The schema of a dataset's name below its pool.
fn dataset_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:-]*(/[A-Za-z0-9][A-Za-z0-9_.:-]*)*$", "x-parse": "zfs-dataset" })
}

/// How the disks of a group stand in for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LayoutSource {
    /// Not at all: with one disk, all is lost.
    Stripe,
    /// Each has the same on it.
    Mirror,
    /// Any one of them may fail.
    Raidz1,
    /// Any two of them may fail.
    Raidz2,
    /// Any three of them may fail.
    Raidz3,
}

/// A disk, or a group of disks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DisksForm {
    /// A disk of the one group that there is.
    Disk(DiskName),
    /// A group.
    Group(#[schemars(length(min = 1))] Vec<DiskName>),
}

/// How often a pool is read and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScrubSource {
    /// Each week.
    Weekly,
    /// Each month.
    Monthly,
    /// Not by Phoenix.
    Never,
}

/// A dataset: a file system in a pool. What it says nothing of, it has from the one that it is in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatasetSource {
    /// The most that it may hold, with its snapshots and all in it.
    pub quota: Option<ZfsSize>,
    /// What is kept free for it.
    pub reservation: Option<ZfsSize>,
    /// How its data is compressed.
    #[schemars(extend("examples" = ["zstd"]))]
    pub compression: Option<Text>,
    /// The largest piece in which files are kept, a power of two: `1M` for large files, `16K` for a database.
    #[schemars(extend("examples" = ["1M"]))]
    pub record_size: Option<ZfsSize>,
    /// A snapshot each day, which stays for so long. What is in it has snapshots of its own, where it does not say otherwise.
    #[schemars(extend("examples" = ["14d"]))]
    pub snapshots: Option<Keep>,
    /// A copy of its snapshots in another pool, which is brought up to date after each of them.
    #[schemars(extend("examples" = [{ "to": "backup/media", "keep": "90d" }]))]
    pub replicate: Option<ReplicateSource>,
    /// Where it is mounted: an absolute path, or `none`. Where absent: below where the one is that it is in, `/tank/media`.
    #[schemars(extend("examples" = ["/srv/media"]))]
    pub mountpoint: Option<Text>,
    /// Has all that is in it be encrypted, with the datasets in it. It cannot be changed later; the key can.
    #[schemars(extend("examples" = [{ "key": { "generate": "tank-private" } }]))]
    pub encryption: Option<EncryptionSource>,
    /// Who else uses it: guests, by the share's name, and others by NFS and SMB.
    #[schemars(extend("examples" = [{ "nfs": { "to": ["net.lan"], "write": true }, "smb": { "users": ["heads"], "write": true } }]))]
    pub share: Option<DatasetShareSource>,
    /// Properties under the names that ZFS has for them (zfsprops(7)). What is removed here is what it has from the one that it
    /// is in again.
    #[schemars(extend("examples" = [{ "atime": "off" }]))]
    pub properties: Option<BTreeMap<String, Text>>,
}

/// A copy of a dataset's snapshots. What is encrypted stays so: its copy takes no key, and opens with the same one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReplicateSource {
    /// The whole name of the copy, in another pool of the same node: `backup/media`. It is made by the first copy, is never mounted
    /// by itself and cannot be written to.
    #[schemars(extend("examples" = ["backup/media"]))]
    pub to: DatasetPath,
    /// How long snapshots stay there; as long as in the dataset itself where nothing is said.
    #[schemars(extend("examples" = ["90d"]))]
    pub keep: Option<Keep>,
}

/// How a dataset is encrypted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncryptionSource {
    /// The key: one line of 8 to 512 bytes. Without it nobody reads the data again, so keep a copy elsewhere. A value that
    /// changes becomes the new key, at once.
    pub key: SecretSource,
    /// How the key is there after a start of the node.
    #[schemars(extend("default" = "at-start"))]
    pub unlock: Option<UnlockSource>,
}

/// How the key of a dataset is there after a start of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnlockSource {
    /// It lies on the node's system disk, in a file that only root reads, and is loaded before guests start. Disks of the pool
    /// that are taken away alone tell nothing; the whole node does.
    AtStart,
    /// It lies nowhere on the node: `phoenix-cli apply` loads it after each start.
    ByHand,
}
