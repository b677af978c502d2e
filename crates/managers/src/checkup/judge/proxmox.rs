//! Proxmox VE itself.

use super::super::{Check, Finding, Group, View};
use super::{few, percent, unread};

const IN: Group = Group::Proxmox;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::no-proxmox",
        "there is no Proxmox VE on the node",
        "It is a Debian without Proxmox VE, or with one that does not say its version.",
        installed,
    ),
    IN.check(
        "host::versions",
        "Proxmox VE and Debian do not belong together",
        "Each Proxmox VE is made for one release of Debian: 7 for bullseye, 8 for bookworm, 9 for trixie. Another one is an upgrade that \
         was not finished.",
        versions,
    ),
    IN.check(
        "host::services",
        "services of Proxmox VE do not run",
        "Without pve-cluster there is no configuration, without pvedaemon and pveproxy no API and no web page, and without pvestatd \
         question marks in place of states.",
        services,
    ),
    IN.check(
        "host::cluster-files",
        "/etc/pve is not there",
        "Proxmox VE's configuration is a file system of its own (pmxcfs), which pve-cluster mounts. Without it there are no guests, no \
         storages and no users.",
        files,
    ),
    IN.check(
        "host::renamed",
        "the node has been renamed",
        "Guests are kept under the node's name. Under another name Proxmox VE shows none of them, though their disks are there.",
        renamed,
    ),
    IN.check(
        "host::quorum",
        "the cluster has no quorum",
        "A cluster changes nothing unless more than half of its nodes see each other. Until then /etc/pve is read-only, and no guest is \
         started or changed.",
        quorum,
    ),
    IN.check(
        "host::storage-inactive",
        "a storage is not there",
        "Proxmox VE cannot reach it: a network storage whose server is off, a folder that is not mounted, a pool that was not imported.",
        inactive,
    ),
    IN.check(
        "host::storage-full",
        "a storage is nearly full",
        "Guests on it get errors when they write, and backups to it fail.",
        full,
    ),
    IN.check(
        "host::certificate",
        "a certificate of the API ends soon",
        "Browsers and other nodes refuse a certificate that has ended. Proxmox VE renews its own two weeks before.",
        certificate,
    ),
];

fn installed(view: &View<'_>) -> Finding {
    match &view.facts.system {
        None => unread("what is installed"),
        Some(system) => match &system.proxmox {
            Some(version) => Finding::ok(format!("Proxmox VE {version} on {}", system.title)),
            None => Finding::warn(
                format!("{} without Proxmox VE", system.title),
                "Proxmox VE's own pages say how it is put on a Debian: look for \"Install Proxmox VE on Debian\"",
            ),
        },
    }
}

fn versions(view: &View<'_>) -> Finding {
    let Some(system) = &view.facts.system else { return unread("what is installed") };
    let (Some(version), Some(codename)) = (&system.proxmox, &system.codename) else { return without() };
    let major = version.split('.').next().unwrap_or_default();
    let wanted = match major {
        "7" => "bullseye",
        "8" => "bookworm",
        "9" => "trixie",
        _ => return Finding::unknown(format!("for which Debian Proxmox VE {major} is made is not known")),
    };
    if wanted == codename || view.facts.contained() {
        return Finding::ok(format!("Proxmox VE {major} on {codename}"));
    }
    Finding::bad(
        format!("Proxmox VE {version} is made for {wanted}, and this is {codename}"),
        format!(
            "what does it say? pve{major}to{} --full; then finish: apt update && apt dist-upgrade",
            major.parse().unwrap_or(0) + 1
        ),
    )
}

fn without() -> Finding {
    Finding::unknown("there is no Proxmox VE on the node")
}

/// What the front of Proxmox VE is made of.
const NEEDED: [&str; 4] = ["pve-cluster", "pvedaemon", "pveproxy", "pvestatd"];

fn services(view: &View<'_>) -> Finding {
    if !view.facts.has_proxmox() {
        return without();
    }
    let of = |name: &str| view.facts.services.iter().find(|it| it.name == name && it.load != "not-found");
    if NEEDED.iter().all(|name| of(name).is_none()) {
        return Finding::unknown("they are no units of the node's");
    }
    let stopped: Vec<&str> =
        NEEDED.into_iter().filter(|name| of(name).is_none_or(|it| it.active != "active")).collect();
    match stopped.first() {
        None => Finding::ok("they run"),
        Some(first) => Finding::bad(
            format!("do not run: {}", few(stopped.iter().copied())),
            format!("why: journalctl -u {first} -n 30; then: systemctl restart {first}"),
        ),
    }
}

fn files(view: &View<'_>) -> Finding {
    if !view.facts.has_proxmox() {
        return without();
    }
    match &view.facts.cluster {
        None => unread("/etc/pve"),
        Some(it) if it.mounted => Finding::ok("it is there"),
        Some(_) => Finding::bad(
            "it is not mounted",
            "why: journalctl -u pve-cluster -n 30; then: systemctl restart pve-cluster",
        ),
    }
}

fn renamed(view: &View<'_>) -> Finding {
    let (Some(node), Some(cluster), true) = (&view.facts.node, &view.facts.cluster, view.facts.has_proxmox())
    else {
        return without();
    };
    if cluster.known || !cluster.mounted {
        return Finding::ok(format!("it is {}", node.name));
    }
    Finding::bad(
        format!("it is called {}, and Proxmox VE knows no node of that name", node.name),
        "the name it had: ls /etc/pve/nodes; give it back: hostnamectl set-hostname NAME, the same in /etc/hosts, then restart the node",
    )
}

fn quorum(view: &View<'_>) -> Finding {
    match &view.facts.quorum {
        None => Finding::ok("the node is in no cluster"),
        Some(it) if it.held == Some(true) => Finding::ok("held"),
        Some(it) => Finding::bad(
            if it.held.is_some() {
                "lost: /etc/pve is read-only"
            } else {
                "whether it is held could not be asked"
            },
            "which nodes see each other: pvecm status; start those that are missing, and look at the links between them",
        ),
    }
}

fn inactive(view: &View<'_>) -> Finding {
    if !view.facts.has_proxmox() {
        return without();
    }
    if view.facts.storages.is_empty() {
        return Finding::warn("no storage told how it is", "what does it say? pvesm status");
    }
    let away: Vec<&str> = view
        .facts
        .storages
        .iter()
        .filter(|it| !matches!(it.status.as_str(), "active" | "disabled"))
        .map(|it| it.name.as_str())
        .collect();
    if away.is_empty() {
        return Finding::ok(few(view.facts.storages.iter().map(|it| it.name.as_str())));
    }
    Finding::bad(
        format!("not there: {}", few(away)),
        "what is missing: pvesm status; is its server up, is its folder mounted (mount), is its pool imported (zpool import)?",
    )
}

fn full(view: &View<'_>) -> Finding {
    let worst = view.facts.storages.iter().filter(|it| it.all > 0).max_by_key(|it| percent(it.used, it.all));
    let Some(it) = worst else { return Finding::unknown("no storage tells how full it is") };
    let used = percent(it.used, it.all);
    let seen = format!("{} is full to {used} %", it.name);
    let hint =
        format!("what is on it: pvesm list {}; old backups: under the storage, Backups, Prune", it.name);
    match used {
        95.. => Finding::bad(seen, hint),
        85.. => Finding::warn(seen, hint),
        _ => Finding::ok(seen),
    }
}

fn certificate(view: &View<'_>) -> Finding {
    let Some(first) = view.facts.certificates.iter().min_by_key(|it| it.ends) else {
        return if view.facts.has_proxmox() { unread("the API's certificates") } else { without() };
    };
    let days = -view.days_since(first.ends);
    let hint = if first.file.ends_with("pveproxy-ssl.pem") {
        "who made it? by ACME: pvenode acme cert renew; by hand: a new one under the node, Certificates; Phoenix': phoenix-cli apply"
    } else {
        "pvecm updatecerts --force && systemctl restart pveproxy"
    };
    match days {
        ..0 => Finding::bad(format!("{} has ended", first.file), hint),
        0..10 => Finding::warn(format!("{} ends in {days} days", first.file), hint),
        _ => Finding::ok(format!("{days} days are left")),
    }
}
