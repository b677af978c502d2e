//! What a node is told about itself when it is opened.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8PathBuf;
use tokio::time::Instant;

use super::storage_define::Grounds;
use super::{Cluster, Mapping, Storage};

/// A bridge of the node's network.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Its name, e.g. `vmbr0`.
    pub name: String,
    /// The node's own address on it with its prefix length, e.g. `10.10.10.1/24`.
    pub cidr: Option<String>,
}

/// What the node says about its machine.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The address the node gives as its own.
    pub address: String,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { cpus: 16, memory: 128 << 30, address: "127.0.0.1".to_owned() }
    }
}

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's.
    Real {
        /// When the node was opened.
        opened: Instant,
    },
    /// The runtime's, which a test can hold still: seconds since 1970 at `opened`, and from there what tokio says.
    Virtual {
        /// Seconds since 1970 when it was opened.
        base: u64,
        /// When it was opened.
        opened: Instant,
    },
}

impl Clock {
    /// The machine's time.
    pub fn real() -> Self {
        Self::Real { opened: Instant::now() }
    }

    /// A clock that begins at `base` (seconds since 1970) and follows tokio's.
    pub fn at(base: u64) -> Self {
        Self::Virtual { base, opened: Instant::now() }
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Real { .. } => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            Self::Virtual { base, .. } => base + self.uptime().as_secs(),
        }
    }

    /// Since the node was opened.
    pub(crate) fn uptime(&self) -> Duration {
        match self {
            Self::Real { opened } | Self::Virtual { opened, .. } => opened.elapsed(),
        }
    }
}

/// How a node is opened.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// Its name.
    pub name: String,
    /// The seed of everything it draws (MACs, secrets, tickets). None: from the machine.
    pub seed: Option<u64>,
    /// The storages it begins with. What it has written in `state` counts more.
    pub storages: Vec<Storage>,
    /// Its bridges.
    pub bridges: Vec<Bridge>,
    /// The resource mappings of its cluster.
    pub mappings: Vec<Mapping>,
    /// What storages can be made of. None: folders alone, and nobody looks whether they are there.
    pub grounds: Option<Grounds>,
    /// The directory that stands for `/etc/pve`. None: in memory.
    pub etc: Option<Utf8PathBuf>,
    /// The folder for users, pools, storages and tasks. None: in memory.
    pub state: Option<Utf8PathBuf>,
    /// Its clock.
    pub clock: Clock,
    /// Its machine.
    pub hardware: Hardware,
    /// The cluster it is in; none for a node that is alone.
    pub cluster: Option<Cluster>,
}

impl NodeOptions {
    /// A node called `name` with the bridge `vmbr0` and no storage, in memory, on the machine's clock.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            seed: None,
            storages: Vec::new(),
            bridges: vec![Bridge { name: "vmbr0".to_owned(), cidr: Some("10.10.10.1/24".to_owned()) }],
            mappings: Vec::new(),
            grounds: Some(Grounds::default()),
            etc: None,
            state: None,
            clock: Clock::real(),
            hardware: Hardware::default(),
            cluster: None,
        }
    }
}
