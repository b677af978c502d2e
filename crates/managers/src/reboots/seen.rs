//! Reads what `read.sh` prints of what waits for a restart of the node. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use plan::GuestKind;

/// The script that is run on the node, in the one command that reads everything there.
pub(super) const SCRIPT: &str = include_str!("read.sh");

/// What is known on a node of its restarts. Printed, it is what was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restarts {
    /// Which start it is in: another word after each.
    pub boot: String,
    /// The features that changed something that counts from the next start, each with the start in which that was.
    pub waits: BTreeMap<String, Waits>,
    /// The features that have something of that kind.
    pub counts: BTreeSet<String>,
    /// A restart that was begun and is not over.
    pub begun: Option<Begun>,
}

/// A change that counts from the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// In which start it was made.
    pub boot: String,
    /// What the feature was at the begin of that: its fingerprint, `-` where it was not there, `?` where that is not known.
    pub was: String,
}

/// A restart that was begun. Printed, it is what is written down of it on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// In which start.
    pub boot: String,
    /// For which site.
    pub site: String,
    /// The guests that ran then, in the order in which they start.
    pub ran: Vec<(GuestKind, u32)>,
}

impl Restarts {
    /// The features that wait for the next start.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        self.waits.iter().filter(|(_, waits)| waits.boot == self.boot).map(|(name, _)| name.as_str())
    }

    /// Whether a feature that waits for the next start is at its begin what it would be with this fingerprint, or gone where
    /// that is `None`: then it waits for nothing once that is put in place.
    pub fn is_set_back(&self, feature: &str, fingerprint: Option<&str>) -> bool {
        let waits = self.waits.get(feature).filter(|waits| waits.boot == self.boot);
        waits.is_some_and(|waits| waits.was == fingerprint.unwrap_or("-"))
    }

    /// The restart that this site began.
    pub fn begun_by(&self, site: &str) -> Option<&Begun> {
        self.begun.as_ref().filter(|begun| begun.site == site)
    }
}

/// What is wrong with a line.
fn odd(line: &str) -> String {
    format!("`{}` is not understood", line.chars().take(80).collect::<String>().escape_debug())
}

/// What is known on a node of its restarts.
///
/// # Errors
/// What is wrong with the text, where it is not whole or not what the script prints.
pub fn parse(text: &str) -> Result<Restarts, String> {
    let mut all = Restarts::default();
    let mut whole = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        whole = words == ["end"];
        fact(&mut all, &words).ok_or_else(|| odd(line))?;
    }
    match whole && text.ends_with('\n') && !all.boot.is_empty() {
        true => Ok(all),
        false => Err("it ends too early".to_owned()),
    }
}

/// A word that is there and whose bytes show.
fn word(text: &str) -> Option<String> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| text.to_owned())
}

fn fact(all: &mut Restarts, words: &[&str]) -> Option<()> {
    match words {
        ["end"] => {}
        ["boot", boot] => all.boot = word(boot)?,
        ["waits", name, boot, was] => {
            all.waits.insert(word(name)?, Waits { boot: word(boot)?, was: word(was)? });
        }
        ["counts", name] => drop(all.counts.insert(word(name)?)),
        ["begun", boot, site] => {
            all.begun = Some(Begun { boot: word(boot)?, site: word(site)?, ran: Vec::new() });
        }
        ["ran", guest] => {
            let (kind, id) = guest.split_once(' ')?;
            all.begun.as_mut()?.ran.push((GuestKind::of_word(kind)?, id.parse().ok()?));
        }
        _ => return None,
    }
    Some(())
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.boot, self.site)?;
        self.ran.iter().try_for_each(|(kind, id)| writeln!(f, "{} {id}", kind.as_str()))
    }
}

impl fmt::Display for Restarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "boot\t{}", self.boot)?;
        self.waits
            .iter()
            .try_for_each(|(name, waits)| writeln!(f, "waits\t{name}\t{}\t{}", waits.boot, waits.was))?;
        self.counts.iter().try_for_each(|name| writeln!(f, "counts\t{name}"))?;
        if let Some(Begun { boot, site, ran }) = &self.begun {
            writeln!(f, "begun\t{boot}\t{site}")?;
            ran.iter().try_for_each(|(kind, id)| writeln!(f, "ran\t{} {id}", kind.as_str()))?;
        }
        f.write_str("end\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn restarts() -> impl Strategy<Value = Restarts> {
        let word = || "[a-z0-9-]{1,12}";
        let guest = (any::<bool>(), any::<u32>())
            .prop_map(|(vm, id)| (if vm { GuestKind::Vm } else { GuestKind::Container }, id));
        let begun = (word(), word(), prop::collection::vec(guest, 0..4))
            .prop_map(|(boot, site, ran)| Begun { boot, site, ran });
        let waited = (word(), word()).prop_map(|(boot, was)| Waits { boot, was });
        let waits = prop::collection::btree_map(word(), waited, 0..3);
        let counts = prop::collection::btree_set(word(), 0..3);
        (word(), waits, counts, prop::option::of(begun)).prop_map(|(boot, waits, counts, begun)| Restarts {
            boot,
            waits,
            counts,
            begun,
        })
    }

    proptest! {
        #[test]
        fn what_is_read_prints_back(restarts in restarts()) {
            let text = restarts.to_string();
            prop_assert_eq!(parse(&text).unwrap(), restarts);
            // From a part of it nothing is concluded.
            for end in 0..text.len() {
                prop_assert!(parse(&text[..end]).is_err(), "{:?}", &text[..end]);
            }
        }

        #[test]
        fn whatever_is_said_is_no_surprise(text in "(boot|waits|counts|begun|ran|end|\\PC|\t|\n){0,20}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn only_what_changed_in_this_start_waits() {
        let text = "boot\tb2\nwaits\tkernel\tb1\tf1\nwaits\tvfio\tb2\tf2\ncounts\tvfio\nbegun\tb1\tworkshop\nran\tcontainer 120\nend\n";
        let all = parse(text).unwrap();
        assert_eq!(all.waiting().collect::<Vec<_>>(), ["vfio"]);
        assert!(all.is_set_back("vfio", Some("f2")) && !all.is_set_back("vfio", None));
        assert!(!all.is_set_back("kernel", Some("f1")), "that was before the last start");
        assert_eq!(all.begun_by("workshop").unwrap().ran, [(GuestKind::Container, 120)]);
        assert!(all.begun_by("other").is_none());
        assert!(parse("boot\tb2\nran\tcontainer 120\nend\n").is_err());
        assert!(parse("end\n").is_err());
    }
}
