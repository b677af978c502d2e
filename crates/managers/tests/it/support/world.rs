//! What a node holds: after an apply, and after somebody was there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blueprint::model::MountSource;
use jiff::Timestamp;
use managers::certificates::CertificateMark;
use managers::keys::{self, Around};
use managers::lxc::keys::{ROWS, remembered};
use plan::desired::{self, Hypervisor};
use plan::inventory::{Guest, Inventory, Storage, Unread, WayIn};
use plan::mark::Mark;
use plan::{Address, Desired};
use proxmox::config::{GuestConfig, GuestKind, Section, digest};

/// A node with nothing on it: `pve1`, with templates of Debian 12 and 13 and the storages `local`, `local-zfs`, `tank`.
pub fn empty() -> Inventory {
    let storage = |content: &str| Storage {
        content: content.split(',').map(str::to_owned).collect(),
        active: true,
        available: Some(1 << 40),
    };
    Inventory {
        node: "pve1".into(),
        nodes: ["pve1".to_owned()].into(),
        storages: [
            ("local".to_owned(), storage("iso,vztmpl,backup")),
            ("local-zfs".to_owned(), storage("images,rootdir")),
            ("tank".to_owned(), storage("images,rootdir")),
        ]
        .into(),
        templates: [
            "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst".to_owned(),
            "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst".to_owned(),
        ]
        .into(),
        commands: true,
        addresses: vec!["10.0.0.13/24".parse().unwrap()],
        way_in: Some(WayIn { client: [192, 0, 2, 10].into(), port: 22 }),
        ..Inventory::default()
    }
}

/// The node after everything was applied at `now`.
pub fn applied(desired: &Desired, now: Timestamp) -> Inventory {
    let mut inventory = empty();
    for container in desired.guests.values() {
        let node = container.node.as_ref().or(desired.node.as_ref()).map(ToString::to_string);
        let mut guest = read(container.id, &written(container), &mark(desired, container, now));
        guest.node = node.unwrap_or_else(|| inventory.node.clone());
        guest.name.clone_from(&container.hostname);
        guest.running = true;
        guest.pool.clone_from(&container.pool);
        inventory.nodes.insert(guest.node.clone());
        inventory.pools.extend(container.pool.clone());
        inventory.guests.insert(guest.id, guest);
    }
    inventory.hypervisor = desired.hypervisor.as_ref().map(|node| hypervisor_mark(desired, node, now));
    let options = super::plain(now);
    let plan = plan::plan(desired, &inventory, &[&managers::firewall::Firewalls], &options);
    for step in &plan.steps {
        super::carry_out::firewall(step, &mut inventory);
    }
    inventory
}

/// The mark after everything in the guest was applied.
pub fn mark(desired: &Desired, container: &desired::Guest, now: Timestamp) -> (String, Mark) {
    let mut mark = Mark::new(&desired.site, container.resource());
    for feature in &container.features {
        mark.remember(&Address::feature(&feature.name, &container.host()), feature.fingerprint.as_str());
    }
    for certificate in desired.certificates.values().filter(|c| c.on == container.host()) {
        mark.remember(&certificate.resource(), &certificate_mark(certificate, now));
    }
    if let Some(authority) = desired.authority.as_ref().filter(|a| a.on == container.name) {
        mark.remember(&Address::authority(&container.name), &authority_mark(authority, now));
    }
    for service in desired.services.values().filter(|s| s.on == container.name) {
        mark.remember(&service.resource(), service.fingerprint.as_str());
    }
    mark.set = remembered(container, Around { storage: "local-zfs" });
    (container.description.clone().unwrap_or_default(), mark)
}

/// What the node remembers after its certificate was put in place.
fn hypervisor_mark(desired: &Desired, node: &Hypervisor, now: Timestamp) -> Mark {
    let mut mark = Mark::new(&desired.site, Address::hypervisor_certificate());
    let certificate = &node.certificate;
    for feature in &node.features {
        mark.remember(&Address::feature(&feature.name, &certificate.on), feature.fingerprint.as_str());
    }
    mark.remember(&Address::certificate(&certificate.name), &certificate_mark(certificate, now));
    mark
}

/// What is remembered of an authority's certificate made at `now`: ten years.
pub fn authority_mark(authority: &plan::desired::Authority, now: Timestamp) -> CertificateMark {
    CertificateMark {
        fingerprint: authority.fingerprint.clone(),
        begin: now.as_second(),
        end: now.as_second() + 10 * 365 * 86_400,
        serial: "0123456789abcdef".into(),
    }
}

/// What is remembered of a certificate made at `now`.
pub fn certificate_mark(certificate: &plan::desired::Certificate, now: Timestamp) -> CertificateMark {
    CertificateMark {
        fingerprint: certificate.fingerprint.clone(),
        begin: now.as_second(),
        end: now.as_second() + i64::try_from(certificate.life.as_secs()).unwrap(),
        serial: "0123456789abcdef".into(),
    }
}

/// A guest from its configuration, through the file as Proxmox VE writes and Phoenix reads it.
pub fn read(id: u32, values: &BTreeMap<String, String>, (text, mark): &(String, Mark)) -> Guest {
    let mut file = GuestConfig::empty(GuestKind::Container);
    file.current = Section {
        description: Some(format!("{}\n", plan::mark::render(text, mark))),
        values: values.clone(),
        raw: Vec::new(),
    };
    let file = file.to_string();
    let config = GuestConfig::parse(GuestKind::Container, &file);
    let (text, mark) = plan::mark::parse(config.current.description.as_deref().unwrap()).unwrap();
    Guest {
        id,
        digest: digest(file.as_bytes()),
        text,
        mark,
        config: Some(config.current.values),
        ..Guest::default()
    }
}

/// The values of a container's file as the node writes them: parts in the node's order, with what it fills in, and
/// without what is the default.
fn written(container: &desired::Guest) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> = [("arch", "amd64"), ("ostype", "debian")]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let around = Around { storage: container.disk.storage.as_deref().unwrap_or("local-zfs") };
    for (row, key, value) in keys::written(&ROWS, container, around) {
        let apart = row.numbered || ["description", "rootfs", "unprivileged"].contains(&row.name);
        if !apart && row.default != Some(value.as_str()) {
            values.insert(key, value);
        }
    }
    if container.unprivileged {
        values.insert("unprivileged".into(), "1".into());
    }
    for (slot, nic) in &container.nets {
        let mut text = format!("name={},bridge={}", nic.name, nic.bridge);
        if nic.firewall {
            text.push_str(",firewall=1");
        }
        if let Some(gateway) = nic.gateway {
            let _ = write!(text, ",gw={gateway}");
        }
        let _ = write!(text, ",hwaddr={},ip={}", nic.mac, nic.ip);
        if let Some(mtu) = nic.mtu {
            let _ = write!(text, ",mtu={mtu}");
        }
        if let Some(tag) = nic.vlan {
            let _ = write!(text, ",tag={tag}");
        }
        values.insert(format!("net{slot}"), format!("{text},type=veth"));
    }
    let root = container.disk.storage.clone().unwrap_or_else(|| "local-zfs".into());
    values.insert("rootfs".into(), volume(&root, container.id, 0, container.disk.size_gib));
    for (slot, mount) in &container.mounts {
        let mut text = match &mount.source {
            MountSource::Host(folder) => format!("{folder},mp={}", mount.path),
            MountSource::Volume(disk) => {
                let storage = disk.storage.clone().unwrap_or_else(|| root.clone());
                let volume = volume(&storage, container.id, u32::from(*slot) + 1, disk.size_gib);
                let (volume, size) = volume.split_once(',').unwrap();
                let backup = if mount.backup { ",backup=1" } else { "" };
                format!("{volume},mp={}{backup},{size}", mount.path)
            }
        };
        if mount.read_only {
            text.push_str(",ro=1");
        }
        values.insert(format!("mp{slot}"), text);
    }
    values
}

/// A volume as a configuration has it.
pub fn volume(storage: &str, id: u32, number: u32, gib: u64) -> String {
    format!("{storage}:subvol-{id}-disk-{number},size={gib}G")
}

/// Changes the world as a line of a scenario says.
pub fn change(world: &mut Inventory, line: &str, life: i64) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let rest = |n: usize| words.get(n..).unwrap_or_default().join(" ");
    let id = || -> u32 { words[1].parse().unwrap_or_else(|_| panic!("no id in `{line}`")) };
    macro_rules! guest {
        () => {
            world.guests.get_mut(&id()).unwrap_or_else(|| panic!("no such guest: `{line}`"))
        };
    }
    match words.first().copied().unwrap_or_default() {
        "empty" => {
            world.guests.clear();
            world.firewall.clear();
        }
        "gone" => {
            world.guests.remove(&id()).unwrap_or_else(|| panic!("no such guest: `{line}`"));
            world.firewall.remove(&format!("{}.fw", words[1]));
        }
        "stop" => guest!().running = false,
        "set" => {
            guest!().config.as_mut().unwrap().insert(words[2].to_owned(), rest(3));
        }
        "unset" => {
            guest!().config.as_mut().unwrap().remove(words[2]).unwrap_or_else(|| panic!("not set: `{line}`"));
        }
        "pending" => {
            let value = Some(rest(3)).filter(|v| !v.is_empty());
            guest!().pending.insert(words[2].to_owned(), value);
        }
        "lock" => guest!().lock = Some(words[2].to_owned()),
        "text" => guest!().text = rest(2),
        "unmark" => {
            let guest = guest!();
            guest.mark = None;
            guest.text = String::new();
        }
        "unreadable" => guest!().config = None,
        "vm-of" => guest!().vm = true,
        "template-of" => guest!().template = true,
        "used" => guest!().disk_used = Some(words[2].parse::<u64>().unwrap() << 30),
        "pool" => guest!().pool = Some(words[2].to_owned()),
        "moved" => {
            guest!().node = words[2].to_owned();
            world.nodes.insert(words[2].to_owned());
        }
        "copy" => {
            let mut copy = guest!().clone();
            copy.id = words[2].parse().unwrap();
            copy.name.push_str("-copy");
            world.guests.insert(copy.id, copy);
        }
        kind @ ("foreign" | "vm") => {
            let config = BTreeMap::from([("hostname".to_owned(), words[2].to_owned())]);
            let guest = Guest {
                id: id(),
                vm: kind == "vm",
                node: world.node.clone(),
                name: words[2].to_owned(),
                running: true,
                config: Some(config),
                digest: "f0".into(),
                ..Guest::default()
            };
            world.guests.insert(guest.id, guest);
        }
        "other-site" => {
            let address: Address = words[3].parse().unwrap();
            let values = BTreeMap::from([("hostname".to_owned(), address.name().to_owned())]);
            let mut guest = read(id(), &values, &(String::new(), Mark::new(words[2], address.clone())));
            address.name().clone_into(&mut guest.name);
            guest.node.clone_from(&world.node);
            guest.running = true;
            world.guests.insert(guest.id, guest);
        }
        "mark" => {
            let mark = guest!().mark.as_mut().unwrap();
            let address = Address::new(words[2], words[3]);
            assert!(managers::manager_of(address.kind()).is_some(), "what is `{address}` in a mark?");
            match words.get(4) {
                Some(fingerprint) => mark.remember(&address, *fingerprint),
                None => drop(mark.forget(&address)),
            }
        }
        "certificate" => {
            let end: jiff::civil::Date = words[3].parse().unwrap();
            let end = end.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
            let guests = world.guests.values_mut().filter_map(|g| g.mark.as_mut());
            let address = Address::certificate(words[1]);
            let mark = guests
                .chain(world.hypervisor.as_mut())
                .find(|mark| mark.entry(&address).is_some())
                .unwrap_or_else(|| panic!("nobody has it: `{line}`"));
            let was = CertificateMark::of(mark, &address).unwrap();
            mark.remember(&address, &CertificateMark { begin: end - life, end, ..was });
        }
        "hypervisor" => words[2].clone_into(&mut world.hypervisor.as_mut().unwrap().site),
        "template" => drop(world.templates.insert(words[1].to_owned())),
        "no-templates" => world.templates.clear(),
        "storage" => {
            let content = words[2].split(',').map(str::to_owned).collect();
            let active = words.get(3) != Some(&"inactive");
            world.storages.insert(words[1].to_owned(), Storage { content, active, available: None });
        }
        "no-storage" => drop(world.storages.remove(words[1]).unwrap()),
        "no-storages" => world.storages.clear(),
        "no-commands" => {
            world.commands = false;
            // The API does not tell.
            (world.firewall, world.addresses, world.way_in) = (BTreeMap::new(), Vec::new(), None);
        }
        "way-in" => world.way_in = Some(WayIn { client: words[1].parse().unwrap(), port: 22 }),
        "unconfirmed" => world.unconfirmed = Some(words[1].to_owned()),
        // A file of the firewall, with `¶` for the ends of its lines; the other two put a line before the others, or after.
        "firewall" => drop(world.firewall.insert(words[1].to_owned(), rest(2).replace('¶', "\n"))),
        "no-firewall" => drop(world.firewall.remove(words[1])),
        "firewall-option" | "firewall-without" => {
            let text = world.firewall.get_mut(words[1]).unwrap_or_else(|| panic!("no such file: `{line}`"));
            let key = rest(2).split_once(": ").map(|(key, _)| format!("{key}: "));
            let lines = text.lines().filter_map(|old| match &key {
                Some(key) if old.starts_with(key.as_str()) => Some(rest(2)),
                None if old.contains(&rest(2)) => None,
                _ => Some(old.to_owned()),
            });
            *text = lines.map(|line| line + "\n").collect();
        }
        "firewall-first" | "firewall-last" => {
            let text = world.firewall.get_mut(words[1]).unwrap_or_else(|| panic!("no such file: `{line}`"));
            let at =
                if words[0] == "firewall-first" { text.find("[RULES]\n\n").unwrap() + 9 } else { text.len() };
            text.insert_str(at, &format!("{}\n", rest(2)));
        }
        "no-node" => assert!(world.nodes.remove(words[1]), "no such node: `{line}`"),
        "no-pools" => world.pools.clear(),
        "node" => drop(world.nodes.insert(words[1].to_owned())),
        "pools" => world.pools.extend(words[1..].iter().map(|w| (*w).to_owned())),
        // Somebody looked inside, and this is what differs.
        "found" => {
            let (address, what) =
                rest(1).split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            world.found.entry(address.parse().unwrap()).or_default().push(what);
        }
        "unread" => {
            let (what, why) = rest(1).split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            world.unread.push(Unread { what, why });
        }
        _ => panic!("what does `{line}` mean?"),
    }
}
