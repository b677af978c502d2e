//! What differs between the guests wanted and those that are there. Pure.
//!
//! What Proxmox VE can change in place is changed in place (T-1, T-16); what each key takes says its row ([`super::containers`], [`super::vms`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apply::Crew;

use plan::desired::Guest as Wanted;
use plan::inventory::{Guest, Inventory};
use plan::planner::{Kind, Proposal, World, state_of};
use plan::trust::Disbelief;
use plan::{Action, Address, Change, Consent, Desired, Grade, GuestKind, Mark, Problem, Step};
use serde_json::{Value, json};

use super::change::{self, Looked};
use super::clone;
use super::collide::{self, Others};
use super::make::create;
use super::table::Table;
use super::work::{GuestWork, Placement};
use crate::keys::Takes;
use crate::worksite::Worksite;
use crate::{Manager, Seen, Status};

/// The guests of a kind, for planning.
#[derive(Debug, Clone, Copy)]
pub struct Guests(&'static Table);

/// Containers.
pub static CONTAINERS: Guests = Guests(&super::containers::TABLE);

/// Virtual machines.
pub static VMS: Guests = Guests(&super::vms::TABLE);

impl Manager for Guests {
    fn kind(&self) -> &dyn Kind {
        self
    }

    fn crew(&self, site: &Arc<Worksite>) -> Arc<dyn Crew> {
        Arc::new(super::crew::GuestCrew::new(site.clone(), self.0))
    }

    fn facts(&self, address: &Address, desired: &Desired) -> Option<Value> {
        let c = desired.guest(address)?;
        let nets = c.nets.values().map(|n| format!("{} {} on {} ({})", n.name, n.ip, n.bridge, n.mac));
        let cores = c.cores.map_or_else(|| json!("all"), |cores| json!(cores));
        let mut facts = json!({
            "declared": c.declared.to_string(), "id": c.id, "hostname": c.hostname, "cores": cores,
            "memory": format!("{} MiB", c.memory_mib), "network": nets.collect::<Vec<_>>().join(", "),
            "protected": c.protected,
            "features": c.features.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
        });
        if let Some(own) = c.container() {
            facts["template"] = own.template.clone().into();
            facts["disk"] = crate::keys::form::mib(own.disk.size_mib).into();
            facts["unprivileged"] = own.unprivileged.into();
        }
        if let Some(own) = c.vm() {
            let disks = own
                .disks
                .iter()
                .map(|(slot, disk)| format!("{slot} {}", crate::keys::form::mib(disk.size_mib)));
            facts["disks"] = disks.collect::<Vec<_>>().join(", ").into();
            if let Some(image) = &own.image {
                facts["image"] = image.clone().into();
            }
        }
        Some(facts)
    }

    fn status(&self, address: &Address, seen: Seen<'_>) -> Status {
        match seen.desired.guest(address) {
            Some(wanted) => super::status::guest_status(address, wanted, seen),
            None => Status::by_plan(address, seen.plan),
        }
    }

    fn list(&self) -> Option<&'static str> {
        Some(self.0.kind.key())
    }
}

impl Kind for Guests {
    fn kind(&self) -> &'static str {
        self.0.kind.as_str()
    }

    fn diff(&self, world: World<'_>, proposal: &mut Proposal) {
        let marked = marked(world, self.0.kind);
        let ours = ours(world, &marked, proposal);
        // Said once, whatever kinds there are.
        if self.0.kind == GuestKind::Container {
            note_claims(world, proposal);
        }
        let state = |address: &Address| {
            let guests = marked.get(address).into_iter().flatten().map(|guest| guest.id);
            states_of(world.inventory, guests.chain(world.desired.id_of(address)))
        };
        let mut others = BTreeSet::new();
        let strangers = Others::of(world);
        if !world.options.destroy {
            for wanted in world.desired.guests.values().filter(|guest| guest.kind == self.0.kind) {
                let resource = wanted.resource();
                if proposal.has_problem(&resource) {
                    continue;
                }
                proposal.relies_on(resource.clone(), state(&resource));
                diff_guest(world, wanted, &ours, &strangers, &mut others, proposal);
            }
            super::renamed::note(world, self.0.kind, &ours, proposal);
            if self.0.kind == GuestKind::Vm {
                super::boot::note(world, proposal);
            }
        }
        if !others.is_empty() {
            let all: Vec<String> = others.iter().map(|(guest, key)| format!("{guest} {key}")).collect();
            proposal.note(format!("left as others set it: {}", all.join(", ")));
        }
        let wanted: BTreeSet<Address> = if world.options.destroy {
            BTreeSet::new()
        } else {
            world.desired.guests.values().map(Wanted::resource).collect()
        };
        let going: BTreeMap<u32, &Address> =
            ours.iter().filter(|(a, _)| !wanted.contains(**a)).map(|(a, g)| (g.id, *a)).collect();
        for (address, guest) in ours.iter().filter(|(a, _)| !wanted.contains(**a)) {
            proposal.relies_on((*address).clone(), state(address));
            let (step, work) = delete(address, guest, world.options.destroy);
            proposal.step(clone::after_its_clones(world, guest, &going, step), &work);
        }
    }

    fn costs(&self, inventory: &Inventory, step: &Step) -> Result<(Grade, Consent), String> {
        let work: GuestWork = apply::work(step).map_err(|failure| failure.to_string())?;
        let (id, gone) = match &work {
            GuestWork::Create(create) => (create.placement.id, create.replaces.as_ref()),
            GuestWork::Update(update) => (update.id, None),
            GuestWork::Delete(placement) => (placement.id, Some(placement)),
        };
        if step.id != Some(id) {
            return Err(format!("it says that it is about another guest than {id}"));
        }
        let Some(gone) = gone else {
            let stops = matches!(&work, GuestWork::Update(update) if update.stop);
            return Ok((if stops { Grade::Restart } else { Grade::Live }, Consent::NotNeeded));
        };
        let there = inventory.guests.get(&gone.id);
        let grade = match (&work, there) {
            (GuestWork::Create(_), Some(guest)) if super::make::volumes(self.0, guest).is_empty() => {
                Grade::Rebuild
            }
            _ => Grade::DataLoss,
        };
        Ok((grade, if there.is_some_and(guest_protected) { protected() } else { Consent::Needed }))
    }

    /// The guest with the id that is wanted, and whoever carries its mark.
    fn state(&self, desired: &Desired, inventory: &Inventory, address: &Address) -> String {
        let is_it = |guest: &&Guest| guest.mark.as_ref().is_some_and(|mark| mark.address == *address);
        let marked = inventory.of_site(&desired.site).filter(is_it).map(|guest| guest.id);
        states_of(inventory, marked.chain(desired.id_of(address)))
    }
}

/// How guests are, each once.
fn states_of(inventory: &Inventory, ids: impl Iterator<Item = u32>) -> String {
    let ids: BTreeSet<u32> = ids.collect();
    let states = ids.into_iter().map(|id| format!("{id} {}", state_of(inventory, id)));
    states.collect::<Vec<_>>().join("; ")
}

/// The guests of the site by the container that they are marked as.
fn marked(world: World<'_>, kind: GuestKind) -> BTreeMap<&Address, Vec<&Guest>> {
    let mut all: BTreeMap<&Address, Vec<&Guest>> = BTreeMap::new();
    for guest in world.inventory.of_site(&world.desired.site) {
        if let Some(mark) = guest.mark.as_ref().filter(|m| m.address.kind() == kind.as_str()) {
            all.entry(&mark.address).or_default().push(guest);
        }
    }
    all
}

/// The guests of the site by what they are. A guest cloned or restored by hand carries the same mark as the one it comes
/// from: the one with the id that is wanted counts, and where there is none, nobody can tell.
fn ours<'a>(
    world: World<'a>,
    marked: &BTreeMap<&'a Address, Vec<&'a Guest>>,
    proposal: &mut Proposal,
) -> BTreeMap<&'a Address, &'a Guest> {
    let mut ours = BTreeMap::new();
    for (&address, guests) in marked {
        let wanted = world.desired.guests.get(address.name()).map(|c| c.id);
        let one = match guests.as_slice() {
            [only] => Some(*only),
            several => several.iter().find(|g| Some(g.id) == wanted).copied(),
        };
        if super::renamed::is_twice(address, guests, proposal) {
            continue;
        }
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

/// What says that it is the site's, and is not believed. Where it is in the way of what is wanted, that is a problem of its
/// own.
fn note_claims(world: World<'_>, proposal: &mut Proposal) {
    let wanted: BTreeSet<u32> = world.desired.guests.values().map(|wanted| wanted.id).collect();
    for guest in world.inventory.guests.values() {
        let in_the_way = wanted.contains(&guest.id) && !world.options.destroy;
        if let Some(claim) = guest.claim.as_ref().filter(|_| !in_the_way) {
            proposal.note(format!("{} is {claim}; it is left alone", guest.id));
        }
    }
}

fn diff_guest(
    world: World<'_>,
    wanted: &Wanted,
    ours: &BTreeMap<&Address, &Guest>,
    strangers: &Others<'_>,
    others: &mut BTreeSet<(Address, String)>,
    proposal: &mut Proposal,
) {
    let there = ours.get(&wanted.resource()).copied();
    let in_the_way = world.inventory.guests.get(&wanted.id).filter(|g| there.is_none_or(|t| t.id != g.id));
    collide::check(strangers, wanted, there, proposal);
    super::ground::check(world, wanted, proposal);
    if !crate::gpus::check(world, wanted, there, proposal) {
        return;
    }
    // What goes makes room: a renamed container is another one that takes the id of the first.
    let mut after = Vec::new();
    if let Some(other) = in_the_way {
        let going =
            ours.iter().find(|(a, g)| g.id == other.id && !world.desired.guests.contains_key(a.name()));
        let Some((going, _)) = going else {
            // Whose it is says its mark, which could not be read either.
            let unread =
                other.config.is_none() && other.mark.is_none() && other.vm == (wanted.kind == GuestKind::Vm);
            proposal.problem(match unread {
                true => unreadable(wanted, other),
                false => taken(world, wanted, other),
            });
            return;
        };
        after.push((*going).clone());
    }
    match there {
        None if wanted.was.is_some() => proposal.problem(super::renamed::nobody(wanted)),
        None => {
            let mut reasons = vec![format!("new in {}", wanted.declared)];
            reasons.extend(after.iter().map(|a| format!("takes the id of {a}")));
            super::renamed::could_be(wanted, &after, proposal);
            create(world, wanted, None, reasons, after, proposal);
        }
        Some(guest) if guest.vm != (wanted.kind == GuestKind::Vm) => proposal.problem(Problem {
            address: wanted.resource(),
            code: "plan::other-kind".into(),
            message: match wanted.kind {
                GuestKind::Container => format!("{} is a virtual machine, not a container", guest.id),
                GuestKind::Vm => format!("{} is a container, not a virtual machine", guest.id),
            },
            hint: "give it another name or id".into(),
        }),
        Some(guest) if guest.config.is_none() => proposal.problem(unreadable(wanted, guest)),
        Some(guest) if guest.id != wanted.id && guest.was.is_some() => {
            proposal.problem(super::renamed::another_id(wanted, guest));
        }
        Some(guest) if guest.id != wanted.id => {
            let reasons = vec![format!("its id changes from {} to {}", guest.id, wanted.id)];
            create(world, wanted, Some(guest), reasons, after, proposal);
        }
        // The planner says what of it is no longer as it was made, and that it stays.
        Some(guest) if guest.template && wanted.golden => {
            let nothing = Mark::new(&world.desired.site, wanted.resource());
            let Some(looked) = Looked::at(world, wanted, guest, &nothing) else { return };
            let changes = looked.compare(wanted).differences.into_iter().flat_map(|it| it.changes);
            let step = changes.fold(Step::new(wanted.resource(), Action::Update), Step::change);
            if !step.changes.is_empty() {
                proposal.step(step, &GuestWork::Update(Box::default()));
            }
        }
        Some(guest) if guest.lock.as_deref().is_some_and(|lock| ["clone", "create"].contains(&lock)) => {
            proposal.problem(clone::left_half(wanted, guest));
        }
        Some(guest) if guest.template => proposal.problem(Problem {
            address: wanted.resource(),
            code: "plan::is-template".into(),
            message: format!("{} was made a template, which cannot run", guest.id),
            hint: "remove the block ```phoenix from its description, and give the guest another id".into(),
        }),
        Some(guest) => {
            let nothing = Mark::new(&world.desired.site, wanted.resource());
            let Some(looked) = Looked::at(world, wanted, guest, &nothing) else { return };
            let found = looked.compare(wanted);
            let anew: Vec<String> = found
                .differences
                .iter()
                .filter(|difference| difference.row.takes == Takes::Rebuild)
                .flat_map(|difference| &difference.changes)
                .map(|change| {
                    let to = change.new.as_str().unwrap_or_default();
                    format!("becomes {to}, which Proxmox VE can only do to a new container")
                })
                .collect();
            if anew.is_empty() {
                others
                    .extend(change::others(wanted, &looked).into_iter().map(|key| (wanted.resource(), key)));
                change::update(world, wanted, guest, &looked, found, proposal);
            } else {
                create(world, wanted, Some(guest), anew, after, proposal);
            }
        }
    }
}

fn unreadable(wanted: &Wanted, guest: &Guest) -> Problem {
    Problem {
        address: wanted.resource(),
        code: "plan::unreadable".into(),
        message: format!("the configuration of {} could not be read", guest.id),
        hint: "phoenix-cli doctor".into(),
    }
}

fn tagged(guest: &Guest) -> bool {
    let tags = guest.config.as_ref().and_then(|c| c.get("tags")).map_or("", String::as_str);
    plan::mark::is_tagged(tags)
}

/// How a guest becomes the site's own that does not prove it.
fn adopt(wanted: &Wanted) -> String {
    format!(
        "if it is {0}: phoenix-cli adopt {1}, and what is in it is applied again; else give {0} another `id`",
        wanted.resource(),
        wanted.name
    )
}

fn taken(world: World<'_>, wanted: &Wanted, other: &Guest) -> Problem {
    let site = &*world.desired.site;
    if let Some(claim) = &other.claim {
        return Problem {
            address: wanted.resource(),
            code: "plan::not-believed".into(),
            message: format!("the id {} is taken: it is {claim}", other.id),
            hint: match claim.why {
                Disbelief::AnotherKey => format!(
                    "where this folder has no .phoenix/secrets, or another one, copy it from where the site was last applied; \
                     {}",
                    adopt(wanted)
                ),
                _ => adopt(wanted),
            },
        };
    }
    let hint;
    let whose = match &other.mark {
        Some(mark) => {
            hint = if mark.is_newer(site) {
                "use the newer Phoenix that was here last: this one would forget what that one did".to_owned()
            } else if mark.site == site && world.desired.guest(&mark.address).is_none() {
                format!(
                    "if it is to go, destroy it first: phoenix-cli apply --target {0} --allow-destroy {0}",
                    mark.address
                )
            } else if mark.site == site {
                format!(
                    "if {0} is to have another id, apply that first, with --target {0}; or give {1} another `id`",
                    mark.address,
                    wanted.resource()
                )
            } else {
                format!("give {} another `id`", wanted.resource())
            };
            format!("{} of the site `{}`", mark.address, mark.site)
        }
        None if other.lock.as_deref().is_some_and(|lock| ["create", "clone"].contains(&lock)) => {
            hint = format!(
                "if no task makes it any more, remove what is left: {1} unlock {0} && {1} destroy {0}",
                other.id,
                super::table::of(wanted).command
            );
            "being created, or was left half made by somebody".to_owned()
        }
        None if tagged(other) => {
            // It looks like one of ours that somebody edited: nobody should be told to remove it.
            hint = adopt(wanted);
            format!(
                "`{}`, which has the tag of Phoenix, and no block in its description that says whose",
                other.name
            )
        }
        None => {
            hint = format!("give {} another `id`, or remove that guest yourself", wanted.resource());
            format!("`{}`, which Phoenix did not make", other.name)
        }
    };
    Problem {
        address: wanted.resource(),
        code: "plan::id-taken".into(),
        message: format!("the id {} is taken: it is {whose}", other.id),
        hint,
    }
}

pub(super) fn step(wanted: &Wanted, action: Action, grade: Grade, reasons: Vec<String>, node: &str) -> Step {
    let step = Step::new(wanted.resource(), action).on_guest(wanted.id).grade(grade).hold("node", node);
    Step { reasons, ..step }
}

/// Marks a step as one that takes root; whether there is a way to run root's commands. Without one it is tried with the
/// credential there is: root@pam's password can do it.
pub(super) fn takes_root(world: World<'_>, step: &mut Step, why: &str) -> bool {
    let no_ssh = "; there is no ssh to the node, so the credential must be root@pam's own";
    let end = if world.inventory.commands { "" } else { no_ssh };
    let before = step.root.take().map(|root| root.strip_suffix(no_ssh).unwrap_or(&root).to_owned());
    step.root = Some(match before {
        Some(before) if before.split("; ").any(|one| one == why) => format!("{before}{end}"),
        Some(before) => format!("{before}; {why}{end}"),
        None => format!("{why}{end}"),
    });
    world.inventory.commands
}

/// Why what is protected cannot go.
pub(super) fn protected() -> Consent {
    Consent::Refused("it is protected; set \"protected\": false and apply that first".into())
}

pub(super) fn guest_protected(guest: &Guest) -> bool {
    guest.config.as_ref().and_then(|c| c.get("protection")).is_some_and(|v| v == "1")
}

fn delete(address: &Address, guest: &Guest, destroy: bool) -> (Step, GuestWork) {
    let reason = if destroy { plan::step::SITE_GOES } else { "no longer in the blueprint" };
    let used = guest.disk_used.filter(|b| *b > 0);
    let used = used.map(|used| format!("holds {:.1} GiB", used as f64 / f64::from(1 << 30)));
    let step = Step::new(address.clone(), Action::Delete)
        .on_guest(guest.id)
        .grade(Grade::DataLoss)
        .reason(reason)
        .change(Change::new("id", guest.id, Value::Null))
        .consent(if guest_protected(guest) { protected() } else { Consent::Needed })
        .hold("node", &guest.node);
    let work = GuestWork::Delete(Placement { id: guest.id, node: guest.node.clone() });
    (used.into_iter().fold(step, Step::reason), work)
}
