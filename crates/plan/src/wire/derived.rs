//! What features are told: the values of their derived parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use blueprint::model::{Blueprint, Guest, SecretRef};
use blueprint::names::GuestName;
use serde_json::Value;

use super::certificates::{Certificates, identity_of, public_of};
use super::parts::{Parts, address_of};
use super::services::{Names, Services, own_name};
use super::{CERTIFICATES, Roots, SiteFacts, WireError, full_name, values};
use crate::desired::{Certificate, Issuer, Service, Speaks, ViaKind};
use crate::told::{self, Maybe, Told};

/// What the secret is called that Portainer and its agents share.
const AGENT_SECRET: &str = "portainer-agent";

/// Bytes.
const MIB: u64 = 1024 * 1024;

/// What features are told of: all that is known of the site before any of them is rendered.
pub(super) struct Known<'a> {
    blueprint: &'a Blueprint,
    /// Who plays which part.
    pub parts: &'a Parts,
    services: &'a Services,
    names: &'a Names,
    /// The certificates, and who signs them.
    pub certificates: &'a Certificates,
    // Found once: a search for each of a thousand guests would be a million.
    by_guest: BTreeMap<&'a GuestName, Vec<&'a Certificate>>,
    /// The site.
    pub site: SiteFacts,
    /// Whether another root takes the place of one.
    roots: bool,
    /// The values that are the same for all guests.
    pub common: BTreeMap<String, Value>,
}

impl<'a> Known<'a> {
    /// From the results of the steps before, and what is trusted.
    pub(super) fn new(
        blueprint: &'a Blueprint,
        roots: &Roots,
        parts: &'a Parts,
        services: &'a Services,
        names: &'a Names,
        certificates: &'a Certificates,
    ) -> Result<Self, WireError> {
        let mut by_guest: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for certificate in certificates.by_name.values() {
            if let Some(guest) = certificate.on.guest() {
                by_guest.entry(guest).or_default().push(certificate);
            }
        }
        let site = SiteFacts {
            name: blueprint.site.name.to_string(),
            domain: blueprint.site.domain.to_string(),
            timezone: blueprint.site.timezone.clone().unwrap_or_default(),
        };
        let common = values("site", &common(blueprint, roots, parts, names))?;
        let roots = roots.trusted.len() > 1;
        Ok(Self { blueprint, parts, services, names, certificates, by_guest, site, roots, common })
    }

    /// The certificates of a guest.
    pub(super) fn certificates_of(&self, guest: &GuestName) -> &[&'a Certificate] {
        self.by_guest.get(guest).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The path of a certificate's chain in its guest.
fn chain(name: &str) -> String {
    format!("{CERTIFICATES}/{name}/fullchain.pem")
}

/// The path of a certificate's key in its guest.
pub(super) fn key(name: &str) -> String {
    format!("{CERTIFICATES}/{name}/key.pem")
}

/// Certificates as one text; one alone as it is.
fn bundle(pems: &[String]) -> String {
    match pems {
        [one] => one.clone(),
        all => all.iter().map(|pem| format!("{}\n", pem.trim_end())).collect(),
    }
}

/// The units that read the root's certificate again: those that read their own again when it is renewed.
fn readers(certificates: &[&Certificate]) -> told::Readers {
    let units = |of: fn(&Certificate) -> &Vec<String>| -> BTreeSet<String> {
        certificates.iter().flat_map(|certificate| of(certificate).iter().cloned()).collect()
    };
    let (reloads, restarts) = (units(|c| &c.reloads), units(|c| &c.restarts));
    told::Readers {
        reloads: reloads.difference(&restarts).cloned().collect(),
        restarts: restarts.into_iter().collect(),
    }
}

/// Each by itself, where there are several.
fn apart(pems: &[String]) -> Vec<told::Root> {
    let apart = pems.iter().filter(|_| pems.len() > 1);
    apart.map(|pem| told::Root { id: super::fingerprint(&[pem]), pem: pem.clone() }).collect()
}

/// What is the same for all guests.
fn common(blueprint: &Blueprint, roots: &Roots, parts: &Parts, names: &Names) -> Told {
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
        let ca = full_name("ca", &blueprint.site.domain);
        names.inside.get(&ca).map(|address| vec![entry(*address, &[&ca])]).unwrap_or_default()
    } else {
        by_address(&names.inside)
    };
    Told {
        names: Some(names),
        root: Some(bundle(&roots.trusted)),
        roots: Some(apart(&roots.trusted)),
        readers: Some(told::Readers::default()),
        refused: Some(roots.refused.clone()),
        domain: Some(blueprint.site.domain.to_string()),
        acme: Some(acme.into()),
        acme_names: Some(Vec::new()),
        node_names: Some(Vec::new()),
        sites: Some(Vec::new()),
        streams: Some(Vec::new()),
        routes: Some(Vec::new()),
        records: Some(Vec::new()),
        outside_records: Some(Vec::new()),
        certificates: Some(Vec::new()),
        identity: Some(None.into()),
        proxies: Some(Vec::new()),
        loopback: Some(Vec::new()),
        package_cache: Some(
            parts
                .packages
                .as_ref()
                .map(|(_, address, port)| format!("http://{address}:{port}"))
                .unwrap_or_default(),
        ),
        authority: Some(None.into()),
        hypervisor: Some(false),
        // The node's own.
        share_folders: None,
        exports: None,
        smb_shares: None,
        smb_users: None,
        share_mounts: None,
        gpus: Some(Vec::new()),
        docker_hosts: Some(Vec::new()),
        portainer: Some(Maybe::There(told::Portainer {
            secret: told::Secret { secret: SecretRef::Generate(AGENT_SECRET.to_owned()) },
        })),
        // Each stack's own.
        stack: None,
        stack_secrets: None,
        // Each guest's own.
        resolvers: None,
    }
}

/// What is this guest's own.
pub(super) fn derive_for_guest(known: &Known<'_>, container: &Guest) -> Told {
    let Known { blueprint, parts, services, names, .. } = *known;
    let mut own = Told { resolvers: Some(resolvers(blueprint, container, parts)), ..Told::default() };
    own.share_mounts = super::shares::mounts(container);
    if !container.gpus.is_empty() {
        own.gpus = Some(gpus(blueprint, container));
    }
    let name = container.name.as_str();
    if parts.is_package_cache(name) {
        own.package_cache = Some(String::new());
    }
    if parts.identities.contains(name) {
        let certificate = identity_of(name);
        own.identity = Some(Maybe::There(told::Identity {
            name: own_name(&container.hostname, &blueprint.site.domain),
            certificate: chain(&certificate),
            key: key(&certificate),
        }));
    }
    let renewing = known.certificates_of(&container.name).iter().filter(|c| c.issuer != Issuer::Embedded);
    let renewing: Vec<_> = renewing.map(|certificate| renewed(certificate)).collect();
    if !renewing.is_empty() {
        own.certificates = Some(renewing);
        own.authority = known.certificates.authority.as_ref().map(|authority| {
            Maybe::There(told::Authority::Network(told::ByNetwork {
                url: authority.url.clone(),
                host: authority.host.clone(),
                provisioner: format!("guest-{name}"),
            }))
        });
    }
    if known.roots {
        own.readers = Some(readers(known.certificates_of(&container.name)));
    }
    let alone: BTreeSet<u16> =
        services.values().filter(|s| s.on == container.name && s.loopback).map(|s| s.port).collect();
    if !alone.is_empty() {
        own.loopback = Some(alone.into_iter().collect());
    }
    let shown = services.values().filter(|s| s.on == container.name && s.mutual);
    let proxies: BTreeSet<String> = shown
        .filter_map(|service| blueprint.guests.get(&service.via.as_ref()?.on))
        .map(|proxy| own_name(&proxy.hostname, &blueprint.site.domain))
        .collect();
    if !proxies.is_empty() {
        own.proxies = Some(proxies.into_iter().collect());
    }
    if parts.portainers.contains(name) {
        own.docker_hosts = Some(docker_hosts(blueprint, container, parts));
    }
    if parts.gateways.contains_key(name) {
        own.sites = Some(proxied(services, ViaKind::Gateway, name));
        own.streams = Some(streams(services, name));
    }
    if Parts::is(&parts.mesh, name) {
        own.routes = Some(proxied(services, ViaKind::Mesh, name));
    }
    if Parts::is(&parts.dns, name) {
        own.records = Some(records(blueprint, &names.inside));
        own.outside_records = Some(by_address(&names.outside));
    }
    if Parts::is(&parts.ca, name) {
        own.acme_names = Some(known.certificates.acme_names.iter().cloned().collect());
        own.node_names = Some(known.certificates.node_names.iter().cloned().collect());
    }
    // The authority does not wait for the name server, and still reaches everybody.
    if parts.dns.is_some() && Parts::is(&parts.ca, name) {
        own.names = Some(by_address(&names.inside));
    }
    own
}

/// The Docker hosts that the Portainer in this guest shows.
fn docker_hosts(blueprint: &Blueprint, container: &Guest, parts: &Parts) -> Vec<told::DockerHost> {
    let host = |guest: &Guest, address, port| told::DockerHost {
        name: guest.name.to_string(),
        address,
        port,
        tags: guest.tags.iter().cloned().collect(),
    };
    let own = address_of(container).map(|address| host(container, address, 0));
    let others = parts.agents.iter().filter(|(name, _)| **name != container.name);
    let others =
        others.filter_map(|(name, &(address, port))| Some(host(blueprint.guests.get(name)?, address, port)));
    own.into_iter().chain(others).collect()
}

/// The graphics cards that a guest uses.
fn gpus(blueprint: &Blueprint, container: &Guest) -> Vec<told::Gpu> {
    let cards = blueprint.hypervisor.as_ref().map(|hypervisor| &hypervisor.gpus);
    let told = container.gpus.iter().map(|used| {
        let card = cards.and_then(|cards| cards.get(&used.card));
        let installer = card.and_then(|card| card.installer.clone());
        let (url, sha256) = installer.map(|it| (it.url, it.sha256)).unwrap_or_default();
        told::Gpu {
            card: used.card.clone(),
            memory: used.memory_mib.map_or(0, |mib| mib * MIB),
            total: card.and_then(|card| card.memory_mib).map_or(0, |mib| mib * MIB),
            driver: card.and_then(|card| card.driver.clone()).unwrap_or_default(),
            url,
            sha256,
            gid: used.gid.unwrap_or(0),
            alone: card.is_some_and(|card| card.pass),
        }
    });
    told.collect()
}

/// The name servers a guest asks, where they are known.
pub(super) fn resolvers(blueprint: &Blueprint, container: &Guest, parts: &Parts) -> Vec<Ipv4Addr> {
    if let Some(own) = &container.nameservers {
        return own.clone();
    }
    if let Some((_, address)) = &parts.dns
        && !parts.resolves_alone(&container.name)
    {
        return vec![*address];
    }
    let mut all = Vec::new();
    for network in container.nets.values().filter_map(|nic| blueprint.networks.get(&**nic.network.as_ref()?))
    {
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
    for container in blueprint.guests.values() {
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
fn proxied(services: &Services, kind: ViaKind, on: &str) -> Vec<told::Site> {
    let through = |s: &Service| s.via.as_ref().is_some_and(|v| v.kind == kind && *v.on == *on);
    let behind = |s: &&Service| s.speaks != Speaks::Tcp && through(s);
    let mut all = Vec::new();
    for service in services.values().filter(behind) {
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
        upstream_address: service.upstream(),
        upstream_port: service.port,
        upstream_protocol: match service.speaks {
            Speaks::Https => told::Protocol::Https,
            Speaks::Http | Speaks::Tcp => told::Protocol::Http,
        },
        upstream_name: service.upstream_name.clone().unwrap_or_default(),
        websocket: service.websocket,
        security_headers: service.security_headers,
        mutual: service.mutual,
        client_certificate: service.client_certificate,
        client_names: service.client_names.clone(),
        users: users.collect(),
        body: service.limits.body_mib.map(|mib| mib * MIB),
        headers: service.limits.headers,
        timeout: service.limits.timeout,
        rate: service.limits.rate,
        burst: service.limits.burst,
    }
}

/// What the gateway in this guest passes on as TCP.
fn streams(services: &Services, on: &str) -> Vec<told::Stream> {
    let mut all = Vec::new();
    for service in services.values().filter(|s| s.speaks == Speaks::Tcp) {
        let Some(via) = service.gateway().filter(|via| *via.on == *on) else { continue };
        all.push(told::Stream {
            service: service.name.clone(),
            listen: via.port,
            tls: via.tls,
            names: service.hosts.clone(),
            certificate: chain(&service.name),
            key: key(&service.name),
            upstream_address: service.upstream(),
            upstream_port: service.port,
            timeout: service.limits.timeout,
        });
    }
    all
}
