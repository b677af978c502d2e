//! Guests, of either kind: the keys of their configuration ([`containers`], [`vms`]) and what else only one kind has
//! ([`table`]), what differs ([`diff`]) and becomes a step (`make`, `change`), what the node offers (`offer`), how one is
//! (`status`), and carrying it out ([`crew`]).

mod change;
pub mod containers;
pub mod crew;
pub mod diff;
mod make;
pub mod offer;
mod status;
pub mod table;
pub mod vms;
pub mod work;
