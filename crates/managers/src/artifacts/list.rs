//! The list of artifacts, as data.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::versions::Refusal;
use crate::features::{RenderedArtifact, hex};

/// All artifacts, and which versions are known not to work together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct List {
    /// The artifacts, by name.
    pub artifacts: BTreeMap<String, Artifact>,
    /// Pairs of versions that are known to fail.
    #[serde(default)]
    pub refuses: Vec<Refusal>,
}

/// A program, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Artifact {
    /// One sentence: what it is.
    pub description: String,
    /// Its version, as its makers write it, without a leading `v`.
    pub version: String,
    /// When its makers released that version.
    pub released: jiff::civil::Date,
    /// What is known to be wrong with that version, when it was pinned or later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,
    /// Where it goes in a guest; `/usr/local/bin/NAME` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where it can be had, tried in this order.
    pub sources: Vec<Source>,
}

/// A security hole of a version that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hole {
    /// What it is called where such things are listed: `CVE-…`, `GHSA-…`.
    pub id: String,
    /// The first version in which it is repaired.
    pub fixed: String,
}

/// Where an artifact can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum Source {
    /// A Go module that is built here. `catalog/artifacts/NAME/` holds the `go.mod` and the `go.sum` it is built with,
    /// so that every module that goes into it is pinned by its checksum.
    Go {
        /// The package that is built, a `main`.
        package: String,
        /// The module it is in.
        module: String,
        /// The module's version, with its `v`.
        version: String,
        /// The module's checksum, `h1:` and base64, as in `go.sum`.
        sum: String,
        /// String variables that are set while linking, mostly the version the program tells.
        #[serde(default)]
        variables: BTreeMap<String, String>,
    },
    /// An address it is fetched from.
    Url {
        /// The address; `https`, or `http` on loopback.
        url: String,
        /// Of what is fetched.
        sha256: Sha256Sum,
        /// The program's path inside of it, where it is a tar archive, compressed or not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
    },
    /// A file of this machine.
    File {
        /// Where.
        path: String,
        /// Of what it holds.
        sha256: Sha256Sum,
    },
}

impl Source {
    /// In a few words, for lists.
    pub fn words(&self) -> String {
        match self {
            Self::Go { module, version, .. } => format!("go {module}@{version}"),
            Self::Url { url, .. } => url.clone(),
            Self::File { path, .. } => path.clone(),
        }
    }
}

/// A SHA-256: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Sum(String);

impl Sha256Sum {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Sha256Sum {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Sha256Sum {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if digits && text.len() == 64 { Ok(Self(text)) } else { Err(format!("`{text}` is no SHA-256")) }
    }
}

impl From<Sha256Sum> for String {
    fn from(sum: Sha256Sum) -> Self {
        sum.0
    }
}

/// What is wrong with the list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is not JSON, or not of this shape.
    #[error("the list of artifacts cannot be read")]
    Json(#[from] serde_json::Error),
    /// Something in it cannot be.
    #[error("the artifact `{name}` {reason}")]
    Artifact {
        /// Which.
        name: String,
        /// What is wrong, to be read after the name.
        reason: String,
    },
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// When it is not of the right shape, or something in it cannot be.
    pub fn parse(text: &[u8]) -> Result<Self, ListError> {
        let list: Self = serde_json::from_slice(text)?;
        for (name, artifact) in &list.artifacts {
            if let Some(reason) = artifact.wrong(name) {
                return Err(ListError::Artifact { name: name.clone(), reason });
            }
        }
        Ok(list)
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~_-".contains(&b))
}

impl Artifact {
    /// Where it goes in a guest.
    pub fn path(&self, name: &str) -> String {
        self.path.clone().unwrap_or_else(|| format!("/usr/local/bin/{name}"))
    }

    /// As a part of a rendered feature.
    pub fn rendered(&self, name: &str) -> RenderedArtifact {
        RenderedArtifact {
            name: name.to_owned(),
            version: self.version.clone(),
            path: self.path(name),
            pin: self.pin(&files(name)),
        }
    }

    /// What it is made of, in 16 hexadecimal digits: version and sources, with their files. What is built of the same
    /// is taken for the same.
    pub fn pin(&self, files: &[(&str, &[u8])]) -> String {
        // Such types always become JSON.
        let mut text = serde_json::to_vec(&(&self.version, &self.sources)).unwrap_or_default();
        for (name, bytes) in files {
            text.extend_from_slice(name.as_bytes());
            text.push(0);
            text.extend_from_slice(bytes);
        }
        let mut pin = hex(&Sha256::digest(text));
        pin.truncate(16);
        pin
    }

    /// What cannot be, to be read after the name.
    fn wrong(&self, name: &str) -> Option<String> {
        let label = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !label || !is_word(name) {
            return Some("has a name that is no file's".to_owned());
        }
        if !is_word(&self.version) {
            return Some(format!("has a version that is no word: `{}`", self.version));
        }
        let path = self.path(name);
        if !path.starts_with('/') || path.bytes().any(|b| b.is_ascii_control() || b == b' ') {
            return Some(format!("goes to `{path}`, which is no absolute path"));
        }
        if let Some(hole) = self.holes.iter().find(|hole| !is_word(&hole.id) || !is_word(&hole.fixed)) {
            return Some(format!(
                "has a hole whose name or version is no word: `{}`, `{}`",
                hole.id, hole.fixed
            ));
        }
        if self.sources.is_empty() {
            return Some("has no source".to_owned());
        }
        self.sources.iter().find_map(|source| match source {
            Source::Go { package, module, version, sum, variables } => {
                let plain = |t: &str| t.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\$`".contains(&b));
                if !package.starts_with(module) || package.starts_with('-') || !plain(package) {
                    Some(format!("has a package that is not in its module: `{package}`"))
                } else if !version.starts_with('v') || !is_word(version) {
                    Some(format!("has a module's version without a `v`: `{version}`"))
                } else if !sum.starts_with("h1:") || sum.len() != 47 {
                    Some(format!("has a checksum that is none of a Go module: `{sum}`"))
                } else if !variables.iter().all(|(key, value)| plain(key) && plain(value)) {
                    Some("sets variables that need quoting".to_owned())
                } else {
                    None
                }
            }
            Source::Url { url, member, .. } => {
                let https = url.starts_with("https://") || url.starts_with("http://127.0.0.1:");
                if !https {
                    Some(format!("is fetched from `{url}`, which does not begin with https://"))
                } else if member.as_ref().is_some_and(|m| m.is_empty() || m.starts_with('-')) {
                    Some("names no member of its archive".to_owned())
                } else {
                    None
                }
            }
            Source::File { path, .. } => {
                (!path.starts_with('/')).then(|| format!("is the file `{path}`, which is no absolute path"))
            }
        })
    }
}

/// The list that comes with Phoenix: `catalog/artifacts.json`.
///
/// # Errors
/// When it is not as it should be, which a test of Phoenix excludes.
pub fn builtin() -> Result<&'static List, &'static ListError> {
    static LIST: LazyLock<Result<List, ListError>> = LazyLock::new(|| {
        let text = crate::features::catalog_file("artifacts.json").unwrap_or_default();
        List::parse(text)
    });
    LIST.as_ref()
}

/// The files that come with an artifact's source: `catalog/artifacts/NAME/…`, sorted by name.
pub(super) fn files(name: &str) -> Vec<(&'static str, &'static [u8])> {
    ["go.mod", "go.sum"]
        .into_iter()
        .filter_map(|file| Some((file, crate::features::catalog_file(&format!("artifacts/{name}/{file}"))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_list_is_complete_and_agrees_with_its_sums() {
        let list = builtin().expect("it is sound");
        assert!(list.artifacts.contains_key("step-ca") && list.artifacts.contains_key("traefik"));
        for (name, artifact) in &list.artifacts {
            assert!(artifact.description.ends_with('.'), "{name}");
            for source in &artifact.sources {
                let Source::Go { module, version, sum, .. } = source else { continue };
                assert_eq!(version.strip_prefix('v'), Some(artifact.version.as_str()), "{name}");
                let files = files(name);
                let [("go.mod", go_mod), ("go.sum", go_sum)] = files[..] else {
                    panic!("{name} needs go.mod and go.sum")
                };
                let text = |bytes| std::str::from_utf8(bytes).expect("text");
                let line = format!("{module} {version} {sum}");
                assert!(text(go_sum).lines().any(|l| l == line), "{name}: {line}");
                assert!(text(go_mod).contains(&format!("{module} {version}")), "{name}");
            }
        }
    }

    #[test]
    fn a_pin_follows_version_sources_and_sums() {
        let list = builtin().expect("it is sound");
        let artifact = &list.artifacts["step"];
        let files = files("step");
        let pin = artifact.pin(&files);
        assert_eq!((pin.len(), &pin), (16, &artifact.pin(&files)));
        let described = Artifact { description: "Other words.".into(), ..artifact.clone() };
        assert_eq!(described.pin(&files), pin);
        let newer = Artifact { version: "9".into(), ..artifact.clone() };
        assert_ne!(newer.pin(&files), pin);
        assert_ne!(artifact.pin(&[("go.sum", b"other")]), pin);
    }

    #[test]
    fn what_cannot_be_is_said_with_its_name() {
        let wrong = |source: &str, version: &str| {
            let text = format!(
                r#"{{"artifacts":{{"x":{{"description":"X.","version":"{version}","released":"2025-01-02","sources":[{source}]}}}}}}"#
            );
            let error = List::parse(text.as_bytes()).expect_err("it is wrong");
            apply::Failure::from_error("", &error).to_string()
        };
        assert_eq!(wrong("", "1"), "the artifact `x` has no source");
        assert_eq!(wrong("", "a b"), "the artifact `x` has a version that is no word: `a b`");
        let file = r#"{"kind":"file","path":"x","sha256":"0"}"#;
        assert!(wrong(file, "1").contains("`0` is no SHA-256"));
        let sum = "0".repeat(64);
        let file = format!(r#"{{"kind":"file","path":"x","sha256":"{sum}"}}"#);
        assert_eq!(wrong(&file, "1"), "the artifact `x` is the file `x`, which is no absolute path");
        let url = format!(r#"{{"kind":"url","url":"http://example.org/x","sha256":"{sum}"}}"#);
        assert!(wrong(&url, "1").contains("does not begin with https://"));
        let go = r#"{"kind":"go","package":"b.org/x/cmd","module":"a.org/x","version":"v1","sum":"h1:"}"#;
        assert!(wrong(go, "1").contains("not in its module"));
    }

    fn source() -> impl Strategy<Value = Source> {
        let sum = "[0-9a-f]{64}".prop_map(|s| Sha256Sum::try_from(s).expect("digits"));
        prop_oneof![
            (
                "[a-z]{1,9}",
                "[A-Za-z0-9+/]{43}=",
                proptest::collection::btree_map("[a-z.]{1,9}", "[a-z0-9.]{0,9}", 0..3)
            )
                .prop_map(|(name, sum, variables)| Source::Go {
                    package: format!("example.org/{name}/cmd"),
                    module: format!("example.org/{name}"),
                    version: "v1.2.3".into(),
                    sum: format!("h1:{sum}"),
                    variables,
                }),
            ("[a-z/.]{1,20}", sum.clone(), proptest::option::of("[a-z/.]{1,20}")).prop_map(
                |(path, sha256, member)| {
                    Source::Url { url: format!("https://example.org/{path}"), sha256, member }
                }
            ),
            ("\\PC{0,20}", sum).prop_map(|(path, sha256)| Source::File { path: format!("/{path}"), sha256 }),
        ]
    }

    fn hole() -> impl Strategy<Value = (jiff::civil::Date, Vec<Hole>)> {
        let hole =
            ("[A-Z]{3,4}-[0-9a-z-]{1,9}", "[0-9][0-9.]{0,5}").prop_map(|(id, fixed)| Hole { id, fixed });
        let day = (2000..2100i16, 1..13i8, 1..29i8).prop_map(|(y, m, d)| jiff::civil::date(y, m, d));
        (day, proptest::collection::vec(hole, 0..3))
    }

    proptest! {
        #[test]
        fn a_list_that_is_read_prints_back_the_same(
            artifacts in proptest::collection::btree_map(
                "[a-z][a-z0-9-]{0,9}",
                ("\\PC{0,20}", "[0-9][0-9a-z.+-]{0,9}", proptest::option::of("/[a-z/]{1,20}"),
                 proptest::collection::vec(source(), 1..4), hole()),
                0..5,
            ),
        ) {
            let artifacts = artifacts.into_iter().map(|(name, (description, version, path, sources, (released, holes)))| {
                (name, Artifact { description, version, released, holes, path, sources })
            });
            let list = List { artifacts: artifacts.collect(), refuses: Vec::new() };
            let text = serde_json::to_vec(&list).expect("JSON");
            prop_assert_eq!(List::parse(&text).expect("it was a list"), list);
        }

        #[test]
        fn whatever_the_bytes_there_is_no_panic(text in "\\PC{0,200}") {
            let _ = List::parse(text.as_bytes());
        }
    }
}
