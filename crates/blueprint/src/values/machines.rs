//! What Proxmox VE takes for settings of virtual machines that it has as one text: its API's schema, and what a node of 9.2
//! refused.

use std::fmt;
use std::str::FromStr;

use super::texts::checked_texts;
use super::{ValueError, wrong};
use crate::suggest;

/// The processors that the node has by name (the schema, `reported-model`; beside them QEMU's levels of x86-64).
#[rustfmt::skip]
const PROCESSORS: [&str; 115] = [
    "486", "a64fx", "athlon", "Broadwell", "Broadwell-IBRS", "Broadwell-noTSX", "Broadwell-noTSX-IBRS",
    "Cascadelake-Server", "Cascadelake-Server-noTSX", "Cascadelake-Server-v2", "Cascadelake-Server-v4",
    "Cascadelake-Server-v5", "ClearwaterForest", "ClearwaterForest-v2", "ClearwaterForest-v3", "Conroe",
    "Cooperlake", "Cooperlake-v2", "core2duo", "coreduo", "cortex-a35", "cortex-a53", "cortex-a55",
    "cortex-a57", "cortex-a710", "cortex-a72", "cortex-a76", "cortex-a78ae", "DiamondRapids", "EPYC",
    "EPYC-Genoa", "EPYC-Genoa-v2", "EPYC-IBPB", "EPYC-Milan", "EPYC-Milan-v2", "EPYC-Milan-v3", "EPYC-Rome",
    "EPYC-Rome-v2", "EPYC-Rome-v3", "EPYC-Rome-v4", "EPYC-Rome-v5", "EPYC-Turin", "EPYC-v3", "EPYC-v4",
    "EPYC-v5", "GraniteRapids", "GraniteRapids-v2", "GraniteRapids-v3", "GraniteRapids-v4",
    "GraniteRapids-v5", "Haswell", "Haswell-IBRS", "Haswell-noTSX", "Haswell-noTSX-IBRS", "host",
    "Icelake-Client", "Icelake-Client-noTSX", "Icelake-Server", "Icelake-Server-noTSX", "Icelake-Server-v3",
    "Icelake-Server-v4", "Icelake-Server-v5", "Icelake-Server-v6", "Icelake-Server-v7", "IvyBridge",
    "IvyBridge-IBRS", "KnightsMill", "kvm32", "kvm64", "max", "Nehalem", "Nehalem-IBRS", "neoverse-n1",
    "neoverse-n2", "neoverse-v1", "Opteron_G1", "Opteron_G2", "Opteron_G3", "Opteron_G4", "Opteron_G5",
    "Penryn", "pentium", "pentium2", "pentium3", "phenom", "qemu32", "qemu64", "SandyBridge",
    "SandyBridge-IBRS", "SapphireRapids", "SapphireRapids-v2", "SapphireRapids-v3", "SapphireRapids-v4",
    "SapphireRapids-v5", "SapphireRapids-v6", "SierraForest", "SierraForest-v2", "SierraForest-v3",
    "SierraForest-v4", "SierraForest-v5", "Skylake-Client", "Skylake-Client-IBRS",
    "Skylake-Client-noTSX-IBRS", "Skylake-Client-v4", "Skylake-Server", "Skylake-Server-IBRS",
    "Skylake-Server-noTSX-IBRS", "Skylake-Server-v4", "Skylake-Server-v5", "Westmere", "Westmere-IBRS",
    "x86-64-v2", "x86-64-v2-AES", "x86-64-v3", "x86-64-v4",
];

/// The flags that a machine of its own may set or take away (the node's refusal of another one).
const FLAGS: [&str; 13] = [
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

const GRAPHICS: [&str; 14] = [
    "cirrus",
    "none",
    "qxl",
    "qxl2",
    "qxl3",
    "qxl4",
    "serial0",
    "serial1",
    "serial2",
    "serial3",
    "std",
    "virtio",
    "virtio-gl",
    "vmware",
];

const KEYBOARDS: [&str; 25] = [
    "da", "de", "de-ch", "en-gb", "en-us", "es", "fi", "fr", "fr-be", "fr-ca", "fr-ch", "hu", "is", "it",
    "ja", "lt", "mk", "nl", "no", "pl", "pt", "pt-br", "sl", "sv", "tr",
];

const PLUGGED: [&str; 6] = ["cloudinit", "cpu", "disk", "memory", "network", "usb"];

/// What a part of a property string may be.
#[derive(Clone, Copy)]
enum Part {
    Flag,
    Number(u32, u32),
    Words(&'static [&'static str]),
    /// What this takes, and how people are told it.
    Like(fn(&str) -> bool, &'static str),
}

impl Part {
    fn check(self, name: &str, value: &str) -> Result<(), ValueError> {
        let number = |low: u32, high: u32| value.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n));
        let (good, hint) = match self {
            Self::Flag => (matches!(value, "0" | "1"), "`0` or `1`".to_owned()),
            Self::Number(low, high) => (number(low, high), format!("from {low} to {high}")),
            Self::Words(words) if words.contains(&value) => return Ok(()),
            Self::Words(words) => {
                let such = || format!("such as `{}`", words.first().unwrap_or(&""));
                (false, suggest::hint(value, "it can be", words.iter().copied()).unwrap_or_else(such))
            }
            Self::Like(fits, hint) => (fits(value), hint.to_owned()),
        };
        if good { Ok(()) } else { wrong(format!("`{name}` cannot be `{}`", value.escape_debug()), &hint) }
    }
}

/// Checks a property string, such as `std,memory=32`: the value of the key that may be left out comes first.
fn parts(text: &str, main: &str, known: &[(&str, Part)]) -> Result<(), ValueError> {
    let mut seen = Vec::new();
    for (index, part) in text.split(',').enumerate() {
        let (name, value) = match part.split_once('=') {
            Some(pair) => pair,
            None if index == 0 => (main, part),
            None => {
                return wrong(
                    format!("`{}` says nothing here", part.escape_debug()),
                    "after a comma it is NAME=VALUE",
                );
            }
        };
        let Some((_, form)) = known.iter().find(|(key, _)| *key == name) else {
            let hint = suggest::hint(name, "it can have", known.iter().map(|(key, _)| *key));
            return wrong(
                format!("`{}` cannot have `{}`", text.escape_debug(), name.escape_debug()),
                hint.as_deref().unwrap_or_default(),
            );
        };
        if seen.contains(&name) {
            return wrong(format!("`{name}` is said twice in `{}`", text.escape_debug()), "");
        }
        seen.push(name);
        form.check(name, value)?;
    }
    Ok(())
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `pc`, `q35` or `virt`, perhaps of one version.
fn is_machine(text: &str) -> bool {
    let version = |text: &str| {
        let text = text.strip_suffix(".pxe").unwrap_or(text);
        let (version, pve) = text.split_once("+pve").unwrap_or((text, "0"));
        version.contains('.') && version.split('.').all(digits) && digits(pve)
    };
    let of = |prefix: &str| text.strip_prefix(prefix).is_some_and(version);
    text.len() <= 40
        && (matches!(text, "pc" | "q35" | "virt")
            || ["pc-i440fx-", "pc-q35-", "pc-", "virt-"].into_iter().any(of))
}

fn is_processor(text: &str) -> Result<(), ValueError> {
    let own = text.strip_prefix("custom-").is_some_and(|name| !name.is_empty());
    if own || PROCESSORS.contains(&text) {
        return Ok(());
    }
    let hint = suggest::nearest(text, PROCESSORS).map_or_else(
        || "such as `host` or `x86-64-v2-AES`; one of the node's own begins with `custom-`".to_owned(),
        |name| format!("did you mean `{name}`?"),
    );
    wrong(format!("`{}` is no processor that Proxmox VE knows", text.escape_debug()), &hint)
}

fn are_flags(text: &str) -> Result<(), ValueError> {
    for flag in text.split(';') {
        let name = flag.strip_prefix(['+', '-']);
        if !name.is_some_and(|name| FLAGS.contains(&name)) {
            let hint = match name {
                None => format!("with a sign: `+{flag}` or `-{flag}`"),
                Some(name) => suggest::hint(name, "a machine can have", FLAGS).unwrap_or_default(),
            };
            return wrong(format!("`{}` cannot be a flag of a processor", flag.escape_debug()), &hint);
        }
    }
    Ok(())
}

fn is_identifier(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

checked_texts! {
    /// A machine's serial port: a socket of the node, or one of its devices.
    SerialPort => |text| {
        let device = text.strip_prefix("/dev/").is_some_and(|rest| !rest.is_empty() && !rest.contains(','));
        if text == "socket" || device {
            return Ok(());
        }
        wrong(format!("`{}` cannot be a serial port", text.escape_debug()), "`socket`, or a device of the node such as \"/dev/ttyS0\"")
    };
    /// Processors of the node, such as `0-3,8`.
    Processors => |text| {
        let one = |range: &str| match range.split_once('-') {
            None => digits(range),
            Some((from, to)) => digits(from) && digits(to),
        };
        if text.split(',').all(one) { Ok(()) } else {
            wrong(format!("`{}` names no processors", text.escape_debug()), "numbers and ranges with commas, such as \"0-3,8\"")
        }
    };
    /// The processor that a machine sees.
    Processor => |text| {
        for (index, part) in text.split(',').enumerate() {
            match part.split_once('=') {
                Some(("cputype", kind)) => is_processor(kind)?,
                Some(("flags", flags)) => are_flags(flags)?,
                None if index == 0 => is_processor(part)?,
                _ => {}
            }
        }
        let other = |_: &str| true;
        parts(text, "cputype", &[
            ("cputype", Part::Like(other, "")),
            ("flags", Part::Like(other, "")),
            ("guest-phys-bits", Part::Number(32, 64)),
            ("hidden", Part::Flag),
            ("hv-vendor-id", Part::Like(|id| (1..=12).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()), "1 to 12 letters and digits")),
            ("level", Part::Number(0, u32::MAX)),
            ("phys-bits", Part::Like(|bits| bits == "host" || bits.parse::<u8>().is_ok_and(|n| (8..=64).contains(&n)), "`host`, or from 8 to 64")),
            ("reported-model", Part::Words(&PROCESSORS)),
        ])
    };
    /// The machine that is emulated.
    Machine => |text| parts(text, "type", &[
        ("type", Part::Like(is_machine, "`q35` or `pc`, perhaps of one version: `pc-q35-9.2`")),
        ("aw-bits", Part::Number(32, 64)),
        ("enable-s3", Part::Flag),
        ("enable-s4", Part::Flag),
        ("viommu", Part::Words(&["intel", "virtio"])),
    ]);
    /// A graphics card.
    Graphics => |text| parts(text, "type", &[
        ("type", Part::Words(&GRAPHICS)),
        ("clipboard", Part::Words(&["vnc"])),
        ("memory", Part::Number(4, 512)),
    ]);
    /// What can be changed while a machine runs.
    Hotplug => |text| {
        if matches!(text, "0" | "1") {
            return Ok(());
        }
        text.split(',').try_for_each(|one| Part::Words(&PLUGGED).check("hotplug", one))
    };
    /// A source of randomness.
    Randomness => |text| parts(text, "source", &[
        ("source", Part::Words(&["/dev/urandom", "/dev/random", "/dev/hwrng"])),
        ("max_bytes", Part::Number(0, u32::MAX)),
        ("period", Part::Number(0, u32::MAX)),
    ]);
    /// A watchdog.
    Watchdog => |text| parts(text, "model", &[
        ("model", Part::Words(&["i6300esb", "ib700"])),
        ("action", Part::Words(&["reset", "shutdown", "poweroff", "pause", "debug", "none"])),
    ]);
    /// The layout of a keyboard.
    Keyboard => |text| Part::Words(&KEYBOARDS).check("keyboard", text);
    /// A USB device of the node: by vendor and product, by port, or `spice`.
    UsbHost => |text| {
        let id = |text: &str| hex(text.strip_prefix("0x").unwrap_or(text), 4);
        let device = text.split_once(':').is_some_and(|(vendor, product)| id(vendor) && id(product));
        let port = text.split_once('-').is_some_and(|(bus, port)| digits(bus) && port.split('.').all(digits));
        if device || port || text.eq_ignore_ascii_case("spice") { Ok(()) } else {
            wrong(format!("`{}` is no USB device", text.escape_debug()), "by vendor and product (\"10c4:ea60\"), by port (\"1-2.3\"), or \"spice\"")
        }
    };
    /// A PCI device of the node, or some with semicolons between.
    PciHost => |text| {
        let device = |text: &str| {
            let (address, function) = text.split_once('.').map_or((text, None), |(address, function)| (address, Some(function)));
            let parts: Vec<&str> = address.split(':').collect();
            let (domain, rest) = match parts.as_slice() {
                [domain, rest @ ..] if rest.len() == 2 => (Some(*domain), rest),
                all => (None, all),
            };
            rest.len() == 2
                && rest.iter().all(|part| hex(part, 2))
                && domain.is_none_or(|domain| domain.len() >= 4 && hex(domain, domain.len()))
                && function.is_none_or(|function| hex(function, 1))
        };
        if text.split(';').all(device) { Ok(()) } else {
            wrong(format!("`{}` is no PCI device", text.escape_debug()), "by its address, as `lspci -D` shows it: \"0000:01:00.0\", or \"0000:01:00\" for all of it")
        }
    };
    /// A number of a PCI device: four hexadecimal digits.
    PciId => |text| {
        if text.strip_prefix("0x").is_some_and(|id| hex(id, 4)) { Ok(()) } else {
            wrong(format!("`{}` is no number of a PCI device", text.escape_debug()), "such as \"0x10de\"")
        }
    };
    /// The name of a mapping of the cluster.
    MappingName => |text| {
        if is_identifier(text) { Ok(()) } else {
            wrong(format!("`{}` cannot be the name of a mapping", text.escape_debug()), "two or more letters, digits, `_` and `-`, a letter first")
        }
    };
    /// The serial number of a disk.
    DiskSerial => |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()%".contains(&b);
        if (1..=60).contains(&text.len()) && text.bytes().all(plain) { Ok(()) } else {
            wrong(format!("`{}` cannot be the serial number of a disk", text.escape_debug()), "at most 60 letters, digits and `-_.`")
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::values::check_text;

    /// Recorded of a node of Proxmox VE 9.2: what it took.
    #[test]
    fn what_the_node_takes_is_taken() {
        let took = |kind: &str, texts: &[&str]| {
            for text in texts {
                assert_eq!(check_text(kind, text), Ok(()), "{kind}");
            }
        };
        took("serial-port", &["socket", "/dev/ttyS0"]);
        took("processors", &["0", "0-1", "99", "0-3,8"]);
        took(
            "processor",
            &[
                "host",
                "cputype=kvm64,hidden=1",
                "qemu64,flags=+aes;-pcid",
                "custom-own",
                "max,phys-bits=host",
                "x86-64-v3,hv-vendor-id=abc",
            ],
        );
        took("machine", &["q35", "pc", "pc-i440fx-9.2+pve1", "q35,viommu=intel", "type=q35,aw-bits=39"]);
        took("graphics", &["std", "serial0", "std,memory=32", "type=qxl2", "none"]);
        took("hotplug", &["0", "1", "network,disk,usb", "network,disk,usb,memory,cpu", "cloudinit"]);
        took("randomness", &["/dev/urandom", "source=/dev/random,max_bytes=1024,period=1000"]);
        took("watchdog", &["i6300esb", "model=ib700,action=reset"]);
        took("keyboard", &["de", "pt-br"]);
        took("usb-host", &["10c4:ea60", "0x10c4:0xea60", "1-2.3", "spice", "SPICE"]);
        took("pci-host", &["0000:00:01.0", "00:01", "0000:01:00;0000:02:00"]);
        took("pci-id", &["0x10de"]);
        took("mapping", &["gpu", "zigbee-stick"]);
        took("disk-serial", &["ABC-1.2", "a%20b"]);
        took("storage-name", &["local", "local-zfs", "rec-dir"]);
    }

    /// And what it refused, or its schema does.
    #[test]
    fn what_the_node_refuses_is_refused() {
        let refused = |kind: &str, texts: &[&str]| {
            for text in texts {
                assert!(check_text(kind, text).is_err(), "{kind} {text}");
            }
        };
        refused("serial-port", &["sockets", "ttyS0", "/dev/", "/dev/a,b"]);
        refused("processors", &["x", "0-", "1,,2"]);
        refused(
            "processor",
            &[
                "bogus",
                "custom-",
                "qemu64,flags=+bogus",
                "qemu64,flags=aes",
                "host,hidden=yes",
                "host,bogus=1",
                "host,phys-bits=7",
                "host,host",
            ],
        );
        refused("machine", &["bogus", "q35,viommu=amd", "pc-q35", "q35,type=pc"]);
        refused("graphics", &["bogus", "std,memory=999", "std,memory"]);
        refused("hotplug", &["bogus", "network,bogus", "2"]);
        refused("randomness", &["/dev/zero", "source=/dev/zero"]);
        refused("watchdog", &["bogus", "i6300esb,action=explode"]);
        refused("keyboard", &["xx"]);
        refused("usb-host", &["bogus", "10c4", "10c4:ea6", "1-"]);
        refused("pci-host", &["zz:99", "01", "0000:1:00", "0000:01:00.10"]);
        refused("pci-id", &["10de", "0x10d"]);
        refused("mapping", &["g", "1gpu", "a b"]);
        refused("disk-serial", &["a b", "a,b", ""]);
        refused("storage-name", &["x", "-zfs", "a b", "local-"]);
    }
}
