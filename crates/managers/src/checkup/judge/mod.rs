//! The checks, a file for each field, and the words they have in common.

mod disks;
mod guests;
mod machine;
mod memory;
mod network;
mod packages;
mod proxmox;
mod system;

use super::{Check, Finding};

/// All checks, a list for each group.
pub const CHECKS: [&[Check]; 8] = [
    machine::CHECKS,
    memory::CHECKS,
    disks::CHECKS,
    system::CHECKS,
    packages::CHECKS,
    network::CHECKS,
    proxmox::CHECKS,
    guests::CHECKS,
];

/// What could not be read.
fn unread(what: &str) -> Finding {
    Finding::unknown(format!("{what} could not be read on the node"))
}

/// KiB, for people.
fn size(kib: u64) -> String {
    const STEP: u64 = 1024;
    match kib {
        k if k >= 10 * STEP * STEP * STEP => format!("{} TiB", k / STEP / STEP / STEP),
        k if k >= 10 * STEP * STEP => format!("{} GiB", k / STEP / STEP),
        k if k >= STEP => format!("{} MiB", k / STEP),
        k => format!("{k} KiB"),
    }
}

/// How much of it is used, rounded down; none of nothing.
fn percent(used: u64, all: u64) -> u64 {
    used.saturating_mul(100).checked_div(all).unwrap_or(0)
}

/// The first few of many.
fn few<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let all: Vec<&str> = all.into_iter().collect();
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", all[..SHOWN].join(", ")),
        _ => all.join(", "),
    }
}
