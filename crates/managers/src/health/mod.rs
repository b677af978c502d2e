//! `health`: how everything is, at a glance: guests, services, certificates, the authority, the name server, the firewall.
//!
//! [`examine`] looks, a bounded number at a time and bounded in all; what it saw is [`Health`], of which [`Health::checks`]
//! makes a line for each thing and [`Health::prometheus`] what a Prometheus server scrapes. What is wrong with a guest or a
//! certificate is judged by what [`crate::trace`] judges with.

mod examine;
mod judge;
mod prometheus;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::trace::look::{Filled, Look};

pub use examine::{Examiner, PARALLEL, examine};
pub use judge::with_trust;

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The node itself.
    Node,
    /// A guest.
    Guest,
    /// A service.
    Service,
    /// A certificate.
    Certificate,
    /// The certificate authority in a guest.
    Authority,
    /// The name server in a guest.
    Names,
    /// The firewall's rules of a guest.
    Firewall,
    /// A storage.
    Storage,
    /// A pool of ZFS.
    Pool,
}

impl Group {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Guest => "guests",
            Self::Service => "services",
            Self::Certificate => "certificates",
            Self::Authority => "authority",
            Self::Names => "names",
            Self::Firewall => "firewall",
            Self::Storage => "storages",
            Self::Pool => "pools",
        }
    }
}

/// Why something is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A stable code.
    pub code: String,
    /// In words.
    pub text: String,
    /// The next command.
    pub hint: String,
}

impl Trouble {
    pub(crate) fn new(code: &str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into(), hint: hint.into() }
    }
}

impl From<crate::trace::Cause> for Trouble {
    fn from(cause: crate::trace::Cause) -> Self {
        Self { code: cause.code.to_owned(), text: cause.text, hint: cause.hint }
    }
}

/// One thing, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub group: Group,
    /// Which one.
    pub name: String,
    /// What was seen.
    pub seen: String,
    /// Why it is not well.
    pub trouble: Option<Trouble>,
}

impl Check {
    /// As JSON.
    pub fn json(&self) -> Value {
        let trouble = self.trouble.as_ref();
        json!({
            "group": self.group, "name": self.name, "ok": trouble.is_none(), "seen": self.seen,
            "code": trouble.map(|t| &t.code), "cause": trouble.map(|t| &t.text), "hint": trouble.map(|t| &t.hint),
        })
    }
}

/// How a guest is.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its name in the blueprint.
    pub name: String,
    /// What it says.
    pub look: Look,
    /// How long it took to say so.
    pub answered: Duration,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// How what is installed on the node itself is.
#[derive(Debug, Clone)]
pub struct Node {
    /// How many of the units that it keeps running run.
    pub running: usize,
    /// How many it keeps running.
    pub units: usize,
    /// What is wrong with them.
    pub trouble: Option<Trouble>,
}

/// How a service is.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it answered; why not otherwise.
    pub answer: Result<String, Trouble>,
    /// How long that took.
    pub took: Duration,
}

/// How a certificate is.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Its name.
    pub name: String,
    /// When it ends, as far as that is known.
    pub ends: Option<Timestamp>,
    /// Whether what is served is what is on disk; nothing where it is not served, or could not be compared.
    pub same: Option<bool>,
    /// How often in a row it could not be renewed, where the guest renews it.
    pub failures: Option<u32>,
    /// What is known of it, in words.
    pub seen: String,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// How something is that a guest does for all.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its container.
    pub on: String,
    /// What it answered; why not otherwise.
    pub answer: Result<String, Trouble>,
}

/// The rules of a guest.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The guest.
    pub guest: String,
    /// How many of its flows have no rule.
    pub missing: usize,
    /// What is known of them, in words.
    pub seen: String,
    /// What is wrong with them.
    pub trouble: Option<Trouble>,
}

/// How everything is.
#[derive(Debug, Clone)]
pub struct Health {
    /// When.
    pub at: Timestamp,
    /// How long it took to find out.
    pub took: Duration,
    /// What is installed on the node itself, where that keeps anything running.
    pub node: Option<Node>,
    /// The guests.
    pub guests: Vec<Guest>,
    /// The services.
    pub services: Vec<Service>,
    /// The certificates.
    pub certificates: Vec<Certificate>,
    /// The authority, where a guest is one.
    pub authority: Option<Part>,
    /// The name server, where a guest is one.
    pub names: Option<Part>,
    /// The rules of each guest, where Phoenix looks after the firewall.
    pub firewall: Vec<Rules>,
    /// The storages that the blueprint declares.
    pub storages: Vec<crate::storages::Fullness>,
    /// The pools of ZFS that the blueprint declares.
    pub pools: Vec<crate::zfs::PoolHealth>,
}

impl Health {
    /// A line for each thing, in the order of their groups.
    pub fn checks(&self) -> Vec<Check> {
        let part = |group, part: &Part| match &part.answer {
            Ok(seen) => check(group, &part.on, seen.clone(), None),
            Err(trouble) => check(group, &part.on, "does not answer".into(), Some(trouble.clone())),
        };
        let guests =
            self.guests.iter().map(|g| check(Group::Guest, &g.name, g.words(self.at), g.trouble.clone()));
        let services = self.services.iter().map(|s| match &s.answer {
            Ok(seen) => check(Group::Service, &s.name, format!("{seen}, {} ms", s.took.as_millis()), None),
            Err(trouble) => {
                check(Group::Service, &s.name, "does not answer as it should".into(), Some(trouble.clone()))
            }
        });
        let certificates = self
            .certificates
            .iter()
            .map(|c| check(Group::Certificate, &c.name, c.seen.clone(), c.trouble.clone()));
        let firewall =
            self.firewall.iter().map(|r| check(Group::Firewall, &r.guest, r.seen.clone(), r.trouble.clone()));
        let node = self.node.iter().map(|node| {
            let seen = format!("{} of {} units run", node.running, node.units);
            check(Group::Node, "features", seen, node.trouble.clone())
        });
        node.chain(guests)
            .chain(services)
            .chain(certificates)
            .chain(self.authority.iter().map(|p| part(Group::Authority, p)))
            .chain(self.names.iter().map(|p| part(Group::Names, p)))
            .chain(firewall)
            .chain(self.storages.iter().map(|s| check(Group::Storage, &s.name, s.words(), s.trouble())))
            .chain(self.pools.iter().map(|p| check(Group::Pool, &p.name, p.words(), p.trouble())))
            .collect()
    }

    /// Whether all is well.
    pub fn ok(&self) -> bool {
        self.checks().iter().all(|check| check.trouble.is_none())
    }
}

fn check(group: Group, name: &str, seen: String, trouble: Option<Trouble>) -> Check {
    Check { group, name: name.to_owned(), seen, trouble }
}

impl Guest {
    fn words(&self, now: Timestamp) -> String {
        let seen = match &self.look {
            Look::Missing => return "not there".into(),
            Look::Stopped => return "stopped".into(),
            Look::Hangs => return "runs, and does not answer".into(),
            Look::Unknown(why) => return why.clone(),
            Look::Seen(seen) => seen,
        };
        let percent = |what: &str, used: Option<Filled>| used.map(|u| format!(", {what} {} %", u.percent()));
        let up = crate::trace::diagnose::span(i64::try_from(seen.up.as_secs()).unwrap_or(i64::MAX));
        let clock = seen
            .clock
            .map(crate::trace::look::Clock::off)
            .filter(|off| off.abs() >= 1.0)
            .map(|off| format!(", clock {off:+.0} s"));
        let updates = seen.updates.as_ref().map(|updates| format!(", {}", updates.words(now)));
        format!(
            "up for {up}{}{}{}{}, answers in {} ms",
            percent("disk", seen.disk).unwrap_or_default(),
            percent("memory", seen.memory).unwrap_or_default(),
            clock.unwrap_or_default(),
            updates.unwrap_or_default(),
            self.answered.as_millis(),
        )
    }
}
