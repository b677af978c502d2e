//! `status`: what is there, and how it is.

use std::time::Duration;

use foreign::line;
use jiff::{Timestamp, Zoned};
use managers::status::Line;
use plan::Address;

use crate::args::{self, Global};
use crate::commands::certs::stage_of;
use crate::commands::plan::typed;
use crate::commands::rotate_authority;
use crate::commands::sealing;
use crate::error::{ErrorKind, Outcome, already_reported};
use crate::opening;
use crate::printer::Printer;
use crate::running;

/// Shows every container and service of the site, once or again and again.
pub async fn run(global: &Global, options: &args::Status, printer: Printer) -> Outcome {
    let Some(seconds) = options.watch else { return once(global, printer).await };
    let watching = async {
        loop {
            printer.redraw(&format!("{}", Zoned::now().strftime("%H:%M:%S")));
            // A node that does not answer now may answer next time.
            if let Err(error) = once(global, printer).await {
                if error.kind == ErrorKind::Usage {
                    return error;
                }
                printer.error(&error);
            }
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    };
    tokio::select! {
        error = watching => Err(error),
        _ = tokio::signal::ctrl_c() => Err(already_reported(ErrorKind::Interrupted)),
    }
}

async fn once(global: &Global, printer: Printer) -> Outcome {
    let planned = opening::glance(global, printer).await?;
    let runs = running::look(&planned.connection, &planned.blueprint).await;
    planned.close().await;
    let mut runs = runs?;
    let status = planned.status()?;
    if status.plan.steps.is_empty() && status.plan.problems.is_empty() {
        // Whatever it left undone has been done since.
        runs.failed = None;
    }
    let sealed = sealing::told(&planned.blueprint, &typed(global), Timestamp::now());
    let sealed = sealed.unwrap_or_else(|error| {
        printer.warn(format!("the sealed copy: {error} ({})", error.code));
        None
    });
    if printer.json {
        let mut json = status.json();
        json["runs"] = runs.json();
        json["sealed"] = sealed.map_or(serde_json::Value::Null, |told| told.json());
        json["root_stage"] = stage_of(&planned).into();
        printer.data_json(&json);
        return Ok(0);
    }
    printer.data(format!("{} on {}", status.site, planned.place()));
    for resource in &status.resources {
        if let Some(Line { sign, text, .. }) = resource.line.as_ref().filter(|line| !line.due) {
            printer.data(format!("{sign} {:<28} {}", resource.address.as_str(), line(text)));
        }
    }
    let due = status.due();
    for resource in &due {
        if let Some(Line { sign, text, .. }) = &resource.line {
            printer.data(format!(
                "{sign} {:<28} {}: {} apply",
                resource.address.as_str(),
                line(text),
                typed(global)
            ));
        }
    }
    printer.data(format!(
        "  {} certificates, {} due; {} flows",
        status.certificates,
        due.len(),
        status.flows
    ));
    for e in &status.extra {
        let address = e.address.as_ref().map_or("", Address::as_str);
        printer.data(format!("✗ {address:<28} {:>9}  {}", e.id, line(e.state)));
    }
    if let Some(told) = sealed.filter(|told| !told.never) {
        let sign = if told.hint.is_some() { "✗" } else { "✔" };
        let hint = told.hint.map(|hint| format!(": {hint}")).unwrap_or_default();
        printer.data(format!("{sign} {:<28} {}{hint}", "sealed copy", line(&told.text)));
    }
    for said in runs.lines(&typed(global)) {
        printer.data(line(&said));
    }
    if let Some(stage) = rotate_authority::words(&planned, &typed(global)) {
        printer.data(stage);
    }
    match status.plan.steps.len() {
        0 if status.plan.problems.is_empty() => printer.say("as the blueprint wants it"),
        0 => printer.say(format!("there are problems: {} plan", typed(global))),
        n => printer.say(format!("{n} step(s) wait: {} plan", typed(global))),
    }
    Ok(0)
}
