//! What a change of a key of a blueprint costs, for `explain` and the book: from the rows of the guests' tables, and for what
//! has no row from [`FIELDS`].

use super::{Row, Takes};
use crate::guests::containers::ROWS;

/// What changing keys of a guest costs that are no keys of its configuration, or not by their row; by their place in it.
pub static FIELDS: [(&str, &str); 11] = [
    ("extends", "as its settings do"),
    ("features", "at once, inside; what a feature restarts is its own"),
    ("id", "made anew, with consent: its volumes go with it"),
    ("mounts.NAME.host", "never in place: take it out and apply, then put it in again"),
    ("mounts.NAME.size", "at once: it grows in place, and never shrinks"),
    ("needs", "nothing there changes: the order of the work follows it"),
    ("node", "when it is made; afterwards it stays where it is"),
    ("pool", "at once"),
    ("services", "at once: names, certificates and its proxy follow"),
    ("template", "when it is made"),
    ("type", "as its settings do"),
];

/// What of a guest has costs.
const GUESTS: [&str; 2] = ["containers.NAME.", "types.NAME."];

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
/// `containers.NAME.memory`. Empty where it is no guest's.
pub fn costs(path: &str) -> Vec<String> {
    let of_guest = GUESTS.iter().find_map(|guest| path.strip_prefix(guest));
    let within = |key: &str| {
        of_guest.is_some_and(|of| of == key || of.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
    };
    if let Some((_, words)) = FIELDS.iter().find(|(field, _)| within(field)) {
        return vec![(*words).to_owned()];
    }
    // An object's own parts, each with a row: `console`.
    let above =
        |key: &str| of_guest.is_some_and(|of| key.strip_prefix(of).is_some_and(|r| r.starts_with('.')));
    let names = |row: &&Row<_>| {
        from(row.from).any(|key| match key.contains('*') {
            true => key.replace('*', "NAME") == path,
            false => key == path || within(key) || above(key),
        })
    };
    let rows: Vec<&Row<_>> = ROWS.iter().filter(names).collect();
    let alone = rows.len() == 1;
    rows.into_iter().map(|row| words(row, alone)).collect()
}

/// The keys of blueprints that stand in a row's `from`.
fn from(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn words<G>(row: &Row<G>, alone: bool) -> String {
    let key = if alone { String::new() } else { format!("{}: ", row.name) };
    let root = if row.root_words.is_empty() {
        String::new()
    } else {
        format!("; takes root on the node: {}", row.root_words)
    };
    format!("{key}{}{root}", row.takes.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_container_says_what_a_change_costs() {
        // Types have those of virtual machines, too.
        for path in ["containers.NAME"] {
            let all = blueprint::explain(path).expect("it is a key").children;
            assert!(all.len() > 20);
            for (key, _) in all {
                assert!(!costs(&format!("{path}.{key}")).is_empty(), "{path}.{key}");
            }
        }
        for (field, _) in FIELDS {
            let known = GUESTS.iter().any(|guest| blueprint::explain(&format!("{guest}{field}")).is_some());
            assert!(known, "{field} is no key");
        }
        for row in &ROWS {
            for key in from(row.from) {
                let path = key.replace('*', "NAME");
                // What is behind `settings` is Proxmox VE's to name.
                let known = blueprint::explain(&path).is_some()
                    || blueprint::explain(&format!("containers.{path}")).is_some()
                    || key.starts_with("settings.");
                assert!(known, "{key} of {} is no key", row.name);
            }
        }
    }

    #[test]
    fn what_a_change_costs() {
        let one = |path| costs(path).join(" | ");
        assert_eq!(one("containers.NAME.memory"), "at once");
        assert_eq!(
            one("types.NAME.options.keyctl"),
            format!("at a restart; takes root on the node: {FLAGS}")
        );
        assert_eq!(one("containers.NAME.mounts.NAME.size"), FIELDS[4].1);
        assert_eq!(one("networks.NAME.nameservers"), "at a restart");
        assert_eq!(one("target.proxmox.endpoint"), "");
    }

    const FLAGS: &str = "every flag but `nesting`; all of a privileged container";
}
