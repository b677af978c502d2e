//! What a file holds: text where it is text, so that a plan can be read, and base64 where it is not.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes of a file. In JSON `{"text": "…"}` or `{"base64": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(Arc<[u8]>);

impl Content {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Arc<[u8]>> for Content {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    Text(String),
    Base64(String),
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Shown::Text(text.to_owned()),
            Err(_) => Shown::Base64(base64(&self.0)),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Shown::deserialize(deserializer)? {
            Shown::Text(text) => Ok(Self::from(text)),
            Shown::Base64(text) => from_base64(&text)
                .map(|bytes| Self(bytes.into()))
                .ok_or_else(|| serde::de::Error::custom("not base64")),
        }
    }
}

const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding, on one line.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i > chunk.len() { '=' } else { char::from(sign) });
        }
    }
    text
}

/// The reverse of [`base64`]; `None` for anything that it does not print.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for quad in text.chunks(4) {
        let signs = quad.iter().take_while(|&&b| b != b'=').count();
        let mut bits = 0u32;
        for &sign in &quad[..signs] {
            bits = bits << 6 | u32::try_from(SIGNS.iter().position(|&s| s == sign)?).ok()?;
        }
        bits <<= 6 * (4 - u32::try_from(signs).ok()?);
        bytes.extend_from_slice(bits.to_be_bytes().get(1..signs)?);
    }
    (base64(&bytes).as_bytes() == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        for bad in ["Zg", "Zg=", "Zh==", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm 9"] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive_a_plan_file(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let content = Content::from(Arc::<[u8]>::from(bytes));
            let json = serde_json::to_string(&content).unwrap();
            prop_assert_eq!(serde_json::from_str::<Content>(&json).unwrap(), content);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/=]{0,12}") {
            if let Some(bytes) = from_base64(&text) {
                prop_assert_eq!(base64(&bytes), text);
            }
        }
    }
}
