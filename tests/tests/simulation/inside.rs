//! What somebody changed inside a guest: a plan takes it on trust, a look finds it, and the next run puts it right.

use lab::sim::{Fault, Faults, World};
use scenarios::{Ended, Site, Try, certified, first, run, state, virtually};

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

/// What is on the node itself is no more taken on trust than what is in a guest.
#[test]
fn what_is_lost_on_the_node_is_found_by_looking_and_put_right() {
    const NODE: u32 = 0;
    let wanted = site(&certified());
    virtually(async {
        let world = world(7, Faults::none());
        assert!(apply(&world, &wanted).await.done());
        let before = state::describe(&world, &wanted).await;
        assert!(deep(&world, &wanted, None).await.plan().steps.is_empty(), "nothing differs yet");
        let addresses = |ended: &Ended| -> Vec<String> {
            ended.plan().steps.iter().map(|step| step.address.to_string()).collect()
        };
        // A feature; then the files of the certificate.
        world.runtime.lose_feature(NODE, "certificates");
        assert!(apply(&world, &wanted).await.plan().steps.is_empty(), "the mark says what it said");
        let ended = deep(&world, &wanted, None).await;
        assert!(ended.done(), "{ended:#?}");
        assert_eq!(addresses(&ended), ["hypervisor.certificate"]);
        assert_eq!(ended.plan().steps[0].reasons, ["it differs in 1 place"]);
        assert!(deep(&world, &wanted, None).await.plan().steps.is_empty());
        world.runtime.lose_file(NODE, &managers::certificates::path("hypervisor"));
        let ended = deep(&world, &wanted, None).await;
        assert!(ended.done(), "{ended:#?}");
        assert_eq!(addresses(&ended), ["hypervisor.certificate"]);
        assert_eq!(ended.plan().steps[0].reasons, ["its files are not there any more"]);
        assert!(deep(&world, &wanted, None).await.plan().steps.is_empty());
        assert_eq!(state::describe(&world, &wanted).await, before);
        // What is installed there is a resource of its own.
        world.runtime.lose_feature(NODE, "chrony");
        let ended = deep(&world, &wanted, None).await;
        assert!(ended.done(), "{ended:#?}");
        // All guests are built on it, so their services are proven again.
        assert_eq!(addresses(&ended), ["feature.chrony@node", "service.notes", "service.status"]);
        assert_eq!(state::describe(&world, &wanted).await, before);
        // Whoever asks for a guest alone does not look at the node.
        world.runtime.lose_feature(NODE, "trusted-ca");
        let some = |target: &str| Try { deep: true, targets: vec![target.to_owned()], ..Try::default() };
        assert!(run(&world, &wanted, &some("container.notes")).await.plan().steps.is_empty());
        let ended = run(&world, &wanted, &some("hypervisor.certificate")).await;
        assert_eq!(addresses(&ended), ["hypervisor.certificate"]);
        assert!(ended.done(), "{ended:#?}");
        assert_eq!(state::describe(&world, &wanted).await, before);
    });
}

/// Where the node cannot be looked at, that is said, and nothing is concluded from it.
#[test]
fn a_node_that_cannot_be_looked_at_is_said() {
    let wanted = site(&certified());
    virtually(async {
        let world = world(7, Faults::none());
        assert!(apply(&world, &wanted).await.done());
        let mut unseen = 0;
        // Every call of a run in turn, since it is not known which is that.
        for n in 1..=20 {
            world.runtime.lose_feature(0, "certificates");
            let _ = world.faults.clone().at(world.faults.calls() + n, Fault::NeverSent);
            let Ended::Walked { plan, .. } = deep(&world, &wanted, None).await else { continue };
            if plan.notes.iter().any(|note| note.starts_with("what is on the node could not be read: ")) {
                unseen += 1;
                assert_eq!(plan.steps, [], "at {n}");
            }
        }
        assert_eq!(unseen, 1);
    });
}
