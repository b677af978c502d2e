//! What comes after what.

use blueprint::model::{Blueprint, RENEWS};

use super::Renderer;
use super::parts::Parts;
use crate::address::Address;
use crate::desired::{Desired, Guest, Issuer};
use crate::graph::{EdgeKind, Graph};
use crate::host::Host;

/// The last feature of a guest: when it is done, all is.
fn last(guest: &Guest) -> Option<Address> {
    guest.features.last().map(|f| Address::feature(&f.name, &guest.host()))
}

pub(super) fn graph(
    blueprint: &Blueprint,
    desired: &Desired,
    parts: &Parts,
    renderer: &dyn Renderer,
) -> Graph {
    let mut graph = Graph::default();
    guests(&mut graph, blueprint, desired);
    names(&mut graph, desired, parts);
    certificates(&mut graph, blueprint, desired, renderer);
    hypervisor(&mut graph, desired);
    services(&mut graph, desired);
    firewall(&mut graph, desired);
    graph
}

fn guests(graph: &mut Graph, blueprint: &Blueprint, desired: &Desired) {
    for container in desired.guests.values() {
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
    for container in blueprint.containers.values() {
        let guest = Address::container(&container.name);
        for need in &container.needs {
            let Some(other) = desired.guests.get(need) else { continue };
            // Healthy means: made, and everything in it installed.
            graph.edge(&guest, &last(other).unwrap_or_else(|| other.resource()), EdgeKind::Needs);
            graph.edge(&guest, &other.resource(), EdgeKind::BootsAfter);
        }
    }
}

/// Whoever asks the workshop's name server can install nothing before it answers.
fn names(graph: &mut Graph, desired: &Desired, parts: &Parts) {
    let server = desired.dns.as_ref().and_then(|(name, _)| desired.guests.get(name));
    let Some((server, answers)) = server.and_then(|server| Some((server, last(server)?))) else { return };
    for container in desired.guests.values().filter(|c| !parts.resolves_alone(&c.name)) {
        if let Some(first) = container.features.first() {
            graph.edge(&Address::feature(&first.name, &container.host()), &answers, EdgeKind::Needs);
        }
        graph.edge(&container.resource(), &server.resource(), EdgeKind::BootsAfter);
    }
}

/// The consumer comes after what it consumes (P-03): CA, leaf, gateway.
fn certificates(graph: &mut Graph, blueprint: &Blueprint, desired: &Desired, renderer: &dyn Renderer) {
    let authority = desired.authority.as_ref().map(|a| Address::authority(&a.on));
    if let (Some(address), Some(authority)) = (&authority, &desired.authority) {
        let host = Host::container(authority.on.clone());
        graph.edge(address, &Address::container(&authority.on), EdgeKind::Needs);
        for feature in desired.guests.get(&authority.on).into_iter().flat_map(|c| &c.features) {
            if renderer.provides(&feature.name, "ca") {
                graph.edge(address, &Address::feature(&feature.name, &host), EdgeKind::Needs);
            }
        }
    }
    for certificate in desired.certificates.values() {
        let address = Address::certificate(&certificate.name);
        let (Some(name), Some(guest)) = (certificate.on.guest(), certificate.on.address()) else { continue };
        graph.edge(&address, &guest, EdgeKind::Needs);
        if certificate.issuer != Issuer::Embedded {
            graph.edge(&address, &Address::feature(RENEWS, &certificate.on), EdgeKind::Needs);
        }
        if let (Issuer::StepCa, Some(authority)) = (certificate.issuer, &authority) {
            graph.edge(&address, authority, EdgeKind::Needs);
        }
        let declared = blueprint.containers.get(name);
        let rendered = desired.guests.get(name).into_iter().flat_map(|c| &c.features);
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
fn hypervisor(graph: &mut Graph, desired: &Desired) {
    if desired.hypervisor.is_some() {
        let address = Address::hypervisor_certificate();
        graph.add(address.clone());
        if let Some(authority) = &desired.authority {
            graph.edge(&address, &Address::authority(&authority.on), EdgeKind::Needs);
        }
    }
}

fn services(graph: &mut Graph, desired: &Desired) {
    for service in desired.services.values() {
        let address = Address::service(&service.name);
        let through = service.via.iter().map(|via| &via.on);
        for name in std::iter::once(&service.on).chain(through) {
            let Some(container) = desired.guests.get(name) else { continue };
            graph.edge(&address, &container.resource(), EdgeKind::Needs);
            if let Some(last) = last(container) {
                graph.edge(&address, &last, EdgeKind::Needs);
            }
        }
        let own = super::certificates::identity_of(&service.on);
        let public = super::certificates::public_of(&service.name);
        for certificate in [&service.name, &own, &public] {
            if desired.certificates.contains_key(certificate) {
                graph.edge(&address, &Address::certificate(certificate), EdgeKind::Needs);
            }
        }
    }
}

/// The whole is switched on before a guest's part of it, so that each part is in force once it is there. A service is
/// proven through the firewall of its guest, and of its proxy.
fn firewall(graph: &mut Graph, desired: &Desired) {
    if desired.firewall.is_none() {
        return;
    }
    let site = Address::firewall("site");
    graph.add(site.clone());
    for container in desired.guests.values() {
        let address = Address::firewall(&container.name);
        graph.edge(&address, &container.resource(), EdgeKind::Needs);
        if address != site {
            graph.edge(&address, &site, EdgeKind::Needs);
        }
    }
    for service in desired.services.values() {
        let through = service.via.iter().map(|via| &via.on);
        for name in std::iter::once(&service.on).chain(through) {
            graph.edge(&Address::service(&service.name), &Address::firewall(name), EdgeKind::Needs);
        }
    }
}
