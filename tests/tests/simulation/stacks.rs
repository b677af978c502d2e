//! Stacks of Docker containers: on their guests, changed alone, moved, taken away; whatever goes wrong on the way.

use lab::sim::{Fault, Faults, World};
use plan::Action;
use scenarios::{Files, Site, virtually};
use serde_json::{Value, json};

use super::{apply, kills, settle, site, world};

const COMPOSE: &str = "services: { web: { image: notes, ports: ['8080:80'], environment: { TZ: $TZ }, secrets: [password] } }\n\
                       secrets: { password: { file: ./secrets/password } }\n";

fn files() -> Files {
    let docker = |id: u32| {
        json!({
            "id": id, "address": format!("10.0.0.{id}"), "template": "debian-12", "features": ["docker"],
            "options": { "nesting": true, "keyctl": true },
        })
    };
    let all = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "containers": { "one": docker(120), "two": docker(121) },
        "stacks": {
            "notes": {
                "on": "one", "compose": "stacks/notes", "env": { "TZ": "UTC" },
                "secrets": { "password": { "generate": "notes-password" } },
                "services": { "notes": { "port": 8080, "expose": "direct" } },
            },
            "other": { "on": "container.one", "compose": "stacks/other.yaml" },
        },
    });
    [
        ("site.json", all.to_string()),
        ("stacks/notes/compose.yaml", COMPOSE.to_owned()),
        ("stacks/other.yaml", "services: { a: { image: other } }".to_owned()),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.into_bytes()))
    .collect()
}

fn with(change: impl FnOnce(&mut Value)) -> Site {
    let mut files = files();
    let mut all: Value = serde_json::from_slice(&files["site.json"]).unwrap();
    change(&mut all);
    files.insert("site.json".to_owned(), all.to_string().into_bytes());
    site(&files)
}

/// What a change of the site is, as steps; applied, with nothing left to do.
async fn steps(world: &World, changed: &Site) -> Vec<(String, Action)> {
    let ended = apply(world, changed).await;
    assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
    let all = ended.plan().steps.iter().map(|step| (step.address.to_string(), step.action)).collect();
    settle(world, changed, 1).await;
    all
}

#[test]
fn a_stack_changes_moves_and_goes_alone() {
    virtually(async {
        let world = world(1, Faults::none());
        settle(&world, &site(&files()), 1).await;
        let step = |address: &str, action| (address.to_owned(), action);

        let mut changed = files();
        changed.insert("stacks/other.yaml".to_owned(), b"services: { a: { image: newer } }".to_vec());
        assert_eq!(steps(&world, &site(&changed)).await, [step("stack.other", Action::Run)]);

        // Its service is proven again with it.
        let said = with(|all| all["stacks"]["notes"]["env"]["TZ"] = "Europe/Berlin".into());
        let with_it = [
            step("stack.notes", Action::Run),
            step("stack.other", Action::Run),
            step("service.notes", Action::Run),
        ];
        let mut found = steps(&world, &said).await;
        found.sort_by_key(|(address, _)| with_it.iter().position(|(other, _)| other == address));
        assert_eq!(found, with_it);

        let moved = with(|all| all["stacks"]["notes"]["on"] = "two".into());
        let found = steps(&world, &moved).await;
        for one in [step("stack.notes@container.one", Action::Delete), step("stack.notes", Action::Run)] {
            assert!(found.contains(&one), "{found:?}");
        }

        // With Docker itself: first the stack, then what it ran in.
        let without = with(|all| {
            all["stacks"] = json!({});
            all["containers"]["two"]["features"] = json!(["base"]);
        });
        let found = steps(&world, &without).await;
        let place = |address: &str| found.iter().position(|(other, _)| other == address);
        assert!(place("stack.notes") < place("feature.docker@container.two"), "{found:?}");
        assert!(place("stack.other").is_some() && place("stack.notes").is_some(), "{found:?}");
    });
}

#[test]
fn one_of_the_catalogue_changes_with_its_parameters() {
    virtually(async {
        let world = world(1, Faults::none());
        let watch = |more: Value| {
            with(|all| {
                all["stacks"] = json!({ "watch": {
                    "on": "one", "from": "uptime-kuma", "with": more,
                    "services": { "watch": { "port": 3002, "expose": "direct" } },
                } });
            })
        };
        settle(&world, &watch(json!({})), 1).await;
        let step = |address: &str| (address.to_owned(), Action::Run);
        let found = steps(&world, &watch(json!({ "version": "2.5.0" }))).await;
        assert_eq!(found, [step("stack.watch"), step("service.watch")]);
    });
}

#[test]
fn a_run_with_stacks_is_killed_at_every_call() {
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        kills::killed_at_every_call(&site(&files()), &fault);
    }
}
