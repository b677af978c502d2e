//! How rules get on the node: written at once, proven by a new connection, and taken back by the node itself when none
//! gets through (P-20).
//!
//! Steps that come while a change is under way wait for it, and are then one change together: a node takes up to ten
//! seconds to put new files in force, whatever their number.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use futures::future::try_join_all;
use plan::Step;
use plan::address::kinds;
use proxmox::firewall::FirewallFile;
use proxmox::firewall::change::{FIREWALL, FileChange};
use proxmox::inventory::is_firewall_name;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use transport::{Command, Runner};

use super::diff::FirewallWork;
use crate::guarded::{Codes, Guarded};
use crate::settle;
use crate::worksite::Worksite;

/// How long the node waits for the word that all is well before it puts the old files back.
pub const GUARD: Duration = Duration::from_secs(60);
/// How long new files may need until they are in force: pve-firewall looks every ten seconds.
pub const IN_FORCE: Duration = Duration::from_secs(20);
/// How long the nftables backend of Proxmox VE may need (proxmox-firewall looks every five seconds). It does not say.
const NFTABLES: Duration = Duration::from_secs(7);
/// How the files are changed.
const GUARDED: Guarded = Guarded {
    guard: &FIREWALL,
    wait: GUARD,
    busy: Duration::from_secs(90),
    what: "the firewall",
    things: "rules",
    codes: Codes {
        modified: "firewall::modified",
        busy: "firewall::busy",
        cut: "firewall::way-cut",
        failed: "firewall::failed",
        // Nothing is brought into force here but by Proxmox VE itself.
        refused: "firewall::failed",
    },
    cut_hint: "name the networks that manage the node in `firewall.management`, then phoenix-cli apply",
    failed_hint: "on the node: systemctl status pve-cluster; then phoenix-cli apply",
};

/// What a waiting step is told.
type Told = Result<Done, Failure>;

/// The crew for firewalls.
#[derive(Debug)]
pub struct FirewallCrew {
    site: Arc<Worksite>,
    waiting: Mutex<Vec<(Vec<FileChange>, oneshot::Sender<Told>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl FirewallCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Carries out a step's changes, with those of all who wait.
    async fn change(&self, files: Vec<FileChange>, progress: &Progress) -> Told {
        loop {
            let (tell, mut told) = oneshot::channel();
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((files.clone(), tell));
            let _turn = self.turn.lock().await;
            match told.try_recv() {
                Ok(result) => return result,
                // Whoever had taken it on was given up before the end: it is done anew.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let all: Vec<FileChange> = waiting.iter().flat_map(|(files, _)| files.clone()).collect();
            let result = self.all(&all, progress).await;
            for (_, tell) in waiting {
                // Nobody listens for a step that was given up.
                let _ = tell.send(result.clone());
            }
            return result;
        }
    }

    /// Only the firewall's files are written, and of guests only those that are the site's own.
    async fn check(&self, files: &[FileChange]) -> Result<(), Failure> {
        for FileChange { name, .. } in files {
            if !is_firewall_name(name) {
                return Err(Failure::new(
                    "firewall::no-such-file",
                    format!("`{name}` is no file of the firewall"),
                )
                .hint("make the plan again with this phoenix-cli"));
            }
            if let Some(id) = name.strip_suffix(".fw").and_then(|id| id.parse().ok()) {
                self.site.check(id, None).await?;
            }
        }
        Ok(())
    }

    async fn all(&self, files: &[FileChange], progress: &Progress) -> Told {
        let first = self.site.ways.first().ok_or_else(|| {
            Failure::new("firewall::no-ssh", "there is no way to write the firewall's files")
                .hint("declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"")
        })?;
        let node = &**first;
        progress.doing(format!("writing {} file(s) of the firewall", files.len()));
        let proven = async {
            let nodes = self.nodes_of(first, files).await?;
            try_join_all(nodes.iter().map(|node| self.in_force(&**node, files, progress))).await.map(drop)
        };
        GUARDED.change(&self.site, node, (files, &[]), progress, proven).await?;
        let nftables = files.iter().any(uses_nftables);
        Ok(Done::new(if nftables { "written; this node does not say what is in force" } else { "in force" }))
    }

    /// The nodes that have to put files in force: the first one, and those that the guests are on.
    async fn nodes_of(
        &self,
        first: &Arc<dyn Runner>,
        files: &[FileChange],
    ) -> Result<Vec<Arc<dyn Runner>>, Failure> {
        let ids = files.iter().filter_map(|file| file.name.strip_suffix(".fw")?.parse().ok());
        let names: BTreeSet<String> = ids.filter_map(|id| self.site.ways.known_node_of(id)).collect();
        let mut nodes = vec![first.clone()];
        for name in names {
            let node = self.site.ways.node(&name).await?;
            if nodes.iter().all(|known| known.place() != node.place()) {
                nodes.push(node);
            }
        }
        Ok(nodes)
    }

    /// Waits until the node says that what is in force is what the files say. Proxmox VE shows no rule's comment once it
    /// is compiled, but it compares the whole: nothing is pending.
    async fn in_force(
        &self,
        node: &dyn Runner,
        files: &[FileChange],
        progress: &Progress,
    ) -> Result<(), Failure> {
        if files.iter().any(uses_nftables) {
            progress.waiting("the node's nftables firewall, which does not say what is in force", NFTABLES);
            sleep(NFTABLES).await;
            return Ok(());
        }
        let cluster = files.iter().find(|file| file.name == "cluster.fw");
        let enabled = cluster.map(|file| {
            let file = FirewallFile::parse(file.new.as_deref().unwrap_or_default());
            proxmox::firewall::judge::enabled(&file)
        });
        let begin = Instant::now();
        let mut waited = false;
        let mut pauses = settle::Pauses::up_to(settle::PAUSE / 2);
        loop {
            let command = Command::new("asking whether the rules are in force", ["pve-firewall", "status"]);
            let output = settle::command(node, &command).await?;
            let text = output.text();
            let status = text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or_default();
            let word = enabled.map(|enabled| if enabled { "enabled/" } else { "disabled/" });
            let settled = status.ends_with("/running") && word.is_none_or(|word| status.starts_with(word));
            if output.success() && settled {
                return Ok(());
            }
            if begin.elapsed() > IN_FORCE || status.ends_with("/stopped") {
                let said =
                    if status.is_empty() { output.tail(2).joined() } else { format!("Status: {status}") };
                return Err(Failure::new(
                    "firewall::not-in-force",
                    format!("the rules are not in force after {} s", begin.elapsed().as_secs()),
                )
                .with_output(said)
                .hint("on the node: systemctl status pve-firewall"));
            }
            if !waited {
                progress.waiting("the node to put the rules in force", IN_FORCE);
                waited = true;
            }
            pauses.pause().await;
        }
    }
}

/// Whether the node's firewall is the one of nftables, which has no word on what is in force.
fn uses_nftables(file: &FileChange) -> bool {
    let host = file.name.starts_with("host:");
    host && FirewallFile::parse(file.new.as_deref().unwrap_or_default()).option("nftables") == Some("1")
}

#[async_trait]
impl Crew for FirewallCrew {
    fn kind(&self) -> &'static str {
        kinds::FIREWALL
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Told> {
        let mut results = Vec::new();
        for step in steps {
            let result = match apply::work::<FirewallWork>(step) {
                Ok(FirewallWork::Write { files }) => match self.check(&files).await {
                    Ok(()) => self.change(files, &progress.for_step(&step.address)).await,
                    Err(failure) => Err(failure),
                },
                Err(failure) => Err(failure),
            };
            results.push(result);
        }
        results
    }
}
