//! Removing a lab, whatever state it is in, and finding those that nobody removed.

use std::io;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use transport::Runner;

use super::error::{Error, run};
use super::process::Process;
use super::{base, forward, hardware, machine, spec};

/// What [`down`] found and removed, for a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// One line each: `the node phx-1a2b3c and its guests`.
    pub things: Vec<String>,
}

impl Removed {
    fn add(&mut self, thing: impl Into<String>) {
        self.things.push(thing.into());
    }
}

/// All that a lab puts into its folder. Nothing else in there is touched.
const PARTS: [&str; 37] = [
    "bin",
    "upper",
    "folders",
    "work",
    "olwork",
    "lxc",
    "images",
    "storage",
    "state",
    "nodes",
    "cluster",
    "node.json",
    "publish.json",
    "publish.new",
    "services.json",
    "services.new",
    "listening.json",
    "listening.new",
    "forward.json",
    "forward.new",
    "forward.log",
    "node.conf",
    "node.new",
    "lxc.log",
    "token",
    "password",
    "known_hosts",
    "id_ed25519",
    "id_ed25519.pub",
    "serve.log",
    hardware::FILE,
    "hardware.new",
    hardware::DISKS,
    hardware::STAGE,
    hardware::PROGRAM,
    "program.new",
    "console.log",
];

/// Ends the lab in `folder` and removes all that belongs to it, in the folder and outside of it. Right after a crash
/// too, and when called twice.
///
/// # Errors
/// With the first thing that could not be removed. What comes after it is tried all the same.
pub async fn down(folder: &Utf8Path) -> Result<Removed, Error> {
    spec::check_folder(folder)?;
    if !folder.exists() && super::record(folder).is_none() {
        return Ok(Removed::default());
    }
    let lock = if folder.exists() { Some(super::folder_lock(folder).await?) } else { None };
    let mut removed = stop(folder, false).await?;
    let mut parts = 0;
    for part in PARTS.map(|p| folder.join(p)) {
        if part.symlink_metadata().is_ok() {
            base::remove(&part).await?;
            parts += 1;
        }
    }
    if parts > 0 {
        removed.add(format!("the lab's files in {folder}"));
    }
    drop(lock);
    let _ = fs::remove_file(folder.join("lock"));
    // Only when nothing of somebody else is in it.
    let _ = fs::remove_dir(folder);
    Ok(removed)
}

/// Ends what runs and removes what is outside the folder. `keep` leaves the record, for a lab that is starting.
pub(crate) async fn stop(folder: &Utf8Path, keep: bool) -> Result<Removed, Error> {
    let mut removed = Removed::default();
    if let Some(forwarder) = forward::running(folder)
        && forwarder.process.kill().await
    {
        removed.add("the forwarder of the published ports");
    }
    let _ = fs::remove_file(folder.join("forward.json"));
    if let Some(process) = super::sim::running(folder)
        && process.kill().await
    {
        removed.add("the simulated node");
    }
    if let Some(record) = super::record(folder) {
        sweep_lab(&record.names.id, Some(folder), &mut removed).await?;
        if !keep {
            machine::release(&record.names.id).await?;
            machine::forget_records().await?;
        }
    }
    Ok(removed)
}

/// Removes what is left of labs that do not run: their node was killed, their folder is gone, or no record names them any
/// more. What stands in their folders stays, and `up` starts them again.
///
/// # Errors
/// With the first thing that could not be removed.
pub async fn sweep() -> Result<Removed, Error> {
    let mut removed = Removed::default();
    let records = machine::records();
    for id in machine::traces() {
        let record = records.iter().find(|r| r.names.id == id);
        // Whoever starts, mends or ends it holds the lock of its folder.
        let there = record.map(|r| r.folder.as_path()).filter(|folder| folder.join("node.json").exists());
        let lock = match there {
            Some(_) if !processes(&id).is_empty() => continue,
            Some(folder) => {
                let path = folder.join("lock");
                let lock = machine::try_lock(&path).map_err(Error::io(format!("locking `{path}`")))?;
                if lock.is_none() {
                    continue;
                }
                lock
            }
            None => None,
        };
        sweep_lab(&id, record.map(|r| r.folder.as_path()), &mut removed).await?;
        machine::release(&id).await?;
        drop(lock);
    }
    if Utf8Path::new(machine::RECORDS).exists() {
        machine::forget_records().await?;
    }
    Ok(removed)
}

async fn sweep_lab(id: &str, folder: Option<&Utf8Path>, removed: &mut Removed) -> Result<(), Error> {
    let quick = Duration::from_secs(20);
    if end_processes(id, folder).await? {
        removed.add(format!("the node {id} and its guests"));
    }
    if Utf8Path::new("/sys/class/net").join(id).exists() {
        // It may go away by itself with the namespace its other end is in.
        let command = transport::Command::new("removing the link", ["ip", "link", "del", id]);
        let _ = transport::Local.run(&command).await;
        removed.add(format!("the link {id}"));
    }
    let tables = run("listing nft tables", &["nft", "list", "tables", "ip"], b"", quick).await?;
    if tables.lines().any(|line| line.trim() == format!("table ip {id}")) {
        run("removing the address translation", &["nft", "delete", "table", "ip", id], b"", quick).await?;
        removed.add(format!("the nft table {id}"));
    }
    hardware::tidy(id);
    if remove_cgroups(id).await? {
        removed.add(format!("the cgroups {id}"));
    }
    if let Some(folder) = folder {
        unmount_below(folder).await?;
        remove_lxc_lock(folder, id);
    }
    Ok(())
}

/// The cgroup that a machine's process is put into, by which it is found again.
pub(crate) fn cgroup(id: &str) -> Utf8PathBuf {
    let root = Utf8Path::new("/sys/fs/cgroup");
    let own = |name: &str| root.join(name).is_dir();
    // Where controllers have hierarchies of their own, any will do.
    let hierarchy = ["systemd", "pids", "memory"].into_iter().find(|name| own(name));
    match hierarchy {
        Some(hierarchy) if !root.join("cgroup.controllers").exists() => root.join(hierarchy).join(id),
        _ => root.join(id),
    }
}

fn cgroups(id: &str) -> Vec<Utf8PathBuf> {
    let root = Utf8Path::new("/sys/fs/cgroup");
    let hierarchies = root.read_dir_utf8().into_iter().flatten().flatten().map(|e| e.path().to_owned());
    std::iter::once(root.to_owned()).chain(hierarchies).map(|h| h.join(id)).filter(|p| p.is_dir()).collect()
}

/// Every folder below `top`, deepest first.
fn deepest_first(top: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut all = vec![top.to_owned()];
    let mut at = 0;
    while let Some(folder) = all.get(at).cloned() {
        for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                all.push(entry.path().to_owned());
            }
        }
        at += 1;
    }
    all.reverse();
    all
}

fn processes(id: &str) -> Vec<Process> {
    let mut pids: Vec<u32> = cgroups(id)
        .iter()
        .flat_map(|top| deepest_first(top))
        .flat_map(|folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>()
        })
        .filter(|pid| *pid != 0)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    // Ended ones that nobody has waited for yet are listed too.
    pids.into_iter().filter_map(Process::find).collect()
}

/// Kills everything in the lab's cgroups; each node's first process takes the guests with it. Says whether there was any.
async fn end_processes(id: &str, folder: Option<&Utf8Path>) -> Result<bool, Error> {
    let inits = match folder {
        Some(folder) => forward::node_inits(folder, id).await,
        None => Vec::new(),
    };
    let mut any = false;
    for init in &inits {
        any |= init.kill().await;
    }
    let limit = Duration::from_secs(20);
    let began = Instant::now();
    loop {
        let left = processes(id);
        if left.is_empty() {
            return Ok(any);
        }
        any = true;
        if began.elapsed() > limit {
            let last = format!("{} are left, the first is process {}", left.len(), left[0].pid());
            return Err(Error::TimedOut { what: format!("the end of the processes of {id}"), limit, last });
        }
        // The monitor cleans up after its container by itself, once it is given the moment.
        if began.elapsed() > Duration::from_millis(500) || inits.is_empty() {
            for process in &left {
                process.kill().await;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn remove_cgroups(id: &str) -> Result<bool, Error> {
    let mut any = false;
    let limit = Duration::from_secs(10);
    let began = Instant::now();
    loop {
        let mut last = None;
        for folder in cgroups(id).iter().flat_map(|top| deepest_first(top)) {
            match fs::remove_dir(&folder) {
                Ok(()) => any = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => last = Some(error.to_string()),
            }
        }
        match last {
            None => return Ok(any),
            // The kernel takes a moment to forget the last process of a cgroup.
            Some(_) if began.elapsed() < limit => tokio::time::sleep(Duration::from_millis(20)).await,
            Some(last) => {
                return Err(Error::TimedOut { what: format!("removing the cgroups of {id}"), limit, last });
            }
        }
    }
}

/// Unmounts what is mounted below the folder in this mount namespace, the deepest first.
async fn unmount_below(folder: &Utf8Path) -> Result<(), Error> {
    let text = fs::read_to_string("/proc/self/mounts").map_err(Error::io("reading the mounts"))?;
    let mut places: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|place| Utf8Path::new(place).starts_with(folder))
        .collect();
    places.sort_unstable();
    for place in places.into_iter().rev() {
        run("unmounting what is left", &["umount", "-l", place], b"", Duration::from_secs(20)).await?;
    }
    Ok(())
}

/// LXC leaves a lock file for each folder of containers.
fn remove_lxc_lock(folder: &Utf8Path, id: &str) {
    let locks = Utf8Path::new("/run/lxc/lock");
    let mut path = locks.join(folder.join("lxc").as_str().trim_start_matches('/'));
    for container in forward::containers(folder, id) {
        let _ = fs::remove_file(path.join(format!(".{container}")));
    }
    // Up to where somebody else's begin.
    while path.starts_with(locks) && path != locks && fs::remove_dir(&path).is_ok() {
        path.pop();
    }
}
