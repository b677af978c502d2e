//! The blueprint as the rest of Phoenix reads it: many files merged, guest types and defaults worked in, references
//! resolved. Nothing here is derived from other things yet (that is wiring, in the `plan` crate), and nothing is
//! secret: secrets are references.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde_json::Value;

use crate::catalog::Feature;
use crate::names::{GuestName, NodeName};
use crate::values::{Bridge, Domain, Label};

mod gpu;
mod guest;
mod kernel;
mod link;
mod machine;
mod share;
mod stack;
mod storage;
mod zfs;

pub use gpu::{GPU_NODES, Gpu, GpuUse, Installer, NVIDIA_DRIVER, VFIO, memory_of, shared};
pub use guest::{
    Container, Disk, Guest, GuestKind, Mount, MountSource, Nic, NicAddress, Of, Owner, Startup, gib,
};
pub use kernel::{KERNEL, Kernel};
pub use link::{Link, LinkIs, Port};
pub use machine::{Bus, Efi, Enter, Passed, Slot, User, Vm, VmDisk};
pub use share::{Export, NFS_SERVER, Named, SAMBA, SHARE_FOLDERS, SHARE_MOUNTS, Share, SharedMount, Smb};
pub use stack::{DOCKER, LONGEST, STACK, Stack};
pub use storage::{Place, STORAGE_TYPES, Storage, StorageType};
pub use zfs::{Dataset, Encryption, KEYS, Layout, Pool, REPLICA, SCHEDULE, SCRUB, SNAPSHOTS};

/// The feature with which guests renew certificates by themselves. Wiring adds it where it is needed.
pub const RENEWS: &str = "certificates";

/// What a feature `provides` that fetches packages for all guests, and the derived parameter that holds its address.
pub const PACKAGE_CACHE: &str = "package-cache";

/// The feature with which guests trust the workshop's root.
pub const TRUSTS: &str = "trusted-ca";

/// Where something is written: a file of the site, with line and column counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub struct Location {
    /// The file, relative to the site's folder.
    pub file: Utf8PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The guests of a site, by name.
pub type Guests = BTreeMap<GuestName, Arc<Guest>>;

/// A whole site, checked: what a person wants, with every default filled in.
#[derive(Debug, Clone)]
pub struct Blueprint {
    /// The site's folder (absolute).
    pub root: Utf8PathBuf,
    /// Name, domain, time zone.
    pub site: Site,
    /// What it is built on.
    pub target: Target,
    /// How certificates are made.
    pub certificates: CertificateSettings,
    /// What Phoenix looks after on the node.
    pub hypervisor: Option<Hypervisor>,
    /// The firewall, where Phoenix looks after it.
    pub firewall: Option<Firewall>,
    /// The flows that are declared, by name.
    pub flows: BTreeMap<String, Flow>,
    /// The networks, by name.
    pub networks: BTreeMap<String, Network>,
    /// The storages, by name.
    pub storages: BTreeMap<String, Arc<Storage>>,
    /// The container templates, by name.
    pub templates: BTreeMap<String, Arc<Image>>,
    /// The images of virtual machines, by name.
    pub images: BTreeMap<String, Arc<Image>>,
    /// The guests, by name.
    pub guests: Guests,
    /// The stacks, by name. Their services are among those of their guests.
    pub stacks: BTreeMap<String, Arc<Stack>>,
    /// Which image a name stands for in stacks: its digest.
    pub image_digests: BTreeMap<String, String>,
    /// Every feature that is used anywhere, by name, with its files.
    pub features: BTreeMap<String, Arc<Feature>>,
}

impl Blueprint {
    /// Whether a guest becomes a template, which others are clones of.
    pub fn is_golden(&self, guest: &GuestName) -> bool {
        let all = self.templates.values().chain(self.images.values());
        all.into_iter().any(|image| matches!(&image.from, ImageFrom::Golden(name) if name == guest))
    }
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The name, which marks everything Phoenix makes for it.
    pub name: Label,
    /// The domain all names of the site end in, e.g. `workshop.internal`.
    pub domain: Domain,
    /// IANA time zone of the guests, e.g. `Europe/Berlin`.
    pub timezone: Option<String>,
    /// The first and the last id for guests that declare none.
    pub ids: Option<(u32, u32)>,
    /// The sealed copy of what cannot be made again.
    pub sealed: Option<Sealed>,
    /// Where it is declared.
    pub declared: Location,
}

/// Where the copy of what cannot be made again is kept, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The file, below the site's folder.
    pub file: camino::Utf8PathBuf,
    /// The public keys that it is sealed to, as they were written; each is one.
    pub to: Vec<String>,
}

/// What the site is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Proxmox VE node or cluster.
    Proxmox(ProxmoxTarget),
    /// The lab on this machine, which tells its own address, token and keys.
    Lab(LabTarget),
}

/// How to reach a Proxmox VE node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxmoxTarget {
    /// `https://host:8006`.
    pub endpoint: String,
    /// The node guests are placed on; where absent, the one that answers.
    pub node: Option<NodeName>,
    /// An API token or a user's password.
    pub credential: Credential,
    /// How its certificate is checked.
    pub trust: Trust,
    /// How to run commands on it; where absent, only what the API can do is possible.
    pub ssh: Option<SshTarget>,
}

/// Who Phoenix is on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A secret that resolves to `user@realm!tokenid=uuid`.
    Token(SecretRef),
    /// A user such as `root@pam`, with the password.
    Ticket {
        /// `user@realm`.
        user: String,
        /// The password.
        password: SecretRef,
    },
}

/// How the node's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// By the authorities this machine trusts.
    System,
    /// By the SHA-256 fingerprint of the certificate, `AA:BB:…`, where it does not verify otherwise.
    Fingerprint(String),
    /// By this authority alone: a PEM file of the site.
    CaFile(Utf8PathBuf),
}

/// How to run commands on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshTarget {
    /// `user@host`.
    pub destination: String,
    /// The port, 22 by default.
    pub port: u16,
    /// A private key file; where absent, what the user's own ssh settings say.
    pub identity: Option<Utf8PathBuf>,
    /// The host key as in a known_hosts file, `ssh-ed25519 AAAA…`; where absent, the user's own known_hosts decide.
    pub host_key: Option<String>,
}

/// The lab as a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabTarget {
    /// The lab's folder; `.phoenix/lab` below the site by default.
    pub folder: Option<Utf8PathBuf>,
    /// Where it is published on 127.0.0.1.
    pub ports: LabPorts,
    /// How many nodes it has, 1 to 3, where that is declared; 1 by default.
    pub nodes: Option<u8>,
    /// Whether its node is a machine of its own, where that is declared.
    pub machine: Option<bool>,
}

/// The ports of 127.0.0.1 on which a lab is published, as far as they are declared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabPorts {
    /// The node's API.
    pub api: Option<u16>,
    /// The node's ssh.
    pub ssh: Option<u16>,
    /// HTTPS of the gateway.
    pub https: Option<u16>,
    /// TCP services, by name.
    pub services: BTreeMap<String, u16>,
}

/// A secret by reference, never by value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file of the site that only its owner can read.
    File(Utf8PathBuf),
    /// What a command prints (age, sops, pass).
    Command(Vec<String>),
    /// Made once, of so many random characters, and kept in the site's secret folder under this name.
    Generate(String),
}

impl SecretRef {
    /// What people call it: a generated one by its own name, others by where they are.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Generate(name) | Self::Env(name) => name.clone(),
            Self::File(path) => path.to_string(),
            Self::Command(argv) => argv.join(" "),
        }
    }
}

/// How the workshop's certificates are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// Life of a leaf; renewed when two thirds of it have passed. 90 days by default.
    pub life: Duration,
    /// Who signs them.
    pub authority: Authority,
    /// The public authority.
    pub acme: Option<Acme>,
    /// Names for which whoever answers may have a certificate of the site's own authority by ACME, as they are written.
    pub acme_names: Vec<Domain>,
}

/// Who signs the workshop's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Phoenix itself.
    Embedded,
    /// The container that provides `ca`.
    StepCa,
}

/// A public authority that speaks ACME.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The address of its directory.
    pub directory: String,
    /// Where it writes to.
    pub email: Option<String>,
    /// `http-01` or `dns-01`.
    pub challenge: Challenge,
    /// For `dns-01`: the program that sets the record.
    pub hook: Option<SiteFile>,
    /// PEM of the root its address is verified with, where it is no public one.
    pub root: Option<String>,
}

/// How ACME proves that a name is yours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// A page on port 80.
    Http01,
    /// A record in the DNS.
    Dns01,
}

impl Challenge {
    /// As RFC 8555 names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
        }
    }
}

/// What the node is called below the site's domain where nothing is said.
pub const PVE: &str = "pve";

/// The node that the site is built on, as far as Phoenix looks after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypervisor {
    /// Whether its API shows a certificate of the workshop.
    pub certificate: bool,
    /// Its name below the site's domain; `pve` by default.
    pub hostname: Label,
    /// The address that the name leads to, where that is known.
    pub address: Option<Ipv4Addr>,
    /// What is installed on it, what one requires before it.
    pub features: Vec<FeatureUse>,
    /// Its pools of ZFS, by name.
    pub zfs: BTreeMap<String, Arc<Pool>>,
    /// Its graphics cards, by name.
    pub gpus: BTreeMap<String, Arc<Gpu>>,
    /// Its kernel.
    pub kernel: Kernel,
    /// Its links that are declared, by name.
    pub network: BTreeMap<String, Link>,
    /// Its folders that others use, by name.
    pub shares: BTreeMap<String, Arc<Share>>,
    /// Where it is declared.
    pub declared: Location,
}

/// The firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Whether everything is dropped that no flow allows, inside too.
    pub zero_trust: bool,
    /// From where the node may always be managed.
    pub management: Vec<cidr::Ipv4Cidr>,
    /// Where guests fetch packages from: from outside, unless something else is said.
    pub packages: Vec<FlowEnd>,
}

/// A flow that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Where it begins.
    pub from: FlowEnd,
    /// Where it goes.
    pub to: FlowEnd,
    /// UDP rather than TCP.
    pub udp: bool,
    /// The ports at its end.
    pub ports: Vec<u16>,
    /// Why.
    pub reason: String,
    /// Where it is declared.
    pub declared: Location,
}

/// An end of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowEnd {
    /// A guest, by name.
    Guest(GuestName),
    /// All guests of the site.
    Inside,
    /// Everybody who is no guest of the site.
    Outside,
    /// A subnet.
    Net(cidr::Ipv4Cidr),
}

impl FlowEnd {
    /// Whether it is, or may be, this guest.
    pub fn meets(&self, guest: &Guest) -> bool {
        match self {
            Self::Guest(name) => *name == guest.name,
            Self::Inside => true,
            Self::Outside => false,
            Self::Net(net) => guest.nets.values().any(|nic| match nic.address {
                NicAddress::Static(inet) => net.contains(&inet.address()),
                NicAddress::Dhcp => false,
            }),
        }
    }
}

/// A network guests can be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The bridge on the node, e.g. `vmbr0`.
    pub bridge: Bridge,
    /// The subnet, as the address of its first host or net, e.g. `10.0.0.0/24`.
    pub subnet: cidr::Ipv4Cidr,
    /// The gateway's address.
    pub gateway: Option<Ipv4Addr>,
    /// VLAN tag, 1 to 4094.
    pub vlan: Option<u16>,
    /// The name servers guests ask; where empty, the node's own settings are used.
    pub nameservers: Vec<Ipv4Addr>,
    /// Where it is declared.
    pub declared: Location,
}

/// What guests are made of or started from: a file on a storage of their node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name it is declared under.
    pub name: String,
    /// What it is, which says where on a storage it lies.
    pub content: Content,
    /// Where it comes from.
    pub from: ImageFrom,
    /// The storage it is put on, where that is said.
    pub storage: Option<String>,
    /// Where it is declared.
    pub declared: Location,
}

/// What an image is, as Proxmox VE sorts what is on a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Content {
    /// A container template.
    #[serde(rename = "vztmpl")]
    Template,
    /// A disk image, which a disk is made of.
    #[serde(rename = "import")]
    Disk,
    /// A CD.
    #[serde(rename = "iso")]
    Iso,
}

impl Content {
    /// As in a storage's `content`, and in volume ids.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "vztmpl",
            Self::Disk => "import",
            Self::Iso => "iso",
        }
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFrom {
    /// The node's catalogue of templates: the newest whose file name begins so.
    Catalogue(String),
    /// The web: the node fetches it.
    Url {
        /// From where.
        url: String,
        /// Its SHA-256, lower case.
        sha256: Option<String>,
        /// Its name on the storage.
        stored: String,
    },
    /// The site's folder: it is uploaded.
    File {
        /// Below the site's folder.
        path: Utf8PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Its SHA-256, lower case.
        sha256: Option<String>,
        /// Its name on the storage.
        stored: String,
    },
    /// A guest of the blueprint, which becomes a template that others are clones of.
    Golden(GuestName),
    /// A guest that is there, by its id, which others are clones of. It is somebody's.
    Guest(u32),
}

impl ImageFrom {
    /// Whether what is made of it is a clone of a guest.
    pub fn is_cloned(&self) -> bool {
        matches!(self, Self::Golden(_) | Self::Guest(_))
    }
}

/// A feature used on a guest.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureUse {
    /// The feature's name.
    pub name: String,
    /// Its parameters as declared, checked against the feature's description, defaults not yet filled in.
    pub parameters: BTreeMap<String, Value>,
    /// For parameters of the type `folder` or `file`: what they hold, read when the blueprint was.
    pub contents: BTreeMap<String, Vec<SiteFile>>,
    /// Where it is declared.
    pub declared: Location,
}

/// A file of the site that is to appear in a guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SiteFile {
    /// Path below the folder it belongs to, with `/`.
    pub path: String,
    /// What it holds.
    pub bytes: Arc<[u8]>,
    /// Whether it can be executed.
    pub executable: bool,
}

/// A service that a guest runs, declared once; everything between a client and it is derived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name; with the site's domain, the name clients use.
    pub name: String,
    /// The stack whose containers it is, where it is one's.
    pub stack: Option<String>,
    /// The TCP port it listens on inside its guest.
    pub port: u16,
    /// Whether it speaks `http` or `https` there.
    pub protocol: Protocol,
    /// How clients get to it.
    pub expose: Expose,
    /// The container that is its gateway; where absent, the only one there is.
    pub gateway: Option<GuestName>,
    /// Further names, complete or below the site's domain.
    pub aliases: Vec<Domain>,
    /// Names of a public domain, complete.
    pub public: Vec<Domain>,
    /// For TCP through the gateway: the gateway's port.
    pub listen: u16,
    /// For TCP through the gateway: whether clients speak TLS there.
    pub tls: bool,
    /// Whether its proxy shows it a certificate.
    pub mutual: bool,
    /// Whether its proxy verifies who it is.
    pub verify: bool,
    /// Whether a connection to it may become a WebSocket.
    pub websocket: bool,
    /// Whether the gateway says how its pages may be shown, where it says nothing itself.
    pub security_headers: bool,
    /// Users with their passwords, at the gateway.
    pub users: BTreeMap<String, SecretRef>,
    /// Whether clients must show a certificate of the workshop.
    pub client_certificate: bool,
    /// Whose: containers, and complete names; everybody's where there are none.
    pub client_names: Vec<Domain>,
    /// Whether others may go around its proxy.
    pub bypass: bool,
    /// How much of it a client gets.
    pub limits: Limits,
    /// The path that tells whether it works, `/` by default.
    pub probe_path: String,
    /// The status that path answers with; any below 400 where absent.
    pub probe_status: Option<u16>,
    /// Where it is declared.
    pub declared: Location,
}

/// What a service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// Anything else over TCP.
    Tcp,
}

/// How much of a service a client gets through its proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest request in MiB, 0 for any; the proxy's own default where absent.
    pub body_mib: Option<u64>,
    /// The largest head of a request or an answer in bytes; the proxy's own default where absent.
    pub headers: Option<u64>,
    /// How long the service may be silent; the proxy's own default where absent.
    pub timeout: Option<Duration>,
    /// How many requests a client may make, as it is written: `10/s`.
    pub rate: Option<crate::values::Rate>,
    /// How many more are let through at once.
    pub burst: u32,
}

/// How clients get to a service: a name has exactly one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expose {
    /// By the guest's own address.
    Direct,
    /// Through the gateway, over HTTPS.
    Gateway,
    /// Through the mesh, over TLS, from inside the workshop.
    Mesh,
    /// Not at all: only its guest knows it.
    None,
}
