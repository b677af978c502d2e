//! The parts that a container can play for the whole workshop: gateway, mesh, name server, certificate authority. Each is
//! played by at most one, but for gateways, among which services choose (F-7); whoever plays one has a fixed address; and what
//! is exposed has a complete path (P-03, P-09).

use super::Context;
use crate::codes;
use crate::model::{
    Authority, CertificateSettings, Expose, Guest, Guests, NicAddress, PACKAGE_CACHE, Service,
};
use crate::names::GuestName;
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::suggest::nearest;

/// A part, and how it is called.
struct Part {
    /// What a feature `provides` to play it.
    word: &'static str,
    /// Its name with an article.
    one: &'static str,
    /// Several of them.
    many: &'static str,
    /// The built-in feature that plays it.
    feature: &'static str,
    /// Why its address must be fixed.
    address: &'static str,
    /// The code for none or several.
    code: &'static str,
}

const GATEWAY: Part = Part {
    word: "gateway",
    one: "gateway",
    many: "gateways",
    feature: "nginx-gateway",
    address: "the names of its services lead there",
    code: codes::NO_GATEWAY,
};
const MESH: Part = Part {
    word: "mesh",
    one: "mesh",
    many: "meshes",
    feature: "traefik",
    address: "the names of its services lead there",
    code: codes::NO_PART,
};
const DNS: Part = Part {
    word: "dns",
    one: "name server",
    many: "name servers",
    feature: "dnsmasq",
    address: "all guests ask it",
    code: codes::NO_PART,
};
const CA: Part = Part {
    word: "ca",
    one: "certificate authority",
    many: "certificate authorities",
    feature: "step-ca",
    address: "all guests with certificates go there",
    code: codes::NO_PART,
};

const PACKAGES: Part = Part {
    word: PACKAGE_CACHE,
    one: "package cache",
    many: "package caches",
    feature: "package-cache",
    address: "all guests fetch their packages there",
    code: codes::NO_PART,
};

/// What the feature `provides` through which Portainer shows a Docker host.
const PORTAINER_AGENT: &str = "portainer-agent";

fn fixed(container: &Guest) -> bool {
    container.nets.values().any(|n| matches!(n.address, NicAddress::Static(_)))
}

/// Checks that every part that is needed is played by one container, and can be found.
pub(super) fn check(containers: &Guests, certificates: &CertificateSettings, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let uncertain = namespace.blind
        || namespace.guests.values().any(|e| e.value.is_none() || e.damaged)
        || !context.features.broken.is_empty();
    let exposed = |wanted: Expose| {
        containers.iter().find_map(|(name, container)| {
            let (service, declared) = container.services.iter().find(|(_, s)| s.expose == wanted)?;
            let spot = namespace.of_service(name, declared)?.spot(&["services", service, "expose"]);
            Some((service.clone(), spot))
        })
    };
    let through = [(GATEWAY, Expose::Gateway), (MESH, Expose::Mesh)];
    for (part, expose) in through {
        let wanted = exposed(expose).map(|(service, spot)| {
            let message =
                format!("the service `{service}` is exposed by the {}, but no container is one", part.one);
            let draft = Draft::error(part.code, spot, message);
            draft.hint(format!(
                "add the feature `{}` to one container, or expose the service \"direct\"",
                part.feature
            ))
        });
        played(&part, containers, wanted.filter(|_| !uncertain), context);
    }
    choices(containers, uncertain, context);
    played(&DNS, containers, None, context);
    let wanted = (certificates.authority == Authority::StepCa && !uncertain)
        .then_some(namespace.certificates.as_ref())
        .flatten()
        .map(|entry| {
            let message = "certificates are signed by step-ca, but no container is a certificate authority";
            let draft = Draft::error(CA.code, entry.spot(&["authority"]), message);
            draft.hint("add the feature `step-ca` to one container, or leave `authority` out")
        });
    played(&CA, containers, wanted, context);
    played(&PACKAGES, containers, None, context);
    found(containers, context);
    addresses(containers, context);
}

/// The containers that play a part.
fn players<'c>(word: &str, containers: &'c Guests, context: &Context<'_, '_>) -> Vec<&'c Guest> {
    let features = context.features;
    let provides = |name: &str| features.get(name).is_some_and(|f| f.spec.provides.iter().any(|p| p == word));
    let all = containers.values().map(AsRef::as_ref);
    all.filter(|c: &&Guest| c.features.iter().any(|f| provides(&f.name))).collect()
}

/// What the certificate authority is called.
pub(super) const AUTHORITY: &str = CA.one;

/// Who does something for all guests, with what that is.
pub(super) fn for_all<'c>(
    containers: &'c Guests,
    context: &Context<'_, '_>,
) -> Vec<(&'static str, &'c Guest)> {
    let all = [DNS, CA, PACKAGES].map(|part| {
        let player = players(part.word, containers, context).first().copied();
        player.map(|player| (part.one, player))
    });
    all.into_iter().flatten().collect()
}

/// The container that fetches packages for all.
pub(super) fn package_cache<'c>(containers: &'c Guests, context: &Context<'_, '_>) -> Option<&'c Guest> {
    players(PACKAGES.word, containers, context).first().copied()
}

/// The containers that are gateways.
pub(super) fn gateways<'c>(containers: &'c Guests, context: &Context<'_, '_>) -> Vec<&'c Guest> {
    players(GATEWAY.word, containers, context)
}

/// The gateway of a service that is exposed by one; `None` where it is open which.
pub(super) fn gateway_of<'c>(service: &'c Service, gateways: &[&'c Guest]) -> Option<&'c GuestName> {
    match (&service.gateway, gateways) {
        (Some(said), _) => Some(said),
        (None, [only]) => Some(&only.name),
        (None, _) => None,
    }
}

/// The proxies, to ask for that of a service.
pub(super) struct Proxies<'c> {
    gateways: Vec<&'c Guest>,
    mesh: Option<&'c Guest>,
}

impl<'c> Proxies<'c> {
    pub(super) fn of(containers: &'c Guests, context: &Context<'_, '_>) -> Self {
        let mesh = players(MESH.word, containers, context).first().copied();
        Self { gateways: gateways(containers, context), mesh }
    }

    /// The proxy that a service goes through; `None` where there is none, or it is open which.
    pub(super) fn of_service<'s>(&'s self, service: &'s Service) -> Option<&'s GuestName> {
        match service.expose {
            Expose::Gateway => gateway_of(service, &self.gateways),
            Expose::Mesh => self.mesh.map(|mesh| &mesh.name),
            Expose::Direct | Expose::None => None,
        }
    }
}

/// Each service's gateway is one; and where there are several, it says which.
fn choices(containers: &Guests, uncertain: bool, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let gateways = gateways(containers, context);
    let names: Vec<&str> = gateways.iter().map(|c| c.name.as_str()).collect();
    for (name, container) in containers {
        for service in container.services.values().filter(|s| s.expose == Expose::Gateway) {
            let (key, message) = match &service.gateway {
                Some(said) if !names.contains(&said.as_str()) && !uncertain && !names.is_empty() => {
                    ("gateway", format!("`{said}` is no gateway"))
                }
                None if names.len() > 1 => (
                    "expose",
                    format!("the service `{}` does not say which gateway it goes through", service.name),
                ),
                _ => continue,
            };
            let near = service.gateway.as_ref().and_then(|said| nearest(said, names.iter().copied()));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("say \"gateway\": \"NAME\", one of: {}", names.join(", ")),
            };
            let Some(written) = namespace.of_service(name, service) else { continue };
            let spot = written.spot(&["services", &service.name, key]);
            context.push(Draft::error(GATEWAY.code, spot, message).hint(hint));
        }
    }
}

/// Reports `missing` where nobody plays a part, and everybody but the first where several do.
fn played(part: &Part, containers: &Guests, missing: Option<Draft>, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let players = players(part.word, containers, context);
    let key = |c: &Guest| namespace.guests.get(&*c.name).map(Entry::key);
    match players.as_slice() {
        [] => {
            if let Some(draft) = missing {
                context.push(draft);
            }
        }
        // Each service says which.
        [_, _, ..] if part.word == GATEWAY.word => {}
        [first, second, ..] => {
            if let (Some(there), Some(spot)) = (key(first), key(second)) {
                let message = format!("`{}` and `{}` are both {}", first.name, second.name, part.many);
                let draft = Draft::error(part.code, spot, message).related(there, "the other");
                context.push(draft.hint(format!("keep the {}'s feature on one of them", part.one)));
            }
        }
        [_] => {}
    }
    for player in players {
        let Some(entry) = namespace.guests.get(&*player.name) else { continue };
        if !fixed(player) && !entry.damaged {
            let message = format!("the {} `{}` has no fixed address", part.one, player.name);
            let draft = Draft::error(codes::NO_FIXED_ADDRESS, entry.key(), message);
            context.push(draft.hint(format!("give the container an `address`: {}", part.address)));
        }
    }
}

/// Portainer can find its agents.
fn found(containers: &Guests, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    for agent in players(PORTAINER_AGENT, containers, context) {
        let Some(entry) = namespace.guests.get(&*agent.name) else { continue };
        if !fixed(agent) && !entry.damaged {
            let message = format!("`{}` has an agent of Portainer and no fixed address", agent.name);
            let draft = Draft::error(codes::NO_FIXED_ADDRESS, entry.key(), message);
            context.push(draft.hint("give the guest an `address`: Portainer looks for it there"));
        }
    }
}

/// What is exposed can be found.
fn addresses(containers: &Guests, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    for (name, container) in containers {
        let Some(entry) = namespace.guests.get(&**name) else { continue };
        if fixed(container) || entry.damaged {
            continue;
        }
        for (service, declared) in container.services.iter().filter(|(_, s)| s.expose != Expose::None) {
            let Some(written) = namespace.of_service(name, declared) else { continue };
            let spot: Spot = written.spot(&["services", service, "expose"]);
            let message = format!("the service `{service}` is exposed, but `{name}` has no fixed address");
            let draft = Draft::error(codes::NO_FIXED_ADDRESS, spot, message)
                .related(entry.key(), "the container")
                .hint("give the container an `address`");
            context.push(draft);
        }
    }
}
