//! Which certificates are believed. Proxmox VE makes its own authority at installation, which nobody's system knows:
//! so a site declares the certificate's fingerprint or the authority. "Believe anything" does not exist.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a certificate, written `AA:BB:…` as the node's web page and `pvenode cert info` show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no SHA-256 fingerprint: 64 hexadecimal digits are expected, with or without colons")]
pub struct FingerprintError(String);

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b':').collect();
        let error = || FingerprintError(text.chars().take(120).collect());
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return Err(error());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte =
                digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(error)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(':')?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The fingerprint of the first certificate in PEM, which a server's chain begins with. `None`: it holds none.
    pub fn of_pem(pem: &str) -> Option<Self> {
        CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(|der| Self::of(&der))
    }
}

/// Which certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system's authorities vouch for.
    Verify,
    /// The one with this fingerprint, and no other, whoever vouches for it.
    Fingerprint(Fingerprint),
    /// Those that this authority, in PEM, vouches for, and no others.
    CaCert(String),
}

/// A certificate that is believed beside what [`Trust`] says: this very one, whatever address was asked. It can be told to
/// an exchange that is in use already, so that a node can be given another certificate meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Beside(Arc<Mutex<Option<Fingerprint>>>);

impl Beside {
    /// Believes this one from now on, and no longer the one before.
    pub fn set(&self, fingerprint: Option<Fingerprint>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
    }

    /// The one that is believed.
    pub fn get(&self) -> Option<Fingerprint> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fingerprint of the last certificate that was refused.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Fingerprint>>>);

impl Seen {
    pub(super) fn refused(&self) -> Option<Fingerprint> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, seen: Fingerprint) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }
}

/// Who decides.
#[derive(Debug)]
enum Judge {
    /// Authorities.
    Authorities(Arc<dyn ServerCertVerifier>),
    /// This fingerprint alone: authorities are not asked, so none can vouch for another certificate.
    Pin(Fingerprint),
}

#[derive(Debug)]
struct Verifier {
    judge: Judge,
    beside: Beside,
    provider: Arc<CryptoProvider>,
    seen: Seen,
}

/// A verifier that trusts this authority alone.
fn of_authority(pem: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the authority is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("the authority's PEM holds no certificate".to_owned());
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| error.to_string())
}

pub(super) fn config(trust: &Trust, beside: Beside, seen: Seen) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = match trust {
        Trust::Verify => Judge::Authorities(Arc::new(
            rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| error.to_string())?,
        )),
        Trust::Fingerprint(pin) => Judge::Pin(*pin),
        Trust::CaCert(pem) => Judge::Authorities(of_authority(pem, &provider)?),
    };
    let verifier = Verifier { judge, beside, provider: provider.clone(), seen };
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Fingerprint::of(end_entity);
        if self.beside.get() == Some(seen) {
            return Ok(ServerCertVerified::assertion());
        }
        let judged = match &self.judge {
            Judge::Authorities(authorities) => {
                authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Judge::Pin(pin) if *pin == seen => Ok(ServerCertVerified::assertion()),
            Judge::Pin(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        judged.inspect_err(|_| self.seen.set(seen))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let text =
            "70:35:66:8C:E4:F7:BF:F4:FB:19:1C:14:0C:3F:85:9F:EC:F0:DA:AA:B3:03:B9:CD:70:7A:51:EE:56:7D:05:49";
        let pin: Fingerprint = text.parse().unwrap();
        assert_eq!(pin.to_string(), text);
        assert_eq!(text.replace(':', "").to_lowercase().parse(), Ok(pin));
        for wrong in
            ["", "AA:BB", &text[1..], &text.replace('7', "g"), &format!("{text}:00"), &text.replace('7', "é")]
        {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
