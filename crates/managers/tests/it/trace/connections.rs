//! The way, the connection, and what the far end says about itself.

use std::time::Duration;

use managers::trace::leg::{Leg, Tcp};
use managers::trace::look::Look;
use managers::trace::{Hop, State};

use super::bench::{Bench, FAILED, GUESTS, STOPPED, behind, broken, open, site_with, status, weak};

const SECONDS: Duration = Duration::from_secs(4);

/// Through the gateway, which answers 502, and this is what it meets.
fn backend(bench: &Bench, upstream: &Leg) -> managers::trace::Walk {
    let mut leg = bench.leg("notes");
    leg.http = Some(status(502));
    bench.walk("outside", "notes", &leg, Some(upstream))
}

#[test]
fn all_is_well() {
    let bench = Bench::new();
    for from in ["outside", "gateway", "status"] {
        let walk = bench.walk(from, "notes.workshop.internal", &bench.leg("notes"), None);
        assert_eq!(walk.state(), State::Good, "{walk:#?}");
        let hops: Vec<Hop> = walk.findings.iter().map(|f| f.hop).collect();
        assert_eq!(hops, [Hop::Dns, Hop::Tcp, Hop::Tls, Hop::Service, Hop::Http]);
    }
    let seen: Vec<String> = bench
        .walk("status", "notes", &bench.leg("notes"), None)
        .findings
        .into_iter()
        .map(|f| f.seen)
        .collect();
    assert!(seen[0].starts_with("10.0.0.153  (line ") && seen[0].contains("/etc/hosts"), "{seen:?}");
    assert_eq!(seen[1], "status → 10.0.0.153:443 open, 1.0 ms");
    assert_eq!(
        seen[2],
        "notes.workshop.internal, by Phoenix workshop Intermediate CA, 89 days left, the same as on disk"
    );
    assert_eq!(seen[3], "container.notes is up for 2 h; nginx.service active for 3 min");
    assert_eq!(seen[4], "answers 200 in 4.0 ms");
}

/// The sketch: the gateway is well, and what is behind it is not; its own words say why.
#[test]
fn a_backend_whose_unit_failed() {
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.trouble(
            "nginx.service",
            FAILED,
            "Starting nginx.service - A web server...\nnginx: [emerg] bind() to 0.0.0.0:80 failed (99: Cannot assign requested address)\n\
             nginx.service: Failed with result 'exit-code'.",
        );
    });
    let walk = backend(&bench, &behind(Tcp::Refused, None));
    assert_eq!(
        broken(&walk),
        (
            Hop::Tcp,
            "container.gateway",
            "trace::unit-failed",
            "container.notes runs; nginx.service failed 3 min ago: bind() to 0.0.0.0:80 failed (99: Cannot assign requested address)"
        )
    );
    let last = walk.findings.last().unwrap();
    assert_eq!(last.seen, "gateway → 10.0.0.120:80 connection refused");
    assert!(
        last.cause
            .as_ref()
            .unwrap()
            .hint
            .starts_with("phoenix-cli logs notes --unit nginx, then phoenix-cli apply")
    );
}

#[test]
fn a_backend_whose_unit_was_stopped() {
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.trouble("nginx.service", STOPPED, "");
    });
    let walk = backend(&bench, &behind(Tcp::Refused, None));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(
        (code, text),
        ("trace::unit-stopped", "container.notes runs; nginx.service was stopped 3 min ago")
    );
    assert_eq!(
        walk.findings.last().unwrap().cause.as_ref().unwrap().hint,
        "phoenix-cli exec notes -- systemctl start nginx.service"
    );
}

#[test]
fn a_unit_that_fails_again_and_again_or_for_want_of_memory() {
    for (state, words) in [
        (
            "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code",
            "fails again and again: panic: x",
        ),
        (
            "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=oom-kill",
            "because memory ran out: panic: x",
        ),
        (
            "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success",
            "is not installed in it",
        ),
    ] {
        let mut bench = Bench::new();
        bench.change("notes", |guest| {
            guest.nobody_listens();
            guest.trouble("nginx.service", state, "panic: x");
        });
        let walk = backend(&bench, &behind(Tcp::Refused, None));
        assert!(broken(&walk).3.contains(words), "{walk:#?}");
    }
}

#[test]
fn a_guest_that_does_not_run() {
    for (look, code) in [
        (Look::Missing, "trace::guest-missing"),
        (Look::Stopped, "trace::guest-stopped"),
        (Look::Hangs, "trace::guest-hangs"),
    ] {
        for seen in [Tcp::Unreachable(Duration::from_millis(3070)), Tcp::Silent(SECONDS), Tcp::Refused] {
            let mut bench = Bench::new();
            bench.looks.insert("notes".into(), look.clone());
            let walk = backend(&bench, &behind(seen, None));
            let (hop, place, found, _) = broken(&walk);
            assert_eq!((hop, place, found), (Hop::Tcp, "container.gateway", code));
            // The gateway itself.
            let mut bench = Bench::new();
            bench.looks.insert("gateway".into(), look.clone());
            let mut leg = bench.leg("notes");
            (leg.tcp, leg.tls, leg.http) = (Some(Tcp::Silent(SECONDS)), None, None);
            assert_eq!(broken(&bench.walk("outside", "notes", &leg, None)).2, code);
        }
    }
}

/// Whoever cannot be asked from is the trouble itself.
#[test]
fn a_place_that_does_not_run() {
    let mut bench = Bench::new();
    bench.looks.insert("status".into(), Look::Stopped);
    let walk = bench.walk("status", "notes", &Leg::lost("no connection to container 121"), None);
    let (_, place, code, text) = broken(&walk);
    assert_eq!(
        (place, code, text),
        ("container.status", "trace::guest-stopped", "container.status is stopped")
    );
    bench.looks.remove("status");
    let walk = bench.walk("status", "notes", &Leg::lost("the connection broke"), None);
    assert_eq!(broken(&walk).2, "trace::cannot-ask");
}

#[test]
fn a_port_that_somebody_else_has() {
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.listens("0.0.0.0:80", "perl", 1910, None);
        guest.trouble(
            "nginx.service",
            FAILED,
            "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)",
        );
    });
    let taken = "container.notes runs; port 80 is taken by perl (process 1910, of no unit), and nginx.service cannot have it";
    // It answers nonsense, or nothing, or something that looks well.
    let nonsense =
        behind(open(), Some(managers::trace::leg::Http::Broken("Received HTTP/0.9 when not allowed".into())));
    assert_eq!(broken(&backend(&bench, &nonsense)).3, taken);
    assert_eq!(broken(&backend(&bench, &behind(open(), Some(status(404))))).3, taken);
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    assert_eq!(broken(&walk), (Hop::Service, "container.notes", "trace::port-taken", taken));
    let hint = &walk.findings.last().unwrap().cause.as_ref().unwrap().hint;
    assert_eq!(
        hint,
        "phoenix-cli exec notes -- kill 1910; phoenix-cli exec notes -- systemctl restart nginx.service"
    );
    // A unit is disabled, not killed.
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.listens("*:80", "apache2", 7, Some("apache2.service"));
        guest.trouble("nginx.service", FAILED, "");
    });
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    assert!(
        walk.findings
            .last()
            .unwrap()
            .cause
            .as_ref()
            .unwrap()
            .hint
            .contains("systemctl disable --now apache2.service")
    );
}

#[test]
fn a_full_disk() {
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.disk_left = 0;
        guest.nobody_listens();
        guest.trouble(
            "nginx.service",
            FAILED,
            "nginx: [emerg] open() \"/run/nginx.pid\" failed (28: No space left on device)",
        );
    });
    let walk = backend(&bench, &behind(Tcp::Refused, None));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::disk-full");
    assert!(
        text.starts_with("the disk of container.notes is full: 0 MiB left; nginx.service failed"),
        "{text}"
    );
    // What guards a program's data stops it before there is nothing left.
    let mut guarded = Bench::new();
    guarded.change("notes", |guest| {
        guest.disk_left = 60_000;
        guest.nobody_listens();
        guest.trouble("nginx.service", STOPPED, "");
    });
    let walk = backend(&guarded, &behind(Tcp::Refused, None));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::disk-full");
    assert!(text.contains("58 MiB left; nginx.service was stopped"), "{text}");
    // It still answers: for now.
    bench.change("notes", |guest| guest.disk_left = 1000);
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    assert_eq!(weak(&walk).2, "trace::disk-full");
}

#[test]
fn a_service_that_listens_for_itself_alone_or_nowhere() {
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.listens("127.0.0.1:80", "python3", 5, Some("nginx.service"));
    });
    let walk = backend(&bench, &behind(Tcp::Refused, None));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(
        (code, text),
        ("trace::listens-elsewhere", "python3 of container.notes listens at 127.0.0.1:80 only")
    );
    bench.change("notes", |guest| {
        guest.nobody_listens();
        guest.listens("0.0.0.0:8080", "python3", 5, Some("nginx.service"));
    });
    let walk = backend(&bench, &behind(Tcp::Refused, None));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(code, "trace::refused");
    assert!(text.ends_with("nothing listens at port 80; what listens: python3 at 8080"), "{text}");
}

const GUARDED: &str = r#""firewall": { "zero-trust": true, "management": ["10.0.0.0/24"] }"#;

fn guarded() -> Bench {
    let mut bench = Bench::of(&site_with(GUARDED), GUESTS);
    for container in bench.desired.guests.values() {
        let rules: String = bench
            .desired
            .flows
            .iter()
            .filter(|f| f.to == plan::desired::End::Host(container.host()))
            .map(|f| {
                format!(
                    "IN ACCEPT -p {} -dport {} # phoenix:workshop:{}\n",
                    f.protocol.as_str(),
                    f.ports[0],
                    f.id
                )
            })
            .collect();
        let file = format!("[OPTIONS]\nenable: 1\n\n[RULES]\n{rules}");
        bench.rules.files.insert(format!("{}.fw", container.id), file);
    }
    bench.rules.files.insert("cluster.fw".into(), "[OPTIONS]\nenable: 1\n".into());
    bench
}

/// P-59: what a firewall drops is told apart from what nobody answers.
#[test]
fn firewalls() {
    let bench = guarded();
    let walk = bench.walk("status", "notes", &bench.leg("notes"), None);
    assert_eq!(walk.state(), State::Good);
    assert!(
        walk.findings[1].seen.contains("allowed by flow gateway.inside (inside → container.gateway)"),
        "{walk:#?}"
    );

    // One rule too few.
    let mut bench = guarded();
    let file = bench.rules.files.get_mut("120.fw").unwrap();
    *file = file.lines().filter(|l| !l.ends_with(":service.notes")).collect::<Vec<_>>().join("\n");
    let walk = backend(&bench, &behind(Tcp::Silent(SECONDS), None));
    let (hop, _, code, text) = broken(&walk);
    assert_eq!((hop, code), (Hop::Firewall, "trace::rule-missing"));
    assert!(text.contains("flow service.notes") && text.contains("120.fw"), "{text}");

    // One too many.
    let mut bench = guarded();
    let file = bench.rules.files.get_mut("120.fw").unwrap();
    *file = file.replace("[RULES]\n", "[RULES]\nIN DROP -p tcp -dport 80\n");
    let walk = backend(&bench, &behind(Tcp::Silent(SECONDS), None));
    let (hop, _, code, text) = broken(&walk);
    assert_eq!((hop, code), (Hop::Firewall, "trace::rule-drops"));
    assert!(text.ends_with("120.fw keeps it out of container.notes: IN DROP -p tcp -dport 80"), "{text}");

    // The same on the other end, where it is sent.
    let sender = |change: fn(&str) -> String| {
        let mut bench = guarded();
        bench.desired.firewall.as_mut().unwrap().zero_trust = true;
        let id = bench.desired.guests["gateway"].id;
        let file = bench.rules.files.get_mut(&format!("{id}.fw")).unwrap();
        *file = change(&format!(
            "{file}\nOUT ACCEPT -dest 10.0.0.120 -p tcp -dport 80 # phoenix:workshop:service.notes\n"
        ));
        let walk = backend(&bench, &behind(Tcp::Silent(SECONDS), None));
        let (hop, _, code, text) = broken(&walk);
        assert!(text.contains(&format!("{id}.fw")), "{text}");
        (hop, code.to_owned())
    };
    let missing = sender(|file| file.replace("OUT ACCEPT -dest 10.0.0.120", "|OUT ACCEPT -dest 10.0.0.120"));
    assert_eq!(missing, (Hop::Firewall, "trace::rule-missing".to_owned()));
    let dropping = sender(|file| file.replace("[RULES]\n", "[RULES]\nOUT DROP -p tcp -dport 80\n"));
    assert_eq!(dropping, (Hop::Firewall, "trace::rule-drops".to_owned()));

    // No flow at all.
    let mut bench = guarded();
    bench.desired.flows.retain(|f| f.id != "service.notes");
    let walk = backend(&bench, &behind(Tcp::Silent(SECONDS), None));
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Firewall, "trace::no-flow"));

    // A firewall in the guest, which nobody declared; dropping or turning away.
    for (rule, seen) in [
        ("tcp dport 80 drop", Tcp::Silent(SECONDS)),
        ("tcp dport 80 reject", Tcp::Refused),
        (
            "tcp dport { 80, 443 } reject with icmpx admin-prohibited",
            Tcp::Unreachable(Duration::from_millis(3)),
        ),
    ] {
        let mut bench = Bench::new();
        bench.change("notes", |guest| guest.rules = format!("table inet x {{\n{rule}\n}}\n"));
        let walk = backend(&bench, &behind(seen, None));
        let (_, _, code, text) = broken(&walk);
        assert_eq!(code, "trace::rule-drops");
        assert!(text.ends_with(rule), "{text}");
    }
}

#[test]
fn ways_that_do_not_exist() {
    let bench = Bench::new();
    let mut leg = behind(Tcp::Unreachable(Duration::from_millis(1)), None);
    leg.route = Some("RTNETLINK answers: Network is unreachable".into());
    let walk = backend(&bench, &leg);
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Route, "trace::no-route"));
    // It runs, and nobody answers for its address.
    let walk = backend(&bench, &behind(Tcp::Unreachable(Duration::from_millis(3070)), None));
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Route, "trace::unreachable"));
    // It was turned away at once, and nobody can say by whom.
    let walk = backend(&bench, &behind(Tcp::Unreachable(Duration::from_millis(3)), None));
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Firewall, "trace::rule-drops"));
    let walk = backend(&bench, &behind(Tcp::Silent(SECONDS), None));
    let (_, _, code, text) = broken(&walk);
    assert_eq!(
        (code, text),
        ("trace::silent", "nginx of container.notes listens there; something on the way drops packets")
    );
    let walk = backend(&bench, &behind(Tcp::Failed("Permission denied".into()), None));
    assert_eq!(broken(&walk).2, "trace::connection");
    let walk = backend(&bench, &Leg::lost("the connection broke"));
    assert_eq!((broken(&walk).1, broken(&walk).2), ("container.gateway", "trace::cannot-ask"));
}
