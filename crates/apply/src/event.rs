//! What happens during a run, as one versioned enum. Everything that shows or records a run reads this stream.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use plan::{Action, Address};
use serde::{Deserialize, Serialize};

/// The version of the events' JSON.
pub const VERSION: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every step succeeded.
    Done,
    /// Some steps failed, or were skipped because of one that did.
    Failed,
    /// A person stopped it.
    Interrupted,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// [`VERSION`].
        version: u32,
        /// The run's id: its time, sortable.
        run: String,
        /// The site.
        site: String,
        /// What was typed, without anything secret.
        command: String,
        /// Who runs it, and on which machine; empty in journals of before this was written.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
        /// The steps to do, in the plan's order.
        steps: Vec<Address>,
        /// An earlier run that was cut off and that this one carries on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumes: Option<String>,
    },
    /// A step begins.
    StepStarted {
        /// The resource.
        address: Address,
        /// What is done.
        action: Action,
    },
    /// A step does something worth showing.
    Doing {
        /// The resource.
        address: Address,
        /// What, as in "creating the container".
        what: String,
    },
    /// A step waits for something outside.
    Waiting {
        /// The resource.
        address: Address,
        /// For what.
        what: String,
        /// At most so many seconds.
        limit_seconds: u64,
    },
    /// A step changed something inside a guest.
    Changed {
        /// The resource.
        address: Address,
        /// What, as in "create /etc/nginx/phoenix.d/notes.conf".
        what: String,
    },
    /// Something a person should know, though the step goes on.
    Warning {
        /// The resource.
        address: Address,
        /// What.
        what: String,
    },
    /// A step succeeded.
    StepDone {
        /// The resource.
        address: Address,
        /// What came of it, in a few words.
        what: String,
        /// How long it took.
        milliseconds: u64,
    },
    /// A step failed.
    StepFailed {
        /// The resource.
        address: Address,
        /// A stable code, e.g. `proxmox::locked`.
        code: String,
        /// What went wrong, with its causes, outermost first.
        errors: Vec<String>,
        /// The next thing to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// How long it took.
        milliseconds: u64,
    },
    /// A step was not tried because one that it needs did not succeed, or the run was stopped.
    StepSkipped {
        /// The resource.
        address: Address,
        /// Why.
        why: String,
    },
    /// A person asked to stop: no new steps begin.
    Stopping {
        /// Steps that still run.
        running: Vec<Address>,
    },
    /// The run ended.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// Steps that succeeded.
        done: usize,
        /// Steps that failed.
        failed: usize,
        /// Steps that were not tried.
        skipped: usize,
        /// How long it took.
        milliseconds: u64,
    },
}

impl Event {
    /// As it may be shown and kept: nothing in it acts on a terminal, and only causes have several lines.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut event = self.clone();
        match &mut event {
            Self::RunStarted { by, .. } => as_line(by),
            Self::StepStarted { .. } | Self::Stopping { .. } | Self::RunFinished { .. } => {}
            Self::Doing { what, .. }
            | Self::Waiting { what, .. }
            | Self::Changed { what, .. }
            | Self::Warning { what, .. }
            | Self::StepDone { what, .. }
            | Self::StepSkipped { why: what, .. } => as_line(what),
            Self::StepFailed { errors, hint, .. } => {
                errors.iter_mut().chain(hint).for_each(as_block);
            }
        }
        event
    }
}

fn as_line(text: &mut String) {
    if let Cow::Owned(shown) = foreign::line(text) {
        *text = shown;
    }
}

fn as_block(text: &mut String) {
    if let Cow::Owned(shown) = foreign::block(text) {
        *text = shown;
    }
}

/// Hands on every event as it may be shown: whatever a crew or another side put into it.
#[derive(Debug)]
pub(crate) struct Shown(pub(crate) Arc<dyn Sink>);

impl Sink for Shown {
    fn take(&self, event: &Event) {
        self.0.take(&event.shown());
    }
}

/// A reader of the stream.
pub trait Sink: Debug + Send + Sync {
    /// Takes an event. It must not block for long: the run waits for it.
    fn take(&self, event: &Event);
}

/// Several readers as one; each gets every event, in order.
#[derive(Debug, Clone, Default)]
pub struct Sinks(Vec<Arc<dyn Sink>>);

impl Sinks {
    /// The readers, the journal first, so that what is shown has been recorded.
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        Self(sinks)
    }
}

impl Sink for Sinks {
    fn take(&self, event: &Event) {
        for sink in &self.0 {
            sink.take(event);
        }
    }
}

/// Keeps all events in memory, for tests and for summaries.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Event>>);

impl Recorder {
    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Sink for Recorder {
    fn take(&self, event: &Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attack: what a guest says is an event's text.
    #[test]
    fn no_event_acts_on_a_terminal_and_only_causes_have_lines() {
        let nasty = || "x\u{1b}]52;c;eA==\u{7}\u{9b}2J\u{202e}\n✔ forged".to_owned();
        let address = Address::container("a");
        let recorder = Arc::new(Recorder::default());
        let sink = Shown(recorder.clone());
        for event in [
            Event::Doing { address: address.clone(), what: nasty() },
            Event::Waiting { address: address.clone(), what: nasty(), limit_seconds: 1 },
            Event::Changed { address: address.clone(), what: nasty() },
            Event::Warning { address: address.clone(), what: nasty() },
            Event::StepDone { address: address.clone(), what: nasty(), milliseconds: 1 },
            Event::StepSkipped { address: address.clone(), why: nasty() },
        ] {
            sink.take(&event);
        }
        for event in recorder.events() {
            let text = serde_json::to_string(&event).unwrap();
            assert!(!text.contains(foreign::is_hidden), "{text}");
            assert!(text.contains("\\\\u{1b}]52") && text.contains("\\\\n✔ forged"), "{text}");
        }
        let failed = Event::StepFailed {
            address,
            code: "x::y".into(),
            errors: vec![nasty(), nasty()],
            hint: Some(nasty()),
            milliseconds: 1,
        };
        let Event::StepFailed { errors, hint, .. } = failed.shown() else { panic!("another event") };
        for text in errors.iter().chain(&hint) {
            assert_eq!(text, "x\\u{1b}]52;c;eA==\\u{7}\\u{9b}2J\\u{202e}\n✔ forged");
        }
    }
}
