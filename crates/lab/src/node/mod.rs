//! The state machine of one Proxmox VE node: what its API accepts, answers, remembers and refuses.
//!
//! [`Node::handle`] is the whole of it. The HTTPS server and the in-process exchange both call it, so what a test sees
//! is what a client on the network sees. What a call asks for is carried out by a [`Runtime`].

mod access;
mod access_api;
mod appliances;
mod certificates;
mod cluster;
mod common;
mod durable;
mod error;
mod etc;
mod file_api;
mod firewall;
mod formats;
mod guest_change;
mod guest_clone;
mod guest_create;
mod guest_move;
mod guest_power;
mod guest_read;
mod guests;
mod kept_files;
mod mappings;
mod options;
mod peer;
mod pools;
mod qemu;
mod router;
mod schema;
mod storage;
mod storage_api;
mod storage_define;
mod tasks;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use camino::Utf8PathBuf;
use proxmox::exchange::{Request, Response};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};

pub use access::Auth;
pub(crate) use certificates::{SERVED, certified, fingerprint, self_signed};
pub use common::{Cluster, Member};
pub(crate) use durable::write_file;
pub(crate) use guest_read::link_local;
pub use guests::GuestText;
pub use kept_files::{Checksum, Uploaded, begin_of, verify_image};
pub use mappings::Mapping;
pub use options::{Bridge, Clock, Hardware, NodeOptions};
pub(crate) use peer::Peer;
pub use peer::introduce;
pub(crate) use qemu::{Net, nets, seed};
pub(crate) use schema::decode;
pub use storage::{Storage, Template};
pub use storage_define::Grounds;
pub use tasks::{TaskPlan, TaskTwist};

use crate::runtime::Runtime;
use access::{Access, Privileges};
use error::ApiError;
use etc::EtcPve;
use storage::Volume;
use tasks::Tasks;

/// A pool of guests and storages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Pool {
    comment: Option<String>,
    guests: std::collections::BTreeSet<u32>,
    storages: std::collections::BTreeSet<String>,
}

/// What outlives the process, beside the guests' files.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Keep {
    access: Access,
    pools: BTreeMap<String, Pool>,
    storages: BTreeMap<String, Storage>,
    volumes: BTreeMap<String, Volume>,
    /// The notes of the datacenter.
    #[serde(default)]
    notes: String,
    /// The resource mappings of the cluster.
    #[serde(default)]
    mappings: Vec<Mapping>,
    /// The template a guest was made from, by guest.
    made_from: BTreeMap<u32, String>,
}

impl Keep {
    /// The guest is gone.
    fn leave_pools(&mut self, guest: u32) {
        for pool in self.pools.values_mut() {
            pool.guests.remove(&guest);
        }
    }

    fn pool_of(&self, guest: u32) -> Option<&str> {
        self.pools.iter().find(|(_, pool)| pool.guests.contains(&guest)).map(|(id, _)| id.as_str())
    }
}

#[derive(Debug)]
struct State {
    etc: EtcPve,
    keep: Keep,
    /// Which state of what its cluster has in common it has seen last.
    seen: Option<common::Version>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    runtime: Arc<dyn Runtime>,
    clock: Clock,
    hardware: Hardware,
    bridges: RwLock<Arc<[Bridge]>>,
    /// Whether a new connection from outside gets to it: its network may be cut.
    reached: AtomicBool,
    grounds: Option<Grounds>,
    folder: Option<Utf8PathBuf>,
    state: Mutex<State>,
    rng: Mutex<ChaCha8Rng>,
    locks: Mutex<HashMap<u32, Arc<tokio::sync::RwLock<()>>>>,
    tasks: Mutex<Tasks>,
    plan: Mutex<Option<Arc<dyn TaskPlan>>>,
    /// The certificate it made for itself, in PEM.
    certificate: Mutex<Option<String>>,
    /// What is served in its place.
    custom: Mutex<Option<Arc<CertifiedKey>>>,
    cluster: Option<Cluster>,
    /// The other nodes of it.
    peers: OnceLock<Vec<Arc<dyn Peer>>>,
}

/// Why a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its folder cannot be read or written.
    #[error("cannot open the node's folder")]
    Folder(#[from] std::io::Error),
    /// What it had written is not what it writes.
    #[error("cannot read {file}")]
    State {
        /// The file.
        file: Utf8PathBuf,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
}

/// One node. Cloning it gives another handle on the same one.
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl Node {
    /// Opens a node over `runtime`. Where `options` name folders, what an earlier process left there is loaded.
    ///
    /// # Errors
    /// When a folder cannot be read or written, or holds something else.
    pub fn open(options: NodeOptions, runtime: Arc<dyn Runtime>) -> Result<Self, NodeError> {
        let mut rng = match options.seed {
            Some(seed) => ChaCha8Rng::seed_from_u64(seed),
            None => ChaCha8Rng::from_seed(entropy()?),
        };
        let etc = EtcPve::open(options.etc.as_deref(), &options.name, options.cluster.clone())?;
        let kept = match &options.state {
            Some(folder) => load(folder)?,
            None => None,
        };
        let keep = kept.unwrap_or_else(|| Keep {
            access: Access::new(format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())),
            pools: BTreeMap::new(),
            storages: options.storages.into_iter().map(|storage| (storage.id.clone(), storage)).collect(),
            volumes: BTreeMap::new(),
            notes: String::new(),
            mappings: options.mappings,
            made_from: BTreeMap::new(),
        });
        let tasks = Tasks::open(options.state.as_deref())?;
        let mut state = State { etc, keep, seen: None };
        if let Some(cluster) = &options.cluster {
            let _held = cluster.hold();
            if !cluster.pull(&mut state.keep, &mut state.seen) {
                cluster.push(&state.keep, &mut state.seen);
            }
        }
        let inner = Inner {
            name: options.name,
            runtime,
            clock: options.clock,
            hardware: options.hardware,
            bridges: RwLock::new(options.bridges.into()),
            reached: AtomicBool::new(true),
            grounds: options.grounds,
            folder: options.state,
            state: Mutex::new(state),
            rng: Mutex::new(rng),
            locks: Mutex::default(),
            tasks: Mutex::new(tasks),
            plan: Mutex::default(),
            certificate: Mutex::default(),
            custom: Mutex::default(),
            cluster: options.cluster,
            peers: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers one request of `auth`. Never an error of its own: what goes wrong is an answer, as on a real node.
    pub async fn handle(&self, auth: &Auth, request: &Request) -> Response {
        self.inner.look_again();
        router::handle(&self.inner, Some(auth), request, None, false).await
    }

    /// The same with a file that came with the request.
    pub async fn handle_upload(&self, auth: &Auth, request: &Request, file: Uploaded) -> Response {
        self.inner.look_again();
        router::handle(&self.inner, Some(auth), request, Some(&Arc::new(file)), false).await
    }

    /// Answers a request that shows no identity: little more than the log-in.
    pub async fn handle_anonymous(&self, request: &Request) -> Response {
        router::handle(&self.inner, None, request, None, false).await
    }

    /// The identity behind an `Authorization` header's `PVEAPIToken=user@realm!token=SECRET`.
    pub fn auth_of_token(&self, header: &str) -> Option<Auth> {
        let (id, secret) = header.trim().strip_prefix("PVEAPIToken=")?.rsplit_once('=')?;
        let auth = Auth::of(id);
        let state = self.inner.current();
        let known = state.keep.access.users.get(auth.user())?.tokens.get(auth.token()?)?;
        let good = known.secret == secret && state.keep.access.is_valid(&auth, self.inner.clock.now());
        good.then_some(auth)
    }

    /// The identity behind a ticket; `csrf` is the token that every request but a GET must show with it.
    ///
    /// # Errors
    /// The words of the refusal.
    pub fn auth_of_ticket(
        &self,
        ticket: &str,
        csrf: Option<&str>,
        changes: bool,
    ) -> Result<Auth, &'static str> {
        drop(self.inner.current());
        self.inner.auth_of_ticket(ticket, csrf, changes)
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What stands behind it.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.inner.runtime
    }

    /// Sets the password of a user that exists. `None` takes it away.
    pub fn set_password(&self, user: &str, password: Option<&str>) {
        self.inner.change(|keep| {
            if let Some(known) = keep.access.users.get_mut(user) {
                known.password = password.map(|password| Access::hash(user, password));
            }
        });
    }

    /// Gives a user's token a secret of the caller's choice, making user and token where they are missing.
    pub fn set_token(&self, id: &str, secret: &str, privsep: bool) {
        let auth = Auth::of(id);
        self.inner.change(|keep| {
            let user = keep.access.users.entry(auth.user().to_owned()).or_default();
            user.enable = true;
            let token = access::Token { privsep, expire: 0, comment: None, secret: secret.to_owned() };
            user.tokens.insert(auth.token().unwrap_or_default().to_owned(), token);
        });
    }

    /// Makes a role, or gives it other privileges (a list with commas). Names that are no privilege are left out.
    pub fn set_role(&self, name: &str, privileges: &str) {
        self.inner.change(|keep| keep.access.roles.insert(name.to_owned(), privileges.to_owned()));
    }

    /// Gives a user or token a role on a path and everything below it.
    pub fn grant(&self, who: &str, path: &str, role: &str) {
        let rule = access::Rule { who: who.to_owned(), role: role.to_owned(), propagate: true };
        self.inner.change(|keep| {
            let rules = keep.access.rules.entry(path.to_owned()).or_default();
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        });
    }

    /// The templates, ISOs and images to import that are on its storages, as volume ids with their sizes.
    pub fn kept_files(&self) -> BTreeMap<String, u64> {
        let state = self.inner.current();
        let mut all = BTreeMap::new();
        for storage in state.keep.storages.values() {
            for kind in kept_files::KINDS {
                let volume = |name: &str| format!("{}:{}/{name}", storage.id, kind.content);
                all.extend(storage.kept(kind).into_iter().map(|file| (volume(&file.name), file.size)));
            }
        }
        all
    }

    /// The definitions of its cluster's storages, by name: type and options.
    pub fn definitions(&self) -> BTreeMap<String, (String, BTreeMap<String, String>)> {
        let state = self.inner.current();
        let all = state.keep.storages.values();
        all.map(|storage| (storage.id.clone(), (storage.kind.clone(), storage.options.clone()))).collect()
    }

    /// The notes of its datacenter.
    pub fn notes(&self) -> String {
        self.inner.current().keep.notes.clone()
    }

    /// The resource mappings of its cluster.
    pub fn mappings(&self) -> Vec<Mapping> {
        self.inner.current().keep.mappings.clone()
    }

    /// Waits for the end of a task and returns its exit status; none when there is no such task.
    pub async fn task_end(&self, upid: &str) -> Option<String> {
        let task = lock(&self.inner.tasks).get(upid)?;
        task.finished().await;
        task.status().map(|(_, status)| status)
    }

    /// The certificate that its API is served with, in PEM (`pve-ssl.pem`).
    pub fn set_certificate(&self, pem: &str) {
        *lock(&self.inner.certificate) = Some(pem.to_owned());
    }

    /// Begins to serve the custom certificate that is there now, or none.
    pub(crate) fn restart_proxy(&self) {
        self.inner.restart_proxy();
    }

    /// The custom certificate that is served since the last restart.
    pub(crate) fn custom_certificate(&self) -> Option<Arc<CertifiedKey>> {
        lock(&self.inner.custom).clone()
    }

    /// Decides what becomes of the tasks that start from now on. For tests of bad days.
    pub fn set_task_plan(&self, plan: Option<Arc<dyn TaskPlan>>) {
        *lock(&self.inner.plan) = plan;
    }

    /// The firewall's files, by the names of [`proxmox::inventory::Guests::firewall`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn firewall_files(&self) -> std::io::Result<BTreeMap<String, String>> {
        self.inner.state().etc.firewall.all()
    }

    /// Writes one of the firewall's files whole, or removes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_firewall_file(&self, name: &str, text: Option<&str>) -> std::io::Result<()> {
        self.inner.state().etc.firewall.write(name, text)
    }

    /// Its bridges.
    pub fn bridges(&self) -> Arc<[Bridge]> {
        self.inner.bridges()
    }

    /// Has it have these bridges from now on, and be reached from outside by new connections or not: what its network is.
    pub fn set_network(&self, bridges: Vec<Bridge>, reached: bool) {
        *self.inner.bridges.write().unwrap_or_else(PoisonError::into_inner) = bridges.into();
        self.inner.reached.store(reached, Ordering::Relaxed);
    }

    /// Whether a new connection from outside gets to it, as far as its network goes.
    pub fn is_reached(&self) -> bool {
        self.inner.reached.load(Ordering::Relaxed)
    }

    /// The type of each task that ended in this process, and how long it took, in seconds.
    pub fn task_times(&self) -> Vec<(String, f64)> {
        lock(&self.inner.tasks).times()
    }

    /// Waits until no task runs.
    pub async fn idle(&self) {
        let all = lock(&self.inner.tasks).unfinished();
        for task in all {
            task.finished().await;
        }
    }
}

fn load(folder: &camino::Utf8Path) -> Result<Option<Keep>, NodeError> {
    fs_err::create_dir_all(folder)?;
    let file = folder.join("node.json");
    match fs_err::read(&file) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|source| NodeError::State { file, source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// From the machine, for secrets.
pub(crate) fn entropy() -> std::io::Result<[u8; 32]> {
    use std::io::Read as _;
    let mut seed = [0; 32];
    fs_err::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    fn bridges(&self) -> Arc<[Bridge]> {
        self.bridges.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is such a bridge: one that it was made with, or that its network has by now.
    fn has_bridge(&self, name: &str) -> bool {
        self.bridges().iter().any(|known| known.name == name) || self.runtime.has_bridge(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes what outlives the process, and writes it.
    fn change<T>(&self, change: impl FnOnce(&mut Keep) -> T) -> T {
        self.change_all(|state| change(&mut state.keep))
    }

    /// The same for a call that may only read: then nothing is written.
    fn visit<T>(&self, changes: bool, visit: impl FnOnce(&mut Keep) -> T) -> T {
        if changes {
            return self.change(visit);
        }
        visit(&mut self.state().keep)
    }

    /// Writes what outlives the process, readable by its owner alone: it holds the tokens' secrets.
    fn save(&self, keep: &Keep) {
        let Some(folder) = &self.folder else { return };
        if let Ok(bytes) = serde_json::to_vec_pretty(keep) {
            // A node that cannot write its own folder goes on with what it has in memory.
            let _ = write_file(&folder.join("node.json"), &bytes, 0o600);
        }
    }

    /// A free file name's worth of randomness: a UUID (version 4) as API tokens' secrets are.
    fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        lock(&self.rng).fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let text = etc::hex(&bytes);
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }

    /// A new MAC address under Proxmox's prefix.
    fn mac(&self) -> String {
        let n = lock(&self.rng).next_u32();
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff)
    }

    fn may(&self, auth: &Auth, path: &str, privilege: &str) -> bool {
        self.may_in(&self.state().keep, auth, path, privilege)
    }

    fn may_in(&self, keep: &Keep, auth: &Auth, path: &str, privilege: &str) -> bool {
        if auth.is_root() {
            return true;
        }
        let pool = path.strip_prefix("/vms/").and_then(|id| id.parse().ok()).and_then(|id| keep.pool_of(id));
        Privileges::named(privilege).is_some_and(|one| keep.access.privileges(auth, path, pool).holds(one))
    }

    fn need(&self, auth: &Auth, path: &str, privilege: &str) -> Result<(), ApiError> {
        if self.may(auth, path, privilege) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!("{path}, {privilege}")))
    }
}

#[cfg(test)]
mod tests;
