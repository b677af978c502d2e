//! The node's network for real, in a lab: an inner bridge with NAT, a guest on it, and a change that would cut the way in. The
//! lab's node has ifupdown, not ifupdown2, so links go down and up.

use std::time::Duration;

use super::support::{Site, lacking, wait_for, write};

fn declare(site: &Site, network: &str) {
    let text = format!(
        r#"{{
          "site": {{ "name": "workshop", "domain": "workshop.internal" }},
          "target": {{ "lab": {{}} }},
          "networks": {{
            "lan": {{ "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" }},
            "inner": {{ "bridge": "vmbr1", "subnet": "10.1.0.0/24", "gateway": "10.1.0.1" }}
          }},
          "hypervisor": {{ "network": {network} }}
        }}"#
    );
    write(site.path().join("site.json"), &text);
}

const GUEST: &str = r#"{ "containers": { "notes": { "id": 120, "network": "inner", "address": "10.1.0.120", "template": "debian-12",
    "disk": "4G", "memory": "256M" } } }"#;

/// P-20, P-16.
#[test]
fn an_inner_network_is_made_changed_and_never_cuts_the_way_in() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::of_init();
    for file in std::fs::read_dir(site.path()).unwrap().map(|it| it.unwrap().path()) {
        if file.extension().is_some_and(|it| it == "json") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let inner = r#"{ "vmbr1": { "ports": [], "address": "10.1.0.1/24", "nat": true } }"#;
    declare(&site, inner);
    write(site.path().join("guests.json"), GUEST);
    site.lab_up();
    println!("real containers: an_inner_network_is_made_changed_and_never_cuts_the_way_in");
    let before = site.node("cat /etc/network/interfaces");
    assert!(!before.contains("vmbr1"), "the lab made what the plan is to make: {before}");
    let steps = site.steps();
    assert_eq!(&steps[..2], ["network.vmbr1", "container.notes"], "{steps:?}");
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");
    let text = site.node("cat /etc/network/interfaces");
    assert!(text.starts_with(&before) && text.contains("auto vmbr1"), "{text}");
    assert!(site.on_node("pct exec 120 -- ping -c1 -W2 10.1.0.1").status.success());
    // The node's other network answers it, under the node's address.
    assert!(site.on_node("pct exec 120 -- ping -c1 -W2 10.0.0.1").status.success());

    // A change of a bridge that a guest is on: with ifupdown it goes down and comes up, and the guest is on it again.
    declare(&site, r#"{ "vmbr1": { "ports": [], "address": "10.1.0.1/24", "nat": true, "mtu": 1400 } }"#);
    assert_eq!(site.steps(), ["network.vmbr1"]);
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0]);
    assert_eq!(site.node("cat /sys/class/net/vmbr1/mtu").trim(), "1400");
    wait_for("the guest to be on its bridge again", Duration::from_secs(20), || {
        site.on_node("pct exec 120 -- ping -c1 -W2 10.1.0.1").status.success()
    });

    // The way in under an address that nobody knows: it is asked about, and nothing is done.
    let inner = r#"{ "vmbr1": { "ports": [], "address": "10.1.0.1/24", "nat": true, "mtu": 1400 } }"#;
    declare(&site, &inner.replace(" } }", r#" }, "eth0": { "address": "198.51.100.2/24" } }"#));
    let planned = site.ok(&["plan"]);
    assert!(planned.contains("this cuts the way to the node"), "{planned}");
    let held = site.run(&["apply"]);
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert!(!held.status.success() && said.contains("no consent to destroy network.eth0"), "{said}");
    // That the node takes back what cuts is tried with real programs elsewhere: into this lab one gets past its network.
    assert!(!site.node("cat /etc/network/interfaces").contains("198.51.100.2"));
    declare(&site, inner);
    assert_eq!(site.steps(), [""; 0], "something was done");

    site.ok(&["destroy", "--confirm", "workshop"]);
    assert_eq!(site.node("cat /etc/network/interfaces"), before);
    assert!(!site.on_node("ip link show vmbr1").status.success());
    site.lab_down_leaves_nothing();
}
