//! What can be typed after `learn`.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

/// Options of `learn`.
#[derive(Debug, Args)]
pub struct Learn {
    /// What to do; the list of exercises where absent
    #[command(subcommand)]
    pub command: Option<LearnCommand>,
}

/// What can be done with exercises.
#[derive(Debug, Subcommand)]
pub enum LearnCommand {
    /// List the exercises, and where you are
    #[command(after_help = "Examples:\n  phoenix-cli learn list\n  phoenix-cli learn list --json")]
    List,
    /// Begin an exercise: make its folder, start a lab for it, and tell the task; or go on with it
    #[command(
        after_help = "Examples:\n  phoenix-cli learn start second-guest\n  phoenix-cli learn start second-guest --simulated\n  phoenix-cli learn start second-guest --dir ~/second-guest\n\nThe lab has real containers where root and LXC are, and is simulated elsewhere. Its ports are ones that are free."
    )]
    Start(LearnStart),
    /// Look whether the exercise is done: each goal, with the reason
    #[command(
        after_help = "Examples:\n  phoenix-cli learn check\n  phoenix-cli learn check --answer notes\n\nExit code 1 where it is not done."
    )]
    Check(LearnCheck),
    /// Give the next hint
    #[command(after_help = "Examples:\n  phoenix-cli learn hint\n  phoenix-cli learn hint second-guest")]
    Hint(LearnNamed),
    /// End the exercise's lab; and remove its folder, where you agree
    #[command(
        after_help = "Examples:\n  phoenix-cli learn stop\n  phoenix-cli learn stop second-guest --remove"
    )]
    Stop(LearnStop),
}

/// Options of `learn start`.
#[derive(Debug, Args)]
pub struct LearnStart {
    /// The exercise, as `learn` lists it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The folder to make; where absent phoenix-learn/NAME below the current one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<Utf8PathBuf>,
    /// Records instead of real containers: nothing runs in them
    #[arg(long)]
    pub simulated: bool,
}

/// Which exercise is meant.
#[derive(Debug, Args)]
pub struct LearnNamed {
    /// The exercise; where absent the one of this folder, or the last one
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Options of `learn check`.
#[derive(Debug, Args)]
pub struct LearnCheck {
    /// Which exercise
    #[command(flatten)]
    pub named: LearnNamed,
    /// The answer to the exercise's question
    #[arg(long, value_name = "WORD")]
    pub answer: Option<String>,
}

/// Options of `learn stop`.
#[derive(Debug, Args)]
pub struct LearnStop {
    /// Which exercise
    #[command(flatten)]
    pub named: LearnNamed,
    /// Remove the exercise's folder, too, without asking
    #[arg(long)]
    pub remove: bool,
}
