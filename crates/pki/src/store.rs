//! The authority's folder: files that only their owner can read, written so that a kill leaves the old or the new
//! content and never a part, and so that a key that exists is never replaced by accident.

use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::os::unix::fs::OpenOptionsExt;
use secrecy::{ExposeSecret, SecretString};

use crate::error::PkiError;

/// Mode of every file in the folder.
const FILE_MODE: u32 = 0o600;
/// Mode of the folder.
const FOLDER_MODE: u32 = 0o700;
/// What the names of unfinished files begin with.
const UNFINISHED: &str = ".unfinished-";

/// The folder that holds `root.key`, `root.crt`, `intermediate.key` and `intermediate.crt`.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: Utf8PathBuf,
}

fn io_error(doing: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> PkiError {
    move |source| PkiError::Io { doing, path: path.to_owned(), source }
}

impl Store {
    /// Makes the folder where it is absent, refuses one that others can enter, and removes what a kill left half written.
    pub(crate) fn open(folder: &Utf8Path) -> Result<Self, PkiError> {
        if let Some(parent) = folder.parent() {
            fs_err::create_dir_all(parent).map_err(io_error("make the folder", parent))?;
        }
        let mut builder = std::fs::DirBuilder::new();
        match builder.mode(FOLDER_MODE).create(folder) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io_error("make the folder", folder)(e)),
        }
        let store = Self::look(folder)?
            .ok_or_else(|| io_error("read", folder)(io::Error::new(io::ErrorKind::NotFound, "it is gone")))?;
        for entry in fs_err::read_dir(folder).map_err(io_error("read", folder))? {
            let entry = entry.map_err(io_error("read", folder))?;
            let name = entry.file_name();
            let unfinished = name.to_str().and_then(|name| name.strip_prefix(UNFINISHED));
            if unfinished.is_some_and(|rest| !of_another(rest)) {
                fs_err::remove_file(entry.path()).map_err(io_error("tidy", folder))?;
            }
        }
        Ok(store)
    }

    /// The folder where there is one, for who only looks; refuses one that others can enter.
    pub(crate) fn look(folder: &Utf8Path) -> Result<Option<Self>, PkiError> {
        let meta = match fs_err::symlink_metadata(folder) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("read", folder)(e)),
        };
        if !meta.is_dir() {
            return Err(PkiError::WrongKind { path: folder.to_owned(), wanted: "folder" });
        }
        check_mode(folder, &meta, FOLDER_MODE)?;
        Ok(Some(Self { folder: folder.to_owned() }))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// Where a file of the folder is.
    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        self.folder.join(name)
    }

    /// Reads a file, `None` where there is none. Refuses one that others can read, and links.
    pub(crate) fn read(&self, name: &str) -> Result<Option<SecretString>, PkiError> {
        let path = self.path(name);
        let meta = match fs_err::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error("read", &path)(e)),
        };
        if !meta.is_file() {
            return Err(PkiError::WrongKind { path, wanted: "regular file" });
        }
        check_mode(&path, &meta, FILE_MODE)?;
        let text = fs_err::read_to_string(&path).map_err(io_error("read", &path))?;
        Ok(Some(text.into()))
    }

    /// Writes a new file; an error where one of that name exists.
    pub(crate) fn create(&self, name: &str, content: &SecretString) -> Result<(), PkiError> {
        let path = self.path(name);
        let unfinished = self.write_unfinished(name, content)?;
        // A hard link, because unlike a rename it fails where the name is taken.
        let linked = fs_err::hard_link(&unfinished, &path).map_err(io_error("write", &path));
        fs_err::remove_file(&unfinished).map_err(io_error("tidy", &unfinished))?;
        linked?;
        self.sync()
    }

    /// Writes a file, replacing one of that name in one go.
    pub(crate) fn replace(&self, name: &str, content: &SecretString) -> Result<(), PkiError> {
        let path = self.path(name);
        let unfinished = self.write_unfinished(name, content)?;
        fs_err::rename(&unfinished, &path).map_err(io_error("write", &path))?;
        self.sync()
    }

    /// Removes a file, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<(), PkiError> {
        let path = self.path(name);
        match fs_err::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(e)),
            _ => self.sync(),
        }
    }

    fn write_unfinished(&self, name: &str, content: &SecretString) -> Result<Utf8PathBuf, PkiError> {
        let path = self.path(&format!("{UNFINISHED}{}-{name}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file =
                fs_err::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
            file.write_all(content.expose_secret().as_bytes())?;
            file.sync_all()
        };
        write().map_err(io_error("write", &path))?;
        Ok(path)
    }

    fn sync(&self) -> Result<(), PkiError> {
        fs_err::File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("write", &self.folder))
    }
}

/// Whether an unfinished file, by what follows in its name, is being written by another process: it is that one's to finish.
fn of_another(rest: &str) -> bool {
    let process = rest.split('-').next().and_then(|number| number.parse::<u32>().ok());
    process
        .is_some_and(|id| id != std::process::id() && std::path::Path::new(&format!("/proc/{id}")).exists())
}

fn check_mode(path: &Utf8Path, meta: &std::fs::Metadata, wanted: u32) -> Result<(), PkiError> {
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PkiError::TooOpen { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_exists_is_not_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join("a/b")).unwrap();
        let store = Store::open(&folder).unwrap();
        store.create("root.key", &"one".to_owned().into()).unwrap();
        let error = store.create("root.key", &"two".to_owned().into()).unwrap_err();
        assert!(matches!(error, PkiError::Io { doing: "write", .. }), "{error:?}");
        assert_eq!(store.read("root.key").unwrap().unwrap().expose_secret(), "one");
        assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn what_a_kill_left_is_tidied() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join("a")).unwrap();
        Store::open(&folder).unwrap();
        // No process has such a number (proc(5), pid_max); and this one is not at it any more.
        for killed in ["4194305", &std::process::id().to_string(), "nobody"] {
            fs_err::write(folder.join(format!(".unfinished-{killed}-root.key")), "half").unwrap();
        }
        // Another one that runs finishes what it is writing.
        let other = folder.join(".unfinished-1-signed.json");
        fs_err::write(&other, "half").unwrap();
        Store::open(&folder).unwrap();
        let left: Vec<_> = fs_err::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [other.into_std_path_buf()]);
    }

    #[test]
    fn a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join("a")).unwrap();
        let store = Store::open(&folder).unwrap();
        fs_err::os::unix::fs::symlink("/etc/hostname", folder.join("root.key")).unwrap();
        assert!(matches!(store.read("root.key"), Err(PkiError::WrongKind { .. })));
    }
}
