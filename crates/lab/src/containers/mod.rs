//! The real runtime: containers are LXC system containers, run by the node's API on the node.
//!
//! What Proxmox VE does with `pve-container`, this does with the same programs: raw images on loop devices, mounted by a
//! pre-start hook in the monitor's own mount namespace; LXC configuration made from the guest's configuration before
//! every start; the guest's network files written as Proxmox VE writes them. Nothing is kept in memory: what runs is
//! asked of LXC, so that this process can be ended and started again at any time.

mod appliances;
mod cgroup;
mod config;
mod copy;
mod disk;
mod download;
mod files;
mod guest;
mod idmap;
mod inside;
mod net;
mod rootfs;
mod run;
mod sources;
pub(crate) mod steps;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use fs_err as fs;
use transport::{Command, Local, Runner};

pub(crate) use appliances::{MADE, update as update_appliances};
use cgroup::Cgroup;
pub(crate) use config::veth;
use guest::Guest;
use inside::Preparation;
pub(crate) use inside::{MACHINE_APT, fill, grow_xfs, mount_live, prestart};
pub(crate) use rootfs::RootFs as GuestFiles;
pub(crate) use run::explain;
use run::run;
pub(crate) use run::{output, run_for};

use crate::node::Checksum;
use crate::runtime::{Appliance, Config, Runtime, RuntimeKind, TaskError, TaskLog, VolumeCopy};

/// The longest that unpacking a template may take.
const UNPACK: Duration = Duration::from_secs(600);
/// The longest that LXC may take to start or to kill a container.
const LXC: Duration = Duration::from_secs(60);
/// What `pct exec` gives a program: nothing of the node's environment.
pub(crate) const ENVIRONMENT: [&str; 4] =
    ["PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=linux", "HOME=/root", "LANG=C.UTF-8"];

/// Where this program lies, to be called in processes of its own.
pub(crate) fn program() -> Result<String, TaskError> {
    std::env::current_exe()
        .ok()
        .and_then(|path| path.into_os_string().into_string().ok())
        .ok_or_else(|| TaskError("unable to find this program's own file".to_owned()))
}

/// The argument vector that runs `argv` in container `id` as its root.
pub(crate) fn attach(id: u32, argv: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ["lxc-attach", "-n", &id.to_string(), "--clear-env"].map(str::to_owned).into();
    for variable in ENVIRONMENT {
        all.push(format!("--set-var={variable}"));
    }
    all.push("--".to_owned());
    all.extend_from_slice(argv);
    all
}

/// The guests whose monitor runs on this node. LXC's monitors listen on an abstract socket each, which the kernel
/// lists: asking it takes microseconds where `lxc-ls` takes a process.
pub(crate) fn running_now() -> BTreeSet<u32> {
    monitors(&fs::read_to_string("/proc/net/unix").unwrap_or_default())
}

/// The ids of the monitors in a table of sockets, `/proc/net/unix`.
pub(crate) fn monitors(table: &str) -> BTreeSet<u32> {
    table
        .lines()
        .filter_map(|line| {
            line.rsplit(' ').next()?.strip_prefix("@/var/lib/lxc/")?.strip_suffix("/command")?.parse().ok()
        })
        .collect()
}

/// Seconds since a process began.
pub(crate) fn age(pid: u32) -> Option<u64> {
    // Field 22 of stat: when it started, in clock ticks (100 a second on Linux) after boot.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let started: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since boot")]
    Some((uptime as u64).saturating_sub(started / 100))
}

/// Where a volume's image lies, for people.
///
/// # Errors
/// In the node's words, when it is no volume's id.
pub(crate) fn path_of(volume: &str) -> Result<camino::Utf8PathBuf, String> {
    let id = volume.split('-').find_map(|part| part.parse().ok()).unwrap_or_default();
    guest::volume_path(volume, id).map_err(|error| error.0)
}

impl GuestFiles {
    /// The files of a running guest.
    pub(crate) fn of(id: u32) -> Option<Self> {
        let output =
            std::process::Command::new("lxc-info").args(["-n", &id.to_string(), "-pH"]).output().ok()?;
        let init: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
        // Where the guest's root is on the node: 0 for a privileged guest.
        let map = fs::read_to_string(format!("/proc/{init}/uid_map")).ok()?;
        let shift = map.split_whitespace().nth(1)?.parse().ok()?;
        Self::open(Utf8Path::new(&format!("/proc/{init}/root")), shift).ok()
    }
}

/// Containers on the node that this process runs on.
#[derive(Debug, Clone)]
pub struct LxcRuntime {
    program: String,
    cgroup: Cgroup,
}

impl LxcRuntime {
    /// A runtime for this node. The running program must understand `lab node …`, see [`crate::frontends::run`]: LXC's
    /// hooks call it.
    ///
    /// # Errors
    /// When the program's own file cannot be found.
    pub fn new() -> Result<Self, TaskError> {
        Ok(Self { program: program()?, cgroup: Cgroup::detect() })
    }

    /// The first process of a running guest, by its number on the node.
    async fn init(id: u32) -> Option<u32> {
        if !running_now().contains(&id) {
            return None;
        }
        let output =
            output(&["lxc-info", "-n", &id.to_string(), "-pH"], Duration::from_secs(10)).await.ok()?;
        output.text().trim().parse().ok()
    }

    /// Writes what LXC and the hook read.
    fn write_configuration(&self, guest: &Guest) -> Result<(), TaskError> {
        let node = config::Node {
            cgroup: self.cgroup,
            cpus: &self.cgroup.node_cpus(),
            hook: &format!("{} lab node prestart", self.program),
            bridge_mtu: net::bridge_mtu,
        };
        Preparation::of(guest)
            .save(guest.id)
            .and_then(|()| fs::write(config::folder(guest.id).join("config"), config::text(guest, &node)))
            .map_err(|error| {
                TaskError(format!("unable to write the configuration of CT {} - {error}", guest.id))
            })
    }

    /// Makes the image of every volume of `guest` that is not in `old`.
    async fn allocate(guest: &Guest, old: Option<&Guest>, log: &TaskLog) -> Result<(), TaskError> {
        for mount in &guest.mounts {
            let known = old.is_some_and(|old| old.mounts.iter().any(|m| m.source == mount.source));
            // A detached volume that is attached again keeps what it holds.
            if mount.image && !known && (old.is_none() || !mount.source.exists()) {
                disk::allocate(guest, mount, log).await?;
            }
        }
        Ok(())
    }

    /// Mounts a new volume in a running guest.
    async fn mount_live(&self, id: u32, init: u32, key: &str) -> Result<(), TaskError> {
        let lost = || TaskError(format!("unable to find the monitor of CT {id}"));
        let monitor = disk::parent(init).ok_or_else(lost)?.to_string();
        let (id, init) = (id.to_string(), init.to_string());
        let program = self.program.as_str();
        let argv =
            ["nsenter", "-t", &monitor, "-m", "--", program, "lab", "node", "mount-live", &id, key, &init];
        run(&argv).await.map(drop)
    }

    async fn settings(id: u32, settings: Vec<cgroup::Setting>) -> Result<(), TaskError> {
        for (key, value) in settings {
            run(&["lxc-cgroup", "-n", &id.to_string(), "--", key, &value]).await?;
        }
        Ok(())
    }

    /// Brings a running guest from `old` to `new`.
    async fn change_live(&self, old: &Guest, new: &Guest) -> Result<(), TaskError> {
        let id = new.id;
        let Some(init) = Self::init(id).await else { return Ok(()) };
        // For the hook, which runs again when the guest reboots itself.
        Preparation::of(new)
            .save(id)
            .map_err(|error| TaskError(format!("unable to write the configuration of CT {id} - {error}")))?;
        if (old.memory, old.swap) != (new.memory, new.swap) {
            Self::settings(id, self.cgroup.memory_live(new)).await?;
        }
        let cpus = self.cgroup.node_cpus();
        let processor = self.cgroup.processor(new, &cpus);
        if self.cgroup.processor(old, &cpus) != processor {
            Self::settings(id, processor).await?;
        }
        let slots: BTreeSet<u8> = old.networks.keys().chain(new.networks.keys()).copied().collect();
        for slot in slots {
            let (before, after) = (old.networks.get(&slot), new.networks.get(&slot));
            if before != after {
                net::change(id, init, slot, before, after).await?;
            }
        }
        if old.hostname != new.hostname {
            let (pid, name) = (init.to_string(), new.hostname.split('.').next().unwrap_or_default());
            run(&["nsenter", "-t", &pid, "-u", "--", "hostname", name]).await?;
        }
        for mount in new.mounts.iter().filter(|m| old.mounts.iter().all(|o| o.key != m.key)) {
            self.mount_live(id, init, &mount.key).await?;
        }
        // The files too, so that the next boot of the guest finds the same.
        let root = format!("/proc/{init}/root");
        let (shift, files) = (new.shift(), files::Files::of(new));
        rootfs::RootFs::open(Utf8Path::new(&root), shift)
            .and_then(|root| files.write(&root))
            .map_err(|error| TaskError(format!("unable to write files of CT {id} - {error}")))
    }
}

#[async_trait]
impl Runtime for LxcRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Containers
    }

    fn has_bridge(&self, name: &str) -> bool {
        net::bridge_exists(name).is_ok()
    }

    async fn create(
        &self,
        id: u32,
        config: &Config,
        template: &Utf8Path,
        log: &TaskLog,
    ) -> Result<(), TaskError> {
        let guest = Guest::parse(id, config)?;
        let made = async {
            Self::allocate(&guest, None, log).await?;
            self.write_configuration(&guest)?;
            let id = id.to_string();
            let argv = [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--",
                &self.program,
                "lab",
                "node",
                "fill",
                &id,
                template.as_str(),
            ];
            let filled = run_for(&argv, UNPACK).await?;
            for line in filled.text().lines() {
                log.line(line);
            }
            Ok(())
        };
        let result: Result<(), TaskError> = made.await;
        if result.is_err() {
            // Nothing is left of a creation that failed; what it failed with is what is told.
            let _ = self.destroy(id, config, &TaskLog::default()).await;
        }
        result
    }

    async fn copy_volume(
        &self,
        id: u32,
        _config: &Config,
        one: &VolumeCopy,
        _log: &TaskLog,
    ) -> Result<(), TaskError> {
        copy::copy(id, one).await
    }

    async fn rename_volume(&self, id: u32, from: &str, to: &str) -> Result<(), TaskError> {
        copy::rename(id, from, to)
    }

    async fn start(&self, id: u32, config: &Config, log: &TaskLog) -> Result<(), TaskError> {
        if running_now().contains(&id) {
            return Ok(());
        }
        let guest = Guest::parse(id, config)?;
        for net in guest.networks.values() {
            if let Some(bridge) = &net.bridge {
                net::bridge_exists(bridge)?;
            }
        }
        self.write_configuration(&guest)?;
        let name = id.to_string();
        let said = format!("/run/phoenix-lab-{id}.log");
        // The log is appended to: what an earlier start said is not this one's.
        let _ = fs::remove_file(&said);
        let started = output(&["lxc-start", "-n", &name, "-o", &said, "-l", "ERROR"], LXC).await?;
        if started.success() {
            return Ok(());
        }
        for line in fs::read_to_string(&said).unwrap_or_default().lines() {
            // `lxc-start 101 DATE ERROR    start - ../src/…:__lxc_start:2114 - text`
            let text = line.split_once("ERROR").map_or(line, |(_, rest)| rest.trim());
            log.line(text.split_once(" - ").map_or(text, |(_, rest)| rest));
        }
        Err(TaskError(format!("startup for container '{id}' failed")))
    }

    async fn stop(&self, id: u32, _log: &TaskLog) -> Result<(), TaskError> {
        if !running_now().contains(&id) {
            return Ok(());
        }
        let stopped = run_for(&["lxc-stop", "-n", &id.to_string(), "--kill"], LXC).await;
        // It may have ended by itself in between.
        if running_now().contains(&id) { stopped.map(drop) } else { Ok(()) }
    }

    async fn shutdown(&self, id: u32, limit: Duration, _log: &TaskLog) -> Result<(), TaskError> {
        if !running_now().contains(&id) {
            return Ok(());
        }
        let (name, seconds) = (id.to_string(), limit.as_secs().to_string());
        let argv = ["lxc-stop", "-n", &name, "--nokill", "--timeout", &seconds];
        let stopped = run_for(&argv, limit + LXC).await;
        if running_now().contains(&id) { stopped.map(drop) } else { Ok(()) }
    }

    async fn destroy(&self, id: u32, config: &Config, _log: &TaskLog) -> Result<(), TaskError> {
        for mount in Guest::parse(id, config)?.mounts.iter().filter(|m| m.image) {
            disk::free(&mount.source)?;
        }
        match fs::remove_dir_all(config::folder(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TaskError(format!("unable to remove CT {id} - {error}")))
            }
            _ => Ok(()),
        }
    }

    async fn reconfigure(
        &self,
        id: u32,
        old: &Config,
        new: &Config,
        freed: &[String],
        running: bool,
        log: &TaskLog,
    ) -> Result<(), TaskError> {
        let (old, new) = (Guest::parse(id, old)?, Guest::parse(id, new)?);
        Self::allocate(&new, Some(&old), log).await?;
        if running {
            self.change_live(&old, &new).await?;
        }
        for volume in freed {
            if let Some(path) = disk::freed_path(volume, id)? {
                disk::free(&path)?;
            }
        }
        Ok(())
    }

    async fn resize(
        &self,
        id: u32,
        key: &str,
        config: &Config,
        bytes: u64,
        log: &TaskLog,
    ) -> Result<(), TaskError> {
        let guest = Guest::parse(id, config)?;
        let mount = guest
            .mounts
            .iter()
            .find(|m| m.key == key && m.image)
            .ok_or_else(|| TaskError(format!("unable to resize '{key}' of CT {id}: no such volume")))?;
        disk::grow(id, mount, bytes, Self::init(id).await, log).await
    }

    async fn appliances(&self) -> Vec<Appliance> {
        appliances::known().await
    }

    async fn make_template(
        &self,
        appliance: &Appliance,
        target: &Utf8Path,
        log: &TaskLog,
    ) -> Result<u64, TaskError> {
        appliances::make(appliance, target, log).await
    }

    async fn download(
        &self,
        url: &str,
        target: &Utf8Path,
        checksum: Option<&Checksum>,
        log: &TaskLog,
    ) -> Result<u64, TaskError> {
        let settings = format!("{MACHINE_APT}/apt.conf.d/99machine");
        download::download(&settings, url, target, checksum, log).await
    }

    async fn take_file(&self, file: &Utf8Path, target: &Utf8Path) -> Result<(), TaskError> {
        download::put(file, target).await
    }

    async fn running(&self) -> BTreeSet<u32> {
        let mut all = running_now();
        all.extend(crate::machines::running());
        all
    }

    async fn usage(&self, id: u32) -> Option<(u64, u64)> {
        if let Some(usage) = crate::machines::usage(id) {
            return Some(usage);
        }
        let init = Self::init(id).await?;
        Some((age(init)?, self.cgroup.memory_used(id)?))
    }

    async fn exec(
        &self,
        id: u32,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<(i32, Vec<u8>, Vec<u8>), TaskError> {
        if !running_now().contains(&id) {
            return Err(TaskError(format!("container '{id}' not running!")));
        }
        let command = Command::new(format!("running a program in CT {id}"), attach(id, argv))
            .stdin(stdin)
            .limit(Duration::from_secs(3600));
        let output = Local.run(&command).await.map_err(|error| TaskError(explain(&error)))?;
        Ok((output.status, output.stdout, output.stderr))
    }
}
