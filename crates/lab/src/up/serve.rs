//! The process that is the node's API: HTTPS for clients, a Unix socket for the node's own commands.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use super::credentials::{PRIVILEGES, ROLE, Settings};
use super::forward::replace;
use super::neighbour::{self, CLUSTER, Neighbour};
use super::process::Process;
use super::spec::NODES;
use super::{Error, SOCKET, TOKEN, sim};
use crate::containers::LxcRuntime;
use crate::node::{Bridge, Cluster, Hardware, Member, Node, NodeOptions, Peer, Storage, Template, introduce};
use crate::runtime::Runtime;
use crate::server::{Server, ServerOptions};
use crate::sim::{SimRuntime, SimShell, Times};

/// What the API is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeArgs {
    /// Its folder, which holds `lab.json`.
    pub folder: Utf8PathBuf,
    /// For a simulated lab: the port on 127.0.0.1. A real one listens on all addresses of its node, on 8006.
    pub simulated: Option<u16>,
}

/// Serves a node until the process is ended. That of a simulated lab stands for all of the lab's nodes.
///
/// # Errors
/// When its folder or its sockets cannot be opened.
pub async fn serve(args: ServeArgs, ready: impl FnOnce() + Send) -> Result<(), Error> {
    let folder = &args.folder;
    let settings = Settings::read(folder)?;
    let started = |e: crate::server::ServerError| refused(crate::containers::explain(&e));
    let (node, others) = match args.simulated {
        None => (real(folder, &settings)?, Vec::new()),
        Some(_) => {
            // A session of its own: it outlives the terminal it was started from.
            let _ = rustix::process::setsid();
            simulated(folder, &settings)?
        }
    };
    prepare(&node, &settings);
    let address: SocketAddr = match args.simulated {
        None => (Ipv4Addr::UNSPECIFIED, 8006).into(),
        Some(port) => (Ipv4Addr::LOCALHOST, port).into(),
    };
    let mut server = ServerOptions::new(address, folder.clone());
    server.names = vec![settings.node.clone()];
    // They live as long as this does.
    let _https = Server::https(node.clone(), server).await.map_err(started)?;
    let _console = Server::unix(node.clone(), &folder.join(SOCKET)).await.map_err(started)?;
    if args.simulated.is_some() {
        if let Some(process) = Process::this() {
            replace(&folder.join("serve.json"), &process)?;
        }
        let shell = sim::listen(folder)?;
        ready();
        sim::serve_shell(shell, SimShell::cluster(node, others)).await;
        return Ok(());
    }
    let _peers = match settings.cluster.as_slice() {
        [] => None,
        _ => Some(join(folder, &settings, node).await?),
    };
    ready();
    std::future::pending().await
}

fn refused(said: String) -> Error {
    Error::Node { what: "to start".to_owned(), said }
}

fn opened(options: NodeOptions, runtime: Arc<dyn Runtime>) -> Result<Node, Error> {
    Node::open(options, runtime).map_err(|e| refused(crate::containers::explain(&e)))
}

/// What the settings say of the node at this place of the lab.
fn options(settings: &Settings, folder: &Utf8Path, at: usize) -> NodeOptions {
    let mut options = NodeOptions::new(&settings.node);
    options.state = Some(folder.to_owned());
    let bridge = |n: &super::Network| Bridge {
        name: n.bridge.clone(),
        cidr: Some(format!("{}/{}", n.address_of(at), n.subnet.network_length())),
    };
    options.bridges = settings.networks.iter().map(bridge).collect();
    options.storages = storages(settings);
    options
}

/// The node that this process runs on.
fn real(folder: &Utf8Path, settings: &Settings) -> Result<Node, Error> {
    let mut options = options(settings, folder, 0);
    options.etc = Some("/etc/pve".into());
    options.grounds = None;
    options.hardware = hardware(settings);
    if !settings.cluster.is_empty() {
        options.cluster = Some(Cluster::in_folder(settings.cluster.clone(), folder.join(CLUSTER)));
    }
    let runtime = LxcRuntime::new().map_err(|e| refused(e.to_string()))?;
    opened(options, Arc::new(runtime))
}

/// The first of a simulated lab's nodes, and the others.
fn simulated(folder: &Utf8Path, settings: &Settings) -> Result<(Node, Vec<Node>), Error> {
    let others: Vec<_> = settings.cluster.iter().enumerate().skip(1).collect();
    let cluster = (!others.is_empty()).then(|| Cluster::in_folder(settings.cluster.clone(), folder));
    let open = |name: &str, state: &Utf8Path, at: usize, address: Option<&str>| {
        let mut options = options(settings, state, at);
        name.clone_into(&mut options.name);
        options.etc = Some(folder.join("pve"));
        options.cluster = cluster.clone();
        simulate_templates(&mut options.storages);
        if let Some(address) = address {
            address.clone_into(&mut options.hardware.address);
        }
        let seed = SEED + u64::try_from(at).unwrap_or_default();
        let runtime = SimRuntime::new(seed, Times::default());
        sim::CATALOGUE.iter().for_each(|template| runtime.offer("system", template));
        opened(options, Arc::new(runtime))
    };
    let first = settings.cluster.first().map(|member| member.address.as_str());
    let node = open(&settings.node, folder, 0, first)?;
    let others = others.into_iter().map(|(at, member)| {
        let state = folder.join(NODES).join(&member.name);
        open(&member.name, &state, at, Some(&member.address))
    });
    let others: Vec<Node> = others.collect::<Result<_, _>>()?;
    introduce(&[std::slice::from_ref(&node), &others].concat());
    Ok((node, others))
}

/// Who may do what. In a cluster it is the same for all nodes.
fn prepare(node: &Node, settings: &Settings) {
    node.set_password("root@pam", Some(&settings.password));
    node.set_role(ROLE, PRIVILEGES);
    node.set_token(TOKEN, &settings.secret, false);
    node.grant(TOKEN.split('!').next().unwrap_or_default(), "/", ROLE);
}

/// Makes a node and the others of its cluster known to each other.
async fn join(folder: &Utf8Path, settings: &Settings, node: Node) -> Result<Server, Error> {
    let cluster = folder.join(CLUSTER);
    // Where the others see it; in a lab of one node a link leads to the file itself.
    let (from, to) = (folder.join("pve-ssl.pem"), format!("/etc/pve/nodes/{}/pve-ssl.pem", settings.node));
    fs::copy(&from, &to).map_err(Error::io(format!("writing `{to}`")))?;
    let others = settings.cluster.iter().filter(|member| member.name != settings.node);
    let neighbour = |member: &Member| -> Arc<dyn Peer> { Arc::new(Neighbour::new(&cluster, &member.name)) };
    node.meet(others.map(neighbour).collect());
    let path = neighbour::socket(&cluster, &settings.node);
    Server::peers(node, &path).await.map_err(|e| refused(crate::containers::explain(&e)))
}

/// The simulated lab a person starts is the same one every time.
const SEED: u64 = 1;

/// A simulated node has no files: these are the templates, and the image, that it says it has.
fn simulate_templates(storages: &mut [Storage]) {
    for local in storages.iter_mut().filter(|s| s.id == "local") {
        local.files = None;
        local.templates = sim::TEMPLATES
            .iter()
            .map(|name| Template { name: (*name).to_owned(), size: 126_000_000, ctime: 1_795_334_400 })
            .collect();
        let image = crate::machines::offered();
        local.images =
            image.map(|(name, _, size)| Template { name, size, ctime: 1_795_334_400 }).into_iter().collect();
    }
}

/// `local` with the templates, and the storages that the site names. Volumes of all of them are raw images.
fn storages(settings: &Settings) -> Vec<Storage> {
    let mut local =
        Storage::new("local", "dir", "/var/lib/vz", "vztmpl,iso,import,backup,rootdir,images,snippets");
    local.files = Some("/var/lib/vz".into());
    let others = settings.storages.iter().filter(|name| *name != "local").map(|name| {
        let (kind, place) = match name.as_str() {
            "local-zfs" => ("zfspool", "rpool/data".to_owned()),
            "local-lvm" => ("lvmthin", "pve".to_owned()),
            name => ("dir", format!("/mnt/pve/{name}")),
        };
        Storage::new(name, kind, &place, "images,rootdir")
    });
    std::iter::once(local).chain(others).collect()
}

fn hardware(settings: &Settings) -> Hardware {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(1 << 20);
    let cpus = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let address = settings.networks.first().map_or(Ipv4Addr::LOCALHOST, super::Network::node_address);
    Hardware { cpus, memory: memory * 1024, address: address.to_string() }
}
