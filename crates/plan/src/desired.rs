//! The desired state: the blueprint with everything derived worked in. Every id, MAC, address, name and order is
//! definite here, before anything is contacted (T-4, T-8).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use blueprint::model::{self, Place, SecretRef};
use blueprint::names::{GuestName, NodeName};
use cidr::Ipv4Cidr;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::Address;
use crate::graph::{EdgeKind, Graph};
use crate::host::{GuestKind, Host};

/// All that is to be.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The site's name.
    pub site: String,
    /// The domain names end in.
    pub domain: String,
    /// The node guests are placed on; the one that answers where absent.
    pub node: Option<NodeName>,
    /// The guests, by name.
    pub guests: BTreeMap<GuestName, Guest>,
    /// The certificates, by name.
    pub certificates: BTreeMap<String, Certificate>,
    /// What Phoenix looks after on the node itself.
    pub hypervisor: Option<Hypervisor>,
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
    /// What every name resolves to inside the workshop.
    pub names: BTreeMap<String, Ipv4Addr>,
    /// What names resolve to for those outside: only what they may use is there.
    pub outside_names: BTreeMap<String, Ipv4Addr>,
    /// The certificate authority in a guest; Phoenix' own signs where absent.
    pub authority: Option<Authority>,
    /// The guest that serves as the workshop's name server, with its address.
    pub dns: Option<(GuestName, Ipv4Addr)>,
    /// The firewall, where Phoenix looks after it.
    pub firewall: Option<Firewall>,
    /// Who may talk to whom, sorted by id.
    pub flows: Vec<Flow>,
    /// Resources of kinds that nobody else looks into.
    pub resources: BTreeMap<Address, Resource>,
    /// What a person should know of the whole: ends up in the plan's notes.
    pub notes: Vec<String>,
    /// Who needs whom.
    pub graph: Graph,
}

impl Desired {
    /// Adds a resource of a kind that nobody else looks into, with its place among the others.
    pub fn add(&mut self, address: Address, resource: Resource) {
        self.graph.add(address.clone());
        for need in &resource.needs {
            self.graph.edge(&address, need, EdgeKind::Needs);
        }
        self.resources.insert(address, resource);
    }

    /// The guest that this address is the one of.
    pub fn guest(&self, address: &Address) -> Option<&Guest> {
        GuestKind::of_word(address.kind())?;
        self.guests.get(address.name()).filter(|guest| guest.kind.as_str() == address.kind())
    }

    /// The id of the guest that this address is the one of.
    pub fn id_of(&self, address: &Address) -> Option<u32> {
        self.guest(address).map(|guest| guest.id)
    }
}

/// A guest, definite: as it is declared, shared with the blueprint, and what is derived. It reads as its declaration where
/// nothing is derived: `guest.cores`.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Which kind of guest it is.
    pub kind: GuestKind,
    /// As it is declared.
    pub spec: Arc<model::Container>,
    /// Its id.
    pub id: u32,
    /// Network devices by slot.
    pub nets: BTreeMap<u8, Nic>,
    /// Tags, Phoenix' own included, lower case.
    pub tags: BTreeSet<String>,
    /// Name servers; the node's own settings where empty.
    pub nameservers: Vec<Ipv4Addr>,
    /// Search domain.
    pub searchdomain: String,
    /// Its first fixed address.
    pub address: Option<Ipv4Addr>,
    /// What is installed in it, in order.
    pub features: Vec<Feature>,
}

impl std::ops::Deref for Guest {
    type Target = model::Container;
    fn deref(&self) -> &model::Container {
        &self.spec
    }
}

impl Guest {
    /// Where things are that are in it.
    pub fn host(&self) -> Host {
        Host::Guest(self.kind, self.name.clone())
    }

    /// Its resource address.
    pub fn resource(&self) -> Address {
        Address::new(self.kind.as_str(), &self.name)
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

/// A resource of a kind that nobody else looks into: what its own manager makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// What is wanted, as its manager wants it: opaque here.
    pub wanted: Arc<Value>,
    /// What must be there first.
    pub needs: Vec<Address>,
    /// Where it is declared.
    pub declared: Option<Place>,
}

/// A feature on a guest, rendered.
#[derive(Debug, Clone)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Fingerprint of all it renders to.
    pub fingerprint: String,
    /// What it renders to, as its crew wants it: opaque here.
    pub payload: Arc<Value>,
    /// Where its use is declared.
    pub declared: Option<Place>,
    /// Features of a later stage wait for the guest's certificates, which need what the earlier stage puts in place.
    pub stage: u8,
}

/// What Phoenix looks after on the node itself: the certificate that its API shows.
#[derive(Debug, Clone)]
pub struct Hypervisor {
    /// The certificate. What is served is on the node's loopback address: whoever asks for it is on the node.
    pub certificate: Certificate,
    /// What puts it in place and renews it, rendered for the node, in order.
    pub features: Vec<Feature>,
    /// Where it is declared.
    pub declared: Place,
}

/// Who signs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    pub domain: String,
    /// The longest life of a certificate.
    pub life: Duration,
    /// Fingerprint of the root and of the above: when it changes, its intermediate certificate is made anew.
    pub fingerprint: String,
}

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
    /// The host names clients use, the first one leading.
    pub hosts: Vec<String>,
    /// Names of a public domain.
    pub public: Vec<String>,
    /// The address of its guest.
    pub address: Ipv4Addr,
    /// The port on its guest.
    pub port: u16,
    /// What it speaks there.
    pub speaks: Speaks,
    /// The proxy that serves it; `None`: clients go to the guest itself.
    pub via: Option<Via>,
    /// The name in its guest's own certificate, which its proxy verifies. `None` where the guest has none.
    pub upstream_name: Option<String>,
    /// Whether its proxy shows it a certificate.
    pub mutual: bool,
    /// Whether clients must show a certificate of the workshop to its proxy.
    pub client_certificate: bool,
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
    /// How many requests a client may make: `10/s`.
    pub rate: Option<String>,
    /// How many more are let through at once.
    pub burst: u32,
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

    /// The gateway that serves it, if one does.
    pub fn gateway(&self) -> Option<&Via> {
        self.via.as_ref().filter(|via| via.kind == ViaKind::Gateway)
    }

    /// The address and port clients connect to.
    pub fn entrance(&self) -> (Ipv4Addr, u16) {
        self.via.as_ref().map_or((self.address, self.port), |via| (via.address, via.port))
    }
}

/// The firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Whether everything is dropped that no flow allows, inside too.
    pub zero_trust: bool,
    /// From where the node may always be managed.
    pub management: Vec<Ipv4Cidr>,
    /// The subnets of the site: what is inside.
    pub subnets: Vec<Ipv4Cidr>,
}

/// Something that may flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Its name, which its rules carry: letters, digits, `.` and `-`.
    pub id: String,
    /// Where it begins.
    pub from: End,
    /// Where it goes.
    pub to: End,
    /// What it is carried by.
    pub protocol: Transport,
    /// The ports at its end.
    pub ports: Vec<u16>,
    /// Why.
    pub reason: String,
}

/// An end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Everybody who is no guest of the site.
    Outside,
    /// All guests of the site.
    Inside,
    /// A node, or a guest.
    Host(Host),
    /// A subnet.
    Net(Ipv4Cidr),
}

impl End {
    /// The node that answers.
    pub const THE_NODE: Self = Self::Host(Host::THE_NODE);

    /// The guest's name, where it is one.
    pub fn guest(&self) -> Option<&GuestName> {
        match self {
            Self::Host(host) => host.guest(),
            _ => None,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outside => f.write_str("outside"),
            Self::Inside => f.write_str("inside"),
            Self::Host(host) => write!(f, "{host}"),
            Self::Net(net) => write!(f, "{net:#}"),
        }
    }
}

/// What a flow is carried by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// As in rules: `tcp`, `udp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
