//! Working out a feature for one guest: pure, with every template filled in.

mod files;

use std::collections::{BTreeMap, BTreeSet};

use blueprint::catalog::{
    CommandSpec, Feature, FeatureSpec, HealthSpec, ParameterType, PreflightSpec, UserSpec,
};
use blueprint::model::{SecretRef, SiteFile};
use minijinja::Value as Variable;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::RenderError;
use super::fingerprint::fingerprint;
use super::rendered::{Rendered, RenderedArtifact, RenderedFile};
use super::template::Templates;
use super::{crypt, quote, secrets};

/// What a placeholder for a secret begins with; a number and `@@` follow.
pub(super) const SECRET: &str = "@@secret:";

/// Names that templates use for other things than parameters.
const RESERVED: [&str; 3] = ["site", "guest", "item"];

/// What templates know of the guest, as `guest`, and of its site, as `site`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuestFacts {
    /// Which kind of guest it is, `container` or `vm`; `node` for the node: `guest.kind`.
    pub kind: String,
    /// The guest's name in the blueprint: `guest.name`.
    pub name: String,
    /// Its host name: `guest.hostname`.
    pub hostname: String,
    /// Its host name with the site's domain: `guest.fqdn`.
    pub fqdn: String,
    /// Its first fixed address, without the prefix: `guest.address`.
    pub address: Option<String>,
    /// The site's name: `site.name`.
    pub site: String,
    /// The site's domain: `site.domain`.
    pub domain: String,
    /// The time zone of the guests: `site.timezone`.
    pub timezone: Option<String>,
}

/// Works out `feature` for one guest.
///
/// `parameters` are what the user set and what the wiring derived; defaults are filled in here. `contents` holds the
/// files of parameters of the types `folder` and `file`. An element of a list in `feature.json` that renders to nothing
/// (a package, a file's path, a command) is left out, which is how a feature makes something optional.
///
/// # Errors
/// A parameter that is missing, unknown or of the wrong type, an error in a template with file and line, or something
/// that no guest can have, such as a relative path.
pub fn render(
    feature: &Feature,
    parameters: &BTreeMap<String, Value>,
    contents: &BTreeMap<String, Vec<SiteFile>>,
    facts: &GuestFacts,
) -> Result<Rendered, RenderError> {
    let (parameters, secrets) = complete(feature, parameters)?;
    let renderer = Renderer {
        feature,
        contents,
        variables: variables(&parameters, facts),
        parameters: &parameters,
        templates: Templates::new(&feature.name),
    };
    let mut rendered = renderer.all(&feature.spec, secrets)?;
    rendered.fingerprint = fingerprint(&feature.spec, &rendered, &parameters);
    Ok(rendered)
}

/// Parameters with defaults, and placeholders where the secrets belong.
fn complete(
    feature: &Feature,
    given: &BTreeMap<String, Value>,
) -> Result<(BTreeMap<String, Value>, Vec<SecretRef>), RenderError> {
    let bad = |parameter: &str, reason: String| RenderError::BadParameter {
        feature: feature.name.clone(),
        parameter: parameter.to_owned(),
        reason,
    };
    if let Some(parameter) = given.keys().find(|name| !feature.spec.parameters.contains_key(*name)) {
        return Err(RenderError::UnknownParameter {
            feature: feature.name.clone(),
            parameter: parameter.clone(),
        });
    }
    let mut all = BTreeMap::new();
    let mut found = Vec::new();
    for (name, parameter) in &feature.spec.parameters {
        if RESERVED.contains(&name.as_str()) {
            return Err(bad(name, "has a name that templates use for something else".to_owned()));
        }
        let value = given.get(name).or(parameter.default.as_ref()).ok_or_else(|| {
            RenderError::MissingParameter { feature: feature.name.clone(), parameter: name.clone() }
        })?;
        let value = if parameter.kind == ParameterType::Secret && !value.is_null() {
            let secret = json!({ "format": "secret" });
            secrets::take(value, Some(&secret), &mut found)
                .map_err(|_| bad(name, "must be a reference to a secret".to_owned()))?
        } else {
            if let Some(wanted) = mismatch(parameter.kind, value) {
                return Err(bad(name, format!("must be {wanted}")));
            }
            if contains(value, SECRET) {
                return Err(bad(name, format!("must not hold `{SECRET}`, which stands for a secret")));
            }
            secrets::take(value, parameter.schema.as_ref(), &mut found).map_err(|path| {
                bad(name, format!("must have a reference to a secret at `{}`", path.trim_start_matches('.')))
            })?
        };
        all.insert(name.clone(), value);
    }
    Ok((all, found))
}

/// What a parameter must be, where the value is not that. `null` (no default, but optional) fits every type.
fn mismatch(kind: ParameterType, value: &Value) -> Option<&'static str> {
    use ParameterType as T;
    let (fits, wanted) = match kind {
        T::String => (value.is_string(), "a text"),
        T::Integer => (value.is_i64() || value.is_u64(), "a whole number"),
        T::Boolean => (value.is_boolean(), "true or false"),
        T::Port => (value.as_u64().is_some_and(|n| (1..=65535).contains(&n)), "a port, 1 to 65535"),
        T::Folder => (value.is_string(), "a folder of the site"),
        T::File => (value.is_string(), "a file of the site"),
        T::List => (value.is_array(), "a list"),
        T::Json | T::Secret => (true, ""),
    };
    (!fits && !value.is_null()).then_some(wanted)
}

fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(s) => s.contains(text),
        Value::Array(list) => list.iter().any(|v| contains(v, text)),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains(text) || contains(v, text)),
        _ => false,
    }
}

/// Parameters under their names (`-` becomes `_`, which templates can say), the guest and the site.
fn variables(parameters: &BTreeMap<String, Value>, facts: &GuestFacts) -> BTreeMap<String, Variable> {
    let mut all: BTreeMap<String, Variable> = parameters
        .iter()
        .map(|(name, value)| (name.replace('-', "_"), Variable::from(Serde(value))))
        .collect();
    let guest = minijinja::context! {
        kind => &facts.kind, name => &facts.name, hostname => &facts.hostname, fqdn => &facts.fqdn,
        address => &facts.address,
    };
    let site =
        minijinja::context! { name => &facts.site, domain => &facts.domain, timezone => &facts.timezone };
    all.insert("guest".to_owned(), guest);
    all.insert("site".to_owned(), site);
    all
}

struct Renderer<'a> {
    feature: &'a Feature,
    contents: &'a BTreeMap<String, Vec<SiteFile>>,
    variables: BTreeMap<String, Variable>,
    parameters: &'a BTreeMap<String, Value>,
    templates: Templates,
}

impl Renderer<'_> {
    fn all(&self, spec: &FeatureSpec, secrets: Vec<SecretRef>) -> Result<Rendered, RenderError> {
        let mut out = Rendered {
            name: self.feature.name.clone(),
            fingerprint: String::new(),
            preflight: self.preflight(&spec.preflight)?,
            before_packages: spec.before_packages,
            data: self.data(&spec.data)?,
            packages: self.packages(&spec.packages)?,
            artifacts: self.artifacts(&spec.artifacts)?,
            users: self.users(&spec.users)?,
            folders: Vec::new(),
            files: Vec::new(),
            prunes: Vec::new(),
            commands: self.commands(&spec.commands)?,
            keys: Vec::new(),
            units: BTreeMap::new(),
            health: self.health(&spec.health)?,
            secrets,
        };
        for (name, unit) in &spec.units {
            let place = format!("units.{name}");
            let name = self.text(&place, name, None)?;
            if !name.is_empty() {
                out.units.insert(self.unit(&place, &name)?, unit.clone());
            }
        }
        for (i, folder) in spec.folders.iter().enumerate() {
            self.folder(&format!("folders[{i}]"), folder, &mut out)?;
        }
        for (i, file) in spec.files.iter().enumerate() {
            self.file(&format!("files[{i}]"), file, &mut out)?;
        }
        // What every guest has asks over HTTP alone.
        let asks = |check: &HealthSpec| check.http.as_ref().is_some_and(|url| url.starts_with("https://"));
        if out.health.iter().any(asks) && !out.packages.iter().any(|package| package == "curl") {
            out.packages.push("curl".to_owned());
        }
        let hashes = |file: &RenderedFile| {
            file.template && std::str::from_utf8(file.content.bytes()).is_ok_and(quote::asks_for_hash)
        };
        if out.files.iter().any(hashes) {
            out.secrets.push(crypt::salts());
        }
        let mut seen = BTreeSet::new();
        for file in &out.files {
            if file.block.is_none() && !seen.insert(&file.path) {
                return Err(self.bad("files", format!("puts `{}` in place twice", file.path)));
            }
            for name in &file.runs {
                if !out.commands.iter().any(|command| command.name == *name) {
                    return Err(self.bad("runs", format!("names the command `{name}`, which does not exist")));
                }
            }
        }
        Ok(out)
    }

    fn bad(&self, place: &str, reason: impl Into<String>) -> RenderError {
        RenderError::BadSpec {
            feature: self.feature.name.clone(),
            place: place.to_owned(),
            reason: reason.into(),
        }
    }

    /// A short text of `feature.json`. No secret may be in it: it ends up in a name or a command line.
    fn text(&self, place: &str, source: &str, item: Option<&Value>) -> Result<String, RenderError> {
        let text = self.template(&format!("feature.json: {place}"), source, item)?;
        if text.contains(SECRET) {
            return Err(self.bad(place, "holds a secret, which may only be in a file"));
        }
        if text.contains('\0') {
            return Err(self.bad(place, "holds a zero byte"));
        }
        Ok(text)
    }

    fn template(&self, file: &str, source: &str, item: Option<&Value>) -> Result<String, RenderError> {
        let item = item.map(|item| ("item".to_owned(), Variable::from(Serde(item))));
        let variables = Variable::from_pairs(self.variables.clone().into_iter().chain(item));
        self.templates.render(file, source, &variables)
    }

    fn list(
        &self,
        place: &str,
        sources: &[String],
        item: Option<&Value>,
        fits: impl Fn(&str) -> bool,
        reason: &str,
    ) -> Result<Vec<String>, RenderError> {
        let mut out = Vec::new();
        for (i, source) in sources.iter().enumerate() {
            let place = format!("{place}[{i}]");
            let text = self.text(&place, source, item)?;
            if text.is_empty() || out.contains(&text) {
                continue;
            }
            if !fits(&text) {
                return Err(self.bad(&place, format!("{reason}: `{text}`")));
            }
            out.push(text);
        }
        Ok(out)
    }

    /// Packages; `{{ name }}` of a list parameter stands for all in the list.
    fn packages(&self, sources: &[String]) -> Result<Vec<String>, RenderError> {
        let mut out: Vec<String> = Vec::new();
        for (i, source) in sources.iter().enumerate() {
            let place = format!("packages[{i}]");
            let found = match named(source).and_then(|name| self.parameter(name)) {
                Some(Value::Array(items)) => items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<_>>()
                    .ok_or_else(|| self.bad(&place, "takes a list that does not hold texts alone"))?,
                Some(Value::Null) => Vec::new(),
                _ => vec![self.text(&place, source, None)?],
            };
            for package in found {
                if package.is_empty() || out.contains(&package) {
                    continue;
                }
                if !is_package(&package) {
                    return Err(self.bad(&place, format!("is no package name: `{package}`")));
                }
                out.push(package);
            }
        }
        Ok(out)
    }

    /// A parameter by the name that templates have for it.
    fn parameter(&self, name: &str) -> Option<&Value> {
        self.parameters
            .iter()
            .find(|(n, _)| n.replace('-', "_") == name.replace('-', "_"))
            .map(|(_, value)| value)
    }

    /// Units' names, a word each, without `.service`, which is what systemd takes a bare name for.
    fn units(&self, place: &str, sources: &[String]) -> Result<Vec<String>, RenderError> {
        let mut names = Vec::new();
        for source in sources {
            let text = self.text(place, source, None)?;
            for name in text.split_whitespace() {
                names.push(self.unit(place, name)?);
            }
        }
        Ok(names)
    }

    fn unit(&self, place: &str, name: &str) -> Result<String, RenderError> {
        let name = name.strip_suffix(".service").unwrap_or(name);
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.@-".contains(&b)) || name.starts_with('-')
        {
            return Err(self.bad(place, format!("is no unit name: `{name}`")));
        }
        Ok(name.to_owned())
    }

    fn runs(&self, place: &str, sources: &[String]) -> Result<Vec<String>, RenderError> {
        sources.iter().map(|source| self.text(place, source, None)).collect()
    }

    fn path(&self, place: &str, source: &str, item: Option<&Value>) -> Result<String, RenderError> {
        let path = self.text(place, source, item)?;
        if path.is_empty() {
            return Ok(path);
        }
        if let Some(reason) = bad_path(&path) {
            return Err(self.bad(place, format!("{reason}: `{path}`")));
        }
        Ok(path)
    }

    fn mode(&self, place: &str, source: Option<&str>) -> Result<Option<u32>, RenderError> {
        let Some(source) = source else { return Ok(None) };
        let text = self.text(place, source, None)?;
        let octal = (3..=4).contains(&text.len()).then(|| u32::from_str_radix(&text, 8).ok()).flatten();
        let mode = octal.filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        mode.map(Some).ok_or_else(|| self.bad(place, format!("is no mode like 0644: `{text}`")))
    }

    fn owner(&self, place: &str, source: Option<&str>) -> Result<Option<String>, RenderError> {
        let Some(source) = source else { return Ok(None) };
        let text = self.text(place, source, None)?;
        let (user, group) = text.split_once(':').unwrap_or((&text, &text));
        if !is_user(user) || !is_user(group) {
            return Err(self.bad(place, format!("is no user or user:group: `{text}`")));
        }
        Ok(Some(format!("{user}:{group}")))
    }

    fn artifacts(&self, names: &[String]) -> Result<Vec<RenderedArtifact>, RenderError> {
        let list = crate::artifacts::builtin().map_err(|e| self.bad("artifacts", e.to_string()))?;
        let names =
            self.list("artifacts", names, None, |name| list.artifacts.contains_key(name), "is no artifact")?;
        let known =
            names.into_iter().filter_map(|name| list.artifacts.get(&name).map(|artifact| (name, artifact)));
        Ok(known.map(|(name, artifact)| artifact.rendered(&name)).collect())
    }

    fn users(&self, users: &[UserSpec]) -> Result<Vec<UserSpec>, RenderError> {
        let mut out: Vec<UserSpec> = Vec::new();
        for (i, user) in users.iter().enumerate() {
            let place = format!("users[{i}]");
            match &user.each {
                None => out.extend(self.one_user(&place, user, None)?),
                Some(each) => {
                    for item in self.items(&place, each)? {
                        out.extend(self.one_user(&place, user, Some(item))?);
                    }
                }
            }
        }
        Ok(out)
    }

    fn one_user(
        &self,
        place: &str,
        user: &UserSpec,
        item: Option<&Value>,
    ) -> Result<Option<UserSpec>, RenderError> {
        let name = self.text(place, &user.name, item)?;
        if name.is_empty() {
            return Ok(None);
        }
        if !is_user(&name) {
            return Err(self.bad(place, format!("is no user name: `{name}`")));
        }
        let path = |source: &Option<String>| {
            source.as_ref().map(|source| self.path(place, source, item)).transpose()
        };
        let (home, shell) = (path(&user.home)?, path(&user.shell)?);
        if home.as_ref().is_some_and(|home| home.contains(':')) {
            return Err(self.bad(place, "has a home with a colon in it"));
        }
        let groups =
            self.list(&format!("{place}.groups"), &user.groups, item, is_user, "is no group name")?;
        Ok(Some(UserSpec { name, system: user.system, home, shell, groups, each: None }))
    }

    fn preflight(&self, checks: &[PreflightSpec]) -> Result<Vec<PreflightSpec>, RenderError> {
        let mut out = Vec::new();
        for (i, check) in checks.iter().enumerate() {
            let command = self.text(&format!("preflight[{i}].command"), &check.command, None)?;
            let message = self.text(&format!("preflight[{i}].message"), &check.message, None)?;
            if !command.is_empty() {
                out.push(PreflightSpec { command, message });
            }
        }
        Ok(out)
    }

    /// Paths; a text may be several, one a line.
    fn data(&self, sources: &[String]) -> Result<Vec<String>, RenderError> {
        let mut out = Vec::new();
        for (i, source) in sources.iter().enumerate() {
            let place = format!("data[{i}]");
            for path in self.text(&place, source, None)?.lines().filter(|path| !path.is_empty()) {
                if let Some(reason) = bad_path(path) {
                    return Err(self.bad(&place, format!("{reason}: `{path}`")));
                }
                out.push(path.to_owned());
            }
        }
        Ok(out)
    }

    fn commands(&self, commands: &[CommandSpec]) -> Result<Vec<CommandSpec>, RenderError> {
        let mut out: Vec<CommandSpec> = Vec::new();
        for (i, command) in commands.iter().enumerate() {
            let place = format!("commands[{i}]");
            let name = self.text(&format!("{place}.name"), &command.name, None)?;
            let run = self.text(&format!("{place}.run"), &command.run, None)?;
            let unless = command.unless.as_ref();
            let unless = unless.map(|text| self.text(&format!("{place}.unless"), text, None)).transpose()?;
            if run.is_empty() {
                continue;
            }
            if name.is_empty() || out.iter().any(|other| other.name == name) {
                return Err(self.bad(&place, format!("needs a name of its own: `{name}`")));
            }
            let reloads = self.units(&format!("{place}.reloads"), &command.reloads)?;
            let restarts = self.units(&format!("{place}.restarts"), &command.restarts)?;
            if command.after_units && !(reloads.is_empty() && restarts.is_empty()) {
                return Err(self.bad(&place, "is run after the units, and reloads or restarts one"));
            }
            let undo = command.undo.as_ref();
            let undo = undo.map(|text| self.text(&format!("{place}.undo"), text, None)).transpose()?;
            let undo = undo.filter(|text| !text.is_empty());
            let (after_units, counts) = (command.after_units, command.counts);
            let writes = command.writes.clone();
            out.push(CommandSpec { name, run, unless, after_units, reloads, restarts, undo, counts, writes });
        }
        Ok(out)
    }

    fn health(&self, checks: &[HealthSpec]) -> Result<Vec<HealthSpec>, RenderError> {
        let mut out = Vec::new();
        for (i, check) in checks.iter().enumerate() {
            let place = format!("health[{i}]");
            let text = |source: &Option<String>| {
                source.as_ref().map(|source| self.text(&place, source, None)).transpose()
            };
            let (http, tcp, command) = (text(&check.http)?, text(&check.tcp)?, text(&check.command)?);
            let given: Vec<&String> = [&http, &tcp, &command].into_iter().flatten().collect();
            let [only] = given[..] else {
                return Err(self.bad(&place, "must be one of http, tcp and command"));
            };
            if !only.is_empty() {
                out.push(HealthSpec { http, tcp, command, ..check.clone() });
            }
        }
        Ok(out)
    }

    /// The elements of the list parameter that an `each` names.
    fn items(&self, place: &str, each: &str) -> Result<&[Value], RenderError> {
        let name = each.trim().trim_start_matches("{{").trim_end_matches("}}").trim();
        match self.parameters.get(name) {
            Some(Value::Array(items)) => Ok(items),
            Some(Value::Null) => Ok(&[]),
            _ => Err(self.bad(place, format!("goes over `{name}`, which is no list parameter"))),
        }
    }
}

/// The name that a text names if it is `{{ name }}` and nothing else.
fn named(source: &str) -> Option<&str> {
    let name = source.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some(name)
}

/// Why a path cannot be one of a guest's file, where that is so. The script takes such paths apart by lines and tabs.
fn bad_path(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') || path == "/" {
        Some("is no absolute path")
    } else if path.chars().any(|c| c.is_control() || c == '\\') {
        Some("is a path with a control character or a backslash")
    } else if path.ends_with('/') || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        Some("is a path with an empty part, `.` or `..`")
    } else {
        None
    }
}

fn is_package(name: &str) -> bool {
    let (name, version) = name.split_once('=').unwrap_or((name, "0"));
    name.len() > 1
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !version.is_empty()
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.~:-".contains(&b))
}

fn is_user(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
}
