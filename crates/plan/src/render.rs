//! A plan as people read it: in short by guest ([`outline()`]), or every step with all its changes ([`text`]). Signs come
//! first; colour only repeats what the signs say.

mod outline;
mod shown;
mod wrap;

pub use outline::{Telling, View, outline};
pub use wrap::wrap;

use std::fmt::Write as _;

use serde_json::Value;

use crate::step::{Action, Change, Consent, Plan, Postponed, SITE_GOES, Step};

/// What a piece of the text is, for whoever colours it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Something comes.
    Add,
    /// Something changes.
    Change,
    /// Something goes, or is refused.
    Remove,
    /// Of less weight.
    Dim,
    /// A next step.
    Hint,
    /// A heading.
    Strong,
}

/// The sign of a step.
pub fn sign(step: &Step) -> char {
    match (&step.consent, step.action) {
        (Consent::Refused(_), _) => '✗',
        (_, Action::Create | Action::Run) => '+',
        (_, Action::Update) => '~',
        (_, Action::Restart) => '^',
        (_, Action::Replace) => '±',
        (_, Action::Delete) => '-',
    }
}

fn style(step: &Step) -> Style {
    match (&step.consent, step.action) {
        (Consent::Refused(_), _) | (_, Action::Delete | Action::Replace) => Style::Remove,
        (_, Action::Create | Action::Run) => Style::Add,
        _ => Style::Change,
    }
}

/// The plan as text, every step with all its changes. `paint` may wrap a piece in colour; `command` is what the person typed to get here, for hints
/// (`phoenix-cli` and its options for the site).
pub fn text(plan: &Plan, target: &str, command: &str, paint: &dyn Fn(Style, &str) -> String) -> String {
    let view = View {
        target,
        command,
        paint,
        parts: &|_| Vec::new(),
        telling: &|_| Telling::default(),
        before_summary: "",
    };
    let plan = &*shown::shown(plan);
    let mut out = every_step(plan, &view);
    out.push_str(&put_off(plan, &view));
    out.push_str(&problems(plan, paint));
    out
}

/// The same for a person, with what features consist of instead of their fingerprints, and the summary at the end.
pub fn full(plan: &Plan, view: &View<'_>) -> String {
    let plan = &*shown::shown(plan);
    let mut out = every_step(plan, view);
    out.push_str(view.before_summary);
    out.push_str(&outline::summary(plan, view));
    out
}

fn every_step(plan: &Plan, view: &View<'_>) -> String {
    let View { target, command, paint, .. } = *view;
    let mut out = String::new();
    let _ = writeln!(out, "{}", paint(Style::Strong, &headline(plan, target)));
    for note in &plan.notes {
        let _ = writeln!(out, "{}", paint(Style::Dim, &format!("note: {note}")));
    }
    if !plan.steps.is_empty() {
        out.push('\n');
    }
    let width = plan.steps.iter().map(|s| s.address.as_str().chars().count()).max().unwrap_or(0).min(48);
    for step in &plan.steps {
        let verb = match step.grade {
            crate::step::Grade::Live => step.action.as_str().to_owned(),
            grade if grade.as_str() == step.action.as_str() => grade.as_str().to_owned(),
            grade => format!("{}, {}", step.action.as_str(), grade.as_str()),
        };
        let head = format!("{} {:width$}", sign(step), step.address.as_str());
        let _ = writeln!(out, "{}  {verb:<18} {}", paint(style(step), &head), step.reasons.join("; "));
        let pad = step.changes.iter().map(|c| c.path.chars().count()).max().unwrap_or(0);
        let parts = (view.parts)(step);
        for part in &parts {
            let _ = writeln!(out, "    {}", foreign::line(part));
        }
        for change in step.changes.iter().filter(|_| parts.is_empty()) {
            let _ = writeln!(out, "    {}", line(change, pad));
        }
        if let Some(root) = &step.root {
            let _ = writeln!(out, "    {}", paint(Style::Dim, &format!("takes root on the node: {root}")));
        }
        match &step.consent {
            Consent::NotNeeded => {}
            // `destroy` asks for all at once.
            Consent::Needed if step.reasons.iter().any(|r| r == SITE_GOES) => {}
            Consent::Needed => {
                let hint = format!("hint: {command} apply --allow-destroy {}", step.address);
                let _ = writeln!(out, "    {}", paint(Style::Hint, &hint));
            }
            Consent::Refused(why) => {
                let _ = writeln!(out, "    {}", paint(Style::Hint, &format!("refused: {why}")));
            }
        }
    }
    out
}

/// The restarts that were put off.
fn put_off(plan: &Plan, view: &View<'_>) -> String {
    let lines = waiting(plan, view.command).into_iter().map(|line| (view.paint)(Style::Hint, &line));
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join("\n")) }
}

/// What waits for a restart that was put off, a line for each guest, with the command that does it.
pub fn waiting(plan: &Plan, command: &str) -> Vec<String> {
    let line = |it: &Postponed| {
        let why = it.reasons.join("; ");
        if it.is_of_the_node() {
            return format!(
                "the node waits for a restart ({why}): {command} apply --restart-node, which stops its guests for that time"
            );
        }
        format!("{0} waits for a restart ({why}): {command} apply --target {0}", it.guest())
    };
    plan.postponed.iter().map(line).collect()
}

/// What keeps the plan from being carried out.
fn problems(plan: &Plan, paint: &dyn Fn(Style, &str) -> String) -> String {
    let mut out = String::new();
    for problem in &plan.problems {
        let _ = writeln!(
            out,
            "\n{}",
            paint(Style::Remove, &format!("✗ {}: {}", problem.address, problem.message))
        );
        let _ = writeln!(out, "  {}", paint(Style::Hint, &format!("hint: {}", problem.hint)));
    }
    out
}

/// The first line: what waits, by action.
fn headline(plan: &Plan, target: &str) -> String {
    if plan.steps.is_empty() && plan.problems.is_empty() {
        return format!("{} on {target} · nothing to do", plan.site);
    }
    format!("{} on {target} · {}", plan.site, counts(plan).join(", "))
}

/// What waits, by action.
fn counts(plan: &Plan) -> Vec<String> {
    let summary = plan.summary();
    // What takes no consent, such as a certificate's files, is not destroyed as a guest is.
    let removed =
        plan.steps.iter().filter(|s| s.action == Action::Delete && s.consent == Consent::NotNeeded).count();
    let of = |action: Action| summary.actions.get(action.as_str()).copied().unwrap_or(0);
    let mut parts: Vec<String> = [
        (of(Action::Create), "to create"),
        (of(Action::Update), "to change"),
        (of(Action::Restart), "to restart"),
        (of(Action::Replace), "to replace"),
        (of(Action::Delete) - removed, "to destroy"),
        (removed, "to remove"),
        (of(Action::Run), "to run"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, words)| format!("{n} {words}"))
    .collect();
    if summary.refused > 0 {
        parts.push(format!("{} refused", summary.refused));
    }
    if !plan.problems.is_empty() {
        let n = plan.problems.len();
        parts.push(format!("{n} problem{}", if n == 1 { "" } else { "s" }));
    }
    parts
}

fn line(change: &Change, pad: usize) -> String {
    let path = format!("{:pad$}", change.path);
    let note = change.note.as_deref().map(|n| format!("   {n}")).unwrap_or_default();
    match (&change.old, &change.new) {
        (Value::Null, new) => format!("{path}  {}{note}", value(new)),
        (old, Value::Null) => format!("{path}  {} → (none){note}", value(old)),
        (old, new) => format!("{path}  {} → {}{note}", value(old), value(new)),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::String(s) => s.replace('\n', "⏎"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::step::FILE_VERSION;

    #[test]
    fn a_plan_reads_without_colour() {
        let step = Step::new(Address::container("notes"), Action::Update)
            .on_guest(120)
            .reason("differs from guests.json:7")
            .change(Change::new("memory", "1 GiB", "2 GiB"))
            .change(Change::new("disk", "8 GiB", "12 GiB").note("grows in place"));
        let plan = Plan {
            version: FILE_VERSION,
            site: "workshop".into(),
            steps: vec![step],
            problems: vec![],
            notes: vec![],
            postponed: vec![],
            basis: std::collections::BTreeMap::new(),
        };
        let text = text(&plan, "pve1", "phoenix-cli", &|_, s| s.to_owned());
        let expected = "workshop on pve1 · 1 to change\n\n~ container.notes  update             differs from guests.json:7\n    memory  1 GiB → 2 GiB\n    disk    8 GiB → 12 GiB   grows in place\n";
        assert_eq!(text, expected);
    }
}
