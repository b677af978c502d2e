//! What differs between the containers wanted and those that are there. Pure.
//!
//! What Proxmox VE can change in place is changed in place (T-1, T-16). Every field has its grade; where a field takes a
//! restart is a fact of the recordings of a real node ("Changing a running guest").

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::MountSource;
use plan::desired::Container;
use plan::inventory::Guest;
use plan::planner::{Kind, Proposal, World, state_of};
use plan::{Action, Address, Change, Consent, Grade, Mark, Problem, Step};
use serde_json::Value;

use super::settings;
use super::work::{Create, Place, Update, Work};

/// Containers, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Containers;

impl Kind for Containers {
    fn kind(&self) -> &'static str {
        "container"
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        let mut ours: BTreeMap<Address, &Guest> = BTreeMap::new();
        for guest in world.inventory.of_site(&world.desired.site) {
            if let Some(mark) = &guest.mark {
                ours.insert(mark.address.clone(), guest);
            }
        }
        if !world.options.destroy {
            for container in world.desired.containers.values() {
                let there = ours.get(&container.resource()).copied();
                one(world, container, there, proposal);
            }
        }
        let wanted: BTreeSet<Address> = if world.options.destroy {
            BTreeSet::new()
        } else {
            world.desired.containers.values().map(Container::resource).collect()
        };
        for (address, guest) in ours.iter().filter(|(a, _)| a.kind() == "container" && !wanted.contains(*a)) {
            proposal.relies_on(guest.id, state_of(world.inventory, guest.id));
            proposal.step(delete(address, guest, world.options.destroy));
        }
    }
}

fn one(world: World<'_>, container: &Container, there: Option<&Guest>, proposal: &mut Proposal) {
    proposal.relies_on(container.id, state_of(world.inventory, container.id));
    let in_the_way = world.inventory.guests.get(&container.id).filter(|g| there.is_none_or(|t| t.id != g.id));
    if let Some(other) = in_the_way {
        proposal.problem(taken(container, other));
        return;
    }
    match there {
        None => {
            let reason = format!("new in {}", container.declared);
            create(world, container, None, vec![reason], proposal);
        }
        Some(guest) if guest.vm => proposal.problem(Problem {
            address: container.resource(),
            code: "plan::other-kind".into(),
            message: format!("{} is a virtual machine, not a container", guest.id),
            hint: "give it another name or id".into(),
        }),
        Some(guest) if guest.config.is_none() => proposal.problem(Problem {
            address: container.resource(),
            code: "plan::unreadable".into(),
            message: format!("the configuration of {} could not be read", guest.id),
            hint: "phoenix-cli doctor".into(),
        }),
        Some(guest) if guest.id != container.id => {
            let reasons = vec![format!("its id changes from {} to {}", guest.id, container.id)];
            create(world, container, Some(guest), reasons, proposal);
        }
        Some(guest) => {
            let unprivileged = guest.config.as_ref().and_then(|c| c.get("unprivileged")).is_some_and(|v| v == "1");
            if unprivileged == container.unprivileged {
                update(world, container, guest, proposal);
            } else {
                let to = if container.unprivileged { "unprivileged" } else { "privileged" };
                let reasons = vec![format!("becomes {to}, which Proxmox VE can only do to a new container")];
                create(world, container, Some(guest), reasons, proposal);
            }
        }
    }
}

fn taken(container: &Container, other: &Guest) -> Problem {
    let hint;
    let whose = match &other.mark {
        Some(mark) => {
            hint = format!("give {} another `id`", container.resource());
            format!("{} of the site `{}`", mark.address, mark.site)
        }
        None if other.lock.as_deref() == Some("create") => {
            hint = format!(
                "if no task makes it any more, remove what is left: pct unlock {0} && pct destroy {0}",
                other.id
            );
            "being created, or was left half made by somebody".to_owned()
        }
        None => {
            hint = format!("give {} another `id`, or remove that guest yourself", container.resource());
            format!("`{}`, which Phoenix did not make", other.name)
        }
    };
    Problem {
        address: container.resource(),
        code: "plan::id-taken".into(),
        message: format!("the id {} is taken: it is {whose}", other.id),
        hint,
    }
}

fn step(container: &Container, action: Action, grade: Grade, reasons: Vec<String>, node: &str) -> Step {
    Step {
        address: container.resource(),
        id: Some(container.id),
        action,
        grade,
        reasons,
        changes: Vec::new(),
        needs: Vec::new(),
        consent: Consent::NotNeeded,
        root: None,
        holds: vec![format!("guest:{}", container.id), format!("node:{node}")],
        batch: None,
        work: Value::Null,
    }
}

fn gib(mib: u64) -> String {
    if mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

/// Making it, after what stands in its place (`there`) is destroyed.
fn create(
    world: World<'_>,
    container: &Container,
    there: Option<&Guest>,
    reasons: Vec<String>,
    proposal: &mut Proposal,
) {
    let address = container.resource();
    let Some(template) = settings::template(&container.template, world.inventory) else {
        let have: Vec<&str> =
            world.inventory.templates.iter().filter_map(|t| t.split_once("vztmpl/").map(|(_, f)| f)).collect();
        let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
        proposal.problem(Problem {
            address,
            code: "plan::no-template".into(),
            message: format!("{} has no template `{}`; it has {have}", world.inventory.node, container.template),
            hint: format!(
                "on the node: pveam update && pveam available --section system | grep {0}, then pveam download local FILE",
                container.template
            ),
        });
        return;
    };
    let Some(storage) =
        container.disk.storage.clone().or_else(|| settings::root_storage(world.inventory).map(str::to_owned))
    else {
        proposal.problem(Problem {
            address,
            code: "plan::no-storage".into(),
            message: format!("{} has no active storage for root disks", world.inventory.node),
            hint: "name one in `disk`, or let a storage of the node hold `rootdir`".into(),
        });
        return;
    };
    let node = container
        .node
        .clone()
        .or_else(|| world.desired.node.clone())
        .unwrap_or_else(|| world.inventory.node.clone());
    if !world.inventory.nodes.is_empty() && !world.inventory.nodes.contains(&node) {
        proposal.problem(Problem {
            address,
            code: "plan::no-node".into(),
            message: format!("there is no node `{node}`"),
            hint: format!("the cluster has {}", world.inventory.nodes.iter().cloned().collect::<Vec<_>>().join(", ")),
        });
        return;
    }
    let grade = if there.is_some() { Grade::Rebuild } else { Grade::Live };
    let action = if there.is_some() { Action::Replace } else { Action::Create };
    let mut step = step(container, action, grade, reasons, &node);
    step.holds.push(format!("storage:{storage}"));
    if let Some(guest) = there {
        step.consent = if guest_protected(guest) || container.protected {
            Consent::Refused("it is protected; set \"protected\": false and apply that first".into())
        } else {
            Consent::Needed
        };
    }
    let mut params: Vec<(String, String)> = vec![
        ("ostemplate".into(), template.clone()),
        ("rootfs".into(), format!("{storage}:{}", container.disk.size_gib)),
        ("unprivileged".into(), if container.unprivileged { "1" } else { "0" }.into()),
    ];
    let mut root = Vec::new();
    for (key, value) in settings::scalars(container) {
        if let Some(value) = value {
            push(key, value, container, world, &mut step, &mut params, &mut root);
        }
    }
    for (slot, nic) in &container.nets {
        params.push((format!("net{slot}"), settings::net(nic, None)));
    }
    for (slot, mount) in &container.mounts {
        let own = match &mount.source {
            MountSource::Volume(disk) => disk.storage.clone().unwrap_or_else(|| storage.clone()),
            MountSource::Host(_) => String::new(),
        };
        let value = settings::mount(mount, &own, None);
        push(&format!("mp{slot}"), value, container, world, &mut step, &mut params, &mut root);
    }
    if let Some(pool) = &container.pool {
        params.push(("pool".into(), pool.clone()));
    }
    let mark = Mark::new(&world.desired.site, container.resource());
    params.push(("description".into(), plan::mark::render(&container.description, &mark)));
    step.changes = vec![
        Change::new("id", Value::Null, container.id),
        Change::new("node", Value::Null, node.clone()),
        Change::new(
            "network",
            Value::Null,
            container.nets.values().map(|n| format!("{} on {}", n.ip, n.bridge)).collect::<Vec<_>>().join(", "),
        ),
        Change::new(
            "size",
            Value::Null,
            format!(
                "{} core{} · {} · {} GiB on {storage}",
                container.cores,
                if container.cores == 1 { "" } else { "s" },
                gib(container.memory_mib),
                container.disk.size_gib
            ),
        ),
        Change::new("template", Value::Null, template.rsplit('/').next().unwrap_or_default()),
    ];
    let work = Work::Create(Create {
        place: Place { id: container.id, node },
        replaces: there.map(|g| Place { id: g.id, node: g.node.clone() }),
        params,
        root,
    });
    step.work = serde_json::to_value(work).unwrap_or_default();
    proposal.step(step);
}

/// Puts a setting where it can be set: in the call, or with root's commands on the node.
fn push(
    key: &str,
    value: String,
    container: &Container,
    world: World<'_>,
    step: &mut Step,
    params: &mut Vec<(String, String)>,
    root: &mut Vec<(String, String)>,
) {
    match settings::needs_root(key, &value, container.unprivileged) {
        Some(why) if world.inventory.commands => {
            step.root = Some(why.to_owned());
            root.push((key.to_owned(), value));
        }
        // Without a way to run commands it is tried with the credential there is; root@pam's password can do it.
        Some(why) => {
            step.root = Some(format!("{why}; there is no ssh to the node, so the credential must be root@pam's own"));
            params.push((key.to_owned(), value));
        }
        None => params.push((key.to_owned(), value)),
    }
}

fn guest_protected(guest: &Guest) -> bool {
    guest.config.as_ref().and_then(|c| c.get("protection")).is_some_and(|v| v == "1")
}

fn delete(address: &Address, guest: &Guest, destroy: bool) -> Step {
    let mut reasons = vec![if destroy {
        "the site is to be destroyed".to_owned()
    } else {
        "no longer in the blueprint".to_owned()
    }];
    if let Some(used) = guest.disk_used.filter(|b| *b > 0) {
        reasons.push(format!("holds {:.1} GiB", used as f64 / f64::from(1 << 30)));
    }
    Step {
        address: address.clone(),
        id: Some(guest.id),
        action: Action::Delete,
        grade: Grade::DataLoss,
        reasons,
        changes: vec![Change::new("id", guest.id, Value::Null)],
        needs: Vec::new(),
        consent: if guest_protected(guest) {
            Consent::Refused("it is protected; set \"protected\": false and apply that first".into())
        } else {
            Consent::Needed
        },
        root: None,
        holds: vec![format!("guest:{}", guest.id), format!("node:{}", guest.node)],
        batch: None,
        work: serde_json::to_value(Work::Delete(Place { id: guest.id, node: guest.node.clone() }))
            .unwrap_or_default(),
    }
}

/// What an update gathers.
struct Gather<'a> {
    world: World<'a>,
    container: &'a Container,
    step: Step,
    update: Update,
    restart: BTreeSet<String>,
    running: bool,
}

impl Gather<'_> {
    fn change(&mut self, change: Change) {
        self.step.changes.push(change);
    }

    fn set(&mut self, key: &str, value: String) {
        let (container, world) = (self.container, self.world);
        push(key, value, container, world, &mut self.step, &mut self.update.set, &mut self.update.root);
    }

    /// It applies only at a restart.
    fn pends(&mut self, key: &str) {
        if self.running {
            self.restart.insert(key.to_owned());
        }
    }

    fn problem(&self, proposal: &mut Proposal, code: &str, message: String, hint: &str) {
        proposal.problem(Problem {
            address: self.container.resource(),
            code: code.into(),
            message,
            hint: hint.into(),
        });
    }
}

fn update(world: World<'_>, container: &Container, guest: &Guest, proposal: &mut Proposal) {
    let Some(config) = &guest.config else { return };
    // What waits for a restart counts as if it were there: it has been asked for already.
    let mut effective = config.clone();
    for (key, value) in &guest.pending {
        match value {
            Some(value) => effective.insert(key.clone(), value.clone()),
            None => effective.remove(key),
        };
    }
    let reason = format!("differs from {}", container.declared);
    let mut gather = Gather {
        world,
        container,
        step: step(container, Action::Update, Grade::Live, vec![], &guest.node),
        update: Update {
            id: guest.id,
            node: guest.node.clone(),
            digest: guest.digest.clone(),
            ..Update::default()
        },
        restart: BTreeSet::new(),
        running: guest.running,
    };
    scalars(&mut gather, &effective);
    nets(&mut gather, &effective);
    root_disk(&mut gather, &effective, proposal);
    mounts(&mut gather, &effective, proposal);
    if let Some(pool) = &container.pool
        && guest.pool.as_ref() != Some(pool)
    {
        gather.change(Change::new("pool", guest.pool.clone(), pool.clone()));
        gather.update.pool = Some(pool.clone());
    }
    if guest.text.trim_end() != container.description.trim_end() {
        gather.change(Change::new("description", guest.text.clone(), container.description.clone()));
        gather.update.text = Some(container.description.clone());
    }
    let Gather { mut step, mut update, restart, running, .. } = gather;
    let waits: Vec<&str> = guest.pending.keys().map(String::as_str).filter(|k| !restart.contains(*k)).collect();
    if !step.changes.is_empty() {
        step.reasons.push(reason);
    }
    if !restart.is_empty() || (running && !waits.is_empty()) {
        let keys: Vec<&str> = restart.iter().map(String::as_str).chain(waits.iter().copied()).collect();
        step.reasons.push(format!("{} appl{} at a restart", keys.join(", "), if keys.len() == 1 { "ies" } else { "y" }));
        for key in waits {
            let now = config.get(key).cloned();
            let then = guest.pending.get(key).cloned().flatten();
            step.changes.push(Change::new(key, now, then).note("waits for the restart"));
        }
        step.action = Action::Restart;
        step.grade = Grade::Restart;
        update.restart = true;
    }
    if !running {
        step.reasons.push("it does not run".into());
        step.changes.push(Change::new("state", "stopped", "running"));
        update.start = true;
        update.restart = false;
    }
    if step.changes.is_empty() && !update.restart && !update.start {
        return;
    }
    if guest.template {
        return;
    }
    step.work = serde_json::to_value(Work::Update(update)).unwrap_or_default();
    proposal.step(step);
}

/// These wait for a restart on a running container; the other scalars apply at once.
const PENDS: [&str; 3] = ["features", "nameserver", "searchdomain"];

fn scalars(gather: &mut Gather<'_>, there: &BTreeMap<String, String>) {
    for (key, wanted) in settings::scalars(gather.container) {
        let raw = there.get(key).map(String::as_str).or_else(|| settings::default(key));
        let normal = |text: &str| match key {
            "tags" => {
                let set: BTreeSet<String> =
                    text.split([';', ',', ' ']).filter(|t| !t.is_empty()).map(str::to_lowercase).collect();
                set.into_iter().collect::<Vec<_>>().join(";")
            }
            "features" | "startup" => settings::join(&settings::parts(text)),
            "nameserver" => text.split_whitespace().collect::<Vec<_>>().join(" "),
            _ => text.to_owned(),
        };
        if raw.map(normal) == wanted.as_deref().map(normal) {
            continue;
        }
        let show = |v: Option<&str>| match (key, v.and_then(|v| v.parse::<u64>().ok())) {
            ("memory" | "swap", Some(mib)) => Value::String(gib(mib)),
            (_, Some(n)) => n.into(),
            _ => v.map_or(Value::Null, Into::into),
        };
        gather.change(Change::new(key, show(raw), show(wanted.as_deref())));
        match wanted {
            Some(value) => gather.set(key, value),
            None => gather.update.delete.push(key.to_owned()),
        }
        if PENDS.contains(&key) {
            gather.pends(key);
        }
    }
}

fn nets(gather: &mut Gather<'_>, there: &BTreeMap<String, String>) {
    let container = gather.container;
    for (slot, nic) in &container.nets {
        let key = format!("net{slot}");
        let old = there.get(&key);
        let new = settings::net(nic, old.map(String::as_str));
        let (was, will) = (old.map(|o| settings::net_normal(o)).unwrap_or_default(), settings::net_normal(&new));
        if was == will {
            continue;
        }
        for (part, value) in &will {
            if was.get(part) != Some(value) {
                gather.change(Change::new(format!("{key}.{part}"), was.get(part).cloned(), value.clone()));
            }
        }
        for (part, value) in was.iter().filter(|(p, _)| !will.contains_key(*p)) {
            gather.change(Change::new(format!("{key}.{part}"), value.clone(), Value::Null));
        }
        gather.set(&key, new);
    }
    for (key, value) in there.iter().filter(|(k, _)| slot_of(k, "net").is_some()) {
        if slot_of(key, "net").is_some_and(|slot| !container.nets.contains_key(&slot)) {
            gather.change(Change::new(key, value.clone(), Value::Null));
            gather.update.delete.push(key.clone());
        }
    }
}

fn slot_of(key: &str, prefix: &str) -> Option<u8> {
    key.strip_prefix(prefix)?.parse().ok()
}

/// Grows a disk, or says why its size cannot be had.
fn grow(gather: &mut Gather<'_>, key: &str, label: &str, there: &str, gib_wanted: u64, proposal: &mut Proposal) {
    let size = settings::parts(there).get("size").cloned().unwrap_or_default();
    let Some(now) = settings::bytes(&size) else { return };
    let wanted = gib_wanted << 30;
    if wanted > now {
        gather.change(Change::new(label, size, format!("{gib_wanted}G")).note("grows in place"));
        gather.update.grow.push((key.to_owned(), format!("{gib_wanted}G")));
    } else if wanted < now {
        gather.problem(
            proposal,
            "plan::disk-shrinks",
            format!("its {label} has {size}, and cannot shrink to {gib_wanted}G"),
            &format!("declare at least {size}"),
        );
    }
}

fn root_disk(gather: &mut Gather<'_>, there: &BTreeMap<String, String>, proposal: &mut Proposal) {
    let Some(rootfs) = there.get("rootfs") else { return };
    grow(gather, "rootfs", "disk", rootfs, gather.container.disk.size_gib, proposal);
    let storage = rootfs.split(':').next().unwrap_or_default();
    if let Some(wanted) = &gather.container.disk.storage
        && wanted != storage
    {
        gather.problem(
            proposal,
            "plan::storage-moves",
            format!("its root disk is on {storage}, and is to be on {wanted}"),
            &format!("stop it and move the disk on the node: pct move-volume {} rootfs {wanted}", gather.container.id),
        );
    }
}

fn mounts(gather: &mut Gather<'_>, there: &BTreeMap<String, String>, proposal: &mut Proposal) {
    let container = gather.container;
    let root_storage = there.get("rootfs").and_then(|r| r.split(':').next()).unwrap_or_default().to_owned();
    for (slot, mount) in &container.mounts {
        let key = format!("mp{slot}");
        let storage = match &mount.source {
            MountSource::Volume(disk) => disk.storage.clone().unwrap_or_else(|| root_storage.clone()),
            MountSource::Host(_) => String::new(),
        };
        let Some(old) = there.get(&key) else {
            let new = settings::mount(mount, &storage, None);
            gather.change(Change::new(&key, Value::Null, new.clone()));
            gather.set(&key, new);
            continue;
        };
        let old_volume = settings::parts(old);
        let old_volume = old_volume.get("").or_else(|| old_volume.get("volume")).cloned().unwrap_or_default();
        let same_source = match &mount.source {
            MountSource::Host(folder) => *folder == old_volume,
            MountSource::Volume(_) => old_volume.split(':').next() == Some(storage.as_str()),
        };
        if !same_source {
            gather.problem(
                proposal,
                "plan::mount-source",
                format!("{key} holds {old_volume}, and is to hold something else"),
                &format!("take {key} out of the blueprint and apply, then put it in again: its old volume is kept as unused"),
            );
            continue;
        }
        if let MountSource::Volume(disk) = &mount.source {
            grow(gather, &key, &key, old, disk.size_gib, proposal);
        }
        let new = settings::mount(mount, &storage, Some(old));
        if settings::mount_normal(old) != settings::mount_normal(&new) {
            gather.change(Change::new(&key, old.clone(), new.clone()));
            gather.set(&key, new);
            gather.pends(&key);
        }
    }
    for (key, value) in there.iter().filter(|(k, _)| slot_of(k, "mp").is_some()) {
        if slot_of(key, "mp").is_some_and(|slot| !container.mounts.contains_key(&slot)) {
            gather.change(Change::new(key, value.clone(), Value::Null).note("its volume is kept as unused"));
            gather.update.delete.push(key.clone());
            gather.pends(key);
        }
    }
}
