//! What comes after what.

use std::collections::BTreeMap;

use blueprint::model::{Blueprint, RENEWS};
use blueprint::names::GuestName;

use super::certificates::Certificates;
use super::parts::{PACKAGES, Parts};
use super::{Renderer, WireError};
use crate::address::Address;
use crate::desired::{Firewall, Guest, Hypervisor, Image, Issuer, Service};
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
    pub certificates: &'a Certificates,
    pub hypervisor: Option<&'a Hypervisor>,
    pub firewall: Option<&'a Firewall>,
    pub images: &'a BTreeMap<Address, Image>,
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
    // Only making a guest needs what it is made of, which its step says: the guest that is there does without.
    resources.images.keys().cloned().for_each(|image| graph.add(image));
    names(&mut graph, parts, resources);
    packages(&mut graph, renderer, parts, resources);
    certificates(&mut graph, blueprint, renderer, resources);
    hypervisor(&mut graph, resources);
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
    for container in resources.guests.values() {
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
