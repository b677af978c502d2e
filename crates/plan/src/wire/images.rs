//! Where the templates and images are to be that the blueprint declares.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{Blueprint, ImageFrom};
use blueprint::names::NodeName;

use crate::address::Address;
use crate::desired::Image;

/// Each on the nodes of the guests that name it, and on the site's own node where none does. `node` is that one; the node that
/// answers where absent.
pub(super) fn images(blueprint: &Blueprint, node: Option<&NodeName>) -> BTreeMap<Address, Image> {
    let mut placed = BTreeMap::new();
    for image in blueprint.templates.values().chain(blueprint.images.values()) {
        // A guest is where it is, whoever is a clone of it.
        if let ImageFrom::Golden(golden) = &image.from {
            let node = blueprint.guests.get(golden).and_then(|golden| golden.node.as_ref()).or(node).cloned();
            let image = Image { spec: image.clone(), node };
            placed.insert(image.resource(), image);
            continue;
        }
        if let ImageFrom::Guest(_) = &image.from {
            let image = Image { spec: image.clone(), node: node.cloned() };
            placed.insert(image.resource(), image);
            continue;
        }
        let users = blueprint.guests.values().filter(|guest| guest.is_made_of(image));
        let mut nodes: BTreeSet<Option<NodeName>> =
            users.map(|guest| guest.node.as_ref().or(node).cloned()).collect();
        if nodes.is_empty() {
            nodes.insert(node.cloned());
        }
        let made = nodes.into_iter().map(|node| Image { spec: image.clone(), node });
        placed.extend(made.map(|image| (image.resource(), image)));
    }
    placed
}
