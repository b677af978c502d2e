//! Waiting for tasks, within a bound.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{LogLine, Reader, TaskStatus, path};
use crate::error::{Error, ErrorKind};
use crate::upid::Upid;

/// How many lines of a log one call brings. The API's own default of 50 cuts the end off.
const LOG_PAGE: usize = 500;

/// How many lines of a log are read at most: a task that says more is read from its end, where the error is.
const LOG_MOST: usize = 20_000;

/// How many of a failed task's last lines go into its error.
const LOG_TAIL: usize = 15;

/// How long a task's status may be unknown after its creation: the node answers 400 until the worker has registered
/// (seen by others, see bpg/terraform-provider-proxmox, `proxmox/nodes/tasks/tasks.go`).
const REGISTRATION: Duration = Duration::from_secs(5);

/// How long reading the log of a task that has ended may take. It only explains; the outcome is known without it.
const LOG_LIMIT: Duration = Duration::from_secs(15);

/// How often a task is asked after: soon at first, since most take under a second, then less and less often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first pause.
    pub first: Duration,
    /// The longest pause; each is half as long again as the one before.
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_millis(25), longest: Duration::from_secs(1) }
    }
}

impl Pace {
    fn next(self, pause: Duration) -> Duration {
        (pause * 3 / 2).min(self.longest)
    }
}

/// What is known each time a task was asked after.
#[derive(Debug)]
pub struct Tick<'a> {
    /// The task.
    pub upid: &'a Upid,
    /// How long it has been waited for.
    pub elapsed: Duration,
    /// Why asking failed this time, when it did.
    pub trouble: Option<&'a Error>,
}

/// How a task ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// Without a word.
    Ok,
    /// With warnings: a success all the same.
    Warnings(Vec<String>),
}

/// A task that did not end well, or was not seen to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It failed.
    #[error("the task {} {} failed: {exit}", upid.kind, upid.about())]
    Failed {
        /// The task.
        upid: Upid,
        /// What it ended with.
        exit: String,
        /// What that means.
        kind: Box<ErrorKind>,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// It was still running when the time was up. It goes on running.
    #[error("the task {} {} still runs after {limit:?}", upid.kind, upid.about())]
    TimedOut {
        /// The task.
        upid: Upid,
        /// The limit.
        limit: Duration,
        /// The last lines of its log, when they could be had.
        log: Vec<String>,
    },
    /// Nobody would say how it is doing. It may well go on running.
    #[error("lost sight of the task {} {}", upid.kind, upid.about())]
    Lost {
        /// The task.
        upid: Upid,
        /// The last answer.
        #[source]
        source: Error,
    },
}

impl TaskError {
    /// The next command to run.
    pub fn hint(&self) -> String {
        match self {
            Self::Failed { upid, kind, .. } => {
                kind.hint().unwrap_or_else(|| format!("the whole log, on the node: pvenode task log {upid}"))
            }
            Self::TimedOut { upid, .. } | Self::Lost { upid, .. } => {
                format!("how it is doing, on the node: pvenode task status {upid}")
            }
        }
    }

    /// The last lines of its log.
    pub fn log(&self) -> &[String] {
        match self {
            Self::Failed { log, .. } | Self::TimedOut { log, .. } => log,
            Self::Lost { .. } => &[],
        }
    }
}

/// Whether asking again may help.
fn passing(error: &Error, elapsed: Duration) -> bool {
    match error {
        Error::Exchange(error) => !matches!(error, crate::exchange::ExchangeError::Certificate { .. }),
        Error::Answer { .. } => true,
        Error::Api(error) => match error.kind {
            ErrorKind::Unreachable | ErrorKind::ServerError => true,
            ErrorKind::NotFound | ErrorKind::InvalidParameters(_) => elapsed < REGISTRATION,
            _ => false,
        },
    }
}

impl Reader {
    /// A task's status.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn task_status(&self, upid: &Upid) -> Result<TaskStatus, Error> {
        self.read(path(["nodes", &upid.node, "tasks", upid.as_str(), "status"]), &[]).await
    }

    /// Lines of a task's log from `start` (counted from 0), at most `limit` of them.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn task_log(&self, upid: &Upid, start: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        let (start, limit) = (start.to_string(), limit.to_string());
        let params = [("start", &*start), ("limit", &*limit)];
        self.read(path(["nodes", &upid.node, "tasks", upid.as_str(), "log"]), &params).await
    }

    /// The whole log of a task, page by page.
    ///
    /// # Errors
    /// As [`Reader::version`].
    pub async fn whole_task_log(&self, upid: &Upid) -> Result<Vec<String>, Error> {
        let mut lines = Vec::new();
        while lines.len() < LOG_MOST {
            let page = self.task_log(upid, lines.len(), LOG_PAGE).await?;
            let got = page.len();
            lines.extend(page.into_iter().map(|line| line.t));
            if got < LOG_PAGE {
                break;
            }
        }
        Ok(lines)
    }

    /// The log as far as it can be had in a short time, for an explanation.
    async fn log_for_words(&self, upid: &Upid) -> Vec<String> {
        match timeout(LOG_LIMIT, self.whole_task_log(upid)).await {
            Ok(Ok(lines)) => lines.into_iter().filter(|line| !line.trim().is_empty()).collect(),
            Ok(Err(error)) => vec![format!("(the log could not be read: {error})")],
            Err(_) => vec![format!("(the log could not be read within {LOG_LIMIT:?})")],
        }
    }

    /// Waits until a task has ended, at most for `limit`, and calls `tick` each time it was asked after.
    ///
    /// A node that cannot be asked for a while is asked again as long as there is time: only the asking is repeated.
    ///
    /// # Errors
    /// When the task failed (with its log's last lines), when the time was up, or when the node will not say.
    pub async fn wait_task(
        &self,
        upid: &Upid,
        limit: Duration,
        pace: Pace,
        tick: &mut (dyn for<'a> FnMut(Tick<'a>) + Send),
    ) -> Result<TaskEnd, TaskError> {
        let started = Instant::now();
        let mut pause = pace.first;
        let mut trouble = None;
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match timeout(left, self.task_status(upid)).await {
                Err(_) => {}
                Ok(Ok(status)) if status.status == "stopped" => {
                    let exit = status.exitstatus.unwrap_or_else(|| "no exit status".to_owned());
                    return self.ended(upid, exit).await;
                }
                Ok(Ok(_)) => trouble = None,
                Ok(Err(error)) if passing(&error, started.elapsed()) => trouble = Some(error),
                Ok(Err(source)) => return Err(TaskError::Lost { upid: upid.clone(), source }),
            }
            let elapsed = started.elapsed();
            tick(Tick { upid, elapsed, trouble: trouble.as_ref() });
            if elapsed >= limit {
                return Err(match trouble {
                    Some(source) => TaskError::Lost { upid: upid.clone(), source },
                    None => {
                        let log = tail(&self.log_for_words(upid).await);
                        TaskError::TimedOut { upid: upid.clone(), limit, log }
                    }
                });
            }
            sleep(pause.min(limit - elapsed)).await;
            pause = pace.next(pause);
        }
    }

    async fn ended(&self, upid: &Upid, exit: String) -> Result<TaskEnd, TaskError> {
        if exit == "OK" {
            return Ok(TaskEnd::Ok);
        }
        let log = self.log_for_words(upid).await;
        if exit.starts_with("WARNINGS:") {
            let warning = |line: &String| {
                let text = line.trim_start();
                text.strip_prefix("WARN:")
                    .or_else(|| text.strip_prefix("WARNING:"))
                    .map(|text| text.trim().to_owned())
            };
            return Ok(TaskEnd::Warnings(log.iter().filter_map(warning).collect()));
        }
        let kind = ErrorKind::of_words(&exit)
            .or_else(|| log.iter().rev().find_map(|line| ErrorKind::of_words(line)))
            .unwrap_or(ErrorKind::ServerError);
        Err(TaskError::Failed { upid: upid.clone(), exit, kind: Box::new(kind), log: tail(&log) })
    }
}

fn tail(log: &[String]) -> Vec<String> {
    log[log.len().saturating_sub(LOG_TAIL)..].to_vec()
}
