//! The firewall, and the flows that are declared.

use std::collections::BTreeMap;

use super::Context;
use crate::codes;
use crate::model::{Firewall, Flow, FlowEnd};
use crate::report::Draft;
use crate::source::TransportSource;
use crate::values::{AddressRange, EndName};

pub(super) fn firewall(context: &Context<'_, '_>) -> Option<Firewall> {
    let source = context.namespace.firewall.as_ref()?.value.as_ref()?;
    Some(Firewall {
        zero_trust: source.zero_trust.unwrap_or(false),
        management: source.management.iter().flatten().map(|net| net.0).collect(),
    })
}

/// Makes the flows; an end that no file defines is reported.
pub(super) fn flows(context: &mut Context<'_, '_>) -> BTreeMap<String, Flow> {
    let namespace = context.namespace;
    let names: Vec<&str> = namespace.containers.keys().map(String::as_str).collect();
    let mut flows = BTreeMap::new();
    for (name, entry) in &namespace.flows {
        if namespace.firewall.is_none() && !namespace.blind {
            let message = format!("the flow `{name}` has no effect: there is no `firewall`");
            let draft = Draft::error(codes::BAD_FLOW, entry.key(), message);
            context.push(draft.hint("add \"firewall\": {}, or remove the flow"));
        }
        let Some(source) = &entry.value else { continue };
        for (key, written) in [("from", &source.from), ("to", &source.to)] {
            if let FlowEnd::Container(container) = end(written)
                && !namespace.containers.contains_key(&*container)
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

fn end(name: &EndName) -> FlowEnd {
    match name.0.as_str() {
        "inside" => FlowEnd::Inside,
        text => match (text.strip_prefix("container."), text.parse::<AddressRange>()) {
            (Some(container), _) => FlowEnd::Container(container.into()),
            (None, Ok(net)) => FlowEnd::Net(net.0),
            // The structural check lets nothing else through.
            (None, Err(_)) => FlowEnd::Outside,
        },
    }
}
