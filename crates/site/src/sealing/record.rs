//! What is remembered of sealed copies, beside the secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{folder, not_written};
use crate::error::Error;

/// Where, below the secrets.
pub(super) const RECORD: &str = "sealed.json";
/// Held by who seals.
const LOCK: &str = ".sealing";
/// How many copies of one name are remembered: the last, and one that was about to be written by who was killed.
const REMEMBERED: usize = 4;

/// A copy that was sealed here, or opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealing {
    /// The fingerprint of the sealed text.
    pub file: String,
    /// The fingerprint of what is in it.
    pub content: String,
    /// The public keys; none with a passphrase, or where it was opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// When, Unix seconds.
    pub at: i64,
}

/// The last copies by their place, the newest last.
pub(super) type Record = BTreeMap<Utf8PathBuf, Vec<Sealing>>;

pub(super) fn remembered(root: &Utf8Path) -> Result<Record, Error> {
    let path = folder(root).join(RECORD);
    if fs_err::symlink_metadata(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(Record::new());
    }
    let text = private::read(&path).map_err(|e| Error::from_error("sealed::unreadable", &e))?;
    // One that cannot be read is as good as none: then no copy is a known one.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

pub(super) fn remember(
    root: &Utf8Path,
    record: &mut Record,
    file: &Utf8Path,
    one: Sealing,
) -> Result<(), Error> {
    let all = record.entry(file.to_owned()).or_default();
    all.retain(|other| other.file != one.file);
    all.push(one);
    let surplus = all.len().saturating_sub(REMEMBERED);
    all.drain(..surplus);
    // A map of texts and numbers always serializes.
    let text = serde_json::to_string_pretty(record).unwrap_or_default();
    private::write(&folder(root).join(RECORD), text.as_bytes()).map_err(|e| not_written(file, &e))
}

/// Whoever has it seals or opens alone: for a second, or while a person types.
pub(super) fn lock(root: &Utf8Path) -> Result<std::fs::File, Error> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(100);
    let path = folder(root).join(LOCK);
    let failed = |e: &dyn std::error::Error| Error::from_error("sealed::not-written", e);
    let file = private::lock_file(&path).map_err(|e| failed(&e))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(std::fs::TryLockError::Error(e)) => return Err(failed(&e)),
        }
    }
    let waited = (PAUSE * TRIES).as_secs();
    Err(Error::failed("sealed::not-written", format!("somebody else has been sealing for {waited} s"))
        .hint("see who, then phoenix-cli secrets seal"))
}
