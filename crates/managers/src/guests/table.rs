//! What one kind of guest has that others have not: its keys, where its system comes from, and what the node calls its tasks.

use std::collections::BTreeMap;

use blueprint::model::SecretRef;
use plan::desired::{Guest as Wanted, Nic};
use plan::inventory::NodeFacts;
use plan::planner::World;
use plan::{Address, Change, GuestKind, Problem};

use super::work::Params;
use crate::keys::{self, Around, Row, form};

/// A kind of guest.
#[derive(Debug)]
pub struct Table {
    /// Which.
    pub kind: GuestKind,
    /// The keys of its configuration that Phoenix sets.
    pub rows: &'static [Row<Wanted>],
    /// Whether the node itself writes a key, which is nobody's to own.
    pub is_the_nodes: fn(&str) -> bool,
    /// Whether a key is a volume or a mount, which the protection keeps as it is.
    pub is_drive: fn(&str) -> bool,
    /// Whether a key is a volume that holds data, beside the first disk.
    pub is_data: fn(&str) -> bool,
    /// Its first disk.
    pub disk: fn(&Wanted) -> Option<FirstDisk<'_>>,
    /// What a storage holds that its disks may be on, as Proxmox VE calls that.
    pub content: &'static str,
    /// Where its system comes from, on this node.
    pub origin: fn(World<'_>, &Wanted, &str) -> Result<Origin, Box<Problem>>,
    /// The node's own command for it.
    pub command: &'static str,
    /// What the node calls its tasks.
    pub tasks: Tasks,
}

/// The first disk of a guest.
#[derive(Debug, Clone)]
pub struct FirstDisk<'a> {
    /// Its key: `rootfs`, `scsi0`.
    pub key: String,
    /// The storage that is declared for it.
    pub storage: Option<&'a str>,
    /// Its size in MiB.
    pub size_mib: u64,
}

/// Where a new guest's system comes from.
#[derive(Debug, Default)]
pub struct Origin {
    /// What the call that makes it is told of that.
    pub params: Params,
    /// The volume that its first disk is copied from; it grows to its size then.
    pub import: Option<String>,
    /// The volume of the medium in its drive.
    pub medium: Option<String>,
    /// The volume of the medium in its second drive.
    pub second: Option<String>,
    /// What must be there first.
    pub needs: Vec<Address>,
    /// As people see it.
    pub shown: Option<Change>,
}

/// What the node calls the tasks of a guest in their UPIDs.
#[derive(Debug)]
pub struct Tasks {
    /// Making it.
    pub create: &'static str,
    /// Starting it.
    pub start: &'static str,
    /// Shutting it down.
    pub shutdown: &'static str,
    /// Destroying it.
    pub destroy: &'static str,
}

/// The tables, by kind.
pub fn of_kind(kind: GuestKind) -> &'static Table {
    match kind {
        GuestKind::Container => &super::containers::TABLE,
        GuestKind::Vm => &super::vms::TABLE,
    }
}

/// The table of a guest.
pub(super) fn of(guest: &Wanted) -> &'static Table {
    of_kind(guest.kind)
}

/// The secret that is the value of a key, by reference.
pub(super) fn secret(guest: &Wanted, row: &Row<Wanted>) -> Option<SecretRef> {
    if !matches!(row.form, keys::Form::Secret) {
        return None;
    }
    super::vms::password(guest.vm()?).cloned()
}

/// The text for people in its description.
pub(super) fn description(guest: &Wanted) -> String {
    plan::mark::text(guest.description.as_deref().unwrap_or_default())
}

/// What the mark remembers that was set: of tags not Phoenix' own, which every guest of its has.
pub(super) fn remembered(guest: &Wanted, around: Around<'_>) -> BTreeMap<String, String> {
    keys::remembered(of(guest).rows, guest, around, plan::mark::TAG)
}

/// Its network, for people.
pub(super) fn network(guest: &Wanted) -> String {
    let nic = |nic: &Nic| format!("{} on {} as {}", nic.ip, nic.bridge, nic.mac);
    guest.nets.values().map(nic).collect::<Vec<_>>().join(", ")
}

/// Its size, for people.
pub(super) fn size(guest: &Wanted, storage: &str) -> String {
    let memory = form::mib(guest.memory_mib);
    let cores = match guest.cores {
        None => "all cores".to_owned(),
        Some(1) => "1 core".to_owned(),
        Some(cores) => format!("{cores} cores"),
    };
    let disk = (of(guest).disk)(guest).map(|disk| format!(" · {} on {storage}", form::mib(disk.size_mib)));
    format!("{cores} · {memory}{}", disk.unwrap_or_default())
}

/// The storage for a first disk where the blueprint names none: the first active one that may hold such disks, `local`
/// last, since that is usually the system's own disk.
pub(super) fn storage<'n>(table: &Table, node: &'n NodeFacts) -> Option<&'n str> {
    super::offer::first_storage(node, table.content)
}
