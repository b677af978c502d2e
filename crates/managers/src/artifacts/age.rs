//! How old the pinned programs of a site are. Who pins gets no repairs by themselves, so it has to be said.

use std::collections::BTreeSet;

use jiff::civil::Date;

use super::list::{Hole, List};

/// When a pinned version is older, a newer one is likely to have repaired something, months.
pub const OLD: i32 = 12;

/// What is to be said of a pinned program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When that was released.
    pub released: Date,
    /// How long ago, in whole months.
    pub months: i32,
    /// What is known to be wrong with it, as far as those knew who pinned it.
    pub holes: Vec<Hole>,
}

impl Aged {
    /// What is wrong with it, in words; nothing where nothing is.
    pub fn trouble(&self) -> Option<String> {
        let Self { version, released, months, .. } = self;
        let mut words = Vec::new();
        if *months >= OLD {
            words.push(format!("{version} is of {released}, {months} months ago"));
        }
        if !self.holes.is_empty() {
            let holes = self.holes.iter().map(|hole| format!("{} (repaired in {})", hole.id, hole.fixed));
            words.push(format!("{version} has known holes: {}", holes.collect::<Vec<_>>().join(", ")));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// The programs of a list that a site's guests have, by name.
pub fn aged(list: &List, desired: &plan::Desired, today: Date) -> Vec<Aged> {
    let features = desired.guests.values().flat_map(|guest| &guest.features);
    let names: BTreeSet<&str> = features
        .filter_map(|feature| feature.payload.get("artifacts")?.as_array())
        .flatten()
        .filter_map(|artifact| artifact.get("name")?.as_str())
        .collect();
    let known = names.into_iter().filter_map(|name| Some((name, list.artifacts.get(name)?)));
    known
        .map(|(name, artifact)| Aged {
            name: name.to_owned(),
            version: artifact.version.clone(),
            released: artifact.released,
            months: months(artifact.released, today),
            holes: artifact.holes.clone(),
        })
        .collect()
}

/// Whole months from one day to another.
fn months(from: Date, to: Date) -> i32 {
    let begun = (i32::from(to.year()) - i32::from(from.year())) * 12 + i32::from(to.month())
        - i32::from(from.month());
    if to.day() < from.day() { begun - 1 } else { begun }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn months_are_whole() {
        assert_eq!(months(date(2025, 7, 14), date(2026, 7, 13)), 11);
        assert_eq!(months(date(2025, 7, 14), date(2026, 7, 14)), 12);
        assert_eq!(months(date(2026, 3, 31), date(2026, 4, 30)), 0);
        assert_eq!(months(date(2026, 1, 1), date(2026, 1, 1)), 0);
    }

    #[test]
    fn only_what_is_old_or_has_holes_is_told() {
        let of = |months, holes: &[(&str, &str)]| {
            let hole = |&(id, fixed): &(&str, &str)| Hole { id: id.to_owned(), fixed: fixed.to_owned() };
            let holes = holes.iter().map(hole).collect();
            Aged { name: "x".into(), version: "1.2".into(), released: date(2025, 1, 2), months, holes }
                .trouble()
        };
        assert_eq!(of(OLD - 1, &[]), None);
        assert_eq!(of(OLD, &[]).unwrap(), "1.2 is of 2025-01-02, 12 months ago");
        assert_eq!(of(1, &[("CVE-1", "1.3")]).unwrap(), "1.2 has known holes: CVE-1 (repaired in 1.3)");
        assert!(
            of(30, &[("CVE-1", "1.3"), ("CVE-2", "1.4")])
                .unwrap()
                .ends_with("(repaired in 1.3), CVE-2 (repaired in 1.4)")
        );
    }
}
