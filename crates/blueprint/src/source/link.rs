//! The links of a node.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{Bridge, Inet4, Inet6, Ipv4, Ipv6, PortName};

/// A link of the node. With `ports` it is a bridge, with `bond` a bond, with `vlan` a VLAN; with none of them it is a card that is
/// there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkSource {
    /// It is a bridge, with these links on it; `[]` for one that only guests are on. A card can be named by its MAC, as
    /// `mac:BC:24:11:00:00:01`: then it is found under whatever name the kernel gives it.
    #[schemars(extend("examples" = serde_json::json!([["enp5s0"]])))]
    pub ports: Option<Vec<PortName>>,
    /// It is a bond of these links.
    #[schemars(length(min = 1), extend("examples" = serde_json::json!([["enp5s0", "enp6s0"]])))]
    pub bond: Option<Vec<PortName>>,
    /// How a bond uses its links. `active-backup` works with any switch, `802.3ad` (LACP) takes one that is set up for it.
    #[schemars(extend("default" = "active-backup"))]
    pub mode: Option<BondModeSource>,
    /// It is the VLAN with this tag of the link `on`. A link whose name says both, such as `vmbr0.20`, needs neither.
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// The link that a VLAN is on.
    pub on: Option<Bridge>,
    /// Whether a bridge keeps VLANs apart, so that guests on it can have tags.
    #[schemars(extend("default" = false))]
    pub vlan_aware: Option<bool>,
    /// The node's address on it, with the length of its network.
    pub address: Option<Inet4>,
    /// The router to everywhere else.
    pub gateway: Option<Ipv4>,
    /// The node's IPv6 address on it, with the length of its network.
    pub address6: Option<Inet6>,
    /// The IPv6 router to everywhere else.
    pub gateway6: Option<Ipv6>,
    /// Whether it asks for an IPv4 address instead.
    #[schemars(extend("default" = false))]
    pub dhcp: Option<bool>,
    /// The largest packet, in bytes. Where absent, what is usual: 1500.
    #[schemars(range(min = 576, max = 65520))]
    pub mtu: Option<u16>,
    /// Whether who is on this bridge gets out under the node's own address: for an inner network. Only IPv4.
    #[schemars(extend("default" = false))]
    pub nat: Option<bool>,
}

/// How a bond uses its links (the kernel's words).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BondModeSource {
    /// One after the other.
    BalanceRr,
    /// One, and another when it fails.
    ActiveBackup,
    /// By MAC.
    BalanceXor,
    /// All at once.
    Broadcast,
    /// LACP.
    #[serde(rename = "802.3ad")]
    Lacp,
    /// By load, what is sent.
    BalanceTlb,
    /// By load, both ways.
    BalanceAlb,
}
