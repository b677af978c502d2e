//! Virtual machines: made, installed by their agents, changed, and whatever goes wrong on the way.

use std::sync::Arc;
use std::time::Duration;

use apply::Event;
use lab::sim::{Fault, Faults};
use proxmox::client::{GuestRef, Reader};
use proxmox::config::GuestKind;
use scenarios::{Ended, Files, Site, Try, run, virtually};

use super::calls::every_call;
use super::kills::killed_at_every_call;
use super::{apply, settle, site, world};

/// A site with one virtual machine, and a page on it.
fn machine(more: &str) -> Files {
    let files = [
        (
            "site.json",
            r#"{ "site": { "name": "workshop", "domain": "workshop.internal" },
                 "target": { "lab": {} },
                 "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } } }"#
                .to_owned(),
        ),
        (
            "vms.json",
            format!(
                r#"{{ "vms": {{ "docker-1": {{ "id": 1001, "image": "local:{}", "address": "10.0.0.111", {more}
                    "features": ["base", {{ "static-site": {{ "root": "pages" }} }}],
                    "services": {{ "notes": {{ "port": 80, "expose": "direct" }} }} }} }} }}"#,
                super::IMAGE
            ),
        ),
        // More than one call carries.
        ("pages/index.html", "<p>hello</p>\n".repeat(8_000)),
    ];
    files.into_iter().map(|(path, text)| (path.into(), text.into_bytes())).collect()
}

fn plain() -> Site {
    site(&machine(""))
}

/// A virtual machine is made, its agent waited for, what is to be in it installed; then there is nothing to do (T-5, T-7).
#[test]
fn one_is_made_and_installed_by_its_agent() {
    virtually(async {
        let world = world(3, Faults::none());
        let found = settle(&world, &plain(), 1).await;
        assert!(found.contains("running") && !found.contains("WRONG"), "{found}");
        assert_eq!(world.faults.doubled(), Vec::<String>::new());
    });
}

#[test]
fn every_call_in_turn_loses_its_answer() {
    every_call(&plain(), &Fault::ReplyLost);
}

#[test]
fn every_call_in_turn_is_never_sent() {
    every_call(&plain(), &Fault::NeverSent);
}

#[test]
fn killed_after_every_call_and_started_again() {
    killed_at_every_call(&plain(), &Fault::KillAfter);
}

/// What is changed on one that runs: in place, with one restart for what takes one, and nothing is left to do.
#[test]
fn one_is_changed_in_place() {
    virtually(async {
        let world = world(5, Faults::none());
        settle(&world, &plain(), 1).await;
        for more in [
            r#""disks": { "scsi0": "16G" },"#,
            r#""disks": { "scsi0": "16G", "scsi1": "4G" }, "memory": "1G","#,
            r#""disks": { "scsi0": "16G" }, "memory": "1G", "cores": 2, "cpu": "host","#,
        ] {
            let made = world.faults.made().len();
            let found = settle(&world, &site(&machine(more)), 1).await;
            assert!(!found.contains("WRONG"), "{more}: {found}");
            assert!(world.faults.made().len() > made, "{more}: nothing was changed");
        }
        let reader = Reader::new(Arc::new(world.exchange.clone()));
        let config = reader.config(&GuestRef::new("pve1", GuestKind::Vm, 1001)).await.unwrap();
        assert!(config["scsi0"].ends_with("size=16G"), "{config:#?}");
        assert_eq!((config["memory"].as_str(), config["cpu"].as_str()), ("1024", "host"), "{config:#?}");
    });
}

/// T-5: a plan asks no agent, however long one has not answered.
#[test]
fn a_plan_waits_for_no_agent() {
    virtually(async {
        let world = world(9, Faults::none());
        assert!(apply(&world, &plain()).await.done());
        let calls = world.faults.calls();
        assert!(apply(&world, &plain()).await.plan().steps.is_empty());
        let story = world.story();
        let later: Vec<&str> = story.lines().filter(|line| line.contains("agent")).collect();
        assert!(world.faults.calls() - calls <= 10, "{later:?}");
    });
}

/// The same site, whose machine is entered by ssh and has no guest agent.
fn by_ssh() -> Site {
    site(&machine(r#""enter": "ssh", "agent": false, "packages": ["curl"],"#))
}

/// T-12: what cloud-init is told at the first start is nowhere any more once that is through.
#[test]
fn one_is_made_and_installed_by_ssh() {
    virtually(async {
        let world = world(3, Faults::none());
        let found = settle(&world, &by_ssh(), 1).await;
        assert!(found.contains("running") && !found.contains("WRONG"), "{found}");
        assert_eq!(world.faults.doubled(), Vec::<String>::new());
        let story = world.story();
        assert!(!story.contains("agent/"), "an agent was asked: {story}");
        let reader = Reader::new(Arc::new(world.exchange.clone()));
        let config = reader.config(&GuestRef::new("pve1", GuestKind::Vm, 1001)).await.unwrap();
        assert_eq!(config.get("cicustom"), None);
        assert_eq!(world.runtime.snippets(), Vec::<String>::new());
    });
}

#[test]
fn every_call_in_turn_by_ssh_loses_its_answer() {
    every_call(&by_ssh(), &Fault::ReplyLost);
}

/// T-11, F-6: whatever was begun is known by what the machine names, and ended by the next run.
#[test]
fn killed_at_every_call_by_ssh_and_started_again() {
    killed_at_every_call(&by_ssh(), &Fault::KillBefore);
    killed_at_every_call(&by_ssh(), &Fault::KillAfter);
}

/// T-5, T-17: a machine that never answers is waited for, for a time that is said, and then where to look; what it was told is
/// still there for the next run, which ends it.
#[test]
fn one_that_never_answers_by_ssh_says_where_to_look() {
    virtually(async {
        let world = world(7, Faults::none());
        world.runtime.silence_agent(1001, true);
        let begin = tokio::time::Instant::now();
        let failures = apply(&world, &by_ssh()).await.failures();
        let told = format!("{failures:?}");
        assert!(told.contains("qm terminal 1001") && told.contains("refused"), "{told}");
        assert!(begin.elapsed() < std::time::Duration::from_secs(20 * 60), "{:?}", begin.elapsed());
        assert_eq!(world.runtime.snippets().len(), 1);
        world.runtime.silence_agent(1001, false);
        settle(&world, &by_ssh(), 1).await;
        assert_eq!(world.runtime.snippets(), Vec::<String>::new());
    });
}

/// T-5, T-17: the same by the guest agent, and as long as the blueprint says. The next run goes on.
#[test]
fn an_agent_that_never_answers_is_waited_for_as_long_as_is_said() {
    for (said, minutes) in [("", 15), (r#""answers-within": 3,"#, 3)] {
        let wanted = site(&machine(said));
        virtually(async {
            let world = world(7, Faults::none());
            world.runtime.silence_agent(1001, true);
            let begin = tokio::time::Instant::now();
            let ended = apply(&world, &wanted).await;
            let took = begin.elapsed().as_secs() / 60;
            assert!((minutes..minutes + 3).contains(&took), "{took} minutes");
            let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
            let waits = |it: &&Event| {
                matches!(it, Event::Waiting { what, limit_seconds, .. }
                    if what == "its guest agent" && *limit_seconds == minutes * 60)
            };
            assert_eq!(events.iter().filter(waits).count(), 1, "{events:#?}");
            let failures = ended.failures();
            assert_eq!(failures.len(), 1, "{failures:#?}");
            let hint = failures[0].hint.clone().unwrap_or_default();
            for part in ["qm terminal 1001", "answers-within", "qemu-guest-agent"] {
                assert!(hint.contains(part), "{hint}");
            }
            world.runtime.silence_agent(1001, false);
            let found = settle(&world, &wanted, 1).await;
            assert!(found.contains("running") && !found.contains("WRONG"), "{found}");
        });
    }
}

/// T-17: a person who stops the run does not wait for what only waits; the next run goes on.
#[test]
fn a_wait_ends_when_a_person_stops_the_run() {
    for wanted in [plain(), by_ssh()] {
        virtually(async {
            let world = world(7, Faults::none());
            world.runtime.silence_agent(1001, true);
            let stop = Try::default();
            let token = stop.stop.clone();
            let begin = tokio::time::Instant::now();
            let (ended, ()) = tokio::join!(run(&world, &wanted, &stop), async {
                tokio::time::sleep(Duration::from_secs(240)).await;
                token.cancel();
            });
            assert!(begin.elapsed() < Duration::from_secs(250), "{:?}", begin.elapsed());
            let failures = ended.failures();
            assert_eq!(failures.len(), 1, "{failures:#?}");
            assert_eq!(failures[0].code, "apply::stopped", "{failures:#?}");
            world.runtime.silence_agent(1001, false);
            let found = settle(&world, &wanted, 1).await;
            assert!(found.contains("running") && !found.contains("WRONG"), "{found}");
        });
    }
}

/// What the node refuses for its value is told in the node's words; nothing of that change is made, and what was there is there.
#[test]
fn settings_that_the_node_refuses_are_told_in_its_words() {
    let bare = |more: &str| {
        let mut files = machine("");
        let text = format!(
            r#"{{ "vms": {{ "docker-1": {{ "id": 1001, "image": "local:{}", "address": "10.0.0.111", "agent": false, {more}
                "disks": {{ "scsi0": "8G", "scsi1": "1G" }} }} }} }}"#,
            super::IMAGE
        );
        files.insert("vms.json".to_owned(), text.into_bytes());
        site(&files)
    };
    virtually(async {
        let world = world(7, Faults::none());
        settle(&world, &bare(r#""description": "one","#), 1).await;
        let before = world.node.configuration_files();
        let wanted = bare(r#""description": "one", "cores": 2, "settings": { "audio0": "device=loud" },"#);
        let ended = apply(&world, &wanted).await;
        let failures = ended.failures();
        assert_eq!(failures.len(), 1, "{failures:#?}");
        let told = failures[0].errors.join("\n");
        assert!(told.contains("audio0") && told.contains("loud"), "{failures:#?}");
        assert!(failures[0].hint.is_some());
        assert_eq!(world.node.configuration_files(), before, "nothing of it was made");
        settle(&world, &bare(r#""description": "one", "cores": 2,"#), 1).await;
    });
}

/// Who is there is another one than was made: nothing is sent to it, and nobody waits for it.
#[test]
fn another_host_key_is_refused() {
    virtually(async {
        let world = world(8, Faults::none());
        settle(&world, &by_ssh(), 1).await;
        world.runtime.other_host_key(1001);
        let changed = site(&machine(r#""enter": "ssh", "agent": false, "memory": "1G","#));
        let begin = tokio::time::Instant::now();
        let failures = apply(&world, &changed).await.failures();
        let told = format!("{failures:?}");
        assert!(told.contains("another host key") && told.contains("ssh-keygen -lf"), "{told}");
        assert!(begin.elapsed() < std::time::Duration::from_secs(5 * 60), "{:?}", begin.elapsed());
    });
}

/// T-2: what cloud-init is told is for the first start; changed, it makes nothing anew. One that is gone and made again is
/// another machine.
#[test]
fn what_cloud_init_is_told_later_makes_nothing_anew() {
    virtually(async {
        let world = world(9, Faults::none());
        settle(&world, &by_ssh(), 1).await;
        let other = site(&machine(
            r#""enter": "ssh", "agent": false, "packages": ["curl", "jq"], "user": { "name": "ada" },"#,
        ));
        let ended = apply(&world, &other).await;
        assert!(ended.done(), "{:?}", ended.failures());
        assert!(
            ended.plan().steps.iter().all(|step| step.grade == plan::Grade::Live),
            "{:#?}",
            ended.plan().steps
        );
        settle(&world, &other, 1).await;
    });
}

/// A Windows guest and an appliance are made, changed and watched without features; nobody waits for anything in them.
#[test]
fn windows_is_made_changed_and_watched() {
    let windows = |memory: &str| {
        let mut files = machine("");
        let text = format!(
            r#"{{ "vms": {{ "office": {{ "id": 1002, "os": "win11", "iso": "local:{}", "address": "10.0.0.112", "uefi": {{}}, "tpm": {{}},
                "memory": "{memory}", "disks": {{ "sata0": "64G" }},
                "services": {{ "desk": {{ "port": 3389, "expose": "direct", "protocol": "tcp" }} }} }} }} }}"#,
            super::ISO
        );
        files.insert("vms.json".into(), text.into_bytes());
        site(&files)
    };
    virtually(async {
        let world = world(11, Faults::none());
        let found = settle(&world, &windows("4G"), 1).await;
        assert!(found.contains("running") && !found.contains("WRONG"), "{found}");
        let found = settle(&world, &windows("8G"), 1).await;
        assert!(!found.contains("WRONG"), "{found}");
        assert!(!world.story().contains("agent/"), "{}", world.story());
    });
}
