//! Where a person finds a service: in a lab, through the port that it is published on.

use plan::Desired;
use plan::desired::{Service, Speaks};

use crate::site::Site;

/// The address of a service as it is reached from this machine: what the gateway serves in a lab with the lab's port.
pub fn url(site: &Site, service: &Service) -> String {
    published(
        service.url(),
        at_the_port(&site.desired, service),
        site.connection.lab.as_ref().map(|lab| lab.ports.https),
    )
}

/// Whether a lab's port for HTTPS leads to the service.
pub fn at_the_port(desired: &Desired, service: &Service) -> bool {
    let gateway = service.gateway().filter(|_| service.speaks != Speaks::Tcp);
    gateway.is_some_and(|via| desired.front_door() == Some(&via.on))
}

/// `https://notes.workshop.internal/` becomes `https://notes.workshop.internal:8443/`.
fn published(url: String, at_the_port: bool, port: Option<u16>) -> String {
    let host = url.strip_prefix("https://").and_then(|rest| rest.strip_suffix('/'));
    match (host, port) {
        (Some(host), Some(port)) if at_the_port && port != 0 && port != 443 => {
            format!("https://{host}:{port}/")
        }
        _ => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labs_port_is_in_it() {
        let url = || "https://notes.workshop.internal/".to_owned();
        assert_eq!(published(url(), true, Some(18443)), "https://notes.workshop.internal:18443/");
        // On a real node, in a simulated lab, and where another gateway serves it, or none.
        for (at_the_port, port) in [(true, None), (true, Some(0)), (true, Some(443)), (false, Some(18443))] {
            assert_eq!(published(url(), at_the_port, port), url());
        }
        assert_eq!(published("tcp://a:5432".into(), true, Some(18443)), "tcp://a:5432");
    }
}
