//! Defining storages: what is taken and what is refused, in the node's words, and what there is to make them of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::error::{Answer, ApiError, Outcome};
use super::router::Call;
use super::storage::Storage;
use super::storage_api::digest;

/// What a node has that storages can be made of, and which servers it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// Pools of ZFS, and the datasets in them.
    pub zfs: BTreeSet<String>,
    /// Volume groups of LVM.
    pub groups: BTreeSet<String>,
    /// Thin pools: `GROUP/POOL`.
    pub thin: BTreeSet<String>,
    /// NFS servers with what they export.
    pub nfs: BTreeMap<String, BTreeSet<String>>,
    /// SMB servers with their shares.
    pub cifs: BTreeMap<String, BTreeSet<String>>,
    /// Proxmox Backup Servers with their datastores.
    pub pbs: BTreeMap<String, BTreeSet<String>>,
}

impl Default for Grounds {
    /// A little of everything, for simulated nodes.
    fn default() -> Self {
        let names = |all: &[&str]| all.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let server = |address: &str, has: &[&str]| BTreeMap::from([(address.to_owned(), names(has))]);
        Self {
            zfs: names(&["rpool", "rpool/data", "tank", "tank/vms"]),
            groups: names(&["data", "pve"]),
            thin: names(&["pve/data"]),
            nfs: server("10.0.0.20", &["/srv/backups", "/srv/images"]),
            cifs: server("10.0.0.20", &["backups"]),
            pbs: server("10.0.0.30", &["main"]),
        }
    }
}

/// Options that cannot be changed, by type; they are needed, too (PVE::Storage, `options` of the plugins).
fn fixed(kind: &str) -> &'static [&'static str] {
    match kind {
        "dir" | "btrfs" => &["path"],
        "zfspool" => &["pool"],
        "lvm" => &["vgname"],
        "lvmthin" => &["vgname", "thinpool"],
        "nfs" => &["server", "export"],
        "cifs" => &["server", "share"],
        "pbs" => &["server", "datastore"],
        _ => &[],
    }
}

/// The other options of a type, beside `nodes`, `disable` and `content`, which all have.
fn others(kind: &str) -> &'static [&'static str] {
    const FOLDER: &[&str] = &[
        "shared",
        "prune-backups",
        "max-protected-backups",
        "format",
        "mkdir",
        "create-base-path",
        "create-subdirs",
        "is_mountpoint",
        "bwlimit",
        "preallocation",
        "snapshot-as-volume-chain",
        "content-dirs",
        "nocow",
    ];
    match kind {
        "dir" | "btrfs" => FOLDER,
        "zfspool" => &["blocksize", "sparse", "bwlimit", "mountpoint"],
        "lvm" => &[
            "shared",
            "saferemove",
            "saferemove_throughput",
            "tagged_only",
            "bwlimit",
            "snapshot-as-volume-chain",
        ],
        "lvmthin" => &["bwlimit"],
        "nfs" => &[
            "options",
            "format",
            "mkdir",
            "create-base-path",
            "create-subdirs",
            "bwlimit",
            "preallocation",
            "prune-backups",
            "max-protected-backups",
            "snapshot-as-volume-chain",
            "content-dirs",
        ],
        "cifs" => &[
            "subdir",
            "options",
            "username",
            "password",
            "domain",
            "smbversion",
            "format",
            "mkdir",
            "create-base-path",
            "create-subdirs",
            "bwlimit",
            "preallocation",
            "prune-backups",
            "max-protected-backups",
            "snapshot-as-volume-chain",
            "content-dirs",
        ],
        "pbs" => &[
            "namespace",
            "port",
            "username",
            "password",
            "fingerprint",
            "prune-backups",
            "max-protected-backups",
        ],
        _ => &[],
    }
}

/// Whether an option is shown as a number.
pub(super) fn is_number(key: &str) -> bool {
    let flags = [
        "disable",
        "shared",
        "sparse",
        "mkdir",
        "create-base-path",
        "create-subdirs",
        "snapshot-as-volume-chain",
        "nocow",
        "saferemove",
        "tagged_only",
    ];
    flags.contains(&key) || matches!(key, "port" | "max-protected-backups")
}

/// The options that a call gives, as `storage.cfg` holds them: flags as 0 and 1, and no password, which has a file of its own.
fn options(call: &Call<'_>) -> impl Iterator<Item = (String, String)> {
    let own = ["storage", "type", "delete", "digest", "password"];
    let written = |key: &str, value: &str| match value {
        "yes" | "on" | "true" if is_number(key) => "1".to_owned(),
        "no" | "off" | "false" if is_number(key) => "0".to_owned(),
        value => value.to_owned(),
    };
    call.params
        .iter()
        .filter(move |(key, _)| !own.contains(&key.as_str()))
        .map(move |(k, v)| (k.clone(), written(k, v)))
}

/// What is written in every case, and what is written in none (recorded: "read rec-a", "read rec-b9").
fn settled(storage: &mut Storage) {
    storage.options.retain(|key, value| match key.as_str() {
        "disable" => value != "0",
        "content" => !value.is_empty(),
        _ => true,
    });
    let content = storage.content().to_owned();
    storage.options.entry("content".to_owned()).or_insert(content);
}

fn known_option(kind: &str, key: &str) -> bool {
    ["nodes", "disable", "content"].contains(&key)
        || fixed(kind).contains(&key)
        || others(kind).contains(&key)
}

/// Whether the node can use what a new storage is made of; its words where it cannot.
fn activate(grounds: Option<&Grounds>, id: &str, kind: &str, call: &Call<'_>) -> Result<(), String> {
    let value = |key: &str| call.get(key).unwrap_or_default();
    let Some(grounds) = grounds else {
        // What is real here are folders alone.
        return match kind {
            "dir" => Ok(()),
            other => Err(format!("this node does not offer storages of type '{other}'")),
        };
    };
    let online = |servers: &BTreeMap<String, BTreeSet<String>>, has: &str| {
        servers.get(value("server")).is_some_and(|all| all.contains(value(has)))
    };
    match kind {
        // `lvm` is taken without any look (recorded, "create lvm").
        "dir" | "btrfs" | "lvm" => Ok(()),
        "zfspool" if grounds.zfs.contains(value("pool")) => Ok(()),
        "zfspool" => {
            let pool = value("pool").split('/').next().unwrap_or_default();
            Err(format!(
                "could not activate storage '{id}', zfs error: cannot import '{pool}': no such pool available\n"
            ))
        }
        "lvmthin" => {
            let thin = format!("{}/{}", value("vgname"), value("thinpool"));
            if grounds.thin.contains(&thin) { Ok(()) } else { Err(format!("no such logical volume {thin}")) }
        }
        "nfs" if !grounds.nfs.contains_key(value("server")) => Err(format!("storage '{id}' is not online")),
        "nfs" if online(&grounds.nfs, "export") => Ok(()),
        "nfs" => Err("mount error: Job failed. See \"journalctl -xe\" for details.".to_owned()),
        "cifs" if online(&grounds.cifs, "share") => Ok(()),
        "cifs" => Err(format!("storage '{id}' is not online")),
        "pbs" if online(&grounds.pbs, "datastore") => Ok(()),
        "pbs" if grounds.pbs.contains_key(value("server")) => {
            let store = value("datastore");
            Err(format!("{id}: Cannot find datastore '{store}', check permissions and existence!"))
        }
        "pbs" => {
            let server = value("server");
            Err(format!(
                "{id}: error fetching datastores - 500 Can't connect to {server}:8007 (Connection refused)"
            ))
        }
        other => Err(format!("this node does not offer storages of type '{other}'")),
    }
}

pub(super) fn create(call: &Call<'_>) -> Outcome {
    let (id, kind) = (call.text("storage"), call.text("type"));
    let failed = |why: String| ApiError::die(format!("create storage failed: {why}"));
    let needed = fixed(kind).iter().chain((kind == "pbs").then_some(&"username"));
    if let Some(missing) = needed.into_iter().find(|key| call.get(key).is_none()) {
        return Err(ApiError::die(format!("missing value for required option '{missing}'")));
    }
    if let Some((odd, _)) = options(call).find(|(key, _)| !fixed(kind).is_empty() && !known_option(kind, key))
    {
        return Err(ApiError::die(format!("unexpected property '{odd}'")));
    }
    let mut grounds = call.node.grounds.clone();
    if let Some(grounds) = &mut grounds {
        grounds.zfs.extend(call.node.runtime.zfs_places());
    }
    call.node.change(|keep| {
        if keep.storages.contains_key(id) {
            return Err(failed(format!("storage ID '{id}' already defined")));
        }
        activate(grounds.as_ref(), id, kind, call).map_err(failed)?;
        let mut storage = Storage::new(id, kind, "", "");
        storage.options.clear();
        storage.options.extend(options(call));
        settled(&mut storage);
        // One machine, one disk: what the first storage has, the new one has too.
        if let Some(other) = keep.storages.values().next() {
            (storage.total, storage.used) = (other.total, other.used);
        }
        keep.storages.insert(id.to_owned(), storage);
        Ok(json!({"storage": id, "type": kind}).into())
    })
}

pub(super) fn update(call: &Call<'_>) -> Outcome {
    let id = call.text("storage");
    let failed = |why: String| ApiError::die(format!("update storage failed: {why}"));
    call.node.change(|keep| {
        let digest = digest(keep);
        if call.get("digest").is_some_and(|given| given != digest) {
            let text = "detected modified configuration - file changed by other user? Try again.";
            return Err(failed(text.to_owned()));
        }
        let storage =
            keep.storages.get_mut(id).ok_or_else(|| failed(format!("storage '{id}' does not exist")))?;
        let kind = storage.kind.clone();
        let mut changed = storage.options.clone();
        for key in super::formats::list(call.get("delete").unwrap_or_default()) {
            if fixed(&kind).contains(&key) {
                return Err(failed(format!("unable to delete required option '{key}'")));
            }
            if !known_option(&kind, key) {
                return Err(failed(format!("no such option '{key}'")));
            }
            changed.remove(key);
        }
        if let Some((odd, _)) =
            options(call).find(|(key, _)| !fixed(&kind).is_empty() && !known_option(&kind, key))
        {
            return Err(ApiError::die(format!("unexpected property '{odd}'")));
        }
        changed.extend(options(call));
        storage.options = changed;
        settled(storage);
        Ok(json!({"storage": id, "type": kind}).into())
    })
}

pub(super) fn delete(call: &Call<'_>) -> Outcome {
    let id = call.text("storage");
    call.node.change(|keep| match keep.storages.remove(id) {
        Some(_) => Ok(Answer::null()),
        None => Err(ApiError::die(format!("delete storage failed: storage '{id}' does not exist"))),
    })
}

/// What there is to make storages of.
pub(super) fn scan(call: &Call<'_>, path: &str) -> Outcome {
    let none = Grounds {
        zfs: BTreeSet::new(),
        groups: BTreeSet::new(),
        thin: BTreeSet::new(),
        nfs: BTreeMap::new(),
        cifs: BTreeMap::new(),
        pbs: BTreeMap::new(),
    };
    let grounds = call.node.grounds.as_ref().unwrap_or(&none);
    let lines = |key: &str, all: Vec<&str>| -> Outcome {
        Ok(Value::Array(all.into_iter().map(|name| json!({ key: name })).collect()).into())
    };
    match path.rsplit('/').next().unwrap_or_default() {
        "zfs" => {
            let made = call.node.runtime.zfs_places();
            lines("pool", grounds.zfs.iter().chain(&made).map(String::as_str).collect())
        }
        "lvm" => lines("vg", grounds.groups.iter().map(String::as_str).collect()),
        "lvmthin" => {
            let group = call.text("vg");
            let pools = grounds.thin.iter().filter_map(|thin| thin.strip_prefix(group)?.strip_prefix('/'));
            lines("lv", pools.collect())
        }
        _ => match grounds.nfs.get(call.text("server")) {
            Some(exports) => lines("path", exports.iter().map(String::as_str).collect()),
            None => {
                let server = call.text("server");
                let command = format!("/sbin/showmount --no-headers --exports {server}");
                Err(ApiError::die(format!("command '{command}' failed: exit code 1")))
            }
        },
    }
}
