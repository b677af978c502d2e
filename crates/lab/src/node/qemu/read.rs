//! Reading virtual machines: configuration, what is pending, status, what cloud-init is told.

use std::sync::Arc;

use proxmox::config::GuestKind;
use serde_json::{Map, Value, json};

use super::drive;
use super::options::HIDDEN;
use crate::node::error::{ApiError, Outcome};
use crate::node::etc::{GuestConf, Stored};
use crate::node::guest_read::{Facts, pending_entries, typed, visible};
use crate::node::router::Call;
use crate::node::schema::Property;

/// What Proxmox VE assumes where a configuration does not say, in MiB.
pub(super) const DEFAULT_MEMORY: u64 = 512;

/// The machine's file, or the node's words that there is none.
pub(super) fn conf_of(call: &Call<'_>) -> Result<Arc<Stored>, ApiError> {
    call.node.guest_of(GuestKind::Vm, call.vmid()).map_err(ApiError::die)
}

/// What is shown of a value. An empty one reads as a blank.
fn shown(key: &str, value: &str) -> Value {
    match (key, value) {
        ("cipassword", _) => HIDDEN.into(),
        (_, "") => " ".into(),
        _ => typed(GuestKind::Vm, key, value),
    }
}

pub(super) fn config(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    if let Some(name) = call.get("snapshot") {
        return Err(ApiError::die(format!("snapshot '{name}' does not exist")));
    }
    let conf = &stored.conf;
    let mut out: Map<String, Value> =
        conf.current.options.iter().map(|(key, value)| (key.clone(), shown(key, value))).collect();
    if !call.flag("current") {
        for key in &conf.pending_delete {
            out.remove(key.trim_start_matches('!'));
        }
        for (key, value) in &conf.pending.options {
            out.insert(key.clone(), shown(key, value));
        }
    }
    out.insert("digest".to_owned(), stored.digest.as_str().into());
    Ok(Value::Object(out).into())
}

pub(super) fn pending(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    Ok(Value::Array(pending_entries(&stored, shown)).into())
}

/// What cloud-init is told, and what its drive was written with where that is another.
pub(super) fn cloudinit(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    let conf = &stored.conf;
    // Addresses are not among them (recorded: "cloudinit pending").
    let keys = ["searchdomain", "nameserver", "sshkeys", "ciuser", "cipassword"];
    let out = keys.iter().filter_map(|key| {
        let (now, before) = (conf.get(key), conf.cloudinit.get(key));
        match (before, now) {
            (None, None) => None,
            (None, Some(now)) => Some(json!({"key": key, "value": shown(key, now)})),
            (Some(""), Some(now)) => Some(json!({"key": key, "pending": shown(key, now)})),
            (Some(before), Some(now)) => {
                Some(json!({"key": key, "value": shown(key, before), "pending": shown(key, now)}))
            }
            (Some(before), None) => Some(json!({"key": key, "value": shown(key, before), "delete": 1})),
        }
    });
    Ok(Value::Array(out.collect()).into())
}

/// The entry of `GET /nodes/NODE/qemu`, and the greater part of a machine's status.
fn entry(id: u32, conf: &GuestConf, facts: &Facts) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("vmid", id.into());
    put("name", facts.name.as_str().into());
    put("status", facts.status().into());
    put("cpus", facts.cpus());
    put("maxmem", facts.maxmem.into());
    put("maxdisk", facts.maxdisk.into());
    put("uptime", facts.uptime.into());
    put("mem", facts.mem.into());
    put("memhost", facts.mem.into());
    for key in ["cpu", "disk", "diskread", "diskwrite", "netin", "netout"] {
        put(key, 0.into());
    }
    for key in ["tags", "lock"] {
        if let Some(value) = conf.get(key) {
            put(key, value.into());
        }
    }
    if conf.get("serial0").is_some() {
        put("serial", 1.into());
    }
    if conf.flag("template") {
        put("template", 1.into());
    }
    if facts.running {
        // Any number a process can have.
        put("pid", (20_000 + id).into());
    }
    out
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let running = call.node.runtime.running().await;
    let mut out = Vec::new();
    for (id, stored) in visible(call).into_iter().filter(|(_, stored)| stored.conf.kind == GuestKind::Vm) {
        let facts = Facts::of(call.node, id, &stored.conf, running.contains(&id)).await;
        out.push(Value::Object(entry(id, &stored.conf, &facts)));
    }
    Ok(Value::Array(out).into())
}

/// What the machine's process says of itself: of the version that was recorded.
const QEMU: &str = "10.0.13";

pub(super) async fn status(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    let id = call.vmid();
    let running = call.node.runtime.running().await.contains(&id);
    let facts = Facts::of(call.node, id, &stored.conf, running).await;
    let mut out = entry(id, &stored.conf, &facts);
    let conf = &stored.conf;
    out.insert("ha".to_owned(), json!({"managed": 0}));
    let paused = running && call.node.runtime.is_paused(id).await;
    let state = match (running, paused) {
        (false, _) => "stopped",
        (true, true) => "paused",
        (true, false) => "running",
    };
    out.insert("qmpstatus".to_owned(), state.into());
    if super::agent::is_configured(conf) {
        out.insert("agent".to_owned(), 1.into());
    }
    for what in ["cpu", "io", "memory"] {
        for how in ["full", "some"] {
            out.insert(format!("pressure{what}{how}"), 0.into());
        }
    }
    if running {
        // All that it may have, it has.
        let balloon = conf.number("balloon") != Some(0);
        if balloon {
            out.insert("balloon".to_owned(), facts.maxmem.into());
            let info = json!({"actual": facts.maxmem, "max_mem": facts.maxmem});
            out.insert("ballooninfo".to_owned(), info);
        }
        let nets = conf.current.options.keys().filter_map(|key| key.strip_prefix("net"));
        let nics = nets.map(|n| (format!("tap{id}i{n}"), json!({"netin": 0, "netout": 0})));
        out.insert("nics".to_owned(), Value::Object(nics.collect()));
        out.insert("running-qemu".to_owned(), QEMU.into());
        out.insert("running-machine".to_owned(), "pc-i440fx-10.0+pve1".into());
    }
    Ok(Value::Object(out).into())
}

/// What can be done: linked clones are made of templates alone.
pub(super) fn feature(call: &Call<'_>) -> Outcome {
    let stored = conf_of(call)?;
    let has = match call.text("feature") {
        "copy" => true,
        "clone" => stored.conf.flag("template"),
        _ => false,
    };
    Ok(json!({"hasFeature": u8::from(has), "nodes": [call.node.name]}).into())
}

impl Facts {
    /// What is said of a machine.
    pub(in crate::node) fn of_vm(&mut self, id: u32, conf: &GuestConf) {
        self.name = conf.get("name").map_or_else(|| format!("VM {id}"), str::to_owned);
        let processors = conf.number("cores").unwrap_or(1) * conf.number("sockets").unwrap_or(1);
        self.cpus = conf.number("vcpus").map_or(processors, |vcpus| vcpus.min(processors)) as f64;
        self.maxmem = memory(conf) << 20;
        self.maxswap = 0;
        let config = &conf.current.options;
        let disks = drive::all(config);
        let order = drive::boot_order(config);
        let first =
            order.iter().find_map(|key| disks.iter().find(|disk| disk.key == *key && !disk.is_cdrom()));
        let size =
            first.and_then(|disk| disk.property.get("size")).and_then(crate::node::formats::parse_size);
        self.maxdisk = size.unwrap_or_default();
    }
}

/// Its memory in MiB.
pub(super) fn memory(conf: &GuestConf) -> u64 {
    let said = conf.get("memory").map(|text| text.trim_start_matches("current="));
    said.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_MEMORY)
}

/// A network card of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Net {
    /// The N of `netN`.
    pub number: u32,
    /// Its MAC.
    pub mac: String,
    /// The address that cloud-init is told to give it, with its prefix length.
    pub address: Option<String>,
}

/// The network cards of a configuration.
pub(crate) fn nets(config: &crate::runtime::Config) -> Vec<Net> {
    let card = |number: u32| {
        let key = format!("net{number}");
        let net = Property::parse("vmnet", &key, config.get(&key)?).ok()?;
        let ip = config.get(&format!("ipconfig{number}")).and_then(|text| {
            Property::parse("vmipconfig", "ipconfig", text).ok()?.get("ip").map(str::to_owned)
        });
        let address = ip.filter(|ip| ip.contains('/'));
        Some(Net { number, mac: net.get("macaddr")?.to_owned(), address })
    };
    (0..32).filter_map(card).collect()
}
