//! What some settings of guests are made of: cores, devices, the console, and how mounts are mounted.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{DevicePath, FileMode};

/// How many processor cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CoresForm {
    /// This many.
    Some(#[schemars(range(min = 1, max = 8192))] u32),
    /// As many as the node has.
    All(AllWord),
}

/// The word for all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AllWord {
    /// All there are.
    All,
}

/// A device of the node that a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceSource {
    /// Where it is, on the node and in the container.
    #[schemars(extend("examples" = serde_json::json!(["/dev/dri/renderD128"])))]
    pub path: DevicePath,
    /// Who may do what with it in the container. Where absent, `0660`.
    pub mode: Option<FileMode>,
    /// Its owner's number in the container. Where absent, root.
    pub uid: Option<u32>,
    /// Its group's number in the container. Where absent, root's.
    pub gid: Option<u32>,
    /// Whether it can only be read.
    #[schemars(extend("default" = false))]
    pub deny_write: Option<bool>,
}

/// A container's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConsoleSource {
    /// What it shows. Where absent, one of its terminals.
    pub mode: Option<ConsoleMode>,
    /// How many terminals it has. Where absent, 2.
    #[schemars(range(min = 0, max = 6))]
    pub terminals: Option<u32>,
    /// Whether it has the device `/dev/console`. Where absent, it has.
    pub device: Option<bool>,
}

/// What a container's console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleMode {
    /// A terminal where one logs in.
    Tty,
    /// The device `/dev/console`.
    Console,
    /// A shell, without logging in.
    Shell,
}

impl ConsoleMode {
    /// As Proxmox VE writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tty => "tty",
            Self::Console => "console",
            Self::Shell => "shell",
        }
    }
}

impl ConsoleSource {
    /// What is not said here is what the type says.
    pub(crate) fn over(self, other: Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            terminals: self.terminals.or(other.terminals),
            device: self.device.or(other.device),
        }
    }
}

/// Whose files are whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OwnerForm {
    /// Everybody's are the same inside as outside.
    Word(OwnerWord),
    /// One user's and one group's.
    One(OwnerSource),
}

/// The word for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerWord {
    /// Numbers are the same inside as outside.
    Same,
}

/// A user and a group in the container, and on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OwnerSource {
    /// The user's number in the container.
    pub uid: u32,
    /// The group's number in the container. Where absent, the user's.
    pub gid: Option<u32>,
    /// The user's number on the node. Where absent, the same.
    pub host_uid: Option<u32>,
    /// The group's number on the node. Where absent, the same.
    pub host_gid: Option<u32>,
}

/// An option of mounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MountOption {
    /// Blocks that are freed are told to the storage.
    Discard,
    /// Changes are on the disk in at most a few seconds, not when they are made.
    Lazytime,
    /// When a file was read is not written down.
    Noatime,
    /// Devices in it are none.
    Nodev,
    /// Nothing in it can be executed.
    Noexec,
    /// Nothing in it runs as its owner.
    Nosuid,
}

impl MountOption {
    /// As Proxmox VE writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Lazytime => "lazytime",
            Self::Noatime => "noatime",
            Self::Nodev => "nodev",
            Self::Noexec => "noexec",
            Self::Nosuid => "nosuid",
        }
    }
}
