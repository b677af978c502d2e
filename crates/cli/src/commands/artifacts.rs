//! `artifacts`: the programs that no package brings.

use managers::artifacts::{Standing, Store};
use serde_json::{Value, json};

use crate::args::{Artifacts, ArtifactsCommand};
use crate::error::{CommandError, Outcome};
use crate::opening::environment;
use crate::printer::Printer;

/// Shows them, or gets them.
pub async fn run(options: &Artifacts, printer: Printer) -> Outcome {
    let store = site::artifacts(None, &environment())?;
    match &options.what {
        Some(ArtifactsCommand::Fetch { names }) => fetch(&store, names, printer).await,
        Some(ArtifactsCommand::List) | None => list(&store, printer),
    }
}

fn row(standing: &Standing) -> Value {
    let artifact = &standing.artifact;
    json!({
        "name": standing.name, "version": artifact.version, "description": artifact.description,
        "path": artifact.path(&standing.name), "pin": standing.pin,
        "sources": artifact.sources.iter().map(managers::artifacts::Source::words).collect::<Vec<_>>(),
        "cached": standing.there.is_some(),
        "file": standing.there.as_ref().map(|(path, _)| path),
        "bytes": standing.there.as_ref().map(|(_, bytes)| bytes),
    })
}

fn list(store: &Store, printer: Printer) -> Outcome {
    let all = store.standing();
    if printer.json {
        printer.data_json(&json!({ "artifacts": all.iter().map(row).collect::<Vec<_>>() }));
        return Ok(0);
    }
    for standing in &all {
        let there = match standing.there {
            None => "not cached".to_owned(),
            Some((_, bytes)) => format!("{} MB", bytes.div_ceil(1_000_000)),
        };
        let source = standing.artifact.sources.first().map(managers::artifacts::Source::words);
        printer.data(format!(
            "{:<16} {:<10} {there:<12} {}",
            standing.name,
            standing.artifact.version,
            source.unwrap_or_default()
        ));
    }
    Ok(0)
}

async fn fetch(store: &Store, names: &[String], printer: Printer) -> Outcome {
    let all = store.standing();
    // Before anything long is begun.
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|s| s.name != **name)) {
        let known: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
        return Err(CommandError::usage("artifacts::unknown", format!("there is no artifact `{unknown}`"))
            .hint(format!("there are: {}", known.join(", "))));
    }
    let tell = |what: String| printer.say(what);
    let mut rows = Vec::new();
    for standing in all.iter().filter(|s| names.is_empty() || names.contains(&s.name)) {
        let found = store.obtain(&standing.name, &tell).await.map_err(apply::Failure::from)?;
        if printer.json {
            rows.push(json!({
                "name": standing.name, "version": standing.artifact.version, "pin": standing.pin,
                "sha256": found.sha256, "file": found.path, "bytes": found.bytes.len(),
            }));
        } else {
            printer.data(format!("{:<16} {:<10} {}", standing.name, standing.artifact.version, found.path));
        }
    }
    if printer.json {
        printer.data_json(&json!({ "artifacts": rows }));
    }
    Ok(0)
}
