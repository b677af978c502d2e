//! The crews: a folder for each kind of resource, holding everything about it. Start at [`Manager`], what a kind registers:
//! how it differs ([`plan::Kind`]), how that is carried out ([`apply::Crew`]), and what there is to know of it.
//!
//! To add a kind, make a folder, implement [`Manager`], and add two lines here: the module, and its place in [`managers`].
//! What is observed is in [`mod@observe`], what `status` shows in [`status`], what a guest's configuration is held against in
//! [`keys`], whose a guest is in [`own`], what crews work with in [`worksite`], how nodes and guests are reached in [`ways`],
//! what keeps two runs apart in [`lock`], how a call to the node is got through in [`settle`], what that takes a token in
//! [`privileges`], and the programs that no package brings in [`artifacts`].
//! What is wrong with what is there, and why, is in
//! [`trace`] and [`health`].

pub mod agent;
pub mod artifacts;
pub mod authority;
pub mod certificates;
pub mod checkup;
pub mod features;
pub mod firewall;
pub mod gpus;
mod guarded;
pub mod guests;
pub mod health;
pub mod hypervisor;
pub mod images;
pub mod keys;
pub mod lock;
pub mod network;
pub mod observe;
pub mod own;
pub mod privileges;
pub mod reboots;
pub mod services;
pub mod settle;
pub mod ssh;
pub mod stacks;
pub mod status;
pub mod storages;
pub mod trace;
pub mod ways;
pub mod worksite;
pub mod zfs;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use pki::NeedsRoot;
use plan::render::Telling;
use plan::{Address, Desired, Inventory, Plan, Step};
use proxmox::inventory::Guests;
use serde_json::Value;

pub use features::look::{Looked, OnNode, Within};
use guests::diff::{CONTAINERS, VMS};
use guests::restart::RESTARTS;
pub use observe::{observe, observe_settled};
pub use ssh::Doors;
pub use status::{Seen, Status};
pub use ways::Ways;
pub use worksite::{Artifacts, Prober, Secrets, SshKeys, WantedArtifact, Worksite};

/// A kind of resource: all that the rest of Phoenix asks of it. Nobody else knows the names of kinds.
#[async_trait]
pub trait Manager: Debug + Send + Sync {
    /// How what is wanted differs from what is there, and what goes when the site does.
    fn kind(&self) -> &dyn plan::Kind;

    /// Who carries that out.
    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn apply::Crew>;

    /// What is known of a resource on paper, an object of texts and numbers; `None` where the site has no such resource.
    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value>;

    /// What this kind has looked at on the node in the one command that reads all files; it comes to [`Self::observe`] in
    /// [`Guests::seen`].
    fn looks(&self) -> Option<proxmox::inventory::Look> {
        None
    }

    /// Takes what concerns this kind alone out of what was read on the node, into the inventory. Nothing is asked for it: what
    /// is read there, is read in one command.
    fn observe(&self, _read: &mut Guests, _inventory: &mut Inventory) {}

    /// Looks at what of this kind the mark says is in a guest, with as few commands as can be: what is not so, each
    /// difference as a sentence.
    async fn look(&self, _within: Within<'_>) -> Looked {
        Looked::default()
    }

    /// The same of what the mark says is on the node itself.
    async fn look_at_node(&self, _on: OnNode<'_>) -> Looked {
        Looked::default()
    }

    /// Whether carrying out a step has the site's root sign something: its key may be sealed, or elsewhere.
    fn needs_root(&self, _step: &Step, _authority: &pki::Authority, _now: Timestamp) -> NeedsRoot {
        NeedsRoot::No
    }

    /// How a resource of the site is, by what was observed.
    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        Status::by_plan(address, seen.plan)
    }

    /// The key of `status --json` that lists the resources of this kind apart from all others.
    fn list(&self) -> Option<&'static str> {
        None
    }
}

/// Looks for what of a site's blueprint has to be on its nodes, as far as that is asked for by name: bridges, folders, devices,
/// templates and images. What cannot be had stays unknown.
pub async fn look_for(ways: &Ways, desired: &Desired, inventory: &mut Inventory) {
    guests::ground::look(ways, desired, inventory).await;
    storages::look(ways.reader(), desired, inventory).await;
    gpus::look(ways.reader(), desired, inventory).await;
    images::look(ways.reader(), desired, inventory).await;
}

/// Every kind of resource, in the order in which they are asked: guests before what is in them, and before what they are made
/// of.
pub fn managers() -> &'static [&'static dyn Manager] {
    static ALL: &[&dyn Manager] = &[
        &CONTAINERS,
        &VMS,
        &RESTARTS,
        &zfs::Pools,
        &zfs::Datasets,
        &gpus::Cards,
        &storages::Storages,
        &images::TEMPLATES,
        &images::IMAGES,
        &network::Networks,
        &authority::Authorities,
        &firewall::Firewalls,
        &hypervisor::Hypervisors,
        &certificates::Certificates,
        // Before the features that they run in, which go after them.
        &stacks::Stacks,
        &features::diff::Features,
        // What the node is restarted for follows from the steps on it.
        &reboots::Reboots,
        &services::Services,
    ];
    ALL
}

/// The manager of this kind.
pub fn manager_of(kind: &str) -> Option<&'static dyn Manager> {
    managers().iter().copied().find(|manager| manager.kind().kind() == kind)
}

/// How a step is told in a plan by guest, as its kind says.
pub fn telling(step: &Step) -> Telling {
    manager_of(step.address.kind()).map(|manager| manager.kind().telling(step)).unwrap_or_default()
}

/// The step of a plan that needs the site's root the most, and how much; none where all can be done without.
pub fn needs_root<'a>(
    plan: &'a Plan,
    authority: &pki::Authority,
    now: Timestamp,
) -> Option<(&'a Step, NeedsRoot)> {
    let needs = |step: &Step| {
        let manager = manager_of(step.address.kind());
        manager.map_or(NeedsRoot::No, |manager| manager.needs_root(step, authority, now))
    };
    let all = plan.steps.iter().map(|step| (step, needs(step)));
    // Of several the first one.
    all.rev().max_by_key(|(_, needs)| *needs).filter(|(_, needs)| *needs != NeedsRoot::No)
}

/// Every kind of resource, for planning.
pub fn kinds() -> Vec<&'static dyn plan::Kind> {
    managers().iter().map(|manager| manager.kind()).collect()
}

/// Every crew, for applying.
pub fn crews(site: &Arc<Worksite>) -> Vec<Arc<dyn apply::Crew>> {
    managers().iter().map(|manager| manager.crew(site)).collect()
}
