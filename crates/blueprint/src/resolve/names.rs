//! Names: DNS names of containers and services, and who answers to them.
//!
//! A name has exactly one kind. A container's name with the site's domain leads to the container. A service that is
//! exposed has a name of its own, which leads to its container (`direct`), to the gateway or to the mesh. A service may
//! have the name of the container it runs on; then the name is the service's, which is what clients want: the container
//! `notes` with the service `notes` behind the gateway is the usual case. Any other two claims to a name are an error.
//!
//! The names of nodes are kept for them, whether they are declared or not: whoever has a name of the site gets a certificate
//! for it, and with one for a node's name could be taken for the node.

use std::collections::BTreeMap;

use super::Context;
use crate::codes;
use crate::model::{Expose, Guests, Hypervisor, PVE, Target};
use crate::namespace::Written;
use crate::report::{Draft, Spot};
use crate::tree::Node;

/// The longest DNS name in characters (RFC 1035 2.3.4).
const LONGEST: usize = 253;

/// Who claims a name.
#[derive(Clone, Copy)]
struct Claim<'a> {
    /// The container; `None` for the node.
    container: Option<&'a str>,
    /// The service; `None` for the container's own name.
    service: Option<&'a str>,
    spot: Spot,
}

impl Claim<'_> {
    fn words(self) -> String {
        match (self.container, self.service) {
            (Some(container), Some(service)) => format!("the service `{service}` of `{container}`"),
            (Some(container), None) => format!("the container `{container}`"),
            (None, _) => "the node".to_owned(),
        }
    }
}

pub(super) fn check(
    domain: Option<&str>,
    node: Option<&Hypervisor>,
    target: Option<&Target>,
    containers: &Guests,
    context: &mut Context<'_, '_>,
) {
    let mut services: BTreeMap<&str, Claim<'_>> = BTreeMap::new();
    let mut claims: Vec<(String, Claim<'_>)> = Vec::new();
    // Names that lead nowhere yet, and whole ones that the public authority signs.
    let (mut unused, mut public) = (Vec::new(), Vec::new());
    let namespace = context.namespace;
    if let (Some(node), Some(entry)) = (node, &namespace.hypervisor) {
        let spot =
            if entry.node().get("hostname").is_some() { entry.spot(&["hostname"]) } else { entry.key() };
        claims.push((node.hostname.to_string(), Claim { container: None, service: None, spot }));
    }
    for (name, container) in containers {
        let Some(entry) = namespace.guests.get(&**name) else { continue };
        let hostname =
            if entry.node().get("hostname").is_some() { entry.spot(&["hostname"]) } else { entry.key() };
        claims.push((
            container.hostname.to_string(),
            Claim { container: Some(name), service: None, spot: hostname },
        ));
        for (service, settings) in &container.services {
            let Some(entry) = namespace.of_service(name, settings) else { continue };
            let claim = Claim {
                container: Some(name),
                service: Some(service),
                spot: entry.key_spot(&["services", service]),
            };
            // `service.NAME` is an address that commands take, whether it is exposed or not.
            if let Some(other) = services.insert(service, claim) {
                let other_name = other.container.unwrap_or_default();
                let message = format!("`{other_name}` and `{name}` both have a service `{service}`");
                context.push(
                    Draft::error(codes::DUPLICATE_NAME, claim.spot, message).related(other.spot, "the other"),
                );
                continue;
            }
            let names = texts(entry, service, "public");
            public.extend(names.map(|(name, spot)| (name.to_owned(), Claim { spot, ..claim })));
            if settings.expose == Expose::None {
                unused.push((service.clone(), claim));
                unused_alias(entry, service, context);
                continue;
            }
            claims.push((service.clone(), claim));
            aliases(entry, claim, domain, &mut claims, context);
        }
    }
    collisions(domain, &claims, context);
    reserved(containers, &claims, context);
    let hostname = node.map(|node| node.hostname.to_string());
    // That one is among the claims.
    claims.retain(|(name, _)| Some(name) != hostname.as_ref());
    let below = |name: &str| domain.map_or_else(|| name.to_owned(), |domain| format!("{name}.{domain}"));
    let whole = claims.iter().chain(&unused).map(|(name, claim)| (below(name), *claim));
    let nodes = nodes(&below, node, target, containers, context);
    for (name, claim) in whole.chain(public) {
        let Some(spot) = nodes.get(&name) else { continue };
        let message = format!("{} has the name `{name}`, which is kept for the node", claim.words());
        let hint = "rename it: whoever has a certificate for that name could be taken for the node";
        let draft = Draft::error(codes::DUPLICATE_NAME, claim.spot, message);
        let draft = match spot {
            Some(spot) => draft.related(*spot, "the node"),
            None => draft,
        };
        context.push(draft.hint(hint));
    }
}

/// The whole names of nodes, in small letters, and where they stand, if anywhere: what the node is called where nothing is
/// said, and whatever the blueprint calls a node, or reaches it by.
fn nodes(
    below: &dyn Fn(&str) -> String,
    hypervisor: Option<&Hypervisor>,
    target: Option<&Target>,
    containers: &Guests,
    context: &Context<'_, '_>,
) -> BTreeMap<String, Option<Spot>> {
    let namespace = context.namespace;
    let mut nodes = BTreeMap::from([(below(PVE), None)]);
    let mut add = |name: &str, spot: Option<Spot>| {
        let name = name.to_ascii_lowercase();
        // What is no name is an address; one that is whole stands for itself.
        if !name.contains(':') && name.parse::<std::net::IpAddr>().is_err() {
            nodes.insert(if name.contains('.') { name } else { below(&name) }, spot);
        }
    };
    if let Some(hypervisor) = hypervisor {
        add(&hypervisor.hostname, namespace.hypervisor.as_ref().map(|entry| entry.spot(&["hostname"])));
    }
    for (name, container) in containers {
        if let Some(node) = &container.node {
            add(node, namespace.guests.get(&**name).map(|entry| entry.spot(&["node"])));
        }
    }
    let spot = |path: &[&str]| namespace.target.as_ref().map(|entry| entry.spot(path));
    match target {
        Some(Target::Proxmox(proxmox)) => {
            let ssh = proxmox.ssh.as_ref().map(|ssh| ssh.destination.as_str());
            if let Some(host) = super::site::url_host(&proxmox.endpoint) {
                add(host, spot(&["proxmox", "endpoint"]));
            }
            if let Some(host) = ssh.map(|to| to.rsplit_once('@').map_or(to, |(_, host)| host)) {
                add(host, spot(&["proxmox", "ssh", "host"]));
            }
            if let Some(node) = &proxmox.node {
                add(node, spot(&["proxmox", "node"]));
            }
        }
        Some(Target::Lab(lab)) => {
            for number in 1..=lab.nodes.unwrap_or(1) {
                add(&format!("pve{number}"), spot(&["lab", "nodes"]));
            }
        }
        None => {}
    }
    nodes
}

/// The texts in a list of a service, and where they stand.
fn texts<'d>(entry: Written<'d>, service: &str, key: &str) -> impl Iterator<Item = (&'d str, Spot)> {
    let list = entry.node().get("services").and_then(|s| s.get(service)).and_then(|s| s.get(key));
    let elements = list.map(Node::elements).unwrap_or_default();
    elements.iter().filter_map(|node| Some((node.text()?, entry.document.spot(node.span))))
}

fn alias_nodes<'d>(entry: Written<'d>, service: &str) -> &'d [Node] {
    let services = entry.node().get("services");
    services
        .and_then(|s| s.get(service))
        .and_then(|s| s.get("aliases"))
        .map(Node::elements)
        .unwrap_or_default()
}

/// P-31: what is declared has an effect.
fn unused_alias(entry: Written<'_>, service: &str, context: &mut Context<'_, '_>) {
    if let Some(alias) = alias_nodes(entry, service).first() {
        let message = format!("the service `{service}` has aliases, but is not exposed");
        let draft = Draft::error(codes::BAD_NAME, entry.document.spot(alias.span), message);
        context.push(draft.hint("add \"expose\": \"gateway\" or \"direct\", or remove the aliases"));
    }
}

fn aliases<'a>(
    entry: Written<'_>,
    claim: Claim<'a>,
    domain: Option<&str>,
    claims: &mut Vec<(String, Claim<'a>)>,
    context: &mut Context<'_, '_>,
) {
    for node in alias_nodes(entry, claim.service.unwrap_or_default()) {
        let Some(alias) = node.text() else { continue };
        let spot = entry.document.spot(node.span);
        let claim = Claim { spot, ..claim };
        if !alias.contains('.') {
            claims.push((alias.to_owned(), claim));
            continue;
        }
        let Some(domain) = domain else { continue };
        match alias.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) {
            Some(inner) => claims.push((inner.to_owned(), claim)),
            None => {
                // The site's authority is limited to its domain, so no certificate could be made.
                let message =
                    format!("the alias `{}` is outside the site's domain `{domain}`", alias.escape_debug());
                let draft = Draft::error(codes::BAD_NAME, spot, message);
                context.push(draft.hint(format!("a single word, or a name that ends in `.{domain}`")));
            }
        }
    }
}

fn collisions(domain: Option<&str>, claims: &[(String, Claim<'_>)], context: &mut Context<'_, '_>) {
    let mut taken: BTreeMap<&str, Claim<'_>> = BTreeMap::new();
    for (name, claim) in claims {
        let whole = domain.map_or(name.len(), |d| name.len() + 1 + d.len());
        if whole > LONGEST {
            let message = format!("the name `{name}` has {whole} characters with the site's domain");
            context
                .push(Draft::error(codes::BAD_NAME, claim.spot, message).hint("a DNS name has at most 253"));
        }
        let Some(other) = taken.get(name.as_str()).copied() else {
            taken.insert(name, *claim);
            continue;
        };
        // The one case where two may have a name: the service and its own container.
        if other.container == claim.container && other.service.is_none() != claim.service.is_none() {
            taken.insert(name, if claim.service.is_some() { *claim } else { other });
            continue;
        }
        let message = if other.container == claim.container && other.service == claim.service {
            format!("{} has the name `{name}` twice", claim.words())
        } else {
            format!("{} and {} both have the name `{name}`", other.words(), claim.words())
        };
        let draft = Draft::error(codes::DUPLICATE_NAME, claim.spot, message).related(other.spot, "the other");
        context.push(draft.hint("a name has exactly one kind: rename one of them"));
    }
}

/// `ca` is always the certificate authority itself, never behind a proxy (P-44, P-55); below `guest` are the guests' own
/// names, which their certificates carry.
fn reserved(containers: &Guests, claims: &[(String, Claim<'_>)], context: &mut Context<'_, '_>) {
    let features = context.features;
    let is_ca = |name: &str| features.get(name).is_some_and(|f| f.spec.provides.iter().any(|p| p == "ca"));
    let authority = containers.values().find(|c| c.features.iter().any(|f| is_ca(&f.name)));
    for (name, claim) in claims {
        if name == "guest" || name.ends_with(".guest") {
            let message = format!("the name `{name}` is kept for the guests' own names");
            let draft = Draft::error(codes::BAD_NAME, claim.spot, message);
            context.push(draft.hint("`NAME.guest` with the site's domain leads to the guest NAME itself"));
        }
        if let Some(authority) = authority
            && name == "ca"
            && (claim.container != Some(&authority.name) || claim.service.is_some())
        {
            let message = "the name `ca` is the certificate authority's own";
            let draft = Draft::error(codes::BAD_NAME, claim.spot, message);
            context.push(draft.hint("rename the other: clients must get to the authority without any proxy"));
        }
    }
}
