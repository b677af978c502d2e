//! What a change of a key of a blueprint costs, for `explain` and the book: from the rows of the guests' tables, and for what
//! has no row from [`FIELDS`].

use plan::GuestKind;

use super::{Row, Takes};
use crate::guests::table;

/// What changing keys of a guest costs that are no keys of its configuration, or not by their row; by their place in it.
pub static FIELDS: [(&str, &str); 28] = [
    ("answers-within", "nothing there changes: the next start is waited for so long"),
    ("clone", "when it is made, and never after"),
    ("disk.size", "at once: it grows in place, and never shrinks"),
    ("disk.storage", STOPPED),
    ("disks.NAME.size", "at once: it grows in place, and never shrinks"),
    ("disks.NAME.storage", LIVE),
    ("enter", "when it is made, and never after"),
    ("extends", "as its settings do"),
    ("features", "at once, inside; what a feature restarts is its own"),
    ("id", "made anew, with consent: its volumes go with it"),
    ("image", "when it is made"),
    ("mounts.NAME.host", "never in place: take it out and apply, then put it in again"),
    (
        "mounts.NAME.share",
        "of a container never in place: take it out and apply, then put it in again; of a virtual machine at once",
    ),
    ("mounts.NAME.size", "at once: it grows in place, and never shrinks"),
    ("mounts.NAME.storage", STOPPED),
    ("needs", "nothing there changes: the order of the work follows it"),
    ("networks.NAME.allowed-addresses", "at once, in the firewall"),
    ("node", "when it is made; afterwards it stays where it is"),
    ("packages", "at the first start alone"),
    ("pool", "at once"),
    ("services", "at once: names, certificates and its proxy follow"),
    ("started", "at once: it is started, or shut down"),
    ("template", "when it is made"),
    ("tpm.storage", STOPPED),
    ("type", "as its settings do"),
    ("uefi.storage", LIVE),
    (
        "user.password",
        "when it is made, and at once where it had none: cloud-init sets it at the first start alone",
    ),
    ("was", "at once"),
];

/// What moving a volume costs that moves while its guest runs.
const LIVE: &str = "at once: it moves, with its data, while the machine runs";
/// The same of one that does not.
const STOPPED: &str =
    "at a restart: it moves, with its data, while the guest is stopped, which takes as long as the copy";

/// What of a guest has costs, and the kinds of guests that it is of.
const GUESTS: [(&str, &[GuestKind]); 3] = [
    ("containers.NAME.", &[GuestKind::Container]),
    ("vms.NAME.", &[GuestKind::Vm]),
    ("types.NAME.", &[GuestKind::Container, GuestKind::Vm]),
];

impl Takes {
    /// When that is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Live => "at once",
            Self::Restart => "at a restart",
            Self::Plugged => "at once where it is new, else at a restart",
            Self::Rebuild => "made anew",
        }
    }
}

/// When a change of a key takes effect and what takes root, in words; `path` is the key's as `explain` has it:
/// `containers.NAME.memory`. Empty where it is no guest's and no storage's.
pub fn costs(path: &str) -> Vec<String> {
    if let Some(key) = path.strip_prefix("storages.NAME.") {
        return vec![crate::storages::costs(key).to_owned()];
    }
    let all = [GuestKind::Container, GuestKind::Vm];
    let found = GUESTS.iter().find_map(|(guest, kinds)| Some((path.strip_prefix(guest)?, *kinds)));
    let (of_guest, kinds) = match found {
        Some((of_guest, kinds)) => (Some(of_guest), kinds),
        None => (None, all.as_slice()),
    };
    let within = |key: &str| {
        of_guest.is_some_and(|of| of == key || of.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
    };
    if let Some((_, words)) = FIELDS.iter().find(|(field, _)| within(field)) {
        return vec![(*words).to_owned()];
    }
    let of_kind = |kind: &GuestKind| (*kind, of_rows(path, of_guest, *kind));
    let found: Vec<(GuestKind, Vec<String>)> =
        kinds.iter().map(of_kind).filter(|(_, words)| !words.is_empty()).collect();
    match found.as_slice() {
        [] => Vec::new(),
        [(_, words)] => words.clone(),
        [(_, words), (_, others)] if words == others => words.clone(),
        both => both
            .iter()
            .flat_map(|(kind, words)| {
                let of = if *kind == GuestKind::Vm { "a virtual machine" } else { "a container" };
                words.iter().map(move |words| format!("of {of}: {words}"))
            })
            .collect(),
    }
}

/// What the rows of a kind of guest say of a key.
fn of_rows(path: &str, of_guest: Option<&str>, kind: GuestKind) -> Vec<String> {
    let within = |key: &str| {
        of_guest.is_some_and(|of| of == key || of.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
    };
    // An object's own parts, each with a row: `console`.
    let above =
        |key: &str| of_guest.is_some_and(|of| key.strip_prefix(of).is_some_and(|r| r.starts_with('.')));
    // A setting of several: `settings.numaN`.
    let numbered = |key: &str| {
        key.strip_prefix("settings.").and_then(|key| key.strip_suffix('N')).is_some_and(|name| {
            let number = of_guest.and_then(|of| of.strip_prefix("settings.")?.strip_prefix(name));
            number.is_some_and(|number| number.parse::<u8>().is_ok())
        })
    };
    let names = |row: &&Row<_>| {
        from(row.from).any(|key| match key.contains('*') {
            true => key.replace('*', "NAME") == path,
            false => key == path || within(key) || above(key) || numbered(key),
        })
    };
    let rows: Vec<&Row<_>> = table::of_kind(kind).rows.iter().filter(names).collect();
    // A container has them in its configuration, too.
    if rows.is_empty() && (within("timezone") || within("mounts")) {
        return vec!["at once, inside, by its features".to_owned()];
    }
    let mut all: Vec<(String, Vec<&str>)> = Vec::new();
    for row in &rows {
        let words = words(row);
        match all.iter_mut().find(|(known, _)| *known == words) {
            Some((_, keys)) => keys.push(row.name),
            None => all.push((words, vec![row.name])),
        }
    }
    let alone = all.len() == 1;
    let told = |(words, keys): (String, Vec<&str>)| match alone {
        true => words,
        false => format!("{}: {words}", keys.join(", ")),
    };
    all.into_iter().map(told).collect()
}

/// The keys of blueprints that stand in a row's `from`.
fn from(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn words<G>(row: &Row<G>) -> String {
    let root = if row.root_words.is_empty() {
        String::new()
    } else {
        format!("; takes root on the node: {}", row.root_words)
    };
    format!("{}{root}", row.takes_words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_guest_says_what_a_change_costs() {
        for (guest, _) in GUESTS {
            let all = blueprint::explain(guest.trim_end_matches('.')).expect("it is a key").children;
            assert!(all.len() > 20);
            for (key, _) in all {
                assert!(!costs(&format!("{guest}{key}")).is_empty(), "{guest}{key}");
            }
        }
        for (field, _) in FIELDS {
            let known =
                GUESTS.iter().any(|(guest, _)| blueprint::explain(&format!("{guest}{field}")).is_some());
            assert!(known, "{field} is no key");
        }
        for kind in [GuestKind::Container, GuestKind::Vm] {
            for row in table::of_kind(kind).rows {
                for key in from(row.from) {
                    let path = key.replace('*', "NAME");
                    // What is behind `settings` is Proxmox VE's to name.
                    let known = blueprint::explain(&path).is_some()
                        || blueprint::explain(&format!("{}.NAME.{path}", kind.key())).is_some()
                        || key.starts_with("settings.");
                    assert!(known, "{key} of {} is no key", row.name);
                }
            }
        }
    }

    #[test]
    fn what_a_change_costs() {
        let one = |path| costs(path).join(" | ");
        assert_eq!(one("containers.NAME.memory"), "at once");
        assert_eq!(one("vms.NAME.memory"), "at a restart");
        assert_eq!(one("types.NAME.memory"), "of a container: at once | of a virtual machine: at a restart");
        assert_eq!(one("vms.NAME.affinity"), "at a restart; takes root on the node: always");
        assert_eq!(one("vms.NAME.cpulimit"), "at once");
        assert_eq!(one("vms.NAME.settings.args"), "at a restart; takes root on the node: always");
        assert_eq!(one("vms.NAME.settings.numa3"), "at a restart");
        assert_eq!(one("vms.NAME.settings.citype"), "at once");
        assert_eq!(
            one("types.NAME.options.keyctl"),
            format!("at a restart; takes root on the node: {FLAGS}")
        );
        assert_eq!(one("containers.NAME.mounts.NAME.size"), "at once: it grows in place, and never shrinks");
        assert_eq!(one("networks.NAME.nameservers"), "at a restart");
        assert_eq!(one("target.proxmox.endpoint"), "");
    }

    const FLAGS: &str = "every flag but `nesting`; all of a privileged container";
}
