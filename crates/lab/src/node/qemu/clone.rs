//! Copies of virtual machines, templates, and what is based on them.

use std::sync::Arc;
use std::time::Duration;

use proxmox::config::GuestKind;

use super::change::check_lock;
use super::create::{reserve, undo};
use super::disks::{self, Form, format_of};
use super::drive::{self, Drive};
use super::power::runs;
use crate::node::Inner;
use crate::node::error::{ApiError, Outcome};
use crate::node::etc::GuestConf;
use crate::node::guest_change::{check_bridge, is_net, is_unused};
use crate::node::router::Call;
use crate::node::schema::Property;
use crate::node::storage::{Storage, Volume};
use crate::runtime::{DiskSource, NewDisk, TaskError, TaskLog};

/// How long a copy waits for the one before it (PVE::API2::Qemu, `clone_vm`: one second).
const SOURCE_WAIT: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Debug, Clone)]
struct Copy {
    full: bool,
    storage: Option<String>,
    format: Option<String>,
    name: Option<String>,
    description: Option<String>,
}

pub(super) async fn clone(call: &Call<'_>) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    let new: u32 = call.text("newid").parse().unwrap_or_default();
    let pool = call.get("pool");
    if let Some(pool) = pool.filter(|pool| !node.state().keep.pools.contains_key(*pool)) {
        return Err(ApiError::forbidden(format!("pool '{pool}' does not exist")));
    }
    let in_pool = pool.is_some_and(|pool| call.may(&format!("/pool/{pool}"), "VM.Allocate"));
    if !in_pool && !call.may(&format!("/vms/{new}"), "VM.Allocate") {
        return Err(ApiError::forbidden(""));
    }
    if let Some(target) = call.get("target").filter(|target| *target != node.name) {
        return Err(ApiError::die(format!("this node does not offer clones to another node, '{target}'")));
    }
    let stored = super::read::conf_of(call)?;
    let conf = &stored.conf;
    check_lock(conf).map_err(ApiError::die)?;
    if let Some(name) = call.get("snapname") {
        return Err(ApiError::die(format!("snapshot '{name}' does not exist")));
    }
    let template = conf.flag("template");
    // Of a template a linked clone is made, where nothing else is said.
    let copy = Copy {
        full: call.get("full").map_or(!template, |full| full == "1"),
        storage: call.get("storage").map(str::to_owned),
        format: call.get("format").map(str::to_owned),
        name: call.get("name").map(str::to_owned),
        description: call.get("description").map(str::to_owned),
    };
    for (option, given) in [("storage", &copy.storage), ("format", &copy.format)] {
        if given.is_some() && !copy.full {
            return Err(ApiError::die(format!("parameter '{option}' not allowed for linked clones")));
        }
    }
    if let Some(storage) = &copy.storage {
        node.state().keep.storage_for_volumes(storage, &node.name).map_err(ApiError::die)?;
    }
    for drive in drive::all(&conf.current.options) {
        let Some(volume) = drive.volume().filter(|_| !drive.is_cdrom() || drive.is_cloudinit()) else {
            continue;
        };
        if !copy.full && !drive.is_cloudinit() && !is_base(volume) {
            return Err(ApiError::die(format!(
                "Linked clone feature is not supported for '{volume}' ({})",
                drive.key
            )));
        }
        let own = volume.split_once(':').map_or("", |(storage, _)| storage);
        let storage = copy.storage.as_deref().unwrap_or(own);
        call.need(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    }
    for (key, value) in conf.current.options.iter().filter(|(key, _)| is_net(key)) {
        check_bridge(call, &Property::parse("vmnet", key, value).unwrap_or_default())?;
    }
    let taken = format!("unable to create VM {new}: config file already exists");
    if node.state().etc.owner(new).is_some() {
        return Err(ApiError::die(taken));
    }
    let (node, pool) = (node.clone(), pool.map(str::to_owned));
    Ok(call.task("qmclone", id, move |log| async move {
        // Nobody changes the one that is copied. While it is off, others may copy it, too.
        let shared = match runs(&node, id).await {
            true => (Some(node.flock_of(GuestKind::Vm, id, SOURCE_WAIT).await.map_err(TaskError)?), None),
            false => (None, Some(node.flock_shared(id, SOURCE_WAIT).await.map_err(TaskError)?)),
        };
        let _target = node.flock_of(GuestKind::Vm, new, SOURCE_WAIT).await.map_err(TaskError)?;
        let source = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?;
        check_lock(&source.conf).map_err(TaskError)?;
        reserve(&node, new, pool.as_deref(), "clone").map_err(|_| TaskError(taken))?;
        let done = make(&node, id, new, &copy, &log).await;
        drop(shared);
        if let Err(error) = done {
            undo(&node, new).await;
            return Err(TaskError(format!("clone failed: {error}")));
        }
        Ok(())
    }))
}

/// Whether a volume is a template's.
fn is_base(volume: &str) -> bool {
    volume.rsplit(['/', ':']).next().is_some_and(|name| name.starts_with("base-"))
}

async fn make(node: &Arc<Inner>, id: u32, new: u32, copy: &Copy, log: &TaskLog) -> Result<(), String> {
    let source = node.guest_of(GuestKind::Vm, id)?.conf.clone();
    log.line(format!("creating a clone of VM {id} with ID {new}"));
    let mut conf = GuestConf::empty(GuestKind::Vm);
    for (key, value) in &source.current.options {
        let left = ["lock", "template", "parent", "snaptime", "vmstate", "vmgenid"].contains(&key.as_str());
        if left || is_unused(key) || drive::is_key(key) {
            continue;
        }
        let value = match key.as_str() {
            key if is_net(key) => {
                let mut net = Property::parse("vmnet", key, value)?;
                net.set("macaddr", node.mac());
                net.print("vmnet")
            }
            "smbios1" => {
                let mut smbios = Property::parse("vmsmbios", key, value)?;
                smbios.set("uuid", node.uuid());
                smbios.print("vmsmbios")
            }
            _ => value.clone(),
        };
        conf.current.options.insert(key.clone(), value);
    }
    let options = &mut conf.current.options;
    options.insert("vmgenid".to_owned(), node.uuid());
    options.insert("name".to_owned(), copy.name.clone().unwrap_or_else(|| default_name(&source, id)));
    if let Some(description) = &copy.description {
        options.insert("description".to_owned(), description.trim_end().to_owned());
    }
    for drive in drive::all(&source.current.options) {
        let text = match drive.volume().map(str::to_owned) {
            Some(volume) if !drive.is_cdrom() || drive.is_cloudinit() => {
                one(node, new, &drive, &volume, copy, log).await?.print()
            }
            _ => drive.print(),
        };
        options.insert(drive.key.clone(), text);
    }
    node.write_guest(new, &conf)
}

fn default_name(source: &GuestConf, id: u32) -> String {
    source.get("name").map_or_else(|| format!("Copy-of-VM-{id}"), |name| format!("Copy-of-VM-{name}"))
}

/// The copy of one drive.
async fn one(
    node: &Arc<Inner>,
    new: u32,
    drive: &Drive,
    volume: &str,
    copy: &Copy,
    log: &TaskLog,
) -> Result<Drive, String> {
    let (own, name) = volume.split_once(':').unwrap_or((volume, ""));
    let known = node.state().keep.volumes.get(volume).map(|known| known.size);
    let bytes = known.ok_or_else(|| format!("volume '{volume}' does not exist"))?;
    let cloudinit = drive.is_cloudinit();
    if !copy.full && !cloudinit {
        log.line(format!("create linked clone of drive {} ({volume})", drive.key));
        let files = node.state().keep.storages.get(own).is_some_and(Storage::has_files);
        let named = |n: usize| match files {
            // A file on a raw one is none.
            true => format!("{own}:{name}/{new}/vm-{new}-disk-{n}.qcow2"),
            false => format!("{own}:{name}/vm-{new}-disk-{n}"),
        };
        let now = node.clock.now();
        let made = node.change(|keep| {
            let taken =
                |n: usize| keep.volumes.keys().any(|known| known.contains(&format!("vm-{new}-disk-{n}")));
            let made = named((0..).find(|n| !taken(*n)).unwrap_or_default());
            keep.volumes.insert(made.clone(), Volume { size: bytes, guest: new, ctime: now, image: true });
            made
        });
        let disk = NewDisk { volume: made.clone(), bytes, source: DiskSource::Linked(volume.to_owned()) };
        node.runtime.make_disks(new, &[disk], log).await.map_err(|error| error.0)?;
        return Ok(drive.clone().with(&made, Some(bytes)));
    }
    log.line(format!("create full clone of drive {} ({volume})", drive.key));
    let storage = copy.storage.as_deref().unwrap_or(own);
    let files = node.state().keep.storages.get(storage).is_some_and(Storage::has_files);
    let format = if files { copy.format.as_deref().unwrap_or(format_of(volume)) } else { "raw" };
    let form = if cloudinit { Form::Cloudinit(format) } else { Form::Disk(format) };
    // A cloud-init drive is made anew (PVE::QemuServer, `clone_disk`).
    let bytes = if cloudinit { drive::CLOUDINIT } else { bytes };
    let made = disks::reserve(node, storage, new, bytes, form)?;
    disks::formatting(node, &made, bytes, log);
    log.line(format!("allocated target volume '{made}'"));
    if !cloudinit {
        disks::transferred(bytes, log);
    }
    let disk = NewDisk { volume: made.clone(), bytes, source: DiskSource::Copy(volume.to_owned()) };
    node.runtime.make_disks(new, &[disk], log).await.map_err(|error| error.0)?;
    Ok(drive.clone().with(&made, Some(bytes)))
}

/// `POST …/template`: its disks become the bases of others.
pub(super) async fn template(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let stored = super::read::conf_of(call)?;
    check_lock(&stored.conf).map_err(ApiError::die)?;
    if stored.conf.flag("template") {
        return Err(ApiError::die("you can't convert a template to a template"));
    }
    if runs(&node, id).await {
        return Err(ApiError::die("you can't convert a VM to template if VM is running"));
    }
    let only = call.get("disk").map(str::to_owned);
    Ok(call.task("qmtemplate", id, move |_| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        let mut conf = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?.conf.clone();
        // It is a template first, so that nobody starts it meanwhile. A disk that it has not is none (recorded).
        conf.current.options.insert("template".to_owned(), "1".to_owned());
        node.write_guest(id, &conf).map_err(TaskError)?;
        for drive in drive::all(&conf.current.options) {
            let Some(volume) = drive.volume().map(str::to_owned) else { continue };
            let base = volume.replace(&format!("vm-{id}-disk-"), &format!("base-{id}-disk-"));
            if drive.is_cdrom() || base == volume || only.as_ref().is_some_and(|only| *only != drive.key) {
                continue;
            }
            node.runtime.rename_disk(&volume, &base).await?;
            let size = node.change(|keep| {
                let known = keep.volumes.remove(&volume)?;
                let size = known.size;
                keep.volumes.insert(base.clone(), known);
                Some(size)
            });
            conf.current.options.insert(drive.key.clone(), drive.with(&base, size).print());
            node.write_guest(id, &conf).map_err(TaskError)?;
        }
        Ok(())
    }))
}
