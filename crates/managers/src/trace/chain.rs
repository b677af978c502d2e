//! Whether a chain that is shown holds, and what is wrong with it otherwise.

use jiff::Timestamp;
use pki::{CertificateFacts, verify_chain};

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
            86_400.. => format!("{} days", left / 86_400),
            3600.. => format!("{} h", left / 3600),
            _ => format!("{} min", left / 60),
        };
        format!("{}, by {}, {left} left", self.leaf.dns_names.join(", "), self.leaf.issuer)
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
    if let Some(root) = root {
        // At a time within its own life and for a name of its own, so that only its signers count here.
        let second = now.as_second().clamp(leaf.not_before.as_second(), leaf.not_after.as_second());
        let at = Timestamp::from_second(second).unwrap_or(now);
        let own = leaf.dns_names.iter().find(|n| !n.starts_with('*')).map_or(name, String::as_str);
        if let Err(error) = verify_chain(chain, root, own, at) {
            let source =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            return Some(Fault::Untrusted(source));
        }
    }
    if !leaf.dns_names.iter().any(|pattern| means(pattern, name)) {
        return Some(Fault::Names);
    }
    if leaf.not_after <= now {
        return Some(Fault::Expired);
    }
    (leaf.not_before > now).then_some(Fault::NotYet)
}

/// Whether a name of a certificate is for `name`: itself, or `*.` and one label (RFC 6125, 6.4.3).
fn means(pattern: &str, name: &str) -> bool {
    pattern.eq_ignore_ascii_case(name)
        || pattern.strip_prefix("*.").is_some_and(|rest| {
            name.split_once('.').is_some_and(|(_, below)| below.eq_ignore_ascii_case(rest))
        })
}
