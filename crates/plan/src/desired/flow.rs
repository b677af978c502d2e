//! The firewall, and who may talk to whom.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use blueprint::names::GuestName;
use cidr::Ipv4Cidr;
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// The firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// Whether everything is dropped that no flow allows, inside too.
    pub zero_trust: bool,
    /// From where the node may always be managed.
    pub management: Vec<Ipv4Cidr>,
    /// The subnets of the site: what is inside.
    pub subnets: Vec<Ipv4Cidr>,
    /// The routers and name servers of the site's networks: addresses that no guest is given by chance.
    pub taken: BTreeSet<Ipv4Addr>,
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
