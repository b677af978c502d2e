//! What has to be done so that datasets are as they are wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{self, Dataset};
use plan::address::kinds;
use plan::inventory::zfs::Zfs;
use plan::planner::{Proposal, World};
use plan::step::{Consent, Grade};
use plan::{Action, Address, Change, Host, Inventory, Problem};
use serde_json::Value;

use super::health::REMEMBERED;
use super::pools::{self, forgetting};
use super::{
    AppliedDataset, DatasetDeed, DatasetWork, MADE_BY, applied, encryption, mark_of, roughly, same, shown,
    step,
};

pub(super) fn diff(world: World<'_>, proposal: &mut Proposal) {
    // Of a site that goes, pools say it.
    if world.options.destroy {
        return;
    }
    let Some(zfs) = &world.inventory.reached().zfs else { return };
    let all =
        || world.desired.pools.values().flat_map(|pool| pool.datasets.values().map(move |it| (pool, it)));
    let wanted: BTreeSet<&str> = all().map(|(_, it)| it.name.as_str()).collect();
    let gone = mark_of(world).into_iter().flat_map(|mark| mark.names(kinds::DATASET));
    for name in gone.filter(|name| !wanted.contains(name)) {
        removed(world, zfs, name, proposal);
    }
    for (pool, dataset) in all() {
        // What is wrong with its pool is said there.
        if !proposal.has_problem(&Address::pool(&pool.name)) {
            one(world, zfs, pool, dataset, proposal);
        }
    }
}

/// How a dataset is there, as one text.
pub(super) fn state(inventory: &Inventory, name: &str) -> String {
    let there = inventory.reached().zfs.as_ref().and_then(|zfs| zfs.datasets.get(name));
    // When something was last done is no change.
    let said = |it: &plan::inventory::zfs::Dataset| {
        let all = it.local.iter().filter(|(name, _)| !REMEMBERED.contains(&name.as_str()));
        all.map(|(name, value)| format!(" {name}={value}")).collect::<String>()
    };
    there.map_or_else(
        || "absent".to_owned(),
        |it| {
            let key = it.key.as_ref().map(|key| format!(" key={} loaded={}", key.root, key.loaded));
            let kind = if it.volume { "volume" } else { "dataset" };
            format!("{kind}{}{}", key.unwrap_or_default(), said(it))
        },
    )
}

/// Of the properties that are said, those that are not so, and those that were said before and are not any more.
pub(super) fn settings(
    said: &BTreeMap<String, String>,
    before: &BTreeSet<String>,
    local: Option<&BTreeMap<String, String>>,
) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let is = |name: &str| local.and_then(|local| local.get(name));
    let differs = |(name, value): &(&String, &String)| is(name).is_none_or(|it| !same(it, value));
    let set = said.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect();
    let inherit =
        before.iter().filter(|name| !said.contains_key(*name) && is(name).is_some()).cloned().collect();
    (set, inherit)
}

fn one(world: World<'_>, zfs: &Zfs, pool: &model::Pool, dataset: &Dataset, proposal: &mut Proposal) {
    let name = &dataset.name;
    let address = Address::dataset(name);
    let known = applied::<AppliedDataset>(mark_of(world), &address);
    let imported = zfs.pools.contains_key(&pool.name);
    let there = zfs.datasets.get(name);
    if there.is_some_and(|it| it.volume) {
        return proposal.problem(Problem::new(
            address,
            "zfs::a-volume",
            format!("{name} is there already, and is a volume rather than a file system"),
            format!(
                "give yours another name; or look whether it is still needed, on the node: zfs get all {name}"
            ),
        ));
    }
    let mut key = match encryption::differs(world, dataset, there, known.as_ref()) {
        Ok(key) => key,
        Err(problem) => return proposal.problem(*problem),
    };
    let before = known.as_ref().map(|it| it.said.clone()).unwrap_or_default();
    let (set, inherit) = settings(&dataset.properties, &before, there.map(|it| &it.local));
    let says = dataset.properties.keys().cloned().collect::<BTreeSet<_>>();
    // Where the key lies changes with the file that it lies in.
    if key.is_none() && set.contains_key("keylocation") {
        key = encryption::placing(dataset).map(|work| ("its key is kept elsewhere".to_owned(), work));
    }
    let (action, reason) = match (there, &known) {
        (None, _) if !imported && !proposal.makes_anew(&Address::pool(&pool.name)) => {
            (Action::Update, "its pool is imported first: it is made where it is not on it".to_owned())
        }
        (None, None) => (Action::Create, format!("declared in {}", dataset.declared)),
        (None, Some(_)) => (Action::Create, "it is not there any more".to_owned()),
        (Some(_), None) => (Action::Update, "it is there already: it is the site's from now on".to_owned()),
        (Some(_), Some(_)) if key.is_some() => {
            (Action::Update, key.as_ref().map(|(reason, _)| reason.clone()).unwrap_or_default())
        }
        (Some(_), Some(_)) if !set.is_empty() || !inherit.is_empty() => {
            (Action::Update, "its properties change".to_owned())
        }
        (Some(_), Some(known)) if known.said != says => {
            (Action::Update, "it is not written down what was set of it".to_owned())
        }
        (Some(_), Some(_)) => return,
    };
    let old = |name: &String| there.and_then(|it| it.local.get(name)).map(|old| shown(name, old));
    let changes = set.iter().map(|(name, value)| Change::new(name.clone(), old(name), shown(name, value)));
    let nobodys = inherit.iter().map(|name| {
        Change::new(name.clone(), old(name), Value::Null).note("as the one that it is in has it")
    });
    let secret = key.as_ref().map(|(_, work)| {
        let is = Change::new("key", Value::Null, format!("the secret {}", work.secret.name()));
        if there.is_none() { is.note("what is in it is lost without") } else { is }
    });
    let step = step(address.clone(), action).reason(reason).changes(changes).changes(nobodys).changes(secret);
    proposal.relies_on(address, state(world.inventory, name));
    let deed = DatasetDeed::Put { said: dataset.properties.clone(), inherit, key: key.map(|(_, work)| work) };
    let node = world.inventory.command_node().to_owned();
    proposal.step(step, &DatasetWork { node, dataset: name.clone(), deed });
}

/// Whether a dataset is one that this site made and remembers.
pub(super) fn is_ours(world: World<'_>, zfs: &Zfs, name: &str) -> bool {
    let known = mark_of(world).is_some_and(|mark| mark.entry(&Address::dataset(name)).is_some());
    let made_by = zfs.datasets.get(name).and_then(|it| it.local.get(MADE_BY));
    known && made_by == Some(&world.desired.site)
}

/// Whether a dataset is a disk of a guest that goes with this plan: the step that it goes with.
pub(super) fn goes_with(world: World<'_>, dataset: &str, proposal: &Proposal) -> Result<Option<Address>, ()> {
    // `tank/vms/subvol-101-disk-0`, `vm-101-disk-0`, `base-101-disk-0` (PVE::Storage::ZFSPoolPlugin).
    let last = dataset.rsplit('/').next().unwrap_or_default();
    let mut words = last.split('-');
    let is_disk = matches!(words.next(), Some("subvol" | "vm" | "base" | "basevol"));
    let id = words.next().and_then(|id| id.parse::<u32>().ok()).filter(|_| is_disk).ok_or(())?;
    let guest = world.inventory.guests.get(&id).ok_or(())?;
    let mark = guest.mark.as_ref().filter(|mark| mark.site == world.desired.site).ok_or(())?;
    proposal.removes(&mark.address).then(|| Some(mark.address.clone())).ok_or(())
}

/// The steps that take away definitions of storages on a dataset, or in it; a problem where one stays.
pub(super) fn storages_on(
    world: World<'_>,
    name: &str,
    address: &Address,
) -> Result<Vec<Address>, Box<Problem>> {
    let there = &world.inventory.datacenter;
    let own = there.mark.as_ref().filter(|mark| mark.site == world.desired.site);
    let on =
        |pool: &str| pool.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut needs = Vec::new();
    for (storage, definition) in there.storages.iter().flatten() {
        if definition.kind != "zfspool" || !definition.options.get("pool").is_some_and(|pool| on(pool)) {
            continue;
        }
        let goes = !world.desired.storages.contains_key(storage)
            && own.is_some_and(|mark| mark.entry(&Address::storage(storage)).is_some());
        if !goes {
            return Err(Box::new(Problem::new(
                address.clone(),
                "zfs::in-use",
                format!("{name} cannot be destroyed: the storage {storage} is on it"),
                format!("remove the storage first, or declare {name} again"),
            )));
        }
        needs.push(Address::storage(storage));
    }
    Ok(needs)
}

/// Where a dataset is mounted, by what was seen.
fn mountpoint(zfs: &Zfs, name: &str) -> Option<String> {
    let own = zfs.datasets.get(name).and_then(|it| it.local.get("mountpoint"));
    match own.map(String::as_str) {
        Some("none" | "legacy") => None,
        Some(path) => Some(path.to_owned()),
        None => match name.rsplit_once('/') {
            Some((above, last)) => Some(format!("{}/{last}", mountpoint(zfs, above)?)),
            None => Some(format!("/{name}")),
        },
    }
}

/// What is wrong where a guest that stays has a folder of a dataset.
pub(super) fn mounted_in(
    world: World<'_>,
    zfs: &Zfs,
    name: &str,
    address: &Address,
    proposal: &Proposal,
) -> Option<Problem> {
    let path = mountpoint(zfs, name)?;
    let shows = |value: &String| {
        let folder = value.split(',').next().unwrap_or_default();
        folder.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let ours = |guest: &plan::inventory::Guest| {
        let mark = guest.mark.as_ref().filter(|mark| mark.site == world.desired.site);
        mark.is_some_and(|mark| proposal.removes(&mark.address))
    };
    let guest = world.inventory.guests.values().find(|guest| {
        let mounts = guest.config.iter().flatten().filter(|(key, _)| key.starts_with("mp"));
        !ours(guest) && mounts.into_iter().any(|(_, value)| shows(value))
    })?;
    Some(Problem::new(
        address.clone(),
        "zfs::in-use",
        format!("{name} cannot be destroyed: {} ({}) shows a folder of it", guest.id, guest.name),
        format!("take the mount point away from it first, and apply; or declare {name} again"),
    ))
}

/// A dataset that is not declared any more.
fn removed(world: World<'_>, zfs: &Zfs, name: &str, proposal: &mut Proposal) {
    let address = Address::dataset(name);
    let pool = Address::pool(name.split('/').next().unwrap_or_default());
    let node = world.inventory.command_node().to_owned();
    let put = |deed, step, proposal: &mut Proposal| {
        proposal.step(step, &DatasetWork { node: node.clone(), dataset: name.to_owned(), deed });
    };
    let forget = |reason: &str, proposal: &mut Proposal| {
        put(DatasetDeed::Forget, forgetting(address.clone(), reason), proposal);
    };
    // It goes with its pool, whose step has the node forget it.
    if proposal.removes(&pool) && pools::destroys(world, zfs, pool.name()).is_some() {
        return;
    }
    let Some(there) = zfs.datasets.get(name) else {
        // That its pool is away is no reason to forget what is on it.
        if zfs.pools.contains_key(pool.name()) || !world.desired.pools.contains_key(pool.name()) {
            forget("it is not there any more", proposal);
        }
        return;
    };
    if !is_ours(world, zfs, name) {
        return forget(
            "the site took it over and did not make it: it stays, and is the site's no more",
            proposal,
        );
    }
    let wanted =
        |below: &str| world.desired.pools.get(pool.name()).is_some_and(|it| it.datasets.contains_key(below));
    let mut needs = Vec::new();
    for (below, _) in zfs.below(name) {
        match goes_with(world, below, proposal) {
            Ok(need) => needs.extend(need),
            Err(()) if is_ours(world, zfs, below) && !wanted(below) => needs.push(Address::dataset(below)),
            Err(()) => {
                return proposal.problem(Problem::new(
                    address,
                    "zfs::in-use",
                    format!("{name} cannot be destroyed: {below} is in it, and stays"),
                    format!("move it away (zfs rename), or declare {name} again"),
                ));
            }
        }
    }
    match storages_on(world, name, &address) {
        Ok(all) => needs.extend(all),
        Err(problem) => return proposal.problem(*problem),
    }
    // What shared it has to let go first.
    let shares = [model::SHARE_FOLDERS, model::NFS_SERVER, model::SAMBA];
    needs.extend(shares.map(|feature| Address::feature(feature, &Host::THE_NODE)));
    if let Some(problem) = mounted_in(world, zfs, name, &address, proposal) {
        return proposal.problem(problem);
    }
    proposal.relies_on(address.clone(), state(world.inventory, name));
    let lost = Change::new("data", roughly(there.used), Value::Null).note("with its snapshots");
    let step = step(address.clone(), Action::Delete)
        .reason("the blueprint does not declare it any more")
        .change(lost)
        .grade(Grade::DataLoss)
        .consent(Consent::Needed)
        .needs(needs);
    put(DatasetDeed::Destroy, step, proposal);
}
