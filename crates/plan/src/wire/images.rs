//! Where the templates and images are to be that the blueprint declares.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::Blueprint;
use blueprint::names::NodeName;

use crate::address::Address;
use crate::desired::Image;

/// Each on the nodes of the guests that name it, and on the site's own node where none does. `node` is that one; the node that
/// answers where absent.
pub(super) fn images(blueprint: &Blueprint, node: Option<&NodeName>) -> BTreeMap<Address, Image> {
    let mut placed = BTreeMap::new();
    for image in blueprint.templates.values() {
        let users = blueprint.containers.values().filter(|container| container.template == image.name);
        let mut nodes: BTreeSet<Option<NodeName>> =
            users.map(|container| container.node.as_ref().or(node).cloned()).collect();
        if nodes.is_empty() {
            nodes.insert(node.cloned());
        }
        let made = nodes.into_iter().map(|node| Image { spec: image.clone(), node });
        placed.extend(made.map(|image| (image.resource(), image)));
    }
    // No guest names an image yet.
    let images = blueprint.images.values().map(|image| Image { spec: image.clone(), node: node.cloned() });
    placed.extend(images.map(|image| (image.resource(), image)));
    placed
}
