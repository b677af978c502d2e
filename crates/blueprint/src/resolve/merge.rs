//! Guest types: what a guest says itself, over what its type says, over what that one extends.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Context;
use crate::codes;
use crate::cycles;
use crate::model::{GuestKind, Location};
use crate::namespace::{Entry, Namespace, location};
use crate::report::{Draft, Report, Spot};
use crate::source::{DeviceSource, GuestSettings, GuestSource, MountSource, NicSource, TypeSource};
use crate::tree::{Node, NodeKind};
use crate::values::{self, Address, Mac};

/// A feature where it is declared.
#[derive(Debug, Clone)]
pub(crate) struct FeatureDeclaration {
    pub name: String,
    pub parameters: Map<String, Value>,
    pub spot: Spot,
    pub location: Location,
}

impl FeatureDeclaration {
    /// Those that an entry lists, as far as they are right.
    pub fn all<T>(entry: &Entry<'_, T>, report: &Report) -> Vec<Self> {
        let elements = entry.node().get("features").map(Node::elements).unwrap_or_default();
        let declared = |element: &Node| {
            let (name, parameters) = Self::name_and_parameters(element)?;
            let parameters = match parameters.map(Node::to_value) {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            let spot = entry.document.spot(element.span);
            let location = location(entry.document, element.span.start, report);
            Some(Self { name: name.to_owned(), parameters, spot, location })
        };
        elements.iter().filter_map(declared).collect()
    }

    /// Reads an element of a `features` list; `None` where the structural check has found it wrong.
    pub fn name_and_parameters(node: &Node) -> Option<(&str, Option<&Node>)> {
        match &node.kind {
            NodeKind::String(name) if !name.is_empty() => Some((name, None)),
            NodeKind::Object(members) if members.len() == 1 => {
                let (name, member) = members.first_key_value()?;
                member.value.members().map(|_| (name.as_str(), Some(&member.value)))
            }
            _ => None,
        }
    }
}

/// Settings with everything that is merged by key in its final form.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub settings: GuestSettings,
    /// Network devices by slot.
    pub nets: BTreeMap<u8, NicSource>,
    /// Whether `networks` is written at all: an empty one means no network.
    pub nets_written: bool,
    /// Mount points by slot.
    pub mounts: BTreeMap<u8, MountSource>,
    /// Devices of the node by slot.
    pub devices: BTreeMap<u8, DeviceSource>,
    pub tags: BTreeSet<String>,
    pub needs: BTreeSet<String>,
    pub features: Vec<FeatureDeclaration>,
}

/// The settings of all types and guests, each as written, not merged yet.
#[derive(Debug, Default)]
pub(crate) struct Written {
    types: BTreeMap<String, Merged>,
    guests: BTreeMap<String, Merged>,
}

/// The short form of a guest's first network device.
#[derive(Debug, Default)]
struct Short {
    address: Option<Address>,
    mac: Option<Mac>,
}

impl Merged {
    /// Takes the settings out of the namespace.
    pub fn take_all(namespace: &mut Namespace<'_>, report: &mut Report) -> Written {
        let mut written = Written::default();
        for (name, entry) in &mut namespace.types {
            let Some(source) = &mut entry.value else { continue };
            let settings = source.settings();
            written.types.insert(name.clone(), Self::new(settings, &Short::default(), entry, report));
        }
        for (name, entry) in &mut namespace.guests {
            let Some(source) = &mut entry.value else { continue };
            let short = Short { address: source.address, mac: source.mac };
            let settings = std::mem::take(&mut source.settings);
            written.guests.insert(name.clone(), Self::new(settings, &short, entry, report));
        }
        written
    }

    fn new<T>(mut settings: GuestSettings, short: &Short, entry: &Entry<'_, T>, report: &mut Report) -> Self {
        let written = settings.networks.take();
        let network = settings.network.take();
        let nets_written = written.is_some();
        let mut nets: BTreeMap<u8, NicSource> = written
            .into_iter()
            .flatten()
            .filter_map(|(slot, nic)| values::slot("net", 31, &slot).ok().map(|slot| (slot, nic)))
            .collect();
        let keys = ["network", "address", "mac"];
        let used = keys.into_iter().find(|key| entry.node().get(key).is_some());
        if let Some(used) = used {
            if entry.node().get("networks").and_then(|n| n.get("net0")).is_some() {
                let message = format!("`{used}` and `networks.net0` both describe the first network device");
                let draft = Draft::error(codes::BAD_NETWORK, entry.key_spot(&[used]), message)
                    .related(entry.key_spot(&["networks", "net0"]), "here, too")
                    .hint(format!("move `{used}` into `net0`"));
                report.push(draft);
            }
            let nic = nets.entry(0).or_default();
            nic.network = nic.network.take().or(network);
            nic.address = nic.address.or(short.address);
            nic.mac = nic.mac.or(short.mac);
        }
        let mounts = settings.mounts.take().into_iter().flatten();
        let mounts =
            mounts.filter_map(|(slot, mount)| values::slot("mp", 255, &slot).ok().map(|slot| (slot, mount)));
        let devices = settings.devices.take().into_iter().flatten();
        let devices = devices
            .filter_map(|(slot, device)| values::slot("dev", 255, &slot).ok().map(|slot| (slot, device)));
        let needs = settings.needs.take().into_iter().flatten().map(|need| short_need(&need.0).to_owned());
        Self {
            features: FeatureDeclaration::all(entry, report),
            mounts: mounts.collect(),
            devices: devices.collect(),
            needs: needs.collect(),
            tags: settings.tags.take().into_iter().flatten().map(|tag| tag.0).collect(),
            nets,
            nets_written,
            settings,
        }
    }

    /// Fills in what is not said here from what a type says.
    fn inherit(&mut self, base: &Self) {
        let own = &mut self.settings;
        let theirs = &base.settings;
        macro_rules! inherit {
            ($($field:ident)*) => {$(
                if own.$field.is_none() {
                    own.$field.clone_from(&theirs.$field);
                }
            )*};
        }
        inherit!(template cores cpulimit cpuunits memory swap disk nameservers search_domains timezone hookscript
            started onboot startup description unprivileged protected gpu pool clone);
        // By name, as parameters of features are.
        if let Some(theirs) = &theirs.settings {
            let own = own.settings.get_or_insert_default();
            for (name, value) in theirs {
                own.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        own.console = match (own.console, theirs.console) {
            (Some(own), Some(theirs)) => Some(own.over(theirs)),
            (own, theirs) => own.or(theirs),
        };
        inherit!(image iso second_iso cloud_init user agent enter answers_within packages os sockets vcpus cpu numa affinity hugepages balloon shares bios uefi tpm machine smbios);
        inherit!(scsi_controller vga boot hotplug rng watchdog tablet localtime acpi kvm keyboard);
        macro_rules! inherit_by_slot {
            ($($field:ident)*) => {$(
                for (slot, value) in theirs.$field.iter().flatten() {
                    let all = own.$field.get_or_insert_default();
                    all.entry(slot.clone()).or_insert_with(|| value.clone());
                }
            )*};
        }
        inherit_by_slot!(disks serial usb pci folders);
        own.options = match (own.options.take(), &theirs.options) {
            (Some(own), Some(theirs)) => Some(own.over(theirs)),
            (own, theirs) => own.or_else(|| theirs.clone()),
        };
        // Devices are merged key by key, so that a type can name the network and the guest its address.
        for (slot, nic) in &base.nets {
            let own = self.nets.entry(*slot).or_default();
            // A bridge of its own is not in the type's network.
            if own.bridge.is_none() || own.network.is_some() {
                own.network = own.network.take().or_else(|| nic.network.clone());
                own.bridge = own.bridge.take().or_else(|| nic.bridge.clone());
                own.vlan = own.vlan.or(nic.vlan);
            }
            own.address = own.address.or(nic.address);
            own.mac = own.mac.or(nic.mac);
            own.name = own.name.take().or_else(|| nic.name.clone());
            own.firewall = own.firewall.or(nic.firewall);
            own.allowed_addresses = own.allowed_addresses.take().or_else(|| nic.allowed_addresses.clone());
            own.mtu = own.mtu.or(nic.mtu);
            own.rate = own.rate.or(nic.rate);
            own.link_down = own.link_down.or(nic.link_down);
            own.model = own.model.or(nic.model);
            own.queues = own.queues.or(nic.queues);
        }
        self.nets_written |= base.nets_written;
        for (slot, mount) in &base.mounts {
            self.mounts.entry(*slot).or_insert_with(|| mount.clone());
        }
        for (slot, device) in &base.devices {
            self.devices.entry(*slot).or_insert_with(|| device.clone());
        }
        self.tags.extend(base.tags.iter().cloned());
        self.needs.extend(base.needs.iter().cloned());
        let own = std::mem::take(&mut self.features);
        self.features.clone_from(&base.features);
        for feature in own {
            add_feature(&mut self.features, feature);
        }
    }
}

/// `container.ca` and `ca` are the same.
pub(super) fn short_need(need: &str) -> &str {
    match need.split_once('.') {
        Some((kind, name)) if GuestKind::of_word(kind).is_some() => name,
        _ => need,
    }
}

/// Adds a feature to a list; one that is there already keeps its place, and gets the new parameters over its own.
fn add_feature(list: &mut Vec<FeatureDeclaration>, feature: FeatureDeclaration) {
    match list.iter_mut().find(|f| f.name == feature.name) {
        Some(there) => {
            there.parameters.extend(feature.parameters);
            there.spot = feature.spot;
            there.location = feature.location;
        }
        None => list.push(feature),
    }
}

/// Works the types into the guests.
pub(super) fn merge(written: Written, context: &mut Context<'_, '_>) -> BTreeMap<String, Merged> {
    let any = |_: &Entry<'_, TypeSource>| vec![GuestKind::Container, GuestKind::Vm];
    super::guests::check_written(&written.types, &context.namespace.types, any, context);
    let own = |entry: &Entry<'_, GuestSource>| entry.value.iter().map(|source| source.of).collect();
    super::guests::check_written(&written.guests, &context.namespace.guests, own, context);
    check_references(context);
    let Written { types, guests } = written;
    let types = merge_types(types, context);
    guests
        .into_iter()
        .map(|(name, mut merged)| {
            let kind = context.namespace.guests.get(&name).and_then(|e| e.value.as_ref()?.kind.as_ref());
            if let Some(base) = kind.and_then(|kind| types.get(&kind.0)) {
                merged.inherit(base);
            }
            let own = std::mem::take(&mut merged.features);
            own.into_iter().for_each(|feature| add_feature(&mut merged.features, feature));
            (name, merged)
        })
        .collect()
}

fn extends(entry: &Entry<'_, TypeSource>) -> Option<String> {
    entry.value.as_ref()?.extends.as_ref().map(|l| l.0.clone())
}

fn kind(entry: &Entry<'_, GuestSource>) -> Option<String> {
    entry.value.as_ref()?.kind.as_ref().map(|l| l.0.clone())
}

fn check_references(context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let names: Vec<&str> = namespace.types.keys().map(String::as_str).collect();
    let mut used = BTreeSet::new();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, entry) in &namespace.types {
        let edge = edges.entry(name).or_default();
        let Some(base) = extends(entry) else { continue };
        match namespace.types.get_key_value(&base) {
            Some((base, _)) => edge.push(base),
            None => context.dangling(entry.spot(&["extends"]), "type", &base, &names),
        }
        used.insert(base);
    }
    for entry in namespace.guests.values() {
        let Some(kind) = kind(entry) else { continue };
        if !namespace.types.contains_key(&kind) {
            context.dangling(entry.spot(&["type"]), "type", &kind, &names);
        }
        used.insert(kind);
    }
    for circle in cycles::find(&edges) {
        let entries = circle.iter().filter_map(|name| namespace.types.get(*name));
        let spots: Vec<Spot> = entries.map(|entry| entry.spot(&["extends"])).collect();
        circle_error("types extend each other in a circle", &circle, &spots, context);
    }
    // A guest that could not be read may have used any type.
    let certain = !namespace.blind && namespace.guests.values().all(|e| e.value.is_some());
    for (name, entry) in &namespace.types {
        if certain && !used.contains(name) && !entry.damaged {
            let draft =
                Draft::warning(codes::UNUSED_TYPE, entry.key(), format!("nothing uses the type `{name}`"));
            context.push(draft);
        }
    }
}

/// Reports a circle at the first of its references, with the others related.
pub(super) fn circle_error(what: &str, circle: &[&str], spots: &[Spot], context: &mut Context<'_, '_>) {
    let Some((first, others)) = spots.split_first() else { return };
    let mut draft = Draft::error(codes::CYCLE, *first, format!("{what}: {}", cycles::words(circle)));
    for (spot, name) in others.iter().zip(circle.iter().skip(1)) {
        draft = draft.related(*spot, format!("of `{name}`"));
    }
    context.push(draft.hint("remove one of the references"));
}

fn merge_types(mut written: BTreeMap<String, Merged>, context: &Context<'_, '_>) -> BTreeMap<String, Merged> {
    let mut done: BTreeMap<String, Merged> = BTreeMap::new();
    let names: Vec<String> = written.keys().cloned().collect();
    for name in names {
        // The chain upwards, until a type that is finished, the end, or a circle (which has its own error).
        let mut chain: Vec<String> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(name);
        while let Some(name) = next.take() {
            if done.contains_key(&name) || !written.contains_key(&name) || !seen.insert(name.clone()) {
                break;
            }
            next = context.namespace.types.get(&name).and_then(extends);
            chain.push(name);
        }
        for name in chain.into_iter().rev() {
            let Some(mut merged) = written.remove(&name) else { continue };
            let base = context.namespace.types.get(&name).and_then(extends);
            if let Some(base) = base.and_then(|base| done.get(&base)) {
                merged.inherit(base);
            }
            done.insert(name, merged);
        }
    }
    done
}
