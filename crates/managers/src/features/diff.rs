//! What differs between the features wanted on a guest, or on the node, and those its mark says were applied. Pure, and without a
//! look into it: the mark's fingerprints are believed, but where somebody has looked and found otherwise.

use std::sync::Arc;

use apply::Crew;
use plan::address::kinds;
use plan::desired::{Feature, Guest};
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::step::SITE_GOES;
use plan::{Action, Address, Change, Desired, Host, Mark, Step};
use serde_json::{Value, json};

use super::crew::{FeatureWork, Install, On, Removal};
use super::{Rendered, known, moves};
use crate::hypervisor::{hold, is_of_certificate};
use crate::stacks;
use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// Why something goes.
const UNWANTED: &str = "no longer in the blueprint";

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
        let mark = match address.host() {
            Some(Host::Guest(_, name)) => seen.mark(name),
            Some(Host::Node(_)) => seen.node_mark(),
            None => None,
        };
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
        node(world, proposal);
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
    let features = match address.host()? {
        Host::Guest(_, name) => &desired.guests.get(name)?.features,
        Host::Node(_) => &desired.on_node,
    };
    features.iter().find(|feature| feature.name == address.name())
}

/// The mark a container will have when the steps proposed so far are done: none when it is made anew.
pub fn mark_after<'a>(world: World<'a>, container: &Guest, proposal: &Proposal) -> Option<&'a Mark> {
    if proposal.makes_anew(&container.resource()) {
        return None;
    }
    let guest = world.inventory.guests.get(&container.id)?;
    guest.mark.as_ref().filter(|m| m.site == world.desired.site && m.address == container.resource())
}

/// Something that features are put on.
struct Place<'a> {
    host: Host,
    on: On,
    /// The guest's own address.
    guest: Option<Address>,
    features: &'a [Feature],
    /// What it remembers; nothing where it is made anew.
    mark: Option<&'a Mark>,
}

fn guest(world: World<'_>, container: &Guest, before: &[Address], proposal: &mut Proposal) {
    let resource = container.resource();
    let there = world.inventory.guests.contains_key(&container.id);
    let mark = mark_after(world, container, proposal);
    if mark.is_none() && (there && !proposal.makes_anew(&resource) || !there && !proposal.has(&resource)) {
        // It cannot be made, or is not ours: the container's problem says so.
        return;
    }
    let place = Place {
        host: container.host(),
        on: On::Guest(container.id),
        guest: Some(resource),
        features: &container.features,
        mark,
    };
    // What goes may have what comes here: a port, a name. Where nothing comes, what takes its place elsewhere is proven first.
    let services = || world.desired.services.keys().map(|name| Address::service(name)).collect();
    let mut after: Vec<Address> =
        if container.features.iter().any(|it| place.changes(it)) { Vec::new() } else { services() };
    // A stack goes before what it runs in.
    after.extend(
        mark.into_iter().flat_map(|mark| stacks::diff::unwanted(world, container, mark)).map(|(_, it)| it),
    );
    let gone = place.gone(container.features.iter(), |_| true, (UNWANTED, &after), proposal);
    place.wanted(world, before, &gone, proposal);
}

/// What is to be on the node itself, and what is there and is not to be. What keeps its certificate is that one's own.
fn node(world: World<'_>, proposal: &mut Proposal) {
    let there = world.inventory.reached().hypervisor.as_ref();
    let of_certificate = world.desired.hypervisor.iter().flat_map(|node| &node.features);
    let features: &[Feature] = if world.options.destroy { &[] } else { &world.desired.on_node };
    if let (Some(first), Some(other)) = (features.first(), there.filter(|m| m.site != world.desired.site)) {
        let address = Address::feature(&first.name, &Host::THE_NODE);
        proposal.problem(crate::hypervisor::another_site(address, other, &world.desired.site, "features"));
        return;
    }
    let mark = there.filter(|mark| mark.site == world.desired.site);
    let on = On::Node(world.inventory.command_node().to_owned());
    let place = Place { host: Host::THE_NODE, on, guest: None, features, mark };
    let others = features.iter().chain(of_certificate);
    let why = if world.options.destroy { SITE_GOES } else { UNWANTED };
    let gone = place.gone(others, |name| !is_of_certificate(name), (why, &[]), proposal);
    place.wanted(world, &[], &gone, proposal);
}

impl Place<'_> {
    fn address(&self, feature: &str) -> Address {
        Address::feature(feature, &self.host)
    }

    fn changes(&self, feature: &Feature) -> bool {
        let applied = self.mark.and_then(|mark| mark.fingerprint(&self.address(&feature.name)));
        applied != Some(feature.fingerprint.as_str())
    }

    /// A step that has its host to itself.
    fn step(&self, feature: &str, action: Action) -> Step {
        let step = Step::new(self.address(feature), action);
        match &self.on {
            On::Guest(id) => step.on_guest(*id),
            On::Node(_) => hold(step).root("it is put on the node itself"),
        }
    }

    fn batch(&self, word: &str) -> String {
        match &self.guest {
            Some(guest) => format!("features@{guest}{word}"),
            None => format!("features@node{word}"),
        }
    }

    /// What is to be there and is not, or not as it is to be.
    fn wanted(&self, world: World<'_>, before: &[Address], gone: &[Address], proposal: &mut Proposal) {
        for feature in self.features {
            let address = self.address(&feature.name);
            let applied = self.mark.and_then(|m| m.fingerprint(&address));
            let same = applied == Some(feature.fingerprint.as_str());
            let secrets =
                self.mark.map(|mark| known::compare(world.inventory, mark, &address)).unwrap_or_default();
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
            for doubt in secrets.doubts(&address) {
                proposal.note(doubt);
            }
            let mut changes = secrets.changes();
            if !same {
                changes.push(Change::new("fingerprint", applied, feature.fingerprint.clone()));
            }
            let work = FeatureWork::Install(Install {
                on: self.on.clone(),
                fingerprint: feature.fingerprint.clone(),
                rendered: Value::clone(&feature.payload),
            });
            let batch = match feature.stage {
                0 => self.batch(""),
                // A later stage waits for certificates, which wait for the earlier one: two round trips.
                stage => self.batch(&format!("/{stage}")),
            };
            let step = self
                .step(&feature.name, Action::Run)
                .reasons(reasons)
                .changes(changes)
                .needs(before.iter().cloned())
                .needs(gone.iter().cloned())
                .batch(batch);
            proposal.step(step, &work);
        }
    }

    /// What was applied and is no longer wanted is taken away, as far as the host remembers what it was; after these steps.
    /// `others` are all the features that stay, whose packages stay, too; `why` is the reason.
    fn gone<'f>(
        &self,
        others: impl Iterator<Item = &'f Feature>,
        is_ours: impl Fn(&str) -> bool,
        (why, after): (&str, &[Address]),
        proposal: &mut Proposal,
    ) -> Vec<Address> {
        let wanted = |name: &str| self.features.iter().any(|feature| feature.name == name);
        let applied = self.mark.into_iter().flat_map(|mark| mark.of_kind(kinds::FEATURE));
        let had: Vec<(&str, &Value)> = applied.filter(|(name, _)| !wanted(name) && is_ours(name)).collect();
        if had.is_empty() {
            return Vec::new();
        }
        // A payload that cannot be read is found when its own feature is carried out.
        let others: Vec<Rendered> =
            others.filter_map(|it| serde_json::from_value(Value::clone(&it.payload)).ok()).collect();
        let needed = super::packages(&others);
        let mut addresses = Vec::new();
        for (name, fingerprint) in had {
            let address = self.address(name);
            let removal = Removal { on: self.on.clone(), name: name.to_owned(), needed: needed.clone() };
            // What people keep in it stays, so it costs nothing and nobody is asked.
            let step = self
                .step(name, Action::Delete)
                .reason(why)
                .change(Change::new("fingerprint", fingerprint.clone(), Value::Null))
                .needs(after.iter().cloned())
                .needs(self.guest.clone())
                .batch(self.batch("/gone"));
            proposal.step(step, &FeatureWork::Remove(removal));
            addresses.push(address);
        }
        addresses
    }
}
