//! From a folder to what is wanted, on paper: blueprint, authority, desired state. Nothing is contacted.

use std::sync::Arc;
use std::time::Duration;

use blueprint::model::Blueprint;
use blueprint::{Catalog, Loaded};
use camino::Utf8Path;
use jiff::Timestamp;
use managers::features::renderer::Renderer;
use managers::own::{self, Own};
use managers::settle::NO_ANSWER;
use plan::told::Refused;
use plan::{Address, Desired, Trust};
use tokio::time::timeout;
use tracing::info_span;

use crate::connect::Connection;
use crate::environment::{Listener, Notice};
use crate::error::Error;
use crate::folders::{folder, state};
use crate::site::SPAN;

/// How long a person waits for the node to say whose a guest is.
const ANSWER: Duration = Duration::from_secs(10);

/// A site as its blueprint wants it.
#[derive(Debug)]
pub struct OnPaper {
    /// The blueprint, with the texts it was read from.
    pub loaded: Loaded,
    /// The workshop's authority.
    pub authority: Arc<pki::Authority>,
    /// What is wanted, of which every path works on paper.
    pub desired: Desired,
}

impl OnPaper {
    /// What the site believes to be its own.
    ///
    /// # Errors
    /// When the site's key cannot be used.
    pub fn trust(&self) -> Result<Trust, Error> {
        crate::key::trust(&self.loaded.blueprint.root, &self.desired)
    }

    /// Looks whether what has this id is the site's own, and this, before a person's command runs in it. With why nobody can
    /// say, where the node does not answer: whoever looks for what is wrong there has to get in all the same.
    ///
    /// # Errors
    /// When it is not, or is not there.
    pub async fn check(
        &self,
        connection: &Connection,
        id: u32,
        address: &Address,
    ) -> Result<Option<String>, Error> {
        let config = match timeout(ANSWER, own::config(&connection.ways, id)).await {
            Ok(Ok(config)) => config,
            Ok(Err(failure)) if failure.code == NO_ANSWER => return Ok(Some(failure.errors.join(": "))),
            Ok(Err(failure)) => return Err(failure.into()),
            Err(_) => return Ok(Some(format!("the node did not answer within {} s", ANSWER.as_secs()))),
        };
        Own::of(&self.trust()?, id, Some(address), &config)?;
        Ok(None)
    }

    /// Reads the site in `folder`, and makes its authority where there is none yet.
    ///
    /// # Errors
    /// Whatever can be found wrong before anything is contacted, all at once.
    pub fn read(folder: &Utf8Path, listener: &dyn Listener) -> Result<Self, Error> {
        let loaded = info_span!(target: SPAN, "loading").in_scope(|| load(folder, listener))?;
        let authority = authority(&loaded.blueprint, listener)?;
        let desired =
            info_span!(target: SPAN, "wiring").in_scope(|| desired(&loaded.blueprint, &authority))?;
        Ok(Self { loaded, authority, desired })
    }
}

/// The features that come with Phoenix.
///
/// # Errors
/// When they cannot be read, which is a defect of Phoenix.
pub fn catalog() -> Result<Catalog, Error> {
    Catalog::from_files(managers::features::builtin()).map_err(|failure| {
        Error::failed("phoenix::catalog", "the built-in features cannot be read; this is a defect of Phoenix")
            .hint(failure.to_text())
    })
}

/// Reads and checks the blueprint.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(site: &Utf8Path, listener: &dyn Listener) -> Result<Loaded, Error> {
    let catalog = catalog()?;
    let root = folder(site)?;
    let loaded = blueprint::load(&root, &catalog).map_err(|failure| Error::invalid(root, failure))?;
    if !loaded.warnings.is_empty() {
        listener.hear(&Notice::Warnings { diagnostics: &loaded.warnings, sources: &loaded.sources });
    }
    Ok(loaded)
}

/// The workshop's authority; made the first time it is needed.
pub(crate) fn authority(
    blueprint: &Blueprint,
    listener: &dyn Listener,
) -> Result<Arc<pki::Authority>, Error> {
    let folder = state(&blueprint.root).join("secrets/authority");
    let new = !folder.join("root.crt").exists();
    let settings = pki::AuthoritySettings {
        site: blueprint.site.name.to_string(),
        domain: blueprint.site.domain.to_string(),
        subnets: blueprint.networks.values().map(|n| n.subnet.into()).collect(),
    };
    let authority = pki::Authority::open_or_create(&folder, &settings, Timestamp::now())
        .map_err(|e| Error::from_error("pki::authority", &e).hint_if(e.hint()))?;
    if new {
        listener.hear(&Notice::AuthorityMade { folder: &folder });
    }
    Ok(Arc::new(authority))
}

/// The desired state, of which every path works on paper.
pub(crate) fn desired(blueprint: &Blueprint, authority: &pki::Authority) -> Result<Desired, Error> {
    let told = |one: &pki::Refused| Refused { issuer: one.issuer.clone(), names: one.names.clone() };
    let refused: Vec<Refused> = authority.refused().iter().map(told).collect();
    let wired = plan::wire::wire(blueprint, authority.root_pem(), &refused, &Renderer::new(blueprint));
    let desired = wired.map_err(|errors| {
        let errors = errors
            .into_iter()
            .map(|e| Error::usage("blueprint::wiring", format!("{}: {}", e.address, e.message)).hint(e.hint));
        let none = Error::failed("blueprint::wiring", "the site cannot be wired");
        Error::all(errors).unwrap_or(none)
    })?;
    let problems = managers::trace::paper::check(&desired).into_iter().map(|problem| {
        Error::usage("wire::path", format!("{}: {}", problem.address, problem.message)).hint(problem.hint)
    });
    Error::all(problems).map_or(Ok(desired), Err)
}
