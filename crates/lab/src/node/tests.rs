//! What the recordings of a real node show, as small tests of the project's own. Each runs on a paused clock.

mod clones;
mod files;

use std::sync::Arc;

use proxmox::exchange::{Method, Request, Response};
use serde_json::{Value, json};

use super::*;
use crate::sim::{NARROW_TOKEN, SimRuntime, Times, World, WorldOptions};

const TEMPLATE_13: &str = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
const TEMPLATE_12: &str = "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst";

/// A world, asked as one identity.
struct Asked {
    world: World,
    auth: Auth,
}

impl Asked {
    fn new() -> Self {
        Self { world: World::new(7).expect("in memory"), auth: Auth::of(NARROW_TOKEN) }
    }

    fn root() -> Self {
        Self { auth: Auth::root(), ..Self::new() }
    }

    async fn call(&self, method: Method, path: &str, params: &[(&str, &str)]) -> Response {
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.world.node.handle(&self.auth, &Request { method, path: path.to_owned(), params }).await
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
        for (key, value) in [("ostemplate", TEMPLATE_12), ("rootfs", "tank:2"), ("hostname", "ct")] {
            if !more.iter().any(|(given, _)| *given == key) {
                params.push((key, value));
            }
        }
        self.task(Method::Post, "/nodes/pve1/lxc", &params).await
    }

    async fn put(&self, id: u32, params: &[(&str, &str)]) -> Response {
        self.call(Method::Put, &format!("/nodes/pve1/lxc/{id}/config"), params).await
    }
}

fn refused(response: &Response, status: u16, reason: &str) {
    assert_eq!((response.status, response.reason.as_str()), (status, reason), "{}", response.body);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_back_is_not_what_was_sent() {
    let it = Asked::new();
    let net = "name=eth0,bridge=vmbr0,ip=10.0.0.21/24,gw=10.0.0.1,firewall=1";
    let params =
        [("net0", net), ("tags", "phoenix;web;A-tag"), ("description", "one\ntwo: ü"), ("cpulimit", "1.5")];
    assert_eq!(it.create(201, &params).await, "OK");
    let config = it.get("/nodes/pve1/lxc/201/config").await;
    let shown = config["net0"].as_str().expect("text");
    assert!(shown.starts_with("name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,hwaddr=BC:24:11:"), "{shown}");
    assert!(shown.ends_with(",ip=10.0.0.21/24,type=veth"), "{shown}");
    assert_eq!(config["tags"], "a-tag;phoenix;web");
    assert_eq!(config["description"], "one\ntwo: ü\n");
    assert_eq!(config["rootfs"], "tank:201/vm-201-disk-0.raw,size=2G");
    assert_eq!((&config["memory"], &config["cpulimit"]), (&json!(512), &json!("1.5")));
    assert_eq!(
        (&config["arch"], &config["ostype"], &config["swap"]),
        (&json!("amd64"), &json!("debian"), &json!(512))
    );
    // The digest is that of the file.
    let files = it.world.node.configuration_files();
    assert_eq!(config["digest"], proxmox::config::digest(files[0].1.as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_net_without_a_mac_gets_a_new_one() {
    let it = Asked::new();
    it.create(201, &[("net0", "name=eth0,bridge=vmbr0,ip=dhcp")]).await;
    let before = it.get("/nodes/pve1/lxc/201/config").await["net0"].clone();
    assert_eq!(it.put(201, &[("net0", "name=eth0,bridge=vmbr0,ip=dhcp")]).await.status, 200);
    assert_ne!(it.get("/nodes/pve1/lxc/201/config").await["net0"], before);
    let sent = before.as_str().expect("text");
    assert_eq!(it.put(201, &[("net0", sent)]).await.status, 200);
    assert_eq!(it.get("/nodes/pve1/lxc/201/config").await["net0"], before);
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_running_guest() {
    let it = Asked::new();
    let net = "name=eth0,bridge=vmbr0,ip=dhcp";
    assert_eq!(it.create(220, &[("features", "nesting=1"), ("net0", net), ("start", "1")]).await, "OK");
    let changes = [
        ("memory", "384"),
        ("cores", "2"),
        ("hostname", "b"),
        ("nameserver", "10.0.0.1"),
        ("timezone", "UTC"),
    ];
    assert_eq!(it.put(220, &changes).await.status, 200);
    assert_eq!(it.put(220, &[("features", "nesting=0")]).await.status, 200);
    let pending = |data: Value| {
        let entries = data.as_array().expect("a list").clone();
        move |key: &str| entries.iter().find(|entry| entry["key"] == key).cloned().unwrap_or_default()
    };
    let now = pending(it.get("/nodes/pve1/lxc/220/pending").await);
    assert_eq!(now("memory"), json!({"key": "memory", "value": 384}));
    assert_eq!(now("hostname")["value"], "b");
    assert_eq!(now("features"), json!({"key": "features", "value": "nesting=1", "pending": "nesting=0"}));
    assert_eq!(now("nameserver"), json!({"key": "nameserver", "pending": "10.0.0.1"}));
    assert_eq!(it.put(220, &[("revert", "features")]).await.status, 200);
    assert_eq!(it.task(Method::Post, "/nodes/pve1/lxc/220/status/reboot", &[]).await, "OK");
    let after = pending(it.get("/nodes/pve1/lxc/220/pending").await);
    assert_eq!(after("timezone"), json!({"key": "timezone", "value": "UTC"}));
    assert_eq!(after("features"), json!({"key": "features", "value": "nesting=1"}));
    refused(
        &it.put(220, &[("unprivileged", "0")]).await,
        500,
        "unable to modify read-only option: 'unprivileged'",
    );
}

/// Deleting does not take back what waits (a real node's file: `delete: nameserver`, and below it its waiting value).
#[tokio::test(start_paused = true)]
async fn what_waits_is_only_taken_back_by_reverting() {
    let it = Asked::new();
    assert_eq!(it.create(221, &[("nameserver", "10.0.0.1"), ("start", "1")]).await, "OK");
    let changed = async |params: &[(&str, &str)]| {
        assert_eq!(it.put(221, params).await.status, 200);
        let files = it.world.node.configuration_files();
        let (_, text) = files.into_iter().find(|(id, _)| *id == 221).expect("it is there");
        text.split_once("[pve:pending]\n").map(|(_, waits)| waits.to_owned()).unwrap_or_default()
    };
    assert_eq!(changed(&[("nameserver", "1.1.1.1"), ("tty", "1")]).await, "nameserver: 1.1.1.1\ntty: 1\n");
    let both = "delete: nameserver\nnameserver: 1.1.1.1\ntty: 1\n";
    assert_eq!(changed(&[("delete", "nameserver,tty")]).await, both);
    assert_eq!(changed(&[("revert", "nameserver")]).await, "tty: 1\n");
    assert_eq!(changed(&[("revert", "tty")]).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_stale_digest_is_refused() {
    let it = Asked::new();
    it.create(201, &[]).await;
    let digest = it.get("/nodes/pve1/lxc/201/config").await["digest"].clone();
    let digest = digest.as_str().expect("text");
    assert_eq!(it.put(201, &[("memory", "640"), ("digest", digest)]).await.status, 200);
    let stale = it.put(201, &[("memory", "768"), ("digest", digest)]).await;
    refused(&stale, 500, "detected modified configuration - file changed by other user? Try again.");
}

#[tokio::test(start_paused = true)]
async fn all_bad_parameters_are_told_at_once() {
    let it = Asked::new();
    let params = [
        ("vmid", "214"),
        ("ostemplate", TEMPLATE_13),
        ("hostname", "bad_name!"),
        ("memory", "1"),
        ("cores", "0"),
        ("nosuch", "1"),
        ("net0", "name=eth0,bridge=vmbr0,ip=10.0.0.300/24"),
    ];
    let response = it.call(Method::Post, "/nodes/pve1/lxc", &params).await;
    refused(&response, 400, "Parameter verification failed.");
    assert_eq!(
        response.body["errors"],
        json!({
            "cores": "value must have a minimum value of 1",
            "nosuch": "property is not defined in schema and the schema does not allow additional properties",
            "hostname": "invalid format - value does not look like a valid DNS name\n",
            "memory": "value must have a minimum value of 16",
            "net0": "invalid format - format error\nnet0.ip: invalid format - value does not look like a valid ipv4 \
                     network configuration\n\n",
        })
    );
    let missing = it.call(Method::Post, "/nodes/pve1/lxc", &[("vmid", "abc")]).await;
    assert_eq!(
        missing.body["errors"],
        json!({
            "vmid": "type check ('integer') failed - got 'abc'",
            "ostemplate": "property is missing and it is not optional",
        })
    );
    let unknown = it.put(999, &[("delete", "nosuch")]).await;
    assert_eq!(unknown.body["errors"], json!({"delete": "unknown option 'nosuch'"}));
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_and_what_is_in_the_way() {
    let it = Asked::new();
    let missing = "Configuration file 'nodes/pve1/lxc/999.conf' does not exist";
    refused(&it.call(Method::Get, "/nodes/pve1/lxc/999/config", &[]).await, 500, missing);
    assert_eq!(it.task(Method::Post, "/nodes/pve1/lxc/999/status/start", &[]).await, missing);
    let elsewhere = it.call(Method::Get, "/nodes/other/lxc", &[]).await;
    assert!(elsewhere.reason.starts_with("hostname lookup 'other' failed"), "{}", elsewhere.reason);
    refused(&it.call(Method::Get, "/nosuch", &[]).await, 501, "Method 'GET /nosuch' not implemented");
    refused(&it.call(Method::Post, "/version", &[]).await, 501, "Method 'POST /version' not implemented");
    let bad = it.call(Method::Get, "/nodes/pve1/tasks/UPID%3Ax/status", &[]).await;
    assert_eq!(bad.body["errors"], json!({"upid": "unable to parse worker upid"}));

    it.create(210, &[]).await;
    let again = [("vmid", "210"), ("ostemplate", TEMPLATE_12), ("rootfs", "tank:1")];
    refused(
        &it.call(Method::Post, "/nodes/pve1/lxc", &again).await,
        500,
        "CT 210 already exists on node 'pve1'",
    );
    let power =
        async |verb: &str| it.call(Method::Post, &format!("/nodes/pve1/lxc/210/status/{verb}"), &[]).await;
    refused(&power("stop").await, 500, "CT 210 not running");
    refused(&power("shutdown").await, 500, "CT 210 not running");
    refused(&power("reboot").await, 500, "VM 210 not running");
    assert_eq!(it.task(Method::Post, "/nodes/pve1/lxc/210/status/start", &[]).await, "OK");
    refused(&power("start").await, 500, "CT 210 already running");
    let gone = |params: &'static [(&str, &str)]| it.call(Method::Delete, "/nodes/pve1/lxc/210", params);
    refused(&gone(&[]).await, 500, "unable to destroy CT 210 - container is running");
    assert_eq!(it.put(210, &[("protection", "1")]).await.status, 200);
    refused(&gone(&[("force", "1")]).await, 500, "can't remove CT 210 - protection mode enabled");
    assert_eq!(it.put(210, &[("protection", "0")]).await.status, 200);
    assert_eq!(it.task(Method::Delete, "/nodes/pve1/lxc/210", &[("force", "1")]).await, "OK");
    assert_eq!(it.get("/cluster/nextid").await, "100");
}

#[tokio::test(start_paused = true)]
async fn a_locked_guest() {
    let it = Asked::new();
    it.create(210, &[]).await;
    assert!(it.world.node.set_guest_lock(210, Some("disk")));
    refused(&it.put(210, &[("memory", "300")]).await, 500, "CT is locked (disk)");
    let start = it.task(Method::Post, "/nodes/pve1/lxc/210/status/start", &[]).await;
    assert_eq!(start, "CT is locked (disk)");
    assert_eq!(it.get("/nodes/pve1/lxc/210/config").await["lock"], "disk");
    assert!(it.world.node.set_guest_lock(210, None));
    assert_eq!(it.put(210, &[("memory", "300")]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_guest_is_locked_while_it_is_created_and_gone_when_that_fails() {
    let it = Asked::new();
    let params = [("vmid", "211"), ("ostemplate", "local:vztmpl/nope.tar.zst"), ("rootfs", "tank:1")];
    let response = it.call(Method::Post, "/nodes/pve1/lxc", &params).await;
    assert_eq!(it.get("/nodes/pve1/lxc/211/config").await["lock"], "create");
    refused(&it.put(211, &[("memory", "300")]).await, 500, "CT is locked (create)");
    let upid = response.body["data"].as_str().expect("a UPID");
    let status = it.world.node.task_end(upid).await.expect("known");
    assert_eq!(status, "unable to create CT 211 - volume 'local:vztmpl/nope.tar.zst' does not exist");
    assert!(it.world.node.configuration_files().is_empty());
    assert_eq!(it.get("/nodes/pve1/storage/tank/content").await, json!([]));
}

#[tokio::test(start_paused = true)]
async fn warnings_are_success_and_debian_13_warns() {
    let it = Asked::new();
    let plain = [("ostemplate", TEMPLATE_13)];
    assert_eq!(it.create(210, &plain).await, "WARNINGS: 1");
    assert_eq!(it.task(Method::Post, "/nodes/pve1/lxc/210/status/start", &[]).await, "WARNINGS: 1");
    assert_eq!(it.create(211, &[("ostemplate", TEMPLATE_13), ("features", "nesting=1")]).await, "OK");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_bridge_shows_at_the_start() {
    let it = Asked::new();
    assert_eq!(it.create(213, &[("net0", "name=eth0,bridge=nobr9,ip=dhcp")]).await, "OK");
    let start = it.task(Method::Post, "/nodes/pve1/lxc/213/status/start", &[]).await;
    assert_eq!(start, "bridge 'nobr9' does not exist");
}

#[tokio::test(start_paused = true)]
async fn disks_grow_and_never_shrink() {
    let it = Asked::new();
    it.create(201, &[]).await;
    let resize = async |size: &str| {
        it.call(Method::Put, "/nodes/pve1/lxc/201/resize", &[("disk", "rootfs"), ("size", size)]).await
    };
    let grown =
        it.task(Method::Put, "/nodes/pve1/lxc/201/resize", &[("disk", "rootfs"), ("size", "+1G")]).await;
    assert_eq!(grown, "OK");
    assert_eq!(it.get("/nodes/pve1/lxc/201/config").await["rootfs"], "tank:201/vm-201-disk-0.raw,size=3G");
    refused(&resize("1G").await, 500, "unable to shrink disk size");
    refused(&resize("3G").await, 500, "disk is already at specified size");
}

#[tokio::test(start_paused = true)]
async fn a_mount_point_that_goes_leaves_its_volume() {
    let it = Asked::new();
    it.create(201, &[]).await;
    assert_eq!(it.put(201, &[("mp0", "tank:1,mp=/srv,backup=1")]).await.status, 200);
    let config = it.get("/nodes/pve1/lxc/201/config").await;
    assert_eq!(config["mp0"], "tank:201/vm-201-disk-1.raw,mp=/srv,backup=1,size=1G");
    assert_eq!(it.put(201, &[("delete", "mp0")]).await.status, 200);
    assert_eq!(it.get("/nodes/pve1/lxc/201/config").await["unused0"], "tank:201/vm-201-disk-1.raw");
    assert_eq!(it.put(201, &[("delete", "unused0")]).await.status, 200);
    assert_eq!(it.get("/nodes/pve1/storage/tank/content").await.as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_full_storage_says_so_and_keeps_nothing() {
    let mut options = WorldOptions::new(1);
    options.node.storages[1].total = 4 << 30;
    options.node.storages[2].total = 4 << 30;
    let it = Asked { world: options.build().expect("in memory"), auth: Auth::of(NARROW_TOKEN) };
    let zfs = it.create(201, &[("rootfs", "local-zfs:8")]).await;
    assert_eq!(
        zfs,
        "unable to create CT 201 - zfs error: cannot create 'rpool/data/subvol-201-disk-0': out of space"
    );
    let folder = it.create(202, &[("rootfs", "tank:8")]).await;
    assert!(folder.ends_with("failed: No space left on device"), "{folder}");
    assert_eq!(it.create(203, &[("rootfs", "tank:3")]).await, "OK");
    let grown =
        it.task(Method::Put, "/nodes/pve1/lxc/203/resize", &[("disk", "rootfs"), ("size", "9G")]).await;
    assert!(grown.ends_with("No space left on device"), "{grown}");
    assert_eq!(it.world.node.configuration_files().len(), 1);
}

/// T-6: what takes root itself. A token of `root@pam` that is not separated may do no more than any other.
#[tokio::test(start_paused = true)]
async fn a_token_of_root_is_not_root() {
    for who in ["root@pam!root", NARROW_TOKEN] {
        let it = Asked { auth: Auth::of(who), ..Asked::new() };
        it.create(230, &[("features", "nesting=1")]).await;
        let forbidden = [
            ("mp0", "/srv,mp=/s", "mount point type bind is only allowed for root@pam"),
            ("dev0", "/dev/null", "configuring device passthrough is only allowed for root@pam"),
            ("hookscript", "local:snippets/h.sh", "changing the hookscript is only allowed for root@pam"),
            (
                "features",
                "nesting=1,keyctl=1",
                "changing feature flags (except nesting) is only allowed for root@pam",
            ),
        ];
        for (key, value, text) in forbidden {
            let response = it.put(230, &[(key, value)]).await;
            refused(&response, 403, &format!("Permission check failed ({text})"));
        }
        let privileged = [
            ("vmid", "231"),
            ("ostemplate", TEMPLATE_12),
            ("rootfs", "tank:1"),
            ("unprivileged", "0"),
            ("features", "nesting=1"),
        ];
        let response = it.call(Method::Post, "/nodes/pve1/lxc", &privileged).await;
        let text = "changing feature flags for privileged container is only allowed for root@pam";
        refused(&response, 403, &format!("Permission check failed ({text})"));
    }
    let root = Asked::root();
    root.create(230, &[("features", "nesting=1,keyctl=1")]).await;
    assert_eq!(root.put(230, &[("mp0", "/srv,mp=/s,ro=1")]).await.status, 200);
    assert_eq!(root.put(230, &[("dev0", "/dev/null,mode=0666")]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn every_path_checks_its_privilege() {
    let it = Asked { auth: Auth::of("a@pve"), ..Asked::root() };
    let admin = Asked { auth: Auth::root(), world: it.world.clone() };
    assert_eq!(admin.call(Method::Post, "/access/users", &[("userid", "a@pve")]).await.status, 200);
    admin.create(101, &[]).await;
    let expected = [
        (Method::Get, "/nodes/pve1/lxc/101/config", "/vms/101, VM.Audit"),
        (Method::Post, "/nodes/pve1/lxc/101/status/start", "/vms/101, VM.PowerMgmt"),
        (Method::Delete, "/nodes/pve1/lxc/101", "/vms/101, VM.Allocate"),
        (Method::Get, "/nodes/pve1/status", "/nodes/pve1, Sys.Audit"),
        (Method::Post, "/storage", "/storage, Datastore.Allocate"),
        (Method::Delete, "/pools/x", "/pool/x, Pool.Allocate"),
        (Method::Post, "/access/roles", "/access, Sys.Modify"),
    ];
    for (method, path, what) in expected {
        refused(&it.call(method, path, &[]).await, 403, &format!("Permission check failed ({what})"));
    }
    let create = [("vmid", "300"), ("ostemplate", TEMPLATE_12)];
    refused(&it.call(Method::Post, "/nodes/pve1/lxc", &create).await, 403, "Permission check failed");
    assert_eq!(it.get("/cluster/resources").await.as_array().map(Vec::len), Some(1), "the node alone");
    assert_eq!(it.get("/nodes/pve1/lxc").await, json!([]));
    let rule = [("path", "/vms/101"), ("users", "a@pve"), ("roles", "PVEVMAdmin")];
    assert_eq!(admin.call(Method::Put, "/access/acl", &rule).await.status, 200);
    assert_eq!(it.get("/nodes/pve1/lxc").await.as_array().map(Vec::len), Some(1));
    let own = it.get("/access/permissions").await;
    assert_eq!(
        own.as_object().map(|paths| paths.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["/vms/101".into()])
    );
}

#[tokio::test(start_paused = true)]
async fn identities_that_are_no_longer_good() {
    let it = Asked::new();
    let node = &it.world.node;
    assert_eq!(node.auth_of_token("PVEAPIToken=phoenix@pve!cli=narrow-secret"), Some(Auth::of(NARROW_TOKEN)));
    for bad in [
        "PVEAPIToken=phoenix@pve!cli=other",
        "PVEAPIToken=x@pve!cli=narrow-secret",
        "PVEAPIToken=",
        "Bearer x",
    ] {
        assert_eq!(node.auth_of_token(bad), None, "{bad}");
    }
    let unknown = Asked { auth: Auth::of("phoenix@pve!gone"), world: it.world.clone() };
    refused(&unknown.call(Method::Get, "/version", &[]).await, 401, "Authentication failed!");
    let request = Request { method: Method::Get, path: "/version".into(), params: Vec::new() };
    refused(&node.handle_anonymous(&request).await, 401, "No ticket");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_and_its_csrf_token() {
    let it = Asked::new();
    let node = &it.world.node;
    node.set_password("root@pam", Some("geheim123"));
    let log_in = |password: &str| Request {
        method: Method::Post,
        path: "/access/ticket".into(),
        params: vec![("username".into(), "root@pam".into()), ("password".into(), password.into())],
    };
    refused(&node.handle_anonymous(&log_in("falsch")).await, 401, "authentication failure");
    let data = node.handle_anonymous(&log_in("geheim123")).await.body["data"].clone();
    let ticket = data["ticket"].as_str().expect("a ticket");
    let csrf = data["CSRFPreventionToken"].as_str();
    assert_eq!(node.auth_of_ticket(ticket, csrf, true), Ok(Auth::root()));
    assert_eq!(node.auth_of_ticket(ticket, None, false), Ok(Auth::root()));
    assert_eq!(node.auth_of_ticket(ticket, None, true), Err("Permission denied - invalid csrf token"));
    let forged = ticket.replace("root@pam", "root@pve");
    assert!(node.auth_of_ticket(&forged, csrf, true).is_err());
    tokio::time::sleep(std::time::Duration::from_secs(7201)).await;
    assert!(node.auth_of_ticket(ticket, csrf, true).is_err(), "a ticket lives two hours");
}

#[tokio::test(start_paused = true)]
async fn pools_hold_guests_until_they_are_gone() {
    let it = Asked::root();
    assert_eq!(it.call(Method::Post, "/pools", &[("poolid", "dev"), ("comment", "p")]).await.status, 200);
    let again = it.call(Method::Post, "/pools", &[("poolid", "dev")]).await;
    refused(&again, 500, "create pool failed: pool 'dev' already exists");
    it.create(101, &[("pool", "dev")]).await;
    assert_eq!(it.get("/pools/dev").await["members"][0]["vmid"], 101);
    let full = it.call(Method::Delete, "/pools/dev", &[]).await;
    refused(&full, 500, "delete pool failed: pool 'dev' is not empty (contains VM 101)");
    assert_eq!(it.task(Method::Delete, "/nodes/pve1/lxc/101", &[]).await, "OK");
    assert_eq!(it.call(Method::Delete, "/pools/dev", &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_log_comes_in_pages_and_a_task_can_be_stopped() {
    let it = Asked::new();
    let params = [("vmid", "201"), ("ostemplate", TEMPLATE_12), ("rootfs", "tank:1")];
    let response = it.call(Method::Post, "/nodes/pve1/lxc", &params).await;
    let upid = response.body["data"].as_str().expect("a UPID").to_owned();
    assert_eq!(upid.parse::<proxmox::Upid>().expect("a UPID").kind, "vzcreate");
    let path = format!("/nodes/pve1/tasks/{upid}");
    assert_eq!(it.get(&format!("{path}/status")).await["status"], "running");
    assert_eq!(it.call(Method::Delete, &path, &[]).await.status, 200);
    assert_eq!(it.world.node.task_end(&upid).await.as_deref(), Some("interrupted by signal"));
    it.create(202, &[]).await;
    let tasks = it.get("/nodes/pve1/tasks").await;
    assert_eq!(tasks.as_array().map(Vec::len), Some(2));
    let upid = tasks[0]["upid"].as_str().expect("the newest first");
    let page = it
        .call(Method::Get, &format!("/nodes/pve1/tasks/{upid}/log"), &[("start", "1"), ("limit", "2")])
        .await;
    assert_eq!(page.body["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(page.body["data"][0]["n"], 2);
    assert!(page.body["total"].as_u64().expect("a number") > 10);
}

#[tokio::test(start_paused = true)]
async fn a_node_over_folders_survives_its_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = camino::Utf8Path::from_path(folder.path()).expect("UTF-8").to_owned();
    let runtime = SimRuntime::new(1, Times::none());
    let open = || {
        let mut options = NodeOptions::new("pve1");
        options.etc = Some(folder.join("etc/pve"));
        options.state = Some(folder.join("state"));
        let mut local = Storage::new("local", "dir", "/var/lib/vz", "vztmpl");
        local.templates =
            vec![Template { name: "debian-13-standard_13.1-2_amd64.tar.zst".into(), size: 1, ctime: 1 }];
        options.storages = vec![local, Storage::new("tank", "dir", "/tank", "rootdir")];
        Node::open(options, Arc::new(runtime.clone())).expect("a node")
    };
    let ask = |node: Node, method, path: &'static str, params: &[(&str, &str)]| {
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        async move { node.handle(&Auth::root(), &Request { method, path: path.into(), params }).await }
    };
    let node = open();
    node.set_token("phoenix@pve!cli", "s", true);
    let params = [("vmid", "101"), ("ostemplate", TEMPLATE_13), ("rootfs", "tank:2"), ("start", "1")];
    let upid = ask(node.clone(), Method::Post, "/nodes/pve1/lxc", &params).await.body["data"].clone();
    let upid = upid.as_str().expect("a UPID").to_owned();
    assert_eq!(node.task_end(&upid).await.as_deref(), Some("WARNINGS: 2"));
    let before = ask(node.clone(), Method::Get, "/nodes/pve1/lxc/101/config", &[]).await;
    let file = std::fs::read_to_string(folder.join("etc/pve/nodes/pve1/lxc/101.conf")).expect("the file");
    assert_eq!(before.body["data"]["digest"], proxmox::config::digest(file.as_bytes()));
    // A task that is cut off by the end of the process.
    let cut = node.inner.clone();
    let cut = tasks::start(&cut, &Auth::root(), "vzstop", "101", |_| std::future::pending());
    drop(node);
    let node = open();
    assert_eq!(node.task_end(&cut).await.as_deref(), Some("unexpected status"));
    assert_eq!(ask(node.clone(), Method::Get, "/nodes/pve1/lxc/101/config", &[]).await, before);
    assert_eq!(node.task_end(&upid).await.as_deref(), Some("WARNINGS: 2"));
    assert!(node.auth_of_token("PVEAPIToken=phoenix@pve!cli=s").is_some());
    let status = ask(node.clone(), Method::Get, "/nodes/pve1/lxc/101/status/current", &[]).await;
    assert_eq!(status.body["data"]["status"], "running", "the runtime knows what runs");
    let content = ask(node.clone(), Method::Get, "/nodes/pve1/storage/tank/content", &[]).await;
    assert_eq!(content.body["data"][0]["volid"], "tank:101/vm-101-disk-0.raw");
    // Somebody edits the file on the node, or takes it away: the API says so at once.
    let path = folder.join("etc/pve/nodes/pve1/lxc/101.conf");
    std::fs::write(&path, file.replace("rootfs:", "cores: 3\nrootfs:")).expect("written");
    let edited = ask(node.clone(), Method::Get, "/nodes/pve1/lxc/101/config", &[]).await;
    assert_eq!(edited.body["data"]["cores"], 3);
    std::fs::remove_file(&path).expect("removed");
    assert_ne!(ask(node, Method::Get, "/nodes/pve1/lxc/101/config", &[]).await.status, 200);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(folder.join("state/node.json")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
}

/// Its rules go with a guest; the API reads the files and says that it does not change them.
#[tokio::test(start_paused = true)]
async fn the_firewall_is_read_from_its_files() {
    let it = Asked::new();
    assert_eq!(it.create(240, &[]).await, "OK");
    let rules = "/nodes/pve1/lxc/240/firewall/rules";
    assert_eq!(it.get(rules).await, json!([]));
    let put = |name: &str, text: &str| it.world.node.put_firewall_file(name, Some(text)).expect("in memory");
    put("240.fw", "[OPTIONS]\nenable: 1\n[RULES]\nIN ACCEPT -source 10.99.0.0/24 -p tcp -dport 443 # one\n");
    put("cluster.fw", "[OPTIONS]\nenable: 1\npolicy_in: DROP\n");
    assert_eq!(it.get(rules).await[0]["source"], "10.99.0.0/24");
    assert_eq!(it.get("/nodes/pve1/lxc/240/firewall/options").await["enable"], 1);
    assert_eq!(it.get("/cluster/firewall/options").await["policy_in"], "DROP");
    assert_eq!(it.get("/nodes/pve1/firewall/rules").await, json!([]));
    let refused = it.call(Method::Put, "/cluster/firewall/options", &[("enable", "0")]).await;
    assert_eq!(refused.status, 501);
    assert!(refused.reason.contains("/etc/pve/firewall/cluster.fw"), "{}", refused.reason);
    let gone = it.call(Method::Get, "/nodes/pve1/lxc/999/firewall/rules", &[]).await;
    assert!(gone.reason.contains("does not exist"), "{}", gone.reason);
    assert_eq!(it.task(Method::Delete, "/nodes/pve1/lxc/240", &[]).await, "OK");
    let left = it.world.node.firewall_files().expect("in memory");
    assert_eq!(left.keys().collect::<Vec<_>>(), ["cluster.fw"]);
}
