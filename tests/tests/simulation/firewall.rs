//! Runs of a site with a firewall: whatever goes wrong, the node lets the next run in, and the rules are those that were
//! declared or those that were there before (P-20, P-73, T-14).

use std::time::Duration;

use lab::sim::{Fault, Faults, World};
use plan::Address;
use proxmox::client::Reader;
use scenarios::{Ended, Files, Site, Try, first, run, state, virtually};
use transport::Runner as _;

use super::{LOCK, apply, each, same, settle, undisturbed, world};

/// The first workshop behind a firewall.
fn guarded(firewall: &str) -> Files {
    let mut files = first();
    let text = format!(
        r#"{{
          "site": {{ "name": "workshop", "domain": "workshop.internal" }},
          "target": {{ "lab": {{}} }},
          "networks": {{ "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }} }},
          "firewall": {firewall}
        }}"#
    );
    files.insert("site.json".into(), text.into());
    files
}

fn site(firewall: &str) -> Site {
    Site::of(&guarded(firewall))
}

const ZERO_TRUST: &str = r#"{ "zero-trust": true }"#;

/// New connections get in.
async fn open(world: &World) {
    world.shell.fresh().await.unwrap_or_else(|error| panic!("{error}\n{}", world.story()));
    let reader = Reader::new(std::sync::Arc::new(world.exchange.clone()));
    reader.fresh().await.unwrap_or_else(|error| panic!("{error}\n{}", world.story()));
}

fn file(world: &World, name: &str) -> String {
    world.node.firewall_files().unwrap().remove(name).unwrap_or_default()
}

#[test]
fn it_is_there_and_a_second_run_has_nothing_to_do() {
    let site = site(ZERO_TRUST);
    virtually(async {
        let world = world(7, Faults::none());
        // Somebody's own rule, in a file of ours to be.
        world.node.put_firewall_file("cluster.fw", Some("[RULES]\nIN SSH(ACCEPT) # mine\n")).unwrap();
        let found = settle(&world, &site, 1).await;
        assert!(!found.contains("WRONG"), "{found}");
        let cluster = file(&world, "cluster.fw");
        assert!(cluster.contains("enable: 1") && cluster.contains("IN SSH(ACCEPT) # mine"), "{cluster}");
        for container in site.desired.guests.values() {
            let text = file(&world, &format!("{}.fw", container.id));
            assert!(
                text.contains("policy_out: DROP") && text.contains("# phoenix:workshop:packages"),
                "{text}"
            );
        }
        open(&world).await;
        // Steps that are there at the same time are one change: the site's, and all guests' together or one by one.
        let changes = world.faults.made().iter().filter(|made| made.what == "firewall apply").count();
        assert!(changes <= 1 + site.desired.guests.len(), "{changes}");

        // The firewall is declared no more: what was there before is there.
        let without = Site::of(&first());
        settle(&world, &without, 1).await;
        assert_eq!(
            file(&world, "cluster.fw").replace("[OPTIONS]\n\n\n", ""),
            "[RULES]\nIN SSH(ACCEPT) # mine\n"
        );
        assert_eq!(world.node.firewall_files().unwrap().len(), 1);
    });
}

/// Every call in turn is lost, before it or with its answer, or its answer is cut.
fn every_call(fault: &Fault) {
    let site = site(ZERO_TRUST);
    let (expected, calls, _) = undisturbed(&site);
    assert!(expected.contains("firewall cluster.fw"), "{expected}");
    each(1..=calls, |n| {
        virtually(async {
            let world = world(1, Faults::none().at(n, fault.clone()));
            let ended = apply(&world, &site).await;
            let failed: Vec<String> =
                ended.failures().into_iter().map(|f| format!("{}: {f}", f.code)).collect();
            let found = if ended.done() {
                state::describe(&world, &site).await
            } else {
                settle(&world, &site, 1).await
            };
            same(&found, &expected, &format!("call {n}, {fault:?}: {failed:#?}\n{}", world.story()));
            assert!(n == LOCK || failed.is_empty(), "call {n}, {fault:?}: {failed:#?}\n{}", world.story());
            open(&world).await;
            // What was armed and is confirmed is never taken back.
            tokio::time::sleep(Duration::from_secs(120)).await;
            same(&state::describe(&world, &site).await, &expected, "two minutes later");
        });
    });
}

#[test]
fn calls_that_are_never_sent() {
    every_call(&Fault::NeverSent);
}

#[test]
fn answers_that_are_lost() {
    every_call(&Fault::ReplyLost);
}

#[test]
fn answers_that_are_cut() {
    every_call(&Fault::Cut);
}

/// Killed anywhere, and started again at once, or after the node has taken back what was not confirmed.
fn killed(fault: &Fault, later: Duration) {
    let site = site(ZERO_TRUST);
    let (expected, calls, _) = undisturbed(&site);
    each(1..=calls, |n| {
        virtually(async {
            let world = world(1, Faults::none().at(n, fault.clone()));
            let ended = run(&world, &site, &Try::default()).await;
            assert!(matches!(ended, Ended::Killed), "call {n}: {ended:?}");
            world.faults.revive();
            open(&world).await;
            tokio::time::sleep(later).await;
            open(&world).await;
            let found = settle(&world, &site, 1).await;
            let story = format!("{fault:?} at call {n}, again after {later:?}\n{}", world.story());
            same(&found, &expected, &story);
            tokio::time::sleep(Duration::from_secs(120)).await;
            same(&state::describe(&world, &site).await, &expected, &story);
        });
    });
}

#[test]
fn killed_before_every_call() {
    killed(&Fault::KillBefore, Duration::ZERO);
}

#[test]
fn killed_after_every_call() {
    killed(&Fault::KillAfter, Duration::ZERO);
}

#[test]
fn killed_after_every_call_and_started_when_the_node_has_taken_it_back() {
    killed(&Fault::KillAfter, Duration::from_secs(61));
}

/// P-20: a change that would shut everybody out, whatever made it. The step fails, says so, and the old rules are back.
#[test]
fn a_change_that_shuts_phoenix_out_is_taken_back() {
    let site = site("{}");
    virtually(async {
        let world = world(7, Faults::none());
        let before = settle(&world, &site, 1).await;
        let cluster = file(&world, "cluster.fw");
        // Not even the planner's own look would find it: the step says what to write.
        let shut = "[OPTIONS]\n\nenable: 1\n\n[RULES]\n\nIN DROP\n";
        let work = serde_json::json!({ "write": { "files": [
            { "name": "host:pve1", "old": file(&world, "host:pve1"), "new": shut },
            { "name": "cluster.fw", "old": cluster, "new": shut },
        ] } });
        let failure = scenarios::carry_out(&world, &site, Address::firewall("site"), work).await.unwrap_err();
        assert_eq!(failure.code, "firewall::way-cut", "{failure}");
        assert!(failure.errors.iter().any(|error| error == "the old rules are back"), "{failure}");
        assert!(failure.hint.is_some());
        open(&world).await;
        assert_eq!(state::describe(&world, &site).await, before);
        assert!(apply(&world, &site).await.plan().steps.is_empty());

        // Somebody was quicker: nothing is written.
        let change = serde_json::json!({ "name": "cluster.fw", "old": "other", "new": shut });
        let work = serde_json::json!({ "write": { "files": [change] } });
        let failure = scenarios::carry_out(&world, &site, Address::firewall("site"), work).await.unwrap_err();
        assert_eq!(failure.code, "firewall::modified", "{failure}");
        assert_eq!(state::describe(&world, &site).await, before);
    });
}

/// The whole site goes, and its firewall with it.
#[test]
fn destroyed() {
    let site = site(ZERO_TRUST);
    virtually(async {
        let world = world(7, Faults::none());
        settle(&world, &site, 1).await;
        let all = Try { destroy: true, all_granted: true, ..Try::default() };
        let ended = run(&world, &site, &all).await;
        assert!(ended.done(), "{:?}", ended.failures());
        assert!(world.node.firewall_files().unwrap().is_empty(), "{:?}", world.node.firewall_files());
        assert!(world.node.configuration_files().is_empty());
    });
}
