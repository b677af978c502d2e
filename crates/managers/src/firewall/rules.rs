//! From flows to rules, for a guest and for the node. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use cidr::{Ipv4Cidr, Ipv4Inet};
use plan::Host;
use plan::desired::{Desired, End, Firewall, Flow, Guest, Transport};
use proxmox::firewall::{Action, Direction, Rule};

use super::prefix;

/// How many ports a rule takes: iptables' multiport takes 15.
const PORTS: usize = 15;
/// How many networks a rule takes, so that a line stays readable and below what Proxmox VE's form takes (512 characters).
const NETS: usize = 25;

/// Addresses of an end: all there are, or these.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    Anybody,
    These(Vec<Ipv4Cidr>),
}

/// Who is who.
#[derive(Debug)]
pub struct Ends<'a> {
    desired: &'a Desired,
    firewall: &'a Firewall,
    /// The node's own addresses.
    node: Vec<Ipv4Addr>,
    /// All guests, as few networks as hold them and nobody else.
    guests: Vec<Ipv4Cidr>,
}

/// The fixed addresses of a container.
pub fn addresses(container: &Guest) -> Vec<Ipv4Addr> {
    let fixed = |ip: &str| ip.parse::<Ipv4Inet>().ok().map(|inet| inet.address());
    container.nets.values().filter_map(|nic| fixed(&nic.ip)).collect()
}

/// Whether all of its devices have a fixed address.
pub(super) fn all_fixed(container: &Guest) -> bool {
    addresses(container).len() == container.nets.len()
}

impl<'a> Ends<'a> {
    /// The ends of a site's flows on a node with these addresses.
    pub fn new(desired: &'a Desired, firewall: &'a Firewall, node: &[Ipv4Inet]) -> Self {
        let node = node.iter().map(Ipv4Inet::address).filter(|it| !it.is_link_local()).collect();
        let containers = desired.guests.values();
        // Who has an address that nobody knows beforehand is anywhere inside.
        let guests = if containers.clone().all(all_fixed) {
            aggregate(containers.flat_map(addresses))
        } else {
            firewall.subnets.clone()
        };
        Self { desired, firewall, node, guests }
    }

    /// The node's own addresses.
    pub(super) fn node(&self) -> &[Ipv4Addr] {
        &self.node
    }

    fn whom(&self, end: &End) -> Whom {
        match end {
            End::Outside => Whom::Anybody,
            End::Inside => Whom::These(self.guests.clone()),
            End::Host(Host::Node(_)) => Whom::These(aggregate(self.node.iter().copied())),
            End::Net(net) => Whom::These(vec![*net]),
            End::Host(Host::Guest(_, name)) => Whom::These(match self.desired.guests.get(name) {
                Some(container) if all_fixed(container) => aggregate(addresses(container)),
                Some(_) => self.firewall.subnets.clone(),
                None => Vec::new(),
            }),
        }
    }

    /// Whether an end is, or may be, this container.
    fn is_guest(&self, end: &End, container: &Guest) -> bool {
        match end {
            End::Inside => true,
            End::Host(Host::Guest(_, name)) => *name == container.name,
            End::Net(net) => addresses(container).iter().any(|address| net.contains(address)),
            End::Outside | End::Host(Host::Node(_)) => false,
        }
    }

    /// Whether an end is, or may be, the node: name servers of a network are its addresses, and the node may have them.
    fn is_node(&self, end: &End) -> bool {
        match end {
            End::Host(Host::Node(_)) => true,
            End::Net(net) => self.node.iter().any(|address| net.contains(address)),
            _ => false,
        }
    }

    /// The rules of a guest. What it may be sent always; what it may send only where nothing else may leave it.
    pub fn of_guest(&self, container: &Guest) -> Vec<Rule> {
        let mut rules = Vec::new();
        for flow in self.desired.flows.iter().filter(|flow| self.is_guest(&flow.to, container)) {
            rules.extend(self.rules(flow, Direction::In));
        }
        if self.firewall.zero_trust {
            for flow in self.desired.flows.iter().filter(|flow| self.is_guest(&flow.from, container)) {
                rules.extend(self.rules(flow, Direction::Out));
            }
        } else {
            rules.extend(self.no_dhcp_server(container));
            rules.push(self.no_ipv6());
            let comment = format!("{}inside", prefix(&self.desired.site));
            rules.extend(over(&self.firewall.subnets).map(|nets| Rule {
                source: nets,
                comment: Some(comment.clone()),
                ..Rule::new(Direction::In, Action::Accept)
            }));
        }
        rules
    }

    /// Who gives out addresses tells others who their router and name server are. Where everything may leave a guest, that
    /// may not, unless a flow leads to its DHCP server.
    fn no_dhcp_server(&self, container: &Guest) -> Option<Rule> {
        let serves = self.desired.flows.iter().any(|flow| {
            flow.protocol == Transport::Udp && flow.ports.contains(&67) && self.is_guest(&flow.to, container)
        });
        (!serves).then(|| Rule {
            proto: Some("udp".to_owned()),
            sport: Some("67".to_owned()),
            dport: Some("68".to_owned()),
            comment: Some(format!("{}no-dhcp-server", prefix(&self.desired.site))),
            ..Rule::new(Direction::Out, Action::Drop)
        })
    }

    /// Blueprints know no IPv6, and what the filter of addresses leaves of it is the one that each device gives itself:
    /// enough to answer in another's name when somebody asks for a neighbour. Nobody inside takes it anyway.
    fn no_ipv6(&self) -> Rule {
        Rule {
            source: Some("fe80::/10".to_owned()),
            comment: Some(format!("{}no-ipv6", prefix(&self.desired.site))),
            ..Rule::new(Direction::Out, Action::Drop)
        }
    }

    /// The rules of the node: what it is sent, and what it sends where its policy would keep that back.
    pub fn of_node(&self, policy_out: Action) -> Vec<Rule> {
        let to = self.desired.flows.iter().filter(|flow| self.is_node(&flow.to));
        let mut rules: Vec<Rule> = to.flat_map(|flow| self.rules(flow, Direction::In)).collect();
        if policy_out != Action::Accept {
            let from = self.desired.flows.iter().filter(|flow| self.is_node(&flow.from));
            rules.extend(from.flat_map(|flow| self.rules(flow, Direction::Out)));
        }
        rules
    }

    /// A flow on one of its ends: as many rules as its ports and the addresses of its other end take.
    fn rules(&self, flow: &Flow, direction: Direction) -> Vec<Rule> {
        let other = match direction {
            Direction::In => self.whom(&flow.from),
            _ => self.whom(&flow.to),
        };
        let nets: Vec<Option<String>> = match &other {
            Whom::Anybody => vec![None],
            Whom::These(nets) => over(nets).collect(),
        };
        let comment = format!("{}{}", prefix(&self.desired.site), flow.id);
        let mut rules = Vec::new();
        for nets in &nets {
            for ports in flow.ports.chunks(PORTS) {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                let mut rule = Rule {
                    proto: Some(flow.protocol.as_str().to_owned()),
                    dport: Some(ports.join(",")),
                    comment: Some(comment.clone()),
                    ..Rule::new(direction, Action::Accept)
                };
                let side = if direction == Direction::In { &mut rule.source } else { &mut rule.dest };
                side.clone_from(nets);
                rules.push(rule);
            }
        }
        rules
    }
}

/// Networks as rules take them, a rule's worth at a time.
pub(super) fn over(nets: &[Ipv4Cidr]) -> impl Iterator<Item = Option<String>> {
    nets.chunks(NETS).map(|part| Some(part.iter().map(shown).collect::<Vec<_>>().join(",")))
}

/// `10.0.0.5`, `10.0.0.0/24`.
pub(super) fn shown(net: &Ipv4Cidr) -> String {
    if net.network_length() == 32 { net.first_address().to_string() } else { format!("{net:#}") }
}

/// The fewest networks that hold these addresses and no others.
pub(super) fn aggregate(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Vec<Ipv4Cidr> {
    let bits: BTreeSet<u32> = addresses.into_iter().map(u32::from).collect();
    let mut nets: Vec<(u32, u8)> = Vec::new();
    for address in bits {
        nets.push((address, 32));
        // Two halves of one network are that network.
        while let [.., (low, length), (high, same)] = nets[..] {
            let size = 1_u32.checked_shl(32 - u32::from(length)).unwrap_or(0);
            if length != same || size == 0 || low ^ high != size || low & size != 0 {
                break;
            }
            nets.truncate(nets.len() - 2);
            nets.push((low, length - 1));
        }
    }
    nets.into_iter().filter_map(|(first, length)| Ipv4Cidr::new(first.into(), length).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn networks_hold_the_addresses_and_no_others(last in proptest::collection::btree_set(0..=255_u8, 0..60)) {
            let all: Vec<Ipv4Addr> = last.iter().map(|n| Ipv4Addr::new(10, 0, 0, *n)).collect();
            let nets = aggregate(all.clone());
            let held: Vec<Ipv4Addr> = nets.iter().flat_map(|net| net.iter().addresses()).collect();
            prop_assert_eq!(held, all);
            for pair in nets.windows(2) {
                let whole = pair[0].network_length() == pair[1].network_length()
                    && Ipv4Cidr::new(pair[0].first_address(), pair[0].network_length() - 1)
                        .is_ok_and(|net| net.contains(&pair[1].first_address()));
                prop_assert!(!whole, "{:?} could be one", pair);
            }
        }
    }

    #[test]
    fn a_whole_network_is_one() {
        let all = (0..=255).map(|n| Ipv4Addr::new(10, 0, 0, n));
        assert_eq!(aggregate(all).iter().map(shown).collect::<Vec<_>>(), ["10.0.0.0/24"]);
        let few = [11, 12, 13, 14, 153].map(|n| Ipv4Addr::new(10, 0, 0, n));
        let nets = aggregate(few);
        assert_eq!(
            nets.iter().map(shown).collect::<Vec<_>>(),
            ["10.0.0.11", "10.0.0.12/31", "10.0.0.14", "10.0.0.153"]
        );
    }
}
