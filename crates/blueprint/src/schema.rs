//! The JSON Schema of the files, made from the types. It is what editors use, and what the structural check walks, so
//! the two cannot differ.

use std::sync::OnceLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::catalog::{FeatureSpec, StackSpec};
use crate::source::{FileSource, SecretSource};

/// The schema of a blueprint file (JSON Schema, draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    published("Phoenix blueprint", blueprint_schema())
}

/// The schema of a `feature.json` (JSON Schema, draft 2020-12).
#[must_use]
pub fn feature_schema() -> Value {
    published("Phoenix feature", feature_file_schema())
}

/// The schema of a `stack.json` (JSON Schema, draft 2020-12).
#[must_use]
pub fn stack_schema() -> Value {
    published("Phoenix stack", stack_file_schema())
}

/// What the structural check walks: with its own `x-` keys still in it.
pub(crate) fn blueprint_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(generate::<FileSource>)
}

pub(crate) fn secret_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(generate::<SecretSource>)
}

pub(crate) fn feature_file_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(described::<FeatureSpec>)
}

pub(crate) fn stack_file_schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(described::<StackSpec>)
}

/// The schema of a file that may name its own.
fn described<T: JsonSchema>() -> Value {
    let mut schema = generate::<T>();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let description = "The JSON Schema for editors, which then explain and complete keys.";
        properties.insert("$schema".to_owned(), json!({"type": "string", "description": description}));
    }
    schema
}

/// What a `$ref` of a schema leads to; the schema itself where it is none.
pub(crate) fn resolve<'s>(root: &'s Value, mut schema: &'s Value) -> &'s Value {
    // Generated references are never circular, but a loop here must end in any case.
    for _ in 0..16 {
        let Some(Value::String(reference)) = schema.get("$ref") else { break };
        let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else {
            break;
        };
        schema = target;
    }
    schema
}

fn generate<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut value = generator.into_root_schema_for::<T>().to_value();
    tidy(&mut value);
    value
}

/// Takes out what the derive puts in for Rust's sake: `null` for absent keys (in a blueprint, `null` belongs nowhere:
/// P-29), integer formats, line ends inside sentences.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(tidy),
        Value::Object(map) => {
            tidy_object(map);
            map.iter_mut()
                .filter(|(key, _)| !matches!(key.as_str(), "default" | "examples"))
                .for_each(|(_, v)| tidy(v));
        }
        _ => {}
    }
}

fn tidy_object(map: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|t| t != "null"));
        if let [Value::Object(only)] = branches.as_mut_slice() {
            let only = std::mem::take(only);
            map.remove("anyOf");
            for (key, inner) in only {
                map.entry(key).or_insert(inner);
            }
        }
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    if map
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|f| f.starts_with("uint") || f.starts_with("int"))
    {
        map.remove("format");
    }
    // Only a schema's own text: a property may be called `description`, too, and is an object then.
    if let Some(Value::String(text)) = map.get_mut("description") {
        *text = text.replace("\n\n", "\u{0}").replace('\n', " ").replace('\u{0}', "\n\n");
    }
}

fn published(title: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    strip_own_keys(&mut schema);
    if let Value::Object(map) = &mut schema {
        map.insert("title".to_owned(), title.into());
    }
    schema
}

fn strip_own_keys(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(strip_own_keys),
        Value::Object(map) => {
            map.retain(|key, _| !key.starts_with("x-"));
            map.values_mut().for_each(strip_own_keys);
        }
        _ => {}
    }
}
