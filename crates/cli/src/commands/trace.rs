//! `trace`: one request, hop by hop; which hop breaks, why, and what to do.

use managers::trace::{Finding, State, Walk};
use plan::Inventory;
use site::{Question, Site};

use crate::args::{self, Global};
use crate::error::{CommandError, Kind, Outcome};
use crate::opening;
use crate::printer::{Printer, paint};

/// Walks the hops and says what was found.
pub async fn run(global: &Global, options: &args::Trace, printer: Printer) -> Outcome {
    let paper = opening::paper(global, printer)?;
    let question = Question::new(&paper.desired, &options.name, &options.from)?;
    let connection = opening::connect(&paper.loaded.blueprint)?;
    let site = Site::new(paper, connection, Inventory::default(), opening::environment());
    let traced = site.trace(&question).await;
    site.close().await;
    let traced = traced?;
    if printer.json {
        printer.data_json(&traced.json());
    } else {
        show(&traced.name, &traced.walks, &traced.outside, printer);
    }
    if traced.state() == State::Good { Ok(0) } else { Err(CommandError::said(Kind::Failed)) }
}

/// What is the same for all places is shown once.
fn show(name: &str, walks: &[Walk], stands_for: &str, printer: Printer) {
    let mut shown: Vec<&Finding> = Vec::new();
    for (n, walk) in walks.iter().enumerate() {
        let whence =
            if walk.from == "outside" { format!("outside ({stands_for})") } else { walk.from.clone() };
        printer.data(format!("{}{name}, from {whence}", if n == 0 { "" } else { "\n" }));
        for finding in &walk.findings {
            if finding.place != walk.from && shown.contains(&finding) {
                continue;
            }
            shown.push(finding);
            line(finding, printer);
        }
    }
}

/// A hop, and below it the cause and the next command.
pub fn line(finding: &Finding, printer: Printer) {
    use plan::render::Style;
    let (sign, style) = match finding.state {
        State::Good => ("✔", Style::Add),
        State::Weak => ("!", Style::Change),
        State::Broken => ("✘", Style::Remove),
    };
    printer.data(format!("{} {:<8} {}", paint(style, sign), finding.hop.as_str(), finding.seen));
    let Some(cause) = &finding.cause else { return };
    for text in cause.text.lines() {
        printer.data(format!("           {text}"));
    }
    printer.data(format!("    {} {}", paint(Style::Hint, "hint:"), printer.hint(&cause.hint)));
    printer.data(paint(Style::Dim, &format!("    {}", cause.code)));
}
