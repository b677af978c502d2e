//! What becomes of a packet, on paper: the rules of the files looked at as pve-firewall has the kernel look at them.
//!
//! It is careful: of a rule that it does not wholly understand it takes for granted that it refuses when it refuses, and
//! that it does not let through when it lets through. Facts from pve-firewall 9 (`PVE/Firewall.pm`:
//! `enable_host_firewall`, `generate_tap_rules_direction`).

use std::net::IpAddr;

use super::address::{Scope, ports};
use super::file::FirewallFile;
use super::macros;
use super::rule::{Action, Direction, Rule, What};

/// The first packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Which way it goes, seen from whom the files are for.
    pub direction: Direction,
    /// The device it goes through, as rules name it (`net0`).
    pub iface: Option<&'a str>,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub dest: IpAddr,
    /// `tcp`, `udp`, `icmp`.
    pub proto: &'a str,
    /// The port it goes to; 0 where there are none.
    pub port: u16,
}

/// Why a packet passes or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// The firewall is off, for the reason given.
    Off(&'static str),
    /// This rule says so.
    Rule(Box<Rule>),
    /// It comes from those who may manage the node, to one of the ports for that.
    Management,
    /// No rule says anything, and this is the policy then.
    Policy(Action),
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub passes: bool,
    /// Why.
    pub because: Because,
}

impl Verdict {
    fn off(why: &'static str) -> Self {
        Self { passes: true, because: Because::Off(why) }
    }
}

/// The files that decide about a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeFiles<'a> {
    /// `cluster.fw`.
    pub cluster: &'a FirewallFile,
    /// The node's `host.fw`.
    pub host: &'a FirewallFile,
}

/// The ports that whoever may manage the node reaches without a rule: API, ssh, consoles, migration.
pub const MANAGEMENT_PORTS: [(u16, u16); 5] =
    [(8006, 8006), (5900, 5999), (3128, 3128), (22, 22), (60000, 60050)];

/// What becomes of a packet to or from the node itself.
pub fn node(files: NodeFiles<'_>, scope: Scope<'_>, packet: &Packet<'_>) -> Verdict {
    if !enabled(files.cluster) {
        return Verdict::off("it is not enabled in cluster.fw");
    }
    if files.host.option("enable") == Some("0") {
        return Verdict::off("it is disabled in host.fw");
    }
    // The node's rules first, so that they can say something else than the cluster's.
    if let Some(verdict) = rules(files.host.rules().chain(files.cluster.rules()), scope, packet) {
        return verdict;
    }
    let manages = packet.direction == Direction::In
        && packet.proto == "tcp"
        && MANAGEMENT_PORTS.iter().any(|(first, last)| (*first..=*last).contains(&packet.port))
        && scope.management().hold(packet.source);
    if manages {
        return Verdict { passes: true, because: Because::Management };
    }
    policy(files.cluster, packet.direction)
}

/// What becomes of a packet to or from a guest. `filtered` says whether its device has `firewall=1`.
pub fn guest(file: Option<&FirewallFile>, filtered: bool, scope: Scope<'_>, packet: &Packet<'_>) -> Verdict {
    if !enabled(scope.cluster) {
        return Verdict::off("it is not enabled in cluster.fw");
    }
    if !filtered {
        return Verdict::off("the device has no firewall=1");
    }
    let Some(file) = file.filter(|file| file.option("enable") == Some("1")) else {
        return Verdict::off("it is not enabled in the guest's file");
    };
    let scope = Scope { guest: Some(file), ..scope };
    rules(file.rules(), scope, packet).unwrap_or_else(|| policy(file, packet.direction))
}

/// Whether the whole is switched on. A number other than 1 is a time until which it was switched on for trying.
pub fn enabled(cluster: &FirewallFile) -> bool {
    cluster.option("enable") == Some("1")
}

/// The policy of a file: nothing comes in and everything goes out unless it says otherwise.
pub fn policy_of(file: &FirewallFile, direction: Direction) -> Action {
    let (key, default) = match direction {
        Direction::In => ("policy_in", Action::Drop),
        Direction::Out => ("policy_out", Action::Accept),
        Direction::Forward => ("policy_forward", Action::Accept),
    };
    file.option(key).and_then(|value| Action::parse(&value.to_ascii_uppercase())).unwrap_or(default)
}

fn policy(file: &FirewallFile, direction: Direction) -> Verdict {
    let action = policy_of(file, direction);
    Verdict { passes: action == Action::Accept, because: Because::Policy(action) }
}

fn rules<'a>(all: impl Iterator<Item = &'a Rule>, scope: Scope<'_>, packet: &Packet<'_>) -> Option<Verdict> {
    for rule in all.filter(|rule| rule.enable) {
        match &rule.what {
            What::Group(name) => {
                // A group's rule may be bound to a device; its own rules then are, too.
                if rule.iface.as_deref().is_some_and(|iface| packet.iface != Some(iface)) {
                    continue;
                }
                let inner = scope.cluster.group(name).unwrap_or_default();
                let inner = inner.into_iter().filter(|rule| matches!(rule.what, What::Packets { .. }));
                if let Some(verdict) = rules(inner.collect::<Vec<_>>().into_iter(), scope, packet) {
                    return Some(verdict);
                }
            }
            What::Packets { direction, action, .. } if *direction == packet.direction => {
                let takes = match matches(rule, scope, packet) {
                    Match::Yes => true,
                    Match::No => false,
                    Match::Perhaps => *action != Action::Accept,
                };
                if takes {
                    let because = Because::Rule(Box::new(rule.clone()));
                    return Some(Verdict { passes: *action == Action::Accept, because });
                }
            }
            What::Packets { .. } => {}
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Perhaps,
}

impl From<bool> for Match {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

fn matches(rule: &Rule, scope: Scope<'_>, packet: &Packet<'_>) -> Match {
    let iface = match (&rule.iface, packet.iface) {
        (Some(rule), Some(packet)) => (rule == packet).into(),
        (Some(_), None) => Match::Perhaps,
        (None, _) => Match::Yes,
    };
    let address = |text: &Option<String>, address| match text {
        // pve-firewall leaves out a rule with an unknown name.
        Some(text) => scope.addresses(text).is_ok_and(|set| set.hold(address)).into(),
        None => Match::Yes,
    };
    let port = |text: &str| {
        ports(text).map_or(Match::Perhaps, |list| {
            list.iter().any(|(first, last)| (*first..=*last).contains(&packet.port)).into()
        })
    };
    let proto = |text: &str| match text {
        "tcp" | "6" => (packet.proto == "tcp").into(),
        "udp" | "17" => (packet.proto == "udp").into(),
        "icmp" | "1" => (packet.proto == "icmp").into(),
        _ => Match::Perhaps,
    };
    let dport = rule.dport.as_deref().map_or(Match::Yes, port);
    let in_macro = match &rule.what {
        What::Packets { macro_name: Some(name), .. } => match macros::expand(name) {
            Some(list) => list
                .iter()
                .any(|(kind, ports)| {
                    proto(kind) == Match::Yes && (ports.is_empty() || port(ports) == Match::Yes)
                })
                .into(),
            None => Match::Perhaps,
        },
        _ => Match::Yes,
    };
    let other = if rule.sport.is_some() || rule.icmp_type.is_some() { Match::Perhaps } else { Match::Yes };
    let all = [
        iface,
        address(&rule.source, packet.source),
        address(&rule.dest, packet.dest),
        rule.proto.as_deref().map_or(Match::Yes, proto),
        dport,
        in_macro,
        other,
    ];
    if all.contains(&Match::No) {
        Match::No
    } else if all.contains(&Match::Perhaps) {
        Match::Perhaps
    } else {
        Match::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Range;

    fn packet<'a>(source: &str, port: u16) -> Packet<'a> {
        Packet {
            direction: Direction::In,
            iface: Some("net0"),
            source: source.parse().unwrap(),
            dest: "10.0.0.13".parse().unwrap(),
            proto: "tcp",
            port,
        }
    }

    fn on_node(cluster: &str, host: &str, packet: &Packet<'_>) -> Verdict {
        let (cluster, host) = (FirewallFile::parse(cluster), FirewallFile::parse(host));
        let local = [Range::parse("10.0.0.0/24").unwrap()];
        let scope = Scope { cluster: &cluster, guest: None, local: &local };
        node(NodeFiles { cluster: &cluster, host: &host }, scope, packet)
    }

    #[test]
    fn a_node() {
        let (inside, outside) = (packet("10.0.0.77", 22), packet("203.0.113.5", 22));
        assert!(on_node("", "", &outside).passes);
        assert!(on_node("[OPTIONS]\nenable: 0\n", "", &outside).passes);
        let on = "[OPTIONS]\nenable: 1\n";
        assert!(!on_node(on, "", &outside).passes);
        assert_eq!(on_node(on, "", &inside).because, Because::Management);
        assert!(!on_node(on, "", &packet("10.0.0.77", 80)).passes);
        assert!(on_node(on, "[OPTIONS]\nenable: 0\n", &outside).passes);
        assert!(on_node("[OPTIONS]\nenable: 1\npolicy_in: ACCEPT\n", "", &outside).passes);
        // The node's rules come first; the management's ports come after both.
        let drop = "[RULES]\nIN DROP -p tcp -dport 22\n";
        assert!(!on_node(on, drop, &inside).passes);
        let cluster = format!("{on}[RULES]\nIN SSH(ACCEPT)\n");
        assert!(!on_node(&cluster, drop, &outside).passes);
        assert!(on_node(&cluster, "", &outside).passes);
        let set = format!("{on}[IPSET management]\n203.0.113.0/24\n");
        assert!(on_node(&set, "", &outside).passes);
        // What is not understood lets nobody in and may keep somebody out.
        assert!(!on_node(&format!("{on}[RULES]\nIN Nope(ACCEPT)\n"), "", &outside).passes);
        assert!(!on_node(&format!("{on}[RULES]\nIN Nope(DROP)\n"), "", &inside).passes);
        assert!(on_node(&format!("{on}[RULES]\n|IN DROP\nIN DROP -p udp\nOUT DROP\n"), "", &inside).passes);
    }

    #[test]
    fn a_guest() {
        let cluster =
            FirewallFile::parse("[OPTIONS]\nenable: 1\n[group web]\nIN ACCEPT -p tcp -dport 80,443\n");
        let scope = Scope { cluster: &cluster, guest: None, local: &[] };
        let file = FirewallFile::parse("[OPTIONS]\nenable: 1\n[RULES]\nGROUP web -i net0\nOUT REJECT # x\n");
        let says = |packet: &Packet<'_>| guest(Some(&file), true, scope, packet);
        assert!(says(&packet("192.0.2.1", 443)).passes);
        assert_eq!(says(&packet("192.0.2.1", 22)).because, Because::Policy(Action::Drop));
        let other = Packet { iface: Some("net1"), ..packet("192.0.2.1", 443) };
        assert!(!says(&other).passes);
        let out = Packet { direction: Direction::Out, ..packet("192.0.2.1", 443) };
        assert!(matches!(says(&out).because, Because::Rule(rule) if rule.comment.as_deref() == Some("x")));
        // P-73: rules that are there and never switched on.
        let inert = FirewallFile::parse("[RULES]\nIN DROP\n");
        assert!(guest(Some(&inert), true, scope, &packet("192.0.2.1", 22)).passes);
        assert!(guest(Some(&file), false, scope, &packet("192.0.2.1", 22)).passes);
        assert!(guest(None, true, scope, &packet("192.0.2.1", 22)).passes);
    }
}
