//! What a certificate says, and when it is time for the next one.

use std::net::IpAddr;

use cidr::IpCidr;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::constraints::is_for_hosts_alone;
use crate::error::PkiError;

/// What a certificate says about itself. Nothing in here is verified: that is [`crate::verify_chain`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CertificateFacts {
    /// The subject's common name, or its whole name where it has none.
    pub subject: String,
    /// The issuer's common name, or its whole name where it has none.
    pub issuer: String,
    /// The DNS names it is for.
    pub dns_names: Vec<String>,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Whether it can issue others.
    pub authority: bool,
    /// The domains it may issue names in, where it is limited to some.
    pub permitted_domains: Vec<String>,
    /// The subnets it may certify addresses of, where it is limited to some.
    pub permitted_subnets: Vec<IpCidr>,
    /// Whether it can issue no mail addresses and no URIs that mean anything.
    #[serde(default)]
    pub for_hosts_alone: bool,
    /// SHA-256 of the whole certificate in lower-case hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of its public key, by which a key is known to belong to it.
    key_hash: String,
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`PkiError::BadCertificate`], which says what is wrong.
    pub fn parse(pem: &str) -> Result<Self, PkiError> {
        let bad = |reason: String| PkiError::BadCertificate { what: "the text".to_owned(), reason };
        let block = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
            .next()
            .ok_or_else(|| bad("no PEM block in it".to_owned()))?
            .map_err(|e| bad(e.to_string()))?;
        if block.label != "CERTIFICATE" {
            // The label of a private key is no secret, its content is not repeated.
            return Err(bad(format!("the PEM block is a {}", block.label.to_lowercase())));
        }
        let (rest, certificate) =
            X509Certificate::from_der(&block.contents).map_err(|e| bad(e.to_string()))?;
        if !rest.is_empty() {
            return Err(bad("something follows the certificate in its PEM block".to_owned()));
        }
        Self::of(&certificate, &block.contents).ok_or_else(|| bad("its validity is out of range".to_owned()))
    }

    /// Reads all certificates of a PEM text, and passes over what is none.
    #[must_use]
    pub fn chain(pem: &str) -> Vec<Self> {
        let blocks = x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes()).filter_map(Result::ok);
        let read = |block: x509_parser::pem::Pem| {
            let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
            Self::of(&certificate, &block.contents)
        };
        blocks.filter(|block| block.label == "CERTIFICATE").filter_map(read).collect()
    }

    fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Option<Self> {
        let mut facts = Self {
            subject: short_name(certificate.subject()),
            issuer: short_name(certificate.issuer()),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            serial: hex(certificate.raw_serial()).trim_start_matches("00").to_owned(),
            not_before: Timestamp::from_second(certificate.validity().not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?,
            authority: certificate.is_ca(),
            permitted_domains: Vec::new(),
            permitted_subnets: Vec::new(),
            for_hosts_alone: false,
            fingerprint: hex(&Sha256::digest(der)),
            key_hash: hex(&Sha256::digest(certificate.public_key().raw)),
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => {
                    for name in &names.general_names {
                        match name {
                            GeneralName::DNSName(name) => facts.dns_names.push((*name).to_owned()),
                            GeneralName::IPAddress(bytes) => facts.addresses.extend(address(bytes)),
                            _ => {}
                        }
                    }
                }
                ParsedExtension::NameConstraints(constraints) => {
                    let permitted = || constraints.permitted_subtrees.iter().flatten();
                    let mail = permitted().filter_map(|tree| match tree.base {
                        GeneralName::RFC822Name(name) => Some(name),
                        _ => None,
                    });
                    let uris = permitted().filter_map(|tree| match tree.base {
                        GeneralName::URI(name) => Some(name),
                        _ => None,
                    });
                    facts.for_hosts_alone = is_for_hosts_alone(mail, uris);
                    for subtree in constraints.permitted_subtrees.iter().flatten() {
                        match &subtree.base {
                            GeneralName::DNSName(name) => facts.permitted_domains.push((*name).to_owned()),
                            GeneralName::IPAddress(bytes) => facts.permitted_subnets.extend(subnet(bytes)),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(facts)
    }

    /// Whether a private key in PEM (PKCS #8) is the one of this certificate. False also for text that is no key.
    #[must_use]
    pub fn matches_key(&self, key_pem: &SecretString) -> bool {
        use rcgen::PublicKeyData as _;
        rcgen::KeyPair::from_pem(key_pem.expose_secret())
            .is_ok_and(|key| hex(&Sha256::digest(key.subject_public_key_info())) == self.key_hash)
    }

    /// When the next one should be made: [`renew_at`] of its validity.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        renew_at(self.not_before, self.not_after)
    }

    /// Whether it is for exactly these names and addresses, in any order.
    #[must_use]
    pub fn is_for(&self, dns_names: &[String], addresses: &[IpAddr]) -> bool {
        fn sorted<T: Ord + Clone>(list: &[T]) -> Vec<T> {
            let mut list = list.to_vec();
            list.sort();
            list.dedup();
            list
        }
        let lower: Vec<String> = dns_names.iter().map(|name| name.to_lowercase()).collect();
        sorted(&self.dns_names) == sorted(&lower) && sorted(&self.addresses) == sorted(addresses)
    }
}

/// When two thirds of a life have passed, in whole seconds (a fraction would be lost in a certificate, and a time that
/// is lost is asked for again and again). Never before the beginning and never after the end.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let (from, until) = (not_before.as_second(), not_after.as_second());
    let life = until.saturating_sub(from).max(0);
    Timestamp::from_second(from + life / 3 * 2 + life % 3 * 2 / 3).unwrap_or(not_before)
}

fn short_name(name: &x509_parser::x509::X509Name<'_>) -> String {
    name.iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .map_or_else(|| name.to_string(), str::to_owned)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// An address followed by a mask of the same length (RFC 5280, 4.2.1.10).
pub(crate) fn subnet(bytes: &[u8]) -> Option<IpCidr> {
    let (base, mask) = bytes.split_at(bytes.len() / 2);
    let length = mask.iter().map(|byte| byte.leading_ones()).sum::<u32>();
    IpCidr::new(address(base)?, u8::try_from(length).ok()?).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_thirds_of_ninety_days_are_sixty() {
        let from: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let until: Timestamp = "2026-04-01T00:00:00Z".parse().unwrap();
        assert_eq!(renew_at(from, until).to_string(), "2026-03-02T00:00:00Z");
    }

    #[test]
    fn what_is_no_certificate_says_why() {
        for (text, why) in [
            ("", "no PEM block in it"),
            ("hello", "no PEM block in it"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a private key"),
        ] {
            let error = CertificateFacts::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    proptest! {
        // S-12, P-46: the time of renewal follows from the certificate's own life, whatever it is.
        #[test]
        fn renewal_lies_within_the_life(from in -10_000_000_000i64..10_000_000_000, life in 0i64..10_000_000_000) {
            let (a, b) = (Timestamp::from_second(from).unwrap(), Timestamp::from_second(from + life).unwrap());
            let at = renew_at(a, b);
            prop_assert!(a <= at && at <= b);
            prop_assert_eq!(at.as_second() - from, life * 2 / 3);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = CertificateFacts::parse(&text);
        }

        #[test]
        fn any_bytes_in_a_block_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(&bytes));
            let _ = CertificateFacts::parse(&pem);
        }
    }

    fn base64(bytes: &[u8]) -> String {
        const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bytes
            .chunks(3)
            .map(|c| {
                let n = (u32::from(c[0]) << 16)
                    | (u32::from(*c.get(1).unwrap_or(&0)) << 8)
                    | u32::from(*c.get(2).unwrap_or(&0));
                (0..4)
                    .map(|i| if i > c.len() { '=' } else { SIGNS[(n >> (18 - 6 * i) & 63) as usize] as char })
                    .collect::<String>()
            })
            .collect()
    }
}
