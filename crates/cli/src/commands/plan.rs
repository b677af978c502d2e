//! `plan`: what would be done, and why.

use managers::features::look::Looked;
use site::{Restarts, Site};

use crate::args::{self, Global};
use crate::commands::{consent, diff, show};
use crate::error::{CommandError, ErrorKind, Outcome, already_reported};
use crate::opening;
use crate::printer::Printer;

/// `phoenix-cli`, with the site where it is not this folder: what a person types for the next command.
pub fn typed(global: &Global) -> String {
    if global.site == "." { "phoenix-cli".to_owned() } else { format!("phoenix-cli --site {}", global.site) }
}

/// `drift`: the plan, after a look inside.
pub async fn drift(global: &Global, options: args::Drift, printer: Printer) -> Outcome {
    let args::Drift { target, out, detailed_exitcode } = options;
    let chosen = args::Chosen { target, ..args::Chosen::default() };
    let options = args::Plan { chosen, out, detailed_exitcode, deep: true, ..args::Plan::default() };
    run(global, &options, printer).await
}

/// Looks inside the guests that were named, where that is wished.
pub async fn look(
    site: &mut Site,
    chosen: &args::Chosen,
    deep: bool,
) -> Result<Option<Looked>, CommandError> {
    if deep { site.look_inside(&chosen.target).await.map(Some) } else { Ok(None) }
}

/// The plan for what was named, without what was left out, and what that is.
pub fn plan_for(
    site: &Site,
    chosen: &args::Chosen,
    destroy: bool,
) -> Result<(plan::Plan, Vec<plan::Address>), CommandError> {
    let restarts = Restarts { put_off: chosen.no_restart, node: chosen.restart_node };
    let mut plan = site.plan_so(&chosen.target, destroy, restarts)?;
    let left = site.leave_out(&mut plan, &chosen.exclude)?;
    Ok((plan, left))
}

/// What was taken on trust, in a line.
fn trust(global: &Global, site: &Site, looked: Option<&Looked>) -> String {
    match (looked, site.looked_at()) {
        (Some(looked), _) => {
            let s = if looked.guests == 1 { "" } else { "s" };
            let node = if looked.node { " and at the node" } else { "" };
            format!("looked into {} guest{s}{node}", looked.guests)
        }
        (None, last) => {
            let last = last.map_or_else(
                || "never from this folder".to_owned(),
                |at| format!("last at {}", at.strftime("%Y-%m-%d %H:%M UTC")),
            );
            format!("what is inside guests was not looked at ({last}); to look: {} drift", typed(global))
        }
    }
}

/// Makes and shows the plan.
pub async fn run(global: &Global, options: &args::Plan, printer: Printer) -> Outcome {
    let mut planned = opening::look(global, printer).await?;
    let result = show_it(&mut planned, global, options, printer).await;
    planned.close().await;
    result
}

async fn show_it(planned: &mut Site, global: &Global, options: &args::Plan, printer: Printer) -> Outcome {
    if options.out.is_some() {
        // What is in the file is carried out as it is there.
        planned.establish(false, &printer)?;
    }
    if options.again {
        planned.forget();
    }
    let looked = look(planned, &options.chosen, options.deep).await?;
    let (plan, left) = plan_for(planned, &options.chosen, options.destroy)?;
    if let Some(file) = &options.out {
        planned.save(&plan, file)?;
    }
    if printer.json {
        let mut json = plan.public_json();
        json["inside"] = serde_json::json!({
            "looked": looked.as_ref().map(|looked| looked.guests), "last": planned.looked_at(),
        });
        printer.data_json(&json);
    } else {
        let asked = diff::ask(planned, &plan, options.shown, printer).await;
        printer.data(show::plan(&plan, planned, global, options.shown, &asked, printer.columns(true)));
        consent::say_left_out(&left, printer);
        // Where nothing is there yet, there is nothing to trust.
        if !options.destroy && planned.inventory.of_site(&planned.desired.site).next().is_some() {
            printer.say(trust(global, planned, looked.as_ref()));
        }
        if let Some(file) = &options.out {
            printer.say(format!("kept in {file}; carry it out with: {} apply {file}", typed(global)));
        } else if !plan.steps.is_empty() && plan.problems.is_empty() {
            printer.say(format!(
                "\nto do it: {} {}",
                typed(global),
                match (options.destroy, options.deep) {
                    (true, _) => "destroy",
                    (_, true) => "up --deep",
                    _ => "up",
                }
            ));
        }
    }
    if !plan.problems.is_empty() {
        return Err(already_reported(ErrorKind::Failed));
    }
    Ok(if options.detailed_exitcode && !plan.steps.is_empty() { 3 } else { 0 })
}
