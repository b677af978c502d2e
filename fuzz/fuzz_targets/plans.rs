//! See `exercise::plans`. Run with `cargo +nightly fuzz run plans fuzz/corpus/plans fuzz/seeds/plans`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::plans(input));
