//! The named formats of single values that only virtual machines have, with the words PVE::QemuServer rejects them with.

use super::super::formats::{Error, list};

/// Names of the formats in this file.
#[cfg(test)]
pub(crate) const NAMES: [&str; 20] = [
    "boot-disk",
    "boot-letters",
    "boot-order",
    "cpu-type",
    "cpuset",
    "drive-source",
    "hotplug-features",
    "machine-type",
    "parallel-device",
    "pci-address",
    "ranges",
    "serial-device",
    "smbios-text",
    "startdate",
    "urlencoded",
    "usb-device",
    "uuid",
    "vm-disk-key",
    "vmgenid",
    "wwn",
];

/// What may be changed while a VM runs (PVE::QemuServer, `parse_hotplug_features`).
pub(super) const HOTPLUG: [&str; 6] = ["network", "disk", "cpu", "memory", "usb", "cloudinit"];

/// The built-in kinds of processors that are known here (PVE::QemuServer::CPUConfig), the usual ones.
const CPUS: [&str; 30] = [
    "486",
    "Broadwell",
    "Cascadelake-Server",
    "Conroe",
    "EPYC",
    "EPYC-Genoa",
    "EPYC-Milan",
    "EPYC-Rome",
    "Haswell",
    "Icelake-Server",
    "IvyBridge",
    "Nehalem",
    "Opteron_G5",
    "Penryn",
    "SandyBridge",
    "Skylake-Client",
    "Skylake-Server",
    "Westmere",
    "athlon",
    "host",
    "kvm32",
    "kvm64",
    "max",
    "pentium3",
    "qemu32",
    "qemu64",
    "x86-64-v2",
    "x86-64-v2-AES",
    "x86-64-v3",
    "x86-64-v4",
];

/// The flags that a VM's own configuration may set.
const CPU_FLAGS: [&str; 13] = [
    "aes",
    "amd-no-ssb",
    "amd-ssbd",
    "hv-evmcs",
    "hv-tlbflush",
    "ibpb",
    "md-clear",
    "nested-virt",
    "pcid",
    "pdpe1gb",
    "spec-ctrl",
    "ssbd",
    "virt-ssbd",
];

/// Checks `value` against the format called `name`; none when it is none of these.
pub(crate) fn check(name: &str, value: &str) -> Option<Result<(), Error>> {
    let refused = |text: String| Err(Error::Format(text));
    let pattern = |good: bool| if good { Ok(()) } else { Err(Error::Pattern) };
    Some(match name {
        "hotplug-features" => {
            if matches!(value, "0" | "1") {
                return Some(Ok(()));
            }
            match list(value).find(|feature| !HOTPLUG.contains(feature)) {
                Some(unknown) => refused(format!("invalid hotplug feature '{unknown}'")),
                None => Ok(()),
            }
        }
        "cpu-type" => cpu(value),
        "cpuset" => match cpuset(value) {
            true => Ok(()),
            false => refused("unable to parse cpuset option".to_owned()),
        },
        "boot-order" => match list(value).find(|device| !boots(device)) {
            Some(device) => refused(format!("invalid boot device '{device}'")),
            None => Ok(()),
        },
        "boot-letters" => {
            pattern((1..=4).contains(&value.len()) && value.chars().all(|c| "acdn".contains(c)))
        }
        "boot-disk" => pattern(boots(value) && !value.starts_with("net") && !value.starts_with("usb")),
        "vm-disk-key" => match super::drive::is_key(value) || is_numbered(value, "unused") {
            true => Ok(()),
            false => Err(Error::Pattern),
        },
        "drive-source" => {
            // A path, a volume, or one of the words for an empty drive and the node's own.
            let volume =
                value.split_once(':').is_some_and(|(storage, rest)| !storage.is_empty() && !rest.is_empty());
            match value.starts_with('/') || matches!(value, "none" | "cdrom") || volume {
                true => Ok(()),
                false => refused(format!("unable to parse volume ID '{value}'")),
            }
        }
        "urlencoded" => {
            let escaped =
                |at: usize| value.get(at + 1..at + 3).is_some_and(|hex| u8::from_str_radix(hex, 16).is_ok());
            let good = value.char_indices().all(|(at, c)| match c {
                '%' => escaped(at),
                c => c.is_ascii_alphanumeric() || "-_.!~*'()".contains(c),
            });
            match good {
                true => Ok(()),
                false => refused(format!("invalid urlencoded string: {value}")),
            }
        }
        "machine-type" => pattern(machine(value)),
        "parallel-device" => pattern(value.starts_with("/dev/parport") || value.starts_with("/dev/usb/lp")),
        "serial-device" => pattern(
            value == "socket"
                || value.strip_prefix("/dev/").is_some_and(|rest| !rest.is_empty() && !rest.contains(',')),
        ),
        "pci-address" => pattern(value.split(';').all(pci)),
        "ranges" => pattern(value.split(';').all(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            is_number(from) && is_number(to)
        })),
        "smbios-text" => pattern(
            !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c)),
        ),
        "startdate" => pattern(value == "now" || date(value)),
        "usb-device" => pattern(usb(value)),
        "uuid" => pattern(uuid(value)),
        "vmgenid" => pattern(matches!(value, "0" | "1") || uuid(value)),
        "wwn" => pattern(value.strip_prefix("0x").is_some_and(|hex| hex.len() == 16 && is_hex(hex))),
        _ => return None,
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `net7` for `net`.
pub(super) fn is_numbered(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(is_number)
}

fn boots(device: &str) -> bool {
    ["ide", "sata", "scsi", "virtio", "net", "usb", "hostpci"].iter().any(|name| is_numbered(device, name))
}

fn uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts.into_iter().all(is_hex)
}

fn date(text: &str) -> bool {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let numbers = |text: &str, by: char| text.split(by).count() == 3 && text.split(by).all(is_number);
    numbers(date, '-') && time.is_none_or(|time| numbers(time, ':'))
}

fn machine(text: &str) -> bool {
    let version = |text: &str| {
        let text = text.strip_suffix(".pxe").unwrap_or(text);
        let (version, pve) = text.split_once("+pve").unwrap_or((text, "0"));
        version.contains('.') && version.split('.').all(is_number) && is_number(pve)
    };
    let rest = |prefix: &str| text.strip_prefix(prefix).is_some_and(version);
    matches!(text, "pc" | "q35" | "virt") || ["pc-i440fx-", "pc-q35-", "pc-", "virt-"].into_iter().any(rest)
}

fn pci(text: &str) -> bool {
    let (text, domain) = match text.split(':').count() {
        3 => text.split_once(':').map_or((text, "0"), |(domain, rest)| (rest, domain)),
        _ => (text, "0"),
    };
    let Some((bus, slot)) = text.split_once(':') else { return false };
    let (slot, function) = slot.split_once('.').unwrap_or((slot, "0"));
    is_hex(domain) && is_hex(bus) && bus.len() == 2 && is_hex(slot) && slot.len() == 2 && is_hex(function)
}

fn usb(text: &str) -> bool {
    let pair = |text: &str| {
        let hex =
            |part: &str| is_hex(part.trim_start_matches("0x")) && part.trim_start_matches("0x").len() == 4;
        text.split_once(':').is_some_and(|(vendor, product)| hex(vendor) && hex(product))
    };
    let port = |text: &str| {
        text.split_once('-').is_some_and(|(bus, ports)| is_number(bus) && ports.split('.').all(is_number))
    };
    text == "spice" || pair(text) || port(text)
}

fn cpuset(text: &str) -> bool {
    text.split(',').all(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        is_number(from) && is_number(to)
    })
}

fn cpu(text: &str) -> Result<(), Error> {
    let refused = |text: String| Err(Error::Format(text));
    for part in text.split(',') {
        match part.split_once('=') {
            None | Some(("cputype", _)) => {
                let kind = part.strip_prefix("cputype=").unwrap_or(part);
                if let Some(name) = kind.strip_prefix("custom-") {
                    return refused(format!("Custom cputype '{name}' not found"));
                }
                if !CPUS.contains(&kind) {
                    return refused(format!(
                        "Built-in cputype '{kind}' is not defined (missing 'custom-' prefix?)"
                    ));
                }
            }
            Some(("flags", flags)) => {
                if flags.split(';').any(|flag| !CPU_FLAGS.contains(&flag.trim_start_matches(['+', '-']))) {
                    let all = CPU_FLAGS.join(", ");
                    return refused(format!("VM-specific CPU flags must be a subset of: {all}"));
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a real node took, and what it refused.
    #[test]
    fn values_are_taken_and_refused_as_by_a_real_node() {
        for (name, value, good) in [
            ("machine-type", "pc-i440fx-9.0+pve1", true),
            ("machine-type", "pc-q35-99.0", true),
            ("machine-type", "bogus", false),
            ("pci-address", "0000:00:01.0", true),
            ("pci-address", "00:01", true),
            ("pci-address", "zz:99", false),
            ("usb-device", "1234:5678", true),
            ("usb-device", "1-1", true),
            ("usb-device", "bogus", false),
            ("boot-order", "scsi0;net0", true),
            ("boot-order", "serial0", false),
            ("hotplug-features", "network,disk,usb,memory,cpu", true),
            ("hotplug-features", "bogus", false),
            ("cpu-type", "x86-64-v2-AES", true),
            ("cpu-type", "cputype=kvm64,hidden=1", true),
            ("cpu-type", "qemu64,flags=+bogus", false),
            ("startdate", "2026-01-01", true),
            ("startdate", "x", false),
            ("smbios-text", "Acme Inc", false),
            ("sshkeys", "", true),
            ("urlencoded", "ssh-ed25519%20AAAA%0A", true),
            ("urlencoded", "ssh-ed25519 AAAA", false),
            ("wwn", "0x5000c500a1b2c3d4", true),
        ] {
            let found = check(name, value).is_none_or(|result| result.is_ok());
            assert_eq!(found, good, "{name} {value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(name in proptest::sample::select(NAMES.to_vec()), value in "\\PC*") {
            let _ = check(name, &value);
        }
    }
}
