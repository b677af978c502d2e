//! Running the node's programs, bounded, with what they said in the error.

use std::time::Duration;

use transport::{Command, Local, Output, Runner};

use crate::runtime::TaskError;

/// Ample for a program that only asks or sets something.
const SHORT: Duration = Duration::from_secs(30);

/// Runs `argv` to its end; a failure reads as Proxmox VE words it.
pub(crate) async fn run(argv: &[&str]) -> Result<Output, TaskError> {
    run_for(argv, SHORT).await
}

/// As [`run`], with another limit.
pub(crate) async fn run_for(argv: &[&str], limit: Duration) -> Result<Output, TaskError> {
    let output = output(argv, limit).await?;
    if output.success() {
        return Ok(output);
    }
    let said = output.tail(3);
    let colon = if said.is_blank() { "" } else { ": " };
    Err(TaskError(format!("command '{}' failed: exit code {}{colon}{said}", argv.join(" "), output.status)))
}

/// Runs `argv` to its end, whatever its exit status.
pub(crate) async fn output(argv: &[&str], limit: Duration) -> Result<Output, TaskError> {
    let command = Command::new(argv.first().copied().unwrap_or_default(), argv.iter().copied()).limit(limit);
    Local.run(&command).await.map_err(|error| TaskError(explain(&error)))
}

/// An error with its causes, in one line.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
