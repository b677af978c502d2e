//! What each kind of call takes of a token, against the API's published schema.

use std::collections::BTreeSet;

use camino::Utf8Path;
use managers::privileges::{CALLS, kind_of};
use proxmox::exchange::Method;
use serde_json::Value;

/// What the schema says of a method, if it knows it: its `permissions`.
fn permissions<'s>(nodes: &'s Value, method: Method, path: &str) -> Option<&'s Value> {
    nodes.as_array()?.iter().find_map(|node| {
        let own = (node["path"] == path).then(|| node["info"].get(method.to_string())).flatten();
        own.map(|info| &info["permissions"]).or_else(|| permissions(&node["children"], method, path))
    })
}

/// The privileges that a check names, each of which may be enough.
fn named_in(check: &Value) -> BTreeSet<&str> {
    let all = check.as_array().map(Vec::as_slice).unwrap_or_default();
    match all.first().and_then(Value::as_str) {
        Some("and" | "or") => all[1..].iter().flat_map(named_in).collect(),
        _ => all[2].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

#[test]
fn what_calls_take_is_what_the_schema_says() {
    let file = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pve/api-schema.json");
    if !file.exists() {
        println!("skipped: no schema at {file}");
        return;
    }
    let schema: Value = serde_json::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap();
    for call in &CALLS {
        let place = format!("{} {}", call.method, call.path);
        let says = permissions(&schema, call.method, call.path)
            .unwrap_or_else(|| panic!("{place} is not in the schema"));
        let taken: BTreeSet<&str> = call.takes.iter().map(|(privilege, _)| *privilege).collect();
        match &says["check"] {
            // Whoever may may: what it takes beside that, depends on what it is told.
            Value::Null => assert_eq!(says["user"], "all", "{place}: {says}"),
            // Everybody is answered, and shown what the check allows.
            Value::Array(_) if says["user"] == "all" => {}
            // A virtual machine is asked about only where the token is shown it.
            Value::Array(_) if call.path.contains("/qemu/") => {}
            check => {
                let one_of = named_in(check);
                assert!(!taken.is_disjoint(&one_of), "{place} takes one of {one_of:?}, not {taken:?}");
            }
        }
    }
}

#[test]
fn kinds_of_calls_are_told_apart() {
    let path = |method, path| kind_of(method, path).map(|call| call.path);
    assert_eq!(path(Method::Get, "/nodes/pve1/lxc/120/config"), Some("/nodes/{node}/lxc/{vmid}/config"));
    assert_eq!(path(Method::Put, "/nodes/pve1/lxc/120/config"), Some("/nodes/{node}/lxc/{vmid}/config"));
    assert_eq!(path(Method::Delete, "/nodes/pve1/lxc/120"), Some("/nodes/{node}/lxc/{vmid}"));
    for (method, other) in [
        (Method::Post, "/nodes/pve1/lxc/120/config"),
        (Method::Get, "/nodes/pve1/lxc"),
        (Method::Get, "/nodes/pve1/lxc/120/config/more"),
        (Method::Put, "/access/acl"),
        (Method::Get, "/"),
    ] {
        assert_eq!(path(method, other), None, "{method} {other}");
    }
    let all: BTreeSet<_> = CALLS.iter().map(|call| (call.method, call.path)).collect();
    assert_eq!(all.len(), CALLS.len(), "a call is there twice");
}
