//! Chores of this repository: `cargo xtask gen` writes the generated files, `cargo xtask gen --check` tells which of
//! them are out of date; `cargo xtask bench` measures; `cargo xtask guides` tries the guides of
//! CONTRIBUTING; `cargo xtask unused` tells which dependencies nobody uses. Each subcommand is a module.

mod bench;
mod r#gen;
mod guides;
mod unused;

use std::error::Error;
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};

/// Chores of this repository.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write the generated files: the book's reference pages and the JSON Schemas
    Gen {
        /// Write nothing; fail when a file is not as it would be written
        #[arg(long)]
        check: bool,
    },
    /// Measure what the project holds itself to: a table, and `bench.jsonl` in the target folder
    Bench {
        /// Only the gateway beside a hand-written Nginx, which takes no build with optimizations; the table alone
        #[arg(long)]
        gateway: bool,
        /// Only what takes real containers, with this build of phoenix-cli; the table alone
        #[arg(long, value_name = "BINARY")]
        real: Option<camino::Utf8PathBuf>,
        /// Only virtual machines beside containers; the table alone
        #[arg(long)]
        vms: bool,
    },
    /// Put the diffs that CONTRIBUTING shows on a copy of the sources, build it, and run the tests that they add
    Guides {
        /// Write the diffs anew, so that they fit the sources as they are now
        #[arg(long)]
        write: bool,
    },
    /// Tell which dependencies are declared and not used
    Unused,
}

/// Whether all is well; what is wrong has been said.
type Outcome = Result<bool, Box<dyn Error>>;

fn main() -> ExitCode {
    let outcome = match Args::parse().task {
        Task::Gen { check } => r#gen::run(check),
        Task::Bench { gateway, real, vms } => bench::run(gateway, real.as_deref(), vms),
        Task::Guides { write } => guides::run(write),
        Task::Unused => unused::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> Utf8PathBuf {
    let own = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// Talk goes to standard error.
#[expect(clippy::print_stderr, reason = "this is where xtask talks")]
fn say(text: &str) {
    eprintln!("{text}");
}
