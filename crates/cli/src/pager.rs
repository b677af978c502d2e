//! The pager that a person reads long texts in.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// What is used where `PAGER` says nothing.
const USUAL: &str = "less";
/// Ends at once where all fits on the screen, shows colours, and leaves what was read there: as git sets it.
const LESS: &str = "FRX";
/// What a shell ends with where there is no such program (POSIX, 2.8.2).
const NOT_THERE: i32 = 127;

/// The program that `PAGER` names, or the usual one; none where it is empty.
pub fn named() -> Option<String> {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| USUAL.to_owned());
    Some(pager).filter(|pager| !pager.trim().is_empty())
}

/// Whether the pager showed the text. It may have options, so a shell reads its name.
pub async fn show(pager: &str, text: &str) -> bool {
    // Ctrl-C is the pager's own: it stops its search, and who waits for it does not end before it.
    let _held = signal(SignalKind::interrupt());
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut input) = child.stdin.take() {
        // Who has read enough closes it.
        let _ = input.write_all(text.as_bytes()).await;
        let _ = input.shutdown().await;
    }
    // A person reads as long as they like.
    child.wait().await.is_ok_and(|status| status.code() != Some(NOT_THERE))
}
