//! `POST …/move_volume`: a container's volume on another storage.

use super::error::{ApiError, Outcome};
use super::guest_change::{check_digest, check_lock, retire};
use super::router::Call;
use super::storage::{Mount, Source};
use crate::runtime::{TaskError, VolumeCopy};

pub(crate) async fn move_volume(call: &Call<'_>) -> Outcome {
    let node = call.node.clone();
    let id = call.vmid();
    let key = call.text("volume").to_owned();
    let Some(target) = call.get("storage").map(str::to_owned) else {
        return Err(ApiError::parameter("storage", "property is missing and it is not optional"));
    };
    // One that is not there is found by the task (recorded: "move_volume unknown storage").
    if node.state().keep.storages.contains_key(&target) {
        call.need(&format!("/storage/{target}"), "Datastore.AllocateSpace")?;
    }
    let stored = node.guest(id).map_err(ApiError::die)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    check_digest(call, &stored.digest)?;
    let mount = stored.conf.get(&key).and_then(|value| Mount::parse(&key, value));
    // Recorded: "move_volume unknown volume".
    let mount = mount.ok_or_else(|| ApiError::die("format error"))?;
    if !matches!(mount.source(), Source::Volume(_)) {
        return Err(ApiError::die(format!("cannot move '{key}': it is no volume")));
    }
    if node.runtime.running().await.contains(&id) {
        return Err(ApiError::die("cannot move volumes of a running container"));
    }
    let delete = call.flag("delete");
    Ok(call.task("move_volume", id, move |log| async move {
        let _held = node.flock(id).await.map_err(TaskError)?;
        let mut conf = node.guest(id).map_err(TaskError)?.conf.clone();
        node.state().keep.storage_for_volumes(&target, &node.name).map_err(TaskError)?;
        let size = node.state().keep.volumes.get(&mount.volume).map(|volume| volume.size).unwrap_or_default();
        let now = node.clock.now();
        let new = node.change(|keep| keep.allocate(&target, id, size, now, &log)).map_err(TaskError)?;
        let one = VolumeCopy { from: mount.volume.clone(), of: id, to: new.clone(), linked: false };
        if let Err(error) = node.runtime.copy_volume(id, &conf.current.options, &one, &log).await {
            node.change(|keep| keep.volumes.remove(&new));
            return Err(error);
        }
        conf.current.options.insert(key, mount.clone().with(new, size).print());
        if delete {
            node.change(|keep| keep.volumes.remove(&mount.volume));
            let (before, after) = (conf.current.options.clone(), &conf.current.options);
            node.runtime
                .reconfigure(id, &before, after, std::slice::from_ref(&mount.volume), false, &log)
                .await?;
        } else {
            retire(&mut conf, &mount);
        }
        node.write_guest(id, &conf).map_err(TaskError)
    }))
}
