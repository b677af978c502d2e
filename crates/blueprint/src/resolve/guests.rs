//! Guests.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cidr::Ipv4Inet;

use super::Context;
use super::features::{self, Contents};
use super::gpus;
use super::machines;
use super::merge::{Merged, circle_error, short_need};
use super::mounts;
use super::services;
use crate::codes;
use crate::cycles;
use crate::model::{
    Acme, Container, Disk, FeatureUse, Guest, GuestKind, Guests, Hypervisor, Network, Nic, NicAddress, Of,
    SHARE_MOUNTS, Startup, Target,
};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::settings;
use crate::source::{CloneSource, CoresForm, DiskForm, GuestSource, NicSource, OptionsSource};
use crate::tree::Node;
use crate::values::{Address, Bridge, Label, Mac, Text};

/// What holds where nothing is said.
pub(crate) mod defaults {
    pub(crate) const TEMPLATE: &str = "debian-12";
    pub(crate) const CORES: u32 = 1;
    pub(crate) const MEMORY_MIB: u64 = 512;
    pub(crate) const SWAP_MIB: u64 = 512;
    pub(crate) const DISK_MIB: u64 = 8 * 1024;
    pub(crate) const BURST: u32 = 20;
}

/// The least memory in MiB (Proxmox VE's API schema: `memory`, minimum 16).
const LEAST_MEMORY_MIB: u64 = 16;

/// Checks what can be told of a type or a container before they are merged, so that an error in a type is shown once.
pub(super) fn check_written<T>(
    written: &BTreeMap<String, Merged>,
    entries: &BTreeMap<String, Entry<'_, T>>,
    kinds: impl Fn(&Entry<'_, T>) -> Vec<GuestKind>,
    context: &mut Context<'_, '_>,
) {
    let namespace = context.namespace;
    let networks: Vec<&str> = namespace.networks.keys().map(String::as_str).collect();
    let containers: Vec<&str> = namespace.guests.keys().map(String::as_str).collect();
    for (name, merged) in written {
        let Some(entry) = entries.get(name) else { continue };
        for (slot, nic) in &merged.nets {
            if let Some(network) = &nic.network
                && !namespace.networks.contains_key(&network.0)
            {
                context.dangling(nic_spot(entry, *slot, "network"), "network", &network.0, &networks);
            }
        }
        for need in entry.node().get("needs").map(Node::elements).unwrap_or_default() {
            let Some(text) = need.text() else { continue };
            if !namespace.guests.contains_key(short_need(text)) && !text.trim().is_empty() {
                context.dangling(entry.document.spot(need.span), "container", short_need(text), &containers);
            }
        }
        for (slot, mount) in &merged.mounts {
            mounts::check_mount(entry, &format!("mp{slot}"), mount, context);
        }
        let kinds = kinds(entry);
        for (setting, value) in merged.settings.settings.iter().flatten() {
            // A type serves both kinds.
            let Err(wrong) = settings::check_any(&kinds, setting, value) else { continue };
            let path = ["settings", setting.as_str()];
            let draft = if wrong.name {
                Draft::error(codes::UNKNOWN_KEY, entry.key_spot(&path), wrong.message)
            } else {
                Draft::error(codes::BAD_VALUE, entry.spot(&path), wrong.message)
            };
            context.push(draft.maybe_hint(wrong.hint));
        }
        if let Some(memory) = merged.settings.memory
            && memory.mib < LEAST_MEMORY_MIB
        {
            let draft = Draft::error(
                codes::BAD_VALUE,
                entry.spot(&["memory"]),
                format!("`memory` cannot be {memory}"),
            );
            context.push(draft.hint(format!("at least {LEAST_MEMORY_MIB}M")));
        }
    }
}

/// Where a key of a network device stands: in `networks`, or in the short form.
fn nic_spot<T>(entry: &Entry<'_, T>, slot: u8, key: &str) -> Spot {
    let name = format!("net{slot}");
    let long = entry.node().get("networks").and_then(|n| n.get(&name)).and_then(|n| n.get(key));
    let short = if slot == 0 { entry.node().get(key) } else { None };
    match long.or(short) {
        Some(node) => entry.document.spot(node.span),
        None => entry.key(),
    }
}

/// What of the site a guest is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub networks: &'a BTreeMap<String, Network>,
    pub contents: &'a Contents,
    pub acme: Option<&'a Acme>,
    pub target: Option<&'a Target>,
    pub node: Option<&'a Hypervisor>,
}

/// Makes a guest of its merged settings.
pub(super) fn guest(
    name: &str,
    mut merged: Merged,
    around: Around<'_>,
    context: &mut Context<'_, '_>,
) -> Option<Guest> {
    let namespace = context.namespace;
    let entry = namespace.guests.get(name)?;
    let source = entry.value.as_ref()?;
    let nets = nets(name, entry, &merged, around.networks, context);
    let mut features = features::of_host(name, entry, &merged.features, around.contents, context);
    let gpus = around.node.map(|node| &node.gpus);
    let cards = gpus::of_guest(name, entry, source.of, merged.settings.gpu.as_ref(), gpus, context);
    let shares = mounts::shared(name, entry, &merged, &nets, around, context);
    // A container that nothing is put in need not be one in which anything can be.
    let looks = source.of == GuestKind::Vm || !features.is_empty();
    if !shares.is_empty() && looks && !features.iter().any(|it| it.name == SHARE_MOUNTS) {
        features.insert(0, mounts::by_itself(entry, context));
    }
    let of = match source.of {
        GuestKind::Container => Of::Container(own(name, entry, &mut merged, &features, around.node, context)),
        GuestKind::Vm => {
            if matches!(merged.settings.cores, Some(CoresForm::All(_))) {
                let message = format!("the virtual machine `{name}` cannot have all cores of its node");
                let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["cores"]), message);
                context.push(draft.hint("say how many"));
            }
            let (settings, written) = (&merged.settings, &merged.nets);
            let fixed = nets.values().any(|nic| matches!(nic.address, NicAddress::Static(_)));
            let passed = cards.iter().filter_map(|it| gpus?.get(&it.card)?.mapping.clone()).collect();
            let known = machines::Around { features: !features.is_empty(), fixed, passed };
            Of::Vm(Box::new(machines::vm(name, entry, settings, written, &known, context)))
        }
    };
    let settings = merged.settings;
    Some(Guest {
        name: name.into(),
        id: source.id,
        was: source.was.as_ref().map(|was| was.0.clone().into()),
        node: source.node.as_ref().map(|n| n.0.clone().into()),
        hostname: source.hostname.clone().unwrap_or_else(|| Label(name.to_owned())),
        cores: match settings.cores {
            None => Some(defaults::CORES),
            Some(CoresForm::Some(cores)) => Some(cores),
            Some(CoresForm::All(_)) => None,
        },
        cpulimit: settings.cpulimit,
        cpuunits: settings.cpuunits,
        nameservers: settings.nameservers.map(|all| all.into_iter().map(|one| one.0).collect()),
        search_domains: settings.search_domains,
        timezone: settings.timezone.map(|zone| zone.0),
        hookscript: settings.hookscript.map(|volume| volume.0),
        memory_mib: settings.memory.map_or(defaults::MEMORY_MIB, |m| m.mib),
        nets,
        started: settings.started.unwrap_or(true),
        onboot: settings.started.unwrap_or(true) && settings.onboot.unwrap_or(true),
        startup: settings.startup.map(|s| Startup { order: s.order, up: s.up, down: s.down }),
        tags: merged.tags,
        description: settings.description.map(|text| text.0),
        protected: settings.protected.unwrap_or(false),
        settings: own_settings(source.of, settings.settings),
        gpus: cards,
        pool: settings.pool.map(|p| p.0),
        linked: settings.clone == Some(CloneSource::Linked),
        needs: merged.needs.into_iter().map(Into::into).collect(),
        features,
        shares,
        services: services::services(entry.written(), None, source.services.as_ref(), around.acme, context),
        declared: entry.location(context.report),
        of,
    })
}

/// The settings that a kind of guest has: a type's may be those of the other kind.
fn own_settings(kind: GuestKind, all: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut all = all.unwrap_or_default();
    all.retain(|setting, value| settings::check(kind, setting, value).is_ok());
    all
}

/// What a container has alone.
fn own(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    merged: &mut Merged,
    features: &[FeatureUse],
    node: Option<&Hypervisor>,
    context: &mut Context<'_, '_>,
) -> Container {
    let mounts = mounts::mounts(name, entry, merged, node, context);
    let of_machines = |nic: &NicSource| [("model", nic.model.is_some()), ("queues", nic.queues.is_some())];
    for (slot, nic) in &merged.nets {
        for (key, _) in of_machines(nic).into_iter().filter(|(_, said)| *said) {
            let message = format!("`net{slot}` of `{name}` cannot have `{key}`, which virtual machines have");
            context.push(Draft::error(codes::BAD_NETWORK, nic_spot(entry, *slot, key), message));
        }
    }
    let settings = &mut merged.settings;
    let template = settings.template.take().map_or_else(|| defaults::TEMPLATE.to_owned(), |t| t.0);
    let unprivileged = settings.unprivileged.unwrap_or(true);
    let options =
        options(settings.options.take().unwrap_or_default(), &system(&template, context), unprivileged);
    features::check_options(entry, features, &options, unprivileged, context);
    Container {
        template,
        swap_mib: settings.swap.map_or(defaults::SWAP_MIB, |m| m.mib),
        disk: disk(settings.disk.take()),
        mounts,
        devices: std::mem::take(&mut merged.devices),
        console: settings.console,
        options,
        unprivileged,
    }
}

fn disk(form: Option<DiskForm>) -> Disk {
    match form {
        None => Disk { storage: None, size_mib: defaults::DISK_MIB },
        Some(DiskForm::Short(size)) => Disk { storage: None, size_mib: size.mib },
        Some(DiskForm::Long(long)) => Disk {
            storage: long.storage.map(|s| s.0),
            size_mib: long.size.map_or(defaults::DISK_MIB, |size| size.mib),
        },
    }
}

/// All that is said of a template, by which its system can be told. That of a guest which is there is not known, and taken for
/// what most are.
fn system(template: &str, context: &Context<'_, '_>) -> String {
    let declared = context.namespace.templates.get(template).and_then(|entry| entry.value.as_ref());
    if declared.is_some_and(|it| it.from.is_some() || it.guest.is_some()) {
        return defaults::TEMPLATE.to_owned();
    }
    let text = |text: &Option<Text>| text.as_ref().map_or_else(String::new, |text| text.0.clone());
    declared.map_or_else(
        || template.to_owned(),
        |it| {
            let url = it.url.as_ref().map_or("", |url| &url.0);
            let file = it.file.as_ref().map_or("", |file| &file.0);
            format!("{template} {} {url} {file}", text(&it.catalogue))
        },
    )
}

/// Proxmox VE's feature flags. Those that are off are left out: absent means off there, too.
fn options(source: OptionsSource, template: &str, unprivileged: bool) -> BTreeMap<String, String> {
    // systemd in these mounts file systems of its own, which an unprivileged container may only with nesting; without
    // it, Proxmox VE's tasks end with warnings.
    let systemd = template.contains("debian") || template.contains("ubuntu");
    let nesting = source.nesting.unwrap_or(unprivileged && systemd);
    let mut options = BTreeMap::new();
    for (key, on) in [
        ("nesting", nesting),
        ("keyctl", source.keyctl == Some(true)),
        ("fuse", source.fuse == Some(true)),
        ("mknod", source.mknod == Some(true)),
    ] {
        if on {
            options.insert(key.to_owned(), "1".to_owned());
        }
    }
    let mount: Vec<String> = source.mount.into_iter().flatten().map(|tag| tag.0).collect();
    if !mount.is_empty() {
        options.insert("mount".to_owned(), mount.join(";"));
    }
    options
}

fn nets(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    merged: &Merged,
    networks: &BTreeMap<String, Network>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<u8, Nic> {
    let namespace = context.namespace;
    let only = match namespace.networks.len() {
        1 => namespace.networks.keys().next().map(|name| Label((*name).clone())),
        _ => None,
    };
    let implied = NicSource::default();
    let mut wanted: BTreeMap<u8, &NicSource> = merged.nets.iter().map(|(slot, nic)| (*slot, nic)).collect();
    if wanted.is_empty() && !merged.nets_written && !namespace.networks.is_empty() {
        wanted.insert(0, &implied);
    }
    let mut nets: BTreeMap<u8, Nic> = BTreeMap::new();
    for (slot, nic) in wanted {
        // An address that lies in one of several networks says which.
        let around = || match nic.address {
            Some(Address::Static(address)) => {
                let mut around = networks.iter().filter(|(_, it)| it.subnet.contains(&address));
                around.next().filter(|_| around.next().is_none()).map(|(name, _)| Label(name.clone()))
            }
            _ => None,
        };
        let implied = match (&nic.network, &nic.bridge) {
            (None, None) => only.clone().or_else(around),
            _ => None,
        };
        let network = nic.network.as_ref().or(implied.as_ref());
        let Some((network, bridge)) = placed(network, nic, networks) else {
            if network.is_none() && !entry.damaged && !namespace.blind {
                let message = match namespace.networks.len() {
                    0 => format!("`{name}` has a network device, but the blueprint defines no network"),
                    _ => format!("it is not said which network `net{slot}` of `{name}` is in"),
                };
                let names: Vec<String> = namespace.networks.keys().map(|n| format!("`{n}`")).collect();
                let draft = Draft::error(codes::BAD_NETWORK, nic_spot(entry, slot, "address"), message);
                let hint = if names.is_empty() {
                    "name its `bridge`, or define a network: \"networks\": {\"lan\": {\"bridge\": \"vmbr0\", \"subnet\": \"10.0.0.0/24\"}}".to_owned()
                } else {
                    format!("add `network`: {}; or `bridge`", names.join(", "))
                };
                context.push(draft.hint(hint));
            }
            continue;
        };
        let address = match (nic.address.unwrap_or(Address::Dhcp), network) {
            (Address::Dhcp, _) => NicAddress::Dhcp,
            (Address::Static(address), None) => {
                let message = format!(
                    "`net{slot}` of `{name}` is in no network, and cannot have the address {address}"
                );
                let draft = Draft::error(codes::BAD_NETWORK, nic_spot(entry, slot, "address"), message);
                context.push(draft.hint("name the `network` whose subnet it is in, beside the bridge"));
                continue;
            }
            (Address::Static(address), Some((network, settings))) => {
                check_address(address, network, settings, nic_spot(entry, slot, "address"), context);
                match Ipv4Inet::new(address, settings.subnet.network_length()) {
                    Ok(inet) => NicAddress::Static(inet),
                    Err(_) => continue,
                }
            }
        };
        let device = nic.name.as_ref().map_or_else(|| format!("eth{slot}"), |n| n.0.clone());
        if let Some((other, _)) = nets.iter().find(|(_, n)| n.name == device) {
            let message = format!("`net{other}` and `net{slot}` of `{name}` are both named `{device}`");
            context.push(Draft::error(codes::DUPLICATE_NAME, nic_spot(entry, slot, "name"), message));
        }
        if nic.allowed_addresses.iter().flatten().any(|net| net.0.network_length() == 0) {
            let message = format!("`net{slot}` of `{name}` would be allowed all addresses there are");
            let spot = nic_spot(entry, slot, "allowed-addresses");
            let hint = "name the networks it routes for, such as \"10.8.0.0/24\"";
            context.push(Draft::error(codes::BAD_NETWORK, spot, message).hint(hint));
        }
        nets.insert(
            slot,
            Nic {
                network: network.map(|(name, _)| name.clone()),
                bridge,
                // The tag is the network's where the bridge is.
                vlan: nic.vlan.or_else(|| network.and_then(|(_, settings)| settings.vlan)),
                name: device,
                address,
                mac: nic.mac.map(|m| m.0),
                firewall: nic.firewall.unwrap_or(false),
                allowed_addresses: nic.allowed_addresses.iter().flatten().map(|net| net.0).collect(),
                mtu: nic.mtu,
                rate: nic.rate,
                link_down: nic.link_down,
                model: nic.model.map(|model| model.to_string()),
                queues: nic.queues,
            },
        );
    }
    nets
}

/// A network with its name.
type Named<'a> = (&'a Label, &'a Network);

/// Where a device is: in a network, on a bridge, or both. None where it is in a network that is not there (which has its own
/// error), or nowhere.
fn placed<'a>(
    network: Option<&'a Label>,
    nic: &NicSource,
    networks: &'a BTreeMap<String, Network>,
) -> Option<(Option<Named<'a>>, Bridge)> {
    match network {
        Some(name) => {
            let settings = networks.get(&**name)?;
            let bridge = nic.bridge.clone().unwrap_or_else(|| settings.bridge.clone());
            Some((Some((name, settings)), bridge))
        }
        None => Some((None, nic.bridge.clone()?)),
    }
}

fn check_address(
    address: Ipv4Addr,
    network: &str,
    settings: &Network,
    spot: Spot,
    context: &mut Context<'_, '_>,
) {
    let subnet = settings.subnet;
    let there = context.namespace.networks.get(network).map(|e| e.spot(&["subnet"]));
    let relate = |draft: Draft| match there {
        Some(there) => draft.related(there, "the subnet"),
        None => draft,
    };
    let text = format!("{}/{}", subnet.first_address(), subnet.network_length());
    if !subnet.contains(&address) {
        let message =
            format!("the address {address} is outside the subnet {text} of the network `{network}`");
        context.push(relate(Draft::error(codes::OUTSIDE_SUBNET, spot, message)));
    } else if address == subnet.first_address() || address == subnet.last_address() {
        let which = if address == subnet.first_address() { "first" } else { "last" };
        let message =
            format!("the address {address} is the {which} of the subnet {text}, which no device can have");
        context.push(relate(Draft::error(codes::OUTSIDE_SUBNET, spot, message)));
    } else if settings.gateway == Some(address) {
        let message = format!("the address {address} is the gateway of the network `{network}`");
        let there = context.namespace.networks.get(network).map(|e| e.spot(&["gateway"]));
        let draft = Draft::error(codes::DUPLICATE_ADDRESS, spot, message);
        context.push(match there {
            Some(there) => draft.related(there, "the gateway"),
            None => draft,
        });
    }
}

/// Checks what must differ between guests.
pub(super) fn check_together(
    containers: &Guests,
    networks: &BTreeMap<String, Network>,
    endpoint: Option<Ipv4Addr>,
    context: &mut Context<'_, '_>,
) {
    let namespace = context.namespace;
    let mut ids: BTreeMap<u32, &str> = BTreeMap::new();
    let mut addresses: BTreeMap<(&str, Option<u16>, Ipv4Addr), (&str, Spot)> = BTreeMap::new();
    let mut macs: BTreeMap<[u8; 6], (&str, Spot)> = BTreeMap::new();
    for (name, container) in containers {
        let Some(entry) = namespace.guests.get(&**name) else { continue };
        if let Some(id) = container.id {
            if let Some(other) = ids.get(&id).and_then(|other| namespace.guests.get_key_value(*other)) {
                let message = format!("`{}` and `{name}` both have the id {id}", other.0);
                let draft = Draft::error(codes::DUPLICATE_ID, entry.spot(&["id"]), message);
                context.push(draft.related(other.1.spot(&["id"]), "the other"));
            } else {
                ids.insert(id, name);
            }
        }
        for (slot, nic) in &container.nets {
            if let NicAddress::Static(inet) = nic.address
                && nic.network.as_ref().is_some_and(|name| networks.contains_key(&**name))
            {
                let spot = nic_spot(entry, *slot, "address");
                if endpoint == Some(inet.address()) {
                    let message = format!("`{name}` has the address {} of the node itself", inet.address());
                    let draft = Draft::error(codes::DUPLICATE_ADDRESS, spot, message);
                    let there = namespace.target.as_ref().map(|target| target.spot(&["proxmox", "endpoint"]));
                    context.push(match there {
                        Some(there) => draft.related(there, "the target's endpoint"),
                        None => draft,
                    });
                }
                let key = (nic.bridge.as_str(), nic.vlan, inet.address());
                if let Some((other, there)) = addresses.get(&key) {
                    let message = format!("`{other}` and `{name}` both have the address {}", inet.address());
                    context.push(
                        Draft::error(codes::DUPLICATE_ADDRESS, spot, message).related(*there, "the other"),
                    );
                } else {
                    addresses.insert(key, (name, spot));
                }
            }
            if let Some(mac) = nic.mac {
                let spot = nic_spot(entry, *slot, "mac");
                if let Some((other, there)) = macs.get(&mac) {
                    let message = format!("`{other}` and `{name}` both have the MAC address {}", Mac(mac));
                    context
                        .push(Draft::error(codes::DUPLICATE_MAC, spot, message).related(*there, "the other"));
                } else {
                    macs.insert(mac, (name, spot));
                }
            }
        }
    }
}

/// Checks that no containers wait for each other.
pub(super) fn check_needs(context: &mut Context<'_, '_>, containers: &Guests) {
    let namespace = context.namespace;
    let edges: BTreeMap<&str, Vec<&str>> = containers
        .iter()
        .map(|(name, container)| (name.as_str(), container.needs.iter().map(AsRef::as_ref).collect()))
        .collect();
    for circle in cycles::find(&edges) {
        let entries = circle.iter().filter_map(|name| namespace.guests.get(*name));
        let spots: Vec<Spot> = entries
            .map(
                |entry| {
                    if entry.node().get("needs").is_some() { entry.spot(&["needs"]) } else { entry.key() }
                },
            )
            .collect();
        circle_error("containers need each other in a circle", &circle, &spots, context);
    }
}
