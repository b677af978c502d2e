//! Services, the way to them, and what names resolve to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use blueprint::loopback;
use blueprint::model::{self, Blueprint, Expose, Protocol};
use blueprint::names::GuestName;

use super::certificates::Certificates;
use super::parts::{Parts, address_of};
use super::{Findings, WireError, fingerprint, full_name};
use crate::address::Address;
use crate::desired::{Guest, Limits, Rate, Service, Speaks, Stack, Via, ViaKind};

/// Where both proxies take HTTPS.
pub(super) const HTTPS: u16 = 443;

/// The name in a guest's own certificate: always direct, whatever its services are called.
pub(super) fn own_name(hostname: &str, domain: &str) -> String {
    format!("{hostname}.guest.{domain}")
}

/// The services and who leads to them, without fingerprints: these are of what is in guests, too, and come once that is
/// known.
pub(super) struct Services(BTreeMap<String, Service>);

impl Services {
    /// Each of them.
    pub(super) fn values(&self) -> impl Iterator<Item = &Service> {
        self.0.values()
    }

    /// With the fingerprint of everything a request passes: when any of it changes, the service is proven anew.
    pub(super) fn fingerprinted(
        self,
        guests: &BTreeMap<GuestName, Guest>,
        stacks: &BTreeMap<String, Stack>,
        certificates: &Certificates,
    ) -> BTreeMap<String, Service> {
        let print = |service: Service| Service {
            fingerprint: path_fingerprint(&service, guests, stacks, certificates),
            ..service
        };
        self.0.into_iter().map(|(name, service)| (name, print(service))).collect()
    }
}

/// What names resolve to.
pub(super) struct Names {
    /// For those inside the workshop: every name.
    pub inside: BTreeMap<String, Ipv4Addr>,
    /// For those outside: only what they may use.
    pub outside: BTreeMap<String, Ipv4Addr>,
}

/// All services that somebody else may use.
pub(super) fn services(blueprint: &Blueprint, parts: &Parts, findings: &mut Findings) -> Services {
    let mut services = BTreeMap::new();
    for container in blueprint.guests.values() {
        let here = |s: &model::Service| parts.proxy(s).is_some_and(|(proxy, _)| proxy == container.name);
        let feature = |name: &str| blueprint.features.get(name).map(AsRef::as_ref);
        let of_its_proxy = loopback::ports(container, &blueprint.flows, here, feature);
        for service in container.services.values().filter(|s| s.expose != Expose::None) {
            let Some(service) = findings.ok(wired(blueprint, container, service, parts)) else { continue };
            let loopback = of_its_proxy.contains(&service.port);
            services.insert(service.name.clone(), Service { loopback, ..service });
        }
    }
    Services(services)
}

fn wired(
    blueprint: &Blueprint,
    container: &model::Guest,
    service: &model::Service,
    parts: &Parts,
) -> Result<Service, WireError> {
    let error = |message: String, hint: String| WireError {
        address: Address::service(&service.name).to_string(),
        message,
        hint,
    };
    let address = address_of(container).ok_or_else(|| {
        let message = format!("{} has no fixed address, so nothing can lead to it", container.name);
        error(message, format!("give container.{} an `address`", container.name))
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
        None => Err(error(
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
    let verified = service.protocol == Protocol::Https && (via.is_none() || service.verify);
    let upstream_name = match parts.identities.contains(&container.name) {
        true => verified.then(|| own_name(&container.hostname, domain)),
        false if verified && via.is_some() => {
            return Err(error(
                format!(
                    "its proxy cannot verify it: no feature of container.{} uses the guest's own certificate",
                    container.name
                ),
                "let the feature that serves it speak TLS with it, or say `\"verify\": false` at the service"
                    .into(),
            ));
        }
        false => None,
    };
    let aliases = service.aliases.iter().map(|alias| &**alias);
    let hosts = std::iter::once(&*service.name).chain(aliases).map(|name| full_name(name, domain));
    Ok(Service {
        name: service.name.clone(),
        on: container.name.clone(),
        stack: service.stack.clone(),
        hosts: hosts.collect(),
        public: service.public.iter().map(ToString::to_string).collect(),
        address,
        port: service.port,
        loopback: false,
        speaks: match service.protocol {
            Protocol::Http => Speaks::Http,
            Protocol::Https => Speaks::Https,
            Protocol::Tcp => Speaks::Tcp,
        },
        via,
        upstream_name,
        websocket: service.websocket,
        security_headers: service.security_headers,
        mutual: service.mutual,
        client_certificate: service.client_certificate,
        client_names: service
            .client_names
            .iter()
            .map(|name| match blueprint.guests.get(&**name) {
                Some(client) => own_name(&client.hostname, domain),
                None => full_name(name, domain),
            })
            .collect(),
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
pub(super) fn names(blueprint: &Blueprint, parts: &Parts, services: &Services) -> Names {
    let domain = &blueprint.site.domain;
    let (mut inside, mut outside) = (BTreeMap::new(), BTreeMap::new());
    for container in blueprint.guests.values() {
        let Some(address) = address_of(container) else { continue };
        inside.insert(full_name(&container.hostname, domain), address);
        // With a name server, every guest has its own name; without one, those whose certificate carries it.
        if parts.dns.is_some() || parts.identities.contains(&container.name) {
            inside.insert(own_name(&container.hostname, domain), address);
        }
    }
    if let Some(node) = &blueprint.hypervisor
        && let Some(address) = node.address
    {
        let name = full_name(&node.hostname, domain);
        outside.insert(name.clone(), address);
        inside.insert(name, address);
    }
    // Always direct (P-44).
    if let Some((_, address)) = &parts.ca {
        inside.insert(full_name("ca", domain), *address);
    }
    // A service's name wins over its guest's: that is where clients are meant to go.
    for service in services.values() {
        let (address, _) = service.entrance();
        let from_outside = !service.via.as_ref().is_some_and(|via| via.kind == ViaKind::Mesh);
        for host in service.hosts.iter().chain(&service.public) {
            inside.insert(host.clone(), address);
            if from_outside {
                outside.insert(host.clone(), address);
            }
        }
    }
    Names { inside, outside }
}

fn path_fingerprint(
    service: &Service,
    guests: &BTreeMap<GuestName, Guest>,
    stacks: &BTreeMap<String, Stack>,
    certificates: &Certificates,
) -> String {
    let feature_prints = |name: &GuestName| -> String {
        guests
            .get(name)
            .map(|c| c.features.iter().map(|f| f.fingerprint.as_str()).collect::<Vec<_>>().join(","))
            .unwrap_or_default()
    };
    let via =
        service.via.as_ref().map(|via| format!("{}:{} {}", via.address, via.port, feature_prints(&via.on)));
    let certificate = certificates.by_name.get(&service.name).map(|c| c.fingerprint.as_str());
    let stack = service.stack.as_ref().and_then(|stack| stacks.get(stack));
    let of_stack = stack.map(|stack| format!(" {}", stack.feature.fingerprint)).unwrap_or_default();
    fingerprint(&[
        &service.hosts.join(","),
        &format!("{}:{} {:?}", service.upstream(), service.port, service.speaks),
        &(feature_prints(&service.on) + &of_stack),
        via.as_deref().unwrap_or_default(),
        certificate.unwrap_or_default(),
        &format!("{} {:?}", service.probe_path, service.probe_status),
    ])
}
