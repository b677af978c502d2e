//! How a pool that is there becomes the one that is wanted: disks that take others' places, groups that are added, what holds no
//! data of its own, properties. Whatever ZFS cannot do in place is a problem with words, and nothing is ever rebuilt.

use std::collections::{BTreeMap, BTreeSet};

use plan::inventory::zfs::{Class, Group, Pool};
use plan::planner::Proposal;
use plan::{Action, Change, Problem};
use serde_json::Value;

use super::super::{PoolChange, PoolDeed, class_word, same, shown, step};
use super::{One, class_vdev, data_vdev};
use crate::zfs::Vdev;

/// What is found on the way.
#[derive(Default)]
struct Found {
    changes: Vec<PoolChange>,
    shown: Vec<Change>,
    reasons: Vec<String>,
    /// Disks that are new to the pool.
    new: Vec<String>,
    problems: Vec<Problem>,
}

impl One<'_> {
    /// What differs of a pool that is there; `adopted`: the site did not know it yet.
    pub(super) fn change(&self, there: &Pool, adopted: bool, proposal: &mut Proposal) {
        let mut found = Found::default();
        if adopted {
            found
                .reasons
                .push("it is there already, of exactly these disks: it is the site's from now on".to_owned());
        }
        self.data(there, &mut found);
        for (class, disks) in [(Class::Special, &self.pool.special), (Class::Log, &self.pool.log)] {
            self.mirrored(there, class, disks, &mut found);
        }
        for (class, disks) in [(Class::Cache, &self.pool.cache), (Class::Spare, &self.pool.spare)] {
            self.single(there, class, disks, &mut found);
        }
        self.properties(there, &mut found);
        if !found.problems.is_empty() {
            found.problems.into_iter().for_each(|problem| proposal.problem(problem));
            return;
        }
        let Some(wipe) = self.take(found.new.iter().map(String::as_str), proposal) else { return };
        if !self.applied.making.is_empty() && found.changes.is_empty() && !adopted {
            found.reasons.push("a run that was cut off did not get to write down that it is done".to_owned());
        }
        if found.changes.is_empty()
            && found.reasons.is_empty()
            && !self.pool.root.keys().eq(&self.applied.said)
        {
            found.reasons.push("it is not written down what was set of it".to_owned());
        }
        if found.reasons.is_empty() {
            return;
        }
        let step = step(self.address.clone(), Action::Update).reasons(found.reasons).changes(found.shown);
        let step = self.emptying(step, &wipe);
        let deed =
            PoolDeed::Update { guid: there.guid.clone(), changes: found.changes, said: self.said(), wipe };
        self.propose(step, deed, proposal);
    }

    fn data(&self, there: &Pool, found: &mut Found) {
        let groups: Vec<&Group> = there.groups.iter().filter(|it| it.class == Class::Data).collect();
        let mut left = groups.clone();
        let mut open: Vec<&Vec<String>> = Vec::new();
        for wanted in &self.pool.groups {
            let meets = |group: &&Group| wanted.iter().any(|disk| self.has(group, disk));
            match left.iter().position(meets) {
                Some(at) => self.group(wanted, left.remove(at), there, found),
                None => open.push(wanted),
            }
        }
        // A group whose disks are all others: where as many are gone as came, each takes another's place.
        while !open.is_empty() && !left.is_empty() {
            let (wanted, group) = (open.remove(0), left.remove(0));
            self.group(wanted, group, there, found);
        }
        for group in left {
            found.problems.push(self.stays(group));
        }
        for wanted in open {
            let vdev = data_vdev(self.pool, wanted);
            self.add(vdev, "a group of disks is added, and cannot be taken away again", found);
        }
    }

    fn has(&self, group: &Group, disk: &str) -> bool {
        let disk = self.zfs.disk_named(disk);
        group.members.iter().any(|member| self.zfs.disk_of(member) == disk)
    }

    fn stays(&self, group: &Group) -> Problem {
        let disks: Vec<&str> = group.members.iter().map(|it| self.zfs.id_of(self.zfs.disk_of(it))).collect();
        self.problem(
            "zfs::shrinks",
            format!(
                "{} ({}) holds data of {} and cannot be taken away here",
                group.name,
                disks.join(", "),
                self.pool.name
            ),
            "declare its disks again; where ZFS can move its data away, do it by hand first: zpool remove"
                .to_owned(),
        )
    }

    /// The disks of one group.
    fn group(&self, wanted: &[String], there: &Group, pool: &Pool, found: &mut Found) {
        let layout = match there.class {
            Class::Data => self.pool.layout.word(),
            _ => (wanted.len() > 1).then_some("mirror"),
        };
        let alone = there.layout.is_none();
        let becomes_mirror = alone && layout == Some("mirror");
        let one_is_left = there.layout.as_deref() == Some("mirror") && layout.is_none();
        if there.layout.as_deref() != layout && !becomes_mirror {
            let (is, wants) =
                (there.layout.as_deref().unwrap_or("a disk alone"), layout.unwrap_or("a disk alone"));
            let how = match one_is_left {
                true => format!("to take one of its disks out, on the node: zpool detach {}", self.pool.name),
                false => "declare it as it is; for another layout, make a new pool beside it and copy what is there (zfs send)".to_owned(),
            };
            found.problems.push(self.problem(
                "zfs::layout",
                format!("{} of {} is {is}, and cannot become {wants}", there.name, self.pool.name),
                how,
            ));
            return;
        }
        let mut gone: Vec<_> = there
            .members
            .iter()
            .filter(|member| !wanted.iter().any(|disk| self.zfs.disk_named(disk) == self.zfs.disk_of(member)))
            .collect();
        for new in wanted.iter().filter(|disk| !self.has(there, disk)) {
            if gone.is_empty() {
                self.attach(new, there, pool, found);
                continue;
            }
            let old = gone.remove(0);
            let was = self.zfs.id_of(self.zfs.disk_of(old));
            let how = match old.state.as_str() {
                "ONLINE" => "its data is copied while the pool is used",
                _ => "its data is made from the others",
            };
            found.reasons.push(format!("{new} takes the place of {was}"));
            found.shown.push(Change::new(there.name.clone(), was, new.as_str()).note(how));
            found.new.push(new.clone());
            found.changes.push(PoolChange::Replace { old: old.name.clone(), new: new.clone() });
        }
        for old in gone {
            let disk = self.zfs.id_of(self.zfs.disk_of(old));
            found.problems.push(self.problem(
                "zfs::shrinks",
                format!("{disk} is a disk of {}, and no other is declared in its place", self.pool.name),
                format!("name the disk that takes its place; or declare {disk} again"),
            ));
        }
    }

    fn attach(&self, new: &str, there: &Group, pool: &Pool, found: &mut Found) {
        let expands = pool
            .properties
            .get("feature@raidz_expansion")
            .is_some_and(|it| it == "enabled" || it == "active");
        let to = match there.layout.as_deref() {
            None | Some("mirror") => there.members.first().map(|member| member.name.clone()),
            Some("raidz1" | "raidz2" | "raidz3") if expands => Some(there.name.clone()),
            _ => None,
        };
        let Some(to) = to else {
            return found.problems.push(self.problem(
                "zfs::layout",
                format!("{new} cannot join {} of {}: this ZFS cannot make such a group larger", there.name, self.pool.name),
                "add a whole group instead (a list of lists under `disks`), or larger disks in their places, one after the other".to_owned(),
            ));
        };
        found.reasons.push(format!("{new} joins {}", there.name));
        found.shown.push(
            Change::new(there.name.clone(), Value::Null, new)
                .note("it gets its share of the data while the pool is used"),
        );
        found.new.push(new.to_owned());
        found.changes.push(PoolChange::Attach { to, new: new.to_owned() });
    }

    fn add(&self, vdev: Vdev, note: &str, found: &mut Found) {
        let what = vdev.class.clone().unwrap_or_else(|| "data".to_owned());
        let layout = vdev.layout.as_ref().map(|layout| format!("{layout} of ")).unwrap_or_default();
        found.reasons.push(format!("it gets more disks: {what}"));
        found
            .shown
            .push(Change::new(what, Value::Null, format!("{layout}{}", vdev.disks.join(", "))).note(note));
        found.new.extend(vdev.disks.iter().cloned());
        found.changes.push(PoolChange::Add { vdev, ashift: self.pool.ashift });
    }

    /// Disks for metadata or synchronous writes: one group of them.
    fn mirrored(&self, there: &Pool, class: Class, wanted: &[String], found: &mut Found) {
        let mut groups: Vec<&Group> = there.groups.iter().filter(|it| it.class == class).collect();
        let word = class_word(class).unwrap_or_default();
        if !wanted.is_empty() {
            match groups.iter().position(|group| wanted.iter().any(|disk| self.has(group, disk))) {
                Some(at) => self.group(wanted, groups.remove(at), there, found),
                None if groups.len() == 1 && class == Class::Special => {
                    self.group(wanted, groups.remove(0), there, found);
                }
                None => {
                    let vdev = class_vdev(word, wanted);
                    vdev.into_iter().for_each(|vdev| self.add(vdev, "while the pool is used", found));
                }
            }
        }
        for group in groups {
            match class {
                Class::Log => self.remove(word, group, found),
                _ => found.problems.push(self.stays(group)),
            }
        }
    }

    /// Disks that stand alone, and can go at any time.
    fn single(&self, there: &Pool, class: Class, wanted: &[String], found: &mut Found) {
        let word = class_word(class).unwrap_or_default();
        let groups: Vec<&Group> = there.groups.iter().filter(|it| it.class == class).collect();
        for group in groups.iter().filter(|group| !wanted.iter().any(|disk| self.has(group, disk))) {
            // A spare that is at work is taken away once its work is done.
            if group.state == "INUSE" {
                continue;
            }
            self.remove(word, group, found);
        }
        let new: Vec<String> =
            wanted.iter().filter(|disk| !groups.iter().any(|group| self.has(group, disk))).cloned().collect();
        if !new.is_empty() {
            self.add(
                Vdev { class: Some(word.to_owned()), layout: None, disks: new },
                "while the pool is used",
                found,
            );
        }
    }

    fn remove(&self, word: &str, group: &Group, found: &mut Found) {
        let disks: Vec<&str> = group.members.iter().map(|it| self.zfs.id_of(self.zfs.disk_of(it))).collect();
        found.reasons.push(format!("{word} of {} goes", disks.join(", ")));
        found.shown.push(
            Change::new(word, disks.join(", "), Value::Null)
                .note("no data is on it that is not elsewhere, too"),
        );
        found.changes.push(PoolChange::Remove { name: group.name.clone() });
    }

    fn properties(&self, there: &Pool, found: &mut Found) {
        let local = self.zfs.datasets.get(&self.pool.name).map(|it| &it.local);
        for change in settings(&self.pool.properties, &self.pool.root, &self.applied.said, there, local) {
            match &change {
                PoolChange::Set { property, value } => {
                    let old = there.properties.get(property).map(String::as_str);
                    found.shown.push(Change::new(property.clone(), old, value.as_str()));
                }
                PoolChange::Root { set, inherit } => {
                    let old =
                        |name: &String| local.and_then(|local| local.get(name)).map(|old| shown(name, old));
                    found.shown.extend(
                        set.iter()
                            .map(|(name, value)| Change::new(name.clone(), old(name), shown(name, value))),
                    );
                    found
                        .shown
                        .extend(inherit.iter().map(|name| Change::new(name.clone(), old(name), Value::Null)));
                }
                _ => {}
            }
            found.changes.push(change);
            let reason = "its properties change".to_owned();
            if !found.reasons.contains(&reason) {
                found.reasons.push(reason);
            }
        }
    }
}

/// The properties of a pool and of its first dataset that are not as they are said.
pub(in crate::zfs) fn settings(
    pool: &BTreeMap<String, String>,
    root: &BTreeMap<String, String>,
    before: &BTreeSet<String>,
    there: &Pool,
    local: Option<&BTreeMap<String, String>>,
) -> Vec<PoolChange> {
    let differs =
        |(name, value): &(&String, &String)| there.properties.get(*name).is_none_or(|it| !same(it, value));
    let set = pool.iter().filter(differs);
    let mut all: Vec<PoolChange> = set
        .map(|(property, value)| PoolChange::Set { property: property.clone(), value: value.clone() })
        .collect();
    let (set, inherit) = super::super::datasets::settings(root, before, local);
    if !set.is_empty() || !inherit.is_empty() {
        all.push(PoolChange::Root { set, inherit });
    }
    all
}
