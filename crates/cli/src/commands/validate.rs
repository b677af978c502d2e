//! `validate`: everything that can be known before anything is contacted.

use serde_json::json;

use crate::args::Global;
use crate::error::Outcome;
use crate::printer::Printer;
use crate::{diagnostics, site};

/// Checks the blueprints, and that they can be wired.
pub fn run(global: &Global, printer: Printer) -> Outcome {
    let loaded = site::load(&global.site, printer)?;
    let authority = site::authority(&loaded.blueprint, printer)?;
    let desired = site::desired(&loaded.blueprint, &authority, printer)?;
    if printer.json {
        printer.data_json(&json!({
            "valid": true, "site": desired.site, "errors": 0,
            "diagnostics": diagnostics::json(&loaded.warnings, &loaded.sources),
            "containers": desired.guests.len(), "services": desired.services.len(),
            "certificates": desired.certificates.len(),
        }));
    } else {
        let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        printer.say(format!(
            "✔ {}: {}, {}, {}",
            desired.site,
            count(desired.guests.len(), "container"),
            count(desired.services.len(), "service"),
            count(desired.certificates.len(), "certificate"),
        ));
    }
    Ok(0)
}
