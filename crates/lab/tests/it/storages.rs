//! Definitions of storages, held against what a real node answered (Proxmox VE 9.2.11, `recordings2/storage.jsonl`), and what
//! holds without the recordings.

#![expect(clippy::expect_used, reason = "part of a test: what is missing fails it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use lab::node::{Auth, Node, NodeOptions, Storage};
use lab::sim::{SimRuntime, Times};
use proxmox::exchange::{Method, Request, Response};
use serde_json::{Value, json};

/// Steps that are not as they were recorded, each with the reason.
const OTHERWISE: [(&str, &str); 15] = [
    ("create dir missing path, mkdir=0", "folders are not looked for"),
    ("create dir missing path, create-base-path=0", "folders are not looked for"),
    ("create dir path is a file", "folders are not looked for"),
    ("create dir is_mountpoint=1, not mounted", "folders are not looked for"),
    ("create dir content none", "`none` is taken as a word like others"),
    ("create dir content none and images", "`none` is taken as a word like others"),
    ("create btrfs on ext4", "file systems are not looked at"),
    ("create zfspool", "the recorded node had no programs of ZFS"),
    ("create zfs over iscsi", "not offered"),
    ("create iscsi", "not offered"),
    ("create rbd", "not offered"),
    ("read rec-rbd", "not offered"),
    ("delete rec-rbd", "not offered"),
    ("create cephfs", "not offered"),
    ("create esxi", "not offered"),
];

fn node() -> Node {
    let mut options = NodeOptions::new("pve1");
    options.storages = vec![Storage::new("local", "dir", "/var/lib/vz", "images,rootdir,vztmpl,iso")];
    if let Some(grounds) = &mut options.grounds {
        grounds.nfs.clear();
        grounds.cifs.clear();
        grounds.pbs.clear();
        grounds.thin.clear();
    }
    Node::open(options, Arc::new(SimRuntime::new(1, Times::none()))).expect("in memory")
}

async fn send(node: &Node, method: Method, path: &str, params: &Value) -> Response {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let params =
        params.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect();
    node.handle(&Auth::root(), &Request { method, path: path.to_owned(), params }).await
}

/// Of an answer what must be the same: lists that mean the same in any order.
fn shown(status: u16, body: &Value) -> String {
    let mut data = body["data"].clone();
    let Some(object) = data.as_object_mut() else {
        return format!("{status} {} {}", body["message"], body["errors"]);
    };
    object.remove("digest");
    if let Some(dirs) = object.get("content-dirs").and_then(Value::as_object) {
        let parts: Vec<String> =
            dirs.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
        object.insert("content-dirs".to_owned(), parts.join(",").into());
    }
    let sorted: BTreeMap<String, String> = object
        .iter()
        .map(|(key, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let mut parts: Vec<&str> = text.split(',').collect();
            parts.sort_unstable();
            (key.clone(), parts.join(","))
        })
        .collect();
    format!("{status} {sorted:?}")
}

#[tokio::test(start_paused = true)]
async fn definitions_are_taken_and_refused_as_by_a_real_node() {
    let file =
        Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pve/recordings2/storage.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: no recordings beside the workspace");
        return;
    };
    let node = node();
    let (mut compared, mut unlisted) = (0, Vec::new());
    for record in text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        let path = record["path"].as_str().unwrap_or_default();
        let method = match record["method"].as_str() {
            Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            Some("PUT") => Method::Put,
            Some("DELETE") => Method::Delete,
            _ => continue,
        };
        let step = record["step"].as_str().unwrap_or_default();
        let status_of_one = path == "/nodes/pve1/storage/rec-a/status";
        let own = path == "/storage" || path.strip_prefix("/storage/").is_some_and(|id| !id.contains('/'));
        // A list of all has what else there was on the recorded node.
        let list = method == Method::Get && path == "/storage";
        if !(own || status_of_one) || list || OTHERWISE.iter().any(|(otherwise, _)| step == *otherwise) {
            continue;
        }
        let ours = send(&node, method, path, &record["params"]).await;
        let status = u16::try_from(record["status"].as_u64().unwrap_or_default()).unwrap_or_default();
        let (theirs, ours) = (shown(status, &record["body"]), shown(ours.status, &ours.body));
        compared += 1;
        if theirs != ours {
            unlisted.push(format!("{step}\n    recorded: {theirs}\n    ours:     {ours}"));
        }
    }
    println!("{compared} answers compared");
    assert!(unlisted.is_empty(), "{}", unlisted.join("\n"));
    assert!(compared > 45, "only {compared} answers were compared");
}

#[tokio::test(start_paused = true)]
async fn what_a_storage_is_cannot_be_changed() {
    let node = node();
    let created = json!({ "storage": "fast", "type": "zfspool", "pool": "tank", "sparse": 1 });
    assert_eq!(send(&node, Method::Post, "/storage", &created).await.status, 200);
    let refused = send(&node, Method::Put, "/storage/fast", &json!({ "pool": "rpool" })).await;
    assert_eq!((refused.status, refused.body["errors"]["pool"].is_string()), (400, true));
    let refused = send(&node, Method::Put, "/storage/fast", &json!({ "delete": "pool" })).await;
    assert_eq!(refused.reason, "update storage failed: unable to delete required option 'pool'");
    let refused = send(&node, Method::Put, "/storage/fast", &json!({ "preallocation": "off" })).await;
    assert_eq!(refused.reason, "unexpected property 'preallocation'");
    let missing = json!({ "storage": "slow", "type": "zfspool", "pool": "nope/x" });
    let refused = send(&node, Method::Post, "/storage", &missing).await;
    assert!(refused.reason.contains("cannot import 'nope': no such pool available"), "{}", refused.reason);
}

/// A password is no part of the definition, and nobody is shown it.
#[tokio::test(start_paused = true)]
async fn a_password_is_not_shown() {
    let mut options = NodeOptions::new("pve1");
    options.storages = vec![Storage::new("local", "dir", "/var/lib/vz", "iso")];
    let node = Node::open(options, Arc::new(SimRuntime::new(1, Times::none()))).expect("in memory");
    let created = json!({
        "storage": "office", "type": "cifs", "server": "10.0.0.20", "share": "backups", "username": "u", "password": "hunter2",
    });
    assert_eq!(send(&node, Method::Post, "/storage", &created).await.status, 200);
    let shown = send(&node, Method::Get, "/storage/office", &json!({})).await;
    assert!(!shown.body.to_string().contains("hunter2"), "{}", shown.body);
    assert_eq!(shown.body["data"]["username"], "u");
}

/// Recorded: "no privileges | cluster options", and a comment's lines come back with their ends.
#[tokio::test(start_paused = true)]
async fn notes_are_kept_line_by_line() {
    let node = node();
    let put =
        send(&node, Method::Put, "/cluster/options", &json!({ "description": "one\n\n```phoenix\n{}\n```" }))
            .await;
    assert_eq!(put.status, 200);
    let read = send(&node, Method::Get, "/cluster/options", &json!({})).await;
    assert_eq!(read.body["data"]["description"], "one\n\n```phoenix\n{}\n```\n");
    let request = Request { method: Method::Get, path: "/cluster/options".into(), params: Vec::new() };
    let seen = node.handle(&Auth::of("nobody@pve"), &request).await;
    assert!(seen.body["data"].get("description").is_none(), "{}", seen.body);
    let deleted = send(&node, Method::Put, "/cluster/options", &json!({ "delete": "description" })).await;
    assert_eq!((deleted.status, node.notes().as_str()), (200, ""));
}
