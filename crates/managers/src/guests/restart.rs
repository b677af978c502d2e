//! Restarting a guest, so that what waits for that applies: a step of its own, after what is written and before what is in the
//! guest and proves its services. It can be put off (`--no-restart`); what is written waits then.

use std::sync::Arc;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::desired::Guest as Wanted;
use plan::inventory::{Guest, Inventory};
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::{Action, Address, Change, Consent, Desired, Grade, GuestKind, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::crew::GuestCrew;
use super::moves;
use super::table;
use super::work::{Params, Placement, WaitsFor};
use crate::Manager;
use crate::settle;
use crate::worksite::Worksite;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Restart {
    /// What kind of guest it is.
    pub kind: GuestKind,
    /// Its id and node.
    #[serde(flatten)]
    pub placement: Placement,
    /// What is waited for after the start.
    #[serde(default, skip_serializing_if = "WaitsFor::is_nothing")]
    pub waits_for: WaitsFor,
    /// Volumes to move meanwhile, key and storage: a container's while it is stopped, a virtual machine's when what waits for
    /// the restart no longer names the old volume.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Params,
    /// Volumes to grow after that, key and size as the API wants it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grow: Params,
    /// Keys that are gone afterwards, and that the mark need not remember any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<String>,
}

/// Restarts, for planning. They are proposed by who finds what takes one: the guests themselves.
#[derive(Debug, Clone, Copy)]
pub struct Restarts;

/// Restarts.
pub static RESTARTS: Restarts = Restarts;

impl Manager for Restarts {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(RestartCrew(site.clone()))
    }

    fn facts(&self, _address: &Address, _desired: &Desired) -> Option<Value> {
        None
    }
}

impl Kind for Restarts {
    fn kind(&self) -> &'static str {
        kinds::RESTART
    }

    fn diff(&self, _world: World<'_>, _proposal: &mut Proposal) {}

    fn costs(&self, _inventory: &Inventory, step: &Step) -> Result<(Grade, Consent), String> {
        let work: Restart = apply::work(step).map_err(|failure| failure.to_string())?;
        if step.id != Some(work.placement.id) {
            return Err(format!("it says that it is about another guest than {}", work.placement.id));
        }
        Ok((Grade::Restart, Consent::NotNeeded))
    }

    fn telling(&self, _step: &Step) -> Telling {
        Telling { verb: Some("restart"), one_a_guest: true, ..Telling::default() }
    }
}

/// What is done with the restart of a guest, beside that.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// The values that wait already, and what else of it people see.
    pub changes: Vec<Change>,
    /// Volumes that move, key and storage.
    pub moves: Params,
    /// Volumes that grow after they moved, key and size.
    pub grow: Params,
    /// The storages that volumes move to.
    pub storages: Vec<String>,
    /// Keys that are gone afterwards.
    pub forget: Vec<String>,
}

/// The step that restarts a guest for these keys, and for what moves.
pub(super) fn propose(wanted: &Wanted, guest: &Guest, keys: &[&str], later: Later, proposal: &mut Proposal) {
    let applies = if keys.len() == 1 { "applies" } else { "apply" };
    let applies = (!keys.is_empty()).then(|| format!("{} {applies} at a restart", keys.join(", ")));
    let moving = later.moves.iter().map(|(key, to)| match moves::takes_stop(wanted.kind, key) {
        true => format!("{key} moves to {to}, for which it is stopped"),
        false => format!("{key} moves to {to} after it"),
    });
    let step = Step::new(Address::restart(&wanted.name), Action::Restart)
        .on_guest(guest.id)
        .grade(Grade::Restart)
        .hold("node", &guest.node)
        .changes(later.changes)
        .needs([wanted.resource()]);
    let step = applies.into_iter().chain(moving).fold(step, Step::reason);
    let step = later.storages.iter().fold(step, |step, storage| step.hold("storage", storage));
    let work = Restart {
        kind: wanted.kind,
        placement: Placement { id: guest.id, node: guest.node.clone() },
        waits_for: super::make::waits_for(wanted),
        moves: later.moves,
        grow: later.grow,
        forget: later.forget,
    };
    proposal.step(step, &work);
}

/// Who restarts guests of either kind.
#[derive(Debug, Clone)]
struct RestartCrew(Arc<Worksite>);

#[async_trait]
impl Crew for RestartCrew {
    fn kind(&self) -> &'static str {
        kinds::RESTART
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        apply::crew::in_turn(steps, progress, |step, progress| async move {
            let work: Restart = apply::work(step)?;
            let crew = GuestCrew::new(self.0.clone(), table::of_kind(work.kind));
            crew.restart(&Address::new(work.kind.as_str(), step.address.name()), &work, &progress).await
        })
        .await
    }
}

impl GuestCrew {
    /// Stops and starts it, wherever it is now, so that what waits for that applies.
    ///
    /// # Errors
    /// When it is not the site's own, or does not come up again.
    async fn restart(&self, address: &Address, work: &Restart, progress: &Progress) -> Result<Done, Failure> {
        let mut guest = self.guest(&work.placement);
        let what = "reading whose it is";
        let read = settle::read(what, || self.site.reader().config(&guest)).await;
        let config = match read {
            Err(failure) if failure.code == settle::NOT_FOUND => {
                guest = self.site.moved(&guest).await?.ok_or(failure)?;
                settle::read(what, || self.site.reader().config(&guest)).await?
            }
            read => read?,
        };
        self.at(&guest);
        self.site.own(guest.id, Some(address), &config)?;
        self.stop(&guest, progress).await?;
        let (first, last): (Params, Params) =
            work.moves.iter().cloned().partition(|(key, _)| moves::takes_stop(work.kind, key));
        // It is started again whether they moved or not.
        let moved = self.move_all(&guest, &first, progress).await;
        self.start(&guest, progress).await?;
        moved?;
        self.wait(&guest, work.waits_for, progress).await?;
        self.move_all(&guest, &last, progress).await?;
        self.grow(&guest, &work.grow, progress).await?;
        self.forget(&guest, &work.forget, progress).await?;
        Ok(Done::new("restarted"))
    }
}
