//! A run on the screen: bars on a terminal, plain lines elsewhere, JSON lines for programs. All read the same events.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apply::{Event, Outcome, Sink};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::OwoColorize as _;
use plan::Address;
use plan::address::kinds;

use crate::printer::{Printer, hung};

/// What is shown of a run for this printer.
pub fn sink(printer: Printer) -> Arc<dyn Sink> {
    if printer.json {
        Arc::new(JsonLines(printer))
    } else if printer.watched() && !printer.quiet && !printer.verbose {
        Arc::new(Terminal::new(printer))
    } else {
        Arc::new(Plain { printer, scripts: Scripts::default() })
    }
}

/// `1.2 s`, `3 min 20 s`.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..10 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Every event as a line of JSON on standard output.
#[derive(Debug)]
struct JsonLines(Printer);

impl Sink for JsonLines {
    fn take(&self, event: &Event) {
        // Events are plain enums of strings and numbers: they always serialize.
        self.0.data_line(&serde_json::to_string(event).unwrap_or_default());
    }
}

/// Steps that are one script end at once, after the same time: it is said once, at the first of them.
#[derive(Debug, Default)]
struct Scripts(Mutex<Option<(Address, u64)>>);

impl Scripts {
    /// Whether the time of this event is news.
    fn timed(&self, event: &Event) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let this = match event {
            Event::StepDone { address, milliseconds, .. } if address.kind() == kinds::FEATURE => {
                address.host().and_then(plan::Host::address).map(|guest| (guest, *milliseconds))
            }
            // Whatever else is said of a step stands between two scripts.
            _ => None,
        };
        let news = this.is_none() || *last != this;
        *last = this;
        news
    }
}

/// A line for what matters, on standard error.
#[derive(Debug)]
struct Plain {
    printer: Printer,
    scripts: Scripts,
}

impl Sink for Plain {
    fn take(&self, event: &Event) {
        if let Some(line) = lasting_line(event, self.printer, self.scripts.timed(event)) {
            match event {
                // An error is said also to those who want quiet.
                Event::StepFailed { .. } => self.printer.raw_error(format!("{line}\n")),
                _ => self.printer.say(line),
            }
        } else {
            match event {
                Event::StepStarted { address, action } => {
                    self.printer.say(format!("… {address}: {}", action.as_str()));
                }
                Event::Waiting { address, what, limit_seconds } => {
                    self.printer.say(format!("… {address}: waiting for {what} (at most {limit_seconds} s)"));
                }
                _ => {}
            }
        }
    }
}

/// What stays on the screen of an event.
fn lasting_line(event: &Event, printer: Printer, timed: bool) -> Option<String> {
    Some(match event {
        Event::RunStarted { resumes: Some(run), .. } => {
            format!("carrying on after run {run}, which was cut off")
        }
        Event::Changed { address, what } => format!("  {} {address}: {what}", "·".dimmed()),
        Event::Warning { address, what } => format!("{} {address}: {what}", "!".yellow()),
        Event::StepDone { address, what, milliseconds } => {
            let gap = if what.is_empty() { "" } else { "  " };
            let time = if timed { format!("  {}", duration(*milliseconds).dimmed()) } else { String::new() };
            format!("{} {address}{gap}{what}{time}", "✔".green())
        }
        Event::StepFailed { address, code, errors, hint, .. } => {
            let first = foreign::indented(errors.first().map_or("", String::as_str), "    ");
            let mut text = format!("{} {address}: {first}", "✘".red());
            for cause in errors.iter().skip(1).filter(|cause| !cause.is_empty()) {
                text.push_str(&format!("\n    {}", foreign::indented(cause, "    ")));
            }
            if let Some(hint) = hint {
                text.push_str(&format!("\n  {} {}", "hint:".cyan(), hung(&printer.hint(hint))));
            }
            text.push_str(&format!("  {}", format!("[{code}]").dimmed()));
            text
        }
        Event::StepSkipped { address, why } => format!("{} {address}: skipped, {why}", "-".dimmed()),
        Event::Stopping { running } => {
            let names: Vec<_> = running.iter().map(Address::as_str).collect();
            format!(
                "stopping: nothing new is started; waiting for {} (Ctrl-C again to stop at once)",
                names.join(", ")
            )
        }
        Event::RunFinished { outcome, done, failed, skipped, milliseconds } => {
            let word = match outcome {
                Outcome::Done => "done",
                Outcome::Failed => "failed",
                Outcome::Interrupted => "interrupted",
            };
            let mut counts = vec![format!("{done} done")];
            if *failed > 0 {
                counts.push(format!("{failed} failed"));
            }
            if *skipped > 0 {
                counts.push(format!("{skipped} skipped"));
            }
            format!("{word}: {} in {}", counts.join(", "), duration(*milliseconds))
        }
        _ => return None,
    })
}

/// One spinner a running step, and a bar for all of them.
#[derive(Debug)]
struct Terminal {
    printer: Printer,
    bars: MultiProgress,
    scripts: Scripts,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: Option<ProgressBar>,
    running: BTreeMap<Address, ProgressBar>,
}

impl Terminal {
    fn new(printer: Printer) -> Self {
        Self {
            printer,
            bars: MultiProgress::new(),
            scripts: Scripts::default(),
            state: Mutex::new(State::default()),
        }
    }
}

// A spinner's picture changes ten times a second: enough to look alive, little enough for ssh.
const TICK: Duration = Duration::from_millis(100);

fn spinner_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {prefix} {wide_msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn total_style() -> ProgressStyle {
    ProgressStyle::with_template("  [{bar:30.cyan/dim}] {pos}/{len} steps  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

impl Sink for Terminal {
    fn take(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lasting_line(event, self.printer, self.scripts.timed(event))
            && self.bars.println(foreign::screen(&line)).is_err()
        {
            self.printer.say(&line);
        }
        match event {
            Event::RunStarted { steps, .. } => {
                let bar = self.bars.add(ProgressBar::new(steps.len() as u64).with_style(total_style()));
                bar.enable_steady_tick(TICK);
                state.total = Some(bar);
            }
            Event::StepStarted { address, action } => {
                let bar = ProgressBar::new_spinner().with_style(spinner_style());
                let bar = self.bars.insert_from_back(1, bar);
                bar.set_prefix(address.to_string());
                bar.set_message(action.as_str().to_owned());
                bar.enable_steady_tick(TICK);
                state.running.insert(address.clone(), bar);
            }
            Event::Doing { address, what } => {
                if let Some(bar) = state.running.get(address) {
                    bar.set_message(what.clone());
                }
            }
            Event::Waiting { address, what, limit_seconds } => {
                if let Some(bar) = state.running.get(address) {
                    bar.set_message(format!("waiting for {what} (at most {limit_seconds} s)"));
                }
            }
            Event::StepDone { address, .. }
            | Event::StepFailed { address, .. }
            | Event::StepSkipped { address, .. } => {
                if let Some(bar) = state.running.remove(address) {
                    bar.finish_and_clear();
                }
                if let Some(total) = &state.total {
                    total.inc(1);
                }
            }
            Event::RunFinished { .. } => {
                if let Some(total) = state.total.take() {
                    total.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(1234), "1.2 s");
        assert_eq!(duration(12_345), "12 s");
        assert_eq!(duration(200_000), "3 min 20 s");
    }

    #[test]
    fn the_time_of_one_script_is_said_once() {
        let done = |feature: &str, guest: &str, milliseconds| Event::StepDone {
            address: Address::feature(feature, &plan::Host::container(guest)),
            what: "1 action".into(),
            milliseconds,
        };
        let scripts = Scripts::default();
        let events = [
            done("base", "a", 1500),
            done("nginx", "a", 1500),
            done("base", "b", 1500),
            done("x", "b", 2500),
        ];
        let lines: Vec<String> = events
            .iter()
            .filter_map(|event| lasting_line(event, Printer::plain(), scripts.timed(event)))
            .collect();
        let timed: Vec<bool> = lines.iter().map(|line| line.contains(" s")).collect();
        assert_eq!(timed, [true, false, true, true], "{lines:?}");
    }

    #[test]
    fn a_failure_shows_its_causes_once_and_what_to_do() {
        let line = lasting_line(
            &Event::StepFailed {
                address: Address::container("a"),
                code: "x::y".into(),
                errors: vec!["cannot create".into(), "one\ntwo".into()],
                hint: Some("try".into()),
                milliseconds: 1,
            },
            Printer::plain(),
            true,
        )
        .unwrap();
        for part in ["cannot create", "    one", "    two", "try", "x::y"] {
            assert_eq!(line.matches(part).count(), 1, "{part} in {line}");
        }
    }
}
