//! Who plays which part in the workshop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use blueprint::model::{Authority, Blueprint, Expose, Guest, NicAddress, Service};
use blueprint::names::GuestName;

use super::Renderer;

/// What a feature provides that fetches packages for all guests.
pub(super) const PACKAGES: &str = blueprint::model::PACKAGE_CACHE;

/// What a feature provides that shows Docker hosts.
pub(super) const PORTAINER: &str = "portainer";
/// What a feature provides through which a Docker host is shown.
pub(super) const PORTAINER_AGENT: &str = "portainer-agent";

/// A guest with its address.
pub(super) type Part = Option<(GuestName, Ipv4Addr)>;

/// The parts and who plays them. The blueprint's checks have seen to it that each is played by at most one, but for
/// gateways, and that each service says which gateway it means where there are several.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The gateways, each with its address.
    pub gateways: BTreeMap<GuestName, Ipv4Addr>,
    pub mesh: Part,
    pub dns: Part,
    pub ca: Part,
    /// Who fetches packages for all, and the port where it is asked for them.
    pub packages: Option<(GuestName, Ipv4Addr, u16)>,
    /// Those that show Docker hosts.
    pub portainers: BTreeSet<GuestName>,
    /// The Docker hosts that are shown through an agent, each with its address and the agent's port.
    pub agents: BTreeMap<GuestName, (Ipv4Addr, u16)>,
    /// The containers that have a certificate of their own.
    pub identities: BTreeSet<GuestName>,
    /// Whether guests renew their certificates by themselves.
    pub self_renewing: bool,
}

/// The first fixed address of a container.
pub(super) fn address_of(container: &Guest) -> Option<Ipv4Addr> {
    container.nets.values().find_map(|nic| match nic.address {
        NicAddress::Static(inet) => Some(inet.address()),
        NicAddress::Dhcp => None,
    })
}

impl Parts {
    pub(super) fn of(blueprint: &Blueprint, renderer: &dyn Renderer) -> Self {
        // Asked once for each feature, not for each guest.
        let words = ["gateway", "mesh", "dns", "ca", PACKAGES, PORTAINER, PORTAINER_AGENT];
        let provided: BTreeMap<&str, [bool; 7]> = blueprint
            .features
            .keys()
            .map(|name| (name.as_str(), words.map(|word| renderer.provides(name, word))))
            .collect();
        let mut parts =
            Self { self_renewing: blueprint.certificates.authority == Authority::StepCa, ..Self::default() };
        for container in blueprint.guests.values() {
            for used in &container.features {
                let provides = provided.get(used.name.as_str()).copied().unwrap_or_default();
                if let (true, Some(address)) = (provides[0], address_of(container)) {
                    parts.gateways.insert(container.name.clone(), address);
                }
                let slots = [&mut parts.mesh, &mut parts.dns, &mut parts.ca];
                for (slot, _) in slots.into_iter().zip(&provides[1..4]).filter(|(_, does)| **does) {
                    if slot.is_none() {
                        *slot = address_of(container).map(|address| (container.name.clone(), address));
                    }
                }
                let listens = || {
                    let spec = blueprint.features.get(&used.name).map(|feature| &feature.spec);
                    address_of(container).zip(spec.and_then(|spec| spec.ports(&used.parameters).next()))
                };
                if provides[4] && parts.packages.is_none() {
                    parts.packages = listens().map(|(address, port)| (container.name.clone(), address, port));
                }
                if provides[5] {
                    parts.portainers.insert(container.name.clone());
                }
                if let Some(at) = listens().filter(|_| provides[6]) {
                    parts.agents.insert(container.name.clone(), at);
                }
                // A proxy has the services' certificates, and one of its own only to show it to services.
                let is_proxy = provides[0] || provides[1];
                if !is_proxy && renderer.certificate(used).is_some() {
                    parts.identities.insert(container.name.clone());
                }
            }
        }
        for service in blueprint.guests.values().flat_map(|c| c.services.values()) {
            if let (true, Some((name, _))) = (service.mutual, parts.proxy(service)) {
                parts.identities.insert(name);
            }
        }
        parts
    }

    /// The proxy that a service is to go through.
    pub(super) fn proxy(&self, service: &Service) -> Part {
        match service.expose {
            Expose::Gateway => {
                let (name, address) = match &service.gateway {
                    Some(name) => self.gateways.get_key_value(name)?,
                    None => self.gateways.first_key_value()?,
                };
                Some((name.clone(), *address))
            }
            Expose::Mesh => self.mesh.clone(),
            Expose::Direct | Expose::None => None,
        }
    }

    /// Whether this container plays the part.
    pub(super) fn is(part: &Part, container: &str) -> bool {
        part.as_ref().is_some_and(|(name, _)| **name == *container)
    }

    /// Whether the container is the one that fetches packages for all.
    pub(super) fn is_package_cache(&self, container: &str) -> bool {
        self.packages.as_ref().is_some_and(|(name, ..)| **name == *container)
    }

    /// Whether the container must work before the workshop's name server does: it asks the network's name servers.
    pub(super) fn resolves_alone(&self, container: &str) -> bool {
        self.dns.is_none()
            || Self::is(&self.dns, container)
            || Self::is(&self.ca, container)
            || self.is_package_cache(container)
    }
}
