//! What a command ends with when it does not succeed: one place for its exit code and its JSON. Wording, hints and codes
//! are those of [`site::Error`].

use serde_json::json;
pub use site::Error as CommandError;
pub use site::Kind;

/// What commands return: the exit code of success, 0 but for `plan --detailed-exitcode` and `exec`.
pub type Outcome = Result<u8, CommandError>;

/// The process' exit code for how a command ended badly.
pub fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Failed => 1,
        Kind::Usage => 2,
        Kind::Consent => 4,
        Kind::Interrupted => 130,
    }
}

/// Everything has been said already, such as a run's events; only the exit code is left. Its errors are none.
pub fn said(kind: Kind) -> CommandError {
    CommandError { kind, errors: Vec::new(), ..CommandError::failed("", "") }
}

/// An error as JSON.
pub fn json(error: &CommandError) -> serde_json::Value {
    json!({ "error": {
        "code": error.code, "message": error.errors.first(), "causes": error.errors.get(1..).unwrap_or_default(),
        "hint": error.hint, "exit": exit_code(error.kind),
    }})
}
