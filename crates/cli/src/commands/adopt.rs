//! `adopt`: taking guests over that do not prove to be the site's own.

use site::{Foundling, Site};

use crate::args::{self, Global};
use crate::commands::consent;
use crate::commands::plan::typed;
use crate::error::{CommandError, ErrorKind, Outcome};
use crate::opening;
use crate::printer::Printer;

/// Shows what would be taken over, and takes it over with consent that names it.
pub async fn run(global: &Global, options: &args::Adopt, printer: Printer) -> Outcome {
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock().await?;
        planned.look_settled(&printer).await?;
        let found = planned.foundlings(&options.guests)?;
        if !printer.json {
            found.iter().for_each(|one| printer.data(words(one)));
        }
        if !options.yes {
            agreed(&found, global, options, printer)?;
            if options.new_authority {
                consent::another_root(&planned, printer)?;
            }
        }
        planned.establish(options.new_authority, &printer)?;
        take(&planned, &found, global, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}

/// Consent to each by its name.
fn agreed(
    found: &[Foundling],
    global: &Global,
    options: &args::Adopt,
    printer: Printer,
) -> Result<(), CommandError> {
    for one in found {
        if !printer.can_ask() {
            let message = format!("nothing was done: taking over {} takes consent", one.address);
            let error = CommandError {
                kind: ErrorKind::Consent,
                ..CommandError::failed("consent::missing", message)
            };
            let anew = if options.new_authority { " --new-authority" } else { "" };
            let guests = options.guests.join(" ");
            return Err(error.hint(format!("{} adopt {guests}{anew} --yes", typed(global))));
        }
        let question =
            format!("{} becomes {}, and Phoenix may change it and destroy it.", one.id, one.address);
        consent::word(&question, one.address.name(), printer)?;
    }
    Ok(())
}

async fn take(planned: &Site, found: &[Foundling], global: &Global, printer: Printer) -> Outcome {
    for one in found {
        planned.adopt(one).await?;
        if !printer.json {
            printer.say(format!("✔ {} is {}", one.id, one.address));
        }
    }
    if printer.json {
        let all: Vec<_> = found
            .iter()
            .map(|one| serde_json::json!({ "address": one.address, "id": one.id, "node": one.node }))
            .collect();
        printer.data_json(&serde_json::json!({ "adopted": all }));
    } else if found.is_empty() {
        printer.say("nothing to do: the site's own already");
    } else {
        printer.say(format!("what differs, and is applied again: {} plan", typed(global)));
    }
    Ok(0)
}

fn words(one: &Foundling) -> String {
    let Foundling { address, id, name, node, running, claim, .. } = one;
    let (name, node) = (foreign::line(name), foreign::line(node));
    let state = if *running { "running" } else { "stopped" };
    let says = match claim {
        Some(claim) => format!("as it stands it is {claim}"),
        None => "its description says of no site that it made it".to_owned(),
    };
    format!("{address} would be {id}, `{name}` on {node}, {state}: {says}")
}
