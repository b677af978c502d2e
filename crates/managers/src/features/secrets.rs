//! Secrets inside of parameters: each is a reference, and a placeholder takes its place before templates see it.

use blueprint::model::SecretRef;
use serde_json::Value;

use super::quote::placeholder;

/// The key of an object that is a secret by reference, where no schema says that one belongs there: in what wiring derives.
const KEY: &str = "$secret";

/// Puts placeholders in the place of the secrets in `value`, and their references at the end of `secrets`.
///
/// A secret is what stands where `schema` (a JSON Schema) has `"format": "secret"`, and every `{"$secret": REFERENCE}`.
///
/// # Errors
/// Something else than a reference where a secret belongs: the path to it. What stands there may be the secret itself,
/// so it is not repeated.
pub(super) fn take(
    value: &Value,
    schema: Option<&Value>,
    secrets: &mut Vec<SecretRef>,
) -> Result<Value, String> {
    Ok(match value {
        _ if schema.and_then(|s| s.get("format")).is_some_and(|format| format == "secret") => {
            reference(value, secrets)?
        }
        Value::Object(map) => match map.get(KEY) {
            Some(inner) if map.len() == 1 => reference(inner, secrets)?,
            _ => {
                let known = schema.and_then(|s| s.get("properties"));
                let others = schema.and_then(|s| s.get("additionalProperties"));
                let members = map.iter().map(|(key, value)| {
                    let inner = known.and_then(|k| k.get(key)).or(others);
                    Ok((key.clone(), take(value, inner, secrets).map_err(|path| format!(".{key}{path}"))?))
                });
                Value::Object(members.collect::<Result<_, String>>()?)
            }
        },
        Value::Array(all) => {
            let items = schema.and_then(|s| s.get("items"));
            let all = all
                .iter()
                .enumerate()
                .map(|(index, value)| take(value, items, secrets).map_err(|path| format!("[{index}]{path}")));
            Value::Array(all.collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

fn reference(value: &Value, secrets: &mut Vec<SecretRef>) -> Result<Value, String> {
    let reference: SecretRef = serde_json::from_value(value.clone()).map_err(|_| String::new())?;
    let number = secrets.iter().position(|known| *known == reference).unwrap_or_else(|| {
        secrets.push(reference);
        secrets.len() - 1
    });
    Ok(Value::String(placeholder(number, None)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_taken_out_wherever_they_are() {
        let schema = json!({
            "properties": { "list": { "items": { "format": "secret" } } },
            "additionalProperties": { "properties": { "password": { "format": "secret" } } },
        });
        let value = json!({
            "notes": { "password": { "env": "A" }, "x": { "$secret": { "generate": "g" } } },
            "list": [{ "env": "B" }, { "env": "A" }],
            "plain": { "env": "C" },
        });
        let mut secrets = Vec::new();
        let expected = json!({
            "notes": { "password": "@@secret:1@@", "x": "@@secret:2@@" },
            "list": ["@@secret:0@@", "@@secret:1@@"],
            "plain": { "env": "C" },
        });
        assert_eq!(take(&value, Some(&schema), &mut secrets).unwrap(), expected);
        let env = |name: &str| SecretRef::Env(name.into());
        assert_eq!(secrets, [env("B"), env("A"), SecretRef::Generate("g".into())]);
        let wrong = json!({ "notes": { "password": "hunter2" } });
        assert_eq!(take(&wrong, Some(&schema), &mut secrets).unwrap_err(), ".notes.password");
    }
}
