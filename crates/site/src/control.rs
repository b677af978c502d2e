//! Where the sockets of ssh connections are, and whether the connections stay for the next run.

use std::hash::{BuildHasher as _, RandomState};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use transport::Keep;

use crate::environment::Environment;
use crate::folders::state;

/// How long a connection stays that nobody uses: as long as a person looks at a plan before the next command.
const KEPT: Duration = Duration::from_secs(300);

/// The longest name of a folder for sockets: what Unix leaves of a socket's path (about 100 bytes) without the socket's
/// own name and what ssh appends to it.
const LONGEST_FOLDER: usize = 60;

/// A folder for sockets.
#[derive(Debug, Clone)]
pub struct Control {
    /// Where it is. It is made when a connection is.
    pub folder: Utf8PathBuf,
    /// Whether connections stay; nothing stays in a folder of one process.
    pub keep: Option<Keep>,
    /// Whether it goes at the end of the process.
    temporary: bool,
}

impl Control {
    /// For the site in `root`: in the user's own runtime folder, else in the site's, else, where that path is too long for
    /// a socket, in root's runtime folder or the user's cache. None of them is in a place where others may put something;
    /// a name that nobody can know before is the last resort.
    pub fn of(root: &Utf8Path, environment: &Environment) -> Self {
        let var = |name: &str| environment.path(name);
        // With `sudo` it may be another user's, who could put another folder in the place of ours.
        let ours = |path: &Utf8PathBuf| {
            let user = rustix::process::geteuid().as_raw();
            path.is_absolute() && fs_err::metadata(path).is_ok_and(|it| it.is_dir() && it.uid() == user)
        };
        let runtime = var("XDG_RUNTIME_DIR").filter(ours).map(|path| path.join("phoenix"));
        let own = state(root).join("ssh");
        let of_root = rustix::process::geteuid().is_root().then(|| "/run/phoenix".into());
        let cache = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache"))).filter(ours);
        let cache = cache.map(|path| path.join("phoenix-ssh"));
        let all = [runtime, Some(own), of_root, cache];
        if let Some(folder) = all.into_iter().flatten().find(|it| it.as_str().len() <= LONGEST_FOLDER) {
            let settings = var("HOME").map(|home| home.join(".ssh/config"));
            let watched = settings.into_iter().chain(["/etc/ssh/ssh_config".into()]).collect();
            let keep = Keep { owner: root.to_string(), time: environment.keep.then_some(KEPT), watched };
            return Self { folder, keep: Some(keep), temporary: false };
        }
        let temporary = var("TMPDIR").unwrap_or_else(|| "/tmp".into());
        // It is made with this name, or not at all (`private::folder`): 64 bits from the system.
        let name = format!("phoenix-{:016x}", RandomState::new().hash_one(std::process::id()));
        Self { folder: temporary.join(name), keep: None, temporary: true }
    }

    /// Removes what is this process' alone.
    pub async fn close(&self) {
        if self.temporary {
            let _ = fs_err::tokio::remove_dir_all(&self.folder).await;
        }
    }

    /// Closes the connections that are kept for the site.
    pub async fn close_kept(root: &Utf8Path, environment: &Environment) {
        let control = Self::of(root, environment);
        if let Some(keep) = &control.keep {
            transport::close_kept(&control.folder, &keep.owner).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(keep: bool) -> Environment {
        Environment::new(|name| std::env::var(name).ok()).keeping(keep)
    }

    #[test]
    fn a_path_too_long_for_a_socket_keeps_nothing() {
        let long = Utf8PathBuf::from(format!("/srv/{}", "x".repeat(80)));
        // Whatever the environment says, the folder is short enough.
        let control = Control::of(&long, &keep(true));
        assert!(control.temporary == control.keep.is_none(), "{control:?}");
        let (one, two) =
            (Control::of("/srv/a".into(), &keep(true)), Control::of("/srv/a".into(), &keep(false)));
        assert_eq!(one.folder, two.folder);
        assert!(one.keep.unwrap().time.is_some() && two.keep.unwrap().time.is_none());
    }
}
