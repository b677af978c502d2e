//! `plan`: what would be done, and why.

use std::sync::Arc;

use blueprint::model::Blueprint;
use camino::Utf8Path;
use jiff::Timestamp;
use plan::desired::Certificate;
use plan::mark::CertificateMark;
use plan::{Desired, Inventory, Plan};

use crate::args::{self, Global};
use crate::error::{CommandError, Outcome};
use crate::printer::{Printer, paint};
use crate::site::{self, Connection};

/// Everything a command that plans works with.
#[derive(Debug)]
pub struct Planned {
    /// The blueprint.
    pub blueprint: Blueprint,
    /// The workshop's authority.
    pub authority: Arc<pki::Authority>,
    /// What is wanted.
    pub desired: Desired,
    /// What is there.
    pub inventory: Inventory,
    /// The way to the target.
    pub connection: Connection,
}

impl Planned {
    /// Reads blueprint and target.
    pub async fn new(global: &Global, printer: Printer) -> Result<Self, CommandError> {
        let mut planned = Self::unseen(global, printer)?;
        let observed =
            managers::observe(&planned.connection.reader(), planned.connection.node.as_deref()).await;
        match observed {
            Ok(inventory) => planned.inventory = inventory,
            Err(failure) => {
                planned.connection.close().await;
                return Err(failure.into());
            }
        }
        Ok(planned)
    }

    /// Reads the blueprint and prepares the way to the target, for who takes the site's lock before looking there.
    pub fn unseen(global: &Global, printer: Printer) -> Result<Self, CommandError> {
        let loaded = site::load(&global.site, printer)?;
        let authority = site::authority(&loaded.blueprint, printer)?;
        let desired = site::desired(&loaded.blueprint, &authority, printer)?;
        let connection = site::connect(&loaded.blueprint)?;
        let inventory = Inventory::default();
        Ok(Self { blueprint: loaded.blueprint, authority, desired, inventory, connection })
    }

    /// Looks at the target once nothing of ours is being worked on there: a run that was cut off leaves tasks working.
    pub async fn look(&mut self, printer: Printer) -> Result<(), CommandError> {
        let ids = self.desired.guests.values().map(|c| c.id).collect();
        let waiting = |held: &[u32], limit: std::time::Duration| {
            let ids: Vec<String> = held.iter().map(u32::to_string).collect();
            printer.say(format!(
                "waiting for a task that holds {} (at most {} s)",
                ids.join(", "),
                limit.as_secs()
            ));
        };
        let (reader, node) = (self.connection.reader(), self.connection.node.as_deref());
        self.inventory = managers::observe_settled(&reader, node, &self.desired.site, &ids, &waiting).await?;
        Ok(())
    }

    /// The plan, now.
    pub fn plan(&self, targets: &[String], destroy: bool) -> Result<Plan, CommandError> {
        for target in targets {
            if !plan::planner::known(&self.desired, &self.inventory, target) {
                return Err(CommandError::usage(
                    "plan::no-such-target",
                    format!("nothing is called `{target}`"),
                )
                .hint("phoenix-cli graph shows all addresses"));
            }
        }
        let options = plan::Options { now: Timestamp::now(), targets: targets.to_vec(), destroy };
        Ok(plan::plan(&self.desired, &self.inventory, &managers::kinds(), &options))
    }

    /// Forgets what was done inside the site's guests, so that the plan does it once more: a plan believes the marks, and
    /// somebody may have changed something since.
    pub fn forget(&mut self) {
        for guest in self.inventory.guests.values_mut() {
            if let Some(mark) = guest.mark.as_mut().filter(|mark| mark.site == self.desired.site) {
                mark.features.clear();
                mark.certificates.clear();
                mark.authority = None;
                mark.services.clear();
            }
        }
        if let Some(mark) = self.inventory.hypervisor.as_mut().filter(|mark| mark.site == self.desired.site) {
            mark.features.clear();
            mark.certificates.clear();
        }
    }

    /// What is remembered of a certificate where it is.
    pub fn mark_of(&self, certificate: &Certificate) -> Option<&CertificateMark> {
        let mark = match certificate.on.guest() {
            None => self.inventory.hypervisor.as_ref().filter(|mark| mark.site == self.desired.site),
            Some(name) => self.inventory.guests.get(&self.desired.guests.get(name)?.id)?.mark.as_ref(),
        };
        mark?.certificates.get(&certificate.name)
    }

    /// What the target is called on the screen.
    pub fn place(&self) -> String {
        self.connection.place(&self.inventory.node)
    }
}

/// `phoenix-cli`, with the site where it is not this folder: what a person types for the next command.
pub fn typed(global: &Global) -> String {
    if global.site == "." { "phoenix-cli".to_owned() } else { format!("phoenix-cli --site {}", global.site) }
}

/// The plan on the screen.
pub fn show(plan: &Plan, place: &str, global: &Global) -> String {
    plan::render::text(plan, place, &typed(global), &paint)
}

/// Makes and shows the plan.
pub async fn run(global: &Global, options: &args::Plan, printer: Printer) -> Outcome {
    let mut planned = Planned::new(global, printer).await?;
    planned.connection.close().await;
    if options.again {
        planned.forget();
    }
    let plan = planned.plan(&options.target, options.destroy)?;
    if let Some(file) = &options.out {
        save(&plan, file)?;
    }
    if printer.json {
        printer.data_json(&plan.public_json());
    } else {
        printer.data(show(&plan, &planned.place(), global));
        if let Some(file) = &options.out {
            printer.say(format!("kept in {file}; carry it out with: {} apply {file}", typed(global)));
        } else if !plan.steps.is_empty() && plan.problems.is_empty() {
            printer.say(format!(
                "\nto do it: {} {}",
                typed(global),
                if options.destroy { "destroy" } else { "up" }
            ));
        }
    }
    if !plan.problems.is_empty() {
        return Err(CommandError::said(crate::error::Kind::Failed));
    }
    Ok(if options.detailed_exitcode && !plan.steps.is_empty() { 3 } else { 0 })
}

fn save(plan: &Plan, file: &Utf8Path) -> Result<(), CommandError> {
    let json = serde_json::to_vec_pretty(plan).map_err(|e| CommandError::from_error("plan::save", &e))?;
    let part = file.with_extension("part");
    fs_err::write(&part, json)
        .and_then(|()| fs_err::rename(&part, file))
        .map_err(|e| CommandError::from_error("plan::save", &e))
}

/// Reads a plan that `--out` made.
pub fn read(file: &Utf8Path) -> Result<Plan, CommandError> {
    let bytes = fs_err::read(file).map_err(|e| {
        CommandError { kind: crate::error::Kind::Usage, ..CommandError::from_error("plan::file", &e) }
            .hint("make one with: phoenix-cli plan --out FILE")
    })?;
    let wrong = |e: &dyn std::error::Error| {
        let mut error = CommandError::from_error("plan::file", e);
        error.kind = crate::error::Kind::Usage;
        error.errors.insert(0, format!("{file} is no plan that can be read"));
        error.hint("make it again with: phoenix-cli plan --out FILE")
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if version.is_some_and(|v| v != u64::from(plan::step::VERSION)) {
        return Err(CommandError::usage(
            "plan::version",
            format!(
                "{file} is a plan of version {}; this phoenix-cli makes and reads {}",
                version.unwrap_or(0),
                plan::step::VERSION
            ),
        )
        .hint("make it again with: phoenix-cli plan --out FILE"));
    }
    serde_json::from_value(value).map_err(|e| wrong(&e))
}
