//! What virtual machines have alone.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::Context;
use crate::codes;
use crate::model::{Bus, Efi, Enter, Passed, Slot, User, Vm, VmDisk};
use crate::namespace::Entry;
use crate::report::Draft;
use crate::source::{
    AgentForm, CoresForm, DiskLimitsSource, EnterSource, FolderSource, GuestSettings, GuestSource, KeyForm,
    NicModelSource, NicSource, OsSource, PciSource, SecretSource, SmbiosSource, UsbSource, UserSource,
    VmDiskForm,
};
use crate::values;

/// What holds where nothing is said.
pub(super) mod defaults {
    pub(crate) const DISK_MIB: u64 = 8 * 1024;
    pub(crate) const OS: &str = "l26";
    pub(crate) const CONTROLLER: &str = "virtio-scsi-single";
}

/// Where a virtual machine starts to be named apart: a drive for cloud-init and one for a medium are beside its disks.
const DRIVES: [&str; 2] = ["ide0", "ide2"];

/// The drive of a second medium.
const SECOND: &str = "ide3";

/// What is known of a virtual machine beside its own settings.
#[derive(Debug, Clone)]
pub(super) struct Around {
    /// Whether something is to be installed in it.
    pub features: bool,
    /// Whether it has a fixed address.
    pub fixed: bool,
    /// The mappings of the graphics cards that it has.
    pub passed: Vec<String>,
}

/// How Phoenix gets into it. What cannot be is said.
fn enter(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    settings: &GuestSettings,
    around: &Around,
    context: &mut Context<'_, '_>,
) -> Enter {
    let agent = settings.agent.is_none_or(AgentForm::enabled);
    let linux = settings.os.is_none_or(|os| os == OsSource::Linux);
    let cloud_init = settings.cloud_init.unwrap_or(settings.image.is_some());
    let enter = match settings.enter {
        Some(EnterSource::Agent) => Enter::Agent,
        Some(EnterSource::Ssh) => Enter::Ssh,
        None if agent && linux => Enter::Agent,
        Some(EnterSource::None) | None => Enter::Not,
    };
    let mut error = |key: &str, message: String, hint: &str| {
        let draft = Draft::error(codes::MISSING_OPTION, entry.key_spot(&[key]), message);
        context.push(draft.hint(hint.to_owned()));
    };
    if around.features && !linux {
        let message = format!("`{name}` has features, which are for Linux alone, and runs something else");
        error("os", message, "leave the features out: it is made, changed and watched without them");
    } else if around.features && enter == Enter::Not {
        let message = format!("`{name}` has features, and no way into it by which they could be installed");
        error(
            "enter",
            message,
            "leave `agent` and `enter` out, say \"enter\": \"ssh\", or leave the features out",
        );
    }
    match enter {
        Enter::Agent if !agent => {
            let message = format!("`{name}` is to be entered by the guest agent, and has no device for it");
            error("enter", message, "leave `agent` out, or say \"enter\": \"ssh\"");
        }
        Enter::Ssh if !cloud_init => {
            let message = format!(
                "`{name}` is to be entered by ssh, and has no drive for cloud-init to be told its keys"
            );
            error("enter", message, "make it of an `image` with cloud-init");
        }
        Enter::Ssh if !around.fixed => {
            let message = format!("`{name}` is to be entered by ssh, and has no fixed address");
            error("enter", message, "give it an `address`, or leave `enter` out: the guest agent needs none");
        }
        _ => {}
    }
    let packages = settings.packages.as_ref().is_some_and(|all| !all.is_empty());
    if packages && !cloud_init {
        let message = format!("`{name}` is to have packages at its first start, and no drive for cloud-init");
        error("packages", message, "make it of an `image` with cloud-init");
    }
    if packages && enter == Enter::Not {
        let message =
            format!("`{name}` is to have packages at its first start, and nobody sees when that is through");
        error("packages", message, "leave `agent` and `enter` out, or say \"enter\": \"ssh\"");
    }
    let custom = settings.settings.as_ref().is_some_and(|all| all.contains_key("cicustom"));
    if custom && (packages || enter == Enter::Ssh) {
        let message = format!(
            "`cicustom` of `{name}` is in the way of what Phoenix has cloud-init told at the first start"
        );
        error("settings", message, "leave it out, or `packages` and \"enter\": \"ssh\"");
    }
    enter
}

/// Its PCI devices: those that are declared, and the graphics cards in the slots that are free.
fn cards(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    settings: &GuestSettings,
    around: &Around,
    context: &mut Context<'_, '_>,
) -> BTreeMap<u8, Passed> {
    let mut all = slots("pci", 15, settings.pci.as_ref(), |slot, it| pci(entry, slot, it, context));
    if around.passed.is_empty() {
        return all;
    }
    if let Some(machine) = settings.machine.as_ref().filter(|it| !it.0.contains("q35")) {
        let message = format!(
            "`{name}` has a graphics card, which takes a machine with PCI Express, and is `{machine}`"
        );
        let draft = Draft::error(codes::GPU, entry.spot(&["machine"]), message)
            .related(entry.spot(&["gpu"]), "the card");
        context.push(draft.hint("leave `machine` out, or say \"q35\""));
    }
    for mapping in &around.passed {
        let Some(free) = (0..=15).find(|slot| !all.contains_key(slot)) else {
            let message = format!("`{name}` has no slot left for a graphics card");
            context.push(
                Draft::error(codes::GPU, entry.spot(&["gpu"]), message).hint("16 PCI devices are the most"),
            );
            break;
        };
        all.insert(free, Passed::from([("mapping", mapping.clone()), ("pcie", "1".to_owned())]));
    }
    all
}

/// The packages that cloud-init installs.
fn packages(
    entry: &Entry<'_, GuestSource>,
    settings: &GuestSettings,
    context: &mut Context<'_, '_>,
) -> Vec<String> {
    let all = settings.packages.iter().flatten().map(|name| name.0.clone());
    let (good, bad): (Vec<_>, Vec<_>) = all.partition(|name| {
        name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.:".contains(&b))
    });
    for name in bad {
        let message = format!("`{}` cannot be the name of a package", name.escape_debug());
        context.push(Draft::error(codes::BAD_NAME, entry.spot(&["packages"]), message));
    }
    good
}

/// Makes what a virtual machine has alone of its merged settings.
pub(super) fn vm(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    settings: &GuestSettings,
    nets: &BTreeMap<u8, NicSource>,
    around: &Around,
    context: &mut Context<'_, '_>,
) -> Vm {
    let enter = enter(name, entry, settings, around, context);
    let cards = cards(name, entry, settings, around, context);
    for (slot, nic) in nets {
        if nic.name.is_some() {
            let spot = entry.key_spot(&["networks", &format!("net{slot}"), "name"]);
            let message = format!(
                "`net{slot}` of `{name}` cannot have a name: a virtual machine names its devices itself"
            );
            context.push(Draft::error(codes::BAD_NETWORK, spot, message));
        }
        if nic.queues.is_some() && nic.model.is_some_and(|model| model != NicModelSource::Virtio) {
            let spot = entry.key_spot(&["networks", &format!("net{slot}"), "queues"]);
            let message = format!("`net{slot}` of `{name}` cannot have `queues`, which only `virtio` has");
            context.push(Draft::error(codes::BAD_NETWORK, spot, message));
        }
    }
    if let (Some(vcpus), Some(most)) = (settings.vcpus, processors(settings))
        && vcpus > most
    {
        let message = format!("`{name}` cannot start with {vcpus} of its {most} processors");
        let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["vcpus"]), message);
        context.push(draft.hint("it has `sockets` times `cores`"));
    }
    bounds(name, entry, settings, nets, context);
    let disks = disks(name, entry, settings.disks.as_ref(), context);
    let boot: Option<Vec<String>> =
        settings.boot.as_ref().map(|all| all.iter().map(|device| device.0.clone()).collect());
    for device in boot.iter().flatten() {
        let known = device.parse::<Slot>().is_ok_and(|slot| disks.contains_key(&slot))
            || DRIVES.contains(&device.as_str())
            || (settings.second_iso.is_some() && device == SECOND)
            || values::slot("net", 31, device).is_ok_and(|slot| nets.contains_key(&slot))
            || ["usb", "hostpci"].iter().any(|kind| values::slot(kind, 15, device).is_ok());
        if !known {
            let message = format!("`{name}` cannot start from `{device}`, which it does not have");
            context.push(Draft::error(codes::BAD_VALUE, entry.spot(&["boot"]), message));
        }
    }
    Vm {
        image: settings.image.as_ref().map(|text| text.0.clone()),
        iso: settings.iso.as_ref().map(|text| text.0.clone()),
        second_iso: settings.second_iso.as_ref().map(|text| text.0.clone()),
        disks,
        efi: settings.uefi.as_ref().map(|uefi| Efi {
            storage: uefi.storage.as_ref().map(|s| s.0.clone()),
            keys: uefi.keys.unwrap_or(true),
        }),
        tpm: settings.tpm.as_ref().map(|tpm| tpm.storage.as_ref().map(|s| s.0.clone())),
        cloud_init: settings.cloud_init.unwrap_or(settings.image.is_some()),
        user: settings.user.as_ref().and_then(|source| user(entry, source, context)),
        serials: slots("serial", 3, settings.serial.as_ref(), |_, text| Some(text.0.clone())),
        usb: slots("usb", 13, settings.usb.as_ref(), |slot, it| usb(entry, slot, it, context)),
        pci: cards,
        folders: slots("folder", 9, settings.folders.as_ref(), |_, it| Some(folder(it))),
        boot,
        agent: settings.agent.is_none_or(AgentForm::enabled),
        agent_options: agent_options(settings.agent),
        smbios: settings.smbios.as_ref().map(smbios).unwrap_or_default(),
        enter,
        answers_within: settings.answers_within,
        packages: packages(entry, settings, context),
        options: options(settings, is_clone(settings, context), !around.passed.is_empty()),
    }
}

/// What the node takes less of for a virtual machine than for a container, or beside something else (its API's schema, and
/// qemu-server: "balloon value too large").
fn bounds(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    settings: &GuestSettings,
    nets: &BTreeMap<u8, NicSource>,
    context: &mut Context<'_, '_>,
) {
    let mut error = |path: &[&str], message: String, hint: &str| {
        let draft = Draft::error(codes::BAD_VALUE, entry.spot(path), message);
        context.push(draft.hint(hint.to_owned()));
    };
    if let (Some(balloon), Some(memory)) = (settings.balloon, settings.memory)
        && balloon > memory
    {
        let message = format!("`{name}` has {memory} of memory, and cannot be left with {balloon}");
        error(&["balloon"], message, "at most as much as `memory`; leave it out, and it keeps all of it");
    }
    if settings.cpulimit.is_some_and(|limit| limit > 128.0) {
        error(
            &["cpulimit"],
            format!("`cpulimit` of `{name}` is more than a virtual machine can have"),
            "from 0 to 128",
        );
    }
    for (slot, _) in nets.iter().filter(|(_, nic)| nic.mtu.is_some_and(|mtu| mtu > 65520)) {
        let slot = format!("net{slot}");
        let message = format!("`mtu` of `{slot}` of `{name}` is more than a virtual machine can have");
        error(&["networks", slot.as_str(), "mtu"], message, "from 576 to 65520");
    }
}

/// Whether it is a clone, which has what its template has where the blueprint says nothing.
fn is_clone(settings: &GuestSettings, context: &Context<'_, '_>) -> bool {
    let image =
        settings.image.as_ref().and_then(|name| context.namespace.images.get(&name.0)?.value.as_ref());
    image.is_some_and(|image| image.from.is_some() || image.guest.is_some())
}

/// What is keyed by slot, by the slot's number. Bad slots are reported where they are written.
fn slots<S, T>(
    prefix: &str,
    highest: u8,
    written: Option<&BTreeMap<String, S>>,
    mut make: impl FnMut(&str, &S) -> Option<T>,
) -> BTreeMap<u8, T> {
    let all = written.into_iter().flatten();
    all.filter_map(|(slot, value)| Some((values::slot(prefix, highest, slot).ok()?, make(slot, value)?)))
        .collect()
}

/// How many processors it has, where that is a number.
fn processors(settings: &GuestSettings) -> Option<u32> {
    let cores = match settings.cores {
        None => 1,
        Some(CoresForm::Some(cores)) => cores,
        Some(CoresForm::All(_)) => return None,
    };
    Some(cores.saturating_mul(settings.sockets.unwrap_or(1)))
}

fn agent_options(form: Option<AgentForm>) -> BTreeMap<&'static str, String> {
    let Some(AgentForm::Long(long)) = form else { return BTreeMap::new() };
    let flag = |on: Option<bool>| on.map(|on| u8::from(on).to_string());
    let all = [
        ("freeze-fs", flag(long.freeze)),
        ("fstrim_cloned_disks", flag(long.trim)),
        ("type", long.r#type.map(|kind| kind.to_string())),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn smbios(source: &SmbiosSource) -> BTreeMap<&'static str, String> {
    let text = |text: &Option<values::Text>| text.as_ref().map(|text| text.0.clone());
    let all = [
        ("family", text(&source.family)),
        ("manufacturer", text(&source.manufacturer)),
        ("product", text(&source.product)),
        ("serial", text(&source.serial)),
        ("sku", text(&source.sku)),
        ("uuid", source.uuid.as_ref().map(|uuid| uuid.0.clone())),
        ("version", text(&source.version)),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// How much of a disk a guest gets, by Proxmox VE's names.
fn limits(source: &DiskLimitsSource) -> [(&'static str, Option<String>); 8] {
    let size = |value: Option<f64>| value.map(|value| value.to_string());
    let times = |value: Option<u32>| value.map(|value| value.to_string());
    [
        ("iops_rd", times(source.reads)),
        ("iops_rd_max", times(source.reads_burst)),
        ("iops_wr", times(source.writes)),
        ("iops_wr_max", times(source.writes_burst)),
        ("mbps_rd", size(source.read)),
        ("mbps_rd_max", size(source.read_burst)),
        ("mbps_wr", size(source.write)),
        ("mbps_wr_max", size(source.write_burst)),
    ]
}

/// The keys that Proxmox VE takes as they are.
fn options(settings: &GuestSettings, is_clone: bool, has_card: bool) -> BTreeMap<&'static str, String> {
    fn text<T: Display>(value: Option<T>) -> Option<String> {
        value.map(|value| value.to_string())
    }
    let flag = |on: Option<bool>| on.map(|on| u8::from(on).to_string());
    let default = |value: &str| (!is_clone).then(|| value.to_owned());
    let bios = settings.bios.map(|bios| bios.to_string());
    let all = [
        ("acpi", flag(settings.acpi)),
        ("affinity", text(settings.affinity.as_ref())),
        ("balloon", text(settings.balloon.map(|size| size.mib))),
        ("bios", bios.or_else(|| settings.uefi.as_ref().map(|_| "ovmf".to_owned()))),
        ("cpu", text(settings.cpu.as_ref())),
        ("hotplug", text(settings.hotplug.as_ref())),
        ("hugepages", text(settings.hugepages)),
        ("keyboard", text(settings.keyboard.as_ref())),
        ("kvm", flag(settings.kvm)),
        ("localtime", flag(settings.localtime)),
        ("machine", text(settings.machine.as_ref()).or_else(|| has_card.then(|| "q35".to_owned()))),
        ("numa", flag(settings.numa)),
        ("ostype", text(settings.os).or_else(|| default(defaults::OS))),
        (
            "rng0",
            text(settings.rng.as_ref()).map(|source| match source.contains('=') {
                true => source,
                false => format!("source={source}"),
            }),
        ),
        ("scsihw", text(settings.scsi_controller).or_else(|| default(defaults::CONTROLLER))),
        ("shares", text(settings.shares)),
        ("sockets", text(settings.sockets)),
        ("tablet", flag(settings.tablet)),
        ("vcpus", text(settings.vcpus)),
        ("vga", text(settings.vga.as_ref())),
        ("watchdog", text(settings.watchdog.as_ref())),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn disks(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    written: Option<&BTreeMap<String, VmDiskForm>>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<Slot, VmDisk> {
    let Some(written) = written else {
        let only = VmDisk { storage: None, size_mib: defaults::DISK_MIB, options: BTreeMap::new() };
        return [(Slot { bus: Bus::Scsi, number: 0 }, only)].into();
    };
    let mut disks = BTreeMap::new();
    for (text, form) in written {
        // Reported where it is written.
        let Ok(slot) = text.parse::<Slot>() else { continue };
        let long = match form {
            VmDiskForm::Short(size) => {
                disks.insert(slot, VmDisk { storage: None, size_mib: size.mib, options: BTreeMap::new() });
                continue;
            }
            VmDiskForm::Long(long) => long,
        };
        let threads = matches!(slot.bus, Bus::Scsi | Bus::Virtio);
        let cannot = [
            ("iothread", long.iothread == Some(true) && !threads),
            ("read-only", long.read_only == Some(true) && !threads),
            ("ssd", long.ssd == Some(true) && slot.bus == Bus::Virtio),
        ];
        for (key, _) in cannot.iter().filter(|(_, is_so)| *is_so) {
            let bus = slot.bus.as_str();
            let message = format!("`{text}` of `{name}` cannot have `{key}`, which {bus} has not");
            let draft = Draft::error(codes::BAD_VALUE, entry.key_spot(&["disks", text, key]), message);
            let have = if *key == "ssd" {
                "`scsi`, `sata` and `ide` have it"
            } else {
                "`scsi` and `virtio` have it"
            };
            context.push(draft.hint(format!("{have}; or leave `{key}` out")));
        }
        let flag = |on: Option<bool>| on.map(|on| u8::from(on).to_string());
        let own = [
            ("aio", long.aio.map(|aio| aio.to_string())),
            ("backup", flag(long.backup)),
            ("cache", long.cache.map(|cache| cache.to_string())),
            ("discard", long.discard.map(|on| if on { "on" } else { "ignore" }.to_owned())),
            ("iothread", flag(long.iothread)),
            ("replicate", flag(long.replicate)),
            ("ro", flag(long.read_only)),
            ("serial", long.serial.as_ref().map(|text| text.0.clone())),
            ("ssd", flag(long.ssd)),
        ];
        let limits = long.limits.as_ref().map(limits);
        let options = own.into_iter().chain(limits.into_iter().flatten());
        let options = options.filter_map(|(key, value)| Some((key, value?))).collect();
        let storage = long.storage.as_ref().map(|storage| storage.0.clone());
        disks.insert(slot, VmDisk { storage, size_mib: long.size.mib, options });
    }
    disks
}

fn user(entry: &Entry<'_, GuestSource>, source: &UserSource, context: &mut Context<'_, '_>) -> Option<User> {
    let mut keys = Vec::new();
    for form in source.ssh_keys.iter().flatten() {
        let text = match form {
            KeyForm::Key(key) => key.0.clone(),
            KeyForm::File(it) => match context.files.file(&it.file.0) {
                Ok(file) => String::from_utf8_lossy(&file.bytes).into_owned(),
                Err(problem) => {
                    let draft =
                        Draft::error(problem.code, entry.spot(&["user", "ssh-keys"]), problem.message);
                    context.push(draft.maybe_hint(problem.hint));
                    continue;
                }
            },
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            // The kind of a key is a word, and what follows is base64 (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
            if line.split_whitespace().any(|word| word.len() > 40) && !line.contains("PRIVATE KEY") {
                keys.push(line.to_owned());
                continue;
            }
            let short: String = line.chars().take(24).collect();
            let message = format!("`{}` is no public key", short.escape_debug());
            let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["user", "ssh-keys"]), message);
            context.push(draft.hint("as in a file that ends in `.pub`: ssh-ed25519 AAAA… NAME"));
        }
    }
    let name = &source.name.0;
    let fits = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if !fits {
        let message = format!("`{}` cannot be the name of a user", name.escape_debug());
        let draft = Draft::error(codes::BAD_NAME, entry.spot(&["user", "name"]), message);
        context.push(draft.hint("lower-case letters, digits, `_` and `-`, at most 32"));
        return None;
    }
    let password = source.password.as_ref().and_then(SecretSource::reference);
    Some(User { name: name.clone(), keys, password })
}

/// Exactly one of a device of the node and a mapping.
fn one_of(
    entry: &Entry<'_, GuestSource>,
    path: [&str; 2],
    host: Option<String>,
    mapping: Option<&values::MappingName>,
    context: &mut Context<'_, '_>,
) -> Option<(&'static str, String)> {
    let [what, slot] = path;
    match (host, mapping) {
        (Some(host), None) => Some(("host", host)),
        (None, Some(mapping)) => Some(("mapping", mapping.0.clone())),
        (Some(_), Some(_)) => {
            let message = format!("`host` and `mapping` exclude each other in `{slot}`");
            let draft = Draft::error(codes::NOT_ONE, entry.key_spot(&[what, slot, "host"]), message)
                .related(entry.key_spot(&[what, slot, "mapping"]), "the mapping");
            context.push(draft.hint("leave `host` out: a mapping takes no root on the node"));
            None
        }
        // What is written and cannot be has been said.
        (None, None)
            if ["host", "mapping"].iter().any(|key| entry.key_spot(&[what, slot, key]) != entry.key()) =>
        {
            None
        }
        (None, None) => {
            let message = format!("`{slot}` names no device");
            let draft = Draft::error(codes::NOT_ONE, entry.key_spot(&[what, slot]), message);
            context.push(draft.hint(
                "add `mapping`, a mapping of the cluster, or `host`, a device of the node, which takes root there",
            ));
            None
        }
    }
}

fn usb(
    entry: &Entry<'_, GuestSource>,
    slot: &str,
    it: &UsbSource,
    context: &mut Context<'_, '_>,
) -> Option<Passed> {
    let device = one_of(
        entry,
        ["usb", slot],
        it.host.as_ref().map(|host| host.0.clone()),
        it.mapping.as_ref(),
        context,
    )?;
    let mut passed = Passed::from([device]);
    passed.extend(it.usb3.map(|on| ("usb3", u8::from(on).to_string())));
    Some(passed)
}

fn pci(
    entry: &Entry<'_, GuestSource>,
    slot: &str,
    it: &PciSource,
    context: &mut Context<'_, '_>,
) -> Option<Passed> {
    let device = one_of(
        entry,
        ["pci", slot],
        it.host.as_ref().map(|host| host.0.clone()),
        it.mapping.as_ref(),
        context,
    )?;
    let mut passed = Passed::from([device]);
    let flags = [("pcie", it.pcie), ("rombar", it.rombar), ("x-vga", it.primary_gpu)];
    passed.extend(flags.into_iter().filter_map(|(key, on)| Some((key, u8::from(on?).to_string()))));
    let texts = [
        ("device-id", &it.device_id),
        ("sub-device-id", &it.sub_device_id),
        ("sub-vendor-id", &it.sub_vendor_id),
        ("vendor-id", &it.vendor_id),
    ];
    passed.extend(texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?.0.clone()))));
    passed.extend(it.mdev.as_ref().map(|mdev| ("mdev", mdev.0.clone())));
    Some(passed)
}

fn folder(it: &FolderSource) -> Passed {
    let mut passed = Passed::from([("dirid", it.mapping.0.clone())]);
    passed.extend(it.cache.map(|cache| ("cache", cache.to_string())));
    let flags = [("direct-io", it.direct_io), ("expose-acl", it.acl), ("expose-xattr", it.xattr)];
    passed.extend(flags.into_iter().filter_map(|(key, on)| Some((key, u8::from(on?).to_string()))));
    passed
}
