//! The network of a node, as ifupdown keeps it: the file (`interfaces(5)`, and what ifupdown2 and Proxmox VE add to it), and what
//! is to be seen of it on the node. What is read prints back byte for byte: comments and what others wrote stay as they are.

mod file;
pub mod pin;
mod seen;

pub use file::{Entry, Iface, Interfaces, Line, same_key};
pub use seen::{Link, SCRIPT, SeenFile, SeenNetwork, parse as parse_seen, printed as printed_seen};

use std::time::Duration;

use crate::guard::Guard;

/// The file of a node's network.
pub const FILE: &str = "/etc/network/interfaces";

/// How [`FILE`] is changed. ifupdown2, or ifupdown where only that is there, brings it into force; the new file lies over the old
/// one until it is confirmed, so that a node which starts anew in between has its old network.
pub const NETWORK: Guard = Guard {
    purpose: "changing the node's network",
    root: "/etc/network",
    folder: "/run/phoenix-network",
    pattern: "interfaces",
    path: str::to_owned,
    over: true,
    reload: RELOAD,
    limit: Duration::from_secs(270),
};

/// Brings the file into force.
const RELOAD: &str = include_str!("reload.sh");
