use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use sealed::Identities;

use super::*;

struct Site {
    _dir: tempfile::TempDir,
    blueprint: Blueprint,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(PathBuf::from(dir.path())).unwrap();
        let text = format!(
            r#"{{ "site": {{ "name": "workshop", "domain": "workshop.internal", "sealed": {{ "to": ["{}"] }} }},
                 "target": {{ "lab": {{}} }} }}"#,
            include_str!("../../../sealed/keys/plain.pub").trim()
        );
        fs_err::write(root.join("site.json"), text).unwrap();
        let blueprint = blueprint::load(&root, &crate::open::catalog().unwrap()).unwrap().blueprint;
        Self { _dir: dir, blueprint }
    }

    fn put(&self, path: &str, text: &str) {
        let path = folder(&self.blueprint.root).join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
    }

    fn there(&self) -> Vec<String> {
        let all = content(&self.blueprint.root).unwrap();
        all.iter().map(|(path, text)| format!("{path}={}", text.expose_secret())).collect()
    }

    fn open(&self, file: &str) -> Result<Opened, Error> {
        let nobody: sealed::Ask = Arc::new(|_| None);
        let key = include_str!("../../../sealed/keys/plain");
        let key = Identities::parse(&key.into(), "plain", nobody).unwrap();
        open(&self.blueprint, file.into(), &Key::Identities(key))
    }

    /// Something that somebody else seals to the same key.
    fn forged(&self, text: &str) {
        let keys = sealed::recipients(include_str!("../../../sealed/keys/plain.pub")).unwrap();
        let sealed = sealed::to_recipients(&text.into(), &keys).unwrap();
        fs_err::write(self.blueprint.root.join("secrets.age"), sealed).unwrap();
    }
}

/// The attack: whoever can write where the copy lies seals something of their own to a public key, which everybody has.
#[test]
fn what_others_seal_leads_nowhere_but_below_the_secrets() {
    let site = Site::new();
    for name in [
        "../../site.json",
        "/etc/passwd",
        "a/../../../site.json",
        "",
        ".hidden",
        "a/.hidden",
        "a//b",
        "a/",
        "sealed.json",
        "a\\u0000b",
        "a\\nb",
        "a b",
        "\\u202e",
    ] {
        site.forged(&format!(
            r#"{{ "version": 1, "site": "workshop", "files": {{ "good": "1", "{name}": "x" }} }}"#
        ));
        let refused = site.open("secrets.age").unwrap_err();
        assert_eq!(refused.code, "sealed::damaged", "{name}: {refused}");
        assert!(!folder(&site.blueprint.root).exists(), "{name}");
    }
    for text in [
        "",
        "{}",
        "[]",
        r#"{ "version": 2, "site": "workshop", "files": { "a": "x" } }"#,
        r#"{ "version": 1, "site": "workshop", "files": {} }"#,
        r#"{ "version": 1, "site": "workshop", "files": { "a": 7 } }"#,
    ] {
        site.forged(text);
        assert_eq!(site.open("secrets.age").unwrap_err().code, "sealed::damaged", "{text}");
    }
    site.forged("{ \"version\": 1, \"site\": \"other\\u001b[8m\", \"files\": { \"a\": \"x\" } }");
    let other = site.open("secrets.age").unwrap_err();
    assert!(other.code == "sealed::other-site" && !other.to_string().contains('\u{1b}'), "{other}");
    // A link in the place of a folder is not followed.
    let elsewhere = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(folder(&site.blueprint.root)).unwrap();
    fs_err::os::unix::fs::symlink(elsewhere.path(), folder(&site.blueprint.root).join("generated")).unwrap();
    site.forged(r#"{ "version": 1, "site": "workshop", "files": { "generated/a": "x" } }"#);
    assert!(site.open("secrets.age").is_err());
    assert_eq!(fs_err::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn what_was_sealed_comes_back_and_what_is_there_stays() {
    let site = Site::new();
    assert_eq!(kept(&site.blueprint).unwrap(), Kept::NoSecrets);
    assert_eq!(again(&site.blueprint).unwrap(), None);
    site.put("authority/root.key", "root");
    site.put("generated/a", "one");
    site.put("generated/.new-1-0-b", "unfinished");
    assert_eq!(again(&site.blueprint).unwrap(), Some("secrets.age".into()));
    assert_eq!(again(&site.blueprint).unwrap(), None, "nothing has changed");
    let all = site.there();
    assert_eq!(all, ["authority/root.key=root", "generated/a=one"]);

    fs_err::remove_file(folder(&site.blueprint.root).join("authority/root.key")).unwrap();
    let opened = site.open("secrets.age").unwrap();
    assert_eq!((opened.back, opened.same), (vec!["authority/root.key".into()], 1));
    assert_eq!(site.there(), all);
    let mode = |path: &str| {
        fs_err::metadata(folder(&site.blueprint.root).join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("authority/root.key"), mode("sealed.json")), (0o600, 0o600));

    site.put("generated/a", "two");
    let differs = site.open("secrets.age").unwrap_err();
    assert!(differs.code == "sealed::differs" && differs.to_string().contains("generated/a"), "{differs}");
    assert_eq!(again(&site.blueprint).unwrap(), Some("secrets.age".into()));
    // A link is no secret.
    fs_err::os::unix::fs::symlink("/etc/hostname", folder(&site.blueprint.root).join("link")).unwrap();
    assert_eq!(again(&site.blueprint).unwrap_err().code, "sealed::not-collected");
}

/// Killed after it was written down that a copy is about to be written, and before it was: the one of before is known still.
#[test]
fn a_kill_in_between_leaves_a_copy_that_is_known() {
    let site = Site::new();
    site.put("generated/a", "one");
    again(&site.blueprint).unwrap();
    let (root, file) = (&site.blueprint.root, Utf8Path::new("secrets.age"));
    let before = fs_err::read(root.join(file)).unwrap();
    site.put("generated/a", "two");
    again(&site.blueprint).unwrap();
    fs_err::write(root.join(file), before).unwrap();
    let Kept::Copy { state, .. } = kept(&site.blueprint).unwrap() else { panic!("there is one") };
    assert_eq!(state, CopyState::Old);
    assert_eq!(again(&site.blueprint).unwrap(), Some(file.into()));
    assert_eq!(again(&site.blueprint).unwrap(), None);
}
