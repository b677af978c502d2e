//! Starting, stopping, pausing and destroying virtual machines.

use std::sync::Arc;
use std::time::Duration;

use proxmox::config::GuestKind;

use super::change::{check_lock, skips_lock};
use super::drive::{self, Source};
use super::formats::is_numbered;
use super::read::conf_of;
use super::{apply, disks};
use crate::node::Inner;
use crate::node::error::{ApiError, Outcome};
use crate::node::etc::GuestConf;
use crate::node::formats::list;
use crate::node::guest_change::{check_protection, is_net};
use crate::node::mappings;
use crate::node::router::Call;
use crate::node::schema::Property;
use crate::runtime::{Power, TaskError, TaskLog};

/// How long a shutdown waits where it is not told (PVE::QemuServer, `vm_stop`).
const SHUTDOWN_WAIT: u64 = 60;

pub(super) async fn runs(node: &Inner, id: u32) -> bool {
    node.runtime.running().await.contains(&id)
}

pub(super) async fn start(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let skip = skips_lock(call)?;
    Ok(call.task("qmstart", id, move |log| async move {
        let stored = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?;
        if stored.conf.flag("template") {
            return Err(TaskError("you can't start a vm if it's a template".to_owned()));
        }
        if !skip {
            check_lock(&stored.conf).map_err(TaskError)?;
        }
        bring_up(&node, id, &log).await.map_err(TaskError)
    }))
}

/// Applies what waits for a start, checks what the machine needs, and starts it.
pub(super) async fn bring_up(node: &Arc<Inner>, id: u32, log: &TaskLog) -> Result<(), String> {
    let _held = node.flock_vm(id).await?;
    if runs(node, id).await {
        return Err(format!("VM {id} already running"));
    }
    let stored = node.guest_of(GuestKind::Vm, id)?;
    if stored.conf.has_pending() {
        apply::apply_all(node, id, stored.conf.clone()).await?;
    }
    let mut conf = node.guest_of(GuestKind::Vm, id)?.conf.clone();
    check(node, &conf, log)?;
    // The drive that cloud-init reads is written anew.
    if std::mem::take(&mut conf.cloudinit) != Default::default() {
        node.write_guest(id, &conf)?;
    }
    node.runtime.boot(id, &conf.current.options, log).await.map_err(|error| error.0)
}

/// What a start needs, in the order in which a real one misses it.
fn check(node: &Inner, conf: &GuestConf, log: &TaskLog) -> Result<(), String> {
    let options = &conf.current.options;
    let drives = drive::all(options);
    if let Some(custom) = options.get("cicustom") {
        let files = Property::parse("vmcicustom", "cicustom", custom)?;
        for volume in files.0.values() {
            let state = node.state();
            let found =
                volume.split_once(':').and_then(|(on, name)| state.keep.storages.get(on)?.image(name));
            found.ok_or_else(|| format!("volume '{volume}' does not exist"))?;
        }
    }
    if drives.iter().any(drive::Drive::is_cloudinit) {
        log.line("generating cloud-init ISO");
    }
    for drive in &drives {
        let Source::Volume(storage) = drive.source() else { continue };
        let state = node.state();
        let name = drive.file.split_once(':').map_or("", |(_, name)| name);
        let image = || state.keep.storages.get(storage).and_then(|on| on.image(name));
        if !state.keep.volumes.contains_key(&drive.file) && image().is_none() {
            return Err(format!("volume '{}' does not exist", drive.file));
        }
    }
    let processors = conf.number("cores").unwrap_or(1) * conf.number("sockets").unwrap_or(1);
    if processors > u64::from(node.hardware.cpus) {
        return Err(format!("MAX {} vcpus allowed per VM on this node", node.hardware.cpus));
    }
    let hotplug = options.get("hotplug").map_or("", String::as_str);
    if list(hotplug).any(|feature| feature == "memory") && !conf.flag("numa") {
        return Err("NUMA needs to be enabled for memory hotplug".to_owned());
    }
    for (key, value) in options {
        let (format, kind) = match key {
            key if is_numbered(key, "hostpci") => ("vmhostpci", "pci"),
            key if is_numbered(key, "usb") => ("vmusb", "usb"),
            key if is_numbered(key, "virtiofs") => ("vmvirtiofs", "dir"),
            _ => continue,
        };
        mappings::can_start(node, key, kind, &Property::parse(format, key, value)?)?;
    }
    for (key, value) in options.iter().filter(|(key, _)| is_net(key)) {
        let net = Property::parse("vmnet", key, value)?;
        let missing = net.get("bridge").filter(|bridge| !node.has_bridge(bridge));
        if let Some(bridge) = missing {
            return Err(format!("bridge '{bridge}' does not exist"));
        }
    }
    Ok(())
}

/// `…/status/stop`. A machine that does not run is stopped already.
pub(super) async fn stop(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let skip = skips_lock(call)?;
    Ok(call.task("qmstop", id, move |_| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        let stored = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?;
        if !skip {
            check_lock(&stored.conf).map_err(TaskError)?;
        }
        if !runs(&node, id).await {
            return Ok(());
        }
        node.runtime.power(id, Power::Stop).await?;
        stopped(&node, id).await
    }))
}

/// What waited for the machine to stop is so now (recorded: "pending after stop").
async fn stopped(node: &Arc<Inner>, id: u32) -> Result<(), TaskError> {
    let stored = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?;
    if stored.conf.has_pending() {
        apply::apply_all(node, id, stored.conf.clone()).await.map_err(TaskError)?;
    }
    Ok(())
}

/// How a shutdown that did not come about is told.
fn not_down(error: &TaskError) -> TaskError {
    TaskError(format!("VM quit/powerdown failed{}", if error.0.is_empty() { "" } else { " - got timeout" }))
}

pub(super) async fn shutdown(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let skip = skips_lock(call)?;
    let stored = conf_of(call)?;
    let limit = Duration::from_secs(call.number("timeout").unwrap_or(SHUTDOWN_WAIT));
    let force = call.flag("forceStop");
    let paused = runs(&node, id).await && node.runtime.is_paused(id).await;
    if paused && !force {
        return Err(ApiError::die("VM is paused - cannot shutdown"));
    }
    let has_agent = super::agent::is_configured(&stored.conf);
    Ok(call.task("qmshutdown", id, move |log| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        let stored = node.guest_of(GuestKind::Vm, id).map_err(TaskError)?;
        if !skip {
            check_lock(&stored.conf).map_err(TaskError)?;
        }
        if !runs(&node, id).await {
            return Ok(());
        }
        match node.runtime.power_down(id, limit).await {
            Err(_) if force => {
                log.line("VM still running - terminating now with SIGTERM");
                node.runtime.power(id, Power::Stop).await?;
                stopped(&node, id).await
            }
            // With an agent it is asked by the agent, whose failure has no reason (recorded).
            Err(_) if has_agent => Err(not_down(&TaskError(String::new()))),
            Err(error) => Err(not_down(&error)),
            Ok(()) => stopped(&node, id).await,
        }
    }))
}

pub(super) async fn reboot(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    conf_of(call)?;
    if !runs(&node, id).await {
        return Err(ApiError::die(format!("VM {id} not running")));
    }
    let limit = Duration::from_secs(call.number("timeout").unwrap_or(SHUTDOWN_WAIT));
    Ok(call.task("qmreboot", id, move |log| async move {
        {
            let _held = node.flock_vm(id).await.map_err(TaskError)?;
            check_lock(&node.guest_of(GuestKind::Vm, id).map_err(TaskError)?.conf).map_err(TaskError)?;
            node.runtime.power_down(id, limit).await.map_err(|error| not_down(&error))?;
        }
        bring_up(&node, id, &log).await.map_err(TaskError)
    }))
}

/// What is done to a running machine in an instant: resetting, pausing, going on.
pub(super) async fn switch(call: &Call<'_>, what: Power) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let skip = skips_lock(call)?;
    conf_of(call)?;
    if !runs(&node, id).await {
        return Err(ApiError::die(format!("VM {id} not running")));
    }
    let kind = match what {
        Power::Reset => "qmreset",
        Power::Suspend => "qmpause",
        Power::Resume => "qmresume",
        Power::Stop => "qmstop",
    };
    Ok(call.task(kind, id, move |_| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        if !skip {
            check_lock(&node.guest_of(GuestKind::Vm, id).map_err(TaskError)?.conf).map_err(TaskError)?;
        }
        node.runtime.power(id, what).await
    }))
}

/// Whether a linked clone needs the volume.
fn is_base_of(node: &Inner, volume: &str) -> bool {
    let below = format!("{volume}/");
    node.state()
        .keep
        .volumes
        .range(below.clone()..)
        .next()
        .is_some_and(|(known, _)| known.starts_with(&below))
}

pub(super) async fn destroy(call: &Call<'_>) -> Outcome {
    let id = call.vmid();
    let node = call.node.clone();
    let skip = skips_lock(call)?;
    let (purge, unreferenced) = (call.flag("purge"), call.flag("destroy-unreferenced-disks"));
    let early = move |node: &Inner| {
        let stored = node.guest_of(GuestKind::Vm, id)?;
        check_protection(&stored.conf, &format!("can't remove VM {id}"))?;
        if skip { Ok(stored) } else { check_lock(&stored.conf).map(|()| stored) }
    };
    early(&node).map_err(ApiError::die)?;
    let running = format!("VM {id} is running - destroy failed");
    if runs(&node, id).await {
        return Err(ApiError::die(running));
    }
    Ok(call.task("qmdestroy", id, move |log| async move {
        let _held = node.flock_vm(id).await.map_err(TaskError)?;
        let stored = early(&node).map_err(TaskError)?;
        if runs(&node, id).await {
            return Err(TaskError(running));
        }
        let options = stored.conf.current.options.iter().chain(&stored.conf.pending.options);
        let named: Vec<String> =
            options.filter_map(|(key, value)| Some(disks::volume(key, value)?.0)).collect();
        if let Some(used) = named.iter().find(|volume| is_base_of(&node, volume)) {
            return Err(TaskError(format!("base volume '{used}' is still in use by linked cloned")));
        }
        let own: Vec<String> = {
            let state = node.state();
            let own = state.keep.volumes.iter().filter(|(_, volume)| volume.guest == id);
            // A volume of another machine stays, whoever names it.
            own.filter(|(volume, _)| unreferenced || named.contains(volume))
                .map(|(volume, _)| volume.clone())
                .collect()
        };
        disks::free(&node, id, &own).await?;
        node.runtime.forget(id).await?;
        node.change(|keep| {
            keep.leave_pools(id);
            keep.access.rules.remove(&format!("/vms/{id}"));
        });
        if purge {
            log.line(format!("purging VM {id} from related configurations.."));
        }
        node.state().etc.remove(id).map_err(|error| TaskError(error.to_string()))
    }))
}
