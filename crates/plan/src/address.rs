//! Resource addresses: `kind.name`, the one way a thing is named in plans, journals and on the command line.

use std::fmt;
use std::str::FromStr;

/// The address of a resource, e.g. `container.gateway`, `certificate.notes`, `feature.base@container.notes`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

/// A text that is no resource address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no resource address; they look like `container.gateway`")]
pub struct AddressError(String);

impl Address {
    /// The address of a container.
    pub fn container(name: &str) -> Self {
        Self(format!("container.{name}"))
    }

    /// The address of a certificate.
    pub fn certificate(name: &str) -> Self {
        Self(format!("certificate.{name}"))
    }

    /// The address of a service.
    pub fn service(name: &str) -> Self {
        Self(format!("service.{name}"))
    }

    /// The address of the certificate authority in a container.
    pub fn authority(container: &str) -> Self {
        Self(format!("authority.{container}"))
    }

    /// The address of a container's firewall, or of the site's own: `firewall.site`.
    pub fn firewall(name: &str) -> Self {
        Self(format!("firewall.{name}"))
    }

    /// The address of the node's own certificate.
    pub fn hypervisor_certificate() -> Self {
        Self("hypervisor.certificate".to_owned())
    }

    /// The address of a certificate as one guest has it: where another has one of the same name, too.
    pub fn certificate_on(name: &str, guest: &Self) -> Self {
        Self(format!("certificate.{name}@{guest}"))
    }

    /// The address of a feature on a guest.
    pub fn feature(feature: &str, guest: &Self) -> Self {
        Self(format!("feature.{feature}@{guest}"))
    }

    /// What comes before the first dot: `container`.
    pub fn kind(&self) -> &str {
        self.0.split_once('.').map_or("", |(kind, _)| kind)
    }

    /// What comes after it: `gateway`, or `base@container.notes`.
    pub fn name(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, name)| name)
    }

    /// For a feature: the guest it is on.
    pub fn guest(&self) -> Option<Self> {
        self.0.split_once('@').map(|(_, guest)| Self(guest.to_owned()))
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let valid = text.split_once('.').is_some_and(|(kind, name)| {
            !kind.is_empty() && !name.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        });
        if valid && !text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AddressError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

/// Whether `pattern` names this resource: its address, its name, its guest id, or a glob (`*`, `?`) over these.
pub fn matches(pattern: &str, address: &Address, id: Option<u32>) -> bool {
    glob(pattern, address.as_str())
        || (!matches!(address.kind(), "feature") && glob(pattern, address.name()))
        || id.is_some_and(|id| glob(pattern, &id.to_string()))
}

/// Whether `word` names this resource and no other: its address, its name, or its guest's id. For consent, which no
/// pattern gives.
pub fn names(word: &str, address: &Address, id: Option<u32>) -> bool {
    word == address.as_str()
        || (!matches!(address.kind(), "feature") && word == address.name())
        || id.is_some_and(|id| word == id.to_string())
}

/// Whether `word` is a pattern, which may mean more than it says.
pub fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?'])
}

/// `*` stands for any text, `?` for one character.
fn glob(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < t.len() {
        if i < p.len() && (p[i] == '?' || (p[i] == t[j] && p[i] != '*')) {
            i += 1;
            j += 1;
        } else if i < p.len() && p[i] == '*' {
            star = Some((i, j));
            i += 1;
        } else if let Some((si, sj)) = star {
            i = si + 1;
            j = sj + 1;
            star = Some((si, sj + 1));
        } else {
            return false;
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts() {
        let a = Address::feature("base", &Address::container("notes"));
        assert_eq!((a.kind(), a.name()), ("feature", "base@container.notes"));
        assert_eq!(a.guest(), Some(Address::container("notes")));
        assert!("container".parse::<Address>().is_err());
        assert!("container. x".parse::<Address>().is_err());
    }

    #[test]
    fn patterns() {
        let a = Address::container("notes");
        for yes in ["container.notes", "notes", "120", "container.*", "n?tes", "*"] {
            assert!(matches(yes, &a, Some(120)), "{yes}");
        }
        for no in ["note", "container.note", "12", "service.*", ""] {
            assert!(!matches(no, &a, Some(120)), "{no}");
        }
    }

    #[test]
    fn only_a_name_names() {
        let a = Address::container("notes");
        for yes in ["container.notes", "notes", "120"] {
            assert!(names(yes, &a, Some(120)) && !is_pattern(yes), "{yes}");
        }
        for no in ["container.*", "n?tes", "*", "note", ""] {
            assert!(!names(no, &a, Some(120)), "{no}");
        }
    }

    proptest! {
        #[test]
        fn what_names_matches(word in "[a-z0-9.*?]{0,12}", name in "[a-z0-9]{1,6}") {
            let a = Address::container(&name);
            prop_assert!(!names(&word, &a, Some(120)) || matches(&word, &a, Some(120)));
            prop_assert!(!is_pattern(&word) || !names(&word, &a, Some(120)));
        }

        #[test]
        fn prints_what_it_parsed(kind in "[a-z-]{1,8}", name in "[a-z0-9./@-]{1,20}") {
            let text = format!("{kind}.{name}");
            prop_assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }

        #[test]
        fn glob_never_panics(p in ".{0,12}", t in ".{0,12}") {
            let _ = glob(&p, &t);
        }
    }
}
