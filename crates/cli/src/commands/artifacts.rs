//! `artifacts`: the programs that no package brings.

use std::collections::BTreeSet;

use managers::artifacts::{Source, Standing, Store};
use managers::features::Rendered;
use plan::{Action, Address, Plan};
use serde_json::{Value, json};

use crate::args::{Artifacts, ArtifactsCommand};
use crate::error::{CommandError, Outcome};
use crate::opening::environment;
use crate::printer::Printer;
use site::Site;

/// Shows them, or gets them.
pub async fn run(options: &Artifacts, printer: Printer) -> Outcome {
    let store = site::artifacts(None, &environment())?;
    match &options.what {
        Some(ArtifactsCommand::Fetch { names }) => fetch(&store, names, printer).await,
        Some(ArtifactsCommand::List) | None => list(&store, printer),
    }
}

/// The names of all of them.
pub fn names() -> BTreeSet<String> {
    let store = site::artifacts(None, &environment());
    store
        .map(|store| store.standing().into_iter().map(|standing| standing.name).collect())
        .unwrap_or_default()
}

/// Says, before a run begins, which programs it will build first: that takes minutes.
pub fn say_what_is_built(plan: &Plan, planned: &Site, printer: Printer) {
    if printer.json || planned.connection.simulated() {
        return;
    }
    let Ok(store) = site::artifacts(Some(&planned.blueprint.target), &environment()) else { return };
    let in_plan = |address: &Address| {
        plan.steps.iter().any(|step| step.address == *address && step.action != Action::Delete)
    };
    let features = planned.desired.features().filter(|(address, _)| in_plan(address));
    let rendered = features
        .filter_map(|(_, feature)| serde_json::from_value::<Rendered>(Value::clone(&feature.payload)).ok());
    let wanted: BTreeSet<String> =
        rendered.flat_map(|rendered| rendered.artifacts).map(|artifact| artifact.name).collect();
    let is_built = |standing: &Standing| {
        standing.there.is_none() && matches!(standing.artifact.sources.first(), Some(Source::Go { .. }))
    };
    let missing: Vec<String> = (store.standing().into_iter())
        .filter(|standing| wanted.contains(&standing.name) && is_built(standing))
        .map(|standing| format!("{} {}", standing.name, standing.artifact.version))
        .collect();
    if !missing.is_empty() {
        printer.say(format!(
            "no package has these, so they are built from their sources first, which takes up to five minutes each, once: {}",
            missing.join(", ")
        ));
    }
}

fn row(standing: &Standing) -> Value {
    let artifact = &standing.artifact;
    json!({
        "name": standing.name, "version": artifact.version, "description": artifact.description,
        "path": artifact.path(&standing.name), "pin": standing.pin,
        "sources": artifact.sources.iter().map(Source::words).collect::<Vec<_>>(),
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
        let source = standing.artifact.sources.first().map(Source::words);
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
