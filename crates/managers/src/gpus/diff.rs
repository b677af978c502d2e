//! What has to be done so that the cards that are passed through have their mappings, and what is wrong with a card whoever uses it.
//! Pure.

use blueprint::model::{Gpu, memory_of};
use plan::address::kinds;
use plan::planner::{Proposal, World};
use plan::step::SITE_GOES;
use plan::{Action, Address, Change, Desired, Inventory, Problem, Step};
use serde_json::Value;

use super::{Applied, Card, GpuDeed, GpuWork, Gpus, ROOT, mark_of, same, seen, shown_bytes, words};
use crate::hypervisor;
use crate::keys::form;

/// How much more than a driver says a card may be said to have, in parts of a hundred: it keeps a little for itself.
const SLACK: u64 = 5;

pub(super) fn diff(world: World<'_>, proposal: &mut Proposal) {
    let wanted = &world.desired.gpus;
    let has_mapping = |name: &str| wanted.get(name).is_some_and(|gpu| gpu.pass);
    let mark = mark_of(world.desired, world.inventory);
    let remembered = mark.into_iter().flat_map(|mark| mark.names(kinds::GPU));
    for name in remembered.filter(|name| world.options.destroy || !has_mapping(name)) {
        if let Some(applied) = mark.and_then(|mark| Applied::of(mark, name)) {
            removed(world, name, &applied, proposal);
        }
    }
    if world.options.destroy || wanted.is_empty() {
        return;
    }
    let there = world.inventory.reached().hypervisor.as_ref();
    let first = wanted.values().find(|gpu| gpu.pass);
    if let (Some(first), Some(other)) = (first, there.filter(|it| it.site != world.desired.site)) {
        let address = Address::gpu(&first.name);
        return proposal.problem(hypervisor::another_site(address, other, &world.desired.site, "gpus"));
    }
    let gpus = match seen(world.inventory) {
        Some(Ok(gpus)) => gpus,
        other => {
            let why = other.and_then(Result::err).unwrap_or_else(|| "nothing was told of them".to_owned());
            for name in wanted.keys() {
                let message = format!("the node could not say what graphics cards it has: {why}");
                let hint = "phoenix-cli doctor tries every hop";
                proposal.problem(Problem::new(Address::gpu(name), "gpu::unseen", message, hint));
            }
            return;
        }
    };
    for gpu in wanted.values() {
        let address = Address::gpu(&gpu.name);
        let Some(card) = gpus.cards.get(&gpu.pci) else {
            proposal.problem(missing(&gpus, gpu, address));
            continue;
        };
        if let Some(problem) = memory(world, gpu, card, &address) {
            proposal.problem(problem);
        }
        if let Some(mapping) = &gpu.mapping {
            put(world, gpu, card, mapping, proposal);
        }
    }
}

fn missing(gpus: &Gpus, gpu: &Gpu, address: Address) -> Problem {
    let there: Vec<String> =
        gpus.cards.iter().map(|(address, card)| format!("{address} ({})", words(card))).collect();
    let there = match there.as_slice() {
        [] => "it has none".to_owned(),
        all => format!("there are {}", all.join("; ")),
    };
    Problem::new(
        address,
        "gpu::missing",
        format!("the node has no graphics card at {}: {there}", gpu.pci),
        "an address changes where cards or disks are plugged in or out: what there is, on the node: lspci -D | grep -i -e vga -e 3d -e display",
    )
}

/// What is declared of a card's memory, and what is taken of it, against what the card itself says.
fn memory(world: World<'_>, gpu: &Gpu, card: &Card, address: &Address) -> Option<Problem> {
    let has = card.memory?;
    let most = has + has / 100 * SLACK;
    if let Some(said) = gpu.memory_mib.filter(|mib| (mib << 20) > most) {
        return Some(Problem::new(
            address.clone(),
            "gpu::memory",
            format!(
                "it is said to have {}, and the card at {} has {}",
                form::mib(said),
                gpu.pci,
                shown_bytes(has)
            ),
            "correct `memory`, or leave it out",
        ));
    }
    let takes = memory_of(&gpu.name, world.desired.guests.values().map(|guest| &*guest.spec));
    let sum: u64 = takes.iter().map(|(_, mib)| mib).sum();
    if sum << 20 <= most {
        return None;
    }
    let each: Vec<String> = takes.iter().map(|(name, mib)| format!("{name} {}", form::mib(*mib))).collect();
    Some(Problem::new(
        address.clone(),
        "gpu::memory",
        format!(
            "the card has {}, and its guests take {} of it: {}",
            shown_bytes(has),
            form::mib(sum),
            each.join(", ")
        ),
        "take smaller models, or let one of them be off: \"started\": false",
    ))
}

/// What a card's mapping leads to: the whole of its slot, by what its first function is. A node refuses to start a machine where any
/// of that is not so any more (PVE::Mapping::PCI, `assert_valid`).
fn entry(node: &str, gpu: &Gpu, card: &Card) -> String {
    // One that is not the first of its slot is passed through alone.
    let path = if gpu.pci.ends_with(".0") { gpu.slot() } else { &gpu.pci };
    let mut parts = vec![format!("id={}:{}", card.vendor, card.device)];
    parts.extend(card.group.map(|group| format!("iommugroup={group}")));
    parts.push(format!("node={node}"));
    parts.push(format!("path={path}"));
    parts.extend(card.subsystem.as_ref().map(|id| format!("subsystem-id={id}")));
    parts.join(",")
}

fn put(world: World<'_>, gpu: &Gpu, card: &Card, mapping: &str, proposal: &mut Proposal) {
    let address = Address::gpu(&gpu.name);
    let node = world.inventory.command_node();
    let Some(mappings) = &world.inventory.datacenter.mappings else {
        let message = "the resource mappings of the datacenter could not be read";
        return proposal.problem(Problem::new(
            address,
            "gpu::unseen",
            message,
            "phoenix-cli doctor tries every hop",
        ));
    };
    let wanted = entry(node, gpu, card);
    let known = mark_of(world.desired, world.inventory).and_then(|mark| Applied::of(mark, &gpu.name));
    let there = mappings.get(mapping).map(|map| map.join(";"));
    let (action, reason) = match (&there, &known) {
        (None, None) => (Action::Create, format!("declared in {}", gpu.declared)),
        (None, Some(_)) => (Action::Create, "its mapping is not there any more".to_owned()),
        (Some(there), Some(known)) if same(there, &wanted) && same(&known.entry, &wanted) => return,
        (Some(there), None) if !same(there, &wanted) => {
            return proposal.problem(Problem::new(
                address,
                "gpu::mapping-taken",
                format!("there is a resource mapping {mapping} already, which leads to {there} and is not the site's"),
                "Datacenter → Resource Mappings: remove it, where nothing uses it; or give the card another name",
            ));
        }
        (Some(_), None) => {
            (Action::Update, "its mapping is there already: it is the site's from now on".to_owned())
        }
        (Some(_), Some(_)) => (Action::Update, "its mapping leads elsewhere".to_owned()),
    };
    let change = Change::new("mapping", there.clone(), format!("{mapping}: {wanted}"));
    let step = step(&gpu.name, action).reason(reason).change(change);
    proposal.relies_on(address, state(world.desired, world.inventory, &gpu.name));
    let deed = GpuDeed::Put(wanted);
    let work = GpuWork { node: node.to_owned(), card: gpu.name.clone(), mapping: mapping.to_owned(), deed };
    proposal.step(step, &work);
}

fn step(card: &str, action: Action) -> Step {
    hypervisor::hold(Step::new(Address::gpu(card), action)).root(ROOT)
}

/// A mapping that the site made and does not want any more.
fn removed(world: World<'_>, card: &str, applied: &Applied, proposal: &mut Proposal) {
    // Where they could not be read it was said, and nothing is concluded from it.
    let Some(mappings) = &world.inventory.datacenter.mappings else { return };
    let mapping = &applied.mapping;
    let node = world.inventory.command_node().to_owned();
    let work = |deed| GpuWork { node: node.clone(), card: card.to_owned(), mapping: mapping.clone(), deed };
    let forget = |reason: &str, proposal: &mut Proposal| {
        proposal.step(step(card, Action::Delete).reason(reason), &work(GpuDeed::Forget));
    };
    let Some(there) = mappings.get(mapping).map(|map| map.join(";")) else {
        return forget("its mapping is gone, and what is remembered of it goes, too", proposal);
    };
    if !same(&there, &applied.entry) {
        return forget("its mapping leads elsewhere by now: it stays, and is the site's no more", proposal);
    }
    let mut needs = Vec::new();
    for guest in world.inventory.guests.values().filter(|guest| has(guest, mapping)) {
        let ours = guest.mark.as_ref().filter(|mark| mark.site == world.desired.site);
        let keeps = ours.and_then(|mark| world.desired.guest(&mark.address)).and_then(|wanted| wanted.vm());
        let keeps = keeps.is_some_and(|vm| vm.pci.values().any(|it| it.get("mapping") == Some(mapping)));
        match ours {
            Some(mark) if world.options.destroy || !keeps => needs.push(mark.address.clone()),
            _ if world.options.destroy => {
                proposal.note(format!(
                    "the resource mapping {mapping} stays: {} ({}) uses it",
                    guest.id, guest.name
                ));
                return forget(SITE_GOES, proposal);
            }
            _ => {
                return proposal.problem(Problem::new(
                    Address::gpu(card),
                    "gpu::mapping-in-use",
                    format!("its mapping {mapping} cannot go: {} ({}) uses it", guest.id, guest.name),
                    format!("take it away from that machine first: qm set {} --delete hostpciN; or declare the card again", guest.id),
                ));
            }
        }
    }
    let reason = match (world.options.destroy, world.desired.gpus.contains_key(card)) {
        (true, _) => SITE_GOES,
        (false, true) => "it is not passed through any more",
        (false, false) => "the blueprint does not declare it any more",
    };
    let change = Change::new("mapping", format!("{mapping}: {there}"), Value::Null);
    proposal.relies_on(Address::gpu(card), state(world.desired, world.inventory, card));
    let step = step(card, Action::Delete).reason(reason).change(change).needs(needs);
    proposal.step(step, &work(GpuDeed::Remove(applied.entry.clone())));
}

/// Whether a guest has a device by this mapping, now or from its next start.
fn has(guest: &plan::inventory::Guest, mapping: &str) -> bool {
    let named = format!("mapping={mapping}");
    let is =
        |key: &str, value: &str| key.starts_with("hostpci") && value.split(',').any(|part| part == named);
    guest.config.iter().flatten().any(|(key, value)| is(key, value))
        || guest.pending.iter().any(|(key, value)| value.as_ref().is_some_and(|value| is(key, value)))
}

/// How a card is there, with its mapping, as one text.
pub(super) fn state(desired: &Desired, inventory: &Inventory, name: &str) -> String {
    let known = mark_of(desired, inventory).and_then(|mark| Applied::of(mark, name));
    let gpu = desired.gpus.get(name);
    let mapping = gpu.and_then(|gpu| gpu.mapping.clone()).or_else(|| Some(known?.mapping));
    let mappings = inventory.datacenter.mappings.as_ref();
    let mapped = mapping.and_then(|it| Some(mappings?.get(&it)?.join(";"))).unwrap_or_default();
    let card = match (seen(inventory), gpu) {
        (Some(Ok(gpus)), Some(gpu)) => {
            gpus.cards.get(&gpu.pci).map(|card| format!("{} {:?}", words(card), card.group))
        }
        _ => None,
    };
    format!("{} | {mapped}", card.unwrap_or_else(|| "unseen".to_owned()))
}
