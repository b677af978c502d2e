//! What has to be seen for storages beside what is read for every plan: nothing where the site declares none and has none.

use std::collections::{BTreeMap, BTreeSet};

use apply::Failure;
use blueprint::model::Storage;
use futures::future::join_all;
use plan::address::kinds;
use plan::inventory::{Definition, Unread};
use plan::{Desired, Inventory};
use proxmox::client::Reader;

use super::compare::place_of;
use super::{Applied, mark_of};
use crate::settle;

/// Reads the definitions of storages; then, for those that are to be made, whether nodes have what they are to be made of, and
/// for those that may have to go, whether anything of guests lies there. What cannot be read is said.
pub async fn look(reader: &Reader, desired: &Desired, inventory: &mut Inventory) {
    let own: BTreeSet<String> = mark_of(desired, inventory)
        .map(|mark| mark.names(kinds::STORAGE).map(str::to_owned).collect())
        .unwrap_or_default();
    if desired.storages.is_empty() && own.is_empty() {
        return;
    }
    let definitions = match settle::read("listing the storages", || reader.definitions()).await {
        Ok(list) => list,
        Err(failure) => {
            let what = "the definitions of storages".to_owned();
            inventory.unread.push(Unread { what, why: failure.to_string() });
            return;
        }
    };
    let definitions: BTreeMap<String, Definition> = definitions
        .into_iter()
        .map(|it| (it.storage, Definition { kind: it.kind, options: it.options }))
        .collect();
    let wanted = wanted_offers(desired, inventory, &definitions);
    let held = may_go(desired, inventory, &definitions, &own);
    let offers = wanted.into_iter().map(|(node, what)| async move {
        let offered = offered(reader, &node, &what).await;
        ((node, what), offered)
    });
    let holds = held.into_iter().map(|(node, storage)| async move {
        let list =
            settle::read("listing what is on a storage", || reader.volumes(&node, &storage, None)).await;
        (node, storage, list)
    });
    let (offers, holds) = tokio::join!(join_all(offers), join_all(holds));
    let datacenter = &mut inventory.datacenter;
    datacenter.storages = Some(definitions);
    datacenter.offers = offers.into_iter().filter_map(|(key, offered)| Some((key, offered?))).collect();
    for (node, storage, list) in holds {
        match list {
            Ok(volumes) => {
                let of_guests =
                    volumes.into_iter().filter(|it| is_disk(&it.content)).filter_map(|it| it.vmid);
                datacenter.holds.entry(storage).or_default().extend(of_guests);
            }
            Err(failure) => {
                let what = format!("what is on {storage} of {node}");
                inventory.unread.push(Unread { what, why: failure.to_string() });
            }
        }
    }
}

/// Whether what lies there is a guest's disk.
pub(super) fn is_disk(content: &str) -> bool {
    matches!(content, "images" | "rootdir")
}

/// What a node has to offer for a storage, in the words of [`plan::inventory::Datacenter::offers`].
pub(super) fn made_of(storage: &Storage) -> Option<String> {
    let value = |key: &str| storage.place.options.get(key).map_or("", String::as_str);
    match storage.place.kind.as_str() {
        "zfspool" => Some("zfs".to_owned()),
        "lvm" => Some("lvm".to_owned()),
        "lvmthin" => Some(format!("lvmthin {}", value("vgname"))),
        // A server of NFSv4 alone lists no exports; the node then does not ask it for them either (PVE::Storage::NFSPlugin).
        "nfs" if storage.options.get("options").is_some_and(|it| it.contains("vers=4")) => None,
        "nfs" => Some(format!("nfs {}", value("server"))),
        // Others take a password, which no address may hold: the call that makes them says what is wrong.
        _ => None,
    }
}

fn wanted_offers(
    desired: &Desired,
    inventory: &Inventory,
    definitions: &BTreeMap<String, Definition>,
) -> BTreeSet<(String, String)> {
    let new = desired.storages.values().filter(|storage| {
        definitions.get(&storage.name).is_none_or(|there| place_of(there) != storage.place)
    });
    let wanted = new.filter_map(|storage| Some((storage, made_of(storage)?)));
    let nodes = |storage: &Storage| {
        let online = inventory.nodes.iter().filter(|(name, facts)| facts.online && storage.is_on(name));
        online.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    wanted
        .flat_map(|(storage, what)| nodes(storage).into_iter().map(move |node| (node, what.clone())))
        .collect()
}

/// Storages of the site's own that it does not declare any more, or as something else, with the nodes that have them.
fn may_go(
    desired: &Desired,
    inventory: &Inventory,
    definitions: &BTreeMap<String, Definition>,
    own: &BTreeSet<String>,
) -> BTreeSet<(String, String)> {
    let mark = mark_of(desired, inventory);
    let goes = own.iter().filter(|name| {
        let Some(there) = definitions.get(*name) else { return false };
        let made = mark.and_then(|mark| Applied::of(mark, name));
        let place = place_of(there);
        made.is_some_and(|made| made.place == place.shown())
            && desired.storages.get(*name).is_none_or(|wanted| wanted.place != place)
    });
    let on = |name: &String| {
        let nodes = inventory.nodes.iter().filter(|(_, facts)| {
            facts.online && facts.storages.get(name).is_some_and(|storage| storage.active)
        });
        nodes.map(|(node, _)| (node.clone(), name.clone())).collect::<Vec<_>>()
    };
    goes.flat_map(on).collect()
}

/// What a node offers; nothing where the token may not ask.
async fn offered(reader: &Reader, node: &str, what: &str) -> Option<Result<BTreeSet<String>, String>> {
    let (kind, of) = what.split_once(' ').unwrap_or((what, ""));
    let key = if kind == "nfs" { "server" } else { "vg" };
    let params: Vec<(&str, &str)> = if of.is_empty() { Vec::new() } else { vec![(key, of)] };
    match settle::read("looking for what storages are made of", || reader.scan(node, kind, &params)).await {
        Ok(offers) => Some(Ok(offers.into_iter().map(|offer| offer.name).collect())),
        Err(Failure { code, .. })
            if matches!(code.as_str(), "proxmox::permission-denied" | "proxmox::unimplemented") =>
        {
            None
        }
        Err(failure) => Some(Err(failure.errors.last().cloned().unwrap_or_default())),
    }
}
