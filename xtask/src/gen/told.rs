//! The page of what features are told, from the types that they are told by.

use std::fmt::Write as _;

use serde_json::Value;

/// The page.
pub fn markdown() -> String {
    let mut out = String::from(
        "# What features are told\n\nA parameter of a [feature](../features.md) that says `\"derived\": true` is filled in by Phoenix, with \
         what follows from the blueprint for the guest that the feature is on. Its name is one of these; with another, the \
         blueprint is refused. Times are seconds and sizes are bytes: a template writes them as its own program reads them. A \
         field that may be absent is asked for with `is defined` or `default`.\n\nParameters of the type `json` take all of \
         them, but for texts (`string`) and `hypervisor` (`boolean`).\n",
    );
    let schema = plan::told::schema();
    for (name, field) in members(&schema) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n## `{name}`\n\n{}\n", description(field));
        section(field, &mut out);
    }
    out
}

/// The fields of an object, by name.
fn members(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// A text of a schema, without the line ends of the source.
fn description(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

/// What something can be, each in a form of its own; what is absent, or an empty object, is none.
fn forms(schema: &Value) -> Vec<&Value> {
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(all) => all.iter().flat_map(forms).collect(),
        None if words(schema).is_empty() => Vec::new(),
        None => vec![schema],
    }
}

fn section(field: &Value, out: &mut String) {
    let forms = forms(field);
    let many = forms.len() > 1;
    for form in forms {
        let (lead, fields) = match form.get("items") {
            Some(items) if members(items).next().is_some() => ("A list of objects".to_owned(), items),
            _ if many => (description(form).trim_end_matches('.').to_owned(), form),
            _ if members(form).next().is_some() => {
                ("An object, or an empty one where there is none".to_owned(), form)
            }
            _ => {
                let mut words = words(form);
                words.get_mut(..1).map(str::make_ascii_uppercase).unwrap_or_default();
                let _ = write!(out, "\n{words}.\n");
                continue;
            }
        };
        let _ = write!(out, "\n{lead}:\n\n| field | type | meaning |\n|---|---|---|\n");
        rows(fields, "", out);
    }
    if many {
        out.push_str("\nOr an empty object, where there is none.\n");
    }
}

/// A row for each field, and for each field of an object among them.
fn rows(schema: &Value, before: &str, out: &mut String) {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in members(schema) {
        let can = if required.contains(&name.as_str()) { "" } else { "; may be absent" };
        let kind: Vec<String> = forms(field).into_iter().map(words).collect();
        let meaning = description(field).replace('|', "\\|");
        let _ = writeln!(out, "| `{before}{name}` | {}{can} | {meaning} |", kind.join(" or "));
        let inner = field.get("items").unwrap_or(field);
        rows(inner, &format!("{before}{name}."), out);
    }
}

/// A type in words; empty for what is nothing.
fn words(schema: &Value) -> String {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        let all: Vec<String> = allowed
            .iter()
            .map(|value| format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        return all.join(" or ");
    }
    if let Some(only) = schema.get("oneOf").and_then(Value::as_array) {
        let all: Vec<String> =
            only.iter().filter_map(|one| Some(format!("`{}`", one.get("const")?.as_str()?))).collect();
        return all.join(" or ");
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("string") if schema.get("format").is_some_and(|format| format == "ipv4") => {
            "an IPv4 address".into()
        }
        Some("string") => "a text".into(),
        Some("integer") => "a whole number".into(),
        Some("boolean") => "true or false".into(),
        Some("array") => {
            let items = schema.get("items").map(words).unwrap_or_default();
            let many = items.trim_start_matches("an ").trim_start_matches("a ");
            format!("a list of {many}{}", if many.ends_with('s') { "es" } else { "s" })
        }
        Some("object") if members(schema).next().is_some() => "an object".into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_section_or_a_row() {
        let page = markdown();
        for (name, _) in members(&plan::told::schema()) {
            assert_eq!(page.matches(&format!("\n## `{name}`\n")).count(), 1, "{name}");
        }
        for row in [
            "| `body` | a whole number; may be absent | The largest request in bytes",
            "| `upstream_protocol` | `http` or `https` |",
            "| `users.password` | a text |",
            "| `address` | an IPv4 address |",
            "| `through` | a whole number |",
        ] {
            assert!(page.contains(row), "{row} is not in\n{page}");
        }
        assert!(page.contains("\nA list of IPv4 addresses.\n"), "{page}");
        assert!(!page.contains("|  |"), "a field has no type or no meaning\n{page}");
    }
}
