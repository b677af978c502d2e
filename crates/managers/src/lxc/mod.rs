//! Containers: the keys of their configuration ([`keys`]), what differs ([`diff`]) and becomes a step (`make`, `change`),
//! what the node offers (`offer`), and carrying it out ([`crew`]).

mod change;
pub mod crew;
pub mod diff;
pub mod keys;
mod make;
pub mod offer;
pub mod work;

/// As their addresses call them.
pub const KIND: &str = plan::GuestKind::Container.as_str();
