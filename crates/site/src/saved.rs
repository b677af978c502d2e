//! Plans that are kept in files. What is in one is carried out, with all that the site may do, so it is a program: only its
//! owner can read it, and one that this site's key did not make is refused.

use camino::{Utf8Path, Utf8PathBuf};
use plan::Plan;
use plan::site_key::Purpose;
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::key;
use crate::site::Site;

/// The field of the file that has the code.
const CODE: &str = "code";
/// What to do with a file that is no good.
const AGAIN: &str = "make it again with: phoenix-cli plan --out FILE";

/// A plan from a file, of which nobody knows yet who made it: [`Site::accept`].
#[derive(Debug)]
pub struct Saved {
    file: Utf8PathBuf,
    code: String,
    content: Value,
    plan: Plan,
}

impl Site {
    /// Keeps a plan in a file; what was there is replaced at once and as a whole. The site's key is made where there is none.
    ///
    /// # Errors
    /// When it cannot be written, or the key cannot be used.
    pub fn save(&self, plan: &Plan, file: &Utf8Path) -> Result<(), Error> {
        let failed = |e: &dyn std::error::Error| Error::from_error("plan::save", e);
        let mut content = serde_json::to_value(plan).map_err(|e| failed(&e))?;
        let key = key::make(&self.blueprint.root)?;
        content[CODE] = key.code(Purpose::Plan, &[content.to_string().as_bytes()]).into();
        let json = serde_json::to_vec_pretty(&content).map_err(|e| failed(&e))?;
        private::write(file, &json).map_err(|e| failed(&e))
    }

    /// The plan of a file, where this site's key made it, and the world is still the one it was made against.
    ///
    /// # Errors
    /// When it is another site's, somebody wrote something else into it, or something has changed since.
    pub fn accept(&self, saved: Saved) -> Result<Plan, Error> {
        let Saved { file, code, content, plan } = saved;
        self.is_for_this(&plan)?;
        let key = key::read(&self.blueprint.root)?;
        if !key.is_some_and(|key| key.vouches(&code, Purpose::Plan, &[content.to_string().as_bytes()])) {
            let text = format!(
                "{file} is not as this site's key made it: somebody has changed it, or it is from another folder"
            );
            return Err(Error::usage("plan::not-made-here", text).hint(AGAIN));
        }
        self.still_true(&plan)?;
        Ok(plan)
    }
}

/// Reads a plan that [`Site::save`] wrote.
///
/// # Errors
/// When there is none, or one that cannot be read.
pub fn read(file: &Utf8Path) -> Result<Saved, Error> {
    let bytes = fs_err::read(file).map_err(|e| {
        Error { kind: ErrorKind::Usage, ..Error::from_error("plan::file", &e) }
            .hint("make one with: phoenix-cli plan --out FILE")
    })?;
    let wrong = |e: &dyn std::error::Error| {
        let mut error = Error::from_error("plan::file", e);
        error.kind = ErrorKind::Usage;
        error.errors.insert(0, format!("{file} is no plan that can be read"));
        error.hint(AGAIN)
    };
    let mut content: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
    let version = content.get("version").and_then(Value::as_u64);
    if version.is_some_and(|v| v != u64::from(plan::step::FILE_VERSION)) {
        return Err(Error::usage(
            "plan::version",
            format!(
                "{file} is a plan of version {}; this phoenix-cli makes and reads {}",
                version.unwrap_or(0),
                plan::step::FILE_VERSION
            ),
        )
        .hint(AGAIN));
    }
    let code = content.as_object_mut().and_then(|all| all.remove(CODE));
    let code = code.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let plan = serde_json::from_value(content.clone()).map_err(|e| wrong(&e))?;
    Ok(Saved { file: file.to_owned(), code, content, plan })
}
