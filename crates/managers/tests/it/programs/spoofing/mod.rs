//! Who is root in a guest speaks in another's name: the files that a site's plan writes, compiled as the lab compiles them,
//! in force on the links of a bridge, and forged frames that are really sent.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests, with helpers beside them")]

mod frame;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use lab::firewall::{Abilities, Input, Link, compile};
use proxmox::firewall::{FirewallFile, Range};
use scenarios::{Site, There, virtually};

use crate::support::{Files, site_of};
use frame::{Frame, Mac};

/// A guest that was broken into, its victim, one whose address the network gives, and one that routes for others.
const GUESTS: &str = r#"{
  "types": { "small": { "template": "debian-12", "cores": 1, "memory": "512M", "disk": "4G" } },
  "containers": {
    "broken": { "id": 120, "type": "small", "address": "10.0.0.20" },
    "victim": { "id": 121, "type": "small", "address": "10.0.0.21" },
    "roamer": { "id": 122, "type": "small", "address": "dhcp" },
    "router": { "id": 123, "type": "small",
                "networks": { "net0": { "address": "10.0.0.23", "allowed-addresses": ["10.8.0.0/24"] } } }
  }
}"#;

/// What each of them may say to the victim, and to the network.
const FLOWS: &str = r#""flows": {
  "hello": { "from": "inside", "to": "container.victim", "protocol": "udp", "ports": [7777], "reason": "a test" },
  "away": { "from": "inside", "to": "outside", "protocol": "udp", "ports": [7777], "reason": "a test" } }"#;

fn site(firewall: &str) -> Site {
    let text = format!(
        r#"{{
          "site": {{ "name": "workshop", "domain": "workshop.internal" }},
          "target": {{ "proxmox": {{ "endpoint": "https://10.0.0.13:8006", "token": {{ "env": "TOKEN" }}, "ssh": "root@10.0.0.13" }} }},
          "networks": {{ "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }} }},
          "firewall": {firewall}, {FLOWS}
        }}"#
    );
    let mut files = Files::new();
    files.insert("site.json".into(), text.into());
    files.insert("guests.json".into(), GUESTS.into());
    site_of(&files, scenarios::authority()).unwrap_or_else(|error| panic!("{error}"))
}

/// The files that a site has once it is applied.
fn files(site: &Site) -> BTreeMap<String, String> {
    virtually(async { There::applied(site).await.look().await.firewall })
}

fn input(site: &Site, files: &BTreeMap<String, String>, abilities: Abilities) -> Input {
    let file = |name: &str| FirewallFile::parse(files.get(name).map_or("", String::as_str));
    let link = |guest: &plan::desired::Guest| {
        let nic = &guest.nets[&0];
        Link {
            id: guest.id,
            slot: 0,
            mac: Some(nic.mac.clone()),
            addresses: Range::parse(nic.ip.split('/').next().unwrap()).into_iter().collect(),
            firewall: nic.firewall,
        }
    };
    let guests = site.desired.guests.values();
    Input {
        cluster: file("cluster.fw"),
        host: file("host:pve1"),
        guests: guests.clone().map(|it| (it.id, file(&format!("{}.fw", it.id)))).collect(),
        links: guests.map(link).collect(),
        local: Vec::new(),
        abilities,
    }
}

/// The links of the bridge: the guests', and the one that leads away.
const LINKS: [&str; 5] = ["veth120i0", "veth121i0", "veth122i0", "veth123i0", "lan"];

/// What kernel this is; none, with a line that says why, where there can be no such test.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn abilities() -> Option<Abilities> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ready = Command::new("unshare").args(["-n", "nft", "list", "tables"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        println!("skipped: nft is not installed, or this is not root");
        return None;
    }
    Some(runtime.block_on(Abilities::of_this_kernel()).unwrap())
}

/// Sends the frames, and says where each arrives: `NAME END`.
fn heard(input: &Input, frames: &[(&str, Frame)]) -> BTreeSet<String> {
    let compiled = compile(input);
    assert_eq!(compiled.warnings, [""; 0]);
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let mut lines = String::new();
    for (link, frame) in frames {
        lines += &format!("p{link} {}\n", frame.line());
    }
    let output = Command::new("unshare")
        .args(["-n", "sh"])
        .arg(put("bridge.sh", include_str!("bridge.sh")))
        .arg(put("rules", &compiled.script))
        .arg(put("frames", &lines))
        .arg(put("frames.pl", include_str!("frames.pl")))
        .args(LINKS)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", compiled.script);
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The names of those frames that arrived anywhere.
fn arrived(heard: &BTreeSet<String>) -> BTreeSet<&str> {
    heard.iter().filter_map(|line| line.split(' ').next()).collect()
}

fn mac(site: &Site, name: &str) -> Mac {
    frame::mac(&site.desired.guests[name].nets[&0].mac)
}

/// What is sent in one's own name, and must get through.
fn honest(site: &Site) -> Vec<(&'static str, Frame)> {
    let broken = mac(site, "broken");
    vec![
        ("veth120i0", Frame::arp("own-arp", broken, broken, "10.0.0.20")),
        ("veth120i0", Frame::udp("own-hello", broken, ("10.0.0.20", 40000), ("10.0.0.21", 7777))),
    ]
}

/// What is sent in another's, or in a way that no filter looks at.
fn forged(site: &Site) -> Vec<(&'static str, Frame)> {
    let (broken, victim) = (mac(site, "broken"), mac(site, "victim"));
    let own_local = frame::link_local(broken);
    let their_local = frame::link_local(victim);
    let hello = |name, mac, source| Frame::udp(name, mac, (source, 40001), ("10.0.0.99", 7777));
    let inner = || Frame::udp("", broken, ("10.0.0.21", 40002), ("10.0.0.99", 7777));
    let frames = vec![
        Frame::arp("arp-victim", broken, broken, "10.0.0.21"),
        Frame::arp("arp-router", broken, broken, "10.0.0.1"),
        Frame::arp("arp-node", broken, broken, "10.0.0.13"),
        Frame::arp("arp-mac", victim, victim, "10.0.0.20"),
        hello("ip-victim", broken, "10.0.0.21"),
        hello("ip-router", broken, "10.0.0.1"),
        hello("ip-nobody", broken, "10.0.0.77"),
        hello("ip-abroad", broken, "192.0.2.1"),
        hello("ip-mac", victim, "10.0.0.20"),
        hello("ip-mac-and-address", victim, "10.0.0.21"),
        Frame::udp("dhcp-offer", broken, ("10.0.0.20", 67), ("255.255.255.255", 68)),
        Frame::udp("dhcp-forged", victim, ("10.0.0.21", 68), ("10.0.0.1", 67)),
        inner().wrapped("vlan", 0x8100, &[0, 7, 8, 0]),
        inner().wrapped("vlan-in-vlan", 0x88a8, &[0, 7, 0x81, 0, 0, 9, 8, 0]),
        inner().wrapped("pppoe", 0x8864, &[0x11, 0, 0, 1, 0, 60, 0, 0x21]),
        Frame::other("lldp", broken, 0x88cc),
        Frame::icmp6("router-advertisement", broken, own_local, 134),
        Frame::icmp6("neighbour-advertisement", broken, own_local, 136),
        Frame::icmp6("neighbour-as-victim", broken, their_local, 136),
        Frame::icmp6("ipv6-abroad", broken, "2001:db8::7".parse().unwrap(), 128),
    ];
    frames.into_iter().map(|frame| ("veth120i0", frame)).collect()
}

/// The last frames of those who sent some: they arrive wherever the firewall lets anything through.
fn ends(site: &Site) -> Vec<(&'static str, Frame)> {
    let broken = mac(site, "broken");
    vec![("veth120i0", Frame::arp("end", broken, broken, "10.0.0.20"))]
}

fn names<'a>(frames: &'a [(&str, Frame)]) -> BTreeSet<&'a str> {
    frames.iter().map(|(_, frame)| frame.name.as_str()).collect()
}

#[test]
fn nobody_speaks_in_anothers_name() {
    let Some(abilities) = abilities() else { return };
    for declared in [r"{}", r#"{ "zero-trust": true }"#] {
        let site = site(declared);
        let files = files(&site);
        let input = input(&site, &files, abilities);
        let (honest, forged) = (honest(&site), forged(&site));
        let all = [honest.clone(), forged.clone(), ends(&site)].concat();

        // The attack is one: with the firewall off all of it arrives.
        let off = Input { cluster: FirewallFile::default(), ..input.clone() };
        let heard_off = heard(&off, &all);
        let missing: Vec<&str> = names(&forged).difference(&arrived(&heard_off)).copied().collect();
        assert_eq!(missing, [""; 0], "{declared}: the firewall is off, and these are no attacks");

        let heard = heard(&input, &all);
        let through: Vec<&str> = names(&forged).intersection(&arrived(&heard)).copied().collect();
        assert_eq!(through, [""; 0], "{declared}: forged frames got through\n{files:#?}");
        let lost: Vec<&str> = names(&honest).difference(&arrived(&heard)).copied().collect();
        assert_eq!(lost, [""; 0], "{declared}: honest frames did not get through\n{files:#?}");
        assert!(heard.contains("own-hello pveth121i0"), "{declared}: {heard:?}");
    }
}

/// What each filter is for: without it, what it keeps back arrives.
#[test]
fn each_filter_is_needed() {
    let Some(abilities) = abilities() else { return };
    let site = site("{}");
    let files = files(&site);
    for (option, value, expected) in [
        (
            "ipfilter",
            "0",
            &["arp-victim", "arp-router", "arp-node", "ip-victim", "ip-router", "ip-abroad"][..],
        ),
        ("macfilter", "0", &["arp-mac", "ip-mac"]),
        ("layer2_protocols", "ARP,802_1Q,LLDP,PPP_SES", &["vlan", "lldp", "pppoe"]),
        ("dhcp", "1", &["dhcp-forged"]),
    ] {
        let mut input = input(&site, &files, abilities);
        input.guests.get_mut(&120).unwrap().set_option(option, Some(value));
        let heard = heard(&input, &[forged(&site), ends(&site)].concat());
        let through = arrived(&heard);
        for name in expected {
            assert!(through.contains(name), "{option}: {value} does not let {name} through: {through:?}");
        }
    }
}

/// Of an address that the network gives is known only whose it is not.
#[test]
fn who_has_an_address_by_chance_is_nobody_who_is_known() {
    let Some(abilities) = abilities() else { return };
    for declared in [r"{}", r#"{ "zero-trust": true }"#] {
        let site = site(declared);
        let files = files(&site);
        let input = input(&site, &files, abilities);
        let (roamer, router) = (mac(&site, "roamer"), mac(&site, "router"));
        let hello = |name, mac, source| Frame::udp(name, mac, (source, 40001), ("10.0.0.99", 7777));
        let good = [
            (
                "veth122i0",
                Frame::udp("asks-for-an-address", roamer, ("0.0.0.0", 68), ("255.255.255.255", 67)),
            ),
            ("veth122i0", Frame::arp("arp-free", roamer, roamer, "10.0.0.200")),
            ("veth122i0", hello("ip-free", roamer, "10.0.0.200")),
            ("veth123i0", hello("routed", router, "10.8.0.5")),
            ("veth123i0", hello("router-itself", router, "10.0.0.23")),
        ];
        let bad = [
            ("veth122i0", Frame::arp("arp-victim", roamer, roamer, "10.0.0.21")),
            ("veth122i0", Frame::arp("arp-router", roamer, roamer, "10.0.0.1")),
            ("veth122i0", Frame::arp("arp-node", roamer, roamer, "10.0.0.13")),
            ("veth122i0", hello("ip-victim", roamer, "10.0.0.21")),
            ("veth122i0", hello("ip-gateway", roamer, "10.0.0.1")),
            ("veth122i0", hello("ip-abroad", roamer, "192.0.2.1")),
            ("veth123i0", hello("routed-victim", router, "10.0.0.21")),
            ("veth123i0", hello("routed-elsewhere", router, "10.9.0.5")),
        ];
        let last = [
            ("veth122i0", Frame::arp("end", roamer, roamer, "10.0.0.201")),
            ("veth123i0", Frame::arp("end-too", router, router, "10.0.0.23")),
        ];
        let heard = heard(&input, &[&bad[..], &good[..], &last[..]].concat());
        let through = arrived(&heard);
        let expected: BTreeSet<&str> = names(&good).union(&names(&last)).copied().collect();
        assert_eq!(through, expected, "{declared}\n{files:#?}");
    }
}

/// What somebody on the network says of itself does not reach a guest: that it is a router of IPv6, or gives out addresses.
#[test]
fn nobody_outside_becomes_a_guests_router() {
    let Some(abilities) = abilities() else { return };
    for declared in [r"{}", r#"{ "zero-trust": true }"#] {
        let site = site(declared);
        let files = files(&site);
        let stranger = frame::mac("02:00:00:00:00:99");
        let local = frame::link_local(stranger);
        let frames = [
            ("lan", Frame::icmp6("router-advertisement", stranger, local, 134)),
            ("lan", Frame::icmp6("neighbour-advertisement", stranger, local, 136)),
            ("lan", Frame::udp("dhcp-offer", stranger, ("10.0.0.66", 67), ("255.255.255.255", 68))),
            ("lan", Frame::arp("end", stranger, stranger, "10.0.0.66")),
        ];
        let heard = heard(&input(&site, &files, abilities), &frames);
        let all = ["veth120i0", "veth121i0", "veth122i0", "veth123i0"];
        let mut expected: BTreeSet<String> = all.iter().map(|link| format!("end p{link}")).collect();
        // Who asks for an address takes it from whoever answers; others have nothing that listens for it.
        let hear = if declared == "{}" { &all[..] } else { &all[2..3] };
        expected.extend(hear.iter().map(|link| format!("dhcp-offer p{link}")));
        assert_eq!(heard, expected, "{declared}\n{files:#?}");
    }
}
