use plan::inventory::zfs::Class;
use proptest::prelude::*;

use super::*;

const DEGRADED: &str = include_str!("../fixtures/degraded.txt");

fn degraded() -> Zfs {
    parse(DEGRADED).unwrap().unwrap()
}

#[test]
fn a_node_without_zfs_says_nothing() {
    assert_eq!(parse(""), Ok(None));
    assert_eq!(parse("\n"), Ok(None));
}

#[test]
fn a_degraded_pool() {
    let zfs = degraded();
    let tank = &zfs.pools["tank"];
    assert_eq!((tank.health.as_str(), tank.percent(), tank.errors.as_ref()), ("DEGRADED", 90, None));
    let shape: Vec<(Class, &str, Option<&str>, usize)> = tank
        .groups
        .iter()
        .map(|it| (it.class, it.name.as_str(), it.layout.as_deref(), it.members.len()))
        .collect();
    assert_eq!(
        shape,
        [
            (Class::Data, "mirror-0", Some("mirror"), 2),
            (Class::Log, "/dev/disk/by-id/nvme-INTEL_X-part1", None, 1),
            (Class::Spare, "/dev/disk/by-id/ata-ST4000_Z2-part1", None, 1),
        ]
    );
    let [there, gone] = tank.groups[0].members.as_slice() else { panic!("{tank:?}") };
    assert_eq!((zfs.disk_of(there), there.errors, there.state.as_str()), ("sdb", 3, "ONLINE"));
    // What is not there is known by the name that it had.
    assert_eq!((gone.name.as_str(), zfs.disk_of(gone)), ("11457869923462573845", "ata-WDC_WD40EFRX_WD-B"));
    assert_eq!(zfs.disk_named("wwn-0x50014ee2b0000001"), "sdb");
    assert_eq!(zfs.id_of("sdb"), "ata-WDC_WD40EFRX_WD-A");
    assert_eq!(zfs.pool_of("sdb"), Some(("tank", true)));
    assert!(zfs.datasets["tank/vm-101-disk-0"].volume);
    assert_eq!(zfs.datasets["tank/media"].local["quota"], "2199023255552");
    assert_eq!(
        tank.scan.as_deref().unwrap(),
        "scrub repaired 0B in 03:12:44 with 0 errors on Sun Nov  8 03:36:46 2026"
    );
}

/// What ZFS 2.1 of Debian 12 printed, of a mirror whose second disk was pulled and replaced.
#[test]
fn what_a_real_node_printed() {
    let zfs = parse(include_str!("../fixtures/recorded.txt")).unwrap().unwrap();
    let tank = &zfs.pools["tank"];
    assert_eq!((tank.health.as_str(), tank.guid.as_str()), ("ONLINE", "15585646731133228999"));
    let [mirror] = tank.groups.as_slice() else { panic!("{tank:?}") };
    let disks: Vec<&str> = mirror.members.iter().map(|it| zfs.disk_of(it)).collect();
    assert_eq!((mirror.layout.as_deref(), disks.as_slice()), (Some("mirror"), ["sda", "sdb"].as_slice()));
    assert_eq!(zfs.id_of("sdb"), "scsi-0QEMU_QEMU_HARDDISK_PHX-DISK-2-2");
    assert_eq!(zfs.pool_of("sda"), Some(("tank", true)));
    assert!(zfs.disks["sdc"].holds.is_empty() && !zfs.disks["vda"].holds.is_empty());
    assert_eq!(zfs.datasets.keys().collect::<Vec<_>>(), ["tank", "tank/media"]);
}

/// P-15: whatever is on a disk is seen, not only another pool.
#[test]
fn what_is_on_disks() {
    let zfs = degraded();
    let system = &zfs.disks["nvme0n1"];
    assert_eq!(
        system.holds,
        [
            "a partition table (gpt)",
            "vfat `EFI ONE` on nvme0n1p1",
            "LVM2_member on nvme0n1p2",
            "ext4 on pve-root"
        ]
    );
    assert!(system.busy.is_some() && !system.labels_only);
    assert_eq!(zfs.parts["pve-root"], "nvme0n1");
    let member = &zfs.disks["sdb"];
    assert!(member.labels_only && member.labels.contains_key("9183746550912837465"), "{member:?}");
    let empty = &zfs.disks["sdd"];
    assert_eq!((empty.holds.as_slice(), empty.busy.as_ref(), empty.labels_only), (&[][..], None, false));
}

#[test]
fn disks_that_take_others_places() {
    let blocks = vdevs::blocks(include_str!("../fixtures/replacing.txt").lines());
    let groups = vdevs::groups("tank", &blocks[0].config);
    let members = &groups[0].members;
    let names: Vec<(&str, Option<&str>, &str)> =
        members.iter().map(|it| (it.name.as_str(), it.replaces.as_deref(), it.state.as_str())).collect();
    assert_eq!(
        names,
        [
            ("/dev/disk/by-id/virtio-d1-part1", None, "ONLINE"),
            ("/dev/disk/by-id/virtio-d4-part1", Some("/dev/disk/by-id/virtio-d2-part1"), "ONLINE"),
            ("/dev/disk/by-id/virtio-d3-part1", None, "FAULTED"),
        ]
    );
    assert_eq!((groups[1].class, groups[1].state.as_str()), (Class::Spare, "INUSE"));
    assert!(blocks[0].text("scan").contains("in progress since"));
}

#[test]
fn a_pool_that_another_system_had() {
    let text = format!(
        "= ids\nvirtio-d1 ../../vdb\n= disks\n= pools\n\n= importable\n{}= end\n",
        include_str!("../fixtures/importable.txt")
    );
    let zfs = parse(&text).unwrap().unwrap();
    let [tank] = zfs.importable.as_slice() else { panic!("{zfs:?}") };
    assert_eq!(
        (tank.name.as_str(), tank.guid.as_str(), tank.elsewhere),
        ("tank", "15451357997522795478", true)
    );
    let disks = plan::inventory::zfs::disks(&zfs, &tank.groups);
    assert_eq!(disks.into_iter().collect::<Vec<_>>(), ["vdb", "virtio-c1", "virtio-d2", "virtio-d3"]);
    assert_eq!(zfs.pool_of("vdb"), Some(("tank", false)));
}

/// What was read, in the form in which it was.
fn print(zfs: &Zfs) -> String {
    let mut out = "= ids\n".to_owned();
    zfs.ids.iter().for_each(|(id, to)| out.push_str(&format!("{id} ../../{to}\n")));
    out.push_str("= disks\n");
    for (name, disk) in &zfs.disks {
        let serial = disk.serial.as_deref().unwrap_or_default();
        out.push_str(&format!(
            "NAME=\"{name}\" TYPE=\"disk\" PKNAME=\"\" SIZE=\"{}\" SERIAL=\"{serial}\"\n",
            disk.size
        ));
    }
    out.push_str("= pools\n");
    for (name, pool) in &zfs.pools {
        out.push_str(&format!("{}\t{name}\t{}\t{}\t{}\n", pool.guid, pool.size, pool.allocated, pool.health));
    }
    out.push_str("= status\n");
    for (name, pool) in &zfs.pools {
        out.push_str(&format!(
            "  pool: {name}\n state: {}\nconfig:\n\n\tNAME STATE READ WRITE CKSUM\n\t{name} ONLINE 0 0 0\n",
            pool.health
        ));
        for group in &pool.groups {
            let deep = if group.layout.is_some() { "    " } else { "  " };
            if group.layout.is_some() {
                out.push_str(&format!("\t  {} {} 0 0 0\n", group.name, group.state));
            }
            for member in &group.members {
                out.push_str(&format!("\t{deep}{} {} 0 0 {}\n", member.name, member.state, member.errors));
            }
        }
        out.push_str("\nerrors: No known data errors\n\n");
    }
    out.push_str("= properties\n");
    for (name, pool) in &zfs.pools {
        pool.properties
            .iter()
            .for_each(|(property, value)| out.push_str(&format!("{name}\t{property}\t{value}\n")));
    }
    out.push_str("= datasets\n");
    for (name, it) in &zfs.datasets {
        let kind = if it.volume { "volume" } else { "filesystem" };
        out.push_str(&format!("{kind}\t{name}\t{}\t{}\n", it.used, it.available));
    }
    out.push_str("= local\n");
    for (name, it) in &zfs.datasets {
        it.local.iter().for_each(|(property, value)| out.push_str(&format!("{name}\t{property}\t{value}\n")));
    }
    out.push_str("= end\n");
    out
}

fn member() -> impl Strategy<Value = plan::inventory::zfs::Member> {
    ("[a-z]{1,6}", "(ONLINE|FAULTED)", 0_u64..99).prop_map(|(id, state, errors)| {
        let path = format!("/dev/disk/by-id/ata-{id}-part1");
        plan::inventory::zfs::Member { name: path.clone(), path, state, errors, replaces: None }
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let groups = proptest::collection::vec(proptest::collection::vec(member(), 2..4), 1..3);
    let properties = proptest::collection::btree_map("[a-z@]{1,8}", "[a-z0-9 ]{1,8}", 0..4);
    (groups, properties, 0_u64..1 << 50, "[1-9][0-9]{3,18}").prop_map(|(groups, properties, size, guid)| {
        let group = |(at, members)| plan::inventory::zfs::Group {
            name: format!("mirror-{at}"),
            layout: Some("mirror".into()),
            state: "ONLINE".into(),
            members,
            ..Default::default()
        };
        let groups = groups.into_iter().enumerate().map(group).collect();
        Pool {
            guid,
            size,
            allocated: size / 3,
            health: "ONLINE".into(),
            groups,
            properties,
            scan: None,
            errors: None,
        }
    })
}

proptest! {
    #[test]
    fn what_was_read_prints_back(
        pools in proptest::collection::btree_map("[a-z]{1,6}", pool(), 0..3),
        datasets in proptest::collection::btree_map("[a-z]{1,4}(/[a-z]{1,4}){0,2}", ("[a-z:]{1,9}", "[a-zA-Z0-9/. ]{1,9}", 0_u64..1 << 40), 0..5),
        disks in proptest::collection::btree_map("sd[a-z]", ("[A-Z0-9]{0,6}", 0_u64..1 << 50), 0..4),
    ) {
        let disk = |(serial, size): (String, u64)| Disk { size, serial: Some(serial).filter(|it| !it.is_empty()), ..Disk::default() };
        let dataset = |(property, value, used): (String, String, u64)| Dataset { volume: used % 2 == 0, used, available: 1, key: None, local: [(property, value)].into() };
        let zfs = Zfs {
            pools,
            ids: disks.keys().map(|name| (format!("ata-{name}"), name.clone())).collect(),
            disks: disks.into_iter().map(|(name, it)| (name, disk(it))).collect(),
            datasets: datasets.into_iter().map(|(name, it)| (name, dataset(it))).collect(),
            ..Zfs::default()
        };
        let text = print(&zfs);
        prop_assert_eq!(parse(&text), Ok(Some(zfs)));
        // Cut off anywhere, nothing is concluded from it.
        for end in (1..text.len() - 1).filter(|end| text.is_char_boundary(*end)) {
            prop_assert!(parse(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }

    #[test]
    fn whatever_it_says_there_is_no_panic(text in "(= (ids|disks|pools|status|importable|local|end)\n|\t| |  pool: |config:\n|[a-z0-9\"=\\\\ -]{0,9}|\n){0,40}") {
        let _ = parse(&text);
    }
}
