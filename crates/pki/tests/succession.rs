//! A root that takes the place of another: who is believed at each stage, by real chains, and whoever is killed in between.
#![expect(clippy::unwrap_used, reason = "tests, with helpers beside them")]

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use pki::{
    Authority, AuthoritySettings, CertificateFacts, Leaf, LeafRequest, PkiError, RootKey, Stage, verify_chain,
};

const NAME: &str = "notes.workshop.internal";
const DAY: Duration = Duration::from_hours(24);

struct Site {
    _dir: tempfile::TempDir,
    folder: Utf8PathBuf,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join("authority")).unwrap();
        Self { _dir: dir, folder }
    }

    fn open(&self) -> Authority {
        Authority::open_or_create(&self.folder, &settings(), now()).unwrap()
    }

    fn look(&self) -> Authority {
        Authority::open(&self.folder, &settings(), now()).unwrap().unwrap()
    }

    fn propose(&self) -> Authority {
        Authority::propose_root(&self.folder, &settings(), now()).unwrap()
    }

    fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }
}

fn settings() -> AuthoritySettings {
    AuthoritySettings { site: "workshop".into(), domain: "workshop.internal".into(), subnets: Vec::new() }
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn leaf(authority: &Authority) -> Leaf {
    let request =
        LeafRequest { name: "notes".into(), dns_names: vec![NAME.into()], addresses: Vec::new(), life: DAY };
    authority.issue(&request, now()).unwrap()
}

/// Whether a client that trusts `roots` alone lets in who shows this.
fn believes(roots: &str, leaf: &Leaf) -> bool {
    let rustls = verify_chain(&leaf.chain_pem, roots, NAME, now()).is_ok();
    let dir = tempfile::tempdir().unwrap();
    let (ca, chain) = (dir.path().join("ca"), dir.path().join("chain"));
    fs_err::write(&ca, roots).unwrap();
    fs_err::write(&chain, &leaf.chain_pem).unwrap();
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(["verify", "-no-CApath", "-no-CAstore", "-CAfile"]).arg(&ca);
    let verdict = openssl.arg("-untrusted").arg(&chain).arg(&chain).output();
    // Where there is one, it says the same.
    assert!(verdict.is_err() || verdict.is_ok_and(|said| said.status.success() == rustls));
    rustls
}

// Between the stages nobody is refused who is to be let in, whatever guests are a stage behind; and at the end nobody gets in with
// what the old root signed.
#[test]
fn at_each_stage_all_are_believed_who_are_to_be_and_at_the_end_no_others() {
    let site = Site::new();
    let first = site.open();
    let (old, old_root) = (leaf(&first), first.root_pem().to_owned());
    assert_eq!((first.stage(), first.trusted_pem()), (None, old_root.as_str()));

    let proposed = site.propose();
    assert!(!site.has("root-next.crt") && !site.has("root-next.key"), "nothing is written for a question");
    assert_eq!(site.open().stage(), None);
    proposed.keep_new_root().unwrap();

    let trusting = site.open();
    let both = trusting.trusted_pem().to_owned();
    assert_eq!((trusting.stage(), both.as_str()), (Some(Stage::Trusting), proposed.trusted_pem()));
    assert_eq!((trusting.root_pem(), site.look().trusted_pem()), (old_root.as_str(), both.as_str()));
    assert!(
        both.starts_with(old_root.trim_end()) && both.trim_end().ends_with(trusting.newest_pem().trim_end())
    );
    // A guest that has not heard of the new one yet, and one that has.
    let still = leaf(&trusting);
    assert!(believes(&old_root, &still) && believes(&both, &still) && believes(&both, &old));

    trusting.sign_with_new_root(now()).unwrap();
    let signing = site.open();
    let (new, new_root) = (leaf(&signing), signing.root_pem().to_owned());
    assert_eq!((signing.stage(), signing.trusted_pem()), (Some(Stage::Signing), both.as_str()));
    assert_eq!((signing.newest_pem(), signing.before()), (new_root.as_str(), [old_root.clone()].as_slice()));
    // What is shown by one who has been signed anew, and by one who has not.
    assert!(believes(&both, &new) && believes(&both, &old) && !believes(&new_root, &old));
    assert_ne!(leaf(&signing).key_pem_hash(), new.key_pem_hash());
    for file in ["root-next.crt", "root-next.key"] {
        assert!(!site.has(file), "{file}");
    }

    signing.leave_old_root().unwrap();
    let leaving = site.open();
    assert_eq!((leaving.stage(), leaving.trusted_pem()), (Some(Stage::Leaving), new_root.as_str()));
    assert!(believes(leaving.trusted_pem(), &new) && !believes(leaving.trusted_pem(), &old));
    // Nor are both together of any use to who has the old key.
    assert!(!believes(leaving.trusted_pem(), &still));

    leaving.forget_old_root().unwrap();
    let done = site.open();
    assert_eq!(
        (done.stage(), done.trusted_pem(), done.before()),
        (None, new_root.as_str(), [old_root].as_slice())
    );
    assert!(!site.has("root-old.crt") && !site.has("root-leaving.crt"));
    // And once more, from there.
    site.propose().keep_new_root().unwrap();
    site.open().sign_with_new_root(now()).unwrap();
    assert_eq!(site.open().before().len(), 2);
}

trait KeyHash {
    fn key_pem_hash(&self) -> String;
}

impl KeyHash for Leaf {
    fn key_pem_hash(&self) -> String {
        secrecy::ExposeSecret::expose_secret(&self.key_pem).to_owned()
    }
}

#[test]
fn roots_are_told_apart_by_their_names() {
    let site = Site::new();
    let proposed = site.propose();
    let names: Vec<String> =
        proposed.trusted().iter().map(|pem| CertificateFacts::parse(pem).unwrap().subject).collect();
    assert_eq!(names[0], "Phoenix workshop Root CA");
    assert!(names[1].starts_with("Phoenix workshop Root CA ") && names[1].len() == 31, "{names:?}");
    // Nor are intermediates below them called the same.
    proposed.keep_new_root().unwrap();
    let old = CertificateFacts::parse(&site.open().intermediate_pem()).unwrap();
    site.open().sign_with_new_root(now()).unwrap();
    let new = CertificateFacts::parse(&site.open().intermediate_pem()).unwrap();
    assert!(
        old.subject != new.subject && new.issuer == names[1],
        "{} {} {}",
        old.subject,
        new.subject,
        new.issuer
    );
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::create_dir_all(to).unwrap();
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs_err::copy(entry.path(), to.join(entry.file_name().to_str().unwrap())).unwrap();
    }
}

// The files change one by one: whoever looks after a kill reads the new root, and whoever goes on ends where it would have ended.
#[test]
fn killed_while_the_new_root_takes_over_it_is_finished() {
    let site = Site::new();
    site.open();
    site.propose().keep_new_root().unwrap();
    let new = site.open().newest_pem().to_owned();
    let old = site.open().root_pem().to_owned();
    fn put(folder: &Utf8Path, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let key = fs_err::read_to_string(site.folder.join("root-next.key")).unwrap();
    let remove = |folder: &Utf8Path, name: &str| fs_err::remove_file(folder.join(name)).unwrap();
    let steps: [&dyn Fn(&Utf8Path); 8] = [
        &|folder| put(folder, "root-old.crt", &old),
        &|folder| remove(folder, "intermediate.crt"),
        &|folder| remove(folder, "intermediate.key"),
        &|folder| remove(folder, "root.key"),
        &|folder| put(folder, "root.crt", &new),
        &|folder| put(folder, "root.key", &key),
        &|folder| remove(folder, "root-next.key"),
        &|folder| remove(folder, "root-next.crt"),
    ];
    for killed in 1..=steps.len() {
        let other = Site::new();
        copy(&site.folder, &other.folder);
        steps[..killed].iter().for_each(|step| step(&other.folder));
        let looked = other.look();
        assert_eq!((looked.stage(), looked.root_pem()), (Some(Stage::Signing), new.as_str()), "{killed}");
        assert!(believes(&new, &leaf(&looked)), "{killed}");
        let opened = other.open();
        assert_eq!((opened.stage(), opened.root_pem()), (Some(Stage::Signing), new.as_str()), "{killed}");
        assert!(believes(&new, &leaf(&opened)) && opened.root_key().unwrap() == RootKey::Here, "{killed}");
        assert!(!other.has("root-next.crt") && !other.has("root-next.key"), "{killed}");
    }
    // Killed between key and certificate of the new one: it is that key's, and nothing of it is trusted before.
    let other = Site::new();
    other.open();
    put(&other.folder, "root-next.key", &key);
    assert_eq!(other.open().stage(), None);
    assert!(CertificateFacts::parse(other.propose().newest_pem()).unwrap().matches_key(&key.into()));
}

// The old root's key may be elsewhere, or nowhere: the new one needs nothing of it. The new one's may be taken away after.
#[test]
fn the_old_roots_key_is_not_needed() {
    let site = Site::new();
    site.open();
    fs_err::remove_file(site.folder.join("root.key")).unwrap();
    site.propose().keep_new_root().unwrap();
    let trusting = site.open();
    assert!(trusting.root_key().unwrap() != RootKey::Here);
    let key = fs_err::read_to_string(site.folder.join("root-next.key")).unwrap();
    fs_err::remove_file(site.folder.join("root-next.key")).unwrap();
    let error = trusting.sign_with_new_root(now()).unwrap_err();
    assert!(matches!(&error, PkiError::KeyMissing { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("rotate authority"), "{:?}", error.hint());
    assert_eq!(site.open().stage(), Some(Stage::Trusting), "nothing has changed");
    fs_err::write(site.folder.join("root-next.key"), &key).unwrap();
    std::process::Command::new("chmod").arg("600").arg(site.folder.join("root-next.key")).status().unwrap();
    site.open().sign_with_new_root(now()).unwrap();
    let signing = site.open();
    assert!(signing.root_key().unwrap() == RootKey::Here && believes(signing.root_pem(), &leaf(&signing)));
    fs_err::remove_file(site.folder.join("root.key")).unwrap();
    site.open().leave_old_root().unwrap();
    site.open().forget_old_root().unwrap();
    assert!(believes(site.open().root_pem(), &leaf(&site.open())));
}
