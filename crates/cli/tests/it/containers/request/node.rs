//! The node's own certificate: its API shows one of the workshop's, it renews that by itself, and it gets its own back.

use std::process::Command;

use serde_json::Value;

use crate::containers::support::{Site, wait_for};

const LIST: &str = "/usr/local/lib/phoenix/certificates list hypervisor";

/// The status its API answers with to whoever trusts the workshop's root alone and asks for the node's name.
fn answers(site: &Site) -> String {
    let port = site.ports[0];
    let output = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
        .arg(site.root())
        .args(["--resolve", &format!("pve.workshop.internal:{port}:127.0.0.1")])
        .arg(format!("https://pve.workshop.internal:{port}/api2/json/version"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the node says of the certificate.
fn seen(site: &Site) -> Value {
    serde_json::from_str(&site.node(LIST)).unwrap()
}

/// Its API shows it, its name leads to it, and the page of the book is right about what to type there. The serial number.
pub fn shows_the_workshops(site: &Site) -> String {
    assert_eq!(answers(site), "401", "nobody is let in without a token, and everybody sees who it is");
    assert_eq!(
        site.inside("notes", "getent hosts pve.workshop.internal").1.split(' ').next(),
        Some("10.0.0.1")
    );
    let seen = seen(site);
    assert_eq!(seen["served"][0]["same"], true, "{seen}");
    let listed = site.json(&["certs", "--json"]);
    let all = listed["certificates"].as_array().unwrap();
    let own = all.iter().find(|row| row["address"] == "hypervisor.certificate").unwrap();
    assert_eq!((&own["state"], &own["on"]), (&"good".into(), &"the node".into()), "{own}");
    assert!(site.ok(&["health", "hypervisor.certificate"]).contains("hypervisor"));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/certificates.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = page.split("On the node itself:").nth(1).unwrap().split("```").nth(1).unwrap();
    let lines: Vec<&str> = block.lines().skip(1).collect();
    assert!(!lines.is_empty());
    for line in lines {
        assert!(!site.node(line).is_empty(), "{line}");
    }
    seen["serial"].as_str().unwrap().to_owned()
}

/// Whatever happened to the authority meanwhile.
pub fn renews_by_itself(site: &Site, before: &str) {
    let renewed = || {
        let seen = seen(site);
        seen["serial"] != before && seen["served"][0]["same"] == true && seen["error"].is_null()
    };
    wait_for("the node to renew its certificate", std::time::Duration::from_mins(10), renewed);
    assert_eq!(answers(site), "401");
}

/// Without it in the blueprint, it goes, with all that kept it; whoever pinned the node's own goes on.
pub fn gets_its_own_back(site: &Site) {
    site.edit(
        "site.json",
        r#""hypervisor": { "certificate": true"#,
        r#""hypervisor": { "certificate": false"#,
    );
    let plan = site.json(&["plan", "--json"]);
    let steps = plan["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1, "{plan}");
    assert_eq!(
        (&steps[0]["address"], &steps[0]["action"]),
        (&"hypervisor.certificate".into(), &"delete".into())
    );
    assert!(steps[0]["root"].is_string(), "it says why it takes root on the node");
    site.ok(&["apply"]);
    assert_eq!(answers(site), "000", "the workshop's root does not vouch for the node's own");
    // What is installed there has nothing to do with it, and goes by itself.
    let features = r#", "features": [{ "sysctl": { "settings": { "net.ipv4.conf.all.log_martians": 1 } } }]"#;
    assert_eq!(site.node("sysctl -n net.ipv4.conf.all.log_martians").trim(), "1");
    site.edit("site.json", features, "");
    let plan = site.json(&["plan", "--json"]);
    assert_eq!(plan["steps"][0]["address"], "feature.sysctl@node", "{plan}");
    site.ok(&["apply"]);
    let left = site.node(
        "ls -d /etc/phoenix /var/lib/phoenix /usr/local/lib/phoenix /etc/systemd/system/phoenix-[cp]* \
         /usr/local/share/ca-certificates/* /etc/pve/local/pveproxy-ssl.* 2>/dev/null || true",
    );
    assert_eq!(left, "");
    let plan = site.json(&["plan", "--json"]);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 0, "{plan}");
}
