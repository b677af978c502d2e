//! What a lab is to be like, and the names that follow from its folder.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use camino::{Utf8Path, Utf8PathBuf};
use cidr::Ipv4Cidr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;
use crate::node::Member;

/// One network of the site, made real inside the node: a bridge, with the gateway's address on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The bridge, such as `vmbr0`.
    pub bridge: String,
    /// The subnet.
    pub subnet: Ipv4Cidr,
    /// The address of the site's router. The lab's node answers for it: it routes, and passes name queries on.
    pub gateway: Ipv4Addr,
    /// The node's own address; the subnet's highest free one when none is given.
    pub node: Option<Ipv4Addr>,
}

impl Network {
    /// The node's own address in this network.
    pub fn node_address(&self) -> Ipv4Addr {
        self.address_of(0)
    }

    /// The address of the node at this place among the lab's: the first has [`node_address`](Self::node_address), each
    /// other the highest that is still free.
    pub fn address_of(&self, at: usize) -> Ipv4Addr {
        let last = u32::from(self.subnet.last_address());
        let free = (0..last).rev().map(Ipv4Addr::from).filter(|address| *address != self.gateway);
        match self.node {
            Some(own) if at == 0 => own,
            Some(own) => free.filter(|address| *address != own).nth(at - 1).unwrap_or(own),
            // The lowest there is, where a network has no room: nobody can do anything about that.
            None => free.take(at + 1).last().unwrap_or(self.gateway),
        }
    }
}

/// Where on 127.0.0.1 the lab is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The node's API.
    pub api: u16,
    /// The node's ssh.
    pub ssh: u16,
    /// HTTPS of one guest: the gateway.
    pub https: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { api: 8006, ssh: 8022, https: 8443 }
    }
}

impl Ports {
    /// Each with its name.
    pub fn named(self) -> [(&'static str, u16); 3] {
        [("api", self.api), ("ssh", self.ssh), ("https", self.https)]
    }
}

/// What a lab is to be like.
#[derive(Debug, Clone)]
pub struct LabSpec {
    /// The folder that holds all of it. Its absolute path decides the lab's names.
    pub folder: Utf8PathBuf,
    /// The node's name; the first one's, where there are more.
    pub node: String,
    /// The names of the other nodes, which form a cluster with it; see [`node_names`].
    pub others: Vec<String>,
    /// The site's networks.
    pub networks: Vec<Network>,
    /// Names of storages beside `local`.
    pub storages: Vec<String>,
    /// Where it is published.
    pub ports: Ports,
    /// Addresses that the site declares: DHCP gives them to nobody.
    pub reserved: BTreeSet<Ipv4Addr>,
    /// Which guest's HTTPS is published: can be changed later with [`super::publish_https`].
    pub https_target: Option<SocketAddrV4>,
    /// The program that runs on the node and as the forwarder: it must understand `lab serve`, `lab forward` and
    /// `lab node`. The running one when none is given.
    pub program: Option<Utf8PathBuf>,
    /// Where bases and templates are kept; see [`super::cache_folder`].
    pub cache: Utf8PathBuf,
    /// What the node has where it is a machine of its own; none where it is a container.
    pub machine: Option<super::MachineSpec>,
}

/// How many nodes a lab can have.
pub const MOST_NODES: u8 = 3;

/// What a lab's nodes are called: `pve1`, `pve2`, …
pub fn node_names(count: u8) -> Vec<String> {
    (1..=count.clamp(1, MOST_NODES)).map(|number| format!("pve{number}")).collect()
}

/// One node of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// Its name.
    pub name: String,
    /// Its place among the nodes; the first is the site's router, and has the way out.
    pub at: usize,
    /// The folder of its files: the lab's for the first, one below it for each other.
    pub folder: Utf8PathBuf,
    /// The networks, with its own address in each.
    pub networks: Vec<Network>,
}

impl NodePlan {
    /// Whether it is the first.
    pub(crate) fn is_first(&self) -> bool {
        self.at == 0
    }

    /// What its container is called.
    pub(crate) fn container(&self, names: &Names) -> String {
        if self.is_first() { names.id.clone() } else { format!("{}-{}", names.id, self.name) }
    }
}

/// Where the nodes of a lab beside the first have their files, in its folder.
pub(crate) const NODES: &str = "nodes";

impl LabSpec {
    /// All nodes, the first one first.
    pub(crate) fn nodes(&self) -> Vec<NodePlan> {
        nodes(&self.folder, &self.node, &self.others, &self.networks)
    }

    /// The nodes and their addresses, where there is more than one.
    pub(crate) fn members(&self) -> Vec<Member> {
        members(&self.node, &self.others, &self.networks)
    }
}

/// The nodes of the lab in `folder`, the first one first.
pub(crate) fn nodes(
    folder: &Utf8Path,
    first: &str,
    others: &[String],
    networks: &[Network],
) -> Vec<NodePlan> {
    let all = std::iter::once(first).chain(others.iter().map(String::as_str)).enumerate();
    all.map(|(at, name)| NodePlan {
        name: name.to_owned(),
        at,
        folder: if at == 0 { folder.to_owned() } else { folder.join(NODES).join(name) },
        networks: addresses(networks, at),
    })
    .collect()
}

/// The networks as the node at this place has them. A lab of one node has them as they are.
fn addresses(networks: &[Network], at: usize) -> Vec<Network> {
    let own = |network: &Network| match at {
        0 => network.clone(),
        at => Network { node: Some(network.address_of(at)), ..network.clone() },
    };
    networks.iter().map(own).collect()
}

/// The nodes of a cluster with their addresses in the first network; none for a node that is alone.
pub(crate) fn members(first: &str, others: &[String], networks: &[Network]) -> Vec<Member> {
    if others.is_empty() {
        return Vec::new();
    }
    let names = std::iter::once(first).chain(others.iter().map(String::as_str)).enumerate();
    let address = |at| networks.first().map_or(Ipv4Addr::LOCALHOST, |network| network.address_of(at));
    names.map(|(at, name)| Member { name: name.to_owned(), address: address(at).to_string() }).collect()
}

/// The names of one lab, which follow from its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The lab's id: container, cgroups, link and nft table are all called this. `phx-` and six hexadecimal digits.
    pub id: String,
    /// This machine's end of the uplink.
    pub outside: Ipv4Addr,
    /// The node's end of the uplink.
    pub inside: Ipv4Addr,
    /// The MAC of the node's end.
    pub mac: String,
}

/// The prefix of every lab's id.
pub(crate) const PREFIX: &str = "phx-";

impl Names {
    /// The names of the lab in `folder`. `attempt` counts up when another lab has the same ones already.
    ///
    /// The uplink's /30 lies in 198.19.0.0/16, half of the block that RFC 2544 keeps for benchmarks: in no home network,
    /// and not where mesh VPNs live (100.64.0.0/10).
    pub fn of(folder: &Utf8Path, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(folder.as_str().as_bytes());
        if attempt > 0 {
            hash.update(attempt.to_be_bytes());
        }
        let hash = hash.finalize();
        let base = 0xC613_0000 | (u32::from(u16::from_be_bytes([hash[3], hash[4]])) & !3);
        Self {
            id: format!("{PREFIX}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2]),
            outside: Ipv4Addr::from(base + 1),
            inside: Ipv4Addr::from(base + 2),
            mac: format!(
                "02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
                hash[5], hash[6], hash[7], hash[8], hash[9]
            ),
        }
    }

    /// The uplink's subnet, for the address translation.
    pub fn uplink(&self) -> String {
        format!("{}/30", Ipv4Addr::from(u32::from(self.outside) - 1))
    }
}

/// Checks that a path can stand in LXC's configuration, where space, colon and comma separate.
pub(crate) fn check_folder(folder: &Utf8Path) -> Result<(), Error> {
    let refused = |why| Err(Error::Folder { folder: folder.to_owned(), why });
    if !folder.is_absolute() {
        return refused("is not an absolute path");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@=".contains(c);
    if !folder.as_str().chars().all(plain) {
        return refused("has characters in its path that LXC's configuration cannot hold");
    }
    if folder.components().any(|c| c.as_str() == "..") || folder.components().count() < 2 {
        return refused("is not a folder of its own");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_the_folder_alone() {
        let a = Names::of("/srv/a/.phoenix/lab".into(), 0);
        assert_eq!(a, Names::of("/srv/a/.phoenix/lab".into(), 0));
        let b = Names::of("/srv/b/.phoenix/lab".into(), 0);
        assert_ne!(a.id, b.id);
        assert_ne!(a.outside, b.outside);
        assert_ne!(a.id, Names::of("/srv/a/.phoenix/lab".into(), 1).id);
        assert!(a.id.len() <= 15, "a link's name holds 15 characters");
        assert_eq!(u32::from(a.outside) + 1, u32::from(a.inside));
        assert_eq!(u32::from(a.outside) % 4, 1);
        assert!(a.uplink().ends_with("/30") && a.uplink().starts_with("198.19."));
    }

    #[test]
    fn the_nodes_own_address_is_never_the_gateways() {
        let network = |gateway: &str| Network {
            bridge: "vmbr0".into(),
            subnet: "10.0.0.0/24".parse().unwrap(),
            gateway: gateway.parse().unwrap(),
            node: None,
        };
        assert_eq!(network("10.0.0.1").node_address().to_string(), "10.0.0.254");
        assert_eq!(network("10.0.0.254").node_address().to_string(), "10.0.0.253");
        let all = |network: Network| [0, 1, 2].map(|at| network.address_of(at).to_string());
        assert_eq!(all(network("10.0.0.253")), ["10.0.0.254", "10.0.0.252", "10.0.0.251"]);
        let own = Network { node: "10.0.0.253".parse().ok(), ..network("10.0.0.1") };
        assert_eq!(all(own), ["10.0.0.253", "10.0.0.254", "10.0.0.252"]);
    }

    #[test]
    fn a_lab_has_as_many_nodes_as_are_asked_for() {
        assert_eq!(node_names(0), ["pve1"]);
        assert_eq!(node_names(3), ["pve1", "pve2", "pve3"]);
        assert_eq!(members("pve1", &[], &[]), []);
    }

    #[test]
    fn folders_that_lxc_cannot_hold_are_refused() {
        assert!(check_folder("/srv/site/.phoenix/lab".into()).is_ok());
        for bad in ["lab", "/srv/my site", "/srv/a:b", "/srv/a,b", "/", "/srv/../x"] {
            assert!(check_folder(bad.into()).is_err(), "{bad}");
        }
    }
}
