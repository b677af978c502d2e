//! Mount points of guests: volumes, folders of the node, and shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use super::guests::Around;
use super::merge::Merged;
use crate::codes;
use crate::model::{
    Disk, FeatureUse, GuestKind, Hypervisor, Mount, MountSource as Shown, Nic, NicAddress, Owner,
    SHARE_MOUNTS, Share, SharedMount, Target,
};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{GuestSource, MountSource, OwnerForm, OwnerSource, OwnerWord};
use crate::values::SharePath;

/// Checks what can be told of a mount point where it is written.
pub(super) fn check_mount<T>(
    entry: &Entry<'_, T>,
    slot: &str,
    mount: &MountSource,
    context: &mut Context<'_, '_>,
) {
    let written = |key: &str| {
        entry.node().get("mounts").and_then(|m| m.get(slot)).is_some_and(|m| m.get(key).is_some())
    };
    let spot = |key: &str| entry.key_spot(&["mounts", slot, key]);
    if written("share") {
        for key in ["host", "size", "storage"] {
            if written(key) {
                let message = format!("`share` and `{key}` exclude each other in `{slot}`");
                let draft = Draft::error(codes::BAD_MOUNT, spot(key), message)
                    .related(spot("share"), "a folder of the node");
                context.push(draft.hint("the share says where its folder is"));
            }
        }
        if mount.backup == Some(true) {
            let message = format!("`{slot}` cannot be in backups: it is a share of the node");
            context.push(Draft::error(codes::BAD_MOUNT, spot("backup"), message));
        }
    } else if written("host") {
        for key in ["size", "storage"] {
            if written(key) {
                let message = format!("`host` and `{key}` exclude each other in `{slot}`");
                let draft = Draft::error(codes::BAD_MOUNT, spot(key), message)
                    .related(spot("host"), "a folder of the node");
                context.push(draft.hint("a folder of the node has no storage and no size"));
            }
        }
        if mount.backup == Some(true) {
            let message = format!("`{slot}` cannot be in backups: it is a folder of the node");
            context.push(Draft::error(codes::BAD_MOUNT, spot("backup"), message));
        }
    } else if !written("size") {
        let message = format!("the mount point `{slot}` needs the key `size`, `host` or `share`");
        let draft = Draft::error(codes::BAD_MOUNT, entry.key_spot(&["mounts", slot]), message);
        context.push(draft.hint(
            "`size` makes a volume of its own, `host` shows a folder of the node, `share` one that is shared there",
        ));
    }
}

/// The mount points of a container.
pub(super) fn mounts(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    merged: &Merged,
    node: Option<&Hypervisor>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<u8, Mount> {
    let mut mounts: BTreeMap<u8, Mount> = BTreeMap::new();
    for (slot, mount) in &merged.mounts {
        let share = mount.share.as_ref().and_then(|name| node?.shares.get(&name.0));
        let source = match (&mount.host, mount.size, share) {
            (None, None, Some(share)) => Shown::Host(share.path.clone()),
            (Some(host), None, None) if mount.share.is_none() => Shown::Host(host.0.clone()),
            (None, Some(size), None) if mount.share.is_none() => {
                let storage = mount.storage.as_ref().map(|s| s.0.clone());
                Shown::Volume(Disk { storage, size_mib: size.mib })
            }
            // Reported where it is written.
            _ => continue,
        };
        let path = mount.path.0.trim_end_matches('/').to_owned();
        if let Some((other, _)) = mounts.iter().find(|(_, m)| m.path == path) {
            let message = format!("`mp{other}` and `mp{slot}` of `{name}` both have the path `{path}`");
            let spot = entry.spot(&["mounts", &format!("mp{slot}"), "path"]);
            context.push(Draft::error(codes::BAD_MOUNT, spot, message));
        }
        let unprivileged = merged.settings.unprivileged.unwrap_or(true);
        let cannot = match (mount.quota, mount.owner) {
            // Accepted, and then it does not start (recorded: "start with quota=1 unprivileged").
            (Some(true), _) if unprivileged || mount.size.is_none() => {
                Some(("quota", "quotas count in volumes of privileged containers alone"))
            }
            (_, Some(_)) if !unprivileged => {
                Some(("owner", "in a privileged container numbers are the node's"))
            }
            _ => None,
        };
        if let Some((key, why)) = cannot {
            let spot = entry.spot(&["mounts", &format!("mp{slot}"), key]);
            let message = format!("`mp{slot}` of `{name}` cannot have `{key}`");
            context.push(Draft::error(codes::BAD_MOUNT, spot, message).hint(why));
        }
        let backup = mount.backup.unwrap_or(mount.size.is_some());
        let read_only = mount.read_only.unwrap_or(share.is_some_and(|share| !share.is_written()));
        let MountSource { ref options, acl, quota, replicate, shared, .. } = *mount;
        let options = options.clone();
        mounts.insert(
            *slot,
            Mount {
                path,
                source,
                read_only,
                backup,
                options,
                acl,
                quota,
                replicate,
                shared,
                owner: owner(mount, share.filter(|_| unprivileged)),
            },
        );
    }
    mounts
}

/// Whose files are whose. Without a word of it, root inside is the owner of a share.
fn owner(mount: &MountSource, share: Option<&Arc<Share>>) -> Option<Owner> {
    let (users, groups) = match share {
        Some(share) => (Some(share.owner.id), Some(share.group.id)),
        None => (None, None),
    };
    let Some(said) = mount.owner else {
        return Some(Owner::One { users: (0, users?), groups: (0, groups?) });
    };
    Some(match said {
        OwnerForm::Word(OwnerWord::Same) => Owner::Same,
        OwnerForm::One(OwnerSource { uid, gid, host_uid, host_gid }) => {
            let gid = gid.unwrap_or(uid);
            Owner::One {
                users: (uid, host_uid.or(users).unwrap_or(uid)),
                groups: (gid, host_gid.or(groups).unwrap_or(gid)),
            }
        }
    })
}

/// The feature that mounts shares, and looks whether they can be used: it comes by itself.
pub(super) fn by_itself(entry: &Entry<'_, GuestSource>, context: &Context<'_, '_>) -> FeatureUse {
    FeatureUse {
        name: SHARE_MOUNTS.to_owned(),
        parameters: BTreeMap::new(),
        contents: BTreeMap::new(),
        declared: entry.location(context.report),
    }
}

/// The shares that a guest mounts.
pub(super) fn shared(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    merged: &Merged,
    nets: &BTreeMap<u8, Nic>,
    around: Around<'_>,
    context: &mut Context<'_, '_>,
) -> Vec<SharedMount> {
    let is_vm = entry.value.as_ref().is_some_and(|source| source.of == GuestKind::Vm);
    let mut all: Vec<SharedMount> = Vec::new();
    for (slot, mount) in &merged.mounts {
        let one = One { name, entry, slot: format!("mp{slot}") };
        let Some(said) = &mount.share else {
            // A type serves both kinds: what is of containers there is left out.
            if is_vm && entry.node().get("mounts").is_some_and(|it| it.get(&one.slot).is_some()) {
                let message = format!("the virtual machine `{name}` can mount shares alone");
                one.refuse(
                    "path",
                    message,
                    "a virtual machine has `disks` for volumes, and `folders` for folders of the node",
                    context,
                );
            }
            continue;
        };
        let shares = around.node.map(|node| &node.shares);
        let Some(share) = shares.and_then(|all| all.get(&said.0)) else {
            let names: Vec<&str> =
                shares.into_iter().flat_map(|all| all.keys()).map(String::as_str).collect();
            if !context.is_damaged("shares", &said.0) {
                context.dangling(one.spot("share"), "share", &said.0, &names);
            }
            continue;
        };
        let path = mount.path.0.trim_end_matches('/').to_owned();
        if is_vm && all.iter().any(|other| other.path == path) {
            one.refuse(
                "path",
                format!("two mount points of `{name}` have the path `{path}`"),
                "give one another",
                context,
            );
        }
        let (source, write, as_whom) = if is_vm {
            let Some(found) = one.by_nfs(share, mount, nets, around, context) else { continue };
            // Root of a client is the owner.
            (Some(found.0), found.1, (0, 0))
        } else {
            one.is_here(share, around, context);
            let as_whom = match owner(mount, Some(share)) {
                Some(Owner::One { users, groups }) if merged.settings.unprivileged.unwrap_or(true) => {
                    (users.0, groups.0)
                }
                _ => (share.owner.id, share.group.id),
            };
            (None, !mount.read_only.unwrap_or(!share.is_written()), as_whom)
        };
        all.push(SharedMount { share: share.name.clone(), path, source, write, as_whom });
    }
    all
}

/// A mount point of a share.
struct One<'a> {
    name: &'a str,
    entry: &'a Entry<'a, GuestSource>,
    slot: String,
}

impl One<'_> {
    fn spot(&self, key: &str) -> Spot {
        // What a type says has its place there, and the guest is what is wrong with it.
        let path = ["mounts", self.slot.as_str(), key];
        match self.entry.node().get("mounts").and_then(|it| it.get(&self.slot)?.get(key)) {
            Some(_) => self.entry.spot(&path),
            None => self.entry.key(),
        }
    }

    fn refuse(&self, key: &str, message: String, hint: &str, context: &mut Context<'_, '_>) {
        let draft = Draft::error(codes::BAD_MOUNT, self.spot(key), message);
        context.push(draft.hint(hint.to_owned()));
    }

    /// A container can be shown a folder of its own node alone.
    fn is_here(&self, share: &Share, around: Around<'_>, context: &mut Context<'_, '_>) {
        let of_target = match around.target {
            Some(Target::Proxmox(target)) => target.node.as_ref(),
            _ => None,
        };
        let own = self.entry.value.as_ref().and_then(|source| source.node.as_ref());
        if let (Some(node), Some(own)) = (of_target, own)
            && **node != *own.0
        {
            let message = format!("`{}` is on {own}, and the share `{}` is on {node}", self.name, share.name);
            self.refuse("share", message, "a container can be shown folders of its own node alone", context);
        }
    }

    /// What a virtual machine mounts, and whether it can write there.
    fn by_nfs(
        &self,
        share: &Share,
        mount: &MountSource,
        nets: &BTreeMap<u8, Nic>,
        around: Around<'_>,
        context: &mut Context<'_, '_>,
    ) -> Option<(String, bool)> {
        let (name, called) = (self.name, &share.name);
        let Some(nfs) = &share.nfs else {
            let message = format!("`{name}` cannot mount the share `{called}`, which is not exported by NFS");
            let hint =
                "virtual machines mount shares by NFS: add \"nfs\": { \"to\": [\"net.NAME\"] } to the share";
            self.refuse("share", message, hint, context);
            return None;
        };
        let network = |nic: &Nic| around.networks.get(&**nic.network.as_ref()?);
        let from = nets.values().find(|nic| {
            nfs.to.iter().any(|net| match (nic.address, network(nic)) {
                (NicAddress::Static(inet), _) => net.contains(&inet.address()),
                (NicAddress::Dhcp, Some(network)) => {
                    net.contains(&network.subnet.first_address())
                        && net.contains(&network.subnet.last_address())
                }
                (NicAddress::Dhcp, None) => false,
            })
        });
        let Some(nic) = from else {
            let message = format!(
                "`{name}` cannot mount the share `{called}`: it is nowhere to where that is exported"
            );
            self.refuse(
                "share",
                message,
                "add its network, or its address, to the share's `nfs.to`",
                context,
            );
            return None;
        };
        let node = around.node?;
        let own = node.network.get(nic.bridge.0.as_str()).and_then(|link| link.address);
        let Some(address) = own.map(|inet| inet.address()).or(node.address) else {
            let message =
                format!("`{name}` cannot mount the share `{called}`: the address of the node is not known");
            self.refuse("share", message, "add `address` to `hypervisor`", context);
            return None;
        };
        if mount.path.0.parse::<SharePath>().is_err() {
            let message =
                format!("the share `{called}` cannot be mounted at `{}`", mount.path.0.escape_debug());
            self.refuse("path", message, "letters, digits and `_.:@+-`, such as \"/srv/media\"", context);
        }
        if mount.read_only == Some(false) && !nfs.write {
            let message =
                format!("`{name}` cannot write in the share `{called}`, which is exported to be read");
            self.refuse(
                "read-only",
                message,
                "add \"write\": true to the share's `nfs`, or leave this out",
                context,
            );
        }
        for (key, said) in [
            ("owner", mount.owner.is_some()),
            ("options", mount.options.is_some()),
            ("acl", mount.acl.is_some()),
            ("quota", mount.quota.is_some()),
            ("replicate", mount.replicate.is_some()),
            ("shared", mount.shared.is_some()),
        ] {
            if said {
                let message = format!("`{key}` is of containers alone, and `{name}` is a virtual machine");
                self.refuse(
                    key,
                    message,
                    "leave it out: what is mounted by NFS is as the share says",
                    context,
                );
            }
        }
        Some((format!("{address}:{}", share.path), nfs.write && !mount.read_only.unwrap_or(false)))
    }
}
