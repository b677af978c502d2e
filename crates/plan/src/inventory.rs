//! What was observed on the target. It may be partial, and then says what could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cidr::Ipv4Inet;

use crate::address::Address;
use crate::mark::Mark;

/// Everything a plan is made against.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// The node that answered, where guests are placed unless the blueprint says otherwise.
    pub node: String,
    /// All nodes of the cluster.
    pub nodes: BTreeSet<String>,
    /// Every guest of the cluster, whoever made it, by id.
    pub guests: BTreeMap<u32, Guest>,
    /// The storages of `node`.
    pub storages: BTreeMap<String, Storage>,
    /// The container templates `node` has, as volume ids.
    pub templates: BTreeSet<String>,
    /// The resource pools.
    pub pools: BTreeSet<String>,
    /// Whether commands can be run on the node (ssh).
    pub commands: bool,
    /// What could not be read, and why.
    pub unread: Vec<Unread>,
    /// The firewall's files as they are: `cluster.fw`, `101.fw`, and `host:NODE` for each node's own. Empty without
    /// commands on the node.
    pub firewall: BTreeMap<String, String>,
    /// The node's addresses with the lengths of their prefixes. Empty without commands on the node.
    pub addresses: Vec<Ipv4Inet>,
    /// How Phoenix comes to the node over ssh, as the node sees it.
    pub way_in: Option<WayIn>,
    /// What was done on the node itself, as it remembers it. `None` without commands on the node, too.
    pub hypervisor: Option<Mark>,
    /// What was found not to be as its mark says, where somebody looked: each difference as a sentence, by resource. What
    /// nobody looked at is taken on trust.
    pub found: BTreeMap<Address, Vec<String>>,
    /// The site whose change of the firewall waits to be confirmed, and is taken back otherwise.
    pub unconfirmed: Option<String>,
}

/// How Phoenix comes to a node over ssh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayIn {
    /// The address it comes from.
    pub client: IpAddr,
    /// The port it comes to.
    pub port: u16,
}

/// A guest of the cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guest {
    /// The id.
    pub id: u32,
    /// Whether it is a virtual machine rather than a container.
    pub vm: bool,
    /// The node it is on.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether it is a template.
    pub template: bool,
    /// What holds it, e.g. `create`, `backup`.
    pub lock: Option<String>,
    /// The resource pool it is in.
    pub pool: Option<String>,
    /// The current configuration as in its file, without the description; `None` when it could not be read.
    pub config: Option<BTreeMap<String, String>>,
    /// What waits for a restart: key to new value, `None` for keys that will go.
    pub pending: BTreeMap<String, Option<String>>,
    /// SHA-1 of its configuration file.
    pub digest: String,
    /// The description without Phoenix' block.
    pub text: String,
    /// Phoenix' block.
    pub mark: Option<Mark>,
    /// Bytes of disk in use, where known.
    pub disk_used: Option<u64>,
}

/// A storage of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Storage {
    /// What it may hold: `rootdir`, `vztmpl`, `images`, …
    pub content: BTreeSet<String>,
    /// Whether it can be used now.
    pub active: bool,
    /// Free bytes.
    pub available: Option<u64>,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Inventory {
    /// The guests that carry this site's mark.
    pub fn of_site<'a>(&'a self, site: &'a str) -> impl Iterator<Item = &'a Guest> {
        self.guests.values().filter(move |g| g.mark.as_ref().is_some_and(|m| m.site == site))
    }
}
