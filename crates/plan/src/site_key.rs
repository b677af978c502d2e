//! The site's key: what it vouches for, nobody else can have written.
//!
//! Marks in descriptions, plans in files and what is remembered of a secret's value lie where others can write or read. Each
//! carries a code under this key, so that a text alone is no authority.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretBox, SecretString};

/// How long the key is, in bytes: as long as what SHA-256 gives (RFC 2104, section 3).
const LENGTH: usize = 32;
/// How much of a code is written, in bytes. Half of SHA-256's is enough (RFC 2104, section 5), and descriptions are short.
const WRITTEN: usize = 16;

/// A key that only this site has.
#[derive(Debug)]
pub struct SiteKey(SecretBox<[u8; LENGTH]>);

/// What a code is made for. One that was made for one purpose is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A mark in a guest's description, or on a node.
    Mark,
    /// A plan in a file.
    Plan,
    /// A secret's value, of which only this is kept.
    Secret,
    /// The key's own name.
    Name,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Mark => b"phoenix mark",
            Self::Plan => b"phoenix plan",
            Self::Secret => b"phoenix secret",
            Self::Name => b"phoenix site key",
        }
    }
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a site's key is 64 digits of base 16")]
pub struct NoKey;

/// The system gave no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct NoRandomness;

impl SiteKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = [0; LENGTH];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(SecretBox::new(Box::new(bytes))))
    }

    /// Reads what [`SiteKey::to_text`] wrote; blanks around it do not count.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_text(text: &str) -> Result<Self, NoKey> {
        let text = text.trim();
        if text.len() != 2 * LENGTH || !text.is_ascii() {
            return Err(NoKey);
        }
        let mut bytes = [0; LENGTH];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or(NoKey)?;
        }
        Ok(Self(SecretBox::new(Box::new(bytes))))
    }

    /// For the file that keeps it.
    pub fn to_text(&self) -> SecretString {
        hex(self.0.expose_secret()).into()
    }

    /// The code for these parts, in 32 digits of base 16. Where one part ends and the next begins counts.
    pub fn code(&self, purpose: Purpose, parts: &[&[u8]]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose_secret());
        let mut context = hmac::Context::with_key(&key);
        for part in std::iter::once(&purpose.label()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        hex(tag.as_ref().get(..WRITTEN).unwrap_or_default())
    }

    /// Whether `code` is the one for these parts; how long the answer takes does not tell where they differ.
    pub fn vouches(&self, code: &str, purpose: Purpose, parts: &[&[u8]]) -> bool {
        let right = self.code(purpose, parts);
        // Lengths are no secret; the rest is compared as a whole.
        right.len() == code.len() && right.bytes().zip(code.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }

    /// What the key is called: it can be shown, and tells one site's key from another.
    pub fn name(&self) -> String {
        self.code(Purpose::Name, &[])
    }
}

/// A text of 16 digits of base 16 that was never used before.
///
/// # Errors
/// When the system has no random numbers.
pub fn nonce() -> Result<String, NoRandomness> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(digit: char) -> SiteKey {
        SiteKey::from_text(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        let made = SiteKey::generate().unwrap();
        let again = SiteKey::from_text(&format!(" {}\n", made.to_text().expose_secret())).unwrap();
        assert_eq!(made.name(), again.name());
        assert_ne!(made.name(), SiteKey::generate().unwrap().name());
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(63), &"+f".repeat(32), &"ä".repeat(32)] {
            assert_eq!(SiteKey::from_text(wrong).unwrap_err(), NoKey, "{wrong}");
        }
    }

    #[test]
    fn it_is_not_shown() {
        assert!(!format!("{:?}", key('7')).contains("77"));
    }

    /// By another's reckoning: python3's `hmac.new(bytes(32), message, 'sha256')` over the same lengths and texts.
    #[test]
    fn a_code_is_hmac_sha256() {
        assert_eq!(
            key('0').code(Purpose::Mark, &[b"workshop", b"container.notes"]),
            "48f3cc34b1d7427faa42521b52b17386"
        );
    }

    proptest! {
        #[test]
        fn another_key_purpose_or_parts_make_another_code(a in ".{0,9}", b in ".{0,9}") {
            let parts = [a.as_bytes(), b.as_bytes()];
            let code = key('1').code(Purpose::Mark, &parts);
            prop_assert!(key('1').vouches(&code, Purpose::Mark, &parts));
            prop_assert!(!key('2').vouches(&code, Purpose::Mark, &parts));
            prop_assert!(!key('1').vouches(&code, Purpose::Plan, &parts));
            let joined = [a.as_str(), b.as_str()].concat();
            prop_assert!(!key('1').vouches(&code, Purpose::Mark, &[joined.as_bytes()]));
            prop_assert!(!key('1').vouches(code.get(1..).unwrap(), Purpose::Mark, &parts));
        }
    }
}
