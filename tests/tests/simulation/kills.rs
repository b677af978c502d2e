//! The run is killed at every event and every call in turn, and started again: P-24, T-11.

use lab::sim::{Fault, Faults};
use scenarios::{Ended, Site, Try, certified, first, run, virtually};
use tokio_util::sync::CancellationToken;

use super::{each, same, settle, site, undisturbed, world};

#[test]
fn killed_at_every_event_and_started_again() {
    let site = site(&certified());
    let (expected, _, events) = undisturbed(&site);
    assert!(events > 30, "{events} events: too few for a run");
    each(1..=events, |n| {
        virtually(async {
            let world = world(1, Faults::none());
            let ended = run(&world, &site, &Try { dies_at: Some(n), ..Try::default() }).await;
            // At the last two, which come at once, everything was done.
            assert!(matches!(ended, Ended::Killed) || n + 1 >= events, "event {n}: {ended:?}");
            let found = settle(&world, &site, 1).await;
            let story = format!("killed at event {n}\n{}", world.story());
            same(&found, &expected, &story);
            assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{story}");
        });
    });
}

pub(super) fn killed_at_every_call(site: &Site, fault: &Fault) {
    let (expected, calls, _) = undisturbed(site);
    each(1..=calls, |n| {
        virtually(async {
            let world = world(1, Faults::none().at(n, fault.clone()));
            let ended = run(&world, site, &Try::default()).await;
            assert!(matches!(ended, Ended::Killed), "call {n}: {ended:?}");
            world.faults.revive();
            let found = settle(&world, site, 1).await;
            let story = format!("{fault:?} at call {n}\n{}", world.story());
            same(&found, &expected, &story);
            assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{story}");
        });
    });
}

#[test]
fn killed_before_every_call_and_started_again() {
    killed_at_every_call(&site(&certified()), &Fault::KillBefore);
}

#[test]
fn killed_after_every_call_and_started_again() {
    killed_at_every_call(&site(&certified()), &Fault::KillAfter);
}

/// Ctrl-C once: nothing new is started, what runs is waited for, and the next run does the rest.
#[test]
fn stopped_once_and_carried_on() {
    let site = site(&first());
    let (expected, _, _) = undisturbed(&site);
    each([0, 100, 1000, 3000, 5000, 7000, 9000, 11_000, 13_000], |after| {
        virtually(async {
            let world = world(1, Faults::none());
            let stop = CancellationToken::new();
            let asked = async {
                tokio::time::sleep(std::time::Duration::from_millis(after)).await;
                stop.cancel();
            };
            let options = Try { stop: stop.clone(), ..Try::default() };
            let (ended, ()) = tokio::join!(run(&world, &site, &options), asked);
            let report = ended.report();
            assert!(report.failed.is_empty(), "after {after} ms: {report:#?}");
            let whole = report.skipped.is_empty();
            assert_eq!(whole, report.outcome == apply::Outcome::Done, "after {after} ms: {report:#?}");
            assert!(whole || report.outcome == apply::Outcome::Interrupted, "after {after} ms: {report:#?}");
            assert!(!whole || after > 5000, "after {after} ms it had done everything");
            // What was running when it was asked has come to its end: nothing runs on the node that nobody waits for.
            let at = tokio::time::Instant::now();
            world.node.idle().await;
            assert_eq!(at.elapsed(), std::time::Duration::ZERO, "after {after} ms a task was left behind");
            let found = settle(&world, &site, 1).await;
            same(&found, &expected, &format!("stopped after {after} ms\n{}", world.story()));
            assert_eq!(world.faults.doubled(), Vec::<String>::new());
        });
    });
}
