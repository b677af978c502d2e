use super::*;
use proptest::prelude::*;

const CONTAINER: &str = "\
#line one
#line two%3A %C3%BCn%C3%AFcode & 100%25
#
#```phoenix {\"a\"%3A1}```
arch: amd64
features: nesting=1
hostname: ct201
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:60:0C:00,ip=10.99.0.50/24,type=veth
rootfs: tank:201/vm-201-disk-0.raw,size=2G
unprivileged: 1
lxc.mount.entry: /dev/nvidia0 dev/nvidia0 none bind,optional,create=file
lxc.cgroup2.devices.allow: c 195:* rwm

[pve:pending]
delete: nameserver,searchdomain
features: nesting=0

[before]
#a snapshot's own text
hostname: old-name
memory: 128
rootfs: tank:201/vm-201-disk-0.raw,size=1G
snaptime: 1795423105
";

#[test]
fn a_containers_file() {
    let config = GuestConfig::parse(GuestKind::Container, CONTAINER);
    assert_eq!(
        config.current.description.as_deref(),
        Some("line one\nline two: ünïcode & 100%\n\n```phoenix {\"a\":1}```\n")
    );
    assert_eq!(config.current.get("hostname"), Some("ct201"));
    assert_eq!(config.current.raw.len(), 2);
    assert_eq!(config.pending.section.get("features"), Some("nesting=0"));
    assert_eq!(config.pending.delete, ["nameserver", "searchdomain"].map(str::to_owned).into());
    assert_eq!(config.skipped, [""; 0]);
    assert_eq!(config.to_string(), CONTAINER);
}

/// P-25: a value of a snapshot was read, and changed, as if it were the current one.
#[test]
fn a_snapshot_is_never_the_current_configuration() {
    let config = GuestConfig::parse(GuestKind::Container, CONTAINER);
    assert_eq!(config.current.get("memory"), Some("512"));
    assert_eq!(config.current.get("snaptime"), None);
    assert_eq!(config.snapshots["before"].get("memory"), Some("128"));
    // A key that only the snapshot has must not show either, and one without a value there does not fall through.
    let odd = GuestConfig::parse(
        GuestKind::Container,
        "memory: 1\n\n[before]\nonboot: 1\n[strange name]\ncores: 4\n",
    );
    assert_eq!(odd.current.values.keys().collect::<Vec<_>>(), ["memory"]);
    assert_eq!(odd.snapshots["before"].values.keys().collect::<Vec<_>>(), ["onboot"]);
    assert_eq!(odd.skipped, ["[strange name]"]);
}

#[test]
fn a_virtual_machines_file() {
    let text = "#notes\nboot: order=scsi0\nmemory: 512\nname: vm301\n\n[PENDING]\nmemory: 1024\n\n\
                [special:cloudinit]\nname: vm301\n\n[s1]\nmemory: 256\n";
    let config = GuestConfig::parse(GuestKind::Vm, text);
    assert_eq!(config.current.description.as_deref(), Some("notes"));
    assert_eq!(config.special["cloudinit"].get("name"), Some("vm301"));
    assert_eq!(config.to_string(), text);
    let old = GuestConfig::parse(GuestKind::Vm, "cdrom: none\nsmp: 2\ndescription: old%3A form\ndelete: x\n");
    assert_eq!((old.current.get("ide2"), old.current.get("sockets")), (Some("none"), Some("2")));
    assert_eq!(old.current.description.as_deref(), Some("old: form"));
    assert_eq!(old.skipped, ["delete: x"]);
}

/// The bytes of a recorded `pct config` with the digest that `pvesh` gave for the same guest.
#[test]
fn the_digest_is_the_sha1_of_the_bytes() {
    let text = "arch: amd64\nfeatures: nesting=1,keyctl=1\nhostname: ct250\nmemory: 512\n\
                net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:60:0C:00,ip=10.99.0.50/24,type=veth\nostype: debian\n\
                rootfs: tank:250/vm-250-disk-0.raw,size=1G\nswap: 512\nunprivileged: 1\n";
    assert_eq!(digest(text.as_bytes()), "db97e88e3ed131fb83c67be8eda6e5e33bee2145");
    assert_eq!(digest(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zé:%~ ]{0,9}", "[^\n\r]{0,12}",]
}

fn section(raw: bool) -> impl Strategy<Value = Section> {
    let values = proptest::collection::btree_map("[a-z]{1,6}[0-9]?", "[!-~]([ -~]{0,8}[!-~])?", 1..5);
    let entries = proptest::collection::vec(
        ("lxc\\.[a-z]{1,4}\\.[a-z0-9]{1,4}", "[!-~]{1,9}"),
        if raw { 0..3 } else { 0..1 },
    );
    (proptest::option::of(proptest::collection::vec(line(), 1..4)), values, entries).prop_map(
        move |(lines, mut values, mut entries)| {
            for special in ["delete", "description", "smp", "cdrom"] {
                values.remove(special);
            }
            values.insert("memory".to_owned(), "512".to_owned());
            if !raw {
                entries.clear();
            }
            let lines = lines.map(|lines| lines.iter().map(|line| format!("{line}\n")).collect());
            Section { description: lines, values, raw: entries }
        },
    )
}

fn config() -> impl Strategy<Value = GuestConfig> {
    let snapshots = proptest::collection::btree_map("s[a-z0-9_-]{1,6}", section(true), 0..3);
    let delete = proptest::collection::btree_set("[a-z]{1,6}", 0..3);
    (section(true), section(false), delete, snapshots).prop_map(|(current, pending, delete, snapshots)| {
        GuestConfig {
            current,
            pending: Pending { section: pending, delete },
            snapshots,
            ..GuestConfig::empty(GuestKind::Container)
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(config in config()) {
        let text = config.to_string();
        let read = GuestConfig::parse(GuestKind::Container, &text);
        prop_assert_eq!(&read, &config);
        prop_assert_eq!(read.to_string(), text);
    }

    #[test]
    fn nothing_makes_it_panic(text in "([#a-z\\[\\]:= %é.\n-]{0,20}\n){0,8}") {
        for kind in [GuestKind::Container, GuestKind::Vm] {
            let once = GuestConfig::parse(kind, &text);
            let again = GuestConfig::parse(kind, &once.to_string());
            prop_assert_eq!(again.to_string(), once.to_string());
        }
    }
}
