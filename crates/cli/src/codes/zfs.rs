//! The codes of pools and datasets of ZFS, sorted.

use blueprint::codes::CodeInfo;

use super::code;

/// All of them.
pub const CODES: &[CodeInfo] = &[
    code(
        "zfs::a-volume",
        "a dataset of that name is a volume",
        "What is declared is a file system, and what is there under its name is a volume, as virtual machines have for disks. Nothing is \
         done to it.",
        "Give yours another name; `zfs get all NAME` on the node says more of the one that is there.",
    ),
    code(
        "zfs::another-pool",
        "a pool of that name is not this site's",
        "A pool is the site's because it made it, or because its disks are exactly those that the blueprint declares. This one is \
         neither, so nothing is done to it, and none is made over it.",
        "Give yours another name; or declare exactly the disks of the one that is there: then it is taken over with its data.",
    ),
    code(
        "zfs::another-site",
        "another site made the pool",
        "The property `phoenix:site` of the pool says which site made it, and it stays with its disks.",
        "One site looks after a pool. Where the other one is gone, on the node: `zfs inherit phoenix:site POOL`.",
    ),
    code(
        "zfs::bad-key",
        "a secret cannot be a key",
        "ZFS takes a line of 8 to 512 bytes as a passphrase, and the secret is none.",
        "Name another secret, or have one made: `{ \"generate\": \"NAME\" }`.",
    ),
    code(
        "zfs::busy",
        "something uses a pool or a dataset",
        "What is in use cannot be taken away: a program has a file open there, or a guest or a share uses it. Nothing is forced.",
        "On the node: `fuser -vm FOLDER` says who; end that, then `phoenix-cli apply`.",
    ),
    code(
        "zfs::cannot-import",
        "a pool is there and cannot be imported",
        "Too many of its disks are missing, or what is on them cannot be read.",
        "On the node: `zpool import` says what it lacks. Plug in the disks that are missing.",
    ),
    code(
        "zfs::changed",
        "a pool or a dataset is not as the plan saw it",
        "Between the plan and the step somebody made, changed or removed it. Nothing was done to it.",
        "`phoenix-cli plan` shows what is there now.",
    ),
    code(
        "zfs::data-lost",
        "a pool has lost data",
        "More was damaged than its disks could make good for each other.",
        "On the node: `zpool status -v POOL` names the files. Bring them back from a backup, then `zpool clear POOL`.",
    ),
    code(
        "zfs::degraded",
        "a pool works without all of its disks",
        "A disk failed, or is not plugged in. The data is there as long as the others work.",
        "Name a new disk in its place under `hypervisor.zfs.POOL`, and `phoenix-cli apply`. Where it was only unplugged: `zpool online \
         POOL DISK` on the node.",
    ),
    code(
        "zfs::disk-errors",
        "a disk of a pool makes errors",
        "The others made good for it, and nothing is lost. Often it is the beginning of the disk's end; sometimes a cable.",
        "On the node: `smartctl -a` of the disk. Name another in its place in the blueprint, or `zpool clear POOL` where it was the cable.",
    ),
    code(
        "zfs::disk-not-empty",
        "a disk for a pool has something on it",
        "A file system, a partition, or a label of anything is on the disk. It would be destroyed, so it is not touched.",
        "Look at it, on the node: `lsblk -f DISK`. Where all of it may be destroyed, add the disk's serial number to the pool: `\"wipe\": \
         [\"SERIAL\"]`. The step then asks for consent by the pool's name.",
    ),
    code(
        "zfs::disk-twice",
        "two names lead to one disk",
        "Every disk has several names in `/dev/disk/by-id`, and two of those that are declared are the same disk.",
        "On the node: `ls -l /dev/disk/by-id`. Keep one name for each disk.",
    ),
    code(
        "zfs::disk-used",
        "a disk for a pool is in use",
        "It is mounted, something is made of it, or it is in a pool, perhaps one that is not imported. `wipe` changes nothing about that.",
        "Name another disk; or free this one first, by hand.",
    ),
    code(
        "zfs::encryption",
        "whether a dataset is encrypted cannot be changed",
        "ZFS decides it when the dataset is made. What is in it would have to be written anew, and nothing is ever rebuilt.",
        "Declare another dataset as you want it, copy what is in the one of before, and take that one out.",
    ),
    code(
        "zfs::full",
        "a pool is nearly full",
        "More than 80 % of it is in use. From there on ZFS looks long for free room; on a full pool not even deleting works at once.",
        "On the node: `zfs list -r -o space POOL`. Remove what is not needed, old snapshots first, or give it more disks.",
    ),
    code(
        "zfs::gone",
        "a pool that was here is not to be found",
        "The node remembers that it is the site's, and it is neither imported nor on any disk. Nothing is made in its place.",
        "Plug in its disks; `zpool import` on the node shows what is there. Where it is really gone: take it out of the blueprint, apply, \
         and declare it again.",
    ),
    code(
        "zfs::in-use",
        "something that stays is on what is to be destroyed",
        "A dataset that this site did not make, a storage, or a guest's folder is on it.",
        "Move that away first, or declare the pool or dataset again.",
    ),
    code(
        "zfs::layout",
        "a group of disks cannot become what is declared",
        "The layout of a group is fixed when it is made. Nothing is ever rebuilt for it.",
        "Declare it as it is. For another layout, make a new pool beside it and copy what is there (`zfs send`).",
    ),
    code(
        "zfs::locked",
        "the key of a dataset is not loaded",
        "It is encrypted, and what is in it cannot be read until its key is loaded. One that is unlocked by hand is so after each start of \
         the node.",
        "`phoenix-cli apply` loads it. Where it is to be loaded at the start: `systemctl status phoenix-zfs-keys` on the node.",
    ),
    code(
        "zfs::no-disk",
        "the node has no disk of that name",
        "No link in `/dev/disk/by-id` has the name that is declared, or it leads to no disk.",
        "Is it plugged in? On the node: `ls -l /dev/disk/by-id`.",
    ),
    code(
        "zfs::no-snapshots",
        "snapshots are not made any more",
        "A dataset is to have one each day, and the last one is older than two days.",
        "On the node: `systemctl status phoenix-zfs-schedule.timer phoenix-zfs-schedule.service`.",
    ),
    code(
        "zfs::none",
        "the node has no ZFS",
        "The program `zpool` is missing, or the kernel's module is not loaded.",
        "On the node: `modprobe zfs`; where that is missing, `apt install zfsutils-linux`. Proxmox VE has both.",
    ),
    code(
        "zfs::not-replicated",
        "the copy of a dataset is not brought up to date",
        "A dataset has `replicate`, and its last copy is older than two days, or was never made: the other pool is full or not imported, \
         something else is there under that name, or both have no snapshot in common any more.",
        "On the node: `journalctl -u phoenix-zfs-schedule.service` says why; `systemctl start phoenix-zfs-schedule.service` tries again.",
    ),
    code(
        "zfs::not-scrubbed",
        "a pool was not read and compared for long",
        "A disk that forgets is noticed when it is read. A scrub reads all of a pool, and makes good what is wrong while that can be done.",
        "On the node: `zpool scrub POOL`, and `systemctl status phoenix-zfs-schedule.timer`.",
    ),
    code(
        "zfs::refused",
        "ZFS refused a command",
        "What it said is with the error. Phoenix never says `-f`, with which it would have done it all the same.",
        "On the node: `zpool status`. Then `phoenix-cli apply`.",
    ),
    code(
        "zfs::shrinks",
        "a disk that holds data is not declared any more",
        "A group of disks cannot lose one, and most groups cannot be taken away.",
        "Name the disk that takes its place, or declare it again.",
    ),
    code(
        "zfs::too-small",
        "a disk is too small to take another's place",
        "It has to be as large as the one before, to the byte.",
        "Name a larger disk.",
    ),
    code(
        "zfs::unread",
        "the node could not say what pools it has",
        "The command that looks failed or took too long. A pool whose disks are away can hold it up.",
        "Does `zpool status` answer on the node? What holds it up, `dmesg` tells there.",
    ),
    code(
        "zfs::wrong-key",
        "a dataset has another key",
        "The key that the blueprint names does not open it. What is in it is safe, and nobody reads it.",
        "Apply with the key of before; then change it. The node's own copy is in `/etc/phoenix/zfs-keys`, where it is unlocked at the start.",
    ),
];
