//! A site on two nodes of a cluster: T-9.

use std::sync::Arc;
use std::time::Duration;

use lab::node::Auth;
use lab::sim::{Fault, Faults, World, WorldOptions};
use managers::Ways;
use plan::Address;
use proxmox::exchange::{Method, Request};
use scenarios::{Ended, Files, Site, Try, first, run, virtually};
use transport::{Command, Runner as _};

use super::{apply, each, site};

/// The first workshop, whose page `notes` is on the second node. It shows a folder of that node, which takes root there.
fn on_two_nodes() -> Files {
    let mut files = first();
    let guests = String::from_utf8(files["guests.json"].clone()).unwrap();
    let more = "\"id\": 120, \"node\": \"pve2\", \"mounts\": { \"mp0\": { \"path\": \"/srv/shared\", \"host\": \"/srv/shared\" } },";
    assert!(guests.contains("\"id\": 120,"), "{guests}");
    files.insert("guests.json".into(), guests.replacen("\"id\": 120,", more, 1).into_bytes());
    files
}

fn two(faults: Faults) -> World {
    WorldOptions::new(5).nodes(2).faults(faults).latency(Duration::from_millis(2)).build().unwrap()
}

fn ids(files: Vec<(u32, Arc<str>)>) -> Vec<u32> {
    files.into_iter().map(|(id, _)| id).collect()
}

/// As a migration leaves it: the same file and the same state, on the second node.
async fn migrate(world: &World, id: u32) {
    let (_, text) = world.node.configuration_files().into_iter().find(|(it, _)| *it == id).unwrap();
    let path = format!("/nodes/pve1/lxc/{id}");
    let force = vec![("force".to_owned(), "1".to_owned())];
    let gone = Request { method: Method::Delete, path, params: force };
    let answer = world.node.handle(&Auth::root(), &gone).await;
    assert_eq!(answer.status, 200, "{}", answer.reason);
    world.node.task_end(answer.body["data"].as_str().unwrap()).await;
    assert!(!ids(world.node.configuration_files()).contains(&id));
    world.others[0].node.put_guest(id, &text).unwrap();
    world.others[0].runtime.set_running(id);
}

#[test]
fn each_guest_is_made_and_filled_on_its_own_node() {
    let site = site(&on_two_nodes());
    virtually(async {
        let world = two(Faults::none());
        let ended = apply(&world, &site).await;
        assert!(ended.done(), "{ended:#?} {:#?}\n{}", ended.failures(), world.story());
        assert_eq!(ids(world.others[0].node.configuration_files()), [120]);
        let here = ids(world.node.configuration_files());
        assert!(here.len() >= 2 && !here.contains(&120), "{here:?}");
        // What takes root was set on the guest's own node.
        let (_, text) = &world.others[0].node.configuration_files()[0];
        assert!(text.contains("mp0: /srv/shared,mp=/srv/shared"), "{text}");
        let again = apply(&world, &site).await;
        assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{:#?}", again.plan());
        // Whoever comes by the other node finds the same, looking inside included.
        let by = Try { by: Some(1), deep: true, ..Try::default() };
        let again = run(&world, &site, &by).await;
        assert!(again.plan().steps.is_empty() && again.plan().problems.is_empty(), "{:#?}", again.plan());
        assert_eq!(world.faults.doubled(), Vec::<String>::new());
        let gone = run(&world, &site, &Try { destroy: true, all_granted: true, ..Try::default() }).await;
        assert!(gone.done(), "{:#?}", gone.failures());
        assert!(world.node.all_configuration_files().is_empty());
    });
}

/// Which guests are on which node.
fn places(world: &World) -> Vec<(String, u32)> {
    world.node.all_configuration_files().into_iter().map(|file| (file.node, file.id)).collect()
}

/// Whatever went wrong in the first run, one more ends where it would have ended, on both nodes.
async fn ends(world: &World, site: &Site, expected: &[(String, u32)], told: &str) {
    world.faults.revive();
    let ended = apply(world, site).await;
    assert!(ended.done(), "{told}: {:#?}\n{}", ended.failures(), world.story());
    assert_eq!(places(world), expected, "{told}");
    let again = apply(world, site).await;
    assert!(again.plan().steps.is_empty(), "{told}: {:#?}", again.plan().addresses());
    assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{told}");
}

/// Where guests are after a run in which nothing goes wrong, how many calls it took, and how many events it told.
fn undisturbed(site: &Site) -> (Vec<(String, u32)>, u64, usize) {
    virtually(async {
        let world = two(Faults::none());
        let ended = apply(&world, site).await;
        let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
        (places(&world), world.faults.calls(), events.len())
    })
}

#[test]
fn killed_at_every_event_on_two_nodes_and_started_again() {
    let site = site(&on_two_nodes());
    let (expected, _, events) = undisturbed(&site);
    each(1..=events, |n| {
        virtually(async {
            let world = two(Faults::none());
            let ended = run(&world, &site, &Try { dies_at: Some(n), ..Try::default() }).await;
            // At the last three, which come at once, everything was done.
            assert!(matches!(ended, Ended::Killed) || n + 2 >= events, "event {n}: {ended:?}");
            ends(&world, &site, &expected, &format!("killed at event {n}")).await;
        });
    });
}

#[test]
fn every_call_on_two_nodes_goes_wrong() {
    let site = site(&on_two_nodes());
    let (expected, calls, _) = undisturbed(&site);
    for fault in [Fault::NeverSent, Fault::ReplyLost] {
        each(1..=calls, |n| {
            virtually(async {
                let world = two(Faults::none().at(n, fault.clone()));
                apply(&world, &site).await;
                ends(&world, &site, &expected, &format!("{fault:?} at call {n}")).await;
            });
        });
    }
}

/// Two people who reach different nodes exclude each other.
#[test]
fn the_lock_is_one_for_all_nodes() {
    let site = site(&on_two_nodes());
    virtually(async {
        let world = two(Faults::none());
        let (first, second) = (Try::default(), Try { by: Some(1), ..Try::default() });
        let (first, second) = tokio::join!(run(&world, &site, &first), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            run(&world, &site, &second).await
        });
        assert!(first.done(), "{:#?}", first.failures());
        let failures = second.failures();
        assert_eq!(failures.iter().map(|f| f.code.as_str()).collect::<Vec<_>>(), ["lock::taken"]);
        // It ends with the run.
        assert!(run(&world, &site, &Try { by: Some(1), ..Try::default() }).await.plan().steps.is_empty());
    });
}

/// A guest that was moved since the plan was made is changed, and looked into, where it is now; and it is never taken for
/// one that is gone.
#[test]
fn what_was_moved_in_between_is_followed() {
    let site = site(&first());
    virtually(async {
        let world = two(Faults::none());
        assert!(apply(&world, &site).await.done());
        let id = site.id("notes");
        let path = format!("/nodes/pve1/lxc/{id}");
        let reader = proxmox::client::Reader::new(Arc::new(world.exchange.clone()));
        let config = |node: &str| {
            let guest = proxmox::client::GuestRef::new(node, proxmox::config::GuestKind::Container, id);
            let reader = reader.clone();
            async move { reader.config(&guest).await }
        };
        let digest = config("pve1").await.unwrap()["digest"].clone();
        let ways = Ways::new(Some(Arc::new(world.shell.clone())), reader.clone());
        managers::observe(&ways).await.unwrap();
        assert_eq!(ways.known_node_of(id).as_deref(), Some("pve1"));
        migrate(&world, id).await;
        assert!(config("pve1").await.unwrap_err().is_not_found(), "{path}");

        // A command in it follows.
        let inside = ways.guest(id).unwrap();
        let output = inside.run(&Command::new("asking", ["echo", "here"])).await.unwrap();
        assert_eq!((output.text().as_ref(), ways.known_node_of(id).as_deref()), ("here\n", Some("pve2")));

        // The plan knew it on the first node.
        let update = serde_json::json!({
            "do": "update", "id": id, "node": "pve1", "digest": digest, "set": [["memory", "768"]],
        });
        scenarios::carry_out(&world, &site, Address::container("notes"), update).await.unwrap();
        assert_eq!(config("pve2").await.unwrap()["memory"], "768");

        let delete = serde_json::json!({ "do": "delete", "id": id, "node": "pve1" });
        scenarios::carry_out(&world, &site, Address::container("notes"), delete).await.unwrap();
        assert!(config("pve2").await.unwrap_err().is_not_found(), "it is gone where it was");
    });
}
