//! Carrying out what was planned for guests. It converges from wherever it was cut off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::{Address, Step};
use proxmox::client::GuestRef;
use proxmox::config::GuestKind;
use proxmox::error::ErrorKind;
use proxmox::property::{PropertyString, Size};
use tokio::time::Instant;
use transport::Command;

use super::table::Table;
use super::work::{Create, GuestWork, Params, Placement, Update};
use crate::settle::{self, Seen, Task, failure};
use crate::worksite::Worksite;

/// Unpacking a template on a slow disk.
const CREATE: Duration = Duration::from_mins(30);
/// Starting: mounts, network, the init system's first breath.
const START: Duration = Duration::from_mins(3);
/// A clean shutdown; services get their 90 s of systemd. After it the container is stopped hard.
const SHUTDOWN: Duration = Duration::from_secs(100);
/// Growing a file system, freeing volumes.
const VOLUME: Duration = Duration::from_mins(10);

/// The crew for guests of one kind.
#[derive(Debug, Clone)]
pub struct GuestCrew {
    site: Arc<Worksite>,
    table: &'static Table,
}

impl GuestCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>, table: &'static Table) -> Self {
        Self { site, table }
    }

    fn guest(&self, placement: &Placement) -> GuestRef {
        GuestRef::new(&placement.node, self.kind(), placement.id)
    }

    fn kind(&self) -> GuestKind {
        match self.table.kind {
            plan::GuestKind::Container => GuestKind::Container,
            plan::GuestKind::Vm => GuestKind::Vm,
        }
    }

    async fn create(&self, address: &Address, create: &Create, progress: &Progress) -> Result<Done, Failure> {
        if let Some(old) = &create.replaces {
            self.destroy(address, old, progress).await?;
        }
        let guest = self.guest(&create.placement);
        let task = Task {
            site: &self.site,
            guest: &guest,
            what: "creating it",
            kind: self.table.tasks.create,
            limit: CREATE,
            fine: &[],
            progress,
        };
        // The mounts of a protected container cannot be changed, so what takes root comes before the protection.
        let late = |(key, _): &(String, String)| {
            key == "protection" && create.root.iter().any(|(k, _)| (self.table.is_drive)(k))
        };
        let (last, mut params): (Params, Params) = create.params.iter().cloned().partition(late);
        // What a plan says of the mark, nobody has sealed yet.
        let (_, description) = params.iter_mut().find(|(key, _)| key == "description").ok_or_else(|| {
            Failure::new("managers::not-ours", format!("the plan gives {} no mark", guest.id))
                .hint("make the plan again with this phoenix-cli")
        })?;
        *description = self.site.describe_new(guest.id, description)?;
        task.run(|| self.site.writer.create(&guest, params.clone()), || self.ours(address, &guest)).await?;
        self.site.is_sealed(guest.id);
        self.site.ways.is_on(guest.id, &guest.node);
        self.root(&guest, &create.root, progress).await?;
        if !last.is_empty() {
            settle::set(&self.site, &guest, last, progress).await?;
        }
        self.grow(&guest, &create.grow, progress).await?;
        self.start(&guest, progress).await?;
        // "The API said 200" is no proof: what was made is read back.
        let config = settle::read("reading it back", || self.site.reader().config(&guest)).await?;
        self.site.own(guest.id, Some(address), &config)?;
        Ok(Done::new(format!("made as {}", guest.id)))
    }

    /// Whether the guest is there, complete, and of this site.
    async fn ours(&self, address: &Address, guest: &GuestRef) -> Result<Seen, Failure> {
        match settle::find("looking for it", || self.site.reader().config(guest)).await? {
            Some(config) => {
                let ours = self.site.own(guest.id, Some(address), &config).is_ok();
                Ok(if ours && !config.contains_key("lock") { Seen::Done } else { Seen::NotDone })
            }
            None => Ok(Seen::NotDone),
        }
    }

    async fn running(&self, guest: &GuestRef) -> Result<bool, Failure> {
        Ok(settle::read("asking whether it runs", || self.site.reader().status(guest)).await?.running())
    }

    async fn start(&self, guest: &GuestRef, progress: &Progress) -> Result<(), Failure> {
        let task = Task {
            site: &self.site,
            guest,
            what: "starting it",
            kind: self.table.tasks.start,
            limit: START,
            fine: &[ErrorKind::AlreadyRunning],
            progress,
        };
        task.run(|| self.site.writer.start(guest), || self.is(guest, true)).await?;
        if self.running(guest).await? {
            return Ok(());
        }
        Err(Failure::new("managers::does-not-run", format!("{} was started, but does not run", guest.id))
            .hint(self.why_not(guest.id)))
    }

    /// How a person finds out why it does not start.
    fn why_not(&self, id: u32) -> String {
        match self.table.kind {
            plan::GuestKind::Container => format!("why, on the node: pct start {id} --debug"),
            plan::GuestKind::Vm => format!("why, on the node: qm start {id}; qm showcmd {id} --pretty"),
        }
    }

    async fn is(&self, guest: &GuestRef, running: bool) -> Result<Seen, Failure> {
        Ok(if self.running(guest).await? == running { Seen::Done } else { Seen::NotDone })
    }

    async fn stop(&self, guest: &GuestRef, progress: &Progress) -> Result<(), Failure> {
        let task = Task {
            site: &self.site,
            guest,
            what: "shutting it down",
            kind: self.table.tasks.shutdown,
            limit: SHUTDOWN * 2,
            fine: &[ErrorKind::NotRunning],
            progress,
        };
        let seconds = SHUTDOWN.as_secs();
        task.run(|| self.site.writer.shutdown(guest, seconds, true), || self.is(guest, false)).await
    }

    async fn destroy(
        &self,
        address: &Address,
        placement: &Placement,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let mut guest = self.guest(placement);
        let what = "looking at what is to be destroyed";
        let mut found = settle::find(what, || self.site.reader().config(&guest)).await?;
        if found.is_none()
            && let Some(there) = self.site.moved(&guest).await?
        {
            found = settle::find(what, || self.site.reader().config(&there)).await?;
            guest = there;
        }
        let look = || self.site.reader().config(&guest);
        let Some(config) = found else { return Ok(()) };
        // Looked at once more at the last moment: only what is ours is ever destroyed (P-16), and only what was meant.
        self.site.own(placement.id, Some(address), &config)?;
        if self.running(&guest).await? {
            self.stop(&guest, progress).await?;
        }
        let task = Task {
            site: &self.site,
            guest: &guest,
            what: "destroying it",
            kind: self.table.tasks.destroy,
            limit: VOLUME,
            fine: &[ErrorKind::NotFound],
            progress,
        };
        task.run(
            || self.site.writer.destroy(&guest),
            || async {
                let left = settle::find("looking whether it is gone", look).await?;
                Ok(if left.is_none() { Seen::Done } else { Seen::NotDone })
            },
        )
        .await?;
        self.site.is_sealed(placement.id);
        Ok(())
    }

    /// What only root@pam may set goes through Proxmox' own command on the node: `pct set` (T-6).
    async fn root(&self, guest: &GuestRef, params: &Params, progress: &Progress) -> Result<(), Failure> {
        if params.is_empty() || self.site.ways.first().is_none() {
            return Ok(());
        }
        let node = self.site.ways.node(&guest.node).await?;
        progress.doing("setting what takes root on the node");
        let mut argv = vec![self.table.command.to_owned(), "set".to_owned(), guest.id.to_string()];
        for (key, value) in params {
            argv.push(format!("--{key}"));
            argv.push(value.clone());
        }
        let command = Command::new("setting what takes root", argv).limit(Duration::from_secs(120));
        let begin = Instant::now();
        let mut lock = settle::Lock::new(&self.site, guest, "setting what takes root", progress);
        let output = loop {
            // Setting the same twice is the same as once.
            let output = settle::command(&*node, &command).await?;
            if output.success() {
                return Ok(());
            }
            let kind = ErrorKind::of_words(output.tail(5).raw());
            if kind == Some(ErrorKind::NotFound) {
                return Err(Failure::new(
                    settle::NOT_FOUND,
                    format!("{} set {}: it is not there", self.table.command, guest.id),
                )
                .while_doing("failed while setting what takes root")
                .with_output(output.tail(5))
                .hint("phoenix-cli plan shows what is there now"));
            }
            let locked = kind == Some(ErrorKind::Locked);
            if !locked || begin.elapsed() > settle::LOCKED {
                break output;
            }
            lock.pause().await?;
        };
        Err(Failure::new(
            "proxmox::pct-set",
            format!("{} set {} on the node failed", self.table.command, guest.id),
        )
        .while_doing("failed while setting what takes root")
        .with_output(output.tail(5))
        .hint(format!("what it has now, on the node: {} config {}", self.table.command, guest.id)))
    }

    /// Where it is. One that was moved since the plan was made is changed where it is now: all of it may be done twice.
    async fn update(&self, address: &Address, update: &Update, progress: &Progress) -> Result<Done, Failure> {
        let guest = GuestRef::new(&update.node, self.kind(), update.id);
        self.site.ways.is_on(update.id, &update.node);
        match self.update_at(address, &guest, update, progress).await {
            Err(failure) if failure.code == settle::NOT_FOUND => match self.site.moved(&guest).await? {
                Some(there) => self.update_at(address, &there, update, progress).await,
                None => Err(failure),
            },
            result => result,
        }
    }

    async fn update_at(
        &self,
        address: &Address,
        guest: &GuestRef,
        update: &Update,
        progress: &Progress,
    ) -> Result<Done, Failure> {
        let config = settle::read("reading whose it is", || self.site.reader().config(guest)).await?;
        self.site.own(guest.id, Some(address), &config)?;
        let (mut last, mut params): (Params, Params) = (Params::new(), update.set.clone());
        let mut digest = update.digest.clone();
        let changed = update.set.iter().chain(&update.root).map(|(key, _)| key);
        let changed = changed.chain(&update.delete).chain(&update.revert);
        if changed.into_iter().any(|key| (self.table.is_drive)(key)) {
            (last, params) = params.into_iter().partition(|(key, _)| key == "protection");
            if let Some(now) = self.unprotect(guest, &digest, progress).await? {
                digest = now;
                if last.is_empty() {
                    last.push(("protection".into(), "1".into()));
                }
            }
        }
        if !update.revert.is_empty() {
            progress.doing("taking back what waits for a restart");
            let revert = ("revert".to_owned(), update.revert.join(","));
            match self.ahead(guest, &digest, revert, progress).await? {
                Some(now) => digest = now,
                None => self.already(guest, update).await?,
            }
        }
        if !update.delete.is_empty() {
            params.push(("delete".into(), update.delete.join(",")));
        }
        if !params.is_empty() {
            progress.doing("changing its configuration");
            if let Some(set) = &update.remember {
                params.push(("description".into(), self.remembering(guest, set).await?));
            }
            params.push(("digest".into(), digest));
            match settle::set(&self.site, guest, params, progress).await? {
                settle::Set::Modified => self.already(guest, update).await?,
                settle::Set::Done if update.remember.is_some() => self.site.is_sealed(guest.id),
                settle::Set::Done => {}
            }
        }
        self.root(guest, &update.root, progress).await?;
        if !last.is_empty() {
            settle::set(&self.site, guest, last, progress).await?;
        }
        self.grow(guest, &update.grow, progress).await?;
        if let Some(pool) = &update.pool {
            self.join(guest, pool).await?;
        }
        if update.text.is_some() || update.keep.is_some() || update.seal {
            let change = |there: &mut String, mark: &mut plan::Mark| {
                if let Some(text) = &update.text {
                    there.clone_from(text);
                }
                if let Some(keep) = &update.keep {
                    keep.apply_to(mark);
                }
            };
            self.site.change_mark(guest.id, progress, change).await?;
        }
        if update.restart {
            self.stop(guest, progress).await?;
        }
        if update.restart || update.start {
            self.start(guest, progress).await?;
        }
        if !update.forget.is_empty() {
            let forget = |_: &mut String, mark: &mut plan::Mark| {
                mark.set.retain(|key, _| !update.forget.contains(key));
            };
            self.site.change_mark(guest.id, progress, forget).await?;
        }
        Ok(Done::default())
    }

    /// The description with a mark that remembers what is set. The digest it is written with says that it is still so.
    async fn remembering(&self, guest: &GuestRef, set: &BTreeMap<String, String>) -> Result<String, Failure> {
        let config = settle::read("reading the description", || self.site.reader().config(guest)).await?;
        let mut own = self.site.own(guest.id, None, &config)?;
        own.mark.set.clone_from(set);
        self.site.describe(guest.id, &own)
    }

    /// Takes the protection off for as long as mounts are changed: Proxmox VE refuses that otherwise. Should the run be cut
    /// off, the next one finds it off and puts it on again. The new digest; `None` where it was not on, or where the
    /// container is no longer as it was planned against.
    async fn unprotect(
        &self,
        guest: &GuestRef,
        digest: &str,
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        let config = settle::read("reading the protection", || self.site.reader().config(guest)).await?;
        if config.get("protection").is_none_or(|on| on != "1") {
            return Ok(None);
        }
        progress.doing("taking its protection off while its mounts are changed");
        self.ahead(guest, digest, ("protection".into(), "0".into()), progress).await
    }

    /// Sets something before all else. The new digest; `None` where the container is no longer as it was planned against.
    async fn ahead(
        &self,
        guest: &GuestRef,
        digest: &str,
        param: (String, String),
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        let look = || settle::read("reading the digest", || self.site.reader().config(guest));
        if look().await?.get("digest").is_none_or(|now| now != digest) {
            return Ok(None);
        }
        let params = vec![param, ("digest".into(), digest.to_owned())];
        // An answer that was lost shows as a digest that no longer fits; what is there then is looked at all the same.
        settle::set(&self.site, guest, params, progress).await?;
        Ok(look().await?.remove("digest"))
    }

    /// Puts it into a pool. After an answer that got lost it is looked whether it is there.
    async fn join(&self, guest: &GuestRef, pool: &str) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut pauses = settle::Pauses::up_to(settle::PAUSE);
        loop {
            let Err(error) = self.site.writer.join_pool(pool, guest.id, true).await else { return Ok(()) };
            if error.kind().is_some() || begin.elapsed() > settle::UNREACHABLE {
                // The role of a token ends at its pool, so a guest that is outside is brought in by root.
                let hint = format!("on the node: pveum pool modify {pool} --vms {} --allow-move 1", guest.id);
                let refused =
                    matches!(error.kind(), Some(ErrorKind::PermissionDenied { .. } | ErrorKind::ServerError));
                let failed = failure("joining the pool", &error);
                return Err(if refused { failed.hint(hint) } else { failed });
            }
            pauses.pause().await;
            let all =
                settle::read("looking at the pools", || self.site.reader().resources(Some("vm"))).await?;
            if all.iter().any(|r| r.vmid == Some(guest.id) && r.pool.as_deref() == Some(pool)) {
                return Ok(());
            }
        }
    }

    async fn grow(&self, guest: &GuestRef, disks: &Params, progress: &Progress) -> Result<(), Failure> {
        for (disk, size) in disks {
            let task = Task {
                site: &self.site,
                guest,
                what: "growing a disk",
                kind: "resize",
                limit: VOLUME,
                fine: &[],
                progress,
            };
            task.run(|| self.site.writer.resize(guest, disk, size), || self.has_size(guest, disk, size))
                .await?;
        }
        Ok(())
    }

    async fn has_size(&self, guest: &GuestRef, disk: &str, size: &str) -> Result<Seen, Failure> {
        let config = settle::read("reading the disk's size", || self.site.reader().config(guest)).await?;
        let bytes = |text: &str| text.parse::<Size>().ok();
        let parts = config.get(disk).and_then(|value| value.parse::<PropertyString>().ok());
        let now = parts.as_ref().and_then(|parts| bytes(parts.get("size")?));
        Ok(if now >= bytes(size) { Seen::Done } else { Seen::NotDone })
    }

    /// The digest no longer fits: either our own change arrived and its answer was lost, or somebody else was there.
    async fn already(&self, guest: &GuestRef, update: &Update) -> Result<(), Failure> {
        let entries =
            settle::read("reading the configuration back", || self.site.reader().pending(guest)).await?;
        let value = |key: &str| {
            entries
                .iter()
                .find(|e| e.key == key)
                .and_then(|e| if e.delete { None } else { e.pending.clone().or_else(|| e.value.clone()) })
        };
        let set = update.set.iter().all(|(key, wanted)| {
            value(key).is_some_and(|now| crate::keys::same(self.table.rows, key, &now, wanted))
        });
        let gone = update.delete.iter().chain(&update.revert).all(|key| value(key).is_none());
        if set && gone {
            return Ok(());
        }
        Err(Failure::new(
            "proxmox::modified",
            format!("{} was changed by somebody else since the plan was made", guest.id),
        )
        .hint("phoenix-cli plan shows what differs now"))
    }
}

#[async_trait]
impl Crew for GuestCrew {
    fn kind(&self) -> &'static str {
        self.table.kind.as_str()
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            let progress = progress.for_step(&step.address);
            let result = match apply::work(step) {
                Ok(GuestWork::Create(create)) => self.create(&step.address, &create, &progress).await,
                Ok(GuestWork::Update(update)) => self.update(&step.address, &update, &progress).await,
                Ok(GuestWork::Delete(placement)) => self
                    .destroy(&step.address, &placement, &progress)
                    .await
                    .map(|()| Done::new(format!("{} is gone", placement.id))),
                Err(failure) => Err(failure),
            };
            let failed = result.is_err();
            results.push(result);
            if failed {
                break;
            }
        }
        results
    }
}
