//! `graph`: what depends on what, as a picture.

use crate::args::{Global, Graph, GraphFormat};
use crate::error::Outcome;
use crate::printer::Printer;
use crate::site;

/// Draws the graph of resources.
pub fn run(global: &Global, options: &Graph, printer: Printer) -> Outcome {
    let loaded = site::load(&global.site, printer)?;
    let authority = site::authority(&loaded.blueprint, printer)?;
    let desired = site::desired(&loaded.blueprint, &authority, printer)?;
    if printer.json {
        printer.data_json(&desired.graph.json());
        return Ok(0);
    }
    printer.data(match options.format {
        GraphFormat::Mermaid => desired.graph.mermaid(),
        GraphFormat::Dot => desired.graph.dot(),
    });
    Ok(0)
}
