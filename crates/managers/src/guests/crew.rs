//! Carrying out what was planned for guests. It converges from wherever it was cut off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use blueprint::model::SecretRef;
use plan::{Address, Step};
use proxmox::client::GuestRef;
use proxmox::config::GuestKind;
use proxmox::error::ErrorKind;
use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use transport::Command;

use super::entry;
use super::first_start::{self, Told};
use super::refused;
use super::table::Table;
use super::work::{Create, GuestWork, Params, Placement, WaitsFor};
use crate::settle::{self, Seen, Task};
use crate::worksite::Worksite;

/// Unpacking a template on a slow disk.
const CREATE: Duration = Duration::from_mins(30);
/// Starting: mounts, network, the init system's first breath.
const START: Duration = Duration::from_mins(3);
/// A clean shutdown; services get their 90 s of systemd. After it the container is stopped hard.
const SHUTDOWN: Duration = Duration::from_secs(100);
/// Growing a file system, freeing volumes.
pub(super) const VOLUME: Duration = Duration::from_mins(10);

/// The crew for guests of one kind.
#[derive(Debug, Clone)]
pub struct GuestCrew {
    pub(super) site: Arc<Worksite>,
    table: &'static Table,
}

impl GuestCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>, table: &'static Table) -> Self {
        Self { site, table }
    }

    pub(super) fn site(&self) -> &Worksite {
        &self.site
    }

    pub(super) fn table(&self) -> &'static Table {
        self.table
    }

    pub(crate) fn guest(&self, placement: &Placement) -> GuestRef {
        GuestRef::new(&placement.node, self.kind(), placement.id)
    }

    /// The node's own command for it.
    pub(super) fn command(&self) -> &'static str {
        self.table.command
    }

    pub(super) fn kind(&self) -> GuestKind {
        match self.table.kind {
            plan::GuestKind::Container => GuestKind::Container,
            plan::GuestKind::Vm => GuestKind::Vm,
        }
    }

    /// Remembers where a guest is, and by which way commands get into it.
    pub(super) fn at(&self, guest: &GuestRef) {
        self.site.ways.is_on(guest.id, &guest.node);
        if guest.kind == GuestKind::Vm {
            self.site.ways.is_vm(guest.id);
        }
    }

    /// Waits for what is to be there after a start.
    pub(super) async fn wait(
        &self,
        guest: &GuestRef,
        waits_for: WaitsFor,
        progress: &Progress,
    ) -> Result<(), Failure> {
        match waits_for {
            WaitsFor::Nothing => Ok(()),
            way => entry::is_up(&self.site, guest.id, way, progress).await,
        }
    }

    async fn create(&self, address: &Address, create: &Create, progress: &Progress) -> Result<Done, Failure> {
        if let Some(old) = &create.replaces {
            self.destroy(address, old, progress).await?;
        }
        let guest = self.guest(&create.placement);
        let told = create.first_start.as_ref();
        let told = told.map(|first| first.told(&self.site, address, guest.id, None)).transpose()?;
        // The mounts of a protected container cannot be changed, so what takes root comes before the protection.
        let late = |(key, _): &(String, String)| {
            key == "protection" && create.root.iter().any(|(k, _)| (self.table.is_drive)(k))
        };
        let first = if create.clone.is_some() { &create.set } else { &create.params };
        let (last, mut params): (Params, Params) = first.iter().cloned().partition(late);
        if let Some(from) = &create.clone {
            let clone = self.sealed(&guest, create.params.clone())?;
            self.clone_from(address, &guest, from, &clone, progress).await?;
            progress.let_go("template");
            params.extend(self.secrets(&create.secrets)?);
            params.extend(told.as_ref().map(Told::custom));
            if !params.is_empty() {
                if params.iter().any(|(key, _)| key == "description") {
                    params = self.sealed(&guest, params)?;
                }
                progress.doing("making it otherwise than its template");
                settle::set(&self.site, &guest, params, progress).await?;
            }
            progress.let_go("storage");
        } else {
            params = self.sealed(&guest, params)?;
            params.extend(self.secrets(&create.secrets)?);
            // Whoever finds it half made finds what it is told by that.
            params.extend(told.as_ref().map(Told::custom));
            let task = self.creates(&guest, progress);
            task.run(|| self.site.writer.create(&guest, params.clone()), || self.ours(address, &guest))
                .await?;
        }
        self.site.is_sealed(guest.id);
        self.at(&guest);
        self.root(&guest, &create.root, progress).await?;
        if !last.is_empty() {
            settle::set(&self.site, &guest, last, progress).await?;
        }
        self.grow(&guest, &create.grow, progress).await?;
        if !create.off {
            if let Some(told) = &told {
                told.begin(&self.site, &guest).await?;
            }
            self.start(&guest, progress).await?;
        }
        // "The API said 200" is no proof: what was made is read back.
        let config = settle::read("reading it back", || self.site.reader().config(&guest)).await?;
        self.site.own(guest.id, Some(address), &config)?;
        if !create.off {
            self.wait(&guest, create.waits_for, progress).await?;
            if let Some(told) = &told {
                first_start::end(&self.site, &guest, &told.volume, progress).await?;
            }
        }
        Ok(Done::new(format!("made as {}", guest.id)))
    }

    /// Parameters whose values are secrets. They go into the body of a call, and nowhere else.
    pub(super) fn secrets(&self, all: &BTreeMap<String, SecretRef>) -> Result<Params, Failure> {
        let one = |(key, reference): (&String, &SecretRef)| {
            let value = self.site.secrets.make(reference)?;
            Ok((key.clone(), value.expose_secret().to_owned()))
        };
        all.iter().map(one).collect()
    }

    fn creates<'a>(&'a self, guest: &'a GuestRef, progress: &'a Progress) -> Task<'a> {
        Task {
            site: &self.site,
            guest,
            what: "creating it",
            kind: self.table.tasks.create,
            limit: CREATE,
            fine: &[],
            progress,
        }
    }

    /// Parameters with the description sealed: what a plan says of the mark, nobody has sealed yet.
    fn sealed(&self, guest: &GuestRef, mut params: Params) -> Result<Params, Failure> {
        let (_, description) = params.iter_mut().find(|(key, _)| key == "description").ok_or_else(|| {
            Failure::new("managers::not-ours", format!("the plan gives {} no mark", guest.id))
                .hint("make the plan again with this phoenix-cli")
        })?;
        *description = self.site.describe_new(guest.id, description)?;
        Ok(params)
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

    pub(super) async fn running(&self, guest: &GuestRef) -> Result<bool, Failure> {
        Ok(settle::read("asking whether it runs", || self.site.reader().status(guest)).await?.running())
    }

    pub(crate) async fn start(&self, guest: &GuestRef, progress: &Progress) -> Result<(), Failure> {
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

    pub(crate) async fn stop(&self, guest: &GuestRef, progress: &Progress) -> Result<(), Failure> {
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
        if let Some(volume) = config.get(first_start::CUSTOM).and_then(|it| first_start::volume(it, guest.id))
        {
            first_start::forget(&self.site, &guest, &volume).await?;
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
        if self.kind() == GuestKind::Vm {
            // Another one of its name is another machine.
            self.site.secrets.forget_ssh_keys(address.name())?;
        }
        Ok(())
    }

    /// What only root@pam may set goes through Proxmox' own command on the node: `pct set` (T-6).
    pub(super) async fn root(
        &self,
        guest: &GuestRef,
        params: &Params,
        progress: &Progress,
    ) -> Result<(), Failure> {
        if params.is_empty() || self.site.ways.first().is_none() {
            return Ok(());
        }
        if let Some(failure) = refused::never(guest.kind, guest.id, params) {
            return Err(failure);
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
}

#[async_trait]
impl Crew for GuestCrew {
    fn kind(&self) -> &'static str {
        self.table.kind.as_str()
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        apply::crew::in_turn(steps, progress, |step, progress| async move {
            match apply::work(step)? {
                GuestWork::Create(create) => self.create(&step.address, &create, &progress).await,
                GuestWork::Update(update) => self.update(&step.address, &update, &progress).await,
                GuestWork::Delete(placement) => self
                    .destroy(&step.address, &placement, &progress)
                    .await
                    .map(|()| Done::new(format!("{} is gone", placement.id))),
            }
        })
        .await
    }
}
