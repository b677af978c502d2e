//! A simulated ZFS: disks with what is on them, and pools as records that say what real ones would.
//!
//! It understands the commands that Phoenix gives on a node (`managers::zfs`), refuses what a real one refuses without `-f`, in its
//! words, and answers the script that looks with what the real programs print. Data is never copied: a disk that takes another's
//! place has it at once.

mod command;
mod keys;
mod print;

use std::collections::{BTreeMap, BTreeSet};

/// Exit status, output, error output.
type Printed = (i32, Vec<u8>, Vec<u8>);

/// A node's disks and pools. Without any disk, it has no ZFS.
#[derive(Debug, Default)]
pub struct SimZfs {
    disks: Vec<Disk>,
    pools: BTreeMap<String, Pool>,
    /// Pools that are on disks and are not imported.
    exported: Vec<(String, Pool)>,
    made: u64,
    /// The files in which keys lie that are loaded at the node's start.
    files: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Disk {
    id: String,
    serial: String,
    size: u64,
    holds: Holds,
    /// Whether it was pulled out.
    away: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Holds {
    Nothing,
    /// A table without anything in its partitions.
    Table,
    /// A file system of this kind on its first partition, mounted where that is said.
    System(String, Option<String>),
    /// A label of ZFS: the number and the name of a pool, which may be no more.
    Label(u64, String),
}

#[derive(Debug, Clone, Default)]
struct Pool {
    guid: u64,
    properties: BTreeMap<String, String>,
    vdevs: Vec<Vdev>,
    /// By whole name; the first one is the pool's own.
    datasets: BTreeMap<String, Dataset>,
    /// Whether another system had it last.
    elsewhere: bool,
    /// Disks that failed.
    failed: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Vdev {
    class: Option<String>,
    layout: Option<String>,
    number: usize,
    disks: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Dataset {
    volume: bool,
    local: BTreeMap<String, String>,
    /// The key, of one that has its own.
    key: Option<keys::Key>,
}

impl Vdev {
    fn name(&self) -> String {
        match (&self.layout, self.disks.first()) {
            (Some(layout), _) => format!("{layout}-{}", self.number),
            (None, Some(disk)) => path(disk),
            (None, None) => String::new(),
        }
    }
}

/// A disk as a pool calls it.
fn path(disk: &str) -> String {
    format!("/dev/disk/by-id/{disk}-part1")
}

impl SimZfs {
    /// Plugs in an empty disk, by its name in `/dev/disk/by-id`.
    pub fn plug(&mut self, id: &str, serial: &str, size: u64) {
        if let Some(disk) = self.disks.iter_mut().find(|disk| disk.id == id) {
            disk.away = false;
            return;
        }
        let (id, serial) = (id.to_owned(), serial.to_owned());
        self.disks.push(Disk { id, serial, size, holds: Holds::Nothing, away: false });
    }

    /// Pulls a disk out.
    pub fn pull(&mut self, id: &str) {
        self.disks.iter_mut().filter(|disk| disk.id == id).for_each(|disk| disk.away = true);
    }

    /// Has a disk have a file system on it, mounted where that is said.
    pub fn format(&mut self, id: &str, system: &str, mounted: Option<&str>) {
        if let Some(disk) = self.disks.iter_mut().find(|disk| disk.id == id) {
            disk.holds = Holds::System(system.to_owned(), mounted.map(str::to_owned));
        }
    }

    /// Has a disk be as a program leaves it that was killed while it put labels on it.
    pub fn half_label(&mut self, id: &str) {
        if let Some(disk) = self.disks.iter_mut().find(|disk| disk.id == id) {
            disk.holds = Holds::Label(77, "half".to_owned());
        }
    }

    /// Has a disk of a pool fail.
    pub fn fail(&mut self, pool: &str, id: &str) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.failed.insert(id.to_owned());
        }
    }

    /// Has a dataset be there, as somebody else makes it.
    pub fn foreign(&mut self, name: &str) {
        let pool = self.pools.get_mut(name.split('/').next().unwrap_or_default());
        if let Some(pool) = pool {
            pool.datasets.insert(name.to_owned(), Dataset::default());
        }
    }

    /// The node is installed anew: what is on disks stays, and nothing is imported.
    pub fn reinstall(&mut self) {
        for (name, mut pool) in std::mem::take(&mut self.pools) {
            pool.elsewhere = true;
            pool.lock();
            self.exported.push((name, pool));
        }
        self.files.clear();
    }

    /// A pool is gone without a trace.
    pub fn lose(&mut self, pool: &str) {
        self.pools.remove(pool);
    }

    /// Sets a property of a dataset as somebody does by hand.
    pub fn set(&mut self, name: &str, property: &str, value: &str) {
        if let Some(dataset) = self.dataset(name) {
            dataset.local.insert(property.to_owned(), value.to_owned());
        }
    }

    /// All pools and datasets.
    pub fn places(&self) -> BTreeSet<String> {
        self.pools.values().flat_map(|pool| pool.datasets.keys().cloned()).collect()
    }

    /// All that is there, in a form that two ends can be compared in.
    pub fn described(&self) -> String {
        let mut out = String::new();
        let pools = self.pools.iter().map(|it| (it, "imported"));
        for ((name, pool), state) in
            pools.chain(self.exported.iter().map(|(name, pool)| ((name, pool), "exported")))
        {
            out.push_str(&format!("pool {name} ({state}): {:?}\n", pool.properties));
            for vdev in &pool.vdevs {
                out.push_str(&format!("  {:?} {:?}: {:?}\n", vdev.class, vdev.layout, vdev.disks));
            }
            for (name, dataset) in &pool.datasets {
                out.push_str(&format!("  dataset {name}: {:?}\n", dataset.local));
                if let Some(key) = &dataset.key {
                    out.push_str(&format!("    {key:?}\n"));
                }
            }
        }
        for (file, key) in &self.files {
            out.push_str(&format!("key file {file}: {key}\n"));
        }
        for disk in &self.disks {
            // Which number a pool was given is nobody's business.
            let holds = match &disk.holds {
                Holds::Label(_, pool) => format!("a label of {pool}"),
                other => format!("{other:?}"),
            };
            out.push_str(&format!("disk {}: {holds}\n", disk.id));
        }
        out
    }

    /// What a command prints; nothing for what is not about ZFS.
    pub(super) fn run(&mut self, argv: &[String], stdin: &[u8]) -> Option<Printed> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let done = match words.as_slice() {
            ["sh", "-c", _, "zfs"] => return Some((0, self.print().into_bytes(), Vec::new())),
            _ if self.disks.is_empty() => return None,
            ["sh", "-c", _, "phoenix-zfs-empty", disks @ ..] => self.empty(disks),
            ["zpool", "create", rest @ ..] => self.create(rest),
            ["zpool", "import", "-d", _, rest @ ..] => self.import(rest),
            ["zpool", "set", setting, pool] => self.set_pool(setting, pool),
            ["zpool", "replace", pool, old, new] => self.replace(pool, old, new),
            ["zpool", "attach", pool, to, new] => self.attach(pool, to, new),
            ["zpool", "add", "-o", _, pool, rest @ ..] => self.add(pool, rest),
            ["zpool", "remove", pool, name] => self.remove(pool, name),
            ["zpool", "destroy", pool] => self.destroy(pool),
            ["sh", "-c", _, "phoenix-zfs-key", verb, names @ ..] => self.key_files(verb, names, stdin),
            ["zfs", "load-key", "-L", "prompt", name] => self.load_key(name, stdin),
            ["zfs", "change-key", "-o", "keyformat=passphrase", "-o", setting, name] => {
                self.change_key(setting, name, stdin)
            }
            ["zfs", "mount", "-a"] => self.mount_all(),
            ["zfs", "create", rest @ ..] => self.create_dataset(rest, stdin),
            ["zfs", "set", settings @ .., name] => self.set_dataset(settings, name),
            ["zfs", "inherit", property, name] => self.inherit(property, name),
            ["zfs", "destroy", "-r", name] => self.destroy_dataset(name),
            _ => return None,
        };
        Some(match done {
            Ok(()) => (0, Vec::new(), Vec::new()),
            Err(why) => (1, Vec::new(), format!("{why}\n").into_bytes()),
        })
    }

    fn dataset(&mut self, name: &str) -> Option<&mut Dataset> {
        self.pools.get_mut(name.split('/').next()?)?.datasets.get_mut(name)
    }
}
