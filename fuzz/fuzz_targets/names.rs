//! See `exercise::names`. Run with `cargo +nightly fuzz run names fuzz/corpus/names fuzz/seeds/names`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::names(input));
