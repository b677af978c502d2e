//! Looking at everything, a few things at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use blueprint::names::GuestName;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use plan::desired;
use plan::{Address, Desired, Inventory, address};
use tokio::time::{Instant, timeout};
use transport::{Command, Runner};

use super::{Certificate, Guest, Health, Part, Service, Trouble, judge};
use crate::authority;
use crate::storages::{Fullness, fullness};
use crate::trace::ask::{Question, Trust, outside};
use crate::trace::chain::judge as judge_chain;
use crate::trace::diagnose::World;
use crate::trace::leg::{Http, Leg, Tls};
use crate::trace::look::Look;
use crate::trace::question::Reply;
use crate::trace::{Observer, rules};
use crate::worksite::Prober;
use crate::zfs::{self, PoolHealth};

/// How many guests, services and certificates are looked at at once: fewer than the commands that run at once over one
/// connection ([`transport::MAX_SESSIONS`]), so that none waits with its clock running.
pub const PARALLEL: usize = 6;

/// How long each of the three rounds may take: guests, services, certificates. What is not reached by then is told.
const ROUND: Duration = Duration::from_secs(40);

/// How long looking through what an authority has signed may take: it is half a gigabyte at most.
const THROUGH: Duration = Duration::from_secs(20);

/// What examining works with.
#[derive(Debug)]
pub struct Examiner<'a> {
    /// How guests are looked at.
    pub observer: Observer<'a>,
    /// What is there.
    pub inventory: &'a Inventory,
    /// Who makes a request to a service.
    pub prober: Arc<dyn Prober>,
    /// Whether guests are records only, so that there is nothing to look at in them.
    pub simulated: bool,
    /// Only these: addresses, names, ids or globs; all where empty.
    pub targets: &'a [String],
}

impl Examiner<'_> {
    fn wanted(&self, address: &Address, id: Option<u32>) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|t| address::matches(t, address, id))
    }

    /// Whether a guest is to be looked at: one that is to be off is not, unless it is asked for by name.
    fn runs(&self, guest: &str) -> bool {
        !self.desired().is_off(guest)
    }

    fn desired(&self) -> &Desired {
        self.observer.desired
    }

    /// Whether a guest of ours runs, by what the node says.
    fn state(&self, id: u32) -> Option<Look> {
        match self.inventory.guests.get(&id) {
            None => Some(Look::Missing),
            Some(guest) if guest.mark.as_ref().is_none_or(|m| m.site != self.desired().site) => {
                Some(Look::Unknown(format!("the id {id} is somebody else's")))
            }
            Some(guest) if !guest.running => Some(Look::Stopped),
            Some(_) => None,
        }
    }

    async fn look(&self, name: &str) -> (String, Look, Duration) {
        let id = self.desired().guests.get(name).map_or(0, |c| c.id);
        let begin = Instant::now();
        let look = match self.state(id) {
            Some(known) => known,
            None if self.simulated => Look::Unknown(SIMULATED.into()),
            None => {
                let certificates = self.desired().certificates.values().filter(|c| c.on.is_guest(name));
                self.observer.look(name, &certificates.map(|c| c.name.clone()).collect::<Vec<_>>()).await
            }
        };
        (name.to_owned(), look, begin.elapsed())
    }
}

const SIMULATED: &str = "not looked at: the lab is simulated, and nothing runs in it";

/// What was not reached in time.
fn late(what: &str) -> Trouble {
    Trouble::new(
        "health::late",
        format!("{what} was not reached within {} s, because others hang", ROUND.as_secs()),
        "phoenix-cli health NAME asks it alone",
    )
}

/// Runs for each of `names`, a few at a time; what is not done when the round is over is left out.
async fn round<'a, N: 'a, T, F>(names: impl Iterator<Item = &'a N>, one: impl Fn(&'a N) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    all_within(names.map(one)).await
}

/// The same for what is ready to be asked.
async fn all_within<T, F: Future<Output = T>>(asked: impl Iterator<Item = F>) -> Vec<T> {
    let mut done = Vec::new();
    let all = stream::iter(asked).buffer_unordered(PARALLEL);
    let mut all = std::pin::pin!(all);
    let collecting = async {
        while let Some(one) = all.next().await {
            done.push(one);
        }
    };
    // Time is up: what is done is done.
    let _ = timeout(ROUND, collecting).await;
    done
}

/// Looks at everything that is wanted.
pub async fn examine(examiner: &Examiner<'_>) -> Health {
    let begin = Instant::now();
    let desired = examiner.desired();
    let services: Vec<&String> = desired
        .services
        .values()
        .filter(|service| examiner.runs(&service.on))
        .map(|service| &service.name)
        .filter(|n| examiner.wanted(&Address::service(n), None))
        .collect();
    let own = desired.hypervisor.iter().map(|node| &node.certificate).filter(|_| !examiner.simulated);
    let certificates: Vec<&desired::Certificate> = desired
        .certificates
        .values()
        .filter(|c| !desired.is_on_off(&c.on))
        .chain(own)
        .filter(|c| examiner.wanted(&c.resource(), None))
        .collect();
    let guests: Vec<&GuestName> = desired
        .guests
        .values()
        // One that becomes a template never runs.
        .filter(|c| !c.golden && examiner.wanted(&c.resource(), Some(c.id)))
        .filter(|c| c.started || !examiner.targets.is_empty())
        .map(|c| &c.name)
        .collect();
    let running: Vec<&GuestName> = guests.iter().copied().filter(|name| examiner.runs(name)).collect();
    // Of these something has to be known, whether they are asked for or not.
    let on_the_way: BTreeSet<&GuestName> = guests
        .iter()
        .copied()
        .chain(
            services
                .iter()
                .filter_map(|n| desired.services.get(*n))
                .flat_map(|s| std::iter::once(&s.on).chain(s.via.as_ref().map(|via| &via.on))),
        )
        .chain(certificates.iter().filter_map(|c| c.on.guest()))
        .collect();
    let on_node = !examiner.simulated && examiner.targets.is_empty() && !desired.on_node.is_empty();
    let node = async {
        match certificates.iter().any(|c| c.on.is_node()) || on_node {
            true => Some(examiner.observer.look_at_node().await),
            false => None,
        }
    };
    let (looks, rules, node) = tokio::join!(
        round(on_the_way.iter().copied(), |name| examiner.look(name)),
        examiner.observer.rules_of(on_the_way.iter().map(|name| name.as_str())),
        node
    );
    let mut took = BTreeMap::new();
    let mut known = BTreeMap::new();
    for (name, look, elapsed) in looks {
        took.insert(name.clone(), elapsed);
        known.insert(name, look);
    }
    for name in &on_the_way {
        known
            .entry(name.to_string())
            .or_insert_with(|| Look::Unknown(late(desired.called(name).as_str()).text));
    }
    let mut world = World::new(desired, examiner.observer.root, (examiner.observer.clock)());
    (world.looks, world.rules, world.node) = (known, rules, node);
    let (services, certificates, authority, names) = tokio::join!(
        probes(examiner, &world, &services),
        certified(examiner, &world, &certificates),
        authority(examiner, &world),
        names(examiner, &world),
    );
    Health {
        at: world.now,
        guests: guests.iter().map(|name| guest_health(&world, name, &took, examiner.simulated)).collect(),
        node: on_node.then(|| judge::node(&world)).flatten(),
        firewall: firewall(examiner, &world, &running),
        services,
        certificates,
        authority,
        names,
        storages: storages(examiner),
        pools: pools(examiner, world.now),
        took: begin.elapsed(),
    }
}

/// How full the storages are, and whether their nodes can use them, by what was read already.
fn storages(examiner: &Examiner<'_>) -> Vec<Fullness> {
    let all = examiner.desired().storages.values();
    let wanted = all.filter(|storage| examiner.wanted(&Address::storage(&storage.name), None));
    wanted.map(|storage| fullness(storage, examiner.inventory)).collect()
}

/// How the pools of ZFS are, by what was read already.
fn pools(examiner: &Examiner<'_>, now: Timestamp) -> Vec<PoolHealth> {
    let all = examiner.desired().pools.values();
    let wanted = all.filter(|pool| examiner.wanted(&Address::pool(&pool.name), None));
    wanted.filter_map(|pool| zfs::health(pool, examiner.inventory, now)).collect()
}

fn guest_health(world: &World<'_>, name: &str, took: &BTreeMap<String, Duration>, simulated: bool) -> Guest {
    let look = world.look(name).cloned().unwrap_or_else(|| Look::Unknown("not looked at".into()));
    let id = world.desired.guests.get(name).map_or(0, |c| c.id);
    // That there is nothing to look at in a simulated guest is no trouble of its.
    let unknown = simulated && look == Look::Unknown(SIMULATED.into());
    let off = look == Look::Stopped && world.desired.is_off(name);
    let trouble = if unknown || off { None } else { judge::guest(world, name, id) };
    Guest { name: name.to_owned(), answered: took.get(name).copied().unwrap_or_default(), look, trouble }
}

/// A real request to each service.
async fn probes(examiner: &Examiner<'_>, world: &World<'_>, wanted: &[&String]) -> Vec<Service> {
    let done = round(wanted.iter().copied(), |name| async move {
        let Some(service) = world.desired.services.get(name) else {
            return Service { name: name.clone(), answer: Err(late(name)), took: Duration::ZERO };
        };
        let host = service.hosts.first().cloned().unwrap_or_default();
        let hint = format!("phoenix-cli trace {host}");
        let on_the_way = service.via.iter().map(|via| &via.on).chain([&service.on]);
        for guest in on_the_way {
            if let Some(cause) = crate::trace::diagnose::down(world, guest) {
                return Service { name: name.clone(), answer: Err(cause.into()), took: Duration::ZERO };
            }
        }
        let begin = Instant::now();
        let answer = examiner.prober.probe(service).await.map_err(|failure| Trouble {
            code: failure.code,
            text: failure.errors.join(": "),
            hint,
        });
        let answer = answer.map(|seen| judge::with_trust(service, seen));
        Service { name: name.clone(), answer, took: begin.elapsed() }
    })
    .await;
    let mut by_name: BTreeMap<String, Service> = done.into_iter().map(|s| (s.name.clone(), s)).collect();
    let missed = |name: &String| Service {
        name: name.clone(),
        answer: Err(late(Address::service(name).as_str())),
        took: ROUND,
    };
    wanted.iter().map(|name| by_name.remove(*name).unwrap_or_else(|| missed(name))).collect()
}

/// Each certificate, on disk and where it is served.
async fn certified(
    examiner: &Examiner<'_>,
    world: &World<'_>,
    wanted: &[&desired::Certificate],
) -> Vec<Certificate> {
    let asked = wanted.iter().copied().map(|certificate| async move {
        let disk = world.seen_on(&certificate.on).and_then(|seen| seen.certificates.get(&certificate.name));
        let mut served = Vec::new();
        if disk.is_some() {
            for at in &certificate.served {
                served.push(shown(&*examiner.observer.outside(), at.address, at.port, &at.name).await);
            }
        }
        (certificate.resource(), judge::certificate(world, certificate, disk, &served))
    });
    let mut done: BTreeMap<Address, Certificate> = all_within(asked).await.into_iter().collect();
    for certificate in wanted {
        done.entry(certificate.resource()).or_insert_with(|| Certificate {
            name: certificate.name.clone(),
            ends: None,
            same: None,
            failures: None,
            seen: "not asked".into(),
            trouble: Some(late(certificate.resource().as_str())),
        });
    }
    done.into_values().collect()
}

fn direct(address: Ipv4Addr, port: u16, name: &str, url: Option<String>) -> Question {
    Question {
        name: None,
        wanted: vec![address],
        server: None,
        to: Some((address, port)),
        sni: Some(name.to_owned()),
        url,
        host: None,
        pair: None,
        trust: Trust::System,
    }
}

/// The chain that is shown at an address, PEM.
async fn shown(from: &dyn Runner, address: Ipv4Addr, port: u16, name: &str) -> Option<String> {
    match outside(from, &direct(address, port, name, None)).await.tls {
        Some(Tls::Shown(chain)) => Some(chain),
        _ => None,
    }
}

/// Whether the authority answers, and shows a certificate of its own.
async fn authority(examiner: &Examiner<'_>, world: &World<'_>) -> Option<Part> {
    let authority = world.desired.authority.as_ref().filter(|_| !examiner.simulated)?;
    let address = world.desired.names.get(&authority.host).copied();
    if !examiner.wanted(&Address::authority(&authority.on), None)
        && !examiner.wanted(&world.desired.called(&authority.on), None)
    {
        return None;
    }
    let hint = format!("phoenix-cli trace {}", authority.host);
    let trouble = |text: String| Trouble::new("health::authority", text, hint.clone());
    let answer = match address {
        None => Err(trouble(format!("{} means nothing", authority.host))),
        Some(address) => {
            let url = Some(format!("https://{}/health", authority.host));
            let leg =
                outside(&*examiner.observer.outside(), &direct(address, 443, &authority.host, url)).await;
            certain(world, &authority.host, &leg).map_err(trouble).and_then(|seen| {
                let shown = leg.tls.as_ref().map_or("", |tls| match tls {
                    Tls::Shown(chain) => chain.as_str(),
                    _ => "",
                });
                judge::intermediate(shown, authority.life, world.now).map_or(Ok(seen), Err)
            })
        }
    };
    let answer = match answer {
        Ok(seen) => for_later(examiner, world, &authority.on).await.map(|more| seen + &more),
        Err(trouble) => Err(trouble),
    };
    Some(Part { on: authority.on.to_string(), answer })
}

/// Whether the authority has signed something that begins later; what is to be added where that could not be seen.
async fn for_later(examiner: &Examiner<'_>, world: &World<'_>, on: &GuestName) -> Result<String, Trouble> {
    let unseen = || Ok("; what it has signed could not be looked through".to_owned());
    let guest = world.desired.guests.get(on);
    let Some(inside) = guest.and_then(|guest| examiner.observer.ways.guest(guest.id).ok()) else {
        return unseen();
    };
    let argv = [authority::PROGRAM, "later"];
    let ask = Command::new(format!("asking {on} what it has signed for later"), argv).limit(THROUGH);
    let said = inside.run(&ask).await.ok().filter(transport::Output::success);
    match said.and_then(|output| authority::later::Signed::parse(&output.text())) {
        None => unseen(),
        Some(signed) => judge::for_later(&signed).map_or_else(|| Ok(String::new()), Err),
    }
}

/// A chain that holds, and 200.
fn certain(world: &World<'_>, host: &str, leg: &Leg) -> Result<String, String> {
    let Some(Tls::Shown(chain)) = &leg.tls else {
        return Err(format!("{host} cannot be spoken to over TLS"));
    };
    match judge_chain(chain, host, Some(world.root), world.now) {
        None => return Err(format!("{host} shows no certificate")),
        Some(chain) => {
            if let Some(fault) = chain.fault {
                return Err(format!("its own certificate does not hold: {fault:?}"));
            }
        }
    }
    match &leg.http {
        Some(Http::Status(200, took)) => Ok(format!("{host} answers in {} ms", took.as_millis())),
        Some(Http::Status(status, _)) => Err(format!("{host} answers {status}")),
        _ => Err(format!("{host} does not answer")),
    }
}

/// Whether the name server knows a name of ours.
async fn names(examiner: &Examiner<'_>, world: &World<'_>) -> Option<Part> {
    let (on, server) = world.desired.dns.as_ref().filter(|_| !examiner.simulated)?;
    if !examiner.wanted(&world.desired.called(on), None) {
        return None;
    }
    let (name, address) = world.desired.names.iter().next()?;
    let question = Question {
        name: Some(name.clone()),
        server: Some(*server),
        to: None,
        sni: None,
        ..direct(*address, 53, name, None)
    };
    let begin = Instant::now();
    let leg = outside(&*examiner.observer.outside(), &question).await;
    let reply = leg.names.and_then(|names| names.server).map_or(Reply::Silent, |(_, reply)| reply);
    let answer = match &reply {
        Reply::Addresses(found) if found.contains(address) => {
            Ok(format!("{server} knows {name}, {} ms", begin.elapsed().as_millis()))
        }
        other => Err(Trouble::new(
            "health::names",
            format!("{server} was asked for {name}, which is {address}: {}", other.words()),
            format!("phoenix-cli trace {name}"),
        )),
    };
    Some(Part { on: on.to_string(), answer })
}

fn firewall(examiner: &Examiner<'_>, world: &World<'_>, guests: &[&GuestName]) -> Vec<super::Rules> {
    if world.desired.firewall.is_none() || examiner.simulated || examiner.observer.ways.first().is_none() {
        return Vec::new();
    }
    let rules: &rules::Rules = &world.rules;
    let containers = guests.iter().filter_map(|name| world.desired.guests.get(*name));
    containers.map(|c| judge::firewall(world.desired, &c.name, c.id, rules)).collect()
}
