//! Containers: the keys of their configuration ([`keys`]), what differs ([`diff`]) and becomes a step (`make`, `change`),
//! what the node offers (`offer`), what the node has at all ([`ground`]), what others have already (`collide`), how one is (`status`), and carrying it out ([`crew`]).

mod change;
mod collide;
pub mod crew;
pub mod diff;
pub mod ground;
pub mod keys;
mod make;
pub mod offer;
mod status;
pub mod work;

/// As their addresses call them.
pub const KIND: &str = plan::GuestKind::Container.as_str();
