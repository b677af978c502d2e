//! DHCP on the site's networks. The node plays the site's router, and a router at home gives out addresses, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::spec::{LabSpec, Network};

/// Where dnsmasq's configuration lies in the node.
pub(crate) const CONFIG: &str = "/etc/phoenix-lab/dhcp.conf";

/// The file of leases, in the folder of the node's state.
pub(crate) const LEASES: &str = "dhcp.leases";

/// dnsmasq's configuration (dnsmasq(8)), for DHCP alone; none where no network has an address to give.
pub(crate) fn config(spec: &LabSpec) -> Option<String> {
    let mut networks = String::new();
    for network in &spec.networks {
        let pools = pools(network, &spec.reserved);
        if pools.is_empty() {
            continue;
        }
        let (bridge, router) = (&network.bridge, network.gateway);
        let mask = network.subnet.mask();
        // Writing to a String cannot fail.
        let _ = writeln!(networks, "interface={bridge}");
        for (first, last) in pools {
            let _ = writeln!(networks, "dhcp-range=set:{bridge},{first},{last},{mask},12h");
        }
        for option in ["router", "dns-server"] {
            let _ = writeln!(networks, "dhcp-option=tag:{bridge},option:{option},{router}");
        }
    }
    (!networks.is_empty()).then(|| {
        format!(
            "# Names are not its matter.\nport=0\nbind-dynamic\nexcept-interface=lo\nuser=root\ndhcp-authoritative\n\
             dhcp-leasefile={}/{LEASES}\n{networks}",
            super::NODE_STATE
        )
    })
}

/// The unit that runs it.
pub(crate) fn unit() -> String {
    format!(
        "[Unit]\nDescription=DHCP of the lab's networks\nAfter=network.target nftables.service\nBefore=pve-guests.service\n\
         StartLimitIntervalSec=0\n\n[Service]\n\
         ExecStart=/usr/sbin/dnsmasq --keep-in-foreground --conf-file={CONFIG} --pid-file=\n\
         Restart=always\nRestartSec=1s\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// Who was given which address, by MAC in lower case: dnsmasq's file of leases, a line each of end, MAC, address, name, id.
pub(crate) fn leases(text: &str) -> BTreeMap<String, Ipv4Addr> {
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_ascii_lowercase(), fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// What may be given out: the upper half of the subnet without what is somebody's, as ranges with both ends.
fn pools(network: &Network, reserved: &BTreeSet<Ipv4Addr>) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let (first, last) = (u32::from(network.subnet.first_address()), u32::from(network.subnet.last_address()));
    // The last address is the broadcast's; of two or fewer none is free.
    let (mut from, end) = (first + (last - first).div_ceil(2), last.saturating_sub(1));
    if last - first < 3 {
        return Vec::new();
    }
    let mut taken: BTreeSet<u32> = reserved.iter().copied().map(u32::from).collect();
    taken.extend([network.gateway, network.node_address()].map(u32::from));
    let mut out = Vec::new();
    for one in taken.range(from..=end).copied().chain([end + 1]) {
        if from < one {
            out.push((Ipv4Addr::from(from), Ipv4Addr::from(one - 1)));
        }
        // After the last of all addresses there is nothing left to begin at.
        from = one.saturating_add(1);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(subnet: &str, gateway: &str) -> Network {
        Network {
            bridge: "vmbr0".to_owned(),
            subnet: subnet.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
            node: None,
        }
    }

    fn text(pools: &[(Ipv4Addr, Ipv4Addr)]) -> Vec<String> {
        pools.iter().map(|(from, to)| format!("{from}-{to}")).collect()
    }

    #[test]
    fn the_upper_half_is_given_out_without_what_is_declared() {
        let reserved = ["10.0.0.11", "10.0.0.130", "10.0.0.131"].map(|a| a.parse().unwrap()).into();
        let lan = network("10.0.0.0/24", "10.0.0.1");
        assert_eq!(text(&pools(&lan, &reserved)), ["10.0.0.128-10.0.0.129", "10.0.0.132-10.0.0.253"]);
        let above = network("10.0.0.0/24", "10.0.0.254");
        assert_eq!(text(&pools(&above, &BTreeSet::new())), ["10.0.0.128-10.0.0.252"]);
        // The node's own address is the only one in the upper half.
        assert_eq!(text(&pools(&network("10.0.0.0/30", "10.0.0.1"), &BTreeSet::new())), [""; 0]);
        assert_eq!(text(&pools(&network("10.0.0.0/31", "10.0.0.1"), &BTreeSet::new())), [""; 0]);
        let top = network("255.255.255.0/24", "255.255.255.1");
        assert_eq!(text(&pools(&top, &BTreeSet::new())), ["255.255.255.128-255.255.255.253"]);
    }

    #[test]
    fn leases_are_read() {
        let text = "1795900000 bc:24:11:00:01:23 10.0.0.151 notes ff:00:01\n\nduid 00:01\n1795900000 bc:24:11:00:01:24 10.0.0.152 * *\n";
        let leases = leases(text);
        assert_eq!(leases.len(), 2);
        assert_eq!(leases["bc:24:11:00:01:23"], Ipv4Addr::new(10, 0, 0, 151));
    }

    proptest! {
        #[test]
        fn a_lease_is_found_among_whatever_else_there_is(address: u32, mac in "[0-9a-f]{2}(:[0-9a-f]{2}){5}", other in ".*") {
            let address = Ipv4Addr::from(address);
            let text = format!("{other}\n1795900000 {mac} {address} * *\n");
            prop_assert_eq!(leases(&text).get(&mac).copied(), Some(address));
        }

        #[test]
        fn nothing_is_given_out_that_is_somebodys(
            length in 8u8..=32, base: u32, taken in proptest::collection::btree_set(0u32..300, 0..20),
        ) {
            let subnet = cidr::Ipv4Inet::new(base.into(), length).unwrap().network();
            let start = u32::from(subnet.first_address());
            let end = u32::from(subnet.last_address());
            let reserved: BTreeSet<Ipv4Addr> =
                taken.iter().map(|n| Ipv4Addr::from(end.saturating_sub(*n))).collect();
            let gateway = Ipv4Addr::from(start.saturating_add(1));
            let network = Network { bridge: "vmbr0".to_owned(), subnet, gateway, node: None };
            for (from, to) in pools(&network, &reserved) {
                prop_assert!(from <= to && subnet.contains(&from) && subnet.contains(&to));
                for other in reserved.iter().chain([&gateway, &network.node_address(), &subnet.last_address()]) {
                    prop_assert!(!(from..=to).contains(other), "{other} in {from}-{to}");
                }
            }
        }
    }
}
