//! What a command ends with when it does not succeed: one place for wording, hints, codes and exit codes.

use apply::Failure;
use serde_json::json;

/// How a command ended badly; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It failed: 1.
    Failed,
    /// Bad usage or a bad blueprint: 2.
    Usage,
    /// A person's consent is missing: 4.
    Consent,
    /// Stopped by a person: 130.
    Interrupted,
}

impl Kind {
    /// The process' exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Consent => 4,
            Self::Interrupted => 130,
        }
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
    /// Whether everything has been said already (diagnostics, a run's events).
    pub said: bool,
}

/// What commands return: the exit code of success, 0 but for `plan --detailed-exitcode` and `exec`.
pub type Outcome = Result<u8, CommandError>;

impl CommandError {
    /// A failure.
    pub fn failed(code: impl Into<String>, error: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, code: code.into(), errors: vec![error.into()], hint: None, said: false }
    }

    /// Bad usage.
    pub fn usage(code: impl Into<String>, error: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, ..Self::failed(code, error) }
    }

    /// From an error with all its causes.
    pub fn from_error(code: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self { errors: Failure::from_error("", error).errors, ..Self::failed(code, "") }
    }

    /// Everything has been said; only the exit code is left.
    pub fn said(kind: Kind) -> Self {
        Self { kind, code: String::new(), errors: Vec::new(), hint: None, said: true }
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
            "hint": self.hint, "exit": self.kind.exit_code(),
        }})
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self {
            kind: Kind::Failed,
            code: failure.code,
            errors: failure.errors,
            hint: failure.hint,
            said: false,
        }
    }
}
