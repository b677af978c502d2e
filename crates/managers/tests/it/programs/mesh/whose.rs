//! Whose certificate a client of the mesh shows: every guest has one of the workshop, so that alone opens nothing where
//! somebody is named.

use serde_json::{Value, json};

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
        format!(
            "-H 'X-Forwarded-Tls-Client-Cert-Info: {right}' -H 'Connection: X-Forwarded-Tls-Client-Cert-Info'"
        ),
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

/// What signs below the root: `NAME.ca` in the folder of the authority.
fn intermediate(guest: &Guest, name: &str) {
    guest.sh(&format!(
        "cd /root/pki; openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj '/CN=Phoenix workshop CA {name}' \
           -keyout {name}.ca.key -out ca.csr 2>/dev/null
         printf 'basicConstraints=critical,CA:true,pathlen:0\\nkeyUsage=keyCertSign,cRLSign\\n' >ca.ext
         openssl x509 -req -in ca.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ca.ext -out {name}.ca.crt 2>/dev/null"
    ));
}

/// A certificate for a client by one of them, with it: `NAME.crt` and `NAME.key`.
fn client(guest: &Guest, place: &str, name: &str, by: &str) {
    guest.sh(&format!(
        "cd /root/pki; openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN={name} -keyout {place}.key \
           -out client.csr 2>/dev/null
         printf 'subjectAltName=DNS:{name}\\nextendedKeyUsage=serverAuth,clientAuth\\n' >client.ext
         openssl x509 -req -in client.csr -CA {by}.ca.crt -CAkey {by}.ca.key -CAcreateserial -days 2 -extfile client.ext \
           -out {place}.leaf 2>/dev/null; cat {place}.leaf {by}.ca.crt >{place}.crt"
    ));
}

// Whoever has the key that signed has every name, until what it signs is refused.
#[test]
fn what_a_taken_key_signs_opens_nothing_any_more() {
    let Some(guest) = Guest::new() else { return };
    for name in [VAULT, "hall", "open"] {
        guest.service(name);
    }
    let laptop = "laptop.workshop.internal";
    let routes = [
        route(VAULT, 8085, json!({ "client_certificate": true, "client_names": [laptop] })),
        route("hall", 8085, json!({ "client_certificate": true })),
        route("open", 8085, json!({})),
    ];
    let mesh = |refused: Value| {
        let mut all = mesh(&routes);
        all["refused"] = refused;
        apply(rendered(&all))
    };
    let all_of = |issuer: &str| json!({ "issuer": issuer, "names": [] });
    for name in ["1a2b3c", "4d5e6f"] {
        intermediate(&guest, name);
        client(&guest, &format!("by-{name}"), laptop, name);
    }
    // More of a chain than there is to it changes nothing.
    guest.sh("cd /root/pki; cat by-1a2b3c.leaf 4d5e6f.ca.crt 1a2b3c.ca.crt by-4d5e6f.leaf >mixed.crt; cp by-1a2b3c.key mixed.key");
    let asked = |service: &str| {
        ["by-1a2b3c", "mixed", "by-4d5e6f"].map(|who| {
            let pair = format!("--cert /root/pki/{who}.crt --key /root/pki/{who}.key");
            guest.ask(service, "/", &format!("-o /dev/null -w '%{{http_code}}' {pair}"))
        })
    };
    guest.0.run(&mesh(json!([]))).ok();
    for service in [VAULT, "hall"] {
        assert_eq!(asked(service), ["200"; 3], "{service}");
    }
    let both = json!([all_of("Phoenix workshop CA 1a2b3c"), all_of("Phoenix workshop Step CA 777777")]);
    guest.0.run(&mesh(both)).ok();
    for service in [VAULT, "hall"] {
        assert_eq!(asked(service), ["403", "403", "200"], "{service}");
    }
    assert_eq!(asked("open"), ["200"; 3], "nobody asks there");
    // Of one guest alone: others of the same signature go on.
    let some = |names: Value| json!([{ "issuer": "Phoenix workshop CA 1a2b3c", "names": names }, all_of("Phoenix workshop Step CA 777777")]);
    guest.0.run(&mesh(some(json!(["wiki.guest.workshop.internal", laptop])))).ok();
    assert_eq!([asked(VAULT), asked("hall")], [["403", "403", "200"]; 2]);
    guest
        .0
        .run(&mesh(some(json!([
            "wiki.guest.workshop.internal",
            "*.workshop.internal",
            "xlaptop.workshop.internal"
        ]))))
        .ok();
    assert_eq!([asked(VAULT), asked("hall")], [["200"; 3]; 2]);
    guest.0.run(&mesh(json!([]))).ok();
    assert_eq!(asked(VAULT), ["200"; 3], "it has ended, so nobody needs to be told of it");
}
