//! A node, its API and its command line, made for a test.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Faults, SimExchange, SimRuntime, SimShell, Times};
use crate::node::{Auth, Clock, Cluster, Member, Node, NodeError, NodeOptions, Storage, Template, introduce};
use crate::runtime::Runtime;

/// The API token of `root@pam`, not privilege-separated. It is not root.
pub const ROOT_TOKEN: &str = "root@pam!root";
/// A separated token of the user `phoenix@pve`; both have the role `Phoenix` on `/`.
pub const NARROW_TOKEN: &str = "phoenix@pve!cli";

/// The privileges of the role `Phoenix`: enough for guests and storages, and nothing that takes root (recorded with a real node).
const ROLE: &str = "VM.Allocate,VM.Clone,VM.Config.Disk,VM.Config.CPU,VM.Config.Memory,VM.Config.Network,\
    VM.Config.Options,VM.Config.Cloudinit,VM.Config.HWType,VM.Config.CDROM,VM.PowerMgmt,VM.Audit,VM.Snapshot,VM.Backup,\
    VM.GuestAgent.Audit,VM.GuestAgent.Unrestricted,Datastore.AllocateSpace,Datastore.AllocateTemplate,Datastore.Audit,\
    Datastore.Allocate,Sys.Audit,Sys.Modify,SDN.Use,Mapping.Use,Mapping.Modify,Pool.Allocate,Pool.Audit";

/// The time at which every simulated world begins: 23 November 2026, 08:00 UTC.
const BEGIN: u64 = 1_795_420_800;

/// How a [`World`] is made.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// Everything drawn follows from it.
    pub seed: u64,
    /// How long things take.
    pub times: Times,
    /// What goes wrong.
    pub faults: Faults,
    /// How long a call takes to go there and back.
    pub latency: Duration,
    /// Where whoever makes the calls comes from, as the node's firewall sees it.
    pub client: IpAddr,
    /// The node. Its clock follows tokio's.
    pub node: NodeOptions,
    /// The other nodes of its cluster; none where it is alone.
    pub others: Vec<NodeOptions>,
}

impl WorldOptions {
    /// The usual world with this seed: the node `pve1` with the bridge `vmbr0`; the storages `local` (templates), `tank` (a
    /// folder) and `local-zfs`; the templates of Debian 12 and 13, and the image `local:import/debian-12.qcow2`; realistic
    /// times; nothing that goes wrong.
    pub fn new(seed: u64) -> Self {
        let template =
            |name: &str| Template { name: name.to_owned(), size: 126_000_000, ctime: BEGIN - 86_400 };
        let mut local = Storage::new("local", "dir", "/var/lib/vz", "iso,vztmpl,backup,snippets,import");
        local.templates = vec![
            template("debian-12-standard_12.12-1_amd64.tar.zst"),
            template("debian-13-standard_13.1-2_amd64.tar.zst"),
        ];
        // The disk that is in it, of two GiB.
        local.images = vec![Template {
            name: "import/debian-12.qcow2".to_owned(),
            size: 2 << 30,
            ctime: BEGIN - 86_400,
        }];
        let mut zfs = Storage::new("local-zfs", "zfspool", "rpool/data", "images,rootdir");
        let mut tank = Storage::new("tank", "dir", "/tank", "images,rootdir");
        // Room for thousands of guests.
        (zfs.total, tank.total) = (64 << 40, 64 << 40);
        let mut node = NodeOptions::new("pve1");
        node.seed = Some(seed);
        node.storages = vec![local, zfs, tank];
        Self {
            seed,
            times: Times::default(),
            faults: Faults::none(),
            latency: Duration::ZERO,
            client: super::firewall::CLIENT,
            node,
            others: Vec::new(),
        }
    }

    /// With these times.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// With this that goes wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// With this long for every call to go there and back.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// With this many nodes, which are one cluster: `pve1`, `pve2`, … with the addresses 10.10.10.1, 10.10.10.2, …, each
    /// with the bridge, the storages and the templates of the first, and guests of its own.
    #[must_use]
    pub fn nodes(mut self, count: u8) -> Self {
        let address = |number: u8| format!("10.10.10.{number}");
        let first = self.node.clone();
        self.others = (2..=count)
            .map(|number| {
                let mut other = first.clone();
                other.name = format!("pve{number}");
                // Other MACs and other tasks than the first one's.
                other.seed = first.seed.map(|seed| super::draw(seed, &[u64::from(number)]));
                other.hardware.address = address(number);
                for bridge in &mut other.bridges {
                    bridge.cidr = Some(format!("{}/24", address(number)));
                }
                other
            })
            .collect();
        if count > 1 {
            self.node.hardware.address = address(1);
        }
        self
    }

    /// Makes it. Inside a tokio runtime, whose clock it follows: with a paused one, hours pass in no time.
    ///
    /// # Errors
    /// When the node has folders and they cannot be used.
    pub fn build(self) -> Result<World, NodeError> {
        let members = std::iter::once(&self.node).chain(&self.others);
        let member =
            |node: &NodeOptions| Member { name: node.name.clone(), address: node.hardware.address.clone() };
        let cluster = (!self.others.is_empty()).then(|| Cluster::in_memory(members.map(member).collect()));
        let open = |mut options: NodeOptions, runtime: &SimRuntime| {
            options.clock = Clock::at(BEGIN);
            options.cluster = options.cluster.or_else(|| cluster.clone());
            let node = Node::open(options, Arc::new(runtime.clone()))?;
            node.set_task_plan(Some(Arc::new(self.faults.clone())));
            Ok::<Node, NodeError>(node)
        };
        let clock = Clock::at(BEGIN);
        let runtime = SimRuntime::new(self.seed, self.times.clone()).clock(clock);
        let node = open(self.node, &runtime)?;
        node.set_token(ROOT_TOKEN, "root-secret", false);
        node.set_token(NARROW_TOKEN, "narrow-secret", true);
        node.set_role("Phoenix", ROLE);
        node.grant("phoenix@pve", "/", "Phoenix");
        node.grant(NARROW_TOKEN, "/", "Phoenix");
        let mut others = Vec::new();
        for (at, options) in (1..).zip(self.others) {
            let runtime = SimRuntime::new(super::draw(self.seed, &[at]), self.times.clone()).clock(clock);
            others.push((open(options, &runtime)?, runtime));
        }
        let beside: Vec<Node> = others.iter().map(|(node, _)| node.clone()).collect();
        introduce(&[std::slice::from_ref(&node), &beside].concat());
        let exchange = |auth: Auth| {
            let exchange = SimExchange::new(node.clone(), auth).faults(self.faults.clone());
            exchange.latency(self.latency).client(self.client)
        };
        let shell = SimShell::cluster(node.clone(), beside).faults(self.faults.clone());
        let shell = shell.latency(self.latency).client(self.client);
        let other = |(at, (node, runtime))| Other { node, runtime, shell: shell.on(at) };
        Ok(World {
            exchange: exchange(Auth::of(NARROW_TOKEN)),
            as_root: exchange(Auth::root()),
            others: (1..).zip(others).map(other).collect(),
            shell,
            seed: self.seed,
            faults: self.faults,
            runtime,
            node,
        })
    }
}

/// Another node of a world's cluster.
#[derive(Debug, Clone)]
pub struct Other {
    /// The node.
    pub node: Node,
    /// Its runtime: the guests that run on it.
    pub runtime: SimRuntime,
    /// Its command line.
    pub shell: SimShell,
}

/// A simulated node with everything to reach it.
#[derive(Debug, Clone)]
pub struct World {
    /// The seed it follows from. Print it when a test fails.
    pub seed: u64,
    /// The node.
    pub node: Node,
    /// Its runtime.
    pub runtime: SimRuntime,
    /// Its API, as the narrow token.
    pub exchange: SimExchange,
    /// Its API, as `root@pam` itself.
    pub as_root: SimExchange,
    /// Its command line.
    pub shell: SimShell,
    /// What goes wrong, and the record of what was done.
    pub faults: Faults,
    /// The other nodes of its cluster.
    pub others: Vec<Other>,
}

impl World {
    /// The usual world ([`WorldOptions::new`]) with this seed.
    ///
    /// # Errors
    /// None in practice: it is all in memory.
    pub fn new(seed: u64) -> Result<Self, NodeError> {
        WorldOptions::new(seed).build()
    }

    /// Puts `count` running guests there, from `first` on, at no cost in time. `text` makes the configuration file of each
    /// (see [`guest_file`](World::guest_file)).
    ///
    /// # Errors
    /// None in practice: it is all in memory.
    pub fn add_guests(&self, first: u32, count: u32, text: impl Fn(u32) -> String) -> Result<(), NodeError> {
        for id in first..first + count {
            self.node.put_guest(id, &text(id))?;
            self.runtime.set_running(id);
        }
        Ok(())
    }

    /// Puts `count` running virtual machines there, as [`add_guests`](World::add_guests) does containers. Their agents answer.
    ///
    /// # Errors
    /// None in practice: it is all in memory.
    pub fn add_vms(&self, first: u32, count: u32, text: impl Fn(u32) -> String) -> Result<(), NodeError> {
        for id in first..first + count {
            let text = text(id);
            self.node.put_vm(id, &text)?;
            let config = proxmox::config::GuestConfig::parse(proxmox::config::GuestKind::Vm, &text);
            self.runtime.set_running_vm(id, config.current.values);
        }
        Ok(())
    }

    /// A plausible configuration file for virtual machine `id`, with nothing that marks it as anybody's.
    pub fn vm_file(id: u32) -> String {
        let [_, a, b, c] = id.to_be_bytes();
        format!(
            "agent: enabled=1\nboot: order=scsi0\ncores: 1\nide2: tank:{id}/vm-{id}-cloudinit.qcow2,media=cdrom\nipconfig0: \
             ip=10.{a}.{b}.{c}/8,gw=10.0.0.1\nmemory: 512\nmeta: creation-qemu=10.0.13,ctime=1795420800\nname: \
             vm{id}\nnet0: virtio=BC:24:11:{a:02X}:{b:02X}:{c:02X},bridge=vmbr0\nonboot: 1\nostype: l26\nscsi0: \
             tank:{id}/vm-{id}-disk-0.qcow2,size=4G\nscsihw: virtio-scsi-single\nserial0: socket\n"
        )
    }

    /// A plausible configuration file for guest `id`, with nothing that marks it as anybody's.
    pub fn guest_file(id: u32) -> String {
        let [_, a, b, c] = id.to_be_bytes();
        format!(
            "arch: amd64\ncores: 1\nfeatures: nesting=1\nhostname: ct{id}\nmemory: 512\nnet0: \
             name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:{a:02X}:{b:02X}:{c:02X},ip=10.{a}.{b}.{c}/8,type=veth\n\
             onboot: 1\nostype: debian\nrootfs: tank:{id}/vm-{id}-disk-0.raw,size=4G\nswap: 512\nunprivileged: 1\n"
        )
    }

    /// The seed, what went wrong and what was done, for the message of a failed test.
    pub fn story(&self) -> String {
        let made = self.faults.made();
        let made = made.iter().map(|made| format!("  call {}: {} → {}", made.call, made.what, made.status));
        let history = self.faults.history().into_iter().map(|line| format!("  {line}"));
        let lines: Vec<String> = history.chain(std::iter::once("done:".to_owned())).chain(made).collect();
        format!("seed {} · {} calls\nwent wrong:\n{}", self.seed, self.faults.calls(), lines.join("\n"))
    }

    /// Real or simulated: simulated.
    pub fn kind(&self) -> crate::runtime::RuntimeKind {
        self.runtime.kind()
    }
}
