//! Resource addresses: `kind.name`, the one way a thing is named in plans, journals and on the command line.

use std::fmt;
use std::str::FromStr;

use blueprint::model;

use crate::host::{GuestKind, Host};

/// The kinds of which `wire` makes addresses, as addresses call them. Those of guests are [`GuestKind`]'s.
pub mod kinds {
    /// Certificates, those of guests.
    pub const CERTIFICATE: &str = "certificate";
    /// Services.
    pub const SERVICE: &str = "service";
    /// The certificate authority in a guest.
    pub const AUTHORITY: &str = "authority";
    /// Firewalls, of guests and of the site.
    pub const FIREWALL: &str = "firewall";
    /// The node itself.
    pub const HYPERVISOR: &str = "hypervisor";
    /// Features.
    pub const FEATURE: &str = "feature";
    /// Container templates.
    pub const TEMPLATE: &str = "template";
    /// Images of virtual machines.
    pub const IMAGE: &str = "image";
    /// Storages of the datacenter.
    pub const STORAGE: &str = "storage";
    /// Pools of ZFS on the node.
    pub const POOL: &str = "pool";
    /// Datasets of ZFS on the node.
    pub const DATASET: &str = "dataset";
    /// Graphics cards of the node.
    pub const GPU: &str = "gpu";
    /// Links of the node: its network.
    pub const NETWORK: &str = "network";
    /// Stacks of Docker containers.
    pub const STACK: &str = "stack";
    /// Restarts of guests, by the guests' names: no resources, but steps of their own.
    pub const RESTART: &str = "restart";
    /// The restart of the node, likewise.
    pub const REBOOT: &str = "reboot";
}

/// The node that answers, behind the `@` of an address.
const THE_NODE: &str = "node";

/// The address of a resource, e.g. `container.gateway`, `certificate.notes`, `feature.base@container.notes`: its kind, its
/// name, and, where the name alone does not say it, the host it is on.
#[derive(Debug, Clone)]
pub struct Address {
    /// As it prints; what addresses are compared and sorted by.
    text: String,
    /// Bytes of the kind, which is followed by a dot.
    kind: usize,
    /// Bytes of kind, dot and name.
    name: usize,
    host: Option<Host>,
}

/// A text that is no resource address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no resource address; they look like `container.gateway`")]
pub struct AddressError(String);

impl AddressError {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Address {
    /// The address of a thing that its name tells apart from all others of its kind.
    pub fn new(kind: &str, name: &str) -> Self {
        let text = format!("{kind}.{name}");
        Self { kind: kind.len(), name: text.len(), text, host: None }
    }

    /// The address of a thing that another host may have, too.
    pub fn on(kind: &str, name: &str, host: &Host) -> Self {
        let plain = Self::new(kind, name);
        let text = match host {
            // `feature.base` is the feature itself, wherever it is put.
            Host::Node(None) if kind == kinds::FEATURE => format!("{}@{THE_NODE}", plain.text),
            // The node that answers has no name of its own.
            Host::Node(None) => return plain,
            _ => format!("{}@{host}", plain.text),
        };
        Self { text, host: Some(host.clone()), ..plain }
    }

    /// The address of a container.
    pub fn container(name: &str) -> Self {
        Self::new(GuestKind::Container.as_str(), name)
    }

    /// The address of a guest of the blueprint.
    pub fn of_guest(guest: &model::Guest) -> Self {
        Self::new(guest.kind().as_str(), &guest.name)
    }

    /// The address of a certificate.
    pub fn certificate(name: &str) -> Self {
        Self::new(kinds::CERTIFICATE, name)
    }

    /// The address of a service.
    pub fn service(name: &str) -> Self {
        Self::new(kinds::SERVICE, name)
    }

    /// The address of a stack.
    pub fn stack(name: &str) -> Self {
        Self::new(kinds::STACK, name)
    }

    /// The address of a stack as one guest has it: where another has one of the same name, too.
    pub fn stack_on(name: &str, host: &Host) -> Self {
        Self::on(kinds::STACK, name, host)
    }

    /// The address of the certificate authority in a guest.
    pub fn authority(guest: &str) -> Self {
        Self::new(kinds::AUTHORITY, guest)
    }

    /// The address of a guest's firewall, or of the site's own: `firewall.site`.
    pub fn firewall(name: &str) -> Self {
        Self::new(kinds::FIREWALL, name)
    }

    /// The address of the node's own certificate.
    pub fn hypervisor_certificate() -> Self {
        Self::new(kinds::HYPERVISOR, "certificate")
    }

    /// The address of a certificate as one guest has it: where another has one of the same name, too.
    pub fn certificate_on(name: &str, host: &Host) -> Self {
        Self::on(kinds::CERTIFICATE, name, host)
    }

    /// The address of a feature on a host.
    pub fn feature(feature: &str, host: &Host) -> Self {
        Self::on(kinds::FEATURE, feature, host)
    }

    /// The address of the restart of a guest.
    pub fn restart(guest: &str) -> Self {
        Self::new(kinds::RESTART, guest)
    }

    /// The address of the restart of the node: `reboot.node`.
    pub fn reboot() -> Self {
        Self::new(kinds::REBOOT, THE_NODE)
    }

    /// The address of a container template on a node: the one that is declared under this name, or whose file's name begins so.
    pub fn template(name: &str, node: &Host) -> Self {
        Self::on(kinds::TEMPLATE, name, node)
    }

    /// The address of an image of virtual machines on a node.
    pub fn image(name: &str, node: &Host) -> Self {
        Self::on(kinds::IMAGE, name, node)
    }

    /// The address of a storage of the datacenter.
    pub fn storage(name: &str) -> Self {
        Self::new(kinds::STORAGE, name)
    }

    /// The address of a pool of ZFS on the node.
    pub fn pool(name: &str) -> Self {
        Self::on(kinds::POOL, name, &Host::THE_NODE)
    }

    /// The address of a dataset of ZFS on the node, by its whole name: `dataset.tank/media`.
    pub fn dataset(name: &str) -> Self {
        Self::on(kinds::DATASET, name, &Host::THE_NODE)
    }

    /// The address of a graphics card of the node.
    pub fn gpu(name: &str) -> Self {
        Self::on(kinds::GPU, name, &Host::THE_NODE)
    }

    /// The address of a link of the node: a bridge, a bond, a VLAN, a card.
    pub fn network(link: &str) -> Self {
        Self::new(kinds::NETWORK, link)
    }

    /// The kind of resource: `container`.
    pub fn kind(&self) -> &str {
        &self.text[..self.kind]
    }

    /// Its name among those of its kind and host: `gateway`, or `base` of `feature.base@container.notes`.
    pub fn name(&self) -> &str {
        &self.text[self.kind + 1..self.name]
    }

    /// The kind of guest, where it is a guest's own address.
    pub fn guest_kind(&self) -> Option<GuestKind> {
        GuestKind::of_word(self.kind())
    }

    /// The host it is on, where the address says so.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::new(text);
        let (kind, rest) = text.split_once('.').ok_or_else(wrong)?;
        let word = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if !word || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        let (name, host) = match rest.rsplit_once('@') {
            Some((name, THE_NODE)) if kind == kinds::FEATURE => (name, Some(Host::THE_NODE)),
            Some((name, host)) => (name, Some(host.parse::<Host>().map_err(|_| wrong())?)),
            None => (rest, None),
        };
        match (name, &host) {
            ("", _) => Err(wrong()),
            (name, Some(host)) => Ok(Self::on(kind, name, host)),
            (name, None) => Ok(Self::new(kind, name)),
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
        address.text
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether `pattern` names this resource: its address, its name, its guest id, or a glob (`*`, `?`) over these.
pub fn matches(pattern: &str, address: &Address, id: Option<u32>) -> bool {
    glob(pattern, address.as_str())
        || (address.host().is_none() && glob(pattern, address.name()))
        || id.is_some_and(|id| glob(pattern, &id.to_string()))
}

/// Whether `word` names this resource and no other: its address, its name, or its guest's id. For consent, which no
/// pattern gives.
pub fn names(word: &str, address: &Address, id: Option<u32>) -> bool {
    word == address.as_str()
        || (address.host().is_none() && word == address.name())
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
        let host = Host::container("notes");
        let a = Address::feature("base", &host);
        assert_eq!(a.as_str(), "feature.base@container.notes");
        assert_eq!((a.kind(), a.name(), a.host()), ("feature", "base", Some(&host)));
        assert_eq!(a.as_str().parse::<Address>().unwrap().host(), Some(&host));
        assert_eq!(Address::on("dataset", "tank/vm", &Host::THE_NODE).as_str(), "dataset.tank/vm");
        let on_node = Address::feature("sysctl", &Host::THE_NODE);
        assert_eq!(on_node.as_str(), "feature.sysctl@node");
        assert_eq!(on_node.as_str().parse::<Address>().unwrap().host(), Some(&Host::THE_NODE));
        for wrong in [
            "container",
            "dataset.x@node",
            "container. x",
            "container.",
            "Container.x",
            "feature.x@y",
            "feature.@vm.y",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
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
        fn prints_what_it_parsed(kind in "[a-z-]{1,8}", name in "[a-z0-9./-]{1,20}", host in "|@(container|vm|node)\\.[a-z0-9-]{1,8}") {
            let text = format!("{kind}.{name}{host}");
            let address: Address = text.parse().unwrap();
            prop_assert_eq!((address.kind(), address.name()), (&*kind, &*name));
            prop_assert_eq!(address.to_string(), text);
        }

        #[test]
        fn whatever_the_text_there_is_no_panic(text in ".{0,20}") {
            let _ = text.parse::<Address>();
        }

        #[test]
        fn glob_never_panics(p in ".{0,12}", t in ".{0,12}") {
            let _ = glob(&p, &t);
        }
    }
}
