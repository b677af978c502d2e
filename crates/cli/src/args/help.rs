//! What can be typed to learn how Phoenix is used: `explain`, `schema`, `help`, and what shells and `man` are given.

use camino::Utf8PathBuf;
use clap::Args;

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A key of a blueprint (containers.memory), a resource (container.notes), a feature (feature.base), a stack of the catalogue
    /// (stack-catalog.paperless), or the code of an error (lock::taken)
    pub what: String,
    /// For a feature on a container: print the script that is run in it, with secrets left out
    #[arg(long)]
    pub script: bool,
}

/// Options of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// The schema of a feature.json instead
    #[arg(long)]
    pub feature: bool,
    /// The schema of a stack.json instead
    #[arg(long, conflicts_with = "feature")]
    pub stack: bool,
    /// The schema of an exercise.json of the learning centre instead
    #[arg(long, conflicts_with_all = ["feature", "stack"])]
    pub exercise: bool,
}

/// Options of `help`.
#[derive(Debug, Args)]
pub struct Help {
    /// A command, or a page of the book; `topics` lists the pages
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// Print a page without a pager
    #[arg(long)]
    pub no_pager: bool,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub struct ManPages {
    /// The folder that they are written into
    #[arg(long, value_name = "DIR")]
    pub to: Utf8PathBuf,
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// The words of a command line that is being typed.
#[derive(Debug, Args)]
pub struct Complete {
    /// The words after `phoenix-cli`; the last one is completed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}
