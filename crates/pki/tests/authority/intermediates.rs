//! What signs: how it is made, succeeded and signed for elsewhere.

use std::process::Command;
use std::time::Duration;

use pki::{Authority, CertificateFacts, PkiError, RootKey, verify_chain};

use super::{
    DAY, MONTHS, Site, forged, later, now, openssl_verify, request, request_of, settings, untrusted,
};

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
