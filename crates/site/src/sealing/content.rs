//! What is sealed: all texts below `.phoenix/secrets`, as one.

use std::collections::BTreeMap;

use blueprint::model::Blueprint;
use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::folder;
use super::record::RECORD;
use crate::error::Error;

/// What is sealed has this form.
const VERSION: u32 = 1;

/// The texts below `.phoenix/secrets`, by their path there.
pub(super) type Content = BTreeMap<Utf8PathBuf, SecretString>;

/// All that is below `.phoenix/secrets` but what is said of copies, and files that are not finished.
pub(super) fn content(root: &Utf8Path) -> Result<Content, Error> {
    let folder = folder(root);
    let mut all = Content::new();
    if folder.exists() {
        add(&folder, &folder, &mut all)?;
        all.remove(Utf8Path::new(RECORD));
    }
    Ok(all)
}

fn add(folder: &Utf8Path, here: &Utf8Path, all: &mut Content) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::from_error("sealed::not-collected", &e);
    for entry in here.read_dir_utf8().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_name().starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            add(folder, path, all)?;
        } else if kind.is_file() {
            let text = match fs_err::read_to_string(path) {
                Ok(text) => text,
                // It has its own name by now, or went.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => {
                    return Err(failed(e).hint(format!("move {path} elsewhere where it is none of Phoenix'")));
                }
            };
            all.insert(path.strip_prefix(folder).unwrap_or(path).to_owned(), text.into());
        } else {
            let what = format!("{path} is neither file nor folder, so it is in no sealed copy");
            return Err(Error::failed("sealed::not-collected", what)
                .hint("put the file itself in the place of a link"));
        }
    }
    Ok(())
}

/// SHA-256 of texts, each with its length.
pub(super) fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn fingerprint_of(content: &Content) -> String {
    let parts: Vec<&str> =
        content.iter().flat_map(|(path, text)| [path.as_str(), text.expose_secret()]).collect();
    fingerprint(&parts)
}

/// What is sealed, as text.
pub(super) fn text_of(blueprint: &Blueprint, content: &Content) -> SecretString {
    let files: serde_json::Map<String, serde_json::Value> =
        content.iter().map(|(path, text)| (path.to_string(), text.expose_secret().into())).collect();
    let site = blueprint.site.name.to_string();
    serde_json::json!({ "version": VERSION, "site": site, "files": files }).to_string().into()
}

/// What was sealed. Whoever has a public key can seal anything to it: names are checked as if a stranger had written them.
pub(super) fn parsed(blueprint: &Blueprint, file: &Utf8Path, text: &SecretString) -> Result<Content, Error> {
    #[derive(Deserialize)]
    struct Sealed {
        version: u32,
        site: String,
        files: BTreeMap<String, SecretString>,
    }
    let bad = |why: String| {
        Error::failed("sealed::damaged", format!("{file} holds no secrets of a site: {why}"))
            .hint("take what `phoenix-cli secrets seal` wrote")
    };
    let sealed: Sealed = serde_json::from_str(text.expose_secret()).map_err(|e| {
        // The library's words may repeat a part of it.
        bad(format!("it cannot be read at column {}", e.column()))
    })?;
    if sealed.version != VERSION {
        return Err(bad(format!(
            "it is of version {}, and this phoenix-cli reads {VERSION}",
            sealed.version
        )));
    }
    if sealed.site != blueprint.site.name.as_str() {
        let what = format!(
            "{file} is of the site `{}`, and this is `{}`",
            foreign(&sealed.site),
            blueprint.site.name
        );
        return Err(Error::usage("sealed::other-site", what).hint("give the right folder with --site"));
    }
    let mut all = Content::new();
    for (path, text) in sealed.files {
        let good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        };
        if !path.split('/').all(good) || path == RECORD {
            return Err(bad(format!("`{}` is no name of a secret", foreign(&path))));
        }
        all.insert(path.into(), text);
    }
    if all.is_empty() {
        return Err(bad("there is none in it".to_owned()));
    }
    Ok(all)
}

/// What others say, cut to what fits.
fn foreign(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}
