//! Services, and the way to them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use blueprint::model::SecretRef;
use blueprint::names::GuestName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Speaks {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// Anything else over TCP.
    Tcp,
}

/// The proxy in front of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Gateway or mesh.
    pub kind: ViaKind,
    /// Its guest.
    pub on: GuestName,
    /// Its address.
    pub address: Ipv4Addr,
    /// The port clients go to.
    pub port: u16,
    /// Whether clients speak TLS with it.
    pub tls: bool,
}

/// A kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ViaKind {
    /// The front door, for those outside and inside.
    Gateway,
    /// For services among themselves.
    Mesh,
}

impl ViaKind {
    /// As people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Mesh => "mesh",
        }
    }
}

/// A service and the path to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The guest that runs it.
    pub on: GuestName,
    /// The stack whose containers it is, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The host names clients use, the first one leading.
    pub hosts: Vec<String>,
    /// Names of a public domain.
    pub public: Vec<String>,
    /// The address of its guest.
    pub address: Ipv4Addr,
    /// The port on its guest.
    pub port: u16,
    /// Whether it listens on its guest's loopback alone, for the proxy in the same guest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loopback: bool,
    /// What it speaks there.
    pub speaks: Speaks,
    /// The proxy that serves it; `None`: clients go to the guest itself.
    pub via: Option<Via>,
    /// The name in its guest's own certificate, which its proxy verifies. `None` where it does not speak TLS, and where the
    /// blueprint says that it is not verified.
    pub upstream_name: Option<String>,
    /// Whether a connection to it may become a WebSocket.
    pub websocket: bool,
    /// Whether the gateway says how its pages may be shown, where it says nothing itself.
    pub security_headers: bool,
    /// Whether its proxy shows it a certificate.
    pub mutual: bool,
    /// Whether clients must show a certificate of the workshop to its proxy.
    pub client_certificate: bool,
    /// Whose, by the name in them; everybody's where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_names: Vec<String>,
    /// Users with their passwords, at the gateway.
    pub users: BTreeMap<String, SecretRef>,
    /// How much of it a client gets.
    pub limits: Limits,
    /// The path that tells whether it works.
    pub probe_path: String,
    /// The status it answers with there; any below 400 where absent.
    pub probe_status: Option<u16>,
    /// Fingerprint of the whole path.
    pub fingerprint: String,
}

/// How much of a service a client gets through its proxy; the proxy's own defaults where absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest request in MiB, 0 for any.
    pub body_mib: Option<u64>,
    /// The largest head of a request or an answer, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<u64>,
    /// Seconds the service may be silent.
    pub timeout: Option<u64>,
    /// How many requests a client may make.
    pub rate: Option<Rate>,
    /// How many more are let through at once.
    pub burst: u32,
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// How many.
    pub requests: u32,
    /// In how many seconds: 1 or 60.
    pub per_seconds: u32,
}

impl Service {
    /// Its resource address.
    pub fn resource(&self) -> Address {
        Address::service(&self.name)
    }

    /// The address a browser is given.
    pub fn url(&self) -> String {
        let host = self.hosts.first().map_or("", String::as_str);
        match (&self.via, self.speaks) {
            (Some(via), Speaks::Tcp) if via.tls => format!("tls://{host}:{}", via.port),
            (Some(via), Speaks::Tcp) => format!("tcp://{host}:{}", via.port),
            (Some(_), _) => format!("https://{host}/"),
            (None, Speaks::Https) => format!("https://{host}:{}/", self.port),
            (None, Speaks::Http) => format!("http://{host}:{}/", self.port),
            (None, Speaks::Tcp) => format!("tcp://{host}:{}", self.port),
        }
    }

    /// Whether its proxy speaks TLS with it and does not know with whom.
    pub fn unverified(&self) -> bool {
        self.via.is_some() && self.speaks == Speaks::Https && self.upstream_name.is_none()
    }

    /// The gateway that serves it, if one does.
    pub fn gateway(&self) -> Option<&Via> {
        self.via.as_ref().filter(|via| via.kind == ViaKind::Gateway)
    }

    /// The address its proxy goes to.
    pub fn upstream(&self) -> Ipv4Addr {
        if self.loopback { Ipv4Addr::LOCALHOST } else { self.address }
    }

    /// The address and port clients connect to.
    pub fn entrance(&self) -> (Ipv4Addr, u16) {
        self.via.as_ref().map_or((self.address, self.port), |via| (via.address, via.port))
    }
}
