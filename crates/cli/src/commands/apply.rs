//! `apply` and `up`: carrying out a plan.

use apply::{Outcome as RunOutcome, Report};
use plan::Plan;
use site::{Order, Site};
use tokio_util::sync::CancellationToken;

use crate::args::{self, Global};
use crate::commands::consent::{self, Ask};
use crate::commands::plan::{look, plan_for, typed};
use crate::commands::probing::{self, Probing};
use crate::commands::{artifacts, diff, rotate_authority, secrets, show};
use crate::error::{CommandError, ErrorKind, Outcome, already_reported};
use crate::printer::Printer;
use crate::{opening, passphrase, progress};

/// `apply`.
pub async fn run(global: &Global, options: &args::Apply, printer: Printer) -> Outcome {
    let carrying = &options.carrying;
    let saved = options.file.as_deref().map(site::read).transpose()?;
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        // Before anything is looked at, so that nobody changes in between what the plan is made against.
        let _lock = planned.lock().await?;
        planned.look_settled(&printer).await?;
        planned.establish(false, &printer)?;
        let (plan, left) = match saved {
            Some(saved) => {
                let mut plan = planned.accept(saved)?;
                consent::to_the_restart(&plan, carrying.chosen.restart_node)?;
                if carrying.chosen.no_restart {
                    plan.postpone_restarts();
                }
                let left = planned.leave_out(&mut plan, &carrying.chosen.exclude)?;
                (plan, left)
            }
            None => {
                if options.again {
                    planned.forget();
                }
                look(&mut planned, &carrying.chosen, carrying.deep).await?;
                plan_for(&planned, &carrying.chosen, false)?
            }
        };
        if options.again && plan.steps.is_empty() && plan.problems.is_empty() && left.is_empty() {
            let what = carrying.chosen.target.join(", ");
            let what = if what.is_empty() { "the site".to_owned() } else { what };
            printer.say(format!(
                "{what} has no features, certificates or services: there is nothing to do again"
            ));
        }
        consent::say_left_out(&left, printer);
        let granted = if plan.problems.is_empty() {
            consent::only_names(&plan, &carrying.allow_destroy)?;
            consent::nothing_protected(&plan)?;
            let file = options.file.as_ref().map(|file| format!(" {file}")).unwrap_or_default();
            let typed = format!("{} apply{file}", typed(global));
            consent::settle(&plan, &carrying.allow_destroy, Ask::Nobody, &typed, printer)?
        } else {
            Vec::new()
        };
        if (carrying.shown.full || carrying.shown.diff) && !printer.json && !plan.steps.is_empty() {
            let asked = diff::ask(&planned, &plan, carrying.shown, printer).await;
            show::before(&plan, &planned, global, carrying.shown, &asked, printer);
        }
        artifacts::say_what_is_built(&plan, &planned, printer);
        let code = carry_out(global, &planned, &plan, &granted, printer).await?;
        if let Some(stage) = rotate_authority::words(&planned, &typed(global)).filter(|_| !printer.json) {
            printer.say(stage);
        }
        if carrying.no_probe {
            return Ok(code);
        }
        let probing =
            Probing { targets: &carrying.chosen.target, mends: options.file.is_none(), asks: false };
        probing::ask(global, &mut planned, probing, printer).await
    }
    .await;
    planned.connection.close().await;
    result
}

/// `up`: plan, confirm, apply.
pub async fn up(global: &Global, options: &args::Up, printer: Printer) -> Outcome {
    let carrying = &options.carrying;
    let mut planned = opening::open(global, printer).await?;
    let result = async {
        let _lock = planned.lock().await?;
        planned.look_settled(&printer).await?;
        if options.new_authority && !options.yes {
            consent::another_root(&planned, printer)?;
        }
        planned.establish(options.new_authority, &printer)?;
        look(&mut planned, &carrying.chosen, carrying.deep).await?;
        let (plan, left) = plan_for(&planned, &carrying.chosen, false)?;
        let granted = if plan.steps.is_empty() || !plan.problems.is_empty() {
            consent::say_left_out(&left, printer);
            Vec::new()
        } else {
            consent::only_names(&plan, &carrying.allow_destroy)?;
            let shown = !options.yes || carrying.shown.full || carrying.shown.diff;
            if shown && !printer.json {
                let asked = diff::ask(&planned, &plan, carrying.shown, printer).await;
                show::before(&plan, &planned, global, carrying.shown, &asked, printer);
            }
            consent::say_left_out(&left, printer);
            consent::nothing_protected(&plan)?;
            artifacts::say_what_is_built(&plan, &planned, printer);
            let ask = if options.yes { Ask::Nobody } else { Ask::Terminal };
            if !options.yes {
                consent::carry_out(&plan, printer)?;
            }
            let typed = format!("{} up --yes", typed(global));
            consent::settle(&plan, &carrying.allow_destroy, ask, &typed, printer)?
        };
        let code = carry_out(global, &planned, &plan, &granted, printer).await?;
        if let Some(stage) = rotate_authority::words(&planned, &typed(global)).filter(|_| !printer.json) {
            printer.say(stage);
        }
        if carrying.no_probe {
            return Ok(code);
        }
        let probing = Probing { targets: &carrying.chosen.target, mends: true, asks: !options.yes };
        probing::ask(global, &mut planned, probing, printer).await
    }
    .await;
    planned.connection.close().await;
    result
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
            show::before(plan, planned, global, args::Shown::default(), &show::Asked::default(), printer);
        }
        return Err(already_reported(ErrorKind::Failed));
    }
    if plan.steps.is_empty() {
        // Ports of this machine are no steps.
        planned.publish(plan).await;
        let outcome = nothing(plan, planned, printer);
        put_off(global, plan, printer);
        unpublished(planned, printer);
        return outcome;
    }
    // Asked once, before the first step.
    if planned.takes_passphrase(plan)? {
        planned.unlock(&passphrase::of_root(global, false, printer)?)?;
    }
    let root = &planned.blueprint.root;
    let secrets_before = secrets::made(root);
    let stop = CancellationToken::new();
    let order = Order { granted, command: command_line(), sink: progress::sink(printer), stop: stop.clone() };
    let report = tokio::select! {
        report = planned.apply(plan, order) => report?,
        () = interrupted_twice(&stop) => {
            return Err(CommandError {
                kind: ErrorKind::Interrupted,
                ..CommandError::failed("apply::aborted", "stopped at once; tasks on the node may still run")
            }
            .hint(format!("{} apply carries on", typed(global))));
        }
    };
    if !printer.json {
        for line in secrets::new_ones(&secrets_before, &secrets::made(root), &typed(global)) {
            printer.say(line);
        }
    }
    // What is taken out of a guest leaves the guest, and all that it serves.
    let destroys = |s: &plan::Step| s.action == plan::Action::Delete && s.address.host().is_none();
    let only_destroys = plan.steps.iter().all(destroys);
    let outcome = finish(global, planned, &report, only_destroys, printer);
    if outcome.is_ok() {
        put_off(global, plan, printer);
    }
    outcome
}

/// Which guests wait for a restart that was put off, and the command that does it.
fn put_off(global: &Global, plan: &Plan, printer: Printer) {
    if printer.json {
        return;
    }
    for line in plan::render::waiting(plan, &typed(global)) {
        printer.say(line);
    }
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
    only_destroys: bool,
    printer: Printer,
) -> Outcome {
    match report.outcome {
        RunOutcome::Interrupted => {
            printer.say(format!("{} apply carries on", typed(global)));
            return Err(already_reported(ErrorKind::Interrupted));
        }
        RunOutcome::Failed => return Err(already_reported(ErrorKind::Failed)),
        _ => {}
    }
    if !printer.json && !only_destroys {
        for line in where_to_look(planned) {
            printer.say(line);
        }
    }
    unpublished(planned, printer);
    Ok(0)
}

/// Which services the lab could not publish on this machine, and why.
fn unpublished(planned: &Site, printer: Printer) {
    for (name, service) in site::tcp_services(planned) {
        if let Some(why) = service.trouble {
            printer.warn(format!("service.{name} is not published on this machine: {why}"));
        }
    }
}

/// How to look at what is there now.
fn where_to_look(planned: &Site) -> Vec<String> {
    let all = || planned.desired.services.values();
    let published = site::tcp_services(planned);
    let shown = all().filter(|s| s.gateway().is_some() || published.contains_key(&s.name));
    let mut lines: Vec<String> = shown
        .map(|s| match published.get(&s.name) {
            Some(tcp) if tcp.trouble.is_none() => format!("  {}: {}", s.name, tcp.url()),
            _ => format!("  {}", site::url(planned, s)),
        })
        .collect();
    let services: Vec<_> = all().filter(|s| s.gateway().is_some()).collect();
    let lab = planned.connection.lab.as_ref().filter(|_| !planned.connection.simulated());
    // A page, where there is one: curl has nothing to say to a TCP service.
    let page = services.iter().find(|s| site::at_the_port(&planned.desired, s));
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
