//! `destroy`: all that Phoenix made for the site, and nothing else.

use crate::args::{self, Global};
use crate::commands::apply::carry_out;
use crate::commands::consent::{self, Ask};
use crate::commands::plan::typed;
use crate::commands::show;
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::opening;
use crate::printer::Printer;

/// Destroys with consent: the site's name typed, or every resource named.
pub async fn run(global: &Global, options: &args::Destroy, printer: Printer) -> Outcome {
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock().await?;
        planned.look_settled(&printer).await?;
        // Without it nothing there would be the site's, which is no success.
        planned.has_its_key()?;
        let mut plan = planned.plan(&options.target, true)?;
        let left = planned.leave_out(&mut plan, &options.exclude)?;
        let site = planned.desired.site.clone();
        if let Some(name) = options.confirm.as_ref().filter(|name| **name != site) {
            let message = format!("this site is `{site}`, not `{name}`");
            let error = CommandError {
                kind: ErrorKind::Consent,
                ..CommandError::failed("consent::other-site", message)
            };
            return Err(error.hint(format!("{} destroy --confirm {site}", typed(global))));
        }
        consent::only_names(&plan, &options.allow_destroy)?;
        let asks = options.confirm.is_none() && options.allow_destroy.is_empty() && !plan.steps.is_empty();
        if asks && !printer.json {
            let asked = show::Asked::default();
            show::before(&plan, &planned, global, args::Shown::default(), &asked, printer);
        }
        consent::say_left_out(&left, printer);
        consent::nothing_protected(&plan)?;
        let granted = if asks {
            if !printer.can_ask() {
                let message = "nothing was done: destroying takes consent that names the site";
                let error = CommandError {
                    kind: ErrorKind::Consent,
                    ..CommandError::failed("consent::missing", message)
                };
                return Err(error.hint(format!("{} destroy --confirm {site}", typed(global))));
            }
            if options.target.is_empty() {
                let names: Vec<&str> = plan.steps.iter().map(|step| step.address.as_str()).collect();
                let question = format!("this destroys {}, with all data.", names.join(", "));
                consent::word(&question, &site, printer)?;
                consent::all_of(&plan)
            } else {
                let typed = format!("{} destroy", typed(global));
                consent::settle(&plan, &[], Ask::Terminal, &typed, printer)?
            }
        } else if options.confirm.is_some() {
            consent::all_of(&plan)
        } else {
            let typed = format!("{} destroy", typed(global));
            consent::settle(&plan, &options.allow_destroy, Ask::Nobody, &typed, printer)?
        };
        if !plan.steps.is_empty() {
            // Whoever destroys all of it needs no root certificate, so a lost one is no reason to keep it.
            let all = options.target.is_empty() && options.exclude.is_empty();
            let lost = planned.is_whole().is_err();
            planned.establish(all && lost, &printer)?;
        }
        carry_out(global, &planned, &plan, &granted, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}
