//! Containers: what differs ([`diff`]), what the node is told ([`settings`]), and carrying it out ([`crew`]).

pub mod crew;
pub mod diff;
pub mod settings;
pub mod work;
