//! Virtual machines: made, installed by their agents, changed, and whatever goes wrong on the way.

use std::sync::Arc;

use lab::sim::{Fault, Faults};
use proxmox::client::{GuestRef, Reader};
use proxmox::config::GuestKind;
use scenarios::{Files, Site, virtually};

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
