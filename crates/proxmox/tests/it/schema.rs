//! Every call, held against the schema that Proxmox VE publishes, where it is present: the path and the method exist,
//! and so does every parameter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Scripted, data, say};
use camino::Utf8Path;
use proxmox::client::{GuestRef, Place, Writer};
use proxmox::config::GuestKind;
use proxmox::exchange::Request;
use serde_json::Value;

/// All calls that [`Writer`] and its reader know.
async fn all_calls() -> Vec<Request> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let writer = Writer::new(Scripted::new(move |request| {
        log.lock().unwrap().push(request.clone());
        data(Value::Null)
    }));
    // What they make of the answer is no matter here.
    let upid = "UPID:pve1:000010E2:000E4E7C:6B03FB81:vzcreate:210:root@pam!conf:".parse().unwrap();
    let _ = writer.version().await;
    let _ = writer.nodes().await;
    let _ = writer.resources(Some("vm")).await;
    let _ = writer.next_id().await;
    let _ = writer.interfaces("pve1", 101).await;
    let _ = writer.storages("pve1").await;
    let _ = writer.volumes("pve1", "local", Some("vztmpl")).await;
    let _ = writer.node_network("pve1").await;
    let _ = writer.permissions(Some("/vms/101")).await;
    let _ = writer.pools().await;
    let _ = writer.pool("lab").await;
    let _ = writer.tasks("pve1", Some(101)).await;
    let _ = writer.task_status(&upid).await;
    let _ = writer.task_log(&upid, 0, 50).await;
    let _ = writer.create_pool("lab", "text").await;
    let _ = writer.join_pool("lab", 101, true).await;
    let _ = writer.leave_pool("lab", 101).await;
    let _ = writer.delete_pool("lab").await;
    let place = Place { node: "pve1", storage: "local", content: "vztmpl", file: "x.tar.zst" };
    let _ = writer.download(place, "https://example.org/x", Some("00")).await;
    let _ = writer.upload(place, "/x".as_ref(), Some("00"), Duration::ZERO, Arc::default()).await;
    let _ = writer.appliances("pve1").await;
    let _ = writer.fetch_template("pve1", "local", "x.tar.zst").await;
    for kind in [GuestKind::Container, GuestKind::Vm] {
        let guest = GuestRef::new("pve1", kind, 101);
        let _ = writer.config(&guest).await;
        let _ = writer.pending(&guest).await;
        let _ = writer.status(&guest).await;
        let _ = writer.snapshots(&guest).await;
        let _ = writer.create(&guest, Vec::new()).await;
        let _ = writer.update(&guest, vec![("digest".to_owned(), "0".to_owned())]).await;
        let _ = writer.destroy(&guest).await;
        let _ = writer.start(&guest).await;
        let _ = writer.stop(&guest).await;
        let _ = writer.shutdown(&guest, 30, true).await;
        let _ = writer.reboot(&guest, 30).await;
        let _ = writer.resize(&guest, "rootfs", "3G").await;
        let _ = writer.clone_guest(&guest, 102, Vec::new()).await;
        let _ = writer.make_template(&guest).await;
        let _ = writer.create_snapshot(&guest, "s1").await;
        let _ = writer.delete_snapshot(&guest, "s1").await;
        let _ = writer.rollback(&guest, "s1").await;
        let _ = writer.move_volume(&guest, "rootfs", "tank").await;
    }
    let all = seen.lock().unwrap();
    all.clone()
}

/// The methods of every path, with the names of their parameters.
fn flatten(nodes: &Value, into: &mut BTreeMap<(String, String), Vec<String>>) {
    for node in nodes.as_array().into_iter().flatten() {
        for (method, info) in node["info"].as_object().into_iter().flatten() {
            let names = info["parameters"]["properties"].as_object();
            let names = names.into_iter().flat_map(|names| names.keys().cloned()).collect();
            into.insert((method.clone(), node["path"].as_str().unwrap().to_owned()), names);
        }
        flatten(&node["children"], into);
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(&path).all(|(known, part)| known.starts_with('{') || known == part)
}

#[tokio::test]
async fn every_call_is_in_the_published_schema() {
    let file = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pve/api-schema.json");
    if !file.exists() {
        say(&format!("skipped: no schema at {file}"));
        return;
    }
    let mut known = BTreeMap::new();
    flatten(&serde_json::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap(), &mut known);
    let calls = all_calls().await;
    assert!(calls.len() >= 55, "{}", calls.len());
    for call in calls {
        let place = format!("{} {}", call.method, call.path);
        let found = known
            .iter()
            .filter(|((method, pattern), _)| *method == call.method.to_string() && fits(pattern, &call.path));
        // Where a literal segment and a placeholder both fit, the literal one is meant.
        let ((_, _), names) = found
            .min_by_key(|((_, pattern), _)| pattern.matches('{').count())
            .unwrap_or_else(|| panic!("{place} is not in the schema"));
        for (name, _) in &call.params {
            // A slot such as `net0` is in the schema as `net[n]`; no call here names one.
            assert!(names.contains(name), "{place} has no parameter `{name}`: {names:?}");
        }
    }
}
