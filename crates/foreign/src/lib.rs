//! Text that Phoenix did not write: how it is shown, and how much of it is kept.
//!
//! What a guest, a node, a name server or a file says may hold anything: sequences that set a terminal's title or the
//! clipboard (OSC 52), characters that turn the reading direction, line ends after which something looks like a line of
//! Phoenix' own. It is an [`Untrusted`] from where it is read, and becomes text to show in one of these ways:
//!
//! - [`line()`]: within a line. A line end is shown as `\n`.
//! - [`block`]: as several lines. Whoever prints them indents those after the first ([`indented`]).
//! - [`json`]: as a document of JSON, where an escape says the same.
//! - [`screen`]: the last look at what goes to a terminal. It knows Phoenix' own colours and nothing else.
//!
//! [`limits`] holds how much is read and kept of everything; [`Tail`] and [`Lines`] keep to it.

mod kept;
pub mod limits;
mod shown;

pub use kept::{Lines, Tail};
pub use shown::{block, indented, is_hidden, json, line, screen};

use std::fmt;

/// Text from outside, as it came. Displayed, it is a [`line()`]; as a `String`, a [`block`].
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Untrusted(String);

impl Untrusted {
    /// This text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it came: for who compares or parses it, and never to be shown.
    pub fn raw(&self) -> &str {
        &self.0
    }

    /// Its lines as one, with `; ` between them: for a sentence that tells what was said.
    pub fn joined(&self) -> String {
        let lines: Vec<_> =
            self.0.lines().map(str::trim_end).filter(|text| !text.is_empty()).map(line).collect();
        lines.join("; ")
    }

    /// Whether it says nothing.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&line(&self.0))
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<Untrusted> for String {
    fn from(text: Untrusted) -> Self {
        block(&text.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown_as_it_came() {
        let said = Untrusted::new("no\u{1b}]0;mine\u{7}\n✔ done");
        assert_eq!(format!("{said}"), "no\\u{1b}]0;mine\\u{7}\\n✔ done");
        assert_eq!(String::from(said.clone()), "no\\u{1b}]0;mine\\u{7}\n✔ done");
        assert!(said.raw().contains('\u{1b}') && !said.is_blank());
    }
}
