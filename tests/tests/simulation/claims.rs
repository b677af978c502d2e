//! A text in a description is no authority: what says that it is the site's, and whose mark the site's key did not make for
//! it, is not destroyed, not changed, and nothing runs in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use lab::node::Auth;
use lab::runtime::Runtime as _;
use lab::sim::{Faults, World};
use managers::guests::work::{GuestWork, Placement};
use plan::address::kinds;
use plan::mark::{self, Mark};
use plan::trust::{Old, Trust};
use plan::{Action, Address, Grade, Step};
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::exchange::{Method, Request};
use scenarios::{Site, Try, carry_out, certified, first, run, virtually};

use super::{apply, settle, site, world};

/// What is in a guest's configuration file.
fn config(world: &World, id: u32) -> GuestConfig {
    let files = world.node.configuration_files();
    let (_, text) = files.iter().find(|(found, _)| *found == id).expect("it is there");
    GuestConfig::parse(GuestKind::Container, text)
}

/// Somebody puts a guest there: another user of the node, who may write its description and its tags.
fn put(world: &World, id: u32, description: &str, tags: Option<&str>) {
    let mut config = GuestConfig::parse(GuestKind::Container, &World::guest_file(id));
    config.current.description = Some(description.to_owned());
    config.current.values.extend(tags.map(|tags| ("tags".to_owned(), tags.to_owned())));
    world.node.put_guest(id, &config.to_string()).unwrap();
    world.runtime.set_running(id);
}

/// Somebody changes a guest's configuration by the API.
async fn set(world: &World, id: u32, key: &str, value: &str) {
    let request = Request {
        method: Method::Put,
        path: format!("/nodes/pve1/lxc/{id}/config"),
        params: vec![(key.to_owned(), value.to_owned())],
    };
    let response = world.node.handle(&Auth::root(), &request).await;
    assert_eq!(response.status, 200, "{response:?}");
    world.node.idle().await;
}

fn description(world: &World, id: u32) -> String {
    config(world, id).current.description.expect("a description")
}

/// All guests, as their files are.
fn files(world: &World) -> BTreeMap<u32, String> {
    world.node.configuration_files().into_iter().map(|(id, text)| (id, text.to_string())).collect()
}

fn everything() -> Try {
    Try { destroy: true, all_granted: true, ..Try::default() }
}

/// The block as anybody can write it.
fn block(name: &str) -> String {
    mark::render("", &Mark::new("workshop", Address::container(name)))
}

#[test]
fn what_only_says_that_it_is_the_sites_is_not_destroyed() {
    let site = site(&first());
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &site).await.done());
        let sealed = description(&world, site.id("notes"));
        put(&world, 500, &block("old"), None);
        put(&world, 501, &block("old"), Some("phoenix"));
        // Copied, with the tag and all; and copied with another name in it.
        put(&world, 502, &sealed, Some("phoenix"));
        put(&world, 503, &sealed.replace("container.notes", "container.older"), Some("phoenix"));
        let strangers = |world: &World| files(world).split_off(&500);
        let before = strangers(&world);

        let again = apply(&world, &site).await;
        assert_eq!((again.plan().steps.len(), again.plan().problems.len()), (0, 0), "{again:#?}");
        let notes = again.plan().notes.join("\n");
        for words in [
            "500 is a guest with a mark of container.old that nobody has sealed; it is left alone",
            "501 is a guest with a mark of container.old that nobody has sealed; it is left alone",
            &format!("502 is a copy of container.notes, whose mark was made for {}", site.id("notes")),
            "503 is a guest with a mark of container.older that this site's key did not make",
        ] {
            assert!(notes.contains(words), "{words}:\n{notes}");
        }

        let ended = run(&world, &site, &everything()).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert!(ended.plan().notes.iter().any(|note| note.starts_with("501 is")), "{:?}", ended.plan().notes);
        assert_eq!(files(&world), before, "a stranger's guest was touched");
    });
}

#[test]
fn nothing_runs_in_what_only_says_that_it_is_the_sites() {
    let site = site(&first());
    let id = site.id("notes");
    virtually(async {
        for tags in [Some("phoenix"), None] {
            let world = world(1, Faults::none());
            put(&world, id, &block("notes"), tags);
            let before = files(&world);
            let ended = apply(&world, &site).await;
            let problem = ended.plan().problems.iter().find(|it| it.address == Address::container("notes"));
            let problem = problem.unwrap_or_else(|| panic!("{ended:#?}"));
            assert_eq!(problem.code, "plan::not-believed");
            assert!(problem.message.contains("that nobody has sealed"), "{problem:?}");
            assert!(problem.hint.contains("phoenix-cli adopt notes"), "{problem:?}");
            assert_eq!(files(&world), before);
        }
    });
}

/// Tag and mark are both needed, and all that the mark says is the key's.
#[test]
fn a_guest_that_lost_its_tag_or_whose_mark_was_changed_is_left_alone() {
    let site = site(&first());
    let id = site.id("notes");
    virtually(async {
        for changed in ["tags", "feature", "service", "copied"] {
            let world = world(1, Faults::none());
            assert!(apply(&world, &site).await.done());
            let text = description(&world, id);
            match changed {
                "tags" => set(&world, id, "tags", "web").await,
                // Phoenix is to believe that something was applied, or was not.
                "feature" => {
                    let (_, read) = mark::parse(&text).unwrap();
                    let said = read.unwrap().into_mark();
                    let (_, fingerprint) = said.of_kind("feature").next().expect("a feature");
                    let other = text.replace(fingerprint.as_str().unwrap(), "0000000000000000");
                    assert_ne!(other, text);
                    set(&world, id, "description", &other).await;
                }
                "service" => {
                    set(&world, id, "description", &text.replace("\"services\"", "\"serviced\"")).await;
                }
                _ => {
                    let other = description(&world, site.id("status"));
                    set(&world, id, "description", &other.replace("container.status", "container.notes"))
                        .await;
                }
            }
            let before = files(&world);
            let ended = apply(&world, &site).await;
            let codes: Vec<&str> = ended.plan().problems.iter().map(|problem| &*problem.code).collect();
            assert_eq!(codes, ["plan::not-believed"], "{changed}: {ended:#?}");
            assert_eq!(files(&world), before);
            // And what is taken down is not this one.
            let ended = run(&world, &site, &everything()).await;
            assert!(ended.done(), "{:#?}", ended.failures());
            assert_eq!(files(&world).keys().copied().collect::<Vec<_>>(), [id], "{changed}");
        }
    });
}

/// Whatever a plan says, a crew looks before it changes or enters anything.
#[test]
fn a_crew_looks_whose_it_is_right_before() {
    let site = site(&first());
    let id = site.id("notes");
    virtually(async {
        let world = world(1, Faults::none());
        let ended = apply(&world, &site).await;
        let plan = ended.plan().clone();
        put(&world, 500, &block("old"), Some("phoenix"));
        let refused = async |address: Address, work: serde_json::Value| {
            let before = files(&world);
            let failure = carry_out(&world, &site, address, work).await.unwrap_err();
            assert_eq!(failure.code, "managers::not-ours", "{failure:?}");
            assert_eq!(files(&world), before);
            failure.to_string()
        };
        let delete =
            |id: u32| serde_json::to_value(GuestWork::Delete(Placement { id, node: "pve1".into() })).unwrap();
        let said = refused(Address::container("old"), delete(500)).await;
        assert!(said.contains("500 is a guest with a mark of container.old"), "{said}");
        // Consent was given for another.
        let said = refused(Address::container("scratch"), delete(id)).await;
        assert!(said.contains("is container.notes, and not container.scratch"), "{said}");

        // Between the plan and its steps somebody took the mark away, or put another guest there.
        set(&world, id, "description", &block("notes")).await;
        let on_notes = plan.steps.iter().filter(|step| step.id == Some(id));
        let kinds: Vec<(Address, serde_json::Value)> = on_notes
            .filter(|step| step.action != Action::Create)
            .map(|step| (step.address.clone(), step.work.clone()))
            .collect();
        assert!(kinds.len() > 1, "{kinds:?}");
        for (address, work) in kinds {
            refused(address, work).await;
        }
        let update =
            serde_json::json!({ "do": "update", "id": id, "node": "pve1", "digest": "", "restart": true });
        refused(Address::container("notes"), update).await;
    });
}

/// All marks, without their seals: as a Phoenix without keys has written them.
async fn as_of_old(world: &World, site: &Site) -> Old {
    let mut old = Old { guests: BTreeMap::new(), node: true };
    for guest in site.desired.guests.values() {
        let (text, read) = mark::parse(&description(world, guest.id)).unwrap();
        set(world, guest.id, "description", &mark::render(&text, &read.unwrap().into_mark())).await;
        old.guests.insert(guest.id, guest.resource());
    }
    let cat = ["cat".to_owned(), proxmox::inventory::MARK.to_owned()];
    let (_, text, _) = world.runtime.exec(0, &cat, b"").await.unwrap();
    let mark: Mark = serde_json::from_slice(&text).unwrap();
    world.runtime.put_file(0, proxmox::inventory::MARK, serde_json::to_vec(&mark).unwrap());
    old
}

fn believing(site: &Site, old: Old) -> Try {
    let trust = Trust::clone(&site.trust()).with_old(old);
    Try { trust: Some(Arc::new(trust)), ..Try::default() }
}

#[test]
fn marks_of_before_there_were_keys_are_taken_over_once() {
    let site = site(&certified());
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &site).await.done());
        let old = as_of_old(&world, &site).await;
        let restarts = ["start ", "stop ", "shutdown ", "reboot "];
        let started = |world: &World| {
            let made = world.faults.made();
            made.iter().filter(|made| restarts.iter().any(|word| made.what.starts_with(word))).count()
        };
        assert!(started(&world) > 0, "{:?}", world.faults.made());
        let before = started(&world);
        let ended = run(&world, &site, &believing(&site, old.clone())).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        // Whatever is on a service's way is touched, so that one is asked again.
        let (asked, sealed): (Vec<&Step>, Vec<&Step>) =
            ended.plan().steps.iter().partition(|step| step.address.kind() == kinds::SERVICE);
        assert!(
            asked.iter().all(|step| (step.action, step.grade) == (Action::Run, Grade::Live)),
            "{asked:?}"
        );
        for step in &sealed {
            assert_eq!((step.action, step.grade), (Action::Update, Grade::Live), "{step:?}");
            assert_eq!(step.changes.len(), 1, "{step:?}");
            assert!(step.reasons.iter().any(|reason| reason.contains("taken over")), "{step:?}");
        }
        assert_eq!(sealed.len(), site.desired.guests.len() + 1, "all guests and the node");
        assert_eq!(started(&world), before, "something was restarted");
        settle(&world, &site, 1).await;

        // Afterwards it is nobody's mark, and neither is one of a guest that was not there then.
        let mut fewer = as_of_old(&world, &site).await;
        fewer.guests.remove(&site.id("notes"));
        let ended = run(&world, &site, &believing(&site, fewer)).await;
        let problems: Vec<&Address> = ended.plan().problems.iter().map(|problem| &problem.address).collect();
        assert_eq!(problems, [&Address::container("notes")]);
        let ended = apply(&world, &site).await;
        assert_eq!(ended.plan().problems.len(), site.desired.guests.len(), "{ended:#?}");
    });
}

/// A site of before can be taken down without having been taken over.
#[test]
fn what_is_of_before_can_be_destroyed() {
    let site = site(&first());
    virtually(async {
        let world = world(1, Faults::none());
        assert!(apply(&world, &site).await.done());
        let mut old = Old::default();
        for guest in site.desired.guests.values() {
            set(&world, guest.id, "description", &block(&guest.name)).await;
            old.guests.insert(guest.id, guest.resource());
        }
        let ended = run(&world, &site, &Try { trust: believing(&site, old).trust, ..everything() }).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert!(files(&world).is_empty());
    });
}
