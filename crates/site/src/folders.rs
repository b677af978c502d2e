//! Where what is on this machine.

use blueprint::model::{Blueprint, Target};
use camino::{Utf8Path, Utf8PathBuf};

use crate::error::Error;

/// A site's folder, absolute.
///
/// # Errors
/// When this process has no current folder, or one whose name is no text.
pub fn folder(site: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    let absolute = camino::absolute_utf8(site).map_err(|e| Error::from_error("site::folder", &e))?;
    // The lab's names follow from it, so two spellings of one folder must be the same.
    Ok(absolute.canonicalize_utf8().unwrap_or(absolute))
}

/// Where Phoenix keeps what is the site's and no blueprint.
pub fn state(root: &Utf8Path) -> Utf8PathBuf {
    root.join(".phoenix")
}

/// What keeps it out of version control, whatever the site's own `.gitignore` says.
const IGNORE: &str = "# Keys, passwords and journals of this folder: nothing for version control.\n*\n";

/// The same folder, made where it is missing, and kept out of version control.
///
/// # Errors
/// When it cannot be made, or is somebody else's who lets others write to it.
pub fn made_state(root: &Utf8Path) -> Result<Utf8PathBuf, Error> {
    let folder = state(root);
    let made = private::kept(&folder).and_then(|()| {
        let ignore = folder.join(".gitignore");
        if fs_err::symlink_metadata(&ignore).is_ok() {
            Ok(false)
        } else {
            private::write_new(&ignore, IGNORE.as_bytes())
        }
    });
    made.map_err(|e| Error::from_error("site::exposed", &e))?;
    Ok(folder)
}

/// Where the journals are.
pub fn runs(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("runs")
}

/// Where the lab of a site is.
pub fn lab_folder(blueprint: &Blueprint) -> Utf8PathBuf {
    match &blueprint.target {
        Target::Lab(lab) => {
            lab.folder.as_ref().map_or_else(|| default_lab(&blueprint.root), |f| blueprint.root.join(f))
        }
        Target::Proxmox(_) => default_lab(&blueprint.root),
    }
}

/// Where a site's lab is unless the blueprint says otherwise.
pub fn default_lab(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("lab")
}
