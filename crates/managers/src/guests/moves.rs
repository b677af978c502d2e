//! Moving volumes to another storage (T-1): a virtual machine's while it runs, a container's while it is stopped (recorded:
//! "move_volume running" is refused). The node keeps the old volume as unused; it is freed only once the new one is seen in its
//! place, and through the guest's own configuration. The mark remembers it before it is moved, so that a run that was cut off
//! leaves nothing behind, and frees nothing that is somebody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use apply::{Failure, Progress};
use blueprint::model::{MountSource, Slot};
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::World;
use plan::{Change, GuestKind, Problem};
use proxmox::client::GuestRef;
use proxmox::config;
use proxmox::property::{PropertyString, Size};
use serde_json::Value;

use super::crew::GuestCrew;
use super::offer;
use super::refused::State;
use super::work::Update;
use crate::keys::compare::{Difference, size_text};
use crate::settle::{self, Seen, Task};

/// Copying a volume: a terabyte at the speed of a slow disk takes hours.
const MOVE: Duration = Duration::from_hours(12);

/// A machine's TPM, which its own program holds: the node moves it only while the machine is stopped (`clone_disk` of qemu-server).
const TPM: &str = "tpmstate0";

/// What people read of a volume that moves.
pub(super) const LIVE: &str = "moves while it runs, with its data";
pub(super) const OFF: &str = "moves while it is off, with its data";
pub(super) const STOPPED: &str = "moves with its data; it is stopped for as long as that takes";
pub(super) const AFTER: &str = "moves after the restart, with its data";

/// A volume that moves.
#[derive(Debug, Clone)]
pub(super) struct Move {
    /// Its key.
    pub key: String,
    /// The storage that it moves to.
    pub to: String,
    /// As people see it.
    pub change: Change,
}

/// Whether a volume moves only while its guest is stopped.
pub(super) fn takes_stop(kind: GuestKind, key: &str) -> bool {
    kind == GuestKind::Container || key == TPM
}

/// The storage that the blueprint names for a volume; one for which it names none stays where it is.
pub(super) fn named<'w>(wanted: &'w Wanted, key: &str) -> Option<&'w str> {
    if let Some(own) = wanted.container() {
        if key == "rootfs" {
            return own.disk.storage.as_deref();
        }
        let slot: u8 = key.strip_prefix("mp")?.parse().ok()?;
        return match &own.mounts.get(&slot)?.source {
            MountSource::Volume(disk) => disk.storage.as_deref(),
            MountSource::Host(_) => None,
        };
    }
    let vm = wanted.vm()?;
    match key {
        "efidisk0" => vm.efi.as_ref()?.storage.as_deref(),
        TPM => vm.tpm.as_ref()?.as_deref(),
        key => vm.disks.get(&key.parse::<Slot>().ok()?)?.storage.as_deref(),
    }
}

/// The move of a volume that is on another storage than it is wanted on, where the blueprint names that one.
///
/// # Errors
/// When the node has no such storage, or none that may hold it.
pub(super) fn relocate(
    world: World<'_>,
    wanted: &Wanted,
    guest: &Guest,
    difference: &Difference<'_, Wanted>,
    to: &str,
) -> Result<Option<Move>, Box<Problem>> {
    let Some(change) = difference.changes.first().filter(|_| named(wanted, &difference.key).is_some()) else {
        return Ok(None);
    };
    match offer::unusable(world, wanted, &guest.node, std::iter::once(to.to_owned())) {
        Some(problem) => Err(Box::new(problem)),
        None => Ok(Some(Move { key: difference.key.clone(), to: to.to_owned(), change: change.clone() })),
    }
}

/// Volumes that moves have left, as the mark remembers them, to be freed; not one that is in use and is about to move itself.
pub(super) fn leftovers(
    guest: &Guest,
    now: &BTreeMap<String, String>,
    moves: &[Move],
) -> Vec<(String, Change)> {
    let left = guest.mark.iter().flat_map(|mark| &mark.left);
    let found = left.filter_map(|old| {
        let key = now.iter().find(|(_, value)| volume(value) == old).map(|(key, _)| key);
        if key.is_some_and(|key| moves.iter().any(|it| it.key == *key)) {
            return None;
        }
        let (path, note) = match key.filter(|key| key.starts_with("unused")) {
            Some(key) => (key.as_str(), "left by a move, and freed"),
            None => ("mark", "nothing is left by a move any more"),
        };
        Some((old.clone(), Change::new(path, old.clone(), Value::Null).note(note)))
    });
    found.collect()
}

/// What a person should know before: that there may not be room, and that snapshots do not move.
pub(super) fn notes(world: World<'_>, wanted: &Wanted, guest: &Guest, moves: &[Move]) -> Vec<String> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for it in moves {
        let value = guest.config.as_ref().and_then(|config| config.get(&it.key));
        *sums.entry(&it.to).or_default() += value.and_then(|value| size(value)).unwrap_or_default();
    }
    let storages = &world.inventory.facts(&guest.node).storages;
    let tight = sums.into_iter().filter_map(|(storage, bytes)| {
        let free = storages.get(storage)?.available.filter(|free| *free < bytes)?;
        Some(format!(
            "{} moves up to {} to {storage}, which has {} free: without room it stays where it is",
            wanted.resource(),
            size_text(Size(bytes)),
            size_text(Size(free >> 20 << 20)),
        ))
    });
    tight.collect()
}

/// The size that a volume's value tells.
fn size(value: &str) -> Option<u64> {
    let parts: PropertyString = value.parse().ok()?;
    parts.get("size")?.parse::<Size>().ok().map(|size| size.0)
}

/// The volume in a key's value.
fn volume(value: &str) -> &str {
    let first = value.split(',').next().unwrap_or_default();
    first.trim_start_matches("volume=").trim_start_matches("file=")
}

/// The storage that it is on.
pub(super) fn storage(value: &str) -> &str {
    volume(value).split_once(':').map_or("", |(storage, _)| storage)
}

impl GuestCrew {
    /// Moves these volumes, one after the other.
    pub(super) async fn move_all(
        &self,
        guest: &GuestRef,
        moves: &[(String, String)],
        progress: &Progress,
    ) -> Result<(), Failure> {
        for (key, to) in moves {
            self.move_one(guest, key, to, progress).await?;
        }
        Ok(())
    }

    /// What an update moves, and what earlier moves left.
    pub(super) async fn move_and_free(
        &self,
        guest: &GuestRef,
        update: &Update,
        progress: &Progress,
    ) -> Result<(), Failure> {
        self.move_all(guest, &update.moves, progress).await?;
        for old in &update.free {
            self.free(guest, old, progress).await?;
        }
        Ok(())
    }

    async fn move_one(
        &self,
        guest: &GuestRef,
        key: &str,
        to: &str,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let read = || State::read(self.site(), guest, "reading where the volume is");
        let mut state = read().await?;
        let mut old = self.old(guest, key, &state)?;
        if storage(&old) == to {
            return Ok(());
        }
        self.will_leave(guest, &old, progress).await?;
        // What waits names the old volume, and would take the new one's place at the next start. Of a guest that is stopped any
        // change carries out what waits.
        if state.waits.contains_key(key) {
            state = read().await?;
            if state.waits.contains_key(key) {
                let waits =
                    format!("a change of {key} of {} waits for a restart, so it is not moved", guest.id);
                return Err(Failure::new("managers::not-moved", waits)
                    .hint("phoenix-cli plan shows what is there now"));
            }
            let now = self.old(guest, key, &state)?;
            if now != old {
                self.will_leave(guest, &now, progress).await?;
                old = now;
            }
        }
        let what = format!("moving {key} from {} to {to}", storage(&old));
        let task = Task {
            site: self.site(),
            guest,
            what: &what,
            kind: match guest.kind {
                config::GuestKind::Container => "move_volume",
                config::GuestKind::Vm => "qmmove",
            },
            limit: MOVE,
            fine: &[],
            progress,
        };
        let site = self.site();
        task.run(|| site.writer.move_volume(guest, key, to), || self.is_on(guest, key, to)).await?;
        // "The task is OK" is no proof: the old one is freed only when the new one is seen.
        if self.is_on(guest, key, to).await? == Seen::NotDone {
            let what =
                format!("{key} of {} was moved to {to}, and is not there; the old one is kept", guest.id);
            return Err(Failure::new("managers::not-moved", what).hint(format!(
                "on the node: {} config {}",
                self.table().command,
                guest.id
            )));
        }
        self.free(guest, &old, progress).await
    }

    /// The volume of a key.
    fn old(&self, guest: &GuestRef, key: &str, state: &State) -> Result<String, Failure> {
        let value = state.now.get(key).map(|value| volume(value)).filter(|volume| !volume.is_empty());
        value.map(str::to_owned).ok_or_else(|| {
            Failure::new("managers::not-moved", format!("{} has no {key} any more", guest.id))
                .hint("phoenix-cli plan shows what is there now")
        })
    }

    /// Has the mark remember what a move is about to leave.
    async fn will_leave(&self, guest: &GuestRef, old: &str, progress: &Progress) -> Result<(), Failure> {
        let remember = |_: &mut String, mark: &mut plan::Mark| {
            mark.left.insert(old.to_owned());
        };
        self.site().change_mark(guest.id, progress, remember).await
    }

    async fn is_on(&self, guest: &GuestRef, key: &str, to: &str) -> Result<Seen, Failure> {
        let state = State::read(self.site(), guest, "reading where the volume is").await?;
        let there = state.now.get(key).is_some_and(|value| storage(value) == to);
        Ok(if there { Seen::Done } else { Seen::NotDone })
    }

    /// Frees a volume that a move left as unused, and has the mark forget it. One that anything else has is left alone.
    async fn free(&self, guest: &GuestRef, old: &str, progress: &Progress) -> Result<(), Failure> {
        let state = State::read(self.site(), guest, "looking for the old volume").await?;
        let has = |(_, value): &(&String, &String)| volume(value) == old;
        let keys: Vec<&String> = state.now.iter().filter(has).map(|(key, _)| key).collect();
        if let [key] = keys.as_slice()
            && key.starts_with("unused")
        {
            progress.doing(format!("freeing {old}, from which it was moved"));
            let delete = vec![("delete".to_owned(), (*key).clone())];
            match settle::set(self.site(), guest, delete, progress).await {
                Ok(_) => {}
                // Recorded: "volume is still in use (snapshot?)". It may be gone back to.
                Err(failure) if failure.errors.iter().any(|error| error.contains("still in use")) => {
                    progress.warning(format!("{old} stays as {key} of {}: a snapshot has it", guest.id));
                }
                Err(failure) => return Err(failure),
            }
        }
        let forget = |_: &mut String, mark: &mut plan::Mark| {
            mark.left.remove(old);
        };
        self.site().change_mark(guest.id, progress, forget).await
    }
}
