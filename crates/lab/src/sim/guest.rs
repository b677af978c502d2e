//! What a simulated guest answers when a program is run in it, and the node itself likewise.
//!
//! It runs nothing. It understands the header line of Phoenix's own scripts and a few small commands; everything else
//! it says is not there, so that a test cannot pass on something that never ran.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::json;

use transport::Feeding;

use super::certificates;

/// Stands for the node itself where guests have their number.
pub(crate) const NODE: u32 = 0;

/// The header line of a script that Phoenix renders from a guest's features begins with this; JSON follows.
const HEADER: &str = "# phoenix-script: ";
/// What makes a guest forget who it is, before it becomes a template, says so.
const FORGETS: &str = "# phoenix-forget: ";
/// The header is among the first lines.
const HEADER_LINES: usize = 20;

#[derive(Debug, Deserialize)]
struct Header {
    features: Vec<Feature>,
    /// The names of those that are taken away.
    #[serde(default)]
    remove: Vec<String>,
    /// Only looks, changes nothing.
    #[serde(default)]
    check: bool,
}

#[derive(Debug, Deserialize)]
struct Feature {
    name: String,
    fingerprint: String,
    /// How many actions it takes where it was never applied. A script need not say: then it is one.
    #[serde(default = "one_action")]
    actions: u64,
    /// Whether something of it counts from the host's next start.
    #[serde(default, rename = "at-restart")]
    at_restart: bool,
}

fn one_action() -> u64 {
    1
}

/// What is known about the inside of a guest, or of the node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inside {
    /// The fingerprints of the features that were applied, by name.
    pub(super) features: BTreeMap<String, String>,
    /// Files by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What it is called.
    pub name: String,
    /// The features of those that have something that counts from the host's next start.
    pub(super) at_restart: BTreeSet<String>,
    /// Those of which such a thing changed just now.
    pub(super) waits: Vec<Waits>,
    /// Begin and end of certificates that it fetches now, where an authority knows it.
    pub(super) period: Option<[i64; 2]>,
}

/// A feature of which something changed that counts from the host's next start.
#[derive(Debug, Clone)]
pub(super) struct Waits {
    pub(super) feature: String,
    /// Its fingerprint before, where it was there; and now.
    pub(super) was: Option<String>,
    pub(super) is: Option<String>,
}

/// Exit status, output, error output.
type Printed = (i32, Vec<u8>, Vec<u8>);

/// What was done: the answer, and how many actions it took (they take time).
#[derive(Debug)]
pub(crate) struct Ran {
    pub printed: Printed,
    pub actions: u64,
}

impl From<Printed> for Ran {
    fn from(printed: Printed) -> Self {
        Self { printed, actions: 0 }
    }
}

impl Inside {
    /// Whether a feature was applied.
    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.contains_key(feature)
    }

    pub(crate) fn run(&mut self, id: u32, argv: &[String], stdin: &[u8]) -> Ran {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let words = without_environment(&words);
        match Feeding::of(words) {
            Some(Feeding::Makes) => {
                return (0, Feeding::made(self.files.len()).into_bytes(), Vec::new()).into();
            }
            Some(Feeding::Feeds { room, argv }) => {
                let pieces = format!("{room}/");
                let mut input = Vec::new();
                self.files.retain(|path, content| {
                    let its = path.starts_with(&pieces);
                    if its {
                        input.extend_from_slice(content);
                    }
                    !its
                });
                let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
                return self.run(id, &argv, &input);
            }
            None => {}
        }
        match words {
            ["true"] => (0, Vec::new(), Vec::new()).into(),
            ["false"] => (1, Vec::new(), Vec::new()).into(),
            ["echo", rest @ ..] => (0, format!("{}\n", rest.join(" ")).into_bytes(), Vec::new()).into(),
            ["tee", path] => {
                self.files.insert((*path).to_owned(), stdin.to_vec());
                (0, Vec::new(), Vec::new()).into()
            }
            ["rm", path] => {
                self.files.remove(*path);
                (0, Vec::new(), Vec::new()).into()
            }
            ["cat"] => (0, stdin.to_vec(), Vec::new()).into(),
            ["cat", path] => match self.files.get(*path) {
                Some(content) => (0, content.clone(), Vec::new()).into(),
                None => {
                    (1, Vec::new(), format!("cat: {path}: No such file or directory\n").into_bytes()).into()
                }
            },
            [certificates::AUTHORITY, rest @ ..] => certificates::authority(self, rest, stdin),
            [certificates::CERTIFICATES, rest @ ..] => certificates::certificates(self, rest),
            ["systemctl", "is-system-running", ..] => (0, b"running\n".to_vec(), Vec::new()).into(),
            ["sh" | "/bin/sh", "-s", ..] => self.script(stdin),
            ["sh", "-c", script] if certificates::remembers(script) => certificates::remember(self, stdin),
            ["sh", "-c", script] if certificates::forgets(script) => certificates::forget(self),
            _ => {
                let program = words.first().copied().unwrap_or_default();
                if id == NODE {
                    return (127, Vec::new(), format!("sh: 1: {program}: not found\n").into_bytes()).into();
                }
                let text = format!(
                    "lxc-attach: {id}: ../src/lxc/attach.c: lxc_attach_run_command: 1841 No such file or directory - \
                     Failed to exec \"{program}\"\n"
                );
                (127, Vec::new(), text.into_bytes()).into()
            }
        }
    }

    fn script(&mut self, script: &[u8]) -> Ran {
        let text = String::from_utf8_lossy(script);
        let header = text.lines().take(HEADER_LINES).find_map(|line| line.strip_prefix(HEADER));
        let Some(header) = header else {
            if text.contains(FORGETS) {
                self.files
                    .retain(|path, _| !(path.starts_with("/etc/ssh/ssh_host_") || path == "/etc/machine-id"));
                return (0, Vec::new(), Vec::new()).into();
            }
            if let Some(ran) = certificates::script(self, &text) {
                return ran;
            }
            let text = "sh: this is simulated and runs only scripts of features\n";
            return (127, Vec::new(), text.as_bytes().to_vec()).into();
        };
        let header: Header = match serde_json::from_str(header) {
            Ok(header) => header,
            Err(error) => return (2, Vec::new(), format!("sh: bad header: {error}\n").into_bytes()).into(),
        };
        let mut out = String::new();
        let mut all = 0;
        for feature in header.features {
            let same = self.features.get(&feature.name) == Some(&feature.fingerprint);
            let changed = if same { 0 } else { feature.actions };
            all += changed;
            out.push_str(&format!(
                "{}\n",
                json!({"feature": feature.name, "result": "ok", "changed": changed})
            ));
            if !header.check {
                if feature.at_restart {
                    self.at_restart.insert(feature.name.clone());
                    let was = self.features.get(&feature.name).cloned();
                    let is = Some(feature.fingerprint.clone());
                    self.waits.extend((!same).then(|| Waits { feature: feature.name.clone(), was, is }));
                }
                self.features.insert(feature.name, feature.fingerprint);
            }
        }
        for name in header.remove {
            let changed = u64::from(self.features.contains_key(&name));
            all += changed;
            out.push_str(&format!("{}\n", json!({"feature": name, "result": "ok", "changed": changed})));
            if !header.check {
                let was = self.features.remove(&name);
                let counted = self.at_restart.take(&name);
                self.waits.extend(counted.map(|feature| Waits { feature, was, is: None }));
            }
        }
        out.push_str(&format!("{}\n", json!({"result": "ok", "changed": all})));
        Ran { printed: (0, out.into_bytes(), Vec::new()), actions: if header.check { 0 } else { all } }
    }
}

/// `env -i NAME=value … program` is how the environment is set; what counts is the program.
fn without_environment<'a, 'b>(words: &'a [&'b str]) -> &'a [&'b str] {
    match words {
        ["env", "-i", rest @ ..] => {
            let settings = rest.iter().take_while(|word| word.contains('=')).count();
            &rest[settings..]
        }
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh() -> Vec<String> {
        ["env", "-i", "PATH=/bin", "sh", "-s"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_feature_is_applied_once_and_a_check_changes_nothing() {
        let mut inside = Inside::default();
        let script = |check: bool| {
            format!(
                "#!/bin/sh\n# phoenix-script: {{\"check\":{check},\"features\":[{{\"name\":\"base\",\"fingerprint\":\"f\",\
                 \"actions\":3}}]}}\nset -eu\n"
            )
        };
        let line = |n: u64| {
            let one = json!({"feature": "base", "result": "ok", "changed": n});
            format!("{one}\n{}\n", json!({"result": "ok", "changed": n})).into_bytes()
        };
        assert_eq!(inside.run(100, &sh(), script(true).as_bytes()).printed.1, line(3));
        assert_eq!(inside.run(100, &sh(), script(false).as_bytes()).printed.1, line(3));
        assert_eq!(inside.run(100, &sh(), script(false).as_bytes()).printed.1, line(0));
    }

    #[test]
    fn what_it_does_not_know_is_not_there() {
        let mut inside = Inside::default();
        assert_eq!(inside.run(100, &["nginx".to_owned()], b"").printed.0, 127);
        assert_eq!(inside.run(100, &sh(), b"rm -rf /").printed.0, 127);
    }
}
