//! The crews: a folder for each kind of resource, holding everything about it. Start at [`Manager`], what a kind registers:
//! how it differs ([`plan::Kind`]), how that is carried out ([`apply::Crew`]), and what there is to know of it.
//!
//! To add a kind, make a folder, implement [`Manager`], and add two lines here: the module, and its place in [`managers`].
//! What is observed is in [`mod@observe`], what a guest's configuration is held against in [`keys`], what crews work with in
//! [`worksite`], how a call to the node is got through in [`settle`], and the programs that no package brings in [`artifacts`]. What is wrong with what is there, and why, is in
//! [`trace`] and [`health`].

pub mod artifacts;
pub mod authority;
pub mod certificates;
pub mod features;
pub mod firewall;
pub mod health;
pub mod hypervisor;
pub mod keys;
pub mod lxc;
pub mod observe;
pub mod services;
pub mod settle;
pub mod trace;
pub mod worksite;

use std::fmt::Debug;
use std::sync::Arc;

use plan::{Address, Desired};
use serde_json::Value;

pub use observe::{observe, observe_settled};
pub use worksite::{Artifacts, Prober, Secrets, WantedArtifact, Worksite};

/// A kind of resource: all that the rest of Phoenix asks of it. Nobody else knows the names of kinds.
pub trait Manager: Debug + Send + Sync {
    /// How what is wanted differs from what is there, and what goes when the site does.
    fn kind(&self) -> &dyn plan::Kind;

    /// Who carries that out.
    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn apply::Crew>;

    /// What is known of a resource on paper, an object of texts and numbers; `None` where the site has no such resource.
    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value>;
}

/// Every kind of resource, in the order in which they are asked: guests before what is in them.
pub fn managers() -> &'static [&'static dyn Manager] {
    &[
        &lxc::diff::Containers,
        &authority::Authorities,
        &firewall::Firewalls,
        &hypervisor::Hypervisors,
        &certificates::Certificates,
        &features::diff::Features,
        &services::Services,
    ]
}

/// The manager of this kind.
pub fn manager_of(kind: &str) -> Option<&'static dyn Manager> {
    managers().iter().copied().find(|manager| manager.kind().kind() == kind)
}

/// Every kind of resource, for planning.
pub fn kinds() -> Vec<&'static dyn plan::Kind> {
    managers().iter().map(|manager| manager.kind()).collect()
}

/// Every crew, for applying.
pub fn crews(site: &Arc<Worksite>) -> Vec<Arc<dyn apply::Crew>> {
    managers().iter().map(|manager| manager.crew(site)).collect()
}
