//! What the nodes of a cluster have in common. On a real one it lies in `/etc/pve`, which each of them sees as the others do:
//! here users, pools and the definitions of storages are looked at anew before each call, and changed under one lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::etc::{Seen, Stored, seen};
use super::{Inner, Keep, Mapping, Node, Pool, State, Storage, lock};

/// How long a change waits for the other nodes' (PVE::Cluster, `cfs_lock`).
const WAIT: Duration = Duration::from_secs(10);

/// One node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address, as the others reach it.
    pub address: String,
}

/// A cluster, as each of its nodes is told of it when it is opened. Cloning it gives another handle on the same one.
#[derive(Debug, Clone)]
pub struct Cluster {
    members: Arc<[Member]>,
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    Memory(Arc<Memory>),
    Folder(Utf8PathBuf),
}

/// A guest in memory: the node that has it, and its file.
type Registered = BTreeMap<u32, (String, Arc<Stored>)>;

#[derive(Debug, Default)]
struct Memory {
    /// How often it was changed, and what it is.
    common: Mutex<(u64, Option<Common>)>,
    /// Held while it is read and written.
    gate: Mutex<()>,
    guests: Mutex<Registered>,
    firewall: Arc<Mutex<BTreeMap<String, String>>>,
}

/// What is common of what a node remembers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Common {
    access: Access,
    pools: BTreeMap<String, Pool>,
    storages: BTreeMap<String, Storage>,
    #[serde(default)]
    notes: String,
    #[serde(default)]
    mappings: Vec<Mapping>,
}

/// Which state of it a node has seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Memory(u64),
    File(Seen),
}

/// While there is one, no other node changes what is common. The fields are only kept.
#[derive(Debug)]
pub(super) struct Held<'a>(
    #[expect(dead_code, reason = "dropping it lets the others go on")] Option<MutexGuard<'a, ()>>,
    #[expect(dead_code, reason = "closing the file releases the lock")] Option<fs_err::File>,
);

impl Cluster {
    /// A cluster of these nodes, whose numbers follow from their order, in memory: all of them are in this process.
    pub fn in_memory(members: Vec<Member>) -> Self {
        Self { members: members.into(), backend: Backend::Memory(Arc::default()) }
    }

    /// The same, with what is common in a folder that all of them see.
    pub fn in_folder(members: Vec<Member>, folder: impl Into<Utf8PathBuf>) -> Self {
        Self { members: members.into(), backend: Backend::Folder(folder.into()) }
    }

    /// Its nodes, with their numbers.
    pub(super) fn members(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().map(|(at, member)| (at + 1, member))
    }

    /// The firewall's files, where they are in memory.
    pub(super) fn firewall(&self) -> Arc<Mutex<BTreeMap<String, String>>> {
        match &self.backend {
            Backend::Memory(memory) => memory.firewall.clone(),
            Backend::Folder(_) => Arc::default(),
        }
    }

    /// Tells the others, where they cannot see it in a folder, that a guest's file is now this one of `node`, or gone.
    pub(super) fn register(&self, id: u32, node: &str, stored: Option<Arc<Stored>>) {
        let Backend::Memory(memory) = &self.backend else { return };
        let mut guests = lock(&memory.guests);
        match stored {
            Some(stored) => drop(guests.insert(id, (node.to_owned(), stored))),
            None => drop(guests.remove(&id)),
        }
    }

    /// The guests that are registered.
    pub(super) fn registered(&self) -> Registered {
        match &self.backend {
            Backend::Memory(memory) => lock(&memory.guests).clone(),
            Backend::Folder(_) => Registered::new(),
        }
    }

    fn file(folder: &Utf8Path) -> Utf8PathBuf {
        folder.join("cluster.json")
    }

    /// Keeps the other nodes from changing anything, waiting for it within bounds. A node that cannot have the lock goes on
    /// without: what it does is then as if it had come a moment later.
    pub(super) fn hold(&self) -> Held<'_> {
        let folder = match &self.backend {
            Backend::Memory(memory) => return Held(Some(lock(&memory.gate)), None),
            Backend::Folder(folder) => folder,
        };
        let opened = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("cluster.lock"));
        let Ok(file) = opened else { return Held(None, None) };
        let began = Instant::now();
        // flock(2) cannot be waited for with a limit; it is asked again.
        while rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err()
            && began.elapsed() < WAIT
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        Held(None, Some(file))
    }

    /// Takes over what another node has changed since `last`, and says what is seen now. False when nothing is there yet.
    pub(super) fn pull(&self, keep: &mut Keep, last: &mut Option<Version>) -> bool {
        let newer = match &self.backend {
            Backend::Memory(memory) => {
                let common = lock(&memory.common);
                let version = Version::Memory(common.0);
                if *last == Some(version) {
                    return true;
                }
                common.1.clone().map(|common| (version, common))
            }
            Backend::Folder(folder) => {
                let file = Self::file(folder);
                let Ok(version) = seen(&file).map(Version::File) else { return false };
                if *last == Some(version) {
                    return true;
                }
                // It is replaced whole. What cannot be read stays what it was.
                let text = fs_err::read(&file).ok();
                text.and_then(|text| Some((version, serde_json::from_slice(&text).ok()?)))
            }
        };
        let Some((version, common)) = newer else { return false };
        let Common { access, pools, mut storages, notes, mappings } = common;
        for storage in storages.values_mut().filter(|storage| !storage.is_shared()) {
            let own = keep.storages.get_mut(&storage.id);
            let own = own.map(|own| (std::mem::take(&mut own.templates), std::mem::take(&mut own.images)));
            (storage.templates, storage.images) = own.unwrap_or_default();
        }
        (keep.access, keep.pools, keep.storages, keep.notes) = (access, pools, storages, notes);
        keep.mappings = mappings;
        *last = Some(version);
        true
    }

    /// Shows the others what has become of it. The caller [holds](Self::hold) it.
    pub(super) fn push(&self, keep: &Keep, last: &mut Option<Version>) {
        let common = Common {
            access: keep.access.clone(),
            pools: keep.pools.clone(),
            storages: keep.storages.clone(),
            notes: keep.notes.clone(),
            mappings: keep.mappings.clone(),
        };
        match &self.backend {
            Backend::Memory(memory) => {
                let mut now = lock(&memory.common);
                *now = (now.0 + 1, Some(common));
                *last = Some(Version::Memory(now.0));
            }
            Backend::Folder(folder) => {
                let file = Self::file(folder);
                let written = serde_json::to_string_pretty(&common)
                    .map_err(std::io::Error::from)
                    .and_then(|text| super::write_file(&file, text.as_bytes(), 0o600));
                // As with a node's own file: what cannot be written is remembered all the same.
                if written.is_ok() {
                    *last = seen(&file).ok().map(Version::File);
                }
            }
        }
    }
}

impl Inner {
    /// With what the other nodes of its cluster have changed.
    pub(super) fn current(&self) -> MutexGuard<'_, State> {
        let mut guard = self.state();
        let State { keep, seen, .. } = &mut *guard;
        if let Some(cluster) = &self.cluster {
            cluster.pull(keep, seen);
        }
        guard
    }

    /// Looks at all that others may have changed meanwhile.
    pub(super) fn look_again(&self) {
        // Where the folder cannot be read, what was read last is as good as it gets.
        let _ = self.current().etc.look_again();
    }

    /// Changes what outlives the process and the files together, while no other node of the cluster changes anything.
    pub(super) fn change_all<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let _held = self.cluster.as_ref().map(Cluster::hold);
        let mut guard = self.current();
        let state = &mut *guard;
        let out = change(state);
        if let Some(cluster) = &self.cluster {
            cluster.push(&state.keep, &mut state.seen);
        }
        self.save(&state.keep);
        out
    }
}

impl Node {
    /// The address it gives as its own.
    pub fn address(&self) -> &str {
        &self.inner.hardware.address
    }
}
