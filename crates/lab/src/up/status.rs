//! What a person wants to know about a lab.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use proxmox::config::GuestKind;
use serde::Serialize;

use super::spec::{NodePlan, members, nodes};
use super::{Error, Hardware, NodeRecord, PublishedService, dhcp, forward, record};
use crate::runtime::RuntimeKind;

/// One guest of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestStatus {
    /// Its id.
    pub id: u32,
    /// Its host name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Its first address, without the prefix.
    pub address: Option<String>,
    /// The node it is on, where there is more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A lab as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What is written about it.
    pub record: NodeRecord,
    /// The lab's id on this machine; none for a simulated lab.
    pub id: Option<String>,
    /// Whether the node runs.
    pub running: bool,
    /// Whether the published ports lead into it.
    pub published: bool,
    /// The TCP services on ports of this machine, by name.
    pub services: BTreeMap<String, PublishedService>,
    /// Seconds since the node started.
    pub uptime: Option<u64>,
    /// Bytes that the lab's folder takes on disk.
    pub disk: u64,
    /// The guests.
    pub guests: Vec<GuestStatus>,
    /// What the node is made of, where it is a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
}

/// Looks at the lab in `folder`.
///
/// # Errors
/// When there is none.
pub async fn status(folder: &Utf8Path) -> Result<Status, Error> {
    let node = NodeRecord::read(folder).ok_or_else(|| Error::NotRunning { folder: folder.to_owned() })?;
    let names = record(folder).map(|r| r.names);
    let simulated = super::sim::running(folder);
    let mut inits = Vec::new();
    if let Some(names) = &names {
        for plan in plans(folder, &node) {
            inits.push(forward::node_init(folder, &plan.container(names)).await);
        }
    }
    // All of its nodes are the lab.
    let init = inits.iter().copied().collect::<Option<Vec<_>>>().and_then(|all| all.first().copied());
    // The first node gives out the addresses of all.
    let leases =
        dhcp::leases(&fs::read_to_string(folder.join("state").join(dhcp::LEASES)).unwrap_or_default());
    let mut guests = Vec::new();
    if let (Some(ssh), true, Some(_)) = (&node.ssh, node.machine, init) {
        guests = guests_of_machine(ssh, folder).await;
    }
    for (at, plan) in plans(folder, &node).into_iter().enumerate() {
        let running = match (inits.get(at).copied().flatten(), simulated) {
            (Some(init), _) => guests_running(init.pid()),
            (None, Some(_)) => super::sim::guests(folder, &plan.name).await,
            (None, None) => std::collections::BTreeSet::new(),
        };
        let mut own = guests_of(folder, &node, &plan.name, &running, &leases);
        if !node.others.is_empty() {
            own.iter_mut().for_each(|guest| guest.node = Some(plan.name.clone()));
        }
        guests.extend(own);
    }
    let id = names.map(|names| names.id);
    guests.sort_by_key(|g| g.id);
    Ok(Status {
        id,
        running: init.or(simulated).is_some(),
        published: simulated.is_some() || forward::running(folder).is_some(),
        services: super::published(folder),
        uptime: init.or(simulated).and_then(super::process::Process::seconds),
        disk: disk_use(folder),
        hardware: Hardware::read(folder),
        guests,
        record: node,
    })
}

/// The nodes of the lab in `folder`.
fn plans(folder: &Utf8Path, node: &NodeRecord) -> Vec<NodePlan> {
    nodes(folder, &node.node, &node.others, &node.networks)
}

/// Where the lab in `folder` has what stands for `/etc/pve`.
fn etc(folder: &Utf8Path, node: &NodeRecord) -> Utf8PathBuf {
    folder.join(match (node.runtime, node.others.as_slice()) {
        (RuntimeKind::Simulated, _) => "state/pve",
        (RuntimeKind::Containers, []) => "upper/etc/pve",
        (RuntimeKind::Containers, _) => "cluster/pve",
    })
}

/// The guests of one of the nodes, by their files.
fn guests_of(
    folder: &Utf8Path,
    node: &NodeRecord,
    name: &str,
    running: &std::collections::BTreeSet<u32>,
    leases: &BTreeMap<String, Ipv4Addr>,
) -> Vec<GuestStatus> {
    let own = etc(folder, node).join("nodes").join(name);
    let kinds = [GuestKind::Container, GuestKind::Vm].into_iter();
    let files = kinds.flat_map(|kind| {
        let files = fs::read_dir(own.join(kind.folder()));
        files.into_iter().flatten().flatten().map(move |entry| (kind, entry))
    });
    let guests = files.filter_map(|(kind, entry)| {
        let id = entry.file_name().to_str()?.strip_suffix(".conf")?.parse().ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        Some(guest(kind, id, &text, running.contains(&id), leases))
    });
    guests.collect()
}

/// The guests of a node that is a machine, as it says itself; none while it does not answer.
async fn guests_of_machine(ssh: &super::NodeSsh, folder: &Utf8Path) -> Vec<GuestStatus> {
    let asked = ["pvesh", "get", "/cluster/resources", "--type", "vm", "--output-format", "json"];
    let said = super::ready::said_by_ssh(ssh, folder, &asked).await.unwrap_or_default();
    let all: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap_or_default();
    let guest = |one: &serde_json::Value| {
        let id = u32::try_from(one["vmid"].as_u64()?).ok()?;
        let name = one["name"].as_str().unwrap_or_default().to_owned();
        Some(GuestStatus { id, name, running: one["status"] == "running", address: None, node: None })
    };
    all.iter().filter_map(guest).collect()
}

/// The guests whose monitors, or machines' processes, listen in the node's network namespace.
fn guests_running(init: u32) -> std::collections::BTreeSet<u32> {
    let table = fs::read_to_string(format!("/proc/{init}/net/unix")).unwrap_or_default();
    let mut all = crate::containers::monitors(&table);
    all.extend(crate::machines::listening(&table));
    all
}

fn guest(
    kind: GuestKind,
    id: u32,
    conf: &str,
    running: bool,
    leases: &BTreeMap<String, Ipv4Addr>,
) -> GuestStatus {
    // The first section is what holds now.
    let current = conf.split("\n[").next().unwrap_or_default();
    let get = |key: &str| current.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let part = |line: &str, key: &str| {
        let mut parts = get(line)?.split(',');
        parts.find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
    };
    // A machine is told its address by cloud-init, and its card's MAC stands behind the model.
    let (name, ip, mac) = match kind {
        GuestKind::Container => ("hostname", part("net0", "ip"), part("net0", "hwaddr")),
        GuestKind::Vm => {
            let card = get("net0").and_then(|net| net.split(',').next()?.split_once('='));
            ("name", part("ipconfig0", "ip"), card.map(|(_, mac)| mac))
        }
    };
    let address = match ip {
        Some("dhcp") => mac.and_then(|mac| leases.get(&mac.to_ascii_lowercase())).map(Ipv4Addr::to_string),
        fixed => fixed.and_then(|ip| ip.split_once('/')).map(|(ip, _)| ip.to_owned()),
    };
    GuestStatus { id, name: get(name).unwrap_or_default().to_owned(), running, address, node: None }
}

/// Bytes on disk below a folder; images are sparse.
fn disk_use(folder: &Utf8Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().into_iter().flatten().flatten() {
            let Ok(facts) = entry.path().symlink_metadata() else { continue };
            total += facts.blocks() * 512;
            if facts.is_dir() {
                folders.push(entry.path().to_owned());
            }
        }
    }
    total
}

/// The argument vector of an interactive shell on the node, or in one of its guests.
///
/// # Errors
/// When there is no lab, or it is a simulated one.
pub fn shell(folder: &Utf8Path, guest: Option<u32>) -> Result<Vec<String>, Error> {
    let missing = || Error::NotRunning { folder: folder.to_owned() };
    let node = NodeRecord::read(folder).ok_or_else(missing)?;
    // A guest of another node is entered from there.
    let elsewhere = members(&node.node, &node.others, &node.networks).into_iter().skip(1).find(|other| {
        let file = guest.map(|id| format!("nodes/{}/lxc/{id}.conf", other.name));
        file.is_some_and(|file| etc(folder, &node).join(file).exists())
    });
    let way = elsewhere.map(|other| {
        let mut way = between(&other.name, &other.address);
        way.insert(1, "-t".to_owned());
        way
    });
    let ssh = node.ssh.ok_or_else(missing)?;
    let list = ssh.known_hosts(folder).map_err(Error::io("noting the node's host key"))?;
    let mut argv = ssh.options(folder).terminal(&list, None);
    argv.splice(1..1, ["-F", "none", "-q"].map(str::to_owned));
    if let Some(id) = guest {
        argv.extend(way.unwrap_or_default());
        argv.extend(["pct".to_owned(), "enter".to_owned(), id.to_string()]);
    }
    Ok(argv)
}

/// How one node of a cluster reaches another, as Proxmox VE's own tools do (PVE::SSHInfo, `ssh_info_to_ssh_opts`).
pub(super) fn between(name: &str, address: &str) -> Vec<String> {
    let mut argv = vec!["ssh".to_owned()];
    argv.extend(transport::OtherNode::destination(name, address));
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_read_from_its_current_section() {
        let text = "#phoenix\nhostname: notes\nnet0: name=eth0,bridge=vmbr0,ip=10.0.0.11/24\n\n[pve:pending]\nhostname: other\n";
        let container = GuestKind::Container;
        let guest = guest(container, 120, text, true, &BTreeMap::new());
        assert_eq!((guest.name.as_str(), guest.address.as_deref()), ("notes", Some("10.0.0.11")));
        let text = "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:23,ip=dhcp\n";
        let leases = [("bc:24:11:00:01:23".to_owned(), Ipv4Addr::new(10, 0, 0, 151))].into();
        assert_eq!(super::guest(container, 120, text, true, &leases).address.as_deref(), Some("10.0.0.151"));
        let text = "ipconfig0: ip=dhcp\nname: web\nnet0: virtio=BC:24:11:00:01:23,bridge=vmbr0\n";
        let machine = super::guest(GuestKind::Vm, 301, text, true, &leases);
        assert_eq!((machine.name.as_str(), machine.address.as_deref()), ("web", Some("10.0.0.151")));
    }
}
