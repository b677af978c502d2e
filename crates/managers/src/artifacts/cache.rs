//! The cache: what an artifact holds, under its SHA-256, and an index from what is pinned to that sum.
//!
//! ```text
//! artifacts/<sha256>                               the program
//! artifacts/index/<name>@<version>+<pin>-<arch>    a line: the sha256
//! artifacts/locks/…, artifacts/building/…          work in progress
//! ```
//!
//! A mirror has the same shape and is only read. What is in either is believed only when its sum is right, every time.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::time::{Instant, sleep};

use super::error::Error;
use super::list::Sha256Sum;

/// The longest another run is waited for: longer than the longest build.
const BUSY: Duration = Duration::from_mins(60);

/// What an artifact is filed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is made of.
    pub pin: String,
    /// For which processors, as Go calls them: `amd64`.
    pub arch: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}+{}-{}", self.name, self.version, self.pin, self.arch)
    }
}

/// A program that is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// Its SHA-256.
    pub sha256: Sha256Sum,
    /// Where it is.
    pub path: Utf8PathBuf,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("sha256", &self.sha256)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// The cache of this machine, and perhaps a mirror that is looked at first.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: Utf8PathBuf,
    mirror: Option<Utf8PathBuf>,
}

/// Held while an artifact is obtained; gone with the process that holds it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: fs_err::File,
}

impl Cache {
    /// In this folder, which is made when it is needed.
    pub fn new(folder: impl Into<Utf8PathBuf>, mirror: Option<Utf8PathBuf>) -> Self {
        Self { folder: folder.into(), mirror }
    }

    /// Where it is.
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// Where it is, without a look at what it holds: path and size in bytes.
    pub fn look(&self, key: &Key) -> Option<(Utf8PathBuf, u64)> {
        self.folders().find_map(|folder| {
            let path = folder.join(indexed(folder, key).ok()??.as_str());
            let size = fs_err::metadata(&path).ok()?.len();
            Some((path, size))
        })
    }

    /// What is filed under `key`, with its sum checked. What is damaged does not count; `tell` hears of it.
    pub(super) fn find(&self, key: &Key, tell: &dyn Fn(String)) -> Result<Option<Found>, Error> {
        for folder in self.folders() {
            // Whoever may write there could give a program and its sum.
            if *folder == self.folder && folder.exists() {
                private::folder(folder)?;
            }
            let Some(sha256) = indexed(folder, key)? else { continue };
            let path = folder.join(sha256.as_str());
            let bytes = match fs_err::read(&path) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                other => other?,
            };
            if Sha256Sum::of(&bytes) == sha256 {
                return Ok(Some(Found { sha256, path, bytes }));
            }
            tell(format!("{path} is damaged and not used"));
        }
        Ok(None)
    }

    /// Files `bytes` under `key`: complete, or not at all.
    pub(super) fn keep(&self, key: &Key, bytes: Vec<u8>) -> Result<Found, Error> {
        let sha256 = Sha256Sum::of(&bytes);
        let path = self.folder.join(sha256.as_str());
        private::folder(&self.folder)?;
        replace(&path, &bytes)?;
        fs_err::create_dir_all(self.folder.join("index"))?;
        replace(&self.folder.join("index").join(key.to_string()), format!("{sha256}\n").as_bytes())?;
        Ok(Found { sha256, path, bytes })
    }

    /// A folder for making what is filed under `key`, empty. Only for who holds its lock.
    pub(super) fn workplace(&self, key: &Key) -> Result<Utf8PathBuf, Error> {
        private::folder(&self.folder)?;
        let folder = self.folder.join("building").join(key.to_string());
        match fs_err::remove_dir_all(&folder) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
            _ => fs_err::create_dir_all(&folder)?,
        }
        Ok(folder)
    }

    /// The right to obtain what is filed under `key`: one at a time, over all processes of this machine.
    pub(super) async fn lock(&self, key: &Key, tell: &(dyn Fn(String) + Send + Sync)) -> Result<Lock, Error> {
        private::folder(&self.folder)?;
        let folder = self.folder.join("locks");
        fs_err::create_dir_all(&folder)?;
        let path = folder.join(key.to_string());
        let file = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let begin = Instant::now();
        let mut told = false;
        loop {
            match file.file().try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            if begin.elapsed() > BUSY {
                return Err(Error::Busy { name: key.name.clone(), limit: BUSY });
            }
            if !told {
                tell(format!("waiting for another run that obtains {} {}", key.name, key.version));
                told = true;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn folders(&self) -> impl Iterator<Item = &Utf8Path> {
        self.mirror.iter().chain([&self.folder]).map(Utf8PathBuf::as_path)
    }
}

/// The sum that a folder's index has; none where the line is none, which a cut-off write cannot leave but a person can.
fn indexed(folder: &Utf8Path, key: &Key) -> Result<Option<Sha256Sum>, Error> {
    match fs_err::read_to_string(folder.join("index").join(key.to_string())) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// A whole file in the place of another, or none. Two processes may do it at once.
fn replace(path: &Utf8Path, bytes: &[u8]) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default();
    let new = path.with_file_name(format!(".new-{}-{name}", std::process::id()));
    let written = fs_err::File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs_err::rename(&new, path));
    if moved.is_err() {
        // What is left of it is of no use; the first error tells why.
        let _ = fs_err::remove_file(&new);
    }
    Ok(moved?)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn key(pin: &str) -> Key {
        Key { name: "x".into(), version: "1".into(), pin: pin.into(), arch: "amd64".into() }
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).expect("UTF-8");
        (dir, path)
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_is_not() {
        let (_dir, path) = folder();
        let cache = Cache::new(path.join("artifacts"), None);
        let told = Mutex::new(Vec::new());
        let tell = |text: String| told.lock().expect("a list").push(text);
        assert_eq!(cache.find(&key("a"), &tell).expect("readable"), None);
        fs_err::create_dir_all(cache.folder()).expect("a folder");
        let kept = cache.keep(&key("a"), b"program".to_vec()).expect("kept");
        assert_eq!(cache.find(&key("a"), &tell).expect("readable"), Some(kept.clone()));
        assert_eq!(cache.look(&key("a")), Some((kept.path.clone(), 7)));
        assert_eq!(cache.find(&key("b"), &tell).expect("readable"), None);
        // A second of the same content is the same file.
        assert_eq!(cache.keep(&key("b"), b"program".to_vec()).expect("kept").path, kept.path);
        let index = cache.folder().join("index").join("x@1+a-amd64");
        assert_eq!(fs_err::read_to_string(&index).expect("a file"), format!("{}\n", kept.sha256));

        // P-75: what is in the cache is believed only when its sum is right.
        fs_err::write(&kept.path, b"evil").expect("written");
        assert_eq!(cache.find(&key("a"), &tell).expect("readable"), None);
        assert_eq!(told.lock().expect("a list")[..], [format!("{} is damaged and not used", kept.path)]);
        fs_err::write(&index, "../../etc/passwd").expect("written");
        assert_eq!(cache.find(&key("a"), &tell).expect("readable"), None);
    }

    /// Who can write there gives a program with its sum: so nothing is taken from there, and nothing put there.
    #[test]
    fn a_cache_that_others_can_write_to_is_none() {
        let (_dir, path) = folder();
        let cache = Cache::new(path.join("cache"), None);
        cache.keep(&key("a"), b"program".to_vec()).expect("kept");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs_err::set_permissions(cache.folder(), open).expect("ours");
        let found = cache.find(&key("a"), &|_| {}).map(drop);
        for refused in
            [found, cache.keep(&key("b"), Vec::new()).map(drop), cache.workplace(&key("a")).map(drop)]
        {
            let error = refused.expect_err("refused");
            let why = std::error::Error::source(&error).expect("a cause").to_string();
            assert!(why.contains("can be written by others"), "{error}: {why}");
        }
    }

    #[test]
    fn a_copy_of_a_cache_is_a_mirror() {
        let (_dir, path) = folder();
        fs_err::create_dir_all(path.join("one")).expect("a folder");
        let first = Cache::new(path.join("one"), None);
        first.keep(&key("a"), b"program".to_vec()).expect("kept");
        let mirrored = Cache::new(path.join("two"), Some(path.join("one")));
        let found = mirrored.find(&key("a"), &|_| {}).expect("readable").expect("there");
        assert_eq!(found.bytes, b"program");
        assert!(!path.join("two").exists(), "nothing had to be written");
        // A damaged mirror does not hide what the cache has.
        fs_err::create_dir_all(path.join("two")).expect("a folder");
        mirrored.keep(&key("a"), b"program".to_vec()).expect("kept");
        fs_err::write(&found.path, "").expect("written");
        let found = mirrored.find(&key("a"), &|_| {}).expect("readable").expect("there");
        assert!(found.path.starts_with(path.join("two")));
    }

    #[tokio::test]
    async fn one_at_a_time_has_the_lock() {
        let (_dir, path) = folder();
        let cache = Cache::new(path, None);
        let held = cache.lock(&key("a"), &|_| {}).await.expect("free");
        cache.lock(&key("b"), &|_| {}).await.expect("another is free");
        let told = Mutex::new(Vec::new());
        let key_a = key("a");
        let tell = |text: String| told.lock().expect("a list").push(text);
        let second = cache.lock(&key_a, &tell);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(500), &mut second).await.is_err());
        drop(held);
        tokio::time::timeout(Duration::from_secs(5), second).await.expect("soon").expect("free");
        assert_eq!(told.lock().expect("a list")[..], ["waiting for another run that obtains x 1"]);
    }
}
