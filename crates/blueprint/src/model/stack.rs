//! Stacks of Docker containers, as a blueprint declares them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Location, SecretRef, SiteFile};
use crate::names::GuestName;

/// The feature that brings a stack about in its guest.
pub const STACK: &str = "stack";

/// What a feature `provides` that runs stacks.
pub const DOCKER: &str = "docker";

/// The longest time that the containers of a stack may be given: with it, what brings a stack about is done within its own limit,
/// the way back included.
pub const LONGEST: Duration = Duration::from_mins(10);

/// A stack: a project of Docker Compose on a guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// The guest that it runs on.
    pub on: GuestName,
    /// What Compose calls it.
    pub project: String,
    /// Whether a project of this name that somebody else made becomes its own: where the blueprint says `project` itself.
    pub adopts: bool,
    /// All that is in its folder, by path below it; without `.env`, which is in `dotenv`.
    pub files: Vec<SiteFile>,
    /// Which of them Compose reads, the later ones over the earlier.
    pub compose: Vec<String>,
    /// The images that its services are made of and that nobody builds, by service, as the compose files name them.
    pub images: BTreeMap<String, String>,
    /// The file `.env` of the folder as it is written; empty where there is none.
    pub dotenv: String,
    /// Variables that are no secrets, by name.
    pub env: BTreeMap<String, String>,
    /// Variables that are secrets, by name.
    pub secret_env: BTreeMap<String, SecretRef>,
    /// Secrets that are files, by name.
    pub secrets: BTreeMap<String, SecretRef>,
    /// How long its containers may take until they run.
    pub within: Duration,
    /// Whether what ran before runs again where it fails.
    pub restores: bool,
    /// Where it is declared.
    pub declared: Location,
}
