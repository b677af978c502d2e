//! The keys of a virtual machine's configuration that Phoenix sets. Facts about them: qemu-server (`PVE/QemuServer.pm`,
//! `PVE/QemuServer/*.pm`), and what a real node of Proxmox VE 9.2 answered to each, stopped and running, by token and by root.

use blueprint::model::{Bus, Passed, Slot, Vm};
use plan::desired::{Guest, Nic};
use plan::planner::World;
use plan::{Change, GuestKind, Problem};
use proxmox::property::container::STARTUP;
use proxmox::property::machine::{AGENT, BOOT, DISK, IP_CONFIG, MODELS, NET, PCI, USB, VIRTIOFS};
use serde_json::Value;

use super::containers::{flag, number, parts, startup, text};
use super::table::{self, FirstDisk, Origin, Table, Tasks};
use crate::images;
use crate::keys::{Around, Form, Others, Row, Shown, Takes, Value as Wanting, Wanted};

/// Virtual machines.
pub static TABLE: Table = Table {
    kind: GuestKind::Vm,
    rows: &ROWS,
    is_the_nodes,
    is_drive,
    is_data: |key| key.starts_with("unused") || (is_drive(key) && !FIRST.contains(&key)),
    disk: |guest| {
        let (slot, disk) = guest.vm()?.first_disk()?;
        Some(FirstDisk { key: slot.to_string(), storage: disk.storage.as_deref(), size_mib: disk.size_mib })
    },
    content: "images",
    origin,
    command: "qm",
    tasks: Tasks { create: "qmcreate", start: "qmstart", shutdown: "qmshutdown", destroy: "qmdestroy" },
};

/// Where first disks are.
const FIRST: [&str; 3] = ["scsi0", "virtio0", "sata0"];

/// The drive for cloud-init, and the one for a medium.
const CLOUD_INIT: &str = "ide2";
const MEDIUM: &str = "ide0";

fn is_drive(key: &str) -> bool {
    ["efidisk0", "tpmstate0"].contains(&key) || key.parse::<Slot>().is_ok()
}

const HARDWARE: &str = "VM.Config.HWType";

/// A setting that Proxmox VE takes as it is written: what others set stays where the blueprint is silent.
macro_rules! option {
    ($key:literal, $from:literal) => {
        Row {
            takes: Takes::Restart,
            others: Others::Value,
            ..Row::new($key, $from, |g, _| {
                of(g, |vm| vm.options.get($key).cloned().map_or_else(Vec::new, text))
            })
        }
    };
}

/// The blueprint's words for a virtual machine, as far as they become keys.
pub static ROWS: [Row<Guest>; 51] = [
    Row {
        privilege: "VM.Config.Options",
        ..Row::new("name", "`hostname`", |g, _| text(g.hostname.to_string()))
    },
    Row {
        form: Form::Number,
        default: Some("1"),
        takes: Takes::Restart,
        privilege: "VM.Config.CPU",
        ..Row::new("cores", "`cores`", |g, _| text(g.cores.unwrap_or(1).to_string()))
    },
    Row {
        form: Form::Number,
        default: Some("1"),
        privilege: "VM.Config.CPU",
        ..option!("sockets", "`sockets`")
    },
    Row { privilege: "VM.Config.CPU", ..option!("cpu", "`cpu`") },
    // In force at once: KEYS-QEMU, "cpulimit", "cpuunits".
    Row {
        form: Form::Decimal,
        default: Some("0"),
        others: Others::Value,
        privilege: "VM.Config.CPU",
        ..Row::new("cpulimit", "`cpulimit`", |g, _| number(g.cpulimit))
    },
    Row {
        form: Form::Number,
        others: Others::Value,
        privilege: "VM.Config.CPU",
        ..Row::new("cpuunits", "`cpuunits`", |g, _| number(g.cpuunits))
    },
    // root@pam's alone: FACTS-2, "VM root only"; the next start or stop runs it.
    Row {
        others: Others::Value,
        root: Some(|_, _, _| Some("a hook script is root@pam's to set")),
        root_words: "always",
        ..Row::new("hookscript", "`hookscript`", |g, _| text(g.hookscript.clone().unwrap_or_default()))
    },
    Row { form: Form::Flag, default: Some("0"), privilege: "VM.Config.CPU", ..option!("numa", "`numa`") },
    Row {
        root: Some(|_, _, _| Some("the processors of a virtual machine are root@pam's to choose")),
        root_words: "always",
        privilege: "VM.Config.CPU",
        ..option!("affinity", "`affinity`")
    },
    Row {
        form: Form::Number,
        default: Some("512"),
        takes: Takes::Restart,
        shown: Shown::Mib,
        privilege: "VM.Config.Memory",
        ..Row::new("memory", "`memory`", |g, _| text(g.memory_mib.to_string()))
    },
    Row {
        form: Form::Number,
        shown: Shown::Mib,
        privilege: "VM.Config.Memory",
        ..option!("balloon", "`balloon`")
    },
    Row { form: Form::Number, privilege: "VM.Config.Memory", ..option!("shares", "`shares`") },
    Row {
        root: Some(|_, _, _| Some("huge pages are root@pam's to give")),
        root_words: "always",
        privilege: "VM.Config.Memory",
        ..option!("hugepages", "`hugepages`")
    },
    Row { default: Some("seabios"), privilege: HARDWARE, ..option!("bios", "`bios`, `uefi`") },
    Row { privilege: HARDWARE, ..option!("machine", "`machine`") },
    Row {
        default: Some("lsi"),
        others: Others::Nothing,
        privilege: HARDWARE,
        ..option!("scsihw", "`scsi-controller`")
    },
    Row { privilege: HARDWARE, ..option!("vga", "`vga`") },
    Row { privilege: HARDWARE, ..option!("rng0", "`rng`") },
    Row { privilege: HARDWARE, ..option!("watchdog", "`watchdog`") },
    Row { default: Some("other"), others: Others::Nothing, ..option!("ostype", "`os`") },
    Row { takes: Takes::Live, ..option!("hotplug", "`hotplug`") },
    Row {
        form: Form::Flag,
        takes: Takes::Live,
        default: Some("1"),
        privilege: HARDWARE,
        ..option!("tablet", "`tablet`")
    },
    Row { form: Form::Flag, default: Some("0"), ..option!("localtime", "`localtime`") },
    Row { form: Form::Flag, default: Some("1"), ..option!("acpi", "`acpi`") },
    Row { form: Form::Flag, default: Some("1"), privilege: HARDWARE, ..option!("kvm", "`kvm`") },
    Row { privilege: HARDWARE, ..option!("keyboard", "`keyboard`") },
    Row {
        form: Form::Property(&AGENT),
        default: Some("0"),
        takes: Takes::Restart,
        ..Row::new("agent", "`agent`", |g, _| {
            of(g, |vm| parts([("enabled", Some(u8::from(vm.agent).to_string()))]))
        })
    },
    Row {
        form: Form::Property(&BOOT),
        takes: Takes::Restart,
        ..Row::new("boot", "`boot`", |g, _| of(g, |vm| parts([("order", boot(vm))])))
    },
    Row { form: Form::Flag, default: Some("0"), ..Row::new("onboot", "`onboot`", |g, _| flag(g.onboot)) },
    Row {
        form: Form::Flag,
        default: Some("0"),
        ..Row::new("protection", "`protected`", |g, _| flag(g.protected))
    },
    Row { form: Form::Property(&STARTUP), ..Row::new("startup", "`startup`", |g, _| startup(g)) },
    Row {
        form: Form::Members,
        others: Others::Members,
        ..Row::new("tags", "`tags`", |g, _| text(g.tags.iter().cloned().collect::<Vec<_>>().join(";")))
    },
    Row {
        others: Others::Parts(&["rate", "link_down"]),
        numbered: true,
        form: Form::Property(&NET),
        shown: Shown::Parts,
        privilege: "VM.Config.Network",
        ..Row::new("net", "`networks`, `address`", |g, _| {
            g.nets.iter().map(|(slot, it)| (Some(*slot), net(it))).collect()
        })
    },
    disks("scsi", Takes::Plugged, |g, around| slots(g, around, Bus::Scsi)),
    disks("virtio", Takes::Plugged, |g, around| slots(g, around, Bus::Virtio)),
    disks("sata", Takes::Restart, |g, around| slots(g, around, Bus::Sata)),
    // Before the disks on the same bus: both are drives of their own.
    Row {
        numbered: false,
        fixed: true,
        gone: Some("it is made anew when it is wanted again"),
        ..disks(CLOUD_INIT, Takes::Restart, |g, around| {
            let cloud_init = |vm: &Vm| vm.cloud_init.then(|| format!("{}:cloudinit", around.storage));
            of(g, |vm| cloud_init(vm).map(volume).unwrap_or_default())
        })
    },
    Row {
        takes: Takes::Restart,
        form: Form::Property(&DISK),
        privilege: "VM.Config.CDROM",
        ..Row::new(MEDIUM, "`iso`", |g, around| {
            let medium = |iso: &String| {
                let volume = around.medium.unwrap_or(iso).to_owned();
                parts([("file", Some(volume)), ("media", Some("cdrom".into()))])
            };
            of(g, |vm| vm.iso.as_ref().map(medium).unwrap_or_default())
        })
    },
    disks("ide", Takes::Restart, |g, around| slots(g, around, Bus::Ide)),
    Row {
        numbered: false,
        fixed: true,
        ..disks("efidisk0", Takes::Restart, |g, around| {
            of(g, |vm| {
                let Some(efi) = &vm.efi else { return Vec::new() };
                parts([
                    ("file", Some(format!("{}:1", efi.storage.as_deref().unwrap_or(around.storage)))),
                    ("efitype", Some("4m".into())),
                    ("pre-enrolled-keys", efi.keys.then(|| "1".into())),
                ])
            })
        })
    },
    Row {
        numbered: false,
        fixed: true,
        ..disks("tpmstate0", Takes::Restart, |g, around| {
            of(g, |vm| {
                let Some(storage) = &vm.tpm else { return Vec::new() };
                parts([
                    ("file", Some(format!("{}:1", storage.as_deref().unwrap_or(around.storage)))),
                    ("version", Some("v2.0".into())),
                ])
            })
        })
    },
    Row {
        privilege: "VM.Config.Cloudinit",
        ..Row::new("ciuser", "`user`", |g, _| {
            of(g, |vm| vm.user.as_ref().map_or_else(Vec::new, |user| text(user.name.clone())))
        })
    },
    Row {
        privilege: "VM.Config.Cloudinit",
        ..Row::new("sshkeys", "`user`", |g, _| {
            of(g, |vm| vm.user.as_ref().map_or_else(Vec::new, |user| text(encoded(&user.keys.join("\n")))))
        })
    },
    Row {
        numbered: true,
        form: Form::Property(&IP_CONFIG),
        takes: Takes::Restart,
        privilege: "VM.Config.Cloudinit",
        ..Row::new("ipconfig", "`networks`, `address`", |g, _| {
            let config = |(slot, nic): (&u8, &Nic)| {
                let gateway = nic.gateway.map(|it| it.to_string());
                (Some(*slot), Wanting::Parts(vec![("ip", Some(nic.ip.clone())), ("gw", gateway)]))
            };
            of(g, |vm| if vm.cloud_init { g.nets.iter().map(config).collect() } else { Vec::new() })
        })
    },
    Row {
        form: Form::List,
        others: Others::Value,
        privilege: "VM.Config.Cloudinit",
        takes: Takes::Restart,
        ..Row::new(
            "nameserver",
            "`nameservers`, `networks.*.nameservers`, or the workshop's name server",
            |g, _| {
                let servers = g.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                of(g, |vm| if vm.cloud_init { text(servers.clone()) } else { Vec::new() })
            },
        )
    },
    Row {
        form: Form::List,
        others: Others::Value,
        privilege: "VM.Config.Cloudinit",
        takes: Takes::Restart,
        ..Row::new("searchdomain", "`search-domains`, or `site.domain`", |g, _| {
            of(g, |vm| if vm.cloud_init { text(g.searchdomain.clone()) } else { Vec::new() })
        })
    },
    Row {
        numbered: true,
        takes: Takes::Restart,
        others: Others::Value,
        root: Some(|_, _, new| {
            new.filter(|to| *to != "socket").map(|_| "a serial device of the node is root@pam's to give")
        }),
        root_words: "a device of the node",
        privilege: HARDWARE,
        ..Row::new("serial", "`serial`", |g, _| {
            of(g, |vm| vm.serials.iter().map(|(slot, to)| (Some(*slot), Wanting::Text(to.clone()))).collect())
        })
    },
    Row {
        form: Form::Property(&USB),
        root: Some(|_, old, new| {
            raw(old, new, |host| host != "spice").then_some("a USB device of the node is root@pam's to give")
        }),
        root_words: "a device of the node without a mapping",
        ..passed("usb", "`usb`", |g, _| of(g, |vm| vm.usb.iter().map(slot_of_passed).collect()))
    },
    Row {
        form: Form::Property(&PCI),
        root: Some(|_, old, new| {
            raw(old, new, |_| true).then_some("a PCI device of the node is root@pam's to give")
        }),
        root_words: "a device of the node without a mapping",
        ..passed("hostpci", "`pci`", |g, _| of(g, |vm| vm.pci.iter().map(slot_of_passed).collect()))
    },
    Row {
        form: Form::Property(&VIRTIOFS),
        privilege: "VM.Config.Disk",
        ..passed("virtiofs", "`folders`", |g, _| of(g, |vm| vm.folders.iter().map(slot_of_passed).collect()))
    },
    Row { form: Form::Prose, ..Row::new("description", "`description`", |g, _| text(table::description(g))) },
];

/// A row of disks on one bus.
const fn disks(name: &'static str, takes: Takes, wanted: fn(&Guest, Around<'_>) -> Wanted) -> Row<Guest> {
    Row {
        numbered: true,
        form: Form::Volume(&DISK),
        takes,
        gone: Some("its volume is kept as unused"),
        privilege: "VM.Config.Disk",
        ..Row::new(name, "`disks`", wanted)
    }
}

/// A row of devices of the node.
const fn passed(
    name: &'static str,
    from: &'static str,
    wanted: fn(&Guest, Around<'_>) -> Wanted,
) -> Row<Guest> {
    Row {
        numbered: true,
        takes: Takes::Restart,
        others: Others::Value,
        privilege: HARDWARE,
        ..Row::new(name, from, wanted)
    }
}

/// Keys that the node itself writes, which are nobody's to own.
fn is_the_nodes(key: &str) -> bool {
    let own = [
        "arch",
        "digest",
        "lock",
        "meta",
        "parent",
        "runningcpu",
        "runningmachine",
        "smbios1",
        "snapstate",
        "snaptime",
        "template",
        "vmgenid",
        "vmstate",
    ];
    own.contains(&key) || key.strip_prefix("unused").is_some_and(|n| n.parse::<u32>().is_ok())
}

/// What is wanted of a virtual machine; nothing of other guests.
fn of(guest: &Guest, wanted: impl Fn(&Vm) -> Wanted) -> Wanted {
    guest.vm().map(wanted).unwrap_or_default()
}

fn volume(file: String) -> Wanted {
    parts([("file", Some(file))])
}

fn slot_of_passed((slot, device): (&u8, &Passed)) -> (Option<u8>, Wanting) {
    (Some(*slot), Wanting::Parts(device.iter().map(|(name, value)| (*name, Some(value.clone()))).collect()))
}

/// The disks on a bus.
fn slots(guest: &Guest, around: Around<'_>, bus: Bus) -> Wanted {
    of(guest, |vm| {
        let on_it = vm.disks.iter().filter(|(slot, _)| slot.bus == bus);
        let all = on_it.map(|(slot, disk)| {
            let storage = disk.storage.as_deref().unwrap_or(around.storage);
            let mut parts =
                vec![("file", Some(format!("{storage}:{}", blueprint::model::gib(disk.size_mib))))];
            parts.extend(disk.options.iter().map(|(name, value)| (*name, Some(value.clone()))));
            (Some(slot.number), Wanting::Parts(parts))
        });
        all.collect()
    })
}

/// The devices to start from: the first disk, and then the medium.
fn boot(vm: &Vm) -> Option<String> {
    let implied = || {
        let disk = vm.first_disk().map(|(slot, _)| slot.to_string());
        let medium = vm.iso.as_ref().map(|_| MEDIUM.to_owned());
        disk.into_iter().chain(medium).collect::<Vec<_>>()
    };
    let order = vm.boot.clone().unwrap_or_else(implied);
    (!order.is_empty()).then(|| order.join(";"))
}

fn net(nic: &Nic) -> Wanting {
    let model = nic.model.as_deref().unwrap_or(MODELS[0]);
    // The model is the name of the part that holds the MAC: always with it, or the node would draw a new one (T-8).
    let mut parts: Vec<(&'static str, Option<String>)> =
        MODELS.into_iter().map(|name| (name, (name == model).then(|| nic.mac.clone()))).collect();
    parts.extend([
        ("bridge", Some(nic.bridge.to_string())),
        ("firewall", nic.firewall.then(|| "1".to_owned())),
        ("tag", nic.vlan.map(|it| it.to_string())),
        ("mtu", nic.mtu.map(|it| it.to_string())),
        ("rate", nic.rate.map(|it| it.to_string())),
        ("link_down", nic.link_down.map(|it| u8::from(it).to_string())),
    ]);
    Wanting::Parts(parts)
}

/// Whether a change is about a device of the node that no mapping names. Source: qemu-server, `check_vm_modify_config_perm`.
fn raw(old: Option<&str>, new: Option<&str>, counts: fn(&str) -> bool) -> bool {
    let device = |text: Option<&str>| {
        let parts: proxmox::property::PropertyString = text?.parse().ok()?;
        PCI.get(&parts, "host").filter(|host| counts(host)).map(str::to_owned)
    };
    device(old).is_some() || device(new).is_some()
}

/// Public keys as the API takes them: percent-encoded, and then once more as all parameters are.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The medium in its drive, on a node: where the blueprint calls it by the name of an image.
pub(super) fn medium(world: World<'_>, wanted: &Guest, node: &str) -> Option<images::Source> {
    let iso = wanted.vm()?.iso.as_ref()?;
    images::image(world, iso, world.desired.node_of(wanted).as_ref(), node)?.ok()
}

/// The image of its first disk, and the medium in its drive.
fn origin(world: World<'_>, wanted: &Guest, node: &str) -> Result<Origin, Box<Problem>> {
    let Some(vm) = wanted.vm() else { return Ok(Origin::default()) };
    let on = world.desired.node_of(wanted);
    let source = |name: &String| match images::image(world, name, on.as_ref(), node) {
        Some(source) => source.map_err(|lack| Box::new(lack.problem(wanted.resource()))),
        // A volume that is there already.
        None => Ok(images::Source { volume: name.clone(), step: None }),
    };
    let image = vm.image.as_ref().map(source).transpose()?;
    let medium = vm.iso.as_ref().map(source).transpose()?;
    let file = |source: &images::Source| source.volume.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Origin {
        shown: image.as_ref().map(|image| Change::new("image", Value::Null, file(image))),
        needs: [&image, &medium].into_iter().flatten().filter_map(|source| source.step.clone()).collect(),
        import: image.map(|image| image.volume),
        medium: medium.map(|medium| medium.volume),
        ..Origin::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn every_key_has_one_row() {
        for key in
            ["net0", "scsi30", "virtio1", "sata5", "ide2", "ide0", "ide1", "efidisk0", "hostpci3", "memory"]
        {
            assert!(keys::row(&ROWS, key).is_some(), "{key}");
        }
        // The drives are not disks that happen to be on the same bus.
        let name = |key: &str| keys::row(&ROWS, key).map(|row| row.name);
        assert_eq!((name("ide0"), name("ide1"), name("ide2")), (Some("ide0"), Some("ide"), Some("ide2")));
        for key in ["net", "scsix", "args", "hookscript0"] {
            assert!(keys::row(&ROWS, key).is_none(), "{key}");
        }
        assert!(is_the_nodes("unused3") && is_the_nodes("vmgenid") && !is_the_nodes("cpu"));
        assert!(is_drive("scsi1") && is_drive("efidisk0") && !is_drive("scsihw") && !is_drive("net0"));
    }

    /// T-6: what a token may not do is known before it is tried.
    #[test]
    fn what_takes_root() {
        let root = |key: &str, old: Option<&str>, new: Option<&str>| {
            let row = keys::row(&ROWS, key).unwrap();
            row.root.and_then(|root| root(&nobody(), old, new)).is_some()
        };
        assert!(root("usb0", None, Some("host=10c4:ea60")) && !root("usb0", None, Some("mapping=stick")));
        assert!(!root("usb0", None, Some("host=spice")) && root("usb0", Some("host=1-2"), None));
        assert!(
            root("hostpci0", None, Some("host=0000:01:00"))
                && !root("hostpci0", None, Some("mapping=gpu,pcie=1"))
        );
        assert!(root("serial0", None, Some("/dev/ttyS0")) && !root("serial0", None, Some("socket")));
        assert!(root("affinity", None, Some("0-3")));
    }

    /// What a real node of Proxmox VE 9.2 gave back for what it was sent.
    #[test]
    fn what_a_real_node_gives_back_is_what_was_sent() {
        for (key, sent, read) in [
            (
                "net0",
                "virtio=BC:24:11:00:00:01,bridge=vmbr0",
                "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=0",
            ),
            ("scsi0", "tank:32", "tank:101/vm-101-disk-0.qcow2,size=32G"),
            ("agent", "enabled=1", "1"),
            ("boot", "order=scsi0;net0", "order=scsi0;net0"),
            ("tags", "web;db", "db;web"),
            ("startup", "order=3", "3"),
        ] {
            assert!(keys::same(&ROWS, key, sent, read), "{key}: {sent}, {read}");
        }
    }

    #[test]
    fn keys_are_percent_encoded() {
        assert_eq!(encoded("ssh-ed25519 AA+/= a@b\n"), "ssh-ed25519%20AA%2B%2F%3D%20a%40b%0A");
    }

    fn nobody() -> Guest {
        let text = r#"{ "site": { "name": "w", "domain": "w.internal" }, "target": { "lab": {} },
            "vms": { "a": { "networks": {} } } }"#;
        let files = [("a.json".into(), text.as_bytes().to_vec())];
        let catalog = blueprint::Catalog::from_files(crate::features::builtin()).unwrap();
        let loaded =
            blueprint::load_from_memory(files, &catalog).unwrap_or_else(|f| panic!("{}", f.to_text()));
        let renderer = crate::features::renderer::Renderer::new(&loaded.blueprint);
        let roots = plan::wire::Roots::default();
        let desired = plan::wire::wire(&loaded.blueprint, &roots, &renderer).unwrap();
        desired.guests["a"].clone()
    }
}
