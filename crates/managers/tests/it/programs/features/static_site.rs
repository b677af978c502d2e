//! A folder of pages, with and without TLS, alone in its guest and beside a gateway.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::gateway::{Front, IDENTITY};
use super::{apply, built_in, facts, files, parameters};
use crate::given;

fn pages(extra: Value) -> managers::features::Rendered {
    let contents =
        std::collections::BTreeMap::from([("root".to_owned(), files(&[("index.html", b"pages")]))]);
    let mut values = parameters(json!({
        "root": "pages/",
        "identity": given::identity("gateway", "guest-gateway"),
    }));
    values.extend(parameters(extra));
    let feature = built_in("static-site");
    given::as_told(&feature, &values);
    managers::features::render(&feature, &values, &contents, &facts()).unwrap()
}

#[test]
fn pages_over_tls_with_the_guests_own_certificate() {
    let Some(front) = Front::new() else { return };
    front.root.sh("echo 127.0.0.1 gateway.guest.workshop.internal >>/etc/hosts");
    let sealed = [pages(json!({ "port": 443, "tls": true }))];
    // Without its certificate it says what is missing, and nothing is left half done.
    let ran = front.root.run(&apply(&sealed));
    let error = ran.failed().error("static-site").unwrap();
    assert!(error.contains(&format!("cannot load certificate \"{IDENTITY}/fullchain.pem\"")), "{error}");
    front.certificate(IDENTITY, "gateway.guest");
    front.root.run(&apply(&sealed)).ok();
    front.root.run(&apply(&sealed)).nothing_to_do();
    let url = "https://gateway.guest.workshop.internal/";
    assert_eq!(front.curl(url), "pages");
    assert_eq!(front.root.sh("ss -Hltnp | grep nginx | awk '{ print $4 }' | sort -u"), "0.0.0.0:443\n");
    // Renewed, and reloaded as its feature says.
    let serial = front.certificate(IDENTITY, "gateway.guest");
    front.root.sh("systemctl reload nginx; sleep 0.5");
    let served = front
        .root
        .sh("openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -serial");
    assert_eq!(served.to_lowercase(), format!("serial={serial}\n"));
}

// Every guest has a certificate of the workshop, so that alone opens nothing: whose it is does.
#[test]
fn only_its_proxy_and_who_is_named_get_to_pages_with_their_certificates() {
    let Some(front) = Front::new() else { return };
    front.root.sh("echo 127.0.0.1 gateway.guest.workshop.internal >>/etc/hosts");
    front.certificate(IDENTITY, "gateway.guest");
    for name in ["front.guest", "wiki.guest", "laptop", "front.guest.workshop.internal.evil"] {
        front.certificate(&format!("/srv/{name}"), name);
    }
    let url = "https://gateway.guest.workshop.internal/";
    let asked = |name: &str| {
        let pair = format!("--cert /srv/{name}/fullchain.pem --key /srv/{name}/key.pem");
        front.curl(&format!("-o /dev/null -w '%{{http_code}}' {pair} {url}"))
    };
    let all = || ["front.guest", "wiki.guest", "laptop", "front.guest.workshop.internal.evil"].map(asked);
    let closed = |more: Value| {
        let settings = given::but(json!({ "port": 443, "tls": true, "client-certificates": true }), more);
        front.root.run(&apply(&[pages(settings)])).ok();
        front.root.sh("sleep 0.5");
        assert_eq!(front.curl(&format!("-o /dev/null -w '%{{http_code}}' {url}")), "400", "without any");
    };
    let proxies = json!(["front.guest.workshop.internal"]);
    closed(json!({ "proxies": proxies }));
    assert_eq!(all(), ["200", "403", "403", "403"]);
    closed(json!({ "proxies": proxies, "client-names": ["laptop.workshop.internal"] }));
    assert_eq!(all(), ["200", "403", "200", "403"]);
    // As it was before anybody asked whose.
    closed(json!({ "client-names": ["*"] }));
    assert_eq!(all(), ["200"; 4]);
}

// As at a gateway: whoever has the key that signed has the gateway's name, too.
#[test]
fn what_a_taken_key_signs_is_no_proxy_any_more() {
    let Some(mut front) = Front::new() else { return };
    front.root.sh("echo 127.0.0.1 gateway.guest.workshop.internal >>/etc/hosts");
    let (_copy, thief) = front.stolen();
    front.certificate(IDENTITY, "gateway.guest");
    front.certificate_by(&thief, "/srv/thief", "front.guest", Timestamp::now());
    let settings = |front: &Front| {
        let proxies = json!(["front.guest.workshop.internal"]);
        json!({ "port": 443, "tls": true, "client-certificates": true, "proxies": proxies, "refused": front.refused })
    };
    let asked = |front: &Front, who: &str| {
        let pair = format!("--cert /srv/{who}/fullchain.pem --key /srv/{who}/key.pem");
        front.curl(&format!(
            "-o /dev/null -w '%{{http_code}}' {pair} https://gateway.guest.workshop.internal/"
        ))
    };
    front.root.run(&apply(&[pages(settings(&front))])).ok();
    assert_eq!(asked(&front, "thief"), "200");
    front.succeed(None);
    front.certificate(IDENTITY, "gateway.guest");
    front.certificate("/srv/front", "front.guest");
    front.root.run(&apply(&[pages(settings(&front))])).ok();
    front.root.sh("sleep 0.5");
    assert_eq!(["thief", "front"].map(|who| asked(&front, who)), ["403", "200"]);
}

#[test]
fn pages_that_want_certificates_are_told_whose() {
    let contents = std::collections::BTreeMap::from([("root".to_owned(), files(&[("index.html", b"x")]))]);
    let values = parameters(json!({
        "root": "pages/", "tls": true, "client-certificates": true, "identity": given::identity("pages", "pages.guest"),
    }));
    let refused = managers::features::render(&built_in("static-site"), &values, &contents, &facts());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("`client-certificates` needs to know whose"), "{error}");
}

// The attack: the gateway asks for a password, and somebody goes straight to the port of the pages behind it. In the gateway's
// own guest they take nobody but the gateway, whatever firewall there is.
#[test]
fn pages_for_the_gateway_of_the_same_guest_answer_nobody_else() {
    let Some(mut front) = Front::new() else { return };
    // The guest's own address, by which others reach it.
    front.root.sh("ip address add 10.9.9.9/32 dev lo");
    front.site("notes", json!({ "upstream_port": 8088, "rate": { "requests": 100, "per_seconds": 1 } }));
    let told = |loopback: Value| json!({ "port": 8088, "loopback": loopback });
    let status = |url: &str| front.curl(&format!("-o /dev/null -w '%{{http_code}}' {url}"));
    let around = || status("http://10.9.9.9:8088/");
    // Open to everybody, as it may have been; and shut without a restart.
    front.root.run(&apply(&[pages(told(json!([]))), front.rendered()])).ok();
    assert_eq!((status("https://notes.workshop.internal/"), around()), ("200".into(), "200".into()));
    let ran = front.root.run(&apply(&[pages(told(json!([8088]))), front.rendered()]));
    assert!(ran.ok().words().contains(&"unit reload nginx".to_owned()), "{ran:?}");
    assert_eq!((status("https://notes.workshop.internal/"), around()), ("200".into(), "403".into()));
    assert_eq!(status("http://10.9.9.9:8088/index.html"), "403");
    front.root.run(&apply(&[pages(told(json!([8088]))), front.rendered()])).nothing_to_do();
    // Another port of the guest is not meant.
    front.root.run(&apply(&[pages(told(json!([8089]))), front.rendered()])).ok();
    assert_eq!(around(), "200");
}

// One guest is gateway and pages at once; a bad service does not keep the pages from being checked and served.
#[test]
fn pages_beside_a_gateway() {
    let Some(mut front) = Front::new() else { return };
    front.site("notes", json!({ "upstream_port": 8088 }));
    front.site("odd", json!({}));
    front.root.sh("rm /etc/phoenix/certificates/odd/key.pem");
    let ran = front.root.run(&apply(&[pages(json!({ "port": 8088 })), front.rendered()]));
    assert!(ran.failed().error("nginx-gateway").unwrap().contains("odd: "), "{ran:?}");
    assert_eq!(front.curl("https://notes.workshop.internal/"), "pages");
    let ran = front.root.run(&apply(&[pages(json!({ "port": 8089 }))]));
    assert!(ran.ok().words().contains(&"unit reload nginx".to_owned()), "{ran:?}");
    assert_eq!(front.curl("http://127.0.0.1:8089/"), "pages");
    // Its own port taken, it alone is put aside.
    front.serve("lines", 8090, "");
    let ran = front.root.run(&apply(&[pages(json!({ "port": 8090 }))]));
    let error = ran.failed().error("static-site").unwrap();
    assert!(error.contains("port 8090 is taken by python3"), "{error}");
    assert_eq!(front.curl("http://127.0.0.1:8089/"), "pages");
}
