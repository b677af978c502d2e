//! Whatever a site's files hold, loading them ends with a blueprint or with errors, and both can be shown.
//!
//! The input is several files: each begins with a line `--- PATH`, as in the blueprint crate's `tests/invalid/`. Run with
//! `cargo +nightly fuzz run blueprint fuzz/corpus/blueprint fuzz/seeds/blueprint crates/blueprint/tests/invalid`.

#![no_main]

use std::sync::OnceLock;

use blueprint::{Catalog, load_from_memory, to_text};
use libfuzzer_sys::fuzz_target;

/// Two features of the kinds that sites use most.
const FEATURES: &[(&str, &str)] = &[
    ("base/feature.json", r#"{"description": "base"}"#),
    (
        "static-site/feature.json",
        r#"{"description": "pages", "requires": ["base"], "parameters": {"root": {"type": "folder"},
            "port": {"type": "port", "default": 80}, "key": {"type": "secret"}, "file": {"type": "file"}}}"#,
    ),
    (
        "nginx-gateway/feature.json",
        r#"{"description": "gateway", "provides": ["gateway"], "parameters": {"sites": {"type": "json", "derived": true}}}"#,
    ),
];

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let files = FEATURES.iter().map(|(path, text)| (*path, text.as_bytes()));
        Catalog::from_files(files).unwrap_or_default()
    })
}

fuzz_target!(|input: &[u8]| {
    let mut files: Vec<(String, Vec<u8>)> = vec![("pages/index.html".into(), b"x".to_vec())];
    let mut last = ("fuzz.json".to_owned(), Vec::new());
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"--- ").and_then(|path| std::str::from_utf8(path).ok()) {
            Some(path) => files.push(std::mem::replace(&mut last, (path.trim().to_owned(), Vec::new()))),
            None => last.1.extend_from_slice(line),
        }
    }
    files.push(last);
    match load_from_memory(files.into_iter().map(|(path, bytes)| (path.into(), bytes)), catalog()) {
        Ok(loaded) => drop(to_text(&loaded.warnings, &loaded.sources)),
        Err(failure) => {
            assert!(failure.errors() > 0);
            drop(failure.to_text());
        }
    }
});
