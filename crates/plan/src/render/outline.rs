//! A plan in short: by guest, with what happens to it in a few words, and at the end what it comes to.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Style, counts, line, problems, sign, style, value};
use crate::address::{Address, kinds};
use crate::desired::Desired;
use crate::step::{Action, Consent, Grade, Plan, SITE_GOES, Step};
use crate::targets::Guests;

/// How a step on a guest is told, where its kind has words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Telling {
    /// What is done, in a word: `install`. By what becomes of the resource where absent: `change certificate`.
    pub verb: Option<&'static str>,
    /// It only looks: it changes nothing, and takes no reason.
    pub only_looks: bool,
    /// A guest has one at most, which is called as the guest is, so that its name says nothing.
    pub one_a_guest: bool,
}

/// How a plan is shown to a person.
#[expect(missing_debug_implementations, reason = "it holds functions")]
pub struct View<'a> {
    /// What the target is called.
    pub target: &'a str,
    /// What the person typed to get here, for hints: `phoenix-cli` and its options for the site.
    pub command: &'a str,
    /// Puts a piece in colour.
    pub paint: &'a dyn Fn(Style, &str) -> String,
    /// What a step consists of, in words, where that is known: a feature's packages, files, units.
    pub parts: &'a dyn Fn(&Step) -> Vec<String>,
    /// How a step is told, as its kind says.
    pub telling: &'a dyn Fn(&Step) -> Telling,
    /// What stands before the summary, as it is.
    pub before_summary: &'a str,
}

/// The plan by guest: the node first, a heading for each guest, what happens in it below, then what is the whole site's, and the
/// summary.
pub fn outline(plan: &Plan, desired: &Desired, view: &View<'_>) -> String {
    let plan = &*super::shown::shown(plan);
    let mut out = String::new();
    let _ = writeln!(out, "{}", (view.paint)(Style::Strong, &format!("{} on {}", plan.site, view.target)));
    let guests = Guests::new(desired);
    // In the order of the plan, as far as groups allow it.
    let mut order: Vec<Option<Address>> = Vec::new();
    let mut groups: BTreeMap<Option<Address>, Vec<&Step>> = BTreeMap::new();
    for step in &plan.steps {
        let guest = guests.guest_of(step);
        groups.entry(guest.clone()).or_insert_with(|| {
            order.push(guest);
            Vec::new()
        });
        if let Some(group) = groups.get_mut(&guests.guest_of(step)) {
            group.push(step);
        }
    }
    if !plan.steps.is_empty() {
        out.push('\n');
    }
    let others = groups.remove(&None).unwrap_or_default();
    // What is installed on the node is told as what is in a guest.
    let (on_node, others): (Vec<&Step>, Vec<&Step>) =
        others.into_iter().partition(|step| step.address.kind() == kinds::FEATURE);
    if !on_node.is_empty() {
        let _ = writeln!(out, "{}", (view.paint)(Style::Change, "~ the node"));
        within(&on_node, false, view, &mut out);
    }
    let width = order.iter().flatten().map(|a| a.as_str().chars().count()).max().unwrap_or(0).min(32);
    for guest in order.iter().flatten() {
        let steps = groups.get(&Some(guest.clone())).map(Vec::as_slice).unwrap_or_default();
        one_guest(guest, steps, width, view, &mut out);
    }
    if !others.is_empty() && order.len() > 1 {
        let _ = writeln!(out, "{}", (view.paint)(Style::Strong, "for the whole site"));
    }
    for step in others {
        let head = format!("{} {}", sign(step), step.address);
        let _ = writeln!(out, "{}  {}", (view.paint)(style(step), &head), step.reasons.join("; "));
        own_changes(step, &mut out);
    }
    out.push_str(view.before_summary);
    for (n, note) in plan.notes.iter().enumerate() {
        let gap = if n == 0 { "\n" } else { "" };
        let _ = writeln!(out, "{gap}{}", (view.paint)(Style::Dim, &format!("note: {note}")));
    }
    out.push_str(&summary(plan, view));
    out
}

fn one_guest(guest: &Address, steps: &[&Step], width: usize, view: &View<'_>, out: &mut String) {
    let own = steps.iter().find(|step| step.address == *guest);
    let restart = steps.iter().find(|step| step.address.kind() == kinds::RESTART);
    let head = restart.or(own);
    let said = match (own, restart) {
        (Some(_), Some(restart)) => format!("change, and {}", fate(restart)),
        (Some(step), None) | (None, Some(step)) => fate(step),
        (None, None) => inside_only(steps, view),
    };
    let sign = format!("{} {:width$}", head.map_or('~', |step| sign(step)), guest.as_str());
    let sign = (view.paint)(head.map_or(Style::Change, |step| style(step)), &sign);
    let _ = writeln!(out, "{sign}  {said}");
    let anew = own.is_some_and(|step| matches!(step.action, Action::Create | Action::Replace));
    for step in own.into_iter().chain(restart) {
        if !matches!(step.action, Action::Create | Action::Delete) {
            own_changes(step, out);
        }
    }
    let others = steps.iter().filter(|step| step.address != *guest);
    let others: Vec<&Step> = others.filter(|step| step.address.kind() != kinds::RESTART).copied().collect();
    within(&others, anew, view, out);
}

/// What is done in a guest, or on the node, in few lines.
fn within(steps: &[&Step], anew: bool, view: &View<'_>, out: &mut String) {
    // What is said of several things in the same words is said once.
    let mut lines: Vec<(String, Vec<String>, String)> = Vec::new();
    for step in steps {
        let telling = (view.telling)(step);
        let said = words(step, telling, anew, view);
        let label = label(step, telling);
        let name = if telling.one_a_guest { String::new() } else { step.address.name().to_owned() };
        match lines.iter_mut().find(|(l, _, s)| *l == label && *s == said) {
            Some((_, names, _)) => names.push(name),
            None => lines.push((label, vec![name], said)),
        }
    }
    for (label, names, said) in lines {
        let colon = if said.is_empty() { "" } else { ": " };
        let names = names.join(", ");
        let gap = if names.is_empty() { "" } else { " " };
        let _ = writeln!(out, "    {label}{gap}{names}{colon}{said}");
    }
}

/// Where nothing happens to the guest itself.
fn inside_only(steps: &[&Step], view: &View<'_>) -> String {
    let looks = steps.iter().all(|step| (view.telling)(step).only_looks);
    if looks { String::new() } else { "changes in it".to_owned() }
}

/// What becomes of a guest.
fn fate(step: &Step) -> String {
    let because = step.reasons.join("; ");
    if let Consent::Refused(why) = &step.consent {
        return format!("refused: {why}");
    }
    let data = if step.grade == Grade::DataLoss { ", with its data" } else { "" };
    match step.action {
        Action::Create => {
            let known = |path: &str| step.changes.iter().find(|c| c.path == path).map(|c| value(&c.new));
            // Bridge, MAC and storage are for who wants every step.
            let short = |path: &str| known(path).and_then(|n| n.split(" on ").next().map(str::to_owned));
            let facts: Vec<String> =
                [known("id"), short("network"), short("size")].into_iter().flatten().collect();
            format!("create {}", facts.join(" · "))
        }
        Action::Update => "change".to_owned(),
        Action::Restart => format!("restart: {because}"),
        Action::Replace => format!("destroy{data}, and make anew: {because}"),
        Action::Delete => format!("destroy{data}: {because}"),
        Action::Run => because,
    }
}

fn own_changes(step: &Step, out: &mut String) {
    let pad = step.changes.iter().map(|c| c.path.chars().count()).max().unwrap_or(0);
    for change in &step.changes {
        let _ = writeln!(out, "    {}", line(change, pad));
    }
}

/// What is done to the things of a kind.
fn label(step: &Step, telling: Telling) -> String {
    let kind = step.address.kind();
    match (telling.verb, step.action) {
        (Some(verb), _) => verb.to_owned(),
        (_, Action::Delete) => format!("remove {kind}"),
        (_, Action::Update | Action::Restart | Action::Replace) => format!("change {kind}"),
        (_, Action::Create | Action::Run) => kind.to_owned(),
    }
}

/// Why, or what it consists of. In a guest that is made anew, everything is for the same reason.
fn words(step: &Step, telling: Telling, anew: bool, view: &View<'_>) -> String {
    if let Consent::Refused(why) = &step.consent {
        return format!("refused: {why}");
    }
    if anew || telling.only_looks {
        return String::new();
    }
    let parts = (view.parts)(step);
    if parts.is_empty() { step.reasons.join("; ") } else { parts.join("; ") }
}

/// What a plan comes to: counts, what is destroyed, what restarts, what takes consent and root, and what is in the way.
/// Stands at the end, before the question.
pub(super) fn summary(plan: &Plan, view: &View<'_>) -> String {
    let mut out = String::from("\n");
    let rooted: Vec<&Step> = plan.steps.iter().filter(|step| step.root.is_some()).collect();
    if let Some(why) = rooted.first().and_then(|step| step.root.as_deref()) {
        let all = rooted.iter().all(|step| step.root.as_deref() == Some(why));
        let why = if all { why } else { "each for its own reason (--full)" };
        let take = if rooted.len() == 1 { "takes" } else { "take" };
        let said = format!("{} {take} root on the node: {why}", steps(rooted.len()));
        let _ = writeln!(out, "{}", (view.paint)(Style::Dim, &said));
    }
    let _ = writeln!(out, "{}", (view.paint)(Style::Strong, &headline(plan)));
    let away = |stops: bool| -> Vec<&str> {
        let away = plan.steps.iter().filter(|s| s.grade == Grade::Restart && s.stops() == stops);
        away.filter(|s| !matches!(s.consent, Consent::Refused(_))).map(|s| s.address.name()).collect()
    };
    for (verb, names) in [("restarts", away(false)), ("stops", away(true))] {
        if !names.is_empty() {
            let _ = writeln!(out, "{}", (view.paint)(Style::Change, &format!("{verb} {}", names.join(", "))));
        }
    }
    for step in destroyed(plan) {
        let data = if step.grade == Grade::DataLoss { ", with its data" } else { "" };
        let again = if step.action == Action::Replace { ", and makes it anew" } else { "" };
        let stays = step.grade < Grade::Rebuild && matches!(step.action, Action::Create | Action::Update);
        let verb = if stays { "takes a risk with" } else { "destroys" };
        let said = format!("{verb} {}{data}{again}: {}", step.address, step.reasons.join("; "));
        let _ = writeln!(out, "{}", (view.paint)(Style::Remove, &said));
    }
    for step in &plan.steps {
        if let Consent::Refused(why) = &step.consent {
            let said = format!("refused {}: {why}", step.address);
            let _ = writeln!(out, "{}", (view.paint)(Style::Remove, &said));
        }
    }
    let asked: Vec<String> = (plan.steps.iter())
        .filter(|s| s.consent == Consent::Needed && !s.reasons.iter().any(|r| r == SITE_GOES))
        .map(|s| format!("--allow-destroy {}", s.address))
        .collect();
    if !asked.is_empty() {
        let said = format!("takes consent: {} apply {}", view.command, asked.join(" "));
        let _ = writeln!(out, "{}", (view.paint)(Style::Hint, &said));
    }
    out.push_str(&super::put_off(plan, view));
    out.push_str(&problems(plan, view.paint));
    out
}

/// What a person would miss afterwards: guests, and whatever takes consent.
fn destroyed(plan: &Plan) -> impl Iterator<Item = &Step> {
    plan.steps.iter().filter(|step| {
        let goes =
            matches!(step.action, Action::Delete | Action::Replace) && step.address.guest_kind().is_some();
        (goes || step.consent == Consent::Needed) && !matches!(step.consent, Consent::Refused(_))
    })
}

fn steps(count: usize) -> String {
    format!("{count} step{}", if count == 1 { "" } else { "s" })
}

fn headline(plan: &Plan) -> String {
    if plan.steps.is_empty() && plan.problems.is_empty() {
        return "nothing to do".to_owned();
    }
    format!("{}: {}", steps(plan.steps.len()), counts(plan).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan(steps: &[Value]) -> Plan {
        serde_json::from_value(json!({ "version": 1, "site": "workshop", "steps": steps })).unwrap()
    }

    fn step(address: &str, action: &str, grade: &str, reason: &str, changes: &Value) -> Value {
        json!({
            "address": address, "id": null, "action": action, "grade": grade, "reasons": [reason], "changes": changes,
            "needs": [],
        })
    }

    #[test]
    fn by_guest_with_the_summary_at_the_end() {
        let mut gone = step("container.old", "delete", "data-loss", "no longer in the blueprint", &json!([]));
        gone["consent"] = json!("needed");
        let mut kept = step("container.ca", "delete", "data-loss", "no longer in the blueprint", &json!([]));
        kept["consent"] = json!({ "refused": "it is protected" });
        let facts = json!([
            { "path": "id", "old": null, "new": 101 },
            { "path": "network", "old": null, "new": "10.0.0.2/24 on vmbr0 as AA" },
            { "path": "size", "old": null, "new": "1 core · 4 GiB on local" },
        ]);
        let memory = json!([{ "path": "memory", "old": "1 GiB", "new": "2 GiB" }]);
        let mark = |old: Option<&str>| json!([{ "path": "fingerprint", "old": old, "new": "b" }]);
        let plan = plan(&[
            step("feature.chrony@node", "run", "live", "what it renders to has changed", &mark(Some("a"))),
            step("container.web", "create", "live", "new in guests.json:3", &facts),
            step("feature.base@container.web", "run", "live", "new", &mark(None)),
            step("feature.nginx@container.web", "run", "live", "new", &mark(None)),
            step("container.db", "update", "live", "differs from guests.json:5", &memory),
            step(
                "feature.postgres@container.db",
                "run",
                "live",
                "what it renders to has changed",
                &mark(Some("a")),
            ),
            gone,
            kept,
            step("firewall.site", "create", "live", "nothing filters the node yet", &json!([])),
        ]);
        let view = View {
            target: "pve1",
            command: "phoenix-cli",
            paint: &|_, text| text.to_owned(),
            parts: &|step| vec![format!("now the parts of {}", step.address.name())],
            telling: &|step| Telling {
                verb: Some(if step.changes[0].old.is_null() { "install" } else { "update" }),
                ..Telling::default()
            },
            before_summary: "",
        };
        let expected = "\
workshop on pve1

~ the node
    update chrony: now the parts of chrony
+ container.web  create 101 · 10.0.0.2/24 · 1 core · 4 GiB
    install base, nginx
~ container.db   change
    memory  1 GiB → 2 GiB
    update postgres: now the parts of postgres
- container.old  destroy, with its data: no longer in the blueprint
✗ container.ca   refused: it is protected
for the whole site
+ firewall.site  nothing filters the node yet

9 steps: 2 to create, 1 to change, 2 to destroy, 4 to run, 1 refused
destroys container.old, with its data: no longer in the blueprint
refused container.ca: it is protected
takes consent: phoenix-cli apply --allow-destroy container.old
";
        assert_eq!(outline(&plan, &Desired::default(), &view), expected);
    }
}
