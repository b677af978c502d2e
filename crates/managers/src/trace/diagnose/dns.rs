//! What a name means, and who says so.

use std::net::Ipv4Addr;

use plan::Address;
use plan::desired::Transport;

use super::super::finding::{Cause, Finding, Hop};
use super::super::flows::Verdict;
use super::super::leg::Names;
use super::super::look::Writer;
use super::super::path::{Path, Target, names_of};
use super::super::question::Reply;
use super::tcp::millis;
use super::{Vantage, World, again_in, far_end};

/// Judges what `path.name` means at `vantage`. Without `names` nobody could be asked there.
pub fn dns(world: &World<'_>, vantage: &Vantage, path: &Path, names: Option<&Names>) -> Finding {
    let at = vantage.called(world.desired);
    let wanted: Vec<Ipv4Addr> = match vantage {
        // A name server may have one view for all.
        Vantage::Outside => path.outside.into_iter().chain(path.inside).collect(),
        Vantage::Guest(_) => path.inside.into_iter().collect(),
    };
    if path.target == Target::Nothing {
        return nothing(world, &at, path, names);
    }
    if *vantage == Vantage::Outside && path.outside.is_none() {
        return not_outside(&at, path);
    }
    let Some(names) = names else {
        let means = path.outside.map(|a| a.to_string()).unwrap_or_default();
        let seen = format!(
            "{means}  (as declared: the workshop has no name server, so whoever is outside tells names there)"
        );
        return Finding::good(Hop::Dns, at, seen);
    };
    let Some(found) = names.addresses.first() else {
        return unanswered(world, vantage, path, names);
    };
    if wanted.contains(found) {
        let who = who(world, vantage, path, names, *found);
        return Finding::good(Hop::Dns, at, format!("{found}  ({who}, {} ms)", millis(names.took)));
    }
    let means: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let seen = format!("{found}, where {} is meant", means.join(" or "));
    Finding::broken(Hop::Dns, at, seen, wrong(world, vantage, path, names, *found))
}

/// A line of /etc/hosts that says this, or the name server.
fn who(world: &World<'_>, vantage: &Vantage, path: &Path, names: &Names, found: Ipv4Addr) -> String {
    if let Vantage::Guest(guest) = vantage
        && let Some(seen) = world.seen(guest)
        && let Some(line) = seen.hosts_of(&path.name).find(|line| line.address == found.to_string())
    {
        return format!("line {} of /etc/hosts", line.number);
    }
    names.server.as_ref().map_or_else(|| "its resolver".to_owned(), |(address, _)| server(world, *address))
}

/// What a name server is called.
fn server(world: &World<'_>, address: Ipv4Addr) -> String {
    let guest = world.desired.guests.values().find(|c| c.address == Some(address));
    guest.map_or_else(|| address.to_string(), |c| format!("name server on {}", c.resource()))
}

/// Whether this is the workshop's own name server.
fn own_name_server<'a>(world: &'a World<'_>, address: Ipv4Addr) -> Option<&'a str> {
    world.desired.dns.as_ref().filter(|(_, own)| *own == address).map(|(name, _)| name.as_str())
}

fn wrong(world: &World<'_>, vantage: &Vantage, path: &Path, names: &Names, found: Ipv4Addr) -> Cause {
    if let Vantage::Guest(guest) = vantage
        && let Some(line) =
            world.seen(guest).and_then(|s| s.hosts_of(&path.name).find(|l| l.address == found.to_string()))
    {
        let (text, hint) = match line.by {
            Writer::Phoenix => ("which Phoenix wrote for an earlier blueprint", again_in(world, guest)),
            Writer::Proxmox => (
                "which Proxmox VE writes for the guest's own host name",
                "give service or guest another name where the guest itself is to use the service".to_owned(),
            ),
            Writer::Somebody => (
                "which somebody wrote by hand",
                format!("phoenix-cli exec {guest} -- sed -i {}d /etc/hosts", line.number),
            ),
        };
        return Cause::new(
            "trace::dns-wrong",
            format!("line {} of /etc/hosts says so, {text}", line.number),
            hint,
        );
    }
    let Some((address, reply)) = &names.server else {
        return Cause::new(
            "trace::dns-wrong",
            "its resolver says so",
            format!("phoenix-cli exec {} -- cat /etc/resolv.conf", bare(vantage)),
        );
    };
    match own_name_server(world, *address) {
        Some(guest) => Cause::new(
            "trace::dns-wrong",
            format!(
                "the workshop's name server on {it} says so ({}): its records are not as declared",
                reply.words(),
                it = world.called(guest)
            ),
            again_in(world, guest),
        ),
        None => not_ours(world, vantage, *address, "says so"),
    }
}

/// The guest asks somebody else than the workshop's name server.
fn not_ours(world: &World<'_>, vantage: &Vantage, address: Ipv4Addr, what: &str) -> Cause {
    match &world.desired.dns {
        Some((_, own)) => Cause::new(
            "trace::dns-resolver",
            format!("the name server it asks is {address}, which {what}; the workshop's is {own}"),
            format!("phoenix-cli exec {} -- cat /etc/resolv.conf; phoenix-cli apply", bare(vantage)),
        ),
        None => Cause::new(
            "trace::dns-missing",
            format!("/etc/hosts has no line for the name, and the name server {address} {what}"),
            again_in(world, bare(vantage)),
        ),
    }
}

fn bare(vantage: &Vantage) -> &str {
    match vantage {
        Vantage::Guest(name) => name,
        Vantage::Outside => "NAME",
    }
}

fn unanswered(world: &World<'_>, vantage: &Vantage, path: &Path, names: &Names) -> Finding {
    let at = vantage.called(world.desired);
    let Some((address, reply)) = &names.server else {
        let seen = if names.timed_out { "no answer" } else { "the name is not known" };
        let cause = Cause::new(
            "trace::dns-missing",
            "neither /etc/hosts nor a name server of the guest's knows the name",
            again_in(world, bare(vantage)),
        );
        return Finding::broken(Hop::Dns, at, seen, cause);
    };
    let seen = format!("{} says: {}", server(world, *address), reply.words());
    let Some(guest) = own_name_server(world, *address) else {
        let what = match reply {
            Reply::Silent => "does not answer",
            _ => "does not know it",
        };
        return Finding::broken(Hop::Dns, at, seen, not_ours(world, vantage, *address, what));
    };
    let cause = match reply {
        Reply::NoSuchName | Reply::Empty | Reply::Addresses(_) => Cause::new(
            "trace::dns-missing",
            format!(
                "the workshop's name server on {it} does not know {}",
                path.name,
                it = world.called(guest)
            ),
            again_in(world, guest),
        ),
        Reply::Silent | Reply::Refused(_) | Reply::Garbled => {
            return server_down(world, vantage, guest, *address, seen);
        }
    };
    Finding::broken(Hop::Dns, at, seen, cause)
}

/// The workshop's name server does not do its work.
fn server_down(
    world: &World<'_>,
    vantage: &Vantage,
    guest: &str,
    address: Ipv4Addr,
    seen: String,
) -> Finding {
    let at = vantage.called(world.desired);
    if let Some(mut cause) = far_end::trouble(world, guest, None) {
        cause.code = "trace::dns-down";
        return Finding::broken(Hop::Dns, at, seen, cause);
    }
    if world.flows.verdict(vantage.asker(), guest, Transport::Udp, 53) == Verdict::Dropped {
        let cause = Cause::new(
            "trace::no-flow",
            format!("no flow lets {at} ask for names at {it}", it = world.called(guest)),
            "declare one under `flows`, with its reason, then phoenix-cli apply",
        );
        return Finding::broken(Hop::Firewall, at, seen, cause);
    }
    if let Some(cause) = far_end::rejected(world, guest, 53) {
        return Finding::broken(Hop::Firewall, at, seen, cause);
    }
    let cause = Cause::new(
        "trace::dns-down",
        format!("{it} runs, and its name server at {address} does not answer", it = world.called(guest)),
        format!("phoenix-cli logs {guest}"),
    );
    Finding::broken(Hop::Dns, at, seen, cause)
}

/// A name that nothing has.
fn nothing(world: &World<'_>, at: &str, path: &Path, names: Option<&Names>) -> Finding {
    let cause = Cause::new(
        "trace::no-such-name",
        format!("nothing of the blueprint is called {}", path.name),
        names_of(world.desired),
    );
    let seen = match names.and_then(|names| names.addresses.first()) {
        Some(found) => format!("{found}, though nothing has that name"),
        None => "the name is not known, and should not be".to_owned(),
    };
    Finding::broken(Hop::Dns, at, seen, cause)
}

/// What the mesh exposes is for guests alone.
fn not_outside(at: &str, path: &Path) -> Finding {
    let (text, hint) = match &path.target {
        Target::Service(name) => (
            format!("{} is exposed by the mesh, which is for guests alone", Address::service(name)),
            format!("phoenix-cli trace {} --from GUEST; or have the gateway expose it", path.name),
        ),
        _ => (
            "those outside have no use for a guest's own name, so they are not told".to_owned(),
            format!("phoenix-cli trace {} --from GUEST", path.name),
        ),
    };
    let cause = Cause::new("trace::not-outside", text, hint);
    Finding::broken(Hop::Dns, at, "not told to those outside", cause)
}
