//! Golden plans: every text file in `plans/` is a scenario (its form: `support/scenario.rs`). To add one, write the file
//! and run with `PHOENIX_BLESS=1`, then read what came out.

#![expect(clippy::panic, reason = "a failing test panics")]

#[path = "it/support/mod.rs"]
mod support;

use datatest_stable::Utf8Path;

#[expect(clippy::needless_pass_by_value, reason = "the harness calls it so")]
fn scenario(path: &Utf8Path, text: String) -> datatest_stable::Result<()> {
    let found = support::scenario::run(&text);
    if found == text {
        return Ok(());
    }
    if std::env::var_os("PHOENIX_BLESS").is_some() {
        fs_err::write(path, found)?;
        return Ok(());
    }
    let first = found.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or_else(|| found.lines().count().min(text.lines().count()));
    panic!("from line {} on it is otherwise now (PHOENIX_BLESS=1 writes it down):\n{found}", line + 1);
}

datatest_stable::harness! {
    { test = scenario, root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plans"), pattern = r"\.txt$" },
}
