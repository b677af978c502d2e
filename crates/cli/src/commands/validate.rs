//! `validate`: everything that can be known before anything is contacted.

use plan::GuestKind;
use serde_json::json;
use site::OnPaper;

use crate::args::Global;
use crate::error::Outcome;
use crate::printer::Printer;
use crate::{diagnostics, opening};

/// Checks the blueprints, and that they can be wired.
pub fn run(global: &Global, printer: Printer) -> Outcome {
    let OnPaper { loaded, desired, .. } = opening::paper(global, printer)?;
    let vms = desired.guests.values().filter(|guest| guest.kind == GuestKind::Vm).count();
    let containers = desired.guests.len() - vms;
    if printer.json {
        printer.data_json(&json!({
            "valid": true, "site": desired.site, "errors": 0,
            "diagnostics": diagnostics::json(&loaded.warnings, &loaded.sources),
            "containers": containers, "vms": vms, "services": desired.services.len(),
            "stacks": desired.stacks.len(), "certificates": desired.certificates.len(),
        }));
    } else {
        let count = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        let mut all = vec![count(containers, "container")];
        all.extend((vms > 0).then(|| count(vms, "virtual machine")));
        all.extend((!desired.stacks.is_empty()).then(|| count(desired.stacks.len(), "stack")));
        all.extend([
            count(desired.services.len(), "service"),
            count(desired.certificates.len(), "certificate"),
        ]);
        printer.say(format!("✔ {}: {}", desired.site, all.join(", ")));
    }
    Ok(0)
}
