//! What is wrong with what was seen. Pure.

use jiff::{SignedDuration, Timestamp};
use pki::CertificateFacts;
use plan::desired::{self, Issuer};
use plan::{Address, Desired};
use proxmox::firewall::Direction;
use proxmox::firewall::judge::enabled;

use super::{Certificate, Node, Rules, Trouble};
use crate::authority::later::Signed;
use crate::trace::chain::judge;
use crate::trace::diagnose::{World, ago, trouble, units_of, wrong_clock};
use crate::trace::look::{Look, OnDisk, Renewal, Seen, Unit};
use crate::trace::rules::{self, has_flow};

/// A disk that is so full needs somebody's attention before programs fail for it, percent.
const DISK: u64 = 90;
/// Memory of which so much is used leaves no room for a moment of need, percent.
const MEMORY: u64 = 95;

/// How long ago a certificate may begin that is on its way: the file is read, its service is asked, and between the two a
/// renewal may put another file in place, which is served some seconds later. An authority dates it back by a minute
/// (step-ca's `backdate`).
const RENEWING: SignedDuration = SignedDuration::from_mins(2);

/// What is wrong with a guest.
pub fn guest(world: &World<'_>, name: &str, id: u32) -> Option<Trouble> {
    if let Some(cause) = trouble(world, name, None) {
        return Some(cause.into());
    }
    let seen = match world.look(name)? {
        Look::Unknown(why) => {
            return Some(Trouble::new(
                "health::unknown",
                format!("{} could not be looked at: {why}", world.called(name)),
                format!("phoenix-cli exec {name} -- true"),
            ));
        }
        Look::Seen(seen) => seen,
        Look::Missing | Look::Stopped | Look::Hangs => return None,
    };
    failed_unit(world, name, seen)
        .or_else(|| wrong_clock(world, name, seen).map(Into::into))
        .or_else(|| filled(world, name, id, seen))
        .or_else(|| not_patched(world, name, seen))
}

/// How what is installed on the node itself is, by the units that it keeps running; nothing where it keeps none.
pub fn node(world: &World<'_>) -> Option<Node> {
    let ours = units_of(&world.desired.on_node);
    if ours.is_empty() {
        return None;
    }
    let seen = match world.node.as_ref()? {
        Look::Seen(seen) => seen,
        other => {
            let why = match other {
                Look::Unknown(why) => why.as_str(),
                _ => "commands on it do not come to an end",
            };
            let text = format!("the node could not be looked at: {why}");
            let trouble = Trouble::new("health::unknown", text, "phoenix-cli doctor tries each hop");
            return Some(Node { running: 0, units: ours.len(), trouble: Some(trouble) });
        }
    };
    let is = |name: &String| seen.units.iter().find(|unit| unit.name == *name);
    let running = ours.iter().filter(|name| is(name).is_some_and(Unit::fine)).count();
    let first = ours.iter().find(|name| !is(name).is_some_and(Unit::fine));
    let trouble = first.map(|name| {
        let (code, how) = match is(name) {
            Some(unit) if unit.load == "not-found" => ("trace::unit-missing", "is not installed".to_owned()),
            Some(unit) if unit.failed() => {
                let said = unit.telling().map(|line| format!(": {line}")).unwrap_or_default();
                ("trace::unit-failed", format!("failed{said}"))
            }
            _ => ("trace::unit-stopped", "does not run".to_owned()),
        };
        Trouble::new(
            code,
            format!("on the node, {name} {how}"),
            format!("on the node: systemctl restart {name}, and journalctl -u {name} says more"),
        )
    });
    Some(Node { running, units: ours.len(), trouble })
}

/// Security updates that have not been installed for days.
fn not_patched(world: &World<'_>, name: &str, seen: &Seen) -> Option<Trouble> {
    let updates = seen.updates.as_ref().filter(|updates| updates.is_overdue(world.now))?;
    let last = ago(updates.done.unwrap_or(updates.since), world.now);
    let called = world.called(name);
    let mut text = match updates.done {
        Some(_) => format!("security updates were last installed in {called} {last} ago"),
        None => format!("{called} should have installed security updates for {last}, and has not"),
    };
    if let Some(why) = &updates.failed {
        text.push_str(&format!(": {why}"));
    }
    let hint = format!("phoenix-cli exec {name} -- /usr/local/lib/phoenix/updates run");
    Some(Trouble::new("health::updates", text, hint))
}

/// What a service answered, and each time, that nobody knows whether it was that service.
pub fn with_trust(service: &desired::Service, seen: String) -> String {
    match service.via.as_ref().filter(|_| service.unverified()) {
        Some(via) => format!("{seen}, not verified by the {} (\"verify\": false)", via.kind.as_str()),
        None => seen,
    }
}

/// A unit that failed and is no feature's.
fn failed_unit(world: &World<'_>, name: &str, seen: &Seen) -> Option<Trouble> {
    let failed: Vec<&str> = seen.units.iter().filter(|u| u.failed()).map(|u| u.name.as_str()).collect();
    let first = failed.first()?;
    Some(Trouble::new(
        "trace::unit-failed",
        format!("in {} failed: {}", world.called(name), failed.join(", ")),
        format!(
            "phoenix-cli logs {name} --unit {first}; when it is of no use: phoenix-cli exec {name} -- systemctl reset-failed"
        ),
    ))
}

fn filled(world: &World<'_>, name: &str, id: u32, seen: &Seen) -> Option<Trouble> {
    for (what, used) in [("disk", seen.disk), ("file system's number of files", seen.inodes)] {
        if let Some(used) = used.filter(|used| used.percent() >= DISK) {
            return Some(Trouble::new(
                "health::disk",
                format!("the {what} of {} is {} % full", world.called(name), used.percent()),
                format!(
                    "phoenix-cli exec {name} -- du -xh --max-depth=2 / , or more `disk` for it in the blueprint"
                ),
            ));
        }
    }
    let used = seen.memory.filter(|used| used.percent() >= MEMORY)?;
    Some(Trouble::new(
        "health::memory",
        format!("{} % of the memory of {} ({id}) is used", used.percent(), world.called(name)),
        format!(
            "phoenix-cli exec {name} -- ps -eo rss,args --sort=-rss, or more `memory` for it in the blueprint"
        ),
    ))
}

/// How a certificate is: on disk, as it is served, and what its guest says of renewing it.
pub fn certificate(
    world: &World<'_>,
    wanted: &desired::Certificate,
    disk: Option<&OnDisk>,
    served: &[Option<String>],
) -> Certificate {
    let name = wanted.name.clone();
    let renewal = world.seen_on(&wanted.on).and_then(|seen| seen.renewals.get(&name));
    let failures = renewal.map(|renewal| renewal.failures);
    let again = format!("phoenix-cli apply --again --target {}", wanted.resource());
    let Some(disk) = disk else {
        let seen = format!("not looked at: {} does not tell", wanted.on);
        return Certificate { name, ends: None, same: None, failures, seen, trouble: None };
    };
    let host = wanted.names.first().map_or("", String::as_str);
    let root = (wanted.issuer != Issuer::Acme).then_some(world.root);
    let Some(chain) = judge(&disk.chain, host, root, world.now) else {
        let text = format!("{} is not there in {}", crate::certificates::path(&name), wanted.on);
        let trouble = Some(Trouble::new("trace::certificate-missing", text, again));
        return Certificate { name, ends: None, same: None, failures, seen: "not there".into(), trouble };
    };
    let shown: Vec<&String> = served.iter().flatten().collect();
    let facts: Vec<CertificateFacts> =
        shown.iter().filter_map(|pem| CertificateFacts::parse(pem).ok()).collect();
    let alike = |facts: &CertificateFacts| facts.fingerprint == chain.leaf.fingerprint;
    let same = (!shown.is_empty()).then(|| facts.len() == shown.len() && facts.iter().all(alike));
    let is_recent = |facts: &CertificateFacts| world.now.duration_since(facts.not_before) < RENEWING;
    let renewing = is_recent(&chain.leaf) || facts.iter().any(is_recent);
    let leaf = &chain.leaf;
    let renew_at = leaf.renew_at();
    let by = match wanted.issuer {
        Issuer::Embedded => "renewed by apply",
        Issuer::StepCa | Issuer::Acme => "renews itself",
    };
    let seen = format!("{}, {by} from {}", chain.words(world.now), renew_at.strftime("%Y-%m-%d %H:%M"));
    let trouble = if let Some(fault) = &chain.fault {
        use crate::trace::chain::Fault;
        let (code, text) = match fault {
            Fault::Untrusted(why) => {
                ("trace::certificate-untrusted", format!("the workshop's root does not vouch for it: {why}"))
            }
            Fault::Names => ("trace::certificate-names", format!("it is for {}", leaf.dns_names.join(", "))),
            Fault::Expired => {
                ("trace::certificate-expired", format!("it expired {} ago", ago(leaf.not_after, world.now)))
            }
            Fault::NotYet => ("trace::certificate-not-yet-valid", "it is not valid yet".to_owned()),
        };
        Some(Trouble::new(code, text, again))
    } else if same == Some(false) && renewing {
        None
    } else if same == Some(false) {
        let text = format!("{} serves another one than it has on disk", wanted.on);
        let hint = if wanted.on.is_node() { again } else { format!("phoenix-cli trace {host}") };
        Some(Trouble::new("trace::certificate-stale", text, hint))
    } else {
        late(world, wanted, renewal, renew_at, leaf, same)
    };
    Certificate { name, ends: Some(leaf.not_after), same, failures, seen, trouble }
}

/// A certificate that should have been renewed by now.
fn late(
    world: &World<'_>,
    wanted: &desired::Certificate,
    renewal: Option<&Renewal>,
    renew_at: Timestamp,
    leaf: &CertificateFacts,
    same: Option<bool>,
) -> Option<Trouble> {
    if let Some((renewal, error)) = renewal.and_then(|renewal| Some((renewal, renewal.error.as_ref()?))) {
        // It was renewed; whoever serves it had not taken it over when it was looked at last. By now it may have.
        if renewal.failures == 0 && renew_at > world.now {
            if same == Some(true) {
                return None;
            }
            return Some(Trouble::new(
                "trace::certificate-stale",
                format!("it was renewed, and was not served when it was looked at last: {error}"),
                wanted.on.typed(&format!("/usr/local/lib/phoenix/certificates renew {}", wanted.name)),
            ));
        }
        return Some(Trouble::new(
            "trace::renewal-failed",
            format!("renewing it failed: {error}"),
            wanted.on.typed(&format!("/usr/local/lib/phoenix/certificates renew {}", wanted.name)),
        ));
    }
    if renew_at > world.now {
        return None;
    }
    let due = ago(renew_at, world.now);
    if wanted.issuer == Issuer::Embedded {
        return Some(Trouble::new(
            "health::certificate-due",
            format!("it is due for {due}"),
            "phoenix-cli apply",
        ));
    }
    // Whoever renews by itself gets half of what is left before somebody is called.
    let left = leaf.not_after.as_second() - renew_at.as_second();
    (world.now.as_second() > renew_at.as_second() + left / 2).then(|| {
        Trouble::new(
            "health::certificate-due",
            format!("it is due for {due}, and {} has not renewed it", wanted.on),
            match wanted.on.guest() {
                None => wanted.on.typed("journalctl -u phoenix-certificates -n 30"),
                Some(guest) => format!("phoenix-cli logs {guest} --unit phoenix-certificates"),
            },
        )
    })
}

/// What the authority in a guest signs with, by the chain that it shows (PEM), where apply is to have it succeeded: leaves
/// that live `below` do not outlive it, so nothing can be renewed once it is over.
pub fn intermediate(shown: &str, below: std::time::Duration, now: Timestamp) -> Option<Trouble> {
    let chain = CertificateFacts::chain(shown);
    let signs = chain.iter().find(|facts| facts.authority)?;
    pki::intermediate_due(signs.not_before, signs.not_after, below, now).then(|| {
        let ends = signs.not_after.strftime("%Y-%m-%d");
        Trouble::new(
            "health::certificate-due",
            format!("what it signs with is due, and ends {ends}: after that nobody can renew anything"),
            "phoenix-cli apply",
        )
    })
}

/// What it has signed that begins later, which no guest asks for that is well.
pub fn for_later(signed: &Signed) -> Option<Trouble> {
    let hint = "whose names they are may have been taken: phoenix-cli rotate GUEST; then phoenix-cli rotate intermediate";
    Some(Trouble::new("health::signed-for-later", signed.words()?, hint))
}

/// Whether the rules of a guest are those of its flows: of what it may be sent, and in zero trust of what it may send.
pub fn firewall(desired: &Desired, guest: &str, id: u32, rules: &rules::Rules) -> Rules {
    let of = |seen: String, missing, trouble| Rules { guest: guest.to_owned(), missing, seen, trouble };
    let this = desired::End::Host(desired.host_called(guest));
    let zero_trust = desired.firewall.as_ref().is_some_and(|firewall| firewall.zero_trust);
    let ends = desired.flows.iter().flat_map(|flow| {
        let sent = (flow.to == this).then_some((flow, Direction::In));
        sent.into_iter().chain((zero_trust && flow.from == this).then_some((flow, Direction::Out)))
    });
    let ends: Vec<_> = ends.collect();
    let apply = format!("phoenix-cli apply --target {}", Address::firewall(guest));
    let Some(file) = rules.guest_file(id) else {
        let text = format!("/etc/pve/firewall/{id}.fw is not there, so nothing is kept out");
        return of("no rules".into(), ends.len(), Some(Trouble::new("health::firewall-off", text, apply)));
    };
    let lacks = |(flow, direction): &&(&desired::Flow, Direction)| {
        !has_flow(&file, &desired.site, *direction, &flow.id)
    };
    let missing: Vec<&str> = ends.iter().filter(lacks).map(|(flow, _)| flow.id.as_str()).collect();
    let seen = format!("{} of {} rules of its flows", ends.len() - missing.len(), ends.len());
    let whole = rules.cluster().is_some_and(|cluster| enabled(&cluster));
    let trouble = if !enabled(&file) || !whole {
        let which = if whole { format!("{id}.fw") } else { "cluster.fw".to_owned() };
        let text = format!("/etc/pve/firewall/{which} does not switch it on, so nothing is kept out");
        Some(Trouble::new("health::firewall-off", text, apply))
    } else if missing.is_empty() {
        None
    } else {
        Some(Trouble::new("trace::rule-missing", format!("no rule for {}", missing.join(", ")), apply))
    };
    of(seen, missing.len(), trouble)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use desired::{End, Firewall, Flow, Transport};

    use plan::Host;

    use super::*;

    #[test]
    fn a_unit_of_the_node_that_does_not_run_is_named() {
        let feature = |units: serde_json::Value| desired::Feature {
            name: "chrony".into(),
            fingerprint: String::new(),
            payload: std::sync::Arc::new(serde_json::json!({ "units": units })),
            declared: None,
            stage: 0,
        };
        let on_node = vec![feature(
            serde_json::json!({ "chrony": {}, "smartmontools": {}, "once": { "running": false } }),
        )];
        let desired = Desired { on_node, ..Desired::default() };
        let judged = |units: &[(&str, &str)]| {
            let unit = |(name, active): &(&str, &str)| Unit {
                name: format!("{name}.service"),
                load: "loaded".into(),
                active: (*active).into(),
                result: if *active == "failed" { "exit-code" } else { "success" }.into(),
                ..Unit::default()
            };
            let seen = Seen { units: units.iter().map(unit).collect(), ..Seen::default() };
            let mut world = World::new(&desired, "", Timestamp::UNIX_EPOCH);
            world.node = Some(Look::Seen(Box::new(seen)));
            let node = node(&world).unwrap();
            (node.running, node.units, node.trouble.map(|trouble| trouble.text))
        };
        assert_eq!(judged(&[("chrony", "active"), ("smartmontools", "active")]), (2, 2, None));
        let (running, _, text) = judged(&[("chrony", "active"), ("smartmontools", "failed")]);
        assert_eq!((running, text.as_deref()), (1, Some("on the node, smartmontools.service failed")));
        // Somebody else's that failed is not ours to judge.
        let (running, _, text) =
            judged(&[("chrony", "inactive"), ("smartmontools", "active"), ("other", "failed")]);
        assert_eq!((running, text.as_deref()), (1, Some("on the node, chrony.service does not run")));
        assert_eq!(judged(&[("chrony", "active")]).0, 1);
        let none = Desired::default();
        assert!(super::node(&World::new(&none, "", Timestamp::UNIX_EPOCH)).is_none());
    }

    const SENDS: &str =
        "[OPTIONS]\nenable: 1\n[RULES]\nOUT ACCEPT -dest 10.0.0.2 -p tcp -dport 80 # phoenix:workshop:one\n";
    const TAKES: &str =
        "[OPTIONS]\nenable: 1\n[RULES]\nIN ACCEPT -source 10.0.0.1 -p tcp -dport 80 # phoenix:workshop:one\n";

    /// What is wrong with the rules of both ends of a flow from `a` (101) to `b` (102).
    fn trouble(zero_trust: bool, cluster: &str, a: &str, b: &str) -> [Option<String>; 2] {
        let guest = |name: &str| End::Host(Host::container(name));
        let flow = Flow {
            id: "one".into(),
            from: guest("a"),
            to: guest("b"),
            protocol: Transport::Tcp,
            ports: vec![80],
            reason: "a test".into(),
        };
        let desired = Desired {
            site: "workshop".into(),
            flows: vec![flow],
            firewall: Some(Firewall {
                zero_trust,
                management: Vec::new(),
                subnets: Vec::new(),
                taken: [].into(),
            }),
            ..Desired::default()
        };
        let files = [("cluster.fw", cluster), ("101.fw", a), ("102.fw", b)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let rules = rules::Rules { files, ..rules::Rules::default() };
        [("a", 101), ("b", 102)].map(|(name, id)| {
            firewall(&desired, name, id, &rules)
                .trouble
                .map(|trouble| format!("{}: {}", trouble.code, trouble.text))
        })
    }

    /// Of the node, for a day.
    fn wanted() -> desired::Certificate {
        desired::Certificate {
            name: desired::HYPERVISOR.into(),
            names: vec!["pve1.workshop.internal".into()],
            life: Duration::from_hours(24),
            on: Host::THE_NODE,
            issuer: Issuer::StepCa,
            owner: None,
            reloads: Vec::new(),
            restarts: Vec::new(),
            served: Vec::new(),
            fingerprint: String::new(),
        }
    }

    fn request(wanted: &desired::Certificate) -> pki::LeafRequest {
        pki::LeafRequest {
            name: "x".into(),
            dns_names: wanted.names.clone(),
            addresses: Vec::new(),
            life: wanted.life,
        }
    }

    fn authority(folder: &tempfile::TempDir, now: Timestamp) -> pki::Authority {
        let settings = pki::AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        let root = camino::Utf8Path::from_path(folder.path()).unwrap().join("authority");
        pki::Authority::open_or_create(&root, &settings, now).unwrap()
    }

    /// The file is read and its service is asked, and a renewal may come between the two.
    #[test]
    fn another_one_is_no_trouble_while_it_is_being_renewed() {
        let begin: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (authority, wanted, desired) = (authority(&folder, begin), wanted(), Desired::default());
        let renewed = begin + SignedDuration::from_hours(12);
        // It begins as one of step-ca's would: Phoenix' own authority dates back by more.
        let dated = |at: Timestamp| at + pki::BACKDATE - Duration::from_mins(1);
        let issue = |at| authority.issue(&request(&wanted), dated(at)).unwrap().chain_pem;
        let (old, new) = (issue(begin), issue(renewed));
        let trouble = |disk: &str, served: &str, now| {
            let world = World::new(&desired, authority.root_pem(), now);
            let disk = OnDisk { chain: disk.to_owned(), ..OnDisk::default() };
            let judged = certificate(&world, &wanted, Some(&disk), &[Some(served.to_owned())]);
            (judged.same, judged.trouble.map(|trouble| trouble.code))
        };
        let soon = renewed + SignedDuration::from_secs(30);
        assert_eq!(trouble(&new, &new, soon), (Some(true), None));
        assert_eq!(trouble(&new, &old, soon), (Some(false), None));
        assert_eq!(trouble(&old, &new, soon), (Some(false), None));
        let stale = (Some(false), Some("trace::certificate-stale".into()));
        let late = renewed + SignedDuration::from_mins(5);
        assert_eq!(trouble(&new, &old, late), stale);
        assert_eq!(trouble(&old, &new, late), stale);
    }

    /// Renewed, and shown by nobody when it was looked at: that is not the renewal, and it passes as soon as it is shown.
    #[test]
    fn what_was_renewed_and_not_served_at_once() {
        let desired = Desired::default();
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let world = World::new(&desired, "", now);
        let wanted = wanted();
        let folder = tempfile::tempdir().unwrap();
        let (authority, request) = (authority(&folder, now), request(&wanted));
        let leaf = CertificateFacts::parse(&authority.issue(&request, now).unwrap().chain_pem).unwrap();
        let later = leaf.renew_at();
        assert!(later > now);
        let told = |failures, error: Option<&str>, same| {
            let renewal = Renewal { failures, error: error.map(str::to_owned), ..Renewal::default() };
            late(&world, &wanted, Some(&renewal), later, &leaf, same).map(|trouble| trouble.code)
        };
        let served =
            Some("127.0.0.1:8006/pve1.workshop.internal serves another certificate than the one in …");
        assert_eq!(told(0, served, Some(true)), None);
        assert_eq!(told(0, served, None).as_deref(), Some("trace::certificate-stale"));
        assert_eq!(
            told(2, Some("the authority does not answer"), Some(true)).as_deref(),
            Some("trace::renewal-failed")
        );
        assert_eq!(told(0, None, Some(true)), None);
    }

    #[test]
    fn an_intermediate_is_due_at_two_thirds_of_its_life() {
        let begin: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(&folder, begin);
        // Its first one lives for leaves of 90 days.
        let shown = authority.issue(&request(&wanted()), begin).unwrap().chain_pem;
        let life = Duration::from_hours(90 * 24);
        let days = |days: i64| begin + SignedDuration::from_hours(24 * days);
        let at =
            |shown: &str, now| intermediate(shown, life, now).map(|trouble| (trouble.code, trouble.hint));
        assert_eq!(at(&shown, days(179)), None);
        let due = ("health::certificate-due".into(), "phoenix-cli apply".into());
        assert_eq!(at(&shown, days(181)), Some(due));
        assert_eq!(at("", days(181)), None);
    }

    #[test]
    fn rules_are_missing_on_either_end() {
        let (on, off) = ("[OPTIONS]\nenable: 1\n", "[OPTIONS]\nenable: 0\n");
        let missing = Some("trace::rule-missing: no rule for one".to_owned());
        assert_eq!(trouble(true, on, SENDS, TAKES), [None, None]);
        assert_eq!(trouble(true, on, on, TAKES), [missing.clone(), None]);
        assert_eq!(trouble(true, on, SENDS, on), [None, missing.clone()]);
        assert_eq!(trouble(true, on, TAKES, SENDS), [missing.clone(), missing]);
        // Without zero trust, what a guest sends is not filtered.
        assert_eq!(trouble(false, on, on, TAKES), [None, None]);
        let [sends, takes] = trouble(true, off, SENDS, TAKES);
        assert!(
            sends.is_some_and(|text| text.contains("cluster.fw does not switch it on")) && takes.is_some()
        );
    }

    #[test]
    fn updates_that_have_not_gone_well_for_a_week_are_trouble() {
        let desired = Desired { site: "workshop".into(), ..Desired::default() };
        let at = |days: i64| Timestamp::from_second(days * 86_400).unwrap();
        let of = |done: Option<i64>, failed: Option<&str>, today: i64| {
            let world = World::new(&desired, "", at(today));
            let updates = crate::trace::updates::Updates {
                since: at(0),
                tried: Some(at(today)),
                done: done.map(at),
                waiting: 0,
                failed: failed.map(str::to_owned),
                stale: Vec::new(),
            };
            not_patched(&world, "notes", &Seen { updates: Some(updates), ..Seen::default() })
        };
        assert_eq!(of(None, None, 7), None);
        assert_eq!(of(Some(3), Some("no way out"), 10), None);
        let never = of(None, None, 9).unwrap();
        assert_eq!(
            never.text,
            "container.notes should have installed security updates for 9 days, and has not"
        );
        let failed = of(Some(3), Some("no way out"), 11).unwrap();
        assert_eq!(
            failed.text,
            "security updates were last installed in container.notes 8 days ago: no way out"
        );
        assert_eq!(failed.code, "health::updates");
        // A guest that does not install any says nothing of them.
        assert_eq!(not_patched(&World::new(&desired, "", at(99)), "notes", &Seen::default()), None);
    }
}
