//! The root's key with a passphrase: sealed where it lies, and opened in memory for as long as something is signed with it; and
//! when it is needed at all, since most of what is done takes none.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::authority::{Authority, intermediate_due};
use crate::error::PkiError;
use crate::facts::CertificateFacts;
use crate::leaf::BACKDATE;
use crate::root::{Key, ROOT_KEY, Root};
use crate::store::Store;

/// Where the root's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKey {
    /// At hand.
    Here,
    /// Here, with a passphrase that was not given.
    Locked,
    /// Kept elsewhere.
    Away,
}

/// Whether the root has to sign another intermediate before leaves are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeedsRoot {
    /// The one that there is does.
    No,
    /// It is time for another one, and the one that there is still does.
    Due,
    /// Nothing can be signed without another one.
    Must,
}

impl Authority {
    /// The root, with its key where that is at hand, or was [unlocked](Self::unlock).
    pub(crate) fn root(&self, store: &Store) -> Result<Root, PkiError> {
        let root = Root::known(store, self.root_pem())?;
        let unlocked = self.unlocked().clone();
        Ok(match (&root.key, unlocked) {
            (Key::Locked(_), Some(key)) => Root { key: Key::Here(key), ..root },
            _ => root,
        })
    }

    /// Where the root's key is, without which nothing new can sign.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn root_key(&self) -> Result<RootKey, PkiError> {
        // Only looked at: what another process leaves unfinished is its own.
        let Some(store) = Store::look(self.folder())? else { return Ok(RootKey::Away) };
        Ok(match self.root(&store)?.key {
            Key::Here(_) => RootKey::Here,
            Key::Locked(_) => RootKey::Locked,
            Key::Away => RootKey::Away,
        })
    }

    /// Opens the root's key for as long as this lives, where it has a passphrase.
    ///
    /// # Errors
    /// Another passphrase; a file that is damaged, or not there.
    pub fn unlock(&self, passphrase: &SecretString) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        let root = Root::known(&store, self.root_pem())?;
        *self.unlocked() = Some(root.opened(&store, passphrase)?);
        Ok(())
    }

    /// Gives the root's key a passphrase: from then on it lies sealed in its file. For one process at a time.
    ///
    /// # Errors
    /// Where it is kept elsewhere, or has one that was not given; files that cannot be written.
    pub fn protect(&self, passphrase: &SecretString) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        let root = self.root(&store)?;
        let Key::Here(key) = &root.key else { return Err(root.missing(&store)) };
        let failed = |source| PkiError::NotSealed { key: store.path(ROOT_KEY), source };
        let text = sealed::with_passphrase(key, passphrase).map_err(failed)?;
        // There is no other copy here: it is opened once before it takes the key's place.
        let opened =
            sealed::open(text.as_bytes(), &sealed::Key::Passphrase(passphrase.clone())).map_err(failed)?;
        if opened.expose_secret() != key.expose_secret() {
            return Err(failed(sealed::SealedError::Changed));
        }
        store.replace(ROOT_KEY, &text.into())
    }

    /// Takes the passphrase off again. For one process at a time.
    ///
    /// # Errors
    /// Another passphrase; where the key is kept elsewhere; files that cannot be written.
    pub fn unprotect(&self, passphrase: &SecretString) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        let root = Root::known(&store, self.root_pem())?;
        let key = root.opened(&store, passphrase)?;
        store.replace(ROOT_KEY, &key)
    }

    /// Whether leaves that live `below` take another intermediate: by its age, or since it was made before `since`.
    #[must_use]
    pub fn needs_root(&self, below: Duration, since: Option<Timestamp>, now: Timestamp) -> NeedsRoot {
        // What cannot be read cannot sign either.
        let Ok(facts) = CertificateFacts::parse(&self.intermediate_pem()) else { return NeedsRoot::Must };
        let made = facts.not_before.as_second().saturating_add(BACKDATE.as_secs().cast_signed());
        let end = now.as_second().saturating_add(i64::try_from(below.as_secs()).unwrap_or(i64::MAX));
        if since.is_some_and(|since| made < since.as_second()) || end > facts.not_after.as_second() {
            NeedsRoot::Must
        } else if intermediate_due(facts.not_before, facts.not_after, below, now) {
            NeedsRoot::Due
        } else {
            NeedsRoot::No
        }
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::authority::AuthoritySettings;
    use crate::leaf::LeafRequest;

    const DAY: Duration = Duration::from_hours(24);
    const BEGIN: i64 = 1_750_000_000;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_second(BEGIN + days * 86_400).unwrap()
    }

    struct Folder {
        _dir: tempfile::TempDir,
        path: Utf8PathBuf,
    }

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = Utf8PathBuf::from_path_buf(dir.path().join("authority")).unwrap();
            Self { _dir: dir, path }
        }

        fn open(&self) -> Authority {
            let settings =
                AuthoritySettings { site: "w".into(), domain: "w.internal".into(), subnets: Vec::new() };
            Authority::open_or_create(&self.path, &settings, at(0)).unwrap()
        }

        fn key(&self) -> String {
            fs_err::read_to_string(self.path.join("root.key")).unwrap()
        }
    }

    fn leaf(authority: &Authority, now: Timestamp) -> Result<String, PkiError> {
        let name = "a.w.internal".to_owned();
        let request =
            LeafRequest { name: name.clone(), dns_names: vec![name], addresses: Vec::new(), life: 30 * DAY };
        Ok(authority.issue(&request, now)?.chain_pem)
    }

    #[test]
    fn a_key_with_a_passphrase_signs_only_with_that() {
        let folder = Folder::new();
        let (right, wrong) = ("a horse and a staple".into(), "a horse and a stable".into());
        let authority = folder.open();
        let plain = folder.key();
        assert_eq!(authority.root_key().unwrap(), RootKey::Here);
        authority.protect(&right).unwrap();
        let sealed = folder.key();
        assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----") && !sealed.contains("PRIVATE KEY"));

        // Who only opens it, and signs leaves, needs none.
        let authority = folder.open();
        assert_eq!(authority.root_key().unwrap(), RootKey::Locked);
        let before = authority.intermediate_pem();
        leaf(&authority, at(1)).unwrap();
        authority.keep(30 * DAY, at(200)).unwrap();
        assert_eq!(authority.intermediate_pem(), before, "nothing signs another one");
        assert!(matches!(leaf(&authority, at(250)), Err(PkiError::BadLife { .. })));
        assert!(matches!(authority.succeed(30 * DAY, at(2), at(2)), Err(PkiError::Locked { .. })));
        assert!(matches!(authority.protect(&right), Err(PkiError::Locked { .. })));
        assert!(matches!(authority.unlock(&wrong), Err(PkiError::NotUnlocked { .. })));
        assert_eq!(authority.root_key().unwrap(), RootKey::Locked);

        authority.unlock(&right).unwrap();
        assert_eq!(authority.root_key().unwrap(), RootKey::Here);
        authority.keep(30 * DAY, at(200)).unwrap();
        assert_ne!(authority.intermediate_pem(), before);
        leaf(&authority, at(200)).unwrap();
        assert_eq!(folder.key(), sealed, "it stays sealed where it lies");

        let authority = folder.open();
        assert!(matches!(authority.unprotect(&wrong), Err(PkiError::NotUnlocked { .. })));
        authority.unprotect(&right).unwrap();
        assert_eq!(folder.key(), plain);
    }

    #[test]
    fn a_sealed_key_that_is_damaged_or_anothers_is_refused() {
        let (folder, other) = (Folder::new(), Folder::new());
        let pass = "a horse and a staple".into();
        folder.open().protect(&pass).unwrap();
        other.open().protect(&pass).unwrap();
        let sealed = folder.key();
        let put = |text: &str| fs_err::write(folder.path.join("root.key"), text).unwrap();
        put(&other.key());
        assert!(matches!(folder.open().unlock(&pass), Err(PkiError::KeyMismatch { .. })));
        put(&sealed[..sealed.len() / 2]);
        assert!(matches!(folder.open().unlock(&pass), Err(PkiError::NotUnlocked { .. })));
        fs_err::remove_file(folder.path.join("root.key")).unwrap();
        let authority = folder.open();
        assert_eq!(authority.root_key().unwrap(), RootKey::Away);
        assert!(matches!(authority.unlock(&pass), Err(PkiError::KeyMissing { .. })));
        assert!(matches!(authority.protect(&pass), Err(PkiError::KeyMissing { .. })));
    }

    /// The first intermediate lives 270 days: three times the usual 90.
    #[test]
    fn the_root_is_needed_when_it_is_and_not_before() {
        let authority = Folder::new();
        let authority = authority.open();
        let needs = |below: u32, since: Option<i64>, day: i64| {
            authority.needs_root(below * DAY, since.map(at), at(day))
        };
        assert_eq!(needs(90, None, 1), NeedsRoot::No);
        assert_eq!(needs(90, Some(0), 1), NeedsRoot::No);
        assert_eq!(needs(90, Some(1), 1), NeedsRoot::Must, "made before");
        assert_eq!(needs(80, None, 185), NeedsRoot::Due);
        assert_eq!(needs(90, None, 185), NeedsRoot::Must, "it ends before");
        assert_eq!(needs(1, None, 300), NeedsRoot::Must);
    }
}
