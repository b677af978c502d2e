//! What `apply` and `up` do last: every service is asked once. What does not answer is looked into, and put right where
//! something is found.

use site::{Silent, Site};

use crate::args::Global;
use crate::args::Shown;
use crate::commands::apply::carry_out;
use crate::commands::{consent, show};
use crate::error::{ErrorKind, Outcome};
use crate::printer::Printer;

/// How services are asked.
#[derive(Debug, Clone, Copy)]
pub struct Probing<'a> {
    /// Only these, and what is on them; all where empty.
    pub targets: &'a [String],
    /// Whether what is found is put right: not after a saved plan, which is all that was agreed to.
    pub mends: bool,
    /// Whether a person is asked before that.
    pub asks: bool,
}

/// Asks all services; 0 where all answer in the end.
pub async fn ask(global: &Global, site: &mut Site, probing: Probing<'_>, printer: Printer) -> Outcome {
    let asked = site.asked(probing.targets).count();
    if asked == 0 {
        return Ok(0);
    }
    if site.connection.simulated() {
        printer.say("services were not asked: the lab is simulated, and nothing runs in it");
        return Ok(0);
    }
    let silent = site.ask(probing.targets).await?;
    if silent.is_empty() {
        printer.say(match asked {
            1 => "asked the service: it answers".to_owned(),
            n => format!("asked {n} services: all answer"),
        });
        return Ok(0);
    }
    for service in &silent {
        printer.say(format!(
            "✘ {} does not answer: {}",
            service.url,
            foreign::line(&service.failure.errors.join(": "))
        ));
    }
    if !probing.mends {
        return verdict(site, &silent, printer).await;
    }
    printer.say("looking into the guests on the way there");
    let plan = site.mend(&silent, &printer).await?;
    if plan.steps.is_empty() || !plan.problems.is_empty() {
        return verdict(site, &silent, printer).await;
    }
    if !printer.json {
        show::before(&plan, site, global, Shown::default(), &show::Asked::default(), printer);
    }
    if probing.asks {
        consent::carry_out(&plan, printer)?;
    }
    match carry_out(global, site, &plan, &[], printer).await {
        Err(error) if error.kind != ErrorKind::Interrupted => {
            verdict(site, &silent, printer).await?;
            Err(error)
        }
        outcome => outcome,
    }
}

/// Asks those once more that did not answer, since what was just started may need a moment; and says what is the matter with
/// those that still do not.
async fn verdict(site: &Site, silent: &[Silent], printer: Printer) -> Outcome {
    let names: Vec<String> = silent.iter().map(|s| s.address().to_string()).collect();
    let still = site.ask(&names).await?;
    if !still.is_empty() {
        return Err(site.unanswered(&still).await);
    }
    for service in silent {
        printer.say(format!("✔ {} answers now", service.url));
    }
    Ok(0)
}
