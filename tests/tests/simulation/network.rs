//! Runs that change the node's network: whatever goes wrong, the node lets the next run in, and its links are those that were
//! declared or those that were there before (P-20).

use std::time::Duration;

use lab::sim::{Fault, Faults, World};
use proxmox::client::Reader;
use scenarios::{Files, Site, Try, run, state};
use serde_json::{Value, json};
use transport::Runner as _;

use super::{apply, each, same, settle, undisturbed, world};
use scenarios::virtually;

/// A site whose guest is on an inner bridge that the site makes, and whose way in is on a bond that it makes.
fn files(change: impl FnOnce(&mut Value)) -> Files {
    let mut site = json!({
        "site": { "name": "workshop", "domain": "workshop.internal" },
        "target": { "lab": {} },
        "networks": { "inner": { "bridge": "vmbr1", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1" } },
        "hypervisor": { "network": {
            "bond0": { "bond": ["enp5s0", "mac:BC:24:11:00:06:00"] },
            "vmbr0": { "ports": ["bond0"], "address": "10.10.10.1/24", "gateway": "10.10.10.254", "vlan-aware": true },
            "vmbr0.20": { "address": "10.20.0.1/24" },
            "vmbr1": { "ports": [], "address": "10.1.0.1/24", "nat": true, "mtu": 1400 },
        } },
        "containers": { "notes": {
            "id": 120, "network": "inner", "address": "10.1.0.120", "template": "debian-12", "disk": { "size": "4G", "storage": "tank" },
        } },
    });
    change(&mut site);
    [("site.json".to_owned(), site.to_string().into_bytes())].into()
}

fn with(change: impl FnOnce(&mut Value)) -> Site {
    Site::of(&files(change))
}

/// Without what takes its time.
fn small() -> Site {
    with(|site| {
        let site = site.as_object_mut().unwrap();
        site.remove("containers");
        site.remove("networks");
    })
}

/// New connections get in.
async fn open(world: &World) {
    world.shell.fresh().await.unwrap_or_else(|error| panic!("{error}\n{}", world.story()));
    let reader = Reader::new(std::sync::Arc::new(world.exchange.clone()));
    reader.fresh().await.unwrap_or_else(|error| panic!("{error}\n{}", world.story()));
}

fn network(world: &World) -> String {
    world.shell.network().unwrap()
}

#[test]
fn a_bridge_is_there_before_who_is_on_it() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), with(|_| {}));
        let before = network(&world);
        let found = settle(&world, &site, 1).await;
        assert!(found.contains("bridge=vmbr1"), "{found}");
        let text = network(&world);
        for line in [
            "auto vmbr1",
            "bridge-ports bond0",
            "bond-slaves enp5s0 enp6s0",
            "source /etc/network/interfaces.d/*",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // All of it is one change.
        let made = world.faults.made();
        let changes = made.iter().filter(|made| made.what == "network apply").count();
        assert_eq!(changes, 1, "{made:#?}");
        open(&world).await;

        // The guest goes, and what was made for it; what was there before and was taken over stays as it is.
        let gone = with(|site| {
            let site = site.as_object_mut().unwrap();
            site.remove("containers");
            site.remove("networks");
            let links = site["hypervisor"]["network"].as_object_mut().unwrap();
            links.remove("vmbr1");
            links.remove("vmbr0.20");
        });
        let ended = run(&world, &gone, &Try { all_granted: true, ..Try::default() }).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        let after = network(&world);
        assert!(!after.contains("vmbr1") && !after.contains("vmbr0.20"), "{after}");
        assert!(
            after.contains("iface vmbr0 inet static") && before.contains("iface vmbr0 inet static"),
            "{after}"
        );
        open(&world).await;

        // A bond cannot go from under a bridge that stays because it was there before.
        let none = with(|site| {
            let site = site.as_object_mut().unwrap();
            site.remove("containers");
            site.remove("networks");
            site["hypervisor"]["network"] = json!({});
        });
        let problems = apply(&world, &none).await.plan().problems.clone();
        assert!(problems.iter().any(|it| it.code == "network::in-use"), "{problems:?}");
    });
}

/// Every call in turn is lost, before it or with its answer, or its answer is cut.
fn every_call(fault: &Fault) {
    let site = small();
    let (expected, calls, _) = undisturbed(&site);
    assert!(expected.contains("network auto vmbr1"), "{expected}");
    each(1..=calls, |n| {
        virtually(async {
            let world = world(1, Faults::none().at(n, fault.clone()));
            let found = settle(&world, &site, 3).await;
            same(&found, &expected, &format!("call {n}, {fault:?}\n{}", world.story()));
            open(&world).await;
            // What was armed and is confirmed is never taken back.
            tokio::time::sleep(Duration::from_secs(200)).await;
            same(&state::describe(&world, &site).await, &expected, "later");
        });
    });
}

#[test]
fn calls_that_are_never_sent() {
    every_call(&Fault::NeverSent);
}

#[test]
fn answers_that_are_lost() {
    every_call(&Fault::ReplyLost);
}

#[test]
fn answers_that_are_cut() {
    every_call(&Fault::Cut);
}

/// P-20, P-24: killed at every call; the next run comes at once, or when the node has taken the change back.
#[test]
fn killed_at_every_call() {
    let site = small();
    let (expected, calls, _) = undisturbed(&site);
    let times = |fault: Fault| [0, 200].map(|later| (fault.clone(), later));
    for (fault, later) in [times(Fault::KillBefore), times(Fault::KillAfter)].concat() {
        each(1..=calls, |n| {
            virtually(async {
                let world = world(1, Faults::none().at(n, fault.clone()));
                let before = network(&world);
                let ended = apply(&world, &site).await;
                assert!(matches!(ended, scenarios::Ended::Killed), "call {n}: {ended:?}");
                tokio::time::sleep(Duration::from_secs(later)).await;
                let story = format!("{fault:?} at call {n}, {later} s later\n{}", world.story());
                let now = network(&world);
                if later > 0 {
                    let whole = expected.lines().filter_map(|line| line.strip_prefix("network "));
                    let whole: String = whole.map(|line| format!("{line}\n")).collect();
                    let same = |a: &str, b: &str| {
                        a.lines().filter(|l| !l.is_empty()).eq(b.lines().filter(|l| !l.trim().is_empty()))
                    };
                    assert!(
                        now == before || same(&now, &whole),
                        "neither the old nor the new network\n{now}\n{story}"
                    );
                }
                // Whoever looks is another than who was killed.
                world.faults.revive();
                open(&world).await;
                let found = settle(&world, &site, 1).await;
                same(&found, &expected, &story);
                tokio::time::sleep(Duration::from_secs(200)).await;
                same(&state::describe(&world, &site).await, &expected, &story);
            });
        });
    }
}

/// P-20: what cuts the way in takes consent, and with it is tried, and taken back.
#[test]
fn a_change_that_cuts_the_way_in_is_taken_back() {
    let site = with(|site| {
        let site = site.as_object_mut().unwrap();
        site.remove("containers");
        site.remove("networks");
        site["hypervisor"]["network"] = json!({
            "vmbr0": { "ports": ["enp6s0"], "address": "10.10.10.1/24", "gateway": "10.10.10.254" },
        });
    });
    virtually(async {
        let world = world(1, Faults::none());
        let before = network(&world);
        let ended = apply(&world, &site).await;
        assert!(!ended.done() && network(&world) == before, "{}", network(&world));
        let reasons = &ended.plan().steps[0].reasons;
        assert!(reasons.iter().any(|it| it.contains("this cuts the way to the node")), "{reasons:?}");
        let ended = run(&world, &site, &Try { all_granted: true, ..Try::default() }).await;
        let failures = ended.failures();
        assert!(failures.iter().any(|it| it.code == "network::way-cut"), "{failures:#?}");
        assert!(failures[0].errors.iter().any(|it| it.contains("the old links are back")), "{failures:#?}");
        assert_eq!(network(&world), before);
        open(&world).await;
    });
}

/// A card that a new kernel calls otherwise, declared by its MAC: the file follows.
#[test]
fn a_card_that_is_called_otherwise_is_found() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), small());
        settle(&world, &site, 1).await;
        world.shell.network_is("called", "enp6s0 enp7s0");
        let ended = apply(&world, &site).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert!(network(&world).contains("bond-slaves enp5s0 enp7s0"), "{}", network(&world));
        settle(&world, &site, 1).await;
        open(&world).await;
    });
}

/// P-16: what somebody else writes into the file stays, whatever is declared.
#[test]
fn what_is_others_stays() {
    virtually(async {
        let (world, site) = (world(1, Faults::none()), small());
        let theirs = "# the printer's own network\nauto vmbr9\niface vmbr9 inet static\n\taddress 10.9.0.1/24\n\tbridge-ports none\n\
            \tpost-up echo hello\n";
        world.shell.write_network(Some(format!("{}\n{theirs}", network(&world))));
        settle(&world, &site, 1).await;
        assert!(network(&world).contains(theirs), "{}", network(&world));
        // Somebody undoes what is declared: the next run sees it, and nothing else changes.
        world.shell.write_network(Some(network(&world).replace("10.1.0.1/24", "10.1.0.9/24")));
        settle(&world, &site, 1).await;
        assert!(
            network(&world).contains("10.1.0.1/24") && network(&world).contains(theirs),
            "{}",
            network(&world)
        );
    });
}

/// What cannot be on this node is said before anything is done, with what there is.
#[test]
fn what_cannot_be_is_a_problem() {
    for (links, code, words) in [
        (json!({ "vmbr1": { "ports": ["eth1"] } }), "network::no-link", "enp5s0 (bc:24:11:00:05:00)"),
        (json!({ "vmbr1": { "ports": ["mac:BC:24:11:99:99:99"] } }), "network::no-link", "enp6s0"),
        (json!({ "eth7": { "dhcp": true } }), "network::no-link", "enp5s0"),
        (json!({ "lan9": { "vlan": 9, "on": "vmbr9" } }), "network::no-link", "no link vmbr9"),
        (json!({ "vmbr1": { "ports": ["enp5s0"] } }), "network::in-the-way", "enp5s0 is in vmbr0, too"),
        (
            json!({ "vmbr1": { "ports": [], "address": "10.9.0.1/24", "gateway": "10.9.0.254" } }),
            "network::in-the-way",
            "there can be one",
        ),
    ] {
        let site = with(|site| {
            let site = site.as_object_mut().unwrap();
            site.remove("containers");
            site.remove("networks");
            site["hypervisor"]["network"] = links.clone();
        });
        virtually(async {
            let world = world(1, Faults::none());
            let before = network(&world);
            let ended = apply(&world, &site).await;
            let problems = &ended.plan().problems;
            let says = |it: &plan::Problem| format!("{} {}", it.message, it.hint).contains(words);
            let found = problems.iter().any(|it| it.code == code && says(it));
            assert!(found, "{links}: {problems:#?}");
            assert_eq!(network(&world), before);
        });
    }
}
