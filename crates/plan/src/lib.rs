//! The planner: from what is wanted and what is there to what has to be done. Synchronous, pure, deterministic.
//!
//! Start at [`planner::plan`]. What is wanted ([`desired::Desired`]) comes from [`wire::wire`]; what is there
//! ([`inventory::Inventory`]) is observed elsewhere; what comes out is a [`step::Plan`]. The differences of one kind of
//! resource are found by its [`planner::Kind`], which lives with the rest of that kind in the `managers` crate.

pub mod address;
pub mod desired;
pub mod graph;
pub mod host;
pub mod inventory;
pub mod mark;
mod off;
pub mod planner;
pub mod render;
pub mod site_key;
pub mod step;
pub mod targets;
pub mod told;
pub mod trust;
pub mod wire;

pub use address::Address;
pub use desired::Desired;
pub use host::{GuestKind, Host};
pub use inventory::Inventory;
pub use mark::Mark;
pub use planner::{Kind, Options, Proposal, World, plan};
pub use site_key::SiteKey;
pub use step::{Action, Change, Consent, Grade, Plan, Postponed, Problem, Step};
pub use trust::Trust;
