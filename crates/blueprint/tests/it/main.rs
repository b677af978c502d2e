//! Blueprints as text, from memory and from disk: one binary, which links once. Those with errors in them are in
//! `tests/invalid.rs`.

mod common;
mod disk;
mod load;
mod robust;
mod schema;
mod stacks;
