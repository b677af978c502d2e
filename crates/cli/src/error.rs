//! What a command ends with when it does not succeed: one place for wording, hints, codes and exit codes.

use apply::Failure;
use serde_json::json;
pub use site::Kind;
use site::{Error, Invalid};

/// The process' exit code for how a command ended badly.
pub fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::Consent => 4,
        Kind::Interrupted => 130,
    }
}

/// An error as a person sees it.
#[derive(Debug)]
pub struct CommandError {
    /// Decides the exit code.
    pub kind: Kind,
    /// A stable code.
    pub code: String,
    /// What went wrong, with its causes, outermost first.
    pub errors: Vec<String>,
    /// The next thing to do.
    pub hint: Option<String>,
    /// What else was found; said before it.
    pub before: Vec<Self>,
    /// Where this is about a blueprint that is wrong: each of its errors.
    pub invalid: Option<Box<Invalid>>,
    /// Whether everything has been said already (a run's events).
    pub said: bool,
}

/// What commands return: the exit code of success, 0 but for `plan --detailed-exitcode` and `exec`.
pub type Outcome = Result<u8, CommandError>;

impl CommandError {
    /// A failure.
    pub fn failed(code: impl Into<String>, error: impl Into<String>) -> Self {
        Error::failed(code, error).into()
    }

    /// Bad usage.
    pub fn usage(code: impl Into<String>, error: impl Into<String>) -> Self {
        Error::usage(code, error).into()
    }

    /// From an error with all its causes.
    pub fn from_error(code: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Error::from_error(code, error).into()
    }

    /// Everything has been said; only the exit code is left.
    pub fn said(kind: Kind) -> Self {
        Self { kind, errors: Vec::new(), said: true, ..Self::failed("", "") }
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

    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        json!({ "error": {
            "code": self.code, "message": self.errors.first(), "causes": self.errors.get(1..).unwrap_or_default(),
            "hint": self.hint, "exit": exit_code(self.kind),
        }})
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let Error { kind, code, errors, hint, before, invalid } = error;
        let before = before.into_iter().map(Self::from).collect();
        Self { kind, code, errors, hint, before, invalid, said: false }
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Error::from(failure).into()
    }
}
