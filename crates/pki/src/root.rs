//! The root: its key and certificate in the authority's folder, and what it signs.

use std::time::Duration;

use camino::Utf8Path;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber, SubjectPublicKeyInfo,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509CertificationRequest};

use crate::authority::{AuthoritySettings, INTERMEDIATE_CERT, ROOT_LIFE};
use crate::constraints::name_constraints;
use crate::error::PkiError;
use crate::facts::{CertificateFacts, hex};
use crate::leaf::BACKDATE;
use crate::store::Store;

pub(crate) const ROOT_KEY: &str = "root.key";
pub(crate) const ROOT_CERT: &str = "root.crt";

/// The root with its key, where that is at hand.
pub(crate) struct Root {
    pub(crate) pem: String,
    pub(crate) facts: CertificateFacts,
    pub(crate) key: Key,
}

/// The root's key.
pub(crate) enum Key {
    /// It is kept elsewhere.
    Away,
    /// It is here, and opens with a passphrase.
    Locked(SecretString),
    /// It is at hand.
    Here(SecretString),
}

impl Key {
    /// As it is in the folder.
    pub(crate) fn read(store: &Store, file: &str) -> Result<Self, PkiError> {
        Ok(match store.read(file)? {
            None => Self::Away,
            Some(text) if text.expose_secret().starts_with(sealed::BEGIN) => Self::Locked(text),
            Some(text) => Self::Here(text),
        })
    }
}

impl Root {
    /// The root that is there, which has to be of `domain`. `None`: there is none yet, or it was not finished. Nothing is
    /// written.
    pub(crate) fn open(store: &Store, domain: &str, now: Timestamp) -> Result<Option<Self>, PkiError> {
        if store.read(ROOT_CERT)?.is_none()
            && store.read(ROOT_KEY)?.is_none()
            && store.read(INTERMEDIATE_CERT)?.is_some()
        {
            // An intermediate without any root is not ours to build on: its root is somewhere, and clients trust it.
            return Err(PkiError::KeyMissing {
                certificate: store.path(INTERMEDIATE_CERT),
                key: store.path(ROOT_KEY),
            });
        }
        Self::read(store, (ROOT_CERT, ROOT_KEY), domain, now)
    }

    /// The root in these files, as [`Self::open`] has it.
    pub(crate) fn read(
        store: &Store,
        (certificate, key_file): (&str, &str),
        domain: &str,
        now: Timestamp,
    ) -> Result<Option<Self>, PkiError> {
        let key = Key::read(store, key_file)?;
        let Some(pem) = store.read(certificate)? else { return Ok(None) };
        let (pem, facts) = read_certificate(store, certificate, &pem)?;
        if matches!(&key, Key::Here(key) if !facts.matches_key(key)) {
            return Err(PkiError::KeyMismatch {
                certificate: store.path(certificate),
                key: store.path(key_file),
            });
        }
        if facts.permitted_domains != [domain] {
            return Err(PkiError::OtherDomain {
                folder: store.folder().to_owned(),
                found: facts.permitted_domains.join(", "),
                wanted: domain.to_owned(),
            });
        }
        if facts.not_after <= now {
            return Err(PkiError::RootExpired { path: store.path(certificate), at: facts.not_after });
        }
        Ok(Some(Self { pem, facts, key }))
    }

    pub(crate) fn open_or_create(
        store: &Store,
        settings: &AuthoritySettings,
        domain: &str,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        if let Some(there) = Self::open(store, domain, now)? {
            return Ok(there);
        }
        let key = match Key::read(store, ROOT_KEY)? {
            Key::Here(key) => key,
            Key::Locked(_) => return Err(PkiError::Locked { key: store.path(ROOT_KEY) }),
            Key::Away => {
                let key = new_key()?.serialize_pem().into();
                store.create(ROOT_KEY, &key)?;
                key
            }
        };
        let pair = parse_key(&store.path(ROOT_KEY), &key)?;
        let pem =
            Self::certificate(&format!("Phoenix {} Root CA", settings.site), settings, domain, &pair, now)?;
        store.create(ROOT_CERT, &pem.clone().into())?;
        let facts = CertificateFacts::parse(&pem)?;
        Ok(Self { pem, facts, key: Key::Here(key) })
    }

    /// A root's certificate for its own key, in PEM.
    pub(crate) fn certificate(
        name: &str,
        settings: &AuthoritySettings,
        domain: &str,
        key: &KeyPair,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let params = authority_params(
            name,
            BasicConstraints::Constrained(1),
            name_constraints(domain, &settings.subnets),
            key,
            &Validity::new(now, ROOT_LIFE)?,
        )?;
        Ok(params.self_signed(key).map_err(crypto("sign the root certificate"))?.pem())
    }

    /// The root whose certificate is known, with its key where that is at hand. Nothing is made.
    pub(crate) fn known(store: &Store, pem: &str) -> Result<Self, PkiError> {
        let facts = CertificateFacts::parse(pem)?;
        let key = Key::read(store, ROOT_KEY)?;
        if matches!(&key, Key::Here(key) if !facts.matches_key(key)) {
            return Err(PkiError::KeyMismatch {
                certificate: store.path(ROOT_CERT),
                key: store.path(ROOT_KEY),
            });
        }
        Ok(Self { pem: pem.to_owned(), facts, key })
    }

    /// The key in clear text, where this passphrase opens it.
    pub(crate) fn opened(&self, store: &Store, passphrase: &SecretString) -> Result<SecretString, PkiError> {
        let path = || store.path(ROOT_KEY);
        let text = match &self.key {
            Key::Away => return Err(self.missing(store)),
            Key::Here(key) => return Ok(key.clone()),
            Key::Locked(text) => text.expose_secret().as_bytes(),
        };
        let key = sealed::open(text, &sealed::Key::Passphrase(passphrase.clone()))
            .map_err(|source| PkiError::NotUnlocked { key: path(), source })?;
        if self.facts.matches_key(&key) {
            Ok(key)
        } else {
            Err(PkiError::KeyMismatch { certificate: store.path(ROOT_CERT), key: path() })
        }
    }

    /// What is said where its key cannot be used.
    pub(crate) fn missing(&self, store: &Store) -> PkiError {
        match self.key {
            Key::Locked(_) => PkiError::Locked { key: store.path(ROOT_KEY) },
            _ => PkiError::KeyMissing { certificate: store.path(ROOT_CERT), key: store.path(ROOT_KEY) },
        }
    }

    /// What a certificate says that this root signed.
    pub(crate) fn has_signed(&self, pem: &str) -> Result<CertificateFacts, PkiError> {
        let facts = CertificateFacts::parse(pem)?;
        let bad = |reason: String| PkiError::BadCertificate { what: "what was shown".to_owned(), reason };
        let der = |pem: &str| {
            let block = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).next();
            block
                .and_then(Result::ok)
                .map(|block| block.contents)
                .ok_or_else(|| bad("no PEM block in it".to_owned()))
        };
        let (own, shown) = (der(&self.pem)?, der(pem)?);
        let (_, own) = X509Certificate::from_der(&own).map_err(|e| bad(e.to_string()))?;
        let (_, shown) = X509Certificate::from_der(&shown).map_err(|e| bad(e.to_string()))?;
        shown
            .verify_signature(Some(own.public_key()))
            .map_err(|_| bad("the site's root did not sign it".to_owned()))?;
        Ok(facts)
    }

    /// Whether nothing of its life is left.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.facts.not_after <= now
    }

    /// Signs an intermediate for `key`: limited to what the root is limited to, and not to outlive it.
    pub(crate) fn sign_intermediate(
        &self,
        store: &Store,
        name: &str,
        key: &impl PublicKeyData,
        life: Duration,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let Key::Here(root_key) = &self.key else { return Err(self.missing(store)) };
        let mut validity = Validity::new(now, life)?;
        validity.not_after = validity.not_after.min(self.facts.not_after);
        let domain = self.facts.permitted_domains.first().map_or("", String::as_str);
        let mut params = authority_params(
            name,
            BasicConstraints::Constrained(0),
            name_constraints(domain, &self.facts.permitted_subnets),
            key,
            &validity,
        )?;
        params.use_authority_key_identifier_extension = true;
        // What it signs is for TLS, and for no mail and no program: those who verify take an intermediate's purposes for
        // all below it (OpenSSL, GnuTLS, NSS, Go, rustls), though RFC 5280 says so of leaves alone.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_ca_cert_pem(&self.pem, parse_key(&store.path(ROOT_KEY), root_key)?)
            .map_err(crypto("read the root certificate"))?;
        Ok(params.signed_by(key, &issuer).map_err(crypto("sign the intermediate certificate"))?.pem())
    }
}

/// The public key of a certificate request in PEM, whose signature shows that whoever made it has the private one.
/// Nothing else in it is looked at: what is certified is for the root to say.
pub(crate) fn requested_key(request_pem: &str) -> Result<SubjectPublicKeyInfo, PkiError> {
    let bad = |reason: String| PkiError::BadRequest { reason };
    let block = x509_parser::pem::Pem::iter_from_buffer(request_pem.as_bytes())
        .next()
        .ok_or_else(|| bad("no PEM block in it".to_owned()))?
        .map_err(|e| bad(e.to_string()))?;
    if block.label != "CERTIFICATE REQUEST" && block.label != "NEW CERTIFICATE REQUEST" {
        return Err(bad(format!("the PEM block is a {}", block.label.to_lowercase())));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(&block.contents).map_err(|e| bad(e.to_string()))?;
    if !rest.is_empty() {
        return Err(bad("something follows the request in its PEM block".to_owned()));
    }
    request.verify_signature().map_err(|_| bad("its signature is not by its own key".to_owned()))?;
    SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|e| bad(e.to_string()))
}

/// A few digits that tell the keys of intermediates apart, for people.
pub(crate) fn short_id(key: &impl PublicKeyData) -> String {
    hex(&Sha256::digest(key.subject_public_key_info())[..3])
}

fn authority_params(
    name: &str,
    constraints: BasicConstraints,
    names: CustomExtension,
    key: &impl PublicKeyData,
    validity: &Validity,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    validity.set(&mut params)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.custom_extensions.push(names);
    params.serial_number = Some(SerialNumber::from_slice(&serial(key, validity)));
    Ok(params)
}

/// From when until when, in whole seconds.
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    pub(crate) fn new(now: Timestamp, life: Duration) -> Result<Self, PkiError> {
        let now_s = now.as_second();
        let time = |second: Option<i64>| {
            second
                .and_then(|s| Timestamp::from_second(s).ok())
                .filter(|t| t.as_second() >= 0)
                .ok_or(PkiError::BadTime { at: now })
        };
        let life = i64::try_from(life.as_secs()).ok();
        Ok(Self {
            not_before: time(now_s.checked_sub(BACKDATE.as_secs().cast_signed()))?,
            not_after: time(life.and_then(|life| now_s.checked_add(life)))?,
        })
    }

    pub(crate) fn set(&self, params: &mut CertificateParams) -> Result<(), PkiError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since = |t: Timestamp| {
            u64::try_from(t.as_second()).map(Duration::from_secs).map_err(|_| PkiError::BadTime { at: t })
        };
        params.not_before = epoch + since(self.not_before)?;
        params.not_after = epoch + since(self.not_after)?;
        Ok(())
    }
}

/// 16 bytes that no other certificate of the same issuer has: from the key, which is fresh, and the validity, in which a
/// second certificate for the same key differs. Positive, and without a leading zero byte.
pub(crate) fn serial(key: &impl PublicKeyData, validity: &Validity) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(key.subject_public_key_info());
    hash.update(validity.not_before.as_second().to_be_bytes());
    hash.update(validity.not_after.as_second().to_be_bytes());
    let mut serial = [0; 16];
    serial.copy_from_slice(&hash.finalize()[..16]);
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

pub(crate) fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(crypto("make a key"))
}

pub(crate) fn parse_key(path: &Utf8Path, pem: &SecretString) -> Result<KeyPair, PkiError> {
    // The library's error is left out: nobody can say that it never repeats a part of its input.
    KeyPair::from_pem(pem.expose_secret()).map_err(|_| PkiError::BadKey { path: path.to_owned() })
}

pub(crate) fn read_certificate(
    store: &Store,
    name: &str,
    pem: &SecretString,
) -> Result<(String, CertificateFacts), PkiError> {
    let pem = pem.expose_secret();
    let facts = CertificateFacts::parse(pem).map_err(|e| match e {
        PkiError::BadCertificate { reason, .. } => {
            PkiError::BadCertificate { what: format!("`{}`", store.path(name)), reason }
        }
        other => other,
    })?;
    Ok((pem.to_owned(), facts))
}

pub(crate) fn crypto(doing: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Crypto { doing, source }
}
