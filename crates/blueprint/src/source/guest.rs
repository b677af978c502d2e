//! Guests: types and containers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::container::{ConsoleSource, CoresForm, DeviceSource, MountOption, OwnerForm};
use super::gpu::GpuForm;
use super::image::CloneSource;
use super::machine::{
    AgentForm, BiosSource, ControllerSource, EnterSource, FolderSource, HugePagesSource, NicModelSource,
    OsSource, PciSource, SmbiosSource, TpmSource, UefiSource, UsbSource, UserSource, VmDiskForm,
};
use super::name;
use super::service::ServiceSource;
use crate::model::GuestKind;
use crate::values::{
    Address, AddressRange, Bridge, Description, DeviceName, DiskSize, Domain, FileSystem, Graphics,
    GuestPath, Hotplug, Ipv4, Keyboard, Label, Mac, Machine, MemorySize, NodeLabel, PoolName, Processor,
    Processors, Randomness, SerialPort, ShareName, StorageName, Tag, Text, Timezone, VolumeId, Watchdog,
};

/// The settings of guests, said once: those of every guest, and those of each kind. A type has all of them, so that one type
/// serves both kinds, and a guest those of its kind; all stay plain structs with plain schemas.
macro_rules! guest_settings {
    (
        guest { $($(#[$about:meta])* $of_guest:ident: $guest_type:ty,)* }
        container { $($(#[$container_about:meta])* $of_container:ident: $container_type:ty,)* }
        vm { $($(#[$vm_about:meta])* $of_vm:ident: $vm_type:ty,)* }
        head { $($(#[$head_about:meta])* $head:ident: $head_type:ty,)* }
        tree { $($(#[$tree_about:meta])* $tree:ident: $tree_type:ty,)* }
    ) => {
        /// Settings that several guests share. A guest takes those that its kind has.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct TypeSource {
            /// Another type whose settings hold where this one says nothing.
            pub extends: Option<Label>,
            $($(#[$about])* pub $of_guest: $guest_type,)*
            $($(#[$container_about])* pub $of_container: $container_type,)*
            $($(#[$vm_about])* pub $of_vm: $vm_type,)*
            $($(#[$tree_about])* pub $tree: $tree_type,)*
        }

        /// An LXC container.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct ContainerSource {
            $($(#[$head_about])* pub $head: $head_type,)*
            $($(#[$about])* pub $of_guest: $guest_type,)*
            $($(#[$container_about])* pub $of_container: $container_type,)*
            $($(#[$tree_about])* pub $tree: $tree_type,)*
        }

        /// A virtual machine.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct VmSource {
            $($(#[$head_about])* pub $head: $head_type,)*
            $($(#[$about])* pub $of_guest: $guest_type,)*
            $($(#[$vm_about])* pub $of_vm: $vm_type,)*
            $($(#[$tree_about])* pub $tree: $tree_type,)*
        }

        /// What of a guest may come from its type. Features are read with their places, from the tree.
        #[derive(Debug, Default)]
        pub(crate) struct GuestSettings {
            $(pub $of_guest: $guest_type,)*
            $(pub $of_container: $container_type,)*
            $(pub $of_vm: $vm_type,)*
        }

        impl TypeSource {
            pub(crate) fn settings(&mut self) -> GuestSettings {
                GuestSettings {
                    $($of_guest: self.$of_guest.take(),)*
                    $($of_container: self.$of_container.take(),)*
                    $($of_vm: self.$of_vm.take(),)*
                }
            }
        }

        impl From<ContainerSource> for GuestSource {
            fn from(source: ContainerSource) -> Self {
                Self {
                    of: GuestKind::Container,
                    $($head: source.$head,)*
                    settings: GuestSettings {
                        $($of_guest: source.$of_guest,)*
                        $($of_container: source.$of_container,)*
                        ..GuestSettings::default()
                    },
                }
            }
        }

        impl From<VmSource> for GuestSource {
            fn from(source: VmSource) -> Self {
                Self {
                    of: GuestKind::Vm,
                    $($head: source.$head,)*
                    settings: GuestSettings {
                        $($of_guest: source.$of_guest,)*
                        $($of_vm: source.$of_vm,)*
                        ..GuestSettings::default()
                    },
                }
            }
        }

        /// A guest of either kind.
        #[derive(Debug)]
        pub(crate) struct GuestSource {
            pub of: GuestKind,
            $(pub $head: $head_type,)*
            pub settings: GuestSettings,
        }
    };
}

guest_settings! {
    guest {
        /// Processor cores; for a container also `all`, as many as its node has.
        #[schemars(extend("default" = 1))]
        cores: Option<CoresForm>,
        /// How much processor time it gets at most, in cores: `0.5` is half of one. Where absent, or 0, as much as it has cores.
        #[schemars(range(min = 0, max = 8192), extend("examples" = serde_json::json!([0.5])))]
        cpulimit: Option<f64>,
        /// The weight of its processor time beside that of the node's other guests. Where absent, the node's: 100.
        #[schemars(range(min = 1, max = 10000))]
        cpuunits: Option<u32>,
        /// Memory: `512M` is MiB, `2G` is GiB.
        #[schemars(extend("default" = "512M"))]
        memory: Option<MemorySize>,
        /// The network of the first device: short for `networks.net0.network`. Where absent, the only one there is.
        network: Option<Label>,
        /// Network devices by slot, `net0` to `net31`. Where absent, one with DHCP or the `address` given.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^net([0-9]|[12][0-9]|3[01])$", "x-parse": "net-slot"})))]
        networks: Option<BTreeMap<String, NicSource>>,
        /// The name servers it asks, instead of the workshop's or its networks'. An empty list leaves that to the node.
        nameservers: Option<Vec<Ipv4>>,
        /// The domains in which it looks for short names, instead of the site's. An empty list leaves that to the node.
        #[schemars(extend("examples" = serde_json::json!([["example.org"]])))]
        search_domains: Option<Vec<Domain>>,
        /// Its time zone, instead of the site's; `host` is the node's.
        timezone: Option<Timezone>,
        /// A script of the node that runs when it starts and stops: an executable snippet on a storage.
        #[schemars(extend("examples" = serde_json::json!(["local:snippets/hook.sh"])))]
        hookscript: Option<VolumeId>,
        /// Whether it runs. One that is off exists and is kept as it is declared; what is to be in it waits until it runs.
        #[schemars(extend("default" = true))]
        started: Option<bool>,
        /// Whether it starts with the node. One that is off (`started`) does not.
        #[schemars(extend("default" = true))]
        onboot: Option<bool>,
        /// Order and delays at the start of the node. What is not said follows from who needs whom.
        startup: Option<StartupSource>,
        /// Tags shown in Proxmox VE, beside Phoenix' own. A guest has its type's and its own. Capitals stay where the
        /// datacenter's tags have them (`tag-style`), and make no difference.
        #[schemars(extend("default" = serde_json::json!([])))]
        tags: Option<Vec<Tag>>,
        /// A text for the people who look at it in Proxmox VE.
        description: Option<Description>,
        /// Whether Phoenix and Proxmox VE refuse to destroy it.
        #[schemars(extend("default" = false))]
        protected: Option<bool>,
        /// The resource pool.
        pool: Option<PoolName>,
        /// Of one that is a clone (its `image` or `template` comes `from` a guest, or is one): how much it has of its own.
        #[schemars(extend("default" = "full"))]
        clone: Option<CloneSource>,
        /// Guests that must be healthy before this one is made: `ca` or `container.ca`. A guest has its type's and
        /// its own.
        #[schemars(extend("default" = serde_json::json!([])))]
        needs: Option<Vec<Text>>,
        /// Graphics cards of the node that it uses (`hypervisor.gpus`): one by name or number, with `memory`, or a list. Containers
        /// share cards, which takes root on the node; a virtual machine has one to itself.
        #[schemars(extend("examples" = serde_json::json!(["card0", 0, {"card": "card0", "memory": "10G"}, ["card0", "card1"]])))]
        gpu: Option<GpuForm>,
        /// Mount points by slot, `mp0` to `mp255`. A virtual machine has those of shares alone.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^mp([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$", "x-parse": "mount-slot"})))]
        mounts: Option<BTreeMap<String, MountSource>>,
        /// Settings of Proxmox VE that have no key of their own here, by their names there. What is no longer said is taken
        /// away again; what somebody else set stays. No place for secrets: plans show them.
        #[schemars(extend("examples" = serde_json::json!([{"entrypoint": "/usr/bin/tini -- /app", "env": "MODE=quiet"}, {"audio0": "device=intel-hda"}])))]
        settings: Option<BTreeMap<String, String>>,
    }
    container {
        /// The template: one that is declared under `templates`, the beginning of a template's file name (`debian-12`), or a
        /// volume (`local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst`). What the node does not have is fetched, where its
        /// catalogue has it.
        #[schemars(extend("default" = "debian-12"))]
        template: Option<Text>,
        /// Swap: like memory; `0M` for none.
        #[schemars(extend("default" = "512M"))]
        swap: Option<MemorySize>,
        /// The root disk: its size (`8G` is GiB, `512M` MiB), or an object with `storage` and `size`. It can grow, not shrink.
        #[schemars(extend("default" = "8G"))]
        disk: Option<DiskForm>,
        /// What the container may do beyond the usual.
        options: Option<OptionsSource>,
        /// Devices of the node that it may use, by slot, `dev0` to `dev255`. Needs root on the node.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^dev([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$", "x-parse": "device-slot"})))]
        devices: Option<BTreeMap<String, DeviceSource>>,
        /// Its console, as Proxmox VE shows it.
        console: Option<ConsoleSource>,
        /// Whether its root user is not the node's root user.
        #[schemars(extend("default" = true))]
        unprivileged: Option<bool>,
    }
    vm {
        /// The disk image that its first disk is made from, once: a name of `images`, or a volume such as
        /// `local:import/debian-13-genericcloud-amd64.qcow2`.
        image: Option<Text>,
        /// The installation medium in its drive: a name of `images`, or a volume such as `local:iso/debian-13.iso`.
        iso: Option<Text>,
        /// A second medium, in a drive of its own (`ide3`), such as Windows' drivers for VirtIO: a name of `images`, or a volume.
        second_iso: Option<Text>,
        /// Disks by slot: `scsi0` to `scsi30`, `virtio0` to `virtio15`, `sata0` to `sata5`, `ide1`. It starts from the
        /// first one. Where absent, `scsi0` with 8 GiB.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^(scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5])|sata[0-5]|ide1)$", "x-parse": "disk-slot"}),
            "examples" = serde_json::json!([{"scsi0": "32G", "scsi1": {"size": "200G", "storage": "tank", "backup": false}}])))]
        disks: Option<BTreeMap<String, VmDiskForm>>,
        /// Whether it gets a drive for cloud-init, which tells it its addresses and its user at the first start. True by
        /// default where it has an `image`.
        cloud_init: Option<bool>,
        /// The user that cloud-init makes.
        user: Option<UserSource>,
        /// Whether it has a device for the guest agent (`qemu-guest-agent`).
        #[schemars(extend("default" = true))]
        agent: Option<AgentForm>,
        /// How Phoenix gets into it. Where absent, by the guest agent where it has a device for that and runs Linux, and not at
        /// all where not.
        enter: Option<EnterSource>,
        /// Minutes that `apply` waits after a start until it can be entered. More for a slow node.
        #[schemars(extend("default" = 15), range(min = 1, max = 1440))]
        answers_within: Option<u32>,
        /// Packages that cloud-init installs at the first start, and never again: what is to stay is a feature's.
        #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["qemu-guest-agent"]])))]
        packages: Option<Vec<Text>>,
        /// What runs in it.
        #[schemars(extend("default" = "l26"))]
        os: Option<OsSource>,
        /// Processor sockets, each with `cores`. Where absent, one.
        #[schemars(range(min = 1, max = 4))]
        sockets: Option<u32>,
        /// How many of its processors are plugged in when it starts. Where absent, all.
        #[schemars(range(min = 1, max = 8192))]
        vcpus: Option<u32>,
        /// The processor that the guest sees, such as `host` or `x86-64-v2-AES`, with what is said of it. Where absent, Proxmox
        /// VE's default.
        #[schemars(extend("examples" = ["host"]))]
        cpu: Option<Processor>,
        /// Whether the guest sees NUMA.
        numa: Option<bool>,
        /// The processors of the node that it runs on, such as `0-3,8`. Needs root on the node.
        affinity: Option<Processors>,
        /// The size of huge pages that its memory is of. Needs root on the node.
        hugepages: Option<HugePagesSource>,
        /// The least memory that it is left with when the node needs some: like `memory`; `0M` for no balloon. Where absent, all
        /// of it.
        balloon: Option<MemorySize>,
        /// Its weight when memory is shared out among guests.
        #[schemars(range(min = 0, max = 50000))]
        shares: Option<u32>,
        /// The firmware. Where absent, `ovmf` with `uefi`, else `seabios`.
        bios: Option<BiosSource>,
        /// The disk of UEFI's variables.
        uefi: Option<UefiSource>,
        /// A TPM.
        tpm: Option<TpmSource>,
        /// The machine, such as `q35`. Where absent, Proxmox VE's default.
        #[schemars(extend("examples" = ["q35"]))]
        machine: Option<Machine>,
        /// What it reads of who made it.
        smbios: Option<SmbiosSource>,
        /// The SCSI controller.
        #[schemars(extend("default" = "virtio-scsi-single"))]
        scsi_controller: Option<ControllerSource>,
        /// The graphics card, such as `std`, `virtio` or `serial0`, with what is said of it.
        vga: Option<Graphics>,
        /// Serial ports by slot, `serial0` to `serial3`: `socket`, or a device of the node, which needs root there.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^serial[0-3]$", "x-parse": "serial-slot"})))]
        serial: Option<BTreeMap<String, SerialPort>>,
        /// USB devices by slot, `usb0` to `usb13`.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^usb([0-9]|1[0-3])$", "x-parse": "usb-slot"})))]
        usb: Option<BTreeMap<String, UsbSource>>,
        /// PCI devices by slot, `pci0` to `pci15`.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^pci([0-9]|1[0-5])$", "x-parse": "pci-slot"})))]
        pci: Option<BTreeMap<String, PciSource>>,
        /// Folders of the node by slot, `folder0` to `folder9`, by directory mappings.
        #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^folder[0-9]$", "x-parse": "folder-slot"})))]
        folders: Option<BTreeMap<String, FolderSource>>,
        /// The devices that it starts from, in order. Where absent, the first disk, and after it the medium of `iso`.
        #[schemars(extend("examples" = serde_json::json!([["scsi0", "net0"]])))]
        boot: Option<Vec<Text>>,
        /// What can be changed while it runs, such as `network,disk,usb`. Where absent, Proxmox VE's default.
        hotplug: Option<Hotplug>,
        /// Whether it has a source of randomness of the node: `/dev/urandom`, `/dev/random` or `/dev/hwrng`.
        rng: Option<Randomness>,
        /// The watchdog, such as `i6300esb,action=reset`.
        watchdog: Option<Watchdog>,
        /// Whether its pointer is a tablet's, which is where the mouse is.
        tablet: Option<bool>,
        /// Whether its clock is the node's local time, as Windows likes it.
        localtime: Option<bool>,
        /// Whether it has ACPI.
        acpi: Option<bool>,
        /// Whether the node's processor runs it (KVM), and not a program that emulates one.
        kvm: Option<bool>,
        /// The layout of the keyboard for its console, such as `de`.
        keyboard: Option<Keyboard>,
    }
    head {
        /// The type whose settings hold where the guest says nothing.
        #[serde(rename = "type")]
        kind: Option<Label>,
        /// The id in Proxmox VE. Where absent, derived from the name, so that it stays the same.
        #[schemars(range(min = 100, max = 999_999_999))]
        id: Option<u32>,
        /// The name that it had until now: it is the same guest, and nothing of it is made anew.
        was: Option<Label>,
        /// The host name. Where absent, the guest's name.
        hostname: Option<Label>,
        /// The node it is placed on. Where absent, the target's.
        node: Option<NodeLabel>,
        /// The address of the first network device, or `dhcp`: short for `networks.net0.address`.
        address: Option<Address>,
        /// The MAC address of the first network device: short for `networks.net0.mac`. Where absent, derived, so that it
        /// stays the same.
        mac: Option<Mac>,
        /// The services it runs, by name. Names, certificates, the gateway's configuration and probes follow from them.
        #[schemars(extend("propertyNames" = name()))]
        services: Option<BTreeMap<String, ServiceSource>>,
    }
    tree {
        /// What is installed in it, in this order: a feature's name, or an object with the name and its parameters.
        /// The type's come first; parameters given twice are the guest's.
        #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([[{"static-site": {"root": "pages/"}}]])))]
        features: Option<Vec<FeatureSource>>,
    }
}

/// A volume on a storage.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSource {
    /// The storage. Where absent, the first of the node that can hold root file systems.
    pub storage: Option<StorageName>,
    /// The size: `8G` is GiB, `512M` MiB.
    #[schemars(extend("default" = "8G"))]
    pub size: Option<DiskSize>,
}

/// The short or the long way to describe a disk.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DiskForm {
    /// Its size.
    Short(DiskSize),
    /// Key by key.
    Long(DiskSource),
}

/// A network device.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NicSource {
    /// The network. Where absent, the only one there is, or the one that the address is in; none where a `bridge` is named.
    pub network: Option<Label>,
    /// The bridge on the node. Where absent, the network's.
    pub bridge: Option<Bridge>,
    /// The VLAN on the bridge. Where absent, the network's.
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// The address, or `dhcp`. A fixed one takes a network, which has its subnet and gateway.
    #[schemars(extend("default" = "dhcp"))]
    pub address: Option<Address>,
    /// The MAC address. Where absent, derived, so that it stays the same.
    pub mac: Option<Mac>,
    /// The name inside a container. Where absent, `eth` and the slot's number.
    pub name: Option<DeviceName>,
    /// The model of the device of a virtual machine. Where absent, `virtio`.
    pub model: Option<NicModelSource>,
    /// How many queues the device of a virtual machine has, one for each processor that works on packets. For `virtio`.
    #[schemars(range(min = 0, max = 64))]
    pub queues: Option<u32>,
    /// Whether Proxmox VE's firewall filters it.
    #[schemars(extend("default" = false))]
    pub firewall: Option<bool>,
    /// With a `firewall`: whose addresses it may send from beside its own, as a guest does that routes for others. Nobody
    /// else's get through.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["10.8.0.0/24"]])))]
    pub allowed_addresses: Option<Vec<AddressRange>>,
    /// The largest packet in bytes. Where absent, the bridge's.
    #[schemars(range(min = 576, max = 65535))]
    pub mtu: Option<u32>,
    /// How much it sends at most, and how much it receives, in MiB each second. Where absent, as much as it can.
    #[schemars(range(min = 0, max = 10240), extend("examples" = serde_json::json!([12.5])))]
    pub rate: Option<f64>,
    /// Whether it is as if its cable were pulled out.
    pub link_down: Option<bool>,
}

/// A mount point: a volume of its own (`size`, perhaps `storage`), a folder of the node (`host`), or one that is a share of it
/// (`share`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MountSource {
    /// Where it appears inside the container.
    pub path: GuestPath,
    /// The size of the volume: `8G` is GiB, `512M` MiB.
    pub size: Option<DiskSize>,
    /// The storage of the volume. Where absent, the root disk's.
    pub storage: Option<StorageName>,
    /// A folder of the node. Needs root on the node.
    pub host: Option<GuestPath>,
    /// A share of the node: of a container the folder itself, of a virtual machine by NFS. A container needs root on the node for it.
    pub share: Option<ShareName>,
    /// Whether it can only be read. Where absent, it can be written; that of a share only where the share has `write`.
    pub read_only: Option<bool>,
    /// Whether backups include it. True by default for a volume; a folder of the node is never included.
    pub backup: Option<bool>,
    /// Options of mounting.
    #[schemars(extend("examples" = serde_json::json!([["noatime"]])))]
    pub options: Option<BTreeSet<MountOption>>,
    /// Whether its files may have access lists. Where absent, as the file system has it.
    pub acl: Option<bool>,
    /// Whether quotas of users count in it. For a volume of a privileged container.
    pub quota: Option<bool>,
    /// Whether it is among what replication copies to other nodes. Where absent, it is.
    pub replicate: Option<bool>,
    /// Whether every node of the cluster has it under this name, so that the container can move there.
    pub shared: Option<bool>,
    /// Whose files on the node are whose in an unprivileged container, so that these may write there: `{"uid": 1000}`, or
    /// `same` for everybody. Without it, files of the node belong to nobody inside; those of a share, which are its owner's on the
    /// node, to root. Needs Proxmox VE 9.2.
    #[schemars(extend("examples" = serde_json::json!([{"uid": 1000, "gid": 1000}])))]
    pub owner: Option<OwnerForm>,
}

/// What a container may do beyond the usual (Proxmox VE's "features").
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptionsSource {
    /// Containers inside the container; systemd needs it, too. On by default for unprivileged Debian and Ubuntu.
    pub nesting: Option<bool>,
    /// The `keyctl` system call, which Docker needs in unprivileged containers.
    #[schemars(extend("default" = false))]
    pub keyctl: Option<bool>,
    /// FUSE file systems.
    #[schemars(extend("default" = false))]
    pub fuse: Option<bool>,
    /// Making device nodes.
    #[schemars(extend("default" = false))]
    pub mknod: Option<bool>,
    /// Kinds of file systems it may mount.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["nfs", "cifs"]])))]
    pub mount: Option<Vec<FileSystem>>,
}

/// Order and delays at the start of the node.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StartupSource {
    /// The rank; lower starts first and stops last.
    pub order: Option<u32>,
    /// Seconds to wait before the next one starts.
    pub up: Option<u32>,
    /// Seconds to wait for it to stop.
    pub down: Option<u32>,
}

/// A feature with its parameters: a name, or an object with exactly one name.
#[derive(Debug, Clone)]
pub struct FeatureSource {
    /// The feature's name.
    pub name: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
}

impl<'de> Deserialize<'de> for FeatureSource {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = FeatureSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FEATURE)
            }
            fn visit_str<E>(self, name: &str) -> Result<FeatureSource, E> {
                Ok(FeatureSource { name: name.to_owned(), parameters: Map::new() })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FeatureSource, A::Error> {
                match map.next_entry::<String, Map<String, Value>>()? {
                    Some((name, parameters)) => Ok(FeatureSource { name, parameters }),
                    None => Err(serde::de::Error::invalid_length(0, &self)),
                }
            }
        }
        d.deserialize_any(Form)
    }
}

const FEATURE: &str = "a feature's name, or an object with the name and its parameters";

impl JsonSchema for FeatureSource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Feature".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-expects": FEATURE,
            "anyOf": [
                { "type": "string", "minLength": 1 },
                {
                    "type": "object", "minProperties": 1, "maxProperties": 1,
                    "additionalProperties": { "type": "object", "description": "The feature's parameters." },
                },
            ],
        })
    }
}

impl OptionsSource {
    /// These options, and for what they do not say, the others.
    pub(crate) fn over(self, other: &Self) -> Self {
        Self {
            nesting: self.nesting.or(other.nesting),
            keyctl: self.keyctl.or(other.keyctl),
            fuse: self.fuse.or(other.fuse),
            mknod: self.mknod.or(other.mknod),
            mount: self.mount.or_else(|| other.mount.clone()),
        }
    }
}
