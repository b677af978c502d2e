//! Graphics cards of the node, and who uses them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{DriverVersion, Label, MemorySize, PciAddress};

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
    /// guests has to be of the same one.
    pub driver: Option<DriverVersion>,
    /// Who uses it.
    #[schemars(extend("default" = "share"))]
    pub r#use: Option<GpuUseSource>,
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
