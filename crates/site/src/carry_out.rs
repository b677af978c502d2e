//! Carrying out a plan: the foreman, with the run's journal and whoever shows it.

use std::sync::Arc;

use apply::event::Sinks;
use apply::journal::{self, Journal, JournalError};
use apply::walk::Run;
use apply::{Foreman, Report, Sink};
use jiff::Timestamp;
use plan::Plan;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::folders::{lab_folder, runs};
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
        let runs = runs(&self.blueprint.root);
        let wrong = |e: JournalError| Error::from_error("apply::journal", &e);
        let resumes = journal::cut_off(&runs).map_err(wrong)?.map(|r| r.run);
        let id = journal::run_id(Timestamp::now(), std::process::id());
        let journal = Journal::begin(&runs, &id, Timestamp::now).map_err(wrong)?;
        let sink: Arc<dyn Sink> = Arc::new(Sinks::new(vec![Arc::new(journal), order.sink]));
        let foreman = Foreman::new(managers::crews(&self.worksite()?), sink, order.stop);
        let run = Run { id, command: order.command, resumes };
        let report = foreman.walk(plan, order.granted, run).await;
        if self.connection.lab.is_some() {
            self.publish();
        }
        Ok(report)
    }

    /// The lab's HTTPS port leads to the gateway, wherever it is now; to the first where there are several.
    fn publish(&self) {
        let gateway = self.desired.front_door().and_then(|name| self.desired.guests.get(name)?.address);
        let target = gateway.map(|address| std::net::SocketAddrV4::new(address, 443));
        if !self.connection.simulated() {
            // Only the lab's own convenience: a failure shows when the port is used.
            let _ = lab::up::publish_https(&lab_folder(&self.blueprint), target);
        }
    }
}
