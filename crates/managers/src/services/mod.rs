//! Services: proven from outside once everything on their way is in place. "The API said 200" is no proof.

mod probe;

use std::sync::Arc;
use std::time::Duration;

use apply::{Crew, Done, Failure, Progress};
use async_trait::async_trait;
use plan::address::kinds;
use plan::desired::{Service, Speaks};
use plan::planner::{Kind, Proposal, World};
use plan::render::Telling;
use plan::{Action, Address, Change, Desired, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

pub use probe::TlsProber;

use crate::features::diff::mark_after;
use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// Services, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Services;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceWork {
    /// It is to answer from outside.
    Prove(Prove),
}

/// What is proven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prove {
    /// The guest whose mark remembers that it was proven.
    pub id: u32,
    /// What is probed.
    pub service: Service,
}

impl Manager for Services {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(ServiceCrew::new(site.clone()))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let s = desired.services.get(address.name())?;
        let through = s.via.as_ref().map(|via| format!("{} ({})", via.on, via.address));
        Some(json!({
            "url": s.url(), "runs on": s.on, "listens": format!("{}:{}", s.upstream(), s.port),
            "through": through.unwrap_or_else(|| "directly".to_owned()),
            "verified": match s.speaks {
                Speaks::Https if s.via.is_some() => Value::Bool(!s.unverified()),
                _ => Value::Null,
            },
        }))
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        let Some(service) = seen.desired.services.get(address.name()) else {
            return Status::by_plan(address, seen.plan);
        };
        let mark = seen.mark(&service.on);
        let proven = mark.and_then(|m| m.fingerprint(address)) == Some(service.fingerprint.as_str());
        let state = if seen.desired.is_off(&service.on) {
            "its guest is off"
        } else if proven {
            "proven at the last apply"
        } else {
            "not proven yet"
        };
        let url = (seen.url)(service);
        let line = format!("{url}  ({state})");
        let more = ServiceStatus {
            url,
            browser: browser(service),
            through: service.via.as_ref().map(|via| via.kind.as_str()),
            on: service.on.to_string(),
            proven,
        };
        Status::new(address, state).more(more).line(if proven { '✔' } else { '·' }, line)
    }

    fn list(&self) -> Option<&'static str> {
        Some("services")
    }
}

impl Kind for Services {
    fn kind(&self) -> &'static str {
        kinds::SERVICE
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
            let address = Address::service(&service.name);
            let proven = mark.and_then(|m| m.fingerprint(&address));
            let found = world.inventory.found.get(&address);
            let reasons = found.cloned().unwrap_or_else(|| vec!["to be proven from outside".into()]);
            let step = Step::new(address, Action::Run).reasons(reasons).change(Change::new(
                "url",
                Value::Null,
                service.url(),
            ));
            let work = ServiceWork::Prove(Prove { id: container.id, service: service.clone() });
            if found.is_none() && proven == Some(service.fingerprint.as_str()) {
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

    fn telling(&self, _: &Step) -> Telling {
        Telling { verb: Some("prove"), only_looks: true, ..Telling::default() }
    }
}

/// More of a service's status.
#[derive(Debug, Serialize)]
struct ServiceStatus {
    /// How clients reach it.
    url: String,
    /// The page that tells whether it is well; none where a browser has nothing to show.
    browser: Option<String>,
    /// What is between it and its clients.
    through: Option<&'static str>,
    /// The guest it runs on.
    on: String,
    /// Whether it answered at the last apply, as it is now.
    proven: bool,
}

/// The page behind the gateway that tells whether a service is well; none where a browser has nothing to show.
fn browser(service: &Service) -> Option<String> {
    let host = service.hosts.first().filter(|_| service.speaks != Speaks::Tcp)?;
    service.gateway().map(|_| format!("https://{host}{}", service.probe_path))
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

    async fn prove(&self, wanted: &Prove, progress: &Progress) -> Result<Done, Failure> {
        let service = &wanted.service;
        progress.doing(format!("asking {}", service.url()));
        let begin = Instant::now();
        let mut told = false;
        let mut pauses = crate::settle::Pauses::up_to(Duration::from_millis(500));
        let seen = loop {
            match self.site.prober.probe(service).await {
                Ok(seen) => break seen,
                Err(failure) if begin.elapsed() > self.site.answers => {
                    return Err(failure.while_doing(format!("{} does not answer", service.url())));
                }
                Err(_) => {
                    if !told {
                        progress.waiting(format!("{} to answer", service.url()), self.site.answers);
                        told = true;
                    }
                    pauses.pause().await;
                }
            }
        };
        self.site
            .change_mark(wanted.id, progress, |_, mark| {
                mark.remember(&Address::service(&service.name), service.fingerprint.as_str());
            })
            .await?;
        Ok(Done::new(format!("{} {seen}", service.url())))
    }
}

#[async_trait]
impl Crew for ServiceCrew {
    fn kind(&self) -> &'static str {
        kinds::SERVICE
    }

    async fn carry_out(&self, steps: &[&Step], progress: &Progress) -> Vec<Result<Done, Failure>> {
        let mut results = Vec::new();
        for step in steps {
            let result = match apply::work::<ServiceWork>(step) {
                Ok(ServiceWork::Prove(wanted)) => {
                    self.prove(&wanted, &progress.for_step(&step.address)).await
                }
                Err(failure) => Err(failure),
            };
            results.push(result);
        }
        results
    }
}
