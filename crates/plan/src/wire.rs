//! Wiring: a service is declared once, and its name, its certificate, its place in the gateway, what it resolves to
//! and its probe are derived from that (promise 4; P-30, P-43, P-55). Pure: from the blueprint to the desired state.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use blueprint::model::{self, Blueprint, Expose, FeatureUse, NicAddress};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::desired::{self, Certificate, Container, Desired, Feature, Nic, Service};
use crate::graph::{EdgeKind, Graph};
use crate::mark::TAG;

/// The folder in a guest that holds its certificates, one folder each.
pub const CERTIFICATES: &str = "/etc/phoenix/certificates";

/// Facts of a guest that templates of features can use.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GuestFacts {
    /// The name in the blueprint.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// The host name.
    pub hostname: String,
    /// The host name with the domain.
    pub fqdn: String,
    /// The first fixed address, or empty.
    pub address: String,
}

/// Facts of the site that templates of features can use.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SiteFacts {
    /// The site's name.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Its time zone, or empty.
    pub timezone: String,
}

/// Turns the use of a feature into what its crew carries out. Pure; implemented where features are rendered.
pub trait Renderer {
    /// The features of a guest with those they require put in before them, in order.
    ///
    /// # Errors
    /// When one is unknown or they require each other in a circle.
    fn order(&self, uses: &[FeatureUse]) -> Result<Vec<FeatureUse>, WireError>;

    /// Fingerprint and payload of a feature on a guest. `derived` has a value for everything wiring knows, by name.
    ///
    /// # Errors
    /// When a template cannot be rendered.
    fn render(
        &self,
        feature: &FeatureUse,
        derived: &BTreeMap<String, Value>,
        guest: &GuestFacts,
        site: &SiteFacts,
    ) -> Result<(String, std::sync::Arc<Value>), WireError>;

    /// Whether the feature offers `what`, such as `gateway`.
    fn provides(&self, feature: &str, what: &str) -> bool;
}

/// What cannot be wired.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {message}")]
pub struct WireError {
    /// The resource.
    pub address: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A MAC address derived from the site, the guest and the slot: unicast and locally administered (IEEE 802, second
/// lowest bit of the first octet), so that a rebuilt guest keeps its own (T-8).
pub fn mac(site: &str, guest: &Address, slot: u8) -> String {
    let hash = Sha256::digest(format!("{site}/{guest}/net{slot}"));
    let first = (hash[0] & 0xfc) | 0x02;
    format!("{first:02X}:{:02X}:{:02X}:{:02X}:{:02X}:{:02X}", hash[1], hash[2], hash[3], hash[4], hash[5])
}

/// Ids for guests that declare none: six digits derived from the name, the next free one where two meet.
fn ids(blueprint: &Blueprint) -> BTreeMap<String, u32> {
    let mut taken: BTreeSet<u32> = blueprint.containers.values().filter_map(|c| c.id).collect();
    let mut ids = BTreeMap::new();
    for (name, container) in &blueprint.containers {
        let id = container.id.unwrap_or_else(|| {
            let hash = Sha256::digest(format!("{}/{}", blueprint.site.name, Address::container(name)));
            let start = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % 900_000;
            (0..900_000)
                .map(|n| 100_000 + (start + n) % 900_000)
                .find(|id| !taken.contains(id))
                .unwrap_or(100_000)
        });
        taken.insert(id);
        ids.insert(name.clone(), id);
    }
    ids
}

/// A short fingerprint: the first 12 hexadecimal digits of a SHA-256.
pub fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..6].iter().map(|b| format!("{b:02x}")).collect()
}

fn full_name(name: &str, domain: &str) -> String {
    if name == domain || name.ends_with(&format!(".{domain}")) {
        name.to_owned()
    } else {
        format!("{name}.{domain}")
    }
}

/// Works out everything that follows from the blueprint. `root_pem` is the workshop's root certificate.
///
/// # Errors
/// When something cannot be wired: all that is found at once.
pub fn wire(
    blueprint: &Blueprint,
    root_pem: &str,
    renderer: &dyn Renderer,
) -> Result<Desired, Vec<WireError>> {
    let mut errors = Vec::new();
    let ids = ids(blueprint);
    let domain = &blueprint.site.domain;
    let mut desired = Desired {
        site: blueprint.site.name.clone(),
        domain: domain.clone(),
        node: match &blueprint.target {
            model::Target::Proxmox(target) => target.node.clone(),
            model::Target::Lab(_) => None,
        },
        ..Desired::default()
    };
    let gateway = blueprint
        .containers
        .values()
        .find(|c| c.features.iter().any(|f| renderer.provides(&f.name, "gateway")))
        .and_then(|c| Some((c.name.clone(), address_of(c)?)));

    services(blueprint, gateway.as_ref(), &mut desired, &mut errors);
    names(blueprint, gateway.as_ref(), &mut desired);
    let root_fingerprint = fingerprint(&[root_pem]);
    certificates(blueprint, gateway.as_ref(), &root_fingerprint, &mut desired);

    // Two sets of values for all guests, made once: the gateway is told what it serves.
    let mut derived = derived_everywhere(blueprint, root_pem, &desired);
    derived.insert("sites".into(), Value::Array(Vec::new()));
    let mut derived_gateway = derived.clone();
    derived_gateway.insert("sites".into(), derived_sites(&desired));
    let site = SiteFacts {
        name: blueprint.site.name.clone(),
        domain: domain.clone(),
        timezone: blueprint.site.timezone.clone().unwrap_or_default(),
    };
    for container in blueprint.containers.values() {
        let is_gateway = gateway.as_ref().is_some_and(|(name, _)| *name == container.name);
        let derived = if is_gateway { &derived_gateway } else { &derived };
        match contain(blueprint, container, ids[&container.name], derived, &site, renderer) {
            Ok(done) => {
                desired.containers.insert(container.name.clone(), done);
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    path_fingerprints(&mut desired);
    desired.graph = graph(blueprint, &desired, renderer);
    if let Some(circle) = desired.graph.circle() {
        let names: Vec<_> = circle.iter().map(Address::as_str).collect();
        return Err(vec![WireError {
            address: names.first().copied().unwrap_or_default().to_owned(),
            message: format!("these need each other in a circle: {}", names.join(" → ")),
            hint: "remove one of the `needs` among them".into(),
        }]);
    }
    Ok(desired)
}

fn address_of(container: &model::Container) -> Option<Ipv4Addr> {
    container.nets.values().find_map(|nic| match nic.address {
        NicAddress::Static(inet) => Some(inet.address()),
        NicAddress::Dhcp => None,
    })
}

fn services(
    blueprint: &Blueprint,
    gateway: Option<&(String, Ipv4Addr)>,
    desired: &mut Desired,
    errors: &mut Vec<WireError>,
) {
    for container in blueprint.containers.values() {
        for service in container.services.values().filter(|s| desired::exposed(s.expose)) {
            let Some(address) = address_of(container) else {
                errors.push(WireError {
                    address: Address::service(&service.name).to_string(),
                    message: format!("{} has no fixed address, so nothing can lead to it", container.name),
                    hint: format!("give container.{} an `address`", container.name),
                });
                continue;
            };
            let through = match service.expose {
                Expose::Gateway => gateway.cloned(),
                _ => None,
            };
            if service.expose == Expose::Gateway && through.is_none() {
                errors.push(WireError {
                    address: Address::service(&service.name).to_string(),
                    message: "is exposed by the gateway, but no container is one".into(),
                    hint: "add the feature `nginx-gateway` to a container with a fixed address".into(),
                });
                continue;
            }
            let hosts = std::iter::once(&service.name)
                .chain(&service.aliases)
                .map(|n| full_name(n, &blueprint.site.domain))
                .collect();
            desired.services.insert(
                service.name.clone(),
                Service {
                    name: service.name.clone(),
                    on: container.name.clone(),
                    hosts,
                    address,
                    port: service.port,
                    tls: desired::speaks_tls(service.protocol),
                    gateway: through,
                    probe_path: service.probe_path.clone(),
                    probe_status: service.probe_status,
                    fingerprint: String::new(),
                },
            );
        }
    }
}

fn names(blueprint: &Blueprint, gateway: Option<&(String, Ipv4Addr)>, desired: &mut Desired) {
    for container in blueprint.containers.values() {
        if let Some(address) = address_of(container) {
            desired.names.insert(full_name(&container.hostname, &blueprint.site.domain), address);
        }
    }
    // A service's name wins over its guest's: that is where clients are meant to go.
    for service in desired.services.values() {
        let address = match (&service.gateway, gateway) {
            (Some((_, address)), _) => *address,
            (None, _) => service.address,
        };
        for host in &service.hosts {
            desired.names.insert(host.clone(), address);
        }
    }
}

fn certificates(
    blueprint: &Blueprint,
    gateway: Option<&(String, Ipv4Addr)>,
    root_fingerprint: &str,
    desired: &mut Desired,
) {
    let Some((on, _)) = gateway else { return };
    let life = blueprint.certificates.life;
    for service in desired.services.values().filter(|s| s.gateway.is_some()) {
        let seconds = life.as_secs().to_string();
        let mut parts = vec![root_fingerprint, &seconds];
        parts.extend(service.hosts.iter().map(String::as_str));
        desired.certificates.insert(
            service.name.clone(),
            Certificate {
                name: service.name.clone(),
                names: service.hosts.clone(),
                life,
                on: on.clone(),
                fingerprint: fingerprint(&parts),
            },
        );
    }
}

/// What wiring knows for every guest, by the names features declare as `derived`.
fn derived_everywhere(blueprint: &Blueprint, root_pem: &str, desired: &Desired) -> BTreeMap<String, Value> {
    let mut by_address: BTreeMap<Ipv4Addr, Vec<&str>> = BTreeMap::new();
    for (name, address) in &desired.names {
        by_address.entry(*address).or_default().push(name);
    }
    let names: Vec<Value> = by_address
        .into_iter()
        .map(|(address, names)| json!({ "address": address.to_string(), "names": names }))
        .collect();
    BTreeMap::from([
        ("names".to_owned(), Value::Array(names)),
        ("root".to_owned(), Value::String(root_pem.to_owned())),
        ("domain".to_owned(), Value::String(blueprint.site.domain.clone())),
    ])
}

/// What the gateway serves.
fn derived_sites(desired: &Desired) -> Value {
    desired
        .services
        .values()
        .filter(|s| s.gateway.is_some())
        .map(|s| {
            json!({
                "service": s.name,
                "names": s.hosts,
                "upstream_address": s.address.to_string(),
                "upstream_port": s.port,
                "upstream_protocol": if s.tls { "https" } else { "http" },
                "certificate": format!("{CERTIFICATES}/{}/fullchain.pem", s.name),
                "key": format!("{CERTIFICATES}/{}/key.pem", s.name),
            })
        })
        .collect()
}

fn contain(
    blueprint: &Blueprint,
    container: &model::Container,
    id: u32,
    derived: &BTreeMap<String, Value>,
    site: &SiteFacts,
    renderer: &dyn Renderer,
) -> Result<Container, WireError> {
    let resource = Address::container(&container.name);
    let mut nets = BTreeMap::new();
    let mut nameservers = Vec::new();
    for (slot, nic) in &container.nets {
        let Some(network) = blueprint.networks.get(&nic.network) else {
            return Err(WireError {
                address: resource.to_string(),
                message: format!("there is no network `{}`", nic.network),
                hint: "declare it under `networks`".into(),
            });
        };
        for server in &network.nameservers {
            if !nameservers.contains(server) {
                nameservers.push(*server);
            }
        }
        nets.insert(
            *slot,
            Nic {
                name: nic.name.clone(),
                bridge: network.bridge.clone(),
                mac: nic.mac.map_or_else(
                    || mac(&blueprint.site.name, &resource, *slot),
                    |m| m.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"),
                ),
                ip: match nic.address {
                    NicAddress::Static(inet) => format!("{}/{}", inet.address(), inet.network_length()),
                    NicAddress::Dhcp => "dhcp".to_owned(),
                },
                // Only one default route: that of the first device.
                gateway: match nic.address {
                    NicAddress::Static(_) if *slot == first_slot(container) => network.gateway,
                    _ => None,
                },
                vlan: network.vlan,
                firewall: nic.firewall,
                mtu: nic.mtu,
            },
        );
    }
    let facts = GuestFacts {
        name: container.name.clone(),
        id,
        hostname: container.hostname.clone(),
        fqdn: full_name(&container.hostname, &site.domain),
        address: address_of(container).map(|a| a.to_string()).unwrap_or_default(),
    };
    let mut features = Vec::new();
    for used in renderer.order(&container.features)? {
        let (fingerprint, payload) = renderer.render(&used, derived, &facts, site)?;
        let declared = container.features.iter().find(|f| f.name == used.name).map(|f| f.declared.clone());
        features.push(Feature { name: used.name, fingerprint, payload, declared });
    }
    let mut tags: BTreeSet<String> = container.tags.iter().map(|t| t.to_lowercase()).collect();
    tags.insert(TAG.to_owned());
    Ok(Container {
        name: container.name.clone(),
        id,
        node: container.node.clone(),
        hostname: container.hostname.clone(),
        template: container.template.clone(),
        cores: container.cores,
        memory_mib: container.memory_mib,
        swap_mib: container.swap_mib,
        disk: container.disk.clone(),
        nets,
        mounts: container.mounts.clone(),
        options: container.options.clone(),
        onboot: container.onboot,
        startup: container.startup,
        tags,
        description: container.description.clone().unwrap_or_default(),
        unprivileged: container.unprivileged,
        protected: container.protected,
        pool: container.pool.clone(),
        nameservers,
        searchdomain: site.domain.clone(),
        address: address_of(container),
        features,
        declared: container.declared.clone(),
    })
}

fn first_slot(container: &model::Container) -> u8 {
    container.nets.keys().next().copied().unwrap_or(0)
}

/// The fingerprint of everything a request passes: when any of it changes, the service is proven anew.
fn path_fingerprints(desired: &mut Desired) {
    let feature_prints = |name: &str| -> String {
        desired
            .containers
            .get(name)
            .map(|c| c.features.iter().map(|f| f.fingerprint.as_str()).collect::<Vec<_>>().join(","))
            .unwrap_or_default()
    };
    let mut prints = BTreeMap::new();
    for service in desired.services.values() {
        let gateway =
            service.gateway.as_ref().map(|(name, address)| format!("{address} {}", feature_prints(name)));
        let certificate = desired.certificates.get(&service.name).map(|c| c.fingerprint.clone());
        let probe = format!("{} {:?}", service.probe_path, service.probe_status);
        prints.insert(
            service.name.clone(),
            fingerprint(&[
                &service.hosts.join(","),
                &format!("{}:{} {}", service.address, service.port, service.tls),
                &feature_prints(&service.on),
                gateway.as_deref().unwrap_or_default(),
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

fn graph(blueprint: &Blueprint, desired: &Desired, renderer: &dyn Renderer) -> Graph {
    let mut graph = Graph::default();
    for container in desired.containers.values() {
        let guest = container.resource();
        graph.add(guest.clone());
        let mut before: Option<Address> = None;
        for feature in &container.features {
            let address = Address::feature(&feature.name, &guest);
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
            let name = need.strip_prefix("container.").unwrap_or(need);
            let Some(other) = desired.containers.get(name) else { continue };
            // Healthy means: made, and everything in it installed.
            match other.features.last() {
                Some(last) => {
                    graph.edge(&guest, &Address::feature(&last.name, &other.resource()), EdgeKind::Needs);
                }
                None => graph.edge(&guest, &other.resource(), EdgeKind::Needs),
            }
            graph.edge(&guest, &other.resource(), EdgeKind::BootsAfter);
        }
    }
    for certificate in desired.certificates.values() {
        let address = Address::certificate(&certificate.name);
        let guest = Address::container(&certificate.on);
        graph.edge(&address, &guest, EdgeKind::Needs);
        // The consumer comes after what it consumes (P-03): CA, leaf, gateway.
        for feature in desired.containers.get(&certificate.on).into_iter().flat_map(|c| &c.features) {
            if renderer.provides(&feature.name, "gateway") {
                graph.edge(&Address::feature(&feature.name, &guest), &address, EdgeKind::Needs);
            }
        }
    }
    for service in desired.services.values() {
        let address = Address::service(&service.name);
        let through = service.gateway.iter().map(|(name, _)| name);
        for name in std::iter::once(&service.on).chain(through) {
            let Some(container) = desired.containers.get(name) else { continue };
            graph.edge(&address, &container.resource(), EdgeKind::Needs);
            if let Some(last) = container.features.last() {
                graph.edge(&address, &Address::feature(&last.name, &container.resource()), EdgeKind::Needs);
            }
        }
        if desired.certificates.contains_key(&service.name) {
            graph.edge(&address, &Address::certificate(&service.name), EdgeKind::Needs);
        }
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;

    // T-8: a rebuilt guest keeps its MAC, and it is one nobody else is given.
    #[test]
    fn derived_macs_are_stable_unicast_and_local() {
        let one = mac("workshop", &Address::container("notes"), 0);
        assert_eq!(one, mac("workshop", &Address::container("notes"), 0));
        assert_ne!(one, mac("workshop", &Address::container("notes"), 1));
        assert_ne!(one, mac("other", &Address::container("notes"), 0));
        let first = u8::from_str_radix(&one[..2], 16).unwrap();
        assert_eq!(first & 0b11, 0b10);
    }

    #[test]
    fn names_below_the_domain_are_completed_once() {
        assert_eq!(full_name("notes", "workshop.internal"), "notes.workshop.internal");
        assert_eq!(full_name("a.workshop.internal", "workshop.internal"), "a.workshop.internal");
    }

    #[test]
    fn fingerprints_tell_parts_apart() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
