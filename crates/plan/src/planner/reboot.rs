//! The restart of the node is a barrier: while the node is down nothing can be done, so each step is either before it or after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{Address, kinds};
use crate::step::Step;

/// What is done on the node itself and can be what the restart is for, or would be cut off by it.
fn is_before(step: &Step) -> bool {
    match step.address.kind() {
        kinds::FEATURE => step.address.host().is_some_and(|host| host.guest().is_none()),
        kinds::POOL | kinds::DATASET | kinds::NETWORK => true,
        _ => false,
    }
}

/// Puts what is done on the node itself, and whatever that needs, before the restart, and everything else behind it. Where the
/// restart is over already and only guests are to be started again, everything comes after that.
pub(super) fn barrier(steps: &mut BTreeMap<Address, Step>) {
    let reboot = Address::reboot();
    let Some(step) = steps.get(&reboot) else { return };
    let mut before: BTreeSet<Address> = BTreeSet::new();
    if crate::step::restarts_node(step) {
        let mut open: Vec<Address> =
            steps.values().filter(|step| is_before(step)).map(|step| step.address.clone()).collect();
        while let Some(next) = open.pop() {
            if next != reboot && !before.contains(&next) {
                open.extend(steps.get(&next).into_iter().flat_map(|step| step.needs.iter().cloned()));
                before.insert(next);
            }
        }
    }
    for (address, step) in steps.iter_mut().filter(|(address, _)| !before.contains(*address)) {
        if *address != reboot {
            step.needs.push(reboot.clone());
            step.needs.sort();
        }
    }
    if let Some(step) = steps.get_mut(&reboot) {
        step.needs = before.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::step::Action;

    fn plan(action: Action) -> BTreeMap<Address, Step> {
        let step = |address: Address, needs: &[&Address]| {
            Step::new(address, Action::Update).needs(needs.iter().copied().cloned())
        };
        let (vfio, pool) = (Address::feature("vfio", &Host::THE_NODE), Address::pool("tank"));
        let (notes, old) = (Address::container("notes"), Address::container("old"));
        let all = [
            step(vfio.clone(), &[]),
            // A pool that goes waits for the guest on it to go.
            step(pool, &[&old]),
            step(old, &[]),
            step(notes, &[&vfio]),
            step(Address::storage("media"), &[]),
            Step::new(Address::reboot(), action),
        ];
        let mut steps = all.into_iter().map(|step| (step.address.clone(), step)).collect();
        barrier(&mut steps);
        steps
    }

    fn needs(steps: &BTreeMap<Address, Step>, address: &Address) -> Vec<String> {
        steps[address].needs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_step_is_before_a_restart_or_after_it() {
        let steps = plan(Action::Restart);
        assert_eq!(needs(&steps, &Address::reboot()), ["container.old", "feature.vfio@node", "pool.tank"]);
        assert_eq!(needs(&steps, &Address::container("notes")), ["feature.vfio@node", "reboot.node"]);
        assert_eq!(needs(&steps, &Address::storage("media")), ["reboot.node"]);
        assert!(needs(&steps, &Address::container("old")).is_empty());
    }

    #[test]
    fn what_a_restart_left_stopped_comes_first() {
        let steps = plan(Action::Run);
        assert!(needs(&steps, &Address::reboot()).is_empty());
        assert_eq!(needs(&steps, &Address::pool("tank")), ["container.old", "reboot.node"]);
    }
}
