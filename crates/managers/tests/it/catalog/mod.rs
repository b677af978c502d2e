//! The features that come with Phoenix, each in a real Debian: installed, asked, changed, started anew. And the stacks, as far as
//! paper and Compose go.

#![expect(
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests, with helpers beside them"
)]

/// In a real guest, which they bring up.
mod containers {
    mod access;
    mod databases;
    mod dnsmasq;
    mod docker;
    mod guest;
    mod models;
    mod portainer;
    mod python;
    mod registry;
    mod stack;
}
mod examples;
mod gpus;
mod models;
/// In a throw-away root.
mod programs {
    mod engine;
    mod stacks;
}
mod stacks;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::OnceLock;

use blueprint::Catalog;
use blueprint::model::{SecretRef, SiteFile};
use camino::{Utf8Path, Utf8PathBuf};
use managers::features::{GuestFacts, Mode, Rendered, render, script};
use serde_json::Value;

use crate::given::{self, parameters};

/// All that come with Phoenix, as they are in the folders now: a change of one needs no new build to be tried.
fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut files = Vec::new();
        collect(&root.join("catalog"), Utf8Path::new(""), &mut files);
        collect(&root, Utf8Path::new("stacks"), &mut files);
        Catalog::from_files(files).unwrap_or_else(|e| panic!("{}", e.to_text()))
    })
}

/// The files below a folder, but for what artifacts are built with.
fn collect(root: &Utf8Path, inside: &Utf8Path, files: &mut Vec<(Utf8PathBuf, Vec<u8>)>) {
    for entry in root.join(inside).read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let path = inside.join(entry.file_name());
        if entry.file_type().unwrap().is_file() {
            files.push((path, fs_err::read(entry.path()).unwrap()));
        } else if path != "artifacts" {
            collect(root, &path, files);
        }
    }
}

/// The guest that features are rendered for: the one of [`containers::guest::Guest`].
fn facts() -> GuestFacts {
    given::facts("under-test", "10.0.0.53")
}

/// A built-in feature with these parameters and the folders they name.
fn try_with(
    name: &str,
    values: Value,
    contents: &BTreeMap<String, Vec<SiteFile>>,
) -> Result<Rendered, managers::features::RenderError> {
    let (feature, values) = (catalog().get(name).unwrap(), parameters(values));
    given::as_told(feature, &values);
    render(feature, &values, contents, &facts())
}

#[track_caller]
fn with(name: &str, values: Value) -> Rendered {
    try_with(name, values, &BTreeMap::new()).unwrap()
}

/// The script of one feature. Secrets are worth what they are called.
fn apply(feature: &Rendered) -> Vec<u8> {
    let worth = |secret: &SecretRef| {
        Ok::<_, Infallible>(match secret {
            SecretRef::Env(name) => name.clone(),
            other => format!("{other:?}"),
        })
    };
    script(std::slice::from_ref(feature), Mode::Apply, &worth).unwrap().text
}
