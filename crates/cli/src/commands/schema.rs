//! `schema`.

use crate::args::Schema;
use crate::error::Outcome;
use crate::printer::Printer;

/// Prints a JSON Schema.
pub fn run(options: &Schema, printer: Printer) -> Outcome {
    printer.data_json(&match (options.feature, options.stack, options.exercise) {
        (true, ..) => blueprint::feature_schema(),
        (_, true, _) => blueprint::stack_schema(),
        (.., true) => crate::learn::schema(),
        (false, false, false) => blueprint::schema(),
    });
    Ok(0)
}
