//! Observing: the target's inventory, in a constant number of round trips where commands can be run on the node, with
//! one call a guest where only the API is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apply::Failure;
use plan::inventory::{Guest, Inventory, Storage, Unread};
use proxmox::client::{Reader, Resource};
use proxmox::config::GuestKind;
use proxmox::inventory::{GuestFile, Guests, read_by_files, read_listed_by_api};
use tokio::time::{Instant, sleep};
use transport::Runner;

use crate::settle::{self, failure};

/// Reads what a plan needs to know. Nothing is changed: there is no way to from a [`Reader`].
///
/// # Errors
/// When the node cannot be asked at all. What else could not be read is in [`Inventory::unread`].
pub async fn observe(reader: &Reader, commands: Option<&dyn Runner>) -> Result<Inventory, Failure> {
    let mut inventory = Inventory { commands: commands.is_some(), ..Inventory::default() };
    // Independent of each other, so at once. Everything of the cluster comes in one answer.
    let (resources, files) =
        tokio::join!(settle::read("asking what there is", || reader.resources(None)), async {
            match commands {
                Some(node) => Some(read_by_files(node).await),
                None => None,
            }
        });
    let resources = resources?;
    let read = match files {
        Some(Ok(read)) => read,
        Some(Err(error)) => {
            // The API can tell the same, only slower.
            inventory.unread.push(Unread {
                what: "the configuration files".into(),
                why: format!("{error}; {}", error.hint()),
            });
            inventory.commands = !matches!(error, proxmox::inventory::FilesError::Transport(_));
            by_api(reader, &resources).await?
        }
        None => by_api(reader, &resources).await?,
    };
    guests(&mut inventory, &resources, read);
    inventory.nodes = resources.iter().filter(|r| r.kind == "node").filter_map(|r| r.node.clone()).collect();
    inventory.node = this_node(reader, &inventory).await?;
    let node = inventory.node.clone();
    storages(reader, &node, &mut inventory).await;
    inventory.pools = resources.iter().filter(|r| r.kind == "pool").filter_map(|r| r.pool.clone()).collect();
    Ok(inventory)
}

/// Observes, and again while a task holds one of the guests `ids` or one that carries the mark of `site`: what a run that
/// was cut off left working is waited for, since a plan would otherwise be made against something half done. Bounded by
/// [`settle::LOCKED`]; after that the plan is made of what is there. `waiting` is told once, with the guests that are held.
///
/// # Errors
/// As [`observe`].
pub async fn observe_settled(
    reader: &Reader,
    commands: Option<&dyn Runner>,
    site: &str,
    ids: &BTreeSet<u32>,
    waiting: &(dyn Fn(&[u32], Duration) + Sync),
) -> Result<Inventory, Failure> {
    let begin = Instant::now();
    let mut told = false;
    loop {
        let inventory = observe(reader, commands).await?;
        let ours = |guest: &Guest| guest.mark.as_ref().is_some_and(|mark| mark.site == site);
        let held = inventory.guests.values().filter(|g| g.lock.is_some());
        let held: Vec<u32> = held.filter(|g| ids.contains(&g.id) || ours(g)).map(|g| g.id).collect();
        if held.is_empty() || begin.elapsed() > settle::LOCKED {
            return Ok(inventory);
        }
        if !told {
            waiting(&held, settle::LOCKED);
            told = true;
        }
        sleep(settle::PAUSE * 2).await;
    }
}

async fn by_api(reader: &Reader, resources: &[Resource]) -> Result<Guests, Failure> {
    let guests: Vec<Resource> = resources.iter().filter(|r| r.guest_kind().is_some()).cloned().collect();
    read_listed_by_api(reader, &guests).await.map_err(|e| failure("reading the guests' configuration", &e))
}

/// The node that answers: the only one, or the one the cluster's list calls local.
async fn this_node(reader: &Reader, inventory: &Inventory) -> Result<String, Failure> {
    if inventory.nodes.len() == 1
        && let Some(only) = inventory.nodes.first()
    {
        return Ok(only.clone());
    }
    let status = settle::read("asking which node this is", || reader.get("/cluster/status", &[])).await?;
    let local = status.as_array().into_iter().flatten().find(|n| n["type"] == "node" && n["local"] == 1);
    let name = local.and_then(|n| n["name"].as_str()).map(str::to_owned);
    name.or_else(|| inventory.nodes.first().cloned()).ok_or_else(|| {
        Failure::new("proxmox::no-node", "the answer names no node")
            .hint("may the token see nodes? give it the role PVEAuditor on /")
    })
}

fn guests(inventory: &mut Inventory, resources: &[Resource], read: Guests) {
    for unread in read.unread {
        inventory
            .unread
            .push(Unread { what: format!("the configuration of {}", unread.id), why: unread.reason });
    }
    let mut files: BTreeMap<u32, GuestFile> = read.guests;
    for resource in resources {
        let (Some(kind), Some(id)) = (resource.guest_kind(), resource.vmid) else { continue };
        let mut guest = Guest {
            id,
            vm: kind == GuestKind::Vm,
            node: resource.node.clone().unwrap_or_default(),
            name: resource.name.clone().unwrap_or_default(),
            running: resource.status.as_deref() == Some("running"),
            template: resource.template,
            lock: resource.lock.clone(),
            pool: resource.pool.clone(),
            disk_used: resource.disk,
            ..Guest::default()
        };
        if let Some(file) = files.remove(&id) {
            fill(&mut guest, file, &mut inventory.unread);
        }
        inventory.guests.insert(id, guest);
    }
    // Made between the two readings: it is there all the same.
    for (id, file) in files {
        let vm = file.kind == GuestKind::Vm;
        let mut guest = Guest { id, vm, node: file.node.clone(), ..Guest::default() };
        fill(&mut guest, file, &mut inventory.unread);
        guest.name = guest.config.as_ref().and_then(|c| c.get("hostname").cloned()).unwrap_or_default();
        inventory.guests.insert(id, guest);
    }
}

fn fill(guest: &mut Guest, file: GuestFile, unread: &mut Vec<Unread>) {
    let current = file.config.current;
    guest.digest = file.digest;
    guest.lock = current.values.get("lock").cloned().or(guest.lock.take());
    match plan::mark::parse(current.description.as_deref().unwrap_or_default()) {
        Ok((text, mark)) => {
            guest.text = text;
            guest.mark = mark;
        }
        Err(error) => unread.push(Unread {
            what: format!("Phoenix' block in the description of {}", guest.id),
            why: Failure::from_error("", &error).errors.join(": "),
        }),
    }
    guest.config = Some(current.values);
    let pending = file.config.pending;
    guest.pending = pending.section.values.into_iter().map(|(k, v)| (k, Some(v))).collect();
    guest.pending.extend(pending.delete.into_iter().map(|k| (k.trim_start_matches('!').to_owned(), None)));
}

async fn storages(reader: &Reader, node: &str, inventory: &mut Inventory) {
    let list = match settle::read("listing the storages", || reader.storages(node)).await {
        Ok(list) => list,
        Err(failure) => {
            inventory.unread.push(Unread { what: "the storages".into(), why: failure.to_string() });
            return;
        }
    };
    for storage in list {
        if storage.active && storage.holds("vztmpl") {
            match reader.volumes(node, &storage.storage, Some("vztmpl")).await {
                Ok(volumes) => inventory.templates.extend(volumes.into_iter().map(|v| v.volid)),
                Err(error) => inventory.unread.push(Unread {
                    what: format!("the templates on {}", storage.storage),
                    why: error.to_string(),
                }),
            }
        }
        inventory.storages.insert(
            storage.storage.clone(),
            Storage {
                content: storage.content.split(',').map(|c| c.trim().to_owned()).collect(),
                active: storage.active && storage.enabled,
                available: storage.avail,
            },
        );
    }
}
