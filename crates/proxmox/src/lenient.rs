//! Perl's idea of types: a boolean is 0, 1, "1", "" or true; a number may be a string; what is not set is absent or null.

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A boolean. Absent is for the field's default to say.
pub(crate) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(from)?;
    as_flag(&value).ok_or_else(|| D::Error::custom(format!("expected 0 or 1, found {value}")))
}

pub(crate) fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Null => Some(false),
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => as_flag_text(text),
        _ => None,
    }
}

/// The words `PVE::JSONSchema::parse_boolean` knows.
pub fn as_flag_text(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => Some(true),
        "" | "0" | "off" | "no" | "false" => Some(false),
        _ => None,
    }
}

/// A whole number that fits a `u64`, or nothing.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = Value::deserialize(from)?;
    match &value {
        Value::Null => Ok(None),
        Value::Number(number) if number.is_u64() => Ok(number.as_u64()),
        // Sizes come as floats where Perl divided; a count never is one.
        Value::Number(number) => match number.as_f64() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be in range"
            )]
            Some(float) if (0.0..=9e15).contains(&float) => Ok(Some(float as u64)),
            _ => Err(D::Error::custom(format!("expected a whole number, found {value}"))),
        },
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(D::Error::custom(format!("expected a whole number, found {value}"))),
        },
        _ => Err(D::Error::custom(format!("expected a whole number, found {value}"))),
    }
}

/// A number that must be there and fits a `u32`: a guest's.
pub(crate) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = number(from)?.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| D::Error::custom("expected the number of a guest"))
}

pub(crate) fn maybe_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    Ok(number(from)?.and_then(|number| u32::try_from(number).ok()))
}

/// A scalar as the text a configuration file has for it.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(&Value::deserialize(from)?))
}

pub(crate) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        other => Some(other.to_string()),
    }
}
