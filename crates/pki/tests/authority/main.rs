//! The authority as a whole: its files, its certificates, and what clients make of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, with helpers beside them"
)]

mod clients;
mod intermediates;
mod limits;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use pki::{Authority, AuthoritySettings, CertificateFacts, LeafRequest, PkiError, verify_chain};
use secrecy::{ExposeSecret, SecretString};

const DAY: u64 = 24 * 60 * 60;

/// How long the leaves here live.
const MONTHS: Duration = Duration::from_secs(90 * DAY);

struct Site {
    _dir: tempfile::TempDir,
    folder: Utf8PathBuf,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8PathBuf::from_path_buf(dir.path().join(".phoenix/secrets/authority")).unwrap();
        Self { _dir: dir, folder }
    }

    fn open(&self) -> Result<Authority, PkiError> {
        Authority::open_or_create(&self.folder, &settings(), now())
    }

    fn files(&self) -> BTreeMap<String, String> {
        fs_err::read_dir(&self.folder)
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), fs_err::read_to_string(e.path()).unwrap()))
            .collect()
    }
}

fn settings() -> AuthoritySettings {
    AuthoritySettings { site: "workshop".into(), domain: "workshop.internal".into(), subnets: Vec::new() }
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn later(days: u64) -> Timestamp {
    now() + Duration::from_secs(days * DAY)
}

fn request(names: &[&str]) -> LeafRequest {
    LeafRequest {
        name: "notes".into(),
        dns_names: names.iter().map(|&n| n.to_owned()).collect(),
        addresses: Vec::new(),
        life: Duration::from_secs(90 * DAY),
    }
}

fn untrusted(result: Result<(), PkiError>) -> rustls::CertificateError {
    match result.unwrap_err() {
        PkiError::Untrusted { source: rustls::Error::InvalidCertificate(e), .. } => e,
        other => panic!("{other:?}"),
    }
}

/// A certificate made with the intermediate's stolen key, for a name outside the domain.
fn forged(site: &Site, name: rcgen::SanType) -> String {
    let read = |name: &str| fs_err::read_to_string(site.folder.join(name)).unwrap();
    let stolen = rcgen::KeyPair::from_pem(&read("intermediate.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("intermediate.crt"), stolen).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![name];
    params.use_authority_key_identifier_extension = true;
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    format!("{leaf}{}", read("intermediate.crt"))
}

/// What `openssl verify` says, or `None` where there is no such program.
fn openssl_verify(root: &str, chain: &str) -> Option<String> {
    openssl_says(root, chain, "sslserver")
}

/// The same, for a purpose.
fn openssl_says(root: &str, chain: &str, purpose: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let (root, chain) = (write("root.pem", root), write("chain.pem", chain));
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
        .arg(root)
        .arg("-untrusted")
        .args([&chain, &chain])
        .output();
    match output {
        Err(e) => {
            println!("skipped: no openssl ({e})");
            None
        }
        Ok(o) => {
            Some(format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr)))
        }
    }
}

fn request_of(key: &rcgen::KeyPair) -> String {
    let params = rcgen::CertificateParams::new(["evil.example".to_owned()]).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

#[test]
fn a_leaf_is_what_was_asked_for() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let at = now();
    let leaf = authority.issue(&request(&["Notes.workshop.internal", "n.workshop.internal"]), at).unwrap();
    let facts = CertificateFacts::parse(&leaf.cert_pem).unwrap();
    assert_eq!(facts.dns_names, ["notes.workshop.internal", "n.workshop.internal"]);
    assert!(facts.is_for(&["n.workshop.internal".into(), "NOTES.workshop.internal".into()], &[]));
    assert!(!facts.is_for(&["n.workshop.internal".into()], &[]));
    assert_eq!(facts.subject, "notes.workshop.internal");
    assert_eq!(facts.issuer, "Phoenix workshop Intermediate CA");
    assert_eq!(facts.serial, leaf.serial);
    assert_eq!((facts.not_before, facts.not_after), (leaf.not_before, leaf.not_after));
    assert_eq!(facts.not_before.as_second(), at.as_second() - 300);
    assert_eq!(facts.not_after.as_second(), at.as_second() + 90 * DAY.cast_signed());
    assert!(!facts.authority);
    assert!(facts.matches_key(&leaf.key_pem));
    assert!(leaf.chain_pem.starts_with(leaf.cert_pem.trim_end()));

    let second = authority.issue(&request(&["notes.workshop.internal"]), at).unwrap();
    assert_ne!(second.serial, leaf.serial);
    assert!(!facts.matches_key(&second.key_pem), "every leaf has a key of its own");

    let json = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<CertificateFacts>(&json).unwrap(), facts);
}

// P-58: no share, and nobody else, ever holds a key.
#[test]
fn keys_are_in_the_folder_alone_and_for_their_owner_alone() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let mode = |path: &Utf8PathBuf| fs_err::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&site.folder), 0o700);
    let names: Vec<_> = site.files().into_keys().collect();
    assert_eq!(names, ["intermediate.crt", "intermediate.key", "root.crt", "root.key"]);
    for name in names {
        assert_eq!(mode(&site.folder.join(name)), 0o600);
    }
    let leaf = authority.issue(&request(&["notes.workshop.internal"]), now()).unwrap();
    let shown = format!("{authority:?} {leaf:?}");
    for key in [leaf.key_pem.expose_secret(), &site.files()["root.key"], &site.files()["intermediate.key"]] {
        let line = key.lines().nth(1).unwrap();
        assert!(line.len() > 20 && !shown.contains(line), "{shown}");
    }
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}

#[test]
fn what_exists_is_used_and_not_touched() {
    let site = Site::new();
    let first = site.open().unwrap();
    let before = site.files();
    let second = site.open().unwrap();
    assert_eq!(site.files(), before);
    assert_eq!(first.root_pem(), second.root_pem());
    let leaf = second.issue(&request(&["notes.workshop.internal"]), now()).unwrap();
    verify_chain(&leaf.chain_pem, first.root_pem(), "notes.workshop.internal", now()).unwrap();
}

/// A kill can come after each file. Whatever it left is finished, and no key changes.
#[test]
fn a_half_made_authority_is_finished_with_the_keys_that_are_there() {
    let order = ["root.key", "root.crt", "intermediate.key", "intermediate.crt"];
    for made in 0..order.len() {
        let site = Site::new();
        site.open().unwrap();
        let before = site.files();
        for name in &order[made..] {
            fs_err::remove_file(site.folder.join(name)).unwrap();
        }
        fs_err::write(site.folder.join(format!(".unfinished-4194305-{}", order[made])), "-----BEG").unwrap();
        let authority = site.open().unwrap();
        let after = site.files();
        assert_eq!(after.len(), 4, "{after:?}");
        for name in &order[..made] {
            assert_eq!(after[*name], before[*name], "{name} after {made} files");
        }
        let leaf = authority.issue(&request(&["a.workshop.internal"]), now()).unwrap();
        verify_chain(&leaf.chain_pem, authority.root_pem(), "a.workshop.internal", now()).unwrap();
    }
}

#[test]
fn modes_that_are_too_wide_are_refused_with_the_command_that_helps() {
    for (name, mode) in [("root.key", 0o644), ("intermediate.key", 0o640), ("", 0o750)] {
        let site = Site::new();
        site.open().unwrap();
        let path = site.folder.join(name);
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = site.open().unwrap_err();
        assert!(matches!(error, PkiError::TooOpen { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("{mode:04o}")), "{error}");
        assert!(error.hint().unwrap().starts_with(if name.is_empty() {
            "chmod 0700 "
        } else {
            "chmod 0600 "
        }));
    }
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (site, other) = (Site::new(), Site::new());
    site.open().unwrap();
    other.open().unwrap();
    for name in ["root.key", "intermediate.key"] {
        let right = fs_err::read(site.folder.join(name)).unwrap();
        fs_err::copy(other.folder.join(name), site.folder.join(name)).unwrap();
        assert!(matches!(site.open(), Err(PkiError::KeyMismatch { .. })), "{name}");
        fs_err::write(site.folder.join(name), right).unwrap();
    }
    // An intermediate of another root: nothing is issued that clients would refuse.
    for name in ["intermediate.key", "intermediate.crt"] {
        fs_err::copy(other.folder.join(name), site.folder.join(name)).unwrap();
    }
    let error = site.open().unwrap().issue(&request(&["a.workshop.internal"]), now()).unwrap_err();
    assert!(matches!(error, PkiError::Untrusted { .. }), "{error:?}");

    fs_err::remove_file(site.folder.join("intermediate.key")).unwrap();
    assert!(matches!(site.open(), Err(PkiError::KeyMissing { .. })));
    fs_err::write(site.folder.join("root.crt"), "").unwrap();
    assert!(matches!(site.open(), Err(PkiError::BadCertificate { .. })));
}

#[test]
fn a_root_key_kept_elsewhere_is_only_needed_for_a_new_intermediate() {
    let site = Site::new();
    site.open().unwrap();
    let key = site.folder.with_file_name("kept-elsewhere.key");
    fs_err::rename(site.folder.join("root.key"), &key).unwrap();
    let authority = site.open().unwrap();
    authority.issue(&request(&["a.workshop.internal"]), now()).unwrap();
    fs_err::remove_file(site.folder.join("intermediate.crt")).unwrap();
    let error = site.open().unwrap_err();
    assert!(
        matches!(&error, PkiError::KeyMissing { key, .. } if key.file_name() == Some("root.key")),
        "{error:?}"
    );
    fs_err::rename(&key, site.folder.join("root.key")).unwrap();
    site.open().unwrap();
}

#[test]
fn another_domain_is_another_authority() {
    let site = Site::new();
    site.open().unwrap();
    let wanted = AuthoritySettings { domain: "garden.internal".into(), ..settings() };
    let error = Authority::open_or_create(&site.folder, &wanted, now()).unwrap_err();
    assert!(matches!(error, PkiError::OtherDomain { .. }), "{error:?}");
    assert!(error.hint().is_some());
    let bad = AuthoritySettings { domain: "no domain".into(), ..settings() };
    assert!(matches!(Authority::open_or_create(&site.folder, &bad, now()), Err(PkiError::BadName { .. })));
}

#[test]
fn what_was_not_asked_for_is_not_installed() {
    let (site, other) = (Site::new(), Site::new());
    let (authority, stranger) = (site.open().unwrap(), other.open().unwrap());
    let before = authority.intermediate_pem();
    let own = authority.sign_next(&stranger.request().unwrap(), MONTHS, now()).unwrap();
    // Nothing was asked for; the certificate of another's key; one for the right key, by another root; no certificate.
    let error = authority.install(&own, now()).unwrap_err();
    assert!(
        matches!(&error, PkiError::KeyMissing { .. }) && error.hint().unwrap().contains("certs request"),
        "{error:?}"
    );
    let asked = authority.request().unwrap();
    assert!(matches!(authority.install(&own, now()), Err(PkiError::KeyMismatch { .. })));
    let forged = stranger.sign_next(&asked, MONTHS, now()).unwrap();
    assert!(matches!(authority.install(&forged, now()), Err(PkiError::Untrusted { .. })));
    assert!(matches!(authority.install("x", now()), Err(PkiError::BadCertificate { .. })));
    // One that is over already.
    let late = authority.sign_next(&asked, MONTHS, now()).unwrap();
    assert!(matches!(authority.install(&late, later(400)), Err(PkiError::Untrusted { .. })));
    assert_eq!(authority.intermediate_pem(), before);
    assert_eq!(site.open().unwrap().intermediate_pem(), before);
}

/// Wherever it is killed, it ends with the new pair: there is no root's key here to certify anything anew.
#[test]
fn an_installation_that_was_cut_off_is_finished() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let signed = authority.sign_next(&authority.request().unwrap(), MONTHS, now()).unwrap();
    let key = site.files()["next.key"].clone();
    fs_err::remove_file(site.folder.join("root.key")).unwrap();
    let write = |name: &str, text: &str| {
        let path = site.folder.join(name);
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let old = site.files();
    let remove = |name: &str| drop(fs_err::remove_file(site.folder.join(name)));
    for steps in 0..4 {
        write("next.key", &key);
        write("next.crt", &signed);
        write("intermediate.key", &old["intermediate.key"]);
        write("intermediate.crt", &old["intermediate.crt"]);
        if steps > 0 {
            remove("intermediate.crt");
        }
        if steps > 1 {
            write("intermediate.key", &key);
        }
        if steps > 2 {
            write("intermediate.crt", &signed);
        }
        assert_eq!(site.open().unwrap().intermediate_pem(), signed, "cut off after {steps}");
        assert_eq!(site.files().len(), 3, "{:?}", site.files().keys());
    }
}

#[test]
fn requests_that_cannot_be_met_say_why() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let issue = |r: &LeafRequest| authority.issue(r, now()).unwrap_err();
    for outside in ["notes.example.org", "workshop.internal.example.org", "myworkshop.internal", "*.internal"]
    {
        let error = issue(&request(&["a.workshop.internal", outside]));
        assert!(matches!(&error, PkiError::OutsideDomain { name, .. } if name == outside), "{error:?}");
        assert_eq!(error.hint().unwrap(), "use a name that ends in .workshop.internal");
    }
    assert!(matches!(issue(&request(&["a b.workshop.internal"])), PkiError::BadName { .. }));
    assert!(matches!(issue(&request(&[])), PkiError::NoNames { .. }));
    let with_address = LeafRequest { addresses: vec!["10.0.0.1".parse().unwrap()], ..request(&[]) };
    assert!(matches!(issue(&with_address), PkiError::OutsideSubnets { .. }));
    for life in [Duration::ZERO, Duration::from_secs(21 * 365 * DAY), Duration::MAX] {
        let error = issue(&LeafRequest { life, ..request(&["a.workshop.internal"]) });
        assert!(matches!(error, PkiError::BadLife { .. } | PkiError::BadTime { .. }), "{error:?}");
    }
    for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
        assert!(authority.issue(&request(&["a.workshop.internal"]), time).is_err(), "{time}");
    }
}

#[test]
fn a_key_is_never_in_an_error() {
    let site = Site::new();
    site.open().unwrap();
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n";
    fs_err::write(site.folder.join("root.key"), secret).unwrap();
    fs_err::remove_file(site.folder.join("root.crt")).unwrap();
    let error = site.open().unwrap_err();
    assert!(matches!(error, PkiError::BadKey { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("c2Vj"));
    // A key where a certificate belongs, too.
    let facts = CertificateFacts::parse(secret).unwrap_err();
    assert!(!format!("{facts} {facts:?}").contains("c2Vj"));
    let _: SecretString = secret.to_owned().into();
}
