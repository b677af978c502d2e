//! Bringing a virtual machine from what is so to what is wanted: at once, while it runs, or with the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::disks::{self, retire};
use super::drive::{self, Drive};
use super::formats::is_numbered;
use super::options::is_cloudinit;
use super::read::memory;
use crate::node::Inner;
use crate::node::etc::GuestConf;
use crate::node::formats::list;
use crate::node::guest_change::{is_net, is_unused};
use crate::node::mappings;
use crate::node::schema::Property;
use crate::runtime::TaskError;

/// Options that are of no concern to the machine's process (PVE::QemuServer, `$fast_plug_option`; recorded).
const AT_ONCE: [&str; 14] = [
    "cpulimit",
    "cpuunits",
    "description",
    "hookscript",
    "lock",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "protection",
    "shares",
    "startup",
    "tags",
    "vmstatestorage",
];

/// Options of a disk that a running machine takes over; another that changes waits (recorded: "scsi0 (existing): …").
const DISK_AT_ONCE: [&str; 10] = [
    "backup",
    "detect_zeroes",
    "replicate",
    "rerror",
    "serial",
    "shared",
    "size",
    "snapshot",
    "werror",
    "wwn",
];

/// What may be changed while it runs.
fn features(conf: &GuestConf) -> Vec<&str> {
    match conf.get("hotplug") {
        None | Some("1") => vec!["network", "disk", "usb"],
        Some("0") => Vec::new(),
        Some(text) => list(text).collect(),
    }
}

/// What becomes of one key of a running machine.
enum Now {
    /// It is so from now on; the machine is told where `plug` says so.
    Done { plug: bool },
    /// It waits for the next start.
    Later,
}

/// Why the machine did not take it.
struct Refused(String);

/// Decides about one key. `old` and `new` are what is so and what is wanted.
fn decide(
    node: &Inner,
    conf: &GuestConf,
    key: &str,
    old: Option<&str>,
    new: Option<&str>,
) -> Result<Now, Refused> {
    let features = features(conf);
    let can = |feature: &str| features.contains(&feature);
    let plug = |feature: &str| if can(feature) { Now::Done { plug: true } } else { Now::Later };
    let told = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Ok(match key {
        key if AT_ONCE.contains(&key) || is_cloudinit(key) => Now::Done { plug: false },
        key if is_unused(key) && new.is_none() => Now::Done { plug: false },
        "hotplug" => {
            let has = |text: &str, feature: &str| list(text).any(|one| one == feature);
            let (old, new) = (told(old), told(new));
            let same = ["memory", "cpu"].iter().all(|feature| has(&old, feature) == has(&new, feature));
            if same { Now::Done { plug: false } } else { Now::Later }
        }
        "tablet" => plug("usb"),
        key if is_numbered(key, "usb") => {
            if let Some(usb) = new.and_then(|new| Property::parse("vmusb", key, new).ok()) {
                mappings::can_start(node, key, "usb", &usb).map_err(Refused)?;
            }
            plug("usb")
        }
        key if is_net(key) => {
            let bridge =
                new.and_then(|new| Property::parse("vmnet", key, new).ok()?.get("bridge").map(str::to_owned));
            match bridge.filter(|bridge| can("network") && !node.has_bridge(bridge)) {
                Some(bridge) => return Err(Refused(format!("interface {bridge} does not exist"))),
                None => plug("network"),
            }
        }
        "memory" => {
            let wanted = new.map_or(super::read::DEFAULT_MEMORY, |new| {
                new.trim_start_matches("current=").parse().unwrap_or_default()
            });
            if !can("memory") || !conf.flag("numa") {
                return Ok(Now::Later);
            }
            if wanted < 1024 {
                return Err(Refused(
                    "memory can't be lower than 1024 MB at /usr/share/perl5/PVE/QemuServer/Memory.pm line 219."
                        .to_owned(),
                ));
            }
            if wanted < memory(conf) {
                return Err(Refused("400 dimm1: error unplug memory module".to_owned()));
            }
            Now::Done { plug: true }
        }
        "vcpus" => {
            if !can("cpu") {
                return Ok(Now::Later);
            }
            let most = conf.number("cores").unwrap_or(1) * conf.number("sockets").unwrap_or(1);
            let now = old.and_then(|old| old.parse().ok()).unwrap_or(most);
            let wanted = new.and_then(|new| new.parse().ok()).unwrap_or(most);
            if wanted > most {
                return Err(Refused("you can't add more vcpus than maxcpus".to_owned()));
            }
            if wanted < now {
                return Err(Refused(format!("400 vcpus: error unplugging cpu{now}")));
            }
            Now::Done { plug: true }
        }
        // Having one, or having none any more, takes a start (recorded: "balloon=0", "delete").
        "balloon" if old != Some("0") && new.is_some_and(|new| new != "0") => Now::Done { plug: true },
        key if drive::is_key(key) => return drive_now(conf, key, old, new, can("disk")),
        _ => Now::Later,
    })
}

/// The same for a drive.
fn drive_now(
    conf: &GuestConf,
    key: &str,
    old: Option<&str>,
    new: Option<&str>,
    can: bool,
) -> Result<Now, Refused> {
    let (before, after) =
        (old.and_then(|old| Drive::parse(key, old)), new.and_then(|new| Drive::parse(key, new)));
    let plugs = is_numbered(key, "scsi") || is_numbered(key, "virtio");
    Ok(match (before, after) {
        // Another CD in a drive that there is.
        (Some(before), Some(after)) if before.is_cdrom() && after.is_cdrom() => Now::Done { plug: true },
        (Some(before), Some(after)) if before.is_cdrom() != after.is_cdrom() => {
            return Err(Refused("unable to change media type".to_owned()));
        }
        (Some(before), Some(after)) if before.file == after.file => {
            let keys = before.property.0.keys().chain(after.property.0.keys());
            let differ = keys.filter(|key| before.property.0.get(*key) != after.property.0.get(*key));
            let at_once = |key: &String| {
                DISK_AT_ONCE.contains(&key.as_str())
                    || ["iops", "mbps", "bps"].iter().any(|name| key.starts_with(name))
            };
            match can && differ.into_iter().all(at_once) {
                true => Now::Done { plug: true },
                false => Now::Later,
            }
        }
        (Some(_), None) if can && plugs => {
            if drive::boot_order(&conf.current.options).iter().any(|device| device == key) {
                return Err(Refused(format!("can't unplug bootdisk '{key}'")));
            }
            Now::Done { plug: true }
        }
        (_, Some(_)) if can && plugs => Now::Done { plug: true },
        _ => Now::Later,
    })
}

/// What could not be made so in a running machine: by its key, why.
pub(super) type Problems = BTreeMap<String, String>;

/// Moves what waits into the current section, and writes the file. The machine does not run.
pub(super) async fn apply_all(node: &Arc<Inner>, id: u32, conf: GuestConf) -> Result<(), String> {
    apply(node, id, conf, None).await.map(drop)
}

/// Moves what can be from the pending section into the current one, has it carried out, and writes the file. With `changed`
/// the machine runs, and only those keys are tried; what it refuses stays pending.
pub(super) async fn apply(
    node: &Arc<Inner>,
    id: u32,
    mut conf: GuestConf,
    changed: Option<&BTreeSet<String>>,
) -> Result<Problems, String> {
    let mut problems = Problems::new();
    let mut freed = Vec::new();
    let has_drive = drive::all(&conf.current.options).iter().any(Drive::is_cloudinit);
    let wishes = std::mem::take(&mut conf.pending_delete).into_iter().map(|key| (key, None));
    let values = std::mem::take(&mut conf.pending.options).into_iter().map(|(key, value)| (key, Some(value)));
    let all: Vec<(String, Option<String>)> = wishes.chain(values).collect();
    for (full, new) in all {
        let key = full.trim_start_matches('!');
        let old = conf.get(key).map(str::to_owned);
        if old == new {
            continue;
        }
        if let Some(changed) = changed {
            let decided = match changed.contains(key) {
                true => decide(node, &conf, key, old.as_deref(), new.as_deref()),
                // What was refused, or waits, is not tried again because of something else.
                false => Ok(Now::Later),
            };
            let later = match decided {
                Ok(Now::Later) => true,
                Ok(Now::Done { plug: false }) => false,
                Ok(Now::Done { plug: true }) => {
                    match node.runtime.plug(id, key, old.as_deref(), new.as_deref()).await {
                        Ok(()) => false,
                        Err(TaskError(text)) => {
                            problems.insert(key.to_owned(), text);
                            true
                        }
                    }
                }
                Err(Refused(text)) => {
                    problems.insert(key.to_owned(), text);
                    true
                }
            };
            if later {
                match new {
                    Some(value) => drop(conf.pending.options.insert(full, value)),
                    None => drop(conf.pending_delete.insert(full)),
                }
                continue;
            }
            if has_drive && is_cloudinit(key) {
                remember(&mut conf, key, old.as_deref(), new.as_deref());
            }
        }
        let before = old.as_deref().filter(|_| drive::is_key(key)).and_then(|old| Drive::parse(key, old));
        match &new {
            Some(value) => {
                conf.current.options.insert(key.to_owned(), value.clone());
                // A volume that is in use again is no longer unused.
                let volume = Drive::parse(key, value).filter(|_| drive::is_key(key)).map(|drive| drive.file);
                conf.current.options.retain(|key, value| !is_unused(key) || Some(&*value) != volume.as_ref());
            }
            None => {
                let gone = conf.current.options.remove(key);
                if is_unused(key)
                    && let Some(volume) = gone.filter(|volume| !disks::names(&conf, volume))
                {
                    freed.push(volume);
                }
            }
        }
        if let Some(before) = before {
            let count = conf.current.options.len();
            retire(node, id, &mut conf, &before, &mut freed);
            // Removed by force: what was on it goes, too.
            if full.starts_with('!') && conf.current.options.len() > count {
                conf.current.options.retain(|key, value| !is_unused(key) || *value != before.file);
                freed.push(before.file);
            }
        }
    }
    disks::free(node, id, &freed).await.map_err(|error| error.0)?;
    node.write_guest(id, &conf)?;
    Ok(problems)
}

/// Keeps what the cloud-init drive was written with, where it is no longer so. Nothing at all is kept as an empty text.
fn remember(conf: &mut GuestConf, key: &str, old: Option<&str>, new: Option<&str>) {
    let kept = &mut conf.cloudinit.options;
    let before = kept.get(key).cloned().unwrap_or_else(|| old.unwrap_or_default().to_owned());
    if before == new.unwrap_or_default() {
        kept.remove(key);
    } else {
        kept.insert(key.to_owned(), before);
    }
}
