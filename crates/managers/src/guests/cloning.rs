//! Cloning, as it is carried out. A task says what it copies and not what that becomes, so whatever is not known is found out by
//! looking at the guest that is to be: it is never made twice.

use std::time::Duration;

use apply::{Failure, Progress};
use plan::Address;
use proxmox::client::{GuestRef, Pace, TaskEnd, TaskError};
use proxmox::error::ErrorKind;
use tokio::time::Instant;
use transport::Sent;

use super::crew::GuestCrew;
use super::work::{CloneOf, Params};
use crate::settle::{self, Lock, Pauses, failure};

/// Copying the disks of a template: hundreds of GiB on slow ones.
const CLONE: Duration = Duration::from_hours(4);

/// How long a clone may need until it is seen, after an answer that got lost.
const LISTED: Duration = Duration::from_secs(5);

/// How far a guest is that is to be a clone.
enum Far {
    /// There is nothing.
    Nothing,
    /// Somebody makes it.
    UnderWay,
    /// Nobody works on it any more, and it is locked by this.
    Left(String),
    /// It is there, and the site's own.
    Whole,
}

impl GuestCrew {
    /// Has the node clone a guest, or finds that it did already.
    pub(super) async fn clone_from(
        &self,
        address: &Address,
        guest: &GuestRef,
        from: &CloneOf,
        params: &Params,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let what = "cloning it";
        let source = GuestRef::new(&from.node, guest.kind, from.id);
        progress.doing(format!("{what} from {}", from.id));
        let begin = Instant::now();
        let mut lock = Lock::new(&self.site, &source, what, progress);
        let mut pauses = Pauses::up_to(settle::PAUSE);
        // Since when an answer may be that of a clone which is not seen yet, and since when one is left.
        let (mut lost, mut left): (Option<Instant>, Option<Instant>) = (None, None);
        let mut told = false;
        loop {
            match self.far(address, guest, &source).await? {
                Far::Whole => return Ok(()),
                Far::UnderWay if begin.elapsed() > CLONE => {
                    let what = format!("{} is still being cloned from {}", guest.id, from.id);
                    return Err(
                        Failure::new("proxmox::task-slow", what).hint("phoenix-cli apply waits for it again")
                    );
                }
                Far::UnderWay => {
                    if !std::mem::replace(&mut told, true) {
                        progress.waiting(format!("the task that clones {}", from.id), CLONE);
                    }
                    left = None;
                    pauses.pause().await;
                    continue;
                }
                Far::Left(_) if left.get_or_insert_with(Instant::now).elapsed() < settle::LEFT => {
                    pauses.pause().await;
                    continue;
                }
                Far::Left(lock) => return Err(self.half(guest, &lock)),
                Far::Nothing if lost.is_some_and(|since| since.elapsed() < LISTED) => {
                    pauses.pause().await;
                    continue;
                }
                Far::Nothing => left = None,
            }
            let error = match self.site.writer.clone_guest(&source, guest.id, params.clone()).await {
                Ok(upid) => {
                    match self.site.reader().wait_task(&upid, CLONE, Pace::default(), &mut |_| {}).await {
                        Ok(end) => {
                            if let TaskEnd::Warnings(warnings) = end {
                                warnings.into_iter().for_each(|warning| progress.warning(warning));
                            }
                            return Ok(());
                        }
                        // Somebody else holds what is copied, or is quicker.
                        Err(TaskError::Failed { kind, .. })
                            if *kind == ErrorKind::Locked && begin.elapsed() < settle::LOCKED =>
                        {
                            lock.pause().await?;
                            continue;
                        }
                        Err(TaskError::Failed { kind, .. })
                            if *kind == ErrorKind::AlreadyExists && lost.is_some() =>
                        {
                            pauses.pause().await;
                            continue;
                        }
                        Err(error) => return Err(settle::task_failure(what, &error)),
                    }
                }
                Err(error) => error,
            };
            match (error.kind(), error.sent()) {
                (Some(ErrorKind::Locked), _) if begin.elapsed() < settle::LOCKED => drop(lock.pause().await?),
                (Some(ErrorKind::AlreadyExists), _) if begin.elapsed() < settle::UNREACHABLE => {
                    pauses.pause().await;
                }
                (None, Sent::Never) if begin.elapsed() < settle::UNREACHABLE => pauses.pause().await,
                // A refusal that is an error of the node's own is no reason to try for minutes.
                (Some(_), Sent::Maybe) if lost.is_some() => return Err(failure(what, &error)),
                (_, Sent::Maybe) if begin.elapsed() < settle::UNREACHABLE => {
                    progress.warning(format!(
                        "the node's answer got lost while {what}; looking whether it was done"
                    ));
                    lost = Some(Instant::now());
                }
                _ => return Err(failure(what, &error)),
            }
        }
    }

    async fn far(&self, address: &Address, guest: &GuestRef, source: &GuestRef) -> Result<Far, Failure> {
        let look = "looking for the clone";
        let mut found = match settle::find(look, || self.site.reader().config(guest)).await {
            // What is not there yet is in no pool, so a token that ends at one may not even look.
            Err(failure) if failure.code == "proxmox::permission-denied" => None,
            found => found?,
        };
        if found.is_none() && source.node != guest.node {
            // It goes to its node when it is whole.
            let there = GuestRef::new(&source.node, guest.kind, guest.id);
            found = settle::find(look, || self.site.reader().config(&there)).await?;
        }
        let Some(config) = found else { return Ok(Far::Nothing) };
        let Some(lock) = config.get("lock").filter(|lock| ["clone", "create"].contains(&lock.as_str()))
        else {
            // Whatever has its id is the site's own, or is left alone.
            self.site.own(guest.id, Some(address), &config)?;
            return Ok(Far::Whole);
        };
        let tasks = settle::active(self.site.reader(), &source.node).await?;
        Ok(if settle::is_left(lock, guest.id, &tasks) { Far::Left(lock.clone()) } else { Far::UnderWay })
    }

    fn half(&self, guest: &GuestRef, lock: &str) -> Failure {
        let (id, command) = (guest.id, self.command());
        Failure::new("managers::half-made", format!("{id} was left half made: it is locked ({lock}), and no task works on it"))
            .hint(format!(
                "nothing of yours is in it yet; on {}: {command} unlock {id} && {command} destroy {id}, then phoenix-cli apply",
                guest.node
            ))
    }
}
