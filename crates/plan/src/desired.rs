//! The desired state: the blueprint with everything derived worked in. Every id, MAC, address, name and order is
//! definite here, before anything is contacted (T-4, T-8). A file for each subject.

mod certificate;
mod flow;
mod guest;
mod image;
mod service;
mod stack;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use blueprint::model::Location;
use blueprint::names::{GuestName, NodeName};
use blueprint::values::Domain;
use serde_json::Value;

pub use certificate::{Authority, Certificate, HYPERVISOR, Issuer, Served};
pub use flow::{End, Firewall, Flow, Transport};
pub use guest::{Feature, Guest, Nic};
pub use image::Image;
pub use service::{Limits, Rate, Service, Speaks, Via, ViaKind};
pub use stack::Stack;

use crate::address::Address;
use crate::graph::{EdgeKind, Graph};
use crate::host::{GuestKind, Host};

/// All that is to be.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// The site's name.
    pub site: String,
    /// The domain names end in.
    pub domain: Domain,
    /// The node guests are placed on; the one that answers where absent.
    pub node: Option<NodeName>,
    /// The guests, by name.
    pub guests: BTreeMap<GuestName, Guest>,
    /// The certificates, by name.
    pub certificates: BTreeMap<String, Certificate>,
    /// The certificate of the node itself, and what keeps it there.
    pub hypervisor: Option<Hypervisor>,
    /// What is installed on the node itself, in order.
    pub on_node: Vec<Feature>,
    /// The pools of ZFS on the node, by name.
    pub pools: BTreeMap<String, Arc<blueprint::model::Pool>>,
    /// The graphics cards of the node, by name.
    pub gpus: BTreeMap<String, Arc<blueprint::model::Gpu>>,
    /// The folders of the node that others use, by name.
    pub shares: BTreeMap<String, Arc<blueprint::model::Share>>,
    /// The services, by name.
    pub services: BTreeMap<String, Service>,
    /// The stacks of Docker containers, by name.
    pub stacks: BTreeMap<String, Stack>,
    /// The storages of the datacenter, by name.
    pub storages: BTreeMap<String, Arc<blueprint::model::Storage>>,
    /// The templates and images that the blueprint declares, where they are to be.
    pub images: BTreeMap<Address, Image>,
    /// What every name resolves to inside the workshop.
    pub names: BTreeMap<String, Ipv4Addr>,
    /// What names resolve to for those outside: only what they may use is there.
    pub outside_names: BTreeMap<String, Ipv4Addr>,
    /// The certificate authority in a guest; Phoenix' own signs where absent.
    pub authority: Option<Authority>,
    /// The workshop's roots of before, by fingerprint: a mark that names one of them is to name the present one.
    pub roots_before: BTreeSet<String>,
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

    /// The gateway that is meant where a person says "the gateway": the first that serves something. A lab publishes its
    /// HTTPS.
    pub fn front_door(&self) -> Option<&GuestName> {
        self.services.values().filter_map(Service::gateway).map(|via| &via.on).min()
    }

    /// The guest that this address is the one of.
    pub fn guest(&self, address: &Address) -> Option<&Guest> {
        GuestKind::of_word(address.kind())?;
        self.guests.get(address.name()).filter(|guest| guest.kind.as_str() == address.kind())
    }

    /// The address of the guest of this name; a container's where there is none of that name.
    pub fn called(&self, guest: &str) -> Address {
        self.guests.get(guest).map_or_else(|| Address::container(guest), Guest::resource)
    }

    /// The guest of this name as a host; a container where there is none of that name.
    pub fn host_called(&self, guest: &str) -> Host {
        self.guests.get(guest).map_or_else(|| Host::container(guest), Guest::host)
    }

    /// Whether the guest of this name is to be off: what is in it waits until it runs.
    pub fn is_off(&self, guest: &str) -> bool {
        self.guests.get(guest).is_some_and(|guest| !guest.started)
    }

    /// Whether something is on a guest that is to be off.
    pub fn is_on_off(&self, host: &Host) -> bool {
        host.guest().is_some_and(|guest| self.is_off(guest))
    }

    /// All features with their addresses: those of guests, and those of the node.
    pub fn features(&self) -> impl Iterator<Item = (Address, &Feature)> {
        let on = |host: Host| move |feature: &'_ Feature| Address::feature(&feature.name, &host);
        let of_guests = self.guests.values().flat_map(move |guest| {
            let address = on(guest.host());
            guest.features.iter().map(move |feature| (address(feature), feature))
        });
        of_guests.chain(self.on_node.iter().map(move |feature| (on(Host::THE_NODE)(feature), feature)))
    }

    /// The id of the guest that this address is the one of.
    pub fn id_of(&self, address: &Address) -> Option<u32> {
        self.guest(address).map(|guest| guest.id)
    }
}

/// A resource of a kind that nobody else looks into: what its own manager makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// What is wanted, as its manager wants it: opaque here.
    pub wanted: Arc<Value>,
    /// What must be there first.
    pub needs: Vec<Address>,
    /// Where it is declared.
    pub declared: Option<Location>,
}

/// What Phoenix looks after on the node itself: the certificate that its API shows.
#[derive(Debug, Clone)]
pub struct Hypervisor {
    /// The certificate. What is served is on the node's loopback address: whoever asks for it is on the node.
    pub certificate: Certificate,
    /// What puts it in place and renews it, rendered for the node, in order.
    pub features: Vec<Feature>,
    /// Where it is declared.
    pub declared: Location,
}
