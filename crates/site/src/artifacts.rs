//! Where the programs are kept that no package brings.

use std::env::consts::ARCH;
use std::sync::Arc;

use blueprint::model::Target;
use managers::artifacts::{Cache, Store};

use crate::environment::Environment;
use crate::error::Error;

/// Artifacts for the guests of a target; for this machine where none is given.
///
/// # Errors
/// When the list of artifacts cannot be read.
pub fn store(target: Option<&Target>, environment: &Environment) -> Result<Store, Error> {
    // Go's names for them. Proxmox VE runs on amd64 alone; a lab is this machine.
    let arch = match (target, ARCH) {
        (None | Some(Target::Lab(_)), "aarch64") => "arm64",
        _ => "amd64",
    };
    let caches =
        environment.path("XDG_CACHE_HOME").or_else(|| Some(environment.path("HOME")?.join(".cache")));
    let folder = caches.unwrap_or_else(|| "/var/cache".into()).join("phoenix/artifacts");
    let own = environment.path("PHOENIX_ARTIFACTS");
    Ok(Store::new(Cache::new(folder, own), arch).map_err(apply::Failure::from)?)
}

/// The same for a run.
pub(crate) fn provider(
    target: &Target,
    simulated: bool,
    environment: &Environment,
) -> Result<Arc<dyn managers::Artifacts>, Error> {
    if simulated {
        return Ok(Arc::new(managers::artifacts::Simulated));
    }
    Ok(Arc::new(store(Some(target), environment)?))
}
