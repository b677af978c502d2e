//! `trace`: one request, hop by hop; which hop breaks, why, and what to do.

use jiff::Timestamp;
use managers::trace::{self, Declared, Finding, Observer, Path, Place, State, Verdict, Walk};
use plan::Desired;
use serde_json::json;

use crate::args::{self, Global};
use crate::error::{CommandError, Kind, Outcome};
use crate::printer::{Printer, paint};
use crate::site;

/// Walks the hops and says what was found.
pub async fn run(global: &Global, options: &args::Trace, printer: Printer) -> Outcome {
    let loaded = site::load(&global.site, printer)?;
    let authority = site::authority(&loaded.blueprint, printer)?;
    let desired = site::desired(&loaded.blueprint, &authority, printer)?;
    let declared = Declared::of(&loaded.blueprint, &desired);
    let path = trace::path::find(&desired, &declared, &options.name)
        .map_err(|failure| CommandError { kind: Kind::Usage, ..failure.into() })?;
    let from: Vec<Place> = options.from.iter().map(|name| place(&desired, name)).collect::<Result<_, _>>()?;
    let connection = site::connect(&loaded.blueprint)?;
    if connection.simulated() {
        return Err(CommandError::failed(
            "lab::simulated",
            "the lab is simulated: nothing runs in it, so there is no request to follow",
        )
        .hint(
            "phoenix-cli graph shows what depends on what; phoenix-cli explain service.NAME the way on paper",
        ));
    }
    let observer = Observer {
        desired: &desired,
        root: authority.root_pem(),
        node: connection.node.clone(),
        clock: Timestamp::now,
    };
    let walks = trace::trace(&observer, &declared, &path, &from).await;
    let stands_for = connection.node.as_ref().map_or_else(|| "this machine".to_owned(), |node| node.place());
    connection.close().await;
    let walks = walks?;
    let verdict = trace::verdict(&path, &walks);
    let good = verdict.state == State::Good;
    if printer.json {
        printer.data_json(&json!({
            "name": path.name, "ok": good, "state": verdict.state, "outside": stands_for, "note": path.note,
            "walks": walks.iter().map(Walk::json).collect::<Vec<_>>(), "verdict": verdict.json(),
        }));
    } else {
        show(&path, &walks, &stands_for, printer);
        conclude(&verdict, printer);
    }
    if good { Ok(0) } else { Err(CommandError::said(Kind::Failed)) }
}

/// A place by what a person calls it.
fn place(desired: &Desired, name: &str) -> Result<Place, CommandError> {
    let bare = name.strip_prefix("container.").unwrap_or(name);
    if name == "outside" {
        return Ok(Place::Outside);
    }
    let gateway = desired.services.values().find_map(|s| s.gateway()).map(|via| &via.on);
    let found = desired.guests.values().find(|c| c.name == bare || c.id.to_string() == name).map(|c| &c.name);
    match found.or_else(|| gateway.filter(|_| name == "gateway")) {
        Some(guest) => Ok(Place::Guest(guest.to_string())),
        None => {
            let names: Vec<&str> = desired.guests.keys().map(|name| name.as_str()).collect();
            Err(CommandError::usage("guest::unknown", format!("no container is called `{name}`"))
                .hint(format!("there are: outside, {}", names.join(", "))))
        }
    }
}

/// What is the same for all places is shown once; what is not well is never left out.
fn show(path: &Path, walks: &[Walk], stands_for: &str, printer: Printer) {
    use plan::render::Style;
    if let Some(note) = &path.note {
        printer.data(note);
    }
    let mut shown: Vec<&Finding> = Vec::new();
    for (n, walk) in walks.iter().enumerate() {
        let whence =
            if walk.from == "outside" { format!("outside ({stands_for})") } else { walk.from.clone() };
        printer.data(format!("{}{}, from {whence}", if n == 0 { "" } else { "\n" }, path.name));
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
    printer.data(format!("\n{} {:<8} {}", paint(style, sign), "verdict", verdict.text));
    if let Some(first) = verdict.causes.first() {
        printer.data(format!("    {} {}", paint(Style::Hint, "hint:"), printer.hint(&first.hint)));
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
    format!("{} {:<8} {}", paint(style, sign), finding.hop.as_str(), finding.seen)
}

/// A hop, and below it the causes and the next commands, the nearest to the wire first.
pub fn line(finding: &Finding, printer: Printer) {
    use plan::render::Style;
    printer.data(head(finding));
    for (n, cause) in finding.causes().enumerate() {
        for (m, text) in cause.text.lines().enumerate() {
            let also = if n > 0 && m == 0 { "also: " } else { "" };
            printer.data(format!("           {also}{text}"));
        }
        printer.data(format!("    {} {}", paint(Style::Hint, "hint:"), printer.hint(&cause.hint)));
        printer.data(paint(Style::Dim, &format!("    {}", cause.code)));
    }
}
