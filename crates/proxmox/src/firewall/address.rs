//! Whom a rule means: addresses, networks, ranges, aliases and sets, looked up.

use std::net::IpAddr;

use super::file::FirewallFile;

/// Addresses from one to another, both of them included and of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl Range {
    /// `10.0.0.5`, `10.0.0.0/24` or `10.0.0.5-10.0.0.9`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last): (IpAddr, IpAddr) = (first.parse().ok()?, last.parse().ok()?);
            return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last });
        }
        let Some((address, length)) = text.split_once('/') else {
            let address = text.parse().ok()?;
            return Some(Self { first: address, last: address });
        };
        let length: u32 = length.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                let bits = address.to_bits();
                let range =
                    Self { first: IpAddr::V4((bits & !host).into()), last: IpAddr::V4((bits | host).into()) };
                (length <= 32).then_some(range)
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let bits = address.to_bits();
                let range =
                    Self { first: IpAddr::V6((bits & !host).into()), last: IpAddr::V6((bits | host).into()) };
                (length <= 128).then_some(range)
            }
        }
    }

    /// Whether it holds this address.
    pub fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

/// A set of addresses: those of `within` that are not in `without`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// What is in it.
    pub within: Vec<Range>,
    /// What is left out of that.
    pub without: Vec<Range>,
}

impl Addresses {
    /// Whether it holds this address.
    pub fn hold(&self, address: IpAddr) -> bool {
        self.within.iter().any(|range| range.holds(address))
            && !self.without.iter().any(|range| range.holds(address))
    }
}

/// Where the names in rules are looked up.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// `cluster.fw`.
    pub cluster: &'a FirewallFile,
    /// The guest's own file, for a guest's rules.
    pub guest: Option<&'a FirewallFile>,
    /// The networks that the node's address is in: what `local_network` means where no alias says something else.
    pub local: &'a [Range],
}

impl Scope<'_> {
    /// The addresses behind the text of a rule's `-source` or `-dest`: a set, a name, a range, or a list of addresses and
    /// networks. A set, a name or a range stands alone (pve-firewall, `verify_rule` and `parse_address_list`).
    ///
    /// # Errors
    /// What name is unknown, or what is no address.
    pub fn addresses(&self, text: &str) -> Result<Addresses, String> {
        if let Some(name) = text.strip_prefix('+') {
            return self.set(name);
        }
        let parts: Vec<&str> = text.split(',').filter(|part| !part.is_empty()).collect();
        let within = match parts[..] {
            [] => return Err(format!("`{text}` names no address")),
            [one] => self.address(one)?,
            _ => {
                let list = parts.iter().map(|part| match Range::parse(part) {
                    Some(_) if part.contains('-') => Err("can't use a range in a list".to_owned()),
                    Some(range) => Ok(range),
                    None => Err(format!("invalid format - address or network expected, not '{part}'")),
                });
                list.collect::<Result<_, _>>()?
            }
        };
        Ok(Addresses { within, without: Vec::new() })
    }

    /// Who may manage the node without a rule that says so: the set `management` and the node's own networks.
    pub fn management(&self) -> Addresses {
        let mut all = self.cluster.ip_set("management").map_or_else(Addresses::default, |members| {
            // A member that is not understood lets nobody in.
            self.members(&members).unwrap_or_default()
        });
        all.within.extend(self.local_network());
        all
    }

    fn local_network(&self) -> Vec<Range> {
        match self.cluster.alias("local_network").and_then(Range::parse) {
            Some(range) => vec![range],
            None => self.local.to_vec(),
        }
    }

    fn set(&self, name: &str) -> Result<Addresses, String> {
        let unknown = || format!("no such ipset '{name}'");
        let (files, bare) = self.files(name);
        let bare = bare.to_ascii_lowercase();
        let members = files.iter().find_map(|file| file.ip_set(&bare));
        match members {
            None if bare == "management" => Ok(self.management()),
            Some(_) if bare == "management" && self.guest.is_none() => Ok(self.management()),
            Some(members) => self.members(&members),
            None => Err(unknown()),
        }
    }

    fn members(&self, members: &[&str]) -> Result<Addresses, String> {
        let mut set = Addresses::default();
        for member in members {
            match member.strip_prefix('!') {
                Some(member) => set.without.extend(self.address(member)?),
                None => set.within.extend(self.address(member)?),
            }
        }
        Ok(set)
    }

    /// An address, or the name of one.
    fn address(&self, text: &str) -> Result<Vec<Range>, String> {
        if let Some(range) = Range::parse(text) {
            return Ok(vec![range]);
        }
        let (files, name) = self.files(text);
        match files.iter().find_map(|file| file.alias(name)) {
            Some(address) => Range::parse(address)
                .map(|range| vec![range])
                .ok_or_else(|| format!("`{address}` is no address")),
            None if name.eq_ignore_ascii_case("local_network") => Ok(self.local_network()),
            None => Err(format!("no such alias '{text}'")),
        }
    }

    /// The files a name is looked up in: `dc/name` and `guest/name` say which, a bare one means the guest's first.
    fn files<'t>(&self, name: &'t str) -> (Vec<&FirewallFile>, &'t str) {
        match name.split_once('/') {
            Some(("dc", name)) => (vec![self.cluster], name),
            Some(("guest", name)) => (self.guest.into_iter().collect(), name),
            _ => (self.guest.into_iter().chain([self.cluster]).collect(), name),
        }
    }
}

/// The ports of a rule's `-dport` or `-sport`: numbers, ranges `1000:2000`, and the commonest names of `/etc/services`.
///
/// # Errors
/// What is no port.
pub fn ports(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let one = |text: &str| -> Result<u16, String> {
        let known = SERVICES.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
        known.or_else(|| text.parse().ok()).ok_or_else(|| format!("invalid port '{text}'"))
    };
    text.split(',')
        .map(|part| match part.split_once(':') {
            Some((first, last)) => {
                let (first, last) = (one(first)?, one(last)?);
                if first <= last { Ok((first, last)) } else { Err(format!("backwards range '{part}'")) }
            }
            None => one(part).map(|port| (port, port)),
        })
        .collect()
}

/// From Debian's `/etc/services` (package netbase).
const SERVICES: [(&str, u16); 22] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("sunrpc", 111),
    ("ntp", 123),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("ldaps", 636),
    ("imaps", 993),
    ("pop3s", 995),
    ("mysql", 3306),
    ("postgresql", 5432),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        let network = Range::parse("10.0.0.77/24").unwrap();
        assert_eq!(
            (network.first.to_string(), network.last.to_string()),
            ("10.0.0.0".into(), "10.0.0.255".into())
        );
        assert!(Range::parse("0.0.0.0/0").unwrap().holds("203.0.113.5".parse().unwrap()));
        assert!(!Range::parse("0.0.0.0/0").unwrap().holds("::1".parse().unwrap()));
        assert!(Range::parse("fd00::/8").unwrap().holds("fd12::1".parse().unwrap()));
        assert!(Range::parse("10.0.0.5-10.0.0.9").unwrap().holds("10.0.0.9".parse().unwrap()));
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.9-10.0.0.5", "10.0.0.1-::1", "10.0.0.0/a", "::/129"] {
            assert_eq!(Range::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_looked_up_where_they_belong() {
        let cluster = FirewallFile::parse(
            "[ALIASES]\nGW 10.99.0.1 # c\nlan 10.99.0.0/24\n\n[IPSET hosts] # x\n10.1.0.0/16\n!10.1.2.3 # not him\nlan\n",
        );
        let guest = FirewallFile::parse("[ALIASES]\ngw 10.5.5.5\n[IPSET management]\n192.0.2.1\n");
        let local = [Range::parse("10.0.0.0/24").unwrap()];
        let scope = Scope { cluster: &cluster, guest: Some(&guest), local: &local };
        let holds = |text: &str, address: &str| scope.addresses(text).unwrap().hold(address.parse().unwrap());
        assert!(holds("gw", "10.5.5.5") && holds("dc/gw", "10.99.0.1") && holds("guest/gw", "10.5.5.5"));
        assert!(
            holds("+hosts", "10.1.9.9") && !holds("+dc/hosts", "10.1.2.3") && holds("+hosts", "10.99.0.4")
        );
        assert!(holds("10.0.0.1,10.0.0.4/30", "10.0.0.5") && holds("10.0.0.4-10.0.0.6", "10.0.0.5"));
        assert!(holds("local_network", "10.0.0.9") && holds("+dc/management", "10.0.0.9"));
        assert!(holds("+management", "192.0.2.1"));
        for bad in ["+nope", "nope", "+guest/hosts", "", ",", "10.0.0.1,lan", "10.0.0.1,10.0.0.4-10.0.0.6"] {
            assert!(scope.addresses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_of_a_rule() {
        assert_eq!(ports("80,https,1000:2000"), Ok(vec![(80, 80), (443, 443), (1000, 2000)]));
        for bad in ["99999", "", "5:3", "1:2:3", "nope"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_network_holds_its_first_and_last(bits in any::<u32>(), length in 0..=32_u32) {
            let range = Range::parse(&format!("{}/{length}", std::net::Ipv4Addr::from_bits(bits))).unwrap();
            prop_assert!(range.holds(range.first) && range.holds(range.last));
            prop_assert!(range.holds(IpAddr::V4(bits.into())));
        }
    }
}
