//! Crews: who carries out steps. The foreman knows nothing of what they do.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use foreign::Untrusted;
use plan::{Address, Step};
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Sink};

/// What came of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// In a few words, e.g. `2 actions`.
    pub what: String,
}

impl Done {
    /// With these words.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .errors.join(": "))]
pub struct Failure {
    /// A stable code, e.g. `proxmox::locked`.
    pub code: String,
    /// What went wrong, with its causes, outermost first; none repeats another.
    pub errors: Vec<String>,
    /// The next thing to do.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure in one sentence.
    pub fn new(code: impl Into<String>, error: impl Into<String>) -> Self {
        Self { code: code.into(), errors: vec![error.into()], hint: None }
    }

    /// From an error and all its causes.
    pub fn from_error(code: impl Into<String>, error: &dyn std::error::Error) -> Self {
        let mut errors = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            errors.push(cause.to_string());
            source = cause.source();
        }
        Self { code: code.into(), errors, hint: None }
    }

    /// With the next thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what the other side said, after the rest; nothing where it said nothing.
    #[must_use]
    pub fn with_output(mut self, words: impl Into<Untrusted>) -> Self {
        let words = words.into();
        if !words.is_blank() {
            self.errors.push(words.into());
        }
        self
    }

    /// With what was being done put before it.
    #[must_use]
    pub fn while_doing(mut self, what: impl Into<String>) -> Self {
        self.errors.insert(0, what.into());
        self
    }
}

/// Reads what a step's crew needs to know.
///
/// # Errors
/// When the plan is of another version.
pub fn work<T: DeserializeOwned>(step: &Step) -> Result<T, Failure> {
    T::deserialize(&step.work).map_err(|error| unreadable(&error))
}

/// The failure of a plan whose steps cannot be read.
pub fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::from_error("apply::plan-unreadable", error).hint("make the plan again with this phoenix-cli")
}

/// What a step holds while it runs, by the name of each hold.
pub(crate) type Held = Arc<Mutex<Vec<(String, OwnedSemaphorePermit)>>>;

/// How a crew tells what it is doing.
#[derive(Debug, Clone)]
pub struct Progress {
    address: Address,
    sink: Arc<dyn Sink>,
    held: Held,
    stop: CancellationToken,
}

impl Progress {
    /// For the step at `address`.
    pub fn new(address: Address, sink: Arc<dyn Sink>) -> Self {
        Self { address, sink, held: Held::default(), stop: CancellationToken::new() }
    }

    /// With what says that a person stops the run.
    #[must_use]
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Ends when a person stops the run: what is only waited for need not be waited for then. What is being done is brought to
    /// its end.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// With what is held while the steps run.
    pub(crate) fn holding(self, held: Held) -> Self {
        Self { held, ..self }
    }

    /// The same for another step of the batch.
    #[must_use]
    pub fn for_step(&self, address: &Address) -> Self {
        Self { address: address.clone(), ..self.clone() }
    }

    /// The rest of the step does without what it holds of this class, so that others need not wait for its end.
    pub fn let_go(&self, class: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(hold, _)| hold.split(':').next() != Some(class));
    }

    /// Something is done now.
    pub fn doing(&self, what: impl Into<String>) {
        self.sink.take(&Event::Doing { address: self.address.clone(), what: what.into() });
    }

    /// Something outside is waited for, at most `limit`.
    pub fn waiting(&self, what: impl Into<String>, limit: Duration) {
        self.sink.take(&Event::Waiting {
            address: self.address.clone(),
            what: what.into(),
            limit_seconds: limit.as_secs(),
        });
    }

    /// Something inside a guest was changed.
    pub fn changed(&self, what: impl Into<String>) {
        self.sink.take(&Event::Changed { address: self.address.clone(), what: what.into() });
    }

    /// Something a person should know.
    pub fn warning(&self, what: impl Into<String>) {
        self.sink.take(&Event::Warning { address: self.address.clone(), what: what.into() });
    }
}

/// Carries out the steps of its kinds.
#[async_trait]
pub trait Crew: Debug + Send + Sync {
    /// The first part of the addresses it is for.
    fn kind(&self) -> &'static str;

    /// Carries out the steps of one batch (one step, mostly), in order, and says for each what came of it. It may be
    /// dropped at any await, and started again later on what is there then: it must converge.
    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>>;
}

/// Carries out steps one after another, up to the first that fails; each with the progress of its own.
pub async fn in_turn<'s, F>(
    steps: &[&'s Step],
    progress: &Progress,
    mut carry_out: impl FnMut(&'s Step, Progress) -> F,
) -> Vec<Result<Done, Failure>>
where
    F: Future<Output = Result<Done, Failure>>,
{
    let mut results = Vec::new();
    for step in steps {
        let result = carry_out(step, progress.for_step(&step.address)).await;
        let failed = result.is_err();
        results.push(result);
        if failed {
            break;
        }
    }
    results
}
