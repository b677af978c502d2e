//! Copies of containers, and turning them into templates (PVE::API2::LXC, `clone_vm` and `template`).

use std::collections::BTreeMap;
use std::sync::Arc;

use proxmox::config::GuestKind;

use super::error::{Answer, ApiError, Outcome};
use super::etc::GuestConf;
use super::guest_change::{check_bridge, check_lock, is_net, is_unused};
use super::guest_create::warn_of_nesting;
use super::router::Call;
use super::schema::Property;
use super::storage::{Mount, Source, Volume, is_volume_key};
use super::{Inner, State, guest_read};
use crate::runtime::{TaskError, TaskLog, VolumeCopy};

/// What is asked for.
#[derive(Debug, Clone)]
struct Copy {
    full: bool,
    storage: Option<String>,
    /// The configuration that the copy gets, but for its volumes.
    conf: GuestConf,
    volumes: BTreeMap<String, Mount>,
}

pub(crate) async fn clone(call: &Call<'_>) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    let new: u32 = call.text("newid").parse().unwrap_or_default();
    let pool = call.get("pool").map(str::to_owned);
    if let Some(pool) = pool.as_ref().filter(|pool| !node.state().keep.pools.contains_key(*pool)) {
        return Err(ApiError::forbidden(format!("pool '{pool}' does not exist")));
    }
    let in_pool = pool.as_ref().is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !in_pool && !call.may(&format!("/vms/{new}"), "VM.Allocate") {
        return Err(ApiError::forbidden(""));
    }
    if let Some(target) = call.get("target").filter(|target| *target != node.name) {
        return Err(ApiError::die(format!("this node does not offer clones to another node, '{target}'")));
    }
    if let Some(storage) = call.get("storage") {
        node.state().keep.storage_for_volumes(storage, &node.name).map_err(ApiError::die)?;
    }
    let source = guest_read::conf_of(call)?.conf.clone();
    // Whoever copies it holds it: the next is refused, and does not wait.
    set_lock(node, id, "disk")?;
    let prepared = async {
        reserve(node, new)?;
        let copy = match prepare(call, &source).await {
            Ok(copy) => copy,
            Err(error) => {
                let _ = node.state().etc.remove(new);
                return Err(error);
            }
        };
        let mut conf = copy.conf.clone();
        conf.current.options.insert("lock".to_owned(), "create".to_owned());
        node.write_guest(new, &conf).map_err(ApiError::die)?;
        Ok(copy)
    };
    let copy = match prepared.await {
        Ok(copy) => copy,
        Err(error) => {
            unlock(node, id);
            return Err(error);
        }
    };
    let node = node.clone();
    Ok(call.task("vzclone", id, move |log| async move {
        log.line(format!("creating a clone of container {id} with ID {new}"));
        let made = make(&node, id, new, &copy, pool.as_deref(), &log).await;
        unlock(&node, id);
        if let Err(error) = made {
            undo(&node, new, &log).await;
            return Err(TaskError(format!("clone failed: {error}")));
        }
        unlock(&node, new);
        warn_of_nesting(&node, new, &copy.conf, &log);
        Ok(())
    }))
}

/// PVE::AbstractConfig's `set_lock`.
fn set_lock(node: &Inner, id: u32, lock: &str) -> Result<(), ApiError> {
    let stored = node.guest_of(GuestKind::Container, id).map_err(ApiError::die)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    let mut conf = stored.conf.clone();
    conf.current.options.insert("lock".to_owned(), lock.to_owned());
    node.write_guest(id, &conf).map_err(ApiError::die)
}

/// What cannot be unlocked stays locked, as there.
fn unlock(node: &Inner, id: u32) {
    if let Ok(stored) = node.guest_of(GuestKind::Container, id) {
        let mut conf = stored.conf.clone();
        conf.current.options.remove("lock");
        let _ = node.write_guest(id, &conf);
    }
}

fn reserve(node: &Inner, new: u32) -> Result<(), ApiError> {
    let mut reserved = GuestConf::empty(GuestKind::Container);
    reserved.current.options.insert("lock".to_owned(), "create".to_owned());
    node.change_all(|State { etc, .. }| {
        if let Some(owner) = etc.owner(new) {
            return Err(ApiError::die(format!("CT {new} already exists on node '{owner}'")));
        }
        etc.write(new, &reserved).map_err(|error| ApiError::die(error.to_string()))
    })
}

async fn prepare(call: &Call<'_>, source: &GuestConf) -> Result<Copy, ApiError> {
    let node = call.node;
    // Of a template a linked clone is made, where nothing else is said; of anything else always a copy.
    let full = call.get("full").map_or(!source.flag("template"), |full| full == "1");
    let storage = call.get("storage").map(str::to_owned);
    if storage.is_some() && !full {
        return Err(ApiError::die("parameter 'storage' not allowed for linked clones"));
    }
    if let Some(name) = call.get("snapname") {
        return Err(ApiError::die(format!("snapshot '{name}' does not exist")));
    }
    let running = node.runtime.running().await.contains(&call.vmid());
    let mut conf = GuestConf::empty(GuestKind::Container);
    let mut volumes = BTreeMap::new();
    let left = ["lock", "template", "parent", "snaptime", "snapstate"];
    for (key, value) in &source.current.options {
        if left.contains(&key.as_str()) || is_unused(key) {
            continue;
        }
        if is_volume_key(key) {
            let mount =
                Mount::parse(key, value).ok_or_else(|| ApiError::die(format!("unable to parse '{key}'")))?;
            let on = match mount.source() {
                Source::Volume(on) | Source::New(on, _) => on.to_owned(),
                Source::Bind => {
                    return Err(ApiError::die(format!("unable to clone mountpoint '{key}' (type bind)")));
                }
                Source::Device => {
                    return Err(ApiError::die(format!("unable to clone mountpoint '{key}' (type device)")));
                }
            };
            let target = storage.as_deref().unwrap_or(&on);
            call.need(&format!("/storage/{target}"), "Datastore.AllocateSpace")?;
            if full && running {
                return Err(ApiError::die(
                    "Full clone of a running container is only possible from a snapshot",
                ));
            }
            let based = is_base(&mount.volume) && node.state().keep.has_clones(&on);
            if !full && !based {
                let volume = &mount.volume;
                return Err(ApiError::die(format!("Linked clone feature for '{volume}' is not available")));
            }
            volumes.insert(key.clone(), mount);
            continue;
        }
        let value = match is_net(key) {
            true => {
                let mut net = Property::parse("net", key, value).map_err(ApiError::die)?;
                net.set("hwaddr", node.mac());
                check_bridge(call, &net)?;
                net.print("net")
            }
            false => value.clone(),
        };
        conf.current.options.insert(key.clone(), value);
    }
    for (option, key) in [("hostname", "hostname"), ("description", "description")] {
        if let Some(value) = call.get(option).filter(|value| !value.is_empty()) {
            conf.current.options.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(Copy { full, storage, conf, volumes })
}

/// Whether a volume is a template's.
fn is_base(volume: &str) -> bool {
    let name = volume.rsplit(['/', ':']).next().unwrap_or(volume);
    name.starts_with("base-") || name.starts_with("basevol-")
}

async fn make(
    node: &Arc<Inner>,
    id: u32,
    new: u32,
    copy: &Copy,
    pool: Option<&str>,
    log: &TaskLog,
) -> Result<(), String> {
    let mut options = copy.conf.current.options.clone();
    for (key, mount) in &copy.volumes {
        let volume = &mount.volume;
        let own = volume.split_once(':').map_or("", |(storage, _)| storage);
        let known = node.state().keep.volumes.get(volume).map(|known| known.size);
        let bytes = known.ok_or_else(|| format!("volume '{volume}' does not exist"))?;
        let now = node.clock.now();
        let made = match copy.full {
            true => {
                log.line(format!("create full clone of mountpoint {key} ({volume})"));
                let storage = copy.storage.as_deref().unwrap_or(own);
                node.change(|keep| keep.allocate(storage, new, bytes, now, log))?
            }
            false => {
                log.line(format!("create linked clone of mount point {key} ({volume})"));
                node.change(|keep| {
                    let made = keep.linked(volume, new);
                    keep.volumes
                        .insert(made.clone(), Volume { size: bytes, guest: new, ctime: now, image: false });
                    made
                })
            }
        };
        let one = VolumeCopy { from: volume.clone(), of: id, to: made.clone(), linked: !copy.full };
        node.runtime.copy_volume(new, &options, &one, log).await.map_err(|error| error.0)?;
        options.insert(key.clone(), mount.clone().with(made, bytes).print());
        let mut conf = copy.conf.clone();
        conf.current.options.clone_from(&options);
        conf.current.options.insert("lock".to_owned(), "create".to_owned());
        node.write_guest(new, &conf)?;
    }
    node.change(|keep| {
        if let Some(template) = keep.made_from.get(&id).cloned() {
            keep.made_from.insert(new, template);
        }
        if let Some(pool) = pool.and_then(|pool| keep.pools.get_mut(pool)) {
            pool.guests.insert(new);
        }
    });
    Ok(())
}

async fn undo(node: &Arc<Inner>, new: u32, log: &TaskLog) {
    let mut conf = GuestConf::empty(GuestKind::Container);
    {
        let state = node.state();
        let own = state.keep.volumes.iter().filter(|(_, volume)| volume.guest == new);
        for (n, (volume, _)) in own.enumerate() {
            conf.current.options.insert(format!("unused{n}"), volume.clone());
        }
    }
    // What the clone failed with is what counts.
    let _ = node.runtime.destroy(new, &conf.current.options, log).await;
    node.change(|keep| {
        keep.volumes.retain(|_, volume| volume.guest != new);
        keep.leave_pools(new);
    });
    let _ = node.state().etc.remove(new);
}

/// `POST …/template`. A task it is, but one whose UPID the answer does not tell.
pub(crate) async fn template(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let stored = guest_read::conf_of(call)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    if stored.conf.flag("template") {
        return Err(ApiError::die("you can't convert a template to a template"));
    }
    if node.runtime.running().await.contains(&id) {
        return Err(ApiError::die("you can't convert a CT to template if the CT is running"));
    }
    let _ = call.task("vztemplate", id, move |_| async move {
        let _held = node.flock(id).await.map_err(TaskError)?;
        let mut conf = node.guest(id).map_err(TaskError)?.conf.clone();
        for (key, value) in conf.current.options.clone().iter().filter(|(key, _)| is_volume_key(key)) {
            let mount = Mount::parse(key, value).filter(|mount| matches!(mount.source(), Source::Volume(_)));
            let Some(mount) = mount else { continue };
            let base = mount
                .volume
                .replace(&format!("vm-{id}-disk-"), &format!("base-{id}-disk-"))
                .replace(&format!("subvol-{id}-disk-"), &format!("basevol-{id}-disk-"));
            node.runtime.rename_volume(id, &mount.volume, &base).await?;
            let size = node.change(|keep| {
                let volume = keep.volumes.remove(&mount.volume)?;
                let size = volume.size;
                keep.volumes.insert(base.clone(), volume);
                Some(size)
            });
            conf.current.options.insert(key.clone(), mount.with(base, size.unwrap_or_default()).print());
        }
        conf.current.options.insert("template".to_owned(), "1".to_owned());
        node.write_guest(id, &conf).map_err(TaskError)
    });
    Ok(Answer::null())
}
