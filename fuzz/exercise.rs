// What is done with a text from outside, whatever it holds: it is read or refused, nothing panics, and what was read prints back
// the same. The targets run it on a nightly compiler, and `crates/managers/tests/it/seeds.rs` for a moment on the stable one.

use std::collections::BTreeSet;

use apply::journal;
use managers::authority::later::Signed;
use managers::certificates::look as certificates_seen;
use managers::features::parse_report;
use managers::privileges::granted::Granted;
use managers::privileges::{Place, Requirement};
use managers::trace::log::ProxyLog;
use managers::trace::look::Seen;
use managers::trace::rules::Rules;
use managers::trace::updates::Updates;
use managers::trace::{leg::Leg, neighbour, question};
use plan::mark;
use proxmox::Upid;
use proxmox::client::agent::Ended;
use proxmox::client::{
    self, Appliance, GuestStatus, LogLine, Node, PendingEntry, Permissions, Resource, Storage, TaskEntry,
    TaskStatus, Version, Volume,
};
use proxmox::config::{GuestConfig, GuestKind};
use proxmox::error::ApiError;
use proxmox::exchange::{Method, Request, Response};
use proxmox::firewall::{FirewallFile, Rule};
use proxmox::property::{PropertyString, Schema, Size, VolumeSource, container, machine};
use sealed::{Identities, Key};
use serde_json::Value;

/// What is done with bytes.
pub type Exercise = fn(&[u8]);

/// All targets, by the folder of their seeds.
pub const TARGETS: [(&str, Exercise); 10] = [
    ("answers", answers),
    ("reports", reports),
    ("marks", marks),
    ("plans", plans),
    ("firewall", firewall),
    ("property", property),
    ("certificates", certificates),
    ("names", names),
    ("sealed", sealed),
    ("said", said),
];

/// What the node answers: the files that are read there in one command, and the API's JSON with its refusals. With what the
/// agents of virtual machines say.
pub fn answers(input: &[u8]) {
    let _ = proxmox::inventory::parse(input);
    let Ok(data) = serde_json::from_slice::<Value>(input) else { return };
    decoded::<Version>(&data);
    decoded::<Vec<Node>>(&data);
    decoded::<Vec<Resource>>(&data);
    decoded::<Vec<PendingEntry>>(&data);
    decoded::<GuestStatus>(&data);
    decoded::<Vec<Storage>>(&data);
    decoded::<Vec<Volume>>(&data);
    decoded::<Vec<TaskEntry>>(&data);
    decoded::<TaskStatus>(&data);
    decoded::<Vec<LogLine>>(&data);
    decoded::<Vec<Appliance>>(&data);
    decoded::<Ended>(&data);
    let _ = client::members(&data);
    if let Ok(all) = serde_json::from_value::<Permissions>(data.clone()) {
        let needs = BTreeSet::from([
            Requirement { place: Place::Pool("p".to_owned()), privilege: "VM.Audit" },
            Requirement { place: Place::Storages, privilege: "Datastore.AllocateSpace" },
            Requirement { place: Place::Bridge("vmbr0".to_owned(), Some(3)), privilege: "SDN.Use" },
        ]);
        let granted = Granted { all, ..Granted::default() };
        assert!(granted.lacking(&needs).len() <= needs.len());
        let _ = granted.beyond(&needs);
    }
    let request = Request { method: Method::Get, path: "/version".to_owned(), params: Vec::new() };
    let status = data["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(500);
    let refused = Response { status, reason: String::new(), body: data };
    let error = ApiError::new(&request, &refused);
    assert!(error.to_string().contains("/version"));
    let _ = error.hint();
}

fn decoded<T: serde::de::DeserializeOwned>(data: &Value) {
    let _ = T::deserialize(data);
}

/// What scripts report in guests, what `look.sh`, `ask.sh`, the authority and the proxy's log say, and journals.
pub fn reports(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for line in text.lines() {
        if let Ok(report) = parse_report(line) {
            assert_eq!(parse_report(&report.to_string()).ok(), Some(report));
        }
    }
    let _ = Leg::parse(&text);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let _ = Seen::parse(&text, now, now);
    let _ = ProxyLog::parse(&text);
    let _ = neighbour::table(&text);
    let _ = certificates_seen::parse(&text);
    let _ = Rules::parse(&text).shown_by(100);
    let _ = Updates::parse(&text).map(|updates| (updates.is_overdue(now), updates.words(now)));
    if let Some(signed) = Signed::parse(&text) {
        assert_eq!(Signed::parse(&signed.to_string()), Some(signed.clone()));
        let _ = signed.words();
    }
    let _ = journal::parse(input);
}

/// Descriptions of guests with a mark in them.
pub fn marks(input: &[u8]) {
    if let Ok((text, Some(mark))) = mark::parse(&String::from_utf8_lossy(input)) {
        let mark = mark.into_mark();
        let _ = mark::render(&text, &mark);
        let (_, again) = mark::parse(&mark::render("", &mark)).expect("what was printed");
        assert_eq!(again.map(mark::Read::into_mark), Some(mark));
    }
}

/// Plans that are kept in files, and how they are shown.
pub fn plans(input: &[u8]) {
    let Ok(plan) = serde_json::from_slice::<plan::Plan>(input) else { return };
    let json = serde_json::to_value(&plan).expect("a plan is JSON");
    let again: plan::Plan = serde_json::from_value(json.clone()).expect("what was printed");
    assert_eq!(serde_json::to_value(&again).expect("a plan is JSON"), json);
    let text = plan::render::text(&plan, "pve1", "phoenix-cli", &|_, piece| piece.to_owned());
    // Addresses are checked where a plan is carried out, not where it is read.
    let odd = |text: &str| text.contains(foreign::is_hidden);
    if !plan
        .steps
        .iter()
        .map(|s| &s.address)
        .chain(plan.problems.iter().map(|p| &p.address))
        .any(|a| odd(a.as_str()))
    {
        assert!(!text.contains(|c| foreign::is_hidden(c) && c != '\n'), "{text:?}");
    }
}

/// Files of the firewall, and their rules.
pub fn firewall(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    assert_eq!(FirewallFile::parse(&text).to_string(), text);
    for line in text.lines() {
        if let Ok(rule) = line.parse::<Rule>() {
            assert_eq!(rule.to_string().parse::<Rule>().ok(), Some(rule));
        }
    }
    let _ = proxmox::firewall::change::parse(input);
}

/// What property strings may hold.
const SCHEMAS: [&Schema; 5] =
    [&machine::NET, &machine::DISK, &machine::AGENT, &container::NET, &container::MOUNT];

/// Property strings and configuration files.
pub fn property(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for line in text.lines() {
        if let Ok(found) = line.parse::<PropertyString>() {
            assert_eq!(found.to_string().parse::<PropertyString>().ok(), Some(found));
        }
        let _ = line.parse::<Size>();
        let _ = line.parse::<VolumeSource>();
        for schema in SCHEMAS {
            let _ = schema.same(line, "1");
        }
        if let Ok(found) = line.parse::<Upid>() {
            assert_eq!(found.to_string(), line);
        }
    }
    for kind in [GuestKind::Container, GuestKind::Vm] {
        let _ = GuestConfig::parse(kind, &text).to_string();
    }
}

/// Certificates.
pub fn certificates(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = pki::CertificateFacts::parse(&text);
    let _ = pki::CertificateFacts::chain(&text);
}

/// Sealed copies, and public keys to seal to. Whoever can write into a repository can put anything in their place.
pub fn sealed(input: &[u8]) {
    let _ = sealed::takes(input);
    let _ = sealed::open(input, &Key::Identities(Identities::none()));
    let _ = sealed::recipients(&String::from_utf8_lossy(input));
}

/// Answers of name servers.
pub fn names(input: &[u8]) {
    let _ = question::reply(input);
}

/// Any text, as it is shown.
pub fn said(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    assert!(!foreign::line(&text).contains(foreign::is_hidden));
    let shown = foreign::screen(&text);
    assert_eq!(foreign::screen(&shown), shown);
    for later in foreign::indented(&text, "  ").split('\n').skip(1) {
        assert!(later.starts_with("  "));
    }
}
