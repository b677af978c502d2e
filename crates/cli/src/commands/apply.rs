//! `apply` and `up`: carrying out a plan.

use std::sync::Arc;

use apply::event::{Recorder, Sinks};
use apply::journal::{self, Journal};
use apply::{Foreman, Outcome as RunOutcome, Report, Sink};
use jiff::Timestamp;
use managers::services::TlsProber;
use managers::{Prober, Worksite};
use plan::desired::Speaks;
use plan::planner::{state_of, withheld};
use plan::{Consent, Plan};
use tokio_util::sync::CancellationToken;
use transport::{Local, Runner};

use crate::args::{self, Global};
use crate::commands::plan::{self as planning, Planned, typed};
use crate::error::{CommandError, Kind, Outcome};
use crate::lock::SiteLock;
use crate::printer::Printer;
use crate::secrets::SiteSecrets;
use crate::{progress, site};

/// `apply`.
pub async fn run(global: &Global, options: &args::Apply, printer: Printer) -> Outcome {
    let saved = options.file.as_deref().map(planning::read).transpose()?;
    let mut planned = Planned::unseen(global, printer)?;
    let result = async {
        // Before anything is looked at, so that nobody changes in between what the plan is made against.
        let _lock = SiteLock::take(&planned.connection, &planned.blueprint, printer).await?;
        planned.look(printer).await?;
        let plan = match saved {
            Some(plan) => {
                still_true(&plan, &planned)?;
                plan
            }
            None => {
                if options.again {
                    planned.forget();
                }
                planned.plan(&options.target, false)?
            }
        };
        carry_out(global, &planned, &plan, &options.allow_destroy, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}

/// `up`: plan, confirm, apply.
pub async fn up(global: &Global, options: &args::Up, printer: Printer) -> Outcome {
    let mut planned = Planned::unseen(global, printer)?;
    let result = async {
        let _lock = SiteLock::take(&planned.connection, &planned.blueprint, printer).await?;
        planned.look(printer).await?;
        let plan = planned.plan(&options.target, false)?;
        if !options.yes && !plan.steps.is_empty() && plan.problems.is_empty() {
            printer.raw_error(planning::show(&plan, &planned.place(), global));
            confirm(&format!("carry out {} steps?", plan.steps.len()), "yes", printer)?;
        }
        carry_out(global, &planned, &plan, &options.allow_destroy, printer).await
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

/// A saved plan is only carried out when the world is still the one it was made against.
fn still_true(plan: &Plan, planned: &Planned) -> Result<(), CommandError> {
    if plan.site != planned.desired.site {
        return Err(CommandError::usage(
            "plan::other-site",
            format!("the plan is for the site `{}`, and this is `{}`", plan.site, planned.desired.site),
        )
        .hint("give the right folder with --site"));
    }
    let changed: Vec<String> = plan
        .basis
        .iter()
        .filter(|(id, state)| state_of(&planned.inventory, **id) != **state)
        .map(|(id, _)| {
            plan.steps
                .iter()
                .find(|s| s.id == Some(*id))
                .map_or_else(|| id.to_string(), |s| format!("{id} ({})", s.address))
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(CommandError::failed(
        "plan::stale",
        format!("the plan no longer fits: {} changed since it was made", changed.join(", ")),
    )
    .hint("make it again with: phoenix-cli plan --out FILE"))
}

/// Carries out `plan` and says how it went.
pub async fn carry_out(
    global: &Global,
    planned: &Planned,
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
    let root = &planned.blueprint.root;
    let runs = site::runs(root);
    let journal_error = |e: journal::JournalError| CommandError::from_error("apply::journal", &e);
    let resumes = journal::cut_off(&runs).map_err(journal_error)?.map(|r| r.run);
    let id = journal::run_id(Timestamp::now(), std::process::id());
    let journal = Journal::begin(&runs, &id, Timestamp::now).map_err(journal_error)?;
    let recorder = Arc::new(Recorder::default());
    let sink: Arc<dyn Sink> =
        Arc::new(Sinks::new(vec![Arc::new(journal), recorder.clone(), progress::sink(printer)]));
    let worksite = worksite(planned)?;
    let stop = CancellationToken::new();
    let foreman = Foreman::new(managers::crews(&worksite), sink, stop.clone());
    let run = apply::walk::Run { id, command: command_line(), resumes };
    let walk = foreman.walk(plan, granted, run);
    let report = tokio::select! {
        report = walk => report,
        () = interrupted_twice(&stop) => {
            return Err(CommandError {
                kind: Kind::Interrupted,
                ..CommandError::failed("apply::aborted", "stopped at once; tasks on the node may still run")
            }
            .hint(format!("{} apply carries on", typed(global))));
        }
    };
    if planned.connection.lab.is_some() {
        publish(planned);
    }
    let destroys = |s: &plan::Step| s.action == plan::Action::Delete && s.address.kind() != "feature";
    let only_destroys = plan.steps.iter().all(destroys);
    finish(global, planned, &report, &withheld, only_destroys, printer)
}

fn nothing(plan: &Plan, planned: &Planned, printer: Printer) -> Outcome {
    if printer.json {
        printer.data_json(&plan.public_json());
    } else {
        printer.say(format!("✔ {} on {}: nothing to do", plan.site, planned.place()));
    }
    Ok(0)
}

fn finish(
    global: &Global,
    planned: &Planned,
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
fn where_to_look(planned: &Planned) -> Vec<String> {
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

/// The lab's HTTPS port leads to the gateway, wherever it is now.
fn publish(planned: &Planned) {
    let gateway = planned.desired.services.values().find_map(|s| s.gateway().map(|via| via.address));
    let target = gateway.map(|address| std::net::SocketAddrV4::new(address, 443));
    if !planned.connection.simulated() {
        // Only the lab's own convenience: a failure shows when the port is used.
        let _ = lab::up::publish_https(&site::lab_folder(&planned.blueprint), target);
    }
}

/// What crews work with.
pub fn worksite(planned: &Planned) -> Result<Arc<Worksite>, CommandError> {
    let from: Arc<dyn Runner> = planned.connection.node.clone().unwrap_or_else(|| Arc::new(Local));
    let secrets: Arc<dyn managers::Secrets> = Arc::new(SiteSecrets::new(planned.blueprint.root.clone()));
    let prober: Arc<dyn Prober> = if planned.connection.simulated() {
        Arc::new(crate::simulated::SimulatedProber::new(planned.connection.reader(), &planned.desired))
    } else {
        Arc::new(TlsProber::new(from, &planned.authority, secrets.clone(), Timestamp::now())?)
    };
    let artifacts = super::artifacts::provider(&planned.blueprint.target, planned.connection.simulated())?;
    Ok(Arc::new(
        Worksite::new(
            planned.desired.site.clone(),
            planned.connection.writer(),
            planned.connection.node.clone(),
            planned.authority.clone(),
            secrets,
            prober,
            Timestamp::now,
        )
        .with_artifacts(artifacts),
    ))
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
