//! The links of a node.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use cidr::{Ipv4Inet, Ipv6Inet};
use serde::{Deserialize, Serialize};

use super::Location;

/// A link of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// Its name.
    pub name: String,
    /// What it is.
    pub is: LinkIs,
    /// The node's address on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Inet>,
    /// The router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The node's IPv6 address on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<Ipv6Inet>,
    /// The IPv6 router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// Whether it asks for an IPv4 address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp: bool,
    /// The largest packet, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Whether who is on it gets out under the node's address.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nat: bool,
    /// Where it is declared.
    #[serde(skip)]
    pub declared: Location,
}

/// What a link is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkIs {
    /// A bridge.
    Bridge {
        /// What is on it.
        ports: Vec<Port>,
        /// Whether it keeps VLANs apart.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        vlan_aware: bool,
    },
    /// A bond.
    Bond {
        /// What it is of.
        members: Vec<Port>,
        /// How it uses them, as the kernel says it.
        mode: String,
    },
    /// A VLAN.
    Vlan {
        /// Its tag.
        tag: u16,
        /// The link it is on.
        on: String,
    },
    /// A card that is there.
    Card,
}

/// A part of a bridge or bond.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Port {
    /// By its name.
    Name(String),
    /// By its MAC, in lower case.
    Mac(String),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Mac(mac) => write!(f, "mac:{mac}"),
        }
    }
}

impl Link {
    /// What it is of: the ports of a bridge, the members of a bond.
    pub fn parts(&self) -> &[Port] {
        match &self.is {
            LinkIs::Bridge { ports, .. } => ports,
            LinkIs::Bond { members, .. } => members,
            LinkIs::Vlan { .. } | LinkIs::Card => &[],
        }
    }

    /// In a word.
    pub fn kind(&self) -> &'static str {
        match self.is {
            LinkIs::Bridge { .. } => "bridge",
            LinkIs::Bond { .. } => "bond",
            LinkIs::Vlan { .. } => "VLAN",
            LinkIs::Card => "card",
        }
    }
}
