//! The JSON files as types. Their doc comments are the descriptions of the JSON Schema and the text of the reference.
//!
//! A key that is absent is `None`: defaults are filled in after guest types are merged. The defaults that the schema
//! shows are held against the ones that are used by a test.

mod container;
mod gpu;
mod guest;
mod image;
mod kernel;
mod link;
mod machine;
mod service;
mod share;
mod stack;
mod storage;
mod target;
mod zfs;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use container::{
    AllWord, ConsoleMode, ConsoleSource, CoresForm, DeviceSource, MountOption, OwnerForm, OwnerSource,
    OwnerWord,
};
pub use gpu::{
    CardForm, DriverForm, DriverModule, DriverSource, GpuForm, GpuOfGuestSource, GpuOneForm, GpuSource,
    GpuUseSource,
};
pub use guest::{
    ContainerSource, DiskForm, DiskSource, FeatureSource, MountSource, NicSource, OptionsSource,
    StartupSource, TypeSource, VmSource,
};
pub use image::{CloneSource, FormatSource, ImageSource, TemplateSource};
pub use kernel::{KernelSource, ModuleOptions};
pub use link::{BondModeSource, LinkSource};
pub use machine::{
    AgentForm, AgentSource, AgentTypeSource, AioSource, BiosSource, CacheSource, ControllerSource,
    DiskLimitsSource, EnterSource, FolderCacheSource, FolderSource, HugePagesSource, KeyFile, KeyForm,
    NicModelSource, OsSource, PciSource, SmbiosSource, TpmSource, UefiSource, UsbSource, UserSource,
    VmDiskForm, VmDiskSource,
};
pub use service::{AccessSource, ExposeSource, LimitsSource, ProtocolSource, ServiceSource};
pub use share::{DatasetShareSource, ExportSource, ShareSource, SmbSource};
pub use stack::{GuestRef, OnFailureSource, StackSource, VariableForm};
pub use storage::{
    CifsSource, NfsSource, PbsSource, PreallocationSource, PruneSource, StorageContentSource, StorageSource,
};
pub use target::{LabPortsSource, LabSource, ProxmoxSource, SecretSource, SshForm, SshSource, TargetSource};
pub use zfs::{
    DatasetSource, DisksForm, EncryptionSource, LayoutSource, PoolSource, ReplicateSource, ScrubSource,
    UnlockSource,
};

pub(crate) use guest::{GuestSettings, GuestSource};

use crate::values::{
    AddressRange, Bridge, Domain, EndName, IdRange, ImageDigest, Ipv4, Label, Life, SitePath, Subnet, Text,
    Timezone,
};

/// A blueprint file. A site is all files of its folder together: each may hold any of these keys, and a name is
/// defined in one of them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSource {
    /// The JSON Schema for editors, which then explain and complete keys.
    #[serde(rename = "$schema")]
    #[schemars(extend("examples" = ["./.phoenix/blueprint.schema.json"]))]
    pub schema: Option<String>,
    /// The name and the domain of the environment. Needed, in one file.
    pub site: Option<SiteSource>,
    /// What the site is built on. Needed, in one file.
    pub target: Option<TargetSource>,
    /// How certificates are made.
    pub certificates: Option<CertificatesSource>,
    /// The node that the site is built on.
    pub hypervisor: Option<HypervisorSource>,
    /// The networks guests can be on, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub networks: Option<BTreeMap<String, NetworkSource>>,
    /// Storages of Proxmox VE, by name: of the whole datacenter, so each stands here once, whichever nodes have it.
    #[schemars(extend("propertyNames" = storage_name()))]
    pub storages: Option<BTreeMap<String, StorageSource>>,
    /// Container templates, by name: a container's `template` means the one of that name.
    #[schemars(extend("propertyNames" = name()))]
    pub templates: Option<BTreeMap<String, TemplateSource>>,
    /// Images of virtual machines, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub images: Option<BTreeMap<String, ImageSource>>,
    /// Guest types, by name: settings that several guests share.
    #[schemars(extend("propertyNames" = name()))]
    pub types: Option<BTreeMap<String, TypeSource>>,
    /// LXC containers, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub containers: Option<BTreeMap<String, ContainerSource>>,
    /// Virtual machines, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub vms: Option<BTreeMap<String, VmSource>>,
    /// Stacks of Docker containers, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub stacks: Option<BTreeMap<String, StackSource>>,
    /// Which image a name with a tag stands for in stacks, by that name as compose files have it: its digest in its registry. Without it, a
    /// name stands for what the registry happened to give when it was first fetched. `phoenix-cli update --write` finds them out.
    #[schemars(extend("examples" = serde_json::json!([{"postgres:17-alpine": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}])))]
    pub image_digests: Option<BTreeMap<String, ImageDigest>>,
    /// The firewall. Where present, who may talk to whom follows from services, `needs` and `flows`.
    pub firewall: Option<FirewallSource>,
    /// What may flow beyond what follows from services and `needs`, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub flows: Option<BTreeMap<String, FlowSource>>,
}

/// The schema of a name that becomes part of a DNS name.
fn name() -> serde_json::Value {
    serde_json::json!({
        "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "x-parse": "label",
    })
}

/// The schema of the name of a node's link.
fn link_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,14}$", "x-parse": "bridge" })
}

/// The schema of a storage's name.
fn storage_name() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$", "x-parse": "storage-name" })
}

/// One environment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SiteSource {
    /// The name, which marks everything that Phoenix makes for this site.
    pub name: Label,
    /// The domain that all names of the site end in.
    pub domain: Domain,
    /// The time zone of the guests. Where absent, the template's.
    pub timezone: Option<Timezone>,
    /// The ids that guests get which declare none, such as `200-299`: derived from the name, so that a guest keeps its own;
    /// the next free one where two names meet, which the plan says. Where absent: from 100000 to 999999.
    pub ids: Option<IdRange>,
    /// The sealed copy of `.phoenix/secrets`, which is written again by each run that changes a secret.
    pub sealed: Option<SealedSource>,
}

/// A copy of all that cannot be made again, sealed to public keys (age): whoever has one of the private ones opens it with
/// `phoenix-cli secrets open`. It may be committed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SealedSource {
    /// Where it is, below the site's folder.
    #[schemars(extend("default" = "secrets.age"))]
    pub file: Option<SitePath>,
    /// The public keys that it is sealed to.
    #[schemars(length(min = 1), extend("examples" = [["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…", { "file": "keys/admins.pub" }]]))]
    pub to: Vec<RecipientForm>,
}

/// Public keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RecipientForm {
    /// One of age (`age1…`) or of ssh (`ssh-ed25519 …`, `ssh-rsa …`).
    Key(Text),
    /// Those of a file.
    File(RecipientFile),
}

/// A file with public keys.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RecipientFile {
    /// A file of the site with a public key in each line; those that are empty or begin with `#` say nothing.
    pub file: SitePath,
}

/// How the site's certificates are made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificatesSource {
    /// How long a certificate lives; it is renewed when two thirds of that have passed. Minutes to years: `45m`, `12h`,
    /// `90d`, `4w`, `1y`.
    #[schemars(extend("default" = "90d"))]
    pub life: Option<Life>,
    /// Who signs them. Whichever it is, clients trust the same root.
    #[schemars(extend("default" = "embedded"))]
    pub authority: Option<AuthoritySource>,
    /// The public authority for services with `public` names.
    pub acme: Option<AcmeSource>,
    /// With `step-ca`: names below the site's domain for which whoever answers on port 80 may have a certificate of the site's
    /// own authority by ACME, to serve with: a printer, a device with a program of its own. One word each, or complete
    /// names; nothing else of the site may have them. Without any, its ACME is off.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["printer"]])))]
    pub acme_names: Option<Vec<Domain>>,
}

/// The node that the site is built on, as far as Phoenix looks after it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HypervisorSource {
    /// Whether its web page and its API show a certificate of the workshop, so that whoever trusts the workshop's root can
    /// open `https://pve.DOMAIN:8006` without being warned. It is renewed as those of guests are. Needs `ssh` as root.
    #[schemars(extend("default" = false))]
    pub certificate: Option<bool>,
    /// The node's name below the site's domain.
    #[schemars(extend("default" = "pve"))]
    pub hostname: Option<Label>,
    /// The address that the name leads to. Where absent: the endpoint's, where that is an address, or the lab's node.
    pub address: Option<Ipv4>,
    /// What is installed on it, in this order, before any guest is made: a feature's name, or an object with the name and its
    /// parameters. Only features that are for nodes. Needs `ssh` as root.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([[{"sysctl": {"settings": {"vm.swappiness": 10}}}]])))]
    pub features: Option<Vec<FeatureSource>>,
    /// Its pools of ZFS, by name. What is on a pool outlives the site: `destroy` leaves pools and datasets alone. Needs `ssh` as
    /// root.
    #[schemars(extend("propertyNames" = zfs::pool_name()))]
    pub zfs: Option<BTreeMap<String, PoolSource>>,
    /// Its graphics cards, by names of your choice. What uses one says `gpu`. Needs `ssh` as root.
    #[schemars(extend("propertyNames" = name(), "examples" = serde_json::json!([{"card0": {"pci": "0000:01:00.0", "memory": "24G"}}])))]
    pub gpus: Option<BTreeMap<String, GpuSource>>,
    /// Its kernel: which one starts, its command line, modules. Needs `ssh` as root.
    #[schemars(extend("examples" = serde_json::json!([{"command-line": ["iommu=pt"], "blacklist": ["nouveau"]}])))]
    pub kernel: Option<KernelSource>,
    /// Its links, by name, as `/etc/network/interfaces` has them: bridges, bonds, VLANs and cards. What is not declared here stays as
    /// it is. A change comes into force at once, and is taken back by the node itself unless a new connection gets through after
    /// it. Needs `ssh` as root.
    #[schemars(extend("propertyNames" = link_name(), "examples" = serde_json::json!([{"vmbr1": {"ports": [], "address": "10.1.0.1/24", "nat": true}}])))]
    pub network: Option<BTreeMap<String, LinkSource>>,
    /// Folders of it that others use, by name. A dataset says the same itself, as `share`. What brings it about is put on the node by
    /// itself. Needs `ssh` as root.
    #[schemars(extend("propertyNames" = share::share_name(), "examples" = serde_json::json!([{"media": {"folder": "/srv/media", "smb": {"users": ["heads"], "write": true}}}])))]
    pub shares: Option<BTreeMap<String, ShareSource>>,
}

/// Who signs the workshop's certificates.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthoritySource {
    /// Phoenix itself, when it applies: renewed by the next `apply` after two thirds of their life.
    Embedded,
    /// The container with the feature `step-ca`: guests renew by themselves.
    StepCa,
}

/// A public authority that speaks ACME (RFC 8555).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AcmeSource {
    /// The address of its directory.
    #[schemars(extend("examples" = ["https://acme-v02.api.letsencrypt.org/directory"]))]
    pub directory: Text,
    /// Where it writes to when something is wrong.
    pub email: Option<Text>,
    /// How it is proven that the names are yours: by a page on port 80 of the gateway, or by a record in the DNS.
    #[schemars(extend("default" = "http-01"))]
    pub challenge: Option<ChallengeSource>,
    /// For `dns-01`: a program of the site that sets and removes the record `_acme-challenge.NAME`. It runs at the gateway, as
    /// `HOOK deploy_challenge NAME UNUSED VALUE` and `HOOK clean_challenge NAME UNUSED VALUE`; with any other first word it
    /// does nothing (these are the hooks of dehydrated).
    pub hook: Option<SitePath>,
    /// A PEM file of the site with the root that the authority's own address is verified with, where it is no public one.
    pub root: Option<SitePath>,
}

/// How ACME proves that a name is yours.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub enum ChallengeSource {
    /// A page on port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// A record in the DNS.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// The firewall.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FirewallSource {
    /// Whether everything is dropped that no flow allows, inside too. Otherwise guests may talk to each other and to the
    /// outside as they like, and only what comes from outside needs a flow.
    #[schemars(extend("default" = false))]
    pub zero_trust: Option<bool>,
    /// From where the node may always be reached with ssh and its API, beside where Phoenix comes from itself.
    #[schemars(extend("default" = serde_json::json!([])))]
    pub management: Option<Vec<AddressRange>>,
    /// In zero trust: where guests fetch packages from. `outside`, which is everybody's web server; an address or a subnet
    /// of a mirror or a proxy; or `container.NAME`, which then alone fetches them from outside for all others. Where nothing is
    /// said, the container that has the feature `package-cache`.
    #[schemars(length(min = 1), extend("default" = serde_json::json!(["outside"]), "examples" = serde_json::json!([["container.cache"]])))]
    pub packages: Option<Vec<EndName>>,
}

/// Something that may flow.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FlowSource {
    /// Where it begins: `container.notes`, `inside` (all guests), `outside`, or a subnet.
    pub from: EndName,
    /// Where it goes: the same.
    pub to: EndName,
    /// The ports.
    #[schemars(length(min = 1), inner(range(min = 1, max = 65535)))]
    pub ports: Vec<u16>,
    /// What is spoken on them.
    #[schemars(extend("default" = "tcp"))]
    pub protocol: Option<TransportSource>,
    /// Why: shown wherever the flow is.
    #[schemars(extend("examples" = ["the printer is asked for its state"]))]
    pub reason: Text,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TransportSource {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A network guests can be on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NetworkSource {
    /// The bridge on the node.
    pub bridge: Bridge,
    /// The subnet, with its prefix length.
    pub subnet: Subnet,
    /// The address of the router. Without one, guests reach nothing outside the subnet.
    pub gateway: Option<Ipv4>,
    /// The VLAN tag.
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// The name servers that guests ask. Where absent, the node's own settings.
    pub nameservers: Option<Vec<Ipv4>>,
}
