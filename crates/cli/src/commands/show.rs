//! A plan on the screen: in short by guest, or every step; in lines that fit the terminal.

use managers::features::describe::differs;
use plan::render::{Style, View, full, outline, wrap};
use plan::{Plan, Step};

use crate::args::{Global, Shown};
use site::Site;

use crate::commands::plan::typed;
use crate::printer::{Printer, paint};

/// So many files, packages and units of a feature are named where it is told in short.
const NAMED: usize = 3;

/// What guests said would change in them, for each step that could be asked about, and the text of the differences.
#[derive(Debug, Default)]
pub struct Asked {
    /// By step.
    pub steps: std::collections::BTreeMap<plan::Address, Vec<String>>,
    /// What stands before the summary.
    pub text: String,
}

/// The plan as text for the terminal that it goes to.
pub fn plan(
    plan: &Plan,
    planned: &Site,
    global: &Global,
    shown: Shown,
    asked: &Asked,
    columns: Option<usize>,
) -> String {
    let most = if shown.full { usize::MAX } else { NAMED };
    let parts = |step: &Step| {
        let asked = asked.steps.get(&step.address).cloned();
        asked.unwrap_or_else(|| {
            let mut parts = managers::features::describe::parts(step, most);
            // Only the fingerprint of what was applied is known: not which of these differ.
            if let Some(first) = parts.first_mut().filter(|_| differs(step)) {
                first.insert_str(0, "now ");
            }
            parts
        })
    };
    let (target, command) = (planned.place(), typed(global));
    let mut before_summary = asked.text.clone();
    if plan.steps.iter().any(differs) && !shown.diff && !planned.connection.simulated() {
        let how = format!("\n{command} plan --diff asks the guests what of their features differs\n");
        before_summary.push_str(&paint(Style::Dim, &how));
    }
    let view = View {
        target: &target,
        command: &command,
        paint: &paint,
        parts: &parts,
        telling: &managers::telling,
        before_summary: &before_summary,
    };
    let text = if shown.full { full(plan, &view) } else { outline(plan, &planned.desired, &view) };
    match columns {
        Some(columns) => wrap(&text, columns),
        None => text,
    }
}

/// The plan on standard error, for who is to agree to it.
pub fn before(plan: &Plan, planned: &Site, global: &Global, shown: Shown, asked: &Asked, printer: Printer) {
    printer.raw_error(self::plan(plan, planned, global, shown, asked, printer.columns(false)));
}
