//! `version`.

use serde_json::json;

use crate::error::Outcome;
use crate::printer::Printer;

/// Prints the version.
pub fn run(printer: Printer) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if printer.json {
        printer.data_json(&json!({
            "version": version, "plan": plan::step::VERSION, "events": apply::event::VERSION,
        }));
    } else {
        printer.data(format!("phoenix-cli {version}"));
    }
    Ok(0)
}
