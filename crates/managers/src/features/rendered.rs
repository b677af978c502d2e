//! A feature worked out for one guest. It travels in plan files, so no secret value is in it.

use std::collections::BTreeMap;

use blueprint::catalog::{CommandSpec, HealthSpec, PreflightSpec, UnitSpec, UserSpec};
use blueprint::model::SecretRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::Content;

/// A feature with its parameters, for one guest, to the last byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rendered {
    /// The feature's name.
    pub name: String,
    /// The first 16 hexadecimal digits of a SHA-256 over everything below and the parameters. Secrets enter by
    /// reference.
    pub fingerprint: String,
    /// What must hold before anything is changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<PreflightSpec>,
    /// Whether what it does has to be done before the packages of features that come after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub before_packages: bool,
    /// What people keep in it: it stays when the feature goes. Not part of the fingerprint, as nothing is done for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// Packages, `name` or `name=version`.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Programs that no package brings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<RenderedArtifact>,
    /// Users.
    #[serde(default)]
    pub users: Vec<UserSpec>,
    /// Folders, parents first.
    #[serde(default)]
    pub folders: Vec<RenderedFolder>,
    /// Files, in the order they are put in place.
    #[serde(default)]
    pub files: Vec<RenderedFile>,
    /// Where files that are none of the above are removed.
    #[serde(default)]
    pub prunes: Vec<RenderedPrune>,
    /// Commands, in order.
    #[serde(default)]
    pub commands: Vec<CommandSpec>,
    /// Keys of certificates that the feature's service must be able to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<RenderedKey>,
    /// Units by name.
    #[serde(default)]
    pub units: BTreeMap<String, UnitSpec>,
    /// What must hold at the end.
    #[serde(default)]
    pub health: Vec<HealthSpec>,
    /// The secrets that the placeholders `@@secret:0@@`, `@@secret:1:sql@@` … in the files stand for; behind the number
    /// may stand the filter that quoted it.
    #[serde(default)]
    pub secrets: Vec<SecretRef>,
}

impl Rendered {
    /// Whether something of it counts from the host's next start.
    pub fn counts_at_restart(&self) -> bool {
        self.files.iter().any(|file| file.at_restart)
            || self.prunes.iter().any(|prune| prune.at_restart)
            || self.commands.iter().any(|command| !command.counts.is_at_once())
    }

    /// Has the group of `owner` read these keys; part of what the feature is from then on.
    pub fn own_keys(&mut self, owner: &str, paths: &[String]) {
        if paths.is_empty() {
            return;
        }
        self.keys =
            paths.iter().map(|path| RenderedKey { path: path.clone(), owner: owner.to_owned() }).collect();
        let text = format!("{} {}", self.fingerprint, serde_json::to_string(&self.keys).unwrap_or_default());
        self.fingerprint = super::script::hex(&Sha256::digest(text));
        self.fingerprint.truncate(16);
    }
}

/// A key of a certificate, and who may read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenderedKey {
    /// Where it is.
    pub path: String,
    /// `user:group`, or a user who has a group of that name.
    pub owner: String,
}

/// A program that no package brings, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenderedArtifact {
    /// Its name in the list of artifacts.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it goes.
    pub path: String,
    /// What it is made of, in 16 hexadecimal digits.
    pub pin: String,
}

/// A folder of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenderedFolder {
    /// Where.
    pub path: String,
    /// Permission bits; where absent, those it has, or 0755 for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// `user:group`; where absent, whoever owns it, or root for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A file of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenderedFile {
    /// Where.
    pub path: String,
    /// What it holds, with placeholders for secrets.
    pub content: Content,
    /// Whether placeholders in the content are replaced. Only in what came from a template.
    #[serde(default)]
    pub template: bool,
    /// Permission bits.
    pub mode: u32,
    /// `user:group`.
    pub owner: String,
    /// Only the lines between the markers with this word, not the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// The command that must succeed with it in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Whether it is one of a list, so that a bad one does not hold back the others.
    #[serde(default)]
    pub one_of_many: bool,
    /// Units that are reloaded when it changes.
    #[serde(default)]
    pub reloads: Vec<String>,
    /// Units that are restarted when it changes.
    #[serde(default)]
    pub restarts: Vec<String>,
    /// Commands that are run when it changes, by name.
    #[serde(default)]
    pub runs: Vec<String>,
    /// Whether it counts from the host's next start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_restart: bool,
}

/// A place where only the features' own files may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RenderedPrune {
    /// The folder.
    pub folder: String,
    /// A shell pattern for file names of this folder alone; where absent, everything below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Units that are reloaded when something is removed.
    #[serde(default)]
    pub reloads: Vec<String>,
    /// Units that are restarted when something is removed.
    #[serde(default)]
    pub restarts: Vec<String>,
    /// Commands that are run when something is removed, by name.
    #[serde(default)]
    pub runs: Vec<String>,
    /// Whether it counts from the host's next start that something is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_restart: bool,
}
