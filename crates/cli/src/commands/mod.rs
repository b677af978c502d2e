//! What each command does; a file each. [`run`] leads to them.

mod adopt;
mod apply;
mod artifacts;
mod backup;
mod bootstrap;
mod certs;
mod checkup;
mod completions;
mod consent;
mod destroy;
mod diff;
mod doctor;
mod explain;
mod graph;
mod guests;
mod health;
mod help;
mod history;
mod init;
mod lab;
mod learn;
mod logs;
mod man;
mod plan;
mod probing;
mod rotate;
mod rotate_authority;
mod schema;
mod sealing;
mod secret_values;
mod secrets;
mod show;
mod status;
mod trace;
mod update;
mod validate;
mod version;

use crate::args::{Cli, Command, Global};
use crate::error::{CommandError, Outcome};
use crate::printer::Printer;

/// Carries out what was typed.
pub fn run(cli: Cli, printer: Printer) -> Outcome {
    let (global, seals) = (cli.global, sealing::may_change_secrets(&cli.command));
    let outcome = carry_out(&global, cli.command, printer);
    if seals { sealing::again(&global, outcome, printer) } else { outcome }
}

fn carry_out(global: &Global, command: Command, printer: Printer) -> Outcome {
    match command {
        Command::Help(options) => wait(help::run(&options, printer)),
        Command::Man(options) => man::run(&options, printer),
        Command::Version => version::run(printer),
        Command::Completions(options) => completions::script(&options, printer),
        Command::Complete(options) => completions::complete(global, &options, printer),
        Command::Schema(options) => schema::run(&options, printer),
        Command::Init(options) => init::run(global, &options, printer),
        Command::Validate => validate::run(global, printer),
        Command::Graph(options) => graph::run(global, &options, printer),
        Command::Explain(options) => explain::run(global, &options, printer),
        Command::History(options) => history::run(global, &options, printer),
        Command::Plan(options) => wait(plan::run(global, &options, printer)),
        Command::Drift(options) => wait(plan::drift(global, options, printer)),
        Command::Apply(options) => wait(apply::run(global, &options, printer)),
        Command::Up(options) => wait(apply::up(global, &options, printer)),
        Command::Destroy(options) => wait(destroy::run(global, &options, printer)),
        Command::Rotate(options) => wait(rotate::run(global, &options, printer)),
        Command::Adopt(options) => wait(adopt::run(global, &options, printer)),
        Command::Status(options) => wait(status::run(global, &options, printer)),
        Command::Health(options) => wait(health::run(global, &options, printer)),
        Command::Exec(options) => wait(guests::exec(global, &options, printer)),
        Command::Shell(options) => wait(guests::shell(global, &options, printer)),
        Command::Logs(options) => wait(logs::run(global, &options, printer)),
        Command::Update(options) => wait(update::run(global, &options, printer)),
        Command::Trace(options) => wait(trace::run(global, &options, printer)),
        Command::Doctor(options) => wait(doctor::run(global, &options, printer)),
        Command::Bootstrap(options) => wait(bootstrap::run(global, &options, printer)),
        Command::Secrets(options) => wait(secrets::run(global, &options.what, printer)),
        Command::Backup(options) => wait(backup::backup(global, &options.what, printer)),
        Command::Restore(options) => wait(backup::restore(global, &options.what, printer)),
        Command::Certs(options) => wait(certs::run(global, &options, printer)),
        Command::Artifacts(options) => wait(artifacts::run(&options, printer)),
        Command::Learn(options) => wait(learn::run(global, options.command, printer)),
        Command::Lab(options) => wait(lab::run(global, options.command, printer)),
    }
}

/// Runs what has to wait for others. Made only here, so that what answers at once starts at once.
fn wait(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::from_error("phoenix::runtime", &e))?
        .block_on(work)
}
