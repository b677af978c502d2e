//! What virtual machines have alone.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSource;
use crate::values::{
    DiskSerial, DiskSize, MappingName, PciHost, PciId, SitePath, StorageName, Text, UsbHost, Uuid,
};

/// A disk of a virtual machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VmDiskSource {
    /// The size in GiB. It can grow, not shrink.
    pub size: DiskSize,
    /// The storage. Where absent, the first of the node that can hold disks.
    pub storage: Option<StorageName>,
    /// Whether backups include it.
    #[schemars(extend("default" = true))]
    pub backup: Option<bool>,
    /// Whether what is deleted inside is given back to the storage.
    #[schemars(extend("default" = false))]
    pub discard: Option<bool>,
    /// Whether it tells the guest that it is no spinning disk.
    #[schemars(extend("default" = false))]
    pub ssd: Option<bool>,
    /// Whether it has a thread of its own. For `scsi` and `virtio`.
    #[schemars(extend("default" = false))]
    pub iothread: Option<bool>,
    /// How it is cached. Where absent, Proxmox VE's default.
    pub cache: Option<CacheSource>,
    /// Whether it can only be read. For `scsi` and `virtio`.
    #[schemars(extend("default" = false))]
    pub read_only: Option<bool>,
    /// Whether replication includes it.
    #[schemars(extend("default" = true))]
    pub replicate: Option<bool>,
    /// The serial number that the guest sees.
    pub serial: Option<DiskSerial>,
    /// How the node reads and writes it. Where absent, Proxmox VE's default, `io_uring`.
    pub aio: Option<AioSource>,
    /// How much may be read from it and written to it. Where absent, as much as it can.
    #[schemars(extend("examples" = serde_json::json!([{"read": 100, "write": 50, "write-burst": 200}])))]
    pub limits: Option<DiskLimitsSource>,
}

/// How much of a disk a guest gets.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskLimitsSource {
    /// How much is read at most, in MB each second.
    #[schemars(range(min = 0))]
    pub read: Option<f64>,
    /// How much is read at most for a moment, in MB each second.
    #[schemars(range(min = 0))]
    pub read_burst: Option<f64>,
    /// How much is written at most, in MB each second.
    #[schemars(range(min = 0))]
    pub write: Option<f64>,
    /// How much is written at most for a moment, in MB each second.
    #[schemars(range(min = 0))]
    pub write_burst: Option<f64>,
    /// How many times it is read at most, each second.
    pub reads: Option<u32>,
    /// How many times it is read at most for a moment, each second.
    pub reads_burst: Option<u32>,
    /// How many times it is written at most, each second.
    pub writes: Option<u32>,
    /// How many times it is written at most for a moment, each second.
    pub writes_burst: Option<u32>,
}

/// The short or the long way to describe a disk.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VmDiskForm {
    /// Its size.
    Short(DiskSize),
    /// Key by key.
    Long(Box<VmDiskSource>),
}

/// The user that cloud-init makes at the first start, with `sudo`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserSource {
    /// The name.
    #[schemars(extend("examples" = ["heads"]))]
    pub name: Text,
    /// Public keys that may log in: each as in an `authorized_keys` file, or a file of the site that holds some.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([[{"file": "keys/heads.pub"}]])))]
    pub ssh_keys: Option<Vec<KeyForm>>,
    /// The password, which the node is told when the guest is made. Where absent, there is none, and keys alone let in.
    #[schemars(extend("examples" = serde_json::json!([{"generate": "heads-password"}])))]
    pub password: Option<SecretSource>,
}

/// Whether the guest agent is in it, in short or key by key.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AgentForm {
    /// Whether it is.
    Short(bool),
    /// Key by key.
    Long(AgentSource),
}

/// The guest agent.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AgentSource {
    /// Whether it is in the guest.
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// Whether it gives free space back after a disk was moved, or the guest was copied or migrated.
    #[schemars(extend("default" = false))]
    pub trim: Option<bool>,
    /// Whether its file systems stand still while they are backed up.
    #[schemars(extend("default" = true))]
    pub freeze: Option<bool>,
    /// The device by which it is reached: `virtio` where absent.
    pub r#type: Option<AgentTypeSource>,
}

impl AgentForm {
    /// Whether it is in the guest.
    #[must_use]
    pub fn enabled(self) -> bool {
        match self {
            Self::Short(on) => on,
            Self::Long(long) => long.enabled.unwrap_or(true),
        }
    }
}

/// What the guest reads of who made the machine (SMBIOS, type 1).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{"manufacturer": "Heads", "serial": "0815"}]))]
pub struct SmbiosSource {
    /// The manufacturer.
    pub manufacturer: Option<Text>,
    /// The product.
    pub product: Option<Text>,
    /// The product's version.
    pub version: Option<Text>,
    /// The serial number.
    pub serial: Option<Text>,
    /// The number by which it is ordered.
    pub sku: Option<Text>,
    /// The family of products.
    pub family: Option<Text>,
    /// The machine's UUID. Where absent, the one that it has: the node draws one for a machine that is made without `smbios`.
    pub uuid: Option<Uuid>,
}

/// Public keys, as they are or in a file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeyForm {
    /// A key.
    Key(Text),
    /// A file of the site.
    File(KeyFile),
}

/// A file with public keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyFile {
    /// The file.
    pub file: SitePath,
}

/// Firmware of UEFI, and the disk that it keeps its variables on.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UefiSource {
    /// The storage of its variables. Where absent, the first disk's.
    pub storage: Option<StorageName>,
    /// Whether Microsoft's keys are in it, so that Secure Boot starts what they signed.
    #[schemars(extend("default" = true))]
    pub keys: Option<bool>,
}

/// A TPM, version 2.0.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TpmSource {
    /// The storage of its state. Where absent, the first disk's.
    pub storage: Option<StorageName>,
}

/// A USB device: exactly one of `host` and `mapping`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{"mapping": "zigbee-stick"}]))]
pub struct UsbSource {
    /// A device of the node, by vendor and product (`10c4:ea60`), by port (`1-2.3`), or `spice`. Needs root on the node, unless
    /// it is `spice`.
    pub host: Option<UsbHost>,
    /// A mapping of the cluster (Datacenter → Resource Mappings).
    pub mapping: Option<MappingName>,
    /// Whether it is plugged into USB 3.
    #[schemars(extend("default" = false))]
    pub usb3: Option<bool>,
}

/// A PCI device: exactly one of `host` and `mapping`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{"mapping": "gpu"}]))]
pub struct PciSource {
    /// A device of the node by its address, such as `0000:01:00`. Needs root on the node.
    pub host: Option<PciHost>,
    /// A mapping of the cluster (Datacenter → Resource Mappings).
    pub mapping: Option<MappingName>,
    /// Whether it is on PCI Express, which takes `machine` to be `q35`.
    #[schemars(extend("default" = false))]
    pub pcie: Option<bool>,
    /// Whether the guest sees the device's own firmware.
    #[schemars(extend("default" = true))]
    pub rombar: Option<bool>,
    /// Whether it is the guest's first graphics card.
    #[schemars(extend("default" = false))]
    pub primary_gpu: Option<bool>,
    /// The kind of a part of the device that the guest gets (a mediated device), such as `nvidia-63`.
    pub mdev: Option<Text>,
    /// The vendor that the guest sees, such as `0x10de`. Where absent, the device's own; so are the next three.
    pub vendor_id: Option<PciId>,
    /// The device's number that the guest sees.
    pub device_id: Option<PciId>,
    /// The subsystem's vendor that the guest sees.
    pub sub_vendor_id: Option<PciId>,
    /// The subsystem's number that the guest sees.
    pub sub_device_id: Option<PciId>,
}

/// A folder of the node, by a directory mapping of the cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderSource {
    /// The name of the mapping, which the guest mounts it by: `mount -t virtiofs NAME /mnt`.
    #[schemars(extend("examples" = ["media"]))]
    pub mapping: MappingName,
    /// What the guest may keep of it. Where absent, Proxmox VE's default.
    pub cache: Option<FolderCacheSource>,
    /// Whether access control lists get through.
    #[schemars(extend("default" = false))]
    pub acl: Option<bool>,
    /// Whether extended attributes get through.
    #[schemars(extend("default" = false))]
    pub xattr: Option<bool>,
    /// Whether what the guest opens for direct access is not cached.
    #[schemars(extend("default" = false))]
    pub direct_io: Option<bool>,
}

/// Makes a type of words that Proxmox VE knows, each read and printed as it is written.
macro_rules! words {
    ($($(#[$about:meta])* $name:ident { $($(#[$word_about:meta])* $word:ident = $text:literal,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$word_about])* #[serde(rename = $text)] $word,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$word => $text,)* })
            }
        }
    )*};
}

words! {
    /// How a disk is cached (qemu-server, `cache`).
    CacheSource {
        /// Not on the node.
        None = "none",
        /// On the node for reading.
        Writethrough = "writethrough",
        /// On the node, also for writing.
        Writeback = "writeback",
        /// As `writeback`, and what the guest asks to be written may be lost.
        Unsafe = "unsafe",
        /// Not on the node, and written before it is said so.
        Directsync = "directsync",
    }
    /// How the node reads and writes a disk (qemu-server, `aio`).
    AioSource {
        /// By io_uring.
        IoUring = "io_uring",
        /// By Linux' native asynchronous calls.
        Native = "native",
        /// By threads.
        Threads = "threads",
    }
    /// The device by which the guest agent is reached.
    AgentTypeSource {
        /// VirtIO.
        Virtio = "virtio",
        /// A serial port.
        Isa = "isa",
    }
    /// What a guest may keep of a folder of the node.
    FolderCacheSource {
        /// For a moment.
        Auto = "auto",
        /// As long as it likes.
        Always = "always",
        /// Nothing.
        Never = "never",
        /// What it has learned of names and sizes.
        Metadata = "metadata",
    }
    /// The firmware.
    BiosSource {
        /// A BIOS.
        Seabios = "seabios",
        /// UEFI.
        Ovmf = "ovmf",
    }
    /// How Phoenix gets into a virtual machine.
    EnterSource {
        /// By the guest agent, over the node's API. It has to be in its image, or among `packages`.
        Agent = "agent",
        /// By ssh through the node, with keys that cloud-init is told at the first start.
        Ssh = "ssh",
        /// Not at all.
        None = "none",
    }
    /// What runs in it, which Proxmox VE adapts the machine to.
    OsSource {
        /// Linux.
        Linux = "l26",
        /// Windows 11, Server 2022 or 2025.
        Windows11 = "win11",
        /// Windows 10, Server 2016 or 2019.
        Windows10 = "win10",
        /// Windows 8, Server 2012.
        Windows8 = "win8",
        /// Windows 7, Server 2008 R2.
        Windows7 = "win7",
        /// Solaris.
        Solaris = "solaris",
        /// Something else.
        Other = "other",
    }
    /// The SCSI controller.
    ControllerSource {
        /// VirtIO, one for all disks.
        VirtioScsi = "virtio-scsi-pci",
        /// VirtIO, one for each disk, which `iothread` takes.
        VirtioScsiSingle = "virtio-scsi-single",
        /// LSI 53C895A.
        Lsi = "lsi",
        /// LSI 53C810.
        Lsi53c810 = "lsi53c810",
        /// LSI MegaRAID.
        Megasas = "megasas",
        /// VMware's.
        Pvscsi = "pvscsi",
    }
    /// The size of huge pages in MiB.
    HugePagesSource {
        /// Either.
        Any = "any",
        /// 2 MiB.
        Two = "2",
        /// 1 GiB.
        Thousand = "1024",
    }
    /// The model of a network device.
    NicModelSource {
        /// VirtIO.
        Virtio = "virtio",
        /// Intel E1000.
        E1000 = "e1000",
        /// Intel E1000E.
        E1000e = "e1000e",
        /// Realtek 8139.
        Rtl8139 = "rtl8139",
        /// VMware's.
        Vmxnet3 = "vmxnet3",
    }
}
