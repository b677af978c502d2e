//! What comes after what.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint::model::{Blueprint, Gpu, ImageFrom, MountSource, Pool, RENEWS, SCHEDULE, Storage};
use blueprint::names::GuestName;

use super::certificates::Certificates;
use super::parts::{PACKAGES, PORTAINER, PORTAINER_AGENT, Parts};
use super::{Renderer, WireError};
use crate::address::Address;
use crate::desired::{Feature, Firewall, Guest, Hypervisor, Image, Issuer, Resource, Service, Stack};
use crate::graph::{EdgeKind, Graph};
use crate::host::Host;

/// The last feature of a guest: when it is done, all is.
fn last(guest: &Guest) -> Option<Address> {
    guest.features.last().map(|f| Address::feature(&f.name, &guest.host()))
}

/// What has a place in the graph.
pub(super) struct Resources<'a> {
    pub guests: &'a BTreeMap<GuestName, Guest>,
    pub services: &'a BTreeMap<String, Service>,
    pub stacks: &'a BTreeMap<String, Stack>,
    pub certificates: &'a Certificates,
    pub hypervisor: Option<&'a Hypervisor>,
    pub on_node: &'a [Feature],
    pub firewall: Option<&'a Firewall>,
    pub images: &'a BTreeMap<Address, Image>,
    pub storages: &'a BTreeMap<String, Arc<Storage>>,
    pub pools: &'a BTreeMap<String, Arc<Pool>>,
    pub gpus: &'a BTreeMap<String, Arc<Gpu>>,
    pub links: &'a BTreeMap<Address, Resource>,
}

/// Who needs whom, in no circle.
pub(super) fn graph(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    parts: &Parts,
    resources: &Resources<'_>,
) -> Result<Graph, WireError> {
    let mut graph = Graph::default();
    guests(&mut graph, blueprint, resources);
    links(&mut graph, resources);
    on_node(&mut graph, resources);
    // Only making a guest needs what it is made of, which its step says: the guest that is there does without.
    resources.images.keys().cloned().for_each(|image| graph.add(image));
    storages(&mut graph, resources);
    pools(&mut graph, resources);
    gpus(&mut graph, resources);
    golden(&mut graph, resources);
    names(&mut graph, parts, resources);
    packages(&mut graph, renderer, parts, resources);
    agents(&mut graph, renderer, parts, resources);
    certificates(&mut graph, blueprint, renderer, resources);
    hypervisor(&mut graph, resources);
    stacks(&mut graph, resources);
    services(&mut graph, resources);
    firewall(&mut graph, resources);
    let Some(circle) = graph.circle() else { return Ok(graph) };
    let names: Vec<_> = circle.iter().map(Address::as_str).collect();
    Err(WireError {
        address: names.first().copied().unwrap_or_default().to_owned(),
        message: format!("these need each other in a circle: {}", names.join(" → ")),
        hint: "remove one of the `needs` among them".into(),
    })
}

fn guests(graph: &mut Graph, blueprint: &Blueprint, resources: &Resources<'_>) {
    for container in resources.guests.values() {
        let guest = container.resource();
        graph.add(guest.clone());
        let mut before: Option<Address> = None;
        for feature in &container.features {
            let address = Address::feature(&feature.name, &container.host());
            graph.edge(&address, &guest, EdgeKind::Needs);
            if let Some(before) = &before {
                graph.edge(&address, before, EdgeKind::Needs);
            }
            before = Some(address);
        }
    }
    for container in blueprint.guests.values() {
        let guest = Address::of_guest(container);
        for need in &container.needs {
            let Some(other) = resources.guests.get(need) else { continue };
            // Healthy means: made, and everything in it installed.
            graph.edge(&guest, &last(other).unwrap_or_else(|| other.resource()), EdgeKind::Needs);
            graph.edge(&guest, &other.resource(), EdgeKind::BootsAfter);
        }
    }
}

/// The node's network comes before what is fetched over it, and a bridge before the guests on it.
fn links(graph: &mut Graph, resources: &Resources<'_>) {
    for (address, link) in resources.links {
        graph.add(address.clone());
        for need in &link.needs {
            graph.edge(address, need, EdgeKind::Needs);
        }
        if let Some(first) = resources.on_node.first() {
            graph.edge(&Address::feature(&first.name, &Host::THE_NODE), address, EdgeKind::Needs);
        }
    }
    for guest in resources.guests.values() {
        for nic in guest.nets.values() {
            let bridge = Address::network(&nic.bridge);
            if resources.links.contains_key(&bridge) {
                graph.edge(&guest.resource(), &bridge, EdgeKind::Needs);
            }
        }
    }
}

/// What guests are built on comes before them.
fn on_node(graph: &mut Graph, resources: &Resources<'_>) {
    let mut before: Option<Address> = None;
    for feature in resources.on_node {
        let address = Address::feature(&feature.name, &Host::THE_NODE);
        graph.add(address.clone());
        if let Some(before) = &before {
            graph.edge(&address, before, EdgeKind::Needs);
        }
        before = Some(address);
    }
    let Some(last) = before else { return };
    let guests = resources.guests.values().map(Guest::resource);
    let storages = resources.storages.keys().map(|name| Address::storage(name));
    for resource in guests.chain(storages) {
        graph.edge(&resource, &last, EdgeKind::Needs);
    }
}

/// What lies on a pool comes after it: datasets after the one that they are in, storages, guests that have a folder of one, and
/// what is installed on the node, which may use them.
fn pools(graph: &mut Graph, resources: &Resources<'_>) {
    let place = |name: &str| {
        let (pool, _) = name.split_once('/').unwrap_or((name, ""));
        let pool = resources.pools.get(pool)?;
        let mut name = name;
        while name != pool.name && !pool.datasets.contains_key(name) {
            name = name.rsplit_once('/')?.0;
        }
        Some(if name == pool.name { Address::pool(name) } else { Address::dataset(name) })
    };
    let mut all = Vec::new();
    for pool in resources.pools.values() {
        let address = Address::pool(&pool.name);
        graph.add(address.clone());
        all.push(address);
        for name in pool.datasets.keys() {
            let address = Address::dataset(name);
            if let Some(above) = name.rsplit_once('/').and_then(|(above, _)| place(above)) {
                graph.edge(&address, &above, EdgeKind::Needs);
            }
            all.push(address);
        }
    }
    for storage in resources.storages.values().filter(|storage| storage.place.kind == "zfspool") {
        if let Some(on) = storage.place.options.get("pool").and_then(|name| place(name)) {
            graph.edge(&Address::storage(&storage.name), &on, EdgeKind::Needs);
        }
    }
    for storage in resources.storages.values().filter(|storage| storage.place.kind == "dir") {
        let path = storage.place.options.get("path").map_or("", String::as_str);
        if let Some(on) = mounted_at(resources.pools, path) {
            graph.edge(&Address::storage(&storage.name), &on, EdgeKind::Needs);
        }
    }
    for guest in resources.guests.values() {
        for mount in guest.container().into_iter().flat_map(|own| own.mounts.values()) {
            let MountSource::Host(path) = &mount.source else { continue };
            if let Some(on) = mounted_at(resources.pools, path.as_str()) {
                graph.edge(&guest.resource(), &on, EdgeKind::Needs);
            }
        }
    }
    // What makes snapshots looks for itself what there is.
    for feature in resources.on_node.iter().filter(|feature| feature.name != SCHEDULE) {
        for pool in &all {
            graph.edge(&Address::feature(&feature.name, &Host::THE_NODE), pool, EdgeKind::Needs);
        }
    }
}

/// Who uses a graphics card comes after it.
fn gpus(graph: &mut Graph, resources: &Resources<'_>) {
    resources.gpus.keys().for_each(|name| graph.add(Address::gpu(name)));
    for guest in resources.guests.values() {
        for used in &guest.gpus {
            graph.edge(&guest.resource(), &Address::gpu(&used.card), EdgeKind::Needs);
        }
    }
}

/// The dataset, or the pool, that a folder of the node is on; none where it is on nothing that is declared.
pub fn mounted_at(pools: &BTreeMap<String, Arc<Pool>>, path: &str) -> Option<Address> {
    let inside =
        |point: &str| path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let pool = |pool: &Pool| Some((pool.mountpoint(&pool.name)?, Address::pool(&pool.name)));
    let all = pools.values().flat_map(|it| {
        let datasets =
            it.datasets.keys().filter_map(|name| Some((it.mountpoint(name)?, Address::dataset(name))));
        pool(it).into_iter().chain(datasets)
    });
    all.filter(|(point, _)| inside(point)).max_by_key(|(point, _)| point.len()).map(|(_, address)| address)
}

/// What lies on a storage comes after it.
fn storages(graph: &mut Graph, resources: &Resources<'_>) {
    resources.storages.keys().for_each(|name| graph.add(Address::storage(name)));
    for guest in resources.guests.values() {
        for (name, _) in guest.keeps() {
            if resources.storages.contains_key(name) {
                graph.edge(&guest.resource(), &Address::storage(name), EdgeKind::Needs);
            }
        }
    }
    for (address, image) in resources.images {
        if let Some(name) = image.storage.as_ref().filter(|name| resources.storages.contains_key(*name)) {
            graph.edge(address, &Address::storage(name), EdgeKind::Needs);
        }
    }
}

/// A guest becomes a template when everything is in it.
fn golden(graph: &mut Graph, resources: &Resources<'_>) {
    for (address, image) in resources.images {
        let ImageFrom::Golden(name) = &image.from else { continue };
        let Some(guest) = resources.guests.get(name) else { continue };
        graph.edge(address, &guest.resource(), EdgeKind::Needs);
        if let Some(last) = last(guest) {
            graph.edge(address, &last, EdgeKind::Needs);
        }
    }
}

/// Whoever asks the workshop's name server can install nothing before it answers.
fn names(graph: &mut Graph, parts: &Parts, resources: &Resources<'_>) {
    let server = parts.dns.as_ref().and_then(|(name, _)| resources.guests.get(name));
    let Some((server, answers)) = server.and_then(|server| Some((server, last(server)?))) else { return };
    for container in resources.guests.values().filter(|c| !parts.resolves_alone(&c.name)) {
        if let Some(first) = container.features.first() {
            graph.edge(&Address::feature(&first.name, &container.host()), &answers, EdgeKind::Needs);
        }
        graph.edge(&container.resource(), &server.resource(), EdgeKind::BootsAfter);
    }
}

/// Whoever fetches packages through a cache can install nothing before it is there.
fn packages(graph: &mut Graph, renderer: &dyn Renderer, parts: &Parts, resources: &Resources<'_>) {
    let Some((on, ..)) = &parts.packages else { return };
    let Some(server) = resources.guests.get(on) else { return };
    // That one alone: what else is in its guest may need others.
    let cache = server.features.iter().find(|feature| renderer.provides(&feature.name, PACKAGES));
    let Some(cache) = cache.map(|feature| Address::feature(&feature.name, &server.host())) else { return };
    for container in resources.guests.values().filter(|guest| guest.name != *on) {
        if let Some(first) = container.features.first() {
            graph.edge(&Address::feature(&first.name, &container.host()), &cache, EdgeKind::Needs);
        }
    }
}

/// Portainer takes in only those Docker hosts whose agents answer.
fn agents(graph: &mut Graph, renderer: &dyn Renderer, parts: &Parts, resources: &Resources<'_>) {
    let find = |name: &GuestName, word: &str| {
        let guest = resources.guests.get(name)?;
        let feature = guest.features.iter().find(|feature| renderer.provides(&feature.name, word))?;
        Some(Address::feature(&feature.name, &guest.host()))
    };
    for on in &parts.portainers {
        let Some(portainer) = find(on, PORTAINER) else { continue };
        let others = parts.agents.keys().filter(|name| *name != on);
        for agent in others.filter_map(|name| find(name, PORTAINER_AGENT)) {
            graph.edge(&portainer, &agent, EdgeKind::Needs);
        }
    }
}

/// The consumer comes after what it consumes (P-03): CA, leaf, gateway.
fn certificates(
    graph: &mut Graph,
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    resources: &Resources<'_>,
) {
    let authority = resources.certificates.authority.as_ref().map(|a| Address::authority(&a.on));
    if let (Some(address), Some(authority)) = (&authority, &resources.certificates.authority) {
        let host = Host::called(&blueprint.guests, &authority.on);
        if let Some(guest) = host.address() {
            graph.edge(address, &guest, EdgeKind::Needs);
        }
        for feature in resources.guests.get(&authority.on).into_iter().flat_map(|c| &c.features) {
            if renderer.provides(&feature.name, "ca") {
                graph.edge(address, &Address::feature(&feature.name, &host), EdgeKind::Needs);
            }
        }
    }
    for certificate in resources.certificates.by_name.values() {
        let address = Address::certificate(&certificate.name);
        let (Some(name), Some(guest)) = (certificate.on.guest(), certificate.on.address()) else { continue };
        graph.edge(&address, &guest, EdgeKind::Needs);
        if certificate.issuer != Issuer::Embedded {
            graph.edge(&address, &Address::feature(RENEWS, &certificate.on), EdgeKind::Needs);
        }
        if let (Issuer::StepCa, Some(authority)) = (certificate.issuer, &authority) {
            graph.edge(&address, authority, EdgeKind::Needs);
        }
        let declared = blueprint.guests.get(name);
        let rendered = resources.guests.get(name).into_iter().flat_map(|c| &c.features);
        for feature in rendered {
            let used = declared.and_then(|c| c.features.iter().find(|f| f.name == feature.name));
            if used.is_none_or(|used| renderer.certificate(used).is_none()) {
                continue;
            }
            let feature = Address::feature(&feature.name, &certificate.on);
            // A public authority asks the gateway's port 80 before it signs, so there the gateway comes first.
            match certificate.issuer {
                Issuer::Acme => graph.edge(&address, &feature, EdgeKind::Needs),
                Issuer::StepCa | Issuer::Embedded => graph.edge(&feature, &address, EdgeKind::Needs),
            }
        }
    }
}

/// The node's certificate, which a container may have to sign.
fn hypervisor(graph: &mut Graph, resources: &Resources<'_>) {
    if resources.hypervisor.is_some() {
        let address = Address::hypervisor_certificate();
        graph.add(address.clone());
        if let Some(authority) = &resources.certificates.authority {
            graph.edge(&address, &Address::authority(&authority.on), EdgeKind::Needs);
        }
    }
}

/// A stack comes after all that is in its guest.
fn stacks(graph: &mut Graph, resources: &Resources<'_>) {
    for stack in resources.stacks.values() {
        let address = stack.resource();
        graph.add(address.clone());
        let Some(guest) = resources.guests.get(&stack.on) else { continue };
        graph.edge(&address, &guest.resource(), EdgeKind::Needs);
        if let Some(last) = last(guest) {
            graph.edge(&address, &last, EdgeKind::Needs);
        }
    }
}

fn services(graph: &mut Graph, resources: &Resources<'_>) {
    for service in resources.services.values() {
        let address = Address::service(&service.name);
        let through = service.via.iter().map(|via| &via.on);
        for name in std::iter::once(&service.on).chain(through) {
            let Some(container) = resources.guests.get(name) else { continue };
            graph.edge(&address, &container.resource(), EdgeKind::Needs);
            if let Some(last) = last(container) {
                graph.edge(&address, &last, EdgeKind::Needs);
            }
        }
        if let Some(stack) = &service.stack {
            graph.edge(&address, &Address::stack(stack), EdgeKind::Needs);
        }
        let own = super::certificates::identity_of(&service.on);
        let public = super::certificates::public_of(&service.name);
        for certificate in [&service.name, &own, &public] {
            if resources.certificates.by_name.contains_key(certificate) {
                graph.edge(&address, &Address::certificate(certificate), EdgeKind::Needs);
            }
        }
    }
}

/// The whole is switched on before a guest's part of it, so that each part is in force once it is there. A service is
/// proven through the firewall of its guest, and of its proxy.
fn firewall(graph: &mut Graph, resources: &Resources<'_>) {
    if resources.firewall.is_none() {
        return;
    }
    let site = Address::firewall("site");
    graph.add(site.clone());
    for container in resources.guests.values().filter(|guest| !guest.golden) {
        let address = Address::firewall(&container.name);
        graph.edge(&address, &container.resource(), EdgeKind::Needs);
        if address != site {
            graph.edge(&address, &site, EdgeKind::Needs);
        }
    }
    for service in resources.services.values() {
        let through = service.via.iter().map(|via| &via.on);
        for name in std::iter::once(&service.on).chain(through) {
            graph.edge(&Address::service(&service.name), &Address::firewall(name), EdgeKind::Needs);
        }
    }
}
