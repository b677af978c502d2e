//! Kernel and services.

use super::super::{Check, Finding, Group, View};
use super::{few, unread};

const IN: Group = Group::System;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::reboot-pending",
        "the node waits for a restart",
        "A new kernel is installed, and the old one runs, with the holes that the new one closes.",
        reboot,
    ).of_the_machine(),
    IN.check(
        "host::kernel-modules",
        "the running kernel has lost its modules",
        "The modules of the kernel that runs were removed with its package. Whatever is not loaded yet cannot be: a firewall rule, \
         a file system, a device.",
        modules,
    ).of_the_machine(),
    IN.check(
        "host::failed-units",
        "services of the node failed",
        "systemd started them, and they ended with an error.",
        failed,
    ),
    IN.check(
        "host::hung",
        "something in the kernel hangs",
        "A program waited for more than two minutes for a disk or a network storage, or a processor did nothing but one thing.",
        hung,
    ).of_the_machine(),
    IN.check(
        "host::load",
        "more waits to run than the processors can do",
        "The load is how many programs run or wait for a disk. Far above the number of processors, everything becomes slow.",
        load,
    ).of_the_machine(),
    IN.check(
        "host::machine-id",
        "the node's machine id is missing, or another's as well",
        "Each system has an id of its own in /etc/machine-id, from which addresses, journals and DHCP leases follow. A node that was \
         copied from another one's disk has its id.",
        machine_id,
    ),
    IN.check(
        "host::open-files",
        "nearly as many files are open as may be",
        "The kernel opens a limited number of files. When they are used up, programs everywhere on the node fail.",
        open_files,
    ),
    IN.check(
        "host::entropy",
        "the node has little randomness",
        "Keys and connections take randomness. Where there is none, whatever needs it waits, and services start minutes late.",
        entropy,
    ),
];

fn reboot(view: &View<'_>) -> Finding {
    let (Some(boot), Some(node)) = (&view.facts.boot, &view.facts.node) else {
        return unread("what it starts with");
    };
    let hint = "when it suits you, on the node: reboot, which shuts its guests down in their order; where a plan waits for it as well: phoenix-cli apply --restart-node";
    match &boot.newest {
        Some(newest) if *newest != node.kernel => {
            Finding::warn(format!("{} runs, and {newest} is installed", node.kernel), hint)
        }
        _ if boot.wanted => Finding::warn("a package that was updated asks for a restart", hint),
        _ => Finding::ok(format!("{} runs, and none newer is installed", node.kernel)),
    }
}

fn modules(view: &View<'_>) -> Finding {
    match &view.facts.boot {
        None => unread("what it starts with"),
        Some(boot) if boot.modules => Finding::ok("they are there"),
        Some(_) => Finding::bad("nothing that is not loaded yet can be loaded", "restart the node: reboot"),
    }
}

fn failed(view: &View<'_>) -> Finding {
    let failed: Vec<&str> = view.facts.failed.iter().map(|it| it.unit.as_str()).collect();
    match failed.first() {
        None if view.facts.services.is_empty() => unread("the state of the services"),
        None => Finding::ok("none"),
        Some(first) => Finding::warn(
            format!("failed: {}", few(failed.iter().copied())),
            format!("why: journalctl -u {first} -n 30; once it is mended: systemctl restart {first}"),
        ),
    }
}

fn hung(view: &View<'_>) -> Finding {
    match view.facts.said.iter().find(|it| it.about == "hung") {
        None => Finding::ok("nothing, as far as the kernel noticed"),
        Some(said) => Finding::warn(
            format!("{} times since the start, the last: {}", said.times, said.last),
            "what it waited for: journalctl -k --grep 'blocked for more than|lockup'. Is a network storage away, is a disk dying?",
        ),
    }
}

fn load(view: &View<'_>) -> Finding {
    let Some(cpu) = &view.facts.cpu else { return unread("the processor") };
    let seen =
        format!("{}.{:02} over 15 minutes, on {} processors", cpu.load / 100, cpu.load % 100, cpu.count);
    if cpu.load > cpu.count.max(1) * 300 {
        return Finding::warn(
            seen,
            "who it is: top -b -n 1 | head -n 20; who waits for a disk: ps -eo state,pid,cmd | grep ^D",
        );
    }
    Finding::ok(seen)
}

fn machine_id(view: &View<'_>) -> Finding {
    let Some(node) = &view.facts.node else { return unread("its machine id") };
    let anew = "rm /etc/machine-id && systemd-machine-id-setup, then restart the node";
    match node.machine_id.as_deref() {
        None | Some("uninitialized") => Finding::warn("/etc/machine-id is empty", anew),
        Some(id) => match view.others.iter().find(|(_, other)| other == id) {
            Some((other, _)) => {
                Finding::warn(format!("{other} has the same: one is a copy of the other"), anew)
            }
            None => Finding::ok("it is this node's alone, as far as was looked"),
        },
    }
}

fn open_files(view: &View<'_>) -> Finding {
    let Some(limits) = &view.facts.limits else { return unread("the kernel's limits") };
    let used = super::percent(limits.open, limits.most_open);
    if used >= 80 {
        return Finding::warn(
            format!("{} files are open, {used} % of what may be", limits.open),
            format!("more of them: sysctl -w fs.file-max={}", limits.most_open.saturating_mul(2)),
        );
    }
    Finding::ok(format!("{} are open, {used} % of what may be", limits.open))
}

fn entropy(view: &View<'_>) -> Finding {
    match view.facts.limits.as_ref().and_then(|limits| limits.entropy) {
        None => unread("how much randomness there is"),
        Some(bits @ ..200) => Finding::warn(
            format!("{bits} bits are left"),
            "apt install rng-tools5, or a newer kernel, which needs none",
        ),
        Some(bits) => Finding::ok(format!("{bits} bits")),
    }
}
