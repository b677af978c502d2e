//! The process that is the node's API: HTTPS for clients, a Unix socket for the node's own commands.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use camino::Utf8PathBuf;
use fs_err as fs;

use super::credentials::{PRIVILEGES, ROLE, Settings};
use super::forward::replace;
use super::process::Process;
use super::{Error, SOCKET, TOKEN, sim};
use crate::containers::LxcRuntime;
use crate::node::{Bridge, Hardware, Node, NodeOptions, Storage, Template};
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

/// Serves a node until the process is ended.
///
/// # Errors
/// When its folder or its sockets cannot be opened.
pub async fn serve(args: ServeArgs, ready: impl FnOnce() + Send) -> Result<(), Error> {
    let folder = &args.folder;
    let settings = Settings::read(folder)?;
    let mut options = NodeOptions::new(&settings.node);
    options.state = Some(folder.clone());
    options.bridges = settings
        .networks
        .iter()
        .map(|n| Bridge {
            name: n.bridge.clone(),
            cidr: Some(format!("{}/{}", n.node_address(), n.subnet.network_length())),
        })
        .collect();
    options.storages = storages(&settings);
    let refused = |said: String| Error::Node { what: "to start".to_owned(), said };
    let (runtime, address): (Arc<dyn Runtime>, SocketAddr) = match args.simulated {
        None => {
            options.etc = Some("/etc/pve".into());
            options.hardware = hardware(&settings);
            let runtime = LxcRuntime::new().map_err(|e| refused(e.to_string()))?;
            (Arc::new(runtime), (Ipv4Addr::UNSPECIFIED, 8006).into())
        }
        Some(port) => {
            // A session of its own: it outlives the terminal it was started from.
            let _ = rustix::process::setsid();
            options.etc = Some(folder.join("pve"));
            simulate_templates(&mut options.storages);
            (Arc::new(SimRuntime::new(SEED, Times::default())), (Ipv4Addr::LOCALHOST, port).into())
        }
    };
    let node = Node::open(options, runtime).map_err(|e| refused(crate::containers::explain(&e)))?;
    node.set_password("root@pam", Some(&settings.password));
    node.set_role(ROLE, PRIVILEGES);
    node.set_token(TOKEN, &settings.secret, false);
    node.grant(TOKEN.split('!').next().unwrap_or_default(), "/", ROLE);

    let mut server = ServerOptions::new(address, folder.clone());
    server.names = vec![settings.node.clone()];
    let started = |e: crate::server::ServerError| refused(crate::containers::explain(&e));
    // Both live as long as this does.
    let _https = Server::https(node.clone(), server).await.map_err(started)?;
    let _console = Server::unix(node.clone(), &folder.join(SOCKET)).await.map_err(started)?;
    if args.simulated.is_some() {
        if let Some(process) = Process::this() {
            replace(&folder.join("serve.json"), &process)?;
        }
        let shell = sim::listen(folder)?;
        ready();
        sim::serve_shell(shell, SimShell::new(node)).await;
        return Ok(());
    }
    ready();
    std::future::pending().await
}

/// The simulated lab a person starts is the same one every time.
const SEED: u64 = 1;

/// A simulated node has no files: these are the templates it says it has.
fn simulate_templates(storages: &mut [Storage]) {
    for local in storages.iter_mut().filter(|s| s.id == "local") {
        local.files = None;
        local.templates = sim::TEMPLATES
            .iter()
            .map(|name| Template { name: (*name).to_owned(), size: 126_000_000, ctime: 1_795_334_400 })
            .collect();
    }
}

/// `local` with the templates, and the storages that the site names. Volumes of all of them are raw images.
fn storages(settings: &Settings) -> Vec<Storage> {
    let mut local = Storage::new("local", "dir", "/var/lib/vz", "vztmpl,iso,backup,rootdir,images");
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
