//! Services: proven from outside once everything on their way is in place. "The API said 200" is no proof.

mod probe;

use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::desired::Service;
use plan::planner::{Kind, Proposal, World};
use plan::{Action, Address, Change, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, sleep};

pub use probe::TlsProber;

use crate::features::diff::mark_after;
use crate::worksite::Worksite;

/// How long a service may need until it answers after all it needs is done.
const ANSWERS: Duration = Duration::from_secs(60);

/// Services, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Services;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The guest whose mark remembers that it was proven.
    pub id: u32,
    /// What is probed.
    pub service: Service,
}

impl Kind for Services {
    fn kind(&self) -> &'static str {
        "service"
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        if world.options.destroy {
            return;
        }
        for service in world.desired.services.values() {
            let Some(container) = world.desired.guests.get(&service.on) else { continue };
            let mark = mark_after(world, container, proposal);
            if mark.is_none() && !proposal.makes_anew(&container.resource()) {
                continue;
            }
            let proven = mark.and_then(|m| m.services.get(&service.name));
            let step = Step::new(Address::service(&service.name), Action::Run)
                .reason("to be proven from outside")
                .change(Change::new("url", Value::Null, service.url()));
            let work = Work { id: container.id, service: service.clone() };
            if proven == Some(&service.fingerprint) {
                // Proven already; but whenever something on its way is touched, it is proven again.
                let way = world
                    .desired
                    .graph
                    .needs_of_needs(&step.address)
                    .into_iter()
                    .cloned()
                    .collect::<Vec<_>>();
                proposal.step_if_any(way, step, &work);
            } else {
                proposal.step(step, &work);
            }
        }
    }
}

/// The crew for services.
#[derive(Debug, Clone)]
pub struct ServiceCrew {
    site: Arc<Worksite>,
}

impl ServiceCrew {
    /// A crew on this worksite.
    pub fn new(site: Arc<Worksite>) -> Self {
        Self { site }
    }

    async fn prove(&self, work: &Work, progress: &Progress) -> Result<Done, Failure> {
        let service = &work.service;
        progress.doing(format!("asking {}", service.url()));
        let begin = Instant::now();
        let mut told = false;
        let seen = loop {
            match self.site.prober.probe(service).await {
                Ok(seen) => break seen,
                Err(failure) if begin.elapsed() > ANSWERS => {
                    return Err(failure.while_doing(format!("{} does not answer", service.url())));
                }
                Err(_) => {
                    if !told {
                        progress.waiting(format!("{} to answer", service.url()), ANSWERS);
                        told = true;
                    }
                    sleep(Duration::from_millis(500)).await;
                }
            }
        };
        self.site
            .change_mark(work.id, progress, |_, mark| {
                mark.services.insert(service.name.clone(), service.fingerprint.clone());
            })
            .await?;
        Ok(Done::new(format!("{} {seen}", service.url())))
    }
}

#[async_trait]
impl Crew for ServiceCrew {
    fn kind(&self) -> &'static str {
        "service"
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            let result = match apply::work::<Work>(step) {
                Ok(work) => self.prove(&work, &progress.of(&step.address)).await,
                Err(failure) => Err(failure),
            };
            results.push(result);
        }
        results
    }
}
