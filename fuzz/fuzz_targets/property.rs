//! See `exercise::property`. Run with `cargo +nightly fuzz run property fuzz/corpus/property fuzz/seeds/property`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::property(input));
