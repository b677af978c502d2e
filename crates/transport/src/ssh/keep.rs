//! Connections that outlive the run that made them, so that the next one needs no handshake.
//!
//! A kept connection is ssh's own master in the background (`ControlPersist`, ssh_config(5)). It ends by itself when
//! nobody used it for a while, or when the other side is silent (`ServerAliveInterval`). One process uses it at a time, by
//! a lock beside the socket: sshd allows ten sessions a connection, and two runs would take them from each other. What
//! the lock file holds tells whether the last one who used it came to its end; a connection on which a killed run's
//! commands may still be running is not used again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Command, process};

/// How long a kept connection may take to show that it still leads somewhere, before another is made in its place.
pub(super) const PROOF_LIMIT: Duration = Duration::from_secs(3);

/// How long a master may take to end when it is told to; one that is stuck is left to its own time limits.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// In the lock file while a run uses the connection.
const IN_USE: &[u8] = b"in use\n";

/// Whose connection is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Keep {
    /// Whose it is, as in a site's folder. A connection of the same owner to another target is closed.
    pub owner: String,
    /// How long it stays when nobody uses it. Without it nothing is kept, and what was kept for the owner is closed.
    pub time: Option<Duration>,
    /// Files that tell where a destination leads (ssh's settings): when one changes, it is another target.
    pub watched: Vec<Utf8PathBuf>,
}

fn short(owner: &str) -> String {
    let mut hasher = DefaultHasher::new();
    owner.hash(&mut hasher);
    format!("{:08x}-", hasher.finish() >> 32)
}

/// The socket's name: the owner, and all that makes the target another one.
pub(super) fn name(keep: &Keep, target: &impl Hash, files: &[&Utf8Path]) -> String {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    for path in files {
        let state = fs_err::metadata(path).ok().map(|it| (it.ino(), it.len(), it.mtime(), it.mtime_nsec()));
        (path, state).hash(&mut hasher);
    }
    format!("{}{:016x}", short(&keep.owner), hasher.finish())
}

/// The right to use a kept connection, as long as it lives.
#[derive(Debug)]
pub(super) struct Lease(fs_err::File);

impl Lease {
    /// Takes the right, and tells whether the last one who had it gave it back. `None` when somebody has it now.
    pub(super) fn take(socket: &Utf8Path) -> std::io::Result<Option<(Self, bool)>> {
        let mut file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(format!("{socket}.lock"))?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        let mut held = Vec::new();
        file.read_to_end(&mut held)?;
        file.rewind()?;
        file.write_all(IN_USE)?;
        Ok(Some((Self(file), held.is_empty())))
    }

    /// Says that nothing of this run is under way on the connection any more.
    pub(super) fn give_back(self) {
        // Should it fail, the next run makes a connection of its own.
        let _ = self.0.set_len(0);
    }
}

/// Tells the master behind a socket to end, and removes the socket.
pub(super) async fn end(socket: &Utf8Path) {
    if fs_err::symlink_metadata(socket).is_err() {
        return;
    }
    // The host's name is not used: the socket is all that counts.
    let argv = ["ssh", "-F", "none", "-S", &super::argv::escaped(socket), "-O", "exit", "--", "kept"]
        .map(str::to_owned);
    let command = Command::new("closing a connection", Vec::<String>::new()).limit(EXIT_LIMIT);
    let _ = process::run(&argv, &command, "this machine", &mut |_| {}).await;
    let _ = fs_err::tokio::remove_file(socket).await;
}

/// Closes the connections kept for `owner` in `folder`, but for the one called `except` and those in use. Their number.
pub(super) async fn end_all(folder: &Utf8Path, owner: &str, except: Option<&str>) -> usize {
    let prefix = short(owner);
    let Ok(entries) = folder.read_dir_utf8() else { return 0 };
    let mut ended = 0;
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        // The socket has no extension; what lies beside it has one.
        if !name.starts_with(&prefix) || name.contains('.') || except == Some(name) {
            continue;
        }
        if let Ok(Some((lease, _))) = Lease::take(entry.path()) {
            end(entry.path()).await;
            lease.give_back();
            ended += 1;
        }
    }
    ended
}

/// Closes the connections that are kept for `owner` in `folder` and that nobody uses now. Returns how many there were.
pub async fn close_kept(folder: &Utf8Path, owner: &str) -> usize {
    // Whoever could put sockets there is not told anything.
    if !folder.is_dir() || private::folder(folder).is_err() { 0 } else { end_all(folder, owner, None).await }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(owner: &str) -> Keep {
        Keep { owner: owner.to_owned(), time: None, watched: Vec::new() }
    }

    #[test]
    fn another_target_or_owner_or_changed_file_is_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = Utf8PathBuf::from_path_buf(folder.path().join("config")).unwrap();
        let now = |owner: &str, target: &str| name(&keep(owner), &target, &[&file]);
        let first = now("a", "root@one");
        assert_eq!(first, now("a", "root@one"));
        assert!(first.len() == 25 && !first.contains('.'), "{first}");
        assert_ne!(first, now("b", "root@one"));
        let other = now("a", "root@two");
        assert_ne!(first, other);
        assert_eq!(first[..9], other[..9], "the same owner");
        fs_err::write(&file, "Host one").unwrap();
        assert_ne!(first, now("a", "root@one"));
    }

    #[test]
    fn one_at_a_time_and_who_was_killed_gave_nothing_back() {
        let folder = tempfile::tempdir().unwrap();
        let socket = Utf8PathBuf::from_path_buf(folder.path().join("s")).unwrap();
        let (first, clean) = Lease::take(&socket).unwrap().unwrap();
        assert!(clean && Lease::take(&socket).unwrap().is_none());
        first.give_back();
        let (second, clean) = Lease::take(&socket).unwrap().unwrap();
        assert!(clean);
        drop(second);
        let (third, clean) = Lease::take(&socket).unwrap().unwrap();
        assert!(!clean);
        third.give_back();
        assert!(Lease::take(&socket).unwrap().unwrap().1);
    }
}
