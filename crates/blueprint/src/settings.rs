//! The names of a guest's settings as Proxmox VE 9.2 has them (its API schema, `PUT …/config`), for the key `settings`: what
//! has no key of its own in blueprints can be set under its own name.
//!
//! A kind of guest has a table of its own ([`of`]). Who carries a setting out has a row for each that is [`Covered::Open`].

use crate::model::GuestKind;
use crate::suggest;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// `0` or `1`.
    Flag,
    /// A whole number from one to another.
    Integer(i64, i64),
    /// A number from zero to this, which need not be whole.
    Decimal(f64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A line of text.
    Line,
    /// What such a function takes, and how people are told that.
    Pattern(fn(&str) -> bool, &'static str),
    /// A program's environment: `NAME=VALUE`, one a line, in ASCII (the node writes others in an encoding of its own, and
    /// then does not start the guest: recorded, "env with umlauts").
    Environment,
    /// Whatever the key of its own takes.
    Typed,
}

/// Whether a setting can be said by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covered {
    /// It can.
    Open,
    /// This key of the blueprint says it.
    By(&'static str),
    /// It is nobody's to say, for this reason.
    Refused(&'static str),
}

/// A setting of a guest.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name; of numbered ones the part before the number.
    pub name: &'static str,
    /// The highest number that follows it; none where it stands alone.
    pub numbered: Option<u8>,
    /// What its value may be.
    pub form: Form,
    /// Whether it can be said.
    pub covered: Covered,
}

const fn open(name: &'static str, form: Form) -> Setting {
    Setting { name, numbered: None, form, covered: Covered::Open }
}

const fn by(name: &'static str, key: &'static str) -> Setting {
    Setting { name, numbered: None, form: Form::Typed, covered: Covered::By(key) }
}

const fn numbered(name: &'static str, highest: u8, key: &'static str) -> Setting {
    Setting { numbered: Some(highest), ..by(name, key) }
}

const fn refused(name: &'static str, why: &'static str) -> Setting {
    Setting { name, numbered: None, form: Form::Typed, covered: Covered::Refused(why) }
}

const OSTYPES: &[&str] = &[
    "debian",
    "devuan",
    "ubuntu",
    "centos",
    "fedora",
    "opensuse",
    "archlinux",
    "alpine",
    "gentoo",
    "nixos",
    "unmanaged",
];

/// Those of containers.
static CONTAINER: [Setting; 31] = [
    open("arch", Form::Words(&["amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"])),
    by("cmode", "console.mode"),
    by("console", "console.device"),
    by("cores", "cores"),
    by("cpulimit", "cpulimit"),
    by("cpuunits", "cpuunits"),
    open("debug", Form::Flag),
    by("description", "description"),
    numbered("dev", 255, "devices"),
    open("entrypoint", Form::Line),
    open("env", Form::Environment),
    by("features", "options"),
    by("hookscript", "hookscript"),
    by("hostname", "hostname"),
    refused("lock", "a lock is taken and given back by whoever works on the guest"),
    by("memory", "memory"),
    numbered("mp", 255, "mounts"),
    by("nameserver", "nameservers"),
    numbered("net", 31, "networks"),
    by("onboot", "onboot"),
    open("ostype", Form::Words(OSTYPES)),
    by("protection", "protected"),
    by("rootfs", "disk"),
    by("searchdomain", "search-domains"),
    by("startup", "startup"),
    by("swap", "swap"),
    by("tags", "tags"),
    refused("template", "a template cannot run"),
    by("timezone", "timezone"),
    by("tty", "console.terminals"),
    by("unprivileged", "unprivileged"),
];

const DATES: Form = Form::Pattern(is_start_date, "`now`, `2026-06-17` or `2026-06-17T16:01:21`");

/// Those of virtual machines.
static VM: [Setting; 81] = [
    by("acpi", "acpi"),
    by("affinity", "affinity"),
    by("agent", "agent"),
    open("allow-ksm", Form::Flag),
    open("amd-sev", Form::Line),
    open("arch", Form::Words(&["x86_64", "aarch64"])),
    open("args", Form::Line),
    open("audio0", Form::Line),
    open("autostart", Form::Flag),
    by("balloon", "balloon"),
    by("bios", "bios"),
    by("boot", "boot"),
    by("bootdisk", "boot"),
    by("cdrom", "iso"),
    open("cicustom", Form::Line),
    by("cipassword", "user.password"),
    open("citype", Form::Words(&["configdrive2", "nocloud", "opennebula"])),
    open("ciupgrade", Form::Flag),
    by("ciuser", "user.name"),
    by("cores", "cores"),
    by("cpu", "cpu"),
    by("cpulimit", "cpulimit"),
    by("cpuunits", "cpuunits"),
    by("description", "description"),
    by("efidisk0", "uefi"),
    open("freeze", Form::Flag),
    by("hookscript", "hookscript"),
    numbered("hostpci", 15, "pci"),
    by("hotplug", "hotplug"),
    by("hugepages", "hugepages"),
    numbered("ide", 3, "disks"),
    open("intel-tdx", Form::Line),
    numbered("ipconfig", 31, "networks"),
    open("ivshmem", Form::Line),
    open("keephugepages", Form::Flag),
    by("keyboard", "keyboard"),
    by("kvm", "kvm"),
    by("localtime", "localtime"),
    refused("lock", "a lock is taken and given back by whoever works on the guest"),
    by("machine", "machine"),
    by("memory", "memory"),
    open("migrate_downtime", Form::Decimal(2000.0)),
    open("migrate_speed", Form::Integer(0, i32::MAX as i64)),
    by("name", "hostname"),
    by("nameserver", "nameservers"),
    numbered("net", 31, "networks"),
    by("numa", "numa"),
    Setting { numbered: Some(7), ..open("numa", Form::Line) },
    by("onboot", "onboot"),
    by("ostype", "os"),
    Setting { numbered: Some(2), ..open("parallel", Form::Line) },
    by("protection", "protected"),
    open("reboot", Form::Flag),
    by("rng0", "rng"),
    numbered("sata", 5, "disks"),
    numbered("scsi", 30, "disks"),
    by("scsihw", "scsi-controller"),
    by("searchdomain", "search-domains"),
    numbered("serial", 3, "serial"),
    by("shares", "shares"),
    by("smbios1", "smbios"),
    by("smp", "cores"),
    by("sockets", "sockets"),
    open("spice_enhancements", Form::Line),
    by("sshkeys", "user.ssh-keys"),
    open("startdate", DATES),
    by("startup", "startup"),
    by("tablet", "tablet"),
    by("tags", "tags"),
    open("tdf", Form::Flag),
    refused("template", "a template cannot run"),
    by("tpmstate0", "tpm"),
    Setting { numbered: Some(255), ..refused("unused", "the node writes it, where a disk is taken out") },
    numbered("usb", 13, "usb"),
    by("vcpus", "vcpus"),
    by("vga", "vga"),
    numbered("virtio", 15, "disks"),
    numbered("virtiofs", 9, "folders"),
    refused("vmgenid", "the node draws it, and draws it anew where the guest is copied"),
    open("vmstatestorage", Form::Line),
    by("watchdog", "watchdog"),
];

/// The settings of a kind of guest.
pub fn of(kind: GuestKind) -> &'static [Setting] {
    match kind {
        GuestKind::Container => &CONTAINER,
        GuestKind::Vm => &VM,
    }
}

/// `startdate` of the API's schema.
fn is_start_date(text: &str) -> bool {
    let numbers = |text: &str, by: char, digits: [usize; 3]| {
        let all: Vec<&str> = text.split(by).collect();
        all.len() == 3
            && all.iter().zip(digits).all(|(part, most)| {
                (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
            })
    };
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    text == "now" || (numbers(date, '-', [4, 2, 2]) && time.is_none_or(|time| numbers(time, ':', [2, 2, 2])))
}

/// Why a setting cannot be said so, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is wrong, naming the setting.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether it is the name, not the value.
    pub name: bool,
}

/// Checks a setting's name and value for whichever of these kinds; what is wrong is told of the one that it was meant for, as
/// far as that can be seen.
pub(crate) fn check_any(kinds: &[GuestKind], name: &str, value: &str) -> Result<(), Wrong> {
    let mut all: Vec<Wrong> = Vec::new();
    for kind in kinds {
        match check(*kind, name, value) {
            Ok(()) => return Ok(()),
            Err(wrong) => all.push(wrong),
        }
    }
    // A list of all names says less than one that is nearly the same.
    let lists = |wrong: &Wrong| wrong.hint.as_ref().is_none_or(|hint| hint.starts_with("known here"));
    all.sort_by_key(|wrong| (wrong.name, lists(wrong)));
    all.into_iter().next().map_or(Ok(()), Err)
}

/// Checks a setting's name and value.
pub(crate) fn check(kind: GuestKind, name: &str, value: &str) -> Result<(), Wrong> {
    let all = of(kind);
    let wrong = |message: String, hint: Option<String>, name| Err(Wrong { message, hint, name });
    let shown = name.escape_debug();
    let Some(setting) = all.iter().find(|setting| setting.is(name)) else {
        let open = all.iter().filter(|it| it.covered == Covered::Open);
        let names: Vec<String> = open
            .map(|it| if it.numbered.is_some() { format!("{}0", it.name) } else { it.name.to_owned() })
            .collect();
        let hint = suggest::hint(name, "known here", names.iter().map(String::as_str));
        return wrong(format!("Proxmox VE has no setting `{shown}` that can be said here"), hint, true);
    };
    match setting.covered {
        Covered::Open => {}
        Covered::By(key) => {
            return wrong(
                format!("`{shown}` has a key of its own in blueprints"),
                Some(format!("say it with `{key}`: phoenix-cli explain {}.{key}", kind.key())),
                true,
            );
        }
        Covered::Refused(why) => {
            return wrong(format!("`{shown}` cannot be set by a blueprint"), Some(why.to_owned()), true);
        }
    }
    match setting.form.expects(value) {
        None => Ok(()),
        Some(expects) => {
            let message = format!("the setting `{shown}` cannot be `{}`", value.escape_debug());
            wrong(message, Some(expects), false)
        }
    }
}

/// What is expected of a value of this form, where it is not that.
pub(crate) fn expects(form: Form, value: &str) -> Option<String> {
    form.expects(value)
}

impl Setting {
    /// Whether it is the one of this name.
    fn is(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.name) else { return false };
        match self.numbered {
            None => rest.is_empty(),
            Some(highest) => rest.parse::<u8>().is_ok_and(|n| n <= highest && n.to_string() == rest),
        }
    }
}

impl Form {
    /// What is expected, where a value is not that.
    fn expects(self, value: &str) -> Option<String> {
        let plain = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        let (good, expects) = match self {
            Self::Flag => (matches!(value, "0" | "1"), "`0` or `1`".to_owned()),
            Self::Integer(low, high) => (
                value.parse::<i64>().is_ok_and(|n| (low..=high).contains(&n)),
                format!("a whole number from {low} to {high}"),
            ),
            Self::Decimal(high) => (
                value.parse::<f64>().is_ok_and(|n| (0.0..=high).contains(&n)),
                format!("a number from 0 to {high}"),
            ),
            Self::Pattern(fits, expects) => (fits(value), expects.to_owned()),
            Self::Words(words) => {
                let all: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                (words.contains(&value), format!("one of {}", all.join(", ")))
            }
            Self::Line => (plain(value), "one line of text".to_owned()),
            Self::Environment => {
                let named = |line: &str| {
                    line.split_once('=').is_some_and(|(name, _)| {
                        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    })
                };
                let all = value.lines().all(|line| line.is_ascii() && plain(line) && named(line));
                (all && !value.is_empty(), "`NAME=VALUE`, one a line, in ASCII".to_owned())
            }
            Self::Typed => (true, String::new()),
        };
        (!good).then_some(expects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let check = |name, value| check(GuestKind::Container, name, value);
        for (name, value) in [
            ("debug", "1"),
            ("arch", "arm64"),
            ("env", "A=1\nB=two words"),
            ("entrypoint", "/bin/sh -c x"),
            ("ostype", "alpine"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        for (name, value) in [
            ("debug", "yes"),
            ("arch", "sparc"),
            ("env", "NOEQUAL"),
            ("env", "Ä=1"),
            ("env", ""),
            ("entrypoint", "a\nb"),
        ] {
            assert!(!check(name, value).unwrap_err().name, "{name}: {value}");
        }
        let hint = |name| check(name, "1").unwrap_err().hint.unwrap_or_default();
        assert!(hint("memory").contains("`memory`") && hint("net0").contains("`networks`"));
        assert!(hint("debugg").contains("`debug`"), "{}", hint("debugg"));
        assert!(
            check("net", "1").is_err() && check("net01", "1").is_err() && check("lock", "backup").is_err()
        );
    }
    #[test]
    fn those_of_virtual_machines() {
        let check = |name, value| check(GuestKind::Vm, name, value);
        for (name, value) in [
            ("numa0", "cpus=0-1,memory=512"),
            ("parallel2", "/dev/parport0"),
            ("args", "-device virtio-balloon"),
            ("migrate_downtime", "0.5"),
            ("startdate", "2026-06-17T16:01:21"),
            ("startdate", "now"),
        ] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        for (name, value) in [("startdate", "today"), ("startdate", "2026-06"), ("migrate_downtime", "-1")] {
            assert!(!check(name, value).unwrap_err().name, "{name}: {value}");
        }
        for (name, key) in [
            ("scsi3", "disks"),
            ("numa", "numa"),
            ("cipassword", "user.password"),
            ("name", "hostname"),
            ("smbios1", "smbios"),
        ] {
            let wrong = check(name, "1").unwrap_err();
            assert!(wrong.name && wrong.hint.unwrap_or_default().contains(&format!("vms.{key}")), "{name}");
        }
        assert!(check("audio1", "1").unwrap_err().hint.unwrap_or_default().contains("`audio0`"));
        for name in ["numa8", "parallel3", "vmgenid", "unused0", "delete", "digest", "swap"] {
            assert!(check(name, "1").unwrap_err().name, "{name}");
        }
    }
}
