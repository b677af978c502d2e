//! What differs between the stacks that are wanted and those that the marks of guests remember. Pure, and without a look into a
//! guest, but where somebody has looked and found otherwise.

use plan::address::kinds;
use plan::desired::{Guest, Stack};
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::{Action, Address, Change, Mark, Step};
use serde_json::Value;

use super::{Put, Removal, StackWork, Stacks, feature_address};
use crate::features::diff::mark_after;
use crate::features::known;

/// Why something goes.
const UNWANTED: &str = "no longer in the blueprint";

impl Kind for Stacks {
    fn kind(&self) -> &'static str {
        kinds::STACK
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        for guest in world.desired.guests.values() {
            let mark = mark_after(world, guest, proposal);
            let gone = mark.map(|mark| gone(world, guest, mark, proposal)).unwrap_or_default();
            let resource = guest.resource();
            let there = world.inventory.guests.contains_key(&guest.id);
            if mark.is_none()
                && (there && !proposal.makes_anew(&resource) || !there && !proposal.has(&resource))
            {
                // It cannot be made, or is not ours: the guest's own problem says so.
                continue;
            }
            for stack in world.desired.stacks.values().filter(|stack| stack.on == guest.name) {
                wanted(world, guest, stack, mark, &gone, proposal);
            }
        }
    }

    fn telling(&self, step: &Step) -> Telling {
        let new = step.changes.iter().all(|change| change.old.is_null());
        let verb = match step.action {
            Action::Delete => "remove",
            _ if new => "deploy",
            _ => "update",
        };
        Telling { verb: Some(verb), ..Telling::default() }
    }
}

/// Stacks of one guest one after the other: their scripts would wait for each other there.
fn batch(guest: &Guest) -> String {
    format!("stacks@{}", guest.resource())
}

/// The stacks that a guest remembers and is no longer to have, as they are called when they go.
pub(crate) fn unwanted<'a>(
    world: World<'a>,
    guest: &'a Guest,
    mark: &'a Mark,
) -> impl Iterator<Item = (&'a str, Address)> {
    let wanted = |name: &str| world.desired.stacks.get(name);
    let here = move |name: &str| wanted(name).is_some_and(|stack| stack.on == guest.name);
    mark.names(kinds::STACK).filter(move |name| !here(name)).map(move |name| {
        // Another guest has one of this name.
        let address = match wanted(name) {
            Some(_) => Address::stack_on(name, &guest.host()),
            None => Address::stack(name),
        };
        (name, address)
    })
}

fn gone(world: World<'_>, guest: &Guest, mark: &Mark, proposal: &mut Proposal) -> Vec<Address> {
    let mut addresses = Vec::new();
    for (name, address) in unwanted(world, guest, mark) {
        let fingerprint = mark.fingerprint(&Address::stack(name)).unwrap_or_default();
        // Its volumes and what is in its folder stay, so it costs nothing and nobody is asked.
        let step = Step::new(address.clone(), Action::Delete)
            .on_guest(guest.id)
            .reason(UNWANTED)
            .change(Change::new("fingerprint", fingerprint, Value::Null))
            .needs([guest.resource()])
            .batch(format!("{}/gone", batch(guest)));
        proposal.step(
            step,
            &StackWork::Remove(Removal { id: guest.id, on: guest.host(), name: name.to_owned() }),
        );
        addresses.push(address);
    }
    addresses
}

fn wanted(
    world: World<'_>,
    guest: &Guest,
    stack: &Stack,
    mark: Option<&Mark>,
    gone: &[Address],
    proposal: &mut Proposal,
) {
    let address = stack.resource();
    let feature = feature_address(&stack.name, &stack.host);
    let applied = mark.and_then(|mark| mark.fingerprint(&address));
    let same = applied == Some(stack.feature.fingerprint.as_str());
    let secrets = mark.map(|mark| known::compare(world.inventory, mark, &feature)).unwrap_or_default();
    if let Some(problem) = secrets.problem(&address) {
        proposal.problem(problem);
        return;
    }
    let differs = || secrets.reasons();
    let found = world.inventory.found.get(&address).cloned();
    let reasons = match (applied, found) {
        (Some(_), Some(found)) if same => [found, differs()].concat(),
        (Some(_), None) if same && !secrets.changed.is_empty() => differs(),
        _ if same => return,
        (None, _) => vec![format!("new in {}", stack.declared)],
        (Some(_), _) => [vec!["what is in its folder has changed".to_owned()], differs()].concat(),
    };
    for doubt in secrets.doubts(&address) {
        proposal.note(doubt);
    }
    let mut changes = secrets.changes();
    if !same {
        changes.push(Change::new("fingerprint", applied, stack.feature.fingerprint.clone()));
    }
    let step = Step::new(address, Action::Run)
        .on_guest(guest.id)
        .reasons(reasons)
        .changes(changes)
        .needs(gone.iter().cloned())
        .batch(batch(guest));
    let work = StackWork::Put(Put {
        id: guest.id,
        on: stack.host.clone(),
        fingerprint: stack.feature.fingerprint.clone(),
        rendered: Value::clone(&stack.feature.payload),
    });
    proposal.step(step, &work);
}
