//! What the root has signed that can sign, until it ends: so that it can be said which of it is not to be believed any more.
//!
//! Nobody who checks certificates here asks for a list of revoked ones. Proxies, which are told who may come in anyway, are
//! told the names of those whose signature does not count: an intermediate's name holds digits of its key.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::PkiError;
use crate::facts::CertificateFacts;
use crate::store::Store;

const FILE: &str = "signed.json";

/// Whose an intermediate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Holder {
    /// The embedded authority's.
    Own,
    /// One whose key is in a guest.
    Guest,
}

/// An intermediate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signed {
    /// Its common name.
    name: String,
    /// When it ends, Unix seconds.
    end: i64,
    /// Who has its key.
    holder: Holder,
    /// Whether all that it signed is refused by those who are told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refused: bool,
    /// Otherwise for which names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    names: BTreeSet<String>,
}

/// What an intermediate signed that is not believed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its common name.
    pub issuer: String,
    /// For these common names; for all where there are none.
    pub names: Vec<String>,
}

impl Signed {
    fn new(facts: &CertificateFacts, holder: Holder) -> Self {
        let (name, end) = (facts.subject.clone(), facts.not_after.as_second());
        Self { name, end, holder, refused: false, names: BTreeSet::new() }
    }
}

/// All of them that have not ended, in the order in which they were signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ledger(Vec<Signed>);

impl Ledger {
    /// What the folder remembers.
    pub(crate) fn read(store: &Store) -> Result<Self, PkiError> {
        let Some(text) = store.read(FILE)? else { return Ok(Self::default()) };
        serde_json::from_str(secrecy::ExposeSecret::expose_secret(&text))
            .map_err(|source| PkiError::BadRecord { path: store.path(FILE), source })
    }

    /// Has the folder remember it, without what has ended.
    pub(crate) fn write(&mut self, store: &Store, now: Timestamp) -> Result<(), PkiError> {
        self.0.retain(|one| one.end > now.as_second());
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| PkiError::BadRecord { path: store.path(FILE), source })?;
        store.replace(FILE, &text.into())
    }

    /// One more. The same key, certified again, is the same one: it counts as refused still.
    pub(crate) fn add(&mut self, facts: &CertificateFacts, holder: Holder) {
        let end = facts.not_after.as_second();
        match self.0.iter().position(|one| one.name == facts.subject) {
            Some(at) => {
                let mut known = self.0.remove(at);
                known.end = known.end.max(end);
                self.0.push(known);
            }
            None => self.0.push(Signed::new(facts, holder)),
        }
    }

    /// Whether one of this name is known.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.iter().any(|one| one.name == name)
    }

    /// One that was signed before anybody took note; none where it is known.
    pub(crate) fn add_before(&mut self, facts: &CertificateFacts, holder: Holder) {
        if !self.knows(&facts.subject) {
            self.0.insert(0, Signed::new(facts, holder));
        }
    }

    /// Has what they signed for `names`, or all of it, refused: not of the one called `own` and, where `guest_signs`, of the
    /// last one of a guest.
    pub(crate) fn refuse_others(&mut self, own: &str, guest_signs: bool, names: Option<&[String]>) {
        let last = self.0.iter().rev().find(|one| one.holder == Holder::Guest);
        let last = last.filter(|_| guest_signs).map(|one| one.name.clone());
        for one in self.0.iter_mut().filter(|one| one.name != own && Some(&one.name) != last.as_ref()) {
            match names {
                Some(names) => one.names.extend(names.iter().cloned()),
                None => one.refused = true,
            }
        }
    }

    /// What is refused at this time, in the order of names.
    pub(crate) fn refused(&self, now: Timestamp) -> Vec<Refused> {
        let counts = |one: &&Signed| one.end > now.as_second() && (one.refused || !one.names.is_empty());
        let mut all: Vec<Refused> = (self.0.iter().filter(counts))
            .map(|one| Refused {
                issuer: one.name.clone(),
                names: if one.refused { Vec::new() } else { one.names.iter().cloned().collect() },
            })
            .collect();
        all.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        all
    }
}
