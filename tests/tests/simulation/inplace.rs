//! What changes in place: restarts as steps of their own, which can be put off; and what a change leaves behind that the node
//! refused (FACTS: "A refused change may have been made").

use std::collections::BTreeMap;

use lab::node::Auth;
use lab::sim::{Fault, Faults, World};
use managers::guests::work::{GuestWork, Update};
use plan::{Action, Address};
use proxmox::client::{GuestRef, PendingEntry, Reader};
use proxmox::config::GuestKind;
use proxmox::exchange::{Method, Request};
use scenarios::{Ended, Files, Site, Try, carry_out, first, run, virtually};
use serde_json::{Value, json};

use super::{LONGEST, apply, each, settle, site, world};

fn with(key: &str) -> Site {
    let mut files = first();
    let text = String::from_utf8(files["guests.json"].clone()).unwrap();
    files.insert("guests.json".into(), text.replace(r#""id": 120,"#, &format!(r#""id": 120, {key}"#)).into());
    site(&files)
}

fn addresses(ended: &Ended) -> Vec<String> {
    ended.plan().steps.iter().map(|step| step.address.to_string()).collect()
}

/// T-16: a restart comes after what is written, and before what proves the guest's services; put off, its values wait, the plan
/// is that restart alone, and nothing else is left to do.
#[test]
fn a_restart_is_a_step_of_its_own_and_can_be_put_off() {
    let wanted = with(r#""options": { "keyctl": true }, "memory": "1G","#);
    let put_off = Try { no_restart: true, ..Try::default() };
    virtually(async {
        let world = world(3, Faults::none());
        settle(&world, &site(&first()), 1).await;
        let starts = || world.faults.made().iter().filter(|it| it.what == "start 120").count();
        let before = starts();
        let ended = run(&world, &wanted, &put_off).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        let waits: Vec<_> =
            ended.plan().postponed.iter().map(|it| (it.guest(), it.reasons.join("; "))).collect();
        assert_eq!(waits, [("notes", "features applies at a restart".to_owned())]);
        assert!(!addresses(&ended).contains(&"restart.notes".to_owned()), "{:?}", addresses(&ended));
        assert_eq!(starts(), before, "nothing restarted");
        // What could be at once is.
        let (now, waits) = state(&world, &container(120)).await;
        assert_eq!(now["memory"], "1024");
        assert_eq!(waits.keys().collect::<Vec<_>>(), ["features"]);
        let again = run(&world, &wanted, &put_off).await;
        assert!(
            again.plan().steps.is_empty() && again.plan().postponed.len() == 1,
            "{:?}",
            addresses(&again)
        );
        let words = plan::render::waiting(again.plan(), "phoenix-cli").join("\n");
        assert!(words.ends_with("phoenix-cli apply --target notes"), "{words}");
        // By the command that was told; the way to its service is proven after it.
        let ended = run(&world, &wanted, &Try { targets: vec!["notes".into()], ..Try::default() }).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert_eq!(addresses(&ended), ["restart.notes", "service.notes"]);
        let steps = &ended.plan().steps;
        assert_eq!(
            (steps[0].action, steps[1].needs.as_slice()),
            (Action::Restart, [Address::restart("notes")].as_slice())
        );
        assert_eq!(starts(), before + 1);
        assert!(state(&world, &container(120)).await.1.is_empty());
        assert!(apply(&world, &wanted).await.plan().steps.is_empty());
    });
}

/// T-16, P-24: killed at every call of a change that takes a restart, it is restarted, and once, by the run after it.
#[test]
fn killed_at_every_call_of_a_restart() {
    let wanted = with(r#""options": { "keyctl": true },"#);
    let calls = virtually(async {
        let world = world(3, Faults::none());
        settle(&world, &site(&first()), 1).await;
        let before = world.faults.calls();
        assert!(apply(&world, &wanted).await.done());
        before + 1..=world.faults.calls()
    });
    each(calls, |n| {
        virtually(async {
            let world = world(3, Faults::none().at(n, Fault::KillAfter));
            settle(&world, &site(&first()), 1).await;
            assert!(matches!(apply(&world, &wanted).await, Ended::Killed), "call {n}");
            world.faults.revive();
            let found = settle(&world, &wanted, 1).await;
            assert!(!found.contains("WRONG") && !found.contains("stopped"), "call {n}: {found}");
            let (now, waits) = state(&world, &container(120)).await;
            assert!(now["features"].contains("keyctl") && waits.is_empty(), "call {n}: {now:?} {waits:?}");
            assert_eq!(world.faults.doubled(), Vec::<String>::new(), "call {n}");
        });
    });
}

fn container(id: u32) -> GuestRef {
    GuestRef::new("pve1", GuestKind::Container, id)
}

fn machine() -> GuestRef {
    GuestRef::new("pve1", GuestKind::Vm, 1001)
}

type Options = BTreeMap<String, String>;

/// What is in force, and what waits, without what only counts.
async fn state(world: &World, guest: &GuestRef) -> (Options, BTreeMap<String, Option<String>>) {
    let path = guest.path(&["pending"]);
    let request = Request { method: Method::Get, path, params: Vec::new() };
    let response = world.node.handle(&Auth::root(), &request).await;
    let entries: Vec<PendingEntry> = serde_json::from_value(response.body["data"].clone()).unwrap();
    let (mut now, mut waits) = (Options::new(), BTreeMap::new());
    for entry in entries.into_iter().filter(|entry| entry.key != "digest") {
        if entry.delete || entry.pending.is_some() {
            waits.insert(entry.key.clone(), entry.pending.filter(|_| !entry.delete));
        }
        now.extend(entry.value.map(|value| (entry.key, value)));
    }
    (now, waits)
}

async fn by_hand(
    world: &World,
    method: Method,
    guest: &GuestRef,
    rest: &[&str],
    params: &[(&str, &str)],
) -> (u16, Value) {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let request = Request { method, path: guest.path(rest), params };
    let response = world.node.handle(&Auth::root(), &request).await;
    world.node.idle().await;
    (response.status, response.body)
}

/// A site with a container and a virtual machine, neither with anything in it.
fn two() -> Site {
    let file = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } },
        "containers": { "notes": { "id": 120, "address": "10.0.0.120", "memory": "512M" } },
        "vms": { "docker-1": { "id": 1001, "image": format!("local:{}", super::IMAGE), "address": "10.0.0.111", "agent": false } },
    });
    site(&Files::from([("site.json".to_owned(), file.to_string().into_bytes())]))
}

/// A change that nobody planned so: the node has no such bridge.
fn bad(guest: &GuestRef, digest: &str) -> (Address, Value) {
    let pairs: &[(&str, &str)] = match guest.kind {
        GuestKind::Container => {
            &[("memory", "1024"), ("net0", "name=eth0,bridge=nowhere,hwaddr=02:00:00:00:00:09")]
        }
        GuestKind::Vm => &[("onboot", "1"), ("net0", "virtio=02:00:00:00:00:09,bridge=nowhere")],
    };
    let address = match guest.kind {
        GuestKind::Container => Address::container("notes"),
        GuestKind::Vm => Address::new("vm", "docker-1"),
    };
    let update = Update {
        id: guest.id,
        node: guest.node.clone(),
        digest: digest.to_owned(),
        set: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..Update::default()
    };
    (address, serde_json::to_value(GuestWork::Update(Box::new(update))).unwrap())
}

async fn digest(world: &World, guest: &GuestRef) -> String {
    let reader = Reader::new(std::sync::Arc::new(world.exchange.clone()));
    reader.config(guest).await.unwrap()["digest"].clone()
}

/// The three ways in which a change is refused and made all the same: a container that is stopped, one that runs, and a virtual
/// machine that runs and does not plug it in.
const CASES: [(bool, bool); 3] = [(false, false), (false, true), (true, true)];

async fn prepared(faults: Faults, (vm, running): (bool, bool), wanted: &Site) -> (World, GuestRef) {
    let world = world(4, faults);
    settle(&world, wanted, 1).await;
    let guest = if vm { machine() } else { container(120) };
    if !running {
        by_hand(&world, Method::Post, &guest, &["status", "stop"], &[]).await;
    }
    (world, guest)
}

/// What the simulated node does is what was recorded: "memory and net0 on a missing bridge", "running | net0: unknown bridge",
/// "stopped | rootfs: a new volume".
#[test]
fn the_node_writes_what_it_refuses() {
    let wanted = two();
    virtually(async {
        let (world, guest) = prepared(Faults::none(), (false, false), &wanted).await;
        let (good, _) = state(&world, &guest).await;
        let put =
            async |params: &[(&str, &str)]| by_hand(&world, Method::Put, &guest, &["config"], params).await;
        let net0 = "name=eth0,bridge=recnobr";
        let (status, body) = put(&[("memory", "97"), ("net0", net0)]).await;
        assert_eq!((status, &body["message"]), (500, &json!("bridge 'recnobr' does not exist\n")), "{body}");
        let (now, waits) = state(&world, &guest).await;
        assert!(now["memory"] == "97" && now["net0"].contains("recnobr") && waits.is_empty(), "{now:?}");
        // Whatever else is changed is refused so, and written.
        assert_eq!(put(&[("onboot", "1")]).await.0, 500);
        assert_eq!(state(&world, &guest).await.0["onboot"], "1");
        by_hand(&world, Method::Post, &guest, &["status", "start"], &[]).await;
        assert!(!world.node.runtime().running().await.contains(&120), "it does not start");
        assert_eq!(put(&[("net0", &good["net0"])]).await.0, 200, "a good net0 repairs it");
        by_hand(&world, Method::Post, &guest, &["status", "start"], &[]).await;
        let (status, body) = put(&[("memory", "80"), ("net0", net0)]).await;
        let text = "unable to hotplug net0: bridge 'recnobr' does not exist\n";
        assert_eq!((status, &body["errors"]["net0"]), (400, &json!(text)), "{body}");
        let (now, waits) = state(&world, &guest).await;
        assert!(
            now["memory"] == "80" && !now.contains_key("net0") && waits.contains_key("net0"),
            "{now:?} {waits:?}"
        );
        assert_eq!(put(&[("revert", "net0")]).await.0, 200);
        assert!(!state(&world, &guest).await.0.contains_key("net0"), "it has none then");
        // The root is written as it is said, and nothing is made.
        by_hand(&world, Method::Post, &guest, &["status", "stop"], &[]).await;
        assert_eq!(put(&[("rootfs", "local-zfs:1")]).await.0, 200);
        assert_eq!(state(&world, &guest).await.0["rootfs"], "local-zfs:1");
        by_hand(&world, Method::Post, &guest, &["status", "start"], &[]).await;
        assert!(!world.node.runtime().running().await.contains(&120), "it does not start");
    });
}

/// A refused change leaves nothing behind, and says what was the case; then the guest starts. The same where any one call on
/// the way is never sent, or loses its answer: that of the refusal itself among them.
#[test]
fn what_was_refused_is_taken_back_whatever_call_goes_wrong() {
    let wanted = two();
    for case in CASES {
        let tried = async |fault: Option<(u64, Fault)>| {
            let faults = fault.map_or_else(Faults::none, |(n, fault)| Faults::none().at(n, fault));
            let (world, guest) = prepared(faults, case, &wanted).await;
            let before = state(&world, &guest).await;
            let (address, work) = bad(&guest, &digest(&world, &guest).await);
            let calls = world.faults.calls();
            let begin = tokio::time::Instant::now();
            let failure = carry_out(&world, &wanted, address, work).await.unwrap_err();
            assert!(begin.elapsed() < LONGEST);
            let all = failure.errors.join("\n");
            assert!(all.contains("nowhere") && failure.hint.is_some(), "{case:?}: {failure:#?}");
            assert!(all.contains("it was taken back, and the guest is as it was"), "{case:?}: {failure:#?}");
            assert_eq!(state(&world, &guest).await, before, "{case:?}: {failure:#?}\n{}", world.story());
            // Nothing differs, and it starts.
            let calls = calls + 1..=world.faults.calls();
            let found = settle(&world, &wanted, 1).await;
            assert!(!found.contains("WRONG") && !found.contains("stopped"), "{case:?}: {found}");
            calls
        };
        let calls = virtually(tried(None));
        for fault in [Fault::NeverSent, Fault::ReplyLost, Fault::Cut] {
            for n in calls.clone() {
                let _calls = virtually(tried(Some((n, fault.clone()))));
            }
        }
    }
}

/// Killed at any call of it, the next run sets right what the refused change left behind.
#[test]
fn what_was_refused_is_set_right_by_the_run_after_a_kill() {
    let wanted = two();
    for case in CASES {
        let calls = virtually(async {
            let (world, guest) = prepared(Faults::none(), case, &wanted).await;
            let (address, work) = bad(&guest, &digest(&world, &guest).await);
            let before = world.faults.calls();
            carry_out(&world, &wanted, address, work).await.unwrap_err();
            before + 1..=world.faults.calls()
        });
        for n in calls {
            virtually(async {
                let (world, guest) = prepared(Faults::none().at(n, Fault::KillAfter), case, &wanted).await;
                let before = state(&world, &guest).await;
                let (address, work) = bad(&guest, &digest(&world, &guest).await);
                tokio::select! {
                    ended = carry_out(&world, &wanted, address, work) => panic!("{case:?} {n}: {ended:?}"),
                    () = world.faults.killed() => {}
                }
                world.faults.revive();
                let found = settle(&world, &wanted, 1).await;
                assert!(!found.contains("WRONG") && !found.contains("stopped"), "{case:?} {n}: {found}");
                assert_eq!(state(&world, &guest).await, before, "{case:?} {n}\n{}", world.story());
            });
        }
    }
}

/// What the node refuses as a whole is not made, and nothing is said of taking it back; another key of the call neither.
#[test]
fn what_is_refused_as_a_whole_is_left_alone() {
    let wanted = two();
    virtually(async {
        let (world, guest) = prepared(Faults::none(), (false, true), &wanted).await;
        let before = state(&world, &guest).await;
        let set = [("memory", "1024"), ("hookscript", "local:snippets/none.sh")];
        let update = Update {
            id: guest.id,
            node: guest.node.clone(),
            digest: digest(&world, &guest).await,
            set: set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Update::default()
        };
        let work = serde_json::to_value(GuestWork::Update(Box::new(update))).unwrap();
        let failure = carry_out(&world, &wanted, Address::container("notes"), work).await.unwrap_err();
        assert!(!failure.errors.join("\n").contains("taken back"), "{failure:#?}");
        assert_eq!(state(&world, &guest).await, before);
    });
}

/// A container's root is never among what is changed, whatever a plan in a file says.
#[test]
fn the_root_of_a_container_is_never_changed() {
    let wanted = two();
    virtually(async {
        let (world, guest) = prepared(Faults::none(), (false, false), &wanted).await;
        let before = state(&world, &guest).await;
        let update = Update {
            id: guest.id,
            node: guest.node.clone(),
            digest: digest(&world, &guest).await,
            set: vec![("rootfs".into(), "local-zfs:1".into())],
            ..Update::default()
        };
        let work = serde_json::to_value(GuestWork::Update(Box::new(update))).unwrap();
        let failure = carry_out(&world, &wanted, Address::container("notes"), work).await.unwrap_err();
        assert_eq!(failure.code, "managers::loses-root", "{failure:#?}");
        assert_eq!(state(&world, &guest).await, before);
    });
}

/// A drive for cloud-init that somebody took out comes back; a first disk that did is a problem that says what to do, and so is
/// a slot in which there is a drive for media.
#[test]
fn drives_that_somebody_changed() {
    let wanted = two();
    virtually(async {
        let (world, guest) = prepared(Faults::none(), (true, true), &wanted).await;
        let put = async |params: &[(&str, &str)]| {
            by_hand(&world, Method::Post, &guest, &["status", "stop"], &[]).await;
            assert_eq!(by_hand(&world, Method::Put, &guest, &["config"], params).await.0, 200, "{params:?}");
        };
        put(&[("delete", "ide2")]).await;
        assert!(!state(&world, &guest).await.0.contains_key("ide2"));
        let found = settle(&world, &wanted, 1).await;
        assert!(!found.contains("WRONG"), "{found}");
        assert!(state(&world, &guest).await.0["ide2"].contains("cloudinit"));
        let volume = state(&world, &guest).await.0["scsi0"].clone();
        for (params, code, back) in [
            (vec![("delete", "scsi0")], "plan::disk-gone", vec![("scsi0", volume.as_str())]),
            (vec![("scsi0", "none,media=cdrom")], "plan::slot-taken", vec![("scsi0", volume.as_str())]),
        ] {
            put(&params).await;
            let ended = apply(&world, &wanted).await;
            let problems = &ended.plan().problems;
            assert_eq!(problems.iter().map(|it| it.code.as_str()).collect::<Vec<_>>(), [code]);
            assert!(problems[0].hint.contains("qm set 1001"), "{problems:?}");
            put(&back).await;
        }
        let found = settle(&world, &wanted, 1).await;
        assert!(!found.contains("WRONG"), "{found}");
        assert!(state(&world, &guest).await.0["scsi0"].starts_with(volume.split(',').next().unwrap()));
    });
}
