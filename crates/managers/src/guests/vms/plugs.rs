//! What of a virtual machine is changed while it runs: what is plugged in and out, and what its process is told. Facts about
//! it: qemu-server (`PVE/QemuServer.pm`, `vmconfig_hotplug_pending`), and what a real node of Proxmox VE 9.2 left waiting.

use std::collections::BTreeMap;

use proxmox::property::PropertyString;
use proxmox::property::machine::DISK;

use crate::keys::AtOnce;

/// What is in force.
type Config = BTreeMap<String, String>;

/// What blueprints may say of a disk beside its size and storage.
pub(super) const DISK_PARTS: [&str; 17] = [
    "aio",
    "backup",
    "cache",
    "discard",
    "iops_rd",
    "iops_rd_max",
    "iops_wr",
    "iops_wr_max",
    "iothread",
    "mbps_rd",
    "mbps_rd_max",
    "mbps_wr",
    "mbps_wr_max",
    "replicate",
    "ro",
    "serial",
    "ssd",
];

/// Those of them that a running machine takes over (KEYS-QEMU, "scsi0"; qemu-server, `vmconfig_update_disk`).
const DISK_AT_ONCE: [&str; 11] = [
    "backup",
    "iops_rd",
    "iops_rd_max",
    "iops_wr",
    "iops_wr_max",
    "mbps_rd",
    "mbps_rd_max",
    "mbps_wr",
    "mbps_wr_max",
    "replicate",
    "serial",
];

/// Disks on a bus that can do that.
pub(super) const PLUGGED: Option<(AtOnce, &str)> =
    Some((plugs_disk, "where it is new, goes, or only its limits, `backup`, `replicate` or `serial` change"));
/// Disks on the others.
pub(super) const TAKEN_OVER: Option<(AtOnce, &str)> =
    Some((takes_over, "where only its limits, `backup`, `replicate` or `serial` change"));
/// When USB devices are plugged in and out, for the book.
pub(super) const PLUGS_USB: &str = "with `usb` in `hotplug`, which is the default";

/// Whether something is plugged in and out while the machine runs (qemu-server, `parse_hotplug_features`).
pub(super) fn plugs(now: &Config, what: &str) -> bool {
    match now.get("hotplug").map_or("1", String::as_str) {
        "0" => false,
        "1" => what != "memory" && what != "cpu",
        all => all.split(',').any(|one| one == what),
    }
}

/// Whether USB devices are.
pub(super) fn plugs_usb(now: &Config, _: Option<&str>, _: Option<&str>) -> bool {
    plugs(now, "usb")
}

/// KEYS-QEMU, "hotplug": with memory or processors in it, it waits for a restart.
pub(super) fn plugs_the_same(now: &Config, _: Option<&str>, new: Option<&str>) -> bool {
    let then: Config = new.map(|new| ("hotplug".to_owned(), new.to_owned())).into_iter().collect();
    ["memory", "cpu"].iter().all(|what| plugs(now, what) == plugs(&then, what))
}

/// Whether it has a balloon before and after (qemu-server, `vmconfig_hotplug_pending`).
pub(super) fn balloons(_: &Config, old: Option<&str>, new: Option<&str>) -> bool {
    old != Some("0") && new.is_some_and(|new| new != "0")
}

fn plugs_disk(now: &Config, old: Option<&str>, new: Option<&str>) -> bool {
    if new.is_some() && old.is_some() { takes_over(now, old, new) } else { plugs(now, "disk") }
}

fn takes_over(now: &Config, old: Option<&str>, new: Option<&str>) -> bool {
    let parts = |text: Option<&str>| text?.parse::<PropertyString>().ok();
    let (Some(old), Some(new)) = (parts(old), parts(new)) else { return false };
    let value = |of: &PropertyString, name: &str| DISK.normal(name, DISK.get(of, name));
    let differs = |name: &&str| value(&old, name) != value(&new, name);
    plugs(now, "disk")
        && DISK_PARTS.iter().filter(|name| differs(name)).all(|name| DISK_AT_ONCE.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_while_it_runs() {
        let with = |hotplug: &str| Config::from([("hotplug".to_owned(), hotplug.to_owned())]);
        let none = Config::new();
        assert!(plugs(&none, "usb") && !plugs(&none, "cpu") && !plugs(&with("0"), "disk"));
        assert!(plugs(&with("disk,cpu"), "cpu") && !plugs(&with("disk,cpu"), "network"));
        // T-16: limits are taken over, a cache waits.
        let disk = |options: &str| format!("tank:vm-1-disk-0,size=8G{options}");
        let over = |old: &str, new: &str| takes_over(&none, Some(&disk(old)), Some(&disk(new)));
        assert!(over("", ",mbps_rd=10,backup=0") && !over("", ",cache=unsafe") && over("", ",backup=1"));
        assert!(!takes_over(&with("network"), Some(&disk("")), Some(&disk(",serial=a"))));
        assert!(plugs_disk(&none, None, Some("tank:8")) && plugs_disk(&none, Some("tank:a"), None));
        // KEYS-QEMU, "balloon": from none and to none it waits.
        assert!(balloons(&none, None, Some("256")) && !balloons(&none, Some("0"), Some("64")));
        assert!(!balloons(&none, Some("64"), Some("0")) && !balloons(&none, Some("64"), None));
        assert!(
            plugs_the_same(&none, None, Some("network")) && !plugs_the_same(&none, None, Some("disk,cpu"))
        );
    }
}
