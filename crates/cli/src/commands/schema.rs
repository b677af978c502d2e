//! `schema`.

use crate::args::Schema;
use crate::error::Outcome;
use crate::printer::Printer;

/// Prints a JSON Schema.
pub fn run(options: &Schema, printer: Printer) -> Outcome {
    printer.data_json(&if options.feature { blueprint::feature_schema() } else { blueprint::schema() });
    Ok(0)
}
