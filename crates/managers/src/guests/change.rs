//! Changing a guest where it is: the differences of its keys as one step, and a restart after it where that takes one.

use std::collections::BTreeSet;

use blueprint::source::DeviceSource;
use plan::address::kinds;
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Action, Address, Change, Grade, Mark, Problem, Step};
use serde_json::Value;

use super::diff::{step, takes_root};
use super::moves::{self, Move};
use super::restart::Later;
use super::work::{GuestWork, Keep, Params, Update};
use super::{boot, first_start, make, offer, restart, table, vms};
use crate::images;
use crate::keys::compare::{self, Deed, Difference, Found, There, Trouble, Waits};
use crate::keys::{self, Around, Others, Takes};

/// A guest as it is, for its rows.
pub(super) struct Looked<'a> {
    there: There<'a>,
    /// The storage its first disk is to be on.
    storage: String,
    /// The medium in its drive, where the blueprint calls it by the name of an image.
    medium: Option<images::Source>,
    /// The same of its second drive.
    second: Option<images::Source>,
    /// The device files of its graphics cards.
    cards: Vec<DeviceSource>,
}

impl<'a> Looked<'a> {
    /// Nothing where its configuration could not be read.
    pub(super) fn at(world: World<'_>, wanted: &Wanted, guest: &'a Guest, nothing: &'a Mark) -> Option<Self> {
        let config = guest.config.as_ref()?;
        let set = &guest.mark.as_ref().unwrap_or(nothing).set;
        let mut there = There::new(config, &guest.pending, set);
        // Its description, without the mark.
        if !guest.text.is_empty() {
            there.then.to_mut().insert("description".into(), guest.text.clone());
        }
        let disk = (table::of(wanted).disk)(wanted).and_then(|disk| there.then.get(&disk.key));
        let now = disk.map(|disk| moves::storage(disk)).unwrap_or_default();
        let declared = (table::of(wanted).disk)(wanted).and_then(|disk| disk.storage);
        // What names no storage of its own is made where the first disk is to be.
        let storage = declared.unwrap_or(now).to_owned();
        let [medium, second] = vms::media(world, wanted, &guest.node).map(|found| found?.ok());
        let cards = crate::gpus::devices(world, wanted, Some(guest));
        Some(Self { there, storage, medium, second, cards })
    }

    /// What differs.
    pub(super) fn compare(&self, wanted: &Wanted) -> Found<'static, Wanted> {
        compare::compare(table::of(wanted).rows, wanted, self.around(), &self.there)
    }

    fn around(&self) -> Around<'_> {
        let [medium, second] =
            [&self.medium, &self.second].map(|it| it.as_ref().map(|it| it.volume.as_str()));
        Around { storage: &self.storage, medium, second, cards: &self.cards }
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
    moves: Vec<Move>,
    /// Volumes that grow after they moved: key and size, and the change as people see it.
    grows: Vec<(String, String, Vec<Change>)>,
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
        if let Deed::Grow(size) = &deed
            && self.moves.iter().any(|it| it.key == key)
        {
            // It may move because there is no room for that where it is.
            self.grows.push((key, size.clone(), changes));
            return;
        }
        self.step.changes.extend(changes);
        match waits {
            Waits::Back => drop(self.back.insert(key.clone())),
            Waits::Restart if self.guest.running => drop(self.restart.insert(key.clone())),
            // What waited has no word any more.
            _ if !matches!(deed, Deed::Grow(_)) => drop(self.back.insert(key.clone())),
            _ => {}
        }
        if row.name == "description" {
            self.update.text = Some(table::description(self.wanted));
            return;
        }
        if let (Deed::Set(_), Some(reference)) = (&deed, table::secret(self.wanted, row)) {
            self.update.secrets.insert(key, reference);
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
            // It has a place of its own: [`moves::relocate`].
            (Deed::Move(_), _) => {}
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
        let Update { set, secrets, delete, root, .. } = &self.update;
        let writes = !(set.is_empty() && secrets.is_empty() && delete.is_empty() && root.is_empty());
        if !writes && self.restart.is_empty() {
            return;
        }
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
        if writes && set != mark.set {
            self.update.remember = Some(set);
        }
    }
}

impl Gather<'_> {
    /// The node puts a new drive for a medium at the end of the order to start from by itself (recorded: "cdrom", "pending:
    /// boot"), so the order is said once more, after it.
    fn boot_once_more(&mut self) {
        let sets = |key: &str| self.update.set.iter().any(|(set, _)| set == key);
        let is_new = |drive: &str| sets(drive) && !self.looked.there.now.contains_key(drive);
        if (is_new(vms::MEDIUM) || is_new(vms::SECOND))
            && !sets("boot")
            && let Some(order) = self.looked.there.then.get("boot")
        {
            let order = ("boot".to_owned(), order.clone());
            self.update.set.push(order);
        }
    }

    /// What waits though it applies at once was refused, by a run that was cut off before it took that back. It is asked for
    /// again: the next start would fail by it.
    fn once_more(&mut self) {
        let plugs = !self.looked.there.now.contains_key("hotplug");
        let (rows, guest) = (table::of(self.wanted).rows, self.guest);
        for (key, value) in guest.pending.iter().filter(|_| guest.running && plugs) {
            let (Some(value), Some(row)) = (value, keys::row(rows, key)) else { continue };
            let update = &self.update;
            let changed =
                update.set.iter().chain(&update.root).any(|(name, what)| name == key || what == key);
            let goes = update.delete.contains(key) || update.revert.contains(key);
            let now = self.looked.there.now.get(key);
            let plugged = |(is, _): (keys::AtOnce, _)| {
                is(self.looked.there.now, now.map(String::as_str), Some(value.as_str()))
            };
            let at_once = row.takes == Takes::Live
                || (row.takes == Takes::Plugged && now.is_none())
                || row.at_once.is_some_and(plugged);
            if changed
                || goes
                || !at_once
                || !compare::is_ours(rows, self.wanted, self.looked.around(), &self.looked.there, key)
            {
                continue;
            }
            self.back.insert(key.clone());
            self.change(Change::new(key, now.cloned(), value.clone()).note("it waits, which it need not"));
            let root = row.takes_root(self.wanted, now.map(String::as_str), Some(value));
            let by_root = root.is_some_and(|why| takes_root(self.world, &mut self.step, why));
            let list = if by_root { &mut self.update.root } else { &mut self.update.set };
            list.push((key.clone(), value.clone()));
        }
    }

    /// A mark of before the site had a key is sealed once, and so is one that remembers a root of before: only its description
    /// changes.
    fn seal(&mut self, before: &BTreeSet<String>) {
        let root = self.guest.mark.as_ref().and_then(|mark| mark.root.as_ref());
        if self.guest.old {
            self.update.seal = true;
            self.change(Change::new("mark", "not sealed", "sealed").note("by the site's key, once"));
        } else if let Some(was) = &self.guest.was {
            self.update.seal = true;
            self.change(
                Change::new("name", was.name(), self.wanted.name.as_str()).note("nothing is made anew"),
            );
        } else if root.is_some_and(|root| before.contains(root)) {
            self.update.seal = true;
            self.change(Change::new("mark", "of the last root", "of the site's root"));
        }
    }
}

/// Why something cannot be as it is wanted.
fn trouble(wanted: &Wanted, trouble: Trouble) -> Problem {
    let table = table::of(wanted);
    let (code, message, hint) = match trouble {
        Trouble::Shrinks { called, has, wanted } => (
            "plan::disk-shrinks",
            format!("its {called} has {has}, and cannot shrink to {wanted}"),
            format!("declare at least {has}"),
        ),
        Trouble::Taken { key, holds } => (
            "plan::slot-taken",
            format!("{key} is to be a disk, and is a drive with {holds} in it"),
            format!(
                "declare another slot, or free this one on the node: {} set {} --delete {key}",
                table.command, wanted.id
            ),
        ),
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

/// Why it has no first disk any more, where that is so: an empty one in its place would be no guest any more, and of a container
/// no disk at all. A virtual machine without an image begins with an empty one.
fn no_first_disk(wanted: &Wanted, looked: &Looked<'_>) -> Option<Problem> {
    let table = table::of(wanted);
    let key = (table.disk)(wanted)?.key;
    let command = table.command;
    match looked.there.then.get(&key) {
        Some(value) if value.contains("media=cdrom") => {
            let holds = value.split(',').next().unwrap_or_default().to_owned();
            return Some(trouble(wanted, Trouble::Taken { key, holds }));
        }
        Some(_) => return None,
        None if wanted.vm().is_some_and(|vm| vm.image.is_none()) => return None,
        None => {}
    }
    Some(Problem::new(
        wanted.resource(),
        "plan::disk-gone",
        format!("its first disk is to be {key}, and {} has none there", wanted.id),
        format!(
            "where its volume is still there, on the node: {command} set {id} --{key} VOLUME ({command} rescan --vmid {id} \
             shows it as unused); to make the guest anew, destroy it there first",
            id = wanted.id
        ),
    ))
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
    if let Some(problem) = no_first_disk(wanted, looked) {
        proposal.problem(problem);
        return;
    }
    let mut gather = Gather {
        world,
        wanted,
        guest,
        looked,
        back: BTreeSet::new(),
        restart: BTreeSet::new(),
        moves: Vec::new(),
        grows: Vec::new(),
        step: step(wanted, Action::Update, Grade::Live, vec![], &guest.node).needs(
            [&looked.medium, &looked.second].into_iter().flatten().filter_map(|medium| medium.step.clone()),
        ),
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
    if let Some(note) = other_slot(wanted, looked, &found.differences) {
        proposal.note(note);
    }
    for difference in found.differences {
        if boot::is_left(world, wanted, difference.row) {
            continue;
        }
        if let Deed::Move(to) = &difference.deed {
            match moves::relocate(world, wanted, guest, &difference, to) {
                Ok(found) => gather.moves.extend(found),
                Err(problem) => proposal.problem(*problem),
            }
            continue;
        }
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
    gather.boot_once_more();
    // While it is to be off, its first start waits, too.
    if wanted.started
        && let Some(first) = first_start::unfinished(wanted, guest)
    {
        gather.change(Change::new("first start", "begun", "through"));
        gather.update.first_start = Some(first);
    }
    forget(&mut gather, guest);
    for (old, change) in moves::leftovers(guest, looked.there.now, &gather.moves) {
        gather.change(change);
        gather.update.free.push(old);
    }
    gather.once_more();
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
    finish(&gather, proposal);
}

/// What a person should know where a volume goes and one like it comes: nobody but them can tell whether it is the same disk in
/// another slot, and it would be empty there.
fn other_slot(wanted: &Wanted, looked: &Looked<'_>, found: &[Difference<'_, Wanted>]) -> Option<String> {
    let now = |it: &Difference<'_, Wanted>| looked.there.now.get(&it.key).map(String::as_str);
    let goes = found.iter().filter(|it| it.deed == Deed::Delete && it.row.gone.is_some());
    let goes: Vec<(&str, &str)> = goes.filter_map(|it| Some((it.key.as_str(), now(it)?))).collect();
    let comes = found.iter().filter(|it| it.allocates.is_some() && now(it).is_none());
    let (new, value, (old, before)) = comes.into_iter().find_map(|it| match &it.deed {
        Deed::Set(value) => {
            let like = |(_, before): &&(&str, &str)| is_like(before, value);
            Some((it.key.as_str(), value.as_str(), *goes.iter().find(like)?))
        }
        _ => None,
    })?;
    let (command, id) = (table::of(wanted).command, wanted.id);
    let volume = before.split(',').next()?;
    let rest = value.split_once(',').map_or_else(String::new, |(_, rest)| format!(",{rest}"));
    let off = if wanted.vm().is_some() { "" } else { ", while it is off" };
    Some(format!(
        "{new} of {} will be new and empty, and what {old} holds stays as unused; where it is the same disk in another slot, put it \
         there first, on the node{off}: {command} set {id} --delete {old} && {command} set {id} --{new} {volume}{rest}",
        wanted.resource()
    ))
}

/// Whether a volume that is there and a new one may be the same: at the same path of a container, or of the same size.
fn is_like(before: &str, new: &str) -> bool {
    let part =
        |text: &str, name: &str| text.split(',').find_map(|part| part.strip_prefix(name).map(str::to_owned));
    match (part(before, "mp="), part(new, "mp=")) {
        (None, None) => {
            let asked = new.split(',').next().and_then(|volume| volume.rsplit(':').next());
            part(before, "size=").is_some_and(|size| Some(size.trim_end_matches('G')) == asked)
        }
        (before, new) => before == new,
    }
}

fn others_wait(wanted: &Wanted, keys: &[&String]) -> String {
    let all = keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
    let verb = if keys.len() == 1 { "waits" } else { "wait" };
    format!("{all} of {} {verb} for a restart; others set that, and it is left to them", wanted.resource())
}

/// The steps, if there is anything to do: what is written, and the restart after it. `waits` are keys of the blueprint's that
/// wait for a restart already.
fn finish(gather: &Gather<'_>, proposal: &mut Proposal) {
    let runs_as_wanted = gather.guest.running == gather.wanted.started;
    let nothing_waits = gather.guest.pending.is_empty() && gather.restart.is_empty();
    if gather.step.changes.is_empty() && gather.moves.is_empty() && nothing_waits && runs_as_wanted {
        return;
    }
    let (waits, others) = gather.waiting();
    if !others.is_empty() {
        proposal.note(others_wait(gather.wanted, &others));
    }
    let (guest, looked, wanted) = (gather.guest, gather.looked, gather.wanted);
    let waits: Vec<&String> = waits.into_iter().filter(|_| guest.running).collect();
    let keys: Vec<&str> = gather.restart.iter().chain(waits.iter().copied()).map(String::as_str).collect();
    let waited = |key: &&String| {
        let now = looked.there.now.get(*key).map(String::as_str);
        let then = guest.pending.get(*key).and_then(Option::as_deref);
        compare::waits_as_shown(table::of(wanted).rows, key, now, then).note("waits for the restart")
    };
    let mut later = Later { changes: waits.iter().map(waited).collect(), ..Later::default() };
    // What goes at the restart is forgotten after it.
    let set = table::remembered(wanted, looked.around());
    let goes = |key: &&String| !set.contains_key(*key) && waits.contains(key);
    let gone = looked.there.set.keys().filter(goes).cloned();
    let mut update = gather.update.clone();
    (later.forget, update.forget) =
        std::mem::take(&mut update.forget).into_iter().partition(|key| gather.restart.contains(key));
    later.forget.extend(gone);
    let mut step = gather.step.clone();
    for it in &gather.moves {
        // What waits for a machine's disk names the old volume.
        let waits = guest.pending.contains_key(&it.key) || gather.restart.contains(&it.key);
        let stops = moves::takes_stop(wanted.kind, &it.key);
        let grows = gather.grows.iter().filter(|(key, ..)| *key == it.key);
        let grown = |changes: &mut Vec<Change>, params: &mut Params| {
            for (key, size, shown) in grows {
                changes.extend(shown.iter().cloned());
                params.push((key.clone(), size.clone()));
            }
        };
        if guest.running && wanted.started && (stops || waits) {
            later.changes.push(it.change.clone().note(if stops { moves::STOPPED } else { moves::AFTER }));
            later.moves.push((it.key.clone(), it.to.clone()));
            later.storages.push(it.to.clone());
            grown(&mut later.changes, &mut later.grow);
        } else {
            let live = guest.running && wanted.started;
            step.changes.push(it.change.clone().note(if live { moves::LIVE } else { moves::OFF }));
            step = step.hold("storage", &it.to);
            update.moves.push((it.key.clone(), it.to.clone()));
            grown(&mut step.changes, &mut update.grow);
        }
    }
    for note in moves::notes(gather.world, wanted, guest, &gather.moves) {
        proposal.note(note);
    }
    if update.seal {
        step.reasons.push(match (&guest.was, guest.old) {
            (_, true) => "its mark was made before the site had a key, and is taken over".into(),
            (Some(was), false) => format!("it was {was} until now"),
            (None, false) => "its mark names a root that another one has taken the place of".into(),
        });
    }
    if step.changes.len() > usize::from(update.seal) {
        step.reasons.push(format!("differs from {}", wanted.declared));
    }
    if !gather.wanted.started {
        // What waits for a restart applies once it is off.
        if guest.running {
            step.reasons.push("it is to be off".into());
            step.changes.push(Change::new("state", "running", "stopped").note("what uses it stops"));
            step.grade = Grade::Restart;
            update.stop = true;
        }
    } else if !guest.running {
        step.reasons.push("it does not run".into());
        step.changes.push(Change::new("state", "stopped", "running"));
        update.start = true;
    }
    if wanted.started && !(keys.is_empty() && later.moves.is_empty()) {
        restart::propose(wanted, guest, &keys, later, proposal);
    } else {
        // What waits applies once it is off.
        update.forget.extend(later.forget);
    }
    if !step.changes.is_empty() || update.start || update.stop {
        proposal.step(step, &GuestWork::Update(Box::new(update)));
    }
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
        gather.update.keep.get_or_insert_with(|| keep.clone());
    }
}

/// Keys that others set, for which the blueprint has no word, or says nothing: they stay.
pub(super) fn others(wanted: &Wanted, looked: &Looked<'_>) -> Vec<String> {
    let (table, there) = (table::of(wanted), &looked.there);
    // What Phoenix itself has it told goes with its first start.
    let told = |key: &&String| {
        *key == first_start::CUSTOM && first_start::volume(&there.now[*key], wanted.id).is_some()
    };
    let pending = |key: &&String| there.then.get(*key) != there.now.get(*key);
    let is_others = |key: &&String| match keys::row(table.rows, key) {
        None => !(table.is_the_nodes)(key),
        Some(row) => {
            row.others == Others::Value
                && (row.wanted)(wanted, looked.around()).is_empty()
                && !there.set.contains_key(*key)
        }
    };
    // What waits has a note of its own.
    there.now.keys().filter(|key| is_others(key) && !pending(key) && !told(key)).cloned().collect()
}
