//! The way in: the rules that let Phoenix and those who manage the node to its ssh and API, and the look on paper whether
//! they do (P-20). Pure.
//!
//! Where nobody says who may manage the node, everybody may try, as before: a firewall for the guests must not lock a
//! person out who comes from another address tomorrow. With `management` only those may, and whoever applies.

use std::net::IpAddr;

use plan::desired::Firewall;
use plan::inventory::WayIn;
use proxmox::firewall::judge::{self, Because, NodeFiles, Packet};
use proxmox::firewall::{Action, Direction, FirewallFile, Range, Rule, Scope};

use super::prefix;
use super::rules::over;

/// The port of the node's API (pveproxy takes no other).
const API: u16 = 8006;
/// Where ssh is, unless the connection says something else.
const SSH: u16 = 22;
/// An address that is nobody's (RFC 5737): who comes from anywhere.
const ANYBODY: [u8; 4] = [203, 0, 113, 1];

/// The ids of the rules.
const WAY_IN: &str = "way-in";
const MANAGEMENT: &str = "management";

/// Who comes in, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    ports: [u16; 2],
    client: Option<IpAddr>,
}

impl Way {
    /// The way of this run.
    pub fn new(way_in: Option<WayIn>) -> Self {
        // The loopback device is never filtered.
        let client = way_in.map(|way| way.client).filter(|client| !client.is_loopback());
        Self { ports: [way_in.map_or(SSH, |way| way.port), API], client }
    }

    fn rule(&self, site: &str, id: &str, source: Option<String>) -> Rule {
        let [ssh, api] = self.ports;
        Rule {
            source,
            proto: Some("tcp".to_owned()),
            dport: Some(format!("{ssh},{api}")),
            comment: Some(format!("{}{id}", prefix(site))),
            ..Rule::new(Direction::In, Action::Accept)
        }
    }

    /// The rules that keep it open, in a file that may have some already.
    pub fn rules(&self, site: &str, firewall: &Firewall, there: &FirewallFile) -> Vec<Rule> {
        if firewall.management.is_empty() {
            return vec![self.rule(site, WAY_IN, None)];
        }
        let nets = over(&firewall.management);
        let mut rules: Vec<Rule> = nets.map(|nets| self.rule(site, MANAGEMENT, nets)).collect();
        match self.client {
            Some(client) if !manages(firewall, client) => {
                rules.push(self.rule(site, WAY_IN, Some(client.to_string())));
            }
            // Somebody else comes another way: that is not closed because this one comes from the inside.
            _ => {
                let comment = format!("{}{WAY_IN}", prefix(site));
                let kept = there.rules().find(|rule| rule.comment.as_ref() == Some(&comment));
                rules.extend(kept.filter(|rule| rule.source.is_some()).cloned());
            }
        }
        rules
    }

    /// Whom the node must let in once the firewall is as declared.
    pub fn callers(&self, firewall: &Firewall) -> Vec<IpAddr> {
        let anybody = firewall.management.is_empty().then_some(IpAddr::from(ANYBODY));
        let known = firewall.management.iter().map(|net| IpAddr::V4(net.first_address()));
        known.chain(self.client).chain(anybody).collect()
    }

    /// Whom it must let in whatever is declared: this run.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        self.client.into_iter().collect()
    }

    /// Whether all callers get in with these files. `local` are the networks that Proxmox VE lets in without a rule;
    /// where none are given, that is not relied on.
    ///
    /// # Errors
    /// Who does not get in, to which port, and why.
    pub fn is_open(
        &self,
        callers: &[IpAddr],
        local: &[Range],
        cluster: &FirewallFile,
        host: &FirewallFile,
    ) -> Result<(), Shut> {
        let scope = Scope { cluster, guest: None, local };
        for &source in callers {
            for port in self.ports {
                // Of the node's own addresses any: rules of ours name none.
                let dest = IpAddr::from([0, 0, 0, 0]);
                let packet =
                    Packet { direction: Direction::In, iface: None, source, dest, proto: "tcp", port };
                let verdict = judge::node(NodeFiles { cluster, host }, scope, &packet);
                if !verdict.passes {
                    return Err(Shut { source, port, because: verdict.because });
                }
            }
        }
        Ok(())
    }

    /// Whether a rule is one that keeps the way open.
    pub fn keeps_open(site: &str, rule: &Rule) -> bool {
        let id = rule.comment.as_deref().and_then(|comment| comment.strip_prefix(&prefix(site)));
        matches!(id, Some(WAY_IN | MANAGEMENT))
    }
}

fn manages(firewall: &Firewall, client: IpAddr) -> bool {
    match client {
        IpAddr::V4(client) => firewall.management.iter().any(|net| net.contains(&client)),
        IpAddr::V6(_) => false,
    }
}

/// Somebody who must get in and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shut {
    /// Who.
    pub source: IpAddr,
    /// Where.
    pub port: u16,
    /// Why.
    pub because: Because,
}

impl std::fmt::Display for Shut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} would not get to port {} of the node: ", self.source, self.port)?;
        match &self.because {
            Because::Rule(rule) => write!(f, "the rule `{rule}` comes first"),
            Because::Policy(action) => write!(f, "no rule lets it in, and the policy is {}", action.as_str()),
            Because::Off(_) | Because::Management => f.write_str("it is let in"),
        }
    }
}
