//! The firewall's plans: whatever is declared, whatever others have written, nobody who was let in is shut out on the way,
//! and what others have written is there at the end as it was at the beginning.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failing test panics")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use managers::firewall::diff::FirewallWork;
use proptest::prelude::*;
use proxmox::firewall::judge::{self, NodeFiles, Packet};
use proxmox::firewall::{Direction, FirewallFile, Range, Rule, Scope};

use scenarios::there::Ground;
use scenarios::{Site, There, virtually};

use crate::support::{Files, SITE, now, plain, plan_of, site_of};

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

fn site(declared: usize) -> Site {
    let mut files = Files::new();
    let text = match DECLARED[declared] {
        "" => SITE.to_owned(),
        firewall => SITE.replacen('{', &format!("{{ \"firewall\": {firewall},"), 1),
    };
    files.insert("site.json".into(), text.into());
    files.insert("guests.json".into(), GUESTS.into());
    site_of(&files, scenarios::authority()).unwrap_or_else(|error| panic!("{error}"))
}

/// Everybody who has a cache of packages, in zero trust.
const CACHED: &str = r#"{
  "types": { "small": { "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G", "features": ["base"] } },
  "containers": {
    "cache": { "id": 120, "type": "small", "address": "10.0.0.120", "features": [{ "package-cache": { "port": 3143 } }] },
    "notes": { "id": 121, "type": "small", "address": "10.0.0.121" }
  }
}"#;

/// Whether a packet passes the file of a guest, in zero trust, with these guests applied.
fn in_zero_trust(guests: &str) -> impl Fn(&str, Direction, &str, &str, u16) -> bool + use<> {
    let mut files = Files::new();
    let zero_trust = SITE.replacen('{', r#"{ "firewall": { "zero-trust": true },"#, 1);
    files.insert("site.json".into(), zero_trust.into());
    files.insert("guests.json".into(), guests.into());
    let wanted = site_of(&files, scenarios::authority()).unwrap_or_else(|error| panic!("{error}"));
    let files = virtually(async { There::applied(&wanted).await.look().await }).firewall;
    let (cluster, local) =
        (FirewallFile::parse(&files["cluster.fw"]), [Range::parse("10.0.0.0/24").unwrap()]);
    move |guest: &str, direction: Direction, source: &str, dest: &str, port: u16| {
        let own = FirewallFile::parse(&files[guest]);
        let scope = Scope { cluster: &cluster, guest: Some(&own), local: &local };
        let (source, dest) = (source.parse().unwrap(), dest.parse().unwrap());
        let packet = Packet { direction, iface: None, source, dest, proto: "tcp", port };
        judge::guest(Some(&own), true, scope, &packet).passes
    }
}

/// The attack: somebody is root in a guest, and sends what was found there to a web server of their own, or takes what runs
/// in the next guest. Without the cache, `packages` lets them; with it, nothing does but the cache's own port.
#[test]
fn a_guest_whose_packages_come_through_a_cache_reaches_no_other_web_server() {
    let (out, into) = (Direction::Out, Direction::In);
    let before =
        in_zero_trust(&CACHED.replace(r#", "features": [{ "package-cache": { "port": 3143 } }]"#, ""));
    assert!(before("121.fw", out, "10.0.0.121", "203.0.113.9", 80), "the way out that there is by default");
    let now = in_zero_trust(CACHED);
    for dest in ["203.0.113.9", "192.168.1.5", "10.0.0.120", "10.0.0.13", "10.0.0.1"] {
        for port in [80, 443, 3142] {
            assert!(!now("121.fw", out, "10.0.0.121", dest, port), "{dest}:{port}");
        }
    }
    // What it is for: the others ask it, it asks the mirrors, and nobody else asks it.
    assert!(now("121.fw", out, "10.0.0.121", "10.0.0.120", 3143));
    assert!(now("120.fw", into, "10.0.0.121", "10.0.0.120", 3143));
    assert!(now("120.fw", out, "10.0.0.120", "203.0.113.9", 80));
    assert!(!now("120.fw", into, "192.168.1.5", "10.0.0.120", 3143));
}

const SHOWN: &str = r#"{
  "types": { "small": { "template": "debian-12", "cores": 1, "memory": "1G", "disk": "4G", "options": { "nesting": true, "keyctl": true } } },
  "containers": {
    "portainer": { "id": 120, "type": "small", "address": "10.0.0.120",
      "features": ["docker", { "portainer": { "password": { "generate": "portainer-admin" } } }] },
    "docker": { "id": 121, "type": "small", "address": "10.0.0.121", "features": ["docker", "portainer-agent"] },
    "notes": { "id": 122, "type": "small", "address": "10.0.0.122" }
  }
}"#;

/// An agent does whatever it is told to on its Docker host.
#[test]
fn only_portainer_reaches_the_agents_of_docker_hosts() {
    let now = in_zero_trust(SHOWN);
    assert!(now("120.fw", Direction::Out, "10.0.0.120", "10.0.0.121", 9001));
    assert!(now("121.fw", Direction::In, "10.0.0.120", "10.0.0.121", 9001));
    for source in ["10.0.0.122", "10.0.0.1", "192.168.1.5"] {
        assert!(!now("121.fw", Direction::In, source, "10.0.0.121", 9001), "{source}");
    }
    assert!(!now("121.fw", Direction::In, "10.0.0.120", "10.0.0.121", 9002));
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

/// Applies. Whoever was let in before is let in after each write; and so is whoever applies, once the firewall is as
/// declared.
async fn carry_on(wanted: &Site, there: &mut There) -> Result<(), TestCaseError> {
    let seen = there.look().await;
    let plan = plan_of(&wanted.desired, &seen, &plain(now()));
    if !plan.problems.is_empty() {
        return Ok(());
    }
    let client = seen.reached().way_in.unwrap().client;
    let callers: Vec<(IpAddr, u16)> =
        managers().into_iter().chain([client]).flat_map(|it| [(it, 22), (it, 8006)]).collect();
    let declared = wanted.desired.firewall.as_ref();
    // Who is not named any more may be shut out; who applies never.
    let named = |it: IpAddr| {
        let holds =
            |net: &cidr::Ipv4Cidr| Range::parse(&format!("{net:#}")).is_some_and(|range| range.holds(it));
        declared
            .is_some_and(|firewall| firewall.management.is_empty() || firewall.management.iter().any(holds))
    };
    let before = seen.firewall;
    let was_in: Vec<&(IpAddr, u16)> =
        callers.iter().filter(|(it, port)| gets_in(&before, *it, *port)).collect();
    // The node writes a step's files one after the other.
    let (mut files, mut writes) = (before.clone(), 0);
    for step in plan.steps.iter().filter(|step| step.address.kind() == "firewall") {
        let FirewallWork::Write { files: written } = apply::work(step).unwrap();
        for file in written {
            match file.new {
                Some(text) => files.insert(file.name, text),
                None => files.remove(&file.name),
            };
            writes += 1;
            for (it, port) in &was_in {
                let must = *it == client || named(*it);
                prop_assert!(
                    !must || gets_in(&files, *it, *port),
                    "{it}:{port} is shut out after {writes} writes of\n{before:#?}\n{files:#?}",
                );
            }
        }
    }
    prop_assert_eq!(there.carry_out(wanted, &plan).await, Default::default());
    let after = there.look().await;
    prop_assert_eq!(&after.firewall, &files, "the node has other files than were planned");
    if declared.is_some() {
        for port in [22, 8006] {
            prop_assert!(gets_in(&files, client, port), "{:#?}", files);
        }
    }
    for name in before.keys() {
        prop_assert_eq!(foreign(&before, name), foreign(&files, name), "{}", name);
    }
    let again = plan_of(&wanted.desired, &after, &plain(now()));
    let left: Vec<_> = again.steps.iter().map(|step| step.address.to_string()).collect();
    prop_assert!(left.is_empty() && again.problems.is_empty(), "left: {left:?} {:?}", again.problems);
    Ok(())
}

/// Whatever is declared one after the other, by somebody from there, over what others have written.
async fn never_cut(
    declared: Vec<usize>,
    theirs: [(&str, Option<String>); 3],
    client: &str,
) -> Result<(), TestCaseError> {
    // The loopback device is never filtered, and nobody comes by it from outside.
    let client = if client == "127.0.0.1" { "10.0.0.77" } else { client };
    let mut there = There::new(Ground { client: client.parse().ok(), ..Ground::default() }).await;
    there.apply(&site(0)).await;
    for (name, text) in theirs {
        there.world.node.put_firewall_file(name, text.as_deref()).unwrap();
    }
    let first = there.look().await.firewall;
    for declared in declared {
        carry_on(&site(declared), &mut there).await?;
    }
    // And gone again: what is left is what was there, but for a file that said nothing, and for the rules that keep the one
    // who applies from being shut out.
    carry_on(&site(0), &mut there).await?;
    let last = there.look().await.firewall;
    for (name, text) in &first {
        let (old, new) =
            (FirewallFile::parse(text), FirewallFile::parse(last.get(name).map_or("", String::as_str)));
        if !old.rules().any(|rule| rule.is_of("phoenix:garage:")) {
            prop_assert_eq!(old.options(), new.options());
        }
    }
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
        let theirs = [("cluster.fw", cluster), ("host:pve1", host), ("120.fw", guest)];
        virtually(never_cut(declared, theirs, client))?;
    }
}

/// In zero trust a packet passes that a flow allows, on both of its ends, and no other.
#[test]
fn only_flows_pass() {
    let there = virtually(async { There::applied(&site(2)).await.look().await });
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
