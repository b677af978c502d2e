//! `POST /nodes/NODE/qemu`: checks, and the task that makes the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use proxmox::config::GuestKind;

use super::disks;
use super::drive::{self, Drive};
use super::options::{check_boot, check_privileges, fits, key_of, normal};
use super::power;
use crate::node::error::{ApiError, Outcome};
use crate::node::etc::GuestConf;
use crate::node::router::Call;
use crate::node::{Inner, State};
use crate::runtime::{TaskError, TaskLog};

/// What the machine's configuration says of the QEMU that it was made with.
const QEMU: &str = "10.0.13";

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    if call.get("archive").is_some() {
        return Err(ApiError::die("this node does not offer restoring a backup"));
    }
    let pool = call.get("pool");
    if let Some(pool) = pool.filter(|pool| !node.state().keep.pools.contains_key(*pool)) {
        return Err(ApiError::forbidden(format!("pool '{pool}' does not exist")));
    }
    let in_pool = pool.is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !in_pool && !call.may(&format!("/vms/{id}"), "VM.Allocate") {
        return Err(ApiError::forbidden(""));
    }
    let own = [
        "vmid",
        "node",
        "storage",
        "start",
        "pool",
        "force",
        "unique",
        "bwlimit",
        "ha-managed",
        "live-restore",
        "import-working-storage",
        "smp",
    ];
    let options: BTreeMap<String, String> = call
        .params
        .iter()
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| (key_of(key).to_owned(), value.clone()))
        .collect();
    check_privileges(call, id, pool, None, &options, &[])?;
    fits(&options).map_err(ApiError::die)?;
    let mut drives = Vec::new();
    for (key, value) in options.iter().filter(|(key, _)| drive::is_key(key)) {
        let drive = Drive::parse(key, value)
            .ok_or_else(|| ApiError::die(format!("unable to parse drive options for '{key}'")))?;
        disks::check(call, &drive, true)?;
        drives.push(drive);
    }
    drives.sort_by_key(|drive| drive::rank(&drive.key));
    if let Some(boot) = options.get("boot") {
        check_boot(boot, &options).map_err(ApiError::die)?;
    }
    let mut conf = GuestConf::empty(GuestKind::Vm);
    for (key, value) in options.iter().filter(|(key, _)| !drive::is_key(key)) {
        let value = normal(node, key, value).map_err(ApiError::die)?;
        conf.current.options.insert(key.clone(), value);
    }
    let defaults = [
        ("vmgenid", node.uuid()),
        ("smbios1", format!("uuid={}", node.uuid())),
        ("meta", format!("creation-qemu={QEMU},ctime={}", node.clock.now())),
    ];
    for (key, value) in defaults {
        conf.current.options.entry(key.to_owned()).or_insert(value);
    }
    reserve(node, id, pool, "create")?;
    let start = call.flag("start");
    let node = node.clone();
    Ok(call.task("qmcreate", id, move |log| async move {
        let held = node.flock_vm(id).await.map_err(TaskError)?;
        if let Err(error) = make(&node, id, conf, &drives, &log).await {
            undo(&node, id).await;
            return Err(TaskError(format!("unable to create VM {id} - {error}")));
        }
        drop(held);
        if start {
            power::bring_up(&node, id, &log).await.map_err(TaskError)?;
        }
        Ok(())
    }))
}

/// From here on the id is taken, and the machine locked.
pub(super) fn reserve(node: &Inner, id: u32, pool: Option<&str>, lock: &str) -> Result<(), ApiError> {
    let mut reserved = GuestConf::empty(GuestKind::Vm);
    reserved.current.options.insert("lock".to_owned(), lock.to_owned());
    node.change_all(|State { etc, keep, .. }| {
        if let Some(owner) = etc.owner(id) {
            return Err(ApiError::die(match lock {
                "clone" => format!("unable to create VM {id}: config file already exists"),
                _ => format!("unable to create VM {id} - VM {id} already exists on node '{owner}'"),
            }));
        }
        etc.write(id, &reserved).map_err(|error| ApiError::die(error.to_string()))?;
        if let Some(pool) = pool.and_then(|pool| keep.pools.get_mut(pool)) {
            pool.guests.insert(id);
        }
        Ok(())
    })
}

/// Makes disks and machine, and writes its file, which ends its lock.
async fn make(
    node: &Arc<Inner>,
    id: u32,
    mut conf: GuestConf,
    drives: &[Drive],
    log: &TaskLog,
) -> Result<(), String> {
    disks::create(node, id, drives, &mut conf.current.options, log).await?;
    if !conf.current.options.contains_key("boot") {
        let order = drive::boot_order(&conf.current.options);
        if !order.is_empty() {
            conf.current.options.insert("boot".to_owned(), format!("order={}", order.join(";")));
        }
    }
    node.write_guest(id, &conf)
}

/// After a creation that failed, nothing of the machine stays.
pub(super) async fn undo(node: &Arc<Inner>, id: u32) {
    let own: Vec<String> = {
        let state = node.state();
        let all = state.keep.volumes.iter();
        all.filter(|(_, volume)| volume.guest == id).map(|(volume, _)| volume.clone()).collect()
    };
    // Nobody is left to tell: the task's error is what counts.
    let _ = node.runtime.free_disks(id, &own).await;
    let _ = node.runtime.forget(id).await;
    node.change(|keep| {
        keep.volumes.retain(|_, volume| volume.guest != id);
        keep.leave_pools(id);
    });
    let _ = node.state().etc.remove(id);
}
