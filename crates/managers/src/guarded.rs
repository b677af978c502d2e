//! A change of the node that may cut the way to it: written with a guard ([`proxmox::guard`]), proven by a new connection, and
//! taken back by the node itself when none gets through (P-20). The firewall and the node's network are changed so.

use std::time::Duration;

use apply::{Failure, Progress};
use proxmox::guard::{self, Applied, Confirmed, FileChange, Guard};
use tokio::time::Instant;
use transport::{Command, Output, Runner};

use crate::settle;
use crate::worksite::Worksite;

/// How often a new connection is tried before it counts as cut.
const TRIES: u32 = 2;

/// What is changed so, in words.
pub(crate) struct Guarded {
    pub guard: &'static Guard,
    /// How long the node waits for the word that all is well before it puts the old files back.
    pub wait: Duration,
    /// How long another site's change may need to be confirmed, or to be taken back.
    pub busy: Duration,
    /// `the firewall`.
    pub what: &'static str,
    /// `rules`: what is old or new.
    pub things: &'static str,
    pub codes: Codes,
    /// What to do when no new connection gets through.
    pub cut_hint: &'static str,
    /// What to do when the node cannot change the files.
    pub failed_hint: &'static str,
}

/// The codes of what goes wrong.
pub(crate) struct Codes {
    pub modified: &'static str,
    pub busy: &'static str,
    pub cut: &'static str,
    pub failed: &'static str,
    pub refused: &'static str,
}

impl Guarded {
    /// Writes the files, has `proven` look whether they are in force, makes new connections, and only then has the new ones stay.
    pub(crate) async fn change(
        &self,
        site: &Worksite,
        node: &dyn Runner,
        (files, about): (&[FileChange], &[String]),
        progress: &Progress,
        proven: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let token = self.write(site, node, (files, about), progress).await?;
        let all = async {
            proven.await?;
            self.get_through(site, node, progress).await
        };
        if let Err(failure) = all.await {
            return Err(self.take_back(node, &token, failure).await);
        }
        match self.understood(node, &self.guard.confirm(&token), guard::confirmed).await {
            Ok(Confirmed::Yes) => Ok(()),
            Ok(Confirmed::Restored) => Err(Failure::new(
                self.codes.cut,
                format!(
                    "the node was not told within {} s that all is well: the old {} are back",
                    self.wait.as_secs(),
                    self.things
                ),
            )
            .hint("phoenix-cli apply tries again")),
            Err(failure) => Err(self.take_back(node, &token, failure).await),
        }
    }

    /// Writes the files, with the guard armed.
    async fn write(
        &self,
        site: &Worksite,
        node: &dyn Runner,
        (files, about): (&[FileChange], &[String]),
        progress: &Progress,
    ) -> Result<String, Failure> {
        let command = self.guard.apply(&site.site, files, self.wait, about);
        let begin = Instant::now();
        let mut pauses = settle::Pauses::up_to(settle::PAUSE);
        let mut waited = false;
        loop {
            match self.understood(node, &command, guard::applied).await? {
                Applied::Armed(token) => return Ok(token),
                Applied::Refused(said) => {
                    return Err(Failure::new(
                        self.codes.refused,
                        format!(
                            "the new {} could not be brought into force: the old ones are back",
                            self.things
                        ),
                    )
                    .with_output(said)
                    .hint(self.failed_hint));
                }
                Applied::Modified(name) => {
                    return Err(Failure::new(
                        self.codes.modified,
                        format!("somebody changed {name} since the plan was made; nothing was written"),
                    )
                    .hint("phoenix-cli plan shows what is there now"));
                }
                Applied::Busy(_) if begin.elapsed() < self.busy => {
                    if !waited {
                        let what = format!("another site's change of {} to be confirmed", self.what);
                        progress.waiting(what, self.busy);
                        waited = true;
                    }
                    pauses.pause().await;
                }
                Applied::Busy(site) => {
                    return Err(Failure::new(
                        self.codes.busy,
                        format!("a change of the site `{site}` waits to be confirmed, and keeps waiting"),
                    )
                    .hint("end the other run, then phoenix-cli apply"));
                }
            }
        }
    }

    /// The proof: new connections, to ssh and to the API.
    async fn get_through(
        &self,
        site: &Worksite,
        node: &dyn Runner,
        progress: &Progress,
    ) -> Result<(), Failure> {
        progress.doing("making new connections to the node");
        let mut last = None;
        for _ in 0..TRIES {
            let ssh =
                node.fresh().await.map_err(|e| settle::transport_failure("making a new ssh connection", &e));
            let both = match ssh {
                Ok(()) => {
                    let api = site.reader().fresh().await;
                    api.map_err(|e| settle::failure("making a new connection to the API", &e))
                }
                Err(failure) => Err(failure),
            };
            match both {
                Ok(()) => return Ok(()),
                Err(failure) => last = Some(failure),
            }
        }
        let cause = last.map(|failure| failure.errors).unwrap_or_default();
        let message = format!("with the new {} no new connection gets to the node", self.things);
        let mut failure = Failure::new(self.codes.cut, message);
        failure.errors.extend(cause);
        Err(failure.hint(self.cut_hint))
    }

    /// Runs a command that may be run again, until its answer can be read.
    async fn understood<T>(
        &self,
        node: &dyn Runner,
        command: &Command,
        read: fn(&Output) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let mut said = String::new();
        let mut pauses = settle::Pauses::up_to(settle::PAUSE);
        // An answer that was cut off is asked for again; what fails three times fails for good.
        for _ in 0..3 {
            match read(&settle::command(node, command).await?) {
                Ok(answer) => return Ok(answer),
                Err(words) => said = words,
            }
            pauses.pause().await;
        }
        Err(Failure::new(self.codes.failed, format!("the node failed while {}", self.guard.purpose))
            .with_output(said)
            .hint(self.failed_hint))
    }

    /// Has the old files put back now, over the connection that is still there; the node does it by itself otherwise.
    async fn take_back(&self, node: &dyn Runner, token: &str, mut failure: Failure) -> Failure {
        let cancel = self.guard.cancel(token);
        let limit = if self.guard.reload.is_empty() { Duration::from_secs(10) } else { self.guard.limit };
        let back = node.run(&cancel.limit(limit)).await.ok();
        let back = back.and_then(|output| guard::confirmed(&output).ok());
        failure.errors.push(match back {
            Some(Confirmed::Restored) => format!("the old {} are back", self.things),
            // It cannot be, since it was never confirmed.
            Some(Confirmed::Yes) => format!("the new {} stay: they were confirmed", self.things),
            None => format!("the node puts the old {} back within {} s", self.things, self.wait.as_secs()),
        });
        failure
    }
}
