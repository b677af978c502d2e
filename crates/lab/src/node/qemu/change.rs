//! Changing a virtual machine: `PUT …/config`, which waits, and `POST …/config`, which is a task.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use proxmox::config::GuestKind;

use super::apply::{self, Problems};
use super::disks;
use super::drive::{self, Drive};
use super::options::{HIDDEN, check_boot, check_privileges, check_snippet, fits, given, key_of, normal};
use crate::node::Inner;
use crate::node::error::{Answer, ApiError, Outcome};
use crate::node::etc::GuestConf;
use crate::node::formats::list;
use crate::node::guest_change::{check_protection, ids, is_unused};
use crate::node::router::Call;
use crate::runtime::{TaskError, TaskLog};

/// What is said of a stale digest (PVE::Tools, `assert_if_modified`; of a VM other words than of a container).
pub(super) const STALE: &str = "checksum mismatch (file change by other user?)";

/// What is asked for.
#[derive(Debug, Clone, Default)]
struct Wishes {
    set: BTreeMap<String, String>,
    delete: Vec<String>,
    revert: Vec<String>,
    /// Disks that are removed are destroyed.
    force: bool,
}

impl Wishes {
    /// As a task tells them: `-cores 2 -delete scsi1`.
    fn told(&self) -> String {
        let mut out = String::new();
        if !self.delete.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(out, " -delete {}", self.delete.join(","));
        }
        if !self.revert.is_empty() {
            let _ = write!(out, " -revert {}", self.revert.join(","));
        }
        for (key, value) in &self.set {
            let _ = write!(out, " -{key} {}", if key == "cipassword" { HIDDEN } else { value });
        }
        out
    }
}

/// PVE::QemuConfig's `check_lock`.
pub(super) fn check_lock(conf: &GuestConf) -> Result<(), String> {
    match conf.get("lock") {
        Some(lock) => Err(format!("VM is locked ({lock})")),
        None => Ok(()),
    }
}

/// Only root may go past a lock.
pub(super) fn skips_lock(call: &Call<'_>) -> Result<bool, ApiError> {
    let asked = call.flag("skiplock");
    if asked && !call.auth.is_root() {
        return Err(ApiError::parameter("skiplock", "Only root may use this option."));
    }
    Ok(asked)
}

/// `PUT …/config`, or as a task `POST …/config`.
pub(super) async fn update(call: &Call<'_>, background: bool) -> Outcome {
    let own = [
        "vmid",
        "node",
        "digest",
        "delete",
        "revert",
        "force",
        "skiplock",
        "background_delay",
        "import-working-storage",
        // An old name of what `cores` and `sockets` say; it is taken and means nothing (recorded: "smp=2").
        "smp",
    ];
    let set = call.params.iter().filter(|(key, _)| !own.contains(&key.as_str()));
    let wishes = Wishes {
        set: set.map(|(key, value)| given(key, value)).collect(),
        delete: ids(call, GuestKind::Vm, "delete")?.iter().map(|key| key_of(key).to_owned()).collect(),
        revert: ids(call, GuestKind::Vm, "revert")?,
        force: call.flag("force"),
    };
    change(call, wishes, background).await
}

/// `PUT …/unlink`: removes disks from the configuration, with `force` also what is on them.
pub(super) async fn unlink(call: &Call<'_>) -> Outcome {
    let delete: Vec<String> = list(call.text("idlist")).map(str::to_owned).collect();
    if let Some(unknown) = delete.iter().find(|key| !drive::is_key(key) && !is_unused(key)) {
        return Err(ApiError::parameter("idlist", format!("unknown option '{unknown}'")));
    }
    change(call, Wishes { delete, force: call.flag("force"), ..Wishes::default() }, false).await
}

async fn change(call: &Call<'_>, wishes: Wishes, background: bool) -> Outcome {
    let node = call.node;
    let id = call.vmid();
    let skip = skips_lock(call)?;
    if let Some(both) = wishes.delete.iter().find(|key| wishes.set.contains_key(*key)) {
        let text = format!("you can't use '-{both}' and -delete {both}' at the same time");
        return Err(ApiError::parameter("delete", text));
    }
    if let Some(script) = wishes.set.get("hookscript") {
        check_snippet(node, "hookscript", script)?;
    }
    let held = node.flock_vm(id).await.map_err(ApiError::die)?;
    let stored = node.guest_of(GuestKind::Vm, id).map_err(ApiError::die)?;
    if call.get("digest").is_some_and(|given| given != stored.digest) {
        return Err(ApiError::die(STALE));
    }
    check_privileges(call, id, None, Some(&stored.conf), &wishes.set, &wishes.delete)?;
    if !skip {
        check_lock(&stored.conf).map_err(ApiError::die)?;
    }
    for (key, value) in wishes.set.iter().filter(|(key, _)| drive::is_key(key)) {
        let drive = Drive::parse(key, value)
            .ok_or_else(|| ApiError::die(format!("unable to parse drive options for '{key}'")))?;
        disks::check(call, &drive, false)?;
    }
    if !background {
        let problems = carry_out(node, id, &wishes, &TaskLog::default()).await.map_err(ApiError::die)?;
        drop(held);
        return refused(problems).map_or(Ok(Answer::null()), |errors| Err(ApiError::parameters(errors)));
    }
    let node = node.clone();
    Ok(call.task("qmconfig", id, move |log| async move {
        let _held = held;
        log.line(format!("update VM {id}:{}", wishes.told()));
        let problems = carry_out(&node, id, &wishes, &log).await.map_err(TaskError)?;
        match refused(problems) {
            Some(errors) => {
                let text = errors.iter().map(|(key, error)| format!("{key}: {}", error.trim_end()));
                Err(TaskError(format!(
                    "400 Parameter verification failed.\n{}",
                    text.collect::<Vec<_>>().join("\n")
                )))
            }
            None => Ok(()),
        }
    }))
}

/// How a running machine's refusals are told.
fn refused(problems: Problems) -> Option<BTreeMap<String, String>> {
    let told = |(key, text): (String, String)| (key, format!("hotplug problem - {text}\n"));
    (!problems.is_empty()).then(|| problems.into_iter().map(told).collect())
}

/// Writes the wishes into the pending section, and from there what can be so at once into the current one.
async fn carry_out(node: &Arc<Inner>, id: u32, wishes: &Wishes, log: &TaskLog) -> Result<Problems, String> {
    let conf = queue(node, id, wishes, log).await?;
    // What a running machine refuses is written all the same (recorded: "net0: unknown bridge", after the error).
    node.write_guest(id, &conf)?;
    let running = node.runtime.running().await.contains(&id);
    let changed: BTreeSet<String> = wishes.set.keys().chain(&wishes.delete).cloned().collect();
    apply::apply(node, id, conf, running.then_some(&changed)).await
}

async fn queue(node: &Arc<Inner>, id: u32, wishes: &Wishes, log: &TaskLog) -> Result<GuestConf, String> {
    let mut conf = node.guest_of(GuestKind::Vm, id)?.conf.clone();
    for key in &wishes.revert {
        conf.pending.options.remove(key);
        conf.pending_delete.remove(key);
        conf.pending_delete.remove(&format!("!{key}"));
    }
    for key in &wishes.delete {
        if drive::is_key(key) && conf.get(key).is_some() {
            check_protection(&conf, &format!("can't remove drive '{key}'"))?;
        }
        // Recorded: "delete unused0 that a snapshot holds".
        if let Some(volume) = conf.get(key).filter(|volume| is_unused(key) && conf.is_in_snapshot(volume)) {
            return Err(format!("unable to delete '{volume}' - volume is still in use (snapshot?)"));
        }
        // Of a machine, what only waits is gone (recorded: "acpi=0, delete").
        forget(node, id, &mut conf, key);
        if conf.get(key).is_some() {
            conf.pending_delete.insert(if wishes.force { format!("!{key}") } else { key.clone() });
        }
    }
    let mut wanted = conf.current.options.clone();
    for key in &conf.pending_delete {
        wanted.remove(key.trim_start_matches('!'));
    }
    wanted.extend(conf.pending.options.clone());
    wanted.extend(wishes.set.clone());
    if ["memory", "balloon"].iter().any(|key| wishes.set.contains_key(*key)) {
        fits(&wanted)?;
    }
    if let Some(boot) = wishes.set.get("boot") {
        check_boot(boot, &wanted)?;
    }
    let (drives, others): (Vec<_>, Vec<_>) = wishes.set.iter().partition(|(key, _)| drive::is_key(key));
    // What cannot be written so is refused before a disk is made.
    let others: Vec<(&String, String)> = others
        .into_iter()
        .map(|(key, value)| normal(node, key, value).map(|value| (key, value)))
        .collect::<Result<_, String>>()?;
    let mut asked: Vec<Drive> = drives.iter().filter_map(|(key, value)| Drive::parse(key, value)).collect();
    asked.sort_by_key(|drive| drive::rank(&drive.key));
    for drive in asked.iter().filter(|drive| drive.is_cloudinit()) {
        let all = drive::all(&conf.current.options);
        if let Some(other) = all.iter().find(|known| known.is_cloudinit() && known.key != drive.key) {
            return Err(format!("{} - cloud-init drive is already attached at '{}'", drive.key, other.key));
        }
    }
    let mut made = BTreeMap::new();
    disks::create(node, id, &asked, &mut made, log).await?;
    // A CD drive that is new is one to start from, after the others.
    let new_cds = asked
        .iter()
        .filter(|drive| drive.is_cdrom() && !drive.is_cloudinit() && conf.get(&drive.key).is_none());
    let mut order = drive::boot_order(&wanted_boot(&conf));
    let before = order.len();
    order.extend(new_cds.map(|drive| drive.key.clone()).filter(|key| !wanted_names(&conf, key)));
    let boot = (order.len() > before && !wishes.set.contains_key("boot"))
        .then(|| format!("order={}", order.join(";")));
    let boot = boot.map(|boot| ("boot".to_owned(), boot));
    let others = others.into_iter().map(|(key, value)| (key.clone(), value));
    for (key, value) in made.into_iter().chain(others).chain(boot) {
        forget(node, id, &mut conf, &key);
        conf.pending_delete.remove(&key);
        conf.pending_delete.remove(&format!("!{key}"));
        // An empty description is none.
        if key == "description" && value.is_empty() {
            conf.pending_delete.insert(key);
        } else {
            conf.pending.options.insert(key, value);
        }
    }
    let GuestConf { current, pending, pending_delete, .. } = &mut conf;
    pending.options.retain(|key, value| current.options.get(key) != Some(value));
    pending_delete.retain(|key| current.options.contains_key(key.trim_start_matches('!')));
    Ok(conf)
}

/// The configuration by which it is decided what it starts from.
fn wanted_boot(conf: &GuestConf) -> BTreeMap<String, String> {
    let mut options = conf.current.options.clone();
    if let Some(boot) = conf.pending.get("boot") {
        options.insert("boot".to_owned(), boot.to_owned());
    }
    options
}

fn wanted_names(conf: &GuestConf, key: &str) -> bool {
    drive::boot_order(&wanted_boot(conf)).iter().any(|device| device == key)
}

/// Takes back what waits for a key. A disk that was made for it is kept as unused.
fn forget(node: &Inner, id: u32, conf: &mut GuestConf, key: &str) {
    let Some(value) = conf.pending.options.remove(key) else { return };
    if let Some(drive) = Drive::parse(key, &value).filter(|_| drive::is_key(key)) {
        // A cloud-init drive's volume is written over when the next one is made.
        disks::retire(node, id, conf, &drive, &mut Vec::new());
    }
}
