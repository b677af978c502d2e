//! What a command ends with when it does not succeed: one place for its exit code and its JSON. Wording, hints and codes
//! are those of [`site::Error`].

use serde_json::json;
pub use site::Error as CommandError;
pub use site::ErrorKind;

/// What commands return: the exit code of success, 0 but for `plan --detailed-exitcode` and `exec`.
pub type Outcome = Result<u8, CommandError>;

/// The process' exit code for how a command ended badly.
pub fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Usage => 2,
        ErrorKind::Consent => 4,
        ErrorKind::Interrupted => 130,
    }
}

/// Everything has been said already, such as a run's events; only the exit code is left. Its errors are none.
pub fn already_reported(kind: ErrorKind) -> CommandError {
    CommandError { kind, errors: Vec::new(), ..CommandError::failed("", "") }
}

/// An error as JSON.
pub fn json(error: &CommandError) -> serde_json::Value {
    json!({ "error": {
        "code": error.code, "message": error.errors.first(), "causes": error.errors.get(1..).unwrap_or_default(),
        "hint": error.hint, "exit": exit_code(error.kind),
    }})
}
