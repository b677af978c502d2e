//! Secrets, at the moment they are needed.

use apply::Failure;
use blueprint::model::SecretRef;
use camino::Utf8PathBuf;
use secrecy::SecretString;

use crate::environment::Environment;

/// Resolves a site's secret references.
#[derive(Debug, Clone)]
pub struct SiteSecrets {
    root: Utf8PathBuf,
    environment: Environment,
}

impl SiteSecrets {
    /// For the site in `root`; `environment` has those that are variables.
    pub fn new(root: Utf8PathBuf, environment: Environment) -> Self {
        Self { root, environment }
    }

    /// The secret that `reference` means.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn get(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        let secret =
            blueprint::secret::resolve(reference, &self.root, |name: &str| self.environment.get(name))
                .map_err(|e| {
                    let mut failure = Failure::from_error("secrets::unavailable", &e);
                    failure.hint = e.hint();
                    failure
                })?;
        crate::scrub::remember(&secret);
        Ok(secret)
    }
}

impl managers::Secrets for SiteSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        self.get(reference)
    }
}
