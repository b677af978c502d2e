//! Wiring: a service is declared once, and its name, its certificate, its place in the gateway, what it resolves to
//! its certificates, who may talk to it and its probe are derived from that (promise 4; P-30, P-43, P-55). Pure: from
//! the blueprint to the desired state. Start at [`wire`]: each of its steps is a function of what those before it
//! returned.

mod boot;
mod certificates;
mod derived;
mod flows;
mod graph;
mod guests;
mod hypervisor;
mod ids;
mod images;
mod parts;
mod services;
mod shares;
mod stacks;

use std::collections::{BTreeMap, BTreeSet};

use blueprint::catalog::CertificateUse;
use blueprint::model::{Blueprint, FeatureUse, Target};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::address::Address;
use crate::desired::Desired;
use crate::host::Host;
use crate::told::{Refused, Told};
pub use graph::mounted_at;

use derived::Known;
use graph::Resources;
use parts::Parts;

/// The ids of a blueprint's guests, by name: declared, or as they are derived.
pub fn ids_of(blueprint: &Blueprint) -> BTreeMap<blueprint::names::GuestName, u32> {
    ids::ids(blueprint, &mut Findings::default())
}

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

/// What a person is told of the wiring: gathered along the steps, so that all errors come out at once.
#[derive(Default)]
struct Findings {
    /// What is worth knowing.
    notes: Vec<String>,
    /// What cannot be wired.
    errors: Vec<WireError>,
}

impl Findings {
    /// The value; an error is kept.
    fn ok<T>(&mut self, result: Result<T, WireError>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// The notes, if there were no errors.
    fn notes(self) -> Result<Vec<String>, Vec<WireError>> {
        if self.errors.is_empty() { Ok(self.notes) } else { Err(self.errors) }
    }
}

/// The workshop's root certificates, PEM, and what below them is not believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// The one that signs.
    pub signs: String,
    /// Those that are trusted: that one, and another while one of them takes the other's place; the older one first.
    pub trusted: Vec<String>,
    /// The roots of before, by their [`fingerprint`]s: what was made with one of them is this site's own, and is to remember the
    /// present one.
    pub before: BTreeSet<String>,
    /// What was signed below the present one and is taken from no client any more.
    pub refused: Vec<Refused>,
}

impl Roots {
    /// One root, and nothing else is to be known.
    pub fn one(pem: &str) -> Self {
        Self { signs: pem.to_owned(), trusted: vec![pem.to_owned()], ..Self::default() }
    }
}

/// Works out everything that follows from the blueprint and from what is trusted. A step changes nothing of those before it: it takes what they
/// returned, so that none can come too early.
///
/// # Errors
/// When something cannot be wired: all that is found at once.
pub fn wire(
    blueprint: &Blueprint,
    roots: &Roots,
    renderer: &dyn Renderer,
) -> Result<Desired, Vec<WireError>> {
    let mut findings = Findings::default();
    let ids = ids::ids(blueprint, &mut findings);
    let parts = Parts::of(blueprint, renderer);
    let services = services::services(blueprint, &parts, &mut findings);
    let names = services::names(blueprint, &parts, &services);
    let certificates = certificates::certificates(
        blueprint,
        renderer,
        &roots.signs,
        &parts,
        &services,
        &names,
        &mut findings,
    );
    let firewall = flows::firewall(blueprint, &mut findings);
    let flows = flows::flows(blueprint, &parts, &services, &certificates);
    let known = match Known::new(blueprint, roots, &parts, &services, &names, &certificates) {
        Ok(known) => known,
        Err(error) => {
            findings.errors.push(error);
            return Err(findings.errors);
        }
    };
    let places = boot::order(blueprint, &parts, &certificates);
    let guests = guests::guests(blueprint, renderer, &ids, &places, &known, &mut findings);
    let stacks = stacks::stacks(blueprint, renderer, &ids, &known, &mut findings);
    let hypervisor = findings.ok(hypervisor::hypervisor(blueprint, renderer, &ids, &known)).flatten();
    let on_node = findings.ok(hypervisor::on_node(blueprint, renderer, &known)).unwrap_or_default();
    let node = match &blueprint.target {
        Target::Proxmox(target) => target.node.clone(),
        Target::Lab(_) => None,
    };
    let images = images::images(blueprint, node.as_ref());
    let pools = blueprint.hypervisor.as_ref().map(|node| node.zfs.clone()).unwrap_or_default();
    let gpus = blueprint.hypervisor.as_ref().map(|node| node.gpus.clone()).unwrap_or_default();
    let shares = shares::of(blueprint);
    let links = findings.ok(hypervisor::links(blueprint)).unwrap_or_default();
    let notes = findings.notes()?;
    let services = services.fingerprinted(&guests, &stacks, &certificates);
    let resources = Resources {
        guests: &guests,
        services: &services,
        stacks: &stacks,
        certificates: &certificates,
        hypervisor: hypervisor.as_ref(),
        on_node: &on_node,
        firewall: firewall.as_ref(),
        images: &images,
        storages: &blueprint.storages,
        pools: &pools,
        gpus: &gpus,
        links: &links,
    };
    let graph = graph::graph(blueprint, renderer, &parts, &resources).map_err(|error| vec![error])?;
    Ok(Desired {
        site: blueprint.site.name.to_string(),
        domain: blueprint.site.domain.clone(),
        node,
        guests,
        certificates: certificates.by_name,
        hypervisor,
        on_node,
        pools,
        gpus,
        shares,
        services,
        stacks,
        storages: blueprint.storages.clone(),
        images,
        names: names.inside,
        outside_names: names.outside,
        authority: certificates.authority,
        roots_before: roots.before.clone(),
        dns: parts.dns,
        firewall,
        flows,
        resources: links,
        notes,
        graph,
    })
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
