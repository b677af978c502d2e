//! A fresh node becomes a site's: from an address and root's password to a plan, against the lab's node with its real sshd.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking")]

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::support::{Site, lacking, wait_for, write};

/// What the node's console would show.
struct Console {
    host_key: String,
    fingerprint: String,
}

fn console(lab: &Site) -> Console {
    let host_key = lab.node("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
    let text = std::fs::read_to_string(lab.path().join(".phoenix/lab/node.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    Console {
        host_key: host_key.split_whitespace().nth(1).unwrap().to_owned(),
        fingerprint: record["fingerprint"].as_str().unwrap().to_owned(),
    }
}

#[test]
fn from_a_password_to_a_plan() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let lab = Site::up();
    println!("real containers: from_a_password_to_a_plan");
    lab.node(
        "echo root:p4ss-of-the-node | chpasswd && printf 'PermitRootLogin yes\\nPasswordAuthentication yes\\n' > \
         /etc/ssh/sshd_config.d/00-test.conf && systemctl restart ssh",
    );
    // One that is only reloaded says so before it listens again.
    wait_for("the node's ssh server", Duration::from_secs(30), || lab.on_node("true").status.success());
    let Console { host_key, fingerprint } = console(&lab);
    let site = Site::of_init();
    let before = std::fs::read_to_string(site.path().join("site.json")).unwrap();
    let [api, ssh, _] = lab.ports.map(|port| port.to_string());
    let node = ["bootstrap", "127.0.0.1", "--port", &ssh, "--api-port", &api];
    let run = |more: &[&str]| {
        let output = site.run(&[&node[..], more].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let password = |text: &str| {
        write(site.path().join("pw"), &format!("{text}\n"));
        site.path().join("pw").to_string_lossy().into_owned()
    };
    let known = ["--host-key", &host_key, "--fingerprint", &fingerprint];
    let with = |file: &str| -> Vec<String> {
        let all = [&["--yes", "--replace-target", "--password-file", file], &known[..]].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let all = |file: &str| {
        let words = with(file);
        run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };

    // Nobody compared, or it is another: nothing is sent, and nothing is written.
    let (code, said) = run(&["--yes"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(&host_key) && said.contains(&fingerprint) && said.contains("--host-key SHA256:"),
        "{said}"
    );
    let other = format!("SHA256:{}", "A".repeat(43));
    let (code, said) = run(&["--yes", "--host-key", &other, "--fingerprint", &fingerprint]);
    assert!(code == Some(1) && said.contains("shows the ssh key"), "{said}");
    // Another target gives way only where that is said.
    let (code, said) = run(&[&["--yes"], &known[..]].concat());
    assert!(code == Some(2) && said.contains("--replace-target"), "{said}");
    let (code, said) = all(&password("wrong"));
    assert!(code == Some(1) && said.contains("is the password right"), "{said}");
    assert_eq!(std::fs::read_to_string(site.path().join("site.json")).unwrap(), before);

    // Killed as soon as the key is there, it goes on with no password at all.
    let right = password("p4ss-of-the-node");
    let mut killed = Command::new(env!("CARGO_BIN_EXE_phoenix-cli"));
    killed
        .arg("--site")
        .arg(site.path())
        .args(node)
        .args(with(&right))
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = killed.spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.map_while(Result::ok).any(|line| line.contains("put the site's own key")));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&right).unwrap();
    let goes_on = [&["--yes", "--replace-target"], &known[..]].concat();
    let (code, said) = run(&goes_on);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("takes the site's key") && said.contains("made the token"), "{said}");
    assert!(said.contains("the node itself has the certificate") && said.contains("a plan works"), "{said}");
    let keys = lab.node("cat /root/.ssh/authorized_keys");
    let own = format!(" phoenix-{}\n", site.path().file_name().unwrap().to_string_lossy());
    assert_eq!(keys.matches(&own).count(), 1, "{keys}");
    // What is secret is its owner's alone, and in no file of the site.
    for file in ["id_ed25519", "token"] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = site.path().join(".phoenix/node").join(file);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let after = std::fs::read_to_string(site.path().join("site.json")).unwrap();
    assert!(
        after.contains(&fingerprint)
            && after.contains("\"host-key\"")
            && after.contains("// What this site is"),
        "{after}"
    );
    let token = std::fs::read_to_string(site.path().join(".phoenix/node/token")).unwrap();
    assert!(!after.contains(token.trim()), "{after}");

    // The token has what it needs and no more; the way there holds.
    let checks = site.json(&["doctor", "--json"]);
    let find = |name: &str| {
        let all = checks["checks"].as_array().unwrap();
        all.iter().find(|it| it["check"] == name).unwrap_or_else(|| panic!("{checks}")).clone()
    };
    assert!(find("privileges")["seen"].as_str().unwrap().starts_with("all "), "{checks}");
    assert_eq!(find("privileges")["warning"], Value::Null);
    assert_eq!(find("commands on the node")["ok"], true);

    // Again: nothing is made. With the secret gone: another token, by the same command.
    let (code, said) = run(&goes_on);
    assert!(code == Some(0) && said.contains("is there, and has what this blueprint needs"), "{said}");
    std::fs::remove_file(site.path().join(".phoenix/node/token")).unwrap();
    let (code, said) = run(&goes_on);
    assert!(code == Some(0) && said.contains("made the token"), "{said}");
    assert_ne!(std::fs::read_to_string(site.path().join(".phoenix/node/token")).unwrap(), token);
    site.ok(&["plan"]);

    // A folder that says nothing of a target gets a file of its own, with what the node has; a key gets in as a password does.
    let bare = Site::of_init();
    bare.edit("site.json", "\"target\": { \"lab\": {} },", "");
    let text = std::fs::read_to_string(lab.path().join(".phoenix/lab/node.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let identity = record["ssh"]["identity"].as_str().unwrap();
    bare.ok(&[&node[..], &["--yes", "--identity", identity], &known[..]].concat());
    let file = std::fs::read_to_string(bare.path().join("target.json")).unwrap();
    assert!(file.contains("//   links") && file.contains(".phoenix/node/id_ed25519"), "{file}");
    bare.ok(&["plan"]);
}
