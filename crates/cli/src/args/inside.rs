//! Options of commands that go into guests.

use clap::Args;

/// Options of `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The container: its name, address or id
    pub guest: String,
    /// Only this unit of systemd's
    #[arg(long, short)]
    pub unit: Option<String>,
    /// How many lines of what is there already
    #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
    pub lines: u32,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Only what is newer, as journalctl reads times: 2026-11-24, yesterday, '1 hour ago'
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

/// Options of `update`.
#[derive(Debug, Args)]
pub struct Update {
    /// Stacks, by name; all of them where none is named
    #[arg(value_name = "STACK")]
    pub stacks: Vec<String>,
    /// Write the digests of the newest images into `image-digests.json` of the site
    #[arg(long)]
    pub write: bool,
}

/// Options of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The container: its name, address or id
    pub guest: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// Options of `shell`.
#[derive(Debug, Args)]
pub struct Shell {
    /// The container: its name, address or id; the node where absent
    pub guest: Option<String>,
}
