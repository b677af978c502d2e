//! What the authority in a guest has signed for later. By itself step-ca bounds how long a certificate lives, and not when it
//! begins: a guest that was taken for a minute could have some made for the time after. It asks before it signs now
//! (`catalog/step-ca/begins`), so there are those of before, or none; nobody who is well asks for such, and any is worth a word.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A certificate that begins later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForLater {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// When it begins, Unix seconds.
    pub begin: i64,
    /// When it ends, Unix seconds.
    pub end: i64,
    /// The DNS names in it, as the guest says.
    pub names: Vec<String>,
}

/// What its guest says of them (`authority later`): a line for each of the first, and a last one with their number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signed {
    /// The first of them, by when they begin.
    pub first: Vec<ForLater>,
    /// How many there are.
    pub all: u64,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Total {
    all: u64,
}

impl Signed {
    /// Reads what the guest said; nothing where it was cut off or cannot be understood.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let last = lines.next_back()?;
        let Total { all } = serde_json::from_str(last).ok()?;
        let first = lines.map(serde_json::from_str).collect::<Result<Vec<_>, _>>().ok()?;
        Some(Self { first, all })
    }

    /// What is to be said of them; nothing where there are none.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        if self.all == 0 {
            return None;
        }
        let mut names: Vec<&str> = self.first.iter().flat_map(|one| &one.names).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let more = if names.len() > 3 { ", …" } else { "" };
        names.truncate(3);
        let times =
            self.first.iter().map(|one| one.begin).min().zip(self.first.iter().map(|one| one.end).max());
        let date = |second| {
            Timestamp::from_second(second).map_or_else(|_| "?".into(), |t| t.strftime("%Y-%m-%d").to_string())
        };
        let when = times.map(|(begin, end)| format!(" (from {} until {})", date(begin), date(end)));
        Some(format!(
            "it has signed {} certificate{} that begin later, which nobody of the site asks for: {}{more}{}",
            self.all,
            if self.all == 1 { "" } else { "s" },
            if names.is_empty() { "without names".to_owned() } else { names.join(", ") },
            when.unwrap_or_default(),
        ))
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.first {
            writeln!(f, "{}", serde_json::to_string(one).map_err(|_| fmt::Error)?)?;
        }
        writeln!(f, "{}", serde_json::to_string(&Total { all: self.all }).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_said_prints_back_the_same(
            first in proptest::collection::vec(
                ("[0-9a-f]{1,40}", any::<i64>(), any::<i64>(), proptest::collection::vec(".{0,20}", 0..4)),
                0..5,
            ),
            all in any::<u64>(),
        ) {
            let first = first.into_iter().map(|(serial, begin, end, names)| ForLater { serial, begin, end, names });
            let signed = Signed { first: first.collect(), all };
            prop_assert_eq!(Signed::parse(&signed.to_string()), Some(signed.clone()));
            prop_assert_eq!(signed.words().is_some(), all > 0);
        }

        #[test]
        fn whatever_a_guest_says_is_read_or_not(text in ".*") {
            let _ = Signed::parse(&text);
        }
    }

    #[test]
    fn it_is_said_for_whom_and_when() {
        let one = |name: &str, begin| ForLater {
            serial: "1".into(),
            begin,
            end: begin + 86_400,
            names: vec![name.into()],
        };
        let first =
            vec![one("wiki.workshop.internal", 1_800_000_000), one("wiki.workshop.internal", 1_800_086_400)];
        let signed = Signed { first, all: 2 };
        assert_eq!(
            signed.words().unwrap(),
            "it has signed 2 certificates that begin later, which nobody of the site asks for: wiki.workshop.internal \
             (from 2027-01-15 until 2027-01-17)"
        );
        assert_eq!(Signed::default().words(), None);
        // Cut off: nothing is known.
        assert_eq!(Signed::parse("{\"serial\":\"1\",\"begin\":1,\"end\":2,\"names\":[]}\n"), None);
        assert_eq!(Signed::parse(""), None);
    }
}
