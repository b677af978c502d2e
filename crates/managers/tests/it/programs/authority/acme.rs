//! A public authority, for which pebble stands in: http-01, dns-01 by somebody's command, accounts, orders one by one.

use plan::told::Acme;
use serde_json::json;

use super::workshop::{CERTIFICATES, Workshop, certificate};

/// Pebble, with a certificate by the workshop's authority, and a name server that answers 127.0.0.1 for everything.
fn pebble(w: &Workshop) {
    let request = pki::LeafRequest {
        name: "acme".into(),
        dns_names: vec!["acme.workshop.internal".into()],
        addresses: Vec::new(),
        life: std::time::Duration::from_secs(86_400),
    };
    let leaf = w.pki.issue(&request, jiff::Timestamp::now()).unwrap();
    w.root.put("/root/acme.crt", leaf.chain_pem.as_bytes());
    w.root.put("/root/acme.key", secrecy::ExposeSecret::expose_secret(&leaf.key_pem).as_bytes());
    w.root.put(
        "/root/pebble.json",
        json!({ "pebble": {
            "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": "/root/acme.crt",
            "privateKey": "/root/acme.key", "httpPort": 80, "tlsPort": 5001, "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        }})
        .to_string()
        .as_bytes(),
    );
    w.root.put(
        "/root/start-pebble",
        b"PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 setsid pebble -config /root/pebble.json -dnsserver 127.0.0.1:8053 >>/var/log/pebble 2>&1 &\necho $! >/run/pebble.pid\n",
    );
    w.root.sh(
        "echo 127.0.0.1 acme.workshop.internal >>/etc/hosts; \
         setsid pebble-challtestsrv -http01 '' -https01 '' -tlsalpn01 '' -defaultIPv6 '' -dns01 127.0.0.1:8053 -management 127.0.0.1:8055 >/var/log/dns 2>&1 & \
         sh /root/start-pebble",
    );
    w.until(20, "pebble", || w.say("curl -sSf --cacert /usr/local/share/ca-certificates/phoenix-workshop.crt https://acme.workshop.internal:14000/dir", b"").code == Some(0));
}

fn acme(w: &Workshop, challenge: &str, hook: Option<&str>) -> Option<Acme> {
    Some(Acme {
        directory: "https://acme.workshop.internal:14000/dir".into(),
        email: "me@example.org".into(),
        challenge: challenge.into(),
        hook: hook.unwrap_or_default().into(),
        root: w.pki.root_pem().into(),
    })
}

fn public(name: &str, names: &[&str]) -> serde_json::Value {
    let mut one = certificate(name, &[], 7_776_000);
    one["names"] = json!(names);
    one["issuer"] = json!("acme");
    one
}

fn accounts(w: &Workshop) -> usize {
    w.root
        .sh("find /var/lib/phoenix/certificates/acme/accounts -name account_key.pem | wc -l")
        .trim()
        .parse()
        .unwrap()
}

// P-45: the gateway ends TLS, always; so a public authority asks by HTTP, and nothing is passed through for it.
#[test]
fn http_01_through_the_folder_that_the_gateway_serves() {
    let Some(w) = Workshop::new() else { return };
    pebble(&w);
    w.declare(&[public("shop", &["shop.example.org", "www.example.org"])], acme(&w, "http-01", None));
    // Nobody serves the challenge yet: it fails, says why, and waits as long as a public authority wants it to.
    let said = w.certificates("renew shop");
    assert!(said.code == Some(1) && said.err.contains("the next attempt is in 300 s"), "{said:?}");
    let state = w.state("shop");
    assert!(
        state["failures"] == 1
            && state["error"].as_str().unwrap().to_lowercase().contains("connection refused"),
        "{state}"
    );
    let asked =
        |w: &Workshop| w.root.sh("grep -c 'POST /order-plz' /var/log/pebble").trim().parse::<u32>().unwrap();
    let before = asked(&w);
    for _ in 0..3 {
        assert_eq!(w.certificates("renew").code, Some(1));
    }
    assert_eq!(asked(&w), before, "a failed order is not repeated before its time");

    // As a gateway does it: the folder, by a user that is not root.
    w.root.put(
        "/etc/nginx/nginx.conf",
        b"user www-data; worker_processes 1; events {} pid /run/nginx.pid; error_log /var/log/nginx/error.log;\n\
          http { access_log off; server { listen 127.0.0.1:80; location /.well-known/acme-challenge/ { alias /var/lib/phoenix/acme-challenge/; } } }\n",
    );
    w.root.sh("nginx");
    w.certificates("renew shop").ok();
    let facts = w.facts("shop");
    assert_eq!(facts.dns_names, ["shop.example.org", "www.example.org"]);
    assert!(facts.issuer.contains("Pebble"), "{facts:?}");
    assert!(w.chain("shop").matches("BEGIN CERTIFICATE").count() >= 2, "its intermediate comes with it");
    assert_eq!(
        w.root.sh("ls /var/lib/phoenix/acme-challenge; ls /etc/phoenix/certificates/shop/current/"),
        "fullchain.pem\nissuer\nkey.pem\n"
    );
    assert_eq!(w.state("shop")["error"], json!(null));
    w.certificates("renew").ok();
    assert_eq!(w.facts("shop").serial, facts.serial, "nothing is due");

    // Two certificates of one account, asked for at once: one order after the other, one account.
    w.declare(
        &[public("shop", &["shop.example.org"]), public("blog", &["blog.example.org"])],
        acme(&w, "http-01", None),
    );
    w.root.sh(&format!("{CERTIFICATES} renew shop & {CERTIFICATES} renew blog & wait"));
    assert_eq!((w.facts("shop").dns_names.len(), w.facts("blog").dns_names.len()), (1, 1));
    assert_eq!(accounts(&w), 1);

    // The authority was made anew and knows no accounts any more: another one, by itself.
    w.root.sh("kill $(cat /run/pebble.pid); sleep 0.5; sh /root/start-pebble");
    w.until(30, "pebble again", || w.certificates("renew --force blog").code == Some(0));
    assert_eq!(accounts(&w), 1);
    // Away for good: the old one stays.
    w.root.sh("kill $(cat /run/pebble.pid)");
    let serial = w.facts("blog").serial;
    assert_eq!(w.certificates("renew --force blog").code, Some(1));
    assert_eq!(w.facts("blog").serial, serial);
}

#[test]
fn dns_01_by_somebodys_command() {
    let Some(w) = Workshop::new() else { return };
    pebble(&w);
    let hook = r#"#!/bin/sh
case $1 in
deploy_challenge) curl -sSf -d "{\"host\":\"_acme-challenge.$2.\",\"value\":\"$4\"}" http://127.0.0.1:8055/set-txt ;;
clean_challenge) curl -sSf -d "{\"host\":\"_acme-challenge.$2.\"}" http://127.0.0.1:8055/clear-txt ;;
esac
"#;
    w.declare(&[public("all", &["*.example.org", "example.org"])], acme(&w, "dns-01", Some(hook)));
    w.certificates("renew").ok();
    assert_eq!(w.facts("all").dns_names.len(), 2);
    // A command that fails is the reason that is told.
    let failing = "#!/bin/sh\ncase $1 in deploy_challenge) echo 'the provider says no' >&2; exit 1 ;; esac\n";
    w.declare(&[public("all", &["*.example.net"])], acme(&w, "dns-01", Some(failing)));
    let said = w.certificates("renew all");
    assert!(said.code == Some(1) && said.err.contains("the provider says no"), "{said:?}");
    assert_eq!(w.facts("all").dns_names.len(), 2, "the old one stays");
}
