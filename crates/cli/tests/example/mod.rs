//! A site in a lab of its own, for tests on real containers.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

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

/// A copy of an example in a folder of its own.
pub struct Site {
    folder: tempfile::TempDir,
    /// API, ssh, HTTPS on 127.0.0.1.
    pub ports: [u16; 3],
}

impl Site {
    /// A copy of `examples/NAME`, without what is not a blueprint.
    pub fn of_example(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("phx-e2e").tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
        let status = Command::new("sh")
            .args(["-c", "cd \"$0\" && tar -c --exclude=./.phoenix . | tar -x -C \"$1\""])
            .arg(from)
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        Self { folder, ports: free_ports() }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces a text in one of its files.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Starts its lab.
    pub fn lab_up(&self) {
        let [api, ssh, https] = self.ports.map(|p| p.to_string());
        self.ok(&["lab", "up", "--api-port", &api, "--ssh-port", &ssh, "--https-port", &https]);
    }

    /// Runs the program on the site.
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

    /// What it prints when it succeeds, as it must.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} ended with {:?}", output.status.code());
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON it prints, whether it succeeds or not.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?} printed no JSON: {e}"))
    }

    /// A line of shell in a guest: whether it succeeded, and what it printed.
    pub fn inside(&self, guest: &str, line: &str) -> (bool, String) {
        let output = self.run(&["exec", guest, "--", "sh", "-c", line]);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A command on the lab's node, over ssh.
    pub fn node(&self, command: &str) -> String {
        let text = std::fs::read_to_string(self.path().join(".phoenix/lab/node.json")).unwrap();
        let lab: Value = serde_json::from_str(&text).unwrap();
        let output = Command::new("ssh")
            .args([
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-p", &self.ports[1].to_string(), "-i", lab["ssh"]["identity"].as_str().unwrap()])
            .args(["root@127.0.0.1", command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The workshop's root, in a file.
    pub fn root(&self) -> PathBuf {
        let path = self.path().join("root.pem");
        if !path.exists() {
            std::fs::write(&path, self.ok(&["certs", "root"])).unwrap();
        }
        path
    }

    /// curl as on this machine, through the gateway, trusting the workshop's root alone.
    pub fn curl(&self, name: &str, path: &str, more: &[&str]) -> Command {
        let mut command = Command::new("curl");
        let port = self.ports[2];
        command
            .args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert"])
            .arg(self.root())
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("https://{name}:{port}{path}"));
        command
    }

    /// The status that is answered.
    pub fn status(&self, name: &str, path: &str, more: &[&str]) -> String {
        let mut all = vec!["-o", "/dev/null", "-w", "%{http_code}"];
        all.extend(more);
        let output = self.curl(name, path, &all).output().unwrap();
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

/// Waits until it holds; how long that took.
pub fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
    begin.elapsed()
}

/// Everything of a lab that could be left on this machine: links, nft tables, processes, mounts.
pub fn traces(folder: &Path) -> Vec<String> {
    let run = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .output()
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default()
    };
    let all = [
        run("ip", &["-o", "link"]),
        run("nft", &["list", "tables"]),
        run("ps", &["-eo", "args"]),
        run("cat", &["/proc/mounts"]),
    ];
    let mine = |line: &&str| line.contains(&*folder.to_string_lossy());
    all.iter().flat_map(|text| text.lines().filter(mine).map(str::to_owned).collect::<Vec<_>>()).collect()
}
