//! `secrets rotate` and `secrets set`: another value for a secret.

use std::io::Read as _;

use plan::Plan;
use secrecy::{ExposeSecret as _, SecretString};
use site::{OnPaper, Site};

use crate::args::{Global, Shown};
use crate::commands::apply::carry_out;
use crate::commands::consent::{self, Ask};
use crate::commands::plan::typed;
use crate::commands::{diff, show};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::passphrase;
use crate::printer::Printer;

/// Makes another value of a generated secret, and has all that was applied with the last one take it over.
pub async fn rotate(global: &Global, name: &str, yes: bool, printer: Printer) -> Outcome {
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock().await?;
        planned.look_settled(&printer).await?;
        planned.establish(false, &printer)?;
        let another = planned.another_secret(name)?;
        let plan = match another.targets.as_slice() {
            // Nothing has it yet, and nothing is made for it.
            [] => None,
            targets => Some(planned.plan(targets, false)?),
        };
        let steps = plan.as_ref().filter(|plan| !plan.steps.is_empty() && plan.problems.is_empty());
        let granted = match steps {
            Some(plan) => agreed(&planned, plan, global, name, yes, printer).await?,
            None if !yes && (plan.is_none() || another.lost) => {
                consent::yes(&format!("make another value of {name}?"), printer)?;
                Vec::new()
            }
            None => Vec::new(),
        };
        // One of several that are lost is made, though nothing can be applied before all of them are.
        if steps.is_some() || plan.is_none() || another.lost {
            // Kept first: a run that is cut off is carried on by the next one.
            planned.keep(&another)?;
        }
        let Some(plan) = &plan else {
            if printer.json {
                printer.data_json(&serde_json::json!({ "secret": name, "used_by": [] }));
            } else {
                printer.say(format!("✔ {name} has another value, which nothing has yet"));
            }
            return Ok(0);
        };
        let code = carry_out(global, &planned, plan, &granted, printer).await?;
        if !printer.json {
            printer
                .say(format!("✔ {name} has another value; to see it: {} secrets show {name}", typed(global)));
        }
        Ok(code)
    }
    .await;
    planned.connection.close().await;
    result
}

async fn agreed(
    planned: &Site,
    plan: &Plan,
    global: &Global,
    name: &str,
    yes: bool,
    printer: Printer,
) -> Result<Vec<String>, CommandError> {
    consent::nothing_protected(plan)?;
    if !yes && !printer.json {
        let asked = diff::ask(planned, plan, Shown::default(), printer).await;
        show::before(plan, planned, global, Shown::default(), &asked, printer);
    }
    let ask = if yes { Ask::Nobody } else { Ask::Terminal };
    if !yes {
        let command = format!("{} secrets rotate {name} --yes", typed(global));
        consent::carry_out(plan, printer).map_err(|e| e.hint(command))?;
    }
    consent::settle(plan, &[], ask, &format!("{} secrets rotate {name} --yes", typed(global)), printer)
}

/// Puts what is on standard input, or typed, in the place of a secret that the site's folder keeps. The next run applies it.
pub fn set(global: &Global, name: &str, paper: &OnPaper, printer: Printer) -> Outcome {
    let Some(reference) = paper.secrets().into_iter().find(|reference| reference.name() == name) else {
        return Err(CommandError::usage("secrets::unknown", format!("no feature uses a secret `{name}`"))
            .hint(format!("{} secrets list", typed(global))));
    };
    let value = match printer.can_ask() {
        true => passphrase::typed_twice(&format!("{name}: "), printer)?,
        false => given()?,
    };
    paper.set_secret(&reference, &value)?;
    if printer.json {
        printer.data_json(&serde_json::json!({ "secret": name }));
    } else {
        printer.say(format!("✔ {name} has another value; to apply it: {} up", typed(global)));
    }
    Ok(0)
}

/// What is on standard input, without the end of its last line.
fn given() -> Result<SecretString, CommandError> {
    let mut text = String::new();
    std::io::stdin()
        .take(blueprint::secret::MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|e| CommandError::from_error("secrets::unavailable", &e))?;
    let text = SecretString::from(text);
    Ok(text.expose_secret().trim_end_matches(['\n', '\r']).to_owned().into())
}
