//! Containers, definite, with their features rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use blueprint::model::{self, Blueprint, FeatureUse, NicAddress, RENEWS, Startup};
use blueprint::names::GuestName;

use super::derived::{self, Known, key, resolvers};
use super::parts::address_of;
use super::{Derived, Findings, GuestFacts, Renderer, SiteFacts, WireError, full_name, mac, values};
use crate::address::Address;
use crate::desired::{Certificate, Feature, Guest, Issuer, Nic};
use crate::host::Host;
use crate::mark::TAG;

/// All guests, definite, by name.
pub(super) fn guests(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    ids: &BTreeMap<GuestName, u32>,
    places: &BTreeMap<GuestName, Startup>,
    known: &Known<'_>,
    findings: &mut Findings,
) -> BTreeMap<GuestName, Guest> {
    let mut guests = BTreeMap::new();
    for container in blueprint.guests.values() {
        let place = places.get(&container.name).copied().unwrap_or_default();
        let guest = definite(blueprint, renderer, container, (ids[&container.name], place), known);
        if let Some(guest) = findings.ok(guest) {
            guests.insert(container.name.clone(), guest);
        }
    }
    guests
}

fn definite(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    container: &Arc<model::Guest>,
    (id, startup): (u32, Startup),
    known: &Known<'_>,
) -> Result<Guest, WireError> {
    let own = values(Address::of_guest(container), &derived::derive_for_guest(known, container))?;
    let derived = Derived { common: &known.common, own: &own };
    let certificates = known.certificates_of(&container.name);
    let (facts, site) = facts(container, id, known);
    let address = address_of(container);
    // The node keeps capitals or not, as its datacenter's `tag-style` says; they make no difference here.
    let tags = container.tags.iter().filter(|tag| !tag.eq_ignore_ascii_case(TAG));
    let spelled = tags.map(|tag| (tag.to_lowercase(), tag.clone())).chain([(TAG.to_owned(), TAG.to_owned())]);
    let tags = spelled.collect::<BTreeMap<_, _>>().into_values().collect();
    Ok(Guest {
        kind: container.kind(),
        id,
        golden: blueprint.is_golden(&container.name),
        nets: nets(blueprint, container)?,
        tags,
        nameservers: resolvers(blueprint, container, known.parts),
        searchdomain: match &container.search_domains {
            Some(domains) => domains.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            None => blueprint.site.domain.to_string(),
        },
        address,
        startup,
        features: features(container, certificates, derived, &facts, &site, renderer)?,
        spec: Arc::clone(container),
    })
}

/// What templates know of a guest, and of the site as it has it.
pub(super) fn facts(container: &model::Guest, id: u32, known: &Known<'_>) -> (GuestFacts, SiteFacts) {
    let site = match container.timezone.as_deref() {
        None => known.site.clone(),
        // The node's own zone is Proxmox VE's to put in place.
        Some(zone) => SiteFacts {
            timezone: if zone == "host" { String::new() } else { zone.to_owned() },
            ..known.site.clone()
        },
    };
    let facts = GuestFacts {
        host: Host::of_guest(container),
        name: container.name.to_string(),
        id,
        hostname: container.hostname.to_string(),
        fqdn: full_name(&container.hostname, &site.domain),
        address: address_of(container).map(|a| a.to_string()).unwrap_or_default(),
    };
    (facts, site)
}

/// The address from which follows what a guest keeps: that of before, where it has a new name.
pub(super) fn named_first(guest: &model::Guest) -> Address {
    Address::new(guest.kind().as_str(), guest.was.as_ref().unwrap_or(&guest.name))
}

fn nets(blueprint: &Blueprint, container: &model::Guest) -> Result<BTreeMap<u8, Nic>, WireError> {
    let resource = Address::of_guest(container);
    // A new name leaves it as it is.
    let called = named_first(container);
    let first = container.nets.keys().next().copied().unwrap_or(0);
    let mut nets = BTreeMap::new();
    for (slot, nic) in &container.nets {
        let network = match &nic.network {
            None => None,
            Some(name) => match blueprint.networks.get(&**name) {
                Some(network) => Some(network),
                None => {
                    return Err(WireError {
                        address: resource.to_string(),
                        message: format!("there is no network `{name}`"),
                        hint: "declare it under `networks`".into(),
                    });
                }
            },
        };
        nets.insert(
            *slot,
            Nic {
                name: nic.name.clone(),
                bridge: nic.bridge.clone(),
                mac: nic.mac.map_or_else(
                    || mac(&blueprint.site.name, &called, *slot),
                    |m| m.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"),
                ),
                ip: match nic.address {
                    NicAddress::Static(inet) => format!("{}/{}", inet.address(), inet.network_length()),
                    NicAddress::Dhcp => "dhcp".to_owned(),
                },
                subnet: network.map(|network| network.subnet),
                // Only one default route: that of the first device.
                gateway: match nic.address {
                    NicAddress::Static(_) if *slot == first => network.and_then(|network| network.gateway),
                    _ => None,
                },
                vlan: nic.vlan,
                // Rules only count where the device is filtered (P-73).
                firewall: nic.firewall || blueprint.firewall.is_some(),
                mtu: nic.mtu,
                rate: nic.rate,
                link_down: nic.link_down,
                model: nic.model.clone(),
                queues: nic.queues,
            },
        );
    }
    Ok(nets)
}

fn features(
    container: &model::Guest,
    certificates: &[&Certificate],
    derived: Derived<'_>,
    facts: &GuestFacts,
    site: &SiteFacts,
    renderer: &dyn Renderer,
) -> Result<Vec<Feature>, WireError> {
    let renews = certificates.iter().any(|c| c.issuer != Issuer::Embedded);
    let uses_certificates = |used: &FeatureUse| renderer.certificate(used).is_some();
    let ordered = if renews {
        // What fetches certificates comes first, and what uses them last.
        let fetches = FeatureUse {
            name: RENEWS.to_owned(),
            parameters: BTreeMap::new(),
            contents: BTreeMap::new(),
            declared: model::Location::default(),
        };
        let own = container.features.iter().find(|f| f.name == RENEWS).cloned();
        let (users, others): (Vec<_>, Vec<_>) =
            container.features.iter().filter(|f| f.name != RENEWS).cloned().partition(uses_certificates);
        let all: Vec<_> = std::iter::once(own.unwrap_or(fetches)).chain(others).chain(users).collect();
        renderer.order(&all)?
    } else {
        renderer.order(&container.features)?
    };
    let mut features = Vec::new();
    let mut stage = 0;
    for used in ordered {
        let uses = renderer.certificate(&used);
        if renews && uses.is_some() {
            stage = 1;
        }
        let owner = uses.and_then(|u| u.owner);
        let keys: Vec<String> = certificates
            .iter()
            .filter(|c| owner.is_some() && c.owner == owner)
            .map(|c| key(&c.name))
            .collect();
        let (fingerprint, payload) = renderer.render(&used, derived, &keys, facts, site)?;
        let declared = container.features.iter().find(|f| f.name == used.name).map(|f| f.declared.clone());
        features.push(Feature { name: used.name, fingerprint, payload, declared, stage });
    }
    Ok(features)
}
