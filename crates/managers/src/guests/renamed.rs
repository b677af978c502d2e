//! New names for guests that are there (`was`). Whose mark has the name of before is known by the new one from the start
//! ([`plan::Trust::with_renamed`]), so that all that is in it and around it follows; its step writes the new one down.

use std::collections::BTreeMap;

use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Address, GuestKind, Problem};

/// Nobody is called as the guest was.
pub(super) fn nobody(wanted: &Wanted) -> Problem {
    let was = wanted.was.as_deref().unwrap_or_default();
    Problem {
        address: wanted.resource(),
        code: "plan::was-nobody".into(),
        message: format!(
            "it was {}.{was}, and nothing with this site's mark is called so",
            wanted.kind.as_str()
        ),
        hint: format!("correct `was` of {}; or take it out, and it is made as a new guest", wanted.name),
    }
}

/// A new name is no new id.
pub(super) fn another_id(wanted: &Wanted, guest: &Guest) -> Problem {
    Problem {
        address: wanted.resource(),
        code: "plan::was-another-id".into(),
        message: format!(
            "it is {}, which has a new name now, and would have the new id {}, too",
            guest.id, wanted.id
        ),
        hint: format!("say \"id\": {}: only a guest that is made anew gets another one", guest.id),
    }
}

/// Says how a guest that would take another's place could be that one.
pub(super) fn could_be(wanted: &Wanted, goes: &[Address], proposal: &mut Proposal) {
    for old in goes.iter().filter(|old| old.kind() == wanted.kind.as_str()) {
        proposal.note(format!(
            "if {} is {old} under a new name, say \"was\": \"{}\", and nothing is destroyed",
            wanted.resource(),
            old.name()
        ));
    }
}

/// Whether both the name of before and the new one are somebody's: which of the two it is nobody can tell.
pub(super) fn is_twice(address: &Address, guests: &[&Guest], proposal: &mut Proposal) -> bool {
    let by_name = |was: bool| guests.iter().find(move |guest| guest.was.is_some() == was);
    let (Some(now), Some(then)) = (by_name(false), by_name(true)) else { return false };
    let was = then.was.as_ref().map_or_else(String::new, ToString::to_string);
    proposal.problem(Problem {
        address: address.clone(),
        code: "plan::was-twice".into(),
        message: format!(
            "{address} is there ({}), and so is {was} ({}), which it is said to have been",
            now.id, then.id
        ),
        hint: format!(
            "take `was` out of {}: then {was} is another guest, which is no longer in the blueprint",
            address.name()
        ),
    });
    true
}

/// Says what a `was` is still good for that has done its work.
pub(super) fn note(
    world: World<'_>,
    kind: GuestKind,
    ours: &BTreeMap<&Address, &Guest>,
    proposal: &mut Proposal,
) {
    for wanted in world.desired.guests.values().filter(|guest| guest.kind == kind && guest.was.is_some()) {
        let Some(guest) = ours.get(&wanted.resource()).filter(|guest| guest.was.is_none()) else { continue };
        let id = wanted.spec.id.is_none().then(|| format!("\"id\": {}", guest.id));
        let macs = wanted.spec.nets.iter().filter(|(_, nic)| nic.mac.is_none());
        let macs = macs.filter_map(|(slot, _)| Some((*slot, &wanted.nets.get(slot)?.mac)));
        let macs = macs.map(|(slot, mac)| format!("\"mac\": \"{mac}\" of net{slot}"));
        let all: Vec<String> = id.into_iter().chain(macs).collect();
        proposal.note(match all.as_slice() {
            [] => format!("{} has its name: `was` can go", wanted.resource()),
            all => format!(
                "{} has its name: `was` can go once this is said, which follows from the name of before: {}",
                wanted.resource(),
                all.join(", ")
            ),
        });
    }
}
