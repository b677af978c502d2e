//! The next intermediate where the root's key is kept elsewhere: its key is made here and stays here, a request for it goes to
//! where the root's key is, and the certificate comes back.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::CertificateParams;
use secrecy::ExposeSecret as _;

use crate::authority::{
    Authority, INTERMEDIATE_CERT, INTERMEDIATE_KEY, Signer, intermediate_life, name_of_own,
};
use crate::error::PkiError;
use crate::facts::CertificateFacts;
use crate::root::{crypto, new_key, parse_key, read_certificate, requested_key};
use crate::signed::{Holder, Ledger};
use crate::store::Store;
use crate::verify::verify_chain;

/// The key that a certificate was asked for.
pub(crate) const NEXT_KEY: &str = "next.key";
/// The certificate for it, from when it came until it has taken its place.
pub(crate) const NEXT_CERT: &str = "next.crt";

impl Authority {
    /// A request for the next intermediate, in PEM. Its key is made here and kept until [`Self::install`]; asked again, it is
    /// the same key's.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn request(&self) -> Result<String, PkiError> {
        let store = Store::open(self.folder())?;
        let current = CertificateFacts::parse(&self.intermediate_pem())?;
        let key = match store.read(NEXT_KEY)?.filter(|key| !current.matches_key(key)) {
            Some(key) => parse_key(&store.path(NEXT_KEY), &key)?,
            None => {
                let key = new_key()?;
                store.replace(NEXT_KEY, &key.serialize_pem().into())?;
                key
            }
        };
        // Of a request, only its key is looked at.
        let request = CertificateParams::default().serialize_request(&key);
        request.and_then(|it| it.pem()).map_err(crypto("make the request"))
    }

    /// Signs the next intermediate of this very site, where the root's key is; `request_pem` is what [`Self::request`] gave
    /// where its key is, of which nothing but that key is taken. The certificate, in PEM.
    ///
    /// # Errors
    /// A request that is none, or was not made with its own key; the root's key is not at hand.
    pub fn sign_next(&self, request_pem: &str, below: Duration, now: Timestamp) -> Result<String, PkiError> {
        let key = requested_key(request_pem)?;
        let store = Store::open(self.folder())?;
        let root = self.root(&store)?;
        root.sign_intermediate(&store, &name_of_own(self.site(), &key), &key, intermediate_life(below), now)
    }

    /// Has leaves signed by the intermediate that was asked for from now on, with the certificate that came back. What the old
    /// one signed stays good. For one process at a time.
    ///
    /// # Errors
    /// Where nothing was asked for, or this is not its certificate; one that clients which trust the root would refuse. Then
    /// all is as it was.
    pub fn install(&self, certificate_pem: &str, now: Timestamp) -> Result<(), PkiError> {
        let store = Store::open(self.folder())?;
        let missing =
            || PkiError::KeyMissing { certificate: store.path(NEXT_CERT), key: store.path(NEXT_KEY) };
        let key = store.read(NEXT_KEY)?.ok_or_else(missing)?;
        let facts = CertificateFacts::parse(certificate_pem)?;
        if !facts.matches_key(&key) {
            return Err(PkiError::KeyMismatch {
                certificate: store.path(NEXT_CERT),
                key: store.path(NEXT_KEY),
            });
        }
        let next = Signer { pem: certificate_pem.to_owned(), facts, key };
        // What it will sign is tried first: as a client that trusts the root alone.
        let name = format!("any.{}", self.domain());
        let probe = self.probe_leaf(&next, &name, now)?;
        verify_chain(&probe.chain_pem, self.root_pem(), &name, now)?;
        // Both are known before anything changes, whoever is killed.
        let mut ledger = Ledger::read(&store)?;
        ledger.add_before(&CertificateFacts::parse(&self.intermediate_pem())?, Holder::Own);
        ledger.add(&next.facts, Holder::Own);
        ledger.write(&store, now)?;
        if let Some(there) = store.read(NEXT_CERT)?
            && there.expose_secret() != certificate_pem
        {
            store.remove(NEXT_CERT)?;
        }
        if store.read(NEXT_CERT)?.is_none() {
            store.create(NEXT_CERT, &certificate_pem.to_owned().into())?;
        }
        finish(&store)?;
        self.sign_with(next);
        Ok(())
    }

    /// Takes note of an intermediate that was signed where the root's key is, and whose key is in a guest: it is the one that
    /// signs there from now on.
    ///
    /// # Errors
    /// A certificate that the root did not sign; files that cannot be read or written.
    pub fn signed_elsewhere(&self, pem: &str, now: Timestamp) -> Result<(), PkiError> {
        let _one_at_a_time = self.signer();
        let store = Store::open(self.folder())?;
        let facts = self.root(&store)?.has_signed(pem)?;
        let mut ledger = Ledger::read(&store)?;
        ledger.add(&facts, Holder::Guest);
        ledger.write(&store, now)
    }
}

/// Puts the next intermediate in place, where its key and certificate are both there: whatever of this was done before a kill is
/// done again.
pub(crate) fn finish(store: &Store) -> Result<(), PkiError> {
    let (Some(key), Some(pem)) = (store.read(NEXT_KEY)?, store.read(NEXT_CERT)?) else { return Ok(()) };
    let (_, facts) = read_certificate(store, NEXT_CERT, &pem)?;
    if !facts.matches_key(&key) {
        return Err(PkiError::KeyMismatch { certificate: store.path(NEXT_CERT), key: store.path(NEXT_KEY) });
    }
    store.remove(INTERMEDIATE_CERT)?;
    store.replace(INTERMEDIATE_KEY, &key)?;
    store.create(INTERMEDIATE_CERT, &pem)?;
    store.remove(NEXT_CERT)?;
    store.remove(NEXT_KEY)
}
