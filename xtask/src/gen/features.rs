//! The reference of the built-in features, from the catalog: a page for each, a page that lists them, and their lines in
//! the book's table of contents.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blueprint::Catalog;
use blueprint::catalog::{Feature, FeatureSpec, Parameter};
use blueprint::model::SiteFile;
use serde_json::Value;

/// Where the pages are, below `docs/src/`.
const FOLDER: &str = "reference/features";

/// The line of the table of contents below which the features' lines stand.
const ENTRY: &str = "- [Features](reference/features.md)";

/// The features.
///
/// # Errors
/// When a built-in feature is not as it should be.
pub fn catalog() -> Result<Catalog, String> {
    Catalog::from_files(managers::features::builtin()).map_err(|failure| failure.to_text())
}

/// The page that lists them.
pub fn markdown(catalog: &Catalog) -> String {
    let mut out = String::from(
        "# Features reference\n\nThe features that come with Phoenix. Your own go into the site's `features/` folder and work \
         the same: [How to write a feature](../features.md). In a terminal: `phoenix-cli explain features` and `phoenix-cli \
         explain feature.NAME`.\n\n| feature | what |\n|---|---|\n",
    );
    for (name, feature) in catalog.iter() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| [`{name}`](features/{name}.md) | {} |", cell(&feature.spec.description));
    }
    out
}

/// A page for each: its path in the repository, and what is on it.
pub fn pages(catalog: &Catalog) -> Vec<(String, String)> {
    catalog
        .iter()
        .map(|(name, feature)| (format!("docs/src/{FOLDER}/{name}.md"), page(name, feature)))
        .collect()
}

/// The table of contents `text` with the features in it as they are.
pub fn summary(catalog: &Catalog, text: &str) -> String {
    let names: Vec<&str> = catalog.iter().map(|(name, _)| name).collect();
    listed(text, ENTRY, FOLDER, &names)
}

/// The table of contents `text` with a line for each of `names`, whose pages are in `folder`, below the line `entry`.
pub(super) fn listed(text: &str, entry: &str, folder: &str, names: &[&str]) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("- [`") || !line.contains(folder)) {
        out.push_str(line);
        out.push('\n');
        if line == entry {
            for name in names {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "  - [`{name}`]({folder}/{name}.md)");
            }
        }
    }
    out
}

fn page(name: &str, feature: &Feature) -> String {
    let spec = &feature.spec;
    let mut out = format!("# `{name}`\n\n{}\n", spec.description);
    facts(spec, &mut out);
    example(name, feature.files.get("example.json"), &mut out);
    parameters(&spec.parameters, &mut out);
    contents(spec, &mut out);
    checks(spec, &mut out);
    out
}

/// The site that shows how it is used.
pub(super) fn example(name: &str, file: Option<&SiteFile>, out: &mut String) {
    if let Some(file) = file {
        let text = String::from_utf8_lossy(&file.bytes);
        let _ = write!(
            out,
            "\n## Example\n\nA file of a site, such as `{name}.json`:\n\n```jsonc\n{}\n```\n",
            text.trim_end()
        );
    }
}

/// What it can be put on, where that is not guests alone.
fn hosts(spec: &FeatureSpec) -> Vec<String> {
    spec.hosts.iter().map(|host| host.plural().to_owned()).collect()
}

/// What it is to others.
fn facts(spec: &FeatureSpec, out: &mut String) {
    let links: Vec<String> = spec.requires.iter().map(|r| format!("[`{r}`]({r}.md)")).collect();
    let mut lines = Vec::new();
    for (label, list) in [
        ("can be put on", hosts(spec)),
        ("requires", links),
        ("provides", code(&spec.provides)),
        ("needs the container's options", code(&spec.options)),
        ("brings programs that no package has", code(&spec.artifacts)),
    ] {
        if !list.is_empty() {
            lines.push(format!("{label}: {}", list.join(", ")));
        }
    }
    if let Some(certificate) = &spec.certificate {
        let mut line = "uses a certificate of the workshop".to_owned();
        if let Some(when) = &certificate.when {
            let _ = write!(line, " where `{when}` is true");
        }
        if let Some(owner) = &certificate.owner {
            let group = owner.split_once(':').map_or(owner.as_str(), |(_, group)| group);
            let _ = write!(line, "; the group `{group}` may read its key");
        }
        for (verb, units) in [("reloaded", &certificate.reloads), ("restarted", &certificate.restarts)] {
            if !units.is_empty() {
                let are = if units.len() == 1 { "is" } else { "are" };
                let _ = write!(line, "; {} {are} {verb} when it is renewed", code(units).join(", "));
            }
        }
        lines.push(line);
    }
    if !lines.is_empty() {
        let _ = write!(out, "\n- {}\n", lines.join("\n- "));
    }
}

/// The table of what can be set, and what is filled in.
pub(super) fn parameters(all: &BTreeMap<String, Parameter>, out: &mut String) {
    let (derived, own): (Vec<_>, Vec<_>) = all.iter().partition(|(_, p)| p.derived);
    if !own.is_empty() {
        out.push_str("\n## Parameters\n\n| parameter | type | default | meaning |\n|---|---|---|---|\n");
    }
    for (name, parameter) in own {
        let kind = serde_json::to_value(parameter.kind).unwrap_or_default();
        let default =
            parameter.default.as_ref().map_or_else(|| "needed".to_owned(), |value| format!("`{value}`"));
        let _ = writeln!(
            out,
            "| `{name}` | {} | {} | {}{} |",
            kind.as_str().unwrap_or_default(),
            cell(&default),
            cell(&parameter.description),
            limits(parameter)
        );
    }
    if !derived.is_empty() {
        out.push_str("\nFilled in by Phoenix, as [features are told](../told.md):\n\n");
    }
    for (name, parameter) in derived {
        let _ = writeln!(out, "- [`{name}`](../told.md#{name}): {}", parameter.description);
    }
}

/// What the schema of a parameter allows, where that is short.
fn limits(parameter: &Parameter) -> String {
    let Some(schema) = &parameter.schema else { return String::new() };
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        // An empty text between backquotes would be no code.
        let word = |word: &str| if word.is_empty() { r#"`""`"#.to_owned() } else { format!("`{word}`") };
        let words: Vec<String> = allowed.iter().filter_map(Value::as_str).map(word).collect();
        return format!(" One of {}.", words.join(", "));
    }
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(low), Some(high)) => format!(" From {low} to {high}."),
        (Some(low), None) => format!(" At least {low}."),
        _ => String::new(),
    }
}

/// What it puts in a guest.
fn contents(spec: &FeatureSpec, out: &mut String) {
    let units: Vec<String> = spec.units.keys().cloned().collect();
    let users: Vec<String> = spec.users.iter().map(|u| u.name.clone()).collect();
    let folders: Vec<String> = spec.folders.iter().map(|f| f.path.clone()).collect();
    let files: Vec<String> = spec.files.iter().map(|f| f.path.clone()).collect();
    let mut first = true;
    for (label, list) in [
        ("packages", &spec.packages),
        ("users", &users),
        ("folders", &folders),
        ("files", &files),
        ("units", &units),
    ] {
        let mut list: Vec<String> = list.iter().map(|text| plain(text)).filter(|t| !t.is_empty()).collect();
        list.dedup();
        if !list.is_empty() {
            let title = if first { "\n## In the guest\n\n" } else { "" };
            let _ = writeln!(out, "{title}- {label}: {}", code(&list).join(", "));
            first = false;
        }
    }
    for command in &spec.commands {
        let name = plain(&command.name);
        if !name.is_empty() {
            let title = if first { "\n## In the guest\n\n" } else { "" };
            let _ = writeln!(out, "{title}- command: {name}");
            first = false;
        }
    }
}

/// What must hold, before and after.
fn checks(spec: &FeatureSpec, out: &mut String) {
    let mut lines = Vec::new();
    for check in &spec.preflight {
        lines.push(format!("before anything is changed: {}", plain(&check.message)));
    }
    for file in spec.files.iter().filter(|f| f.check.is_some()) {
        lines.push(format!(
            "`{}` is checked, and the old one stays where the new one is refused",
            plain(&file.path)
        ));
    }
    for health in &spec.health {
        if let Some(url) = &health.http {
            let status = health.status.map_or_else(|| "below 400".to_owned(), |status| status.to_string());
            lines.push(format!("`{}` answers {status}", plain(url)));
        } else if let Some(tcp) = &health.tcp {
            lines.push(format!("`{}` takes connections", plain(tcp)));
        } else if let Some(command) = &health.command {
            lines.push(format!("`{}` succeeds", plain(command)));
        }
    }
    if !lines.is_empty() {
        let _ = write!(out, "\n## Checks\n\n- {}\n", lines.join("\n- "));
    }
}

/// A text of a feature without the conditions under which it is there.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("{%") {
        out.push_str(before);
        rest = inside.split_once("%}").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn code(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

/// A text for a cell of a table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_contents_is_as_the_catalog() {
        let catalog = catalog().unwrap();
        let text = "# Summary\n\n- [Features](reference/features.md)\n  - [`gone`](reference/features/gone.md)\n- [Other](x.md)\n";
        let made = summary(&catalog, text);
        assert!(
            !made.contains("gone") && made.contains("\n  - [`base`](reference/features/base.md)\n"),
            "{made}"
        );
        assert!(made.ends_with("\n- [Other](x.md)\n"));
        assert_eq!(summary(&catalog, &made), made);
    }

    #[test]
    fn conditions_are_not_shown() {
        assert_eq!(plain("{% if tls %}/etc/x{% endif %}"), "/etc/x");
        assert_eq!(plain("{{ port }} {% for a in b %}"), "{{ port }}");
    }

    #[test]
    fn every_page_has_its_example() {
        for (path, text) in pages(&catalog().unwrap()) {
            assert!(text.contains("\n## Example\n"), "{path}");
        }
    }
}
