//! Folders of the node that others use.

use std::collections::BTreeMap;

use cidr::Ipv4Cidr;

use super::{Location, SecretRef};

/// The feature of the node that has the folders of shares belong to whom they are to belong.
pub const SHARE_FOLDERS: &str = "share-folders";
/// The feature of the node that exports folders by NFS.
pub const NFS_SERVER: &str = "nfs-server";
/// The feature of the node that shares folders by SMB.
pub const SAMBA: &str = "samba";
/// The feature of guests that mounts shares by NFS, and looks whether they can be used.
pub const SHARE_MOUNTS: &str = "share-mounts";

/// A folder of the node that others use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// The folder.
    pub path: String,
    /// Where the dataset is mounted that it is on, where that is declared: what is there without it is another disk's.
    pub mounted: Option<String>,
    /// To whom it belongs.
    pub owner: Named,
    /// Its group.
    pub group: Named,
    /// The folder's mode: `2770`.
    pub mode: String,
    /// Whether everybody may write in it.
    pub open: bool,
    /// How it is exported by NFS.
    pub nfs: Option<Export>,
    /// How it is shared by SMB.
    pub smb: Option<Smb>,
    /// Where it is declared.
    pub declared: Location,
}

/// A user or a group of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The number.
    pub id: u32,
}

/// An export of NFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Who may mount it.
    pub to: Vec<Ipv4Cidr>,
    /// Whether it may be written.
    pub write: bool,
    /// Whether root of a client is root.
    pub no_root_squash: bool,
}

/// A share of Samba.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smb {
    /// Who opens it, with their passwords.
    pub users: BTreeMap<String, SecretRef>,
    /// From where.
    pub from: Vec<Ipv4Cidr>,
    /// Whether it may be written.
    pub write: bool,
}

impl Share {
    /// Whether anybody beside the node writes in it.
    pub fn is_written(&self) -> bool {
        self.open
            || self.nfs.as_ref().is_some_and(|it| it.write)
            || self.smb.as_ref().is_some_and(|it| it.write)
    }

    /// The features of the node that carry it out.
    pub fn features(&self) -> impl Iterator<Item = &'static str> {
        let nfs = self.nfs.as_ref().map(|_| NFS_SERVER);
        let smb = self.smb.as_ref().map(|_| SAMBA);
        std::iter::once(SHARE_FOLDERS).chain(nfs).chain(smb)
    }
}

/// A share that a guest mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMount {
    /// Its name.
    pub share: String,
    /// Where it appears inside.
    pub path: String,
    /// What is mounted by NFS: `10.0.0.13:/srv/media`; nothing where the folder itself is mounted.
    pub source: Option<String>,
    /// Whether it can be written.
    pub write: bool,
    /// The numbers of the user and the group in the guest who are the share's owner there.
    pub as_whom: (u32, u32),
}
