//! Guests that are to be off (`"started": false`): they are made and changed like all others, and what is in them waits until
//! they run.

use std::collections::BTreeMap;

use crate::address::{Address, kinds};
use crate::desired::Desired;
use crate::step::{Problem, Step};
use crate::targets::Guests;

/// Leaves out what would be done inside guests that are off, and what is wrong there. What waits, in a sentence for each guest.
pub(crate) fn leave(
    desired: &Desired,
    steps: &mut BTreeMap<Address, Step>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    if desired.guests.values().all(|guest| guest.started) {
        return Vec::new();
    }
    let guests = Guests::new(desired);
    // The guest itself, and its part of the firewall, are on the node.
    let inside = |address: &Address| address.guest_kind().is_none() && address.kind() != kinds::FIREWALL;
    let mut waits: BTreeMap<Address, Vec<Address>> = BTreeMap::new();
    steps.retain(|address, step| {
        let on = guests.guest_of(step).filter(|on| inside(address) && desired.is_off(on.name()));
        match on {
            Some(guest) => waits.entry(guest).or_default().push(address.clone()),
            None => return true,
        }
        false
    });
    problems.retain(|problem| !problem.address.host().is_some_and(|host| desired.is_on_off(host)));
    let told = |(guest, mut all): (Address, Vec<Address>)| {
        // That it answers is only looked at when it runs anyway.
        all.retain(|address| address.kind() != kinds::SERVICE);
        if all.is_empty() {
            return None;
        }
        // What is in it is called by kind and name, since where it is was said.
        let names: Vec<String> = all.iter().map(|one| format!("{}.{}", one.kind(), one.name())).collect();
        let verb = if names.len() == 1 { "waits" } else { "wait" };
        Some(format!("{guest} is to be off: {} {verb} until it runs", names.join(", ")))
    };
    waits.into_iter().filter_map(told).collect()
}
