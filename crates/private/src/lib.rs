//! Folders and files that are this user's alone: what lies in a place where others may write is not what was put there.
//!
//! What is trusted later (sockets, locks, programs that were checked) goes into a [`folder`]. What is only to be read by
//! nobody else (journals) goes into one that is [`closed`], which puts right what is found otherwise.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::OFlags;

/// What others may do, among the bits of a mode.
const OTHERS: u32 = 0o077;
/// That others may write.
const WRITE: u32 = 0o022;

fn wrong(path: &Utf8Path, what: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("{path} {what}"))
}

fn is_ours(found: &Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

/// Makes it with mode 0700, and the folders that it is in; `None` where it is there already.
fn make(path: &Utf8Path) -> Result<Option<()>> {
    let make = || std::fs::DirBuilder::new().mode(0o700).create(path);
    let made = match make() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs_err::create_dir_all(parent)?;
            }
            make()
        }
        other => other,
    };
    match made {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(Error::new(error.kind(), format!("cannot make {path}: {error}"))),
    }
}

/// What is there: a folder itself, and no link to one.
fn found(path: &Utf8Path) -> Result<Metadata> {
    let found = fs_err::symlink_metadata(path)?;
    if found.is_dir() { Ok(found) } else { Err(wrong(path, "is no folder")) }
}

/// Makes a folder that is its owner's alone, or sees that it is. One in which others could have put something is not used:
/// it is theirs as much as ours.
///
/// # Errors
/// When it is somebody else's, or others may write there, or it cannot be made.
pub fn folder(path: &Utf8Path) -> Result<()> {
    if make(path)?.is_some() {
        return Ok(());
    }
    let found = found(path)?;
    if !is_ours(&found) {
        return Err(wrong(path, "belongs to another user"));
    }
    if found.mode() & WRITE != 0 {
        return Err(wrong(path, "can be written by others"));
    }
    if found.mode() & OTHERS != 0 {
        fs_err::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a folder that nobody else can read, or puts right one that others can.
///
/// # Errors
/// When it is no folder, or is somebody else's who lets others read it, or it cannot be made.
pub fn closed(path: &Utf8Path) -> Result<()> {
    if make(path)?.is_some() { Ok(()) } else { without(path, OTHERS) }
}

/// Makes a folder that nobody else can write to, or puts right one where others can. They may go on reading.
///
/// # Errors
/// As [`closed`].
pub fn kept(path: &Utf8Path) -> Result<()> {
    match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs_err::create_dir_all(path)?,
        _ => {}
    }
    without(path, WRITE)
}

fn without(path: &Utf8Path, bits: u32) -> Result<()> {
    let mode = found(path)?.mode();
    if mode & bits == 0 {
        return Ok(());
    }
    let mode = mode & 0o7777 & !bits;
    fs_err::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => wrong(path, "belongs to another user, and others may get at it"),
        _ => error,
    })
}

/// Opens a file of this user's, and says what it is: links are not followed.
fn open_own(how: &mut OpenOptions, path: &Utf8Path) -> Result<(File, Metadata)> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = how
        .custom_flags(i32::from_ne_bytes(flags.to_ne_bytes()))
        .open(path)
        .map_err(|error| Error::new(error.kind(), format!("cannot open {path}: {error}")))?;
    // Of the opened file, so that it cannot be another one by now.
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(wrong(path, "is no file"));
    }
    // Root may be at work in the folder of whoever keeps the site.
    if !is_ours(&found) && !rustix::process::geteuid().is_root() {
        return Err(wrong(path, "belongs to another user"));
    }
    Ok((file, found))
}

/// Reads a text that nobody else could read or write. Links are not followed.
///
/// # Errors
/// When others can get at it, or it is no file with a text.
pub fn read(path: &Utf8Path) -> Result<String> {
    let (mut file, found) = open_own(OpenOptions::new().read(true), path)?;
    if found.mode() & OTHERS != 0 {
        return Err(wrong(path, "can be read or written by others"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file that nobody else can read, as a whole or not at all, in the place of what was there.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    let new = unfinished(path);
    let written = create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs_err::rename(&new, path)
    });
    if written.is_err() {
        // What is left of it is of no use; the first error tells why.
        let _ = fs_err::remove_file(&new);
    }
    written
}

/// Writes a file that nobody else can read where there is none, as a whole; whether it did. Of two that write it at the same
/// time, one does.
///
/// # Errors
/// When it cannot be written.
pub fn write_new(path: &Utf8Path, bytes: &[u8]) -> Result<bool> {
    let new = unfinished(path);
    let made = create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        // The name is given at the end, and only where nobody has it.
        match std::fs::hard_link(&new, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(Error::new(error.kind(), format!("cannot write {path}: {error}"))),
        }
    });
    // It has its own name by now, or is of no use.
    let _ = fs_err::remove_file(&new);
    if let (Ok(true), Some(folder)) = (&made, path.parent()) {
        fs_err::File::open(folder)?.sync_all()?;
    }
    made
}

/// A name beside it that nobody else uses. A folder where others may put something else under that name is no place for it,
/// and then it is not written.
fn unfinished(path: &Utf8Path) -> Utf8PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default();
    path.with_file_name(format!(".new-{}-{number}-{name}", std::process::id()))
}

fn create(new: &Utf8Path) -> Result<File> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(new);
    match open() {
        // Of a process that had our number and was killed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs_err::remove_file(new)?;
            open()
        }
        other => other,
    }
    .map_err(|error| Error::new(error.kind(), format!("cannot write {new}: {error}")))
}

/// Opens a file to lock, which nobody else can: it is made where it is missing. Links are not followed.
///
/// # Errors
/// When it is no file, or somebody else's, or others may write to it.
pub fn lock_file(path: &Utf8Path) -> Result<File> {
    let mut made = OpenOptions::new();
    let (file, found) = open_own(made.create(true).truncate(false).read(true).write(true).mode(0o600), path)?;
    if found.mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    fn mode(path: &Utf8Path) -> u32 {
        fs_err::symlink_metadata(path).unwrap().mode() & 0o777
    }

    fn set(path: &Utf8Path, mode: u32) {
        fs_err::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_made_once() {
        let (_folder, root) = root();
        let file = root.join("key");
        assert!(write_new(&file, b"first").unwrap());
        assert!(!write_new(&file, b"second").unwrap());
        assert_eq!((fs_err::read(&file).unwrap(), mode(&file)), (b"first".to_vec(), 0o600));
        let left: Vec<_> = fs_err::read_dir(&root).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(write_new(&root.join("none/key"), b"x").is_err());
    }

    #[test]
    fn a_folder_is_private_or_refused() {
        let (_folder, root) = root();
        let new = root.join("a/b");
        folder(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        set(&new, 0o755);
        folder(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        set(&new, 0o770);
        assert!(folder(&new).unwrap_err().to_string().contains("written by others"));
        let link = root.join("link");
        fs_err::os::unix::fs::symlink(&root, &link).unwrap();
        assert!(folder(&link).unwrap_err().to_string().contains("no folder"));
        assert!(closed(&link).unwrap_err().to_string().contains("no folder"));
        if rustix::process::geteuid().is_root() {
            let other = root.join("other");
            folder(&other).unwrap();
            std::os::unix::fs::chown(&other, Some(65_534), None).unwrap();
            assert!(folder(&other).unwrap_err().to_string().contains("another user"));
        }
    }

    #[test]
    fn what_others_may_read_or_write_is_put_right() {
        let (_folder, root) = root();
        let (runs, state) = (root.join("state/runs"), root.join("state"));
        closed(&runs).unwrap();
        assert_eq!(mode(&runs), 0o700);
        set(&runs, 0o777);
        closed(&runs).unwrap();
        assert_eq!(mode(&runs), 0o700);
        set(&state, 0o775);
        kept(&state).unwrap();
        assert_eq!(mode(&state), 0o755);
        kept(&root.join("new/one")).unwrap();
        assert_eq!(mode(&root.join("new/one")) & WRITE, 0);
    }

    #[test]
    fn a_file_is_written_whole_and_nobody_else_reads_it() {
        let (_folder, root) = root();
        let (file, other) = (root.join("file"), root.join("other"));
        fs_err::write(&other, "theirs").unwrap();
        fs_err::os::unix::fs::symlink(&other, &file).unwrap();
        write(&file, b"ours").unwrap();
        assert_eq!((fs_err::read_to_string(&file).unwrap(), mode(&file)), ("ours".to_owned(), 0o600));
        assert_eq!(fs_err::read_to_string(&other).unwrap(), "theirs", "a link is replaced, not followed");
        assert_eq!(fs_err::read_dir(&root).unwrap().count(), 2, "nothing unfinished is left");
        assert!(write(&root.join("none/file"), b"").is_err());
    }

    #[test]
    fn a_lock_is_no_link_and_no_pipe() {
        let (_folder, root) = root();
        let lock = root.join("lock");
        lock_file(&lock).unwrap().try_lock().unwrap();
        assert_eq!(mode(&lock), 0o600);
        set(&lock, 0o666);
        lock_file(&lock).unwrap();
        assert_eq!(mode(&lock), 0o600);
        let link = root.join("link");
        fs_err::os::unix::fs::symlink(&lock, &link).unwrap();
        assert!(lock_file(&link).is_err());
        assert!(lock_file(&root).is_err());
    }
}
