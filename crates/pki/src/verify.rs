//! Whether a chain holds for a client that trusts nothing but one root.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::error::PkiError;

/// Checks a chain (the leaf first) the way a TLS client does that trusts only `root_pem`, which may be several certificates:
/// signatures, validity at `now`, purposes, name constraints, and that the leaf is for `name`, a DNS name or an address.
///
/// # Errors
/// [`PkiError::Untrusted`] with the verifier's reason, or [`PkiError::BadCertificate`] and [`PkiError::BadName`] for
/// input that is neither.
pub fn verify_chain(chain_pem: &str, root_pem: &str, name: &str, now: Timestamp) -> Result<(), PkiError> {
    let chain = certificates("the chain", chain_pem)?;
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| none_in("the chain"))?;
    let trusted = certificates("the root", root_pem)?;
    if trusted.is_empty() {
        return Err(none_in("the root"));
    }
    let server =
        ServerName::try_from(name.to_owned()).map_err(|_| PkiError::BadName { name: name.to_owned() })?;
    let untrusted = |source| PkiError::Untrusted { name: name.to_owned(), source };

    let mut roots = rustls::RootCertStore::empty();
    for root in trusted {
        roots.add(root).map_err(untrusted)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| untrusted(rustls::Error::General(e.to_string())))?;
    let seconds = u64::try_from(now.as_second()).map_err(|_| PkiError::BadTime { at: now })?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_server_cert(leaf, intermediates, &server, &[], at).map_err(untrusted)?;
    Ok(())
}

fn certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| PkiError::BadCertificate { what: what.to_owned(), reason: e.to_string() })
}

fn none_in(what: &str) -> PkiError {
    PkiError::BadCertificate { what: what.to_owned(), reason: "no certificate in it".to_owned() }
}
