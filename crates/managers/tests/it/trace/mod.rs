//! From what is seen to why it is so: every cause `trace` can name, from what the workshop looks like then. And the walk
//! on paper, before anything is built.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test panics")]

mod answers;
mod bench;
mod beside;
mod certificates;
mod connections;
mod health;
mod names;
mod paper;
mod together;
