//! The desired state: the blueprint with everything derived worked in. Every id, MAC, address, name and order is
//! definite here, before anything is contacted (T-4, T-8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use blueprint::model::{Disk, Expose, Mount, Place, Protocol, Startup};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::Address;
use crate::graph::Graph;

/// All that is to be.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The site's name.
    pub site: String,
    /// The domain names end in.
    pub domain: String,
    /// The node guests are placed on; the one that answers where absent.
    pub node: Option<String>,
    /// The containers, by name.
    pub containers: BTreeMap<String, Container>,
    /// The certificates, by name.
    pub certificates: BTreeMap<String, Certificate>,
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
    /// What every name resolves to inside the workshop.
    pub names: BTreeMap<String, Ipv4Addr>,
    /// Who needs whom.
    pub graph: Graph,
}

/// A container, definite.
#[derive(Debug, Clone)]
pub struct Container {
    /// The name in the blueprint.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// The node it is placed on; the site's where absent.
    pub node: Option<String>,
    /// The host name.
    pub hostname: String,
    /// A volume id or the beginning of a template's file name.
    pub template: String,
    /// Cores.
    pub cores: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Swap, MiB.
    pub swap_mib: u64,
    /// The root disk.
    pub disk: Disk,
    /// Network devices by slot.
    pub nets: BTreeMap<u8, Nic>,
    /// Mount points by slot.
    pub mounts: BTreeMap<u8, Mount>,
    /// Proxmox' feature flags.
    pub options: BTreeMap<String, String>,
    /// Starts with the node.
    pub onboot: bool,
    /// Start order.
    pub startup: Option<Startup>,
    /// Tags, Phoenix' own included, lower case.
    pub tags: BTreeSet<String>,
    /// Description for people.
    pub description: String,
    /// Unprivileged.
    pub unprivileged: bool,
    /// Protected.
    pub protected: bool,
    /// Resource pool.
    pub pool: Option<String>,
    /// Name servers; the node's own settings where empty.
    pub nameservers: Vec<Ipv4Addr>,
    /// Search domain.
    pub searchdomain: String,
    /// Its first fixed address.
    pub address: Option<Ipv4Addr>,
    /// What is installed in it, in order.
    pub features: Vec<Feature>,
    /// Where it is declared.
    pub declared: Place,
}

impl Container {
    /// Its resource address.
    pub fn resource(&self) -> Address {
        Address::container(&self.name)
    }
}

/// A network device, definite; prints as Proxmox' property string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Device name inside.
    pub name: String,
    /// Bridge on the node.
    pub bridge: String,
    /// MAC, `BC:24:11:…` form in capitals.
    pub mac: String,
    /// `10.0.0.5/24` or `dhcp`.
    pub ip: String,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Filtered by Proxmox' firewall.
    pub firewall: bool,
    /// MTU.
    pub mtu: Option<u32>,
}

/// A feature on a guest, rendered.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Fingerprint of all it renders to.
    pub fingerprint: String,
    /// What it renders to, as its crew wants it: opaque here.
    pub payload: std::sync::Arc<Value>,
    /// Where its use is declared.
    pub declared: Option<Place>,
}

/// A certificate, and where it is put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its name: the service's.
    pub name: String,
    /// The DNS names in it, the first one leading.
    pub names: Vec<String>,
    /// How long it lives.
    pub life: Duration,
    /// The container it is put in.
    pub on: String,
    /// Fingerprint of names, life and authority: when it changes, a new one is made.
    pub fingerprint: String,
}

/// A service and the path to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The container that runs it.
    pub on: String,
    /// The host names clients use, the first one leading.
    pub hosts: Vec<String>,
    /// The address of its guest.
    pub address: Ipv4Addr,
    /// The port on its guest.
    pub port: u16,
    /// Whether the guest speaks TLS there.
    pub tls: bool,
    /// The container whose gateway serves it, with its address; `None`: clients go to the guest itself.
    pub gateway: Option<(String, Ipv4Addr)>,
    /// The path that tells whether it works.
    pub probe_path: String,
    /// The status it answers with there; any below 400 where absent.
    pub probe_status: Option<u16>,
    /// Fingerprint of the whole path.
    pub fingerprint: String,
}

impl Service {
    /// The address a browser is given.
    pub fn url(&self) -> String {
        let host = self.hosts.first().map_or("", String::as_str);
        match (&self.gateway, self.tls) {
            (Some(_), _) => format!("https://{host}/"),
            (None, true) => format!("https://{host}:{}/", self.port),
            (None, false) => format!("http://{host}:{}/", self.port),
        }
    }
}

pub(crate) fn exposed(expose: Expose) -> bool {
    !matches!(expose, Expose::None)
}

pub(crate) fn speaks_tls(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Https)
}
