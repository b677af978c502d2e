//! The crews and the planner from outside: one binary, which links once. What needs real containers is in a module called
//! `containers`, what runs real programs in one called `programs`, so that they can be run, or left out, by these names.
//! The golden plans are in `tests/plans.rs`, a test for each file.

mod book;
mod built;
mod catalog;
mod firewall;
mod given;
mod kind;
mod privileges;
mod programs;
mod properties;
mod real;
mod rendering;
mod root;
mod scan;
mod seeds;
mod shares;
mod support;
mod told;
mod trace;
mod upstream;
mod ways;
