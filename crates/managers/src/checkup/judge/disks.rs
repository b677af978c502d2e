//! Disks, file systems, pools.

use super::super::facts::Mount;
use super::super::{Check, Finding, Grade, Group, View};
use super::{few, percent, size, unread};

const IN: Group = Group::Disks;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::root-full",
        "the root file system is nearly full",
        "Where nothing can be written any more, Proxmox VE cannot change a guest, logs stop, and nobody can log in on its web page. \
         Backups and images that were put on `local` are the most frequent cause.",
        root_full,
    ),
    IN.check(
        "host::boot-full",
        "there is no room for another kernel",
        "A new kernel takes about 150 MiB in /boot. Where that is not there, an update stops half-way, and the node may not start \
         any more.",
        boot_full,
    ).of_the_machine(),
    IN.check(
        "host::efi",
        "the EFI partition is not looked after",
        "A machine with UEFI starts from a small partition of its own. Where it is not mounted, and proxmox-boot-tool does not know \
         it, updates do not reach what is started.",
        efi,
    ).of_the_machine(),
    IN.check(
        "host::file-system-full",
        "a file system is nearly full",
        "What is on it can soon write no more.",
        others_full,
    ),
    IN.check(
        "host::files",
        "a file system can hold hardly any more files",
        "A file system of the ext family has room for a number of files that is fixed when it is made. When they are used up, it says \
         that there is no space left, although there is.",
        files,
    ),
    IN.check(
        "host::read-only",
        "a file system cannot be written to",
        "The kernel makes a file system read-only when it finds errors on it, so that they do not become more. Most often the disk \
         below it is dying.",
        read_only,
    ),
    IN.check(
        "host::disk-errors",
        "a disk does not read or write",
        "The kernel could not read from a disk, or write to it. That is a dying disk, a bad cable, or a weak power supply.",
        disk_errors,
    ).of_the_machine(),
    IN.check(
        "host::smart",
        "a disk says that it is dying",
        "Disks look after themselves (SMART) and tell what they lost. Sectors that cannot be read any more are data that cannot be \
         read any more.",
        smart,
    ).of_the_machine(),
    IN.check(
        "host::worn",
        "a disk is worn",
        "Solid-state disks can be written to a limited number of times. Consumer models are worn quickly by what a node writes.",
        worn,
    ).of_the_machine(),
    IN.check(
        "host::thin-pool",
        "a thin pool is nearly full",
        "A thin pool promises guests more than it has. When it is full, every guest on it gets errors when it writes, and file systems \
         in them break.",
        thin,
    ),
    IN.check(
        "host::zfs-pool",
        "a pool of ZFS is not well",
        "A pool with a missing disk still works, and has less, or nothing, left that can be lost. Errors of its disks were mended as \
         long as another copy was there.",
        pool,
    ),
    IN.check(
        "host::zfs-full",
        "a pool of ZFS is nearly full",
        "ZFS never writes over what is there, so it needs room: above 80 % it becomes slow, and when it is full, not even removing files \
         is certain to work.",
        pool_full,
    ),
    IN.check(
        "host::zfs-scrub",
        "a pool of ZFS was not looked through for long",
        "Looking a pool through (scrub) finds what rotted while there is still another copy. Debian does it every month, unless \
         somebody switched it off.",
        scrub,
    ),
    IN.check(
        "host::raid",
        "a disk of a RAID is missing",
        "The software RAID works with the disks that are left. One more that fails takes the data with it.",
        raid,
    ),
];

const BIGGEST: &str = "what takes most of it: du -xh --max-depth=2";

fn filled(mount: &Mount) -> (u64, String) {
    let used = percent(mount.all.saturating_sub(mount.left), mount.all);
    (used, format!("{} is full to {used} %, {} are left", mount.place, size(mount.left)))
}

fn by_fullness(mount: &Mount, hint: &str) -> Finding {
    let (used, seen) = filled(mount);
    match used {
        95.. => Finding::bad(seen, hint),
        85.. => Finding::warn(seen, hint),
        _ => Finding::ok(seen),
    }
}

fn root_full(view: &View<'_>) -> Finding {
    match view.facts.mount("/") {
        None => unread("the root file system"),
        Some(root) => by_fullness(
            root,
            &format!("{BIGGEST} / | sort -h | tail; old kernels and packages: apt autoremove && apt clean"),
        ),
    }
}

fn boot_full(view: &View<'_>) -> Finding {
    const KERNEL: u64 = 200 * 1024;
    match view.facts.mount("/boot").or_else(|| view.facts.mount("/")) {
        None => unread("/boot"),
        Some(boot) if boot.left < KERNEL => Finding::bad(
            format!("{} are left for kernels on {}; one takes about 150 MiB", size(boot.left), boot.place),
            "remove the kernels that are not used: apt autoremove --purge",
        ),
        Some(boot) => Finding::ok(format!("{} are left for kernels", size(boot.left))),
    }
}

fn efi(view: &View<'_>) -> Finding {
    let Some(boot) = &view.facts.boot else { return unread("how it was started") };
    if !boot.efi {
        return Finding::ok("it was not started by UEFI");
    }
    let esp = ["/boot/efi", "/efi", "/boot"]
        .into_iter()
        .filter_map(|place| view.facts.mount(place))
        .find(|mount| mount.kind == "vfat");
    match esp {
        Some(esp) if esp.left < 20 * 1024 => Finding::warn(
            format!("{} are left on the EFI partition at {}", size(esp.left), esp.place),
            format!("{BIGGEST} {} | sort -h | tail", esp.place),
        ),
        Some(esp) => Finding::ok(format!("mounted at {}", esp.place)),
        None if boot.tool => Finding::ok("looked after by proxmox-boot-tool"),
        None => Finding::warn(
            "it was started by UEFI, but its EFI partition is neither mounted nor known to proxmox-boot-tool",
            "which it is: lsblk -o NAME,SIZE,FSTYPE,PARTTYPENAME; what Proxmox VE knows: proxmox-boot-tool status",
        ),
    }
}

fn others_full(view: &View<'_>) -> Finding {
    let others = view.facts.mounts.iter().filter(|it| it.place != "/" && it.kind != "vfat");
    let worst = others.max_by_key(|it| filled(it).0);
    worst.map_or_else(
        || Finding::ok("there is none but the root"),
        |it| by_fullness(it, &format!("{BIGGEST} {} | sort -h | tail", it.place)),
    )
}

fn files(view: &View<'_>) -> Finding {
    let used = |it: &&Mount| percent(it.files.saturating_sub(it.files_left), it.files);
    match view.facts.mounts.iter().filter(|it| it.files > 0).max_by_key(used) {
        None => Finding::ok("no file system limits them"),
        Some(it) if used(&it) >= 90 => Finding::bad(
            format!("{} holds {} % of the files that it can hold", it.place, used(&it)),
            format!(
                "which folders hold most of them: du -x --inodes --max-depth=3 {} | sort -n | tail",
                it.place
            ),
        ),
        Some(it) => Finding::ok(format!("{} % of {}'s at most", used(&it), it.place)),
    }
}

fn read_only(view: &View<'_>) -> Finding {
    // What is read-only by its nature (a CD, an image) is none of these kinds.
    let stuck: Vec<&str> =
        view.facts.mounts.iter().filter(|it| !it.writable).map(|it| it.place.as_str()).collect();
    if stuck.is_empty() {
        return if view.facts.mounts.is_empty() {
            unread("the file systems")
        } else {
            Finding::ok("all can be written to")
        };
    }
    Finding::bad(
        format!("cannot be written to: {}", few(stuck)),
        "why: journalctl -k --grep 'remount|I/O error'. Save what is on it before anything else, then restart and let it be checked",
    )
}

fn disk_errors(view: &View<'_>) -> Finding {
    match view.facts.said.iter().find(|it| it.about == "disk" || it.about == "filesystem") {
        None => Finding::ok("the kernel has seen none since the start"),
        Some(said) => Finding::bad(
            format!("{} since the start, the last: {}", said.times, said.last),
            "which disk it is: lsblk -o NAME,MODEL,SERIAL; what it says: smartctl -a /dev/NAME. Are there backups?",
        ),
    }
}

/// Where disks do not tell anything of themselves: those of a virtual machine.
fn telling(view: &View<'_>) -> Option<Finding> {
    if !view.facts.metal() {
        return Some(Finding::unknown(
            "the node is a virtual machine, whose disks tell nothing of themselves",
        ));
    }
    if view.facts.lacks("smartctl") {
        return Some(Finding::warn(
            "nobody can ask the disks how they are: smartctl is missing",
            "apt install smartmontools",
        ));
    }
    if view.facts.smart.is_empty() {
        return Some(unread("what the disks say of themselves"));
    }
    None
}

fn smart(view: &View<'_>) -> Finding {
    if let Some(finding) = telling(view) {
        return finding;
    }
    let name = |disk: &str| {
        let known = view.facts.disks.iter().find(|it| it.name == disk);
        let serial = known.and_then(|it| it.serial.as_deref()).map(|it| format!(" (serial number {it})"));
        format!("{disk}{}", serial.unwrap_or_default())
    };
    if let Some(it) = view.facts.smart.iter().find(|it| it.health == "failed") {
        return Finding::bad(
            format!("{} says that it will fail soon", name(&it.disk)),
            format!("save what is on it, and replace it; what it says: smartctl -a /dev/{}", it.disk),
        );
    }
    if let Some(it) = view.facts.smart.iter().find(|it| it.errors.is_some_and(|n| n > 0)) {
        return Finding::warn(
            format!(
                "{} has lost {} sectors or had as many errors",
                name(&it.disk),
                it.errors.unwrap_or_default()
            ),
            format!(
                "does it become more? smartctl -A /dev/{0}; let it look: smartctl -t long /dev/{0}",
                it.disk
            ),
        );
    }
    let asleep = view.facts.smart.iter().filter(|it| it.health == "asleep").count();
    Finding::ok(format!("{} disks say that they are well ({asleep} sleep)", view.facts.smart.len()))
}

fn worn(view: &View<'_>) -> Finding {
    if let Some(finding) = telling(view) {
        // Said once, by the check before.
        return if finding.grade == Grade::Warn { Finding::unknown(finding.seen) } else { finding };
    }
    let worst = view.facts.smart.iter().filter_map(|it| Some((it.worn?, &it.disk))).max();
    match worst {
        None => Finding::ok("no disk says that it wears"),
        Some((worn @ 80.., disk)) => Finding::warn(
            format!("{worn} % of the life of {disk} are used"),
            format!("have another one ready; what it says: smartctl -A /dev/{disk}"),
        ),
        Some((worn, disk)) => Finding::ok(format!("{worn} % at most, of {disk}")),
    }
}

fn thin(view: &View<'_>) -> Finding {
    let Some(pool) = view.facts.thin.iter().max_by_key(|it| it.data.max(it.metadata)) else {
        return Finding::ok("there is none");
    };
    let most = pool.data.max(pool.metadata);
    let seen =
        format!("{} is full to {} %, what it keeps about it to {} %", pool.name, pool.data, pool.metadata);
    let more = if pool.metadata >= pool.data {
        format!("lvextend --poolmetadatasize +1G {}", pool.name)
    } else {
        format!(
            "remove old snapshots and unused disks, let guests give back (pct fstrim ID), or: lvextend -l +100%FREE {}",
            pool.name
        )
    };
    match most {
        95.. => Finding::bad(seen, more),
        80.. => Finding::warn(seen, more),
        _ => Finding::ok(seen),
    }
}

fn pool(view: &View<'_>) -> Finding {
    if let Some(it) = view.facts.pools.iter().find(|it| it.health != "ONLINE") {
        return Finding::bad(
            format!("{} is {}", it.name, it.health),
            format!(
                "which disk it is: zpool status {0}; a new one in its place: zpool replace {0} OLD /dev/disk/by-id/NEW",
                it.name
            ),
        );
    }
    if let Some(it) = view.facts.pools.iter().find(|it| it.errors > 0) {
        return Finding::warn(
            format!("the disks of {} made {} errors, which were mended", it.name, it.errors),
            format!(
                "which disk it is: zpool status -v {0}; is its cable firm? then: zpool clear {0} && zpool scrub {0}",
                it.name
            ),
        );
    }
    match view.facts.pools.len() {
        0 => Finding::ok("there is none"),
        _ => Finding::ok(few(view.facts.pools.iter().map(|it| it.name.as_str())) + " without errors"),
    }
}

fn pool_full(view: &View<'_>) -> Finding {
    let Some(it) = view.facts.pools.iter().max_by_key(|it| it.full) else {
        return Finding::ok("there is none");
    };
    let seen = format!("{} is full to {} %", it.name, it.full);
    let hint = format!("what takes it, snapshots too: zfs list -o space -r {} | sort -k4 -h | tail", it.name);
    match it.full {
        90.. => Finding::bad(seen, hint),
        80.. => Finding::warn(seen, hint),
        _ => Finding::ok(seen),
    }
}

fn scrub(view: &View<'_>) -> Finding {
    const OFTEN: i64 = 45;
    let old = view.facts.pools.iter().find(|it| it.scrubbed.is_none_or(|at| view.days_since(at) > OFTEN));
    match old {
        None if view.facts.pools.is_empty() => Finding::ok("there is none"),
        None => Finding::ok("all were looked through lately"),
        Some(it) => {
            let when = it.scrubbed.map_or_else(
                || "has never been looked through to the end".to_owned(),
                |at| format!("was looked through {} days ago", view.days_since(at)),
            );
            Finding::warn(format!("{} {when}", it.name), format!("zpool scrub {}", it.name))
        }
    }
}

fn raid(view: &View<'_>) -> Finding {
    match view.facts.raids.iter().find(|it| it.disks.contains('_')) {
        None if view.facts.raids.is_empty() => Finding::ok("there is none"),
        None => Finding::ok("all disks are there"),
        Some(it) => Finding::bad(
            format!("{} lacks a disk ({})", it.name, it.disks),
            format!("which: mdadm --detail /dev/{0}; a new one: mdadm /dev/{0} --add /dev/NEW", it.name),
        ),
    }
}
