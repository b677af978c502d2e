//! One rule of a firewall file, as pve-firewall's `parse_fw_rule` reads it and its `format_rules` writes it.

use std::fmt;
use std::str::FromStr;

/// What a rule does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It passes.
    Accept,
    /// It vanishes.
    Drop,
    /// It is sent back with a refusal.
    Reject,
}

impl Action {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Reject => "REJECT",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Accept, Self::Drop, Self::Reject].into_iter().find(|action| action.as_str() == text)
    }
}

/// Which way the packets go that a rule looks at, seen from whom the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// To the guest or node.
    In,
    /// From it.
    Out,
    /// Through it: only the nftables backend of Proxmox VE knows it.
    Forward,
}

impl Direction {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::In => "IN",
            Self::Out => "OUT",
            Self::Forward => "FORWARD",
        }
    }
}

/// What a rule is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It decides about packets.
    Packets {
        /// Which.
        direction: Direction,
        /// The name of a macro that stands for protocols and ports, such as `SSH`.
        macro_name: Option<String>,
        /// What becomes of them.
        action: Action,
    },
    /// It stands for the rules of a security group of `cluster.fw`.
    Group(String),
}

/// A rule. All the conditions it has must hold for it to match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// Whether it counts: one that is switched off has a `|` before it.
    pub enable: bool,
    /// Direction and action, or a group.
    pub what: What,
    /// The device: `net0` for a guest's, a device's name for a node's.
    pub iface: Option<String>,
    /// Where packets come from: addresses and networks with commas; or one range, alias, `+set`.
    pub source: Option<String>,
    /// Where they go, likewise.
    pub dest: Option<String>,
    /// The protocol: `tcp`, `udp`, `icmp`, or a number.
    pub proto: Option<String>,
    /// Ports they go to: `80,443,1000:2000`.
    pub dport: Option<String>,
    /// Ports they come from.
    pub sport: Option<String>,
    /// A log level.
    pub log: Option<String>,
    /// A type of ICMP.
    pub icmp_type: Option<String>,
    /// What it is for. Phoenix' rules are known by it.
    pub comment: Option<String>,
}

/// A line that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{line}` is no firewall rule: {reason}")]
pub struct RuleError {
    /// The line.
    pub line: String,
    /// What is wrong.
    pub reason: String,
}

impl Rule {
    /// A rule without conditions.
    pub fn new(direction: Direction, action: Action) -> Self {
        Self::of(What::Packets { direction, macro_name: None, action })
    }

    fn of(what: What) -> Self {
        Self {
            enable: true,
            what,
            iface: None,
            source: None,
            dest: None,
            proto: None,
            dport: None,
            sport: None,
            log: None,
            icmp_type: None,
            comment: None,
        }
    }

    /// Which way it looks; `None` for a group's rule, which may look both ways.
    pub fn direction(&self) -> Option<Direction> {
        match self.what {
            What::Packets { direction, .. } => Some(direction),
            What::Group(_) => None,
        }
    }

    /// Whether its comment begins with `prefix`.
    pub fn is_of(&self, prefix: &str) -> bool {
        self.comment.as_deref().is_some_and(|comment| comment.starts_with(prefix))
    }

    fn set(&mut self, key: &str, value: String) -> bool {
        let group = matches!(self.what, What::Group(_));
        let place = match key {
            "i" => &mut self.iface,
            _ if group => return false,
            "p" | "proto" => &mut self.proto,
            "dport" => &mut self.dport,
            "sport" => &mut self.sport,
            "source" => &mut self.source,
            "dest" => &mut self.dest,
            "log" => &mut self.log,
            "icmp-type" => &mut self.icmp_type,
            _ => return false,
        };
        *place = Some(value);
        true
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(line: &str) -> Result<Self, RuleError> {
        let wrong = |reason: &str| RuleError { line: line.to_owned(), reason: reason.to_owned() };
        let (rest, comment) = match line.split_once('#') {
            Some((rest, comment)) => (rest, comment.trim()),
            None => (line, ""),
        };
        let (enable, rest) = match rest.strip_prefix('|') {
            Some(rest) => (false, rest),
            None => (true, rest),
        };
        // pve-firewall takes a rule from the line's very beginning on.
        if rest.starts_with(char::is_whitespace) {
            return Err(wrong("it begins with a blank"));
        }
        let mut words = rest.split_whitespace();
        let (Some(kind), Some(action)) = (words.next(), words.next()) else {
            return Err(wrong("it has no action"));
        };
        let direction = match kind.to_ascii_lowercase().as_str() {
            "in" => Some(Direction::In),
            "out" => Some(Direction::Out),
            "forward" => Some(Direction::Forward),
            "group" => None,
            _ => return Err(wrong("it begins with none of IN, OUT, FORWARD, GROUP")),
        };
        let what = match direction {
            None => What::Group(action.to_owned()),
            Some(direction) => {
                let (macro_name, action) = match action
                    .split_once('(')
                    .and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)))
                {
                    Some(("", _)) => return Err(wrong("a macro has no name")),
                    Some((name, action)) => (Some(name.to_owned()), action),
                    None => (None, action),
                };
                let action = Action::parse(action).ok_or_else(|| wrong("unknown action"))?;
                What::Packets { direction, macro_name, action }
            }
        };
        let mut rule = Self { enable, ..Self::of(what) };
        rule.comment = Some(comment.to_owned()).filter(|comment| !comment.is_empty());
        while let Some(option) = words.next() {
            let key = match option.strip_prefix("--").or_else(|| option.strip_prefix('-')) {
                Some(key) if !(option.starts_with("--") && matches!(key, "i" | "p")) => key,
                _ => return Err(wrong("unable to parse rule parameters")),
            };
            let value = words.next().ok_or_else(|| wrong("unable to parse rule parameters"))?;
            if !rule.set(key, value.to_owned()) {
                return Err(wrong("unable to parse rule parameters"));
            }
        }
        Ok(rule)
    }
}

/// As Proxmox VE writes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.enable {
            f.write_str("|")?;
        }
        match &self.what {
            What::Packets { direction, macro_name: Some(name), action } => {
                write!(f, "{} {name}({})", direction.as_str(), action.as_str())?;
            }
            What::Packets { direction, macro_name: None, action } => {
                write!(f, "{} {}", direction.as_str(), action.as_str())?;
            }
            What::Group(name) => write!(f, "GROUP {name}")?,
        }
        for (key, value) in [
            ("i", &self.iface),
            ("source", &self.source),
            ("dest", &self.dest),
            ("p", &self.proto),
            ("dport", &self.dport),
            ("sport", &self.sport),
            ("log", &self.log),
            ("icmp-type", &self.icmp_type),
        ] {
            if let Some(value) = value {
                write!(f, " -{key} {value}")?;
            }
        }
        match &self.comment {
            Some(comment) => write!(f, " # {comment}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_a_real_node() {
        for line in [
            "IN ACCEPT -source 10.99.0.0/24 -p tcp -dport 443 # one",
            "|IN ACCEPT -p icmp -icmp-type echo-request # two",
            "OUT DROP -dest 10.1.0.0/16 # three",
            "IN SSH(ACCEPT) -i net0 -log nolog # four",
            "GROUP web -i net0",
            "FORWARD REJECT",
        ] {
            assert_eq!(line.parse::<Rule>().unwrap().to_string(), line);
        }
        let long: Rule = "in DNS(ACCEPT) --source +dc/lan  --proto udp #a # b".parse().unwrap();
        assert_eq!(long.to_string(), "IN DNS(ACCEPT) -source +dc/lan -p udp # a # b");
        for bad in [
            "",
            "IN",
            " IN ACCEPT",
            "IN PASS",
            "INPUT ACCEPT",
            "IN ACCEPT -x y",
            "IN ACCEPT -p",
            "IN ACCEPT tcp",
            "GROUP web -p tcp",
            "IN (ACCEPT)",
            "# IN ACCEPT",
        ] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }

    fn value() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[a-z0-9+./:,-]{1,8}")
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let packets = (0..3_usize, proptest::option::of("[A-Z][A-Za-z]{0,5}"), 0..3_usize).prop_map(
            |(direction, macro_name, action)| What::Packets {
                direction: [Direction::In, Direction::Out, Direction::Forward][direction],
                macro_name,
                action: [Action::Accept, Action::Drop, Action::Reject][action],
            },
        );
        let what = prop_oneof![packets, "[a-z]{1,6}".prop_map(What::Group)];
        let comment = proptest::option::of("[!-~é]([ -~é]{0,12}[!-~é])?");
        (any::<bool>(), what, proptest::array::uniform8(value()), comment).prop_map(
            |(enable, what, values, comment)| {
                let group = matches!(what, What::Group(_));
                let [iface, mut rest @ ..] = values;
                if group {
                    rest = std::array::from_fn(|_| None);
                }
                let [source, dest, proto, dport, sport, log, icmp_type] = rest;
                let mut rule = Rule { enable, iface, source, dest, proto, ..Rule::of(what) };
                (rule.dport, rule.sport, rule.log) = (dport, sport, log);
                (rule.icmp_type, rule.comment) = (icmp_type, comment);
                rule
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rule in rule()) {
            prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
        }

        #[test]
        fn nothing_makes_it_panic(line in "\\PC{0,40}") {
            if let Ok(rule) = line.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
            }
        }
    }
}
