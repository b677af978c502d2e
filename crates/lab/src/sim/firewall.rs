//! The firewall of a simulated node, on paper: its files are changed by the same commands as a real one's, with the same
//! guard, and a new connection from outside gets in only where they let it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proxmox::firewall::change::{self, FileChange};
use proxmox::firewall::judge::{self, NodeFiles, Packet};
use proxmox::firewall::{Direction, FirewallFile, Range, Scope};
use transport::Output;

use crate::node::Node;

/// Where whoever uses a simulated node comes from, unless a test says otherwise.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));

/// How it came to the node, as sshd says it.
pub(crate) fn connection(node: &Node, client: IpAddr) -> String {
    let own = node.bridges().iter().find_map(|bridge| bridge.cidr.as_deref()?.split('/').next());
    format!("{client} 50000 {} 22", own.unwrap_or("127.0.0.1"))
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone)]
struct Armed {
    site: String,
    token: u64,
    /// What was there first.
    old: Vec<(String, Option<String>)>,
}

#[derive(Debug, Default)]
struct Guard {
    armed: Option<Armed>,
    confirmed: u64,
    tokens: u64,
}

/// What changes the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimFirewall {
    guard: Arc<Mutex<Guard>>,
}

impl SimFirewall {
    /// The site whose change waits.
    pub(crate) fn unconfirmed(&self) -> Option<String> {
        self.lock().armed.as_ref().map(|armed| armed.site.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a command of [`proxmox::firewall::change`], whose words after the script are `words`.
    pub(crate) fn run(&self, node: &Node, words: &[&str], stdin: &[u8]) -> Output {
        match words {
            ["apply", _, _, site, seconds] => match (change::parse(stdin), seconds.parse()) {
                (Ok(changes), Ok(seconds)) => self.apply(node, site, &changes, Duration::from_secs(seconds)),
                (Err(error), _) => exit_with(255, error),
                (_, Err(_)) => exit_with(255, "no time to wait"),
            },
            ["confirm", _, _, token] => self.confirm(token),
            ["cancel", _, _, token] => {
                self.restore(node, token.parse().unwrap_or_default());
                self.confirm("")
            }
            _ => exit_with(255, "unknown words"),
        }
    }

    fn apply(&self, node: &Node, site: &str, changes: &[FileChange], wait: Duration) -> Output {
        let Ok(files) = node.firewall_files() else { return exit_with(255, "cannot read") };
        let mut guard = self.lock();
        if let Some(armed) = guard.armed.as_ref().filter(|armed| armed.site != site) {
            return exit_with(5, format!("busy {}", armed.site));
        }
        let mut old = guard.armed.take().map(|armed| armed.old).unwrap_or_default();
        for change in changes {
            let now = files.get(&change.name).cloned();
            if now != change.old && now != change.new {
                return exit_with(3, format!("modified {}", change.name));
            }
            if old.iter().all(|(name, _)| *name != change.name) {
                old.push((change.name.clone(), now));
            }
        }
        guard.tokens += 1;
        let token = guard.tokens;
        guard.armed = Some(Armed { site: site.to_owned(), token, old });
        drop(guard);
        for change in changes {
            if node.put_firewall_file(&change.name, change.new.as_deref()).is_err() {
                return exit_with(255, format!("cannot write {}", change.name));
            }
        }
        let (own, node) = (self.clone(), node.clone());
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            own.restore(&node, token);
        });
        exit_with(0, format!("armed {token}"))
    }

    /// Puts back what was there first, unless that was settled already.
    fn restore(&self, node: &Node, token: u64) {
        let armed = self.lock().armed.take_if(|armed| armed.token == token);
        for (name, text) in armed.into_iter().flat_map(|armed| armed.old.into_iter().rev()) {
            // In memory it cannot fail; in a folder that cannot be written nothing was changed either.
            let _ = node.put_firewall_file(&name, text.as_deref());
        }
    }

    fn confirm(&self, token: &str) -> Output {
        let mut guard = self.lock();
        let token: u64 = token.parse().unwrap_or_default();
        if guard.armed.take_if(|armed| armed.token == token).is_some() {
            guard.confirmed = token;
        }
        if token != 0 && guard.confirmed == token {
            exit_with(0, "confirmed")
        } else {
            exit_with(4, "restored")
        }
    }
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
    let files = node.firewall_files().unwrap_or_default();
    let file = |name: &str| FirewallFile::parse(files.get(name).map_or("", String::as_str));
    let (cluster, host) = (file("cluster.fw"), file(&proxmox::inventory::host_fw(node.name())));
    let networks = node.bridges().iter().filter_map(|bridge| Range::parse(bridge.cidr.as_deref()?));
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

fn exit_with(status: i32, line: impl std::fmt::Display) -> Output {
    Output { status, stdout: format!("{line}\n").into_bytes(), stderr: Vec::new() }
}
