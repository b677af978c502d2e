//! The node itself: its own certificate, which its API shows, with what renews it there; and what is installed on it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use blueprint::model::{
    self, Blueprint, FeatureUse, GPU_NODES, KERNEL, KEYS, Location, NVIDIA_DRIVER, RENEWS, SCHEDULE, TRUSTS,
    VFIO,
};
use blueprint::names::GuestName;
use serde_json::{Value, json};

use super::certificates::print;
use super::derived::{Known, renewed};
use super::{Derived, GuestFacts, Renderer, WireError, full_name, shares, values};
use crate::address::{Address, kinds};
use crate::desired::{Certificate, Feature, HYPERVISOR, Hypervisor, Issuer, Resource, Served};
use crate::host::Host;
use crate::told::{self, Maybe, Told};

/// The unit that has the node's API show what is on disk; part of what [`RENEWS`] renders to on the node.
const SHOWS: &str = "phoenix-pveproxy.service";

/// Where the node's API listens.
const API: u16 = 8006;

/// What Phoenix looks after on the node, where it is to have a certificate.
pub(super) fn hypervisor(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    ids: &BTreeMap<GuestName, u32>,
    known: &Known<'_>,
) -> Result<Option<Hypervisor>, WireError> {
    let Some(declared) = blueprint.hypervisor.as_ref().filter(|node| node.certificate) else {
        return Ok(None);
    };
    let host = full_name(&declared.hostname, &blueprint.site.domain);
    let signs = known.certificates.authority.as_ref().and_then(|authority| ids.get(&authority.on));
    let certificate = Certificate {
        name: HYPERVISOR.to_owned(),
        names: vec![host.clone()],
        life: blueprint.certificates.life,
        on: Host::THE_NODE,
        issuer: if signs.is_some() { Issuer::StepCa } else { Issuer::Embedded },
        owner: None,
        reloads: Vec::new(),
        restarts: vec![SHOWS.to_owned()],
        served: vec![Served { address: Ipv4Addr::LOCALHOST, port: API, name: host.clone() }],
        fingerprint: String::new(),
    };
    let fingerprint = print(&certificate, &known.certificates.root, "");
    let certificate = Certificate { fingerprint, ..certificate };
    let mut own = Told {
        hypervisor: Some(true),
        // Public names are the gateway's.
        acme: Some(None.into()),
        ..Told::default()
    };
    if let Some(id) = signs {
        own.certificates = Some(vec![renewed(&certificate)]);
        // The node is in no guest's network, and is root of every guest: it asks in the authority's own.
        let by_node = told::ByNode { through: *id, who: HYPERVISOR.to_owned() };
        own.authority = Some(Maybe::There(told::Authority::Node(by_node)));
    }
    let own = values(certificate.resource(), &own)?;
    let derived = Derived { common: &known.common, own: &own };
    let facts = facts(blueprint, declared);
    let mut features = Vec::new();
    for name in [TRUSTS, RENEWS] {
        let used = FeatureUse {
            name: name.to_owned(),
            parameters: BTreeMap::new(),
            contents: BTreeMap::new(),
            declared: Location::default(),
        };
        let (fingerprint, payload) = renderer.render(&used, derived, &[], &facts, &known.site)?;
        features.push(Feature { name: used.name, fingerprint, payload, declared: None, stage: 0 });
    }
    Ok(Some(Hypervisor { certificate, features, declared: declared.declared.clone() }))
}

/// What is installed on the node, in order.
pub(super) fn on_node(
    blueprint: &Blueprint,
    renderer: &dyn Renderer,
    known: &Known<'_>,
) -> Result<Vec<Feature>, WireError> {
    let Some(declared) = &blueprint.hypervisor else { return Ok(Vec::new()) };
    let own = values(Address::new(kinds::HYPERVISOR, "features"), &shares::told(&declared.shares))?;
    let derived = Derived { common: &known.common, own: &own };
    let facts = facts(blueprint, declared);
    let by_itself = FeatureUse {
        name: SCHEDULE.to_owned(),
        parameters: BTreeMap::new(),
        contents: BTreeMap::new(),
        declared: declared.declared.clone(),
    };
    let mut wanted: Vec<FeatureUse> = Vec::new();
    if declared.zfs.values().any(|pool| pool.is_scheduled()) {
        wanted.push(by_itself.clone());
    }
    if declared.zfs.values().any(|pool| pool.has_keys()) {
        wanted.push(FeatureUse { name: KEYS.to_owned(), ..by_itself.clone() });
    }
    wanted.extend(shares::features(&declared.shares, &by_itself));
    wanted.extend(of_cards(blueprint, declared, &by_itself));
    if !declared.kernel.is_empty() {
        let (name, parameters) = (KERNEL.to_owned(), declared.kernel.parameters());
        wanted.push(FeatureUse { name, parameters, ..by_itself.clone() });
    }
    let from: Vec<String> = wanted.iter().map(|one| one.name.clone()).collect();
    let render = |used: FeatureUse| {
        let (fingerprint, payload) = renderer.render(&used, derived, &[], &facts, &known.site)?;
        let of_its_own = declared.features.iter().find(|one| one.name == used.name);
        let by_itself = || from.contains(&used.name).then(|| declared.declared.clone());
        let declared = of_its_own.map(|one| one.declared.clone()).or_else(by_itself);
        Ok(Feature { name: used.name, fingerprint, payload, declared, stage: 0 })
    };
    // After what is said, in their own order; what one says of a feature itself is kept.
    wanted.retain(|one| !declared.features.iter().any(|own| own.name == one.name));
    let all: Vec<FeatureUse> = declared.features.iter().cloned().chain(wanted).collect();
    renderer.order(&all)?.into_iter().map(render).collect()
}

/// The features that graphics cards need on the node, like `by_itself`, with the cards that each is about.
fn of_cards(
    blueprint: &Blueprint,
    declared: &model::Hypervisor,
    by_itself: &FeatureUse,
) -> impl Iterator<Item = FeatureUse> {
    let passed = declared.gpus.values().filter(|gpu| gpu.pass).map(|gpu| gpu.slot().into());
    let cards = declared.gpus.values().map(AsRef::as_ref);
    let shared = model::shared(cards, &blueprint.guests).map(|gpu| gpu.pci.as_str().into());
    let both: [(&str, Vec<Value>); 2] = [(VFIO, passed.collect()), (GPU_NODES, shared.collect())];
    // One says a word of the kernel's command line.
    let is_said = declared.kernel.command_line.iter().any(|word| word.starts_with("intel_iommu="));
    // Before their device files, which it makes.
    driver(declared, by_itself).into_iter().chain(
        both.into_iter().filter(|(_, cards)| !cards.is_empty()).map(move |(name, cards)| {
            let mut parameters = BTreeMap::from([("cards".to_owned(), Value::Array(cards))]);
            if name == VFIO && is_said {
                parameters.insert("iommu".to_owned(), false.into());
            }
            FeatureUse { name: name.to_owned(), parameters, ..by_itself.clone() }
        }),
    )
}

/// NVIDIA's driver, where Phoenix installs it: all cards have the same.
fn driver(declared: &model::Hypervisor, by_itself: &FeatureUse) -> Option<FeatureUse> {
    let (version, installer) =
        declared.gpus.values().find_map(|gpu| Some((gpu.driver.as_ref()?, gpu.installer.as_ref()?)))?;
    let limits: BTreeMap<&str, u16> =
        declared.gpus.values().filter_map(|gpu| Some((gpu.pci.as_str(), gpu.power_limit?))).collect();
    let parameters = BTreeMap::from([
        ("version".to_owned(), version.as_str().into()),
        ("url".to_owned(), installer.url.as_str().into()),
        ("sha256".to_owned(), installer.sha256.as_str().into()),
        ("module".to_owned(), installer.module.into()),
        ("power-limits".to_owned(), json!(limits)),
    ]);
    Some(FeatureUse { name: NVIDIA_DRIVER.to_owned(), parameters, ..by_itself.clone() })
}

/// The links of the node that are declared. What is of a bond, of a bridge or on a VLAN comes after what it is of.
pub(super) fn links(blueprint: &Blueprint) -> Result<BTreeMap<Address, Resource>, WireError> {
    let declared = blueprint.hypervisor.iter().flat_map(|node| node.network.values());
    declared.map(|link| link_of(blueprint, link)).collect()
}

fn link_of(blueprint: &Blueprint, link: &model::Link) -> Result<(Address, Resource), WireError> {
    let address = Address::network(&link.name);
    let wanted = serde_json::to_value(link).map_err(|error| WireError {
        address: address.to_string(),
        message: format!("the link cannot be written down: {error}"),
        hint: format!("phoenix-cli explain {address}"),
    })?;
    let parts = link.parts().iter().filter_map(|port| match port {
        model::Port::Name(name) => Some(name),
        model::Port::Mac(_) => None,
    });
    let below = match &link.is {
        model::LinkIs::Vlan { on, .. } => Some(on),
        _ => None,
    };
    let is_declared = |name: &&String| blueprint.hypervisor.iter().any(|it| it.network.contains_key(*name));
    let needs = parts.chain(below).filter(is_declared).map(|name| Address::network(name)).collect();
    Ok((address, Resource { wanted: Arc::new(wanted), needs, declared: Some(link.declared.clone()) }))
}

/// What templates know of the node.
fn facts(blueprint: &Blueprint, declared: &model::Hypervisor) -> GuestFacts {
    GuestFacts {
        host: Host::THE_NODE,
        name: HYPERVISOR.to_owned(),
        id: 0,
        hostname: declared.hostname.to_string(),
        fqdn: full_name(&declared.hostname, &blueprint.site.domain),
        address: declared.address.map(|address| address.to_string()).unwrap_or_default(),
    }
}
