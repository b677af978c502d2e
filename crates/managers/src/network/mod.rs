//! The node's network: bridges, bonds, VLANs and cards of `/etc/network/interfaces`, each of them a resource.
//!
//! All that changes is one change of one file, with a guard (`guarded`): the node takes it back by itself unless a new
//! connection gets through after it (P-20). What is not declared stays byte for byte. A link that was there before it was
//! declared is taken over, and stays when it is not declared any more; one that was made goes. Which is which, the node remembers
//! ([`crate::hypervisor`]). Start at `stanza` for how a link is edited, at `way` for what is never cut in silence, at `diff` for
//! the plan and at `crew` for how it is carried out.

mod addresses;
mod crew;
mod diff;
mod force;
mod pins;
mod stanza;
mod way;

use std::sync::Arc;

pub(crate) use addresses::addresses;
use apply::Crew;
use async_trait::async_trait;
use blueprint::model::Link;
use plan::address::kinds;
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::{Address, Desired, Inventory};
use proxmox::inventory::{Guests, Look};
use proxmox::network::{Interfaces, SCRIPT, SeenNetwork, parse_seen};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// What is looked at on the node is called so.
const LOOK: Look = Look { name: kinds::NETWORK, script: SCRIPT };

/// The links of the node, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Networks;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkWork {
    /// It is to be as it is declared.
    Put(Box<Put>),
    /// It goes: it was made for the site.
    Remove {
        /// The node's name.
        node: String,
        /// The link.
        name: String,
        /// How the file says it now.
        was: String,
        /// The cards whose names need not be kept any more, by MAC.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unpin: Vec<String>,
    },
    /// It stays, and is the site's no more.
    Forget {
        /// The node's name.
        node: String,
        /// The link.
        name: String,
        /// The cards whose names need not be kept any more, by MAC.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unpin: Vec<String>,
    },
}

/// What is put in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// The node's name.
    pub node: String,
    /// What is wanted.
    pub link: Link,
    /// Its parts, by the names that they have on the node today.
    pub parts: Vec<String>,
    /// How the file changes.
    pub edits: Vec<Edit>,
    /// Whether it is made for the site: it goes when it is not declared any more.
    pub made: bool,
    /// The cards that keep their names from now on: MAC and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<(String, String)>,
    /// The cards whose names need not be kept any more, by MAC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpin: Vec<String>,
}

/// How the file changes in one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The link.
    pub name: String,
    /// Whether it comes up by itself.
    pub auto: bool,
    /// How the file says it now.
    pub was: String,
    /// How it is to.
    pub now: String,
}

/// What is remembered of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    /// Whether it was made for the site.
    #[serde(rename = "m", default, skip_serializing_if = "std::ops::Not::not")]
    made: bool,
    /// The MACs of the cards whose names are kept for it.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pins: Vec<String>,
}

impl Applied {
    fn of(mark: &Mark, name: &str) -> Option<Self> {
        serde_json::from_value(mark.entry(&Address::network(name))?.clone()).ok()
    }
}

/// What was seen of the node's network: why it is not known, as an error; `None` where nobody looked.
fn seen(inventory: &Inventory) -> Option<Result<SeenNetwork, String>> {
    let looked = inventory.reached().looked.get(LOOK.name)?;
    Some(match looked {
        Ok(text) => parse_seen(text),
        Err(text) => {
            Err(format!("the look ended early; its last words: {}", text.lines().last().unwrap_or("none")))
        }
    })
}

/// How a file says a link: all of its configurations as they stand there.
fn text_of(file: &Interfaces, name: &str) -> String {
    file.of(name).map(ToString::to_string).collect()
}

/// The links that are declared.
fn declared(desired: &Desired) -> impl Iterator<Item = Link> {
    let of_kind = desired.resources.iter().filter(|(address, _)| address.kind() == kinds::NETWORK);
    of_kind.filter_map(|(_, resource)| serde_json::from_value(Value::clone(&resource.wanted)).ok())
}

/// Whether the site makes a bridge of this name on the node that commands lead to.
pub(crate) fn makes_bridge(desired: &Desired, name: &str) -> bool {
    let address = Address::network(name);
    let link = desired.resources.get(&address).map(|it| &it.wanted);
    link.is_some_and(|it| it["is"].get("bridge").is_some())
}

#[async_trait]
impl Manager for Networks {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::NetworkCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let resource = desired.resources.get(address).filter(|_| address.kind() == kinds::NETWORK)?;
        let link: Link = serde_json::from_value(Value::clone(&resource.wanted)).ok()?;
        let parts = link.parts().iter().map(ToString::to_string).collect();
        let mut facts = json!({ "is": link.kind() });
        if let Some(declared) = &resource.declared {
            facts["declared"] = declared.to_string().into();
        }
        for (key, value) in stanza::to_say(&stanza::Wanted { link: &link, parts }) {
            facts[key] = value.into();
        }
        Some(facts)
    }

    fn looks(&self) -> Option<Look> {
        Some(LOOK)
    }

    fn observe(&self, read: &mut Guests, inventory: &mut Inventory) {
        if let Some(seen) = read.seen.remove(LOOK.name) {
            inventory.reached_mut().looked.insert(LOOK.name.to_owned(), seen);
        }
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let by_plan = Status::by_plan(address, seen.plan);
        if seen.plan.steps.iter().any(|step| step.address == *address) {
            return by_plan;
        }
        let Some(Ok(network)) = self::seen(seen.inventory) else { return by_plan };
        let Some(link) = network.links.get(address.name()) else { return by_plan };
        let addresses: Vec<String> =
            link.addresses.iter().map(|(it, length)| format!("{it}/{length}")).collect();
        let state = if link.up { "up" } else { "off" };
        let words = if addresses.is_empty() {
            state.to_owned()
        } else {
            format!("{state}, {}", addresses.join(", "))
        };
        Status::new(address, words)
    }
}

impl Kind for Networks {
    fn kind(&self) -> &'static str {
        kinds::NETWORK
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        diff::diff(world, proposal);
    }

    fn state(&self, _: &Desired, inventory: &Inventory, address: &Address) -> String {
        match seen(inventory) {
            Some(Ok(seen)) => {
                text_of(&Interfaces::parse(seen.text.as_deref().unwrap_or_default()), address.name())
            }
            _ => "unseen".to_owned(),
        }
    }
}
