//! Probing where nothing really runs. It says so.

use std::collections::BTreeMap;

use apply::Failure;
use async_trait::async_trait;
use blueprint::names::GuestName;
use plan::Desired;
use plan::desired::Service;
use proxmox::client::{GuestRef, Reader, Resource};
use proxmox::config::GuestKind;

/// In a simulated lab no service answers: it is only looked whether the guests on its way are recorded as running.
#[derive(Debug)]
pub struct SimulatedProber {
    reader: Reader,
    ids: BTreeMap<GuestName, u32>,
}

impl SimulatedProber {
    /// Over the simulated node.
    pub fn new(reader: Reader, desired: &Desired) -> Self {
        Self { reader, ids: desired.guests.values().map(|c| (c.name.clone(), c.id)).collect() }
    }
}

#[async_trait]
impl managers::Prober for SimulatedProber {
    async fn probe(&self, service: &Service) -> Result<String, Failure> {
        let resources =
            managers::settle::read("looking at the simulated guests", || self.reader.resources(Some("vm")))
                .await?;
        let through = service.via.iter().map(|via| &via.on);
        for name in std::iter::once(&service.on).chain(through) {
            let id = self.ids.get(name).copied().unwrap_or_default();
            let found = resources.iter().find(|r| r.vmid == Some(id));
            let node = found.and_then(|r| r.node.clone()).unwrap_or_default();
            let kind = found.and_then(Resource::guest_kind).unwrap_or(GuestKind::Container);
            let guest = GuestRef::new(node, kind, id);
            let status =
                managers::settle::read("asking whether it runs", || self.reader.status(&guest)).await?;
            if !status.running() {
                return Err(Failure::new("probe::simulated", format!("the simulated {name} does not run")));
            }
        }
        Ok("was not asked: the lab is simulated, and nothing runs in it".to_owned())
    }
}
