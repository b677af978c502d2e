//! The real binary: one binary of tests, which links once. What needs real containers is in [`containers`], so that it can
//! be run, or left out, by that name.

mod cli;
mod containers;
mod secret;
mod typed;
