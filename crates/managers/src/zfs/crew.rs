//! Making, changing and destroying pools and datasets. Each command is one that ZFS refuses the second time, and then it is looked
//! whether it was done: so a run that was cut off, or an answer that got lost, ends where it would have ended. Before what cannot
//! be taken back, all is looked at once more.

mod keys;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::inventory::zfs::{self, Zfs};
use plan::{Address, Step};
use secrecy::ExposeSecret as _;
use transport::{Command, Output};

use super::disks::{Allowed, judge};
use super::encryption::KeyWork;
use super::{
    AppliedDataset, AppliedPool, DatasetDeed, DatasetWork, LOOK, MADE_BY, PoolChange, PoolDeed, PoolWork,
    Said, Vdev, Wipe, applied, commands, datasets, pools, read, same,
};
use crate::features::known;
use crate::hypervisor::memory;
use crate::settle;
use crate::worksite::{HostRunner, Worksite};
use plan::address::kinds;

/// Makes disks empty, or says why not.
const EMPTY: &str = include_str!("empty.sh");
/// Labels on disks, and starting up what is on them: seconds, and with many disks some more.
const LIMIT: Duration = Duration::from_mins(10);
/// Looking takes no time but where a disk does not answer.
const LOOKING: Duration = Duration::from_mins(1);

/// The crew for pools, or for datasets.
#[derive(Debug)]
pub(super) struct ZfsCrew {
    site: Arc<Worksite>,
    kind: &'static str,
}

/// The node, while something is done there.
struct Job<'a> {
    site: &'a Worksite,
    host: HostRunner,
    node: &'a str,
    progress: &'a Progress,
}

impl ZfsCrew {
    pub(super) fn new(site: Arc<Worksite>, kind: &'static str) -> Self {
        Self { site, kind }
    }

    fn job<'a>(&'a self, node: &'a str, progress: &'a Progress) -> Result<Job<'a>, Failure> {
        Ok(Job { site: &self.site, host: self.site.node_runner()?, node, progress })
    }

    async fn carry_out_one(&self, step: &Step, progress: &Progress) -> Result<Done, Failure> {
        if self.kind == kinds::DATASET {
            let work: DatasetWork = apply::work(step)?;
            let job = self.job(&work.node, progress)?;
            return match &work.deed {
                DatasetDeed::Put { said, inherit, key } => {
                    job.put(&work.dataset, said, inherit, key.as_ref()).await
                }
                DatasetDeed::Destroy => job.destroy_dataset(&work.dataset).await,
                DatasetDeed::Forget => job.forget([Address::dataset(&work.dataset)]).await,
            };
        }
        let work: PoolWork = apply::work(step)?;
        let job = self.job(&work.node, progress)?;
        match &work.deed {
            PoolDeed::Create { groups, ashift, said, wipe } => {
                job.create(&work.pool, groups, *ashift, said, wipe).await
            }
            PoolDeed::Import { guid, elsewhere, said } => {
                job.import(&work.pool, guid, *elsewhere, said).await
            }
            PoolDeed::Update { guid, changes, said, wipe } => {
                job.update(&work.pool, guid, changes, said, wipe).await
            }
            PoolDeed::Destroy { guid, datasets } => job.destroy(&work.pool, guid, datasets).await,
            PoolDeed::Forget => job.forget([Address::pool(&work.pool)]).await,
        }
    }
}

/// What is said where it is not as the plan saw it.
fn changed(what: String) -> Failure {
    Failure::new("zfs::changed", what).hint("phoenix-cli plan shows what is there now")
}

/// A command that failed, in words.
fn refused(what: &str, output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let (code, hint) = if said.contains("Incorrect key provided") {
        (
            "zfs::wrong-key",
            "the dataset has another key than the blueprint names: apply with the one of before, then change it",
        )
    } else if said.contains("is busy") {
        (
            "zfs::busy",
            "something uses it: on the node, fuser -vm says what of a mounted dataset; then phoenix-cli apply",
        )
    } else if said.contains("too small") {
        ("zfs::too-small", "a disk that takes another's place has to be as large as that one, or larger")
    } else {
        ("zfs::refused", "on the node, zpool status says how the pool is; phoenix-cli apply tries again")
    };
    Failure::new(code, format!("failed while {what}")).with_output(output.tail(8)).hint(hint)
}

impl Job<'_> {
    /// What the node has now.
    async fn look(&self) -> Result<Zfs, Failure> {
        let command =
            Command::new("looking at the node's pools", ["sh", "-c", read::SCRIPT, LOOK]).limit(LOOKING);
        let read = |text: &str| read::parse(text)?.ok_or_else(|| "it has no ZFS".to_owned());
        self.host.read(&command, read).await?.map_err(|why| {
            Failure::new("zfs::unread", format!("the node could not say what pools it has: {why}"))
                .hint("does it answer by hand, on the node: zpool status")
        })
    }

    /// Runs a command that may be run twice, since the second time it changes nothing: where it fails, it is looked whether it
    /// is done.
    async fn through(
        &self,
        what: &str,
        argv: Vec<String>,
        done: impl Fn(&Zfs) -> bool + Send + Sync,
    ) -> Result<(), Failure> {
        self.through_with(what, argv, Vec::new(), done).await
    }

    /// The same for a command that reads something from its standard input.
    async fn through_with(
        &self,
        what: &str,
        argv: Vec<String>,
        stdin: Vec<u8>,
        done: impl Fn(&Zfs) -> bool + Send + Sync,
    ) -> Result<(), Failure> {
        let command = Command::new(what, argv).stdin(stdin).limit(LIMIT);
        let output = settle::command(&*self.host.runner, &command).await?;
        if output.success() || done(&self.look().await?) {
            return Ok(());
        }
        Err(refused(what, &output))
    }

    async fn remember_pool(
        &self,
        pool: &str,
        change: impl Fn(&mut AppliedPool) + Send + Sync,
    ) -> Result<(), Failure> {
        let address = Address::pool(pool);
        memory::change(self.site, &self.host, self.node, |mark| {
            let mut known: AppliedPool = applied(Some(&*mark), &address).unwrap_or_default();
            change(&mut known);
            // Plain texts always serialize.
            mark.remember(&address, serde_json::to_value(known).unwrap_or_default());
        })
        .await
    }

    async fn forget(&self, addresses: impl IntoIterator<Item = Address> + Send) -> Result<Done, Failure> {
        let addresses: Vec<Address> = addresses.into_iter().collect();
        memory::change(self.site, &self.host, self.node, |mark| {
            addresses.iter().for_each(|address| drop(mark.forget(address)));
        })
        .await?;
        Ok(Done::new("forgotten"))
    }

    /// Judges disks once more, writes down that they are about to be taken, and empties those that may be.
    async fn ready(
        &self,
        zfs: &Zfs,
        pool: &str,
        disks: &BTreeSet<String>,
        wipe: &[Wipe],
    ) -> Result<(), Failure> {
        let serials = wipe.iter().filter(|it| !it.left).map(|it| it.serial.clone()).collect();
        let making = wipe.iter().filter(|it| it.left).map(|it| it.disk.clone()).collect();
        let mut words = Vec::new();
        for disk in disks {
            let emptied = judge(zfs, disk, Allowed { serials: &serials, making: &making })
                .map_err(|why| Failure::new(why.code, why.message).hint(why.hint))?;
            words.push(disk.clone());
            words.push(emptied.map_or_else(|| "-".to_owned(), |it| it.serial));
        }
        self.remember_pool(pool, |known| known.making.extend(disks.iter().cloned())).await?;
        let what = "looking that nothing is on the disks";
        let script = ["sh", "-c", EMPTY, "phoenix-zfs-empty"].map(str::to_owned);
        let command = Command::new(what, script.into_iter().chain(words)).limit(LIMIT);
        let output = settle::command(&*self.host.runner, &command).await?;
        match output.success() {
            true => Ok(()),
            false => Err(Failure::new("zfs::disk-used", "a disk cannot be taken")
                .with_output(output.tail(3))
                .hint("phoenix-cli plan shows what is on it")),
        }
    }

    async fn create(
        &self,
        pool: &str,
        groups: &[Vdev],
        ashift: u8,
        said: &Said,
        wipe: &[Wipe],
    ) -> Result<Done, Failure> {
        let disks: BTreeSet<String> = groups.iter().flat_map(|it| it.disks.iter().cloned()).collect();
        let site = &self.site.site;
        let is_ours = |zfs: &Zfs| {
            let wanted: BTreeSet<&str> = disks.iter().map(|disk| zfs.disk_named(disk)).collect();
            let made_by = zfs.datasets.get(pool).and_then(|it| it.local.get(MADE_BY));
            let there = zfs.pools.get(pool);
            made_by == Some(site) && there.is_some_and(|it| zfs::disks(zfs, &it.groups) == wanted)
        };
        let seen = self.look().await?;
        if seen.pools.contains_key(pool) && !is_ours(&seen) {
            return Err(changed(format!("there is a pool {pool} by now; nothing was done to it")));
        }
        if !is_ours(&seen) {
            if seen.importable.iter().any(|it| it.name == pool) {
                return Err(changed(format!(
                    "there is a pool {pool} on disks by now, which can be imported"
                )));
            }
            self.ready(&seen, pool, &disks, wipe).await?;
            self.progress.doing(format!("making the pool {pool} of {} disks", disks.len()));
            self.through("making the pool", commands::create(site, pool, groups, ashift, said), is_ours)
                .await?;
        }
        self.settled(pool, said).await
    }

    /// Has the properties be as they are said, and writes down that all is done.
    async fn settled(&self, pool: &str, said: &Said) -> Result<Done, Failure> {
        let seen = self.look().await?;
        let Some(there) = seen.pools.get(pool) else {
            return Err(Failure::new("zfs::gone", format!("the pool {pool} is not there after all"))
                .hint("on the node: zpool status; zpool import"));
        };
        let local = seen.datasets.get(pool).map(|it| &it.local);
        for change in pools::settings(&said.pool, &said.root, &BTreeSet::new(), there, local) {
            self.change(pool, &change).await?;
        }
        let guid = there.guid.clone();
        self.remember_pool(pool, |known| {
            *known = AppliedPool {
                guid: Some(guid.clone()),
                making: BTreeSet::new(),
                said: said.root.keys().cloned().collect(),
            };
        })
        .await?;
        Ok(Done::new(format!("{pool} is {}", there.health)))
    }

    async fn import(&self, pool: &str, guid: &str, elsewhere: bool, said: &Said) -> Result<Done, Failure> {
        let is_in = |zfs: &Zfs| zfs.pools.get(pool).is_some_and(|it| it.guid == guid);
        let seen = self.look().await?;
        if !is_in(&seen) {
            if seen.pools.contains_key(pool) || !seen.importable.iter().any(|it| it.guid == guid) {
                return Err(changed(format!("the pool {pool} cannot be imported any more")));
            }
            self.progress.doing(format!("importing the pool {pool}"));
            self.through("importing the pool", commands::import(guid, elsewhere), is_in).await?;
        }
        self.settled(pool, said).await
    }

    async fn update(
        &self,
        pool: &str,
        guid: &str,
        changes: &[PoolChange],
        said: &Said,
        wipe: &[Wipe],
    ) -> Result<Done, Failure> {
        let seen = self.look().await?;
        let Some(there) = seen.pools.get(pool).filter(|it| it.guid == guid) else {
            return Err(changed(format!("the pool {pool} is not there any more, or another one is")));
        };
        let has = zfs::disks(&seen, &there.groups);
        let new = changes.iter().flat_map(new_disks).filter(|disk| !has.contains(seen.disk_named(disk)));
        let new: BTreeSet<String> = new.cloned().collect();
        if !new.is_empty() {
            self.ready(&seen, pool, &new, wipe).await?;
        }
        for change in changes {
            self.change(pool, change).await?;
        }
        let done = self.settled(pool, said).await?;
        let copies =
            changes.iter().any(|it| matches!(it, PoolChange::Replace { .. } | PoolChange::Attach { .. }));
        Ok(match copies {
            true => Done::new(format!(
                "{pool} copies to the new disk, and goes on working; how far, on the node: zpool status {pool}"
            )),
            false => done,
        })
    }

    async fn change(&self, pool: &str, change: &PoolChange) -> Result<(), Failure> {
        let what = match change {
            PoolChange::Set { property, .. } => format!("setting {property} of {pool}"),
            PoolChange::Root { .. } => format!("setting properties of {pool}"),
            PoolChange::Replace { new, .. } => format!("putting {new} in its place in {pool}"),
            PoolChange::Attach { new, .. } => format!("having {new} join {pool}"),
            PoolChange::Add { .. } => format!("adding disks to {pool}"),
            PoolChange::Remove { name } => format!("taking {name} out of {pool}"),
        };
        self.progress.doing(what.clone());
        for argv in commands::change(pool, change) {
            self.through(&what, argv, |zfs| is_done(zfs, pool, change)).await?;
        }
        Ok(())
    }

    async fn destroy(&self, pool: &str, guid: &str, own: &BTreeSet<String>) -> Result<Done, Failure> {
        let seen = self.look().await?;
        if let Some(there) = seen.pools.get(pool) {
            if there.guid != guid
                || seen.datasets.get(pool).and_then(|it| it.local.get(MADE_BY)) != Some(&self.site.site)
            {
                return Err(changed(format!(
                    "the pool {pool} is another one by now; nothing was done to it"
                )));
            }
            if let Some((foreign, _)) = seen.below(pool).find(|(name, _)| !own.contains(*name)) {
                return Err(in_use(pool, foreign));
            }
            self.progress.doing(format!("destroying the pool {pool}"));
            let gone = |zfs: &Zfs| !zfs.pools.contains_key(pool);
            self.through("destroying the pool", commands::destroy(pool), gone).await?;
            let keys =
                seen.below(pool).filter(|(name, it)| it.key.as_ref().is_some_and(|key| key.root == *name));
            let keys: Vec<&str> = keys.map(|(name, _)| name).collect();
            if !keys.is_empty() {
                self.drop_keys(keys).await?;
            }
        }
        let all = std::iter::once(Address::pool(pool)).chain(own.iter().map(|name| Address::dataset(name)));
        self.forget(all.collect::<Vec<_>>()).await?;
        Ok(Done::new(format!("{pool} is destroyed")))
    }

    async fn put(
        &self,
        name: &str,
        said: &std::collections::BTreeMap<String, String>,
        inherit: &BTreeSet<String>,
        key: Option<&KeyWork>,
    ) -> Result<Done, Failure> {
        let mut seen = self.look().await?;
        let pool = name.split('/').next().unwrap_or_default();
        if !seen.pools.contains_key(pool) {
            return Err(changed(format!("the pool {pool} is not there any more")));
        }
        let exists = |zfs: &Zfs| zfs.datasets.get(name).is_some_and(|it| !it.volume);
        if seen.datasets.get(name).is_some_and(|it| it.volume) {
            return Err(changed(format!("{name} is a volume by now")));
        }
        let key = match key {
            Some(work) => Some((work, self.key(name, work, exists(&seen))?)),
            None => None,
        };
        if exists(&seen) {
            if let Some((work, key)) = &key {
                self.open(name, work, key, &seen).await?;
                seen = self.look().await?;
            }
            let (set, inherit) =
                datasets::settings(said, inherit, seen.datasets.get(name).map(|it| &it.local));
            let is = |zfs: &Zfs| {
                let (set, left) =
                    datasets::settings(said, &inherit, zfs.datasets.get(name).map(|it| &it.local));
                set.is_empty() && left.is_empty()
            };
            self.progress.doing(format!("setting properties of {name}"));
            for argv in commands::properties(name, &set, &inherit) {
                self.through("setting properties of the dataset", argv, is).await?;
            }
        } else {
            self.progress.doing(format!("making {name}"));
            let mut stdin = Vec::new();
            if let Some((work, key)) = &key {
                self.place_key(name, work, key).await?;
                stdin = key.expose_secret().as_bytes().to_vec();
            }
            let argv = commands::create_dataset(&self.site.site, name, said);
            self.through_with("making the dataset", argv, stdin, exists).await?;
        }
        let address = Address::dataset(name);
        let code = key.map(|(work, key)| {
            let code = self.site.trust.key();
            code.map(|code| known::code(code, &address, std::slice::from_ref(&work.secret), &[key]))
                .unwrap_or_default()
        });
        memory::change(self.site, &self.host, self.node, |mark| {
            let before = applied::<AppliedDataset>(Some(&*mark), &address).and_then(|it| it.key);
            let entry = AppliedDataset { key: code.clone().or(before), said: said.keys().cloned().collect() };
            // Plain texts always serialize.
            mark.remember(&address, serde_json::to_value(&entry).unwrap_or_default());
        })
        .await?;
        Ok(Done::new(format!("{name} is there")))
    }

    async fn destroy_dataset(&self, name: &str) -> Result<Done, Failure> {
        let seen = self.look().await?;
        if let Some(there) = seen.datasets.get(name) {
            if there.local.get(MADE_BY) != Some(&self.site.site) {
                return Err(changed(format!("{name} is not what this site made; nothing was done to it")));
            }
            if let Some((below, _)) = seen.below(name).next() {
                return Err(in_use(name, below));
            }
            self.progress.doing(format!("destroying {name}"));
            let gone = |zfs: &Zfs| !zfs.datasets.contains_key(name);
            let encrypted = there.key.as_ref().is_some_and(|key| key.root == name);
            self.through("destroying the dataset", commands::destroy_dataset(name), gone).await?;
            if encrypted {
                self.drop_keys([name]).await?;
            }
        }
        self.forget([Address::dataset(name)]).await?;
        Ok(Done::new(format!("{name} is destroyed")))
    }
}

fn in_use(name: &str, below: &str) -> Failure {
    Failure::new("zfs::in-use", format!("{name} cannot be destroyed: {below} is in it by now"))
        .hint(format!("what is in it, on the node: zfs list -r {name}"))
}

/// The disks that a change brings.
fn new_disks(change: &PoolChange) -> impl Iterator<Item = &String> {
    let (one, many) = match change {
        PoolChange::Replace { new, .. } | PoolChange::Attach { new, .. } => (Some(new), None),
        PoolChange::Add { vdev, .. } => (None, Some(&vdev.disks)),
        _ => (None, None),
    };
    one.into_iter().chain(many.into_iter().flatten())
}

/// Whether a change was made.
fn is_done(zfs: &Zfs, pool: &str, change: &PoolChange) -> bool {
    let Some(there) = zfs.pools.get(pool) else { return false };
    match change {
        PoolChange::Set { property, value } => {
            there.properties.get(property).is_some_and(|it| same(it, value))
        }
        PoolChange::Root { set, inherit } => {
            let (set, inherit) = datasets::settings(set, inherit, zfs.datasets.get(pool).map(|it| &it.local));
            set.is_empty() && inherit.is_empty()
        }
        PoolChange::Remove { name } => !there.groups.iter().any(|group| group.name == *name),
        PoolChange::Replace { .. } | PoolChange::Attach { .. } | PoolChange::Add { .. } => {
            let has = zfs::disks(zfs, &there.groups);
            new_disks(change).all(|disk| has.contains(zfs.disk_named(disk)))
        }
    }
}

#[async_trait]
impl Crew for ZfsCrew {
    fn kind(&self) -> &'static str {
        self.kind
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let one = |step, progress: Progress| async move { self.carry_out_one(step, &progress).await };
        apply::crew::in_turn(steps, progress, one).await
    }
}
