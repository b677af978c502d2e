//! The commands that make and change pools and datasets. Pure. None of them says `-f` but the import of a pool that another
//! system had last.

use std::collections::{BTreeMap, BTreeSet};

use super::{MADE_BY, PoolChange, Said, Vdev};

/// Where disks are found by their lasting names.
const BY_ID: &str = "/dev/disk/by-id";

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

fn options<'a>(flag: &'a str, all: &'a BTreeMap<String, String>) -> impl Iterator<Item = String> + 'a {
    all.iter().flat_map(move |(name, value)| [flag.to_owned(), format!("{name}={value}")])
}

fn vdev(vdev: &Vdev) -> impl Iterator<Item = String> + '_ {
    let disks = vdev.disks.iter().map(|disk| format!("{BY_ID}/{disk}"));
    vdev.class.iter().chain(&vdev.layout).cloned().chain(disks)
}

/// Makes a pool.
pub(super) fn create(site: &str, pool: &str, groups: &[Vdev], ashift: u8, said: &Said) -> Vec<String> {
    let mut argv = words(&["zpool", "create", "-o", &format!("ashift={ashift}")]);
    argv.extend(options("-o", &said.pool));
    argv.extend(words(&["-O", &format!("{MADE_BY}={site}")]));
    argv.extend(options("-O", &said.root));
    argv.push(pool.to_owned());
    // Those of one kind stand together, since a word for a kind holds until the next.
    argv.extend(groups.iter().flat_map(vdev));
    argv
}

/// Imports a pool by its number.
pub(super) fn import(guid: &str, elsewhere: bool) -> Vec<String> {
    let mut argv = words(&["zpool", "import", "-d", BY_ID]);
    if elsewhere {
        argv.push("-f".to_owned());
    }
    argv.push(guid.to_owned());
    argv
}

/// Changes a pool: one command each.
pub(super) fn change(pool: &str, change: &PoolChange) -> Vec<Vec<String>> {
    let disk = |disk: &str| format!("{BY_ID}/{disk}");
    match change {
        PoolChange::Set { property, value } => {
            vec![words(&["zpool", "set", &format!("{property}={value}"), pool])]
        }
        PoolChange::Root { set, inherit } => properties(pool, set, inherit),
        PoolChange::Replace { old, new } => vec![words(&["zpool", "replace", pool, old, &disk(new)])],
        PoolChange::Attach { to, new } => vec![words(&["zpool", "attach", pool, to, &disk(new)])],
        PoolChange::Add { vdev: added, ashift } => {
            let mut argv = words(&["zpool", "add", "-o", &format!("ashift={ashift}"), pool]);
            argv.extend(vdev(added));
            vec![argv]
        }
        PoolChange::Remove { name } => vec![words(&["zpool", "remove", pool, name])],
    }
}

/// Sets properties of a dataset, and has it inherit others.
pub(super) fn properties(
    dataset: &str,
    set: &BTreeMap<String, String>,
    inherit: &BTreeSet<String>,
) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    if !set.is_empty() {
        let mut argv = words(&["zfs", "set"]);
        argv.extend(set.iter().map(|(name, value)| format!("{name}={value}")));
        argv.push(dataset.to_owned());
        all.push(argv);
    }
    all.extend(inherit.iter().map(|name| words(&["zfs", "inherit", name, dataset])));
    all
}

/// Makes a dataset.
pub(super) fn create_dataset(site: &str, dataset: &str, said: &BTreeMap<String, String>) -> Vec<String> {
    let mut argv = words(&["zfs", "create", "-o", &format!("{MADE_BY}={site}")]);
    // Where its key lies is said of what has one.
    if said.contains_key("keylocation") {
        argv.extend(words(&["-o", "encryption=on", "-o", "keyformat=passphrase"]));
    }
    argv.extend(options("-o", said));
    argv.push(dataset.to_owned());
    argv
}

/// Loads the key of a dataset, which is on standard input.
pub(super) fn load_key(dataset: &str) -> Vec<String> {
    words(&["zfs", "load-key", "-L", "prompt", dataset])
}

/// Has a dataset have another key, which is on standard input. Where it lies is said afterwards.
pub(super) fn change_key(dataset: &str) -> Vec<String> {
    words(&["zfs", "change-key", "-o", "keyformat=passphrase", "-o", "keylocation=prompt", dataset])
}

/// Mounts what is mounted at every start of the node.
pub(super) fn mount_all() -> Vec<String> {
    words(&["zfs", "mount", "-a"])
}

/// Destroys a dataset with its snapshots. What else is in it was looked for before.
pub(super) fn destroy_dataset(dataset: &str) -> Vec<String> {
    words(&["zfs", "destroy", "-r", dataset])
}

/// Destroys a pool.
pub(super) fn destroy(pool: &str) -> Vec<String> {
    words(&["zpool", "destroy", pool])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of(class: Option<&str>, layout: Option<&str>, disks: &[&str]) -> Vdev {
        Vdev { class: class.map(str::to_owned), layout: layout.map(str::to_owned), disks: words(disks) }
    }

    #[test]
    fn a_pool_is_made_by_one_plain_command() {
        let said = Said { pool: map(&[("autotrim", "on")]), root: map(&[("compression", "zstd")]) };
        let groups = [of(None, Some("mirror"), &["a", "b"]), of(Some("log"), None, &["c"])];
        assert_eq!(
            create("workshop", "tank", &groups, 12, &said).join(" "),
            "zpool create -o ashift=12 -o autotrim=on -O phoenix:site=workshop -O compression=zstd tank mirror \
             /dev/disk/by-id/a /dev/disk/by-id/b log /dev/disk/by-id/c"
        );
    }

    /// Nothing is ever forced but the import that a person agreed to.
    #[test]
    fn nothing_is_forced() {
        let changes = [
            PoolChange::Set { property: "autotrim".into(), value: "on".into() },
            PoolChange::Replace { old: "/dev/disk/by-id/a-part1".into(), new: "b".into() },
            PoolChange::Attach { to: "mirror-0".into(), new: "c".into() },
            PoolChange::Add { vdev: of(Some("cache"), None, &["d"]), ashift: 12 },
            PoolChange::Remove { name: "mirror-1".into() },
            PoolChange::Root { set: map(&[("atime", "off")]), inherit: ["quota".to_owned()].into() },
        ];
        let mut all: Vec<Vec<String>> = changes.iter().flat_map(|it| change("tank", it)).collect();
        all.push(destroy("tank"));
        all.push(destroy_dataset("tank/media"));
        all.push(import("15", false));
        assert!(all.iter().flatten().all(|word| word != "-f" && word != "-F"), "{all:?}");
        assert!(import("15", true).contains(&"-f".to_owned()));
    }
}
