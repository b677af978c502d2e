//! Only what Phoenix set is Phoenix' own: what others set stays, and whatever people write is the same when it is read back.

use lab::node::Auth;
use lab::sim::{Faults, World};
use plan::Action;
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::exchange::{Method, Request};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use scenarios::{Files, Try, run, virtually};
use serde_json::{Value, json};

use super::{apply, each, site, world};

/// A site of one container.
fn files(container: &Value, nameservers: &[&str]) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": {
            "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "nameservers": nameservers,
        } },
    });
    let guests = json!({ "containers": { "notes": container } });
    [("site.json", site), ("guests.json", guests)]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect()
}

fn notes(more: &Value) -> Value {
    let mut notes = json!({ "id": 120, "address": "10.0.0.120", "disk": "4G" });
    notes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    notes
}

/// A text as people write it, with whatever at its ends.
fn text(rng: &mut StdRng) -> String {
    let pieces = [
        "line",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        "Grüße ✓",
        "100% sure: a=b%20c",
        "# head",
        "[snap]",
        "🚀",
        "```sh\nls\n```",
        "\u{1b}[31m",
        "delete: memory",
        "\u{0}",
        "<b>&\"'",
    ];
    (0..rng.random_range(0..9)).map(|_| *pieces.choose(rng).unwrap()).collect()
}

/// A container with whatever a blueprint can say of it, and the name servers of its network.
fn anything(rng: &mut StdRng) -> Files {
    let some = |rng: &mut StdRng, of: &[&str]| -> Vec<String> {
        of.iter().filter(|_| rng.random_range(0..3) == 0).map(|it| (*it).to_owned()).collect()
    };
    let tags = some(rng, &["web", "a+b", "_x", "10.0.0.120", "zz"]);
    let mut container = json!({
        "description": text(rng), "tags": tags, "cores": rng.random_range(1..9),
        "memory": format!("{}M", rng.random_range(16..4096)), "swap": format!("{}M", rng.random_range(0..2048)),
        "onboot": rng.random::<bool>(), "protected": rng.random::<bool>(),
        "options": { "nesting": rng.random::<bool>(), "keyctl": rng.random::<bool>(), "mount": some(rng, &["nfs", "cifs"]) },
        "startup": { "order": rng.random_range(0..9) },
    });
    if rng.random() {
        let path = ["/srv/data", "/mnt/a b", "/x=y"].choose(rng).unwrap();
        container["mounts"]["mp0"] = json!({ "path": path, "size": "1G", "read-only": rng.random::<bool>(), "backup": rng.random::<bool>() });
    }
    let servers = [&["10.0.0.2", "9.9.9.9"][..], &["9.9.9.9"], &[]].choose(rng).copied().unwrap();
    files(&notes(&container), servers)
}

/// T-7: whatever texts, lists, sizes and mounts a blueprint holds, the plan after its apply is empty: by either reader, and
/// also where another blueprint was applied before.
#[test]
fn whatever_is_written_settles() {
    each(0..48, |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        let sites = [anything(&mut rng), anything(&mut rng)];
        virtually(async {
            let world = world(seed, Faults::none());
            for files in &sites {
                let site = site(files);
                let ended = apply(&world, &site).await;
                assert!(ended.done(), "seed {seed}: {ended:#?}\n{}", world.story());
                for no_commands in [false, true] {
                    let again = run(&world, &site, &Try { no_commands, ..Try::default() }).await;
                    let left: Vec<_> = again.plan().steps.iter().map(|s| (&s.reasons, &s.changes)).collect();
                    assert!(left.is_empty(), "seed {seed}: {left:#?}");
                }
            }
        });
    });
}

async fn by_hand(world: &World, params: &[(&str, &str)]) {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let request = Request { method: Method::Put, path: "/nodes/pve1/lxc/120/config".into(), params };
    let response = world.node.handle(&Auth::root(), &request).await;
    assert_eq!(response.status, 200, "{response:?}");
}

fn config(world: &World) -> GuestConfig {
    let (_, text) = world.node.configuration_files().into_iter().find(|(id, _)| *id == 120).unwrap();
    GuestConfig::parse(GuestKind::Container, &text)
}

/// Tags and name servers that others set stay through everything that is changed beside them, and what Phoenix set goes when
/// it is wanted no more.
#[test]
fn what_others_set_stays() {
    let (one, other) = (
        site(&files(&notes(&json!({ "tags": ["web", "db"] })), &[])),
        site(&files(&notes(&json!({ "tags": ["db"] })), &[])),
    );
    virtually(async {
        let world = world(3, Faults::none());
        assert!(apply(&world, &one).await.done());
        by_hand(&world, &[("tags", "Ada;phoenix;web;db"), ("nameserver", "9.9.9.9"), ("tty", "1")]).await;
        let ended = apply(&world, &one).await;
        assert!(ended.plan().steps.is_empty(), "{:#?}", ended.plan().steps);
        let told = ended.plan().notes.join("\n");
        assert!(told.contains("tty") && told.contains("container.notes"), "{told}");
        let ended = apply(&world, &other).await;
        assert!(ended.done(), "{ended:#?}");
        let step = &ended.plan().steps[0];
        assert_eq!((step.action, step.changes.len()), (Action::Update, 1), "{step:#?}");
        let now = config(&world);
        assert_eq!(now.current.get("tags"), Some("ada;db;phoenix"));
        let waits: Vec<&String> = now.pending.section.values.keys().collect();
        assert_eq!(waits, ["nameserver", "tty"], "what waits is others', and nothing restarted");
        // Once more what is wanted no more: `db` was put in by Phoenix.
        let none = site(&files(&notes(&json!({})), &[]));
        assert!(apply(&world, &none).await.done());
        assert_eq!(config(&world).current.get("tags"), Some("ada;phoenix"));
        assert!(apply(&world, &none).await.plan().steps.is_empty());
    });
}

/// Name servers that Phoenix set go with the blueprint's, and are gone after the one restart.
#[test]
fn what_was_set_goes_when_it_is_wanted_no_more() {
    let (with, without) =
        (site(&files(&notes(&json!({})), &["10.0.0.2"])), site(&files(&notes(&json!({})), &[])));
    virtually(async {
        let world = world(3, Faults::none());
        assert!(apply(&world, &with).await.done());
        assert_eq!(config(&world).current.get("nameserver"), Some("10.0.0.2"));
        let ended = apply(&world, &without).await;
        assert!(ended.done(), "{ended:#?}");
        assert_eq!(ended.plan().steps[1].action, Action::Restart);
        assert_eq!(config(&world).current.get("nameserver"), None);
        assert!(config(&world).pending.is_empty());
        assert!(apply(&world, &without).await.plan().steps.is_empty());
        // What Phoenix set once is anybody's to set now.
        by_hand(&world, &[("nameserver", "10.0.0.2")]).await;
        assert!(apply(&world, &without).await.plan().steps.is_empty());
    });
}

/// Flags that wait for a restart and that nobody wants are taken back: deleting them would leave them waiting, and the plan
/// would never be empty.
#[test]
fn what_waits_and_is_not_wanted_is_taken_back() {
    let plain = site(&files(&notes(&json!({ "options": { "nesting": false } })), &[]));
    let nests = site(&files(&notes(&json!({ "options": { "nesting": true } })), &[]));
    virtually(async {
        let world = world(3, Faults::none());
        assert!(apply(&world, &plain).await.done());
        by_hand(&world, &[("features", "nesting=1")]).await;
        for (site, action) in [(&plain, Action::Update), (&nests, Action::Restart)] {
            let ended = apply(&world, site).await;
            assert!(ended.done(), "{ended:#?}");
            assert_eq!(ended.plan().steps.last().unwrap().action, action);
            assert!(config(&world).pending.is_empty());
            assert!(apply(&world, site).await.plan().steps.is_empty());
        }
        // In force, and something else waits.
        by_hand(&world, &[("features", "fuse=1")]).await;
        let ended = apply(&world, &plain).await;
        assert!(ended.done(), "{ended:#?}");
        assert_eq!(config(&world).current.get("features"), None);
        assert!(apply(&world, &plain).await.plan().steps.is_empty());
    });
}
