//! In whose name a guest may speak: its addresses and its MAC, and nobody else's. Pure.
//!
//! Whoever is root in a guest can send what it likes; what leaves the guest's link is the node's to decide. Proxmox VE's
//! firewall has the filters (pve-firewall 9, `PVE/Firewall.pm`: `ruleset_create_vm_chain`, `compile_ipsets`,
//! `compile_ebtables_filter`):
//!
//! - `macfilter`: the MAC of the device alone.
//! - `ipfilter`: its fixed addresses alone and what is in its set `ipfilter-netN`, in IP as well as in ARP; of IPv6 the one
//!   address that follows from its MAC.
//! - `layer2_protocols`: no frames but ARP beside IP. One with the tag of a VLAN passes all other filters and gets, on a
//!   bridge that knows VLANs, into any of them.
//! - `dhcp` lets questions for an address out, and answers in, before all other filters; `radv` lets a guest say that it is
//!   a router.
//! - `ndp` lets neighbours in IPv6 ask, answer and advertise routers. What an answer says of whom is not looked at, so it is
//!   off: blueprints know no IPv6, and a guest that hears of no router has no address that the filter would swallow.
//!
//! An address that the network gives is not known beforehand, and Proxmox VE does not look into leases. So who has one may
//! speak as any address of its subnet that is not known to be somebody's. The set has what is allowed rather than what is
//! not: ARP takes an exception for a member.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use blueprint::model::NicAddress;
use cidr::Ipv4Cidr;
use plan::desired::{Desired, Firewall, Guest};

use super::rules::{addresses, shown};

/// Every address.
const EVERY: Option<Ipv4Cidr> = match Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0) {
    Ok(every) => Some(every),
    Err(_) => None,
};

/// The options of a guest's file.
pub fn options(guest: &Guest) -> impl Iterator<Item = (&'static str, String)> {
    let dhcp = guest.spec.nets.values().any(|nic| nic.address == NicAddress::Dhcp);
    let dhcp = if dhcp { "1" } else { "0" };
    [
        ("macfilter", "1"),
        ("ipfilter", "1"),
        ("layer2_protocols", "ARP"),
        ("dhcp", dhcp),
        ("ndp", "0"),
        ("radv", "0"),
    ]
    .into_iter()
    .map(|(key, value)| (key, value.to_owned()))
}

/// The sets of a guest's file: who its devices may speak as beside their fixed addresses.
pub fn sets(
    guest: &Guest,
    desired: &Desired,
    firewall: &Firewall,
    node: &[Ipv4Addr],
) -> BTreeMap<String, Vec<String>> {
    let mut sets = BTreeMap::new();
    for (slot, nic) in &guest.nets {
        let Some(declared) = guest.spec.nets.get(slot) else { continue };
        let mut allowed = declared.allowed_addresses.clone();
        if declared.address == NicAddress::Dhcp {
            // Of a bridge alone nobody knows which network gives the address.
            let Some(subnet) = nic.subnet.or(EVERY) else { continue };
            let ends = [subnet.first_address(), subnet.last_address()];
            let others = desired.guests.values().flat_map(addresses);
            let taken = others.chain(node.iter().copied()).chain(firewall.taken.iter().copied()).chain(ends);
            allowed.extend(except(subnet, &taken.collect()));
        }
        if !allowed.is_empty() {
            sets.insert(format!("ipfilter-net{slot}"), allowed.iter().map(shown).collect());
        }
    }
    sets
}

/// The networks that hold all addresses of a network but those taken.
fn except(net: Ipv4Cidr, taken: &BTreeSet<Ipv4Addr>) -> Vec<Ipv4Cidr> {
    if taken.range(net.first_address()..=net.last_address()).next().is_none() {
        return vec![net];
    }
    let length = net.network_length() + 1;
    if length > 32 {
        return Vec::new();
    }
    let low = u32::from(net.first_address());
    let high = low | 1_u32.checked_shl(32 - u32::from(length)).unwrap_or(0);
    [low, high]
        .into_iter()
        .filter_map(|first| Ipv4Cidr::new(first.into(), length).ok())
        .flat_map(|half| except(half, taken))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_but_those_taken(last in proptest::collection::btree_set(0..=255_u8, 0..40), length in 22..=30_u8) {
            let net = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 0), length).unwrap();
            let taken: BTreeSet<Ipv4Addr> = last.iter().map(|n| Ipv4Addr::new(10, 0, 0, *n)).collect();
            let left = except(net, &taken);
            let held: Vec<Ipv4Addr> = left.iter().flat_map(|net| net.iter().addresses()).collect();
            let wanted: Vec<Ipv4Addr> = net.iter().addresses().filter(|it| !taken.contains(it)).collect();
            prop_assert_eq!(held, wanted);
        }
    }
}
