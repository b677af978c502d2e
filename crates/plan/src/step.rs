//! Plans and their steps.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address::{Address, kinds};

/// The version of the JSON that people's programs rely on ([`Plan::public_json`]).
pub const VERSION: u32 = 1;

/// The version of the files in which plans are kept: what their steps say to the crews is in them, too.
pub const FILE_VERSION: u32 = 7;

/// The reason for a step of a plan that takes down the whole site.
pub const SITE_GOES: &str = "the site is to be destroyed";

/// What a step does to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It does not exist yet.
    Create,
    /// It is changed in place.
    Update,
    /// It is restarted, so that what waits for that applies.
    Restart,
    /// It is destroyed and made anew.
    Replace,
    /// It is destroyed.
    Delete,
    /// Something is carried out: a script, a probe.
    Run,
}

/// What a step costs the people who use the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Nothing stops.
    Live,
    /// It is away for the time of a restart.
    Restart,
    /// It is made anew.
    Rebuild,
    /// Data is lost.
    DataLoss,
}

impl Action {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Restart => "restart",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Run => "run",
        }
    }
}

impl Grade {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "restart",
            Self::Rebuild => "rebuild",
            Self::DataLoss => "data-loss",
        }
    }
}

/// One value that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which value, e.g. `memory`, `net0.ip`.
    pub path: String,
    /// What it is; `null` where it is not set.
    pub old: Value,
    /// What it will be; `null` where it goes.
    pub new: Value,
    /// A word on how, e.g. `grows in place`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Change {
    /// A change from `old` to `new`.
    pub fn new(path: impl Into<String>, old: impl Into<Value>, new: impl Into<Value>) -> Self {
        Self { path: path.into(), old: old.into(), new: new.into(), note: None }
    }

    /// With a word on how.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// Whether a step may be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Nothing has to be said.
    #[default]
    NotNeeded,
    /// Only when a person names the resource.
    Needed,
    /// Not at all, and why.
    Refused(String),
}

/// One change in a plan. It holds all that carrying it out takes: `apply` makes no choices of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The resource.
    pub address: Address,
    /// The guest's id, where the resource is a guest or on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// What is done.
    pub action: Action,
    /// What that costs.
    pub grade: Grade,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
    /// The values that change.
    pub changes: Vec<Change>,
    /// The steps that must have succeeded first.
    pub needs: Vec<Address>,
    /// Whether a person must agree.
    #[serde(default)]
    pub consent: Consent,
    /// Where it takes root on the node rather than the token: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// What it holds while it runs, as `class:name`; the foreman has a limit for each class.
    #[serde(default)]
    pub holds: Vec<String>,
    /// Steps with the same batch are carried out together, in the order of the plan, by one call of their crew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// What the crew needs to know. Never holds a secret.
    #[serde(default)]
    pub work: Value,
}

impl Step {
    /// A step that costs nothing and asks nobody; [`crate::Proposal::step`] adds what its crew needs to know.
    pub fn new(address: Address, action: Action) -> Self {
        Self {
            address,
            id: None,
            action,
            grade: Grade::Live,
            reasons: Vec::new(),
            changes: Vec::new(),
            needs: Vec::new(),
            consent: Consent::NotNeeded,
            root: None,
            holds: Vec::new(),
            batch: None,
            work: Value::Null,
        }
    }

    /// On the guest with this id, which it holds while it runs: one step at a time.
    #[must_use]
    pub fn on_guest(self, id: u32) -> Self {
        Self { id: Some(id), ..self }.hold("guest", id)
    }

    /// Of this cost.
    #[must_use]
    pub fn grade(self, grade: Grade) -> Self {
        Self { grade, ..self }
    }

    /// With more reasons, a sentence each.
    #[must_use]
    pub fn reasons(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.reasons.extend(reasons);
        self
    }

    /// With one more reason, a sentence.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    /// With one more value that changes.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// With these values that change, too.
    #[must_use]
    pub fn changes(mut self, changes: impl IntoIterator<Item = Change>) -> Self {
        self.changes.extend(changes);
        self
    }

    /// After these steps, where they are in the plan; what the graph says comes on top.
    #[must_use]
    pub fn needs(mut self, needs: impl IntoIterator<Item = Address>) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Only with this consent.
    #[must_use]
    pub fn consent(self, consent: Consent) -> Self {
        Self { consent, ..self }
    }

    /// With root on the node rather than the token, and why.
    #[must_use]
    pub fn root(self, why: impl Into<String>) -> Self {
        Self { root: Some(why.into()), ..self }
    }

    /// Holding one more thing while it runs: a class that the foreman has a limit for, and which of it.
    #[must_use]
    pub fn hold(mut self, class: &str, name: impl std::fmt::Display) -> Self {
        self.holds.push(format!("{class}:{name}"));
        self
    }

    /// Whether what it is about is off when it is done.
    pub fn stops(&self) -> bool {
        self.changes.iter().any(|change| change.path == "state" && change.new == "stopped")
    }

    /// Together with all steps of the same batch, by one call of their crew.
    #[must_use]
    pub fn batch(self, batch: impl Into<String>) -> Self {
        Self { batch: Some(batch.into()), ..self }
    }
}

/// Something that keeps the plan from being carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The resource.
    pub address: Address,
    /// A stable code, e.g. `plan::no-template`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Problem {
    /// A problem of a resource: a stable code, what is wrong, what to do.
    pub fn new(address: Address, code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { address, code: code.to_owned(), message: message.into(), hint: hint.into() }
    }
}

/// What apply will do, in an order in which it can be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use = "a plan that nobody looks at changes nothing"]
pub struct Plan {
    /// [`FILE_VERSION`].
    pub version: u32,
    /// The site's name.
    pub site: String,
    /// The steps; each comes after what it needs.
    pub steps: Vec<Step>,
    /// What keeps it from being carried out.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// What a person should know: what could not be read, what was not looked at.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The restarts that were put off ([`Plan::postpone_restarts`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postponed: Vec<Postponed>,
    /// What the plan was made against, by address, as each kind tells it ([`crate::Kind::state`]). A saved plan is only
    /// carried out when this still holds.
    #[serde(default)]
    pub basis: BTreeMap<Address, String>,
}

/// A restart that was put off: what waits for it goes on waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postponed {
    /// The restart's own address: `restart.notes`, `reboot.node`.
    pub address: Address,
    /// The guest's id; none where it is the node that is to restart.
    pub id: Option<u32>,
    /// Why it is to restart, one sentence each.
    pub reasons: Vec<String>,
}

impl Postponed {
    /// The guest as a person names it: `notes`.
    pub fn guest(&self) -> &str {
        self.address.name()
    }

    /// Whether it is the node's own.
    pub fn is_of_the_node(&self) -> bool {
        self.address.kind() == kinds::REBOOT
    }
}

/// Takes the restarts out of `steps` that `which` is true of, by their addresses.
pub(crate) fn postpone(steps: &mut Vec<Step>, which: impl Fn(&Step) -> bool) -> Vec<Postponed> {
    let out = steps.extract_if(.., |step| which(step)).map(|step| Postponed {
        address: step.address,
        id: step.id,
        reasons: step.reasons,
    });
    let out: Vec<Postponed> = out.collect();
    for step in steps {
        step.needs.retain(|need| out.iter().all(|it| it.address != *need));
    }
    out
}

/// Whether a step restarts a guest.
pub(crate) fn restarts_guest(step: &Step) -> bool {
    step.address.kind() == kinds::RESTART
}

/// Whether a step restarts the node. One that only starts what an earlier run stopped for that does not.
pub(crate) fn restarts_node(step: &Step) -> bool {
    step.address.kind() == kinds::REBOOT && step.action == Action::Restart
}

/// Counts of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// By action.
    pub actions: BTreeMap<String, usize>,
    /// By grade.
    pub grades: BTreeMap<String, usize>,
    /// Steps that wait for consent.
    pub consent: usize,
    /// Steps that are refused.
    pub refused: usize,
    /// All steps.
    pub steps: usize,
}

impl Plan {
    /// Counts by action and grade; every action and grade is there, also with zero.
    pub fn summary(&self) -> Summary {
        let actions =
            [Action::Create, Action::Update, Action::Restart, Action::Replace, Action::Delete, Action::Run];
        let grades = [Grade::Live, Grade::Restart, Grade::Rebuild, Grade::DataLoss];
        Summary {
            actions: actions
                .into_iter()
                .map(|a| (a.as_str().to_owned(), self.steps.iter().filter(|s| s.action == a).count()))
                .collect(),
            grades: grades
                .into_iter()
                .map(|g| (g.as_str().to_owned(), self.steps.iter().filter(|s| s.grade == g).count()))
                .collect(),
            consent: self.steps.iter().filter(|s| s.consent == Consent::Needed).count(),
            refused: self.steps.iter().filter(|s| matches!(s.consent, Consent::Refused(_))).count(),
            steps: self.steps.len(),
        }
    }

    /// The JSON people's programs rely on: `version`, `site`, `summary`, `steps` (with `address`, `action`, `grade`,
    /// `reasons`, `changes`, `needs`), `problems`, `notes`, and restarts that were `postponed`.
    pub fn public_json(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|s| {
                serde_json::json!({
                    "address": s.address, "id": s.id, "action": s.action, "grade": s.grade,
                    "reasons": s.reasons, "changes": s.changes, "needs": s.needs,
                    "consent": match &s.consent {
                        Consent::NotNeeded => Value::Null,
                        Consent::Needed => "needed".into(),
                        Consent::Refused(why) => serde_json::json!({ "refused": why }),
                    },
                    "root": s.root,
                })
            })
            .collect();
        serde_json::json!({
            "version": VERSION, "site": self.site, "summary": self.summary(), "steps": steps,
            "problems": self.problems, "notes": self.notes, "postponed": self.postponed,
        })
    }

    /// Puts off what restarts guests: the values are written, and wait.
    pub fn postpone_restarts(&mut self) {
        let more = postpone(&mut self.steps, restarts_guest);
        self.postponed.extend(more);
    }

    /// Whether the node restarts.
    pub fn restarts_the_node(&self) -> bool {
        self.steps.iter().any(restarts_node)
    }

    /// The addresses of all steps.
    pub fn addresses(&self) -> BTreeSet<&Address> {
        self.steps.iter().map(|s| &s.address).collect()
    }
}
