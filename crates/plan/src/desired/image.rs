//! Container templates and images of virtual machines, on the nodes whose guests are made of them.

use std::sync::Arc;

use blueprint::model;
use blueprint::names::NodeName;

use super::{Desired, Guest};
use crate::address::{Address, kinds};
use crate::host::Host;

/// A template or an image on one node. It reads as its declaration: `image.from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// As it is declared.
    pub spec: Arc<model::Image>,
    /// The node; the one that answers where absent.
    pub node: Option<NodeName>,
}

impl std::ops::Deref for Image {
    type Target = model::Image;
    fn deref(&self) -> &model::Image {
        &self.spec
    }
}

impl Image {
    /// Its resource address.
    pub fn resource(&self) -> Address {
        let kind = match self.content {
            model::Content::Template => kinds::TEMPLATE,
            model::Content::Disk | model::Content::Iso => kinds::IMAGE,
        };
        Address::on(kind, &self.name, &Host::Node(self.node.clone()))
    }
}

impl Desired {
    /// What a guest is a clone of, where it is one: a template or an image that is a guest, wherever that is.
    pub fn cloned_from(&self, guest: &Guest) -> Option<&Image> {
        self.images.values().find(|image| image.from.is_cloned() && guest.is_made_of(image))
    }

    /// The node that a guest is placed on; the one that answers where absent.
    pub fn node_of(&self, guest: &Guest) -> Option<NodeName> {
        guest.node.clone().or_else(|| self.node.clone())
    }
}
