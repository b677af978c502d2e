//! Getting a call to the node through: what never arrived is sent again, what may have arrived is looked at first, and
//! once there is a task it is only waited for (T-3, T-17; every external call may be lost on the way there or back).

use std::collections::BTreeMap;
use std::time::Duration;

use apply::{Failure, Progress};
use proxmox::Upid;
use proxmox::client::{GuestRef, Pace, Reader, TaskEnd, TaskEntry, TaskError};
use proxmox::config::GuestKind;
use proxmox::error::{Error, ErrorKind};
use tokio::time::{Instant, sleep};
use transport::{Command, Output, Runner, Sent};

use crate::guests::refused::never;
use crate::privileges;
use crate::worksite::Worksite;

/// How long an unreachable node is tried again: a reboot of pveproxy or a switch takes less; a person who pulled the
/// cable wants to know soon.
pub const UNREACHABLE: Duration = Duration::from_secs(60);

/// How long a guest's lock is waited for: a backup or another person's task may hold it (T-3).
pub const LOCKED: Duration = Duration::from_mins(10);

/// How long a change of a virtual machine's configuration may take, which may make a disk.
const CHANGE: Duration = Duration::from_mins(10);

/// How long a lock is waited for that no task works under: one that is about to begin is listed by then.
pub const LEFT: Duration = Duration::from_secs(10);

/// The code of a refusal because something is not there.
pub(crate) const NOT_FOUND: &str = "proxmox::not-found";
/// The code of a failure because the node does not answer at all.
pub const NO_ANSWER: &str = "proxmox::unreachable";

/// The longest pause between two tries.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Pauses between looking whether something has come: short at first, since most of it is there in no time, then twice as
/// long each time.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Until they are `longest`.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self { next: Duration::from_millis(25).min(longest), longest }
    }

    /// The next one.
    pub(crate) async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

/// How long a task may need until it is listed, after an answer that got lost.
const LISTED: Duration = Duration::from_secs(5);

/// What is known of something that may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It has happened.
    Done,
    /// It has not.
    NotDone,
}

/// A failure from an error of the client, with its stable code.
pub fn failure(what: &str, error: &Error) -> Failure {
    let code = match error {
        Error::Exchange(proxmox::exchange::ExchangeError::NeverSent { .. }) => NO_ANSWER,
        Error::Exchange(proxmox::exchange::ExchangeError::Certificate { .. }) => "proxmox::certificate",
        Error::Exchange(_) => "proxmox::answer-lost",
        Error::Api(api) => code_of(&api.kind),
        _ => "proxmox::answer-unreadable",
    };
    Failure::from_error(code, error)
        .while_doing(format!("failed while {what}"))
        .hint(hint(code, unnamed(error).or_else(|| error.hint())))
}

/// What is lacking where the node refuses without a word of it.
fn unnamed(error: &Error) -> Option<String> {
    let Error::Api(api) = error else { return None };
    let takes = match api.kind {
        ErrorKind::PermissionDenied { privilege: None, .. } => privileges::taken_by(&api.request)?,
        _ => return None,
    };
    Some(format!("the token and its user need for it: {takes}"))
}

/// A hint that names the next command: what the client knows, and where a person looks on.
fn hint(code: &str, known: Option<String>) -> String {
    let next = match code {
        NO_ANSWER
        | "proxmox::certificate"
        | "proxmox::unauthorized"
        | "proxmox::permission-denied"
        | "proxmox::root-only"
        | "proxmox::node-unreachable"
        | "proxmox::answer-unreadable" => "phoenix-cli doctor tries every hop",
        "proxmox::not-found" | "proxmox::already-exists" | "proxmox::modified" | "proxmox::protected" => {
            "phoenix-cli plan shows what is there now"
        }
        _ => "phoenix-cli apply tries again",
    };
    known.map_or_else(|| next.to_owned(), |known| format!("{known}; {next}"))
}

/// A failure from an error on the way to a command on the node.
pub fn transport_failure(what: &str, error: &transport::Error) -> Failure {
    let known = match error {
        transport::Error::Connect { hint, .. } => hint.clone(),
        transport::Error::HostKey { .. } => Some(
            "somebody else is there, or its keys were made anew: compare them on its own console (ssh-keygen -lf \
             /etc/ssh/ssh_host_ed25519_key.pub) before anything else"
                .to_owned(),
        ),
        _ => None,
    };
    let next = "phoenix-cli doctor tries every hop".to_owned();
    Failure::from_error("transport::failed", error)
        .while_doing(format!("failed while {what}"))
        .hint(known.map_or_else(|| next.clone(), |known| format!("{known}; {next}")))
}

/// Runs a command on the node that may be run twice, and again while it cannot be carried through.
///
/// # Errors
/// When that stays so. How the command ended is the caller's to judge.
pub async fn command(node: &dyn Runner, command: &Command) -> Result<Output, Failure> {
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(PAUSE);
    loop {
        match node.run(command).await {
            Ok(output) => return Ok(output),
            Err(transport::Error::Connect { .. } | transport::Error::Broken { .. })
                if begin.elapsed() < UNREACHABLE =>
            {
                pauses.pause().await;
            }
            Err(error) => return Err(transport_failure(&command.purpose, &error)),
        }
    }
}

/// The stable code of a refusal.
pub fn code_of(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => NOT_FOUND,
        ErrorKind::AlreadyExists => "proxmox::already-exists",
        ErrorKind::Locked => "proxmox::locked",
        ErrorKind::Modified => "proxmox::modified",
        ErrorKind::PermissionDenied { .. } => "proxmox::permission-denied",
        ErrorKind::RootOnly => "proxmox::root-only",
        ErrorKind::Unauthorized => "proxmox::unauthorized",
        ErrorKind::InvalidParameters(_) => "proxmox::invalid-parameters",
        ErrorKind::Protected => "proxmox::protected",
        ErrorKind::NoSuchNode => "proxmox::no-such-node",
        ErrorKind::NoSuchStorage => "proxmox::no-such-storage",
        ErrorKind::NoSpace => "proxmox::no-space",
        ErrorKind::Unimplemented => "proxmox::unimplemented",
        ErrorKind::Unreachable => "proxmox::node-unreachable",
        _ => "proxmox::refused",
    }
}

/// The failure of a task.
pub(crate) fn task_failure(what: &str, error: &TaskError) -> Failure {
    let code = match error {
        TaskError::Failed { kind, .. } => match **kind {
            ErrorKind::NoSpace => "proxmox::no-space",
            ErrorKind::Locked => "proxmox::locked",
            ErrorKind::NotFound => NOT_FOUND,
            _ => "proxmox::task-failed",
        },
        TaskError::TimedOut { .. } => "proxmox::task-slow",
        _ => "proxmox::task-lost",
    };
    let mut failure = Failure::from_error(code, error).while_doing(format!("failed while {what}"));
    if !error.log().is_empty() {
        failure.errors.push(format!("the end of its log:\n{}", error.log().join("\n")));
    }
    failure.hint(hint(code, Some(error.hint())))
}

/// Reads, and again while the node cannot be reached.
///
/// # Errors
/// When it stays so, or the node refuses.
pub async fn read<T, F, Fut>(what: &str, call: F) -> Result<T, Failure>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, Error>> + Send,
    T: Send,
{
    patiently(call).await.map_err(|error| failure(what, &error))
}

/// Reads something that may not be there.
///
/// # Errors
/// As [`read`], but for what is not there.
pub async fn find<T, F, Fut>(what: &str, call: F) -> Result<Option<T>, Failure>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, Error>> + Send,
    T: Send,
{
    match patiently(call).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(failure(what, &error)),
    }
}

async fn patiently<T, F, Fut>(call: F) -> Result<T, Error>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<T, Error>> + Send,
    T: Send,
{
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(PAUSE);
    loop {
        match call().await {
            // Reading twice does no harm, whatever became of the first.
            Err(error @ (Error::Exchange(_) | Error::Answer { .. }))
                if !certificate(&error) && begin.elapsed() < UNREACHABLE =>
            {
                pauses.pause().await;
            }
            result => return result,
        }
    }
}

/// A task on a guest, from the call that starts it to its end.
#[derive(Debug)]
pub struct Task<'a> {
    /// The worksite.
    pub site: &'a Worksite,
    /// The guest.
    pub guest: &'a GuestRef,
    /// What is done, as in "creating the container".
    pub what: &'a str,
    /// The task's type in its UPID, e.g. `vzcreate`.
    pub kind: &'a str,
    /// The longest it may take.
    pub limit: Duration,
    /// A refusal that means that there is nothing to do.
    pub fine: &'a [ErrorKind],
    /// Where to tell what happens.
    pub progress: &'a Progress,
}

impl Task<'_> {
    /// Starts the task and waits for its end. `seen` looks whether the deed is done, after an answer that got lost.
    ///
    /// # Errors
    /// When the node refuses, the task fails, or the time is up.
    pub async fn run<D, DFut, S, SFut>(&self, dispatch: D, seen: S) -> Result<(), Failure>
    where
        D: Fn() -> DFut + Send + Sync,
        DFut: Future<Output = Result<Upid, Error>> + Send,
        S: Fn() -> SFut + Send + Sync,
        SFut: Future<Output = Result<Seen, Failure>> + Send,
    {
        self.progress.doing(self.what);
        let begin = Instant::now();
        let mut lock = Lock::new(self.site, self.guest, self.what, self.progress);
        // Tasks of this guest that were there before: theirs is not ours.
        let mut retried = false;
        let mut pauses = Pauses::up_to(PAUSE);
        loop {
            let error = match dispatch().await {
                Ok(upid) if self.ended(&upid, begin).await? => return Ok(()),
                Ok(_) => {
                    lock.wait().await?;
                    continue;
                }
                Err(error) => error,
            };
            match (error.kind(), error.sent()) {
                (Some(ErrorKind::Locked), _) if begin.elapsed() < LOCKED => lock.wait().await?,
                (Some(kind), _) if self.fine.contains(kind) => return Ok(()),
                // "Already exists" on a retry is our own first try.
                (Some(ErrorKind::AlreadyExists), _) if retried && seen().await? == Seen::Done => {
                    return Ok(());
                }
                (None, Sent::Never) if begin.elapsed() < UNREACHABLE && !certificate(&error) => {
                    pauses.pause().await;
                }
                (_, Sent::Maybe) if begin.elapsed() < UNREACHABLE + self.limit => {
                    match self.find_lost(&error).await? {
                        Some(upid) if self.ended(&upid, begin).await? => return Ok(()),
                        Some(_) => lock.wait().await?,
                        None if seen().await? == Seen::Done => return Ok(()),
                        // A refusal of the node's that is an error of its own is no reason to try for minutes.
                        None if error.kind().is_some() && retried => return Err(failure(self.what, &error)),
                        None => retried = true,
                    }
                }
                _ => return Err(failure(self.what, &error)),
            }
        }
    }

    /// Waits for the end of the task: whether the deed is done, or is to be tried again because another task held the
    /// guest all the time.
    async fn ended(&self, upid: &Upid, begin: Instant) -> Result<bool, Failure> {
        match self.wait(upid).await {
            Ok(()) => Ok(true),
            Err(TaskError::Failed { kind, .. }) if *kind == ErrorKind::Locked && begin.elapsed() < LOCKED => {
                Ok(false)
            }
            Err(TaskError::Failed { kind, .. }) if self.fine.contains(&kind) => Ok(true),
            Err(error) => Err(task_failure(self.what, &error)),
        }
    }

    async fn wait(&self, upid: &Upid) -> Result<(), TaskError> {
        let end = self.site.reader().wait_task(upid, self.limit, Pace::default(), &mut |_| {}).await?;
        if let TaskEnd::Warnings(warnings) = end {
            for warning in warnings {
                self.progress.warning(warning);
            }
        }
        Ok(())
    }

    /// After an answer that got lost: the task it may have started, if it runs.
    async fn find_lost(&self, error: &Error) -> Result<Option<Upid>, Failure> {
        self.progress
            .warning(format!("the node's answer got lost while {}; looking whether it was done", self.what));
        let begin = Instant::now();
        let mut pauses = Pauses::up_to(PAUSE);
        loop {
            let tasks = read("looking for the task", || {
                self.site.reader().tasks(&self.guest.node, Some(self.guest.id))
            })
            .await?;
            let ours = tasks.iter().find(|t| t.kind == self.kind && runs(t));
            if let Some(task) = ours
                && let Ok(upid) = task.upid.parse()
            {
                return Ok(Some(upid));
            }
            // Only an answer that got lost can belong to a task that is not listed yet; a refusal does not.
            if error.kind().is_some() || begin.elapsed() > LISTED {
                return Ok(None);
            }
            pauses.pause().await;
        }
    }
}

/// A guest's lock, while somebody waits for it.
pub(crate) struct Lock<'a> {
    site: &'a Worksite,
    guest: &'a GuestRef,
    what: &'a str,
    progress: &'a Progress,
    told: bool,
    /// Since when nobody is seen to work under it.
    left: Option<Instant>,
}

impl<'a> Lock<'a> {
    /// The lock on a guest; `what` is what it keeps from being done.
    pub(crate) fn new(
        site: &'a Worksite,
        guest: &'a GuestRef,
        what: &'a str,
        progress: &'a Progress,
    ) -> Self {
        Self { site, guest, what, progress, told: false, left: None }
    }

    /// Waits until no lock stands in the configuration (a backup's), by looking: every try would be one more failed task in
    /// the node's list. At most for [`LOCKED`].
    ///
    /// # Errors
    /// As [`Lock::pause`].
    pub(crate) async fn wait(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.pause().await? && begin.elapsed() <= LOCKED {}
        Ok(())
    }

    /// A pause between two tries, and whether a lock stands in the configuration after it. What is waited for is told once.
    ///
    /// # Errors
    /// When a lock stands there that no task has worked under for [`LEFT`]: nobody will take it away.
    pub(crate) async fn pause(&mut self) -> Result<bool, Failure> {
        let reader = self.site.reader();
        let id = self.guest.id;
        let lock = |config: Option<BTreeMap<String, String>>| config.and_then(|mut c| c.remove("lock"));
        let stands = find("looking at the lock", || reader.config(self.guest)).await.ok().and_then(lock);
        // That the tasks cannot be listed is no reason to give up.
        let held = match &stands {
            Some(lock) => {
                let tasks = active(reader, &self.guest.node).await;
                tasks.map_or(true, |tasks| !is_left(lock, id, &tasks))
            }
            None => true,
        };
        let (words, limit) = match (&stands, held) {
            (Some(lock), false) => (format!("the lock on {id} ({lock}), which no task holds"), LEFT),
            (Some(lock), true) => (format!("the lock on {id} ({lock}) that another task holds"), LOCKED),
            (None, _) => (format!("the lock on {id} that another task holds"), LOCKED),
        };
        if !self.told {
            self.progress.waiting(words, limit);
            self.told = true;
        }
        match stands.filter(|_| !held) {
            None => self.left = None,
            Some(lock) if self.left.get_or_insert_with(Instant::now).elapsed() >= LEFT => {
                return Err(left_behind(self.guest, &lock).while_doing(format!("failed while {}", self.what)));
            }
            Some(_) => {}
        }
        sleep(PAUSE * 2).await;
        Ok(find("looking at the lock", || reader.config(self.guest)).await.ok().and_then(lock).is_some())
    }
}

/// A lock that nobody works under any more.
fn left_behind(guest: &GuestRef, lock: &str) -> Failure {
    let command = match guest.kind {
        GuestKind::Container => "pct",
        GuestKind::Vm => "qm",
    };
    // What `pct mount` left is taken away by its counterpart.
    let verb = if lock == "mounted" { "unmount" } else { "unlock" };
    Failure::new("proxmox::locked", format!("{} is locked ({lock}), and no task works on it", guest.id)).hint(
        format!(
            "on the node: {command} {verb} {}; {}",
            guest.id,
            privileges::or_unseen("Sys.Audit", &format!("/nodes/{}", guest.node))
        ),
    )
}

/// Whether what takes this lock is no task: `pct fstrim`.
fn works_alone(lock: &str) -> bool {
    lock == "fstrim"
}

/// The tasks that run on a node, whoever began them.
///
/// # Errors
/// When the node cannot be asked.
pub(crate) async fn active(reader: &Reader, node: &str) -> Result<Vec<TaskEntry>, Failure> {
    let path = proxmox::client::path(["nodes", node, "tasks"]);
    let params = [("source", "active"), ("limit", "500")];
    let list = read("asking what tasks run", || reader.get(&path, &params)).await?;
    let tasks: Vec<TaskEntry> = serde_json::from_value(list).unwrap_or_default();
    Ok(tasks.into_iter().filter(runs).collect())
}

/// Whether a task works on this guest. A backup of several guests says of none.
pub(crate) fn works_on(task: &TaskEntry, id: u32) -> bool {
    let of = task.id.as_deref().unwrap_or_default();
    of.parse() == Ok(id) || (of.is_empty() && task.kind == "vzdump")
}

/// Whether a lock in the configuration is one that nobody works under, as far as `tasks` tell.
pub(crate) fn is_left(lock: &str, id: u32, tasks: &[TaskEntry]) -> bool {
    !works_alone(lock) && !tasks.iter().any(|task| works_on(task, id) || makes_a_clone(lock, task))
}

/// Whether a lock may be that of a clone which is being made: its task says what it is a clone of, and not what it becomes.
fn makes_a_clone(lock: &str, task: &TaskEntry) -> bool {
    ["clone", "create"].contains(&lock) && ["qmclone", "vzclone"].contains(&task.kind.as_str())
}

/// Whether a task runs: it has no status yet, or says so.
pub(crate) fn runs(task: &TaskEntry) -> bool {
    task.status.as_deref().is_none_or(|s| s.is_empty() || s.eq_ignore_ascii_case("running"))
}

pub(crate) fn certificate(error: &Error) -> bool {
    matches!(error, Error::Exchange(proxmox::exchange::ExchangeError::Certificate { .. }))
}

/// How setting a configuration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// It is set.
    Done,
    /// Somebody else changed the configuration in between: read it again.
    Modified,
}

/// Gets a change through that may be made twice: again where it never arrived or somebody holds the lock, and after an answer that
/// got lost, or where that is a refusal because it was made before, by a look: `made`.
///
/// # Errors
/// When the node refuses, or cannot be reached.
pub(crate) async fn through<F, Fut, M, MFut>(
    what: &str,
    progress: &Progress,
    call: F,
    made: M,
) -> Result<(), Failure>
where
    F: Fn() -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), Error>> + Send,
    M: Fn() -> MFut + Send + Sync,
    MFut: Future<Output = Result<bool, Failure>> + Send,
{
    let begin = Instant::now();
    let mut pauses = Pauses::up_to(PAUSE);
    let mut lost = false;
    loop {
        let error = match call().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match (error.kind(), error.sent()) {
            (Some(ErrorKind::Locked), _) if begin.elapsed() < LOCKED => {}
            (None, Sent::Never) if begin.elapsed() < UNREACHABLE && !certificate(&error) => {}
            (None, Sent::Maybe) if begin.elapsed() < UNREACHABLE => {
                if !lost {
                    progress.warning(format!(
                        "the node's answer got lost while {what}; looking whether it was done"
                    ));
                }
                lost = true;
                if made().await? {
                    return Ok(());
                }
            }
            // "Already defined", "does not exist": our own first try, whose answer was lost.
            (Some(_), _) if lost && made().await? => return Ok(()),
            _ => return Err(failure(what, &error)),
        }
        pauses.pause().await;
    }
}

/// Sets a container's configuration. The same parameters twice are the same as once, so what may have arrived is sent
/// again; a digest that no longer fits then is looked into by the caller.
///
/// # Errors
/// When the node refuses, or stays unreachable or locked.
pub async fn set(
    site: &Worksite,
    guest: &GuestRef,
    params: Vec<(String, String)>,
    progress: &Progress,
) -> Result<Set, Failure> {
    if let Some(failure) = never(guest.kind, guest.id, &params) {
        return Err(failure);
    }
    let what = "changing the configuration";
    let begin = Instant::now();
    let mut lock = Lock::new(site, guest, what, progress);
    let mut pauses = Pauses::up_to(PAUSE);
    loop {
        match site.writer.update(guest, params.clone()).await {
            Ok(None) => return Ok(Set::Done),
            // That of a virtual machine may make a disk.
            Ok(Some(upid)) => {
                match site.reader().wait_task(&upid, CHANGE, Pace::default(), &mut |_| {}).await {
                    Ok(_) => return Ok(Set::Done),
                    Err(TaskError::Failed { kind, .. }) if *kind == ErrorKind::Modified => {
                        return Ok(Set::Modified);
                    }
                    Err(TaskError::Failed { kind, .. })
                        if *kind == ErrorKind::Locked && begin.elapsed() < LOCKED =>
                    {
                        lock.pause().await?;
                    }
                    Err(error) => return Err(task_failure(what, &error)),
                }
            }
            Err(error) => match error.kind() {
                Some(ErrorKind::Modified) => return Ok(Set::Modified),
                Some(ErrorKind::Locked) if begin.elapsed() < LOCKED => {
                    lock.pause().await?;
                }
                None if begin.elapsed() < UNREACHABLE && !certificate(&error) => pauses.pause().await,
                _ => return Err(failure(what, &error)),
            },
        }
    }
}
