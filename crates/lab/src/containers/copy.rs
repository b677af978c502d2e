//! Copies of containers' volumes: images that are copied, with an identity of their own.

use std::time::Duration;

use camino::Utf8Path;
use fs_err as fs;

use super::guest::volume_path;
use super::run::run_for;
use crate::runtime::{TaskError, VolumeCopy};

/// Copying an image takes its time.
const COPY: Duration = Duration::from_secs(1800);

/// Takes the machine's id out of a copy, as Proxmox VE does; and a file system that knows itself by a number gets another one,
/// since two of one number cannot be mounted.
const OWN: &str = include_str!("own.sh");

/// Copies a volume. The lab keeps every volume as an image of its own: a linked clone shares blocks where the file system of this
/// machine can do that.
pub(crate) async fn copy(id: u32, copy: &VolumeCopy) -> Result<(), TaskError> {
    let (from, to) = (volume_path(&copy.from, copy.of)?, volume_path(&copy.to, id)?);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| failed("make the folder of", &to, &error))?;
    }
    run_for(&["cp", "--sparse=always", "--reflink=auto", from.as_str(), to.as_str()], COPY).await?;
    if copy.of == id {
        // It moves, and stays what it is.
        return Ok(());
    }
    let argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", OWN, "own", to.as_str()];
    run_for(&argv, COPY).await.map(drop)
}

/// Gives a volume another name. Called again after a cut, it is done already.
pub(crate) fn rename(id: u32, from: &str, to: &str) -> Result<(), TaskError> {
    let (from, to) = (volume_path(from, id)?, volume_path(to, id)?);
    if !from.exists() && to.exists() {
        return Ok(());
    }
    fs::rename(&from, &to).map_err(|error| failed("rename", &from, &error))
}

fn failed(what: &str, path: &Utf8Path, error: &std::io::Error) -> TaskError {
    TaskError(format!("unable to {what} '{path}' - {error}"))
}
