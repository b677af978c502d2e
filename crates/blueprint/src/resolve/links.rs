//! The links of the node: bridges, bonds, VLANs and cards, and whether they can be together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Context;
use crate::codes;
use crate::model::{Guests, Link, LinkIs, Network, NicAddress, Port};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{BondModeSource, HypervisorSource, LinkSource};

/// What the links of guests are called (PVE::Network): Proxmox VE makes and removes links of these names.
const OF_GUESTS: [&str; 5] = ["veth", "tap", "fwbr", "fwpr", "fwln"];

/// The links of the node, each by itself and all together.
pub(super) fn links(
    entry: &Entry<'_, HypervisorSource>,
    source: &HypervisorSource,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, Link> {
    let mut links = BTreeMap::new();
    for (name, source) in source.network.iter().flatten() {
        let at = At { entry, name };
        if let Some(link) = link(&at, source, context) {
            links.insert(name.clone(), link);
        }
    }
    together(entry, &links, context);
    links
}

/// A link in the file.
struct At<'a, 'd> {
    entry: &'a Entry<'d, HypervisorSource>,
    name: &'a str,
}

impl At<'_, '_> {
    fn spot(&self, key: &str) -> Spot {
        self.entry.spot(&["network", self.name, key])
    }

    fn own(&self) -> Spot {
        self.entry.key_spot(&["network", self.name])
    }

    fn bad(&self, key: &str, message: String) -> Draft {
        Draft::error(codes::BAD_LINK, self.spot(key), message)
    }
}

/// `vmbr0.20` is the VLAN 20 on `vmbr0`.
fn vlan_of_name(name: &str) -> Option<(u16, &str)> {
    let (on, tag) = name.rsplit_once('.')?;
    Some((tag.parse().ok().filter(|tag| (1..4095).contains(tag))?, on))
}

fn link(at: &At<'_, '_>, source: &LinkSource, context: &mut Context<'_, '_>) -> Option<Link> {
    let name = at.name;
    let guests = OF_GUESTS.iter().find(|begin| {
        name.strip_prefix(**begin).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    if name == "lo" || guests.is_some() {
        let message = match guests {
            Some(_) => format!("`{name}` is what Proxmox VE calls a link of a guest"),
            None => "`lo` is the node's way to itself, and stays as it is".to_owned(),
        };
        context.push(Draft::error(codes::BAD_NAME, at.own(), message).hint("such as \"vmbr1\""));
        return None;
    }
    let is = what(at, source, context)?;
    let bridge = matches!(is, LinkIs::Bridge { .. });
    let only = [
        ("vlan-aware", source.vlan_aware == Some(true), bridge, "a bridge", "ports"),
        ("nat", source.nat == Some(true), bridge, "a bridge", "ports"),
        ("mode", source.mode.is_some(), matches!(is, LinkIs::Bond { .. }), "a bond", "bond"),
        ("on", source.on.is_some(), matches!(is, LinkIs::Vlan { .. }), "a VLAN", "vlan"),
    ];
    for (key, said, may, what, makes) in only {
        if said && !may {
            let draft = at.bad(key, format!("`{name}` has `{key}`, which is only of {what}"));
            context.push(draft.hint(format!("with `{makes}` it is one")));
        }
    }
    addresses(at, source, context);
    Some(Link {
        name: name.to_owned(),
        is,
        address: source.address.map(|it| it.0),
        gateway: source.gateway.map(|it| it.0),
        address6: source.address6.map(|it| it.0),
        gateway6: source.gateway6.map(|it| it.0),
        dhcp: source.dhcp.unwrap_or(false),
        mtu: source.mtu,
        nat: source.nat.unwrap_or(false),
        declared: at.entry.location_of(&["network", at.name], context.report),
    })
}

/// What the link is, by the keys it has.
fn what(at: &At<'_, '_>, source: &LinkSource, context: &mut Context<'_, '_>) -> Option<LinkIs> {
    let ports = |all: &[crate::values::PortName]| -> Vec<Port> {
        let port = |text: &str| match text.strip_prefix("mac:") {
            Some(mac) => Port::Mac(mac.to_ascii_lowercase()),
            None => Port::Name(text.to_owned()),
        };
        all.iter().map(|it| port(&it.0)).collect()
    };
    let said: Vec<&str> =
        [("ports", source.ports.is_some()), ("bond", source.bond.is_some()), ("vlan", source.vlan.is_some())]
            .into_iter()
            .filter_map(|(key, said)| said.then_some(key))
            .collect();
    if let [first, second, ..] = said[..] {
        let message = format!("`{}` has both `{first}` and `{second}`, and can be only one", at.name);
        let draft = Draft::error(codes::NOT_ONE, at.spot(second), message);
        context.push(draft.related(at.spot(first), "the other"));
        return None;
    }
    let named = vlan_of_name(at.name);
    Some(match (&source.ports, &source.bond, source.vlan) {
        (Some(all), ..) => {
            LinkIs::Bridge { ports: ports(all), vlan_aware: source.vlan_aware.unwrap_or(false) }
        }
        (_, Some(all), _) => LinkIs::Bond { members: ports(all), mode: mode(source.mode).to_owned() },
        (.., Some(tag)) => {
            let on = source.on.as_ref().map(|on| on.0.as_str()).or(named.map(|(_, on)| on));
            let Some(on) = on else {
                let message = format!("the VLAN `{}` does not say which link it is `on`", at.name);
                context.push(
                    Draft::error(codes::MISSING_KEY, at.spot("vlan"), message).hint("\"on\": \"vmbr0\""),
                );
                return None;
            };
            if let Some((other, _)) = named.filter(|(other, _)| *other != tag) {
                let message = format!("`{}` is the VLAN {tag}, and its name says {other}", at.name);
                context.push(at.bad("vlan", message).hint("leave `vlan` out, or give it another name"));
            }
            LinkIs::Vlan { tag, on: on.to_owned() }
        }
        _ => match named {
            Some((tag, on)) => LinkIs::Vlan { tag, on: source.on.as_ref().map_or(on, |it| &it.0).to_owned() },
            None => LinkIs::Card,
        },
    })
}

fn mode(source: Option<BondModeSource>) -> &'static str {
    match source.unwrap_or(BondModeSource::ActiveBackup) {
        BondModeSource::BalanceRr => "balance-rr",
        BondModeSource::ActiveBackup => "active-backup",
        BondModeSource::BalanceXor => "balance-xor",
        BondModeSource::Broadcast => "broadcast",
        BondModeSource::Lacp => "802.3ad",
        BondModeSource::BalanceTlb => "balance-tlb",
        BondModeSource::BalanceAlb => "balance-alb",
    }
}

fn addresses(at: &At<'_, '_>, source: &LinkSource, context: &mut Context<'_, '_>) {
    let name = at.name;
    let four = source.address.map(|it| (IpAddr::from(it.0.address()), it.0.network().to_string()));
    let six = source.address6.map(|it| (IpAddr::from(it.0.address()), it.0.network().to_string()));
    let inside = |gateway: IpAddr| match gateway {
        IpAddr::V4(it) => source.address.is_none_or(|own| own.0.contains(&it)),
        // A router may be reached by the address that it has on the link alone.
        IpAddr::V6(it) => it.is_unicast_link_local() || source.address6.is_none_or(|own| own.0.contains(&it)),
    };
    let gateways = [
        ("gateway", "address", source.gateway.map(|it| IpAddr::from(it.0)), four),
        ("gateway6", "address6", source.gateway6.map(|it| IpAddr::from(it.0)), six),
    ];
    for (key, other, gateway, own) in gateways {
        let Some(gateway) = gateway else { continue };
        match own {
            None => {
                let message = format!("`{name}` has a `{key}` and no `{other}`");
                context.push(
                    Draft::error(codes::MISSING_KEY, at.spot(key), message)
                        .hint(format!("add the `{other}` that the node has there, or take the router away")),
                );
            }
            Some((address, _)) if address == gateway => {
                let message = format!("the node cannot be its own router: both are {gateway}");
                let draft = Draft::error(codes::DUPLICATE_ADDRESS, at.spot(key), message);
                context.push(draft.related(at.spot(other), "the node's address"));
            }
            Some((_, network)) if !inside(gateway) => {
                let message = format!("the router {gateway} of `{name}` is outside its network {network}");
                let draft = Draft::error(codes::OUTSIDE_SUBNET, at.spot(key), message);
                context.push(draft.related(at.spot(other), "the network"));
            }
            Some(_) => {}
        }
    }
    if source.dhcp == Some(true)
        && let Some(key) = [("address", source.address.is_some()), ("gateway", source.gateway.is_some())]
            .into_iter()
            .find_map(|(key, said)| said.then_some(key))
    {
        let message = format!("`{name}` asks for an address (`dhcp`), and has an `{key}` of its own");
        context.push(at.bad(key, message).hint("keep one of them"));
    }
    if source.nat == Some(true) && source.address.is_none() {
        let message =
            format!("`{name}` has `nat`, and the node has no `address` there to be the router with");
        context.push(at.bad("nat", message).hint("\"address\": \"10.1.0.1/24\""));
    }
}

/// What is only seen where all of them are looked at.
fn together(
    entry: &Entry<'_, HypervisorSource>,
    links: &BTreeMap<String, Link>,
    context: &mut Context<'_, '_>,
) {
    let at = |link: &'_ Link, key: &str| entry.spot(&["network", &link.name, key]);
    let mut whose: BTreeMap<&Port, &Link> = BTreeMap::new();
    let mut address: BTreeMap<IpAddr, (&Link, &str)> = BTreeMap::new();
    let mut router: BTreeMap<&str, &Link> = BTreeMap::new();
    for link in links.values() {
        let key = if matches!(link.is, LinkIs::Bond { .. }) { "bond" } else { "ports" };
        for port in link.parts() {
            if let Some(other) = whose.insert(port, link) {
                let message = match other.name == link.name {
                    true => format!("{port} is twice in `{}`", link.name),
                    false => {
                        format!("{port} is in `{}` and in `{}`, and can be in one", other.name, link.name)
                    }
                };
                let other_key = if matches!(other.is, LinkIs::Bond { .. }) { "bond" } else { "ports" };
                let draft = Draft::error(codes::BAD_LINK, at(link, key), message);
                context.push(draft.related(at(other, other_key), "the other"));
            }
            let Port::Name(name) = port else { continue };
            let Some(part) = links.get(name) else { continue };
            if let Some(why) = no_part(link, part) {
                let draft = Draft::error(codes::BAD_LINK, at(link, key), why);
                context.push(draft.related(entry.key_spot(&["network", name]), "it is declared here"));
            }
        }
        let own = [
            ("address", link.address.map(|it| IpAddr::from(it.address()))),
            ("address6", link.address6.map(|it| IpAddr::from(it.address()))),
        ];
        for (key, it) in own {
            let Some(it) = it else { continue };
            if let Some((other, other_key)) = address.insert(it, (link, key)) {
                let message = format!("`{}` and `{}` have the same address {it}", other.name, link.name);
                let draft = Draft::error(codes::DUPLICATE_ADDRESS, at(link, key), message);
                context.push(draft.related(at(other, other_key), "the other"));
            }
        }
        for (key, said) in [("gateway", link.gateway.is_some()), ("gateway6", link.gateway6.is_some())] {
            if said && let Some(other) = router.insert(key, link) {
                let message = format!(
                    "`{}` and `{}` each have a `{key}`: the node can have one way to everywhere else",
                    other.name, link.name
                );
                let draft = Draft::error(codes::BAD_LINK, at(link, key), message);
                context.push(draft.related(at(other, key), "the other"));
            }
        }
        if let LinkIs::Vlan { on, .. } = &link.is {
            vlan(entry, link, on, links, context);
        }
    }
    overlaps(entry, links, context);
}

/// Why a declared link cannot be a part of another.
fn no_part(of: &Link, part: &Link) -> Option<String> {
    let (name, kind) = (&part.name, part.kind());
    if part.name == of.name {
        return Some(format!("`{name}` cannot be a part of itself"));
    }
    match (&of.is, &part.is) {
        (_, LinkIs::Bridge { .. }) | (LinkIs::Bond { .. }, LinkIs::Bond { .. } | LinkIs::Vlan { .. }) => {
            return Some(format!("the {kind} `{name}` cannot be a part of the {} `{}`", of.kind(), of.name));
        }
        _ => {}
    }
    if part.address.is_some() || part.address6.is_some() || part.dhcp {
        return Some(format!(
            "`{name}` is a part of `{}` and has an address of its own: it would not answer there any more",
            of.name
        ));
    }
    let (wanted, has) = (of.mtu?, part.mtu?);
    (wanted > has)
        .then(|| format!("`{}` has packets of {wanted} bytes, and its part `{name}` takes {has}", of.name))
}

fn vlan(
    entry: &Entry<'_, HypervisorSource>,
    link: &Link,
    on: &str,
    links: &BTreeMap<String, Link>,
    context: &mut Context<'_, '_>,
) {
    let spot = entry.key_spot(&["network", &link.name]);
    let (mut below, mut steps) = (Some(on), 0);
    while let Some(name) = below {
        if name == link.name || steps > links.len() {
            let message = format!("the VLAN `{}` is on itself", link.name);
            context.push(Draft::error(codes::CYCLE, spot, message));
            return;
        }
        steps += 1;
        below = links.get(name).and_then(|it| match &it.is {
            LinkIs::Vlan { on, .. } => Some(on.as_str()),
            _ => None,
        });
    }
    if let (Some(wanted), Some(has)) = (link.mtu, links.get(on).and_then(|it| it.mtu))
        && wanted > has
    {
        let message =
            format!("`{}` has packets of {wanted} bytes, and `{on}`, which it is on, takes {has}", link.name);
        context.push(Draft::error(codes::BAD_LINK, entry.spot(&["network", &link.name, "mtu"]), message));
    }
}

/// Of two links in one network the node would use either.
fn overlaps(
    entry: &Entry<'_, HypervisorSource>,
    links: &BTreeMap<String, Link>,
    context: &mut Context<'_, '_>,
) {
    let mut sorted: Vec<(&Link, cidr::Ipv4Inet)> =
        links.values().filter_map(|link| Some((link, link.address?))).collect();
    sorted.sort_by_key(|(link, it)| (it.first_address(), it.network_length(), &link.name));
    for pair in sorted.windows(2) {
        let [(one, first), (other, second)] = pair else { continue };
        if first.last_address() >= second.first_address() && first.address() != second.address() {
            let message = format!("the networks of `{}` and `{}` overlap", one.name, other.name);
            let spot = |name: &str| entry.spot(&["network", name, "address"]);
            let draft = Draft::error(codes::OVERLAPPING_SUBNETS, spot(&other.name), message);
            context.push(draft.related(spot(&one.name), "the other"));
        }
    }
}

/// What networks and guests have to do with the node's links.
pub(super) fn check_used(
    links: &BTreeMap<String, Link>,
    networks: &BTreeMap<String, Network>,
    guests: &Guests,
    context: &mut Context<'_, '_>,
) {
    let namespace = context.namespace;
    let Some(entry) = &namespace.hypervisor else { return };
    for (name, network) in networks {
        let Some(link) = links.get(&network.bridge.0) else { continue };
        let Some(spot) = namespace.networks.get(name).map(|it| it.spot(&["bridge"])) else { continue };
        let declared = entry.key_spot(&["network", &link.name]);
        if !matches!(link.is, LinkIs::Bridge { .. }) {
            let message = format!(
                "guests of `{name}` are to be on `{}`, which is a {} and no bridge",
                link.name,
                link.kind()
            );
            context
                .push(Draft::error(codes::BAD_LINK, spot, message).related(declared, "it is declared here"));
        }
        if let (true, Some(own), Some(gateway)) = (link.nat, link.address, network.gateway)
            && own.address() != gateway
            && network.vlan.is_none()
        {
            let message = format!(
                "guests of `{name}` are to ask {gateway} for everywhere else, and with `nat` the node is that: {}",
                own.address()
            );
            let draft = Draft::error(codes::BAD_LINK, spot, message);
            context.push(
                draft.related(declared, "it is declared here").hint(format!(
                    "\"gateway\": \"{}\" in `networks.{name}`; or without `nat`",
                    own.address()
                )),
            );
        }
    }
    for guest in guests.values() {
        for nic in guest.nets.values() {
            let NicAddress::Static(inet) = &nic.address else { continue };
            let own = links.get(&nic.bridge.0).filter(|_| nic.vlan.is_none());
            let taken = own.filter(|link| link.address.is_some_and(|own| own.address() == inet.address()));
            if let Some(link) = taken {
                let message = format!(
                    "{} has the address {}, which is the node's own on `{}`",
                    guest.name,
                    inet.address(),
                    link.name
                );
                let spot = entry.spot(&["network", &link.name, "address"]);
                context.push(Draft::error(codes::DUPLICATE_ADDRESS, spot, message));
            }
        }
    }
}
