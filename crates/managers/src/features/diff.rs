//! What differs between the features wanted on a guest and those its mark says were applied. Pure, and without a look
//! into the guest: the mark's fingerprints are believed, but where somebody has looked and found otherwise.

use std::sync::Arc;

use apply::Crew;
use plan::address::kinds;
use plan::desired::{Feature, Guest};
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::{Action, Address, Change, Desired, Mark, Step};
use serde_json::{Value, json};

use super::crew::{FeatureWork, Install, Removal};
use super::{Rendered, known, moves};
use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// Features, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Features;

impl Manager for Features {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(super::crew::FeatureCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let feature = feature_of(desired, address)?;
        let declared = feature.declared.as_ref().map(ToString::to_string);
        Some(json!({
            "fingerprint": feature.fingerprint,
            "declared": declared.unwrap_or_else(|| "required by another feature".to_owned()),
        }))
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let mark = address.host().and_then(|host| seen.mark(host.guest()?));
        let applied = mark.and_then(|mark| mark.fingerprint(address));
        let wanted = feature_of(seen.desired, address).map(|feature| feature.fingerprint.as_str());
        let secrets = mark.map(|mark| known::compare(seen.inventory, mark, address)).unwrap_or_default();
        let state = match applied {
            None => "not there yet",
            Some(_) if applied == wanted && secrets.changed.is_empty() => "applied",
            Some(_) => "to be updated",
        };
        Status::new(address, state)
    }
}

impl Kind for Features {
    fn kind(&self) -> &'static str {
        kinds::FEATURE
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        for note in known::unknown(world.inventory) {
            proposal.note(note);
        }
        let before = moves::before(world);
        for container in world.desired.guests.values() {
            let before = before.get(&container.name).map(Vec::as_slice).unwrap_or_default();
            guest(world, container, before, proposal);
        }
    }

    fn telling(&self, step: &Step) -> Telling {
        let new = step.changes.iter().all(|change| change.old.is_null());
        let verb = match step.action {
            Action::Delete => "remove",
            _ if new => "install",
            _ => "update",
        };
        Telling { verb: Some(verb), ..Telling::default() }
    }
}

/// The feature at this address; none where it is of another kind.
pub fn feature_of<'a>(desired: &'a Desired, address: &Address) -> Option<&'a Feature> {
    if address.kind() != kinds::FEATURE {
        return None;
    }
    let guest = desired.guests.get(address.host()?.guest()?)?;
    guest.features.iter().find(|feature| feature.name == address.name())
}

/// The mark a container will have when the steps proposed so far are done: none when it is made anew.
pub fn mark_after<'a>(world: World<'a>, container: &Guest, proposal: &Proposal) -> Option<&'a Mark> {
    if proposal.makes_anew(&container.resource()) {
        return None;
    }
    let guest = world.inventory.guests.get(&container.id)?;
    guest.mark.as_ref().filter(|m| m.site == world.desired.site && m.address == container.resource())
}

fn guest(world: World<'_>, container: &Guest, before: &[Address], proposal: &mut Proposal) {
    let resource = container.resource();
    let there = world.inventory.guests.contains_key(&container.id);
    let mark = mark_after(world, container, proposal);
    if mark.is_none() && (there && !proposal.makes_anew(&resource) || !there && !proposal.has(&resource)) {
        // It cannot be made, or is not ours: the container's problem says so.
        return;
    }
    let address = |feature: &Feature| Address::feature(&feature.name, &container.host());
    let applied = |address: &Address| mark.and_then(|m| m.fingerprint(address));
    let changes = |feature: &Feature| applied(&address(feature)) != Some(feature.fingerprint.as_str());
    // What goes may have what comes here: a port, a name. Where nothing comes, what takes its place elsewhere is proven first.
    let services = || world.desired.services.keys().map(|name| Address::service(name)).collect();
    let after = || if container.features.iter().any(changes) { Vec::new() } else { services() };
    let gone = gone(container, mark, after, proposal);
    for feature in &container.features {
        let address = address(feature);
        let applied = applied(&address);
        let same = applied == Some(feature.fingerprint.as_str());
        let secrets = mark.map(|mark| known::compare(world.inventory, mark, &address)).unwrap_or_default();
        if let Some(problem) = secrets.problem(&address) {
            proposal.problem(problem);
            continue;
        }
        let differs = || secrets.reasons();
        let found = world.inventory.found.get(&address).cloned();
        let reasons = match (&applied, &feature.declared, found) {
            (Some(_), _, Some(found)) if same => [found, differs()].concat(),
            (Some(_), _, None) if same && !secrets.changed.is_empty() => differs(),
            _ if same => continue,
            (None, Some(place), _) => vec![format!("new in {place}")],
            (None, None, _) => vec!["required by another feature".to_owned()],
            (Some(_), ..) => [vec!["what it renders to has changed".to_owned()], differs()].concat(),
        };
        let mut changes = secrets.changes();
        if !same {
            changes.push(Change::new("fingerprint", applied, feature.fingerprint.clone()));
        }
        let work = FeatureWork::Install(Install {
            id: container.id,
            fingerprint: feature.fingerprint.clone(),
            rendered: Value::clone(&feature.payload),
        });
        let batch = match feature.stage {
            0 => format!("features@{resource}"),
            // A later stage waits for certificates, which wait for the earlier one: two round trips.
            stage => format!("features@{resource}/{stage}"),
        };
        let step = Step::new(address, Action::Run)
            .on_guest(container.id)
            .reasons(reasons)
            .changes(changes)
            .needs(before.iter().cloned())
            .needs(gone.clone())
            .batch(batch);
        proposal.step(step, &work);
    }
}

/// What was applied and is no longer wanted is taken away, as far as the guest remembers what it was; after these steps.
fn gone(
    container: &Guest,
    mark: Option<&Mark>,
    after: impl FnOnce() -> Vec<Address>,
    proposal: &mut Proposal,
) -> Vec<Address> {
    let resource = container.resource();
    let wanted = |name: &str| container.features.iter().any(|feature| feature.name == name);
    let had: Vec<(&str, &Value)> = mark
        .into_iter()
        .flat_map(|mark| mark.of_kind(kinds::FEATURE))
        .filter(|(name, _)| !wanted(name))
        .collect();
    if had.is_empty() {
        return Vec::new();
    }
    // A payload that cannot be read is found when its own feature is carried out.
    let rendered: Vec<Rendered> = (container.features.iter())
        .filter_map(|feature| serde_json::from_value(Value::clone(&feature.payload)).ok())
        .collect();
    let (needed, after) = (super::packages(&rendered), after());
    let mut addresses = Vec::new();
    for (name, fingerprint) in had {
        let address = Address::feature(name, &container.host());
        let removal = Removal { id: container.id, name: name.to_owned(), needed: needed.clone() };
        // What people keep in it stays, so it costs nothing and nobody is asked.
        let step = Step::new(address.clone(), Action::Delete)
            .on_guest(container.id)
            .reason("no longer in the blueprint")
            .change(Change::new("fingerprint", fingerprint.clone(), Value::Null))
            .needs(after.iter().cloned())
            .needs([resource.clone()])
            .batch(format!("features@{resource}/gone"));
        proposal.step(step, &FeatureWork::Remove(removal));
        addresses.push(address);
    }
    addresses
}
