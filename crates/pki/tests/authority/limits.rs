//! What a certificate is good for, and what a stolen key is not.

use std::time::Duration;

use pki::{Authority, AuthoritySettings, CertificateFacts, LeafRequest, PkiError, verify_chain};

use super::{Site, forged, later, now, openssl_says, openssl_verify, request, settings, untrusted};

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
