//! What differs between the features wanted on a guest and those its mark says were applied. Pure, and without a look
//! into the guest: the mark's fingerprints are believed.

use plan::desired::Guest;
use plan::planner::{Kind, Proposal, World};
use plan::{Action, Address, Change, Mark, Step};
use serde_json::Value;

use super::crew::Work;

/// Features, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Features;

impl Kind for Features {
    fn kind(&self) -> &'static str {
        "feature"
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        for container in world.desired.guests.values() {
            guest(world, container, proposal);
        }
    }
}

/// The mark a container will have when the steps proposed so far are done: none when it is made anew.
pub fn mark_after<'a>(world: World<'a>, container: &Guest, proposal: &Proposal) -> Option<&'a Mark> {
    if proposal.makes_anew(&container.resource()) {
        return None;
    }
    let guest = world.inventory.guests.get(&container.id)?;
    guest.mark.as_ref().filter(|m| m.site == world.desired.site && m.address == container.resource())
}

fn guest(world: World<'_>, container: &Guest, proposal: &mut Proposal) {
    let resource = container.resource();
    let there = world.inventory.guests.contains_key(&container.id);
    let mark = mark_after(world, container, proposal);
    if mark.is_none() && (there && !proposal.makes_anew(&resource) || !there && !proposal.has(&resource)) {
        // It cannot be made, or is not ours: the container's problem says so.
        return;
    }
    for feature in &container.features {
        let applied = mark.and_then(|m| m.features.get(&feature.name));
        if applied == Some(&feature.fingerprint) {
            continue;
        }
        let reason = match (&applied, &feature.declared) {
            (None, Some(place)) => format!("new in {place}"),
            (None, None) => "required by another feature".to_owned(),
            (Some(_), _) => "what it renders to has changed".to_owned(),
        };
        let work = Work {
            id: container.id,
            fingerprint: feature.fingerprint.clone(),
            rendered: Value::clone(&feature.payload),
            keep: container.features.iter().map(|f| f.name.clone()).collect(),
        };
        let batch = match feature.stage {
            0 => format!("features@{resource}"),
            // A later stage waits for certificates, which wait for the earlier one: two round trips.
            stage => format!("features@{resource}/{stage}"),
        };
        let change = Change::new("fingerprint", applied.cloned(), feature.fingerprint.clone());
        let step = Step::new(Address::feature(&feature.name, &container.host()), Action::Run)
            .on_guest(container.id)
            .reason(reason)
            .change(change)
            .batch(batch);
        proposal.step(step, &work);
    }
}
