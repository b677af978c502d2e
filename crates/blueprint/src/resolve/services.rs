//! Services: what is declared of one must fit together, and have an effect (P-31).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guests::defaults;
use super::{Context, parts};
use crate::codes;
use crate::model::{Acme, Expose, Guest, Guests, Limits, Protocol, Service};
use crate::names::GuestName;
use crate::namespace::{Written, location};
use crate::report::{Draft, Spot};
use crate::source::{ExposeSource, ProtocolSource, ServiceSource};

/// The gateway's own ports: HTTPS, and the one that sends clients on to it.
const GATEWAY_PORTS: [u16; 2] = [80, 443];

/// Makes the services of a guest, or of a stack.
pub(super) fn services(
    entry: Written<'_>,
    stack: Option<&str>,
    sources: Option<&BTreeMap<String, ServiceSource>>,
    acme: Option<&Acme>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, Service> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    for (name, written) in sources.into_iter().flatten() {
        let start = entry.key_spot(&["services", name]).span.start;
        let mut service = service(name, written);
        service.declared = location(entry.document, start, context.report);
        service.stack = stack.map(str::to_owned);
        if let Some(other) = services.values().find(|s| s.port == service.port) {
            let message =
                format!("the services `{}` and `{name}` are both on port {}", other.name, service.port);
            let draft = Draft::error(codes::DUPLICATE_PORT, entry.spot(&["services", name, "port"]), message);
            context.push(draft.related(entry.spot(&["services", &other.name, "port"]), "the other"));
        }
        check(entry, written, &service, acme, context);
        services.insert(name.clone(), service);
    }
    services
}

/// Adds the services of a stack to those of its guest: on another port, and of another name.
pub(super) fn put_together(
    guest: &mut Arc<Guest>,
    own: BTreeMap<String, Service>,
    entry: Written<'_>,
    context: &mut Context<'_, '_>,
) {
    let guest = Arc::make_mut(guest);
    for (name, service) in own {
        let there = |other: &&Service| other.name == name || other.port == service.port;
        let Some(other) = guest.services.values().find(there) else {
            guest.services.insert(name, service);
            continue;
        };
        let (code, key, message) = if other.name == name {
            (
                codes::DUPLICATE_NAME,
                vec!["services", &*name],
                format!("`{}` has a service `{name}` already", guest.name),
            )
        } else {
            let message =
                format!("the services `{}` and `{name}` are both on port {}", other.name, service.port);
            (codes::DUPLICATE_PORT, vec!["services", &*name, "port"], message)
        };
        let mut draft = Draft::error(code, entry.spot(&key), message);
        if let Some(written) = context.namespace.of_service(&guest.name, other) {
            draft = draft.related(written.key_spot(&["services", &other.name]), "the other");
        }
        context.push(draft);
    }
}

fn service(name: &str, written: &ServiceSource) -> Service {
    let access = written.access.clone().unwrap_or_default();
    let limits = written.limits.clone().unwrap_or_default();
    let users = access.basic.into_iter().flatten();
    Service {
        name: name.to_owned(),
        stack: None,
        port: written.port,
        protocol: match written.protocol.unwrap_or(ProtocolSource::Http) {
            ProtocolSource::Http => Protocol::Http,
            ProtocolSource::Https => Protocol::Https,
            ProtocolSource::Tcp => Protocol::Tcp,
        },
        expose: match written.expose.unwrap_or(ExposeSource::None) {
            ExposeSource::Direct => Expose::Direct,
            ExposeSource::Gateway => Expose::Gateway,
            ExposeSource::Mesh => Expose::Mesh,
            ExposeSource::None => Expose::None,
        },
        gateway: written.gateway.as_ref().map(|name| name.0.as_str().into()),
        aliases: written.aliases.iter().flatten().cloned().collect(),
        public: written.public.iter().flatten().cloned().collect(),
        listen: written.listen.unwrap_or(written.port),
        tls: written.tls.unwrap_or(true),
        mutual: written.mutual.unwrap_or(false),
        verify: written.verify.unwrap_or(true),
        websocket: written.websocket.unwrap_or(true),
        security_headers: written.security_headers.unwrap_or(true),
        users: users.filter_map(|(name, secret)| Some((name, secret.reference()?))).collect(),
        client_certificate: access.client_certificate.unwrap_or(false),
        client_names: access.client_names.unwrap_or_default(),
        bypass: written.bypass.unwrap_or(false),
        limits: Limits {
            body_mib: limits.body.map(|size| size.mib),
            headers: limits.headers.map(|size| size.kib * 1024),
            timeout: limits.timeout.map(|wait| wait.0),
            rate: limits.rate,
            burst: limits.burst.unwrap_or(defaults::BURST),
        },
        probe_path: written.path.as_ref().map_or_else(|| "/".to_owned(), |p| p.0.clone()),
        probe_status: written.status,
        declared: crate::model::Location::default(),
    }
}

/// What a key needs to have an effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Gateway,
    Proxy,
    TcpAtTheGateway,
    HttpAtTheGateway,
    HttpAtAProxy,
    HttpsAtAProxy,
    Http,
}

impl Needs {
    fn met(self, service: &Service) -> bool {
        let gateway = service.expose == Expose::Gateway;
        let proxy = gateway || service.expose == Expose::Mesh;
        let tcp = service.protocol == Protocol::Tcp;
        match self {
            Self::Gateway => gateway,
            Self::Proxy => proxy,
            Self::TcpAtTheGateway => gateway && tcp,
            Self::HttpAtTheGateway => gateway && !tcp,
            Self::HttpAtAProxy => proxy && !tcp,
            Self::HttpsAtAProxy => proxy && service.protocol == Protocol::Https,
            Self::Http => !tcp,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Gateway => "\"expose\": \"gateway\"",
            Self::Proxy => "\"expose\": \"gateway\" or \"mesh\"",
            Self::TcpAtTheGateway => "\"protocol\": \"tcp\" and \"expose\": \"gateway\"",
            Self::HttpAtTheGateway => "\"expose\": \"gateway\" and HTTP",
            Self::HttpAtAProxy => "\"expose\": \"gateway\" or \"mesh\", and HTTP",
            Self::HttpsAtAProxy => "\"protocol\": \"https\" and \"expose\": \"gateway\" or \"mesh\"",
            Self::Http => "HTTP",
        }
    }
}

/// Keys below a service that only mean something together with others.
const CONDITIONS: [(&[&str], Needs); 19] = [
    (&["gateway"], Needs::Gateway),
    (&["public"], Needs::HttpAtTheGateway),
    (&["listen"], Needs::TcpAtTheGateway),
    (&["tls"], Needs::TcpAtTheGateway),
    (&["mutual"], Needs::HttpsAtAProxy),
    (&["verify"], Needs::HttpsAtAProxy),
    (&["bypass"], Needs::HttpAtAProxy),
    (&["websocket"], Needs::HttpAtAProxy),
    (&["security-headers"], Needs::HttpAtTheGateway),
    (&["access", "basic"], Needs::HttpAtTheGateway),
    (&["access", "client-certificate"], Needs::HttpAtAProxy),
    (&["access", "client-names"], Needs::HttpAtAProxy),
    (&["limits", "body"], Needs::HttpAtAProxy),
    (&["limits", "headers"], Needs::HttpAtTheGateway),
    (&["limits", "rate"], Needs::HttpAtTheGateway),
    (&["limits", "burst"], Needs::Gateway),
    (&["limits", "timeout"], Needs::Proxy),
    (&["path"], Needs::Http),
    (&["status"], Needs::Http),
];

fn check(
    entry: Written<'_>,
    written: &ServiceSource,
    service: &Service,
    acme: Option<&Acme>,
    context: &mut Context<'_, '_>,
) {
    let name = service.name.as_str();
    let node = entry.node().get("services").and_then(|s| s.get(name));
    for (path, needs) in CONDITIONS {
        let found = path.iter().try_fold(node, |node, key| Some(node?.get(key)));
        if found.flatten().is_none() || needs.met(service) {
            continue;
        }
        let whole: Vec<&str> = ["services", name].into_iter().chain(path.iter().copied()).collect();
        let message = format!("`{}` of the service `{name}` has no effect", path.join("."));
        let draft = Draft::error(codes::BAD_SERVICE, entry.key_spot(&whole), message);
        context.push(draft.hint(format!("it needs {}; else remove it", needs.words())));
    }
    let spot = |key: &str| entry.spot(&["services", name, key]);
    if service.protocol == Protocol::Tcp && service.expose == Expose::Mesh {
        let message = format!("the service `{name}` cannot be exposed by the mesh: it does not speak HTTP");
        let draft = Draft::error(codes::BAD_SERVICE, spot("expose"), message);
        context.push(draft.hint("expose it \"direct\", or through the \"gateway\""));
    }
    if service.protocol == Protocol::Tcp
        && service.expose == Expose::Gateway
        && GATEWAY_PORTS.contains(&service.listen)
    {
        let key = if written.listen.is_some() { "listen" } else { "port" };
        let message = format!("the gateway needs port {} itself", service.listen);
        let draft = Draft::error(codes::DUPLICATE_PORT, spot(key), message);
        context.push(draft.hint("say another port with `listen`"));
    }
    if !service.public.is_empty() && acme.is_none() && !context.namespace.blind {
        let message = format!("the service `{name}` has public names, but there is no public authority");
        let draft = Draft::error(codes::BAD_SERVICE, entry.key_spot(&["services", name, "public"]), message);
        context.push(
            draft.hint(
                "add \"certificates\": {\"acme\": {\"directory\": \"https://…\"}}, or remove the names",
            ),
        );
    }
    if !service.client_certificate && !service.client_names.is_empty() {
        let message = format!(
            "`access.client-names` of the service `{name}` has no effect without `client-certificate`"
        );
        let whole = entry.key_spot(&["services", name, "access", "client-names"]);
        context.push(
            Draft::error(codes::BAD_SERVICE, whole, message)
                .hint("add \"client-certificate\": true, or remove it"),
        );
    }
    if service.limits.rate.is_none() && written.limits.as_ref().is_some_and(|l| l.burst.is_some()) {
        let message = format!("`limits.burst` of the service `{name}` has no effect without `limits.rate`");
        let whole = entry.key_spot(&["services", name, "limits", "burst"]);
        context.push(Draft::error(codes::BAD_SERVICE, whole, message).hint("add `rate`, or remove it"));
    }
}

/// Whose certificates a proxy is to take, and are nobody's; ports of a gateway that two services want, and public names that
/// two services have.
pub(super) fn check_together(containers: &Guests, context: &mut Context<'_, '_>) {
    let namespace = context.namespace;
    let gateways = parts::gateways(containers, context);
    let mut ports: BTreeMap<(Option<&GuestName>, u16), (&str, Spot)> = BTreeMap::new();
    let mut public: BTreeMap<&str, (&str, Spot)> = BTreeMap::new();
    for (name, container) in containers {
        for service in container.services.values() {
            let Some(entry) = namespace.of_service(name, service) else { continue };
            if matches!(service.expose, Expose::Direct | Expose::None) {
                continue;
            }
            for client in service.client_names.iter().filter(|name| !name.contains('.')) {
                if !containers.contains_key(&**client) {
                    let spot = entry.spot(&["services", &service.name, "access", "client-names"]);
                    let all: Vec<&str> = namespace.guests.keys().map(String::as_str).collect();
                    context.dangling(spot, "container", client, &all);
                }
            }
            if service.expose == Expose::Mesh {
                continue;
            }
            if service.protocol == Protocol::Tcp {
                let spot = entry.spot(&["services", &service.name, "listen"]);
                let port = (parts::gateway_of(service, &gateways), service.listen);
                if let Some((other, there)) = ports.insert(port, (&service.name, spot)) {
                    let message = format!(
                        "the services `{other}` and `{}` both want port {} of the gateway",
                        service.name, service.listen
                    );
                    let draft =
                        Draft::error(codes::DUPLICATE_PORT, spot, message).related(there, "the other");
                    context.push(draft.hint("say another port with `listen`"));
                }
            }
            let spot = entry.spot(&["services", &service.name, "public"]);
            for host in &service.public {
                if let Some((other, there)) = public.insert(host, (&service.name, spot)) {
                    let message = format!("`{other}` and `{}` both have the name `{host}`", service.name);
                    context
                        .push(Draft::error(codes::DUPLICATE_NAME, spot, message).related(there, "the other"));
                }
            }
        }
    }
}
