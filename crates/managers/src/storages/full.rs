//! How full storages are, and whether their nodes can use them. Pure.

use std::collections::BTreeSet;

use blueprint::model::Storage;
use plan::Inventory;
use serde::Serialize;

use crate::health::Trouble;

/// From so many percent on a storage is told of: thin pools and ZFS get slow and then stop, and guests with them.
pub const FULL: u64 = 85;

/// How a storage is on its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fullness {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Percent in use, of the node where that is the most; none where nobody knows.
    pub percent: Option<u64>,
    /// Bytes free there.
    pub free: Option<u64>,
    /// The node where it is the fullest.
    #[serde(skip)]
    at: Option<String>,
    /// The nodes that are to have it and cannot use it.
    pub inactive: BTreeSet<String>,
    /// Whether it is to be used at all.
    pub enabled: bool,
}

/// How a storage is, by what its nodes said.
pub fn fullness(storage: &Storage, inventory: &Inventory) -> Fullness {
    let mut all = Fullness {
        name: storage.name.clone(),
        percent: None,
        free: None,
        at: None,
        inactive: BTreeSet::new(),
        enabled: storage.enabled,
    };
    let nodes = inventory.nodes.iter().filter(|(name, facts)| facts.online && storage.is_on(name));
    // Where none of them could be read, nothing is known.
    for (node, facts) in nodes.filter(|(_, facts)| !facts.storages.is_empty()) {
        match facts.storages.get(&storage.name).filter(|there| there.active) {
            None => drop(all.inactive.insert(node.clone())),
            Some(there) => {
                let Some((total, free)) = there.total.filter(|total| *total > 0).zip(there.available) else {
                    continue;
                };
                let percent = total.saturating_sub(free) * 100 / total;
                if all.percent.is_none_or(|most| percent > most) {
                    (all.percent, all.free, all.at) = (Some(percent), Some(free), Some(node.clone()));
                }
            }
        }
    }
    all
}

impl Fullness {
    /// In words.
    pub fn words(&self) -> String {
        if !self.enabled {
            return "not enabled".to_owned();
        }
        if !self.inactive.is_empty() {
            return format!("not active on {}", self.nodes());
        }
        match (self.percent, self.free) {
            (Some(percent), Some(free)) => format!("active, {percent} % full, {} GiB free", free >> 30),
            _ => "active".to_owned(),
        }
    }

    fn nodes(&self) -> String {
        self.inactive.iter().cloned().collect::<Vec<_>>().join(", ")
    }

    /// What is wrong with it.
    pub fn trouble(&self) -> Option<Trouble> {
        let name = &self.name;
        if let Some(node) = self.inactive.first() {
            return Some(Trouble::new(
                "storage::inactive",
                format!(
                    "the storage {name} is not active on {}: what is there is missing or cannot be reached",
                    self.nodes()
                ),
                format!("why, on {node}: pvesm status --storage {name}"),
            ));
        }
        let percent = self.percent.filter(|percent| self.enabled && *percent > FULL)?;
        let node = self.at.as_deref().unwrap_or_default();
        Some(Trouble::new(
            "storage::full",
            format!("the storage {name} is {percent} % full on {node}: guests stop when it is full"),
            format!(
                "what is on it, on {node}: pvesm list {name}; remove what is not needed, or make it larger"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use blueprint::model::Place;
    use plan::inventory::{self, NodeFacts};

    use super::*;

    fn storage() -> Storage {
        Storage {
            name: "tank".into(),
            place: Place { kind: "dir".into(), options: [("path".to_owned(), "/srv".to_owned())].into() },
            content: ["images".to_owned()].into(),
            nodes: BTreeSet::new(),
            enabled: true,
            create: true,
            options: Default::default(),
            settings: Default::default(),
            password: None,
            declared: Default::default(),
        }
    }

    fn seen(all: &[(&str, bool, u64)]) -> Fullness {
        let mut inventory = Inventory::default();
        for (node, active, used) in all {
            let there = inventory::Storage {
                active: *active,
                total: Some(100 << 30),
                available: Some((100 - used) << 30),
                ..inventory::Storage::default()
            };
            let facts = NodeFacts {
                online: true,
                storages: [("tank".to_owned(), there)].into(),
                ..NodeFacts::default()
            };
            inventory.nodes.insert((*node).to_owned(), facts);
        }
        fullness(&storage(), &inventory)
    }

    #[test]
    fn the_fullest_node_counts() {
        let code = |full: &Fullness| full.trouble().map(|trouble| trouble.code);
        let well = seen(&[("pve1", true, 85), ("pve2", true, 10)]);
        assert_eq!((well.words().as_str(), code(&well)), ("active, 85 % full, 15 GiB free", None));
        let full = seen(&[("pve1", true, 20), ("pve2", true, 86)]);
        assert_eq!(code(&full).as_deref(), Some("storage::full"));
        assert!(full.trouble().unwrap().text.contains("86 % full on pve2"));
        let away = seen(&[("pve1", true, 99), ("pve2", false, 0)]);
        assert_eq!(
            (away.words().as_str(), code(&away).as_deref()),
            ("not active on pve2", Some("storage::inactive"))
        );
        assert_eq!(code(&seen(&[])), None);
    }
}
