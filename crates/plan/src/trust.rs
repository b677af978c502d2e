//! Whose what was found is: a guest is the site's own when it carries the tag, and a mark that the site's key made for it.
//!
//! Start at [`Trust`]. An inventory has no marks at all before [`Inventory::judge`] was asked, so that whoever forgets it takes
//! everything for a stranger's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::desired::Desired;
use crate::inventory::Inventory;
use crate::mark::{Bearer, Mark, Read, TAG, Unsealed, is_tagged, notes, seal};
use crate::site_key::{NoRandomness, SiteKey, nonce};

/// What a site goes by when it says what is its own.
#[derive(Debug, Clone)]
pub struct Trust {
    site: String,
    key: Option<Arc<SiteKey>>,
    old: Old,
    /// Guests that have new names: what they were, and what they are.
    renamed: BTreeMap<Address, Address>,
}

/// What was the site's before it had a key, and is still to be sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Old {
    /// Guests by their ids.
    pub guests: BTreeMap<u32, Address>,
    /// What the node remembers.
    pub node: bool,
}

/// Whose a guest is, by its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The site's, with the nonce of its seal.
    Ours(Mark, String),
    /// The site's, of before it had a key: its mark is still to be sealed.
    Old(Mark),
    /// Another site's, as it says.
    Others(Mark),
    /// It says that it is the site's, and is a stranger's.
    Claimed(Claim),
}

/// What says that it is the site's, and is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it says it is.
    pub address: Address,
    /// Why it is not believed.
    pub why: Disbelief,
    /// All that it says: nothing is done because of it, at most refused.
    pub says: Box<Mark>,
}

/// Why a mark is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disbelief {
    /// It is not sealed.
    Unsealed,
    /// The site's key did not make its seal.
    AnotherKey,
    /// It was made for the guest with this id.
    CopyOf(u32),
    /// The guest has not got the tag.
    Untagged,
}

/// Why nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotSeal {
    /// There is no key.
    #[error("the site has no key yet")]
    NoKey,
    /// There is no nonce.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl fmt::Display for Claim {
    /// As what follows on `it is `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match self.why {
            Disbelief::Unsealed => write!(f, "a guest with a mark of {address} that nobody has sealed"),
            Disbelief::AnotherKey => {
                write!(f, "a guest with a mark of {address} that this site's key did not make")
            }
            Disbelief::CopyOf(id) => write!(f, "a copy of {address}, whose mark was made for {id}"),
            Disbelief::Untagged => {
                write!(f, "a guest with the mark of {address}, and without the tag `{TAG}`")
            }
        }
    }
}

impl Trust {
    /// In the marks of `site` that `key` made. Without a key, in none.
    pub fn new(site: impl Into<String>, key: Option<Arc<SiteKey>>) -> Self {
        Self { site: site.into(), key, old: Old::default(), renamed: BTreeMap::new() }
    }

    /// And in marks without a seal of what was the site's before it had a key.
    #[must_use]
    pub fn with_old(self, old: Old) -> Self {
        Self { old, ..self }
    }

    /// And knows guests by their new names whose marks have the names of before (`was`).
    #[must_use]
    pub fn with_renamed(self, desired: &Desired) -> Self {
        let renamed = desired.guests.values().filter_map(|guest| {
            let was = guest.was.as_ref()?;
            Some((Address::new(guest.kind.as_str(), was), guest.resource()))
        });
        Self { renamed: renamed.collect(), ..self }
    }

    /// The site's name.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The site's key.
    pub fn key(&self) -> Option<&SiteKey> {
        self.key.as_deref()
    }

    /// What was the site's before it had a key.
    pub fn old(&self) -> &Old {
        &self.old
    }

    /// Whose a guest is, with these tags and what its mark says.
    pub fn of_guest(&self, id: u32, tags: &str, read: Read) -> Standing {
        let address = read.says().address.clone();
        if read.says().site != self.site {
            return Standing::Others(read.into_mark());
        }
        let now = self.renamed.get(&address);
        let called = |read: Read| match now {
            Some(now) => read.into_mark().called(now.clone()),
            None => read.into_mark(),
        };
        let nonce = read.verified(self.key(), &Bearer::guest(id)).map(str::to_owned);
        let old = self.old.guests.get(&id) == Some(now.unwrap_or(&address));
        let why = match (nonce, is_tagged(tags)) {
            (Ok(nonce), true) => return Standing::Ours(called(read), nonce),
            (Err(Unsealed::No), true) if old => return Standing::Old(called(read)),
            (Err(Unsealed::No), _) if !old => Disbelief::Unsealed,
            (Ok(_) | Err(Unsealed::No), _) => Disbelief::Untagged,
            (Err(Unsealed::Another), _) => Disbelief::AnotherKey,
            (Err(Unsealed::CopyOf(id)), _) => Disbelief::CopyOf(id),
        };
        Standing::Claimed(Claim { address, why, says: Box::new(read.into_mark()) })
    }

    /// Whose a node's own mark is.
    pub fn of_node(&self, node: &str, read: Read) -> Standing {
        let address = read.says().address.clone();
        if read.says().site != self.site {
            return Standing::Others(read.into_mark());
        }
        let nonce = read.verified(self.key(), &Bearer::node(node)).map(str::to_owned);
        let why = match nonce {
            Ok(nonce) => return Standing::Ours(read.into_mark(), nonce),
            Err(Unsealed::No) if self.old.node => return Standing::Old(read.into_mark()),
            Err(Unsealed::No) => Disbelief::Unsealed,
            Err(Unsealed::Another | Unsealed::CopyOf(_)) => Disbelief::AnotherKey,
        };
        Standing::Claimed(Claim { address, why, says: Box::new(read.into_mark()) })
    }

    /// The description of a guest with text and mark, sealed for it; with the nonce of its seal of before, if it had one.
    ///
    /// # Errors
    /// When the site has no key, or the system no random numbers.
    pub fn describe(
        &self,
        id: u32,
        before: Option<String>,
        text: &str,
        mark: &Mark,
    ) -> Result<String, CannotSeal> {
        let key = self.key().ok_or(CannotSeal::NoKey)?;
        let nonce = before.map_or_else(nonce, Ok)?;
        Ok(seal::render(key, &Bearer::guest(id), &nonce, text, mark))
    }

    /// Whose what the notes of the datacenter say is. Marks of it were never without a seal.
    pub fn of_datacenter(&self, read: Read) -> Standing {
        let address = read.says().address.clone();
        if read.says().site != self.site {
            return Standing::Others(read.into_mark());
        }
        let nonce = read.verified(self.key(), &Bearer::datacenter()).map(str::to_owned);
        let why = match nonce {
            Ok(nonce) => return Standing::Ours(read.into_mark(), nonce),
            Err(Unsealed::No) => Disbelief::Unsealed,
            Err(Unsealed::Another | Unsealed::CopyOf(_)) => Disbelief::AnotherKey,
        };
        Standing::Claimed(Claim { address, why, says: Box::new(read.into_mark()) })
    }

    /// A mark sealed for the notes of the datacenter.
    ///
    /// # Errors
    /// As [`Trust::describe`].
    pub fn for_datacenter(&self, mark: &Mark) -> Result<String, CannotSeal> {
        let key = self.key().ok_or(CannotSeal::NoKey)?;
        Ok(seal::json(key, &Bearer::datacenter(), &nonce()?, mark))
    }

    /// A mark sealed for a node, as the node keeps it.
    ///
    /// # Errors
    /// As [`Trust::describe`].
    pub fn for_node(&self, node: &str, mark: &Mark) -> Result<String, CannotSeal> {
        let key = self.key().ok_or(CannotSeal::NoKey)?;
        Ok(seal::json(key, &Bearer::node(node), &nonce()?, mark))
    }
}

impl Inventory {
    /// Finds out whose the guests are. Of what says that it is the site's, only what `trust` believes has a mark afterwards.
    pub fn judge(&mut self, trust: &Trust) {
        for guest in self.guests.values_mut() {
            let Some(read) = guest.read.take() else { continue };
            let tags = guest.config.as_ref().and_then(|config| config.get("tags"));
            let was = read.says().address.clone();
            match trust.of_guest(guest.id, tags.map_or("", String::as_str), read) {
                Standing::Ours(mark, _) | Standing::Others(mark) => guest.mark = Some(mark),
                Standing::Old(mark) => {
                    guest.mark = Some(mark);
                    guest.old = true;
                }
                Standing::Claimed(claim) => guest.claim = Some(claim),
            }
            guest.was = guest.mark.as_ref().filter(|mark| mark.address != was).map(|_| was);
        }
        let notes = self.datacenter.notes.as_deref().unwrap_or_default();
        (self.datacenter.mark, self.datacenter.claim) = (None, None);
        if let Some(read) = notes::split(notes, trust.site()).own {
            match trust.of_datacenter(read) {
                Standing::Ours(mark, _) | Standing::Others(mark) => self.datacenter.mark = Some(mark),
                Standing::Claimed(claim) => self.datacenter.claim = Some(claim),
                Standing::Old(_) => {}
            }
        }
        for (name, node) in &mut self.nodes {
            let Some(read) = node.read.take() else { continue };
            match trust.of_node(name, read) {
                Standing::Ours(mark, _) | Standing::Others(mark) => node.hypervisor = Some(mark),
                Standing::Old(mark) => {
                    node.hypervisor = Some(mark);
                    node.old = true;
                }
                Standing::Claimed(claim) => node.claim = Some(claim),
            }
        }
    }
}
