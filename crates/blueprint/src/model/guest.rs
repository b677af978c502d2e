//! Guests: what containers and virtual machines have in common, and what each kind has alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use cidr::Ipv4Inet;
use serde::{Deserialize, Serialize};

use super::{Content, FeatureUse, GpuUse, Image, Location, Service, SharedMount, Vm};
use crate::catalog::Feature;
use crate::names::{GuestName, NodeName};
use crate::source::{ConsoleSource, DeviceSource, MountOption};
use crate::values::{Bridge, Domain, Label};

/// A kind of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// An LXC container.
    Container,
    /// A virtual machine.
    Vm,
}

impl GuestKind {
    /// As in addresses: `container`, `vm`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Vm => "vm",
        }
    }

    /// The key of blueprints under which they stand: `containers`, `vms`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::Vm => "vms",
        }
    }

    /// The kind that addresses call `word`.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Container, Self::Vm].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One guest, with type and defaults worked in.
#[derive(Debug, Clone, PartialEq)]
pub struct Guest {
    /// The name, which is also its host name unless `hostname` says otherwise.
    pub name: GuestName,
    /// The id, 100 to 999999999; where absent, derived from the name.
    pub id: Option<u32>,
    /// The name that it had before.
    pub was: Option<GuestName>,
    /// The node it is placed on; where absent, the target's.
    pub node: Option<NodeName>,
    /// The host name.
    pub hostname: Label,
    /// Processor cores; where absent, all of the node's.
    pub cores: Option<u32>,
    /// How much processor time it gets at most, in cores.
    pub cpulimit: Option<f64>,
    /// The weight of its processor time, 1 to 10000; where absent, the node's.
    pub cpuunits: Option<u32>,
    /// The name servers it asks, instead of those that follow from its networks; none leaves that to the node.
    pub nameservers: Option<Vec<Ipv4Addr>>,
    /// The domains in which it looks for short names, instead of the site's; none leaves that to the node.
    pub search_domains: Option<Vec<Domain>>,
    /// Its time zone, instead of the site's.
    pub timezone: Option<String>,
    /// The volume of the script that runs when it starts and stops.
    pub hookscript: Option<String>,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Network devices by slot (`net0` is 0).
    pub nets: BTreeMap<u8, Nic>,
    /// Whether it runs. True by default.
    pub started: bool,
    /// Whether it starts with the node. True by default, where it runs.
    pub onboot: bool,
    /// Start order and delays in seconds, as far as they are said.
    pub startup: Option<Startup>,
    /// Tags of the user's, beside Phoenix' own.
    pub tags: BTreeSet<String>,
    /// Text for the people who look at it in Proxmox.
    pub description: Option<String>,
    /// Whether Phoenix and Proxmox refuse to destroy it.
    pub protected: bool,
    /// Settings by Proxmox VE's own names, which have no key of their own.
    pub settings: BTreeMap<String, String>,
    /// The graphics cards that it uses.
    pub gpus: Vec<GpuUse>,
    /// The resource pool.
    pub pool: Option<String>,
    /// Of one that is a clone: whether it has only what is written after it was made.
    pub linked: bool,
    /// The guests that must be healthy before it is made.
    pub needs: Vec<GuestName>,
    /// What is installed in it, in order, with parameters.
    pub features: Vec<FeatureUse>,
    /// The shares of the node that it mounts.
    pub shares: Vec<SharedMount>,
    /// The services it runs, by name.
    pub services: BTreeMap<String, Service>,
    /// Where it is declared.
    pub declared: Location,
    /// Which kind of guest it is, with what that kind has alone.
    pub of: Of,
}

/// What one kind of guest has alone.
#[derive(Debug, Clone, PartialEq)]
pub enum Of {
    /// An LXC container.
    Container(Container),
    /// A virtual machine.
    Vm(Box<Vm>),
}

/// What containers have alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// The template: one of the blueprint's, a volume id (`local:vztmpl/…`) or the beginning of a template's file name
    /// (`debian-12`).
    pub template: String,
    /// Swap in MiB.
    pub swap_mib: u64,
    /// The root disk.
    pub disk: Disk,
    /// Mount points by slot (`mp0` is 0).
    pub mounts: BTreeMap<u8, Mount>,
    /// Devices of the node by slot (`dev0` is 0).
    pub devices: BTreeMap<u8, DeviceSource>,
    /// Its console.
    pub console: Option<ConsoleSource>,
    /// Proxmox' feature flags, such as `nesting` → `1`, `mount` → `nfs;cifs`.
    pub options: BTreeMap<String, String>,
    /// Whether its root is not the node's root. True by default.
    pub unprivileged: bool,
}

impl Guest {
    /// Which kind of guest it is.
    pub fn kind(&self) -> GuestKind {
        match self.of {
            Of::Container(_) => GuestKind::Container,
            Of::Vm(_) => GuestKind::Vm,
        }
    }

    /// Whether it is made of this template or image, or started from it.
    pub fn is_made_of(&self, image: &Image) -> bool {
        match (&self.of, image.content) {
            (Of::Container(own), Content::Template) => own.template == image.name,
            (Of::Vm(own), Content::Disk | Content::Iso) => {
                [&own.image, &own.iso, &own.second_iso].into_iter().flatten().any(|name| *name == image.name)
            }
            _ => false,
        }
    }

    /// What it has as a container, where it is one.
    pub fn container(&self) -> Option<&Container> {
        match &self.of {
            Of::Container(container) => Some(container),
            Of::Vm(_) => None,
        }
    }

    /// What it has as a virtual machine, where it is one.
    pub fn vm(&self) -> Option<&Vm> {
        match &self.of {
            Of::Container(_) => None,
            Of::Vm(vm) => Some(vm),
        }
    }

    /// The storages that its disks and mounts name.
    pub fn storages(&self) -> Vec<&str> {
        match &self.of {
            Of::Container(container) => {
                let volumes = container.mounts.values().filter_map(|mount| match &mount.source {
                    MountSource::Volume(disk) => Some(disk),
                    MountSource::Host(_) => None,
                });
                std::iter::once(&container.disk)
                    .chain(volumes)
                    .filter_map(|disk| disk.storage.as_deref())
                    .collect()
            }
            Of::Vm(vm) => {
                let disks = vm.disks.values().filter_map(|disk| disk.storage.as_deref());
                let efi = vm.efi.as_ref().and_then(|efi| efi.storage.as_deref());
                disks.chain(efi).chain(vm.tpm.as_ref().and_then(|storage| storage.as_deref())).collect()
            }
        }
    }

    /// The storages that it names, each with what has to lie there for it, by Proxmox VE's words: disks, what they are made of,
    /// media, scripts.
    pub fn keeps(&self) -> BTreeSet<(&str, &'static str)> {
        let disks = match self.kind() {
            GuestKind::Container => "rootdir",
            GuestKind::Vm => "images",
        };
        let mut all: BTreeSet<(&str, &'static str)> =
            self.storages().into_iter().map(|storage| (storage, disks)).collect();
        let files: Vec<Option<&String>> = match &self.of {
            Of::Container(container) => vec![self.hookscript.as_ref(), Some(&container.template)],
            Of::Vm(vm) => {
                vec![self.hookscript.as_ref(), vm.image.as_ref(), vm.iso.as_ref(), vm.second_iso.as_ref()]
            }
        };
        for (storage, name) in files.into_iter().flatten().filter_map(|id| id.split_once(':')) {
            let kinds = ["vztmpl", "import", "iso", "snippets"];
            let kind = kinds.into_iter().find(|kind| name.split('/').next() == Some(kind));
            all.extend(kind.map(|kind| (storage, kind)));
        }
        all.extend(self.settings.get("vmstatestorage").map(|storage| (storage.as_str(), "images")));
        all
    }

    /// Where it answers those who need it: the ports of its services and of its features, with those that these require.
    /// `feature` knows features by name.
    pub fn ports<'f>(&self, feature: impl Fn(&str) -> Option<&'f Feature>) -> BTreeSet<u16> {
        let mut ports: BTreeSet<u16> = self.services.values().map(|service| service.port).collect();
        let none = BTreeMap::new();
        for (found, used) in self.all_features(feature) {
            ports.extend(found.spec.ports(used.map_or(&none, |used| &used.parameters)));
        }
        ports
    }

    /// Its features and those that these require, each once, with how it is declared here where it is. `feature` knows
    /// features by name.
    pub fn all_features<'f>(
        &self,
        feature: impl Fn(&str) -> Option<&'f Feature>,
    ) -> Vec<(&'f Feature, Option<&FeatureUse>)> {
        let mut all = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut left: Vec<&str> = self.features.iter().map(|used| used.name.as_str()).collect();
        while let Some(name) = left.pop() {
            let Some(found) = feature(name).filter(|found| seen.insert(&found.name)) else { continue };
            all.push((found, self.features.iter().find(|used| used.name == name)));
            left.extend(found.spec.requires.iter().map(String::as_str));
        }
        all
    }
}

/// A volume on a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The storage; where absent, the first of the node that can hold root file systems.
    pub storage: Option<String>,
    /// Size in MiB.
    pub size_mib: u64,
}

impl Disk {
    /// Its size in GiB, exactly: `8`, `0.5`.
    pub fn gib(&self) -> String {
        gib(self.size_mib)
    }
}

/// That many MiB in GiB, exactly: `8`, `0.5`.
pub fn gib(mib: u64) -> String {
    let (whole, rest) = (mib / 1024, mib % 1024);
    if rest == 0 {
        return whole.to_string();
    }
    // 1/1024 has ten digits after the point.
    let digits = format!("{:010}", rest * 9_765_625);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// A network device.
#[derive(Debug, Clone, PartialEq)]
pub struct Nic {
    /// The network's name in the blueprint; none where the bridge alone is named.
    pub network: Option<Label>,
    /// The bridge on the node.
    pub bridge: Bridge,
    /// The VLAN on it.
    pub vlan: Option<u16>,
    /// The device's name inside, `eth0` for slot 0.
    pub name: String,
    /// A fixed address with its prefix, or DHCP.
    pub address: NicAddress,
    /// The MAC; where absent, derived from site, guest and slot, so that a rebuild keeps it.
    pub mac: Option<[u8; 6]>,
    /// Whether Proxmox' firewall filters it.
    pub firewall: bool,
    /// Whose addresses it may send from beside its own.
    pub allowed_addresses: Vec<cidr::Ipv4Cidr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// The most it sends, and the most it receives, in MiB each second.
    pub rate: Option<f64>,
    /// Whether it is cut off.
    pub link_down: Option<bool>,
    /// The model, of a virtual machine's: `virtio` by default.
    pub model: Option<String>,
    /// How many queues it has, of a virtual machine's.
    pub queues: Option<u32>,
}

/// Where a network device has its address from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicAddress {
    /// This address in its network.
    Static(Ipv4Inet),
    /// Whatever the network's DHCP server gives.
    Dhcp,
}

/// A mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it appears inside.
    pub path: String,
    /// What is mounted.
    pub source: MountSource,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether Proxmox' backups include it.
    pub backup: bool,
    /// Options of mounting.
    pub options: Option<BTreeSet<MountOption>>,
    /// Whether its files may have access lists.
    pub acl: Option<bool>,
    /// Whether quotas of users count in it.
    pub quota: Option<bool>,
    /// Whether replication copies it.
    pub replicate: Option<bool>,
    /// Whether every node has it.
    pub shared: Option<bool>,
    /// Whose files in it are whose inside; where absent, nobody's of the node are anybody's inside.
    pub owner: Option<Owner>,
}

/// Whose files on the node are whose in the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Everybody's: numbers are the same inside as outside.
    Same,
    /// One user's and one group's.
    One {
        /// The user's number in the container, and on the node.
        users: (u32, u32),
        /// The group's number in the container, and on the node.
        groups: (u32, u32),
    },
}

/// What a mount point shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A volume of its own.
    Volume(Disk),
    /// A folder of the node. Needs root on the node.
    Host(String),
}

/// Start order on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Startup {
    /// Rank; lower starts first and stops last.
    pub order: Option<u32>,
    /// Seconds to wait before the next one starts.
    pub up: Option<u32>,
    /// Seconds to wait for it to stop.
    pub down: Option<u32>,
}
