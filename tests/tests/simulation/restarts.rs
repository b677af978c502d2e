//! The node is restarted only with consent, once, and what ran before runs again, whatever goes wrong on the way (P-21, I-9).

use lab::runtime::Runtime as _;
use lab::sim::{Fault, Faults, World};
use scenarios::{Ended, Files, Site, Try, run, virtually};
use serde_json::{Value, json};

use super::{LOCK, LONGEST, each, site, world};

const PASSED: &str = "0000:04:00.0";

/// Guests of nobody that this site knows: one that runs and does not start with the node, and one that is off.
const OTHERS: u32 = 900;

/// A site whose machine has a card, beside containers that have nothing to do with it.
fn files(change: impl FnOnce(&mut Value)) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    let mut node = json!({
        "hypervisor": { "gpus": { "card1": { "pci": PASSED, "use": "pass" } } },
        "containers": {
            "first": { "id": 120, "address": "10.0.0.120", "startup": { "order": 1 } },
            "late": { "id": 121, "address": "10.0.0.121", "needs": ["first"], "onboot": false },
        },
        "vms": { "games": { "id": 130, "address": "10.0.0.130", "agent": false, "gpu": "card1" } },
    });
    change(&mut node);
    [("site.json", site), ("node.json", node)]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect()
}

fn wanted() -> Site {
    site(&files(|_| {}))
}

fn agreed() -> Try {
    Try { restart_node: true, ..Try::default() }
}

/// A world in which everything is there that needs no restart, and the guests of others; how many calls that took.
async fn prepared(site: &Site, faults: Faults) -> World {
    let world = world(1, faults);
    world.runtime.gpus(|gpus| {
        gpus.plug(PASSED, "nvidia", 24 << 10);
        gpus.driver_from_restart(PASSED, "vfio-pci");
    });
    let off = |id: u32| World::guest_file(id).replace("onboot: 1\n", "");
    world.add_guests(OTHERS, 1, off).unwrap();
    world.node.put_guest(OTHERS + 1, &World::guest_file(OTHERS + 1).replace("onboot: 1\n", "")).unwrap();
    let ended = run(&world, site, &Try::default()).await;
    assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
    world
}

async fn runs(world: &World) -> Vec<u32> {
    world.node.idle().await;
    world.runtime.running().await.into_iter().collect()
}

fn restarts(world: &World) -> u64 {
    world.runtime.restarts(|it| it.count())
}

/// Whoever goes on sees that the node does not answer while it is down.
async fn revive(world: &World) {
    world.faults.revive();
    while world.runtime.is_down() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

fn put_off(ended: &Ended) -> Vec<&str> {
    ended.plan().postponed.iter().map(|it| it.address.as_str()).collect()
}

/// Without consent nothing restarts, all else is done, and the plan says what waits, for as long as it does.
#[test]
fn nothing_restarts_the_node_without_consent() {
    virtually(async {
        let site = wanted();
        let world = prepared(&site, Faults::none()).await;
        for _ in 0..2 {
            let again = run(&world, &site, &Try::default()).await;
            assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{:#?}", again.plan());
            assert_eq!(put_off(&again), ["reboot.node"]);
            let notes = again.plan().notes.join("\n");
            assert!(notes.contains("vm.games waits for the restart of the node"), "{notes}");
        }
        assert_eq!((restarts(&world), runs(&world).await), (0, vec![120, 121, OTHERS]));
        assert!(!world.faults.made().iter().any(|made| made.what.starts_with("shutdown")));
    });
}

/// From nothing, in one run: the feature, the restart, and then what needs it.
#[test]
fn one_run_goes_through_the_restart() {
    virtually(async {
        let world = world(1, Faults::none());
        world.runtime.gpus(|gpus| {
            gpus.plug(PASSED, "nvidia", 24 << 10);
            gpus.driver_from_restart(PASSED, "vfio-pci");
        });
        let ended = run(&world, &wanted(), &agreed()).await;
        assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
        assert_eq!((restarts(&world), runs(&world).await), (1, vec![120, 121, 130]));
        let again = run(&world, &wanted(), &agreed()).await;
        assert!(again.plan().steps.is_empty() && put_off(&again).is_empty(), "{:#?}", again.plan());
    });
}

/// What ran runs again, in the order of its starts, and what was off is off.
#[test]
fn what_ran_before_runs_again() {
    virtually(async {
        let site = wanted();
        let world = prepared(&site, Faults::none()).await;
        let before = world.faults.made().len();
        let ended = run(&world, &site, &agreed()).await;
        assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
        assert_eq!((restarts(&world), runs(&world).await), (1, vec![120, 121, 130, OTHERS]));
        let made: Vec<String> = world.faults.made().into_iter().skip(before).map(|made| made.what).collect();
        let at =
            |what: &str| made.iter().position(|it| it == what).unwrap_or_else(|| panic!("{what}: {made:?}"));
        // What has no place in the order stops first; the first of all stops last.
        assert!(
            at("shutdown 900") < at("shutdown 120") && at("shutdown 121") < at("shutdown 120"),
            "{made:?}"
        );
        assert!(at("shutdown 120") < at("restart node") && at("restart node") < at("start 900"), "{made:?}");
        // That one starts by itself.
        assert!(!made.iter().any(|it| it == "start 120"), "{made:?}");
        let told = ended.plan().steps.iter().find(|step| step.address.as_str() == "reboot.node").unwrap();
        assert!(told.changes[0].new.as_str().unwrap().contains("900 (ct900)"), "{told:?}");
        let again = run(&world, &site, &Try::default()).await;
        assert!(again.plan().steps.is_empty() && put_off(&again).is_empty(), "{:#?}", again.plan());
    });
}

/// How many calls come before the run with consent, and how many it makes.
fn calls() -> (u64, u64) {
    virtually(async {
        let site = wanted();
        let world = prepared(&site, Faults::none()).await;
        let before = world.faults.calls();
        assert!(run(&world, &site, &agreed()).await.done());
        (before, world.faults.calls() - before)
    })
}

/// Nothing of it is left, and the second plan is empty.
async fn is_over(world: &World, site: &Site, story: &str) {
    assert_eq!(runs(world).await, [120, 121, 130, OTHERS], "{story}\n{}", world.story());
    assert_eq!(restarts(world), 1, "{story}\n{}", world.story());
    let left = world.runtime.restarts(|it| (it.written().map(str::to_owned), it.waiting().len()));
    assert_eq!(left, (None, 0), "{story}");
    let again = run(world, site, &agreed()).await;
    assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{story} {:#?}", again.plan());
}

/// Killed at every call, also while the node is down: the next run goes on, and the node restarts once.
#[test]
fn killed_at_every_call_it_goes_on() {
    let (before, calls) = calls();
    assert!(calls > 30, "{calls} calls");
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        each(1..=calls, |n| {
            virtually(async {
                let site = wanted();
                let world = prepared(&site, Faults::none().at(before + n, fault.clone())).await;
                let ended = run(&world, &site, &agreed()).await;
                let story = format!("{fault:?} at call {n}");
                assert!(matches!(ended, Ended::Killed), "{story}: {ended:?}");
                revive(&world).await;
                let ended = run(&world, &site, &agreed()).await;
                assert!(ended.done(), "{story}: {:#?}\n{ended:?}\n{}", ended.failures(), world.story());
                is_over(&world, &site, &story).await;
            });
        });
    }
}

/// Killed at every call, and gone on with without consent: the node is not restarted then, and what was stopped for it runs again.
#[test]
fn killed_at_every_call_and_not_agreed_to_again() {
    let (before, calls) = calls();
    each(1..=calls, |n| {
        virtually(async {
            let site = wanted();
            let world = prepared(&site, Faults::none().at(before + n, Fault::KillAfter)).await;
            assert!(matches!(run(&world, &site, &agreed()).await, Ended::Killed));
            revive(&world).await;
            let told = restarts(&world);
            let ended = run(&world, &site, &Try::default()).await;
            let story = format!("killed at call {n}\n{}", world.story());
            assert!(ended.done(), "{story}: {:#?}\n{ended:?}", ended.failures());
            assert_eq!(restarts(&world), told, "{story}");
            let running = runs(&world).await;
            match told {
                0 => assert_eq!(running, [120, 121, OTHERS], "{story}"),
                _ => assert_eq!(running, [120, 121, 130, OTHERS], "{story}"),
            }
            let ended = run(&world, &site, &agreed()).await;
            assert!(ended.done(), "{story}: {:#?}\n{ended:?}", ended.failures());
            is_over(&world, &site, &story).await;
        });
    });
}

/// An answer of every call is lost, or its call: the run itself gets over it.
#[test]
fn an_answer_lost_of_every_call() {
    let (before, calls) = calls();
    for fault in [Fault::NeverSent, Fault::ReplyLost, Fault::Cut] {
        each(1..=calls, |n| {
            virtually(async {
                let site = wanted();
                let world = prepared(&site, Faults::none().at(before + n, fault.clone())).await;
                let ended = run(&world, &site, &agreed()).await;
                let story = format!("{fault:?} at call {n}");
                if let Ended::Walked { took, .. } = &ended {
                    assert!(*took < LONGEST, "{story}: {took:?}");
                }
                if !ended.done() {
                    assert_eq!(n, LOCK, "{story}: {:#?}\n{ended:?}\n{}", ended.failures(), world.story());
                    assert!(run(&world, &site, &agreed()).await.done(), "{story}");
                }
                is_over(&world, &site, &story).await;
            });
        });
    }
}

/// A node that does not come back is said, in time, with what to do; once it is back, the next run goes on.
#[test]
fn a_node_that_does_not_come_back() {
    virtually(async {
        let site = wanted();
        let world = prepared(&site, Faults::none()).await;
        world.runtime.restarts(|it| it.lose(true));
        let ended = run(&world, &site, &agreed()).await;
        let Ended::Walked { took, .. } = &ended else { panic!("{ended:?}") };
        assert!(*took < LONGEST, "{took:?}");
        let failures = ended.failures();
        let [failure] = failures.as_slice() else { panic!("{failures:#?}") };
        assert_eq!(failure.code, "reboot::away", "{failure:?}");
        assert!(failure.hint.as_ref().unwrap().contains("console"), "{failure:?}");
        world.runtime.restarts(|it| it.lose(false));
        assert!(run(&world, &site, &Try::default()).await.done());
        is_over(&world, &site, "it came back").await;
    });
}

/// What goes waits for the next start, too: the card is the node's own only from then on.
#[test]
fn what_goes_waits_as_well() {
    virtually(async {
        let world = prepared(&wanted(), Faults::none()).await;
        assert!(run(&world, &wanted(), &agreed()).await.done());
        let without = site(&files(|node| {
            node["vms"].as_object_mut().unwrap().clear();
            node["hypervisor"]["gpus"].as_object_mut().unwrap().clear();
            node["hypervisor"]["features"] = json!(["chrony"]);
        }));
        let consent = Try { all_granted: true, ..Try::default() };
        let ended = run(&world, &without, &consent).await;
        assert!(ended.done(), "{:#?}\n{ended:?}", ended.failures());
        let ended = run(&world, &without, &consent).await;
        assert!(ended.plan().steps.is_empty(), "{:#?}", ended.plan());
        assert_eq!(put_off(&ended), ["reboot.node"]);
        assert!(run(&world, &without, &Try { restart_node: true, ..consent.clone() }).await.done());
        assert_eq!(restarts(&world), 2);
        assert!(put_off(&run(&world, &without, &consent).await).is_empty());
    });
}

/// What is set back before the restart waits for nothing, and nothing restarts for it, though that was agreed to.
#[test]
fn what_is_set_back_waits_no_more() {
    virtually(async {
        let with = |words: Value| {
            site(&files(|node| {
                node["vms"].as_object_mut().unwrap().clear();
                node["hypervisor"] = json!({ "kernel": { "command-line": words } });
            }))
        };
        let (first, changed) = (with(json!(["iommu=pt"])), with(json!(["iommu=pt", "nohz=off"])));
        let world = world(1, Faults::none());
        assert!(run(&world, &first, &agreed()).await.done());
        let before = restarts(&world);
        assert_eq!(put_off(&run(&world, &changed, &Try::default()).await), ["reboot.node"]);
        assert_eq!(world.runtime.restarts(|it| it.waiting().len()), 1);
        let ended = run(&world, &first, &agreed()).await;
        assert!(ended.done() && !ended.plan().steps.is_empty(), "{ended:?}");
        assert_eq!((restarts(&world), world.runtime.restarts(|it| it.waiting().len())), (before, 0));
        let again = run(&world, &first, &Try::default()).await;
        assert!(again.plan().steps.is_empty() && put_off(&again).is_empty(), "{:#?}", again.plan());
    });
}
