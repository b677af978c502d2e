//! Property strings (`name=eth0,bridge=vmbr0`), typed where Phoenix writes them, and compared as the node means them.
//!
//! Never compare what was sent with what is read back: keys come in another order, defaults are filled in, and a new
//! volume gets its name. `same_as` knows that.

mod net;
mod options;
mod size;
mod volume;

use std::fmt;
use std::str::FromStr;

pub use net::Net;
pub use options::{Features, Startup, Tags};
pub use size::Size;
pub use volume::{MountPoint, RootFs, VolumeSource};

use crate::lenient::as_flag_text;

/// A text that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {reason}")]
pub struct PropertyError {
    /// The text.
    pub text: String,
    /// What it should have been.
    pub what: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl PropertyError {
    fn new(text: &str, what: &'static str, reason: impl Into<String>) -> Self {
        Self { text: text.chars().take(200).collect(), what, reason: reason.into() }
    }
}

/// `key=value` pairs in order; a part without a key is the value of the format's default key. It prints back what it
/// parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyString {
    parts: Vec<(Option<String>, String)>,
}

impl FromStr for PropertyString {
    type Err = PropertyError;

    fn from_str(text: &str) -> Result<Self, PropertyError> {
        let wrong = |reason: String| PropertyError::new(text, "property string", reason);
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut parts: Vec<(Option<String>, String)> = Vec::new();
        for part in text.split(',') {
            let (key, value) = match part.split_once('=') {
                Some(("", _)) => return Err(wrong(format!("`{part}` has no key"))),
                Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
                None if part.is_empty() => return Err(wrong("a part is empty".to_owned())),
                None => (None, part.to_owned()),
            };
            if parts.iter().any(|(known, _)| *known == key) {
                return Err(wrong(format!(
                    "`{}` is there twice",
                    key.as_deref().unwrap_or("the value without a key")
                )));
            }
            parts.push((key, value));
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for PropertyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match key {
                Some(key) => write!(f, "{key}={value}")?,
                None => f.write_str(value)?,
            }
        }
        Ok(())
    }
}

impl PropertyString {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parts.iter().find(|(known, _)| known.as_deref() == Some(key)).map(|(_, value)| value.as_str())
    }

    /// The value without a key, which is that of the format's default key.
    pub fn default_value(&self) -> Option<&str> {
        self.parts.iter().find(|(key, _)| key.is_none()).map(|(_, value)| value.as_str())
    }

    /// The parts in order.
    pub fn parts(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.parts.iter().map(|(key, value)| (key.as_deref(), value.as_str()))
    }

    /// Adds a pair, unless there is no value.
    pub(crate) fn push(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.parts.push((Some(key.to_owned()), value.to_string()));
        }
    }

    /// Adds a flag, unless it is not set.
    pub(crate) fn push_flag(&mut self, key: &str, flag: bool) {
        self.push(key, flag.then_some(1));
    }

    pub(crate) fn push_default(&mut self, value: &dyn fmt::Display) {
        self.parts.push((None, value.to_string()));
    }

    /// Takes a key out: how a typed form is read, so that what is left is what it does not know.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.parts.iter().position(|(known, _)| known.as_deref() == Some(key))?;
        Some(self.parts.remove(at).1)
    }

    pub(crate) fn take_default(&mut self, key: &str) -> Option<String> {
        match self.parts.iter().position(|(known, _)| known.is_none()) {
            Some(at) => Some(self.parts.remove(at).1),
            None => self.take(key),
        }
    }

    pub(crate) fn take_flag(&mut self, key: &str, what: &'static str) -> Result<bool, PropertyError> {
        let Some(text) = self.take(key) else { return Ok(false) };
        as_flag_text(&text).ok_or_else(|| PropertyError::new(&text, what, format!("`{key}` is 0 or 1")))
    }

    pub(crate) fn take_number<N: FromStr>(
        &mut self,
        key: &str,
        what: &'static str,
    ) -> Result<Option<N>, PropertyError> {
        let Some(text) = self.take(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| PropertyError::new(&text, what, format!("`{key}` is a number")))
    }

    /// What is left after the known keys were taken. A second value without a key cannot be: reading refuses it.
    pub(crate) fn rest(self) -> Vec<(String, String)> {
        let mut rest: Vec<_> =
            self.parts.into_iter().map(|(key, value)| (key.unwrap_or_default(), value)).collect();
        rest.sort();
        rest
    }

    pub(crate) fn push_rest(&mut self, rest: &[(String, String)]) {
        for (key, value) in rest {
            match key.as_str() {
                "" => self.push_default(value),
                key => self.push(key, Some(value)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_prints_what_it_parsed(text in "([a-z0-9]{1,5}=[!-+--~]{0,8}|[!-+--<>-~]{1,9})(,[a-z]{1,3}[0-9]=[!-+--~]{0,8}){0,4}") {
            if let Ok(parsed) = text.parse::<PropertyString>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_none() {
        for text in [",", "a=1,", "=1", "a=1,a=2", "x,y"] {
            assert!(text.parse::<PropertyString>().is_err(), "{text}");
        }
        assert_eq!("".parse::<PropertyString>().unwrap().to_string(), "");
    }
}
