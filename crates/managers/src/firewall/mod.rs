//! The firewall: Proxmox VE's own, its rules made from the flows on both of their ends (I-6, P-59, P-73).
//!
//! `firewall.CONTAINER` is a guest's file, `firewall.site` is `cluster.fw` and the node's `host.fw`. Each rule carries the
//! id of its flow in its comment; the rules of a file are replaced as one set; what others have written stays (T-14).
//! Start at [`rules`] for what follows from the flows, at [`names`] for in whose name a guest may speak, at [`files`] for how a
//! file is edited, at [`way`] for what is never cut (P-20), at [`diff`] for the plan and at [`crew`] for how it is carried out.

pub mod crew;
pub mod diff;
pub mod files;
pub mod names;
pub mod rules;
pub mod way;

pub use crew::FirewallCrew;
pub use diff::Firewalls;

/// The name of the site's own part: `firewall.site`.
pub const SITE: &str = "site";

/// What the comments of a site's rules begin with.
pub fn prefix(site: &str) -> String {
    format!("phoenix:{site}:")
}
