//! Growing a machine's disks, and moving them to other storages.

use proxmox::config::GuestKind;

use super::change::{STALE, check_lock, skips_lock};
use super::disks::{self, Form, format_of};
use super::drive::{self, Drive};
use crate::node::error::{ApiError, Outcome};
use crate::node::formats::parse_size;
use crate::node::router::Call;
use crate::runtime::{DiskSource, NewDisk, TaskError};

/// `PUT …/resize`: a task, in which all but the parameters is checked.
pub(super) async fn resize(call: &Call<'_>) -> Outcome {
    let node = call.node.clone();
    let id = call.vmid();
    let skip = skips_lock(call)?;
    let (key, asked) = (call.text("disk").to_owned(), call.text("size").to_owned());
    let digest = call.get("digest").map(str::to_owned);
    super::read::conf_of(call)?;
    Ok(call.task("resize", id, move |log| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        let stored = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?;
        let refused = |text: String| Err(TaskError(text));
        if digest.is_some_and(|digest| digest != stored.digest) {
            return refused(STALE.to_owned());
        }
        if !skip {
            check_lock(&stored.conf).map_err(TaskError)?;
        }
        let mut conf = stored.conf.clone();
        let Some(drive) = conf.get(&key).and_then(|value| Drive::parse(&key, value)) else {
            return refused(format!("disk '{key}' does not exist"));
        };
        if drive.is_cdrom() {
            return refused("you can't resize a cdrom".to_owned());
        }
        let Some(volume) = drive.volume().map(str::to_owned) else {
            return refused(format!("can't resize '{key}': it is no volume"));
        };
        let size = node.state().keep.volumes.get(&volume).map(|known| known.size);
        let Some(size) = size else { return refused(format!("volume '{volume}' does not exist")) };
        let wanted = match asked.strip_prefix('+') {
            Some(more) => parse_size(more).and_then(|more| size.checked_add(more)),
            None => parse_size(&asked),
        };
        let wanted = wanted.unwrap_or_default();
        if wanted < size {
            return refused("shrinking disks is not supported".to_owned());
        }
        if wanted == size {
            return Ok(());
        }
        node.change(|keep| keep.grow(&volume, wanted)).map_err(TaskError)?;
        if let Err(error) = node.runtime.grow_disk(id, &key, &volume, wanted).await {
            node.change(|keep| keep.volumes.get_mut(&volume).map(|known| known.size = size));
            return Err(error);
        }
        log.line("Image resized.");
        conf.current.options.insert(key, drive.with(&volume, Some(wanted)).print());
        node.write_guest(id, &conf).map_err(TaskError)
    }))
}

/// `POST …/move_disk`, to another storage.
pub(super) async fn move_disk(call: &Call<'_>) -> Outcome {
    let node = call.node.clone();
    let id = call.vmid();
    let key = call.text("disk").to_owned();
    let Some(target) = call.get("storage").map(str::to_owned) else {
        return Err(ApiError::parameter("storage", "property is missing and it is not optional"));
    };
    node.state().keep.storage_for_volumes(&target, &node.name).map_err(ApiError::die)?;
    call.need(&format!("/storage/{target}"), "Datastore.AllocateSpace")?;
    let stored = super::read::conf_of(call)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    if call.get("digest").is_some_and(|given| given != stored.digest) {
        return Err(ApiError::die(STALE));
    }
    let drive = stored.conf.get(&key).and_then(|value| Drive::parse(&key, value));
    let drive = drive.ok_or_else(|| ApiError::die(format!("disk '{key}' does not exist")))?;
    let Some(volume) = drive.volume().map(str::to_owned) else {
        return Err(ApiError::die(format!("disk '{key}' has no associated volume")));
    };
    let from = volume.split_once(':').map_or("", |(storage, _)| storage).to_owned();
    let asked = call.get("format").map(str::to_owned);
    let format = asked.clone().unwrap_or_else(|| format_of(&volume).to_owned());
    if from == target && format == format_of(&volume) {
        return Err(ApiError::die("you can't move to the same storage with same format"));
    }
    if super::power::runs(&node, id).await && drive::is_cloudinit_volume(&volume) {
        return Err(ApiError::die("you can't move a cloudinit disk of a running VM"));
    }
    let delete = call.flag("delete");
    Ok(call.task("qmmove", id, move |log| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        let mut conf = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?.conf.clone();
        let bytes = node.state().keep.volumes.get(&volume).map(|known| known.size).unwrap_or_default();
        log.line(format!(
            "copying volume '{volume}' from current storage '{from}' to target storage '{target}'"
        ));
        log.line(format!("create full clone of drive {key} ({volume})"));
        // `clone_disk` of qemu-server.
        if key == "tpmstate0" && super::power::runs(&node, id).await {
            return Err(TaskError(
                "storage migration failed: cannot move TPM state while VM is running".into(),
            ));
        }
        let form = match drive::is_cloudinit_volume(&volume) {
            true => Form::Cloudinit(&format),
            false => Form::Disk(&format),
        };
        let new = disks::reserve(&node, &target, id, bytes, form).map_err(TaskError)?;
        disks::formatting(&node, &new, bytes, &log);
        disks::transferred(bytes, &log);
        let disk = NewDisk { volume: new.clone(), bytes, source: DiskSource::Copy(volume.clone()) };
        if let Err(error) = node.runtime.make_disks(id, &[disk], &log).await {
            // The copy that failed is what counts; what is left of it is found on the storage.
            let _ = disks::free(&node, id, &[new]).await;
            return Err(TaskError(format!("storage migration failed: {error}")));
        }
        conf.current.options.insert(key.clone(), drive.clone().with(&new, Some(bytes)).print());
        let mut freed = Vec::new();
        if delete {
            log.line(format!("removing source volume '{volume}' after successful move"));
            freed.push(volume);
        } else {
            log.line(format!("adding source volume '{volume}' as unused to config"));
            disks::retire(&node, id, &mut conf, &drive, &mut freed);
        }
        node.write_guest(id, &conf).map_err(TaskError)?;
        disks::free(&node, id, &freed).await
    }))
}
