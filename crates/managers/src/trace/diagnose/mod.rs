//! From what was seen to why it is so. Pure: everything that was observed is in the [`World`].

mod dns;
mod far_end;
mod http;
mod near;
mod needs;
mod tcp;
mod tls;
mod walk;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use plan::desired::Feature;
use plan::{Address, Desired, Host};

use super::declared::Need;
use super::flows::{Asker, Flows};
use super::leg::Leg;
use super::log::ProxyLog;
use super::look::{Look, Seen};
use super::neighbour::Neighbour;
use super::path::Path;
use super::rules::Rules;

pub use far_end::{down, trouble, wrong_clock};
pub use near::{Holder, holder};
pub use needs::failing;
pub use walk::{needs_upstream, strangers, walk};

/// Everything that is known when a walk is judged.
#[derive(Debug)]
pub struct World<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// Its flows.
    pub flows: Flows<'a>,
    /// The workshop's root, PEM.
    pub root: &'a str,
    /// Our time.
    pub now: Timestamp,
    /// What guests say about themselves, by name; those on the way.
    pub looks: BTreeMap<String, Look>,
    /// What the node says of itself, where it was asked.
    pub node: Option<Look>,
    /// The rules that are there.
    pub rules: Rules,
    /// Whom those who asked from outside have as neighbours.
    pub neighbours: BTreeMap<Ipv4Addr, Neighbour>,
    /// Guests of the node, by the MAC that answered where another should have.
    pub holders: BTreeMap<String, Holder>,
    /// What the gateway's log says of what was just asked.
    pub log: ProxyLog,
    /// How what a guest needs answers it, by the guest that needs it.
    pub needs: BTreeMap<String, Vec<(Need, Leg)>>,
}

/// Where a walk begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vantage {
    /// Where no guest of the site is: the node stands for it.
    Outside,
    /// A guest, by name.
    Guest(String),
}

impl Vantage {
    /// As flows call it.
    pub fn asker(&self) -> Asker<'_> {
        match self {
            Self::Outside => Asker::Outside,
            Self::Guest(name) => Asker::Guest(name),
        }
    }

    /// As findings call it.
    pub fn called(&self, desired: &Desired) -> String {
        match self {
            Self::Outside => "outside".to_owned(),
            Self::Guest(name) => desired.called(name).to_string(),
        }
    }
}

impl<'a> World<'a> {
    /// What is wanted, and nothing seen yet.
    pub fn new(desired: &'a Desired, root: &'a str, now: Timestamp) -> Self {
        Self {
            desired,
            flows: Flows::new(desired),
            root,
            now,
            looks: BTreeMap::new(),
            node: None,
            rules: Rules::default(),
            neighbours: BTreeMap::new(),
            holders: BTreeMap::new(),
            log: ProxyLog::default(),
            needs: BTreeMap::new(),
        }
    }

    /// What a guest is called in sentences: its address.
    pub fn called(&self, guest: &str) -> Address {
        self.desired.called(guest)
    }

    /// The command that shows which rules the node has in force for a guest.
    pub fn shows_rules(&self, guest: &str) -> String {
        self.rules.shown_by(self.desired.guests.get(guest).map_or(0, |c| c.id))
    }

    /// What is known of a guest.
    pub fn look(&self, guest: &str) -> Option<&Look> {
        self.looks.get(guest)
    }

    /// What a guest says, where it says anything.
    pub fn seen(&self, guest: &str) -> Option<&Seen> {
        self.look(guest)?.seen()
    }

    /// The same for a guest or the node.
    pub fn seen_on(&self, host: &Host) -> Option<&Seen> {
        match host {
            Host::Guest(_, name) => self.seen(name),
            Host::Node(_) => self.node.as_ref()?.seen(),
        }
    }

    /// The units that features keep running in a guest.
    pub fn units(&self, guest: &str) -> Vec<String> {
        self.desired.guests.get(guest).map(|guest| units_of(&guest.features)).unwrap_or_default()
    }
}

/// The units that features keep running where they are, by their full names.
pub fn units_of(features: &[Feature]) -> Vec<String> {
    let mut all: Vec<String> = features
        .iter()
        .filter_map(|feature| feature.payload.get("units")?.as_object())
        .flatten()
        .filter(|(_, unit)| unit.get("running").and_then(serde_json::Value::as_bool).unwrap_or(true))
        .map(|(name, _)| full_unit(name))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// `nginx` is `nginx.service`.
pub fn full_unit(name: &str) -> String {
    const KINDS: [&str; 5] = [".service", ".socket", ".timer", ".path", ".target"];
    if KINDS.iter().any(|kind| name.ends_with(kind)) { name.to_owned() } else { format!("{name}.service") }
}

/// How long ago something was, in one unit: `3 min`.
pub fn ago(since: Timestamp, now: Timestamp) -> String {
    span(now.as_second().saturating_sub(since.as_second()))
}

/// Seconds in one unit.
pub fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// The command that does all of what a name needs once more, whatever the marks say.
fn again(world: &World<'_>, path: &Path) -> String {
    match &path.target {
        super::path::Target::Service(name) => {
            format!("phoenix-cli apply --again --target {}", Address::service(name))
        }
        _ => {
            path.guest.as_ref().map_or_else(|| "phoenix-cli apply".to_owned(), |guest| again_in(world, guest))
        }
    }
}

/// The same for a guest.
fn again_in(world: &World<'_>, guest: &str) -> String {
    format!("phoenix-cli apply --again --target '*@{}'", world.called(guest))
}
