//! The lab with real containers, from nothing to nothing: each test has a folder, ports and a lab of its own, so that
//! it never meets one that a person has started, nor what a killed run left.
//!
//! Without root or LXC they say `skipped:` and why. Each that ran prints `real containers: NAME`, which CI counts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod cluster;
mod firewall;
mod hardware;
mod machines;
mod offers;

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use lab::up::{self, Found, LabSpec, Network, NodeRecord, Ports};
use proxmox::exchange::{Exchange, Method, Request};
use proxmox::http::{Credential, HttpExchange, HttpOptions, Trust};
use serde_json::Value;

/// Says a line that the test harness does not hold back.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}

/// Whether real containers can be had here.
fn real(name: &str) -> bool {
    match up::check() {
        Ok(()) => {
            say(&format!("real containers: {name}"));
            true
        }
        Err(error) => {
            say(&format!("skipped: {name}: {error}"));
            false
        }
    }
}

/// The program that the lab runs on its node: an example of this crate, beside the test's own file.
fn program() -> Utf8PathBuf {
    let own = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("examples/labctl");
    assert!(path.exists(), "{path} is missing: cargo build -p lab --example labctl");
    path
}

/// Three, each another one: all are held until all are known.
fn free_ports() -> Ports {
    let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [api, ssh, https] = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
    Ports { api, ssh, https }
}

/// A lab that goes away with the test, however it ends.
struct Lab {
    /// Kept: its folder goes away with it.
    _parent: tempfile::TempDir,
    spec: LabSpec,
    before: Vec<String>,
}

impl Lab {
    fn new() -> Self {
        let parent = tempfile::Builder::new().prefix("phxlab").tempdir().unwrap();
        let folder = Utf8Path::from_path(parent.path()).unwrap().join("lab");
        let var = |name: &str| std::env::var(name).ok();
        let spec = LabSpec {
            folder: short(folder),
            node: "pve1".to_owned(),
            others: Vec::new(),
            networks: vec![Network {
                bridge: "vmbr0".to_owned(),
                subnet: "10.0.0.0/24".parse().unwrap(),
                gateway: Ipv4Addr::new(10, 0, 0, 1),
                node: None,
            }],
            storages: vec!["local-zfs".to_owned()],
            ports: free_ports(),
            reserved: [Ipv4Addr::new(10, 0, 0, 128)].into(),
            https_target: None,
            program: Some(program()),
            cache: up::cache_folder(var("PHOENIX_CACHE").as_deref(), var("HOME").as_deref()),
            machine: None,
        };
        Self { before: machine(), _parent: parent, spec }
    }

    fn folder(&self) -> &Utf8Path {
        &self.spec.folder
    }

    async fn up(&self) -> (NodeRecord, Found) {
        up::up(&self.spec, &|_| {})
            .await
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    fn record(&self) -> NodeRecord {
        NodeRecord::read(self.folder()).unwrap()
    }

    /// Runs a command line on the node, over ssh.
    fn ssh(&self, line: &str) -> Output {
        let argv = up::shell(self.folder(), None).unwrap();
        let argv: Vec<&String> = argv.iter().filter(|a| *a != "-t").collect();
        Command::new(argv[0]).args(&argv[1..]).arg(line).output().unwrap()
    }

    /// The same, and it must succeed.
    fn on_node(&self, line: &str) -> String {
        let output = self.ssh(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "`{line}` on the node: {} {out} {err}", output.status);
        out
    }

    fn api(&self) -> Arc<HttpExchange> {
        let record = self.record();
        let token = fs_err::read_to_string(&record.token_file).unwrap();
        let (id, secret) = token.trim().split_once('=').unwrap();
        let credential = Credential::Token { id: id.to_owned(), secret: secret.to_owned().into() };
        let trust = Trust::Fingerprint(record.fingerprint.parse().unwrap());
        Arc::new(HttpExchange::new(HttpOptions::new(&record.endpoint, trust, credential)).unwrap())
    }

    async fn call(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Value {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request = Request { method, path: path.to_owned(), params };
        let answer = self.api().exchange(&request).await.unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {} {}", answer.reason, answer.body);
        answer.body["data"].clone()
    }

    /// Calls and waits for the task that it starts.
    async fn task(&self, method: Method, path: &str, params: &[(&str, &str)]) {
        self.long_task(method, path, params, Duration::from_secs(120)).await;
    }

    /// The same, for one that takes longer.
    async fn long_task(&self, method: Method, path: &str, params: &[(&str, &str)], limit: Duration) {
        let upid = self.call(method, path, params).await.as_str().unwrap().to_owned();
        // `UPID:NODE:…`
        let node = upid.split(':').nth(1).unwrap();
        let upid_in_path = upid.replace(':', "%3A").replace('@', "%40").replace('!', "%21");
        let path = format!("/nodes/{node}/tasks/{upid_in_path}");
        let end = Instant::now() + limit;
        loop {
            let status = self.call(Method::Get, &format!("{path}/status"), &[]).await;
            if status["status"] == "stopped" {
                let ended = status["exitstatus"].as_str().unwrap_or_default().to_owned();
                let log = self.call(Method::Get, &format!("{path}/log"), &[]).await;
                assert!(ended == "OK" || ended.starts_with("WARNINGS"), "{upid}: {ended} {log}");
                return;
            }
            assert!(Instant::now() < end, "{upid} still runs");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn create(&self, id: u32, address: &str, onboot: bool) {
        self.create_on("pve1", id, address, onboot).await;
    }

    async fn create_on(&self, node: &str, id: u32, address: &str, onboot: bool) {
        let net = format!("name=eth0,bridge=vmbr0,ip={address}/24,gw=10.0.0.1");
        self.create_from(node, &self.record().template.unwrap(), id, &net, onboot).await;
    }

    async fn create_from(&self, node: &str, template: &str, id: u32, net: &str, onboot: bool) {
        let (id, onboot) = (id.to_string(), if onboot { "1" } else { "0" });
        let params = [
            ("vmid", id.as_str()),
            ("ostemplate", template),
            ("hostname", "notes"),
            ("rootfs", "local-zfs:1"),
            ("memory", "256"),
            ("swap", "128"),
            ("cores", "1"),
            ("unprivileged", "1"),
            ("features", "nesting=1"),
            ("net0", net),
            ("onboot", onboot),
            ("nameserver", "10.0.0.1"),
            ("searchdomain", "workshop.internal"),
        ];
        self.task(Method::Post, &format!("/nodes/{node}/lxc"), &params).await;
    }

    /// Waits until a command line on the node succeeds.
    fn until(&self, line: &str) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.ssh(line);
            if output.status.success() {
                return text(&output.stdout);
            }
            let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
            assert!(Instant::now() < end, "`{line}` never succeeded: {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The first process of the node.
    fn node_process(&self) -> u32 {
        self.process_of("")
    }

    /// The same of another node, by what its container is called beside the lab.
    fn process_of(&self, node: &str) -> u32 {
        let id = format!("{}{node}", up::Names::of(self.folder(), 0).id);
        let output = Command::new("lxc-info")
            .args(["-P", self.folder().join("lxc").as_str(), "-n", &id, "-pH"])
            .output();
        text(&output.unwrap().stdout).trim().parse().unwrap()
    }

    /// The inode numbers of the guests' images.
    fn images(&self) -> Vec<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let found = run(&["find", self.folder().as_str(), "-name", "*.raw"]);
        found.lines().map(|path| fs_err::metadata(path).unwrap().ino()).collect()
    }

    async fn down(&self) -> Vec<String> {
        let images = self.images();
        let removed = up::down(self.folder()).await.unwrap().things;
        let after = machine();
        // Loop devices show the path in their node, which is the same in all labs; a number tells whose it is.
        let loops = run(&["losetup", "-l", "-n", "-O", "BACK-INO,BACK-FILE"]);
        let held = loops.lines().filter(|l| l.ends_with("(deleted)"));
        let held: Vec<&str> =
            held.filter(|l| images.iter().any(|i| l.trim().starts_with(&format!("{i} ")))).collect();
        assert_eq!(held, [""; 0], "images that are still in use");
        assert_eq!(mine(self.folder()), [""; 0], "left behind by `down`");
        assert_eq!(self.before, after, "the machine is not as it was");
        assert!(!self.folder().exists(), "the folder is still there");
        removed
    }
}

/// The folder itself, after checking that its sockets' paths fit into what the system allows (108 bytes).
fn short(folder: Utf8PathBuf) -> Utf8PathBuf {
    assert!(folder.as_str().len() < 80, "the temporary folder's path is too long: {folder}");
    folder
}

impl Drop for Lab {
    fn drop(&mut self) {
        // After a panic, too. When the test has taken it down itself there is nothing to do.
        let _ = Command::new(program()).args(["lab", "down", "--folder", self.folder().as_str()]).output();
    }
}

/// The first bytes that come from a port of this machine.
fn ask(port: u16) -> Vec<u8> {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut greeting = [0; 4];
    let read = stream.read(&mut greeting).unwrap_or_default();
    greeting[..read].to_vec()
}

/// What a program prints.
fn run(argv: &[&str]) -> String {
    text(&Command::new(argv[0]).args(&argv[1..]).output().unwrap().stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a lab could leave on this machine: links, rules, mounts, cgroups, processes. What other labs have
/// there at the same time is left out, by their names; lines of this one are not.
fn machine() -> Vec<String> {
    let mut all = Vec::new();
    let links = run(&["ip", "-o", "link"]);
    // Number and name alone: counters and states change by themselves.
    all.extend(links.lines().filter_map(|l| l.split(": ").nth(1)).map(|l| format!("link {l}")));
    all.extend(run(&["nft", "list", "tables"]).lines().map(|l| format!("nft {l}")));
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    all.extend(mounts.lines().map(|l| format!("mount {l}")));
    for hierarchy in fs_err::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        for group in fs_err::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
            if group.file_type().is_ok_and(|t| t.is_dir()) {
                all.push(format!("cgroup {}", group.path().display()));
            }
        }
    }
    for process in fs_err::read_dir("/proc").unwrap().flatten() {
        let command = fs_err::read(process.path().join("cmdline")).unwrap_or_default();
        let command = text(&command).replace('\0', " ");
        if command.contains("/phxlab") && !command.contains("/deps/") {
            all.push(format!("process {command}"));
        }
    }
    // Other labs come and go meanwhile: theirs are told by the prefix of their names, or by their folders; `lxc.pivot` is
    // shared by all, and goes with the last.
    all.retain(|line| {
        !line.contains("phx-")
            && !line.contains("/phxlab")
            && !line.contains("phoenix")
            && !line.contains("lxc.pivot")
    });
    all.sort();
    all.dedup();
    all
}

/// Everything on this machine that names this lab.
fn mine(folder: &Utf8Path) -> Vec<String> {
    let id = up::Names::of(folder, 0).id;
    let mut all = Vec::new();
    for (what, output) in [
        ("link", run(&["ip", "-o", "link"])),
        ("nft", run(&["nft", "list", "ruleset"])),
        ("mount", fs_err::read_to_string("/proc/self/mounts").unwrap()),
        ("loop", run(&["losetup", "-a"])),
        (
            "file",
            run(&["find", "/sys/fs/cgroup", "/run/phoenix-lab", "/run/lxc", "-name", &format!("*{id}*")]),
        ),
        // Zombies have no command line, and are gone for all that matters.
        ("process", run(&["ps", "-eo", "args"])),
    ] {
        let lines = output.lines().filter(|l| l.contains(&id) || l.contains(folder.as_str()));
        // `find` names the id it looks for, as a process.
        all.extend(lines.filter(|l| !l.starts_with("find ")).map(|l| format!("{what}: {l}")));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_lives_its_whole_life() {
    if !real("a_guest_lives_its_whole_life") {
        return;
    }
    let lab = Lab::new();
    let (record, found) = lab.up().await;
    assert_eq!(found, Found::Nothing);
    assert_eq!(record.runtime, lab::runtime::RuntimeKind::Containers);

    lab.create(120, "10.0.0.11", false).await;
    lab.task(Method::Post, "/nodes/pve1/lxc/120/status/start", &[]).await;
    lab.until("pct exec 120 -- systemctl is-system-running --wait");
    let inside = |line: &str| lab.on_node(&format!("pct exec 120 -- {line}"));
    assert_eq!(inside("hostname").trim(), "notes");
    assert!(inside("ip -br -4 addr show eth0").contains("10.0.0.11/24"));
    assert!(inside("cat /etc/hosts").contains("10.0.0.11 notes.workshop.internal notes"));
    assert!(inside("free -m").contains(" 256 "), "the memory limit is not seen inside");

    // Commands with an exit status, an input and odd arguments, as recorded.
    assert_eq!(lab.ssh("pct exec 120 -- sh -c 'exit 42'").status.code(), Some(42));
    assert_eq!(lab.ssh("pct exec 999 -- true").status.code(), Some(2));
    assert_eq!(lab.on_node("echo from stdin | pct exec 120 -- cat"), "from stdin\n");
    assert_eq!(inside("printf '%s|' 'a b' \"it's\" '$HOME'"), "a b|it's|$HOME|");

    // What Proxmox changes at once is changed at once: memory, cores, name, address, MAC.
    let config = "/nodes/pve1/lxc/120/config";
    lab.call(Method::Put, config, &[("memory", "512"), ("hostname", "papers")]).await;
    assert!(inside("free -m").contains(" 512 "));
    assert_eq!(inside("hostname").trim(), "papers");
    let net = "name=eth0,bridge=vmbr0,ip=10.0.0.12/24,gw=10.0.0.1,hwaddr=BC:24:11:AA:BB:CC";
    lab.call(Method::Put, config, &[("net0", net)]).await;
    let address = inside("ip addr show eth0");
    assert!(address.contains("10.0.0.12/24") && address.contains("bc:24:11:aa:bb:cc"), "{address}");
    assert!(!address.contains("10.0.0.11/"), "{address}");
    assert!(inside("ip route").contains("default via 10.0.0.1"));
    lab.call(Method::Put, config, &[("memory", "128")]).await;
    assert!(inside("free -m").contains(" 128 "));

    // A disk grows while it is in use.
    let size = || -> u64 { inside("df --output=size /").lines().last().unwrap().trim().parse().unwrap() };
    let small = size();
    lab.task(Method::Put, "/nodes/pve1/lxc/120/resize", &[("disk", "rootfs"), ("size", "2G")]).await;
    assert!(size() > small * 3 / 2, "{small} KiB before, {} after", size());

    // A volume and a folder of the node, mounted while it runs; the latter takes root on the node, as on a real one.
    lab.call(Method::Put, config, &[("mp0", "local-zfs:1,mp=/srv/data")]).await;
    lab.on_node("mkdir -p /srv/shared && echo shared > /srv/shared/file && pct set 120 --mp1 /srv/shared,mp=/mnt/shared,ro=1");
    assert!(inside("df --output=target /srv/data").ends_with("/srv/data\n"));
    inside("sh -c 'echo mine > /srv/data/file'");
    assert_eq!(inside("cat /mnt/shared/file"), "shared\n");
    assert!(!lab.ssh("pct exec 120 -- touch /mnt/shared/other").status.success(), "it was mounted read-only");
    lab.task(Method::Put, "/nodes/pve1/lxc/120/resize", &[("disk", "mp0"), ("size", "+1G")]).await;
    let data: u64 = inside("df --output=size /srv/data").lines().last().unwrap().trim().parse().unwrap();
    assert!(data > 1_500_000, "{data} KiB");

    // The API is killed, and everything goes on.
    lab.on_node("systemctl kill -s KILL phoenix-lab");
    lab.until("pct status 120");
    assert_eq!(lab.on_node("pct status 120"), "status: running\n");
    assert_eq!(inside("hostname").trim(), "papers");

    // A restart of the guest keeps what was changed while it ran.
    lab.on_node("pct shutdown 120");
    assert_eq!(lab.ssh("pct exec 120 -- true").status.code(), Some(255));
    lab.on_node("pct start 120");
    lab.until("pct exec 120 -- systemctl is-system-running --wait");
    assert!(inside("ip addr show eth0").contains("10.0.0.12/24"));
    assert_eq!(inside("cat /srv/data/file"), "mine\n");
    // So does a reboot from within.
    inside("sh -c 'nohup systemctl reboot >/dev/null 2>&1 &'");
    lab.until("pct exec 120 -- sh -c 'test $(cut -d. -f1 /proc/uptime) -lt 15'");
    lab.until("pct exec 120 -- systemctl is-system-running --wait");
    assert_eq!(inside("cat /srv/data/file /mnt/shared/file"), "mine\nshared\n");

    lab.on_node("pct stop 120");
    lab.task(Method::Delete, "/nodes/pve1/lxc/120", &[("purge", "1")]).await;
    assert_eq!(lab.on_node("pct list"), "");
    assert_eq!(lab.on_node("find /mnt/pve /var/lib/vz/images /var/lib/lxc -name '*120*'"), "");
    lab.down().await;
    assert_eq!(lab.down().await, [""; 0], "a second `down` has nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_node_leaves_nothing_and_loses_nothing() {
    if !real("a_crash_of_the_node_leaves_nothing_and_loses_nothing") {
        return;
    }
    let lab = Lab::new();
    lab.up().await;
    lab.create(121, "10.0.0.21", true).await;
    lab.on_node("pct start 121");
    lab.until("pct exec 121 -- systemctl is-system-running --wait");
    lab.on_node("pct exec 121 -- sh -c 'echo kept > /root/kept; sync'; echo kept > /srv/shared/kept");

    let kill = |pid: u32| Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(kill(lab.node_process()).success());
    // `up` sweeps what the crash left, and the guest comes back with its node.
    let (_, found) = lab.up().await;
    assert_eq!(found, Found::Nothing);
    assert_eq!(lab.until("pct exec 121 -- cat /root/kept"), "kept\n");
    assert_eq!(lab.on_node("cat /srv/shared/kept"), "kept\n");

    // What a killed lab left goes without it, too, and its folder still holds all that starts it again.
    assert!(kill(lab.node_process()).success());
    let id = up::Names::of(lab.folder(), 0).id;
    let table = || run(&["nft", "list", "tables"]).contains(&id);
    let end = Instant::now() + Duration::from_secs(20);
    while table() {
        // Its last processes may still be on their way out; as long as one is there, it counts as running.
        assert!(Instant::now() < end, "its nft table is still there");
        up::sweep().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lab.up().await;
    assert_eq!(lab.until("pct exec 121 -- cat /root/kept"), "kept\n");

    assert!(kill(lab.node_process()).success());
    lab.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_labs_stand_side_by_side() {
    if !real("two_labs_stand_side_by_side") {
        return;
    }
    let (mut one, two) = (Lab::new(), Lab::new());
    tokio::join!(one.up(), two.up());
    // The same subnet, the same id, the same address: neither sees the other.
    tokio::join!(one.create(122, "10.0.0.31", false), two.create(122, "10.0.0.31", false));
    one.on_node("pct start 122");
    assert_eq!(two.on_node("pct status 122"), "status: stopped\n");
    assert_eq!(one.on_node("pct status 122"), "status: running\n");

    // A guest's own port, published: the target can change at any time.
    one.until("pct exec 122 -- systemctl is-active ssh");
    assert_eq!(ask(one.spec.ports.https), b"", "nothing is published yet");
    let at_home = std::net::SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 31), 22);
    up::publish_https(one.folder(), Some(at_home)).unwrap();
    assert_eq!(ask(one.spec.ports.https), b"SSH-");

    let busy = offers::tcp_services_are_published(&one, at_home).await;

    // A second `up` does nothing; one after the forwarder was killed mends that; a taken port is said.
    one.spec.https_target = Some(at_home);
    assert_eq!(one.up().await.1, Found::Running);
    let forwarder: Value =
        serde_json::from_slice(&fs_err::read(one.folder().join("forward.json")).unwrap()).unwrap();
    let pid = forwarder["process"]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    assert_eq!(one.up().await.1, Found::Repaired);
    assert_eq!((ask(one.spec.ports.https), ask(busy)), (b"SSH-".to_vec(), b"SSH-".to_vec()));
    let mut moved = one.spec.clone();
    moved.ports.api = two.spec.ports.api;
    let error = up::up(&moved, &|_| {}).await.unwrap_err();
    assert!(matches!(error, up::Error::PortTaken { what: "api", .. }), "{error}");
    assert_eq!(one.on_node("pct status 122"), "status: running\n", "a refused `up` broke the lab");

    let status = up::status(one.folder()).await.unwrap();
    assert!(status.running && status.published);
    assert_eq!((status.guests[0].id, status.guests[0].running), (122, true));

    offers::an_address(&one).await;
    offers::templates_and_clones(&one).await;
    offers::another_release(&one).await;
    offers::files_on_a_storage(&one).await;

    one.down().await;
    assert_eq!(two.on_node("pct status 122"), "status: stopped\n");
    two.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_lab_needs_nothing_and_says_what_it_is() {
    let lab = Lab::new();
    let (record, _) = up::up_simulated(&lab.spec, &|_| {}).await.unwrap();
    assert_eq!(record.runtime, lab::runtime::RuntimeKind::Simulated);
    assert!(record.ssh.is_none());
    assert_eq!(lab.call(Method::Get, "/nodes/pve1/lxc", &[]).await, Value::Array(Vec::new()));
    lab.create(120, "10.0.0.11", false).await;
    lab.task(Method::Post, "/nodes/pve1/lxc/120/status/start", &[]).await;

    use transport::Runner as _;
    let runner = up::SimNodeRunner::new(lab.folder(), "pve1");
    let output = runner.run(&transport::Command::new("asking", ["pct", "status", "120"])).await.unwrap();
    assert_eq!(output.text(), "status: running\n");
    let status = up::status(lab.folder()).await.unwrap();
    assert!(status.running && status.guests.len() == 1 && status.guests[0].running, "{status:?}");
    assert_eq!(up::up_simulated(&lab.spec, &|_| {}).await.unwrap().1, Found::Running);
    up::down(lab.folder()).await.unwrap();
    assert!(!lab.folder().exists());
    assert!(up::status(lab.folder()).await.is_err());
}
