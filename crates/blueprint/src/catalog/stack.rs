//! Stacks as data: what a folder with a `stack.json` declares, which a site takes by its name. Those that come with Phoenix and a
//! site's own are the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Parameter;
use crate::model::SiteFile;

/// A stack of the catalogue: its description and the files of its folder.
#[derive(Debug, Clone)]
pub struct CatalogStack {
    /// The folder's name.
    pub name: String,
    /// What `stack.json` says.
    pub spec: StackSpec,
    /// Every file of the folder but `stack.json`, by path below it.
    pub files: BTreeMap<String, SiteFile>,
    /// Whether it comes with Phoenix (false: from the site's `stack-catalog/` folder).
    pub built_in: bool,
}

/// What a `stack.json` declares. `env`, `secrets`, `services` and `within` are those of a stack of the site, which says more or
/// something else over them; their texts and names may hold `{{ parameter }}` templates, and one that is such a template as a
/// whole is the parameter's own value. Beside parameters, templates know `stack.name` (the stack's name at the site),
/// `site.name` and `site.domain`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StackSpec {
    /// One sentence: what it is for.
    pub description: String,
    /// Where its makers tell of it.
    pub homepage: String,
    /// What a site may say with `with`. All types but folders and files.
    pub parameters: BTreeMap<String, Parameter>,
    /// Files of its folder that are templates. All others are put in place as they are, but for `example.json`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    /// What `${NAME}` in the compose file stands for, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// Its secrets that are files, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Value>,
    /// Its services, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Value>,
    /// How long its containers may take until all of them run and are healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// The memory that all of its containers usually take together, in MiB: a guest that has less is warned of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Which of its volumes matter, and how a copy of them is one that fits together.
    pub backup: String,
}
