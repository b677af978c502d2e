//! `plan`: what would be done, and why.

use std::sync::Arc;

use blueprint::model::Blueprint;
use camino::Utf8Path;
use jiff::Timestamp;
use plan::desired::Certificate;
use plan::mark::CertificateMark;
use plan::{Desired, Inventory, Plan};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::args::{self, Global};
use crate::control::Control;
use crate::error::{CommandError, Outcome};
use crate::log::SPAN;
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
        let mut observing = None;
        let begin = |connection: &Connection| {
            let (reader, node) = (connection.reader(), connection.node.clone());
            let observe = async move { managers::observe(&reader, node.as_deref()).await };
            let span = tracing::info_span!(target: SPAN, "observing");
            // What is not waited for is given up.
            observing = Some(AbortOnDropHandle::new(tokio::spawn(observe.instrument(span))));
        };
        let mut planned = Self::prepared(global, printer, begin).await?;
        let Some(observing) = observing else { return Ok(planned) };
        let observed = observing.await.map_err(|e| CommandError::from_error("phoenix::runtime", &e));
        match observed.and_then(|observed| Ok(observed?)) {
            Ok(inventory) => planned.inventory = inventory,
            Err(error) => {
                planned.connection.close().await;
                return Err(error);
            }
        }
        Ok(planned)
    }

    /// Reads the blueprint and prepares the way to the target, for who takes the site's lock before looking there.
    pub async fn unseen(global: &Global, printer: Printer) -> Result<Self, CommandError> {
        Self::prepared(global, printer, Connection::open).await
    }

    /// `begin` begins what takes its time on the way to the target, while what is wanted is worked out here.
    async fn prepared(
        global: &Global,
        printer: Printer,
        begin: impl FnOnce(&Connection),
    ) -> Result<Self, CommandError> {
        let loaded =
            tracing::info_span!(target: SPAN, "loading").in_scope(|| site::load(&global.site, printer))?;
        let blueprint = loaded.blueprint;
        let authority = site::authority(&blueprint, printer)?;
        let connection = site::connect(&blueprint, Control::of(&blueprint.root, !global.no_keep));
        if let Ok(connection) = &connection {
            begin(connection);
        }
        let desired = tracing::info_span!(target: SPAN, "wiring")
            .in_scope(|| site::desired(&blueprint, &authority, printer));
        let desired = match (desired, &connection) {
            (Err(error), Ok(connection)) => {
                connection.close().await;
                return Err(error);
            }
            (desired, _) => desired?,
        };
        let connection = connection?;
        let inventory = Inventory::default();
        Ok(Self { blueprint, authority, desired, inventory, connection })
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
        Ok(tracing::info_span!(target: SPAN, "planning")
            .in_scope(|| plan::plan(&self.desired, &self.inventory, &managers::kinds(), &options)))
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
