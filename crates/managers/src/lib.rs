//! The crews: a folder for each kind of resource, holding everything about it: how it differs ([`plan::Kind`]) and how
//! that is carried out ([`apply::Crew`]).
//!
//! To add a kind, make a folder, implement the two traits, and add a line to [`kinds`] and [`crews`]. What is observed
//! is in [`mod@observe`], what a guest's configuration is held against in [`keys`], what crews work with in [`worksite`], how a call to the node is got through in [`settle`], and the
//! programs that no package brings in [`artifacts`].
//! What is wrong with what is there, and why, is in [`trace`] and [`health`].

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

use std::sync::Arc;

pub use observe::{observe, observe_settled};
pub use worksite::{Artifacts, Prober, Secrets, WantedArtifact, Worksite};

/// Every kind of resource, for planning, in the order they are asked: guests before what is in them.
pub fn kinds() -> [&'static dyn plan::Kind; 7] {
    [
        &lxc::diff::Containers,
        &authority::Authorities,
        &firewall::Firewalls,
        &hypervisor::Hypervisors,
        &certificates::Certificates,
        &features::diff::Features,
        &services::Services,
    ]
}

/// Every crew, for applying.
pub fn crews(site: &Arc<Worksite>) -> Vec<Arc<dyn apply::Crew>> {
    vec![
        Arc::new(lxc::crew::ContainerCrew::new(site.clone())),
        Arc::new(authority::AuthorityCrew::new(site.clone())),
        Arc::new(firewall::FirewallCrew::new(site.clone())),
        Arc::new(hypervisor::HypervisorCrew::new(site.clone())),
        Arc::new(certificates::CertificateCrew::new(site.clone())),
        Arc::new(features::crew::FeatureCrew::new(site.clone())),
        Arc::new(services::ServiceCrew::new(site.clone())),
    ]
}
