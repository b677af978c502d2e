//! What somebody changed inside a guest: a plan takes it on trust, a look finds it, and the next run puts it right.

use lab::sim::{Faults, World};
use scenarios::{Ended, Site, Try, first, run, state, virtually};

use super::{apply, site, world};

/// A run after a look inside.
async fn deep(world: &World, site: &Site, dies_at: Option<usize>) -> Ended {
    run(world, site, &Try { deep: true, dies_at, ..Try::default() }).await
}

async fn damaged(site: &Site) -> (World, String) {
    let world = world(7, Faults::none());
    assert!(apply(&world, site).await.done());
    let before = state::describe(&world, site).await;
    world.runtime.lose_feature(site.id("gateway"), "nginx-gateway");
    (world, before)
}

#[test]
fn what_is_lost_inside_is_found_by_looking_and_put_right() {
    let wanted = site(&first());
    virtually(async {
        let (world, before) = damaged(&wanted).await;
        assert!(apply(&world, &wanted).await.plan().steps.is_empty(), "the marks say what they said");
        let ended = deep(&world, &wanted, None).await;
        assert!(ended.done(), "{ended:#?}");
        let steps: Vec<_> = ended.plan().steps.iter().map(|s| (s.address.as_str(), &s.reasons[0])).collect();
        assert_eq!(steps[0].0, "feature.nginx-gateway@container.gateway");
        assert_eq!(steps[0].1, "it differs in 1 place");
        // Whatever goes through it is proven again, and nothing else is touched.
        assert!(steps[1..].iter().all(|(address, _)| address.starts_with("service.")), "{steps:?}");
        assert!(steps.len() > 1, "{steps:?}");
        assert_eq!(state::describe(&world, &wanted).await, before);
        assert!(deep(&world, &wanted, None).await.plan().steps.is_empty());
    });
}

/// Killed at any event while it is put right, the next look finds what is left.
#[test]
fn killed_while_it_is_put_right() {
    let wanted = site(&first());
    let events = virtually(async {
        let (world, _) = damaged(&wanted).await;
        let Ended::Walked { events, .. } = deep(&world, &wanted, None).await else {
            panic!("it was not walked")
        };
        events.len()
    });
    for n in 1..=events {
        virtually(async {
            let (world, before) = damaged(&wanted).await;
            let killed = deep(&world, &wanted, Some(n)).await;
            // The last events follow each other with no wait between, and the run ends before it can die.
            assert!(matches!(killed, Ended::Killed) || n + 3 > events && killed.done(), "at {n}: {killed:?}");
            let ended = deep(&world, &wanted, None).await;
            assert!(ended.done(), "killed at {n}: {ended:#?}");
            assert_eq!(state::describe(&world, &wanted).await, before, "killed at {n}");
            assert!(deep(&world, &wanted, None).await.plan().steps.is_empty(), "killed at {n}");
        });
    }
}

/// A guest that cannot be looked into is said, and nothing is concluded from it.
#[test]
fn what_cannot_be_looked_at_is_said() {
    let wanted = site(&first());
    virtually(async {
        let (world, _) = damaged(&wanted).await;
        let options = Try { deep: true, no_commands: true, ..Try::default() };
        let ended = run(&world, &wanted, &options).await;
        let plan = ended.plan();
        assert!(plan.steps.iter().all(|s| !s.reasons[0].contains("differs")), "{:#?}", plan.addresses());
        let said = |note: &String| note.contains("what is inside container.gateway could not be read");
        assert!(plan.notes.iter().any(said), "{:?}", plan.notes);
    });
}
