//! How a mark is written: as one JSON object on one line.
//!
//! What the first kinds applied has a field a kind, as marks have always had, so that an upgrade rewrites nobody's mark. What
//! other kinds applied is below `applied`, by kind and name. A program that knows nothing of that would forget it when it
//! writes the mark anew, so such a mark says `"form": 2`, and its site is called by a name that no site has: whoever does not
//! know the form takes it for another site's, says so, and leaves it alone.
//!
//! The seal ([`super::Seal`]) stands beside what it is made over, in a field of its own.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Mark, Read, Seal};
use crate::address::{Address, kinds};

/// The newest form there is. Marks of the first one do not say so.
const FORM: u32 = 2;

/// What the site is called in marks that older programs are to leave alone. No name of a site has blanks.
pub(super) const NEWER: &str = " (marked by a newer Phoenix)";

/// What every form says.
#[derive(Debug, Deserialize)]
struct Head {
    site: String,
    address: Address,
    #[serde(default)]
    form: Option<u32>,
}

/// The first two forms; the fields in the order in which they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    site: String,
    address: Address,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    form: Option<u32>,
    /// The fingerprint of the site's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// Feature to fingerprint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    features: BTreeMap<String, String>,
    /// Feature, secret, code of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    certificates: BTreeMap<String, Dated>,
    /// That of the guest itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<Dated>,
    /// Service to fingerprint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<String, String>,
    /// What other kinds applied, by kind and name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    applied: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
    /// Volumes that were moved away from.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    left: BTreeSet<String>,
    /// Certificates in short, in the place of `certificates`: name, fingerprint, begin and end (hexadecimal).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packed: Vec<String>,
    /// Who made it: not there in marks that no key was used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<Seal>,
}

/// What is remembered of something that ends: its fingerprint, begin, end and serial number.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dated {
    f: String,
    b: i64,
    e: i64,
    s: String,
}

/// The mark as it is always written where there is room.
pub(super) fn plain(mark: &Mark, seal: Option<Seal>) -> String {
    // A struct of strings and maps with string keys always serializes.
    serde_json::to_string(&Written { seal, ..Written::from(mark.clone()) }).unwrap_or_default()
}

/// The mark with its certificates in short, a text each, without their serial numbers. Where one cannot be written so,
/// `None`.
pub(super) fn packed(mark: &Mark, seal: Option<Seal>) -> Option<String> {
    let mut written = Written { seal, ..Written::from(mark.clone()) };
    for (name, Dated { f, b, e, .. }) in std::mem::take(&mut written.certificates) {
        let blank = |text: &str| text.is_empty() || text.contains(char::is_whitespace);
        if blank(&name) || blank(&f) || b < 0 || e < 0 {
            return None;
        }
        written.packed.push(format!("{name} {f} {b:x} {e:x}"));
    }
    // As a value first: that puts the keys in order, as marks in short have them.
    serde_json::to_string(&serde_json::to_value(written).ok()?).ok()
}

/// What reads back of a mark that is written in short.
pub(super) fn shortened(mark: &Mark) -> Option<Mark> {
    read(&packed(mark, None)?).ok().map(|read| read.mark)
}

/// Reads a mark, however it is written.
pub(super) fn read(json: &str) -> Result<Read, serde_json::Error> {
    of_value(serde_json::from_str(json)?)
}

fn of_value(value: Value) -> Result<Read, serde_json::Error> {
    let head = Head::deserialize(&value)?;
    if head.form.is_some_and(|form| form > FORM) {
        // Its site has the name that none has.
        return Ok(Read { mark: Mark::new(&head.site, head.address), seal: None });
    }
    let mut written = serde_json::from_value::<Written>(value)?;
    let seal = written.seal.take();
    Ok(Read { mark: written.mark()?, seal })
}

impl From<Mark> for Written {
    fn from(mark: Mark) -> Self {
        let Mark { site, address, root, applied, secrets, set, left } = mark;
        let mut written = Self {
            site,
            address,
            form: None,
            root,
            features: BTreeMap::new(),
            secrets,
            certificates: BTreeMap::new(),
            authority: None,
            services: BTreeMap::new(),
            applied: BTreeMap::new(),
            set,
            left,
            packed: Vec::new(),
            seal: None,
        };
        for (kind, all) in applied {
            for (name, entry) in all {
                if let Err(entry) = written.field(&kind, &name, entry) {
                    written.applied.entry(kind.clone()).or_default().insert(name, entry);
                }
            }
        }
        if !written.applied.is_empty() {
            written.form = Some(FORM);
            written.site.push_str(NEWER);
        }
        written
    }
}

impl Written {
    /// Puts an entry into the field that its kind has; gives it back where there is none, or it is not what belongs there.
    fn field(&mut self, kind: &str, name: &str, entry: Value) -> Result<(), Value> {
        let texts = match kind {
            kinds::FEATURE => &mut self.features,
            kinds::SERVICE => &mut self.services,
            kinds::CERTIFICATE | kinds::AUTHORITY => {
                let Ok(dated) = Dated::deserialize(&entry) else { return Err(entry) };
                if kind == kinds::CERTIFICATE {
                    self.certificates.insert(name.to_owned(), dated);
                } else if name == self.address.name() {
                    self.authority = Some(dated);
                } else {
                    return Err(entry);
                }
                return Ok(());
            }
            _ => return Err(entry),
        };
        match entry {
            Value::String(text) => drop(texts.insert(name.to_owned(), text)),
            other => return Err(other),
        }
        Ok(())
    }

    fn mark(self) -> Result<Mark, serde_json::Error> {
        let custom = <serde_json::Error as serde::de::Error>::custom;
        let site = match self.form {
            None | Some(1) => self.site,
            Some(_) => match self.site.strip_suffix(NEWER) {
                Some(site) => site.to_owned(),
                None => {
                    return Err(custom(format!(
                        "the site of a mark of form {FORM} is called `{}`",
                        self.site
                    )));
                }
            },
        };
        let guest = self.address.name().to_owned();
        let mut mark = Mark::new(&site, self.address);
        mark.root = self.root;
        for (feature, codes) in self.secrets {
            mark.remember_secrets(&feature, codes);
        }
        mark.set = self.set;
        mark.left = self.left;
        for (kind, all) in [(kinds::FEATURE, self.features), (kinds::SERVICE, self.services)] {
            for (name, fingerprint) in all {
                mark.insert(kind, &name, fingerprint.into());
            }
        }
        for (name, dated) in self.certificates {
            mark.insert(kinds::CERTIFICATE, &name, dated.into());
        }
        if let Some(dated) = self.authority {
            mark.insert(kinds::AUTHORITY, &guest, dated.into());
        }
        for line in &self.packed {
            let (name, dated) =
                unpacked(line).ok_or_else(|| custom(format!("`{line}` is no certificate in short")))?;
            mark.insert(kinds::CERTIFICATE, name, dated.into());
        }
        for (kind, all) in self.applied {
            for (name, entry) in all {
                mark.insert(&kind, &name, entry);
            }
        }
        Ok(mark)
    }
}

fn unpacked(line: &str) -> Option<(&str, Dated)> {
    let [name, fingerprint, begin, end] = *line.split(' ').collect::<Vec<_>>() else { return None };
    let seconds = |text: &str| i64::from_str_radix(text, 16).ok();
    Some((name, Dated { f: fingerprint.to_owned(), b: seconds(begin)?, e: seconds(end)?, s: String::new() }))
}

impl From<Dated> for Value {
    fn from(Dated { f, b, e, s }: Dated) -> Self {
        serde_json::json!({ "f": f, "b": b, "e": e, "s": s })
    }
}

impl Serialize for Mark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of a value, as its form is known only then.
        let value = Value::deserialize(deserializer)?;
        of_value(value).map(|read| read.mark).map_err(serde::de::Error::custom)
    }
}
