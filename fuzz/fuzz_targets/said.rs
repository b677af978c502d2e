//! See `exercise::said`. Run with `cargo +nightly fuzz run said fuzz/corpus/said fuzz/seeds/said`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::said(input));
