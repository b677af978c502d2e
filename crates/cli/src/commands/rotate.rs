//! `rotate`: what was given out, and may have been taken, is made anew.

use std::time::Duration;

use crate::args::{self, Global, Shown};
use crate::commands::apply::carry_out;
use crate::commands::consent::{self, Ask};
use crate::commands::plan::typed;
use crate::commands::{diff, rotate_authority, show};
use crate::error::Outcome;
use crate::opening;
use crate::printer::Printer;

/// What is rotated where the root itself is.
const AUTHORITY: &str = "authority";

/// Plans it, asks, and carries it out.
pub async fn run(global: &Global, options: &args::Rotate, printer: Printer) -> Outcome {
    if options.what == AUTHORITY {
        return rotate_authority::run(global, options, printer).await;
    }
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock().await?;
        planned.look_settled(&printer).await?;
        planned.establish(false, &printer)?;
        let targets = planned.rotate(&options.what)?;
        let plan = planned.plan(&targets, false)?;
        let granted = if plan.steps.is_empty() || !plan.problems.is_empty() {
            Vec::new()
        } else {
            consent::nothing_protected(&plan)?;
            if !options.yes && !printer.json {
                let shown = Shown::default();
                let asked = diff::ask(&planned, &plan, shown, printer).await;
                show::before(&plan, &planned, global, shown, &asked, printer);
            }
            let ask = if options.yes { Ask::Nobody } else { Ask::Terminal };
            if !options.yes {
                consent::carry_out(&plan, printer)?;
            }
            let typed = format!("{} rotate {} --yes", typed(global), options.what);
            consent::settle(&plan, &[], ask, &typed, printer)?
        };
        let code = carry_out(global, &planned, &plan, &granted, printer).await?;
        if plan.steps.is_empty() {
            return Ok(code);
        }
        // Whoever is killed before this runs it again: nothing is refused that something still shows.
        let told = planned.inventory.rotated.signer && {
            let left = planned.refuse_before(&options.what, &plan)?;
            if let Some(first) = left.first() {
                printer.warn(format!(
                    "{first} was left out, so nobody is told to refuse what was signed before: run it again when it can be reached"
                ));
            }
            left.is_empty()
        };
        if !printer.json {
            let lives = planned.desired.certificates.values().map(|certificate| certificate.life);
            printer.say(until(&options.what, lives.max().unwrap_or_default()));
            if told {
                printer.say(format!("proxies take none of it from clients after: {} apply", typed(global)));
            } else if !planned.inventory.rotated.signer {
                printer.say("the root's key is not here, so nobody can be told to refuse it");
            }
        }
        Ok(code)
    }
    .await;
    planned.connection.close().await;
    result
}

/// What is still to be reckoned with: nothing is revoked, and only proxies are told whose signature they are to refuse.
fn until(what: &str, longest: Duration) -> String {
    let days = |life: Duration| life.as_secs().div_ceil(86_400);
    let signs = days(pki::intermediate_life(longest));
    if what == "intermediate" {
        return format!(
            "what was signed with the last key is believed until it ends, and whoever has that key can go on signing with \
             it: for {signs} days at most"
        );
    }
    format!(
        "what {what} had is believed until it ends: for {} days at most, and what was signed for it for later for {signs}",
        days(longest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_long_what_was_taken_is_believed() {
        let day = Duration::from_hours(24);
        assert!(
            until("notes", day).contains("for 1 days at most, and what was signed for it for later for 91")
        );
        assert!(until("intermediate", day * 90).contains("for 270 days at most"));
    }
}
