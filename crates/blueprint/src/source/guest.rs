//! Guests: types and containers.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::SecretSource;
use super::name;
use crate::values::{
    Address, AddressRange, Description, DeviceName, DiskSize, Domain, GuestPath, HeadSize, Label, Mac,
    MemorySize, NodeLabel, Rate, Tag, Text, UrlPath, Wait,
};

/// The settings that a type and a container have in common, spliced into both: one text, one place, and both stay
/// plain structs with plain schemas.
macro_rules! with_guest_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($before:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            $($before)*
            /// The template: one that is declared under `templates`, the beginning of a template's file name (`debian-12`), or a
            /// volume (`local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst`). What the node does not have is fetched, where its
            /// catalogue has it.
            #[schemars(extend("default" = "debian-12"))]
            pub template: Option<Text>,
            /// Processor cores.
            #[schemars(range(min = 1, max = 8192), extend("default" = 1))]
            pub cores: Option<u32>,
            /// Memory: `512M` is MiB, `2G` is GiB.
            #[schemars(extend("default" = "512M"))]
            pub memory: Option<MemorySize>,
            /// Swap: like memory; `0M` for none.
            #[schemars(extend("default" = "512M"))]
            pub swap: Option<MemorySize>,
            /// The root disk: its size in GiB (`8G`), or an object with `storage` and `size`. It can grow, not shrink.
            #[schemars(extend("default" = "8G"))]
            pub disk: Option<DiskForm>,
            /// The network of the first device: short for `networks.net0.network`. Where absent, the only one there is.
            pub network: Option<Label>,
            /// Network devices by slot, `net0` to `net31`. Where absent, one with DHCP or the `address` given.
            #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^net([0-9]|[12][0-9]|3[01])$", "x-parse": "net-slot"})))]
            pub networks: Option<BTreeMap<String, NicSource>>,
            /// Mount points by slot, `mp0` to `mp255`.
            #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^mp([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])$", "x-parse": "mount-slot"})))]
            pub mounts: Option<BTreeMap<String, MountSource>>,
            /// What the container may do beyond the usual.
            pub options: Option<OptionsSource>,
            /// Whether it starts with the node.
            #[schemars(extend("default" = true))]
            pub onboot: Option<bool>,
            /// Order and delays at the start of the node.
            pub startup: Option<StartupSource>,
            /// Tags shown in Proxmox VE, beside Phoenix' own. A guest has its type's and its own.
            #[schemars(extend("default" = serde_json::json!([])))]
            pub tags: Option<Vec<Tag>>,
            /// A text for the people who look at it in Proxmox VE.
            pub description: Option<Description>,
            /// Whether its root user is not the node's root user.
            #[schemars(extend("default" = true))]
            pub unprivileged: Option<bool>,
            /// Whether Phoenix and Proxmox VE refuse to destroy it.
            #[schemars(extend("default" = false))]
            pub protected: Option<bool>,
            /// The resource pool.
            pub pool: Option<Text>,
            /// Containers that must be healthy before this one is made: `ca` or `container.ca`. A guest has its type's and
            /// its own.
            #[schemars(extend("default" = serde_json::json!([])))]
            pub needs: Option<Vec<Text>>,
            /// What is installed in it, in this order: a feature's name, or an object with the name and its parameters.
            /// The type's come first; parameters given twice are the guest's.
            #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([[{"static-site": {"root": "pages/"}}]])))]
            pub features: Option<Vec<FeatureSource>>,
        }

        impl $name {
            pub(crate) fn settings(&mut self) -> GuestSettings {
                GuestSettings {
                    template: self.template.take(),
                    cores: self.cores,
                    memory: self.memory,
                    swap: self.swap,
                    disk: self.disk.take(),
                    network: self.network.take(),
                    networks: self.networks.take(),
                    mounts: self.mounts.take(),
                    options: self.options.take(),
                    onboot: self.onboot,
                    startup: self.startup,
                    tags: self.tags.take(),
                    description: self.description.take(),
                    unprivileged: self.unprivileged,
                    protected: self.protected,
                    pool: self.pool.take(),
                    needs: self.needs.take(),
                }
            }
        }
    };
}

/// What types and containers have in common. Features are read with their places, from the tree.
#[derive(Debug, Default)]
pub(crate) struct GuestSettings {
    pub template: Option<Text>,
    pub cores: Option<u32>,
    pub memory: Option<MemorySize>,
    pub swap: Option<MemorySize>,
    pub disk: Option<DiskForm>,
    pub network: Option<Label>,
    pub networks: Option<BTreeMap<String, NicSource>>,
    pub mounts: Option<BTreeMap<String, MountSource>>,
    pub options: Option<OptionsSource>,
    pub onboot: Option<bool>,
    pub startup: Option<StartupSource>,
    pub tags: Option<Vec<Tag>>,
    pub description: Option<Description>,
    pub unprivileged: Option<bool>,
    pub protected: Option<bool>,
    pub pool: Option<Text>,
    pub needs: Option<Vec<Text>>,
}

with_guest_settings! {
    /// Settings that several guests share.
    pub struct TypeSource {
        /// Another type whose settings hold where this one says nothing.
        pub extends: Option<Label>,
    }
}

with_guest_settings! {
    /// An LXC container.
    pub struct ContainerSource {
        /// The type whose settings hold where the container says nothing.
        #[serde(rename = "type")]
        pub kind: Option<Label>,
        /// The id in Proxmox VE. Where absent, derived from the name, so that it stays the same.
        #[schemars(range(min = 100, max = 999_999_999))]
        pub id: Option<u32>,
        /// The host name. Where absent, the container's name.
        pub hostname: Option<Label>,
        /// The node it is placed on. Where absent, the target's.
        pub node: Option<NodeLabel>,
        /// The address of the first network device, or `dhcp`: short for `networks.net0.address`.
        pub address: Option<Address>,
        /// The MAC address of the first network device: short for `networks.net0.mac`. Where absent, derived, so that it
        /// stays the same.
        pub mac: Option<Mac>,
        /// The services it runs, by name. Names, certificates, the gateway's configuration and probes follow from them.
        #[schemars(extend("propertyNames" = name()))]
        pub services: Option<BTreeMap<String, ServiceSource>>,
    }
}

/// A volume on a storage.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSource {
    /// The storage. Where absent, the first of the node that can hold root file systems.
    pub storage: Option<Text>,
    /// The size in GiB.
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
    /// The network. Where absent, the only one there is.
    pub network: Option<Label>,
    /// The address, or `dhcp`.
    #[schemars(extend("default" = "dhcp"))]
    pub address: Option<Address>,
    /// The MAC address. Where absent, derived, so that it stays the same.
    pub mac: Option<Mac>,
    /// The name inside the container. Where absent, `eth` and the slot's number.
    pub name: Option<DeviceName>,
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
}

/// A mount point: a volume of its own (`size`, perhaps `storage`), or a folder of the node (`host`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MountSource {
    /// Where it appears inside the container.
    pub path: GuestPath,
    /// The size of the volume in GiB.
    pub size: Option<DiskSize>,
    /// The storage of the volume. Where absent, the root disk's.
    pub storage: Option<Text>,
    /// A folder of the node. Needs root on the node.
    pub host: Option<GuestPath>,
    /// Whether it can only be read.
    #[schemars(extend("default" = false))]
    pub read_only: Option<bool>,
    /// Whether backups include it. True by default for a volume; a folder of the node is never included.
    pub backup: Option<bool>,
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
    pub mount: Option<Vec<Tag>>,
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

/// A service that the container runs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceSource {
    /// The TCP port it listens on in its container.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What it speaks there.
    #[schemars(extend("default" = "http"))]
    pub protocol: Option<ProtocolSource>,
    /// How clients get to it.
    #[schemars(extend("default" = "none"))]
    pub expose: Option<ExposeSource>,
    /// The container that is its gateway, where the workshop has several.
    pub gateway: Option<Label>,
    /// Further names: one word below the site's domain, or a complete name of the site's domain.
    #[schemars(extend("default" = serde_json::json!([])))]
    pub aliases: Option<Vec<Domain>>,
    /// Names of a public domain under which the gateway serves it too, with certificates of the public authority that
    /// `certificates.acme` names.
    #[schemars(extend("default" = serde_json::json!([]), "examples" = serde_json::json!([["notes.example.org"]])))]
    pub public: Option<Vec<Domain>>,
    /// For `tcp` through the gateway: the port the gateway listens on. Where absent, the service's own.
    #[schemars(range(min = 1, max = 65535))]
    pub listen: Option<u16>,
    /// For `tcp` through the gateway: whether the gateway speaks TLS with clients there.
    #[schemars(extend("default" = true))]
    pub tls: Option<bool>,
    /// Whether the proxy in front of it shows a certificate of its own, so that the service can refuse everybody else.
    #[schemars(extend("default" = false))]
    pub mutual: Option<bool>,
    /// For `https`: whether its proxy verifies who it is, by the guest's own certificate of the workshop. Without that,
    /// whoever stands between the two can read and change everything; `health` says so each time.
    #[schemars(extend("default" = true))]
    pub verify: Option<bool>,
    /// Whether a connection to it may become a WebSocket. Nothing else is ever upgraded.
    #[schemars(extend("default" = true))]
    pub websocket: Option<bool>,
    /// Whether the gateway tells browsers to be careful with its pages, where it says nothing itself: HTTPS from now on, no
    /// guessing of types, little in `Referer`, and no frames but in pages of the site's own domain.
    #[schemars(extend("default" = true))]
    pub security_headers: Option<bool>,
    /// Who may use it through its proxy.
    pub access: Option<AccessSource>,
    /// Whether others may go around its proxy, straight to its port, where neither `access` nor `limits` hold. Needed
    /// where they can: without a firewall in zero trust.
    #[schemars(extend("default" = false))]
    pub bypass: Option<bool>,
    /// How much of it a client gets through its proxy.
    pub limits: Option<LimitsSource>,
    /// The path that tells whether it works; for `tcp`, a connection is enough.
    #[schemars(extend("default" = "/"))]
    pub path: Option<UrlPath>,
    /// The status that path answers with. Where absent, any below 400.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProtocolSource {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS, with the guest's own certificate of the workshop.
    Https,
    /// Anything else over TCP.
    Tcp,
}

/// Who may use a service through its proxy: where several are said, all of them must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AccessSource {
    /// Users with their passwords (HTTP basic authentication). Only at the gateway.
    #[schemars(extend("propertyNames" = serde_json::json!({"pattern": "^[^:\\s]+$"})))]
    pub basic: Option<BTreeMap<String, SecretSource>>,
    /// Whether a client must show a certificate of the workshop. Every guest has one: `client-names` says whose.
    #[schemars(extend("default" = false))]
    pub client_certificate: Option<bool>,
    /// With `client-certificate`: whose certificates are taken, by container, or by the complete name in them; those of
    /// everybody where absent.
    #[schemars(extend("examples" = serde_json::json!([["notes", "laptop.workshop.internal"]])))]
    pub client_names: Option<Vec<Domain>>,
}

/// How much of a service a client gets through its proxy.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitsSource {
    /// The largest request: `512M` is MiB, `0M` is any. Where absent, what the proxy's feature says.
    pub body: Option<MemorySize>,
    /// The largest head, of a request and of an answer: all of its header fields, such as cookies. `128K` is KiB. Larger
    /// requests are refused with 400, larger answers with 502. Only at the gateway; the mesh passes more.
    #[schemars(extend("default" = "64K"))]
    pub headers: Option<HeadSize>,
    /// How long the service may be silent before the proxy gives up: `30s`, `1h`. A `tcp` service may be for a day.
    #[schemars(extend("default" = "10m"))]
    pub timeout: Option<Wait>,
    /// How many requests one client may make; more are refused with 429. Only at the gateway.
    pub rate: Option<Rate>,
    /// How many requests more than `rate` are let through at once.
    #[schemars(range(min = 0, max = 100_000), extend("default" = 20))]
    pub burst: Option<u32>,
}

/// How clients get to a service.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExposeSource {
    /// By the container's own address and port.
    Direct,
    /// Through the gateway, over HTTPS: for people.
    Gateway,
    /// Through the mesh, over TLS, from inside the workshop only: for other services.
    Mesh,
    /// Not at all: only the container itself knows it.
    None,
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
