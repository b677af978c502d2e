//! The same workshop behind a firewall: what a flow allows passes, what none allows does not, on real packets.

use super::*;

impl Site {
    /// Runs a command on the node.
    fn node(&self, command: &str) -> Output {
        let text = std::fs::read_to_string(self.path().join(".phoenix/lab/node.json")).unwrap();
        let lab: Value = serde_json::from_str(&text).unwrap();
        let port = self.ports[1].to_string();
        let options =
            ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        Command::new("ssh")
            .args(options.iter().flat_map(|option| ["-o", option]))
            .args(["-p", &port, "-i", lab["ssh"]["identity"].as_str().unwrap(), "root@127.0.0.1", command])
            .output()
            .unwrap()
    }

    /// Whether a TCP connection from a guest, or from the node, is taken.
    fn reaches(&self, from: Option<u32>, to: &str, port: u16) -> bool {
        let connect = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{to}/{port}'");
        let command = from.map_or_else(|| connect.clone(), |id| format!("pct exec {id} -- {connect}"));
        self.node(&command).status.success()
    }

    fn firewall(&self, text: &str) {
        let site = r#"{
          "site": { "name": "workshop", "domain": "workshop.internal" },
          "target": { "lab": {} },
          "networks": { "lan": { "bridge": "vmbr0", "subnet": "10.0.0.0/24", "gateway": "10.0.0.1" } }"#;
        write(self.path().join("site.json"), &format!("{site}{text}\n}}\n"));
    }

    fn steps(&self) -> Vec<String> {
        let plan = self.json(&["plan", "--json"]);
        assert_eq!(plan["problems"].as_array().unwrap().len(), 0, "{plan}");
        plan["steps"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap().to_owned()).collect()
    }
}

/// I-6, P-20, P-59, P-73, T-14.
#[test]
fn nothing_passes_but_flows() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site =
        Site { folder: tempfile::Builder::new().prefix("phx-fw").tempdir().unwrap(), ports: free_ports() };
    site.ok(&["init", "--name", "workshop"]);
    site.firewall(r#", "firewall": { "zero-trust": true }"#);
    let [api, ssh, https] = site.ports.map(|p| p.to_string());
    site.ok(&["lab", "up", "--api-port", &api, "--ssh-port", &ssh, "--https-port", &https]);
    site.ok(&["apply"]);
    println!("real containers: nothing_passes_but_flows");
    assert_eq!(site.steps(), [""; 0], "the second plan is not empty");

    // Through the gateway, and by nobody else.
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");
    assert!(site.reaches(Some(101), "10.0.0.120", 80) && site.reaches(None, "10.0.0.120", 80));
    assert!(!site.reaches(Some(121), "10.0.0.120", 80), "a guest got at another's service past the gateway");
    assert!(!site.reaches(Some(121), "10.0.0.120", 22) && !site.reaches(None, "10.0.0.120", 22));
    assert!(site.reaches(Some(121), "10.0.0.153", 443), "the gateway is for everybody");
    assert!(site.node("pve-firewall status").stdout.starts_with(b"Status: enabled/running\n"));

    // Others write rules of their own: they stay, and are no difference.
    let own = "sed -i 's/^\\[RULES\\]$/&\\n\\nIN SSH(ACCEPT) # of my own/' /etc/pve/firewall/120.fw /etc/pve/firewall/cluster.fw";
    assert!(site.node(own).status.success());
    assert_eq!(site.steps(), [""; 0]);

    // One more flow, with its reason: its rules are on both ends, and a run that is killed between writing and confirming
    // is taken up by the next.
    let flow = r#", "firewall": { "zero-trust": true }, "flows": { "look": {
        "from": "container.status", "to": "container.notes", "ports": [80], "reason": "it looks whether notes answers" } }"#;
    site.firewall(flow);
    assert_eq!(site.steps(), ["firewall.notes", "firewall.status", "service.notes", "service.status"]);
    site.killed_while("making new connections to the node");
    assert!(site.steps().contains(&"firewall.site".to_owned()), "what was not confirmed is not taken up");
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0]);
    assert!(site.reaches(Some(121), "10.0.0.120", 80));
    assert!(site.ok(&["graph", "--flows"]).contains("flow.look: tcp 80"));
    // A minute later the guard has nothing to put back.
    std::thread::sleep(Duration::from_secs(62));
    assert_eq!(site.steps(), [""; 0]);

    // One rule too few, and one too many: the plan sees the one, the other is somebody's own.
    assert!(
        site.node("sed -i '/phoenix:workshop:service.notes/d' /etc/pve/firewall/120.fw").status.success()
    );
    assert_eq!(site.steps(), ["firewall.notes", "service.notes"]);
    site.ok(&["apply"]);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");

    // The firewall is declared no more: what others wrote is there, and nothing else.
    site.firewall("");
    site.ok(&["apply"]);
    assert_eq!(site.steps(), [""; 0]);
    assert!(site.reaches(Some(121), "10.0.0.120", 22));
    let left = site.node("cat /etc/pve/firewall/*.fw /etc/pve/nodes/pve1/host.fw 2>/dev/null | grep -v '^$'");
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    let own = "[RULES]\nIN SSH(ACCEPT) # of my own\n";
    assert_eq!(left.replace("[OPTIONS]\n", ""), format!("{own}{own}"));

    let folder = site.path().to_owned();
    site.ok(&["lab", "down"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(traces(&folder), Vec::<String>::new());
}
