//! Passphrases: named, or typed where nobody sees it. Never an argument.

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};
use site::Passphrase;

use crate::args::Global;
use crate::error::CommandError;
use crate::opening::environment;
use crate::printer::Printer;

/// Gets it; `again`: where it is typed, it is typed twice.
///
/// # Errors
/// When it cannot be had, is too short, or more than a line.
pub fn get(named: Option<&str>, again: bool, printer: Printer) -> Result<SecretString, CommandError> {
    // Read here and not by the command line's own parser, which repeats what it does not understand.
    let named = named
        .map(str::parse::<Passphrase>)
        .transpose()
        .map_err(|e: String| CommandError::usage("secrets::unavailable", e))?;
    Ok(match named {
        Some(passphrase) => passphrase.read(&environment())?,
        None => Passphrase::strong(&typed(again, printer)?)?,
    })
}

fn typed(again: bool, printer: Printer) -> Result<SecretString, CommandError> {
    if !printer.can_ask() {
        return Err(CommandError::usage(
            "consent::nobody-to-ask",
            "nobody can be asked for the passphrase here",
        )
        .hint("name where it is: --passphrase env:NAME or --passphrase file:PATH"));
    }
    if again { typed_twice("passphrase: ", printer) } else { hidden("passphrase: ", printer) }
}

/// One that something was sealed with elsewhere, of whatever length.
///
/// # Errors
/// When it cannot be had.
pub fn given(named: Option<&str>, printer: Printer) -> Result<SecretString, CommandError> {
    match named {
        Some(_) => get(named, false, printer),
        None => {
            let text = typed(false, printer)?;
            Ok(text.expose_secret().trim_end_matches(['\n', '\r']).to_owned().into())
        }
    }
}

/// That of the root's key: named, or asked for. `again`: it is a new one, which is typed twice.
///
/// # Errors
/// When it cannot be had.
pub fn of_root(global: &Global, again: bool, printer: Printer) -> Result<SecretString, CommandError> {
    const QUESTION: &str = "passphrase of the root's key: ";
    match &global.root_passphrase {
        Some(named) => get(Some(named), false, printer),
        None if !printer.can_ask() => Err(CommandError::usage(
            "pki::root-locked",
            "the root's key takes a passphrase, and nobody can be asked for it here",
        )
        .hint("name where it is: --root-passphrase env:NAME or --root-passphrase file:PATH")),
        None if again => Passphrase::strong(&typed_twice(QUESTION, printer)?),
        None => {
            Ok(hidden(QUESTION, printer)?.expose_secret().trim_end_matches(['\n', '\r']).to_owned().into())
        }
    }
}

/// What a person types twice where nobody sees it, without the line's end.
///
/// # Errors
/// When the two are not the same.
pub fn typed_twice(question: &str, printer: Printer) -> Result<SecretString, CommandError> {
    let first = hidden(question, printer)?;
    if hidden("once more: ", printer)?.expose_secret() != first.expose_secret() {
        return Err(CommandError::usage("consent::declined", "the two are not the same"));
    }
    Ok(first.expose_secret().trim_end_matches(['\n', '\r']).to_owned().into())
}

/// A line from the terminal, which does not show it.
///
/// # Errors
/// When there is none.
pub fn hidden(question: &str, printer: Printer) -> Result<SecretString, CommandError> {
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
