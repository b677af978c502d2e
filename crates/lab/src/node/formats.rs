//! The named formats of single values, with the words PVE::JSONSchema and its users reject them with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proxmox::property::Size;
pub(crate) use proxmox::property::list;

use super::access::Privileges;

/// Why a value is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// A format's own words.
    Format(String),
    /// A regular expression did not match.
    Pattern,
}

#[cfg(test)]
const NAMES: [&str; 36] = [
    "absolute-path",
    "address-list",
    "certificate-fingerprint",
    "config-id-list",
    "device",
    "disk-key",
    "disk-size",
    "dns-name",
    "dns-name-list",
    "growth",
    "http-url",
    "ipv4",
    "ipv4-config",
    "ipv6",
    "ipv6-config",
    "mac",
    "mount-source",
    "mount-target",
    "node",
    "pem-certificate-chain",
    "pem-string",
    "poolid",
    "privileges",
    "prune-backups",
    "roleid",
    "startup",
    "storage-content",
    "storage-id",
    "tag-list",
    "timezone",
    "tokenid",
    "userid",
    "vmid",
    "volume-id",
    "word",
    "word-list",
];

/// Whether a format of this name is known.
#[cfg(test)]
pub(crate) fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || super::qemu::formats::NAMES.contains(&name)
}

/// Checks `value` against the format called `name`.
pub(crate) fn check(name: &str, value: &str) -> Result<(), Error> {
    let ok = |good: bool, text: &str| if good { Ok(()) } else { Err(Error::Format(text.to_owned())) };
    match name {
        "vmid" => ok(vmid(value), "value does not look like a valid VM ID"),
        "http-url" => match ["http://", "https://"].iter().any(|scheme| value.starts_with(scheme)) {
            true => Ok(()),
            false => Err(Error::Pattern),
        },
        "node" => ok(proxmox::is_node_name(value), "value does not look like a valid node name"),
        "storage-id" => storage_id(value),
        "absolute-path" => ok(value.starts_with('/'), "value does not look like a valid absolute path"),
        "certificate-fingerprint" => pattern(
            value.split(':').count() == 32
                && value
                    .split(':')
                    .all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit())),
        ),
        "storage-content" => match list(value).find(|one| !CONTENT.contains(one)) {
            Some(unknown) => Err(Error::Format(format!("invalid content type '{unknown}'"))),
            None => Ok(()),
        },
        "prune-backups" => prune_backups(value),
        "poolid" => ok(poolid(value), "value does not look like a valid pool name"),
        "userid" => ok(userid(value), &format!("value '{value}' does not look like a valid user name")),
        "roleid" => ok(plain(value), &format!("role name '{value}' contains invalid characters")),
        "privileges" => match list(value).find(|name| Privileges::named(name).is_none()) {
            Some(unknown) => Err(Error::Format(format!("invalid privilege '{unknown}'"))),
            None => Ok(()),
        },
        "dns-name" => ok(dns_name(value) && value.len() <= 255, "value does not look like a valid DNS name"),
        "dns-name-list" => ok(list(value).all(dns_name), "value does not look like a valid DNS name"),
        "address-list" => ok(
            list(value).all(|one| one == "host" || address(one)),
            "value does not look like a valid IP address",
        ),
        "ipv4" => ok(value.parse::<Ipv4Addr>().is_ok(), "value does not look like a valid IPv4 address"),
        "ipv6" => ok(value.parse::<Ipv6Addr>().is_ok(), "value does not look like a valid IPv6 address"),
        "ipv4-config" => ok(
            matches!(value, "dhcp" | "manual") || cidr::<Ipv4Addr>(value, 32),
            "value does not look like a valid ipv4 network configuration",
        ),
        "ipv6-config" => ok(
            matches!(value, "auto" | "dhcp" | "manual") || cidr::<Ipv6Addr>(value, 128),
            "value does not look like a valid ipv6 network configuration",
        ),
        "mac" => ok(mac(value), "value does not look like a valid unicast MAC address"),
        "tag-list" => ok(list(value).all(tag), "invalid characters in tag"),
        "startup" => ok(startup(value), "unable to parse startup options"),
        "volume-id" => ok(
            value
                .split_once(':')
                .is_some_and(|(storage, name)| storage_id(storage).is_ok() && !name.is_empty()),
            &format!("unable to parse volume ID '{value}'"),
        ),
        "pem-certificate-chain" => ok(pem(value, Some("CERTIFICATE")), "not a valid PEM-formatted string."),
        "pem-string" => ok(pem(value, None), "not a valid PEM-formatted string."),
        "timezone" => ok(timezone(value), &format!("invalid time zone '{value}'")),
        "config-id-list" => ok(list(value).all(config_id), "invalid configuration ID"),
        "disk-size" => ok(parse_size(value).is_some(), "value does not look like a valid disk size"),
        "mount-source" | "mount-target" | "device" => ok(
            !value.is_empty() && !value.split('/').any(|part| part == ".."),
            "value does not look like a valid path",
        ),
        // What the schema gives as a regular expression or as a list of values.
        "tokenid" => pattern(tokenid(value)),
        "word" => pattern(!value.is_empty() && value.chars().all(word_char)),
        "word-list" => {
            pattern(value.split(';').all(|one| !one.is_empty() && one.chars().all(|c| c.is_ascii_digit())))
        }
        "growth" => pattern(parse_size(value.strip_prefix('+').unwrap_or(value)).is_some()),
        "disk-key" => {
            let numbered =
                value.strip_prefix("mp").and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n < 256);
            if value == "rootfs" || numbered { Ok(()) } else { Err(Error::Pattern) }
        }
        _ => super::qemu::formats::check(name, value).unwrap_or(Ok(())),
    }
}

fn pattern(good: bool) -> Result<(), Error> {
    if good { Ok(()) } else { Err(Error::Pattern) }
}

/// Whether a text is PEM after what leads to its first block: one block of any kind, or several of one `label`
/// (`PVE::Certificate::check_pem`).
fn pem(value: &str, label: Option<&str>) -> bool {
    let Some(at) = value.find("-----BEGIN ") else { return false };
    let (mut open, mut blocks) = (false, 0);
    for line in value[at..].lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let edge = |edge: &str| {
            let name = line.strip_prefix(edge).and_then(|rest| rest.strip_suffix("-----"));
            name.is_some_and(|name| label.is_none_or(|label| name == label))
        };
        let good = if !open {
            open = true;
            edge("-----BEGIN ")
        } else if edge("-----END ") {
            open = false;
            blocks += 1;
            true
        } else {
            line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
        };
        if !good {
            return false;
        }
    }
    !open && (blocks == 1 || label.is_some())
}

fn word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(word_char)
}

fn vmid(value: &str) -> bool {
    value.parse::<u32>().is_ok_and(|id| (100..=999_999_999).contains(&id)) && !value.starts_with('+')
}

fn storage_id(value: &str) -> Result<(), Error> {
    if value.chars().count() < 2 {
        return Err(Error::Format(format!("storage ID '{value}' cannot be shorter than 2 characters")));
    }
    let good = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.ends_with(|c: char| c.is_ascii_alphanumeric())
        && value.chars().all(word_char);
    if good {
        Ok(())
    } else {
        Err(Error::Format(format!("storage ID '{value}' contains illegal characters")))
    }
}

fn poolid(value: &str) -> bool {
    let parts: Vec<&str> = value.split('/').collect();
    parts.len() <= 3 && parts.into_iter().all(plain)
}

fn userid(value: &str) -> bool {
    value.split_once('@').is_some_and(|(name, realm)| {
        !name.is_empty() && !name.contains([':', '/', ' ', '\n']) && tokenid(realm) && value.len() <= 64
    })
}

fn tokenid(value: &str) -> bool {
    value.len() >= 2 && value.starts_with(|c: char| c.is_ascii_alphabetic()) && value.chars().all(word_char)
}

fn config_id(value: &str) -> bool {
    value.len() >= 2
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn dns_label(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 63
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !value.starts_with('-')
        && !value.ends_with('-')
}

fn dns_name(value: &str) -> bool {
    value.split('.').all(dns_label)
}

fn address(value: &str) -> bool {
    value.split_once('%').map_or(value, |(address, _)| address).parse::<IpAddr>().is_ok()
}

fn cidr<A: std::str::FromStr>(value: &str, longest: u8) -> bool {
    value.split_once('/').is_some_and(|(address, length)| {
        address.parse::<A>().is_ok() && length.parse::<u8>().is_ok_and(|n| n >= 1 && n <= longest)
    })
}

fn mac(value: &str) -> bool {
    let parts: Vec<u8> = value.split(':').filter_map(|part| u8::from_str_radix(part, 16).ok()).collect();
    value.len() == 17 && parts.len() == 6 && parts.first().is_some_and(|first| first & 1 == 0)
}

fn tag(value: &str) -> bool {
    let mut chars = value.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.'))
}

fn startup(value: &str) -> bool {
    value.split(',').filter(|part| !part.is_empty()).all(|part| {
        let (key, number) = part.split_once('=').unwrap_or(("order", part));
        matches!(key, "order" | "up" | "down") && number.parse::<u32>().is_ok()
    })
}

fn timezone(value: &str) -> bool {
    value == "host" || jiff::tz::TimeZone::get(value).is_ok()
}

/// A size with a binary unit: `2G`, `512M`, bytes when bare.
pub(crate) fn parse_size(value: &str) -> Option<u64> {
    value.parse::<Size>().ok().map(|size| size.0)
}

/// Prints a size with the largest unit that divides it.
pub(crate) fn print_size(bytes: u64) -> String {
    Size(bytes).to_string()
}

/// What may lie on storages (PVE::Storage::Plugin, `$vtype_to...`).
const CONTENT: [&str; 8] = ["images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"];

/// Which backups stay, in the words of PVE::JSONSchema (recorded: "create dir prune bogus", "keep-all and others").
fn prune_backups(value: &str) -> Result<(), Error> {
    let mut seen = Vec::new();
    for part in value.split(',') {
        let (key, count) = part.split_once('=').unwrap_or((part, ""));
        if count.parse::<u32>().is_err() {
            return Err(Error::Format(format!(
                "format error\nprune-backups.{key}: type check ('integer') failed - got '{count}'"
            )));
        }
        seen.push(key);
    }
    match seen.contains(&"keep-all") && seen.len() > 1 {
        true => Err(Error::Format("keep-all cannot be set together with other options.".to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn storage_ids_are_refused_in_the_nodes_words() {
        let text = |value| match storage_id(value) {
            Err(Error::Format(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text("z"), "storage ID 'z' cannot be shorter than 2 characters");
        assert_eq!(text("9x"), "storage ID '9x' contains illegal characters");
    }

    #[test]
    fn names_and_addresses() {
        assert!(check("dns-name", "bad_name!").is_err());
        assert!(check("dns-name", "ct201.workshop.internal").is_ok());
        assert!(check("ipv4-config", "10.0.0.300/24").is_err());
        assert!(check("mac", "BC:24:11:00:00:01").is_ok());
        assert!(check("mac", "01:24:11:00:00:01").is_err());
        assert!(check("privileges", "VM.Monitor,VM.Nope").is_err());
    }

    proptest! {
        #[test]
        fn sizes_print_back(bytes in 0u64..(1 << 50)) {
            prop_assert_eq!(parse_size(&print_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_value_panics(name in proptest::sample::select(NAMES.to_vec()), value in "\\PC*") {
            let _ = check(name, &value);
        }
    }
}
