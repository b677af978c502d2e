//! The way and the connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use plan::desired::Transport;
use proxmox::firewall::Direction;

use super::super::finding::{Cause, Finding, Hop};
use super::super::flows::{Asker, Verdict};
use super::super::leg::Tcp;
use super::super::rules::has_flow;
use super::{World, far_end};

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

/// Judges a connection from `who`, whom findings call `place`.
pub fn tcp(
    world: &World<'_>,
    place: &str,
    who: Asker<'_>,
    to: To<'_>,
    route: Option<&str>,
    tcp: &Tcp,
) -> Finding {
    let verdict = world.flows.verdict(who, to.guest, Transport::Tcp, to.port);
    let between = match place.strip_prefix("container.") {
        Some(name) => format!("{name} → {}", to.at()),
        None => to.at(),
    };
    let broken = |hop, seen: &str, cause| Finding::broken(hop, place, format!("{between} {seen}"), cause);
    match tcp {
        Tcp::Open(took) => {
            Finding::good(Hop::Tcp, place, format!("{between} open{}, {} ms", verdict.words(), millis(*took)))
        }
        Tcp::Refused => {
            broken(Hop::Tcp, "connection refused", far_end::refused(world, to.guest, to.address, to.port))
        }
        Tcp::Silent(took) => {
            let seen = format!("no answer within {} s", took.as_secs().max(1));
            let (hop, cause) = silent(world, who, to, verdict);
            broken(hop, &seen, cause)
        }
        Tcp::Unreachable(took) => {
            let (hop, cause) = unreachable(world, who, to, verdict, route, *took);
            broken(hop, "cannot be reached", cause)
        }
        Tcp::Failed(said) => broken(
            Hop::Tcp,
            said,
            far_end::down(world, to.guest).unwrap_or_else(|| {
                Cause::new(
                    "trace::connection",
                    "the connection could not be made",
                    "phoenix-cli doctor tries the way there",
                )
            }),
        ),
    }
}

/// Milliseconds, with one digit behind the point where there are few.
pub fn millis(took: Duration) -> String {
    let millis = took.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}

fn silent(world: &World<'_>, who: Asker<'_>, to: To<'_>, verdict: Verdict<'_>) -> (Hop, Cause) {
    if let Some(cause) = far_end::down(world, to.guest) {
        return (Hop::Tcp, cause);
    }
    if let Some(cause) = firewall(world, who, to, verdict) {
        return (Hop::Firewall, cause);
    }
    let seen = world.seen(to.guest);
    let listens = seen.and_then(|seen| seen.listener(to.address, to.port));
    let text = match listens {
        Some(listener) => {
            format!(
                "{} of container.{} listens there; something on the way drops packets",
                listener.program, to.guest
            )
        }
        None => {
            format!("container.{} does not answer, and nothing in it listens at port {}", to.guest, to.port)
        }
    };
    (Hop::Tcp, Cause::new("trace::silent", text, "on the node: nft list ruleset, pve-firewall status"))
}

/// What a firewall has to do with it: no flow, the flow's rule missing, or a rule too many.
fn firewall(world: &World<'_>, who: Asker<'_>, to: To<'_>, verdict: Verdict<'_>) -> Option<Cause> {
    let from = match who {
        Asker::Outside => "from outside".to_owned(),
        Asker::Node => "from the node".to_owned(),
        Asker::Guest(name) => format!("from container.{name}"),
    };
    if verdict == Verdict::Dropped {
        return Some(Cause::new(
            "trace::no-flow",
            format!("no flow lets anything come {from} to port {} of container.{}", to.port, to.guest),
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
        let file = world.rules.of(id)?;
        (!has_flow(&file, &world.desired.site, direction, &flow.id)).then(|| {
            Cause::new(
                "trace::rule-missing",
                format!(
                    "flow {} should let it through, and /etc/pve/firewall/{id}.fw has no rule of it",
                    flow.id
                ),
                format!("phoenix-cli apply --target firewall.{guest}"),
            )
        })
    };
    // What guests send is filtered in zero trust alone.
    let zero_trust = world.desired.firewall.as_ref().is_some_and(|firewall| firewall.zero_trust);
    let sends = sender.filter(|_| zero_trust);
    missing(to.guest, Direction::In).or_else(|| sends.and_then(|name| missing(name, Direction::Out)))
}

fn unreachable(
    world: &World<'_>,
    who: Asker<'_>,
    to: To<'_>,
    verdict: Verdict<'_>,
    route: Option<&str>,
    took: Duration,
) -> (Hop, Cause) {
    if let Some(cause) = far_end::down(world, to.guest) {
        return (Hop::Tcp, cause);
    }
    let none = |route: &&str| route.contains("unreachable") || route.contains("RTNETLINK");
    if let Some(route) = route.filter(none) {
        return (
            Hop::Route,
            Cause::new(
                "trace::no-route",
                format!("there is no way to {}: {route}", to.address),
                "phoenix-cli explain networks; does the network there have a `gateway`?",
            ),
        );
    }
    if took < ARP {
        let cause = firewall(world, who, to, verdict).unwrap_or_else(|| {
            Cause::new(
                "trace::rule-drops",
                format!(
                    "it was turned away at once, so a firewall on the way rejects it; container.{} runs",
                    to.guest
                ),
                format!("phoenix-cli exec {} -- nft list ruleset; on the node the same", to.guest),
            )
        });
        return (Hop::Firewall, cause);
    }
    (
        Hop::Route,
        Cause::new(
            "trace::unreachable",
            format!("container.{} runs, and nobody on the network answers for {}", to.guest, to.address),
            format!(
                "phoenix-cli exec {} -- ip address; then phoenix-cli apply --target container.{}",
                to.guest, to.guest
            ),
        ),
    )
}
