//! Guest configuration files, as Proxmox VE writes and reads them (`/etc/pve/nodes/NODE/lxc/ID.conf`,
//! `…/qemu-server/ID.conf`; facts from pve-container, qemu-server and pve-common).
//!
//! What the file says now, what waits for a restart, and what snapshots say are kept apart: nothing here ever mixes a
//! snapshot's section with the current one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use sha1::{Digest as _, Sha1};

/// Container or virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuestKind {
    /// An LXC container.
    Container,
    /// A QEMU virtual machine.
    Vm,
}

impl GuestKind {
    /// Its name in API paths: `lxc`, `qemu`.
    pub fn api_name(self) -> &'static str {
        match self {
            Self::Container => "lxc",
            Self::Vm => "qemu",
        }
    }

    /// Its folder under `/etc/pve/nodes/NODE`: `lxc`, `qemu-server`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Container => "lxc",
            Self::Vm => "qemu-server",
        }
    }
}

/// One section of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The description, as the API reads it back: a container's ends in a newline, a virtual machine's does not.
    pub description: Option<String>,
    /// The values by key.
    pub values: BTreeMap<String, String>,
    /// A container's raw `lxc.*` entries, in their order; a key may repeat.
    pub raw: Vec<(String, String)>,
}

impl Section {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }
}

/// What waits for a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Keys that will have another value.
    pub section: Section,
    /// Keys that will be gone. A `!` before one in the file (removal by force) is kept.
    pub delete: BTreeSet<String>,
}

impl Pending {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.section == Section::default()
    }
}

/// A guest's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestConfig {
    /// What it is of.
    pub kind: GuestKind,
    /// What is in force.
    pub current: Section,
    /// What waits for a restart.
    pub pending: Pending,
    /// The snapshots by name. Never read as current.
    pub snapshots: BTreeMap<String, Section>,
    /// A virtual machine's `[special:…]` sections by name (`cloudinit`, `fleecing`): for information only.
    pub special: BTreeMap<String, Section>,
    /// Lines and sections that Proxmox VE itself skips with a warning.
    pub skipped: Vec<String>,
}

/// The digest the API hands out and takes back: the SHA-1 of the file's bytes, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::with_capacity(40), |mut text, byte| {
        // Writing to a string never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where a line belongs.
enum SectionKind {
    Current,
    Pending,
    Snapshot(String),
    Special(String),
    Nowhere,
}

impl GuestConfig {
    /// Nothing yet.
    pub fn empty(kind: GuestKind) -> Self {
        Self {
            kind,
            current: Section::default(),
            pending: Pending::default(),
            snapshots: BTreeMap::new(),
            special: BTreeMap::new(),
            skipped: Vec::new(),
        }
    }

    /// Reads a file. It never fails: what Proxmox VE skips is skipped here, and told in [`GuestConfig::skipped`].
    pub fn parse(kind: GuestKind, text: &str) -> Self {
        let mut config = Self::empty(kind);
        let mut within = SectionKind::Current;
        for line in text.split('\n') {
            // A line of the description is text as it is; blanks at its end are people's.
            let line = if line.starts_with('#') { line } else { line.trim_end() };
            if line.is_empty() {
                continue;
            }
            if line.starts_with('[') {
                within = config.section(line);
                continue;
            }
            let section = match &within {
                SectionKind::Current => &mut config.current,
                SectionKind::Pending => &mut config.pending.section,
                SectionKind::Snapshot(name) => config.snapshots.entry(name.clone()).or_default(),
                SectionKind::Special(name) => config.special.entry(name.clone()).or_default(),
                SectionKind::Nowhere => continue,
            };
            let in_pending = matches!(within, SectionKind::Pending);
            match entry(kind, line) {
                Some(Entry::Description(text)) => {
                    let description = section.description.get_or_insert_default();
                    description.push_str(&text);
                    description.push('\n');
                }
                // The API's `env`, one entry a line.
                Some(Entry::Raw(key, value)) if key == ENVIRONMENT => {
                    let env = section.values.entry("env".to_owned()).or_default();
                    if !env.is_empty() {
                        env.push('\0');
                    }
                    env.push_str(&value);
                }
                Some(Entry::Raw(key, value)) => section.raw.push((key, value)),
                Some(Entry::Value(key, value)) if key == "delete" => {
                    if in_pending {
                        let keys = value.split([',', ';', ' ']).filter(|key| !key.is_empty());
                        config.pending.delete.extend(keys.map(str::to_owned));
                    } else {
                        config.skipped.push(line.to_owned());
                    }
                }
                Some(Entry::Value(key, value)) => {
                    section.values.insert(key, value);
                }
                None => config.skipped.push(line.to_owned()),
            }
        }
        if kind == GuestKind::Vm {
            config.trim_descriptions();
        }
        config
    }

    fn trim_descriptions(&mut self) {
        let sections = [&mut self.current, &mut self.pending.section].into_iter();
        for section in sections.chain(self.snapshots.values_mut()).chain(self.special.values_mut()) {
            if let Some(description) = &mut section.description {
                description.truncate(description.trim_end().len());
            }
        }
    }

    fn section(&mut self, line: &str) -> SectionKind {
        let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        match (self.kind, lower.as_str(), lower.strip_prefix("special:")) {
            (GuestKind::Container, "pve:pending", _) | (GuestKind::Vm, "pending", _) => SectionKind::Pending,
            (GuestKind::Vm, _, Some("cloudinit" | "fleecing")) => {
                let name = lower.trim_start_matches("special:").to_owned();
                self.special.entry(name.clone()).or_default();
                SectionKind::Special(name)
            }
            _ if is_snapshot_name(name) => {
                self.snapshots.entry(name.to_owned()).or_default();
                SectionKind::Snapshot(name.to_owned())
            }
            _ => {
                self.skipped.push(line.to_owned());
                SectionKind::Nowhere
            }
        }
    }

    /// The parts that the API shows, too: it shows neither raw entries nor what other sections say, and hides
    /// passwords. What both readers of the inventory can know.
    #[must_use]
    pub fn as_the_api_shows(&self) -> Self {
        let shown = |section: &Section| {
            let mut values = section.values.clone();
            if let Some(password) = values.get_mut("cipassword") {
                *password = HIDDEN.to_owned();
            }
            Section { description: section.description.clone(), values, raw: Vec::new() }
        };
        let delete = self.pending.delete.iter().map(|key| key.trim_start_matches('!').to_owned()).collect();
        Self {
            current: shown(&self.current),
            pending: Pending { section: shown(&self.pending.section), delete },
            ..Self::empty(self.kind)
        }
    }
}

/// What the API shows for a password.
pub(crate) const HIDDEN: &str = "**********";

/// As which a container's file has the entries of `env`.
const ENVIRONMENT: &str = "lxc.environment.runtime";

fn is_snapshot_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(fits)
}

enum Entry {
    Description(String),
    Raw(String, String),
    Value(String, String),
}

fn entry(kind: GuestKind, line: &str) -> Option<Entry> {
    if let Some(text) = line.strip_prefix('#') {
        return Some(Entry::Description(decode(text)));
    }
    if kind == GuestKind::Container && line.starts_with("lxc.") {
        let end = line.find([':', '=', ' ', '\t'])?;
        let (key, rest) = line.split_at(end);
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        let value = match rest.strip_prefix(':') {
            Some(value) => value,
            None => rest.trim_start().strip_prefix('=')?,
        };
        return key.bytes().all(fits).then(|| Entry::Raw(key.to_owned(), value.trim().to_owned()));
    }
    let (key, value) = line.split_once(':')?;
    let value = value.trim();
    if key == "description" {
        return Some(Entry::Description(decode(value)));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !key.starts_with(|first: char| first.is_ascii_lowercase())
        || !key.bytes().all(fits)
        || value.is_empty()
    {
        return None;
    }
    // Two old names a virtual machine's file may hold (qemu-server's parser).
    let key = match (kind, key) {
        (GuestKind::Vm, "cdrom") => "ide2",
        (GuestKind::Vm, "smp") => "sockets",
        (_, key) => key,
    };
    Some(Entry::Value(key.to_owned(), value.to_owned()))
}

/// `PVE::Tools::decode_text`: percent-encoded UTF-8. What is no such encoding stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `PVE::Tools::encode_text`: everything but printable ASCII, and `:` and `%`, as UTF-8 bytes in hexadecimal.
fn encode(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        match byte {
            b'%' | b':' => write!(f, "%{byte:02X}")?,
            b' '..=b'~' => f.write_char(byte.into())?,
            _ => write!(f, "%{byte:02X}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(description) = &self.description {
            for line in description.strip_suffix('\n').unwrap_or(description).split('\n') {
                f.write_char('#')?;
                encode(line, f)?;
                f.write_char('\n')?;
            }
        }
        let (env, values): (Vec<_>, Vec<_>) = self.values.iter().partition(|(key, _)| *key == "env");
        for (key, value) in values {
            writeln!(f, "{key}: {value}")?;
        }
        for entry in env.into_iter().flat_map(|(_, all)| all.split('\0')) {
            writeln!(f, "{ENVIRONMENT}: {entry}")?;
        }
        for (key, value) in &self.raw {
            writeln!(f, "{key}: {value}")?;
        }
        Ok(())
    }
}

/// The file as Proxmox VE writes it. What it skipped is not written.
impl fmt::Display for GuestConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.current)?;
        if !self.pending.is_empty() {
            let mut section = self.pending.section.clone();
            if !self.pending.delete.is_empty() {
                let keys: Vec<&str> = self.pending.delete.iter().map(String::as_str).collect();
                section.values.insert("delete".to_owned(), keys.join(","));
            }
            let name = match self.kind {
                GuestKind::Container => "pve:pending",
                GuestKind::Vm => "PENDING",
            };
            write!(f, "\n[{name}]\n{section}")?;
        }
        for (name, section) in &self.special {
            write!(f, "\n[special:{name}]\n{section}")?;
        }
        for (name, section) in &self.snapshots {
            write!(f, "\n[{name}]\n{section}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
