//! Plans that are kept in files.

use camino::Utf8Path;
use plan::Plan;

use crate::error::{Error, ErrorKind};

/// Keeps a plan in a file; what was there is replaced at once and as a whole.
///
/// # Errors
/// When it cannot be written.
pub fn save(plan: &Plan, file: &Utf8Path) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(plan).map_err(|e| Error::from_error("plan::save", &e))?;
    // It tells what is where: for its owner alone.
    private::write(file, &json).map_err(|e| Error::from_error("plan::save", &e))
}

/// Reads a plan that [`save`] wrote.
///
/// # Errors
/// When there is none, or one that cannot be read.
pub fn read(file: &Utf8Path) -> Result<Plan, Error> {
    let bytes = fs_err::read(file).map_err(|e| {
        Error { kind: ErrorKind::Usage, ..Error::from_error("plan::file", &e) }
            .hint("make one with: phoenix-cli plan --out FILE")
    })?;
    let wrong = |e: &dyn std::error::Error| {
        let mut error = Error::from_error("plan::file", e);
        error.kind = ErrorKind::Usage;
        error.errors.insert(0, format!("{file} is no plan that can be read"));
        error.hint("make it again with: phoenix-cli plan --out FILE")
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if version.is_some_and(|v| v != u64::from(plan::step::FILE_VERSION)) {
        return Err(Error::usage(
            "plan::version",
            format!(
                "{file} is a plan of version {}; this phoenix-cli makes and reads {}",
                version.unwrap_or(0),
                plan::step::FILE_VERSION
            ),
        )
        .hint("make it again with: phoenix-cli plan --out FILE"));
    }
    serde_json::from_value(value).map_err(|e| wrong(&e))
}
