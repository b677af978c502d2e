//! What a site is built on, and secrets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::name;
use crate::model::SecretRef;
use crate::values::{
    Endpoint, Fingerprint, NodeLabel, SecretName, SitePath, SshDestination, Text, User, Variable,
};

/// What the site is built on: exactly one of the two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct TargetSource {
    /// A Proxmox VE node or cluster.
    pub proxmox: Option<ProxmoxSource>,
    /// The lab: a node on this machine, for trying and testing.
    pub lab: Option<LabSource>,
}

/// How to reach a Proxmox VE node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProxmoxSource {
    /// The address of its API.
    pub endpoint: Endpoint,
    /// The node that guests are placed on. Where absent, the one that answers.
    pub node: Option<NodeLabel>,
    /// An API token, as `user@realm!name=uuid`. Give this, or `user` and `password`.
    pub token: Option<SecretSource>,
    /// The user to log in as, with its realm.
    pub user: Option<User>,
    /// The user's password.
    pub password: Option<SecretSource>,
    /// The SHA-256 fingerprint of the node's certificate, where no authority vouches for it.
    pub fingerprint: Option<Fingerprint>,
    /// A PEM file of the site with the authority that vouches for the node's certificate.
    pub ca_file: Option<SitePath>,
    /// How to run commands on the node. Where absent, only what the API can do is possible.
    pub ssh: Option<SshForm>,
}

/// How to run commands on the node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SshSource {
    /// The host's name or address.
    #[schemars(extend("examples" = ["10.0.0.13"]))]
    pub host: Text,
    /// The user.
    #[schemars(extend("default" = "root"))]
    pub user: Option<Text>,
    /// The port.
    #[schemars(range(min = 1, max = 65535), extend("default" = 22))]
    pub port: Option<u16>,
    /// A private key file, absolute or relative to the site. Where absent, the settings of ssh itself.
    pub identity: Option<Text>,
    /// The host's key as in a `known_hosts` file, without the name. Where absent, your own `known_hosts` decides.
    #[schemars(extend("examples" = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…"]))]
    pub host_key: Option<Text>,
}

/// The short or the long way to say how to reach a host.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SshForm {
    /// `user@host` or `user@host:port`.
    Short(SshDestination),
    /// Key by key.
    Long(SshSource),
}

/// The lab as a target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LabSource {
    /// The lab's folder, absolute or relative to the site.
    #[schemars(extend("default" = ".phoenix/lab"))]
    pub folder: Option<Text>,
    /// Where it is published on 127.0.0.1, so that several labs can run side by side.
    pub ports: Option<LabPortsSource>,
    /// How many nodes it has: `pve1`, `pve2`, `pve3`, which are one cluster in one network. The first is published.
    #[schemars(range(min = 1, max = 3), extend("default" = 1))]
    pub nodes: Option<u8>,
    /// Whether its node is a machine of its own (QEMU), with disks, network links, ZFS and the servers of shares, and no container.
    #[schemars(extend("default" = false))]
    pub machine: Option<bool>,
}

/// The ports of 127.0.0.1 on which the lab is published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LabPortsSource {
    /// The node's API.
    #[schemars(range(min = 1, max = 65535), extend("default" = 8006))]
    pub api: Option<u16>,
    /// The node's ssh.
    #[schemars(range(min = 1, max = 65535), extend("default" = 8022))]
    pub ssh: Option<u16>,
    /// HTTPS of the gateway.
    #[schemars(range(min = 1, max = 65535), extend("default" = 8443))]
    pub https: Option<u16>,
    /// TCP services that the gateway or their guest serves, by name. Where one is absent: the port that clients use in the
    /// workshop, where it is free and at least 1024; else one from 20000, which follows from the name.
    #[schemars(extend("propertyNames" = name(), "additionalProperties" = port(), "examples" = [{"postgres": 15432}]))]
    pub services: Option<BTreeMap<String, u16>>,
}

/// The schema of a TCP port.
fn port() -> serde_json::Value {
    serde_json::json!({ "type": "integer", "minimum": 1, "maximum": 65535 })
}

/// A secret, by reference: exactly one of the four.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1, "x-secret" = true))]
pub struct SecretSource {
    /// An environment variable that holds it.
    pub env: Option<Variable>,
    /// A file of the site that only its owner can read.
    pub file: Option<SitePath>,
    /// A command that prints it, such as `pass`, `age` or `sops`; no shell is involved.
    #[schemars(length(min = 1), extend("examples" = [["pass", "show", "proxmox/token"]]))]
    pub command: Option<Vec<Text>>,
    /// Made once at random and kept in the site's secret folder under this name.
    pub generate: Option<SecretName>,
}

impl SecretSource {
    /// The reference; `None` where not exactly one form is given, which the structural check has reported.
    #[must_use]
    pub fn reference(&self) -> Option<SecretRef> {
        match self {
            Self { env: Some(name), .. } => Some(SecretRef::Env(name.0.clone())),
            Self { file: Some(path), .. } => Some(SecretRef::File(path.0.clone().into())),
            Self { command: Some(argv), .. } => {
                Some(SecretRef::Command(argv.iter().map(|a| a.0.clone()).collect()))
            }
            Self { generate: Some(name), .. } => Some(SecretRef::Generate(name.0.clone())),
            Self { .. } => None,
        }
    }
}
