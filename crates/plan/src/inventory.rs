//! What was observed on the target. It may be partial, and then says what could not be read.

pub mod zfs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cidr::Ipv4Inet;

use crate::address::Address;
use crate::mark::{Mark, Read};
use crate::trust::Claim;

/// Everything a plan is made against.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inventory {
    /// The node that answered, where guests are placed unless the blueprint says otherwise.
    pub node: String,
    /// The node that commands lead to, as it knows itself: mostly the same as `node`, and another one where the API is
    /// asked at one node of a cluster and ssh leads to the next. `None` without commands, and where it does not tell.
    pub reached: Option<String>,
    /// All nodes of the cluster, with what is known of each.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// Every guest of the cluster, whoever made it, by id.
    pub guests: BTreeMap<u32, Guest>,
    /// The resource pools.
    pub pools: BTreeSet<String>,
    /// Whether commands can be run (ssh): on the node that is reached, and from there on every other one.
    pub commands: bool,
    /// What could not be read, and why.
    pub unread: Vec<Unread>,
    /// The firewall's files as they are: `cluster.fw`, `101.fw`, and `host:NODE` for each node's own. Empty without
    /// commands on the node.
    pub firewall: BTreeMap<String, String>,
    /// What was found not to be as its mark says, where somebody looked: each difference as a sentence, by resource. What
    /// nobody looked at is taken on trust.
    pub found: BTreeMap<Address, Vec<String>>,
    /// What somebody wants ended that was given out, since it may have been taken.
    pub rotated: Rotated,
    /// Whether the key of the site's root is kept elsewhere, so that nothing new can be given the right to sign here.
    pub root_away: bool,
    /// What the secrets of features that were applied are now, by the feature's address and what stands for the secret.
    pub secrets: BTreeMap<Address, BTreeMap<String, Secret>>,
    /// What guests are to have of their node that it does not have, by node: `folder:PATH`, `device:PATH`, `link:NAME`,
    /// `script:VOLUME`, `mapping:KIND/NAME`, the last with `@` behind it where it is there and has nothing on this node. Looked for
    /// is only what is new to a guest.
    pub absent: BTreeMap<String, BTreeSet<String>>,
    /// The site whose change of the firewall waits to be confirmed, and is taken back otherwise.
    pub unconfirmed: Option<String>,
    /// What is of the datacenter, and of none of its nodes.
    pub datacenter: Datacenter,
}

/// What is known of the datacenter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Datacenter {
    /// Its notes, where they were shown: that takes a privilege.
    pub notes: Option<String>,
    /// What the site has there, as its notes say and the site's key vouches for; or another site's mark that cannot be read here.
    pub mark: Option<Mark>,
    /// What they say, where that is not believed.
    pub claim: Option<Claim>,
    /// The definitions of storages that were shown, by name. `None` where nobody asked, or they could not be read: they are asked
    /// for where the site declares storages, or has some.
    pub storages: Option<BTreeMap<String, Definition>>,
    /// The resource mappings of PCI devices that were shown, by name, with what each is on its nodes. `None` where nobody asked, or
    /// they could not be read: they are asked for where the site passes a graphics card through, or has done so.
    pub mappings: Option<BTreeMap<String, Vec<String>>>,
    /// What the nodes offer storages to be made of, by node and what was looked for (`zfs`, `lvm`, `lvmthin GROUP`, `nfs SERVER`):
    /// what there is, or why it could not be looked for. Only asked for storages that are to be made.
    pub offers: BTreeMap<(String, String), Result<BTreeSet<String>, String>>,
    /// The guests that have volumes on a storage of the site's that may have to go, by storage.
    pub holds: BTreeMap<String, BTreeSet<u32>>,
}

/// The definition of a storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// Its type: `dir`, `zfspool`, …
    pub kind: String,
    /// Its options, as they stand in the cluster's configuration.
    pub options: BTreeMap<String, String>,
}

/// What a secret is now, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// What people call it.
    pub name: String,
    /// What is known of its value.
    pub now: SecretNow,
}

/// What is known of a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretNow {
    /// The code that the site's key makes of it.
    Code(String),
    /// It is one that Phoenix makes, and is not there.
    Missing,
    /// It could not be had here: why.
    Unknown(String),
}

/// What was given out and may have been taken: it is made anew, and what there was is no longer renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Guests whose certificates, and keys with which they ask for them, are made anew.
    pub guests: BTreeSet<String>,
    /// Whether all certificates are signed with another key.
    pub intermediate: bool,
    /// Whether what signs certificates gets another key. It does for a guest alone, too, so that what is signed for it from
    /// then on can be told from what it had; unless the root's key is kept elsewhere.
    pub signer: bool,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeFacts {
    /// Whether the cluster sees it. Where it does not, nothing on it can be changed.
    pub online: bool,
    /// The address that the cluster knows it under; not asked for where it is the only node.
    pub address: Option<IpAddr>,
    /// Its storages. Empty where they could not be read.
    pub storages: BTreeMap<String, Storage>,
    /// The container templates it has, as volume ids.
    pub templates: BTreeSet<String>,
    /// The images of virtual machines it has, disk images and ISOs, as volume ids. Only read where the
    /// site declares some, or names one for a guest that is to be made.
    pub images: BTreeSet<String>,
    /// The storages whose images were read, each with what was read of it: `import`, `iso`.
    pub listed: BTreeSet<(String, String)>,
    /// The sizes of those templates and images, in bytes.
    pub sizes: BTreeMap<String, u64>,
    /// The templates that its catalogue has, by file name, with the section that each is in. `None` where nobody asked, or where
    /// it could not be read: it is asked where a template that is wanted is not there.
    pub catalogue: Option<BTreeMap<String, String>>,
    /// Its addresses with the lengths of their prefixes. Known of the node alone that commands lead to.
    pub addresses: Vec<Ipv4Inet>,
    /// How Phoenix comes to it over ssh, as it sees it. Known of the node alone that commands lead to.
    pub way_in: Option<WayIn>,
    /// What kinds have looked at on it, by the name of each look: what was printed, or, where it could not tell, what it printed
    /// until then. Its kind alone reads it. Known of the node alone that commands lead to.
    pub looked: BTreeMap<String, Result<String, String>>,
    /// What was done on it, as it remembers it. Known of the node alone that commands lead to.
    pub hypervisor: Option<Mark>,
    /// The same as it was read, until somebody has found out whose it is ([`Inventory::judge`]).
    pub read: Option<Read>,
    /// What it remembers says that it is the site's, and the site's key did not make it: why.
    pub claim: Option<Claim>,
    /// Whether it was made before the site had a key, and is still to be sealed.
    pub old: bool,
    /// Its pools, datasets and disks. Known of the node alone that commands lead to; `None` where it has no ZFS.
    pub zfs: Option<zfs::Zfs>,
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
    /// Phoenix' block as it was read, until somebody has found out whose it is ([`Inventory::judge`]).
    pub read: Option<Read>,
    /// The mark: the site's own, which its key made, or another site's.
    pub mark: Option<Mark>,
    /// What its mark calls it, where it has another name by now ([`crate::Trust::with_renamed`]).
    pub was: Option<Address>,
    /// What it says it is, where that is not believed.
    pub claim: Option<Claim>,
    /// Whether its mark is of before the site had a key, and is still to be sealed.
    pub old: bool,
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
    /// All its bytes, where they are known.
    pub total: Option<u64>,
    /// As in `dir`, `zfspool`; empty where nobody said it.
    pub kind: String,
    /// Whether all nodes see the same on it.
    pub shared: bool,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Of a node of which nothing is known.
static NOTHING: NodeFacts = NodeFacts {
    online: false,
    address: None,
    storages: BTreeMap::new(),
    templates: BTreeSet::new(),
    images: BTreeSet::new(),
    listed: BTreeSet::new(),
    sizes: BTreeMap::new(),
    catalogue: None,
    addresses: Vec::new(),
    way_in: None,
    looked: BTreeMap::new(),
    hypervisor: None,
    read: None,
    claim: None,
    old: false,
    zfs: None,
};

impl Inventory {
    /// What is known of a node; nothing where there is no such node.
    pub fn facts(&self, node: &str) -> &NodeFacts {
        self.nodes.get(node).unwrap_or(&NOTHING)
    }

    /// The node that commands lead to; the one that answered where that is not known.
    pub fn command_node(&self) -> &str {
        self.reached.as_deref().unwrap_or(&self.node)
    }

    /// What is known of the node that commands lead to.
    pub fn reached(&self) -> &NodeFacts {
        self.facts(self.command_node())
    }

    /// The same, to be changed.
    pub fn reached_mut(&mut self) -> &mut NodeFacts {
        let name = self.command_node().to_owned();
        self.nodes.entry(name).or_default()
    }

    /// Whether a node is known to be away.
    pub fn is_offline(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|facts| !facts.online)
    }

    /// The guests that carry this site's mark.
    pub fn of_site<'a>(&'a self, site: &'a str) -> impl Iterator<Item = &'a Guest> {
        self.guests.values().filter(move |g| g.mark.as_ref().is_some_and(|m| m.site == site))
    }
}
