//! The firewall's plans: whatever is declared, whatever others have written, nobody who was let in is shut out on the way,
//! and what others have written is there at the end as it was at the beginning.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test panics")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use managers::firewall::diff::Work;
use plan::inventory::WayIn;
use plan::{Desired, Inventory};
use proptest::prelude::*;
use proxmox::firewall::judge::{self, NodeFiles, Packet};
use proxmox::firewall::{Direction, FirewallFile, Range, Rule, Scope};

use crate::support::{Files, ROOT, SITE, carry_out, desired, now, plain, plan_of, world};

const GUESTS: &str = r#"{
  "types": { "small": { "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G" } },
  "containers": {
    "front": { "id": 153, "type": "small", "address": "10.0.0.153", "features": ["nginx-gateway"] },
    "notes": { "id": 120, "type": "small", "address": "10.0.0.120", "services": { "notes": { "port": 80, "expose": "gateway" } } },
    "data": { "id": 121, "type": "small", "address": "10.0.0.121",
              "services": { "db": { "port": 5432, "protocol": "tcp", "expose": "none" } } }
  }
}"#;

/// What a site may say of its firewall; nothing at all, too.
const DECLARED: [&str; 5] = [
    "",
    "{}",
    r#"{ "zero-trust": true }"#,
    r#"{ "management": ["192.168.7.0/24"] }"#,
    r#"{ "zero-trust": true, "management": ["192.0.2.0/28", "10.9.0.0/16"] }"#,
];

fn site(declared: usize) -> Desired {
    let mut files = Files::new();
    let text = match DECLARED[declared] {
        "" => SITE.to_owned(),
        firewall => SITE.replacen('{', &format!("{{ \"firewall\": {firewall},"), 1),
    };
    files.insert("site.json".into(), text.into());
    files.insert("guests.json".into(), GUESTS.into());
    desired(&files, ROOT).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a new connection from there to this port of the node gets in.
fn gets_in(there: &BTreeMap<String, String>, source: IpAddr, port: u16) -> bool {
    let file = |name: &str| FirewallFile::parse(there.get(name).map_or("", String::as_str));
    let (cluster, host) = (file("cluster.fw"), file("host:pve1"));
    let local = [Range::parse("10.0.0.0/24").unwrap()];
    let scope = Scope { cluster: &cluster, guest: None, local: &local };
    let dest = "10.0.0.13".parse().unwrap();
    let packet = Packet { direction: Direction::In, iface: None, source, dest, proto: "tcp", port };
    judge::node(NodeFiles { cluster: &cluster, host: &host }, scope, &packet).passes
}

/// Who manages the node in these tests: by a network that is named in some of them, and the one who applies.
fn managers() -> Vec<IpAddr> {
    ["192.168.7.20", "10.0.0.77"].iter().map(|it| it.parse().unwrap()).collect()
}

/// Rules that are nobody's but their writer's.
fn foreign(there: &BTreeMap<String, String>, name: &str) -> Vec<Rule> {
    let file = FirewallFile::parse(there.get(name).map_or("", String::as_str));
    file.rules().filter(|rule| !rule.is_of("phoenix:")).cloned().collect()
}

/// A file as others may have written it.
fn theirs() -> impl Strategy<Value = Option<String>> {
    let options = proptest::sample::subsequence(
        vec!["enable: 1", "policy_in: DROP", "policy_in: ACCEPT", "policy_out: DROP"],
        0..3,
    );
    let rules = proptest::collection::vec(
        proptest::sample::select(vec![
            "IN SSH(ACCEPT) # mine",
            "IN DROP -p udp",
            "IN DROP -source 198.51.100.0/24",
            "IN DROP -p tcp -dport 1:10000",
            "IN DROP",
            "|IN DROP",
            "IN ACCEPT -source 192.0.2.0/24",
            "IN Unheard(REJECT)",
            "OUT DROP -dest 10.66.0.0/16",
            "IN ACCEPT # phoenix:garage:way-in",
        ]),
        0..4,
    );
    let file = (options, rules).prop_map(|(options, rules)| {
        format!("[OPTIONS]\n{}\n\n[RULES]\n{}\n", options.join("\n"), rules.join("\n"))
    });
    proptest::option::of(file)
}

/// Carries out the plan write by write. Whoever was let in before is let in after each write; and so is whoever applies,
/// once the firewall is as declared.
fn carry_on(wanted: &Desired, there: &mut Inventory) -> Result<(), TestCaseError> {
    let plan = plan_of(wanted, there, &plain(now()));
    if !plan.problems.is_empty() {
        return Ok(());
    }
    let client = there.reached().way_in.unwrap().client;
    let callers: Vec<(IpAddr, u16)> =
        managers().into_iter().chain([client]).flat_map(|it| [(it, 22), (it, 8006)]).collect();
    let declared = wanted.firewall.as_ref();
    // Who is not named any more may be shut out; who applies never.
    let named = |it: IpAddr| {
        let holds =
            |net: &cidr::Ipv4Cidr| Range::parse(&format!("{net:#}")).is_some_and(|range| range.holds(it));
        declared
            .is_some_and(|firewall| firewall.management.is_empty() || firewall.management.iter().any(holds))
    };
    let before = there.firewall.clone();
    let was_in: Vec<&(IpAddr, u16)> =
        callers.iter().filter(|(it, port)| gets_in(&before, *it, *port)).collect();
    let mut writes = 0;
    for step in plan.steps.iter().filter(|step| step.address.kind() == "firewall") {
        let work: Work = serde_json::from_value(step.work.clone()).unwrap();
        for file in work.files {
            match file.new {
                Some(text) => there.firewall.insert(file.name, text),
                None => there.firewall.remove(&file.name),
            };
            writes += 1;
            for (it, port) in &was_in {
                let must = *it == client || named(*it);
                prop_assert!(
                    !must || gets_in(&there.firewall, *it, *port),
                    "{it}:{port} is shut out after {writes} writes of\n{:#?}\n{:#?}",
                    before,
                    there.firewall
                );
            }
        }
    }
    if declared.is_some() {
        for port in [22, 8006] {
            prop_assert!(gets_in(&there.firewall, client, port), "{:#?}", there.firewall);
        }
    }
    for name in before.keys() {
        prop_assert_eq!(foreign(&before, name), foreign(&there.firewall, name), "{}", name);
    }
    // The rest of the plan, so that the next one is about the firewall alone.
    let firewall = there.firewall.clone();
    let mut rest = plan.clone();
    rest.steps.retain(|step| step.address.kind() != "firewall");
    *there = carry_out::carry_out(&rest, there, now()).0;
    there.firewall = firewall;
    let again = plan_of(wanted, there, &plain(now()));
    let left: Vec<_> = again.steps.iter().map(|step| step.address.to_string()).collect();
    prop_assert!(left.is_empty() && again.problems.is_empty(), "left: {left:?} {:?}", again.problems);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// P-20: whatever is declared one after the other, over whatever others have written.
    #[test]
    fn the_way_in_is_never_cut(
        declared in proptest::collection::vec(0..DECLARED.len(), 1..4),
        cluster in theirs(), host in theirs(), guest in theirs(),
        client in proptest::sample::select(vec!["192.0.2.10", "10.0.0.77", "192.168.7.20", "127.0.0.1", "2001:db8::7"]),
    ) {
        let mut there = world::applied(&site(0), now());
        there.reached_mut().way_in = Some(WayIn { client: client.parse().unwrap(), port: 22 });
        for (name, text) in [("cluster.fw", cluster), ("host:pve1", host), ("120.fw", guest)] {
            there.firewall.extend(text.map(|text| (name.to_owned(), text)));
        }
        // The loopback device is never filtered.
        if client == "127.0.0.1" {
            there.reached_mut().way_in = Some(WayIn { client: "10.0.0.77".parse().unwrap(), port: 22 });
        }
        let first = there.firewall.clone();
        for declared in declared {
            carry_on(&site(declared), &mut there)?;
        }
        // And gone again: what is left is what was there, but for a file that said nothing, and for the rules that keep the one
        // who applies from being shut out.
        carry_on(&site(0), &mut there)?;
        for (name, text) in &first {
            let (old, new) = (FirewallFile::parse(text), FirewallFile::parse(there.firewall.get(name).map_or("", String::as_str)));
            if !old.rules().any(|rule| rule.is_of("phoenix:garage:")) {
                prop_assert_eq!(old.options(), new.options());
            }
        }
    }
}

/// In zero trust a packet passes that a flow allows, on both of its ends, and no other.
#[test]
fn only_flows_pass() {
    let wanted = site(2);
    let there = world::applied(&wanted, now());
    let cluster = FirewallFile::parse(&there.firewall["cluster.fw"]);
    let passes = |from: u32, to: u32, port: u16| {
        let end = |id: u32, direction: Direction| {
            let file = FirewallFile::parse(&there.firewall[&format!("{id}.fw")]);
            let address = |id: u32| format!("10.0.0.{id}").parse().unwrap();
            let packet = Packet {
                direction,
                iface: Some("net0"),
                source: address(from),
                dest: address(to),
                proto: "tcp",
                port,
            };
            let scope = Scope { cluster: &cluster, guest: None, local: &[] };
            judge::guest(Some(&file), true, scope, &packet).passes
        };
        (end(from, Direction::Out), end(to, Direction::In))
    };
    assert_eq!(passes(153, 120, 80), (true, true));
    assert_eq!(passes(120, 153, 443), (true, true));
    assert_eq!(passes(120, 121, 5432), (false, false));
    assert_eq!(
        passes(121, 120, 80),
        (true, false),
        "packages come from anywhere, and are taken by nobody here"
    );
    assert_eq!(passes(153, 120, 22), (false, false));
}
