//! Plans that are kept in files. What is in one is carried out, with all that the site may do, so it is a program: only its
//! owner can read it, and one that this site's key did not make is refused. And what it says of costs and consent is not
//! believed, but taken from the work itself.

use camino::{Utf8Path, Utf8PathBuf};
use plan::site_key::Purpose;
use plan::{Consent, Plan};
use serde_json::Value;

use crate::error::{Error, ErrorKind};
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
        let trust = self.with_key()?;
        let key = trust.key().ok_or_else(|| Error::failed("site::key", "the site has no key"))?;
        content[CODE] = key.code(Purpose::Plan, &[content.to_string().as_bytes()]).into();
        let json = serde_json::to_vec_pretty(&content).map_err(|e| failed(&e))?;
        private::write(file, &json).map_err(|e| failed(&e))
    }

    /// The plan of a file, where this site's key made it, and the world is still the one it was made against. What its steps
    /// cost and what consent they take is worked out anew from what they do.
    ///
    /// # Errors
    /// When it is another site's, somebody wrote something else into it, or something has changed since.
    pub fn accept(&self, saved: Saved) -> Result<Plan, Error> {
        let Saved { file, code, content, mut plan } = saved;
        self.is_for_this(&plan)?;
        let key = self.trust().key();
        if !key.is_some_and(|key| key.vouches(&code, Purpose::Plan, &[content.to_string().as_bytes()])) {
            let text = format!(
                "{file} is not as this site's key made it: somebody has changed it, or it is from another folder"
            );
            return Err(Error::usage("plan::not-made-here", text).hint(AGAIN));
        }
        for step in &mut plan.steps {
            let costs = managers::manager_of(step.address.kind())
                .ok_or_else(|| format!("no kind of resource is called `{}`", step.address.kind()))
                .and_then(|manager| manager.kind().costs(&self.inventory, step));
            let (grade, consent) = costs.map_err(|why| {
                Error::usage("plan::file", format!("{file}: {} cannot be carried out: {why}", step.address))
                    .hint(AGAIN)
            })?;
            step.grade = step.grade.max(grade);
            step.consent = match (consent, step.consent.clone()) {
                (Consent::Refused(why), _) | (_, Consent::Refused(why)) => Consent::Refused(why),
                (Consent::Needed, _) | (_, Consent::Needed) => Consent::Needed,
                _ => Consent::NotNeeded,
            };
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
