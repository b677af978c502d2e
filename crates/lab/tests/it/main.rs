//! The lab from outside: one binary, which links once. What needs real containers is in [`containers`], so that it can be
//! run, or left out, by that name.

mod containers;
mod fidelity;
mod keys;
mod replay;
mod storages;
