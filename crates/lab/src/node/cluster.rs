//! The calls about the cluster and the node itself: this node's part of them.

use serde_json::{Map, Value, json};

use super::error::{ApiError, Outcome};
use super::etc::GuestConf;
use super::guest_read::{Facts, visible};
use super::router::Call;
use super::storage::Storage;
use super::{Inner, Keep};

/// A guest's entry in `/cluster/resources` and among a pool's members.
pub(crate) async fn guest(node: &Inner, id: u32, conf: &GuestConf, running: bool) -> Map<String, Value> {
    let facts = Facts::of(node, id, conf, running).await;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    let kind = conf.kind.api_name();
    put("id", format!("{kind}/{id}").into());
    put("type", kind.into());
    put("vmid", id.into());
    put("node", node.name.as_str().into());
    put("name", facts.name.as_str().into());
    put("status", facts.status().into());
    put("template", u8::from(conf.flag("template")).into());
    put("maxcpu", facts.cpus());
    put("maxmem", facts.maxmem.into());
    put("maxdisk", facts.maxdisk.into());
    put("mem", facts.mem.into());
    put("uptime", facts.uptime.into());
    for key in ["cpu", "disk", "diskread", "diskwrite", "memhost", "netin", "netout"] {
        put(key, 0.into());
    }
    for key in ["tags", "lock"] {
        if let Some(value) = conf.get(key) {
            put(key, value.into());
        }
    }
    out
}

/// A storage's entry there.
pub(crate) fn storage(node: &Inner, keep: &Keep, storage: &Storage) -> Value {
    json!({
        "id": format!("storage/{}/{}", node.name, storage.id), "type": "storage", "node": node.name,
        "storage": storage.id, "plugintype": storage.kind, "content": storage.content(), "shared": 0,
        "status": if storage.is_enabled(&node.name) { "available" } else { "unknown" },
        "maxdisk": storage.total, "disk": keep.used(storage).min(storage.total),
    })
}

pub(crate) async fn resources(call: &Call<'_>) -> Outcome {
    let kind = call.get("type");
    let wants = |name: &str| kind.is_none_or(|kind| kind == name);
    let mut out = Vec::new();
    if wants("vm") {
        let running = call.node.runtime.running().await;
        let pools: Vec<(u32, String)> = {
            let state = call.node.state();
            let pools = state.keep.pools.iter();
            pools.flat_map(|(name, pool)| pool.guests.iter().map(move |id| (*id, name.clone()))).collect()
        };
        for (id, stored) in visible(call) {
            let mut entry = guest(call.node, id, &stored.conf, running.contains(&id)).await;
            if let Some((_, pool)) = pools.iter().find(|(guest, _)| *guest == id) {
                entry.insert("pool".to_owned(), pool.as_str().into());
            }
            out.push(Value::Object(entry));
        }
    }
    let name = &call.node.name;
    if wants("node") {
        let (total, used) = disk(call);
        out.push(json!({
            "id": format!("node/{name}"), "type": "node", "node": name, "status": "online", "level": "",
            "cgroup-mode": 2, "cpu": 0, "maxcpu": call.node.hardware.cpus, "mem": memory_used(call),
            "maxmem": call.node.hardware.memory, "disk": used, "maxdisk": total, "uptime": uptime(call),
        }));
    }
    if wants("storage") {
        let state = call.node.state();
        let seen = state.keep.storages.values().filter(|storage| {
            call.node.may_in(&state.keep, call.auth, &format!("/storage/{}", storage.id), "Datastore.Audit")
        });
        out.extend(seen.map(|found| storage(call.node, &state.keep, found)));
    }
    // There is no `type=pool` to ask for them alone (recorded: "resources type=pool"), and they are all nodes' own.
    if kind.is_none() && !call.own {
        let state = call.node.state();
        let seen =
            |id: &&String| call.node.may_in(&state.keep, call.auth, &format!("/pool/{id}"), "Pool.Audit");
        let pools = state.keep.pools.keys().filter(seen);
        out.extend(pools.map(|id| json!({"id": format!("/pool/{id}"), "type": "pool", "pool": id})));
    }
    if wants("sdn") && call.may("/sdn/zones/localnetwork", "SDN.Audit") {
        out.push(json!({
            "id": format!("network/{name}/zone/localnetwork"), "type": "network", "network-type": "zone",
            "network": "localnetwork", "node": name, "status": "ok",
        }));
    }
    Ok(Value::Array(out).into())
}

/// The size of the disk the node itself is on (that of its first storage), and what is used of it.
fn disk(call: &Call<'_>) -> (u64, u64) {
    let state = call.node.state();
    let first = state.keep.storages.get("local").or_else(|| state.keep.storages.values().next());
    first.map_or((0, 0), |storage| (storage.total, storage.used))
}

/// What the node itself takes, in bytes: about what an idle one does.
fn memory_used(call: &Call<'_>) -> u64 {
    (1 << 30).min(call.node.hardware.memory)
}

/// Seconds; the node had been up for two hours when it was opened (the tasks' `pstart` counts from there too).
fn uptime(call: &Call<'_>) -> u64 {
    7200 + call.node.clock.uptime().as_secs()
}

pub(crate) fn next_id(call: &Call<'_>) -> Outcome {
    let state = call.node.state();
    if let Some(asked) = call.get("vmid") {
        let taken = asked.parse().is_ok_and(|id| state.etc.owner(id).is_some());
        if taken {
            return Err(ApiError::parameter("vmid", format!("VM {asked} already exists")));
        }
        return Ok(Value::from(asked).into());
    }
    let taken = state.etc.whole();
    let free = (100u32..).find(|id| !taken.contains_key(id)).unwrap_or_default();
    Ok(Value::from(free.to_string()).into())
}

pub(crate) fn status(call: &Call<'_>) -> Value {
    let name = &call.node.name;
    json!([{
        "id": format!("node/{name}"), "name": name, "type": "node", "ip": call.node.hardware.address, "online": 1,
        "local": 1, "nodeid": 0, "level": "",
    }])
}

pub(crate) fn nodes(call: &Call<'_>) -> Value {
    let name = &call.node.name;
    let (total, used) = disk(call);
    let mut entry =
        json!({"id": format!("node/{name}"), "node": name, "type": "node", "status": "online", "level": ""});
    if let Some(fingerprint) = call.node.fingerprint() {
        entry["ssl_fingerprint"] = fingerprint.into();
    }
    if call.may(&format!("/nodes/{name}"), "Sys.Audit") {
        let more = [
            ("cpu", Value::from(0)),
            ("maxcpu", call.node.hardware.cpus.into()),
            ("mem", memory_used(call).into()),
            ("maxmem", call.node.hardware.memory.into()),
            ("disk", used.into()),
            ("maxdisk", total.into()),
            ("uptime", uptime(call).into()),
        ];
        more.into_iter().for_each(|(key, value)| entry[key] = value);
    }
    json!([entry])
}

pub(crate) fn node_status(call: &Call<'_>) -> Value {
    let (total, used) = disk(call);
    let memory = call.node.hardware.memory;
    let taken = memory_used(call);
    json!({
        "pveversion": "pve-manager/9.2.11/14a22df35955d97d",
        "kversion": "Linux 6.17.2-1-pve #1 SMP PREEMPT_DYNAMIC",
        "current-kernel": {"sysname": "Linux", "release": "6.17.2-1-pve", "version": "#1 SMP PREEMPT_DYNAMIC",
                           "machine": "x86_64"},
        "boot-info": {"mode": "efi"},
        "cpuinfo": {"cpus": call.node.hardware.cpus, "cores": call.node.hardware.cpus, "sockets": 1,
                    "model": "not a real processor", "vendor": "lab", "family": "0", "flags": "", "mhz": "1000.000",
                    "user_hz": 100, "hvm": "0"},
        "memory": {"total": memory, "used": taken, "free": memory - taken, "available": memory - taken},
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": {"total": total, "used": used, "free": total - used, "avail": total - used},
        "ksm": {"shared": 0}, "loadavg": ["0.00", "0.00", "0.00"],
        "cpu": 0, "wait": 0, "idle": 0, "uptime": uptime(call),
    })
}

pub(crate) fn time(call: &Call<'_>) -> Value {
    let now = call.node.clock.now();
    json!({"time": now, "localtime": now, "timezone": "Etc/UTC"})
}

pub(crate) fn network(call: &Call<'_>) -> Value {
    let wanted = call.get("type");
    let bridge = |wanted: &str| matches!(wanted, "bridge" | "any_bridge" | "any_local_bridge");
    let bridges = call.node.bridges();
    let all = bridges.iter().enumerate().filter(|_| wanted.is_none_or(bridge));
    let out = all.map(|(at, bridge)| {
        let mut entry = json!({
            "iface": bridge.name, "type": "bridge", "method": "manual", "method6": "manual", "autostart": 1,
            "active": 1, "priority": at + 3, "bridge_ports": "", "bridge_stp": "off", "bridge_fd": "0",
            "families": ["inet"],
        });
        if let Some((address, length)) = bridge.cidr.as_deref().and_then(|cidr| cidr.split_once('/')) {
            entry["method"] = "static".into();
            entry["cidr"] = format!("{address}/{length}").into();
            entry["address"] = address.into();
            entry["netmask"] = length.into();
        }
        entry
    });
    Value::Array(out.collect())
}

/// The options of the datacenter, as far as they are kept here: its notes. Not everybody is shown them (recorded: "no privileges |
/// cluster options").
pub(crate) fn options(call: &Call<'_>) -> Value {
    let state = call.node.state();
    let mut out = json!({ "allowed-tags": [] });
    if call.node.may_in(&state.keep, call.auth, "/", "Sys.Audit") {
        out["description"] = state.keep.notes.as_str().into();
        out["mac_prefix"] = "BC:24:11".into();
    }
    out
}

/// Changes them.
pub(crate) fn change_options(call: &Call<'_>) -> Outcome {
    call.node.change(|keep| {
        if super::formats::list(call.get("delete").unwrap_or_default()).any(|key| key == "description") {
            keep.notes.clear();
        }
        if let Some(notes) = call.get("description") {
            // Kept as a comment, a line each (PVE::DataCenterConfig).
            keep.notes = notes.lines().map(|line| format!("{line}\n")).collect();
        }
        Ok(super::error::Answer::null())
    })
}
