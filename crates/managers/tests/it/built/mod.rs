//! Programs that Phoenix builds from their sources, as `phoenix-cli artifacts fetch` left them on this machine.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say why they are skipped"
)]

use camino::Utf8PathBuf;
use managers::artifacts::{Cache, Store};

/// What this machine has built, and what not. `None` where there is no home to keep it in.
pub fn store() -> Option<Store> {
    let caches = std::env::var("XDG_CACHE_HOME").ok().map(Utf8PathBuf::from);
    let caches = caches.or_else(|| Some(Utf8PathBuf::from(std::env::var("HOME").ok()?).join(".cache")))?;
    Some(Store::new(Cache::new(caches.join("phoenix/artifacts"), None), "amd64").unwrap())
}

/// A program's bytes, or `None` and a line that says why.
pub fn program(name: &str) -> Option<Vec<u8>> {
    let standing = store().and_then(|store| store.standing().into_iter().find(|s| s.name == name));
    let Some((path, _)) = standing.and_then(|s| s.there) else {
        println!("skipped: {name} is not built (phoenix-cli artifacts fetch {name})");
        return None;
    };
    Some(fs_err::read(path).unwrap())
}
