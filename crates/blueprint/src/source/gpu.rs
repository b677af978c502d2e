//! Graphics cards of the node, and who uses them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{DriverVersion, HttpUrl, Label, MemorySize, PciAddress, Sha256};

/// A graphics card of the node. One is either shared by containers or passed through to a virtual machine, never both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GpuSource {
    /// Its address on the PCI bus, as `lspci -D` prints it on the node.
    pub pci: PciAddress,
    /// The memory that it has. What guests say that they take of it is added up and may not be more. Where absent, what the
    /// node tells of the card.
    #[schemars(extend("examples" = ["24G"]))]
    pub memory: Option<MemorySize>,
    /// Of a card of NVIDIA's that is shared: the version of the driver that the node has to have loaded, since what is in the
    /// guests has to be of the same one. With the SHA-256 of NVIDIA's installer, Phoenix installs it, on the node and in the guests
    /// that have the feature `nvidia`.
    pub driver: Option<DriverForm>,
    /// With a `driver` that Phoenix installs: how much power the card takes at most, in watts. `nvidia-smi -q -d POWER` tells between
    /// which it can be. Where absent, what the card takes by itself.
    #[schemars(range(min = 1, max = 2000), extend("examples" = [300]))]
    pub power_limit: Option<u16>,
    /// Who uses it.
    #[schemars(extend("default" = "share"))]
    pub r#use: Option<GpuUseSource>,
}

/// The driver of a card of NVIDIA's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DriverForm {
    /// The version that somebody else installs on the node.
    Version(DriverVersion),
    /// One that Phoenix installs.
    Long(DriverSource),
}

/// A driver of NVIDIA's that Phoenix installs on the node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DriverSource {
    /// Its version.
    pub version: DriverVersion,
    /// The SHA-256 of NVIDIA's installer, the `.run` file, as `sha256sum` prints it.
    pub sha256: Sha256,
    /// Where the installer is fetched from. Where absent, NVIDIA's own address of that version.
    #[schemars(extend("examples" = ["https://download.nvidia.com/XFree86/Linux-x86_64/570.133.07/NVIDIA-Linux-x86_64-570.133.07.run"]))]
    pub url: Option<HttpUrl>,
    /// Which of its two modules for the kernel: the open one is for cards since the RTX 20 series, and the only one for the RTX 50
    /// series; the closed one for all before that. Where absent, what the installer takes by itself.
    pub module: Option<DriverModule>,
}

/// One of the two modules for the kernel that a driver of NVIDIA's has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriverModule {
    /// The open one (MIT and GPL).
    Open,
    /// The closed one.
    Proprietary,
}

/// Who uses a graphics card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GpuUseSource {
    /// The node drives it, and any number of containers use it with the node.
    Share,
    /// It is passed through to one virtual machine at a time; the node leaves it alone.
    Pass,
}

/// The graphics cards that a guest uses: one, or a list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GpuForm {
    /// By its name under `hypervisor.gpus`.
    Name(Label),
    /// By its number among those that are declared, in the order of their addresses, from 0.
    Number(u8),
    /// With what is said of it.
    Long(GpuOfGuestSource),
    /// Several.
    Several(#[schemars(length(min = 1))] Vec<GpuOneForm>),
}

/// One graphics card that a guest uses.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GpuOneForm {
    /// By its name under `hypervisor.gpus`.
    Name(Label),
    /// By its number among those that are declared, in the order of their addresses, from 0.
    Number(u8),
    /// With what is said of it.
    Long(GpuOfGuestSource),
}

/// A graphics card that a guest uses, with what is said of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GpuOfGuestSource {
    /// Its name under `hypervisor.gpus`, or its number among those that are declared.
    pub card: CardForm,
    /// How much of the card's memory the guest's models take. For containers.
    #[schemars(extend("examples" = ["10G"]))]
    pub memory: Option<MemorySize>,
    /// The number of the group in the container that may use the card, such as that of `render`. Where absent, everybody in the
    /// container may.
    pub gid: Option<u32>,
}

/// A graphics card by name or number.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum CardForm {
    /// By its name under `hypervisor.gpus`.
    Name(Label),
    /// By its number among those that are declared, in the order of their addresses, from 0.
    Number(u8),
}
