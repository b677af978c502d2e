//! What guests need of their node that nobody but the node itself can tell: folders that are mounted (F-6), devices, bridges,
//! hook scripts; and of their cluster, resource mappings. A call that names a missing bridge is refused, and made all the same
//! (recorded: "memory and net0 on a missing bridge"), and a missing folder or mapping shows when the guest is to start
//! ("Starts with values that were accepted"). So it is looked before anything is done: for mappings with a call for each kind
//! that is used, for the rest where commands can be run; without them, the API tells of bridges.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apply::Failure;
use blueprint::model::MountSource;
use plan::desired::Guest as Container;
use plan::inventory::{Guest, Unread};
use plan::planner::{Proposal, World};
use plan::{Desired, Inventory, Problem};
use proxmox::client::Reader;
use proxmox::property::PropertyString;
use transport::Command;

use crate::privileges::or_unseen;
use crate::settle;
use crate::ways::Ways;

const SCRIPT: &str = include_str!("ground.sh");

/// How a bridge is asked for.
const LINK: &str = "link:";

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
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for guest in desired.guests.values() {
        let there = inventory.guests.get(&guest.id);
        let node = node_of(desired, inventory, guest);
        if inventory.nodes.contains_key(&node) && !inventory.is_offline(&node) {
            // Without commands, only of bridges and mappings something can be known.
            let commands = inventory.commands;
            let needs = needs(guest, there).into_iter().map(|need| need.item);
            let needs = needs.filter(|item| commands || item.starts_with(LINK) || mapping(item).is_some());
            wanted.entry(node).or_default().extend(needs);
        }
    }
    look_for_mappings(ways.reader(), &wanted, inventory).await;
    for (node, mut items) in wanted {
        items.retain(|item| mapping(item).is_none());
        if items.is_empty() {
            continue;
        }
        let looked = match inventory.commands {
            true => missing(ways, &node, &items).await,
            false => no_bridges(ways, &node, items).await,
        };
        match looked {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => inventory.absent.entry(node).or_default().extend(missing),
            Err(failure) => inventory.unread.push(Unread {
                what: format!(
                    "whether {node} has the bridges, folders, devices and scripts that are new to its guests"
                ),
                why: failure.to_string(),
            }),
        }
    }
}

/// The kind and the name of a mapping: `mapping:pci/gpu`.
fn mapping(item: &str) -> Option<(&str, &str)> {
    item.strip_prefix("mapping:")?.split_once('/')
}

/// Looks for mappings that are new to guests.
async fn look_for_mappings(
    reader: &Reader,
    wanted: &BTreeMap<String, BTreeSet<String>>,
    inventory: &mut Inventory,
) {
    let kinds = wanted.values().flatten().filter_map(|item| Some(mapping(item)?.0));
    for kind in kinds.collect::<BTreeSet<_>>() {
        let there = match settle::read("looking for mappings", || reader.mappings(kind)).await {
            Ok(there) => there,
            Err(failure) => {
                let what = format!("whether the cluster has the {kind} mappings that are new to its guests");
                inventory.unread.push(Unread { what, why: failure.to_string() });
                continue;
            }
        };
        for (node, items) in wanted {
            let lacks = |item: &&String| {
                mapping(item).is_some_and(|(of, name)| {
                    of == kind && !there.iter().any(|one| one.id == name && one.is_on(node))
                })
            };
            let absent = items.iter().filter(lacks).map(|item| {
                let known = mapping(item).is_some_and(|(_, name)| there.iter().any(|one| one.id == name));
                // It is there, and has nothing on this node.
                if known { format!("{item}@") } else { item.clone() }
            });
            let absent: BTreeSet<String> = absent.collect();
            if !absent.is_empty() {
                inventory.absent.entry(node.clone()).or_default().extend(absent);
            }
        }
    }
}

/// The bridges that the API does not show; some of them the token may not see.
async fn no_bridges(ways: &Ways, node: &str, items: BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
    let path = proxmox::client::path(["nodes", node, "network"]);
    // With those of the cluster's own networks.
    let list = settle::read(PURPOSE, || ways.reader().get(&path, &[("type", "any_bridge")])).await?;
    let names = list.as_array().into_iter().flatten().filter_map(|it| it["iface"].as_str());
    let there: BTreeSet<String> = names.map(|name| format!("{LINK}{name}")).collect();
    Ok(items.into_iter().filter(|item| !there.contains(item)).collect())
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

/// What a guest needs that it does not have yet. What one that runs has, was there when it started; one that does not run may
/// be off because it is not there any more.
fn needs(container: &Container, there: Option<&Guest>) -> Vec<Need> {
    let there = there.filter(|guest| guest.running);
    let has = |key: &str, name: &str| {
        let value = there.and_then(|guest| guest.config.as_ref()?.get(key));
        let parts: PropertyString = value.and_then(|value| value.parse().ok()).unwrap_or_default();
        value.is_some_and(|value| value == name) || parts.parts().any(|(_, value)| value == name)
    };
    let need = |kind: &str, key: String, name: &str| {
        let item = format!("{kind}:{name}");
        (!has(&key, name)).then(|| Need { key, item, name: name.to_owned() })
    };
    let bridges = container.nets.iter();
    let mut all: Vec<Need> =
        bridges.filter_map(|(slot, nic)| need("link", format!("net{slot}"), &nic.bridge)).collect();
    all.extend(container.hookscript.iter().filter_map(|script| need("script", "hookscript".into(), script)));
    if let Some(own) = container.container() {
        all.extend(own.mounts.iter().filter_map(|(slot, mount)| match &mount.source {
            MountSource::Host(folder) => need("folder", format!("mp{slot}"), folder),
            MountSource::Volume(_) => None,
        }));
        let devices = own.devices.iter();
        all.extend(devices.filter_map(|(slot, it)| need("device", format!("dev{slot}"), &it.path.0)));
    }
    if let Some(own) = container.vm() {
        let lists = [
            ("hostpci", "pci", "mapping", &own.pci),
            ("usb", "usb", "mapping", &own.usb),
            ("virtiofs", "dir", "dirid", &own.folders),
        ];
        for (key, kind, part, all_of_it) in lists {
            let named = all_of_it.iter().filter_map(|(slot, device)| Some((slot, device.get(part)?)));
            let named = named.filter_map(|(slot, name)| {
                let need = need("mapping", format!("{key}{slot}"), name)?;
                Some(Need { item: format!("mapping:{kind}/{name}"), ..need })
            });
            all.extend(named);
        }
    }
    all
}

/// Says what of it is missing.
pub(super) fn check(world: World<'_>, container: &Container, proposal: &mut Proposal) {
    let node = node_of(world.desired, world.inventory, container);
    let Some(absent) = world.inventory.absent.get(&node) else { return };
    let there = world.inventory.guests.get(&container.id);
    for Need { key, item, name } in needs(container, there) {
        // The same plan makes it.
        if item.starts_with(LINK)
            && node == world.inventory.command_node()
            && crate::network::makes_bridge(world.desired, &name)
        {
            continue;
        }
        if mapping(&item)
            .is_some_and(|(kind, name)| kind == "pci" && crate::gpus::makes_mapping(world.desired, name))
        {
            continue;
        }
        let elsewhere = absent.contains(&format!("{item}@"));
        if !elsewhere && !absent.contains(&item) {
            continue;
        }
        // What is mounted there is made before.
        if item.starts_with("folder:") && is_made(world, &node, &name) {
            continue;
        }
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
            Some("script") => (
                "plan::no-script",
                format!("{key} is to be {name}, and {node} has no such script that can be run"),
                format!("{on}: ls -l \"$(pvesm path {name})\"; and chmod +x, where it is there"),
            ),
            Some("mapping") => no_mapping(&key, &item, &node, elsewhere),
            _ => (
                "plan::no-bridge",
                format!("{key} is to be on {name}, and {node} has no such bridge"),
                match world.inventory.commands {
                    true => {
                        format!(
                            "what there is, {on}: ip -br link; or make it: declare it under `hypervisor.network`"
                        )
                    }
                    false => format!(
                        "make it: {node} → System → Network; {}",
                        or_unseen("SDN.Use", &format!("/sdn/zones/localnetwork/{name}"))
                    ),
                },
            ),
        };
        proposal.problem(Problem { address: container.resource(), code: code.into(), message, hint });
    }
}

/// Whether a folder is a share's, or where a dataset is mounted that the blueprint declares: both are made before guests.
fn is_made(world: World<'_>, node: &str, folder: &str) -> bool {
    let pools = &world.desired.pools;
    let all = pools.values().flat_map(|pool| {
        std::iter::once(&pool.name).chain(pool.datasets.keys()).map(move |it| pool.mountpoint(it))
    });
    let shared = || world.desired.shares.values().any(|share| share.path == folder);
    node == world.inventory.command_node() && (all.flatten().any(|path| path == folder) || shared())
}

/// What is said of a mapping that is not there, or has nothing on the node.
fn no_mapping(key: &str, item: &str, node: &str, elsewhere: bool) -> (&'static str, String, String) {
    let (kind, name) = mapping(item).unwrap_or_default();
    let word = match kind {
        "pci" => "PCI",
        "usb" => "USB",
        _ => "directory",
    };
    let message = match elsewhere {
        true => format!("{key} is to be {name}, and that {word} mapping has nothing on {node}"),
        false => format!("{key} is to be {name}, and the cluster has no such {word} mapping"),
    };
    let unseen = match elsewhere {
        true => String::new(),
        false => format!("; {}", or_unseen("Mapping.Use", &format!("/mapping/{kind}/{name}"))),
    };
    let hint =
        format!("Datacenter → {} Mappings{unseen}", if kind == "dir" { "Directory" } else { "Resource" });
    ("plan::no-mapping", message, hint)
}
