//! Making a guest, where there is none or where what is there cannot become it.

use std::collections::BTreeMap;

use blueprint::model::Enter;
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Action, Address, Change, Consent, Grade, Mark, Problem, Step};
use proxmox::property::{PropertyString, VolumeSource, container::MOUNT, machine::DISK};
use serde_json::Value;

use super::diff::{self, guest_protected, step};
use super::table::Table;
use super::work::{Create, GuestWork, Params, Placement, WaitsFor};
use super::{boot, clone, entry, first_start, offer, table};
use crate::keys::Around;
use crate::privileges::or_unseen;

/// Making it, after what stands in its place (`there`) is destroyed.
pub(super) fn create(
    world: World<'_>,
    wanted: &Wanted,
    there: Option<&Guest>,
    reasons: Vec<String>,
    after: Vec<Address>,
    proposal: &mut Proposal,
) {
    let table = table::of(wanted);
    let address = wanted.resource();
    let inventory = world.inventory;
    let node = wanted.node.as_ref().or(world.desired.node.as_ref());
    let node = node.map_or_else(|| inventory.node.clone(), ToString::to_string);
    if let Some(problem) = no_node(world, wanted, &node) {
        proposal.problem(problem);
        return;
    }
    if let Some(image) = world.desired.cloned_from(wanted) {
        clone::create(world, wanted, image, &node, Anew { there, reasons, after }, proposal);
        return;
    }
    let there_is = inventory.facts(&node);
    let origin = match (table.origin)(world, wanted, &node) {
        Ok(origin) => origin,
        Err(problem) => {
            proposal.problem(*problem);
            return;
        }
    };
    let disk = (table.disk)(wanted);
    let Some(storage) = disk
        .as_ref()
        .and_then(|disk| disk.storage)
        .or_else(|| table::storage(table, there_is))
        .map(str::to_owned)
    else {
        proposal.problem(Problem {
            address,
            code: "plan::no-storage".into(),
            message: format!("{node} has no active storage for {}s' disks", wanted.kind.as_str()),
            hint: format!(
                "name one, or let a storage of the node hold `{}`; {}",
                table.content,
                or_unseen("Datastore.AllocateSpace", "/storage")
            ),
        });
        return;
    };
    let cards = crate::gpus::devices(world, wanted, there);
    let around = Around {
        storage: &storage,
        medium: origin.medium.as_deref(),
        second: origin.second.as_deref(),
        cards: &cards,
    };
    let written = crate::keys::written(table.rows, wanted, around);
    let made = written.iter().filter_map(|(row, _, value)| crate::keys::made_on(row.form, value));
    let storages = std::iter::once(storage.clone()).chain(made);
    if let Some(problem) = offer::unusable(world, wanted, &node, storages) {
        proposal.problem(problem);
        return;
    }
    if let Some(problem) = offer::no_pool(world, wanted) {
        proposal.problem(problem);
        return;
    }
    let mut step = Anew { there, reasons, after }.step(world, wanted, &node).needs(origin.needs);
    step.holds.push(format!("storage:{storage}"));
    let (mut params, mut root, mut grow) = (origin.params, Params::new(), Params::new());
    let mut secrets = BTreeMap::new();
    for (row, key, value) in written {
        if let Some(reference) = table::secret(wanted, row) {
            secrets.insert(key, reference);
            continue;
        }
        // It holds the mark, too.
        if row.name == "description" || boot::is_left(world, wanted, row) {
            continue;
        }
        // The first disk is a copy, which then grows.
        let value = match (&origin.import, &disk) {
            (Some(volume), Some(disk)) if disk.key == key => {
                grow.push((
                    key.clone(),
                    crate::keys::compare::size_text(proxmox::property::Size(disk.size_mib << 20)),
                ));
                copied(&value, volume)
            }
            _ => value,
        };
        let takes_root = row
            .takes_root(wanted, None, Some(&value))
            .is_some_and(|why| diff::takes_root(world, &mut step, why));
        let list = if takes_root { &mut root } else { &mut params };
        list.push((key, value));
    }
    if let Some(pool) = &wanted.pool {
        params.push(("pool".into(), pool.clone()));
    }
    let mut mark = Mark::new(&world.desired.site, wanted.resource());
    mark.set = table::remembered(wanted, around);
    params.push(("description".into(), plan::mark::render(&table::description(wanted), &mark)));
    step.changes = vec![
        Change::new("id", Value::Null, wanted.id),
        Change::new("node", Value::Null, node.clone()),
        Change::new("network", Value::Null, table::network(wanted)),
        Change::new("size", Value::Null, table::size(wanted, &storage)),
    ];
    step.changes.extend(origin.shown);
    step.changes.extend(crate::gpus::shown(wanted, &cards));
    if !wanted.started {
        step.changes.push(Change::new("state", Value::Null, "stopped"));
    }
    let first_start = match first_start::of(world, wanted, &node) {
        Ok(first_start) => first_start,
        Err(problem) => {
            proposal.problem(*problem);
            return;
        }
    };
    if first_start.is_some() {
        diff::takes_root(world, &mut step, first_start::BY_ROOT);
    }
    let work = GuestWork::Create(Box::new(Create {
        placement: Placement { id: wanted.id, node },
        replaces: there.map(|g| Placement { id: g.id, node: g.node.clone() }),
        clone: None,
        params,
        secrets,
        set: Params::new(),
        root,
        grow,
        waits_for: waits_for(wanted),
        off: !wanted.started,
        first_start,
    }));
    proposal.step(step, &work);
}

/// A guest that is made, and what stands in its place.
pub(super) struct Anew<'a> {
    /// What is destroyed before.
    pub there: Option<&'a Guest>,
    /// Why.
    pub reasons: Vec<String>,
    /// What has to be done before.
    pub after: Vec<Address>,
}

impl Anew<'_> {
    /// The step, with what it costs and the consent it takes.
    pub(super) fn step(self, world: World<'_>, wanted: &Wanted, node: &str) -> Step {
        let Self { there, mut reasons, after } = self;
        let lost = there.map(|there| volumes(table::of(wanted), there)).unwrap_or_default();
        let grade = match there {
            None => Grade::Live,
            Some(_) if lost.is_empty() => Grade::Rebuild,
            Some(_) => Grade::DataLoss,
        };
        reasons.extend(lost);
        let action = if there.is_some() { Action::Replace } else { Action::Create };
        let mut step = step(wanted, action, grade, reasons, node).needs(after);
        if let Some(guest) = there {
            if guest.id != wanted.id {
                step.holds.push(format!("guest:{}", guest.id));
            }
            step.consent = match clone::hangs_on(world, guest) {
                Some(why) => Consent::Refused(why),
                None if guest_protected(guest) || wanted.protected => diff::protected(),
                None => Consent::Needed,
            };
        }
        step
    }
}

/// Why nothing can be made on a node, where that is so.
fn no_node(world: World<'_>, wanted: &Wanted, node: &str) -> Option<Problem> {
    let nodes = &world.inventory.nodes;
    if !nodes.is_empty() && !nodes.contains_key(node) {
        return Some(Problem {
            address: wanted.resource(),
            code: "plan::no-node".into(),
            message: format!("there is no node `{node}`"),
            hint: format!("the cluster has {}", nodes.keys().cloned().collect::<Vec<_>>().join(", ")),
        });
    }
    world.inventory.is_offline(node).then(|| Problem {
        address: wanted.resource(),
        code: "plan::node-offline".into(),
        message: format!("it is to be made on {node}, which is offline"),
        hint: format!("start {node}, or leave it out: phoenix-cli apply --exclude {}", wanted.resource()),
    })
}

/// A volume that is made, `STORAGE:32,…`, as one that is copied from another.
fn copied(value: &str, volume: &str) -> String {
    let (first, rest) = value.split_once(',').map_or((value, None), |(first, rest)| (first, Some(rest)));
    let storage = first.split(':').next().unwrap_or_default();
    let rest = rest.map(|rest| format!(",{rest}")).unwrap_or_default();
    format!("{storage}:0,import-from={volume}{rest}")
}

/// What is waited for after its start: a virtual machine in which something is installed must have come up.
pub(super) fn waits_for(wanted: &Wanted) -> WaitsFor {
    match wanted.vm() {
        Some(vm) if !wanted.features.is_empty() || first_start::is_told(vm) => entered_by(wanted),
        _ => WaitsFor::Nothing,
    }
}

/// How a virtual machine is entered; a container is by its node.
pub(crate) fn entered_by(wanted: &Wanted) -> WaitsFor {
    let Some(vm) = wanted.vm() else { return WaitsFor::Nothing };
    let minutes = vm.answers_within.unwrap_or(entry::MINUTES);
    match vm.enter {
        Enter::Agent => WaitsFor::Agent(minutes),
        Enter::Ssh => WaitsFor::Ssh(minutes),
        Enter::Not => WaitsFor::Nothing,
    }
}

/// The data that goes with a guest beside its first disk: its volumes, also those that it no longer uses.
pub(super) fn volumes(table: &Table, guest: &Guest) -> Vec<String> {
    let config = guest.config.iter().flatten();
    let volumes = config.filter(|(key, _)| (table.is_data)(key));
    let named = volumes.filter_map(|(key, value)| {
        let parts: PropertyString = value.parse().ok()?;
        let volume = MOUNT.get(&parts, "volume").or_else(|| DISK.get(&parts, "file"))?;
        let VolumeSource::Volume(volume) = volume.parse().ok()? else { return None };
        let size = MOUNT.get(&parts, "size").map(|size| format!(", {size}")).unwrap_or_default();
        Some(format!("the data of {key} is lost: {volume}{size}"))
    });
    named.collect()
}
