//! Where a person finds a service: in a lab, through the port that it is published on.

use plan::desired::{Service, Speaks};

use crate::connect::Connection;

/// The address of a service as it is reached from this machine: what the gateway serves in a lab with the lab's port.
pub fn url(connection: &Connection, service: &Service) -> String {
    let lab = connection.lab.as_ref().map(|lab| lab.ports.https);
    published(service.url(), service.gateway().is_some() && service.speaks != Speaks::Tcp, lab)
}

/// `https://notes.workshop.internal/` becomes `https://notes.workshop.internal:8443/`.
fn published(url: String, by_gateway: bool, port: Option<u16>) -> String {
    let host = url.strip_prefix("https://").and_then(|rest| rest.strip_suffix('/'));
    match (host, port) {
        (Some(host), Some(port)) if by_gateway && port != 0 && port != 443 => {
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
        // On a real node, in a simulated lab, and where no gateway serves it.
        for (by_gateway, port) in [(true, None), (true, Some(0)), (true, Some(443)), (false, Some(18443))] {
            assert_eq!(published(url(), by_gateway, port), url());
        }
        assert_eq!(published("tcp://a:5432".into(), true, Some(18443)), "tcp://a:5432");
    }
}
