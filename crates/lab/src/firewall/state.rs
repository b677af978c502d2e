//! What was put in force last, for whoever asks: the watcher writes it, `pve-firewall` reads it.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

/// Where it is written, on the node. Gone with a reboot, as the rules are.
const FILE: &str = "/run/pve-firewall.json";

/// The watcher's last word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The script that is in force.
    pub script: String,
    /// What of the files was left out, and why.
    pub warnings: Vec<String>,
    /// Why the last one could not be put in force; the one before it still is.
    pub error: Option<String>,
}

/// What is in force; none when nothing was put there since the node began.
pub(crate) fn applied() -> Option<State> {
    serde_json::from_slice(&fs_err::read(FILE).ok()?).ok()
}

/// Writes it.
///
/// # Errors
/// When it cannot be written.
pub(super) fn record(state: &State) -> std::io::Result<()> {
    let part = Utf8Path::new(FILE).with_extension("json.tmp");
    fs_err::write(&part, serde_json::to_vec(state)?)?;
    fs_err::rename(&part, FILE)
}

/// Forgets it.
pub(super) fn forget() {
    // It may never have been there.
    let _ = fs_err::remove_file(FILE);
}
