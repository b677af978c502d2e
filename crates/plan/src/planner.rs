//! The planner itself: asks each kind of resource for its differences, then orders, cuts to the targets, and checks.

mod golden;
mod reboot;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use jiff::Timestamp;
use serde::Serialize;

use crate::address::{self, Address};
use crate::desired::Desired;
use crate::graph::{EdgeKind, Graph};
use crate::inventory::Inventory;
use crate::render::Telling;
use crate::step::{self, Action, Consent, FILE_VERSION, Grade, Plan, Problem, Step};
use crate::targets::{self, Remembered};

/// What a plan may depend on beside the desired state and the inventory.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time, for what expires.
    pub now: Timestamp,
    /// Only these resources and what they need; all where empty. Addresses, names, ids or globs.
    pub targets: Vec<String>,
    /// Whether all that Phoenix made for the site is to go.
    pub destroy: bool,
    /// Whether restarts are put off ([`Plan::postpone_restarts`]).
    pub no_restart: bool,
    /// Whether the node may be restarted. Without that consent it never is, and what waits for it goes on waiting.
    pub restart_node: bool,
}

/// What a kind of resource looks at. There is no way from here to a node: a plan cannot change anything (P-14, I-2).
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// What is there.
    pub inventory: &'a Inventory,
    /// Time and wishes.
    pub options: &'a Options,
}

/// A kind of resource, as far as planning goes.
pub trait Kind: Debug + Send + Sync {
    /// The first part of its addresses, e.g. `container`.
    fn kind(&self) -> &'static str;

    /// Proposes what has to be done for all resources of this kind.
    fn diff(&self, world: World<'_>, proposal: &mut Proposal);

    /// How a resource of this kind is there, as far as a plan relies on it, as one text: a saved plan is only carried out
    /// while it stays the same. Kinds whose steps look for themselves before they change anything say nothing.
    fn state(&self, _desired: &Desired, _inventory: &Inventory, _address: &Address) -> String {
        String::new()
    }

    /// What a step of this kind costs at least, and the consent it takes, by what it does and not by what it says: a plan
    /// that comes out of a file may say anything. Kinds that destroy nothing and restart nothing need not say anything.
    ///
    /// # Errors
    /// Why it cannot be what it says it is.
    fn costs(&self, _inventory: &Inventory, _step: &Step) -> Result<(Grade, Consent), String> {
        Ok((Grade::Live, Consent::NotNeeded))
    }

    /// How a step of this kind is told to a person in a plan by guest.
    fn telling(&self, _step: &Step) -> Telling {
        Telling::default()
    }
}

/// What the kinds propose.
#[derive(Debug, Default)]
pub struct Proposal {
    steps: BTreeMap<Address, Step>,
    conditional: Vec<(BTreeSet<Address>, Step)>,
    problems: Vec<Problem>,
    notes: Vec<String>,
    basis: BTreeMap<Address, String>,
}

impl Proposal {
    /// A step to do, with what its crew needs to know. One step a resource: a second one is a problem, and so is work that
    /// cannot be written down.
    pub fn step(&mut self, step: Step, work: &impl Serialize) {
        let Some(step) = self.with_work(step, work) else { return };
        match self.steps.entry(step.address.clone()) {
            Entry::Vacant(free) => {
                free.insert(step);
            }
            Entry::Occupied(taken) => {
                let problem = Problem::new(
                    step.address.clone(),
                    "plan::two-steps",
                    format!(
                        "{} has two steps in one plan: {} ({}) and {} ({})",
                        step.address,
                        taken.get().action.as_str(),
                        taken.get().reasons.join("; "),
                        step.action.as_str(),
                        step.reasons.join("; ")
                    ),
                    "this is a defect of Phoenix: please report it with the blueprint",
                );
                self.problems.push(problem);
            }
        }
    }

    /// A step to do only if one of `triggers` is in the plan.
    pub fn step_if_any(
        &mut self,
        triggers: impl IntoIterator<Item = Address>,
        step: Step,
        work: &impl Serialize,
    ) {
        if let Some(step) = self.with_work(step, work) {
            self.conditional.push((triggers.into_iter().collect(), step));
        }
    }

    fn with_work(&mut self, step: Step, work: &impl Serialize) -> Option<Step> {
        match serde_json::to_value(work) {
            Ok(work) => Some(Step { work, ..step }),
            Err(error) => {
                self.problems.push(Problem::new(
                    step.address.clone(),
                    "plan::work-unwritable",
                    format!("what is to be done for {} cannot be written down: {error}", step.address),
                    "this is a defect of Phoenix: please report it with the blueprint",
                ));
                None
            }
        }
    }

    /// Something that keeps the plan from being carried out.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Something a person should know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether a step for this address was proposed so far.
    pub fn has(&self, address: &Address) -> bool {
        self.steps.contains_key(address)
    }

    /// Whether a problem of this resource was found so far.
    pub fn has_problem(&self, address: &Address) -> bool {
        self.problems.iter().any(|p| p.address == *address)
    }

    /// Whether a step proposed so far makes this resource anew, so that nothing in it is left of before.
    pub fn makes_anew(&self, address: &Address) -> bool {
        use crate::step::Action;
        self.steps.get(address).is_some_and(|s| matches!(s.action, Action::Create | Action::Replace))
    }

    /// Whether a step proposed so far removes this resource, or makes it anew: what it has now goes.
    pub fn removes(&self, address: &Address) -> bool {
        self.steps.get(address).is_some_and(|s| matches!(s.action, Action::Delete | Action::Replace))
    }

    /// What the plan relies on: that a thing is as its kind sees it now ([`Kind::state`]).
    pub fn relies_on(&mut self, address: Address, state: impl Into<String>) {
        self.basis.insert(address, state.into());
    }
}

/// The state of a guest that a plan relies on, as one text.
pub fn state_of(inventory: &Inventory, id: u32) -> String {
    match inventory.guests.get(&id) {
        None => "absent".to_owned(),
        Some(guest) => {
            let state = if guest.running { "running" } else { "stopped" };
            match &guest.lock {
                Some(lock) => format!("{} {state} locked by {lock}", guest.digest),
                None => format!("{} {state}", guest.digest),
            }
        }
    }
}

/// Makes the plan: what has to be done so that what is there becomes what is wanted.
pub fn plan(desired: &Desired, inventory: &Inventory, kinds: &[&dyn Kind], options: &Options) -> Plan {
    let mut proposal = Proposal::default();
    for note in &desired.notes {
        proposal.note(note);
    }
    for unread in &inventory.unread {
        proposal.note(format!("{} could not be read: {}", unread.what, unread.why));
    }
    let world = World { desired, inventory, options };
    for kind in kinds {
        kind.diff(world, &mut proposal);
    }
    let Proposal { mut steps, conditional, mut problems, mut notes, basis } = proposal;
    let (no_restart, no_reboot) = (options.no_restart, !options.restart_node);
    let put_off =
        |step: &Step| no_restart && step::restarts_guest(step) || no_reboot && step::restarts_node(step);
    let mut all: Vec<Step> = steps.into_values().collect();
    let mut postponed = step::postpone(&mut all, put_off);
    steps = all.into_iter().map(|step| (step.address.clone(), step)).collect();
    let restarts = Restarts::among(desired, &steps);
    // To a fixed point: a step that joins may be the trigger of another.
    let mut open = conditional;
    loop {
        let (hit, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(triggers, _)| {
            triggers.iter().any(|t| steps.contains_key(t) || restarts.of(t).is_some())
        });
        if hit.is_empty() {
            break;
        }
        for (_, step) in hit {
            steps.entry(step.address.clone()).or_insert(step);
        }
        open = rest;
    }
    let away = away(desired, inventory);
    leave(desired, &away, &mut steps, &mut problems);
    notes.extend(crate::off::leave(desired, &mut steps, &mut problems));
    if !options.destroy {
        notes.extend(golden::leave(desired, inventory, &mut steps, &mut problems));
    }
    notes.extend(away.values().map(|(address, node)| {
        format!("{address} is on {node}, which is offline: nothing is done to it until {node} is back")
    }));
    connect(desired, &restarts, &mut steps);
    reverse_deletions(desired, &mut steps);
    reboot::barrier(&mut steps);
    if !options.targets.is_empty() {
        let remembered = targets::remembered(desired, inventory);
        let kept = limit_to_targets(desired, inventory, &remembered, &mut steps, &options.targets);
        problems.retain(|p| kept.contains(&p.address));
        let guests = targets::Guests::new(desired);
        postponed.retain(|it| {
            let guest = it.id.and_then(|id| guests.of_id(id));
            it.is_of_the_node() || guest.is_some_and(|guest| kept.contains(&guest))
        });
        notes.extend(with_others(&remembered, &kept, &options.targets));
    }
    // What needs consent or is refused holds back what needs it; that is the foreman's business, not the plan's.
    let mut sorted = Vec::with_capacity(steps.len());
    for address in order(&steps) {
        if let Some(step) = steps.remove(&address) {
            sorted.push(step);
        }
    }
    // What is left waits for itself. It stays in the plan, which cannot be carried out like this.
    if !steps.is_empty() {
        problems.extend(in_a_circle(&steps));
        sorted.extend(steps.into_values());
    } else {
        problems.extend(batches_in_a_circle(&sorted));
    }
    Plan {
        version: FILE_VERSION,
        site: desired.site.clone(),
        steps: sorted,
        problems,
        notes,
        postponed,
        basis,
    }
}

/// The guests of the site, by id, that are on nodes which are offline: their addresses, and the nodes. One that is wanted and
/// could not be read is taken for one of the site: without its node, nobody can tell.
fn away<'a>(desired: &Desired, inventory: &'a Inventory) -> BTreeMap<u32, (Address, &'a str)> {
    let wanted: BTreeMap<u32, Address> = desired.guests.values().map(|g| (g.id, g.resource())).collect();
    let offline = inventory.guests.values().filter(|guest| inventory.is_offline(&guest.node));
    let ours = offline.filter_map(|guest| {
        let marked = guest.mark.as_ref().filter(|mark| mark.site == desired.site);
        let unread = || wanted.get(&guest.id).filter(|_| guest.config.is_none());
        let address = marked.map(|mark| &mark.address).or_else(unread)?;
        Some((guest.id, (address.clone(), guest.node.as_str())))
    });
    ours.collect()
}

/// Leaves out what would be done to guests that are [`away`], and what is wrong with them: neither can be told, nor mended.
fn leave(
    desired: &Desired,
    away: &BTreeMap<u32, (Address, &str)>,
    steps: &mut BTreeMap<Address, Step>,
    problems: &mut Vec<Problem>,
) {
    if away.is_empty() {
        return;
    }
    let guests = targets::Guests::new(desired);
    let is_away = |address: &Address| away.values().any(|(guest, _)| guest == address);
    steps.retain(|_, step| {
        let on = guests.guest_of(step);
        !(step.id.is_some_and(|id| away.contains_key(&id)) || on.is_some_and(|guest| is_away(&guest)))
    });
    problems.retain(|problem| {
        let host = problem.address.host().and_then(crate::host::Host::address);
        !is_away(&problem.address) && host.is_none_or(|guest| !is_away(&guest))
    });
}

/// The restarts in a plan, by the guests that restart. A restart comes after what is done to its guest, and before all that
/// comes after the guest.
struct Restarts(BTreeMap<Address, Address>);

impl Restarts {
    fn among(desired: &Desired, steps: &BTreeMap<Address, Step>) -> Self {
        let guests = targets::Guests::new(desired);
        let all = steps.values().filter(|step| step.address.kind() == address::kinds::RESTART);
        Self(all.filter_map(|step| Some((guests.of_id(step.id?)?, step.address.clone()))).collect())
    }

    /// The restart of a guest.
    fn of(&self, guest: &Address) -> Option<&Address> {
        self.0.get(guest)
    }

    /// The guest of a restart.
    fn guest(&self, restart: &Address) -> Option<&Address> {
        self.0.iter().find(|(_, its)| *its == restart).map(|(guest, _)| guest)
    }
}

/// Fills in `needs`: the nearest steps among what a resource needs, at any distance.
fn connect(desired: &Desired, restarts: &Restarts, steps: &mut BTreeMap<Address, Step>) {
    let present: BTreeSet<Address> = steps.keys().cloned().collect();
    for (address, step) in steps.iter_mut() {
        let mut found: BTreeSet<Address> =
            step.needs.iter().filter(|n| present.contains(*n)).cloned().collect();
        found.extend(step.needs.iter().filter_map(|need| restarts.of(need)).cloned());
        let mut seen = BTreeSet::new();
        let own = (address.kind() == address::kinds::RESTART).then(|| restarts.guest(address)).flatten();
        let mut open: Vec<&Address> = desired.graph.needs(address).chain(own).collect();
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            let restart = restarts.of(next).filter(|restart| *restart != address);
            found.extend(restart.cloned());
            if present.contains(next) {
                found.insert(next.clone());
            } else if restart.is_none() {
                open.extend(desired.graph.needs(next));
            }
        }
        found.remove(address);
        step.needs = found.into_iter().collect();
    }
}

/// What goes, goes before what it needs: of two steps that both delete, the edge is turned round.
fn reverse_deletions(desired: &Desired, steps: &mut BTreeMap<Address, Step>) {
    let deletes: BTreeSet<Address> =
        steps.values().filter(|s| s.action == Action::Delete).map(|s| s.address.clone()).collect();
    let mut turned = Vec::new();
    for step in steps.values_mut().filter(|s| s.action == Action::Delete) {
        let needed = desired.graph.needs_of_needs(&step.address);
        let (back, kept): (Vec<Address>, Vec<Address>) = std::mem::take(&mut step.needs)
            .into_iter()
            .partition(|n| deletes.contains(n) && needed.contains(&n));
        step.needs = kept;
        turned.extend(back.into_iter().map(|need| (need, step.address.clone())));
    }
    for (need, address) in turned {
        if let Some(step) = steps.get_mut(&need) {
            step.needs.push(address);
            step.needs.sort();
        }
    }
}

/// Leaves only the targets and what they need, and says what that is: resources with a step and without one, so that a
/// problem of something that is needed is not overlooked.
fn limit_to_targets(
    desired: &Desired,
    inventory: &Inventory,
    remembered: &[Remembered],
    steps: &mut BTreeMap<Address, Step>,
    targets: &[String],
) -> BTreeSet<Address> {
    let named = |address: &Address, id: Option<u32>| targets.iter().any(|t| address::matches(t, address, id));
    let wanted = desired.graph.addresses().filter(|a| named(a, desired.id_of(a))).cloned();
    // What is there and no longer wanted has no place in the graph.
    let there = targets::marked(desired, inventory).filter(|(a, id)| named(a, *id)).map(|(a, _)| a.clone());
    let mut open: Vec<Address> = wanted.chain(there).collect();
    // Nor has what a mark alone remembers. What carries the mark goes by its own name, not by that of something in it.
    let gone = remembered.iter().filter(|it| it.names().any(|name| named(name, None)));
    let gone = gone.map(|it| (it.step(steps), &it.bearer));
    let gone: Vec<Address> = gone
        .filter(|(step, bearer)| step != bearer || desired.graph.contains(bearer))
        .map(|(step, _)| step.clone())
        .collect();
    // A guest takes along all that is on it.
    open.extend(open.iter().flat_map(|a| targets::on(desired, a)).collect::<Vec<_>>());
    let guests: BTreeSet<&Address> = open.iter().filter(|a| a.guest_kind().is_some()).collect();
    let of = targets::Guests::new(desired);
    let on_them: Vec<Address> = (steps.values())
        .filter(|step| of.guest_of(step).is_some_and(|guest| guests.contains(&guest)))
        .map(|step| step.address.clone())
        .collect();
    open.extend(on_them);
    // A restart is named by its own address, too, which is no resource's.
    let restarts = steps.values().filter(|step| step.address.kind() == address::kinds::RESTART);
    open.extend(restarts.filter(|step| named(&step.address, step.id)).map(|step| step.address.clone()));
    // That of the node was asked for by name already: it is in no plan otherwise.
    open.extend(Some(Address::reboot()).filter(|reboot| steps.contains_key(reboot)));
    open.extend(gone);
    let mut keep: BTreeSet<Address> = BTreeSet::new();
    while let Some(next) = open.pop() {
        if !keep.contains(&next) {
            open.extend(desired.graph.needs(&next).cloned());
            open.extend(steps.get(&next).into_iter().flat_map(|s| s.needs.iter().cloned()));
            keep.insert(next);
        }
    }
    steps.retain(|address, _| keep.contains(address));
    keep
}

/// Why there is no step for what was named and a mark remembers: it goes with what carries the mark.
fn with_others<'a>(
    remembered: &'a [Remembered],
    kept: &'a BTreeSet<Address>,
    targets: &'a [String],
) -> impl Iterator<Item = String> + 'a {
    let asked = |it: &&Remembered| it.names().any(|name| targets.iter().any(|t| t == name.as_str()));
    let lost = |it: &&Remembered| !kept.contains(&it.bearer) && it.names().all(|name| !kept.contains(name));
    let note = |it: &Remembered| format!("{} goes with {}, which was not named", it.there, it.bearer);
    remembered.iter().filter(asked).filter(lost).map(note)
}

/// Whether any resource is named by `pattern`: one that is wanted, carries the site's mark, or is remembered in such a mark.
pub fn known(desired: &Desired, inventory: &Inventory, pattern: &str) -> bool {
    desired.graph.addresses().any(|a| address::matches(pattern, a, desired.id_of(a)))
        || targets::marked(desired, inventory).any(|(address, id)| address::matches(pattern, address, id))
        || targets::remembered(desired, inventory)
            .iter()
            .any(|it| it.names().any(|name| address::matches(pattern, name, None)))
        || desired.guests.keys().any(|name| address::matches(pattern, &Address::restart(name), None))
}

/// The circles among steps that wait for each other, a problem for each.
fn in_a_circle(steps: &BTreeMap<Address, Step>) -> Vec<Problem> {
    let mut graph = Graph::default();
    for (address, step) in steps {
        for need in step.needs.iter().filter(|need| steps.contains_key(*need)) {
            graph.edge(address, need, EdgeKind::Needs);
        }
    }
    graph.circles().into_iter().filter_map(|circle| circle_problem(&circle, "these steps")).collect()
}

/// Batches are carried out as one, so they must not wait for each other either.
fn batches_in_a_circle(steps: &[Step]) -> Vec<Problem> {
    // A batch goes by its first step.
    let mut first: BTreeMap<&str, &Address> = BTreeMap::new();
    let mut of: BTreeMap<&Address, &Address> = BTreeMap::new();
    for step in steps {
        let as_one = match &step.batch {
            Some(batch) => *first.entry(batch).or_insert(&step.address),
            None => &step.address,
        };
        of.insert(&step.address, as_one);
    }
    let mut graph = Graph::default();
    for step in steps {
        for need in step.needs.iter().filter_map(|need| of.get(need)) {
            if *need != of[&step.address] {
                graph.edge(of[&step.address], need, EdgeKind::Needs);
            }
        }
    }
    let circles = graph.circles();
    let all = |circle: &Vec<Address>| -> Vec<Address> {
        steps.iter().map(|s| &s.address).filter(|a| circle.contains(of[a])).cloned().collect()
    };
    circles
        .iter()
        .filter_map(|circle| circle_problem(&all(circle), "these steps are carried out together, and"))
        .collect()
}

fn circle_problem(circle: &[Address], who: &str) -> Option<Problem> {
    let names: Vec<&str> = circle.iter().map(Address::as_str).collect();
    Some(Problem::new(
        circle.first()?.clone(),
        "plan::circle",
        format!("{who} wait for each other: {}", names.join(", ")),
        "apply a part of it first, with --target; or remove one of the `needs` among them",
    ))
}

/// An order in which each step comes after what it needs; by address where there is a choice, so that the same
/// input always gives the same plan.
fn order(steps: &BTreeMap<Address, Step>) -> Vec<Address> {
    let mut waiting: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, step) in steps {
        let needs = step.needs.iter().filter(|need| steps.contains_key(*need));
        waiting.insert(address, needs.clone().count());
        for need in needs {
            dependents.entry(need).or_default().push(address);
        }
    }
    let mut ready: BTreeSet<&Address> = waiting.iter().filter(|(_, n)| **n == 0).map(|(a, _)| *a).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(next) = ready.pop_first() {
        order.push(next.clone());
        for dependent in dependents.get(next).into_iter().flatten() {
            if let Some(n) = waiting.get_mut(dependent) {
                *n -= 1;
                if *n == 0 {
                    ready.insert(dependent);
                }
            }
        }
    }
    order
}

/// Whether `granted` has the consent that a step needs: its address, its name or its id, never a pattern. What is refused
/// has it never.
pub fn consented(step: &Step, granted: &[String]) -> bool {
    match &step.consent {
        Consent::NotNeeded => true,
        Consent::Refused(_) => false,
        Consent::Needed => granted.iter().any(|word| address::names(word, &step.address, step.id)),
    }
}

/// The steps that cannot be carried out without consent that `granted` does not give.
pub fn withheld<'a>(plan: &'a Plan, granted: &[String]) -> Vec<&'a Step> {
    plan.steps.iter().filter(|step| !consented(step, granted)).collect()
}
