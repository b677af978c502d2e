//! The site's key, and what was the site's before it had one.
//!
//! The key is made when the first mark is sealed or the first plan is kept in a file, never by who only looks. What was marked by
//! a Phoenix that knew no keys is taken over once: when the key is made, it is written down beside it, and crossed out as it is
//! sealed. A folder from which nothing was ever applied has nothing to take over, and one in which that was written down takes
//! nothing more, with its key or without: so a block without a seal that somebody writes into a description is nobody's mark.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use plan::trust::{Old, Trust};
use plan::{Desired, Inventory, SiteKey};
use secrecy::ExposeSecret as _;

use crate::authority::claimed;
use crate::error::Error;
use crate::folders::{made_state, runs, state};

const CODE: &str = "site::key";
/// What to do about a key that is no good.
const AGAIN: &str =
    "put back a copy of it; or remove it, and take the guests over again: phoenix-cli adopt NAME";

/// Where the key is.
pub fn file(root: &Utf8Path) -> Utf8PathBuf {
    secrets(root).join("site.key")
}

fn secrets(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("secrets")
}

/// Where it is written what is still to be sealed. It is no secret, and not lost with them: a key that is made again takes
/// nothing over.
fn old_file(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("take-over.json")
}

/// The site's key; `None` where it has none yet.
///
/// # Errors
/// When it cannot be read, others can read it, or it is no key.
pub fn key(root: &Utf8Path) -> Result<Option<Arc<SiteKey>>, Error> {
    let Some(text) = read(&file(root))? else { return Ok(None) };
    let key = SiteKey::from_text(&text).map_err(|e| unusable(&file(root), &e))?;
    Ok(Some(Arc::new(key)))
}

/// What the site believes to be its own.
///
/// # Errors
/// As [`key`].
pub(crate) fn trust(root: &Utf8Path, desired: &Desired) -> Result<Trust, Error> {
    let key = key(root)?;
    let old = match read(&old_file(root))? {
        Some(text) => serde_json::from_str(&text).map_err(|e| unusable(&old_file(root), &e))?,
        None if key.is_none() && was_applied(root) => {
            Old { guests: desired.guests.values().map(|g| (g.id, g.resource())).collect(), node: true }
        }
        None => Old::default(),
    };
    Ok(Trust::new(&*desired.site, key).with_old(old).with_renamed(desired))
}

/// Whether something was applied from this folder: each run leaves its journal.
fn was_applied(root: &Utf8Path) -> bool {
    fs_err::read_dir(runs(root)).is_ok_and(|mut runs| runs.next().is_some())
}

/// Whether there is no key although the target has what the last one made: with another one, nothing there is the site's any
/// more.
///
/// # Errors
/// When it is so.
pub(crate) fn is_not_lost(trust: &Trust, desired: &Desired, inventory: &Inventory) -> Result<(), Error> {
    let claimed = claimed(desired, inventory).find_map(|guest| guest.claim.as_ref());
    let Some(claim) = claimed.filter(|_| trust.key().is_none()) else { return Ok(()) };
    let what = format!("{} was made with a key of this site that is not here", claim.address);
    Err(Error::failed("site::key-lost", what).hint(format!(
        "copy .phoenix/secrets/site.key from the folder that it was last applied from, or open a sealed copy: \
         phoenix-cli secrets open; only where there is none any more: \
         phoenix-cli adopt {}",
        claim.address.name()
    )))
}

/// What the site believes to be its own, with its key, which is made where there is none yet. What of `inventory` was marked
/// before is then to be taken over.
///
/// # Errors
/// When the key cannot be made or read.
pub(crate) fn with_key(root: &Utf8Path, desired: &Desired, inventory: &Inventory) -> Result<Trust, Error> {
    let found = trust(root, desired)?;
    if found.key().is_some() {
        return Ok(found);
    }
    // First what is to be taken over: cut off between the two, there is no key, and all is as it was. Where that was
    // written down already, it stays: a key that was lost opens nothing again.
    let key = SiteKey::generate().map_err(|e| Error::from_error(CODE, &e))?;
    made_state(root)?;
    private::closed(&secrets(root)).map_err(|e| failed(&e))?;
    private::write_new(&old_file(root), text_of(&of(inventory)).as_bytes()).map_err(|e| failed(&e))?;
    private::write_new(&file(root), key.to_text().expose_secret().as_bytes()).map_err(|e| failed(&e))?;
    // Another run may have been faster.
    trust(root, desired)
}

/// What of an inventory is still to be sealed.
fn of(inventory: &Inventory) -> Old {
    let old = inventory.guests.values().filter(|guest| guest.old);
    let guests = old.filter_map(|guest| Some((guest.id, guest.mark.as_ref()?.address.clone())));
    Old { guests: guests.collect(), node: inventory.reached().old }
}

fn text_of(old: &Old) -> String {
    // A struct of a map with texts and a word always serializes.
    serde_json::to_string(old).unwrap_or_default()
}

/// Crosses out what was sealed, or is gone: these guests, and the node's own.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn taken_over(
    root: &Utf8Path,
    trust: &Trust,
    sealed: impl Fn(u32) -> bool,
    node: bool,
) -> Result<(), Error> {
    let Old { guests, node: open } = trust.old();
    let left: BTreeMap<_, _> = guests.iter().filter(|(id, _)| !sealed(**id)).collect();
    let left = Old {
        guests: left.into_iter().map(|(id, address)| (*id, address.clone())).collect(),
        node: *open && !node,
    };
    if left == *trust.old() {
        return Ok(());
    }
    private::write(&old_file(root), text_of(&left).as_bytes()).map_err(|e| failed(&e))
}

fn unusable(path: &Utf8Path, cause: &dyn std::error::Error) -> Error {
    let mut error = Error::from_error(CODE, cause);
    error.errors.insert(0, format!("{path} cannot be used"));
    error.hint(AGAIN)
}

fn failed(cause: &std::io::Error) -> Error {
    Error::from_error(CODE, cause)
}

/// What is in a file that is its owner's alone; `None` where there is none.
fn read(path: &Utf8Path) -> Result<Option<String>, Error> {
    if fs_err::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = private::read(path).map_err(|e| {
        failed(&e).hint(format!("chmod 600 {path}; if others may have read or changed it: {AGAIN}"))
    })?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use plan::inventory::Guest;
    use plan::{Address, mark};

    use super::*;

    struct Folder {
        _dir: tempfile::TempDir,
        root: Utf8PathBuf,
        desired: Desired,
    }

    impl Folder {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
            Self { _dir: dir, root, desired: crate::sample::desired() }
        }

        /// What is seen with marks that have no seal, of these guests.
        fn seen(&self, guests: &[(u32, &str)]) -> Inventory {
            let mut inventory = Inventory::default();
            for (id, name) in guests {
                let text = mark::render("", &plan::Mark::new("workshop", Address::container(name)));
                let read = mark::parse(&text).unwrap().1;
                let config = Some([("tags".to_owned(), "phoenix".to_owned())].into());
                inventory.guests.insert(*id, Guest { id: *id, read, config, ..Guest::default() });
            }
            inventory.judge(&trust(&self.root, &self.desired).unwrap());
            inventory
        }

        fn ours(&self, guests: &[(u32, &str)]) -> Vec<u32> {
            self.seen(guests).of_site("workshop").map(|guest| guest.id).collect()
        }
    }

    #[test]
    fn what_was_marked_before_is_taken_over_once() {
        let folder = Folder::new();
        let there = [(120, "notes"), (121, "vault"), (122, "notes"), (123, "old")];
        assert_eq!(folder.ours(&there), Vec::<u32>::new(), "nothing was ever applied from here");
        fs_err::create_dir_all(runs(&folder.root).join("2026")).unwrap();
        // What the blueprint declares, with its id, and nothing else.
        assert_eq!(folder.ours(&there), [120, 121]);
        assert_eq!(folder.ours(&[(120, "vault")]), Vec::<u32>::new());

        let seen = folder.seen(&there[..1]);
        let trust = with_key(&folder.root, &folder.desired, &seen).unwrap();
        assert_eq!(trust.old().guests, [(120, Address::container("notes"))].into());
        assert_eq!(folder.ours(&there), [120], "121 was not there when the key was made");
        taken_over(&folder.root, &trust, |id| id == 120, true).unwrap();
        assert_eq!(folder.ours(&there), Vec::<u32>::new());
        // Not even when the key is lost.
        fs_err::remove_file(file(&folder.root)).unwrap();
        assert_eq!(folder.ours(&there), Vec::<u32>::new());
        with_key(&folder.root, &folder.desired, &folder.seen(&there)).unwrap();
        assert_eq!(folder.ours(&there), Vec::<u32>::new());
    }

    #[test]
    fn the_key_is_its_owners_and_stays() {
        let folder = Folder::new();
        assert!(key(&folder.root).unwrap().is_none());
        assert!(
            trust(&folder.root, &folder.desired).unwrap().key().is_none() && !file(&folder.root).exists()
        );
        let made = with_key(&folder.root, &folder.desired, &Inventory::default()).unwrap();
        let name = made.key().unwrap().name();
        let again = with_key(&folder.root, &folder.desired, &Inventory::default()).unwrap();
        assert_eq!(again.key().unwrap().name(), name);
        let mode = |path: &Utf8Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&file(&folder.root)), mode(&secrets(&folder.root))), (0o600, 0o700));
        for (text, mode) in [("zz", 0o600), (&*"00".repeat(32), 0o640)] {
            fs_err::write(file(&folder.root), text).unwrap();
            fs_err::set_permissions(file(&folder.root), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(key(&folder.root).unwrap_err().code, "site::key");
        }
        fs_err::remove_file(file(&folder.root)).unwrap();
        fs_err::os::unix::fs::symlink("/dev/null", file(&folder.root)).unwrap();
        assert_eq!(key(&folder.root).unwrap_err().code, "site::key");
    }
}
