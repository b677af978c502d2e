//! The built-in features' reference, from the catalog.

use std::fmt::Write as _;

use blueprint::Catalog;
use blueprint::catalog::Feature;

/// The page.
///
/// # Errors
/// When a built-in feature is not as it should be.
pub fn markdown() -> Result<String, String> {
    let catalog = Catalog::from_files(managers::features::builtin()).map_err(|failure| failure.to_text())?;
    let mut out = String::from(
        "# Features reference\n\nThe features that come with Phoenix. Your own go into the site's `features/` folder and work \
         the same: [How to write a feature](../features.md). In a terminal: `phoenix-cli explain features` and `phoenix-cli \
         explain feature.NAME`.\n",
    );
    for (name, feature) in catalog.iter() {
        section(name, feature, &mut out);
    }
    Ok(out)
}

fn section(name: &str, feature: &Feature, out: &mut String) {
    let spec = &feature.spec;
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## `{name}`\n\n{}\n", spec.description);
    let (derived, own): (Vec<_>, Vec<_>) = spec.parameters.iter().partition(|(_, p)| p.derived);
    if !own.is_empty() {
        out.push_str("\n| parameter | type | default | meaning |\n|---|---|---|---|\n");
    }
    for (name, parameter) in own {
        let kind = serde_json::to_value(parameter.kind).unwrap_or_default();
        let default =
            parameter.default.as_ref().map_or_else(|| "needed".to_owned(), |value| format!("`{value}`"));
        let _ = writeln!(
            out,
            "| `{name}` | {} | {default} | {} |",
            kind.as_str().unwrap_or_default(),
            parameter.description.replace('|', "\\|")
        );
    }
    let listed = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let packages: Vec<String> = spec.packages.iter().filter(|p| !p.contains("{%")).cloned().collect();
    let files: Vec<String> =
        spec.files.iter().map(|f| f.path.clone()).filter(|p| !p.contains("{%")).collect();
    let folders: Vec<String> = spec.folders.iter().map(|f| f.path.clone()).collect();
    let units: Vec<String> = spec.units.keys().cloned().collect();
    let derived: Vec<String> = derived.into_iter().map(|(name, _)| name.clone()).collect();
    let mut first = true;
    for (label, list) in [
        ("requires", &spec.requires),
        ("provides", &spec.provides),
        ("packages", &packages),
        ("folders", &folders),
        ("files", &files),
        ("units", &units),
        ("filled in by Phoenix", &derived),
    ] {
        if !list.is_empty() {
            let _ = writeln!(out, "{}- {label}: {}", if first { "\n" } else { "" }, listed(list));
            first = false;
        }
    }
}
