//! Several things wrong at once, who answers on the network, and what it all comes to.

use std::collections::BTreeMap;
use std::time::Duration;

use managers::trace::diagnose::{Holder, holder, strangers};
use managers::trace::leg::{Leg, Tcp};
use managers::trace::look::Look;
use managers::trace::neighbour::Neighbour;
use managers::trace::rules::Rules;
use managers::trace::{Hop, State, Vantage, Walk, verdict};
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::inventory::GuestFile;

use super::bench::{Bench, FAILED, STOPPED, behind, broken, ip, open, status, weak};

const OFF: &str = "BROADCAST,MULTICAST";

/// What a connection to a guest meets whose network device is off: nobody answers for its address. Whoever has just asked in
/// vain says so at once.
fn nobody(took: u64) -> Leg {
    let mut leg = behind(Tcp::Unreachable(Duration::from_millis(took)), None);
    leg.route = Some("10.0.0.120 dev eth0 src 10.0.0.153 uid 0".into());
    leg.neighbour = Some(Neighbour::Nobody);
    leg
}

fn backend(bench: &Bench, upstream: &Leg) -> Walk {
    let leg = Leg { http: Some(status(502)), ..bench.leg("notes") };
    bench.walk("outside", "notes", &leg, Some(upstream))
}

fn codes(walk: &Walk) -> Vec<&str> {
    walk.findings.iter().flat_map(managers::trace::Finding::causes).map(|cause| cause.code).collect()
}

fn off_and_stopped() -> Bench {
    let mut bench = Bench::new();
    bench.change("notes", |guest| {
        guest.only_device("eth0", OFF, Some("10.0.0.120/24"));
        guest.nobody_listens();
        guest.trouble("nginx.service", STOPPED, "");
    });
    bench
}

// Sentences call a guest by its address, so that one of another kind is called as that.
#[test]
fn a_guest_of_another_kind_is_called_as_that() {
    let mut bench = off_and_stopped();
    for guest in bench.desired.guests.values_mut() {
        guest.kind = plan::GuestKind::Vm;
    }
    let walk = backend(&bench, &nobody(3070));
    let (hop, place, code, text) = broken(&walk);
    assert_eq!((hop, place, code), (Hop::Link, "vm.gateway", "trace::link-down"));
    assert_eq!(text, "eth0 of vm.notes, its way to the network, is switched off in it");
    assert!(!format!("{:?}", walk.findings).contains("container."), "{:#?}", walk.findings);
}

/// The link first and then the service, whichever way the silence shows; no firewall is blamed.
#[test]
fn a_link_that_is_down_and_a_service_that_is_stopped() {
    let bench = off_and_stopped();
    for leg in [nobody(3070), nobody(2), behind(Tcp::Silent(Duration::from_secs(4)), None)] {
        let walk = backend(&bench, &leg);
        let (hop, place, code, text) = broken(&walk);
        assert_eq!((hop, place, code), (Hop::Link, "container.gateway", "trace::link-down"));
        assert_eq!(text, "eth0 of container.notes, its way to the network, is switched off in it");
        assert_eq!(codes(&walk), ["trace::link-down", "trace::unit-stopped"]);
        let last = walk.findings.last().unwrap();
        assert!(
            last.causes().all(|cause| !cause.hint.contains("nft") && !cause.hint.contains("iptables")),
            "{last:#?}"
        );
    }
}

#[test]
fn devices_and_addresses() {
    for (name, flags, inet, code, words) in [
        (
            "eth0",
            "NO-CARRIER,BROADCAST,MULTICAST,UP",
            Some("10.0.0.120/24"),
            "trace::link-down",
            "is not connected on the node's side",
        ),
        ("eth7", "BROADCAST,MULTICAST,UP,LOWER_UP", None, "trace::link-down", "is not there"),
        ("eth0", "BROADCAST,MULTICAST,UP,LOWER_UP", None, "trace::address-missing", "it has none"),
        (
            "eth0",
            "BROADCAST,MULTICAST,UP,LOWER_UP",
            Some("10.0.0.99/24"),
            "trace::address-missing",
            "it has 10.0.0.99/24",
        ),
    ] {
        let mut bench = Bench::new();
        bench.change("notes", |guest| guest.only_device(name, flags, inet));
        let walk = backend(&bench, &nobody(3070));
        assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Link, code));
        assert!(broken(&walk).3.ends_with(words), "{walk:#?}");
    }
    // Nothing is wrong with the guest itself, and nobody answers: no firewall, since nobody has even the address.
    let walk = backend(&Bench::new(), &nobody(2));
    assert_eq!((broken(&walk).0, broken(&walk).2), (Hop::Route, "trace::unreachable"));
}

const STRAY: &str = "BC:24:11:00:00:77";

fn guests() -> Vec<GuestFile> {
    let file = |id, kind, text: &str| GuestFile {
        node: "pve1".into(),
        id,
        kind,
        config: GuestConfig::parse(kind, text),
        digest: String::new(),
    };
    vec![
        file(
            120,
            GuestKind::Container,
            "hostname: notes\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=10.0.0.120/24\n",
        ),
        file(
            130,
            GuestKind::Container,
            "hostname: stray\nnet0: name=eth0,bridge=vmbr0,hwaddr=bc:24:11:00:00:77,ip=10.0.0.120/24\n",
        ),
        file(131, GuestKind::Vm, "name: old\nnet1: virtio=BC:24:11:00:00:78,bridge=vmbr0\n"),
    ]
}

/// Whoever answers with another MAC is named: a guest of the node, or a stranger.
#[test]
fn somebody_else_has_the_address() {
    let guests = guests();
    assert_eq!(
        holder(STRAY, guests.iter()).unwrap(),
        Holder { id: 130, kind: GuestKind::Container, name: "stray".into() }
    );
    assert_eq!(holder("BC:24:11:00:00:78", guests.iter()).unwrap().name, "old");
    assert_eq!(holder("BC:24:11:00:00:99", guests.iter()), None);

    let mut bench = Bench::new();
    // It refuses, it drops, and it answers something: each time it is the same cause.
    let met = |tcp: Tcp, http| Leg { neighbour: Some(Neighbour::Answers(STRAY.into())), ..behind(tcp, http) };
    let legs = [
        met(Tcp::Refused, None),
        met(Tcp::Silent(Duration::from_secs(4)), None),
        met(open(), Some(status(404))),
    ];
    {
        let (world, path) = (bench.world(), bench.path("notes"));
        let found = strangers(&world, &path, &[], Some(&legs[0]));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [STRAY]);
    }
    bench.holders = BTreeMap::from([(STRAY.to_owned(), holder(STRAY, guests.iter()).unwrap())]);
    let own = &bench.desired.guests["notes"].nets[&0].mac;
    let words = format!(
        "{STRAY} answers for 10.0.0.120, which is container.notes's ({own}); that is the container 130 (stray)"
    );
    for leg in &legs {
        let walk = backend(&bench, leg);
        let found = verdict(&bench.path("notes"), std::slice::from_ref(&walk));
        assert_eq!(
            (found.causes[0].code, found.causes[0].text.as_str()),
            ("trace::address-taken", words.as_str()),
            "{walk:#?}"
        );
        assert!(found.causes[0].hint.contains("pct config 130"), "{found:#?}");
        assert!(found.text.contains(&words), "{}", found.text);
    }
    bench.holders.clear();
    assert!(codes(&backend(&bench, &legs[0])).contains(&"trace::address-taken"));
    assert!(
        broken(&backend(&bench, &legs[0])).3.ends_with("that is a stranger: no guest of the node has it")
    );

    // The gateway's own address, as the node has it: what answers is weak even where it answers well.
    bench.neighbours.insert(ip(153), Neighbour::Answers(STRAY.into()));
    let walk = bench.walk("outside", "notes", &bench.leg("notes"), None);
    assert_eq!((weak(&walk).0, weak(&walk).2), (Hop::Link, "trace::address-taken"));
    let own = bench.desired.guests["gateway"].nets[&0].mac.clone();
    bench.neighbours.insert(ip(153), Neighbour::Answers(own));
    assert_eq!(bench.walk("outside", "notes", &bench.leg("notes"), None).state(), State::Good);
}

/// A command is only hinted at where it shows something.
#[test]
fn the_command_that_shows_the_nodes_rules() {
    for (nftables, shows, not) in
        [(true, "nft list ruleset", "iptables"), (false, "iptables-save | grep -E 'PVEFW|veth120i'", "nft")]
    {
        let mut bench = Bench::new();
        bench.rules = Rules { nftables, ..Rules::default() };
        for tcp in
            [Tcp::Silent(Duration::from_secs(4)), Tcp::Unreachable(Duration::from_millis(3)), Tcp::Refused]
        {
            let walk = backend(&bench, &behind(tcp, None));
            let hint = &walk.findings.last().unwrap().cause.as_ref().unwrap().hint;
            assert!(hint.contains(shows) && !hint.contains(not), "{hint}");
        }
    }
}

/// The three reasons why a unit does not run, each with what helps.
#[test]
fn units_that_do_not_run() {
    let missing = "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\nStateChangeTimestamp=\nActiveEnterTimestamp=";
    for (state, code, words, hint) in [
        (missing, "trace::unit-missing", "is not installed in it", "phoenix-cli apply --again"),
        (
            super::bench::NEVER,
            "trace::unit-never-ran",
            "has not run since the guest started 2 h ago",
            "phoenix-cli logs notes --unit nginx",
        ),
        (STOPPED, "trace::unit-stopped", "was stopped 3 min ago", "systemctl start nginx.service"),
        (FAILED, "trace::unit-failed", "failed 3 min ago", "phoenix-cli logs notes --unit nginx"),
    ] {
        let mut bench = Bench::new();
        bench.change("notes", |guest| {
            guest.nobody_listens();
            guest.trouble("nginx.service", state, "");
        });
        let walk = backend(&bench, &behind(Tcp::Refused, None));
        let (_, _, found, text) = broken(&walk);
        assert_eq!(found, code);
        assert!(text.contains(words), "{text}");
        let cause = walk.findings.last().unwrap().cause.as_ref().unwrap();
        assert!(cause.hint.contains(hint), "{}", cause.hint);
        assert_eq!(cause.hint.contains("systemctl start"), code == "trace::unit-stopped", "{}", cause.hint);
    }
}

/// There is always a last word, and it is of what comes first.
#[test]
fn a_verdict_is_of_all_walks() {
    let mut bench = Bench::new();
    let path = bench.path("notes");
    let good = |bench: &Bench, from: &str| bench.walk(from, "notes", &bench.leg("notes"), None);
    let all = [good(&bench, "outside"), good(&bench, "status")];
    let found = verdict(&path, &all);
    assert_eq!((found.state, found.causes.len()), (State::Good, 0));
    assert_eq!(found.text, "notes.workshop.internal answers as it should, from outside, container.status");

    // What breaks in the first walk is not forgotten for the last one, nor what only one of them meets.
    bench.looks.insert("status".into(), Look::Stopped);
    let lost = bench.walk("status", "notes", &Leg::lost("no connection to container 121"), None);
    for all in [[lost.clone(), all[0].clone()], [all[0].clone(), lost.clone()]] {
        let found = verdict(&path, &all);
        assert_eq!(found.state, State::Broken);
        assert_eq!(
            found.text,
            "notes.workshop.internal does not answer as it should, from container.status (answers as it should from outside): \
             container.status is stopped"
        );
    }
    // The wire before the service, whoever saw which; the same is told once.
    let bench = off_and_stopped();
    let far = backend(&bench, &nobody(2));
    let found = verdict(&path, &[far.clone(), far]);
    let codes: Vec<&str> = found.causes.iter().map(|cause| cause.code).collect();
    assert_eq!(codes, ["trace::link-down", "trace::unit-stopped"]);
    assert!(
        found.text.ends_with("is switched off in it (and 1 more, to be mended after that)"),
        "{}",
        found.text
    );
    assert_eq!(verdict(&path, &[]).state, State::Broken);
    let vantage = Vantage::Outside.called(&plan::Desired::default());
    assert!(all.iter().any(|walk| walk.from == vantage));
}
