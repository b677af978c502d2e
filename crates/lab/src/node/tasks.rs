//! Tasks: what runs longer than a request, known by its UPID.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::error::{Answer, ApiError, Outcome};
use super::router::Call;
use super::{Auth, Inner, lock};
use crate::runtime::{TaskError, TaskLog};

/// What befalls a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskTwist {
    /// It takes this much longer, before it does anything.
    Slow(Duration),
    /// It ends in this error and has done nothing.
    FailBefore(String),
    /// It does its work and then ends in this error.
    FailAfter(String),
    /// It succeeds with this warning.
    Warn(String),
}

/// Decides what befalls tasks, in the order they start.
pub trait TaskPlan: Send + Sync + Debug {
    /// What befalls the task that starts now: its type (`vzcreate`, `vzstart`, …) and what it is about (a guest's id).
    fn twists(&self, kind: &str, id: &str) -> Vec<TaskTwist>;
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    upid: String,
    pid: u32,
    pstart: u64,
    starttime: u64,
    kind: String,
    id: String,
    /// `user@realm` or `user@realm!token`.
    who: String,
}

#[derive(Debug, Default)]
struct End {
    /// When and how it ended.
    status: Option<(u64, String)>,
    /// How long it took.
    took: Duration,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    head: Head,
    log: TaskLog,
    end: Mutex<End>,
    stop: CancellationToken,
    done: CancellationToken,
}

impl Task {
    /// Waits until it has ended.
    pub(crate) async fn finished(&self) {
        self.done.cancelled().await;
    }

    /// When and how it ended.
    pub(crate) fn status(&self) -> Option<(u64, String)> {
        lock(&self.end).status.clone()
    }
}

/// A line of the task file: written when a task starts and again when it ends, read when the node is opened again.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    head: Head,
    /// When and how it ended.
    end: Option<(u64, String)>,
    log: Vec<String>,
}

/// The exit status of a task that was cut off (PVE::Tools, `upid_read_status`).
const CUT_OFF: &str = "unexpected status";

/// All tasks of the node, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    list: Vec<Arc<Task>>,
    by_upid: HashMap<String, Arc<Task>>,
    file: Option<Utf8PathBuf>,
    last_pid: u32,
}

/// The first process id tasks get; they go up from there.
const FIRST_PID: u32 = 1000;

impl Tasks {
    /// Opens the list; in `folder` the ended tasks of earlier processes are found.
    pub(crate) fn open(folder: Option<&Utf8Path>) -> std::io::Result<Self> {
        let mut out = Self { last_pid: FIRST_PID, ..Self::default() };
        let Some(folder) = folder else { return Ok(out) };
        let file = folder.join("tasks.jsonl");
        let text = match fs_err::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        // The last line may be half written when the node was killed.
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let ended: std::collections::HashSet<&str> =
            lines.iter().filter(|line| line.end.is_some()).map(|line| line.head.upid.as_str()).collect();
        let keep: Vec<bool> =
            lines.iter().map(|line| line.end.is_some() || !ended.contains(line.head.upid.as_str())).collect();
        for (line, _) in lines.into_iter().zip(keep).filter(|(_, keep)| *keep) {
            let log = TaskLog::default();
            line.log.iter().for_each(|text| log.line(text.as_str()));
            let done = CancellationToken::new();
            done.cancel();
            let status = line.end.unwrap_or_else(|| (line.head.starttime, CUT_OFF.to_owned()));
            let end = Mutex::new(End { status: Some(status), took: Duration::ZERO });
            out.add(Arc::new(Task { head: line.head, log, end, stop: CancellationToken::new(), done }));
        }
        out.file = Some(file);
        Ok(out)
    }

    fn add(&mut self, task: Arc<Task>) {
        self.last_pid = self.last_pid.max(task.head.pid);
        self.by_upid.insert(task.head.upid.clone(), task.clone());
        self.list.push(task);
    }

    pub(crate) fn get(&self, upid: &str) -> Option<Arc<Task>> {
        self.by_upid.get(upid).cloned()
    }

    /// The type of each task, and how long it took, in seconds.
    pub(crate) fn times(&self) -> Vec<(String, f64)> {
        let time = |task: &Arc<Task>| (task.head.kind.clone(), lock(&task.end).took.as_secs_f64());
        self.list.iter().map(time).collect()
    }

    pub(crate) fn unfinished(&self) -> Vec<Arc<Task>> {
        self.list.iter().filter(|task| task.status().is_none()).cloned().collect()
    }
}

/// Starts a task and returns its UPID. `work` gets the task's log.
pub(crate) fn start<F, W>(node: &Arc<Inner>, auth: &Auth, kind: &str, id: &str, work: F) -> String
where
    F: FnOnce(TaskLog) -> W,
    W: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    let log = TaskLog::default();
    let task = {
        let mut tasks = lock(&node.tasks);
        let pid = tasks.last_pid + 1;
        let starttime = node.clock.now();
        // Hundredths of a second since the machine started; the node says it has run for two hours.
        let pstart = 720_000 + u64::try_from(node.clock.uptime().as_millis() / 10).unwrap_or_default();
        let who = auth.id();
        let upid = format!("UPID:{}:{pid:08X}:{pstart:08X}:{starttime:08X}:{kind}:{id}:{who}:", node.name);
        let head = Head { upid, pid, pstart, starttime, kind: kind.to_owned(), id: id.to_owned(), who };
        let task = Arc::new(Task {
            head,
            log: log.clone(),
            end: Mutex::default(),
            stop: CancellationToken::new(),
            done: CancellationToken::new(),
        });
        tasks.add(task.clone());
        if let Some(file) = &tasks.file {
            write(file, &Line { head: task.head.clone(), end: None, log: Vec::new() });
        }
        task
    };
    let twists = lock(&node.plan).clone().map(|plan| plan.twists(kind, id)).unwrap_or_default();
    let upid = task.head.upid.clone();
    let work = work(log.clone());
    let node = node.clone();
    let begin = tokio::time::Instant::now();
    tokio::spawn(async move {
        let result = tokio::select! {
            result = twisted(work, &twists, &log) => result,
            () = task.stop.cancelled() => Err(TaskError("interrupted by signal".to_owned())),
        };
        let warnings = log.lines().iter().filter(|line| line.starts_with("WARN: ")).count();
        let status = match result {
            Err(TaskError(error)) => {
                log.line(format!("TASK ERROR: {error}"));
                error
            }
            Ok(()) if warnings > 0 => {
                log.line(format!("TASK WARNINGS: {warnings}"));
                format!("WARNINGS: {warnings}")
            }
            Ok(()) => {
                log.line("TASK OK");
                "OK".to_owned()
            }
        };
        let endtime = node.clock.now();
        *lock(&task.end) = End { status: Some((endtime, status.clone())), took: begin.elapsed() };
        let file = lock(&node.tasks).file.clone();
        if let Some(file) = file {
            write(&file, &Line { head: task.head.clone(), end: Some((endtime, status)), log: log.lines() });
        }
        task.done.cancel();
    });
    upid
}

/// A line that is lost is a task that a restarted node does not know: what a real one's rotation does too.
fn write(file: &Utf8Path, line: &Line) {
    use std::io::Write as _;
    let Ok(mut text) = serde_json::to_string(line) else { return };
    text.push('\n');
    let opened = fs_err::OpenOptions::new().create(true).append(true).open(file);
    let _ = opened.and_then(|mut file| file.write_all(text.as_bytes()));
}

async fn twisted(
    work: impl Future<Output = Result<(), TaskError>>,
    twists: &[TaskTwist],
    log: &TaskLog,
) -> Result<(), TaskError> {
    for twist in twists {
        match twist {
            TaskTwist::Slow(time) => tokio::time::sleep(*time).await,
            TaskTwist::FailBefore(error) => return Err(TaskError(error.clone())),
            TaskTwist::FailAfter(_) | TaskTwist::Warn(_) => {}
        }
    }
    work.await?;
    for twist in twists {
        match twist {
            TaskTwist::Warn(text) => log.warn(text),
            TaskTwist::FailAfter(error) => return Err(TaskError(error.clone())),
            TaskTwist::Slow(_) | TaskTwist::FailBefore(_) => {}
        }
    }
    Ok(())
}

impl Task {
    fn facts(&self, node: &str) -> serde_json::Map<String, Value> {
        let auth = Auth::of(&self.head.who);
        let mut out = serde_json::Map::new();
        out.insert("upid".to_owned(), self.head.upid.as_str().into());
        out.insert("node".to_owned(), node.into());
        out.insert("pid".to_owned(), self.head.pid.into());
        out.insert("pstart".to_owned(), self.head.pstart.into());
        out.insert("starttime".to_owned(), self.head.starttime.into());
        out.insert("type".to_owned(), self.head.kind.as_str().into());
        out.insert("id".to_owned(), self.head.id.as_str().into());
        out.insert("user".to_owned(), auth.user().into());
        if let Some(token) = auth.token() {
            out.insert("tokenid".to_owned(), token.into());
        }
        out
    }
}

fn find(call: &Call<'_>, privilege: &str) -> Result<Arc<Task>, ApiError> {
    let upid = call.text("upid");
    let known = lock(&call.node.tasks).by_upid.get(upid).cloned();
    match known {
        Some(task) => {
            let auth = Auth::of(&task.head.who);
            // A user sees the tasks of its tokens, a token those it started.
            let own = task.head.who == call.auth.id()
                || call.auth.token().is_none() && auth.user() == call.auth.user();
            if !own {
                call.need(&format!("/nodes/{}", call.node.name), privilege)?;
            }
            Ok(task)
        }
        None if is_upid(upid) => Err(ApiError::parameter("upid", "no such task")),
        None => Err(ApiError::parameter("upid", "unable to parse worker upid")),
    }
}

fn is_upid(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let hex = |text: &&str, longest: usize| {
        (8..=longest).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
    };
    match parts.as_slice() {
        ["UPID", node, pid, pstart, start, kind, _, user, ""] => {
            !node.is_empty()
                && hex(pid, 8)
                && hex(pstart, 9)
                && hex(start, 8)
                && !kind.is_empty()
                && !user.is_empty()
        }
        _ => false,
    }
}

pub(crate) fn status(call: &Call<'_>) -> Outcome {
    let task = find(call, "Sys.Audit")?;
    let mut out = task.facts(&call.node.name);
    match task.status() {
        Some((_, exit)) => {
            out.insert("status".to_owned(), "stopped".into());
            out.insert("exitstatus".to_owned(), exit.into());
        }
        None => {
            out.insert("status".to_owned(), "running".into());
        }
    }
    Ok(Value::Object(out).into())
}

pub(crate) fn log(call: &Call<'_>) -> Outcome {
    let task = find(call, "Sys.Audit")?;
    let mut lines = task.log.lines();
    if lines.is_empty() {
        lines.push("no content".to_owned());
    }
    let start = call.number("start").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    // 0 asks for all of it.
    let limit = match call.number("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(50) {
        0 => usize::MAX,
        limit => limit,
    };
    let page = lines.iter().enumerate().skip(start).take(limit);
    let data: Vec<Value> = page.map(|(at, text)| json!({"n": at + 1, "t": text})).collect();
    Ok(Answer { data: data.into(), total: Some(lines.len()) })
}

pub(crate) fn stop(call: &Call<'_>) -> Outcome {
    find(call, "Sys.Modify")?.stop.cancel();
    Ok(Answer::null())
}

pub(crate) fn list(call: &Call<'_>) -> Outcome {
    let all = lock(&call.node.tasks).list.clone();
    let audit = call.may(&format!("/nodes/{}", call.node.name), "Sys.Audit");
    let source = call.get("source").unwrap_or("archive");
    let fits = |task: &Task| {
        let status = task.status();
        let head = &task.head;
        let bad = status.as_ref().is_some_and(|(_, status)| status != "OK");
        (audit || head.who == call.auth.id() || Auth::of(&head.who).user() == call.auth.user())
            && match source {
                "archive" => status.is_some(),
                "active" => status.is_none(),
                _ => true,
            }
            && (!call.flag("errors") || bad)
            && call.get("typefilter").is_none_or(|kind| head.kind == kind)
            && call.get("userfilter").is_none_or(|user| head.who.contains(user))
            && call.get("vmid").is_none_or(|id| head.id == id)
            && call.number("since").is_none_or(|time| head.starttime >= time)
            && call.number("until").is_none_or(|time| head.starttime <= time)
            && call.get("statusfilter").is_none_or(|wanted| {
                let is = match status.as_ref().map(|(_, status)| status.as_str()) {
                    None => "unknown",
                    Some("OK") => "ok",
                    Some(text) if text.starts_with("WARNINGS") => "warning",
                    Some(_) => "error",
                };
                super::formats::list(wanted).any(|wanted| wanted == is)
            })
    };
    let found: Vec<&Arc<Task>> = all.iter().rev().filter(|task| fits(task)).collect();
    let start = call.number("start").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let limit = call.number("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(50);
    let page = found.iter().skip(start).take(limit).map(|task| {
        let mut out = task.facts(&call.node.name);
        match task.status() {
            Some((end, status)) => {
                out.insert("endtime".to_owned(), end.into());
                out.insert("status".to_owned(), status.into());
            }
            None => {
                out.insert("status".to_owned(), "RUNNING".into());
            }
        }
        Value::Object(out)
    });
    Ok(Answer { data: page.collect::<Vec<_>>().into(), total: Some(found.len()) })
}

/// The cluster's list of recent tasks is this long (PVE::Cluster, `broadcast_tasklist`).
pub(crate) const RECENT: usize = 25;

pub(crate) fn cluster(call: &Call<'_>) -> Outcome {
    let all = lock(&call.node.tasks).list.clone();
    let audit = call.may(&format!("/nodes/{}", call.node.name), "Sys.Audit");
    let mine = |task: &&Arc<Task>| audit || Auth::of(&task.head.who).user() == call.auth.user();
    let page = all.iter().rev().filter(mine).take(RECENT).map(|task| {
        let mut out = task.facts(&call.node.name);
        out.remove("pid");
        out.remove("pstart");
        if let Some((end, status)) = task.status() {
            out.insert("endtime".to_owned(), end.into());
            out.insert("status".to_owned(), status.into());
            out.insert("saved".to_owned(), "1".into());
        }
        Value::Object(out)
    });
    Ok(Value::Array(page.collect()).into())
}
