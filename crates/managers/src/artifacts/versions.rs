//! Versions, and pairs of them that are known not to work together (S-11).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version as far as it can be compared: its leading numbers. `5:29.0.1-1~debian.12` is 29.0.1, `v3.6.12` is 3.6.12;
/// numbers that are missing count as 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// Of these numbers; the last is not 0.
    pub fn of(numbers: &[u64]) -> Self {
        Self(numbers.to_vec())
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Debian's epoch says nothing about the program.
        let bare = text.split_once(':').map_or(text, |(_, rest)| rest);
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
        let numbers: Option<Vec<u64>> =
            bare[..end].trim_end_matches('.').split('.').map(|n| n.parse().ok()).collect();
        let mut numbers = numbers.ok_or_else(|| format!("`{text}` is no version"))?;
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Which versions: `>= 29`, `<= 3.6.0`, `>= 3.5, < 3.6.2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range(Vec<(Comparison, Version)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Is,
    AtLeast,
    More,
}

const COMPARISONS: [(&str, Comparison); 5] = [
    // The longer ones first, since one begins with the other.
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::More),
    ("=", Comparison::Is),
];

impl Range {
    /// Whether the version is one of them.
    pub fn holds(&self, version: &Version) -> bool {
        self.0.iter().all(|(comparison, bound)| match comparison {
            Comparison::Less => version < bound,
            Comparison::AtMost => version <= bound,
            Comparison::Is => version == bound,
            Comparison::AtLeast => version >= bound,
            Comparison::More => version > bound,
        })
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bounds: Result<Vec<_>, String> = text
            .split(',')
            .map(|part| {
                let part = part.trim();
                let (sign, comparison) = COMPARISONS
                    .into_iter()
                    .find(|(sign, _)| part.starts_with(sign))
                    .ok_or_else(|| format!("`{text}` does not begin with <, <=, =, >= or >"))?;
                Ok((comparison, part[sign.len()..].trim().parse()?))
            })
            .collect();
        bounds.map(Self)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (comparison, bound)) in self.0.iter().enumerate() {
            let sign = COMPARISONS.iter().find(|(_, c)| c == comparison).map_or("=", |(sign, _)| sign);
            write!(f, "{}{sign} {bound}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

/// Some versions of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The program: an artifact or a package, such as `docker`.
    pub name: String,
    /// Which of them.
    pub versions: Range,
}

/// A pair that is known to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// These versions of one program …
    pub one: Versions,
    /// … do not work with these of the other.
    pub other: Versions,
    /// What happens, as a clause without a full stop.
    pub reason: String,
}

/// A refusal that applies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{one} does not work with {other}: {reason}")]
pub struct Refused {
    /// The one, with its version: `traefik 3.6.0`.
    pub one: String,
    /// The other.
    pub other: String,
    /// What happens.
    pub reason: String,
}

/// Which pairs of the versions in use are known to fail; `used` are names and versions. A version that cannot be
/// compared, such as `latest`, is not refused here.
pub fn refused(refuses: &[Refusal], used: &[(&str, &str)]) -> Vec<Refused> {
    let matching = |wanted: &Versions| {
        let found = used.iter().filter(|(name, _)| *name == wanted.name);
        found
            .filter(|(_, version)| version.parse().is_ok_and(|v| wanted.versions.holds(&v)))
            .map(|(name, version)| format!("{name} {version}"))
            .collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for refusal in refuses {
        let others = matching(&refusal.other);
        for one in matching(&refusal.one) {
            all.extend(others.iter().map(|other| Refused {
                one: one.clone(),
                other: other.clone(),
                reason: refusal.reason.clone(),
            }));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::builtin;
    use super::*;

    fn is(version: &str, range: &str) -> bool {
        Range::try_from(range.to_owned()).expect("a range").holds(&version.parse().expect("a version"))
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(is("5:29.0.1-1~debian.12~bookworm", ">= 29") && !is("28.5.2", ">= 29"));
        assert!(is("3.6.0", "<= 3.6.0") && is("v3.6", "<= 3.6.0") && !is("3.6.1", "<= 3.6.0"));
        assert!(is("3.10", "> 3.9.9") && is("3.6.1", ">= 3.5, < 3.6.2") && !is("3.4", ">= 3.5, < 3.6.2"));
        assert!(is("20.10.24+dfsg1", "< 20.11"));
        assert!("latest".parse::<Version>().is_err() && Range::try_from("29".to_owned()).is_err());
    }

    // S-11: Docker 29 with Traefik up to 3.6.0 takes all routes down.
    #[test]
    fn pairs_that_are_known_to_fail_are_refused() {
        let refuses = &builtin().expect("the list is sound").refuses;
        let refused = |used: &[(&str, &str)]| {
            refused(refuses, used).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let bad = refused(&[("traefik", "3.6.0"), ("docker", "5:29.0.0-1~debian.12~bookworm")]);
        assert_eq!(bad.len(), 1);
        assert!(
            bad[0].starts_with("traefik 3.6.0 does not work with docker 5:29.0.0-1~debian.12~bookworm: "),
            "{bad:?}"
        );
        assert!(refused(&[("traefik", "3.6.12"), ("docker", "29.1.0")]).is_empty());
        assert!(refused(&[("traefik", "3.6.0"), ("docker", "28.5.2")]).is_empty());
        assert!(refused(&[("traefik", "latest"), ("docker", "29")]).is_empty());
        // What Phoenix itself installs is no such pair with any Docker.
        let list = builtin().expect("the list is sound");
        let ours = list.artifacts.iter().map(|(name, a)| (name.as_str(), a.version.as_str()));
        let with =
            |docker| super::refused(refuses, &ours.clone().chain([("docker", docker)]).collect::<Vec<_>>());
        assert_eq!((with("20.10.24+dfsg1"), with("29.0.0")), (Vec::new(), Vec::new()));
    }

    proptest! {
        #[test]
        fn a_range_prints_back_the_same(numbers in proptest::collection::vec(0u64..1000, 1..5), sign in 0usize..5) {
            let version = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
            let range = Range::try_from(format!("{} {version}", COMPARISONS[sign].0)).expect("a range");
            prop_assert_eq!(Range::try_from(range.to_string()).expect("a range"), range);
        }

        #[test]
        fn any_text_is_a_version_or_none(text in "\\PC{0,20}") {
            if let Ok(version) = text.parse::<Version>() {
                prop_assert_eq!(version.to_string().parse::<Version>(), Ok(version));
            }
        }
    }
}
