//! Which addresses the node has once its links are as they are declared. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use blueprint::model::Link;
use cidr::Ipv4Inet;
use plan::planner::World;

use super::{Applied, declared, seen};

/// Those of the links that are declared as they are declared, and the others as they are: what names the node in a plan that
/// changes its links names it in the next one, too.
pub(crate) fn addresses(world: World<'_>) -> Vec<Ipv4Inet> {
    let there = &world.inventory.reached().addresses;
    let links: Vec<Link> = if world.options.destroy { Vec::new() } else { declared(world.desired).collect() };
    let mark = world.inventory.reached().hypervisor.as_ref().filter(|it| it.site == world.desired.site);
    let made = mark.into_iter().flat_map(|mark| super::diff::gone(mark, &links));
    let going: Vec<String> =
        made.filter(|(_, it): &(String, Applied)| it.made).map(|(name, _)| name).collect();
    if links.is_empty() && going.is_empty() {
        return there.clone();
    }
    let seen = seen(world.inventory).and_then(Result::ok);
    let on: BTreeMap<IpAddr, &str> = seen
        .iter()
        .flat_map(|seen| &seen.links)
        .flat_map(|(name, link)| link.addresses.iter().map(|(address, _)| (*address, name.as_str())))
        .collect();
    after(there, &on, &links, &going)
}

/// `there` are the addresses of now, `on` tells which link has each.
fn after(there: &[Ipv4Inet], on: &BTreeMap<IpAddr, &str>, links: &[Link], going: &[String]) -> Vec<Ipv4Inet> {
    let stays = |address: &&Ipv4Inet| {
        let Some(name) = on.get(&address.address().into()) else { return true };
        let is_part = |link: &Link| link.parts().iter().any(|part| part.to_string() == *name);
        // What a router gives to a link is known only by looking.
        let own = |link: &&Link| link.name == *name && !link.dhcp;
        !going.iter().any(|it| it == name) && !links.iter().any(|link| own(&link) || is_part(link))
    };
    let declared = links.iter().filter_map(|link| link.address);
    let mut after: Vec<Ipv4Inet> = there.iter().filter(stays).copied().chain(declared).collect();
    after.sort_unstable();
    after.dedup();
    after
}

#[cfg(test)]
mod tests {
    use blueprint::model::{LinkIs, Port};

    use super::*;

    fn link(name: &str, address: Option<&str>) -> Link {
        Link {
            name: name.into(),
            is: LinkIs::Bridge { ports: vec![Port::Name("eno1".into())], vlan_aware: false },
            address: address.map(|it| it.parse().expect("an address")),
            gateway: None,
            address6: None,
            gateway6: None,
            dhcp: false,
            mtu: None,
            nat: false,
            declared: blueprint::model::Location::default(),
        }
    }

    #[test]
    fn what_is_declared_takes_the_place_of_what_is_there() {
        let there: Vec<Ipv4Inet> =
            ["10.0.0.13/24", "10.2.0.1/24", "10.3.0.1/24"].map(|it| it.parse().expect("one")).to_vec();
        let on = [("10.0.0.13", "eno1"), ("10.2.0.1", "vmbr1"), ("10.3.0.1", "tun0")];
        let on: BTreeMap<IpAddr, &str> = on.map(|(it, link)| (it.parse().expect("one"), link)).into();
        let said = |links: &[Link], going: &[String]| {
            after(&there, &on, links, going).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        // A card that becomes part of a bridge gives its address to it.
        let vmbr0 = link("vmbr0", Some("10.0.0.13/24"));
        assert_eq!(said(std::slice::from_ref(&vmbr0), &[]), "10.0.0.13/24 10.2.0.1/24 10.3.0.1/24");
        // Another address, and one more link.
        let links = [link("vmbr1", Some("10.2.0.9/24")), link("vmbr2", Some("10.4.0.1/24"))];
        assert_eq!(said(&links, &[]), "10.2.0.9/24 10.3.0.1/24 10.4.0.1/24");
        // Whoever asks keeps what was given, and what goes takes its address along.
        let asks = Link { dhcp: true, ..link("vmbr1", None) };
        assert_eq!(said(&[asks], &[]), "10.2.0.1/24 10.3.0.1/24");
        assert_eq!(said(&[], &["vmbr1".into()]), "10.0.0.13/24 10.3.0.1/24");
    }
}
