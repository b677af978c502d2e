//! What virtual machines have alone.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{DiskSize, SitePath, Text};

/// A disk of a virtual machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VmDiskSource {
    /// The size in GiB. It can grow, not shrink.
    pub size: DiskSize,
    /// The storage. Where absent, the first of the node that can hold disks.
    pub storage: Option<Text>,
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
    pub serial: Option<Text>,
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

/// The user that cloud-init makes at the first start, with `sudo` and without a password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserSource {
    /// The name.
    pub name: Text,
    /// Public keys that may log in: each as in an `authorized_keys` file, or a file of the site that holds some.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([[{"file": "keys/heads.pub"}]])))]
    pub ssh_keys: Option<Vec<KeyForm>>,
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
    pub storage: Option<Text>,
    /// Whether Microsoft's keys are in it, so that Secure Boot starts what they signed.
    #[schemars(extend("default" = true))]
    pub keys: Option<bool>,
}

/// A TPM, version 2.0.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TpmSource {
    /// The storage of its state. Where absent, the first disk's.
    pub storage: Option<Text>,
}

/// A USB device: exactly one of `host` and `mapping`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("examples" = [{"mapping": "zigbee-stick"}]))]
pub struct UsbSource {
    /// A device of the node, by vendor and product (`10c4:ea60`), by port (`1-2.3`), or `spice`. Needs root on the node, unless
    /// it is `spice`.
    pub host: Option<Text>,
    /// A mapping of the cluster (Datacenter → Resource Mappings).
    pub mapping: Option<Text>,
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
    pub host: Option<Text>,
    /// A mapping of the cluster (Datacenter → Resource Mappings).
    pub mapping: Option<Text>,
    /// Whether it is on PCI Express, which takes `machine` to be `q35`.
    #[schemars(extend("default" = false))]
    pub pcie: Option<bool>,
    /// Whether the guest sees the device's own firmware.
    #[schemars(extend("default" = true))]
    pub rombar: Option<bool>,
    /// Whether it is the guest's first graphics card.
    #[schemars(extend("default" = false))]
    pub primary_gpu: Option<bool>,
}

/// A folder of the node, by a directory mapping of the cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderSource {
    /// The name of the mapping, which the guest mounts it by: `mount -t virtiofs NAME /mnt`.
    pub mapping: Text,
    /// What the guest may keep of it. Where absent, Proxmox VE's default.
    pub cache: Option<FolderCacheSource>,
    /// Whether access control lists get through.
    #[schemars(extend("default" = false))]
    pub acl: Option<bool>,
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
        /// Realtek 8139.
        Rtl8139 = "rtl8139",
        /// VMware's.
        Vmxnet3 = "vmxnet3",
    }
}
