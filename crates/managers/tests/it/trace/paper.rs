//! The walk on paper: what cannot work is an error of the blueprint, before anything is built.

use managers::trace::paper::{Problem, check};

use super::bench::{Bench, GUESTS, ip, site_with};
use crate::support::SITE;

fn problems(bench: &Bench) -> Vec<String> {
    check(&bench.desired)
        .iter()
        .map(|Problem { address, message, .. }| format!("{address}: {message}"))
        .collect()
}

#[test]
fn the_first_workshop_works_on_paper() {
    assert_eq!(problems(&Bench::new()), Vec::<String>::new());
    let guarded = site_with(r#""firewall": { "zero-trust": true, "management": ["10.0.0.0/24"] }"#);
    assert_eq!(problems(&Bench::of(&guarded, GUESTS)), Vec::<String>::new());
}

/// F-7: a workshop with two front doors. Each serves its own services, and has what they need.
#[test]
fn a_second_gateway_serves_its_own_services() {
    let second = GUESTS
        .replace(
            r#""notes": { "id""#,
            r#""second": { "id": 102, "type": "small", "address": "10.0.0.154", "features": ["nginx-gateway"] },
               "notes": { "id""#,
        )
        .replace(r#""notes": { "port": 80, "expose": "gateway""#, r#""notes": { "port": 80, "expose": "gateway", "gateway": "gateway""#)
        .replace(r#""status": { "port": 80, "expose": "gateway""#, r#""status": { "port": 80, "expose": "gateway", "gateway": "second""#);
    let guarded = site_with(r#""firewall": { "zero-trust": true, "management": ["10.0.0.0/24"] }"#);
    let bench = Bench::of(&guarded, &second);
    assert_eq!(problems(&bench), Vec::<String>::new());
    let serves = |guest: &str, file: &str| {
        let features = &bench.desired.guests[guest].features;
        features.iter().any(|f| f.payload.to_string().contains(&format!("phoenix.d/{file}.conf")))
    };
    assert!(serves("gateway", "notes") && !serves("gateway", "status"));
    assert!(serves("second", "status") && !serves("second", "notes"));
    assert_eq!(bench.desired.names["status.workshop.internal"], ip(154));
    assert_eq!(bench.desired.names["notes.workshop.internal"], ip(153));
    assert!(bench.desired.certificates["status"].on.is_guest("second"));
}

const TWO_NETWORKS: &str = r#"{
  "site": { "name": "workshop", "domain": "workshop.internal" },
  "target": { "proxmox": { "endpoint": "https://10.0.0.13:8006", "token": { "env": "TOKEN" }, "ssh": "root@10.0.0.13" } },
  "networks": {
    "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" },
    "back": { "bridge": "vmbr1", "subnet": "10.1.0.0/24"@ROUTER@ }
  }
}"#;

const APART: &str = r#"{
  "containers": {
    "gateway": { "id": 101, "template": "debian-12", "network": "lan", "address": "10.0.0.153", "features": ["nginx-gateway"] },
    "notes": { "id": 120, "template": "debian-12", "network": "back", "address": "10.1.0.120",
               "services": { "notes": { "port": 80, "expose": "gateway" } } }
  }
}"#;

/// P-66: a backend in a network that nothing leads to or from.
#[test]
fn networks_that_do_not_meet() {
    let apart = Bench::of(&TWO_NETWORKS.replace("@ROUTER@", ""), APART);
    assert_eq!(
        problems(&apart),
        ["service.notes: route: there is no way between container.gateway and container.notes"]
    );
    let routed = Bench::of(&TWO_NETWORKS.replace("@ROUTER@", r#", "gateway": "10.1.0.1""#), APART);
    assert_eq!(problems(&routed), Vec::<String>::new());
}

/// P-59: a hop that no flow lets through.
#[test]
fn flows_that_are_missing() {
    let guarded = site_with(r#""firewall": { "zero-trust": true, "management": ["10.0.0.0/24"] }"#);
    let mut bench = Bench::of(&guarded, GUESTS);
    bench.desired.flows.retain(|flow| flow.id != "service.notes");
    let found = problems(&bench);
    assert_eq!(
        found,
        ["service.notes: firewall: no flow lets container.gateway come to container.notes at port 80"]
    );
    bench.desired.flows.retain(|flow| flow.id != "gateway.outside");
    assert_eq!(problems(&bench).len(), 3, "both services are cut off from outside");
    // Where guests may talk among themselves, only what comes from outside needs a flow.
    bench.desired.firewall.as_mut().unwrap().zero_trust = false;
    assert_eq!(problems(&bench).len(), 2);
    bench.desired.firewall = None;
    assert_eq!(problems(&bench), Vec::<String>::new());
}

/// P-43, P-44, P-55.
#[test]
fn names_and_certificates_that_do_not_fit() {
    let mut bench = Bench::new();
    bench.desired.names.insert("notes.workshop.internal".into(), ip(99));
    bench.desired.outside_names.remove("notes.workshop.internal");
    bench.desired.certificates.remove("status");
    let found = problems(&bench);
    assert_eq!(
        found,
        [
            "service.notes: dns: inside notes.workshop.internal means 10.0.0.99, and what serves it is at 10.0.0.153",
            "service.notes: dns: outside notes.workshop.internal is not known, and what serves it is at 10.0.0.153",
            "service.status: tls: the gateway has no certificate for status.workshop.internal",
        ]
    );
}

/// P-43: whoever comes straight to a guest asks for the service's name, and the guest's certificate is for that one, too.
#[test]
fn a_direct_service_over_tls_has_its_names() {
    let guests = r#"{
      "containers": {
        "vault": { "id": 122, "template": "debian-12", "address": "10.0.0.122", "features": ["shows"],
                   "services": { "vault": { "port": 8443, "protocol": "https", "expose": "direct", "aliases": ["safe"] } } }
      }
    }"#;
    let bench = Bench::of(SITE, guests);
    assert_eq!(problems(&bench), Vec::<String>::new());
    let own = &bench.desired.certificates["vault.guest"];
    assert_eq!(
        own.names,
        ["vault.guest.workshop.internal", "vault.workshop.internal", "safe.workshop.internal"]
    );
    let path = bench.path("safe.workshop.internal");
    assert_eq!(path.entrance.unwrap().url.unwrap(), "https://safe.workshop.internal:8443/");
}

/// S-11: what is known not to work together is refused when the blueprint is read.
#[test]
fn versions_that_do_not_go_together() {
    let mut bench = Bench::new();
    let gateway = bench.desired.guests.get_mut("gateway").unwrap();
    let feature = gateway.features.iter_mut().find(|f| f.name == "nginx-gateway").unwrap();
    let mut payload = serde_json::Value::clone(&feature.payload);
    payload["artifacts"] = serde_json::json!([
        { "name": "traefik", "version": "3.6.0", "path": "/usr/local/bin/traefik", "pin": "0" },
        { "name": "docker", "version": "29.0.1", "path": "/usr/local/bin/dockerd", "pin": "0" },
    ]);
    feature.payload = std::sync::Arc::new(payload);
    let found = problems(&bench);
    assert_eq!(found.len(), 1, "{found:?}");
    let begin =
        "feature.nginx-gateway@container.gateway: versions: traefik 3.6.0 does not work with docker 29.0.1: ";
    assert!(found[0].starts_with(begin), "{found:?}");
}
