//! How a resource is, by what was observed and what the marks say: what `status` shows.

use jiff::Timestamp;
use plan::desired::Service;
use plan::{Address, Desired, Inventory, Mark, Plan};
use serde::Serialize;
use serde_json::{Map, Value};

/// What is known of a site that was looked at.
#[expect(missing_debug_implementations, reason = "it holds a function")]
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// What is wanted.
    pub desired: &'a Desired,
    /// What is there.
    pub inventory: &'a Inventory,
    /// What the next apply would do.
    pub plan: &'a Plan,
    /// The time.
    pub now: Timestamp,
    /// How clients reach a service.
    pub url: &'a dyn Fn(&Service) -> String,
}

impl<'a> Seen<'a> {
    /// The mark of a guest that is this site's.
    pub fn mark(&self, guest: &str) -> Option<&'a Mark> {
        let guest = self.inventory.guests.get(&self.desired.guests.get(guest)?.id)?;
        guest.mark.as_ref().filter(|mark| mark.site == self.desired.site)
    }

    /// What the node remembers, where this site looks after it.
    pub fn node_mark(&self) -> Option<&'a Mark> {
        self.inventory.reached().hypervisor.as_ref().filter(|mark| mark.site == self.desired.site)
    }
}

/// How a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Which.
    pub address: Address,
    /// In words.
    pub state: String,
    /// More of it, for programs.
    #[serde(flatten)]
    pub more: Map<String, Value>,
    /// For people; nothing where they are better off without.
    #[serde(skip)]
    pub line: Option<Line>,
}

/// A line for people: sign, address, text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What stands first.
    pub sign: char,
    /// What stands behind the address.
    pub text: String,
    /// Whether its time has come, and the next apply sees to it.
    pub due: bool,
}

impl Status {
    /// A resource of which there is nothing more to say, and no line.
    pub fn new(address: &Address, state: impl Into<String>) -> Self {
        Self { address: address.clone(), state: state.into(), more: Map::new(), line: None }
    }

    /// By what the next apply would do with it.
    pub fn by_plan(address: &Address, plan: &Plan) -> Self {
        let step = plan.steps.iter().find(|step| step.address == *address);
        let state = match step {
            Some(step) => format!("waits for an apply: {}", step.reasons.join("; ")),
            None if plan.problems.is_empty() => "as the blueprint wants it".to_owned(),
            // A problem may keep its step out of the plan.
            None => "not known, as there are problems".to_owned(),
        };
        Self::new(address, state)
    }

    /// With more for programs, which is an object.
    #[must_use]
    pub fn more(self, more: impl Serialize) -> Self {
        // Plain structs of texts and numbers always serialize.
        match serde_json::to_value(more).unwrap_or_default() {
            Value::Object(more) => Self { more, ..self },
            _ => self,
        }
    }

    /// With a line for people.
    #[must_use]
    pub fn line(self, sign: char, text: impl Into<String>) -> Self {
        Self { line: Some(Line { sign, text: text.into(), due: false }), ..self }
    }
}
