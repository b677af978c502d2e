//! What features are told: the values of their derived parameters.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use blueprint::model::{Blueprint, Container};
use blueprint::names::GuestName;
use serde_json::{Value, json};

use super::certificates::{identity_of, public_of};
use super::parts::{Parts, address_of};
use super::services::own_name;
use super::{CERTIFICATES, full_name};
use crate::desired::{Certificate, Desired, Issuer, Service, Speaks, ViaKind};

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
pub(super) fn common(
    blueprint: &Blueprint,
    root_pem: &str,
    parts: &Parts,
    desired: &Desired,
) -> BTreeMap<String, Value> {
    let acme = blueprint.certificates.acme.as_ref().map(|acme| {
        json!({
            "directory": acme.directory, "email": acme.email.as_deref().unwrap_or_default(),
            "challenge": acme.challenge.as_str(), "root": acme.root.as_deref().unwrap_or_default(),
            "hook": acme.hook.as_ref().map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).unwrap_or_default(),
        })
    });
    // With a name server, only what must resolve without it, too: the authority, so that certificates renew.
    let hosts = if parts.dns.is_some() {
        let ca = full_name("ca", &desired.domain);
        desired.names.get(&ca).map(|address| vec![entry(*address, &[&ca])]).unwrap_or_default()
    } else {
        by_address(&desired.names)
    };
    let empty = || Value::Array(Vec::new());
    BTreeMap::from([
        ("names".to_owned(), Value::Array(hosts)),
        ("root".to_owned(), Value::String(root_pem.to_owned())),
        ("domain".to_owned(), Value::String(desired.domain.clone())),
        ("acme".to_owned(), acme.unwrap_or_else(|| json!({}))),
        ("sites".to_owned(), empty()),
        ("streams".to_owned(), empty()),
        ("routes".to_owned(), empty()),
        ("records".to_owned(), empty()),
        ("outside-records".to_owned(), empty()),
        ("certificates".to_owned(), empty()),
        ("identity".to_owned(), json!({})),
        ("authority".to_owned(), json!({})),
        ("hypervisor".to_owned(), Value::Bool(false)),
    ])
}

/// What is this guest's own.
pub(super) fn own(
    blueprint: &Blueprint,
    container: &Container,
    parts: &Parts,
    by_guest: &ByGuest,
    desired: &Desired,
) -> BTreeMap<String, Value> {
    let mut own = BTreeMap::new();
    own.insert("resolvers".to_owned(), json!(resolvers(blueprint, container, parts)));
    let name = container.name.as_str();
    if parts.identities.contains(name) {
        let certificate = identity_of(name);
        let host = own_name(&container.hostname, &desired.domain);
        let identity = json!({ "name": host, "certificate": chain(&certificate), "key": key(&certificate) });
        own.insert("identity".to_owned(), identity);
    }
    let certificates = by_guest.get(name).map(Vec::as_slice).unwrap_or_default();
    let renewing: Vec<Value> =
        certificates.iter().filter(|c| c.issuer != Issuer::Embedded).map(renewed).collect();
    if !renewing.is_empty() {
        own.insert("certificates".to_owned(), Value::Array(renewing));
        if let Some(authority) = &desired.authority {
            let provisioner = format!("guest-{name}");
            let value = json!({ "url": authority.url, "host": authority.host, "provisioner": provisioner });
            own.insert("authority".to_owned(), value);
        }
    }
    if parts.gateways.contains_key(name) {
        own.insert("sites".to_owned(), proxied(desired, ViaKind::Gateway, name));
        own.insert("streams".to_owned(), streams(desired, name));
    }
    if Parts::is(&parts.mesh, name) {
        own.insert("routes".to_owned(), proxied(desired, ViaKind::Mesh, name));
    }
    if Parts::is(&parts.dns, name) {
        own.insert("records".to_owned(), Value::Array(records(blueprint, &desired.names)));
        own.insert("outside-records".to_owned(), Value::Array(by_address(&desired.outside_names)));
    }
    // The authority does not wait for the name server, and still reaches everybody.
    if parts.dns.is_some() && Parts::is(&parts.ca, name) {
        own.insert("names".to_owned(), Value::Array(by_address(&desired.names)));
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
    for network in container.nets.values().filter_map(|nic| blueprint.networks.get(&nic.network)) {
        for server in &network.nameservers {
            if !all.contains(server) {
                all.push(*server);
            }
        }
    }
    all
}

fn entry(address: Ipv4Addr, names: &[&str]) -> Value {
    json!({ "address": address.to_string(), "names": names })
}

fn grouped(names: &BTreeMap<String, Ipv4Addr>) -> BTreeMap<Ipv4Addr, Vec<&str>> {
    let mut all: BTreeMap<Ipv4Addr, Vec<&str>> = BTreeMap::new();
    for (name, address) in names {
        all.entry(*address).or_default().push(name);
    }
    all
}

fn by_address(names: &BTreeMap<String, Ipv4Addr>) -> Vec<Value> {
    grouped(names).into_iter().map(|(address, names)| entry(address, &names)).collect()
}

/// The inside view. An address is called, in reverse, what its guest is called.
fn records(blueprint: &Blueprint, names: &BTreeMap<String, Ipv4Addr>) -> Vec<Value> {
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
pub(super) fn renewed(certificate: &Certificate) -> Value {
    json!({
        "name": certificate.name, "names": certificate.names, "life": certificate.life.as_secs(),
        "issuer": certificate.issuer.as_str(), "owner": certificate.owner.as_deref().unwrap_or_default(),
        "reloads": certificate.reloads, "restarts": certificate.restarts,
        "served": certificate.served.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// What the proxy in this guest serves over HTTPS.
fn proxied(desired: &Desired, kind: ViaKind, on: &str) -> Value {
    let through = |s: &Service| s.via.as_ref().is_some_and(|v| v.kind == kind && *v.on == *on);
    let behind = |s: &&Service| s.speaks != Speaks::Tcp && through(s);
    let mut all = Vec::new();
    for service in desired.services.values().filter(behind) {
        all.push(site(service, &service.name, &service.hosts, false));
        if !service.public.is_empty() {
            all.push(site(service, &public_of(&service.name), &service.public, true));
        }
    }
    Value::Array(all)
}

fn site(service: &Service, name: &str, hosts: &[String], public: bool) -> Value {
    let limits = &service.limits;
    let users: Vec<Value> = service
        .users
        .iter()
        .map(|(user, secret)| json!({ "user": user, "password": { "$secret": secret } }))
        .collect();
    json!({
        "service": name, "names": hosts, "public": public,
        "certificate": chain(name), "key": key(name),
        "upstream_address": service.address.to_string(), "upstream_port": service.port,
        "upstream_protocol": if service.speaks == Speaks::Https { "https" } else { "http" },
        "upstream_name": service.upstream_name.as_deref().unwrap_or_default(),
        "mutual": service.mutual, "client_certificate": service.client_certificate, "users": users,
        "body": limits.body_mib.map(|mib| if mib == 0 { "0".to_owned() } else { format!("{mib}m") }).unwrap_or_default(),
        "headers": limits.headers.unwrap_or(0),
        "timeout": limits.timeout.unwrap_or(0),
        // Nginx writes `r/s`.
        "rate": limits.rate.as_deref().map(|rate| rate.replace('/', "r/")).unwrap_or_default(),
        "burst": limits.burst,
    })
}

/// What the gateway in this guest serves over TCP.
fn streams(desired: &Desired, on: &str) -> Value {
    let mut all = Vec::new();
    for service in desired.services.values().filter(|s| s.speaks == Speaks::Tcp) {
        let Some(via) = service.gateway().filter(|via| *via.on == *on) else { continue };
        all.push(json!({
            "service": service.name, "listen": via.port, "tls": via.tls, "names": service.hosts,
            "certificate": chain(&service.name), "key": key(&service.name),
            "upstream_address": service.address.to_string(), "upstream_port": service.port,
            "timeout": service.limits.timeout.unwrap_or(0),
        }));
    }
    Value::Array(all)
}
