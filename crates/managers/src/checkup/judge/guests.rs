//! What guests need of the node, and what keeps them and others out.

use super::super::{Check, Finding, Group, View};
use super::{few, unread};

const IN: Group = Group::Guests;

pub const CHECKS: &[Check] = &[
    IN.check(
        "host::locked-guests",
        "guests are locked",
        "A backup, a migration or a snapshot locks a guest while it runs. One that was cut off leaves the lock, and the guest can be \
         neither started nor changed.",
        locked,
    ),
    IN.check(
        "host::old-snapshots",
        "guests have old snapshots",
        "A snapshot keeps all that has been written over since. Old ones fill the storage, and make a virtual machine slower.",
        snapshots,
    ),
    IN.check(
        "host::no-backups",
        "guests are not backed up",
        "A snapshot is no backup: it dies with its disk. Phoenix makes guests again, but not what people put into them.",
        backups,
    ),
    IN.check(
        "host::id-maps",
        "unprivileged containers cannot be started",
        "In an unprivileged container, root is an ordinary user of the node. Which ids it may use is written in /etc/subuid and \
         /etc/subgid.",
        id_maps,
    ),
    IN.check(
        "host::inotify",
        "the kernel watches too few files for many containers",
        "Programs have the kernel watch files (inotify). All unprivileged containers share what one user may watch: where it is used up, \
         services in them fail with \"too many open files\".",
        inotify,
    ),
    IN.check(
        "host::namespaces",
        "the kernel allows no user namespaces",
        "Unprivileged containers, and systemd in them, are made of user namespaces. Some guides for hardening switch them off.",
        namespaces,
    ),
    IN.check(
        "host::apparmor",
        "AppArmor is off",
        "It keeps what breaks out of a container from the node. Without it containers are held by their ids alone.",
        apparmor,
    ).of_the_machine(),
    IN.check(
        "host::cgroups",
        "the node uses the old control groups",
        "Limits of containers are set by control groups. systemd in newer guests takes only the unified ones (cgroup2), and Proxmox VE 9 \
         has no others.",
        cgroups,
    ).of_the_machine(),
    IN.check(
        "host::root-password",
        "root has no password",
        "Anybody at the console, and on the web page, is root.",
        root_password,
    ),
    IN.check(
        "host::ssh-passwords",
        "root can log in over ssh with a password",
        "Passwords are guessed, all day long, by programs. A key cannot be.",
        ssh_passwords,
    ),
    IN.check(
        "host::open-exports",
        "folders are shared with everybody",
        "An NFS export to `*` can be mounted by whoever reaches the node, and with `no_root_squash` written to as root.",
        exports,
    ),
];

fn locked(view: &View<'_>) -> Finding {
    let locked: Vec<_> = view.facts.guests.iter().filter(|it| it.lock.is_some()).collect();
    let Some(first) = locked.first() else { return Finding::ok("none") };
    let tool = if first.kind == "vm" { "qm" } else { "pct" };
    let words: Vec<String> =
        locked.iter().map(|it| format!("{} ({})", it.id, it.lock.as_deref().unwrap_or_default())).collect();
    Finding::warn(
        format!("locked: {}", few(words.iter().map(String::as_str))),
        format!("does a task run? under the node, Task History. If none does: {tool} unlock {}", first.id),
    )
}

fn snapshots(view: &View<'_>) -> Finding {
    const OLD: i64 = 90;
    let oldest = view.facts.guests.iter().filter_map(|it| Some((it.oldest?, it))).min_by_key(|it| it.0);
    match oldest {
        None => Finding::ok("there are none"),
        Some((at, guest)) if view.days_since(at) > OLD => {
            let tool = if guest.kind == "vm" { "qm" } else { "pct" };
            Finding::warn(
                format!("the oldest of guest {} is {} days old", guest.id, view.days_since(at)),
                format!("which: {tool} listsnapshot {0}; remove it: {tool} delsnapshot {0} NAME", guest.id),
            )
        }
        Some((at, _)) => Finding::ok(format!("the oldest is {} days old", view.days_since(at).max(0))),
    }
}

fn backups(view: &View<'_>) -> Finding {
    let Some(it) = &view.facts.backups else { return unread("what is backed up") };
    if view.facts.guests.is_empty() {
        return Finding::ok("there is no guest yet");
    }
    let hint = "on the web page, under Datacenter, Backup: Add. Best to another machine";
    match (it.jobs, it.last.map(|at| view.days_since(at))) {
        (0, _) => Finding::warn("there is no schedule for backups", hint),
        (_, None) => Finding::warn(
            "there is a schedule, and no backup has ever been made here",
            "vzdump ID, or wait for the schedule",
        ),
        (_, Some(days @ 9..)) => Finding::warn(
            format!("the last one was made {days} days ago"),
            "why? under the node, Task History; and: systemctl status pvescheduler",
        ),
        (_, Some(days)) => Finding::ok(format!("the last one was made {} days ago", days.max(0))),
    }
}

fn id_maps(view: &View<'_>) -> Finding {
    let lacking: Vec<&str> = ["subuid", "subgid"]
        .into_iter()
        .filter(|file| !view.facts.idmaps.iter().any(|it| it.file == *file && it.count >= 65_536))
        .collect();
    match lacking.first() {
        None => Finding::ok("root may give out 65536 ids and more"),
        Some(_) if !view.facts.has_proxmox() => {
            Finding::unknown("the node has no containers of Proxmox VE's")
        }
        Some(file) => Finding::bad(
            format!("root may give out too few ids by /etc/{}", lacking.join(" and /etc/")),
            format!("echo root:100000:65536 >> /etc/{file}"),
        ),
    }
}

fn inotify(view: &View<'_>) -> Finding {
    let Some(limits) = &view.facts.limits else { return unread("the kernel's limits") };
    let seen = format!("{} times, {} files", limits.inotify, limits.watches);
    if !view.facts.contained() && (limits.inotify < 1024 || limits.watches < 65_536) {
        return Finding::warn(
            seen,
            "echo 'fs.inotify.max_user_instances=65536\nfs.inotify.max_user_watches=4194304' > /etc/sysctl.d/80-inotify.conf && \
             sysctl --system",
        );
    }
    Finding::ok(seen)
}

fn namespaces(view: &View<'_>) -> Finding {
    match view.facts.limits.as_ref().and_then(|limits| limits.namespaces) {
        None => unread("how many user namespaces there may be"),
        Some(0) => Finding::bad(
            "none are allowed",
            "who sets it? grep -r max_user_namespaces /etc/sysctl*; take that out, then: sysctl -w user.max_user_namespaces=60000",
        ),
        Some(n) => Finding::ok(format!("{n} are allowed")),
    }
}

fn apparmor(view: &View<'_>) -> Finding {
    match &view.facts.apart {
        None => unread("AppArmor"),
        Some(it) if it.apparmor => Finding::ok("it is on"),
        Some(_) => Finding::warn(
            "it is off",
            "was it switched off on the kernel's command line? grep -o 'apparmor=[^ ]*' /proc/cmdline; apt install apparmor",
        ),
    }
}

fn cgroups(view: &View<'_>) -> Finding {
    match &view.facts.apart {
        None => unread("the control groups"),
        Some(it) if it.unified => Finding::ok("unified"),
        Some(_) => Finding::warn(
            "the old ones",
            "take systemd.unified_cgroup_hierarchy=0 off the kernel's command line (/etc/default/grub or /etc/kernel/cmdline)",
        ),
    }
}

fn root_password(view: &View<'_>) -> Finding {
    match view.facts.root.as_ref().map(|it| it.password.as_str()) {
        None => unread("whether root has a password"),
        Some("empty") => Finding::bad("anybody is root", "passwd root"),
        Some(state) => Finding::ok(state),
    }
}

fn ssh_passwords(view: &View<'_>) -> Finding {
    match &view.facts.ssh {
        None => Finding::unknown("who may log in over ssh could not be read"),
        Some(it) if it.root == "yes" && it.passwords => Finding::warn(
            "root can log in with a password, which can be guessed",
            "once your key is in /root/.ssh/authorized_keys: echo 'PermitRootLogin prohibit-password' > \
             /etc/ssh/sshd_config.d/10-root.conf && systemctl reload ssh",
        ),
        Some(it) => {
            Finding::ok(format!("root: {}, passwords: {}", it.root, if it.passwords { "yes" } else { "no" }))
        }
    }
}

fn exports(view: &View<'_>) -> Finding {
    // `/folder *(rw)`, `/folder (rw)` (exports(5): no host is every host).
    let open = view.facts.exports.iter().find(|it| {
        it.line.split_whitespace().skip(1).any(|to| to.starts_with("*(") || to == "*" || to.starts_with('('))
    });
    match open {
        None => Finding::ok("none"),
        Some(it) => Finding::warn(
            format!("/etc/exports: {}", it.line),
            "name the network in place of the star, such as 10.0.0.0/24(rw,sync), without no_root_squash; then: exportfs -ra",
        ),
    }
}
