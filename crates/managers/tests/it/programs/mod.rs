//! Real programs in a throw-away root with a network of its own; systemd alone is stood in for.

mod artifacts;
mod authority;
mod drift;
pub mod features;
mod lock;
mod mesh;
mod network;
mod spoofing;
