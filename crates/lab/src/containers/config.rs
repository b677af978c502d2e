//! The LXC configuration of a container, made anew from its Proxmox VE configuration before every start.

use std::fmt::Write as _;

use camino::Utf8Path;

use super::cgroup::Cgroup;
use super::guest::{Guest, SHIFT};

/// What the configuration needs to know about the node.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub cgroup: Cgroup,
    pub cpus: &'a [u32],
    /// The pre-start hook: a command line that LXC hands to a shell.
    pub hook: &'a str,
    /// Gives the MTU of a bridge.
    pub bridge_mtu: fn(&str) -> Option<u32>,
}

/// Where LXC keeps a container's configuration.
pub(crate) fn folder(id: u32) -> camino::Utf8PathBuf {
    Utf8Path::new("/var/lib/lxc").join(id.to_string())
}

/// The node's end of the veth pair behind `netN`, named as Proxmox VE names it.
pub(crate) fn veth(id: u32, slot: u8) -> String {
    format!("veth{id}i{slot}")
}

/// The whole configuration file.
pub(crate) fn text(guest: &Guest, node: &Node<'_>) -> String {
    let mut out = String::new();
    let mut set = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key} = {value}");
    };
    set("lxc.include", "/usr/share/lxc/config/common.conf");
    if guest.unprivileged {
        set("lxc.include", "/usr/share/lxc/config/userns.conf");
    }
    if guest.nesting {
        set("lxc.include", "/usr/share/lxc/config/nesting.conf");
    }
    set("lxc.arch", std::env::consts::ARCH);
    set("lxc.uts.name", &guest.hostname);
    set("lxc.tty.max", "2");
    set("lxc.pty.max", "1024");
    // The node is a container itself: its own profile is what confines its guests.
    set("lxc.apparmor.profile", "unconfined");
    // The images are mounted by the hook in a mount namespace of the monitor, so that they go away with it.
    set("lxc.monitor.unshare", "1");
    set("lxc.rootfs.path", folder(guest.id).join("rootfs").as_str());
    set("lxc.hook.pre-start", node.hook);
    // Without it systemd in an unprivileged container reports a failed mount unit.
    set("lxc.mount.entry", "/sys/kernel/debug sys/kernel/debug none bind,optional,create=dir 0 0");
    if guest.unprivileged {
        set("lxc.idmap", &format!("u 0 {SHIFT} 65536"));
        set("lxc.idmap", &format!("g 0 {SHIFT} 65536"));
    }
    for device in &guest.devices {
        let inside = device.trim_start_matches('/');
        set("lxc.mount.entry", &format!("{device} {inside} none bind,optional,create=file 0 0"));
    }
    let prefix = node.cgroup.prefix();
    for (key, value) in node.cgroup.memory(guest).into_iter().chain(node.cgroup.processor(guest, node.cpus)) {
        set(&format!("{prefix}.{key}"), &value);
    }
    for (slot, net) in &guest.networks {
        let key = |name: &str| format!("lxc.net.{slot}.{name}");
        set(&key("type"), "veth");
        if let Some(bridge) = &net.bridge {
            set(&key("link"), bridge);
        }
        set(&key("veth.pair"), &veth(guest.id, *slot));
        set(&key("name"), &net.name);
        if let Some(hwaddr) = &net.hwaddr {
            set(&key("hwaddr"), hwaddr);
        }
        // A bridge takes the smallest MTU of its ports: a guest that differed from it would lose packets.
        if let Some(mtu) =
            net.mtu.filter(|m| *m > 1).or_else(|| net.bridge.as_deref().and_then(node.bridge_mtu))
        {
            set(&key("mtu"), &mtu.to_string());
        }
        if !net.link_down {
            set(&key("flags"), "up");
        }
    }
    for (key, value) in &guest.raw {
        set(key, value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Config;

    #[test]
    fn the_file_says_what_the_guest_is() {
        let config: Config = [
            ("rootfs", "local:101/vm-101-disk-0.raw,size=2G"),
            ("hostname", "notes"),
            ("net0", "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip=10.0.0.11/24"),
            ("unprivileged", "1"),
            ("features", "nesting=1"),
            ("memory", "256"),
            ("swap", "0"),
            ("cores", "1"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
        let node =
            Node { cgroup: Cgroup::V2, cpus: &[0, 1], hook: "/bin/phoenix hook", bridge_mtu: |_| Some(1400) };
        let text = text(&Guest::parse(101, &config).unwrap(), &node);
        for line in [
            "lxc.include = /usr/share/lxc/config/userns.conf",
            "lxc.include = /usr/share/lxc/config/nesting.conf",
            "lxc.uts.name = notes",
            "lxc.hook.pre-start = /bin/phoenix hook",
            "lxc.idmap = u 0 100000 65536",
            "lxc.cgroup2.memory.max = 268435456",
            "lxc.cgroup2.memory.swap.max = 0",
            "lxc.cgroup2.cpuset.cpus = 1",
            "lxc.net.0.link = vmbr0",
            "lxc.net.0.veth.pair = veth101i0",
            "lxc.net.0.hwaddr = BC:24:11:00:00:01",
            "lxc.net.0.mtu = 1400",
        ] {
            assert!(text.lines().any(|l| l == line), "`{line}` is missing in\n{text}");
        }
    }
}
