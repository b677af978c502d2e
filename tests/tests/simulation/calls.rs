//! Every call of a run in turn goes wrong: P-24, T-17.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lab::sim::{Fault, Faults, Times, WorldOptions};
use proxmox::exchange::Exchange;
use scenarios::{Ended, Site, certified, state, virtually};

use super::{LOCK, LONGEST, apply, each, same, settle, site, undisturbed, world};

/// Failed before it was sent; taken effect with the answer lost; the answer cut in the middle. The run, or if it failed
/// one more, comes to the same end with nothing twice.
pub(super) fn every_call(site: &Site, fault: &Fault) {
    let (expected, calls, _) = undisturbed(site);
    assert!(calls > 20, "{calls} calls: too few for a run");
    each(1..=calls, |n| {
        virtually(async {
            let world = world(1, Faults::none().at(n, fault.clone()));
            let ended = apply(&world, site).await;
            if let Ended::Walked { took, .. } = &ended {
                assert!(*took < LONGEST, "call {n}: {took:?}\n{}", world.story());
            }
            let failed: Vec<String> =
                ended.failures().into_iter().map(|f| format!("{}: {f}; {:?}", f.code, f.hint)).collect();
            let found = if ended.done() {
                state::describe(&world, site).await
            } else {
                settle(&world, site, 1).await
            };
            let story = format!("call {n}, {fault:?}, failed at first: {failed:#?}\n{}", world.story());
            same(&found, &expected, &story);
            assert_eq!(world.faults.doubled(), Vec::<String>::new(), "{story}");
            // One call that goes wrong is got over by the run itself, but for the taking of the lock.
            assert!(n == LOCK || failed.is_empty(), "{story}");
        });
    });
}

#[test]
fn every_call_in_turn_is_never_sent() {
    every_call(&site(&certified()), &Fault::NeverSent);
}

#[test]
fn every_call_in_turn_loses_its_answer() {
    every_call(&site(&certified()), &Fault::ReplyLost);
}

#[test]
fn every_call_in_turn_has_its_answer_cut_in_the_middle() {
    every_call(&site(&certified()), &Fault::Cut);
}

/// A node in another house: what does not need another's answer is asked at the same time, and nothing twice for it.
#[test]
fn what_can_be_asked_at_once_is() {
    virtually(async {
        let far = Duration::from_millis(100);
        let world = WorldOptions::new(1).times(Times::none()).latency(far).build().unwrap();
        let exchange: Arc<dyn Exchange> = Arc::new(world.exchange.clone());
        let trips = |begin: tokio::time::Instant| begin.elapsed().as_millis() / far.as_millis();
        let begin = tokio::time::Instant::now();
        let ways = managers::Ways::new(Some(Arc::new(world.shell.clone())), exchange.clone());
        managers::observe(&ways).await.unwrap();
        // What there is, and with it the files; then the storages, and with them the templates and the notes of the datacenter.
        assert_eq!((trips(begin), world.faults.calls()), (2, 5));
        let begin = tokio::time::Instant::now();
        managers::observe(&managers::Ways::new(None, exchange)).await.unwrap();
        assert_eq!((trips(begin), world.faults.calls()), (2, 9));
        let begin = tokio::time::Instant::now();
        let waiting = |_: &str, _: Duration| panic!("nothing is under way");
        managers::observe_settled(&ways, &scenarios::trust("site"), &BTreeSet::new(), &waiting)
            .await
            .unwrap();
        // The nodes and their tasks before all that.
        assert_eq!((trips(begin), world.faults.calls()), (4, 16));
    });
}
