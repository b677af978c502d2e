//! What stands behind the node's API: real guests, or records that only take their time.

mod machines;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;

use crate::node::Checksum;
pub use machines::{AgentError, DiskSource, Machines, NewDisk, Power};

/// A guest's current configuration: key to property string, as in its configuration file.
pub type Config = BTreeMap<String, String>;

/// Which of the two a runtime is. Shown wherever a person could mistake one for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Guests are real LXC system containers.
    Containers,
    /// Guests are records. Nothing runs.
    Simulated,
}

/// The log of a task, line by line, as the node's API hands it out.
#[derive(Debug, Clone, Default)]
pub struct TaskLog(Arc<Mutex<Vec<String>>>);

impl TaskLog {
    /// Adds a line.
    pub fn line(&self, line: impl Into<String>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.into());
    }

    /// Adds a warning: the task then ends as `WARNINGS: n`, which is success.
    pub fn warn(&self, line: impl AsRef<str>) {
        self.line(format!("WARN: {}", line.as_ref()));
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Why a task failed, in the node's words: the task's exit status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TaskError(pub String);

/// A volume of a container that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeCopy {
    /// Which, `tank:200/vm-200-disk-0.raw`.
    pub from: String,
    /// Whose it is.
    pub of: u32,
    /// What it becomes.
    pub to: String,
    /// Whether what is not written stays where it is.
    pub linked: bool,
}

/// A template that can be had: an entry of the node's list of appliances, called as its API calls it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Appliance {
    /// The file's name, `debian-13-standard_13.6-1_amd64.tar.zst`.
    pub template: String,
    /// `debian-13-standard`.
    pub package: String,
    /// `13.6-1`.
    pub version: String,
    /// `debian-13`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// One line for people.
    pub headline: String,
    /// More of it.
    pub description: String,
    /// Where it comes from.
    pub location: String,
    /// The archive that this is in.
    pub source: String,
    /// The release's code name.
    pub release: String,
    /// `system`, `turnkeylinux`, `mail`.
    #[serde(default = "system")]
    pub section: String,
}

fn system() -> String {
    "system".to_owned()
}

/// Carries out what the node's API was asked for, after the API has checked it and holds the guest's lock.
///
/// Every method is bounded by its implementation, and safe to call again after it was cut off.
#[async_trait]
pub trait Runtime: Machines + Send + Sync + Debug {
    /// Real or simulated.
    fn kind(&self) -> RuntimeKind;

    /// Makes the volumes that `config` names (`rootfs`, `mpN`, already as definite volume ids with sizes) and unpacks
    /// `template` (a file) into the root volume.
    async fn create(
        &self,
        id: u32,
        config: &Config,
        template: &Utf8Path,
        log: &TaskLog,
    ) -> Result<(), TaskError>;

    /// Copies a volume of a container that does not run, `id` and `config` being those of the one that it becomes a volume of.
    async fn copy_volume(
        &self,
        id: u32,
        config: &Config,
        copy: &VolumeCopy,
        log: &TaskLog,
    ) -> Result<(), TaskError>;

    /// Gives a volume of a container another name: what was one's disk becomes the base of others.
    async fn rename_volume(&self, id: u32, from: &str, to: &str) -> Result<(), TaskError>;

    /// Starts it.
    async fn start(&self, id: u32, config: &Config, log: &TaskLog) -> Result<(), TaskError>;

    /// Stops it at once.
    async fn stop(&self, id: u32, log: &TaskLog) -> Result<(), TaskError>;

    /// Asks it to shut down and waits for that at most `limit`.
    async fn shutdown(&self, id: u32, limit: Duration, log: &TaskLog) -> Result<(), TaskError>;

    /// Removes its volumes and all that belongs to it. It does not run.
    async fn destroy(&self, id: u32, config: &Config, log: &TaskLog) -> Result<(), TaskError>;

    /// Brings what Proxmox applies to a running guest at once (memory, swap, cores, host name, network) in line with
    /// `new`; makes volumes that are new in it and frees those in `freed`. `running` says whether it runs.
    async fn reconfigure(
        &self,
        id: u32,
        old: &Config,
        new: &Config,
        freed: &[String],
        running: bool,
        log: &TaskLog,
    ) -> Result<(), TaskError>;

    /// Grows the volume under `key` (`rootfs`, `mp0`) to `bytes`.
    async fn resize(
        &self,
        id: u32,
        key: &str,
        config: &Config,
        bytes: u64,
        log: &TaskLog,
    ) -> Result<(), TaskError>;

    /// The templates that can be had, beside those that are there.
    async fn appliances(&self) -> Vec<Appliance> {
        Vec::new()
    }

    /// Makes or fetches one of [`Runtime::appliances`] and puts it under `target`. Its size in bytes.
    async fn make_template(
        &self,
        appliance: &Appliance,
        target: &Utf8Path,
        log: &TaskLog,
    ) -> Result<u64, TaskError> {
        let _ = (target, log);
        Err(TaskError(format!("'{}' cannot be had here", appliance.template)))
    }

    /// Fetches a file from the web, and puts it under `target` when it is whole and as it is to be. Its size in bytes.
    async fn download(
        &self,
        url: &str,
        target: &Utf8Path,
        checksum: Option<&Checksum>,
        log: &TaskLog,
    ) -> Result<u64, TaskError>;

    /// Puts a file that came with a request under `target`.
    async fn take_file(&self, file: &Utf8Path, target: &Utf8Path) -> Result<(), TaskError>;

    /// The guests that run now.
    async fn running(&self) -> BTreeSet<u32>;

    /// Whether the node has this bridge though nobody said so when it was made.
    fn has_bridge(&self, _name: &str) -> bool {
        false
    }

    /// For a running guest: seconds since it started, and bytes of memory in use.
    async fn usage(&self, id: u32) -> Option<(u64, u64)>;

    /// Runs a program in a running guest as its root (what `lxc-attach` does on the node): exit status, output, error output.
    async fn exec(
        &self,
        id: u32,
        argv: &[String],
        stdin: &[u8],
    ) -> Result<(i32, Vec<u8>, Vec<u8>), TaskError>;

    /// The pools of ZFS that were made on the node, and the datasets in them.
    fn zfs_places(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Whether the node is down, so that nothing on it answers. What runs on a real one cannot tell.
    fn is_down(&self) -> bool {
        false
    }
}
