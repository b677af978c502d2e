//! The way and the connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use plan::Address;
use plan::desired::Transport;
use proxmox::firewall::Direction;

use super::super::finding::{Cause, Finding, Hop};
use super::super::flows::{Asker, Verdict};
use super::super::leg::{Leg, Tcp};
use super::super::neighbour::Neighbour;
use super::super::rules::has_flow;
use super::{World, far_end, near};

/// A network says after three seconds that nobody has an address (three questions by ARP, a second each); what is said
/// before that is said by somebody on the way.
const ARP: Duration = Duration::from_millis(2500);

/// Where a connection goes.
#[derive(Debug, Clone, Copy)]
pub struct To<'a> {
    /// The guest.
    pub guest: &'a str,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

impl To<'_> {
    fn at(self) -> String {
        format!("{}:{}", self.address, self.port)
    }
}

/// What a connection met.
#[derive(Debug, Clone, Copy)]
pub struct Met<'a> {
    /// The connection.
    pub tcp: &'a Tcp,
    /// What `ip route get` says.
    pub route: Option<&'a str>,
    /// Who answers for the address on the network.
    pub neighbour: Option<&'a Neighbour>,
}

impl<'a> Met<'a> {
    /// On a leg that came to connecting.
    pub fn of(leg: &'a Leg) -> Option<Self> {
        Some(Self { tcp: leg.tcp.as_ref()?, route: leg.route.as_deref(), neighbour: leg.answering(None) })
    }
}

/// Judges a connection from `who`, whom findings call `place`. Of all that is wrong, what is nearest to the wire is the cause.
pub fn tcp(world: &World<'_>, place: &str, who: Asker<'_>, to: To<'_>, met: Met<'_>) -> Finding {
    let verdict = world.flows.verdict(who, to.guest, Transport::Tcp, to.port);
    let between = match who {
        Asker::Guest(name) => format!("{name} → {}", to.at()),
        Asker::Outside | Asker::Node => to.at(),
    };
    let seen = match met.tcp {
        Tcp::Open(took) => {
            let seen = format!("{between} open{}, {} ms", verdict.words(), millis(*took));
            return Finding::good(Hop::Tcp, place, seen);
        }
        Tcp::Refused => "connection refused".to_owned(),
        Tcp::Silent(took) => format!("no answer within {} s", took.as_secs().max(1)),
        Tcp::Unreachable(_) => "cannot be reached".to_owned(),
        Tcp::Failed(said) => said.clone(),
    };
    let mut all = causes(world, who, to, verdict, met);
    all.sort_by_key(|(_, cause)| cause.layer());
    let mut all = all.into_iter();
    let Some((hop, cause)) = all.next() else {
        let cause = Cause::new(
            "trace::connection",
            "the connection could not be made",
            "phoenix-cli doctor tries the way there",
        );
        return Finding::broken(Hop::Tcp, place, format!("{between} {seen}"), cause);
    };
    let mut finding = Finding::broken(hop, place, format!("{between} {seen}"), cause);
    finding.also = all.map(|(_, cause)| cause).collect();
    finding.also.dedup();
    finding
}

/// All that is wrong on the way to a port that does not open.
fn causes(
    world: &World<'_>,
    who: Asker<'_>,
    to: To<'_>,
    verdict: Verdict<'_>,
    met: Met<'_>,
) -> Vec<(Hop, Cause)> {
    if let Some(cause) = far_end::down(world, to.guest) {
        return vec![(Hop::Tcp, cause)];
    }
    let mut all: Vec<(Hop, Cause)> =
        near::near(world, to, met.neighbour).into_iter().map(|cause| (Hop::Link, cause)).collect();
    if *met.tcp == Tcp::Refused {
        // Somebody answers there, so nothing drops it. Where a stranger does, the guest's own port was not reached.
        let listens = world.seen(to.guest).is_some_and(|seen| seen.listener(to.address, to.port).is_some());
        if all.is_empty() || !listens {
            all.push((Hop::Tcp, far_end::refused(world, to.guest, to.address, to.port)));
        }
        return all;
    }
    let way = firewall(world, who, to, verdict).map(|cause| (Hop::Firewall, cause));
    let nothing_found = all.is_empty() && way.is_none();
    all.extend(way);
    if nothing_found {
        all.extend(match met.tcp {
            Tcp::Silent(_) => Some(silent(world, to)),
            Tcp::Unreachable(took) => Some(unreachable(world, to, met, *took)),
            Tcp::Open(_) | Tcp::Refused | Tcp::Failed(_) => None,
        });
    }
    all.extend(far_end::port(world, to.guest, to.address, to.port).map(|cause| (Hop::Tcp, cause)));
    all
}

/// Milliseconds, with one digit behind the point where there are few.
pub fn millis(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}

fn silent(world: &World<'_>, to: To<'_>) -> (Hop, Cause) {
    let listens = world.seen(to.guest).and_then(|seen| seen.listener(to.address, to.port));
    let text = match listens {
        Some(listener) => {
            format!(
                "{} of {} listens there; something on the way drops packets",
                listener.program,
                world.called(to.guest)
            )
        }
        None => {
            format!(
                "{} does not answer, and nothing in it listens at port {}",
                world.called(to.guest),
                to.port
            )
        }
    };
    (Hop::Tcp, Cause::new("trace::silent", text, world.shows_rules(to.guest)))
}

/// What a firewall has to do with it: no flow, the flow's rule missing, or a rule too many.
fn firewall(world: &World<'_>, who: Asker<'_>, to: To<'_>, verdict: Verdict<'_>) -> Option<Cause> {
    let from = match who {
        Asker::Outside => "from outside".to_owned(),
        Asker::Node => "from the node".to_owned(),
        Asker::Guest(name) => format!("from {}", world.called(name)),
    };
    if verdict == Verdict::Dropped {
        return Some(Cause::new(
            "trace::no-flow",
            format!("no flow lets anything come {from} to port {} of {}", to.port, world.called(to.guest)),
            "declare one under `flows`, with its reason, then phoenix-cli apply",
        ));
    }
    if let Some(cause) = far_end::rejected(world, to.guest, to.port) {
        return Some(cause);
    }
    let sender = match who {
        Asker::Guest(name) => Some(name),
        Asker::Outside | Asker::Node => None,
    };
    if let Some(cause) = sender.and_then(|name| far_end::by_rule(world, name, Direction::Out, to.port)) {
        return Some(cause);
    }
    let Verdict::By(flow) = verdict else { return None };
    let missing = |guest: &str, direction| {
        let id = world.desired.guests.get(guest)?.id;
        let file = world.rules.guest_file(id)?;
        (!has_flow(&file, &world.desired.site, direction, &flow.id)).then(|| {
            Cause::new(
                "trace::rule-missing",
                format!(
                    "flow {} should let it through, and /etc/pve/firewall/{id}.fw has no rule of it",
                    flow.id
                ),
                format!("phoenix-cli apply --target {}", Address::firewall(guest)),
            )
        })
    };
    // What guests send is filtered in zero trust alone.
    let zero_trust = world.desired.firewall.as_ref().is_some_and(|firewall| firewall.zero_trust);
    let sends = sender.filter(|_| zero_trust);
    missing(to.guest, Direction::In).or_else(|| sends.and_then(|name| missing(name, Direction::Out)))
}

fn unreachable(world: &World<'_>, to: To<'_>, met: Met<'_>, took: Duration) -> (Hop, Cause) {
    let none = |route: &&str| route.contains("unreachable") || route.contains("RTNETLINK");
    if let Some(route) = met.route.filter(none) {
        return (
            Hop::Route,
            Cause::new(
                "trace::no-route",
                format!("there is no way to {}: {route}", to.address),
                "phoenix-cli explain networks; does the network there have a `gateway`?",
            ),
        );
    }
    // Who has just asked in vain says so at once.
    if took < ARP && met.neighbour != Some(&Neighbour::Nobody) {
        return (
            Hop::Firewall,
            Cause::new(
                "trace::rule-drops",
                format!(
                    "it was turned away at once, so a firewall on the way rejects it; {} runs",
                    world.called(to.guest)
                ),
                world.shows_rules(to.guest),
            ),
        );
    }
    (
        Hop::Route,
        Cause::new(
            "trace::unreachable",
            format!("{} runs, and nobody on the network answers for {}", world.called(to.guest), to.address),
            format!(
                "phoenix-cli exec {} -- ip address; then phoenix-cli apply --target {}",
                to.guest,
                world.called(to.guest)
            ),
        ),
    )
}
