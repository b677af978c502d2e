//! `trace`: one request, hop by hop; which hop breaks, why, and what to do.

use managers::trace::{Finding, Path, State, Verdict, Walk};
use plan::Inventory;
use site::{Question, Site};

use crate::args::{self, Global};
use crate::error::{ErrorKind, Outcome, already_reported};
use crate::opening;
use crate::printer::{Printer, hung, paint};

/// Walks the hops and says what was found.
pub async fn run(global: &Global, options: &args::Trace, printer: Printer) -> Outcome {
    let paper = opening::paper(global, printer)?;
    let question = Question::new(&paper.loaded.blueprint, &paper.desired, &options.name, &options.from)?;
    let connection = opening::connect(&paper.loaded.blueprint, global)?;
    let site = Site::new(paper, connection, Inventory::default(), opening::environment())?;
    let traced = site.trace(&question).await;
    site.close().await;
    let traced = traced?;
    if printer.json {
        printer.data_json(&traced.json());
    } else {
        show(&traced.path, &traced.walks, &traced.outside, printer);
        conclude(&traced.verdict, printer);
    }
    if traced.verdict.state == State::Good { Ok(0) } else { Err(already_reported(ErrorKind::Failed)) }
}

/// What is the same for all places is shown once; what is not well is never left out.
fn show(path: &Path, walks: &[Walk], stands_for: &str, printer: Printer) {
    use plan::render::Style;
    if let Some(note) = &path.note {
        printer.data(foreign::line(note));
    }
    let mut shown: Vec<&Finding> = Vec::new();
    for (n, walk) in walks.iter().enumerate() {
        let whence =
            if walk.from == "outside" { format!("outside ({stands_for})") } else { walk.from.clone() };
        printer.data(format!(
            "{}{}, from {}",
            if n == 0 { "" } else { "\n" },
            foreign::line(&path.name),
            foreign::line(&whence)
        ));
        for finding in &walk.findings {
            if finding.place == walk.from || !shown.contains(&finding) {
                shown.push(finding);
                line(finding, printer);
            } else if finding.state != State::Good {
                printer.data(format!("{}  {}", head(finding), paint(Style::Dim, "(as above)")));
            }
        }
    }
}

/// The last line says what it all comes to, and below it what to do first.
fn conclude(verdict: &Verdict, printer: Printer) {
    use plan::render::Style;
    let (sign, style) = sign(verdict.state);
    printer.data(format!(
        "\n{} {:<8} {}",
        paint(style, sign),
        "verdict",
        foreign::indented(&verdict.text, "           ")
    ));
    if let Some(first) = verdict.causes.first() {
        printer.data(format!("    {} {}", paint(Style::Hint, "hint:"), hung(&printer.hint(&first.hint))));
    }
}

fn sign(state: State) -> (&'static str, plan::render::Style) {
    use plan::render::Style;
    match state {
        State::Good => ("✔", Style::Add),
        State::Weak => ("!", Style::Change),
        State::Broken => ("✘", Style::Remove),
    }
}

fn head(finding: &Finding) -> String {
    let (sign, style) = sign(finding.state);
    format!("{} {:<8} {}", paint(style, sign), finding.hop.as_str(), foreign::line(&finding.seen))
}

/// A hop, and below it the causes and the next commands, the nearest to the wire first.
pub fn line(finding: &Finding, printer: Printer) {
    use plan::render::Style;
    printer.data(head(finding));
    for (n, cause) in finding.causes().enumerate() {
        let also = if n > 0 { "also: " } else { "" };
        printer.data(format!("           {also}{}", foreign::indented(&cause.text, "           ")));
        printer.data(format!("    {} {}", paint(Style::Hint, "hint:"), hung(&printer.hint(&cause.hint))));
        printer.data(paint(Style::Dim, &format!("    {}", cause.code)));
    }
}
