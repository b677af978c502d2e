//! Secrets, at the moment they are needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use apply::Failure;
use blueprint::model::SecretRef;
use blueprint::secret::{self, SecretError};
use camino::Utf8PathBuf;
use managers::features::known;
use managers::worksite::NOT_ASKED;
use plan::Address;
use plan::inventory::SecretNow;
use secrecy::SecretString;

use crate::environment::Environment;
use crate::error::Error;
use crate::folders::made_state;
use crate::site::Site;

/// Resolves a site's secret references, each once: what a plan was made with is what is put in place, and a program that
/// failed, or that nobody unlocked, is not run again.
#[derive(Debug, Clone)]
pub struct SiteSecrets {
    root: Utf8PathBuf,
    environment: Environment,
    known: Arc<Mutex<HashMap<SecretRef, Result<SecretString, Failure>>>>,
}

impl SiteSecrets {
    /// For the site in `root`; `environment` has those that are variables.
    pub fn new(root: Utf8PathBuf, environment: Environment) -> Self {
        Self { root, environment, known: Arc::default() }
    }

    /// The secret that `reference` means. None is made.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn get(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        let env = |name: &str| self.environment.get(name);
        self.once(reference, || secret::resolve(reference, &self.root, env))
    }

    /// Has it be this one from now on, before it is kept.
    pub(crate) fn suppose(&self, reference: &SecretRef, value: SecretString) {
        crate::scrub::remember(&value);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.clone(), Ok(value));
    }

    fn once(
        &self,
        reference: &SecretRef,
        get: impl FnOnce() -> Result<SecretString, SecretError>,
    ) -> Result<SecretString, Failure> {
        // Held meanwhile: a command that asks a person asks once.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(reference) {
            return known.clone();
        }
        let value = get().map_err(|e| {
            let code = match e {
                SecretError::NotMade { .. } => managers::worksite::NOT_MADE,
                _ => "secrets::unavailable",
            };
            let mut failure = Failure::from_error(code, &e);
            failure.hint = e.hint();
            failure
        });
        if let Ok(value) = &value {
            crate::scrub::remember(value);
        }
        // What is missing may be made later in this run.
        if value.is_ok() || matches!(reference, SecretRef::Command(_)) {
            known.insert(reference.clone(), value.clone());
        }
        value
    }
}

/// The same without what a program would print. For who only looks.
#[derive(Debug)]
pub(crate) struct Unasked<'a>(pub &'a SiteSecrets);

impl managers::Secrets for Unasked<'_> {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        match reference {
            SecretRef::Command(_) => Err(Failure::new(NOT_ASKED, "what prints it is not run for this")),
            _ => self.0.get(reference),
        }
    }
}

/// A value that takes the place of a generated secret's, once it is kept.
#[derive(Debug)]
pub struct Another {
    reference: SecretRef,
    value: SecretString,
    /// The features that were applied with the one of before.
    pub targets: Vec<String>,
    /// Whether the one of before is not here any more.
    pub lost: bool,
}

impl Site {
    /// The features that use a secret, and whether each was applied with it.
    fn uses(&self, wanted: impl Fn(&SecretRef) -> bool) -> Vec<(Address, SecretRef, bool)> {
        let used = self.desired.features().flat_map(|(address, feature)| {
            let secrets = known::secrets_of(feature).into_iter();
            secrets.map(move |reference| (address.clone(), reference))
        });
        let used = used.filter(|(_, reference)| wanted(reference));
        used.map(|(address, reference)| {
            let applied = self.inventory.secrets.contains_key(&address);
            (address, reference, applied)
        })
        .collect()
    }

    /// Makes generated secrets anew that guests were made with and that are gone.
    pub(crate) fn make_lost_secrets(&mut self) -> Result<(), Error> {
        let is_lost = |address: &Address| {
            let mut known = self.inventory.secrets.get(address).into_iter().flatten();
            known.any(|(_, secret)| secret.now == SecretNow::Missing)
        };
        let generated = self.uses(|reference| matches!(reference, SecretRef::Generate(_))).into_iter();
        let lost: Vec<_> = generated.filter(|(address, ..)| is_lost(address)).collect();
        for (_, reference, _) in lost {
            managers::Secrets::make(&*self.secrets, &reference)?;
        }
        self.look_at_secrets();
        Ok(())
    }

    /// Has the next plan put another value in the place of a generated secret. It is not kept yet: [`Self::keep`].
    ///
    /// # Errors
    /// When no feature uses a generated secret of this name, or the system has no random numbers.
    pub fn another_secret(&mut self, name: &str) -> Result<Another, Error> {
        let reference = SecretRef::Generate(name.to_owned());
        let used = self.uses(|one| *one == reference);
        if used.is_empty() {
            let text = format!("no feature uses a generated secret `{name}`");
            return Err(Error::usage("secrets::not-generated", text).hint(
                "phoenix-cli secrets list; change one that is not generated where it comes from, and the next run applies it",
            ));
        }
        let lost = !self.blueprint.root.join(secret::GENERATED_FOLDER).join(name).exists();
        let value = secret::new_value().map_err(|e| Error::from_error("secrets::unavailable", &e))?;
        self.secrets.suppose(&reference, value.clone());
        self.look_at_secrets();
        let targets =
            used.into_iter().filter(|(.., applied)| *applied).map(|(address, ..)| address.to_string());
        Ok(Another { reference, value, targets: targets.collect(), lost })
    }

    /// Keeps it, in the place of the one of before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, another: &Another) -> Result<(), Error> {
        let root = &self.blueprint.root;
        made_state(root)?;
        secret::set(root, &another.reference, &another.value)
            .map_err(|e| Error::from_error("secrets::not-set", &e).hint_if(e.hint()))
    }
}

impl managers::Secrets for SiteSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        self.get(reference)
    }

    fn make(&self, reference: &SecretRef) -> Result<SecretString, Failure> {
        match reference {
            SecretRef::Generate(name) => self.once(reference, || secret::make(&self.root, name)),
            _ => self.get(reference),
        }
    }

    fn ssh_keys(&self, guest: &str) -> Result<managers::SshKeys, Failure> {
        crate::doors::made(&self.root, guest)
    }

    fn forget_ssh_keys(&self, guest: &str) -> Result<(), Failure> {
        crate::doors::forget(&self.root, guest)
    }
}
