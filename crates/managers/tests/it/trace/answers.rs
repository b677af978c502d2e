//! What is answered, by whom.

use managers::trace::leg::{Http, Leg};
use managers::trace::{Hop, State};

use super::bench::{Bench, FAILED, GUESTS, behind, broken, open, status, weak};

fn answered(bench: &Bench, client: Http, service: Http) -> managers::trace::Walk {
    let leg = Leg { http: Some(client), ..bench.leg("notes") };
    bench.walk("outside", "notes", &leg, Some(&behind(open(), Some(service))))
}

#[test]
fn the_service_itself_is_not_well() {
    let bench = Bench::new();
    for (seen, code) in [
        (status(500), "trace::service-error"),
        (status(404), "trace::http-status"),
        (Http::Silent, "trace::service-silent"),
        (Http::Broken("Recv failure: Connection reset by peer".into()), "trace::http-broken"),
        (Http::WantsCertificate("alert certificate required".into()), "trace::service-wants-certificate"),
    ] {
        let walk = answered(&bench, status(502), seen);
        assert_eq!(
            (broken(&walk).0, broken(&walk).1, broken(&walk).2),
            (Hop::Http, "container.gateway", code)
        );
    }
    // Its unit says why.
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.trouble("nginx.service", FAILED, "worker process exited on signal 11 (core dumped) error");
    });
    let walk = answered(&bench, status(502), Http::Silent);
    assert_eq!(broken(&walk).2, "trace::unit-failed");
}

#[test]
fn the_proxy_itself_is_not_well() {
    let bench = Bench::new();
    let walk = answered(&bench, status(502), status(200));
    let (hop, place, code, text) = broken(&walk);
    assert_eq!((hop, place, code), (Hop::Http, "outside", "trace::proxy"));
    assert_eq!(
        text,
        "what is behind it answers as it should, so the 502 is of the gateway on container.gateway itself"
    );
    let walk = answered(&bench, Http::Silent, status(200));
    assert_eq!(broken(&walk).2, "trace::service-silent");
    let walk = answered(&bench, Http::Untrusted, status(200));
    assert_eq!(broken(&walk).2, "trace::not-trusted");
    // Whoever asks has a clock that is ahead, and takes a good certificate for one that is over.
    let mut late = Bench::new();
    late.change("status", |guest| guest.ahead = 3600.0);
    let leg = Leg { http: Some(Http::Untrusted), ..late.leg("notes") };
    let walk = late.walk("status", "notes", &leg, Some(&behind(open(), Some(status(200)))));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(
        (code, text),
        ("trace::clock", "the clock of container.status is 60 min ahead of this machine's")
    );
    let walk = answered(&bench, Http::WantsCertificate("certificate required".into()), status(200));
    assert_eq!(broken(&walk).2, "trace::service-wants-certificate");
}

/// What is kept for some is not taken for broken, and what is behind it is looked at all the same.
#[test]
fn what_asks_who_it_is() {
    let guests = GUESTS.replace(
        r#"{ "port": 80, "expose": "gateway" } } },
    "status""#,
        r#"{ "port": 80, "expose": "gateway", "access": { "basic": { "ann": { "env": "ANN" } } }, "limits": { "rate": "10/s" }, "bypass": true } } },
    "status""#,
    );
    assert_ne!(guests, GUESTS);
    let bench = Bench::of(crate::support::SITE, &guests);
    let walk = answered(&bench, status(401), status(200));
    assert_eq!(walk.state(), State::Good, "{walk:#?}");
    assert_eq!(walk.findings.last().unwrap().seen, "answers 401: asks who it is, as declared");
    let walk = answered(&bench, status(401), status(500));
    assert_eq!(broken(&walk).2, "trace::service-error");
    let walk = answered(&bench, status(503), status(200));
    assert_eq!(broken(&walk).2, "trace::rate");
    // Nobody declared it for the other.
    let leg = Leg { http: Some(status(401)), ..bench.leg("status") };
    let walk = bench.walk("outside", "status", &leg, Some(&behind(open(), Some(status(200)))));
    assert_eq!(broken(&walk).2, "trace::proxy");
}

#[test]
fn what_a_probe_wants() {
    let guests = GUESTS.replace(
        r#"{ "port": 80, "expose": "gateway" } } },
    "status""#,
        r#"{ "port": 80, "expose": "gateway", "path": "/up", "status": 204 } } },
    "status""#,
    );
    let bench = Bench::of(crate::support::SITE, &guests);
    let leg = Leg { http: Some(status(204)), ..bench.leg("notes") };
    assert_eq!(bench.walk("outside", "notes", &leg, None).state(), State::Good);
    assert_eq!(bench.path("notes").entrance.unwrap().url.unwrap(), "https://notes.workshop.internal/up");
    let walk = answered(&bench, status(200), status(200));
    assert_eq!(broken(&walk).2, "trace::http-status");
}

/// A place that lacks a program to ask with is no trouble of the service's.
#[test]
fn a_place_without_programs() {
    let bench = Bench::new();
    let mut leg = bench.leg("notes");
    leg.http = Some(Http::Lacking("openssl".into()));
    let walk = bench.walk("status", "notes", &leg, None);
    assert_eq!(walk.state(), State::Good);
    assert_eq!(walk.findings.last().unwrap().seen, "not asked: container.status has no openssl");
}

/// Something else in the guest failed: it is told, and is not what breaks.
#[test]
fn what_is_not_on_the_way() {
    let guests = GUESTS.replace(
        r#"[{ "static-site": { "root": "pages/" } }],
               "services": { "notes""#,
        r#"[{ "static-site": { "root": "pages/" } }, "shows"],
               "services": { "notes""#,
    );
    assert_ne!(guests, GUESTS);
    let mut bench = Bench::of(crate::support::SITE, &guests);
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.listens("0.0.0.0:80", "nginx", 5, Some("nginx.service"));
        guest.trouble("app.service", FAILED, "error: no configuration");
    });
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    let (hop, _, code, text) = weak(&walk);
    assert_eq!((hop, code), (Hop::Service, "trace::unit-failed"));
    assert!(text.contains("app.service failed"), "{text}");
}
