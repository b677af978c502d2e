//! `destroy`: all that Phoenix made for the site, and nothing else.

use crate::args::{self, Global};
use crate::commands::apply::{carry_out, confirm};
use crate::commands::plan::{self as planning, typed};
use crate::error::{CommandError, Kind, Outcome};
use crate::opening;
use crate::printer::Printer;

/// Destroys with consent: the site's name typed, or every resource named.
pub async fn run(global: &Global, options: &args::Destroy, printer: Printer) -> Outcome {
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock(&printer).await?;
        planned.look_settled(&printer).await?;
        let plan = planned.plan(&options.target, true)?;
        let mut granted = options.allow_destroy.clone();
        if let Some(name) = &options.confirm {
            if *name != planned.desired.site {
                return Err(CommandError {
                    kind: Kind::Consent,
                    ..CommandError::failed(
                        "consent::other-site",
                        format!("this site is `{}`, not `{name}`", planned.desired.site),
                    )
                }
                .hint(format!(
                    "{} destroy --confirm {}",
                    typed(global),
                    planned.desired.site
                )));
            }
            granted.push("*".into());
        } else if granted.is_empty() && !plan.steps.is_empty() {
            if !printer.json {
                printer.raw_error(planning::show(&plan, &planned.place(), global));
            }
            if !printer.can_ask() {
                return Err(CommandError {
                    kind: Kind::Consent,
                    ..CommandError::failed("consent::missing", "destroying takes consent that names the site")
                }
                .hint(format!(
                    "{} destroy --confirm {}",
                    typed(global),
                    planned.desired.site
                )));
            }
            confirm("this destroys all of the above, with its data.", &planned.desired.site, printer)?;
            granted.push("*".into());
        }
        carry_out(global, &planned, &plan, &granted, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}
