//! The command line of Phoenix, as a library: so that the reference in the book can be made from what the binary
//! `phoenix-cli` really takes.
//!
//! Start at [`args`] for what can be typed, and at `commands` for what is done: each parses, calls the library `site`,
//! prints and says how to exit. All printing is in `printer`, all wording of failures in `error`.

pub mod args;
pub mod codes;

mod commands;
mod diagnostics;
mod error;
mod hostkey;
mod log;
mod opening;
mod passphrase;
mod printer;
mod progress;
mod running;

use std::process::ExitCode;

use clap::Parser as _;

/// Reads the command line, carries it out, and says what the process ends with.
pub fn run() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap knows which stream and which exit code.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let printer = printer::Printer::new(&cli.global);
    let outcome = match log::begin(&cli.global, printer) {
        Ok(()) => commands::run(cli, printer),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error::exit_code(error.kind))
        }
    }
}
