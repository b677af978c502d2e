//! Where something is put: on a node, or in a guest.

use std::fmt;
use std::str::FromStr;

pub use blueprint::model::GuestKind;
use blueprint::model::{self, Guests};
use blueprint::names::{GuestName, NodeName};
use serde::{Deserialize, Serialize};

use crate::address::{Address, AddressError};

/// Where something is put. Prints as it stands behind the `@` of an address: `container.notes`, `node.pve2`; and as
/// `the node` where that is the one that answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// A node, by its name; the one that answers where absent, which is the only one of most sites.
    Node(Option<NodeName>),
    /// A guest.
    Guest(GuestKind, GuestName),
}

impl Host {
    /// The node that answers.
    pub const THE_NODE: Self = Self::Node(None);

    /// A container.
    pub fn container(name: impl Into<GuestName>) -> Self {
        Self::Guest(GuestKind::Container, name.into())
    }

    /// A guest of the blueprint.
    pub fn of_guest(guest: &model::Guest) -> Self {
        Self::Guest(guest.kind(), guest.name.clone())
    }

    /// The guest that the blueprint calls so; a container where there is none of that name.
    pub fn called(guests: &Guests, name: &GuestName) -> Self {
        guests.get(name).map_or_else(|| Self::container(name.clone()), |guest| Self::of_guest(guest))
    }

    /// The host whose own address this is: a guest, and the node that answers for what is no guest.
    pub fn of(address: &Address) -> Self {
        match address.guest_kind() {
            Some(kind) => Self::Guest(kind, address.name().into()),
            None => Self::THE_NODE,
        }
    }

    /// The guest's name, where it is one.
    pub fn guest(&self) -> Option<&GuestName> {
        match self {
            Self::Guest(_, name) => Some(name),
            Self::Node(_) => None,
        }
    }

    /// Whether it is a node.
    pub fn is_node(&self) -> bool {
        matches!(self, Self::Node(_))
    }

    /// Whether it is the guest of this name.
    pub fn is_guest(&self, name: &str) -> bool {
        self.guest().is_some_and(|guest| **guest == *name)
    }

    /// The address of the guest.
    pub fn address(&self) -> Option<Address> {
        match self {
            Self::Guest(kind, name) => Some(Address::new(kind.as_str(), name)),
            Self::Node(_) => None,
        }
    }

    /// As people call it in a list of one site's things: a guest by its name alone.
    pub fn short(&self) -> String {
        self.guest().map_or_else(|| self.to_string(), ToString::to_string)
    }

    /// How a person has a command run there.
    pub fn typed(&self, command: &str) -> String {
        match self {
            Self::Guest(_, name) => format!("phoenix-cli exec {name} -- {command}"),
            Self::Node(None) => format!("on the node: {command}"),
            Self::Node(Some(name)) => format!("on the node {name}: {command}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(None) => f.write_str("the node"),
            Self::Node(Some(name)) => write!(f, "node.{name}"),
            Self::Guest(kind, name) => write!(f, "{}.{name}", kind.as_str()),
        }
    }
}

impl FromStr for Host {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_once('.') {
            Some((_, "")) | None => Err(AddressError::new(text)),
            Some(("node", name)) => Ok(Self::Node(Some(name.into()))),
            Some((word, name)) => match GuestKind::of_word(word) {
                Some(kind) => Ok(Self::Guest(kind, name.into())),
                None => Err(AddressError::new(text)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prints_what_it_parsed(kind in "container|vm|node", name in "[A-Za-z0-9.-]{1,20}") {
            let text = format!("{kind}.{name}");
            prop_assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }

        #[test]
        fn whatever_the_text_there_is_no_panic(text in ".{0,20}") {
            let _ = text.parse::<Host>();
        }
    }

    #[test]
    fn what_is_no_host() {
        for text in ["notes", "container.", "service.notes", ""] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }
}
