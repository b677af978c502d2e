//! Storages of Proxmox VE: what each is, and whether it can serve who names it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Context;
use crate::codes;
use crate::model::{Content, Guests, Image, Place, SecretRef, Storage, StorageType};
use crate::namespace::Entry;
use crate::report::{Draft, Spot};
use crate::settings::{self, Form};
use crate::source::{
    CifsSource, NfsSource, PbsSource, PreallocationSource, PruneSource, SecretSource, StorageContentSource,
    StorageSource,
};

/// The keys that say what a storage is.
const PLACES: [&str; 8] = ["dir", "btrfs", "zfspool", "lvm", "lvmthin", "nfs", "cifs", "pbs"];

/// What can be said under `settings`: the name, what its value may be, and the types that have it (PVE::Storage, `options` of the
/// plugins of 9.2).
static SETTINGS: [(&str, Form, &[&str]); 12] = [
    ("blocksize", Form::Line, &["zfspool"]),
    ("bwlimit", Form::Line, &["dir", "btrfs", "zfspool", "lvm", "lvmthin", "nfs", "cifs"]),
    ("content-dirs", Form::Line, &["dir", "btrfs", "nfs", "cifs"]),
    ("format", Form::Words(&["raw", "qcow2", "subvol", "vmdk"]), &["dir", "btrfs", "nfs", "cifs"]),
    ("is_mountpoint", Form::Line, &["dir", "btrfs"]),
    ("max-protected-backups", Form::Integer(-1, i32::MAX as i64), &["dir", "btrfs", "nfs", "cifs", "pbs"]),
    ("mountpoint", Form::Line, &["zfspool"]),
    ("nocow", Form::Flag, &["btrfs"]),
    ("saferemove", Form::Flag, &["lvm"]),
    ("saferemove_throughput", Form::Line, &["lvm"]),
    ("smbversion", Form::Words(&["default", "2.0", "2.1", "3", "3.0", "3.11"]), &["cifs"]),
    ("tagged_only", Form::Flag, &["lvm"]),
];

/// Options with a key of their own that not every type has.
const OF_SOME: [(&str, &[&str]); 6] = [
    ("shared", &["dir", "btrfs", "lvm"]),
    ("create", &["dir", "btrfs", "nfs", "cifs"]),
    ("prune-backups", &["dir", "btrfs", "nfs", "cifs", "pbs"]),
    ("preallocation", &["dir", "btrfs", "nfs", "cifs"]),
    ("sparse", &["zfspool"]),
    ("snapshot-as-volume-chain", &["dir", "nfs", "cifs", "lvm"]),
];

pub(super) fn storages(context: &mut Context<'_, '_>) -> BTreeMap<String, Arc<Storage>> {
    let namespace = context.namespace;
    let made = namespace.storages.iter().filter_map(|(name, entry)| {
        let source = entry.value.as_ref()?;
        Some((name.clone(), Arc::new(storage(name, entry, source, context)?)))
    });
    let made: BTreeMap<String, Arc<Storage>> = made.collect();
    same_place(&made, context);
    made
}

/// What follows from the key that says what it is.
struct Known {
    place: Place,
    options: BTreeMap<String, String>,
    password: Option<SecretRef>,
}

fn storage(
    name: &str,
    entry: &Entry<'_, StorageSource>,
    source: &StorageSource,
    context: &mut Context<'_, '_>,
) -> Option<Storage> {
    let written: Vec<&str> = PLACES.iter().copied().filter(|key| entry.node().get(key).is_some()).collect();
    if let [first, second, ..] = written.as_slice() {
        let message = format!("`{first}` and `{second}` exclude each other: a storage is one of them");
        let draft = Draft::error(codes::NOT_ONE, entry.key_spot(&[second]), message);
        context.push(draft.related(entry.key_spot(&[first]), "the other"));
        return None;
    }
    if written.is_empty() {
        if !entry.damaged {
            let message = format!("the storage `{name}` does not say what it is");
            let draft = Draft::error(codes::MISSING_KEY, entry.key(), message);
            let all: Vec<String> = PLACES.iter().map(|key| format!("`{key}`")).collect();
            context.push(draft.hint(format!("one of {}, such as \"dir\": \"/srv/vms\"", all.join(", "))));
        }
        return None;
    }
    let known = known(entry, source, context)?;
    let kind = StorageType::of(&known.place.kind)?;
    for (key, types) in OF_SOME {
        if entry.node().get(key).is_some() && !types.contains(&kind.name) {
            let message = format!("`{key}` has no effect on a storage that is `{}`", kind.name);
            let draft = Draft::error(codes::BAD_VALUE, entry.key_spot(&[key]), message);
            context.push(draft.hint(match (key, kind.shared) {
                ("shared", true) => format!("remove it: `{}` always is", kind.name),
                _ => "remove it".to_owned(),
            }));
        }
    }
    let mut options = known.options;
    let mut put = |key: &str, value: String| drop(options.insert(key.to_owned(), value));
    if source.shared == Some(true) && !kind.shared {
        put("shared", "1".to_owned());
    }
    if source.sparse == Some(true) {
        put("sparse", "1".to_owned());
    }
    if source.snapshot_as_volume_chain == Some(true) {
        put("snapshot-as-volume-chain", "1".to_owned());
    }
    if let Some(mode) = source.preallocation.and_then(preallocation) {
        put("preallocation", mode.to_owned());
    }
    if let Some(prune) = source.prune_backups.as_ref().and_then(prune) {
        put("prune-backups", prune);
    }
    if source.create == Some(false) {
        put("create-base-path", "0".to_owned());
    }
    Some(Storage {
        name: name.to_owned(),
        place: known.place,
        content: content(entry, source, kind, context),
        nodes: source.nodes.iter().flatten().map(|node| node.0.clone()).collect(),
        enabled: source.enabled.unwrap_or(true),
        create: source.create.unwrap_or(true),
        options,
        settings: settings(entry, source, kind, context),
        password: known.password,
        declared: entry.location(context.report),
    })
}

fn preallocation(mode: PreallocationSource) -> Option<&'static str> {
    match mode {
        PreallocationSource::Off => Some("off"),
        // What holds where nothing is said.
        PreallocationSource::Metadata => None,
        PreallocationSource::Falloc => Some("falloc"),
        PreallocationSource::Full => Some("full"),
    }
}

/// As Proxmox VE writes it, in one order; none where all are to stay.
fn prune(source: &PruneSource) -> Option<String> {
    let parts = [
        ("keep-daily", source.daily),
        ("keep-hourly", source.hourly),
        ("keep-last", source.last),
        ("keep-monthly", source.monthly),
        ("keep-weekly", source.weekly),
        ("keep-yearly", source.yearly),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter_map(|(key, count)| Some(format!("{key}={}", count?))).collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn content(
    entry: &Entry<'_, StorageSource>,
    source: &StorageSource,
    kind: &StorageType,
    context: &mut Context<'_, '_>,
) -> BTreeSet<String> {
    let default: &[&str] = if kind.name == "pbs" { &["backup"] } else { &["images", "rootdir"] };
    let Some(wanted) = &source.content else { return default.iter().map(|&word| word.to_owned()).collect() };
    let words: BTreeSet<String> = wanted.iter().map(|content| word(*content).to_owned()).collect();
    if let Some(wrong) = words.iter().find(|word| !kind.holds.contains(&word.as_str())) {
        let message = format!("`{wrong}` cannot lie on a storage that is `{}`", kind.name);
        let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["content"]), message);
        context.push(draft.hint(format!("what can: {}", kind.holds.join(", "))));
    }
    if source.prune_backups.is_some() && kind.holds.contains(&"backup") && !words.contains("backup") {
        let message = "`prune-backups` has no effect on a storage that no backups may lie on";
        let draft = Draft::error(codes::BAD_VALUE, entry.key_spot(&["prune-backups"]), message);
        context.push(draft.hint("add `backup` to `content`, or remove it"));
    }
    words
}

fn word(content: StorageContentSource) -> &'static str {
    match content {
        StorageContentSource::Images => "images",
        StorageContentSource::Rootdir => "rootdir",
        StorageContentSource::Vztmpl => "vztmpl",
        StorageContentSource::Iso => "iso",
        StorageContentSource::Import => "import",
        StorageContentSource::Snippets => "snippets",
        StorageContentSource::Backup => "backup",
    }
}

fn settings(
    entry: &Entry<'_, StorageSource>,
    source: &StorageSource,
    kind: &StorageType,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for (name, value) in source.settings.iter().flatten() {
        let path = ["settings", name.as_str()];
        let shown = name.escape_debug();
        let open = SETTINGS.iter().filter(|(_, _, types)| types.contains(&kind.name));
        let Some((_, form, _)) = open.clone().find(|(known, _, _)| known == name) else {
            let names = open.map(|(known, _, _)| *known);
            let message =
                format!("a storage that is `{}` has no setting `{shown}` that can be said here", kind.name);
            let draft = Draft::error(codes::UNKNOWN_KEY, entry.key_spot(&path), message);
            context.push(draft.maybe_hint(crate::suggest::hint(name, "known here", names)));
            continue;
        };
        if let Some(expects) = settings::expects(*form, value) {
            let message = format!("the setting `{shown}` cannot be `{}`", value.escape_debug());
            context.push(Draft::error(codes::BAD_VALUE, entry.spot(&path), message).hint(expects));
        }
        out.insert(name.clone(), value.clone());
    }
    out
}

fn known(
    entry: &Entry<'_, StorageSource>,
    source: &StorageSource,
    context: &mut Context<'_, '_>,
) -> Option<Known> {
    let place = |kind: &str, fixed: &[(&str, &str)]| Known {
        place: Place {
            kind: kind.to_owned(),
            options: fixed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        },
        options: BTreeMap::new(),
        password: None,
    };
    Some(match source {
        StorageSource { dir: Some(path), .. } => place("dir", &[("path", path.0.as_str())]),
        StorageSource { btrfs: Some(path), .. } => place("btrfs", &[("path", path.0.as_str())]),
        StorageSource { zfspool: Some(pool), .. } => {
            plain(entry, "zfspool", &pool.0, context)?;
            place("zfspool", &[("pool", pool.0.as_str())])
        }
        StorageSource { lvm: Some(group), .. } => {
            plain(entry, "lvm", &group.0, context)?;
            place("lvm", &[("vgname", group.0.as_str())])
        }
        StorageSource { lvmthin: Some(pool), .. } => {
            let parts = pool.0.split_once('/').filter(|(group, pool)| {
                !group.is_empty()
                    && !pool.is_empty()
                    && !pool.contains('/')
                    && !pool.contains(char::is_whitespace)
            });
            let Some((group, thin)) = parts else {
                let message = format!("`{}` is no thin pool", pool.0.escape_debug());
                let draft = Draft::error(codes::BAD_VALUE, entry.spot(&["lvmthin"]), message);
                context.push(draft.hint("the volume group and the pool in it, such as \"pve/data\""));
                return None;
            };
            place("lvmthin", &[("vgname", group), ("thinpool", thin)])
        }
        StorageSource { nfs: Some(NfsSource { server, export, options }), .. } => {
            let mut known = place("nfs", &[("server", server.0.as_str()), ("export", export.0.as_str())]);
            known.options.extend(options.as_ref().map(|text| ("options".to_owned(), text.0.clone())));
            known
        }
        StorageSource { cifs: Some(cifs), .. } => {
            let CifsSource { server, share, user, password, domain, subdir, options } = cifs;
            if password.is_some() != user.is_some() && !entry.damaged {
                let (has, lacks) = if user.is_some() { ("user", "password") } else { ("password", "user") };
                let message = format!("`cifs.{has}` needs the key `{lacks}`");
                let draft = Draft::error(codes::MISSING_KEY, entry.key_spot(&["cifs", has]), message);
                context.push(draft.hint("without both, the nodes come as a guest"));
            }
            let mut known = place("cifs", &[("server", server.0.as_str()), ("share", share.0.as_str())]);
            let texts = [("username", user), ("domain", domain), ("options", options)];
            let texts =
                texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.as_ref()?.0.clone())));
            known.options.extend(texts);
            known.options.extend(subdir.as_ref().map(|path| ("subdir".to_owned(), path.0.clone())));
            known.password = password.as_ref().and_then(SecretSource::reference);
            known
        }
        StorageSource { pbs: Some(pbs), .. } => {
            let PbsSource { server, datastore, user, password, fingerprint, namespace, port } = pbs;
            let mut known =
                place("pbs", &[("server", server.0.as_str()), ("datastore", datastore.0.as_str())]);
            known.options.insert("username".to_owned(), user.0.clone());
            known
                .options
                .extend(fingerprint.as_ref().map(|it| ("fingerprint".to_owned(), it.0.to_uppercase())));
            known.options.extend(namespace.as_ref().map(|it| ("namespace".to_owned(), it.0.clone())));
            known
                .options
                .extend(port.filter(|port| *port != 8007).map(|it| ("port".to_owned(), it.to_string())));
            known.password = password.reference();
            known
        }
        _ => return None,
    })
}

/// Names of pools and groups have no blanks, and do not begin with what makes them something else.
fn plain(
    entry: &Entry<'_, StorageSource>,
    key: &str,
    text: &str,
    context: &mut Context<'_, '_>,
) -> Option<()> {
    let good = !text.contains(char::is_whitespace)
        && !text.starts_with(['/', '-'])
        && !text.ends_with('/')
        && (key == "zfspool" || !text.contains('/'));
    if good {
        return Some(());
    }
    let (message, hint) = match key {
        "zfspool" => (
            format!("`{}` is no pool of ZFS", text.escape_debug()),
            "such as \"tank\", or a dataset in it, \"tank/vms\"",
        ),
        _ => (
            format!("`{}` is no volume group", text.escape_debug()),
            "such as \"data\"; a thin pool is `lvmthin`",
        ),
    };
    context.push(Draft::error(codes::BAD_VALUE, entry.spot(&[key]), message).hint(hint));
    None
}

/// Two storages in one place see each other's volumes, and each takes the other's names.
fn same_place(storages: &BTreeMap<String, Arc<Storage>>, context: &mut Context<'_, '_>) {
    let mut seen: Vec<&Storage> = Vec::new();
    for storage in storages.values() {
        let meets = |other: &&&Storage| {
            other.place == storage.place
                && (other.nodes.is_empty()
                    || storage.nodes.is_empty()
                    || !other.nodes.is_disjoint(&storage.nodes))
                && (other.options.get("subdir"), other.options.get("namespace"))
                    == (storage.options.get("subdir"), storage.options.get("namespace"))
        };
        if let Some(other) = seen.iter().find(meets) {
            let namespace = context.namespace;
            let entries = [storage.name.as_str(), &other.name].map(|name| namespace.storages.get(name));
            if let [Some(own), Some(first)] = entries {
                let message =
                    format!("`{}` and `{}` are both {}", other.name, storage.name, storage.place.shown());
                let draft =
                    Draft::error(codes::STORAGE, own.key(), message).related(first.key(), "the other");
                context.push(draft.hint("one storage can hold all of it: join their `content`"));
            }
        }
        seen.push(storage);
    }
}

/// Whether what names a declared storage can have there what it wants.
pub(super) fn check_used(
    storages: &BTreeMap<String, Arc<Storage>>,
    guests: &Guests,
    templates: &BTreeMap<String, Arc<Image>>,
    images: &BTreeMap<String, Arc<Image>>,
    context: &mut Context<'_, '_>,
) {
    if storages.is_empty() {
        return;
    }
    for guest in guests.values() {
        let Some(spot) = context.namespace.guests.get(&*guest.name).map(Entry::key) else { continue };
        for (name, content) in guest.keeps() {
            let Some(storage) = storages.get(name) else { continue };
            let node = guest.node.as_deref();
            unfit(storage, content, node, &guest.name, spot, context);
        }
    }
    let namespace = context.namespace;
    for image in templates.values().chain(images.values()) {
        let Some(storage) = image.storage.as_ref().and_then(|name| storages.get(name)) else { continue };
        let spot = match image.content {
            Content::Template => namespace.templates.get(&image.name).map(|entry| entry.spot(&["storage"])),
            Content::Disk | Content::Iso => {
                namespace.images.get(&image.name).map(|entry| entry.spot(&["storage"]))
            }
        };
        let Some(spot) = spot else { continue };
        unfit(storage, image.content.as_str(), None, &image.name, spot, context);
    }
}

fn unfit(
    storage: &Storage,
    content: &str,
    node: Option<&str>,
    who: &str,
    spot: Spot,
    context: &mut Context<'_, '_>,
) {
    let name = &storage.name;
    let (key, message, hint) = if !storage.holds(content) {
        let what = match content {
            "rootdir" => "disks of containers",
            "images" => "disks of virtual machines",
            "vztmpl" => "container templates",
            "iso" => "media",
            "import" => "disk images to import",
            _ => "scripts",
        };
        let message = format!("`{who}` wants {what} on the storage `{name}`, which may not hold them");
        ("content", message, format!("add `{content}` to its `content`, or name another storage"))
    } else if !storage.enabled {
        let message = format!("`{who}` wants the storage `{name}`, which is not enabled");
        ("enabled", message, "enable it, or name another storage".to_owned())
    } else if let Some(node) = node.filter(|node| !storage.is_on(node)) {
        let message = format!("`{who}` is on {node}, and its storage `{name}` is not");
        ("nodes", message, format!("add `{node}` to its `nodes`, or name another storage"))
    } else {
        return;
    };
    let Some(there) = context.namespace.storages.get(name).map(|entry| entry.key_spot(&[key])) else {
        return;
    };
    context.push(Draft::error(codes::STORAGE, spot, message).related(there, "the storage").hint(hint));
}
