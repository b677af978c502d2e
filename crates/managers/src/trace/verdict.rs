//! What all walks of a trace come to.

use serde_json::{Value, json};

use super::finding::{Cause, Layer, State, Walk};
use super::path::Path;

/// What a trace comes to, in one line; and all that was found wrong, in the order in which it has to be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it is as a whole.
    pub state: State,
    /// In words.
    pub text: String,
    /// All causes, the nearest to the wire first.
    pub causes: Vec<Cause>,
}

impl Verdict {
    /// As JSON.
    pub fn json(&self) -> Value {
        json!({ "state": self.state, "text": self.text, "causes": self.causes.iter().map(Cause::json).collect::<Vec<_>>() })
    }
}

/// What these walks of a path come to.
pub fn verdict(path: &Path, walks: &[Walk]) -> Verdict {
    let state = walks.iter().map(Walk::state).max().unwrap_or(State::Broken);
    let mut found: Vec<(State, &Cause)> = Vec::new();
    for finding in walks.iter().flat_map(|walk| &walk.findings) {
        for cause in finding.causes() {
            if !found.iter().any(|(_, known)| *known == cause) {
                found.push((finding.state, cause));
            }
        }
    }
    // What holds for now waits, unless it is so near to the wire that it may be what breaks the rest.
    found.sort_by_key(|(state, cause)| {
        (*state != State::Broken && cause.layer() > Layer::Neighbour, cause.layer())
    });
    let causes: Vec<Cause> = found.into_iter().map(|(_, cause)| cause.clone()).collect();
    Verdict { state, text: words(path, walks, state, &causes), causes }
}

fn words(path: &Path, walks: &[Walk], state: State, causes: &[Cause]) -> String {
    let name = &path.name;
    let from = |wanted: &dyn Fn(State) -> bool| {
        let places: Vec<&str> = walks.iter().filter(|w| wanted(w.state())).map(|w| w.from.as_str()).collect();
        places.join(", ")
    };
    let (well, ill) = match path.entrance {
        Some(_) => ("answers as it should", "does not"),
        None => ("is as it should be", "is not"),
    };
    let first = causes.first().map(|cause| cause.text.lines().next().unwrap_or_default()).unwrap_or_default();
    let more = match causes.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more, to be mended after that)", n - 1),
    };
    match state {
        State::Good => format!("{name} {well}, from {}", from(&|_| true)),
        State::Weak => format!("{name} {well} for now, from {}: {first}{more}", from(&|_| true)),
        State::Broken if walks.is_empty() => format!("{name}: there is no place to ask from"),
        State::Broken => {
            let others = from(&|state| state != State::Broken);
            let others = if others.is_empty() { String::new() } else { format!(" ({well} from {others})") };
            format!(
                "{name} {ill} {}, from {}{others}: {first}{more}",
                bare(well),
                from(&|s| s == State::Broken)
            )
        }
    }
}

/// `answer` of `answers as it should`.
fn bare(well: &str) -> &str {
    if well.starts_with("answers") { "answer as it should" } else { "as it should be" }
}
