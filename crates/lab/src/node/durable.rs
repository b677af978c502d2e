//! Files of the node that outlive a power cut: a node's own are in a database that writes each change through (pmxcfs).

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};

/// Writes a file whole or not at all; it is on the disk when this returns.
pub(crate) fn write_file(file: &Utf8Path, content: &[u8], mode: u32) -> io::Result<()> {
    take_place(&beside(file, content, mode)?, file)
}

/// Writes what is to take a file's place beside it; where that is.
pub(crate) fn beside(file: &Utf8Path, content: &[u8], mode: u32) -> io::Result<Utf8PathBuf> {
    let part = Utf8PathBuf::from(format!("{file}.tmp"));
    let _ = std::fs::remove_file(&part);
    let mut open = std::fs::OpenOptions::new();
    let mut opened = open.write(true).create_new(true).mode(mode).open(&part)?;
    opened.write_all(content)?;
    opened.sync_all()?;
    Ok(part)
}

/// Has what [`beside`] wrote take the file's place.
pub(crate) fn take_place(part: &Utf8Path, file: &Utf8Path) -> io::Result<()> {
    fs_err::rename(part, file)?;
    // That it has this name is a change of its folder.
    fs_err::File::open(file.parent().unwrap_or(file))?.sync_all()
}
