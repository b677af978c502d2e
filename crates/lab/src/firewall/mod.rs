//! The node's firewall: Proxmox VE's files compiled to nftables and really in force, on the guests' links and on the node.
//!
//! Start at [`compile()`], a pure function from files and links to a script that replaces the whole in one transaction, in
//! tables of its own. `watch` keeps the kernel in line with the files. Semantics are those of pve-firewall 9, read from
//! its source (`PVE/Firewall.pm`).
//!
//! What this does not do: logging, conntrack helpers, rules for packets that the node forwards for others (`FORWARD`),
//! SYN flood and smurf protection.

mod compile;
mod kernel;
mod rules;
mod state;
mod watch;

pub use compile::{Compiled, Input, Link, compile};
pub use kernel::Abilities;
pub(crate) use state::applied;
pub(crate) use watch::{Node, remove, watch};
