//! `plan`: what would be done, and why.

use plan::Plan;

use crate::args::{self, Global};
use crate::error::{CommandError, Outcome};
use crate::opening;
use crate::printer::{Printer, paint};

/// `phoenix-cli`, with the site where it is not this folder: what a person types for the next command.
pub fn typed(global: &Global) -> String {
    if global.site == "." { "phoenix-cli".to_owned() } else { format!("phoenix-cli --site {}", global.site) }
}

/// The plan on the screen.
pub fn show(plan: &Plan, place: &str, global: &Global) -> String {
    plan::render::text(plan, place, &typed(global), &paint)
}

/// Makes and shows the plan.
pub async fn run(global: &Global, options: &args::Plan, printer: Printer) -> Outcome {
    let mut planned = opening::look(global, printer).await?;
    planned.connection.close().await;
    if options.again {
        planned.forget();
    }
    let plan = planned.plan(&options.target, options.destroy)?;
    if let Some(file) = &options.out {
        site::save(&plan, file)?;
    }
    if printer.json {
        printer.data_json(&plan.public_json());
    } else {
        printer.data(show(&plan, &planned.place(), global));
        if let Some(file) = &options.out {
            printer.say(format!("kept in {file}; carry it out with: {} apply {file}", typed(global)));
        } else if !plan.steps.is_empty() && plan.problems.is_empty() {
            printer.say(format!(
                "\nto do it: {} {}",
                typed(global),
                if options.destroy { "destroy" } else { "up" }
            ));
        }
    }
    if !plan.problems.is_empty() {
        return Err(CommandError::said(crate::error::Kind::Failed));
    }
    Ok(if options.detailed_exitcode && !plan.steps.is_empty() { 3 } else { 0 })
}
