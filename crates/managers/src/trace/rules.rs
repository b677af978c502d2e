//! The rules that are really there: Proxmox VE's firewall files, and the firewall of a guest's own.

use std::collections::BTreeMap;

/// Proxmox VE's firewall files, by name: `cluster.fw`, `101.fw`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Name and content; nothing where they could not be read.
    pub files: BTreeMap<String, String>,
}

/// A line of a file that lets something through or not.
struct Rule<'a> {
    line: &'a str,
    drops: bool,
    ports: Option<&'a str>,
    comment: &'a str,
}

impl Rules {
    /// The file of a guest.
    pub fn of(&self, id: u32) -> Option<&str> {
        self.files.get(&format!("{id}.fw")).map(String::as_str)
    }
}

/// Which way a rule is for, as its guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What comes to it.
    In,
    /// What it sends.
    Out,
}

/// Rules that are in force for this direction: one that begins with `|` is switched off.
fn in_force(file: &str, direction: Direction) -> impl Iterator<Item = Rule<'_>> {
    let wanted = if direction == Direction::In { "IN" } else { "OUT" };
    file.lines().filter_map(move |line| {
        let (rule, comment) = line.split_once('#').unwrap_or((line, ""));
        let words: Vec<&str> = rule.split_whitespace().collect();
        let (first, action) = (words.first()?, words.get(1)?);
        if *first != wanted {
            return None;
        }
        let ports =
            words.iter().position(|w| *w == "-dport" || *w == "--dport").and_then(|at| words.get(at + 1));
        let drops = action.contains("DROP") || action.contains("REJECT");
        Some(Rule { line: line.trim(), drops, ports: ports.copied(), comment })
    })
}

/// Whether a file has a rule of this flow, which carries its id in the comment.
pub fn has_flow(file: &str, direction: Direction, flow: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    in_force(file, direction).any(|rule| rule.comment.split(|c| !word(c)).any(|found| found == flow))
}

/// The rule of a file that drops what goes to this port, where one does before any that lets it through.
pub fn dropping(file: &str, direction: Direction, port: u16) -> Option<&str> {
    let first = in_force(file, direction).find(|rule| rule.ports.is_none_or(|ports| covers(ports, port)));
    first.filter(|rule| rule.drops).map(|rule| rule.line)
}

/// `80,443,1000:2000`.
fn covers(ports: &str, port: u16) -> bool {
    ports.split(',').any(|part| match part.split_once([':', '-']) {
        Some((first, last)) => {
            first.parse().is_ok_and(|first: u16| first <= port)
                && last.parse().is_ok_and(|last: u16| port <= last)
        }
        None => part.parse() == Ok(port),
    })
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
                        IN ACCEPT -source 10.0.0.153 -p tcp -dport 80 -log nolog # phoenix workshop service.notes\n\
                        OUT ACCEPT -p udp -dport 53 # phoenix workshop dns.inside.udp\nIN DROP -p tcp -dport 22\n";

    #[test]
    fn rules_of_a_file() {
        assert!(
            has_flow(FILE, Direction::In, "service.notes")
                && !has_flow(FILE, Direction::In, "service.note")
                && !has_flow(FILE, Direction::In, "dns.inside.udp")
                && has_flow(FILE, Direction::Out, "dns.inside.udp")
        );
        assert_eq!(dropping(FILE, Direction::In, 80), None);
        assert_eq!(dropping(FILE, Direction::In, 22), Some("IN DROP -p tcp -dport 22"));
        assert_eq!(
            dropping(FILE, Direction::In, 8050),
            Some("IN REJECT -p tcp -dport 8000:8100 -log nolog # by hand")
        );
        assert_eq!(
            dropping("[RULES]\nIN DROP # all\nIN ACCEPT -p tcp -dport 80\n", Direction::In, 80),
            Some("IN DROP # all")
        );
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
