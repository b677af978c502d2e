//! Which flow lets something through, on paper.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use plan::Desired;
use plan::Host;
use plan::desired::{End, Flow, Transport};

/// Who begins a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker<'a> {
    /// Somebody who is no guest of the site.
    Outside,
    /// The node.
    Node,
    /// A guest, by name.
    Guest(&'a str),
}

/// Whether something may flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// No firewall is declared, so nobody asks.
    Unguarded,
    /// This flow lets it through.
    By(&'a Flow),
    /// The firewall lets guests talk among themselves.
    Among,
    /// Nothing lets it through.
    Dropped,
}

impl Verdict<'_> {
    /// Whether it gets through.
    pub fn passes(self) -> bool {
        self != Self::Dropped
    }

    /// As it stands behind an open connection: `, allowed by flow gateway.inside`.
    pub fn words(self) -> String {
        match self {
            Self::By(flow) => format!(", allowed by flow {} ({} → {})", flow.id, flow.from, flow.to),
            Self::Among => ", allowed among guests".to_owned(),
            Self::Unguarded | Self::Dropped => String::new(),
        }
    }
}

/// The flows, to be asked often.
#[derive(Debug)]
pub struct Flows<'a> {
    desired: &'a Desired,
    /// By the guest they lead to.
    to: BTreeMap<&'a str, Vec<&'a Flow>>,
    /// Those that lead to several guests.
    wide: Vec<&'a Flow>,
}

impl<'a> Flows<'a> {
    /// Those of the desired state.
    pub fn new(desired: &'a Desired) -> Self {
        let mut flows = Self { desired, to: BTreeMap::new(), wide: Vec::new() };
        for flow in &desired.flows {
            match &flow.to {
                End::Host(Host::Guest(_, name)) => flows.to.entry(name).or_default().push(flow),
                End::Inside | End::Net(_) => flows.wide.push(flow),
                End::Outside | End::Host(Host::Node(_)) => {}
            }
        }
        flows
    }

    /// Whether `from` may connect to this port of the guest `to`.
    pub fn verdict(&self, from: Asker<'_>, to: &str, protocol: Transport, port: u16) -> Verdict<'a> {
        let Some(firewall) = &self.desired.firewall else { return Verdict::Unguarded };
        let to_it = self.to.get(to).into_iter().flatten().chain(&self.wide).copied();
        let found = to_it
            .filter(|flow| flow.protocol == protocol && flow.ports.contains(&port))
            .find(|flow| self.covers(&flow.from, from) && self.covers(&flow.to, Asker::Guest(to)));
        match found {
            Some(flow) => Verdict::By(flow),
            None if !firewall.zero_trust && matches!(from, Asker::Guest(_)) => Verdict::Among,
            None => Verdict::Dropped,
        }
    }

    fn covers(&self, end: &End, who: Asker<'_>) -> bool {
        match (end, who) {
            (End::Outside, Asker::Outside)
            | (End::Inside, Asker::Guest(_))
            | (End::Host(Host::Node(_)), Asker::Node) => true,
            (End::Host(Host::Guest(_, name)), Asker::Guest(guest)) => name == guest,
            (End::Net(net), Asker::Guest(guest)) => self.address(guest).is_some_and(|a| net.contains(&a)),
            _ => false,
        }
    }

    fn address(&self, guest: &str) -> Option<Ipv4Addr> {
        self.desired.guests.get(guest)?.address
    }
}
