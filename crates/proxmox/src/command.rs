//! What the node's own commands (`pct`, `qm`, `pvesh`, `pveum`, `lxc-attach`) say when they fail. They print the API's
//! words, with other statuses, and some of them fail with status 0.

use std::collections::BTreeMap;

use serde_json::Value;
use transport::Output;

use crate::error::ErrorKind;

/// A command of the node that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{command}` failed with status {status}: {message}")]
pub struct CommandError {
    /// Its name and what it was to do, as in `pct start`. Never more: an argument may be long.
    pub command: String,
    /// Its exit status; that of the command inside the guest for `exec`.
    pub status: i32,
    /// What it said.
    pub message: String,
    /// What it means. Nothing is known about a program that merely ended with a status of its own.
    pub kind: Option<ErrorKind>,
}

/// Whether the command did what it was to do.
///
/// # Errors
/// When it failed, whatever its exit status: `pct pull` of a missing file and `qm guest exec` of a failing program end
/// with 0.
pub fn judge(argv: &[String], output: &Output) -> Result<(), CommandError> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let fail = |status: i32, kind: Option<ErrorKind>, message: String| {
        let name = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        Err(CommandError { command: name, status, message, kind })
    };
    if output.success() {
        return match words[..] {
            ["pct", "pull" | "push", ..] if !stderr.is_empty() => {
                fail(0, ErrorKind::of_words(&stderr), stderr)
            }
            ["qm", "guest", "exec", ..] => match guest_exec(&output.stdout) {
                Ok(0) => Ok(()),
                Ok(status) => {
                    fail(status, None, format!("the program in the guest ended with status {status}"))
                }
                Err(reason) => fail(0, None, reason),
            },
            _ => Ok(()),
        };
    }
    // What a program inside a guest says is its own; only the words of the tool around it are judged.
    let inside = matches!(words[..], ["pct", "exec", ..] | ["lxc-attach", ..] | ["sh" | "bash", ..]);
    let tool_speaks = stderr.starts_with("lxc-attach: ")
        || stderr.starts_with("Configuration file '")
        || stderr.starts_with("container '");
    let kind = if inside && !tool_speaks { None } else { Some(kind(&stderr)) };
    let message = if stderr.is_empty() { "it said nothing".to_owned() } else { stderr };
    fail(output.status, kind, message)
}

/// The exit status of a program that `qm guest exec` ran: in what it prints, not in its own status.
fn guest_exec(stdout: &[u8]) -> Result<i32, String> {
    let printed: Value =
        serde_json::from_slice(stdout).map_err(|error| format!("it printed no JSON: {error}"))?;
    let status = printed["exitcode"].as_i64().and_then(|status| i32::try_from(status).ok());
    status.ok_or_else(|| "it printed no exit code: the program may still run".to_owned())
}

/// Reads `400 Parameter verification failed.` with its lines `key: reason`, else the words.
fn kind(stderr: &str) -> ErrorKind {
    let mut errors = BTreeMap::new();
    let mut status = 500;
    for line in stderr.lines() {
        if line.starts_with("400 ") {
            status = 400;
        } else if let Some((key, reason)) = line.split_once(": ") {
            let name = if key == "Unknown option" { reason } else { key };
            if !name.contains(' ') {
                errors.insert(name.to_owned(), line.to_owned());
            }
        }
    }
    ErrorKind::of(status, stderr, if status == 400 { &errors } else { const { &BTreeMap::new() } })
}
