//! What a person wants to know about a lab.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use camino::Utf8Path;
use fs_err as fs;
use serde::Serialize;

use super::{Error, NodeRecord, PublishedService, dhcp, forward, record};
use crate::runtime::Kind;

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
}

/// Looks at the lab in `folder`.
///
/// # Errors
/// When there is none.
pub async fn status(folder: &Utf8Path) -> Result<Status, Error> {
    let node = NodeRecord::read(folder).ok_or_else(|| Error::NotRunning { folder: folder.to_owned() })?;
    let id = record(folder).map(|r| r.names.id);
    let init = match &id {
        Some(id) => forward::node_init(folder, id).await,
        None => None,
    };
    let simulated = super::sim::running(folder);
    let running_guests = match (init, simulated) {
        (Some(init), _) => guests_running(init.pid()),
        (None, Some(_)) => super::sim::guests(folder).await,
        (None, None) => std::collections::BTreeSet::new(),
    };
    let etc = if node.runtime == Kind::Simulated { "state/pve" } else { "upper/etc/pve" };
    let leases =
        dhcp::leases(&fs::read_to_string(folder.join("state").join(dhcp::LEASES)).unwrap_or_default());
    let guests = fs::read_dir(folder.join(format!("{etc}/nodes/{}/lxc", node.node)))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.strip_suffix(".conf")?.parse().ok()?;
            let text = fs::read_to_string(entry.path()).ok()?;
            Some(guest(id, &text, running_guests.contains(&id), &leases))
        });
    let mut guests: Vec<GuestStatus> = guests.collect();
    guests.sort_by_key(|g| g.id);
    Ok(Status {
        id,
        running: init.or(simulated).is_some(),
        published: simulated.is_some() || forward::running(folder).is_some(),
        services: super::published(folder),
        uptime: init.or(simulated).and_then(super::process::Process::seconds),
        disk: disk_use(folder),
        guests,
        record: node,
    })
}

/// The guests whose monitors listen in the node's network namespace.
fn guests_running(init: u32) -> std::collections::BTreeSet<u32> {
    crate::containers::monitors(&fs::read_to_string(format!("/proc/{init}/net/unix")).unwrap_or_default())
}

fn guest(id: u32, conf: &str, running: bool, leases: &BTreeMap<String, Ipv4Addr>) -> GuestStatus {
    // The first section is what holds now.
    let current = conf.split("\n[").next().unwrap_or_default();
    let get = |key: &str| current.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let net = |key: &str| {
        let mut parts = get("net0")?.split(',');
        parts.find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
    };
    let address = match net("ip") {
        Some("dhcp") => {
            net("hwaddr").and_then(|mac| leases.get(&mac.to_ascii_lowercase())).map(Ipv4Addr::to_string)
        }
        fixed => fixed.and_then(|ip| ip.split_once('/')).map(|(ip, _)| ip.to_owned()),
    };
    GuestStatus { id, name: get("hostname").unwrap_or_default().to_owned(), running, address }
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
    let ssh = node.ssh.ok_or_else(missing)?;
    let known = format!("UserKnownHostsFile={}", folder.join("known_hosts"));
    let port = ssh.port.to_string();
    let mut argv: Vec<String> = [
        "ssh",
        "-F",
        "none",
        "-t",
        "-q",
        "-p",
        &port,
        "-i",
        ssh.identity.as_str(),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        &known,
        &ssh.destination,
    ]
    .map(str::to_owned)
    .into();
    if let Some(id) = guest {
        argv.extend(["pct".to_owned(), "enter".to_owned(), id.to_string()]);
    }
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_read_from_its_current_section() {
        let text = "#phoenix\nhostname: notes\nnet0: name=eth0,bridge=vmbr0,ip=10.0.0.11/24\n\n[pve:pending]\nhostname: other\n";
        let guest = guest(120, text, true, &BTreeMap::new());
        assert_eq!((guest.name.as_str(), guest.address.as_deref()), ("notes", Some("10.0.0.11")));
        let text = "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:23,ip=dhcp\n";
        let leases = [("bc:24:11:00:01:23".to_owned(), Ipv4Addr::new(10, 0, 0, 151))].into();
        assert_eq!(super::guest(120, text, true, &leases).address.as_deref(), Some("10.0.0.151"));
    }
}
