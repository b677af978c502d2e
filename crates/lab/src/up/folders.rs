//! Folders that people mount in guests: they lie on this machine's file system, beside the overlay of all else that the node has.
//! The kernel gives mounts other owners (`idmap=`) on ext4, XFS, btrfs and tmpfs, and never on an overlay (mount_setattr(2)).

use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::error::Error;

/// The node's folders, by their names in its root.
pub(crate) const OUTSIDE: [&str; 4] = ["home", "media", "mnt", "srv"];

/// A folder below them that is there from the first start, and whose it is: the first user and group of most systems, so it is as a
/// NAS would have it.
pub(super) const SHARED: (&str, u32) = ("srv/shared", 1000);

/// What they lie in, in the folder of the node's files.
const FOLDER: &str = "folders";

/// Where one of them lies.
pub(super) fn place(node: &Utf8Path, name: &str) -> Utf8PathBuf {
    node.join(FOLDER).join(name)
}

/// Makes those that are missing, while the node does not run. What is in them stays.
pub(super) fn prepare(node: &Utf8Path) -> Result<(), Error> {
    let all = node.join(FOLDER);
    // What guests put there may have any owner and any mode; on this machine it is root's alone.
    fs::create_dir_all(&all)
        .and_then(|()| fs::set_permissions(&all, std::fs::Permissions::from_mode(0o700)))
        .map_err(Error::io(format!("making `{all}`")))?;
    for name in OUTSIDE {
        let (folder, before) = (place(node, name), node.join("upper").join(name));
        let failed = || Error::io(format!("making `{folder}`"));
        match before.is_dir() && !folder.exists() {
            // Of a lab whose overlay had it.
            true => fs::rename(&before, &folder).map_err(failed())?,
            false => fs::create_dir_all(&folder).map_err(failed())?,
        }
    }
    let shared = place(node, SHARED.0);
    if shared.exists() {
        return Ok(());
    }
    fs::create_dir(&shared).map_err(Error::io(format!("making `{shared}`")))?;
    give(&shared)
}

/// Gives it to whom it belongs to.
pub(super) fn give(shared: &Utf8Path) -> Result<(), Error> {
    let (user, group) = (rustix::fs::Uid::from_raw(SHARED.1), rustix::fs::Gid::from_raw(SHARED.1));
    rustix::fs::chown(shared.as_str(), Some(user), Some(group))
        .map_err(|error| Error::io(format!("giving away `{shared}`"))(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_overlay_had_is_moved_once_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let node = Utf8Path::from_path(folder.path()).unwrap();
        fs::create_dir_all(node.join("upper/srv/media")).unwrap();
        // Only root may give something away.
        fs::create_dir_all(node.join("upper").join(SHARED.0)).unwrap();
        prepare(node).unwrap();
        assert!(place(node, "srv/media").is_dir() && place(node, "mnt").is_dir());
        assert!(!node.join("upper/srv").exists());
        fs::create_dir_all(node.join("upper/srv/later")).unwrap();
        prepare(node).unwrap();
        assert!(place(node, "srv/media").is_dir() && !place(node, "srv/later").exists());
    }
}
