//! See `exercise::sealed`. Run with `cargo +nightly fuzz run sealed fuzz/corpus/sealed fuzz/seeds/sealed`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::sealed(input));
