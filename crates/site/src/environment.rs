//! What a site has from its caller: the variables it may read, and somebody who hears what goes on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use blueprint::{Diagnostic, Sources};
use camino::{Utf8Path, Utf8PathBuf};

/// The environment's variables, as the caller lets them be seen: secrets that a blueprint names, and where caches and
/// temporary files go.
#[derive(Clone)]
pub struct Environment {
    variable: Arc<Variable>,
    /// Whether the connection to the node stays for the next command.
    pub keep: bool,
    /// Whether programs are run that print a secret, where all that is learnt is whether it has changed.
    pub asks: bool,
    /// How long a service may need until it answers at the end of a run, where that is said.
    pub answers: Option<Duration>,
}

/// A variable's value by its name.
type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// What `variable` tells by name.
    pub fn new(variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { variable: Arc::new(variable), keep: false, asks: true, answers: None }
    }

    /// The same, whose connection to the node stays for the next command where `keep`.
    #[must_use]
    pub fn keeping(self, keep: bool) -> Self {
        Self { keep, ..self }
    }

    /// The same, for who only looks: a program that prints a secret may ask a person, or a device that is touched.
    #[must_use]
    pub fn without_asking(self) -> Self {
        Self { asks: false, ..self }
    }

    /// The same, that waits so long for a service to answer.
    #[must_use]
    pub fn answering(self, answers: Option<Duration>) -> Self {
        Self { answers, ..self }
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    /// A variable that is a path; an empty one is none (XDG Base Directory Specification).
    pub(crate) fn path(&self, name: &str) -> Option<Utf8PathBuf> {
        self.get(name).filter(|value| !value.is_empty()).map(Utf8PathBuf::from)
    }
}

impl fmt::Debug for Environment {
    /// Without the variables: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// Something a person may want to know while a site is opened and looked at. What happens during a run is an
/// [`apply::Event`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// What in the blueprint is probably not meant.
    Warnings {
        /// Each, with its place.
        diagnostics: &'a [Diagnostic],
        /// The texts they point into.
        sources: &'a Sources,
    },
    /// The site's certificate authority was made.
    AuthorityMade {
        /// Where it is kept.
        folder: &'a Utf8Path,
    },
    /// Guests are held by a task of an earlier run, or by a lock that was left, and that is waited for.
    GuestsHeld {
        /// By what, and which.
        what: &'a str,
        /// At most so long.
        limit: Duration,
    },
}

/// Who hears of it.
pub trait Listener: Send + Sync {
    /// Takes a notice. It must not block for long.
    fn hear(&self, notice: &Notice<'_>);
}
