//! One shell script for all features of a guest.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use blueprint::catalog::{CommandSpec, HealthSpec};
use blueprint::model::SecretRef;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::content::base64;
use super::error::ScriptError;
use super::quote::{Piece, pieces, shell_quote};
use super::rendered::{Rendered, RenderedFile, RenderedPrune};
use super::wanted;

/// What the engine is, the same for every guest.
const ENGINE: &str = concat!(
    include_str!("../artifacts/stands.sh"),
    include_str!("engine.sh"),
    include_str!("places.sh"),
    include_str!("record.sh")
);

/// How long is waited for health where the feature does not say, in seconds.
const HEALTH_WITHIN: u32 = 30;

/// Whether the script changes things or only reports what it would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It changes what differs.
    Apply,
    /// It changes nothing, and holds no file's content.
    Check,
}

/// A shell script, to be fed to `sh` on standard input. With secrets in it, so it has no `Debug` that shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    /// The script.
    pub text: Vec<u8>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Header<'a> {
    features: Vec<HeaderFeature<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    remove: &'a [String],
    check: bool,
}

#[derive(Serialize)]
struct HeaderFeature<'a> {
    name: &'a str,
    fingerprint: &'a str,
    /// Whether something of it counts from the host's next start.
    #[serde(rename = "at-restart", skip_serializing_if = "std::ops::Not::not")]
    at_restart: bool,
}

/// Makes the script that brings a guest's features about, in the order given.
///
/// Its first line is `# phoenix-script: {"features":[{"name":…,"fingerprint":…}],"check":…}`. It prints one
/// [report](super::Report) a line and ends with status 1 where a feature failed. `secrets` gives the value of a
/// reference; it is asked only for those that are used.
///
/// # Errors
/// Two features that want the same file, and secrets that cannot be had.
pub fn script<E: Into<Box<dyn Error + Send + Sync>>>(
    features: &[Rendered],
    mode: Mode,
    secrets: &dyn Fn(&SecretRef) -> Result<String, E>,
) -> Result<Script, ScriptError> {
    conflicts(features)?;
    let header = Header {
        features: features
            .iter()
            .map(|f| HeaderFeature {
                name: &f.name,
                fingerprint: &f.fingerprint,
                at_restart: f.counts_at_restart(),
            })
            .collect(),
        remove: &[],
        check: mode == Mode::Check,
    };
    let needed = features.iter().flat_map(|f| &f.packages).map(String::as_str);
    let mut writer = Writer { out: beginning(&header, needed), mode, features, files: 0 };
    for (number, feature) in features.iter().enumerate() {
        writer.feature(number, feature, secrets)?;
    }
    writer.out.push_str("\n# ---- all of it ----\n\nall() {\n\tlocal ok=1\n");
    for stretch in wanted::stretches(features) {
        let numbers: Vec<String> = stretch.clone().map(|number| number.to_string()).collect();
        if numbers.len() > 1 {
            writer.line(format_args!("\tif [ -n \"$ok\" ]; then together {}; fi", numbers.join(" ")));
        }
        for (number, feature) in stretch.clone().zip(features.get(stretch).unwrap_or_default()) {
            let (name, fingerprint) = (shell_quote(&feature.name), shell_quote(&feature.fingerprint));
            writer.line(format_args!(
                "\tif [ -n \"$ok\" ]; then feature {number} {name} {fingerprint} || ok=; else skipped {name}; fi"
            ));
        }
    }
    writer.out.push_str(END);
    Ok(Script { text: writer.out.into_bytes() })
}

/// How every script ends: its last line starts it, so that one that was cut off does nothing.
const END: &str = "\t[ -n \"$ok\" ]\n}\n\nmain </dev/null\nexit\n";

/// Makes the script that takes back what these features made in a guest, the latest first, as far as the guest remembers it.
/// `needed` are the packages that the guest's other features list.
///
/// Its first line is that of [`script`], with the names under `remove`; it reports in the same way.
pub fn removal(features: &[String], needed: &[String], mode: Mode) -> Script {
    let header = Header { features: Vec::new(), remove: features, check: mode == Mode::Check };
    let mut out = beginning(&header, needed.iter().map(String::as_str));
    let names: Vec<_> = features.iter().map(|name| shell_quote(name)).collect();
    out.push_str("\n# ---- all of it ----\n\nall() {\n\tlocal ok=1 name\n");
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "\tfor name in $(latest_first {}); do\n\t\tif [ -n \"$ok\" ]; then uninstall \"$name\" || ok=; else skipped \"$name\"; fi\n\tdone",
        names.join(" ")
    );
    out.push_str(END);
    Script { text: out.into_bytes() }
}

/// The header and the engine.
fn beginning<'a>(header: &Header<'_>, needed: impl Iterator<Item = &'a str>) -> String {
    let acting = !header.check;
    let needed: Vec<&str> =
        needed.map(|package| package.split_once('=').map_or(package, |(name, _)| name)).collect();
    // Plain strings always become JSON.
    let header = serde_json::to_string(header).unwrap_or_default();
    // What is called by a name that is put together looks unused to shellcheck, and texts for `sh -c` look forgotten.
    format!(
        "# phoenix-script: {header}\n# shellcheck shell=dash disable=SC2317,SC2016,SC2034\nacting={acting}\nversion={}\n\
         needed={}\n\n{ENGINE}",
        shell_quote(env!("CARGO_PKG_VERSION")),
        shell_quote(&needed.join(" ")),
    )
}

fn conflicts(features: &[Rendered]) -> Result<(), ScriptError> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for feature in features {
        for file in feature.files.iter().filter(|file| file.block.is_none()) {
            if let Some(first) = owners.insert(&file.path, &feature.name) {
                return Err(ScriptError::Conflict {
                    path: file.path.clone(),
                    first: first.to_owned(),
                    second: feature.name.clone(),
                });
            }
        }
    }
    Ok(())
}

struct Writer<'a> {
    out: String,
    mode: Mode,
    features: &'a [Rendered],
    /// How many files, manifests and lists have been numbered.
    files: usize,
}

impl Writer<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.out.write_fmt(line);
        self.out.push('\n');
    }

    fn feature<E: Into<Box<dyn Error + Send + Sync>>>(
        &mut self,
        number: usize,
        feature: &Rendered,
        secrets: &dyn Fn(&SecretRef) -> Result<String, E>,
    ) -> Result<(), ScriptError> {
        self.line(format_args!("\n# ---- {} ----\n", feature.name));
        let values = feature
            .secrets
            .iter()
            .map(secrets)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| ScriptError::Secret { feature: feature.name.clone(), source: e.into() })?;
        let first = feature
            .preflight
            .iter()
            .map(|check| format!("preflight {} {}", shell_quote(&check.message), shell_quote(&check.command)))
            .collect::<Vec<_>>();
        let (settings, files): (Vec<_>, Vec<_>) =
            feature.files.iter().cloned().partition(wanted::is_for_packages);
        let settings: Vec<_> = groups(&settings).map(|group| self.group(group, &values)).collect();
        let mut body = vec![format!("first_{number}"), format!("settings_{number}")];
        if !feature.packages.is_empty() {
            let packages: Vec<_> = feature.packages.iter().map(|p| shell_quote(p)).collect();
            body.push(format!("packages {}", packages.join(" ")));
        }
        for artifact in feature.artifacts.iter().filter(|_| self.mode == Mode::Check) {
            let running = feature.units.iter().filter(|(_, unit)| unit.running);
            let follows: String =
                running.map(|(name, _)| format!(" {}", shell_quote(&format!("restart:{name}")))).collect();
            let words =
                [&artifact.name, &artifact.path, &artifact.pin].map(|word| shell_quote(word)).join(" ");
            body.push(format!("program {words}{follows}"));
        }
        for user in &feature.users {
            let text = |t: &Option<String>| shell_quote(t.as_deref().unwrap_or_default());
            body.push(format!(
                "user {} {} {} {} {}",
                shell_quote(&user.name),
                user.system,
                text(&user.home),
                text(&user.shell),
                shell_quote(&user.groups.join(","))
            ));
        }
        for key in &feature.keys {
            let group = key.owner.split_once(':').map_or(key.owner.as_str(), |(_, group)| group);
            body.push(format!("readable {} {}", shell_quote(group), shell_quote(&key.path)));
        }
        for folder in &feature.folders {
            body.push(format!(
                "folder {} {} {}",
                shell_quote(&folder.path),
                folder.mode.map_or_else(|| "''".to_owned(), |mode| format!("{mode:o}")),
                shell_quote(folder.owner.as_deref().unwrap_or_default())
            ));
        }
        for group in groups(&files) {
            body.push(self.group(group, &values));
        }
        body.push(format!("settle {number}"));
        for prune in &feature.prunes {
            body.push(self.prune(prune));
        }
        body.push("reload_units".to_owned());
        body.extend(feature.commands.iter().filter(|c| !c.after_units).map(command));
        for (name, unit) in &feature.units {
            body.push(format!("unit {} {} {}", shell_quote(name), unit.enabled, unit.running));
        }
        for name in foreign_units(feature) {
            body.push(format!("other_unit {}", shell_quote(name)));
        }
        let foreign: Vec<_> = foreign_units(feature).into_iter().map(shell_quote).collect();
        body.push(format!("stale_units {}", foreign.join(" ")).trim_end().to_owned());
        body.extend(feature.commands.iter().filter(|c| c.after_units).map(command));
        body.extend(feature.health.iter().filter_map(health));
        for (name, _) in feature.units.iter().filter(|(_, unit)| unit.running) {
            body.push(format!("still_up {}", shell_quote(name)));
        }
        let packages: Vec<&str> = feature.packages.iter().map(String::as_str).collect();
        self.line(format_args!("name_{number}={}", shell_quote(&feature.name)));
        self.line(format_args!("packages_{number}={}", shell_quote(&packages.join(" "))));
        let things = wanted::lines(feature);
        self.line(format_args!("wanted_{number}() {{\n\tcat <<'END'\n{things}END\n}}"));
        self.function("first", number, &first);
        self.function("settings", number, &settings);
        self.function("feature", number, &body);
        Ok(())
    }

    /// A function whose steps all have to succeed.
    fn function(&mut self, name: &str, number: usize, steps: &[String]) {
        self.line(format_args!("{name}_{number}() {{"));
        for step in steps {
            self.line(format_args!("\t{step} || return 1"));
        }
        self.out.push_str("\treturn 0\n}\n");
    }

    /// Files that are put in place together; what their contents and their list are called is returned as a step.
    fn group(&mut self, group: &[RenderedFile], secrets: &[String]) -> String {
        let Some(first) = group.first() else { return ":".to_owned() };
        let check = shell_quote(first.check.as_deref().unwrap_or_default());
        if let Some(word) = &first.block {
            let number = self.content(first, &filled(first, secrets), true);
            return format!(
                "block {number} {:x} {} {} {} {check} {}",
                first.mode,
                shell_quote(&first.owner),
                notes(first),
                shell_quote(word),
                shell_quote(&first.path)
            );
        }
        let mut manifest = String::new();
        for file in group {
            let bytes = filled(file, secrets);
            let number = self.content(file, &bytes, self.mode == Mode::Apply);
            let sum = hex(&Sha256::digest(&bytes));
            let kind = 0o100_000 | file.mode;
            // Writing to a String does not fail.
            let _ = writeln!(
                manifest,
                "{number}\t{sum}\t{kind:x}\t{}\t{}\t{}",
                file.owner,
                notes(file),
                file.path
            );
        }
        let number = self.next();
        self.line(format_args!("manifest_{number}() {{\n\tcat <<'END'\n{manifest}END\n}}"));
        format!("files {number} {check} {}", first.one_of_many)
    }

    /// A function that prints a file's content.
    fn content(&mut self, file: &RenderedFile, bytes: &[u8], include: bool) -> usize {
        let number = self.next();
        if include {
            let text = base64(bytes);
            self.line(format_args!("# {}\ncontent_{number}() {{\n\tbase64 -d <<'END'", file.path));
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (line, more) = rest.split_at(rest.len().min(120));
                self.line(format_args!("{line}"));
                rest = more;
            }
            self.out.push_str("END\n}\n");
        }
        number
    }

    fn prune(&mut self, prune: &RenderedPrune) -> String {
        let inside = format!("{}/", prune.folder);
        let mut keep: Vec<&str> = (self.features.iter())
            .flat_map(|feature| &feature.files)
            .map(|file| file.path.as_str())
            .filter(|path| path.starts_with(&inside))
            .collect();
        keep.sort_unstable();
        let list = keep.iter().fold(String::new(), |list, path| list + path + "\n");
        let number = self.next();
        let counts = prune.at_restart.then(|| counted_by(""));
        self.line(format_args!("keep_{number}() {{\n\tcat <<'END'\n{list}END\n}}"));
        format!(
            "prune {number} {} {} {} {}",
            shell_quote(&prune.folder),
            if prune.pattern.is_some() { "'-maxdepth 1'" } else { "''" },
            shell_quote(prune.pattern.as_deref().unwrap_or("*")),
            note_list(&prune.folder, [&prune.reloads, &prune.restarts, &prune.runs], counts)
        )
    }

    fn next(&mut self) -> usize {
        self.files += 1;
        self.files
    }
}

/// Neighbours that are checked by the same command go in place together; a block goes alone.
fn groups(files: &[RenderedFile]) -> impl Iterator<Item = &[RenderedFile]> {
    files.chunk_by(|a, b| {
        a.block.is_none() && b.block.is_none() && a.check == b.check && a.one_of_many == b.one_of_many
    })
}

/// The content with secrets in the place of their placeholders.
fn filled(file: &RenderedFile, secrets: &[String]) -> Vec<u8> {
    let bytes = file.content.bytes();
    let (true, Ok(text)) = (file.template && !secrets.is_empty(), std::str::from_utf8(bytes)) else {
        return bytes.to_vec();
    };
    // Cut at the placeholders, so that nothing is looked for inside of a secret.
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Secret { number, form } => {
                // Where there are hashes, what salts are made from comes last.
                let salts = secrets.last().map(String::as_str).unwrap_or_default();
                out.push_str(&form.write(secrets.get(number).map(String::as_str).unwrap_or_default(), salts));
            }
        }
    }
    out.into_bytes()
}

pub(super) fn notes(file: &RenderedFile) -> String {
    let counts = file.at_restart.then(|| counted_by(&file.path));
    note_list(&file.path, [&file.reloads, &file.restarts, &file.runs], counts)
}

/// What must follow a change, as the engine's words; `-` for nothing.
fn note_list(path: &str, [reloads, restarts, runs]: [&[String]; 3], counts: Option<String>) -> String {
    let units = ["/etc/systemd/system/", "/usr/local/lib/systemd/", "/usr/lib/systemd/", "/lib/systemd/"];
    let mut notes = Vec::new();
    if units.iter().any(|folder| path.starts_with(folder)) {
        notes.push("daemon-reload".to_owned());
    }
    notes.extend(reloads.iter().map(|unit| format!("reload:{unit}")));
    notes.extend(restarts.iter().map(|unit| format!("restart:{unit}")));
    notes.extend(runs.iter().map(|name| format!("run:{}", id(name))));
    notes.extend(counts);
    if notes.is_empty() { "-".to_owned() } else { notes.join(",") }
}

/// That something counts from the next start, and the file by which it is known that it was set back before: only one whose path
/// is a word of its own among such words.
fn counted_by(file: &str) -> String {
    let is_word = file.starts_with('/') && !file.contains(|c: char| c == ',' || c.is_whitespace());
    if is_word { format!("at-restart:{file}") } else { "at-restart".to_owned() }
}

/// The same of a command.
fn counts(command: &CommandSpec) -> Option<String> {
    (!command.counts.is_at_once()).then(|| match command.writes.as_slice() {
        [] => "at-restart".to_owned(),
        files => files.iter().map(|file| counted_by(file)).collect::<Vec<_>>().join(","),
    })
}

/// A command's name as one word.
pub(super) fn id(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// What takes a command back, as a record has it.
pub(super) fn undo(command: &CommandSpec) -> Option<String> {
    let text = base64(command.undo.as_ref()?.as_bytes());
    Some(counts(command).map_or(text.clone(), |counts| format!("{counts},{text}")))
}

fn command(command: &CommandSpec) -> String {
    let notes = note_list("", [&command.reloads, &command.restarts, &[]], None);
    let notes = match counts(command) {
        Some(counts) if notes == "-" => counts,
        Some(counts) => format!("{notes},{counts}"),
        None => notes,
    };
    let mut line = format!(
        "command_ {} {} {} {} {}",
        id(&command.name),
        shell_quote(&command.name),
        shell_quote(&command.run),
        shell_quote(command.unless.as_deref().unwrap_or_default()),
        notes
    );
    if let Some(undo) = undo(command) {
        line = format!("{line} {}", shell_quote(&undo));
    }
    line
}

/// Units that files name and the feature does not look after itself.
fn foreign_units(feature: &Rendered) -> Vec<&str> {
    let files = feature.files.iter().flat_map(|file| file.reloads.iter().chain(&file.restarts));
    let prunes = feature.prunes.iter().flat_map(|prune| prune.reloads.iter().chain(&prune.restarts));
    let commands =
        feature.commands.iter().flat_map(|command| command.reloads.iter().chain(&command.restarts));
    let mut names: Vec<&str> = files
        .chain(prunes)
        .chain(commands)
        .map(String::as_str)
        .filter(|name| !feature.units.contains_key(*name))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn health(health: &HealthSpec) -> Option<String> {
    let within = health.within.unwrap_or(HEALTH_WITHIN);
    if let Some(url) = &health.http {
        let status = health.status.map_or_else(|| "''".to_owned(), |status| status.to_string());
        return Some(format!("health {within} {0} http {0} {status}", shell_quote(url)));
    }
    if let Some(tcp) = &health.tcp {
        let (host, port) = tcp.rsplit_once(':').unwrap_or(("127.0.0.1", tcp));
        let (what, host, port) = (format!("port {port} of {host}"), shell_quote(host), shell_quote(port));
        return Some(format!("health {within} {} tcp {host} {port}", shell_quote(&what)));
    }
    let command = health.command.as_ref()?;
    Some(format!("health {within} {} command {}", shell_quote(&format!("`{command}`")), shell_quote(command)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
