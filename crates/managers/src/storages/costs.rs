//! What changing a key of a storage costs, for `explain` and the book.

/// In place, and nobody notices.
const LIVE: &str = "at once: the definition is changed in place";
/// What Proxmox VE does not change.
const ANEW: &str =
    "defined anew, with consent, and only while no guest has a disk there; what lies there stays";
/// What may be of no use to guests any more.
const GUARDED: &str = "at once: refused while it would shut out a guest that has a disk there";

/// The keys whose changes are not [`LIVE`].
static OTHERS: [(&str, &str); 16] = [
    ("btrfs", ANEW),
    ("cifs.password", "at once: a value that changes behind the reference, too"),
    ("cifs.server", ANEW),
    ("cifs.share", ANEW),
    ("content", GUARDED),
    ("dir", ANEW),
    ("enabled", GUARDED),
    ("lvm", ANEW),
    ("lvmthin", ANEW),
    ("nfs.export", ANEW),
    ("nfs.server", ANEW),
    ("nodes", GUARDED),
    ("pbs.datastore", ANEW),
    ("pbs.password", "at once: a value that changes behind the reference, too"),
    ("pbs.server", ANEW),
    ("zfspool", ANEW),
];

/// When a change takes effect, in words; `key` is its path below the storage: `nfs.server`.
pub(crate) fn costs(key: &str) -> &'static str {
    match OTHERS.iter().find(|(name, _)| *name == key) {
        Some((_, words)) => words,
        // An object of its own: its parts say it.
        None if OTHERS.iter().any(|(name, _)| name.split_once('.').is_some_and(|(of, _)| of == key)) => {
            "server and place as if it were another storage, the rest at once"
        }
        None => LIVE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_it_is_is_defined_anew() {
        let found = blueprint::explain("storages.NAME").unwrap();
        let keys: Vec<&str> = found.children.iter().map(|(key, _)| key.as_str()).collect();
        for kind in &blueprint::model::STORAGE_TYPES {
            assert!(keys.contains(&kind.name), "{keys:?}");
            assert_ne!(costs(kind.name), LIVE, "{}", kind.name);
        }
        for (key, _) in OTHERS {
            assert!(blueprint::explain(&format!("storages.NAME.{key}")).is_some(), "there is no key {key}");
        }
        assert_eq!((costs("prune-backups"), costs("pbs.port")), (LIVE, LIVE));
    }
}
