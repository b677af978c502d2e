//! In which order guests start with their node, by who needs whom, so that it holds after a power cut without Phoenix.
//!
//! Ranks are far apart: who comes later needs to move nobody. A guest's follows from the part that it plays, and along `needs`
//! each comes after the one that it needs.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{Blueprint, Guest, GuestKind, Startup};
use blueprint::names::GuestName;

use super::certificates::Certificates;
use super::parts::Parts;

/// The first rank of those who need nobody's names nor certificates, of the cache of packages, of proxies, and of all others.
const FOUNDATION: u32 = 1000;
const PACKAGES: u32 = 2000;
const PROXY: u32 = 3000;
const OTHER: u32 = 4000;

/// Between a guest and one that needs it.
const STEP: u32 = 10;

/// Seconds until what others need answers, once its guest was started: a container's init, and a whole system's.
const CONTAINER: u32 = 5;
const MACHINE: u32 = 30;

/// The places of all guests. What is declared wins.
pub(super) fn order(
    blueprint: &Blueprint,
    parts: &Parts,
    certificates: &Certificates,
) -> BTreeMap<GuestName, Startup> {
    let guests = &blueprint.guests;
    let authority = certificates.authority.as_ref().map(|authority| &authority.on);
    let is_foundation = |name: &GuestName| Parts::is(&parts.dns, name) || authority == Some(name);
    let own = |name: &GuestName| match () {
        () if is_foundation(name) => FOUNDATION,
        () if parts.is_package_cache(name) => PACKAGES,
        () if parts.gateways.contains_key(name) || Parts::is(&parts.mesh, name) => PROXY,
        () => OTHER,
    };
    let links: Vec<_> = guests
        .values()
        .flat_map(|guest| guest.needs.iter().map(move |need| (&guest.name, need)))
        .filter(|(_, need)| guests.contains_key(*need))
        .collect();
    // What is needed early belongs to the early ones, and who needs something comes after it.
    let mut ranks: BTreeMap<&GuestName, u32> = guests.keys().map(|name| (name, own(name))).collect();
    settle(&mut ranks, &links, |guest, need| (guest, need.min(guest)));
    settle(&mut ranks, &links, |guest, need| (guest.max(need + STEP), need));
    let needed: BTreeSet<&GuestName> =
        guests.values().filter(|guest| guest.started).flat_map(|guest| &guest.needs).collect();
    let is_needed = |name: &GuestName| is_foundation(name) || needed.contains(name);
    let place = |guest: &Guest| {
        let said = guest.startup.unwrap_or_default();
        let up = is_needed(&guest.name).then_some(match guest.kind() {
            GuestKind::Container => CONTAINER,
            GuestKind::Vm => MACHINE,
        });
        Startup {
            order: said.order.or_else(|| ranks.get(&guest.name).copied()),
            up: said.up.or(up),
            down: said.down,
        }
    };
    guests.values().map(|guest| (guest.name.clone(), place(guest))).collect()
}

/// Passes along the links until all ranks fit: from those of a guest and of one that it needs, `fit` makes theirs. Needs are in no
/// circle, so each pass settles one more link of every chain.
fn settle<'a>(
    ranks: &mut BTreeMap<&'a GuestName, u32>,
    links: &[(&'a GuestName, &'a GuestName)],
    fit: impl Fn(u32, u32) -> (u32, u32),
) {
    for _ in 0..ranks.len() {
        let before = ranks.clone();
        for (guest, need) in links {
            let (Some(of_guest), Some(of_need)) = (ranks.get(guest), ranks.get(need)) else { continue };
            let (of_guest, of_need) = fit(*of_guest, *of_need);
            ranks.extend([(*guest, of_guest), (*need, of_need)]);
        }
        if *ranks == before {
            break;
        }
    }
}
