//! `schema`.

use crate::args::Schema;
use crate::error::Outcome;
use crate::printer::Printer;

/// Prints a JSON Schema.
pub fn run(options: &Schema, printer: Printer) -> Outcome {
    printer.data_json(&match (options.feature, options.stack) {
        (true, _) => blueprint::feature_schema(),
        (_, true) => blueprint::stack_schema(),
        (false, false) => blueprint::schema(),
    });
    Ok(0)
}
