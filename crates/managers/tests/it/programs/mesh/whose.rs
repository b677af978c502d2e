//! Whose certificate a client of the mesh shows: every guest has one of the workshop, so that alone opens nothing where
//! somebody is named.

use serde_json::json;

use super::{Guest, apply, mesh, rendered, route};

/// The service in this test.
const VAULT: &str = "vault";

/// A mesh with a service for `laptop` and `notes`, another for whoever has a certificate, and a third that is open.
fn asking() -> Option<Guest> {
    let guest = Guest::new()?;
    for name in [VAULT, "hall", "open"] {
        guest.service(name);
    }
    let names = ["laptop.workshop.internal", "notes.guest.workshop.internal"];
    let routes = [
        route(VAULT, 8085, json!({ "client_certificate": true, "client_names": names })),
        route("hall", 8085, json!({ "client_certificate": true })),
        route("open", 8085, json!({})),
    ];
    guest.0.run(&apply(rendered(&mesh(&routes)))).ok();
    guest.0.run(&apply(rendered(&mesh(&routes)))).nothing_to_do();
    Some(guest)
}

/// What somebody gets who shows a certificate with this name.
fn status(guest: &Guest, service: &str, name: &str, more: &str) -> String {
    let place = format!("/root/pki/of-{name}");
    guest.leaf(&place, name);
    let pair = format!("--cert {place}.crt --key {place}.key {more}");
    guest.ask(service, "/", &format!("-o /dev/null -w '%{{http_code}}' {pair}"))
}

#[test]
fn another_guests_certificate_opens_nothing_where_somebody_is_named() {
    let Some(guest) = asking() else { return };
    let who = [
        ("laptop.workshop.internal", "200"),
        ("notes.guest.workshop.internal", "200"),
        ("wiki.guest.workshop.internal", "403"),
        ("laptop.guest.workshop.internal", "403"),
        ("laptopxworkshop.internal", "403"),
        ("xlaptop.workshop.internal", "403"),
        ("laptop.workshop.internal.evil", "403"),
    ];
    for (name, wanted) in who {
        assert_eq!(status(&guest, VAULT, name, ""), wanted, "{name}");
        assert_eq!(status(&guest, "hall", name, ""), "200", "{name}");
    }
    // Words that say it was another's, and ways to have the right ones dropped on the way.
    let right = "Subject%3D%22CN%3Dlaptop.workshop.internal%22";
    for said in [
        format!("-H 'X-Forwarded-Tls-Client-Cert-Info: {right}'"),
        format!("-H 'x_forwarded_tls_client_cert_info: {right}'"),
        format!("-H 'X-Forwarded-Tls-Client-Cert-Info: {right}' -H 'Connection: X-Forwarded-Tls-Client-Cert-Info'"),
        format!("-H 'X-Forwarded-Uri: /clients/hall' -H 'X-Forwarded-Tls-Client-Cert-Info: {right}'"),
    ] {
        for version in ["--http1.1", "--http2"] {
            let more = format!("{said} {version}");
            assert_eq!(status(&guest, VAULT, "wiki.guest.workshop.internal", &more), "403", "{more}");
        }
    }
    // The chain that comes after the leaf says nothing of whose it is.
    guest.leaf("/root/pki/other", "laptop.workshop.internal");
    guest.leaf("/root/pki/wiki", "wiki.guest.workshop.internal");
    guest.sh("cd /root/pki; cat wiki.crt other.crt >both.crt; cp wiki.key both.key");
    let both = "--cert /root/pki/both.crt --key /root/pki/both.key -o /dev/null -w '%{http_code}'";
    assert_eq!(guest.ask(VAULT, "/", both), "403");
    // Neither by a connection that was made for another name, nor by upgrading one.
    let pair = "--cert /root/pki/wiki.crt --key /root/pki/wiki.key";
    let around = format!("{pair} -H 'Host: vault.workshop.internal' -o /dev/null -w '%{{http_code}}'");
    assert_eq!(guest.ask("open", "/", &around), "421");
    let upgrade = "-H 'Connection: Upgrade' -H 'Upgrade: websocket' --http1.1";
    assert_eq!(status(&guest, VAULT, "wiki.guest.workshop.internal", upgrade), "403");
    // What is asked inside is no way in from outside, and tells the service nothing.
    let inside = format!("{pair} -o /dev/null -w '%{{http_code}}'");
    assert_eq!(guest.ask("open", "/clients/vault", &inside), "200", "the service's own path");
    assert!(!guest.sh("ss -Hltn | awk '{print $4}'").contains("*:8090"));
}
