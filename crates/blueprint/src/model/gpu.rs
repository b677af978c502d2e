//! Graphics cards of the node, as a blueprint declares them, and who uses them.

use serde::{Deserialize, Serialize};

use super::Location;

/// The feature of the node that has `vfio-pci` take the cards that are passed through.
pub const VFIO: &str = "vfio";

/// The feature of the node that has the device files of shared cards be there before guests start.
pub const GPU_NODES: &str = "gpu-nodes";

/// The feature of the node that installs NVIDIA's driver there.
pub const NVIDIA_DRIVER: &str = "nvidia-driver";

/// A graphics card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its address on the PCI bus: `0000:01:00.0`.
    pub pci: String,
    /// The memory in MiB that is declared for it.
    pub memory_mib: Option<u64>,
    /// The version of NVIDIA's driver that the node has to have loaded.
    pub driver: Option<String>,
    /// What Phoenix installs that driver by; somebody else does it where absent.
    pub installer: Option<Installer>,
    /// How many watts it takes at most.
    pub power_limit: Option<u16>,
    /// Whether it is passed through to a virtual machine, rather than shared by containers.
    pub pass: bool,
    /// The resource mapping by which a virtual machine has it.
    pub mapping: Option<String>,
    /// Where it is declared.
    pub declared: Location,
}

/// NVIDIA's installer of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installer {
    /// Where it is fetched from.
    pub url: String,
    /// Its SHA-256, in small letters.
    pub sha256: String,
    /// The module for the kernel: `open`, `proprietary`, or empty for what it takes by itself.
    pub module: &'static str,
}

/// A graphics card as a guest uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuUse {
    /// The card's name.
    pub card: String,
    /// How much of its memory the guest takes, in MiB.
    pub memory_mib: Option<u64>,
    /// The group in the container that may use it; everybody where absent.
    pub gid: Option<u32>,
}

impl Gpu {
    /// Its address without the function: `0000:01:00`.
    pub fn slot(&self) -> &str {
        crate::values::slot_of(&self.pci)
    }
}

/// The cards that guests share, of those that are declared.
pub fn shared<'a>(
    gpus: impl Iterator<Item = &'a Gpu>,
    guests: &super::Guests,
) -> impl Iterator<Item = &'a Gpu> {
    let used = |gpu: &&Gpu| guests.values().any(|guest| guest.gpus.iter().any(|it| it.card == gpu.name));
    gpus.filter(move |gpu| !gpu.pass && used(gpu))
}

/// Who takes how much of each card's memory, in MiB: guests that are off take nothing.
pub fn memory_of<'a>(
    card: &str,
    guests: impl Iterator<Item = &'a super::Guest>,
) -> Vec<(&'a crate::names::GuestName, u64)> {
    let takes = guests.filter(|guest| guest.started).filter_map(|guest| {
        let sizes = guest.gpus.iter().filter(|it| it.card == card).filter_map(|it| it.memory_mib);
        Some((&guest.name, sizes.sum::<u64>())).filter(|(_, sum)| *sum > 0)
    });
    takes.collect()
}
