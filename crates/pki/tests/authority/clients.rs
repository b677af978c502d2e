//! What clients make of a certificate, and of one that is refused.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pki::{Authority, CertificateFacts, Leaf, PkiError, Refused};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{MONTHS, Site, later, now, request, request_of, settings};

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
