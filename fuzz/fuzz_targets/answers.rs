//! See `exercise::answers`. Run with `cargo +nightly fuzz run answers fuzz/corpus/answers fuzz/seeds/answers`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::answers(input));
