//! A link as `/etc/network/interfaces` says it: what is said of it there, what is to be said, and how the one is edited into the
//! other. What nobody here knows stays (P-20, P-25). Pure.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{Link, LinkIs};
use cidr::Ipv4Inet;
use proxmox::network::{Iface, Interfaces, Line, same_key};

/// What is said of a link, by what people call it.
pub(super) type Said = BTreeMap<&'static str, String>;

/// The options of IPv4 that follow from the blueprint: what else is there is kept.
const OURS: [&str; 15] = [
    "address",
    "netmask",
    "network",
    "broadcast",
    "gateway",
    "bridge-ports",
    "bridge-vlan-aware",
    "bridge-vids",
    "bond-slaves",
    "slaves",
    "bond-mode",
    "bond-primary",
    "vlan-raw-device",
    "vlan-id",
    "mtu",
];

/// A link that is wanted, with the names that its parts have on the node today.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub link: &'a Link,
    pub parts: Vec<String>,
}

/// The lines with which a bridge lets out who is on it. Proxmox VE's own pages do the same with iptables ("Masquerading (NAT)
/// with iptables" in its administration guide, with the zone for bridges of guests that have a firewall); each bridge has a table of
/// its own here, so that nobody else's rules are touched.
fn nat(bridge: &str, net: &str) -> [String; 3] {
    let table = format!("ip {}", table(bridge));
    [
        "echo 1 >/proc/sys/net/ipv4/ip_forward".to_owned(),
        format!(
            "nft 'add table {table}; flush table {table}; add chain {table} out {{ type nat hook postrouting priority 100; }}; \
             add rule {table} out ip saddr {net} ip daddr != {net} masquerade; \
             add chain {table} zone {{ type filter hook prerouting priority -300; }}; \
             add rule {table} zone iifname \"fwbr*\" ct zone set 1'"
        ),
        format!("nft delete table {table}"),
    ]
}

/// The table of a bridge that lets out who is on it.
pub(super) fn table(bridge: &str) -> String {
    format!("phoenix-nat-{bridge}")
}

/// The network that such lines let out.
fn nat_of(bridge: &str, line: &Line) -> Option<String> {
    let net = line.value.split(" ip saddr ").nth(1)?.split(' ').next()?;
    (line.value == nat(bridge, net)[1]).then(|| net.to_owned())
}

fn is_nat(bridge: &str, iface: &Iface, line: &Line) -> bool {
    let lets_out = iface.lines.iter().any(|it| nat_of(bridge, it).is_some());
    let [forward, _, ends] = nat(bridge, "");
    nat_of(bridge, line).is_some()
        || line.value == ends
        // Somebody may have the same line for other reasons: with it alone it is theirs.
        || (lets_out && line.value == forward)
}

fn sorted(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let set: BTreeSet<String> = words.into_iter().map(|it| it.as_ref().to_owned()).collect();
    match set.is_empty() {
        true => "none".to_owned(),
        false => set.into_iter().collect::<Vec<_>>().join(" "),
    }
}

/// An address with the length of its network, whether that stands with it or as a mask of its own.
fn with_length(iface: &Iface) -> Option<String> {
    let address = iface.value("address")?;
    if address.contains('/') {
        return Some(address.to_owned());
    }
    let mask = iface.value("netmask")?;
    let length = match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => u32::from(mask).leading_ones().to_string(),
        Err(_) => mask.to_owned(),
    };
    Some(format!("{address}/{length}"))
}

/// What a file says of a link; nothing where it says nothing.
pub(super) fn said(file: &Interfaces, name: &str) -> Option<Said> {
    let mut said = Said::new();
    for iface in file.of(name) {
        if iface.family == "inet6" {
            if iface.method == "static" {
                said.extend(with_length(iface).map(|it| ("address6", it)));
                said.extend(iface.value("gateway").map(|it| ("gateway6", it.to_owned())));
            }
            continue;
        }
        if iface.method == "dhcp" {
            said.insert("address", "by DHCP".to_owned());
        }
        let list =
            |key: &str| iface.value(key).map(|it| sorted(it.split_whitespace().filter(|it| *it != "none")));
        said.extend(with_length(iface).map(|it| ("address", it)));
        said.extend(iface.value("gateway").map(|it| ("gateway", it.to_owned())));
        said.extend(list("bridge-ports").map(|it| ("ports", it)));
        said.extend(list("bond-slaves").or_else(|| list("slaves")).map(|it| ("bond", it)));
        said.extend(iface.value("bond-mode").map(|it| ("mode", mode(it).to_owned())));
        let aware =
            iface.value("bridge-vlan-aware").is_some_and(|it| matches!(it, "yes" | "1" | "on" | "true"));
        said.extend(aware.then(|| ("vlan-aware", "yes".to_owned())));
        said.extend(iface.value("mtu").map(|it| ("mtu", it.to_owned())));
        said.extend(iface.lines.iter().find_map(|line| nat_of(name, line)).map(|net| ("nat", net)));
        let of_name = name.rsplit_once('.').filter(|(_, tag)| tag.parse::<u16>().is_ok());
        let on = iface.value("vlan-raw-device").or(of_name.map(|(on, _)| on));
        let tag = iface.value("vlan-id").or(of_name.map(|(_, tag)| tag)).or(name.strip_prefix("vlan"));
        if let (Some(on), Some(tag)) = (on, tag) {
            said.insert("vlan", format!("{tag} on {on}"));
        }
    }
    let known = file.of(name).next().is_some();
    if known && !file.is_auto(name) {
        said.insert("comes up", "by hand".to_owned());
    }
    known.then_some(said)
}

/// The kernel takes modes as numbers, too.
fn mode(word: &str) -> &str {
    const MODES: [&str; 7] =
        ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
    word.parse::<usize>().ok().and_then(|at| MODES.get(at).copied()).unwrap_or(word)
}

/// What is to be said of it.
pub(super) fn to_say(wanted: &Wanted<'_>) -> Said {
    let link = wanted.link;
    let mut said = Said::new();
    said.extend(link.address.map(|it| ("address", inet(it))));
    said.extend(link.dhcp.then(|| ("address", "by DHCP".to_owned())));
    said.extend(link.gateway.map(|it| ("gateway", it.to_string())));
    said.extend(link.address6.map(|it| ("address6", format!("{}/{}", it.address(), it.network_length()))));
    said.extend(link.gateway6.map(|it| ("gateway6", it.to_string())));
    said.extend(link.mtu.map(|it| ("mtu", it.to_string())));
    match &link.is {
        LinkIs::Bridge { vlan_aware, .. } => {
            said.insert("ports", sorted(&wanted.parts));
            said.extend(vlan_aware.then(|| ("vlan-aware", "yes".to_owned())));
            said.extend(link.address.filter(|_| link.nat).map(|it| ("nat", it.network().to_string())));
        }
        LinkIs::Bond { mode, .. } => {
            said.insert("bond", sorted(&wanted.parts));
            said.insert("mode", mode.clone());
        }
        LinkIs::Vlan { tag, on } => drop(said.insert("vlan", format!("{tag} on {on}"))),
        LinkIs::Card => {}
    }
    said
}

/// With its length, also where that is 32.
fn inet(it: Ipv4Inet) -> String {
    format!("{}/{}", it.address(), it.network_length())
}

/// How the link stands in the file afterwards: what is ours in the places it has, what is new below, what is others' kept.
pub(super) fn edited(file: &Interfaces, wanted: &Wanted<'_>) -> Vec<Iface> {
    let link = wanted.link;
    let there = |six: bool| file.of(&link.name).find(|it| (it.family == "inet6") == six);
    let method = match (link.address, link.dhcp) {
        (Some(_), _) => "static",
        (_, true) => "dhcp",
        _ => "manual",
    };
    let mut ours: Vec<(&str, String)> = Vec::new();
    ours.extend(link.address.map(|it| ("address", inet(it))));
    ours.extend(link.gateway.map(|it| ("gateway", it.to_string())));
    // Only where nothing is said: others may have reasons.
    let mut unless: Vec<(&str, &str)> = Vec::new();
    match &link.is {
        LinkIs::Bridge { vlan_aware, .. } => {
            let ports = if wanted.parts.is_empty() { "none".to_owned() } else { wanted.parts.join(" ") };
            ours.push(("bridge-ports", ports));
            unless.extend([("bridge-stp", "off"), ("bridge-fd", "0")]);
            if *vlan_aware {
                let vids = there(false).and_then(|it| it.value("bridge-vids")).unwrap_or("2-4094");
                ours.extend([("bridge-vlan-aware", "yes".to_owned()), ("bridge-vids", vids.to_owned())]);
            }
        }
        LinkIs::Bond { mode, .. } => {
            ours.extend([("bond-slaves", wanted.parts.join(" ")), ("bond-mode", mode.clone())]);
            unless.push(("bond-miimon", "100"));
            if mode == "802.3ad" || mode == "balance-xor" {
                unless.push(("bond-xmit-hash-policy", "layer2+3"));
            }
        }
        LinkIs::Vlan { tag, on } => {
            if link.name != format!("{on}.{tag}") {
                ours.extend([("vlan-raw-device", on.clone()), ("vlan-id", tag.to_string())]);
            }
        }
        LinkIs::Card => {}
    }
    ours.extend(link.mtu.map(|it| ("mtu", it.to_string())));
    let mut lines = merged(there(false), &link.name, ours);
    for (key, value) in unless {
        if !lines.iter().any(|line| same_key(&line.key, key)) {
            let at =
                lines.iter().rposition(|line| line.key.starts_with("bridge") || line.key.starts_with("bond"));
            lines.insert(at.map_or(lines.len(), |at| at + 1), Line::new(key, value));
        }
    }
    if let (true, Some(address)) = (link.nat, link.address) {
        let [forward, out, ends] = nat(&link.name, &address.network().to_string());
        lines.extend([
            Line::new("post-up", &forward),
            Line::new("post-up", &out),
            Line::new("post-down", &ends),
        ]);
    }
    let mut all = vec![with_head(there(false), &link.name, "inet", method, lines)];
    match (link.address6, there(true)) {
        (Some(address), there) => {
            let mut ours = vec![("address", format!("{}/{}", address.address(), address.network_length()))];
            ours.extend(link.gateway6.map(|it| ("gateway", it.to_string())));
            let lines = merged(there, &link.name, ours);
            all.push(with_head(there, &link.name, "inet6", "static", lines));
        }
        // What finds its address by itself was asked to by somebody.
        (None, Some(there)) if there.method != "static" => all.push(there.clone()),
        (None, _) => {}
    }
    all
}

/// A card or bond that is a part of something: without an address of its own.
pub(super) fn as_part(file: &Interfaces, name: &str, mtu: Option<u16>) -> Vec<Iface> {
    let there = file.of(name).find(|it| it.family != "inet6");
    let kept = there.and_then(|it| it.value("mtu")).map(str::to_owned);
    let ours = mtu.map(|it| it.to_string()).or(kept).map(|it| ("mtu", it));
    let lines = merged(there, name, ours.into_iter().collect());
    vec![with_head(there, name, "inet", "manual", lines)]
}

fn with_head(there: Option<&Iface>, name: &str, family: &str, method: &str, lines: Vec<Line>) -> Iface {
    match there {
        Some(there) if there.method == method => Iface { lines, ..there.clone() },
        _ => Iface::new(name, family, method, lines),
    }
}

fn merged(there: Option<&Iface>, name: &str, mut ours: Vec<(&str, String)>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut end = 0;
    for line in there.iter().flat_map(|it| &it.lines) {
        if there.is_some_and(|it| is_nat(name, it, line)) {
            continue;
        }
        if !OURS.iter().any(|key| same_key(key, &line.key)) {
            lines.push(line.clone());
            if !line.key.is_empty() && (line.key.starts_with("bridge") || line.key.starts_with("bond")) {
                end = lines.len();
            }
            continue;
        }
        let Some(at) = ours.iter().position(|(key, _)| same_key(key, &line.key)) else { continue };
        let (key, value) = ours.remove(at);
        let same = sorted(line.value.split(' ')) == sorted(value.split(' '));
        lines.push(if same { line.clone() } else { Line::new(key, &value) });
        end = lines.len();
    }
    let new: Vec<Line> = ours.into_iter().map(|(key, value)| Line::new(key, &value)).collect();
    lines.splice(end..end, new);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use blueprint::model::{Location, Port};
    use proptest::prelude::*;

    fn bridge(name: &str, ports: &[&str]) -> Link {
        let ports = ports.iter().map(|it| Port::Name((*it).to_owned())).collect();
        Link {
            name: name.to_owned(),
            is: LinkIs::Bridge { ports, vlan_aware: false },
            address: None,
            gateway: None,
            address6: None,
            gateway6: None,
            dhcp: false,
            mtu: None,
            nat: false,
            declared: Location::default(),
        }
    }

    fn applied(text: &str, link: &Link, parts: &[&str]) -> String {
        let mut file = Interfaces::parse(text);
        let wanted = Wanted { link, parts: parts.iter().map(|it| (*it).to_owned()).collect() };
        let ifaces = edited(&file, &wanted);
        file.put(&link.name, true, ifaces);
        assert_eq!(said(&file, &link.name), Some(to_say(&wanted)), "{file}");
        file.to_string()
    }

    const THERE: &str = "auto lo\niface lo inet loopback\n\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.0.0.13\n\
        \tnetmask 255.255.255.0\n\tgateway 10.0.0.1\n\tbridge_ports enp5s0\n\tbridge_stp off\n\tpost-up echo theirs\n#the office\n";

    /// P-20: nothing is touched where it is equal, in whatever words it is said; P-25.
    #[test]
    fn the_same_in_other_words_is_the_same() {
        let file = Interfaces::parse(THERE);
        let mut link = bridge("vmbr0", &["enp5s0"]);
        link.address = Some("10.0.0.13/24".parse().unwrap());
        link.gateway = Some("10.0.0.1".parse().unwrap());
        let wanted = Wanted { link: &link, parts: vec!["enp5s0".into()] };
        assert_eq!(said(&file, "vmbr0"), Some(to_say(&wanted)));
    }

    #[test]
    fn what_others_wrote_stays_in_what_is_changed() {
        let mut link = bridge("vmbr0", &["enp5s0"]);
        link.address = Some("10.0.0.14/24".parse().unwrap());
        link.gateway = Some("10.0.0.1".parse().unwrap());
        link.mtu = Some(9000);
        let text = applied(THERE, &link, &["enp5s0"]);
        assert_eq!(
            text,
            "auto lo\niface lo inet loopback\n\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.0.0.14/24\n\tgateway 10.0.0.1\n\
             \tbridge_ports enp5s0\n\tbridge_stp off\n\tbridge-fd 0\n\tmtu 9000\n\tpost-up echo theirs\n#the office\n"
        );
    }

    #[test]
    fn an_inner_network_gets_out_and_stops_to() {
        let mut link = bridge("vmbr1", &[]);
        link.address = Some("10.1.0.1/24".parse().unwrap());
        link.nat = true;
        let text = applied(THERE, &link, &[]);
        assert!(
            text.starts_with(THERE)
                && text.contains("ip saddr 10.1.0.0/24 ip daddr != 10.1.0.0/24 masquerade"),
            "{text}"
        );
        // Elsewhere it is another network, and there is one rule for it.
        link.address = Some("10.2.0.1/24".parse().unwrap());
        let moved = applied(&text, &link, &[]);
        assert!(!moved.contains("10.1.0") && moved.matches("masquerade").count() == 1, "{moved}");
        link.nat = false;
        let without = applied(&moved, &link, &[]);
        assert!(!without.contains("nft") && !without.contains("ip_forward"), "{without}");
    }

    fn any_link() -> impl Strategy<Value = (Link, Vec<String>)> {
        let address = proptest::option::of((1..250_u8, 8..30_u8));
        let parts = proptest::collection::btree_set("en[a-z][0-9]", 0..3);
        (0..4_u8, parts, address, any::<[bool; 5]>(), proptest::option::of(576..9000_u16)).prop_map(
            |(kind, parts, address, [aware, dhcp, nat, six, gateway], mtu)| {
                let mut link = bridge("vmbr7", &[]);
                link.is = match kind {
                    0 => LinkIs::Bridge { ports: Vec::new(), vlan_aware: aware },
                    1 => LinkIs::Bond { members: Vec::new(), mode: "802.3ad".into() },
                    2 => LinkIs::Vlan { tag: 20, on: "vmbr0".into() },
                    _ => LinkIs::Card,
                };
                link.address =
                    address.map(|(last, length)| Ipv4Inet::new([10, 9, 8, last].into(), length).unwrap());
                link.dhcp = dhcp && link.address.is_none();
                link.nat = nat && kind == 0 && link.address.is_some();
                link.gateway = (gateway && link.address.is_some()).then(|| [10, 9, 8, 251].into());
                link.address6 = six.then(|| "fd00::7/64".parse().unwrap());
                link.gateway6 = (six && gateway).then(|| "fe80::1".parse().unwrap());
                link.mtu = mtu;
                (link, if kind < 2 { parts.into_iter().collect() } else { Vec::new() })
            },
        )
    }

    proptest! {
        /// Whatever a link was, it becomes what is wanted, and what is others' stays; a second time changes nothing.
        #[test]
        fn whatever_was_there_becomes_what_is_wanted((before, old) in any_link(), (after, new) in any_link()) {
            let old: Vec<&str> = old.iter().map(String::as_str).collect();
            let new: Vec<&str> = new.iter().map(String::as_str).collect();
            let mut text = applied(THERE, &before, &old);
            text = text.replace("iface vmbr7 inet ", "iface vmbr7  inet ").replacen("iface vmbr7", "# theirs\niface vmbr7", 1);
            let text = applied(&text, &after, &new);
            prop_assert_eq!(&applied(&text, &after, &new), &text);
            prop_assert!(text.contains("# theirs"));
            prop_assert!(text.starts_with(THERE));
            let mut file = Interfaces::parse(&text.replace("# theirs\n", ""));
            file.remove("vmbr7");
            prop_assert_eq!(file.to_string(), THERE);
        }
    }
}
