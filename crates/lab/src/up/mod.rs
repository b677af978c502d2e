//! `lab up`, `down`, `status`, `shell`: one lab in one folder.
//!
//! A real lab is one privileged system container, the node, with the guests nested in it. Nearly all of it is therefore
//! gone when that container's first process is: links, mounts, loop devices, guests. What is left is a short list,
//! which [`down`] removes after whatever happened. A lab of several nodes has such a container for each; the first is the
//! site's router and the only one with a way out, so that the others leave nothing more. Start at [`up`].

pub(crate) mod base;
mod cluster_files;
mod credentials;
mod dhcp;
mod down;
mod entry;
mod error;
pub(crate) mod folders;
mod forward;
mod hardware;
mod join;
mod machine;
mod neighbour;
mod node_files;
mod preflight;
mod process;
mod published;
mod ready;
mod serve;
mod sim;
mod spec;
mod status;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};

pub use credentials::{PRIVILEGES, ROLE, Settings, TOKEN};
pub use down::{Removed, down, sweep};
pub use entry::entry;
pub use error::Error;
pub use forward::{ForwardArgs, forward};
pub use hardware::{Deed, Disk, Hardware, Link, MachineSpec, machine};
pub use preflight::{PACKAGES, apt_command, check};
pub use published::{PublishedService, TcpService, publish_services, published};
pub use serve::{ServeArgs, serve};
pub use sim::{SimNodeRunner, answer_commands, up_simulated};
pub use spec::{LabSpec, MOST_NODES, Names, Network, Ports, node_names};
pub use status::{GuestStatus, Status, shell, status};

use crate::runtime::RuntimeKind;
use base::MachineApt;
pub(crate) use error::run;
use forward::{Targets, replace};
use machine::Record;
pub(crate) use machine::{Lock, lock_file};
pub(crate) use node_files::NODE_STATE;

/// What is being done, for the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It begins, and usually takes this long.
    Doing {
        /// What.
        what: String,
        /// How long it usually takes.
        usually: Duration,
    },
    /// Something a person should know.
    Note(String),
}

impl Event {
    fn doing(what: &str, seconds: u64) -> Self {
        Self::Doing { what: what.to_owned(), usually: Duration::from_secs(seconds) }
    }
}

/// Takes the events of [`up`] and [`down`].
pub type Report<'a> = &'a (dyn Fn(Event) + Send + Sync);

/// How a lab's node is reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSsh {
    /// `root@127.0.0.1`.
    pub destination: String,
    /// The published port.
    pub port: u16,
    /// The node's key, as a `known_hosts` file has it without the name.
    pub host_key: String,
    /// The private key to log in with.
    pub identity: Utf8PathBuf,
}

impl NodeSsh {
    /// How the node of the lab in `folder` is reached, and whom to believe there.
    pub fn options(&self, folder: &Utf8Path) -> transport::SshOptions {
        transport::SshOptions {
            destination: self.destination.clone(),
            port: self.port,
            identity: Some(self.identity.clone()),
            host_key: Some(self.host_key.clone()),
            control_dir: folder.join("ssh"),
            keep: None,
        }
    }

    /// The file in `folder` that says whom to believe, written anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn known_hosts(&self, folder: &Utf8Path) -> std::io::Result<Utf8PathBuf> {
        let list = folder.join("known_hosts");
        fs::write(&list, self.options(folder).known_hosts().unwrap_or_default())?;
        Ok(list)
    }
}

/// `node.json`: all that a client needs to know about a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Real or simulated.
    pub runtime: RuntimeKind,
    /// The API: `https://127.0.0.1:8006`.
    pub endpoint: String,
    /// The SHA-256 of the node's own certificate (`pve-ssl.pem`), `AA:BB:…`. While a custom one is served, it is another's.
    pub fingerprint: String,
    /// The file with the API token, `user@realm!token=SECRET`, mode 0600.
    pub token_file: Utf8PathBuf,
    /// The file with root's password, for tickets, mode 0600.
    pub password_file: Utf8PathBuf,
    /// The node's ssh; none in a simulated lab.
    pub ssh: Option<NodeSsh>,
    /// The node's name.
    pub node: String,
    /// The names of the other nodes of its cluster. Their API and their ssh are reached through it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Whether the node is a machine of its own, and no container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
    /// The template that guests can be made from.
    pub template: Option<String>,
    /// The networks.
    pub networks: Vec<Network>,
    /// The published ports.
    pub ports: Ports,
    /// When it was started, in seconds since 1970.
    pub started: u64,
}

impl NodeRecord {
    /// Reads the record of the lab in `folder`; `None` when there is none.
    pub fn read(folder: &Utf8Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join("node.json")).ok()?).ok()
    }
}

/// How [`up`] found the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was not there.
    Nothing,
    /// It ran; something small was missing and is there again.
    Repaired,
    /// It ran.
    Running,
}

/// The default place of bases and templates: `lab` below `$PHOENIX_CACHE` or `~/.cache/phoenix`.
pub fn cache_folder(phoenix_cache: Option<&str>, home: Option<&str>) -> Utf8PathBuf {
    match (phoenix_cache.filter(|p| !p.is_empty()), home.filter(|h| !h.is_empty())) {
        (Some(cache), _) => Utf8Path::new(cache).join("lab"),
        (None, Some(home)) => Utf8Path::new(home).join(".cache/phoenix/lab"),
        (None, None) => "/var/cache/phoenix/lab".into(),
    }
}

/// The API's socket, in its folder: who may open it is root.
pub(crate) const SOCKET: &str = "api.sock";

pub(crate) fn record(folder: &Utf8Path) -> Option<Record> {
    machine::records().into_iter().find(|r| r.folder == folder)
}

/// Changes which guest's HTTPS is published, at once and without a restart.
///
/// # Errors
/// When the file cannot be written.
pub fn publish_https(folder: &Utf8Path, target: Option<SocketAddrV4>) -> Result<(), Error> {
    let own = |port| Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let targets: Targets =
        [("api".to_owned(), own(8006)), ("ssh".to_owned(), own(22)), ("https".to_owned(), target)].into();
    replace(&folder.join("publish.json"), &targets)
}

/// Starts a real lab, or says that it runs and repairs what is missing of it.
///
/// # Errors
/// With what kept it from starting. What was begun is then removed, but for the cache.
pub async fn up(spec: &LabSpec, report: Report<'_>) -> Result<(NodeRecord, Found), Error> {
    spec::check_folder(&spec.folder)?;
    preflight::check()?;
    fs::create_dir_all(&spec.folder).map_err(Error::io(format!("making `{}`", spec.folder)))?;
    let _lock = folder_lock(&spec.folder).await?;
    check_nodes(spec)?;
    if let Some(found) = repair(spec, report).await? {
        return Ok(found);
    }
    // Before anything is made. A forwarder that outlived its node is this lab's own, and goes first.
    if let Some(old) = forward::running(&spec.folder) {
        old.process.kill().await;
    }
    preflight::check_ports(spec.ports, &[])?;
    match start(spec, report).await {
        Ok(record) => Ok((record, Found::Nothing)),
        Err(error) => {
            report(Event::doing("removing what was begun", 1));
            // What it failed with is what is told.
            let _ = down::stop(&spec.folder, false).await;
            Err(error)
        }
    }
}

/// Refuses to make another number of nodes, or another kind, of a lab that is there: its guests would be lost.
fn check_nodes(spec: &LabSpec) -> Result<(), Error> {
    if spec.machine.is_some() && !spec.others.is_empty() {
        return Err(Error::Folder {
            folder: spec.folder.clone(),
            why: "can hold one node that is a machine, and no more",
        });
    }
    match NodeRecord::read(&spec.folder) {
        Some(old) if old.machine != spec.machine.is_some() => Err(Error::NodeKind {
            folder: spec.folder.clone(),
            has: if old.machine { "a machine" } else { "a container" },
        }),
        Some(old) if old.others != spec.others => Err(Error::Nodes {
            folder: spec.folder.clone(),
            has: 1 + old.others.len(),
            asked: 1 + spec.others.len(),
        }),
        _ => Ok(()),
    }
}

/// Held by whoever does something to a lab.
async fn start_lock(folder: &Utf8Path) -> Result<machine::Lock, Error> {
    if !folder.exists() {
        return Err(Error::NotRunning { folder: folder.to_owned() });
    }
    folder_lock(folder).await
}

async fn folder_lock(folder: &Utf8Path) -> Result<machine::Lock, Error> {
    machine::lock_file(&folder.join("lock"), Duration::from_secs(5)).await.map_err(|error| {
        if matches!(error, Error::Busy { .. }) { Error::Busy { folder: folder.to_owned() } } else { error }
    })
}

/// A lab that runs already: what it is, after what was missing is there again.
async fn repair(spec: &LabSpec, report: Report<'_>) -> Result<Option<(NodeRecord, Found)>, Error> {
    let folder = &spec.folder;
    let (Some(known), Some(mut node)) = (record(folder), NodeRecord::read(folder)) else { return Ok(None) };
    let ended = || {
        report(Event::Note(
            "the lab ended without `lab down`: starting it again, with its guests".to_owned(),
        ));
        Ok(None)
    };
    let inits = forward::node_inits(folder, &known.names.id).await;
    if inits.len() != 1 + spec.others.len() {
        return ended();
    }
    let alive = || inits.iter().all(|init| init.alive());
    let mut found = match forwarder(spec).await {
        _ if !alive() => return ended(),
        found => found?,
    };
    let connected = async {
        if spec.machine.is_some() {
            return Ok(());
        }
        machine::connect(&known.names, upstream(spec).1).await?;
        join::join(spec, &known.names).await
    };
    let connected = connected.await;
    // It was just about to end when it was looked at. The first process of a node loses its network a moment before it is
    // gone.
    if connected.is_err() {
        process::one_ends(&inits, Duration::from_secs(5)).await;
    }
    if !alive() {
        return ended();
    }
    connected?;
    publish_https(folder, spec.https_target)?;
    node.ports = spec.ports;
    node.endpoint = format!("https://127.0.0.1:{}", spec.ports.api);
    if let Some(ssh) = &mut node.ssh {
        ssh.port = spec.ports.ssh;
    }
    let mut tried_again = false;
    loop {
        let parts: Vec<_> =
            inits.iter().copied().chain(forward::read(folder).map(|forwarder| forwarder.process)).collect();
        match ready::wait(&mut node, folder, &parts, report).await {
            Err(Error::Ended { .. }) if !alive() => return ended(),
            // A forwarder, too, may be about to end when it is looked at.
            Err(Error::Ended { .. }) if !tried_again => {
                tried_again = true;
                found = forwarder(spec).await?;
            }
            other => break other?,
        }
    }
    replace(&folder.join("node.json"), &node)?;
    Ok(Some((node, found)))
}

/// Sees to it that a forwarder of this lab runs, on the ports that are wanted: whether it did already.
async fn forwarder(spec: &LabSpec) -> Result<Found, Error> {
    let folder = &spec.folder;
    let forwarder = forward::running(folder);
    // One of an older program knows no services.
    if forwarder.is_some_and(|f| f.ports == spec.ports) && published::heard(folder) {
        return Ok(Found::Running);
    }
    // The ones that it holds itself are free once it is gone; it goes only when the others are to be had.
    let held = forwarder.map(|f| f.ports.named().map(|(_, port)| port)).unwrap_or_default();
    preflight::check_ports(spec.ports, &held)?;
    if let Some(old) = forwarder {
        old.process.kill().await;
    }
    forward::start(folder, spec.ports).await?;
    Ok(Found::Repaired)
}

/// What the node asks for names, and what this machine's end of the uplink passes such queries on to, when the machine's
/// own name server has an address that one of the lab's networks hides.
fn upstream(spec: &LabSpec) -> (Vec<Ipv4Addr>, Option<Ipv4Addr>) {
    if spec.machine.is_some() {
        return (vec![hardware::NAMES], None);
    }
    let servers = machine::resolvers();
    let hidden = servers.iter().find(|server| spec.networks.iter().any(|n| n.subnet.contains(server)));
    match hidden {
        Some(hidden) => {
            let names = record(&spec.folder).map_or_else(|| Names::of(&spec.folder, 0), |r| r.names);
            (vec![names.outside], Some(*hidden))
        }
        None => (servers, None),
    }
}

async fn start(spec: &LabSpec, report: Report<'_>) -> Result<NodeRecord, Error> {
    let began = Instant::now();
    let folder = &spec.folder;
    let release = preflight::Release::read()?;
    let base = base::base(&spec.cache, &release, report).await?;
    report(Event::doing("starting the node", 4));
    // What a crash left; the guests' images and the node's own changes stay.
    down::stop(folder, true).await?;
    let names = machine::claim(folder).await?;
    let nodes = spec.nodes();
    let own = nodes
        .iter()
        .flat_map(|node| ["upper", "images", "storage", "state"].map(|part| node.folder.join(part)));
    for part in own.chain(["bin", "lxc"].map(|part| folder.join(part))) {
        fs::create_dir_all(&part).map_err(Error::io(format!("making `{part}`")))?;
    }
    for node in &nodes {
        folders::prepare(&node.folder)?;
    }
    base::prepare_templates(folder, &spec.cache)?;
    install_program(spec).await?;
    let apt = MachineApt::read(&release).await?;
    let apt = if spec.machine.is_some() { hardware::apt_of(&apt) } else { apt };
    let (resolvers, pass_dns_to) = upstream(spec);
    node_files::fill(spec, &apt, &resolvers, &base).await?;
    credentials::prepare(spec)?;
    publish_https(folder, spec.https_target)?;
    if let Some(machine) = spec.machine {
        let parts = hardware::prepare(spec, machine, &base, &names, report).await?;
        hardware::program_disk(folder, &base).await?;
        report(Event::doing("turning the machine on", 1));
        hardware::power_on(folder, &names, &parts).await?;
        if !hardware::helped(&names.id).await {
            report(Event::Note(
                "this computer's processor does not help machines: it is emulated, and slow".to_owned(),
            ));
        }
    } else {
        machine::forwarding_on().await?;
        for node in &nodes {
            start_node(spec, node, &names, &base).await?;
        }
        machine::connect(&names, pass_dns_to).await?;
        join::join(spec, &names).await?;
    }
    forward::start(folder, spec.ports).await?;
    let mut record = NodeRecord {
        runtime: RuntimeKind::Containers,
        endpoint: format!("https://127.0.0.1:{}", spec.ports.api),
        fingerprint: String::new(),
        token_file: folder.join("token"),
        password_file: folder.join("password"),
        ssh: Some(NodeSsh {
            destination: "root@127.0.0.1".to_owned(),
            port: spec.ports.ssh,
            host_key: node_files::host_key(folder)?,
            identity: folder.join("id_ed25519"),
        }),
        node: spec.node.clone(),
        others: spec.others.clone(),
        machine: spec.machine.is_some(),
        template: Some(format!("local:vztmpl/{}", base.template)),
        networks: spec.networks.clone(),
        ports: spec.ports,
        started: now(),
    };
    let inits = forward::node_inits(folder, &names.id).await;
    if inits.len() != nodes.len() {
        return Err(Error::NotRunning { folder: folder.clone() });
    }
    ready::wait(&mut record, folder, &inits, report).await?;
    replace(&folder.join("node.json"), &record)?;
    report(Event::Note(format!("the lab is up after {:.1} s", began.elapsed().as_secs_f64())));
    Ok(record)
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map(|d| d.as_secs())
        .unwrap_or_default()
}

/// Copies the program, so that building a new one does not disturb a running lab.
async fn install_program(spec: &LabSpec) -> Result<(), Error> {
    let own = match &spec.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .ok()
            .and_then(|p| Utf8PathBuf::from_path_buf(p).ok())
            .ok_or_else(|| Error::io("finding the running program")(std::io::ErrorKind::NotFound.into()))?,
    };
    let target = spec.folder.join("bin/phoenix-cli");
    fs::create_dir_all(spec.folder.join("bin")).map_err(Error::io("making the lab's program folder"))?;
    let new = target.with_extension("new");
    fs::copy(&own, &new).map_err(Error::io(format!("copying `{own}` into the lab")))?;
    fs::rename(&new, &target).map_err(Error::io("putting the program into the lab"))
}

async fn start_node(
    spec: &LabSpec,
    node: &spec::NodePlan,
    names: &Names,
    base: &base::Base,
) -> Result<(), Error> {
    let folder = &spec.folder;
    let (container, config) = (node.container(names), node.folder.join("node.conf"));
    let text = node_files::lxc_config(spec, node, names, base, machine::mtu().await);
    fs::write(&config, text).map_err(Error::io("writing the node's LXC configuration"))?;
    let lxc = folder.join("lxc");
    fs::create_dir_all(lxc.join(&container)).map_err(Error::io("making the node's folder"))?;
    let log = node.folder.join("lxc.log");
    let argv = [
        "lxc-start",
        "-P",
        lxc.as_str(),
        "-n",
        &container,
        "-f",
        config.as_str(),
        "-o",
        log.as_str(),
        "-l",
        "ERROR",
    ];
    let started = run("starting the node", &argv, b"", Duration::from_secs(60)).await;
    started.map(drop).map_err(|error| match error {
        Error::Program { what, program, .. } => {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            Error::Program { what, program, said: lines[lines.len().saturating_sub(4)..].join("\n") }
        }
        other => other,
    })
}
