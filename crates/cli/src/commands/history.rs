//! `history`: earlier runs, from their journals.

use apply::journal::{self, JournalError};
use apply::{Event, Outcome as RunOutcome};

use crate::args::{Global, History};
use crate::error::{CommandError, Outcome};
use crate::printer::Printer;
use crate::progress;

/// Lists the runs, or shows one.
pub fn run(global: &Global, options: &History, printer: Printer) -> Outcome {
    let folder = site::runs(&site::folder(&global.site)?);
    let wrong = |e: JournalError| {
        let hint =
            matches!(e, JournalError::NoSuchRun { .. }).then(|| "phoenix-cli history lists them".to_owned());
        CommandError::from_error("history::journal", &e).hint_if(hint)
    };
    if let Some(run) = &options.run {
        for entry in journal::read(&folder, run).map_err(wrong)? {
            if printer.json {
                printer.data_line(&serde_json::to_string(&entry).unwrap_or_default());
            } else {
                printer.data(format!(
                    "{}  {}",
                    entry.at.strftime("%H:%M:%S%.3f"),
                    foreign::line(&words(&entry.event))
                ));
            }
        }
        return Ok(0);
    }
    let runs = journal::history(&folder).map_err(wrong)?;
    if printer.json {
        printer.data_json(&serde_json::json!({ "runs": runs }));
        return Ok(0);
    }
    if runs.is_empty() {
        printer.say("nothing has been applied from here yet");
        return Ok(0);
    }
    let width = runs.iter().map(|run| run.by.chars().count()).max().unwrap_or_default();
    for run in runs {
        let (word, took) = match (run.outcome, run.milliseconds) {
            (Some(RunOutcome::Done), Some(ms)) => ("done", progress::duration(ms)),
            (Some(RunOutcome::Failed), Some(ms)) => ("failed", progress::duration(ms)),
            (Some(RunOutcome::Interrupted), Some(ms)) => ("interrupted", progress::duration(ms)),
            _ => ("cut off", String::new()),
        };
        printer.data(format!(
            "{}  {word:<11} {:>3}/{:<3} steps  {took:>10}  {:<width$}  {}",
            run.run,
            run.done,
            run.steps,
            foreign::line(&run.by),
            foreign::line(&run.command)
        ));
    }
    Ok(0)
}

fn words(event: &Event) -> String {
    match event {
        Event::RunStarted { command, by, steps, .. } => {
            let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
            format!("run started{by}: {command}, {} steps", steps.len())
        }
        Event::StepStarted { address, action } => format!("{address}: {} started", action.as_str()),
        Event::Doing { address, what } => format!("{address}: {what}"),
        Event::Waiting { address, what, .. } => format!("{address}: waiting for {what}"),
        Event::Changed { address, what } => format!("{address}: {what}"),
        Event::Warning { address, what } => format!("{address}: warning: {what}"),
        Event::StepDone { address, what, .. } => format!("{address}: done {what}"),
        Event::StepFailed { address, errors, .. } => format!("{address}: failed: {}", errors.join(": ")),
        Event::StepSkipped { address, why } => format!("{address}: skipped, {why}"),
        Event::Stopping { .. } => "stopping".to_owned(),
        Event::RunFinished { done, failed, skipped, .. } => {
            format!("run finished: {done} done, {failed} failed, {skipped} skipped")
        }
        _ => String::new(),
    }
}
