//! `trace`: one request, hop by hop; which hop breaks, why, and what to do.

use jiff::Timestamp;
use managers::trace::{self, Finding, Observer, Place, State, Walk};
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
    let path = trace::path(&desired, &options.name)
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
    let walks = trace::trace(&observer, &path, &from).await;
    let stands_for = connection.node.as_ref().map_or_else(|| "this machine".to_owned(), |node| node.place());
    connection.close().await;
    let walks = walks?;
    let worst = walks.iter().map(Walk::state).max().unwrap_or(State::Good);
    if printer.json {
        printer.data_json(&json!({
            "name": path.name, "ok": worst == State::Good, "state": worst, "outside": stands_for,
            "walks": walks.iter().map(Walk::json).collect::<Vec<_>>(),
        }));
    } else {
        show(&path.name, &walks, &stands_for, printer);
    }
    if worst == State::Good { Ok(0) } else { Err(CommandError::said(Kind::Failed)) }
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
