//! The authority as a whole: its files, its certificates, and what clients make of them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, with helpers beside them"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use pki::{
    Authority, AuthoritySettings, CertificateFacts, Leaf, LeafRequest, PkiError, Refused, RootKey,
    verify_chain,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

// A key that was taken, or what it was made to sign for later, is worth nothing after some weeks.
#[test]
fn an_intermediate_lives_weeks_and_is_succeeded_when_it_is_used() {
    let site = Site::new();
    let old = site.open().unwrap();
    let root = CertificateFacts::parse(old.root_pem()).unwrap();
    let leaf = old.issue(&request(&["a.workshop.internal"]), now()).unwrap();
    let before = site.files();
    let first = CertificateFacts::parse(&old.intermediate_pem()).unwrap();
    assert_eq!(first.not_after.as_second() - first.not_before.as_second(), 300 + 270 * DAY.cast_signed());
    // Whoever only looks changes nothing, however late it is.
    let at = later(181);
    let new = Authority::open_or_create(&site.folder, &settings(), at).unwrap();
    assert_eq!(site.files(), before);
    new.keep(MONTHS, later(179)).unwrap();
    assert_eq!(site.files(), before, "it is not due before two thirds");
    new.keep(MONTHS, at).unwrap();
    let after = site.files();
    assert_eq!((&before["root.key"], &before["root.crt"]), (&after["root.key"], &after["root.crt"]));
    assert_ne!(before["intermediate.key"], after["intermediate.key"]);
    assert_ne!(before["intermediate.crt"], after["intermediate.crt"]);
    // What was issued before is still good: servers show the old intermediate along with it.
    verify_chain(&leaf.chain_pem, new.root_pem(), "a.workshop.internal", now()).unwrap();
    let next = new.issue(&request(&["a.workshop.internal"]), at).unwrap();
    verify_chain(&next.chain_pem, old.root_pem(), "a.workshop.internal", at).unwrap();

    // Certificates made for later with a key that was taken: what signed them is over by then.
    let stocked = forged(&site, rcgen::SanType::DnsName("a.workshop.internal".try_into().unwrap()));
    verify_chain(&stocked, new.root_pem(), "a.workshop.internal", at).unwrap();
    let error = untrusted(verify_chain(&stocked, new.root_pem(), "a.workshop.internal", later(181 + 271)));
    assert!(matches!(error, rustls::CertificateError::ExpiredContext { .. }), "{error:?}");

    // Short lives have it live thirteen weeks, and one of ten years, as they were made before, is due at once.
    let day = Duration::from_secs(DAY);
    let (begin, year) = (now(), 365 * DAY);
    assert_eq!(pki::intermediate_life(day), pki::INTERMEDIATE_LIFE);
    assert!(pki::intermediate_due(begin, begin + Duration::from_secs(10 * year), MONTHS, later(1)));
    assert!(!pki::intermediate_due(begin, begin + pki::intermediate_life(day), day, later(1)));
    assert!(pki::intermediate_due(begin, begin + pki::intermediate_life(day), day, later(61)));

    // It is over, and somebody asks for one certificate: it is signed by another, which is not kept.
    let (late, kept) = (later(900), site.files());
    let leaf = new.issue(&request(&["a.workshop.internal"]), late).unwrap();
    verify_chain(&leaf.chain_pem, new.root_pem(), "a.workshop.internal", late).unwrap();
    assert_eq!(site.files(), kept);
    // Never longer than the root; and after that there is nothing to build on.
    let last = later(20 * 365 - 30);
    new.keep(MONTHS, last).unwrap();
    let intermediate = CertificateFacts::parse(&new.intermediate_pem()).unwrap();
    assert_eq!(intermediate.not_after, root.not_after);
    let error = new.issue(&request(&["a.workshop.internal"]), last).unwrap_err();
    assert!(matches!(error, PkiError::BadLife { .. }), "{error:?}");
    let error = Authority::open_or_create(&site.folder, &settings(), later(20 * 365 + 1)).unwrap_err();
    assert!(matches!(error, PkiError::RootExpired { .. }), "{error:?}");
}

// Without the root's key it goes on while the intermediate does, and says why when it no longer does.
#[test]
fn without_the_roots_key_an_intermediate_has_no_successor() {
    let site = Site::new();
    site.open().unwrap();
    fs_err::remove_file(site.folder.join("root.key")).unwrap();
    let authority = site.open().unwrap();
    let before = site.files();
    authority.keep(MONTHS, later(200)).unwrap();
    assert_eq!(site.files(), before);
    let error = authority.issue(&request(&["a.workshop.internal"]), later(200)).unwrap_err();
    assert!(matches!(error, PkiError::BadLife { .. }), "{error:?}");
}

/// The root's key stays on another machine: what is needed of it goes there as a request and comes back as a certificate, and no key
/// travels.
#[test]
fn the_next_intermediate_is_signed_where_the_roots_key_is() {
    let (here, there) = (Site::new(), Site::new());
    here.open().unwrap();
    there.open().unwrap();
    // The other machine has the same root, this one has it without its key.
    for name in ["root.key", "root.crt"] {
        fs_err::copy(here.folder.join(name), there.folder.join(name)).unwrap();
    }
    for name in ["intermediate.key", "intermediate.crt"] {
        fs_err::remove_file(there.folder.join(name)).unwrap();
    }
    fs_err::remove_file(here.folder.join("root.key")).unwrap();
    let (authority, offline) = (here.open().unwrap(), there.open().unwrap());
    assert_eq!((authority.root_key().unwrap(), offline.root_key().unwrap()), (RootKey::Away, RootKey::Here));
    let old = authority.intermediate_pem();

    let asked = authority.request().unwrap();
    let key = here.files()["next.key"].clone();
    let again = here.open().unwrap().request().unwrap();
    assert_eq!(here.files()["next.key"], key, "asked again, it is the same key's");
    let signed = offline.sign_next(&again, MONTHS, now()).unwrap();
    assert!(!there.files().values().any(|text| text.contains(&key)));
    assert!(matches!(authority.sign_next(&asked, MONTHS, now()), Err(PkiError::KeyMissing { .. })));

    authority.install(&signed, now()).unwrap();
    let files = here.files();
    assert_eq!((&files["intermediate.crt"], &files["intermediate.key"]), (&signed, &key));
    assert!(!files.contains_key("next.key") && !files.contains_key("next.crt"));
    for authority in [authority, here.open().unwrap()] {
        assert!(authority.intermediate_pem() == signed && signed != old);
        let leaf = authority.issue(&request(&["a.workshop.internal"]), now()).unwrap();
        verify_chain(&leaf.chain_pem, authority.root_pem(), "a.workshop.internal", now()).unwrap();
    }
    // Limited as the one that is made where the key is.
    let facts = CertificateFacts::parse(&signed).unwrap();
    assert_eq!(facts.permitted_domains, ["workshop.internal"]);
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
fn addresses_only_of_the_subnets_it_was_made_for() {
    let site = Site::new();
    let with = AuthoritySettings { subnets: vec!["10.0.0.0/24".parse().unwrap()], ..settings() };
    let authority = Authority::open_or_create(&site.folder, &with, now()).unwrap();
    let ask = |address: &str| LeafRequest { addresses: vec![address.parse().unwrap()], ..request(&[]) };
    let leaf = authority.issue(&ask("10.0.0.7"), now()).unwrap();
    verify_chain(&leaf.chain_pem, authority.root_pem(), "10.0.0.7", now()).unwrap();
    assert!(verify_chain(&leaf.chain_pem, authority.root_pem(), "10.0.0.8", now()).is_err());
    for outside in ["10.0.1.7", "::1"] {
        assert!(matches!(authority.issue(&ask(outside), now()), Err(PkiError::OutsideSubnets { .. })));
    }
}

#[test]
fn the_verifier_knows_wrong_names_times_roots_and_purposes() {
    use rustls::CertificateError as E;
    let (site, other) = (Site::new(), Site::new());
    let (authority, stranger) = (site.open().unwrap(), other.open().unwrap());
    let leaf = authority.issue(&request(&["a.workshop.internal", "*.w.workshop.internal"]), now()).unwrap();
    let verify = |name: &str, at| verify_chain(&leaf.chain_pem, authority.root_pem(), name, at);
    verify("a.workshop.internal", now()).unwrap();
    verify("any.w.workshop.internal", now()).unwrap();
    let error = untrusted(verify("b.workshop.internal", now()));
    assert!(matches!(error, E::NotValidForNameContext { .. }), "{error:?}");
    let error = untrusted(verify("a.workshop.internal", later(91)));
    assert!(matches!(error, E::ExpiredContext { .. }), "{error:?}");
    let error = untrusted(verify("a.workshop.internal", now() - Duration::from_secs(3600)));
    assert!(matches!(error, E::NotValidYetContext { .. }), "{error:?}");
    let error = untrusted(verify_chain(&leaf.chain_pem, stranger.root_pem(), "a.workshop.internal", now()));
    assert!(matches!(error, E::UnknownIssuer | E::BadSignature), "{error:?}");
    let error = untrusted(verify_chain(&leaf.cert_pem, authority.root_pem(), "a.workshop.internal", now()));
    assert!(matches!(error, E::UnknownIssuer), "the leaf alone is not enough: {error:?}");
    assert!(matches!(verify("", now()), Err(PkiError::BadName { .. })));
    assert!(matches!(
        verify_chain("", authority.root_pem(), "a", now()),
        Err(PkiError::BadCertificate { .. })
    ));
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

#[test]
fn stolen_keys_are_worth_nothing_outside_the_domain() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let dns = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
    // The forger's way works inside the domain, so what refuses the others is the constraint.
    let inside = forged(&site, dns("x.workshop.internal"));
    verify_chain(&inside, authority.root_pem(), "x.workshop.internal", now()).unwrap();
    let address = rcgen::SanType::IpAddress("10.0.0.1".parse().unwrap());
    for (san, name) in [(dns("bank.example"), "bank.example"), (address, "10.0.0.1")] {
        let chain = forged(&site, san);
        let error = untrusted(verify_chain(&chain, authority.root_pem(), name, now()));
        assert!(format!("{error:?}").contains("NameConstraintViolation"), "{error:?}");
        if let Some(verdict) = openssl_verify(authority.root_pem(), &chain) {
            assert!(
                verdict.contains("permitted subtree violation")
                    || verdict.contains("excluded subtree violation"),
                "{verdict}"
            );
        }
    }
}

// Mail addresses and URIs are names, too, and a domain says nothing of them; and what it signs is for TLS.
#[test]
fn a_stolen_key_signs_no_mail_no_uri_and_no_program() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let facts = |pem: &str| CertificateFacts::parse(pem).unwrap();
    assert!(
        facts(authority.root_pem()).for_hosts_alone && facts(&authority.intermediate_pem()).for_hosts_alone
    );
    let mail = || rcgen::SanType::Rfc822Name("boss@bank.example".try_into().unwrap());
    let uri = || rcgen::SanType::URI("https://bank.example/boss".try_into().unwrap());
    let inside = || rcgen::SanType::Rfc822Name("me@workshop.internal".try_into().unwrap());
    for san in [mail(), uri(), inside()] {
        let chain = forged(&site, san);
        let Some(verdict) = openssl_says(authority.root_pem(), &chain, "any") else { return };
        assert!(verdict.contains("permitted subtree violation"), "{verdict}");
    }
    let leaf = authority.issue(&request(&["a.workshop.internal"]), now()).unwrap();
    let for_anything = forged(&site, rcgen::SanType::DnsName("a.workshop.internal".try_into().unwrap()));
    for (purpose, good) in
        [("sslserver", true), ("sslclient", true), ("smimesign", false), ("timestampsign", false)]
    {
        let said = |chain: &str| openssl_says(authority.root_pem(), chain, purpose).unwrap_or_default();
        if good {
            assert!(said(&leaf.chain_pem).contains(": OK"), "{purpose}: {}", said(&leaf.chain_pem));
        } else {
            let verdict = said(&for_anything);
            assert!(
                verdict.contains("unsuitable") || verdict.contains("unsupported"),
                "{purpose}: {verdict}"
            );
        }
    }
}

// A root from before is known as one, and goes on being used: whoever trusts it need not trust another.
#[test]
fn a_root_that_was_limited_less_is_kept_and_what_it_signs_is_limited() {
    let site = Site::new();
    site.open().unwrap();
    let key = rcgen::KeyPair::from_pem(&site.files()["root.key"]).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(1));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "Phoenix workshop Root CA");
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("workshop.internal".into())],
        excluded_subtrees: Vec::new(),
    });
    let old = params.self_signed(&key).unwrap().pem();
    for name in ["intermediate.crt", "intermediate.key"] {
        fs_err::remove_file(site.folder.join(name)).unwrap();
    }
    fs_err::write(site.folder.join("root.crt"), &old).unwrap();
    let authority = site.open().unwrap();
    assert_eq!(authority.root_pem(), old);
    let facts = |pem: &str| CertificateFacts::parse(pem).unwrap();
    assert!(!facts(&old).for_hosts_alone && facts(&authority.intermediate_pem()).for_hosts_alone);
    let leaf = authority.issue(&request(&["a.workshop.internal"]), now()).unwrap();
    verify_chain(&leaf.chain_pem, &old, "a.workshop.internal", now()).unwrap();
    let mail = forged(&site, rcgen::SanType::Rfc822Name("boss@bank.example".try_into().unwrap()));
    if let Some(verdict) = openssl_says(&old, &mail, "any") {
        assert!(verdict.contains("permitted subtree violation"), "{verdict}");
    }
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

#[test]
fn openssl_accepts_the_chain_too() {
    let site = Site::new();
    let with = AuthoritySettings { subnets: vec!["10.0.0.0/24".parse().unwrap()], ..settings() };
    let authority = Authority::open_or_create(&site.folder, &with, now()).unwrap();
    let ask =
        LeafRequest { addresses: vec!["10.0.0.7".parse().unwrap()], ..request(&["a.workshop.internal"]) };
    let leaf = authority.issue(&ask, now()).unwrap();
    if let Some(verdict) = openssl_verify(authority.root_pem(), &leaf.chain_pem) {
        assert!(verdict.trim_end().ends_with(": OK"), "{verdict}");
    }
}

async fn handshake(root_pem: &str, leaf: &Leaf, name: &str) -> Result<String, std::io::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose_secret().as_bytes()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connected = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await;
    let mut text = String::new();
    let result = match connected {
        Ok(mut stream) => stream.read_to_string(&mut text).await.map(|_| text),
        Err(e) => Err(e),
    };
    let _ = serve.await.unwrap();
    result
}

#[tokio::test]
async fn a_client_that_trusts_only_the_root_connects() {
    let (site, other) = (Site::new(), Site::new());
    let authority = site.open().unwrap();
    let leaf = authority.issue(&request(&["notes.workshop.internal"]), now()).unwrap();
    let hello = handshake(authority.root_pem(), &leaf, "notes.workshop.internal").await.unwrap();
    assert_eq!(hello, "hello");
    let error = handshake(authority.root_pem(), &leaf, "other.workshop.internal").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let stranger = other.open().unwrap();
    assert!(handshake(stranger.root_pem(), &leaf, "notes.workshop.internal").await.is_err());
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

fn request_of(key: &rcgen::KeyPair) -> String {
    let params = rcgen::CertificateParams::new(["evil.example".to_owned()]).unwrap();
    params.serialize_request(key).unwrap().pem().unwrap()
}

// P-69, I-5: the key of an authority elsewhere never comes here, and the root is one for all of them: what it signs is as
// limited as what it signs for itself.
#[test]
fn another_intermediate_is_signed_by_its_request_alone() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let before = site.files();
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = authority.sign_intermediate(&request_of(&key), MONTHS, now()).unwrap();
    let mut after = site.files();
    let noted = after.remove("signed.json").unwrap();
    assert_eq!(after, before, "nothing of it is kept but its name");
    let facts = CertificateFacts::parse(&pem).unwrap();
    assert!(noted.contains(&facts.subject) && !noted.contains("BEGIN"), "{noted}");
    assert!(facts.authority && facts.matches_key(&key.serialize_pem().into()));
    assert_eq!(facts.permitted_domains, ["workshop.internal"]);
    assert!(
        facts.dns_names.is_empty() && facts.subject.starts_with("Phoenix workshop Step CA "),
        "{facts:?}"
    );
    assert!(facts.not_after <= CertificateFacts::parse(authority.root_pem()).unwrap().not_after);

    // It signs leaves that clients of the root accept, for the domain alone, and no further authorities.
    let signer = rcgen::Issuer::from_ca_cert_pem(&pem, &key).unwrap();
    let signed = |names: &[&str], ca: bool| {
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap();
        params.use_authority_key_identifier_extension = true;
        if ca {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let own = rcgen::KeyPair::generate().unwrap();
        (params.signed_by(&own, &signer).unwrap().pem(), own, params)
    };
    let root = authority.root_pem();
    let (leaf, ..) = signed(&["notes.workshop.internal"], false);
    verify_chain(&format!("{leaf}{pem}"), root, "notes.workshop.internal", now()).unwrap();
    let (outside, ..) = signed(&["example.com"], false);
    untrusted(verify_chain(&format!("{outside}{pem}"), root, "example.com", now()));
    let (lower, lower_key, _) = signed(&["lower.workshop.internal"], true);
    let lower_signer = rcgen::Issuer::from_ca_cert_pem(&lower, &lower_key).unwrap();
    let params = rcgen::CertificateParams::new(["notes.workshop.internal".to_owned()]).unwrap();
    let below = params.signed_by(&rcgen::KeyPair::generate().unwrap(), &lower_signer).unwrap().pem();
    untrusted(verify_chain(&format!("{below}{lower}{pem}"), root, "notes.workshop.internal", now()));
    assert!(openssl_verify(root, &format!("{leaf}{pem}")).is_none_or(|said| said.contains("OK")));

    // The same key again: another certificate of it. Both authorities beside each other verify against one root.
    let again = authority.sign_intermediate(&request_of(&key), MONTHS, later(1)).unwrap();
    assert_ne!(CertificateFacts::parse(&again).unwrap().serial, facts.serial);
    verify_chain(&format!("{leaf}{again}"), root, "notes.workshop.internal", later(1)).unwrap();
    let own = authority.issue(&request(&["notes.workshop.internal"]), now()).unwrap();
    verify_chain(&own.chain_pem, root, "notes.workshop.internal", now()).unwrap();
}

#[test]
fn what_is_no_request_is_refused_and_so_is_one_without_the_root_key() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let why = |text: &str| match authority.sign_intermediate(text, MONTHS, now()).unwrap_err() {
        PkiError::BadRequest { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(why("hello"), "no PEM block in it");
    assert_eq!(why(authority.root_pem()), "the PEM block is a certificate");
    let key = rcgen::KeyPair::generate().unwrap();
    let good = request_of(&key);
    // One byte of the signature, which is at the end.
    let pem = x509_parser::pem::Pem::iter_from_buffer(good.as_bytes()).next().unwrap().unwrap();
    let mut der = pem.contents;
    *der.last_mut().unwrap() ^= 1;
    assert_eq!(why(&pem_of("CERTIFICATE REQUEST", &der)), "its signature is not by its own key");
    der.push(0);
    assert_eq!(why(&pem_of("CERTIFICATE REQUEST", &der)), "something follows the request in its PEM block");

    fs_err::remove_file(site.folder.join("root.key")).unwrap();
    let error = authority.sign_intermediate(&good, MONTHS, now()).unwrap_err();
    assert!(error.hint().unwrap().contains("from where you keep it"), "{error}");
}

fn pem_of(label: &str, der: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("base64")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(der).unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    format!("-----BEGIN {label}-----\n{text}-----END {label}-----\n")
}

// Services show their certificates to each other, too.
#[tokio::test]
async fn a_leaf_is_for_clients_as_well() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let leaf = authority.issue(&request(&["notes.workshop.internal"]), now()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let chain: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    let at = rustls::pki_types::UnixTime::now();
    verifier.verify_client_cert(&chain[0], &chain[1..], at).unwrap();
}

/// The name of what signs.
fn signer(authority: &Authority) -> String {
    CertificateFacts::parse(&authority.intermediate_pem()).unwrap().subject
}

/// All that these signed, as it is refused.
fn all_of(issuers: &[String]) -> Vec<Refused> {
    let mut all: Vec<Refused> =
        issuers.iter().map(|issuer| Refused { issuer: issuer.clone(), names: Vec::new() }).collect();
    all.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    all
}

// Whose key may have been taken is known by name, until its certificate ends, and nobody is refused before somebody says so.
#[test]
fn what_a_taken_key_signed_is_known_by_name() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let mut before = Vec::new();
    for _ in 0..2 {
        let known = all_of(&before);
        before.push(signer(&authority));
        // A second later, as nobody can make another within the one in which this one was made.
        let since = Timestamp::from_second(now().as_second() + 2).unwrap();
        authority.succeed(MONTHS, since, since).unwrap();
        assert_eq!(site.open().unwrap().refused(), known, "killed here, all goes on");
        assert_eq!(authority.refuse_others(false, None, now()).unwrap(), all_of(&before));
        assert_eq!(site.open().unwrap().refused(), all_of(&before));
        std::thread::sleep(Duration::from_secs(3));
    }
    assert!(!before.contains(&signer(&authority)));
    // An ordinary successor is as good as the one before it.
    let used = signer(&authority);
    authority.keep(MONTHS, later(200)).unwrap();
    assert_ne!(signer(&authority), used);
    let text = || fs_err::read_to_string(site.folder.join("signed.json")).unwrap();
    assert_eq!(site.open().unwrap().refused(), all_of(&before));
    // What a guest had is refused of all but the last one, and only that.
    let names = ["notes.workshop.internal".to_owned()];
    let refused = authority.refuse_others(false, Some(&names), now()).unwrap();
    let of_used = Refused { issuer: used.clone(), names: names.to_vec() };
    assert!(refused.contains(&of_used) && refused.len() == 3, "{refused:?}");
    assert!(all_of(&before).iter().all(|all| refused.contains(all)), "{refused:?}");
    // What has ended is no longer told of.
    let at =
        |days| Authority::open_or_create(&site.folder, &settings(), later(days)).unwrap().refused().len();
    assert_eq!((at(269), at(272)), (3, 0));
    authority.refuse_others(false, None, later(272)).unwrap();
    assert!(!before.iter().any(|name| text().contains(&format!("\"{name}\""))), "{}", text());
    assert!(text().contains(&signer(&authority)));
}

// The same for an authority in a guest: the last one that was signed is in use, and one from before anybody took note is
// known when its guest shows it.
#[test]
fn what_a_taken_authority_signed_is_known_by_name() {
    let site = Site::new();
    let authority = site.open().unwrap();
    let signed = || {
        let key = rcgen::KeyPair::generate().unwrap();
        authority.sign_intermediate(&request_of(&key), MONTHS, now()).unwrap()
    };
    let name = |pem: &str| CertificateFacts::parse(pem).unwrap().subject;
    let old = signed();
    fs_err::remove_file(site.folder.join("signed.json")).unwrap();
    authority.remember(&old, now()).unwrap();
    let new = signed();
    authority.remember(&new, now()).unwrap();
    assert_eq!(authority.refuse_others(true, None, now()).unwrap(), all_of(&[name(&old)]));
    // A guest that shows it again does not bring it back, and what another root signed is nothing of the site's.
    authority.remember(&old, now()).unwrap();
    assert_eq!(site.open().unwrap().refused(), all_of(&[name(&old)]));
    let other = Site::new();
    let stranger = other.open().unwrap();
    for foreign in [stranger.root_pem(), &stranger.intermediate_pem(), "", "-----BEGIN CERTIFICATE-----"] {
        let error = authority.remember(foreign, now()).unwrap_err();
        assert!(matches!(error, PkiError::BadCertificate { .. }), "{error:?}");
    }
    // Without an authority in a guest, none of a guest's is in use.
    assert_eq!(authority.refuse_others(false, None, now()).unwrap(), all_of(&[name(&old), name(&new)]));
    // A file that cannot be read is an error and no reason to believe everybody.
    fs_err::write(site.folder.join("signed.json"), "[{").unwrap();
    assert!(matches!(site.open().unwrap_err(), PkiError::BadRecord { .. }));
}
