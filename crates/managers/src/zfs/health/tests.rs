use blueprint::model::{Dataset, Layout, REPLICA};
use plan::inventory::NodeFacts;

use super::*;

fn wanted() -> model::Pool {
    let films = Dataset {
        name: "tank/media".into(),
        properties: [(SNAPSHOTS.to_owned(), "14d".to_owned())].into(),
        encryption: None,
        declared: model::Location::default(),
    };
    model::Pool {
        name: "tank".into(),
        layout: Layout::Mirror,
        groups: vec![vec!["ata-WDC_WD40EFRX_WD-A".into(), "ata-WDC_WD40EFRX_WD-B".into()]],
        special: Vec::new(),
        log: Vec::new(),
        cache: Vec::new(),
        spare: Vec::new(),
        ashift: 12,
        wipe: Default::default(),
        properties: Default::default(),
        root: [(SCRUB.to_owned(), "monthly".to_owned())].into(),
        datasets: [(films.name.clone(), films)].into(),
        declared: Default::default(),
    }
}

fn seen(change: impl FnOnce(&mut Zfs)) -> PoolHealth {
    seen_as(&wanted(), change)
}

fn seen_as(wanted: &model::Pool, change: impl FnOnce(&mut Zfs)) -> PoolHealth {
    let mut zfs = crate::zfs::parse(include_str!("../fixtures/degraded.txt")).unwrap().unwrap();
    change(&mut zfs);
    let facts = NodeFacts { zfs: Some(zfs), ..NodeFacts::default() };
    let inventory =
        Inventory { node: "pve1".into(), nodes: [("pve1".to_owned(), facts)].into(), ..Inventory::default() };
    health(wanted, &inventory, "2026-11-30T07:00:00Z".parse().unwrap()).unwrap()
}

/// A pool whose disks all work.
fn well(zfs: &mut Zfs) {
    let tank = zfs.pools.get_mut("tank").unwrap();
    tank.health = "ONLINE".into();
    tank.allocated = tank.size / 2;
    for member in tank.groups.iter_mut().flat_map(|group| &mut group.members) {
        if member.state == "UNAVAIL" {
            member.state = "ONLINE".into();
        }
        member.errors = 0;
    }
}

fn code(health: &PoolHealth) -> Option<String> {
    health.trouble().map(|trouble| trouble.code)
}

#[test]
fn a_pool_that_is_well_says_so() {
    let health = seen(well);
    assert_eq!(health.words(), "ONLINE, 50 % full, 3.6 TiB free, read and compared 22 days ago");
    assert_eq!(code(&health), None);
}

#[test]
fn a_degraded_pool_says_what_mends_it() {
    let trouble = seen(|_| {}).trouble().unwrap();
    assert_eq!(trouble.code, "zfs::degraded");
    assert_eq!(trouble.text, "the pool tank is DEGRADED: the disk ata-WDC_WD40EFRX_WD-B is UNAVAIL");
    assert!(trouble.hint.contains("zpool online tank 11457869923462573845"), "{}", trouble.hint);
}

#[test]
fn what_else_is_trouble() {
    let of = |change: fn(&mut Zfs, &mut Pool)| {
        code(&seen(|zfs| {
            well(zfs);
            let mut tank = zfs.pools.remove("tank").unwrap();
            change(zfs, &mut tank);
            zfs.pools.insert("tank".into(), tank);
        }))
    };
    assert_eq!(of(|_, tank| tank.allocated = tank.size / 100 * 81 + 100).as_deref(), Some("zfs::full"));
    assert_eq!(of(|_, tank| tank.groups[0].members[0].errors = 3).as_deref(), Some("zfs::disk-errors"));
    assert_eq!(of(|_, tank| tank.errors = Some("2 data errors".into())).as_deref(), Some("zfs::data-lost"));
    let old = "scrub repaired 0B in 03:12:44 with 0 errors on Sun Sep  6 03:36:46 2026";
    assert!(scrub_ended(old).is_some());
    let of_old = |_: &mut Zfs, tank: &mut Pool| {
        tank.scan = Some("scrub repaired 0B in 03:12:44 with 0 errors on Sun Sep  6 03:36:46 2026".into());
    };
    assert_eq!(of(of_old).as_deref(), Some("zfs::not-scrubbed"));
    let snapped = |zfs: &mut Zfs, _: &mut Pool| {
        zfs.datasets.get_mut("tank/media").unwrap().local.insert(SNAPPED.into(), "1795000000".into());
    };
    assert_eq!(of(snapped).as_deref(), Some("zfs::no-snapshots"));
    // Snapshots are made, and their copy is not: it never was, or was last a week ago.
    for replicated in [None, Some("1795400000")] {
        let mut wanted = wanted();
        let media = wanted.datasets.get_mut("tank/media").unwrap();
        media.properties.insert(REPLICA.to_owned(), "backup/media 90d".to_owned());
        let trouble = seen_as(&wanted, |zfs| {
            well(zfs);
            let local = &mut zfs.datasets.get_mut("tank/media").unwrap().local;
            local.insert(SNAPPED.into(), "1795990000".into());
            local.extend(replicated.map(|at| (REPLICATED.to_owned(), at.to_owned())));
        });
        let trouble = trouble.trouble().unwrap();
        assert_eq!(trouble.code, "zfs::not-replicated");
        let words = if replicated.is_some() { "is 7 days old" } else { "was never made" };
        assert!(trouble.text.contains(&format!("backup/media of tank/media {words}")), "{}", trouble.text);
    }
    assert_eq!(code(&seen(|zfs| zfs.pools.clear())).as_deref(), Some("zfs::gone"));
}
