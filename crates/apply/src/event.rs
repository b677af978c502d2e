//! What happens during a run, as one versioned enum. Everything that shows or records a run reads this stream.

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
