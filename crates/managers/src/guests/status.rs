//! How a container is.

use std::net::Ipv4Addr;

use plan::Address;
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use serde::Serialize;

use crate::{Seen, Status};

/// More of a container's status.
#[derive(Debug, Serialize)]
struct ContainerStatus<'a> {
    id: u32,
    /// What it calls itself.
    hostname: &'a str,
    /// Its first fixed address.
    ip: Option<Ipv4Addr>,
    /// The node it is on.
    node: Option<&'a str>,
    /// What the next apply does to it.
    waiting_steps: Vec<&'a Address>,
    features: Vec<&'a str>,
    /// The keys that wait for a restart, whoever set them.
    pending: Vec<&'a str>,
}

/// In words: `running`, `stopped`, `off` where it is to be that, `not there`, that its node is offline, or that the id is somebody else's.
pub(super) fn guest_status(address: &Address, wanted: &Wanted, seen: Seen<'_>) -> Status {
    let guest = seen.inventory.guests.get(&wanted.id);
    let state = match guest {
        None => "not there",
        Some(_) if seen.mark(&wanted.name).is_none() => "the id is somebody else's",
        Some(guest) if seen.inventory.is_offline(&guest.node) => "its node is offline",
        Some(guest) if guest.template && wanted.golden => "template",
        Some(guest) if guest.running => "running",
        Some(_) if !wanted.started => "off",
        Some(_) => "stopped",
    };
    let waits = seen.plan.steps.iter().filter(|step| step.id == Some(wanted.id));
    let more = ContainerStatus {
        id: wanted.id,
        hostname: &wanted.hostname,
        ip: wanted.address,
        node: guest.map(|guest| guest.node.as_str()),
        waiting_steps: waits.map(|step| &step.address).collect(),
        pending: pending(guest),
        features: wanted.features.iter().map(|feature| feature.name.as_str()).collect(),
    };
    let sign = if ["running", "template"].contains(&state) { '●' } else { '○' };
    let ip = wanted.address.map(|ip| ip.to_string()).unwrap_or_default();
    let waits = match pending(guest).as_slice() {
        [] => String::new(),
        keys => format!(", waits for a restart: {}", keys.join(", ")),
    };
    let line = format!("{:>9}  {ip:<16} {state}{waits}", wanted.id);
    Status::new(address, state).more(more).line(sign, line)
}

/// What waits for a restart of a guest that runs.
fn pending(guest: Option<&Guest>) -> Vec<&str> {
    let running = guest.filter(|guest| guest.running);
    running.into_iter().flat_map(|guest| guest.pending.keys()).map(String::as_str).collect()
}
