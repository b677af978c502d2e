//! What a guest needs of others, and whether they give it.

use plan::Address;

use super::super::finding::{Cause, Finding, State};
use super::super::flows::Asker;
use super::tcp::{Met, To, tcp};
use super::{World, far_end};

/// What keeps a guest's needs from being met, each with what was seen of it; empty where nothing does, or nothing was asked.
pub fn failing(world: &World<'_>, guest: &str) -> Vec<Cause> {
    let place = world.called(guest).to_string();
    let mut found = Vec::new();
    for (need, leg) in world.needs.get(guest).into_iter().flatten() {
        let needed = world.called(&need.guest);
        let asked = need.port.and_then(|port| {
            let to = To { guest: &need.guest, address: need.address, port };
            Some(tcp(world, &place, Asker::Guest(guest), to, Met::of(leg)?))
        });
        match asked {
            Some(finding) if finding.state == State::Broken => found.extend(blamed(&needed, finding)),
            Some(_) => {}
            None => {
                found.extend(
                    far_end::trouble(world, &need.guest, None)
                        .map(|cause| attribute_to_need(&needed, "", cause)),
                );
            }
        }
    }
    found
}

fn blamed(needed: &Address, finding: Finding) -> impl Iterator<Item = Cause> {
    let Finding { seen, cause, also, .. } = finding;
    let first = cause.map(|cause| attribute_to_need(needed, &format!("{seen}: "), cause));
    first.into_iter().chain(also)
}

fn attribute_to_need(needed: &Address, seen: &str, cause: Cause) -> Cause {
    Cause { text: format!("it needs {needed}: {seen}{}", cause.text), ..cause }
}

/// What it needs and got an answer from, in words; empty where nothing was asked.
pub fn met(world: &World<'_>, guest: &str) -> String {
    let asked: Vec<String> = world
        .needs
        .get(guest)
        .into_iter()
        .flatten()
        .filter_map(|(need, _)| Some(format!("{}:{}", world.called(&need.guest), need.port?)))
        .collect();
    if asked.is_empty() {
        String::new()
    } else {
        format!("; what it needs can be connected to ({})", asked.join(", "))
    }
}
