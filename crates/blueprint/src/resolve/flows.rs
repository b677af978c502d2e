//! The firewall, and the flows that are declared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, parts};
use crate::codes;
use crate::model::{Firewall, Flow, FlowEnd, Guest, Guests, PACKAGE_CACHE};
use crate::report::Draft;
use crate::source::TransportSource;
use crate::values::{AddressRange, EndName};

pub(super) fn firewall(containers: &Guests, context: &mut Context<'_, '_>) -> Option<Firewall> {
    let namespace = context.namespace;
    let entry = namespace.firewall.as_ref()?;
    let source = entry.value.as_ref()?;
    let packages: Vec<FlowEnd> = match &source.packages {
        Some(ends) => ends.iter().map(end).collect(),
        None => match parts::package_cache(containers, context) {
            Some(cache) => vec![FlowEnd::Guest(cache.name.clone())],
            None => vec![FlowEnd::Outside],
        },
    };
    for packages in &packages {
        match packages {
            FlowEnd::Guest(name) if !namespace.guests.contains_key(&**name) => {
                let names: Vec<&str> = namespace.guests.keys().map(String::as_str).collect();
                context.dangling(entry.spot(&["packages"]), "container", name, &names);
            }
            FlowEnd::Inside => {
                let message = "packages come from a container, an address or a subnet, or from `outside`";
                context.push(Draft::error(codes::BAD_FLOW, entry.spot(&["packages"]), message));
            }
            _ => {}
        }
    }
    Some(Firewall {
        packages,
        zero_trust: source.zero_trust.unwrap_or(false),
        management: source.management.iter().flatten().map(|net| net.0).collect(),
    })
}

/// Makes the flows; an end that no file defines is reported.
pub(super) fn flows(context: &mut Context<'_, '_>) -> BTreeMap<String, Flow> {
    let namespace = context.namespace;
    let names: Vec<&str> = namespace.guests.keys().map(String::as_str).collect();
    let mut flows = BTreeMap::new();
    for (name, entry) in &namespace.flows {
        if namespace.firewall.is_none() && !namespace.blind {
            let message = format!("the flow `{name}` has no effect: there is no `firewall`");
            let draft = Draft::error(codes::BAD_FLOW, entry.key(), message);
            context.push(draft.hint("add \"firewall\": {}, or remove the flow"));
        }
        let Some(source) = &entry.value else { continue };
        for (key, written) in [("from", &source.from), ("to", &source.to)] {
            if let FlowEnd::Guest(container) = end(written)
                && !namespace.guests.contains_key(&*container)
            {
                context.dangling(entry.spot(&[key]), "container", &container, &names);
            }
        }
        if source.from == source.to {
            let message = format!("the flow `{name}` goes from `{}` to itself", source.from);
            context.push(
                Draft::error(codes::BAD_FLOW, entry.spot(&["to"]), message)
                    .hint("what stays within a guest, or among those outside, passes no firewall"),
            );
        }
        flows.insert(
            name.clone(),
            Flow {
                from: end(&source.from),
                to: end(&source.to),
                udp: matches!(source.protocol, Some(TransportSource::Udp)),
                ports: source.ports.clone(),
                reason: source.reason.0.clone(),
                declared: entry.location(context.report),
            },
        );
    }
    flows
}

/// In zero trust: whoever needs another reaches something of it, or it is said here rather than by an application that
/// waits for its database.
pub(super) fn check_needs(
    containers: &Guests,
    flows: &BTreeMap<String, Flow>,
    context: &mut Context<'_, '_>,
) {
    let features = context.features;
    let closure = |container: &Guest| -> BTreeSet<String> {
        container.features.iter().flat_map(|used| features.closure(&used.name)).collect()
    };
    // Everybody may go to these, or has a flow there already.
    let plays = |container: &Guest| {
        let is_part = |name: &String| {
            let words = features.get(name).map(|found| found.spec.provides.as_slice()).unwrap_or_default();
            words.iter().any(|word| ["gateway", "mesh", "dns", "ca", PACKAGE_CACHE].contains(&word.as_str()))
        };
        closure(container).iter().any(is_part)
    };
    for container in containers.values() {
        let Some(entry) = context.namespace.guests.get(&*container.name) else { continue };
        for need in &container.needs {
            let Some(other) = containers.get(need) else { continue };
            let flows = flows.values().any(|flow| flow.from.meets(container) && flow.to.meets(other));
            if flows || plays(other) || !other.ports(|name| features.get(name).map(AsRef::as_ref)).is_empty()
            {
                continue;
            }
            let written = entry.node().get("needs").is_some();
            let spot = if written { entry.spot(&["needs"]) } else { entry.key() };
            let message = format!(
                "`{}` needs `{need}`, and zero trust lets it reach nothing there: `{need}` has no services, and none of \
                 its features listens",
                container.name
            );
            let hint = format!(
                "declare what it offers in `{need}`, such as \"services\": {{\"{need}\": {{\"port\": 5432, \"protocol\": \
                 \"tcp\"}}}}, or a flow from \"container.{}\" to \"container.{need}\"",
                container.name
            );
            let mut draft = Draft::error(codes::CLOSED_NEED, spot, message).hint(hint);
            if let Some(there) = context.namespace.guests.get(&**need) {
                draft = draft.related(there.key(), "what is needed");
            }
            context.push(draft);
        }
    }
}

/// In zero trust: the container that packages come from listens somewhere.
pub(super) fn check_packages(firewall: &Firewall, containers: &Guests, context: &mut Context<'_, '_>) {
    let features = context.features;
    for end in &firewall.packages {
        let FlowEnd::Guest(name) = end else { continue };
        let Some(container) = containers.get(name) else { continue };
        if !container.ports(|name| features.get(name).map(AsRef::as_ref)).is_empty() {
            continue;
        }
        let Some(entry) = &context.namespace.firewall else { continue };
        let message = format!(
            "packages are to come from `{name}`, and zero trust lets nobody reach it: it has no services, and none of its \
             features listens"
        );
        let hint = format!(
            "give `{name}` the feature `package-cache`, or declare where its cache listens, such as \"services\": {{\"packages\": {{\"port\": 3142, \"protocol\": \
             \"tcp\"}}}}"
        );
        context.push(Draft::error(codes::CLOSED_NEED, entry.spot(&["packages"]), message).hint(hint));
    }
}

fn end(name: &EndName) -> FlowEnd {
    match name.0.as_str() {
        "inside" => FlowEnd::Inside,
        text => match (text.strip_prefix("container."), text.parse::<AddressRange>()) {
            (Some(container), _) => FlowEnd::Guest(container.into()),
            (None, Ok(net)) => FlowEnd::Net(net.0),
            // The structural check lets nothing else through.
            (None, Err(_)) => FlowEnd::Outside,
        },
    }
}
