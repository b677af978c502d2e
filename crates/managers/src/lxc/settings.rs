//! A container's settings as Proxmox VE writes them: key to property string.

use std::collections::BTreeMap;

use blueprint::model::{Mount, MountSource, Startup};
use plan::desired::{Guest as Container, Nic};
use plan::inventory::Inventory;

/// Which changes a token may not make, and why: `old` is what is in force, `new` what is wanted, absent where the key
/// goes. Source: pve-container, `check_ct_modify_config_perm`, and Proxmox VE's own answers, "An API token of root@pam is
/// not root@pam" (T-6).
pub fn needs_root(
    key: &str,
    old: Option<&str>,
    new: Option<&str>,
    unprivileged: bool,
) -> Option<&'static str> {
    if key == "features" {
        let (old, new) = (old.map(parts).unwrap_or_default(), new.map(parts).unwrap_or_default());
        // What differs counts, so taking a flag away takes root just as giving it does.
        let only_nesting = old.keys().chain(new.keys()).all(|k| k == "nesting" || old.get(k) == new.get(k));
        return match (unprivileged, only_nesting) {
            (true, true) => None,
            (true, false) => Some("feature flags other than nesting are root@pam's to set"),
            (false, _) => Some("feature flags of a privileged container are root@pam's to set"),
        };
    }
    let host_folder = new
        .and_then(|v| v.split(',').next())
        .is_some_and(|v| v.starts_with('/') || v.starts_with("volume=/"));
    (key.starts_with("mp") && host_folder).then_some("mounting a folder of the node is root@pam's to do")
}

/// A property string as a map; the part without a key is under the empty key.
pub fn parts(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter(|p| !p.is_empty())
        .map(|p| {
            p.split_once('=').map_or((String::new(), p.to_owned()), |(k, v)| (k.to_owned(), v.to_owned()))
        })
        .collect()
}

/// A map as a property string: the part without a key first.
pub fn join(parts: &BTreeMap<String, String>) -> String {
    parts
        .iter()
        .map(|(k, v)| if k.is_empty() { v.clone() } else { format!("{k}={v}") })
        .collect::<Vec<_>>()
        .join(",")
}

/// A network device; keys Phoenix has no word for are kept as they are in `there`.
pub fn net(nic: &Nic, there: Option<&str>) -> String {
    let mut all = there.map(parts).unwrap_or_default();
    all.retain(|k, _| {
        !matches!(k.as_str(), "" | "name" | "bridge" | "hwaddr" | "ip" | "gw" | "tag" | "firewall" | "mtu")
    });
    // Always with the MAC: without it the node would draw a new one (T-8).
    let mut text = format!("name={},bridge={},hwaddr={},ip={}", nic.name, nic.bridge, nic.mac, nic.ip);
    if let Some(gateway) = nic.gateway {
        text.push_str(&format!(",gw={gateway}"));
    }
    if nic.firewall {
        text.push_str(",firewall=1");
    }
    if let Some(tag) = nic.vlan {
        text.push_str(&format!(",tag={tag}"));
    }
    if let Some(mtu) = nic.mtu {
        text.push_str(&format!(",mtu={mtu}"));
    }
    all.remove("type");
    if !all.is_empty() {
        text.push(',');
        text.push_str(&join(&all));
    }
    text
}

/// What of a network device counts in a comparison: defaults that the node fills in are left out.
pub fn net_normal(text: &str) -> BTreeMap<String, String> {
    let mut all = parts(text);
    all.remove("type");
    if all.get("firewall").is_some_and(|v| v == "0") {
        all.remove("firewall");
    }
    if let Some(mac) = all.get_mut("hwaddr") {
        *mac = mac.to_uppercase();
    }
    all
}

/// A mount point to be made, or to be set on a volume that is there; keys Phoenix has no word for are kept as they are in
/// `there`.
pub fn mount(mount: &Mount, storage: &str, there: Option<&str>) -> String {
    let volume = match &mount.source {
        MountSource::Host(folder) => folder.clone(),
        MountSource::Volume(disk) => {
            let known = there.map(parts);
            match known.as_ref().and_then(|p| p.get("").or_else(|| p.get("volume"))) {
                Some(volume) => volume.clone(),
                None => format!("{storage}:{}", disk.size_gib),
            }
        }
    };
    let mut text = format!("{volume},mp={}", mount.path);
    if mount.read_only {
        text.push_str(",ro=1");
    }
    if mount.backup {
        text.push_str(",backup=1");
    }
    let mut all = there.map(parts).unwrap_or_default();
    all.retain(|k, _| !matches!(k.as_str(), "" | "volume" | "mp" | "ro" | "backup"));
    if !all.is_empty() {
        text.push(',');
        text.push_str(&join(&all));
    }
    text
}

/// What of a mount point counts in a comparison: volume and size have rules of their own.
pub fn mount_normal(text: &str) -> BTreeMap<String, String> {
    let mut all = parts(text);
    all.retain(|k, v| matches!(k.as_str(), "mp" | "ro" | "backup") && v != "0");
    all
}

/// Start order.
pub fn startup(startup: &Startup) -> String {
    [("order", startup.order), ("up", startup.up), ("down", startup.down)]
        .into_iter()
        .filter_map(|(k, v)| Some(format!("{k}={}", v?)))
        .collect::<Vec<_>>()
        .join(",")
}

/// Bytes of a size as a configuration has it (`8G`, `1500M`, `65536K`); binary multiples (pve-common, `parse_size`).
pub fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = match size.find(|c: char| !c.is_ascii_digit() && c != '.') {
        Some(at) => size.split_at(at),
        None => (size, ""),
    };
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(factor),
        Some((whole, part)) => {
            let digits = u32::try_from(part.len()).ok().filter(|d| (1..=9).contains(d))?;
            let part = part.parse::<u64>().ok()?.checked_mul(factor)? / 10u64.pow(digits);
            whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part)
        }
    }
}

/// The settings that are single values, as wanted; what is absent is to be unset.
pub fn scalars(container: &Container) -> BTreeMap<&'static str, Option<String>> {
    let flag = |f: bool| Some(if f { "1" } else { "0" }.to_owned());
    let list = |l: &[std::net::Ipv4Addr]| {
        (!l.is_empty()).then(|| l.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    BTreeMap::from([
        ("hostname", Some(container.hostname.clone())),
        ("cores", Some(container.cores.to_string())),
        ("memory", Some(container.memory_mib.to_string())),
        ("swap", Some(container.swap_mib.to_string())),
        ("onboot", flag(container.onboot)),
        ("protection", flag(container.protected)),
        ("startup", container.startup.as_ref().map(startup).filter(|s| !s.is_empty())),
        ("tags", Some(container.tags.iter().cloned().collect::<Vec<_>>().join(";"))),
        ("nameserver", list(&container.nameservers)),
        ("searchdomain", Some(container.searchdomain.clone())),
        (
            "features",
            (!container.options.is_empty()).then(|| {
                container.options.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
            }),
        ),
    ])
}

/// What a key is where the configuration does not have it (pve-container, `PVE/LXC/Config.pm`).
pub fn default(key: &str) -> Option<&'static str> {
    match key {
        "onboot" | "protection" | "unprivileged" => Some("0"),
        "memory" | "swap" => Some("512"),
        _ => None,
    }
}

/// The volume id of the template that `wanted` means: a volume id as it is, or the beginning of a file name, the newest
/// where several fit.
pub fn template(wanted: &str, inventory: &Inventory) -> Option<String> {
    if inventory.templates.contains(wanted) {
        return Some(wanted.to_owned());
    }
    inventory
        .templates
        .iter()
        .filter(|id| {
            id.split_once("vztmpl/").is_some_and(|(_, file)| {
                file == wanted
                    || file.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(['-', '_', '.']))
            })
        })
        .max_by_key(|id| numbers(id))
        .cloned()
}

/// The numbers in a text, for comparing versions: 12.2 comes before 12.12.
fn numbers(text: &str) -> (Vec<u64>, &str) {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    (numbers, text)
}

/// The storage for a root disk where the blueprint names none: the first active one that may hold root file systems,
/// `local` last, since that is usually the system's own disk.
pub fn root_storage(inventory: &Inventory) -> Option<&str> {
    let fits = |(_, s): &(&String, &plan::inventory::Storage)| s.active && s.content.contains("rootdir");
    let mut all: Vec<&str> = inventory.storages.iter().filter(fits).map(|(name, _)| name.as_str()).collect();
    all.sort_by_key(|name| (*name == "local", *name));
    all.first().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nic() -> Nic {
        Nic {
            name: "eth0".into(),
            bridge: "vmbr0".into(),
            mac: "02:00:00:00:00:01".into(),
            ip: "10.0.0.5/24".into(),
            gateway: Some("10.0.0.1".parse().unwrap()),
            vlan: None,
            firewall: false,
            mtu: None,
        }
    }

    // T-7: what is read back in another order and with defaults filled in is no change.
    #[test]
    fn a_device_read_back_is_the_same() {
        let read =
            "bridge=vmbr0,firewall=0,gw=10.0.0.1,hwaddr=02:00:00:00:00:01,ip=10.0.0.5/24,name=eth0,type=veth";
        assert_eq!(net_normal(&net(&nic(), None)), net_normal(read));
    }

    #[test]
    fn what_phoenix_has_no_word_for_is_kept() {
        let there = "name=eth0,bridge=vmbr9,hwaddr=02:00:00:00:00:09,ip=dhcp,rate=10,type=veth";
        let text = net(&nic(), Some(there));
        assert!(text.ends_with(",rate=10"), "{text}");
        assert!(text.contains("bridge=vmbr0"));
    }

    // T-6: what a token may not do is known before it is tried.
    #[test]
    fn what_takes_root() {
        let new = |key, value| needs_root(key, None, Some(value), true);
        assert!(new("features", "nesting=1").is_none());
        assert!(new("features", "nesting=1,keyctl=1").is_some());
        assert!(needs_root("features", None, Some("nesting=1"), false).is_some());
        assert!(new("mp0", "/srv/x,mp=/x").is_some());
        assert!(new("mp0", "tank:8,mp=/x").is_none());
        assert!(new("memory", "512").is_none());
        // Taking a flag away, and leaving one alone.
        let change = |old, new| needs_root("features", Some(old), new, true);
        assert!(change("keyctl=1,nesting=1", Some("nesting=1")).is_some());
        assert!(change("keyctl=1", None).is_some());
        assert!(change("keyctl=1,nesting=1", Some("keyctl=1")).is_none());
        assert!(change("nesting=1", None).is_none());
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("8G"), Some(8 << 30));
        assert_eq!(bytes("1500M"), Some(1500 << 20));
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("8X"), None);
        assert_eq!(bytes(""), None);
    }

    #[test]
    fn the_newest_template_that_fits() {
        let inventory = Inventory {
            templates: [
                "local:vztmpl/debian-12-standard_12.2-1_amd64.tar.zst",
                "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst",
                "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst",
            ]
            .map(str::to_owned)
            .into(),
            ..Inventory::default()
        };
        let find = |w: &str| template(w, &inventory);
        assert_eq!(find("debian-12").unwrap(), "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst");
        assert_eq!(
            find("debian-13-standard").unwrap(),
            "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst"
        );
        assert_eq!(find("debian-1"), None);
        assert_eq!(find("alpine"), None);
    }

    proptest! {
        #[test]
        fn property_strings_survive(map in proptest::collection::btree_map("[a-z]{1,6}", "[a-zA-Z0-9:./]{1,12}", 0..6)) {
            prop_assert_eq!(parts(&join(&map)), map);
        }

        #[test]
        fn sizes_never_panic(text in ".{0,12}") {
            let _ = bytes(&text);
        }
    }
}
