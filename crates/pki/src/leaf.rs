//! The certificates that services show.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::error::PkiError;

/// How far before the moment of issue a certificate is valid, for clients whose clock is a little behind.
pub const BACKDATE: Duration = Duration::from_mins(5);

/// What a certificate is asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    /// What errors call it, e.g. the service's name. It does not appear in the certificate.
    pub name: String,
    /// The DNS names it is for; the first is its common name too. Lower-cased.
    pub dns_names: Vec<String>,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// How long it is valid from the moment of issue.
    pub life: Duration,
}

/// A certificate with its key, fresh from the authority.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate alone.
    pub cert_pem: String,
    /// The certificate and the intermediate that signed it: what a server shows.
    pub chain_pem: String,
    /// The private key (PKCS #8). Made for this certificate alone.
    pub key_pem: SecretString,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// From when it is valid: [`BACKDATE`] before it was issued.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// Whether a text is a DNS name as certificates carry it: labels of letters, digits and hyphens, at most 63 long and 253
/// in all; the first may be `*`.
pub(crate) fn check_name(name: &str) -> Result<(), PkiError> {
    let label = |(i, label): (usize, &str)| {
        (i == 0 && label == "*" && name.contains('.'))
            || (!label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-'))
    };
    // A name that ends in a number is an address to many clients, or to none.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').enumerate().all(label) {
        return Err(PkiError::BadName { name: name.to_owned() });
    }
    Ok(())
}

/// Whether `name` is `domain` or ends in `.domain`.
pub(crate) fn within(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for good in ["a", "notes.workshop.internal", "*.workshop.internal", "x-1.y", "1.a"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "", ".", "a.", ".a", "a..b", "-a", "a-", "A.b", "a b", "a.*", "*", "ä.de", "10.0.0.1", "a_b",
            "a/b",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_domain_is_compared_by_labels() {
        assert!(within("workshop.internal", "workshop.internal"));
        assert!(within("a.b.workshop.internal", "workshop.internal"));
        assert!(!within("myworkshop.internal", "workshop.internal"));
        assert!(!within("internal", "workshop.internal"));
    }

    proptest! {
        #[test]
        fn every_name_that_passes_is_one_for_the_verifier(name in "[a-z0-9.*-]{1,20}") {
            if check_name(&name).is_ok() && !name.starts_with('*') {
                prop_assert!(rustls::pki_types::DnsName::try_from(name.as_str()).is_ok(), "{}", name);
            }
        }
    }
}
