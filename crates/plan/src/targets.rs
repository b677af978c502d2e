//! What a name on the command line takes along, and what a plan is without it.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{self, Address};
use crate::desired::{Certificate, Desired, Guest};
use crate::inventory::Inventory;
use crate::step::{Plan, Step};

/// All that is on a guest: its features, certificates, authority, services and its firewall. Nothing for what is no guest.
pub fn on(desired: &Desired, guest: &Address) -> Vec<Address> {
    let Some(guest) = desired.guest(guest) else { return Vec::new() };
    let (name, host) = (&guest.name, guest.host());
    let features = guest.features.iter().map(|f| Address::feature(&f.name, &host));
    let certificates = desired.certificates.values().filter(|c| c.on == host).map(Certificate::resource);
    let services = desired.services.values().filter(|s| s.on == *name).map(|s| Address::service(&s.name));
    let authority = desired.authority.iter().filter(|a| a.on == *name).map(|a| Address::authority(&a.on));
    let firewall = desired.firewall.iter().map(|_| Address::firewall(name));
    features.chain(certificates).chain(services).chain(authority).chain(firewall).collect()
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
        self.by_id.get(&step.id?).cloned()
    }
}

/// Everything that can be named: what is wanted, and what is there with the site's mark.
pub fn all(desired: &Desired, inventory: &Inventory) -> BTreeSet<Address> {
    let marked = inventory.of_site(&desired.site).filter_map(|g| Some(g.mark.as_ref()?.address.clone()));
    desired.graph.addresses().cloned().chain(marked).collect()
}

/// Leaves out of a plan what `patterns` name, all that is on a guest among it, and whatever needs one of these. What was
/// left out is said.
pub fn exclude(desired: &Desired, plan: &mut Plan, patterns: &[String]) -> Vec<Address> {
    let named = |address: &Address, id| patterns.iter().any(|p| address::matches(p, address, id));
    let guests = Guests::new(desired);
    let mut out: BTreeSet<Address> = plan
        .steps
        .iter()
        .filter(|step| {
            named(&step.address, step.id)
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
    plan.problems.retain(|problem| !named(&problem.address, desired.id_of(&problem.address)));
    out.into_iter().collect()
}
