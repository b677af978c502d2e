//! Golden guests that become templates, and clones of them and of templates that are somebody's, whatever goes wrong on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::node::TaskTwist;
use lab::runtime::Runtime as _;
use lab::sim::{Fault, Faults, Times, World, WorldOptions};
use proxmox::config::{GuestConfig, GuestKind};
use scenarios::{Ended, Files, Site, Try, run, virtually};
use serde_json::{Value, json};

use super::calls::every_call;
use super::kills::killed_at_every_call;
use super::{apply, settle, site, world};

fn files(guests: &Value) -> Files {
    let site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
    });
    [("site.json", site), ("guests.json", guests.clone())]
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value.to_string().into_bytes()))
        .collect()
}

/// A golden guest of each kind, and one clone of each.
fn golden() -> Value {
    json!({
        "templates": { "base": { "from": "container.base" } },
        "images": { "golden": { "from": "vm.golden" } },
        "containers": {
            "base": { "id": 900, "address": "10.0.0.90", "template": "debian-12", "features": ["base"], "tags": ["golden"] },
            "a": { "id": 120, "address": "10.0.0.120", "template": "base", "memory": "1G", "disk": "12G" },
        },
        "vms": {
            "golden": { "id": 901, "address": "10.0.0.91", "image": format!("local:{}", super::IMAGE), "features": ["base"] },
            "b": { "id": 121, "address": "10.0.0.121", "image": "golden", "clone": "linked", "disks": { "scsi0": "16G" } },
        },
    })
}

fn config(world: &World, id: u32) -> std::collections::BTreeMap<String, String> {
    let files = world.node.configuration_files();
    let (_, text) =
        files.iter().find(|(other, _)| *other == id).unwrap_or_else(|| panic!("there is no {id}"));
    GuestConfig::parse(GuestKind::Container, text).current.values.into_iter().collect()
}

/// They are made, converged, stopped and turned into templates, and their clones are what the blueprint says; then there is nothing
/// to do.
#[test]
fn golden_guests_become_templates_and_have_clones() {
    virtually(async {
        let world = world(3, Faults::none());
        for id in [900, 901] {
            world.runtime.put_file(id, "/root/kept", "kept");
        }
        let found = settle(&world, &site(&files(&golden())), 1).await;
        assert!(!found.contains("WRONG"), "{found}");
        let [base, golden, a, b] = [900, 901, 120, 121].map(|id| config(&world, id));
        assert_eq!((base["template"].as_str(), golden["template"].as_str()), ("1", "1"), "{found}");
        assert!(
            base["rootfs"].contains("basevol-900-disk-0") && golden["scsi0"].contains("base-901-disk-0"),
            "{found}"
        );
        assert!(!a.contains_key("template") && !b.contains_key("template"), "{found}");
        assert_eq!((a["hostname"].as_str(), a["memory"].as_str()), ("a", "1024"), "{found}");
        assert!(a["rootfs"].ends_with("size=12G") && b["scsi0"].contains("base-901-disk-0"), "{found}");
        // What was the template's own is not its clone's.
        assert_eq!(a["tags"], "phoenix", "{found}");
        assert!(a["net0"].contains("10.0.0.120") && b["ipconfig0"].contains("10.0.0.121"), "{found}");
        let running = world.runtime.running().await;
        assert_eq!(running, BTreeSet::from([120, 121]), "{found}");
        assert_eq!(world.faults.doubled(), Vec::<String>::new());
    });
}

/// Who a guest is, it forgets before it becomes a template; the rest is in each clone.
#[test]
fn identity_is_not_shared() {
    virtually(async {
        let world = world(3, Faults::none());
        let all = golden();
        let mut without = all.clone();
        // First the golden guests alone, running.
        for part in ["templates", "images"] {
            without[part] = json!({});
        }
        without["containers"].as_object_mut().unwrap().remove("a");
        without["vms"].as_object_mut().unwrap().remove("b");
        assert!(apply(&world, &site(&files(&without))).await.done());
        for id in [900, 901] {
            world.runtime.put_file(id, "/etc/ssh/ssh_host_ed25519_key", "mine");
            world.runtime.put_file(id, "/etc/machine-id", "mine");
            world.runtime.put_file(id, "/srv/data", "kept");
        }
        settle(&world, &site(&files(&all)), 1).await;
        for id in [120, 121] {
            let has = async |path: &str| {
                let argv = ["cat".to_owned(), path.to_owned()];
                world.runtime.exec(id, &argv, b"").await.unwrap().0 == 0
            };
            assert!(has("/srv/data").await, "{id} is no copy");
            assert!(!has("/etc/ssh/ssh_host_ed25519_key").await && !has("/etc/machine-id").await, "{id}");
        }
    });
}

/// T-15: what the blueprint says of a golden guest once it is a template touches neither it nor its clones, and is said.
#[test]
fn a_golden_guest_that_changes_touches_nothing() {
    virtually(async {
        let world = world(5, Faults::none());
        settle(&world, &site(&files(&golden())), 1).await;
        let made = world.faults.made().len();
        let mut changed = golden();
        changed["vms"]["golden"]["memory"] = "4G".into();
        changed["containers"]["base"]["features"] = json!([]);
        let ended = apply(&world, &site(&files(&changed))).await;
        let plan = ended.plan();
        assert!(plan.steps.is_empty() && plan.problems.is_empty(), "{:#?}", plan.steps);
        let notes = plan.notes.join("\n");
        assert!(
            notes.contains("vm.golden is a template already") && notes.contains("destroy --target vm.golden"),
            "{notes}"
        );
        assert_eq!(world.faults.made().len(), made);
    });
}

fn only(kind: &str) -> Site {
    let mut all = golden();
    for other in ["templates", "images", "containers", "vms"] {
        if !kind.contains(other) {
            all.as_object_mut().unwrap().remove(other);
        }
    }
    site(&files(&all))
}

#[test]
fn every_call_in_turn_loses_its_answer() {
    every_call(&only("templates containers"), &Fault::ReplyLost);
    every_call(&only("images vms"), &Fault::ReplyLost);
}

#[test]
fn every_call_in_turn_is_never_sent() {
    every_call(&only("templates containers"), &Fault::NeverSent);
    every_call(&only("images vms"), &Fault::NeverSent);
}

/// T-11: a clone that was cut off is finished, and never made twice.
#[test]
fn killed_after_every_call_and_started_again() {
    killed_at_every_call(&only("templates containers"), &Fault::KillAfter);
    killed_at_every_call(&only("images vms"), &Fault::KillAfter);
}

/// Twenty clones of one template.
fn twenty(kind: &str) -> Value {
    let key = if kind == "containers" { "template" } else { "image" };
    let guests: serde_json::Map<String, Value> = (0..20)
        .map(|n| {
            (
                format!("c{n}"),
                json!({ "id": 200 + n, "address": format!("10.0.0.{}", 100 + n), key: "theirs" }),
            )
        })
        .collect();
    let declared = if kind == "containers" { "templates" } else { "images" };
    json!({ declared: { "theirs": { "guest": 9000 } }, kind: guests })
}

/// A template that somebody made.
fn put_template(world: &World, kind: GuestKind, more: &str) {
    match kind {
        GuestKind::Container => world.node.put_guest(
            9000,
            &format!(
                "arch: amd64\nhostname: theirs\nmemory: 512\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=dhcp,type=veth\n\
                 ostype: debian\nrootfs: tank:9000/base-9000-disk-0.raw,size=8G\nswap: 512\nunprivileged: 1\n{more}"
            ),
        ),
        GuestKind::Vm => world.node.put_vm(
            9000,
            &format!(
                "agent: 1\nboot: order=scsi0\ncores: 2\nmemory: 2048\nname: theirs\nnet0: virtio=BC:24:11:00:00:01,bridge=vmbr0\n\
                 ostype: l26\nscsi0: tank:9000/base-9000-disk-0.qcow2,size=8G\nscsihw: virtio-scsi-pci\n\
                 smbios1: uuid=58ff7a5d-0280-4fd6-84de-ec088d13bb76\n{more}"
            ),
        ),
    }
    .unwrap();
}

/// T-3, T-4: twenty clones of one template at once are twenty guests, and nothing is told as a failure; as fast as the node's own
/// locks allow, within a twentieth.
#[test]
fn twenty_clones_of_one_template_at_once() {
    for (kind, of) in [("containers", GuestKind::Container), ("vms", GuestKind::Vm)] {
        virtually(async {
            // Copies of some gigabytes; how often the node is asked whether one is done counts for nothing then.
            let times = Times { create: Duration::from_secs(60), ..Times::default() };
            let world = WorldOptions::new(11).times(times).latency(Duration::from_millis(2)).build().unwrap();
            put_template(&world, of, "template: 1\n");
            let site = site(&files(&twenty(kind)));
            let ended = apply(&world, &site).await;
            let Ended::Walked { events, took, .. } = &ended else { panic!("{ended:?}") };
            assert!(ended.done(), "{:#?}", ended.failures());
            let told = format!("{events:?}");
            assert!(
                !told.contains("lock") && !told.contains("Warning"),
                "{kind}: a lock was run into: {told}"
            );
            assert_eq!(world.runtime.running().await.len(), 20, "{kind}");
            let refused: Vec<_> = world.faults.made().into_iter().filter(|made| made.status != 200).collect();
            assert!(refused.is_empty(), "{kind}: {refused:#?}");
            // Of containers the node copies one at a time, of machines four on a storage: what the tasks took tells the least.
            let least = least(&world, of).await;
            assert!(took.as_secs_f64() <= least * 1.05, "{kind}: {took:?} of {least} s at least");
            let again = apply(&world, &site).await;
            assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().steps);
        });
    }
}

/// The least that these clones could take: the copies, as many at once as may be, one after the other in the order in which they
/// began; and the start of the last.
async fn least(world: &World, of: GuestKind) -> f64 {
    world.node.idle().await;
    let mut places = vec![0.0; if of == GuestKind::Container { 1 } else { apply::limits::STORAGE }];
    let mut start = f64::MAX;
    for (task, seconds) in world.node.task_times() {
        match task.as_str() {
            "vzclone" | "qmclone" => {
                places.sort_by(f64::total_cmp);
                places[0] += seconds;
            }
            "vzstart" | "qmstart" => start = f64::min(start, seconds),
            _ => {}
        }
    }
    places.into_iter().fold(0.0, f64::max) + start
}

/// Somebody else holds the template, changes it or backs it up: that is waited for, and no failure.
#[test]
fn a_template_that_is_locked_is_waited_for() {
    for (kind, of, twist) in [
        ("containers", GuestKind::Container, None),
        ("vms", GuestKind::Vm, Some("can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout")),
    ] {
        virtually(async {
            let faults = match twist {
                Some(words) => Faults::none().task(2, TaskTwist::FailBefore(words.to_owned())),
                None => Faults::none(),
            };
            let world = world(11, faults);
            put_template(&world, of, "template: 1\n");
            assert!(world.node.back_up(9000, Duration::from_secs(40)));
            let ended = apply(&world, &site(&files(&twenty(kind)))).await;
            assert!(ended.done(), "{kind}: {:#?}", ended.failures());
            assert_eq!(world.runtime.running().await.len(), 20, "{kind}");
        });
    }
}

/// A lock that nobody works under is named, with what takes it away.
#[test]
fn a_template_whose_lock_was_left_is_named() {
    virtually(async {
        let world = world(11, Faults::none());
        put_template(&world, GuestKind::Container, "template: 1\n");
        world.node.set_guest_lock(9000, Some("backup"));
        let ended = apply(&world, &site(&files(&twenty("containers")))).await;
        let failures = ended.failures();
        let hint = failures[0].hint.clone().unwrap_or_default();
        assert!(hint.contains("pct unlock 9000"), "{failures:#?}");
        assert!(!world.node.configuration_files().iter().any(|(id, _)| *id < 300), "nothing was made");
    });
}

/// What the plan says of a clone that cannot be, and what to do.
async fn refused(guests: &Value, prepare: impl Fn(&World)) -> String {
    let world = world(11, Faults::none());
    prepare(&world);
    let ended = apply(&world, &site(&files(guests))).await;
    let problems = &ended.plan().problems;
    assert!(!problems.is_empty(), "{:#?}", ended.plan().steps);
    problems.iter().map(|it| format!("{}: {}; {}\n", it.code, it.message, it.hint)).collect()
}

#[test]
fn clones_that_cannot_be_say_what_to_do() {
    virtually(async {
        let one = |kind: &str, more: Value| {
            let mut all = twenty(kind);
            let guests = all[kind].as_object_mut().unwrap();
            guests.retain(|name, _| name == "c0");
            guests["c0"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let (containers, vms) = (one("containers", json!({})), one("vms", json!({})));
        let ct = |more: &'static str| move |world: &World| put_template(world, GuestKind::Container, more);
        let vm = |more: &'static str| move |world: &World| put_template(world, GuestKind::Vm, more);
        let missing = refused(&containers, |_| {}).await;
        assert!(
            missing.contains("plan::no-template: the template 9000") && missing.contains("there is none"),
            "{missing}"
        );
        let other = refused(&containers, vm("template: 1\n")).await;
        assert!(other.contains("9000 is a virtual machine") && other.contains("`images`"), "{other}");
        let runs = refused(&vms, |world| {
            put_template(world, GuestKind::Vm, "");
            world.runtime.set_running(9000);
        })
        .await;
        assert!(runs.contains("plan::template-runs") && runs.contains("qm template 9000"), "{runs}");
        let small = refused(&one("vms", json!({ "disks": { "scsi0": "4G" } })), vm("template: 1\n")).await;
        assert!(small.contains("cannot shrink to 4G") && small.contains("at least 8G"), "{small}");
        let brings =
            refused(&vms, vm("scsi1: tank:9000/base-9000-disk-1.qcow2,size=3G\ntemplate: 1\n")).await;
        assert!(brings.contains("plan::clone-brings") && brings.contains("scsi1 (3G)"), "{brings}");
        let link = refused(&one("containers", json!({ "clone": "linked" })), ct("template: 1\n")).await;
        assert!(link.contains("plan::no-link") && link.contains("\"clone\": \"full\""), "{link}");
        let privileged =
            refused(&one("containers", json!({ "unprivileged": false })), ct("template: 1\n")).await;
        assert!(privileged.contains("plan::clone-differs"), "{privileged}");
        // P-16: what has the id is left alone.
        let taken = refused(&vms, |world| {
            put_template(world, GuestKind::Vm, "template: 1\n");
            world.node.put_vm(200, "lock: clone\n").unwrap();
        })
        .await;
        assert!(taken.contains("half made") && taken.contains("qm unlock 200"), "{taken}");
    });
}

/// A template stays while linked clones hang on it, and goes after those that go, too.
#[test]
fn a_template_with_linked_clones_stays() {
    virtually(async {
        let world = world(7, Faults::none());
        let all = golden();
        settle(&world, &site(&files(&all)), 1).await;
        let mut rest = all.clone();
        rest["images"] = json!({});
        rest["vms"] = json!({ "b": { "id": 121, "address": "10.0.0.121", "disks": { "scsi0": "16G" } } });
        let options = Try { all_granted: true, ..Try::default() };
        let ended = run(&world, &site(&files(&rest)), &options).await;
        let step = ended.plan().steps.iter().find(|step| step.address.name() == "golden").unwrap();
        assert!(format!("{:?}", step.consent).contains("121 is a linked clone of it"), "{step:#?}");
        assert_eq!(config(&world, 901)["template"], "1");
        let options = Try { all_granted: true, destroy: true, ..Try::default() };
        let ended = run(&world, &site(&files(&all)), &options).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert!(world.node.configuration_files().is_empty());
    });
}
