//! A guest becomes a template: what must not be the same in each of its clones is taken out of it, it is stopped, and the node
//! converts it. It converges from wherever it was cut off; a template is left as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use apply::{Done, Failure, Progress};
use plan::{Address, GuestKind};
use proxmox::client::{GuestRef, Pace, TaskError};
use proxmox::error::ErrorKind;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use transport::{Command, Sent};

use super::crew::GuestCrew;
use super::work::WaitsFor;
use super::{entry, table};
use crate::settle::{self, Lock, Pauses, failure};

/// Forgets who it is: keys of ssh, the machine's id, what a first start begins with.
const FORGET: &str = include_str!("forget.sh");

/// How long converting it may take: volumes are renamed, or become snapshots.
const CONVERT: Duration = Duration::from_mins(10);

/// The instruction of a step: a guest that becomes a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Golden {
    /// The guest.
    pub guest: Address,
    /// Its id.
    pub id: u32,
    /// The node it is on.
    pub node: String,
    /// Its kind.
    pub kind: GuestKind,
    /// Whether commands get into it, and it is made to forget who it is.
    pub forgets: bool,
    /// How it is entered, which is waited for first.
    #[serde(default, skip_serializing_if = "WaitsFor::is_nothing")]
    pub waits_for: WaitsFor,
}

impl GuestCrew {
    /// Makes a template of it.
    pub(crate) async fn become_template(
        &self,
        golden: &Golden,
        progress: &Progress,
    ) -> Result<Done, Failure> {
        let mut guest = GuestRef::new(&golden.node, self.kind(), golden.id);
        let look = "looking at what is to be a template";
        let found = settle::find(look, || self.site.reader().config(&guest)).await?;
        let config = match found {
            Some(config) => config,
            None => {
                let there = self.site.moved(&guest).await?.ok_or_else(|| {
                    Failure::new("proxmox::not-found", format!("{} is not there", golden.id))
                        .hint("phoenix-cli plan")
                })?;
                guest = there;
                settle::read(look, || self.site.reader().config(&guest)).await?
            }
        };
        self.site.own(golden.id, Some(&golden.guest), &config)?;
        if is_template(&config) {
            return Ok(Done::new(format!("{} is a template already", golden.id)));
        }
        self.at(&guest);
        if golden.forgets {
            if !self.running(&guest).await? {
                self.start(&guest, progress).await?;
            }
            self.forget_itself(&guest, golden.waits_for, progress).await?;
        }
        if self.running(&guest).await? {
            self.stop(&guest, progress).await?;
        }
        self.convert(&guest, progress).await?;
        Ok(Done::new(format!("{} is a template", golden.id)))
    }

    async fn forget_itself(
        &self,
        guest: &GuestRef,
        way: WaitsFor,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let what = "making it forget who it is";
        entry::is_up(&self.site, guest.id, way, progress).await?;
        progress.doing(what);
        let inside = self.site.inside(guest.id)?;
        // Twice is the same as once.
        let command = Command::new(what, ["sh", "-s"]).stdin(FORGET).limit(Duration::from_mins(5));
        let begin = Instant::now();
        let mut pauses = Pauses::up_to(settle::PAUSE);
        let output = loop {
            match settle::command(&inside, &command).await {
                Ok(output) => break output,
                // It was only just started.
                Err(_) if begin.elapsed() < settle::UNREACHABLE => pauses.pause().await,
                Err(failure) => return Err(failure),
            }
        };
        if output.success() {
            return Ok(());
        }
        Err(Failure::new("guest::refused", format!("failed while {what}"))
            .with_output(output.tail(8))
            .hint(format!("phoenix-cli shell {}", guest.id)))
    }

    async fn convert(&self, guest: &GuestRef, progress: &Progress) -> Result<(), Failure> {
        let what = "making it a template";
        progress.doing(what);
        let begin = Instant::now();
        let mut lock = Lock::new(&self.site, guest, what, progress);
        let mut pauses = Pauses::up_to(settle::PAUSE);
        let mut asked: Option<Instant> = None;
        loop {
            let config = settle::read(what, || self.site.reader().config(guest)).await?;
            if is_template(&config) {
                return Ok(());
            }
            // A container's task is one that the answer does not name.
            if let Some(since) = asked {
                if self.converts(guest).await? {
                    pauses.pause().await;
                    continue;
                }
                if since.elapsed() > settle::LEFT {
                    return Err(self.not_converted(guest).await);
                }
            }
            if begin.elapsed() > CONVERT {
                return Err(self.not_converted(guest).await);
            }
            if asked.is_some_and(|since| since.elapsed() < settle::LEFT) {
                pauses.pause().await;
                continue;
            }
            let error = match self.site.writer.make_template(guest).await {
                Ok(None) => {
                    asked = Some(Instant::now());
                    continue;
                }
                Ok(Some(upid)) => {
                    match self.site.reader().wait_task(&upid, CONVERT, Pace::default(), &mut |_| {}).await {
                        Ok(_) => asked = Some(Instant::now()),
                        Err(TaskError::Failed { kind, .. })
                            if *kind == ErrorKind::Locked && begin.elapsed() < settle::LOCKED =>
                        {
                            lock.pause().await?;
                        }
                        Err(error) => return Err(settle::task_failure(what, &error)),
                    }
                    continue;
                }
                Err(error) => error,
            };
            match (error.kind(), error.sent()) {
                (Some(ErrorKind::Locked), _) if begin.elapsed() < settle::LOCKED => drop(lock.pause().await?),
                (None, Sent::Never) if begin.elapsed() < settle::UNREACHABLE => pauses.pause().await,
                (None, Sent::Maybe) if begin.elapsed() < settle::UNREACHABLE => asked = Some(Instant::now()),
                _ => return Err(failure(what, &error)),
            }
        }
    }

    /// Whether a task converts it.
    async fn converts(&self, guest: &GuestRef) -> Result<bool, Failure> {
        let tasks = settle::active(self.site.reader(), &guest.node).await?;
        Ok(tasks.iter().any(|task| task.kind.ends_with("template") && settle::works_on(task, guest.id)))
    }

    /// Why it is no template, by what its last task said.
    async fn not_converted(&self, guest: &GuestRef) -> Failure {
        let tasks = self.site.reader().tasks(&guest.node, Some(guest.id)).await.unwrap_or_default();
        let last = tasks.into_iter().find(|task| task.kind.ends_with("template"));
        let said = last.and_then(|task| task.status).unwrap_or_default();
        Failure::new("managers::no-template", format!("{} did not become a template", guest.id))
            .with_output(said)
            .hint(format!("on the node: {} template {}", self.command(), guest.id))
    }
}

fn is_template(config: &BTreeMap<String, String>) -> bool {
    config.get("template").is_some_and(|on| on == "1")
}

/// The crew of a golden guest's kind.
pub(crate) fn crew(site: &std::sync::Arc<crate::worksite::Worksite>, kind: GuestKind) -> GuestCrew {
    GuestCrew::new(site.clone(), table::of_kind(kind))
}
