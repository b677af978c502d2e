//! Pools and datasets are made once and keep their data, whatever goes wrong on the way.

use lab::sim::{Fault, Faults, World};
use scenarios::{Ended, Files, Site, Try, run, state, virtually};
use serde_json::{Value, json};

use super::{apply, each, same, settle, site, undisturbed, world};

fn disk(letter: &str) -> String {
    format!("ata-DISK_{letter}")
}

/// A site with a pool of two disks, datasets in it, and a storage on one.
fn files(change: impl FnOnce(&mut Value)) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    let mut node = json!({
        "hypervisor": { "zfs": { "tank": {
            "layout": "mirror", "disks": [disk("A"), disk("B")], "compression": "zstd",
            "datasets": {
                "media": { "quota": "2T", "snapshots": "14d", "properties": { "atime": "off" } },
                "media/films": {},
                "vms": {},
            },
        } } },
        "storages": { "fast": { "zfspool": "tank/vms", "sparse": true } },
    });
    change(&mut node);
    [("site.json", site), ("node.json", node)]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect()
}

fn with(change: impl FnOnce(&mut Value)) -> Site {
    site(&files(change))
}

fn tank(node: &mut Value) -> &mut Value {
    &mut node["hypervisor"]["zfs"]["tank"]
}

/// Runs with every consent until it is done, at most three times after the first; then nothing may be left.
async fn arrive(world: &World, site: &Site) -> String {
    let consent = Try { all_granted: true, ..Try::default() };
    let mut ended = run(world, site, &consent).await;
    for _ in 0..3 {
        if ended.done() {
            break;
        }
        world.faults.revive();
        ended = run(world, site, &consent).await;
    }
    assert!(ended.done(), "{:#?}\n{ended:?}\n{}", ended.failures(), world.story());
    let again = run(world, site, &consent).await;
    assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{:#?}", again.plan());
    state::describe(world, site).await
}

/// What is there after `first`, something that happens, and `then`; and how many calls each took.
fn changed(first: &Site, happens: fn(&World), then: &Site) -> (String, u64, u64) {
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, first).await.done());
        let before = world.faults.calls();
        happens(&world);
        let ended = run(&world, then, &Try { all_granted: true, ..Try::default() }).await;
        assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
        let calls = world.faults.calls() - before;
        (state::describe(&world, then).await, before, calls)
    })
}

/// The same with every call of the change killed or lost in turn.
fn whatever_is_cut_off(first: &Site, happens: fn(&World), then: &Site) -> String {
    let (expected, before, calls) = changed(first, happens, then);
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::NeverSent, Fault::ReplyLost, Fault::Cut] {
        each(1..=calls, |n| {
            virtually(async {
                let world = world(1, Faults::none().at(before + n, fault.clone()));
                assert!(apply(&world, first).await.done());
                happens(&world);
                let found = arrive(&world, then).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
    expected
}

/// P-24, T-11: killed at every call, and an answer lost of every call.
#[test]
fn pools_are_made_once_whatever_is_cut_off() {
    let site = with(|_| {});
    let (expected, calls, _) = undisturbed(&site);
    assert!(
        expected.contains("dataset tank/media: {\"atime\": \"off\", \"phoenix:site\": \"workshop\""),
        "{expected}"
    );
    assert!(expected.contains("storage fast: zfspool") && calls > 20, "{calls} calls\n{expected}");
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        super::kills::killed_at_every_call(&site, &fault);
    }
    for fault in [Fault::NeverSent, Fault::ReplyLost, Fault::Cut] {
        each(1..=calls, |n| {
            virtually(async {
                let world = world(1, Faults::none().at(n, fault.clone()));
                let found = settle(&world, &site, 3).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
}

/// A group more, a log, a cache, other properties: the same end, and nothing twice.
#[test]
fn pools_grow_whatever_is_cut_off() {
    let then = with(|node| {
        let tank = tank(node);
        tank["disks"] = json!([[disk("A"), disk("B")], [disk("C"), disk("D")]]);
        tank["log"] = json!([disk("E")]);
        tank["cache"] = json!([disk("F")]);
        tank["autotrim"] = json!(true);
        tank["datasets"]["media"] = json!({ "quota": "3T" });
    });
    let expected = whatever_is_cut_off(&with(|_| {}), |_| {}, &then);
    assert!(expected.contains("Some(\"cache\") None: [\"ata-DISK_F\"]"), "{expected}");
    assert!(expected.contains("\"quota\": \"3298534883328\"") && !expected.contains("atime"), "{expected}");
}

/// A disk fails, and another takes its place.
#[test]
fn a_disk_is_replaced_whatever_is_cut_off() {
    let then = with(|node| tank(node)["disks"] = json!([disk("A"), disk("C")]));
    let expected = whatever_is_cut_off(
        &with(|_| {}),
        |world| world.runtime.zfs(|zfs| zfs.fail("tank", "ata-DISK_B")),
        &then,
    );
    assert!(expected.contains("[\"ata-DISK_A\", \"ata-DISK_C\"]"), "{expected}");
}

/// The system disk is thrown away: the pool comes back with all that is on it.
#[test]
fn a_pool_comes_back_whatever_is_cut_off() {
    let happens = |world: &World| {
        world.runtime.zfs(|zfs| {
            zfs.set("tank/media/films", "by-hand:mark", "kept");
            zfs.reinstall();
        });
        world.runtime.lose_file(0, proxmox::inventory::MARK);
    };
    let site = with(|_| {});
    let expected = whatever_is_cut_off(&site, happens, &site);
    assert!(expected.contains("\"by-hand:mark\": \"kept\""), "{expected}");
}

/// Destroyed with consent, whatever is cut off; the disks say still what they were.
#[test]
fn pools_are_destroyed_whatever_is_cut_off() {
    let none = with(|node| {
        node["hypervisor"] = json!({});
        node["storages"] = json!({});
    });
    let expected = whatever_is_cut_off(&with(|_| {}), |_| {}, &none);
    assert!(!expected.contains("pool tank") && expected.contains("a label of tank"), "{expected}");
}

/// Without the word nothing is destroyed (P-15).
#[test]
fn nothing_is_destroyed_without_consent() {
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &with(|_| {})).await.done());
        let none = with(|node| {
            node["hypervisor"] = json!({});
            node["storages"] = json!({});
        });
        let ended = apply(&world, &none).await;
        assert!(ended.report().skipped.iter().any(|address| address.as_str() == "pool.tank"), "{ended:?}");
        assert!(world.runtime.zfs(|zfs| zfs.places()).contains("tank/media/films"));
        // Nor does the end of the site, whose name is a word for all of it.
        let everything = Try { destroy: true, all_granted: true, ..Try::default() };
        assert!(run(&world, &with(|_| {}), &everything).await.done());
        assert!(world.runtime.zfs(|zfs| zfs.places()).contains("tank/media/films"));
        let again = run(&world, &with(|_| {}), &everything).await;
        assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
    });
}

/// P-15: between the plan and the step somebody put something on the disk.
#[test]
fn a_disk_that_was_used_meanwhile_is_left_alone() {
    virtually(async {
        let world = world(1, Faults::none());
        world.runtime.zfs(|zfs| zfs.format("ata-DISK_B", "ext4", Some("/mnt")));
        let work = json!({ "node": "pve1", "pool": "tank", "do": { "create": {
            "groups": [{ "layout": "mirror", "disks": [disk("A"), disk("B")] }], "ashift": 12,
            "said": { "pool": {}, "root": {} }, "wipe": [{ "disk": disk("B"), "serial": "B" }],
        } } });
        let site = with(|_| {});
        let refused =
            scenarios::carry_out(&world, &site, plan::Address::pool("tank"), work).await.unwrap_err();
        assert_eq!(refused.code, "zfs::disk-used", "{refused:?}");
        assert!(world.runtime.zfs(|zfs| zfs.described()).contains("System(\"ext4\", Some(\"/mnt\"))"));
    });
}

/// A run that was cut off while it put labels on disks goes on, and asks nobody: what it left there is its own.
#[test]
fn labels_of_a_run_that_was_cut_off_are_its_own() {
    virtually(async {
        let site = with(|_| {});
        let (expected, ..) = {
            let world = self::world(1, Faults::none());
            assert!(apply(&world, &site).await.done());
            (state::describe(&world, &site).await, ())
        };
        // Killed right before the pool is made: what the node remembers says so already.
        let mut tried = 0;
        for n in 1..60 {
            let world = self::world(1, Faults::none().at(n, Fault::KillBefore));
            let ended = apply(&world, &site).await;
            world.faults.revive();
            let remembers = state::describe(&world, &site).await.contains("\"m\":[");
            if !matches!(ended, Ended::Killed)
                || !remembers
                || !world.runtime.zfs(|zfs| zfs.places()).is_empty()
            {
                continue;
            }
            tried += 1;
            world.runtime.zfs(|zfs| zfs.half_label("ata-DISK_A"));
            let found = settle(&world, &site, 2).await;
            same(&found, &expected, &world.story());
        }
        assert!(tried > 0, "it was never cut off in between");
    });
}

/// Issue 11, 12: a plan with 100 datasets takes no call more, and no time that anybody would notice.
#[test]
fn a_plan_with_a_hundred_datasets() {
    virtually(async {
        let many = with(|node| {
            let all = tank(node)["datasets"].as_object_mut().unwrap();
            for n in 0..100 {
                all.insert(format!("d{n}"), json!({ "quota": "1G" }));
            }
        });
        let world = world(1, Faults::none());
        assert!(apply(&world, &many).await.done());
        let calls = |before: u64| world.faults.calls() - before;
        let before = world.faults.calls();
        let begin = std::time::Instant::now();
        let again = apply(&world, &many).await;
        let (took, with_many) = (begin.elapsed(), calls(before));
        assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
        // Unoptimised, on a busy machine.
        assert!(took.as_millis() < 2000, "{took:?}");
        let few = super::world(1, Faults::none());
        let small = with(|_| {});
        assert!(apply(&few, &small).await.done());
        let before = few.faults.calls();
        assert!(apply(&few, &small).await.plan().steps.is_empty());
        assert_eq!(few.faults.calls() - before, with_many);
    });
}
