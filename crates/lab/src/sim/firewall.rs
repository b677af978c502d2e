//! The firewall of a simulated node, on paper: its files are changed by the same commands as a real one's, with the same
//! guard, and a new connection from outside gets in only where they let it.

use std::net::{IpAddr, Ipv4Addr};

use proxmox::firewall::judge::{self, NodeFiles, Packet};
use proxmox::firewall::{Direction, FirewallFile, Range, Scope};
use transport::Output;

use super::guard::{Store, exit_with};
use crate::node::Node;

/// Where whoever uses a simulated node comes from, unless a test says otherwise.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

impl Store for Node {
    fn content(&self, name: &str) -> Result<Option<String>, String> {
        let files = self.firewall_files().map_err(|error| error.to_string())?;
        Ok(files.get(name).cloned())
    }

    fn put(&self, name: &str, text: Option<&str>) -> Result<(), String> {
        self.put_firewall_file(name, text).map_err(|error| error.to_string())
    }
}

/// How it came to the node, as sshd says it.
pub(crate) fn connection(node: &Node, client: IpAddr) -> String {
    let bridges = node.bridges();
    let own = bridges.iter().find_map(|bridge| bridge.cidr.as_deref()?.split('/').next());
    format!("{client} 50000 {} 22", own.unwrap_or("127.0.0.1"))
}

/// What `ip -o -4 address` would print on the node.
pub(crate) fn addresses(node: &Node) -> String {
    let line = |(at, bridge): (usize, &crate::node::Bridge)| {
        let cidr = bridge.cidr.as_deref()?;
        Some(format!("{}: {}    inet {cidr} scope global {}\n", at + 2, bridge.name, bridge.name))
    };
    node.bridges().iter().enumerate().filter_map(line).collect()
}

/// Whether the files let a new connection from there to this port of the node.
pub(crate) fn lets_in(node: &Node, source: IpAddr, port: u16) -> bool {
    if !node.is_reached() {
        return false;
    }
    let files = node.firewall_files().unwrap_or_default();
    let file = |name: &str| FirewallFile::parse(files.get(name).map_or("", String::as_str));
    let (cluster, host) = (file("cluster.fw"), file(&proxmox::inventory::host_fw(node.name())));
    let bridges = node.bridges();
    let networks = bridges.iter().filter_map(|bridge| Range::parse(bridge.cidr.as_deref()?));
    let local: Vec<Range> = networks.collect();
    let scope = Scope { cluster: &cluster, guest: None, local: &local };
    let dest = local.first().map_or(source, |range| range.first);
    let packet = Packet { direction: Direction::In, iface: None, source, dest, proto: "tcp", port };
    judge::node(NodeFiles { cluster: &cluster, host: &host }, scope, &packet).passes
}

/// What `pve-firewall status` says: on paper, what the files say is in force at once.
pub(crate) fn status(node: &Node) -> Output {
    let files = node.firewall_files().unwrap_or_default();
    let cluster = FirewallFile::parse(files.get("cluster.fw").map_or("", String::as_str));
    let word = if judge::enabled(&cluster) { "enabled" } else { "disabled" };
    exit_with(0, format!("Status: {word}/running"))
}
