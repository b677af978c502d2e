//! A plan's words as they may be shown: what was read on the node, such as a foreign description, is in its values and reasons.

use std::borrow::Cow;

use foreign::is_hidden;
use serde_json::Value;

use crate::step::{Consent, Plan};

/// The same plan with nothing hidden in it, and every text of it in one line. Almost always that is the plan itself. Line ends
/// in values stay, since [`value`](super::value) shows them as a sign.
pub(super) fn shown(plan: &Plan) -> Cow<'_, Plan> {
    let mut found = false;
    let mut look = |text: &str| found |= text.contains(is_hidden);
    for step in &plan.steps {
        step.reasons.iter().chain(&step.root).for_each(|text| look(text));
        if let Consent::Refused(why) = &step.consent {
            look(why);
        }
        for change in &step.changes {
            look(&change.path);
            change.note.iter().for_each(|text| look(text));
            texts(&change.old, &mut look);
            texts(&change.new, &mut look);
        }
    }
    for problem in &plan.problems {
        look(&problem.message);
        look(&problem.hint);
    }
    let postponed = plan.postponed.iter().flat_map(|it| &it.reasons);
    plan.notes.iter().chain(postponed).chain([&plan.site]).for_each(|text| look(text));
    if !found {
        return Cow::Borrowed(plan);
    }
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        step.reasons.iter_mut().chain(&mut step.root).for_each(line);
        if let Consent::Refused(why) = &mut step.consent {
            line(why);
        }
        for change in &mut step.changes {
            line(&mut change.path);
            change.note.iter_mut().for_each(line);
            block(&mut change.old);
            block(&mut change.new);
        }
    }
    for problem in &mut plan.problems {
        line(&mut problem.message);
        // Phoenix' own words, some of which are lines to be copied.
        problem.hint = foreign::block(&problem.hint).into_owned();
    }
    let postponed = plan.postponed.iter_mut().flat_map(|it| &mut it.reasons);
    plan.notes.iter_mut().chain(postponed).chain([&mut plan.site]).for_each(line);
    Cow::Owned(plan)
}

fn line(text: &mut String) {
    *text = foreign::line(text).into_owned();
}

/// All texts of a value: those inside lists and objects are printed as JSON.
fn texts(value: &Value, look: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(all) => all.iter().for_each(|value| texts(value, look)),
        Value::Object(all) => all.iter().for_each(|(key, value)| {
            look(key);
            texts(value, look);
        }),
        _ => {}
    }
}

fn block(value: &mut Value) {
    match value {
        Value::String(text) => *text = foreign::block(text).replace('\t', "\\t"),
        Value::Array(all) => all.iter_mut().for_each(block),
        Value::Object(all) => {
            *all = std::mem::take(all)
                .into_iter()
                .map(|(key, mut value)| {
                    block(&mut value);
                    (foreign::line(&key).into_owned(), value)
                })
                .collect();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::step::{Action, Change, Problem, Step};

    /// The attack: what somebody wrote into the description of a guest, and the name of a tag, become lines of a plan.
    #[test]
    fn what_others_wrote_makes_no_line_of_a_plan() {
        let nasty = "x\u{1b}]0;mine\u{7}\u{202e}\n✔ container.forged: nothing to do";
        let step = Step::new(Address::container("notes"), Action::Update)
            .reason(nasty)
            .root(nasty)
            .change(Change::new("description", nasty, serde_json::json!({ nasty: [nasty] })).note(nasty))
            .consent(Consent::Refused(nasty.to_owned()));
        let plan = Plan {
            version: crate::step::FILE_VERSION,
            site: "workshop".into(),
            steps: vec![step],
            problems: vec![Problem::new(Address::container("b"), "x::y", nasty, "so\u{1b}[2J\nand so")],
            notes: vec![nasty.to_owned()],
            postponed: vec![],
            basis: std::collections::BTreeMap::new(),
        };
        let text = super::super::text(&plan, "pve1", "phoenix-cli", &|_, piece| piece.to_owned());
        assert!(!text.contains(|c| is_hidden(c) && c != '\n'), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with('✔')), "{text}");
        assert!(text.matches("forged").count() >= 7, "{text}");
        assert!(matches!(
            shown(&Plan { steps: vec![], problems: vec![], notes: vec![], ..plan }),
            Cow::Borrowed(_)
        ));
    }
}
