//! Whole runs on a virtual clock, with everything that can go wrong, each from a seed.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing test panics")]

mod calls;
mod changes;
mod claims;
mod clones;
mod cluster;
mod destroy;
mod encryption;
mod firewall;
mod gpus;
mod images;
mod inplace;
mod inside;
mod keys;
mod kills;
mod machines;
mod moves;
mod named;
mod network;
mod owned;
mod privileges;
mod renewal;
mod restarts;
mod roots;
mod seeds;
mod stacks;
mod storages;
mod trouble;
mod zfs;

use std::time::Duration;

use lab::sim::{Faults, World, WorldOptions};
use scenarios::{Ended, Files, Site, Try, first, run, state, virtually};

/// The longest any run may take, in virtual time: every wait is bounded, and these are all that can add up here.
const LONGEST: Duration = Duration::from_secs(3600);

/// The call of a run that takes the lock: which nodes there are is asked before it.
const LOCK: u64 = 2;

/// The disk image that there is on `local`.
const IMAGE: &str = "import/debian-12.qcow2";
/// An installation medium that the node has.
const ISO: &str = "iso/windows.iso";

/// A world with these faults. A call takes 2 ms, so that things have an order.
fn world(seed: u64, faults: Faults) -> World {
    furnished(WorldOptions::new(seed).faults(faults))
}

/// The same with wishes.
fn furnished(options: WorldOptions) -> World {
    let mut options = options.latency(Duration::from_millis(2));
    if let Some(local) = options.node.storages.iter_mut().find(|storage| storage.id == "local") {
        for name in [IMAGE, ISO] {
            local.images.push(lab::node::Template { name: name.into(), size: 1 << 30, ctime: 1_795_000_000 });
        }
        local.options.entry("content".into()).or_default().push_str(",import");
    }
    let world = options.build().expect("in memory");
    for disk in ["A", "B", "C", "D", "E", "F"] {
        world.runtime.zfs(|zfs| zfs.plug(&format!("ata-DISK_{disk}"), disk, 4 << 40));
    }
    world
}

/// Applies without wishes.
async fn apply(world: &World, site: &Site) -> Ended {
    run(world, site, &Try::default()).await
}

/// Applies until there is nothing left to do, at most `most` times; then looks that a further plan is empty (I-2, P-79)
/// and says what is there.
async fn settle(world: &World, site: &Site, most: usize) -> String {
    let mut last = None;
    for _ in 0..most {
        let ended = apply(world, site).await;
        if ended.done() {
            let again = apply(world, site).await;
            let plan = again.plan();
            let left: Vec<_> = plan.steps.iter().map(|s| (&s.address, &s.reasons, &s.changes)).collect();
            assert!(left.is_empty() && plan.problems.is_empty(), "still to do: {left:#?}\n{}", world.story());
            return state::describe(world, site).await;
        }
        world.faults.revive();
        last = Some(ended);
    }
    panic!("it does not converge: {:#?}\n{}", last.map(|e| e.failures()), world.story());
}

/// What is there after a run in which nothing goes wrong, and how many calls it took.
fn undisturbed(site: &Site) -> (String, u64, usize) {
    virtually(async {
        let world = world(1, Faults::none());
        let ended = apply(&world, site).await;
        let Ended::Walked { events, .. } = &ended else { panic!("{ended:?}") };
        assert!(ended.done(), "{:#?}\n{}", ended.failures(), world.story());
        let calls = world.faults.calls();
        assert_eq!(world.faults.doubled(), Vec::<String>::new());
        (state::describe(&world, site).await, calls, events.len())
    })
}

fn site(files: &Files) -> Site {
    Site::of(files)
}

/// Two ends are the same, and nothing in them is wrong.
#[track_caller]
fn same(found: &str, expected: &str, story: &str) {
    assert!(!found.contains("WRONG"), "{found}\n{story}");
    if found != expected {
        let differs = |a: &str, b: &str| {
            let there: Vec<&str> = b.lines().collect();
            a.lines().filter(|l| !there.contains(l)).collect::<Vec<_>>().join("\n")
        };
        panic!(
            "another end than without trouble:\n-- expected\n{}\n-- found\n{}\n{story}",
            differs(expected, found),
            differs(found, expected)
        );
    }
}

/// [`every`] case, or the first of every few with `PHOENIX_EVERY`, as `make quick` has it: what is wrong at one call is mostly
/// wrong at others.
fn each<T: Send>(cases: impl IntoIterator<Item = T>, case: impl Fn(T) + Sync) {
    let stride =
        std::env::var("PHOENIX_EVERY").ok().and_then(|text| text.parse().ok()).unwrap_or(1_usize).max(1);
    every(cases.into_iter().step_by(stride), case);
}

/// Runs every case, on as many threads as there are processors; the first that fails is told.
fn every<T: Send>(cases: impl IntoIterator<Item = T>, case: impl Fn(T) + Sync) {
    let cases = std::sync::Mutex::new(cases.into_iter().collect::<std::collections::VecDeque<_>>());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().pop_front();
                    let Some(next) = next else { break };
                    case(next);
                }
            });
        }
    });
}

/// I-2, P-79: what was applied is there, and a second run has nothing to do.
#[test]
fn a_second_run_has_nothing_to_do() {
    for files in [first(), scenarios::big()] {
        let site = site(&files);
        virtually(async {
            let world = world(7, Faults::none());
            let ended = apply(&world, &site).await;
            let Ended::Walked { took, .. } = &ended else { panic!("{ended:?}") };
            assert!(ended.done(), "{:#?}", ended.failures());
            assert!(*took < Duration::from_secs(120), "{took:?}");
            let calls = world.faults.calls();
            let made = world.faults.made().len();
            let again = apply(&world, &site).await;
            assert!(again.plan().steps.is_empty(), "{:#?}", again.plan().addresses());
            // Whatever the number of guests: a constant number of round trips (lock included), and none that changes.
            assert!(world.faults.calls() - calls <= 10, "{} calls", world.faults.calls() - calls);
            assert_eq!(world.faults.made().len(), made);
            let found = state::describe(&world, &site).await;
            assert!(!found.contains("WRONG"), "{found}");
            assert_eq!(found.matches(" running\n").count(), site.desired.guests.len(), "{found}");
            assert_eq!(world.faults.doubled(), Vec::<String>::new());
        });
    }
}

/// The same without a way to run commands on the node, as far as that goes: the plan says what it lacks.
#[test]
fn without_ssh_the_plan_says_what_is_missing() {
    let site = site(&first());
    virtually(async {
        let world = world(7, Faults::none());
        let ended = run(&world, &site, &Try { no_commands: true, ..Try::default() }).await;
        let told = format!("{:?} {:?}", ended.plan().problems, ended.failures());
        assert!(!ended.done(), "{told}");
        assert!(told.contains("ssh"), "{told}");
    });
}
