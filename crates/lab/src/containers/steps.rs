//! Steps that take long and are done once for all labs of the computer: with a lock, and from Debian's packages.

use std::time::Duration;

use camino::Utf8Path;

use super::appliances;
use super::run::explain;
use crate::runtime::TaskError;
use crate::up::base;

fn failed(error: &crate::up::Error) -> TaskError {
    TaskError(explain(error))
}

/// Waits for a lock on a file, which is made when missing; it is let go when it is dropped.
pub(crate) async fn lock(file: &Utf8Path, limit: Duration) -> Result<crate::up::Lock, TaskError> {
    crate::up::lock_file(file, limit).await.map_err(|error| failed(&error))
}

/// Runs a program to its end; `purpose` is what it is for.
pub(crate) async fn run(
    purpose: &str,
    argv: &[&str],
    stdin: &[u8],
    limit: Duration,
) -> Result<(), TaskError> {
    crate::up::run(purpose, argv, stdin, limit).await.map(drop).map_err(|error| failed(&error))
}

/// Removes a file or a folder.
pub(crate) async fn remove(path: &Utf8Path) -> Result<(), TaskError> {
    base::remove(path).await.map_err(|error| failed(&error))
}

/// Sources of apt for a release, from the archives of this node.
pub(crate) fn sources(release: &str) -> Result<String, TaskError> {
    appliances::sources(release)
}
