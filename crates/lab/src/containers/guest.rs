//! A container's configuration as the runtime needs it, read from the keys of its configuration file.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::runtime::{Config, TaskError};

/// The first id of the range that an unprivileged container's users are shifted into, as on Proxmox VE
/// (`root:100000:65536` in `/etc/subuid`).
pub(crate) const SHIFT: u32 = 100_000;

/// What a container is made from. Units: MiB for memory and swap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guest {
    pub id: u32,
    pub hostname: String,
    pub unprivileged: bool,
    pub nesting: bool,
    pub memory: u64,
    pub swap: u64,
    pub cores: Option<u32>,
    pub cpulimit: Option<f64>,
    pub cpuunits: Option<u32>,
    pub networks: BTreeMap<u8, Net>,
    pub mounts: Vec<Mount>,
    pub devices: Vec<String>,
    pub nameservers: Vec<String>,
    pub searchdomain: Option<String>,
    pub timezone: Option<String>,
    pub raw: Vec<(String, String)>,
}

/// One `netN`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Net {
    pub name: String,
    pub bridge: Option<String>,
    pub hwaddr: Option<String>,
    pub ip: Option<String>,
    pub gw: Option<String>,
    pub ip6: Option<String>,
    pub gw6: Option<String>,
    pub mtu: Option<u32>,
    pub link_down: bool,
}

/// One `rootfs` or `mpN`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// `rootfs`, `mp0`.
    pub key: String,
    /// The image file, or the folder of a bind mount.
    pub source: Utf8PathBuf,
    /// Whether `source` is an image.
    pub image: bool,
    /// Where it appears in the guest; `/` for the root volume.
    pub target: Utf8PathBuf,
    /// The volume's size, where one is given.
    pub bytes: Option<u64>,
    pub read_only: bool,
    /// Whose files are whose in it.
    #[serde(default)]
    pub idmap: Option<String>,
}

/// Splits a property string into its default value and its keys: `tank:1,mp=/srv` has the default `tank:1`.
fn properties(text: &str) -> (Option<&str>, BTreeMap<&str, &str>) {
    let (mut default, mut keys) = (None, BTreeMap::new());
    for part in text.split(',').filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) => {
                keys.insert(key, value);
            }
            None => default = default.or(Some(part)),
        }
    }
    (default, keys)
}

/// A size as Proxmox VE writes it: `2G`, `1500M`, `4096K`, bytes without a unit.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (digits, factor) = match text.trim().char_indices().last()? {
        (at, 'K' | 'k') => (&text[..at], 1 << 10),
        (at, 'M' | 'm') => (&text[..at], 1 << 20),
        (at, 'G' | 'g') => (&text[..at], 1 << 30),
        (at, 'T' | 't') => (&text[..at], 1_u64 << 40),
        _ => (text, 1),
    };
    let amount: f64 = digits.trim().parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "sizes of images are far below 2^52")]
    let product = amount * factor as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    (0.0..9e15).contains(&product).then_some(product as u64)
}

/// Where a volume's image lies: `local` is `/var/lib/vz`, any other storage `/mnt/pve/NAME`. The lab keeps every volume
/// as a raw image, whatever kind of storage its name speaks of.
///
/// # Errors
/// When it is not a volume of container `id`, or leads out of its storage.
pub(crate) fn volume_path(volume: &str, id: u32) -> Result<Utf8PathBuf, TaskError> {
    let refused = || TaskError(format!("unable to parse volume ID '{volume}'"));
    let (storage, name) = volume.split_once(':').ok_or_else(refused)?;
    let plain = |s: &str| {
        !s.is_empty()
            && !s.starts_with('.')
            && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if !plain(storage) || !name.split('/').all(plain) || name.split('/').count() > 2 {
        return Err(refused());
    }
    let base = if storage == "local" {
        Utf8PathBuf::from("/var/lib/vz")
    } else {
        Utf8Path::new("/mnt/pve").join(storage)
    };
    if name.starts_with("snippets/") {
        return Ok(base.join(name));
    }
    let images = base.join("images");
    Ok(if name.contains('/') {
        images.join(name)
    } else {
        images.join(id.to_string()).join(format!("{name}.raw"))
    })
}

impl Mount {
    fn parse(key: &str, text: &str, id: u32) -> Result<Self, TaskError> {
        let (default, keys) = properties(text);
        let volume = default
            .or_else(|| keys.get("volume").copied())
            .ok_or_else(|| TaskError(format!("{key}: no volume in '{text}'")))?;
        let target = if key == "rootfs" { "/" } else { keys.get("mp").copied().unwrap_or_default() };
        if !target.starts_with('/') {
            return Err(TaskError(format!("{key}: no absolute path in '{text}'")));
        }
        let image = !volume.starts_with('/');
        Ok(Self {
            key: key.to_owned(),
            source: if image { volume_path(volume, id)? } else { volume.into() },
            image,
            target: target.into(),
            bytes: keys.get("size").and_then(|s| bytes(s)),
            read_only: keys.get("ro").is_some_and(|v| *v == "1"),
            idmap: keys.get("idmap").map(|v| (*v).to_owned()),
        })
    }
}

impl Net {
    fn parse(text: &str) -> Self {
        let (_, keys) = properties(text);
        let get = |key: &str| keys.get(key).map(|v| (*v).to_owned());
        Self {
            name: get("name").unwrap_or_else(|| "eth0".to_owned()),
            bridge: get("bridge"),
            hwaddr: get("hwaddr"),
            ip: get("ip"),
            gw: get("gw"),
            ip6: get("ip6"),
            gw6: get("gw6"),
            mtu: get("mtu").and_then(|v| v.parse().ok()),
            link_down: get("link_down").is_some_and(|v| v == "1"),
        }
    }

    /// The static IPv4 address with its prefix, when it has one.
    pub(crate) fn static_ip(&self) -> Option<&str> {
        self.ip.as_deref().filter(|ip| ip.contains('/'))
    }

    /// The static IPv6 address with its prefix, when it has one.
    pub(crate) fn static_ip6(&self) -> Option<&str> {
        self.ip6.as_deref().filter(|ip| ip.contains('/'))
    }
}

impl Guest {
    /// Reads a configuration.
    ///
    /// # Errors
    /// When a volume cannot be understood: the node's API lets none of those through.
    pub(crate) fn parse(id: u32, config: &Config) -> Result<Self, TaskError> {
        let get = |key: &str| config.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let yes = |key: &str| get(key) == Some("1");
        let number = |key: &str| get(key).and_then(|v| v.parse::<u64>().ok());
        let mut networks = BTreeMap::new();
        let mut mounts = Vec::new();
        let mut devices = Vec::new();
        for (key, value) in config {
            if let Some(slot) = key.strip_prefix("net").and_then(|n| n.parse().ok()) {
                networks.insert(slot, Net::parse(value));
            } else if key == "rootfs" || key.strip_prefix("mp").is_some_and(|n| n.parse::<u16>().is_ok()) {
                mounts.push(Mount::parse(key, value, id)?);
            } else if key.strip_prefix("dev").is_some_and(|n| n.parse::<u16>().is_ok()) {
                let (default, keys) = properties(value);
                devices.extend(default.or_else(|| keys.get("path").copied()).map(str::to_owned));
            }
        }
        // The root first, and a folder before what lies in it.
        mounts.sort_by(|a, b| a.target.cmp(&b.target));
        let features = get("features").map(properties).map(|(_, keys)| keys).unwrap_or_default();
        Ok(Self {
            id,
            hostname: get("hostname").map_or_else(|| format!("CT{id}"), str::to_owned),
            unprivileged: yes("unprivileged"),
            nesting: features.get("nesting") == Some(&"1"),
            memory: number("memory").unwrap_or(512),
            swap: number("swap").unwrap_or(512),
            cores: number("cores").and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0),
            cpulimit: get("cpulimit").and_then(|v| v.parse().ok()).filter(|v| *v > 0.0),
            cpuunits: number("cpuunits").and_then(|n| u32::try_from(n).ok()),
            networks,
            mounts,
            devices,
            nameservers: get("nameserver")
                .map(|v| v.split([' ', ',', ';']).filter(|s| !s.is_empty()).map(str::to_owned).collect())
                .unwrap_or_default(),
            searchdomain: get("searchdomain").map(str::to_owned),
            timezone: get("timezone").map(str::to_owned),
            raw: config
                .iter()
                .filter(|(key, _)| key.starts_with("lxc."))
                .map(|(key, value)| (key.clone(), value.clone()))
                .chain(get("entrypoint").map(|program| ("lxc.init.cmd".to_owned(), program.to_owned())))
                .chain(
                    get("env")
                        .into_iter()
                        .flat_map(|all| all.split('\0'))
                        .map(|entry| ("lxc.environment".to_owned(), entry.to_owned())),
                )
                .collect(),
        })
    }

    /// What is added to a user or group number of the guest to get the node's.
    pub(crate) fn shift(&self) -> u32 {
        if self.unprivileged { SHIFT } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_lie_where_their_storage_is_and_never_outside() {
        let path = |v| volume_path(v, 201).map(Utf8PathBuf::into_string);
        assert_eq!(path("local:201/vm-201-disk-0.raw").unwrap(), "/var/lib/vz/images/201/vm-201-disk-0.raw");
        assert_eq!(path("tank:201/vm-201-disk-1.raw").unwrap(), "/mnt/pve/tank/images/201/vm-201-disk-1.raw");
        assert_eq!(
            path("local-zfs:subvol-201-disk-0").unwrap(),
            "/mnt/pve/local-zfs/images/201/subvol-201-disk-0.raw"
        );
        for bad in [
            "",
            "x",
            "a:",
            ":b",
            "tank:../../etc/shadow",
            "tank:201/../x",
            "../x:y",
            "tank:a/b/c",
            "tank:/etc/x",
        ] {
            assert!(path(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn sizes_are_read_as_proxmox_writes_them() {
        assert_eq!(bytes("2G"), Some(2 << 30));
        assert_eq!(bytes("1500M"), Some(1500 << 20));
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("G"), None);
        assert_eq!(bytes("-1G"), None);
    }

    #[test]
    fn a_configuration_is_read_with_its_defaults() {
        let config: Config = [
            ("rootfs", "local:101/vm-101-disk-0.raw,size=2G"),
            ("mp1", "/srv/media,mp=/media,ro=1"),
            ("mp0", "tank:101/vm-101-disk-1.raw,mp=/srv,size=1G"),
            ("net0", "name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:00:00:01,ip=10.0.0.11/24,type=veth"),
            ("unprivileged", "1"),
            ("features", "nesting=1,keyctl=1"),
            ("nameserver", "10.0.0.1 1.1.1.1"),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
        let guest = Guest::parse(101, &config).unwrap();
        assert_eq!(guest.hostname, "CT101");
        assert_eq!((guest.memory, guest.swap, guest.cores), (512, 512, None));
        assert!(guest.nesting && guest.unprivileged);
        assert_eq!(guest.shift(), 100_000);
        assert_eq!(guest.mounts.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(), ["rootfs", "mp1", "mp0"]);
        assert!(guest.mounts[1].read_only && !guest.mounts[1].image);
        assert_eq!(guest.networks[&0].static_ip(), Some("10.0.0.11/24"));
        assert_eq!(guest.nameservers, ["10.0.0.1", "1.1.1.1"]);
    }
}
