//! Bad days, planned: what goes wrong at which call, and a record of what was done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proxmox::exchange::{Method, Request, Response};
use tokio::sync::Notify;

use super::draw;
use crate::node::{Node, TaskPlan, TaskTwist};

/// What befalls a call: one request to the API, or one command on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It fails before anything was sent.
    NeverSent,
    /// It takes effect, and its answer is lost.
    ReplyLost,
    /// It takes effect, and its answer breaks off in the middle.
    Cut,
    /// It takes this much longer.
    Slow(Duration),
    /// Somebody else (a backup) has locked this guest, from now on for this long.
    Locked(u32, Duration),
    /// The program that makes the calls is killed before it is sent: the call never returns, nor does any later one.
    KillBefore,
    /// The same, after it has taken effect.
    KillAfter,
}

/// A mutating call that reached the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The number of the call, from 1.
    pub call: u64,
    /// What it does, e.g. `create 101`, `start 101`, `PUT /access/acl`.
    pub what: String,
    /// The answer's status; the exit status of a command.
    pub status: i32,
}

#[derive(Debug, Default)]
struct Inner {
    calls: u64,
    tasks: u64,
    at: BTreeMap<u64, Fault>,
    twists: BTreeMap<u64, Vec<TaskTwist>>,
    /// No connection to the node for calls in this range.
    away: Option<std::ops::Range<u64>>,
    /// Of how many calls in 1,000 something befalls, drawn from this seed.
    random: Option<(u64, u64)>,
    killed: bool,
    made: Vec<Made>,
    log: Vec<String>,
}

/// A plan of what goes wrong, and the record of what happened. Cloning it gives another handle on the same one.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    killed: Arc<Notify>,
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// At call `n` (from 1) this happens.
    #[must_use]
    pub fn at(self, n: u64, fault: Fault) -> Self {
        self.inner().at.insert(n, fault);
        self
    }

    /// The node cannot be reached for the calls in `range`.
    #[must_use]
    pub fn away(self, range: std::ops::Range<u64>) -> Self {
        self.inner().away = Some(range);
        self
    }

    /// The `n`-th task (from 1) is befallen by this.
    #[must_use]
    pub fn task(self, n: u64, twist: TaskTwist) -> Self {
        self.inner().twists.entry(n).or_default().push(twist);
        self
    }

    /// Of `per_mille` calls in 1,000 one of the faults that pass (no kill) befalls, which and when following from `seed`.
    #[must_use]
    pub fn random(self, seed: u64, per_mille: u64) -> Self {
        self.inner().random = Some((seed, per_mille));
        self
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// How many tasks were started.
    pub fn tasks(&self) -> u64 {
        self.inner().tasks
    }

    /// The mutating calls that reached the node, in their order.
    pub fn made(&self) -> Vec<Made> {
        self.inner().made.clone()
    }

    /// What went wrong, call by call, for a failed test's message.
    pub fn history(&self) -> Vec<String> {
        self.inner().log.clone()
    }

    /// Returns when a kill happened. Race it against what is to be killed, and drop that.
    pub async fn killed(&self) {
        loop {
            let told = self.killed.notified();
            if self.inner().killed {
                return;
            }
            told.await;
        }
    }

    /// After a kill: calls are answered again, as of a program that was started anew.
    pub fn revive(&self) {
        self.inner().killed = false;
    }

    /// What was done twice: the same creation, start, stop or removal accepted again without its opposite in between.
    pub fn doubled(&self) -> Vec<String> {
        let mut last: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
        let mut out = Vec::new();
        let made = self.made();
        for made in made.iter().filter(|made| made.status == 200) {
            let Some((verb, id)) = made.what.split_once(' ') else { continue };
            let (same, opposite): (&'static str, &[&'static str]) = match verb {
                "create" => ("create", &["destroy"]),
                "destroy" => ("destroy", &["create"]),
                // A stop or restart lies between two starts; so does a new guest of the same number.
                "start" => ("start", &["stop"]),
                "stop" | "shutdown" => ("stop", &["start"]),
                _ => continue,
            };
            if let Some(first) = last.insert((same, id.to_owned()), made.call) {
                out.push(format!("{} at call {first} and again at call {}", made.what, made.call));
            }
            for verb in opposite {
                last.remove(&(*verb, id.to_owned()));
            }
            if verb == "destroy" {
                last.remove(&("start", id.to_owned()));
                last.remove(&("stop", id.to_owned()));
            }
        }
        out
    }

    /// Counts a call and says what befalls it.
    pub(crate) fn next(&self, what: &str, node: &Node) -> (u64, Option<Fault>) {
        let (n, fault) = {
            let mut inner = self.inner();
            inner.calls += 1;
            let n = inner.calls;
            let planned = inner.at.get(&n).cloned();
            let away = inner.away.as_ref().is_some_and(|range| range.contains(&n));
            let random = inner.random.and_then(|(seed, per_mille)| random(seed, n, per_mille));
            let fault = if away { Some(Fault::NeverSent) } else { planned.or(random) };
            if let Some(fault) = &fault {
                inner.log.push(format!("call {n}, {what}: {fault:?}"));
            }
            (n, fault)
        };
        if let Some(Fault::Locked(id, time)) = fault {
            node.back_up(id, time);
        }
        (n, fault)
    }

    /// What is drawn for call `n`.
    #[cfg(test)]
    pub(crate) fn drawn(&self, n: u64) -> Option<Fault> {
        self.inner().random.and_then(|(seed, per_mille)| random(seed, n, per_mille))
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.inner().killed
    }

    /// The caller is dead: never returns.
    pub(crate) async fn die<T>(&self) -> T {
        self.inner().killed = true;
        self.killed.notify_waiters();
        std::future::pending().await
    }

    pub(crate) fn note(&self, call: u64, what: String, status: i32) {
        self.inner().made.push(Made { call, what, status });
    }
}

/// The faults that pass by themselves. A lock of a guest is not among them: which one there is, only a test knows.
fn random(seed: u64, n: u64, per_mille: u64) -> Option<Fault> {
    let drawn = draw(seed, &[0xfa, n]);
    if drawn % 1000 >= per_mille {
        return None;
    }
    Some(match draw(seed, &[0xfb, n]) % 4 {
        0 => Fault::NeverSent,
        1 => Fault::ReplyLost,
        2 => Fault::Cut,
        _ => Fault::Slow(Duration::from_millis(draw(seed, &[0xfc, n]) % 5000)),
    })
}

impl TaskPlan for Faults {
    fn twists(&self, kind: &str, id: &str) -> Vec<TaskTwist> {
        // Somebody else's backup is a fault itself.
        if kind == "vzdump" {
            return Vec::new();
        }
        let mut inner = self.inner();
        inner.tasks += 1;
        let n = inner.tasks;
        let twists = inner.twists.get(&n).cloned().unwrap_or_default();
        if !twists.is_empty() {
            inner.log.push(format!("task {n}, {kind} {id}: {twists:?}"));
        }
        twists
    }
}

/// The name a mutating request goes by in the record; none for one that only reads.
pub(crate) fn name(request: &Request) -> Option<String> {
    if request.method == Method::Get {
        return None;
    }
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    Some(match (request.method, parts.as_slice()) {
        (Method::Post, ["nodes", _, "lxc" | "qemu"]) => {
            let id = request.params.iter().find(|(key, _)| key == "vmid").map_or("?", |(_, id)| id.as_str());
            format!("create {id}")
        }
        (Method::Post, ["nodes", _, "qemu", _, "clone"]) => {
            let new =
                request.params.iter().find(|(key, _)| key == "newid").map_or("?", |(_, id)| id.as_str());
            format!("create {new}")
        }
        (Method::Delete, ["nodes", _, "lxc" | "qemu", id]) => format!("destroy {id}"),
        (Method::Post, ["nodes", _, "lxc" | "qemu", id, "status", verb]) => format!("{verb} {id}"),
        (Method::Put, ["nodes", _, "lxc" | "qemu", id, verb]) => format!("{verb} {id}"),
        (Method::Post, ["nodes", _, "qemu", id, verb]) => format!("{verb} {id}"),
        (Method::Post, ["nodes", _, "qemu", id, "agent", verb]) => format!("{verb} {id}"),
        (method, _) => format!("{method} {}", request.path),
    })
}

/// The status of an answer, as the record holds it.
pub(crate) fn status(response: &Response) -> i32 {
    i32::from(response.status)
}
