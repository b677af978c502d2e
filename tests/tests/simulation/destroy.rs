//! Destroying: all that is marked, with consent, and nothing else (P-16).

use std::collections::BTreeSet;

use lab::sim::{Fault, Faults, World};
use plan::{Address, Mark, mark};
use proxmox::config::digest;
use scenarios::{Ended, Site, Try, big, first, run, virtually};

use super::{LOCK, apply, each, site, world};

/// A guest of nobody's, and one of another site's.
fn strangers(world: &World) -> Vec<(u32, String)> {
    let plain = World::guest_file(500);
    let other = mark::render("not yours", &Mark::new("garage", Address::container("notes")));
    let lines: String =
        other.lines().map(|l| format!("#{}\n", l.replace('%', "%25").replace(':', "%3A"))).collect();
    let theirs = format!("{lines}{}", World::guest_file(501));
    for (id, text) in [(500, &plain), (501, &theirs)] {
        world.node.put_guest(id, text).unwrap();
        world.runtime.set_running(id);
    }
    files(world)
}

fn files(world: &World) -> Vec<(u32, String)> {
    world.node.configuration_files().into_iter().map(|(id, text)| (id, digest(text.as_bytes()))).collect()
}

fn ids(world: &World) -> BTreeSet<u32> {
    world.node.configuration_files().into_iter().map(|(id, _)| id).collect()
}

fn everything() -> Try {
    Try { destroy: true, all_granted: true, ..Try::default() }
}

async fn built(site: &Site, faults: Faults) -> (World, Vec<(u32, String)>) {
    let world = world(3, faults);
    let strangers = strangers(&world);
    let ended = apply(&world, site).await;
    assert!(ended.done(), "{:#?}", ended.failures());
    (world, strangers)
}

#[test]
fn all_that_is_marked_goes_and_nothing_else() {
    let site = site(&first());
    virtually(async {
        let (world, strangers) = built(&site, Faults::none()).await;
        let ended = run(&world, &site, &everything()).await;
        assert!(ended.done(), "{:#?}", ended.failures());
        assert_eq!(files(&world), strangers, "somebody else's guest was touched");
        let again = run(&world, &site, &everything()).await;
        assert!(again.plan().steps.is_empty());
        // And it can be built again.
        assert!(apply(&world, &site).await.done());
    });
}

#[test]
fn nothing_goes_without_consent_and_only_what_is_named_with_it() {
    let site = site(&first());
    virtually(async {
        let (world, _) = built(&site, Faults::none()).await;
        let before = files(&world);
        let ended = run(&world, &site, &Try { destroy: true, ..Try::default() }).await;
        assert!(ended.report().done.is_empty() && !ended.done());
        assert_eq!(files(&world), before);
        // A pattern is no consent.
        for pattern in ["*", "container.*", "container.stat?s"] {
            let pattern = vec![pattern.to_owned()];
            let ended = run(&world, &site, &Try { destroy: true, granted: pattern, ..Try::default() }).await;
            assert!(ended.report().done.is_empty() && !ended.done());
        }
        assert_eq!(files(&world), before);
        let named = vec!["container.status".to_owned()];
        let ended = run(&world, &site, &Try { destroy: true, granted: named, ..Try::default() }).await;
        assert_eq!(ended.report().done, [Address::container("status")]);
        assert!(!ids(&world).contains(&site.id("status")));
        assert_eq!(ids(&world).len(), before.len() - 1);
    });
}

#[test]
fn what_is_protected_stays_whatever_is_said() {
    let site = site(&big());
    virtually(async {
        let (world, strangers) = built(&site, Faults::none()).await;
        let ended = run(&world, &site, &everything()).await;
        assert!(!ended.done());
        let mut left: BTreeSet<u32> = strangers.iter().map(|(id, _)| *id).collect();
        left.insert(site.id("store"));
        // What the protected one's disappearance does not concern is gone.
        assert_eq!(ids(&world), left, "{ended:#?}");
    });
}

/// A container that is no longer in the blueprint waits for consent; all else is done.
#[test]
fn a_container_taken_out_of_the_blueprint_waits_for_consent() {
    let all = site(&first());
    let mut files = first();
    let text = String::from_utf8(files["guests.json"].clone()).unwrap();
    let begin = text.find("\"status\": {").unwrap();
    files.insert(
        "guests.json".into(),
        format!("{}}} }}", text[..begin].trim_end().trim_end_matches(',')).into(),
    );
    let less = site(&files);
    virtually(async {
        let (world, _) = built(&all, Faults::none()).await;
        let ended = apply(&world, &less).await;
        let report = ended.report();
        assert!(report.failed.is_empty() && report.skipped == [Address::container("status")], "{report:#?}");
        let step = ended.plan().steps.iter().find(|s| s.address == Address::container("status")).unwrap();
        assert_eq!((step.grade, &step.consent), (plan::Grade::DataLoss, &plan::Consent::Needed));
        assert!(ids(&world).contains(&all.id("status")));
        let consent = Try { granted: vec!["container.status".into()], ..Try::default() };
        assert!(run(&world, &less, &consent).await.done());
        assert!(!ids(&world).contains(&all.id("status")));
        assert!(apply(&world, &less).await.plan().steps.is_empty());
    });
}

/// P-24: killed at any call of a destruction and started again, all is gone, and nothing else.
#[test]
fn a_destruction_can_be_killed_at_every_call() {
    let site = site(&first());
    let calls = virtually(async {
        let (world, _) = built(&site, Faults::none()).await;
        let before = world.faults.calls();
        assert!(run(&world, &site, &everything()).await.done());
        before + 1..=world.faults.calls()
    });
    let before = *calls.start() - 1;
    assert!(calls.clone().count() > 10);
    for fault in [Fault::KillAfter, Fault::ReplyLost, Fault::NeverSent] {
        each(calls.clone(), |n| {
            virtually(async {
                let (world, strangers) = built(&site, Faults::none().at(n, fault.clone())).await;
                let mut ended = run(&world, &site, &everything()).await;
                if !ended.done() {
                    assert!(fault == Fault::KillAfter || n == before + LOCK, "{ended:#?}\n{}", world.story());
                    world.faults.revive();
                    ended = run(&world, &site, &everything()).await;
                }
                assert!(
                    ended.done() || matches!(&ended, Ended::Walked { plan, .. } if plan.steps.is_empty())
                );
                assert_eq!(files(&world), strangers, "{fault:?} at call {n}\n{}", world.story());
                assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{fault:?} at call {n}");
            });
        });
    }
}
