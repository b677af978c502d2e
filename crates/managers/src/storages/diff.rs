//! What has to be done so that storages are defined as they are wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::Storage;
use plan::address::kinds;
use plan::inventory::{Definition, Guest, SecretNow};
use plan::planner::{Proposal, World};
use plan::step::{Consent, Grade, SITE_GOES};
use plan::{Action, Address, Change, Problem, Step};
use serde_json::Value;

use super::compare::{Differs, changes, compare, place_of};
use super::look::made_of;
use super::{Applied, StorageWork, Wanted, mark_of, secret};

/// What guests that are not wanted on a storage can do.
const MOVE: &str = "move them first (pct move-volume, qm disk move), or leave the storage as it is";

pub(super) fn diff(world: World<'_>, proposal: &mut Proposal) {
    let there = &world.inventory.datacenter;
    if let Some(claim) = &there.claim {
        let says = &claim.address;
        proposal.note(format!(
            "the notes of the datacenter say of {says} what this site's key did not vouch for: it counts for nothing"
        ));
    }
    if there.mark.as_ref().is_some_and(|mark| mark.is_newer(&world.desired.site)) {
        for name in world.desired.storages.keys() {
            proposal.problem(Problem::new(
                Address::storage(name),
                "storage::newer",
                "a newer Phoenix wrote down which storages are the site's",
                "use the newer Phoenix that was here last",
            ));
        }
        return;
    }
    let applied: BTreeMap<&str, Applied> = mark_of(world.desired, world.inventory)
        .into_iter()
        .flat_map(|mark| mark.names(kinds::STORAGE).filter_map(|name| Some((name, Applied::of(mark, name)?))))
        .collect();
    let gone = |name: &str| world.options.destroy || !world.desired.storages.contains_key(name);
    for (name, applied) in applied.iter().filter(|(name, _)| gone(name)) {
        removed(world, name, applied, proposal);
    }
    if world.options.destroy || world.desired.storages.is_empty() {
        return;
    }
    let Some(definitions) = &there.storages else {
        return unseen(
            world,
            "the definitions of the storages could not be read",
            "phoenix-cli doctor tries every hop",
            proposal,
        );
    };
    if there.notes.is_none() {
        let message = "the notes of the datacenter, where it is remembered which storages are the site's, are not shown";
        let hint = "the token may not see them, which takes Sys.Audit on / (and Sys.Modify to write them): phoenix-cli doctor --print-role";
        return unseen(world, message, hint, proposal);
    }
    for storage in world.desired.storages.values() {
        let one = One {
            world,
            storage,
            address: Address::storage(&storage.name),
            applied: applied.get(storage.name.as_str()),
        };
        one.diff(definitions.get(&storage.name), proposal);
    }
}

fn unseen(world: World<'_>, message: &str, hint: &str, proposal: &mut Proposal) {
    for name in world.desired.storages.keys() {
        proposal.problem(Problem::new(Address::storage(name), "storage::unseen", message, hint));
    }
}

/// The guests that have disks on a storage, by what their configuration names. Those that go with this plan are told apart.
fn users<'a>(world: World<'a>, name: &str, proposal: &Proposal) -> (Vec<&'a Guest>, Vec<Address>) {
    let begins = format!("{name}:");
    let names = |value: &str| {
        let volume = value.split(',').next().unwrap_or_default();
        let volume =
            volume.strip_prefix("volume=").or_else(|| volume.strip_prefix("file=")).unwrap_or(volume);
        volume.starts_with(&begins) && !volume.starts_with(&format!("{begins}iso/"))
    };
    let listed = world.inventory.datacenter.holds.get(name);
    let uses = |guest: &&Guest| {
        let keys = guest.config.iter().flatten().filter(|(key, _)| is_volume(key));
        keys.into_iter().any(|(_, value)| names(value)) || listed.is_some_and(|ids| ids.contains(&guest.id))
    };
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for guest in world.inventory.guests.values().filter(uses) {
        let ours =
            guest.mark.as_ref().filter(|mark| mark.site == world.desired.site).map(|mark| &mark.address);
        match ours.filter(|address| proposal.removes(address)) {
            Some(address) => go.push(address.clone()),
            None => stay.push(guest),
        }
    }
    (stay, go)
}

/// Whether a key of a guest's configuration names a disk.
fn is_volume(key: &str) -> bool {
    let numbered = ["mp", "unused", "scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"];
    key == "rootfs"
        || numbered.iter().any(|begin| {
            key.strip_prefix(begin)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        })
}

fn named(guests: &[&Guest]) -> String {
    let all = guests.iter().take(5).map(|guest| match guest.name.is_empty() {
        true => guest.id.to_string(),
        false => format!("{} ({})", guest.id, guest.name),
    });
    let mut all: Vec<String> = all.collect();
    if guests.len() > 5 {
        all.push(format!("and {} more", guests.len() - 5));
    }
    all.join(", ")
}

/// A storage of the site's own that it does not want any more.
fn removed(world: World<'_>, name: &str, applied: &Applied, proposal: &mut Proposal) {
    // Where they could not be read it was said, and nothing is concluded from it.
    let Some(definitions) = &world.inventory.datacenter.storages else { return };
    let address = Address::storage(name);
    let forget = |reason: String| Step::new(address.clone(), Action::Delete).reason(reason);
    let Some(there) = definitions.get(name) else {
        let step = forget("it is gone, and what is remembered of it goes, too".to_owned());
        return proposal.step(step, &StorageWork::Forget { name: name.to_owned() });
    };
    let place = place_of(there);
    if place.shown() != applied.place {
        let reason = format!(
            "it is {} now, which the site did not make: it stays, and is the site's no more",
            place.shown()
        );
        return proposal.step(forget(reason), &StorageWork::Forget { name: name.to_owned() });
    }
    let (stay, go) = users(world, name, proposal);
    if !stay.is_empty() {
        let who = named(&stay);
        return match world.options.destroy {
            true => proposal.note(format!("{address} stays: disks of {who} are on it")),
            false => proposal.problem(Problem::new(
                address,
                "storage::in-use",
                format!("the storage {name} cannot be removed: disks of {who} are on it"),
                format!("{MOVE}: declare it again"),
            )),
        };
    }
    let reason = match world.options.destroy {
        true => SITE_GOES.to_owned(),
        false => "the blueprint does not declare it any more; what lies there stays".to_owned(),
    };
    proposal.relies_on(address.clone(), super::Storages.describe(world, name));
    let step = Step::new(address, Action::Delete)
        .reason(reason)
        .change(
            Change::new("is", place.shown(), Value::Null)
                .note("the definition alone: nothing on it is deleted"),
        )
        .needs(go);
    proposal.step(step, &StorageWork::Remove { name: name.to_owned(), place });
}

impl super::Storages {
    fn describe(self, world: World<'_>, name: &str) -> String {
        plan::planner::Kind::state(&self, world.desired, world.inventory, &Address::storage(name))
    }
}

/// A storage that is wanted.
struct One<'a> {
    world: World<'a>,
    storage: &'a Storage,
    address: Address,
    applied: Option<&'a Applied>,
}

impl One<'_> {
    fn diff(&self, there: Option<&Definition>, proposal: &mut Proposal) {
        if let Some(SecretNow::Missing) = secret::now(self.world.inventory, &self.storage.name) {
            return proposal.problem(self.problem(
                "secrets::lost",
                "it was made with a generated password, which is not here".to_owned(),
                "copy .phoenix/secrets from the folder that it was last applied from, or phoenix-cli secrets open".to_owned(),
            ));
        }
        let state = super::Storages.describe(self.world, &self.storage.name);
        match there {
            None => self.create(proposal),
            Some(there) if place_of(there) == self.storage.place => self.change(there, proposal),
            Some(there) => self.elsewhere(there, proposal),
        }
        if proposal.has(&self.address) {
            proposal.relies_on(self.address.clone(), state);
        }
    }

    fn problem(&self, code: &str, message: String, hint: String) -> Problem {
        Problem::new(self.address.clone(), code, message, hint)
    }

    fn wanted(&self) -> Box<Wanted> {
        Box::new(Wanted::of(self.storage))
    }

    fn create(&self, proposal: &mut Proposal) {
        if let Some(problem) = self.cannot_be_made() {
            return proposal.problem(problem);
        }
        let reason = match self.applied {
            None => format!("declared in {}", self.storage.declared),
            Some(_) => "it is not there any more; what lies there is found again".to_owned(),
        };
        let step = self.made(Step::new(self.address.clone(), Action::Create).reason(reason), Value::Null);
        proposal.step(step, &StorageWork::Create(self.wanted()));
    }

    /// A step that defines it, with all that it is to be.
    fn made(&self, step: Step, from: Value) -> Step {
        let is = Change::new("is", from, self.storage.place.shown());
        let makes = matches!(self.storage.place.kind.as_str(), "dir" | "btrfs") && self.storage.create;
        let is = if makes { is.note("the node makes the folder where it is not there") } else { is };
        let options = self.storage.written();
        let options = options.into_iter().map(|(key, value)| Change::new(key, Value::Null, value));
        let password = self
            .storage
            .password
            .iter()
            .map(|it| Change::new("password", Value::Null, format!("the secret {}", it.name())));
        step.change(is).changes(options).changes(password)
    }

    /// Whether a pool or a dataset is one that the blueprint declares.
    fn is_declared(&self, place: &str) -> bool {
        let pool = self.world.desired.pools.get(place.split('/').next().unwrap_or_default());
        pool.is_some_and(|pool| pool.name == place || pool.datasets.contains_key(place))
    }

    /// Why it cannot be made on a node, by what the node said that it has.
    fn cannot_be_made(&self) -> Option<Problem> {
        let (name, place) = (&self.storage.name, &self.storage.place);
        let value = |key: &str| place.options.get(key).map_or("", String::as_str);
        let inventory = self.world.inventory;
        if let Some(node) = self.storage.nodes.iter().find(|node| !inventory.nodes.contains_key(*node)) {
            let known: Vec<&str> = inventory.nodes.keys().map(String::as_str).collect();
            return Some(self.problem(
                "storage::no-node",
                format!("the storage {name} is to be on {node}, and the cluster has no such node"),
                format!("it has {}", known.join(", ")),
            ));
        }
        // What the site makes itself, its own step says.
        if place.kind == "zfspool" && self.is_declared(value("pool")) {
            return None;
        }
        let what = made_of(self.storage)?;
        let wanted = match place.kind.as_str() {
            "zfspool" => value("pool"),
            "lvm" => value("vgname"),
            "lvmthin" => value("thinpool"),
            _ => value("export"),
        };
        let offers = inventory.datacenter.offers.iter().filter(|((_, it), _)| *it == what);
        let (node, offered) = offers
            .filter(|(_, offered)| offered.as_ref().map_or(true, |all| !all.contains(wanted)))
            .map(|((node, _), offered)| (node, offered))
            .next()?;
        let limit = match self.storage.nodes.is_empty() && inventory.nodes.len() > 1 {
            true => "; or say on which `nodes` it is",
            false => "",
        };
        let have = |all: &BTreeSet<String>| match all.is_empty() {
            true => "there is none".to_owned(),
            false => format!("there is {}", all.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        Some(match (place.kind.as_str(), offered) {
            ("nfs", Err(why)) => self.problem(
                "storage::unreachable",
                format!("{node} cannot see what {} exports: {}", value("server"), why.trim_end()),
                format!("on {node}: showmount --exports {}; a server that speaks NFSv4 alone: \"options\": \"vers=4.2\"", value("server")),
            ),
            ("nfs", Ok(all)) => self.problem(
                "storage::no-place",
                format!("{} does not export {wanted} to {node}; {}", value("server"), have(all)),
                format!("on {node}: showmount --exports {}", value("server")),
            ),
            (_, Err(why)) => self.problem(
                "storage::unreachable",
                format!("{node} cannot look for what the storage {name} is made of: {}", why.trim_end()),
                "phoenix-cli doctor tries every hop".to_owned(),
            ),
            ("zfspool", Ok(all)) => self.problem(
                "storage::no-place",
                format!("{node} has no pool or dataset {wanted} of ZFS; {}", have(all)),
                format!("on {node}: zfs create {wanted}, where its pool is there; or zpool import{limit}"),
            ),
            ("lvm", Ok(all)) => self.problem(
                "storage::no-place",
                format!("{node} has no volume group {wanted} of LVM; {}", have(all)),
                format!("on {node}: vgs{limit}"),
            ),
            (_, Ok(all)) => self.problem(
                "storage::no-place",
                format!("{node} has no thin pool {wanted} in the volume group {}; {}", value("vgname"), have(all)),
                format!("on {node}: lvs {}{limit}", value("vgname")),
            ),
        })
    }

    fn change(&self, there: &Definition, proposal: &mut Proposal) {
        let before = self.applied.map(|applied| applied.settings.clone()).unwrap_or_default();
        let differs = compare(self.storage, there, &before);
        let ours = self.applied.is_some_and(|applied| applied.place == self.storage.place.shown());
        if let Some(problem) = self.shuts_out(there, &differs, proposal) {
            return proposal.problem(problem);
        }
        let password = self.password();
        let mut reasons = Vec::new();
        if !ours {
            reasons.push(
                "there is such a storage already: it is taken over, and what lies there stays".to_owned(),
            );
        }
        if !differs.is_empty() {
            reasons.push("it is defined otherwise".to_owned());
        }
        reasons.extend(password.clone());
        let settings: BTreeSet<String> = self.storage.settings.keys().cloned().collect();
        if reasons.is_empty() && before == settings {
            return;
        }
        if reasons.is_empty() {
            reasons.push("what is remembered of it has changed".to_owned());
        }
        let (set, delete) = changes(&differs);
        let text = |value: Option<String>| value.map_or(Value::Null, Value::String);
        let mut step = Step::new(self.address.clone(), Action::Update)
            .reasons(reasons)
            .changes(differs.into_iter().map(|it| Change::new(it.key, text(it.is), text(it.wanted))));
        if !ours {
            step = step.change(Change::new("site", Value::Null, self.world.desired.site.as_str()));
        }
        if let (Some(reference), Some(_)) = (&self.storage.password, &password) {
            let change =
                Change::new(format!("password {}", reference.name()), "as it was applied", "as it is now");
            step = step.change(change);
        }
        let password = password.is_some() || (!ours && self.storage.password.is_some());
        proposal.step(step, &StorageWork::Update { wanted: self.wanted(), set, delete, password });
    }

    /// Why the password is written again.
    fn password(&self) -> Option<String> {
        let reference = self.storage.password.as_ref()?;
        let applied = self.applied?;
        match (secret::now(self.world.inventory, &self.storage.name), &applied.secret) {
            (Some(SecretNow::Code(now)), Some(was)) if now == was => None,
            (Some(SecretNow::Code(_)), Some(_)) => {
                Some(format!("its password, the secret {}, has changed", reference.name()))
            }
            (_, None) => Some(format!("it gets a password, the secret {}", reference.name())),
            _ => None,
        }
    }

    /// Why a change cannot be made: guests have disks there, and would not start any more.
    fn shuts_out(&self, there: &Definition, differs: &[Differs], proposal: &Proposal) -> Option<Problem> {
        let (users, _) = users(self.world, &self.storage.name, proposal);
        let content =
            if differs.iter().any(|it| it.key == "content") { there.options.get("content") } else { None };
        let had = |what: &str| content.is_some_and(|all| all.split(',').any(|one| one == what));
        let lost = |guest: &&&Guest| {
            let disks = if guest.vm { "images" } else { "rootdir" };
            (had(disks) && !self.storage.holds(disks)) || !self.storage.is_on(&guest.node)
        };
        let was_on = |guest: &&&Guest| {
            self.world
                .inventory
                .facts(&guest.node)
                .storages
                .get(&self.storage.name)
                .is_none_or(|storage| storage.active)
        };
        let shut: Vec<&Guest> = users.iter().filter(lost).filter(was_on).copied().collect();
        (!shut.is_empty()).then(|| {
            let who = named(&shut);
            let message = format!("the storage {} cannot be changed like this: disks of {who} are on it, and would be of no use", self.storage.name);
            self.problem("storage::in-use", message, MOVE.to_owned())
        })
    }

    /// Something of that name is there, and is something else.
    fn elsewhere(&self, there: &Definition, proposal: &mut Proposal) {
        let place = place_of(there);
        let (is, wanted, name) = (place.shown(), self.storage.place.shown(), &self.storage.name);
        if self.applied.is_none_or(|applied| applied.place != is) {
            return proposal.problem(self.problem(
                "storage::another",
                format!("there is a storage {name} already, which is {is} and not {wanted}"),
                format!("give yours another name; or declare it as it is: {is}"),
            ));
        }
        let (stay, go) = users(self.world, name, proposal);
        if !stay.is_empty() {
            return proposal.problem(self.problem(
                "storage::in-use",
                format!(
                    "the storage {name} is {is} and cannot become {wanted}: disks of {} are on it",
                    named(&stay)
                ),
                format!("{MOVE}; or declare the new place under another name"),
            ));
        }
        if let Some(problem) = self.cannot_be_made() {
            return proposal.problem(problem);
        }
        let step = Step::new(self.address.clone(), Action::Replace)
            .reason(format!("what it is cannot be changed: {is} is defined anew as {wanted}, and what lies there stays there"))
            .grade(Grade::Rebuild)
            .consent(Consent::Needed)
            .needs(go);
        let step = self.made(step, is.into());
        proposal.step(step, &StorageWork::Replace { from: place, wanted: self.wanted() });
    }
}
