//! The sealed copy of what cannot be made again: all that is below `.phoenix/secrets`, as one text in the format of age.
//!
//! Beside the secrets it is remembered which copies were sealed of what (`sealed.json`): by the copy's own fingerprint and that
//! of what is in it. So it is known whether a copy is of what is there now, without opening it, and one that somebody else has
//! put in its place is never written over by itself. That file is no secret's place but among them: a fingerprint of what is
//! weak could be tried against guesses.

mod content;
mod record;

use std::io::Read as _;

use blueprint::model::Blueprint;
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sealed::{Key, Recipient, SealedError, Takes};
use secrecy::{ExposeSecret as _, SecretString};

use self::content::{content, fingerprint, fingerprint_of, parsed, text_of};
use self::record::{Record, Sealing, lock, remember, remembered};
use crate::error::Error;
use crate::folders::{made_state, state};

/// Where a copy is where nothing is said.
const USUAL: &str = "secrets.age";

/// Which copy there is of a site's secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// There are no secrets yet.
    NoSecrets,
    /// None was ever made, and none is declared.
    Never,
    /// This one.
    Copy {
        /// Where, below the site's folder where it is there.
        file: Utf8PathBuf,
        /// When it was sealed or opened here, where that is known.
        at: Option<Timestamp>,
        /// How it is.
        state: CopyState,
    },
}

/// How a sealed copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyState {
    /// It has all that is there.
    Current,
    /// Something has changed since.
    Old,
    /// It is not there.
    Gone,
    /// It was sealed somewhere else, so nobody knows what is in it.
    Another,
}

/// What a copy is sealed with.
#[derive(Debug)]
pub enum With<'a> {
    /// A passphrase.
    Passphrase(&'a SecretString),
    /// The keys that the blueprint declares.
    Declared,
}

/// A copy that was opened.
#[derive(Debug)]
pub struct Opened {
    /// What was put back, below `.phoenix/secrets`.
    pub back: Vec<Utf8PathBuf>,
    /// How much was there already, and is the same.
    pub same: usize,
}

/// Where the secrets are.
fn folder(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("secrets")
}

/// Which copy there is: the declared one, or the last that was made from here.
///
/// # Errors
/// When the secrets, or the copy, cannot be read.
pub fn kept(blueprint: &Blueprint) -> Result<Kept, Error> {
    let content = content(&blueprint.root)?;
    if content.is_empty() {
        return Ok(Kept::NoSecrets);
    }
    let record = remembered(&blueprint.root)?;
    let last = || {
        let last = |all: &[Sealing]| all.last().map(|one| one.at);
        record.iter().max_by_key(|(_, all)| last(all)).map(|(file, _)| file.clone())
    };
    let Some(file) = blueprint.site.sealed.as_ref().map(|sealed| sealed.file.clone()).or_else(last) else {
        return Ok(Kept::Never);
    };
    let (state, at) = state_of(&blueprint.root, &file, &record, &fingerprint_of(&content))?;
    Ok(Kept::Copy { file, at, state })
}

/// How the copy in a file is, and since when.
fn state_of(
    root: &Utf8Path,
    file: &Utf8Path,
    record: &Record,
    content: &str,
) -> Result<(CopyState, Option<Timestamp>), Error> {
    let known = record.get(file).map(Vec::as_slice).unwrap_or_default();
    let time = |one: &Sealing| Timestamp::from_second(one.at).ok();
    let Some(text) = read(&root.join(file))? else {
        return Ok((CopyState::Gone, None));
    };
    let own = fingerprint(&[&String::from_utf8_lossy(&text)]);
    Ok(match known.iter().rev().find(|one| one.file == own) {
        None => (CopyState::Another, None),
        Some(one) if one.content == content => (CopyState::Current, time(one)),
        Some(one) => (CopyState::Old, time(one)),
    })
}

/// Seals the declared copy again where something has changed since, and says where it is; nothing where there is nothing to
/// do, or a copy of somebody else's is in its place.
///
/// # Errors
/// When it cannot be written, or the secrets cannot be read.
pub fn again(blueprint: &Blueprint) -> Result<Option<Utf8PathBuf>, Error> {
    let Some(declared) = &blueprint.site.sealed else { return Ok(None) };
    let content = content(&blueprint.root)?;
    if content.is_empty() {
        return Ok(None);
    }
    let record = remembered(&blueprint.root)?;
    let (state, _) = state_of(&blueprint.root, &declared.file, &record, &fingerprint_of(&content))?;
    let same_keys = || {
        let last = record.get(&declared.file).and_then(|all| all.last());
        last.is_some_and(|last| last.to.is_empty() || last.to == declared.to)
    };
    match state {
        CopyState::Another => return Ok(None),
        CopyState::Current if same_keys() => return Ok(None),
        _ => {}
    }
    seal(blueprint, &declared.file, &With::Declared, true)?;
    Ok(Some(declared.file.clone()))
}

/// Where a copy is that nothing else was said of.
#[must_use]
pub fn usual_file(blueprint: &Blueprint) -> Utf8PathBuf {
    blueprint.site.sealed.as_ref().map_or_else(|| USUAL.into(), |sealed| sealed.file.clone())
}

/// Seals a copy into a file, as a whole or not at all. What somebody else has put there is written over only with
/// `replace`. How many files are in it.
///
/// # Errors
/// When there are no secrets, the copy is not one of ours, no keys are declared, or it cannot be written.
pub fn seal(blueprint: &Blueprint, file: &Utf8Path, with: &With<'_>, replace: bool) -> Result<usize, Error> {
    let root = &blueprint.root;
    let content = content(root)?;
    if content.is_empty() {
        return Err(Error::failed("sealed::nothing", "there are no secrets yet that could be sealed")
            .hint("phoenix-cli up makes them with the first guest"));
    }
    let _one_at_a_time = lock(root)?;
    let mut record = remembered(root)?;
    let code = fingerprint_of(&content);
    let (state, _) = state_of(root, file, &record, &code)?;
    if state == CopyState::Another && !replace {
        let what = format!("{file} is there, and was not sealed from this folder");
        return Err(Error::usage("sealed::another", what).hint(
            "phoenix-cli secrets open tells whether it holds the same; to write over it all the same: --replace",
        ));
    }
    let (text, to) = (
        text_of(blueprint, &content),
        match with {
            With::Passphrase(_) => Vec::new(),
            With::Declared => {
                blueprint.site.sealed.as_ref().map(|sealed| sealed.to.clone()).unwrap_or_default()
            }
        },
    );
    let sealed = match with {
        With::Passphrase(passphrase) => sealed::with_passphrase(&text, passphrase),
        With::Declared => {
            let keys: Result<Vec<Recipient>, _> = to.iter().map(|key| key.parse()).collect();
            keys.and_then(|keys| sealed::to_recipients(&text, &keys))
        }
    };
    let sealed = sealed.map_err(|e| not_written(file, &e))?;
    // Remembered first: cut off in between, the copy that is there is still a known one.
    let one = Sealing { file: fingerprint(&[&sealed]), content: code, to, at: Timestamp::now().as_second() };
    remember(root, &mut record, file, one)?;
    private::write(&root.join(file), sealed.as_bytes()).map_err(|e| not_written(file, &e))?;
    Ok(content.len())
}

/// What a sealed copy opens with.
///
/// # Errors
/// When there is none, or it is none.
pub fn takes(blueprint: &Blueprint, file: &Utf8Path) -> Result<Takes, Error> {
    sealed::takes(&sealed_text(blueprint, file)?).map_err(|e| refused(file, &e))
}

/// Puts back what is in a sealed copy. What is there already is never written over: where it differs, nothing is done.
///
/// # Errors
/// When it cannot be opened, is of another site, differs from what is there, or cannot be written.
pub fn open(blueprint: &Blueprint, file: &Utf8Path, key: &Key) -> Result<Opened, Error> {
    let root = &blueprint.root;
    let bytes = sealed_text(blueprint, file)?;
    let text = sealed::open(&bytes, key).map_err(|e| refused(file, &e))?;
    let wanted = parsed(blueprint, file, &text)?;
    made_state(root)?;
    private::closed(&folder(root)).map_err(|e| not_back(&folder(root), &e))?;
    let _one_at_a_time = lock(root)?;
    let there = content(root)?;
    let differ: Vec<&str> = wanted
        .iter()
        .filter(|(path, text)| {
            there.get(*path).is_some_and(|there| there.expose_secret() != text.expose_secret())
        })
        .map(|(path, _)| path.as_str())
        .collect();
    if !differ.is_empty() {
        let what = format!(
            "what is here differs from what is in {file}: {} in .phoenix/secrets; nothing was put back",
            differ.join(", ")
        );
        return Err(Error::failed("sealed::differs", what).hint(
            "move .phoenix/secrets away, and open it again; what is not needed any more is yours to remove",
        ));
    }
    let mut back = Vec::new();
    for (path, text) in wanted.iter().filter(|(path, _)| !there.contains_key(*path)) {
        let full = folder(root).join(path);
        let mut above = folder(root);
        for part in path.parent().into_iter().flat_map(Utf8Path::components) {
            above.push(part.as_str());
            private::closed(&above).map_err(|e| not_back(&above, &e))?;
        }
        let made = private::write_new(&full, text.expose_secret().as_bytes());
        if !made.map_err(|e| not_back(&full, &e))? {
            let what = format!("{full} came to be meanwhile");
            return Err(Error::failed("sealed::not-back", what).hint("open it again"));
        }
        back.push(path.clone());
    }
    // From here on it is known what is in it.
    let mut record = remembered(root)?;
    let one = Sealing {
        file: fingerprint(&[&String::from_utf8_lossy(&bytes)]),
        content: fingerprint_of(&wanted),
        to: Vec::new(),
        at: Timestamp::now().as_second(),
    };
    remember(root, &mut record, &below(root, file), one)?;
    Ok(Opened { same: wanted.len() - back.len(), back })
}

/// A file as the blueprint would name it: below the site's folder where it is there.
fn below(root: &Utf8Path, file: &Utf8Path) -> Utf8PathBuf {
    file.strip_prefix(root).unwrap_or(file).to_owned()
}

fn not_back(path: &Utf8Path, cause: &dyn std::error::Error) -> Error {
    let mut error = Error::from_error("sealed::not-back", cause);
    error.errors.insert(0, format!("{path} cannot be put back"));
    error.hint("what was put back already stays; the same command goes on")
}

fn not_written(file: &Utf8Path, cause: &dyn std::error::Error) -> Error {
    let mut error = Error::from_error("sealed::not-written", cause);
    error.errors.insert(0, format!("the sealed copy {file} cannot be written"));
    error.hint("the copy of before is as it was; once that is put right: phoenix-cli secrets seal")
}

/// Why a copy cannot be opened.
fn refused(file: &Utf8Path, cause: &SealedError) -> Error {
    let (code, hint) = match cause {
        SealedError::WrongPassphrase => ("sealed::wrong-key", "nothing was put back; try it again"),
        SealedError::WrongIdentity | SealedError::BadIdentity { .. } => {
            ("sealed::wrong-key", "give the private key of one that it was sealed to: --identity FILE")
        }
        SealedError::LockedIdentity => {
            ("sealed::wrong-key", "run it on a terminal, where the passphrase is asked for")
        }
        SealedError::TakesPassphrase => ("sealed::wrong-key", "leave --identity out"),
        SealedError::TakesIdentity => {
            ("sealed::wrong-key", "phoenix-cli secrets open --identity ~/.ssh/id_ed25519")
        }
        _ => ("sealed::damaged", "take an earlier copy, e.g. from version control"),
    };
    let mut error = Error::from_error(code, cause);
    error.errors.insert(0, format!("{file} cannot be opened"));
    error.hint(hint)
}

/// The bytes of a sealed copy, which are not too many.
fn sealed_text(blueprint: &Blueprint, file: &Utf8Path) -> Result<Vec<u8>, Error> {
    read(&blueprint.root.join(file))?.ok_or_else(|| {
        Error::usage("sealed::unreadable", format!("there is no {file}"))
            .hint("name the copy that `phoenix-cli secrets seal` or a run has written")
    })
}

/// The bytes of a file that anybody may have written; `None` where there is none.
fn read(path: &Utf8Path) -> Result<Option<Vec<u8>>, Error> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::from_error("sealed::unreadable", &e)),
    };
    let mut bytes = Vec::new();
    file.take(sealed::MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::from_error("sealed::unreadable", &e))?;
    if bytes.len() as u64 > sealed::MOST {
        return Err(refused(path, &SealedError::TooLarge));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
