//! Ways into a node that is a machine: QEMU listens on a port of 127.0.0.1 for each place in it that somebody wants to reach.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use camino::Utf8PathBuf;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::parts::ADDRESS;
use crate::machines::ask;

/// Those that are open, by where they lead.
#[derive(Debug)]
pub(crate) struct Doors {
    socket: Utf8PathBuf,
    open: Mutex<BTreeMap<SocketAddrV4, u16>>,
}

impl Doors {
    /// None is open in a machine that was just started. `socket` is its process's.
    pub(crate) fn new(socket: Utf8PathBuf) -> Self {
        Self { socket, open: Mutex::default() }
    }

    /// Connects to an address of the node, or of a guest on it. The node itself is 127.0.0.1.
    pub(crate) async fn connect(&self, target: SocketAddrV4) -> io::Result<TcpStream> {
        let ip = if target.ip().is_loopback() { ADDRESS } else { *target.ip() };
        let target = SocketAddrV4::new(ip, target.port());
        let port = {
            let mut open = self.open.lock().await;
            match open.get(&target) {
                Some(port) => *port,
                None => {
                    let port = self.make(target).await?;
                    open.insert(target, port);
                    port
                }
            }
        };
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
    }

    async fn make(&self, target: SocketAddrV4) -> io::Result<u16> {
        let mut said = String::new();
        // Somebody else may take the port in between.
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let line = format!("hostfwd_add out tcp:127.0.0.1:{port}-{}:{}", target.ip(), target.port());
            let answer = ask(&self.socket, "human-monitor-command", json!({ "command-line": line })).await;
            said = answer.map_err(io::Error::other)?.as_str().unwrap_or_default().trim().to_owned();
            if said.is_empty() {
                return Ok(port);
            }
        }
        Err(io::Error::other(said))
    }
}
