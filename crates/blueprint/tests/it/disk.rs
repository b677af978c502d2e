//! Sites on disk: whatever a folder holds, there is a clear error and no panic.

#![expect(clippy::unwrap_used, reason = "a failing test panics")]

use std::os::unix::fs::symlink;

use blueprint::{Diagnostic, codes, load};
use camino::{Utf8Path, Utf8PathBuf};

use crate::common;

const SITE: &str = r#"{"site": {"name": "workshop", "domain": "workshop.internal"}, "target": {"lab": {}}}"#;

struct Folder {
    _guard: tempfile::TempDir,
    path: Utf8PathBuf,
}

fn folder() -> Folder {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    fs_err::write(path.join("site.json"), SITE).unwrap();
    Folder { _guard: guard, path }
}

fn errors(root: &Utf8Path) -> Vec<Diagnostic> {
    load(root, &common::catalog()).map(|_| Vec::new()).unwrap_or_else(|failure| failure.diagnostics)
}

#[track_caller]
fn only(root: &Utf8Path, code: &str, file: &str, words: &str) {
    let errors = errors(root);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].code, errors[0].file.as_str()), (code, file), "{errors:?}");
    assert!(errors[0].message.contains(words), "{errors:?}");
}

#[test]
fn no_folder_and_no_blueprint() {
    let site = folder();
    only(&site.path.join("nothing"), codes::NO_BLUEPRINT, ".", "does not exist");
    only(&site.path.join("site.json"), codes::NO_BLUEPRINT, ".", "is not a folder");
    fs_err::remove_file(site.path.join("site.json")).unwrap();
    only(&site.path, codes::NO_BLUEPRINT, ".", "there is no blueprint");
}

#[test]
fn what_is_no_blueprint_is_left_alone() {
    let site = folder();
    for path in
        ["package.json", ".hidden.json", "node_modules/x/a.json", "data/b.json", "blueprints/.git/c.json"]
    {
        fs_err::create_dir_all(site.path.join(path).parent().unwrap()).unwrap();
        fs_err::write(site.path.join(path), "not json").unwrap();
    }
    assert_eq!(errors(&site.path), []);
    fs_err::write(site.path.join("blueprints/d.jsonc"), "not json").unwrap();
    only(&site.path, codes::SYNTAX, "blueprints/d.jsonc", "unexpected word");
}

#[test]
fn a_folder_named_like_a_blueprint() {
    let site = folder();
    fs_err::create_dir(site.path.join("x.json")).unwrap();
    only(&site.path, codes::UNREADABLE, "x.json", "this is a folder");
}

#[test]
fn links_that_lead_nowhere_or_in_circles() {
    let site = folder();
    symlink("nothing", site.path.join("x.json")).unwrap();
    only(&site.path, codes::UNREADABLE, "x.json", "cannot read it");
    fs_err::remove_file(site.path.join("x.json")).unwrap();
    symlink("y.json", site.path.join("y.json")).unwrap();
    only(&site.path, codes::UNREADABLE, "y.json", "cannot read it");
    fs_err::remove_file(site.path.join("y.json")).unwrap();
    fs_err::create_dir(site.path.join("blueprints")).unwrap();
    symlink("..", site.path.join("blueprints/up")).unwrap();
    assert_eq!(errors(&site.path), []);
}

#[test]
fn devices_are_not_read() {
    let site = folder();
    symlink("/dev/zero", site.path.join("x.json")).unwrap();
    only(&site.path, codes::UNREADABLE, "x.json", "no regular file");
}

#[test]
fn what_is_not_text() {
    let site = folder();
    for (bytes, words) in [
        (&b"\xEF\xBB\xBF{}"[..], "byte order mark"),
        (b"\xFF\xFE{\0}\0", "UTF-16"),
        (b"{\n\"a\xFF\": 1}", "line 2"),
    ] {
        fs_err::write(site.path.join("x.json"), bytes).unwrap();
        only(&site.path, codes::NOT_TEXT, "x.json", words);
    }
}

#[test]
fn a_file_that_is_too_large() {
    let site = folder();
    let file = fs_err::File::create(site.path.join("x.json")).unwrap();
    file.set_len(10 * 1024 * 1024).unwrap();
    only(&site.path, codes::TOO_LARGE, "x.json", "10 MiB, at most 8");
}

#[test]
fn nesting_without_end() {
    let site = folder();
    fs_err::write(site.path.join("x.json"), "[".repeat(7_000_000)).unwrap();
    only(&site.path, codes::SYNTAX, "x.json", "nesting");
}

#[test]
fn what_parameters_name_stays_inside_the_site() {
    let site = folder();
    let guests = r#"{"containers": {"a": {"features": [{"static-site": {"root": "pages"}}]}}}"#;
    fs_err::write(site.path.join("guests.json"), guests).unwrap();
    only(&site.path, codes::BAD_PATH, "guests.json", "does not exist");
    symlink("/etc", site.path.join("pages")).unwrap();
    only(&site.path, codes::BAD_PATH, "guests.json", "leads outside");
    fs_err::remove_file(site.path.join("pages")).unwrap();
    fs_err::create_dir(site.path.join("pages")).unwrap();
    symlink("/etc/passwd", site.path.join("pages/x")).unwrap();
    only(&site.path, codes::BAD_PATH, "guests.json", "leads outside");
    fs_err::remove_file(site.path.join("pages/x")).unwrap();
    fs_err::write(site.path.join("pages/index.html"), "hello").unwrap();
    assert_eq!(errors(&site.path), []);
    let big = fs_err::File::create(site.path.join("pages/big")).unwrap();
    big.set_len(65 * 1024 * 1024).unwrap();
    only(&site.path, codes::TOO_LARGE, "guests.json", "too large");
}

#[test]
fn a_features_files_keep_their_mode() {
    use std::os::unix::fs::PermissionsExt;
    let site = folder();
    fs_err::create_dir_all(site.path.join("features/mine")).unwrap();
    let feature = r#"{"description": "x", "files": [{"path": "/usr/local/bin/x", "from": "run.sh"}]}"#;
    fs_err::write(site.path.join("features/mine/feature.json"), feature).unwrap();
    fs_err::write(site.path.join("features/mine/run.sh"), "#!/bin/sh\n").unwrap();
    fs_err::set_permissions(site.path.join("features/mine/run.sh"), PermissionsExt::from_mode(0o755))
        .unwrap();
    fs_err::write(site.path.join("guests.json"), r#"{"containers": {"a": {"features": ["mine"]}}}"#).unwrap();
    let loaded = load(&site.path, &common::catalog()).unwrap();
    let feature = &loaded.blueprint.features["mine"];
    assert!(feature.files["run.sh"].executable && !feature.built_in);
}
