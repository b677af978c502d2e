//! What became of the site's last run, and whether one is going on: for `status`.

use std::time::Duration;

use apply::journal::{self, RunSummary};
use apply::{Event, Outcome};
use blueprint::model::Blueprint;
use jiff::Timestamp;
use plan::Address;
use transport::Command;

use crate::error::CommandError;
use site::Connection;

/// Looks at the lock without waiting for it: whoever holds it is printed.
const LOOK: &str = r#"file=/run/phoenix/$1.lock
[ -e "$file" ] || exit 0
exec 9<"$file" || exit 3
flock -n 9 || cat "$file.owner"
"#;

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// Its id.
    pub run: String,
    /// When it began.
    pub started: Timestamp,
    /// What was typed.
    pub command: String,
    /// Whether it was stopped in the middle, by a person or by whatever ended its process.
    pub cut_off: bool,
    /// The first step that failed, with what was said of it.
    pub step: Option<(Address, String)>,
}

/// What is known of the site's runs.
#[derive(Debug, Default)]
pub struct Runs {
    /// Who is at work: user, machine, process, since when.
    pub going_on: Option<String>,
    /// The last run from here, where it did not end well.
    pub failed: Option<FailedRun>,
}

/// Looks into the journals of this folder and at the lock on the node.
///
/// # Errors
/// When the journals cannot be read. A node that cannot be asked is no error: then only the runs of this machine are known.
pub async fn look(connection: &Connection, blueprint: &Blueprint) -> Result<Runs, CommandError> {
    let folder = site::runs(&blueprint.root);
    let wrong = |e: journal::JournalError| CommandError::from_error("history::journal", &e);
    let last = journal::last(&folder).map_err(wrong)?;
    let argv = ["sh", "-c", LOOK, "phoenix-look", blueprint.site.name.as_str()];
    let command = Command::new("looking at the site's lock", argv).limit(Duration::from_secs(20));
    let nodes = connection.ways.locks().await.unwrap_or_default();
    let asked = nodes.iter().map(|node| async {
        let answer = node.run(&command).await.ok().filter(transport::Output::success);
        answer.map(|output| output.text().trim().to_owned()).filter(|owner| !owner.is_empty())
    });
    let held = futures::future::join_all(asked).await.into_iter().flatten().next();
    let here = last.as_ref().filter(|run| run.outcome.is_none() && alive(&run.run));
    let going_on = held.or_else(|| here.map(|run| format!("{} since {}", run.command, run.started)));
    let failed = match last.filter(|run| going_on.is_none() && run.outcome != Some(Outcome::Done)) {
        Some(run) => Some(failed(run, |id| journal::read(&folder, id)).map_err(wrong)?),
        None => None,
    };
    Ok(Runs { going_on, failed })
}

/// Whether the process of a run still runs: it is the last part of the run's id.
fn alive(run: &str) -> bool {
    let Some(process) = run.rsplit('-').next().filter(|p| p.bytes().all(|b| b.is_ascii_digit())) else {
        return false;
    };
    let line = fs_err::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains("phoenix-cli")
}

fn failed<E>(
    run: RunSummary,
    read: impl FnOnce(&str) -> Result<Vec<journal::Entry>, E>,
) -> Result<FailedRun, E> {
    let step = read(&run.run)?.into_iter().find_map(|entry| match entry.event {
        Event::StepFailed { address, errors, .. } => Some((address, errors.join(": "))),
        _ => None,
    });
    Ok(FailedRun {
        cut_off: run.outcome != Some(Outcome::Failed),
        run: run.run,
        started: run.started,
        command: run.command,
        step,
    })
}

impl Runs {
    /// Lines for a person; `typed` is how `phoenix-cli` is typed here.
    pub fn lines(&self, typed: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(who) = &self.going_on {
            lines.push(format!("… a run is going on: {who}"));
        }
        if let Some(failed) = &self.failed {
            let how = if failed.cut_off { "was cut off" } else { "failed" };
            let at = failed.started.strftime("%Y-%m-%d %H:%M UTC");
            lines.push(format!("✘ the last run ({}, {at}) {how}", failed.command));
            if let Some((address, error)) = &failed.step {
                let first = error.lines().next().unwrap_or_default();
                lines.push(format!("    {address}: {first}"));
            }
            lines.push(format!("    {typed} apply carries on; {typed} history {} tells all", failed.run));
        }
        lines
    }

    /// The same as JSON.
    pub fn json(&self) -> serde_json::Value {
        let failed = self.failed.as_ref().map(|failed| {
            serde_json::json!({
                "run": failed.run, "started": failed.started, "command": failed.command, "cut_off": failed.cut_off,
                "step": failed.step.as_ref().map(|(address, _)| address),
                "error": failed.step.as_ref().map(|(_, error)| error),
            })
        });
        serde_json::json!({ "going_on": self.going_on, "failed": failed })
    }
}
