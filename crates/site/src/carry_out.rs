//! Carrying out a plan: the foreman, with the run's journal and whoever shows it.

use std::sync::Arc;

use apply::event::Sinks;
use apply::journal::{self, Journal, JournalError};
use apply::walk::Run;
use apply::{Foreman, Report, Sink};
use blueprint::model::Target;
use jiff::Timestamp;
use lab::up::TcpService;
use managers::Worksite;
use plan::desired::{Guest, Service, Speaks, ViaKind};
use plan::{Action, Address, Plan};
use tokio_util::sync::CancellationToken;

use crate::authority::ROOT_LOCKED;
use crate::error::Error;
use crate::folders::{lab_folder, runs};
use crate::operator::operator;
use crate::site::Site;

/// How a plan is to be carried out.
#[derive(Debug)]
pub struct Order<'a> {
    /// What consent was given for.
    pub granted: &'a [String],
    /// What is remembered as having been asked for, without anything secret.
    pub command: String,
    /// Who shows what happens; the journal takes it first.
    pub sink: Arc<dyn Sink>,
    /// Nothing new is started once it is cancelled.
    pub stop: CancellationToken,
}

impl Site {
    /// Carries out `plan`, which has steps and no problems, and says how it went. It may be dropped at any await.
    ///
    /// # Errors
    /// When it cannot be begun: no journal can be written, or the authority cannot be used.
    pub async fn apply(&self, plan: &Plan, order: Order<'_>) -> Result<Report, Error> {
        if self.takes_passphrase(plan)? {
            let text = "the root's key has a passphrase, which was not given, and has to sign something for this plan";
            return Err(Error::usage(ROOT_LOCKED, text)
                .hint("give it on a terminal, or with --root-passphrase env:NAME or file:PATH"));
        }
        // First of all: a folder with journals and no key is one of before there were keys.
        let worksite = self.worksite()?;
        let runs = runs(&self.blueprint.root);
        let wrong = |e: JournalError| Error::from_error("apply::journal", &e);
        let resumes = journal::cut_off(&runs).map_err(wrong)?.map(|r| r.run);
        let id = journal::run_id(Timestamp::now(), std::process::id());
        let journal = Journal::begin(&runs, &id, Timestamp::now).map_err(wrong)?;
        let sink: Arc<dyn Sink> = Arc::new(Sinks::new(vec![Arc::new(journal), order.sink]));
        let foreman = Foreman::new(managers::crews(&worksite), sink, order.stop);
        let run = Run { id, command: order.command, by: operator(), resumes };
        let report = foreman.walk(plan, order.granted, run).await;
        self.publish(plan).await;
        self.cross_out(&worksite, report.done.contains(&Address::hypervisor_certificate()))?;
        Ok(report)
    }

    /// Crosses out what was sealed, of what is taken over once; whether the node's own mark was.
    pub(crate) fn cross_out(&self, worksite: &Worksite, node: bool) -> Result<(), Error> {
        let (sealed, seen) = (worksite.sealed(), &self.inventory);
        // What was found sealed already counts, too: an earlier run was cut off before it could cross it out.
        let is_sealed = |id: u32| sealed.contains(&id) || seen.guests.get(&id).is_none_or(|guest| !guest.old);
        let node = node || !seen.reached().old;
        crate::key::taken_over(&self.blueprint.root, &worksite.trust, is_sealed, node)
    }

    /// Publishes what a lab publishes on this machine: its HTTPS port leads to the gateway, wherever it is now (to the first
    /// where there are several), and each TCP service of a guest that is there after `plan` has a port of its own. Nothing
    /// where the target is no lab.
    pub async fn publish(&self, plan: &Plan) {
        if self.connection.lab.is_none() || self.connection.simulated() {
            return;
        }
        let gateway = self.desired.front_door().and_then(|name| self.desired.guests.get(name)?.address);
        let target = gateway.map(|address| std::net::SocketAddrV4::new(address, 443));
        let folder = lab_folder(&self.blueprint);
        let there = |guest: &Guest| {
            let address = guest.resource();
            match plan.steps.iter().find(|step| step.address == address).map(|step| step.action) {
                Some(action) => action != Action::Delete,
                None => self.inventory.guests.contains_key(&guest.id),
            }
        };
        let on = |service: &Service| {
            let on = service.via.as_ref().map_or(&service.on, |via| &via.on);
            self.desired.guests.get(on).is_some_and(there)
        };
        let services = self.desired.services.values().filter(|service| on(service));
        let services = services.filter_map(|s| Some((s.name.clone(), self.tcp(s)?))).collect();
        // Only the lab's own convenience: a failure shows when a port is used, or its state is asked for.
        let _ = lab::up::publish_https(&folder, target);
        let _ = lab::up::publish_services(&folder, &services).await;
    }

    /// How a service is published by a port of its own; `None` for what the gateway serves by name, and what only other
    /// services are to reach.
    fn tcp(&self, service: &Service) -> Option<TcpService> {
        if service.speaks != Speaks::Tcp || service.via.as_ref().is_some_and(|v| v.kind == ViaKind::Mesh) {
            return None;
        }
        let (address, port) = service.entrance();
        let Target::Lab(target) = &self.blueprint.target else { return None };
        Some(TcpService {
            target: std::net::SocketAddrV4::new(address, port),
            tls: service.via.as_ref().is_some_and(|via| via.tls),
            declared: target.ports.services.get(&service.name).copied(),
        })
    }
}
