//! What a name on the command line takes along, and what a plan is without it.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{self, Address, kinds};
use crate::desired::{Certificate, Desired, Guest, Stack};
use crate::host::Host;
use crate::inventory::Inventory;
use crate::mark::Mark;
use crate::mark::notes::DATACENTER;
use crate::step::{Plan, Step};

/// All that is on a guest: its features, certificates, stacks, authority, services and its firewall. Nothing for what is no guest.
pub fn on(desired: &Desired, guest: &Address) -> Vec<Address> {
    let Some(guest) = desired.guest(guest) else { return Vec::new() };
    let (name, host) = (&guest.name, guest.host());
    let features = guest.features.iter().map(|f| Address::feature(&f.name, &host));
    let certificates = desired.certificates.values().filter(|c| c.on == host).map(Certificate::resource);
    let services = desired.services.values().filter(|s| s.on == *name).map(|s| Address::service(&s.name));
    let stacks = desired.stacks.values().filter(|s| s.on == *name).map(Stack::resource);
    let authority = desired.authority.iter().filter(|a| a.on == *name).map(|a| Address::authority(&a.on));
    let firewall = desired.firewall.iter().map(|_| Address::firewall(name));
    features.chain(certificates).chain(stacks).chain(services).chain(authority).chain(firewall).collect()
}

/// The guests by their ids, to find the one that a step is about.
#[derive(Debug)]
pub struct Guests<'a> {
    desired: &'a Desired,
    by_id: BTreeMap<u32, Address>,
}

impl<'a> Guests<'a> {
    /// Those that are wanted.
    pub fn new(desired: &'a Desired) -> Self {
        Self { desired, by_id: desired.guests.values().map(|g| (g.id, g.resource())).collect() }
    }

    /// The guest that a step is about, or about something on it; none for what is the whole site's or the node's.
    pub fn guest_of(&self, step: &Step) -> Option<Address> {
        let address = &step.address;
        if address.guest_kind().is_some() {
            return Some(address.clone());
        }
        if let Some(host) = address.host() {
            return host.address();
        }
        let service = self.desired.services.get(address.name()).filter(|s| s.resource() == *address);
        if let Some(service) = service {
            return self.desired.guests.get(&service.on).map(Guest::resource);
        }
        self.of_id(step.id?)
    }

    /// The guest that has this id.
    pub fn of_id(&self, id: u32) -> Option<Address> {
        self.by_id.get(&id).cloned()
    }
}

/// Something that a mark remembers: it can be named though it may not be wanted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What it is called where it is, as the step that removes it is: `feature.base@container.notes`.
    pub(crate) there: Address,
    /// The same without its host, as certificates and services are called while they are wanted: `service.notes`.
    plain: Address,
    /// Whether it goes by `plain` still: features never do, and what is wanted by that name may be on another host.
    is_plain: bool,
    /// Who carries the mark.
    pub(crate) bearer: Address,
}

impl Remembered {
    /// All that it is called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.there).chain(Some(&self.plain).filter(|_| self.is_plain))
    }

    /// The step that is about it: its own, or else that of who carries the mark, which then forgets it.
    pub(crate) fn step<'a>(&'a self, steps: &BTreeMap<Address, Step>) -> &'a Address {
        let mut own = [&self.there, &self.plain].into_iter();
        own.find(|address| steps.contains_key(*address)).unwrap_or(&self.bearer)
    }
}

/// The marks of the site, with the ids of the guests that carry them: those of guests, and the node's.
fn marks<'a>(
    desired: &'a Desired,
    inventory: &'a Inventory,
) -> impl Iterator<Item = (&'a Mark, Option<u32>)> {
    let guests = inventory.of_site(&desired.site).filter_map(|g| Some((g.mark.as_ref()?, Some(g.id))));
    let node = inventory.reached().hypervisor.iter().filter(|mark| mark.site == desired.site);
    let datacenter = inventory.datacenter.mark.iter().filter(|mark| mark.site == desired.site);
    guests.chain(node.chain(datacenter).map(|mark| (mark, None)))
}

/// What carries the site's mark: guests with their ids, and the node.
pub(crate) fn marked<'a>(
    desired: &'a Desired,
    inventory: &'a Inventory,
) -> impl Iterator<Item = (&'a Address, Option<u32>)> {
    // The datacenter is nothing that anybody names.
    let own = |(mark, _): &(&Mark, _)| mark.address.kind() != DATACENTER;
    marks(desired, inventory).filter(own).map(|(mark, id)| (&mark.address, id))
}

/// All that the site's marks remember.
pub(crate) fn remembered(desired: &Desired, inventory: &Inventory) -> Vec<Remembered> {
    let mut all = Vec::new();
    for (mark, _) in marks(desired, inventory) {
        let bearer = &mark.address;
        let host = Host::of(bearer);
        for (kind, name) in mark.applied() {
            let (there, plain) = (Address::on(kind, name, &host), Address::new(kind, name));
            let is_plain = kind != kinds::FEATURE && there != plain && !desired.graph.contains(&plain);
            all.push(Remembered { there, plain, is_plain, bearer: bearer.clone() });
        }
    }
    all
}

/// Everything that can be named: what is wanted, what is there with the site's mark, and what marks remember.
pub fn all(desired: &Desired, inventory: &Inventory) -> BTreeSet<Address> {
    let marked = marked(desired, inventory).map(|(address, _)| address.clone());
    let mut all: BTreeSet<Address> = desired.graph.addresses().cloned().chain(marked).collect();
    all.extend(remembered(desired, inventory).iter().flat_map(Remembered::names).cloned());
    let waits = |guest: &&Guest| inventory.guests.get(&guest.id).is_some_and(|it| !it.pending.is_empty());
    all.extend(desired.guests.values().filter(waits).map(|guest| Address::restart(&guest.name)));
    all
}

/// Leaves out of a plan what `patterns` name, all that is on a guest among it, and whatever needs one of these. What was
/// left out is said.
pub fn exclude(
    desired: &Desired,
    inventory: &Inventory,
    plan: &mut Plan,
    patterns: &[String],
) -> Vec<Address> {
    let named = |address: &Address, id| patterns.iter().any(|p| address::matches(p, address, id));
    let remembered = remembered(desired, inventory);
    let gone = remembered.iter().filter(|it| it.names().any(|name| named(name, None)));
    let gone: BTreeSet<&Address> = gone.map(|it| &it.there).collect();
    let guests = Guests::new(desired);
    let mut out: BTreeSet<Address> = plan
        .steps
        .iter()
        .filter(|step| {
            named(&step.address, step.id)
                || gone.contains(&step.address)
                || guests.guest_of(step).is_some_and(|guest| named(&guest, desired.id_of(&guest)))
        })
        .map(|step| step.address.clone())
        .collect();
    // Each step comes after what it needs, so once through is enough.
    for step in &plan.steps {
        if step.needs.iter().any(|need| out.contains(need)) {
            out.insert(step.address.clone());
        }
    }
    plan.steps.retain(|step| !out.contains(&step.address));
    plan.postponed.retain(|it| {
        let guest = it.id.and_then(|id| guests.of_id(id));
        !named(&it.address, it.id) && !guest.is_some_and(|guest| named(&guest, it.id))
    });
    plan.problems.retain(|problem| !named(&problem.address, desired.id_of(&problem.address)));
    out.into_iter().collect()
}
