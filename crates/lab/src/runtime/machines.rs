//! What stands behind the virtual machines of the node's API.

use std::time::Duration;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::{Config, TaskError, TaskLog};

/// Where what is on a new disk comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// Nowhere: it is empty.
    Blank,
    /// An image's file.
    Image(Utf8PathBuf),
    /// Another volume, of which it is a copy.
    Copy(String),
    /// Another volume, on which it is based: what is not written stays there.
    Linked(String),
}

/// A disk that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDisk {
    /// The volume it will be, `tank:301/vm-301-disk-0.qcow2`.
    pub volume: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is on it.
    pub source: DiskSource,
}

/// What can be done to a running machine in an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It is switched off.
    Stop,
    /// It starts anew, without its system being asked.
    Reset,
    /// Its processors stand still.
    Suspend,
    /// They go on.
    Resume,
}

/// Why the guest agent gave no answer, or what it refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It does not answer: the system is still starting, or has none.
    #[error("QEMU guest agent is not running")]
    Down,
    /// It refused, in its words.
    #[error("{0}")]
    Said(String),
}

/// What a runtime without virtual machines says of them.
fn none() -> TaskError {
    TaskError("this node has no virtual machines".to_owned())
}

/// Carries out what the node's API was asked for about virtual machines, after the API has checked it and holds the
/// machine's lock. Which of them run is told by [`Runtime::running`](super::Runtime::running), as of containers; numbers are
/// those of guests of either kind.
///
/// Every method is bounded by its implementation, and safe to call again after it was cut off. A runtime that has none
/// leaves all of it out.
#[async_trait]
pub trait Machines: Send + Sync {
    /// The size in bytes of the disk that an image holds. `listed` is what is known of it without looking.
    async fn image_size(&self, image: &Utf8Path, listed: u64) -> Result<u64, TaskError> {
        let _ = (image, listed);
        Err(none())
    }

    /// Makes disks. When one cannot be made, those before it may be left; the caller frees them.
    async fn make_disks(&self, id: u32, disks: &[NewDisk], log: &TaskLog) -> Result<(), TaskError> {
        let _ = (id, disks, log);
        Err(none())
    }

    /// Removes volumes. One that is not there is none to remove.
    async fn free_disks(&self, id: u32, volumes: &[String]) -> Result<(), TaskError> {
        let _ = (id, volumes);
        Ok(())
    }

    /// Gives a volume another name: what was a disk becomes the base of others.
    async fn rename_disk(&self, from: &str, to: &str) -> Result<(), TaskError> {
        let _ = (from, to);
        Err(none())
    }

    /// Makes a disk larger, also that of a running machine, which has it as `key`.
    async fn grow_disk(&self, id: u32, key: &str, volume: &str, bytes: u64) -> Result<(), TaskError> {
        let _ = (id, key, volume, bytes);
        Err(none())
    }

    /// Starts it, with a cloud-init drive written anew where it has one.
    async fn boot(&self, id: u32, config: &Config, log: &TaskLog) -> Result<(), TaskError> {
        let _ = (id, config, log);
        Err(none())
    }

    /// Switches a running machine.
    async fn power(&self, id: u32, what: Power) -> Result<(), TaskError> {
        let _ = (id, what);
        Err(none())
    }

    /// Asks its system to shut down and waits for that at most `limit`.
    async fn power_down(&self, id: u32, limit: Duration) -> Result<(), TaskError> {
        let _ = (id, limit);
        Err(none())
    }

    /// Whether its processors stand still.
    async fn is_paused(&self, id: u32) -> bool {
        let _ = id;
        false
    }

    /// Brings one key of a running machine from `old` to `new`: a network card, a disk, a processor more. An error is why the
    /// machine did not take it.
    async fn plug(&self, id: u32, key: &str, old: Option<&str>, new: Option<&str>) -> Result<(), TaskError> {
        let _ = (id, key, old, new);
        Err(none())
    }

    /// Writes its cloud-init drive anew.
    async fn seed(&self, id: u32, config: &Config) -> Result<(), TaskError> {
        let _ = (id, config);
        Err(none())
    }

    /// Forgets all that belongs to it but its volumes. It does not run.
    async fn forget(&self, id: u32) -> Result<(), TaskError> {
        let _ = id;
        Ok(())
    }

    /// Asks the guest agent of a running machine: a command of the QEMU guest agent's protocol, and its answer.
    async fn ask_agent(&self, id: u32, command: &str, arguments: Value) -> Result<Value, AgentError> {
        let _ = (id, command, arguments);
        Err(AgentError::Down)
    }
}
