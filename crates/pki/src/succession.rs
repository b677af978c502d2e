//! A root that takes the place of another, without a moment in which a client trusts neither: at first both are trusted, then
//! the new one signs, then it alone is trusted. How far that is stands in the names of the files beside the root's, so that
//! whoever was killed goes on. The last root's key is gone with the first thing that the new one signs.

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::authority::{Authority, AuthoritySettings, INTERMEDIATE_CERT, INTERMEDIATE_KEY};
use crate::error::PkiError;
use crate::facts::CertificateFacts;
use crate::next::{NEXT_CERT, NEXT_KEY};
use crate::root::{ROOT_CERT, ROOT_KEY, Root, new_key, parse_key, read_certificate, short_id};
use crate::signed::{Holder, Ledger};
use crate::store::Store;

/// The new root, until it signs.
const NEW_CERT: &str = "root-next.crt";
pub(crate) const NEW_KEY: &str = "root-next.key";
/// The old root, from when the new one signs until nobody shows anything of the old one.
const OLD_CERT: &str = "root-old.crt";
/// The old root, from then until nobody trusts it.
const LEAVING_CERT: &str = "root-leaving.crt";
/// The roots of before, the first one first: what guests remember to have been made with. Nothing is verified by them.
const BEFORE: &str = "roots-before.json";

/// How far a root has taken the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Both are to be trusted; the old one signs.
    Trusting,
    /// Both are to be trusted; the new one signs.
    Signing,
    /// The new one alone is to be trusted.
    Leaving,
}

impl Stage {
    /// Its number, of three.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Trusting => 1,
            Self::Signing => 2,
            Self::Leaving => 3,
        }
    }
}

/// What the folder says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Succession {
    stage: Option<Stage>,
    /// The certificate of the one that is trusted beside the one that signs.
    other: Option<String>,
    /// The key of a new root that nothing has been written of.
    proposed: Option<SecretString>,
    /// The roots of before.
    before: Vec<String>,
    /// What clients are given to trust.
    trusted: String,
    /// Whether whoever had the new one sign was killed.
    pub(crate) turning: bool,
}

impl Succession {
    /// Reads it; nothing is written.
    pub(crate) fn read(store: &Store) -> Result<Self, PkiError> {
        let read = |name: &str| -> Result<Option<String>, PkiError> {
            Ok(store.read(name)?.map(|pem| pem.expose_secret().to_owned()))
        };
        let (new, old, leaving) = (read(NEW_CERT)?, read(OLD_CERT)?, read(LEAVING_CERT)?);
        let before = match store.read(BEFORE)? {
            Some(text) => serde_json::from_str(text.expose_secret())
                .map_err(|source| PkiError::BadRecord { path: store.path(BEFORE), source })?,
            None => Vec::new(),
        };
        let turning = new.is_some() && old.is_some();
        let (stage, other) = match (new, old, leaving) {
            (_, _, Some(_)) => (Some(Stage::Leaving), None),
            (_, Some(old), None) => (Some(Stage::Signing), Some(old)),
            (Some(new), None, None) => (Some(Stage::Trusting), Some(new)),
            (None, None, None) => (None, None),
        };
        Ok(Self { stage, other, proposed: None, before, trusted: String::new(), turning })
    }

    /// The same, of which `signs` is the root that signs.
    pub(crate) fn below(mut self, signs: &str) -> Self {
        self.trusted = match (&self.other, self.stage) {
            (None, _) => signs.to_owned(),
            (Some(other), Some(Stage::Trusting)) => both(signs, other),
            (Some(other), _) => both(other, signs),
        };
        self
    }

    /// The root that signs; whoever only looks finishes nothing.
    pub(crate) fn root(&self, store: &Store, domain: &str, now: Timestamp) -> Result<Option<Root>, PkiError> {
        if !self.turning {
            return Root::open(store, domain, now);
        }
        let key = if store.read(NEW_KEY)?.is_some() { NEW_KEY } else { ROOT_KEY };
        Root::read(store, (NEW_CERT, key), domain, now)
    }
}

fn both(old: &str, new: &str) -> String {
    format!("{}\n{}\n", old.trim_end(), new.trim_end())
}

impl Authority {
    /// How far another root has taken the place of the one of before; nothing where there is but one.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        self.succession().stage
    }

    /// What clients are given to trust: the certificate of the root, and of another one while one of them takes the other's
    /// place; the older one first.
    #[must_use]
    pub fn trusted(&self) -> Vec<&str> {
        let Some(other) = self.succession().other.as_deref() else { return vec![self.root_pem()] };
        match self.stage() {
            Some(Stage::Trusting) => vec![self.root_pem(), other],
            _ => vec![other, self.root_pem()],
        }
    }

    /// The same as one text.
    #[must_use]
    pub fn trusted_pem(&self) -> &str {
        &self.succession().trusted
    }

    /// The certificate of the one that will be the only root: what people are to trust.
    #[must_use]
    pub fn newest_pem(&self) -> &str {
        self.trusted().pop().unwrap_or_default()
    }

    /// The certificates of the roots of before, whose place the present one has taken: guests may remember to have been made with
    /// them. Nothing is verified by them.
    #[must_use]
    pub fn before(&self) -> &[String] {
        &self.succession().before
    }

    /// Opens the authority in `folder` with a new root beside its own, of which nothing is written before
    /// [`Self::keep_new_root`]. Where there is a new one already, it is that.
    ///
    /// # Errors
    /// As [`Authority::open_or_create`].
    pub fn propose_root(
        folder: &camino::Utf8Path,
        settings: &AuthoritySettings,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let mut authority = Self::open_or_create(folder, settings, now)?;
        if authority.stage().is_some() {
            return Ok(authority);
        }
        let store = Store::open(folder)?;
        // Of one who was killed before the certificate was there.
        let key = match store.read(NEW_KEY)? {
            Some(key) => parse_key(&store.path(NEW_KEY), &key)?,
            None => new_key()?,
        };
        // Called by its key: who has imported both tells them apart, and so do programs that look for a root by its name.
        let name = format!("Phoenix {} Root CA {}", settings.site, short_id(&key));
        let pem = Root::certificate(&name, settings, authority.domain(), &key, now)?;
        let succession = authority.succession_mut();
        succession.stage = Some(Stage::Trusting);
        succession.other = Some(pem);
        succession.proposed = Some(key.serialize_pem().into());
        let signs = authority.root_pem().to_owned();
        let succession = authority.succession_mut();
        *succession = std::mem::take(succession).below(&signs);
        Ok(authority)
    }

    /// Writes down the root that [`Self::propose_root`] made: from now on both are to be trusted. For one process at a time.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn keep_new_root(&self) -> Result<(), PkiError> {
        let Succession { other: Some(pem), proposed: Some(key), .. } = self.succession() else {
            return Ok(());
        };
        let store = Store::open(self.folder())?;
        store.replace(NEW_KEY, key)?;
        store.create(NEW_CERT, &pem.clone().into())
    }

    /// Has the new root sign from the next opening on, and nothing but it: to be called when everybody trusts both. The key of the
    /// old one is gone. For one process at a time.
    ///
    /// # Errors
    /// Where there is no new root, or its key is not at hand; files that cannot be read or written.
    pub fn sign_with_new_root(&self, now: Timestamp) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        let missing = || PkiError::KeyMissing { certificate: store.path(NEW_CERT), key: store.path(NEW_KEY) };
        let (pem, key) =
            (store.read(NEW_CERT)?.ok_or_else(missing)?, store.read(NEW_KEY)?.ok_or_else(missing)?);
        let (_, facts) = read_certificate(&store, NEW_CERT, &pem)?;
        if !facts.matches_key(&key) {
            return Err(PkiError::KeyMismatch {
                certificate: store.path(NEW_CERT),
                key: store.path(NEW_KEY),
            });
        }
        let mut before = self.before().to_vec();
        if before.last().map(String::as_str) != Some(self.root_pem()) {
            before.push(self.root_pem().to_owned());
            let text = serde_json::to_string_pretty(&before)
                .map_err(|source| PkiError::BadRecord { path: store.path(BEFORE), source })?;
            store.replace(BEFORE, &text.into())?;
        }
        // So that what signs below the new one is called otherwise.
        let mut ledger = Ledger::read(&store)?;
        ledger.add_before(&CertificateFacts::parse(&self.intermediate_pem())?, Holder::Own);
        ledger.write(&store, now)?;
        store.replace(OLD_CERT, &self.root_pem().to_owned().into())?;
        finish(&store)
    }

    /// Has the new root alone be trusted from the next opening on: to be called when nothing shows anything of the old one any
    /// more. For one process at a time.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn leave_old_root(&self) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        let Some(old) = store.read(OLD_CERT)? else { return Ok(()) };
        store.replace(LEAVING_CERT, &old)?;
        store.remove(OLD_CERT)
    }

    /// Notes that nobody trusts the old root any more. For one process at a time.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn forget_old_root(&self) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        store.remove(OLD_CERT)?;
        store.remove(LEAVING_CERT)
    }
}

/// Has the new root take the old one's place where both its own files and the old one's are there: whatever of this was done
/// before a kill is done again.
pub(crate) fn finish(store: &Store) -> Result<(), PkiError> {
    let (Some(_), Some(new)) = (store.read(OLD_CERT)?, store.read(NEW_CERT)?) else { return Ok(()) };
    let (pem, facts) = read_certificate(store, NEW_CERT, &new)?;
    let key = match store.read(NEW_KEY)? {
        Some(key) => key,
        None => store.read(ROOT_KEY)?.ok_or_else(|| PkiError::KeyMissing {
            certificate: store.path(NEW_CERT),
            key: store.path(NEW_KEY),
        })?,
    };
    if !facts.matches_key(&key) {
        return Err(PkiError::KeyMismatch { certificate: store.path(NEW_CERT), key: store.path(NEW_KEY) });
    }
    if store.read(ROOT_CERT)?.is_none_or(|there| there.expose_secret() != pem) {
        for file in [NEXT_CERT, NEXT_KEY, INTERMEDIATE_CERT, INTERMEDIATE_KEY, ROOT_KEY] {
            store.remove(file)?;
        }
        store.replace(ROOT_CERT, &new)?;
    }
    store.replace(ROOT_KEY, &key)?;
    store.remove(NEW_KEY)?;
    store.remove(NEW_CERT)
}
