//! Guests, of either kind: the keys of their configuration ([`containers`], [`vms`]) and what else only one kind has
//! ([`table`]), what differs ([`diff`]) and becomes a step (`make`, `change`), what the node offers (`offer`) and has at all
//! ([`ground`]), what others have already (`collide`), how one is (`status`), and carrying it out ([`crew`]).

mod agent;
mod change;
mod collide;
pub mod containers;
pub mod crew;
pub mod diff;
pub mod ground;
mod make;
pub mod offer;
mod status;
pub mod table;
pub mod vms;
pub mod work;
