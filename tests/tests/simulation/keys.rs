//! Every key of a guest of either kind: applied, planned again, and changed in turn, while it runs and while it does not. What a
//! change costs is what the key's row says, and after it there is nothing to do. A row of the tables without a case here fails,
//! and so does a key of blueprints.

mod containers;
mod pages;
mod vms;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use lab::node::{Auth, Bridge, Mapping, Template};
use lab::sim::{Faults, World, WorldOptions};
use managers::guests::table;
use managers::keys::{self, Row, Takes};
use plan::desired::Guest;
use plan::{Action, Grade, GuestKind};
use proxmox::exchange::{Method, Request};
use scenarios::{Ended, Files, Site, Try, run, state, virtually};
use serde_json::{Value, json};

use super::{apply, every};

/// A key: of which row, under which name of the blueprint, what it is first, and what then (`null`: it is not said any more).
struct Case {
    row: &'static str,
    path: &'static str,
    one: Value,
    other: Value,
    /// What it costs, where the row has changes of either sort.
    costs: Option<Grade>,
    /// A volume moves, and nothing is written before it.
    moves: bool,
}

fn case(row: &'static str, path: &'static str, one: Value, other: Value) -> Case {
    Case { row, path, one, other, costs: None, moves: false }
}

impl Case {
    fn costs(self, grade: Grade) -> Self {
        Self { costs: Some(grade), ..self }
    }

    fn moves(self, grade: Grade) -> Self {
        Self { costs: Some(grade), moves: true, ..self }
    }
}

const KINDS: [GuestKind; 2] = [GuestKind::Container, GuestKind::Vm];

fn cases(kind: GuestKind) -> Vec<Case> {
    match kind {
        GuestKind::Container => containers::cases(),
        GuestKind::Vm => vms::cases(),
    }
}

fn not_here(kind: GuestKind) -> BTreeSet<&'static str> {
    let all = match kind {
        GuestKind::Container => containers::NOT_HERE.as_slice(),
        GuestKind::Vm => vms::NOT_HERE.as_slice(),
    };
    all.iter().map(|(path, _)| *path).collect()
}

fn rows(kind: GuestKind) -> &'static [Row<Guest>] {
    table::of_kind(kind).rows
}

fn row(kind: GuestKind, name: &str) -> &'static Row<Guest> {
    rows(kind).iter().find(|row| row.name == name).expect("a row of the table")
}

/// Puts a value at a path of an object; `null` takes it away.
fn put(guest: &mut Value, path: &str, value: &Value) {
    let (within, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut place = guest;
    for part in within.split('.').filter(|part| !part.is_empty()) {
        // What is short becomes long: `"agent": true`.
        let all = place.as_object_mut().expect("an object");
        place = all.entry(part).or_insert_with(|| json!({}));
    }
    let all = place.as_object_mut().expect("an object");
    match value {
        Value::Null => drop(all.remove(last)),
        value => drop(all.insert(last.to_owned(), value.clone())),
    }
}

/// A site with one guest that has all of these.
fn site<'a>(kind: GuestKind, values: impl Iterator<Item = (&'a str, &'a Value)>) -> Site {
    let mut guest = json!({ "id": 150, "networks": { "net0": { "network": "lan" } } });
    if kind == GuestKind::Vm {
        guest["image"] = json!(format!("local:{}", super::IMAGE));
    }
    for (path, value) in values {
        put(&mut guest, path, value);
    }
    // A privileged container has the node's numbers.
    if guest.get("unprivileged") == Some(&json!(false)) {
        let media = guest.get_mut("mounts").and_then(|all| all["mp1"].as_object_mut());
        media.map(|media| media.remove("owner"));
    }
    let file = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "proxmox": {
            "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13",
        } },
        "networks": {
            "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" },
            "store": { "bridge": "vmbr1", "subnet": "10.9.0.0/24" },
        },
        kind.key(): { "one": guest },
    });
    Site::of(&Files::from([("site.json".to_owned(), file.to_string().into_bytes())]))
}

/// A site with the first value of each, but for one that has the other.
fn with(kind: GuestKind, all: &[Case], changed: Option<&Case>) -> Site {
    let first = all.iter().map(|case| (case.path, &case.one));
    site(kind, first.chain(changed.iter().map(|case| (case.path, &case.other))))
}

/// A node that has all that these name.
fn world(seed: u64) -> World {
    let mut options = WorldOptions::new(seed).faults(Faults::none());
    let local = options.node.storages.iter_mut().find(|storage| storage.id == "local").expect("there is one");
    let files = [super::IMAGE, "iso/a.iso", "iso/b.iso", "snippets/a.sh", "snippets/b.sh", "snippets/a.yaml"];
    local.images.extend(files.into_iter().chain(["snippets/b.yaml"]).map(|name| Template {
        name: name.to_owned(),
        size: 1 << 30,
        ctime: 1_795_000_000,
    }));
    local.options.entry("content".into()).or_default().push_str(",import,iso");
    options.node.bridges.push(Bridge { name: "vmbr1".to_owned(), cidr: None });
    let mappings = [
        ("pci", "gpu"),
        ("pci", "card"),
        ("usb", "stick"),
        ("usb", "key"),
        ("dir", "media"),
        ("dir", "backups"),
    ];
    options.node.mappings = mappings
        .into_iter()
        .map(|(kind, id)| Mapping { kind: kind.into(), id: id.into(), map: vec!["node=pve1".into()] })
        .collect();
    options.build().expect("in memory")
}

/// What a change of it costs in a guest that runs, by the table.
fn grade(row: &Row<Guest>, case: &Case) -> (Action, Grade) {
    let by_row = match row.takes {
        Takes::Live => Grade::Live,
        Takes::Restart | Takes::Plugged => Grade::Restart,
        // It has a volume.
        Takes::Rebuild => Grade::DataLoss,
    };
    let grows = matches!(row.form, keys::Form::Volume(_)) && case.costs == Some(Grade::Live);
    if let Some(costs) = case.costs {
        assert!(
            case.moves || row.at_once.is_some() || grows || costs == by_row,
            "{} costs what its row says",
            case.path
        );
    }
    let grade = case.costs.unwrap_or(by_row);
    let action = match grade {
        Grade::Live => Action::Update,
        Grade::Restart => Action::Restart,
        _ => Action::Replace,
    };
    (action, grade)
}

async fn consented(world: &World, site: &Site, kind: GuestKind) -> Ended {
    run(world, site, &Try { granted: vec![format!("{}.one", kind.as_str())], ..Try::default() }).await
}

/// Applies it, and looks that it cost what it is to cost, and that nothing is left.
async fn costs(
    world: &World,
    wanted: &Site,
    kind: GuestKind,
    expected: (Action, Grade),
    is_written: bool,
    what: &str,
) -> Ended {
    let ended = consented(world, wanted, kind).await;
    assert_eq!(ended.plan().problems, [], "{what}");
    assert!(ended.done(), "{what}: {:#?}\n{}", ended.failures(), world.story());
    let steps: Vec<_> =
        ended.plan().steps.iter().map(|s| (s.address.to_string(), s.action, s.grade)).collect();
    // A restart is a step of its own, after what is written.
    let own = format!("{}.one", kind.as_str());
    let expected = match expected {
        (Action::Restart, Grade::Restart) => {
            let written = is_written.then_some((own, Action::Update, Grade::Live));
            let restart = ("restart.one".to_owned(), Action::Restart, Grade::Restart);
            written.into_iter().chain([restart]).collect()
        }
        (action, grade) => vec![(own, action, grade)],
    };
    assert_eq!(steps, expected, "{what}: {:#?}", ended.plan().steps[0].changes);
    let rest = apply(world, wanted).await;
    assert!(rest.plan().steps.is_empty(), "{what}: {:#?}", rest.plan().steps);
    let found = state::describe(world, wanted).await;
    assert!(!found.contains("WRONG") && !found.contains("stopped"), "{what}: {found}");
    ended
}

async fn stop(world: &World, kind: GuestKind) {
    let folder = if kind == GuestKind::Vm { "qemu" } else { "lxc" };
    let path = format!("/nodes/pve1/{folder}/150/status/stop");
    let request = Request { method: Method::Post, path, params: Vec::new() };
    assert_eq!(world.node.handle(&Auth::root(), &request).await.status, 200);
    world.node.idle().await;
}

#[test]
fn every_row_has_a_case() {
    for kind in KINDS {
        let covered: BTreeSet<&str> = cases(kind).iter().map(|case| case.row).collect();
        let mut known: BTreeSet<&str> = rows(kind).iter().map(|row| row.name).collect();
        // The drive goes with more than itself: `the_drive_of_cloud_init_goes`.
        known.remove("ide2");
        assert_eq!(covered, known);
    }
}

/// The keys that blueprints have for a guest, by their paths; what users name is `NAME`.
fn said(path: &str, within: &str, all: &mut BTreeSet<String>) {
    let found = blueprint::explain(path).expect("it is a key");
    let below = |name: &str| if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") };
    for (name, _) in &found.children {
        // Of what users name, the keys of each are told.
        let own = format!("{path}.{name}");
        let named = blueprint::explain(&own).is_none_or(|child| child.path != own);
        let (path, key) =
            if named { (format!("{path}.NAME.{name}"), format!("NAME.{name}")) } else { (own, name.clone()) };
        said(&path, &below(&key), all);
    }
    if found.children.is_empty() {
        all.insert(within.to_owned());
    }
}

#[test]
fn every_key_of_blueprints_has_a_case() {
    for kind in KINDS {
        let mut all = BTreeSet::new();
        for (key, _) in blueprint::explain(&format!("{}.NAME", kind.key())).expect("it is a key").children {
            // A secret's own keys, and files, are forms of one value.
            let whole = ["type", "services", "features", "user", "settings"].contains(&key.as_str());
            let path = format!("{}.NAME.{key}", kind.key());
            if whole { all.extend([key.clone()]) } else { said(&path, &key, &mut all) }
        }
        all.remove("type");
        let cases = cases(kind);
        let is_name = |part: &str| part.ends_with(|c: char| c.is_ascii_digit()) && part != "usb3";
        let paths = cases.iter().map(|case| {
            let parts: Vec<&str> =
                case.path.split('.').map(|part| if is_name(part) { "NAME" } else { part }).collect();
            parts.join(".")
        });
        let covered: BTreeSet<String> = paths.collect();
        let not_here = not_here(kind);
        let lacks = |path: &&String| {
            let within = |one: &str| *one == **path || path.starts_with(&format!("{one}."));
            let above = |one: &str| one.starts_with(&format!("{path}."));
            // A case of the whole stands for its parts.
            !covered.iter().any(|one| within(one) || above(one)) && !not_here.iter().any(|one| within(one))
        };
        let missing: Vec<&String> = all.iter().filter(lacks).collect();
        assert!(missing.is_empty(), "{}: no case for {missing:?}", kind.key());
    }
}

/// T-6, T-7, T-8, T-16.
fn every_key_in_turn(kind: GuestKind) {
    let all = cases(kind);
    let first = with(kind, &all, None);
    let failed = Mutex::new(Vec::new());
    every(all.iter(), |case| {
        let tried = catch_unwind(AssertUnwindSafe(|| in_turn(kind, &all, &first, case)));
        if tried.is_err() {
            failed.lock().unwrap().push(format!("{}: {}", case.path, case.other));
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// One key: changed while it runs, and back while it does not.
fn in_turn(kind: GuestKind, all: &[Case], first: &Site, case: &Case) {
    let what = format!("{} {}", case.path, case.other);
    let wanted = with(kind, all, Some(case));
    let row = row(kind, case.row);
    let grade = grade(row, case);
    virtually(async {
        let world = world(7);
        let made = apply(&world, first).await;
        assert!(made.done(), "{:#?} {:#?}\n{}", made.plan().problems, made.failures(), world.story());
        let again = apply(&world, first).await;
        assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
        let ended = costs(&world, &wanted, kind, grade, !case.moves, &what).await;
        // What takes root is said, and told by the table.
        let root = ended.plan().steps[0].root.is_some();
        assert!(root || row.root_words != "always", "{what}");
        assert!(!root || !row.root_words.is_empty() || grade.1 == Grade::DataLoss, "{what}");
        // And back, where it does not run: nothing has to be restarted for it.
        stop(&world, kind).await;
        let back = match row.takes {
            Takes::Rebuild => grade,
            _ => (Action::Update, Grade::Live),
        };
        // A volume does not shrink.
        if !case.path.ends_with("size") && case.other != json!("2G") {
            costs(&world, first, kind, back, true, &format!("back from {what}")).await;
        }
    });
}

#[test]
fn every_key_of_a_container_is_applied_and_changed_in_turn() {
    every_key_in_turn(GuestKind::Container);
}

#[test]
fn every_key_of_a_virtual_machine_is_applied_and_changed_in_turn() {
    every_key_in_turn(GuestKind::Vm);
}

/// Without its drive nothing is told to cloud-init.
#[test]
fn the_drive_of_cloud_init_goes() {
    let all = vms::cases();
    let without = case("ide2", "cloud-init", json!(true), json!(false));
    virtually(async {
        let world = world(9);
        assert!(apply(&world, &with(GuestKind::Vm, &all, None)).await.done());
        let wanted = with(GuestKind::Vm, &all, Some(&without));
        costs(&world, &wanted, GuestKind::Vm, (Action::Restart, Grade::Restart), true, "cloud-init").await;
    });
}

/// A password is nowhere but in the call, and on the node as a hash.
#[test]
fn a_password_is_in_no_plan() {
    let all = vms::cases();
    virtually(async {
        let world = world(10);
        let first = with(GuestKind::Vm, &all, None);
        let ended = apply(&world, &first).await;
        assert!(ended.done());
        let plan = serde_json::to_string(ended.plan()).expect("a plan is JSON");
        assert!(plan.contains("cipassword") && !plan.contains(scenarios::SECRET), "{plan}");
        let files = world.node.configuration_files();
        let file: String = files.iter().map(|(_, text)| &**text).collect();
        assert!(file.contains("cipassword: $5$") && !file.contains(scenarios::SECRET), "{file}");
        assert!(!world.story().contains(scenarios::SECRET));
    });
}

/// What the blueprint no longer says goes, and no key of it is left behind but what the node cannot do without.
#[test]
fn all_of_it_goes_again() {
    for kind in KINDS {
        let first = with(kind, &cases(kind), None);
        let bare = json!({ "net0": { "network": "lan", "address": "10.0.0.50" } });
        let bare = site(kind, [("networks", &bare)].into_iter());
        virtually(async {
            let world = world(8);
            assert!(apply(&world, &first).await.done());
            let ended = apply(&world, &bare).await;
            assert_eq!(ended.plan().problems, [], "{ended:#?}");
            assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
            let rest = apply(&world, &bare).await;
            assert!(rest.plan().steps.is_empty(), "{:#?}", rest.plan().steps);
            let notes = rest.plan().notes.join("\n");
            assert!(!notes.contains("left as others set it"), "{notes}");
        });
    }
}
