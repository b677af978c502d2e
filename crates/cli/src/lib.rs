//! The command line of Phoenix, as a library: so that the reference in the book can be made from what the binary
//! `phoenix-cli` really takes.
//!
//! Start at [`args`] for what can be typed, and at `commands` for what is done: each parses, calls the library `site`,
//! prints and says how to exit. All printing is in `printer`, all wording of failures in `error`.

pub mod args;
pub mod codes;
pub mod learn;

mod book;
mod commands;
mod diagnostics;
mod error;
mod hostkey;
mod log;
mod markdown;
mod opening;
mod pager;
mod passphrase;
mod printer;
mod progress;
mod running;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A word that no command takes is often the site's folder, as other programs have it.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word.clone(),
        _ => return error,
    };
    if std::path::Path::new(&word).is_dir() {
        let tip = format!("the site's folder is said with --site: --site {word}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Reads the command line, carries it out, and says what the process ends with.
pub fn run() -> ExitCode {
    // ssh calls this program to be told a password (`bootstrap`).
    if let Some(password) = transport::asked() {
        return match password {
            Ok(line) => {
                printer::Printer::answer(&line);
                ExitCode::SUCCESS
            }
            Err(_) => ExitCode::FAILURE,
        };
    }
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap knows which stream and which exit code.
            let error = with_tip(error);
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
