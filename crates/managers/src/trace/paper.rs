//! The walk on paper, before anything is built: a path that cannot work is an error of the blueprint.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cidr::Ipv4Inet;
use plan::Address;
use plan::Desired;
use plan::desired::{Guest, Issuer, Service, Speaks, Transport, ViaKind};

use super::flows::{Asker, Flows};
use crate::artifacts::{builtin, versions::refused};

/// A path that cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it leads to.
    pub address: Address,
    /// Which hop cannot work, and why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// All paths that cannot work.
pub fn check(desired: &Desired) -> Vec<Problem> {
    let flows = Flows::new(desired);
    let mut problems = Vec::new();
    for service in desired.services.values() {
        let mut found = Vec::new();
        names(desired, service, &mut found);
        certificates(desired, service, &mut found);
        reach(desired, service, &flows, &mut found);
        let address = Address::service(&service.name);
        problems.extend(found.into_iter().map(|(message, hint)| Problem {
            address: address.clone(),
            message,
            hint,
        }));
    }
    parts(desired, &flows, &mut problems);
    versions(desired, &mut problems);
    problems
}

/// S-11: programs whose versions are known not to work together.
fn versions(desired: &Desired, problems: &mut Vec<Problem>) {
    let features =
        desired.guests.values().flat_map(|container| container.features.iter().map(move |f| (container, f)));
    let mut used: BTreeMap<(&str, &str), Address> = BTreeMap::new();
    for (container, feature) in features {
        for artifact in feature.payload["artifacts"].as_array().into_iter().flatten() {
            if let (Some(name), Some(version)) = (artifact["name"].as_str(), artifact["version"].as_str()) {
                let user = Address::feature(&feature.name, &container.host());
                used.entry((name, version)).or_insert(user);
            }
        }
    }
    // A list that cannot be read fails where features are rendered.
    let Ok(list) = builtin() else { return };
    let pairs: Vec<(&str, &str)> = used.keys().copied().collect();
    for pair in refused(&list.refuses, &pairs) {
        let user = used.iter().find(|((name, version), _)| format!("{name} {version}") == pair.one);
        problems.extend(user.map(|(_, address)| Problem {
            address: address.clone(),
            message: format!("versions: {pair}"),
            hint: "use another version of one of them, or leave one of them out".to_owned(),
        }));
    }
}

type Found = Vec<(String, String)>;

/// P-44, P-55: every name leads to what serves it.
fn names(desired: &Desired, service: &Service, found: &mut Found) {
    let (entrance, _) = service.entrance();
    let outside = service.via.as_ref().is_none_or(|via| via.kind == ViaKind::Gateway);
    for host in service.hosts.iter().chain(&service.public) {
        let mut wrong = |side: &str, means: Option<&Ipv4Addr>| {
            let means = match means {
                Some(address) if *address == entrance => return,
                Some(address) => format!("means {address}"),
                None => "is not known".to_owned(),
            };
            found.push((
                format!("dns: {side} {host} {means}, and what serves it is at {entrance}"),
                "give one of those that want this name another name or alias".to_owned(),
            ));
        };
        wrong("inside", desired.names.get(host));
        if outside {
            wrong("outside", desired.outside_names.get(host));
        }
    }
}

/// Whoever takes TLS for a service has a certificate for all of its names (P-43).
fn certificates(desired: &Desired, service: &Service, found: &mut Found) {
    let Some(via) = service.via.as_ref().filter(|via| via.tls) else {
        // A guest without a certificate of ours may have another.
        let own = desired.certificates.get(&format!("{}.guest", service.on));
        if let (None, Speaks::Https, Some(own)) = (&service.via, service.speaks, own)
            && let Some(host) = service.hosts.iter().find(|host| !own.names.contains(host))
        {
            found.push((
                format!("tls: the certificate of {} is not for {host}", desired.called(&service.on)),
                format!("phoenix-cli explain {}", own.resource()),
            ));
        }
        return;
    };
    let public = format!("{}.public", service.name);
    for (certificate, hosts) in [(&service.name, &service.hosts), (&public, &service.public)] {
        let has = desired.certificates.get(certificate).filter(|c| c.on.is_guest(&via.on));
        let lacking: Vec<&str> = hosts
            .iter()
            .filter(|host| has.is_none_or(|c| !c.names.contains(host)))
            .map(String::as_str)
            .collect();
        if !lacking.is_empty() {
            found.push((
                format!("tls: the {} has no certificate for {}", via.kind.as_str(), lacking.join(", ")),
                format!("phoenix-cli explain {}", Address::certificate(certificate)),
            ));
        }
    }
    if service.mutual && !desired.certificates.contains_key(&format!("{}.guest", via.on)) {
        found.push((
            format!("tls: {} has no certificate of its own to show to the service", desired.called(&via.on)),
            "remove `mutual`, or give that container a feature that uses its certificate".to_owned(),
        ));
    }
}

/// Whoever is to come to the entrance can, and the proxy can come to the service: there is a route, and a flow.
fn reach(desired: &Desired, service: &Service, flows: &Flows<'_>, found: &mut Found) {
    let (_, port) = service.entrance();
    let at = service.via.as_ref().map_or(&service.on, |via| &via.on);
    let dropped = |who: &str, to: &str, port: u16| {
        (
            format!("firewall: no flow lets {who} come to {} at port {port}", desired.called(to)),
            "declare one under `flows`, with its reason".to_owned(),
        )
    };
    let inside = desired.guests.keys().find(|name| *name != at);
    let outside = service.via.as_ref().is_none_or(|via| via.kind == ViaKind::Gateway);
    if outside && !flows.verdict(Asker::Outside, at, Transport::Tcp, port).passes() {
        found.push(dropped("those outside", at, port));
    }
    if inside.is_some_and(|name| !flows.verdict(Asker::Guest(name), at, Transport::Tcp, port).passes()) {
        found.push(dropped("guests", at, port));
    }
    let Some(via) = service.via.as_ref().filter(|via| via.on != service.on) else { return };
    if !flows.verdict(Asker::Guest(&via.on), &service.on, Transport::Tcp, service.port).passes() {
        found.push(dropped(desired.called(&via.on).as_str(), &service.on, service.port));
    }
    let both = (desired.guests.get(&via.on), desired.guests.get(&service.on));
    if let (Some(proxy), Some(guest)) = both
        && !routed(proxy, guest)
    {
        found.push((
            format!("route: there is no way between {} and {}", proxy.resource(), guest.resource()),
            "give both a network in common, or their networks a `gateway` that leads from one to the other"
                .to_owned(),
        ));
    }
}

/// Whether two guests can exchange packets: they share a network, or each has a router to send them to. What gets its
/// address by DHCP may have one.
fn routed(a: &Guest, b: &Guest) -> bool {
    let inets =
        |c: &Guest| -> Vec<Option<Ipv4Inet>> { c.nets.values().map(|nic| nic.ip.parse().ok()).collect() };
    let (of_a, of_b) = (inets(a), inets(b));
    let shared = of_a.iter().flatten().any(|x| of_b.iter().flatten().any(|y| x.network() == y.network()));
    let routes = |c: &Guest, own: &[Option<Ipv4Inet>]| {
        own.iter().any(Option::is_none) || c.nets.values().any(|nic| nic.gateway.is_some())
    };
    shared || routes(a, &of_a) && routes(b, &of_b)
}

/// What every guest needs: names, and those that renew their certificates the authority.
fn parts(desired: &Desired, flows: &Flows<'_>, problems: &mut Vec<Problem>) {
    let mut dropped = |guest: &str, to: &str, what: &str| {
        problems.push(Problem {
            address: desired.called(guest),
            message: format!("firewall: no flow lets it come to {} for {what}", desired.called(to)),
            hint: "declare one under `flows`, with its reason".to_owned(),
        });
    };
    if let Some((server, address)) = &desired.dns {
        for container in desired.guests.values().filter(|c| c.name != *server) {
            let asks = container.nameservers.contains(address);
            let passes = |by| flows.verdict(Asker::Guest(&container.name), server, by, 53).passes();
            if asks && !(passes(Transport::Udp) && passes(Transport::Tcp)) {
                dropped(&container.name, server, "names");
            }
        }
    }
    if let Some(authority) = &desired.authority {
        let renewing = desired.certificates.values().filter(|c| c.issuer == Issuer::StepCa);
        for guest in renewing.filter_map(|c| c.on.guest()).filter(|guest| **guest != authority.on) {
            if !flows.verdict(Asker::Guest(guest), &authority.on, Transport::Tcp, 443).passes() {
                dropped(guest, &authority.on, "certificates");
            }
        }
    }
}
