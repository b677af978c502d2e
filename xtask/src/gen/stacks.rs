//! The reference of the stacks that come with Phoenix: a page for each, a page that lists them, and their lines in the book's table
//! of contents.

use std::fmt::Write as _;

use blueprint::Catalog;
use blueprint::catalog::CatalogStack;

use super::features::{cell, code, example, listed, parameters};

/// Where the pages are, below `docs/src/`.
const FOLDER: &str = "reference/stacks";

/// The line of the table of contents below which the stacks' lines stand.
const ENTRY: &str = "- [Stacks of the catalogue](reference/stacks.md)";

/// The page that lists them.
pub fn markdown(catalog: &Catalog) -> String {
    let mut out = String::from(
        "# Stacks of the catalogue\n\nThe stacks that come with Phoenix: `\"from\": \"NAME\"` at one of a site's `stacks`. Your own go into the \
         site's `stack-catalog/` folder and work the same: [Stacks](../stacks.md#the-catalogue). In a terminal: `phoenix-cli explain \
         stack-catalog` and `phoenix-cli explain stack-catalog.NAME`.\n\nEach is checked by the real Compose. Whether the images do what their \
         makers' pages say is not tried.\n\n| stack | memory | what |\n|---|---|---|\n",
    );
    for (name, stack) in catalog.stacks() {
        let memory = stack.spec.memory.map_or_else(String::new, |mib| format!("{mib} MiB"));
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "| [`{name}`](stacks/{name}.md) | {memory} | {} |", cell(&stack.spec.description));
    }
    out
}

/// A page for each: its path in the repository, and what is on it.
pub fn pages(catalog: &Catalog) -> Vec<(String, String)> {
    catalog
        .stacks()
        .map(|(name, stack)| (format!("docs/src/{FOLDER}/{name}.md"), page(name, stack)))
        .collect()
}

/// The table of contents `text` with the stacks in it as they are.
pub fn summary(catalog: &Catalog, text: &str) -> String {
    let names: Vec<&str> = catalog.stacks().map(|(name, _)| name).collect();
    listed(text, ENTRY, FOLDER, &names)
}

fn page(name: &str, stack: &CatalogStack) -> String {
    let spec = &stack.spec;
    let mut out = format!("# `{name}`\n\n{}\n\n", spec.description);
    let mut lines = vec![format!("more about it: <{}>", spec.homepage)];
    if let Some(memory) = spec.memory {
        lines.push(format!("usually takes {memory} MiB of the guest's memory"));
    }
    let names = |all: Vec<&String>| {
        let all: Vec<String> = all.into_iter().map(|name| name.replace("{{ stack.name }}", "NAME")).collect();
        code(&all).join(", ")
    };
    let in_files = names(spec.secrets.keys().collect());
    let in_env =
        names(spec.env.iter().filter(|(_, value)| value.is_object()).map(|(name, _)| name).collect());
    for (label, list) in [
        ("secrets, as files", in_files),
        ("secrets in the environment of containers, since the image reads no files", in_env),
        ("services, where `NAME` is the stack's own", names(spec.services.keys().collect())),
        (
            "variables",
            names(spec.env.iter().filter(|(_, value)| !value.is_object()).map(|(name, _)| name).collect()),
        ),
    ] {
        if !list.is_empty() {
            lines.push(format!("{label}: {list}"));
        }
    }
    let _ = writeln!(out, "- {}", lines.join("\n- "));
    example(name, stack.files.get("example.json"), &mut out);
    parameters(&spec.parameters, &mut out);
    let _ = write!(out, "\n## Backup\n\n{}\n", spec.backup);
    if let Some(compose) = stack.files.get("compose.yaml") {
        let text = String::from_utf8_lossy(&compose.bytes);
        let _ = write!(out, "\n## Compose file\n\n```yaml\n{}\n```\n", text.trim_end());
    }
    out
}
