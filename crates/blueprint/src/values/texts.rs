//! Values that stay texts, but only of the right form: names, paths, addresses of hosts.

use std::fmt;
use std::str::FromStr;

use super::{ValueError, wrong};
use crate::reads_as_text::reads_as_text;

/// Makes a checked text: a string that was found to have the right form.
macro_rules! checked_texts {
    ($($(#[$doc:meta])* $name:ident => $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub String);

        impl FromStr for $name {
            type Err = ValueError;
            fn from_str(text: &str) -> Result<Self, ValueError> {
                let check: fn(&str) -> Result<(), ValueError> = $check;
                if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                    return wrong(format!("`{}` has control characters in it", text.escape_debug()), "");
                }
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
pub(super) use checked_texts;

/// The line that opens the block with which Phoenix marks a guest in its description.
const MARK: &str = "```phoenix";

/// A text for people in a guest's description. Below it stands Phoenix' own block, which no other one may be taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(pub String);

impl FromStr for Description {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.lines().any(|line| line.trim_end() == MARK) {
            return wrong(
                format!("a description cannot have a line `{MARK}`"),
                "a block that begins so is how Phoenix marks what is its own: quote it in another way",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_texts! {
    /// One part of a DNS name (RFC 1123): lower-case letters, digits, hyphens inside; 1 to 63 characters.
    Label => label;
    /// What Proxmox VE calls a node: its host name as it was given, also with capitals. It is not ours, so it is taken as it
    /// is.
    NodeLabel => |text| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let ends = text.starts_with('-') || text.ends_with('-');
        if text.is_empty() || text.len() > 63 || ends || !text.chars().all(inside) {
            return wrong(format!("`{text}` cannot be the name of a node"), "write it as Proxmox VE shows it, such as \"pve1\" or \"PVE-01\"");
        }
        Ok(())
    };
    /// A DNS name: labels with dots; at most 253 characters (RFC 1035 2.3.4).
    Domain => |text| {
        if text.len() > 253 {
            return wrong(format!("the name `{text}` has {} characters", text.len()), "a DNS name has at most 253");
        }
        text.split('.').try_for_each(|part| label(part).map_err(|e| ValueError {
            message: if part == text { e.message } else { format!("`{text}` is not a domain: {}", e.message) }, hint: e.hint,
        }))
    };
    /// A bridge of the node: a Linux interface name (at most 15 characters).
    Bridge => |text| all(text, 15, "the name of a bridge", "such as \"vmbr0\"", true, |c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    /// A part of a bridge or bond: a link of the node by its name, or by the MAC that its card has (`mac:BC:24:11:00:00:01`), which
    /// stays the same when a new kernel calls it something else.
    PortName => |text| match text.strip_prefix("mac:") {
        Some(mac) => mac.parse::<super::Mac>().map(drop),
        None => all(text, 15, "the name of a link of the node", "such as \"enp5s0\", or \"mac:BC:24:11:00:00:01\"", true, |c| c.is_ascii_alphanumeric() || "_.-".contains(c)),
    };
    /// A device's name inside a guest; Proxmox VE wants 2 to 15 characters.
    DeviceName => |text| {
        if text.len() < 2 {
            return wrong(format!("`{text}` is too short for the name of a device"), "at least 2 characters, such as \"eth0\"");
        }
        all(text, 15, "the name of a device", "such as \"eth0\"", true, |c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    /// An absolute path inside a guest or on the node.
    GuestPath => |text| {
        if !text.starts_with('/') {
            return wrong(format!("`{text}` is not an absolute path"), "begin it with `/`");
        }
        if text == "/" || text.split('/').any(|part| part == ".." || part == ".") || text.contains(',') {
            return wrong(format!("`{text}` cannot be used as a path"), "no `..`, no `.`, no comma, and not `/` itself");
        }
        Ok(())
    };
    /// A device of the node: a path below `/dev` (pve-container, `verify_lxc_dev_string`).
    DevicePath => |text| {
        let plain = text.strip_prefix("/dev/").is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part != ".." && part != ".") && !rest.contains([',', ' '])
        });
        if plain { Ok(()) } else { wrong(format!("`{text}` is not a device of the node"), "such as \"/dev/net/tun\"") }
    };
    /// The mode of a file, in octal digits with a leading zero.
    FileMode => |text| {
        let good = text.len() == 4 && text.starts_with('0') && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if good { Ok(()) } else { wrong(format!("`{text}` is not a mode"), "four octal digits, the first a zero, such as \"0660\"") }
    };
    /// A volume of Proxmox VE: a storage and a name on it.
    VolumeId => |text| {
        let storage = |name: &str| {
            name.len() > 1
                && name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.ends_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        };
        let good = text.split_once(':').is_some_and(|(on, name)| storage(on) && !name.is_empty() && !name.contains(char::is_whitespace));
        if good { Ok(()) } else { wrong(format!("`{text}` is not a volume"), "a storage and a name on it, such as \"local:snippets/hook.sh\"") }
    };
    /// A path below the site's folder.
    SitePath => |text| {
        let hint = "name it relative to the site's folder, such as \"pages/\"";
        if text.trim().is_empty() || text.starts_with('/') || text.starts_with('~') {
            return wrong(format!("`{text}` is not a path below the site's folder"), hint);
        }
        if text.split('/').any(|part| part == "..") {
            return wrong(format!("`{text}` leads outside the site's folder"), hint);
        }
        Ok(())
    };
    /// The path of a web address.
    UrlPath => |text| {
        if !text.starts_with('/') {
            return wrong(format!("`{text}` is not a path"), "begin it with `/`");
        }
        if text.chars().any(char::is_whitespace) {
            return wrong(format!("`{text}` has spaces in it"), "write a space as `%20`");
        }
        Ok(())
    };
    /// The address of a node's API, `https://host:port`.
    Endpoint => |text| {
        let hint = "such as \"https://10.0.0.13:8006\"";
        let Some(rest) = text.strip_prefix("https://") else {
            return wrong(format!("`{text}` is not an https address"), hint);
        };
        if rest.contains('@') {
            return wrong("an address must not hold a user or a password".to_owned(), "use `token`, or `user` and `password`");
        }
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let good_port = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
        if name.is_empty() || !good_port || host.contains(['/', '?', '#']) || host.contains(char::is_whitespace) {
            return wrong(format!("`{text}` is not the address of a node"), hint);
        }
        Ok(())
    };
    /// The SHA-256 fingerprint of a certificate, `AA:BB:…`.
    Fingerprint => |text| {
        let good = text.split(':').filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit())).count();
        if good != 32 || text.len() != 95 {
            return wrong(
                "this is not a SHA-256 fingerprint".to_owned(),
                "32 pairs of hexadecimal digits with colons, as `pvenode cert info` shows on the node",
            );
        }
        Ok(())
    };
    /// Where something is fetched from over the web. Without a user or a password: it is shown, and stands in a task's log.
    HttpUrl => |text| {
        let hint = "such as \"https://images.example.org/debian-13.qcow2\"";
        let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
            return wrong(format!("`{text}` is no web address"), hint);
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return wrong("a web address must not hold a user or a password".to_owned(), "put the file where it can be had without, or upload it: `file`");
        }
        if host.is_empty() || path.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return wrong(format!("`{text}` is not the address of a file"), hint);
        }
        Ok(())
    };
    /// A SHA-256 as hexadecimal digits.
    Sha256 => |text| {
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(());
        }
        wrong(format!("`{text}` is not a SHA-256"), "64 hexadecimal digits, as `sha256sum FILE` prints them")
    };
    /// The digest of an image's manifest in a registry (OCI Image Specification, "Digests").
    ImageDigest => |text| {
        let sum = text.strip_prefix("sha256:").unwrap_or_default();
        if sum.len() == 64 && sum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(());
        }
        wrong(format!("`{}` is not the digest of an image", text.escape_debug()), "phoenix-cli update --write finds it out")
    };
    /// The name of a storage (PVE::JSONSchema, `parse_storage_id`).
    StorageName => |text| {
        let good = text.len() > 1
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        let hint = "at least two of letters, digits and `_.-`; the first is a letter, the last a letter or a digit";
        if good { Ok(()) } else { wrong(format!("`{}` cannot be the name of a storage", text.escape_debug()), hint) }
    };
    /// The name of a project of Docker Compose (Compose Specification, "Name top-level element").
    ProjectName => |text| {
        let hint = "lower-case letters, digits, `-` and `_`; the first is a letter or a digit";
        if text.starts_with(['-', '_']) {
            return wrong(format!("`{text}` cannot be the name of a project"), hint);
        }
        all(text, 63, "the name of a project", hint, false, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    };
    /// A UUID.
    Uuid => |text| {
        let groups: Vec<&str> = text.split('-').collect();
        let fits = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
            && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
        if fits { Ok(()) } else { wrong(format!("`{text}` is not a UUID"), "such as \"7a9c3c1e-5f0b-4c53-9d0a-2f4d6e1b8c77\"") }
    };
    /// The name of an environment variable.
    Variable => |text| all(text, 256, "the name of an environment variable", "such as \"PHOENIX_PVE_TOKEN\"", true, |c| c.is_ascii_alphanumeric() || c == '_');
    /// The name of a generated secret, which is also a file name.
    SecretName => |text| {
        if text.starts_with(['.', '-', '_']) {
            return wrong(format!("`{text}` cannot be the name of a secret"), "begin it with a letter or a digit");
        }
        all(text, 64, "the name of a secret", "letters, digits, `.`, `_` and `-`", false, |c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    /// A user of Proxmox VE with its realm.
    User => |text| match text.rsplit_once('@') {
        Some((name, realm)) if !name.is_empty() && !realm.is_empty() && !text.contains(char::is_whitespace) && !name.contains('@') => Ok(()),
        _ => wrong(format!("`{text}` is not a user with its realm"), "such as \"root@pam\""),
    };
    /// A tag, as Proxmox VE allows it.
    Tag => |text| {
        if text.starts_with(['+', '.', '-']) {
            return wrong(format!("`{text}` cannot be a tag"), "begin it with a letter or a digit");
        }
        all(text, 124, "a tag", "letters, digits and `_+.-`", false, |c| c.is_ascii_alphanumeric() || "_+.-".contains(c))
    };
    /// A kind of file systems, as the kernel has it (pve-container, `mount` of `features`).
    FileSystem => |text| all(text, 64, "a kind of file systems", "letters, digits and `_`, such as \"nfs\"", false, |c| c.is_ascii_alphanumeric() || c == '_');
    /// A resource pool, perhaps in another one (pve-access-control, `pve-poolid`).
    PoolName => |text| {
        let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if text.split('/').count() <= 3 && text.split('/').all(good) { Ok(()) } else {
            wrong(format!("`{text}` cannot be a resource pool"), "letters, digits and `._-`, with `/` between a pool and the one in it")
        }
    };
    /// An IANA time zone.
    Timezone => |text| {
        let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c));
        if text.split('/').all(good) { Ok(()) } else { wrong(format!("`{text}` is not a time zone"), "such as \"Europe/Berlin\" or \"UTC\"") }
    };
    /// Where ssh connects to: `user@host` or `user@host:port`.
    SshDestination => |text| ssh_destination(text).map(drop);
    /// An end of a flow.
    EndName => |text| {
        let hint = "`container.NAME`, `inside`, `outside`, an address such as \"192.168.1.20\", or a subnet such as \"192.168.1.0/24\"";
        let good = matches!(text, "inside" | "outside")
            || text.strip_prefix("container.").is_some_and(|name| label(name).is_ok())
            || text.parse::<super::AddressRange>().is_ok();
        if good { Ok(()) } else { wrong(format!("`{text}` is no end of a flow"), hint) }
    };
    /// A text that says something.
    Text => |text| if text.trim().is_empty() { wrong("the text is empty".to_owned(), "") } else { Ok(()) };
}

reads_as_text! { Label Domain Bridge }

/// Has them written as text.
macro_rules! written_as_text {
    ($($name:ident)*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self)
            }
        }
    )*};
}

written_as_text! { Label Domain Bridge }

impl Default for Domain {
    /// `internal`, the top of private names (resolution of ICANN's board of 29 July 2024).
    fn default() -> Self {
        Self("internal".to_owned())
    }
}

fn label(text: &str) -> Result<(), ValueError> {
    if text.is_empty() {
        return wrong("a name is empty".to_owned(), "");
    }
    if text.len() > 63 {
        return wrong(
            format!("the name `{text}` has {} characters", text.len()),
            "a part of a DNS name has at most 63",
        );
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        let fixed: String = text.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let fixed = fixed.trim_matches('-');
        let hint = if fixed.is_empty() { String::new() } else { format!("such as `{fixed}`") };
        return wrong(
            format!("`{}` cannot be a DNS name because of `{}`", text.escape_debug(), c.escape_debug()),
            &hint,
        );
    }
    if text.starts_with('-') || text.ends_with('-') {
        return wrong(format!("`{text}` cannot be a DNS name: a hyphen stands at its end"), "");
    }
    Ok(())
}

fn all(
    text: &str,
    most: usize,
    what: &str,
    hint: &str,
    letter_first: bool,
    allowed: fn(char) -> bool,
) -> Result<(), ValueError> {
    let first = text.chars().next().is_some_and(|c| !letter_first || c.is_ascii_alphabetic() || c == '_');
    if first && text.len() <= most && text.chars().all(allowed) {
        return Ok(());
    }
    wrong(format!("`{text}` cannot be {what}"), hint)
}

/// Splits `user@host:port`; the port is 22 where none is given, the user `root`.
pub(crate) fn ssh_destination(text: &str) -> Result<(String, u16), ValueError> {
    let hint = "such as \"root@10.0.0.13\" or \"root@10.0.0.13:22\"";
    let (destination, port) = match text.split_once(':') {
        None => (text, 22),
        Some((destination, port)) => match port.parse::<u16>() {
            Ok(port) if port > 0 => (destination, port),
            _ => return wrong(format!("`{port}` is not a port"), hint),
        },
    };
    let (user, host) = destination.split_once('@').unwrap_or(("root", destination));
    // A leading hyphen would be read as an option by ssh.
    let good = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.contains(['@', '/'])
            && !part.contains(char::is_whitespace)
    };
    if good(user) && good(host) {
        Ok((format!("{user}@{host}"), port))
    } else {
        wrong(format!("`{text}` is not a destination for ssh"), hint)
    }
}
