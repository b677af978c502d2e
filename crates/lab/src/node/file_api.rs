//! Files that come onto a storage: from the web, or with a request. The order of the checks, and the words, are those of
//! PVE::API2::Storage::Status.

use std::sync::Arc;

use camino::Utf8PathBuf;

use super::error::{ApiError, Outcome};
use super::kept_files::{Checksum, Kind, begin_of, verify_image};
use super::router::Call;
use super::storage::Template;
use crate::runtime::TaskError;

/// Where a file comes to lie.
struct Place {
    storage: String,
    kind: Kind,
    name: String,
    /// On this machine, or as the node names it where it has no files.
    path: Utf8PathBuf,
    /// As the node names it.
    shown: Utf8PathBuf,
    there: bool,
}

/// What a name becomes on a storage: without a folder, and with `_` for what is no plain character (PVE::Storage,
/// `normalize_content_filename`).
fn normal(name: &str) -> String {
    let name = name.trim_end_matches(['/', ' ']);
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    file.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

fn place(call: &Call<'_>) -> Result<Place, ApiError> {
    let (id, content) = (call.text("storage"), call.text("content"));
    let name = normal(call.text("filename"));
    let state = call.node.state();
    let storage = state.keep.storages.get(id);
    let storage = storage.ok_or_else(|| ApiError::die(format!("storage '{id}' does not exist")))?;
    if !storage.is_enabled(&call.node.name) {
        return Err(ApiError::die(format!("storage '{id}' is disabled")));
    }
    if !storage.has_files() {
        let kind = &storage.kind;
        return Err(ApiError::die(format!(
            "can't upload to storage type '{kind}', not a file based storage!"
        )));
    }
    if !storage.holds(content) {
        return Err(ApiError::die(format!("storage '{id}' is not configured for content-type '{content}'")));
    }
    let kind = Kind::of(content).filter(|kind| kind.format(&name).is_some());
    let kind = kind.ok_or_else(|| ApiError::parameter("filename", "wrong file extension"))?;
    Ok(Place {
        path: storage.file_path(kind, &name),
        shown: storage.shown_path(kind, &name),
        there: storage.kept(kind).iter().any(|one| one.name == name),
        storage: id.to_owned(),
        kind,
        name,
    })
}

fn checksum(call: &Call<'_>) -> Result<Option<Checksum>, ApiError> {
    let missing =
        |key: &str, by: &str| ApiError::parameter(key, format!("missing property required by '{by}'"));
    match (call.get("checksum"), call.get("checksum-algorithm")) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing("checksum-algorithm", "checksum")),
        (None, Some(_)) => Err(missing("checksum", "checksum-algorithm")),
        (Some(sum), Some(algorithm)) => {
            Ok(Some(Checksum { algorithm: algorithm.to_owned(), sum: sum.to_owned() }))
        }
    }
}

/// `POST /nodes/{node}/storage/{storage}/download-url`.
pub(crate) fn download(call: &Call<'_>) -> Outcome {
    let own = call.may(&format!("/nodes/{}", call.node.name), "Sys.AccessNetwork");
    let wide = call.may("/", "Sys.Audit") && call.may("/", "Sys.Modify");
    if !own && !wide {
        return Err(ApiError::forbidden(""));
    }
    // What is not carried out is not accepted.
    if call.get("compression").is_some() || call.get("verify-certificates") == Some("0") {
        return Err(ApiError::die(
            "this node neither decompresses what it downloads nor trusts every certificate",
        ));
    }
    let sum = checksum(call)?;
    let place = place(call)?;
    let (node, url) = (call.node.clone(), call.text("url").to_owned());
    Ok(call.task("download", place.name.clone(), move |log| async move {
        let Place { storage, kind, name, path, shown, there } = place;
        log.line(format!("downloading {url} to {shown}"));
        if there {
            let Some(sum) = sum else {
                return Err(TaskError(format!("refusing to override existing file '{shown}'")));
            };
            // Of a simulated node's files only their names are known.
            if !path.exists() {
                return Err(TaskError(format!("refusing to override existing file '{shown}'")));
            }
            sum.verify_file(&path, &log).map_err(|TaskError(text)| TaskError(format!("{text}, aborting")))?;
            log.line("OK, got correct file already, no need to download");
            return Ok(());
        }
        let size = node.runtime.download(&url, &path, sum.as_ref(), &log).await?;
        keep(&node, &storage, kind, &name, size)?;
        log.line(format!("download of '{url}' to '{shown}' finished"));
        Ok(())
    }))
}

/// `POST /nodes/{node}/storage/{storage}/upload`: the proxy has put the file aside.
pub(crate) fn upload(call: &Call<'_>) -> Outcome {
    let sum = checksum(call)?;
    let Some(file) = call.file.cloned() else {
        return Err(ApiError::parameter("filename", "property is missing and it is not optional"));
    };
    let place = place(call)?;
    let node = call.node.clone();
    Ok(call.task("imgcopy", "", move |log| async move {
        let Place { storage, kind, name, path, shown, .. } = place;
        log.line(format!("starting file import from: {}", file.path));
        if let Some(sum) = &sum {
            sum.verify_file(&file.path, &log)?;
        }
        if kind.content == "import" {
            let failed = |TaskError(text): TaskError| TaskError(text.replace("failed to verify file: ", ""));
            verify_image(&name, &begin_of(&file.path)?, &file.path).map_err(failed)?;
        }
        let size = fs_err::metadata(&file.path).map_err(|error| TaskError(error.to_string()))?.len();
        log.line(format!("target node: {}", node.name));
        log.line(format!("target file: {shown}"));
        log.line(format!("file size is: {size}"));
        log.line(format!("command: cp -- {} {shown}", file.path));
        node.runtime.take_file(&file.path, &path).await?;
        keep(&node, &storage, kind, &name, size)?;
        log.line("finished file import successfully");
        Ok(())
    }))
}

/// A storage without a folder remembers what is on it.
pub(crate) fn keep(
    node: &Arc<super::Inner>,
    storage: &str,
    kind: Kind,
    name: &str,
    size: u64,
) -> Result<(), TaskError> {
    let ctime = node.clock.now();
    node.change(|keep| match keep.storages.get_mut(storage) {
        None => Err(TaskError(format!("storage '{storage}' does not exist"))),
        Some(on) if on.files.is_some() => Ok(()),
        Some(on) => {
            on.remember(kind, &Template { name: name.to_owned(), size, ctime });
            Ok(())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_plain() {
        // Recorded: "upload name with blanks and umlaut", "upload with a path".
        assert_eq!(normal("rec üp x.iso"), "rec__p_x.iso");
        assert_eq!(normal("../rec-up9.iso"), "rec-up9.iso");
    }
}
