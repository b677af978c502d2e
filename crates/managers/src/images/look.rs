//! What has to be seen for templates and images beside what is read for every plan: nothing where the templates that are wanted
//! are there, and no images are declared.

use std::collections::BTreeSet;

use apply::Failure;
use blueprint::model::{Content, ImageFrom};
use futures::future::join_all;
use plan::desired::Image;
use plan::inventory::{NodeFacts, Unread};
use plan::{Desired, Inventory};
use proxmox::client::{Appliance, Reader, Volume};

use super::find::volume_of;
use super::names;
use crate::settle;

/// Reads which images the storages have, where the site declares some or a guest that is to be made names one, and the catalogues of nodes that do not have a template
/// which is wanted. All at once, one round trip. What cannot be read is said.
pub async fn look(reader: &Reader, desired: &Desired, inventory: &mut Inventory) {
    let images = wanted_images(desired, inventory);
    let catalogues = wanted_catalogues(desired, inventory);
    let listed = images.into_iter().map(|(node, storage, content)| async move {
        let list = || reader.volumes(&node, &storage, Some(content.as_str()));
        let volumes = settle::read("listing the images", list).await;
        (node, storage, content, volumes)
    });
    let asked = catalogues.into_iter().map(|node| async move {
        let list = settle::read("reading the catalogue of templates", || reader.appliances(&node)).await;
        (node, list)
    });
    let (listed, asked) = tokio::join!(join_all(listed), join_all(asked));
    for (node, storage, content, volumes) in listed {
        take_images(inventory, &node, &storage, content, volumes);
    }
    for (node, list) in asked {
        take_catalogue(inventory, &node, list);
    }
}

fn node_of<'a>(image: &'a Image, inventory: &'a Inventory) -> &'a str {
    image.node.as_ref().map_or(inventory.node.as_str(), |name| name)
}

/// The storages that may have images which are declared.
fn wanted_images(desired: &Desired, inventory: &Inventory) -> BTreeSet<(String, String, Content)> {
    let mut all = BTreeSet::new();
    for image in desired.images.values().filter(|it| it.content != Content::Template && !it.from.is_cloned())
    {
        let node = node_of(image, inventory);
        let storages = inventory.facts(node).storages.iter();
        let hold = storages.filter(|(_, it)| it.active && it.content.contains(image.content.as_str()));
        all.extend(hold.map(|(storage, _)| (node.to_owned(), storage.clone(), image.content)));
    }
    // Volumes that guests which are to be made name themselves.
    let made = desired.guests.values().filter(|guest| !inventory.guests.contains_key(&guest.id));
    for (guest, vm) in made.filter_map(|guest| Some((guest, guest.vm()?))) {
        let node = desired.node_of(guest).map_or_else(|| inventory.node.clone(), |name| name.to_string());
        let volumes =
            [&vm.image, &vm.iso, &vm.second_iso].into_iter().flatten().filter_map(|name| volume_of(name));
        all.extend(
            volumes
                .filter(|(storage, _)| inventory.facts(&node).storages.contains_key(*storage))
                .map(|(storage, content)| (node.clone(), storage.to_owned(), content)),
        );
    }
    all
}

/// The nodes that lack a template which is wanted and may come from their catalogue.
fn wanted_catalogues(desired: &Desired, inventory: &Inventory) -> BTreeSet<String> {
    let declared = desired.images.values().filter_map(|image| match &image.from {
        ImageFrom::Catalogue(begin) => Some((node_of(image, inventory).to_owned(), begin.as_str())),
        _ => None,
    });
    let templates = desired.images.values().filter(|image| image.content == Content::Template);
    let named: BTreeSet<&str> = templates.map(|image| image.name.as_str()).collect();
    let undeclared = desired.guests.values().filter_map(|guest| {
        let template = guest.container().map(|own| own.template.as_str());
        let node = desired.node_of(guest).map_or_else(|| inventory.node.clone(), |name| name.to_string());
        Some((node, template.filter(|name| !named.contains(name))?))
    });
    let online = |node: &str| inventory.nodes.get(node).is_some_and(|facts| facts.online);
    let lacks = |node: &str, wanted: &str| names::there(wanted, inventory.facts(node)).is_none();
    let all = declared.chain(undeclared).filter(|(node, wanted)| online(node) && lacks(node, wanted));
    all.map(|(node, _)| node).collect()
}

fn facts<'a>(inventory: &'a mut Inventory, node: &str) -> &'a mut NodeFacts {
    inventory.nodes.entry(node.to_owned()).or_default()
}

fn take_images(
    inventory: &mut Inventory,
    node: &str,
    storage: &str,
    content: Content,
    volumes: Result<Vec<Volume>, Failure>,
) {
    match volumes {
        Ok(volumes) => {
            let facts = facts(inventory, node);
            facts.listed.insert((storage.to_owned(), content.as_str().to_owned()));
            for volume in volumes {
                facts.sizes.extend(volume.size.map(|size| (volume.volid.clone(), size)));
                facts.images.insert(volume.volid);
            }
        }
        Err(failure) => inventory
            .unread
            .push(Unread { what: format!("the images on {storage} of {node}"), why: failure.to_string() }),
    }
}

fn take_catalogue(inventory: &mut Inventory, node: &str, list: Result<Vec<Appliance>, Failure>) {
    match list {
        Ok(list) => {
            let all = list.into_iter().map(|one| (one.template, one.section)).collect();
            facts(inventory, node).catalogue = Some(all);
        }
        Err(failure) => inventory
            .unread
            .push(Unread { what: format!("the catalogue of templates of {node}"), why: failure.to_string() }),
    }
}
