//! Whom a proxy takes for the service behind it: on paper.

use serde_json::json;

use crate::support::{Files, ROOT, SITE, desired};

/// A service over TLS that no feature gives the guest's certificate to, with some more said of it.
fn site(more: &str) -> Files {
    let guests = r#"{ "containers": {
        "gateway": { "address": "10.0.0.2", "features": ["nginx-gateway"] },
        "mesh": { "address": "10.0.0.12", "features": ["traefik"] },
        "box": { "address": "10.0.0.20", "services": { "box": { "port": 8443, "protocol": "https" MORE } } }
    } }"#;
    [("site.json", SITE.to_owned()), ("guests.json", guests.replace(" MORE", more))]
        .map(|(path, text)| (path.into(), text.into_bytes()))
        .into()
}

// Without it, whoever sits between the two is the service.
#[test]
fn a_service_that_cannot_be_verified_is_an_error_unless_it_says_so() {
    for proxy in ["gateway", "mesh"] {
        let plain = format!(r#", "expose": "{proxy}""#);
        let error = desired(&site(&plain), ROOT).unwrap_err();
        assert!(error.starts_with("service.box: its proxy cannot verify it"), "{error}");
        assert!(
            error.contains("no feature of container.box") && error.contains(r#"`"verify": false`"#),
            "{error}"
        );

        let told =
            desired(&site(&format!(r#"{plain}, "verify": false"#)), ROOT).unwrap_or_else(|e| panic!("{e}"));
        let service = &told.services["box"];
        assert!(service.unverified() && service.upstream_name.is_none(), "{service:?}");
        assert_eq!(
            managers::health::with_trust(service, "200".into()),
            format!("200, not verified by the {proxy} (\"verify\": false)")
        );
    }
    // Clients verify it themselves where they come to it directly.
    let direct = desired(&site(r#", "expose": "direct""#), ROOT).unwrap_or_else(|e| panic!("{e}"));
    assert!(!direct.services["box"].unverified());
}

#[test]
fn a_service_with_the_guests_certificate_is_verified_unless_it_says_otherwise() {
    let site = |more: &str| -> Files {
        let guests = json!({ "containers": {
            "gateway": { "address": "10.0.0.2", "features": ["nginx-gateway"] },
            "box": {
                "address": "10.0.0.20", "features": [{ "node-exporter": { "tls": true } }],
                "services": { "box": { "port": 9100, "protocol": "https", "expose": "gateway" } }
            }
        } });
        let guests =
            guests.to_string().replace(r#""expose":"gateway""#, &format!(r#""expose":"gateway"{more}"#));
        [("site.json", SITE.to_owned()), ("guests.json", guests)]
            .map(|(path, text)| (path.into(), text.into_bytes()))
            .into()
    };
    let told = desired(&site(""), ROOT).unwrap_or_else(|e| panic!("{e}"));
    let service = &told.services["box"];
    assert_eq!(service.upstream_name.as_deref(), Some("box.guest.workshop.internal"));
    assert_eq!(managers::health::with_trust(service, "200".into()), "200");
    let told = desired(&site(r#","verify":false"#), ROOT).unwrap_or_else(|e| panic!("{e}"));
    assert!(told.services["box"].unverified());
}
