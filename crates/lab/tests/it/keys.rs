//! Every key of a virtual machine, set on a stopped and on a running one, held against what a real node (Proxmox VE 9.2.11)
//! answered, showed and kept waiting. What differs is in `keys.txt`, each with its reason. Without the recording (it is not
//! part of the project) there is nothing to compare.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "part of a test: what is missing fails it")]

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::Utf8PathBuf;
use lab::node::{Auth, Node, NodeOptions, Storage, Template};
use lab::sim::{SimRuntime, Times};
use proxmox::exchange::{Method, Request, Response};
use serde_json::Value;

const TOKEN: &str = "phoenix@pve!judge";

/// The machine that each value was set on; `$` stands for its number.
const BASE: &str = "balloon: 0\nboot: order=scsi0\ncores: 1\ncpu: qemu64\nkvm: 0\nmemory: 256\n\
                    meta: creation-qemu=10.0.13,ctime=1795879095\nname: rec$\nnet0: virtio=BC:24:11:00:07:1E,bridge=vmbr0\n\
                    ostype: l26\nscsi0: rec-dir:$/vm-$-disk-0.qcow2,size=64M\nscsihw: virtio-scsi-single\nserial0: socket\n\
                    smbios1: uuid=11111111-1111-1111-1111-111111111111\nvmgenid: 11111111-1111-1111-1111-111111111111\n";

fn world() -> (Node, SimRuntime) {
    let image = |name: &str, size| Template { name: name.to_owned(), size, ctime: 1 };
    let mut dir =
        Storage::new("rec-dir", "dir", "/srv/rec-dir", "images,rootdir,iso,import,snippets,vztmpl,backup");
    dir.images = vec![
        image("import/rec.qcow2", 64 << 20),
        image("iso/rec.iso", 64 << 10),
        image("snippets/rec-user.yaml", 10),
        image("snippets/rec-hook.sh", 10),
    ];
    let btrfs = Storage::new("rec-btrfs", "btrfs", "/srv/rec-btrfs", "images,rootdir");
    let mut options = NodeOptions::new("pve1");
    options.seed = Some(1);
    options.storages = vec![dir, btrfs];
    let runtime = SimRuntime::new(1, Times::none());
    let node = Node::open(options, Arc::new(runtime.clone())).expect("in memory");
    node.set_token(TOKEN, "secret", true);
    // What PVEAdmin has, and the mappings and networks that its holder could use.
    for who in ["phoenix@pve", TOKEN] {
        for role in ["PVEAdmin", "PVEMappingUser"] {
            node.grant(who, "/", role);
        }
    }
    (node, runtime)
}

async fn send(node: &Node, record: &Value) -> Response {
    let method = match record["method"].as_str().unwrap() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "DELETE" => Method::Delete,
        _ => Method::Put,
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let params = record["params"].as_object().into_iter().flatten();
    let params = params.map(|(key, value)| (key.clone(), text(value))).collect();
    let path = record["path"].as_str().unwrap().to_owned();
    let response = node.handle(&Auth::of(TOKEN), &Request { method, path, params }).await;
    node.idle().await;
    response
}

/// The value of one key, without what is drawn anew each time.
fn shown(data: &Value, key: &str) -> String {
    let value = &data[if key == "cdrom" { "ide2" } else { key }];
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // Numbers of disks and MACs were given to others before.
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("-disk-") {
        out.push_str(&rest[..at]);
        out.push_str("-disk-N");
        rest = rest[at + 6..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    match out.find("BC:24:11:") {
        Some(at) if !record_of_base(&out) => format!("{}MAC{}", &out[..at], &out[at + 17..]),
        _ => out,
    }
}

fn record_of_base(text: &str) -> bool {
    text.contains("BC:24:11:00:07:")
}

/// The keys that wait.
fn waiting(data: &Value) -> BTreeSet<String> {
    let all = data.as_array().into_iter().flatten();
    let waits = all.filter(|entry| entry.get("pending").is_some() || entry.get("delete").is_some());
    waits.map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_key_is_taken_as_by_a_real_node() {
    let folder = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pve/recordings2");
    let Ok(text) = std::fs::read_to_string(folder.join("keys-qemu.jsonl")) else {
        println!("skipped: no recordings beside the workspace");
        return;
    };
    let (node, runtime) = world();
    let listed: Vec<&str> =
        include_str!("keys.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let (mut compared, mut unlisted, mut seen) = (0, Vec::new(), BTreeSet::new());
    let mut taken = false;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let step = record["step"].as_str().unwrap_or_default();
        let parts: Vec<&str> = step.split(" | ").collect();
        let [state @ ("stopped" | "running"), what, verb @ ("set" | "read back" | "pending" | "delete")] =
            parts[..]
        else {
            continue;
        };
        if record.get("method").is_none() {
            continue;
        }
        let id = if state == "stopped" { 631 } else { 632 };
        if verb == "set" {
            // A machine as it was before.
            let text = BASE.replace('$', &id.to_string());
            node.put_vm(id, &text).expect("in memory");
            if state == "running" {
                let config = proxmox::config::GuestConfig::parse(proxmox::config::GuestKind::Vm, &text);
                runtime.set_running_vm(id, config.current.values);
            }
        } else if !taken {
            continue;
        }
        let ours = send(&node, &record).await;
        let params = record["params"].as_object();
        let key = what.split(['=', ' ', ':']).next().unwrap_or_default();
        let (theirs, ours) = match verb {
            "set" | "delete" => {
                taken = record["status"] == 200 && ours.status == 200;
                let errors = |body: &Value| body["errors"].as_object().cloned().unwrap_or_default();
                (
                    format!("{} {} {:?}", record["status"], record["reason"], errors(&record["body"])),
                    format!("{} {:?} {:?}", ours.status, ours.reason, errors(&ours.body)),
                )
            }
            "read back" => (shown(&record["body"]["data"], key), shown(&ours.body["data"], key)),
            _ => (
                format!("{:?}", waiting(&record["body"]["data"])),
                format!("{:?}", waiting(&ours.body["data"])),
            ),
        };
        compared += 1;
        if theirs == ours {
            continue;
        }
        let place = format!("{state} | {what} | {verb}");
        match listed.iter().find(|line| line.split_once(" => ").is_some_and(|(of, _)| fits(of, &place))) {
            Some(line) => drop(seen.insert(*line)),
            None => unlisted
                .push(format!("{place}\n    {params:?}\n    recorded: {theirs}\n    ours:     {ours}")),
        }
    }
    println!("{compared} answers compared, {} differ and are not listed", unlisted.len());
    assert!(unlisted.is_empty(), "{}", unlisted.join("\n"));
    let stale: Vec<&&str> = listed.iter().filter(|line| !seen.contains(**line)).collect();
    assert!(stale.is_empty(), "listed and no longer so: {stale:?}");
    assert!(compared > 1000, "only {compared} answers were compared");
}

/// `*` at the end of what is listed stands for anything.
fn fits(listed: &str, place: &str) -> bool {
    listed.strip_suffix('*').map_or(listed == place, |start| place.starts_with(start))
}
