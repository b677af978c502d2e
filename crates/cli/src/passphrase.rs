//! Passphrases: from the environment, from a file, or typed where nobody sees it. Never an argument.

use std::os::unix::fs::PermissionsExt as _;
use std::str::FromStr;

use camino::Utf8PathBuf;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::CommandError;
use crate::printer::Printer;

/// The fewest characters of a passphrase that seals keys; the guest refuses shorter ones, too.
const LEAST: usize = 12;

/// Where a passphrase comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whence {
    /// An environment variable: `env:NAME`.
    Env(String),
    /// The first line of a file that only its owner can read: `file:PATH`.
    File(Utf8PathBuf),
}

impl FromStr for Whence {
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

/// Gets it; `again`: where it is typed, it is typed twice.
///
/// # Errors
/// When it cannot be had, is too short, or more than a line.
pub fn get(named: Option<&str>, again: bool, printer: Printer) -> Result<SecretString, CommandError> {
    // Read here and not by the command line's own parser, which repeats what it does not understand.
    let whence = named
        .map(str::parse)
        .transpose()
        .map_err(|e: String| CommandError::usage("secrets::unavailable", e))?;
    let secret = match &whence {
        Some(Whence::Env(name)) => std::env::var(name).map(SecretString::from).map_err(|_| {
            CommandError::usage(
                "secrets::unavailable",
                format!("the environment variable `{name}` is not set"),
            )
        })?,
        Some(Whence::File(path)) => file(path)?,
        None => typed(again, printer)?,
    };
    let text = secret.expose_secret().trim_end_matches(['\n', '\r']);
    if text.contains('\n') || text.chars().count() < LEAST {
        return Err(CommandError::usage(
            "secrets::weak",
            format!("a passphrase is one line of {LEAST} characters or more"),
        )
        .hint("keep it apart from the backup: whoever has both has the authority's keys"));
    }
    Ok(text.to_owned().into())
}

fn file(path: &Utf8PathBuf) -> Result<SecretString, CommandError> {
    let unreadable = |e: std::io::Error| CommandError::from_error("secrets::unavailable", &e);
    let mode = fs_err::metadata(path).map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let text =
            format!("`{path}` has mode {mode:04o}: others than its owner can use the passphrase in it");
        return Err(CommandError::usage("secrets::unavailable", text).hint(format!("chmod 0600 {path}")));
    }
    fs_err::read_to_string(path).map(SecretString::from).map_err(unreadable)
}

fn typed(again: bool, printer: Printer) -> Result<SecretString, CommandError> {
    if !printer.can_ask() {
        return Err(CommandError::usage(
            "consent::nobody-to-ask",
            "nobody can be asked for the passphrase here",
        )
        .hint("name where it is: --passphrase env:NAME or --passphrase file:PATH"));
    }
    let first = hidden("passphrase: ", printer)?;
    if again && hidden("once more: ", printer)?.expose_secret() != first.expose_secret() {
        return Err(CommandError::usage("consent::declined", "the two are not the same"));
    }
    Ok(first)
}

/// A line from the terminal, which does not show it.
fn hidden(question: &str, printer: Printer) -> Result<SecretString, CommandError> {
    let stdin = std::io::stdin();
    let failed = |e: std::io::Error| CommandError::from_error("consent::unreadable", &e);
    let before = tcgetattr(&stdin).map_err(|e| failed(e.into()))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).map_err(|e| failed(e.into()))?;
    printer.ask(question);
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    printer.ask("\n");
    read.map_err(failed)?;
    restored.map_err(|e| failed(e.into()))?;
    Ok(line.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_named_and_never_repeated() {
        assert_eq!("env:PASS".parse(), Ok(Whence::Env("PASS".into())));
        assert_eq!("file:/run/pass".parse(), Ok(Whence::File("/run/pass".into())));
        for wrong in ["correct horse battery", "pass:word"] {
            let said = wrong.parse::<Whence>().unwrap_err();
            assert!(!said.contains(wrong), "{said}");
        }
    }

    #[test]
    fn files_are_for_their_owner_and_long_enough() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("pass")).unwrap();
        let mode = |mode| fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let get = || get(Some(&format!("file:{path}")), false, Printer::plain());
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
