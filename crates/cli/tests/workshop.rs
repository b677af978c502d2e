//! The whole path, for real: a blueprint becomes running containers in the lab, and a request gets its answer over
//! HTTPS, verified against the workshop's own root alone. One test, since it is one story.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test panics, and tells what it did"
)]

#[path = "workshop/firewall.rs"]
mod firewall;

use std::io::BufRead as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What keeps this machine from running real containers, if anything.
fn lacking() -> Option<String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
    if !root {
        return Some("not root".into());
    }
    ["lxc-start", "mmdebstrap", "ip", "nft", "curl", "ssh"]
        .into_iter()
        .find(|p| {
            !Command::new("sh")
                .args(["-c", &format!("command -v {p}")])
                .output()
                .is_ok_and(|o| o.status.success())
        })
        .map(|p| format!("{p} is not installed"))
}

struct Site {
    folder: tempfile::TempDir,
    ports: [u16; 3],
}

impl Site {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_phoenix-cli"))
            .arg("--site")
            .arg(self.path())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        eprintln!(
            "$ phoenix-cli {}\n{}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} ended with {:?}", output.status.code());
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Starts an apply and kills it (SIGKILL) as soon as it reports this.
    fn killed_while(&self, report: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_phoenix-cli"))
            .arg("--site")
            .arg(self.path())
            .args(["apply", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map_while(Result::ok).any(|line| line.contains(report));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen, "the run ended before it reported `{report}`");
    }

    /// Fetches a page as a browser on this machine would, trusting only the workshop's root.
    fn fetch(&self, name: &str) -> (String, String) {
        let root = self.path().join("root.pem");
        std::fs::write(&root, self.ok(&["certs", "root"])).unwrap();
        let port = self.ports[2];
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "--cacert"])
            .arg(&root)
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}/")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("curl said: {text}{errors}"));
        (status.to_owned(), body.to_owned())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.run(&["lab", "down"]);
    }
}

/// Ports nobody has; taken together, so that they differ.
fn free_ports() -> [u16; 3] {
    let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    [0, 1, 2].map(|n| listeners[n].local_addr().unwrap().port())
}

/// Everything of labs that could be left on this machine: links, nft tables, containers' processes.
fn traces(folder: &Path) -> Vec<String> {
    let run = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .output()
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default()
    };
    let id = std::fs::read_to_string(folder.join(".phoenix/lab/id")).unwrap_or_default();
    let mine = |line: &&str| {
        !id.trim().is_empty() && line.contains(id.trim()) || line.contains(&*folder.to_string_lossy())
    };
    let all = [
        run("ip", &["-o", "link"]),
        run("nft", &["list", "tables"]),
        run("ps", &["-eo", "args"]),
        run("cat", &["/proc/mounts"]),
    ];
    all.iter().flat_map(|text| text.lines().filter(mine).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn write(path: PathBuf, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_blueprint_becomes_a_workshop_that_answers() {
    if let Some(reason) = lacking() {
        println!("skipped: {reason}");
        return;
    }
    let site =
        Site { folder: tempfile::Builder::new().prefix("phx-e2e").tempdir().unwrap(), ports: free_ports() };
    site.ok(&["init", "--name", "workshop"]);
    let [api, ssh, https] = site.ports.map(|p| p.to_string());
    site.ok(&["lab", "up", "--api-port", &api, "--ssh-port", &ssh, "--https-port", &https]);

    // A plan changes nothing, and says what would be done.
    let plan = site.json(&["plan", "--json"]);
    assert!(plan["summary"]["actions"]["create"].as_u64().unwrap() >= 3, "{plan}");
    assert_eq!(site.run(&["plan", "--detailed-exitcode"]).status.code(), Some(3));

    // Killed in the middle of installing something, and started again: it carries on (I-2, P-24).
    site.killed_while("install package nginx-light");
    site.ok(&["apply"]);
    let history = site.json(&["history", "--json"]);
    let outcomes: Vec<&Value> = history["runs"].as_array().unwrap().iter().map(|r| &r["outcome"]).collect();
    assert_eq!(outcomes, [&Value::from("done"), &Value::Null], "the killed run is known as cut off");
    println!("real containers: a_blueprint_becomes_a_workshop_that_answers");
    let (status, body) = site.fetch("notes.workshop.internal");
    assert_eq!(status, "200", "{body}");
    assert_eq!(site.fetch("status.workshop.internal").0, "200");

    // P-79, I-2: the second apply has nothing to do.
    let plan = site.json(&["plan", "--json"]);
    assert_eq!(plan["steps"].as_array().unwrap().len(), 0, "{plan}");
    assert_eq!(site.run(&["plan", "--detailed-exitcode"]).status.code(), Some(0));
    site.ok(&["doctor"]);
    // Names resolve inside, and HTTPS works from one guest to another through the system's own trust store.
    let inside = site.ok(&[
        "exec",
        "status",
        "--",
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "https://notes.workshop.internal/",
    ]);
    assert_eq!(inside.trim(), "200");

    // One line of one page: that one file is changed, and nothing else.
    let page = site.path().join("pages/notes/index.html");
    let changed = std::fs::read_to_string(&page).unwrap().replace("</body>", "<p>one more line</p>\n</body>");
    write(page, &changed);
    let plan = site.json(&["plan", "--json"]);
    let steps: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap()).collect();
    assert_eq!(steps, ["feature.static-site@container.notes", "service.notes"]);
    let events = site.ok(&["apply", "--json"]);
    let changes: Vec<&str> = events.lines().filter(|l| l.contains("\"changed\"")).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].contains("/srv/site/index.html"));
    assert!(site.fetch("notes.workshop.internal").1.contains("one more line"));

    // A feature of the site's own, with no Rust: a folder with a description, used like any other.
    std::fs::create_dir_all(site.path().join("features/greeting")).unwrap();
    let feature = r#"{
        "description": "Greets whoever logs in.",
        "parameters": { "text": { "type": "string", "description": "What it says." } },
        "files": [{ "path": "/etc/motd", "content": "{{ text }} from {{ guest.name }}\n" }]
    }"#;
    write(site.path().join("features/greeting/feature.json"), feature);
    let guests = site.path().join("guests.json");
    let text = std::fs::read_to_string(&guests).unwrap();
    let with = text.replace(
        r#"[{ "static-site": { "root": "pages/status/" } }]"#,
        r#"[{ "static-site": { "root": "pages/status/" } }, { "greeting": { "text": "hello" } }]"#,
    );
    assert_ne!(text, with);
    write(guests, &with);
    site.ok(&["apply", "--target", "feature.greeting@container.status"]);
    assert_eq!(site.ok(&["exec", "status", "--", "cat", "/etc/motd"]), "hello from status\n");

    // Destroyed by hand: it comes back with the same address and MAC (T-8, T-11).
    let config = |id: &str| site.ok(&["exec", id, "--", "cat", "/sys/class/net/eth0/address"]);
    let mac = config("120");
    let node = |command: &str| {
        let lab: Value = serde_json::from_str(
            &std::fs::read_to_string(site.path().join(".phoenix/lab/node.json")).unwrap(),
        )
        .unwrap();
        let output = Command::new("ssh")
            .args([
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-p",
                &ssh,
            ])
            .args(["-i", lab["ssh"]["identity"].as_str().unwrap(), "root@127.0.0.1", command])
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    node("pct stop 120 && pct destroy 120");
    site.ok(&["apply"]);
    assert_eq!(config("120"), mac);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");

    // S-15: with every backend down the gateway boots, and with one back that one answers.
    node("pct stop 120; pct stop 121; pct stop 101; pct start 101");
    // Its services need a moment after the start; no more than half a minute.
    let until = Instant::now() + Duration::from_secs(30);
    while site.fetch("notes.workshop.internal").0 != "502" {
        assert!(Instant::now() < until, "the gateway does not answer without its backends");
        std::thread::sleep(Duration::from_millis(500));
    }
    site.ok(&["apply"]);
    assert_eq!(site.fetch("notes.workshop.internal").0, "200");

    // A guest of somebody else's, which nothing here may touch (P-16).
    node(
        "pct create 900 local:vztmpl/$(ls /var/lib/vz/template/cache | head -1) --hostname foreign --rootfs local:1 --memory 128",
    );
    // Without consent nothing is destroyed, and the exit code says so.
    assert_eq!(site.run(&["destroy"]).status.code(), Some(4));
    assert_eq!(site.run(&["destroy", "--confirm", "another"]).status.code(), Some(4));
    site.ok(&["destroy", "--confirm", "workshop"]);
    let left = node("pct list");
    assert!(left.contains("foreign") && !left.contains("notes"), "{left}");

    let folder = site.path().to_owned();
    site.ok(&["lab", "down"]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(traces(&folder), Vec::<String>::new());
}
