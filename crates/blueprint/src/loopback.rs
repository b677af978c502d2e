//! Where a service answers nobody but a proxy in its own container: what the proxy asks of clients cannot be walked around
//! there, whatever firewall there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::catalog::Feature;
use crate::model::{Flow, Guest, Service};

/// The derived parameter by which a feature is told of such ports. That it has one says that it can: what listens there
/// answers 127.0.0.1 alone.
pub const LOOPBACK: &str = "loopback";
/// The parameter by which a site says itself where a feature listens.
const LISTEN: &str = "listen";

/// Where a service says what its proxy asks of clients; nothing where it asks nothing.
pub fn asked(service: &Service) -> Option<[&'static str; 2]> {
    let limits = &service.limits;
    let all = [
        (!service.users.is_empty(), ["access", "basic"]),
        (service.client_certificate, ["access", "client-certificate"]),
        (limits.rate.is_some(), ["limits", "rate"]),
        (limits.body_mib.is_some_and(|most| most > 0), ["limits", "body"]),
    ];
    all.into_iter().find_map(|(said, path)| said.then_some(path))
}

/// The ports of a container that only a proxy in the same container has to come to, and that the features which listen
/// there can keep to it. `proxied_here` tells whether a service goes through a proxy in its own container, `feature` knows
/// features by name.
///
/// A port is none of them where its service is for others, too: it asks nothing of clients, or says `bypass`; where a flow
/// that is declared leads there; and where the site says itself on which addresses the feature listens.
pub fn ports<'f>(
    container: &Guest,
    flows: &BTreeMap<String, Flow>,
    proxied_here: impl Fn(&Service) -> bool,
    feature: impl Fn(&str) -> Option<&'f Feature>,
) -> BTreeSet<u16> {
    let proxied = container.services.values().filter(|service| {
        !service.bypass
            && asked(service).is_some()
            && proxied_here(service)
            && !flows.values().any(|flow| flow.ports.contains(&service.port) && flow.to.meets(container))
    });
    let wanted: BTreeSet<u16> = proxied.map(|service| service.port).collect();
    if wanted.is_empty() {
        return BTreeSet::new();
    }
    let (mut able, mut unable) = (BTreeSet::new(), BTreeSet::new());
    let none = BTreeMap::new();
    for (found, used) in container.all_features(feature) {
        let given: &BTreeMap<String, Value> = used.map_or(&none, |used| &used.parameters);
        let can = found.spec.parameters.get(LOOPBACK).is_some_and(|parameter| parameter.derived)
            && !given.contains_key(LISTEN);
        let side = if can { &mut able } else { &mut unable };
        side.extend(found.spec.ports(given));
    }
    wanted.into_iter().filter(|port| able.contains(port) && !unable.contains(port)).collect()
}
