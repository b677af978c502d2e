//! Comparing an answer with a recorded one.

use proxmox::exchange::Response;
use serde_json::{Map, Value, json};

/// One field that differs.
#[derive(Debug)]
pub struct Difference {
    /// `status`, `reason`, `errors`, `total`, or `data` with the key in it.
    pub field: String,
    pub theirs: String,
    pub ours: String,
}

/// Numbers that were measured or drawn: only that they are there, and numbers, is compared.
const MEASURED: [&str; 35] = [
    "avail",
    "available",
    "cpu",
    "ctime",
    "disk",
    "diskread",
    "diskwrite",
    "endtime",
    "free",
    "idle",
    "localtime",
    "maxdisk",
    "mem",
    "memhost",
    "netin",
    "netout",
    "pid",
    "pressurecpufull",
    "pressurecpusome",
    "pressureiofull",
    "pressureiosome",
    "pressurememoryfull",
    "pressurememorysome",
    "priority",
    "pstart",
    "saved",
    "starttime",
    "swap",
    "time",
    "total",
    "uptime",
    "used",
    "used_fraction",
    "wait",
    "n",
];

/// What is the machine's own: only that it is there is compared.
const MACHINE: [&str; 6] =
    ["boot-info", "cpuinfo", "current-kernel", "kversion", "loadavg", "ssl_fingerprint"];

pub fn compare(record: &Value, ours: &Response) -> Vec<Difference> {
    let mut out = Vec::new();
    let mut put = |field: String, theirs: &Value, ours: &Value| {
        if theirs != ours {
            out.push(Difference { field, theirs: theirs.to_string(), ours: ours.to_string() });
        }
    };
    put("status".into(), &record["status"], &ours.status.into());
    put("reason".into(), &record["reason"], &ours.reason.clone().into());
    let their_body = if record["body"] == "" { &Value::Null } else { &record["body"] };
    put("errors".into(), &their_body["errors"], &ours.body["errors"]);
    let is_log = record["path"].as_str().is_some_and(|path| path.ends_with("/log"));
    if !is_log {
        put("message".into(), &their_body["message"], &ours.body["message"]);
        let count = |body: &Value| body.get("total").is_some().into();
        put("total".into(), &count(their_body), &count(&ours.body));
    }
    let (theirs, ours) = (normal("", &their_body["data"]), normal("", &ours.body["data"]));
    match (&theirs, &ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for key in theirs.keys().chain(ours.keys().filter(|key| !theirs.contains_key(*key))) {
                let none = json!("(not there)");
                put(format!("data.{key}"), theirs.get(key).unwrap_or(&none), ours.get(key).unwrap_or(&none));
            }
        }
        _ => put("data".into(), &theirs, &ours),
    }
    out
}

fn normal(key: &str, value: &Value) -> Value {
    match value {
        value if MACHINE.contains(&key) && !value.is_null() => json!("the machine's"),
        Value::Number(_) if MEASURED.contains(&key) => json!("a number"),
        Value::String(text) if MEASURED.contains(&key) && text.parse::<f64>().is_ok() => json!("a number"),
        Value::String(text) if key == "digest" && text.len() == 40 => json!("a digest"),
        Value::String(text) if matches!(key, "content" | "privs") => {
            let mut parts: Vec<&str> = text.split(',').collect();
            parts.sort_unstable();
            json!(parts.join(","))
        }
        Value::String(text) if key == "value" && text.len() == 40 && !text.contains(' ') => json!("a digest"),
        Value::String(text) if key == "value" && (text == "<uuid>" || text.len() == 36) => json!("a secret"),
        Value::String(_) if matches!(key, "smbios1" | "vmgenid") => json!("drawn"),
        Value::String(text) if text.starts_with("creation-qemu=") || text.starts_with("uuid=") => {
            json!("made")
        }
        Value::String(text) => json!(masked(text)),
        Value::Array(all) => {
            // How far a copy is, is told as often as it takes.
            let how_far =
                |value: &&Value| value["t"].as_str().is_some_and(|text| text.starts_with("transferred "));
            let all = all.iter().filter(|value| !how_far(value));
            let mut all: Vec<Value> = all.map(|value| normal("", value)).collect();
            all.sort_by_key(Value::to_string);
            Value::Array(all)
        }
        Value::Object(object) => {
            let mut out = Map::new();
            for (key, value) in object {
                out.insert(key.clone(), normal(key, value));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

/// A text without what is drawn anew each time.
fn masked(text: &str) -> String {
    let mut out = text.to_owned();
    if let Some(rest) = text.strip_prefix("UPID:") {
        let parts: Vec<&str> = rest.split(':').collect();
        if let [node, _, _, _, kind, id, user, ""] = parts[..] {
            return format!("UPID:{node}:…:{kind}:{id}:{user}:");
        }
    }
    for prefix in ["BC:24:11:", "bc:24:11:"] {
        while let Some(at) = out.find(prefix) {
            out.replace_range(at..(at + 17).min(out.len()), "a MAC");
        }
    }
    if out.starts_with("fe80::") {
        return "a link-local address".to_owned();
    }
    for kind in ["ecdsa", "rsa", "ed25519"] {
        out = out.replace(&format!("ssh_host_{kind}_key"), "ssh_host_KIND_key");
    }
    for (start, mask) in
        [("done: SHA256:", "done: a key"), ("Total bytes read: ", "Total"), ("Filesystem UUID: ", "UUID")]
    {
        if out.starts_with(start) {
            return mask.to_owned();
        }
    }
    out
}
