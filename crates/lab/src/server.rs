//! The node's API over HTTPS, as `pveproxy` serves it, and over a Unix socket for the node's own commands.
//!
//! [`Server::https`] listens where it is told and nowhere else, with a certificate of its own that it keeps in the lab's
//! folder, or the custom one that the node was given. [`Server::unix`] takes everybody who can open the socket for `root@pam`, as the node's console does: the
//! socket's permissions are the credential.

mod certificate;
mod http;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::node::Node;
use crate::sim::Faults;

/// How long a client may take for its half of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a stop waits for answers that are under way.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen. Port 0 takes a free one.
    pub address: SocketAddr,
    /// The folder for its certificate and key (`pve-ssl.pem`, `pve-ssl.key`), which are made when they are missing.
    pub folder: Utf8PathBuf,
    /// Names and addresses for a new certificate, beside `localhost` and 127.0.0.1.
    pub names: Vec<String>,
    /// How much longer each answer takes. For measuring.
    pub latency: Duration,
    /// What goes wrong.
    pub faults: Faults,
}

impl ServerOptions {
    /// At `address`, with the certificate in `folder`, and nothing that goes wrong.
    pub fn new(address: SocketAddr, folder: impl Into<Utf8PathBuf>) -> Self {
        Self {
            address,
            folder: folder.into(),
            names: Vec::new(),
            latency: Duration::ZERO,
            faults: Faults::none(),
        }
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address or socket.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate can be neither read nor made.
    #[error("cannot use the certificate in {folder}: {reason}")]
    Certificate {
        /// Its folder.
        folder: Utf8PathBuf,
        /// Why.
        reason: String,
    },
}

impl ServerError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(
                "something else listens there: choose another port, or stop it (ss -ltnp shows it)"
                    .to_owned(),
            ),
            Self::Certificate { folder, .. } => {
                Some(format!("remove {folder}/pve-ssl.pem and {folder}/pve-ssl.key: they are made anew"))
            }
            Self::Listen { .. } => None,
        }
    }
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: Option<SocketAddr>,
    fingerprint: Option<String>,
    stop: CancellationToken,
    tasks: TaskTracker,
    socket: Option<Utf8PathBuf>,
}

/// What every connection needs.
#[derive(Debug, Clone)]
struct Shared {
    node: Node,
    latency: Duration,
    faults: Faults,
    entrance: Entrance,
}

/// Who is taken for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entrance {
    /// Who shows a token or a ticket.
    Clients,
    /// Whoever connects is root.
    Console,
    /// Another node of the cluster, which says for whom it asks, and asks for this node's own part alone.
    Peers,
}

/// The header by which one node of a cluster tells another for whom it asks.
pub(crate) const IDENTITY: &str = "x-lab-identity";

impl Server {
    /// Serves `node` over HTTPS.
    ///
    /// # Errors
    /// When the address cannot be had, or the certificate neither read nor made.
    pub async fn https(node: Node, options: ServerOptions) -> Result<Self, ServerError> {
        let certificate = certificate::load_or_make(&options.folder, node.name(), &options.names)?;
        let config = certificate.config(node.clone()).map_err(|error| ServerError::Certificate {
            folder: options.folder.clone(),
            reason: error.to_string(),
        })?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shown = options.address.to_string();
        let failed = |source| ServerError::Listen { address: shown.clone(), source };
        let listener = TcpListener::bind(options.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        node.set_certificate(&certificate.pem);
        node.restart_proxy();
        let shared = Arc::new(Shared {
            node,
            latency: options.latency,
            faults: options.faults,
            entrance: Entrance::Clients,
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (stopped, tracker) = (stop.clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopped.cancelled() => return,
                };
                // Out of file descriptors, or the client is gone already: others may still come.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (acceptor, shared, stopped) = (acceptor.clone(), shared.clone(), stopped.clone());
                tracker.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        http::serve(stream, shared, stopped).await;
                    }
                });
            }
        });
        Ok(Self {
            address: Some(address),
            fingerprint: Some(certificate.fingerprint),
            stop,
            tasks,
            socket: None,
        })
    }

    /// Serves `node` over a Unix socket at `path`, as root. A socket that a killed process left there is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub async fn unix(node: Node, path: &Utf8Path) -> Result<Self, ServerError> {
        Self::socket(node, path, Entrance::Console).await
    }

    /// Serves `node` over a Unix socket at `path` to the other nodes of its cluster, whose word is taken for whom they ask.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) async fn peers(node: Node, path: &Utf8Path) -> Result<Self, ServerError> {
        Self::socket(node, path, Entrance::Peers).await
    }

    async fn socket(node: Node, path: &Utf8Path, entrance: Entrance) -> Result<Self, ServerError> {
        use std::os::unix::fs::PermissionsExt as _;
        let failed = |source| ServerError::Listen { address: path.to_string(), source };
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(failed(std::io::ErrorKind::AddrInUse.into()));
        }
        match fs_err::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let shared = Arc::new(Shared { node, latency: Duration::ZERO, faults: Faults::none(), entrance });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (stopped, tracker) = (stop.clone(), tasks.clone());
        tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopped.cancelled() => return,
                };
                match accepted {
                    Ok((stream, _)) => {
                        drop(tracker.spawn(http::serve(stream, shared.clone(), stopped.clone())));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Ok(Self { address: None, fingerprint: None, stop, tasks, socket: Some(path.to_owned()) })
    }

    /// Where it listens, for HTTPS.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The SHA-256 of its own certificate (`pve-ssl.pem`) as `AA:BB:…`, for HTTPS: what a client pins.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Stops listening, lets answers that are under way end (5 s at most), and removes its socket.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(STOP_WAIT, self.tasks.wait()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(socket) = &self.socket {
            let _ = fs_err::remove_file(socket);
        }
    }
}

#[cfg(test)]
mod tests;
