//! Shares of the node: what of a blueprint ends in which file, and who is let in.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers beside them")]

use blueprint::model::SecretRef;
use managers::features::Rendered;
use plan::desired::{Feature, Transport};
use plan::{Address, Desired, Host};

use crate::support::{Files, ROOT, desired};

/// A site with a share that everybody uses in a way of their own.
fn site() -> Desired {
    let site = r#"{
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "proxmox": { "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13" } },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "firewall": { "zero-trust": true },
        "hypervisor": {
            "features": [{ "samba": { "encrypt": "required" } }, "smart"],
            "zfs": { "tank": { "disks": ["ata-A"], "datasets": { "media": { "share": {
                "nfs": { "to": ["net.lan", "192.168.7.20"], "write": true }, "smb": { "users": ["heads"], "write": true }
            } } } } },
            "shares": {
                "photos": { "folder": "/srv/photos", "owner": "anna", "uid": 1000, "smb": {
                    "users": ["heads", "anna"], "from": ["192.168.7.0/24"], "passwords": { "anna": { "env": "ANNAS" } }
                } }
            }
        },
        "containers": {
            "films": {
                "template": "debian-12", "address": "10.0.0.20", "features": ["base"],
                "mounts": { "mp0": { "share": "media", "path": "/media" }, "mp1": { "share": "photos", "path": "/photos", "owner": { "uid": 107 } } }
            },
            "plain": { "template": "debian-12", "address": "10.0.0.22", "mounts": { "mp0": { "share": "media", "path": "/media" } } }
        },
        "vms": {
            "player": { "image": "local:import/debian-13.qcow2", "address": "10.0.0.21", "mounts": { "mp0": { "share": "media", "path": "/media" } } }
        }
    }"#;
    let files: Files = [("site.json".into(), site.as_bytes().to_vec())].into();
    desired(&files, ROOT).unwrap_or_else(|e| panic!("{e}"))
}

fn rendered(features: &[Feature], name: &str) -> Rendered {
    let feature = features.iter().find(|feature| feature.name == name).unwrap();
    serde_json::from_value((*feature.payload).clone()).unwrap()
}

fn file(features: &[Feature], name: &str, path: &str) -> String {
    let file = rendered(features, name).files.into_iter().find(|file| file.path == path).unwrap();
    String::from_utf8(file.content.bytes().to_vec()).unwrap()
}

/// A section of Samba's file.
fn section(config: &str, name: &str) -> Vec<String> {
    let after = config.split(&format!("[{name}]\n")).nth(1).unwrap();
    let lines = after.lines().take_while(|line| !line.starts_with('['));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_is_said_of_a_share_is_in_every_file() {
    let desired = site();
    let names: Vec<&str> = desired.on_node.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["share-folders", "samba", "smart", "zfs-schedule", "nfs-server"]);
    let media = &desired.shares["media"];
    let (uid, gid) = (media.owner.id, media.group.id);
    let folders = file(&desired.on_node, "share-folders", "/etc/phoenix/share-folders");
    let line = format!("media\t/tank/media\t/tank/media\tshare-media\t{uid}\tshare-media\t{gid}\t2770");
    assert!(folders.lines().any(|it| it == line), "{folders}");
    assert!(folders.contains("photos\t/srv/photos\t-\tanna\t1000\tanna\t1000\t2770\n"), "{folders}");
    let exports = file(&desired.on_node, "nfs-server", "/etc/exports.d/phoenix.exports");
    let options =
        format!("(rw,sync,no_subtree_check,sec=sys,root_squash,anonuid={uid},anongid={gid},mp=/tank/media)");
    assert!(
        exports.contains(&format!("/tank/media 10.0.0.0/24{options} 192.168.7.20{options}\n")),
        "{exports}"
    );
    assert!(!exports.contains("photos") && !exports.contains("no_root_squash"), "{exports}");
    let config = file(&desired.on_node, "samba", "/etc/samba/smb.conf");
    for line in ["server smb encrypt = required", "map to guest = never", "server min protocol = SMB3"] {
        assert!(section(&config, "global").iter().any(|it| it == line), "{config}");
    }
    for line in [
        "read only = no",
        "valid users = heads",
        "hosts allow = 127.0.0.1 10.0.0.0/24",
        "force user = share-media",
    ] {
        assert!(section(&config, "media").iter().any(|it| it == line), "{line}: {config}");
    }
    for line in [
        "read only = yes",
        "valid users = anna heads",
        "hosts allow = 127.0.0.1 192.168.7.0/24",
        "force user = anna",
    ] {
        assert!(section(&config, "photos").iter().any(|it| it == line), "{line}: {config}");
    }
    // Passwords are references, and a user has one.
    let samba = rendered(&desired.on_node, "samba");
    assert_eq!(samba.secrets, [SecretRef::Env("ANNAS".into()), SecretRef::Generate("smb-heads".into())]);
}

#[test]
fn whoever_is_named_is_let_in_and_nobody_else() {
    let desired = site();
    let there: Vec<String> = desired
        .flows
        .iter()
        .filter(|flow| flow.id.starts_with("share."))
        .map(|flow| {
            assert_eq!(flow.protocol, Transport::Tcp);
            format!("{}: {} to {} at {:?}", flow.id, flow.from, flow.to, flow.ports)
        })
        .collect();
    assert_eq!(
        there,
        [
            "share.media.nfs.10.0.0.0-24: 10.0.0.0/24 to the node at [2049]",
            "share.media.nfs.192.168.7.20-32: 192.168.7.20/32 to the node at [2049]",
            "share.media.nfs.player: vm.player to the node at [2049]",
            "share.media.smb.10.0.0.0-24: 10.0.0.0/24 to the node at [445]",
            "share.photos.smb.192.168.7.0-24: 192.168.7.0/24 to the node at [445]",
        ]
    );
}

#[test]
fn guests_mount_what_they_name_after_it_is_there() {
    let desired = site();
    let owner = desired.shares["media"].owner.id;
    let list =
        |guest: &str| file(&desired.guests[guest].features, "share-mounts", "/etc/phoenix/share-mounts");
    assert_eq!(list("films"), "/media\t-\trw\t0\t0\n/photos\t-\tro\t107\t107\n");
    assert_eq!(list("player"), "/media\t10.0.0.13:/tank/media\trw\t0\t0\n");
    let table = file(&desired.guests["player"].features, "share-mounts", "/etc/fstab");
    assert!(table.starts_with("10.0.0.13:/tank/media /media nfs4 rw,nfsvers=4.2,"), "{table}");
    // Where nothing is put in otherwise, nothing is.
    assert!(desired.guests["plain"].features.is_empty());
    let mounts = &desired.guests["films"].container().unwrap().mounts;
    let one = |slot: u8| (mounts[&slot].read_only, mounts[&slot].owner.unwrap());
    let of = |inside, outside| blueprint::model::Owner::One {
        users: (inside, outside),
        groups: (inside, outside),
    };
    assert_eq!((one(0), one(1)), ((false, of(0, owner)), (true, of(107, 1000))));
    // The dataset, then what shares it, then guests.
    let feature = |name: &str| Address::feature(name, &Host::THE_NODE);
    let needs = |from: &Address, to: &Address| desired.graph.needs_of_needs(from).contains(&to);
    assert!(needs(&feature("share-folders"), &Address::dataset("tank/media")));
    for name in ["nfs-server", "samba"] {
        assert!(needs(&feature(name), &feature("share-folders")), "{name}");
        assert!(needs(&Address::container("plain"), &feature(name)), "{name}");
    }
}
