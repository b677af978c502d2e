//! Disks that move to another storage (T-1, T-7): a machine's while it runs, a container's with one restart; nothing is lost, and
//! nothing is left behind, whatever goes wrong on the way.

use lab::node::Auth;
use lab::runtime::Runtime as _;
use lab::sim::{Fault, Faults, World, WorldOptions};
use plan::{Action, Grade};
use proxmox::exchange::{Method, Request};
use scenarios::{Ended, Files, Site, Try, run, virtually};
use serde_json::{Value, json};

use super::{apply, each, settle, site, world};

/// A container and a virtual machine, protected both, whose disks are on this storage. One volume of the container names none.
fn whole(storage: &str) -> Value {
    let disk = |size: &str| json!({ "size": size, "storage": storage });
    json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "containers": { "notes": {
            "id": 120, "address": "10.0.0.120", "protected": true, "disk": disk("4G"),
            "mounts": { "mp0": { "path": "/srv", "size": "1G", "storage": storage }, "mp1": { "path": "/opt", "size": "1G" } },
        } },
        "vms": { "docker-1": {
            "id": 1001, "image": format!("local:{}", super::IMAGE), "address": "10.0.0.111", "agent": false, "protected": true,
            "disks": { "scsi0": disk("8G"), "scsi1": disk("1G") },
        } },
    })
}

fn on(storage: &str) -> Site {
    changed(storage, |_| ())
}

async fn get(world: &World, path: &str) -> Value {
    let request = Request { method: Method::Get, path: path.to_owned(), params: Vec::new() };
    world.node.handle(&Auth::root(), &request).await.body["data"].clone()
}

/// Where the disks are, what is unused, and the volumes that the first storage still has.
async fn disks(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    for guest in ["lxc/120", "qemu/1001"] {
        let config = get(world, &format!("/nodes/pve1/{guest}/config")).await;
        for (key, value) in config.as_object().unwrap() {
            let disk = ["rootfs", "mp", "scsi", "unused"].iter().any(|name| key.starts_with(name))
                && key != "scsihw";
            let value = value.as_str().unwrap_or_default();
            all.extend(disk.then(|| format!("{key} {}", value.split(':').next().unwrap_or_default())));
        }
    }
    let left = get(world, "/nodes/pve1/storage/local-zfs/content").await;
    all.push(format!("{} left", left.as_array().unwrap().len()));
    all
}

/// `mp1` and the drive for cloud-init name no storage, and stay; so does what somebody keeps as unused.
const MOVED: [&str; 8] = [
    "mp0 tank",
    "mp1 local-zfs",
    "rootfs tank",
    "unused7 tank",
    "scsi0 tank",
    "scsi1 tank",
    "unused7 tank",
    "2 left",
];

/// Both are there, and each has a volume that somebody keeps as unused.
async fn prepared(faults: Faults) -> World {
    let world = world(6, faults);
    settle(&world, &on("local-zfs"), 1).await;
    for id in [120, 1001] {
        edit(&world, id, |text| format!("{text}unused7: tank:{id}/vm-{id}-disk-9.raw\n"));
    }
    world
}

/// Somebody edits a guest's file.
fn edit(world: &World, id: u32, change: impl FnOnce(&str) -> String) {
    let files = world.node.configuration_files();
    let text = files.iter().find(|(it, _)| *it == id).map(|(_, text)| change(text)).unwrap();
    if id < 1000 { world.node.put_guest(id, &text) } else { world.node.put_vm(id, &text) }.unwrap();
}

#[test]
fn disks_move_where_they_are_wanted() {
    let wanted = on("tank");
    virtually(async {
        let world = prepared(Faults::none()).await;
        let ended = apply(&world, &wanted).await;
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        let steps: Vec<_> =
            (ended.plan().steps.iter()).map(|it| (it.address.as_str(), it.action, it.grade)).collect();
        let expected = [
            ("restart.notes", Action::Restart, Grade::Restart),
            ("vm.docker-1", Action::Update, Grade::Live),
        ];
        assert_eq!(steps, expected);
        assert_eq!(disks(&world).await, MOVED);
        let stops: Vec<_> = world
            .faults
            .made()
            .into_iter()
            .filter(|it| it.what.starts_with("shutdown"))
            .map(|it| it.what)
            .collect();
        assert_eq!(stops, ["shutdown 120"], "the machine runs on");
        let found = settle(&world, &wanted, 1).await;
        assert!(!found.contains("WRONG") && !found.contains("stopped"), "{found}");
    });
}

fn whatever_happens(fault: &Fault) {
    let wanted = on("tank");
    let calls = virtually(async {
        let world = prepared(Faults::none()).await;
        let before = world.faults.calls();
        assert!(apply(&world, &wanted).await.done());
        before + 1..=world.faults.calls()
    });
    each(calls, |n| {
        virtually(async {
            let world = prepared(Faults::none().at(n, fault.clone())).await;
            let ended = apply(&world, &wanted).await;
            let killed = matches!(ended, Ended::Killed);
            world.faults.revive();
            let found = settle(&world, &wanted, 1).await;
            let story = format!("call {n}, {fault:?}, killed: {killed}\n{}", world.story());
            assert!(!found.contains("WRONG") && !found.contains("stopped"), "{found}\n{story}");
            assert_eq!(disks(&world).await, MOVED, "{story}");
        });
    });
}

#[test]
fn killed_after_every_call_they_go_on() {
    whatever_happens(&Fault::KillAfter);
}

#[test]
fn every_call_in_turn_loses_its_answer() {
    whatever_happens(&Fault::ReplyLost);
}

/// A storage that is not there, or cannot hold disks, is a problem, and nothing moves.
#[test]
fn a_storage_that_cannot_have_them_is_found_by_the_plan() {
    virtually(async {
        let world = prepared(Faults::none()).await;
        let made = world.faults.made().len();
        for storage in ["nowhere", "local"] {
            let ended = apply(&world, &on(storage)).await;
            let problems = &ended.plan().problems;
            assert!(
                !problems.is_empty() && problems.iter().all(|it| it.code == "plan::no-storage"),
                "{problems:?}"
            );
        }
        assert!(world.faults.made()[made..].iter().all(|it| !it.what.contains("move")));
    });
}

/// The site with one of its guests changed.
fn changed(storage: &str, change: impl Fn(&mut Value)) -> Site {
    let mut file = whole(storage);
    change(&mut file);
    site(&Files::from([("site.json".to_owned(), file.to_string().into_bytes())]))
}

/// Somebody takes a snapshot of a guest.
fn snapshot(world: &World, id: u32) {
    edit(world, id, |text| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        format!("{text}\n[before]\n{}\nsnaptime: 1795000000\n", lines.join("\n"))
    });
}

async fn volumes(world: &World, storage: &str) -> Vec<String> {
    let all = get(world, &format!("/nodes/pve1/storage/{storage}/content")).await;
    let name = |it: &Value| it["volid"].as_str().unwrap_or_default().to_owned();
    all.as_array().unwrap().iter().map(name).collect()
}

/// A volume that a snapshot has moves and grows like any other; what the snapshot has of it stays, as unused, and is no work for
/// the next plan.
#[test]
fn what_a_snapshot_has_stays() {
    virtually(async {
        let world = prepared(Faults::none()).await;
        let before = volumes(&world, "local-zfs").await;
        for id in [120, 1001] {
            snapshot(&world, id);
        }
        let wanted = changed("tank", |file| {
            file["vms"]["docker-1"]["disks"]["scsi1"]["size"] = "2G".into();
            file["containers"]["notes"]["mounts"]["mp0"]["size"] = "2G".into();
        });
        let ended = apply(&world, &wanted).await;
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
        let told = format!("{events:?}");
        assert!(told.contains("stays as unused") && told.contains("a snapshot has it"), "{told}");
        let found = settle(&world, &wanted, 1).await;
        assert!(!found.contains("WRONG") && !found.contains("stopped"), "{found}");
        assert_eq!(volumes(&world, "local-zfs").await, before, "all that a snapshot has is there");
        let config = get(&world, "/nodes/pve1/qemu/1001/config").await;
        assert!(config["scsi1"].as_str().unwrap().starts_with("tank:"), "{config}");
        assert!(config["scsi1"].as_str().unwrap().contains("size=2G"), "{config}");
        assert!(config["unused0"].as_str().unwrap().starts_with("local-zfs:"), "{config}");
    });
}

/// Without room nothing moves: the plan says that there may be none, the failure says what to look at, the guests run, and the next
/// run moves them.
#[test]
fn without_room_all_stays_where_it_is() {
    let wanted = on("tank");
    virtually(async {
        let mut options = WorldOptions::new(6);
        let tank = options.node.storages.iter_mut().find(|it| it.id == "tank").unwrap();
        tank.total = 64 << 30;
        let world = super::furnished(options);
        settle(&world, &on("local-zfs"), 1).await;
        let large = "arch: amd64\nhostname: large\nrootfs: tank:900/vm-900-disk-0.raw,size=65024M\n";
        world.node.put_guest(900, large).unwrap();
        let before = disks(&world).await;
        let ended = apply(&world, &wanted).await;
        let notes = ended.plan().notes.join("\n");
        assert!(notes.contains("moves up to 5G to tank, which has 512M free"), "{notes}");
        let failures = ended.failures();
        assert_eq!(failures.len(), 2, "{failures:#?}");
        for failure in &failures {
            assert_eq!(failure.code, "proxmox::no-space", "{failure:#?}");
            assert!(failure.hint.as_deref().unwrap_or_default().contains("pvesm status"), "{failure:#?}");
        }
        assert_eq!(disks(&world).await, before);
        assert_eq!(world.runtime.running().await.len(), 2, "both run");
        let gone =
            Request { method: Method::Delete, path: "/nodes/pve1/lxc/900".to_owned(), params: Vec::new() };
        assert_eq!(world.node.handle(&Auth::root(), &gone).await.status, 200);
        world.node.idle().await;
        let found = settle(&world, &wanted, 1).await;
        assert!(!found.contains("WRONG") && !found.contains("stopped"), "{found}");
    });
}

/// A guest that is to be off is moved while it is; one whose restart is put off is not.
#[test]
fn what_is_off_moves_and_what_is_put_off_waits() {
    let off = |file: &mut Value| {
        file["containers"]["notes"]["started"] = false.into();
        file["vms"]["docker-1"]["started"] = false.into();
    };
    virtually(async {
        let world = prepared(Faults::none()).await;
        let put_off = Try { no_restart: true, ..Try::default() };
        assert!(run(&world, &on("tank"), &put_off).await.done());
        let waits = disks(&world).await;
        assert!(waits.contains(&"rootfs local-zfs".to_owned()) && waits.contains(&"scsi0 tank".to_owned()));
        // The machine's go back, and the container's are on their way.
        let ended = apply(&world, &changed("tank", off)).await;
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        assert!(ended.plan().steps.iter().all(|it| it.action == Action::Update), "{:#?}", ended.plan().steps);
        assert_eq!(disks(&world).await, MOVED);
        assert!(world.runtime.running().await.is_empty());
        assert!(apply(&world, &changed("tank", off)).await.plan().steps.is_empty());
        let ended = apply(&world, &changed("local-zfs", off)).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        let back = disks(&world).await;
        let theirs = |it: &&String| it.contains("tank");
        assert_eq!(back.iter().filter(theirs).collect::<Vec<_>>(), ["unused7 tank"; 2], "{back:?}");
    });
}

/// What waits for a restart of a machine names the old volume: it moves after that; of a container it is carried out first.
#[test]
fn what_waits_is_not_lost() {
    virtually(async {
        let world = prepared(Faults::none()).await;
        let wanted = changed("tank", |file| {
            file["vms"]["docker-1"]["disks"]["scsi1"]["ssd"] = true.into();
            file["containers"]["notes"]["mounts"]["mp0"]["backup"] = true.into();
            file["containers"]["notes"]["mounts"]["mp0"]["path"] = "/srv/data".into();
        });
        let ended = apply(&world, &wanted).await;
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        let config = get(&world, "/nodes/pve1/qemu/1001/config").await;
        assert!(config["scsi1"].as_str().unwrap().contains("ssd=1"), "{config}");
        let config = get(&world, "/nodes/pve1/lxc/120/config").await;
        assert!(config["mp0"].as_str().unwrap().contains("mp=/srv/data"), "{config}");
        assert_eq!(disks(&world).await, MOVED);
        settle(&world, &wanted, 1).await;
    });
}
