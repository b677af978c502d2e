//! Changing a guest: what applies at once, what waits for a restart, what only root may, and growing disks.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxmox::config::GuestKind;

use super::Inner;
use super::error::{Answer, ApiError, Outcome};
use super::etc::GuestConf;
use super::formats::{list, parse_size};
use super::guest_create::{allocate_new, check_mount};
use super::router::Call;
use super::schema::{self, Property};
use super::storage::{Mount, Source, is_volume_key};
use crate::runtime::{TaskError, TaskLog};

/// Options that a running container takes over at once, as files of the node or of the guest (pve-container,
/// `LXC_FASTPLUG_OPTIONS`).
const AT_ONCE: [&str; 9] =
    ["cores", "description", "hookscript", "hostname", "lock", "onboot", "protection", "startup", "tags"];
/// Options whose new value is given to the running container's control group or network.
const HOTPLUG: [&str; 4] = ["cpulimit", "cpuunits", "memory", "swap"];

fn hotplugs(key: &str) -> bool {
    AT_ONCE.contains(&key) || HOTPLUG.contains(&key) || is_net(key)
}

pub(super) fn is_net(key: &str) -> bool {
    key.strip_prefix("net").is_some_and(|n| n.parse::<u32>().is_ok())
}

fn is_device(key: &str) -> bool {
    key.strip_prefix("dev").is_some_and(|n| n.parse::<u32>().is_ok())
}

pub(super) fn is_unused(key: &str) -> bool {
    key.strip_prefix("unused").is_some_and(|n| n.parse::<u32>().is_ok())
}

/// The value as it is written into the configuration: keys in order, a MAC where none was given, tags sorted.
pub(crate) fn normal(node: &Inner, key: &str, value: &str) -> Result<String, String> {
    if is_net(key) {
        let mut net = Property::parse("net", key, value)?;
        net.set("type", "veth");
        if net.get("hwaddr").is_none() {
            net.set("hwaddr", node.mac());
        }
        return Ok(net.print("net"));
    }
    Ok(match key {
        "tags" => {
            let tags: std::collections::BTreeSet<String> = list(value).map(str::to_lowercase).collect();
            tags.into_iter().collect::<Vec<_>>().join(";")
        }
        "nameserver" | "searchdomain" => list(value).collect::<Vec<_>>().join(" "),
        _ => value.to_owned(),
    })
}

/// PVE::LXC's `check_ct_modify_config_perm`: which privilege each option takes, and what only root itself may.
pub(crate) fn check_privileges(
    call: &Call<'_>,
    id: u32,
    pool: Option<&str>,
    old: Option<&GuestConf>,
    new: &BTreeMap<String, String>,
    delete: &[String],
    unprivileged: bool,
) -> Result<(), ApiError> {
    if call.auth.is_root() {
        return Ok(());
    }
    let need = |privilege: &str| {
        if pool.is_some_and(|pool| call.may(&format!("/pool/{pool}"), privilege)) {
            return Ok(());
        }
        call.need(&format!("/vms/{id}"), privilege)
    };
    let changes = new.iter().map(|(key, value)| (key, Some(value.as_str())));
    for (key, value) in changes.chain(delete.iter().map(|key| (key, None))) {
        match key.as_str() {
            "cores" | "cpuunits" | "cpulimit" => need("VM.Config.CPU")?,
            "memory" | "swap" => need("VM.Config.Memory")?,
            "nameserver" | "searchdomain" | "hostname" => need("VM.Config.Network")?,
            "tags" => need("VM.Config.Options")?,
            "hookscript" => {
                return Err(ApiError::forbidden("changing the hookscript is only allowed for root@pam"));
            }
            "features" => {
                let old = old.and_then(|old| old.get("features"));
                check_features(old, value, unprivileged, || need("VM.Allocate"))?;
            }
            key if is_device(key) => {
                return Err(ApiError::forbidden(
                    "configuring device passthrough is only allowed for root@pam",
                ));
            }
            key if is_net(key) => {
                need("VM.Config.Network")?;
                if let Some(net) = value.and_then(|value| Property::parse("net", key, value).ok()) {
                    check_bridge(call, &net)?;
                }
            }
            key if is_volume_key(key) || is_unused(key) => {
                need("VM.Config.Disk")?;
                let mount = value.and_then(|value| Mount::parse(key, value));
                match mount.as_ref().map(Mount::source) {
                    Some(Source::Bind) => {
                        return Err(ApiError::forbidden(
                            "mount point type bind is only allowed for root@pam",
                        ));
                    }
                    Some(Source::Device) => {
                        return Err(ApiError::forbidden(
                            "mount point type device is only allowed for root@pam",
                        ));
                    }
                    Some(Source::New(storage, _) | Source::Volume(storage))
                        if call.node.state().keep.storages.contains_key(storage) =>
                    {
                        call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
                    }
                    // That it does not exist is said later.
                    _ => {}
                }
            }
            _ => need("VM.Config.Options")?,
        }
    }
    Ok(())
}

pub(super) fn check_bridge(call: &Call<'_>, net: &Property) -> Result<(), ApiError> {
    let Some(bridge) = net.get("bridge") else { return Ok(()) };
    let path = format!("/sdn/zones/localnetwork/{bridge}");
    let tagged = net.get("tag").is_some_and(|tag| call.may(&format!("{path}/{tag}"), "SDN.Use"));
    if tagged { Ok(()) } else { call.need(&path, "SDN.Use") }
}

/// The rules about `features`: nesting takes VM.Allocate, everything else is root's own.
fn check_features(
    old: Option<&str>,
    new: Option<&str>,
    unprivileged: bool,
    allocate: impl Fn() -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    if !unprivileged {
        let text = "changing feature flags for privileged container is only allowed for root@pam";
        return Err(ApiError::forbidden(text));
    }
    let set = |text: Option<&str>| -> BTreeMap<String, String> {
        text.and_then(|text| Property::parse("features", "features", text).ok()).unwrap_or_default().0
    };
    let (before, after) = (set(old), set(new));
    let alone = |named: &BTreeMap<String, String>| match named.get("nesting").map(String::as_str) {
        Some("1") if named.len() == 1 => (true, false),
        _ => (false, !named.is_empty()),
    };
    // Flags that are new, or go, count by being named (`nesting=0` too); else those that differ.
    let (nesting, other) = if before.is_empty() {
        alone(&after)
    } else if new.is_none() {
        alone(&before)
    } else {
        let differ: Vec<&String> =
            before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key)).collect();
        (differ.iter().any(|key| *key == "nesting"), differ.iter().any(|key| *key != "nesting"))
    };
    if other {
        return Err(ApiError::forbidden(
            "changing feature flags (except nesting) is only allowed for root@pam",
        ));
    }
    if nesting { allocate() } else { Ok(()) }
}

/// The options that a parameter lists, all of which a guest of this kind can have.
pub(super) fn ids(call: &Call<'_>, kind: GuestKind, key: &str) -> Result<Vec<String>, ApiError> {
    let all: Vec<String> = call.get(key).map(list).into_iter().flatten().map(str::to_owned).collect();
    match all.iter().find(|option| !schema::is_guest_option(kind, option)) {
        Some(unknown) => Err(ApiError::parameter(key, format!("unknown option '{unknown}'"))),
        None => Ok(all),
    }
}

/// PVE::AbstractConfig's `check_lock`.
pub(crate) fn check_lock(conf: &GuestConf) -> Result<(), String> {
    match conf.get("lock") {
        Some(lock) => Err(format!("CT is locked ({lock})")),
        None => Ok(()),
    }
}

/// PVE::AbstractConfig's `check_protection`.
pub(crate) fn check_protection(conf: &GuestConf, what: &str) -> Result<(), String> {
    if conf.flag("protection") { Err(format!("{what} - protection mode enabled")) } else { Ok(()) }
}

pub(super) fn check_digest(call: &Call<'_>, digest: &str) -> Result<(), ApiError> {
    match call.get("digest") {
        Some(given) if given != digest => {
            Err(ApiError::die("detected modified configuration - file changed by other user? Try again."))
        }
        _ => Ok(()),
    }
}

/// `PUT …/config`.
pub(crate) async fn update(call: &Call<'_>) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    let own = ["vmid", "node", "digest", "delete", "revert"];
    let set: BTreeMap<String, String> = call
        .params
        .iter()
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let delete = ids(call, GuestKind::Container, "delete")?;
    let revert = ids(call, GuestKind::Container, "revert")?;
    if set.is_empty() && delete.is_empty() && revert.is_empty() {
        return Err(ApiError::die("no options specified"));
    }
    if let Some(both) = delete.iter().find(|key| set.contains_key(*key)) {
        let text = format!("you can't use '-{both}' and -delete {both}' at the same time");
        return Err(ApiError::parameter("delete", text));
    }
    let _held = node.flock(id).await.map_err(ApiError::die)?;
    let stored = node.guest(id).map_err(ApiError::die)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    check_digest(call, &stored.digest)?;
    check_privileges(call, id, None, Some(&stored.conf), &set, &delete, stored.conf.flag("unprivileged"))?;
    for (key, value) in set.iter().filter(|(key, _)| is_volume_key(key)) {
        check_mount(call, key, value)?;
    }
    let mut conf = stored.conf.clone();
    queue(node, id, &mut conf, set, &delete, &revert).map_err(ApiError::die)?;
    let running = node.runtime.running().await.contains(&id);
    apply(node, id, &stored.conf, conf, running, &TaskLog::default()).await.map_err(
        |failed| match failed.key {
            Some(key) => {
                let text = format!("unable to hotplug {key}: {}\n", failed.text);
                ApiError::parameter(&key, text)
            }
            None => ApiError::die(failed.text),
        },
    )?;
    Ok(Answer::null())
}

/// Writes the wishes into the pending section: PVE::LXC::Config's `update_pct_config`.
fn queue(
    node: &Inner,
    id: u32,
    conf: &mut GuestConf,
    set: BTreeMap<String, String>,
    delete: &[String],
    revert: &[String],
) -> Result<(), String> {
    for key in revert {
        conf.pending.options.remove(key);
        conf.pending_delete.remove(key);
    }
    for key in delete {
        if conf.get(key).is_none() && conf.pending.get(key).is_none() {
            continue;
        }
        match key.as_str() {
            "memory" | "rootfs" | "ostype" => {
                return Err(format!("unable to delete required option '{key}'"));
            }
            "unprivileged" => return Err(format!("unable to delete read-only option: '{key}'")),
            // Not those that are unused (recorded: "delete unused0 protected").
            key if is_volume_key(key) => {
                check_protection(conf, &format!("can't remove CT {id} drive '{key}'"))?;
            }
            _ => {}
        }
        // A value that waits goes on waiting (recorded: "delete of a key that is only pending"); `revert` takes it back.
        conf.pending_delete.insert(key.clone());
    }
    for (key, value) in set {
        if key == "unprivileged" {
            return Err(format!("unable to modify read-only option: '{key}'"));
        }
        if is_volume_key(&key) {
            check_protection(conf, &format!("can't update CT {id} drive '{key}'"))?;
        }
        let value = normal(node, &key, &value)?;
        conf.pending_delete.remove(&key);
        conf.pending.options.insert(key, value);
    }
    clean(conf);
    Ok(())
}

/// Drops from the pending section what is so already.
fn clean(conf: &mut GuestConf) {
    let current = &conf.current.options;
    conf.pending.options.retain(|key, value| current.get(key) != Some(value));
    conf.pending_delete.retain(|key| current.contains_key(key));
}

/// A change that could not be made, and by which option, when it was to be made in a running guest.
#[derive(Debug)]
pub(crate) struct Failed {
    pub key: Option<String>,
    pub text: String,
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Self { key: None, text }
    }
}

/// Moves what can be from the pending section into the current one, has it carried out, and writes the file.
pub(crate) async fn apply(
    node: &Arc<Inner>,
    id: u32,
    old: &GuestConf,
    mut conf: GuestConf,
    running: bool,
    log: &TaskLog,
) -> Result<(), Failed> {
    let mut freed = Vec::new();
    let mut new_mount = None;
    let mut refused = None;
    for key in std::mem::take(&mut conf.pending_delete) {
        if running && !hotplugs(&key) && !is_unused(&key) {
            conf.pending_delete.insert(key);
            continue;
        }
        let Some(value) = conf.current.options.remove(&key) else { continue };
        if is_unused(&key) {
            if !names(&conf, &value) && !conf.is_in_snapshot(&value) {
                freed.push(value);
            }
        } else if let Some(mount) = Mount::parse(&key, &value).filter(|_| is_volume_key(&key)) {
            retire(&mut conf, &mount);
        }
    }
    for (key, value) in std::mem::take(&mut conf.pending.options) {
        // New mounts and devices are plugged in; those that are there wait.
        let plugged = (is_volume_key(&key) || is_device(&key)) && !conf.current.options.contains_key(&key);
        if running && !hotplugs(&key) && !plugged {
            conf.pending.options.insert(key, value);
            continue;
        }
        // The device is taken out before the new one is found to be impossible, which then waits (recorded: "running: memory and
        // net0 on a missing bridge").
        if running && let Some(text) = missing_bridge(node, [(&key, &value)].into_iter()) {
            conf.current.options.remove(&key);
            conf.pending.options.insert(key.clone(), value);
            refused = refused.or(Some(Failed { key: Some(key), text }));
            continue;
        }
        let replaced = conf.current.options.insert(key.clone(), value.clone());
        if !is_volume_key(&key) || new_root(&key, &value) {
            continue;
        }
        let mount = Mount::parse(&key, &value).ok_or_else(|| format!("unable to parse '{key}'"))?;
        if let Source::Volume(_) = mount.source() {
            let size = node.state().keep.volumes.get(&mount.volume).map(|volume| volume.size);
            let size = size.ok_or_else(|| format!("volume '{}' does not exist", mount.volume))?;
            let volume = mount.volume.clone();
            conf.current.options.insert(key.clone(), mount.clone().with(volume, size).print());
            conf.current.options.retain(|key, value| !is_unused(key) || *value != mount.volume);
        }
        let before = replaced.and_then(|value| Mount::parse(&key, &value));
        if let Some(before) = before.filter(|before| before.volume != mount.volume) {
            retire(&mut conf, &before);
        }
        new_mount = Some(key);
    }
    // A root that is to be made anew is only written down, and not made (recorded: "rootfs: a new volume").
    let root = conf.current.options.get("rootfs").filter(|value| new_root("rootfs", value)).cloned();
    if root.is_some() {
        conf.current.options.remove("rootfs");
    }
    let made = allocate_new(node, id, &mut conf, log);
    conf.current.options.extend(root.map(|root| ("rootfs".to_owned(), root)));
    let made = made?;
    if conf.current != old.current {
        let (before, after) = (&old.current.options, &conf.current.options);
        if let Err(TaskError(text)) = node.runtime.reconfigure(id, before, after, &freed, running, log).await
        {
            node.change(|keep| keep.volumes.retain(|volume, _| !made.contains(volume)));
            let changed = || {
                after.iter().find(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key.clone())
            };
            let key = new_mount.or_else(changed).filter(|_| running);
            // What a running container does not take goes on waiting.
            if let Some(key) = &key {
                let mut kept = old.clone();
                kept.pending.options.extend(after.get(key).map(|value| (key.clone(), value.clone())));
                node.write_guest(id, &kept)?;
            }
            return Err(Failed { key, text });
        }
    }
    if !freed.is_empty() {
        node.change(|keep| keep.volumes.retain(|volume, _| !freed.contains(volume)));
    }
    if conf != *old {
        node.write_guest(id, &conf)?;
    }
    if let Some(failed) = refused {
        return Err(failed);
    }
    // Written it is all the same, and whatever is changed after it is told the same (recorded: "memory and net0 on a missing
    // bridge").
    match missing_bridge(node, conf.current.options.iter()).filter(|_| !running) {
        Some(text) => Err(text.into()),
        None => Ok(()),
    }
}

/// What is said of the first network device that is on a bridge which the node does not have.
pub(super) fn missing_bridge<'o>(
    node: &Inner,
    options: impl Iterator<Item = (&'o String, &'o String)>,
) -> Option<String> {
    let bridge = |(key, value): (&String, &String)| {
        let net = is_net(key).then(|| Property::parse("net", key, value).ok()).flatten()?;
        net.get("bridge").map(str::to_owned)
    };
    let mut bridges = options.filter_map(bridge);
    let missing = bridges.find(|bridge| !node.has_bridge(bridge))?;
    Some(format!("bridge '{missing}' does not exist"))
}

/// Whether a value asks for a new root.
fn new_root(key: &str, value: &str) -> bool {
    let mount = Mount::parse(key, value).filter(|_| key == "rootfs");
    mount.is_some_and(|mount| matches!(mount.source(), Source::New(..)))
}

/// Whether any option names the volume.
fn names(conf: &GuestConf, volume: &str) -> bool {
    let all = conf.current.options.iter().chain(conf.pending.options.iter());
    all.filter(|(key, _)| is_volume_key(key) || is_unused(key))
        .any(|(_, value)| value.split(',').next() == Some(volume))
}

/// Keeps a volume that is no longer mounted as `unusedN`.
pub(super) fn retire(conf: &mut GuestConf, mount: &Mount) {
    if matches!(mount.source(), Source::Volume(_)) && !names(conf, &mount.volume) {
        let free = (0..).map(|n| format!("unused{n}")).find(|key| !conf.current.options.contains_key(key));
        conf.current.options.insert(free.unwrap_or_default(), mount.volume.clone());
    }
}

/// `PUT …/resize`.
pub(crate) async fn resize(call: &Call<'_>) -> Outcome {
    let node = call.node.clone();
    let id = call.vmid();
    let key = call.text("disk").to_owned();
    let held = node.flock(id).await.map_err(ApiError::die)?;
    let stored = node.guest(id).map_err(ApiError::die)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    check_digest(call, &stored.digest)?;
    let mount = stored.conf.get(&key).and_then(|value| Mount::parse(&key, value));
    let mount =
        mount.ok_or_else(|| ApiError::die(format!("no volume '{key}' in the configuration of CT {id}")))?;
    let Source::Volume(storage) = mount.source() else {
        return Err(ApiError::die(format!("can't resize mount point '{key}': not a volume")));
    };
    // `disk` and `size` are taken for keys of no other kind (recorded: "ct resize").
    call.need(&format!("/vms/{id}"), "VM.Config.Options")?;
    call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    let size = node.state().keep.volumes.get(&mount.volume).map(|volume| volume.size);
    let size = size.ok_or_else(|| {
        ApiError::die(format!("Could not determine current size of volume '{}'", mount.volume))
    })?;
    let asked = call.text("size");
    let wanted = match asked.strip_prefix('+') {
        Some(more) => parse_size(more).and_then(|more| size.checked_add(more)),
        None => parse_size(asked),
    };
    let wanted =
        wanted.ok_or_else(|| ApiError::parameter("size", "value does not match the regex pattern"))?;
    if wanted < size {
        return Err(ApiError::die("unable to shrink disk size"));
    }
    if wanted == size {
        return Err(ApiError::die("disk is already at specified size"));
    }
    Ok(call.task("resize", id, move |log| async move {
        let _held = held;
        let mut conf = node.guest(id).map_err(TaskError)?.conf.clone();
        node.change(|keep| keep.grow(&mount.volume, wanted)).map_err(TaskError)?;
        if let Err(error) = node.runtime.resize(id, &key, &conf.current.options, wanted, &log).await {
            node.change(|keep| keep.volumes.get_mut(&mount.volume).map(|volume| volume.size = size));
            return Err(error);
        }
        let volume = mount.volume.clone();
        conf.current.options.insert(key, mount.with(volume, wanted).print());
        node.write_guest(id, &conf).map_err(TaskError)
    }))
}
