//! What names mean, and who says so.

use managers::trace::leg::{Leg, Names};
use managers::trace::look::Look;
use managers::trace::question::Reply;
use managers::trace::{Hop, State, Target, Walk, path};

use super::bench::{Bench, FAILED, GUESTS, broken, ip, site_with};
use crate::support::SITE;

fn leg_with_names(addresses: &[u8], server: Option<(u8, Reply)>) -> Leg {
    let names = Names {
        addresses: addresses.iter().map(|last| ip(*last)).collect(),
        server: server.map(|(last, reply)| (ip(last), reply)),
        ..Names::default()
    };
    Leg { names: Some(names), ..Leg::default() }
}

fn from_status(bench: &Bench, leg: &Leg) -> Walk {
    bench.walk("status", "notes", leg, None)
}

fn with_name_server() -> Bench {
    let guests = GUESTS.replace(
        r#""containers": {"#,
        r#""containers": { "dns": { "id": 102, "type": "small", "address": "10.0.0.2", "features": ["a-dns"] },"#,
    );
    Bench::of(SITE, &guests)
}

#[test]
fn a_line_that_somebody_wrote() {
    let mut bench = Bench::new();
    bench.change("status", |guest| {
        guest.hosts =
            format!("127.0.0.1 localhost\n10.0.0.99 notes.workshop.internal # mine\n{}", guest.hosts);
    });
    let walk = from_status(&bench, &leg_with_names(&[99], None));
    let (hop, place, code, text) = broken(&walk);
    assert_eq!((hop, place, code), (Hop::Dns, "container.status", "trace::dns-wrong"));
    assert_eq!(text, "line 2 of /etc/hosts says so, which somebody wrote by hand");
    let last = walk.findings.last().unwrap();
    assert_eq!(last.seen, "10.0.0.99, where 10.0.0.153 is meant");
    assert_eq!(last.cause.as_ref().unwrap().hint, "phoenix-cli exec status -- sed -i 2d /etc/hosts");
}

#[test]
fn lines_of_phoenix_and_of_proxmox() {
    let mut bench = Bench::new();
    bench.change("status", |guest| guest.hosts = guest.hosts.replace("10.0.0.153 notes", "10.0.0.154 notes"));
    let walk = from_status(&bench, &leg_with_names(&[154], None));
    assert!(broken(&walk).3.ends_with("which Phoenix wrote for an earlier blueprint"), "{walk:#?}");
    // P-55: a guest that is called like a service is that service to itself.
    bench.change("notes", |guest| {
        guest.hosts =
            "# --- BEGIN PVE ---\n10.0.0.120 notes.workshop.internal notes\n# --- END PVE ---\n".into();
    });
    let walk = bench.walk("notes", "notes", &leg_with_names(&[120], None), None);
    assert!(broken(&walk).3.contains("Proxmox VE"), "{walk:#?}");
}

#[test]
fn a_name_that_is_not_told() {
    let mut bench = Bench::new();
    bench.change("status", |guest| guest.hosts = "127.0.0.1 localhost\n".into());
    for server in [None, Some((53, Reply::NoSuchName)), Some((53, Reply::Silent))] {
        let walk = from_status(&bench, &leg_with_names(&[], server));
        assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Dns, "trace::dns-missing"));
    }
}

#[test]
fn the_name_server() {
    let mut bench = with_name_server();
    let good = bench.walk("status", "notes", &bench.leg("notes"), None);
    assert_eq!(good.state(), State::Good, "{good:#?}");
    // A guest may still have lines in /etc/hosts; without them it is the name server who speaks.
    bench.change("status", |guest| guest.hosts.clear());
    let walk = bench.walk("status", "notes", &bench.leg("notes"), None);
    assert_eq!(walk.findings[0].seen, "10.0.0.153  (name server on container.dns, 2.0 ms)");

    // Its records are wrong, or one is missing.
    let walk = from_status(&bench, &leg_with_names(&[77], Some((2, Reply::Addresses(vec![ip(77)])))));
    assert_eq!(broken(&walk).2, "trace::dns-wrong");
    assert!(
        broken(&walk).3.starts_with("the workshop's name server on container.dns says so (10.0.0.77)"),
        "{walk:#?}"
    );
    let walk = from_status(&bench, &leg_with_names(&[], Some((2, Reply::NoSuchName))));
    assert_eq!(broken(&walk).2, "trace::dns-missing");
    // Somebody else is asked.
    let walk = from_status(&bench, &leg_with_names(&[], Some((53, Reply::NoSuchName))));
    assert_eq!(broken(&walk).2, "trace::dns-resolver");

    // It is down: its guest, its unit, or nobody knows.
    for silent in [Reply::Silent, Reply::Refused("connection refused".into())] {
        let mut bench = with_name_server();
        bench.change("status", |guest| guest.hosts.clear());
        let leg = leg_with_names(&[], Some((2, silent)));
        assert_eq!(broken(&from_status(&bench, &leg)).2, "trace::dns-down");
        bench.change("dns", |guest| {
            guest.trouble("dnsmasq.service", FAILED, "dnsmasq: failed to create listening socket");
        });
        let walk = from_status(&bench, &leg);
        assert_eq!(broken(&walk).2, "trace::dns-down");
        assert!(broken(&walk).3.ends_with("failed to create listening socket"), "{walk:#?}");
        bench.looks.insert("dns".into(), Look::Stopped);
        for from in ["status", "outside"] {
            let walk = bench.walk(from, "notes", &leg, None);
            assert_eq!((broken(&walk).2, broken(&walk).3), ("trace::dns-down", "container.dns is stopped"));
        }
    }
}

#[test]
fn a_firewall_before_the_name_server() {
    let guests = GUESTS.replace(
        r#""containers": {"#,
        r#""containers": { "dns": { "id": 102, "type": "small", "address": "10.0.0.2", "features": ["a-dns"] },"#,
    );
    let mut bench = Bench::of(
        &site_with(r#""firewall": { "zero-trust": true, "management": ["10.0.0.0/24"] }"#),
        &guests,
    );
    bench.change("status", |guest| guest.hosts.clear());
    let silent = leg_with_names(&[], Some((2, Reply::Silent)));
    bench.rules.files.insert("102.fw".into(), "[RULES]\nIN DROP -p udp -dport 53\n".into());
    let walk = from_status(&bench, &silent);
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Firewall, "trace::rule-drops"));
    bench.desired.flows.retain(|flow| !flow.id.starts_with("dns.inside"));
    let walk = from_status(&bench, &silent);
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Firewall, "trace::no-flow"));
}

#[test]
fn outside_without_a_name_server_names_are_not_asked_for() {
    let bench = Bench::new();
    let leg = Leg { names: None, ..bench.leg("notes") };
    let walk = bench.walk("outside", "notes", &leg, None);
    assert_eq!(walk.state(), State::Good);
    assert!(walk.findings[0].seen.contains("as declared"), "{walk:#?}");
}

#[test]
fn names_that_nothing_has() {
    let bench = Bench::new();
    for from in ["outside", "status"] {
        let walk = bench.walk(from, "nots.workshop.internal", &leg_with_names(&[], None), None);
        assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Dns, "trace::no-such-name"));
        let hint = &walk.findings.last().unwrap().cause.as_ref().unwrap().hint;
        assert_eq!(hint, "there are: notes.workshop.internal, status.workshop.internal");
    }
}

const MESH: &str = r#"{
  "containers": {
    "gateway": { "id": 101, "template": "debian-12", "address": "10.0.0.153", "features": ["nginx-gateway"] },
    "mesh": { "id": 104, "template": "debian-12", "address": "10.0.0.154", "features": ["a-mesh"] },
    "inner": { "id": 130, "template": "debian-12", "address": "10.0.0.130",
               "services": { "inner": { "port": 8080, "expose": "mesh" }, "db": { "port": 5432, "protocol": "tcp", "expose": "direct" } } }
  }
}"#;

#[test]
fn what_a_person_may_call_things() {
    let bench = Bench::of(SITE, MESH);
    let target = |text: &str| path(&bench.desired, text).map(|p| (p.target, p.name)).map_err(|f| f.code);
    let inner = Ok((Target::Service("inner".into()), "inner.workshop.internal".to_owned()));
    for text in [
        "inner",
        "service.inner",
        "inner.workshop.internal",
        "INNER.workshop.internal.",
        "https://inner.workshop.internal/x?y",
    ] {
        assert_eq!(target(text), inner, "{text}");
    }
    let gateway = Ok((Target::Guest("gateway".into()), "gateway.workshop.internal".to_owned()));
    for text in ["gateway", "container.gateway", "gateway.workshop.internal"] {
        assert_eq!(target(text), gateway, "{text}");
    }
    // The guest, and not the service of the same name.
    assert_eq!(target("container.inner").unwrap().0, Target::Guest("inner".into()));
    assert_eq!(target("what.workshop.internal").unwrap().0, Target::Nothing);
    for text in ["example.com", "service.nope", "container.nope", "", "https://"] {
        assert_eq!(target(text), Err("trace::unknown".to_owned()), "{text}");
    }
    // The mesh is for guests; what is direct has no proxy, and no TLS that Phoenix knows of.
    let mesh = path(&bench.desired, "inner").unwrap();
    assert_eq!((mesh.outside, mesh.entrance.as_ref().unwrap().guest.as_str()), (None, "mesh"));
    let walk = bench.walk("outside", "inner", &leg_with_names(&[], None), None);
    assert_eq!(broken(&walk).2, "trace::not-outside");
    let db = path(&bench.desired, "db").unwrap();
    assert!(
        db.upstream.is_none() && !db.entrance.as_ref().unwrap().tls && db.entrance.unwrap().url.is_none()
    );
    let walk = bench.walk("gateway", "db", &bench.leg("db"), None);
    assert_eq!(walk.state(), State::Good, "{walk:#?}");
}
