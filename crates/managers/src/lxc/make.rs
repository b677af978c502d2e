//! Making a container, where there is none or where what is there cannot become it.

use plan::desired::Guest as Container;
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Action, Address, Change, Consent, Grade, Mark, Problem};
use proxmox::property::{PropertyString, VolumeSource, container::MOUNT};
use serde_json::Value;

use super::diff::{self, guest_protected, step};
use super::keys::{self, ROWS};
use super::offer;
use super::work::{ContainerWork, Create, Params, Placement};
use crate::images;
use crate::keys::Around;
use crate::privileges::or_unseen;

/// Making it, after what stands in its place (`there`) is destroyed.
pub(super) fn create(
    world: World<'_>,
    container: &Container,
    there: Option<&Guest>,
    mut reasons: Vec<String>,
    after: Vec<Address>,
    proposal: &mut Proposal,
) {
    let address = container.resource();
    let inventory = world.inventory;
    let node = container.node.as_ref().or(world.desired.node.as_ref());
    let node = node.map_or_else(|| inventory.node.clone(), ToString::to_string);
    if let Some(problem) = no_node(world, container, &node) {
        proposal.problem(problem);
        return;
    }
    let there_is = inventory.facts(&node);
    let on = world.desired.node_of(container);
    let made_of = match images::template(world, &container.template, on.as_ref(), &node) {
        Ok(made_of) => made_of,
        Err(lack) => {
            proposal.problem(lack.problem(address));
            return;
        }
    };
    let Some(storage) =
        keys::root_storage(container).or_else(|| offer::root_storage(there_is)).map(str::to_owned)
    else {
        proposal.problem(Problem {
            address,
            code: "plan::no-storage".into(),
            message: format!("{node} has no active storage for root disks"),
            hint: format!(
                "name one in `disk`, or let a storage of the node hold `rootdir`; {}",
                or_unseen("Datastore.AllocateSpace", "/storage")
            ),
        });
        return;
    };
    let around = Around { storage: &storage };
    let written = crate::keys::written(&ROWS, container, around);
    let made = written.iter().filter_map(|(row, _, value)| crate::keys::made_on(row.form, value));
    let storages = std::iter::once(storage.clone()).chain(made);
    if let Some(problem) = offer::unusable(world, container, &node, storages) {
        proposal.problem(problem);
        return;
    }
    if let Some(problem) = offer::no_pool(world, container) {
        proposal.problem(problem);
        return;
    }
    let lost = there.map(volumes).unwrap_or_default();
    let grade = match there {
        None => Grade::Live,
        Some(_) if lost.is_empty() => Grade::Rebuild,
        Some(_) => Grade::DataLoss,
    };
    reasons.extend(lost);
    let action = if there.is_some() { Action::Replace } else { Action::Create };
    let mut step = step(container, action, grade, reasons, &node);
    step.needs = after;
    step.needs.extend(made_of.step);
    step.holds.push(format!("storage:{storage}"));
    if let Some(guest) = there {
        if guest.id != container.id {
            step.holds.push(format!("guest:{}", guest.id));
        }
        step.consent =
            if guest_protected(guest) || container.protected { diff::protected() } else { Consent::Needed };
    }
    let mut params: Params = vec![("ostemplate".into(), made_of.volume.clone())];
    let mut root = Params::new();
    for (row, key, value) in written {
        // It holds the mark, too.
        if row.name == "description" {
            continue;
        }
        let takes_root = row
            .takes_root(container, None, Some(&value))
            .is_some_and(|why| diff::takes_root(world, &mut step, why));
        let list = if takes_root { &mut root } else { &mut params };
        list.push((key, value));
    }
    if let Some(pool) = &container.pool {
        params.push(("pool".into(), pool.clone()));
    }
    let mut mark = Mark::new(&world.desired.site, container.resource());
    mark.set = keys::remembered(container, around);
    params.push(("description".into(), plan::mark::render(&keys::description(container), &mark)));
    step.changes = vec![
        Change::new("id", Value::Null, container.id),
        Change::new("node", Value::Null, node.clone()),
        Change::new("network", Value::Null, keys::network(container)),
        Change::new("size", Value::Null, keys::size(container, &storage)),
        Change::new("template", Value::Null, made_of.volume.rsplit('/').next().unwrap_or_default()),
    ];
    let work = ContainerWork::Create(Create {
        placement: Placement { id: container.id, node },
        replaces: there.map(|g| Placement { id: g.id, node: g.node.clone() }),
        params,
        root,
    });
    proposal.step(step, &work);
}

/// Why nothing can be made on a node, where that is so.
fn no_node(world: World<'_>, container: &Container, node: &str) -> Option<Problem> {
    let nodes = &world.inventory.nodes;
    if !nodes.is_empty() && !nodes.contains_key(node) {
        return Some(Problem {
            address: container.resource(),
            code: "plan::no-node".into(),
            message: format!("there is no node `{node}`"),
            hint: format!("the cluster has {}", nodes.keys().cloned().collect::<Vec<_>>().join(", ")),
        });
    }
    world.inventory.is_offline(node).then(|| Problem {
        address: container.resource(),
        code: "plan::node-offline".into(),
        message: format!("it is to be made on {node}, which is offline"),
        hint: format!("start {node}, or leave it out: phoenix-cli apply --exclude {}", container.resource()),
    })
}

/// The data that goes with a container beside its root disk: its volumes, also those that it no longer mounts.
pub(super) fn volumes(guest: &Guest) -> Vec<String> {
    let config = guest.config.iter().flatten();
    let volumes = config.filter(|(key, _)| key.starts_with("mp") || key.starts_with("unused"));
    let named = volumes.filter_map(|(key, value)| {
        let parts: PropertyString = value.parse().ok()?;
        let volume = MOUNT.get(&parts, "volume")?;
        let VolumeSource::Volume(volume) = volume.parse().ok()? else { return None };
        let size = MOUNT.get(&parts, "size").map(|size| format!(", {size}")).unwrap_or_default();
        Some(format!("the data of {key} is lost: {volume}{size}"))
    });
    named.collect()
}
