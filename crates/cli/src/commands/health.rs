//! `health`: how everything is, in a line each.

use std::sync::Arc;

use jiff::Timestamp;
use managers::health::{Check, Examiner, Health, examine};
use managers::services::TlsProber;
use managers::trace::Observer;
use managers::{Prober, Secrets};
use plan::render::Style;
use serde_json::json;
use transport::{Local, Runner};

use crate::args::{self, Global};
use crate::commands::plan::Planned;
use crate::error::{CommandError, Kind, Outcome};
use crate::printer::{Printer, paint};
use crate::secrets::SiteSecrets;

/// Looks at everything and says how it is.
pub async fn run(global: &Global, options: &args::Health, printer: Printer) -> Outcome {
    let planned = Planned::new(global, printer).await?;
    let result = look(&planned, &options.targets).await;
    planned.connection.close().await;
    let health = result?;
    let checks = health.checks();
    if options.prometheus {
        printer.data(health.prometheus());
    } else if printer.json {
        printer.data_json(&json!({
            "ok": health.ok(), "site": planned.desired.site, "simulated": planned.connection.simulated(),
            "at": health.at.to_string(), "took_ms": u64::try_from(health.took.as_millis()).unwrap_or(u64::MAX),
            "checks": checks.iter().map(Check::json).collect::<Vec<_>>(),
        }));
    } else {
        printer.data(format!("{} on {}", planned.desired.site, planned.place()));
        show(&checks, printer);
        let bad = checks.iter().filter(|c| c.trouble.is_some()).count();
        match bad {
            0 => printer.say(format!(
                "all is well ({} checks in {:.1} s)",
                checks.len(),
                health.took.as_secs_f64()
            )),
            n => printer.say(format!("{n} of {} checks tell of trouble", checks.len())),
        }
    }
    if health.ok() { Ok(0) } else { Err(CommandError::said(Kind::Failed)) }
}

/// What there is to see at a site.
pub async fn look(planned: &Planned, targets: &[String]) -> Result<Health, CommandError> {
    for target in targets {
        if !plan::planner::known(&planned.desired, &planned.inventory, target) {
            return Err(CommandError::usage("plan::no-such-target", format!("nothing is called `{target}`"))
                .hint("phoenix-cli graph shows all addresses"));
        }
    }
    let connection = &planned.connection;
    let from: Arc<dyn Runner> = connection.node.clone().unwrap_or_else(|| Arc::new(Local));
    let secrets: Arc<dyn Secrets> = Arc::new(SiteSecrets::new(planned.blueprint.root.clone()));
    let prober: Arc<dyn Prober> = if connection.simulated() {
        Arc::new(crate::simulated::SimulatedProber::new(connection.reader(), &planned.desired))
    } else {
        Arc::new(TlsProber::new(from, &planned.authority, secrets, Timestamp::now())?)
    };
    let observer = Observer {
        desired: &planned.desired,
        root: planned.authority.root_pem(),
        node: connection.node.clone(),
        clock: Timestamp::now,
    };
    let simulated = connection.simulated();
    Ok(examine(&Examiner { observer, inventory: &planned.inventory, prober, simulated, targets }).await)
}

/// The checks, by group.
pub fn show(checks: &[Check], printer: Printer) {
    let mut group = None;
    for check in checks {
        if group.replace(check.group) != Some(check.group) {
            printer.data(paint(Style::Strong, check.group.title()));
        }
        let (sign, style) =
            if check.trouble.is_some() { ("✘", Style::Remove) } else { ("✔", Style::Add) };
        printer.data(format!("{} {:<24} {}", paint(style, sign), check.name, check.seen));
        if let Some(trouble) = &check.trouble {
            for line in trouble.text.lines() {
                printer.data(format!("  {line}"));
            }
            printer.data(format!("  {} {}", paint(Style::Hint, "hint:"), printer.hint(&trouble.hint)));
        }
    }
}
