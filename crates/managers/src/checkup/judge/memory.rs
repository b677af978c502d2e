//! Memory.

use super::super::{Check, Finding, Group, View};
use super::{percent, size, unread};

const IN: Group = Group::Memory;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::memory-full",
        "the node has hardly any memory left",
        "Where no memory is left, the kernel ends a program to get some, and that is most often the largest guest.",
        full,
    ),
    IN.check(
        "host::memory-pressure",
        "programs wait for memory or disks",
        "The kernel measures how long all programs together stood still because memory, or a disk, kept them waiting. A few percent \
         are felt as everything being slow.",
        pressure,
    ),
    IN.check(
        "host::memory-killed",
        "programs were ended because no memory was left",
        "The kernel ended programs so that others can go on: on the node, or in a guest that was at its own limit. Services then \
         stop without having failed by themselves.",
        killed,
    ).of_the_machine(),
    IN.check(
        "host::memory-promised",
        "guests may take more memory than there is",
        "The guests that start with the node may take, all together, more memory than it has. That goes well until they do.",
        promised,
    ),
    IN.check(
        "host::zfs-cache",
        "the cache of ZFS and the guests do not fit into the memory",
        "ZFS keeps what it read in memory (ARC). It gives it back when others need it, but slowly, so that a starting virtual \
         machine finds none.",
        cache,
    ),
    IN.check(
        "host::swap",
        "swap is full, or is where it hurts",
        "What is not used for long is put aside on a disk. Where that is full, the next shortage ends programs; where it is a volume of \
         ZFS, a shortage can stop the node altogether.",
        swap,
    ),
];

fn full(view: &View<'_>) -> Finding {
    let Some(memory) = &view.facts.memory else { return unread("the memory") };
    let left = percent(memory.left, memory.all);
    let seen = format!("{} of {} are left", size(memory.left), size(memory.all));
    let hint = "who takes most of it: ps -eo rss,pid,cmd --sort=-rss | head";
    match left {
        ..5 => Finding::bad(seen, hint),
        5..10 => Finding::warn(seen, hint),
        _ => Finding::ok(seen),
    }
}

fn pressure(view: &View<'_>) -> Finding {
    let Some(memory) = &view.facts.memory else { return unread("the memory") };
    let waits = [("memory", memory.waits), ("disks", memory.waits_for_disks)];
    let Some((what, most)) =
        waits.iter().filter_map(|(what, waits)| Some((*what, (*waits)?))).max_by_key(|it| it.1)
    else {
        return Finding::unknown("the kernel does not measure it");
    };
    let seen = format!("for {} % of the last five minutes nothing went on, waiting for {what}", most / 100);
    let hint = if what == "memory" {
        "give guests less memory, or the node more; who takes most: ps -eo rss,pid,cmd --sort=-rss | head"
    } else {
        "who reads and writes: apt install iotop-c && iotop-c -oPa; is a disk dying? smartctl -a /dev/sda"
    };
    match most {
        0..1000 => Finding::ok(format!("{} % of the last five minutes were spent waiting", most / 100)),
        1000..4000 => Finding::warn(seen, hint),
        _ => Finding::bad(seen, hint),
    }
}

fn killed(view: &View<'_>) -> Finding {
    match view.facts.memory.as_ref().and_then(|memory| memory.killed) {
        None => unread("how many programs were ended"),
        Some(0) => Finding::ok("none since the start"),
        Some(n) => Finding::warn(
            format!("{n} programs were ended since the start because no memory was left"),
            "which, and in which guest: journalctl -k --grep 'Killed process'",
        ),
    }
}

fn promised(view: &View<'_>) -> Finding {
    let Some(memory) = &view.facts.memory else { return unread("the memory") };
    let guests: u64 =
        view.facts.guests.iter().filter(|it| it.starts).map(|it| it.memory.saturating_mul(1024)).sum();
    let seen = format!("guests that start with the node may take {} of {}", size(guests), size(memory.all));
    if guests > memory.all {
        return Finding::warn(
            seen,
            "give them less (pct set ID --memory MiB), or let fewer start with the node",
        );
    }
    Finding::ok(seen)
}

fn cache(view: &View<'_>) -> Finding {
    let (Some(memory), Some(arc)) = (&view.facts.memory, &view.facts.arc) else {
        return Finding::ok("the node has no ZFS");
    };
    let guests: u64 =
        view.facts.guests.iter().filter(|it| it.starts).map(|it| it.memory.saturating_mul(1024)).sum();
    let seen =
        format!("ZFS may take {}, and guests {}, of {}", size(arc.most), size(guests), size(memory.all));
    if arc.most.saturating_add(guests) <= memory.all {
        return Finding::ok(seen);
    }
    let tenth = memory.all / 10 * 1024;
    Finding::warn(
        seen,
        format!(
            "limit it to a tenth: echo 'options zfs zfs_arc_max={tenth}' > /etc/modprobe.d/zfs.conf && update-initramfs -u -k all, then \
             restart the node"
        ),
    )
}

fn swap(view: &View<'_>) -> Finding {
    if let Some(bad) = view
        .facts
        .swaps
        .iter()
        .find(|it| it.place.starts_with("/dev/zd") || it.place.starts_with("/dev/zvol"))
    {
        return Finding::warn(
            format!("{} is a volume of ZFS: a shortage of memory can stop the node", bad.place),
            format!("swapoff {}, and take its line out of /etc/fstab", bad.place),
        );
    }
    let sum = |of: fn(&super::super::facts::Swap) -> u64| view.facts.swaps.iter().map(of).sum::<u64>();
    let (all, used) = (sum(|it| it.all), sum(|it| it.used));
    let seen = format!("{} of {} are used", size(used), size(all));
    match percent(used, all) {
        _ if all == 0 => Finding::ok("there is none, so whoever takes too much memory is ended at once"),
        80.. => {
            Finding::warn(seen, "who is put aside: grep -H VmSwap /proc/[0-9]*/status | sort -k2 -n | tail")
        }
        _ => Finding::ok(seen),
    }
}
