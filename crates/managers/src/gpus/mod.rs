//! Graphics cards of the node: shared by containers, which get its device files, or passed through to one virtual machine, which
//! gets it by a resource mapping.
//!
//! What a card is, the node tells (`seen`, read by `read.sh` in the one command that reads everything): which driver has it, which
//! device files are its own, which IOMMU group it is in. So which `/dev/nvidiaN` or `/dev/dri/renderDN` a container gets follows from
//! what is seen and not from a guess (`uses`), and what is missing is a problem before anything is built (P-62): a device is never
//! optional. A mapping is made and kept by a step of the card (`diff`, `crew`); which is the site's, the node's mark says.
//!
//! Nothing here changes who drives a card: that is the feature `vfio` of the node, and takes a start of the node (P-22).

mod crew;
mod diff;
mod seen;
mod uses;

use std::collections::BTreeMap;
use std::sync::Arc;

use apply::Crew;
use async_trait::async_trait;
use blueprint::model::{Gpu, memory_of};
use plan::address::kinds;
use plan::inventory::Unread;
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::{Address, Desired, Inventory};
use proxmox::client::Reader;
use proxmox::inventory::{Guests, Look};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use seen::{Beside, Card, Gpus, Maker, parse};
pub(crate) use uses::{check, devices, shown};

use crate::keys::form;
use crate::settle;
use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// What is looked at on the node is called so.
const LOOK: Look = Look { name: "gpus", script: seen::SCRIPT };

/// Why it takes root.
const ROOT: &str = "which mappings are the site's is remembered on the node itself";

/// The graphics cards, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cards;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuWork {
    /// The node's name.
    pub node: String,
    /// The card's name.
    pub card: String,
    /// Its mapping's name.
    pub mapping: String,
    /// What is done.
    #[serde(rename = "do")]
    pub deed: GpuDeed,
}

/// What is done with the mapping of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuDeed {
    /// It is there afterwards, and leads to this: `node=pve1,path=0000:01:00,…`.
    Put(String),
    /// It goes, where it still leads to this.
    Remove(String),
    /// The node forgets that it is the site's.
    Forget,
}

/// What the node remembers of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Applied {
    /// Its mapping.
    #[serde(rename = "m")]
    mapping: String,
    /// What that leads to.
    #[serde(rename = "e")]
    entry: String,
}

impl Applied {
    fn of(mark: &Mark, card: &str) -> Option<Self> {
        serde_json::from_value(mark.entry(&Address::gpu(card))?.clone()).ok()
    }
}

/// The site's own mark on the node.
fn mark_of<'a>(desired: &Desired, inventory: &'a Inventory) -> Option<&'a Mark> {
    inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == desired.site)
}

/// What was seen of the node's cards: why it is not known, as an error; `None` where nobody looked.
fn seen(inventory: &Inventory) -> Option<Result<Gpus, String>> {
    Some(match inventory.reached().looked.get(LOOK.name)? {
        Ok(text) => parse(text),
        Err(text) => {
            Err(format!("the look ended early; its last words: {}", text.lines().last().unwrap_or("none")))
        }
    })
}

/// Whether two mappings lead to the same: the order of what they say does not count.
fn same(one: &str, other: &str) -> bool {
    let parts = |text: &str| -> BTreeMap<String, String> {
        let all = text.split(',').filter_map(|part| part.split_once('='));
        all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    parts(one) == parts(other)
}

/// Whether the site makes a mapping of this name.
pub(crate) fn makes_mapping(desired: &Desired, name: &str) -> bool {
    desired.gpus.values().any(|gpu| gpu.mapping.as_deref() == Some(name))
}

/// Reads the resource mappings of PCI devices, where the site has some or is to have some. What cannot be read is said.
pub(crate) async fn look(reader: &Reader, desired: &Desired, inventory: &mut Inventory) {
    let has = mark_of(desired, inventory).is_some_and(|mark| mark.names(kinds::GPU).next().is_some());
    if !has && !desired.gpus.values().any(|gpu| gpu.pass) {
        return;
    }
    match settle::read("listing the resource mappings", || reader.mappings("pci")).await {
        Ok(list) => {
            inventory.datacenter.mappings = Some(list.into_iter().map(|it| (it.id, it.map)).collect());
        }
        Err(failure) => {
            let what = "the resource mappings of PCI devices".to_owned();
            inventory.unread.push(Unread { what, why: failure.to_string() });
        }
    }
}

/// Bytes of a card's memory as a person reads them.
fn shown_bytes(bytes: u64) -> String {
    form::mib(bytes >> 20)
}

/// What a card is, in a few words: `10de:2684, driven by nvidia`.
fn words(card: &Card) -> String {
    let driver =
        card.driver.as_deref().map_or("driven by nothing".to_owned(), |it| format!("driven by {it}"));
    format!("{}:{}, {driver}", card.vendor, card.device)
}

fn facts_of(gpu: &Gpu, desired: &Desired) -> Value {
    let mut facts = json!({
        "declared": gpu.declared.to_string(), "pci": gpu.pci, "use": if gpu.pass { "pass" } else { "share" },
    });
    if let Some(mib) = gpu.memory_mib {
        facts["memory"] = form::mib(mib).into();
    }
    if let Some(driver) = &gpu.driver {
        facts["driver"] = driver.as_str().into();
    }
    if let Some(installer) = &gpu.installer {
        facts["installed from"] = installer.url.as_str().into();
    }
    if let Some(watts) = gpu.power_limit {
        facts["power limit"] = format!("{watts} W").into();
    }
    if let Some(mapping) = &gpu.mapping {
        facts["mapping"] = mapping.as_str().into();
    }
    let guests = desired.guests.values().filter(|guest| guest.gpus.iter().any(|it| it.card == gpu.name));
    let names: Vec<String> = guests.map(|guest| guest.resource().to_string()).collect();
    facts["used by"] = names.join(", ").into();
    let takes = memory_of(&gpu.name, desired.guests.values().map(|guest| &*guest.spec));
    if !takes.is_empty() {
        let each: Vec<String> =
            takes.iter().map(|(name, mib)| format!("{name} {}", form::mib(*mib))).collect();
        facts["taken"] = each.join(", ").into();
    }
    facts
}

#[async_trait]
impl Manager for Cards {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::GpuCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let gpu = desired.gpus.get(address.name()).filter(|_| address.kind() == kinds::GPU)?;
        Some(facts_of(gpu, desired))
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
        let gpu = seen.desired.gpus.get(address.name());
        let Some(Ok(gpus)) = self::seen(seen.inventory) else { return by_plan };
        let Some((gpu, card)) = gpu.and_then(|gpu| Some((gpu, gpus.cards.get(&gpu.pci)?))) else {
            return by_plan;
        };
        if seen.plan.steps.iter().any(|step| step.address == *address) {
            return by_plan;
        }
        let takes = memory_of(&gpu.name, seen.desired.guests.values().map(|guest| &*guest.spec));
        let taken: u64 = takes.iter().map(|(_, mib)| mib).sum();
        let has = gpu.memory_mib.or(card.memory.map(|bytes| bytes >> 20));
        let mut text = format!("{} {}", if gpu.pass { "passed through," } else { "shared," }, words(card));
        if let Some(has) = has.filter(|_| !gpu.pass) {
            text.push_str(&format!("; {} of {} spoken for", form::mib(taken), form::mib(has)));
        }
        Status::new(address, text)
    }
}

impl Kind for Cards {
    fn kind(&self) -> &'static str {
        kinds::GPU
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        diff::diff(world, proposal);
    }

    fn state(&self, desired: &Desired, inventory: &Inventory, address: &Address) -> String {
        diff::state(desired, inventory, address.name())
    }
}
