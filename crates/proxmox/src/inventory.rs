//! The configuration of every guest of a cluster: by its files, in one command whatever their number, or by the API,
//! with one call a guest. Both give the same ([`GuestConfig::as_the_api_shows`] says what the API leaves out).

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use futures::StreamExt as _;

pub use files::{
    FilesError, Look, MARK, Printed, ROOT, firewall_path, host_fw, is_firewall_name, node_addresses, parse,
    printed, read_by_files, read_by_files_below,
};

use crate::client::{GuestRef, PendingEntry, Reader, Resource};
use crate::config::{GuestConfig, GuestKind, HIDDEN, Pending, Section};
use crate::error::Error;

/// How many calls are under way at once. At 20 ms a call, 1,000 guests take 0.5 s with 40 of them; pveproxy hands them to
/// pvedaemon's three workers, so that more would only queue there.
pub const READ_CONCURRENCY: usize = 40;

/// A guest's configuration, where it is, and the digest for optimistic locking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// The node it is on.
    pub node: String,
    /// Its number, unique in the cluster.
    pub id: u32,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Its configuration.
    pub config: GuestConfig,
    /// The digest of this configuration: what an update gives, so that it fails when somebody changed it meanwhile.
    pub digest: String,
}

/// A guest that is there and could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The node it is on.
    pub node: String,
    /// Its number.
    pub id: u32,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Why.
    pub reason: String,
}

/// An address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    /// The device it is on.
    pub device: String,
    /// The address.
    pub address: Ipv4Addr,
    /// The length of its network's prefix.
    pub length: u8,
}

/// How the one who reads came to the node over ssh, as the node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WayIn {
    /// The address it came from.
    pub client: IpAddr,
    /// The port it came to.
    pub port: u16,
}

/// What was read, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guests {
    /// The guests. One that vanished while they were read is in neither list.
    pub guests: BTreeMap<u32, GuestFile>,
    /// Those that are there and could not be read: nothing may be concluded from their absence above.
    pub unread: Vec<Unread>,
    /// The firewall's files as they are: `cluster.fw`, `101.fw`, and `host:NODE` for each node's own. Only the reader of
    /// files knows them.
    pub firewall: BTreeMap<String, String>,
    /// Those that are there and could not be read, and why: nothing may be concluded from their absence above.
    pub firewall_unread: BTreeMap<String, String>,
    /// The node's addresses, those of the loopback device left out. Only the reader of files knows them.
    pub addresses: Vec<NodeAddress>,
    /// The name of the node that was read on, as it knows itself. Only the reader of files knows it.
    pub node: Option<String>,
    /// How the reader came in, where that was ssh.
    pub way_in: Option<WayIn>,
    /// The site whose change of the firewall waits to be confirmed, and is taken back otherwise.
    pub unconfirmed: Option<String>,
    /// What [`MARK`] holds: what was done on the node itself. Only the reader of files knows it.
    pub mark: Option<String>,
    /// What else was looked at on the node, by the name of each [`Look`]: what it printed, or, where it could not tell, what it
    /// printed until then. Only the reader of files knows it.
    pub seen: BTreeMap<String, Result<String, String>>,
}

impl Guests {
    /// The parts that the API shows, too: nothing of the firewall and of the way in, and of each guest what
    /// [`GuestConfig::as_the_api_shows`] says.
    #[must_use]
    pub fn as_the_api_shows(&self) -> Self {
        let shown = |file: &GuestFile| GuestFile { config: file.config.as_the_api_shows(), ..file.clone() };
        let guests = self.guests.iter().map(|(id, file)| (*id, shown(file))).collect();
        Self { guests, unread: self.unread.clone(), ..Self::default() }
    }
}

/// Reads all guests by the API: one call for the list, one for each guest.
///
/// # Errors
/// When the list cannot be read. A single guest's failure is told in [`Guests::unread`].
pub async fn read_by_api(reader: &Reader) -> Result<Guests, Error> {
    read_listed_by_api(reader, &reader.resources(Some("vm")).await?).await
}

/// Reads the guests of a list that is at hand.
///
/// # Errors
/// When the node cannot be asked at all: the credential is refused, or the certificate.
pub async fn read_listed_by_api(reader: &Reader, resources: &[Resource]) -> Result<Guests, Error> {
    let listed: Vec<GuestRef> = resources
        .iter()
        .filter_map(|it| Some(GuestRef::new(it.node.clone()?, it.guest_kind()?, it.vmid?)))
        .collect();
    let mut reading = futures::stream::iter(listed)
        .map(|guest| async move {
            let read = reader.pending(&guest).await;
            (guest, read)
        })
        .buffer_unordered(READ_CONCURRENCY);
    let mut guests = Guests::default();
    while let Some((GuestRef { node, kind, id }, read)) = reading.next().await {
        match read {
            Ok(entries) => match from_pending(kind, entries) {
                (config, Some(digest)) => {
                    guests.guests.insert(id, GuestFile { node, id, kind, config, digest });
                }
                (_, None) => {
                    let reason = "its configuration came without a digest".to_owned();
                    guests.unread.push(Unread { node, id, kind, reason });
                }
            },
            // Destroyed, or migrated, since it was listed.
            Err(error) if error.is_not_found() => {}
            Err(error) if error.kind() == Some(&crate::ErrorKind::Unauthorized) => return Err(error),
            Err(Error::Exchange(error @ crate::exchange::ExchangeError::Certificate { .. })) => {
                return Err(error.into());
            }
            Err(error) => guests.unread.push(Unread { node, id, kind, reason: error.to_string() }),
        }
    }
    guests.unread.sort_by_key(|unread| unread.id);
    Ok(guests)
}

/// `/pending` holds what is in force and what waits: all of the configuration in one call, where `/config` would mix the
/// two, or leave one out.
fn from_pending(kind: GuestKind, entries: Vec<PendingEntry>) -> (GuestConfig, Option<String>) {
    let mut config = GuestConfig::empty(kind);
    let mut digest = None;
    let put = |section: &mut Section, key: &str, value: String| {
        if key == "description" {
            section.description = Some(value);
        } else {
            let hidden = key == "cipassword";
            section.values.insert(key.to_owned(), if hidden { HIDDEN.to_owned() } else { value });
        }
    };
    let (mut pending, mut delete) = (Section::default(), BTreeSet::new());
    for entry in entries {
        if entry.key == "digest" {
            digest = entry.value;
            continue;
        }
        if entry.delete {
            delete.insert(entry.key.clone());
        }
        if let Some(value) = entry.pending {
            put(&mut pending, &entry.key, value);
        }
        if let Some(value) = entry.value {
            put(&mut config.current, &entry.key, value);
        }
    }
    config.pending = Pending { section: pending, delete };
    (config, digest)
}
