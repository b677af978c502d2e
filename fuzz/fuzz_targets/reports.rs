//! See `exercise::reports`. Run with `cargo +nightly fuzz run reports fuzz/corpus/reports fuzz/seeds/reports`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::reports(input));
