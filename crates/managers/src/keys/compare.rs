//! What of a guest's configuration is not as it is wanted, by the rows of its table. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use plan::Change;
use proxmox::property::{PropertyString, Size, VolumeSource};

use super::{Around, AtOnce, Form, Others, Row, Shown, Takes, Value, Wanted, form, row};

/// A configuration as it is.
#[derive(Debug, Clone)]
pub struct There<'a> {
    /// What is in force.
    pub now: &'a BTreeMap<String, String>,
    /// What will be after a restart: what waits counts as if it were there, since it has been asked for already.
    pub then: Cow<'a, BTreeMap<String, String>>,
    /// What the mark remembers: the values Phoenix set of keys that others set, too.
    pub set: &'a BTreeMap<String, String>,
}

impl<'a> There<'a> {
    /// From what is in force, what waits (`None`: it goes), and what the mark remembers.
    pub fn new(
        now: &'a BTreeMap<String, String>,
        pending: &BTreeMap<String, Option<String>>,
        set: &'a BTreeMap<String, String>,
    ) -> Self {
        let mut then = Cow::Borrowed(now);
        for (key, value) in pending {
            match value {
                Some(value) => then.to_mut().insert(key.clone(), value.clone()),
                None => then.to_mut().remove(key),
            };
        }
        Self { now, then, set }
    }
}

/// What is done about a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// The key gets this value.
    Set(String),
    /// The key goes.
    Delete,
    /// What waits for a restart is taken back; nothing is in force. Deleting would leave it waiting (recorded: "the
    /// pending value stays").
    Revert,
    /// The volume grows to this size.
    Grow(String),
    /// The volume moves to this storage.
    Move(String),
}

/// When a difference takes effect in a guest that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// At once.
    No,
    /// At a restart.
    Restart,
    /// It waits no more: what is wanted is in force.
    Back,
}

/// Something that is not as it is wanted.
#[derive(Debug)]
pub struct Difference<'r, G: 'static> {
    /// Its row.
    pub row: &'r Row<G>,
    /// Its key.
    pub key: String,
    /// As people see it.
    pub changes: Vec<Change>,
    /// What is done.
    pub deed: Deed,
    /// When that takes effect.
    pub waits: Waits,
    /// The storage on which a volume is made.
    pub allocates: Option<String>,
}

/// Something that is not as it is wanted, and cannot be made so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A volume is larger than it is to be.
    Shrinks {
        /// The key, as people call it.
        called: String,
        /// The size that it has.
        has: String,
        /// The size that is wanted.
        wanted: String,
    },
    /// There is no disk in it, but a medium.
    Taken {
        /// The key.
        key: String,
        /// What is there.
        holds: String,
    },
    /// Another volume or folder is there.
    Elsewhere {
        /// The key.
        key: String,
        /// What is there.
        holds: String,
        /// The storage or folder that is wanted.
        wanted: String,
    },
}

/// What is not as it is wanted, in the order of the table.
#[derive(Debug)]
pub struct Found<'r, G: 'static> {
    /// What can be changed.
    pub differences: Vec<Difference<'r, G>>,
    /// What cannot.
    pub troubles: Vec<Trouble>,
}

/// Holds what is there against what is wanted.
pub fn compare<'r, G>(rows: &'r [Row<G>], guest: &G, around: Around<'_>, there: &There<'_>) -> Found<'r, G> {
    let mut found = Found { differences: Vec::new(), troubles: Vec::new() };
    for row in rows {
        let wanted = row.asked(guest, around, there);
        if !row.numbered {
            row.slot_differs(None, wanted.first().map(|(_, value)| value), there, &mut found);
            continue;
        }
        for (slot, value) in &wanted {
            row.slot_differs(*slot, Some(value), there, &mut found);
        }
        let slots: BTreeSet<Option<u8>> = wanted.iter().map(|(slot, _)| *slot).collect();
        // A key of another row may look like one of this. What is asked for is cheaper to tell than whose a key is.
        let is_its = |key: &str| super::row(rows, key).is_some_and(|its| std::ptr::eq(its, row));
        for key in there.then.keys() {
            if let Some(slot) = row.slot(key).filter(|slot| !slots.contains(slot) && is_its(key)) {
                row.slot_differs(slot, None, there, &mut found);
            }
        }
    }
    found
}

/// Whether what waits for a restart under this key is the blueprint's. It is not where the blueprint has no word for it.
pub fn is_ours<G>(rows: &[Row<G>], guest: &G, around: Around<'_>, there: &There<'_>, key: &str) -> bool {
    let Some(row) = row(rows, key) else { return false };
    let slot = row.slot(key).flatten();
    match row.asked(guest, around, there).into_iter().find(|(wanted, _)| *wanted == slot) {
        // Only what others set in it differs.
        Some((_, value @ Value::Parts(_))) => {
            let satisfied = |of: &BTreeMap<String, String>| {
                of.get(key).is_some_and(|text| row.form.satisfied(Some(text), &value))
            };
            !(satisfied(there.now) && satisfied(&there.then))
        }
        Some(_) => true,
        None => match row.others {
            Others::Value => there.set.contains_key(key),
            Others::Kept => false,
            _ => true,
        },
    }
}

/// What waits for a restart under this key, as people read it, in the row's own words.
pub fn waits_as_shown<G>(rows: &[Row<G>], key: &str, now: Option<&str>, then: Option<&str>) -> Change {
    let Some(row) = row(rows, key) else { return Change::new(key, now, then) };
    Change::new(row.called.unwrap_or(key), row.shown.value(now), row.shown.value(then))
}

/// A size as it is asked for: in GiB where it is a whole number of them.
pub(crate) fn size_text(size: Size) -> String {
    if size.0.is_multiple_of(1 << 30) { format!("{}G", size.0 >> 30) } else { size.to_string() }
}

impl<G> Row<G> {
    /// What is wanted, given what is there: of sub-keys that are whoever's set them, those that the blueprint is silent about
    /// are not asked for, and those of them that Phoenix put there go.
    fn asked(&self, guest: &G, around: Around<'_>, there: &There<'_>) -> Wanted {
        let mut wanted = (self.wanted)(guest, around);
        let Some(schema) = self.form.schema().filter(|_| !self.others.parts().is_empty()) else {
            return wanted;
        };
        for (slot, value) in &mut wanted {
            let Value::Parts(ours) = value else { continue };
            let key = self.key(*slot);
            let parts = |of: &BTreeMap<String, String>| {
                of.get(&key).and_then(|text| text.parse::<PropertyString>().ok()).unwrap_or_default()
            };
            // Mostly Phoenix put nothing there, and nothing has to be read for that.
            let set = there.set.contains_key(&key).then(|| parts(there.set));
            let put_there = |name: &str| {
                let of = |parts: &PropertyString| schema.normal(name, schema.get(parts, name));
                let set = set.as_ref().and_then(of);
                set.is_some() && [of(&parts(there.now)), of(&parts(&there.then))].contains(&set)
            };
            ours.retain(|(name, value)| {
                value.is_some() || !self.others.parts().contains(name) || put_there(name)
            });
        }
        wanted
    }

    fn slot_differs<'r>(
        &'r self,
        slot: Option<u8>,
        wanted: Option<&Value>,
        there: &There<'_>,
        found: &mut Found<'r, G>,
    ) {
        let key = self.key(slot);
        match (self.form, wanted) {
            (Form::Volume(_), Some(Value::Parts(ours))) => self.volume(key, ours, there, found),
            (Form::Members, Some(Value::Text(wanted))) => self.list(key, wanted, there, found),
            _ => self.value(key, wanted, there, found),
        }
    }

    fn found<'r>(&'r self, key: String, changes: Vec<Change>, deed: Deed, waits: Waits) -> Difference<'r, G> {
        Difference { row: self, key, changes, deed, waits, allocates: None }
    }

    /// When a change takes effect, to `new`.
    fn waits(
        &self,
        key: &str,
        new: Option<&str>,
        there: &There<'_>,
        is_in_force: bool,
        is_new: bool,
    ) -> Waits {
        let at_once = |(is, _): (AtOnce, _)| is(there.now, there.now.get(key).map(String::as_str), new);
        // What waits already is taken back, or waits on.
        let waits = there.now.get(key) != there.then.get(key);
        match self.takes {
            _ if !waits && self.at_once.is_some_and(at_once) => Waits::No,
            Takes::Restart if is_in_force => Waits::Back,
            Takes::Plugged if is_in_force && !is_new => Waits::Back,
            Takes::Restart => Waits::Restart,
            Takes::Plugged if !is_new => Waits::Restart,
            _ => Waits::No,
        }
    }

    /// A key with a value of its own, or one that goes.
    fn value<'r>(&'r self, key: String, wanted: Option<&Value>, there: &There<'_>, found: &mut Found<'r, G>) {
        let raw = there.then.get(&key).map(String::as_str);
        let effective = raw.or(self.default);
        let in_force = |value: &Value| self.form.satisfied(there.now.get(&key).map(String::as_str), value);
        let same = match wanted {
            Some(value) => self.form.satisfied(effective, value),
            None if self.others == Others::Kept => true,
            None if self.others == Others::Value => {
                let ours = raw.zip(there.set.get(&key));
                !ours.is_some_and(|(now, set)| self.form.same(now, set))
            }
            None => effective == self.default,
        };
        if same {
            return;
        }
        // What has no part of ours that is set is no value.
        let new = wanted.map(|value| self.form.write(value, raw)).filter(|text| !text.is_empty());
        let changes = match (self.shown, wanted, self.form.schema()) {
            (Shown::Parts, Some(Value::Parts(ours)), Some(schema)) => {
                let parts: PropertyString = raw.unwrap_or_default().parse().unwrap_or_default();
                let mut differing = self.form.differing(raw, ours);
                let value =
                    |name: &str| ours.iter().find(|(own, _)| *own == name).and_then(|(_, v)| v.clone());
                // What goes comes last.
                differing.sort_unstable_by_key(|name| (value(name).is_none(), *name));
                let change = |name: &str| {
                    let old = schema.normal(name, schema.get(&parts, name));
                    Change::new(format!("{key}.{name}"), old, schema.normal(name, value(name).as_deref()))
                };
                differing.into_iter().map(change).collect()
            }
            _ => {
                let shown = self.called.unwrap_or(&key);
                let change =
                    Change::new(shown, self.shown.value(effective), self.shown.value(new.as_deref()));
                vec![match self.gone.filter(|_| new.is_none()) {
                    Some(words) => change.note(words),
                    None => change,
                }]
            }
        };
        let is_in_force = match wanted.filter(|_| new.is_some()) {
            Some(value) => in_force(value),
            None => !there.now.contains_key(&key),
        };
        let deed = match new {
            Some(new) => Deed::Set(new),
            None if there.now.contains_key(&key) => Deed::Delete,
            None => Deed::Revert,
        };
        let to = if let Deed::Set(new) = &deed { Some(new.as_str()) } else { None };
        let waits = self.waits(&key, to, there, is_in_force, raw.is_none());
        found.differences.push(self.found(key, changes, deed, waits));
    }

    /// A list of which others may have members, too: ours that lack are put in, and only those that Phoenix put in are taken
    /// out.
    fn list<'r>(&'r self, key: String, wanted: &str, there: &There<'_>, found: &mut Found<'r, G>) {
        let raw = there.then.get(&key).map(String::as_str);
        let (has, wanted) = (form::members(raw.unwrap_or_default()), form::members(wanted));
        let put_in = form::members(there.set.get(&key).map_or("", String::as_str));
        let goes = |member: &String| put_in.contains_key(member) && !wanted.contains_key(member);
        if wanted.keys().all(|member| has.contains_key(member)) && !has.keys().any(goes) {
            return;
        }
        let mut after = has.clone();
        after.retain(|member, _| !goes(member));
        after.extend(wanted);
        let new = after.into_values().collect::<Vec<_>>().join(";");
        let change = Change::new(&key, self.shown.value(raw), self.shown.value(Some(&new)));
        found.differences.push(self.found(key, vec![change], Deed::Set(new), Waits::No));
    }

    /// Something that holds data.
    fn volume<'r>(
        &'r self,
        key: String,
        ours: &[(&'static str, Option<String>)],
        there: &There<'_>,
        found: &mut Found<'r, G>,
    ) {
        let Form::Volume(schema) = self.form else { return };
        let source = |parts: &PropertyString| {
            schema.default_key.and_then(|name| schema.get(parts, name)).unwrap_or_default().to_owned()
        };
        let wanted = Value::Parts(ours.to_vec());
        let wanted_source = ours.iter().find(|(name, _)| Some(*name) == schema.default_key);
        let wanted_source = wanted_source.and_then(|(_, value)| value.as_ref()?.parse::<VolumeSource>().ok());
        let Some(raw) = there.then.get(&key) else {
            let fresh = self.form.write(&wanted, None);
            let change = Change::new(&key, serde_json::Value::Null, fresh.clone());
            let waits = self.waits(&key, Some(&fresh), there, false, true);
            let mut difference = self.found(key, vec![change], Deed::Set(fresh), waits);
            difference.allocates = wanted_source.and_then(|source| source.storage().map(str::to_owned));
            found.differences.push(difference);
            return;
        };
        let holds = source(&raw.parse().unwrap_or_default());
        let parts: PropertyString = raw.parse().unwrap_or_default();
        if !self.fixed && schema.get(&parts, "media") == Some("cdrom") {
            found.troubles.push(Trouble::Taken { key, holds });
            return;
        }
        let (is_there, where_to) = match &wanted_source {
            Some(VolumeSource::Bind(folder)) => (*folder == holds, folder.clone()),
            Some(source) => {
                let storage = source.storage().unwrap_or_default();
                (holds.split(':').next() == Some(storage), storage.to_owned())
            }
            None => (false, String::new()),
        };
        if !is_there {
            let is_volume = |source: &VolumeSource| source.storage().is_some();
            let moves =
                wanted_source.as_ref().is_some_and(is_volume) && holds.parse().is_ok_and(|it| is_volume(&it));
            if !moves {
                found.troubles.push(Trouble::Elsewhere { key, holds, wanted: where_to });
                return;
            }
            let from = holds.split(':').next().unwrap_or_default();
            let change =
                Change::new(format!("{}.storage", self.called.unwrap_or(&key)), from, where_to.clone());
            found.differences.push(self.found(key.clone(), vec![change], Deed::Move(where_to), Waits::No));
        }
        if let Some(VolumeSource::New { size, .. }) = wanted_source
            && !self.fixed
        {
            self.size(&key, size, there, found);
        }
        if self.form.satisfied(Some(raw), &wanted) {
            return;
        }
        let new = self.form.write(&wanted, Some(raw));
        let in_force = there.now.get(&key).is_some_and(|now| self.form.satisfied(Some(now), &wanted));
        let change = Change::new(&key, raw.clone(), new.clone());
        let waits = self.waits(&key, Some(&new), there, in_force, false);
        found.differences.push(self.found(key, vec![change], Deed::Set(new), waits));
    }

    /// Grows a volume, or says that its size cannot be had.
    fn size<'r>(&'r self, key: &str, wanted: Size, there: &There<'_>, found: &mut Found<'r, G>) {
        let Form::Volume(schema) = self.form else { return };
        // A size that waits for a restart is old: the node looks at the volume itself then.
        let now = there.now.get(key).or_else(|| there.then.get(key)).map_or("", String::as_str);
        let parts: PropertyString = now.parse().unwrap_or_default();
        let Some((has, size)) =
            schema.get(&parts, "size").and_then(|text| Some((text.to_owned(), text.parse::<Size>().ok()?)))
        else {
            return;
        };
        let called = self.called.unwrap_or(key);
        let wanted_text = size_text(wanted);
        if wanted > size {
            let change = Change::new(called, has, wanted_text.clone()).note("grows in place");
            found.differences.push(self.found(
                key.to_owned(),
                vec![change],
                Deed::Grow(wanted_text),
                Waits::No,
            ));
        } else if wanted < size {
            found.troubles.push(Trouble::Shrinks { called: called.to_owned(), has, wanted: wanted_text });
        }
    }
}
