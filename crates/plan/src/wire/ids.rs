//! Ids of guests.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::Blueprint;
use blueprint::names::GuestName;
use sha2::{Digest, Sha256};

use super::{Findings, guests};
use crate::address::Address;

/// Where ids of guests that declare none are taken from, unless the site says otherwise: six digits.
const IDS: (u32, u32) = (100_000, 999_999);

/// Ids for guests that declare none: derived from the name within the range, the next free one where two meet. With a
/// range of the site's, which may be small, it is said who got the next one: it would move if the other came later.
pub(super) fn ids(blueprint: &Blueprint, findings: &mut Findings) -> BTreeMap<GuestName, u32> {
    let (first, last) = blueprint.site.ids.unwrap_or(IDS);
    let size = last - first + 1;
    let mut taken: BTreeSet<u32> = blueprint.guests.values().filter_map(|c| c.id).collect();
    let mut ids = BTreeMap::new();
    for (name, container) in &blueprint.guests {
        let id = container.id.unwrap_or_else(|| {
            let hash = Sha256::digest(format!("{}/{}", blueprint.site.name, guests::named_first(container)));
            let start = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) % size;
            // That there is a free one has been checked on paper.
            let id = (0..size)
                .map(|n| first + (start + n) % size)
                .find(|id| !taken.contains(id))
                .unwrap_or(first);
            if id != first + start && blueprint.site.ids.is_some() {
                findings.notes.push(format!(
                    "{} has the id {id} because another has {}: declare \"id\": {id}, so that it stays whatever is added",
                    Address::of_guest(container),
                    first + start
                ));
            }
            id
        });
        taken.insert(id);
        ids.insert(name.clone(), id);
    }
    ids
}
