//! The keys of a container's configuration that Phoenix sets. Facts about them: pve-container (`PVE/LXC/Config.pm`, `PVE/LXC.pm`),
//! and what a real node of Proxmox VE 9.2 answered to each, stopped and running, by token and by root.

use std::collections::BTreeSet;

use blueprint::model::{Container, MountSource, Owner};
use blueprint::source::{ConsoleSource, DeviceSource, MountOption};
use plan::desired::{Guest, Nic};
use plan::planner::World;
use plan::{Change, GuestKind, Problem};
use proxmox::property::PropertyString;
use proxmox::property::container::{DEVICE, FEATURES, MOUNT, NET, STARTUP};
use serde_json::Value;

use super::table;
use super::table::{FirstDisk, Origin, Table, Tasks};
use crate::images;
use crate::keys::{Around, Form, Others, Row, Shown, Takes, Value as Wanting, Wanted};

/// The blueprint's words for a container, as far as they become keys; accesses to [`plan::desired::Guest`] are in this file alone.
pub static ROWS: [Row<Guest>; 29] = [
    Row {
        form: Form::Flag,
        default: Some("0"),
        takes: Takes::Rebuild,
        shown: Shown::Words(&[("0", "privileged"), ("1", "unprivileged")]),
        ..Row::new("unprivileged", "`unprivileged`", |g, _| of(g, |c| flag(c.unprivileged)))
    },
    Row {
        form: Form::Number,
        privilege: "VM.Config.CPU",
        ..Row::new("cores", "`cores`", |c, _| number(c.cores))
    },
    // In force at once: KEYS-LXC, "cpulimit"; what is sent as 2.50 is read so.
    Row {
        form: Form::Decimal,
        default: Some("0"),
        others: Others::Value,
        privilege: "VM.Config.CPU",
        ..Row::new("cpulimit", "`cpulimit`", |c, _| number(c.cpulimit))
    },
    // In force at once; 10001 is read back as 10000: KEYS-LXC, "cpuunits".
    Row {
        form: Form::Number,
        others: Others::Value,
        privilege: "VM.Config.CPU",
        ..Row::new("cpuunits", "`cpuunits`", |c, _| number(c.cpuunits))
    },
    // KEYS-LXC, "cmode", "console", "tty": all pending while it runs.
    Row {
        takes: Takes::Restart,
        others: Others::Value,
        ..Row::new("cmode", "`console.mode`", |g, _| {
            of(g, |c| console(c, |it| it.mode.map(|mode| mode.as_str().to_owned())))
        })
    },
    Row {
        form: Form::Flag,
        takes: Takes::Restart,
        default: Some("1"),
        others: Others::Value,
        ..Row::new("console", "`console.device`", |g, _| {
            of(g, |c| console(c, |it| it.device.map(|on| u8::from(on).to_string())))
        })
    },
    Row {
        form: Form::Number,
        takes: Takes::Restart,
        default: Some("2"),
        others: Others::Value,
        ..Row::new("tty", "`console.terminals`", |g, _| {
            of(g, |c| console(c, |it| it.terminals.map(|n| n.to_string())))
        })
    },
    // KEYS-LXC, "dev0": root@pam itself, no token; new ones are plugged into a running container.
    Row {
        numbered: true,
        form: Form::Property(&DEVICE),
        takes: Takes::Plugged,
        others: Others::Value,
        root: Some(|_, _, _| Some("passing on a device of the node is root@pam's to do")),
        root_words: "all of it",
        ..Row::new("dev", "`devices`, `gpu`", |g, around| of(g, |own| devices(own, around.cards)))
    },
    Row {
        form: Form::Property(&FEATURES),
        takes: Takes::Restart,
        root: Some(features_root),
        root_words: "every flag but `nesting`; all of a privileged container",
        privilege: "VM.Allocate",
        ..Row::new("features", "`options`", |g, _| {
            of(g, |c| {
                let flag = |name| (name, c.options.get(name).cloned());
                parts(["fuse", "keyctl", "mknod", "mount", "nesting"].map(flag))
            })
        })
    },
    // In force at once (the next start or stop runs it), root@pam's alone: KEYS-LXC, "hookscript".
    Row {
        others: Others::Value,
        root: Some(|_, _, _| Some("a hook script is root@pam's to set")),
        root_words: "all of it",
        ..Row::new("hookscript", "`hookscript`", |c, _| text(c.hookscript.clone().unwrap_or_default()))
    },
    Row {
        privilege: "VM.Config.Network",
        ..Row::new("hostname", "`hostname`", |c, _| text(c.hostname.to_string()))
    },
    Row {
        form: Form::Number,
        default: Some("512"),
        shown: Shown::Mib,
        privilege: "VM.Config.Memory",
        ..Row::new("memory", "`memory`", |c, _| text(c.memory_mib.to_string()))
    },
    Row {
        form: Form::List,
        takes: Takes::Restart,
        others: Others::Value,
        privilege: "VM.Config.Network",
        ..Row::new(
            "nameserver",
            "`nameservers`, `networks.*.nameservers`, or the workshop's name server",
            |c, _| text(c.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        )
    },
    Row { form: Form::Flag, default: Some("0"), ..Row::new("onboot", "`onboot`", |c, _| flag(c.onboot)) },
    Row {
        form: Form::Flag,
        default: Some("0"),
        ..Row::new("protection", "`protected`", |c, _| flag(c.protected))
    },
    Row {
        form: Form::List,
        takes: Takes::Restart,
        others: Others::Value,
        privilege: "VM.Config.Network",
        ..Row::new("searchdomain", "`search-domains`, or `site.domain`", |c, _| text(c.searchdomain.clone()))
    },
    Row {
        form: Form::Property(&STARTUP),
        ..Row::new("startup", "`startup`, or who needs whom", |c, _| startup(c))
    },
    Row {
        form: Form::Number,
        default: Some("512"),
        shown: Shown::Mib,
        privilege: "VM.Config.Memory",
        ..Row::new("swap", "`swap`", |g, _| of(g, |c| text(c.swap_mib.to_string())))
    },
    // Pending while it runs: KEYS-LXC, "timezone".
    Row {
        takes: Takes::Restart,
        others: Others::Value,
        ..Row::new("timezone", "`timezone`", |c, _| text(c.timezone.clone().unwrap_or_default()))
    },
    Row {
        form: Form::Members,
        others: Others::Members,
        ..Row::new("tags", "`tags`", |c, _| text(c.tags.iter().cloned().collect::<Vec<_>>().join(";")))
    },
    Row {
        numbered: true,
        form: Form::Property(&NET),
        shown: Shown::Parts,
        others: Others::Parts(&["rate", "link_down"]),
        privilege: "VM.Config.Network",
        ..Row::new("net", "`networks`, `network`, `address`, `mac`", |c, _| {
            c.nets.iter().map(|(slot, nic)| (Some(*slot), net(nic))).collect()
        })
    },
    Row {
        called: Some("disk"),
        form: Form::Volume(&MOUNT),
        privilege: "VM.Config.Disk",
        ..Row::new("rootfs", "`disk`", |g, around| {
            of(g, |c| {
                let storage = c.disk.storage.as_deref().unwrap_or(around.storage);
                parts([("volume", Some(format!("{storage}:{}", c.disk.gib())))])
            })
        })
    },
    Row {
        numbered: true,
        form: Form::Volume(&MOUNT),
        takes: Takes::Plugged,
        others: Others::Parts(&["mountoptions", "acl", "quota", "replicate", "shared", "idmap"]),
        root: Some(mount_root),
        root_words: "a folder of the node",
        gone: Some("its volume is kept as unused"),
        privilege: "VM.Config.Disk",
        ..Row::new("mp", "`mounts`", |g, around| of(g, |c| mounts(c, around)))
    },
    // What has no key of its own: KEYS-LXC, all pending while it runs. Nothing takes `arch` or `ostype` away.
    Row {
        takes: Takes::Restart,
        others: Others::Kept,
        ..Row::new("arch", "`settings.arch`", |c, _| setting(c, "arch"))
    },
    Row {
        form: Form::Flag,
        takes: Takes::Restart,
        default: Some("0"),
        others: Others::Value,
        ..Row::new("debug", "`settings.debug`", |c, _| setting(c, "debug"))
    },
    Row {
        takes: Takes::Restart,
        others: Others::Value,
        ..Row::new("entrypoint", "`settings.entrypoint`", |c, _| setting(c, "entrypoint"))
    },
    Row {
        takes: Takes::Restart,
        others: Others::Value,
        ..Row::new("env", "`settings.env`", |c, _| setting(c, "env"))
    },
    Row {
        takes: Takes::Restart,
        others: Others::Kept,
        ..Row::new("ostype", "`settings.ostype`", |c, _| setting(c, "ostype"))
    },
    Row { form: Form::Prose, ..Row::new("description", "`description`", |c, _| text(table::description(c))) },
];

/// Containers.
pub static TABLE: Table = Table {
    kind: GuestKind::Container,
    rows: &ROWS,
    is_the_nodes,
    is_drive: |key| key == "rootfs" || is_mount(key),
    is_data: |key| is_mount(key) || key.starts_with("unused"),
    disk: |guest| {
        let disk = &guest.container()?.disk;
        Some(FirstDisk {
            key: "rootfs".to_owned(),
            storage: disk.storage.as_deref(),
            size_mib: disk.size_mib,
        })
    },
    content: "rootdir",
    origin,
    command: "pct",
    tasks: Tasks { create: "vzcreate", start: "vzstart", shutdown: "vzshutdown", destroy: "vzdestroy" },
};

fn is_mount(key: &str) -> bool {
    key.strip_prefix("mp").is_some_and(|n| n.parse::<u8>().is_ok())
}

/// The template.
fn origin(world: World<'_>, wanted: &Guest, node: &str) -> Result<Origin, Box<Problem>> {
    let Some(own) = wanted.container() else { return Ok(Origin::default()) };
    let on = world.desired.node_of(wanted);
    let made_of = images::template(world, &own.template, on.as_ref(), node)
        .map_err(|lack| Box::new(lack.problem(wanted.resource())))?;
    let file = made_of.volume.rsplit('/').next().unwrap_or_default();
    Ok(Origin {
        shown: Some(Change::new("template", Value::Null, file)),
        needs: made_of.step.into_iter().collect(),
        params: vec![("ostemplate".into(), made_of.volume)],
        ..Origin::default()
    })
}

/// Keys that the node itself writes, which are nobody's to own.
pub fn is_the_nodes(key: &str) -> bool {
    let own = ["arch", "digest", "lock", "ostype", "parent", "snapstate", "snaptime", "template"];
    own.contains(&key) || key.strip_prefix("unused").is_some_and(|n| n.parse::<u32>().is_ok())
}

/// What is wanted of a container; nothing of other guests.
fn of(guest: &Guest, wanted: impl Fn(&Container) -> Wanted) -> Wanted {
    guest.container().map(wanted).unwrap_or_default()
}

pub(super) fn text(value: String) -> Wanted {
    if value.is_empty() { Vec::new() } else { vec![(None, Wanting::Text(value))] }
}

pub(super) fn number(value: Option<impl ToString>) -> Wanted {
    value.map_or_else(Vec::new, |value| text(value.to_string()))
}

/// A setting by its name on the node. A list's members stand one a line in blueprints, and are joined by NUL there.
pub(super) fn setting(guest: &Guest, name: &str) -> Wanted {
    text(guest.settings.get(name).map(|value| value.trim_end().replace('\n', "\0")).unwrap_or_default())
}

fn console(container: &Container, value: impl Fn(&ConsoleSource) -> Option<String>) -> Wanted {
    text(container.console.as_ref().and_then(value).unwrap_or_default())
}

/// Those that are declared, and those of graphics cards in the slots that are free.
fn devices(container: &Container, cards: &[DeviceSource]) -> Wanted {
    let number = |number: Option<u32>| number.map(|n| n.to_string());
    let one = |device: &DeviceSource| {
        Wanting::Parts(vec![
            ("path", Some(device.path.0.clone())),
            ("mode", device.mode.as_ref().map(|mode| mode.0.clone())),
            ("uid", number(device.uid)),
            ("gid", number(device.gid)),
            ("deny-write", device.deny_write.filter(|on| *on).map(|_| "1".to_owned())),
        ])
    };
    let free = (0..=u8::MAX).filter(|slot| !container.devices.contains_key(slot));
    let declared = container.devices.iter().map(|(slot, device)| (Some(*slot), one(device)));
    declared.chain(free.zip(cards).map(|(slot, device)| (Some(slot), one(device)))).collect()
}

pub(super) fn flag(on: bool) -> Wanted {
    text(u8::from(on).to_string())
}

/// Its place in the order of starts, which both kinds have alike.
pub(super) fn startup(guest: &Guest) -> Wanted {
    let startup = guest.startup;
    let number = |n: Option<u32>| n.map(|n| n.to_string());
    parts([("order", number(startup.order)), ("up", number(startup.up)), ("down", number(startup.down))])
}

pub(super) fn parts<const N: usize>(parts: [(&'static str, Option<String>); N]) -> Wanted {
    vec![(None, Wanting::Parts(parts.into()))]
}

fn net(nic: &Nic) -> Wanting {
    let text = |t: &str| Some(t.to_owned());
    Wanting::Parts(vec![
        ("name", text(&nic.name)),
        ("bridge", text(&nic.bridge)),
        // Always with the MAC: without it the node would draw a new one (T-8).
        ("hwaddr", text(&nic.mac)),
        ("ip", text(&nic.ip)),
        ("gw", nic.gateway.map(|it| it.to_string())),
        ("firewall", nic.firewall.then(|| "1".to_owned())),
        ("tag", nic.vlan.map(|it| it.to_string())),
        ("mtu", nic.mtu.map(|it| it.to_string())),
        ("rate", nic.rate.map(|it| it.to_string())),
        ("link_down", nic.link_down.map(|it| u8::from(it).to_string())),
    ])
}

fn mounts(container: &Container, around: Around<'_>) -> Wanted {
    let one = |on: bool| on.then(|| "1".to_owned());
    let said = |on: Option<bool>| on.map(|on| u8::from(on).to_string());
    let options =
        |all: &BTreeSet<MountOption>| all.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(";");
    let all = container.mounts.iter().map(|(slot, mount)| {
        let source = match &mount.source {
            MountSource::Host(folder) => folder.clone(),
            MountSource::Volume(disk) => {
                format!("{}:{}", disk.storage.as_deref().unwrap_or(around.storage), disk.gib())
            }
        };
        let parts = vec![
            ("volume", Some(source)),
            ("mp", Some(mount.path.clone())),
            ("ro", one(mount.read_only)),
            ("backup", one(mount.backup)),
            ("mountoptions", mount.options.as_ref().map(options)),
            ("acl", said(mount.acl)),
            ("quota", said(mount.quota)),
            ("replicate", said(mount.replicate)),
            ("shared", said(mount.shared)),
            ("idmap", mount.owner.map(idmap)),
        ];
        (Some(*slot), Wanting::Parts(parts))
    });
    all.collect()
}

/// Whose files are whose, for one mount: `u:INSIDE:OUTSIDE:1` (API schema of Proxmox VE 9.2, `mp[n]`, `idmap`).
fn idmap(owner: Owner) -> String {
    match owner {
        Owner::Same => "passthrough".to_owned(),
        Owner::One { users: (user, on_disk), groups: (group, of_disk) } => {
            format!("u:{user}:{on_disk}:1;g:{group}:{of_disk}:1")
        }
    }
}

fn features_root(guest: &Guest, old: Option<&str>, new: Option<&str>) -> Option<&'static str> {
    flags_root(guest.container().is_none_or(|c| c.unprivileged), old, new)
}

/// Source: pve-container, `check_ct_modify_config_perm`, and Proxmox VE's own answers, "An API token of root@pam is not
/// root@pam" (T-6).
fn flags_root(unprivileged: bool, old: Option<&str>, new: Option<&str>) -> Option<&'static str> {
    let read = |text: Option<&str>| text.unwrap_or_default().parse::<PropertyString>().unwrap_or_default();
    let (old, new) = (read(old), read(new));
    // What differs counts, so taking a flag away takes root just as giving it does.
    let mut names = old.parts().chain(new.parts()).filter_map(|(name, _)| name);
    let only_nesting = names.all(|name| name == "nesting" || old.get(name) == new.get(name));
    match (unprivileged, only_nesting) {
        (true, true) => None,
        (true, false) => Some("feature flags other than nesting are root@pam's to set"),
        (false, _) => Some("feature flags of a privileged container are root@pam's to set"),
    }
}

fn mount_root(_: &Guest, _: Option<&str>, new: Option<&str>) -> Option<&'static str> {
    folder_root(new)
}

fn folder_root(new: Option<&str>) -> Option<&'static str> {
    let parts: PropertyString = new?.parse().ok()?;
    let folder = MOUNT.get(&parts, "volume").is_some_and(|volume| volume.starts_with('/'));
    folder.then_some("mounting a folder of the node is root@pam's to do")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    /// What a real node of Proxmox VE 9.2 gave back for what it was sent, running or stopped.
    const RECORDED: [(&str, &str, &str); 27] = [
        ("cores", "2", "2"),
        (
            "net0",
            "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:06:0B,ip=10.77.0.161/24,gw=10.77.0.1",
            "name=eth0,bridge=vmbr0,gw=10.77.0.1,hwaddr=BC:24:11:00:06:0B,ip=10.77.0.161/24,type=veth",
        ),
        (
            "net0",
            "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:06:0B,ip=dhcp",
            "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:00:06:0B,ip=dhcp,type=veth",
        ),
        (
            "net0",
            "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:06:0B,ip=manual,mtu=1400",
            "name=eth0,bridge=vmbr0,firewall=0,host-managed=0,hwaddr=BC:24:11:00:06:0B,ip=manual,mtu=1400,type=veth",
        ),
        ("net0", "name=eth0,bridge=vmbr0,trunks=10;20", "name=eth0,bridge=vmbr0,trunks=10;20,type=veth"),
        ("mp0", "rec-dir:0.0625,mp=/srv/x", "rec-dir:611/vm-611-disk-1.raw,mp=/srv/x,size=64M"),
        (
            "mp0",
            "rec-dir:0.0625,mp=/srv/x,backup=1",
            "rec-dir:611/vm-611-disk-1.raw,mp=/srv/x,backup=1,size=64M",
        ),
        (
            "mp0",
            "rec-dir:0.0625,mp=/srv/x,mountoptions=noatime;nosuid",
            "rec-dir:611/vm-611-disk-1.raw,mp=/srv/x,mountoptions=noatime;nosuid,size=64M",
        ),
        ("mp0", "volume=/srv/rec-dir,mp=/x,shared=1", "/srv/rec-dir,mp=/x,shared=1"),
        ("features", "nesting=1,mount=nfs;cifs", "mount=nfs;cifs,nesting=1"),
        ("features", "", " "),
        ("startup", "3", "3"),
        ("startup", "order=3", "3"),
        ("nameserver", "10.77.0.1,1.1.1.1", "10.77.0.1 1.1.1.1"),
        ("nameserver", "", " "),
        ("searchdomain", "example.org internal.lan", "example.org internal.lan"),
        ("tags", "web;db", "db;web"),
        ("tags", "Web;DB", "db;web"),
        ("tags", "b,a", "a;b"),
        ("tags", "a b", "a;b"),
        ("tags", "a;a;A", "a"),
        // With the datacenter's `tag-style: case-sensitive=1,ordering=config`.
        ("tags", "web;Ada", "Ada;web"),
        ("description", "hello", "hello\n"),
        ("description", "line one   \nline two\t \n", "line one   \nline two\t \n"),
        ("description", "a\r\nb\r\n", "a\r\nb\r\n"),
        ("description", "   indented\n\n\nafter blanks", "   indented\n\n\nafter blanks\n"),
        ("description", "text\n\n\n", "text\n"),
    ];

    #[test]
    fn what_a_real_node_gives_back_is_what_was_sent() {
        for (key, sent, read) in RECORDED {
            assert!(keys::same(&ROWS, key, sent, read), "{key}: {sent:?}, {read:?}");
        }
        for (key, one, other) in [
            ("tags", "web", "web;db"),
            ("mp0", "tank:8,mp=/x", "tank:a,mp=/y,size=8G"),
            ("net0", "name=eth0,bridge=vmbr0,tag=3", "name=eth0,bridge=vmbr0,type=veth"),
            ("description", "a  \nb", "a\nb"),
            ("memory", "512", "513"),
        ] {
            assert!(!keys::same(&ROWS, key, one, other), "{key}: {one}, {other}");
        }
    }

    /// T-6: what a token may not do is known before it is tried.
    #[test]
    fn what_takes_root() {
        let flags = |old, new| flags_root(true, old, new);
        assert!(flags(None, Some("nesting=1")).is_none());
        assert!(flags(None, Some("nesting=1,keyctl=1")).is_some());
        assert!(flags_root(false, None, Some("nesting=1")).is_some());
        // Taking a flag away, and leaving one alone.
        assert!(flags(Some("keyctl=1,nesting=1"), Some("nesting=1")).is_some());
        assert!(flags(Some("keyctl=1"), None).is_some());
        assert!(flags(Some("keyctl=1,nesting=1"), Some("keyctl=1")).is_none());
        assert!(flags(Some("nesting=1"), None).is_none());
        assert!(folder_root(Some("/srv/x,mp=/x")).is_some());
        assert!(folder_root(Some("volume=/srv/x,mp=/x")).is_some());
        assert!(folder_root(Some("tank:8,mp=/x")).is_none() && folder_root(None).is_none());
    }

    #[test]
    fn every_key_has_one_row() {
        for key in ["net0", "net31", "mp0", "mp255", "rootfs", "memory"] {
            assert_eq!(ROWS.iter().filter(|row| row.slot(key).is_some()).count(), 1, "{key}");
        }
        for key in ["net", "netx", "net01", "net+1", "mp", "lxc.idmap", "mp256"] {
            assert!(keys::row(&ROWS, key).is_none(), "{key}");
        }
        // Every setting of the node's is in the table of names, and has its row unless it is refused.
        for setting in blueprint::settings::of(blueprint::model::GuestKind::Container) {
            let key = if setting.numbered.is_some() {
                format!("{}0", setting.name)
            } else {
                setting.name.to_owned()
            };
            let refused = matches!(setting.covered, blueprint::settings::Covered::Refused(_));
            assert_eq!(keys::row(&ROWS, &key).is_none(), refused, "{key}");
        }
        let named = |row: &&Row<Guest>| {
            blueprint::settings::of(blueprint::model::GuestKind::Container)
                .iter()
                .any(|it| it.name == row.name)
        };
        assert_eq!(ROWS.iter().filter(named).count(), ROWS.len());
        assert!(is_the_nodes("unused3") && !is_the_nodes("unusedx") && !is_the_nodes("lxc.idmap"));
    }
}
