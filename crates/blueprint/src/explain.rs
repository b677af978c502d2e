//! What a key means: `phoenix-cli explain`, and the book's reference of all keys. Both are made from the JSON Schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::schema::{blueprint_schema, resolve};

/// What there is to say about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The key with all that lead to it, `NAME` for names that the user chooses: `containers.NAME.memory`.
    pub path: String,
    /// What kind of value it has, in words.
    pub kind: String,
    /// Whether the object it is in needs it.
    pub required: bool,
    /// What holds where nothing is said, as JSON.
    pub default: Option<String>,
    /// What it means.
    pub description: String,
    /// An example of a value, as JSON.
    pub example: Option<String>,
    /// The values it can have, where only some are possible, each with its meaning.
    pub values: Vec<(String, String)>,
    /// The keys it can hold, each with the first sentence of its description.
    pub children: Vec<(String, String)>,
}

/// A place in the schema.
#[derive(Clone)]
struct Position {
    path: Vec<String>,
    /// The schema as it stands there, with the description that belongs to the key.
    schema: &'static Value,
    required: bool,
}

/// Explains a key such as `containers.memory`, `containers.notes.memory` or `site`; names of things can be left out. An
/// empty path explains the file.
#[must_use]
pub fn explain(key_path: &str) -> Option<Explanation> {
    let root = blueprint_schema();
    let mut position = Position { path: Vec::new(), schema: root, required: false };
    for segment in key_path.split('.').filter(|s| !s.is_empty()) {
        position = child(&position, segment).or_else(|| {
            // A name of the user's own: `containers.notes` is any container.
            named(&position)
        })?;
    }
    Some(explanation(&position))
}

/// Everything below a list or behind alternatives that has keys.
fn object(schema: &'static Value) -> Option<&'static Value> {
    let root = blueprint_schema();
    let schema = resolve(root, schema);
    if let Some(Value::Array(branches)) = schema.get("anyOf") {
        return branches.iter().find_map(object);
    }
    if let Some(items) = schema.get("items") {
        return object(items);
    }
    (schema.get("properties").is_some() || schema.get("additionalProperties").is_some_and(Value::is_object))
        .then_some(schema)
}

fn properties(schema: &'static Value) -> Option<&'static Map<String, Value>> {
    schema.get("properties")?.as_object()
}

fn is_required(schema: &Value, key: &str) -> bool {
    schema.get("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|r| r == key))
}

fn child(position: &Position, key: &str) -> Option<Position> {
    let within = object(position.schema)?;
    if let Some(schema) = properties(within).and_then(|p| p.get(key)) {
        let path = position.path.iter().cloned().chain([key.to_owned()]).collect();
        return Some(Position { path, schema, required: is_required(within, key) });
    }
    let inner = named(position)?;
    let within = object(inner.schema)?;
    properties(within)?.contains_key(key).then(|| child(&inner, key))?
}

fn named(position: &Position) -> Option<Position> {
    let within = object(position.schema)?;
    let schema = within.get("additionalProperties").filter(|s| s.is_object())?;
    let path = position.path.iter().cloned().chain(["NAME".to_owned()]).collect();
    Some(Position { path, schema, required: false })
}

/// A value that is given beside a reference counts before the one behind it.
fn look(schema: &'static Value, key: &str) -> Option<&'static Value> {
    schema.get(key).or_else(|| resolve(blueprint_schema(), schema).get(key))
}

fn description(schema: &'static Value) -> String {
    look(schema, "description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    text.get(..end).unwrap_or(text).to_owned()
}

fn kind(schema: &'static Value) -> String {
    let schema = resolve(blueprint_schema(), schema);
    let text = |key| schema.get(key).and_then(Value::as_str);
    if let Some(expects) = text("x-expects") {
        return expects.to_owned();
    }
    if schema.get("oneOf").is_some() || schema.get("enum").is_some() {
        return "one of a few words".to_owned();
    }
    if let Some(Value::Array(branches)) = schema.get("anyOf") {
        return branches.iter().map(kind).collect::<Vec<_>>().join(", or ");
    }
    let bounds = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(low), Some(high)) => format!(", {low} to {high}"),
        (Some(low), None) if low != 0 => format!(", at least {low}"),
        _ => String::new(),
    };
    match text("type") {
        Some("integer") => format!("a whole number{bounds}"),
        Some("boolean") => "true or false".to_owned(),
        Some("string") => "a text".to_owned(),
        Some("array") => match schema.get("items") {
            Some(items) => format!("a list; each {}", kind(items)),
            None => "a list".to_owned(),
        },
        Some("object") if schema.get("x-secret").is_some() => "a reference to a secret".to_owned(),
        Some("object") if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            "an object with names of your own".to_owned()
        }
        Some("object") => "an object".to_owned(),
        _ => "any value".to_owned(),
    }
}

fn words(schema: &'static Value) -> Vec<(String, String)> {
    let branches = resolve(blueprint_schema(), schema).get("oneOf").and_then(Value::as_array);
    let branch = |branch: &'static Value| Some((branch.get("const")?.to_string(), description(branch)));
    branches.into_iter().flatten().filter_map(branch).collect()
}

fn explanation(position: &Position) -> Explanation {
    let schema = position.schema;
    let own = object(schema);
    let inner = match own {
        // Where the user chooses the names, what is behind them is of interest.
        Some(own) if properties(own).is_none() => named(position).and_then(|n| object(n.schema)),
        other => other,
    };
    let keys = inner.and_then(properties).into_iter().flatten();
    let children = keys.map(|(key, schema)| (key.clone(), first_sentence(&description(schema)))).collect();
    let example = look(schema, "examples").and_then(|all| all.get(0)).map(Value::to_string);
    Explanation {
        path: position.path.join("."),
        kind: kind(schema),
        required: position.required,
        default: look(schema, "default").map(Value::to_string),
        description: description(schema),
        example,
        values: words(schema),
        children,
    }
}

/// The reference of all keys, as a page of the book.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Blueprint reference\n\nEvery key of a blueprint file. All `*.json` and `*.jsonc` files in the site's folder and \
         below `blueprints/` are read together, as one; a name is defined in one of them. Comments (`//` and `/* */`) are \
         allowed, trailing commas are not. `phoenix-cli explain KEY` shows the same in a terminal.\n",
    );
    let root = Position { path: Vec::new(), schema: blueprint_schema(), required: false };
    let mut waiting = vec![root];
    while let Some(position) = waiting.pop() {
        section(&position, &mut out, &mut waiting);
    }
    out
}

fn section(position: &Position, out: &mut String, waiting: &mut Vec<Position>) {
    let Some(own) = object(position.schema) else { return };
    if !position.path.is_empty() {
        let level = "#".repeat((position.path.len() + 1).min(5));
        // Writing to a String cannot fail.
        let _ = write!(out, "\n{level} `{}`\n\n{}\n", position.path.join("."), description(position.schema));
    }
    let Some(keys) = properties(own) else {
        let inner = named(position).filter(|inner| object(inner.schema).is_some());
        waiting.extend(inner);
        return;
    };
    out.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    let mut deeper = Vec::new();
    for (key, schema) in keys {
        let default = match look(schema, "default") {
            Some(default) => format!("`{default}`"),
            None if is_required(own, key) => "needed".to_owned(),
            None => String::new(),
        };
        let mut meaning = description(schema).replace("\n\n", "<br>");
        for (word, about) in words(schema) {
            let _ = write!(meaning, "<br>`{word}`: {about}");
        }
        let _ = writeln!(out, "| `{key}` | {} | {default} | {} |", kind(schema), meaning.replace('|', "\\|"));
        let path = position.path.iter().cloned().chain([key.clone()]).collect();
        let next = Position { path, schema, required: false };
        if object(schema).is_some_and(|o| properties(o).is_some() || named(&next).is_some()) {
            deeper.push(next);
        }
    }
    waiting.extend(deeper.into_iter().rev());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_left_out() {
        let short = explain("containers.memory").unwrap();
        assert_eq!(short, explain("containers.notes.memory").unwrap());
        assert_eq!(short.path, "containers.NAME.memory");
        assert_eq!(short.default.as_deref(), Some("\"512M\""));
        assert_eq!(short.example.as_deref(), Some("\"2G\""));
        assert!(short.kind.starts_with("a size"), "{}", short.kind);
        assert_eq!(explain("containers.notes.memmory"), None);
        assert_eq!(explain("nothing"), None);
    }

    #[test]
    fn objects_behind_alternatives_are_found() {
        let disk = explain("types.small.disk").unwrap();
        assert!(disk.children.iter().any(|(key, _)| key == "storage"), "{disk:?}");
        let expose = explain("containers.services.expose").unwrap();
        assert_eq!(expose.path, "containers.NAME.services.NAME.expose");
        assert_eq!(expose.values.len(), 4);
        assert!(explain("target.proxmox.token.env").is_some());
        assert!(explain("networks.lan.subnet").unwrap().required);
        assert!(explain("").unwrap().children.iter().any(|(key, _)| key == "containers"));
    }

    #[test]
    fn the_reference_has_every_key_with_a_meaning() {
        let text = reference_markdown();
        for key in ["## `site`", "### `target.proxmox`", "`read-only`", "`ca-file`", "`expose`"] {
            assert!(text.contains(key), "{key} is missing in:\n{text}");
        }
        for line in text.lines().filter(|l| l.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "no meaning: {line}");
        }
    }
}
