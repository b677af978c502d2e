//! The rules that are really there: Proxmox VE's firewall files, and the firewall of a guest's own.

use std::collections::BTreeMap;

use proxmox::firewall::{Action, Direction, FirewallFile, Rule, What, macros, ports};

use super::parts::Parts;
use crate::firewall::prefix;

/// Proxmox VE's firewall files, by name: `cluster.fw`, `101.fw`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Name and content; nothing where they could not be read.
    pub files: BTreeMap<String, String>,
    /// Whether the node's firewall is nftables: Proxmox VE's newer one (`nftables: 1` in `host.fw`), or a lab's. The older
    /// one is iptables.
    pub nftables: bool,
}

/// Prints what [`Rules::parse`] reads: the files below `/etc/pve/firewall` that are its arguments, the node's own, and which
/// tables nftables has there.
pub const SCRIPT: &str = r#"cd /etc/pve/firewall 2>/dev/null || set --
for f in "$@" ../local/host.fw; do
	[ ! -r "$f" ] || { printf '\036%s\n' "$f"; tr -d '\036' <"$f"; }
done
printf '\036tables\n'
timeout 3 nft list tables 2>/dev/null | tr -d '\036'
printf '\036end\n'"#;

/// The node's own file, as the script names it.
const HOST: &str = "../local/host.fw";

/// A lab's tables (`lab::firewall`, and the way out of it), and those of Proxmox VE's newer firewall (`proxmox-firewall`, its `resources`).
const TABLES: [&str; 4] = ["lab", "pve-firewall", "proxmox-firewall", "proxmox-firewall-guests"];

impl Rules {
    /// Reads what [`SCRIPT`] prints.
    pub fn parse(text: &str) -> Self {
        let parts = Parts::parse(text);
        let asked_for = |text: &str| FirewallFile::parse(text).option("nftables") == Some("1");
        let tables = parts.get("tables").unwrap_or_default();
        let ours = |line: &str| line.split_whitespace().last().is_some_and(|name| TABLES.contains(&name));
        Self {
            files: parts
                .all()
                .filter(|(name, _)| *name != HOST && name.ends_with(".fw"))
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .collect(),
            nftables: parts.get(HOST).is_some_and(asked_for) || tables.lines().any(ours),
        }
    }

    /// The command that shows, on the node, what is in force for a guest.
    pub fn shown_by(&self, id: u32) -> String {
        match self.nftables {
            true => "on the node: nft list ruleset; pve-firewall status".to_owned(),
            // The names that Proxmox VE gives a container's links there (PVE/LXC/Config.pm, `fwpr` and `veth`).
            false => format!("on the node: iptables-save | grep -E 'PVEFW|veth{id}i'; pve-firewall status"),
        }
    }

    /// The file of a guest.
    pub fn guest_file(&self, id: u32) -> Option<FirewallFile> {
        self.files.get(&format!("{id}.fw")).map(|text| FirewallFile::parse(text))
    }

    /// The cluster's file.
    pub fn cluster(&self) -> Option<FirewallFile> {
        self.files.get("cluster.fw").map(|text| FirewallFile::parse(text))
    }
}

/// Rules that are in force for this direction.
fn in_force(file: &FirewallFile, direction: Direction) -> impl Iterator<Item = &Rule> {
    file.rules().filter(move |rule| rule.enable && rule.direction() == Some(direction))
}

/// Whether a file has a rule of this flow of the site, which carries its id in the comment.
pub fn has_flow(file: &FirewallFile, site: &str, direction: Direction, flow: &str) -> bool {
    let own = format!("{}{flow}", prefix(site));
    in_force(file, direction).any(|rule| rule.comment.as_deref() == Some(&own))
}

/// The rule of a file that drops what goes to this port, where one does before any that lets it through. Whom a rule is for
/// is not looked at: what somebody has from outside is not known.
pub fn dropping(file: &FirewallFile, direction: Direction, port: u16) -> Option<String> {
    let first = in_force(file, direction).find(|rule| covers(rule, port))?;
    let drops = matches!(first.what, What::Packets { action: Action::Drop | Action::Reject, .. });
    drops.then(|| first.to_string())
}

/// Whether a rule is for connections to a port.
fn covers(rule: &Rule, port: u16) -> bool {
    let among = |text: &str| {
        ports(text).is_ok_and(|all| all.iter().any(|(first, last)| (*first..=*last).contains(&port)))
    };
    let What::Packets { macro_name: Some(name), .. } = &rule.what else {
        let connects = rule.proto.as_deref().is_none_or(|proto| matches!(proto, "tcp" | "udp"));
        return connects && rule.dport.as_deref().is_none_or(among);
    };
    macros::expand(name).is_some_and(|all| all.iter().any(|(_, dport)| among(dport)))
}

/// The line of nftables or iptables in a guest that drops what comes to this port.
pub fn dropping_inside(ruleset: &str, port: u16) -> Option<&str> {
    let port = port.to_string();
    let drops = |line: &str| {
        let line = line.to_lowercase();
        ["drop", "reject"]
            .iter()
            .any(|word| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == *word))
    };
    let names =
        |line: &str| line.contains("dport") && line.split(|c: char| !c.is_ascii_digit()).any(|w| w == port);
    let lines = || ruleset.lines().map(str::trim).filter(|line| drops(line));
    lines().find(|line| names(line)).or_else(|| {
        lines()
            .find(|l| l.contains("hook input") && l.contains("policy drop") || l.starts_with(":INPUT DROP"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[OPTIONS]\nenable: 1\npolicy_in: DROP\n\n[RULES]\n|IN DROP -p tcp -dport 80 # off\n\
                        IN REJECT -p tcp -dport 8000:8100 -log nolog # by hand\n\
                        IN ACCEPT -source 10.0.0.153 -p tcp -dport 80 -log nolog # phoenix:workshop:service.notes\n\
                        OUT ACCEPT -p udp -dport 53 # phoenix:workshop:dns.inside.udp\nIN DROP -p tcp -dport 22\n";

    #[test]
    fn rules_of_a_file() {
        let file = FirewallFile::parse(FILE);
        let has = |direction, flow| has_flow(&file, "workshop", direction, flow);
        assert!(has(Direction::In, "service.notes") && !has(Direction::In, "service.note"));
        assert!(has(Direction::Out, "dns.inside.udp") && !has(Direction::In, "dns.inside.udp"));
        assert!(!has_flow(&file, "other", Direction::In, "service.notes"), "another site's is not ours");
        let drops = |text: &str, port| dropping(&FirewallFile::parse(text), Direction::In, port);
        assert_eq!(drops(FILE, 80), None);
        assert_eq!(drops(FILE, 22).as_deref(), Some("IN DROP -p tcp -dport 22"));
        let hand = "IN REJECT -p tcp -dport 8000:8100 -log nolog # by hand";
        assert_eq!(drops(FILE, 8050).as_deref(), Some(hand));
        let all = "[RULES]\nIN DROP # all\nIN ACCEPT -p tcp -dport 80\n";
        assert_eq!(drops(all, 80).as_deref(), Some("IN DROP # all"));
        // A macro is for its own ports, and what is for echoes is for none.
        assert_eq!(drops("[RULES]\nIN SSH(DROP)\n", 22).as_deref(), Some("IN SSH(DROP)"));
        assert_eq!(drops("[RULES]\nIN SSH(DROP)\nIN DROP -p icmp\n", 80), None);
    }

    #[test]
    fn which_firewall_the_node_has() {
        let of = |host: &str, tables: &str| {
            Rules::parse(&format!(
                "\u{1e}cluster.fw\n[OPTIONS]\nenable: 1\n\u{1e}../local/host.fw\n{host}\u{1e}tables\n{tables}\u{1e}end\n"
            ))
        };
        let old = of("[OPTIONS]\nenable: 1\n", "table ip filter\n");
        assert_eq!((old.nftables, old.files.len()), (false, 1));
        assert!(old.shown_by(120).contains("iptables-save") && !old.shown_by(120).contains("nft "));
        assert!(of("[OPTIONS]\nnftables: 1\n", "").nftables);
        let lab = of("", "table inet pve-firewall\ntable bridge pve-firewall\n");
        assert!(lab.nftables && lab.shown_by(120).contains("nft list ruleset"));
        assert!(!Rules::parse("").nftables);
    }

    #[test]
    fn rules_in_a_guest() {
        // As `nft list ruleset` and `iptables-save` print them.
        let nft = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\
                   \t\ttcp dport { 80, 443 } drop\n\t}\n}\n";
        assert_eq!(dropping_inside(nft, 443), Some("tcp dport { 80, 443 } drop"));
        assert_eq!(dropping_inside(nft, 22), None);
        let policy = "\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport 22 accept\n";
        assert!(dropping_inside(policy, 80).is_some());
        let old = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable\n";
        assert!(dropping_inside(old, 80).is_some() && dropping_inside(old, 8080).is_none());
    }
}
