//! TCP services on ports of this machine: which port each gets, and how the forwarder is told while it runs.
//!
//! `services.json` says what is to be published, and is the lab's memory of the ports. Whoever changes it sends the
//! forwarder a SIGHUP; what that made of it is in `listening.json`. A port that is taken is written there and keeps nothing
//! else from being published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::Error;
use super::forward::{self, replace};
use super::preflight::listener;
use super::process::Process;

/// What is to be published.
const WANTED: &str = "services.json";
/// What the forwarder listens on.
const LISTENING: &str = "listening.json";
/// The first of the ports that are given where a service's own cannot be had.
const FIRST: u16 = 20_000;
/// How many of them a name chooses from, before the next free one is taken.
const SPREAD: u16 = 10_000;
/// How long the forwarder may take to open and close ports.
const HEARD: Duration = Duration::from_secs(3);

/// A TCP service that is to be reached from this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpService {
    /// Where it is in the lab. Its port is the one that is taken on this machine, too, where it is to be had.
    pub target: SocketAddrV4,
    /// Whether clients speak TLS with it.
    pub tls: bool,
    /// The port that the blueprint says.
    pub declared: Option<u16>,
}

/// A service, and where it is reached on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedService {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Where it leads.
    pub target: SocketAddrV4,
    /// Whether clients speak TLS with it.
    pub tls: bool,
    /// Why it is not reached there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl PublishedService {
    /// `tls://127.0.0.1:15432`.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "tls" } else { "tcp" }, self.port)
    }
}

/// `services.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// Counts the changes, so that it can be told which one the forwarder has seen.
    revision: u64,
    pub services: BTreeMap<String, PublishedService>,
}

/// `listening.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listening {
    process: Process,
    revision: u64,
    /// Why something is not listened on, by the service's name.
    failed: BTreeMap<String, String>,
}

pub(super) fn wanted(folder: &Utf8Path) -> Wanted {
    let text = fs::read(folder.join(WANTED)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// What the forwarder that runs now says; none when there is none, or it is one that knows no services.
fn listening(folder: &Utf8Path) -> Option<Listening> {
    let process = forward::running(folder)?.process;
    let text = fs::read(folder.join(LISTENING)).ok()?;
    serde_json::from_slice::<Listening>(&text).ok().filter(|l| l.process == process)
}

/// Whether the forwarder that runs knows of services.
pub(super) fn heard(folder: &Utf8Path) -> bool {
    listening(folder).is_some()
}

impl Listening {
    /// The forwarder tells what it made of a revision.
    pub(super) fn tell(
        folder: &Utf8Path,
        process: Process,
        wanted: &Wanted,
        failed: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        replace(&folder.join(LISTENING), &Self { process, revision: wanted.revision, failed })
    }
}

/// The TCP services that the lab in `folder` publishes, by name.
pub fn published(folder: &Utf8Path) -> BTreeMap<String, PublishedService> {
    let mut services = wanted(folder).services;
    if services.is_empty() {
        return services;
    }
    let listening = listening(folder);
    for (name, service) in &mut services {
        service.trouble = match &listening {
            None => Some("nothing publishes it: phoenix-cli lab up".to_owned()),
            Some(listening) => listening.failed.get(name).cloned(),
        };
    }
    services
}

/// Publishes these services and no others, at once and without a restart. A service keeps the port it has; a port that is
/// taken is told of by [`published`].
///
/// # Errors
/// When the lab's files cannot be written.
pub async fn publish_services(
    folder: &Utf8Path,
    services: &BTreeMap<String, TcpService>,
) -> Result<(), Error> {
    let old = wanted(folder);
    let heard = listening(folder);
    // What the forwarder has open is not taken by somebody else.
    let open = |name: &String| heard.as_ref().is_some_and(|heard| !heard.failed.contains_key(name));
    let own = old.services.iter().filter(|(name, _)| open(name)).map(|(_, service)| service.port);
    let own: BTreeSet<u16> = own.collect();
    let free = |port| own.contains(&port) || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let new = choose(services, &old.services, free);
    let settled = heard.as_ref().is_some_and(|h| h.revision == old.revision && h.failed.is_empty());
    if new == old.services && (settled || new.is_empty()) {
        return Ok(());
    }
    let wanted = Wanted { revision: old.revision + 1, services: new };
    replace(&folder.join(WANTED), &wanted)?;
    let Some(heard) = heard else { return Ok(()) };
    heard.process.hang_up();
    let end = Instant::now() + HEARD;
    while listening(folder).is_some_and(|l| l.revision < wanted.revision) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A port for each service: the declared one; the one it has; its own; else the first free one from a place that follows
/// from its name.
fn choose(
    services: &BTreeMap<String, TcpService>,
    old: &BTreeMap<String, PublishedService>,
    free: impl Fn(u16) -> bool,
) -> BTreeMap<String, PublishedService> {
    let mut used: BTreeSet<u16> = services.values().filter_map(|s| s.declared).collect();
    let mut take = |name: &str, service: &TcpService| {
        let had = old.get(name).map(|had| had.port);
        // Below 1024 are this machine's own services.
        let same = Some(service.target.port()).filter(|port| *port >= 1024);
        let derived = FIRST + place(name);
        let mut all = had.into_iter().chain(same).chain(derived..u16::MAX).chain(FIRST..derived);
        let port = all.find(|port| !used.contains(port) && free(*port));
        // Nothing at all is free: what is wrong is told when it is listened on.
        let port = port.unwrap_or(derived);
        used.insert(port);
        port
    };
    let mut out = BTreeMap::new();
    for (name, service) in services {
        let port = service.declared.unwrap_or_else(|| take(name, service));
        let published = PublishedService { port, target: service.target, tls: service.tls, trouble: None };
        out.insert(name.clone(), published);
    }
    out
}

fn place(name: &str) -> u16 {
    let hash = Sha256::digest(name.as_bytes());
    u16::from_be_bytes([hash[0], hash[1]]) % SPREAD
}

/// Why a port cannot be listened on.
pub(super) fn taken(port: u16, error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        let by = listener(port).map(|by| format!(" by {by}")).unwrap_or_default();
        format!("port {port} on 127.0.0.1 is taken{by}")
    } else {
        format!("port {port} on 127.0.0.1 cannot be had: {error}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn service(port: u16, declared: Option<u16>) -> TcpService {
        TcpService { target: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), port), tls: false, declared }
    }

    fn ports(chosen: &BTreeMap<String, PublishedService>) -> BTreeMap<&str, u16> {
        chosen.iter().map(|(name, service)| (name.as_str(), service.port)).collect()
    }

    #[test]
    fn a_service_has_its_own_port_where_it_is_to_be_had_and_keeps_what_it_has() {
        let services = [
            ("db".to_owned(), service(5432, None)),
            ("mail".to_owned(), service(25, None)),
            ("second".to_owned(), service(5432, None)),
            ("said".to_owned(), service(6379, Some(16379))),
        ]
        .into();
        let first = choose(&services, &BTreeMap::new(), |_| true);
        let chosen = ports(&first);
        assert_eq!((chosen["db"], chosen["said"]), (5432, 16379));
        assert!(chosen["mail"] >= FIRST && chosen["second"] >= FIRST, "{chosen:?}");
        // Another time, and when its own is free again: the same.
        assert_eq!(choose(&services, &first, |_| true), first);
        let away = choose(&services, &BTreeMap::new(), |port| port != 5432);
        assert!(ports(&away)["db"] >= FIRST);
        assert_eq!(choose(&services, &away, |_| true)["db"], away["db"]);
        // What is declared is taken whatever is known of it: whoever listens says that it is not to be had.
        assert_eq!(ports(&choose(&services, &first, |_| false))["said"], 16379);
    }

    proptest! {
        #[test]
        fn no_two_services_share_a_port(
            listens in proptest::collection::btree_map("[a-z]{1,6}", 1u16.., 0..20),
            declared in 1u16..,
            busy in proptest::collection::btree_set(1u16.., 0..40),
        ) {
            let mut services: BTreeMap<String, TcpService> =
                listens.into_iter().map(|(name, port)| (name, service(port, None))).collect();
            services.insert("declared".to_owned(), service(80, Some(declared)));
            let chosen = choose(&services, &BTreeMap::new(), |port| !busy.contains(&port));
            let ports: BTreeSet<u16> = chosen.values().map(|s| s.port).collect();
            prop_assert_eq!(ports.len(), services.len());
            for (name, service) in &chosen {
                prop_assert!(name == "declared" || !busy.contains(&service.port));
                prop_assert!(name == "declared" || service.port >= 1024);
            }
        }
    }
}
