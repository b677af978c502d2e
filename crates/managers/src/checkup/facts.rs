//! What `look.sh` says about a node. A line for each fact; printed, they are what was read.

use super::record::Field;

records! {
    /// What is being looked at: the last one that was begun is what hung, where there is no end.
    At = "at" {
        /// In a word or two.
        what: String,
    }
    /// What there was no time left for.
    Late = "late" {
        /// In a word or two.
        what: String,
    }
    /// It got to the end.
    End = "end" {
        /// Unix seconds.
        clock: i64,
    }
    /// A program that would have told something, and is not there.
    Missing = "missing" {
        /// Its name.
        tool: String,
    }
    /// Who this is.
    Node = "node" {
        /// Its clock, Unix seconds.
        clock: i64,
        /// Its name.
        name: String,
        /// The kernel that runs.
        kernel: String,
        /// What it runs in, as systemd-detect-virt says: `none`, `kvm`, `lxc`.
        within: String,
        /// Seconds since it started.
        up: u64,
        /// /etc/machine-id.
        machine_id: Option<String>,
    }
    /// What is installed.
    System = "system" {
        /// `debian`.
        id: String,
        /// `trixie`.
        codename: Option<String>,
        /// `Debian GNU/Linux 13 (trixie)`.
        title: String,
        /// The version of Proxmox VE.
        proxmox: Option<String>,
    }
    /// The processor.
    Cpu = "cpu" {
        /// `AuthenticAMD`, `GenuineIntel`.
        vendor: String,
        /// How many run.
        count: u64,
        /// `vmx` or `svm`, where the firmware lets virtual machines be run by it.
        virtualises: Option<String>,
        /// Whether there is /dev/kvm.
        kvm: bool,
        /// What waits to run, over 15 minutes, in hundredths.
        load: u64,
        /// How many known holes are open.
        holes: u64,
        /// How often it was slowed down because it was hot.
        throttled: Option<u64>,
        /// How many IOMMU groups there are.
        iommu: u64,
    }
    /// A memory controller that counts errors.
    Ecc = "ecc" {
        /// `mc0`.
        name: String,
        /// Mended.
        mended: u64,
        /// Not mended.
        lost: u64,
    }
    /// A sensor of temperature.
    Sensor = "sensor" {
        /// What has it.
        chip: String,
        /// Thousandths of a degree.
        now: i64,
        /// Where it is too hot.
        most: Option<i64>,
    }
    /// Memory, KiB.
    Memory = "memory" {
        /// All.
        all: u64,
        /// What programs can get.
        left: u64,
        /// Programs that were ended since it started because none was left.
        killed: Option<u64>,
        /// Share of five minutes in which everything waited for memory, hundredths of a percent.
        waits: Option<u64>,
        /// The same for disks.
        waits_for_disks: Option<u64>,
    }
    /// Where memory is put aside.
    Swap = "swap" {
        /// The device or file.
        place: String,
        /// KiB.
        all: u64,
        /// KiB.
        used: u64,
    }
    /// What it starts with.
    Boot = "boot" {
        /// The newest kernel that is installed.
        newest: Option<String>,
        /// Whether the running kernel's modules are there.
        modules: bool,
        /// Whether a package asks for a restart.
        wanted: bool,
        /// Whether it was started by UEFI.
        efi: bool,
        /// Whether proxmox-boot-tool looks after the EFI partitions.
        tool: bool,
    }
    /// What the kernel said: how often, and the last of it.
    Said = "said" {
        /// `hardware`, `disk`, `filesystem`, `hung`.
        about: String,
        /// How often.
        times: u64,
        /// The last line.
        last: String,
    }
    /// A unit that failed.
    Failed = "failed" {
        /// Its name.
        unit: String,
    }
    /// A service that matters.
    Service = "service" {
        /// Its name, without `.service`.
        name: String,
        /// `loaded`, `not-found`, `masked`.
        load: String,
        /// `active`, `inactive`, `failed`.
        active: String,
    }
    /// A local file system.
    Mount = "mount" {
        /// Where it is.
        place: String,
        /// What it is on.
        device: String,
        /// `ext4`.
        kind: String,
        /// Whether it can be written to.
        writable: bool,
        /// KiB.
        all: u64,
        /// KiB.
        left: u64,
        /// How many files it can have; 0 where it does not count.
        files: u64,
        /// How many more.
        files_left: u64,
    }
    /// A disk.
    Disk = "disk" {
        /// `sda`.
        name: String,
        /// Bytes.
        size: u64,
        /// Whether it turns.
        turns: Option<u64>,
        /// The model.
        model: Option<String>,
        /// The serial number.
        serial: Option<String>,
        /// Its name below /dev/disk/by-id.
        id: Option<String>,
    }
    /// What a disk says about itself.
    Smart = "smart" {
        /// `sda`.
        disk: String,
        /// `passed`, `failed`, `asleep`, `unknown`.
        health: String,
        /// Sectors that were lost, and errors of the medium.
        errors: Option<u64>,
        /// How much of its life is used, percent.
        worn: Option<u64>,
    }
    /// A thin pool of LVM.
    Thin = "thin" {
        /// `pve/data`.
        name: String,
        /// Percent.
        data: u64,
        /// Percent.
        metadata: u64,
    }
    /// A pool of ZFS.
    Pool = "pool" {
        /// Its name.
        name: String,
        /// `ONLINE`, `DEGRADED`.
        health: String,
        /// Percent.
        full: u64,
        /// Errors of its disks.
        errors: u64,
        /// When it was last looked through, Unix seconds.
        scrubbed: Option<i64>,
    }
    /// The cache of ZFS.
    Arc = "arc" {
        /// KiB that it may take.
        most: u64,
    }
    /// A software RAID.
    Raid = "raid" {
        /// `md0`.
        name: String,
        /// `UU`, `U_`.
        disks: String,
    }
    /// A source of packages.
    Repository = "repository" {
        /// The file that declares it.
        file: String,
        /// Where.
        uris: String,
        /// `trixie trixie-updates`.
        suites: String,
        /// `main`.
        components: String,
    }
    /// The lists of what could be installed.
    Lists = "lists" {
        /// When they were fetched, Unix seconds.
        fetched: Option<i64>,
        /// When the first of them ends, Unix seconds.
        ends: Option<i64>,
    }
    /// What could be updated.
    Upgrades = "upgrades" {
        /// Packages.
        all: u64,
        /// Of those, for security.
        security: u64,
    }
    /// A package that matters, or is not wholly installed.
    Package = "package" {
        /// `ii`, `iF`, `hi`, as dpkg has it.
        state: String,
        /// Its name.
        name: String,
    }
    /// A program that has the packages locked.
    Busy = "busy" {
        /// Its name.
        program: String,
        /// For how long, seconds.
        runs: u64,
    }
    /// The subscription.
    Subscription = "subscription" {
        /// `active`, `notfound`.
        status: String,
    }
    /// How it knows the time.
    Time = "time" {
        /// `Europe/Vienna`, as the system has it.
        zone: Option<String>,
        /// /etc/timezone.
        written: Option<String>,
        /// Whether the clock of the board is local time.
        local_rtc: Option<bool>,
        /// Whether its clock is set by others'.
        synced: Option<bool>,
    }
    /// What its own name means to it.
    Own = "own" {
        /// The addresses, by /etc/hosts alone.
        addresses: Option<String>,
    }
    /// An address it has.
    Address = "address" {
        /// The link.
        link: String,
        /// The address, without its prefix.
        address: String,
    }
    /// A name server it asks.
    Resolver = "resolver" {
        /// Its address.
        address: String,
    }
    /// A name that was asked for.
    Lookup = "lookup" {
        /// The name.
        name: String,
        /// Whether there was an address.
        found: bool,
    }
    /// A way out.
    Route = "route" {
        /// The link.
        link: String,
    }
    /// A link of the node's own.
    Link = "link" {
        /// `enp5s0`.
        name: String,
        /// `card`, `bridge`, `bond`, `other`.
        kind: String,
        /// The MAC.
        mac: String,
        /// Bytes in a packet.
        mtu: u64,
        /// `up`, `down`, `unknown`.
        state: String,
        /// Mbit/s.
        speed: Option<u64>,
        /// The bridge or bond that it is part of.
        within: Option<String>,
    }
    /// Changes of the network that wait.
    Pending = "pending" {
        /// The file.
        file: String,
    }
    /// A quorum, in a cluster.
    Quorum = "quorum" {
        /// Whether there is one.
        held: Option<bool>,
    }
    /// Proxmox VE's own files.
    Cluster = "cluster" {
        /// Whether /etc/pve is there.
        mounted: bool,
        /// Whether it has a folder for a node of this name.
        known: bool,
    }
    /// A storage of Proxmox VE.
    Storage = "storage" {
        /// Its name.
        name: String,
        /// `active`, `inactive`, `disabled`.
        status: String,
        /// KiB.
        all: u64,
        /// KiB.
        used: u64,
    }
    /// A certificate of the node's API.
    Certificate = "certificate" {
        /// Its file.
        file: String,
        /// Its end, Unix seconds.
        ends: i64,
    }
    /// A guest.
    Guest = "guest" {
        /// Its id.
        id: u64,
        /// `ct`, `vm`.
        kind: String,
        /// Why it is locked.
        lock: Option<String>,
        /// MiB.
        memory: u64,
        /// Whether it starts with the node.
        starts: bool,
        /// Whether it is handed a device of the node.
        devices: bool,
        /// How many snapshots it has.
        snapshots: u64,
        /// When the oldest was made, Unix seconds.
        oldest: Option<i64>,
    }
    /// Backups.
    Backups = "backups" {
        /// How many schedules there are.
        jobs: u64,
        /// When the last one was made here, Unix seconds.
        last: Option<i64>,
    }
    /// Limits of the kernel.
    Limits = "limits" {
        /// fs.inotify.max_user_instances.
        inotify: u64,
        /// fs.inotify.max_user_watches.
        watches: u64,
        /// Open files.
        open: u64,
        /// How many there may be.
        most_open: u64,
        /// Bits of randomness.
        entropy: Option<u64>,
        /// User namespaces there may be.
        namespaces: Option<u64>,
        /// Connections that are followed.
        tracked: Option<u64>,
        /// How many there may be.
        most_tracked: Option<u64>,
    }
    /// Ids that root gives to unprivileged containers.
    IdMap = "idmap" {
        /// `subuid`, `subgid`.
        file: String,
        /// The first.
        first: u64,
        /// How many.
        count: u64,
    }
    /// What keeps guests apart.
    Apart = "apart" {
        /// Whether AppArmor is on.
        apparmor: bool,
        /// Whether there is but cgroup v2.
        unified: bool,
    }
    /// Who may log in over ssh.
    Ssh = "ssh" {
        /// PermitRootLogin.
        root: String,
        /// PasswordAuthentication.
        passwords: bool,
    }
    /// Root's password: `set`, `empty`, `locked`.
    Root = "root" {
        /// Which of them.
        password: String,
    }
    /// A line of /etc/exports.
    Export = "export" {
        /// As it stands there.
        line: String,
    }
    /// A graphics card.
    Gpu = "gpu" {
        /// `0000:01:00.0`.
        slot: String,
        /// `10de`.
        vendor: String,
        /// `2684`.
        device: String,
        /// `nvidia`, `vfio-pci`.
        driver: Option<String>,
        /// What it calls itself.
        title: Option<String>,
    }
    /// The driver of NVIDIA.
    Nvidia = "nvidia" {
        /// The version that runs.
        loaded: Option<String>,
        /// The version of the module for this kernel.
        module: Option<String>,
        /// The version of the library.
        library: Option<String>,
    }
}

facts! {
    one {
        /// The end.
        end: End,
        /// Who this is.
        node: Node,
        /// What is installed.
        system: System,
        /// The processor.
        cpu: Cpu,
        /// Its memory.
        memory: Memory,
        /// What it starts with.
        boot: Boot,
        /// The cache of ZFS.
        arc: Arc,
        /// The lists of packages.
        lists: Lists,
        /// What could be updated.
        upgrades: Upgrades,
        /// The subscription.
        subscription: Subscription,
        /// How it knows the time.
        time: Time,
        /// Its own name.
        own: Own,
        /// The quorum.
        quorum: Quorum,
        /// Proxmox VE's files.
        cluster: Cluster,
        /// Backups.
        backups: Backups,
        /// Limits.
        limits: Limits,
        /// What keeps guests apart.
        apart: Apart,
        /// Who may log in.
        ssh: Ssh,
        /// Root's password.
        root: Root,
        /// NVIDIA's driver.
        nvidia: Nvidia,
    }
    many {
        /// What was looked at, in order.
        at: At,
        /// What there was no time left for.
        late: Late,
        /// Programs that are not there.
        missing: Missing,
        /// Controllers of memory.
        ecc: Ecc,
        /// Sensors.
        sensors: Sensor,
        /// Swap.
        swaps: Swap,
        /// What the kernel said.
        said: Said,
        /// Units that failed.
        failed: Failed,
        /// Services.
        services: Service,
        /// Local file systems.
        mounts: Mount,
        /// Disks.
        disks: Disk,
        /// What they say.
        smart: Smart,
        /// Thin pools.
        thin: Thin,
        /// Pools.
        pools: Pool,
        /// RAIDs.
        raids: Raid,
        /// Sources of packages.
        repositories: Repository,
        /// Packages.
        packages: Package,
        /// Who has them locked.
        busy: Busy,
        /// Its addresses.
        addresses: Address,
        /// Name servers.
        resolvers: Resolver,
        /// Names that were asked for.
        lookups: Lookup,
        /// Ways out.
        routes: Route,
        /// Links.
        links: Link,
        /// Changes of the network that wait.
        pending: Pending,
        /// Storages.
        storages: Storage,
        /// Certificates.
        certificates: Certificate,
        /// Guests of this node.
        guests: Guest,
        /// Maps of ids.
        idmaps: IdMap,
        /// Exports.
        exports: Export,
        /// Graphics cards.
        gpus: Gpu,
    }
}

impl Facts {
    /// What the script printed, as far as it got.
    pub fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        text.lines().for_each(|line| facts.take(line));
        facts
    }

    /// Whether it lacks this program.
    pub fn lacks(&self, tool: &str) -> bool {
        self.missing.iter().any(|it| it.tool == tool)
    }

    /// Whether the node is a container itself, so that kernel, clock and machine are another's.
    pub fn contained(&self) -> bool {
        self.node.as_ref().is_some_and(|it| {
            matches!(
                it.within.as_str(),
                "lxc" | "lxc-libvirt" | "docker" | "podman" | "systemd-nspawn" | "container-other"
            )
        })
    }

    /// Whether it is a machine of its own, neither container nor virtual machine.
    pub fn metal(&self) -> bool {
        self.node.as_ref().is_some_and(|it| it.within == "none")
    }

    /// The file system at this place.
    pub fn mount(&self, place: &str) -> Option<&Mount> {
        self.mounts.iter().rfind(|it| it.place == place)
    }

    /// Whether it has Proxmox VE.
    pub fn has_proxmox(&self) -> bool {
        self.system.as_ref().is_some_and(|it| it.proxmox.is_some())
    }
}

#[cfg(test)]
mod tests;
