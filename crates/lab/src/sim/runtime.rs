//! Guests as records: what is asked for takes its time and is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::guest::{Inside, NODE, Ran};
use super::{SimGpus, SimRestarts, SimZfs, certificates, draw, login, machines};
use crate::node::{Checksum, Clock, verify_image};
use crate::runtime::{Appliance, Config, Runtime, RuntimeKind, TaskError, TaskLog, VolumeCopy};

/// What the node itself is called where certificates are asked for.
const ITSELF: &str = "hypervisor";

/// How long things take. Each is drawn anew between three quarters and five quarters of what is said here.
#[derive(Debug, Clone)]
pub struct Times {
    /// Unpacking a template.
    pub create: Duration,
    /// A start.
    pub start: Duration,
    /// A stop at once.
    pub stop: Duration,
    /// A shutdown.
    pub shutdown: Duration,
    /// Removing a guest.
    pub destroy: Duration,
    /// Growing a disk.
    pub resize: Duration,
    /// Bringing a running guest in line with its configuration.
    pub change: Duration,
    /// Running a program in a guest.
    pub exec: Duration,
    /// Each action of a feature's script.
    pub action: Duration,
    /// Fetching a template or an image.
    pub fetch: Duration,
    /// From a virtual machine's start until its guest agent answers.
    pub agent: Duration,
    /// From the node's restart until it answers.
    pub restart: Duration,
    /// How many templates are unpacked at once on one storage; the others wait.
    pub creates_per_storage: usize,
}

impl Default for Times {
    /// As on a small machine with one SSD (measured on real containers: create 3–5 s, start 1–2 s).
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            create: ms(4000),
            start: ms(1500),
            stop: ms(400),
            shutdown: ms(1200),
            destroy: ms(800),
            resize: ms(500),
            change: ms(20),
            exec: ms(30),
            action: ms(300),
            fetch: ms(20_000),
            agent: ms(12_000),
            restart: ms(90_000),
            creates_per_storage: 4,
        }
    }
}

impl Times {
    /// Everything at once.
    pub fn none() -> Self {
        let zero = Duration::ZERO;
        Self {
            create: zero,
            start: zero,
            stop: zero,
            shutdown: zero,
            destroy: zero,
            resize: zero,
            change: zero,
            exec: zero,
            action: zero,
            fetch: zero,
            agent: zero,
            restart: zero,
            creates_per_storage: usize::MAX >> 4,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Guests {
    /// Since when each runs.
    pub running: BTreeMap<u32, Instant>,
    pub inside: BTreeMap<u32, Inside>,
    pub machines: machines::All,
    /// What the node has of ZFS.
    pub zfs: SimZfs,
    /// The graphics cards of the node.
    pub gpus: SimGpus,
    /// What is known of its restarts.
    pub restarts: SimRestarts,
    slots: BTreeMap<String, Arc<Semaphore>>,
    /// How often each thing was done to each guest: part of what times are drawn from.
    counts: BTreeMap<(u32, u64), u64>,
    /// The templates that can be had.
    catalogue: Vec<Appliance>,
    /// What the web has, by address.
    web: BTreeMap<String, Vec<u8>>,
    /// What the next copy of a container's volume fails with.
    uncopied: Option<String>,
}

/// The runtime of the simulated lab. Cloning it gives another handle on the same guests.
#[derive(Debug, Clone)]
pub struct SimRuntime {
    seed: u64,
    times: Arc<Times>,
    clock: Clock,
    guests: Arc<Mutex<Guests>>,
}

impl SimRuntime {
    /// A runtime with no guests, whose times follow from `seed`.
    pub fn new(seed: u64, times: Times) -> Self {
        Self { seed, times: Arc::new(times), clock: Clock::real(), guests: Arc::default() }
    }

    /// By this clock.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Has the catalogue of templates hold one of this file name, in this section.
    pub fn offer(&self, section: &str, template: &str) {
        let (package, rest) = template.split_once('_').unwrap_or((template, ""));
        let version = rest.split('_').next().unwrap_or_default();
        let location = format!("http://download.proxmox.com/images/{section}/{template}");
        self.guests().catalogue.push(Appliance {
            template: template.to_owned(),
            package: package.to_owned(),
            version: version.to_owned(),
            os: package.rsplit_once('-').map_or(package, |(os, _)| os).to_owned(),
            architecture: "amd64".to_owned(),
            headline: package.to_owned(),
            description: String::new(),
            location,
            source: "http://download.proxmox.com/images".to_owned(),
            release: String::new(),
            section: section.to_owned(),
        });
    }

    /// Has the web hold this under an address; nothing else is there.
    pub fn publish(&self, url: &str, content: impl Into<Vec<u8>>) {
        self.guests().web.insert(url.to_owned(), content.into());
    }

    /// Lets a guest run from now on, at no cost in time.
    pub fn set_running(&self, id: u32) {
        self.guests().running.insert(id, Instant::now());
    }

    /// Has the next copy of a container's volume fail with this, as a program of the node says it.
    pub fn fail_next_copy(&self, why: &str) {
        self.guests().uncopied = Some(why.to_owned());
    }

    /// Puts a file into a guest, which `cat` then shows.
    pub fn put_file(&self, id: u32, path: &str, content: impl Into<Vec<u8>>) {
        self.guests().inside.entry(id).or_default().files.insert(path.to_owned(), content.into());
    }

    /// Takes a feature out of a guest, as somebody does who purges its packages. The marks say what they said.
    pub fn lose_feature(&self, id: u32, name: &str) {
        self.guests().inside.entry(id).or_default().features.remove(name);
    }

    /// Deletes a file of a guest.
    pub fn lose_file(&self, id: u32, path: &str) {
        self.guests().inside.entry(id).or_default().files.remove(path);
    }

    /// The node's disks and pools, for whoever sets a scene or looks at the end.
    pub fn zfs<T>(&self, with: impl FnOnce(&mut SimZfs) -> T) -> T {
        with(&mut self.guests().zfs)
    }

    /// The node's graphics cards, likewise.
    pub fn gpus<T>(&self, with: impl FnOnce(&mut SimGpus) -> T) -> T {
        with(&mut self.guests().gpus)
    }

    /// The node's restarts, likewise.
    pub fn restarts<T>(&self, with: impl FnOnce(&mut SimRestarts) -> T) -> T {
        with(&mut self.guests().restarts)
    }

    /// Restarts the node: what runs on it ends.
    fn restart(&self) {
        let time = self.drawn(NODE, 15, self.times.restart);
        let mut guests = self.guests();
        guests.running.clear();
        guests.machines.running.clear();
        guests.gpus.restart();
        let loads = guests.inside.get(&NODE).is_some_and(|node| node.features.contains_key("zfs-keys"));
        guests.zfs.boot(loads);
        guests.restarts.restart(time);
    }

    /// What is in a guest is in its copy, too.
    pub(super) fn copy_inside(&self, from: u32, to: u32, name: &str) {
        let mut guests = self.guests();
        let inside = guests.inside.get(&from).cloned().unwrap_or_default();
        guests.inside.insert(to, Inside { name: name.to_owned(), ..inside });
    }

    pub(super) fn times(&self) -> &Times {
        &self.times
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(super) fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for about `time`, the same for the same thing done to the same guest for the same time.
    pub(super) async fn take(&self, id: u32, what: u64, time: Duration) {
        if !time.is_zero() {
            sleep(self.drawn(id, what, time)).await;
        }
    }

    /// How long that is.
    pub(super) fn drawn(&self, id: u32, what: u64, time: Duration) -> Duration {
        let count = {
            let mut guests = self.guests();
            let count = guests.counts.entry((id, what)).or_default();
            *count += 1;
            *count
        };
        let share = draw(self.seed, &[u64::from(id), what, count]) % 500;
        time * u32::try_from(750 + share).unwrap_or(1000) / 1000
    }

    /// Runs a program in a guest that runs.
    pub(super) fn run_inside(&self, id: u32, argv: &[String], stdin: &[u8]) -> Ran {
        let mut guests = self.guests();
        let named = guests.inside.get(&id).filter(|_| id != NODE);
        let name = named.map_or(ITSELF, |inside| &inside.name);
        let period = certificates::period(guests.inside.values(), name, self.clock.now());
        let inside = guests.inside.entry(id).or_default();
        inside.period = period;
        let ran = inside.run(id, argv, stdin);
        let waits = std::mem::take(&mut inside.waits);
        for it in waits.into_iter().filter(|_| id == NODE) {
            guests.restarts.changed(it);
        }
        ran
    }
}

/// What a task says about the file system it makes: as `mkfs.ext4` does, of a volume of this size.
fn mkfs(bytes: u64, log: &TaskLog) {
    let blocks = bytes / 4096;
    log.line(format!("Creating filesystem with {blocks} 4k blocks and {} inodes", blocks / 4));
    log.line("Filesystem UUID: 00000000-0000-4000-8000-000000000000");
    log.line("Superblock backups stored on blocks: ");
    let mut powers: Vec<u64> = (0..20).flat_map(|n| [3u64.pow(n), 5u64.pow(n), 7u64.pow(n)]).collect();
    powers.sort_unstable();
    powers.dedup();
    let copies = powers.into_iter().map(|group| group * 32768).take_while(|block| *block < blocks);
    let copies: Vec<String> = copies.map(|block| block.to_string()).collect();
    log.line(format!("\t{}", copies.join(", ")));
}

#[async_trait]
impl Runtime for SimRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Simulated
    }

    async fn create(
        &self,
        id: u32,
        config: &Config,
        template: &Utf8Path,
        log: &TaskLog,
    ) -> Result<(), TaskError> {
        let root = config.get("rootfs").map_or("", String::as_str);
        let storage = root.split(':').next().unwrap_or_default().to_owned();
        let slots = {
            let mut guests = self.guests();
            let new = || Arc::new(Semaphore::new(self.times.creates_per_storage));
            guests.slots.entry(storage).or_insert_with(new).clone()
        };
        let _slot = slots.acquire().await.map_err(|error| TaskError(error.to_string()))?;
        if let Some(size) =
            root.rsplit_once("size=").and_then(|(_, size)| size.parse::<proxmox::property::Size>().ok())
        {
            mkfs(size.0, log);
        }
        log.line(format!("extracting archive '{template}'"));
        self.take(id, 1, self.times.create).await;
        log.line("Total bytes read: 154101760 (147MiB, 250MiB/s)");
        log.line("Detected container architecture: amd64");
        let name = config.get("hostname").map_or("", String::as_str);
        for kind in ["rsa", "ed25519", "ecdsa"] {
            log.line(format!("Creating SSH host key 'ssh_host_{kind}_key' - this may take some time ..."));
            log.line(format!("done: SHA256:0000000000000000000000000000000000000000000 root@{name}"));
        }
        self.guests().inside.insert(id, Inside { name: name.to_owned(), ..Inside::default() });
        Ok(())
    }

    async fn copy_volume(
        &self,
        id: u32,
        config: &Config,
        copy: &VolumeCopy,
        _log: &TaskLog,
    ) -> Result<(), TaskError> {
        let time = if copy.linked { self.times.change } else { self.times.create };
        self.take(id, 14, time).await;
        if let Some(why) = self.guests().uncopied.take() {
            return Err(TaskError(why));
        }
        // What moves stays what it is.
        if copy.of != id {
            let name = config.get("hostname").map_or("", String::as_str);
            self.copy_inside(copy.of, id, name);
        }
        Ok(())
    }

    async fn rename_volume(&self, _id: u32, _from: &str, _to: &str) -> Result<(), TaskError> {
        Ok(())
    }

    async fn start(&self, id: u32, _config: &Config, _log: &TaskLog) -> Result<(), TaskError> {
        self.take(id, 2, self.times.start).await;
        self.guests().running.insert(id, Instant::now());
        Ok(())
    }

    async fn stop(&self, id: u32, _log: &TaskLog) -> Result<(), TaskError> {
        self.take(id, 3, self.times.stop).await;
        self.guests().running.remove(&id);
        Ok(())
    }

    async fn shutdown(&self, id: u32, limit: Duration, _log: &TaskLog) -> Result<(), TaskError> {
        tokio::time::timeout(limit, self.take(id, 4, self.times.shutdown))
            .await
            .map_err(|_| TaskError(format!("container {id} did not shut down in time")))?;
        self.guests().running.remove(&id);
        Ok(())
    }

    async fn destroy(&self, id: u32, _config: &Config, _log: &TaskLog) -> Result<(), TaskError> {
        self.take(id, 5, self.times.destroy).await;
        let mut guests = self.guests();
        guests.running.remove(&id);
        guests.inside.remove(&id);
        Ok(())
    }

    async fn reconfigure(
        &self,
        id: u32,
        _old: &Config,
        _new: &Config,
        _freed: &[String],
        running: bool,
        _log: &TaskLog,
    ) -> Result<(), TaskError> {
        if running {
            self.take(id, 6, self.times.change).await;
        }
        Ok(())
    }

    async fn resize(
        &self,
        id: u32,
        _key: &str,
        _config: &Config,
        _bytes: u64,
        log: &TaskLog,
    ) -> Result<(), TaskError> {
        self.take(id, 7, self.times.resize).await;
        log.line("Image resized.");
        Ok(())
    }

    async fn appliances(&self) -> Vec<Appliance> {
        self.guests().catalogue.clone()
    }

    async fn make_template(
        &self,
        appliance: &Appliance,
        target: &Utf8Path,
        log: &TaskLog,
    ) -> Result<u64, TaskError> {
        log.line(format!("downloading {} to {target}", appliance.location));
        self.take(NODE, 10, self.times.fetch).await;
        log.line("calculating checksum...OK, checksum verified");
        log.line(format!("download of '{}' to '{target}' finished", appliance.location));
        Ok(126_000_000)
    }

    async fn download(
        &self,
        url: &str,
        target: &Utf8Path,
        checksum: Option<&Checksum>,
        log: &TaskLog,
    ) -> Result<u64, TaskError> {
        let host = url.split('/').nth(2).unwrap_or_default().to_owned();
        let known = self.guests().web.keys().any(|known| known.split('/').nth(2) == Some(&host));
        if !known {
            log.line(format!("Resolving {host} ({host})... failed: Name or service not known."));
            return Err(TaskError(format!("download failed: wget: unable to resolve host address '{host}'")));
        }
        let Some(content) = self.guests().web.get(url).cloned() else {
            log.line("HTTP request sent, awaiting response... 404 Not Found");
            return Err(TaskError("download failed: exit code 8".to_owned()));
        };
        log.line("HTTP request sent, awaiting response... 200 OK");
        // Half of it is there after half of the time, as wget says it.
        self.take(NODE, 11, self.times.fetch / 2).await;
        log.line("     0K ........ ........ ........ ........  50%  110M 9s");
        self.take(NODE, 11, self.times.fetch / 2).await;
        if let Some(checksum) = checksum {
            checksum.verify(content.as_slice(), log)?;
        }
        verify_image(target.file_name().unwrap_or_default(), &content, target)?;
        Ok(content.len() as u64)
    }

    async fn take_file(&self, _file: &Utf8Path, _target: &Utf8Path) -> Result<(), TaskError> {
        self.take(NODE, 12, self.times.fetch / 8).await;
        Ok(())
    }

    async fn running(&self) -> BTreeSet<u32> {
        self.guests().running.keys().copied().collect()
    }

    async fn usage(&self, id: u32) -> Option<(u64, u64)> {
        let since = *self.guests().running.get(&id)?;
        // An idle Debian with systemd takes about this.
        Some((since.elapsed().as_secs(), 40 << 20))
    }

    async fn exec(
        &self,
        id: u32,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<(i32, Vec<u8>, Vec<u8>), TaskError> {
        self.take(id, 8, self.times.exec).await;
        if let [program, address, host, client, argv @ ..] = argv
            && id == NODE
            && program == login::PROGRAM
        {
            let id = match self.enter(address, host, client) {
                Ok(id) => id,
                Err(said) => return Ok((login::NO_CONNECTION, Vec::new(), format!("{said}\n").into_bytes())),
            };
            let ran = self.run_inside(id, argv, stdin);
            let actions = u32::try_from(ran.actions).unwrap_or(u32::MAX);
            self.take(id, 9, self.times.action.saturating_mul(actions)).await;
            return Ok(ran.printed);
        }
        // The node itself, by its number here, always runs.
        if id != NODE && !self.guests().running.contains_key(&id) {
            return Err(TaskError(format!("container '{id}' not running!")));
        }
        if id == NODE
            && let Some(printed) = self.guests().zfs.run(argv, stdin)
        {
            return Ok(printed);
        }
        if id == NODE && argv.iter().map(String::as_str).skip(3).eq(["phoenix-restart", "reboot"]) {
            self.restart();
            return Ok((0, Vec::new(), Vec::new()));
        }
        if id == NODE {
            let mut guests = self.guests();
            let guests = &mut *guests;
            if let Some(printed) = guests.restarts.run(argv, stdin, guests.inside.get(&NODE)) {
                return Ok(printed);
            }
        }
        if id == NODE
            && let Some(printed) = self.guests().gpus.run(argv)
        {
            return Ok(printed);
        }
        let ran = self.run_inside(id, argv, stdin);
        let actions = u32::try_from(ran.actions).unwrap_or(u32::MAX);
        self.take(id, 9, self.times.action.saturating_mul(actions)).await;
        Ok(ran.printed)
    }

    fn zfs_places(&self) -> BTreeSet<String> {
        self.guests().zfs.places()
    }

    fn is_down(&self) -> bool {
        self.guests().restarts.is_down()
    }
}
