//! Folders of the node that others use.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::target::SecretSource;
use crate::values::{ClientName, FolderMode, ShareName, SharePath, UnixName};

/// The schema of a share's name.
pub(super) fn share_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[a-z0-9]([a-z0-9-]{0,24}[a-z0-9])?$", "x-parse": "share-name" })
}

/// What all shares can say, said once: the two forms differ in what is shared.
macro_rules! shares {
    ($($(#[$about:meta])* $name:ident { $(#[$own_about:meta])* $own:ident: $own_type:ty })*) => {$(
        $(#[$about])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            $(#[$own_about])*
            pub $own: $own_type,
            /// The user of the node to whom the folder belongs. Where absent, a user of its own, `share-NAME`, who cannot log in.
            pub owner: Option<UnixName>,
            /// The number of `owner`. Where absent, one from 20000 to 29999 that follows from the share's name; with `owner`, it has to
            /// be said (`id -u NAME` on the node), since guests know users by their numbers.
            #[schemars(range(min = 1, max = 65533))]
            pub uid: Option<u32>,
            /// The group of the folder, which what is new in it has, too. Where absent, called as the owner is.
            pub group: Option<UnixName>,
            /// The number of `group`. Where absent, the owner's; with `group`, it has to be said.
            #[schemars(range(min = 1, max = 65533))]
            pub gid: Option<u32>,
            /// The folder's own mode. What is in it keeps its own. Where absent, `2770`: for owner and group alone; with `open`, `2777`.
            pub mode: Option<FolderMode>,
            /// Whether everybody on the node, and everybody whom NFS lets in, may write in it.
            #[schemars(extend("default" = false))]
            pub open: Option<bool>,
            /// Who mounts it by NFS (version 4).
            pub nfs: Option<ExportSource>,
            /// Who opens it by SMB, as Windows, macOS and phones do.
            pub smb: Option<SmbSource>,
        }
    )*};
}

shares! {
    /// A folder of the node that others use: guests, by name (`"share": "media"` of a mount), and by NFS or SMB those who are
    /// named. Nobody writes unless it says so. What is in the folder is never changed, and stays when the share goes.
    ShareSource {
        /// The folder. Where it is not there, it is made.
        folder: SharePath
    }
    /// What a dataset is shared as: the folder is the dataset's.
    DatasetShareSource {
        /// The share's name. Where absent, the last part of the dataset's.
        name: Option<ShareName>
    }
}

/// An export of NFS, version 4.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExportSource {
    /// From where it may be mounted, which the firewall follows: `net.NAME` is a network of the blueprint. Who is there is
    /// believed who they are: NFS has no passwords.
    #[schemars(length(min = 1), extend("examples" = serde_json::json!([["net.lan"]])))]
    pub to: Vec<ClientName>,
    /// Whether it may be written.
    #[schemars(extend("default" = false))]
    pub write: Option<bool>,
    /// Whether root of a client is root here: then it owns, reads and changes all that is in the folder. Otherwise it is the
    /// share's owner.
    #[schemars(extend("default" = false))]
    pub no_root_squash: Option<bool>,
}

/// A share of Samba (SMB 3).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SmbSource {
    /// Who opens it, each with a password. Users who are not there are made on the node, and cannot log in there.
    #[schemars(length(min = 1), extend("examples" = serde_json::json!([["heads"]])))]
    pub users: Vec<UnixName>,
    /// Their passwords, by user, where they are not to be made: a user has one, in whichever share it is said.
    #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^[a-z_][a-z0-9_-]{0,31}$", "x-parse": "unix-name"})))]
    pub passwords: Option<BTreeMap<String, SecretSource>>,
    /// From where, which the firewall follows. Where absent, from all networks of the blueprint.
    #[schemars(length(min = 1), extend("examples" = serde_json::json!([["net.lan", "192.168.7.0/24"]])))]
    pub from: Option<Vec<ClientName>>,
    /// Whether it may be written.
    #[schemars(extend("default" = false))]
    pub write: Option<bool>,
}
