//! `POST /nodes/NODE/lxc`: checks, and the task that makes the guest.

use std::sync::Arc;

use proxmox::config::GuestKind;

use super::error::{ApiError, Outcome};
use super::etc::GuestConf;
use super::guest_change::{check_privileges, normal};
use super::router::Call;
use super::storage::{Mount, Source, TEMPLATES};
use super::{Inner, State, guest_power};
use crate::runtime::{TaskError, TaskLog};

/// What Proxmox VE makes a guest's root when it is not told (PVE::API2::LXC, `create_vm`), in GiB.
const DEFAULT_ROOT: &str = "4";

pub(crate) fn create(call: &Call<'_>) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    if let Some(owner) = node.state().etc.owner(id) {
        return Err(ApiError::die(format!("CT {id} already exists on node '{owner}'")));
    }
    if call.flag("restore") {
        return Err(ApiError::die("this node does not offer restoring a backup"));
    }
    let pool = call.get("pool");
    if let Some(pool) = pool.filter(|pool| !node.state().keep.pools.contains_key(*pool)) {
        return Err(ApiError::die(format!("pool '{pool}' does not exist")));
    }
    let in_pool = pool.is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !in_pool && !call.may(&format!("/vms/{id}"), "VM.Allocate") {
        return Err(ApiError::forbidden(""));
    }
    let unprivileged = call.get("unprivileged") != Some("0");
    if !unprivileged {
        call.need("/", "Sys.Modify")?;
    }
    let own = [
        "vmid",
        "node",
        "ostemplate",
        "storage",
        "password",
        "ssh-public-keys",
        "start",
        "pool",
        "force",
        "restore",
        "unique",
        "bwlimit",
        "ignore-unpack-errors",
        "ha-managed",
        "unprivileged",
    ];
    let mut options: std::collections::BTreeMap<String, String> = call
        .params
        .iter()
        .filter(|(key, _)| !own.contains(&key.as_str()) && !key.starts_with("unused"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    check_privileges(call, id, pool, None, &options, &[], unprivileged)?;

    let storage = call.get("storage").unwrap_or("local");
    let template = call.text("ostemplate").to_owned();
    check_template_access(call, &template)?;
    let has_mounts = options.keys().any(|key| super::storage::is_volume_key(key));
    if has_mounts && !options.contains_key("rootfs") {
        return Err(ApiError::die("mount points configured, but 'rootfs' not set - aborting"));
    }
    options.entry("rootfs".to_owned()).or_insert_with(|| format!("{storage}:{DEFAULT_ROOT}"));
    for (key, value) in options.iter_mut().filter(|(key, _)| super::storage::is_volume_key(key)) {
        // A bare number is a size on the default storage.
        if value.parse::<f64>().is_ok() {
            *value = format!("{storage}:{value}");
        }
        check_mount(call, key, value)?;
    }

    let mut conf = GuestConf::empty(GuestKind::Container);
    for (key, value) in &options {
        let value = normal(node, key, value).map_err(ApiError::die)?;
        conf.current.options.insert(key.clone(), value);
    }
    let defaults = [
        ("hostname", format!("CT{id}")),
        ("memory", "512".to_owned()),
        ("swap", "512".to_owned()),
        ("arch", "amd64".to_owned()),
        ("ostype", ostype(&template).to_owned()),
    ];
    for (key, value) in defaults {
        conf.current.options.entry(key.to_owned()).or_insert(value);
    }
    if unprivileged {
        conf.current.options.insert("unprivileged".to_owned(), "1".to_owned());
    }

    // From here the id is taken, and the guest locked.
    let mut reserved = GuestConf::empty(GuestKind::Container);
    reserved.current.options.insert("lock".to_owned(), "create".to_owned());
    node.change_all(|State { etc, keep, .. }| {
        if etc.owner(id).is_some() {
            return Err(ApiError::die(format!("unable to create CT {id} - CT {id} already exists")));
        }
        etc.write(id, &reserved).map_err(|error| ApiError::die(error.to_string()))?;
        if let Some(pool) = pool.and_then(|pool| keep.pools.get_mut(pool)) {
            pool.guests.insert(id);
        }
        Ok(())
    })?;
    let start = call.flag("start");
    let node = node.clone();
    Ok(call.task("vzcreate", id, move |log| async move {
        if let Err(error) = make(&node, id, conf, &template, &log).await {
            undo(&node, id, &log).await;
            log.line(error.as_str());
            return Err(TaskError(format!("unable to create CT {id} - {error}")));
        }
        if start {
            guest_power::bring_up(&node, id, &log).await.map_err(TaskError)?;
        }
        Ok(())
    }))
}

/// Storage's `check_volume_access` for a template.
fn check_template_access(call: &Call<'_>, template: &str) -> Result<(), ApiError> {
    let Some((storage, _)) = template.split_once(":vztmpl/") else {
        if template.starts_with('/') && !call.auth.is_root() {
            return Err(ApiError::forbidden("only root can use an absolute path for a template"));
        }
        return Err(ApiError::die(format!("unable to parse volume ID '{template}'")));
    };
    let state = call.node.state();
    if !state.keep.storages.contains_key(storage) {
        return Err(ApiError::die(format!("storage '{storage}' does not exist")));
    }
    let path = format!("/storage/{storage}");
    let may = |privilege| call.node.may_in(&state.keep, call.auth, &path, privilege);
    if may("Datastore.AllocateSpace") || may("Datastore.Audit") {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("{path}, Datastore.AllocateSpace|Datastore.Audit")))
}

/// Whether the storage a new mount point asks for is there, holds containers, and may be used.
pub(crate) fn check_mount(call: &Call<'_>, key: &str, value: &str) -> Result<(), ApiError> {
    let mount = Mount::parse(key, value).ok_or_else(|| ApiError::die(format!("unable to parse '{key}'")))?;
    let storage = match mount.source() {
        Source::New(storage, _) | Source::Volume(storage) => storage,
        Source::Bind | Source::Device if call.auth.is_root() => return Ok(()),
        Source::Bind | Source::Device => {
            return Err(ApiError::die("Only root can pass arbitrary filesystem paths."));
        }
    };
    let state = call.node.state();
    let found = state.keep.storage_for_volumes(storage, &call.node.name).map_err(ApiError::die)?;
    if !found.holds("rootdir") {
        return Err(ApiError::parameter(
            "storage",
            format!("storage '{storage}' does not support container directories"),
        ));
    }
    let path = format!("/storage/{storage}");
    if !call.node.may_in(&state.keep, call.auth, &path, "Datastore.AllocateSpace") {
        return Err(ApiError::forbidden(format!("{path}, Datastore.AllocateSpace")));
    }
    Ok(())
}

/// The system a template holds, by its name.
fn ostype(template: &str) -> &'static str {
    let name = template.rsplit('/').next().unwrap_or(template);
    let known =
        ["debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo"];
    known.into_iter().find(|known| name.starts_with(known)).unwrap_or("unmanaged")
}

/// Makes volumes and guest, and writes its file, which ends its lock.
async fn make(
    node: &Arc<Inner>,
    id: u32,
    mut conf: GuestConf,
    template: &str,
    log: &TaskLog,
) -> Result<(), String> {
    // Its configuration's `lock: create` keeps everybody else away.
    allocate_new(node, id, &mut conf, log)?;
    let path = {
        let state = node.state();
        let missing = || format!("volume '{template}' does not exist");
        let (storage, name) = template.split_once(":vztmpl/").ok_or_else(missing)?;
        let storage = state.keep.storages.get(storage).ok_or_else(missing)?;
        TEMPLATES.format(name).ok_or_else(|| format!("unable to detect the archive format of '{name}'"))?;
        if !storage.templates().iter().any(|known| known.name == name) {
            return Err(missing());
        }
        storage.template_path(name)
    };
    node.runtime.create(id, &conf.current.options, &path, log).await.map_err(|error| error.0)?;
    node.change(|keep| keep.made_from.insert(id, template.to_owned()));
    node.write_guest(id, &conf)?;
    warn_of_nesting(node, id, &conf, log);
    Ok(())
}

/// Turns each new volume of the configuration into a definite one. None is made when one of them cannot be.
pub(crate) fn allocate_new(
    node: &Inner,
    id: u32,
    conf: &mut GuestConf,
    log: &TaskLog,
) -> Result<Vec<String>, String> {
    let now = node.clock.now();
    node.change(|keep| {
        let mut made = Vec::new();
        let options = &mut conf.current.options;
        // The root comes first, so that it is disk 0.
        let mut keys: Vec<String> =
            options.keys().filter(|key| super::storage::is_volume_key(key)).cloned().collect();
        keys.sort_by_key(|key| (key != "rootfs", key.strip_prefix("mp").and_then(|n| n.parse::<u32>().ok())));
        for key in keys {
            let Some(mount) = options.get(&key).and_then(|value| Mount::parse(&key, value)) else { continue };
            let Source::New(storage, size) = mount.source() else { continue };
            match keep.allocate(storage, id, size, now, log) {
                Ok(volume) => {
                    made.push(volume.clone());
                    options.insert(key, mount.clone().with(volume, size).print());
                }
                Err(error) => {
                    keep.volumes.retain(|volume, _| !made.contains(volume));
                    return Err(error);
                }
            }
        }
        Ok(made)
    })
}

/// After a failed creation nothing of the guest stays.
async fn undo(node: &Arc<Inner>, id: u32, log: &TaskLog) {
    let mut conf = GuestConf::empty(GuestKind::Container);
    {
        let state = node.state();
        let own = state.keep.volumes.iter().filter(|(_, volume)| volume.guest == id);
        for (n, (volume, _)) in own.enumerate() {
            conf.current.options.insert(format!("unused{n}"), volume.clone());
        }
    }
    let _ = node.runtime.destroy(id, &conf.current.options, log).await;
    node.change(|keep| {
        keep.volumes.retain(|_, volume| volume.guest != id);
        keep.leave_pools(id);
    });
    let _ = node.state().etc.remove(id);
}

/// PVE::LXC::Setup warns of a systemd that needs more than an unprivileged guest without nesting has: Debian 13 has
/// version 257. The guest's template tells which Debian it is.
pub(crate) fn warn_of_nesting(node: &Inner, id: u32, conf: &GuestConf, log: &TaskLog) {
    let debian_13 =
        node.state().keep.made_from.get(&id).is_some_and(|template| template.contains("/debian-13"));
    let nesting =
        conf.get("features").is_some_and(|features| features.split(',').any(|one| one == "nesting=1"));
    if debian_13 && conf.flag("unprivileged") && !nesting {
        log.warn("Systemd 257 detected. You may need to enable nesting.");
    }
}
