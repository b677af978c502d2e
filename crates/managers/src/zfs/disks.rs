//! Whether a disk may be taken for a pool. Pure, and asked twice: by the plan, and by the crew right before (P-15).

use std::collections::BTreeSet;

use plan::inventory::zfs::Zfs;

use super::Wipe;

/// Why a disk is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What allows a disk to be emptied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed<'a> {
    /// Serial numbers that the blueprint says.
    pub serials: &'a BTreeSet<String>,
    /// Disks that the site was about to take when it was cut off.
    pub making: &'a BTreeSet<String>,
}

/// Whether a disk may be taken: as it is, or emptied before.
pub(super) fn judge(zfs: &Zfs, id: &str, allowed: Allowed<'_>) -> Result<Option<Wipe>, Refused> {
    let refused = |code, message: String, hint: String| Err(Refused { code, message, hint });
    let Some(there) = zfs.ids.get(id) else {
        return refused(
            "zfs::no-disk",
            format!("the node has no disk {id}"),
            "what it has, on the node: ls -l /dev/disk/by-id; is it plugged in?".to_owned(),
        );
    };
    let Some(disk) = zfs.disks.get(there) else {
        return refused(
            "zfs::no-disk",
            format!("{id} leads to {there}, which is no disk"),
            "what there is, on the node: lsblk".to_owned(),
        );
    };
    if let Some((pool, imported)) = zfs.pool_of(there) {
        let (what, hint) = match imported {
            true => ("is in", format!("name another disk; or take it out there first: zpool status {pool}")),
            false => (
                "is in a pool that is not imported,",
                format!(
                    "what is on it, on the node: zpool import -N -o readonly=on {pool}; nothing is done to it while that can be imported"
                ),
            ),
        };
        return refused("zfs::disk-used", format!("the disk {id} {what} {pool}"), hint);
    }
    if let Some(busy) = &disk.busy {
        return refused(
            "zfs::disk-used",
            format!("the disk {id} is in use: {busy}"),
            format!("name another disk; what uses it, on the node: lsblk /dev/{there}"),
        );
    }
    if disk.holds.is_empty() {
        return Ok(None);
    }
    let serial = disk.serial.clone().unwrap_or_default();
    let wipe = |left| Ok(Some(Wipe { disk: id.to_owned(), serial: serial.clone(), left }));
    if disk.labels_only && allowed.making.contains(id) {
        return wipe(true);
    }
    let of_pool = |guid: &String| {
        let imported = zfs.pools.iter().find(|(_, pool)| pool.guid == *guid).map(|(name, _)| name);
        imported.or_else(|| zfs.importable.iter().find(|pool| pool.guid == *guid).map(|pool| &pool.name))
    };
    if let Some(pool) = disk.labels.keys().find_map(of_pool) {
        return refused(
            "zfs::disk-used",
            format!("the disk {id} has a label of the pool {pool}, and is not in it"),
            format!(
                "it was in it once. Look at it, on the node: zdb -l /dev/disk/by-id/{id}-part1; where it is needed no more, empty it \
                 yourself: wipefs --all /dev/disk/by-id/{id}-part1 /dev/disk/by-id/{id}"
            ),
        );
    }
    if !serial.is_empty() && allowed.serials.contains(&serial) {
        return wipe(false);
    }
    let holds = disk.holds.join(", ");
    let message = format!("the disk {id} is not empty: {holds}");
    match serial.is_empty() {
        true => refused(
            "zfs::disk-not-empty",
            message,
            format!(
                "it says no serial number, so it cannot be named to be emptied: look at it, on the node (lsblk -f /dev/{there}), and empty it yourself"
            ),
        ),
        false => refused(
            "zfs::disk-not-empty",
            message,
            format!(
                "look at it, on the node: lsblk -f /dev/{there}; where all of it may be destroyed, add its serial number to the pool: \"wipe\": [\"{serial}\"]"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use plan::inventory::zfs::Disk;
    use proptest::prelude::*;

    use super::*;

    const DEGRADED: &str = include_str!("fixtures/degraded.txt");

    fn judged(
        id: &str,
        serials: &[&str],
        making: &[&str],
        change: impl FnOnce(&mut Zfs),
    ) -> Result<Option<Wipe>, &'static str> {
        let mut zfs = crate::zfs::parse(DEGRADED).unwrap().unwrap();
        change(&mut zfs);
        let set = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<String>>();
        let (serials, making) = (set(serials), set(making));
        judge(&zfs, id, Allowed { serials: &serials, making: &making }).map_err(|why| why.code)
    }

    fn label(zfs: &mut Zfs) {
        let disk = zfs.disks.get_mut("sdd").unwrap();
        disk.holds = vec!["zfs_member `old` on sdd1".into()];
        disk.labels_only = true;
    }

    /// P-15: a signature of anything refuses a disk, and the typed serial number is of that very disk.
    #[test]
    fn what_is_not_empty_is_refused_until_its_serial_number_is_typed() {
        let wiped = |left| Ok(Some(Wipe { disk: "ata-ST4000_Z1".into(), serial: "Z1".into(), left }));
        assert_eq!(judged("ata-ST4000_Z1", &[], &[], |_| {}), Ok(None));
        assert_eq!(judged("ata-ST4000_Z1", &[], &[], label), Err("zfs::disk-not-empty"));
        assert_eq!(judged("ata-ST4000_Z1", &["WD-A"], &[], label), Err("zfs::disk-not-empty"));
        assert_eq!(judged("ata-ST4000_Z1", &["Z1"], &[], label), wiped(false));
        assert_eq!(judged("ata-ST4000_Z1", &[], &["ata-ST4000_Z1"], label), wiped(true));
        // What it was about to take and has a file system by now is somebody's.
        let system = |zfs: &mut Zfs| {
            label(zfs);
            zfs.disks.get_mut("sdd").unwrap().labels_only = false;
        };
        assert_eq!(judged("ata-ST4000_Z1", &[], &["ata-ST4000_Z1"], system), Err("zfs::disk-not-empty"));
        // A disk without a serial number cannot be named.
        let nameless = |zfs: &mut Zfs| {
            label(zfs);
            zfs.disks.get_mut("sdd").unwrap().serial = None;
        };
        assert_eq!(judged("ata-ST4000_Z1", &["", "Z1"], &[], nameless), Err("zfs::disk-not-empty"));
    }

    /// What was taken out of a pool that is there is not emptied by a serial number that was typed for another reason.
    #[test]
    fn a_label_of_a_pool_that_is_there_is_not_wiped() {
        let once = |zfs: &mut Zfs| {
            label(zfs);
            zfs.disks.get_mut("sdd").unwrap().labels = [("9183746550912837465".into(), "tank".into())].into();
        };
        assert_eq!(judged("ata-ST4000_Z1", &["Z1"], &[], once), Err("zfs::disk-used"));
        let left = Wipe { disk: "ata-ST4000_Z1".into(), serial: "Z1".into(), left: true };
        assert_eq!(judged("ata-ST4000_Z1", &[], &["ata-ST4000_Z1"], once), Ok(Some(left)));
    }

    #[test]
    fn what_is_used_is_refused_whatever_is_typed() {
        let all = ["Z1", "WD-A", "S4"];
        let making = ["ata-WDC_WD40EFRX_WD-A", "nvme-Samsung_SSD_S4"];
        // In a pool; the system's own; not there; a partition of the system's.
        assert_eq!(judged("ata-WDC_WD40EFRX_WD-A", &all, &making, |_| {}), Err("zfs::disk-used"));
        assert_eq!(judged("wwn-0x50014ee2b0000001", &all, &making, |_| {}), Err("zfs::disk-used"));
        assert_eq!(judged("nvme-Samsung_SSD_S4", &all, &making, |_| {}), Err("zfs::disk-used"));
        assert_eq!(judged("ata-NOBODY", &all, &making, |_| {}), Err("zfs::no-disk"));
        assert_eq!(judged("nvme-Samsung_SSD_S4-part1", &all, &making, |_| {}), Err("zfs::no-disk"));
    }

    proptest! {
        /// Whatever is on a disk: without a word it is taken only empty, and never while it is in use.
        #[test]
        fn only_what_is_empty_is_taken_as_it_is(
            holds in proptest::collection::vec("[a-z0-9 ]{1,9}", 0..3), busy in proptest::option::of("[a-z]{1,5}"),
            labels_only in any::<bool>(), serial in proptest::option::of("[A-Z0-9]{1,4}"), typed in "[A-Z0-9]{0,4}", making in any::<bool>(),
        ) {
            let disk = Disk { holds: holds.clone(), busy: busy.clone(), labels_only, serial: serial.clone(), ..Disk::default() };
            let zfs = Zfs { disks: [("sdb".to_owned(), disk)].into(), ids: [("ata-X".to_owned(), "sdb".to_owned())].into(), ..Zfs::default() };
            let (serials, own) = ([typed.clone()].into(), if making { ["ata-X".to_owned()].into() } else { BTreeSet::new() });
            match judge(&zfs, "ata-X", Allowed { serials: &serials, making: &own }) {
                Ok(None) => prop_assert!(holds.is_empty() && busy.is_none()),
                Ok(Some(wipe)) => {
                    prop_assert!(busy.is_none() && !holds.is_empty());
                    let allowed = if wipe.left { making && labels_only } else { serial == Some(typed) };
                    prop_assert!(allowed);
                }
                Err(_) => prop_assert!(busy.is_some() || !holds.is_empty()),
            }
        }
    }
}
