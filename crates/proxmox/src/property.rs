//! Property strings (`name=eth0,bridge=vmbr0`) and lists, as Proxmox VE writes and compares them.
//!
//! Never compare what was sent with what is read back: keys come in another order, defaults are filled in, and a new
//! volume gets its name. A [`Schema`] knows that; [`container`] has those of a container's keys.

pub mod container;
pub mod machine;
mod schema;
mod size;
mod volume;

use std::fmt;
use std::str::FromStr;

pub use schema::{Form, Schema, Sub};
pub use size::Size;
pub use volume::VolumeSource;

pub use crate::lenient::as_flag_text as flag;

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
        let mut parts: Vec<(Option<String>, String)> = Vec::new();
        // Proxmox VE skips blank parts; it stores what was sent empty as one blank.
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some(("", _)) => return Err(wrong(format!("`{part}` has no key"))),
                // A folder may have a `=` in its name; a key has no `/`.
                Some((key, value)) if !key.contains('/') => (Some(key.to_owned()), value.to_owned()),
                _ => (None, part.to_owned()),
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

    /// Adds a part; one without a key is the value of the format's default key.
    pub(crate) fn push(&mut self, key: Option<&str>, value: impl Into<String>) {
        self.parts.push((key.map(str::to_owned), value.into()));
    }

    /// Whether it has no parts.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// The members of a list as Proxmox VE splits it: at commas, semicolons and white space (`PVE::Tools::split_list`).
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', ' ', '\t', '\n', '\0']).filter(|member| !member.is_empty())
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
        for text in ["=1", "a=1,a=2", "x,y", "/a=b,/c"] {
            assert!(text.parse::<PropertyString>().is_err(), "{text}");
        }
        for (text, printed) in [("", ""), (" ", ""), ("a=1,", "a=1"), ("/a=b,mp=/c", "/a=b,mp=/c")] {
            assert_eq!(text.parse::<PropertyString>().unwrap().to_string(), printed);
        }
    }
}
