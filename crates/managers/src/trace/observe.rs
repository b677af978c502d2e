//! Everything a trace has to see, at once where one thing does not wait for another, and bounded as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use apply::Failure;
use futures::future::join_all;
use jiff::Timestamp;
use plan::desired::{Guest, HYPERVISOR, Issuer, ViaKind};
use plan::{Desired, GuestKind};
use proxmox::inventory::read_by_files;
use tokio::time::{Instant, timeout};
use transport::{Command, Error, Local, Runner};

use super::ask::{self, Question};
use super::declared::{Declared, Need};
use super::diagnose::{self, Holder, Vantage, World, units_of};
use super::finding::Walk;
use super::leg::{Http, Leg};
use super::log::{self, ProxyLog};
use super::look::{Look, Seen};
use super::neighbour::{self, Neighbour};
use super::path::{Path, Target};
use super::rules::{self, Rules};
use crate::settle::transport_failure;
use crate::ways::Ways;

/// How long the node may take to say who runs.
const NODE: Duration = Duration::from_secs(6);
/// How long a guest may take to tell about itself: a second, and its certificates are asked for over the network.
const LOOK: Duration = Duration::from_secs(11);
/// How long the first round may take: all vantages at once.
const FIRST: Duration = Duration::from_secs(12);
/// How long the second may: from the proxy on.
const SECOND: Duration = Duration::from_secs(11);
/// When all of it has to be at its end: what a third round, for what a service needs, is given is what is left.
const ALL: Duration = Duration::from_secs(29);

/// What observing works with.
#[derive(Debug, Clone)]
pub struct Observer<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// The workshop's root, PEM.
    pub root: &'a str,
    /// The ways to nodes, and into guests.
    pub ways: Ways,
    /// The time.
    pub clock: fn() -> Timestamp,
}

impl Observer<'_> {
    /// Where those outside stand: the node, or this machine.
    pub fn outside(&self) -> Arc<dyn Runner> {
        self.ways.first().cloned().unwrap_or_else(|| Arc::new(Local))
    }

    /// The guests of the site that run, by name, on whichever node; all where a node that is online does not tell.
    ///
    /// # Errors
    /// When no command can be run on any node.
    async fn running(&self) -> Result<BTreeSet<String>, Failure> {
        let Some(first) = self.ways.first() else { return Ok(BTreeSet::new()) };
        // Where the cluster cannot be asked, its first node still can.
        let all = timeout(NODE, self.ways.all()).await.ok().and_then(Result::ok);
        let nodes = all.filter(|nodes| !nodes.is_empty()).unwrap_or_else(|| vec![first.clone()]);
        let command =
            Command::new("asking the node which guests run", ["lxc-ls", "-1", "--running"]).limit(NODE);
        let asked = nodes.iter().map(|node| async {
            let output = timeout(NODE, node.run(&command)).await.unwrap_or_else(|_| {
                Err(Error::TimedOut { place: node.place(), purpose: command.purpose.clone(), limit: NODE })
            });
            output.map_err(|error| transport_failure(&command.purpose, &error))
        });
        let (mut ids, mut told, mut failed) = (BTreeSet::new(), true, Vec::new());
        for answer in join_all(asked).await {
            match answer {
                Ok(output) => {
                    told &= output.success();
                    ids.extend(output.text().split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
                }
                Err(failure) => failed.push(failure),
            }
        }
        told &= failed.is_empty();
        if failed.len() == nodes.len()
            && let Some(failure) = failed.into_iter().next()
        {
            return Err(failure);
        }
        // Of virtual machines the walk itself finds out.
        let runs = |c: &&Guest| c.started && (!told || c.kind == GuestKind::Vm || ids.contains(&c.id));
        Ok(self.desired.guests.values().filter(runs).map(|c| c.name.to_string()).collect())
    }

    /// Where a walk begins when nobody says: outside, the gateway, and one guest that has nothing to do with it.
    fn vantages(&self, path: &Path, declared: &Declared, running: &BTreeSet<String>) -> Vec<Vantage> {
        let mut vantages = Vec::new();
        // What is exposed to nobody is for those who need it; its guest can always ask itself.
        if let (Target::Unexposed(_), Some(guest)) = (&path.target, &path.guest) {
            vantages.extend(
                declared
                    .needed_by(guest)
                    .filter(|name| running.contains(*name))
                    .take(2)
                    .cloned()
                    .map(Vantage::Guest),
            );
            if vantages.is_empty() {
                vantages.push(Vantage::Guest(guest.clone()));
            }
            return vantages;
        }
        if path.outside.is_some() || path.target == Target::Nothing {
            vantages.push(Vantage::Outside);
        }
        let own =
            path.entrance.as_ref().filter(|e| e.proxy == Some(ViaKind::Gateway)).map(|e| e.guest.as_str());
        let gateway = own.or_else(|| self.desired.front_door().map(AsRef::as_ref));
        vantages.extend(gateway.iter().map(|name| Vantage::Guest((*name).to_owned())));
        let on_the_way: Vec<&String> = path.entrance.iter().map(|e| &e.guest).chain(&path.guest).collect();
        let other = running.iter().find(|name| !on_the_way.contains(name) && Some(name.as_str()) != gateway);
        vantages.extend(other.map(|name| Vantage::Guest(name.clone())));
        if vantages.is_empty() {
            vantages.extend(path.guest.iter().cloned().map(Vantage::Guest));
        }
        vantages
    }

    /// The rules of these guests, where Phoenix looks after the firewall.
    pub async fn rules_of<'n>(&self, guests: impl IntoIterator<Item = &'n str>) -> Rules {
        let Some(node) = self.ways.first() else { return Rules::default() };
        let guarded = self.desired.firewall.is_some();
        let known = guests.into_iter().filter_map(|name| self.desired.guests.get(name));
        let ids = known.map(|c| format!("{}.fw", c.id));
        let files = ids.chain(["cluster.fw".to_owned()]).filter(|_| guarded);
        let argv = ["sh", "-c", rules::SCRIPT, "sh"].map(str::to_owned);
        let command = Command::new("reading the firewall's files", argv.into_iter().chain(files)).limit(NODE);
        match timeout(NODE, node.run(&command)).await {
            Ok(Ok(output)) => Rules::parse(&output.text()),
            _ => Rules::default(),
        }
    }

    /// Whom the node, or whoever stands outside, has as neighbours.
    async fn neighbours(&self) -> BTreeMap<Ipv4Addr, Neighbour> {
        let command =
            Command::new("asking who answers on the network", ["ip", "-4", "neigh", "show"]).limit(NODE);
        match timeout(NODE, self.outside().run(&command)).await {
            Ok(Ok(output)) => neighbour::table(&output.text()).into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// What the gateway's log says, where a path goes through one.
    async fn log(&self, path: &Path) -> ProxyLog {
        let gateway = path.entrance.as_ref().filter(|e| e.proxy == Some(ViaKind::Gateway));
        let container = gateway.and_then(|entrance| self.desired.guests.get(&*entrance.guest));
        let Some(guest) = container.and_then(|container| self.ways.guest(container.id).ok()) else {
            return ProxyLog::default();
        };
        let argv = ["sh", "-c", log::SCRIPT, "sh", log::NGINX];
        let command = Command::new("reading the gateway's log", argv).limit(NODE);
        match timeout(NODE, guest.run(&command)).await {
            Ok(Ok(output)) => ProxyLog::parse(&output.text()),
            _ => ProxyLog::default(),
        }
    }

    /// Which guests of the node have these MACs.
    async fn holders(&self, macs: &BTreeSet<String>, limit: Duration) -> BTreeMap<String, Holder> {
        let Some(node) = self.ways.first().filter(|_| !macs.is_empty()) else { return BTreeMap::new() };
        match timeout(limit, read_by_files(&**node, &[])).await {
            Ok(Ok(read)) => macs
                .iter()
                .filter_map(|mac| Some((mac.clone(), diagnose::holder(mac, read.guests.values())?)))
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// How what a guest needs answers it, and what the guests it needs say about themselves.
    async fn needs(
        &self,
        guest: &str,
        needs: &[Need],
        limit: Duration,
    ) -> (Vec<(Need, Leg)>, Vec<(String, Look)>) {
        let vantage = Vantage::Guest(guest.to_owned());
        let asked = needs.iter().map(|need| {
            let vantage = &vantage;
            async move {
                let late = || Leg::lost("it was not reached within its time");
                let leg = match need.port {
                    Some(port) => {
                        let question = Question::connection(need.address, port);
                        timeout(limit, self.ask(vantage, &question)).await.unwrap_or_else(|_| late())
                    }
                    None => Leg::default(),
                };
                (need.clone(), leg)
            }
        });
        let guests: BTreeSet<&String> = needs.iter().map(|need| &need.guest).collect();
        let looks = guests.into_iter().map(|name| async move {
            let look = timeout(limit, self.look(name, &[])).await.unwrap_or(Look::Hangs);
            (name.clone(), look)
        });
        tokio::join!(join_all(asked), join_all(looks))
    }

    async fn ask(&self, vantage: &Vantage, question: &Question) -> Leg {
        let name = match vantage {
            Vantage::Outside => return ask::outside(&*self.outside(), question).await,
            Vantage::Guest(name) => name,
        };
        match self.desired.guests.get(&**name).map(|container| self.ways.guest(container.id)) {
            Some(Ok(guest)) => ask::inside(&guest, question).await,
            Some(Err(_)) => Leg::lost("there is no way to run commands on the node"),
            None => Leg::lost(format!("no container is called {name}")),
        }
    }

    /// What a guest says about itself, with these of its certificates.
    pub async fn look(&self, guest: &str, certificates: &[String]) -> Look {
        let container = self.desired.guests.get(guest);
        match container.and_then(|container| Some((container, self.ways.guest(container.id).ok()?))) {
            Some((container, inside)) => {
                look_at(&inside, &units_of(&container.features), certificates, self.clock).await
            }
            None => Look::Unknown("there is no way to run commands on the node".into()),
        }
    }

    /// What the node says about itself, what is installed on it and its own certificate.
    pub async fn look_at_node(&self) -> Look {
        let Some(node) = self.ways.first() else {
            return Look::Unknown("there is no way to run commands on the node".into());
        };
        let mut units = units_of(&self.desired.on_node);
        let mut certificates = Vec::new();
        if self.desired.hypervisor.is_some() {
            units.extend(OF_THE_NODE.map(str::to_owned));
            certificates.push(HYPERVISOR.to_owned());
        }
        look_at(&**node, &units, &certificates, self.clock).await
    }
}

/// The units on the node that have to do with its certificate.
const OF_THE_NODE: [&str; 2] = ["phoenix-certificates.timer", "phoenix-pveproxy.service"];

/// Has a guest tell about itself.
pub async fn look_at(
    guest: &dyn Runner,
    units: &[String],
    certificates: &[String],
    clock: fn() -> Timestamp,
) -> Look {
    let argv =
        ["sh", "-s", "--"].into_iter().map(str::to_owned).chain([units.join(" "), certificates.join(" ")]);
    let command =
        Command::new("asking the guest about itself", argv).stdin(include_str!("look.sh")).limit(LOOK);
    let asked = clock();
    match timeout(LOOK, guest.run(&command)).await {
        Ok(Ok(output)) => match Seen::parse(&output.text(), asked, clock()) {
            Some(seen) => Look::Seen(Box::new(seen)),
            None => Look::Unknown(output.tail(2).joined()),
        },
        Ok(Err(Error::Connect { reason, .. })) if reason.contains("is not defined") => Look::Missing,
        Ok(Err(Error::Connect { reason, .. })) if reason == "STOPPED" || reason == "STOPPING" => {
            Look::Stopped
        }
        Ok(Err(Error::TimedOut { .. })) | Err(_) => Look::Hangs,
        Ok(Err(error)) => Look::Unknown(error.to_string()),
    }
}

/// Walks `path` from those in `from`, or from the usual ones where it is empty.
///
/// # Errors
/// When no command can be run on the node although there should be a way.
pub async fn trace(
    observer: &Observer<'_>,
    declared: &Declared,
    path: &Path,
    from: &[Vantage],
) -> Result<Vec<Walk>, Failure> {
    let begin = Instant::now();
    let running = observer.running().await?;
    let vantages = if from.is_empty() { observer.vantages(path, declared, &running) } else { from.to_vec() };
    let desired = observer.desired;
    let mut guests: BTreeSet<String> =
        path.entrance.iter().map(|e| e.guest.clone()).chain(path.guest.clone()).collect();
    guests.extend(vantages.iter().filter_map(|vantage| match vantage {
        Vantage::Guest(name) => Some(name.clone()),
        Vantage::Outside => None,
    }));
    guests.extend(desired.dns.iter().map(|(name, _)| name.to_string()));
    guests.extend(desired.authority.iter().map(|authority| authority.on.to_string()));
    let question = Question::client(path, desired.dns.as_ref().map(|(_, address)| *address));
    let looks = guests.iter().map(|guest| async {
        let look = observer.look(guest, &certificates(desired, path, guest)).await;
        (guest.clone(), look)
    });
    let asked = vantages.iter().map(|vantage| async {
        let late = || Leg::lost(format!("no answer within {} s", FIRST.as_secs()));
        timeout(FIRST, observer.ask(vantage, &question)).await.unwrap_or_else(|_| late())
    });
    let on_the_way = observer.rules_of(guests.iter().map(String::as_str));
    let (looks, legs, rules) = tokio::join!(join_all(looks), join_all(asked), on_the_way);
    let mut world = World::new(desired, observer.root, (observer.clock)());
    world.looks = looks.into_iter().collect();
    world.rules = rules;
    let needed =
        vantages.iter().zip(&legs).any(|(vantage, leg)| diagnose::needs_upstream(&world, vantage, path, leg));
    let behind = async {
        let to = path.upstream.as_ref().filter(|_| needed)?;
        let root = format!("/usr/local/share/ca-certificates/phoenix-{}.crt", desired.site);
        let question = Question::behind(to, &root);
        let vantage = Vantage::Guest(to.from.clone());
        let asked = timeout(SECOND, observer.ask(&vantage, &question)).await;
        Some(asked.unwrap_or_else(|_| Leg::lost(format!("no answer within {} s", SECOND.as_secs()))))
    };
    let said = async { if needed { observer.log(path).await } else { ProxyLog::default() } };
    let (upstream, neighbours, said) = tokio::join!(behind, observer.neighbours(), said);
    (world.neighbours, world.log) = (neighbours, said);
    let left = ALL.saturating_sub(begin.elapsed());
    let asked: Vec<(&Vantage, &Leg)> = vantages.iter().zip(&legs).collect();
    let strangers = diagnose::strangers(&world, path, &asked, upstream.as_ref());
    let error = |leg: &Leg| matches!(leg.http, Some(Http::Status(500.., _)));
    let needs = path.guest.as_ref().filter(|_| legs.iter().chain(&upstream).any(error));
    let needs = needs.and_then(|guest| declared.needs.get_key_value(guest));
    let met = async {
        let (guest, needs) = needs?;
        Some((guest.clone(), observer.needs(guest, needs, left).await))
    };
    let (holders, met) = tokio::join!(observer.holders(&strangers, left), met);
    world.holders = holders;
    if let Some((guest, (answers, looks))) = met {
        world.looks.extend(looks);
        world.needs.insert(guest, answers);
    }
    let judge =
        |(vantage, leg): (&Vantage, &Leg)| diagnose::walk(&world, vantage, path, leg, upstream.as_ref());
    Ok(vantages.iter().zip(&legs).map(judge).collect())
}

/// The certificates of a guest that have to do with a path.
fn certificates(desired: &Desired, path: &Path, guest: &str) -> Vec<String> {
    let shown = path.entrance.iter().filter(|e| e.guest == guest).filter_map(|e| e.certificate.clone());
    let own = format!("{guest}.guest");
    let own =
        Some(own).filter(|name| desired.certificates.get(name).is_some_and(|c| c.issuer != Issuer::Acme));
    shown.chain(own).collect()
}
