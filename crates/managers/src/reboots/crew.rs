//! Restarting the node with its guests. It converges from wherever it was cut off: what ran is written down before anything is
//! stopped, which start the node was in is known from then on, and what was written down goes when all of it runs again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use futures::StreamExt as _;
use plan::address::kinds;
use plan::{GuestKind, Step};
use tokio::time::{Instant, sleep};
use transport::{Command, Error};

use super::seen::{Begun, Restarts, SCRIPT, parse};
use super::{LOOK, OnNode, RebootDeed, RebootWork};
use crate::guests::crew::GuestCrew;
use crate::guests::table;
use crate::guests::work::Placement;
use crate::lock::{self, NodeLock, NotHeld};
use crate::settle;
use crate::worksite::{HostRunner, Worksite};

/// The steps of it on the node.
const RESTART: &str = include_str!("restart.sh");

/// How long the node may take from the command until it answers again: firmware of servers looks at all its memory first.
const BACK: Duration = Duration::from_mins(20);
/// A node that answers, and is in the same start still, is told again after this.
const AGAIN: Duration = Duration::from_mins(2);
/// How long the node's own start of its guests is waited for.
const STARTED: Duration = Duration::from_mins(10);
/// How long it is waited for that the node begins with that.
const BEGINS: Duration = Duration::from_secs(90);
/// One question to a node that may be away.
const ASK: Duration = Duration::from_secs(20);
/// Between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// How many guests stop, or start, at once.
const AT_ONCE: usize = 4;

/// What to do where the node does not come back.
const CONSOLE: &str = "look at its console; the boot menu has the kernel before this one under Advanced options, and in it, \
                       proxmox-boot-tool kernel unpin takes back a pin. Once it is up: phoenix-cli apply goes on";

/// The crew for restarts of the node.
#[derive(Debug)]
pub(super) struct RebootCrew {
    site: Arc<Worksite>,
    /// The site's lock, which ended with the node and was taken again.
    lock: Mutex<Option<NodeLock>>,
}

impl RebootCrew {
    pub(super) fn new(site: Arc<Worksite>) -> Self {
        Self { site, lock: Mutex::default() }
    }

    fn command(purpose: &str, verb: &str) -> Command {
        Command::new(purpose, ["sh", "-c", RESTART, "phoenix-restart", verb])
    }

    async fn look(&self, host: &HostRunner) -> Result<Restarts, Failure> {
        let command =
            Command::new("looking at what waits for a restart of the node", ["sh", "-c", SCRIPT, LOOK.name]);
        host.read(&command, parse).await?.map_err(|why| {
            let what = format!("the node could not say what waits for its restart: {why}");
            Failure::new("reboot::unseen", what).hint("phoenix-cli doctor tries every hop")
        })
    }

    /// The guests that run on the node, of all kinds and whoever's.
    async fn running(&self, node: &str) -> Result<BTreeMap<u32, GuestKind>, Failure> {
        let list = settle::read("asking what runs", || self.site.reader().resources(None)).await?;
        let on_it = list.into_iter().filter(|it| {
            it.node.as_deref() == Some(node) && it.status.as_deref() == Some("running") && !it.template
        });
        let kind = |kind| match kind {
            proxmox::config::GuestKind::Container => GuestKind::Container,
            proxmox::config::GuestKind::Vm => GuestKind::Vm,
        };
        Ok(on_it.filter_map(|it| Some((it.vmid?, kind(it.guest_kind()?)))).collect())
    }

    fn crew(&self, kind: GuestKind) -> GuestCrew {
        GuestCrew::new(self.site.clone(), table::of_kind(kind))
    }

    /// Stops what runs, restarts the node, and waits until it is back in another start.
    async fn restart(
        &self,
        work: &RebootWork,
        host: &HostRunner,
        seen: &Restarts,
        progress: &Progress,
    ) -> Result<Begun, Failure> {
        let running = self.running(&work.node).await?;
        let mut ran: BTreeMap<u32, GuestKind> = running.clone();
        // What an earlier run stopped already ran, too.
        let earlier = seen.begun_by(&self.site.site);
        ran.extend(earlier.into_iter().flat_map(|begun| begun.ran.iter().map(|(kind, id)| (*id, *kind))));
        let mut ran: Vec<(GuestKind, u32)> = ran.into_iter().map(|(id, kind)| (kind, id)).collect();
        ran.sort_by_key(|(_, id)| (place(work, *id), *id));
        let begun = Begun { boot: seen.boot.clone(), site: self.site.site.clone(), ran };
        let command = Self::command("writing down what runs on the node", "begin").stdin(begun.to_string());
        checked(host, &command).await?;
        if let Err(failure) = self.stop_all(work, &running, progress).await {
            // The node stays up, so nothing is to stay stopped for it; where that fails as well, it is written down.
            let again = self.end(work, host, &begun, false, progress).await;
            return Err(again.err().unwrap_or(failure));
        }
        self.reboot(host, &begun.boot, progress).await?;
        self.answers(work, progress).await?;
        self.lock_again(host).await?;
        Ok(begun)
    }

    /// In the order in which the node itself stops them, which is that of their starts from its end.
    async fn stop_all(
        &self,
        work: &RebootWork,
        running: &BTreeMap<u32, GuestKind>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        for group in groups(work, running.keys().copied()).into_iter().rev() {
            let stopped = group.into_iter().filter_map(|id| Some((id, *running.get(&id)?)));
            let stopped = futures::stream::iter(stopped).map(|(id, kind)| async move {
                let crew = self.crew(kind);
                let guest = crew.guest(&Placement { id, node: work.node.clone() });
                crew.stop(&guest, progress).await.map_err(|failure| {
                    failure.while_doing(format!("{id} could not be stopped, so the node was not restarted"))
                })
            });
            let results: Vec<Result<(), Failure>> = stopped.buffer_unordered(AT_ONCE).collect().await;
            results.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    /// Restarts the node and waits until it says that it is in another start than `boot`. Told twice it restarts once.
    async fn reboot(&self, host: &HostRunner, boot: &str, progress: &Progress) -> Result<(), Failure> {
        progress.doing("restarting the node");
        let ask =
            Command::new("asking which start the node is in", ["sh", "-c", SCRIPT, LOOK.name]).limit(ASK);
        let reboot = Self::command("restarting the node", "reboot").limit(ASK);
        let begin = Instant::now();
        let mut told: Option<Instant> = None;
        let mut last: Option<Error> = None;
        while begin.elapsed() < BACK {
            match host.runner.run(&ask).await {
                Ok(output) => {
                    last = None;
                    match output.success().then(|| parse(&output.text())) {
                        Some(Ok(now)) if now.boot != boot => return Ok(()),
                        // It goes down, or lost the end of its words.
                        Some(Err(_)) | None => {}
                        Some(Ok(_)) if told.is_none_or(|at| at.elapsed() >= AGAIN) => {
                            match host.runner.run(&reboot).await {
                                Ok(output) if !output.success() => {
                                    let what = "the node refuses to restart";
                                    let failure = Failure::new("reboot::refused", what);
                                    let failure = failure.with_output(output.tail(5));
                                    return Err(
                                        failure.hint("what keeps it, on the node: systemd-inhibit --list")
                                    );
                                }
                                // Whether it arrived shows in what the node says next.
                                Ok(_) | Err(Error::Broken { .. } | Error::TimedOut { .. }) => {
                                    told = Some(Instant::now());
                                    progress.waiting("the node to come back", BACK);
                                }
                                Err(Error::Connect { .. }) => {}
                                Err(error) => return Err(settle::transport_failure(&reboot.purpose, &error)),
                            }
                        }
                        Some(Ok(_)) => {}
                    }
                }
                Err(error @ (Error::Connect { .. } | Error::Broken { .. } | Error::TimedOut { .. })) => {
                    if told.is_none() && begin.elapsed() >= settle::UNREACHABLE {
                        return Err(settle::transport_failure(&ask.purpose, &error));
                    }
                    last = Some(error);
                }
                Err(error) => return Err(settle::transport_failure(&ask.purpose, &error)),
            }
            sleep(PAUSE).await;
        }
        let minutes = BACK.as_secs() / 60;
        Err(match last {
            Some(error) => Failure::from_error("reboot::away", &error)
                .while_doing(format!("the node was restarted, and has not come back for {minutes} minutes"))
                .hint(CONSOLE),
            None => Failure::new(
                "reboot::stays",
                format!("the node was told to restart, and is in the same start after {minutes} minutes"),
            )
            .hint("what it waits for, on the node: systemctl list-jobs; and on its console"),
        })
    }

    /// Waits until the node's API answers, and the node is one of its cluster again.
    async fn answers(&self, work: &RebootWork, progress: &Progress) -> Result<(), Failure> {
        progress.waiting("the node's API", BACK);
        let begin = Instant::now();
        loop {
            let nodes = settle::read("asking whether the node is back", || self.site.reader().nodes()).await;
            let there = match &nodes {
                Ok(nodes) => nodes.iter().any(|node| {
                    // One alone answers, whatever it thinks of itself.
                    node.node == work.node && (nodes.len() == 1 || node.status == "online")
                }),
                Err(_) => false,
            };
            match nodes {
                _ if there => return Ok(()),
                Err(failure) if begin.elapsed() >= BACK || failure.code == "proxmox::certificate" => {
                    return Err(failure.while_doing("the node was restarted, and its API does not answer"));
                }
                Ok(_) if begin.elapsed() >= BACK => {
                    let what = "the node was restarted, and its cluster does not see it";
                    return Err(Failure::new("reboot::away", what).hint("on the node: pvecm status"));
                }
                _ => sleep(PAUSE).await,
            }
        }
    }

    /// The site's lock ended with the processes of the node. Whoever took it since then works on.
    async fn lock_again(&self, host: &HostRunner) -> Result<(), Failure> {
        let begin = Instant::now();
        let held = loop {
            match lock::again(&self.site.ways, host, &self.site.site).await {
                // It is barely up.
                Err(NotHeld::Unreachable(_)) if begin.elapsed() < settle::UNREACHABLE => sleep(PAUSE).await,
                held => break held,
            }
        };
        let held = held.map_err(|why| match why {
            NotHeld::Taken(who) => {
                Failure::new("reboot::taken", format!("another run began while the node restarted: {who}"))
                    .hint("it starts the guests that ran; phoenix-cli apply does the rest once it is over")
            }
            NotHeld::Unreachable(failure) => failure,
            NotHeld::NoWay => Failure::new("reboot::unlocked", "the site's lock cannot be taken again"),
            NotHeld::Unable(said) => {
                Failure::new("reboot::unlocked", format!("the site's lock cannot be taken again: {said}"))
                    .hint("phoenix-cli doctor")
            }
        })?;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// Starts again what ran and does not run, and forgets what was written down. Where the node has just started, what starts by
    /// itself is waited for first. How many run again, and which do not.
    async fn end(
        &self,
        work: &RebootWork,
        host: &HostRunner,
        begun: &Begun,
        restarted: bool,
        progress: &Progress,
    ) -> Result<String, Failure> {
        let off = |id: u32| work.guests.iter().any(|it| it.id == id && it.off);
        let ran: BTreeMap<u32, GuestKind> =
            begun.ran.iter().filter(|(_, id)| !off(*id)).map(|(kind, id)| (*id, *kind)).collect();
        self.by_themselves(work, &ran, restarted, progress).await?;
        let running = self.running(&work.node).await?;
        let missing = ran.keys().copied().filter(|id| !running.contains_key(id));
        let mut down: BTreeSet<u32> = BTreeSet::new();
        for group in groups(work, missing) {
            let started = group.into_iter().filter_map(|id| Some((id, *ran.get(&id)?)));
            let started = futures::stream::iter(started).map(|(id, kind)| async move {
                let crew = self.crew(kind);
                let guest = crew.guest(&Placement { id, node: work.node.clone() });
                (id, crew.start(&guest, progress).await)
            });
            let results: Vec<(u32, Result<(), Failure>)> = started.buffer_unordered(AT_ONCE).collect().await;
            for (id, result) in results {
                match result {
                    Ok(()) => {}
                    Err(failure) if is_of_the_way(&failure) => return Err(failure),
                    // Somebody has removed it.
                    Err(failure) if failure.code == settle::NOT_FOUND => {}
                    Err(failure) => {
                        progress
                            .warning(format!("{id} ran before the restart, and does not start: {failure}"));
                        down.insert(id);
                    }
                }
            }
        }
        checked(host, &Self::command("forgetting the restart of the node", "end")).await?;
        let up = ran.len().saturating_sub(down.len());
        Ok(match down.is_empty() {
            true => format!("{up} guest{} again", if up == 1 { " runs" } else { "s run" }),
            false => format!("{up} of {} guests run again", ran.len()),
        })
    }

    /// Waits until the guests run that start with the node, as long as the node is at it; and until nothing works on those that
    /// ran any more, such as what a run that was killed began.
    async fn by_themselves(
        &self,
        work: &RebootWork,
        ran: &BTreeMap<u32, GuestKind>,
        restarted: bool,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let by_themselves =
            work.guests.iter().filter(|it| restarted && it.onboot && ran.contains_key(&it.id));
        let expected: Vec<u32> = by_themselves.map(|it| it.id).collect();
        let mut told = false;
        loop {
            let running = self.running(&work.node).await?;
            let waits = expected.iter().any(|id| !running.contains_key(id));
            let tasks = settle::active(self.site.reader(), &work.node).await?;
            let own = ["vzstart", "qmstart", "vzshutdown", "qmshutdown", "vzstop", "qmstop"];
            let works =
                |id: &u32| tasks.iter().any(|task| own.contains(&&*task.kind) && settle::works_on(task, *id));
            let busy = tasks.iter().any(|task| task.kind == "startall") || ran.keys().any(works);
            let begins = waits && begin.elapsed() < BEGINS;
            if begin.elapsed() >= STARTED || !(busy || begins) {
                return Ok(());
            }
            if !told {
                progress.waiting("the guests that the node starts or stops by itself", STARTED);
                told = true;
            }
            sleep(PAUSE).await;
        }
    }

    async fn carry_out_one(&self, step: &Step, progress: &Progress) -> Result<Done, Failure> {
        let work: RebootWork = apply::work(step)?;
        let host = self.site.node_runner()?;
        let seen = self.look(&host).await?;
        let begun = seen.begun_by(&self.site.site).cloned();
        let before = begun.as_ref().filter(|begun| begun.boot != seen.boot);
        if let Some(begun) = before {
            return Ok(Done::new(self.end(&work, &host, begun, true, progress).await?));
        }
        match (work.deed, begun) {
            (RebootDeed::Resume, Some(begun)) => {
                Ok(Done::new(self.end(&work, &host, &begun, false, progress).await?))
            }
            (RebootDeed::Resume, None) => Ok(Done::new("nothing is left to be started")),
            (RebootDeed::Restart, None) if seen.waiting().next().is_none() => {
                Ok(Done::new("nothing waits for a restart any more"))
            }
            (RebootDeed::Restart, _) => {
                let begun = self.restart(&work, &host, &seen, progress).await?;
                let again = self.end(&work, &host, &begun, true, progress).await?;
                Ok(Done::new(format!("restarted; {again}")))
            }
        }
    }
}

/// Where a guest stands in the order of starts.
fn place(work: &RebootWork, id: u32) -> u32 {
    let known = work.guests.iter().find(|it| it.id == id);
    known.and_then(|it: &OnNode| it.order).unwrap_or(u32::MAX)
}

/// Guests that start at the same time, in the order of their starts.
fn groups(work: &RebootWork, ids: impl Iterator<Item = u32>) -> Vec<Vec<u32>> {
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for id in ids {
        groups.entry(place(work, id)).or_default().push(id);
    }
    groups.into_values().collect()
}

/// Whether a failure is one of the way to the node, and says nothing of a guest.
fn is_of_the_way(failure: &Failure) -> bool {
    [settle::NO_ANSWER, "proxmox::answer-lost", "proxmox::certificate", "transport::failed"]
        .contains(&failure.code.as_str())
}

/// A command on the node that has to succeed, and may be run twice.
async fn checked(host: &HostRunner, command: &Command) -> Result<(), Failure> {
    let output = settle::command(&*host.runner, command).await?;
    if output.success() {
        return Ok(());
    }
    Err(Failure::new("reboot::refused", format!("failed while {}", command.purpose))
        .with_output(output.tail(8))
        .hint("phoenix-cli apply tries again"))
}

#[async_trait]
impl Crew for RebootCrew {
    fn kind(&self) -> &'static str {
        kinds::REBOOT
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let one = |step, progress: Progress| async move { self.carry_out_one(step, &progress).await };
        apply::crew::in_turn(steps, progress, one).await
    }
}
