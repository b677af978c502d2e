//! A guest's configuration as a table: one [`Row`] for each key that Phoenix sets. What differs, what that costs, what
//! takes root, what is read back, and the book's table all read the same rows.
//!
//! A kind of guest has a table of its own ([`crate::guests::table`]), for whatever type says what is wanted (`G`). How rows are
//! held against what is there is in [`compare`].

pub mod compare;
pub mod fields;
pub mod form;

use std::collections::BTreeMap;

use blueprint::source::DeviceSource;
use proxmox::property::{PropertyString, Schema, VolumeSource};

/// A key's value, as the blueprint asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A whole value.
    Text(String),
    /// The sub-keys of a property string that Phoenix sets or takes away, in the order in which they are written. Others
    /// stay; of those that are whoever's set them ([`Others::Parts`]), one without a value stays, too.
    Parts(Vec<(&'static str, Option<String>)>),
}

/// What is wanted of a row: a value, or one for each of the numbers of a numbered key.
pub type Wanted = Vec<(Option<u8>, Value)>;

/// What a wanted value depends on, beside the guest's own declaration.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The storage of the guest's root disk, for volumes that name none.
    pub storage: &'a str,
    /// The volume of the medium in its drive, where the blueprint calls it by the name of an image.
    pub medium: Option<&'a str>,
    /// The same of the medium in its second drive.
    pub second: Option<&'a str>,
    /// The device files of the graphics cards that it uses.
    pub cards: &'a [DeviceSource],
}

/// What the API shows in the place of a secret, and what stands for its value here.
pub const HIDDEN: &str = "**********";

/// How a key's values are compared, and what they look like.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Letter by letter.
    Text,
    /// A whole number.
    Number,
    /// A number that need not be whole.
    Decimal,
    /// 0 or 1.
    Flag,
    /// A list whose order counts.
    List,
    /// A list whose order and capitals do not count, and whose members may be others'.
    Members,
    /// A text for people.
    Prose,
    /// What nobody may read: it is there, or it is not ([`HIDDEN`]). Whoever sets it knows its value elsewhere.
    Secret,
    /// Sub-keys.
    Property(&'static Schema),
    /// Sub-keys of something that holds data: the volume that is there stays, and can grow.
    Volume(&'static Schema),
}

/// When a change takes effect in a guest that runs. Sources: the recordings of a real node ("Changing a running guest").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// At once.
    Live,
    /// At a restart.
    Restart,
    /// At once where it is new; at a restart where it changes or goes.
    Plugged,
    /// Only when the guest is made anew.
    Rebuild,
}

/// Whose a key is, where the blueprint says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// The blueprint's: what somebody set is taken away.
    Nothing,
    /// Whoever set it: only what Phoenix set is taken away, as its mark remembers it.
    Value,
    /// Whoever set it, and it is never taken away: the node cannot do without it.
    Kept,
    /// A list's members are those of whoever added them.
    Members,
    /// The blueprint's, but for these sub-keys, which are whoever's set them.
    Parts(&'static [&'static str]),
}

impl Others {
    /// The sub-keys that are whoever's set them.
    pub fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Parts(names) => names,
            _ => &[],
        }
    }
}

/// How a value is shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// As it is.
    Plain,
    /// MiB as MiB or GiB.
    Mib,
    /// Each sub-key by itself.
    Parts,
    /// By these words for values.
    Words(&'static [(&'static str, &'static str)]),
}

/// Whether a change is in force at once although others of its row are not: what is in force of all keys, and the values of
/// this one that are and that are wanted.
pub type AtOnce = fn(&BTreeMap<String, String>, Option<&str>, Option<&str>) -> bool;

/// Why a change takes root on the node, if it does: the guest, what is in force, and what is wanted.
pub type Root<G> = fn(&G, Option<&str>, Option<&str>) -> Option<&'static str>;

/// A key of a guest's configuration, or a family of numbered ones (`net0`, `net1`, …).
#[derive(Debug)]
pub struct Row<G: 'static> {
    /// Its name; of numbered keys the part before the number.
    pub name: &'static str,
    /// Whether a number follows.
    pub numbered: bool,
    /// What people call it, where that is not its name.
    pub called: Option<&'static str>,
    /// The blueprint's words that it follows from.
    pub from: &'static str,
    /// What is wanted.
    pub wanted: fn(&G, Around<'_>) -> Wanted,
    /// What the node takes it for where the configuration does not have it.
    pub default: Option<&'static str>,
    /// How its values are compared.
    pub form: Form,
    /// When a change takes effect.
    pub takes: Takes,
    /// Which changes do at once, whatever `takes` says, and when that is, in a few words for the book.
    pub at_once: Option<(AtOnce, &'static str)>,
    /// What takes root.
    pub root: Option<Root<G>>,
    /// What takes root, in a few words for the book.
    pub root_words: &'static str,
    /// What of it may be others'.
    pub others: Others,
    /// How it is shown.
    pub shown: Shown,
    /// What a person should know when it goes.
    pub gone: Option<&'static str>,
    /// The privilege that a token needs on the guest to set it, or to take it away.
    pub privilege: &'static str,
    /// Of a volume: whether its size is the node's to say.
    pub fixed: bool,
}

impl<G> Row<G> {
    /// A key whose value is one text, changes at once, takes `VM.Config.Options`, and is the blueprint's alone: what most are.
    pub const fn new(name: &'static str, from: &'static str, wanted: fn(&G, Around<'_>) -> Wanted) -> Self {
        Self {
            name,
            numbered: false,
            called: None,
            from,
            wanted,
            default: None,
            form: Form::Text,
            takes: Takes::Live,
            at_once: None,
            root: None,
            root_words: "",
            others: Others::Nothing,
            shown: Shown::Plain,
            gone: None,
            privilege: "VM.Config.Options",
            fixed: false,
        }
    }

    /// Whether `key` is this row's, and which of a numbered one's: `Some(Some(3))` for `net3`.
    pub fn slot(&self, key: &str) -> Option<Option<u8>> {
        if !self.numbered {
            return (key == self.name).then_some(None);
        }
        // A number as it is written, not `+1` or `01`.
        let number = key.strip_prefix(self.name)?;
        let is_written = number == "0" || number.starts_with(|digit: char| ('1'..='9').contains(&digit));
        number.parse().ok().filter(|_| is_written).map(Some)
    }

    /// The key of a slot.
    pub fn key(&self, slot: Option<u8>) -> String {
        slot.map_or_else(|| self.name.to_owned(), |slot| format!("{}{slot}", self.name))
    }

    /// When a change takes effect, in words.
    pub fn takes_words(&self) -> String {
        match self.at_once {
            Some((_, when)) => format!("at once {when}; else {}", self.takes.words()),
            None => self.takes.words().to_owned(),
        }
    }

    /// What takes root to change it, if that does.
    pub fn takes_root(&self, guest: &G, old: Option<&str>, new: Option<&str>) -> Option<&'static str> {
        self.root.and_then(|root| root(guest, old, new))
    }
}

/// The row of a key, if the table has one.
pub fn row<'r, G>(rows: &'r [Row<G>], key: &str) -> Option<&'r Row<G>> {
    rows.iter().find(|row| row.slot(key).is_some())
}

/// Whether two values of a key mean the same to the node. Of volumes, what is mounted and its size are not compared.
pub fn same<G>(rows: &[Row<G>], key: &str, one: &str, other: &str) -> bool {
    row(rows, key).map_or_else(|| one == other, |row| row.form.same(one, other))
}

/// What is wanted as the node is told it, for a guest that is yet to be made: row, key and value, in the order of the table.
pub fn written<'r, G>(
    rows: &'r [Row<G>],
    guest: &G,
    around: Around<'_>,
) -> Vec<(&'r Row<G>, String, String)> {
    let mut all = Vec::new();
    for row in rows {
        for (slot, value) in (row.wanted)(guest, around) {
            let text = row.form.write(&value, None);
            if !text.is_empty() {
                all.push((row, row.key(slot), text));
            }
        }
    }
    all
}

/// The storage that a value makes a volume on.
pub fn made_on(form: Form, value: &str) -> Option<String> {
    let Form::Volume(schema) = form else { return None };
    let parts: PropertyString = value.parse().ok()?;
    let source = schema.default_key.and_then(|name| schema.get(&parts, name))?;
    match source.parse() {
        Ok(VolumeSource::New { storage, .. }) => Some(storage),
        _ => None,
    }
}

/// What the mark remembers of the values that were set: those of keys that others set, too. `always` are members of lists
/// that need not be remembered, since they are never taken away.
pub fn remembered<G>(
    rows: &[Row<G>],
    guest: &G,
    around: Around<'_>,
    always: &str,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for row in rows.iter().filter(|row| !matches!(row.others, Others::Nothing | Others::Kept)) {
        for (slot, value) in (row.wanted)(guest, around) {
            let value = match (row.others, value) {
                (Others::Parts(names), Value::Parts(mut ours)) => {
                    ours.retain(|(name, _)| names.contains(name));
                    Value::Parts(ours)
                }
                (_, value) => value,
            };
            let mut text = row.form.write(&value, None);
            if row.others == Others::Members {
                text = form::members(&text)
                    .into_keys()
                    .filter(|member| member != always)
                    .collect::<Vec<_>>()
                    .join(";");
            }
            if !text.is_empty() {
                all.insert(row.key(slot), text);
            }
        }
    }
    all
}
