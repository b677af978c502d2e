//! What storages hold of virtual machines, and taking it off them.

use serde_json::{Value, json};

use super::disks::format_of;
use crate::node::storage::Storage;
use crate::node::{Inner, Keep};
use crate::runtime::TaskError;

/// The disks of virtual machines on a storage, as its `content` shows them.
pub(in crate::node) fn contents(keep: &Keep, storage: &Storage, vmid: Option<&str>) -> Vec<Value> {
    let prefix = format!("{}:", storage.id);
    let own = keep.volumes.range(prefix.clone()..).take_while(|(volume, _)| volume.starts_with(&prefix));
    let own = own.filter(|(_, facts)| facts.image && vmid.is_none_or(|id| id == facts.guest.to_string()));
    own.map(|(volume, facts)| {
        let parent = volume.rsplit_once('/').map(|(above, _)| above).filter(|above| above.contains("/base-"));
        json!({
            "volid": volume, "content": "images", "format": format_of(volume), "size": facts.size, "used": facts.size,
            "vmid": facts.guest, "ctime": facts.ctime,
            "parent": parent.map(|above| above.rsplit_once('/').map_or(above, |(above, _)| above)),
        })
    })
    .collect()
}

/// Takes a machine's disk off its storage. What uses it is not asked (recorded: "DELETE by the storage of a disk in use").
pub(in crate::node) async fn remove(node: &Inner, id: u32, volume: &str) -> Result<(), TaskError> {
    node.runtime.free_disks(id, &[volume.to_owned()]).await
}
