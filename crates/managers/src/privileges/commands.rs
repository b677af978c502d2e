//! The commands that make a token of exactly what is required, to be typed by root on the node.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Requirement};
use crate::features::quote::shell_quote;

/// The token that the commands make, as Phoenix is given it before the `=`.
pub fn token(site: &str) -> String {
    format!("{}!cli", user(site))
}

fn user(site: &str) -> String {
    format!("phoenix-{site}@pve")
}

/// The commands, in the order in which they are typed. Names of sites, pools, storages and bridges need no quoting.
pub fn commands(site: &str, required: &BTreeSet<Requirement>) -> Vec<String> {
    let mut by_place: BTreeMap<&Place, BTreeSet<&str>> = BTreeMap::new();
    for it in required {
        by_place.entry(&it.place).or_default().insert(it.privilege);
    }
    // One role for each set of privileges, whatever the number of places that have it.
    let mut roles: BTreeMap<BTreeSet<&str>, String> = BTreeMap::new();
    for (place, privileges) in &by_place {
        let wanted = format!("phoenix-{site}-{}", word(place));
        let taken = roles.values().filter(|name| name.starts_with(&wanted)).count();
        let name = if taken == 0 { wanted } else { format!("{wanted}-{}", taken + 1) };
        roles.entry(privileges.clone()).or_insert(name);
    }
    let pools = by_place.keys().filter_map(|place| match place {
        Place::Pool(name) => Some(format!("pveum pool add {}", shell_quote(name))),
        _ => None,
    });
    let mut all: Vec<String> = pools.collect();
    let mut named: Vec<(&String, &BTreeSet<&str>)> = roles.iter().map(|(set, name)| (name, set)).collect();
    named.sort();
    for (name, privileges) in named {
        let list = privileges.iter().copied().collect::<Vec<_>>().join(",");
        all.push(format!("pveum role add {name} --privs {list}"));
    }
    let user = user(site);
    all.push(format!("pveum user add {user}"));
    for (place, privileges) in &by_place {
        let only = if place.propagates() { "" } else { " --propagate 0" };
        all.push(format!(
            "pveum acl modify {} --users {user} --roles {}{only}",
            shell_quote(&place.path()),
            roles.get(privileges).map_or("", String::as_str)
        ));
    }
    // Its own rules bound it: what the user is given later is not the token's.
    all.push(format!("pveum user token add {user} cli --privsep 1"));
    for (place, privileges) in &by_place {
        let only = if place.propagates() { "" } else { " --propagate 0" };
        all.push(format!(
            "pveum acl modify {} --tokens {} --roles {}{only}",
            shell_quote(&place.path()),
            shell_quote(&token(site)),
            roles.get(privileges).map_or("", String::as_str)
        ));
    }
    all
}

/// What of it is wider than it would have to be, and how it becomes narrow.
pub fn notes(required: &BTreeSet<Requirement>) -> Vec<String> {
    let has = |place: &Place| required.iter().any(|it| it.place == *place);
    let mut notes = Vec::new();
    if has(&Place::Guests) {
        notes.push(
            "/vms is every guest of the node: with \"pool\": \"NAME\" for the site's containers, in their type, it is that \
             pool alone. Guests that are there already join it by: pveum pool modify NAME --vms ID,ID --allow-move 1"
                .to_owned(),
        );
    }
    if has(&Place::Storages) {
        notes.push(
            "/storage is every storage: with \"storage\" in each container's \"disk\" it is that one alone"
                .to_owned(),
        );
    }
    if has(&Place::Templates) {
        notes.push(
            "templates are expected on `local`; where they are elsewhere, give the role on that one"
                .to_owned(),
        );
    }
    let cluster = required.iter().any(|it| it.place == Place::Root && it.privilege == "Sys.Audit");
    if !cluster {
        notes.push(
            "in a cluster the token needs Sys.Audit on /, too: name each container's \"node\", and it is printed"
                .to_owned(),
        );
    }
    notes
}

fn word(place: &Place) -> &'static str {
    match place {
        Place::Root => "cluster",
        Place::Nodes => "nodes",
        Place::Guests | Place::Pool(_) => "guests",
        Place::Storage(_) | Place::Storages | Place::Templates => "storage",
        Place::Bridge(..) => "bridges",
        Place::Mapping(..) => "mappings",
    }
}
