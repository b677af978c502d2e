//! Pools and datasets of ZFS on the node: made, grown, imported, changed, and, with consent, destroyed.
//!
//! Two things say whose a pool or a dataset is. Its property [`MADE_BY`] says who made it: it is set in the very command that
//! makes it, stays with it wherever its disks go, and is no authority, since whoever is root there can write it. The node's mark
//! says what the site looks after. Only what both name is ever destroyed; what is declared and not in the mark (the node was
//! installed anew) is taken over where its disks are exactly those that are declared.
//!
//! `read.sh` looks, in the one command that reads everything on the node; `read` and `vdevs` understand it; `disks` judges
//! whether a disk may be taken; `pools` and `datasets` find what differs; `crew` carries it out, and looks once more before
//! each command that cannot be taken back.

mod commands;
mod crew;
mod datasets;
mod disks;
pub(crate) mod encryption;
mod health;
mod pools;
mod read;
mod vdevs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apply::Crew;
use async_trait::async_trait;
use plan::address::kinds;
use plan::inventory::Unread;
use plan::inventory::zfs::Class;
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::step::{Consent, Grade};
use plan::{Address, Desired, Inventory, Step};
use proxmox::inventory::{Guests, Look};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use encryption::KeyWork;
pub use health::{FULL, PoolHealth, health};
pub use read::parse;

use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// The property that says which site made a pool, or a dataset.
pub const MADE_BY: &str = "phoenix:site";

/// What the look on the node is called.
const LOOK: &str = "zfs";

/// Why it takes root.
const ROOT: &str = "pools and datasets are the node's own";

/// Pools, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pools;

/// Datasets, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Datasets;

/// The instruction of a step for a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolWork {
    /// The node's name.
    pub node: String,
    /// The pool's name.
    pub pool: String,
    /// What is done.
    #[serde(rename = "do")]
    pub deed: PoolDeed,
}

/// What is done with a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolDeed {
    /// It is made.
    Create {
        /// What it is made of.
        groups: Vec<Vdev>,
        /// Its sectors.
        ashift: u8,
        /// What is said of it.
        said: Said,
        /// Disks that are emptied before.
        wipe: Vec<Wipe>,
    },
    /// It is there, and is imported with all that is on it.
    Import {
        /// Its number.
        guid: String,
        /// Whether another system had it last.
        elsewhere: bool,
        /// What is said of it.
        said: Said,
    },
    /// It is changed.
    Update {
        /// Its number.
        guid: String,
        /// What is done, in this order.
        changes: Vec<PoolChange>,
        /// What is said of it.
        said: Said,
        /// Disks that are emptied before.
        wipe: Vec<Wipe>,
    },
    /// It is destroyed.
    Destroy {
        /// Its number.
        guid: String,
        /// The datasets that go with it.
        datasets: BTreeSet<String>,
    },
    /// The node forgets that it is the site's.
    Forget,
}

/// What a pool is made of, or gets more of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vdev {
    /// What it is there for: none for data, or zpool's word: `special`, `log`, `cache`, `spare`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How its disks stand in for each other: none where each stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Its disks.
    pub disks: Vec<String>,
}

/// Properties of a pool and of its first dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Those of the pool.
    pub pool: BTreeMap<String, String>,
    /// Those of its first dataset.
    pub root: BTreeMap<String, String>,
}

/// A disk that is emptied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wipe {
    /// Its name in `/dev/disk/by-id`.
    pub disk: String,
    /// Its serial number.
    pub serial: String,
    /// Whether what is on it is what a run that was cut off left there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

/// One change of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolChange {
    /// A property of the pool.
    Set {
        /// Which.
        property: String,
        /// To what.
        value: String,
    },
    /// Properties of its first dataset.
    Root {
        /// Those that are set.
        set: BTreeMap<String, String>,
        /// Those that are nobody's any more.
        inherit: BTreeSet<String>,
    },
    /// A disk takes another's place.
    Replace {
        /// The old one, as the pool calls it.
        old: String,
        /// The new one.
        new: String,
    },
    /// A disk joins a group.
    Attach {
        /// The group, or the disk that it stands beside, as the pool calls it.
        to: String,
        /// The disk.
        new: String,
    },
    /// A group is added.
    Add {
        /// What is added.
        vdev: Vdev,
        /// Its sectors.
        ashift: u8,
    },
    /// Something that holds no data of its own is taken away.
    Remove {
        /// As the pool calls it.
        name: String,
    },
}

/// The instruction of a step for a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetWork {
    /// The node's name.
    pub node: String,
    /// The dataset's whole name.
    pub dataset: String,
    /// What is done.
    #[serde(rename = "do")]
    pub deed: DatasetDeed,
}

/// What is done with a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetDeed {
    /// It is there afterwards, with these properties.
    Put {
        /// All that are said.
        said: BTreeMap<String, String>,
        /// Those that are not said any more.
        inherit: BTreeSet<String>,
        /// What is done with its key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<KeyWork>,
    },
    /// It is destroyed with its snapshots.
    Destroy,
    /// The node forgets that it is the site's.
    Forget,
}

/// What the node remembers of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct AppliedPool {
    /// Its number, once it is there.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    guid: Option<String>,
    /// The disks that it is getting: what a run that was cut off left there may be overwritten.
    #[serde(rename = "m", default, skip_serializing_if = "BTreeSet::is_empty")]
    making: BTreeSet<String>,
    /// The properties of its first dataset that were set.
    #[serde(rename = "p", default, skip_serializing_if = "BTreeSet::is_empty")]
    said: BTreeSet<String>,
}

/// What the node remembers of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct AppliedDataset {
    /// The code of the key that it has.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The properties that were set.
    #[serde(rename = "p", default, skip_serializing_if = "BTreeSet::is_empty")]
    said: BTreeSet<String>,
}

/// What a mark remembers of something.
fn applied<T: for<'de> Deserialize<'de>>(mark: Option<&Mark>, address: &Address) -> Option<T> {
    serde_json::from_value(mark?.entry(address)?.clone()).ok()
}

/// The site's own mark on the node.
fn mark_of<'a>(world: World<'a>) -> Option<&'a Mark> {
    let there = world.inventory.reached().hypervisor.as_ref();
    there.filter(|mark| mark.site == world.desired.site)
}

/// Whether two values of a property are the same: ZFS writes sizes as numbers of bytes, and no quota as 0.
fn same(one: &str, other: &str) -> bool {
    let none = |text: &str| if text == "none" { Some(0) } else { blueprint::values::bytes(text) };
    one == other || none(one).is_some_and(|bytes| none(other) == Some(bytes))
}

/// A value as a person reads it: sizes with their unit.
fn shown(property: &str, value: &str) -> String {
    let sizes = ["quota", "reservation", "refquota", "refreservation", "recordsize", "special_small_blocks"];
    let bytes = value.parse::<u64>().ok().filter(|bytes| sizes.contains(&property) && *bytes > 0);
    bytes.map_or_else(|| value.to_owned(), size)
}

/// Bytes as a person reads them, exactly.
fn size(bytes: u64) -> String {
    let units = [(50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let fits = units.iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    fits.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Bytes as a person reads them, roughly.
fn roughly(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, word)) => format!("{}.{} {word}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

/// A step on the node, with the node to itself.
fn step(address: Address, action: plan::Action) -> Step {
    crate::hypervisor::hold(Step::new(address, action)).root(ROOT)
}

fn class_word(class: Class) -> Option<&'static str> {
    match class {
        Class::Data => None,
        Class::Special => Some("special"),
        Class::Log => Some("log"),
        Class::Cache => Some("cache"),
        Class::Spare => Some("spare"),
    }
}

#[async_trait]
impl Manager for Pools {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::ZfsCrew::new(site.clone(), kinds::POOL))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let pool = desired.pools.get(address.name())?;
        let mut facts = json!({
            "declared": pool.declared.to_string(), "layout": pool.layout.as_str(),
            "disks": pool.groups.iter().map(|group| group.join(", ")).collect::<Vec<_>>().join("; "),
        });
        for (name, value) in pool.properties.iter().chain(&pool.root) {
            facts[name] = value.as_str().into();
        }
        Some(facts)
    }

    fn looks(&self) -> Option<Look> {
        Some(Look { name: LOOK, script: read::SCRIPT })
    }

    fn observe(&self, read: &mut Guests, inventory: &mut Inventory) {
        let seen = read.seen.remove(LOOK).map(|seen| match seen {
            Ok(text) => parse(&text),
            Err(text) => Err(text.lines().last().unwrap_or("it does not answer").to_owned()),
        });
        match seen {
            Some(Ok(zfs)) => inventory.reached_mut().zfs = zfs,
            Some(Err(why)) => inventory.unread.push(Unread { what: health::UNREAD.to_owned(), why }),
            None => {}
        }
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let by_plan = Status::by_plan(address, seen.plan);
        let known =
            seen.desired.pools.get(address.name()).and_then(|pool| health(pool, seen.inventory, seen.now));
        let Some(health) = known else { return by_plan };
        let sign = if health.trouble().is_some() { '!' } else { '✔' };
        match seen.plan.steps.iter().any(|step| step.address == *address) {
            true => by_plan.more(&health),
            false => Status::new(address, health.words()).more(&health).line(sign, health.words()),
        }
    }

    fn list(&self) -> Option<&'static str> {
        Some("pools")
    }
}

impl Kind for Pools {
    fn kind(&self) -> &'static str {
        kinds::POOL
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        pools::diff(world, proposal);
    }

    fn state(&self, _: &Desired, inventory: &Inventory, address: &Address) -> String {
        pools::state(inventory, address.name())
    }

    fn costs(&self, _: &Inventory, step: &Step) -> Result<(Grade, Consent), String> {
        let work: PoolWork = apply::work(step).map_err(|failure| failure.to_string())?;
        Ok(match work.deed {
            PoolDeed::Destroy { .. } => (Grade::DataLoss, Consent::Needed),
            PoolDeed::Create { wipe, .. } | PoolDeed::Update { wipe, .. }
                if wipe.iter().any(|it| !it.left) =>
            {
                (Grade::DataLoss, Consent::Needed)
            }
            PoolDeed::Import { elsewhere: true, .. } => (Grade::Live, Consent::Needed),
            _ => (Grade::Live, Consent::NotNeeded),
        })
    }
}

#[async_trait]
impl Manager for Datasets {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::ZfsCrew::new(site.clone(), kinds::DATASET))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let name = address.name();
        let pool = desired.pools.get(name.split('/').next()?)?;
        let dataset = pool.datasets.get(name)?;
        let mut facts = json!({ "declared": dataset.declared.to_string() });
        facts["mounted"] = pool.mountpoint(name).unwrap_or_else(|| "nowhere".to_owned()).into();
        for (name, value) in &dataset.properties {
            facts[name] = value.as_str().into();
        }
        if let Some(encryption) = &dataset.encryption {
            facts["encrypted with"] = format!("the secret {}", encryption.key.name()).into();
        }
        Some(facts)
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let by_plan = Status::by_plan(address, seen.plan);
        let zfs = seen.inventory.reached().zfs.as_ref();
        let Some(there) = zfs.and_then(|zfs| zfs.datasets.get(address.name())) else { return by_plan };
        if there.key.as_ref().is_some_and(|key| !key.loaded) {
            let locked = json!({ "used": there.used, "key": "not loaded" });
            return by_plan.more(locked).line('!', "its key is not loaded");
        }
        let words = format!("{} used, {} free", roughly(there.used), roughly(there.available));
        match seen.plan.steps.iter().any(|step| step.address == *address) {
            true => by_plan,
            false => {
                Status::new(address, words).more(json!({ "used": there.used, "available": there.available }))
            }
        }
    }

    fn list(&self) -> Option<&'static str> {
        Some("datasets")
    }
}

impl Kind for Datasets {
    fn kind(&self) -> &'static str {
        kinds::DATASET
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        datasets::diff(world, proposal);
    }

    fn state(&self, _: &Desired, inventory: &Inventory, address: &Address) -> String {
        datasets::state(inventory, address.name())
    }

    fn costs(&self, _: &Inventory, step: &Step) -> Result<(Grade, Consent), String> {
        let work: DatasetWork = apply::work(step).map_err(|failure| failure.to_string())?;
        Ok(match work.deed {
            DatasetDeed::Destroy => (Grade::DataLoss, Consent::Needed),
            DatasetDeed::Put { .. } | DatasetDeed::Forget => (Grade::Live, Consent::NotNeeded),
        })
    }
}
