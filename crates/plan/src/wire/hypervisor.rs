//! The node's own certificate: what its API shows, and what renews it there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use blueprint::model::{Blueprint, FeatureUse, Location, RENEWS, TRUSTS};
use blueprint::names::GuestName;

use super::certificates::print;
use super::derived::{Known, renewed};
use super::{Derived, GuestFacts, Renderer, WireError, full_name, values};
use crate::desired::{Certificate, Feature, HYPERVISOR, Hypervisor, Issuer, Served};
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
    let facts = GuestFacts {
        host: Host::THE_NODE,
        name: HYPERVISOR.to_owned(),
        id: 0,
        hostname: declared.hostname.to_string(),
        fqdn: host,
        address: declared.address.map(|address| address.to_string()).unwrap_or_default(),
    };
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
