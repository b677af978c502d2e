//! Guests that get another name, guests that are off, and the order in which all start.

use std::collections::BTreeMap;
use std::sync::Arc;

use lab::node::Auth;
use lab::runtime::Runtime as _;
use lab::sim::{Fault, Faults, World};
use plan::{Action, Address, Grade};
use proxmox::client::{GuestRef, Reader};
use proxmox::config::GuestKind;
use proxmox::exchange::{Method, Request};
use scenarios::{Files, Try, first, run, state, virtually};

use super::{apply, each, same, settle, site, world};

/// The first workshop with something more said of its notes, perhaps under another name.
fn notes(name: &str, more: &str) -> Files {
    let mut files = first();
    let text = String::from_utf8(files["guests.json"].clone()).unwrap();
    let (old, new) = ("    \"notes\": {\n", format!("    \"{name}\": {{\n {more}"));
    assert!(text.contains(old), "{text}");
    files.insert("guests.json".into(), text.replacen(old, &new, 1).into_bytes());
    files
}

fn renamed() -> Files {
    notes("journal", "\"was\": \"notes\",")
}

fn off() -> Files {
    notes("notes", "\"started\": false,")
}

async fn config(world: &World, id: u32) -> BTreeMap<String, String> {
    let reader = Reader::new(Arc::new(world.exchange.clone()));
    reader.config(&GuestRef::new("pve1", GuestKind::Container, id)).await.unwrap()
}

/// A new name: the same id, MAC and disk, a mark with the new name, and nothing that is made or destroyed.
#[test]
fn a_new_name_destroys_nothing() {
    let (old, new) = (site(&first()), site(&renamed()));
    virtually(async {
        let world = world(3, Faults::none());
        assert!(apply(&world, &old).await.done());
        let (before, calls) = (state::identities(&world), world.faults.made().len());
        let ended = apply(&world, &new).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        let own = ended.plan().steps.iter().find(|step| step.address == Address::container("journal"));
        let own = own.expect("the guest has a step");
        assert_eq!((own.action, own.grade), (Action::Update, Grade::Live), "{own:#?}");
        assert!(ended.plan().steps.iter().all(|step| step.grade == Grade::Live), "{:#?}", ended.plan());
        let made: Vec<_> = world.faults.made()[calls..].iter().map(|made| made.what.clone()).collect();
        let makes =
            |what: &String| ["create", "destroy", "stop", "shutdown"].iter().any(|it| what.starts_with(it));
        assert!(!made.iter().any(makes), "{made:?}");
        // The same MACs and addresses, with the new name.
        let renamed = |(id, it): (u32, String)| (id, it.replace("notes ", "journal "));
        assert_eq!(state::identities(&world), before.into_iter().map(renamed).collect());
        let config = config(&world, 120).await;
        assert_eq!(config["hostname"], "journal");
        assert!(config["description"].contains("container.journal"), "{config:#?}");
        assert!(apply(&world, &new).await.plan().steps.is_empty());
        let found = state::describe(&world, &new).await;
        assert!(!found.contains("WRONG"), "{found}");
    });
}

/// Killed before and after each call while a name changes, it ends where it would have ended (P-24).
#[test]
fn a_new_name_converges_wherever_it_is_cut_off() {
    let (old, new) = (site(&first()), site(&renamed()));
    let begun = || async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &old).await.done());
        world
    };
    let (expected, calls) = virtually(async {
        let world = begun().await;
        let begin = world.faults.calls();
        assert!(apply(&world, &new).await.done());
        let calls = begin + 1..=world.faults.calls();
        (settle(&world, &new, 1).await, calls)
    });
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        each(calls.clone(), |n| {
            virtually(async {
                let world = begun().await;
                let _planned = world.faults.clone().at(n, fault.clone());
                run(&world, &new, &Try::default()).await;
                world.faults.revive();
                let found = settle(&world, &new, 1).await;
                same(&found, &expected, &format!("{fault:?} at call {n}\n{}", world.story()));
            });
        });
    }
}

/// A guest is shut down as a step, left alone while it is off, and started as a step.
#[test]
fn off_and_on_again() {
    let (on, off) = (site(&first()), site(&off()));
    virtually(async {
        let world = world(4, Faults::none());
        assert!(apply(&world, &on).await.done());
        for (wanted, runs, grade) in [(&off, false, Grade::Restart), (&on, true, Grade::Live)] {
            let ended = apply(&world, wanted).await;
            assert!(ended.done(), "{:#?}", ended.failures());
            let step = ended.plan().steps.iter().find(|step| step.address == Address::container("notes"));
            assert_eq!(step.map(|step| step.grade), Some(grade), "{:#?}", ended.plan());
            let again = apply(&world, wanted).await;
            assert!(again.plan().steps.is_empty(), "{:#?}", again.plan());
            assert_eq!(world.runtime.running().await.contains(&120), runs);
        }
    });
}

/// A site of before that was remembered gets its order of starts as one live step for each guest.
#[test]
fn the_order_of_starts_comes_to_what_is_there() {
    let wanted = site(&first());
    virtually(async {
        let world = world(5, Faults::none());
        assert!(apply(&world, &wanted).await.done());
        let places = |a: &BTreeMap<String, String>| a.get("startup").cloned();
        let expected = [config(&world, 101).await, config(&world, 120).await].each_ref().map(places);
        assert_eq!(expected, [Some("order=3000".to_owned()), Some("order=4000".to_owned())]);
        for id in [101, 120] {
            let path = format!("/nodes/pve1/lxc/{id}/config");
            let params = vec![("delete".to_owned(), "startup".to_owned())];
            let request = Request { method: Method::Put, path, params };
            assert_eq!(world.node.handle(&Auth::root(), &request).await.status, 200);
        }
        let ended = apply(&world, &wanted).await;
        assert!(ended.done());
        let guests = ended.plan().steps.iter().filter(|step| step.address.guest_kind().is_some());
        let steps: Vec<_> = guests.map(|step| (step.address.as_str(), step.action, step.grade)).collect();
        let live = |name| (name, Action::Update, Grade::Live);
        assert_eq!(steps, [live("container.gateway"), live("container.notes")]);
        assert_eq!([config(&world, 101).await, config(&world, 120).await].each_ref().map(places), expected);
        assert!(apply(&world, &wanted).await.plan().steps.is_empty());
    });
}
