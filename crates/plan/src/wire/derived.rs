//! What features are told: the values of their derived parameters.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::certificates::{identity_of, public_of};
use super::parts::{Parts, address_of};
use super::services::own_name;
use super::{CERTIFICATES, full_name};
use crate::desired::{Certificate, Desired, Issuer, Service, Speaks, ViaKind};
use crate::told::{self, Maybe, Told};
use blueprint::model::{Blueprint, Container};
use blueprint::names::GuestName;

/// Bytes.
const MIB: u64 = 1024 * 1024;

/// The certificates of each guest.
pub(super) type ByGuest = BTreeMap<GuestName, Vec<Certificate>>;

pub(super) fn by_guest(desired: &Desired) -> ByGuest {
    let mut all = ByGuest::new();
    for certificate in desired.certificates.values() {
        if let Some(guest) = certificate.on.guest() {
            all.entry(guest.clone()).or_default().push(certificate.clone());
        }
    }
    all
}

/// The path of a certificate's chain in its guest.
fn chain(name: &str) -> String {
    format!("{CERTIFICATES}/{name}/fullchain.pem")
}

/// The path of a certificate's key in its guest.
pub(super) fn key(name: &str) -> String {
    format!("{CERTIFICATES}/{name}/key.pem")
}

/// What is the same for all guests.
pub(super) fn common(blueprint: &Blueprint, root_pem: &str, parts: &Parts, desired: &Desired) -> Told {
    let acme = blueprint.certificates.acme.as_ref().map(|acme| told::Acme {
        directory: acme.directory.clone(),
        email: acme.email.clone().unwrap_or_default(),
        challenge: acme.challenge.as_str().to_owned(),
        hook: acme
            .hook
            .as_ref()
            .map(|file| String::from_utf8_lossy(&file.bytes).into_owned())
            .unwrap_or_default(),
        root: acme.root.clone().unwrap_or_default(),
    });
    // With a name server, only what must resolve without it, too: the authority, so that certificates renew.
    let names = if parts.dns.is_some() {
        let ca = full_name("ca", &desired.domain);
        desired.names.get(&ca).map(|address| vec![entry(*address, &[&ca])]).unwrap_or_default()
    } else {
        by_address(&desired.names)
    };
    Told {
        names: Some(names),
        root: Some(root_pem.to_owned()),
        domain: Some(desired.domain.to_string()),
        acme: Some(acme.into()),
        sites: Some(Vec::new()),
        streams: Some(Vec::new()),
        routes: Some(Vec::new()),
        records: Some(Vec::new()),
        outside_records: Some(Vec::new()),
        certificates: Some(Vec::new()),
        identity: Some(None.into()),
        authority: Some(None.into()),
        hypervisor: Some(false),
        // Each guest's own.
        resolvers: None,
    }
}

/// What is this guest's own.
pub(super) fn derive_for_guest(
    blueprint: &Blueprint,
    container: &Container,
    parts: &Parts,
    by_guest: &ByGuest,
    desired: &Desired,
) -> Told {
    let mut own = Told { resolvers: Some(resolvers(blueprint, container, parts)), ..Told::default() };
    let name = container.name.as_str();
    if parts.identities.contains(name) {
        let certificate = identity_of(name);
        own.identity = Some(Maybe::There(told::Identity {
            name: own_name(&container.hostname, &desired.domain),
            certificate: chain(&certificate),
            key: key(&certificate),
        }));
    }
    let certificates = by_guest.get(name).map(Vec::as_slice).unwrap_or_default();
    let renewing: Vec<_> =
        certificates.iter().filter(|c| c.issuer != Issuer::Embedded).map(renewed).collect();
    if !renewing.is_empty() {
        own.certificates = Some(renewing);
        own.authority = desired.authority.as_ref().map(|authority| {
            Maybe::There(told::Authority::Network(told::ByNetwork {
                url: authority.url.clone(),
                host: authority.host.clone(),
                provisioner: format!("guest-{name}"),
            }))
        });
    }
    if parts.gateways.contains_key(name) {
        own.sites = Some(proxied(desired, ViaKind::Gateway, name));
        own.streams = Some(streams(desired, name));
    }
    if Parts::is(&parts.mesh, name) {
        own.routes = Some(proxied(desired, ViaKind::Mesh, name));
    }
    if Parts::is(&parts.dns, name) {
        own.records = Some(records(blueprint, &desired.names));
        own.outside_records = Some(by_address(&desired.outside_names));
    }
    // The authority does not wait for the name server, and still reaches everybody.
    if parts.dns.is_some() && Parts::is(&parts.ca, name) {
        own.names = Some(by_address(&desired.names));
    }
    own
}

/// The name servers a guest asks, where they are known.
pub(super) fn resolvers(blueprint: &Blueprint, container: &Container, parts: &Parts) -> Vec<Ipv4Addr> {
    if let Some((_, address)) = &parts.dns
        && !parts.resolves_alone(&container.name)
    {
        return vec![*address];
    }
    let mut all = Vec::new();
    for network in container.nets.values().filter_map(|nic| blueprint.networks.get(&*nic.network)) {
        for server in &network.nameservers {
            if !all.contains(server) {
                all.push(*server);
            }
        }
    }
    all
}

fn entry(address: Ipv4Addr, names: &[&str]) -> told::Names {
    told::Names { address, names: names.iter().map(|&name| name.to_owned()).collect() }
}

fn grouped(names: &BTreeMap<String, Ipv4Addr>) -> BTreeMap<Ipv4Addr, Vec<&str>> {
    let mut all: BTreeMap<Ipv4Addr, Vec<&str>> = BTreeMap::new();
    for (name, address) in names {
        all.entry(*address).or_default().push(name);
    }
    all
}

fn by_address(names: &BTreeMap<String, Ipv4Addr>) -> Vec<told::Names> {
    grouped(names).into_iter().map(|(address, names)| entry(address, &names)).collect()
}

/// The inside view. An address is called, in reverse, what its guest is called.
fn records(blueprint: &Blueprint, names: &BTreeMap<String, Ipv4Addr>) -> Vec<told::Names> {
    let domain = &blueprint.site.domain;
    let mut called: BTreeMap<Ipv4Addr, [String; 2]> = BTreeMap::new();
    for container in blueprint.containers.values() {
        if let Some(address) = address_of(container) {
            let short = full_name(&container.hostname, domain);
            called.insert(address, [short, own_name(&container.hostname, domain)]);
        }
    }
    grouped(names)
        .into_iter()
        .map(|(address, mut list)| {
            // The short one only where it leads to the guest itself and not to its service's proxy.
            let first =
                called.get(&address).and_then(|both| both.iter().find(|n| list.contains(&n.as_str())));
            if let Some(first) = first {
                list.sort_by_key(|name| *name != first.as_str());
            }
            entry(address, &list)
        })
        .collect()
}

/// A certificate as the feature that renews it is told.
pub(super) fn renewed(certificate: &Certificate) -> told::Certificate {
    told::Certificate {
        name: certificate.name.clone(),
        names: certificate.names.clone(),
        life: certificate.life.as_secs(),
        issuer: certificate.issuer,
        owner: certificate.owner.clone().unwrap_or_default(),
        reloads: certificate.reloads.clone(),
        restarts: certificate.restarts.clone(),
        served: certificate.served.iter().map(ToString::to_string).collect(),
    }
}

/// What the proxy in this guest serves over HTTPS.
fn proxied(desired: &Desired, kind: ViaKind, on: &str) -> Vec<told::Site> {
    let through = |s: &Service| s.via.as_ref().is_some_and(|v| v.kind == kind && *v.on == *on);
    let behind = |s: &&Service| s.speaks != Speaks::Tcp && through(s);
    let mut all = Vec::new();
    for service in desired.services.values().filter(behind) {
        all.push(site(service, &service.name, &service.hosts, false));
        if !service.public.is_empty() {
            all.push(site(service, &public_of(&service.name), &service.public, true));
        }
    }
    all
}

fn site(service: &Service, name: &str, hosts: &[String], public: bool) -> told::Site {
    let users = service.users.iter().map(|(user, secret)| told::User {
        user: user.clone(),
        password: told::Secret { secret: secret.clone() },
    });
    told::Site {
        service: name.to_owned(),
        names: hosts.to_vec(),
        public,
        certificate: chain(name),
        key: key(name),
        upstream_address: service.address,
        upstream_port: service.port,
        upstream_protocol: match service.speaks {
            Speaks::Https => told::Protocol::Https,
            Speaks::Http | Speaks::Tcp => told::Protocol::Http,
        },
        upstream_name: service.upstream_name.clone().unwrap_or_default(),
        mutual: service.mutual,
        client_certificate: service.client_certificate,
        users: users.collect(),
        body: service.limits.body_mib.map(|mib| mib * MIB),
        headers: service.limits.headers,
        timeout: service.limits.timeout,
        rate: service.limits.rate,
        burst: service.limits.burst,
    }
}

/// What the gateway in this guest passes on as TCP.
fn streams(desired: &Desired, on: &str) -> Vec<told::Stream> {
    let mut all = Vec::new();
    for service in desired.services.values().filter(|s| s.speaks == Speaks::Tcp) {
        let Some(via) = service.gateway().filter(|via| *via.on == *on) else { continue };
        all.push(told::Stream {
            service: service.name.clone(),
            listen: via.port,
            tls: via.tls,
            names: service.hosts.clone(),
            certificate: chain(&service.name),
            key: key(&service.name),
            upstream_address: service.address,
            upstream_port: service.port,
            timeout: service.limits.timeout,
        });
    }
    all
}
