//! `apply` and `up`: carrying out a plan.

use apply::{Outcome as RunOutcome, Report};
use plan::desired::Speaks;
use plan::planner::withheld;
use plan::{Consent, Plan};
use site::{Order, Site};
use tokio_util::sync::CancellationToken;

use crate::args::{self, Global};
use crate::commands::plan::{self as planning, typed};
use crate::commands::probing::{self, Probing};
use crate::error::{CommandError, Kind, Outcome};
use crate::printer::Printer;
use crate::{opening, progress};

/// `apply`.
pub async fn run(global: &Global, options: &args::Apply, printer: Printer) -> Outcome {
    let saved = options.file.as_deref().map(site::read).transpose()?;
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        // Before anything is looked at, so that nobody changes in between what the plan is made against.
        let _lock = planned.lock(&printer).await?;
        planned.look_settled(&printer).await?;
        let plan = match saved {
            Some(plan) => {
                planned.still_true(&plan)?;
                plan
            }
            None => {
                if options.again {
                    planned.forget();
                }
                if options.deep {
                    planned.look_inside(&options.target).await?;
                }
                planned.plan(&options.target, false)?
            }
        };
        let code = carry_out(global, &planned, &plan, &options.allow_destroy, printer).await?;
        if options.no_probe {
            return Ok(code);
        }
        let probing = Probing { targets: &options.target, mends: options.file.is_none(), asks: false };
        probing::ask(global, &mut planned, probing, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}

/// `up`: plan, confirm, apply.
pub async fn up(global: &Global, options: &args::Up, printer: Printer) -> Outcome {
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock(&printer).await?;
        planned.look_settled(&printer).await?;
        if options.deep {
            planned.look_inside(&options.target).await?;
        }
        let plan = planned.plan(&options.target, false)?;
        if !options.yes && !plan.steps.is_empty() && plan.problems.is_empty() {
            printer.raw_error(planning::show(&plan, &planned.place(), global));
            confirm(&format!("carry out {} steps?", plan.steps.len()), "yes", printer)?;
        }
        let code = carry_out(global, &planned, &plan, &options.allow_destroy, printer).await?;
        if options.no_probe {
            return Ok(code);
        }
        let probing = Probing { targets: &options.target, mends: true, asks: !options.yes };
        probing::ask(global, &mut planned, probing, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}

/// Asks a person to type `word`.
pub fn confirm(question: &str, word: &str, printer: Printer) -> Result<(), CommandError> {
    if !printer.can_ask() {
        return Err(CommandError {
            kind: Kind::Consent,
            ..CommandError::failed(
                "consent::nobody-to-ask",
                "nobody can be asked here: this is not a terminal",
            )
        }
        .hint("phoenix-cli up --yes, or phoenix-cli apply"));
    }
    printer.ask(&format!("\n{question} type `{word}`: "));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|e| CommandError::from_error("consent::unreadable", &e))?;
    if answer.trim() == word {
        return Ok(());
    }
    Err(CommandError { kind: Kind::Consent, ..CommandError::failed("consent::declined", "nothing was done") })
}

/// Carries out `plan` and says how it went.
pub async fn carry_out(
    global: &Global,
    planned: &Site,
    plan: &Plan,
    granted: &[String],
    printer: Printer,
) -> Outcome {
    if !plan.problems.is_empty() {
        if printer.json {
            printer.data_json(&plan.public_json());
        } else {
            printer.raw_error(planning::show(plan, &planned.place(), global));
        }
        return Err(CommandError::said(Kind::Failed));
    }
    let withheld: Vec<&plan::Step> = withheld(plan, granted);
    if plan.steps.is_empty() {
        return nothing(plan, planned, printer);
    }
    let stop = CancellationToken::new();
    let order = Order { granted, command: command_line(), sink: progress::sink(printer), stop: stop.clone() };
    let report = tokio::select! {
        report = planned.apply(plan, order) => report?,
        () = interrupted_twice(&stop) => {
            return Err(CommandError {
                kind: Kind::Interrupted,
                ..CommandError::failed("apply::aborted", "stopped at once; tasks on the node may still run")
            }
            .hint(format!("{} apply carries on", typed(global))));
        }
    };
    let destroys = |s: &plan::Step| s.action == plan::Action::Delete && s.address.kind() != "feature";
    let only_destroys = plan.steps.iter().all(destroys);
    finish(global, planned, &report, &withheld, only_destroys, printer)
}

fn nothing(plan: &Plan, planned: &Site, printer: Printer) -> Outcome {
    if printer.json {
        printer.data_json(&plan.public_json());
    } else {
        printer.say(format!("✔ {} on {}: nothing to do", plan.site, planned.place()));
    }
    Ok(0)
}

fn finish(
    global: &Global,
    planned: &Site,
    report: &Report,
    withheld: &[&plan::Step],
    only_destroys: bool,
    printer: Printer,
) -> Outcome {
    match report.outcome {
        RunOutcome::Interrupted => {
            printer.say(format!("{} apply carries on", typed(global)));
            return Err(CommandError::said(Kind::Interrupted));
        }
        RunOutcome::Failed if !report.failed.is_empty() => {
            return Err(CommandError::said(Kind::Failed));
        }
        _ => {}
    }
    if !withheld.is_empty() {
        let refused = withheld.iter().find_map(|s| match &s.consent {
            Consent::Refused(why) => Some(format!("{}: {why}", s.address)),
            _ => None,
        });
        let names: Vec<String> = withheld.iter().map(|s| format!("--allow-destroy {}", s.address)).collect();
        let words: Vec<&str> = withheld.iter().map(|s| s.address.as_str()).collect();
        return Err(CommandError {
            kind: Kind::Consent,
            ..CommandError::failed(
                "consent::missing",
                format!("not done without consent: {}", words.join(", ")),
            )
        }
        .hint(refused.unwrap_or_else(|| format!("{} apply {}", typed(global), names.join(" ")))));
    }
    if report.outcome == RunOutcome::Failed {
        return Err(CommandError::said(Kind::Failed));
    }
    if !printer.json && !only_destroys {
        for line in where_to_look(planned) {
            printer.say(line);
        }
    }
    Ok(0)
}

/// How to look at what is there now.
fn where_to_look(planned: &Site) -> Vec<String> {
    let services: Vec<_> = planned.desired.services.values().filter(|s| s.gateway().is_some()).collect();
    let mut lines: Vec<String> = services.iter().map(|s| format!("  {}", s.url())).collect();
    let lab = planned.connection.lab.as_ref().filter(|_| !planned.connection.simulated());
    // A page, where there is one: curl has nothing to say to a TCP service.
    let page = services.iter().find(|s| s.speaks != Speaks::Tcp);
    if let (Some(lab), Some(host)) = (lab, page.and_then(|s| s.hosts.first())) {
        let port = lab.ports.https;
        lines.push(format!(
            "from this machine: curl --cacert <(phoenix-cli certs root --site {}) --resolve {host}:{port}:127.0.0.1 https://{host}:{port}/",
            planned.blueprint.root
        ));
    }
    lines
}

/// What was typed; secrets are never arguments, so none can be in it.
fn command_line() -> String {
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}

/// Ctrl-C once cancels `stop`; twice ends this future. A SIGTERM counts as one.
async fn interrupted_twice(stop: &CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        if stop.is_cancelled() {
            return;
        }
        stop.cancel();
    }
}
