//! What a lab is to be like, and the names that follow from its folder.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use camino::{Utf8Path, Utf8PathBuf};
use cidr::Ipv4Cidr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Error;

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
        self.node.unwrap_or_else(|| {
            let last = u32::from(self.subnet.last_address()).saturating_sub(1);
            let last = Ipv4Addr::from(last);
            if last == self.gateway { Ipv4Addr::from(u32::from(last).saturating_sub(1)) } else { last }
        })
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
    /// The node's name.
    pub node: String,
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
    }

    #[test]
    fn folders_that_lxc_cannot_hold_are_refused() {
        assert!(check_folder("/srv/site/.phoenix/lab".into()).is_ok());
        for bad in ["lab", "/srv/my site", "/srv/a:b", "/srv/a,b", "/", "/srv/../x"] {
            assert!(check_folder(bad.into()).is_err(), "{bad}");
        }
    }
}
