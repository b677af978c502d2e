//! Certificates and who signs them: one for each service at its proxy, one for its public names, and one for each guest
//! that shows one itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use blueprint::catalog::CertificateUse;
use blueprint::model::{Authority as Signs, Blueprint, Guest, PVE, Target};

use super::parts::{Parts, address_of};
use super::services::{Names, Services, own_name};
use super::{Findings, Renderer, WireError, fingerprint, full_name};
use crate::address::Address;
use crate::desired::{Authority, Certificate, Issuer, Served, Service, Speaks};
use crate::host::Host;

/// How long certificates of public authorities live: the most that browsers take from them from 2026 on is 100 days or
/// less; what it really is, the authority decides. Source: CA/Browser Forum ballot SC-081.
const PUBLIC_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// The certificates of guests, and who signs them.
pub(super) struct Certificates {
    /// The fingerprint of the workshop's root.
    pub root: String,
    /// The authority in a guest, where one has it.
    pub authority: Option<Authority>,
    /// The certificates, by name.
    pub by_name: BTreeMap<String, Certificate>,
    /// What whoever answers for it may have certified by ACME.
    pub acme_names: BTreeSet<String>,
    /// What only a node may have certified.
    pub node_names: BTreeSet<String>,
}

/// The name of the certificate of a guest.
pub(super) fn identity_of(container: &str) -> String {
    format!("{container}.guest")
}

/// The name of the certificate of a service's public names.
pub(super) fn public_of(service: &str) -> String {
    format!("{service}.public")
}

/// The authority in a guest.
fn authority(blueprint: &Blueprint, parts: &Parts, root: &str) -> Option<Authority> {
    let (Some((on, _)), Signs::StepCa) = (&parts.ca, blueprint.certificates.authority) else { return None };
    let domain = blueprint.site.domain.clone();
    let host = full_name("ca", &domain);
    let life = blueprint.certificates.life;
    Some(Authority {
        on: on.clone(),
        url: format!("https://{host}"),
        // Not the life: a longer one changes what the CA allows, not who it is.
        fingerprint: fingerprint(&[root, on, &host]),
        host,
        domain,
        life,
    })
}

/// Who is told when a certificate of a guest is renewed: all of its features that use one.
struct Consumers {
    owner: Option<String>,
    /// A second owner, who could not read the key.
    other: Option<String>,
    reloads: BTreeSet<String>,
    restarts: BTreeSet<String>,
}

fn consumers(container: &Guest, renderer: &dyn Renderer, uses: impl Fn(&str) -> bool) -> Consumers {
    let mut all = Consumers { owner: None, other: None, reloads: BTreeSet::new(), restarts: BTreeSet::new() };
    for used in container.features.iter().filter(|used| uses(&used.name)) {
        let Some(CertificateUse { owner, reloads, restarts, .. }) = renderer.certificate(used) else {
            continue;
        };
        if all.owner.is_some() && owner.is_some() && all.owner != owner {
            all.other = owner;
        } else {
            all.owner = all.owner.or(owner);
        }
        all.reloads.extend(reloads);
        all.restarts.extend(restarts);
    }
    all
}

/// The authority and all certificates. `root_pem` is the workshop's root certificate.
pub(super) fn certificates(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    root_pem: &str,
    parts: &Parts,
    services: &Services,
    names: &Names,
    findings: &mut Findings,
) -> Certificates {
    let root = fingerprint(&[root_pem]);
    let issuer = if parts.self_renewing { Issuer::StepCa } else { Issuer::Embedded };
    let life = blueprint.certificates.life;
    let proxies = |name: &str| renderer.provides(name, "gateway") || renderer.provides(name, "mesh");
    let mut made = Vec::new();
    for service in services.values() {
        let Some(via) = service.via.as_ref().filter(|via| via.tls) else { continue };
        let Some(proxy) = blueprint.guests.get(&via.on) else { continue };
        let consumers = consumers(proxy, renderer, proxies);
        let mut add = |name: String, names: &[String], issuer: Issuer, life: Duration| {
            let served = Served {
                address: via.address,
                port: via.port,
                name: names.first().cloned().unwrap_or_default(),
            };
            made.push(certificate(name, names.to_vec(), life, proxy, issuer, &consumers, vec![served]));
        };
        add(service.name.clone(), &service.hosts, issuer, life);
        if !service.public.is_empty() {
            add(public_of(&service.name), &service.public, Issuer::Acme, PUBLIC_LIFE);
        }
    }
    for name in &parts.identities {
        let Some(container) = blueprint.guests.get(name) else { continue };
        let host = own_name(&container.hostname, &blueprint.site.domain);
        let consumers = consumers(container, renderer, |_| true);
        // A file has one group.
        if let (Some(one), Some(other)) = (&consumers.owner, &consumers.other) {
            findings.errors.push(WireError {
                address: Address::of_guest(container).to_string(),
                message: format!("its certificate's key would have to be read by both `{one}` and `{other}`"),
                hint: "put the features that speak TLS as different users on guests of their own".into(),
            });
        }
        let served = served_by(container, &host, services);
        // Whoever goes straight to the guest asks it for the service's name.
        let direct = |s: &&Service| s.on == *name && s.speaks == Speaks::Https && s.via.is_none();
        let hosts = services.values().filter(direct).flat_map(|s| s.hosts.iter().cloned());
        let names = std::iter::once(host).chain(hosts).collect();
        made.push(certificate(identity_of(name), names, life, container, issuer, &consumers, served));
    }
    let directory = blueprint.certificates.acme.as_ref().map_or("", |acme| acme.directory.as_str());
    let by_name = made.into_iter().map(|certificate| {
        let fingerprint = print(&certificate, &root, directory);
        (certificate.name.clone(), Certificate { fingerprint, ..certificate })
    });
    let by_name: BTreeMap<_, _> = by_name.collect();
    let node_names = node_names(blueprint);
    one_holder(&by_name, &node_names, findings);
    let acme_names = acme_names(blueprint, parts, names, &by_name, &node_names, findings);
    let authority = authority(blueprint, parts, &root);
    Certificates { authority, by_name, root, acme_names, node_names }
}

/// What nodes are called, as far as the blueprint says: the name that their certificate is for, and their host names.
fn node_names(blueprint: &Blueprint) -> BTreeSet<String> {
    let declared = blueprint.hypervisor.as_ref().map(|node| &*node.hostname);
    let first = match &blueprint.target {
        Target::Proxmox(target) => target.node.as_deref(),
        Target::Lab(_) => None,
    };
    let others = blueprint.guests.values().filter_map(|container| container.node.as_deref());
    let all = [PVE].into_iter().chain(declared).chain(first).chain(others);
    all.map(|name| full_name(name, &blueprint.site.domain)).collect()
}

/// A name is certified for one host alone, and a node's for no guest: whoever has a certificate for a name is taken for it.
fn one_holder(
    certificates: &BTreeMap<String, Certificate>,
    node_names: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let mut holders: BTreeMap<&str, &Certificate> = BTreeMap::new();
    for certificate in certificates.values() {
        for name in &certificate.names {
            let other = holders.insert(name, certificate).filter(|other| other.on != certificate.on);
            let taken = other.map(|other| format!("{} has one for it, too", other.on));
            let Some(why) = taken.or_else(|| node_names.contains(name).then(|| "a node is called so".into()))
            else {
                continue;
            };
            findings.errors.push(WireError {
                address: certificate.resource().to_string(),
                message: format!("{} would have a certificate for {name}, and {why}", certificate.on),
                hint: "rename one of them: whoever has a certificate for a name is taken for it".into(),
            });
        }
    }
}

/// The names that may be had by ACME: below the site's domain, and nobody else's.
fn acme_names(
    blueprint: &Blueprint,
    parts: &Parts,
    names: &Names,
    certificates: &BTreeMap<String, Certificate>,
    node_names: &BTreeSet<String>,
    findings: &mut Findings,
) -> BTreeSet<String> {
    let domain = &blueprint.site.domain;
    let mut all = BTreeSet::new();
    for written in &blueprint.certificates.acme_names {
        let name = full_name(written, domain);
        // As aliases are: one word, or a name of the domain.
        let outside = written.contains('.') && name != **written;
        let inner = name.strip_suffix(&**domain).filter(|_| !outside);
        let inner = inner.and_then(|inner| inner.strip_suffix('.'));
        let certified = certificates.values().find(|certificate| certificate.names.contains(&name));
        let why = match inner {
            None => Some(format!("it is not below the site's domain {domain}")),
            Some("ca" | "probe") => Some("it is the authority's own".to_owned()),
            Some("guest") => Some("it is kept for the guests' own names".to_owned()),
            Some(inner) if inner.ends_with(".guest") => {
                Some("it is kept for the guests' own names".to_owned())
            }
            Some(_) if node_names.contains(&name) => Some("a node is called so".to_owned()),
            Some(_) if certified.is_some() => {
                certified.map(|certificate| format!("{} has a certificate for it", certificate.on))
            }
            Some(_) if names.inside.contains_key(&name) => Some("it leads to a guest of the site".to_owned()),
            Some(_) => None,
        };
        if let Some(why) = why {
            let on = parts.ca.as_ref().map_or_else(|| "ca".to_owned(), |(on, _)| on.to_string());
            findings.errors.push(WireError {
                address: Address::authority(&on).to_string(),
                message: format!(
                    "`acme-names` has {written}, for which nobody can be certified by ACME: {why}"
                ),
                hint: "take it out of `certificates.acme-names`: what is there is for whoever answers".into(),
            });
        }
        all.insert(name);
    }
    all
}

fn certificate(
    name: String,
    names: Vec<String>,
    life: Duration,
    on: &Guest,
    issuer: Issuer,
    consumers: &Consumers,
    served: Vec<Served>,
) -> Certificate {
    Certificate {
        name,
        names,
        life,
        on: Host::of_guest(on),
        issuer,
        owner: consumers.owner.clone(),
        reloads: consumers.reloads.iter().cloned().collect(),
        restarts: consumers.restarts.iter().cloned().collect(),
        served,
        fingerprint: String::new(),
    }
}

/// Where a guest shows its own certificate: the ports of its services that speak HTTPS.
fn served_by(container: &Guest, host: &str, services: &Services) -> Vec<Served> {
    let Some(address) = address_of(container) else { return Vec::new() };
    services
        .values()
        .filter(|s| s.on == container.name && s.speaks == Speaks::Https)
        .map(|s| Served { address, port: s.port, name: host.to_owned() })
        .collect()
}

/// Names, life and authority: what a certificate is made anew for.
pub(super) fn print(certificate: &Certificate, root: &str, directory: &str) -> String {
    let seconds = certificate.life.as_secs().to_string();
    let mut parts = match certificate.issuer {
        Issuer::Acme => vec!["acme", directory],
        Issuer::StepCa | Issuer::Embedded => vec![root, &seconds],
    };
    parts.extend(certificate.names.iter().map(String::as_str));
    if certificate.issuer == Issuer::StepCa {
        parts.push("step-ca");
    }
    fingerprint(&parts)
}
