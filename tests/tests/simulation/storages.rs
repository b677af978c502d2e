//! Storages are defined once and stay whosever they are, whatever goes wrong on the way.

use std::sync::Arc;

use apply::Failure;
use blueprint::model::SecretRef;
use lab::node::Auth;
use lab::sim::{Fault, Faults, SimExchange, World};
use managers::{Secrets, Ways};
use plan::{Address, Options, SiteKey, Trust};
use proxmox::exchange::{Exchange as _, Method, Request};
use scenarios::{Ended, Files, Known, Site, Try, now, run, state, virtually};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{apply, each, same, settle, site, undisturbed, world};

/// A site with storages of every kind, and a guest and a template on two of them.
fn files(change: impl FnOnce(&mut Value)) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    let mut guests = json!({
        "storages": {
            "fast": { "zfspool": "tank/vms", "sparse": true },
            "files": { "dir": "/srv/files", "content": ["vztmpl", "iso"] },
            "office": {
                "cifs": { "server": "10.0.0.20", "share": "backups", "user": "pve", "password": { "generate": "office" } },
                "content": ["backup"], "prune-backups": { "last": 3 },
            },
        },
        "containers": { "notes": {
            "id": 120, "address": "10.0.0.120", "template": "debian-12", "disk": { "size": "4G", "storage": "fast" },
        } },
    });
    change(&mut guests);
    [("site.json", site), ("guests.json", guests)]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect()
}

fn with(change: impl FnOnce(&mut Value)) -> Site {
    site(&files(change))
}

/// One without what is slow.
fn small() -> Site {
    with(|guests| drop(guests.as_object_mut().unwrap().remove("containers")))
}

async fn by_hand(world: &World, method: Method, path: &str, params: &[(&str, &str)]) {
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let exchange = SimExchange::new(world.node.clone(), Auth::root());
    let answer = exchange.exchange(&Request { method, path: path.to_owned(), params }).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.reason);
}

#[test]
fn storages_are_there_before_what_lies_on_them() {
    let (there, ..) = undisturbed(&with(|_| {}));
    for line in [
        "storage fast: zfspool {\"content\": \"images,rootdir\", \"pool\": \"tank/vms\", \"sparse\": \"1\"}",
        "storage files: dir {\"content\": \"iso,vztmpl\", \"path\": \"/srv/files\"}",
        "rootfs: fast:subvol-120-disk-0",
    ] {
        assert!(there.contains(line), "{line}\n{there}");
    }
    assert!(!there.contains("hunter2"), "a password is there to be read:\n{there}");
}

/// P-24, T-11: killed at every call, and an answer lost of every call.
#[test]
fn storages_are_defined_once_whatever_is_cut_off() {
    let site = small();
    let (expected, calls, _) = undisturbed(&site);
    assert!(calls > 15, "{calls} calls: too few for a run");
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        super::kills::killed_at_every_call(&site, &fault);
    }
    for fault in [Fault::NeverSent, Fault::ReplyLost] {
        each(1..=calls, |n| {
            virtually(async {
                let world = world(1, Faults::none().at(n, fault.clone()));
                let found = settle(&world, &site, 3).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
}

/// The same of a change, of an end, and of what is defined anew.
#[test]
fn storages_change_and_go_whatever_is_cut_off() {
    let first = small();
    let changed = with(|guests| {
        guests.as_object_mut().unwrap().remove("containers");
        let all = guests["storages"].as_object_mut().unwrap();
        all.remove("office");
        all.insert("files".to_owned(), json!({ "dir": "/srv/elsewhere", "content": ["iso"] }));
        all["fast"]["content"] = json!(["rootdir"]);
    });
    let consent = Try { all_granted: true, ..Try::default() };
    let there = virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &first).await.done());
        let before = world.faults.calls();
        let ended = run(&world, &changed, &consent).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        let calls = world.faults.calls() - before;
        (state::describe(&world, &changed).await, before, calls)
    });
    let (expected, before, calls) = there;
    assert!(expected.contains("/srv/elsewhere") && !expected.contains("storage office"), "{expected}");
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::ReplyLost] {
        each(1..=calls, |n| {
            virtually(async {
                let world = world(1, Faults::none().at(before + n, fault.clone()));
                assert!(apply(&world, &first).await.done());
                let mut ended = run(&world, &changed, &consent).await;
                for _ in 0..3 {
                    if ended.done() {
                        break;
                    }
                    world.faults.revive();
                    ended = run(&world, &changed, &consent).await;
                }
                let again = run(&world, &changed, &consent).await;
                assert!(again.plan().steps.is_empty(), "{fault:?} at {n}: {:#?}", again.plan().steps);
                let found = state::describe(&world, &changed).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
}

/// P-16: what others write into the notes, and what others define, stays.
#[test]
fn what_is_anybody_elses_stays() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), small());
        by_hand(
            &world,
            Method::Put,
            "/cluster/options",
            &[("description", "Call Ada.\n\n```phoenix\nnonsense\n```")],
        )
        .await;
        let params = [("storage", "theirs"), ("type", "dir"), ("path", "/srv/theirs")];
        by_hand(&world, Method::Post, "/storage", &params).await;
        assert!(apply(&world, &site).await.done());
        assert!(
            world.node.notes().starts_with("Call Ada.\n\n```phoenix\nnonsense\n```\n"),
            "{}",
            world.node.notes()
        );
        let everything = Try { destroy: true, all_granted: true, ..Try::default() };
        assert!(run(&world, &site, &everything).await.done());
        assert_eq!(world.node.notes().trim_end(), "Call Ada.\n\n```phoenix\nnonsense\n```");
        let left = world.node.definitions();
        assert!(
            left.contains_key("theirs") && left.contains_key("local") && !left.contains_key("files"),
            "{left:?}"
        );
        let again = run(&world, &site, &everything).await;
        assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
    });
}

/// A definition that goes is looked at once more: between the plan and now somebody put a disk there.
#[test]
fn a_disk_that_came_meanwhile_keeps_its_storage() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), with(|_| {}));
        assert!(apply(&world, &site).await.done());
        let place = json!({ "type": "zfspool", "options": { "pool": "tank/vms" } });
        let remove = json!({ "remove": { "name": "fast", "place": place } });
        let refused =
            scenarios::carry_out(&world, &site, Address::storage("fast"), remove).await.unwrap_err();
        assert_eq!(refused.code, "storage::in-use", "{refused:?}");
        assert!(world.node.definitions().contains_key("fast"));
    });
}

/// What a site of the same name believes that has another key.
fn another_trust() -> Arc<Trust> {
    Arc::new(Trust::new("workshop", Some(Arc::new(SiteKey::from_text(&"7".repeat(64)).unwrap()))))
}

/// A block of the same site's name that another key made is nobody's to write over.
#[test]
fn the_notes_of_another_key_are_left_alone() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), small());
        assert!(apply(&world, &site).await.done());
        let notes = world.node.notes();
        let stranger = Try { trust: Some(another_trust()), ..Try::default() };
        let changed = with(|guests| {
            guests.as_object_mut().unwrap().remove("containers");
            guests["storages"]["more"] = json!({ "dir": "/srv/more", "content": ["iso"] });
        });
        let ended = run(&world, &changed, &stranger).await;
        assert!(
            ended.failures().iter().all(|failure| failure.code == "storage::claimed"),
            "{:#?}",
            ended.failures()
        );
        assert_eq!(world.node.notes(), notes);
        assert!(!world.node.definitions().contains_key("more"));
    });
}

/// The password of every storage, whatever it is called.
#[derive(Debug)]
struct Said(&'static str);

impl Secrets for Said {
    fn resolve(&self, _: &SecretRef) -> Result<SecretString, Failure> {
        Ok(self.0.to_owned().into())
    }
}

/// A value that changes behind the same reference is a step; the value is nowhere.
#[test]
fn another_password_is_a_step() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), small());
        let ended = apply(&world, &site).await;
        assert!(ended.done());
        let Ended::Walked { plan, events, .. } = &ended else { unreachable!() };
        assert!(!format!("{plan:?}{events:?}{}", world.node.notes()).contains(scenarios::SECRET));
        let plan = async |value: &'static str| {
            let ways =
                Ways::new(Some(Arc::new(world.shell.clone())), Arc::new(Known(world.exchange.clone())));
            let mut seen = managers::observe(&ways).await.unwrap();
            seen.judge(&site.trust());
            managers::look_for(&ways, &site.desired, &mut seen).await;
            managers::features::known::look(&site.desired, &mut seen, site.trust().key(), &Said(value));
            let options = Options {
                now: now(),
                targets: Vec::new(),
                destroy: false,
                no_restart: false,
                restart_node: false,
            };
            plan::plan(&site.desired, &seen, &managers::kinds(), &options)
        };
        assert_eq!(plan("hunter2-office").await.steps.len(), 0);
        let changed = plan("hunter3-office").await;
        let [step] = changed.steps.as_slice() else { panic!("{:#?}", changed.steps) };
        assert_eq!((step.address.as_str(), step.action), ("storage.office", plan::Action::Update));
        assert!(
            step.reasons[0].contains("has changed") && !format!("{step:?}").contains("hunter3"),
            "{step:#?}"
        );
    });
}
