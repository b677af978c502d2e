//! The calls about storages and what is on them.

use proxmox::exchange::Method;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use super::error::{ApiError, Outcome};
use super::kept_files::{KINDS, Kind};
use super::router::Call;
use super::storage::Storage;
use super::{Keep, etc, file_api, storage_define};
use crate::runtime::TaskError;

pub(crate) fn handle(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    match (method, path) {
        (Method::Get, "/storage") => definitions(call),
        (Method::Post, "/storage") => storage_define::create(call),
        (Method::Get, "/storage/{storage}") => {
            let state = call.node.state();
            let storage = known(&state.keep, call.text("storage"))?;
            Ok(definition(storage, &digest(&state.keep)).into())
        }
        (Method::Put, "/storage/{storage}") => storage_define::update(call),
        (Method::Delete, "/storage/{storage}") => storage_define::delete(call),
        (
            Method::Get,
            "/nodes/{node}/scan/zfs"
            | "/nodes/{node}/scan/lvm"
            | "/nodes/{node}/scan/lvmthin"
            | "/nodes/{node}/scan/nfs",
        ) => storage_define::scan(call, path),
        (Method::Get, "/nodes/{node}/storage") => statuses(call),
        (Method::Get, "/nodes/{node}/storage/{storage}/status") => {
            let state = call.node.state();
            let storage = known(&state.keep, call.text("storage"))?;
            let mut out = status(&state.keep, storage, &call.node.name);
            out.remove("storage");
            out.remove("used_fraction");
            Ok(Value::Object(out).into())
        }
        (Method::Get, "/nodes/{node}/storage/{storage}/content") => content(call),
        (Method::Delete, "/nodes/{node}/storage/{storage}/content/{volume}") => remove(call),
        (Method::Post, "/nodes/{node}/storage/{storage}/download-url") => file_api::download(call),
        (Method::Post, "/nodes/{node}/storage/{storage}/upload") => file_api::upload(call),
        _ => Err(ApiError::not_implemented(method, path)),
    }
}

fn known<'a>(keep: &'a Keep, id: &str) -> Result<&'a Storage, ApiError> {
    keep.storages.get(id).ok_or_else(|| ApiError::die(format!("storage '{id}' does not exist")))
}

/// The SHA-1 of `storage.cfg` as it would be written.
pub(super) fn digest(keep: &Keep) -> String {
    let mut text = String::new();
    for storage in keep.storages.values() {
        text.push_str(&format!("{}: {}\n", storage.kind, storage.id));
        for (key, value) in &storage.options {
            text.push_str(&format!("\t{key} {value}\n"));
        }
        text.push('\n');
    }
    etc::hex(&Sha1::digest(text.as_bytes()))
}

fn definition(storage: &Storage, digest: &str) -> Value {
    let mut out = Map::new();
    out.insert("storage".to_owned(), storage.id.as_str().into());
    out.insert("type".to_owned(), storage.kind.as_str().into());
    out.insert("digest".to_owned(), digest.into());
    for (key, value) in &storage.options {
        let number = value.parse::<i64>().ok().filter(|_| storage_define::is_number(key));
        out.insert(key.clone(), number.map_or_else(|| value.as_str().into(), Value::from));
    }
    Value::Object(out)
}

fn may_see(call: &Call<'_>, keep: &Keep, id: &str) -> bool {
    let path = format!("/storage/{id}");
    ["Datastore.Audit", "Datastore.AllocateSpace"]
        .iter()
        .any(|privilege| call.node.may_in(keep, call.auth, &path, privilege))
}

fn definitions(call: &Call<'_>) -> Outcome {
    let state = call.node.state();
    let digest = digest(&state.keep);
    let all = state.keep.storages.values();
    let out = all
        .filter(|storage| may_see(call, &state.keep, &storage.id))
        .filter(|storage| call.get("type").is_none_or(|kind| kind == storage.kind))
        .map(|storage| definition(storage, &digest));
    Ok(Value::Array(out.collect()).into())
}

fn status(keep: &Keep, storage: &Storage, node: &str) -> Map<String, Value> {
    let enabled = storage.is_enabled(node);
    let (total, used) = if enabled { (storage.total, keep.used(storage).min(storage.total)) } else { (0, 0) };
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("storage", storage.id.as_str().into());
    put("type", storage.kind.as_str().into());
    // Recorded: "status of a disabled storage".
    put("content", if enabled { storage.content() } else { "none" }.into());
    put("shared", u8::from(storage.is_shared()).into());
    put("enabled", u8::from(enabled).into());
    put("active", u8::from(enabled).into());
    put("total", total.into());
    put("used", used.into());
    put("avail", (total - used).into());
    if enabled {
        put("used_fraction", (used as f64 / total.max(1) as f64).into());
    }
    out
}

fn statuses(call: &Call<'_>) -> Outcome {
    let state = call.node.state();
    let all = state.keep.storages.values();
    let out = all
        .filter(|storage| may_see(call, &state.keep, &storage.id))
        .filter(|storage| call.get("storage").is_none_or(|id| id == storage.id))
        .filter(|storage| {
            call.get("content")
                .is_none_or(|wanted| super::formats::list(wanted).any(|one| storage.holds(one)))
        })
        .filter(|storage| !call.flag("enabled") || storage.is_enabled(&call.node.name))
        .map(|storage| Value::Object(status(&state.keep, storage, &call.node.name)));
    Ok(Value::Array(out.collect()).into())
}

fn content(call: &Call<'_>) -> Outcome {
    let state = call.node.state();
    let storage = known(&state.keep, call.text("storage"))?;
    let wants =
        |content: &str| call.get("content").is_none_or(|wanted| wanted == content) && storage.holds(content);
    let mut out = Vec::new();
    if wants("images") {
        out.extend(super::qemu::contents(&state.keep, storage, call.get("vmid")));
    }
    if wants("import") && call.get("vmid").is_none() {
        out.extend(super::qemu::offered(call.node, storage));
    }
    if wants("rootdir") {
        let prefix = format!("{}:", storage.id);
        let own =
            state.keep.volumes.range(prefix.clone()..).take_while(|(volume, _)| volume.starts_with(&prefix));
        for (volume, facts) in own.filter(|(_, facts)| {
            !facts.image && call.get("vmid").is_none_or(|id| id == facts.guest.to_string())
        }) {
            out.push(json!({
                "volid": volume, "content": "rootdir", "format": storage.format(), "size": facts.size,
                "used": facts.size, "vmid": facts.guest, "ctime": facts.ctime, "parent": null,
            }));
        }
    }
    // Those of a guest are asked for: imports are listed all the same (recorded: "content of a guest that has nothing").
    let of_no_guest = |kind: &Kind| call.get("vmid").is_none() || kind.content == "import";
    for kind in KINDS.into_iter().filter(|kind| wants(kind.content) && of_no_guest(kind)) {
        for file in storage.kept(kind) {
            out.push(json!({
                "volid": format!("{}:{}/{}", storage.id, kind.content, file.name), "content": kind.content,
                "format": kind.format(&file.name).unwrap_or("tar"), "size": file.size, "ctime": file.ctime,
            }));
        }
    }
    Ok(Value::Array(out).into())
}

fn remove(call: &Call<'_>) -> Outcome {
    let storage = call.text("storage");
    let volume = match call.text("volume") {
        full if full.contains(':') => full.to_owned(),
        name => format!("{storage}:{name}"),
    };
    call.need(&format!("/storage/{storage}"), "Datastore.Allocate")?;
    let owner = {
        let state = call.node.state();
        known(&state.keep, storage)?;
        state.keep.volumes.get(&volume).map(|known| known.guest)
    };
    let id = owner.map_or_else(|| storage.to_owned(), |guest| format!("{guest}@{storage}"));
    let (node, storage) = (call.node.clone(), storage.to_owned());
    Ok(call.task("imgdel", id, move |log| async move {
        let Some(guest) = owner else {
            let named = volume.split_once(':').and_then(|(_, rest)| rest.split_once('/'));
            let Some((Some(kind), name)) = named.map(|(kind, name)| (Kind::of(kind), name)) else {
                return Ok(());
            };
            let removed =
                node.change(|keep| keep.storages.get_mut(&storage).map(|on| on.remove_kept(kind, name)));
            removed.transpose().map_err(|error| TaskError(error.to_string()))?;
            log.line(format!("Removed volume '{volume}'"));
            return Ok(());
        };
        if node.state().keep.volumes.get(&volume).is_some_and(|known| known.image) {
            super::qemu::remove(&node, guest, &volume).await?;
        } else {
            node.runtime
                .reconfigure(
                    guest,
                    &Default::default(),
                    &Default::default(),
                    std::slice::from_ref(&volume),
                    false,
                    &log,
                )
                .await?;
        }
        node.change(|keep| keep.volumes.remove(&volume));
        log.line(format!("Removed volume '{volume}'"));
        Ok::<(), TaskError>(())
    }))
}
