//! Stacks: what runs as Docker containers on a guest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SecretSource, ServiceSource};
use crate::values::{ProjectName, SitePath, Wait};

/// The schema of the name of a variable.
fn variable() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "x-parse": "variable" })
}

/// The schema of the name of a secret's file.
fn secret_file() -> serde_json::Value {
    serde_json::json!({ "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "x-parse": "secret-name" })
}

/// A stack of Docker containers: a project of Docker Compose, on a guest that has the feature `docker`. It counts as done when all
/// of its containers run, by their own health checks where they have some.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StackSource {
    /// The guest that it runs on.
    #[schemars(extend("examples" = ["docker-1"]))]
    pub on: GuestRef,
    /// The folder of the site with its compose file (`compose.yaml`, `docker-compose.yml`) and all that is beside it; or the file
    /// alone. All of it is put into `/srv/stacks/NAME` of the guest. Either this, or `from`.
    #[schemars(extend("examples" = ["stacks/notes"]))]
    pub compose: Option<SitePath>,
    /// One of the catalogue, which says all that is not said here: those that come with Phoenix (`phoenix-cli explain
    /// stack-catalog`), and the site's own in its folder `stack-catalog/`. Either this, or `compose`.
    #[schemars(extend("examples" = ["paperless"]))]
    pub from: Option<String>,
    /// Parameters of the one that it comes `from`, by name.
    #[schemars(extend("examples" = serde_json::json!([{"port": 8010}])))]
    pub with: Option<BTreeMap<String, serde_json::Value>>,
    /// What Compose calls the project, where that is not the stack's own name: so that containers and volumes that are there already
    /// are this stack's.
    pub project: Option<ProjectName>,
    /// What `${NAME}` in the compose file stands for, by name: a text, a number, true or false, or a secret by reference. A secret
    /// is better off in `secrets`: whoever may ask Docker sees the environment of containers.
    #[schemars(extend("propertyNames" = variable(), "examples" = serde_json::json!([{"TZ": "Europe/Berlin"}])))]
    pub env: Option<BTreeMap<String, VariableForm>>,
    /// Secrets by reference, by name: each is the file `secrets/NAME` beside the compose file, which names it as `file` of one of its
    /// own `secrets`.
    #[schemars(extend("propertyNames" = secret_file(), "examples" = serde_json::json!([{"password": {"generate": "notes-password"}}])))]
    pub secrets: Option<BTreeMap<String, SecretSource>>,
    /// Services of its containers, by name, as guests have them. `port` is the one that is published on the guest: one on the port of
    /// a service of the catalogue is that service, and has from there what is not said here.
    #[schemars(extend("propertyNames" = super::name()))]
    pub services: Option<BTreeMap<String, ServiceSource>>,
    /// How long its containers may take until all of them run and are healthy, at most `10m`.
    #[schemars(extend("default" = "3m"))]
    pub within: Option<Wait>,
    /// What becomes of a change after which it does not run.
    #[schemars(extend("default" = "restore"))]
    pub on_failure: Option<OnFailureSource>,
}

/// The name of a guest, or its address: `docker-1`, `vm.docker-1`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct GuestRef(pub String);

/// What a variable is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum VariableForm {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
    /// A secret by reference.
    Secret(SecretSource),
}

/// What becomes of a change after which a stack does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailureSource {
    /// What ran before runs again; what was begun for the first time is removed.
    Restore,
    /// It stays as it is, to be looked at.
    Keep,
}
