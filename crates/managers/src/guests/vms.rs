//! The keys of a virtual machine's configuration that Phoenix sets. Facts about them: qemu-server (`PVE/QemuServer.pm`,
//! `PVE/QemuServer/*.pm`), and what a real node of Proxmox VE 9.2 answered to each, stopped and running, by token and by root.

mod origin;
mod plugs;
mod said;

use blueprint::model::{Bus, Slot, Vm};
use plan::GuestKind;
use plan::desired::{Guest, Nic};
use proxmox::property::container::STARTUP;
use proxmox::property::machine::{AGENT, BOOT, DISK, IP_CONFIG, NET, PCI, SMBIOS, USB, VIRTIOFS};

use super::containers::{flag, number, parts, setting, startup, text};
use super::table::{self, FirstDisk, Table, Tasks};
use crate::keys::{Around, Form, HIDDEN, Others, Row, Shown, Takes, Value as Wanting, Wanted};
pub(super) use origin::media;
use plugs::{DISK_PARTS, PLUGGED, PLUGS_USB, TAKEN_OVER, balloons, plugs, plugs_the_same, plugs_usb};
pub(super) use said::password;
use said::{SMBIOS_PARTS, boot, encoded, net, one, raw, settings, slots, smbios};

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
    origin: origin::origin,
    command: "qm",
    tasks: Tasks { create: "qmcreate", start: "qmstart", shutdown: "qmshutdown", destroy: "qmdestroy" },
};

/// Where first disks are.
const FIRST: [&str; 3] = ["scsi0", "virtio0", "sata0"];

/// The drive for cloud-init, and the one for a medium.
const CLOUD_INIT: &str = "ide2";
pub(super) const MEDIUM: &str = "ide0";
/// The drive of a second medium.
pub(super) const SECOND: &str = "ide3";

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

/// A setting without a key of its own in blueprints, which waits for a restart and is changed by who may set options: what most
/// are (KEYS-QEMU).
macro_rules! setting {
    ($key:literal) => {
        Row {
            takes: Takes::Restart,
            others: Others::Value,
            ..Row::new($key, concat!("`settings.", $key, "`"), |g, _| setting(g, $key))
        }
    };
}

/// A setting that only root@pam may change, whatever it is (KEYS-QEMU: "only root can set").
macro_rules! roots {
    ($key:literal) => {
        Row {
            root: Some(|_, _, _| Some(concat!($key, " is root@pam's to set"))),
            root_words: "always",
            ..setting!($key)
        }
    };
}

/// The blueprint's words for a virtual machine, as far as they become keys.
pub static ROWS: [Row<Guest>; 77] = [
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
    // Without CPUs among what `hotplug` says: KEYS-QEMU, "vcpus".
    Row { form: Form::Number, privilege: "VM.Config.CPU", ..option!("vcpus", "`vcpus`") },
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
        at_once: Some((balloons, "while there is a balloon and stays one")),
        privilege: "VM.Config.Memory",
        ..option!("balloon", "`balloon`")
    },
    // KEYS-QEMU, "shares": at once.
    Row {
        form: Form::Number,
        takes: Takes::Live,
        privilege: "VM.Config.Memory",
        ..option!("shares", "`shares`")
    },
    Row {
        root: Some(|_, _, _| Some("huge pages are root@pam's to give")),
        root_words: "always",
        privilege: "VM.Config.Memory",
        ..option!("hugepages", "`hugepages`")
    },
    Row { default: Some("seabios"), ..option!("bios", "`bios`, `uefi`") },
    Row { privilege: HARDWARE, ..option!("machine", "`machine`") },
    Row {
        default: Some("lsi"),
        // A clone has what its template has, and cannot do without.
        others: Others::Kept,
        privilege: HARDWARE,
        ..option!("scsihw", "`scsi-controller`")
    },
    Row { privilege: HARDWARE, ..option!("vga", "`vga`") },
    Row { privilege: HARDWARE, ..option!("rng0", "`rng`") },
    Row { privilege: HARDWARE, ..option!("watchdog", "`watchdog`") },
    Row { default: Some("other"), others: Others::Kept, ..option!("ostype", "`os`") },
    Row {
        at_once: Some((plugs_the_same, "where memory and processors are in it as before")),
        privilege: HARDWARE,
        ..option!("hotplug", "`hotplug`")
    },
    Row {
        form: Form::Flag,
        at_once: Some((plugs_usb, PLUGS_USB)),
        default: Some("1"),
        privilege: HARDWARE,
        ..option!("tablet", "`tablet`")
    },
    Row { form: Form::Flag, default: Some("0"), ..option!("localtime", "`localtime`") },
    Row { form: Form::Flag, default: Some("1"), privilege: HARDWARE, ..option!("acpi", "`acpi`") },
    Row { form: Form::Flag, default: Some("1"), privilege: HARDWARE, ..option!("kvm", "`kvm`") },
    Row { privilege: HARDWARE, ..option!("keyboard", "`keyboard`") },
    Row {
        form: Form::Property(&AGENT),
        default: Some("0"),
        takes: Takes::Restart,
        others: Others::Parts(&["freeze-fs", "fstrim_cloned_disks", "type"]),
        ..Row::new("agent", "`agent`", |g, _| {
            of(g, |vm| {
                let said = |name| (name, vm.agent_options.get(name).cloned());
                let on = Some(u8::from(vm.agent).to_string());
                parts([("enabled", on), said("freeze-fs"), said("fstrim_cloned_disks"), said("type")])
            })
        })
    },
    // The node draws a UUID for each, which stays.
    Row {
        form: Form::Property(&SMBIOS),
        takes: Takes::Restart,
        others: Others::Parts(&SMBIOS_PARTS),
        privilege: HARDWARE,
        ..Row::new("smbios1", "`smbios`", |g, _| of(g, smbios))
    },
    Row {
        form: Form::Property(&BOOT),
        takes: Takes::Restart,
        privilege: "VM.Config.Disk",
        ..Row::new("boot", "`boot`", |g, _| of(g, |vm| parts([("order", boot(vm))])))
    },
    Row { form: Form::Flag, default: Some("0"), ..Row::new("onboot", "`onboot`", |g, _| flag(g.onboot)) },
    Row {
        form: Form::Flag,
        default: Some("0"),
        ..Row::new("protection", "`protected`", |g, _| flag(g.protected))
    },
    // Of a token it takes Sys.Modify on /, which is more than a narrow one should have: PRIVILEGES, FACTS-2.
    Row {
        form: Form::Property(&STARTUP),
        root: Some(|_, _, _| {
            Some("the place of a virtual machine in the order of starts is root@pam's to set")
        }),
        root_words: "always",
        ..Row::new("startup", "`startup`, or who needs whom", |g, _| startup(g))
    },
    Row {
        form: Form::Members,
        others: Others::Members,
        ..Row::new("tags", "`tags`", |g, _| text(g.tags.iter().cloned().collect::<Vec<_>>().join(";")))
    },
    Row {
        others: Others::Parts(&["rate", "link_down", "queues"]),
        numbered: true,
        form: Form::Property(&NET),
        shown: Shown::Parts,
        takes: Takes::Restart,
        at_once: Some((
            |now, _, _| plugs(now, "network"),
            "with `network` in `hotplug`, which is the default",
        )),
        privilege: "VM.Config.Network",
        ..Row::new("net", "`networks`, `network`, `address`, `mac`", |g, _| {
            g.nets.iter().map(|(slot, it)| (Some(*slot), net(it))).collect()
        })
    },
    Row { at_once: PLUGGED, ..disks("scsi", |g, around| slots(g, around, Bus::Scsi)) },
    Row { at_once: PLUGGED, ..disks("virtio", |g, around| slots(g, around, Bus::Virtio)) },
    Row { at_once: TAKEN_OVER, ..disks("sata", |g, around| slots(g, around, Bus::Sata)) },
    // Before the disks on the same bus: both are drives of their own.
    Row {
        numbered: false,
        fixed: true,
        from: "`cloud-init`",
        gone: Some("it is made anew when it is wanted again"),
        ..disks(CLOUD_INIT, |g, around| {
            let cloud_init = |vm: &Vm| vm.cloud_init.then(|| format!("{}:cloudinit", around.storage));
            of(g, |vm| cloud_init(vm).map(volume).unwrap_or_default())
        })
    },
    Row {
        takes: Takes::Restart,
        at_once: Some((|_, old, new| old.is_some() && new.is_some(), "where another medium is put in")),
        form: Form::Property(&DISK),
        privilege: "VM.Config.CDROM",
        ..Row::new(MEDIUM, "`iso`", |g, around| of(g, |vm| in_drive(vm.iso.as_ref(), around.medium)))
    },
    Row {
        takes: Takes::Restart,
        at_once: Some((|_, old, new| old.is_some() && new.is_some(), "where another medium is put in")),
        form: Form::Property(&DISK),
        privilege: "VM.Config.CDROM",
        ..Row::new(SECOND, "`second-iso`", |g, around| {
            of(g, |vm| in_drive(vm.second_iso.as_ref(), around.second))
        })
    },
    Row { at_once: TAKEN_OVER, ..disks("ide", |g, around| slots(g, around, Bus::Ide)) },
    Row {
        numbered: false,
        fixed: true,
        from: "`uefi`",
        ..disks("efidisk0", |g, around| {
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
        from: "`tpm`",
        ..disks("tpmstate0", |g, around| {
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
        ..Row::new("ciuser", "`user.name`", |g, _| {
            of(g, |vm| vm.user.as_ref().map_or_else(Vec::new, |user| text(user.name.clone())))
        })
    },
    Row {
        privilege: "VM.Config.Cloudinit",
        ..Row::new("sshkeys", "`user.ssh-keys`", |g, _| {
            of(g, |vm| vm.user.as_ref().map_or_else(Vec::new, |user| text(encoded(&user.keys.join("\n")))))
        })
    },
    // KEYS-QEMU, "cipassword": read back as `**********`, and a hash in the file.
    Row {
        form: Form::Secret,
        others: Others::Value,
        privilege: "VM.Config.Cloudinit",
        ..Row::new("cipassword", "`user.password`", |g, _| {
            of(g, |vm| if password(vm).is_some() { text(HIDDEN.to_owned()) } else { Vec::new() })
        })
    },
    Row {
        numbered: true,
        form: Form::Property(&IP_CONFIG),
        takes: Takes::Restart,
        privilege: "VM.Config.Cloudinit",
        ..Row::new("ipconfig", "`networks.NAME.address`, `address`", |g, _| {
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
        at_once: Some((plugs_usb, PLUGS_USB)),
        ..passed("usb", "`usb`", |g, _| of(g, |vm| vm.usb.iter().map(|it| one(it, &USB)).collect()))
    },
    Row {
        form: Form::Property(&PCI),
        root: Some(|_, old, new| {
            raw(old, new, |_| true).then_some("a PCI device of the node is root@pam's to give")
        }),
        root_words: "a device of the node without a mapping",
        ..passed("hostpci", "`pci`, `gpu`", |g, _| {
            of(g, |vm| vm.pci.iter().map(|it| one(it, &PCI)).collect())
        })
    },
    Row {
        form: Form::Property(&VIRTIOFS),
        privilege: "VM.Config.Disk",
        ..passed("virtiofs", "`folders`", |g, _| {
            of(g, |vm| vm.folders.iter().map(|it| one(it, &VIRTIOFS)).collect())
        })
    },
    // What has no key of its own. KEYS-QEMU: all pending while it runs but those that are marked so.
    Row { form: Form::Flag, default: Some("1"), privilege: "VM.Config.Memory", ..setting!("allow-ksm") },
    roots!("amd-sev"),
    roots!("arch"),
    roots!("args"),
    Row { privilege: HARDWARE, ..setting!("audio0") },
    Row { form: Form::Flag, default: Some("0"), ..setting!("autostart") },
    Row { takes: Takes::Live, privilege: "VM.Config.Cloudinit", ..setting!("cicustom") },
    Row { takes: Takes::Live, privilege: "VM.Config.Cloudinit", ..setting!("citype") },
    Row {
        form: Form::Flag,
        default: Some("1"),
        takes: Takes::Live,
        privilege: "VM.Config.Cloudinit",
        ..setting!("ciupgrade")
    },
    Row { form: Form::Flag, default: Some("0"), ..setting!("freeze") },
    Row { privilege: HARDWARE, ..setting!("intel-tdx") },
    roots!("ivshmem"),
    Row { form: Form::Flag, default: Some("0"), ..roots!("keephugepages") },
    Row { form: Form::Decimal, default: Some("0.1"), takes: Takes::Live, ..setting!("migrate_downtime") },
    Row { form: Form::Number, default: Some("0"), takes: Takes::Live, ..setting!("migrate_speed") },
    Row {
        numbered: true,
        privilege: "VM.Config.CPU",
        takes: Takes::Restart,
        others: Others::Value,
        ..Row::new("numa", "`settings.numaN`", |g, _| settings(g, "numa"))
    },
    Row {
        numbered: true,
        takes: Takes::Restart,
        others: Others::Value,
        root: Some(|_, _, _| Some("a parallel port of the node is root@pam's to give")),
        root_words: "always",
        ..Row::new("parallel", "`settings.parallelN`", |g, _| settings(g, "parallel"))
    },
    Row { form: Form::Flag, default: Some("1"), ..setting!("reboot") },
    roots!("spice_enhancements"),
    Row { default: Some("now"), ..setting!("startdate") },
    Row { form: Form::Flag, default: Some("0"), privilege: HARDWARE, ..setting!("tdf") },
    Row { takes: Takes::Live, privilege: "VM.Config.Disk", ..setting!("vmstatestorage") },
    Row { form: Form::Prose, ..Row::new("description", "`description`", |g, _| text(table::description(g))) },
];

/// A row of disks on one bus.
const fn disks(name: &'static str, wanted: fn(&Guest, Around<'_>) -> Wanted) -> Row<Guest> {
    Row {
        numbered: true,
        form: Form::Volume(&DISK),
        takes: Takes::Restart,
        others: Others::Parts(&DISK_PARTS),
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

/// A medium in a drive: as it is declared, or the volume that its name means.
fn in_drive(declared: Option<&String>, volume: Option<&str>) -> Wanted {
    let Some(declared) = declared else { return Vec::new() };
    let volume = volume.unwrap_or(declared).to_owned();
    parts([("file", Some(volume)), ("media", Some("cdrom".into()))])
}

fn volume(file: String) -> Wanted {
    parts([("file", Some(file))])
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
        // Every setting of the node's is in the table of names, and has its row unless it is refused, or another's old name.
        use blueprint::settings::{Covered, of};
        for setting in of(GuestKind::Vm) {
            let key = if setting.numbered.is_some() {
                format!("{}0", setting.name)
            } else {
                setting.name.to_owned()
            };
            let none = matches!(setting.covered, Covered::Refused(_))
                || ["bootdisk", "cdrom", "smp"].contains(&&*key);
            assert_eq!(keys::row(&ROWS, &key).is_none(), none, "{key}");
            if setting.covered == Covered::Open {
                let row = keys::row(&ROWS, &key).unwrap();
                assert!(row.from.starts_with("`settings.") && row.others == Others::Value, "{key}");
            }
        }
        for key in ["net", "scsix", "args0", "hookscript0"] {
            assert!(keys::row(&ROWS, key).is_none(), "{key}");
        }
        assert!(is_the_nodes("unused3") && is_the_nodes("vmgenid") && !is_the_nodes("cpu"));
        assert!(is_drive("scsi1") && is_drive("efidisk0") && !is_drive("scsihw") && !is_drive("net0"));
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
}
