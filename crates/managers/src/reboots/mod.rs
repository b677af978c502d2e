//! The restart of the node: a step of its own, before which everything is done that counts only from the next start, and behind which
//! everything else is (`plan::planner`, its barrier). Without consent it is put off, and shown.
//!
//! What waits for a restart is known and not guessed: a feature says of its files and commands that they count from the node's next
//! start, and the engine writes down, before it changes one, which start the node is in. While that is the start it is in still
//! (`/proc/sys/kernel/random/boot_id`, another one after each), the restart is pending. It writes down as well what its files were
//! before the first change, and where all of them are that again, nothing waits: an option that was set back. `read.sh` tells, in
//! the one command that reads everything.
//!
//! What ran is written down on the node before the first guest is stopped, so that a run that is killed at any moment, also while
//! the node is down, leaves the next one to start it again (`crew`).

mod crew;
mod seen;

use std::collections::BTreeSet;
use std::sync::Arc;

use apply::Crew;
use async_trait::async_trait;
use plan::address::kinds;
use plan::desired::Feature;
use plan::mark::Mark;
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::step::{Consent, Grade};
use plan::{Action, Address, Change, Desired, GuestKind, Host, Inventory, Step};
use proxmox::inventory::{Guests, Look};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use seen::{Begun, Restarts, Waits, parse};

use crate::Manager;
use crate::features::Rendered;
use crate::worksite::Worksite;

/// What is looked at on the node is called so.
const LOOK: Look = Look { name: "restarts", script: seen::SCRIPT };

/// Why it takes root.
const ROOT: &str = "the node is restarted by a command on it";
/// Why it takes root where that was done already.
const ROOT_AFTER: &str = "what ran is written down on the node itself";

/// Restarts of the node, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reboots;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootWork {
    /// The node's name.
    pub node: String,
    /// What is done.
    #[serde(rename = "do")]
    pub deed: RebootDeed,
    /// The guests of the node, in the order in which they start.
    pub guests: Vec<OnNode>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebootDeed {
    /// The node is restarted, with its guests.
    Restart,
    /// Guests that an earlier run stopped for that are started again.
    Resume,
}

/// A guest of the node that is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnNode {
    /// Its id.
    pub id: u32,
    /// What it is.
    pub kind: GuestKind,
    /// Its place in the order of starts; those that have none start last, and stop first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u32>,
    /// Whether it starts with the node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub onboot: bool,
    /// Whether it is to be off by the blueprint, so that it is not started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
}

/// What was seen of the node's restarts: why it is not known, as an error; `None` where nobody looked.
fn seen(inventory: &Inventory) -> Option<Result<Restarts, String>> {
    Some(match inventory.reached().looked.get(LOOK.name)? {
        Ok(text) => parse(text),
        Err(text) => {
            Err(format!("the look ended early; its last words: {}", text.lines().last().unwrap_or("none")))
        }
    })
}

/// The site's own mark on the node.
fn mark_of<'a>(world: World<'a>) -> Option<&'a Mark> {
    world.inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == world.desired.site)
}

fn address_of(feature: &str) -> Address {
    Address::feature(feature, &Host::THE_NODE)
}

/// Whether putting a feature in place as it is wanted leaves something that waits for the node's next start.
fn will_wait(world: World<'_>, seen: Option<&Restarts>, feature: &Feature) -> bool {
    let applied = mark_of(world).and_then(|mark| mark.fingerprint(&address_of(&feature.name)));
    applied != Some(feature.fingerprint.as_str())
        && !seen.is_some_and(|seen| seen.is_set_back(&feature.name, Some(&feature.fingerprint)))
        && serde_json::from_value::<Rendered>(Value::clone(&feature.payload))
            .is_ok_and(|rendered| rendered.counts_at_restart())
}

/// Whether what a feature of the node brings about waits for the node's next start, now or when this plan has put it in place.
pub(crate) fn waits_for(world: World<'_>, feature: &str) -> bool {
    let recorded = seen(world.inventory).and_then(Result::ok);
    recorded.as_ref().is_some_and(|all| all.waiting().any(|name| name == feature))
        || world
            .desired
            .on_node
            .iter()
            .any(|it| it.name == feature && will_wait(world, recorded.as_ref(), it))
}

/// Why the node is to be restarted, a sentence for each feature.
fn reasons(world: World<'_>, seen: &Restarts, proposal: &Proposal) -> Vec<String> {
    let wanted = &world.desired.on_node;
    let new = wanted.iter();
    let new = new.filter(|it| proposal.has(&address_of(&it.name)) && will_wait(world, Some(seen), it));
    let goes = seen.counts.iter();
    let goes = goes.filter(|name| proposal.removes(&address_of(name)) && !seen.is_set_back(name, None));
    // What this very plan sets back waits for nothing after it.
    let set_back = |name: &str| match wanted.iter().find(|it| it.name == name) {
        Some(it) => proposal.has(&address_of(name)) && seen.is_set_back(name, Some(&it.fingerprint)),
        None => proposal.removes(&address_of(name)) && seen.is_set_back(name, None),
    };
    let recorded: BTreeSet<&str> = seen.waiting().filter(|name| !set_back(name)).collect();
    let waits = new.map(|it| it.name.as_str()).chain(goes.map(String::as_str));
    let all: BTreeSet<&str> = waits.chain(recorded).collect();
    all.into_iter().map(|name| format!("what {name} changes counts from its next start")).collect()
}

/// The guests of the node, in the order in which they start.
fn guests(world: World<'_>) -> Vec<OnNode> {
    let node = world.inventory.command_node();
    let on_it = world.inventory.guests.values().filter(|guest| guest.node == node && !guest.template);
    let mut all: Vec<OnNode> = on_it
        .map(|guest| {
            let value = |key: &str| guest.config.as_ref().and_then(|config| config.get(key));
            let order = value("startup").and_then(|text| {
                let first = text.split(',').find_map(|part| part.strip_prefix("order="));
                first.unwrap_or(text).parse().ok()
            });
            let ours = guest.mark.as_ref().filter(|mark| mark.site == world.desired.site);
            let wanted = ours.and_then(|mark| world.desired.guest(&mark.address));
            OnNode {
                id: guest.id,
                kind: if guest.vm { GuestKind::Vm } else { GuestKind::Container },
                order,
                onboot: value("onboot").is_some_and(|it| it == "1"),
                off: wanted.is_some_and(|wanted| !wanted.started),
            }
        })
        .collect();
    all.sort_by_key(|it| (it.order.unwrap_or(u32::MAX), it.id));
    all
}

/// The guests that run on the node, as people know them.
fn running(world: World<'_>) -> Option<String> {
    let node = world.inventory.command_node();
    let on_it = world.inventory.guests.values().filter(|guest| guest.node == node && guest.running);
    let all: Vec<String> = on_it.map(|guest| format!("{} ({})", guest.id, guest.name)).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[async_trait]
impl Manager for Reboots {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(crew::RebootCrew::new(site.clone()))
    }

    fn facts(&self, _address: &Address, _desired: &Desired) -> Option<Value> {
        None
    }

    fn looks(&self) -> Option<Look> {
        Some(LOOK)
    }

    fn observe(&self, read: &mut Guests, inventory: &mut Inventory) {
        if let Some(seen) = read.seen.remove(LOOK.name) {
            inventory.reached_mut().looked.insert(LOOK.name.to_owned(), seen);
        }
    }
}

impl Kind for Reboots {
    fn kind(&self) -> &'static str {
        kinds::REBOOT
    }

    /// Asked after all kinds that have something on the node, since it follows from their steps.
    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        let there = world.inventory.reached().hypervisor.as_ref();
        if world.options.destroy || there.is_some_and(|mark| mark.site != world.desired.site) {
            return;
        }
        let seen = match seen(world.inventory) {
            None => return,
            Some(Ok(seen)) => seen,
            Some(Err(why)) => {
                return proposal
                    .note(format!("what waits for a restart of the node could not be read: {why}"));
            }
        };
        let mut why = reasons(world, &seen, proposal);
        // What somebody else left there is not this site's to restart the node for.
        if mark_of(world).is_none() && world.desired.on_node.is_empty() {
            why.clear();
        }
        let node = world.inventory.command_node().to_owned();
        let work = |deed| RebootWork { node: node.clone(), deed, guests: guests(world) };
        let step = |action, root| crate::hypervisor::hold(Step::new(Address::reboot(), action)).root(root);
        let begun = seen.begun_by(&world.desired.site);
        let goes_on = begun.is_some_and(|begun| begun.boot == seen.boot && world.options.restart_node);
        if let Some(begun) = begun.filter(|_| !goes_on) {
            let reason = match begun.boot == seen.boot {
                true => {
                    "guests were stopped for a restart of the node that was cut off: they are started again"
                }
                false => "the node was restarted, and guests that ran before are started again",
            };
            for waits in &why {
                proposal.note(format!("the node waits for a restart: {waits}"));
            }
            return proposal.step(step(Action::Run, ROOT_AFTER).reason(reason), &work(RebootDeed::Resume));
        }
        if begun.is_some() {
            why.push("a restart was begun, and cut off".to_owned());
        }
        if why.is_empty() {
            return;
        }
        let stops = running(world).map(|all| Change::new("stops meanwhile", Value::Null, all));
        let step = step(Action::Restart, ROOT).grade(Grade::Restart).reasons(why).changes(stops);
        proposal.step(step, &work(RebootDeed::Restart));
    }

    fn costs(&self, _: &Inventory, step: &Step) -> Result<(Grade, Consent), String> {
        let work: RebootWork = apply::work(step).map_err(|failure| failure.to_string())?;
        match (work.deed, step.action) {
            (RebootDeed::Restart, Action::Restart) => Ok((Grade::Restart, Consent::NotNeeded)),
            // Consent is asked for what says that it restarts the node.
            (RebootDeed::Restart, _) => Err("it restarts the node, and does not say so".to_owned()),
            (RebootDeed::Resume, _) => Ok((Grade::Live, Consent::NotNeeded)),
        }
    }

    fn telling(&self, _: &Step) -> Telling {
        Telling { verb: Some("restart"), ..Telling::default() }
    }
}
