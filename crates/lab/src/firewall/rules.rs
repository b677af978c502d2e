//! One rule of Proxmox VE as statements of nftables.

use std::net::IpAddr;

use proxmox::firewall::{Action, Addresses, Direction, Range, Rule, Scope, What, macros, ports};

/// What a chain says for each action.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdicts {
    pub accept: &'static str,
    pub drop: &'static str,
    pub reject: &'static str,
}

impl Verdicts {
    pub(super) fn verdict_for(&self, action: Action) -> &'static str {
        match action {
            Action::Accept => self.accept,
            Action::Drop => self.drop,
            Action::Reject => self.reject,
        }
    }
}

/// For whom rules are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct For<'a> {
    pub direction: Direction,
    /// A guest's device (`net0`), whose rules may be bound to it; none for the node, whose rules name its own devices.
    pub device: Option<&'a str>,
    pub scope: Scope<'a>,
    pub verdicts: Verdicts,
}

/// The statements of all rules, in their order. What pve-firewall leaves out with a warning is left out with one here.
pub(super) fn statements<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    whom: For<'_>,
    warnings: &mut Vec<String>,
) -> Vec<String> {
    let mut out = Vec::new();
    for rule in rules.into_iter().filter(|rule| rule.enable) {
        match &rule.what {
            What::Group(name) => match whom.scope.cluster.group(name) {
                Some(inner) => {
                    for inner in inner.into_iter().filter(|inner| inner.enable) {
                        // A group's rules are bound to the device that the group is bound to.
                        let bound =
                            Rule { iface: rule.iface.clone().or(inner.iface.clone()), ..inner.clone() };
                        compile_packets(&bound, whom, warnings, &mut out);
                    }
                }
                None => warnings.push(format!("`{rule}`: no such group '{name}'")),
            },
            What::Packets { .. } => compile_packets(rule, whom, warnings, &mut out),
        }
    }
    out
}

fn compile_packets(rule: &Rule, whom: For<'_>, warnings: &mut Vec<String>, out: &mut Vec<String>) {
    let What::Packets { direction, macro_name, action } = &rule.what else { return };
    if *direction != whom.direction {
        return;
    }
    let mut device = String::new();
    match (&rule.iface, whom.device) {
        (Some(iface), Some(own)) if iface != own => return,
        (Some(iface), None) => {
            let side = if whom.direction == Direction::In { "iifname" } else { "oifname" };
            if !iface.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
                warnings.push(format!("`{rule}`: '{iface}' is no name of a device"));
                return;
            }
            device = format!("{side} \"{iface}\" ");
        }
        _ => {}
    }
    let parts = addresses(rule, whom.scope).and_then(|families| Ok((families, protocols(rule, macro_name)?)));
    let (families, protocols) = match parts {
        Ok(parts) => parts,
        Err(why) => {
            warnings.push(format!("`{rule}`: {why}"));
            return;
        }
    };
    let comment = rule.comment.as_deref().map(comment).unwrap_or_default();
    for family in &families {
        for protocol in &protocols {
            let fits = protocol.version.is_none_or(|version| family.version.is_none_or(|it| it == version));
            if fits {
                let matches = format!("{device}{}{}", family.text, protocol.text);
                out.push(format!("{matches}{}{comment}", whom.verdicts.verdict_for(*action)));
            }
        }
    }
}

/// A part of a rule that may hold for one version of IP alone. The text ends in a blank, or is empty.
struct Part {
    version: Option<u8>,
    text: String,
}

/// The addresses of a rule, for each version of IP that it can be about.
fn addresses(rule: &Rule, scope: Scope<'_>) -> Result<Vec<Part>, String> {
    let look = |text: &Option<String>| text.as_deref().map(|text| scope.addresses(text)).transpose();
    let (source, dest) = (look(&rule.source)?, look(&rule.dest)?);
    if source.is_none() && dest.is_none() {
        return Ok(vec![Part { version: None, text: String::new() }]);
    }
    let part = |version: u8| {
        let mut text = String::new();
        for (key, set) in [("saddr", &source), ("daddr", &dest)] {
            if let Some(set) = set {
                text += &matching(set, version, key)?;
            }
        }
        Some(Part { version: Some(version), text })
    };
    Ok([4, 6].into_iter().filter_map(part).collect())
}

/// `ip saddr { … } `; none where the set has no address of that version.
fn matching(set: &Addresses, version: u8, key: &str) -> Option<String> {
    let ip = if version == 4 { "ip" } else { "ip6" };
    let within = of_version(&set.within, version)?;
    let without = of_version(&set.without, version);
    let without = without.map_or_else(String::new, |list| format!("{ip} {key} != {{ {list} }} "));
    Some(format!("{ip} {key} {{ {within} }} {without}"))
}

/// Ranges as elements of a set, merged, since a set's intervals must not overlap. None where there are none.
pub(super) fn of_version(ranges: &[Range], version: u8) -> Option<String> {
    let mut own: Vec<Range> =
        ranges.iter().copied().filter(|range| range.first.is_ipv4() == (version == 4)).collect();
    own.sort();
    let mut merged: Vec<Range> = Vec::new();
    for range in own {
        match merged.last_mut() {
            Some(last) if range.first <= last.last || next(last.last) == Some(range.first) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    let text = |range: &Range| {
        if range.first == range.last {
            range.first.to_string()
        } else {
            format!("{}-{}", range.first, range.last)
        }
    };
    (!merged.is_empty()).then(|| merged.iter().map(text).collect::<Vec<_>>().join(", "))
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(it) => it.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(it) => it.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// Protocols and ports of a rule, its macro's among them.
fn protocols(rule: &Rule, macro_name: &Option<String>) -> Result<Vec<Part>, String> {
    let Some(name) = macro_name else {
        let ports = (rule.dport.as_deref(), rule.sport.as_deref());
        return Ok(vec![protocol(rule.proto.as_deref(), ports, rule.icmp_type.as_deref())?]);
    };
    let list = macros::expand(name).ok_or_else(|| format!("unknown macro '{name}'"))?;
    list.iter()
        .map(|(proto, dport)| {
            // A macro's own words count more than the rule's, which fill in what it leaves open.
            let dport = Some(*dport).filter(|dport| !dport.is_empty()).or(rule.dport.as_deref());
            let icmp = (*proto == "icmp").then_some("echo-request");
            protocol(Some(proto), (dport, rule.sport.as_deref()), icmp)
        })
        .collect()
}

fn protocol(
    proto: Option<&str>,
    (dport, sport): (Option<&str>, Option<&str>),
    icmp_type: Option<&str>,
) -> Result<Part, String> {
    let Some(proto) = proto else {
        let lonely = dport.is_some() || sport.is_some() || icmp_type.is_some();
        return if lonely {
            Err("'proto' is missing".to_owned())
        } else {
            Ok(Part { version: None, text: String::new() })
        };
    };
    let (name, version) = match proto {
        "6" => ("tcp", None),
        "17" => ("udp", None),
        "icmp" | "1" => ("icmp", Some(4)),
        "icmpv6" | "ipv6-icmp" | "58" => ("icmpv6", Some(6)),
        "tcp" | "udp" | "sctp" | "dccp" | "udplite" | "esp" | "ah" | "gre" | "igmp" => (proto, None),
        number if number.parse::<u8>().is_ok() => (number, None),
        _ => return Err(format!("unknown protocol '{proto}'")),
    };
    let mut text = String::new();
    for (key, list) in [("dport", dport), ("sport", sport)] {
        let Some(list) = list else { continue };
        if !matches!(name, "tcp" | "udp" | "sctp" | "dccp" | "udplite") {
            return Err(format!("the protocol '{proto}' has no ports"));
        }
        text += &format!("{name} {key} {{ {} }} ", port_set(&ports(list)?));
    }
    if let Some(kind) = icmp_type {
        let known = kind.parse::<u8>().is_ok() || ICMP.contains(&kind) || ICMP_V6.contains(&kind);
        if !known || !name.starts_with("icmp") {
            return Err(format!("unknown icmp-type '{kind}'"));
        }
        text += &format!("{name} type {kind} ");
    }
    if text.is_empty() {
        let name = if name == "icmpv6" { "ipv6-icmp" } else { name };
        text = format!("meta l4proto {name} ");
    }
    Ok(Part { version, text })
}

/// Ports as elements of a set, merged.
pub(super) fn port_set(list: &[(u16, u16)]) -> String {
    let mut list = list.to_vec();
    list.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in list {
        match merged.last_mut() {
            Some(known) if first <= known.1.saturating_add(1) => known.1 = known.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    let text = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    merged.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Types that both Proxmox VE and nft know by the same name.
const ICMP: [&str; 10] = [
    "echo-reply",
    "destination-unreachable",
    "source-quench",
    "redirect",
    "echo-request",
    "router-advertisement",
    "router-solicitation",
    "time-exceeded",
    "parameter-problem",
    "timestamp-request",
];
const ICMP_V6: [&str; 4] =
    ["packet-too-big", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"];

/// A comment as nft takes one: at most 128 bytes with the closing zero, and no quotation marks in it.
fn comment(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars().filter(|char| !char.is_control() && *char != '"' && *char != '\\') {
        if out.len() + char.len_utf8() > 127 {
            break;
        }
        out.push(char);
    }
    format!(" comment \"{out}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxmox::firewall::FirewallFile;

    const VERDICTS: Verdicts = Verdicts { accept: "accept", drop: "drop", reject: "goto refused" };

    fn compile_line(line: &str) -> (Vec<String>, Vec<String>) {
        let cluster = FirewallFile::parse(
            "[ALIASES]\nlan 10.0.0.0/24\nsix fd00::/8\n[IPSET both]\n10.1.0.0/16\n10.1.2.0/24\n!10.1.9.9\nfd00::1\n\
             [group web]\nIN ACCEPT -p tcp -dport 80\n|IN DROP\nIN SSH(ACCEPT) -source lan\n",
        );
        let rule: Rule = line.parse().unwrap();
        let scope = Scope { cluster: &cluster, guest: None, local: &[] };
        let whom = For { direction: Direction::In, device: Some("net0"), scope, verdicts: VERDICTS };
        let mut warnings = Vec::new();
        (statements([&rule], whom, &mut warnings), warnings)
    }

    #[test]
    fn what_each_rule_becomes() {
        for (line, expected) in [
            ("IN ACCEPT", &["accept"][..]),
            ("|IN ACCEPT", &[]),
            ("OUT ACCEPT", &[]),
            ("IN ACCEPT -i net1", &[]),
            (
                "IN ACCEPT -i net0 -source 10.0.0.7,10.0.0.6 -p tcp -dport 443,80:90,85:100 # a \"b\"",
                &["ip saddr { 10.0.0.6-10.0.0.7 } tcp dport { 80-100, 443 } accept comment \"a b\""],
            ),
            (
                "IN DROP -source +both -dest lan",
                &[
                    "ip saddr { 10.1.0.0-10.1.255.255 } ip saddr != { 10.1.9.9 } ip daddr { 10.0.0.0-10.0.0.255 } drop",
                ],
            ),
            ("IN REJECT -p icmp -icmp-type echo-request", &["icmp type echo-request goto refused"]),
            (
                "IN ACCEPT -source six -p ipv6-icmp",
                &[
                    "ip6 saddr { fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff } meta l4proto ipv6-icmp accept",
                ],
            ),
            ("IN ACCEPT -source six -p icmp", &[]),
            ("IN DNS(ACCEPT)", &["udp dport { 53 } accept", "tcp dport { 53 } accept"]),
            ("IN Ping(ACCEPT)", &["icmp type echo-request accept"]),
            ("IN ACCEPT -p gre", &["meta l4proto gre accept"]),
            (
                "GROUP web",
                &["tcp dport { 80 } accept", "ip saddr { 10.0.0.0-10.0.0.255 } tcp dport { 22 } accept"],
            ),
            ("GROUP web -i net1", &[]),
        ] {
            assert_eq!(
                compile_line(line),
                (expected.iter().map(|it| (*it).to_owned()).collect(), Vec::new()),
                "{line}"
            );
        }
        for (line, why) in [
            ("IN ACCEPT -source nope", "no such alias 'nope'"),
            ("IN Nope(ACCEPT)", "unknown macro 'Nope'"),
            ("IN ACCEPT -dport 80", "'proto' is missing"),
            ("IN ACCEPT -p icmp -dport 80", "the protocol 'icmp' has no ports"),
            ("IN ACCEPT -p icmp -icmp-type x;y", "unknown icmp-type 'x;y'"),
            ("IN ACCEPT -p x;y", "unknown protocol 'x;y'"),
            ("GROUP mail", "no such group 'mail'"),
        ] {
            let (made, warnings) = compile_line(line);
            assert!(made.is_empty() && warnings[0].ends_with(why), "{line}: {made:?} {warnings:?}");
        }
    }
}
