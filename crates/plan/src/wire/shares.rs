//! Folders of the node that others use: what the features are told that share them, and who may come there.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint::model::{Blueprint, FeatureUse, Guest, NFS_SERVER, SAMBA, SHARE_FOLDERS, Share, SharedMount};
use cidr::Ipv4Cidr;

use crate::told::{self, Told};

/// The port of NFS, of which version 4 has no other.
pub(super) const NFS: u16 = 2049;
/// The port of SMB, without the older ones of NetBIOS.
pub(super) const SMB: u16 = 445;

type Shares = BTreeMap<String, Arc<Share>>;

/// The shares of a blueprint.
pub(super) fn of(blueprint: &Blueprint) -> Shares {
    blueprint.hypervisor.as_ref().map(|node| node.shares.clone()).unwrap_or_default()
}

/// The features that they take, in order.
pub(super) fn features(shares: &Shares, like: &FeatureUse) -> Vec<FeatureUse> {
    let needed = |name: &&str| shares.values().any(|share| share.features().any(|it| it == *name));
    let uses = [SHARE_FOLDERS, NFS_SERVER, SAMBA].into_iter().filter(needed);
    uses.map(|name| FeatureUse { name: name.to_owned(), ..like.clone() }).collect()
}

/// What the features of the node are told.
pub(super) fn told(shares: &Shares) -> Told {
    let folders = shares.values().map(|share| told::ShareFolder {
        share: share.name.clone(),
        path: share.path.clone(),
        mounted: share.mounted.clone().unwrap_or_default(),
        owner: share.owner.name.clone(),
        uid: share.owner.id,
        group: share.group.name.clone(),
        gid: share.group.id,
        mode: share.mode.clone(),
    });
    let exports = shares.values().filter_map(|share| {
        let nfs = share.nfs.as_ref()?;
        Some(told::Export {
            share: share.name.clone(),
            path: share.path.clone(),
            mounted: share.mounted.clone().unwrap_or_default(),
            to: nfs.to.iter().map(net).collect(),
            write: nfs.write,
            no_root_squash: nfs.no_root_squash,
            uid: share.owner.id,
            gid: share.group.id,
        })
    });
    let sections = shares.values().filter_map(|share| {
        let smb = share.smb.as_ref()?;
        Some(told::SmbShare {
            share: share.name.clone(),
            path: share.path.clone(),
            mounted: share.mounted.clone().unwrap_or_default(),
            owner: share.owner.name.clone(),
            group: share.group.name.clone(),
            users: smb.users.keys().cloned().collect(),
            from: smb.from.iter().map(net).collect(),
            write: smb.write,
            open: share.open,
        })
    });
    let users: BTreeMap<_, _> =
        shares.values().flat_map(|share| share.smb.iter()).flat_map(|it| &it.users).collect();
    let users = users.into_iter().map(|(user, secret)| told::User {
        user: user.clone(),
        password: told::Secret { secret: secret.clone() },
    });
    Told {
        share_folders: Some(folders.collect()),
        exports: Some(exports.collect()),
        smb_shares: Some(sections.collect()),
        smb_users: Some(users.collect()),
        ..Told::default()
    }
}

/// What a guest is told of the shares that it mounts.
pub(super) fn mounts(guest: &Guest) -> Option<Vec<told::ShareMount>> {
    let mount = |mount: &SharedMount| told::ShareMount {
        share: mount.share.clone(),
        path: mount.path.clone(),
        source: mount.source.clone().unwrap_or_default(),
        write: mount.write,
        uid: mount.as_whom.0,
        gid: mount.as_whom.1,
    };
    (!guest.shares.is_empty()).then(|| guest.shares.iter().map(mount).collect())
}

/// `10.0.0.5`, `10.0.0.0/24`.
fn net(net: &Ipv4Cidr) -> String {
    if net.network_length() == 32 { net.first_address().to_string() } else { format!("{net:#}") }
}

/// Who comes to a share, and where: a word for it, the networks, the port.
pub(super) fn doors(share: &Share) -> impl Iterator<Item = (&'static str, &[Ipv4Cidr], u16)> {
    let nfs = share.nfs.as_ref().map(|it| ("nfs", it.to.as_slice(), NFS));
    let smb = share.smb.as_ref().map(|it| ("smb", it.from.as_slice(), SMB));
    nfs.into_iter().chain(smb)
}
