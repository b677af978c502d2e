//! What is written into the node before it starts: the upper layer over the shared base.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::base::{Base, MachineApt};
use super::cluster_files;
use super::dhcp;
use super::error::{Error, run};
use super::folders;
use super::hardware;
use super::neighbour::CLUSTER;
use super::spec::{LabSpec, Names, NodePlan};
use crate::containers::{MACHINE_APT, MADE};
use crate::machines;
use crate::node::Member;

/// Where the lab's program lies in the node.
pub(crate) const NODE_PROGRAM: &str = "/usr/local/lib/phoenix-lab/phoenix-cli";

/// Where the node's API keeps its state, in the node.
pub(crate) const NODE_STATE: &str = "/var/lib/phoenix-lab";

/// The front ends, in the node's `/usr/sbin`.
const FRONT_ENDS: [&str; 9] =
    ["pct", "qm", "pvesh", "pvesm", "pveam", "pveum", "pvenode", "pveversion", "pve-firewall"];

/// The upper layer of a node's root.
pub(super) struct Upper<'a> {
    pub(super) root: Utf8PathBuf,
    pub(super) spec: &'a LabSpec,
    pub(super) node: NodePlan,
}

/// Writes the files of all nodes. `resolvers` are what the first node asks for names.
pub(crate) async fn fill(
    spec: &LabSpec,
    apt: &MachineApt,
    resolvers: &[Ipv4Addr],
    base: &Base,
) -> Result<(), Error> {
    let nodes = spec.nodes();
    for node in nodes {
        let root = node.folder.join("upper");
        let upper = Upper { root, spec, node };
        upper.fill(apt, resolvers).await?;
        if spec.machine.is_some() {
            upper.machine(base)?;
        }
    }
    cluster_files::fill(spec).await
}

impl Upper<'_> {
    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<(), Error> {
        let failed = || Error::io(format!("writing the node's `{path}`"));
        let target = self.root.join(path.trim_start_matches('/'));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(failed())?;
        }
        // A file that is secret is never readable in between.
        use fs_err::os::unix::fs::OpenOptionsExt;
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.create(true).write(true).truncate(true).mode(mode).open(&target).map_err(failed())?;
        std::io::Write::write_all(&mut file, content.as_ref()).map_err(failed())?;
        fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).map_err(failed())
    }

    pub(super) fn link(&self, path: &str, to: &str) -> Result<(), Error> {
        let target = self.root.join(path.trim_start_matches('/'));
        let failed = || Error::io(format!("writing the node's `{path}`"));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(failed())?;
        }
        if target.symlink_metadata().is_ok() {
            fs::remove_file(&target).map_err(failed())?;
        }
        symlink(to, &target).map_err(failed())
    }

    /// Writes everything. `resolvers` are what the node asks for names.
    async fn fill(&self, apt: &MachineApt, resolvers: &[Ipv4Addr]) -> Result<(), Error> {
        let node = &self.node.name;
        let own =
            self.node.networks.first().map_or(Ipv4Addr::new(127, 0, 1, 1), super::Network::node_address);
        self.write("/etc/hostname", format!("{node}\n"), 0o644)?;
        let mut hosts = format!("127.0.0.1 localhost\n{own} {node}.phoenix.lab {node}\n");
        for Member { name, address } in self.spec.members().iter().filter(|member| member.name != *node) {
            // Writing to a String cannot fail.
            let _ = writeln!(hosts, "{address} {name}.phoenix.lab {name}");
        }
        self.write("/etc/hosts", hosts, 0o644)?;
        // The other nodes ask the site's router, as guests do.
        let router = self.node.networks.first().map(|network| network.gateway);
        let resolvers = match router.as_slice() {
            router if !self.node.is_first() => router,
            _ => resolvers,
        };
        let servers: String = resolvers.iter().map(|a| format!("nameserver {a}\n")).collect();
        self.write("/etc/resolv.conf", servers, 0o644)?;
        self.write("/etc/subuid", "root:100000:65536\n", 0o644)?;
        self.write("/etc/subgid", "root:100000:65536\n", 0o644)?;
        self.write("/etc/sysctl.d/lab.conf", "net.ipv4.ip_forward=1\n", 0o644)?;
        self.write("/etc/network/interfaces", self.interfaces(), 0o644)?;
        self.write("/etc/nftables.conf", self.nftables(resolvers), 0o755)?;
        self.devices()?;
        self.services()?;
        self.ssh().await?;
        for name in FRONT_ENDS {
            let script = format!("#!/bin/sh\nexec {NODE_PROGRAM} lab node {name} \"$@\"\n");
            self.write(&format!("/usr/sbin/{name}"), script, 0o755)?;
        }
        if self.spec.others.is_empty() {
            self.own_pve()?;
        }
        self.apt(apt)
    }

    /// What a node that is a machine has in place of what LXC's configuration does for a container.
    fn machine(&self, base: &Base) -> Result<(), Error> {
        let program = Utf8Path::new(NODE_PROGRAM).parent().unwrap_or(Utf8Path::new("/"));
        let template = format!("/var/lib/vz/template/cache/{}", base.template);
        let fstab = format!(
            "LABEL={} / ext4 errors=remount-ro 0 1\nLABEL={} {program} ext4 ro 0 0\n{program}/{}/{} {template} none bind,ro 0 0\n",
            hardware::LABEL,
            hardware::PROGRAM_LABEL,
            hardware::TEMPLATES,
            base.template,
        );
        self.write("/etc/fstab", fstab, 0o644)?;
        self.write(&template, "", 0o644)?;
        // Guests answer on the machine's own link, so that what is published reaches them.
        let sysctl = "net.ipv4.ip_forward=1\nnet.ipv4.conf.eth0.proxy_arp=1\n";
        self.write("/etc/sysctl.d/lab.conf", sysctl, 0o644)?;
        // Emulated, beside other work, devices and services take minutes: the usual 90 seconds end in an emergency shell.
        let patience = "[Manager]\nDefaultDeviceTimeoutSec=15min\nDefaultTimeoutStartSec=15min\n";
        self.write("/etc/systemd/system.conf.d/lab.conf", patience, 0o644)?;
        self.write("/etc/modules-load.d/lab.conf", "loop\nfuse\ntun\nzfs\n", 0o644)?;
        for folder in [program.as_str(), "/var/lib/vz/images", "/mnt/pve", MADE] {
            let folder = self.root.join(folder.trim_start_matches('/'));
            fs::create_dir_all(&folder).map_err(Error::io(format!("making `{folder}`")))?;
        }
        let shared = self.root.join(folders::SHARED.0);
        fs::create_dir_all(&shared).map_err(Error::io(format!("making `{shared}`")))?;
        folders::give(&shared)
    }

    /// `/etc/pve` of a node that is alone.
    fn own_pve(&self) -> Result<(), Error> {
        let node = &self.node.name;
        for kind in ["lxc", "qemu-server"] {
            let folder = self.root.join(format!("etc/pve/nodes/{node}/{kind}"));
            fs::create_dir_all(&folder).map_err(Error::io(format!("making `{folder}`")))?;
        }
        self.own_links()?;
        self.link(&format!("/etc/pve/nodes/{node}/pve-ssl.pem"), &format!("{NODE_STATE}/pve-ssl.pem"))
    }

    /// As on a real node: this node's own, by a shorter way.
    pub(super) fn own_links(&self) -> Result<(), Error> {
        let node = &self.node.name;
        for kind in ["lxc", "qemu-server"] {
            self.link(&format!("/etc/pve/{kind}"), &format!("nodes/{node}/{kind}"))?;
        }
        self.link("/etc/pve/local", &format!("nodes/{node}"))
    }

    fn interfaces(&self) -> String {
        let mut out = "auto lo\niface lo inet loopback\n".to_owned();
        if self.spec.machine.is_some() {
            let _ = write!(
                out,
                "\nauto eth0\niface eth0 inet static\n\taddress {}/24\n\tgateway {}\n\niface eth1 inet manual\n",
                hardware::ADDRESS,
                hardware::GATEWAY,
            );
        }
        for (number, network) in self.node.networks.iter().enumerate() {
            let (bridge, prefix) = (&network.bridge, network.subnet.network_length());
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "\nauto {bridge}\niface {bridge} inet static\n\taddress {}/{prefix}\n\tbridge-ports none\n\tbridge-stp off\n\
                 \tbridge-fd 0\n",
                network.node_address(),
            );
            let _ = match number {
                _ if self.node.is_first() => {
                    writeln!(out, "\tup ip addr add {}/{prefix} dev {bridge}", network.gateway)
                }
                0 => writeln!(out, "\tgateway {}", network.gateway),
                _ => Ok(()),
            };
        }
        out
    }

    /// The site's router, played by the first node: guests get out under its address, and names asked of the gateway's address
    /// are passed on, as a router at home does. Where this machine's way out takes smaller packets than a bridge (a tunnel, a
    /// cloud), guests are told so when they connect: not everybody out there hears it from a router (RFC 2923, 2.1).
    fn nftables(&self, resolvers: &[Ipv4Addr]) -> String {
        if !self.node.is_first() {
            return "#!/usr/sbin/nft -f\nflush ruleset\n".to_owned();
        }
        let (mut post, mut pre) = (String::new(), String::new());
        for network in &self.node.networks {
            let _ = writeln!(post, "    ip saddr {} oifname \"eth0\" masquerade", network.subnet);
            if let Some(server) = resolvers.first() {
                for protocol in ["udp", "tcp"] {
                    let _ = writeln!(
                        pre,
                        "    ip daddr {} {protocol} dport 53 dnat to {server}",
                        network.gateway
                    );
                }
            }
        }
        format!(
            "#!/usr/sbin/nft -f\nflush ruleset\ntable ip lab {{\n  chain pre {{\n    type nat hook prerouting priority -100;\n\
             {pre}  }}\n  chain post {{\n    type nat hook postrouting priority 100;\n{post}  }}\n  chain forward {{\n    type filter hook forward priority -150;\n    \
             oifname \"eth0\" tcp flags syn tcp option maxseg size set rt mtu\n    \
             iifname \"eth0\" tcp flags syn tcp option maxseg size set rt mtu\n  }}\n}}\n"
        )
    }

    fn devices(&self) -> Result<(), Error> {
        let mut devices = String::new();
        for n in 0..256 {
            let _ = writeln!(devices, "b /dev/loop{n} 0660 root disk - 7:{n}");
        }
        devices
            .push_str("c /dev/loop-control 0660 root disk - 10:237\nc /dev/fuse 0666 root root - 10:229\n");
        // For virtual machines: their network cards, and the processor's help where there is any.
        devices.push_str("c /dev/net/tun 0666 root root - 10:200\n");
        if machines::has_kvm() {
            devices.push_str("c /dev/kvm 0660 root root - 10:232\n");
        }
        self.write("/etc/tmpfiles.d/lab.conf", devices, 0o644)?;
        // It refuses to run in a container otherwise, and here it has to.
        self.write(
            "/etc/systemd/system/lxcfs.service.d/lab.conf",
            "[Unit]\nConditionVirtualization=\n",
            0o644,
        )
    }

    fn services(&self) -> Result<(), Error> {
        // KillMode: the guests' monitors are not this service's to end.
        let api = format!(
            "[Unit]\nDescription=API of the lab's node\nAfter=network.target lxcfs.service\nStartLimitIntervalSec=0\n\n[Service]\n\
             ExecStart={NODE_PROGRAM} lab serve --folder {NODE_STATE}\nRestart=always\nRestartSec=100ms\n\
             KillMode=process\nLimitNOFILE=65536\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        let guests = format!(
            "[Unit]\nDescription=Guests that start with the node\nAfter=phoenix-lab.service lxcfs.service nftables.service\n\
             Requires=phoenix-lab.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart={NODE_PROGRAM} lab node start-guests\nTimeoutStartSec=600\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        let firewall = format!(
            "[Unit]\nDescription=Proxmox VE firewall\nAfter=nftables.service network.target\nBefore=pve-guests.service\n\
             StartLimitIntervalSec=0\n\n[Service]\nExecStart={NODE_PROGRAM} lab node pve-firewall watch\n\
             Restart=always\nRestartSec=100ms\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        self.write("/etc/systemd/system/pve-firewall.service", firewall, 0o644)?;
        let wants = "/etc/systemd/system/multi-user.target.wants";
        // The first node is the site's router.
        if let Some(config) = dhcp::config(self.spec).filter(|_| self.node.is_first()) {
            self.write(dhcp::CONFIG, config, 0o644)?;
            self.write("/etc/systemd/system/phoenix-lab-dhcp.service", dhcp::unit(), 0o644)?;
            let unit = "/etc/systemd/system/phoenix-lab-dhcp.service";
            self.link(&format!("{wants}/phoenix-lab-dhcp.service"), unit)?;
        }
        self.write("/etc/systemd/system/phoenix-lab.service", api, 0o644)?;
        self.write("/etc/systemd/system/pve-guests.service", guests, 0o644)?;
        self.link(&format!("{wants}/phoenix-lab.service"), "/etc/systemd/system/phoenix-lab.service")?;
        self.link(&format!("{wants}/pve-firewall.service"), "/etc/systemd/system/pve-firewall.service")?;
        self.link(&format!("{wants}/pve-guests.service"), "/etc/systemd/system/pve-guests.service")?;
        self.link(&format!("{wants}/nftables.service"), "/lib/systemd/system/nftables.service")
    }

    /// Key pairs of the person and of the node. They stay as long as the lab's folder does.
    async fn ssh(&self) -> Result<(), Error> {
        let limit = std::time::Duration::from_secs(30);
        let identity = self.spec.folder.join("id_ed25519");
        if !identity.exists() {
            let argv =
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "phoenix-lab", "-f", identity.as_str()];
            run("making the lab's ssh key", &argv, b"", limit).await?;
        }
        let public =
            fs::read(identity.with_extension("pub")).map_err(Error::io("reading the lab's ssh key"))?;
        self.write("/root/.ssh/authorized_keys", public, 0o600)?;
        for folder in ["root", "root/.ssh"] {
            let folder = self.root.join(folder);
            fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))
                .map_err(Error::io(format!("protecting `{folder}`")))?;
        }
        let host = self.root.join("etc/ssh/ssh_host_ed25519_key");
        if !host.exists() {
            if let Some(folder) = host.parent() {
                fs::create_dir_all(folder).map_err(Error::io(format!("making `{folder}`")))?;
            }
            let comment = format!("root@{}", self.node.name);
            let argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f", host.as_str()];
            run("making the node's host key", &argv, b"", limit).await?;
        }
        Ok(())
    }

    fn apt(&self, apt: &MachineApt) -> Result<(), Error> {
        // For guests, which the runtime hands them on to, and for the node itself.
        for base in [MACHINE_APT, "/etc/apt"] {
            for (name, text) in &apt.sources {
                let name = if name == "sources.list" { "machine.list" } else { name };
                self.write(&format!("{base}/sources.list.d/{name}"), text, 0o644)?;
            }
            self.write(&format!("{base}/apt.conf.d/99machine"), &apt.settings, 0o644)?;
        }
        for (name, key) in &apt.keyrings {
            self.write(&format!("{MACHINE_APT}/keyrings/{name}"), key, 0o644)?;
            self.write(&format!("/usr/share/keyrings/{name}"), key, 0o644)?;
        }
        Ok(())
    }
}

/// The node's public host key, as a `known_hosts` file has it without the name.
pub(crate) fn host_key(folder: &Utf8Path) -> Result<String, Error> {
    let path = folder.join("upper/etc/ssh/ssh_host_ed25519_key.pub");
    let text = fs::read_to_string(&path).map_err(Error::io("reading the node's host key"))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// The LXC configuration of the node itself.
pub(crate) fn lxc_config(spec: &LabSpec, node: &NodePlan, names: &Names, base: &Base, mtu: u32) -> String {
    let (id, folder) = (&names.id, &node.folder);
    // In the lab's own cgroup, all of them.
    let cgroup = if node.is_first() { String::new() } else { format!("{}-", node.name) };
    let v2 = Utf8Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    // On v1 systemd has to be told to leave the unified tree alone.
    let init = if v2 { "/sbin/init" } else { "/sbin/init systemd.unified_cgroup_hierarchy=0" };
    let broadcast = Ipv4Addr::from(u32::from(names.inside) + 1);
    let uplink = match node.is_first() {
        true => format!(
            "lxc.net.0.type = veth\n\
             lxc.net.0.veth.pair = {id}\n\
             lxc.net.0.name = eth0\n\
             lxc.net.0.hwaddr = {mac}\n\
             lxc.net.0.mtu = {mtu}\n\
             lxc.net.0.flags = up\n\
             lxc.net.0.ipv4.address = {inside}/30 {broadcast}\n\
             lxc.net.0.ipv4.gateway = {outside}\n",
            mac = names.mac,
            inside = names.inside,
            outside = names.outside,
        ),
        // Its way out is the first one.
        false => "lxc.net.0.type = empty\n".to_owned(),
    };
    let bind = |from: &Utf8Path, to: &str, options: &str| {
        format!("lxc.mount.entry = {from} {} none {options},create=dir 0 0\n", to.trim_start_matches('/'))
    };
    let mut out = format!(
        "lxc.uts.name = {node}\n\
         lxc.arch = {arch}\n\
         lxc.rootfs.path = overlay:{base}:{folder}/upper\n\
         lxc.init.cmd = {init}\n\
         lxc.pty.max = 1024\n\
         lxc.tty.max = 0\n\
         lxc.autodev = 1\n\
         lxc.cap.drop =\n\
         lxc.apparmor.profile = unconfined\n\
         lxc.mount.auto = proc:rw sys:rw cgroup:rw:force\n\
         lxc.cgroup.dir.monitor = {id}/{cgroup}monitor\n\
         lxc.cgroup.dir.container = {id}/{cgroup}payload\n\
         lxc.cgroup.devices.allow = a\n\
         lxc.cgroup2.devices.allow = a\n\
         lxc.signal.halt = SIGRTMIN+3\n\
         {uplink}\
         # The kernel gives a user namespace a new proc or sysfs only where a whole one is to be seen.\n\
         lxc.mount.entry = proc dev/.lxc/proc proc create=dir,optional 0 0\n\
         lxc.mount.entry = sys dev/.lxc/sys sysfs create=dir,optional 0 0\n",
        node = node.name,
        arch = std::env::consts::ARCH,
        base = base.node,
    );
    out += &bind(&spec.folder.join("bin"), "/usr/local/lib/phoenix-lab", "bind,ro");
    // The template alone: what is downloaded to the storage lies beside it, and is this lab's own.
    let _ = writeln!(
        out,
        "lxc.mount.entry = {from} {to} none bind,ro,create=file 0 0",
        from = base.templates.join(&base.template),
        to = format_args!("var/lib/vz/template/cache/{}", base.template),
    );
    out += &bind(&super::base::made_folder(&spec.cache), MADE, "bind");
    for name in folders::OUTSIDE {
        out += &bind(&folders::place(folder, name), name, "bind");
    }
    out += &bind(&folder.join("images"), "/var/lib/vz/images", "bind");
    out += &bind(&folder.join("storage"), "/mnt/pve", "bind");
    out += &bind(&folder.join("state"), NODE_STATE, "bind");
    if !spec.others.is_empty() {
        let cluster = spec.folder.join(CLUSTER);
        out += &bind(&cluster, &format!("{NODE_STATE}/{CLUSTER}"), "bind");
        for part in cluster_files::SHARED {
            out += &bind(&cluster.join("pve").join(part), &format!("/etc/pve/{part}"), "bind");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(others: &[&str]) -> LabSpec {
        LabSpec {
            folder: "/srv/lab".into(),
            node: "pve1".to_owned(),
            others: others.iter().map(|name| (*name).to_owned()).collect(),
            networks: vec![super::super::Network {
                bridge: "vmbr0".to_owned(),
                subnet: "10.0.0.0/24".parse().unwrap(),
                gateway: Ipv4Addr::new(10, 0, 0, 1),
                node: None,
            }],
            storages: Vec::new(),
            ports: super::super::Ports::default(),
            reserved: std::collections::BTreeSet::new(),
            https_target: None,
            program: None,
            cache: "/srv/cache".into(),
            machine: None,
        }
    }

    fn config(spec: &LabSpec, at: usize) -> String {
        let base =
            Base { node: "/base/node".into(), templates: "/base/templates".into(), template: String::new() };
        lxc_config(spec, &spec.nodes()[at], &Names::of(&spec.folder, 0), &base, 1400)
    }

    /// What is on this machine of a lab is the same whatever number of nodes it has.
    #[test]
    fn only_the_first_node_has_a_way_out() {
        let two = lab(&["pve2"]);
        let id = Names::of(&two.folder, 0).id;
        let (first, second) = (config(&two, 0), config(&two, 1));
        assert!(first.contains(&format!("lxc.net.0.veth.pair = {id}\n")) && !second.contains("veth"));
        for line in [
            "lxc.uts.name = pve2",
            "lxc.net.0.type = empty",
            "lxc.rootfs.path = overlay:/base/node:/srv/lab/nodes/pve2/upper",
            &format!("lxc.cgroup.dir.container = {id}/pve2-payload"),
            "lxc.mount.entry = /srv/lab/bin usr/local/lib/phoenix-lab none bind,ro,create=dir 0 0",
            "lxc.mount.entry = /srv/lab/nodes/pve2/folders/srv srv none bind,create=dir 0 0",
            "lxc.mount.entry = /srv/lab/nodes/pve2/images var/lib/vz/images none bind,create=dir 0 0",
        ] {
            assert!(second.lines().any(|l| l == line), "`{line}` is missing in\n{second}");
        }
        // The folders of `/etc/pve` are in both; all else is as in a lab of one node.
        let alone = config(&lab(&[]), 0);
        let more: Vec<&str> = first.lines().filter(|line| !alone.lines().any(|l| l == *line)).collect();
        assert!(
            more.iter().all(|line| line.contains("/srv/lab/cluster") && second.contains(line)),
            "{more:?}"
        );
        assert_eq!(more.len(), 1 + cluster_files::SHARED.len());
        assert!(alone.lines().all(|line| first.contains(line)), "{alone}");
    }

    /// A machine's own link is its way out, and everything else is as in a container.
    #[test]
    fn a_machine_has_links_mounts_and_modules_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let spec = LabSpec { machine: Some(super::super::MachineSpec::default()), ..lab(&[]) };
        let upper = Upper { root: root.to_owned(), spec: &spec, node: spec.nodes()[0].clone() };
        let interfaces = upper.interfaces();
        assert!(
            interfaces.contains("iface eth0 inet static\n\taddress 198.18.0.2/24\n\tgateway 198.18.0.1\n")
        );
        assert!(interfaces.contains("iface vmbr0 inet static\n\taddress 10.0.0.254/24\n"));
        let base = Base {
            node: "/base/node".into(),
            templates: "/base/templates".into(),
            template: "debian.tar.zst".into(),
        };
        // Only root may give the shared folder away, which is the last of it.
        let _ = upper.machine(&base);
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(
            read("etc/fstab"),
            "LABEL=phoenix-node / ext4 errors=remount-ro 0 1\nLABEL=phoenix-program /usr/local/lib/phoenix-lab ext4 ro 0 0\n\
             /usr/local/lib/phoenix-lab/templates/debian.tar.zst /var/lib/vz/template/cache/debian.tar.zst none bind,ro 0 0\n"
        );
        assert!(read("etc/sysctl.d/lab.conf").contains("eth0.proxy_arp=1"));
        assert!(read("etc/modules-load.d/lab.conf").contains("zfs"));
    }

    #[test]
    fn the_routers_address_is_the_first_nodes_alone() {
        let spec = lab(&["pve2"]);
        let upper = |at: usize| Upper { root: "/none".into(), spec: &spec, node: spec.nodes()[at].clone() };
        let (first, second) = (upper(0).interfaces(), upper(1).interfaces());
        assert!(
            first.contains("address 10.0.0.254/24")
                && first.contains("\tup ip addr add 10.0.0.1/24 dev vmbr0\n")
        );
        assert!(
            second.contains("address 10.0.0.253/24")
                && second.ends_with("\tbridge-fd 0\n\tgateway 10.0.0.1\n")
        );
        assert!(!upper(1).nftables(&[]).contains("masquerade"));
    }
}
