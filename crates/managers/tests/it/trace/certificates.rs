//! Handshakes and certificates: what is shown, what is on disk, whose clock is off, who could not renew.

use std::time::Duration;

use jiff::ToSpan as _;
use managers::trace::leg::{Leg, Tls};
use managers::trace::look::Look;
use managers::trace::{Hop, Walk};

use plan::desired::{Authority, Issuer};

use super::bench::{Bench, FAILED, GUESTS, broken, status, weak};

const NOTES: &str = "notes.workshop.internal";

fn names(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

/// A client to whom this is shown; it comes no further where that is bad.
fn shown(bench: &Bench, tls: Tls) -> Walk {
    let leg = Leg { tls: Some(tls), http: None, ..bench.leg("notes") };
    bench.walk("outside", "notes", &leg, None)
}

/// The same on disk and served.
fn both(bench: &mut Bench, chain: &str) -> Walk {
    bench.change("gateway", |guest| {
        drop(guest.certificates.insert("notes".into(), format!("key fits\n{chain}")));
    });
    shown(bench, Tls::Shown(chain.to_owned()))
}

const DAY: Duration = Duration::from_hours(24);

#[test]
fn expired() {
    let mut bench = Bench::new();
    let chain = bench.chain(&names(NOTES), bench.now - 240.hours(), DAY);
    let walk = both(&mut bench, &chain);
    let (hop, place, code, text) = broken(&walk);
    assert_eq!((hop, place, code), (Hop::Tls, "outside", "trace::certificate-expired"));
    assert_eq!(text, "it expired 9 days ago; Phoenix renews it when it applies");
    assert!(walk.findings.last().unwrap().seen.ends_with("it has expired"));
}

/// P-43: a certificate of another service in its place.
#[test]
fn swapped() {
    let mut bench = Bench::new();
    let chain = bench.chain_for(&names("status.workshop.internal"));
    let walk = both(&mut bench, &chain);
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::certificate-names");
    assert_eq!(
        text,
        "container.gateway has certificate.status in its place, which is for status.workshop.internal"
    );
    // Not read yet: it holds until the next restart.
    let good = bench.leg("notes");
    let walk = bench.walk("outside", "notes", &good, None);
    let (hop, _, code, text) = weak(&walk);
    assert_eq!((hop, code), (Hop::Tls, "trace::certificate-names"));
    assert!(
        text.starts_with("what is served is good until the next restart; on disk is another: "),
        "{text}"
    );
}

#[test]
fn by_somebody_else() {
    let mut bench = Bench::new();
    let other = Bench::new();
    let chain = other.chain_for(&names(NOTES));
    let walk = both(&mut bench, &chain);
    assert_eq!(broken(&walk).2, "trace::certificate-untrusted");
}

#[test]
fn missing_with_and_without_the_site() {
    let mut bench = Bench::new();
    bench.change("gateway", |guest| drop(guest.certificates.insert("notes".into(), String::new())));
    let missing = "/etc/phoenix/certificates/notes/fullchain.pem is not there in container.gateway, or is no certificate";
    // Nginx has read it before.
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    let (_, _, code, text) = weak(&walk);
    assert_eq!(code, "trace::certificate-missing");
    assert!(text.starts_with(missing) && text.ends_with("from memory until the next restart"), "{text}");
    // After a reload the site is put aside, for which that is the reason.
    bench.change("gateway", |guest| {
        guest.certificates.insert("notes".into(), String::new());
        guest.aside =
            "notes: cannot load certificate \"/etc/phoenix/certificates/notes/fullchain.pem\"\n".into();
    });
    let walk = shown(&bench, Tls::NoSuchSite);
    assert_eq!((broken(&walk).2, broken(&walk).3), ("trace::certificate-missing", missing));
    let hint = &walk.findings.last().unwrap().cause.as_ref().unwrap().hint;
    assert_eq!(hint, "phoenix-cli apply --again --target service.notes");
}

#[test]
fn a_key_of_another() {
    for (key, words) in [("key other", "belongs to another certificate"), ("key missing", "is not there")] {
        let mut bench = Bench::new();
        let chain = bench.chain_for(&names(NOTES));
        bench.change("gateway", |guest| {
            drop(guest.certificates.insert("notes".into(), format!("{key}\n{chain}")));
        });
        let walk = shown(&bench, Tls::NoSuchSite);
        let (_, _, code, text) = broken(&walk);
        assert_eq!(code, "trace::certificate-key");
        assert_eq!(text, format!("/etc/phoenix/certificates/notes/key.pem {words} in container.gateway"));
    }
}

/// P-41, S-12: renewed, and whoever serves it does not know.
#[test]
fn not_read_since_it_was_renewed() {
    let mut bench = Bench::new();
    let newer = bench.chain(&names(NOTES), bench.now - 1.hours(), 90 * DAY);
    bench.change("gateway", |guest| {
        drop(guest.certificates.insert("notes".into(), format!("key fits\n{newer}")));
    });
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    assert_eq!(weak(&walk).2, "trace::certificate-stale");
    // And what is served has expired meanwhile.
    let old = bench.chain(&names(NOTES), bench.now - 240.hours(), DAY);
    let walk = shown(&bench, Tls::Shown(old));
    assert_eq!(broken(&walk).2, "trace::certificate-stale");
    let hint = &walk.findings.last().unwrap().cause.as_ref().unwrap().hint;
    assert_eq!(hint, "phoenix-cli exec gateway -- systemctl reload nginx");
}

#[test]
fn a_clock_that_is_off() {
    let mut bench = Bench::new();
    let future = bench.chain(&names(NOTES), bench.now + 1.hours(), 90 * DAY);
    let walk = both(&mut bench, &future);
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::certificate-not-yet-valid");
    assert!(text.starts_with("it is valid in 55 min"), "{text}");
    // Whoever issued it is an hour ahead: it says so.
    bench.change("gateway", |guest| {
        guest.ahead = 3600.0;
        guest.certificates.insert("notes".into(), format!("key fits\n{future}"));
    });
    let walk = shown(&bench, Tls::Shown(future));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::clock");
    assert_eq!(
        text,
        "it is valid in 55 min; the clock of container.gateway is 60 min ahead of this machine's"
    );
    // The other way round: for us it has expired, for the guest it has not.
    let chain = bench.chain(&names(NOTES), bench.now - 25.hours(), DAY);
    bench.change("gateway", |guest| {
        guest.ahead = -7200.0;
        guest.certificates.insert("notes".into(), format!("key fits\n{chain}"));
    });
    let walk = shown(&bench, Tls::Shown(chain));
    let (_, _, code, text) = broken(&walk);
    assert_eq!((code, text), ("trace::clock", "the clock of container.gateway is 2 h behind this machine's"));
}

/// S-14: what renews itself and could not: because the authority is down, or for a reason of its own.
#[test]
fn what_could_not_renew_itself() {
    let guests = GUESTS.replace(
        r#""containers": {"#,
        r#""containers": { "ca": { "id": 103, "type": "small", "address": "10.0.0.10", "features": ["a-ca"] },"#,
    );
    let workshop = || {
        let mut bench = Bench::of(crate::support::SITE, &guests);
        // As wiring does it for an authority in a guest.
        bench.desired.certificates.values_mut().for_each(|c| c.issuer = Issuer::StepCa);
        bench.desired.authority = Some(Authority {
            on: "ca".into(),
            host: "ca.workshop.internal".into(),
            url: "https://ca.workshop.internal".into(),
            domain: "workshop.internal".parse().unwrap(),
            life: 90 * DAY,
            fingerprint: String::new(),
        });
        let chain = bench.chain(&names(NOTES), bench.now - 25.hours(), DAY);
        bench.change("gateway", |guest| {
            guest.certificates.insert("notes".into(), format!("key fits\n{chain}"));
            guest.renewals = "{\"name\":\"notes\",\"failures\":4,\"error\":\"https://ca.workshop.internal did not answer within 60 s\"}\n".into();
        });
        (bench, chain)
    };
    let (mut bench, chain) = workshop();
    bench.looks.insert("ca".into(), Look::Stopped);
    let walk = shown(&bench, Tls::Shown(chain));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::ca-down");
    assert!(text.ends_with("because the authority does not answer: container.ca is stopped"), "{text}");

    let (mut bench, chain) = workshop();
    bench.change("ca", |guest| {
        guest.trouble("step-ca.service", FAILED, "error opening database: Value log truncate required");
    });
    let walk = shown(&bench, Tls::Shown(chain));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::ca-down");
    assert!(text.ends_with("error opening database: Value log truncate required"), "S-13: {text}");

    let (bench, chain) = workshop();
    let walk = shown(&bench, Tls::Shown(chain));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::renewal-failed");
    assert!(text.contains("did not answer within 60 s"), "{text}");

    let (mut bench, chain) = workshop();
    bench.change("gateway", |guest| {
        drop(guest.certificates.insert("notes".into(), format!("key fits\n{chain}")));
    });
    assert_eq!(broken(&shown(&bench, Tls::Shown(chain))).2, "trace::certificate-expired");
}

#[test]
fn a_site_that_is_not_served() {
    let mut bench = Bench::new();
    bench.change("gateway", |guest| {
        guest.aside = "notes: 2026/11/24 17:44:59 [emerg] 3208#3208: unknown directive \"garbage\" in /etc/nginx/phoenix.d/notes.conf:1\n\
                       nginx: configuration file /etc/nginx/nginx.conf test failed\n"
            .into();
    });
    let walk = shown(&bench, Tls::NoSuchSite);
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::site-aside");
    assert_eq!(
        text,
        "the gateway put the file of service.notes aside: unknown directive \"garbage\" in /etc/nginx/phoenix.d/notes.conf:1"
    );
    // An older Nginx shows the certificate of another site instead, or all seems well at first.
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Proxy, "trace::site-aside"));
    let bench = Bench::new();
    assert_eq!(broken(&shown(&bench, Tls::NoSuchSite)).2, "trace::site-missing");
}

#[test]
fn who_answers_is_not_the_gateway() {
    let mut bench = Bench::new();
    bench.change("gateway", |guest| {
        guest.nobody_listens();
        guest.listens("0.0.0.0:443", "python3", 77, None);
        guest.trouble(
            "nginx.service",
            FAILED,
            "nginx: [emerg] bind() to 0.0.0.0:443 failed (98: Address already in use)",
        );
    });
    for tls in [Tls::Plain, Tls::Silent, Tls::Failed("unexpected eof while reading".into()), Tls::NoSuchSite]
    {
        let walk = shown(&bench, tls);
        assert_eq!(broken(&walk).2, "trace::port-taken", "{walk:#?}");
    }
    let bench = Bench::new();
    for tls in [Tls::Plain, Tls::Silent, Tls::Failed("internal error".into())] {
        assert_eq!(broken(&shown(&bench, tls)).2, "trace::tls");
    }
}

const TLS_BACKEND: &str = r#"{
  "containers": {
    "gateway": { "id": 101, "template": "debian-12", "address": "10.0.0.153", "features": ["nginx-gateway"] },
    "vault": { "id": 122, "template": "debian-12", "address": "10.0.0.122", "features": ["shows"],
               "services": { "vault": { "port": 8443, "protocol": "https", "expose": "gateway" } } }
  }
}"#;

/// The same is seen behind the proxy: it verifies the guest's own name.
#[test]
fn behind_the_proxy() {
    let bench = Bench::of(crate::support::SITE, TLS_BACKEND);
    let mut leg = bench.leg("vault");
    leg.http = Some(status(502));
    let behind = |chain: String| Leg {
        tls: Some(Tls::Shown(chain)),
        ..super::bench::behind(super::bench::open(), None)
    };
    let wrong = bench.chain_for(&names("vault.workshop.internal"));
    let walk = bench.walk("outside", "vault", &leg, Some(&behind(wrong)));
    let (hop, place, code, _) = broken(&walk);
    // The one on disk is right: it has not been read.
    assert_eq!((hop, place, code), (Hop::Tls, "container.gateway", "trace::certificate-stale"));
    let good = bench.chain_for(&names("vault.guest.workshop.internal"));
    let mut upstream = behind(good);
    upstream.http = Some(status(200));
    let walk = bench.walk("outside", "vault", &leg, Some(&upstream));
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Http, "trace::proxy"));
}
