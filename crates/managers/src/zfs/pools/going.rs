//! Pools of the site that it does not want any more.

use std::collections::BTreeSet;

use plan::address::kinds;
use plan::inventory::zfs::{Pool, Zfs};
use plan::mark::Mark;
use plan::planner::{Proposal, World};
use plan::step::{Consent, Grade, SITE_GOES};
use plan::{Action, Address, Change, Problem, Step};
use serde_json::Value;

use super::super::{
    AppliedPool, DatasetDeed, DatasetWork, MADE_BY, PoolDeed, PoolWork, applied, datasets, mark_of, roughly,
    step,
};
use super::state;

/// Where the site goes, what is on pools stays: the node forgets whose they were.
pub(super) fn stay(world: World<'_>, mark: Option<&Mark>, proposal: &mut Proposal) {
    let Some(mark) = mark else { return };
    let node = world.inventory.command_node().to_owned();
    let zfs = world.inventory.reached().zfs.as_ref();
    for name in mark.names(kinds::POOL) {
        if zfs.is_some_and(|zfs| zfs.pools.contains_key(name)) {
            proposal.note(format!(
                "pool.{name} stays with all that is on it; to destroy it, on the node: zpool destroy {name}"
            ));
        }
        let work = PoolWork { node: node.clone(), pool: name.to_owned(), deed: PoolDeed::Forget };
        proposal.step(forgetting(Address::pool(name), SITE_GOES), &work);
    }
    for name in mark.names(kinds::DATASET) {
        let work = DatasetWork { node: node.clone(), dataset: name.to_owned(), deed: DatasetDeed::Forget };
        proposal.step(forgetting(Address::dataset(name), SITE_GOES), &work);
    }
}

/// A step that only has the node forget something.
pub(in crate::zfs) fn forgetting(address: Address, reason: impl Into<String>) -> Step {
    let is = Change::new("is", "the site's", Value::Null).note("it stays as it is");
    step(address, Action::Delete).reason(reason).change(is)
}

/// The pool that is destroyed where it is not declared any more: one that the site made, and that is still the same.
pub(in crate::zfs) fn destroys<'a>(world: World<'_>, zfs: &'a Zfs, name: &str) -> Option<&'a Pool> {
    let known = applied::<AppliedPool>(mark_of(world), &Address::pool(name))?;
    let made_by = zfs.datasets.get(name).and_then(|it| it.local.get(MADE_BY));
    let there = zfs.pools.get(name).filter(|there| known.guid.as_ref() == Some(&there.guid));
    there.filter(|_| made_by == Some(&world.desired.site))
}

/// A pool that is not declared any more.
pub(super) fn removed(world: World<'_>, zfs: &Zfs, name: &str, proposal: &mut Proposal) {
    let address = Address::pool(name);
    let node = world.inventory.command_node().to_owned();
    let known = applied::<AppliedPool>(mark_of(world), &address).unwrap_or_default();
    let forget = |reason: &str, proposal: &mut Proposal| {
        let work = PoolWork { node: node.clone(), pool: name.to_owned(), deed: PoolDeed::Forget };
        proposal.step(forgetting(address.clone(), reason), &work);
    };
    let Some(there) = destroys(world, zfs, name) else {
        let is_ours = zfs.pools.get(name).is_some_and(|there| known.guid.as_ref() == Some(&there.guid));
        return match is_ours {
            true => forget(
                "the site took it over and did not make it: it stays, and is the site's no more",
                proposal,
            ),
            false => forget("it is not there, or another one is by now: the node forgets it", proposal),
        };
    };
    let mut needs = Vec::new();
    let mut own = BTreeSet::new();
    for (dataset, _) in zfs.below(name) {
        match datasets::goes_with(world, dataset, proposal) {
            Ok(need) => needs.extend(need),
            Err(()) if datasets::is_ours(world, zfs, dataset) => drop(own.insert(dataset.to_owned())),
            Err(()) => {
                return proposal.problem(Problem::new(
                    address,
                    "zfs::in-use",
                    format!("the pool {name} cannot be destroyed: {dataset} is on it, which this site did not make"),
                    format!("move it away, or destroy it yourself, on the node: zfs list -r {name}; or declare the pool again"),
                ));
            }
        }
    }
    if let Err(problem) = datasets::storages_on(world, name, &address).map(|all| needs.extend(all)) {
        return proposal.problem(*problem);
    }
    if let Some(problem) = datasets::mounted_in(world, zfs, name, &address, proposal) {
        return proposal.problem(problem);
    }
    proposal.relies_on(address.clone(), state(world.inventory, name));
    let lost = Change::new("data", roughly(there.allocated), Value::Null)
        .note(format!("with all its datasets; until its disks are used for something else, zpool import -D {name} brings it back"));
    let step = step(address, Action::Delete)
        .reason("the blueprint does not declare it any more")
        .change(lost)
        .grade(Grade::DataLoss)
        .consent(Consent::Needed)
        .needs(needs);
    let deed = PoolDeed::Destroy { guid: there.guid.clone(), datasets: own };
    proposal.step(step, &PoolWork { node, pool: name.to_owned(), deed });
}
