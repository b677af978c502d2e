//! The binary `phoenix-cli`: an IT department in a box.
//!
//! Start at [`args`] for what can be typed, and at [`commands`] for what is done. All printing is in [`printer`], all
//! wording of failures in [`error`].

mod args;
mod commands;
mod diagnostics;
mod error;
mod lock;
mod printer;
mod progress;
mod secrets;
mod simulated;
mod site;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap knows which stream and which exit code.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let printer = printer::Printer::new(&cli.global);
    match commands::run(cli, printer) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
