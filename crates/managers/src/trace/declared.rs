//! What a blueprint declares that nothing of the desired state leads to: services that are exposed to nobody, and who needs
//! whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use blueprint::model::{Blueprint, Expose, Protocol};
use plan::Desired;
use plan::desired::{End, Speaks, Transport};

/// What is declared beside the desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Services that are exposed to nobody (`expose` is `none`), by name.
    pub unexposed: BTreeMap<String, Unexposed>,
    /// What guests need, by the name of the guest that needs it.
    pub needs: BTreeMap<String, Vec<Need>>,
}

/// A service that is exposed to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexposed {
    /// The guest that runs it.
    pub guest: String,
    /// The port.
    pub port: u16,
    /// What it speaks.
    pub speaks: Speaks,
    /// The path that tells whether it works.
    pub path: String,
    /// The status it answers with there; any below 400 where absent.
    pub status: Option<u16>,
}

/// What a guest needs of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The other guest.
    pub guest: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// A port of it; none where none is known, so that only the guest itself can be looked at.
    pub port: Option<u16>,
}

impl Declared {
    /// Reads it from a blueprint and what follows from that.
    pub fn of(blueprint: &Blueprint, desired: &Desired) -> Self {
        let mut declared = Self::default();
        for container in blueprint.guests.values() {
            for service in container.services.values().filter(|s| s.expose == Expose::None) {
                let unexposed = Unexposed {
                    guest: container.name.to_string(),
                    port: service.port,
                    speaks: match service.protocol {
                        Protocol::Http => Speaks::Http,
                        Protocol::Https => Speaks::Https,
                        Protocol::Tcp => Speaks::Tcp,
                    },
                    path: service.probe_path.clone(),
                    status: service.probe_status,
                };
                declared.unexposed.entry(service.name.clone()).or_insert(unexposed);
            }
            let needs: Vec<Need> = container
                .needs
                .iter()
                .flat_map(|need| needs(blueprint, desired, &container.name, need))
                .collect();
            if !needs.is_empty() {
                declared.needs.insert(container.name.to_string(), needs);
            }
        }
        declared
    }

    /// The guests that need this one, by name.
    pub fn needed_by<'a>(&'a self, guest: &'a str) -> impl Iterator<Item = &'a String> {
        self.needs
            .iter()
            .filter(move |(_, needs)| needs.iter().any(|need| need.guest == guest))
            .map(|(name, _)| name)
    }
}

/// A need of another guest: the ports of the other's services, and those that a flow between them names.
fn needs(blueprint: &Blueprint, desired: &Desired, from: &str, need: &str) -> Vec<Need> {
    let guest = need;
    let (Some(other), Some(address)) =
        (blueprint.guests.get(guest), desired.guests.get(guest).and_then(|c| c.address))
    else {
        return Vec::new();
    };
    let ends = (End::Host(desired.host_called(from)), End::Host(desired.host_called(guest)));
    let flows = desired
        .flows
        .iter()
        .filter(|f| f.protocol == Transport::Tcp && (&f.from, &f.to) == (&ends.0, &ends.1));
    let ports: BTreeSet<u16> = other
        .services
        .values()
        .map(|s| s.port)
        .chain(flows.flat_map(|flow| flow.ports.iter().copied()))
        .collect();
    let of = |port| Need { guest: guest.to_owned(), address, port };
    match ports.is_empty() {
        true => vec![of(None)],
        false => ports.into_iter().map(|port| of(Some(port))).collect(),
    }
}
