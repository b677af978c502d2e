//! What has to be done so that pools are as they are wanted. Pure.

mod change;
mod going;

pub(super) use change::settings;
pub(super) use going::{destroys, forgetting};

use std::collections::BTreeSet;

use blueprint::model;
use plan::address::kinds;
use plan::inventory::zfs::{self, Importable, Zfs};
use plan::planner::{Proposal, World};
use plan::step::{Consent, Grade};
use plan::{Action, Address, Change, Inventory, Problem, Step};
use serde_json::Value;

use super::disks::{Allowed, judge};
use super::{
    AppliedPool, MADE_BY, PoolDeed, PoolWork, Said, Vdev, Wipe, applied, health, mark_of, shown, step,
};
use crate::hypervisor;

pub(super) fn diff(world: World<'_>, proposal: &mut Proposal) {
    let wanted = &world.desired.pools;
    let there = world.inventory.reached().hypervisor.as_ref();
    let mark = mark_of(world);
    if world.options.destroy {
        return going::stay(world, mark, proposal);
    }
    if let (Some(first), Some(other)) =
        (wanted.keys().next(), there.filter(|it| it.site != world.desired.site))
    {
        return proposal.problem(hypervisor::another_site(
            Address::pool(first),
            other,
            &world.desired.site,
            "zfs",
        ));
    }
    let gone: Vec<&str> = mark
        .into_iter()
        .flat_map(|mark| mark.names(kinds::POOL))
        .filter(|name| !wanted.contains_key(*name))
        .collect();
    if wanted.is_empty() && gone.is_empty() {
        return;
    }
    let Some(zfs) = &world.inventory.reached().zfs else {
        let (code, message, hint) = unseen(world.inventory);
        for name in wanted.keys() {
            proposal.problem(Problem::new(Address::pool(name), code, message, hint));
        }
        return;
    };
    for name in gone {
        going::removed(world, zfs, name, proposal);
    }
    for pool in wanted.values() {
        let address = Address::pool(&pool.name);
        let applied = applied::<AppliedPool>(mark, &address).unwrap_or_default();
        let one = One { world, zfs, pool, address: address.clone(), applied };
        one.diff(proposal);
        if proposal.has(&address) {
            proposal.relies_on(address, state(world.inventory, &pool.name));
        }
    }
}

/// Why nothing is known of pools.
fn unseen(inventory: &Inventory) -> (&'static str, &'static str, &'static str) {
    if inventory.unread.iter().any(|it| it.what == health::UNREAD) {
        return (
            "zfs::unread",
            "the node could not say what pools it has",
            "does it answer by hand, on the node: zpool status; a pool whose disks are away may hold it up",
        );
    }
    match inventory.commands {
        false => (
            "zfs::unread",
            "there is no way to run commands on the node",
            "phoenix-cli doctor tries every hop",
        ),
        true => (
            "zfs::none",
            "the node has no ZFS",
            "on the node: apt install zfsutils-linux, and modprobe zfs; Proxmox VE has both",
        ),
    }
}

/// How a pool is there, as one text.
pub(super) fn state(inventory: &Inventory, name: &str) -> String {
    let Some(zfs) = &inventory.reached().zfs else { return "unknown".to_owned() };
    let groups = |groups: &[zfs::Group]| {
        let members = groups.iter().flat_map(|group| {
            group
                .members
                .iter()
                .map(move |it| format!("{}:{}:{}", group.name, it.name, it.replaces.is_some()))
        });
        members.collect::<Vec<_>>().join(" ")
    };
    match (zfs.pools.get(name), zfs.importable.iter().find(|it| it.name == name)) {
        (Some(pool), _) => format!("{} {}", pool.guid, groups(&pool.groups)),
        (None, Some(pool)) => format!("importable {} {}", pool.guid, groups(&pool.groups)),
        (None, None) => "absent".to_owned(),
    }
}

/// A pool that is wanted.
struct One<'a> {
    world: World<'a>,
    zfs: &'a Zfs,
    pool: &'a model::Pool,
    address: Address,
    applied: AppliedPool,
}

impl One<'_> {
    fn diff(&self, proposal: &mut Proposal) {
        let name = &self.pool.name;
        let known = self.applied.guid.as_deref();
        if let Some(there) = self.zfs.pools.get(name) {
            let made_by = self.zfs.datasets.get(name).and_then(|it| it.local.get(MADE_BY));
            if let Some(other) = made_by.filter(|site| **site != self.world.desired.site) {
                return proposal.problem(self.of_another(other));
            }
            if known == Some(&there.guid) {
                return self.change(there, false, proposal);
            }
            return match self.is_exactly(&there.groups) {
                true => self.change(there, true, proposal),
                false => proposal.problem(self.another_pool(&there.groups)),
            };
        }
        let mut named = self.zfs.importable.iter().filter(|it| it.name == *name);
        let ours = named.clone().find(|it| known == Some(&it.guid) || self.is_exactly(&it.groups));
        if let Some(there) = ours {
            return self.import(there, proposal);
        }
        if let Some(other) = named.next() {
            return proposal.problem(self.another_pool(&other.groups));
        }
        if known.is_some() {
            return proposal.problem(self.problem(
                "zfs::gone",
                format!("the pool {name} was here, and is not to be found any more: nothing is made in its place"),
                format!("are its disks plugged in? what there is, on the node: lsblk; zpool import. Where it is really gone: take {name} out of the blueprint, apply, and declare it again"),
            ));
        }
        self.create(proposal);
    }

    fn problem(&self, code: &str, message: String, hint: String) -> Problem {
        Problem::new(self.address.clone(), code, message, hint)
    }

    fn of_another(&self, site: &str) -> Problem {
        let name = &self.pool.name;
        self.problem(
            "zfs::another-site",
            format!("the pool {name} was made by the site `{site}`"),
            format!("one site looks after a pool. Where that site is gone, on the node: zfs inherit {MADE_BY} {name}"),
        )
    }

    /// Whether disks are those that are declared, no more and no less.
    fn is_exactly(&self, groups: &[zfs::Group]) -> bool {
        let declared: BTreeSet<&str> = self.pool.disks().map(|disk| self.zfs.disk_named(disk)).collect();
        zfs::disks(self.zfs, groups) == declared
    }

    fn another_pool(&self, groups: &[zfs::Group]) -> Problem {
        let name = &self.pool.name;
        let disks =
            zfs::disks(self.zfs, groups).into_iter().map(|disk| self.zfs.id_of(disk)).collect::<Vec<_>>();
        self.problem(
            "zfs::another-pool",
            format!("there is a pool {name} already, on {}: it is not of this site", disks.join(", ")),
            "give yours another name; to have it taken over with its data, declare exactly its disks"
                .to_owned(),
        )
    }

    fn said(&self) -> Said {
        Said { pool: self.pool.properties.clone(), root: self.pool.root.clone() }
    }

    fn propose(&self, step: Step, deed: PoolDeed, proposal: &mut Proposal) {
        let node = self.world.inventory.command_node().to_owned();
        proposal.step(step, &PoolWork { node, pool: self.pool.name.clone(), deed });
    }

    /// The disks that have to be emptied before they are taken; problems are said.
    fn take<'d>(&self, disks: impl Iterator<Item = &'d str>, proposal: &mut Proposal) -> Option<Vec<Wipe>> {
        let allowed = Allowed { serials: &self.pool.wipe, making: &self.applied.making };
        let mut wipe = Vec::new();
        let mut good = true;
        for disk in disks {
            match judge(self.zfs, disk, allowed) {
                Ok(emptied) => wipe.extend(emptied),
                Err(why) => {
                    good = false;
                    proposal.problem(self.problem(why.code, why.message, why.hint));
                }
            }
        }
        good.then_some(wipe)
    }

    /// A step with what it destroys on disks that are new to the pool.
    fn emptying(&self, step: Step, wipe: &[Wipe]) -> Step {
        let destroyed: Vec<&Wipe> = wipe.iter().filter(|it| !it.left).collect();
        if destroyed.is_empty() {
            return step;
        }
        let changes = destroyed.iter().map(|it| {
            let holds = self.zfs.disks.get(self.zfs.disk_named(&it.disk)).map(|disk| disk.holds.join(", "));
            Change::new(format!("on {}", it.disk), holds.unwrap_or_default(), Value::Null)
                .note(format!("destroyed, as `wipe` says {}", it.serial))
        });
        step.changes(changes.collect::<Vec<_>>()).grade(Grade::DataLoss).consent(Consent::Needed)
    }

    fn create(&self, proposal: &mut Proposal) {
        if self.pool.disks().map(|disk| self.zfs.disk_named(disk)).collect::<BTreeSet<_>>().len()
            != self.pool.disks().count()
        {
            return proposal.problem(self.problem(
                "zfs::disk-twice",
                format!("two names of the disks of {} lead to one disk", self.pool.name),
                "on the node: ls -l /dev/disk/by-id".to_owned(),
            ));
        }
        let Some(wipe) = self.take(self.pool.disks(), proposal) else { return };
        let reason = match self.applied.making.is_empty() {
            true => format!("declared in {}", self.pool.declared),
            false => "a run that was cut off did not get to make it".to_owned(),
        };
        let groups = vdevs(self.pool);
        let of = groups.iter().map(|it| {
            let class = it.class.as_deref().unwrap_or("data");
            let layout = it.layout.as_ref().map(|layout| format!("{layout} of ")).unwrap_or_default();
            let disks = it.disks.iter().map(|disk| match self.zfs.disks.get(self.zfs.disk_named(disk)) {
                Some(there) => format!("{disk} ({})", super::roughly(there.size)),
                None => disk.clone(),
            });
            Change::new(class, Value::Null, format!("{layout}{}", disks.collect::<Vec<_>>().join(", ")))
        });
        let ashift = Change::new("ashift", Value::Null, self.pool.ashift).note("cannot be changed later");
        let said = self.pool.properties.iter().chain(&self.pool.root);
        let said = said.map(|(name, value)| Change::new(name, Value::Null, shown(name, value)));
        let step = step(self.address.clone(), Action::Create)
            .reason(reason)
            .changes(of)
            .change(ashift)
            .changes(said);
        let step = self.emptying(step, &wipe);
        self.propose(
            step,
            PoolDeed::Create { groups, ashift: self.pool.ashift, said: self.said(), wipe },
            proposal,
        );
    }

    fn import(&self, there: &Importable, proposal: &mut Proposal) {
        if !["ONLINE", "DEGRADED"].contains(&there.state.as_str()) {
            return proposal.problem(self.problem(
                "zfs::cannot-import",
                format!("the pool {} is there, and cannot be imported: it is {}", there.name, there.state),
                "what it lacks, on the node: zpool import; plug in the disks that are missing".to_owned(),
            ));
        }
        let reason = "it is there already: it is imported, with all that is on it".to_owned();
        let is = Change::new("state", "not imported", "imported")
            .note(format!("{} as number {}", there.state, there.guid));
        let mut step = step(self.address.clone(), Action::Update).reason(reason).change(is);
        if there.elsewhere {
            step = step
                .reason("another system had it last, or this node before it was installed anew: no two may have it at once")
                .consent(Consent::Needed);
        }
        let deed =
            PoolDeed::Import { guid: there.guid.clone(), elsewhere: there.elsewhere, said: self.said() };
        self.propose(step, deed, proposal);
    }
}

/// What a pool is made of.
pub(super) fn vdevs(pool: &model::Pool) -> Vec<Vdev> {
    let data = pool.groups.iter().map(|group| data_vdev(pool, group));
    let special = class_vdev("special", &pool.special);
    let log = class_vdev("log", &pool.log);
    let alone =
        [("cache", &pool.cache), ("spare", &pool.spare)].into_iter().filter(|(_, disks)| !disks.is_empty());
    let alone = alone.map(|(class, disks)| Vdev {
        class: Some(class.to_owned()),
        layout: None,
        disks: disks.clone(),
    });
    data.chain(special).chain(log).chain(alone).collect()
}

fn data_vdev(pool: &model::Pool, disks: &[String]) -> Vdev {
    Vdev { class: None, layout: pool.layout.word().map(str::to_owned), disks: disks.to_vec() }
}

/// Several disks that hold something of their own are a mirror.
fn class_vdev(class: &str, disks: &[String]) -> Option<Vdev> {
    let layout = (disks.len() > 1).then(|| "mirror".to_owned());
    (!disks.is_empty()).then(|| Vdev { class: Some(class.to_owned()), layout, disks: disks.to_vec() })
}
