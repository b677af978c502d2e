//! Pools of guests and storages.

use proxmox::exchange::{Method, Request};
use serde_json::{Map, Value};

use super::error::{Answer, ApiError, Outcome};
use super::router::Call;
use super::{Pool, cluster, formats, peer};

pub(crate) async fn handle(call: &Call<'_>, method: Method, path: &str) -> Outcome {
    let id = call.get("poolid");
    match (method, id) {
        (Method::Get, None) => Ok(list(call).into()),
        (Method::Get, Some(id)) => {
            let one = show(call, id).await?;
            // Asked for by a path it is an object, by a parameter a list of one.
            Ok(if path == "/pools" { Value::Array(vec![one]) } else { one }.into())
        }
        (Method::Post, _) => create(call, call.text("poolid")),
        (Method::Put, _) => update(call, call.text("poolid")),
        (Method::Delete, _) => delete(call, call.text("poolid")),
    }
}

fn list(call: &Call<'_>) -> Value {
    let state = call.node.state();
    let pools = state.keep.pools.iter();
    let seen = pools
        .filter(|(id, _)| call.node.may_in(&state.keep, call.auth, &format!("/pool/{id}"), "Pool.Audit"));
    seen.map(|(id, pool)| Value::Object(entry(id, pool))).collect()
}

fn entry(id: &str, pool: &Pool) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("poolid".to_owned(), id.into());
    if let Some(comment) = &pool.comment {
        out.insert("comment".to_owned(), comment.as_str().into());
    }
    out
}

/// A pool with its members, as `GET /pools/ID` shows it.
pub(crate) async fn show(call: &Call<'_>, id: &str) -> Result<Value, ApiError> {
    let pool = call.node.state().keep.pools.get(id).cloned();
    let pool = pool.ok_or_else(|| ApiError::die(format!("pool '{id}' does not exist")))?;
    let kind = call.get("type");
    let mut members = Vec::new();
    let running = call.node.runtime.running().await;
    for guest in &pool.guests {
        let Some(stored) = call.node.state().etc.get(*guest) else { continue };
        if kind.is_some_and(|kind| kind != stored.conf.kind.api_name()) {
            continue;
        }
        let mut member = cluster::guest(call.node, *guest, &stored.conf, running.contains(guest)).await;
        // The one list of guests without their tags.
        member.remove("tags");
        members.push(Value::Object(member));
    }
    {
        let state = call.node.state();
        for storage in pool.storages.iter().filter(|_| kind.is_none_or(|kind| kind == "storage")) {
            members.extend(
                state.keep.storages.get(storage).map(|found| cluster::storage(call.node, &state.keep, found)),
            );
        }
    }
    if !call.own {
        let params = kind.map(|kind| ("type".to_owned(), kind.to_owned())).into_iter().collect();
        let request = Request { method: Method::Get, path: format!("/pools/{id}"), params };
        let theirs = peer::others(call, &request).await.into_iter().filter_map(|(_, data)| data);
        members.extend(theirs.flat_map(|pool| pool["members"].as_array().cloned().unwrap_or_default()));
    }
    let mut out = entry(id, &pool);
    out.insert("members".to_owned(), members.into());
    Ok(Value::Object(out))
}

fn create(call: &Call<'_>, id: &str) -> Outcome {
    call.node.change(|keep| {
        if keep.pools.contains_key(id) {
            return Err(ApiError::die(format!("create pool failed: pool '{id}' already exists")));
        }
        let pool = Pool { comment: call.get("comment").map(str::to_owned), ..Pool::default() };
        keep.pools.insert(id.to_owned(), pool);
        Ok(Answer::null())
    })
}

fn update(call: &Call<'_>, id: &str) -> Outcome {
    let fail = |text: String| ApiError::die(format!("update pool failed: {text}"));
    let known = |guest: u32| call.node.state().etc.owner(guest).is_some();
    let mut guests = Vec::new();
    for text in formats::list(call.get("vms").unwrap_or_default()) {
        let guest: u32 = text.parse().map_err(|_| {
            ApiError::parameter("vms", "invalid format - value does not look like a valid VM ID\n")
        })?;
        if !call.flag("delete") && !known(guest) {
            return Err(fail(format!("VM {guest} does not exist")));
        }
        let path = format!("/vms/{guest}");
        if !call.may(&path, "Permissions.Modify") && !call.may(&path, "VM.Allocate") {
            let refused = format!("403 Permission check failed ({path}, Permissions.Modify|VM.Allocate)");
            return Err(ApiError::die(format!("update pools failed: {refused}")));
        }
        guests.push(guest);
    }
    let storages: Vec<String> =
        formats::list(call.get("storage").unwrap_or_default()).map(str::to_owned).collect();
    call.node.change(|keep| {
        let mut changed = keep.pools.clone();
        let pool = changed.get_mut(id).ok_or_else(|| fail(format!("pool '{id}' does not exist")))?;
        if let Some(comment) = call.get("comment") {
            pool.comment = Some(comment.to_owned());
        }
        if call.flag("delete") {
            for guest in guests {
                if !pool.guests.remove(&guest) {
                    return Err(fail(format!("VM {guest} is not a pool member")));
                }
            }
            for storage in storages {
                if !pool.storages.remove(&storage) {
                    return Err(fail(format!("Storage '{storage}' is not a pool member")));
                }
            }
        } else {
            for guest in &guests {
                if pool.guests.contains(guest) {
                    return Err(fail(format!("VM {guest} is already a pool member")));
                }
                if let Some(other) = keep.pool_of(*guest).filter(|_| !call.flag("allow-move")) {
                    let text =
                        format!("VM {guest} belongs already to pool '{other}' and allow-move is not set");
                    return Err(fail(text));
                }
            }
            pool.guests.extend(&guests);
            pool.storages.extend(storages);
            for (_, other) in changed.iter_mut().filter(|(name, _)| *name != id) {
                other.guests.retain(|guest| !guests.contains(guest));
            }
        }
        keep.pools = changed;
        Ok(Answer::null())
    })
}

fn delete(call: &Call<'_>, id: &str) -> Outcome {
    call.node.change(|keep| {
        let pool = keep.pools.get(id);
        let pool =
            pool.ok_or_else(|| ApiError::die(format!("delete pool failed: pool '{id}' does not exist")))?;
        let content = match (pool.guests.first(), pool.storages.first()) {
            (Some(guest), _) => Some(format!("VM {guest}")),
            (None, Some(storage)) => Some(format!("storage '{storage}'")),
            (None, None) => None,
        };
        if let Some(content) = content {
            return Err(ApiError::die(format!(
                "delete pool failed: pool '{id}' is not empty (contains {content})"
            )));
        }
        keep.pools.remove(id);
        Ok(Answer::null())
    })
}
