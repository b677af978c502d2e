//! A Proxmox VE-compatible node on this machine, for trying and testing: a test bench and a classroom.
//!
//! What a real engine does, the real engine does (LXC, nftables, OpenSSH); what no machine here can have is simulated
//! and says so. Start at [`runtime::Runtime`], the line between the node's API and what stands behind it.

mod base64;
pub mod containers;
pub mod firewall;
pub mod frontends;
pub mod node;
pub mod runtime;
pub mod server;
pub mod sim;
pub mod up;
