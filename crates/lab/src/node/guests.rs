//! The guests of a node, containers and virtual machines: finding, locking and writing their files.

use std::sync::Arc;
use std::time::Duration;

use proxmox::config::GuestKind;

use super::storage::{Template, Volume};
use super::{Auth, Inner, Node, NodeError, etc, formats, lock, qemu, storage, tasks};

/// How long a change of a guest waits for another one that is just being written (PVE::AbstractConfig, `lock_config`).
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A guest's configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestText {
    /// The node that has it.
    pub node: String,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Its number.
    pub id: u32,
    /// What is in it.
    pub text: Arc<str>,
}

impl Node {
    /// The text of every guest's configuration file, by id: what the folders of `/etc/pve/nodes/NODE` hold.
    pub fn configuration_files(&self) -> Vec<(u32, Arc<str>)> {
        let state = self.inner.state();
        state.etc.all().iter().map(|(id, file)| (*id, Arc::from(file.text.as_str()))).collect()
    }

    /// Container or virtual machine; none when there is no such guest on this node.
    pub fn guest_kind(&self, id: u32) -> Option<GuestKind> {
        self.inner.state().etc.get(id).map(|stored| stored.conf.kind)
    }

    /// Every guest's configuration file of all nodes of its cluster.
    pub fn all_configuration_files(&self) -> Vec<GuestText> {
        let all = self.inner.state().etc.whole();
        let text = |(id, (node, file)): (u32, (String, Arc<etc::Stored>))| GuestText {
            node,
            kind: file.conf.kind,
            id,
            text: Arc::from(file.text.as_str()),
        };
        all.into_iter().map(text).collect()
    }

    /// Puts a container there as it would be after its creation, at no cost in time. `text` is its configuration file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_guest(&self, id: u32, text: &str) -> Result<(), NodeError> {
        self.put(GuestKind::Container, id, text)
    }

    /// The same with a virtual machine.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_vm(&self, id: u32, text: &str) -> Result<(), NodeError> {
        self.put(GuestKind::Vm, id, text)
    }

    fn put(&self, kind: GuestKind, id: u32, text: &str) -> Result<(), NodeError> {
        let conf = etc::GuestConf::parse(kind, text);
        let mut state = self.inner.state();
        let ctime = self.inner.clock.now();
        for (key, value) in &conf.current.options {
            let found = match kind {
                GuestKind::Container if storage::is_volume_key(key) => {
                    let mount = storage::Mount::parse(key, value);
                    mount.map(|mount| (mount.volume, mount.property))
                }
                GuestKind::Container => None,
                GuestKind::Vm => qemu::volume(key, value),
            };
            if let Some((volume, property)) = found {
                let size = property.get("size").and_then(formats::parse_size).unwrap_or_default();
                let image = kind == GuestKind::Vm;
                state.keep.volumes.insert(volume, Volume { size, guest: id, ctime, image });
            }
        }
        state.etc.write(id, &conf)?;
        Ok(())
    }

    /// Sets or clears the `lock` of a guest's configuration, as a backup or a person on the node does.
    /// Whether the guest exists.
    pub fn set_guest_lock(&self, id: u32, what: Option<&str>) -> bool {
        let mut state = self.inner.state();
        let Some(stored) = state.etc.get(id) else { return false };
        let mut conf = stored.conf.clone();
        match what {
            Some(what) => conf.current.options.insert("lock".to_owned(), what.to_owned()),
            None => conf.current.options.remove("lock"),
        };
        state.etc.write(id, &conf).is_ok()
    }

    /// Whether a storage has a file of no other kind, `snippets/x.yaml`, from now on: one that somebody put there on the node.
    pub(crate) fn set_snippet(&self, volume: &str, there: bool) {
        let Some((on, name)) = volume.split_once(':') else { return };
        let mut state = self.inner.state();
        let Some(storage) = state.keep.storages.get_mut(on) else { return };
        storage.images.retain(|image| image.name != name);
        if there {
            storage.images.push(Template { name: name.to_owned(), size: 1024, ctime: 0 });
        }
    }

    /// Somebody backs a guest up for this long: a task that holds its lock. False when there is no such guest.
    pub fn back_up(&self, id: u32, time: Duration) -> bool {
        if !self.set_guest_lock(id, Some("backup")) {
            return false;
        }
        let node = self.clone();
        tasks::start(&self.inner, &Auth::root(), "vzdump", &id.to_string(), move |_| async move {
            tokio::time::sleep(time).await;
            node.set_guest_lock(id, None);
            Ok(())
        });
        true
    }
}

impl Inner {
    /// Takes the short lock under which a container's file is changed.
    pub(super) async fn flock(&self, id: u32) -> Result<tokio::sync::OwnedRwLockWriteGuard<()>, String> {
        self.flock_of(GuestKind::Container, id, LOCK_WAIT).await
    }

    /// The same for a guest of either kind, waiting for at most `limit`.
    pub(super) async fn flock_of(
        &self,
        kind: GuestKind,
        id: u32,
        limit: Duration,
    ) -> Result<tokio::sync::OwnedRwLockWriteGuard<()>, String> {
        let own = lock(&self.locks).entry(id).or_default().clone();
        tokio::time::timeout(limit, own.write_owned()).await.map_err(|_| no_lock(kind, id))
    }

    /// A virtual machine's, together with others who only read it (PVE::AbstractConfig, `lock_config_shared`).
    pub(super) async fn flock_shared(
        &self,
        id: u32,
        limit: Duration,
    ) -> Result<tokio::sync::OwnedRwLockReadGuard<()>, String> {
        let own = lock(&self.locks).entry(id).or_default().clone();
        tokio::time::timeout(limit, own.read_owned()).await.map_err(|_| no_lock(GuestKind::Vm, id))
    }

    /// As long as a change waits for it.
    pub(super) async fn flock_vm(&self, id: u32) -> Result<tokio::sync::OwnedRwLockWriteGuard<()>, String> {
        self.flock_of(GuestKind::Vm, id, LOCK_WAIT).await
    }

    /// A container's file.
    pub(super) fn guest(&self, id: u32) -> Result<Arc<etc::Stored>, String> {
        self.guest_of(GuestKind::Container, id)
    }

    /// The file of a guest of this kind, or the node's words that there is none.
    pub(super) fn guest_of(&self, kind: GuestKind, id: u32) -> Result<Arc<etc::Stored>, String> {
        let found = self.state().etc.get(id).filter(|stored| stored.conf.kind == kind);
        found.ok_or_else(|| {
            let folder = kind.folder();
            format!("Configuration file 'nodes/{}/{folder}/{id}.conf' does not exist", self.name)
        })
    }

    pub(super) fn write_guest(&self, id: u32, conf: &etc::GuestConf) -> Result<(), String> {
        self.state().etc.write(id, conf).map_err(|error| format!("unable to write guest {id}: {error}"))
    }
}

/// What is said where a lock was not to be had in time.
fn no_lock(kind: GuestKind, id: u32) -> String {
    let file = match kind {
        GuestKind::Container => format!("/run/lock/lxc/pve-config-{id}.lock"),
        GuestKind::Vm => format!("/var/lock/qemu-server/lock-{id}.conf"),
    };
    format!("can't lock file '{file}' - got timeout")
}
