//! Storages of Proxmox VE: the definitions of the datacenter, under which nodes keep what guests are made of.
//!
//! They are of the whole datacenter, and have no place for a mark: what a site made is remembered in the notes of the datacenter
//! ([`plan::mark::notes`]), with what it is and where. Where that is lost, a storage that the blueprint declares is taken over
//! again, and one that it does not declare is nobody's: it stays. A definition is all that Phoenix ever removes; what lies on a
//! storage stays where it is.

mod compare;
mod costs;
mod crew;
mod diff;
mod full;
mod look;
mod notes;
pub(crate) mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apply::Crew;
use async_trait::async_trait;
use blueprint::model::{Place, SecretRef, Storage};
use plan::address::kinds;
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::step::{Consent, Grade};
use plan::{Action, Address, Desired, Inventory, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use costs::costs;
pub use full::{FULL, Fullness, fullness};
pub use look::look;

use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// Storages, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Storages;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageWork {
    /// It is to be defined.
    Create(Box<Wanted>),
    /// Its definition is to change, and it is to be the site's own.
    Update {
        /// What it is to be.
        wanted: Box<Wanted>,
        /// What is written: options with their values.
        set: BTreeMap<String, String>,
        /// The options that go.
        delete: BTreeSet<String>,
        /// Whether the password is written.
        password: bool,
    },
    /// It is defined as what it cannot be changed to: its definition goes, and comes again.
    Replace {
        /// What it is.
        from: Place,
        /// What it is to be.
        wanted: Box<Wanted>,
    },
    /// Its definition goes.
    Remove {
        /// Its name.
        name: String,
        /// What it is.
        place: Place,
    },
    /// The notes forget it.
    Forget {
        /// Its name.
        name: String,
    },
}

/// What a storage is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What it is, and where.
    pub place: Place,
    /// Its options, as they are written.
    pub options: BTreeMap<String, String>,
    /// Those of them that stand under `settings`: they are remembered, so that they can be taken away again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub settings: BTreeSet<String>,
    /// The password with which nodes log in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretRef>,
}

impl Wanted {
    fn of(storage: &Storage) -> Self {
        Self {
            name: storage.name.clone(),
            place: storage.place.clone(),
            options: storage.written(),
            settings: storage.settings.keys().cloned().collect(),
            password: storage.password.clone(),
        }
    }
}

/// What is remembered of a storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    /// What it was made as: only that is ever removed.
    #[serde(rename = "p")]
    place: String,
    /// The code of the password.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// What was set of it under `settings`.
    #[serde(rename = "k", default, skip_serializing_if = "BTreeSet::is_empty")]
    settings: BTreeSet<String>,
}

impl Applied {
    /// What a mark remembers of a storage.
    fn of(mark: &Mark, name: &str) -> Option<Self> {
        serde_json::from_value(mark.entry(&Address::storage(name))?.clone()).ok()
    }
}

/// The site's own mark in the notes of the datacenter.
fn mark_of<'a>(desired: &Desired, inventory: &'a Inventory) -> Option<&'a Mark> {
    inventory.datacenter.mark.as_ref().filter(|mark| mark.site == desired.site)
}

#[async_trait]
impl Manager for Storages {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::StorageCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let storage = desired.storages.get(address.name())?;
        let list = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(", ");
        let nodes = if storage.nodes.is_empty() { "all".to_owned() } else { list(&storage.nodes) };
        let mut facts = json!({
            "declared": storage.declared.to_string(), "is": storage.place.shown(), "content": list(&storage.content),
            "nodes": nodes, "enabled": storage.enabled,
        });
        for (key, value) in storage.options.iter().chain(&storage.settings) {
            facts[key] = value.as_str().into();
        }
        if let Some(password) = &storage.password {
            facts["password"] = format!("the secret {}", password.name()).into();
        }
        Some(facts)
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let by_plan = Status::by_plan(address, seen.plan);
        let Some(storage) = seen.desired.storages.get(address.name()) else { return by_plan };
        let full = fullness(storage, seen.inventory);
        let words = full.words();
        let sign = if full.trouble().is_some() { '!' } else { '✔' };
        match seen.plan.steps.iter().any(|step| step.address == *address) {
            true => by_plan,
            false => Status::new(address, words.clone()).more(&full).line(sign, words),
        }
    }

    fn list(&self) -> Option<&'static str> {
        Some("storages")
    }
}

impl Kind for Storages {
    fn kind(&self) -> &'static str {
        kinds::STORAGE
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        diff::diff(world, proposal);
    }

    fn state(&self, _: &Desired, inventory: &Inventory, address: &Address) -> String {
        let there = inventory.datacenter.storages.as_ref().and_then(|all| all.get(address.name()));
        there.map_or_else(|| "absent".to_owned(), |it| format!("{} {:?}", it.kind, it.options))
    }

    /// A definition that goes and comes again is away in between: who uses it is asked.
    fn costs(&self, _: &Inventory, step: &Step) -> Result<(Grade, Consent), String> {
        match step.action {
            Action::Replace => Ok((Grade::Rebuild, Consent::Needed)),
            _ => Ok((Grade::Live, Consent::NotNeeded)),
        }
    }
}
