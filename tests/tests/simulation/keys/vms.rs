//! The keys of a virtual machine, each with two values.

use plan::Grade::{Live, Restart};
use serde_json::{Value, json};

use super::{Case, case};

/// What is no key of its configuration, or is not changed in place: by its path, why.
pub(super) const NOT_HERE: [(&str, &str); 22] = [
    ("answers-within", "how long `apply` waits: `machines`"),
    ("clone", "when it is made: `clones`"),
    ("cloud-init", "it takes others along: `the_drive_of_cloud_init_goes`"),
    ("enter", "when it is made: golden plan vm-enters-by-ssh"),
    ("features", "installed by its agent: `machines`"),
    ("gpu", "cards of the node: `gpus`"),
    ("id", "made anew: golden plan id-changes"),
    ("image", "when it is made: golden plan vm-image-changes"),
    ("mac", "short for `networks.net0.mac`"),
    ("address", "short for `networks.net0.address`"),
    ("network", "short for `networks.net0.network`"),
    ("mounts", "of shares, inside: golden plan shares-first"),
    ("needs", "an order of work"),
    ("networks.NAME.allowed-addresses", "the firewall's"),
    ("networks.NAME.name", "refused: a virtual machine names its devices itself"),
    ("node", "stays where it is: golden plan declared-on-another-node"),
    ("packages", "when it is made: golden plan vm-enters-by-ssh"),
    ("pool", "golden plan pool"),
    ("services", "names, certificates and proxies"),
    ("started", "`named`"),
    ("timezone", "a feature's"),
    ("was", "`named`"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        case("name", "hostname", json!("one"), json!("other")),
        case("cores", "cores", json!(2), json!(3)),
        case("sockets", "sockets", json!(1), json!(2)),
        case("vcpus", "vcpus", json!(1), json!(2)),
        case("cpu", "cpu", json!("host"), json!("x86-64-v2-AES,flags=+aes")),
        case("cpulimit", "cpulimit", json!(1.5), json!(0.25)),
        case("cpuunits", "cpuunits", json!(50), json!(200)),
        case("hookscript", "hookscript", json!("local:snippets/a.sh"), json!("local:snippets/b.sh")),
        case("numa", "numa", json!(true), json!(false)),
        case("affinity", "affinity", json!("0"), json!("0-1")),
        case("memory", "memory", json!("512M"), json!("1G")),
        case("balloon", "balloon", json!("256M"), json!("128M")).costs(Live),
        case("balloon", "balloon", json!("256M"), json!("0M")).costs(Restart),
        case("shares", "shares", json!(500), json!(2000)),
        case("hugepages", "hugepages", json!("2"), json!("any")),
        case("bios", "bios", json!("ovmf"), json!("seabios")),
        case("machine", "machine", json!("q35"), json!("q35,viommu=virtio")),
        case("scsihw", "scsi-controller", json!("virtio-scsi-single"), json!("virtio-scsi-pci")),
        case("vga", "vga", json!("std"), json!("virtio,memory=64")),
        case("rng0", "rng", json!("/dev/urandom"), json!("/dev/random")),
        case("watchdog", "watchdog", json!("i6300esb"), json!("i6300esb,action=reset")),
        case("ostype", "os", json!("l26"), json!("other")),
        case("hotplug", "hotplug", json!("network,disk,usb"), json!("network,disk,usb,cloudinit"))
            .costs(Live),
        case("hotplug", "hotplug", json!("network,disk,usb"), json!("network,disk,usb,cpu")).costs(Restart),
        case("tablet", "tablet", json!(true), json!(false)).costs(Live),
        case("localtime", "localtime", json!(true), json!(false)),
        case("acpi", "acpi", json!(true), json!(false)),
        case("kvm", "kvm", json!(true), json!(false)),
        case("keyboard", "keyboard", json!("de"), json!("fr")),
        case("agent", "agent.enabled", json!(true), json!(false)),
        case("agent", "agent.trim", json!(true), json!(false)),
        case("agent", "agent.freeze", json!(true), json!(false)),
        case("agent", "agent.type", json!("virtio"), json!("isa")),
        case("smbios1", "smbios.manufacturer", json!("Heads"), json!("Phoenix & Works")),
        case("smbios1", "smbios.product", json!("One"), json!("Two")),
        case("smbios1", "smbios.version", json!("1"), json!("2")),
        case("smbios1", "smbios.serial", json!("0815"), json!("0816")),
        case("smbios1", "smbios.sku", json!("a"), json!("b")),
        case("smbios1", "smbios.family", json!("a"), json!(null)),
        case(
            "smbios1",
            "smbios.uuid",
            json!("11111111-1111-1111-1111-111111111111"),
            json!("22222222-2222-2222-2222-222222222222"),
        ),
        case("boot", "boot", json!(["scsi0"]), json!(["scsi0", "net0"])),
        case("onboot", "onboot", json!(false), json!(true)),
        case("protection", "protected", json!(false), json!(true)),
        case("startup", "startup.order", json!(3), json!(4)),
        case("startup", "startup.up", json!(10), json!(null)),
        case("startup", "startup.down", json!(20), json!(30)),
        case("tags", "tags", json!(["Web"]), json!(["Web", "db"])),
        case("description", "description", json!("One.\n\n  two  "), json!("Another.")),
        case("ide0", "iso", json!("local:iso/a.iso"), json!("local:iso/b.iso")).costs(Live),
        case("ide0", "iso", json!("local:iso/a.iso"), json!(null)).costs(Restart),
        case("efidisk0", "uefi.keys", json!(true), json!(false)),
        case("efidisk0", "uefi.storage", json!("local-zfs"), json!("tank")).moves(Live),
        case("tpmstate0", "tpm", json!({}), json!(null)),
        case("tpmstate0", "tpm.storage", json!("local-zfs"), json!("tank")).moves(Restart),
        case("ciuser", "user.name", json!("heads"), json!("others")),
        case("sshkeys", "user.ssh-keys", json!([KEY]), json!([KEY, OTHER_KEY])),
        case("cipassword", "user.password", json!({ "generate": "heads" }), json!(null)),
        case("nameserver", "nameservers", json!(["9.9.9.9"]), json!(["9.9.9.9", "1.1.1.1"])),
        case(
            "searchdomain",
            "search-domains",
            json!(["example.org"]),
            json!(["example.org", "internal.lan"]),
        ),
        case("serial", "serial.serial0", json!("socket"), json!("/dev/ttyS0")),
        case("usb", "usb.usb0.mapping", json!("stick"), json!("key")).costs(Live),
        case("usb", "usb.usb0.usb3", json!(true), json!(null)).costs(Live),
        case("usb", "usb.usb1.host", json!("1-2"), json!("10c4:ea60")).costs(Live),
        case("hostpci", "pci.pci0.mapping", json!("gpu"), json!("card")),
        case("hostpci", "pci.pci0.pcie", json!(true), json!(false)),
        case("hostpci", "pci.pci0.rombar", json!(false), json!(null)),
        case("hostpci", "pci.pci0.primary-gpu", json!(false), json!(true)),
        case("hostpci", "pci.pci0.mdev", json!("i915-1"), json!("i915-2")),
        case("hostpci", "pci.pci0.vendor-id", json!("0x10de"), json!(null)),
        case("hostpci", "pci.pci0.device-id", json!("0x1f82"), json!("0x1f83")),
        case("hostpci", "pci.pci0.sub-vendor-id", json!("0x10de"), json!(null)),
        case("hostpci", "pci.pci0.sub-device-id", json!("0x1f82"), json!(null)),
        case("hostpci", "pci.pci1.host", json!("0000:00:02"), json!("0000:00:03")),
        case("virtiofs", "folders.folder0.mapping", json!("media"), json!("backups")),
        case("virtiofs", "folders.folder0.cache", json!("always"), json!("never")),
        case("virtiofs", "folders.folder0.acl", json!(true), json!(null)),
        case("virtiofs", "folders.folder0.xattr", json!(true), json!(false)),
        case("virtiofs", "folders.folder0.direct-io", json!(true), json!(false)),
    ];
    all.extend(nets());
    all.extend(disks());
    all.extend(settings());
    all
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Zw3v7mWm6B2p8gkKc8c5Yl9mC2kq6kO1t0c9m0xyz one";
const OTHER_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5Zw3v7mWm6B2p8gkKc8c5Yl9mC2kq6kO1t0c9m0xya two";

fn nets() -> Vec<Case> {
    let net = |path, one: Value, other: Value| case("net", path, one, other).costs(Live);
    vec![
        case("ipconfig", "networks.net0.address", json!("10.0.0.50"), json!("10.0.0.51")),
        net("networks.net0.mac", json!("02:00:00:00:00:50"), json!("02:00:00:00:00:51")),
        net("networks.net0.rate", json!(10), json!(12.5)),
        net("networks.net0.mtu", json!(1400), json!(null)),
        net("networks.net0.link-down", json!(false), json!(true)),
        net("networks.net0.firewall", json!(false), json!(true)),
        net("networks.net0.queues", json!(2), json!(4)),
        net("networks.net1.network", json!("lan"), json!("store")),
        net("networks.net2.bridge", json!("vmbr0"), json!("vmbr1")),
        net("networks.net2.vlan", json!(7), json!(null)),
        net("networks.net2.model", json!("virtio"), json!("e1000e")),
    ]
}

fn disks() -> Vec<Case> {
    let live = |path, one: Value, other: Value| case("scsi", path, one, other).costs(Live);
    let restart = |path, one: Value, other: Value| case("scsi", path, one, other).costs(Restart);
    vec![
        live("disks.scsi0.size", json!("8G"), json!("16G")),
        live("disks.scsi1.size", json!("1G"), json!("1536M")),
        case("scsi", "disks.scsi0.storage", json!("local-zfs"), json!("tank")).moves(Live),
        case("scsi", "disks.scsi1.storage", json!("local-zfs"), json!("tank")).moves(Live),
        live("disks.scsi1.backup", json!(false), json!(null)),
        live("disks.scsi1.replicate", json!(false), json!(true)),
        live("disks.scsi1.serial", json!("A1"), json!("A2")),
        live("disks.scsi1.limits.read", json!(100), json!(50.5)),
        live("disks.scsi1.limits.read-burst", json!(200), json!(null)),
        live("disks.scsi1.limits.write", json!(100), json!(50)),
        live("disks.scsi1.limits.write-burst", json!(200), json!(300)),
        live("disks.scsi1.limits.reads", json!(1000), json!(500)),
        live("disks.scsi1.limits.reads-burst", json!(2000), json!(3000)),
        live("disks.scsi1.limits.writes", json!(1000), json!(500)),
        live("disks.scsi1.limits.writes-burst", json!(2000), json!(null)),
        restart("disks.scsi1.discard", json!(true), json!(false)),
        restart("disks.scsi1.ssd", json!(true), json!(null)),
        restart("disks.scsi1.iothread", json!(true), json!(false)),
        restart("disks.scsi1.cache", json!("none"), json!("writeback")),
        restart("disks.scsi1.read-only", json!(false), json!(true)),
        restart("disks.scsi1.aio", json!("threads"), json!("native")),
        live("disks.scsi2", json!("1G"), json!(null)),
        case("virtio", "disks.virtio0", json!("1G"), json!("2G")).costs(Live),
        case("sata", "disks.sata0", json!("1G"), json!("2G")).costs(Live),
        case("sata", "disks.sata1", json!("1G"), json!(null)).costs(Restart),
        case("ide3", "second-iso", json!("local:iso/a.iso"), json!("local:iso/b.iso")).costs(Live),
        case("ide3", "second-iso", json!("local:iso/a.iso"), json!(null)).costs(Restart),
        case("ide", "disks.ide1", json!("1G"), json!("2G")).costs(Live),
    ]
}

fn settings() -> Vec<Case> {
    let one = |name: &'static str, path, first: &str, then: Value| case(name, path, json!(first), then);
    vec![
        one("allow-ksm", "settings.allow-ksm", "0", json!("1")),
        one("amd-sev", "settings.amd-sev", "type=std", json!("type=es")),
        one("arch", "settings.arch", "x86_64", json!("aarch64")),
        one("args", "settings.args", "-name rec", json!("-name two")),
        one("audio0", "settings.audio0", "device=intel-hda,driver=none", json!("device=AC97,driver=none")),
        one("autostart", "settings.autostart", "1", json!("0")),
        one(
            "cicustom",
            "settings.cicustom",
            "user=local:snippets/a.yaml",
            json!("user=local:snippets/b.yaml"),
        ),
        one("citype", "settings.citype", "nocloud", json!("configdrive2")),
        one("ciupgrade", "settings.ciupgrade", "0", json!("1")),
        one("freeze", "settings.freeze", "0", json!("1")),
        one("intel-tdx", "settings.intel-tdx", "type=tdx,attestation=0", json!("type=tdx,attestation=1")),
        one("ivshmem", "settings.ivshmem", "size=4", json!("size=8")),
        one("keephugepages", "settings.keephugepages", "1", json!("0")),
        one("migrate_downtime", "settings.migrate_downtime", "0.5", json!("1")),
        one("migrate_speed", "settings.migrate_speed", "10", json!(null)),
        one("numa", "settings.numa0", "cpus=0,memory=512", json!("cpus=0-1,memory=512")),
        one("parallel", "settings.parallel0", "/dev/parport0", json!("/dev/parport1")),
        one("reboot", "settings.reboot", "0", json!("1")),
        one("spice_enhancements", "settings.spice_enhancements", "foldersharing=1", json!(null)),
        one("startdate", "settings.startdate", "2026-01-01", json!("now")),
        one("tdf", "settings.tdf", "1", json!("0")),
        one("vmstatestorage", "settings.vmstatestorage", "tank", json!("local-zfs")),
    ]
}
