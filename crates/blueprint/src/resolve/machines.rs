//! What virtual machines have alone.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::Context;
use crate::codes;
use crate::model::{Bus, Efi, Passed, Slot, User, Vm, VmDisk};
use crate::namespace::Entry;
use crate::report::Draft;
use crate::source::{
    FolderSource, GuestSettings, GuestSource, KeyForm, NicSource, PciSource, UsbSource, UserSource,
    VmDiskForm,
};
use crate::values;

/// What holds where nothing is said.
pub(super) mod defaults {
    pub(crate) const DISK_GIB: u64 = 8;
    pub(crate) const OS: &str = "l26";
    pub(crate) const CONTROLLER: &str = "virtio-scsi-single";
}

/// Where a virtual machine starts to be named apart: a drive for cloud-init and one for a medium are beside its disks.
const DRIVES: [&str; 2] = ["ide0", "ide2"];

/// Makes what a virtual machine has alone of its merged settings.
pub(super) fn vm(
    name: &str,
    entry: &Entry<'_, GuestSource>,
    settings: &GuestSettings,
    nets: &BTreeMap<u8, NicSource>,
    features: bool,
    context: &mut Context<'_, '_>,
) -> Vm {
    let agent = settings.agent.unwrap_or(true);
    if features && !agent {
        let draft = Draft::error(
            codes::MISSING_OPTION,
            entry.key_spot(&["agent"]),
            format!("`{name}` has features, and no guest agent by which they could be installed"),
        );
        context.push(draft.hint("leave `agent` out, or the features"));
    }
    for (slot, nic) in nets {
        if nic.name.is_some() {
            let spot = entry.key_spot(&["networks", &format!("net{slot}"), "name"]);
            let message = format!(
                "`net{slot}` of `{name}` cannot have a name: a virtual machine names its devices itself"
            );
            context.push(Draft::error(codes::BAD_NETWORK, spot, message));
        }
    }
    let disks = disks(name, entry, settings.disks.as_ref(), context);
    let boot: Option<Vec<String>> =
        settings.boot.as_ref().map(|all| all.iter().map(|device| device.0.clone()).collect());
    for device in boot.iter().flatten() {
        let known = device.parse::<Slot>().is_ok_and(|slot| disks.contains_key(&slot))
            || DRIVES.contains(&device.as_str())
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
        disks,
        efi: settings.uefi.as_ref().map(|uefi| Efi {
            storage: uefi.storage.as_ref().map(|s| s.0.clone()),
            keys: uefi.keys.unwrap_or(true),
        }),
        tpm: settings.tpm.as_ref().map(|tpm| tpm.storage.as_ref().map(|s| s.0.clone())),
        cloud_init: settings.cloud_init.unwrap_or(settings.image.is_some()),
        user: settings.user.as_ref().and_then(|source| user(entry, source, context)),
        serials: slots("serial", 3, settings.serial.as_ref(), |text| Some(text.0.clone())),
        usb: slots("usb", 13, settings.usb.as_ref(), |it| usb(entry, it, context)),
        pci: slots("pci", 15, settings.pci.as_ref(), |it| pci(entry, it, context)),
        folders: slots("folder", 9, settings.folders.as_ref(), |it| Some(folder(it))),
        boot,
        agent,
        options: options(settings),
    }
}

/// What is keyed by slot, by the slot's number. Bad slots are reported where they are written.
fn slots<S, T>(
    prefix: &str,
    highest: u8,
    written: Option<&BTreeMap<String, S>>,
    mut make: impl FnMut(&S) -> Option<T>,
) -> BTreeMap<u8, T> {
    let all = written.into_iter().flatten();
    all.filter_map(|(slot, value)| Some((values::slot(prefix, highest, slot).ok()?, make(value)?))).collect()
}

/// The keys that Proxmox VE takes as they are.
fn options(settings: &GuestSettings) -> BTreeMap<&'static str, String> {
    fn text<T: Display>(value: Option<T>) -> Option<String> {
        value.map(|value| value.to_string())
    }
    let flag = |on: Option<bool>| on.map(|on| u8::from(on).to_string());
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
        ("machine", text(settings.machine.as_ref())),
        ("numa", flag(settings.numa)),
        ("ostype", Some(text(settings.os).unwrap_or_else(|| defaults::OS.to_owned()))),
        (
            "rng0",
            text(settings.rng.as_ref()).map(|source| match source.contains('=') {
                true => source,
                false => format!("source={source}"),
            }),
        ),
        ("scsihw", Some(text(settings.scsi_controller).unwrap_or_else(|| defaults::CONTROLLER.to_owned()))),
        ("shares", text(settings.shares)),
        ("sockets", text(settings.sockets)),
        ("tablet", flag(settings.tablet)),
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
        let only = VmDisk { storage: None, size_gib: defaults::DISK_GIB, options: BTreeMap::new() };
        return [(Slot { bus: Bus::Scsi, number: 0 }, only)].into();
    };
    let mut disks = BTreeMap::new();
    for (text, form) in written {
        // Reported where it is written.
        let Ok(slot) = text.parse::<Slot>() else { continue };
        let long = match form {
            VmDiskForm::Short(size) => {
                disks.insert(slot, VmDisk { storage: None, size_gib: size.gib, options: BTreeMap::new() });
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
            let message =
                format!("`{text}` of `{name}` cannot have `{key}`, which {} has not", slot.bus.as_str());
            context.push(Draft::error(codes::BAD_VALUE, entry.key_spot(&["disks", text, key]), message));
        }
        let flag = |on: Option<bool>| on.map(|on| u8::from(on).to_string());
        let options = [
            ("backup", flag(long.backup)),
            ("cache", long.cache.map(|cache| cache.to_string())),
            ("discard", long.discard.map(|on| if on { "on" } else { "ignore" }.to_owned())),
            ("iothread", flag(long.iothread)),
            ("replicate", flag(long.replicate)),
            ("ro", flag(long.read_only)),
            ("serial", long.serial.as_ref().map(|text| text.0.clone())),
            ("ssd", flag(long.ssd)),
        ];
        let options = options.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let storage = long.storage.as_ref().map(|storage| storage.0.clone());
        disks.insert(slot, VmDisk { storage, size_gib: long.size.gib, options });
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
    Some(User { name: name.clone(), keys })
}

/// Exactly one of a device of the node and a mapping.
fn one_of(
    entry: &Entry<'_, GuestSource>,
    what: &str,
    host: Option<&values::Text>,
    mapping: Option<&values::Text>,
    context: &mut Context<'_, '_>,
) -> Option<(&'static str, String)> {
    match (host, mapping) {
        (Some(host), None) => Some(("host", host.0.clone())),
        (None, Some(mapping)) => Some(("mapping", mapping.0.clone())),
        _ => {
            let message = format!("a device of `{what}` has exactly one of `host` and `mapping`");
            context.push(Draft::error(codes::NOT_ONE, entry.key_spot(&[what]), message));
            None
        }
    }
}

fn usb(entry: &Entry<'_, GuestSource>, it: &UsbSource, context: &mut Context<'_, '_>) -> Option<Passed> {
    let device = one_of(entry, "usb", it.host.as_ref(), it.mapping.as_ref(), context)?;
    let mut passed = Passed::from([device]);
    passed.extend(it.usb3.map(|on| ("usb3", u8::from(on).to_string())));
    Some(passed)
}

fn pci(entry: &Entry<'_, GuestSource>, it: &PciSource, context: &mut Context<'_, '_>) -> Option<Passed> {
    let device = one_of(entry, "pci", it.host.as_ref(), it.mapping.as_ref(), context)?;
    let mut passed = Passed::from([device]);
    let flags = [("pcie", it.pcie), ("rombar", it.rombar), ("x-vga", it.primary_gpu)];
    passed.extend(flags.into_iter().filter_map(|(key, on)| Some((key, u8::from(on?).to_string()))));
    Some(passed)
}

fn folder(it: &FolderSource) -> Passed {
    let mut passed = Passed::from([("dirid", it.mapping.0.clone())]);
    passed.extend(it.cache.map(|cache| ("cache", cache.to_string())));
    passed.extend(it.acl.map(|on| ("expose-acl", u8::from(on).to_string())));
    passed
}
