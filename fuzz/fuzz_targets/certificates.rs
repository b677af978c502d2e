//! See `exercise::certificates`. Run with `cargo +nightly fuzz run certificates fuzz/corpus/certificates fuzz/seeds/certificates`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::certificates(input));
