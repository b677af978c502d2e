//! What a property string's sub-keys are, and when two of them mean the same.

use super::{PropertyError, PropertyString, Size, flag};

/// How the values of a sub-key are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Letter by letter.
    Text,
    /// A whole number.
    Number,
    /// A number that need not be whole.
    Decimal,
    /// 0 or 1, in any of Proxmox VE's words for them.
    Flag,
    /// A MAC address: the node keeps the case it was sent with.
    Mac,
    /// A size of a disk.
    Size,
    /// Members joined by `;`, in any order.
    Set,
}

impl Form {
    /// The one form of all texts that mean the same.
    pub fn normal(self, text: &str) -> String {
        match self {
            Self::Text => text.to_owned(),
            Self::Number => text.parse::<u64>().map_or_else(|_| text.to_owned(), |n| n.to_string()),
            Self::Decimal => decimal(text),
            Self::Flag => flag(text).map_or_else(|| text.to_owned(), |on| u8::from(on).to_string()),
            Self::Mac => text.to_ascii_uppercase(),
            Self::Size => text.parse::<Size>().map_or_else(|_| text.to_owned(), |size| size.to_string()),
            Self::Set => {
                let members: std::collections::BTreeSet<&str> =
                    text.split(';').filter(|member| !member.is_empty()).collect();
                members.into_iter().collect::<Vec<_>>().join(";")
            }
        }
    }
}

/// The one form of all texts for the same number: `2.50` is `2.5`.
pub fn decimal(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => number.to_string(),
        _ => text.to_owned(),
    }
}

/// A sub-key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sub {
    /// Its name.
    pub name: &'static str,
    /// How its values are compared.
    pub form: Form,
    /// What it is where the string does not have it.
    pub default: Option<&'static str>,
    /// Whether the node fills it in by itself, so that it is never asked for and never compared.
    pub filled: bool,
}

impl Sub {
    /// A sub-key without a default.
    pub(crate) const fn new(name: &'static str, form: Form) -> Self {
        Self { name, form, default: None, filled: false }
    }

    /// A flag that is off where it is absent.
    pub(crate) const fn off(name: &'static str) -> Self {
        Self { name, form: Form::Flag, default: Some("0"), filled: false }
    }

    /// One that the node fills in.
    pub(crate) const fn filled(name: &'static str, form: Form) -> Self {
        Self { name, form, default: None, filled: true }
    }
}

/// The sub-keys of a key's property strings. What is not listed is text, and foreign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// What it is, as in "network device".
    pub what: &'static str,
    /// The sub-key whose value may stand without its name.
    pub default_key: Option<&'static str>,
    /// Whether it is written without its name.
    pub bare: bool,
    /// The sub-keys.
    pub subs: &'static [Sub],
}

impl Schema {
    /// What is known of a sub-key.
    pub fn sub(&self, name: &str) -> Option<&'static Sub> {
        self.subs.iter().find(|sub| sub.name == name)
    }

    /// The value of a sub-key as it is written, with or without its name.
    pub fn get<'t>(&self, parts: &'t PropertyString, name: &str) -> Option<&'t str> {
        let bare = || parts.default_value().filter(|_| self.default_key == Some(name));
        parts.get(name).or_else(bare)
    }

    /// A sub-key's value in the form in which it is compared; none where it says no more than its absence.
    pub fn normal(&self, name: &str, value: Option<&str>) -> Option<String> {
        let sub = self.sub(name);
        let value = value.map(|value| sub.map_or(Form::Text, |sub| sub.form).normal(value))?;
        (sub.and_then(|sub| sub.default) != Some(value.as_str())).then_some(value)
    }

    /// Every sub-key that is there, by its name; a value without one has that of the default key.
    ///
    /// # Errors
    /// When there is a value without a name, and no default key.
    pub fn named<'t>(&self, parts: &'t PropertyString) -> Result<Vec<(&'t str, &'t str)>, PropertyError> {
        let bare = || PropertyError::new(&parts.to_string(), self.what, "a value has no key");
        parts.parts().map(|(key, value)| Ok((key.or(self.default_key).ok_or_else(bare)?, value))).collect()
    }

    /// Whether two strings mean the same, but for what the node fills in. A string that cannot be read is only the same as
    /// itself.
    pub fn same(&self, one: &str, other: &str) -> bool {
        let all = |text: &str| {
            let parts: PropertyString = text.parse().ok()?;
            let mut all = Vec::new();
            for (name, value) in self.named(&parts).ok()? {
                if self.sub(name).is_some_and(|sub| sub.filled) {
                    continue;
                }
                all.extend(self.normal(name, Some(value)).map(|value| (name.to_owned(), value)));
            }
            all.sort();
            Some(all)
        };
        match (all(one), all(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        }
    }

    /// The string that has `ours` as they are given, in their order, and of what is `there` all that `ours` does not name:
    /// what others set stays.
    pub fn merged(&self, ours: &[(&str, Option<String>)], there: Option<&PropertyString>) -> PropertyString {
        let mut merged = PropertyString::default();
        // What has an equals sign in it would be taken for a name without its own.
        let key = |name: &str, value: &str| {
            (!self.bare || self.default_key != Some(name) || value.contains('=')).then(|| name.to_owned())
        };
        for (name, value) in ours {
            if let Some(value) = value {
                merged.push(key(name, value).as_deref(), value.as_str());
            }
        }
        let named = there.and_then(|there| self.named(there).ok()).unwrap_or_default();
        let mut rest: Vec<_> =
            named.into_iter().filter(|(name, _)| ours.iter().all(|(own, _)| own != name)).collect();
        rest.sort_unstable();
        for (name, value) in rest {
            merged.push(key(name, value).as_deref(), value);
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::super::container::{FEATURES, MOUNT, NET, STARTUP};
    use super::*;
    use proptest::prelude::*;

    /// T-7, T-8: what is read back in another order, with defaults and what the node fills in, is what was sent.
    #[test]
    fn what_is_read_back_is_what_was_sent() {
        let sent = "name=eth0,bridge=vmbr0,hwaddr=bc:24:11:52:87:35,ip=10.99.0.21/24,gw=10.99.0.1,firewall=1";
        let read = "name=eth0,bridge=vmbr0,firewall=1,gw=10.99.0.1,hwaddr=BC:24:11:52:87:35,ip=10.99.0.21/24,type=veth";
        assert!(NET.same(sent, read));
        assert!(!NET.same(sent, &read.replace("10.99.0.21", "10.99.0.22")));
        assert!(!NET.same(sent, &format!("{read},tag=3")));
        assert!(NET.same("name=eth0,firewall=0,link_down=no", "name=eth0"));
        assert!(FEATURES.same("nesting=1,mount=nfs;cifs,fuse=0", "mount=cifs;nfs,nesting=1"));
        assert!(FEATURES.same(" ", ""));
        assert!(STARTUP.same("3,up=10", "up=10,order=3"));
        assert!(MOUNT.same("tank:8,mp=/x,backup=0", "volume=tank:8,mp=/x,size=8G"));
        assert!(!MOUNT.same("a=1,a=2", "a=1"), "what cannot be read is the same as nothing else");
    }

    #[test]
    fn what_others_set_stays() {
        let there = "name=eth0,bridge=vmbr9,hwaddr=02:00:00:00:00:09,rate=10,type=veth".parse().unwrap();
        let ours =
            [("name", Some("eth0".to_owned())), ("bridge", Some("vmbr0".to_owned())), ("hwaddr", None)];
        assert_eq!(NET.merged(&ours, Some(&there)).to_string(), "name=eth0,bridge=vmbr0,rate=10,type=veth");
        let there = "mountoptions=noatime,volume=tank:v,size=8G".parse().unwrap();
        let ours = [("volume", Some("tank:v".to_owned())), ("mp", Some("/x".to_owned()))];
        assert_eq!(
            MOUNT.merged(&ours, Some(&there)).to_string(),
            "tank:v,mp=/x,mountoptions=noatime,size=8G"
        );
    }

    proptest! {
        /// Setting what is wanted on whatever is there gives what is wanted, and of the rest what was there.
        #[test]
        fn merged_is_ours_and_the_rest(
            ours in proptest::collection::btree_map("(bridge|ip|tag|firewall|mtu)", proptest::option::of("[a-z0-9./]{1,8}"), 0..5),
            there in proptest::collection::btree_map("(bridge|ip|tag|rate|trunks|x-y)", "[a-z0-9./]{1,8}", 0..6),
        ) {
            let text: Vec<String> = there.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let there_parts: PropertyString = text.join(",").parse().unwrap();
            let ours: Vec<(&str, Option<String>)> = ours.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
            let merged = NET.merged(&ours, Some(&there_parts));
            for (name, value) in &ours {
                prop_assert_eq!(merged.get(name), value.as_deref());
            }
            for (name, value) in there.iter().filter(|(k, _)| ours.iter().all(|(own, _)| own != k)) {
                prop_assert_eq!(merged.get(name), Some(value.as_str()));
            }
            let again: PropertyString = merged.to_string().parse().unwrap();
            prop_assert_eq!(&again, &merged);
            prop_assert!(NET.same(&merged.to_string(), &NET.merged(&ours, Some(&merged)).to_string()));
        }

        #[test]
        fn no_text_panics(one in ".{0,40}", other in ".{0,40}") {
            prop_assert!(MOUNT.same(&one, &one));
            let _ = MOUNT.same(&one, &other);
        }
    }
}
