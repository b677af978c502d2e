//! Opening the site that was named on the command line: the environment, and what is said meanwhile.

use std::time::Duration;

use blueprint::Loaded;
use blueprint::model::Blueprint;
use site::{Connection, Environment, Listener, Notice, OnPaper, Site};

use crate::args::Global;
use crate::diagnostics;
use crate::error::CommandError;
use crate::printer::Printer;

/// This process' environment.
pub fn environment() -> Environment {
    Environment::new(|name| std::env::var(name).ok())
}

/// The same, with what was said of the connection to the node.
fn keeping(global: &Global) -> Environment {
    environment().keeping(!global.no_keep).answering(global.answers.map(Duration::from_secs))
}

/// The blueprint alone.
pub fn load(global: &Global, printer: Printer) -> Result<Loaded, CommandError> {
    site::load(&global.site, &printer)
}

/// The site on paper.
pub fn paper(global: &Global, printer: Printer) -> Result<OnPaper, CommandError> {
    OnPaper::read(&global.site, &printer)
}

/// The way to a blueprint's target.
pub fn connect(blueprint: &Blueprint, global: &Global) -> Result<Connection, CommandError> {
    site::connect(blueprint, &keeping(global))
}

/// The site, for who takes its lock before looking at the target.
pub async fn open(global: &Global, printer: Printer) -> Result<Site, CommandError> {
    Site::open(&global.site, keeping(global), &printer).await
}

/// The site, and what is there.
pub async fn look(global: &Global, printer: Printer) -> Result<Site, CommandError> {
    Site::look(&global.site, keeping(global), &printer).await
}

/// The same for who only looks: no program is run to learn whether a secret that it prints has changed.
pub async fn glance(global: &Global, printer: Printer) -> Result<Site, CommandError> {
    Site::look(&global.site, keeping(global).without_asking(), &printer).await
}

impl Listener for Printer {
    fn hear(&self, notice: &Notice<'_>) {
        match notice {
            // With `--json`, standard output has them where they are asked for.
            Notice::Warnings { diagnostics, sources } if !self.json => {
                self.raw_error(diagnostics::text(diagnostics, sources));
            }
            Notice::AuthorityMade { folder } => self.say(format!(
                "made the workshop's certificate authority in {folder}; keep that folder, and keep it secret"
            )),
            Notice::GuestsHeld { what, limit } => {
                self.say(format!("waiting for {what} (at most {} s)", limit.as_secs()));
            }
            _ => {}
        }
    }
}
