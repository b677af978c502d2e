//! `plan`: what would be done, and why.

use managers::features::look::Looked;
use plan::Plan;
use site::Site;

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

/// `drift`: the plan, after a look inside.
pub async fn drift(global: &Global, options: args::Drift, printer: Printer) -> Outcome {
    let args::Drift { target, out, detailed_exitcode } = options;
    let options = args::Plan { target, out, detailed_exitcode, again: false, destroy: false, deep: true };
    run(global, &options, printer).await
}

/// What was taken on trust, in a line.
fn trust(global: &Global, site: &Site, looked: Option<&Looked>) -> String {
    match (looked, site.looked_at()) {
        (Some(looked), _) => {
            let s = if looked.guests == 1 { "" } else { "s" };
            format!("looked into {} guest{s}", looked.guests)
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
    if options.again {
        planned.forget();
    }
    let looked = match options.deep {
        true => planned.look_inside(&options.target).await.map(Some),
        false => Ok(None),
    };
    planned.close().await;
    let looked = looked?;
    let plan = planned.plan(&options.target, options.destroy)?;
    if let Some(file) = &options.out {
        site::save(&plan, file)?;
    }
    if printer.json {
        let mut json = plan.public_json();
        json["inside"] = serde_json::json!({
            "looked": looked.as_ref().map(|looked| looked.guests), "last": planned.looked_at(),
        });
        printer.data_json(&json);
    } else {
        printer.data(show(&plan, &planned.place(), global));
        // Where nothing is there yet, there is nothing to trust.
        if !options.destroy && planned.inventory.of_site(&planned.desired.site).next().is_some() {
            printer.say(trust(global, &planned, looked.as_ref()));
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
        return Err(CommandError::said(crate::error::Kind::Failed));
    }
    Ok(if options.detailed_exitcode && !plan.steps.is_empty() { 3 } else { 0 })
}
