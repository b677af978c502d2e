//! Networks.

use std::collections::BTreeMap;

use super::Context;
use crate::codes;
use crate::model::Network;
use crate::report::Draft;

pub(super) fn networks(context: &mut Context<'_, '_>) -> BTreeMap<String, Network> {
    let mut networks = BTreeMap::new();
    let namespace = context.namespace;
    for (name, entry) in &namespace.networks {
        let Some(source) = &entry.value else { continue };
        let subnet = source.subnet.0;
        let gateway = source.gateway.map(|g| g.0);
        if let Some(gateway) = gateway {
            let spot = entry.spot(&["gateway"]);
            if !subnet.contains(&gateway) {
                let message =
                    format!("the gateway {gateway} of `{name}` is outside its subnet {}", source.subnet);
                let draft = Draft::error(codes::OUTSIDE_SUBNET, spot, message);
                context.push(draft.related(entry.spot(&["subnet"]), "the subnet"));
            } else if gateway == subnet.first_address() || gateway == subnet.last_address() {
                let message =
                    format!("the gateway {gateway} of `{name}` is the first or last address of its subnet");
                context.push(Draft::error(codes::OUTSIDE_SUBNET, spot, message));
            }
        } else if !entry.damaged {
            let message = format!("the network `{name}` has no gateway");
            let draft = Draft::warning(codes::NETWORK_WITHOUT_GATEWAY, entry.key(), message);
            context.push(
                draft.hint("guests with fixed addresses in it cannot reach the internet to install anything"),
            );
        }
        networks.insert(
            name.clone(),
            Network {
                bridge: source.bridge.clone(),
                subnet,
                gateway,
                vlan: source.vlan,
                nameservers: source.nameservers.iter().flatten().map(|n| n.0).collect(),
                declared: entry.location(context.report),
            },
        );
    }
    overlaps(context, &networks);
    networks
}

fn overlaps(context: &mut Context<'_, '_>, networks: &BTreeMap<String, Network>) {
    let mut sorted: Vec<(&String, &Network)> = networks.iter().collect();
    // In this order, what overlaps anything overlaps the widest-reaching one before it.
    sorted.sort_by_key(|(_, n)| (&n.bridge, n.vlan, n.subnet.first_address(), n.subnet.network_length()));
    let mut reach: Option<(&String, &Network)> = None;
    for (name, network) in sorted {
        if let Some((other, before)) = reach
            && (&before.bridge, before.vlan) == (&network.bridge, network.vlan)
            && before.subnet.last_address() >= network.subnet.first_address()
        {
            let spots = [name, other].map(|n| context.namespace.networks.get(n).map(|e| e.spot(&["subnet"])));
            if let [Some(spot), Some(related)] = spots {
                let bridge = &network.bridge;
                let message = format!("the networks `{other}` and `{name}` overlap on the bridge `{bridge}`");
                context.push(
                    Draft::error(codes::OVERLAPPING_SUBNETS, spot, message).related(related, "the other"),
                );
            }
            if before.subnet.last_address() >= network.subnet.last_address() {
                continue;
            }
        }
        reach = Some((name, network));
    }
}
