//! What virtual machines have alone.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::SecretRef;

/// What virtual machines have alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vm {
    /// The disk image that its first disk is made from: a name of `images`, or a volume id.
    pub image: Option<String>,
    /// The installation medium in its drive: a name of `images`, or a volume id.
    pub iso: Option<String>,
    /// The medium in its second drive: a name of `images`, or a volume id.
    pub second_iso: Option<String>,
    /// Its disks by slot.
    pub disks: BTreeMap<Slot, VmDisk>,
    /// The disk that firmware of UEFI keeps its variables on.
    pub efi: Option<Efi>,
    /// The storage of a TPM's state, where it has a TPM; the first disk's where that is `None`.
    pub tpm: Option<Option<String>>,
    /// Whether it gets a drive for cloud-init.
    pub cloud_init: bool,
    /// The user that cloud-init makes.
    pub user: Option<User>,
    /// Serial ports by slot, as Proxmox VE writes them: `socket`, or a device of the node.
    pub serials: BTreeMap<u8, String>,
    /// USB devices by slot.
    pub usb: BTreeMap<u8, Passed>,
    /// PCI devices by slot.
    pub pci: BTreeMap<u8, Passed>,
    /// Folders of the node by slot: the names of directory mappings, with what is said of each, by Proxmox VE's names.
    pub folders: BTreeMap<u8, BTreeMap<&'static str, String>>,
    /// The devices that it starts from, in order, where that is said.
    pub boot: Option<Vec<String>>,
    /// Whether it has a device for the guest agent.
    pub agent: bool,
    /// What is said of the agent beside, by Proxmox VE's names.
    pub agent_options: BTreeMap<&'static str, String>,
    /// What it reads of who made it, by Proxmox VE's names: texts as they are.
    pub smbios: BTreeMap<&'static str, String>,
    /// How Phoenix gets into it.
    pub enter: Enter,
    /// Minutes that are waited for after a start until it can be entered, where that is said.
    pub answers_within: Option<u32>,
    /// Packages that cloud-init installs at the first start.
    pub packages: Vec<String>,
    /// Settings that Proxmox VE takes as they are written, by its own names.
    pub options: BTreeMap<&'static str, String>,
}

impl Vm {
    /// The disk that it starts from unless something else is said: the first one.
    pub fn first_disk(&self) -> Option<(&Slot, &VmDisk)> {
        self.disks.iter().next()
    }
}

/// How Phoenix gets into a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enter {
    /// By its guest agent, over the node's API.
    Agent,
    /// By ssh through the node.
    Ssh,
    /// Not at all.
    #[default]
    Not,
}

/// The bus that a disk is on, in the order in which their first disks are started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bus {
    /// SCSI, `scsi0` to `scsi30`.
    Scsi,
    /// VirtIO block, `virtio0` to `virtio15`.
    Virtio,
    /// SATA, `sata0` to `sata5`.
    Sata,
    /// IDE, `ide1`: the others are drives of media.
    Ide,
}

impl Bus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scsi, Self::Virtio, Self::Sata, Self::Ide];

    /// As Proxmox VE calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scsi => "scsi",
            Self::Virtio => "virtio",
            Self::Sata => "sata",
            Self::Ide => "ide",
        }
    }

    fn has(self, number: u8) -> bool {
        match self {
            Self::Scsi => number <= 30,
            Self::Virtio => number <= 15,
            Self::Sata => number <= 5,
            Self::Ide => number == 1,
        }
    }
}

/// Where a disk is plugged in: `scsi0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The bus.
    pub bus: Bus,
    /// Its number on the bus.
    pub number: u8,
}

impl FromStr for Slot {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let slot = |bus: Bus| {
            let digits = text.strip_prefix(bus.as_str())?;
            let number: u8 = digits.parse().ok()?;
            (number.to_string() == digits && bus.has(number)).then_some(Self { bus, number })
        };
        Bus::ALL.into_iter().find_map(slot).ok_or_else(|| format!("`{text}` is no slot of a disk"))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.bus.as_str(), self.number)
    }
}

/// A disk of a virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmDisk {
    /// The storage; where absent, the first of the node that can hold disks.
    pub storage: Option<String>,
    /// Size in MiB.
    pub size_mib: u64,
    /// What is said of it beside, by Proxmox VE's names: `backup`, `iothread`, `ssd`, …
    pub options: BTreeMap<&'static str, String>,
}

/// The disk that firmware of UEFI keeps its variables on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Efi {
    /// The storage; the first disk's where absent.
    pub storage: Option<String>,
    /// Whether it has Microsoft's keys, so that Secure Boot starts what they signed.
    pub keys: bool,
}

/// The user that cloud-init makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Public keys that may log in, a line each.
    pub keys: Vec<String>,
    /// The password that the node is told when the guest is made.
    pub password: Option<SecretRef>,
}

/// A device of the node that a virtual machine has, as Proxmox VE writes it: sub-keys and values.
pub type Passed = BTreeMap<&'static str, String>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots() {
        for text in ["scsi0", "scsi30", "virtio15", "sata5", "ide1"] {
            assert_eq!(text.parse::<Slot>().map(|slot| slot.to_string()).as_deref(), Ok(text));
        }
        for text in ["scsi31", "scsi01", "ide0", "ide2", "ide3", "sata6", "virtio16", "scsi", "hda", "scsi+1"]
        {
            assert!(text.parse::<Slot>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_prints_the_same(text in "(scsi|virtio|sata|ide)[0-9]{1,2}") {
            if let Ok(slot) = text.parse::<Slot>() {
                prop_assert_eq!(slot.to_string(), text);
            }
        }
    }
}
