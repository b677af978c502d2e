//! A workshop on two nodes of a cluster: each guest is made, filled, asked and destroyed on its own.

use std::time::Duration;

use super::support::{Site, lacking, wait_for, write};

const GUESTS: &str = r#"{
  "types": { "small": { "template": "debian-12", "cores": 1, "memory": "256M", "disk": "2G", "features": ["trusted-ca"] } },
  "containers": {
    "here": { "id": 120, "type": "small", "address": "10.0.0.120" },
    "there": {
      "id": 121, "type": "small", "address": "10.0.0.121", "node": "pve2",
      "mounts": { "mp0": { "path": "/mnt/node", "host": "/srv" } }
    }
  }
}
"#;

/// T-9, P-24.
#[test]
fn a_guest_on_each_of_two_nodes() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site = Site::of_init();
    write(site.path().join("guests.json"), GUESTS);
    site.lab_up_with(&["--nodes", "2"]);
    println!("real containers: a_guest_on_each_of_two_nodes");
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");

    // Each is on its own node, and what takes root was set there.
    let on = |node: &str| site.node(&format!("ls /etc/pve/nodes/{node}/lxc"));
    assert_eq!((on("pve1").as_str(), on("pve2").as_str()), ("120.conf\n", "121.conf\n"));
    assert!(site.node("cat /etc/pve/nodes/pve2/lxc/121.conf").contains("mp0: /srv,mp=/mnt/node"));
    assert_eq!(site.on_node("pct exec 121 -- true").status.code(), Some(2), "it is not the first node's");

    // Commands, arguments and input get into both, and what is inside is as it should be.
    for guest in ["here", "there"] {
        assert_eq!(site.inside(guest, "hostname"), (true, guest.to_owned()));
        assert_eq!(
            site.inside(guest, "printf '%s|' 'a  b' \"it's\" '$HOME'"),
            (true, "a  b|it's|$HOME|".to_owned())
        );
        assert_eq!(site.run(&["exec", guest, "--", "sh", "-c", "exit 255"]).status.code(), Some(255));
        assert!(site.ok(&["logs", guest, "--lines", "3"]).lines().count() > 0);
    }
    let drift = site.json(&["drift", "--json"]);
    assert_eq!(drift["steps"].as_array().unwrap().len(), 0, "{drift}");
    site.ok(&["doctor"]);
    assert!(site.ok(&["health"]).contains("there"));

    // The lock was on both nodes. Whoever has it on the second one only keeps a run from beginning: that is where somebody
    // who came by that node would have it too.
    let second = "ssh -o BatchMode=yes -o HostKeyAlias=pve2 -o UserKnownHostsFile=/etc/pve/nodes/pve2/ssh_known_hosts \
                  -o GlobalKnownHostsFile=none root@10.0.0.253 --";
    let file = "/run/phoenix/workshop.lock";
    for on in ["", second] {
        assert!(site.node(&format!("{on} cat {file}.owner")).contains("(process "));
    }
    site.node(&format!("{second} \"setsid flock {file} sleep 300 >/dev/null 2>&1 </dev/null & sleep 0.3\""));
    let refused = site.run(&["apply"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("another run works on workshop"), "{said}");
    site.node(&format!("{second} pkill -xf \"'sleep 300'\""));

    // A node that is away keeps what is on it: nothing is done there, and the rest is.
    site.edit("guests.json", "\"memory\": \"256M\"", "\"memory\": \"320M\"");
    site.on_node(&format!("{second} systemctl poweroff --force --force"));
    let notes = || site.json(&["plan", "--json"])["notes"].to_string();
    wait_for("the cluster to miss the node", Duration::from_secs(30), || {
        notes().contains("pve2, which is offline")
    });
    assert_eq!(site.steps(), ["container.here"]);
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0]);
    // It is back, and what waited is done.
    site.lab_up_with(&["--nodes", "2"]);
    assert_eq!(site.steps(), ["container.there"]);
    site.ok(&["apply"]);
    assert!(site.inside("there", "free -m").1.contains(" 320 "), "the new limit is not seen inside");

    // All goes, on both.
    site.ok(&["destroy", "--confirm", "workshop"]);
    assert_eq!((on("pve1"), on("pve2")), (String::new(), String::new()));
    site.lab_down_leaves_nothing();
}
