//! Encrypted datasets: made once, open after every start, under another key; and whatever is cut off, nobody is locked out.

use lab::sim::{Fault, Faults, World};
use scenarios::{Site, Try, run, state, virtually};
use serde_json::{Value, json};

use super::{apply, each, same, site, world};

fn with(encryption: &Value) -> Site {
    with_all(&json!({ "private": { "encryption": encryption }, "private/letters": {} }))
}

fn with_all(datasets: &Value) -> Site {
    let all = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "hypervisor": { "zfs": { "tank": {
            "layout": "mirror", "disks": ["ata-DISK_A", "ata-DISK_B"], "scrub": "never", "datasets": datasets,
        } } },
    });
    site(&[("site.json".to_owned(), all.to_string().into_bytes())].into_iter().collect())
}

fn at_start() -> Site {
    with(&json!({ "key": { "generate": "first-key" } }))
}

fn by_hand() -> Site {
    with(&json!({ "key": { "generate": "first-key" }, "unlock": "by-hand" }))
}

fn consent() -> Try {
    Try { all_granted: true, secrets: true, ..Try::default() }
}

async fn arrives(world: &World, site: &Site) -> String {
    let mut ended = run(world, site, &consent()).await;
    for _ in 0..3 {
        if ended.done() {
            break;
        }
        world.faults.revive();
        ended = run(world, site, &consent()).await;
    }
    assert!(ended.done(), "{:#?}\n{ended:?}\n{}", ended.failures(), world.story());
    let again = run(world, site, &consent()).await;
    assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{:#?}", again.plan());
    state::describe(world, site).await
}

/// What `then` leads to after `first` and what happens, undisturbed and with every call of it cut off.
fn whatever_is_cut_off(first: Option<&Site>, happens: fn(&World), then: &Site) -> String {
    let begin = |faults| async move {
        let world = world(1, faults);
        if let Some(first) = first {
            assert!(apply(&world, first).await.done());
        }
        let before = world.faults.calls();
        happens(&world);
        (world, before)
    };
    let (expected, before, calls) = virtually(async {
        let (world, before) = begin(Faults::none()).await;
        let ended = run(&world, then, &consent()).await;
        assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
        let calls = world.faults.calls() - before;
        (arrives(&world, then).await, before, calls)
    });
    for fault in [Fault::KillBefore, Fault::KillAfter, Fault::ReplyLost] {
        each(1..=calls, |n| {
            virtually(async {
                let (world, _) = begin(Faults::none().at(before + n, fault.clone())).await;
                let found = arrives(&world, then).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
    expected
}

const FIRST: &str = "Key { value: \"hunter2-first-key\", loaded: true, mounted: true }";

/// P-24: the key goes to the node on standard input alone, and lies where its start finds it.
#[test]
fn it_is_made_once_and_its_key_lies_where_the_start_finds_it() {
    let expected = whatever_is_cut_off(None, |_| {}, &at_start());
    assert!(expected.contains(FIRST), "{expected}");
    assert!(expected.contains("key file tank+private: hunter2-first-key"), "{expected}");
    assert!(
        expected.contains("\"keylocation\": \"file:///etc/phoenix/zfs-keys/tank+private\""),
        "{expected}"
    );
}

#[test]
fn by_hand_its_key_lies_nowhere_on_the_node() {
    let expected = whatever_is_cut_off(None, |_| {}, &by_hand());
    assert!(expected.contains(FIRST) && !expected.contains("key file"), "{expected}");
    let expected = whatever_is_cut_off(Some(&at_start()), |_| {}, &by_hand());
    assert!(expected.contains(FIRST) && !expected.contains("key file"), "{expected}");
    let expected = whatever_is_cut_off(Some(&by_hand()), |_| {}, &at_start());
    assert!(expected.contains("key file tank+private: hunter2-first-key"), "{expected}");
}

/// After a start it is open by itself, or the next run opens it; what is mounted in it is mounted.
#[test]
fn it_is_open_again_after_a_start() {
    let locks = |world: &World| world.runtime.zfs(|zfs| zfs.lock("tank"));
    assert!(whatever_is_cut_off(Some(&by_hand()), locks, &by_hand()).contains(FIRST));
    assert!(whatever_is_cut_off(Some(&at_start()), locks, &at_start()).contains(FIRST));
}

/// The system disk is thrown away: the pool is imported, and opened with the key that the site's folder has.
#[test]
fn it_is_opened_after_a_reinstallation() {
    let happens = |world: &World| {
        world.runtime.zfs(lab::sim::SimZfs::reinstall);
        world.runtime.lose_file(0, proxmox::inventory::MARK);
    };
    let expected = whatever_is_cut_off(Some(&at_start()), happens, &at_start());
    assert!(expected.contains(FIRST) && expected.contains("key file tank+private"), "{expected}");
}

/// Another key takes the place of the one of before while the dataset is used, wherever that is cut off.
#[test]
fn its_key_is_changed_whatever_is_cut_off() {
    let then = with(&json!({ "key": { "generate": "second-key" } }));
    let expected = whatever_is_cut_off(Some(&at_start()), |_| {}, &then);
    assert!(expected.contains("Key { value: \"hunter2-second-key\", loaded: true"), "{expected}");
    assert!(expected.contains("key file tank+private: hunter2-second-key"), "{expected}");
    assert!(!expected.contains("first-key"), "{expected}");
}

/// A wrong key opens nothing, and is said; what is there stays.
#[test]
fn a_wrong_key_is_said() {
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &by_hand()).await.done());
        world.runtime.zfs(|zfs| zfs.lock("tank"));
        let other = with(&json!({ "key": { "generate": "second-key" }, "unlock": "by-hand" }));
        let ended = run(&world, &other, &consent()).await;
        let codes: Vec<_> = ended.failures().iter().map(|failure| failure.code.clone()).collect();
        assert_eq!(codes, ["zfs::wrong-key"], "{ended:?}");
        assert!(apply(&world, &by_hand()).await.done());
    });
}

/// Whether a dataset is encrypted is decided when it is made.
#[test]
fn encryption_cannot_be_changed_later() {
    virtually(async {
        let world = world(1, Faults::none());
        let plain = with_all(&json!({ "private": {}, "private/letters": {} }));
        assert!(apply(&world, &plain).await.done());
        let problems = |ended: &scenarios::Ended| -> Vec<String> {
            ended.plan().problems.iter().map(|it| format!("{} {}", it.address, it.code)).collect()
        };
        let ended = apply(&world, &at_start()).await;
        assert_eq!(problems(&ended), ["dataset.tank/private zfs::encryption"], "{:#?}", ended.plan());
    });
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &at_start()).await.done());
        let plain = with_all(&json!({ "private": {}, "private/letters": {} }));
        let ended = apply(&world, &plain).await;
        assert!(ended.plan().problems.iter().any(|it| it.code == "zfs::encryption"), "{:#?}", ended.plan());
    });
}

/// Destroyed with consent, its key is gone from the node, too.
#[test]
fn destroyed_its_key_is_gone_from_the_node() {
    let expected = {
        let none = with_all(&json!({}));
        virtually(async {
            let world = world(1, Faults::none());
            assert!(apply(&world, &at_start()).await.done());
            arrives(&world, &none).await
        })
    };
    assert!(!expected.contains("key file") && !expected.contains("tank/private"), "{expected}");
}
