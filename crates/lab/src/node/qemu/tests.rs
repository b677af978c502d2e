//! What the recordings of a real node show of virtual machines, as small tests of the project's own. Each runs on a paused
//! clock.

use proxmox::exchange::{Method, Request, Response};
use serde_json::Value;
use tokio::time::{Duration, sleep};

use crate::node::Auth;
use crate::sim::{NARROW_TOKEN, World};

const IMAGE: &str = "tank:0,import-from=local:import/debian-12.qcow2";
const NET: &str = "virtio,bridge=vmbr0";

/// A world, asked as one identity.
struct Asked {
    world: World,
    auth: Auth,
}

impl Asked {
    fn new() -> Self {
        Self { world: World::new(7).expect("in memory"), auth: Auth::of(NARROW_TOKEN) }
    }

    async fn call(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Response {
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let path = format!("/nodes/pve1/qemu{path}");
        self.world.node.handle(&self.auth, &Request { method, path, params }).await
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.call(Method::Get, path, &[]).await;
        assert_eq!(response.status, 200, "{path}: {}", response.reason);
        response.body["data"].clone()
    }

    /// Calls, and when that starts a task, waits for its end: its exit status.
    async fn task(&self, method: Method, path: &str, params: &[(&str, &str)]) -> String {
        let response = self.call(method, path, params).await;
        assert_eq!(response.status, 200, "{path}: {} {}", response.reason, response.body);
        let upid = response.body["data"].as_str().expect("a UPID");
        self.world.node.task_end(upid).await.expect("the task is known")
    }

    async fn create(&self, id: u32, more: &[(&str, &str)]) -> String {
        let id = id.to_string();
        let mut params = vec![("vmid", id.as_str())];
        params.extend(more);
        for (key, value) in [("scsi0", IMAGE), ("net0", NET), ("name", "vm"), ("agent", "1")] {
            if !more.iter().any(|(given, _)| *given == key) {
                params.push((key, value));
            }
        }
        self.task(Method::Post, "", &params).await
    }

    async fn started(id: u32, more: &[(&str, &str)]) -> Self {
        let it = Self::new();
        assert_eq!(it.create(id, more).await, "OK");
        assert_eq!(it.task(Method::Post, &format!("/{id}/status/start"), &[]).await, "OK");
        it
    }

    async fn put(&self, id: u32, params: &[(&str, &str)]) -> Response {
        self.call(Method::Put, &format!("/{id}/config"), params).await
    }

    /// Changes that are taken.
    async fn set(&self, id: u32, params: &[(&str, &str)]) {
        let response = self.put(id, params).await;
        assert_eq!(response.status, 200, "{}: {}", response.reason, response.body);
    }

    /// What waits: each key with its value, or with none where it is to go.
    async fn waits(&self, id: u32) -> Vec<(String, Option<String>)> {
        let all = self.get(&format!("/{id}/pending")).await;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let all = all.as_array().expect("a list").iter();
        all.filter_map(|entry| {
            let key = text(&entry["key"]);
            match (entry.get("pending"), entry.get("delete")) {
                (Some(value), _) => Some((key, Some(text(value)))),
                (None, Some(_)) => Some((key, None)),
                (None, None) => None,
            }
        })
        .collect()
    }
}

fn refused(response: &Response, status: u16, reason: &str) {
    assert_eq!((response.status, response.reason.as_str()), (status, reason), "{}", response.body);
}

fn says(response: &Response, key: &str, error: &str) {
    assert_eq!(response.status, 400, "{}", response.reason);
    assert_eq!(response.body["errors"][key], error);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_back_is_not_what_was_sent() {
    let it = Asked::new();
    let sent = [
        ("ide2", "tank:cloudinit"),
        ("tags", "Web;DB"),
        ("description", "one  \ntwo: ü\n\n"),
        ("cipassword", "secret"),
        ("memory", "512"),
        ("cores", "2"),
        ("scsi1", "tank:1,format=qcow2,ssd=1"),
        ("efidisk0", "tank:1,efitype=4m"),
        ("tpmstate0", "tank:1,version=v2.0"),
    ];
    assert_eq!(it.create(301, &sent).await, "OK");
    let config = it.get("/301/config").await;
    for (key, value) in [
        ("scsi0", "tank:301/vm-301-disk-0.qcow2,size=2G"),
        ("scsi1", "tank:301/vm-301-disk-1.qcow2,size=1G,ssd=1"),
        ("efidisk0", "tank:301/vm-301-disk-2.raw,efitype=4m,size=528K"),
        ("tpmstate0", "tank:301/vm-301-disk-3.raw,size=4M,version=v2.0"),
        ("ide2", "tank:301/vm-301-cloudinit.qcow2,media=cdrom"),
        ("tags", "db;web"),
        ("description", "one  \ntwo: ü"),
        ("cipassword", "**********"),
        ("memory", "512"),
        ("boot", "order=scsi0;net0"),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    assert_eq!(config["cores"], 2);
    let net = config["net0"].as_str().expect("text");
    assert!(net.starts_with("virtio=BC:24:11:") && net.ends_with(",bridge=vmbr0"), "{net}");
    let (_, file) = it.world.node.configuration_files().remove(0);
    assert!(file.contains("cipassword: $5$") && !file.contains("secret"), "{file}");
    assert_eq!(it.world.node.guest_kind(301), Some(proxmox::config::GuestKind::Vm));
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_fails_leaves_nothing() {
    let it = Asked::new();
    let missing = [("scsi1", "tank:1"), ("scsi2", "tank:0,import-from=local:import/missing.qcow2")];
    let end = it.create(301, &missing).await;
    assert_eq!(end, "unable to create VM 301 - failed to stat '/var/lib/vz/import/missing.qcow2'");
    assert!(it.world.node.configuration_files().is_empty());
    let content = Request {
        method: Method::Get,
        path: "/nodes/pve1/storage/tank/content".to_owned(),
        params: Vec::new(),
    };
    assert_eq!(it.world.node.handle(&it.auth, &content).await.body["data"], serde_json::json!([]));
    assert_eq!(it.create(301, &[]).await, "OK");
    let again = it.call(Method::Post, "", &[("vmid", "301")]).await;
    refused(&again, 500, "unable to create VM 301 - VM 301 already exists on node 'pve1'");
}

#[tokio::test(start_paused = true)]
async fn what_changes_at_once_and_what_waits() {
    let it = Asked::started(301, &[("ide2", "tank:cloudinit"), ("ciuser", "u"), ("memory", "512")]).await;
    it.set(
        301,
        &[("name", "other"), ("tags", "a"), ("ciuser", "v"), ("cpulimit", "0.5"), ("protection", "0")],
    )
    .await;
    assert_eq!(it.waits(301).await, []);
    it.set(301, &[("memory", "640"), ("cores", "2"), ("vga", "std"), ("agent", "0")]).await;
    let some = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    assert_eq!(
        it.waits(301).await,
        [some("agent", "0"), some("memory", "640"), some("cores", "2"), some("vga", "std")]
    );
    // What cloud-init was told by its drive is still what it was.
    let told = it.get("/301/cloudinit").await;
    assert_eq!(told, serde_json::json!([{"key": "ciuser", "value": "u", "pending": "v"}]));
    // A value that only waits is gone with `delete`, another is deleted with the next start.
    it.set(301, &[("delete", "vga,boot")]).await;
    assert_eq!(
        it.waits(301).await,
        [some("agent", "0"), ("boot".to_owned(), None), some("memory", "640"), some("cores", "2")]
    );
    it.set(301, &[("revert", "boot,agent")]).await;
    assert_eq!(it.task(Method::Post, "/301/status/stop", &[]).await, "OK");
    assert_eq!(it.waits(301).await, []);
    assert_eq!(it.get("/301/config").await["memory"], "640");
}

#[tokio::test(start_paused = true)]
async fn disks_and_network_cards_are_plugged_in_and_out() {
    let it = Asked::started(301, &[]).await;
    it.set(301, &[("scsi1", "tank:1"), ("net1", NET), ("virtio0", "tank:1")]).await;
    assert_eq!(it.waits(301).await, []);
    it.set(301, &[("delete", "scsi1,net1")]).await;
    assert_eq!(it.waits(301).await, []);
    let config = it.get("/301/config").await;
    assert_eq!(config["unused0"], "tank:301/vm-301-disk-1.raw");
    let boot = it.put(301, &[("delete", "scsi0")]).await;
    says(&boot, "scsi0", "hotplug problem - can't unplug bootdisk 'scsi0'\n");
    assert_eq!(it.waits(301).await, [("scsi0".to_owned(), None)]);
    it.set(301, &[("revert", "scsi0")]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_running_machine_refuses_waits() {
    let mut it = Asked::started(301, &[("ide2", "none")]).await;
    it.auth = Auth::root();
    let bridge = it.put(301, &[("net0", "virtio=BC:24:11:00:00:01,bridge=nobr9")]).await;
    says(&bridge, "net0", "hotplug problem - interface nobr9 does not exist\n");
    let net = ("net0".to_owned(), Some("virtio=BC:24:11:00:00:01,bridge=nobr9".to_owned()));
    assert_eq!(it.waits(301).await, [net]);
    // An option of a disk that is in use; and one that it takes.
    it.set(301, &[("scsi0", "tank:301/vm-301-disk-0.qcow2,discard=on"), ("revert", "net0")]).await;
    let disk = ("scsi0".to_owned(), Some("tank:301/vm-301-disk-0.qcow2,discard=on,size=2G".to_owned()));
    assert_eq!(it.waits(301).await, [disk]);
    it.set(301, &[("scsi0", "tank:301/vm-301-disk-0.qcow2,backup=0")]).await;
    assert_eq!(it.waits(301).await, []);
    // Without hotplug nothing is plugged in.
    it.set(301, &[("hotplug", "0")]).await;
    it.set(301, &[("net1", "virtio=BC:24:11:00:00:02,bridge=vmbr0")]).await;
    assert_eq!(it.waits(301).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn processors_and_memory_can_be_added_where_that_was_said() {
    let sent = [
        ("hotplug", "network,disk,usb,memory,cpu"),
        ("numa", "1"),
        ("cores", "2"),
        ("vcpus", "1"),
        ("memory", "1024"),
    ];
    let it = Asked::started(301, &sent).await;
    it.set(301, &[("vcpus", "2"), ("memory", "2048")]).await;
    assert_eq!(it.waits(301).await, []);
    let many = it.put(301, &[("vcpus", "3")]).await;
    says(&many, "vcpus", "hotplug problem - you can't add more vcpus than maxcpus\n");
    it.set(301, &[("cores", "4")]).await;
    assert_eq!(it.waits(301).await.len(), 2, "what was refused, and what waits");
    let bare = Asked::new();
    assert_eq!(bare.create(302, &[("hotplug", "memory")]).await, "OK");
    let end = bare.task(Method::Post, "/302/status/start", &[]).await;
    assert_eq!(end, "NUMA needs to be enabled for memory hotplug");
}

#[tokio::test(start_paused = true)]
async fn what_takes_root_and_what_is_no_option() {
    let it = Asked::new();
    assert_eq!(it.create(301, &[]).await, "OK");
    for (key, value, reason) in [
        ("args", "-name x", "only root can set 'args' config"),
        ("lock", "backup", "only root can set 'lock' config"),
        ("hostpci0", "0000:00:01.0", "only root can set 'hostpci0' config for non-mapped devices"),
        ("usb0", "host=1234:5678", "only root can set 'usb0' config for real devices"),
        ("serial0", "/dev/ttyS0", "only root can set 'serial0' config for real devices"),
        ("scsi1", "nope:1", "storage 'nope' does not exist"),
        ("scsi1", "tank:abc", "unable to parse directory volume name 'abc'"),
        ("scsi1", "tank:999/vm-999-disk-0.qcow2", "volume 'tank:999/vm-999-disk-0.qcow2' does not exist"),
        ("scsi1", "/dev/nope", super::disks::ONLY_ROOT),
        ("boot", "order=scsi9", "invalid bootorder: device 'scsi9' does not exist'"),
        ("balloon", "4096", "balloon value too large (must be smaller than assigned memory)"),
        ("sshkeys", "nonsense", "SSH public key validation error"),
        (
            "digest",
            "0000000000000000000000000000000000000000",
            "checksum mismatch (file change by other user?)",
        ),
    ] {
        refused(&it.put(301, &[(key, value)]).await, 500, reason);
    }
    let unknown = "property is not defined in schema and the schema does not allow additional properties";
    for (key, value, error) in [
        ("bogus", "1", unknown),
        ("net32", NET, unknown),
        ("scsi31", "tank:1", unknown),
        (
            "memory",
            "15",
            "invalid format - format error\nmemory.current: value must have a minimum value of 16\n",
        ),
        (
            "ipconfig0",
            "gw=10.0.0.1",
            "invalid format - format error\nipconfig0.ip: missing property required by 'ipconfig0.gw'\n",
        ),
        (
            "boot",
            "order=serial0",
            "invalid format - format error\nboot.order: invalid format - invalid boot device 'serial0'\n\n",
        ),
        (
            "cpu",
            "bogus",
            "invalid format - Built-in cputype 'bogus' is not defined (missing 'custom-' prefix?)\n",
        ),
        (
            "scsi1",
            "tank:1,import-from=local:import/debian-12.qcow2",
            "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>",
        ),
        ("sshkeys", "ssh-ed25519 AAAA", "invalid format - invalid urlencoded string: ssh-ed25519 AAAA\n"),
        ("skiplock", "1", "Only root may use this option."),
    ] {
        says(&it.put(301, &[(key, value)]).await, key, error);
    }
    assert_eq!(it.get("/301/config").await["memory"], Value::Null, "nothing of it was written");
}

#[tokio::test(start_paused = true)]
async fn a_disk_grows_and_never_shrinks() {
    let it = Asked::started(301, &[]).await;
    let sized = |disk: &'static str, size: &'static str| [("disk", disk), ("size", size)];
    assert_eq!(it.task(Method::Put, "/301/resize", &sized("scsi0", "+1G")).await, "OK");
    assert_eq!(it.get("/301/config").await["scsi0"], "tank:301/vm-301-disk-0.qcow2,size=3G");
    assert_eq!(
        it.task(Method::Put, "/301/resize", &sized("scsi0", "1G")).await,
        "shrinking disks is not supported"
    );
    assert_eq!(it.task(Method::Put, "/301/resize", &sized("scsi0", "3G")).await, "OK");
    assert_eq!(
        it.task(Method::Put, "/301/resize", &sized("scsi9", "3G")).await,
        "disk 'scsi9' does not exist"
    );
}

#[tokio::test(start_paused = true)]
async fn copies_and_what_is_based_on_a_template() {
    let it = Asked::new();
    assert_eq!(it.create(301, &[("ide2", "tank:cloudinit"), ("ipconfig0", "ip=dhcp")]).await, "OK");
    let linked = it.call(Method::Post, "/301/clone", &[("newid", "302"), ("full", "0")]).await;
    refused(&linked, 500, "Linked clone feature is not supported for 'tank:301/vm-301-disk-0.qcow2' (scsi0)");
    let full = [("newid", "302"), ("name", "full"), ("storage", "local-zfs")];
    assert_eq!(it.task(Method::Post, "/301/clone", &full).await, "OK");
    let (one, two) = (it.get("/301/config").await, it.get("/302/config").await);
    assert_eq!(two["scsi0"], "local-zfs:vm-302-disk-0,size=2G");
    assert_eq!(two["ide2"], "local-zfs:vm-302-cloudinit,media=cdrom,size=4M");
    assert_eq!(two["ipconfig0"], "ip=dhcp");
    for drawn in ["net0", "vmgenid", "smbios1"] {
        assert_ne!(one[drawn], two[drawn], "{drawn}");
    }
    let taken = it.call(Method::Post, "/301/clone", &[("newid", "302")]).await;
    refused(&taken, 500, "unable to create VM 302: config file already exists");
    assert_eq!(it.task(Method::Post, "/301/template", &[]).await, "OK");
    assert_eq!(it.get("/301/config").await["scsi0"], "tank:301/base-301-disk-0.qcow2,size=2G");
    let end = it.task(Method::Post, "/301/status/start", &[]).await;
    assert_eq!(end, "you can't start a vm if it's a template");
    assert_eq!(it.task(Method::Post, "/301/clone", &[("newid", "303")]).await, "OK");
    let three = it.get("/303/config").await;
    assert_eq!(three["scsi0"], "tank:301/base-301-disk-0.qcow2/303/vm-303-disk-0.qcow2,size=2G");
    assert_eq!(three["template"], Value::Null);
    let end = it.task(Method::Delete, "/301", &[]).await;
    assert_eq!(end, "base volume 'tank:301/base-301-disk-0.qcow2' is still in use by linked cloned");
    for id in [303, 302, 301] {
        assert_eq!(it.task(Method::Delete, &format!("/{id}"), &[("purge", "1")]).await, "OK");
    }
    assert!(it.world.node.configuration_files().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_is_copied_once_at_a_time() {
    let it = Asked::new();
    assert_eq!(it.create(301, &[]).await, "OK");
    assert_eq!(it.task(Method::Post, "/301/status/start", &[]).await, "OK");
    let full = |id: &'static str| [("newid", id), ("full", "1")];
    let first = it.call(Method::Post, "/301/clone", &full("302")).await;
    let second = it.task(Method::Post, "/301/clone", &full("303")).await;
    assert_eq!(second, "can't lock file '/var/lock/qemu-server/lock-301.conf' - got timeout");
    let first = it.world.node.task_end(first.body["data"].as_str().expect("a UPID")).await;
    assert_eq!(first.as_deref(), Some("OK"));
    assert_eq!(it.call(Method::Get, "/303/config", &[]).await.status, 500, "nothing is left of it");
}

#[tokio::test(start_paused = true)]
async fn the_agent_answers_some_time_after_the_start() {
    let it = Asked::new();
    let ping = |it: &Asked| {
        let node = it.world.node.clone();
        let auth = it.auth.clone();
        async move {
            let path = "/nodes/pve1/qemu/301/agent/ping".to_owned();
            node.handle(&auth, &Request { method: Method::Post, path, params: Vec::new() }).await
        }
    };
    assert_eq!(it.create(301, &[("ipconfig0", "ip=10.0.0.31/24,gw=10.0.0.1"), ("agent", "0")]).await, "OK");
    refused(&ping(&it).await, 500, "No QEMU guest agent configured");
    it.set(301, &[("agent", "1")]).await;
    refused(&ping(&it).await, 500, "VM 301 is not running");
    assert_eq!(it.task(Method::Post, "/301/status/start", &[]).await, "OK");
    refused(&ping(&it).await, 500, "QEMU guest agent is not running");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(ping(&it).await.status, 200);
    let command = [("command", "cat"), ("input-data", "hello, with commas")];
    let started = it.call(Method::Post, "/301/agent/exec", &command).await;
    let pid = started.body["data"]["pid"].to_string();
    let done = it.get(&format!("/301/agent/exec-status?pid={pid}")).await;
    assert_eq!((&done["exited"], &done["exitcode"]), (&1.into(), &0.into()));
    assert_eq!((&done["out-data"], &done["out-truncated"]), (&"hello, with commas".into(), &0.into()));
    let words = [("command", "echo"), ("command", "a,b"), ("command", "c")];
    let started = it.call(Method::Post, "/301/agent/exec", &words).await;
    let pid = started.body["data"]["pid"].to_string();
    assert_eq!(it.get(&format!("/301/agent/exec-status?pid={pid}")).await["out-data"], "a,b c\n");
    let file = [("file", "/tmp/x"), ("content", "héllo\n")];
    assert_eq!(it.call(Method::Post, "/301/agent/file-write", &file).await.status, 200);
    assert_eq!(
        it.get("/301/agent/file-read?file=/tmp/x").await,
        serde_json::json!({"content": "héllo\n", "bytes-read": 6})
    );
    let links = it.get("/301/agent/network-get-interfaces").await;
    assert_eq!(links["result"][1]["ip-addresses"][0]["ip-address"], "10.0.0.31");
    // One that hangs, and one that has nothing to start from.
    it.world.runtime.silence_agent(301, true);
    refused(&ping(&it).await, 500, "QEMU guest agent is not running");
}

#[tokio::test(start_paused = true)]
async fn an_empty_disk_starts_nothing_and_does_not_listen() {
    let it = Asked::started(301, &[("scsi0", "tank:4")]).await;
    sleep(Duration::from_secs(300)).await;
    let ping = it.call(Method::Post, "/301/agent/ping", &[]).await;
    refused(&ping, 500, "QEMU guest agent is not running");
    let end = it.task(Method::Post, "/301/status/shutdown", &[("timeout", "3")]).await;
    assert_eq!(end, "VM quit/powerdown failed");
    let end = it.task(Method::Post, "/301/status/shutdown", &[("timeout", "3"), ("forceStop", "1")]).await;
    assert_eq!(end, "OK");
    assert_eq!(it.get("/301/status/current").await["status"], "stopped");
}

#[tokio::test(start_paused = true)]
async fn locks_protection_and_what_runs_stand_in_the_way() {
    let it = Asked::started(301, &[]).await;
    refused(&it.call(Method::Delete, "/301", &[]).await, 500, "VM 301 is running - destroy failed");
    assert_eq!(it.task(Method::Post, "/301/status/suspend", &[]).await, "OK");
    assert_eq!(it.get("/301/status/current").await["qmpstatus"], "paused");
    assert_eq!(it.task(Method::Post, "/301/status/resume", &[]).await, "OK");
    assert_eq!(it.task(Method::Post, "/301/status/stop", &[]).await, "OK");
    assert_eq!(it.task(Method::Post, "/301/status/stop", &[]).await, "OK", "stopped already");
    refused(&it.call(Method::Post, "/301/status/reset", &[]).await, 500, "VM 301 not running");
    assert!(it.world.node.set_guest_lock(301, Some("backup")));
    refused(&it.put(301, &[("cores", "2")]).await, 500, "VM is locked (backup)");
    assert_eq!(it.task(Method::Post, "/301/status/start", &[]).await, "VM is locked (backup)");
    assert!(it.world.node.set_guest_lock(301, None));
    it.set(301, &[("scsi1", "tank:1"), ("protection", "1")]).await;
    refused(
        &it.call(Method::Delete, "/301", &[]).await,
        500,
        "can't remove VM 301 - protection mode enabled",
    );
    refused(
        &it.put(301, &[("delete", "scsi1")]).await,
        500,
        "can't remove drive 'scsi1' - protection mode enabled",
    );
    let gone = it.call(Method::Get, "/999/config", &[]).await;
    refused(&gone, 500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist");
}

#[tokio::test(start_paused = true)]
async fn detached_volumes_are_kept_until_they_are_let_go() {
    let it = Asked::new();
    assert_eq!(it.create(301, &[("scsi1", "tank:1"), ("ide2", "tank:cloudinit")]).await, "OK");
    it.set(301, &[("delete", "scsi1,ide2")]).await;
    let config = it.get("/301/config").await;
    assert_eq!(config["unused0"], "tank:301/vm-301-disk-1.raw");
    assert_eq!(config["unused1"], Value::Null, "a cloud-init drive is no disk of anybody's");
    it.set(301, &[("virtio1", "tank:301/vm-301-disk-1.raw")]).await;
    assert_eq!(it.get("/301/config").await["unused0"], Value::Null);
    let unlink = it.call(Method::Put, "/301/unlink", &[("idlist", "virtio1"), ("force", "1")]).await;
    assert_eq!(unlink.status, 200);
    let config = it.get("/301/config").await;
    assert_eq!((&config["unused0"], &config["virtio1"]), (&Value::Null, &Value::Null));
    let moved = [("disk", "scsi0"), ("storage", "local-zfs"), ("delete", "1")];
    assert_eq!(it.task(Method::Post, "/301/move_disk", &moved).await, "OK");
    assert_eq!(it.get("/301/config").await["scsi0"], "local-zfs:vm-301-disk-0,size=2G");
}

#[tokio::test(start_paused = true)]
async fn a_change_as_a_task_tells_what_it_does() {
    let it = Asked::new();
    assert_eq!(it.create(301, &[]).await, "OK");
    let response =
        it.call(Method::Post, "/301/config", &[("scsi1", "tank:1"), ("cipassword", "secret")]).await;
    let upid = response.body["data"].as_str().expect("a UPID").to_owned();
    assert_eq!(it.world.node.task_end(&upid).await.as_deref(), Some("OK"));
    let path = format!("/nodes/pve1/tasks/{}/log", upid.replace(':', "%3A").replace('!', "%21"));
    let log =
        it.world.node.handle(&it.auth, &Request { method: Method::Get, path, params: Vec::new() }).await;
    let log = log.body["data"].to_string();
    assert!(log.contains("update VM 301: -cipassword ********** -scsi1 tank:1"), "{log}");
    assert!(log.contains("scsi1: successfully created disk 'tank:301/vm-301-disk-1.raw,size=1G'"), "{log}");
}
