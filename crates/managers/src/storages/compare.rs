//! How the definition of a storage differs from what is wanted of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::{Place, Storage, StorageType};
use plan::inventory::Definition;

/// The options that have a key in blueprints: where it is not there, Proxmox VE's default is meant.
const TYPED: [&str; 15] = [
    "content",
    "create-base-path",
    "disable",
    "domain",
    "fingerprint",
    "namespace",
    "nodes",
    "options",
    "port",
    "preallocation",
    "prune-backups",
    "shared",
    "snapshot-as-volume-chain",
    "sparse",
    "subdir",
];

/// What a definition is, and where.
pub(super) fn place_of(there: &Definition) -> Place {
    let fixed = StorageType::of(&there.kind).map_or(&[][..], |kind| kind.fixed);
    let options = fixed.iter().filter_map(|&key| Some((key.to_owned(), there.options.get(key)?.clone())));
    Place { kind: there.kind.clone(), options: options.collect() }
}

/// An option that is not as it is to be: as it is and as it is wanted, none where Proxmox VE's default holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Differs {
    pub key: String,
    pub is: Option<String>,
    pub wanted: Option<String>,
}

/// What differs, by the options' names. `before` are the settings that were set once and may have to go.
pub(super) fn compare(wanted: &Storage, there: &Definition, before: &BTreeSet<String>) -> Vec<Differs> {
    let written = wanted.written();
    let user = ["username".to_owned()];
    let typed = TYPED.iter().map(|&key| key.to_owned()).chain(user);
    let keys: BTreeSet<String> = typed.chain(written.keys().cloned()).chain(before.iter().cloned()).collect();
    let differs = keys.into_iter().filter_map(|key| {
        let (is, wanted) = (there.options.get(&key), written.get(&key));
        (!same(&key, is, wanted)).then(|| Differs { is: is.cloned(), wanted: wanted.cloned(), key })
    });
    differs.collect()
}

/// Whether two values mean the same to Proxmox VE.
fn same(key: &str, is: Option<&String>, wanted: Option<&String>) -> bool {
    let parts = |value: &str| -> BTreeSet<String> {
        value.split([',', ';', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let meant = |value: Option<&String>| -> BTreeSet<String> {
        let value = value.map(String::as_str);
        match (key, value) {
            ("content" | "nodes", value) => parts(value.unwrap_or_default()),
            ("prune-backups", None | Some("keep-all=1")) => BTreeSet::new(),
            ("prune-backups" | "content-dirs" | "bwlimit", value) => parts(value.unwrap_or_default()),
            ("preallocation", None) => parts("metadata"),
            ("port", None) => parts("8007"),
            ("create-base-path", None) => parts("1"),
            ("fingerprint", Some(value)) => [value.to_uppercase()].into(),
            (
                "disable"
                | "shared"
                | "sparse"
                | "snapshot-as-volume-chain"
                | "saferemove"
                | "nocow"
                | "tagged_only",
                None,
            ) => parts("0"),
            (_, value) => value.into_iter().map(str::to_owned).collect(),
        }
    };
    meant(is) == meant(wanted)
}

/// What is written so that nothing differs any more: options with values, and those that go.
pub(super) fn changes(differs: &[Differs]) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut set, mut delete) = (BTreeMap::new(), BTreeSet::new());
    for one in differs {
        match &one.wanted {
            Some(value) => drop(set.insert(one.key.clone(), value.clone())),
            None => drop(delete.insert(one.key.clone())),
        }
    }
    (set, delete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_does_not_differ() {
        let text = |value: &str| Some(value.to_owned());
        for (key, is, wanted) in [
            ("content", text("rootdir,images"), text("images,rootdir")),
            ("nodes", text("pve2,pve1"), text("pve1,pve2")),
            ("prune-backups", text("keep-all=1"), None),
            ("prune-backups", text("keep-last=3,keep-daily=7"), text("keep-daily=7,keep-last=3")),
            ("disable", text("0"), None),
            ("preallocation", text("metadata"), None),
            ("port", text("8007"), None),
            ("fingerprint", text("aa:bb"), text("AA:BB")),
        ] {
            assert!(same(key, is.as_ref(), wanted.as_ref()), "{key}: {is:?} {wanted:?}");
        }
        for (key, is, wanted) in [
            ("content", text("images"), text("images,rootdir")),
            ("nodes", None, text("pve1")),
            ("disable", text("1"), None),
            ("prune-backups", text("keep-last=3"), None),
            ("domain", text("a"), None),
        ] {
            assert!(!same(key, is.as_ref(), wanted.as_ref()), "{key}: {is:?} {wanted:?}");
        }
    }

    // Recorded: "read rec-b9".
    #[test]
    fn a_definition_says_what_it_is() {
        let options = [("path", "/srv/rec-b9"), ("content", "iso"), ("shared", "0")];
        let options = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let place = place_of(&Definition { kind: "dir".into(), options });
        assert_eq!(place.shown(), "dir /srv/rec-b9");
        assert_eq!(place.options.len(), 1);
    }
}
