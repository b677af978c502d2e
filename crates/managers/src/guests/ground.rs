//! What guests need of their node that nobody but the node itself can tell: folders that are mounted (F-6), devices, bridges.
//! A call that names a missing bridge is refused, and made all the same (recorded: "memory and net0 on a missing bridge"), and
//! a missing folder shows when the guest is to start. So it is looked before anything is done, where commands can be run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apply::Failure;
use blueprint::model::MountSource;
use plan::desired::Guest as Container;
use plan::inventory::{Guest, Unread};
use plan::planner::{Proposal, World};
use plan::{Desired, Inventory, Problem};
use proxmox::property::PropertyString;
use transport::Command;

use crate::settle;
use crate::ways::Ways;

const SCRIPT: &str = include_str!("ground.sh");

/// What the command is for.
pub const PURPOSE: &str = "looking for what guests need of their node";

/// Something that a guest needs of its node.
struct Need {
    key: String,
    item: String,
    name: String,
}

/// Looks, on each node, for what is new to its guests; what they have already was there when they got it. What is missing goes
/// into the inventory.
pub async fn look(ways: &Ways, desired: &Desired, inventory: &mut Inventory) {
    if !inventory.commands {
        return;
    }
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in desired.guests.values() {
        let there = inventory.guests.get(&container.id);
        let node = node_of(desired, inventory, container);
        if inventory.nodes.contains_key(&node) && !inventory.is_offline(&node) {
            let needs = needs(container, there).into_iter().map(|need| need.item);
            wanted.entry(node).or_default().extend(needs);
        }
    }
    for (node, items) in wanted.into_iter().filter(|(_, items)| !items.is_empty()) {
        match missing(ways, &node, &items).await {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => drop(inventory.absent.insert(node, missing)),
            Err(failure) => inventory.unread.push(Unread {
                what: format!(
                    "whether {node} has the bridges, folders and devices that are new to its guests"
                ),
                why: failure.to_string(),
            }),
        }
    }
}

async fn missing(ways: &Ways, node: &str, items: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    let runner = ways.node(node).await?;
    let words = ["sh", "-c", SCRIPT, "ground"].into_iter().map(str::to_owned);
    let argv: Vec<String> = words.chain(items.iter().cloned()).collect();
    let output =
        settle::command(&*runner, &Command::new(PURPOSE, argv).limit(Duration::from_secs(30))).await?;
    if !output.success() {
        let what = format!("{node} could not say what it has");
        return Err(Failure::new("managers::ground", what).with_output(output.tail(3)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter(|line| items.contains(*line)).map(str::to_owned).collect())
}

fn node_of(desired: &Desired, inventory: &Inventory, container: &Container) -> String {
    let wanted = container.node.as_ref().or(desired.node.as_ref()).map(ToString::to_string);
    match inventory.guests.get(&container.id) {
        Some(there) => there.node.clone(),
        None => wanted.unwrap_or_else(|| inventory.node.clone()),
    }
}

/// What a guest needs that it does not have yet.
fn needs(container: &Container, there: Option<&Guest>) -> Vec<Need> {
    let has = |key: &str, name: &str| {
        let value = there.and_then(|guest| guest.config.as_ref()?.get(key));
        let parts: PropertyString = value.and_then(|value| value.parse().ok()).unwrap_or_default();
        parts.parts().any(|(_, value)| value == name)
    };
    let need = |kind: &str, key: String, name: &str| {
        let item = format!("{kind}:{name}");
        (!has(&key, name)).then(|| Need { key, item, name: name.to_owned() })
    };
    let bridges = container.nets.iter();
    let mut all: Vec<Need> =
        bridges.filter_map(|(slot, nic)| need("link", format!("net{slot}"), &nic.bridge)).collect();
    if let Some(own) = container.container() {
        all.extend(own.mounts.iter().filter_map(|(slot, mount)| match &mount.source {
            MountSource::Host(folder) => need("folder", format!("mp{slot}"), folder),
            MountSource::Volume(_) => None,
        }));
        let devices = own.devices.iter();
        all.extend(devices.filter_map(|(slot, it)| need("device", format!("dev{slot}"), &it.path.0)));
    }
    all
}

/// Says what of it is missing.
pub(super) fn check(world: World<'_>, container: &Container, proposal: &mut Proposal) {
    let node = node_of(world.desired, world.inventory, container);
    let Some(absent) = world.inventory.absent.get(&node) else { return };
    let there = world.inventory.guests.get(&container.id);
    for Need { key, item, name } in needs(container, there).into_iter().filter(|it| absent.contains(&it.item))
    {
        let on = super::offer::on(world.inventory, &node);
        let (code, message, hint) = match item.split(':').next() {
            Some("folder") => (
                "plan::no-folder",
                format!("{key} is to show {name}, and {node} has no such folder"),
                format!("{on}: mkdir -p {name}"),
            ),
            Some("device") => (
                "plan::no-device",
                format!("{key} is to be {name}, and {node} has no such device"),
                format!("what there is, {on}: ls -lR /dev; a driver that is not loaded has none"),
            ),
            _ => (
                "plan::no-bridge",
                format!("{key} is to be on {name}, and {node} has no such bridge"),
                format!("what there is, {on}: ip -br link; or make it: {node} → System → Network"),
            ),
        };
        proposal.problem(Problem { address: container.resource(), code: code.into(), message, hint });
    }
}
