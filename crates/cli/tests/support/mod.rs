//! A site and its lab of real containers, for tests that are one story each.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test panics, and tells what it did"
)]
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses a part of it")]

use std::io::BufRead as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What keeps this machine from running real containers, if anything.
pub fn lacking() -> Option<String> {
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

/// A site with its lab, which ends with it.
pub struct Site {
    folder: tempfile::TempDir,
    pub ports: [u16; 3],
}

impl Site {
    /// What `init` writes, and its lab, on ports and in a folder of their own.
    pub fn up() -> Self {
        let folder = tempfile::Builder::new().prefix("phx-e2e").tempdir().unwrap();
        let site = Self { folder, ports: free_ports() };
        site.ok(&["init", "--name", "workshop"]);
        let [api, ssh, https] = site.ports.map(|p| p.to_string());
        site.ok(&["lab", "up", "--api-port", &api, "--ssh-port", &ssh, "--https-port", &https]);
        site
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn run(&self, args: &[&str]) -> Output {
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

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} ended with {:?}", output.status.code());
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Starts an apply and kills it (SIGKILL) as soon as it reports this.
    pub fn killed_while(&self, report: &str) {
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
    pub fn fetch(&self, name: &str) -> (String, String) {
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

    /// Runs a command on the lab's node, over ssh.
    pub fn node(&self, command: &str) -> String {
        let lab = std::fs::read_to_string(self.path().join(".phoenix/lab/node.json")).unwrap();
        let lab: Value = serde_json::from_str(&lab).unwrap();
        let options =
            ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        let output = Command::new("ssh")
            .args(options.into_iter().flat_map(|option| ["-o", option]))
            .args(["-p", &self.ports[1].to_string(), "-i", lab["ssh"]["identity"].as_str().unwrap()])
            .args(["root@127.0.0.1", command])
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
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
pub fn traces(folder: &Path) -> Vec<String> {
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

/// Writes a file of the site.
pub fn write(path: PathBuf, text: &str) {
    std::fs::write(path, text).unwrap();
}
