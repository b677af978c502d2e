//! The walk: every hop judged in its order, to the first that breaks.

use std::collections::BTreeSet;

use plan::desired::ViaKind;

use super::super::finding::{Cause, Finding, Hop, State, Walk};
use super::super::leg::{Leg, Tcp};
use super::super::neighbour::Neighbour;
use super::super::path::{Entrance, Path, Target};
use super::dns::dns;
use super::http::{self, Answer};
use super::tcp::{Met, To, tcp};
use super::tls::{Shows, aside, tls};
use super::{Vantage, World, again, far_end, near};

/// Judges what was seen from `vantage`, and from the proxy where that was asked.
pub fn walk(world: &World<'_>, vantage: &Vantage, path: &Path, leg: &Leg, upstream: Option<&Leg>) -> Walk {
    let mut walk = Walk { from: vantage.called(world.desired), findings: front(world, vantage, path, leg) };
    if walk.state() < State::Broken {
        back(world, path, leg, upstream, &mut walk);
    }
    walk
}

/// Whether it has to be asked from the proxy on: the client's way to it holds, and its answer does not prove the rest.
pub fn needs_upstream(world: &World<'_>, vantage: &Vantage, path: &Path, leg: &Leg) -> bool {
    let front = front(world, vantage, path, leg);
    path.upstream.is_some()
        && front.iter().all(|finding| finding.state < State::Broken)
        && match &leg.http {
            None => true,
            Some(http) => {
                let service = match &path.target {
                    Target::Service(name) => world.desired.services.get(name),
                    _ => None,
                };
                matches!(
                    http::answer(service, path.status, &vantage.called(world.desired), http),
                    Answer::Guarded(_) | Answer::Bad(_)
                )
            }
        }
}

/// Why a hop could not be asked.
pub fn not_asked(world: &World<'_>, hop: Hop, place: &str, guest: &str, why: &str) -> Finding {
    let cause = far_end::down(world, guest).unwrap_or_else(|| {
        Cause::new(
            "trace::cannot-ask",
            format!("nothing can be asked from {place}: {why}"),
            "phoenix-cli doctor tries the way there",
        )
    });
    Finding::broken(hop, place, "could not be asked", cause)
}

/// The client's way: to the proxy, or to the guest itself.
fn front(world: &World<'_>, vantage: &Vantage, path: &Path, leg: &Leg) -> Vec<Finding> {
    let at = vantage.called(world.desired);
    let asking = match vantage {
        Vantage::Guest(name) => name.as_str(),
        Vantage::Outside => "",
    };
    if let Some(why) = &leg.lost {
        return vec![not_asked(world, Hop::Dns, &at, asking, why)];
    }
    let mut found = Vec::new();
    if !path.nameless() {
        found.push(dns(world, vantage, path, leg.names.as_ref()));
    }
    let broken = |found: &[Finding]| found.iter().any(|finding| finding.state == State::Broken);
    let Some(entrance) = path.entrance.as_ref().filter(|_| !broken(&found)) else { return found };
    let to = To { guest: &entrance.guest, address: entrance.address, port: entrance.port };
    match &leg.tcp {
        Some(connection) => {
            let neighbour = neighbour(world, vantage, leg, to);
            if matches!(connection, Tcp::Open(_)) {
                found.extend(near::link(world, &at, to, neighbour));
            }
            let met = Met { tcp: connection, route: leg.route.as_deref(), neighbour };
            found.push(tcp(world, &at, vantage.asker(), to, met));
        }
        None => found.push(not_asked(world, Hop::Tcp, &at, asking, "it was not reached within its time")),
    }
    if broken(&found) || !entrance.tls {
        return found;
    }
    match &leg.tls {
        Some(handshake) => {
            let again = again(world, path);
            found.push(tls(world, &at, shows(path, entrance, &again), handshake));
        }
        None => found.push(not_asked(world, Hop::Tls, &at, asking, "it was not reached within its time")),
    }
    found
}

/// Who answers for the far end, as whoever asked has it; the node's own table stands for those outside.
fn neighbour<'a>(world: &'a World<'_>, vantage: &Vantage, leg: &'a Leg, to: To<'_>) -> Option<&'a Neighbour> {
    let of_the_node = || world.neighbours.get(&to.address).filter(|_| *vantage == Vantage::Outside);
    leg.answering(of_the_node())
}

/// The MACs that answer where others should have, of all that was asked.
pub fn strangers(
    world: &World<'_>,
    path: &Path,
    asked: &[(&Vantage, &Leg)],
    upstream: Option<&Leg>,
) -> BTreeSet<String> {
    let entrance = path.entrance.as_ref().map(|e| To { guest: &e.guest, address: e.address, port: e.port });
    let front = asked.iter().filter_map(|(vantage, leg)| {
        let to = entrance?;
        near::stranger(world, to, neighbour(world, vantage, leg, to))
    });
    let behind = path.upstream.as_ref().zip(upstream).and_then(|(to, leg)| {
        let to = To { guest: &to.guest, address: to.address, port: to.port };
        near::stranger(world, to, leg.answering(None))
    });
    front.chain(behind).map(str::to_owned).collect()
}

fn shows<'a>(path: &'a Path, entrance: &'a Entrance, again: &'a str) -> Shows<'a> {
    let service = match &path.target {
        Target::Service(name) => Some(name.as_str()),
        _ => None,
    };
    Shows {
        guest: &entrance.guest,
        at: (entrance.address, entrance.port),
        name: Some(&path.name),
        certificate: entrance.certificate.as_deref(),
        own_root: !entrance.public,
        proxy: entrance.proxy.map(ViaKind::as_str).zip(service),
        again,
    }
}

/// From the proxy on, and the answer.
fn back(world: &World<'_>, path: &Path, leg: &Leg, upstream: Option<&Leg>, walk: &mut Walk) {
    let again = again(world, path);
    if let (Some(entrance), Target::Service(service)) = (&path.entrance, &path.target)
        && let Some(kind) = entrance.proxy
        && let Some(cause) = aside(world, &entrance.guest, kind.as_str(), service, &again)
    {
        let place = world.called(&entrance.guest).to_string();
        walk.findings.push(Finding::broken(Hop::Proxy, place, "the site is not served", cause));
        return;
    }
    if let (Some(to), Some(leg)) = (&path.upstream, upstream) {
        walk.findings.extend(http::upstream(world, path, to, leg, &again));
        if walk.state() == State::Broken {
            return;
        }
    }
    if let Some(guest) = &path.guest {
        let served = path.upstream.as_ref().map(|to| (to.address, to.port));
        let served = served.or_else(|| path.entrance.as_ref().map(|e| (e.address, e.port)));
        walk.findings.extend(http::guest(world, guest, served));
        if walk.state() == State::Broken {
            return;
        }
    }
    if let Some(answer) = &leg.http {
        walk.findings.push(http::http(world, &walk.from, path, answer, &again));
    } else if path.entrance.as_ref().is_some_and(|entrance| entrance.url.is_some()) {
        walk.findings.push(not_asked(world, Hop::Http, &walk.from, "", "it was not reached within its time"));
    }
}
