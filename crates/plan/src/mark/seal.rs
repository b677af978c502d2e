//! Seals: who made a mark, and whose it is. A seal is a code under the site's key over all that the mark says and over what
//! carries it, so that neither can be changed by anybody else, and a copy of it is none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{DESCRIPTION_LIMIT, Mark, whole, written};
use crate::site_key::{Purpose, SiteKey};

/// What carries a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer(String);

impl Bearer {
    /// The guest with this id, wherever in the cluster it is.
    pub fn guest(id: u32) -> Self {
        Self(id.to_string())
    }

    /// The datacenter, whose notes carry what a site has there.
    pub fn datacenter() -> Self {
        Self("datacenter".to_owned())
    }

    /// A node.
    pub fn node(name: &str) -> Self {
        Self(format!("node/{name}"))
    }
}

/// Who made a mark: `BEARER NONCE CODE` in one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Seal {
    bearer: String,
    nonce: String,
    code: String,
}

/// Why a text is no seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a seal is a bearer, a nonce and a code")]
pub struct NoSeal;

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.bearer, self.nonce, self.code)
    }
}

impl From<Seal> for String {
    fn from(seal: Seal) -> Self {
        seal.to_string()
    }
}

impl FromStr for Seal {
    type Err = NoSeal;
    fn from_str(text: &str) -> Result<Self, NoSeal> {
        let words: Vec<&str> = text.split(' ').collect();
        let [bearer, nonce, code] = *words.as_slice() else { return Err(NoSeal) };
        if [bearer, nonce, code].contains(&"") {
            return Err(NoSeal);
        }
        Ok(Self { bearer: bearer.to_owned(), nonce: nonce.to_owned(), code: code.to_owned() })
    }
}

impl TryFrom<String> for Seal {
    type Error = NoSeal;
    fn try_from(text: String) -> Result<Self, NoSeal> {
        text.parse()
    }
}

/// A mark as it was read. Nobody has looked yet who made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub(super) mark: Mark,
    pub(super) seal: Option<Seal>,
}

/// Why a mark is not the key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsealed {
    /// It has no seal at all.
    No,
    /// The key did not make it, or there is none.
    Another,
    /// The key made it for this guest, of which it is a copy.
    CopyOf(u32),
}

impl Read {
    /// What it says it is. Anybody can have written that.
    pub fn says(&self) -> &Mark {
        &self.mark
    }

    /// The mark and its nonce, where the key made it for `bearer`.
    ///
    /// # Errors
    /// Why it is not that.
    pub fn verified(&self, key: Option<&SiteKey>, bearer: &Bearer) -> Result<&str, Unsealed> {
        let Some(seal) = &self.seal else { return Err(Unsealed::No) };
        let made = key.is_some_and(|key| {
            let body = written::plain(&self.mark, None);
            let parts = [seal.bearer.as_bytes(), seal.nonce.as_bytes(), body.as_bytes()];
            key.vouches(&seal.code, Purpose::Mark, &parts)
        });
        match (made, seal.bearer == bearer.0, seal.bearer.parse()) {
            (true, true, _) => Ok(&seal.nonce),
            (true, false, Ok(id)) => Err(Unsealed::CopyOf(id)),
            _ => Err(Unsealed::Another),
        }
    }

    /// What it says, whoever made it.
    pub fn into_mark(self) -> Mark {
        self.mark
    }
}

fn seal(key: &SiteKey, bearer: &Bearer, nonce: &str, mark: &Mark) -> Seal {
    let body = written::plain(mark, None);
    let code = key.code(Purpose::Mark, &[bearer.0.as_bytes(), nonce.as_bytes(), body.as_bytes()]);
    Seal { bearer: bearer.0.clone(), nonce: nonce.to_owned(), code }
}

/// The description with text and mark, sealed for `bearer`; in short where it would be too long, as
/// [`super::render`] does it.
pub(crate) fn render(key: &SiteKey, bearer: &Bearer, nonce: &str, text: &str, mark: &Mark) -> String {
    let plain = whole(text, &json(key, bearer, nonce, mark));
    if plain.len() <= DESCRIPTION_LIMIT {
        return plain;
    }
    // What is sealed is what is read again, which is less.
    let short = written::shortened(mark);
    let short = short.and_then(|mark| written::packed(&mark, Some(seal(key, bearer, nonce, &mark))));
    short.map_or(plain, |json| whole(text, &json))
}

/// The mark alone, sealed for `bearer`, as a node keeps it.
pub(crate) fn json(key: &SiteKey, bearer: &Bearer, nonce: &str, mark: &Mark) -> String {
    written::plain(mark, Some(seal(key, bearer, nonce, mark)))
}

/// Reads a mark that stands alone, as a node keeps it.
///
/// # Errors
/// When it is no mark.
pub fn read(json: &str) -> Result<Read, serde_json::Error> {
    written::read(json)
}
