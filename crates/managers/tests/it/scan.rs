//! Every guest of the book's workshop, scanned on paper: by the rules that its plan writes, from outside, from each guest and
//! from the node. What is open is what its flows say, and nothing else.

#![expect(clippy::panic, reason = "a failing test panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use plan::desired::{Desired, End, Flow, Transport};
use proxmox::firewall::judge::{self, NodeFiles, Packet};
use proxmox::firewall::{Direction, FirewallFile, Range, Scope};

use managers::firewall::diff::FirewallWork;
use scenarios::there::Ground;
use scenarios::{There, virtually};

use crate::support::{Files, now, plain, plan_of, site_of};

/// The node, and somebody on its network who is nobody here.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 13);
const STRANGERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 200), Ipv4Addr::new(203, 0, 113, 7)];

/// Ports that are tried beside those that the site names, and their neighbours.
const COMMON: [u16; 32] = [
    1, 20, 21, 22, 23, 25, 53, 67, 68, 69, 80, 110, 111, 123, 135, 139, 143, 161, 389, 443, 445, 873, 2049,
    2375, 3128, 3306, 5432, 6379, 8006, 8080, 9100, 65535,
];

fn files() -> Files {
    let root = camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/workshop");
    let mut files = Files::new();
    let mut left = vec![root.clone()];
    while let Some(folder) = left.pop() {
        for entry in folder.read_dir_utf8().unwrap_or_else(|error| panic!("{folder}: {error}")) {
            let path = entry.unwrap_or_else(|error| panic!("{folder}: {error}")).into_path();
            if path.is_dir() {
                left.push(path);
            } else if path.file_name() != Some("README.md") {
                let bytes = fs_err::read(&path).unwrap_or_else(|error| panic!("{error}"));
                files.insert(path.strip_prefix(&root).unwrap_or(&path).to_owned(), bytes);
            }
        }
    }
    files
}

/// Somebody who scans, or is scanned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Stranger(Ipv4Addr),
    Node,
    Guest(String),
}

fn address(desired: &Desired, who: &Who) -> Ipv4Addr {
    match who {
        Who::Stranger(address) => *address,
        Who::Node => NODE,
        Who::Guest(name) => {
            desired.guests[name.as_str()].address.unwrap_or_else(|| panic!("{name} has no address"))
        }
    }
}

/// Whether an end of a flow is this one: each of them is one thing alone.
fn is(desired: &Desired, end: &End, who: &Who) -> bool {
    match (end, who) {
        (End::Outside, Who::Stranger(_) | Who::Node) | (End::Inside, Who::Guest(_)) => true,
        (End::Host(host), Who::Guest(name)) => {
            host.guest().is_some_and(|guest| guest.as_str() == name.as_str())
        }
        (End::Host(host), Who::Node) => host.is_node(),
        (End::Net(net), who) => net.contains(&address(desired, who)),
        _ => false,
    }
}

/// A scan: what from where to where on which port.
type Open = BTreeSet<(Who, Who, &'static str, u16)>;

fn scan(
    desired: &Desired,
    everybody: &[Who],
    ports: &BTreeSet<u16>,
    open: impl Fn(&Who, &Who, &'static str, u16) -> bool,
) -> Open {
    let mut found = Open::new();
    for to in everybody.iter().filter(|to| !matches!(to, Who::Stranger(_))) {
        for from in everybody.iter().filter(|from| *from != to) {
            assert_ne!(address(desired, from), address(desired, to));
            for proto in ["tcp", "udp"] {
                let tried = ports.iter().filter(|port| open(from, to, proto, **port));
                found.extend(tried.map(|port| (from.clone(), to.clone(), proto, *port)));
            }
        }
    }
    found
}

#[test]
fn what_is_open_is_what_flows() {
    let site = site_of(&files(), scenarios::authority()).unwrap_or_else(|error| panic!("{error}"));
    let desired = &*site.desired;
    // What is written is in the plan; nothing has to be installed for that.
    let seen = virtually(async { There::new(Ground::for_all_of(desired)).await.look().await });
    let plan = plan_of(desired, &seen, &plain(now()));
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    let mut there: BTreeMap<String, String> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.address.kind() == "firewall") {
        let FirewallWork::Write { files } = apply::work(step).unwrap_or_else(|error| panic!("{error}"));
        there.extend(files.into_iter().filter_map(|file| Some((file.name, file.new?))));
    }
    let file = |name: &str| FirewallFile::parse(there.get(name).map_or("", String::as_str));
    let (cluster, host) = (file("cluster.fw"), file("host:pve1"));
    let local: Vec<Range> = Range::parse("10.0.0.0/24").into_iter().collect();
    let guests: Vec<(String, FirewallFile)> = desired
        .guests
        .values()
        .map(|guest| (guest.name.to_string(), file(&format!("{}.fw", guest.id))))
        .collect();

    let mut everybody: Vec<Who> = STRANGERS.map(Who::Stranger).into();
    everybody.push(Who::Node);
    everybody.extend(desired.guests.keys().map(|name| Who::Guest(name.to_string())));
    let mut ports: BTreeSet<u16> = COMMON.into();
    for port in desired.flows.iter().flat_map(|flow| &flow.ports) {
        ports.extend([port.saturating_sub(1).max(1), *port, port.saturating_add(1)]);
    }

    // By the rules: a packet leaves whoever sends it and comes to whom it is for.
    let passes = |who: &Who, direction: Direction, packet: Packet<'_>| {
        let packet = Packet { direction, ..packet };
        match who {
            Who::Stranger(_) => true,
            Who::Node => {
                let scope = Scope { cluster: &cluster, guest: None, local: &local };
                let packet = Packet { iface: None, ..packet };
                judge::node(NodeFiles { cluster: &cluster, host: &host }, scope, &packet).passes
            }
            Who::Guest(name) => {
                let (_, file) =
                    guests.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}"));
                let scope = Scope { cluster: &cluster, guest: None, local: &local };
                judge::guest(Some(file), true, scope, &packet).passes
            }
        }
    };
    let by_rules = scan(desired, &everybody, &ports, |from, to, proto, port| {
        let (source, dest) = (IpAddr::V4(address(desired, from)), IpAddr::V4(address(desired, to)));
        let packet = Packet { direction: Direction::Out, iface: Some("net0"), source, dest, proto, port };
        passes(from, Direction::Out, packet) && passes(to, Direction::In, packet)
    });

    // By the flows, and what Proxmox VE lets to the node without a rule: whoever manages it.
    // What leads outside may leave a guest, and opens nothing of the site's.
    let flows = |flow: &&Flow, from: &Who, to: &Who, proto: &str, port: u16| {
        let same = flow.protocol == if proto == "tcp" { Transport::Tcp } else { Transport::Udp };
        flow.to != End::Outside
            && same
            && flow.ports.contains(&port)
            && is(desired, &flow.from, from)
            && is(desired, &flow.to, to)
    };
    let by_flows = scan(desired, &everybody, &ports, |from, to, proto, port| {
        let manages = *to == Who::Node && !matches!(from, Who::Guest(_)) && proto == "tcp";
        let near = *from != Who::Stranger(STRANGERS[1]);
        let managed = manages && ([22, 8006].contains(&port) || near && (port == 3128));
        managed || desired.flows.iter().any(|flow| flows(&flow, from, to, proto, port))
    });

    let more: Vec<_> = by_rules.difference(&by_flows).collect();
    let less: Vec<_> = by_flows.difference(&by_rules).collect();
    assert!(more.is_empty(), "open, and no flow says so: {more:#?}");
    assert!(less.is_empty(), "a flow says so, and it is closed: {less:#?}");

    // The scan sees what it is for.
    let guest = |name: &str| Who::Guest(name.to_owned());
    let stranger = || Who::Stranger(STRANGERS[1]);
    assert!(by_rules.contains(&(stranger(), guest("gateway"), "tcp", 443)));
    assert!(by_rules.contains(&(guest("assistant"), guest("data"), "tcp", 6379)));
    assert!(!by_rules.contains(&(stranger(), guest("data"), "tcp", 6379)));
    assert!(!by_rules.contains(&(guest("notes"), guest("data"), "tcp", 6379)));
    let from_outside: BTreeSet<(&Who, u16)> =
        by_rules.iter().filter(|it| it.0 == stranger()).map(|it| (&it.1, it.3)).collect();
    assert!(from_outside.len() < 12, "more is open to strangers than the front door: {from_outside:?}");
}
