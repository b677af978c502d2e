//! `health`: how everything is, in a line each.

use foreign::{indented, line};
use managers::health::Check;
use plan::render::Style;
use serde_json::json;

use crate::args::{self, Global};
use crate::error::{ErrorKind, Outcome, already_reported};
use crate::opening;
use crate::printer::{Printer, hung, paint};

/// Looks at everything and says how it is.
pub async fn run(global: &Global, options: &args::Health, printer: Printer) -> Outcome {
    let planned = opening::glance(global, printer).await?;
    let result = planned.health(&options.targets).await;
    planned.close().await;
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
            n => printer.say(format!("{n} of {} checks found trouble", checks.len())),
        }
    }
    if health.ok() { Ok(0) } else { Err(already_reported(ErrorKind::Failed)) }
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
        printer.data(format!("{} {:<24} {}", paint(style, sign), line(&check.name), line(&check.seen)));
        if let Some(trouble) = &check.trouble {
            printer.data(format!("  {}", indented(&trouble.text, "  ")));
            printer.data(format!("  {} {}", paint(Style::Hint, "hint:"), hung(&printer.hint(&trouble.hint))));
        }
    }
}
