//! The way in: whether the address at which the node is reached stays on the cards that it is on (P-20). Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proxmox::network::{Interfaces, SeenNetwork};

use super::stanza::said;

/// Why the node would not be reached any more, once a file is in force; `client` is where whoever applies comes from.
pub(super) fn cut(
    seen: &SeenNetwork,
    now: &Interfaces,
    after: &Interfaces,
    client: Option<IpAddr>,
) -> Option<String> {
    let known = seen.way.and_then(|way| Some((way, seen.with_address(way)?)));
    // Where ssh does not say it, or another machine in between has the address: what leads to everywhere else.
    let ways: Vec<(IpAddr, &str)> = match known {
        Some(way) => vec![way],
        None => {
            let links: BTreeSet<&str> = seen.routes.iter().map(|(_, link)| link.as_str()).collect();
            let of = |name: &str| seen.links.get(name).into_iter().flat_map(|link| &link.addresses);
            links.into_iter().flat_map(|name| of(name).map(move |(address, _)| (*address, name))).collect()
        }
    };
    ways.into_iter().find_map(|(address, link)| lost(seen, now, after, (address, link), client))
}

fn lost(
    seen: &SeenNetwork,
    now: &Interfaces,
    after: &Interfaces,
    (address, link): (IpAddr, &str),
    client: Option<IpAddr>,
) -> Option<String> {
    let Some((on, length)) = carries(now, after, (address, link)) else {
        return Some(match part_of(after, link) {
            Some(of) => format!("{link}, on which the node is reached at {address}, becomes a part of {of}"),
            None => format!("the node is reached at {address} on {link}, and that address goes"),
        });
    };
    let roots = roots_now(seen, link);
    let then = roots_then(after, &on);
    // Behind a bridge without any card are guests alone, and stay so.
    let same = if roots == BTreeSet::from([link.to_owned()]) && !then.contains(link) {
        on == link && then.is_empty()
    } else {
        !roots.is_disjoint(&then)
    };
    if !same {
        let cards: Vec<&str> = roots.iter().map(String::as_str).collect();
        return Some(format!(
            "the node is reached at {address} through {}, which would not be behind {on} any more",
            cards.join(", ")
        ));
    }
    let client = client?;
    let near = |length: u8| match (address, client) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            cidr::Ipv4Inet::new(own, length).is_ok_and(|net| net.contains(&other))
        }
        (IpAddr::V6(own), IpAddr::V6(other)) => {
            cidr::Ipv6Inet::new(own, length).is_ok_and(|net| net.contains(&other))
        }
        _ => false,
    };
    let key = if address.is_ipv4() { "gateway" } else { "gateway6" };
    let router = |file: &Interfaces| {
        let names: BTreeSet<&str> = file.ifaces().map(|it| it.name.as_str()).collect();
        names.into_iter().find_map(|name| said(file, name)?.remove(key))
    };
    let (was, is) = (router(now)?, router(after));
    let by_dhcp = said(after, &on).is_some_and(|it| it.get("address").is_some_and(|it| it == "by DHCP"));
    (!client.is_loopback() && !near(length) && !by_dhcp && is.as_ref() != Some(&was)).then(|| match is {
        Some(is) => format!("{client} is answered through the router {was}, and that becomes {is}"),
        None => format!("{client} is answered through the router {was}, and that goes"),
    })
}

/// The link that has the address afterwards, and the length of its network.
fn carries(now: &Interfaces, after: &Interfaces, (address, link): (IpAddr, &str)) -> Option<(String, u8)> {
    let names: BTreeSet<&str> = after.ifaces().map(|it| it.name.as_str()).collect();
    for name in names {
        let Some(said) = said(after, name) else { continue };
        for key in ["address", "address6"] {
            let inet = said.get(key).and_then(|it| it.split_once('/'));
            if let Some((it, length)) = inet
                && it.parse::<IpAddr>() == Ok(address)
            {
                return Some((name.to_owned(), length.parse().ok()?));
            }
        }
    }
    // It has it from elsewhere, and goes on doing so: from DHCP, by a line of its own, or from a program that is not ifupdown.
    let whole = |file: &Interfaces| -> Vec<String> {
        file.of(link).map(|it| format!("{} {} {:?}", it.family, it.method, other_addresses(it))).collect()
    };
    let same = whole(now) == whole(after) && part_of(after, link).is_none();
    let own =
        |file: &Interfaces| said(file, link).is_some_and(|said| said.values().any(|it| begins(it, address)));
    (same && !own(now)).then(|| (link.to_owned(), 32))
}

fn begins(inet: &str, address: IpAddr) -> bool {
    inet.split('/').next().is_some_and(|it| it.parse::<IpAddr>() == Ok(address))
}

/// The lines of a link that may give it more addresses.
fn other_addresses(iface: &proxmox::network::Iface) -> Vec<&str> {
    let keys = ["up", "post-up"];
    iface.lines.iter().filter(|it| keys.contains(&it.key.as_str())).map(|it| it.value.as_str()).collect()
}

/// What a link is a part of, as a file says it.
fn part_of(file: &Interfaces, link: &str) -> Option<String> {
    let of = |name: &str| parts(file, name).iter().any(|it| it == link);
    file.ifaces().map(|it| it.name.as_str()).find(|name| of(name)).map(str::to_owned)
}

fn parts(file: &Interfaces, name: &str) -> Vec<String> {
    let Some(said) = said(file, name) else { return Vec::new() };
    let lists = ["ports", "bond"].into_iter().filter_map(|key| said.get(key));
    let words = lists.flat_map(|it| it.split(' ')).filter(|it| *it != "none").map(str::to_owned);
    let below = said.get("vlan").and_then(|it| it.split_once(" on ")).map(|(_, on)| on.to_owned());
    words.chain(below).collect()
}

/// The cards behind a link, as it is now; itself where nothing is behind it.
fn roots_now(seen: &SeenNetwork, link: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![link.to_owned()];
    while let Some(next) = open.pop() {
        let guests = |name: &str| ["veth", "tap", "fwpr", "fwln"].iter().any(|it| name.starts_with(it));
        let below: Vec<String> = (seen.links.iter())
            .filter(|(name, it)| it.master.as_deref() == Some(&next) && !guests(name))
            .map(|(name, _)| name.clone())
            .collect();
        let on = next.split_once('.').map(|(on, _)| on.to_owned()).filter(|on| seen.links.contains_key(on));
        match (below.is_empty(), on) {
            (false, _) => open.extend(below.into_iter().filter(|it| !found.contains(it))),
            (true, Some(on)) => open.push(on),
            (true, None) => drop(found.insert(next)),
        }
    }
    found
}

/// The cards behind a link, as a file says it; itself where it is one.
fn roots_then(file: &Interfaces, link: &str) -> BTreeSet<String> {
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec![link.to_owned()];
    while let Some(next) = open.pop() {
        if !seen.insert(next.clone()) {
            continue;
        }
        let below = parts(file, &next);
        let bridge = said(file, &next).is_some_and(|it| it.contains_key("ports"));
        match below.is_empty() {
            true if !bridge => drop(found.insert(next)),
            _ => open.extend(below),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxmox::network::Link;

    const NOW: &str = "iface enp5s0 inet manual\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.0.0.13/24\n\tgateway 10.0.0.1\n\
        \tbridge-ports enp5s0\n";

    fn seen() -> SeenNetwork {
        let mut seen = SeenNetwork::default();
        let card = Link { master: Some("vmbr0".into()), card: true, ..Link::default() };
        seen.links.insert("enp5s0".into(), card);
        seen.links.insert("enp6s0".into(), Link { card: true, ..Link::default() });
        let tap = Link { master: Some("vmbr0".into()), ..Link::default() };
        seen.links.insert("veth120i0".into(), tap);
        let bridge = Link {
            addresses: vec![("10.0.0.13".parse().unwrap(), 24)],
            bridge: Some(false),
            ..Link::default()
        };
        seen.links.insert("vmbr0".into(), bridge);
        seen.routes = vec![("10.0.0.1".parse().unwrap(), "vmbr0".into())];
        seen.way = Some("10.0.0.13".parse().unwrap());
        seen
    }

    fn why(after: &str, client: &str) -> Option<String> {
        cut(&seen(), &Interfaces::parse(NOW), &Interfaces::parse(after), Some(client.parse().unwrap()))
    }

    const NEAR: &str = "10.0.0.50";
    const FAR: &str = "192.0.2.7";

    /// P-20: an address that goes, moves off its card, or loses its router.
    #[test]
    fn what_would_cut_the_way_in() {
        for (after, client, words) in [
            (NOW.replace("10.0.0.13", "10.0.0.14"), NEAR, "that address goes"),
            (NOW.replace("ports enp5s0", "ports none"), NEAR, "would not be behind vmbr0 any more"),
            (NOW.replace("ports enp5s0", "ports enp6s0"), NEAR, "through enp5s0"),
            (NOW.replace("\tgateway 10.0.0.1\n", ""), FAR, "that goes"),
            (NOW.replace("gateway 10.0.0.1", "gateway 10.0.0.2"), FAR, "becomes 10.0.0.2"),
            ("auto lo\n".to_owned(), NEAR, "that address goes"),
        ] {
            let why = why(&after, client).unwrap_or_else(|| panic!("nothing is wrong with\n{after}"));
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn what_leaves_it_open() {
        let bond = NOW.replace("ports enp5s0", "ports bond0")
            + "auto bond0\niface bond0 inet manual\n\tbond-slaves enp5s0 enp6s0\n";
        let moved = "iface vmbr0 inet manual\n\tbridge-ports enp5s0\niface vmbr0.20 inet static\n\taddress 10.0.0.13/24\n\
            \tgateway 10.0.0.1\n";
        for (after, client) in [
            (NOW.to_owned(), FAR),
            (NOW.replace("/24", "/16"), FAR),
            (NOW.replace("\tgateway 10.0.0.1\n", ""), NEAR),
            (NOW.replace("ports enp5s0", "ports enp5s0 enp6s0"), FAR),
            (bond, FAR),
            (moved.to_owned(), FAR),
        ] {
            assert_eq!(why(&after, client), None, "{after}");
        }
    }

    /// A card that something else configures, which is to become a part of a bridge.
    #[test]
    fn a_card_that_nobody_declared() {
        let mut seen = seen();
        seen.links.clear();
        seen.links.insert(
            "eth0".into(),
            Link { addresses: vec![("10.0.0.13".parse().unwrap(), 24)], ..Link::default() },
        );
        let now = Interfaces::parse("auto lo\n");
        let other = Interfaces::parse("auto lo\nauto vmbr1\niface vmbr1 inet manual\n\tbridge-ports none\n");
        assert_eq!(cut(&seen, &now, &other, None), None);
        let taken = Interfaces::parse("auto lo\nauto vmbr1\niface vmbr1 inet manual\n\tbridge-ports eth0\n");
        let why = cut(&seen, &now, &taken, None).unwrap();
        assert!(why.contains("becomes a part of vmbr1"), "{why}");
        // With its address it may.
        let with = Interfaces::parse(
            "auto vmbr1\niface vmbr1 inet static\n\taddress 10.0.0.13/24\n\tbridge-ports eth0\n",
        );
        assert_eq!(cut(&seen, &now, &with, None), None);
        // Without ssh saying where, what leads everywhere counts.
        seen.way = None;
        seen.routes = vec![("10.0.0.1".parse().unwrap(), "eth0".into())];
        assert!(cut(&seen, &now, &taken, None).is_some());
    }
}
