//! A card's mapping is made once and stays whosever it is, whatever goes wrong on the way; containers have the device files that are
//! the card's own.

use lab::sim::{Fault, Faults, World};
use scenarios::{Files, Site, Try, run, state, virtually};
use serde_json::{Value, json};

use super::{apply, each, same, site, world};

const SHARED: &str = "0000:01:00.0";
const PASSED: &str = "0000:04:00.0";

/// A site in which two containers share a card, and a machine has another of the same kind.
fn files(change: impl FnOnce(&mut Value)) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    let mut node = json!({
        "hypervisor": { "gpus": {
            "card0": { "pci": SHARED, "memory": "24G", "driver": "570.133.07" },
            "card1": { "pci": PASSED, "use": "pass" },
        } },
        "containers": { "chat": {
            "id": 120, "address": "10.0.0.120", "gpu": { "card": "card0", "memory": "10G" },
        } },
        "vms": { "games": {
            "id": 130, "address": "10.0.0.130", "agent": false, "gpu": "card1",
        } },
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

/// A world with both cards, the second left to machines.
fn furnished(faults: Faults) -> World {
    let world = world(1, faults);
    world.runtime.gpus(|gpus| {
        gpus.plug(SHARED, "nvidia", 24 << 10);
        gpus.plug(PASSED, "nvidia", 24 << 10);
        gpus.driver(PASSED, "vfio-pci");
    });
    world
}

/// Runs with every consent until it is done; then nothing may be left.
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
    described(world, site).await
}

/// What is there, without when machines were made.
async fn described(world: &World, site: &Site) -> String {
    let text = state::describe(world, site).await;
    text.lines().filter(|line| !line.starts_with("  meta:")).map(|line| format!("{line}\n")).collect()
}

/// What is there after `first` and then `then`, and how many calls each took.
fn changed(first: Option<&Site>, happens: fn(&World), then: &Site) -> (String, u64, u64) {
    virtually(async {
        let world = furnished(Faults::none());
        if let Some(first) = first {
            assert!(apply(&world, first).await.done());
        }
        happens(&world);
        let before = world.faults.calls();
        let ended = run(&world, then, &Try { all_granted: true, ..Try::default() }).await;
        assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
        (described(&world, then).await, before, world.faults.calls() - before)
    })
}

/// The same with every call of the change killed or lost in turn.
fn whatever_is_cut_off(first: Option<&Site>, happens: fn(&World), then: &Site) -> String {
    let (expected, before, calls) = changed(first, happens, then);
    assert!(calls > 10, "{calls} calls");
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::NeverSent, Fault::ReplyLost, Fault::Cut] {
        each(1..=calls, |n| {
            virtually(async {
                let world = furnished(Faults::none().at(before + n, fault.clone()));
                if let Some(first) = first {
                    assert!(apply(&world, first).await.done());
                }
                happens(&world);
                let found = arrive(&world, then).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
    expected
}

/// P-22, P-62: killed at every call, and an answer lost of every call.
#[test]
fn cards_are_given_once_whatever_is_cut_off() {
    let expected = whatever_is_cut_off(None, |_| {}, &with(|_| {}));
    for line in [
        "dev0: /dev/nvidia0,mode=0666",
        "dev2: /dev/nvidia-uvm,mode=0666",
        "mapping pci/phoenix-workshop-card1: [\"id=10de:2684,iommugroup=11,node=pve1,path=0000:04:00,subsystem-id=1043:88bf\"]",
    ] {
        assert!(expected.contains(line), "{line}\n{expected}");
    }
    assert!(!expected.contains("optional"), "{expected}");
}

/// The BIOS was updated: the mapping leads to the card again.
#[test]
fn a_mapping_follows_its_card_whatever_is_cut_off() {
    let site = with(|_| {});
    let moved = |world: &World| world.runtime.gpus(|gpus| gpus.group(PASSED, 31));
    let expected = whatever_is_cut_off(Some(&site), moved, &site);
    assert!(expected.contains("iommugroup=31"), "{expected}");
}

/// The card goes to the containers: the machine loses it, then the mapping goes.
#[test]
fn a_mapping_goes_whatever_is_cut_off() {
    let none = with(|node| {
        node["vms"]["games"].as_object_mut().unwrap().remove("gpu");
        node["hypervisor"]["gpus"].as_object_mut().unwrap().remove("card1");
    });
    let expected = whatever_is_cut_off(Some(&with(|_| {})), |_| {}, &none);
    assert!(!expected.contains("mapping pci/"), "{expected}");
}

/// Nothing is built for a card that is not as it is said, not even what does without it.
#[test]
fn a_card_that_is_missing_is_said_before_anything_is_built() {
    virtually(async {
        let world = furnished(Faults::none());
        world.runtime.gpus(|gpus| gpus.driver(SHARED, "nouveau"));
        let ended = apply(&world, &with(|_| {})).await;
        let codes: Vec<&str> = ended.plan().problems.iter().map(|it| &*it.code).collect();
        assert_eq!(codes, ["gpu::no-driver"], "{:?}", ended.plan().problems);
        assert!(world.node.configuration_files().is_empty() && world.node.mappings().is_empty());
    });
}

/// A node that was just installed: Phoenix installs the driver, `nouveau` goes with a restart, and the container waits for both.
#[test]
fn a_container_waits_for_the_driver_that_phoenix_installs() {
    virtually(async {
        let world = furnished(Faults::none());
        world.runtime.gpus(|gpus| {
            gpus.driver(SHARED, "nouveau");
            gpus.driver_from_restart(SHARED, "nvidia");
        });
        let site = with(|node| {
            node["hypervisor"]["gpus"]["card0"]["driver"] =
                json!({ "version": "570.133.07", "sha256": "4b".repeat(32) });
            node["containers"]["plain"] = json!({ "id": 121, "address": "10.0.0.121" });
        });
        let waits = |ended: &scenarios::Ended| {
            let note = "container.chat waits for the driver, which is installed on the node first";
            ended.plan().notes.iter().any(|it| it.starts_with(note))
        };
        let there = |id: u32| world.node.configuration_files().iter().any(|(it, _)| *it == id);
        // Everything else is done, without a restart that nobody agreed to.
        let first = run(&world, &site, &Try::default()).await;
        assert!(first.done() && waits(&first), "{:#?}\n{first:?}", first.plan());
        assert!(there(121) && !there(120), "{:?}", world.node.configuration_files());
        let second = run(&world, &site, &Try { restart_node: true, ..Try::default() }).await;
        assert!(second.done(), "{:#?}\n{second:?}", second.failures());
        assert_eq!(world.runtime.restarts(|it| it.count()), 1);
        let third = run(&world, &site, &Try::default()).await;
        assert!(third.done() && !waits(&third) && there(120), "{:#?}\n{third:?}", third.plan());
        let again = run(&world, &site, &Try::default()).await;
        assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{:#?}", again.plan());
        // Once it is there, another version that is loaded is trouble again.
        world.runtime.gpus(|gpus| gpus.nvidia("550.54.14"));
        let off = run(&world, &site, &Try::default()).await;
        assert!(off.plan().problems.iter().any(|it| it.code == "gpu::driver-version"), "{:#?}", off.plan());
    });
}
