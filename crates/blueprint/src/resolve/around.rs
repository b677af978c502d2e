//! What a proxy asks of clients holds only for those who go through it: a service whose own port others reach as well is
//! open to them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Context, parts};
use crate::codes;
use crate::loopback::{self, asked};
use crate::model::{Expose, Firewall, Flow, Guest, Guests, Service};
use crate::report::Draft;

/// The parameter by which a feature refuses all who show no certificate.
const CERTIFICATES: &str = "client-certificates";
/// The parameter of those that look whose it is: whom else than the proxy they let in. Without it, a certificate of any guest
/// will do.
const NAMES: &str = "client-names";

/// Whether the feature that serves it lets in nobody but its proxy, by the proxy's certificate.
fn for_the_proxy_alone(container: &Guest, service: &Service, context: &Context<'_, '_>) -> bool {
    let of = |feature: &crate::model::FeatureUse, name: &str| -> Option<Value> {
        let spec = &context.features.get(&feature.name)?.spec;
        feature.parameters.get(name).or_else(|| spec.parameters.get(name)?.default.as_ref()).cloned()
    };
    service.mutual
        && container.features.iter().any(|feature| {
            let others = of(feature, NAMES);
            of(feature, CERTIFICATES) == Some(Value::Bool(true))
                && others
                    .as_ref()
                    .and_then(Value::as_array)
                    .is_some_and(|all| !all.iter().any(|one| one == "*"))
                && of(feature, "port").and_then(|port| port.as_u64()) == Some(u64::from(service.port))
        })
}

/// Checks that nobody gets around what a proxy is to ask.
pub(super) fn check(
    containers: &Guests,
    firewall: Option<&Firewall>,
    flows: &BTreeMap<String, Flow>,
    context: &mut Context<'_, '_>,
) {
    let (namespace, features) = (context.namespace, context.features);
    let proxies = parts::Proxies::of(containers, context);
    for (name, container) in containers {
        let here = |service: &Service| proxies.of_service(service) == Some(name);
        let of_its_proxy =
            loopback::ports(container, flows, here, |name| features.get(name).map(AsRef::as_ref));
        for service in container.services.values() {
            let Some(entry) = namespace.of_service(name, service) else { continue };
            let proxy = match service.expose {
                Expose::Gateway => "gateway",
                Expose::Mesh => "mesh",
                Expose::Direct | Expose::None => continue,
            };
            let Some(path) = asked(service) else {
                if service.bypass {
                    let message = format!("`bypass` of the service `{}` has no effect", service.name);
                    let spot = entry.key_spot(&["services", &service.name, "bypass"]);
                    let draft = Draft::error(codes::BAD_SERVICE, spot, message);
                    context.push(
                        draft.hint("it needs `access`, or a `rate` or `body` in `limits`; else remove it"),
                    );
                }
                continue;
            };
            if service.bypass
                || of_its_proxy.contains(&service.port)
                || for_the_proxy_alone(container, service, context)
            {
                continue;
            }
            let who = match firewall {
                None if namespace.blind => continue,
                None => "everybody".to_owned(),
                Some(firewall) if !firewall.zero_trust => "every other guest".to_owned(),
                // Who needs a guest may use all of its ports.
                Some(_) => match containers.values().find(|other| other.needs.contains(name)) {
                    Some(other) => format!("container.{}, which needs it,", other.name),
                    None => continue,
                },
            };
            let message = format!(
                "`{}` of the service `{}` can be walked around: {who} reaches port {} of container.{name} without the {proxy}",
                path.join("."),
                service.name,
                service.port
            );
            let spot = entry.key_spot(&["services", &service.name, path[0], path[1]]);
            let close = match firewall {
                Some(firewall) if firewall.zero_trust => "drop the `needs`",
                _ => "close the port with \"firewall\": {\"zero-trust\": true}",
            };
            context.push(Draft::error(codes::WAY_AROUND, spot, message).hint(format!(
                "{close}; or let nobody else in, with \"mutual\": true and a feature that has \"client-certificates\": true; \
                 \"bypass\": true at the service leaves it open"
            )));
        }
    }
}
