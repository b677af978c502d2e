//! Blueprints with errors in them, as text files: the files of a site, and what Phoenix says about them. A new case is a
//! new file in `tests/invalid/`. With `UPDATE_GOLDENS=1` the expected part is written anew.

#[path = "it/common/mod.rs"]
mod common;

use std::path::Path;

use blueprint::{Loaded, load_from_memory, to_text};
use camino::Utf8PathBuf;

const EXPECTED: &str = "=== expected\n";

/// What is added where a case does not define it itself, so that cases are about one thing.
const SITE: &str = r#"{"site": {"name": "workshop", "domain": "workshop.internal"}, "target": {"lab": {}}}"#;

fn files(text: &str) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let mut files: Vec<(Utf8PathBuf, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(path) = line.strip_prefix("--- ") {
            files.push((path.trim().into(), String::new()));
        } else if let Some((_, content)) = files.last_mut() {
            content.push_str(line);
        }
    }
    if !text.contains("\"site\"") && !text.contains("# no site") {
        files.push(("0.json".into(), SITE.to_owned()));
    }
    files.into_iter().map(|(path, content)| (path, content.into_bytes())).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "what the harness calls")]
fn case(path: &Path, text: String) -> datatest_stable::Result<()> {
    let (input, expected) = text.split_once(EXPECTED).unwrap_or((&text, ""));
    let actual = match load_from_memory(files(input), &common::catalog()) {
        Err(failure) => {
            for diagnostic in &failure.diagnostics {
                assert!(
                    blueprint::codes::find(diagnostic.code).is_some(),
                    "{} is not explained",
                    diagnostic.code
                );
            }
            failure.to_text()
        }
        Ok(Loaded { warnings, sources, .. }) => format!("valid\n{}", to_text(&warnings, &sources)),
    };
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs_err::write(path, format!("{}\n{EXPECTED}{actual}", input.trim_end()))?;
        return Ok(());
    }
    if actual == expected {
        return Ok(());
    }
    Err(format!("expected:\n{expected}\nbut got:\n{actual}\n(UPDATE_GOLDENS=1 writes it)").into())
}

datatest_stable::harness! {
    { test = case, root = "tests/invalid", pattern = r"\.txt$" },
}
