//! See `exercise::firewall`. Run with `cargo +nightly fuzz run firewall fuzz/corpus/firewall fuzz/seeds/firewall`.

#![no_main]

#[path = "../exercise.rs"]
#[allow(dead_code, reason = "each target runs one of them")]
mod exercise;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exercise::firewall(input));
