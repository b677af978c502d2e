//! Whether a guest's addresses are somebody else's already (F-3): of guests that are not the site's own, and of nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plan::Problem;
use plan::desired::{Guest as Container, Nic};
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use proxmox::property::PropertyString;

/// What somebody else has of a network device.
struct Theirs {
    key: String,
    bridge: Option<String>,
    tag: Option<String>,
    mac: Option<String>,
    address: Option<IpAddr>,
}

/// Whose an address or a MAC is that a device is to have.
enum Whose<'a> {
    Guest(&'a Guest, String),
    Node(&'a str),
}

/// A bridge, a VLAN and an address on it.
type Link = (String, Option<String>, IpAddr);

/// What nodes have, and guests that are not the site's own.
#[derive(Default)]
pub(super) struct Others<'a> {
    nodes: BTreeMap<IpAddr, &'a str>,
    macs: BTreeMap<String, Vec<(&'a Guest, String)>>,
    /// By bridge, VLAN and address.
    addresses: BTreeMap<Link, Vec<(&'a Guest, String)>>,
}

/// Says what of a guest's devices others have already. What is so already is a note: refusing everything else would not help.
pub(super) fn check(
    others: &Others<'_>,
    container: &Container,
    there: Option<&Guest>,
    proposal: &mut Proposal,
) {
    for (slot, nic) in &container.nets {
        let config = there.and_then(|guest| guest.config.as_ref());
        let now = config.and_then(|config| config.get(&format!("net{slot}")));
        let has = now.map(|value| theirs(String::new(), value, None));
        let address = nic.ip.split('/').next().and_then(|text| text.parse::<IpAddr>().ok());
        let found = [
            others
                .by_address(container.id, nic, address)
                .map(|whose| ("address", address.map(|it| it.to_string()), whose)),
            others.by_mac(container.id, nic).map(|whose| ("MAC address", Some(nic.mac.clone()), whose)),
        ];
        for (what, value, whose) in found.into_iter().flatten() {
            let value = value.unwrap_or_default();
            let is_so = has.as_ref().is_some_and(|has| match what {
                "address" => has.address == address,
                _ => has.mac.as_deref() == Some(nic.mac.as_str()),
            });
            let (other, off) = match whose {
                Whose::Guest(guest, key) => (
                    format!("{key} of {} `{}`, which is not this site's, has it", guest.id, guest.name),
                    !guest.running,
                ),
                Whose::Node(node) => (format!("it is one of {node}'s own"), false),
            };
            let message = format!("net{slot} is to have the {what} {value}, and {other}");
            if is_so || off {
                let when = if off { "; that one is off" } else { "" };
                proposal.note(format!("{}: {message}{when}", container.resource()));
            } else {
                proposal.problem(Problem {
                    address: container.resource(),
                    code: "plan::address-taken".into(),
                    message,
                    hint: format!("give {} another one, or that one", container.resource()),
                });
            }
        }
    }
}

impl<'a> Others<'a> {
    /// Looks once at all that is there. The site's own guests are held against each other by the blueprint, and what becomes
    /// of them all is in this plan.
    pub(super) fn of(world: World<'a>) -> Self {
        let inventory = world.inventory;
        let ours: BTreeSet<u32> = inventory.of_site(&world.desired.site).map(|guest| guest.id).collect();
        let mut all = Self::default();
        for (name, facts) in &inventory.nodes {
            let own = facts.addresses.iter().map(|it| IpAddr::from(it.address()));
            for address in own.chain(facts.address) {
                all.nodes.entry(address).or_insert(name);
            }
        }
        for guest in inventory.guests.values().filter(|it| !it.template && !ours.contains(&it.id)) {
            for Theirs { key, bridge, tag, mac, address } in devices(guest) {
                if let Some(mac) = mac {
                    all.macs.entry(mac).or_default().push((guest, key.clone()));
                }
                if let (Some(bridge), Some(address)) = (bridge, address) {
                    all.addresses.entry((bridge, tag, address)).or_default().push((guest, key));
                }
            }
        }
        all
    }

    fn by_address(&self, id: u32, nic: &Nic, address: Option<IpAddr>) -> Option<Whose<'a>> {
        let address = address?;
        if let Some(node) = self.nodes.get(&address) {
            return Some(Whose::Node(node));
        }
        let link = (nic.bridge.to_string(), nic.vlan.map(|tag| tag.to_string()), address);
        other_than(id, self.addresses.get(&link)?)
    }

    /// A MAC is to be one's own on whatever bridge: they are joined where nobody thinks of it.
    fn by_mac(&self, id: u32, nic: &Nic) -> Option<Whose<'a>> {
        other_than(id, self.macs.get(&nic.mac)?)
    }
}

/// What stands at this id has an error of its own where it is not the site's.
fn other_than<'a>(id: u32, all: &[(&'a Guest, String)]) -> Option<Whose<'a>> {
    all.iter().find(|(guest, _)| guest.id != id).map(|(guest, key)| Whose::Guest(guest, key.clone()))
}

fn devices(guest: &Guest) -> Vec<Theirs> {
    let config = guest.config.iter().flatten();
    let nets = config.filter_map(|(key, value)| {
        let slot = key.strip_prefix("net").filter(|n| n.parse::<u8>().is_ok())?;
        // A virtual machine's address is cloud-init's.
        let address = guest.config.as_ref().and_then(|all| all.get(&format!("ipconfig{slot}")));
        Some(theirs(key.clone(), value, address.map(String::as_str)))
    });
    nets.collect()
}

fn theirs(key: String, value: &str, cloud_init: Option<&str>) -> Theirs {
    let read = |text: &str| text.parse::<PropertyString>().unwrap_or_default();
    let parts = read(value);
    let get = |name: &str| parts.get(name).map(str::to_owned);
    // A container has it in `hwaddr`, a virtual machine in its model: `virtio=BC:24:11:…`.
    let mut values = parts.parts().map(|(_, value)| value);
    let mac = get("hwaddr").or_else(|| values.find(|value| is_mac(value)).map(str::to_owned));
    let address = get("ip").or_else(|| read(cloud_init?).get("ip").map(str::to_owned));
    Theirs {
        key,
        bridge: get("bridge"),
        tag: get("tag"),
        mac: mac.map(|mac| mac.to_ascii_uppercase()),
        address: address.and_then(|text| text.split('/').next()?.parse().ok()),
    }
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.split(':').filter(|part| u8::from_str_radix(part, 16).is_ok()).count() == 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have() {
        let vm = theirs(
            "net0".into(),
            "virtio=bc:24:11:00:00:01,bridge=vmbr0,tag=3",
            Some("ip=10.0.0.9/24,gw=10.0.0.1"),
        );
        assert_eq!(vm.mac.as_deref(), Some("BC:24:11:00:00:01"));
        assert_eq!((vm.bridge.as_deref(), vm.tag.as_deref()), (Some("vmbr0"), Some("3")));
        assert_eq!(vm.address, Some("10.0.0.9".parse().unwrap()));
        let container =
            theirs("net0".into(), "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:02,ip=dhcp", None);
        assert_eq!((container.mac.as_deref(), container.address), (Some("BC:24:11:00:00:02"), None));
    }
}
