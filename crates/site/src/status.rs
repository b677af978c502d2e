//! What is there, and how it is.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use managers::certificates::renew_at;
use plan::desired::{Certificate, Guest, Issuer, Service, Speaks};
use plan::{Address, Plan};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::site::Site;

/// A container of the blueprint.
#[derive(Debug, Clone, Serialize)]
pub struct ContainerStatus {
    /// Its address.
    pub address: Address,
    /// Its id.
    pub id: u32,
    /// What it calls itself.
    pub hostname: String,
    /// Its first fixed address.
    pub ip: Option<Ipv4Addr>,
    /// In words: `running`, `stopped`, `not there`, or that the id is somebody else's.
    pub state: &'static str,
    /// The node it is on.
    pub node: Option<String>,
    /// What the next apply does to it.
    pub waiting_steps: Vec<Address>,
    /// Its features.
    pub features: Vec<String>,
}

/// A service of the blueprint.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceStatus {
    /// Its address.
    pub address: Address,
    /// How clients reach it.
    pub url: String,
    /// The page that tells whether it is well; none where a browser has nothing to show.
    pub browser: Option<String>,
    /// What is between it and its clients.
    pub through: Option<&'static str>,
    /// The guest it runs on.
    pub on: String,
    /// Whether it answered at the last apply, as it is now.
    pub proven: bool,
    /// The same in words.
    pub state: &'static str,
}

/// A guest that has our mark and is in the blueprint no more.
#[derive(Debug, Clone, Serialize)]
pub struct ExtraGuest {
    /// Its id.
    pub id: u32,
    /// What it is called on the node.
    pub name: String,
    /// What it was.
    pub address: Option<Address>,
    /// In words.
    pub state: &'static str,
}

/// How a site is, by the marks.
#[derive(Debug)]
pub struct Status {
    /// The site.
    pub site: String,
    /// The node.
    pub node: String,
    /// Whether guests are records only.
    pub simulated: bool,
    /// Whether the target is a lab.
    pub lab: bool,
    /// Its containers.
    pub containers: Vec<ContainerStatus>,
    /// Its services.
    pub services: Vec<ServiceStatus>,
    /// How many certificates it has.
    pub certificates: usize,
    /// Those that are missing or to be renewed by the next apply.
    pub certificates_due: Vec<Address>,
    /// How many flows it has.
    pub flows: usize,
    /// Guests that are no longer in the blueprint.
    pub extra: Vec<ExtraGuest>,
    /// What the next apply would do.
    pub plan: Plan,
}

impl Status {
    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "certificates": self.certificates, "certificates_due": self.certificates_due, "flows": self.flows,
            "site": self.site, "node": self.node, "simulated": self.simulated, "lab": self.lab,
            "containers": self.containers, "services": self.services, "extra": self.extra,
            "waiting_steps": self.plan.steps.len(),
        })
    }
}

impl Site {
    /// How a site is that was looked at.
    ///
    /// # Errors
    /// When it cannot be planned.
    pub fn status(&self) -> Result<Status, Error> {
        let plan = self.plan(&[], false)?;
        let desired = &self.desired;
        let gone = |mark: &plan::mark::Mark| !desired.graph.addresses().any(|a| *a == mark.address);
        let extra = self
            .inventory
            .of_site(&desired.site)
            .filter(|g| g.mark.as_ref().is_some_and(gone))
            .map(|g| ExtraGuest {
                id: g.id,
                name: g.name.clone(),
                address: g.mark.as_ref().map(|m| m.address.clone()),
                state: "no longer in the blueprint",
            })
            .collect();
        Ok(Status {
            site: desired.site.clone(),
            node: self.inventory.node.clone(),
            simulated: self.connection.simulated(),
            lab: self.connection.lab.is_some(),
            containers: desired.guests.values().map(|c| self.container(&plan, c)).collect(),
            services: desired.services.values().map(|s| self.service(s)).collect(),
            certificates: desired.certificates.len(),
            certificates_due: self.due(Timestamp::now()),
            flows: desired.flows.len(),
            extra,
            plan,
        })
    }

    /// The certificates that are missing or to be renewed by the next apply, by the marks.
    fn due(&self, now: Timestamp) -> Vec<Address> {
        let due = |certificate: &&Certificate| {
            self.mark_of(certificate).is_none_or(|m| {
                m.fingerprint != certificate.fingerprint || renew_at(m).is_none_or(|at| at <= now)
            })
        };
        let embedded = |certificate: &&Certificate| certificate.issuer == Issuer::Embedded;
        let own = self.desired.hypervisor.iter().map(|node| &node.certificate);
        let all = self.desired.certificates.values().chain(own);
        all.filter(embedded).filter(due).map(Certificate::resource).collect()
    }

    fn container(&self, plan: &Plan, container: &Guest) -> ContainerStatus {
        let guest = self.inventory.guests.get(&container.id);
        let ours = guest.is_some_and(|g| g.mark.as_ref().is_some_and(|m| m.site == self.desired.site));
        let state = match guest {
            None => "not there",
            Some(_) if !ours => "the id is somebody else's",
            Some(g) if g.running => "running",
            Some(_) => "stopped",
        };
        let waits = plan.steps.iter().filter(|s| s.id == Some(container.id));
        ContainerStatus {
            address: container.resource(),
            id: container.id,
            hostname: container.hostname.clone(),
            ip: container.address,
            state,
            node: guest.map(|g| g.node.clone()),
            waiting_steps: waits.map(|s| s.address.clone()).collect(),
            features: container.features.iter().map(|f| f.name.clone()).collect(),
        }
    }

    fn service(&self, service: &Service) -> ServiceStatus {
        let guest = self.desired.guests.get(&service.on).and_then(|c| self.inventory.guests.get(&c.id));
        let mark = guest.and_then(|g| g.mark.as_ref());
        let proven = mark.and_then(|m| m.services.get(&service.name)) == Some(&service.fingerprint);
        ServiceStatus {
            address: Address::service(&service.name),
            url: crate::urls::url(self, service),
            browser: browser(service),
            through: service.via.as_ref().map(|via| via.kind.as_str()),
            on: service.on.to_string(),
            proven,
            state: if proven { "proven at the last apply" } else { "not proven yet" },
        }
    }
}

/// The page behind the gateway that tells whether a service is well; none where a browser has nothing to show.
fn browser(service: &Service) -> Option<String> {
    let host = service.hosts.first().filter(|_| service.speaks != Speaks::Tcp)?;
    service.gateway().map(|_| format!("https://{host}{}", service.probe_path))
}
