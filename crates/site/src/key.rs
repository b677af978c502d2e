//! The site's key, beside its other secrets. It is made when the first thing is to carry a code, never by who only looks.

use camino::{Utf8Path, Utf8PathBuf};
use plan::SiteKey;
use secrecy::ExposeSecret as _;

use crate::error::Error;
use crate::folders::state;

const CODE: &str = "site::key";

fn file(root: &Utf8Path) -> Utf8PathBuf {
    state(root).join("secrets/site.key")
}

/// The key; `None` where there is none.
///
/// # Errors
/// When it cannot be read, others can get at it, or it is no key.
pub(crate) fn read(root: &Utf8Path) -> Result<Option<SiteKey>, Error> {
    let path = file(root);
    let failed = |e: &dyn std::error::Error| Error::from_error(CODE, e);
    if fs_err::symlink_metadata(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = private::read(&path).map_err(|e| failed(&e))?;
    SiteKey::from_text(&text).map(Some).map_err(|e| {
        let mut error = failed(&e);
        error.errors.insert(0, format!("{path} cannot be used"));
        error.hint("put back a copy of it; or remove it, and make saved plans again")
    })
}

/// The key, which is made where there is none.
///
/// # Errors
/// As [`read`], and when it cannot be written.
pub(crate) fn make(root: &Utf8Path) -> Result<SiteKey, Error> {
    let failed = |e: &dyn std::error::Error| Error::from_error(CODE, e);
    if let Some(key) = read(root)? {
        return Ok(key);
    }
    let (path, key) = (file(root), SiteKey::generate().map_err(|e| failed(&e))?);
    private::closed(path.parent().unwrap_or(root)).map_err(|e| failed(&e))?;
    private::write_new(&path, key.to_text().expose_secret().as_bytes()).map_err(|e| failed(&e))?;
    // Another run may have been faster.
    read(root)?.ok_or_else(|| Error::failed(CODE, format!("{path} is gone as soon as it is written")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        assert!(read(&root).unwrap().is_none());
        assert_eq!(fs_err::read_dir(&root).unwrap().count(), 0, "who only looks makes nothing");
        let key = make(&root).unwrap();
        assert_eq!(make(&root).unwrap().name(), key.name());
        assert_eq!(read(&root).unwrap().unwrap().name(), key.name());
        let mode = |path: &Utf8Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file(&root)), mode(file(&root).parent().unwrap())), (0o600, 0o700));
        fs_err::set_permissions(file(&root), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read(&root).unwrap_err();
        assert!(error.errors.iter().any(|e| e.contains("others")), "{error:?}");
        fs_err::set_permissions(file(&root), std::fs::Permissions::from_mode(0o600)).unwrap();
        fs_err::write(file(&root), "nonsense").unwrap();
        assert!(read(&root).unwrap_err().errors[0].ends_with("cannot be used"));
    }
}
