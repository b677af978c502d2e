//! The ways to hosts: the only place that makes a runner for one. To a node: the one that commands lead to by itself, every
//! other one through it; into a guest: from the node that it is on.
//!
//! Nothing is asked as long as it is not needed: a site with one node, or with all guests on the node that is reached, costs
//! no call. What was observed is learned ([`Ways::learn`]); the rest is asked once and remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use apply::Failure;
use async_trait::async_trait;
use plan::Inventory;
use proxmox::client::agent::Agent;
use proxmox::client::{Member, Reader};
use proxmox::config::GuestKind;
use proxmox::exchange::Exchange;
use proxmox::is_node_name;
use transport::{Command, Error, InGuest, OtherNode, Runner, Whereabouts};

use crate::agent::InVm;
use crate::settle;
use crate::ssh::{BySsh, Doors};

/// How many nodes hold a site's lock at most: each is a command that stays on the one connection, which carries eight
/// ([`transport::MAX_SESSIONS`]). It is a majority of seven.
const LOCKS: usize = 4;

/// The ways of a site to its hosts. A clone is the same: what one learns, the others know.
#[derive(Debug, Clone)]
pub struct Ways(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    first: Option<Arc<dyn Runner>>,
    reader: Reader,
    agent: Agent,
    /// Who opens connections to guests that are entered by ssh.
    doors: OnceLock<Arc<dyn Doors>>,
    known: Mutex<Known>,
    /// Asked for once, however many want to know at the same time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The nodes by name; `None` before anybody asked.
    nodes: Option<BTreeMap<String, Node>>,
    /// The node that commands lead to.
    first: Option<String>,
    /// Where guests are.
    guests: BTreeMap<u32, String>,
    /// Which of them are virtual machines.
    vms: BTreeSet<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    address: Option<IpAddr>,
    online: bool,
}

/// What is the matter where there is no way to run commands.
fn no_commands(what: &str) -> Failure {
    Failure::new("transport::no-commands", format!("{what}: there is no way to run commands on the node"))
        .hint("declare `ssh` under `target.proxmox`, e.g. \"root@10.0.0.13\"")
}

impl Ways {
    /// With commands on a node, where there is a way; the API, over `exchange`, tells which nodes there are, and where guests
    /// are, and carries commands into virtual machines.
    pub fn new(first: Option<Arc<dyn Runner>>, exchange: Arc<dyn Exchange>) -> Self {
        let (known, asking) = (Mutex::default(), tokio::sync::Mutex::default());
        let (reader, agent) = (Reader::new(exchange.clone()), Agent::new(exchange));
        Self(Arc::new(Inner { first, reader, agent, doors: OnceLock::new(), known, asking }))
    }

    /// With connections to guests that are entered by ssh, which `doors` opens.
    #[must_use]
    pub fn by_ssh(self, doors: Arc<dyn Doors>) -> Self {
        // Set once, by who makes the ways.
        let _ = self.0.doors.set(doors);
        self
    }

    /// Calls that only read.
    pub fn reader(&self) -> &Reader {
        &self.0.reader
    }

    /// The node that commands lead to, where there is a way.
    pub fn first(&self) -> Option<&Arc<dyn Runner>> {
        self.0.first.as_ref()
    }

    /// Remembers which nodes there are, which one commands lead to, and where guests are.
    pub fn learn(&self, inventory: &Inventory) {
        self.know(|known| {
            let node = |(name, facts): (&String, &plan::inventory::NodeFacts)| {
                (name.clone(), Node { address: facts.address, online: facts.online })
            };
            known.nodes = Some(inventory.nodes.iter().map(node).collect());
            known.first = inventory.reached.clone().or(known.first.take());
            known.guests = inventory.guests.values().map(|g| (g.id, g.node.clone())).collect();
            known.vms = inventory.guests.values().filter(|g| g.vm).map(|g| g.id).collect();
        });
    }

    /// Remembers the node a guest is on, so that it need not be asked for.
    pub fn is_on(&self, id: u32, node: &str) {
        self.know(|known| known.guests.insert(id, node.to_owned()));
    }

    /// Remembers that a guest is a virtual machine, which commands get into by its agent.
    pub fn is_vm(&self, id: u32) {
        self.know(|known| known.vms.insert(id));
    }

    /// Whether a guest is known to be a virtual machine.
    pub fn knows_vm(&self, id: u32) -> bool {
        self.know(|known| known.vms.contains(&id))
    }

    /// Which kind of guest it is, as far as is known: a container where nobody said otherwise.
    pub fn kind_of(&self, id: u32) -> GuestKind {
        if self.knows_vm(id) { GuestKind::Vm } else { GuestKind::Container }
    }

    /// The node a guest is on, as far as is known.
    pub fn known_node_of(&self, id: u32) -> Option<String> {
        self.know(|known| known.guests.get(&id).cloned())
    }

    /// Whether there is only one node, as far as is known: whatever is somewhere is there.
    pub fn alone(&self) -> bool {
        self.know(|known| known.nodes.as_ref().is_some_and(|nodes| nodes.len() <= 1))
    }

    fn know<T>(&self, with: impl FnOnce(&mut Known) -> T) -> T {
        with(&mut self.0.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Commands inside a guest, wherever it is. Nothing is asked before the first one.
    ///
    /// # Errors
    /// When there is no way to run commands at all.
    pub fn guest(&self, id: u32) -> Result<Arc<dyn Runner>, Failure> {
        if self.knows_vm(id) {
            if let Some(door) = self.0.doors.get().and_then(|doors| doors.door(id)) {
                return Ok(Arc::new(BySsh::new(door?, id)));
            }
            return Ok(Arc::new(InVm::new(self.clone(), self.0.agent.clone(), id)));
        }
        match self.first() {
            Some(_) => Ok(Arc::new(InGuest::found(Arc::new(self.clone()), id))),
            None => Err(no_commands(&format!("nothing can be done in {id}"))),
        }
    }

    /// The node of a name: the first one where it is that, else through it.
    ///
    /// # Errors
    /// When there is no way to run commands, no such node, or it is offline or has no address; when the cluster cannot be
    /// asked.
    pub async fn node(&self, name: &str) -> Result<Arc<dyn Runner>, Failure> {
        let first = self.first().ok_or_else(|| no_commands(&format!("nothing can be done on {name}")))?;
        let nodes = self.nodes().await?;
        if nodes.len() <= 1 || self.first_name(first).await? == name {
            return Ok(first.clone());
        }
        let gone = |what: &str| {
            Failure::new("transport::no-node", format!("no command can be run on {name}: {what}"))
        };
        match nodes.get(name) {
            None => {
                let all: Vec<&str> = nodes.keys().map(String::as_str).collect();
                Err(gone("there is no such node").hint(format!("the cluster has {}", all.join(", "))))
            }
            Some(node) if !node.online => {
                Err(gone("it is offline").hint(format!("start {name}; on another node: pvecm status")))
            }
            Some(Node { address: None, .. }) => Err(gone("the cluster knows no address of it")
                .hint(format!("on another node: getent hosts {name}; it belongs into /etc/hosts"))),
            Some(Node { address: Some(address), .. }) => {
                Ok(Arc::new(OtherNode::new(first.clone(), name, *address)))
            }
        }
    }

    /// What is typed on the first node to have `line` run in a terminal on the node that a guest is on.
    ///
    /// # Errors
    /// As [`Ways::node`].
    pub async fn terminal(&self, id: u32, line: &str) -> Result<String, Failure> {
        let nodes = self.nodes().await?;
        let name = if nodes.len() > 1 { self.ask_for(id).await? } else { None };
        let Some(name) = name else { return Ok(line.to_owned()) };
        // Fails where it cannot be reached.
        self.node(&name).await?;
        let other = self.know(|known| known.first.as_ref() != Some(&name));
        let address = nodes.get(&name).and_then(|node| node.address).filter(|_| other);
        Ok(address.map_or_else(|| line.to_owned(), |address| OtherNode::terminal(&name, address, line)))
    }

    /// The nodes that hold a site's lock, in order. Whoever holds it holds it on each of them.
    ///
    /// They are a majority of the cluster's nodes (at most four), the first ones by name that are online. A cluster changes
    /// nothing without a majority, and two majorities have a node in common: so two runs meet on it, whichever nodes they come
    /// by, also when a node goes away or comes back while one of them runs.
    ///
    /// # Errors
    /// As [`Ways::node`].
    pub async fn locks(&self) -> Result<Vec<Arc<dyn Runner>>, Failure> {
        let Some(first) = self.first() else { return Ok(Vec::new()) };
        let nodes = self.nodes().await?;
        if nodes.len() <= 1 {
            return Ok(vec![first.clone()]);
        }
        let majority = nodes.len() / 2 + 1;
        let online = nodes.iter().filter(|(_, node)| node.online).map(|(name, _)| name);
        let mut runners = Vec::new();
        for name in online.take(majority.min(LOCKS)) {
            runners.push(self.node(name).await?);
        }
        Ok(runners)
    }

    /// The nodes that commands can be run on: all that are online.
    ///
    /// # Errors
    /// As [`Ways::node`].
    pub async fn all(&self) -> Result<Vec<Arc<dyn Runner>>, Failure> {
        let Some(first) = self.first() else { return Ok(Vec::new()) };
        let nodes = self.nodes().await?;
        if nodes.len() <= 1 {
            return Ok(vec![first.clone()]);
        }
        let mut runners = Vec::new();
        for (name, node) in &nodes {
            if node.online {
                runners.push(self.node(name).await?);
            }
        }
        Ok(runners)
    }

    /// The nodes by name.
    async fn nodes(&self) -> Result<BTreeMap<String, Node>, Failure> {
        let known = || self.know(|known| known.nodes.clone());
        if let Some(nodes) = known() {
            return Ok(nodes);
        }
        let _one = self.0.asking.lock().await;
        if let Some(nodes) = known() {
            return Ok(nodes);
        }
        let what = "asking which nodes there are";
        // Which takes no privilege; where they are takes one, and is of use only where there are several.
        let listed = settle::read(what, || self.reader().nodes()).await?;
        let nodes: BTreeMap<String, Node> = if listed.len() == 1 {
            listed.into_iter().map(|it| (it.node, Node { address: None, online: true })).collect()
        } else {
            let members = settle::read(what, || self.reader().members()).await?;
            let node = |it: Member| (it.name, Node { address: it.address, online: it.online });
            members.into_iter().map(node).collect()
        };
        self.know(|known| known.nodes = Some(nodes.clone()));
        Ok(nodes)
    }

    /// What the node is called that commands lead to: it is asked, since the API may be asked at another one.
    async fn first_name(&self, first: &Arc<dyn Runner>) -> Result<String, Failure> {
        let known = || self.know(|known| known.first.clone());
        if let Some(name) = known() {
            return Ok(name);
        }
        let _one = self.0.asking.lock().await;
        if let Some(name) = known() {
            return Ok(name);
        }
        // The cluster's file system has a link to the node's own folder: `nodes/pve1`.
        let command = Command::new("asking the node for its name", ["readlink", "/etc/pve/local"])
            .limit(Duration::from_secs(20));
        let output = settle::command(&**first, &command).await?;
        let name = local_name(&output.text()).filter(|_| output.success()).ok_or_else(|| {
            let what = format!("{} does not tell which node of the cluster it is", first.place());
            Failure::new("transport::no-node", what)
                .with_output(output.tail(2))
                .hint("on it: readlink /etc/pve/local; systemctl status pve-cluster")
        })?;
        self.know(|known| known.first = Some(name.clone()));
        Ok(name)
    }

    /// Asks the cluster which node a guest is on. `None` where there is no such guest.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn ask_for(&self, id: u32) -> Result<Option<String>, Failure> {
        let all = settle::read("finding the guest", || self.reader().resources(Some("vm"))).await?;
        let node = all.into_iter().find(|r| r.vmid == Some(id)).and_then(|r| r.node);
        if let Some(node) = &node {
            self.is_on(id, node);
        }
        Ok(node)
    }
}

/// `pve1` of `nodes/pve1`.
fn local_name(link: &str) -> Option<String> {
    link.trim().rsplit('/').next().filter(|name| is_node_name(name)).map(str::to_owned)
}

#[async_trait]
impl Whereabouts for Ways {
    async fn node_of(&self, id: u32) -> Result<Arc<dyn Runner>, Error> {
        let first = self.first().cloned();
        let known = self.known_node_of(id);
        match (known, first) {
            // Most are on the first node; where it is not there, it is looked for.
            (None, Some(first)) => Ok(first),
            (Some(_), Some(first)) if self.alone() => Ok(first),
            (node, _) => self.node(&node.unwrap_or_default()).await.map_err(|failure| Error::Connect {
                place: format!("container {id}"),
                reason: failure.errors.join(": "),
                hint: failure.hint,
            }),
        }
    }

    async fn look_for(&self, id: u32) -> Option<Arc<dyn Runner>> {
        if self.alone() {
            return None;
        }
        let node = self.ask_for(id).await.ok()??;
        self.node(&node).await.ok()
    }

    fn place_of(&self, id: u32) -> String {
        let first = self.first().map(Runner::place).unwrap_or_default();
        let other = self.know(|known| {
            let node = known.guests.get(&id)?;
            let elsewhere = known.nodes.as_ref()?.len() > 1 && known.first.as_ref() != Some(node);
            elsewhere.then(|| node.clone())
        });
        other.map_or_else(|| first.clone(), |node| format!("{node} through {first}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_where_its_link_leads() {
        assert_eq!(local_name("nodes/pve1\n").as_deref(), Some("pve1"));
        assert_eq!(local_name("/etc/pve/nodes/pve-2").as_deref(), Some("pve-2"));
        for bad in ["\n", "nodes/-oProxyCommand=x", "nodes/a b", "nodes/..", "nodes/"] {
            assert_eq!(local_name(bad), None, "{bad}");
        }
    }

    /// What people may write as the name of a node, and what a node may say it is, are the same.
    #[test]
    fn a_node_is_called_the_same_in_blueprints_as_on_nodes() {
        for name in [
            "pve1",
            "PVE-01",
            "9",
            "",
            "-a",
            "a-",
            "a.b",
            "a_b",
            "\u{fc}",
            "a/b",
            &"a".repeat(63),
            &"a".repeat(64),
        ] {
            let written = name.parse::<blueprint::values::NodeLabel>().is_ok();
            assert_eq!(written, is_node_name(name), "{name}");
        }
    }
}
