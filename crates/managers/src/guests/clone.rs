//! A guest that is a clone of another: what it is a clone of, and what is made otherwise before it first starts. Pure.
//!
//! What a clone brings along is held against the blueprint by the rows of its kind, as what is there is in any plan. So a run that
//! is cut off after the clone leaves a guest of the site's own that lacks some changes, and the next plan has them. Sources:
//! `clone_vm` of qemu-server 9.2 and pve-container, and the recordings ("Templates and clones").

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::ImageFrom;
use plan::desired::{Guest as Wanted, Image};
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Address, Change, Consent, GuestKind, Mark, Problem, Step};
use proxmox::property::{PropertyString, VolumeSource, container::MOUNT, machine::DISK};
use serde_json::Value;

use super::diff::takes_root;
use super::make::{Anew, waits_for};
use super::offer;
use super::table::{self, Table};
use super::work::{CloneOf, Create, GuestWork, Params, Placement};
use super::{boot, first_start, moves, vms};
use crate::keys::compare::{self, Deed, There, Trouble};
use crate::keys::{Around, Form, Takes};
use crate::privileges::or_unseen;

/// What is cloned, as it is or will be.
struct Source {
    id: u32,
    node: String,
    /// What its clone is to have: of a guest that is there what is in force, of one that is yet to be made what it is made with.
    config: BTreeMap<String, String>,
    /// What must be done before.
    needs: Option<Address>,
}

/// Making it, after what stands in its place is destroyed.
pub(super) fn create(
    world: World<'_>,
    wanted: &Wanted,
    image: &Image,
    node: &str,
    anew: Anew<'_>,
    proposal: &mut Proposal,
) {
    let source = match source(world, wanted, image) {
        Ok(source) => source,
        Err(problem) => return proposal.problem(*problem),
    };
    if let Some(problem) = offer::no_pool(world, wanted) {
        return proposal.problem(problem);
    }
    let table = table::of(wanted);
    let disk = (table.disk)(wanted);
    let of_disk = |source: &Source| {
        let own = disk.as_ref().and_then(|disk| source.config.get(&disk.key));
        own.or_else(|| source.config.iter().find(|(key, _)| is_volume(table, key)).map(|(_, value)| value))
            .and_then(|value| value.split_once(':'))
            .map(|(storage, _)| storage.to_owned())
    };
    let own = of_disk(&source).unwrap_or_default();
    let storage = disk.as_ref().and_then(|disk| disk.storage).map_or_else(|| own.clone(), str::to_owned);
    let problems = [
        linked(world, wanted, &source, &own, &storage, node),
        elsewhere(world, wanted, &source, &own, &storage, node),
        (source.node == node || is_shared(world, node, &storage))
            .then(|| offer::unusable(world, wanted, node, std::iter::once(storage.clone())))
            .flatten(),
    ];
    if let Some(problem) = problems.into_iter().flatten().next() {
        return proposal.problem(problem);
    }
    let mut media = [None, None];
    for (drive, found) in media.iter_mut().zip(vms::media(world, wanted, node)) {
        match found.transpose() {
            Ok(found) => *drive = found,
            Err(lack) => return proposal.problem(lack.problem(wanted.resource())),
        }
    }
    let [medium, second] = media.each_ref().map(|found| found.as_ref().map(|it| it.volume.as_str()));
    let cards = crate::gpus::devices(world, wanted, anew.there);
    let around = Around { storage: &storage, medium, second, cards: &cards };
    let copied = copied(table, &source, (storage != own).then_some(storage.as_str()));
    let mut mark = Mark::new(&world.desired.site, wanted.resource());
    mark.set = table::remembered(wanted, around);
    let brings = brings(&copied, &mark);
    let replaces = anew.there.map(|guest| Placement { id: guest.id, node: guest.node.clone() });
    let mut step = anew.step(world, wanted, node).needs(source.needs.clone()).hold("storage", &storage);
    step = step.needs(media.iter().flatten().filter_map(|medium| medium.step.clone()));
    if wanted.kind == GuestKind::Container {
        // One clone at a time: the node locks the container that it copies (`disk`).
        step = step.hold("template", source.id);
    }
    let found = {
        let there = There::new(&copied, &BTreeMap::new(), &brings.set);
        compare::compare(table.rows, wanted, around, &there)
    };
    if let Some(problem) = found.troubles.iter().find_map(|trouble| troubled(wanted, &source, trouble)) {
        return proposal.problem(problem);
    }
    let mut work = Create {
        placement: Placement { id: wanted.id, node: node.to_owned() },
        replaces,
        clone: Some(CloneOf { id: source.id, node: source.node.clone() }),
        params: Params::new(),
        secrets: BTreeMap::new(),
        set: Params::new(),
        root: Params::new(),
        grow: Params::new(),
        waits_for: waits_for(wanted),
        off: !wanted.started,
        first_start: None,
    };
    let (mut deleted, mut volumes) = (Vec::new(), Vec::new());
    for it in found.differences {
        // One that names no storage is where the clone has it.
        if let Deed::Move(to) = &it.deed {
            let moves = moves::named(wanted, &it.key).is_some();
            let holds = copied.get(&it.key).cloned().unwrap_or_default();
            let elsewhere = Trouble::Elsewhere { key: it.key, holds, wanted: to.clone() };
            match troubled(wanted, &source, &elsewhere).filter(|_| moves) {
                Some(problem) => return proposal.problem(problem),
                None => continue,
            }
        }
        let (row, key) = (it.row, it.key);
        // It goes with the call that makes the clone.
        if ["description", "name", "hostname"].contains(&row.name) || boot::is_left(world, wanted, row) {
            continue;
        }
        if let Some(reference) = table::secret(wanted, row) {
            work.secrets.insert(key, reference);
            continue;
        }
        if row.takes == Takes::Rebuild {
            let (has, wants) = (copied.get(&key).map_or("0", String::as_str), &it.deed);
            let wants = if let Deed::Set(wants) = wants { wants.as_str() } else { "0" };
            return proposal.problem(Problem::new(
                wanted.resource(),
                "plan::clone-differs",
                format!(
                    "{} has `{key}` {has}, and its clone is to have {wants}, which a clone cannot change",
                    source.id
                ),
                format!("say of {} what its template is", wanted.resource()),
            ));
        }
        let old = copied.get(&key).map(String::as_str);
        let new = if let Deed::Set(new) = &it.deed { Some(new.as_str()) } else { None };
        if matches!(row.form, Form::Volume(_)) && it.deed == Deed::Delete && !is_seed(old) {
            volumes.push(key);
            continue;
        }
        let by_root = !matches!(it.deed, Deed::Grow(_))
            && row.takes_root(wanted, old, new).is_some_and(|why| takes_root(world, &mut step, why));
        match (it.deed, by_root) {
            (Deed::Set(value), false) => work.set.push((key, value)),
            (Deed::Set(value), true) => work.root.push((key, value)),
            (Deed::Delete | Deed::Revert, false) => deleted.push(key),
            (Deed::Delete | Deed::Revert, true) => work.root.push(("delete".to_owned(), key)),
            (Deed::Grow(size), _) => work.grow.push((key, size)),
            (Deed::Move(_), _) => {}
        }
    }
    if !volumes.is_empty() {
        return proposal.problem(brought(wanted, &source, &volumes));
    }
    if !deleted.is_empty() {
        work.set.push(("delete".to_owned(), deleted.join(",")));
    }
    let text = table::description(wanted);
    let name = if wanted.kind == GuestKind::Vm { "name" } else { "hostname" };
    work.params = vec![
        (name.to_owned(), wanted.hostname.to_string()),
        ("full".to_owned(), u8::from(!wanted.linked).to_string()),
        ("description".to_owned(), plan::mark::render(&text, &brings)),
    ];
    if brings.set != mark.set {
        work.set.push(("description".to_owned(), plan::mark::render(&text, &mark)));
    }
    work.params.extend(wanted.pool.iter().map(|pool| ("pool".to_owned(), pool.clone())));
    if storage != own {
        work.params.push(("storage".to_owned(), storage.clone()));
    }
    if source.node != node {
        work.params.push(("target".to_owned(), node.to_owned()));
    }
    let of = format!("{}, {}", image.name, if wanted.linked { "linked" } else { "a full copy" });
    step.changes = vec![
        Change::new("id", Value::Null, wanted.id),
        Change::new("node", Value::Null, node),
        Change::new("network", Value::Null, table::network(wanted)),
        Change::new("size", Value::Null, table::size(wanted, &storage)),
        Change::new("clone of", Value::Null, source.id).note(of),
    ];
    work.first_start = match first_start::of(world, wanted, node) {
        Ok(first_start) => first_start,
        Err(problem) => return proposal.problem(*problem),
    };
    if work.first_start.is_some() {
        takes_root(world, &mut step, first_start::BY_ROOT);
    }
    proposal.step(step, &GuestWork::Create(Box::new(work)));
}

/// What is cloned.
fn source(world: World<'_>, wanted: &Wanted, image: &Image) -> Result<Source, Box<Problem>> {
    let problem = |code: &str, message: String, hint: String| {
        Box::new(Problem::new(wanted.resource(), code, message, hint))
    };
    let inventory = world.inventory;
    let id = match &image.from {
        ImageFrom::Golden(name) => {
            let golden = world.desired.guests.get(name).ok_or_else(|| {
                problem("plan::no-template", format!("there is no guest `{name}`"), "declare it".into())
            })?;
            let ours = |guest: &&Guest| {
                let mark = guest.mark.as_ref();
                mark.is_some_and(|mark| mark.site == world.desired.site && mark.address == golden.resource())
            };
            let there = inventory.guests.get(&golden.id).filter(ours);
            if there.is_none_or(|guest| !guest.template || guest.config.is_none()) {
                return Ok(to_be(world, golden, there, image));
            }
            golden.id
        }
        ImageFrom::Guest(id) => *id,
        _ => 0,
    };
    let command = table::of(wanted).command;
    let Some(guest) = inventory.guests.get(&id) else {
        let vm = wanted.kind == GuestKind::Vm;
        let all = inventory.guests.values().filter(|guest| guest.template && guest.vm == vm);
        let all: Vec<String> = all.map(|guest| format!("{} `{}`", guest.id, guest.name)).collect();
        let all =
            if all.is_empty() { "there is none".to_owned() } else { format!("there are {}", all.join(", ")) };
        return Err(problem(
            "plan::no-template",
            format!("the template {id} that it is to be a clone of is not there"),
            format!("of templates {all}; {}", or_unseen("VM.Audit", &format!("/vms/{id}"))),
        ));
    };
    if guest.vm != (wanted.kind == GuestKind::Vm) {
        let is = if guest.vm { "a virtual machine" } else { "a container" };
        let hint = if guest.vm { "declare it under `images`" } else { "declare it under `templates`" };
        let message = format!("{id} is {is}, and no {} can be a clone of it", wanted.kind.as_str());
        return Err(problem("plan::no-template", message, hint.into()));
    }
    let Some(config) = &guest.config else {
        let message = format!("the configuration of {id}, which it is to be a clone of, could not be read");
        return Err(problem("plan::unreadable", message, or_unseen("VM.Audit", &format!("/vms/{id}"))));
    };
    if inventory.is_offline(&guest.node) {
        let message = format!("{id}, which it is to be a clone of, is on {}, which is offline", guest.node);
        return Err(problem("plan::node-offline", message, format!("start {}", guest.node)));
    }
    if guest.running && !guest.template {
        // The node refuses that of a container; of a virtual machine the copy would be that of a disk in use.
        return Err(problem(
            "plan::template-runs",
            format!("{id}, which it is to be a clone of, runs and is no template"),
            format!("on the node: {command} shutdown {id} && {command} template {id}"),
        ));
    }
    if wanted.linked && !guest.template {
        return Err(problem(
            "plan::no-link",
            format!("{id} is no template, and only a template has linked clones"),
            format!("on the node: {command} template {id}; or \"clone\": \"full\""),
        ));
    }
    let bind = config.iter().find(|(key, value)| is_volume(table::of(wanted), key) && value.starts_with('/'));
    if let Some((key, value)) = bind {
        return Err(problem(
            "plan::clone-differs",
            format!("{id} has {key}, which is no volume ({value}), and Proxmox VE clones no such container"),
            format!("on the node: {command} set {id} --delete {key}; say it of each clone under `mounts`"),
        ));
    }
    let node = guest.node.clone();
    Ok(Source { id, node, config: config.clone(), needs: None })
}

/// A golden guest that is not a template yet.
fn to_be(world: World<'_>, golden: &Wanted, there: Option<&Guest>, image: &Image) -> Source {
    let node =
        world.desired.node_of(golden).map_or_else(|| world.inventory.node.clone(), |node| node.to_string());
    let node = there.map_or(node, |guest| guest.node.clone());
    let table = table::of(golden);
    let config = there.and_then(|guest| guest.config.clone()).unwrap_or_else(|| {
        let disk = (table.disk)(golden).and_then(|disk| disk.storage);
        let storage =
            disk.or_else(|| table::storage(table, world.inventory.facts(&node))).unwrap_or_default();
        let around = Around { storage, medium: None, second: None, cards: &[] };
        let written = crate::keys::written(table.rows, golden, around);
        written.into_iter().map(|(row, key, value)| (key, allocated(row.form, &value, golden.id))).collect()
    });
    Source { id: golden.id, node, config, needs: Some(image.resource()) }
}

/// A volume that is to be made, `STORAGE:32,…`, as it is when it was.
fn allocated(form: Form, value: &str, id: u32) -> String {
    let Form::Volume(_) = form else { return value.to_owned() };
    let (first, rest) = value.split_once(',').map_or((value, ""), |(first, rest)| (first, rest));
    let Ok(VolumeSource::New { storage, size }) = first.parse() else { return value.to_owned() };
    let rest = if rest.is_empty() { String::new() } else { format!(",{rest}") };
    format!("{storage}:base-{id}-disk{rest},size={}", compare::size_text(size))
}

/// What the clone has before anything is made otherwise. `moves`: the storage that all its volumes are put on, where the node is told
/// one.
fn copied(table: &Table, source: &Source, moves: Option<&str>) -> BTreeMap<String, String> {
    let gone = ["template", "lock", "parent", "snaptime", "snapstate", "vmstate", "digest", "description"];
    let stays = |key: &str| !gone.contains(&key) && !key.starts_with("unused");
    let config = source.config.iter().filter(|(key, _)| stays(key));
    let moved = |key: &str, value: &str| match (moves, value.split_once(':')) {
        (Some(storage), Some((_, rest))) if is_volume(table, key) && !is_medium(value) => {
            format!("{storage}:{rest}")
        }
        _ => value.to_owned(),
    };
    config.map(|(key, value)| (key.clone(), moved(key, value))).collect()
}

/// What its mark remembers until all is made otherwise: what it brings along that is nobody's to keep counts as put there by
/// Phoenix, so that it is taken away, by this run or by the next.
fn brings(copied: &BTreeMap<String, String>, mark: &Mark) -> Mark {
    let mut brings = mark.clone();
    for (key, value) in copied {
        // Of two guests with one device of the node only one could run.
        let device = ["usb", "hostpci", "dev"].iter().any(|name| {
            key.strip_prefix(name)
                .is_some_and(|slot| !slot.is_empty() && slot.bytes().all(|b| b.is_ascii_digit()))
        });
        if device {
            brings.set.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    if let Some(tags) = copied.get("tags") {
        let all: BTreeSet<&str> = [Some(tags.as_str()), mark.set.get("tags").map(String::as_str)]
            .into_iter()
            .flatten()
            .flat_map(proxmox::property::list)
            .filter(|tag| *tag != plan::mark::TAG)
            .collect();
        if !all.is_empty() {
            brings.set.insert("tags".to_owned(), all.into_iter().collect::<Vec<_>>().join(";"));
        }
    }
    brings
}

fn is_volume(table: &Table, key: &str) -> bool {
    crate::keys::row(table.rows, key).is_some_and(|row| matches!(row.form, Form::Volume(_)))
}

fn is_medium(value: &str) -> bool {
    value.contains("media=cdrom") && !value.contains("cloudinit")
}

fn is_seed(value: Option<&str>) -> bool {
    value.is_some_and(|value| value.contains("cloudinit") || is_medium(value))
}

fn is_shared(world: World<'_>, node: &str, storage: &str) -> bool {
    world.inventory.facts(node).storages.get(storage).is_some_and(|it| it.shared)
}

/// Why it cannot be a linked clone, where it is to be one.
fn linked(
    world: World<'_>,
    wanted: &Wanted,
    source: &Source,
    own: &str,
    storage: &str,
    node: &str,
) -> Option<Problem> {
    if !wanted.linked {
        return None;
    }
    let table = table::of(wanted);
    let problem =
        |message: String, hint: String| Some(Problem::new(wanted.resource(), "plan::no-link", message, hint));
    if storage != own {
        return problem(
            format!(
                "a linked clone is where its template is, on {own}, and its first disk is to be on {storage}"
            ),
            "leave the storage out; or \"clone\": \"full\"".into(),
        );
    }
    let storages = &world.inventory.facts(node).storages;
    for (key, value) in source.config.iter().filter(|(key, _)| is_volume(table, key)) {
        let Some((on, _)) = value.split_once(':').filter(|_| !is_seed(Some(value))) else { continue };
        let kind = storages.get(on).map_or("", |it| it.kind.as_str());
        if !has_links(wanted.kind, kind) {
            return problem(
                format!(
                    "{key} of {} is on {on}, and a storage of the type {kind} has no linked clones of a {}",
                    source.id,
                    wanted.kind.as_str()
                ),
                "\"clone\": \"full\"; or keep the template on ZFS, LVM-thin, btrfs or Ceph".into(),
            );
        }
    }
    None
}

/// Whether a storage of this type can have what is based on a template's volume (PVE::Storage, `volume_has_feature`; recorded:
/// "linked clone on dir"). Of types that are not known, the node will say it.
fn has_links(kind: GuestKind, storage: &str) -> bool {
    match kind {
        GuestKind::Container => {
            !["dir", "nfs", "cifs", "cephfs", "glusterfs", "lvm", "iscsi"].contains(&storage)
        }
        GuestKind::Vm => !["lvm", "iscsi", "iscsidirect"].contains(&storage),
    }
}

/// Why it cannot be made where it is to be, where what is cloned is on another node.
fn elsewhere(
    world: World<'_>,
    wanted: &Wanted,
    source: &Source,
    own: &str,
    storage: &str,
    node: &str,
) -> Option<Problem> {
    if source.node == node {
        return None;
    }
    let local = [own, storage].into_iter().find(|name| !is_shared(world, &source.node, name));
    let local = local?;
    Some(Problem::new(
        wanted.resource(),
        "plan::template-elsewhere",
        format!(
            "{}, which it is to be a clone of, is on {}, on the storage {local}, which {node} does not share",
            source.id, source.node
        ),
        format!(
            "place it there (\"node\": \"{}\"), keep the template on a shared storage, or have one on {node} too",
            source.node
        ),
    ))
}

fn troubled(wanted: &Wanted, source: &Source, trouble: &Trouble) -> Option<Problem> {
    let (message, hint) = match trouble {
        Trouble::Shrinks { called, has, wanted } => (
            format!(
                "{called} of {}, which it is to be a clone of, has {has}, and cannot shrink to {wanted}",
                source.id
            ),
            format!("declare at least {has}"),
        ),
        Trouble::Elsewhere { key, holds, wanted } => (
            format!(
                "{key} of {}, which it is to be a clone of, is {holds}, and is to be on {wanted}",
                source.id
            ),
            format!("say {key} as its template has it"),
        ),
        Trouble::Taken { key, holds } => (
            format!("{key} of {}, which it is to be a clone of, is a drive with {holds} in it", source.id),
            "declare the disk in another slot".to_owned(),
        ),
    };
    Some(Problem::new(wanted.resource(), "plan::clone-differs", message, hint))
}

/// Volumes that come along and are in no blueprint: whether they are wanted, nobody can tell.
fn brought(wanted: &Wanted, source: &Source, keys: &[String]) -> Problem {
    let table = table::of(wanted);
    let all: Vec<String> = keys
        .iter()
        .map(|key| {
            let value = source.config.get(key).map_or("", String::as_str);
            let parts: PropertyString = value.parse().unwrap_or_default();
            let size = MOUNT.get(&parts, "size").or_else(|| DISK.get(&parts, "size"));
            size.map_or_else(|| key.clone(), |size| format!("{key} ({size})"))
        })
        .collect();
    let hint = match table.kind {
        GuestKind::Container => "say them under `mounts`, as they are there",
        GuestKind::Vm => "say them under `disks`, `uefi` and `tpm`, as they are there",
    };
    Problem::new(
        wanted.resource(),
        "plan::clone-brings",
        format!(
            "{} has {}, which its clone would have, too, and the blueprint does not say",
            source.id,
            all.join(", ")
        ),
        hint.to_owned(),
    )
}

/// A clone that its node did not finish.
pub(super) fn left_half(wanted: &Wanted, guest: &Guest) -> Problem {
    let (id, command) = (guest.id, table::of(wanted).command);
    Problem::new(
        wanted.resource(),
        "plan::half-made",
        format!(
            "{id} was left half made: it is locked ({}), and no task works on it",
            guest.lock.as_deref().unwrap_or_default()
        ),
        format!(
            "nothing of yours is in it yet; on {}: {command} unlock {id} && {command} destroy {id}, then apply",
            guest.node
        ),
    )
}

/// The guests whose disks are based on those of this one.
fn linked_clones(world: World<'_>, template: &Guest) -> BTreeSet<u32> {
    let bases = [format!("base-{}-disk", template.id), format!("basevol-{}-disk", template.id)];
    let is_based = |value: &String| {
        value.split(',').next().is_some_and(|volume| bases.iter().any(|it| volume.contains(it)))
    };
    let is_one = |guest: &&Guest| {
        let config = guest.config.iter().flatten();
        guest.id != template.id && config.into_iter().any(|(_, value)| is_based(value))
    };
    if !template.template {
        return BTreeSet::new();
    }
    world.inventory.guests.values().filter(is_one).map(|guest| guest.id).collect()
}

/// Why a template cannot go: what is based on it.
pub(super) fn hangs_on(world: World<'_>, template: &Guest) -> Option<String> {
    let all: Vec<String> = linked_clones(world, template).iter().map(u32::to_string).collect();
    let what = if all.len() == 1 { "is a linked clone of it" } else { "are linked clones of it" };
    (!all.is_empty())
        .then(|| format!("{} {what}, whose disks are based on its own; destroy those first", all.join(", ")))
}

/// A template goes after its linked clones that go, too, and not while there are others.
pub(super) fn after_its_clones(
    world: World<'_>,
    template: &Guest,
    going: &BTreeMap<u32, &Address>,
    step: Step,
) -> Step {
    let clones = linked_clones(world, template);
    if clones.iter().all(|id| going.contains_key(id)) {
        return step.needs(clones.iter().filter_map(|id| going.get(id)).map(|address| (*address).clone()));
    }
    match hangs_on(world, template) {
        Some(why) if !matches!(step.consent, Consent::Refused(_)) => step.consent(Consent::Refused(why)),
        _ => step,
    }
}
