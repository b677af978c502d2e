//! What the far end of a hop says about itself, when nothing gets through to it: through the node, without network.

use std::net::Ipv4Addr;

use proxmox::firewall::Direction;

use super::super::finding::Cause;
use super::super::look::{Look, Seen, Unit};
use super::super::rules::{dropping, dropping_inside};
use super::{World, again_in, ago, span};

/// A disk so full that programs fail for it, percent.
const FULL: u64 = 99;

/// A disk so full that what guards a program's data has stopped it, percent: step-ca stops with 64 MiB left.
const SCARCE: u64 = 97;

/// A clock so far off that certificates are taken for expired or not yet valid, seconds: more than their begin is set
/// back.
const CLOCK: f64 = 120.0;

/// Why a guest cannot answer at all.
pub fn down(world: &World<'_>, guest: &str) -> Option<Cause> {
    match world.look(guest)? {
        Look::Missing => Some(Cause::new(
            "trace::guest-missing",
            format!("{it} is not there", it = world.called(guest)),
            format!("phoenix-cli apply --target {it}", it = world.called(guest)),
        )),
        Look::Stopped if world.desired.is_off(guest) => Some(Cause::new(
            "trace::guest-off",
            format!("{it} is off, as the blueprint has it", it = world.called(guest)),
            format!("take \"started\": false out of {guest}, and phoenix-cli apply"),
        )),
        Look::Stopped => Some(Cause::new(
            "trace::guest-stopped",
            format!("{it} is stopped", it = world.called(guest)),
            format!("phoenix-cli apply --target {it}", it = world.called(guest)),
        )),
        Look::Hangs => Some(Cause::new(
            "trace::guest-hangs",
            format!("{it} runs, and commands in it do not come to an end", it = world.called(guest)),
            format!("phoenix-cli exec {guest} -- cat /proc/loadavg; on the node: pct reboot"),
        )),
        Look::Unknown(_) | Look::Seen(_) => None,
    }
}

/// Whether a guest's disk is full.
pub fn full(world: &World<'_>, guest: &str, seen: &Seen) -> Option<Cause> {
    fuller(world, guest, seen, FULL)
}

fn fuller(world: &World<'_>, guest: &str, seen: &Seen, percent: u64) -> Option<Cause> {
    let whole = |what: &str, left: &str| {
        Cause::new(
            "trace::disk-full",
            format!("the {what} of {it} is full: {left} left", it = world.called(guest)),
            format!(
                "phoenix-cli exec {guest} -- du -xh --max-depth=2 / , or give it more `disk` and phoenix-cli apply"
            ),
        )
    };
    let disk = seen.disk.filter(|disk| disk.percent() >= percent);
    let inodes = seen.inodes.filter(|inodes| inodes.percent() >= percent);
    disk.map(|disk| whole("disk", &format!("{} MiB", disk.left / 1024)))
        .or_else(|| inodes.map(|inodes| whole("file system", &format!("room for {} files", inodes.left))))
}

/// Whether a guest's clock is off, for certain.
pub fn wrong_clock(world: &World<'_>, guest: &str, seen: &Seen) -> Option<Cause> {
    let off = seen.clock?.off();
    if off.abs() < CLOCK {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are enough")]
    let seconds = off.abs() as i64;
    let side = if off > 0.0 { "ahead of" } else { "behind" };
    Some(Cause::new(
        "trace::clock",
        format!("the clock of {it} is {} {side} this machine's", span(seconds), it = world.called(guest)),
        "a container has the clock of its node: on the node, timedatectl; and is this machine's right?",
    ))
}

/// What is wrong with a guest, or with the units that features keep running in it. `wanted` is the port that should be
/// served.
pub fn trouble(world: &World<'_>, guest: &str, wanted: Option<(Ipv4Addr, u16)>) -> Option<Cause> {
    if let Some(cause) = down(world, guest) {
        return Some(cause);
    }
    let seen = world.seen(guest)?;
    let declared = world.units(guest);
    let ours = |unit: &&Unit| declared.contains(&unit.name);
    let trouble = seen.units.iter().filter(ours).find(|u| u.failed());
    let Some(trouble) = trouble.or_else(|| seen.units.iter().filter(ours).find(|u| !u.fine())) else {
        return stack(world, guest, seen, wanted);
    };
    if let Some(taken) = wanted.and_then(|(address, port)| taken(world, guest, seen, trouble, address, port))
    {
        return Some(taken);
    }
    let since = trouble.since.map(|since| format!(" {} ago", ago(since, world.now))).unwrap_or_default();
    let up = format!("{it} runs", it = world.called(guest));
    let name = &trouble.name;
    if trouble.load == "not-found" {
        return Some(Cause::new(
            "trace::unit-missing",
            format!("{up}; {name} is not installed in it: what brings it was not applied, or was taken away"),
            again_in(world, guest),
        ));
    }
    if !trouble.failed() {
        if let Some(mut cause) = fuller(world, guest, seen, SCARCE) {
            let how = if trouble.ran { format!("was stopped{since}") } else { "never came up".to_owned() };
            cause.text = format!("{}; {name} {how}", cause.text);
            return Some(cause);
        }
        if !trouble.ran {
            let up_for = span(i64::try_from(seen.up.as_secs()).unwrap_or(i64::MAX));
            return Some(Cause::new(
                "trace::unit-never-ran",
                format!(
                    "{up}; {name} is installed in it and has not run since the guest started {up_for} ago"
                ),
                format!("{}; then phoenix-cli logs {guest} --unit {}", again_in(world, guest), short(name)),
            ));
        }
        return Some(Cause::new(
            "trace::unit-stopped",
            format!("{up}; {name} was stopped{since}"),
            format!("phoenix-cli exec {guest} -- systemctl start {name}"),
        ));
    }
    let said = trouble.telling().map(|line| format!(": {line}")).unwrap_or_default();
    if let Some(mut cause) = full(world, guest, seen) {
        cause.text = format!("{}; {name} failed{since}{said}", cause.text);
        return Some(cause);
    }
    let how = match (trouble.sub.as_str(), trouble.result.as_str()) {
        ("auto-restart", _) => "fails again and again".to_owned(),
        (_, "oom-kill") => format!("was killed{since} because memory ran out"),
        _ => format!("failed{since}"),
    };
    Some(Cause::new(
        "trace::unit-failed",
        format!("{up}; {name} {how}{said}"),
        format!("phoenix-cli logs {guest} --unit {}, then {}", short(name), again_in(world, guest)),
    ))
}

/// What is wrong with a stack: the one whose service it is, where that is asked, and any one otherwise.
fn stack(world: &World<'_>, guest: &str, seen: &Seen, wanted: Option<(Ipv4Addr, u16)>) -> Option<Cause> {
    let (name, why) = match wanted {
        None => seen.stacks.iter().find(|(name, _)| world.desired.stacks.contains_key(*name))?,
        Some((_, port)) => {
            let mut services =
                world.desired.services.values().filter(|it| it.on == *guest && it.port == port);
            seen.stacks.get_key_value(services.find_map(|service| service.stack.as_ref())?)?
        }
    };
    Some(Cause::new(
        "trace::stack-down",
        format!("{up} runs; of its stack {name}, {why}", up = world.called(guest)),
        format!(
            "phoenix-cli exec {guest} -- sh -c 'cd /srv/stacks/{name} && docker compose logs --tail 30'; then phoenix-cli apply \
             --again --target stack.{name}"
        ),
    ))
}

fn short(unit: &str) -> &str {
    unit.strip_suffix(".service").unwrap_or(unit)
}

/// Somebody else has the port that `unit` wants.
fn taken(
    world: &World<'_>,
    guest: &str,
    seen: &Seen,
    unit: &Unit,
    address: Ipv4Addr,
    port: u16,
) -> Option<Cause> {
    let declared = world.units(guest);
    let holder = seen.listener(address, port)?;
    if holder.unit.as_ref().is_some_and(|unit| declared.contains(unit)) {
        return None;
    }
    let whose = holder.unit.as_ref().map_or_else(|| "of no unit".to_owned(), |unit| format!("of {unit}"));
    let end = match &holder.unit {
        Some(unit) => format!("systemctl disable --now {unit}"),
        None => format!("kill {}", holder.pid),
    };
    Some(Cause::new(
        "trace::port-taken",
        format!(
            "{it} runs; port {port} is taken by {} (process {}, {whose}), and {} cannot have it",
            holder.program,
            holder.pid,
            unit.name,
            it = world.called(guest)
        ),
        format!(
            "phoenix-cli exec {guest} -- {end}; phoenix-cli exec {guest} -- systemctl restart {}",
            unit.name
        ),
    ))
}

/// What keeps a guest from serving a port, as far as it says so itself.
pub fn port(world: &World<'_>, guest: &str, address: Ipv4Addr, port: u16) -> Option<Cause> {
    trouble(world, guest, Some((address, port))).or_else(|| full(world, guest, world.seen(guest)?)).or_else(
        || world.seen(guest)?.listener(address, port).is_none().then(|| refused(world, guest, address, port)),
    )
}

/// Why a port refuses.
pub fn refused(world: &World<'_>, guest: &str, address: Ipv4Addr, port: u16) -> Cause {
    let look = format!("phoenix-cli exec {guest} -- ss -ltnp");
    if let Some(cause) = trouble(world, guest, Some((address, port))) {
        return cause;
    }
    let Some(seen) = world.seen(guest) else {
        return Cause::new(
            "trace::refused",
            format!(
                "nothing listens at port {port} of {it}{}",
                unknown(world, guest),
                it = world.called(guest)
            ),
            look,
        );
    };
    if let Some(cause) = full(world, guest, seen) {
        return cause;
    }
    if let Some(other) = seen.listeners.iter().find(|l| l.port == port) {
        // It listens where we asked: something between refuses.
        if seen.listener(address, port).is_none() {
            return Cause::new(
                "trace::listens-elsewhere",
                format!(
                    "{} of {it} listens at {}:{port} only",
                    other.program,
                    other.address,
                    it = world.called(guest)
                ),
                "have it listen at 0.0.0.0",
            );
        }
        return rejected(world, guest, port).unwrap_or_else(|| {
            Cause::new(
                "trace::refused",
                format!(
                    "{} of {it} listens there, and something on the way refuses",
                    other.program,
                    it = world.called(guest)
                ),
                world.shows_rules(guest),
            )
        });
    }
    let all: Vec<String> = seen.listeners.iter().map(|l| format!("{} at {}", l.program, l.port)).collect();
    let others = if all.is_empty() { "nothing at all".to_owned() } else { all.join(", ") };
    Cause::new(
        "trace::refused",
        format!(
            "{it} runs, and nothing listens at port {port}; what listens: {others}",
            it = world.called(guest)
        ),
        look,
    )
}

/// What is known when a guest could not be looked at.
fn unknown(world: &World<'_>, guest: &str) -> String {
    match world.look(guest) {
        Some(Look::Unknown(why)) => format!(" (it could not be looked at: {why})"),
        _ => String::new(),
    }
}

/// A rule of the file of a guest that drops what goes to a port. Phoenix' own rules only let through, so it is somebody's,
/// and `apply` leaves it.
pub fn by_rule(world: &World<'_>, guest: &str, direction: Direction, port: u16) -> Option<Cause> {
    let id = world.desired.guests.get(guest)?.id;
    let line = dropping(&world.rules.guest_file(id)?, direction, port)?;
    let what = if direction == Direction::In { "keeps it out of" } else { "keeps it in" };
    Some(Cause::new(
        "trace::rule-drops",
        format!("a rule in /etc/pve/firewall/{id}.fw {what} {it}: {line}", it = world.called(guest)),
        format!(
            "it is none of Phoenix', so apply leaves it; on the node, delete it from /etc/pve/firewall/{id}.fw"
        ),
    ))
}

/// A rule that keeps out what comes to a port of a guest.
pub fn rejected(world: &World<'_>, guest: &str, port: u16) -> Option<Cause> {
    if let Some(cause) = by_rule(world, guest, Direction::In, port) {
        return Some(cause);
    }
    let line = dropping_inside(&world.seen(guest)?.rules, port)?;
    Some(Cause::new(
        "trace::rule-drops",
        format!("a firewall inside {it} keeps it out: {line}", it = world.called(guest)),
        match line.starts_with(['-', ':']) {
            true => format!("phoenix-cli exec {guest} -- iptables -S shows the rule to delete"),
            false => format!(
                "phoenix-cli exec {guest} -- nft -a list ruleset shows the handle of the rule to delete"
            ),
        },
    ))
}
