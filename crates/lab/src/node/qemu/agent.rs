//! The calls that the guest agent answers: programs, files, addresses (PVE::API2::Qemu::Agent).

use serde_json::{Map, Value, json};

use super::read::conf_of;
use crate::base64;
use crate::node::Inner;
use crate::node::error::{Answer, ApiError, Outcome};
use crate::node::etc::GuestConf;
use crate::node::router::Call;
use crate::node::schema::Property;
use crate::runtime::AgentError;

/// What a file is read in, in bytes (the agent's own limit is 48 MiB; PVE reads a mebibyte at a time).
const READ: u64 = 1 << 20;
/// How much of a file is read at most (PVE::API2::Qemu::Agent, `file-read`).
const READ_MOST: u64 = 16 << 20;

/// Whether the configuration says that there is an agent.
pub(super) fn is_configured(conf: &GuestConf) -> bool {
    let agent = conf.get("agent").and_then(|text| Property::parse("vmagent", "agent", text).ok());
    agent.is_some_and(|agent| agent.get("enabled") == Some("1"))
}

pub(super) async fn handle(call: &Call<'_>, command: &str) -> Outcome {
    let id = call.vmid();
    let stored = conf_of(call)?;
    if !is_configured(&stored.conf) {
        return Err(ApiError::die("No QEMU guest agent configured"));
    }
    if !call.node.runtime.running().await.contains(&id) {
        return Err(ApiError::die(format!("VM {id} is not running")));
    }
    match command {
        "exec" => exec(call, id).await,
        "exec-status" => exec_status(call, id).await,
        "file-read" => file_read(call, id).await,
        "file-write" => file_write(call, id).await,
        _ => {
            let result = ask(call.node, id, &format!("guest-{command}"), json!({})).await?;
            Ok(json!({ "result": result }).into())
        }
    }
}

/// One question to the agent.
async fn ask(node: &Inner, id: u32, command: &str, arguments: Value) -> Result<Value, ApiError> {
    // `get-host-name`'s command is called that, too; `fstrim`, `shutdown` and `ping` have no `get`.
    node.runtime.ask_agent(id, command, arguments).await.map_err(|error| match error {
        AgentError::Down => ApiError::die(error.to_string()),
        AgentError::Said(text) => ApiError::die(format!("Agent error: {text}")),
    })
}

async fn exec(call: &Call<'_>, id: u32) -> Outcome {
    let words: Vec<&str> = call.text("command").split('\0').collect();
    let (path, arguments) = words.split_first().unwrap_or((&"", &[]));
    let mut asked = json!({"path": path, "arg": arguments, "capture-output": true});
    if let Some(input) = call.get("input-data") {
        asked["input-data"] = base64::encode(input.as_bytes()).into();
    }
    let done = ask(call.node, id, "guest-exec", asked).await?;
    Ok(json!({"pid": done["pid"]}).into())
}

async fn exec_status(call: &Call<'_>, id: u32) -> Outcome {
    let pid = call.number("pid").unwrap_or_default();
    let said = ask(call.node, id, "guest-exec-status", json!({ "pid": pid })).await?;
    let mut out = Map::new();
    for (key, value) in said.as_object().into_iter().flatten() {
        let value = match (key.as_str(), value) {
            ("out-data" | "err-data", Value::String(text)) => decoded(text).into(),
            (_, Value::Bool(flag)) => u8::from(*flag).into(),
            (_, other) => other.clone(),
        };
        out.insert(key.clone(), value);
    }
    for (data, truncated) in [("out-data", "out-truncated"), ("err-data", "err-truncated")] {
        if out.contains_key(data) {
            out.entry(truncated.to_owned()).or_insert(0.into());
        }
    }
    Ok(Value::Object(out).into())
}

/// The text of what the agent sends as base64.
fn decoded(text: &str) -> String {
    base64::decode(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

async fn file_read(call: &Call<'_>, id: u32) -> Outcome {
    let node = call.node;
    let most = call.number("count").unwrap_or(READ_MOST);
    let handle = ask(node, id, "guest-file-open", json!({"path": call.text("file"), "mode": "r"})).await?;
    let mut bytes = Vec::new();
    let read = async {
        let mut end = false;
        while !end && (bytes.len() as u64) < most {
            let count = READ.min(most - bytes.len() as u64);
            let part = ask(node, id, "guest-file-read", json!({"handle": handle, "count": count})).await?;
            let got = base64::decode(part["buf-b64"].as_str().unwrap_or_default()).unwrap_or_default();
            end = part["eof"] == true || got.is_empty();
            bytes.extend(got);
        }
        Ok::<bool, ApiError>(end)
    };
    let end = read.await;
    let closed = ask(node, id, "guest-file-close", json!({ "handle": handle })).await;
    let end = end?;
    closed?;
    let content = String::from_utf8_lossy(&bytes);
    // Characters are counted (recorded: "file-read").
    let mut out = json!({"bytes-read": content.chars().count(), "content": content});
    if !end {
        out["truncated"] = 1.into();
    }
    Ok(out.into())
}

async fn file_write(call: &Call<'_>, id: u32) -> Outcome {
    let node = call.node;
    let content = call.text("content");
    let content = match call.get("encode") {
        Some("0") => content.to_owned(),
        _ => base64::encode(content.as_bytes()),
    };
    let handle = ask(node, id, "guest-file-open", json!({"path": call.text("file"), "mode": "wb"})).await?;
    let written = ask(node, id, "guest-file-write", json!({"handle": handle, "buf-b64": content})).await;
    let closed = ask(node, id, "guest-file-close", json!({ "handle": handle })).await;
    written?;
    closed?;
    Ok(Answer::null())
}
