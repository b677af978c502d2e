//! The first workshop behind a firewall: what a flow allows passes, what none allows does not, on real packets.

use std::time::Duration;

use super::support::{Site, lacking, wait_for, write};

/// Whether a TCP connection from a guest, or from the node, is taken.
fn reaches(site: &Site, from: Option<u32>, to: &str, port: u16) -> bool {
    let connect = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{to}/{port}'");
    let command = from.map_or_else(|| connect.clone(), |id| format!("pct exec {id} -- {connect}"));
    site.on_node(&command).status.success()
}

/// The ports of a guest that take a TCP connection from a guest, or from the node: all up to 255, and those that programs
/// are known by. They are tried together, and each for two seconds, so a closed one costs no time of its own.
fn open_ports(site: &Site, from: Option<u32>, to: &str) -> Vec<u16> {
    let scan = format!(
        "for port in $(seq 1 255) 389 443 445 873 2049 2375 3128 3306 5432 6379 8000 8006 8080 8443 9100; do \
         (timeout 2 bash -c \"exec 3<>/dev/tcp/{to}/$port\" 2>/dev/null && echo $port) & \
         [ $((port % 128)) -ne 0 ] || wait; done; wait"
    );
    let command =
        from.map_or_else(|| format!("bash -c '{scan}'"), |id| format!("pct exec {id} -- bash -c '{scan}'"));
    let mut ports: Vec<u16> = site.node(&command).lines().filter_map(|line| line.parse().ok()).collect();
    ports.sort_unstable();
    ports
}

/// Writes `site.json` with something more.
fn declare(site: &Site, more: &str) {
    let text = r#"{
          "site": { "name": "workshop", "domain": "workshop.internal" },
          "target": { "lab": {} },
          "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } }"#;
    write(site.path().join("site.json"), &format!("{text}{more}\n}}\n"));
}

/// I-6, P-20, P-59, P-73, T-14.
#[test]
fn nothing_passes_but_flows() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::of_init();
    declare(&site, r#", "firewall": { "zero-trust": true }"#);
    site.lab_up();
    site.ok(&["apply"]);
    println!("real containers: nothing_passes_but_flows");
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");

    // Through the gateway, and by nobody else.
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");
    assert!(reaches(&site, Some(101), "10.0.0.120", 80) && reaches(&site, None, "10.0.0.120", 80));
    assert!(
        !reaches(&site, Some(121), "10.0.0.120", 80),
        "a guest got at another's service past the gateway"
    );
    assert!(!reaches(&site, Some(121), "10.0.0.120", 22) && !reaches(&site, None, "10.0.0.120", 22));
    assert!(reaches(&site, Some(121), "10.0.0.153", 443), "the gateway is for everybody");
    assert!(site.node("pve-firewall status").starts_with("Status: enabled/running\n"));

    // Whoever scans finds what the flows say, and nothing else, ssh of each guest among it.
    for (from, to, expected) in [
        (Some(121), "10.0.0.120", &[][..]),
        (Some(120), "10.0.0.121", &[]),
        (Some(120), "10.0.0.153", &[80, 443]),
        (Some(121), "10.0.0.254", &[]),
        (None, "10.0.0.120", &[80]),
        (None, "10.0.0.153", &[80, 443]),
    ] {
        assert_eq!(open_ports(&site, from, to), expected, "from {from:?} to {to}");
    }

    // Root of a guest speaks in another's name: from an address that is nobody's, and from another MAC. Neither gets out,
    // though anybody may come to the gateway.
    let asks_as = |source: &str| {
        let connect = format!(
            "pct exec 121 -- perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(\
             LocalAddr => \"{source}\", PeerAddr => \"10.0.0.153:443\", Timeout => 5)'"
        );
        site.on_node(&connect).status.success()
    };
    site.node("pct exec 121 -- ip addr add 10.0.0.77/24 dev eth0");
    assert!(asks_as("10.0.0.121") && !asks_as("10.0.0.77"), "a guest spoke from another address");
    site.node("pct exec 121 -- ip addr del 10.0.0.77/24 dev eth0");
    let mac = site.node("pct exec 121 -- cat /sys/class/net/eth0/address");
    site.node("pct exec 121 -- ip link set eth0 address 02:00:00:00:00:77");
    assert!(!asks_as("10.0.0.121"), "a guest spoke from another MAC");
    site.node(&format!("pct exec 121 -- ip link set eth0 address {}", mac.trim()));
    wait_for("it to be heard in its own name", Duration::from_secs(20), || asks_as("10.0.0.121"));

    // Others write rules of their own: they stay, and are no difference.
    let own = "sed -i 's/^\\[RULES\\]$/&\\n\\nIN SSH(ACCEPT) # of my own/' /etc/pve/firewall/120.fw /etc/pve/firewall/cluster.fw";
    site.node(own);
    assert_eq!(site.steps(), [""; 0]);

    // One more flow, with its reason: its rules are on both ends, and a run that is killed between writing and confirming
    // is taken up by the next.
    let flow = r#", "firewall": { "zero-trust": true }, "flows": { "look": {
        "from": "container.status", "to": "container.notes", "ports": [80], "reason": "it looks whether notes answers" } }"#;
    declare(&site, flow);
    assert_eq!(site.steps(), ["firewall.notes", "firewall.status", "service.notes", "service.status"]);
    site.killed_while("making new connections to the node");
    assert!(site.steps().contains(&"firewall.site".to_owned()), "what was not confirmed is not taken up");
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0]);
    assert!(reaches(&site, Some(121), "10.0.0.120", 80));
    assert!(site.ok(&["graph", "--flows"]).contains("flow.look: tcp 80"));
    // The guards of both runs are gone, which they are after a minute at the latest, and have put nothing back.
    wait_for("the firewall's guards to end", Duration::from_secs(75), || {
        let found = site.on_node("pgrep -f '[/]run/phoenix-firewall'");
        match found.status.code() {
            Some(0) => false,
            Some(1) => true,
            _ => panic!("{found:?}"),
        }
    });
    assert_eq!(site.steps(), [""; 0]);

    // One rule too few, and one too many: the plan sees the one, the other is somebody's own.
    site.node("sed -i '/phoenix:workshop:service.notes/d' /etc/pve/firewall/120.fw");
    assert_eq!(site.steps(), ["firewall.notes", "service.notes"]);
    site.ok(&["apply"]);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");

    // The firewall is declared no more: what others wrote is there, and nothing else.
    declare(&site, "");
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0]);
    assert!(reaches(&site, Some(121), "10.0.0.120", 22));
    let left = site.node("cat /etc/pve/firewall/*.fw /etc/pve/nodes/pve1/host.fw 2>/dev/null | grep -v '^$'");
    let own = "[RULES]\nIN SSH(ACCEPT) # of my own\n";
    assert_eq!(left.replace("[OPTIONS]\n", ""), format!("{own}{own}"));

    site.lab_down_leaves_nothing();
}
