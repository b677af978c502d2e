//! The mark: how Phoenix knows what is its own. A fenced block in a guest's description names the site and the
//! resource, and holds the fingerprints of what was applied inside, so that a plan needs no look into the guest.
//!
//! There is no state file to lose (T-11, T-20): the mark travels with the guest, through backups and migrations.
//!
//! Whoever may edit a guest's description can write such a block, so a text is no authority: what was read is a [`Read`], of
//! which only [`crate::Trust`] says whose it is, by the seal that the site's key made.

pub mod notes;
pub(crate) mod seal;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::address::{Address, kinds};

pub use seal::{Bearer, Read, Seal, Unsealed, read};

/// The tag every guest of Phoenix' carries.
pub const TAG: &str = "phoenix";

/// Proxmox VE's limit for a description, in bytes (API schema, `description`, `maxLength`).
pub const DESCRIPTION_LIMIT: usize = 8192;

/// Stands for the fingerprint of a certificate that a guest had under its name of before.
pub const RENAMED: &str = "renamed";

const OPEN: &str = "```phoenix";
const CLOSE: &str = "```";

/// What the fenced block says.
///
/// What was applied is remembered by kind and name, since the host is what carries the mark. Each kind writes its own entry,
/// as small as can be, and reads it again: most write a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The site it belongs to.
    pub site: String,
    /// What it is.
    pub address: Address,
    /// The root certificate of the site that wrote it last, by [`crate::wire::fingerprint`]. Not there in marks of before
    /// that was remembered.
    pub root: Option<String>,
    /// Kind, name, entry. No kind is without an entry.
    applied: BTreeMap<String, BTreeMap<String, Value>>,
    /// Feature, secret, code of the value that was put in place. No feature is without a secret.
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// What Phoenix set of the keys that others set, too (tags, name servers): only that is taken away again.
    pub set: BTreeMap<String, String>,
    /// Volumes that Phoenix moved away from, as the node names them: they are freed once the new ones are seen.
    pub left: BTreeSet<String>,
}

/// Why a fenced block could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the phoenix block in the description cannot be read")]
pub struct MarkError(#[source] serde_json::Error);

impl Mark {
    /// A mark with nothing applied yet.
    pub fn new(site: &str, address: Address) -> Self {
        Self {
            site: site.to_owned(),
            address,
            root: None,
            applied: BTreeMap::new(),
            secrets: BTreeMap::new(),
            set: BTreeMap::new(),
            left: BTreeSet::new(),
        }
    }

    /// Whether a newer Phoenix wrote it for this site, in a form that is not known here.
    pub fn is_newer(&self, site: &str) -> bool {
        self.site.strip_suffix(written::NEWER) == Some(site)
    }

    /// What was applied of a resource, as its kind wrote it.
    pub fn entry(&self, address: &Address) -> Option<&Value> {
        self.applied.get(address.kind())?.get(address.name())
    }

    /// The same where it is a text: most kinds write a fingerprint.
    pub fn fingerprint(&self, address: &Address) -> Option<&str> {
        self.entry(address)?.as_str()
    }

    /// All that a kind applied, by name.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.applied.get(kind).into_iter().flatten().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Kind and name of all that was applied.
    pub fn applied(&self) -> impl Iterator<Item = (&str, &str)> {
        self.applied.iter().flat_map(|(kind, all)| all.keys().map(move |name| (kind.as_str(), name.as_str())))
    }

    /// The names of what a kind applied.
    pub fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.of_kind(kind).map(|(name, _)| name)
    }

    /// Remembers that a resource was applied; its entry replaces the one of before.
    pub fn remember(&mut self, address: &Address, entry: impl Into<Value>) {
        self.insert(address.kind(), address.name(), entry.into());
    }

    /// Remembers which values the secrets of a feature had when it was applied: the codes that the site's key makes of them,
    /// by what stands for each secret. They replace those of before.
    pub fn remember_secrets(&mut self, feature: &str, codes: BTreeMap<String, String>) {
        if codes.is_empty() {
            self.secrets.remove(feature);
        } else {
            self.secrets.insert(feature.to_owned(), codes);
        }
    }

    /// The same codes. `None` where none are remembered: it has no secrets, or was applied before that was done.
    pub fn secrets(&self, feature: &str) -> Option<&BTreeMap<String, String>> {
        self.secrets.get(feature)
    }

    /// Forgets a resource; what was remembered of it.
    pub fn forget(&mut self, address: &Address) -> Option<Value> {
        if address.kind() == kinds::FEATURE {
            self.secrets.remove(address.name());
        }
        let of_kind = self.applied.get_mut(address.kind())?;
        let entry = of_kind.remove(address.name());
        if of_kind.is_empty() {
            self.applied.remove(address.kind());
        }
        entry
    }

    /// The same of a guest that is called otherwise now.
    #[must_use]
    pub fn called(mut self, address: Address) -> Self {
        let own = self.applied.get_mut(kinds::AUTHORITY);
        if let Some((own, entry)) = own.and_then(|own| own.remove(self.address.name()).map(|it| (own, it))) {
            own.insert(address.name().to_owned(), entry);
        }
        // Whoever signs for a guest knows it by its name, so each is asked for once more under the new one.
        for certificate in self.applied.get_mut(kinds::CERTIFICATE).into_iter().flat_map(BTreeMap::values_mut)
        {
            if let Some(fingerprint) = certificate.get_mut("f") {
                *fingerprint = RENAMED.into();
            }
        }
        Self { address, ..self }
    }

    /// Forgets all that was applied, so that it counts as new.
    pub fn forget_all(&mut self) {
        self.applied.clear();
        self.secrets.clear();
    }

    fn insert(&mut self, kind: &str, name: &str, entry: Value) {
        self.applied.entry(kind.to_owned()).or_default().insert(name.to_owned(), entry);
    }
}

/// A text for people in the form in which it comes back from a node: line breaks are `\n`, and the end has no blanks, since
/// Phoenix' block follows.
pub fn text(written: &str) -> String {
    let lines: Vec<&str> = written.trim_end().lines().map(|line| line.trim_end_matches('\r')).collect();
    lines.join("\n")
}

/// Whether a guest with these tags, as Proxmox VE lists them, has Phoenix' own.
pub fn is_tagged(tags: &str) -> bool {
    tags.split([';', ',', ' ']).any(|tag| tag.eq_ignore_ascii_case(TAG))
}

fn opens(line: &str) -> bool {
    line.trim_end() == OPEN
}

/// Splits a description into the text for people and what the mark says, if there is one. Of several blocks the last one
/// is it: Phoenix' own comes after all that people write.
///
/// # Errors
/// When there is a fenced block that cannot be read.
pub fn parse(description: &str) -> Result<(String, Option<Read>), MarkError> {
    let (text, json) = split(description);
    let read = json.map(|json| written::read(&json).map_err(MarkError)).transpose()?;
    Ok((text, read))
}

/// The text for people in a description, and what is in the last block, whether that can be read or not.
pub fn split(description: &str) -> (String, Option<String>) {
    let lines: Vec<&str> = description.lines().collect();
    let Some(begin) = lines.iter().rposition(|line| opens(line)) else {
        return (text(&lines.join("\n")), None);
    };
    let (before, block) = lines.split_at(begin);
    let block = block.get(1..).unwrap_or_default();
    // Never closed: somebody cut it. It still counts, or a guest of ours would look like a stranger's.
    let end = block.iter().position(|line| line.trim_end() == CLOSE).unwrap_or(block.len());
    let (json, after) = block.split_at(end);
    let rest: Vec<&str> = before.iter().chain(after.iter().skip(1)).copied().collect();
    (text(&rest.join("\n")), Some(json.join("\n")))
}

/// The description that holds `text` for people and the mark, without a seal. Where it would be longer than Proxmox VE
/// takes, the certificates, of which a gateway may have many, are written in short, and without their serial numbers.
pub fn render(text: &str, mark: &Mark) -> String {
    let plain = whole(text, &written::plain(mark, None));
    if plain.len() <= DESCRIPTION_LIMIT {
        return plain;
    }
    written::packed(mark, None).map_or(plain, |json| whole(text, &json))
}

fn whole(text: &str, json: &str) -> String {
    let text = self::text(text);
    let gap = if text.is_empty() { "" } else { "\n\n" };
    format!("{text}{gap}{OPEN}\n{json}\n{CLOSE}")
}

#[cfg(test)]
mod tests;
