//! The JSON files as types. Their doc comments are the descriptions of the JSON Schema and the text of the reference.
//!
//! A key that is absent is `None`: defaults are filled in after guest types are merged. The defaults that the schema
//! shows are held against the ones that are used by a test.

mod guest;
mod target;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use guest::{
    ContainerSource, DiskForm, DiskSource, ExposeSource, FeatureSource, MountSource, NicSource,
    OptionsSource, ProtocolSource, ServiceSource, StartupSource, TypeSource,
};
pub use target::{LabSource, ProxmoxSource, SecretSource, SshForm, SshSource, TargetSource};

pub(crate) use guest::GuestSettings;

use crate::values::{Bridge, Domain, Ipv4, Label, Life, Subnet, Timezone};

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
    /// The networks guests can be on, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub networks: Option<BTreeMap<String, NetworkSource>>,
    /// Guest types, by name: settings that several guests share.
    #[schemars(extend("propertyNames" = name()))]
    pub types: Option<BTreeMap<String, TypeSource>>,
    /// LXC containers, by name.
    #[schemars(extend("propertyNames" = name()))]
    pub containers: Option<BTreeMap<String, ContainerSource>>,
}

/// The schema of a name that becomes part of a DNS name.
fn name() -> serde_json::Value {
    serde_json::json!({
        "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "x-parse": "label",
    })
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
}

/// How the site's certificates are made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificatesSource {
    /// How long a certificate lives; it is renewed when two thirds of that have passed. Minutes to years: `45m`, `12h`,
    /// `90d`, `4w`, `1y`.
    #[schemars(extend("default" = "90d"))]
    pub life: Option<Life>,
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
