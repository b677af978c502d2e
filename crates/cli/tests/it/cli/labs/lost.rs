//! `.phoenix/secrets` that is lost is missed before something else takes its place, and who only looks makes none.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Lab, TestEnv};

const SECRETS: &str = ".phoenix/secrets";
const AUTHORITY: &str = ".phoenix/secrets/authority";

/// All files below the site's folder but the lab's own.
fn files(lab: &Lab) -> BTreeMap<PathBuf, Vec<u8>> {
    fn add(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.ends_with(".phoenix/lab") {
            } else if entry.file_type().unwrap().is_dir() {
                add(&path, all);
            } else {
                all.insert(path.clone(), std::fs::read(path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    add(&lab.env.path(), &mut all);
    all
}

/// A workshop in which somebody has a password.
fn workshop() -> Lab {
    let env = TestEnv::site();
    let users = r#""expose": "gateway", "bypass": true, "access": { "basic": { "anna": { "generate": "anna-password" } } }"#;
    env.edit("guests.json", "\"expose\": \"gateway\"", users);
    Lab::of(env)
}

impl Lab {
    fn moved(&self, from: &str, to: &str) {
        std::fs::rename(self.env.path().join(from), self.env.path().join(to)).unwrap();
    }

    /// As after `git clone`: nothing but the lab is left of what Phoenix keeps; where the rest is now.
    fn cloned(&self) -> PathBuf {
        let kept = self.env.folder.path().join("kept");
        std::fs::create_dir_all(&kept).unwrap();
        for entry in std::fs::read_dir(self.env.path().join(".phoenix")).unwrap().map(Result::unwrap) {
            if entry.file_name() != "lab" {
                std::fs::rename(entry.path(), kept.join(entry.file_name())).unwrap();
            }
        }
        kept
    }

    fn back(&self, kept: &Path) {
        for entry in std::fs::read_dir(kept).unwrap().map(Result::unwrap) {
            std::fs::rename(entry.path(), self.env.path().join(".phoenix").join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn who_looks_leaves_nothing() {
    let lab = workshop();
    let before = files(&lab);
    for looking in [
        &["validate"][..],
        &["plan"],
        &["plan", "--full", "--diff"],
        &["plan", "--deep"],
        &["plan", "--destroy"],
        &["drift"],
        &["status"],
        &["health"],
        &["doctor"],
        &["certs"],
        &["secrets", "list"],
        &["graph"],
        &["trace", "notes"],
        &["explain", "container.notes"],
        &["explain", "feature.nginx-gateway@container.gateway", "--script"],
        &["destroy", "--confirm", "workshop"],
    ] {
        let said = lab.run(looking);
        assert!(said.code <= 1, "{looking:?}: {said:#?}");
        assert_eq!(files(&lab).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{looking:?}");
    }
    assert!(files(&lab) == before);
    lab.run(&["certs", "root", "--json"]).ended(1).error("authority::not-made", "up makes it");
    // On paper it is the same each time, and the same steps as in a file that is to be carried out.
    let plan = |args: &[&str]| lab.run(args).ended(0).json();
    let shown = plan(&["plan", "--json"]);
    assert_eq!(plan(&["plan", "--json"]), shown);
    let kept = plan(&["plan", "--json", "--out", "first.plan"]);
    let addresses = |plan: &serde_json::Value| {
        let steps = plan["steps"].as_array().unwrap();
        steps.iter().map(|step| step["address"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(addresses(&kept), addresses(&shown));
    lab.run(&["apply", "first.plan"]).ended(0);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);

    // Nothing else is on standard output, and what goes with it is for its owner alone.
    let said = lab.run(&["certs", "root"]).ended(0);
    assert!(said.out.starts_with("-----BEGIN CERTIFICATE-----\n"), "{said:#?}");
    assert!(said.out.ends_with("-----END CERTIFICATE-----\n") && said.err.is_empty(), "{said:#?}");
    for entry in std::fs::read_dir(lab.env.path().join(AUTHORITY)).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

/// The folder of the state is never committed, whatever the site's own `.gitignore` says.
#[test]
fn secrets_are_kept_out_of_version_control() {
    let lab = workshop();
    assert_eq!(lab.env.read(".gitignore").trim(), ".phoenix/");
    std::fs::remove_file(lab.env.path().join(".gitignore")).unwrap();
    std::fs::remove_file(lab.env.path().join(".phoenix/.gitignore")).unwrap();
    lab.run(&["apply"]).ended(0);
    assert_eq!(lab.env.read(".phoenix/.gitignore").lines().last(), Some("*"));
}

#[test]
fn a_clone_without_secrets_puts_no_others_in_their_place() {
    let lab = workshop();
    lab.run(&["apply"]).ended(0);
    let root = lab.run(&["certs", "root"]).ended(0).out;
    let kept = lab.cloned();

    for doing in [
        &["plan"][..],
        &["plan", "--out", "first.plan"],
        &["apply"],
        &["up", "--yes"],
        &["up", "--yes", "--target", "notes"],
        &["apply", "--again"],
        &["rotate", "notes", "--yes"],
        &["adopt", "notes", "gateway", "status", "--yes"],
        &["status"],
        &["health"],
        &["drift"],
        &["certs"],
    ] {
        let said = lab.run(&[doing, &["--json"]].concat()).ended(1);
        said.error("authority::lost", "copy .phoenix/secrets from the folder");
        assert!(!lab.env.path().join(SECRETS).exists(), "{doing:?} made some");
    }
    let nothing = lab.run(&["destroy", "--confirm", "workshop", "--json"]).ended(1);
    nothing.error("site::key-lost", "copy .phoenix/secrets/site.key");
    let doctor = lab.run(&["doctor", "--json"]).ended(1).json();
    let checks = doctor["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["code"] == "authority::lost"), "{doctor:#}");

    // With them it is the same site.
    lab.back(&kept);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    assert_eq!(lab.run(&["certs", "root"]).out, root);
}

#[test]
fn another_root_takes_a_word() {
    let lab = workshop();
    lab.run(&["apply"]).ended(0);
    let first = lab.run(&["certs", "root"]).ended(0).out;
    lab.run(&["up", "--new-authority", "--yes", "--json"]).ended(2).error("authority::not-lost", "without");
    lab.moved(AUTHORITY, "old-authority");
    lab.run(&["apply", "--json"]).ended(1).error("authority::lost", "up --new-authority");
    // Not even for a part of what is there.
    let some = ["--target", "notes", "--allow-destroy", "notes", "--allow-destroy", "gateway", "--json"];
    let said = lab.run(&[&["destroy"][..], &some].concat()).ended(1);
    said.error("authority::lost", "copy .phoenix/secrets");
    lab.run(&["up", "--new-authority", "--json"]).ended(4).error("consent::nobody-to-ask", "");
    assert!(!lab.env.path().join(AUTHORITY).exists());
    lab.run(&["up", "--new-authority", "--yes"]).ended(0);
    let second = lab.run(&["certs", "root"]).ended(0).out;
    assert_ne!(second, first);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);

    // The last one is another by now.
    lab.moved(AUTHORITY, "new-authority");
    lab.moved("old-authority", AUTHORITY);
    lab.run(&["apply", "--json"]).ended(1).error("authority::another", "copy .phoenix/secrets");
    lab.run(&["plan", "--json"]).ended(1).error("authority::another", "copy .phoenix/secrets");
    lab.moved(AUTHORITY, "old-authority");
    lab.moved("new-authority", AUTHORITY);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);

    // Whoever destroys all of it needs none.
    lab.moved(AUTHORITY, "new-authority");
    lab.run(&["destroy", "--confirm", "workshop"]).ended(0);
}

#[test]
fn all_of_it_is_survived_with_a_word() {
    let lab = workshop();
    lab.run(&["apply"]).ended(0);
    let password = lab.env.read(".phoenix/secrets/generated/anna-password");
    lab.cloned();
    let guests = ["adopt", "notes", "gateway", "status"];
    let said = lab.run(&[&guests[..], &["--new-authority", "--json"]].concat()).ended(4);
    said.error("consent::missing", "adopt notes gateway status --new-authority --yes");
    assert!(!lab.env.path().join(SECRETS).exists());
    lab.run(&[&guests[..], &["--new-authority", "--yes"]].concat()).ended(0);
    lab.run(&["up", "--yes"]).ended(0);
    lab.run(&["plan", "--detailed-exitcode"]).ended(0);
    assert_ne!(lab.env.read(".phoenix/secrets/generated/anna-password"), password);
}

/// With the site's key alone lost, nothing of what is there is taken for anybody's, and no other key is made by the way.
#[test]
fn another_key_is_not_made_by_the_way() {
    let lab = workshop();
    lab.run(&["apply"]).ended(0);
    lab.moved(".phoenix/secrets/site.key", "site.key");
    let new = r#""containers": { "extra": { "id": 130, "type": "small", "address": "10.0.0.30" },"#;
    lab.env.edit("guests.json", "\"containers\": {", new);
    let said = lab.run(&["up", "--yes", "--target", "extra", "--json"]).ended(1);
    said.error("site::key-lost", "copy .phoenix/secrets/site.key");
    assert!(!lab.env.path().join(".phoenix/secrets/site.key").exists());
    lab.moved("site.key", ".phoenix/secrets/site.key");
    lab.run(&["up", "--yes", "--target", "extra"]).ended(0);
}
