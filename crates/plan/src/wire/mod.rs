//! Wiring: a service is declared once, and its name, its certificate, its place in the gateway, what it resolves to
//! its certificates, who may talk to it and its probe are derived from that (promise 4; P-30, P-43, P-55). Pure: from
//! the blueprint to the desired state. Start at [`wire`]: its steps are in the order of what follows from what.

mod certificates;
mod derived;
mod flows;
mod graph;
mod guests;
mod hypervisor;
mod parts;
mod services;

use std::collections::{BTreeMap, BTreeSet};

use blueprint::catalog::CertificateUse;
use blueprint::model::{self, Blueprint, FeatureUse};
use blueprint::names::GuestName;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::desired::Desired;
use crate::host::Host;
use crate::told::Told;
use parts::Parts;

/// The folder in a guest that holds its certificates, one folder each.
pub const CERTIFICATES: &str = "/etc/phoenix/certificates";

/// Facts of a guest, or of the node, that templates of features can use.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GuestFacts {
    /// Where it is: a guest, or the node.
    #[serde(skip)]
    pub host: Host,
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

    /// Fingerprint and payload of a feature on a guest. `keys` are the paths of the keys that its `owner` may read.
    ///
    /// # Errors
    /// When a template cannot be rendered.
    fn render(
        &self,
        feature: &FeatureUse,
        derived: Derived<'_>,
        keys: &[String],
        guest: &GuestFacts,
        site: &SiteFacts,
    ) -> Result<(String, std::sync::Arc<Value>), WireError>;

    /// Whether the feature offers `what`, such as `gateway`.
    fn provides(&self, feature: &str, what: &str) -> bool;

    /// How the feature, with these parameters, uses certificates; `None` where it does not.
    fn certificate(&self, feature: &FeatureUse) -> Option<CertificateUse>;
}

/// Values for everything wiring knows, by the name features declare; their form is [`Told`].
#[derive(Debug, Clone, Copy)]
pub struct Derived<'a> {
    /// The same for all guests, but for what [`Derived::own`] has.
    pub common: &'a BTreeMap<String, Value>,
    /// This guest's own.
    pub own: &'a BTreeMap<String, Value>,
}

impl<'a> Derived<'a> {
    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.own.get(name).or_else(|| self.common.get(name))
    }
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

/// Where ids of guests that declare none are taken from, unless the site says otherwise: six digits.
const IDS: (u32, u32) = (100_000, 999_999);

/// Ids for guests that declare none: derived from the name within the range, the next free one where two meet. With a
/// range of the site's, which may be small, it is said who got the next one: it would move if the other came later.
fn ids(blueprint: &Blueprint) -> (BTreeMap<GuestName, u32>, Vec<String>) {
    let (first, last) = blueprint.site.ids.unwrap_or(IDS);
    let size = last - first + 1;
    let mut taken: BTreeSet<u32> = blueprint.containers.values().filter_map(|c| c.id).collect();
    let (mut ids, mut notes) = (BTreeMap::new(), Vec::new());
    for (name, container) in &blueprint.containers {
        let id = container.id.unwrap_or_else(|| {
            let hash = Sha256::digest(format!("{}/{}", blueprint.site.name, Address::container(name)));
            let start = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % size;
            // That there is a free one has been checked on paper.
            let id = (0..size)
                .map(|n| first + (start + n) % size)
                .find(|id| !taken.contains(id))
                .unwrap_or(first);
            if id != first + start && blueprint.site.ids.is_some() {
                notes.push(format!(
                    "{} has the id {id} because another has {}: declare \"id\": {id}, so that it stays whatever is added",
                    Address::container(name),
                    first + start
                ));
            }
            id
        });
        taken.insert(id);
        ids.insert(name.clone(), id);
    }
    (ids, notes)
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

/// What features are told, by name.
fn values(address: impl std::fmt::Display, told: &Told) -> Result<BTreeMap<String, Value>, WireError> {
    told.values().map_err(|error| WireError {
        address: address.to_string(),
        message: format!("what features are told cannot be written down: {error}"),
        hint: format!("phoenix-cli explain {address}"),
    })
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
    let (ids, notes) = ids(blueprint);
    let mut desired = Desired {
        site: blueprint.site.name.to_string(),
        domain: blueprint.site.domain.clone(),
        node: match &blueprint.target {
            model::Target::Proxmox(target) => target.node.clone(),
            model::Target::Lab(_) => None,
        },
        notes,
        ..Desired::default()
    };
    let parts = Parts::of(blueprint, renderer);
    desired.dns = parts.dns.clone();
    services::services(blueprint, &parts, &mut desired, &mut errors);
    services::names(blueprint, &parts, &mut desired);
    let root_fingerprint = fingerprint(&[root_pem]);
    certificates::authority(blueprint, &parts, &root_fingerprint, &mut desired);
    certificates::certificates(blueprint, &parts, renderer, &root_fingerprint, &mut desired, &mut errors);
    flows::flows(blueprint, &parts, &mut desired);
    if desired.firewall.is_some() && blueprint.containers.contains_key("site") {
        errors.push(WireError {
            address: Address::container("site").to_string(),
            message: "`site` is what the firewall calls its own part".into(),
            hint: "call the container something else".into(),
        });
    }

    let common = match values("site", &derived::common(blueprint, root_pem, &parts, &desired)) {
        Ok(common) => common,
        Err(error) => return Err(vec![error]),
    };
    let site = SiteFacts {
        name: blueprint.site.name.to_string(),
        domain: blueprint.site.domain.to_string(),
        timezone: blueprint.site.timezone.clone().unwrap_or_default(),
    };
    // What is in which guest, found once: a search for each of a thousand guests would be a million.
    let by_guest = derived::by_guest(&desired);
    for container in blueprint.containers.values() {
        let own = derived::derive_for_guest(blueprint, container, &parts, &by_guest, &desired);
        let guest = guests::Guest { blueprint, container, id: ids[&container.name], parts: &parts };
        let certificates = by_guest.get(&container.name).map(Vec::as_slice).unwrap_or_default();
        let done = values(Address::container(&container.name), &own).and_then(|own| {
            let derived = Derived { common: &common, own: &own };
            guests::definite(&guest, certificates, derived, &site, renderer)
        });
        match done {
            Ok(done) => {
                desired.guests.insert(container.name.clone(), done);
            }
            Err(error) => errors.push(error),
        }
    }
    match hypervisor::hypervisor(blueprint, &root_fingerprint, &common, &site, &ids, &desired, renderer) {
        Ok(done) => desired.hypervisor = done,
        Err(error) => errors.push(error),
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    services::path_fingerprints(&mut desired);
    desired.graph = graph::graph(blueprint, &desired, &parts, renderer);
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
