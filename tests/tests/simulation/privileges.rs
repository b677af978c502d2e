//! A token of exactly what `doctor --print-role` prints does whatever its site asks for; one that lacks any of it fails, and the
//! failure says what it lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lab::node::Auth;
use lab::sim::{Faults, NARROW_TOKEN, SimExchange, World, WorldOptions};
use managers::privileges::granted::Granted;
use managers::privileges::{Place, Requirement, commands, required};
use proxmox::client::Reader;
use proxmox::exchange::{Method, Request};
use scenarios::{Ended, Files, Site, Try, run, virtually};
use serde_json::{Value, json};
use transport::{Command, Runner as _};

use super::site;

/// Where a graphics card is.
const CARD: &str = "0000:04:00.0";

/// A site whose containers are in a pool, on storages that are named; on nodes that are named, where there are several.
fn files(memory: &str, node: Option<&str>, privileged: bool, web: bool) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    let container = |id: u32| {
        let mut it = json!({
            "id": id, "address": format!("10.0.0.{id}"), "pool": "workshop", "memory": memory,
            "disk": { "storage": "local-zfs", "size": "4G" }, "options": { "nesting": true },
            "mounts": { "mp0": { "path": "/srv", "storage": "tank", "size": "1G" } },
        });
        if let Some(node) = node {
            it["node"] = node.into();
        }
        it
    };
    let mut notes = container(120);
    if privileged {
        notes["unprivileged"] = false.into();
        notes["options"] = json!({});
    }
    let mut containers = json!({ "notes": notes });
    if web {
        containers["web"] = container(121);
    }
    let guests = json!({ "containers": containers });
    [("site.json", site), ("guests.json", guests)]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect()
}

/// The same with more memory, a larger disk that is elsewhere, another tag, and without its volume.
fn changed(files: &Files) -> Files {
    let mut files = files.clone();
    let mut guests: Value = serde_json::from_slice(&files["guests.json"]).unwrap();
    let notes = &mut guests["containers"]["notes"];
    notes["memory"] = "1G".into();
    notes["cores"] = 2.into();
    match &mut notes["disk"] {
        Value::Object(disk) => {
            disk.extend([
                ("size".to_owned(), Value::from("6G")),
                ("storage".to_owned(), Value::from("tank")),
            ]);
        }
        disk => *disk = "6G".into(),
    }
    notes["tags"] = json!(["changed"]);
    notes.as_object_mut().unwrap().remove("mounts");
    files.insert("guests.json".to_owned(), guests.to_string().into_bytes());
    files
}

/// A node on which somebody typed the commands, and whose API is asked with the token that they made.
async fn world(nodes: u8, typed: &[String]) -> World {
    let mut options = WorldOptions::new(5).faults(Faults::none()).latency(Duration::from_millis(2));
    for storage in options.node.storages.iter_mut().filter(|storage| storage.id == "tank") {
        storage.options.insert("content".to_owned(), "images,rootdir,vztmpl,iso,import".to_owned());
    }
    let mut world = options.nodes(nodes).build().expect("in memory");
    world.runtime.gpus(|gpus| {
        gpus.plug(CARD, "nvidia", 24 << 10);
        gpus.driver(CARD, "vfio-pci");
    });
    world.runtime.offer("system", "alpine-3.22-default_20250617_amd64.tar.xz");
    world.runtime.publish("https://images.example.org/x.tar.zst", "hello");
    for line in typed {
        let argv: Vec<String> = line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
        let output = world.shell.run(&Command::new("typing", argv)).await.expect("it is there");
        assert!(output.success(), "{line}: {}", output.tail(5).raw());
    }
    let exchange = SimExchange::new(world.node.clone(), Auth::of(&commands::token("workshop")));
    world.exchange = exchange.faults(world.faults.clone()).latency(Duration::from_millis(2));
    world
}

fn told(ended: &Ended) -> String {
    let mut lines: Vec<String> = ended.failures().iter().map(|it| format!("{it:?}")).collect();
    if let Ended::Walked { plan, .. } = ended {
        lines.extend(plan.problems.iter().map(|it| format!("{} ({})", it.message, it.hint)));
    }
    lines.join("\n")
}

/// The whole life of a site: made, changed while somebody backs a guest up, found in order, destroyed. What went wrong first.
async fn life(world: &World, first: &Site, then: &Site) -> Result<(), String> {
    let plain = Try::default();
    let ended = run(world, first, &plain).await;
    if !ended.done() {
        return Err(told(&ended));
    }
    // Longer than a lock that nobody works under is waited for.
    world.node.back_up(120, Duration::from_secs(120));
    let ended = run(world, then, &plain).await;
    if !ended.done() {
        return Err(told(&ended));
    }
    let again = run(world, then, &plain).await;
    assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
    // By the API alone the same is seen.
    let alone = run(world, then, &Try { no_commands: true, ..Try::default() }).await;
    // What is on the node itself nobody sees without commands.
    if then.desired.on_node.is_empty() && !alone.plan().steps.is_empty() {
        return Err(format!("by the API alone: {:#?}", alone.plan().steps));
    }
    let everything = Try { destroy: true, all_granted: true, ..Try::default() };
    let ended = run(world, then, &everything).await;
    if !ended.done() {
        return Err(told(&ended));
    }
    assert_eq!(world.node.configuration_files().len(), 0);
    Ok(())
}

/// Every kind of site whose tokens differ: alone, in a cluster, with a privileged container, and with nothing named.
fn kinds() -> Vec<(&'static str, u8, Files)> {
    let mut loose: Value = serde_json::from_slice(&files("512M", None, false, true)["guests.json"]).unwrap();
    for it in loose["containers"].as_object_mut().unwrap().values_mut() {
        it.as_object_mut().unwrap().remove("pool");
        it["disk"] = "4G".into();
        it["mounts"]["mp0"].as_object_mut().unwrap().remove("storage");
    }
    let mut unnamed = files("512M", None, false, true);
    unnamed.insert("guests.json".to_owned(), loose.to_string().into_bytes());
    let mut templates = loose.clone();
    templates["templates"] = json!({ "alpine": { "catalogue": "alpine-3.22" } });
    templates["containers"]["notes"]["template"] = "alpine".into();
    let mut named_nowhere = unnamed.clone();
    named_nowhere.insert("guests.json".to_owned(), templates.to_string().into_bytes());
    let mut images = files("512M", None, false, true);
    let mut guests: Value = serde_json::from_slice(&images["guests.json"]).unwrap();
    guests["templates"] = json!({
        "alpine": { "catalogue": "alpine-3.22", "storage": "tank" },
        "mine": { "url": "https://images.example.org/x.tar.zst", "storage": "tank" },
    });
    guests["images"] = json!({ "cd": { "file": "iso/x.iso", "storage": "tank" } });
    guests["containers"]["notes"]["template"] = "alpine".into();
    images.insert("guests.json".to_owned(), guests.to_string().into_bytes());
    images.insert("iso/x.iso".to_owned(), b"a CD".to_vec());
    let mut cloned = files("512M", None, false, true);
    let mut guests: Value = serde_json::from_slice(&cloned["guests.json"]).unwrap();
    guests["templates"] = json!({ "base": { "from": "container.base" } });
    guests["containers"]["base"] = guests["containers"]["web"].take();
    guests["containers"].as_object_mut().unwrap().remove("web");
    guests["containers"]["notes"]["template"] = "base".into();
    cloned.insert("guests.json".to_owned(), guests.to_string().into_bytes());
    let mut storages = files("512M", None, false, false);
    let mut guests: Value = serde_json::from_slice(&storages["guests.json"]).unwrap();
    guests["storages"] = json!({
        "files": { "dir": "/srv/files", "content": ["iso"] }, "fast": { "zfspool": "tank/vms" },
    });
    storages.insert("guests.json".to_owned(), guests.to_string().into_bytes());
    let mut cards = files("512M", None, false, false);
    let mut guests: Value = serde_json::from_slice(&cards["guests.json"]).unwrap();
    guests["hypervisor"] = json!({ "gpus": { "card0": { "pci": CARD, "use": "pass" } } });
    cards.insert("guests.json".to_owned(), guests.to_string().into_bytes());
    vec![
        ("a graphics card", 1, cards),
        ("storages", 1, storages),
        ("a golden guest and its clone", 1, cloned),
        ("templates and images", 1, images),
        ("a template, and nothing named", 1, named_nowhere),
        ("one node", 1, files("512M", None, false, true)),
        ("a cluster", 2, files("512M", Some("pve1"), false, true)),
        ("a privileged container", 1, files("512M", None, true, false)),
        ("nothing named", 1, unnamed),
    ]
}

/// What the node says that the token may do, as `doctor` asks it.
async fn granted(world: &World, needs: &BTreeSet<Requirement>) -> Granted {
    let reader = Reader::new(Arc::new(world.exchange.clone()));
    Granted::ask(&reader, needs).await.expect("any token may ask what it may do")
}

fn all_but(all: &BTreeSet<Requirement>, one: &Requirement) -> BTreeSet<Requirement> {
    all.iter().filter(|it| *it != one).cloned().collect()
}

#[test]
fn a_token_of_what_is_printed_is_enough() {
    for (kind, nodes, files) in kinds() {
        let (first, then) = (site(&files), site(&changed(&files)));
        let needs = required(&first.desired, false);
        virtually(async {
            let world = world(nodes, &commands::commands("workshop", &needs)).await;
            let has = granted(&world, &needs).await;
            assert_eq!((has.lacking(&needs), has.beyond(&needs)), (Vec::new(), BTreeMap::new()), "{kind}");
            let lived = life(&world, &first, &then).await;
            assert_eq!(lived, Ok(()), "{kind}: {needs:#?}\n{}", world.story());
        });
    }
}

#[test]
fn a_token_that_lacks_any_of_it_fails_and_says_which() {
    let mut tried = 0;
    for (kind, nodes, files) in kinds() {
        let (first, then) = (site(&files), site(&changed(&files)));
        let needs = required(&first.desired, false);
        for lacking in &needs {
            let mut typed = commands::commands("workshop", &all_but(&needs, lacking));
            // The pool is there, whatever may be done in it.
            if let Place::Pool(name) = &lacking.place
                && !typed.iter().any(|line| line.starts_with("pveum pool add"))
            {
                typed.insert(0, format!("pveum pool add {name}"));
            }
            virtually(async {
                let world = world(nodes, &typed).await;
                let has = granted(&world, &needs).await;
                // Where the templates are is not said: they may be on the storage of the disks, which it may look into.
                let there = Requirement { place: Place::Templates, ..(*lacking).clone() };
                let anywhere = lacking.place == Place::Storages && needs.contains(&there);
                if lacking.place != Place::Templates && !anywhere {
                    assert_eq!(has.lacking(&needs), [lacking], "{kind}");
                }
                tried += 1;
                match life(&world, &first, &then).await {
                    Ok(()) => panic!("{kind}: {lacking:?} is not needed"),
                    Err(told) => assert!(told.contains(lacking.privilege), "{kind}, {lacking:?}: {told}"),
                }
            });
        }
    }
    assert!(tried > 45, "{tried} are too few");
}

/// A role on `/`, as it was made before: it lacks nothing, and `doctor` names what is beyond the need.
#[test]
fn a_token_of_everything_is_told_so() {
    let first = site(&files("512M", None, false, true));
    let needs = required(&first.desired, false);
    virtually(async {
        let mut world = world(1, &["pveum pool add workshop".to_owned()]).await;
        world.exchange = SimExchange::new(world.node.clone(), Auth::of(NARROW_TOKEN));
        let has = granted(&world, &needs).await;
        assert_eq!(has.lacking(&needs), Vec::<&Requirement>::new());
        let beyond = has.beyond(&needs);
        assert_eq!(beyond.keys().copied().collect::<Vec<_>>(), ["/"]);
        assert!(beyond["/"].contains(&"Sys.Modify") && beyond["/"].contains(&"VM.Allocate"), "{beyond:?}");
    });
}

/// The rights end at the pool: with the same token another's guest is neither seen nor touched.
#[test]
fn what_is_outside_of_the_pool_is_not_the_tokens() {
    let files = files("512M", None, false, true);
    let first = site(&files);
    let needs = required(&first.desired, false);
    virtually(async {
        let world = world(1, &commands::commands("workshop", &needs)).await;
        world.add_guests(500, 1, World::guest_file).expect("in memory");
        assert!(run(&world, &first, &Try::default()).await.done());
        for (method, path) in [
            (Method::Get, "/nodes/pve1/lxc/500/config"),
            (Method::Post, "/nodes/pve1/lxc/500/status/stop"),
            (Method::Delete, "/nodes/pve1/lxc/500"),
            (Method::Get, "/cluster/firewall/options"),
            (Method::Post, "/nodes/pve1/certificates/custom"),
        ] {
            let request = Request { method, path: path.to_owned(), params: Vec::new() };
            let response = world.node.handle(&Auth::of(&commands::token("workshop")), &request).await;
            assert_eq!(response.status, 403, "{method} {path}: {response:?}");
            // The token that is given everything may.
            if method == Method::Get {
                let wide = world.node.handle(&Auth::of(NARROW_TOKEN), &request).await;
                assert_eq!(wide.status, 200, "{method} {path}: {wide:?}");
            }
        }
        assert_eq!(world.node.configuration_files().len(), 3);
    });
}
