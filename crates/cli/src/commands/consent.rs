//! What a person has to agree to before a run begins: asked for all at once, each thing by its name. A run that lacks some
//! of it does not begin.

use plan::address;
use plan::planner::consented;
use plan::{Action, Consent, Grade, Plan, Step};

use site::Site;

use crate::error::{CommandError, ErrorKind};
use crate::printer::Printer;

/// Who is asked for what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Nobody: it is refused.
    Nobody,
    /// Whoever sits at the terminal, where there is one.
    Terminal,
}

/// Whether all of `granted` are names: a pattern may mean more than whoever types it thinks of.
///
/// # Errors
/// With what the pattern would have meant.
pub fn only_names(plan: &Plan, granted: &[String]) -> Result<(), CommandError> {
    let Some(pattern) = granted.iter().find(|word| address::is_pattern(word)) else { return Ok(()) };
    let meant: Vec<String> = plan
        .steps
        .iter()
        .filter(|s| s.consent == Consent::Needed && address::matches(pattern, &s.address, s.id))
        .map(|s| format!("--allow-destroy {}", s.address))
        .collect();
    let hint = if meant.is_empty() {
        "nothing in the plan that takes consent is called so".to_owned()
    } else {
        format!("it would have meant: {}", meant.join(" "))
    };
    Err(CommandError::usage(
        "consent::pattern",
        format!("`{pattern}` is a pattern, and consent names one thing"),
    )
    .hint(hint))
}

/// Refuses what is protected, whatever is granted.
///
/// # Errors
/// With the names.
pub fn nothing_protected(plan: &Plan) -> Result<(), CommandError> {
    let refused: Vec<(&Step, &String)> = (plan.steps.iter())
        .filter_map(|s| match &s.consent {
            Consent::Refused(why) => Some((s, why)),
            _ => None,
        })
        .collect();
    let Some((_, why)) = refused.first() else { return Ok(()) };
    let names: Vec<&str> = refused.iter().map(|(s, _)| s.address.as_str()).collect();
    let out: Vec<String> = names.iter().map(|name| format!("--exclude {name}")).collect();
    Err(CommandError {
        kind: ErrorKind::Consent,
        ..CommandError::failed(
            "consent::protected",
            format!("nothing was done: {} cannot go: {why}", names.join(", ")),
        )
    }
    .hint(format!("or leave it as it is, and do the rest: {}", out.join(" "))))
}

/// Refuses a plan out of a file that restarts the node, where that is not said again: the file may have been made long ago.
///
/// # Errors
/// With what to type.
pub fn to_the_restart(plan: &Plan, granted: bool) -> Result<(), CommandError> {
    if granted || !plan.restarts_the_node() {
        return Ok(());
    }
    Err(CommandError {
        kind: ErrorKind::Consent,
        ..CommandError::failed("consent::restart-node", "nothing was done: this plan restarts the node")
    }
    .hint("agree to it: --restart-node; or make the plan again without it"))
}

/// All consent the plan takes, with what is asked for now.
///
/// # Errors
/// What is missing or was declined; nothing has been done then. `command` is what the person typed, for the hint.
pub fn settle(
    plan: &Plan,
    granted: &[String],
    ask: Ask,
    command: &str,
    printer: Printer,
) -> Result<Vec<String>, CommandError> {
    let missing: Vec<&Step> = plan.steps.iter().filter(|s| !consented(s, granted)).collect();
    let mut granted = granted.to_vec();
    if missing.is_empty() {
        return Ok(granted);
    }
    if ask == Ask::Nobody || !printer.can_ask() {
        let allow: Vec<String> = missing.iter().map(|s| format!("--allow-destroy {}", s.address)).collect();
        let without: Vec<String> = missing.iter().map(|s| format!("--exclude {}", s.address)).collect();
        let fates: Vec<String> = missing.iter().map(|s| fate(s)).collect();
        return Err(CommandError {
            kind: ErrorKind::Consent,
            ..CommandError::failed(
                "consent::missing",
                format!("nothing was done: no consent to {}", fates.join(", ")),
            )
        }
        .hint(format!("{command} {}, or without: {command} {}", allow.join(" "), without.join(" "))));
    }
    for step in missing {
        let question = format!("type `{}` to {}: ", step.address, fate(step));
        if answer(&question, printer)? != step.address.as_str() {
            return Err(declined());
        }
        granted.push(step.address.to_string());
    }
    Ok(granted)
}

/// All things of a plan that takes down what a person has named as a whole.
pub fn all_of(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| step.address.to_string()).collect()
}

/// `destroy container.old, with its data`.
fn fate(step: &Step) -> String {
    let verb = if step.action == Action::Replace { "destroy and make anew" } else { "destroy" };
    let data = if step.grade == Grade::DataLoss { ", with its data" } else { "" };
    format!("{verb} {}{data}", step.address)
}

/// Asks whether a plan is to be carried out: `y` and `yes` are. The question says what it destroys.
///
/// # Errors
/// When nobody can be asked, or the answer is another one.
pub fn carry_out(plan: &Plan, printer: Printer) -> Result<(), CommandError> {
    let destroys: Vec<&str> =
        (plan.steps.iter()).filter(|s| s.consent != Consent::NotNeeded).map(|s| s.address.as_str()).collect();
    let and = match destroys.as_slice() {
        [] => String::new(),
        names => format!(", which destroys {}", names.join(", ")),
    };
    let steps = match plan.steps.len() {
        1 => "1 step".to_owned(),
        n => format!("{n} steps"),
    };
    yes(&format!("carry out {steps}{and}?"), printer)
}

/// Asks a question that `y` or `yes` answers.
///
/// # Errors
/// When nobody can be asked, or the answer is another one.
pub fn yes(question: &str, printer: Printer) -> Result<(), CommandError> {
    if is_yes(&answer(&format!("\n{question} [y/N] "), printer)?) { Ok(()) } else { Err(declined()) }
}

fn is_yes(answer: &str) -> bool {
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

/// Asks for a word that is typed in full.
///
/// # Errors
/// When nobody can be asked, or another word is typed.
pub fn word(question: &str, word: &str, printer: Printer) -> Result<(), CommandError> {
    if answer(&format!("\n{question} type `{word}`: "), printer)? == word { Ok(()) } else { Err(declined()) }
}

/// Consent to another root certificate, where the one of before is lost.
///
/// # Errors
/// As [`word`].
pub fn another_root(planned: &Site, printer: Printer) -> Result<(), CommandError> {
    if planned.is_whole().is_ok() {
        // Which is an error of its own.
        return Ok(());
    }
    let site = &planned.desired.site;
    let question = format!(
        "{site} gets another root certificate, which all its clients have to trust anew; generated secrets that are lost \
         with the last are made anew as well."
    );
    word(&question, site, printer)
}

fn declined() -> CommandError {
    CommandError { kind: ErrorKind::Consent, ..CommandError::failed("consent::declined", "nothing was done") }
}

fn answer(question: &str, printer: Printer) -> Result<String, CommandError> {
    if !printer.can_ask() {
        return Err(CommandError {
            kind: ErrorKind::Consent,
            ..CommandError::failed(
                "consent::nobody-to-ask",
                "nobody can be asked here: this is not a terminal",
            )
        }
        .hint("phoenix-cli up --yes, or phoenix-cli apply"));
    }
    printer.ask(question);
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|e| CommandError::from_error("consent::unreadable", &e))?;
    Ok(answer.trim().to_owned())
}

/// Says what was left out on purpose.
pub fn say_left_out(left: &[plan::Address], printer: Printer) {
    if !left.is_empty() {
        let names: Vec<&str> = left.iter().map(plan::Address::as_str).collect();
        printer.say(format!("left out: {}", names.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(consent: &Consent) -> Plan {
        let step = |name: &str, consent: &Consent| {
            serde_json::json!({
                "address": format!("container.{name}"), "id": 120, "action": "delete", "grade": "data-loss",
                "reasons": [], "changes": [], "needs": [], "consent": consent,
            })
        };
        let steps = [step("old", consent), step("new", &Consent::NotNeeded)];
        serde_json::from_value(serde_json::json!({ "version": 1, "site": "s", "steps": steps })).unwrap()
    }

    #[test]
    fn consent_is_given_by_name_and_for_the_whole_run() {
        let needed = plan(&Consent::Needed);
        let settle = |granted: &[&str]| {
            let granted: Vec<String> = granted.iter().map(|g| (*g).to_owned()).collect();
            only_names(&needed, &granted)?;
            settle(&needed, &granted, Ask::Nobody, "phoenix-cli apply", Printer::plain())
        };
        for good in ["container.old", "old", "120"] {
            assert_eq!(settle(&[good]).unwrap(), [good]);
        }
        let missing = settle(&["container.new"]).unwrap_err();
        assert_eq!((missing.code.as_str(), crate::error::exit_code(missing.kind)), ("consent::missing", 4));
        let hint = missing.hint.unwrap();
        assert!(hint.contains(
            "apply --allow-destroy container.old, or without: phoenix-cli apply --exclude container.old"
        ));
        let pattern = settle(&["container.*"]).unwrap_err();
        assert_eq!((pattern.code.as_str(), crate::error::exit_code(pattern.kind)), ("consent::pattern", 2));
        let protected = nothing_protected(&plan(&Consent::Refused("it is protected".into()))).unwrap_err();
        assert_eq!(
            (protected.code.as_str(), crate::error::exit_code(protected.kind)),
            ("consent::protected", 4)
        );
        assert!(nothing_protected(&needed).is_ok());
    }

    #[test]
    fn yes_is_yes_however_it_is_written() {
        assert!(["y", "Y", "yes", "YES"].into_iter().all(is_yes));
        assert!(!["", "n", "no", "yess", "j"].into_iter().any(is_yes));
    }
}
