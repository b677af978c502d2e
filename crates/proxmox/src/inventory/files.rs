//! All configuration files in one command.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use transport::{Command, Runner};

use super::{GuestFile, Guests, NodeAddress, Unread, WayIn};
use crate::config::{GuestConfig, GuestKind, digest};
use crate::is_node_name;

/// Where Proxmox VE's cluster file system is mounted. It holds the files of all nodes.
pub const ROOT: &str = "/etc/pve";

/// One process, whatever the number of guests: Perl, which every node has, since Proxmox VE is written in it. Each file
/// is read once and its length taken from what was read, so that a change meanwhile cannot tear the two apart. A file
/// that is gone since the folder was listed is left out; any other failure is told. The last line proves that nothing
/// was cut off. With the files come the node's addresses and the connection this came through (sshd's variable, see
/// ssh(1)): what a firewall must never cut; and the node's name, which is where the link `local` leads.
const SCRIPT: &str = include_str!("files.pl");

/// There while a change of the firewall waits to be confirmed: `SITE TOKEN` (see [`change`](crate::firewall::change)).
const ARMED: &str = "/run/phoenix-firewall/armed";

/// What was done on the node itself, as whoever did it keeps it there.
pub const MARK: &str = "/etc/phoenix/hypervisor.json";

/// What else is looked at on the node in the same command: a line of shell, which changes nothing, and prints what it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What it is called in [`Guests::seen`]: one word.
    pub name: &'static str,
    /// The script, for a POSIX shell. It has 20 s, and exits with something else than 0 where it cannot tell.
    pub script: &'static str,
}

/// Why the files could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// The command did not come back.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// It failed.
    #[error("cannot read the guests' configuration on {place}: {reason}")]
    Failed {
        /// Where.
        place: String,
        /// What it said.
        reason: String,
    },
    /// What it printed is not what it prints.
    #[error("the guests' configuration from {place} is garbled: {reason}")]
    Garbled {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

impl FilesError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Transport(_) => "can it be reached by hand with ssh?".to_owned(),
            Self::Failed { .. } => {
                "is this a Proxmox VE node, and is its cluster file system up? on it: systemctl \
                                    status pve-cluster"
                    .to_owned()
            }
            Self::Garbled { .. } => {
                "does its shell print something of its own at login? that must stop".to_owned()
            }
        }
    }
}

/// Reads all guests of the cluster with one command on any of its nodes, and what else is to be seen on that node.
///
/// A guest that migrates at this very moment may be missed or be seen on either node; where it matters,
/// `/cluster/resources` tells.
///
/// # Errors
/// When the command fails or its output is not whole. Nothing is ever concluded from half of it.
pub async fn read_by_files(runner: &dyn Runner, looks: &[Look]) -> Result<Guests, FilesError> {
    read_by_files_below(runner, ROOT, looks).await
}

/// As [`read_by_files`], with the cluster file system somewhere else.
///
/// # Errors
/// As [`read_by_files`].
pub async fn read_by_files_below(
    runner: &dyn Runner,
    root: &str,
    looks: &[Look],
) -> Result<Guests, FilesError> {
    let fixed = ["perl", "-e", SCRIPT, root, ARMED, MARK];
    let words = fixed.into_iter().chain(looks.iter().flat_map(|look| [look.name, look.script]));
    let command = Command::new("reading the guests' configuration", words).limit(Duration::from_secs(60));
    let output = runner.run(&command).await?;
    if !output.success() {
        return Err(FilesError::Failed { place: runner.place(), reason: output.tail(3).joined() });
    }
    parse(&output.stdout).map_err(|reason| FilesError::Garbled { place: runner.place(), reason })
}

/// Reads what the node's one command prints ([`printed`]).
///
/// # Errors
/// When it is not whole, or not of that form: what is wrong with it.
pub fn parse(printed: &[u8]) -> Result<Guests, String> {
    let mut guests = Guests::default();
    let mut rest = printed;
    let mut count = 0_usize;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("it is cut off")?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| "a heading is no text")?;
        rest = &rest[end + 1..];
        let odd = || format!("`{}` is no heading", line.chars().take(80).collect::<String>());
        let mut words = line.splitn(3, ' ');
        let (state, length) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let length: usize = length.parse().map_err(|_| odd())?;
        match (state, words.next()) {
            ("end", None) if !rest.is_empty() => return Err("something follows its end".to_owned()),
            ("end", None) if length != count => return Err(format!("{count} of {length} files arrived")),
            ("end", None) => return Ok(guests),
            ("file" | "error" | "note", Some(path)) => {
                let content = rest.get(..length).ok_or("it is cut off")?;
                rest = rest[length..].strip_prefix(b"\n").ok_or("a file is longer than announced")?;
                count += 1;
                take(&mut guests, state, path, content).ok_or_else(odd)?;
            }
            _ => return Err(odd()),
        }
    }
}

/// One piece of what is printed; `None` for something that this does not print.
fn take(guests: &mut Guests, state: &str, path: &str, content: &[u8]) -> Option<()> {
    let text = String::from_utf8_lossy(content);
    match (state, path) {
        ("note", "addresses") => guests.addresses = node_addresses(&text),
        ("note", "connection") => guests.way_in = way_in(&text),
        ("note", "node") => guests.node = Some(text.into_owned()),
        ("note", "unconfirmed") => guests.unconfirmed = text.split(' ').next().map(str::to_owned),
        ("note", "mark") => guests.mark = Some(text.into_owned()),
        (_, path) if path.starts_with("seen ") => {
            let name = path["seen ".len()..].to_owned();
            let text = text.into_owned();
            guests.seen.insert(name, if state == "note" { Ok(text) } else { Err(text) });
        }
        ("note", _) => return None,
        _ => match (cluster_file(path)?, state) {
            (ClusterFile::Guest { node, kind, id }, "error") => {
                guests.unread.push(Unread { node, id, kind, reason: text.into_owned() });
            }
            (ClusterFile::Guest { node, kind, id }, _) => {
                let config = GuestConfig::parse(kind, &text);
                guests.guests.insert(id, GuestFile { node, id, kind, config, digest: digest(content) });
            }
            (ClusterFile::Firewall(name), "error") => {
                guests.firewall_unread.insert(name, text.into_owned());
            }
            (ClusterFile::Firewall(name), _) => match std::str::from_utf8(content) {
                Ok(text) => {
                    guests.firewall.insert(name, text.to_owned());
                }
                // Written back it would not be what it was.
                Err(_) => {
                    guests.firewall_unread.insert(name, "it is no UTF-8 text".to_owned());
                }
            },
        },
    }
    Some(())
}

/// Reads the lines of `ip -o -4 address`: `2: vmbr0    inet 10.0.0.13/24 brd 10.0.0.255 scope global vmbr0\ …`.
pub fn node_addresses(text: &str) -> Vec<NodeAddress> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let device = words.nth(1)?.split('@').next()?.to_owned();
        let (address, length) = words.find(|word| word.contains('/'))?.split_once('/')?;
        let (address, length): (Ipv4Addr, u8) = (address.parse().ok()?, length.parse().ok()?);
        (!address.is_loopback() && length <= 32).then_some(NodeAddress { device, address, length })
    };
    text.lines().filter_map(line).collect()
}

/// `192.0.2.7 51234 10.0.0.13 22`: the client's address and port, the server's.
fn way_in(text: &str) -> Option<WayIn> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [client, _, _, port] = words[..] else { return None };
    Some(WayIn { client: client.parse().ok()?, port: port.parse().ok()? })
}

/// A file of `/etc/pve`, by whose it is.
enum ClusterFile {
    Guest { node: String, kind: GuestKind, id: u32 },
    Firewall(String),
}

/// `nodes/pve1/lxc/101.conf`, `nodes/pve1/host.fw`, `firewall/101.fw`.
fn cluster_file(path: &str) -> Option<ClusterFile> {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["firewall", file] => Some(ClusterFile::Firewall(file.to_owned())),
        ["nodes", node, "host.fw"] => Some(ClusterFile::Firewall(host_fw(node))),
        ["nodes", node, folder, file] => {
            let kind =
                [GuestKind::Container, GuestKind::Vm].into_iter().find(|kind| kind.folder() == folder)?;
            let id = file.strip_suffix(".conf")?.parse().ok()?;
            Some(ClusterFile::Guest { node: node.to_owned(), kind, id })
        }
        _ => None,
    }
}

/// The name a node's own firewall file goes by in [`Guests::firewall`].
pub fn host_fw(node: &str) -> String {
    format!("host:{node}")
}

/// Where a firewall file of [`Guests::firewall`] lies, below `/etc/pve`.
pub fn firewall_path(name: &str) -> String {
    match name.strip_prefix("host:") {
        Some(node) => format!("nodes/{node}/host.fw"),
        None => format!("firewall/{name}"),
    }
}

/// Whether a name is that of a firewall file, so that [`firewall_path`] leads to one and nowhere else: `cluster.fw`, a
/// guest's `101.fw`, or `host:NODE`.
pub fn is_firewall_name(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    match name.strip_prefix("host:") {
        Some(host) => is_node_name(host),
        None => name == "cluster.fw" || name.strip_suffix(".fw").is_some_and(digits),
    }
}

/// What a simulated node has.
#[derive(Debug, Clone, Default)]
pub struct Printed<'a> {
    /// The guests' files: node, kind, number, text.
    pub guests: Vec<(&'a str, GuestKind, u32, &'a [u8])>,
    /// The firewall's files by the names of [`Guests::firewall`].
    pub firewall: BTreeMap<&'a str, &'a str>,
    /// What `ip -o -4 address` prints.
    pub addresses: &'a str,
    /// What sshd says of the connection.
    pub connection: &'a str,
    /// The node's own name.
    pub node: Option<&'a str>,
    /// The site whose change of the firewall waits to be confirmed.
    pub unconfirmed: Option<&'a str>,
    /// What [`MARK`] holds.
    pub mark: Option<&'a str>,
    /// What each [`Look`] saw, by its name.
    pub seen: BTreeMap<&'a str, Result<&'a str, &'a str>>,
}

/// The whole output for these files: for a node that is only simulated.
pub fn printed(node: &Printed<'_>) -> Vec<u8> {
    let mut files: BTreeMap<String, &[u8]> = BTreeMap::new();
    for (node, kind, id, content) in &node.guests {
        files.insert(format!("nodes/{node}/{}/{id}.conf", kind.folder()), content);
    }
    for (name, text) in &node.firewall {
        files.insert(firewall_path(name), text.as_bytes());
    }
    let mut bytes = Vec::new();
    let mut give = |state: &str, name: &str, content: &[u8]| {
        bytes.extend(format!("{state} {} {name}\n", content.len()).into_bytes());
        bytes.extend_from_slice(content);
        bytes.push(b'\n');
    };
    for (name, content) in &files {
        give("file", name, content);
    }
    give("note", "addresses", node.addresses.as_bytes());
    give("note", "connection", node.connection.as_bytes());
    let more = [("node", node.node), ("unconfirmed", node.unconfirmed), ("mark", node.mark)];
    let more: Vec<_> = more.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    for (name, text) in &more {
        give("note", name, text.as_bytes());
    }
    for (name, seen) in &node.seen {
        let (state, text) = match seen {
            Ok(text) => ("note", text),
            Err(text) => ("error", text),
        };
        give(state, &format!("seen {name}"), text.as_bytes());
    }
    let count = files.len() + 2 + more.len() + node.seen.len();
    bytes.extend(format!("end {count}\n").into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_a_file_holds_it_is_one_file(
            files in proptest::collection::btree_map(100_u32..999, "((file|end|error) [0-9]{1,2}( nodes/a/lxc/1.conf)?\n|[a-z]: [a-zé ]{0,9}\n|\n){0,6}", 0..5)
        ) {
            let list = files.iter().map(|(id, text)| ("pve1", GuestKind::Container, *id, text.as_bytes()));
            let firewall: BTreeMap<String, &str> =
                files.iter().map(|(id, text)| (format!("{id}.fw"), text.as_str())).collect();
            let whole = printed(&Printed {
                guests: list.collect(),
                firewall: firewall.iter().map(|(name, text)| (name.as_str(), *text)).collect(),
                addresses: "1: lo    inet 127.0.0.1/8 scope host lo\n2: vmbr0    inet 10.0.0.13/24 brd 10.0.0.255 scope global vmbr0\n",
                connection: "192.0.2.7 51234 10.0.0.13 22",
                node: Some("pve1"),
                unconfirmed: Some("workshop"),
                mark: Some("{}\n"),
                seen: [("pools", Ok("tank\n")), ("links", Err(""))].into(),
            });
            let guests = parse(&whole).unwrap();
            let texts = guests.firewall.iter().map(|(name, text)| (name.clone(), text.as_str()));
            prop_assert_eq!(texts.collect::<BTreeMap<_, _>>(), firewall);
            let (device, address) = ("vmbr0".to_owned(), Ipv4Addr::new(10, 0, 0, 13));
            prop_assert_eq!(&guests.addresses, &vec![NodeAddress { device, address, length: 24 }]);
            prop_assert_eq!(guests.node.as_deref(), Some("pve1"));
            prop_assert_eq!(guests.unconfirmed.as_deref(), Some("workshop"));
            prop_assert_eq!(guests.mark.as_deref(), Some("{}\n"));
            prop_assert_eq!(&guests.seen["pools"], &Ok("tank\n".to_owned()));
            prop_assert_eq!(&guests.seen["links"], &Err(String::new()));
            prop_assert_eq!(guests.way_in, Some(WayIn { client: Ipv4Addr::new(192, 0, 2, 7).into(), port: 22 }));
            prop_assert_eq!(guests.guests.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
            for (id, text) in &files {
                prop_assert_eq!(&guests.guests[id].digest, &digest(text.as_bytes()));
            }
            // Cut anywhere, it is refused.
            for end in 0..whole.len() {
                prop_assert!(parse(&whole[..end]).is_err());
            }
        }
    }
}
