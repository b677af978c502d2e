//! Ports, services that are exposed to nobody, what a service needs, and what the gateway's log says.

use managers::trace::declared::Need;
use managers::trace::leg::{Leg, Tcp};
use managers::trace::log::ProxyLog;
use managers::trace::{Hop, State, Target, path};

use super::bench::{Bench, STOPPED, behind, broken, ip, open, status};
use crate::support::SITE;

const NEEDS: &str = r#"{
  "containers": {
    "gateway": { "id": 101, "template": "debian-12", "address": "10.0.0.153", "features": ["nginx-gateway"] },
    "app": { "id": 120, "template": "debian-12", "address": "10.0.0.120", "needs": ["db", "bare"],
             "services": { "app": { "port": 8000, "expose": "gateway" }, "figures": { "port": 9000, "path": "/metrics", "status": 204 } } },
    "db": { "id": 130, "template": "debian-12", "address": "10.0.0.130", "features": ["shows"], "services": { "db": { "port": 5432, "protocol": "tcp" } } },
    "bare": { "id": 131, "template": "debian-12", "address": "10.0.0.131" }
  }
}"#;

fn bench() -> Bench {
    Bench::of(SITE, NEEDS)
}

#[test]
fn a_service_that_is_exposed_to_nobody() {
    let bench = bench();
    for text in ["service.db", "db", "DB"] {
        let found = bench.find(text);
        assert_eq!(found.target, Target::Unexposed("db".into()), "{text}");
        let entrance = found.entrance.as_ref().unwrap();
        assert_eq!(
            (entrance.guest.as_str(), entrance.address, entrance.port, &entrance.url),
            ("db", ip(130), 5432, &None)
        );
        let note = found.note.as_ref().unwrap();
        assert!(note.starts_with("service.db is exposed to nobody"), "{note}");
    }
    // The guest itself is meant by its own address.
    assert_eq!(bench.find("container.db").target, Target::Guest("db".into()));
    assert_eq!(bench.declared.needed_by("db").collect::<Vec<_>>(), ["app"]);
    let walk = bench.walk("app", "service.db", &bench.leg("service.db"), None);
    assert_eq!(walk.state(), State::Good, "{walk:#?}");
    assert_eq!(walk.findings[1].seen, "app → 10.0.0.130:5432 open, 1.0 ms");
    let refused = Leg { tcp: Some(Tcp::Refused), ..bench.leg("service.db") };
    let mut stopped = self::bench();
    stopped.change("db", |guest| {
        guest.nobody_listens();
        guest.trouble("app.service", STOPPED, "");
    });
    let walk = stopped.walk("app", "service.db", &refused, None);
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Tcp, "trace::unit-stopped"));
    // HTTP is asked for its path, and held against the status that it says.
    let figures = bench.find("figures");
    assert_eq!(
        figures.entrance.as_ref().unwrap().url.as_deref(),
        Some("http://app.guest.workshop.internal:9000/metrics")
    );
    let answers = |code| Leg { http: Some(status(code)), ..bench.leg("figures") };
    assert_eq!(bench.walk("gateway", "figures", &answers(204), None).state(), State::Good);
    assert_eq!(broken(&bench.walk("gateway", "figures", &answers(200), None)).2, "trace::http-status");
}

#[test]
fn a_name_with_a_port() {
    let bench = bench();
    let found = |text: &str| {
        let path = bench.find(text);
        let entrance = path.entrance.unwrap();
        (path.target, entrance.guest, entrance.address, entrance.port, entrance.url)
    };
    let db = (Target::Guest("db".into()), "db".to_owned(), ip(130), 5433, None);
    for text in ["container.db:5433", "db.workshop.internal:5433", "10.0.0.130:5433", "db:5433"] {
        assert_eq!(found(text), db, "{text}");
    }
    // The port of something that is declared is that.
    assert_eq!(found("container.db:5432").0, Target::Unexposed("db".into()));
    assert_eq!(found("app.workshop.internal:443").0, Target::Service("app".into()));
    assert_eq!(found("https://app.workshop.internal/x").0, Target::Service("app".into()));
    let straight = found("container.app:8000");
    assert_eq!(
        (straight.0, straight.4.as_deref()),
        (Target::Guest("app".into()), Some("http://app.guest.workshop.internal:8000/"))
    );
    // Another port of a service's name is one of its gateway's.
    let (target, guest, address, port, _) = found("app.workshop.internal:80");
    assert_eq!(
        (target, guest.as_str(), address, port),
        (Target::Guest("gateway".into()), "gateway", ip(153), 80)
    );
    assert_eq!(bench.find("10.0.0.130").target, Target::Guest("db".into()));
    for text in ["container.db:x", "db:0", "db:70000", "10.0.0.99:80", "example.com:443"] {
        let refused = path::find(&bench.desired, &bench.declared, text);
        assert_eq!(refused.unwrap_err().code, "trace::unknown", "{text}");
    }
    // Without a name there is none to ask for.
    let walk =
        bench.walk("app", "10.0.0.130:5433", &Leg { names: None, ..bench.leg("10.0.0.130:5433") }, None);
    assert_eq!((walk.state(), walk.findings[0].hop), (State::Good, Hop::Tcp), "{walk:#?}");
}

/// A service that answers 500 because what it needs is down: that is blamed.
#[test]
fn what_a_service_needs() {
    let mut bench = bench();
    let needs = bench.declared.needs["app"].clone();
    let need = |guest: &str, last, port| Need { guest: guest.into(), address: ip(last), port };
    assert_eq!(needs, [need("bare", 131, None), need("db", 130, Some(5432))]);
    let client = Leg { http: Some(status(500)), ..bench.leg("app") };
    let upstream = behind(open(), Some(status(500)));
    let walk = |bench: &Bench| bench.walk("outside", "app", &client, Some(&upstream));
    // Nobody has asked.
    assert_eq!(broken(&walk(&bench)).2, "trace::service-error");
    let met = |tcp: Tcp| vec![(needs[0].clone(), Leg::default()), (needs[1].clone(), behind(tcp, None))];
    bench.needs.insert("app".into(), met(open()));
    let found = walk(&bench);
    assert_eq!(broken(&found).2, "trace::service-error");
    assert!(
        broken(&found).3.ends_with("what it needs can be connected to (container.db:5432)"),
        "{found:#?}"
    );
    bench.needs.insert("app".into(), met(Tcp::Refused));
    bench.change("db", |guest| {
        guest.nobody_listens();
        guest.trouble("app.service", STOPPED, "");
    });
    let found = walk(&bench);
    let (hop, place, code, text) = broken(&found);
    assert_eq!((hop, place, code), (Hop::Http, "container.gateway", "trace::unit-stopped"));
    assert_eq!(
        text,
        "it needs container.db: app → 10.0.0.130:5432 connection refused: container.db runs; app.service was stopped 3 min ago"
    );
    let also: Vec<&str> = found.findings.last().unwrap().also.iter().map(|cause| cause.code).collect();
    assert_eq!(also, ["trace::service-error"]);
    // Of what has no port that anybody knows, the guest itself is looked at.
    bench.needs.insert("app".into(), met(open()));
    bench.looks.insert("bare".into(), managers::trace::look::Look::Stopped);
    assert_eq!(broken(&walk(&bench)).3, "it needs container.bare: container.bare is stopped");
}

#[test]
fn what_the_gateway_says_itself() {
    let guests = NEEDS.replace(
        r#""port": 8000, "expose": "gateway""#,
        r#""port": 8000, "expose": "gateway", "limits": { "headers": "128K" }"#,
    );
    for (guests, limit) in [(NEEDS, 64), (guests.as_str(), 128)] {
        let mut bench = Bench::of(SITE, guests);
        let said = "upstream sent too big header while reading response header from upstream";
        bench.log = ProxyLog::parse(&format!(
            "\u{1e}now\nnow 2026/11/28 16:40:05\n\u{1e}log\n2026/11/28 16:40:02 [error] 2410#2410: *7 {said}, client: 10.0.0.1, \
             server: app.workshop.internal, request: \"GET / HTTP/1.1\", upstream: \"http://10.0.0.120:8000/\", host: \"app.workshop.internal\"\n"
        ));
        let client = Leg { http: Some(status(502)), ..bench.leg("app") };
        let upstream = behind(open(), Some(status(200)));
        let walk = bench.walk("outside", "app", &client, Some(&upstream));
        let (_, _, code, text) = broken(&walk);
        assert_eq!(code, "trace::head-too-large");
        assert!(text.contains(&format!("more than the {limit} KiB")) && text.ends_with(said), "{text}");
        let hint = &walk.findings.last().unwrap().cause.as_ref().unwrap().hint;
        assert!(hint.starts_with(&format!("raise `limits.headers` of the service ({limit}K now")), "{hint}");
    }
}
