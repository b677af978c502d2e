//! Templates and images are fetched before guests are made of them, whatever goes wrong on the way.

use std::time::Duration;

use lab::node::TaskTwist;
use lab::sim::{Fault, Faults, World, WorldOptions};
use scenarios::{Ended, Files, Site, Try, run, state, virtually};
use serde_json::{Value, json};

use super::{apply, each, same, settle, site};

/// The sum of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

const URL: &str = "https://images.example.org/x.tar.zst";
const DISK: &str = "https://images.example.org/debian-13-genericcloud-amd64.qcow2";

/// A site whose containers are made of what comes from the catalogue (declared and not), from the web and from its folder.
fn files() -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    let container = |id: u32, template: &str| json!({ "id": id, "address": format!("10.0.0.{id}"), "template": template });
    let guests = json!({
        "templates": {
            "alpine": { "catalogue": "alpine-3.22" },
            "mine": { "url": URL, "sha256": HELLO },
            "own": { "file": "templates/own.tar.zst", "sha256": HELLO },
        },
        "images": { "debian-13": { "url": DISK }, "cd": { "file": "iso/x.iso" } },
        "containers": {
            "a": container(120, "alpine"), "b": container(121, "mine"), "c": container(122, "own"),
            "d": container(123, "ubuntu-24.04"),
        },
    });
    let mut files: Files = [("site.json", site), ("guests.json", guests)]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect();
    files.insert("templates/own.tar.zst".to_owned(), b"hello".to_vec());
    files.insert("iso/x.iso".to_owned(), b"a CD".to_vec());
    files
}

fn with(change: impl FnOnce(&mut Value)) -> Site {
    let mut files = files();
    let mut guests: Value = serde_json::from_slice(&files["guests.json"]).unwrap();
    change(&mut guests);
    files.insert("guests.json".to_owned(), guests.to_string().into_bytes());
    site(&files)
}

/// Of all that is declared, the template `mine` alone.
fn only_mine(change: impl FnOnce(&mut Value)) -> Site {
    with(|guests| {
        guests["images"] = json!({});
        guests["templates"] = json!({ "mine": guests["templates"]["mine"] });
        guests["containers"] = json!({ "b": guests["containers"]["b"] });
        change(guests);
    })
}

fn world(faults: Faults) -> World {
    let options = WorldOptions::new(1).faults(faults).latency(Duration::from_millis(2));
    let world = options.build().expect("in memory");
    world.runtime.offer("system", "alpine-3.22-default_20250617_amd64.tar.xz");
    world.runtime.offer("system", "ubuntu-24.04-standard_24.04-2_amd64.tar.zst");
    world.runtime.publish(URL, "hello");
    world.runtime.publish(DISK, b"QFI\xfb and so on".to_vec());
    world
}

/// What is there after a run in which nothing goes wrong, how many calls it took, and how many events it told.
fn undisturbed(site: &Site) -> (String, u64, usize) {
    virtually(async {
        let world = world(Faults::none());
        let ended = apply(&world, site).await;
        let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        let (calls, events) = (world.faults.calls(), events.len());
        let again = apply(&world, site).await;
        assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
        (state::describe(&world, site).await, calls, events)
    })
}

#[test]
fn all_that_is_named_is_fetched_once_and_guests_are_made_of_it() {
    let (there, ..) = undisturbed(&site(&files()));
    for volume in [
        "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz of",
        "local:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst of",
        "local:vztmpl/mine-2cf24dba5fb0.tar.zst of 5 bytes",
        "local:vztmpl/own-2cf24dba5fb0.tar.zst of 5 bytes",
        "local:import/debian-13.qcow2 of",
        "local:iso/cd.iso of 4 bytes",
    ] {
        assert_eq!(there.matches(volume).count(), 1, "{volume}\n{there}");
    }
    assert_eq!(there.matches(" running\n").count(), 4, "{there}");
}

/// Nothing more is asked of the node where all is there and nothing is declared.
#[test]
fn a_plan_that_needs_no_template_asks_nothing_more() {
    virtually(async {
        let plain = only_mine(|guests| {
            guests["templates"] = json!({});
            guests["containers"]["b"]["template"] = "debian-12".into();
        });
        let world = world(Faults::none());
        assert!(apply(&world, &plain).await.done());
        let before = world.faults.calls();
        assert!(apply(&world, &plain).await.plan().steps.is_empty());
        let without = world.faults.calls() - before;
        // The same containers, and images to look for: one list for each kind of them and storage that may hold it.
        let images = with(|guests| {
            guests["templates"] = json!({});
            guests["containers"] =
                json!({ "b": { "id": 121, "address": "10.0.0.121", "template": "debian-12" } });
        });
        assert!(apply(&world, &images).await.done());
        let before = world.faults.calls();
        assert!(apply(&world, &images).await.plan().steps.is_empty());
        assert_eq!(world.faults.calls() - before, without + 2);
    });
}

fn at_every_call(fault: &Fault) {
    let site = site(&files());
    let (expected, calls, _) = undisturbed(&site);
    each(1..=calls, |n| {
        virtually(async {
            let world = world(Faults::none().at(n, fault.clone()));
            let ended = run(&world, &site, &Try::default()).await;
            world.faults.revive();
            let story = format!("{fault:?} at call {n}: {:#?}\n{}", ended.failures(), world.story());
            let found = settle(&world, &site, 2).await;
            same(&found, &expected, &story);
            assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{story}");
            // No file is fetched twice: an answer that is lost is looked after.
            let fetched = |made: &&lab::sim::Made| made.status == 200 && made.what.contains("/download-url");
            assert_eq!(world.faults.made().iter().filter(fetched).count(), 2, "{story}");
        });
    });
}

#[test]
fn killed_before_every_call() {
    at_every_call(&Fault::KillBefore);
}

#[test]
fn killed_after_every_call() {
    at_every_call(&Fault::KillAfter);
}

#[test]
fn every_answer_lost() {
    at_every_call(&Fault::ReplyLost);
}

#[test]
fn every_call_not_sent() {
    at_every_call(&Fault::NeverSent);
}

/// A task that fails at its lock is one that somebody else holds: it is tried again.
#[test]
fn a_lock_that_somebody_holds_is_waited_for() {
    virtually(async {
        let lock = "can't lock file '/var/lock/pve-manager/pve-download.lck' - got timeout".to_owned();
        let world = world(Faults::none().task(1, TaskTwist::FailBefore(lock)));
        let ended = apply(&world, &only_mine(|_| {})).await;
        assert!(ended.done(), "{:#?}", ended.failures());
    });
}

/// Why a run failed, in one text, and what is on the storages then.
async fn failed(site: &Site, code: &str) -> String {
    let world = world(Faults::none());
    let ended = apply(&world, site).await;
    let failures = ended.failures();
    let [failure] = failures.as_slice() else { panic!("{failures:#?}") };
    assert_eq!(failure.code, code, "{failure:?}");
    let made = world.node.kept_files();
    assert!(!made.keys().any(|volume| volume.contains("mine")), "something was left: {made:?}");
    assert_eq!(world.node.configuration_files().len(), 0, "a guest was made of nothing");
    format!("{failure:?}")
}

#[test]
fn another_sum_leaves_nothing() {
    let site = only_mine(|guests| guests["templates"]["mine"]["sha256"] = "0".repeat(64).into());
    let told = virtually(failed(&site, "images::checksum"));
    assert!(told.contains(URL) && told.contains(HELLO), "{told}");
}

#[test]
fn what_the_web_does_not_have() {
    for url in ["https://images.example.org/gone.tar.zst", "https://nowhere.example.org/x.tar.zst"] {
        let site = only_mine(|guests| guests["templates"]["mine"]["url"] = url.into());
        let told = virtually(failed(&site, "images::unreachable"));
        assert!(told.contains(url) && told.contains("curl -sSI"), "{told}");
    }
}

#[test]
fn what_is_no_image() {
    let site = only_mine(|guests| {
        guests["templates"] = json!({});
        guests["containers"] = json!({});
        guests["images"] = json!({ "mine": { "url": URL, "format": "qcow2" } });
    });
    let told = virtually(failed(&site, "images::not-an-image"));
    assert!(told.contains("not in qcow2 format"), "{told}");
}

#[test]
fn a_full_storage_says_so() {
    virtually(async {
        let full = "unable to write '/var/lib/vz/template/cache/x': No space left on device".to_owned();
        let world = world(Faults::none().task(1, TaskTwist::FailBefore(full)));
        let ended = apply(&world, &only_mine(|_| {})).await;
        let failures = ended.failures();
        assert_eq!(failures[0].code, "proxmox::no-space", "{failures:#?}");
    });
}

/// Somebody put another file in the place of the one that the plan was made for.
#[test]
fn a_file_that_changed_since() {
    virtually(async {
        let site = with(|_| {});
        fs_err::write(site.folder.path().join("iso/x.iso"), "another CD").unwrap();
        let world = world(Faults::none());
        let ended = apply(&world, &site).await;
        assert_eq!(ended.failures()[0].code, "images::file-changed", "{:#?}", ended.failures());
    });
}
