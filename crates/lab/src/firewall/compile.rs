//! From files and links to a script for `nft -f`.

use std::collections::BTreeMap;

use proxmox::firewall::judge::{self, MANAGEMENT_PORTS, policy_of};
use proxmox::firewall::{Addresses, Direction, FirewallFile, Range, Scope};

use super::kernel::{Abilities, FROM, KNOWN, MAY, REFUSE, chain, reject};
use super::rules::{For, Verdicts, of_version, port_set, statements};

/// The tables, one for bridges and one for IP.
pub(super) const TABLE: &str = "pve-firewall";

/// A guest's link: what is behind its `netN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The guest.
    pub id: u32,
    /// The number of its device: 0 for `net0`.
    pub slot: u8,
    /// Its MAC.
    pub mac: Option<String>,
    /// Its fixed addresses.
    pub addresses: Vec<Range>,
    /// Whether it has `firewall=1`.
    pub firewall: bool,
}

/// What is compiled.
#[derive(Debug, Clone)]
pub struct Input {
    /// `cluster.fw`.
    pub cluster: FirewallFile,
    /// The node's `host.fw`.
    pub host: FirewallFile,
    /// The guests' files.
    pub guests: BTreeMap<u32, FirewallFile>,
    /// The guests' links.
    pub links: Vec<Link>,
    /// The networks that the node's own address is in.
    pub local: Vec<Range>,
    /// What the kernel can do.
    pub abilities: Abilities,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// One transaction: what was there goes, what is to be comes.
    pub script: String,
    /// Rules that were left out, and why.
    pub warnings: Vec<String>,
    /// Whether anything is filtered at all.
    pub enabled: bool,
}

/// Takes our tables away. Each is made first, so that this never fails.
pub(super) fn nothing() -> String {
    ["bridge", "inet"]
        .map(|family| format!("table {family} {TABLE}\ndelete table {family} {TABLE}\n"))
        .concat()
}

/// Compiles the files. Nothing happens unless `cluster.fw` has `enable: 1`; a guest is filtered only if its own file has
/// it, too, and the link `firewall=1`.
pub fn compile(input: &Input) -> Compiled {
    let mut script = nothing();
    let mut warnings = Vec::new();
    let enabled = judge::enabled(&input.cluster);
    if enabled {
        let (judge_on_bridge, judge_on_ip) = input.abilities.judges();
        let bridge = guests(input, &mut warnings).into_iter().chain(judge_on_bridge);
        let inet = node(input, &mut warnings).into_iter().chain(judge_on_ip);
        for (family, lines) in [("bridge", bridge.collect::<Vec<_>>()), ("inet", inet.collect())] {
            script += &format!("table {family} {TABLE} {{\n{}\n}}\n", lines.join("\n"));
        }
    }
    Compiled { script, warnings, enabled }
}

/// Neighbour discovery, which IPv6 cannot do without.
const NEIGHBOURS: &str =
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }";

/// The same without what only a router says.
const NO_ROUTER: &str = "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }";

fn on(file: &FirewallFile, key: &str, default: bool) -> bool {
    file.option(key).map_or(default, |value| value == "1")
}

/// The chains of the guests' links.
fn guests(input: &Input, warnings: &mut Vec<String>) -> Vec<String> {
    let mut leaving = Vec::new();
    let mut arriving = Vec::new();
    let mut chains = Vec::new();
    for link in &input.links {
        let Some(file) = input.guests.get(&link.id).filter(|file| link.firewall && on(file, "enable", false))
        else {
            continue;
        };
        let name = crate::containers::veth(link.id, link.slot);
        leaving.push(format!("\"{name}\" : jump {name}-OUT"));
        arriving.push(format!("\"{name}\" : jump {name}-IN"));
        chains.extend(chain(&format!("{name}-OUT"), out(input, link, file, warnings)));
        chains.extend(chain(&format!("{name}-IN"), into(input, link, file, warnings)));
    }
    let map = |side: &str, list: &[String]| match list {
        [] => Vec::new(),
        list => vec![format!("{side} vmap {{ {} }}", list.join(", "))],
    };
    let hook =
        |hook: &str, priority: i32| format!("type filter hook {hook} priority {priority}; policy accept;");
    let mut lines = chain("leaving", [vec![hook("prerouting", -300)], map("iifname", &leaving)].concat());
    // Address resolution always passes.
    let other = "ether type != { ip, ip6 } return".to_owned();
    let known = format!("meta mark & {KNOWN:#x} != 0 return");
    lines.extend(chain("arriving", [vec![other, known], map("oifname", &arriving)].concat()));
    for (name, at) in [("forwarded", "forward"), ("sent", "output")] {
        lines.extend(chain(name, [hook(at, -10), "jump arriving".to_owned()]));
    }
    lines.extend(chain("may", [format!("meta mark set meta mark | {MAY:#x}"), "accept".to_owned()]));
    lines.extend(chain("refuse", [format!("meta mark set meta mark | {REFUSE:#x}"), "accept".to_owned()]));
    lines.extend(input.abilities.refused_on_bridge());
    lines.extend(chains);
    lines
}

fn scope<'a>(input: &'a Input, guest: Option<&'a FirewallFile>) -> Scope<'a> {
    Scope { cluster: &input.cluster, guest, local: &input.local }
}

/// What a guest sends. What is IP is not dropped here: a packet of a connection that was let through before passes,
/// whatever it says of itself (`PVEFW-FORWARD` comes first), and that is known only to the judge.
fn out(input: &Input, link: &Link, file: &FirewallFile, warnings: &mut Vec<String>) -> Vec<String> {
    let mac = link.mac.as_ref().filter(|_| on(file, "macfilter", true)).map(|mac| mac.to_ascii_lowercase());
    let own = OwnAddresses::of(input, link, file, warnings);
    let mut lines = frames(input, link, file, (mac.as_deref(), &own), warnings);
    lines.push("ether type != { ip, ip6 } accept".to_owned());
    lines.push(format!("meta mark set meta mark | {FROM:#x}"));
    // An address is asked for before the guest has one: nothing of it is looked at.
    if on(file, "dhcp", true) {
        lines.push("udp sport 68 udp dport 67 goto may".to_owned());
        lines.push("udp sport 546 udp dport 547 goto may".to_owned());
    }
    lines.extend(mac.map(|mac| format!("ether saddr != {mac} return")));
    let advertises = on(file, "radv", false);
    if !advertises {
        lines.push("icmpv6 type nd-router-advert return".to_owned());
    }
    lines.extend(own.lines());
    if on(file, "ndp", true) {
        lines.push(format!("{} goto may", if advertises { NEIGHBOURS } else { NO_ROUTER }));
    }
    let verdicts = Verdicts { accept: "goto may", drop: "return", reject: "goto refuse" };
    lines.extend(own_rules(input, link, file, (Direction::Out, verdicts), warnings));
    lines.push(verdicts.verdict_for(policy_of(file, Direction::Out)).to_owned());
    lines
}

/// What leaves a guest beside IP, which Proxmox VE has ebtables look at (`compile_ebtables_filter`): the address it is
/// from, who an ARP says it is from, and which protocols there are at all.
fn frames(
    input: &Input,
    link: &Link,
    file: &FirewallFile,
    (mac, own): (Option<&str>, &OwnAddresses),
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    if !on(&input.cluster, "ebtables", true) {
        return lines;
    }
    if let Some(mac) = mac {
        lines.push(format!("ether type != {{ ip, ip6 }} ether saddr != {mac} drop"));
    }
    if let Some(list) = of_version(&own.arp, 4) {
        lines.push(format!("ether type arp arp saddr ip != {{ {list} }} drop"));
    }
    if let Some(names) = file.option("layer2_protocols") {
        let known = |name: &str| {
            ETHER_TYPES
                .iter()
                .find(|(known, number)| *known == name || *number == name)
                .map(|(_, number)| number)
        };
        let found: Option<Vec<String>> =
            names.split(',').map(|name| Some(format!("0x{}", known(name.trim())?))).collect();
        match found {
            Some(types) => {
                lines.push(format!("ether type != {{ 0x0800, 0x86DD, {} }} drop", types.join(", ")));
            }
            None => warnings.push(format!("{}.fw: unknown ethernet protocol type in '{names}'", link.id)),
        }
    }
    lines
}

/// Protocols of frames beside IP, by the names of Debian's `/etc/ethertypes` (package netbase).
const ETHER_TYPES: [(&str, &str); 6] = [
    ("ARP", "0806"),
    ("802_1Q", "8100"),
    ("LLDP", "88CC"),
    ("PPP_DISC", "8863"),
    ("PPP_SES", "8864"),
    ("TRILL", "22F3"),
];

/// What a guest is sent.
fn into(input: &Input, link: &Link, file: &FirewallFile, warnings: &mut Vec<String>) -> Vec<String> {
    let mut lines = Vec::new();
    if on(file, "dhcp", true) {
        lines.push("udp sport 67 udp dport 68 return".to_owned());
        lines.push("udp sport 547 udp dport 546 return".to_owned());
    }
    if on(file, "ndp", true) {
        lines.push(format!("{NEIGHBOURS} return"));
    }
    let verdicts = Verdicts { accept: "return", drop: "drop", reject: "goto refused" };
    lines.extend(own_rules(input, link, file, (Direction::In, verdicts), warnings));
    lines.push(verdicts.verdict_for(policy_of(file, Direction::In)).to_owned());
    lines
}

fn own_rules(
    input: &Input,
    link: &Link,
    file: &FirewallFile,
    (direction, verdicts): (Direction, Verdicts),
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let device = format!("net{}", link.slot);
    let whom = For { direction, device: Some(&device), scope: scope(input, Some(file)), verdicts };
    let mut own = Vec::new();
    let lines = statements(file.rules(), whom, &mut own);
    warnings.extend(own.into_iter().map(|warning| format!("{}.fw: {warning}", link.id)));
    lines
}

/// The addresses that a guest may speak as: those of its device and of its set `ipfilter-netN`, where one or the other
/// asks for such a filter (`compile_ipsets`).
#[derive(Debug, Default)]
struct OwnAddresses {
    /// For IP; none where nothing is filtered.
    ip: Option<Addresses>,
    /// For ARP: nothing is filtered where there are none, and what a set leaves out passes.
    arp: Vec<Range>,
}

impl OwnAddresses {
    fn of(input: &Input, link: &Link, file: &FirewallFile, warnings: &mut Vec<String>) -> Self {
        let set = format!("ipfilter-net{}", link.slot);
        let (filter, members) = (on(file, "ipfilter", false), file.ip_set(&set));
        if !filter && members.is_none() {
            return Self::default();
        }
        let mut found = Addresses::default();
        if members.is_some_and(|members| !members.is_empty()) {
            match scope(input, Some(file)).addresses(&format!("+guest/{set}")) {
                Ok(set) => found = set,
                Err(why) => warnings.push(format!("{}.fw: {set}: {why}", link.id)),
            }
        }
        let mut arp = [found.within.clone(), found.without.clone()].concat();
        if filter {
            arp.extend(&link.addresses);
        }
        // Of the addresses that IPv6 gives by itself the one alone that follows from the MAC.
        let all_local = Range::parse("fe80::/10");
        found.within.retain(|range| Some(*range) != all_local);
        found.within.extend(link.addresses.iter().copied().chain(link.mac.as_deref().and_then(link_local)));
        Self { ip: Some(found), arp }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(allowed) = &self.ip else { return lines };
        for (version, key) in [(4, "ip"), (6, "ip6")] {
            lines.push(match of_version(&allowed.within, version) {
                Some(list) => format!("{key} saddr != {{ {list} }} return"),
                None => format!("ether type {key} return"),
            });
            if let Some(list) = of_version(&allowed.without, version) {
                lines.push(format!("{key} saddr {{ {list} }} return"));
            }
        }
        lines
    }
}

/// The address that a MAC gives by itself (RFC 4291, appendix A).
fn link_local(mac: &str) -> Option<Range> {
    let bytes: Vec<u8> =
        mac.split(':').map(|it| u8::from_str_radix(it, 16)).collect::<Result<_, _>>().ok()?;
    let [a, b, c, d, e, f] = bytes[..] else { return None };
    let group = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let address = std::net::Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        group(a ^ 2, b),
        group(c, 0xff),
        group(0xfe, d),
        group(e, f),
    );
    Range::parse(&address.to_string())
}

/// The chains of the node itself.
fn node(input: &Input, warnings: &mut Vec<String>) -> Vec<String> {
    let mut lines = chain("refused", reject());
    if !on(&input.host, "enable", true) {
        return lines;
    }
    let verdicts = Verdicts { accept: "accept", drop: "drop", reject: "goto refused" };
    let scope = scope(input, None);
    for (name, direction, loopback) in
        [("in", Direction::In, "iifname \"lo\" accept"), ("out", Direction::Out, "oifname \"lo\" accept")]
    {
        let hook = if direction == Direction::In { "input" } else { "output" };
        let mut body = vec![
            format!("type filter hook {hook} priority 0; policy accept;"),
            loopback.to_owned(),
            "ct state established,related accept".to_owned(),
        ];
        if !on(&input.host, "nf_conntrack_allow_invalid", false) {
            body.push("ct state invalid drop".to_owned());
        }
        if on(&input.host, "ndp", true) {
            body.push(format!("{NEIGHBOURS} accept"));
        }
        body.push("meta l4proto igmp accept".to_owned());
        // Addresses are asked of the site's router, which the node plays here and no real one does.
        body.push("udp sport { 67, 68 } udp dport { 67, 68 } accept".to_owned());
        let whom = For { direction, device: None, scope, verdicts };
        // The node's first, so that they can say something else than the cluster's.
        for (file, rules) in [("host.fw", &input.host), ("cluster.fw", &input.cluster)] {
            let mut own = Vec::new();
            body.extend(statements(rules.rules(), whom, &mut own));
            warnings.extend(own.into_iter().map(|warning| format!("{file}: {warning}")));
        }
        body.extend(management(scope, direction));
        body.push(verdicts.verdict_for(policy_of(&input.cluster, direction)).to_owned());
        lines.extend(chain(name, body));
    }
    lines
}

/// The ports for managing the node, for those who may without a rule.
fn management(scope: Scope<'_>, direction: Direction) -> Vec<String> {
    let all = scope.management();
    let (key, ports, set) = match direction {
        Direction::In => ("saddr", port_set(&MANAGEMENT_PORTS), all),
        _ => {
            // Outwards only the local network, and no migration.
            let local = scope.addresses("local_network").unwrap_or_default();
            ("daddr", port_set(&MANAGEMENT_PORTS[..4]), local)
        }
    };
    [(4, "ip"), (6, "ip6")]
        .into_iter()
        .filter_map(|(version, ip)| {
            let within = of_version(&set.within, version)?;
            let without = of_version(&set.without, version);
            let without = without.map_or_else(String::new, |list| format!(" {ip} {key} != {{ {list} }}"));
            Some(format!("{ip} {key} {{ {within} }}{without} tcp dport {{ {ports} }} accept"))
        })
        .collect()
}

#[cfg(test)]
mod tests;
