//! What a node offers: storages and pools. Pure.

use plan::Problem;
use plan::desired::Guest as Wanted;
use plan::inventory::{Inventory, NodeFacts};
use plan::planner::World;

use super::table;
use crate::privileges::or_unseen;

/// The storage for a first disk where the blueprint names none: the first active one that may hold such `content`,
/// `local` last, since that is usually the system's own disk.
pub fn first_storage<'n>(node: &'n NodeFacts, content: &str) -> Option<&'n str> {
    let fits = |(_, s): &(&String, &plan::inventory::Storage)| s.active && s.content.contains(content);
    let mut all: Vec<&str> = node.storages.iter().filter(fits).map(|(name, _)| name.as_str()).collect();
    all.sort_by_key(|name| (*name == "local", *name));
    all.first().copied()
}

/// Why a volume cannot be made on one of these storages of `node`, if it cannot.
pub(super) fn unusable(
    world: World<'_>,
    wanted: &Wanted,
    node: &str,
    mut storages: impl Iterator<Item = String>,
) -> Option<Problem> {
    let there = &world.inventory.facts(node).storages;
    // Where they could not be read the node itself will say it.
    if there.is_empty() {
        return None;
    }
    let content = table::of(wanted).content;
    // What the blueprint declares will be as it says: its step comes before.
    let declared = |name: &str| world.desired.storages.get(name).map(|s| s.is_on(node) && s.holds(content));
    let seen = |name: &str| there.get(name).is_some_and(|s| s.active && s.content.contains(content));
    let fits = |name: &str| declared(name).unwrap_or_else(|| seen(name));
    let name = storages.find(|n| !fits(n))?;
    let message = match there.get(&name) {
        None => format!("{node} has no storage `{name}`"),
        Some(storage) if !storage.active => format!("the storage {name} of {node} is not active"),
        Some(_) => format!("the storage {name} of {node} may not hold {}s' disks", wanted.kind.as_str()),
    };
    let have: Vec<&str> = there.keys().map(String::as_str).filter(|n| fits(n)).collect();
    let unseen = match there.contains_key(&name) {
        true => String::new(),
        false => format!("; {}", or_unseen("Datastore.AllocateSpace", &format!("/storage/{name}"))),
    };
    Some(Problem {
        address: wanted.resource(),
        code: "plan::no-storage".into(),
        message,
        hint: match have.as_slice() {
            [] => format!("let a storage of the node hold `{content}`: Datacenter → Storage{unseen}"),
            have => format!("these can be used: {}{unseen}", have.join(", ")),
        },
    })
}

/// How a person says where a command is typed: `the node` is the one that answers.
pub(crate) fn on(inventory: &Inventory, node: &str) -> String {
    if node == inventory.node { "on the node".to_owned() } else { format!("on {node}") }
}

/// Why the container's pool cannot be had, if it cannot.
pub(super) fn no_pool(world: World<'_>, wanted: &Wanted) -> Option<Problem> {
    let pool = wanted.pool.as_ref().filter(|p| !world.inventory.pools.contains(*p))?;
    Some(Problem {
        address: wanted.resource(),
        code: "plan::no-pool".into(),
        message: format!("there is no pool `{pool}`, or the token may not see it"),
        hint: format!(
            "on the node: pveum pool add {pool}; {}",
            or_unseen("Pool.Audit", &format!("/pool/{pool}"))
        ),
    })
}
