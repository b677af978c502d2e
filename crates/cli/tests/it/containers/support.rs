//! A site and its lab of real containers, for tests that are one story each.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test panics, and tells what it did"
)]

use std::io::BufRead as _;
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

/// A site in a folder of its own, with its lab, which ends with it.
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

    /// What `init` writes.
    pub fn of_init() -> Self {
        let folder = tempfile::Builder::new().prefix("phx-e2e").tempdir().unwrap();
        let site = Self { folder, ports: free_ports() };
        site.ok(&["init", "--name", "workshop"]);
        site
    }

    /// The same, with its lab.
    pub fn up() -> Self {
        let site = Self::of_init();
        site.lab_up();
        site
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
        self.lab_up_with(&[]);
    }

    /// Starts its lab, with this said, too.
    pub fn lab_up_with(&self, more: &[&str]) {
        let [api, ssh, https] = self.ports.map(|p| p.to_string());
        let mut all = vec!["lab", "up", "--api-port", &api, "--ssh-port", &ssh, "--https-port", &https];
        all.extend(more);
        self.ok(&all);
    }

    /// Ends its lab; what is killed may be listed for a moment longer, and then nothing of it is left.
    pub fn lab_down_leaves_nothing(&self) {
        let id = self.lab_id();
        let traces = || traces(self.path(), &id);
        assert!(!traces().is_empty(), "what is looked for is not seen while the lab runs");
        self.ok(&["lab", "down"]);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(300) && !traces().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(traces(), Vec::<String>::new());
    }

    /// What its lab calls its link, table and cgroups, as its record on this machine says.
    fn lab_id(&self) -> String {
        let records = std::fs::read_dir("/run/phoenix-lab").unwrap().map(|entry| entry.unwrap().path());
        let texts =
            records.filter(|p| p.extension().is_some_and(|e| e == "json")).map(std::fs::read_to_string);
        let records = texts.filter_map(Result::ok).map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let own =
            |record: &Value| record["folder"].as_str().unwrap().starts_with(&*self.path().to_string_lossy());
        records.filter(own).map(|r| r["names"]["id"].as_str().unwrap().to_owned()).next().unwrap()
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
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        eprintln!("$ phoenix-cli {}\n{out}{err}", args.join(" "));
        crate::secret::is_in_none(self.path(), args, &[&out, &err]);
        output
    }

    /// What it prints when it succeeds, as it must. Where it does not, its last lines are in the panic: whoever reads only
    /// that still sees what the program said.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let failed = said.lines().filter(|line| line.starts_with('✘'));
            let last = said.lines().rev().take(25).collect::<Vec<_>>();
            let lines: Vec<&str> = failed.chain(last.into_iter().rev()).collect();
            panic!("{args:?} ended with {:?}\n{}", output.status.code(), lines.join("\n"));
        }
        String::from_utf8(output.stdout).unwrap()
    }

    /// Addresses of what a plan, in which nothing is wrong, would do.
    pub fn steps(&self) -> Vec<String> {
        let plan = self.json(&["plan", "--json"]);
        assert_eq!(plan["problems"].as_array().unwrap().len(), 0, "{plan}");
        plan["steps"].as_array().unwrap().iter().map(|s| s["address"].as_str().unwrap().to_owned()).collect()
    }

    /// The JSON it prints, whether it succeeds or not.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?} printed no JSON: {e}"))
    }

    /// Starts an apply and kills it (SIGKILL) as soon as it reports this.
    pub fn killed_while(&self, report: &str) {
        self.cut_off_while(report, || {});
    }

    /// The same; what else ends in that moment is done first.
    pub fn cut_off_while(&self, report: &str, cut: impl FnOnce()) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_phoenix-cli"))
            .arg("--site")
            .arg(self.path())
            .args(["apply", "--json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut failures = Vec::new();
        let seen = lines.map_while(Result::ok).any(|line| {
            if line.contains("failed") {
                failures.push(line.clone());
            }
            line.contains(report)
        });
        if seen {
            cut();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen, "the run ended before it reported `{report}`: {failures:#?}");
    }

    /// A line of shell in a guest: whether it succeeded, and what it printed.
    pub fn inside(&self, guest: &str, line: &str) -> (bool, String) {
        let output = self.run(&["exec", guest, "--", "sh", "-c", line]);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The status that a URL answers with inside of a guest, which gets curl for it where it has none.
    pub fn status_inside(&self, guest: &str, url: &str) -> (bool, String) {
        self.inside(
            guest,
            &format!(
                "command -v curl >/dev/null || apt-get install -qq --no-install-recommends curl >/dev/null 2>&1
                 curl -sS -o /dev/null -m 10 -w '%{{http_code}}' {url}"
            ),
        )
    }

    /// How a command on the lab's node ended, over ssh.
    pub fn on_node(&self, command: &str) -> Output {
        self.on_node_reading(command, Stdio::null())
    }

    /// The same, with something to read.
    pub fn on_node_reading(&self, command: &str, input: impl Into<Stdio>) -> Output {
        let text = std::fs::read_to_string(self.path().join(".phoenix/lab/node.json")).unwrap();
        let lab: Value = serde_json::from_str(&text).unwrap();
        let options =
            ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        Command::new("ssh")
            .args(options.into_iter().flat_map(|option| ["-o", option]))
            .args(["-p", &self.ports[1].to_string(), "-i", lab["ssh"]["identity"].as_str().unwrap()])
            .args(["root@127.0.0.1", command])
            .stdin(input)
            .output()
            .unwrap()
    }

    /// What a command on the node says, when it succeeds, as it must.
    pub fn node(&self, command: &str) -> String {
        let output = self.on_node(command);
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

    /// Status and body of a service's first page.
    pub fn fetch(&self, name: &str) -> (String, String) {
        let output = self.curl(name, "/", &["-w", "\n%{http_code}"]).output().unwrap();
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

/// Waits until it holds; how long that took.
pub fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
    begin.elapsed()
}

/// Everything of a lab that could be left on this machine: links, nft tables, processes, mounts, cgroups.
fn traces(folder: &Path, id: &str) -> Vec<String> {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} failed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mine = |line: &&str| line.contains(id) || line.contains(&*folder.to_string_lossy());
    let all = [
        run("ip", &["-o", "link"]),
        run("nft", &["list", "tables"]),
        run("ps", &["-eo", "args"]),
        run("cat", &["/proc/mounts"]),
        run("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-name", "phx-*"]),
    ];
    all.iter().flat_map(|text| text.lines().filter(mine).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Writes a file of the site.
pub fn write(path: PathBuf, text: &str) {
    std::fs::write(path, text).unwrap();
}
