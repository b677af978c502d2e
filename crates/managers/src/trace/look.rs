//! What a guest says about itself: `look.sh`, read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::devices::{Device, devices};
use super::leg::certificates;
use super::parts::Parts;
use super::updates::Updates;

/// What is known of a guest.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// It is not there.
    Missing,
    /// It is there and does not run.
    Stopped,
    /// It runs, and commands in it do not come to an end.
    Hangs,
    /// It could not be looked at, for this reason.
    Unknown(String),
    /// It runs, and says this.
    Seen(Box<Seen>),
}

impl Look {
    /// What it says, where it says anything.
    pub fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Seen(seen) => Some(seen),
            _ => None,
        }
    }
}

/// What a guest says about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// How far its clock is ahead of ours, where that is known.
    pub clock: Option<Clock>,
    /// For how long it has been up.
    pub up: Duration,
    /// What systemd says of the whole: `running`, `degraded`.
    pub system: String,
    /// Its root file system.
    pub disk: Option<Filled>,
    /// The number of files on it.
    pub inodes: Option<Filled>,
    /// Its memory, KiB; what is used is what programs cannot get.
    pub memory: Option<Filled>,
    /// The lines of /etc/hosts that say something.
    pub hosts: Vec<HostsLine>,
    /// Its name servers.
    pub resolvers: Vec<Ipv4Addr>,
    /// Its network devices by name; empty where they could not be listed.
    pub devices: BTreeMap<String, Device>,
    /// Who listens on TCP ports.
    pub listeners: Vec<Listener>,
    /// Its units: those of its features, and those that failed.
    pub units: Vec<Unit>,
    /// Its certificates, by name; those that were asked for.
    pub certificates: BTreeMap<String, OnDisk>,
    /// What its proxies put aside: the service's name, and why.
    pub aside: BTreeMap<String, String>,
    /// What it says of the certificates that it renews itself, by name.
    pub renewals: BTreeMap<String, Renewal>,
    /// How its security updates stand, where it installs them by itself.
    pub updates: Option<Updates>,
    /// What is the matter with its stacks of Docker containers, by name; those that are well are not there.
    pub stacks: BTreeMap<String, String>,
    /// The rules of a firewall of its own.
    pub rules: String,
}

/// The difference between two clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// Seconds the guest's is ahead.
    pub ahead: f64,
    /// It may be so much more or less: how long the question was on its way.
    pub give_or_take: f64,
}

impl Clock {
    /// Seconds it is off by for certain; 0 where it may be right.
    pub fn off(self) -> f64 {
        let certain = (self.ahead.abs() - self.give_or_take).max(0.0);
        certain.copysign(self.ahead)
    }
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// All there is: KiB, or files.
    pub all: u64,
    /// What is left.
    pub left: u64,
}

impl Filled {
    /// How much is used, percent.
    pub fn percent(self) -> u64 {
        100 - (self.left.min(self.all) * 100).checked_div(self.all).unwrap_or(100)
    }
}

/// A line of /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsLine {
    /// Its number, from 1.
    pub number: usize,
    /// The address.
    pub address: String,
    /// The names.
    pub names: Vec<String>,
    /// Who wrote it.
    pub by: Writer,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Phoenix.
    Phoenix,
    /// Proxmox VE, for the guest's own host name.
    Proxmox,
    /// Somebody else.
    Somebody,
}

/// Somebody who listens on a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address, as `ss` writes it: `0.0.0.0`, `*`, `[::]`.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The program.
    pub program: String,
    /// Its process.
    pub pid: u32,
    /// The unit it belongs to, where it belongs to one.
    pub unit: Option<String>,
}

/// A unit of systemd's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its name, with `.service`.
    pub name: String,
    /// `loaded`, `not-found`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`.
    pub active: String,
    /// `running`, `dead`, `auto-restart`.
    pub sub: String,
    /// `success`, `exit-code`, `oom-kill`.
    pub result: String,
    /// Whether it has been active since the guest started.
    pub ran: bool,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// The end of its journal, where it is not active.
    pub journal: Vec<String>,
}

impl Unit {
    /// Whether it runs, or ran to its end as it should.
    pub fn fine(&self) -> bool {
        self.active == "active"
            || self.active == "reloading"
            || (self.active == "activating" && self.sub != "auto-restart")
    }

    /// Whether it tried and could not.
    pub fn failed(&self) -> bool {
        self.active == "failed" || self.sub == "auto-restart" || (!self.fine() && self.result != "success")
    }

    /// The line of its journal that says most.
    pub fn telling(&self) -> Option<&str> {
        let systemd = |line: &str| {
            let own = line.starts_with(&self.name) || line.starts_with("Failed to start ");
            own || ["Starting ", "Started ", "Stopped ", "Stopping "]
                .iter()
                .any(|word| line.starts_with(word))
        };
        let lines =
            || self.journal.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !systemd(line));
        let tells = |line: &&str| {
            let line = line.to_lowercase();
            ["emerg", "fatal", "panic", "error", "failed", "cannot", "denied", "no space"]
                .iter()
                .any(|w| line.contains(w))
        };
        lines().find(tells).or_else(|| lines().next_back()).map(bare)
    }
}

/// A line of Nginx' without its time and process: `2026/11/24 17:44:42 [emerg] 2410#2410: unknown directive`.
fn bare(line: &str) -> &str {
    let Some((_, said)) =
        ["[emerg] ", "[error] ", "[alert] "].iter().find_map(|level| line.split_once(level))
    else {
        return line;
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'#');
    said.split_once(": ").filter(|(process, _)| number(process)).map_or(said, |(_, rest)| rest)
}

/// A certificate in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDisk {
    /// The chain, PEM; empty where it is missing.
    pub chain: String,
    /// Whether its key is there and belongs to it; `None` where that is not known.
    pub key: Option<Key>,
}

/// The key of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It belongs to the certificate.
    Fits,
    /// It belongs to another.
    Other,
    /// It is not there.
    Missing,
}

/// What a guest says of a certificate that it renews itself: a line of `certificates list`. What is not said is default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Renewal {
    /// Its name.
    pub name: String,
    /// End of its life, Unix seconds.
    pub not_after: Option<i64>,
    /// When it is renewed, Unix seconds.
    pub renew_at: Option<i64>,
    /// How often in a row it could not be.
    pub failures: u32,
    /// Why it could not be, the last time.
    pub error: Option<String>,
}

impl Seen {
    /// Reads what `look.sh` prints. `asked` and `answered` are our clock before and after; `None` where nothing of it
    /// arrived.
    pub fn parse(text: &str, asked: Timestamp, answered: Timestamp) -> Option<Self> {
        let parts = Parts::parse(text);
        let begin: f64 = parts.get("clock")?.trim().parse().ok()?;
        let get = |name: &str| parts.get(name).unwrap_or_default();
        let end: Option<f64> = get("end").trim().parse().ok();
        let up: f64 =
            get("uptime").split_whitespace().next().and_then(|t| t.parse().ok()).unwrap_or_default();
        let owners: BTreeMap<u32, &str> = get("owners").lines().filter_map(owner).collect();
        let mut units = units(get("units"));
        for unit in &mut units {
            let journal = parts.each("journal").find(|(name, _)| *name == unit.name).map(|(_, text)| text);
            unit.journal = journal.unwrap_or_default().lines().map(str::to_owned).collect();
        }
        Some(Self {
            clock: Some(clock(begin, end.unwrap_or(begin), seconds(asked), seconds(answered))),
            up: Duration::try_from_secs_f64(up).unwrap_or_default(),
            system: get("system").trim().to_owned(),
            disk: filled(get("disk")),
            inodes: filled(get("inodes")),
            memory: memory(get("memory")),
            hosts: hosts(get("hosts")),
            resolvers: get("resolvers").lines().filter_map(|line| line.trim().parse().ok()).collect(),
            devices: devices(get("links"), get("addresses")),
            listeners: get("listeners").lines().filter_map(|line| listener(line, &owners)).collect(),
            units,
            certificates: parts
                .each("certificate")
                .map(|(name, text)| (name.to_owned(), on_disk(text)))
                .collect(),
            aside: parts.each("aside").flat_map(|(_, text)| aside(text)).collect(),
            renewals: get("renewals")
                .lines()
                .filter_map(|line| serde_json::from_str::<Renewal>(line).ok())
                .map(|renewal| (renewal.name.clone(), renewal))
                .collect(),
            updates: Updates::parse(get("updates")),
            stacks: get("stacks").lines().filter_map(stack).collect(),
            rules: get("rules").to_owned(),
        })
    }

    /// Who listens on a port at `address`.
    pub fn listener(&self, address: Ipv4Addr, port: u16) -> Option<&Listener> {
        self.listeners.iter().find(|l| {
            l.port == port
                && (l.address == address.to_string()
                    || matches!(l.address.as_str(), "0.0.0.0" | "*" | "[::]"))
        })
    }

    /// The lines of /etc/hosts that speak of this name.
    pub fn hosts_of(&self, name: &str) -> impl Iterator<Item = &HostsLine> {
        self.hosts.iter().filter(move |line| line.names.iter().any(|n| n.eq_ignore_ascii_case(name)))
    }
}

/// Seconds since 1970.
fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

/// The guest's clock showed `begin` somewhen between our `asked` and `answered` less what the script itself took.
fn clock(begin: f64, end: f64, asked: f64, answered: f64) -> Clock {
    let slack = ((answered - asked) - (end - begin)).max(0.0);
    Clock { ahead: begin - (asked + slack / 2.0), give_or_take: slack / 2.0 }
}

fn owner(line: &str) -> Option<(u32, &str)> {
    let (pid, unit) = line.split_once(' ')?;
    Some((pid.parse().ok()?, unit.trim())).filter(|(_, unit)| !unit.is_empty())
}

/// The second line of `df -P`: name, all, used, left.
fn filled(text: &str) -> Option<Filled> {
    let mut words = text.lines().nth(1)?.split_whitespace().skip(1);
    let all = words.next()?.parse().ok()?;
    Some(Filled { all, left: words.nth(1)?.parse().ok()? })
}

fn memory(text: &str) -> Option<Filled> {
    let of = |key| super::parts::value(text, key)?.parse().ok();
    Some(Filled { all: of("MemTotal")?, left: of("MemAvailable")? })
}

fn hosts(text: &str) -> Vec<HostsLine> {
    let mut by = Writer::Somebody;
    let mut lines = Vec::new();
    for (n, line) in text.lines().enumerate() {
        match line.trim() {
            "# BEGIN phoenix names" => by = Writer::Phoenix,
            "# --- BEGIN PVE ---" => by = Writer::Proxmox,
            "# END phoenix names" | "# --- END PVE ---" => by = Writer::Somebody,
            line => {
                let words = line.split('#').next().unwrap_or_default().split_whitespace();
                let mut words = words.map(str::to_owned);
                if let Some(address) = words.next() {
                    lines.push(HostsLine { number: n + 1, address, names: words.collect(), by });
                }
            }
        }
    }
    lines
}

/// `LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1824,fd=5),…)`.
fn listener(line: &str, owners: &BTreeMap<u32, &str>) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words.get(3)?.rsplit_once(':')?;
    let users = line.split_once("users:((\"").map(|(_, rest)| rest).unwrap_or_default();
    let program = users.split('"').next().unwrap_or_default();
    let pid = users.split_once("pid=").map(|(_, rest)| rest).unwrap_or_default();
    let pid =
        pid.split(|c: char| !c.is_ascii_digit()).next().and_then(|p| p.parse().ok()).unwrap_or_default();
    Some(Listener {
        address: address.split('%').next().unwrap_or(address).to_owned(),
        port: port.parse().ok()?,
        program: program.to_owned(),
        pid,
        unit: owners.get(&pid).map(|unit| (*unit).to_owned()),
    })
}

/// Blocks of `Key=value`, as `systemctl show` prints them.
fn units(text: &str) -> Vec<Unit> {
    let mut all: Vec<Unit> = Vec::new();
    for block in text.split("\n\n") {
        let mut unit = Unit::default();
        for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim().to_owned();
            match key {
                "Id" => unit.name = value,
                "LoadState" => unit.load = value,
                "ActiveState" => unit.active = value,
                "SubState" => unit.sub = value,
                "Result" => unit.result = value,
                "StateChangeTimestamp" => unit.since = since(&value),
                "ActiveEnterTimestamp" => unit.ran = since(&value).is_some(),
                _ => {}
            }
        }
        if !unit.name.is_empty() && !all.iter().any(|u| u.name == unit.name) {
            all.push(unit);
        }
    }
    all
}

/// `notes: web is unhealthy`.
fn stack(line: &str) -> Option<(String, String)> {
    let (name, why) = line.split_once(": ")?;
    Some((name.to_owned(), why.trim().to_owned()))
}

/// `@1764347002`; nothing, or 0, for what has never been.
fn since(value: &str) -> Option<Timestamp> {
    let seconds: i64 = value.strip_prefix('@')?.parse().ok()?;
    Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)
}

fn on_disk(text: &str) -> OnDisk {
    let key = match super::parts::value(text, "key") {
        Some("fits") => Some(Key::Fits),
        Some("other") => Some(Key::Other),
        Some("missing") => Some(Key::Missing),
        _ => None,
    };
    OnDisk { chain: certificates(text), key }
}

/// `notes: why it was put aside`, where the reason may go on over lines. Nginx' own `nginx: configuration file … test failed`
/// says nothing more.
fn aside(text: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let name = line.split_once(": ").filter(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._/".contains(&b))
        });
        match (name, all.last_mut()) {
            (Some(("nginx", _)), Some(_)) => {}
            (None, Some((_, why))) => {
                why.push('\n');
                why.push_str(line);
            }
            (Some((name, why)), _) => all.push((name.to_owned(), bare(why).to_owned())),
            (None, None) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests;
