//! Guests, of either kind: the keys of their configuration ([`containers`], [`vms`]) and what else only one kind has
//! ([`table`]), what differs ([`diff`]) and becomes a step (`make`, `clone`, `change`, [`restart`]), what the node offers
//! (`offer`) and has at all ([`ground`]), what others have already (`collide`), how one is (`status`), carrying it out
//! ([`crew`], `update`, `moves`, `cloning`, `golden`), waiting until it can be entered (`entry`), and what a refusal leaves behind (`refused`).

mod boot;
mod change;
mod clone;
mod cloning;
mod collide;
pub mod containers;
pub mod crew;
pub mod diff;
mod entry;
pub(crate) mod first_start;
pub(crate) mod golden;
pub mod ground;
pub(crate) mod make;
mod moves;
pub mod offer;
pub(crate) mod refused;
mod renamed;
pub mod restart;
mod status;
pub mod table;
mod update;
pub mod vms;
pub mod work;
