//! Telling what is run: a decorator around any [`Runner`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{Command, Error, Held, Output, Runner, Stream};

/// The target of the events that tell of calls: to the API, and of commands. Their fields: `what`, `took` (milliseconds,
/// a decimal), `bytes` of the answer, and `outcome` in words.
pub const CALL: &str = "phoenix.call";

/// The target of the events whose field `line` is a whole exchange as JSON, in the form of recordings. Nothing is masked
/// in it yet.
pub const RECORD: &str = "phoenix.record";

/// Tells of every command: what it was for, how long it took, the size of its output, how it ended. Never its standard
/// input, which may hold secrets.
#[derive(Debug, Clone)]
pub struct Traced(Arc<dyn Runner>);

impl Traced {
    /// The same place, told of.
    pub fn new(runner: Arc<dyn Runner>) -> Self {
        Self(runner)
    }

    fn tell(&self, command: &Command, begun: Instant, result: Result<&Output, &Error>) {
        let what = format!("{} on {}", command.purpose, self.0.place());
        let (bytes, outcome) = match result {
            Ok(output) => (output.stdout.len() + output.stderr.len(), format!("exit {}", output.status)),
            Err(error) => (0, error.to_string()),
        };
        log_exchange(&what, begun, bytes, &outcome);
        if tracing::enabled!(target: RECORD, tracing::Level::TRACE) {
            let line = match result {
                Ok(output) => serde_json::json!({
                    "argv": command.argv,
                    "exit": output.status,
                    "stdout": output.text(),
                    "stderr": String::from_utf8_lossy(&output.stderr),
                }),
                Err(error) => serde_json::json!({ "scenario": format!("{what}: {error}") }),
            };
            tracing::trace!(target: RECORD, line = %line);
        }
    }
}

/// Tells of one call, begun then.
pub fn log_exchange(what: &str, begun: Instant, bytes: usize, outcome: &str) {
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    tracing::info!(target: CALL, what, took, bytes = bytes as u64, outcome);
}

#[async_trait]
impl Runner for Traced {
    async fn run_lines(
        &self,
        command: &Command,
        line: &mut (dyn for<'a> FnMut(&'a str) + Send),
    ) -> Result<Output, Error> {
        let begun = Instant::now();
        let result = self.0.run_lines(command, line).await;
        self.tell(command, begun, result.as_ref());
        result
    }

    async fn hold(&self, command: &Command) -> Result<Result<(String, Box<dyn Held>), Output>, Error> {
        let begun = Instant::now();
        let result = self.0.hold(command).await;
        match &result {
            Ok(Ok((first, _))) => {
                let said = Output { stdout: format!("{first}\n").into(), ..Output::default() };
                self.tell(command, begun, Ok(&said));
            }
            Ok(Err(output)) => self.tell(command, begun, Ok(output)),
            Err(error) => self.tell(command, begun, Err(error)),
        }
        result
    }

    async fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, Error> {
        let begun = Instant::now();
        let result = self.0.connect(host, port, limit).await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |_| "connected".to_owned());
        log_exchange(&format!("connecting to {host}:{port} through {}", self.0.place()), begun, 0, &outcome);
        result
    }

    async fn fresh(&self) -> Result<(), Error> {
        let begun = Instant::now();
        let result = self.0.fresh().await;
        let outcome = result.as_ref().map_or_else(ToString::to_string, |()| "connected".to_owned());
        log_exchange(&format!("{} to {}", crate::FRESH, self.0.place()), begun, 0, &outcome);
        result
    }

    fn place(&self) -> String {
        self.0.place()
    }
}
