//! The simulated lab: guests are records, time is tokio's, everything follows from a seed.
//!
//! [`World`] is where a test begins: a node with storages and templates, an [`Exchange`](proxmox::exchange::Exchange) to
//! its API and a [`Runner`](transport::Runner) on it, with [`Faults`] between. Nothing here starts a process or
//! opens a socket, and nothing here is real: whoever shows it to a person says so
//! ([`crate::runtime::RuntimeKind::Simulated`]).

mod agent;
mod certificates;
mod exchange;
mod faults;
mod firewall;
mod gpus;
mod guard;
mod guest;
mod login;
mod machines;
mod network;
mod qm;
mod restarts;
mod runtime;
mod shell;
mod ssh;
mod world;
mod zfs;

pub use exchange::SimExchange;
pub use faults::{Fault, Faults, Made};
pub use gpus::SimGpus;
pub use login::SimLogin;
pub use restarts::SimRestarts;
pub use runtime::{SimRuntime, Times};
pub use shell::SimShell;
pub use world::{NARROW_TOKEN, Other, ROOT_TOKEN, World, WorldOptions};
pub use zfs::SimZfs;

/// A number that follows from the seed and from what it is for, and from nothing else: not from the order in which
/// tasks happen to run.
pub(crate) fn draw(seed: u64, what: &[u64]) -> u64 {
    // SplitMix64 (Steele, Lea, Flood 2014), once for every part.
    let mut state = seed;
    let mut out = 0;
    for part in what.iter().chain(&[0]) {
        state =
            state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(part.wrapping_mul(0xff51_afd7_ed55_8ccd));
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out = mixed ^ (mixed >> 31);
        state = out;
    }
    out
}

#[cfg(test)]
mod tests;
