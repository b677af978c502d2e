//! What is there, and how it is.

use jiff::Timestamp;
use managers::{Manager, Seen};
use plan::desired::Service;
use plan::{Address, Plan};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Error;
use crate::site::Site;

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
    /// Its resources: kind by kind, in the order in which managers are asked.
    pub resources: Vec<managers::Status>,
    /// How many certificates it has.
    pub certificates: usize,
    /// How many flows it has.
    pub flows: usize,
    /// Guests that are no longer in the blueprint.
    pub extra: Vec<ExtraGuest>,
    /// What the next apply would do.
    pub plan: Plan,
}

impl Status {
    /// The resources whose time has come, which the next apply sees to: certificates that are missing or to be renewed.
    pub fn due(&self) -> Vec<&managers::Status> {
        let mut due: Vec<_> =
            self.resources.iter().filter(|it| it.line.as_ref().is_some_and(|line| line.due)).collect();
        due.sort_by_key(|it| &it.address);
        due
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let due: Vec<&Address> = self.due().into_iter().map(|it| &it.address).collect();
        let mut json = json!({
            "certificates": self.certificates, "certificates_due": due, "flows": self.flows,
            "site": self.site, "node": self.node, "simulated": self.simulated, "lab": self.lab,
            "resources": self.resources, "extra": self.extra, "waiting_steps": self.plan.steps.len(),
        });
        for manager in managers::managers() {
            if let Some(list) = manager.list() {
                let own = self.resources.iter().filter(|it| it.address.kind() == manager.kind().kind());
                json[list] = json!(own.collect::<Vec<_>>());
            }
        }
        json
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
            resources: self.resources(&plan),
            certificates: desired.certificates.len(),
            flows: desired.flows.len(),
            extra,
            plan,
        })
    }

    fn resources(&self, plan: &Plan) -> Vec<managers::Status> {
        let url = |service: &Service| crate::urls::url(self, service);
        let seen = Seen {
            desired: &self.desired,
            inventory: &self.inventory,
            plan,
            now: Timestamp::now(),
            url: &url,
        };
        let addresses = || self.desired.graph.addresses();
        let of = |manager: &'static dyn Manager| {
            let own = addresses().filter(move |address| address.kind() == manager.kind().kind());
            own.map(move |address| manager.status(address, seen))
        };
        managers::managers().iter().copied().flat_map(of).collect()
    }
}
