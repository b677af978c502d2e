//! Changes of a site that is there: each with its grade, in place where that can be, and with the same identity after.

use lab::node::Auth;
use lab::sim::{Faults, World};
use plan::{Action, Address, Grade};
use proxmox::exchange::{Method, Request};
use scenarios::{Files, first, state, virtually};

use super::{apply, site, world};

/// The first workshop with one text of a file replaced.
fn with(file: &str, old: &str, new: &str) -> Files {
    let mut files = first();
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(old), "{file} has no {old}");
    files.insert(file.into(), text.replacen(old, new, 1).into());
    files
}

async fn built() -> World {
    let world = world(5, Faults::none());
    assert!(apply(&world, &site(&first())).await.done());
    world
}

/// A step: its address, what it does, and what that costs.
type Planned = (String, Action, Grade);

/// Applies `files` on the first workshop. The steps, with their grades, and what was called on the node.
fn change(files: &Files) -> (Vec<Planned>, Vec<String>) {
    let wanted = site(files);
    virtually(async {
        let world = built().await;
        let before = state::identities(&world);
        let calls = world.faults.made().len();
        let ended = apply(&world, &wanted).await;
        assert!(ended.done(), "{ended:#?}");
        let steps = ended.plan().steps.iter();
        let steps = steps.map(|s| (s.address.to_string(), s.action, s.grade)).collect();
        let again = apply(&world, &wanted).await;
        assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().addresses());
        let found = state::describe(&world, &wanted).await;
        assert!(!found.contains("WRONG") && !found.contains("stopped"), "{found}");
        assert_eq!(state::identities(&world), before, "a change must leave identity alone");
        let made = world.faults.made()[calls..].iter().map(|made| made.what.clone()).collect();
        (steps, made)
    })
}

/// Changing one line of a page changes that guest's pages and nothing else.
#[test]
fn a_page_changes_alone() {
    let (steps, made) = change(&with("pages/notes/index.html", "<", "<!-- new --><"));
    assert_eq!(
        steps,
        [
            ("feature.static-site@container.notes".to_owned(), Action::Run, Grade::Live),
            ("service.notes".to_owned(), Action::Run, Grade::Live)
        ]
    );
    let elsewhere: Vec<&String> = made.iter().filter(|what| !what.ends_with(" 120")).collect();
    assert!(elsewhere.is_empty(), "{made:?}");
    assert!(!made.iter().any(|what| what.starts_with("start") || what.starts_with("stop")), "{made:?}");
}

#[test]
fn memory_and_disk_grow_in_place() {
    let entry = r#""id": 120,"#;
    let (steps, made) = change(&with("guests.json", entry, r#""id": 120, "memory": "1G", "disk": "8G","#));
    let first = &steps[0];
    assert_eq!((first.0.as_str(), first.1, first.2), ("container.notes", Action::Update, Grade::Live));
    assert!(made.contains(&"resize 120".to_owned()), "{made:?}");
    assert!(!made.iter().any(|what| what.starts_with("shutdown") || what.starts_with("destroy")), "{made:?}");
}

#[test]
fn what_applies_at_a_restart_is_graded_so_and_restarted_once() {
    let entry = r#""id": 120,"#;
    let (steps, made) = change(&with("guests.json", entry, r#""id": 120, "options": { "keyctl": true },"#));
    let (first, then) = (&steps[0], &steps[1]);
    assert_eq!((first.0.as_str(), first.1, first.2), ("container.notes", Action::Update, Grade::Live));
    assert_eq!((then.0.as_str(), then.1, then.2), ("restart.notes", Action::Restart, Grade::Restart));
    let starts = made.iter().filter(|what| *what == "start 120").count();
    assert_eq!(starts, 1, "{made:?}");
    // After a restart the way to the service is proven again.
    assert!(steps.iter().any(|(address, ..)| address == "service.notes"), "{steps:?}");
}

#[test]
fn a_mount_is_added_at_once() {
    let entry = r#""id": 120,"#;
    let new = r#""id": 120, "mounts": { "mp0": { "path": "/srv/data", "size": "8G" } },"#;
    let (steps, _) = change(&with("guests.json", entry, new));
    assert_eq!((steps[0].0.as_str(), steps[0].2), ("container.notes", Grade::Live));
}

#[test]
fn a_new_service_gets_its_certificate_and_its_place_behind_the_gateway() {
    let old = r#""notes": { "port": 80, "expose": "gateway" }"#;
    let new = format!(r#"{old}, "wiki": {{ "port": 8080, "expose": "gateway" }}"#);
    let (steps, _) = change(&with("guests.json", old, &new));
    let addresses: Vec<&str> = steps.iter().map(|(address, ..)| address.as_str()).collect();
    for wanted in ["certificate.wiki", "feature.nginx-gateway@container.gateway", "service.wiki"] {
        assert!(addresses.contains(&wanted), "{addresses:?}");
    }
    assert!(steps.iter().all(|(_, _, grade)| *grade == Grade::Live), "{steps:?}");
}

/// T-11: destroyed by hand, it comes back with the same id, MAC and address.
#[test]
fn what_was_destroyed_by_hand_comes_back_the_same() {
    let site = site(&first());
    for name in ["notes", "gateway"] {
        virtually(async {
            let world = built().await;
            let before = state::describe(&world, &site).await;
            let identities = state::identities(&world);
            let id = site.id(name);
            by_hand(&world, Method::Delete, &format!("/nodes/pve1/lxc/{id}"), &[("force", "1")]).await;
            assert!(!state::identities(&world).contains_key(&id));
            let ended = apply(&world, &site).await;
            assert!(ended.done(), "{:#?}", ended.failures());
            let step = ended.plan().steps.iter().find(|s| s.address == Address::container(name)).unwrap();
            assert_eq!(step.action, Action::Create);
            assert_eq!(state::identities(&world), identities);
            assert_eq!(state::describe(&world, &site).await, before);
            assert!(apply(&world, &site).await.plan().steps.is_empty());
        });
    }
}

#[test]
fn what_was_stopped_by_hand_runs_again() {
    let site = site(&first());
    virtually(async {
        let world = built().await;
        let before = state::describe(&world, &site).await;
        by_hand(&world, Method::Post, "/nodes/pve1/lxc/120/status/stop", &[]).await;
        let ended = apply(&world, &site).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert_eq!(state::describe(&world, &site).await, before);
    });
}

async fn by_hand(world: &World, method: Method, path: &str, params: &[(&str, &str)]) {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let response = world.node.handle(&Auth::root(), &Request { method, path: path.into(), params }).await;
    assert_eq!(response.status, 200, "{response:?}");
    world.node.idle().await;
}

/// The first workshop with an authority of its own in a container.
fn with_authority() -> Files {
    let mut files = first();
    let ca = r#"{
  "containers": { "ca": { "id": 103, "type": "small", "address": "10.0.0.10", "features": ["step-ca"] } },
  "certificates": { "authority": "step-ca", "life": "1d" },
  "hypervisor": { "certificate": true }
}"#;
    files.insert("ca.json".into(), ca.into());
    files
}

/// From the embedded authority to one in a container, and back, is a plan each time, and nothing is left to do after it.
#[test]
fn the_authority_moves_into_a_container_and_back() {
    let (there, here) = (site(&with_authority()), site(&first()));
    virtually(async {
        let world = built().await;
        let has = |address: &str, ended: &scenarios::Ended| {
            ended.plan().steps.iter().any(|s| s.address.as_str() == address)
        };
        for _ in 0..2 {
            let ended = apply(&world, &there).await;
            assert!(ended.done() && has("certificate.notes", &ended), "{ended:#?}");
            assert!(has("hypervisor.certificate", &ended), "{ended:#?}");
            assert!(apply(&world, &there).await.plan().steps.is_empty());
            let ended = apply(&world, &here).await;
            assert!(has("certificate.notes", &ended) && !has("authority.ca", &ended), "{ended:#?}");
        }
    });
}

/// The authority's container is destroyed by hand: it is made anew and knows its guests again (item 1 of S-13: a rebuilt
/// authority must not take anything down with it).
#[test]
fn a_lost_authority_is_made_anew_and_guests_are_introduced_again() {
    let wanted = site(&with_authority());
    virtually(async {
        let world = world(6, Faults::none());
        assert!(apply(&world, &wanted).await.done());
        let id = wanted.id("ca");
        by_hand(&world, Method::Delete, &format!("/nodes/pve1/lxc/{id}"), &[("force", "1")]).await;
        let ended = apply(&world, &wanted).await;
        assert!(ended.done(), "{ended:#?}");
        let addresses: Vec<String> = ended.plan().steps.iter().map(|s| s.address.to_string()).collect();
        assert!(addresses.contains(&"authority.ca".to_owned()), "{addresses:?}");
        assert!(addresses.contains(&"certificate.notes".to_owned()), "{addresses:?}");
        assert!(addresses.contains(&"hypervisor.certificate".to_owned()), "{addresses:?}");
        assert!(apply(&world, &wanted).await.plan().steps.is_empty());
    });
}
