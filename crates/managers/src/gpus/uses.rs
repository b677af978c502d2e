//! What follows from a card for a guest that uses it: the device files of a container, and whether a virtual machine can have it.
//! Pure.

use std::collections::BTreeSet;

use blueprint::model::{GPU_NODES, Gpu, GpuUse, KERNEL, NVIDIA_DRIVER, VFIO};
use blueprint::source::DeviceSource;
use blueprint::values::{DevicePath, FileMode};
use plan::desired::Guest as Wanted;
use plan::inventory::Guest;
use plan::planner::{Proposal, World};
use plan::{Address, Change, GuestKind, Host, Problem};
use serde_json::Value;

use super::{Card, Gpus, Maker, mark_of, seen};
use crate::reboots;

/// What NVIDIA's driver has for all its cards together.
const NVIDIA: [&str; 2] = ["/dev/nvidiactl", "/dev/nvidia-uvm"];
/// What it has beside that only some programs need, by how it begins.
const NVIDIA_TOO: [&str; 2] = ["/dev/nvidia-uvm-tools", "/dev/nvidia-caps/"];
/// What AMD's driver calculates through.
const KFD: &str = "/dev/kfd";
/// Who may use a card where no group is said: everybody in the container, as it is on a node of its own.
const EVERYBODY: &str = "0666";

/// The code of a card that the node's own driver has.
const HELD: &str = "gpu::held";

/// The code of a node whose devices cannot be passed through.
const IOMMU_OFF: &str = "gpu::iommu-off";

/// The driver that leaves a device to virtual machines.
const STUB: &str = "vfio-pci";

/// Something that is wrong, before it has a place.
struct Wrong {
    code: &'static str,
    message: String,
    hint: String,
}

fn wrong(code: &'static str, message: String, hint: impl Into<String>) -> Wrong {
    Wrong { code, message, hint: hint.into() }
}

/// The drivers by which cards of a maker are shared.
fn drivers(maker: Maker) -> &'static [&'static str] {
    match maker {
        Maker::Nvidia => &["nvidia"],
        Maker::Amd => &["amdgpu", "radeon"],
        Maker::Intel => &["i915", "xe"],
        Maker::Other => &[],
    }
}

/// The device files that a container gets of its cards, as far as all of them are there; `there` is the container as it is.
pub(crate) fn devices(world: World<'_>, wanted: &Wanted, there: Option<&Guest>) -> Vec<DeviceSource> {
    let Some(Ok(gpus)) = seen(world.inventory) else { return Vec::new() };
    let own = wanted.container().map(|own| &own.devices);
    // What is declared one by one is as it is declared.
    let mut known: BTreeSet<String> =
        own.into_iter().flat_map(|all| all.values()).map(|device| device.path.0.clone()).collect();
    let mut devices = Vec::new();
    for (used, gpu) in cards_of(world, wanted) {
        let Some(card) = gpus.cards.get(&gpu.pci).filter(|_| !gpu.pass) else { continue };
        for path in paths(&gpus, card, there).into_iter().filter(|path| known.insert(path.clone())) {
            devices.push(DeviceSource {
                path: DevicePath(path),
                mode: used.gid.is_none().then(|| FileMode(EVERYBODY.to_owned())),
                uid: None,
                gid: used.gid,
                deny_write: None,
            });
        }
    }
    devices
}

/// The cards of a guest that is to be made, for people: with the device files that it gets.
pub(crate) fn shown(wanted: &Wanted, devices: &[DeviceSource]) -> Option<Change> {
    let names: Vec<&str> = wanted.spec.gpus.iter().map(|used| used.card.as_str()).collect();
    let paths: Vec<&str> = devices.iter().map(|device| device.path.0.as_str()).collect();
    let files = if paths.is_empty() { String::new() } else { format!(": {}", paths.join(", ")) };
    (!names.is_empty()).then(|| Change::new("gpu", Value::Null, format!("{}{files}", names.join(", "))))
}

/// The cards that a guest uses.
fn cards_of<'a>(world: World<'a>, wanted: &'a Wanted) -> impl Iterator<Item = (&'a GpuUse, &'a Gpu)> {
    wanted.spec.gpus.iter().filter_map(move |used| Some((used, &**world.desired.gpus.get(&used.card)?)))
}

/// The device files of a card. What a container has of it once, it keeps: it would not start without, and that is to be said.
fn paths(gpus: &Gpus, card: &Card, there: Option<&Guest>) -> Vec<String> {
    let config = there.and_then(|guest| guest.config.as_ref()).into_iter().flatten();
    let devices = config.filter(|(key, _)| {
        key.strip_prefix("dev")
            .is_some_and(|slot| !slot.is_empty() && slot.bytes().all(|b| b.is_ascii_digit()))
    });
    let had = devices.filter_map(|(_, value)| {
        let mut parts = value.split(',').map(|part| part.strip_prefix("path=").unwrap_or(part));
        parts.find(|part| part.starts_with('/'))
    });
    let known: BTreeSet<&str> = gpus.nodes.keys().map(String::as_str).chain(had).collect();
    match card.maker() {
        Maker::Nvidia => {
            let own = card.minor.map(|minor| format!("/dev/nvidia{minor}"));
            let shared = NVIDIA.into_iter().map(str::to_owned);
            let more = |path: &&str| NVIDIA_TOO.iter().any(|begin| path.starts_with(begin));
            let too = known.into_iter().filter(more).map(str::to_owned);
            own.into_iter().chain(shared).chain(too).collect()
        }
        maker => {
            let render = card.render().map(|name| format!("/dev/dri/{name}"));
            let kfd = maker == Maker::Amd && known.contains(KFD);
            render.into_iter().chain(kfd.then(|| KFD.to_owned())).collect()
        }
    }
}

/// Says what of a guest's cards cannot be; false where nothing can be told of what it is to have.
pub(crate) fn check(
    world: World<'_>,
    wanted: &Wanted,
    there: Option<&Guest>,
    proposal: &mut Proposal,
) -> bool {
    if wanted.spec.gpus.is_empty() {
        return true;
    }
    let say = |it: Wrong, proposal: &mut Proposal| {
        proposal.problem(Problem::new(wanted.resource(), it.code, it.message, it.hint));
        false
    };
    let inventory = world.inventory;
    let declared = wanted.spec.node.as_ref().or(world.desired.node.as_ref()).map(ToString::to_string);
    let on = match inventory.guests.get(&wanted.id) {
        Some(guest) => guest.node.clone(),
        None => declared.unwrap_or_else(|| inventory.node.clone()),
    };
    let node = inventory.command_node();
    if on != node {
        let elsewhere = wrong(
            "gpu::elsewhere",
            format!("it is on {on}, and its cards are in {node}, the node that `hypervisor` is about"),
            format!("place it there: \"node\": \"{node}\""),
        );
        return say(elsewhere, proposal);
    }
    // Why nothing is known, is said of the cards.
    let Some(Ok(gpus)) = seen(inventory) else { return false };
    let mut good = true;
    for (_, gpu) in cards_of(world, wanted) {
        let Some(card) = gpus.cards.get(&gpu.pci) else {
            good = false;
            continue;
        };
        let found = match wanted.kind {
            GuestKind::Container => shared(world, &gpus, gpu, card, there),
            // One that is off needs nothing of it yet.
            GuestKind::Vm if wanted.spec.started => passed(world, &gpus, gpu, card),
            GuestKind::Vm => Ok(()),
        };
        good = match found {
            Ok(()) => good,
            Err(it) if of_a_driver(it.code) && gpu.installer.is_some() && driver_comes(world) => {
                proposal.note(format!(
                    "{} waits for the driver, which is installed on the node first: phoenix-cli up once more makes it ({})",
                    wanted.resource(),
                    it.message
                ));
                false
            }
            // The restart of the node brings that about, once somebody agrees to it; everything else need not wait.
            Err(it)
                if it.code == HELD && reboots::waits_for(world, VFIO)
                    || it.code == IOMMU_OFF && comes_on(world, &gpus) =>
            {
                proposal.note(format!(
                    "{} waits for the restart of the node: {}",
                    wanted.resource(),
                    it.message
                ));
                false
            }
            Err(it) => say(it, proposal),
        };
    }
    good
}

/// Whether it is a driver that is missing, or what it makes.
fn of_a_driver(code: &str) -> bool {
    ["gpu::no-driver", "gpu::driver-version", "gpu::no-nodes"].contains(&code)
}

/// Whether NVIDIA's driver is yet to be put in place by this plan, or runs from the node's next start.
fn driver_comes(world: World<'_>) -> bool {
    !is_applied(world, NVIDIA_DRIVER) || reboots::waits_for(world, NVIDIA_DRIVER)
}

/// Whether the IOMMU may be on from the node's next start, for what is on the kernel's command line then.
fn comes_on(world: World<'_>, gpus: &Gpus) -> bool {
    reboots::waits_for(world, KERNEL) || gpus.intel && reboots::waits_for(world, VFIO)
}

/// Whether containers can use a card.
fn shared(world: World<'_>, gpus: &Gpus, gpu: &Gpu, card: &Card, there: Option<&Guest>) -> Result<(), Wrong> {
    let name = format!("the card {} at {}", gpu.name, gpu.pci);
    let known = drivers(card.maker());
    let driver = card.driver.as_deref();
    if let Some(by) = driver.filter(|by| !known.is_empty() && !known.contains(by)) {
        let hint = match by {
            STUB => {
                "it was passed through before: start the node anew once nothing passes it through any more"
                    .to_owned()
            }
            _ => install(card.maker()),
        };
        let message = format!("{name} is driven by {by}, by which containers cannot use it");
        return Err(wrong("gpu::no-driver", message, hint));
    }
    if driver.is_none() {
        return Err(wrong("gpu::no-driver", format!("no driver has taken {name}"), install(card.maker())));
    }
    if card.maker() == Maker::Nvidia
        && let Some(wanted) = &gpu.driver
        && gpus.nvidia.as_ref() != Some(wanted)
    {
        let loaded = gpus.nvidia.as_deref().unwrap_or("none that says its version");
        return Err(wrong(
            "gpu::driver-version",
            format!("{name} is to be driven by NVIDIA's driver {wanted}, and the node has {loaded}"),
            format!(
                "have Phoenix install it, with the `sha256` of its installer at `driver`; or install {wanted} on the node and start it anew; or say \"driver\": \"{loaded}\" and have what is in the guests be of \
                 that version; what there is, on the node: cat /sys/module/nvidia/version; dpkg -l '*nvidia*'"
            ),
        ));
    }
    let paths = paths(gpus, card, there);
    let own = match card.maker() {
        Maker::Nvidia => card.minor.is_some(),
        _ => card.render().is_some(),
    };
    let missing: Vec<&str> =
        paths.iter().map(String::as_str).filter(|path| !gpus.nodes.contains_key(*path)).collect();
    if own && missing.is_empty() {
        return Ok(());
    }
    let what = match missing.as_slice() {
        [] => "no device file of its own".to_owned(),
        missing => format!("no {}", missing.join(", no ")),
    };
    let hint = match card.maker() {
        Maker::Nvidia if is_applied(world, GPU_NODES) => {
            "on the node: systemctl restart phoenix-gpu-nodes, which makes them; and systemctl status says why where it does not".to_owned()
        }
        Maker::Nvidia => format!(
            "phoenix-cli apply --target {} has them made, now and at every start of the node",
            Address::feature(GPU_NODES, &Host::THE_NODE),
        ),
        _ => "what its driver says, on the node: dmesg | grep -i -e drm -e amdgpu -e i915".to_owned(),
    };
    Err(wrong(
        "gpu::no-nodes",
        format!("{name} is driven by {}, and has {what} on the node", driver.unwrap_or_default()),
        hint,
    ))
}

/// How a card gets a driver.
fn install(maker: Maker) -> String {
    match maker {
        Maker::Nvidia => "Phoenix installs NVIDIA's driver on the node where `driver` of the card has the `sha256` of its installer: phoenix-cli explain hypervisor.gpus.driver",
        Maker::Amd => "on the node: modprobe amdgpu; dmesg | grep -i amdgpu says what is wrong; its firmware is in firmware-amd-graphics",
        Maker::Intel => "on the node: modprobe i915 (or xe); dmesg | grep -i drm says what is wrong",
        Maker::Other => "which driver there is for it, on the node: lspci -k",
    }
    .to_owned()
}

/// Whether a virtual machine can have a card.
fn passed(world: World<'_>, gpus: &Gpus, gpu: &Gpu, card: &Card) -> Result<(), Wrong> {
    let name = format!("the card {} at {}", gpu.name, gpu.pci);
    if gpus.iommus > 0 && card.group.is_some() {
        return in_group(gpu, card, &name).and_then(|()| free(world, card, &name));
    }
    Err(wrong(
        IOMMU_OFF,
        format!("{name} cannot be passed through: the node's IOMMU is off"),
        "switch on VT-d (Intel) or IOMMU (AMD) in the BIOS, and start the node anew; what Intel's takes on the kernel's command \
         line comes by itself",
    ))
}

/// What is in one group is passed through together, so nothing else may be in it.
fn in_group(gpu: &Gpu, card: &Card, name: &str) -> Result<(), Wrong> {
    let own = format!("{}.", gpu.slot());
    let others: Vec<String> = (card.beside.iter())
        .filter(|(address, beside)| !address.starts_with(&own) && !beside.class.starts_with("06"))
        .map(|(address, beside)| {
            let by = beside.driver.as_deref().map(|it| format!(" ({it})")).unwrap_or_default();
            format!("{address}{by}")
        })
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(wrong(
        "gpu::iommu-group",
        format!(
            "{name} cannot be passed through alone: {} {} in its IOMMU group, too",
            others.join(", "),
            if others.len() == 1 { "is" } else { "are" }
        ),
        "plug the card into another slot, best one of the processor's own; or look in the BIOS for ACS",
    ))
}

/// A driver of the node's must not have it.
fn free(world: World<'_>, card: &Card, name: &str) -> Result<(), Wrong> {
    let Some(by) = card.driver.as_deref().filter(|by| *by != STUB) else { return Ok(()) };
    // What comes after the restart finds it free.
    if world.options.restart_node && reboots::waits_for(world, VFIO) {
        return Ok(());
    }
    let hint = match is_applied(world, VFIO) {
        true => {
            "the node is set to leave it alone, which counts from its next start: start it anew".to_owned()
        }
        false => format!(
            "phoenix-cli apply --target {} has the node leave it alone; then start the node anew",
            Address::feature(VFIO, &Host::THE_NODE)
        ),
    };
    Err(wrong(HELD, format!("{name} is to be a machine's, and the node's own driver {by} has it"), hint))
}

/// Whether a feature of the node is there as it is wanted.
fn is_applied(world: World<'_>, name: &str) -> bool {
    let wanted = world.desired.on_node.iter().find(|it| it.name == name);
    let mark = mark_of(world.desired, world.inventory);
    let applied = mark.and_then(|mark| mark.fingerprint(&Address::feature(name, &Host::THE_NODE)));
    wanted.is_some_and(|it| applied == Some(it.fingerprint.as_str()))
}
