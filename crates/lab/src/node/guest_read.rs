//! Reading guests: configuration, what is pending, status, addresses.

use std::collections::BTreeSet;
use std::sync::Arc;

use proxmox::config::GuestKind;
use serde_json::{Map, Value, json};

use super::Inner;
use super::error::{ApiError, Outcome};
use super::etc::{GuestConf, Stored};
use super::formats::parse_size;
use super::router::Call;
use super::schema::{self, Property};

/// What Proxmox VE assumes where a configuration does not say (pve-container's option defaults), in MiB.
const DEFAULT_MEMORY: u64 = 512;

/// The guest's file, or the node's words that there is none.
pub(crate) fn conf_of(call: &Call<'_>) -> Result<Arc<Stored>, ApiError> {
    call.node.guest(call.vmid()).map_err(ApiError::die)
}

/// A value as the API hands it out.
pub(super) fn typed(kind: GuestKind, key: &str, value: &str) -> Value {
    match value.parse::<i64>() {
        Ok(number) if schema::is_numeric_option(kind, key) => number.into(),
        _ => value.into(),
    }
}

pub(crate) fn config(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    if let Some(name) = call.get("snapshot") {
        return Err(ApiError::die(format!("snapshot '{name}' does not exist")));
    }
    let mut out: Map<String, Value> =
        stored.conf.current.options.iter().map(|(key, value)| (key.clone(), shown(key, value))).collect();
    if !stored.conf.current.raw.is_empty() {
        let pairs = stored.conf.current.raw.iter().filter_map(|line| line.split_once([':', '=']));
        let pairs = pairs.map(|(key, value)| json!([key.trim(), value.trim()])).collect::<Vec<_>>();
        out.insert("lxc".to_owned(), pairs.into());
    }
    if !call.flag("current") {
        for key in &stored.conf.pending_delete {
            out.remove(key);
        }
        for (key, value) in &stored.conf.pending.options {
            out.insert(key.clone(), shown(key, value));
        }
    }
    out.insert("digest".to_owned(), stored.digest.as_str().into());
    Ok(Value::Object(out).into())
}

pub(crate) fn pending(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    Ok(Value::Array(pending_entries(&stored, shown)).into())
}

fn shown(key: &str, value: &str) -> Value {
    typed(GuestKind::Container, key, value)
}

/// What `…/pending` lists: what is so, and what waits.
pub(super) fn pending_entries(stored: &Stored, shown: impl Fn(&str, &str) -> Value) -> Vec<Value> {
    let conf = &stored.conf;
    let mut out = Vec::new();
    for (key, value) in &conf.current.options {
        let mut entry = Map::new();
        entry.insert("key".to_owned(), key.as_str().into());
        entry.insert("value".to_owned(), shown(key, value));
        if let Some(next) = conf.pending.get(key) {
            entry.insert("pending".to_owned(), shown(key, next));
        }
        // Removal by force is told by a 2.
        for (name, how) in [(key.clone(), 1), (format!("!{key}"), 2)] {
            if conf.pending_delete.contains(&name) {
                entry.insert("delete".to_owned(), how.into());
            }
        }
        out.push(Value::Object(entry));
    }
    for (key, next) in &conf.pending.options {
        if !conf.current.options.contains_key(key) {
            out.push(json!({"key": key, "pending": shown(key, next)}));
        }
    }
    out.push(json!({"key": "digest", "value": stored.digest}));
    out
}

/// What lists and statuses say about a guest.
#[derive(Debug)]
pub(crate) struct Facts {
    pub running: bool,
    pub name: String,
    pub cpus: f64,
    pub maxmem: u64,
    pub maxswap: u64,
    pub maxdisk: u64,
    pub uptime: u64,
    pub mem: u64,
}

impl Facts {
    pub(crate) async fn of(node: &Inner, id: u32, conf: &GuestConf, running: bool) -> Self {
        let (uptime, mem) = if running { node.runtime.usage(id).await.unwrap_or_default() } else { (0, 0) };
        let root = conf.get("rootfs").and_then(|value| value.rsplit_once("size=")).map(|(_, rest)| rest);
        let maxdisk =
            root.and_then(|rest| parse_size(rest.split(',').next().unwrap_or(rest))).unwrap_or_default();
        let limit = conf.get("cpulimit").and_then(|text| text.parse().ok()).filter(|limit| *limit > 0.0);
        let cores = conf.number("cores").map(|cores| cores as f64);
        let mut out = Self {
            running,
            name: conf.get("hostname").map_or_else(|| format!("CT{id}"), str::to_owned),
            cpus: cores.or(limit).unwrap_or(f64::from(node.hardware.cpus)),
            maxmem: conf.number("memory").unwrap_or(DEFAULT_MEMORY) << 20,
            maxswap: conf.number("swap").unwrap_or_default() << 20,
            maxdisk,
            uptime,
            mem,
        };
        if conf.kind == GuestKind::Vm {
            out.of_vm(id, conf);
        }
        out
    }

    pub(crate) fn status(&self) -> &'static str {
        if self.running { "running" } else { "stopped" }
    }

    /// A count of processors: a whole number where it is one.
    pub(crate) fn cpus(&self) -> Value {
        if self.cpus.fract() == 0.0 { (self.cpus as u64).into() } else { self.cpus.into() }
    }
}

/// The entry of `GET /nodes/NODE/lxc`, and the greater part of a guest's status.
fn entry(id: u32, conf: &GuestConf, facts: &Facts) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("vmid", id.into());
    put("type", "lxc".into());
    put("name", facts.name.as_str().into());
    put("status", facts.status().into());
    put("cpus", facts.cpus());
    put("maxmem", facts.maxmem.into());
    put("maxswap", facts.maxswap.into());
    put("maxdisk", facts.maxdisk.into());
    put("uptime", facts.uptime.into());
    put("mem", facts.mem.into());
    for key in ["cpu", "swap", "disk", "diskread", "diskwrite", "netin", "netout"] {
        put(key, 0.into());
    }
    for key in ["tags", "lock"] {
        if let Some(value) = conf.get(key) {
            put(key, value.into());
        }
    }
    if conf.flag("template") {
        put("template", 1.into());
    }
    if facts.running {
        // Any number a process can have: the container's first process.
        put("pid", (10_000 + id).into());
    }
    out
}

pub(crate) async fn list(call: &Call<'_>) -> Outcome {
    let running = call.node.runtime.running().await;
    let mut out = Vec::new();
    for (id, stored) in
        visible(call).into_iter().filter(|(_, stored)| stored.conf.kind == GuestKind::Container)
    {
        let facts = Facts::of(call.node, id, &stored.conf, running.contains(&id)).await;
        out.push(Value::Object(entry(id, &stored.conf, &facts)));
    }
    Ok(Value::Array(out).into())
}

/// The guests that the caller may see.
pub(crate) fn visible(call: &Call<'_>) -> Vec<(u32, Arc<Stored>)> {
    let state = call.node.state();
    let may = |id: u32| call.node.may_in(&state.keep, call.auth, &format!("/vms/{id}"), "VM.Audit");
    // A guest that no rule names and that is in no pool is as any other such guest: asked once for all of them.
    let any = may(0);
    let named = state.keep.access.rules.keys().filter_map(|path| path.strip_prefix("/vms/")?.parse().ok());
    let pooled = state.keep.pools.values().flat_map(|pool| pool.guests.iter().copied());
    let special: BTreeSet<u32> = named.chain(pooled).collect();
    let all = state.etc.all().iter();
    all.filter(|(id, _)| if special.contains(id) { may(**id) } else { any })
        .map(|(id, stored)| (*id, stored.clone()))
        .collect()
}

pub(crate) async fn status(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    let id = call.vmid();
    let running = call.node.runtime.running().await.contains(&id);
    let facts = Facts::of(call.node, id, &stored.conf, running).await;
    let mut out = entry(id, &stored.conf, &facts);
    out.insert("ha".to_owned(), json!({"managed": 0}));
    Ok(Value::Object(out).into())
}

/// Every address of a running guest. Of a simulated one: what its configuration would give it.
pub(crate) async fn interfaces(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    let id = call.vmid();
    let running: BTreeSet<u32> = call.node.runtime.running().await;
    if !running.contains(&id) {
        return Ok(Value::Null.into());
    }
    if call.node.runtime.kind() == crate::runtime::RuntimeKind::Containers {
        return seen(call, id).await;
    }
    let mut out =
        vec![interface("lo", "00:00:00:00:00:00", &["127.0.0.1/8".to_owned(), "::1/128".to_owned()])];
    for (key, value) in stored.conf.current.options.range("net".to_owned().."neu".to_owned()) {
        let Ok(net) = Property::parse("net", key, value) else { continue };
        let Some(mac) = net.get("hwaddr").map(str::to_lowercase) else { continue };
        let mut addresses: Vec<String> =
            net.get("ip").filter(|ip| ip.contains('/')).map(str::to_owned).into_iter().collect();
        addresses.extend(link_local(&mac));
        out.push(interface(net.get("name").unwrap_or_default(), &mac, &addresses));
    }
    Ok(Value::Array(out).into())
}

/// What the guest itself says.
async fn seen(call: &Call<'_>, id: u32) -> Outcome {
    let argv = ["ip", "-json", "address", "show"].map(str::to_owned);
    let (_, stdout, _) =
        call.node.runtime.exec(id, &argv, &[]).await.map_err(|error| ApiError::die(error.to_string()))?;
    let links: Vec<Value> = serde_json::from_slice(&stdout).unwrap_or_default();
    let out = links.iter().map(|link| {
        let text = |key: &str| link.get(key).and_then(Value::as_str).unwrap_or_default();
        let addresses = link.get("addr_info").and_then(Value::as_array).into_iter().flatten();
        let addresses: Vec<String> = addresses
            .filter_map(|one| Some(format!("{}/{}", one.get("local")?.as_str()?, one.get("prefixlen")?)))
            .collect();
        interface(text("ifname"), text("address"), &addresses)
    });
    Ok(Value::Array(out.collect()).into())
}

fn interface(name: &str, mac: &str, addresses: &[String]) -> Value {
    let kind = |address: &str| if address.contains(':') { "inet6" } else { "inet" };
    let list: Vec<Value> = addresses
        .iter()
        .filter_map(|one| one.split_once('/'))
        .map(|(address, prefix)| {
            json!({"ip-address": address, "prefix": prefix, "ip-address-type": kind(address)})
        })
        .collect();
    let mut out = json!({"name": name, "hwaddr": mac, "hardware-address": mac, "ip-addresses": list});
    for address in addresses.iter().rev() {
        out[kind(address)] = address.as_str().into();
    }
    out
}

/// The address an interface gives itself (RFC 4291, appendix A).
pub(crate) fn link_local(mac: &str) -> Option<String> {
    let b: Vec<u8> = mac.split(':').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect();
    let [a, b, c, d, e, f] = <[u8; 6]>::try_from(b).ok()?;
    let parts = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(u16::from_be_bytes);
    let address = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, parts[0], parts[1], parts[2], parts[3]);
    Some(format!("{address}/64"))
}
