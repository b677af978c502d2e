//! `logs`: a guest's journal, as it comes.

use std::time::Duration;

use transport::{Command, Runner as _};

use crate::args::{self, Global};
use crate::commands::guests::{find, no_way};
use crate::error::{CommandError, ErrorKind, Outcome, already_reported};
use crate::printer::Printer;

/// What has been written already is there within this.
const PAST: Duration = Duration::from_mins(2);

/// Longer than anybody watches.
const FOLLOW: Duration = Duration::from_hours(24 * 30);

/// Prints the journal of a guest, or of a unit in it.
pub async fn run(global: &Global, options: &args::Logs, printer: Printer) -> Outcome {
    let (connection, id) = find(global, &options.guest, printer).await?;
    if connection.simulated() {
        return Err(CommandError::failed(
            "lab::simulated",
            "the lab is simulated: nothing runs in it, so there is no journal",
        )
        .hint("phoenix-cli history shows what was done there"));
    }
    let guest = connection.ways.guest(id).map_err(|_| no_way())?;
    let mut argv = vec![
        "journalctl".to_owned(),
        "--quiet".into(),
        "--no-pager".into(),
        format!("--lines={}", options.lines),
    ];
    argv.extend(options.unit.iter().map(|unit| format!("--unit={unit}")));
    argv.extend(options.since.iter().map(|since| format!("--since={since}")));
    if printer.json {
        argv.push("--output=json".into());
    }
    if options.follow {
        argv.push("--follow".into());
    }
    let limit = if options.follow { FOLLOW } else { PAST };
    let command = Command::new(format!("reading the journal of {id}"), argv).limit(limit).streamed();
    let mut line = |text: &str| match printer.json {
        true => printer.data_line(text),
        false => printer.others_line(text),
    };
    let result = tokio::select! {
        result = guest.run_lines(&command, &mut line) => result,
        _ = tokio::signal::ctrl_c() => {
            connection.close().await;
            return Err(already_reported(ErrorKind::Interrupted));
        }
    };
    connection.close().await;
    let output = result.map_err(|e| CommandError::from_error("transport::failed", &e))?;
    if output.success() {
        return Ok(0);
    }
    Err(CommandError::failed("logs::failed", output.tail(3))
        .hint(format!("phoenix-cli exec {} -- systemctl list-units --type service", options.guest)))
}
