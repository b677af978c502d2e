//! See `exercise::marks`. Run with `cargo +nightly fuzz run marks fuzz/corpus/marks fuzz/seeds/marks`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::marks(input));
