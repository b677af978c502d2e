//! Passphrases: from the environment, or from a file. Never an argument.

use std::os::unix::fs::PermissionsExt as _;
use std::str::FromStr;

use camino::Utf8PathBuf;
use secrecy::{ExposeSecret as _, SecretString};

use crate::environment::Environment;
use crate::error::Error;

/// The fewest characters of a passphrase that seals keys; the guest refuses shorter ones, too.
const LEAST: usize = 12;

/// Where a passphrase is: `env:NAME` or `file:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passphrase {
    /// An environment variable: `env:NAME`.
    Env(String),
    /// The first line of a file that only its owner can read: `file:PATH`.
    File(Utf8PathBuf),
}

impl FromStr for Passphrase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What was typed is not repeated: it may be the passphrase itself.
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("a passphrase is named by `env:NAME` or `file:PATH`, never written here".to_owned()),
        }
    }
}

impl Passphrase {
    /// Reads it.
    ///
    /// # Errors
    /// When it cannot be had, others than its owner can have it too, or it is too short.
    pub fn read(&self, environment: &Environment) -> Result<SecretString, Error> {
        let secret = match self {
            Self::Env(name) => environment.get(name).map(SecretString::from).ok_or_else(|| {
                Error::usage("secrets::unavailable", format!("the environment variable `{name}` is not set"))
            })?,
            Self::File(path) => file(path)?,
        };
        Self::strong(&secret)
    }

    /// The same passphrase without its line's end.
    ///
    /// # Errors
    /// When it is too short, or more than a line.
    pub fn strong(secret: &SecretString) -> Result<SecretString, Error> {
        let text = secret.expose_secret().trim_end_matches(['\n', '\r']);
        if text.contains('\n') || text.chars().count() < LEAST {
            return Err(Error::usage(
                "secrets::weak",
                format!("a passphrase is one line of {LEAST} characters or more"),
            )
            .hint("keep it apart from the backup: whoever has both has the authority's keys"));
        }
        Ok(text.to_owned().into())
    }
}

fn file(path: &Utf8PathBuf) -> Result<SecretString, Error> {
    let unreadable = |e: std::io::Error| Error::from_error("secrets::unavailable", &e);
    let mode = fs_err::metadata(path).map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let text =
            format!("`{path}` has mode {mode:04o}: others than its owner can use the passphrase in it");
        return Err(Error::usage("secrets::unavailable", text).hint(format!("chmod 0600 {path}")));
    }
    fs_err::read_to_string(path).map(SecretString::from).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_named_and_never_repeated() {
        assert_eq!("env:PASS".parse(), Ok(Passphrase::Env("PASS".into())));
        assert_eq!("file:/run/pass".parse(), Ok(Passphrase::File("/run/pass".into())));
        for wrong in ["correct horse battery", "pass:word"] {
            let said = wrong.parse::<Passphrase>().unwrap_err();
            assert!(!said.contains(wrong), "{said}");
        }
    }

    #[test]
    fn files_are_for_their_owner_and_long_enough() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("pass")).unwrap();
        let mode = |mode| fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let get = || Passphrase::File(path.clone()).read(&Environment::new(|_| None));
        fs_err::write(&path, "a horse and a staple\n").unwrap();
        mode(0o644);
        assert_eq!(get().unwrap_err().hint.unwrap(), format!("chmod 0600 {path}"));
        mode(0o600);
        assert_eq!(get().unwrap().expose_secret(), "a horse and a staple");
        for weak in ["short", "two lines that\nare long enough"] {
            fs_err::write(&path, weak).unwrap();
            assert_eq!(get().unwrap_err().code, "secrets::weak");
        }
    }
}
