//! The names of a guest's settings as Proxmox VE 9.2 has them (its API schema, `PUT …/config`), for the key `settings`: what
//! has no key of its own in blueprints can be set under its own name.
//!
//! A kind of guest has a table of its own ([`of`]). Who carries a setting out has a row for each that is [`Covered::Open`].

use crate::model::GuestKind;
use crate::suggest;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// `0` or `1`.
    Flag,
    /// A whole number from one to another.
    Integer(i64, i64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A line of text.
    Line,
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
    /// Whether a number follows.
    pub numbered: bool,
    /// What its value may be.
    pub form: Form,
    /// Whether it can be said.
    pub covered: Covered,
}

const fn open(name: &'static str, form: Form) -> Setting {
    Setting { name, numbered: false, form, covered: Covered::Open }
}

const fn by(name: &'static str, key: &'static str) -> Setting {
    Setting { name, numbered: false, form: Form::Typed, covered: Covered::By(key) }
}

const fn numbered(name: &'static str, key: &'static str) -> Setting {
    Setting { name, numbered: true, form: Form::Typed, covered: Covered::By(key) }
}

const fn refused(name: &'static str, why: &'static str) -> Setting {
    Setting { name, numbered: false, form: Form::Typed, covered: Covered::Refused(why) }
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
    numbered("dev", "devices"),
    open("entrypoint", Form::Line),
    open("env", Form::Environment),
    by("features", "options"),
    by("hookscript", "hookscript"),
    by("hostname", "hostname"),
    refused("lock", "a lock is taken and given back by whoever works on the guest"),
    by("memory", "memory"),
    numbered("mp", "mounts"),
    by("nameserver", "nameservers"),
    numbered("net", "networks"),
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

/// The settings of a kind of guest. Blueprints have none of virtual machines yet.
pub fn of(kind: GuestKind) -> &'static [Setting] {
    match kind {
        GuestKind::Container => &CONTAINER,
        GuestKind::Vm => &[],
    }
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

/// Checks a setting's name and value.
pub(crate) fn check(all: &[Setting], name: &str, value: &str) -> Result<(), Wrong> {
    let wrong = |message: String, hint: Option<String>, name| Err(Wrong { message, hint, name });
    let shown = name.escape_debug();
    let Some(setting) = all.iter().find(|setting| setting.is(name)) else {
        let open = all.iter().filter(|it| it.covered == Covered::Open).map(|it| it.name);
        let hint = suggest::hint(name, "known here", open);
        return wrong(format!("Proxmox VE has no setting `{shown}` that can be said here"), hint, true);
    };
    match setting.covered {
        Covered::Open => {}
        Covered::By(key) => {
            return wrong(
                format!("`{shown}` has a key of its own in blueprints"),
                Some(format!("say it with `{key}`: phoenix-cli explain containers.{key}")),
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

impl Setting {
    /// Whether it is the one of this name.
    fn is(&self, name: &str) -> bool {
        let number = |rest: &str| rest.parse::<u8>().is_ok_and(|n| n.to_string() == rest);
        match name.strip_prefix(self.name) {
            Some(rest) if self.numbered => number(rest),
            Some(rest) => rest.is_empty(),
            None => false,
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
        let all = of(GuestKind::Container);
        let check = |name, value| check(all, name, value);
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
}
