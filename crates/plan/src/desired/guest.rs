//! Guests, definite, with what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use blueprint::model::{self, Location, Startup};
use blueprint::values::Bridge;
use cidr::Ipv4Cidr;
use serde_json::Value;

use crate::address::Address;
use crate::host::{GuestKind, Host};

/// A guest, definite: as it is declared, shared with the blueprint, and what is derived. It reads as its declaration where
/// nothing is derived: `guest.cores`.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Which kind of guest it is.
    pub kind: GuestKind,
    /// As it is declared.
    pub spec: Arc<model::Guest>,
    /// Its id.
    pub id: u32,
    /// Whether it becomes a template, which others are clones of, and never runs again.
    pub golden: bool,
    /// Network devices by slot.
    pub nets: BTreeMap<u8, Nic>,
    /// Tags, Phoenix' own included, as they are spelled: capitals make no difference between two.
    pub tags: BTreeSet<String>,
    /// Name servers; the node's own settings where empty.
    pub nameservers: Vec<Ipv4Addr>,
    /// Search domains, as they are written: one blank between two. Empty leaves it to the node.
    pub searchdomain: String,
    /// Its first fixed address.
    pub address: Option<Ipv4Addr>,
    /// Its place in the order of starts: as it is declared, and else by who needs whom.
    pub startup: Startup,
    /// What is installed in it, in order.
    pub features: Vec<Feature>,
}

impl std::ops::Deref for Guest {
    type Target = model::Guest;
    fn deref(&self) -> &model::Guest {
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
#[derive(Debug, Clone, PartialEq)]
pub struct Nic {
    /// Device name inside.
    pub name: String,
    /// Bridge on the node.
    pub bridge: Bridge,
    /// MAC, `BC:24:11:…` form in capitals.
    pub mac: String,
    /// `10.0.0.5/24` or `dhcp`.
    pub ip: String,
    /// The subnet it is in; none where its bridge alone is known.
    pub subnet: Option<Ipv4Cidr>,
    /// Gateway.
    pub gateway: Option<Ipv4Addr>,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// Filtered by Proxmox' firewall.
    pub firewall: bool,
    /// MTU.
    pub mtu: Option<u32>,
    /// The most it sends, and receives, in MiB each second.
    pub rate: Option<f64>,
    /// Whether it is cut off; nobody says where absent.
    pub link_down: Option<bool>,
    /// The model, of a virtual machine's; `virtio` where absent.
    pub model: Option<String>,
    /// How many queues it has, of a virtual machine's.
    pub queues: Option<u32>,
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
    pub declared: Option<Location>,
    /// Features of a later stage wait for the guest's certificates, which need what the earlier stage puts in place.
    pub stage: u8,
}
