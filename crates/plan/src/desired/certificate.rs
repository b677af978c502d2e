//! Certificates: where they are put and shown, and who signs them.

use std::net::Ipv4Addr;
use std::time::Duration;

use blueprint::names::GuestName;
use blueprint::values::Domain;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::host::Host;

/// Who signs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Issuer {
    /// Phoenix' own authority, when it applies.
    Embedded,
    /// The workshop's Step CA; the guest renews by itself.
    StepCa,
    /// A public authority, by ACME; the guest renews by itself.
    Acme,
}

impl Issuer {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::StepCa => "step-ca",
            Self::Acme => "acme",
        }
    }
}

/// The name of the node's own certificate.
pub const HYPERVISOR: &str = "hypervisor";

/// A certificate, and where it is put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its name: a service's at a proxy, `<service>.public` for a service's public names, `<guest>.guest` for a guest's own.
    pub name: String,
    /// The DNS names in it, the first one leading.
    pub names: Vec<String>,
    /// How long it lives.
    pub life: Duration,
    /// Where it is put.
    pub on: Host,
    /// Who signs it.
    pub issuer: Issuer,
    /// `user:group` whose group may read the key; root alone where absent.
    pub owner: Option<String>,
    /// Units that are reloaded when it is new.
    pub reloads: Vec<String>,
    /// Units that are restarted when it is new.
    pub restarts: Vec<String>,
    /// Where it is served, to be read back.
    pub served: Vec<Served>,
    /// Fingerprint of names, life and authority: when it changes, a new one is made.
    pub fingerprint: String,
}

impl Certificate {
    /// Its resource address.
    pub fn resource(&self) -> Address {
        match self.on {
            Host::Node(_) => Address::hypervisor_certificate(),
            Host::Guest(..) => Address::certificate(&self.name),
        }
    }
}

/// Where a certificate is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The address.
    pub address: Ipv4Addr,
    /// The TCP port.
    pub port: u16,
    /// The name that is asked for (SNI).
    pub name: String,
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.address, self.port, self.name)
    }
}

/// The certificate authority in a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its guest.
    pub on: GuestName,
    /// Its name, always direct (P-44).
    pub host: String,
    /// Its address for clients.
    pub url: String,
    /// The domain its certificates are limited to.
    pub domain: Domain,
    /// The longest life of a certificate.
    pub life: Duration,
    /// Fingerprint of the root and of the above: when it changes, its intermediate certificate is made anew.
    pub fingerprint: String,
}
