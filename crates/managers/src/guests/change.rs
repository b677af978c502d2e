//! Changing a guest where it is: the differences of its keys as one step, with one restart where that takes one.

use std::collections::BTreeSet;

use plan::address::kinds;
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Action, Address, Change, Grade, GuestKind, Mark, Problem, Step};
use serde_json::Value;

use super::diff::{step, takes_root};
use super::work::{GuestWork, Keep, Update};
use super::{make, offer, table, vms};
use crate::images;
use crate::keys::compare::{self, Deed, Difference, Found, There, Trouble, Waits};
use crate::keys::{Around, Others};

/// A guest as it is, for its rows.
pub(super) struct Looked<'a> {
    there: There<'a>,
    /// The storage its first disk is on.
    storage: String,
    /// The medium in its drive, where the blueprint calls it by the name of an image.
    medium: Option<images::Source>,
}

impl<'a> Looked<'a> {
    /// Nothing where its configuration could not be read.
    pub(super) fn at(world: World<'_>, wanted: &Wanted, guest: &'a Guest, nothing: &'a Mark) -> Option<Self> {
        let config = guest.config.as_ref()?;
        let set = &guest.mark.as_ref().unwrap_or(nothing).set;
        let mut there = There::new(config, &guest.pending, set);
        // Its description, without the mark.
        if !guest.text.is_empty() {
            there.then.insert("description".into(), guest.text.clone());
        }
        let disk = (table::of(wanted).disk)(wanted).and_then(|disk| there.then.get(&disk.key));
        let storage = disk.and_then(|disk| disk.split(':').next()).unwrap_or_default().to_owned();
        Some(Self { there, storage, medium: vms::medium(world, wanted, &guest.node) })
    }

    /// What differs.
    pub(super) fn compare(&self, wanted: &Wanted) -> Found<'static, Wanted> {
        compare::compare(table::of(wanted).rows, wanted, self.around(), &self.there)
    }

    fn around(&self) -> Around<'_> {
        Around { storage: &self.storage, medium: self.medium.as_ref().map(|medium| medium.volume.as_str()) }
    }
}

/// What an update gathers.
struct Gather<'a> {
    world: World<'a>,
    wanted: &'a Wanted,
    guest: &'a Guest,
    looked: &'a Looked<'a>,
    /// Waiting keys that are set back to what is in force.
    back: BTreeSet<String>,
    restart: BTreeSet<String>,
    step: Step,
    update: Update,
}

impl Gather<'_> {
    fn change(&mut self, change: Change) {
        self.step.changes.push(change);
    }

    /// Takes a difference over: where it can be made (in the call, or with root's commands on the node), and when it counts.
    fn take(&mut self, found: Difference<'static, Wanted>) {
        let Difference { row, key, changes, deed, waits, .. } = found;
        self.step.changes.extend(changes);
        match waits {
            Waits::Back => drop(self.back.insert(key.clone())),
            Waits::Restart if self.guest.running => drop(self.restart.insert(key.clone())),
            _ => {}
        }
        if row.name == "description" {
            self.update.text = Some(table::description(self.wanted));
            return;
        }
        let old = self.looked.there.now.get(&key).map(String::as_str);
        let new = if let Deed::Set(new) = &deed { Some(new.as_str()) } else { None };
        let by_root = !matches!(deed, Deed::Grow(_))
            && row
                .takes_root(self.wanted, old, new)
                .is_some_and(|why| takes_root(self.world, &mut self.step, why));
        let Update { set, delete, revert, root, grow, .. } = &mut self.update;
        // What waits would have the last word.
        let waits_too = deed == Deed::Delete && self.guest.pending.get(&key).is_some_and(Option::is_some);
        match (waits_too, by_root) {
            (true, true) => root.push(("revert".to_owned(), key.clone())),
            (true, false) => revert.push(key.clone()),
            (false, _) => {}
        }
        match (deed, by_root) {
            (Deed::Set(value), false) => set.push((key, value)),
            (Deed::Set(value), true) => root.push((key, value)),
            (Deed::Delete, false) => delete.push(key),
            (Deed::Delete, true) => root.push(("delete".to_owned(), key)),
            (Deed::Revert, false) => revert.push(key),
            (Deed::Revert, true) => root.push(("revert".to_owned(), key)),
            (Deed::Grow(size), _) => grow.push((key, size)),
        }
    }

    /// What waits for a restart beside what this step changes: the blueprint's, and others'.
    fn waiting(&self) -> (Vec<&String>, Vec<&String>) {
        let rest =
            self.guest.pending.keys().filter(|k| !self.restart.contains(*k) && !self.back.contains(*k));
        rest.partition(|key| {
            compare::is_ours(
                table::of(self.wanted).rows,
                self.wanted,
                self.looked.around(),
                &self.looked.there,
                key,
            )
        })
    }

    /// What the mark is to remember of what is set there.
    fn remember(&mut self) {
        let Some(mark) = &self.guest.mark else { return };
        let mut set = table::remembered(self.wanted, self.looked.around());
        let by_root = |key: &str| self.update.root.iter().any(|(how, what)| how == "delete" && what == key);
        // What goes at a restart is Phoenix' to restart for until it is gone, and forgotten only then; so is what root takes
        // away on the node, in a call of its own.
        for (key, value) in &mark.set {
            if !set.contains_key(key) && (by_root(key) || self.restart.contains(key)) {
                set.insert(key.clone(), value.clone());
                self.update.forget.push(key.clone());
            }
        }
        let Update { set: sets, delete, root, .. } = &self.update;
        let changes = !(sets.is_empty() && delete.is_empty() && root.is_empty());
        if changes && set != mark.set {
            self.update.remember = Some(set);
        }
    }
}

impl Gather<'_> {
    /// A mark of before the site had a key is sealed once, and so is one that remembers a root of before: only its description
    /// changes.
    fn seal(&mut self, before: &BTreeSet<String>) {
        let root = self.guest.mark.as_ref().and_then(|mark| mark.root.as_ref());
        if self.guest.old {
            self.update.seal = true;
            self.change(Change::new("mark", "not sealed", "sealed").note("by the site's key, once"));
        } else if root.is_some_and(|root| before.contains(root)) {
            self.update.seal = true;
            self.change(Change::new("mark", "of the last root", "of the site's root"));
        }
    }
}

/// Why something cannot be as it is wanted.
fn trouble(wanted: &Wanted, trouble: Trouble) -> Problem {
    let table = table::of(wanted);
    let disk = (table.disk)(wanted).map(|disk| disk.key);
    let (code, message, hint) = match trouble {
        Trouble::Shrinks { called, has, wanted } => (
            "plan::disk-shrinks",
            format!("its {called} has {has}, and cannot shrink to {wanted}"),
            format!("declare at least {has}"),
        ),
        Trouble::Elsewhere { key, holds, wanted: to }
            if (table.is_drive)(&key) && disk.as_ref() == Some(&key) =>
        {
            (
                "plan::storage-moves",
                format!(
                    "its first disk is on {}, and is to be on {to}",
                    holds.split(':').next().unwrap_or_default()
                ),
                match wanted.kind {
                    GuestKind::Container => {
                        format!(
                            "stop it and move the disk on the node: pct move-volume {} {key} {to}",
                            wanted.id
                        )
                    }
                    GuestKind::Vm => {
                        format!("move the disk on the node: qm disk move {} {key} {to} --delete", wanted.id)
                    }
                },
            )
        }
        Trouble::Elsewhere { key, holds, .. } => (
            "plan::mount-source",
            format!("{key} holds {holds}, and is to hold something else"),
            format!(
                "take {key} out of the blueprint and apply, then put it in again: its old volume is kept as unused"
            ),
        ),
    };
    Problem { address: wanted.resource(), code: code.into(), message, hint }
}

/// Proposes what `found` takes.
pub(super) fn update(
    world: World<'_>,
    wanted: &Wanted,
    guest: &Guest,
    looked: &Looked<'_>,
    found: Found<'static, Wanted>,
    proposal: &mut Proposal,
) {
    let mut gather = Gather {
        world,
        wanted,
        guest,
        looked,
        back: BTreeSet::new(),
        restart: BTreeSet::new(),
        step: step(wanted, Action::Update, Grade::Live, vec![], &guest.node)
            .needs(looked.medium.as_ref().and_then(|medium| medium.step.clone())),
        update: Update {
            id: guest.id,
            node: guest.node.clone(),
            digest: guest.digest.clone(),
            waits_for: make::waits_for(wanted),
            ..Update::default()
        },
    };
    for it in found.troubles {
        proposal.problem(trouble(wanted, it));
    }
    for difference in found.differences {
        let made = difference.allocates.clone();
        match offer::unusable(world, wanted, &guest.node, made.into_iter()) {
            Some(problem) => proposal.problem(problem),
            None => gather.take(difference),
        }
    }
    if let Some(pool) = &wanted.pool
        && guest.pool.as_ref() != Some(pool)
    {
        if let Some(problem) = offer::no_pool(world, wanted) {
            proposal.problem(problem);
        }
        gather.change(Change::new("pool", guest.pool.clone(), pool.clone()));
        gather.update.pool = Some(pool.clone());
    }
    forget(&mut gather, guest);
    gather.remember();
    gather.seal(&world.desired.roots_before);
    if let Some(node) = wanted.node.as_ref().filter(|n| **n != guest.node) {
        proposal.note(format!(
            "{} stays on {}; to move it to {node}: pct migrate {} {node}",
            wanted.resource(),
            guest.node,
            guest.id
        ));
    }
    let (waits, others) = gather.waiting();
    if !others.is_empty() {
        proposal.note(others_wait(wanted, &others));
    }
    if let Some((step, update)) = finish(&gather, &waits) {
        proposal.step(step, &GuestWork::Update(Box::new(update)));
    }
}

fn others_wait(wanted: &Wanted, keys: &[&String]) -> String {
    let all = keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
    let verb = if keys.len() == 1 { "waits" } else { "wait" };
    format!("{all} of {} {verb} for a restart; others set that, and it is left to them", wanted.resource())
}

/// The step, if there is anything to do; `waits` are keys of the blueprint's that wait for a restart already.
fn finish(gather: &Gather<'_>, waits: &[&String]) -> Option<(Step, Update)> {
    let (guest, restart) = (gather.guest, &gather.restart);
    let (mut step, mut update) = (gather.step.clone(), gather.update.clone());
    if update.seal {
        let why = match guest.old {
            true => "its mark was made before the site had a key, and is taken over",
            false => "its mark names a root that another one has taken the place of",
        };
        step.reasons.push(why.into());
    }
    if step.changes.len() > usize::from(update.seal) {
        step.reasons.push(format!("differs from {}", gather.wanted.declared));
    }
    if !restart.is_empty() || (guest.running && !waits.is_empty()) {
        let keys: Vec<&str> = restart.iter().chain(waits.iter().copied()).map(String::as_str).collect();
        step.reasons.push(format!(
            "{} appl{} at a restart",
            keys.join(", "),
            if keys.len() == 1 { "ies" } else { "y" }
        ));
        for key in waits {
            let now = gather.looked.there.now.get(*key).cloned();
            let then = guest.pending.get(*key).cloned().flatten();
            step.changes.push(Change::new(*key, now, then).note("waits for the restart"));
        }
        step.action = Action::Restart;
        step.grade = Grade::Restart;
        update.restart = true;
        let wanted = table::remembered(gather.wanted, gather.looked.around());
        let goes = |key: &&String| !wanted.contains_key(*key) && waits.contains(key);
        update.forget.extend(gather.looked.there.set.keys().filter(goes).cloned());
    }
    if !guest.running {
        step.reasons.push("it does not run".into());
        step.changes.push(Change::new("state", "stopped", "running"));
        update.start = true;
        update.restart = false;
    }
    if step.changes.is_empty() && !update.restart && !update.start {
        return None;
    }
    Some((step, update))
}

/// A service that is no longer in the blueprint is forgotten in the mark, so that it counts as new when it comes back.
fn forget(gather: &mut Gather<'_>, guest: &Guest) {
    let Some(mark) = &guest.mark else { return };
    let (desired, name) = (gather.world.desired, &gather.wanted.name);
    let keep = Keep {
        services: (gather.wanted.services.keys().map(ToString::to_string))
            .filter(|service| desired.services.get(service).is_some_and(|s| s.on == *name))
            .collect(),
    };
    for name in mark.names(kinds::SERVICE).filter(|name| !keep.services.contains(*name)) {
        let change = Change::new(Address::service(name).to_string(), "applied", Value::Null);
        gather.change(change.note("no longer proven"));
    }
    let mut after = mark.clone();
    keep.apply_to(&mut after);
    if after != *mark {
        gather.update.keep = Some(keep);
    }
}

/// Keys that others set, for which the blueprint has no word, or says nothing: they stay.
pub(super) fn others(wanted: &Wanted, looked: &Looked<'_>) -> Vec<String> {
    let (table, there) = (table::of(wanted), &looked.there);
    let pending = |key: &&String| there.then.get(*key) != there.now.get(*key);
    let is_others = |key: &&String| match crate::keys::row(table.rows, key) {
        None => !(table.is_the_nodes)(key),
        Some(row) => {
            row.others == Others::Value
                && (row.wanted)(wanted, looked.around()).is_empty()
                && !there.set.contains_key(*key)
        }
    };
    // What waits has a note of its own.
    there.now.keys().filter(|key| is_others(key) && !pending(key)).cloned().collect()
}
