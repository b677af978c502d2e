//! From a folder to what is wanted, on paper: blueprint, authority, desired state. Nothing is contacted, and nothing written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use blueprint::model::{Blueprint, SecretRef};
use blueprint::{Catalog, Loaded, secret};
use camino::Utf8Path;
use managers::features::known;
use managers::features::renderer::Renderer;
use managers::own::{self, Own};
use managers::settle::NO_ANSWER;
use plan::wire::Roots;
use plan::{Address, Desired, Inventory, Trust};
use secrecy::SecretString;
use tokio::time::timeout;
use tracing::info_span;

use crate::authority::{Lost, NOT_MADE, found};
use crate::connect::Connection;
use crate::environment::{Environment, Listener, Notice};
use crate::error::Error;
use crate::folders::{folder, made_state};
use crate::secrets::{SiteSecrets, Unasked};
use crate::site::SPAN;

/// How long a person waits for the node to say whose a guest is.
const ANSWER: Duration = Duration::from_secs(10);

/// A site as its blueprint wants it.
#[derive(Debug)]
pub struct OnPaper {
    /// The blueprint, with the texts it was read from.
    pub loaded: Loaded,
    /// The workshop's authority; none before the first run made it.
    pub authority: Option<Arc<pki::Authority>>,
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

    /// Whether the root certificate that what is there was made with is here, as far as that is known.
    ///
    /// # Errors
    /// When it is not.
    pub fn is_whole(&self, inventory: &Inventory) -> Result<(), Error> {
        let lost = Lost::of(self.authority.as_deref(), &self.desired, inventory);
        lost.map_or(Ok(()), |lost| Err(lost.error()))
    }

    /// The secrets that features, storages and datasets use.
    pub fn secrets(&self) -> BTreeSet<SecretRef> {
        let features = self.desired.guests.values().flat_map(|guest| &guest.features);
        let storages = self.desired.storages.values().filter_map(|storage| storage.password.clone());
        let datasets = self.desired.pools.values().flat_map(|pool| pool.datasets.values());
        let keys = datasets.filter_map(|dataset| Some(dataset.encryption.as_ref()?.key.clone()));
        features.flat_map(known::secrets_of).chain(storages).chain(keys).collect()
    }

    /// Puts a value in the place of a secret that the site's folder keeps: a generated one, or a file.
    ///
    /// # Errors
    /// When it is kept elsewhere, holds nothing or too much, or cannot be written.
    pub fn set_secret(&self, reference: &SecretRef, value: &SecretString) -> Result<(), Error> {
        let root = &self.loaded.blueprint.root;
        if matches!(reference, SecretRef::Generate(_)) {
            made_state(root)?;
        }
        secret::set(root, reference, value)
            .map_err(|e| Error::from_error("secrets::not-set", &e).hint_if(e.hint()))
    }

    /// Finds out whose what was observed is, and what the secrets are now that it was made with, as far as no program has to be
    /// run for that.
    pub fn judge(&self, inventory: &mut Inventory, trust: &Trust, environment: Environment) {
        inventory.judge(trust);
        let secrets = SiteSecrets::new(self.loaded.blueprint.root.clone(), environment);
        known::look(&self.desired, inventory, trust.key(), &Unasked(&secrets));
    }

    /// Reads the site in `folder`.
    ///
    /// # Errors
    /// Whatever can be found wrong before anything is contacted, all at once.
    pub fn read(folder: &Utf8Path, listener: &dyn Listener) -> Result<Self, Error> {
        let loaded = info_span!(target: SPAN, "loading").in_scope(|| load(folder, listener))?;
        let authority = found(&loaded.blueprint)?;
        let desired = info_span!(target: SPAN, "wiring")
            .in_scope(|| desired(&loaded.blueprint, authority.as_deref()))?;
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

/// The desired state, of which every path works on paper. Without an authority it is for looking at alone: what it says of
/// the root certificate is no certificate.
pub(crate) fn desired(blueprint: &Blueprint, authority: Option<&pki::Authority>) -> Result<Desired, Error> {
    let roots = authority.map_or_else(|| Roots::one(NOT_MADE), managers::authority::roots);
    let wired = plan::wire::wire(blueprint, &roots, &Renderer::new(blueprint));
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
