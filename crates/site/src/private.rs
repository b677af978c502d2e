//! Files that only their owner can read, each whole or not there at all.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::os::unix::fs::OpenOptionsExt as _;

/// What a file holds, and its mode.
pub(crate) struct Content {
    pub text: String,
    pub mode: u32,
}

/// What is in a file; `None` where there is none. A link is none of these files.
pub(crate) fn read(path: &Utf8Path) -> io::Result<Option<Content>> {
    let meta = match fs_err::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !meta.is_file() {
        return Err(io::Error::other(format!("{path} is no file")));
    }
    let mode = meta.permissions().mode() & 0o7777;
    Ok(Some(Content { text: fs_err::read_to_string(path)?, mode }))
}

/// Writes a file; what was there is replaced at once.
pub(crate) fn replace(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let part = part(path, bytes)?;
    fs_err::rename(&part, path)
}

/// Writes a file where there is none; one that is there stays as it is.
pub(crate) fn create(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let part = part(path, bytes)?;
    // Unlike a rename it fails where the name is taken.
    let linked = fs_err::hard_link(&part, path);
    fs_err::remove_file(&part)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// The same content beside it, in a file that was not there: nobody else's is written to, or followed.
fn part(path: &Utf8Path, bytes: &[u8]) -> io::Result<Utf8PathBuf> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let name = format!(".{}.{}.part", path.file_name().unwrap_or_default(), std::process::id());
    let part = path.with_file_name(name);
    match fs_err::remove_file(&part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(part)
}
