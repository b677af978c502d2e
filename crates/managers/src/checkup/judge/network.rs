//! Clock, names, links.

use super::super::{Check, Finding, Group, View};
use super::{few, unread};

const IN: Group = Group::Network;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::clock",
        "the node's clock is wrong",
        "With a wrong clock certificates are not valid yet, or no longer; logs lie, and a cluster falls apart.",
        clock,
    ),
    IN.check(
        "host::time-sync",
        "nobody sets the node's clock",
        "A clock that is not set by others' (NTP) goes wrong by a second a day.",
        time_sync,
    ),
    IN.check(
        "host::time-zone",
        "the time zone is not set, or is set twice",
        "Schedules of backups and logs are in local time. Where /etc/localtime and /etc/timezone differ, programs differ about what \
         time it is.",
        time_zone,
    ),
    IN.check(
        "host::board-clock",
        "the board's clock is in local time",
        "A board's clock in local time is an hour wrong after each change to summer time, until somebody corrects it.",
        board_clock,
    ),
    IN.check(
        "host::own-name",
        "the node's own name does not lead to its address",
        "Proxmox VE looks for its own address by its name, in /etc/hosts. Where that says 127.0.1.1, or an address that the node does \
         not have any more, the cluster's files do not start, and the web page shows no guests.",
        own_name,
    ),
    IN.check(
        "host::name-servers",
        "the node finds no names",
        "Without a name server there are no updates, no images, and no mail.",
        names,
    ),
    IN.check(
        "host::way-out",
        "the node has no way out",
        "No default route is set, so that nothing outside of its own network can be reached.",
        way_out,
    ),
    IN.check(
        "host::link-down",
        "a card that is in use has no link",
        "A card that is part of a bridge or has an address says that no cable is plugged in, or that the other end is off.",
        link_down,
    ),
    IN.check(
        "host::slow-link",
        "a card runs more slowly than it could",
        "Less than 1 Gbit/s between a card and its switch is nearly always a bad cable, in which not all wires are whole.",
        slow,
    ),
    IN.check(
        "host::mtu",
        "a bridge and its card take packets of different size",
        "A bridge with larger packets (MTU) than its card loses the large ones without a word: small answers arrive, and large ones hang.",
        mtu,
    ),
    IN.check(
        "host::network-pending",
        "a change of the network waits",
        "Somebody changed the network on the web page and did not apply it. It comes into force at the next restart, when nobody expects it.",
        pending,
    ),
    IN.check(
        "host::connections",
        "nearly as many connections are followed as may be",
        "The firewall follows each connection. Where no more can be followed, new ones are refused.",
        connections,
    ),
];

fn clock(view: &View<'_>) -> Finding {
    let (Some(node), Some(end)) = (&view.facts.node, &view.facts.end) else { return unread("its clock") };
    // It said its time somewhen between the question and the answer, less what it took itself.
    let slack = ((view.answered - view.asked) - (end.clock - node.clock)).max(0) + 1;
    let ahead = node.clock - view.asked;
    let off = (ahead.abs() - slack).max(0);
    let seen = format!("{off} s {} ours", if ahead < 0 { "behind" } else { "ahead of" });
    let hint = "is ours right? then: apt install chrony && chronyc makestep";
    match off {
        ..3 => Finding::ok("as ours"),
        3..60 => Finding::warn(seen, hint),
        _ => Finding::bad(seen, hint),
    }
}

fn time_sync(view: &View<'_>) -> Finding {
    if view.facts.contained() {
        return Finding::unknown("the node is a container, whose clock is that of its machine");
    }
    if view.facts.time.as_ref().and_then(|time| time.synced) == Some(true) {
        return Finding::ok("set by others'");
    }
    let keepers = ["chrony", "systemd-timesyncd", "ntp", "ntpsec"];
    let keeper =
        view.facts.services.iter().find(|it| keepers.contains(&it.name.as_str()) && it.active == "active");
    match keeper {
        Some(it) if it.name == "chrony" => Finding::warn(
            "chrony runs, and has found no clock to go by yet",
            "whom it asks: chronyc sources; UDP port 123 has to get out",
        ),
        Some(it) => Finding::warn(
            format!("{} runs, and has found no clock to go by yet", it.name),
            "timedatectl timesync-status",
        ),
        None => Finding::bad("no program sets it", "apt install chrony"),
    }
}

fn time_zone(view: &View<'_>) -> Finding {
    let Some(time) = &view.facts.time else { return unread("its time zone") };
    match (time.zone.as_deref(), time.written.as_deref()) {
        (None, _) => Finding::warn(
            "/etc/localtime leads to no time zone",
            "timedatectl list-timezones, then: timedatectl set-timezone NAME",
        ),
        (Some(zone), Some(written)) if zone != written && !(is_utc(zone) && is_utc(written)) => {
            Finding::warn(
                format!("/etc/localtime says {zone}, and /etc/timezone {written}"),
                format!("timedatectl set-timezone {zone} && echo {zone} > /etc/timezone"),
            )
        }
        (Some(zone), _) => Finding::ok(zone),
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(
        zone,
        "UTC" | "Etc/UTC" | "Etc/UCT" | "UCT" | "Universal" | "Etc/Universal" | "Zulu" | "Etc/Zulu"
    )
}

fn board_clock(view: &View<'_>) -> Finding {
    match view.facts.time.as_ref().and_then(|time| time.local_rtc) {
        None => unread("how the board's clock is kept"),
        Some(false) => Finding::ok("in UTC"),
        Some(true) => Finding::warn("in local time", "timedatectl set-local-rtc 0"),
    }
}

fn own_name(view: &View<'_>) -> Finding {
    let (Some(node), Some(own)) = (&view.facts.node, &view.facts.own) else {
        return unread("what its own name means");
    };
    let name = &node.name;
    let mine: Vec<&str> = view
        .facts
        .addresses
        .iter()
        .map(|it| it.address.as_str())
        .filter(|it| !it.starts_with("127.") && !it.starts_with("fe80:") && *it != "::1")
        .collect();
    let line = format!("in /etc/hosts it has to be: {} {name}", mine.first().unwrap_or(&"ADDRESS"));
    let said: Vec<&str> =
        own.addresses.as_deref().unwrap_or_default().split(' ').filter(|it| !it.is_empty()).collect();
    let bad: fn(String, String) -> Finding =
        if view.facts.has_proxmox() { Finding::bad } else { Finding::warn };
    if said.is_empty() {
        return bad(format!("/etc/hosts does not know {name}"), line);
    }
    match said.iter().find(|it| !mine.contains(it)) {
        None => Finding::ok(said.join(", ")),
        Some(it) => bad(
            format!("/etc/hosts says that {name} is {it}, which is no address by which others find it"),
            line,
        ),
    }
}

fn names(view: &View<'_>) -> Finding {
    let servers: Vec<&str> = view.facts.resolvers.iter().map(|it| it.address.as_str()).collect();
    if servers.is_empty() {
        return Finding::bad(
            "/etc/resolv.conf names no name server",
            "on the web page, under the node, DNS; or: echo 'nameserver ADDRESS' >> /etc/resolv.conf",
        );
    }
    if let Some(lookup) = view.facts.lookups.iter().find(|it| !it.found) {
        return Finding::bad(
            format!("{} was not found ({} was asked)", lookup.name, few(servers.iter().copied())),
            format!(
                "does the name server answer? getent hosts {}; can it be reached? ping -c 1 {}",
                lookup.name,
                servers.first().unwrap_or(&"")
            ),
        );
    }
    if servers.len() > 3 {
        return Finding::warn(
            format!("{} name servers are named, and only the first three are ever asked", servers.len()),
            "take the others out of /etc/resolv.conf",
        );
    }
    Finding::ok(few(servers))
}

fn way_out(view: &View<'_>) -> Finding {
    if view.facts.addresses.is_empty() {
        return unread("its addresses");
    }
    match view.facts.routes.first() {
        Some(route) => Finding::ok(format!("by {}", route.link)),
        None => Finding::bad(
            "there is no default route",
            "on the web page, under the node, Network: the bridge's gateway; now: ip route show; ifreload -a",
        ),
    }
}

/// Cards that are part of a bridge or bond, or have an address.
fn in_use<'a>(view: &'a View<'_>) -> impl Iterator<Item = &'a super::super::facts::Link> {
    let addressed = |name: &str| view.facts.addresses.iter().any(|it| it.link == name);
    view.facts
        .links
        .iter()
        .filter(move |it| it.kind == "card" && (it.within.is_some() || addressed(&it.name)))
}

fn link_down(view: &View<'_>) -> Finding {
    if view.facts.links.is_empty() {
        return unread("its links");
    }
    let down: Vec<&str> = in_use(view).filter(|it| it.state == "down").map(|it| it.name.as_str()).collect();
    match down.first() {
        None => Finding::ok("all that are in use have one"),
        Some(first) => Finding::warn(
            format!("no link: {}", few(down.iter().copied())),
            format!("is the cable plugged in? ip -br link show {first}; ip link set {first} up"),
        ),
    }
}

fn slow(view: &View<'_>) -> Finding {
    let slow =
        in_use(view).find(|it| it.state == "up" && it.speed.is_some_and(|speed| speed > 0 && speed < 1000));
    match slow {
        None => Finding::ok("none, as far as the cards tell"),
        Some(it) => Finding::warn(
            format!("{} runs at {} Mbit/s", it.name, it.speed.unwrap_or_default()),
            format!("try another cable and another port; what both ends can: ethtool {}", it.name),
        ),
    }
}

fn mtu(view: &View<'_>) -> Finding {
    let links = &view.facts.links;
    let bridge = |name: &str| links.iter().find(|it| it.name == name && it.kind == "bridge");
    let narrow = links.iter().find_map(|it| {
        let bridge = bridge(it.within.as_deref()?)?;
        (it.mtu < bridge.mtu).then_some((it, bridge))
    });
    match narrow {
        None if links.is_empty() => unread("its links"),
        None => Finding::ok("bridges and their cards agree"),
        Some((it, bridge)) => Finding::bad(
            format!("{} takes {} bytes, and its card {} takes {}", bridge.name, bridge.mtu, it.name, it.mtu),
            format!(
                "in /etc/network/interfaces, under iface {}: mtu {}; then: ifreload -a",
                it.name, bridge.mtu
            ),
        ),
    }
}

fn pending(view: &View<'_>) -> Finding {
    match view.facts.pending.first() {
        None => Finding::ok("none waits"),
        Some(it) => Finding::warn(
            format!("{} waits", it.file),
            "what would change: diff /etc/network/interfaces /etc/network/interfaces.new; to drop it: rm /etc/network/interfaces.new",
        ),
    }
}

fn connections(view: &View<'_>) -> Finding {
    let limits = view.facts.limits.as_ref();
    let Some((used, most)) = limits.and_then(|it| Some((it.tracked?, it.most_tracked?))) else {
        return Finding::ok("the node follows none");
    };
    match super::percent(used, most) {
        80.. => Finding::warn(
            format!("{used} of {most} are followed"),
            format!(
                "sysctl -w net.netfilter.nf_conntrack_max={}; for good: under the node, Firewall, Options",
                most.saturating_mul(2)
            ),
        ),
        _ => Finding::ok(format!("{used} of {most}")),
    }
}
