//! Guests that have become templates: they stay as they are, whatever the blueprint says of them since, and so does what was
//! cloned of them (T-15).

use std::collections::BTreeMap;

use crate::address::Address;
use crate::desired::{Desired, Guest};
use crate::inventory::Inventory;
use crate::step::{Problem, Step};
use crate::targets;

/// Whether a golden guest is the template that it was to become.
pub(super) fn is_made(desired: &Desired, inventory: &Inventory, wanted: &Guest) -> bool {
    let there = inventory.guests.get(&wanted.id).filter(|guest| guest.template);
    let mark = there.and_then(|guest| guest.mark.as_ref());
    wanted.golden && mark.is_some_and(|mark| mark.site == desired.site && mark.address == wanted.resource())
}

/// Leaves out what would be done to them, and says of which that is so.
pub(super) fn leave(
    desired: &Desired,
    inventory: &Inventory,
    steps: &mut BTreeMap<Address, Step>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let made: Vec<&Guest> =
        desired.guests.values().filter(|guest| is_made(desired, inventory, guest)).collect();
    if made.is_empty() {
        return Vec::new();
    }
    let guests = targets::Guests::new(desired);
    let mut notes = Vec::new();
    for guest in made {
        let own = guest.resource();
        let is_its = |address: &Address, step: &Step| {
            *address == own || step.id == Some(guest.id) || guests.guest_of(step).as_ref() == Some(&own)
        };
        let left: Vec<Address> = steps
            .iter()
            .filter(|(address, step)| is_its(address, step))
            .map(|(address, _)| address.clone())
            .collect();
        steps.retain(|address, _| !left.contains(address));
        problems.retain(|problem| {
            problem.address != own
                && problem.address.host().and_then(crate::host::Host::address).as_ref() != Some(&own)
        });
        if !left.is_empty() {
            let all: Vec<&str> = left.iter().map(Address::as_str).collect();
            notes.push(format!(
                "{own} is a template already and stays as it is, and so do its clones; the blueprint has changed since: {}; for a new \
                 one: phoenix-cli destroy --target {own} --allow-destroy {own}, then phoenix-cli apply",
                all.join(", "),
            ));
        }
    }
    notes
}
