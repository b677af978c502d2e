//! Many runs, each with a bad day that follows from a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab::node::{Auth, TaskPlan, TaskTwist};
use lab::sim::{Fault, Faults, World};
use proxmox::exchange::{Method, Request};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use scenarios::{Ended, Site, Try, big, first, run, state, virtually};

use super::{LONGEST, every, same, site, undisturbed, world};

/// How many seeds, unless `PHOENIX_SEEDS` says otherwise.
const SEEDS: u64 = 400;

/// No new seed is begun after this time, unless `PHOENIX_SEEDS` asks for a number.
const ENOUGH: Duration = Duration::from_secs(40);

/// What goes wrong on the day of this seed.
fn bad_day(seed: u64, site: &Site, calls: u64) -> (Faults, Try) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut faults = Faults::none().random(seed, rng.random_range(0..60));
    let ids: Vec<u32> = site.desired.guests.values().map(|c| c.id).collect();
    for _ in 0..rng.random_range(0..3) {
        // Somebody else's backup (T-3).
        let id = ids[rng.random_range(0..ids.len())];
        let time = Duration::from_secs(rng.random_range(1..300));
        faults = faults.at(rng.random_range(1..calls), Fault::Locked(id, time));
    }
    for _ in 0..rng.random_range(0..4) {
        let twist = match rng.random_range(0..3) {
            0 => TaskTwist::Slow(Duration::from_secs(rng.random_range(1..120))),
            1 => TaskTwist::Warn("low on memory".into()),
            _ => TaskTwist::FailBefore("got signal 15".into()),
        };
        faults = faults.task(rng.random_range(1..12), twist);
    }
    if rng.random_range(0..4) == 0 {
        let from = rng.random_range(1..calls);
        faults = faults.away(from..from + rng.random_range(1..20));
    }
    let dies_at = match rng.random_range(0..3) {
        0 => {
            let fault = if rng.random() { Fault::KillBefore } else { Fault::KillAfter };
            faults = faults.at(rng.random_range(1..calls), fault);
            None
        }
        1 => Some(rng.random_range(1..80)),
        _ => None,
    };
    (faults, Try { dies_at, ..Try::default() })
}

/// A creation that fails is tidied up by the node, so that it has not failed in the middle but at its end.
#[derive(Debug)]
struct Tidy(Faults);

impl TaskPlan for Tidy {
    fn twists(&self, kind: &str, id: &str) -> Vec<TaskTwist> {
        let late = |twist| match twist {
            TaskTwist::FailBefore(error) if kind == "vzcreate" => TaskTwist::FailAfter(error),
            other => other,
        };
        self.0.twists(kind, id).into_iter().map(late).collect()
    }
}

fn run_seed(seed: u64, site: &Site, expected: &str, calls: u64) {
    virtually(async {
        let (faults, options) = bad_day(seed, site, calls);
        let world = world(1, faults);
        world.node.set_task_plan(Some(Arc::new(Tidy(world.faults.clone()))));
        // A watchdog on the virtual clock: every wait is bounded, also those for what never comes.
        let all = async {
            let mut runs = vec![run(&world, site, &options).await];
            // A node that is away for twenty calls costs a run each: nothing is begun without the lock.
            while !runs.last().unwrap().done() {
                assert!(
                    runs.len() < 30,
                    "seed {seed} does not converge: {:#?}\n{}",
                    runs.last(),
                    world.story()
                );
                world.faults.revive();
                if runs.len() == 24 {
                    // By now the weather has changed.
                    let _ = world.faults.clone().random(0, 0);
                }
                runs.push(run(&world, site, &Try::default()).await);
            }
            let _ = world.faults.clone().random(0, 0);
            // What was still to go wrong goes wrong now; after that there is nothing to do.
            let mut last = Ended::Killed;
            for _ in 0..30 {
                world.faults.revive();
                last = run(&world, site, &Try::default()).await;
                if matches!(last, Ended::Walked { .. }) {
                    break;
                }
            }
            assert!(
                last.plan().steps.is_empty(),
                "seed {seed}: {:#?}\n{}",
                last.plan().addresses(),
                world.story()
            );
            runs.len()
        };
        let runs = tokio::time::timeout(LONGEST * 30, all).await;
        let runs = runs.unwrap_or_else(|_| panic!("seed {seed} waits for ever\n{}", world.story()));
        let found = state::describe(&world, site).await;
        let story =
            format!("seed {seed} (PHOENIX_SEED={seed} runs it alone), {runs} runs\n{}", world.story());
        same(&found, expected, &story);
        // A task that failed is begun again; nothing else is.
        let failed = failed_tasks(&world).await;
        let doubled = world.faults.doubled();
        assert!(doubled.len() <= failed, "{failed} tasks failed, but {doubled:#?}\n{story}");
        assert!(failed < 20, "{failed} tasks failed: somebody tries without thinking\n{story}");
    });
}

/// How many tasks ended in an error.
async fn failed_tasks(world: &World) -> usize {
    let params = [("source", "all"), ("limit", "5000"), ("errors", "1")];
    let params = params.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let request = Request { method: Method::Get, path: "/nodes/pve1/tasks".into(), params };
    let answer = world.node.handle(&Auth::root(), &request).await;
    let list = answer.body["data"].as_array().expect("a list").clone();
    list.iter().filter(|task| !task["status"].as_str().unwrap_or_default().starts_with("WARNINGS")).count()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn whatever_happens_it_comes_to_the_same_end() {
    let sites: Vec<_> = [first(), big()]
        .iter()
        .map(|files| {
            let site = site(files);
            let (expected, calls, _) = undisturbed(&site);
            (site, expected, calls)
        })
        .collect();
    // Every fifth is of the larger site.
    let case = |seed: u64| {
        let (site, expected, calls) = &sites[usize::from(seed.is_multiple_of(5))];
        run_seed(seed, site, expected, *calls);
    };
    if let Some(seed) = number("PHOENIX_SEED") {
        return case(seed);
    }
    let asked = number("PHOENIX_SEEDS");
    let (begin, done) = (Instant::now(), AtomicU64::new(0));
    every(1..=asked.unwrap_or(SEEDS), |seed| {
        if asked.is_some() || begin.elapsed() < ENOUGH {
            case(seed);
            done.fetch_add(1, Ordering::Relaxed);
        }
    });
    let done = done.into_inner();
    println!("{done} seeds in {:?}", begin.elapsed());
    assert!(done >= asked.unwrap_or(20), "only {done} seeds: too slow to mean anything");
}
