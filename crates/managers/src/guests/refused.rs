//! What a change leaves behind that the node refused, or whose answer was lost. Some of it is made all the same (recorded on a
//! real node, "memory and net0 on a missing bridge"): of a stopped container all of it, of one that runs the device is taken
//! out first and the bad value waits for the next start, which then fails; a virtual machine keeps what it would not plug in
//! (recorded: "net0: unknown bridge, after the error"). So what is in force and what waits is read back, and both are set to
//! what they were: a refusal leaves a guest as it was before.

use std::collections::BTreeMap;

use apply::{Failure, Progress};
use proxmox::client::{GuestRef, PendingEntry};
use proxmox::config::GuestKind;
use proxmox::property::{PropertyString, VolumeSource, container::MOUNT, machine::DISK};

use super::crew::GuestCrew;
use super::table::Table;
use super::work::{Params, Update};
use crate::settle;
use crate::worksite::Worksite;

/// What a password reads as, whatever it is.
const HIDDEN: &str = "**********";

/// A guest's configuration: what is in force, and what waits (`None`: it goes).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub now: BTreeMap<String, String>,
    pub waits: BTreeMap<String, Option<String>>,
}

impl State {
    fn of(entries: Vec<PendingEntry>) -> Self {
        let mut state = Self::default();
        for entry in entries {
            if entry.delete {
                state.waits.insert(entry.key.clone(), None);
            } else if let Some(pending) = entry.pending {
                state.waits.insert(entry.key.clone(), Some(pending));
            }
            if let Some(value) = entry.value {
                state.now.insert(entry.key, value);
            }
        }
        state
    }

    /// Reads it.
    pub(super) async fn read(site: &Worksite, guest: &GuestRef, what: &str) -> Result<Self, Failure> {
        settle::read(what, || site.reader().pending(guest)).await.map(Self::of)
    }
}

/// What brings a guest back to what it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Back {
    /// What waits, and did not.
    revert: Vec<String>,
    /// What is no longer in force.
    set: Params,
    /// What is in force, and was not.
    delete: Vec<String>,
}

impl Back {
    /// From what it was to what it is now, as far as these keys go. A volume that was made stays: it is what was wanted, and
    /// taking it out again would only leave it behind as unused.
    fn between<'k>(
        table: &Table,
        before: &State,
        after: &State,
        keys: impl Iterator<Item = &'k str>,
    ) -> Self {
        let mut back = Self::default();
        for key in keys {
            if after.waits.get(key).is_some_and(|waits| before.waits.get(key) != Some(waits)) {
                back.revert.push(key.to_owned());
            }
            match (before.now.get(key), after.now.get(key)) {
                (was, is) if was == is => {}
                (Some(was), _) if was == HIDDEN => {}
                (Some(was), _) => back.set.push((key.to_owned(), was.clone())),
                (None, _) if (table.is_drive)(key) => {}
                (None, _) => back.delete.push(key.to_owned()),
            }
        }
        back
    }

    fn is_nothing(&self) -> bool {
        self.revert.is_empty() && self.set.is_empty() && self.delete.is_empty()
    }

    /// In words: `net0 waited for a restart; memory was written`.
    fn told(&self) -> String {
        let written: Vec<&str> = self
            .set
            .iter()
            .map(|(key, _)| key.as_str())
            .chain(self.delete.iter().map(String::as_str))
            .collect();
        let be = |all: usize, one: &str, many: &str| if all == 1 { one.to_owned() } else { many.to_owned() };
        let mut parts = Vec::new();
        if !self.revert.is_empty() {
            let verb = be(self.revert.len(), "waits", "wait");
            parts.push(format!("{} {verb} for a restart", self.revert.join(", ")));
        }
        if !written.is_empty() {
            let verb = be(written.len(), "was", "were");
            parts.push(format!("{} {verb} written", written.join(", ")));
        }
        parts.join("; ")
    }
}

/// Why a value may never be written, where that is so: a container's root that names no volume of its own is stored as it is,
/// and the container does not start any more (recorded: "rootfs: a new volume").
pub(crate) fn never(kind: GuestKind, id: u32, params: &[(String, String)]) -> Option<Failure> {
    let (_, value) =
        params.iter().find(|(key, _)| key == "rootfs").filter(|_| kind == GuestKind::Container)?;
    let parts: PropertyString = value.parse().unwrap_or_default();
    let source = MOUNT.get(&parts, "volume").and_then(|volume| volume.parse::<VolumeSource>().ok());
    if let Some(VolumeSource::Volume(_)) = source {
        return None;
    }
    let what = format!("{id} would lose its root: rootfs can be made new with the container alone");
    Some(Failure::new("managers::loses-root", what).hint("phoenix-cli plan shows what is there now"))
}

/// Whether a value makes a new volume, so that it must not be sent twice.
fn makes_volume(value: &str) -> bool {
    let parts: PropertyString = value.parse().unwrap_or_default();
    let source = MOUNT.get(&parts, "volume").or_else(|| DISK.get(&parts, "file"));
    matches!(source.and_then(|it| it.parse().ok()), Some(VolumeSource::New { .. }))
}

/// The same parameters without what would make a volume once more.
pub(super) fn without_new_volumes(table: &Table, params: &Params) -> Params {
    let twice = |(key, value): &&(String, String)| !((table.is_drive)(key) && makes_volume(value));
    params.iter().filter(twice).cloned().collect()
}

/// Codes of failures after which there is nothing to take back: nobody answers, the guest is not there, or somebody else changed
/// it, and then what differs is theirs.
const NOTHING: [&str; 4] = [settle::NOT_FOUND, settle::NO_ANSWER, "proxmox::modified", "managers::not-ours"];

impl GuestCrew {
    /// After a change that failed: sets back what it left behind, and says so.
    pub(super) async fn take_back(
        &self,
        guest: &GuestRef,
        before: &State,
        update: &Update,
        mut failure: Failure,
        progress: &Progress,
    ) -> Failure {
        if NOTHING.contains(&failure.code.as_str()) && !says_of_another(&failure) {
            return failure;
        }
        let table = self.table();
        let by_root = |key: &str| {
            let of = |(name, value): &(String, String)| {
                name == key || (["delete", "revert"].contains(&name.as_str()) && value == key)
            };
            update.root.iter().any(of)
        };
        let rooted = update.root.iter().map(|(name, value)| match name.as_str() {
            "delete" | "revert" => value.as_str(),
            name => name,
        });
        let set = update.set.iter().map(|(key, _)| key.as_str());
        let named = update.delete.iter().chain(&update.revert).map(String::as_str);
        let mut keys: Vec<&str> =
            set.chain(rooted).chain(named).chain(["description", "protection"]).collect();
        keys.sort_unstable();
        keys.dedup();
        let look = |after: &State| Back::between(table, before, after, keys.iter().copied());
        let read = || State::read(self.site(), guest, "reading back what was refused");
        let left = match read().await {
            Ok(after) => look(&after),
            Err(unread) => {
                failure.errors.push(format!(
                    "what became of the change could not be read ({})",
                    unread.errors.join(": ")
                ));
                return failure.hint(self.how_it_is(guest.id));
            }
        };
        if left.is_nothing() {
            return failure;
        }
        progress.doing("taking back what was refused");
        let mut words = Vec::new();
        let (rooted, plain): (Vec<String>, Vec<String>) =
            left.revert.iter().cloned().partition(|key| by_root(key));
        let revert: Params = rooted.into_iter().map(|key| ("revert".to_owned(), key)).collect();
        let plain =
            if plain.is_empty() { Params::new() } else { vec![("revert".to_owned(), plain.join(","))] };
        words.extend(self.put_back(guest, plain, revert, progress).await.err());
        // What was in force may have gone with it (recorded: the device of a container that runs).
        let now = match read().await {
            Ok(now) => look(&now),
            Err(unread) => return told(failure, &left, Some(&unread)).hint(self.how_it_is(guest.id)),
        };
        let (mut root, mut plain) = (Params::new(), Params::new());
        for (key, value) in now.set {
            if by_root(&key) { &mut root } else { &mut plain }.push((key, value));
        }
        let (rooted, delete): (Vec<String>, Vec<String>) =
            now.delete.into_iter().partition(|key| by_root(key));
        root.extend(rooted.into_iter().map(|key| ("delete".to_owned(), key)));
        if !delete.is_empty() {
            plain.push(("delete".to_owned(), delete.join(",")));
        }
        // The protection comes last: nothing of a drive can be set under it.
        let (last, plain): (Params, Params) = plain.into_iter().partition(|(key, _)| key == "protection");
        words.extend(self.put_back(guest, plain, root, progress).await.err());
        words.extend(self.put_back(guest, last, Params::new(), progress).await.err());
        match read().await.map(|after| look(&after)) {
            Ok(rest) if rest.is_nothing() => told(failure, &left, None),
            Ok(rest) => told(failure, &rest, words.first()).hint(self.how_it_is(guest.id)),
            Err(unread) => told(failure, &left, Some(&unread)).hint(self.how_it_is(guest.id)),
        }
    }

    async fn put_back(
        &self,
        guest: &GuestRef,
        plain: Params,
        root: Params,
        progress: &Progress,
    ) -> Result<(), Failure> {
        if !plain.is_empty() {
            settle::set(self.site(), guest, plain, progress).await?;
        }
        self.root(guest, &root, progress).await
    }

    fn how_it_is(&self, id: u32) -> String {
        let command = self.table().command;
        format!("on the node: {command} pending {id}; take back what waits: {command} set {id} --revert KEY")
    }
}

/// The node's words "does not exist" may be about something else than the guest: a bridge, a mapping.
fn says_of_another(failure: &Failure) -> bool {
    failure.code == settle::NOT_FOUND
        && !failure.errors.iter().any(|error| error.contains("onfiguration file"))
}

fn told(mut failure: Failure, back: &Back, why_not: Option<&Failure>) -> Failure {
    let end = match why_not {
        None => "it was taken back, and the guest is as it was".to_owned(),
        Some(why) => format!("it could not be taken back ({})", why.errors.join(": ")),
    };
    failure.errors.push(format!("of the change that was refused, {}; {end}", back.told()));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guests::{containers, vms};

    fn state(now: &[(&str, &str)], waits: &[(&str, Option<&str>)]) -> State {
        State {
            now: now.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            waits: waits.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect(),
        }
    }

    /// Recorded: "memory and net0 on a missing bridge", on a container that is stopped, and on one that runs.
    #[test]
    fn a_missing_bridge_is_taken_back_as_it_was_recorded() {
        let good = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:09:53,type=veth";
        let bad = "name=eth0,bridge=recnobr,hwaddr=BC:24:11:85:5A:BC,type=veth";
        let before = state(&[("memory", "64"), ("net0", good), ("tags", "x")], &[]);
        let keys = || ["memory", "net0", "description"].into_iter();
        let stopped = state(&[("memory", "97"), ("net0", bad), ("tags", "x")], &[]);
        let back = Back::between(&containers::TABLE, &before, &stopped, keys());
        assert_eq!(back.set, [("memory".to_owned(), "64".to_owned()), ("net0".to_owned(), good.to_owned())]);
        assert!(back.revert.is_empty() && back.delete.is_empty());
        assert_eq!(back.told(), "memory, net0 were written");
        let running = state(&[("memory", "80"), ("tags", "x")], &[("net0", Some(bad))]);
        let back = Back::between(&containers::TABLE, &before, &running, keys());
        assert_eq!((back.revert.as_slice(), back.set.len()), (["net0".to_owned()].as_slice(), 2));
        assert_eq!(back.told(), "net0 waits for a restart; memory, net0 were written");
        // Nothing was written, or what waited did so before.
        assert!(Back::between(&containers::TABLE, &before, &before, keys()).is_nothing());
        assert!(Back::between(&containers::TABLE, &running, &running, keys()).is_nothing());
    }

    /// A volume that was made is not taken out again, and a removal that waits is not carried out at the next start.
    #[test]
    fn volumes_stay_where_they_are() {
        let before = state(&[("scsi0", "tank:a,size=1G")], &[]);
        let after = state(&[("scsi0", "tank:a,size=1G"), ("scsi1", "tank:b,size=1G")], &[("scsi0", None)]);
        let back = Back::between(&vms::TABLE, &before, &after, ["scsi0", "scsi1"].into_iter());
        assert_eq!(back, Back { revert: vec!["scsi0".into()], ..Back::default() });
        let params = vec![("scsi1".to_owned(), "tank:8,ssd=1".to_owned()), ("cores".into(), "2".into())];
        assert_eq!(without_new_volumes(&vms::TABLE, &params), [("cores".to_owned(), "2".to_owned())]);
    }

    /// Recorded: "rootfs: a new volume" is stored as text, and the container starts no more.
    #[test]
    fn the_root_of_a_container_is_never_made_anew() {
        let never = |kind, value: &str| never(kind, 1, &[("rootfs".to_owned(), value.to_owned())]).is_some();
        assert!(never(GuestKind::Container, "tank:8") && never(GuestKind::Container, "/srv/x"));
        assert!(!never(GuestKind::Container, "tank:1/vm-1-disk-0.raw,size=8G"));
        assert!(super::never(GuestKind::Container, 1, &[("mp0".into(), "tank:8,mp=/x".into())]).is_none());
    }
}
