//! Services, the way to them, and what names resolve to.

use std::collections::BTreeMap;

use blueprint::model::{self, Blueprint, Expose, Protocol};

use super::parts::{Parts, address_of};
use super::{WireError, fingerprint, full_name};
use crate::address::Address;
use crate::desired::{Desired, Limits, Rate, Service, Speaks, Via, ViaKind};

/// Where both proxies take HTTPS.
pub(super) const HTTPS: u16 = 443;

/// The name in a guest's own certificate: always direct, whatever its services are called.
pub(super) fn own_name(hostname: &str, domain: &str) -> String {
    format!("{hostname}.guest.{domain}")
}

pub(super) fn services(
    blueprint: &Blueprint,
    parts: &Parts,
    desired: &mut Desired,
    errors: &mut Vec<WireError>,
) {
    for container in blueprint.containers.values() {
        for service in container.services.values().filter(|s| s.expose != Expose::None) {
            match wired(blueprint, container, service, parts) {
                Ok(service) => {
                    if service.speaks == Speaks::Https
                        && service.via.is_some()
                        && service.upstream_name.is_none()
                    {
                        desired.notes.push(format!(
                            "the proxy of {} cannot verify it: no feature of container.{} uses the guest's certificate",
                            Address::service(&service.name),
                            container.name
                        ));
                    }
                    desired.services.insert(service.name.clone(), service);
                }
                Err((message, hint)) => errors.push(WireError {
                    address: Address::service(&service.name).to_string(),
                    message,
                    hint,
                }),
            }
        }
    }
}

fn wired(
    blueprint: &Blueprint,
    container: &model::Container,
    service: &model::Service,
    parts: &Parts,
) -> Result<Service, (String, String)> {
    let address = address_of(container).ok_or_else(|| {
        let message = format!("{} has no fixed address, so nothing can lead to it", container.name);
        (message, format!("give container.{} an `address`", container.name))
    })?;
    let tcp = service.protocol == Protocol::Tcp;
    let through = |kind: ViaKind, feature: &str| match parts.proxy(service) {
        Some((on, address)) => Ok(Some(Via {
            kind,
            on,
            address,
            port: if tcp { service.listen } else { HTTPS },
            tls: !tcp || service.tls,
        })),
        None => Err((
            format!("is exposed by the {}, but no container is one", kind.as_str()),
            format!("add the feature `{feature}` to a container with a fixed address"),
        )),
    };
    let via = match service.expose {
        Expose::Gateway => through(ViaKind::Gateway, "nginx-gateway")?,
        Expose::Mesh => through(ViaKind::Mesh, "traefik")?,
        Expose::Direct | Expose::None => None,
    };
    let domain = &blueprint.site.domain;
    let aliases = service.aliases.iter().map(|alias| &**alias);
    let hosts = std::iter::once(&*service.name).chain(aliases).map(|name| full_name(name, domain));
    Ok(Service {
        name: service.name.clone(),
        on: container.name.clone(),
        hosts: hosts.collect(),
        public: service.public.iter().map(ToString::to_string).collect(),
        address,
        port: service.port,
        speaks: match service.protocol {
            Protocol::Http => Speaks::Http,
            Protocol::Https => Speaks::Https,
            Protocol::Tcp => Speaks::Tcp,
        },
        via,
        upstream_name: (service.protocol == Protocol::Https && parts.identities.contains(&container.name))
            .then(|| own_name(&container.hostname, domain)),
        mutual: service.mutual,
        client_certificate: service.client_certificate,
        users: service.users.clone(),
        limits: Limits {
            body_mib: service.limits.body_mib,
            headers: service.limits.headers,
            timeout: service.limits.timeout.map(|t| t.as_secs()),
            rate: service.limits.rate.map(|rate| Rate {
                requests: rate.requests,
                per_seconds: if rate.per_minute { 60 } else { 1 },
            }),
            burst: service.limits.burst,
        },
        probe_path: service.probe_path.clone(),
        probe_status: service.probe_status,
        fingerprint: String::new(),
    })
}

/// What names resolve to, inside and outside.
pub(super) fn names(blueprint: &Blueprint, parts: &Parts, desired: &mut Desired) {
    let domain = &blueprint.site.domain;
    for container in blueprint.containers.values() {
        let Some(address) = address_of(container) else { continue };
        desired.names.insert(full_name(&container.hostname, domain), address);
        // With a name server, every guest has its own name; without one, those whose certificate carries it.
        if parts.dns.is_some() || parts.identities.contains(&container.name) {
            desired.names.insert(own_name(&container.hostname, domain), address);
        }
    }
    if let Some(node) = &blueprint.hypervisor
        && let Some(address) = node.address
    {
        let name = full_name(&node.hostname, domain);
        desired.outside_names.insert(name.clone(), address);
        desired.names.insert(name, address);
    }
    // Always direct (P-44).
    if let Some((_, address)) = &parts.ca {
        desired.names.insert(full_name("ca", domain), *address);
    }
    // A service's name wins over its guest's: that is where clients are meant to go.
    for service in desired.services.values() {
        let (address, _) = service.entrance();
        let outside = !service.via.as_ref().is_some_and(|via| via.kind == ViaKind::Mesh);
        for host in service.hosts.iter().chain(&service.public) {
            desired.names.insert(host.clone(), address);
            if outside {
                desired.outside_names.insert(host.clone(), address);
            }
        }
    }
}

/// The fingerprint of everything a request passes: when any of it changes, the service is proven anew.
pub(super) fn path_fingerprints(desired: &mut Desired) {
    let feature_prints = |name: &str| -> String {
        desired
            .guests
            .get(name)
            .map(|c| c.features.iter().map(|f| f.fingerprint.as_str()).collect::<Vec<_>>().join(","))
            .unwrap_or_default()
    };
    let mut prints = BTreeMap::new();
    for service in desired.services.values() {
        let via = service
            .via
            .as_ref()
            .map(|via| format!("{}:{} {}", via.address, via.port, feature_prints(&via.on)));
        let certificate = desired.certificates.get(&service.name).map(|c| c.fingerprint.clone());
        let probe = format!("{} {:?}", service.probe_path, service.probe_status);
        prints.insert(
            service.name.clone(),
            fingerprint(&[
                &service.hosts.join(","),
                &format!("{}:{} {:?}", service.address, service.port, service.speaks),
                &feature_prints(&service.on),
                via.as_deref().unwrap_or_default(),
                certificate.as_deref().unwrap_or_default(),
                &probe,
            ]),
        );
    }
    for (name, print) in prints {
        if let Some(service) = desired.services.get_mut(&name) {
            service.fingerprint = print;
        }
    }
}
