//! Whether a chain that is shown holds, and what is wrong with it otherwise.

use jiff::Timestamp;
use pki::{CertificateFacts, PkiError, verify_chain};

use super::diagnose::span;

/// What a chain is.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Of its leaf.
    pub leaf: CertificateFacts,
    /// What is wrong with it.
    pub fault: Option<Fault>,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The root does not vouch for it, and why not.
    Untrusted(String),
    /// It is for other names.
    Names,
    /// Its life is over.
    Expired,
    /// Its life has not begun.
    NotYet,
}

impl Chain {
    /// Whole days until its life is over.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.leaf.not_after.as_second() - now.as_second()) / 86_400
    }

    /// As it stands behind a good handshake: `notes.workshop.internal, by Phoenix workshop Intermediate CA, 89 days left`.
    pub fn words(&self, now: Timestamp) -> String {
        let left = self.leaf.not_after.as_second() - now.as_second();
        let left = match left {
            ..=0 => format!("ended {} ago", span(-left)),
            86_400.. => format!("{} days left", left / 86_400),
            3600.. => format!("{} h left", left / 3600),
            _ => format!("{} min left", left / 60),
        };
        format!("{}, by {}, {left}", self.leaf.dns_names.join(", "), self.leaf.issuer)
    }
}

/// Looks at a chain (the leaf first, PEM) as a client does that wants `name` and trusts only `root`; what is wrong is said
/// for what it is, the weightiest first. Without a root nobody's signature is verified. `None` for what is no certificate.
pub fn judge(chain: &str, name: &str, root: Option<&str>, now: Timestamp) -> Option<Chain> {
    let leaf = CertificateFacts::parse(chain).ok()?;
    let fault = fault(&leaf, chain, name, root, now);
    Some(Chain { leaf, fault })
}

fn fault(
    leaf: &CertificateFacts,
    chain: &str,
    name: &str,
    root: Option<&str>,
    now: Timestamp,
) -> Option<Fault> {
    // At a time within its own life and for a name of its own, so that only its signers count here.
    let second = now.as_second().clamp(leaf.not_before.as_second(), leaf.not_after.as_second());
    let at = Timestamp::from_second(second).unwrap_or(now);
    let own = leaf.dns_names.iter().find(|n| !n.starts_with('*')).map_or(name, String::as_str);
    let distrust = root.and_then(|root| verify_chain(chain, root, own, at).err());
    let untrusted = |error: &PkiError| {
        let source = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        Some(Fault::Untrusted(source))
    };
    if let Some(error) = distrust.as_ref().filter(|error| !about_time(error)) {
        return untrusted(error);
    }
    if !leaf.dns_names.iter().any(|pattern| means(pattern, name)) {
        return Some(Fault::Names);
    }
    if leaf.not_after <= now {
        return Some(Fault::Expired);
    }
    if leaf.not_before > now {
        return Some(Fault::NotYet);
    }
    // It is in its life, so it is one of its signers who is not.
    distrust.as_ref().and_then(untrusted)
}

/// Whether somebody in a chain is not in its life.
fn about_time(error: &PkiError) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        PkiError::Untrusted {
            source: rustls::Error::InvalidCertificate(
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
            ),
            ..
        }
    )
}

/// Whether a name of a certificate is for `name`: itself, or `*.` and one label (RFC 6125, 6.4.3).
fn means(pattern: &str, name: &str) -> bool {
    pattern.eq_ignore_ascii_case(name)
        || pattern.strip_prefix("*.").is_some_and(|rest| {
            name.split_once('.').is_some_and(|(_, below)| below.eq_ignore_ascii_case(rest))
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn authority(folder: &tempfile::TempDir) -> pki::Authority {
        let settings = pki::AuthoritySettings {
            site: "workshop".into(),
            domain: "workshop.internal".into(),
            subnets: Vec::new(),
        };
        let path = camino::Utf8Path::from_path(folder.path()).unwrap().join("authority");
        pki::Authority::open_or_create(&path, &settings, time("2026-01-01T00:00:00Z")).unwrap()
    }

    fn leaf(authority: &pki::Authority, name: &str, from: &str) -> String {
        let names = vec![name.to_owned()];
        let request =
            pki::LeafRequest { name: "x".into(), dns_names: names, addresses: Vec::new(), life: 10 * DAY };
        authority.issue(&request, time(from)).unwrap().chain_pem
    }

    #[test]
    fn what_is_wrong_is_said_for_what_it_is() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (authority(&ours), authority(&theirs));
        let chain = leaf(&ours, "notes.workshop.internal", "2026-03-01T00:00:00Z");
        let root = Some(ours.trusted_pem());
        let fault = |chain: &str, name: &str, now: &str| judge(chain, name, root, time(now)).unwrap().fault;
        let name = "notes.workshop.internal";
        assert_eq!(fault(&chain, name, "2026-03-02T00:00:00Z"), None);
        assert_eq!(fault(&chain, name, "2026-03-12T00:00:00Z"), Some(Fault::Expired));
        assert_eq!(fault(&chain, name, "2026-02-01T00:00:00Z"), Some(Fault::NotYet));
        assert_eq!(fault(&chain, "status.workshop.internal", "2026-03-02T00:00:00Z"), Some(Fault::Names));
        // Of another authority: that is what it is, whatever else is wrong with it.
        let other = leaf(&theirs, "status.workshop.internal", "2026-01-02T00:00:00Z");
        assert!(matches!(fault(&other, name, "2026-03-02T00:00:00Z"), Some(Fault::Untrusted(_))));
        // Without its intermediate nobody can follow it.
        let alone = chain.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
        assert!(matches!(fault(alone, name, "2026-03-02T00:00:00Z"), Some(Fault::Untrusted(_))));
        assert_eq!(judge("", name, root, time("2026-03-02T00:00:00Z")), None);
    }

    #[test]
    fn what_is_left_is_told_in_a_unit_that_fits() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(&folder);
        let chain = leaf(&authority, "*.workshop.internal", "2026-03-01T00:00:00Z");
        let words = |now: &str| {
            let chain =
                judge(&chain, "notes.workshop.internal", Some(authority.root_pem()), time(now)).unwrap();
            assert_eq!(chain.fault, None);
            chain.words(time(now))
        };
        let begin = "*.workshop.internal, by Phoenix workshop Intermediate CA, ";
        assert_eq!(words("2026-03-02T00:00:00Z"), format!("{begin}9 days left"));
        assert_eq!(words("2026-03-10T20:00:00Z"), format!("{begin}4 h left"));
        assert_eq!(words("2026-03-10T23:50:00Z"), format!("{begin}10 min left"));
        let chain = judge(&chain, "a.workshop.internal", None, time("2026-03-15T00:00:00Z")).unwrap();
        assert_eq!(chain.words(time("2026-03-15T00:00:00Z")), format!("{begin}ended 4 days ago"));
    }

    #[test]
    fn a_wildcard_is_for_one_label() {
        assert!(means("*.workshop.internal", "a.workshop.internal"));
        for not in ["workshop.internal", "a.b.workshop.internal", "aworkshop.internal"] {
            assert!(!means("*.workshop.internal", not), "{not}");
        }
    }
}
