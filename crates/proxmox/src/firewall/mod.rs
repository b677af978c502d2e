//! Proxmox VE's firewall files: `/etc/pve/firewall/cluster.fw`, `/etc/pve/firewall/ID.fw`, `/etc/pve/nodes/NODE/host.fw`.
//!
//! Start at [`FirewallFile`]: it is read, asked, edited and printed. [`judge`] says what becomes of a packet under such
//! files, with no node at hand. Facts from pve-firewall 9 and the recordings of a real node.

mod address;
pub mod change;
mod file;
pub mod judge;
pub mod macros;
mod rule;

pub use address::{Addresses, Range, Scope, ports};
pub use file::{FirewallFile, Section};
pub use rule::{Action, Direction, Rule, RuleError, What};
