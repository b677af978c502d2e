//! What is published on 127.0.0.1 leads into the lab's network: one small process per lab.
//!
//! A thread that enters the node's network namespace makes the connection and ends; a socket stays in the namespace it
//! was made in. The process ends with the node. The ports of TCP services come and go while it runs ([`super::published`]).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream as AsyncTcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use super::error::Error;
use super::hardware;
use super::process::{Process, start_detached};
use super::published::{Listening, taken, wanted};
use super::spec::{Names, Ports};

/// How long a connection into the lab may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the node may be away (it restarts) before the forwarder ends.
const RESTART: Duration = Duration::from_secs(15);

/// `publish.json`: where each published port leads, read anew for each connection.
pub(crate) type Targets = BTreeMap<String, Option<SocketAddrV4>>;

/// Written by the forwarder, read by `up`, `status` and `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forwarder {
    pub process: Process,
    pub ports: Ports,
}

/// What the forwarder is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardArgs {
    /// The lab's folder.
    pub folder: Utf8PathBuf,
    /// Where to listen.
    pub ports: Ports,
}

pub(crate) fn read(folder: &Utf8Path) -> Option<Forwarder> {
    serde_json::from_slice(&fs::read(folder.join("forward.json")).ok()?).ok()
}

/// The forwarder of this lab, when it runs.
pub(crate) fn running(folder: &Utf8Path) -> Option<Forwarder> {
    read(folder).filter(|f| f.process.alive())
}

/// Replaces a file in one step.
pub(crate) fn replace(path: &Utf8Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = || Error::io(format!("writing `{path}`"));
    let text = serde_json::to_vec_pretty(value).map_err(|e| failed()(e.into()))?;
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(failed())?;
    fs::rename(&new, path).map_err(failed())
}

/// Starts the forwarder of a lab that has none.
pub(crate) async fn start(folder: &Utf8Path, ports: Ports) -> Result<(), Error> {
    let program = folder.join("bin/phoenix-cli");
    let [api, ssh, https] = [ports.api, ports.ssh, ports.https].map(|p| p.to_string());
    let arguments = [
        "lab",
        "forward",
        "--folder",
        folder.as_str(),
        "--api-port",
        &api,
        "--ssh-port",
        &ssh,
        "--https-port",
        &https,
    ];
    start_detached(&program, &arguments, &folder.join("forward.log")).await
}

/// The first process of the node, when it runs.
pub(crate) async fn node_init(folder: &Utf8Path, id: &str) -> Option<Process> {
    use transport::Runner;
    if hardware::Hardware::read(folder).is_some() {
        return hardware::process(id);
    }
    let path = folder.join("lxc");
    let command = transport::Command::new(
        "asking for the node's process",
        ["lxc-info", "-P", path.as_str(), "-n", id, "-pH"],
    )
    .limit(Duration::from_secs(10));
    let output = transport::Local.run(&command).await.ok()?;
    Process::find(output.text().trim().parse().ok()?)
}

/// The containers that the nodes of the lab in `folder` are, by the folders LXC has for them: the first, and its others.
pub(crate) fn containers(folder: &Utf8Path, id: &str) -> Vec<String> {
    let entries = folder.join("lxc").read_dir_utf8().into_iter().flatten().flatten();
    let others = entries.map(|entry| entry.file_name().to_owned());
    let more = others.filter(|name| name.strip_prefix(id).is_some_and(|rest| rest.starts_with('-')));
    std::iter::once(id.to_owned()).chain(more).collect()
}

/// The first processes of the nodes that run.
pub(crate) async fn node_inits(folder: &Utf8Path, id: &str) -> Vec<Process> {
    let mut all = Vec::new();
    for container in containers(folder, id) {
        all.extend(node_init(folder, &container).await);
    }
    all
}

/// The forwarder's whole life: listens, says `ready` through `ready`, forwards, and returns when the node is gone.
///
/// # Errors
/// When a port is taken, or no node runs in the folder.
pub async fn forward(args: ForwardArgs, ready: impl FnOnce() + Send) -> Result<(), Error> {
    // A session of its own: it outlives the terminal it was started from. Fails only where it has one already.
    let _ = rustix::process::setsid();
    let folder = &args.folder;
    let names = super::record(folder).map_or_else(|| Names::of(folder, 0), |r| r.names);
    let ways: Ways = Arc::new(Mutex::new(None));
    let gone = || Error::NotRunning { folder: folder.clone() };
    let mut init = node_init(folder, &names.id).await.ok_or_else(gone)?;
    enter(&ways, folder, &names.id, init)?;

    for (what, port) in args.ports.named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(Error::io(format!("publishing the lab's {what} on port {port}")))?;
        let file = folder.join("publish.json");
        let target = move || {
            let text = fs::read(&file).ok()?;
            serde_json::from_slice::<Targets>(&text).ok()?.get(what).copied().flatten()
        };
        tokio::spawn(accept(listener, target, Arc::clone(&ways)));
    }
    let process = Process::this().ok_or_else(gone)?;
    let changes = signal(SignalKind::hangup()).map_err(Error::io("listening to signals"))?;
    let mut services = Services { folder: folder.clone(), ways: Arc::clone(&ways), open: BTreeMap::new() };
    services.settle(process).await?;
    tokio::spawn(services.follow(process, changes));
    replace(&folder.join("forward.json"), &Forwarder { process, ports: args.ports })?;
    ready();

    loop {
        wait_for_end(init).await;
        let away = tokio::time::Instant::now();
        // A node that restarts is back with another first process within seconds.
        init = loop {
            if let Some(new) = node_init(folder, &names.id).await.filter(|new| *new != init) {
                break new;
            }
            if away.elapsed() > RESTART || super::record(folder).is_none() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        enter(&ways, folder, &names.id, init)?;
    }
}

/// How the node's network is reached.
#[derive(Debug, Clone)]
enum Way {
    /// It is a namespace of this computer.
    Namespace(Arc<OwnedFd>),
    /// It is a machine's.
    Machine(Arc<hardware::Doors>),
}

type Ways = Arc<Mutex<Option<Way>>>;

fn enter(ways: &Ways, folder: &Utf8Path, id: &str, init: Process) -> Result<(), Error> {
    let way = if hardware::Hardware::read(folder).is_some() {
        Way::Machine(Arc::new(hardware::Doors::new(hardware::socket(id))))
    } else {
        let file = fs::File::open(format!("/proc/{}/ns/net", init.pid()))
            .map_err(Error::io("opening the node's network"))?;
        Way::Namespace(Arc::new(file.into_parts().0.into()))
    };
    *ways.lock().unwrap_or_else(PoisonError::into_inner) = Some(way);
    Ok(())
}

async fn wait_for_end(init: Process) {
    let pid = i32::try_from(init.pid()).ok().and_then(rustix::process::Pid::from_raw);
    let handle = pid.and_then(|p| rustix::process::pidfd_open(p, rustix::process::PidfdFlags::empty()).ok());
    if let Some(handle) = handle.filter(|_| init.alive()) {
        super::process::ended(handle, None).await;
    }
}

/// The TCP services that are published, each with the port that is listened on.
struct Services {
    folder: Utf8PathBuf,
    ways: Ways,
    open: BTreeMap<String, (u16, AbortOnDropHandle<()>)>,
}

impl Services {
    /// Does as `services.json` says, each time that it is told of a change.
    async fn follow(mut self, process: Process, mut changes: Signal) {
        while changes.recv().await.is_some() {
            // Where it cannot be told, whoever waits for it gives up in time.
            let _ = self.settle(process).await;
        }
    }

    /// Lets go of ports that are no longer wanted, listens on those that are, and tells what came of it.
    async fn settle(&mut self, process: Process) -> Result<(), Error> {
        let wanted = wanted(&self.folder);
        self.open.retain(|name, (port, _)| wanted.services.get(name).is_some_and(|s| s.port == *port));
        let mut failed = BTreeMap::new();
        for (name, service) in &wanted.services {
            if self.open.contains_key(name) {
                continue;
            }
            match listen(service.port).await {
                Ok(listener) => {
                    let (folder, own) = (self.folder.clone(), name.clone());
                    let target = move || Some(super::published::wanted(&folder).services.get(&own)?.target);
                    let task = tokio::spawn(accept(listener, target, Arc::clone(&self.ways)));
                    self.open.insert(name.clone(), (service.port, AbortOnDropHandle::new(task)));
                }
                Err(error) => {
                    failed.insert(name.clone(), taken(service.port, &error));
                }
            }
        }
        Listening::tell(&self.folder, process, &wanted, failed)
    }
}

/// A port that was just let go of is free once the task that held it has ended.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < 5 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

/// Forwards what comes in, to where `target` says at that moment.
async fn accept(
    listener: TcpListener,
    target: impl Fn() -> Option<SocketAddrV4> + Send + Sync + 'static,
    ways: Ways,
) {
    let target = Arc::new(target);
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: some connections have to end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (target, ways) = (Arc::clone(&target), Arc::clone(&ways));
        tokio::spawn(async move {
            // Nothing is published there, or nobody answers: the client sees a closed connection.
            let Some(target) = target() else { return };
            let _ = pump(client, target, ways).await;
        });
    }
}

async fn pump(mut client: AsyncTcpStream, target: SocketAddrV4, ways: Ways) -> std::io::Result<()> {
    let way = ways.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut lab = match way {
        Some(Way::Namespace(handle)) => connect(handle, target).await?,
        Some(Way::Machine(doors)) => doors.connect(target).await?,
        None => return Ok(()),
    };
    client.set_nodelay(true)?;
    lab.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut lab).await.map(drop)
}

/// Connects from within a network namespace.
async fn connect(handle: Arc<OwnedFd>, target: SocketAddrV4) -> std::io::Result<AsyncTcpStream> {
    let (give, take) = tokio::sync::oneshot::channel();
    // A thread for this connection alone: entering a namespace changes the thread for good.
    std::thread::Builder::new().name("into the lab".to_owned()).spawn(move || {
        let connected = || -> std::io::Result<TcpStream> {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(handle.as_fd(), kind)?;
            let stream = TcpStream::connect_timeout(&SocketAddr::V4(target), CONNECT)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        // The other side may have gone away meanwhile.
        let _ = give.send(connected());
    })?;
    AsyncTcpStream::from_std(take.await.map_err(std::io::Error::other)??)
}
