//! What a site answers when something cannot be done: a code, the causes, the next thing to do. How it is shown, and what
//! a process ends with, is for who asked.

use apply::Failure;
use camino::Utf8PathBuf;

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It failed.
    Failed,
    /// What was asked for, or the blueprint, is wrong.
    Usage,
    /// A person's consent is missing.
    Consent,
    /// Stopped by a person.
    Interrupted,
}

/// A blueprint that cannot be used.
#[derive(Debug)]
pub struct Invalid {
    /// The site's folder.
    pub root: Utf8PathBuf,
    /// Everything that is wrong, with its places.
    pub failure: blueprint::Failure,
}

/// Why it cannot be done.
#[derive(Debug)]
pub struct Error {
    /// What stands in the way.
    pub kind: ErrorKind,
    /// A stable code.
    pub code: String,
    /// What went wrong, with its causes, outermost first; none where it was told while it happened.
    pub errors: Vec<String>,
    /// The next thing to do.
    pub hint: Option<String>,
    /// What else was found at the same time, in its order; this one is the last of them.
    pub before: Vec<Self>,
    /// Where this is about a blueprint that is wrong: each of its errors.
    pub invalid: Option<Box<Invalid>>,
}

impl Error {
    /// A failure.
    pub fn failed(code: impl Into<String>, error: impl Into<String>) -> Self {
        Failure::new(code, error).into()
    }

    /// What was asked for is wrong.
    pub fn usage(code: impl Into<String>, error: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, ..Self::failed(code, error) }
    }

    /// From an error with all its causes.
    pub fn from_error(code: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Failure::from_error(code, error).into()
    }

    /// A blueprint that cannot be used.
    pub(crate) fn invalid(root: Utf8PathBuf, failure: blueprint::Failure) -> Self {
        let what = format!("the blueprint has {} error(s)", failure.errors());
        let invalid = Some(Box::new(Invalid { root, failure }));
        Self { invalid, ..Self::usage("blueprint::invalid", what) }
    }

    /// Several at once; none where there are none.
    pub(crate) fn all(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut all: Vec<Self> = errors.into_iter().collect();
        let last = all.pop()?;
        Some(Self { before: all, ..last })
    }

    /// With the next thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the next thing to do, where there is one.
    #[must_use]
    pub fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let Failure { code, errors, hint } = failure;
        Self { kind: ErrorKind::Failed, code, errors, hint, before: Vec::new(), invalid: None }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.errors.join(": "))
    }
}

impl std::error::Error for Error {}
