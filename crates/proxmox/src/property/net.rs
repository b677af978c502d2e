//! A container's network interface.

use std::fmt;
use std::str::FromStr;

use super::{PropertyError, PropertyString};

/// A container's `netN`. Keys this type does not know are kept in `other`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Net {
    /// Its name inside, as in `eth0`.
    pub name: String,
    /// The bridge it is on.
    pub bridge: Option<String>,
    /// Its MAC, in capitals. Always send it: an update without it gives a new random one.
    pub hwaddr: Option<String>,
    /// The IPv4 address with prefix length, or `dhcp`, or `manual`.
    pub ip: Option<String>,
    /// The IPv4 gateway.
    pub gw: Option<String>,
    /// The IPv6 address with prefix length, or `auto`, `dhcp`, `manual`.
    pub ip6: Option<String>,
    /// The IPv6 gateway.
    pub gw6: Option<String>,
    /// Whether the node's firewall looks at it.
    pub firewall: bool,
    /// The VLAN.
    pub tag: Option<u16>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// A limit in megabytes a second.
    pub rate: Option<String>,
    /// Whether it is unplugged.
    pub link_down: bool,
    /// Everything else. `type=veth`, the only type there is and filled in by the node, is left out.
    pub other: Vec<(String, String)>,
}

const WHAT: &str = "container network interface";

impl FromStr for Net {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let mut parts: PropertyString = text.parse()?;
        let wrong = |reason: &str| PropertyError::new(text, WHAT, reason);
        let mut net = Self {
            name: parts.take("name").ok_or_else(|| wrong("`name` is missing"))?,
            bridge: parts.take("bridge"),
            hwaddr: parts.take("hwaddr").map(|mac| mac.to_ascii_uppercase()),
            ip: parts.take("ip"),
            gw: parts.take("gw"),
            ip6: parts.take("ip6"),
            gw6: parts.take("gw6"),
            firewall: parts.take_flag("firewall", WHAT)?,
            tag: parts.take_number("tag", WHAT)?,
            mtu: parts.take_number("mtu", WHAT)?,
            rate: parts.take("rate"),
            link_down: parts.take_flag("link_down", WHAT)?,
            other: parts.rest(),
        };
        net.other.retain(|(key, value)| (key.as_str(), value.as_str()) != ("type", "veth"));
        Ok(net)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = PropertyString::default();
        parts.push("name", Some(&self.name));
        parts.push("bridge", self.bridge.as_ref());
        parts.push_flag("firewall", self.firewall);
        parts.push("gw", self.gw.as_ref());
        parts.push("gw6", self.gw6.as_ref());
        parts.push("hwaddr", self.hwaddr.as_ref());
        parts.push("ip", self.ip.as_ref());
        parts.push("ip6", self.ip6.as_ref());
        parts.push_flag("link_down", self.link_down);
        parts.push("mtu", self.mtu);
        parts.push("rate", self.rate.as_ref());
        parts.push("tag", self.tag);
        parts.push_rest(&self.other);
        parts.fmt(f)
    }
}

impl Net {
    /// Whether `read`, as the node gives it back, is what this asks for: a MAC that is not asked for is the node's to
    /// choose.
    pub fn same_as(&self, read: &Self) -> bool {
        let mac = |asked: &Option<String>, found: &Option<String>| match asked {
            Some(asked) => found.as_ref().is_some_and(|found| found.eq_ignore_ascii_case(asked)),
            None => true,
        };
        mac(&self.hwaddr, &read.hwaddr)
            && Self { hwaddr: None, ..self.clone() } == Self { hwaddr: None, ..read.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-7, T-8: an update that changed nothing showed as a change, and gave a new MAC.
    #[test]
    fn what_is_read_back_is_what_was_sent() {
        let sent: Net = "name=eth0,bridge=vmbr0,ip=10.99.0.21/24,gw=10.99.0.1,firewall=1".parse().unwrap();
        let read: Net =
            "name=eth0,bridge=vmbr0,firewall=1,gw=10.99.0.1,hwaddr=BC:24:11:52:87:35,ip=10.99.0.21/24,type=veth"
                .parse()
                .unwrap();
        assert!(sent.same_as(&read));
        let with_mac = Net { hwaddr: Some("bc:24:11:52:87:35".to_owned()), ..sent.clone() };
        assert!(with_mac.same_as(&read));
        assert!(!Net { hwaddr: Some("BC:24:11:00:00:00".to_owned()), ..sent.clone() }.same_as(&read));
        assert!(!Net { ip: Some("dhcp".to_owned()), ..sent.clone() }.same_as(&read));
        assert!(!Net { tag: Some(3), ..sent }.same_as(&read));
    }

    #[test]
    fn unknown_keys_survive() {
        let text = "name=eth0,bridge=vmbr0,link_down=1,tag=30,host-managed=1,trunks=1;2";
        assert_eq!(text.parse::<Net>().unwrap().to_string(), text);
        assert!("bridge=vmbr0".parse::<Net>().is_err());
        assert!("name=eth0,tag=x".parse::<Net>().is_err());
    }
}
