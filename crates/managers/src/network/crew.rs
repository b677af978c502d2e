//! How a change of the node's network is carried out: all links in one, with the guard armed before the first byte is written.

use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::{Address, Step};
use proxmox::guard::FileChange;
use proxmox::network::{FILE, Interfaces, NETWORK, SCRIPT, SeenNetwork, parse_seen};
use tokio::time::Instant;
use transport::Command;

use super::{Applied, NetworkWork, Put, force, pins, text_of};
use crate::guarded::{Codes, Guarded};
use crate::hypervisor::memory;
use crate::settle;
use crate::worksite::{HostRunner, Worksite};

/// How long the node waits for the word that all is well before it puts the old network back.
pub const GUARD: Duration = Duration::from_secs(90);
/// How long links may need until they are as the file says: a card learns its speed in a few seconds.
const IN_FORCE: Duration = Duration::from_secs(20);

/// How the file is changed.
const GUARDED: Guarded = Guarded {
    guard: &NETWORK,
    wait: GUARD,
    // Bringing it into force takes its time, both ways.
    busy: Duration::from_secs(300),
    what: "the node's network",
    things: "links",
    codes: Codes {
        modified: "network::modified",
        busy: "network::busy",
        cut: "network::way-cut",
        failed: "network::failed",
        refused: "network::refused",
    },
    cut_hint: "is the node still reached at the address in `target`, through the same card? correct `hypervisor.network`, then phoenix-cli apply",
    failed_hint: "what it says of the file, on the node: ifreload -a -s; then phoenix-cli apply",
};

/// The crew for the node's network.
#[derive(Debug)]
pub struct NetworkCrew {
    site: Arc<Worksite>,
}

/// What a batch does.
#[derive(Default)]
struct Batch<'a> {
    node: String,
    puts: Vec<&'a Put>,
    removes: Vec<(&'a str, &'a str)>,
    forgets: Vec<&'a str>,
    unpin: Vec<String>,
}

impl<'a> Batch<'a> {
    fn of(works: &'a [NetworkWork]) -> Self {
        let mut batch = Self::default();
        for work in works {
            let node = match work {
                NetworkWork::Put(put) => {
                    batch.puts.push(put);
                    batch.unpin.extend_from_slice(&put.unpin);
                    &put.node
                }
                NetworkWork::Remove { node, name, was, unpin } => {
                    batch.removes.push((name, was));
                    batch.unpin.extend_from_slice(unpin);
                    node
                }
                NetworkWork::Forget { node, name, unpin } => {
                    batch.forgets.push(name);
                    batch.unpin.extend_from_slice(unpin);
                    node
                }
            };
            batch.node.clone_from(node);
        }
        batch
    }

    /// Keeps the names of cards, and no longer those of others.
    async fn pins(&self, host: &HostRunner) -> Result<(), Failure> {
        let keep: Vec<(String, String)> = self.puts.iter().flat_map(|put| put.pins.clone()).collect();
        let gone = self.unpin.iter().filter(|mac| keep.iter().all(|(it, _)| it != *mac)).cloned();
        pins::keep(host, &keep, &gone.collect::<Vec<_>>()).await
    }

    /// The links that change, those that are of others first: in this order they can go down.
    fn about(&self) -> Vec<String> {
        let edits = self.puts.iter().flat_map(|put| put.edits.iter().map(|edit| edit.name.clone()));
        let mut all: Vec<String> =
            self.removes.iter().map(|(name, _)| (*name).to_owned()).chain(edits).collect();
        let rank = |name: &String| {
            let of = |put: &&&Put| put.link.name == *name;
            let put = self.puts.iter().find(of);
            let parts = put.is_some_and(|put| !put.parts.is_empty());
            let bridge = put.is_some_and(|put| put.link.kind() == "bridge");
            (!name.contains('.'), !bridge, !parts)
        };
        all.sort_by_key(rank);
        all.dedup();
        all
    }

    /// The file with all of it worked in.
    fn worked_in(&self, text: &str) -> Result<String, Failure> {
        let mut file = Interfaces::parse(text);
        let modified = |name: &str| {
            let what =
                format!("somebody changed {name} in {FILE} since the plan was made; nothing was written");
            Failure::new("network::modified", what).hint("phoenix-cli plan shows what is there now")
        };
        for (name, was) in &self.removes {
            let now = text_of(&file, name);
            if now != *was && !now.is_empty() {
                return Err(modified(name));
            }
            file.remove(name);
        }
        for edit in self.puts.iter().flat_map(|put| &put.edits) {
            let now = text_of(&file, &edit.name);
            // A run that was cut off may have done it already.
            if now != edit.was && now != edit.now {
                return Err(modified(&edit.name));
            }
            if now != edit.now || (edit.auto && !file.is_auto(&edit.name)) {
                let wanted = Interfaces::parse(&edit.now);
                file.put(&edit.name, edit.auto, wanted.of(&edit.name).cloned().collect());
            }
        }
        Ok(file.to_string())
    }
}

impl NetworkCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    async fn all(&self, works: &[NetworkWork], progress: &Progress) -> Result<Done, Failure> {
        let batch = Batch::of(works);
        let host = self.site.node_runner()?;
        if batch.puts.is_empty() && batch.removes.is_empty() {
            batch.pins(&host).await?;
            self.remember(&batch, &host).await?;
            return Ok(Done::new("forgotten"));
        }
        let seen = look(&host).await?;
        let old = seen.text.clone().unwrap_or_default();
        let new = batch.worked_in(&old)?;
        let in_force = |seen: &SeenNetwork| missing(&batch, seen).is_empty();
        // One that was not confirmed is taken back.
        let unconfirmed = seen.unconfirmed.is_some();
        if new != old || unconfirmed || !in_force(&seen) {
            // Before it is made: what is made is then never nobody's.
            self.made(&batch, &host).await?;
            progress.doing(format!("writing {FILE} and bringing it into force"));
            let file = FileChange { name: "interfaces".to_owned(), old: Some(old), new: Some(new) };
            let proven = in_force_soon(&batch, &host, progress);
            let about = batch.about();
            GUARDED.change(&self.site, &*host.runner, (&[file], &about), progress, proven).await?;
        }
        batch.pins(&host).await?;
        self.remember(&batch, &host).await?;
        Ok(Done::new("in force"))
    }

    /// Has the node remember which links are made for the site, and whose names are kept.
    async fn made(&self, batch: &Batch<'_>, host: &HostRunner) -> Result<(), Failure> {
        let puts: Vec<&&Put> = batch.puts.iter().filter(|put| put.made || !put.pins.is_empty()).collect();
        if puts.is_empty() {
            return Ok(());
        }
        memory::change(&self.site, host, &batch.node, |mark| {
            for put in puts {
                mark.remember(&Address::network(&put.link.name), entry(put));
            }
        })
        .await
    }

    /// Has the node forget what is the site's no more.
    async fn remember(&self, batch: &Batch<'_>, host: &HostRunner) -> Result<(), Failure> {
        let removes = batch.removes.iter().map(|(name, _)| *name);
        let gone: Vec<&str> = removes.chain(batch.forgets.iter().copied()).collect();
        if gone.is_empty() {
            return Ok(());
        }
        memory::change(&self.site, host, &batch.node, |mark| {
            for name in gone {
                mark.forget(&Address::network(name));
            }
        })
        .await
    }
}

fn entry(put: &Put) -> serde_json::Value {
    let applied = Applied { made: put.made, pins: put.pins.iter().map(|(mac, _)| mac.clone()).collect() };
    // Plain texts always serialize.
    serde_json::to_value(applied).unwrap_or_default()
}

/// What of it is not so on the node.
fn missing(batch: &Batch<'_>, seen: &SeenNetwork) -> Vec<String> {
    let puts = batch.puts.iter().flat_map(|put| force::lacks(seen, &put.link, &put.parts));
    let there = batch.removes.iter().filter(|(name, _)| seen.links.contains_key(*name));
    puts.chain(there.map(|(name, _)| format!("{name} is still there"))).collect()
}

async fn look(host: &HostRunner) -> Result<SeenNetwork, Failure> {
    let command = Command::new("looking at the node's network", ["sh", "-c", SCRIPT, kinds::NETWORK]);
    host.read(&command, parse_seen).await?.map_err(|why| {
        Failure::new("network::unseen", format!("the node's network is not known: {why}"))
            .hint("phoenix-cli doctor tries every hop")
    })
}

/// Waits until the node's links are as they are wanted.
async fn in_force_soon(batch: &Batch<'_>, host: &HostRunner, progress: &Progress) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut pauses = settle::Pauses::up_to(settle::PAUSE);
    let mut waited = false;
    loop {
        let missing = missing(batch, &look(host).await?);
        if missing.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > IN_FORCE {
            let what = format!(
                "the file is brought into force, and after {} s it is not so",
                begin.elapsed().as_secs()
            );
            return Err(Failure::new("network::not-in-force", what)
                .with_output(missing.join("; "))
                .hint("what became of it, on the node: ip -br address; journalctl -b -u networking"));
        }
        if !waited {
            progress.waiting("the node's links to come up", IN_FORCE);
            waited = true;
        }
        pauses.pause().await;
    }
}

#[async_trait]
impl Crew for NetworkCrew {
    fn kind(&self) -> &'static str {
        kinds::NETWORK
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let works: Result<Vec<NetworkWork>, Failure> = steps.iter().map(|step| apply::work(step)).collect();
        let result = match works {
            Ok(works) => self.all(&works, progress).await,
            Err(failure) => Err(failure),
        };
        steps.iter().map(|_| result.clone()).collect()
    }
}
