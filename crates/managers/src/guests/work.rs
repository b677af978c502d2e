//! What a plan's step says about a guest: all that carrying it out takes, and nothing secret.

use std::collections::{BTreeMap, BTreeSet};

use blueprint::model::SecretRef;
use plan::address::kinds;
use plan::{Address, Mark};
use serde::{Deserialize, Serialize};

use super::first_start::FirstStart;

/// Parameters of the API, in order.
pub type Params = Vec<(String, String)>;

/// The instruction of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum GuestWork {
    /// Make it, after what stands in its place is destroyed.
    Create(Box<Create>),
    /// Change it where it is.
    Update(Box<Update>),
    /// Destroy it.
    Delete(Placement),
}

/// A guest that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its id.
    pub id: u32,
    /// The node it is on.
    pub node: String,
}

/// What is waited for after a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// Nothing: that it runs is enough.
    #[default]
    Nothing,
    /// That its guest agent answers within so many minutes, and that its first start is through.
    Agent(u32),
    /// That it can be entered by ssh within so many minutes, and that its first start is through.
    Ssh(u32),
}

impl WaitsFor {
    /// Whether nothing is waited for.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// How a guest is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Create {
    /// Its id and node.
    #[serde(flatten)]
    pub placement: Placement,
    /// What is destroyed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Placement>,
    /// What it is a clone of; it is made by itself where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneOf>,
    /// The parameters of the call that makes it, without the id.
    pub params: Params,
    /// Parameters whose values are secrets, by reference: they are had when the call is made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Of a clone, what is set before the first start that its template has otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Params,
    /// What only root on the node may set, before the first start (`pct set`, `qm set`).
    #[serde(default)]
    pub root: Params,
    /// Disks that grow before the first start: key and size as the API wants it (`12G`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grow: Params,
    /// What is waited for after the start.
    #[serde(default, skip_serializing_if = "WaitsFor::is_nothing")]
    pub waits_for: WaitsFor,
    /// What it is told at its first start alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_start: Option<FirstStart>,
    /// It is to be off, and is not started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
}

/// What a guest is a clone of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CloneOf {
    /// The id of what is cloned.
    pub id: u32,
    /// The node it is on.
    pub node: String,
}

/// How a guest is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub struct Update {
    /// Its id.
    pub id: u32,
    /// The node it is on.
    pub node: String,
    /// The digest of the configuration the plan was made against.
    pub digest: String,
    /// Keys to set.
    #[serde(default)]
    pub set: Params,
    /// Keys to set whose values are secrets, by reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Keys to remove.
    #[serde(default)]
    pub delete: Vec<String>,
    /// Keys whose waiting change is taken back.
    #[serde(default)]
    pub revert: Vec<String>,
    /// What only root on the node may set, as options of its command: `delete` and `revert` are among them.
    #[serde(default)]
    pub root: Params,
    /// Disks to grow: key and size as the API wants it (`12G`).
    #[serde(default)]
    pub grow: Params,
    /// Volumes to move: key and storage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Params,
    /// Volumes that moves have left, to be freed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub free: Vec<String>,
    /// The pool to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The text for people in its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What its mark goes on remembering; the rest is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// What its mark remembers of what is set here. It goes with the keys in one call: cut off between two, the mark would
    /// claim what is somebody else's, or not know what is Phoenix'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remember: Option<BTreeMap<String, String>>,
    /// Keys that are gone afterwards, and that the mark need not remember any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<String>,
    /// Start it: it does not run.
    #[serde(default)]
    pub start: bool,
    /// Shut it down: it is to be off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop: bool,
    /// What is waited for after a start.
    #[serde(default, skip_serializing_if = "WaitsFor::is_nothing")]
    pub waits_for: WaitsFor,
    /// Its first start, in which a run was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_start: Option<FirstStart>,
    /// Write its mark anew, which is of before the site had a key, or calls it by a name or a root of before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seal: bool,
}

/// The names that a mark goes on remembering: what is no longer in the blueprint is forgotten, so that it counts as new
/// when it comes back. Features are not among them: one that goes is taken away first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Keep {
    /// Services.
    pub services: BTreeSet<String>,
}

impl Keep {
    /// Lets a mark forget the rest.
    pub fn apply_to(&self, mark: &mut Mark) {
        let forgotten = mark.names(kinds::SERVICE).filter(|name| !self.services.contains(*name));
        for address in forgotten.map(Address::service).collect::<Vec<_>>() {
            mark.forget(&address);
        }
    }
}
