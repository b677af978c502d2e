//! Make before break: where a service moves to another guest, its proxy goes on leading to the one that has it until the new
//! one is done.

use std::collections::BTreeMap;

use blueprint::names::GuestName;
use plan::Address;
use plan::address::kinds;
use plan::desired::Guest;
use plan::planner::World;

/// For each proxy what has to be done before its features are: the last feature of each guest to which a service behind it
/// moves. A guest that waits for the proxy itself (for names, say) is left out, since the two would wait for each other.
pub fn before<'a>(world: World<'a>) -> BTreeMap<&'a GuestName, Vec<Address>> {
    let guests = &world.desired.guests;
    let mut had: BTreeMap<&str, u32> = BTreeMap::new();
    for guest in world.inventory.of_site(&world.desired.site) {
        had.extend(guest.mark.iter().flat_map(|m| m.names(kinds::SERVICE)).map(|name| (name, guest.id)));
    }
    let mut all: BTreeMap<&GuestName, Vec<Address>> = BTreeMap::new();
    for service in world.desired.services.values() {
        let proxy = service.via.as_ref().and_then(|via| guests.get(&via.on));
        let (Some(proxy), Some(guest)) = (proxy, guests.get(&service.on)) else { continue };
        let moves = had.get(service.name.as_str()).is_some_and(|id| *id != guest.id);
        let Some(last) = last(guest).filter(|_| moves && proxy.name != guest.name) else { continue };
        let needs = world.desired.graph.needs_of_needs(&last);
        if !features(proxy).any(|feature| needs.contains(&feature)) {
            all.entry(&proxy.name).or_default().push(last);
        }
    }
    all
}

fn features(guest: &Guest) -> impl DoubleEndedIterator<Item = Address> {
    guest.features.iter().map(|f| Address::feature(&f.name, &guest.host()))
}

fn last(guest: &Guest) -> Option<Address> {
    features(guest).next_back()
}
