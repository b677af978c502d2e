//! Storages of Proxmox VE.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSource;
use crate::values::{Fingerprint, GuestPath, NodeLabel, Text};

/// A storage of Proxmox VE: a definition of the datacenter, under which its nodes keep what guests are made of. It is exactly one
/// of `dir`, `btrfs`, `zfspool`, `lvm`, `lvmthin`, `nfs`, `cifs` and `pbs`, which says where it is; that cannot be changed later.
/// Phoenix makes, changes and removes the definition alone: what lies on the storage stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StorageSource {
    /// A folder of the nodes.
    #[schemars(extend("examples" = ["/srv/vms"]))]
    pub dir: Option<GuestPath>,
    /// A folder on a Btrfs file system of the nodes, where disks are subvolumes.
    #[schemars(extend("examples" = ["/srv/btrfs"]))]
    pub btrfs: Option<GuestPath>,
    /// A ZFS pool of the nodes, or a dataset in one.
    #[schemars(extend("examples" = ["tank/vms"]))]
    pub zfspool: Option<Text>,
    /// A volume group of LVM.
    #[schemars(extend("examples" = ["data"]))]
    pub lvm: Option<Text>,
    /// A thin pool of LVM: volume group and pool, `GROUP/POOL`.
    #[schemars(extend("examples" = ["pve/data"]))]
    pub lvmthin: Option<Text>,
    /// An export of an NFS server.
    pub nfs: Option<NfsSource>,
    /// A share of an SMB server.
    pub cifs: Option<CifsSource>,
    /// A datastore of a Proxmox Backup Server.
    pub pbs: Option<PbsSource>,
    /// What may lie on it. Where absent: `images` and `rootdir`, and `backup` for `pbs`.
    #[schemars(length(min = 1), extend("examples" = [["images", "rootdir"]]))]
    pub content: Option<Vec<StorageContentSource>>,
    /// The nodes that have it. Where absent: all.
    #[schemars(length(min = 1), extend("examples" = [["pve1", "pve2"]]))]
    pub nodes: Option<Vec<NodeLabel>>,
    /// Whether what lies on it is the same on each of its nodes, by means that Proxmox VE knows nothing of. `nfs`, `cifs` and
    /// `pbs` always are.
    #[schemars(extend("default" = false))]
    pub shared: Option<bool>,
    /// Whether it can be used.
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// Whether the node makes the folder, where it is not there, and the folders in it. With `false` the folder has to be there.
    #[schemars(extend("default" = true))]
    pub create: Option<bool>,
    /// Which backups stay, when backups of a guest are made here. Where absent: all.
    pub prune_backups: Option<PruneSource>,
    /// How much of a disk image in a file is taken when it is made.
    #[schemars(extend("default" = "metadata"))]
    pub preallocation: Option<PreallocationSource>,
    /// Whether volumes take no more than what is in them. For `zfspool`.
    #[schemars(extend("default" = false))]
    pub sparse: Option<bool>,
    /// Whether a snapshot of a machine's disk is a volume on top of another. Disks that are there stay as they are.
    #[schemars(extend("default" = false))]
    pub snapshot_as_volume_chain: Option<bool>,
    /// What has no key of its own here, under the name that Proxmox VE has for it. What is removed here is removed there.
    #[schemars(extend("examples" = [{ "bwlimit": "restore=102400" }]))]
    pub settings: Option<BTreeMap<String, String>>,
}

/// An export of an NFS server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NfsSource {
    /// The server's name or address.
    #[schemars(extend("examples" = ["10.0.0.20"]))]
    pub server: Text,
    /// What it exports.
    #[schemars(extend("examples" = ["/srv/backups"]))]
    pub export: GuestPath,
    /// Options of the mount.
    #[schemars(extend("examples" = ["vers=4.2"]))]
    pub options: Option<Text>,
}

/// A share of an SMB server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CifsSource {
    /// The server's name or address.
    #[schemars(extend("examples" = ["10.0.0.20"]))]
    pub server: Text,
    /// The share's name.
    #[schemars(extend("examples" = ["backups"]))]
    pub share: Text,
    /// Who logs in there. Where absent: a guest.
    pub user: Option<Text>,
    /// The user's password. The node keeps it in a file of root's alone.
    pub password: Option<SecretSource>,
    /// The user's domain.
    pub domain: Option<Text>,
    /// A folder of the share.
    #[schemars(extend("examples" = ["/pve"]))]
    pub subdir: Option<GuestPath>,
    /// Options of the mount.
    pub options: Option<Text>,
}

/// A datastore of a Proxmox Backup Server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PbsSource {
    /// The server's name or address.
    #[schemars(extend("examples" = ["10.0.0.30"]))]
    pub server: Text,
    /// The datastore's name.
    #[schemars(extend("examples" = ["main"]))]
    pub datastore: Text,
    /// Who logs in there: a user with its realm, or a token.
    #[schemars(extend("examples" = ["backup@pbs", "backup@pbs!pve"]))]
    pub user: Text,
    /// The user's password, or the token's secret. The node keeps it in a file of root's alone.
    pub password: SecretSource,
    /// The SHA-256 fingerprint of the server's certificate, where no authority vouches for it.
    pub fingerprint: Option<Fingerprint>,
    /// The namespace in the datastore.
    #[schemars(extend("examples" = ["pve"]))]
    pub namespace: Option<Text>,
    /// The port.
    #[schemars(range(min = 1, max = 65535), extend("default" = 8007))]
    pub port: Option<u16>,
}

/// What may lie on a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StorageContentSource {
    /// Disks of virtual machines.
    Images,
    /// Disks of containers.
    Rootdir,
    /// Container templates.
    Vztmpl,
    /// Installation media.
    Iso,
    /// Disk images that machines are made of.
    Import,
    /// Hook scripts, and files for cloud-init.
    Snippets,
    /// Backups.
    Backup,
}

/// Which backups of a guest stay: each key keeps the last of so many hours, days, weeks, months or years.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1))]
pub struct PruneSource {
    /// The newest.
    #[schemars(range(min = 1))]
    pub last: Option<u32>,
    /// Of so many hours.
    #[schemars(range(min = 1))]
    pub hourly: Option<u32>,
    /// Of so many days.
    #[schemars(range(min = 1))]
    pub daily: Option<u32>,
    /// Of so many weeks.
    #[schemars(range(min = 1))]
    pub weekly: Option<u32>,
    /// Of so many months.
    #[schemars(range(min = 1))]
    pub monthly: Option<u32>,
    /// Of so many years.
    #[schemars(range(min = 1))]
    pub yearly: Option<u32>,
}

/// How much of a disk image is taken when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PreallocationSource {
    /// Nothing.
    Off,
    /// What the image needs for itself.
    Metadata,
    /// All of it, without writing it.
    Falloc,
    /// All of it, written with zeros.
    Full,
}
