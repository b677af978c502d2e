//! Templates and images that are guests: a golden one of the blueprint becomes a template by a step of its own, when everything is
//! in it; one that is there is somebody's, and is only looked at.

use blueprint::model::ImageFrom;
use plan::desired::Image;
use plan::planner::{Proposal, World};
use plan::{Action, Address, Change, Problem, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Fetch;
use crate::guests::golden::Golden;
use crate::guests::make;
use crate::privileges::or_unseen;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ImageWork {
    /// A guest becomes a template.
    Golden {
        /// Which.
        template: Golden,
    },
    /// A file is fetched.
    Fetch(Fetch),
}

/// Whether a step makes a template of a guest.
pub(super) fn is_one(step: &Step) -> bool {
    step.work.get("template").is_some()
}

/// What has to be done for it.
pub(super) fn diff(world: World<'_>, address: &Address, image: &Image, proposal: &mut Proposal) {
    match &image.from {
        ImageFrom::Golden(name) => golden(world, address, image, name, proposal),
        ImageFrom::Guest(id) => there(world, address, image, *id, proposal),
        _ => {}
    }
}

fn golden(world: World<'_>, address: &Address, image: &Image, name: &str, proposal: &mut Proposal) {
    let Some(guest) = world.desired.guests.get(name) else { return };
    let own = guest.resource();
    // What is wrong with it, it has said itself.
    if proposal.has_problem(&own) {
        return;
    }
    let is_it = |there: &&plan::inventory::Guest| {
        let mark = there.mark.as_ref();
        mark.is_some_and(|mark| mark.site == world.desired.site && mark.address == own)
    };
    let there = world.inventory.guests.get(&guest.id).filter(is_it);
    if there.is_some_and(|there| there.template) && !proposal.makes_anew(&own) {
        return;
    }
    if there.is_none() && !proposal.makes_anew(&own) {
        return;
    }
    let node =
        world.desired.node_of(guest).map_or_else(|| world.inventory.node.clone(), |node| node.to_string());
    let node = there.map_or(node, |there| there.node.clone());
    let way = make::entered_by(guest);
    // What nobody enters is whoever's who made its image.
    let forgets = guest.vm().is_none_or(|_| !way.is_nothing());
    if !forgets {
        proposal.note(format!("{own} is not made to forget who it is: nothing can be run in it; clones of it may be too much alike"));
    }
    let step = Step::new(address.clone(), Action::Create)
        .on_guest(guest.id)
        .reason(format!("declared in {}", image.declared))
        .change(Change::new("template", Value::Null, own.to_string()))
        .change(Change::new("id", Value::Null, guest.id))
        .hold("node", &node);
    let template = Golden { guest: own, id: guest.id, node, kind: guest.kind, forgets, waits_for: way };
    proposal.step(step, &ImageWork::Golden { template });
}

/// Whoever is made of it says what is wrong with it; where nobody is, that it is there at all.
fn there(world: World<'_>, address: &Address, image: &Image, id: u32, proposal: &mut Proposal) {
    let used = world.desired.guests.values().any(|guest| guest.is_made_of(image));
    if used || world.inventory.guests.contains_key(&id) {
        return;
    }
    proposal.problem(Problem::new(
        address.clone(),
        "plan::no-template",
        format!("there is no guest {id}"),
        format!(
            "say another, or take {address} out of the blueprint; {}",
            or_unseen("VM.Audit", &format!("/vms/{id}"))
        ),
    ));
}
