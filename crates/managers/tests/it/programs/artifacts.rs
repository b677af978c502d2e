//! Artifacts on their way into a guest: real files, a real root.

#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::given;
use crate::root::Root;
use blueprint::catalog::{Feature, FeatureSpec};
use camino::Utf8PathBuf;
use managers::artifacts::{Artifact, Cache, List, Sha256Sum, Source, Store};
use managers::features::{Mode, Rendered, RenderedArtifact, render, script};
use managers::{Artifacts as _, WantedArtifact};
use serde_json::json;

/// A store of one program, `hello`, which is a file here.
struct Shop {
    folder: Utf8PathBuf,
    _dir: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { folder: Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap(), _dir: dir }
    }

    fn store(&self, version: &str, program: &[u8]) -> (Store, RenderedArtifact) {
        let path = self.folder.join("hello").to_string();
        fs_err::write(&path, program).unwrap();
        let artifact = Artifact {
            description: "Says hello.".into(),
            version: version.into(),
            released: jiff::civil::date(2026, 1, 2),
            holes: Vec::new(),
            path: Some("/opt/tools/hello".into()),
            sources: vec![Source::File { path, sha256: Sha256Sum::of(program) }],
        };
        let rendered = artifact.rendered("hello");
        let list = List { artifacts: BTreeMap::from([("hello".to_owned(), artifact)]), refuses: Vec::new() };
        (Store::with(list, Cache::new(self.folder.join("cache"), None), "amd64"), rendered)
    }
}

/// Puts it for a feature with a unit; what was told.
fn put(root: &Root, store: &Store, artifact: &RenderedArtifact) -> Result<Vec<String>, apply::Failure> {
    let told = Mutex::new(Vec::new());
    let used_by = vec![("greeting".to_owned(), vec!["hello".to_owned(), "other".to_owned()])];
    let wanted = [WantedArtifact { artifact, used_by }];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.put(&wanted, &root.guest(), &|text| told.lock().unwrap().push(text)))?;
    Ok(told.into_inner().unwrap())
}

const PUT_1: &str = "putting hello 1.0 into container 103 on a throw-away root";

// P-75: what runs in a guest is what was pinned, to the last byte.
#[test]
fn a_program_is_put_once_and_again_when_it_is_not_what_it_was() {
    let Some(root) = Root::new() else { return };
    let shop = Shop::new();
    let (store, artifact) = shop.store("1.0", b"#!/bin/sh\necho hello\n");
    assert_eq!(put(&root, &store, &artifact).unwrap(), [PUT_1]);
    assert_eq!(root.sh("/opt/tools/hello; stat -c '%a %U:%G' /opt/tools/hello"), "hello\n755 root:root\n");
    // The units that run it are owed a restart, where the features' script looks.
    assert_eq!(root.sh("cat /var/lib/phoenix/pending/greeting"), "restart:hello\nrestart:other\n");
    root.sh("rm /var/lib/phoenix/pending/greeting");

    // It is there: nothing is put, and the program is not even needed here.
    fs_err::remove_dir_all(shop.folder.join("cache")).unwrap();
    fs_err::remove_file(shop.folder.join("hello")).unwrap();
    assert!(put(&root, &store, &artifact).unwrap().is_empty());
    // Touched and the same is the same; from then on it is remembered again.
    root.sh("touch /opt/tools/hello");
    assert!(put(&root, &store, &artifact).unwrap().is_empty());

    // Missing, changed, and with another mode: it is put again.
    let (store, artifact) = shop.store("1.0", b"#!/bin/sh\necho hello\n");
    for harm in [
        "rm /opt/tools/hello",
        "echo evil >/opt/tools/hello",
        "chmod 777 /opt/tools/hello",
        "chown 1000 /opt/tools/hello",
        "rm /var/lib/phoenix/artifacts/hello",
        "rm /opt/tools/hello; ln -s /bin/true /opt/tools/hello",
    ] {
        root.sh(harm);
        assert_eq!(put(&root, &store, &artifact).unwrap(), [PUT_1], "{harm}");
        assert_eq!(
            root.sh("/opt/tools/hello; stat -c '%a %u %F' /opt/tools/hello"),
            "hello\n755 0 regular file\n"
        );
        assert!(put(&root, &store, &artifact).unwrap().is_empty(), "{harm}");
    }
    assert_eq!(root.sh("ls -A /opt/tools"), "hello\n", "nothing is left beside it");

    // What has not changed owes no restart; a new version does.
    root.sh("rm -f /var/lib/phoenix/pending/greeting; rm /var/lib/phoenix/artifacts/hello");
    put(&root, &store, &artifact).unwrap();
    assert_eq!(root.sh("ls /var/lib/phoenix/pending"), "");
    let (store, artifact) = shop.store("2.0", b"#!/bin/sh\necho hello again\n");
    put(&root, &store, &artifact).unwrap();
    assert_eq!(
        root.sh("/opt/tools/hello; cat /var/lib/phoenix/pending/greeting"),
        "hello again\nrestart:hello\nrestart:other\n"
    );
}

/// A feature with a unit that runs the program.
fn greeting_with(artifacts: &[RenderedArtifact]) -> Rendered {
    let spec: FeatureSpec = serde_json::from_value(json!({ "units": { "hello": {} } })).unwrap();
    let feature = Feature { name: "greeting".into(), spec, files: BTreeMap::new(), built_in: false };
    let facts = given::facts("a", "10.0.0.20");
    let rendered = render(&feature, &BTreeMap::new(), &BTreeMap::new(), &facts).unwrap();
    Rendered { artifacts: artifacts.to_vec(), ..rendered }
}

fn scripted(feature: Rendered, mode: Mode) -> Vec<u8> {
    script(&[feature], mode, &|_| Ok::<_, std::convert::Infallible>(String::new())).unwrap().text
}

fn greeting() -> Vec<u8> {
    scripted(greeting_with(&[]), Mode::Apply)
}

// A look inside takes no program on trust: what was put is deleted, changed or older than what is wanted, and that is all that
// is said; the step for it puts it right.
#[test]
fn a_program_that_is_not_as_it_was_put_is_found_by_looking() {
    let Some(root) = Root::new() else { return };
    let shop = Shop::new();
    let (store, artifact) = shop.store("1.0", b"#!/bin/sh\necho hello\n");
    let look = scripted(greeting_with(std::slice::from_ref(&artifact)), Mode::Check);
    let install = scripted(greeting_with(std::slice::from_ref(&artifact)), Mode::Apply);
    let missing = ["file create /opt/tools/hello", "unit enable hello", "unit start hello"];
    assert_eq!(root.run(&look).ok().words(), missing);
    put(&root, &store, &artifact).unwrap();
    root.run(&install).ok();
    root.run(&look).nothing_to_do();
    root.sh("touch /opt/tools/hello");
    root.run(&look).nothing_to_do();
    for (harm, found) in [
        ("rm /opt/tools/hello", &["file create /opt/tools/hello", "unit restart hello"][..]),
        ("echo evil >/opt/tools/hello", &["file update /opt/tools/hello", "unit restart hello"]),
        ("ln -sf /bin/true /opt/tools/hello", &["file update /opt/tools/hello", "unit restart hello"]),
        ("chmod 777 /opt/tools/hello", &["file update /opt/tools/hello"]),
        ("chown 1000 /opt/tools/hello", &["file update /opt/tools/hello"]),
    ] {
        root.sh(harm);
        let before = root.picture();
        assert_eq!(root.run(&look).ok().words(), found, "{harm}");
        assert_eq!(root.picture(), before, "looking after `{harm}` changed something");
        assert_eq!(put(&root, &store, &artifact).unwrap(), [PUT_1], "{harm}");
        // What was told is what is done, but for the program itself.
        assert_eq!(root.run(&install).ok().words(), found[1..], "{harm}");
        root.run(&look).nothing_to_do();
        assert_eq!(root.sh("/opt/tools/hello"), "hello\n", "{harm}");
    }
    // Another version is wanted by now.
    let (_, newer) = shop.store("2.0", b"#!/bin/sh\necho hello again\n");
    let look = scripted(greeting_with(&[newer]), Mode::Check);
    let other = ["file update /opt/tools/hello", "unit restart hello"];
    assert_eq!(root.run(&look).ok().words(), other);
}

// A program that is replaced does not go on running as the old one, also when the run was killed in between.
#[test]
fn what_runs_a_program_is_restarted_when_it_changes() {
    let Some(root) = Root::new() else { return };
    let shop = Shop::new();
    let (store, artifact) = shop.store("1.0", b"#!/bin/sh\necho hello\n");
    put(&root, &store, &artifact).unwrap();
    assert_eq!(root.run(&greeting()).ok().words(), ["unit enable hello", "unit start hello"]);
    put(&root, &store, &artifact).unwrap();
    root.run(&greeting()).nothing_to_do();
    let (store, artifact) = shop.store("1.1", b"#!/bin/sh\necho hello there\n");
    put(&root, &store, &artifact).unwrap();
    // Here it may be killed: the second time there is nothing to put, and the restart is still owed.
    assert!(put(&root, &store, &artifact).unwrap().is_empty());
    assert_eq!(root.run(&greeting()).ok().words(), ["unit restart hello"]);
    root.run(&greeting()).nothing_to_do();
}

#[test]
fn what_cannot_be_put_leaves_the_old_one() {
    let Some(root) = Root::new() else { return };
    let shop = Shop::new();
    let (store, artifact) = shop.store("1.0", b"#!/bin/sh\necho hello\n");
    put(&root, &store, &artifact).unwrap();
    // A disk that is full.
    let (large, artifact) = shop.store("2.0", &vec![b'x'; 3_000_000]);
    root.sh(
        "mount -t tmpfs -o size=1m none /mnt && cp /opt/tools/hello /mnt/ && mount --bind /mnt /opt/tools",
    );
    let failure = put(&root, &large, &artifact).unwrap_err();
    assert_eq!(failure.code, "artifacts::not-put");
    assert!(failure.to_string().contains("No space left on device"), "{failure}");
    assert_eq!(root.sh("/opt/tools/hello; ls -A /opt/tools"), "hello\nhello\n");
    // A plan that was made with another list.
    let failure = put(&root, &store, &artifact).unwrap_err();
    assert_eq!(failure.code, "artifacts::other-pin");
    // A file that is not what is pinned is not even begun with.
    let (store, artifact) = shop.store("3.0", b"right");
    fs_err::write(shop.folder.join("hello"), b"wrong").unwrap();
    let failure = put(&root, &store, &artifact).unwrap_err();
    assert_eq!(
        (failure.code.as_str(), root.sh("/opt/tools/hello")),
        ("artifacts::other-bytes", "hello\n".to_owned())
    );
}

/// Every program of the list that is in the cache of this machine says that it is what it is; building them takes minutes,
/// so `phoenix-cli artifacts fetch` does that.
#[test]
fn what_was_built_tells_its_version() {
    let Some(store) = crate::built::store() else {
        println!("skipped: no cache folder");
        return;
    };
    let there: Vec<_> = store.standing().into_iter().filter_map(|s| Some((s.there.clone()?.0, s))).collect();
    if there.is_empty() {
        println!("skipped: nothing is in the cache (phoenix-cli artifacts fetch)");
    }
    for (path, standing) in there {
        // Files of the cache are no programs; a copy is.
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(&standing.name);
        fs_err::copy(path, &program).unwrap();
        fs_err::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&program).arg("version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&standing.artifact.version), "{}: {text}", standing.name);
    }
}
