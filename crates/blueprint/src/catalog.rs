//! Features as data: what a folder with a `feature.json` declares. The built-in ones and a site's own are the same.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::SiteFile;

mod stack;

pub use stack::{CatalogStack, StackSpec};

/// A feature: its description and the files of its folder.
#[derive(Debug, Clone)]
pub struct Feature {
    /// The folder's name.
    pub name: String,
    /// What `feature.json` says.
    pub spec: FeatureSpec,
    /// Every file of the folder but `feature.json`, by path below it.
    pub files: BTreeMap<String, SiteFile>,
    /// Whether it comes with Phoenix (false: from the site's `features/` folder).
    pub built_in: bool,
}

/// What a `feature.json` declares. Strings may hold `{{ parameter }}` templates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FeatureSpec {
    /// One sentence: what a guest with it does.
    pub description: String,
    /// What it can be put on: `guest`, `node`. Guests alone where absent. On a node its packages, files, commands and units are
    /// the node's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostKind>,
    /// What a user may set.
    pub parameters: BTreeMap<String, Parameter>,
    /// Features that are put in before this one.
    pub requires: Vec<String>,
    /// What it offers to others: `gateway`, `mesh`, `dns`, `ca` and `package-cache` make its guest that part of the workshop;
    /// other words are for people.
    pub provides: Vec<String>,
    /// Parameters of the type `port`: where it answers those who need it. A container whose `needs` name its guest may go
    /// there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listens: Vec<String>,
    /// That it uses the guest's own certificate (at a gateway or a mesh, those of the services), and who is told when one
    /// is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateUse>,
    /// Container options it cannot do without, such as `nesting`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// What must hold in the guest before anything is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preflight: Vec<PreflightSpec>,
    /// Whether the packages of features that come after it are installed only when it is done, because it sets up apt for
    /// them: sources, keys, answers. Where its files or commands show that, it need not be said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub before_packages: bool,
    /// What people keep in it, as paths: it stays when the feature is taken away, and is named then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// Packages of the guest's distribution.
    pub packages: Vec<String>,
    /// Programs that no package brings, by their names in the list of artifacts; put in place before anything else.
    pub artifacts: Vec<String>,
    /// Users of the guest.
    pub users: Vec<UserSpec>,
    /// Whole folders that are put in the guest; files that are no longer in them are removed.
    pub folders: Vec<FolderSpec>,
    /// Files that are put in the guest.
    pub files: Vec<FileSpec>,
    /// Commands that are run where their `unless` fails.
    pub commands: Vec<CommandSpec>,
    /// systemd units and how they should be, by name (`nginx` means `nginx.service`).
    pub units: BTreeMap<String, UnitSpec>,
    /// What must hold when all is done.
    pub health: Vec<HealthSpec>,
}

/// What a feature can be put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostKind {
    /// Guests: containers and virtual machines.
    Guest,
    /// The node itself.
    Node,
}

impl HostKind {
    /// As people say several of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Guest => "guests",
            Self::Node => "nodes",
        }
    }
}

impl FeatureSpec {
    /// Whether it can be put there.
    pub fn is_for(&self, host: HostKind) -> bool {
        if self.hosts.is_empty() { host == HostKind::Guest } else { self.hosts.contains(&host) }
    }

    /// The ports on which it answers those who need it, with these parameters.
    pub fn ports<'a>(&'a self, given: &'a BTreeMap<String, Value>) -> impl Iterator<Item = u16> + 'a {
        let value = move |name: &String| given.get(name).or(self.parameters.get(name)?.default.as_ref());
        self.listens.iter().filter_map(value).filter_map(|value| value.as_u64()?.try_into().ok())
    }
}

/// How a feature uses certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CertificateUse {
    /// A parameter of the type `boolean`: only where that is true. Always where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// `user` or `user:group` of which the group may read the key. Only root where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Units that are reloaded when it is renewed.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub reloads: Vec<String>,
    /// Units that are restarted when it is renewed.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub restarts: Vec<String>,
}

/// The language of templates, of features and of stacks of the catalogue: strict about what is not defined, and its errors name that.
#[must_use]
pub fn template_language() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    // Only delimiters of one's own can be wrong, and there are none.
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_debug(true);
    environment
}

/// A parameter of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Parameter {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it means, with its unit.
    #[serde(default)]
    pub description: String,
    /// What it is where nothing is said. Without a default it must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether Phoenix fills it in from the wiring (a user does not set it).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub derived: bool,
    /// What a value must look like beyond its type: a JSON Schema. A `format` in it is `ipv4`, `subnet`, `domain`, `label`,
    /// `variable`, or `secret` for a secret by reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
}

/// The types a parameter can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterType {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// A TCP or UDP port, 1 to 65535.
    Port,
    /// A folder of the site; in templates, its path in the guest is the feature's to choose.
    Folder,
    /// A file of the site.
    File,
    /// A list of texts.
    List,
    /// Any JSON.
    Json,
    /// A secret, by reference.
    Secret,
}

/// What must hold before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PreflightSpec {
    /// A command that succeeds where it holds, with the packages of a bare Debian. What it prints follows the message.
    pub command: String,
    /// What is wrong where it fails, and what to do.
    pub message: String,
}

/// A user of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserSpec {
    /// The login name.
    pub name: String,
    /// Whether it is a system user. True by default.
    #[serde(default = "yes")]
    pub system: bool,
    /// The home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Further groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Instead of one user, one for each element of this list parameter, called `item`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
}

/// A folder that is put in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderSpec {
    /// Where, in the guest.
    pub path: String,
    /// A parameter of the type `folder` (`{{ root }}`), or a folder of the feature's own; an empty folder where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Mode of the folder, e.g. `0755`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `user` or `user:group` that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Whether files that are not in the source are removed. True by default where `from` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    /// Units that are reloaded when something in it changes.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub reloads: Vec<String>,
    /// Units that are restarted when something in it changes.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub restarts: Vec<String>,
    /// With `from`: a command that must succeed with all of its files in place; if it fails, the old ones come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Commands that are run when something in it changes, by name.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub runs: Vec<String>,
}

/// A file that is put in the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSpec {
    /// Where, in the guest.
    pub path: String,
    /// A template of the feature's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// A file of the feature's folder, as it is; or a parameter of the type `file` (`{{ script }}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The content itself, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Instead of one file, one for each element of this list parameter, called `item` in `path` and template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// With `each`: files in the same folder that match this shell pattern and are not among them are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<String>,
    /// Instead of the whole file, only the lines between two markers that carry this word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// Mode, `0644` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `user` or `user:group` that owns it, `root:root` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A command that must succeed with the new file in place; otherwise the old one is put back and the step fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Units that are reloaded when it changes; a text of several words is several of them.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub reloads: Vec<String>,
    /// Units that are restarted when it changes; a text of several words is several of them.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub restarts: Vec<String>,
    /// Commands (by `name`) that are run when it changes.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub runs: Vec<String>,
    /// When what is in it counts.
    #[serde(default, skip_serializing_if = "Counts::is_at_once")]
    pub counts: Counts,
}

/// When what a feature puts on a node counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// As soon as it is there, and what follows from it was done.
    #[default]
    AtOnce,
    /// From the node's next start: until then the restart of the node is pending, and plans say so. Only for features that
    /// are for nodes alone.
    AtRestart,
}

impl Counts {
    /// Whether nothing has to be waited for.
    pub fn is_at_once(&self) -> bool {
        *self == Self::AtOnce
    }
}

/// A command that brings about something no file can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommandSpec {
    /// What it does, shown while it runs.
    pub name: String,
    /// The command, for a POSIX shell.
    pub run: String,
    /// It is not run where this succeeds. Without it, it runs only when a file's `runs` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
    /// Whether it is run when the units are up instead of before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_units: bool,
    /// Units that are reloaded when it was run; not with `after-units`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany")]
    pub reloads: Vec<String>,
    /// Units that are restarted when it was run; not with `after-units`.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany")]
    pub restarts: Vec<String>,
    /// What takes back what it did, for a POSIX shell: it is run when the feature goes, or this command, after everything else
    /// of it went. Whatever it takes is in this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// When what it brings about counts.
    #[serde(default, skip_serializing_if = "Counts::is_at_once")]
    pub counts: Counts,
    /// With `counts`: the files in which it leaves that. Where they are set back to what they were at the node's start, nothing
    /// waits for a restart any more; without them that is not known, and the restart stays pending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
}

/// How a unit should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnitSpec {
    /// Whether it starts at boot. True by default.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it runs. True by default.
    #[serde(default = "yes")]
    pub running: bool,
}

/// What must hold when all is done: exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HealthSpec {
    /// An address that is fetched from inside the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The status it answers with; any below 400 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// A TCP port of the guest that accepts connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A command that succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How long it is waited for, in seconds; 30 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u32>,
}

fn yes() -> bool {
    true
}

/// The schema of what [`one_or_many`] reads.
struct OneOrMany;

impl schemars::JsonSchema for OneOrMany {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-expects": "a name or a list of names",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> serde::de::Visitor<'de> for Names {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a unit's name or a list of names")
        }
        fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
            Ok(vec![v.to_owned()])
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }
    d.deserialize_any(Names)
}
