//! New names for guests that are there.

use std::collections::BTreeMap;

use super::Context;
use crate::codes;
use crate::model::Guests;
use crate::report::Draft;

/// Checks that each name of before was that of one guest, and is nobody's now.
pub(super) fn check(guests: &Guests, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let mut had: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, guest) in guests {
        let (Some(was), Some(entry)) = (&guest.was, namespace.guests.get(&**name)) else { continue };
        let spot = entry.spot(&["was"]);
        if let Some((_, there)) = namespace.guests.get_key_value(&**was) {
            let message = match was == name {
                true => format!("`{name}` was called so before, too"),
                false => format!("`{name}` cannot have been `{was}`, which is declared as well"),
            };
            let draft = Draft::error(codes::BAD_RENAME, spot, message);
            let draft = if was == name { draft } else { draft.related(there.key(), "the other") };
            context.push(draft.hint("where it has its new name already, take `was` out"));
        } else if let Some(other) = had.insert(was, name) {
            let draft = Draft::error(
                codes::BAD_RENAME,
                spot,
                format!("`{other}` and `{name}` cannot both have been `{was}`"),
            );
            let draft = draft.hint("keep it on one of them");
            let there = namespace.guests.get(other).map(|entry| entry.spot(&["was"]));
            context.push(match there {
                Some(there) => draft.related(there, "the other"),
                None => draft,
            });
        }
    }
}
