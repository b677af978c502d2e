//! Whole runs of Phoenix against the simulated node, in this process, on a virtual clock: blueprint, wiring, observing,
//! planning and the walk with the real crews. Only the node, the probe and the secrets are a test's.
//!
//! Start at [`Site`] for what is wanted, at [`run`] for a run of `apply` or `destroy`, and at [`state`] for what is
//! there afterwards, written so that two ends can be compared. [`There`] is a node in whatever state a test of the planner
//! wants it in: what was applied really was.

#![expect(clippy::expect_used, clippy::panic, reason = "this crate is only of tests")]

mod entrances;
mod happened;
mod known;
mod mortal;
mod run;
mod site;
pub mod state;
pub mod there;

pub use known::Known;
pub use mortal::Mortal;
pub use run::{Ended, NoSecrets, SECRET, Try, carry_out, run};
pub use site::{
    At, Files, Folder, Site, at, authority, authority_apart, big, certified, first, now, other_authority,
    stages, trust,
};
pub use there::There;

use std::future::Future;

/// Runs `test` on a clock that stands still while something is to do and leaps while all wait: hours take no time.
pub fn virtually<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made")
        .block_on(test)
}
