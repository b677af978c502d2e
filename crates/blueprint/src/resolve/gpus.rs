//! Graphics cards: what each is, who uses it, and what cannot be so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Context;
use crate::codes;
use crate::model::{Gpu, GpuUse, GuestKind, Guests, Hypervisor, Installer, memory_of};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::source::{
    CardForm, DriverForm, DriverModule, DriverSource, GpuForm, GpuOfGuestSource, GpuOneForm, GpuUseSource,
    GuestSource, HypervisorSource,
};
use crate::values::{MemorySize, slot_of};

/// Why a card is used one way only.
const NEVER_BOTH: &str = "one card is never both: while a machine has it, the node's driver has to leave it alone, and with it everybody who \
     shares it";

/// The cards by name.
pub(super) type Gpus = BTreeMap<String, Arc<Gpu>>;

pub(super) fn gpus(
    entry: &Entry<'_, HypervisorSource>,
    source: &HypervisorSource,
    context: &mut Context<'_, '_>,
) -> Gpus {
    let mut gpus = Gpus::new();
    let mut seen: BTreeMap<&str, Spot> = BTreeMap::new();
    let site = context.namespace.site.as_ref().and_then(|it| it.value.as_ref());
    let site = site.map(|it| it.name.to_string()).unwrap_or_default();
    for (name, source) in source.gpus.iter().flatten() {
        let spot = |key: &str| entry.spot(&["gpus", name, key]);
        if let Some(there) = seen.insert(source.pci.slot(), spot("pci")) {
            let message = format!("the card at {} is declared twice", source.pci);
            let draft = Draft::error(codes::GPU, spot("pci"), message).related(there, "the other");
            context.push(draft.hint("give each card one name"));
        }
        let pass = source.r#use == Some(GpuUseSource::Pass);
        if pass && source.driver.is_some() {
            let message = format!("`{name}` is passed through, and the node has no driver for it");
            let draft = Draft::error(codes::GPU, entry.key_spot(&["gpus", name, "driver"]), message)
                .related(spot("use"), "it is passed through");
            context.push(draft.hint("leave `driver` out: it is the machine's own to install"));
        }
        let (driver, installer) = match &source.driver {
            None => (None, None),
            Some(DriverForm::Version(version)) => (Some(version.0.clone()), None),
            Some(DriverForm::Long(long)) => (Some(long.version.0.clone()), Some(installer(long))),
        };
        if source.power_limit.is_some() && installer.is_none() {
            let message = format!("nothing sets the power limit of `{name}`");
            let draft = Draft::error(codes::GPU, entry.key_spot(&["gpus", name, "power-limit"]), message);
            context.push(draft.hint(
                "it comes with a driver that Phoenix installs: \"driver\": { \"version\": \"…\", \"sha256\": \"…\" }",
            ));
        }
        let gpu = Gpu {
            name: name.clone(),
            pci: source.pci.0.clone(),
            memory_mib: source.memory.map(|size| size.mib),
            driver,
            installer,
            power_limit: source.power_limit,
            pass,
            mapping: pass.then(|| format!("phoenix-{site}-{name}")),
            declared: entry.location_of(&["gpus", name], context.report),
        };
        gpus.insert(name.clone(), Arc::new(gpu));
    }
    one_driver(entry, &gpus, context);
    gpus
}

fn installer(source: &DriverSource) -> Installer {
    let version = &source.version.0;
    Installer {
        url: source.url.as_ref().map_or_else(
            || format!("https://download.nvidia.com/XFree86/Linux-x86_64/{version}/NVIDIA-Linux-x86_64-{version}.run"),
            |url| url.0.clone(),
        ),
        sha256: source.sha256.0.to_lowercase(),
        module: match source.module {
            None => "",
            Some(DriverModule::Open) => "open",
            Some(DriverModule::Proprietary) => "proprietary",
        },
    }
}

/// One module in the kernel drives all cards of NVIDIA's.
fn one_driver(entry: &Entry<'_, HypervisorSource>, gpus: &Gpus, context: &mut Context<'_, '_>) {
    let mut with = gpus.values().filter(|gpu| gpu.driver.is_some() && !gpu.pass);
    let Some(first) = with.next() else { return };
    for other in with.filter(|it| (&it.driver, &it.installer) != (&first.driver, &first.installer)) {
        let spot = entry.spot(&["gpus", &other.name, "driver"]);
        let message =
            format!("`{}` and `{}` are to have two drivers, and the node has one", first.name, other.name);
        let draft = Draft::error(codes::GPU, spot, message)
            .related(entry.spot(&["gpus", &first.name, "driver"]), "the other");
        context.push(draft.hint("say the same `driver` of both"));
    }
}

/// Where cards are declared, for what is said of one elsewhere.
fn declared_at(card: &str, key: &str, context: &Context<'_, '_>) -> Option<Spot> {
    let entry = context.namespace.hypervisor.as_ref()?;
    Some(entry.spot(&["gpus", card, key]))
}

fn related(draft: Draft, there: Option<Spot>, words: &str) -> Draft {
    match there {
        Some(there) => draft.related(there, words),
        None => draft,
    }
}

/// The cards that a guest uses.
pub(super) fn of_guest(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    kind: GuestKind,
    form: Option<&GpuForm>,
    gpus: Option<&Gpus>,
    context: &mut Context<'_, '_>,
) -> Vec<GpuUse> {
    let none = Gpus::new();
    let gpus = gpus.unwrap_or(&none);
    let plain = |card: CardForm| GpuOfGuestSource { card, memory: None, gid: None };
    let one = |form: &GpuOneForm| match form {
        GpuOneForm::Name(name) => plain(CardForm::Name(name.clone())),
        GpuOneForm::Number(number) => plain(CardForm::Number(*number)),
        GpuOneForm::Long(long) => long.clone(),
    };
    let (all, is_list) = match form {
        None => return Vec::new(),
        Some(GpuForm::Name(name)) => (vec![plain(CardForm::Name(name.clone()))], false),
        Some(GpuForm::Number(number)) => (vec![plain(CardForm::Number(*number))], false),
        Some(GpuForm::Long(long)) => (vec![long.clone()], false),
        Some(GpuForm::Several(all)) => (all.iter().map(one).collect(), true),
    };
    let mut uses: Vec<GpuUse> = Vec::new();
    for (at, source) in all.into_iter().enumerate() {
        let at = at.to_string();
        let path: Vec<&str> = if is_list { vec!["gpu", &at] } else { vec!["gpu"] };
        let spot = entry.spot(&path);
        let Some(gpu) = card(&source.card, gpus, spot, context) else { continue };
        if uses.iter().any(|it| it.card == gpu.name) {
            let message = format!("`{name}` uses the card `{}` twice", gpu.name);
            context.push(Draft::error(codes::GPU, spot, message).hint("name it once"));
            continue;
        }
        match (kind, gpu.pass) {
            (GuestKind::Container, true) => {
                let message =
                    format!("`{name}` cannot share the card `{}`, which is passed through", gpu.name);
                let draft = related(
                    Draft::error(codes::GPU, spot, message),
                    declared_at(&gpu.name, "use", context),
                    "it is passed through",
                );
                context.push(draft.hint(NEVER_BOTH));
            }
            (GuestKind::Vm, false) => {
                let message = format!("`{name}` cannot have the card `{}`, which containers share", gpu.name);
                let draft = related(
                    Draft::error(codes::GPU, spot, message),
                    declared_at(&gpu.name, "use", context),
                    "it is shared",
                );
                context.push(draft.hint(format!(
                    "say \"use\": \"pass\" of it, where no container is to use it; {NEVER_BOTH}"
                )));
            }
            _ => {}
        }
        let said = [("memory", source.memory.is_some()), ("gid", source.gid.is_some())];
        for (key, _) in said.into_iter().filter(|(_, said)| *said && kind == GuestKind::Vm) {
            let message = format!("`{name}` cannot have `{key}` of a card: a virtual machine has all of it");
            let path: Vec<&str> = path.iter().copied().chain([key]).collect();
            context.push(Draft::error(codes::GPU, entry.key_spot(&path), message).hint("leave it out"));
        }
        uses.push(GpuUse {
            card: gpu.name.clone(),
            memory_mib: source.memory.map(|size| size.mib),
            gid: source.gid,
        });
    }
    uses
}

/// The card that is meant.
fn card<'g>(form: &CardForm, gpus: &'g Gpus, spot: Spot, context: &mut Context<'_, '_>) -> Option<&'g Gpu> {
    match form {
        CardForm::Name(name) => {
            let found = gpus.get(&name.0);
            if found.is_none() && !context.is_damaged("gpus", &name.0) {
                let names: Vec<&str> = gpus.keys().map(String::as_str).collect();
                context.dangling(spot, "graphics card", &name.0, &names);
            }
            found.map(AsRef::as_ref)
        }
        CardForm::Number(number) => {
            let mut all: Vec<&Arc<Gpu>> = gpus.values().collect();
            all.sort_by(|one, other| one.pci.cmp(&other.pci));
            let found = all.get(usize::from(*number)).copied();
            if found.is_none() && !context.namespace.blind {
                let message = format!("there is no graphics card {number}");
                let hint = match all.len() {
                    0 => "declare it under `hypervisor.gpus`".to_owned(),
                    count => format!("{count} are declared under `hypervisor.gpus`, and the first is 0"),
                };
                context.push(Draft::error(codes::DANGLING, spot, message).hint(hint));
            }
            found.map(AsRef::as_ref)
        }
    }
}

/// What must be so of all who use a card together.
pub(super) fn check(hypervisor: Option<&Hypervisor>, guests: &Guests, context: &mut Context<'_, '_>) {
    let Some(hypervisor) = hypervisor else { return };
    for gpu in hypervisor.gpus.values() {
        memory(gpu, guests, context);
        one_machine(gpu, guests, context);
    }
    by_address(&hypervisor.gpus, guests, context);
}

fn memory(gpu: &Gpu, guests: &Guests, context: &mut Context<'_, '_>) {
    let Some(has) = gpu.memory_mib else { return };
    let takes = memory_of(&gpu.name, guests.values().map(AsRef::as_ref));
    let sum: u64 = takes.iter().map(|(_, mib)| mib).sum();
    if sum <= has {
        return;
    }
    let shown = |mib: u64| MemorySize { mib }.to_string();
    let each: Vec<String> = takes.iter().map(|(name, mib)| format!("`{name}` {}", shown(*mib))).collect();
    let message = format!(
        "the card `{}` has {}, and its guests take {} of it: {}",
        gpu.name,
        shown(has),
        shown(sum),
        each.join(", ")
    );
    let Some(spot) = declared_at(&gpu.name, "memory", context) else { return };
    let mut draft = Draft::error(codes::GPU_MEMORY, spot, message);
    for (name, mib) in takes {
        if let Some(entry) = context.namespace.guests.get(&**name) {
            draft = draft.related(entry.spot(&["gpu"]), format!("`{name}` takes {}", shown(mib)));
        }
    }
    context.push(draft.hint("take smaller models, or let one of them be off: \"started\": false"));
}

/// Of machines that have one card, one can be on.
fn one_machine(gpu: &Gpu, guests: &Guests, context: &mut Context<'_, '_>) {
    let uses = |guest: &&Arc<crate::model::Guest>| {
        guest.started && guest.kind() == GuestKind::Vm && guest.gpus.iter().any(|it| it.card == gpu.name)
    };
    let on: Vec<_> = guests.values().filter(uses).collect();
    let [first, others @ ..] = on.as_slice() else { return };
    for other in others {
        let namespace = context.namespace;
        let (Some(there), Some(entry)) =
            (namespace.guests.get(&*first.name), namespace.guests.get(&*other.name))
        else {
            continue;
        };
        let message =
            format!("`{}` and `{}` are both to have the card `{}`", first.name, other.name, gpu.name);
        let draft = Draft::error(codes::GPU, entry.spot(&["gpu"]), message)
            .related(there.spot(&["gpu"]), "the other");
        context.push(
            draft.hint("a card is one machine's at a time: let one of them be off: \"started\": false"),
        );
    }
}

/// A machine that is given a declared card by its address goes around all that is looked at for cards.
fn by_address(gpus: &Gpus, guests: &Guests, context: &mut Context<'_, '_>) {
    for guest in guests.values() {
        let Some(vm) = guest.vm() else { continue };
        for (number, device) in &vm.pci {
            let Some(host) = device.get("host") else { continue };
            let named = |gpu: &&Arc<Gpu>| {
                host.split(';').any(|one| {
                    let whole =
                        if one.matches(':').count() == 1 { format!("0000:{one}") } else { one.to_owned() };
                    slot_of(&whole).eq_ignore_ascii_case(gpu.slot())
                })
            };
            let Some(gpu) = gpus.values().find(named) else { continue };
            let Some(entry) = context.namespace.guests.get(&*guest.name) else { continue };
            let message = format!("`{}` has the card `{}` by its address", guest.name, gpu.name);
            let spot = entry.spot(&["pci", &format!("pci{number}"), "host"]);
            let draft = related(
                Draft::error(codes::GPU, spot, message),
                declared_at(&gpu.name, "pci", context),
                "the card is declared",
            );
            let hint = match gpu.pass {
                true => format!("name it: \"gpu\": \"{}\"", gpu.name),
                false => format!("it is shared by containers; {NEVER_BOTH}"),
            };
            context.push(draft.hint(hint));
        }
    }
}
