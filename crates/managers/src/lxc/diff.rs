//! What differs between the containers wanted and those that are there. Pure.
//!
//! What Proxmox VE can change in place is changed in place (T-1, T-16). Every field has its grade; where a field takes a
//! restart is a fact of the recordings of a real node ("Changing a running guest").

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::MountSource;
use plan::desired::Guest as Container;
use plan::inventory::Guest;
use plan::planner::{Kind, Proposal, World, state_of};
use plan::{Action, Address, Change, Consent, Grade, Mark, Problem, Step};
use serde_json::Value;

use super::settings;
use super::work::{Create, Keep, Place, Update, Work};

/// Containers, for planning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Containers;

impl Kind for Containers {
    fn kind(&self) -> &'static str {
        "container"
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        let ours = ours(world, proposal);
        if !world.options.destroy {
            for container in world.desired.guests.values() {
                let resource = container.resource();
                if proposal.has_problem(&resource) {
                    continue;
                }
                one(world, container, &ours, proposal);
            }
        }
        let wanted: BTreeSet<Address> = if world.options.destroy {
            BTreeSet::new()
        } else {
            world.desired.guests.values().map(Container::resource).collect()
        };
        for (address, guest) in ours.iter().filter(|(a, _)| !wanted.contains(**a)) {
            proposal.relies_on(guest.id, state_of(world.inventory, guest.id));
            let (step, work) = delete(address, guest, world.options.destroy);
            proposal.step(step, &work);
        }
    }
}

/// The guests of the site by what they are. A guest cloned or restored by hand carries the same mark as the one it comes
/// from: the one with the id that is wanted counts, and where there is none, nobody can tell.
fn ours<'a>(world: World<'a>, proposal: &mut Proposal) -> BTreeMap<&'a Address, &'a Guest> {
    let mut all: BTreeMap<&Address, Vec<&Guest>> = BTreeMap::new();
    for guest in world.inventory.of_site(&world.desired.site) {
        if let Some(mark) = guest.mark.as_ref().filter(|m| m.address.kind() == "container") {
            all.entry(&mark.address).or_default().push(guest);
        }
    }
    let mut ours = BTreeMap::new();
    for (address, guests) in all {
        let wanted = world.desired.guests.get(address.name()).map(|c| c.id);
        let one = match guests.as_slice() {
            [only] => Some(*only),
            several => several.iter().find(|g| Some(g.id) == wanted).copied(),
        };
        let others: Vec<String> =
            guests.iter().filter(|g| one.is_none_or(|o| o.id != g.id)).map(|g| g.id.to_string()).collect();
        if let Some(one) = one {
            ours.insert(address, one);
            if !others.is_empty() {
                proposal.note(format!(
                    "{} carries the mark of {address} too, as a copy of it does, and is left alone",
                    others.join(", ")
                ));
            }
        } else {
            proposal.problem(Problem {
                address: address.clone(),
                code: "plan::copies".into(),
                message: format!(
                    "{} carry the mark of {address}, and it can only be one",
                    others.join(" and ")
                ),
                hint: "remove the block ```phoenix from the description of the copy".into(),
            });
        }
    }
    ours
}

fn one(world: World<'_>, container: &Container, ours: &BTreeMap<&Address, &Guest>, proposal: &mut Proposal) {
    let there = ours.get(&container.resource()).copied();
    proposal.relies_on(container.id, state_of(world.inventory, container.id));
    let in_the_way = world.inventory.guests.get(&container.id).filter(|g| there.is_none_or(|t| t.id != g.id));
    // What goes makes room: a renamed container is another one that takes the id of the first.
    let mut after = Vec::new();
    if let Some(other) = in_the_way {
        let going =
            ours.iter().find(|(a, g)| g.id == other.id && !world.desired.guests.contains_key(a.name()));
        let Some((going, _)) = going else {
            proposal.problem(taken(&world.desired.site, container, other));
            return;
        };
        after.push((*going).clone());
    }
    match there {
        None => {
            let mut reasons = vec![format!("new in {}", container.declared)];
            reasons.extend(after.iter().map(|a| format!("takes the id of {a}")));
            create(world, container, None, reasons, after, proposal);
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
            create(world, container, Some(guest), reasons, after, proposal);
        }
        Some(guest) if guest.template => proposal.problem(Problem {
            address: container.resource(),
            code: "plan::is-template".into(),
            message: format!("{} was made a template, which cannot run", guest.id),
            hint: "remove the block ```phoenix from its description, and give the container another id"
                .into(),
        }),
        Some(guest) => {
            let unprivileged =
                guest.config.as_ref().and_then(|c| c.get("unprivileged")).is_some_and(|v| v == "1");
            if unprivileged == container.unprivileged {
                update(world, container, guest, proposal);
            } else {
                let to = if container.unprivileged { "unprivileged" } else { "privileged" };
                let reasons = vec![format!("becomes {to}, which Proxmox VE can only do to a new container")];
                create(world, container, Some(guest), reasons, after, proposal);
            }
        }
    }
}

fn tagged(guest: &Guest) -> bool {
    let tags = guest.config.as_ref().and_then(|c| c.get("tags")).map_or("", String::as_str);
    tags.split([';', ',', ' ']).any(|t| t.eq_ignore_ascii_case(plan::mark::TAG))
}

fn taken(site: &str, container: &Container, other: &Guest) -> Problem {
    let hint;
    let whose = match &other.mark {
        Some(mark) => {
            hint = if mark.site == site {
                format!(
                    "if {0} is to have another id, apply that first, with --target {0}; or give {1} another `id`",
                    mark.address,
                    container.resource()
                )
            } else {
                format!("give {} another `id`", container.resource())
            };
            format!("{} of the site `{}`", mark.address, mark.site)
        }
        None if other.lock.as_deref() == Some("create") => {
            hint = format!(
                "if no task makes it any more, remove what is left: pct unlock {0} && pct destroy {0}",
                other.id
            );
            "being created, or was left half made by somebody".to_owned()
        }
        None if tagged(other) => {
            // It looks like one of ours that somebody edited: nobody should be told to remove it.
            let mark = plan::mark::render("", &Mark::new(site, container.resource()));
            hint = format!(
                "if it is {0}, put this at the end of its description and what is in it is applied again; else give \
                 {0} another `id`:\n{mark}",
                container.resource()
            );
            format!(
                "`{}`, which has the tag of Phoenix, and no block in its description that says whose",
                other.name
            )
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
    let step = Step::new(container.resource(), action).on_guest(container.id).grade(grade).hold("node", node);
    Step { reasons, ..step }
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
    after: Vec<Address>,
    proposal: &mut Proposal,
) {
    let address = container.resource();
    let Some(template) = settings::template(&container.template, world.inventory) else {
        let have: Vec<&str> = world
            .inventory
            .templates
            .iter()
            .filter_map(|t| t.split_once("vztmpl/").map(|(_, f)| f))
            .collect();
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
    let node = container.node.as_ref().or(world.desired.node.as_ref());
    let node = node.map_or_else(|| world.inventory.node.clone(), ToString::to_string);
    if !world.inventory.nodes.is_empty() && !world.inventory.nodes.contains(&node) {
        proposal.problem(Problem {
            address,
            code: "plan::no-node".into(),
            message: format!("there is no node `{node}`"),
            hint: format!(
                "the cluster has {}",
                world.inventory.nodes.iter().cloned().collect::<Vec<_>>().join(", ")
            ),
        });
        return;
    }
    let mounts = container.mounts.values().filter_map(|m| match &m.source {
        MountSource::Volume(disk) => disk.storage.as_deref(),
        MountSource::Host(_) => None,
    });
    let storages = std::iter::once(storage.as_str()).chain(mounts);
    if let Some(problem) = unusable(world, container, &node, storages) {
        proposal.problem(problem);
        return;
    }
    if let Some(problem) = no_pool(world, container) {
        proposal.problem(problem);
        return;
    }
    let grade = if there.is_some() { Grade::Rebuild } else { Grade::Live };
    let action = if there.is_some() { Action::Replace } else { Action::Create };
    let mut step = step(container, action, grade, reasons, &node);
    step.needs = after;
    step.holds.push(format!("storage:{storage}"));
    if let Some(guest) = there {
        if guest.id != container.id {
            step.holds.push(format!("guest:{}", guest.id));
        }
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
            push(key, (None, value), container, world, &mut step, &mut params, &mut root);
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
        push(&format!("mp{slot}"), (None, value), container, world, &mut step, &mut params, &mut root);
    }
    if let Some(pool) = &container.pool {
        params.push(("pool".into(), pool.clone()));
    }
    let mark = Mark::new(&world.desired.site, container.resource());
    params.push((
        "description".into(),
        plan::mark::render(container.description.as_deref().unwrap_or_default(), &mark),
    ));
    step.changes = vec![
        Change::new("id", Value::Null, container.id),
        Change::new("node", Value::Null, node.clone()),
        Change::new(
            "network",
            Value::Null,
            container
                .nets
                .values()
                .map(|n| format!("{} on {} as {}", n.ip, n.bridge, n.mac))
                .collect::<Vec<_>>()
                .join(", "),
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
    proposal.step(step, &work);
}

/// Why a volume cannot be made on one of these storages of `node`, if it cannot.
fn unusable<'a>(
    world: World<'_>,
    container: &Container,
    node: &str,
    mut storages: impl Iterator<Item = &'a str>,
) -> Option<Problem> {
    let inventory = world.inventory;
    // Of another node, or where they could not be read: the node itself will say it.
    if node != inventory.node || inventory.storages.is_empty() {
        return None;
    }
    let fits =
        |name: &str| inventory.storages.get(name).is_some_and(|s| s.active && s.content.contains("rootdir"));
    let name = storages.find(|n| !fits(n))?;
    let message = match inventory.storages.get(name) {
        None => format!("{node} has no storage `{name}`"),
        Some(storage) if !storage.active => format!("the storage {name} of {node} is not active"),
        Some(_) => format!("the storage {name} of {node} may not hold containers' disks"),
    };
    let have: Vec<&str> = inventory.storages.keys().map(String::as_str).filter(|n| fits(n)).collect();
    Some(Problem {
        address: container.resource(),
        code: "plan::no-storage".into(),
        message,
        hint: match have.as_slice() {
            [] => "let a storage of the node hold `rootdir`: Datacenter → Storage".into(),
            have => format!("these can be used: {}", have.join(", ")),
        },
    })
}

fn no_pool(world: World<'_>, container: &Container) -> Option<Problem> {
    let pool = container.pool.as_ref().filter(|p| !world.inventory.pools.contains(*p))?;
    Some(Problem {
        address: container.resource(),
        code: "plan::no-pool".into(),
        message: format!("there is no pool `{pool}`, or the token may not see it"),
        hint: format!("on the node: pvesh create /pools --poolid {pool}"),
    })
}

/// Puts a setting where it can be set: in the call, or with root's commands on the node.
fn push(
    key: &str,
    (old, new): (Option<&str>, String),
    container: &Container,
    world: World<'_>,
    step: &mut Step,
    params: &mut Vec<(String, String)>,
    root: &mut Vec<(String, String)>,
) {
    let list = match settings::needs_root(key, old, Some(&new), container.unprivileged) {
        Some(why) if takes_root(world, step, why) => root,
        _ => params,
    };
    list.push((key.to_owned(), new));
}

/// Marks a step as one that takes root; whether there is a way to run root's commands. Without one it is tried with the
/// credential there is: root@pam's password can do it.
fn takes_root(world: World<'_>, step: &mut Step, why: &str) -> bool {
    step.root = Some(if world.inventory.commands {
        why.to_owned()
    } else {
        format!("{why}; there is no ssh to the node, so the credential must be root@pam's own")
    });
    world.inventory.commands
}

fn guest_protected(guest: &Guest) -> bool {
    guest.config.as_ref().and_then(|c| c.get("protection")).is_some_and(|v| v == "1")
}

fn delete(address: &Address, guest: &Guest, destroy: bool) -> (Step, Work) {
    let reason = if destroy { plan::step::SITE_GOES } else { "no longer in the blueprint" };
    let used = guest.disk_used.filter(|b| *b > 0);
    let used = used.map(|used| format!("holds {:.1} GiB", used as f64 / f64::from(1 << 30)));
    let step = Step::new(address.clone(), Action::Delete)
        .on_guest(guest.id)
        .grade(Grade::DataLoss)
        .reason(reason)
        .change(Change::new("id", guest.id, Value::Null))
        .consent(if guest_protected(guest) {
            Consent::Refused("it is protected; set \"protected\": false and apply that first".into())
        } else {
            Consent::Needed
        })
        .hold("node", &guest.node);
    let work = Work::Delete(Place { id: guest.id, node: guest.node.clone() });
    (used.into_iter().fold(step, Step::reason), work)
}

/// What an update gathers.
struct Gather<'a> {
    world: World<'a>,
    container: &'a Container,
    /// What is in force.
    config: &'a BTreeMap<String, String>,
    /// Waiting keys that are set back to what is in force.
    back: BTreeSet<String>,
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
        let old = self.config.get(key).map(String::as_str);
        let Update { set, root, .. } = &mut self.update;
        push(key, (old, value), container, world, &mut self.step, set, root);
    }

    fn delete(&mut self, key: &str) {
        let old = self.config.get(key).map(String::as_str);
        let root = settings::needs_root(key, old, None, self.container.unprivileged)
            .is_some_and(|why| takes_root(self.world, &mut self.step, why));
        if root {
            self.update.root.push(("delete".to_owned(), key.to_owned()));
        } else {
            self.update.delete.push(key.to_owned());
        }
    }

    /// It applies only at a restart, unless `same` as what is in force.
    fn pends(&mut self, key: &str, same: bool) {
        if same {
            self.back.insert(key.to_owned());
        } else if self.running {
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
        config,
        back: BTreeSet::new(),
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
        if let Some(problem) = no_pool(world, container) {
            proposal.problem(problem);
        }
        gather.change(Change::new("pool", guest.pool.clone(), pool.clone()));
        gather.update.pool = Some(pool.clone());
    }
    let description = container.description.clone().unwrap_or_default();
    if guest.text.trim_end() != description.trim_end() {
        gather.change(Change::new("description", guest.text.clone(), description.clone()));
        gather.update.text = Some(description);
    }
    forget(&mut gather, guest);
    if let Some(node) = container.node.as_ref().filter(|n| **n != guest.node) {
        proposal.note(format!(
            "{} stays on {}; to move it to {node}: pct migrate {} {node}",
            container.resource(),
            guest.node,
            guest.id
        ));
    }
    let Gather { mut step, mut update, restart, running, back, .. } = gather;
    let waits: Vec<&str> = guest
        .pending
        .keys()
        .map(String::as_str)
        .filter(|k| !restart.contains(*k) && !back.contains(*k))
        .collect();
    if !step.changes.is_empty() {
        step.reasons.push(reason);
    }
    if !restart.is_empty() || (running && !waits.is_empty()) {
        let keys: Vec<&str> = restart.iter().map(String::as_str).chain(waits.iter().copied()).collect();
        step.reasons.push(format!(
            "{} appl{} at a restart",
            keys.join(", "),
            if keys.len() == 1 { "ies" } else { "y" }
        ));
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
    proposal.step(step, &Work::Update(update));
}

/// A service that is no longer in the blueprint is forgotten in the mark, so that it counts as new when it comes back.
fn forget(gather: &mut Gather<'_>, guest: &Guest) {
    let Some(mark) = &guest.mark else { return };
    let (desired, name) = (gather.world.desired, &gather.container.name);
    let keep = Keep {
        services: desired.services.values().filter(|s| s.on == *name).map(|s| s.name.clone()).collect(),
    };
    for name in mark.services.keys().filter(|n| !keep.services.contains(*n)) {
        let change = Change::new(format!("service.{name}"), "applied", Value::Null);
        gather.change(change.note("no longer proven"));
    }
    let mut after = mark.clone();
    keep.apply_to(&mut after);
    if after != *mark {
        gather.update.keep = Some(keep);
    }
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
        let wanted_normal = wanted.as_deref().map(normal);
        if raw.map(normal) == wanted_normal {
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
            None => gather.delete(key),
        }
        if PENDS.contains(&key) {
            let same = gather.config.get(key).map(|v| normal(v)) == wanted_normal;
            gather.pends(key, same);
        }
    }
}

fn nets(gather: &mut Gather<'_>, there: &BTreeMap<String, String>) {
    let container = gather.container;
    for (slot, nic) in &container.nets {
        let key = format!("net{slot}");
        let old = there.get(&key);
        let new = settings::net(nic, old.map(String::as_str));
        let (was, will) =
            (old.map(|o| settings::net_normal(o)).unwrap_or_default(), settings::net_normal(&new));
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
fn grow(
    gather: &mut Gather<'_>,
    key: &str,
    label: &str,
    there: &str,
    gib_wanted: u64,
    proposal: &mut Proposal,
) {
    // A size that waits for a restart is old: the node looks at the volume itself then.
    let there = gather.config.get(key).map_or(there, String::as_str);
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
            &format!(
                "stop it and move the disk on the node: pct move-volume {} rootfs {wanted}",
                gather.container.id
            ),
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
            let volume = Some(storage.as_str()).filter(|s| !s.is_empty());
            let node = gather.update.node.clone();
            if let Some(problem) = unusable(gather.world, container, &node, volume.into_iter()) {
                proposal.problem(problem);
                continue;
            }
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
            let same = gather
                .config
                .get(&key)
                .is_some_and(|now| settings::mount_normal(now) == settings::mount_normal(&new));
            gather.set(&key, new);
            gather.pends(&key, same);
        }
    }
    for (key, value) in there.iter().filter(|(k, _)| slot_of(k, "mp").is_some()) {
        if slot_of(key, "mp").is_some_and(|slot| !container.mounts.contains_key(&slot)) {
            gather.change(Change::new(key, value.clone(), Value::Null).note("its volume is kept as unused"));
            gather.update.delete.push(key.clone());
            let same = !gather.config.contains_key(key);
            gather.pends(key, same);
        }
    }
}
