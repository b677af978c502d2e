//! Every call of a run in turn goes wrong: P-24, T-17.

use lab::sim::{Fault, Faults};
use scenarios::{Ended, certified, state, virtually};

use super::{LONGEST, apply, each, same, settle, site, undisturbed, world};

/// Failed before it was sent; taken effect with the answer lost; the answer cut in the middle. The run, or if it failed
/// one more, comes to the same end with nothing twice.
fn every_call(fault: &Fault) {
    let site = site(&certified());
    let (expected, calls, _) = undisturbed(&site);
    assert!(calls > 40, "{calls} calls: too few for a run");
    each(1..=calls, |n| {
        virtually(async {
            let world = world(1, Faults::none().at(n, fault.clone()));
            let ended = apply(&world, &site).await;
            if let Ended::Walked { took, .. } = &ended {
                assert!(*took < LONGEST, "call {n}: {took:?}\n{}", world.story());
            }
            let failed: Vec<String> =
                ended.failures().into_iter().map(|f| format!("{}: {f}; {:?}", f.code, f.hint)).collect();
            let found =
                if ended.done() { state::of(&world, &site).await } else { settle(&world, &site, 1).await };
            let story = format!("call {n}, {fault:?}, failed at first: {failed:#?}\n{}", world.story());
            same(&found, &expected, &story);
            assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{story}");
            // One call that goes wrong is got over by the run itself, but for the taking of the lock, which is first.
            assert!(n == 1 || failed.is_empty(), "{story}");
        });
    });
}

#[test]
fn every_call_in_turn_is_never_sent() {
    every_call(&Fault::NeverSent);
}

#[test]
fn every_call_in_turn_loses_its_answer() {
    every_call(&Fault::ReplyLost);
}

#[test]
fn every_call_in_turn_has_its_answer_cut_in_the_middle() {
    every_call(&Fault::Cut);
}
