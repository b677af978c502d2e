//! The exercises of the learning centre: what one is, as data, and whether somebody has done it. Start at [`Exercise`]; what is
//! printed of them is in `commands::learn`.

mod goals;
mod record;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use goals::{certificates, judge};
pub(crate) use record::{Notebook, Record};

/// Every file of `learn/` but for the solutions, by its path below that, sorted.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/learn.rs"));

/// What an `exercise.json` says. Beside it is `site/`, the blueprint that the exercise begins with, and `solution/`, the files that
/// tests put in their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exercise {
    /// Its place in the list.
    pub number: u32,
    /// What it is called on the screen.
    pub title: String,
    /// The page of the learning centre that it belongs to, such as `names.md`.
    pub page: String,
    /// How many minutes it usually takes.
    pub minutes: u32,
    /// Whether it cannot be done in a simulated lab.
    #[serde(default)]
    pub needs_real_containers: bool,
    /// What is to be done.
    pub task: String,
    /// What happens in its site and lab before the task is told, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// When it is done: when all of these hold.
    pub goals: Vec<Goal>,
    /// Hints, each telling more than the one before.
    pub hints: Vec<String>,
}

/// Something that happens before the task is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "do")]
pub enum Step {
    /// The site is applied.
    Apply,
    /// Somebody types a command on the lab's node, past Phoenix.
    OnNode {
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// Somebody changes a file of the site.
    Replace {
        /// The file, by its path in the site's folder.
        file: String,
        /// What is in it once.
        old: String,
        /// What is there instead.
        new: String,
    },
}

/// Something that holds when the exercise is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "goal")]
pub enum Goal {
    /// The blueprint has no errors.
    Validates,
    /// Nothing is left to apply.
    PlanEmpty,
    /// A guest is on the node, runs, and is the site's own.
    GuestExists {
        /// Its name.
        guest: String,
    },
    /// A guest is neither in the blueprint nor, as the site's own, on the node.
    GuestAbsent {
        /// Its name.
        guest: String,
    },
    /// A service answers. In a simulated lab: it is applied, and all guests on the way to it run.
    ServiceAnswers {
        /// Its name.
        service: String,
    },
    /// A certificate of the workshop's own authority was made since the exercise began.
    CertificateRenewed {
        /// Its name.
        certificate: String,
    },
    /// A name leads to a guest, for all guests of the site.
    NameLeadsTo {
        /// The whole name.
        name: String,
        /// The guest's name.
        guest: String,
    },
    /// A flow lets one guest connect to another.
    FlowAllowed {
        /// The guest that connects.
        from: String,
        /// The guest that it connects to.
        to: String,
        /// The TCP port there.
        port: u16,
    },
    /// A resource is declared, and `explain` says this of it.
    Says {
        /// Its address, such as `container.notes`.
        address: String,
        /// Which of the facts that `explain` shows.
        fact: String,
        /// What it says.
        value: String,
    },
    /// A question is answered, by `check --answer WORD`. An exercise has one at most.
    Answer {
        /// The question.
        question: String,
        /// The right answer.
        right: Right,
    },
}

/// How a right answer is known. Capitals, and blanks around it, make no difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Right {
    /// It has this SHA-256, in hexadecimal form, in small letters.
    Sha256(String),
    /// It is the SHA-256 fingerprint of the workshop's root certificate; colons make no difference.
    RootFingerprint,
}

impl Exercise {
    /// All of them, by name.
    ///
    /// # Errors
    /// When one cannot be read, which is a defect of Phoenix.
    pub fn all() -> Result<BTreeMap<&'static str, Self>, serde_json::Error> {
        let specs =
            FILES.iter().filter_map(|(path, bytes)| Some((path.strip_suffix("/exercise.json")?, *bytes)));
        specs.map(|(name, bytes)| Ok((name, serde_json::from_slice(bytes)?))).collect()
    }

    /// The question, where it has one.
    pub fn question(&self) -> Option<&str> {
        self.goals.iter().find_map(|goal| match goal {
            Goal::Answer { question, .. } => Some(question.as_str()),
            _ => None,
        })
    }
}

/// The files of the site that the exercise `name` begins with, by their paths in its folder.
pub(crate) fn site_files(name: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let below = format!("{name}/site/");
    FILES.iter().filter_map(move |(path, bytes)| Some((path.strip_prefix(below.as_str())?, *bytes)))
}

/// The schema of an `exercise.json` (JSON Schema, draft 2020-12).
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Exercise).to_value();
    schema["title"] = "Phoenix exercise".into();
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_exercise_is_whole() {
        let all = Exercise::all().unwrap();
        assert_eq!(all.len(), 9);
        let numbers: BTreeSet<u32> = all.values().map(|it| it.number).collect();
        assert_eq!(numbers, (1..=9).collect());
        for (name, exercise) in &all {
            let page = format!("{}/../../docs/src/learn/{}", env!("CARGO_MANIFEST_DIR"), exercise.page);
            let text = std::fs::read_to_string(&page).unwrap();
            assert!(
                text.contains(&format!("phoenix-cli learn start {name}\n")),
                "{page} does not name {name}"
            );
            assert!(exercise.hints.len() > 1 && exercise.minutes > 0 && !exercise.goals.is_empty(), "{name}");
            let questions = exercise.goals.iter().filter(|goal| matches!(goal, Goal::Answer { .. }));
            assert!(questions.count() <= 1, "{name} has more than one question");
            assert!(site_files(name).any(|(path, _)| path == "site.json"), "{name} has no site");
            for goal in &exercise.goals {
                if let Goal::Says { address, .. } = goal {
                    let address: plan::Address = address.parse().unwrap();
                    assert!(managers::manager_of(address.kind()).is_some(), "{name}: {address}");
                }
            }
        }
    }

    /// As the book makes them of headings.
    fn anchor(heading: &str) -> String {
        heading.to_lowercase().replace(' ', "-")
    }

    #[test]
    fn the_glossary_is_sorted_and_has_what_pages_link_to() {
        let book = format!("{}/../../docs/src", env!("CARGO_MANIFEST_DIR"));
        let glossary = std::fs::read_to_string(format!("{book}/glossary.md")).unwrap();
        let words: Vec<String> =
            glossary.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
        assert!(words.len() > 50 && words.windows(2).all(|pair| pair[0] < pair[1]), "{words:?}");
        for entry in std::fs::read_dir(format!("{book}/learn")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for link in text.split("../glossary.md#").skip(1) {
                let word = link.split(')').next().unwrap_or_default();
                assert!(words.iter().any(|known| known == word), "{}: {word}", path.display());
            }
        }
    }

    #[test]
    fn solutions_are_not_in_the_binary() {
        assert!(FILES.iter().all(|(path, _)| !path.contains("/solution/")));
    }
}
