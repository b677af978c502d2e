//! What of a guest's configuration is not as it is wanted, by the rows of its table. Pure.

use std::collections::{BTreeMap, BTreeSet};

use plan::Change;
use proxmox::property::{PropertyString, Size, VolumeSource};

use super::{Around, Form, Others, Row, Shown, Takes, Value, form, row};

/// A configuration as it is.
#[derive(Debug, Clone)]
pub struct There<'a> {
    /// What is in force.
    pub now: &'a BTreeMap<String, String>,
    /// What will be after a restart: what waits counts as if it were there, since it has been asked for already.
    pub then: BTreeMap<String, String>,
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
        let mut then = now.clone();
        for (key, value) in pending {
            match value {
                Some(value) => then.insert(key.clone(), value.clone()),
                None => then.remove(key),
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
        let wanted = (row.wanted)(guest, around);
        if !row.numbered {
            row.slot_differs(None, wanted.first().map(|(_, value)| value), there, &mut found);
            continue;
        }
        for (slot, value) in &wanted {
            row.slot_differs(*slot, Some(value), there, &mut found);
        }
        let slots: BTreeSet<Option<u8>> = wanted.iter().map(|(slot, _)| *slot).collect();
        // A key of another row may look like one of this.
        let is_its = |key: &&String| super::row(rows, key).is_some_and(|its| std::ptr::eq(its, row));
        let there_slots = there.then.keys().filter(is_its).filter_map(|key| row.slot(key));
        for slot in there_slots.filter(|slot| !slots.contains(slot)) {
            row.slot_differs(slot, None, there, &mut found);
        }
    }
    found
}

/// Whether what waits for a restart under this key is the blueprint's. It is not where the blueprint has no word for it.
pub fn is_ours<G>(rows: &[Row<G>], guest: &G, around: Around<'_>, there: &There<'_>, key: &str) -> bool {
    let Some(row) = row(rows, key) else { return false };
    let slot = row.slot(key).flatten();
    match (row.wanted)(guest, around).into_iter().find(|(wanted, _)| *wanted == slot) {
        // Only what others set in it differs.
        Some((_, value @ Value::Parts(_))) => {
            let satisfied = |of: &BTreeMap<String, String>| {
                of.get(key).is_some_and(|text| row.form.satisfied(Some(text), &value))
            };
            !(satisfied(there.now) && satisfied(&there.then))
        }
        Some(_) => true,
        None => row.others != Others::Value || there.set.contains_key(key),
    }
}

impl<G> Row<G> {
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

    fn waits(&self, is_in_force: bool, is_new: bool) -> Waits {
        match self.takes {
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
        let waits = self.waits(is_in_force, false);
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
            let mut difference = self.found(key, vec![change], Deed::Set(fresh), self.waits(false, true));
            difference.allocates = wanted_source.and_then(|source| source.storage().map(str::to_owned));
            found.differences.push(difference);
            return;
        };
        let holds = source(&raw.parse().unwrap_or_default());
        let (is_there, where_to) = match &wanted_source {
            Some(VolumeSource::Bind(folder)) => (*folder == holds, folder.clone()),
            Some(source) => {
                let storage = source.storage().unwrap_or_default();
                (holds.split(':').next() == Some(storage), storage.to_owned())
            }
            None => (false, String::new()),
        };
        if !is_there {
            found.troubles.push(Trouble::Elsewhere { key, holds, wanted: where_to });
            return;
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
        found.differences.push(self.found(key, vec![change], Deed::Set(new), self.waits(in_force, false)));
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
        let wanted_text = format!("{}G", wanted.0 >> 30);
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
